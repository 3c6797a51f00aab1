//! `start`, `stop`, `restart`, `kill`, `rm`, `pause`, `unpause`: containers that exist change their state.

use super::app::{App, places};
use super::args;
use super::change::{change, containers};
use super::fault::{Fault, usage};
use super::prompt::Prompt;
use crate::diag::Diagnostic;
use crate::exit::Exit;
use crate::load::Loaded;
use crate::model::Selection;
use crate::plan::{self, KillOptions, Plan, RestartOptions, RmOptions, Shows, StartOptions, Step, StopOptions, UpOptions};
use crate::run::Options;
use crate::ui::human::listed;
use crate::world::{Container, Observed, Op, State, Target};
use std::time::Duration;

/// `start`.
pub(crate) async fn start(app: &mut App, args: &args::Start) -> Result<Exit, Fault> {
    let known = app.load_or_name(&args.services).await?;
    let plan_options = StartOptions { services: args.services.clone(), wait: args.wait };
    let options = Options { wait_timeout: args.wait_timeout.filter(|s| *s > 0).map(Duration::from_secs), ..Options::default() };
    change(app, "start", &known.name, &containers(&known.name), &options, async |observed, _, _: &mut Prompt| match &known.loaded {
        Some(loaded) => plan::plan_start(Some(&loaded.project), &known.name, observed, &plan_options, &places(loaded)),
        None if observed.containers.is_empty() => {
            Err(vec![usage(format!("no container found for project {:?}", known.name)).help("`consort up` creates containers")])
        }
        None => plan::plan_start(None, &known.name, observed, &plan_options, &|_| None),
    })
    .await
}

/// `stop`.
pub(crate) async fn stop(app: &mut App, args: &args::Stop) -> Result<Exit, Fault> {
    let known = app.load_or_name(&args.services).await?;
    let options = StopOptions { services: args.services.clone(), timeout: args.timeout };
    let mut notes = Vec::new();
    let exit = change(app, "stop", &known.name, &containers(&known.name), &Options::default(), async |observed, _, _: &mut Prompt| {
        notes = known.without_containers(&args.services, observed);
        plan::plan_stop(known.project(), &known.name, observed, &options)
    })
    .await?;
    app.console.findings(&notes).await;
    Ok(exit)
}

/// `restart`.
pub(crate) async fn restart(app: &mut App, args: &args::Restart) -> Result<Exit, Fault> {
    let known = app.load_or_name(&args.services).await?;
    let options = RestartOptions { services: args.services.clone(), no_deps: args.no_deps, timeout: args.timeout };
    let mut notes = Vec::new();
    let exit = change(app, "restart", &known.name, &containers(&known.name), &Options::default(), async |observed, _, _: &mut Prompt| {
        notes = known.without_containers(&args.services, observed);
        plan::plan_restart(known.project(), &known.name, observed, &options)
    })
    .await?;
    app.console.findings(&notes).await;
    if let Some(loaded) = &known.loaded
        && exit == Exit::Success
    {
        pending(app, loaded, &args.services).await?;
    }
    Ok(exit)
}

/// Says that a restart doesn't apply what was changed in the files, if anything was.
async fn pending(app: &mut App, loaded: &Loaded, services: &[String]) -> Result<(), Fault> {
    let engine = app.connect().await?;
    let selection = Selection { services: services.to_vec(), no_deps: true };
    let observed = app.observe(&engine, &plan::observe_query(&loaded.project, &selection)).await?;
    let options = UpOptions { selection, ignore_orphans: true, preview: true, now: app.now, ..UpOptions::default() };
    let Ok(plan) = plan::plan_up(&loaded.project, &observed, &engine.capabilities(), &options, &places(loaded)) else { return Ok(()) };
    let exists = |service: &&str| observed.containers.iter().any(|c| c.service() == *service && !c.is_oneoff());
    let mut changed: Vec<&str> = plan
        .nodes
        .iter()
        .filter(|n| matches!(&n.step, Step::Do(Op::CreateContainer(_) | Op::RemoveContainer { .. })))
        .filter_map(|n| n.service.as_deref())
        .filter(exists)
        .collect();
    changed.sort_unstable();
    changed.dedup();
    if !changed.is_empty() {
        let finding = Diagnostic::warning(
            "pending-changes",
            format!("the files have changed since {} was created, and a restart doesn't apply that", listed(&changed)),
        )
        .help(format!("`consort up -d {}` applies {}", changed.join(" "), if changed.len() == 1 { "it" } else { "them" }));
        app.console.findings(&[finding]).await;
    }
    Ok(())
}

/// `kill`.
pub(crate) async fn kill(app: &mut App, args: &args::Kill) -> Result<Exit, Fault> {
    let known = app.load_or_name(&args.services).await?;
    let options = KillOptions {
        services: args.services.clone(),
        signal: args.signal.clone(),
        remove_orphans: args.remove_orphans.unwrap_or(app.settings.remove_orphans),
    };
    let mut nothing = false;
    let mut notes = Vec::new();
    let exit = change(app, "kill", &known.name, &containers(&known.name), &Options::default(), async |observed, _, _: &mut Prompt| {
        let plan = plan::plan_kill(known.project(), &known.name, observed, &options)?;
        nothing = plan.is_empty();
        notes = known.without_containers(&args.services, observed);
        Ok(plan)
    })
    .await?;
    if !notes.is_empty() {
        app.console.findings(&notes).await;
    } else if nothing && !app.globals.dry_run {
        app.console.note("no container to kill\n").await;
    }
    Ok(exit)
}

/// `rm`.
pub(crate) async fn rm(app: &mut App, args: &args::Rm) -> Result<Exit, Fault> {
    let known = app.load_or_name(&args.services).await?;
    let options = RmOptions { services: args.services.clone(), stop: args.stop, volumes: args.volumes };
    let dry_run = app.globals.dry_run;
    let mut nothing = false;
    let exit = change(app, "rm", &known.name, &containers(&known.name), &Options::default(), async |observed, _, prompt: &mut Prompt| {
        let plan = plan::plan_rm(known.project(), &known.name, observed, &options)?;
        let names: Vec<&str> = plan
            .nodes
            .iter()
            .filter_map(|n| match &n.step {
                Step::Do(Op::RemoveContainer { container, .. }) => Some(container.name.as_str()),
                _ => None,
            })
            .collect();
        nothing = names.is_empty();
        if nothing || args.force || dry_run || prompt.confirm(&format!("Remove {}?", listed(&names))).await {
            return Ok(plan);
        }
        Ok(Plan { project: plan.project, ..Plan::default() })
    })
    .await?;
    if nothing && !app.globals.dry_run {
        app.console.note("no stopped containers\n").await;
    }
    Ok(exit)
}

/// `pause`.
pub(crate) async fn pause(app: &mut App, args: &args::Pause) -> Result<Exit, Fault> {
    each(app, "pause", &args.services, State::Running, ("Pausing", "Paused"), |container| Op::PauseContainer { container }).await
}

/// `unpause`.
pub(crate) async fn unpause(app: &mut App, args: &args::Unpause) -> Result<Exit, Fault> {
    each(app, "unpause", &args.services, State::Paused, ("Unpausing", "Unpaused"), |container| Op::UnpauseContainer { container }).await
}

/// One op for each container in a state, all at once.
async fn each(
    app: &mut App,
    title: &str,
    services: &[String],
    state: State,
    (doing, done): (&'static str, &'static str),
    op: impl Fn(Target) -> Op,
) -> Result<Exit, Fault> {
    let known = app.load_or_name(services).await?;
    let mut found = 0;
    let exit = change(app, title, &known.name, &containers(&known.name), &Options::default(), async |observed: &Observed, _, _: &mut Prompt| {
        let wanted = |c: &&Container| !c.is_oneoff() && (services.is_empty() || services.iter().any(|s| s == c.service()));
        known.require(services, observed).map_err(Fault::findings)?;
        let mut plan = Plan { project: known.name.clone(), ..Plan::default() };
        for container in observed.containers.iter().filter(wanted).filter(|c| c.state == state) {
            let id = plan.push(Step::Do(op(Target::existing(&container.name, &container.id))), Vec::new(), "asked for");
            if let Some(node) = plan.nodes.get_mut(id) {
                node.service = Some(container.service().to_owned());
                node.shows = Some(Shows { name: None, doing, done });
            }
        }
        found = plan.nodes.len();
        Ok(plan)
    })
    .await?;
    if found == 0 && !app.globals.dry_run {
        app.console.note(&format!("no container to {title}\n")).await;
    }
    Ok(exit)
}
