//! `volume ls`, `volume rm`, `volume prune`.

use super::app::App;
use super::args;
use super::fault::{Fault, usage};
use super::stores::{blocking, embedded, listing, row, sure};
use crate::diag::{Diagnostic, Severity};
use crate::engine::embedded::record::VolumeRecord;
use crate::engine::embedded::{Places, volume};
use crate::exit::Exit;
use crate::ui::human::size;
use crate::world::{EngineError, ErrorKind};

/// `volume`.
pub(crate) async fn run(app: &mut App, command: &args::Volume) -> Result<Exit, Fault> {
    match &command.command {
        args::VolumeCommand::Ls(args) => ls(app, args).await,
        args::VolumeCommand::Rm(args) => rm(app, args).await,
        args::VolumeCommand::Prune(args) => prune(app, args).await,
    }
}

async fn ls(app: &mut App, args: &args::VolumeLs) -> Result<Exit, Fault> {
    let engine = embedded(app, "volume ls").await?;
    let mut all = volume::list(engine.places())?;
    for filter in &args.filter {
        match filter.split_once('=') {
            Some(("name", part)) => all.retain(|v| v.spec.name.contains(part)),
            Some(("driver", driver)) => all.retain(|v| v.spec.driver == driver),
            Some(("label", label)) => {
                let (key, value) = label.split_once('=').map_or((label, None), |(k, v)| (k, Some(v)));
                all.retain(|v| v.spec.labels.get(key).is_some_and(|own| value.is_none_or(|v| v == own)));
            }
            Some(("dangling", word)) => {
                let wanted = super::settings::truth(word);
                let mut kept = Vec::new();
                for record in all {
                    if volume::users(engine.places(), &record.spec.name)?.is_empty() == wanted {
                        kept.push(record);
                    }
                }
                all = kept;
            }
            _ => return Err(usage(format!("unknown filter {filter:?}")).help("it can be name=, driver=, label= or dangling=").into()),
        }
    }
    if args.quiet {
        return app.print(&all.iter().map(|v| format!("{}\n", v.spec.name)).collect::<String>()).await;
    }
    let rows: Vec<_> = all.iter().map(|v| fields(engine.places(), v)).collect();
    let text = listing(args.format.as_deref(), &[("DRIVER", "Driver"), ("VOLUME NAME", "Name")], &rows)?;
    app.print(&text).await
}

fn fields(places: &Places, volume: &VolumeRecord) -> crate::ui::table::Row {
    let labels: Vec<String> = volume.spec.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut row = row(&[
        ("Driver", volume.spec.driver.clone()),
        ("Labels", labels.join(",")),
        ("Mountpoint", volume::content(places, &volume.spec.name).display().to_string()),
        ("Name", volume.spec.name.clone()),
        ("Scope", "local".to_owned()),
    ]);
    row.labels.clone_from(&volume.spec.labels);
    row
}

async fn rm(app: &mut App, args: &args::VolumeRm) -> Result<Exit, Fault> {
    let engine = embedded(app, "volume rm").await?;
    let mut findings = Vec::new();
    for name in &args.names {
        let (places, wanted) = (engine.places().clone(), name.clone());
        let removed = blocking(app, move || volume::remove(&places, &wanted)).await;
        match removed {
            Ok(true) => drop(app.print(&format!("{name}\n")).await?),
            Ok(false) if args.force => {}
            Ok(false) => findings.push(super::hints::engine_finding(&EngineError::new(ErrorKind::NotFound, format!("there is no volume {name}")))),
            Err(Fault::Engine(error)) => findings.push(super::hints::engine_finding(&error)),
            Err(fault) => return Err(fault),
        }
    }
    if findings.is_empty() { Ok(Exit::Success) } else { Err(findings.into()) }
}

async fn prune(app: &mut App, args: &args::VolumePrune) -> Result<Exit, Fault> {
    let engine = embedded(app, "volume prune").await?;
    let what = if args.all { "all" } else { "anonymous" };
    if !sure(app, args.force, &format!("This will remove {what} local volumes not used by at least one container.")).await {
        return Ok(Exit::Failure);
    }
    let (places, all) = (engine.places().clone(), args.all);
    let pruned = blocking(app, move || unused(&places, all)).await?;
    let mut text = String::new();
    if !pruned.names.is_empty() {
        text = format!("Deleted Volumes:\n{}\n\n", pruned.names.join("\n"));
    }
    app.console.findings(&pruned.findings).await;
    app.print(&format!("{text}Total reclaimed space: {}\n", size(pruned.bytes))).await
}

/// What came of removing volumes that nobody uses.
#[derive(Debug, Default)]
pub(crate) struct Pruned {
    pub(crate) names: Vec<String>,
    pub(crate) bytes: u64,
    pub(crate) findings: Vec<Diagnostic>,
}

/// Removes volumes that no container has: those without a name of a user's, or all.
pub(crate) fn unused(places: &Places, all: bool) -> Result<Pruned, EngineError> {
    let mut pruned = Pruned { bytes: volume::sweep(places), ..Pruned::default() };
    for record in volume::list(places)?.into_iter().filter(|v| all || v.anonymous) {
        let name = record.spec.name;
        let bytes = volume::size(&volume::content(places, &name));
        match volume::remove(places, &name) {
            Ok(true) => {
                pruned.names.push(name);
                pruned.bytes += bytes;
            }
            Ok(false) => {}
            Err(error) if error.kind == ErrorKind::Conflict => {}
            Err(error) => pruned.findings.push(Diagnostic { severity: Severity::Warning, ..super::hints::engine_finding(&error) }),
        }
    }
    Ok(pruned)
}
