//! Restart policies and health probes for engines that leave them to us, for as long as we run.

use crate::engine::{Engine, EngineInfo, ProgressSink};
use crate::policy::{Health as Machine, HealthConfig, HealthFact, HealthState, Probing, Restart, RestartAction, RestartFact};
use crate::units::Timestamp;
use crate::world::{
    Applied, Capabilities, ContainerDetails, ContainerId, EngineError, EngineEvent, EventKind, ExecSpec, Health, HealthcheckSpec, LogChunk, LogQuery,
    ObserveQuery, Observed, Op, Owner, Probe, RestartPolicy, State, Target,
};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// The engine, with what it leaves to us done by us. One that does everything itself is given back as it is.
pub fn supervised(engine: &Arc<dyn Engine>) -> Arc<dyn Engine> {
    let can = engine.capabilities();
    if can.restarts == Owner::Engine && can.probes == Owner::Engine {
        return Arc::clone(engine);
    }
    let shared = Shared {
        inner: Arc::clone(engine),
        restarts: can.restarts == Owner::Us,
        probes: can.probes == Owner::Us,
        began: Instant::now(),
        wards: Mutex::default(),
        listeners: Mutex::default(),
    };
    Arc::new(Supervisor { shared: Arc::new(shared), tasks: Arc::default() })
}

/// An engine whose containers we look after.
#[derive(Clone, Debug)]
struct Supervisor {
    shared: Arc<Shared>,
    /// Dropped with the last use of the engine; that ends them.
    tasks: Arc<Mutex<JoinSet<()>>>,
}

#[derive(Debug)]
struct Shared {
    inner: Arc<dyn Engine>,
    restarts: bool,
    probes: bool,
    began: Instant,
    wards: Mutex<BTreeMap<String, Ward>>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<EngineEvent>>>,
}

/// A container that is looked after.
#[derive(Debug, Default)]
struct Ward {
    /// Counts its runs.
    run: u64,
    /// When this run began, by the engine's clock.
    started: Option<Timestamp>,
    alive: bool,
    health: Option<Health>,
    probes: VecDeque<Probe>,
    restart: Option<Restart>,
    /// Somebody ends it on purpose.
    purposely: bool,
    /// It is going to be started again.
    waiting: bool,
    restarted: u64,
}

/// How many probes are remembered, and how much of what they print.
const PROBES: usize = 5;
const OUTPUT: usize = 4096;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether run `run` of a container goes on.
    fn goes_on(&self, id: &str, run: u64) -> bool {
        lock(&self.wards).get(id).is_some_and(|ward| ward.alive && ward.run == run)
    }

    fn set_health(&self, container: &ContainerId, time: Timestamp, health: Health, probe: Option<Probe>) {
        let changed = {
            let mut wards = lock(&self.wards);
            let ward = wards.entry(container.id.clone()).or_default();
            ward.probes.extend(probe);
            while ward.probes.len() > PROBES {
                ward.probes.pop_front();
            }
            ward.health.replace(health) != Some(health)
        };
        if changed {
            let event = EngineEvent { time, container: container.clone(), kind: EventKind::Health(health) };
            lock(&self.listeners).retain(|listener| listener.send(event.clone()).is_ok());
        }
    }

    /// Probes a container as long as its run `run` goes on; `known` if it ran before we came.
    async fn probe(&self, container: ContainerId, run: u64, known: bool) {
        let target = Target::existing(&container.name, &container.id);
        let Ok(details) = self.inner.inspect(&target).await else { return };
        let Some(check) = details.healthcheck.filter(|check| !check.is_none() && !check.test.is_empty()) else { return };
        let time = details.started.unwrap_or_default();
        let config = HealthConfig::of(&check);
        let mut machine = Machine::new(config);
        let mut action = machine.on(HealthFact::Started, self.now());
        if known {
            action = machine.on(HealthFact::Due, self.now());
        }
        self.set_health(&container, time, Health::Starting, None);
        loop {
            match action {
                Probing::Nothing => return,
                Probing::Wait { until } => {
                    sleep_until(self.began + until).await;
                    if !self.goes_on(&container.id, run) {
                        return;
                    }
                    action = machine.on(HealthFact::Due, self.now());
                }
                Probing::Probe { deadline } => {
                    let limit = deadline.saturating_sub(self.now());
                    let begun = self.now();
                    let (exit_code, output) = match timeout(limit, self.run_probe(&target, &check)).await {
                        Ok(result) => result,
                        Err(_) => (-1, format!("Health check exceeded timeout ({})", length(config.timeout))),
                    };
                    if !self.goes_on(&container.id, run) {
                        return;
                    }
                    let nanos = |d: Duration| Timestamp(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX));
                    let probe = Probe { start: Some(nanos(begun)), end: Some(nanos(self.now())), exit_code, output };
                    action = machine.on(HealthFact::Probed { good: exit_code == 0 }, self.now());
                    let health = match machine.state() {
                        HealthState::Starting => Health::Starting,
                        HealthState::Healthy => Health::Healthy,
                        HealthState::Unhealthy => Health::Unhealthy,
                    };
                    self.set_health(&container, time, health, Some(probe));
                }
            }
        }
    }

    async fn run_probe(&self, target: &Target, check: &HealthcheckSpec) -> (i64, String) {
        let command = match check.test.split_first() {
            Some((kind, rest)) if kind == "CMD-SHELL" => ["/bin/sh".to_owned(), "-c".to_owned()].into_iter().chain(rest.iter().cloned()).collect(),
            Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
            _ => check.test.clone(),
        };
        let result = async {
            let mut session = self.inner.exec(target, &ExecSpec { command, ..ExecSpec::default() }).await?;
            let mut output = Vec::new();
            while let Some(piece) = session.output.next().await {
                let (_, bytes) = piece?;
                output.extend_from_slice(&bytes[..bytes.len().min(OUTPUT.saturating_sub(output.len()))]);
            }
            let code = session.control.exit_code().await?;
            Ok::<_, EngineError>((code, String::from_utf8_lossy(&output).into_owned()))
        };
        result.await.unwrap_or_else(|error| (-1, error.to_string()))
    }

    /// Starts a container again after its wait.
    async fn start_again(&self, container: ContainerId, run: u64, until: Duration) {
        sleep_until(self.began + until).await;
        {
            let mut wards = lock(&self.wards);
            let Some(ward) = wards.get_mut(&container.id).filter(|w| w.waiting && w.run == run) else { return };
            let now = self.now();
            if ward.restart.as_mut().is_none_or(|r| r.on(RestartFact::WaitOver, now) != RestartAction::Start) {
                return;
            }
            ward.restarted += 1;
        }
        let (sink, _) = mpsc::channel(1);
        let start = Op::StartContainer { container: Target::existing(&container.name, &container.id) };
        if self.inner.apply(&start, &sink).await.is_err()
            && let Some(ward) = lock(&self.wards).get_mut(&container.id)
        {
            ward.waiting = false;
        }
    }
}

fn length(limit: Duration) -> crate::units::Duration {
    crate::units::Duration(i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX))
}

impl Supervisor {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Takes note of an event. The same one may come several times, by several subscriptions.
    fn note(&self, event: &EngineEvent) {
        let c = &event.container;
        let now = self.shared.now();
        let mut wards = lock(&self.shared.wards);
        let ward = wards.entry(c.id.clone()).or_default();
        match event.kind {
            EventKind::Started if !ward.alive || ward.started.is_some_and(|t| t < event.time) => {
                ward.run += 1;
                (ward.started, ward.alive, ward.waiting, ward.purposely, ward.health) = (Some(event.time), true, false, false, None);
                if let Some(restart) = &mut ward.restart {
                    restart.on(RestartFact::Started, now);
                }
                let run = ward.run;
                drop(wards);
                self.look_after(c.clone(), run, false);
            }
            EventKind::Died { exit_code } if ward.alive => {
                ward.alive = false;
                let purposely = std::mem::take(&mut ward.purposely);
                if purposely || !self.shared.restarts {
                    return;
                }
                if let Some(RestartAction::Wait { until }) = ward.restart.as_mut().map(|r| r.on(RestartFact::Exited { code: exit_code }, now)) {
                    ward.waiting = true;
                    let (shared, container, run) = (Arc::clone(&self.shared), c.clone(), ward.run);
                    drop(wards);
                    self.spawn(async move { shared.start_again(container, run, until).await });
                }
            }
            EventKind::Stopped => {
                ward.waiting = false;
                if let Some(restart) = &mut ward.restart {
                    restart.on(RestartFact::Stopped, now);
                }
            }
            EventKind::Removed => drop(wards.remove(&c.id)),
            _ => {}
        }
    }

    fn look_after(&self, container: ContainerId, run: u64, known: bool) {
        let shared = Arc::clone(&self.shared);
        self.spawn(async move {
            if shared.restarts && lock(&shared.wards).get(&container.id).is_some_and(|w| w.restart.is_none()) {
                let details = shared.inner.inspect(&Target::existing(&container.name, &container.id)).await;
                if let (Ok(details), Some(ward)) = (details, lock(&shared.wards).get_mut(&container.id)) {
                    let restart = ward.restart.get_or_insert_with(|| Restart::new(details.restart));
                    restart.on(RestartFact::Started, shared.now());
                }
            }
            if shared.probes {
                shared.probe(container, run, known).await;
            }
        });
    }

    /// Somebody wants a container down, or gone.
    fn purpose(&self, target: &Target) {
        let mut wards = lock(&self.shared.wards);
        if let Some(ward) = target.id.as_ref().and_then(|id| wards.get_mut(id)) {
            (ward.purposely, ward.waiting) = (ward.alive, false);
        }
    }
}

#[async_trait]
impl Engine for Supervisor {
    fn info(&self) -> EngineInfo {
        self.shared.inner.info()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { restarts: Owner::Engine, probes: Owner::Engine, ..self.shared.inner.capabilities() }
    }

    async fn observe(&self, query: &ObserveQuery) -> Result<Observed, EngineError> {
        let mut observed = self.shared.inner.observe(query).await?;
        let mut new = Vec::new();
        let mut wards = lock(&self.shared.wards);
        for c in &mut observed.containers {
            if c.state == State::Running && !wards.contains_key(&c.id) {
                wards.insert(c.id.clone(), Ward { alive: true, health: c.health, ..Ward::default() });
                new.push(super::watch::identify(c));
            }
            match wards.get(&c.id) {
                Some(ward) if ward.waiting => c.state = State::Restarting,
                Some(ward) if ward.alive && self.shared.probes => c.health = ward.health.or(c.health),
                _ => {}
            }
        }
        drop(wards);
        for container in new {
            self.look_after(container, 0, true);
        }
        Ok(observed)
    }

    async fn apply(&self, op: &Op, progress: &ProgressSink) -> Result<Applied, EngineError> {
        match op {
            Op::StopContainer { container, .. }
            | Op::KillContainer { container, .. }
            | Op::RestartContainer { container, .. }
            | Op::RemoveContainer { container, .. } => self.purpose(container),
            _ => {}
        }
        let applied = self.shared.inner.apply(op, progress).await?;
        if let (Op::CreateContainer(spec), Some(id)) = (op, &applied.id)
            && spec.restart != RestartPolicy::No
        {
            lock(&self.shared.wards).entry(id.clone()).or_default().restart = Some(Restart::new(spec.restart.clone()));
        }
        Ok(applied)
    }

    async fn events(&self, project: Option<&str>) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
        let events = self.shared.inner.events(project).await?;
        let (listener, mut own) = mpsc::unbounded_channel();
        lock(&self.shared.listeners).push(listener);
        let me = self.clone();
        let noted = events.inspect(move |event| {
            if let Ok(event) = event {
                me.note(event);
            }
        });
        // Ends with the engine's events, not with ours.
        let own = stream::poll_fn(move |cx| own.poll_recv(cx).map(|event| event.map(|e| Some(Ok(e)))));
        let theirs = noted.map(Some).chain(stream::iter([None]));
        Ok(stream::select(theirs, own).take_while(|event| std::future::ready(event.is_some())).filter_map(std::future::ready).boxed())
    }

    async fn logs(&self, container: &Target, query: &LogQuery) -> Result<BoxStream<'static, Result<LogChunk, EngineError>>, EngineError> {
        self.shared.inner.logs(container, query).await
    }

    async fn exec(&self, container: &Target, spec: &ExecSpec) -> Result<crate::world::ExecSession, EngineError> {
        self.shared.inner.exec(container, spec).await
    }

    async fn inspect(&self, container: &Target) -> Result<ContainerDetails, EngineError> {
        let mut details = self.shared.inner.inspect(container).await?;
        if let Some(ward) = lock(&self.shared.wards).get(&details.id) {
            if self.shared.probes && ward.health.is_some() {
                details.probes = ward.probes.iter().cloned().collect();
                details.health = ward.health.filter(|_| ward.alive);
            }
            if ward.waiting {
                details.state = Some(State::Restarting);
            }
            if self.shared.restarts {
                details.restarts += ward.restarted;
            }
        }
        Ok(details)
    }
}
