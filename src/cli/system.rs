//! `system df`, `system prune`, `system unit`.

use super::app::App;
use super::args;
use super::fault::Fault;
use super::stores::{blocking, embedded, listing, row, sure};
use super::volume::unused;
use crate::diag::{Diagnostic, Severity};
use crate::engine::Engine;
use crate::engine::embedded::supervisor::launch;
use crate::engine::embedded::{Embedded, net, volume};
use crate::exit::Exit;
use crate::ui::human::size;
use crate::world::{Container, EngineError, ErrorKind, ObserveQuery, Op, Target};
use std::collections::BTreeSet;

/// `system`.
pub(crate) async fn run(app: &mut App, command: &args::System) -> Result<Exit, Fault> {
    match &command.command {
        args::SystemCommand::Df(args) => df(app, args).await,
        args::SystemCommand::Prune(args) => prune(app, args).await,
        args::SystemCommand::Unit(_) => unit(app).await,
        args::SystemCommand::Boot(_) => boot(app).await,
    }
}

async fn containers(app: &App, engine: &Embedded) -> Result<Vec<Container>, Fault> {
    let query = ObserveQuery { containers_only: true, strangers: true, ..ObserveQuery::default() };
    Ok(app.unless_interrupted(engine.observe(&query)).await??.containers)
}

/// Total, in use, bytes, bytes that nothing uses.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    total: usize,
    active: usize,
    bytes: u64,
    free: u64,
}

async fn df(app: &mut App, args: &args::SystemDf) -> Result<Exit, Fault> {
    let engine = embedded(app, "system df").await?;
    let all = containers(app, &engine).await?;
    let (places, store) = (engine.places().clone(), engine.images().clone());
    let shares = blocking(app, move || {
        let images = store.usage()?;
        let mut own = Share { total: all.len(), ..Share::default() };
        let mut mounted: BTreeSet<&str> = BTreeSet::new();
        for container in &all {
            mounted.extend(container.mounts.iter().filter(|m| m.kind == "volume").map(|m| m.name.as_str()));
            let bytes = volume::size(&places.upper(&container.id)) + volume::size(&places.container(&container.id));
            own.bytes += bytes;
            if container.is_alive() {
                own.active += 1;
            } else {
                own.free += bytes;
            }
        }
        let mut volumes = Share::default();
        for record in volume::list(&places)? {
            let bytes = volume::size(&volume::content(&places, &record.spec.name));
            volumes.total += 1;
            volumes.bytes += bytes;
            if mounted.contains(record.spec.name.as_str()) {
                volumes.active += 1;
            } else {
                volumes.free += bytes;
            }
        }
        let images = Share { total: images.images, active: images.active, bytes: images.size, free: images.reclaimable };
        Ok([("Images", images), ("Containers", own), ("Local Volumes", volumes)])
    })
    .await?;
    let rows: Vec<_> = shares
        .iter()
        .map(|(name, share)| {
            let percent = (share.free * 100).checked_div(share.bytes).map(|p| format!(" ({p}%)")).unwrap_or_default();
            row(&[
                ("Active", share.active.to_string()),
                ("Reclaimable", format!("{}{percent}", size(share.free))),
                ("Size", size(share.bytes)),
                ("TotalCount", share.total.to_string()),
                ("Type", (*name).to_owned()),
            ])
        })
        .collect();
    let columns = [("TYPE", "Type"), ("TOTAL", "TotalCount"), ("ACTIVE", "Active"), ("SIZE", "Size"), ("RECLAIMABLE", "Reclaimable")];
    app.print(&listing(args.format.as_deref(), &columns, &rows)?).await
}

async fn prune(app: &mut App, args: &args::SystemPrune) -> Result<Exit, Fault> {
    let engine = embedded(app, "system prune").await?;
    let mut what = vec!["all stopped containers", "all networks not used by at least one container"];
    if args.volumes {
        what.push("all anonymous volumes not used by at least one container");
    }
    what.push(if args.all { "all images without at least one container associated to them" } else { "all images without a name" });
    if !sure(app, args.force, &format!("This will remove:\n  - {}\n", what.join("\n  - "))).await {
        return Ok(Exit::Failure);
    }
    let (mut text, mut bytes, mut findings) = (String::new(), 0, Vec::new());
    let mut list = |head: &str, names: &[String]| {
        if !names.is_empty() {
            text.push_str(&format!("Deleted {head}:\n{}\n\n", names.join("\n")));
        }
    };
    let warning = |error: &EngineError| Diagnostic { severity: Severity::Warning, ..super::hints::engine_finding(error) };

    let (progress, _) = tokio::sync::mpsc::channel(1);
    let mut gone = Vec::new();
    for container in containers(app, &engine).await?.into_iter().filter(|c| !c.is_alive()) {
        let own = volume::size(&engine.places().upper(&container.id));
        let op = Op::RemoveContainer { container: Target::existing(&container.name, &container.id), volumes: false };
        match app.unless_interrupted(engine.apply(&op, &progress)).await? {
            Ok(_) => {
                bytes += own;
                gone.push(container.id);
            }
            Err(error) => findings.push(warning(&error)),
        }
    }
    list("Containers", &gone);

    let places = engine.places().clone();
    let (networks, failed) = blocking(app, move || {
        let (mut gone, mut failed) = (Vec::new(), Vec::new());
        for network in net::list(&places)? {
            match net::remove(&places, &network.spec.name, Some(&network.id)) {
                Ok(true) => gone.push(network.spec.name),
                Ok(false) => {}
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) => failed.push(error),
            }
        }
        failed.extend(net::sweep(&places).err());
        Ok((gone, failed))
    })
    .await?;
    findings.extend(failed.iter().map(warning));
    list("Networks", &networks);

    if args.volumes {
        let places = engine.places().clone();
        let pruned = blocking(app, move || unused(&places, false)).await?;
        bytes += pruned.bytes;
        findings.extend(pruned.findings);
        list("Volumes", &pruned.names);
    }
    let (store, all) = (engine.images().clone(), args.all);
    let removed = blocking(app, move || store.prune(all)).await?;
    bytes += removed.bytes;
    list("Images", &removed.untagged.into_iter().chain(removed.deleted).collect::<Vec<_>>());

    app.console.findings(&findings).await;
    app.print(&format!("{text}Total reclaimed space: {}\n", size(bytes))).await
}

async fn unit(app: &mut App) -> Result<Exit, Fault> {
    // It says where this program and its files are, so it is asked as it will run.
    let engine = embedded(app, "system unit").await?;
    app.print(&launch::unit(engine.program(), engine.places())).await
}

async fn boot(app: &mut App) -> Result<Exit, Fault> {
    let engine = embedded(app, "system boot").await?;
    let (places, program) = (engine.places().clone(), engine.program().to_owned());
    let failed = blocking(app, move || Ok(launch::launch_all(&places, &program))).await?;
    if failed.is_empty() {
        return Ok(Exit::Success);
    }
    let told = |(project, error): &(String, EngineError)| {
        super::hints::engine_finding(&EngineError { what: format!("project {project}: {}", error.what), ..error.clone() })
    };
    Err(failed.iter().map(told).collect::<Vec<_>>().into())
}
