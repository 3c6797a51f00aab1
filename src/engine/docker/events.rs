//! What happens to containers: one JSON object a line, for as long as anybody listens.

use super::DockerEngine;
use super::body::Pieces;
use super::client::{Client, query};
use super::error::Failure;
use super::json::nullable;
use super::observe::{filters, of_project};
use super::{status, vigil};
use crate::units::Timestamp;
use crate::world::{ContainerId, EngineError, EngineEvent, EventKind, label};
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use hyper::Method;
use hyper::header::HeaderMap;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

const DOING: &str = "tell what happens to containers";

/// Subscribes to the containers of a project, or of all.
pub async fn events(engine: &DockerEngine, project: Option<&str>) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
    let work = async {
        if engine.quirks.loses_events {
            return vigil::events(engine, project).await;
        }
        // An engine begins its answer a moment before it listens to itself. Where it shares our clock, what happens in
        // that moment is asked for by time.
        let since = engine.client.is_local().then(now_by_our_clock);
        let raw = subscribe(&engine.client, &[("type", &["container"]), ("label", &[&of_project(project)])], since).await?;
        Ok(raw.map(|item| item.map(event)).boxed())
    };
    let events = work.await.map_err(|f: Failure| f.explain(DOING))?;
    Ok(events.map(|item| item.map_err(|f| f.explain(DOING))).boxed())
}

/// Events as the engine sends them, from now or `since` then on. The stream ends with an error when the engine goes away.
pub async fn subscribe(
    client: &Client,
    wanted: &[(&str, &[&str])],
    since: Option<Timestamp>,
) -> Result<impl stream::Stream<Item = Result<Raw, Failure>> + Send + use<>, Failure> {
    let filter = filters(wanted);
    let mut pairs = vec![("filters", filter.as_str())];
    let since = since.map(|t| format!("{}.{:09}", t.0.div_euclid(1_000_000_000), t.0.rem_euclid(1_000_000_000)));
    pairs.extend(since.as_deref().map(|t| ("since", t)));
    let (_, pieces) = client.stream(Method::GET, &query("/events", &pairs), HeaderMap::new()).await?;
    Ok(lines(pieces))
}

/// Cuts a body into lines of JSON.
pub fn lines<T: for<'de> Deserialize<'de> + Send>(pieces: Pieces) -> impl stream::Stream<Item = Result<T, Failure>> + Send {
    struct State {
        pieces: Pieces,
        piece: Bytes,
        begun: BytesMut,
        ended: bool,
    }
    let state = State { pieces, piece: Bytes::new(), begun: BytesMut::new(), ended: false };
    stream::unfold(state, |mut s| async move {
        loop {
            if let Some(at) = s.piece.iter().position(|b| *b == b'\n') {
                s.begun.extend_from_slice(&s.piece[..at]);
                s.piece.advance(at + 1);
            } else {
                s.begun.extend_from_slice(&std::mem::take(&mut s.piece));
                match s.pieces.next().await {
                    _ if s.ended => return None,
                    Some(Ok(piece)) => {
                        s.piece = piece;
                        continue;
                    }
                    Some(Err(failure)) => {
                        s.ended = true;
                        return Some((Err(failure), s));
                    }
                    None => s.ended = true,
                }
            }
            let line = s.begun.split();
            if line.iter().all(u8::is_ascii_whitespace) {
                if s.ended {
                    return None;
                }
                continue;
            }
            return Some((serde_json::from_slice(&line).map_err(|e| Failure::garbled("a line of its answer", &e)), s));
        }
    })
}

/// An event as engines send it.
#[derive(Debug, Deserialize)]
pub struct Raw {
    #[serde(default, rename = "Action")]
    action: String,
    #[serde(default, rename = "Actor", deserialize_with = "nullable")]
    actor: Actor,
    #[serde(default)]
    time: i64,
    #[serde(default, rename = "timeNano")]
    nanos: i64,
    /// Podman's only.
    #[serde(default, rename = "HealthStatus")]
    health: String,
}

#[derive(Debug, Default, Deserialize)]
struct Actor {
    #[serde(default, rename = "ID")]
    id: String,
    #[serde(default, rename = "Attributes", deserialize_with = "nullable")]
    attributes: BTreeMap<String, String>,
}

impl Raw {
    /// What tells an event from others: when, what, of whom. `None` if it is no event at all.
    pub fn key(&self) -> Option<(i64, String, String)> {
        (!self.action.is_empty()).then(|| (self.time().0, self.actor.id.clone(), self.action.clone()))
    }

    fn time(&self) -> Timestamp {
        if self.nanos == 0 { Timestamp::from_parts(self.time, 0) } else { Timestamp(self.nanos) }
    }
}

/// The time by our clock, which is the engine's own where that is on this machine.
pub fn now_by_our_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// An event of the engine's in our words.
pub fn event(raw: Raw) -> EngineEvent {
    let attribute = |name: &str| raw.actor.attributes.get(name).map_or("", String::as_str);
    let (word, detail) = raw.action.split_once(": ").unwrap_or((&raw.action, ""));
    let kind = match word {
        "create" => EventKind::Created,
        "start" => EventKind::Started,
        "die" | "died" => {
            let code = [attribute("exitCode"), attribute("containerExitCode")].into_iter().find_map(|c| c.parse().ok());
            EventKind::Died { exit_code: code.unwrap_or(-1) }
        }
        "kill" => EventKind::Killed { signal: attribute("signal").to_owned() },
        "stop" => EventKind::Stopped,
        "restart" => EventKind::Restarted,
        "oom" => EventKind::OutOfMemory,
        "health_status" => match status::health(if detail.is_empty() { &raw.health } else { detail }) {
            Some(health) => EventKind::Health(health),
            None => EventKind::Other(raw.action.clone()),
        },
        "pause" => EventKind::Paused,
        "unpause" => EventKind::Unpaused,
        "rename" => EventKind::Renamed { from: attribute("oldName").trim_start_matches('/').to_owned() },
        "destroy" | "remove" => EventKind::Removed,
        _ => EventKind::Other(raw.action.clone()),
    };
    let time = raw.time();
    let container = container_id(raw.actor.id, raw.actor.attributes.get("name").map_or("", String::as_str), &raw.actor.attributes);
    EngineEvent { time, container, kind }
}

/// A container, known by its labels.
pub fn container_id(id: String, name: &str, labels: &BTreeMap<String, String>) -> ContainerId {
    let value = |name: &str| labels.get(name).map_or("", String::as_str);
    ContainerId {
        id,
        name: name.trim_start_matches('/').to_owned(),
        service: value(label::SERVICE).to_owned(),
        number: value(label::CONTAINER_NUMBER).parse().ok(),
        oneoff: value(label::ONEOFF).eq_ignore_ascii_case("true"),
        replaces: Some(value(label::REPLACE)).filter(|r| !r.is_empty()).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Health;

    fn read(text: &str) -> EngineEvent {
        event(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn events_of_both_engines_mean_the_same() {
        let with = |action: &str, more: &str, attributes: &str| {
            read(&format!(r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"c0ffee","Attributes":{{"name":"p-web-1"{attributes}}}}},"time":5,"timeNano":5000000007{more}}}"#)).kind
        };
        for (action, more, attributes, kind) in [
            ("create", "", "", EventKind::Created),
            ("start", "", "", EventKind::Started),
            ("die", "", r#","exitCode":"137""#, EventKind::Died { exit_code: 137 }),
            ("died", "", r#","containerExitCode":"3""#, EventKind::Died { exit_code: 3 }),
            ("kill", "", r#","signal":"15""#, EventKind::Killed { signal: "15".to_owned() }),
            ("health_status: healthy", "", "", EventKind::Health(Health::Healthy)),
            ("health_status", r#","HealthStatus":"unhealthy""#, "", EventKind::Health(Health::Unhealthy)),
            ("rename", "", r#","oldName":"/old""#, EventKind::Renamed { from: "old".to_owned() }),
            ("destroy", "", "", EventKind::Removed),
            ("remove", "", "", EventKind::Removed),
            ("exec_create: sh -c true", "", "", EventKind::Other("exec_create: sh -c true".to_owned())),
        ] {
            assert_eq!(with(action, more, attributes), kind, "{action}");
        }
    }

    #[test]
    fn a_container_is_recognised_by_its_labels() {
        let found = read(
            r#"{"Action":"start","Actor":{"ID":"c0ffee","Attributes":{"name":"p-web-2","com.docker.compose.service":"web",
            "com.docker.compose.container-number":"2","com.docker.compose.oneoff":"False"}},"timeNano":7}"#,
        );
        let want = ContainerId { id: "c0ffee".into(), name: "p-web-2".into(), service: "web".into(), number: Some(2), oneoff: false, replaces: None };
        assert_eq!((found.container, found.time), (want, Timestamp(7)));
    }
}
