//! Everything worth knowing of one container.

use super::DockerEngine;
use super::client::{Client, escape};
use super::error::Failure;
use super::json::nullable;
use super::observe::InspectedHealthcheck;
use super::status;
use crate::units::Timestamp;
use crate::world::{ContainerDetails, EngineError, HealthcheckSpec, Probe, RestartPolicy, Target};
use hyper::Method;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A container as engines tell of it, what matters of it here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) path: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) restart_count: u64,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) state: State,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) config: Config,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) host_config: HostConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct State {
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) running: bool,
    #[serde(default)]
    pub(super) paused: bool,
    #[serde(default)]
    pub(super) exit_code: i64,
    #[serde(default, rename = "OOMKilled")]
    pub(super) oom_killed: bool,
    #[serde(default)]
    pub(super) error: String,
    #[serde(default)]
    pub(super) started_at: String,
    #[serde(default)]
    pub(super) finished_at: String,
    #[serde(default)]
    pub(super) pid: i64,
    /// Podman's: the process that writes its log.
    #[serde(default)]
    pub(super) conmon_pid: i32,
    #[serde(default)]
    pub(super) health: Option<Health>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Health {
    #[serde(default)]
    pub(super) status: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) log: Vec<HealthLog>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthLog {
    #[serde(default)]
    pub(super) start: String,
    #[serde(default)]
    pub(super) end: String,
    #[serde(default)]
    pub(super) exit_code: i64,
    #[serde(default)]
    pub(super) output: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    #[serde(default)]
    pub(super) tty: bool,
    #[serde(default)]
    pub(super) healthcheck: Option<InspectedHealthcheck>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) restart_policy: Restart,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) log_config: LogConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Restart {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) maximum_retry_count: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LogConfig {
    #[serde(default, rename = "Type")]
    pub(super) kind: String,
    /// Podman's: the file that it is written to.
    #[serde(default)]
    pub(super) path: PathBuf,
}

/// A point in time; the year 1 stands for never.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text).filter(|t| t.0 > 0)
}

/// Asks for a container, by id or name.
pub(super) async fn inspected(client: &Client, container: &str) -> Result<Inspected, Failure> {
    client.json(Method::GET, &format!("/containers/{}/json", escape(container)), None).await
}

/// Inspects a container.
pub async fn inspect(engine: &DockerEngine, container: &Target) -> Result<ContainerDetails, EngineError> {
    let found = inspected(&engine.client, container.reference()).await;
    found.map(details).map_err(|f| f.explain(&format!("inspect container {}", container.name)))
}

fn details(found: Inspected) -> ContainerDetails {
    let (health, log) = found.state.health.map_or((None, Vec::new()), |h| (status::health(&h.status), h.log));
    ContainerDetails {
        id: found.id,
        name: found.name.trim_start_matches('/').to_owned(),
        state: status::state(&found.state.status),
        health,
        healthcheck: found.config.healthcheck.map(Into::into).filter(|h: &HealthcheckSpec| !h.test.is_empty()),
        probes: log.into_iter().map(|p| Probe { start: time(&p.start), end: time(&p.end), exit_code: p.exit_code, output: p.output }).collect(),
        exit_code: found.state.exit_code,
        oom_killed: found.state.oom_killed,
        error: found.state.error,
        restarts: found.restart_count,
        started: time(&found.state.started_at),
        finished: time(&found.state.finished_at),
        restart: match found.host_config.restart_policy.name.as_str() {
            "always" => RestartPolicy::Always,
            "unless-stopped" => RestartPolicy::UnlessStopped,
            "on-failure" => RestartPolicy::OnFailure(found.host_config.restart_policy.maximum_retry_count),
            _ => RestartPolicy::No,
        },
        tty: found.config.tty,
        log_driver: found.host_config.log_config.kind,
        pid: found.state.pid,
        command: [found.path].into_iter().chain(found.args).filter(|w| !w.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_container_tells_why() {
        let text = r#"{"Id":"c0ffee","Name":"/p-db-1","Path":"sh","Args":["-c","exit 3"],"RestartCount":2,
            "State":{"Status":"exited","ExitCode":137,"OOMKilled":true,"Error":"","StartedAt":"2026-11-22T06:38:59.389401183Z","FinishedAt":"0001-01-01T00:00:00Z",
              "Health":{"Status":"unhealthy","Log":[{"Start":"2026-11-22T06:38:59.9Z","End":"2026-11-22T06:39:00Z","ExitCode":1,"Output":"no"}]}},
            "Config":{"Tty":true,"Healthcheck":{"Test":["CMD","x"],"Interval":1000000000,"Retries":3}},
            "HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":5},"LogConfig":{"Type":"json-file","Config":{}}}}"#;
        let found = details(serde_json::from_str(text).unwrap());
        assert_eq!((found.name.as_str(), found.exit_code, found.oom_killed, found.restarts), ("p-db-1", 137, true, 2));
        assert_eq!((found.restart, found.log_driver.as_str(), found.tty), (RestartPolicy::OnFailure(5), "json-file", true));
        assert_eq!((found.finished, found.probes.len(), found.probes[0].exit_code), (None, 1, 1));
        assert_eq!(found.command, ["sh", "-c", "exit 3"]);
        assert_eq!(found.healthcheck.and_then(|h| h.retries), Some(3));
    }
}
