//! Health checks of Podman where nobody runs them.
//!
//! Podman leaves them to timers of systemd. Without systemd it never probes, and whoever waits for health waits for
//! ever. So where there are no timers, probes are run by us while somebody listens to events. Podman runs the command,
//! counts failures and judges; we only say when.

use super::client::{Client, escape, query};
use super::error::Failure;
use super::events;
use super::json::nullable;
use super::observe::{InspectedHealthcheck, filters, of_project};
use super::status;
use crate::units::{Duration, Timestamp};
use crate::world::{ContainerId, EngineEvent, EventKind, Health, HealthcheckSpec};
use futures::StreamExt;
use futures::stream::{self, AbortHandle, BoxStream, SelectAll, abortable};
use hyper::Method;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Time between probes where nobody says.
const INTERVAL: Duration = Duration::from_secs(30);

type Events = BoxStream<'static, Result<EngineEvent, Failure>>;

/// Whether systemd's timers run the probes of this engine.
pub async fn has_timers(client: &Client) -> Result<bool, Failure> {
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

/// A project's events, with those of the probes that are run meanwhile.
pub async fn with_probes(client: Client, project: Option<&str>, events: Events) -> Result<Events, Failure> {
    let mut state = Probing { client, events, probes: SelectAll::new(), stops: BTreeMap::new() };
    for container in running(&state.client, project).await? {
        state.start(container);
    }
    Ok(stream::unfold(state, |mut state| async move {
        loop {
            let event = tokio::select! {
                biased;
                event = state.events.next() => event?,
                Some(event) = state.probes.next() => return Some((event, state)),
            };
            if let Ok(event) = &event {
                match &event.kind {
                    EventKind::Started => state.start(event.container.clone()),
                    EventKind::Died { .. } | EventKind::Removed => state.stop(&event.container.id),
                    // The engine tells it before it has made up its mind.
                    EventKind::Health(_) => continue,
                    _ => {}
                }
            }
            return Some((event, state));
        }
    })
    .boxed())
}

struct Probing {
    client: Client,
    events: Events,
    probes: SelectAll<Events>,
    stops: BTreeMap<String, AbortHandle>,
}

impl Probing {
    fn start(&mut self, container: ContainerId) {
        let id = container.id.clone();
        let (probes, stop) = abortable(probes(self.client.clone(), container));
        if let Some(earlier) = self.stops.insert(id, stop) {
            earlier.abort();
        }
        self.probes.push(probes.boxed());
    }

    fn stop(&mut self, id: &str) {
        if let Some(stop) = self.stops.remove(id) {
            stop.abort();
        }
    }
}

/// Containers of a project that run.
async fn running(client: &Client, project: Option<&str>) -> Result<Vec<ContainerId>, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Listed {
        id: String,
        #[serde(default, deserialize_with = "nullable")]
        names: Vec<String>,
        #[serde(default, deserialize_with = "nullable")]
        labels: BTreeMap<String, String>,
    }
    let filter = filters(&[("label", &[&of_project(project)]), ("status", &["running"])]);
    let listed: Vec<Listed> = client.json(Method::GET, &query("/containers/json", &[("filters", &filter)]), None).await?;
    Ok(listed.into_iter().map(|c| events::container_id(c.id, c.names.first().map_or("", String::as_str), &c.labels)).collect())
}

/// Probes one container until it is gone; says when its health changes.
fn probes(client: Client, container: ContainerId) -> Events {
    let begin = async move {
        let (check, health) = look(&client, &container.id).await.ok()?;
        let check = check.filter(|c| !c.is_none() && !c.test.is_empty())?;
        let interval = check.interval.unwrap_or(INTERVAL).to_std();
        Some((client, container, interval, health))
    };
    let probing = stream::once(begin).filter_map(|state| async { state }).flat_map(|state| {
        stream::unfold(state, |(client, container, interval, mut last)| async move {
            loop {
                tokio::time::sleep(interval).await;
                let probe = format!("/libpod/containers/{}/healthcheck", escape(&container.id));
                match client.call(Method::GET, &probe, None).await {
                    Ok(_) => {}
                    // Paused.
                    Err(failure) if failure.status() == Some(409) => continue,
                    Err(_) => return None,
                }
                let (_, health) = look(&client, &container.id).await.ok()?;
                if health != last
                    && let Some(now) = health
                {
                    last = health;
                    let event = EngineEvent { time: now_by_our_clock(), container: container.clone(), kind: EventKind::Health(now) };
                    return Some((Ok(event), (client, container, interval, last)));
                }
            }
        })
    });
    probing.boxed()
}

fn now_by_our_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A container's health check and health.
async fn look(client: &Client, id: &str) -> Result<(Option<HealthcheckSpec>, Option<Health>), Failure> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        #[serde(default)]
        healthcheck: Option<InspectedHealthcheck>,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct HealthState {
        #[serde(default)]
        status: String,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct State {
        #[serde(default, deserialize_with = "nullable")]
        health: HealthState,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inspected {
        #[serde(default, deserialize_with = "nullable")]
        config: Config,
        #[serde(default, deserialize_with = "nullable")]
        state: State,
    }
    let found: Inspected = client.json(Method::GET, &format!("/containers/{}/json", escape(id)), None).await?;
    Ok((found.config.healthcheck.map(Into::into), status::health(&found.state.health.status)))
}
