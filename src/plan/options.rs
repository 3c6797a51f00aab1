//! What the planners are told besides the project and the world.

use super::HazardKind;
use crate::model::Selection;
use crate::units::{Duration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// When existing containers are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recreate {
    /// When they differ from what the file says.
    #[default]
    Diverged,
    /// Always.
    Force,
    /// Never.
    Never,
}

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Always.
    Always,
    /// When it isn't here.
    #[default]
    Missing,
    /// Never.
    Never,
    /// Never: it is built.
    Build,
    /// When it isn't here, or was tagged longer ago than this.
    Every(Duration),
}

/// Options of [`plan_up`](super::plan_up).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpOptions {
    /// Which services.
    pub selection: Selection,
    /// Replicas by service, instead of the file's.
    pub scale: BTreeMap<String, u32>,
    /// `--force-recreate`, `--no-recreate`.
    pub recreate: Recreate,
    /// Replace containers of services that were not named, too.
    pub always_recreate_deps: bool,
    /// New anonymous volumes; replaces the containers of the named services.
    pub renew_anonymous_volumes: bool,
    /// Create only.
    pub no_start: bool,
    /// Remove containers of services that the file doesn't know.
    pub remove_orphans: bool,
    /// Say nothing about them.
    pub ignore_orphans: bool,
    /// Seconds until SIGKILL for containers that are stopped on the way.
    pub timeout: Option<i64>,
    /// Instead of every `pull_policy`.
    pub pull: Option<PullPolicy>,
    /// The images have been fetched: don't ask for them again.
    pub pulled: bool,
    /// The plan is only to be shown: one plan with what would be fetched and all that would follow, as far as that is
    /// known before.
    pub preview: bool,
    /// End with gates that wait until everything is ready.
    pub wait: bool,
    /// Hazards that were answered with yes.
    pub accepted: BTreeSet<HazardKind>,
    /// Every hazard is answered with yes.
    pub accept_all: bool,
    /// The time, for pull policies that go by age.
    pub now: Timestamp,
}

/// Which images `down` removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveImages {
    /// Those without a name of their own: `<project>-<service>`.
    Local,
    /// Those of all services.
    All,
}

/// Options of [`plan_down`](super::plan_down).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownOptions {
    /// Only these services; empty means everything.
    pub services: Vec<String>,
    /// Volumes too.
    pub volumes: bool,
    /// Images too.
    pub images: Option<RemoveImages>,
    /// Containers of services that the file doesn't know, too.
    pub remove_orphans: bool,
    /// Seconds until SIGKILL.
    pub timeout: Option<i64>,
}

/// Options of [`plan_stop`](super::plan_stop).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// Only these services; empty means all.
    pub services: Vec<String>,
    /// Seconds until SIGKILL.
    pub timeout: Option<i64>,
}

/// Options of [`plan_start`](super::plan_start).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// Only these services and what they depend on; empty means all.
    pub services: Vec<String>,
    /// End with gates that wait until everything is ready.
    pub wait: bool,
}

/// Options of [`plan_restart`](super::plan_restart).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartOptions {
    /// Only these services; empty means all.
    pub services: Vec<String>,
    /// Leave services alone that say `restart: true` about these.
    pub no_deps: bool,
    /// Seconds until SIGKILL.
    pub timeout: Option<i64>,
}

/// Options of [`plan_kill`](super::plan_kill).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KillOptions {
    /// Only these services; empty means all.
    pub services: Vec<String>,
    /// Name or number; empty means `SIGKILL`.
    pub signal: String,
    /// Containers of services that the file doesn't know, too.
    pub remove_orphans: bool,
}

/// Options of [`plan_rm`](super::plan_rm).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RmOptions {
    /// Only these services; empty means all.
    pub services: Vec<String>,
    /// Stop running containers first; otherwise they are left alone.
    pub stop: bool,
    /// Their anonymous volumes too.
    pub volumes: bool,
}

/// Options of [`plan_pull`](super::plan_pull).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// Only these services; empty means all.
    pub services: Vec<String>,
    /// What they depend on, too.
    pub include_deps: bool,
    /// Instead of every `pull_policy`; `None` fetches everything but what says `never` or `build`.
    pub policy: Option<PullPolicy>,
    /// Leave services alone that can be built.
    pub ignore_buildable: bool,
    /// A failure is only a warning.
    pub ignore_failures: bool,
    /// The time, for pull policies that go by age.
    pub now: Timestamp,
}
