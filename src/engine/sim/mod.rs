//! A strict engine in memory, on tokio's clock.
//!
//! What its containers do is written in the Compose file under `x-sim:` ([`Script`]); a container without a script runs
//! the commands that the built-in shell knows (`sh -c 'echo hello; exit 3'`) and otherwise is a server that ends when it
//! is told to. Everything is refused that a real engine would refuse, and some more: see [`Sim`].
//!
//! With a paused clock hours pass in milliseconds, and the same script gives the same events in the same order.

mod container;
mod exec;
mod files;
mod image;
mod log;
mod network;
mod ops;
mod process;
mod record;
mod script;
mod shell;
mod state;

pub use image::SimImage;
pub use record::{ContainerShot, Entry, Record, Snapshot};
pub use script::{After, EngineScript, ImageScript, LogScript, OwnerWord, ProgramScript, Script, ScriptError, ThingScript};

use super::{Engine, EngineInfo, ProgressSink};
use crate::model::Project;
use crate::units::Timestamp;
use crate::world::{
    Applied, Capabilities, ContainerDetails, EngineError, EngineEvent, ErrorKind, ExecSession, ExecSpec, LogChunk, LogQuery, ObserveQuery, Observed,
    Op, Owner, Target,
};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use state::State;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The simulated engine. Clones are the same engine.
///
/// Stricter than real ones: networks, volumes and images must exist before a container is created from them; nothing
/// in use can be removed, not even a network of stopped containers; names are never reused; a namespace can only be
/// joined while its owner runs.
#[derive(Clone, Debug)]
pub struct Sim {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    capabilities: Mutex<Capabilities>,
    /// Tokio's time at which the engine's clock showed [`Sim::EPOCH`].
    began: Instant,
}

impl Default for Sim {
    fn default() -> Self {
        Self::new()
    }
}

impl Sim {
    /// What the engine's clock shows when it begins.
    pub const EPOCH: Timestamp = Timestamp(1_800_000_000_000_000_000);

    /// An empty engine that can do everything, with an empty registry.
    pub fn new() -> Self {
        let shared = Shared { state: Mutex::default(), capabilities: Mutex::new(Capabilities::all()), began: Instant::now() };
        Self { shared: Arc::new(shared) }
    }

    /// An empty engine that has read the `x-sim:` of `project`.
    ///
    /// # Errors
    /// See [`Sim::learn`].
    pub fn from_project(project: &Project) -> Result<Self, Vec<ScriptError>> {
        let sim = Self::new();
        sim.learn(project)?;
        Ok(sim)
    }

    /// Reads the `x-sim:` of `project`, its services, networks and volumes. Its images become known to the registry.
    /// What was learnt of the project before is forgotten.
    ///
    /// # Errors
    /// Every `x-sim:` that can't be understood, with its place. Nothing is learnt then.
    pub fn learn(&self, project: &Project) -> Result<(), Vec<ScriptError>> {
        let scripts = script::Scripts::read(project)?;
        let words = [scripts.engine.restarts, scripts.engine.probes];
        self.vary(|capabilities| {
            for (word, owner) in words.into_iter().zip([&mut capabilities.restarts, &mut capabilities.probes]) {
                match word {
                    Some(OwnerWord::Engine) => *owner = Owner::Engine,
                    Some(OwnerWord::Us) => *owner = Owner::Us,
                    None => {}
                }
            }
        });
        let mut state = self.lock();
        state.taken_ports.extend(&scripts.engine.taken_ports);
        let missing: Vec<String> = scripts.engine.missing_images.iter().map(|i| image::canonical(i)).collect();
        let described = scripts.engine.images.iter().map(|(name, script)| (name, script.clone(), script.pulled));
        let plain = scripts.images.values().filter(|(name, _)| !scripts.engine.images.contains_key(name));
        for (name, script, pulled) in described.chain(plain.map(|(name, pulled)| (name, ImageScript::default(), *pulled))) {
            let full = image::canonical(name);
            if missing.contains(&full) {
                state.registry.remove(&full);
            } else {
                state.registry.insert(full.clone(), SimImage { script: script.clone() });
            }
            if pulled {
                state.local.entry(full).or_insert(SimImage { script });
            }
        }
        state.scripts.insert(project.name.clone(), scripts);
        Ok(())
    }

    /// Says what the containers of `service` do, in every project that has no script of its own.
    pub fn script(&self, service: &str, script: Script) {
        self.lock().any_project.insert(service.to_owned(), script);
    }

    /// Says what the containers of `service` of `project` do.
    pub fn script_in(&self, project: &str, service: &str, script: Script) {
        self.lock().scripts.entry(project.to_owned()).or_default().services.insert(service.to_owned(), script);
    }

    /// Puts an image into the registry, and on the host if its script says `pulled`.
    pub fn add_image(&self, reference: &str, image: SimImage) {
        let mut state = self.lock();
        let full = image::canonical(reference);
        if image.script.pulled {
            state.local.insert(full.clone(), image.clone());
        }
        state.registry.insert(full, image);
    }

    /// Changes what the engine says that it can do, and does.
    pub fn vary(&self, change: impl FnOnce(&mut Capabilities)) {
        change(&mut self.shared.capabilities.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends every event stream, as when the engine goes away.
    pub fn hang_up(&self) {
        self.lock().hang_up();
    }

    /// Everything that happened, in order.
    pub fn journal(&self) -> Vec<Entry> {
        self.lock().journal.clone()
    }

    /// Every op that was asked for, in order, with its times and outcome.
    pub fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        for entry in self.journal() {
            match entry {
                Entry::Begun { at, op, .. } => records.push(Record { begun: at, ended: None, op: *op }),
                Entry::Ended { at, number, outcome } => {
                    if let Some(record) = records.get_mut(number) {
                        record.ended = Some((at, outcome));
                    }
                }
                Entry::Event(_) => {}
            }
        }
        records
    }

    /// What exists.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        let shot = |c: &container::Container| ContainerShot {
            id: c.id.clone(),
            project: c.project().to_owned(),
            service: c.service().to_owned(),
            state: c.state,
            health: c.health.filter(|_| c.is_running()),
            exit_code: c.exit_code,
            starts: c.starts,
        };
        Snapshot {
            containers: state.containers.values().map(|c| (c.name.clone(), shot(c))).collect(),
            networks: state.networks.keys().cloned().collect(),
            volumes: state.volumes.keys().cloned().collect(),
            images: state.local.keys().cloned().collect(),
        }
    }

    /// The engine's time.
    pub fn now(&self) -> Timestamp {
        let passed = Instant::now().duration_since(self.shared.began).as_nanos();
        Timestamp(Self::EPOCH.0.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Engine for Sim {
    fn info(&self) -> EngineInfo {
        EngineInfo { name: "sim".into(), version: env!("CARGO_PKG_VERSION").into(), api: String::new(), endpoint: "in memory".into() }
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn observe(&self, query: &ObserveQuery) -> Result<Observed, EngineError> {
        tokio::task::yield_now().await;
        let now = self.now();
        let state = self.lock();
        let mut observed = Observed { containers: state.observed(query.project.as_deref(), now), ..Observed::default() };
        if query.containers_only {
            return Ok(observed);
        }
        let ours = |labels: &std::collections::BTreeMap<String, String>| {
            query.project.is_some() && labels.get(crate::world::label::PROJECT) == query.project.as_ref()
        };
        let networks = state.networks.values().filter(|n| ours(&n.spec.labels) || query.networks.contains(&n.spec.name));
        observed.networks = networks.map(network::Network::observed).collect();
        let volumes = state.volumes.values().filter(|v| ours(&v.state.labels) || query.volumes.contains(&v.state.name));
        observed.volumes = volumes.map(|v| v.state.clone()).collect();
        for wanted in &query.images {
            if let Some(image) = state.image(&wanted.reference) {
                observed.images.insert(wanted.reference.clone(), image.observed(&wanted.reference));
            }
        }
        Ok(observed)
    }

    /// Goes on to its end also when the returned future is dropped, as a request does that has reached an engine.
    async fn apply(&self, op: &Op, progress: &ProgressSink) -> Result<Applied, EngineError> {
        let (sim, op, progress) = (self.clone(), op.clone(), progress.clone());
        let number = {
            let at = sim.now();
            let mut state = sim.lock();
            let number = state.ops;
            state.ops += 1;
            state.journal.push(Entry::Begun { at, number, op: Box::new(op.clone()) });
            number
        };
        let work = tokio::spawn(async move {
            let outcome = sim.perform(&op, &progress).await;
            let at = sim.now();
            sim.lock().journal.push(Entry::Ended { at, number, outcome: outcome.clone() });
            outcome
        });
        match work.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(EngineError::new(ErrorKind::Unreachable, "the simulated engine was shut down")),
        }
    }

    async fn events(&self, project: Option<&str>) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
        let receiver = self.lock().subscribe(project);
        Ok(stream::unfold(receiver, |mut r| async move { r.recv().await.map(|event| (Ok(event), r)) }).boxed())
    }

    async fn logs(&self, container: &Target, query: &LogQuery) -> Result<BoxStream<'static, Result<LogChunk, EngineError>>, EngineError> {
        self.refuse_by_script(container, "logs")?;
        log::read(self, container, query)
    }

    async fn exec(&self, container: &Target, spec: &ExecSpec) -> Result<ExecSession, EngineError> {
        self.refuse_by_script(container, "exec")?;
        exec::start(self, container, spec)
    }

    async fn inspect(&self, container: &Target) -> Result<ContainerDetails, EngineError> {
        tokio::task::yield_now().await;
        let mut state = self.lock();
        let id = state.id_of(container)?;
        Ok(state.get(&id)?.details())
    }
}
