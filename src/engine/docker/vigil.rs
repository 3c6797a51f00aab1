//! Podman's events, made whole, and its health checks, where nobody else runs them.
//!
//! A reading of events may come to an end unnoticed (see `tape`). So we look whenever something should have been heard:
//! after an op that starts or ends a process, and when the engine says that a process has ended, which it is asked of
//! each one (libpod API, `wait`). If it was not heard, the reading is begun anew.
//!
//! Health checks it leaves to timers of systemd. Without systemd it never probes, and whoever waits for health waits for
//! ever. So where there are no timers, probes are run by us while somebody listens to events. Podman runs the command,
//! counts failures and judges; we say when, and tell what came of it.

use super::DockerEngine;
use super::client::{Client, escape, query};
use super::error::Failure;
use super::events;
use super::inspect::{inspected, time};
use super::json::nullable;
use super::observe::{filters, of_project};
use super::status;
use super::tape::Tape;
use crate::units::{Duration, Timestamp};
use crate::world::{ContainerId, EngineEvent, EventKind, Health, HealthcheckSpec, label};
use futures::future::BoxFuture;
use futures::stream::{self, AbortHandle, BoxStream, FuturesUnordered, SelectAll, abortable};
use futures::{FutureExt, StreamExt};
use hyper::Method;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration as Span;
use tokio::sync::OnceCell;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, sleep};

/// Time between probes where nobody says; also how long one may take.
const INTERVAL: Duration = Duration::from_secs(30);
/// Failures in a row that make a container unhealthy where nobody says.
const RETRIES: u64 = 3;
/// How long after something has happened its event may come.
const GRACE: Span = Span::from_secs(1);
/// How often the engine looks after a process whose end we wait for (libpod API, `wait`).
const WAIT_INTERVAL: &str = "1s";
type Events = BoxStream<'static, Result<EngineEvent, Failure>>;

/// The events of a project, or of all.
pub async fn events(engine: &DockerEngine, project: Option<&str>) -> Result<Events, Failure> {
    let client = engine.client.clone();
    let hints = engine.switched.subscribe();
    let since = if client.is_local() { events::now_by_our_clock() } else { now_by_its_clock(&client).await? };
    let tape = Tape::begin(&client, project, since).await?;
    let mut vigil = Vigil {
        timers: Arc::default(),
        project: project.map(str::to_owned),
        since,
        tape,
        hints,
        heard: BTreeMap::new(),
        names: BTreeMap::new(),
        looks: FuturesUnordered::new(),
        watches: SelectAll::new(),
        stops: BTreeMap::new(),
        client,
    };
    for container in containers(&vigil.client, project).await? {
        if container.state == "running" {
            vigil.look(container.id.clone(), false);
        }
        vigil.names.insert(container.id, container.names.first().map_or("", |n| n.trim_start_matches('/')).to_owned());
    }
    Ok(stream::unfold(vigil, |mut vigil| async move { vigil.next().await.map(|event| (event, vigil)) }).boxed())
}

/// Whether systemd's timers run the probes of this engine.
async fn has_timers(client: &Client) -> Result<bool, Failure> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Host {
        #[serde(default)]
        cgroup_manager: String,
    }
    #[derive(Deserialize)]
    struct Info {
        #[serde(default, deserialize_with = "nullable")]
        host: Host,
    }
    let info: Info = client.json(Method::GET, "/libpod/info", None).await?;
    Ok(info.host.cgroup_manager == "systemd")
}

async fn now_by_its_clock(client: &Client) -> Result<Timestamp, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Info {
        #[serde(default)]
        system_time: String,
    }
    let info: Info = client.json(Method::GET, "/info", None).await?;
    Ok(Timestamp::parse_rfc3339(&info.system_time).unwrap_or_else(events::now_by_our_clock))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    state: String,
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
}

/// The containers of a project.
async fn containers(client: &Client, project: Option<&str>) -> Result<Vec<Listed>, Failure> {
    let filter = filters(&[("label", &[&of_project(project)])]);
    client.json(Method::GET, &query("/containers/json", &[("all", "1"), ("filters", &filter)]), None).await
}

/// When the last start and the last end that were heard of a container happened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Heard {
    started: Timestamp,
    died: Timestamp,
}

impl Heard {
    /// Whether something that a look shows should have been heard since `since`. Events are a little later than what
    /// they tell of.
    fn lacks(self, life: &Life, since: Timestamp) -> bool {
        let started = life.started.is_some_and(|t| t > since && t > self.started);
        let died = !life.running && life.finished.is_some_and(|t| t > since && t > self.died);
        started || died
    }
}

/// What a look at a container shows.
#[derive(Debug)]
struct Life {
    container: ContainerId,
    project: String,
    running: bool,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    check: Option<HealthcheckSpec>,
    health: Option<Health>,
}

/// What comes of watching a container that runs.
enum Watched {
    Probed(EngineEvent),
    /// The engine says that its process has ended.
    Ended(String),
}

/// A look: whether something that should have been heard is looked for, and what is seen.
type Look = BoxFuture<'static, (bool, Option<Life>)>;

struct Vigil {
    client: Client,
    project: Option<String>,
    /// Whether somebody else runs the probes, once that matters.
    timers: Arc<OnceCell<bool>>,
    since: Timestamp,
    tape: Tape,
    /// Containers that an op has started or ended.
    hints: broadcast::Receiver<String>,
    heard: BTreeMap<String, Heard>,
    /// Names by id: Podman doesn't say which one a container had.
    names: BTreeMap<String, String>,
    looks: FuturesUnordered<Look>,
    watches: SelectAll<BoxStream<'static, Watched>>,
    stops: BTreeMap<String, AbortHandle>,
}

impl Vigil {
    async fn next(&mut self) -> Option<Result<EngineEvent, Failure>> {
        loop {
            tokio::select! {
                biased;
                event = self.tape.next() => match event? {
                    Ok(mut event) => if self.hear(&mut event) {
                        return Some(Ok(event));
                    },
                    Err(failure) => return Some(Err(failure)),
                },
                Some(watched) = self.watches.next() => match watched {
                    Watched::Probed(event) => return Some(Ok(event)),
                    Watched::Ended(id) => self.look(id, true),
                },
                Some((late, life)) = self.looks.next() => if let Some(life) = life {
                    self.looked(life, late);
                },
                hint = self.hints.recv() => match hint {
                    Ok(container) => self.look(container, true),
                    Err(RecvError::Lagged(_)) => {
                        let all: Vec<_> = self.heard.keys().cloned().collect();
                        all.into_iter().for_each(|id| self.look(id, true));
                    }
                    // The engine's own end of it lives as long as the engine does; its events go on without.
                    Err(RecvError::Closed) => return self.tape.next().await,
                },
            }
        }
    }

    /// Takes an event in. False if it is not to be told.
    fn hear(&mut self, event: &mut EngineEvent) -> bool {
        let id = &event.container.id;
        let name = match event.kind {
            EventKind::Removed => self.names.remove(id),
            _ => self.names.insert(id.clone(), event.container.name.clone()),
        };
        match &mut event.kind {
            EventKind::Renamed { from } if from.is_empty() => *from = name.unwrap_or_default(),
            EventKind::Started => {
                self.heard.entry(id.clone()).or_default().started = event.time;
                self.look(id.clone(), false);
            }
            EventKind::Died { .. } => {
                self.heard.entry(id.clone()).or_default().died = event.time;
                self.leave(id);
            }
            EventKind::Removed => {
                self.heard.remove(id);
                self.leave(id);
            }
            // Podman tells it before it has made up its mind.
            EventKind::Health(_) => return self.timers.get() == Some(&true),
            _ => {}
        }
        true
    }

    /// Looks at a container: at once to know what there is to watch, or `late` for what should have been heard.
    fn look(&mut self, container: String, late: bool) {
        let client = self.client.clone();
        self.looks.push(Box::pin(async move {
            if late {
                sleep(GRACE).await;
            }
            (late, look(&client, &container).await.ok())
        }));
    }

    fn looked(&mut self, life: Life, late: bool) {
        if self.project.as_ref().is_some_and(|p| *p != life.project) {
            return;
        }
        let id = &life.container.id;
        if late && self.heard.get(id).copied().unwrap_or_default().lacks(&life, self.since) {
            self.tape.renew();
        }
        if life.running && !late {
            self.watch(life);
        }
    }

    fn watch(&mut self, life: Life) {
        let id = life.container.id.clone();
        let end = ended(self.client.clone(), id.clone());
        let watches = match life.check.clone().filter(|c| !c.is_none() && !c.test.is_empty()) {
            Some(check) => stream::select(end, probes(self.client.clone(), life, check, Arc::clone(&self.timers))).boxed(),
            None => end,
        };
        let (watches, stop) = abortable(watches);
        if let Some(earlier) = self.stops.insert(id, stop) {
            earlier.abort();
        }
        self.watches.push(watches.boxed());
    }

    fn leave(&mut self, id: &str) {
        if let Some(stop) = self.stops.remove(id) {
            stop.abort();
        }
    }
}

/// Says when the process of a container has ended.
fn ended(client: Client, id: String) -> BoxStream<'static, Watched> {
    let wait = async move {
        let path = format!("/libpod/containers/{}/wait", escape(&id));
        // An error says that there is no such container any more, or that the engine went away, which is heard elsewhere.
        let _ = client.call(Method::POST, &query(&path, &[("condition", "exited"), ("interval", WAIT_INTERVAL)]), None).await;
        Watched::Ended(id)
    };
    wait.into_stream().boxed()
}

/// Probes a container until it is gone; says when its health changes.
fn probes(client: Client, life: Life, check: HealthcheckSpec, timers: Arc<OnceCell<bool>>) -> BoxStream<'static, Watched> {
    let age = life.started.map_or(0, |t| events::now_by_our_clock().0.saturating_sub(t.0).max(0));
    let young = Duration(check.start_period.unwrap_or(Duration(0)).0.saturating_sub(age)).to_std();
    let probing = Probing { client, container: life.container, last: life.health, grown_up: Instant::now() + young, check, timers };
    stream::unfold(probing, |mut probing| async move {
        let health = probing.changed().await?;
        let event = EngineEvent { time: events::now_by_our_clock(), container: probing.container.clone(), kind: EventKind::Health(health) };
        Some((Watched::Probed(event), probing))
    })
    .boxed()
}

struct Probing {
    client: Client,
    container: ContainerId,
    check: HealthcheckSpec,
    last: Option<Health>,
    /// From then on a failure counts.
    grown_up: Instant,
    timers: Arc<OnceCell<bool>>,
}

impl Probing {
    /// Probes until the health is another one. `None` when there is nothing to probe any more.
    async fn changed(&mut self) -> Option<Health> {
        loop {
            let interval = sleep(self.check.interval.unwrap_or(INTERVAL).to_std());
            let (timers, ()) = tokio::join!(self.timers.get_or_try_init(|| has_timers(&self.client)), interval);
            if *timers.ok()? {
                return None;
            }
            let health = self.probe().await?;
            if health.is_some() && health != self.last {
                self.last = health;
                return health;
            }
        }
    }

    /// Probes once; what the engine makes of it. It waits for its command as long as that takes, and only then calls it
    /// a failure: a command that hangs makes the container unhealthy here.
    async fn probe(&self) -> Option<Option<Health>> {
        let path = format!("/libpod/containers/{}/healthcheck", escape(&self.container.id));
        let mut call = std::pin::pin!(self.client.call(Method::GET, &path, None));
        let time = |given: Option<Duration>| given.unwrap_or(INTERVAL).to_std();
        let round = time(self.check.timeout) + time(self.check.interval);
        let mut late = 0;
        loop {
            tokio::select! {
                biased;
                answer = &mut call => return match answer {
                    // It answers 409 for a paused one.
                    Ok(_) => Some(look(&self.client, &self.container.id).await.ok()?.health),
                    Err(failure) if failure.status() == Some(409) => Some(None),
                    // A probe that took too long counts, and is an error.
                    Err(failure) if failure.status() == Some(500) => Some(look(&self.client, &self.container.id).await.ok()?.health),
                    Err(_) => None,
                },
                () = sleep(round) => {
                    late += u64::from(Instant::now() >= self.grown_up);
                    if late >= self.check.retries.unwrap_or(RETRIES) && self.last != Some(Health::Unhealthy) {
                        return Some(Some(Health::Unhealthy));
                    }
                }
            }
        }
    }
}

/// Looks at a container, by id or name.
async fn look(client: &Client, container: &str) -> Result<Life, Failure> {
    let found = inspected(client, container).await?;
    Ok(Life {
        project: found.config.labels.get(label::PROJECT).cloned().unwrap_or_default(),
        container: events::container_id(found.id, &found.name, &found.config.labels),
        running: found.state.running || found.state.paused,
        started: time(&found.state.started_at),
        finished: time(&found.state.finished_at),
        check: found.config.healthcheck.map(Into::into),
        health: found.state.health.and_then(|h| status::health(&h.status)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(running: bool, started: i64, finished: i64) -> Life {
        let time = |t: i64| (t > 0).then_some(Timestamp(t));
        let container = ContainerId::default();
        Life { container, project: String::new(), running, started: time(started), finished: time(finished), check: None, health: None }
    }

    #[test]
    fn what_a_look_shows_and_was_not_heard_is_missed() {
        let heard = |started, died| Heard { started: Timestamp(started), died: Timestamp(died) };
        for (heard, life, lacks) in [
            (heard(0, 0), life(true, 20, 0), true),
            (heard(21, 0), life(true, 20, 0), false),
            (heard(21, 0), life(false, 20, 30), true),
            (heard(21, 31), life(false, 20, 30), false),
            (heard(0, 31), life(false, 20, 30), true),
            (heard(21, 31), life(true, 40, 30), true),
            // What was before the subscription is not to be heard.
            (heard(0, 0), life(true, 5, 0), false),
            (heard(0, 0), life(false, 5, 9), false),
            (heard(0, 0), life(false, 5, 30), true),
            (heard(0, 0), life(false, 0, 0), false),
        ] {
            assert_eq!(heard.lacks(&life, Timestamp(10)), lacks, "{heard:?} {life:?}");
        }
    }
}
