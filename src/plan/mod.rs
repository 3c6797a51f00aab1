//! Desired and observed state in, a [`Plan`] out.
//!
//! Pure and synchronous: no clock, no random ids, no prompts, no I/O, no engine. A plan is a value that can be printed,
//! compared and saved; `--dry-run` is the plan itself.
//!
//! The way through: [`observe_query`], `Engine::observe`, `plan_…`, carry it out. Where images must be fetched first,
//! [`plan_up`] gives a plan that does only that ([`Plan::again`]): what it fetches decides what comes next.

mod checks;
mod down;
mod images;
mod lifecycle;
mod lower;
mod observe;
mod options;
mod print;
mod pull;
mod scope;
mod steps;
mod types;
mod up;
mod view;

pub use options::{
    DownOptions, KillOptions, PullOptions, PullPolicy, Recreate, RemoveImages, RestartOptions, RmOptions, StartOptions, StopOptions, UpOptions,
};
pub use print::print;
pub use types::{Await, Awaited, Gate, Hazard, HazardKind, Node, NodeId, Plan, Shows, Step, Upstream};

use crate::diag::{Diagnostic, Places};
use crate::model::{Project, Selection};
use crate::world::{Capabilities, ObserveQuery, Observed};

/// What must be known before `up`, `create`, `pull`, `down` can be planned.
pub fn observe_query(project: &Project, selection: &Selection) -> ObserveQuery {
    observe::query(project, selection)
}

/// Brings the selected services up.
///
/// # Errors
/// Everything that would make it fail and can be known before anything is touched.
pub fn plan_up(
    project: &Project,
    observed: &Observed,
    capabilities: &Capabilities,
    options: &UpOptions,
    places: Places,
) -> Result<Plan, Vec<Diagnostic>> {
    up::plan_up(project, observed, capabilities, options, places)
}

/// Creates the containers of the selected services and starts none: `up --no-start`.
///
/// # Errors
/// As [`plan_up`].
pub fn plan_create(
    project: &Project,
    observed: &Observed,
    capabilities: &Capabilities,
    options: &UpOptions,
    places: Places,
) -> Result<Plan, Vec<Diagnostic>> {
    plan_up(project, observed, capabilities, &UpOptions { no_start: true, ..options.clone() }, places)
}

/// Removes what `up` made. Without a project everything is read from labels.
///
/// # Errors
/// A name that is no service.
pub fn plan_down(project: Option<&Project>, name: &str, observed: &Observed, options: &DownOptions) -> Result<Plan, Vec<Diagnostic>> {
    down::plan_down(project, name, observed, options)
}

/// Stops containers, dependants first.
///
/// # Errors
/// A name that is no service.
pub fn plan_stop(project: Option<&Project>, name: &str, observed: &Observed, options: &StopOptions) -> Result<Plan, Vec<Diagnostic>> {
    lifecycle::plan_stop(project, name, observed, options)
}

/// Starts existing containers, dependencies first, with their gates.
///
/// # Errors
/// A name that is no service; a service without containers.
pub fn plan_start(
    project: Option<&Project>,
    name: &str,
    observed: &Observed,
    options: &StartOptions,
    places: Places,
) -> Result<Plan, Vec<Diagnostic>> {
    lifecycle::plan_start(project, name, observed, options, places)
}

/// Restarts containers, and those of services that say `restart: true` about them.
///
/// # Errors
/// A name that is no service.
pub fn plan_restart(project: Option<&Project>, name: &str, observed: &Observed, options: &RestartOptions) -> Result<Plan, Vec<Diagnostic>> {
    lifecycle::plan_restart(project, name, observed, options)
}

/// Sends a signal to running containers, all at once.
///
/// # Errors
/// A name that is no service.
pub fn plan_kill(project: Option<&Project>, name: &str, observed: &Observed, options: &KillOptions) -> Result<Plan, Vec<Diagnostic>> {
    lifecycle::plan_kill(project, name, observed, options)
}

/// Removes stopped containers.
///
/// # Errors
/// A name that is no service.
pub fn plan_rm(project: Option<&Project>, name: &str, observed: &Observed, options: &RmOptions) -> Result<Plan, Vec<Diagnostic>> {
    lifecycle::plan_rm(project, name, observed, options)
}

/// Fetches images.
///
/// # Errors
/// A name that is no service.
pub fn plan_pull(project: &Project, observed: &Observed, options: &PullOptions) -> Result<Plan, Vec<Diagnostic>> {
    pull::plan_pull(project, observed, options)
}

#[cfg(test)]
mod tests;
