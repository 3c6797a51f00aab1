//! What all commands have in common that plan something and carry it out.

use super::app::{App, Known, Unread};
use super::fault::Fault;
use super::port_owner;
use super::prompt::Prompt;
use crate::diag::{Diagnostic, Severity, did_you_mean};
use crate::engine::Engine;
use crate::exit::Exit;
use crate::graph;
use crate::plan::{self, Plan};
use crate::run::{self, Cause, Options, Report};
use crate::ui::LogStyle;
use crate::world::{ErrorKind, ObserveQuery, Observed};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Observes, plans and carries out; with `--dry-run` the plan is only shown.
pub(crate) async fn change<P>(app: &mut App, title: &str, project: &str, query: &ObserveQuery, options: &Options, plan: P) -> Result<Exit, Fault>
where
    P: AsyncFnMut(&Observed, bool, &mut Prompt) -> Result<Plan, Vec<Diagnostic>>,
{
    let engine = app.connect().await?;
    let mut plan = plan;
    if app.globals.dry_run {
        let observed = app.observe(&engine, query).await?;
        let plan = plan(&observed, false, &mut app.prompt).await?;
        return show_plan(app, &plan).await;
    }
    let report = app
        .show(title, LogStyle::default(), &engine, project, Unread::Interrupt, async |context, interrupts, prompt: &mut Prompt| {
            let plan = async |observed: &Observed, fetched: bool| plan(observed, fetched, prompt).await;
            run::change(&context, query, plan, options, &interrupts).await
        })
        .await??;
    after(app, &engine, &report).await;
    Ok(report.exit())
}

/// Prints what would be done.
pub(crate) async fn show_plan(app: &mut App, plan: &Plan) -> Result<Exit, Fault> {
    if !plan.notes.is_empty() {
        app.console.findings(&plan.notes).await;
    }
    if plan.notes.iter().any(Diagnostic::is_error) {
        return Ok(Exit::Failure);
    }
    app.print(&plan::print(plan)).await
}

/// Says more about what went wrong, where more can be found out.
pub(crate) async fn after(app: &mut App, engine: &Arc<dyn Engine>, report: &Report) {
    let taken = report.failures.iter().filter_map(|f| match &f.cause {
        Cause::Engine(error) if error.kind == ErrorKind::PortTaken => Some(error.to_string()),
        _ => None,
    });
    let mut told = Vec::new();
    for message in taken.collect::<Vec<_>>() {
        if let Some(owner) = port_owner::find(engine, &message).await
            && !told.contains(&owner)
        {
            told.push(owner);
        }
    }
    app.console.findings(&told).await;
}

/// The query for commands that need nothing but the project's own things.
pub(crate) fn own(project: &str) -> ObserveQuery {
    ObserveQuery { project: Some(project.to_owned()), ..ObserveQuery::default() }
}

/// As [`own`], but only containers.
pub(crate) fn containers(project: &str) -> ObserveQuery {
    ObserveQuery { containers_only: true, ..own(project) }
}

impl Known {
    /// The project, if it was loaded.
    pub(crate) fn project(&self) -> Option<&crate::model::Project> {
        self.loaded.as_ref().map(|l| &l.project)
    }

    /// Refuses names that are services neither of the file nor of any container. Where there is nothing at all, any name
    /// will do.
    pub(crate) fn require(&self, services: &[String], observed: &Observed) -> Result<(), Fault> {
        let by_label: Vec<&str> = observed.containers.iter().map(crate::world::Container::service).collect();
        let is_known = |name: &String| by_label.contains(&name.as_str()) || self.project().is_some_and(|p| p.service(name).is_some());
        if self.loaded.is_none() && by_label.is_empty() {
            return Ok(());
        }
        let Some(missing) = services.iter().find(|s| !is_known(s)) else { return Ok(()) };
        if let Some(finding) = self.project().and_then(|p| graph::unknown_service(p, missing)) {
            return Err(finding.into());
        }
        let finding = Diagnostic::error("no-such-service", format!("no such service: {missing}"));
        Err(match did_you_mean(missing, by_label.iter().copied()) {
            Some(meant) => finding.help(format!("did you mean `{meant}`?")).into(),
            None => {
                let names: BTreeSet<&str> = by_label.into_iter().filter(|s| !s.is_empty()).collect();
                finding.help(format!("the services are: {}", Vec::from_iter(names).join(", "))).into()
            }
        })
    }

    /// Notes about services that were named and have no container. Nothing is wrong then, but nothing is done either.
    pub(crate) fn without_containers(&self, services: &[String], observed: &Observed) -> Vec<Diagnostic> {
        let has_none = |s: &&String| !observed.containers.iter().any(|c| c.service() == s.as_str() && !c.is_oneoff());
        let note = |service: &String| {
            let profile = match self.project().and_then(|p| p.disabled.get(service)).and_then(|s| s.profiles.first()) {
                Some(profile) => format!(", and is left out as long as profile {profile} is not active"),
                None => String::new(),
            };
            Diagnostic::new(Severity::Note, "no-container", format!("service {service:?} has no container{profile}"))
                .help(format!("`consort up -d {service}` creates and starts one"))
        };
        services.iter().filter(has_none).map(note).collect()
    }
}
