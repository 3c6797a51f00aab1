//! Everything worth knowing of one container.

use super::DockerEngine;
use super::client::escape;
use super::json::nullable;
use super::observe::InspectedHealthcheck;
use super::status;
use crate::units::Timestamp;
use crate::world::{ContainerDetails, EngineError, HealthcheckSpec, Probe, RestartPolicy, Target};
use hyper::Method;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    path: String,
    #[serde(default, deserialize_with = "nullable")]
    args: Vec<String>,
    #[serde(default)]
    restart_count: u64,
    #[serde(default, deserialize_with = "nullable")]
    state: State,
    #[serde(default, deserialize_with = "nullable")]
    config: Config,
    #[serde(default, deserialize_with = "nullable")]
    host_config: HostConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    status: String,
    #[serde(default)]
    exit_code: i64,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    started_at: String,
    #[serde(default)]
    finished_at: String,
    #[serde(default)]
    pid: i64,
    #[serde(default)]
    health: Option<Health>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    #[serde(default)]
    status: String,
    #[serde(default, deserialize_with = "nullable")]
    log: Vec<HealthLog>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthLog {
    #[serde(default)]
    start: String,
    #[serde(default)]
    end: String,
    #[serde(default)]
    exit_code: i64,
    #[serde(default)]
    output: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    tty: bool,
    #[serde(default)]
    healthcheck: Option<InspectedHealthcheck>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default, deserialize_with = "nullable")]
    restart_policy: Restart,
    #[serde(default, deserialize_with = "nullable")]
    log_config: LogConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Restart {
    #[serde(default)]
    name: String,
    #[serde(default)]
    maximum_retry_count: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LogConfig {
    #[serde(default, rename = "Type")]
    kind: String,
}

/// Inspects a container.
pub async fn inspect(engine: &DockerEngine, container: &Target) -> Result<ContainerDetails, EngineError> {
    let tail = format!("/containers/{}/json", escape(container.reference()));
    let found: Inspected =
        engine.client.json(Method::GET, &tail, None).await.map_err(|f| f.explain(&format!("inspect container {}", container.name)))?;
    Ok(details(found))
}

fn details(found: Inspected) -> ContainerDetails {
    // The year 1 stands for never.
    let time = |text: &str| Timestamp::parse_rfc3339(text).filter(|t| t.0 > 0);
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
