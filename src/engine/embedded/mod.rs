//! The embedded engine: containers of our own, where no engine is installed. Linux, as root.
//!
//! # The map
//!
//! ```text
//! the command (tokio)                               the supervisor (one per project, no tokio, one thread)
//! Embedded ── changes of containers: Op ─ socket ─▶ supervisor ─▶ runtime   clone, mounts, privileges, exec
//!    │                                                   │    └──▶ cgroup    limits, freezing, out of memory
//!    │ images, volumes, networks, reading,               └───────▶ net       bridges, addresses, DNS, ports
//!    │ logs, events, exec: straight                          logs, health, restarts (`policy`)
//!    ▼                                                   ▼
//!   the files of [`Places`]: what exists, whether anybody runs or not
//! ```
//!
//! The files are the truth, and each of them has one writer: containers belong to the supervisor of their project,
//! which alone creates, changes and removes them; images, volumes and networks belong to nobody, and are made and removed
//! by rename under a lock. So a command may be killed at any step, and what it leaves is whole: the next one goes on.
//! A supervisor lives as long as a container of its project runs, or a command talks to it. When it is killed its
//! containers live on; whoever looks next starts another one, which adopts them.
//!
//! `sys` is the only place with `unsafe` code.

pub mod cgroup;
pub mod events;
mod exec;
mod helper;
pub mod image;
mod inspect;
mod link;
mod logs;
mod needs;
pub mod net;
mod observe;
mod ops;
mod part;
mod place;
pub mod record;
pub mod runtime;
pub mod supervisor;
mod sys;
pub mod volume;

pub use part::enter;
pub use place::Places;

use super::{Engine, EngineInfo, ProgressSink};
use crate::units::Timestamp;
use crate::world::{
    Applied, Capabilities, ContainerDetails, EngineError, EngineEvent, ErrorKind, EventKind, ExecSession, ExecSpec, LogChunk, LogQuery, ObserveQuery,
    Observed, Op, Target,
};
use async_trait::async_trait;
use futures::StreamExt;
use futures::future::{join_all, try_join_all};
use futures::stream::BoxStream;
use image::Store;
use link::Links;
use observe::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The engine.
#[derive(Debug)]
pub struct Embedded {
    places: Places,
    store: Store,
    links: Arc<Links>,
    environment: BTreeMap<String, String>,
    /// Projects of containers by id, as far as they were seen. A container's project never changes.
    projects: Mutex<BTreeMap<String, String>>,
    /// Told at the end of a thread that sweeps up after others.
    sweeping: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

/// How long a command waits at its end for what it sweeps up after others.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(5);

impl Drop for Embedded {
    fn drop(&mut self) {
        let sweeping = self.sweeping.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let _ = sweeping.map(|ended| ended.recv_timeout(SWEEP));
    }
}

impl Embedded {
    /// The engine below the folders that `environment` names. `program` is this program, which is started anew for
    /// supervisors and for commands in containers.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] unless we are root; folders that can't be made.
    pub fn open(environment: &BTreeMap<String, String>, program: PathBuf) -> Result<Self, EngineError> {
        if !rustix::process::geteuid().is_root() {
            return Err(EngineError::new(ErrorKind::Denied, "the embedded engine must be run as root")
                .because("namespaces, mounts and networks need it; try sudo"));
        }
        needs::check()?;
        let places = Places::of(environment);
        let store = Store::open(&places)?;
        let links = Arc::new(Links::new(&places, program));
        Ok(Self { places, store, links, environment: environment.clone(), projects: Mutex::default(), sweeping: Mutex::default() })
    }

    /// Where its files are.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Its images.
    pub fn images(&self) -> &Store {
        &self.store
    }

    /// The containers that are asked for. Those whose supervisor has died get a new one first, which knows how they are.
    async fn seen(&self, project: Option<&str>, strangers: bool) -> Result<Vec<Seen>, EngineError> {
        let read = || {
            let seen = observe::containers(&self.places, project, strangers)?;
            self.remember(seen.iter().map(|s| (s.record.id.clone(), s.record.project.clone())));
            Ok(seen)
        };
        let seen = read()?;
        let boot = observe::boot();
        let living: BTreeSet<&str> = seen.iter().filter(|s| s.needs_supervisor(&boot)).map(|s| s.record.project.as_str()).collect();
        let asked = living.into_iter().map(async |project| (project, self.links.is_alive(project).await));
        let mut orphans: BTreeSet<&str> = join_all(asked).await.into_iter().filter(|(_, alive)| !alive).map(|(project, _)| project).collect();
        // What is left of a creation or a removal that was cut short is swept up by a supervisor, too.
        if let Some(project) = project
            && observe::has_remains(&self.places, project)
            && !self.links.is_alive(project).await
        {
            orphans.insert(project);
        }
        if orphans.is_empty() {
            return Ok(seen);
        }
        try_join_all(orphans.into_iter().map(|project| self.links.adopt(project))).await?;
        read()
    }

    /// Bridges of networks that were removed go, beside everything else, if whoever was to see to it was killed.
    fn sweep_networks(&self) {
        let mut sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        if sweeping.is_some() || !net::has_leavings(&self.places) {
            return;
        }
        let (places, (done, ended)) = (self.places.clone(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            // They are in nobody's way; the next command tries again.
            let _ = net::sweep_after_others(&places);
            drop(done);
        });
        *sweeping = Some(ended);
    }

    /// Somebody else sweeps up, and is not waited for.
    fn leave_networks(&self) {
        self.sweeping.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Remembers the projects of containers.
    fn remember(&self, projects: impl Iterator<Item = (String, String)>) {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner).extend(projects);
    }

    /// The project of a container.
    fn project_of(&self, container: &Target) -> Result<String, EngineError> {
        let known = |id: &String| self.projects.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        match container.id.as_ref().and_then(known) {
            Some(project) => Ok(project),
            None => inspect::find(&self.places, container).map(|seen| seen.record.project),
        }
    }

    /// This program, where other processes find it.
    pub fn program(&self) -> &std::path::Path {
        self.links.program()
    }

    /// A container, looked after.
    async fn find(&self, container: &Target) -> Result<Seen, EngineError> {
        let seen = inspect::find(&self.places, container)?;
        let project = &seen.record.project;
        if !seen.needs_supervisor(&observe::boot()) || self.links.is_alive(project).await {
            return Ok(seen);
        }
        self.links.adopt(project).await?;
        inspect::find(&self.places, container)
    }
}

/// Whether a project has a container here.
pub fn has_project(places: &Places, project: &str) -> bool {
    // What can't be read is told when it is used.
    observe::containers(places, Some(project), false).is_ok_and(|seen| !seen.is_empty())
}

/// Does work that waits for disks where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, EngineError> + Send + 'static) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(EngineError::new(ErrorKind::Unreachable, "it was given up").because(error.to_string())),
        },
    }
}

/// The time of day.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[async_trait]
impl Engine for Embedded {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            name: "embedded".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: String::new(),
            endpoint: self.places.state.display().to_string(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        ops::capabilities()
    }

    async fn observe(&self, query: &ObserveQuery) -> Result<Observed, EngineError> {
        let seen = self.seen(query.project.as_deref(), query.strangers).await?;
        if !query.containers_only {
            // Of commands that were killed.
            volume::sweep(&self.places);
            self.sweep_networks();
        }
        observe::observe(&self.places, &self.store, query, seen, now())
    }

    async fn apply(&self, op: &Op, progress: &ProgressSink) -> Result<Applied, EngineError> {
        ops::apply(self, op, progress).await
    }

    async fn events(&self, project: Option<&str>) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
        let events = events::events(&self.places, project)?;
        if let Some(project) = project
            && observe::containers(&self.places, Some(project), false)?.iter().any(|s| s.needs_supervisor(&observe::boot()))
        {
            // Connected, it hears when the supervisor is killed, which would end all events.
            self.links.adopt(project).await?;
        }
        let Some(project) = project.map(str::to_owned) else { return Ok(events) };
        let links = Arc::clone(&self.links);
        // The same for one that somebody else has started since.
        let heard = move |event: Result<EngineEvent, EngineError>| {
            let (links, project) = (Arc::clone(&links), project.clone());
            async move {
                if event.as_ref().is_ok_and(|e| e.kind == EventKind::Started) {
                    // Without it there are still these events.
                    let _ = links.stay(&project).await;
                }
                event
            }
        };
        Ok(events.then(heard).boxed())
    }

    async fn logs(&self, container: &Target, query: &LogQuery) -> Result<BoxStream<'static, Result<LogChunk, EngineError>>, EngineError> {
        let seen = self.find(container).await?;
        if query.follow && seen.needs_supervisor(&observe::boot()) {
            // Connected, it hears when the supervisor is killed: then there must be another one, or the log would stand still.
            self.links.stay(&seen.record.project).await?;
        }
        logs::logs(&self.places, seen, query)
    }

    async fn exec(&self, container: &Target, spec: &ExecSpec) -> Result<ExecSession, EngineError> {
        let seen = self.find(container).await?;
        exec::exec(self, seen, spec).await
    }

    async fn inspect(&self, container: &Target) -> Result<ContainerDetails, EngineError> {
        Ok(inspect::details(self.find(container).await?))
    }
}
