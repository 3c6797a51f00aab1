//! `x-sim:` — what a simulated container does, as the Compose file writes it.
//!
//! ```yaml
//! services:
//!   db:
//!     x-sim: {healthy_after: 3s, log: [{after: 1s, stdout: "ready"}], stop_takes: 2s}
//!   migrate:
//!     x-sim: {exits: [1, 0], exit_after: 2s}
//! x-sim: {pulled: true, restarts: us, taken_ports: [8080]}
//! ```

use crate::diag::KeyPath;
use crate::model::{Extensions, Project};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A moment of a simulated life: a length of time after the start, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum After {
    /// That long after the start.
    Time(Duration),
    /// Not at all.
    Never,
}

/// What the containers of one service do.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// When the health check turns good.
    pub healthy_after: Option<After>,
    /// When the health check turns bad.
    pub unhealthy_after: Option<After>,
    /// What a bad probe prints.
    pub probe_output: String,
    /// The process ends with this code, at `exit_after`, else after the last line of `log`.
    pub exit: Option<i64>,
    /// When the process ends; without `exit` with code 0.
    pub exit_after: Option<After>,
    /// Exit codes of the first, second, … start; the last one stays.
    pub exits: Vec<i64>,
    /// Memory runs out when the process ends: code 137.
    pub oom: bool,
    /// What it prints.
    pub log: Vec<LogScript>,
    /// How long it takes to end after its stop signal.
    #[serde(deserialize_with = "length")]
    pub stop_takes: Duration,
    /// Its exit code after the stop signal; 0.
    pub stop_exit: i64,
    /// Only SIGKILL ends it.
    pub ignore_term: bool,
    /// Ops that are refused: `create`, `start`, `stop`, `kill`, `restart`, `remove`, `rename`, `connect`, `pull`,
    /// `pause`, `unpause`, `write`, `hook`, `exec`, `logs`.
    #[serde(deserialize_with = "one_or_many")]
    pub refuse: Vec<String>,
    /// How often they are refused; always if absent.
    pub refuse_times: Option<u32>,
    /// What the engine says when it refuses.
    pub refuse_text: String,
    /// How long a pull takes.
    #[serde(deserialize_with = "length")]
    pub pull_takes: Duration,
    /// How long creation takes.
    #[serde(deserialize_with = "length")]
    pub create_takes: Duration,
    /// How long a start takes.
    #[serde(deserialize_with = "length")]
    pub start_takes: Duration,
    /// How long a removal takes.
    #[serde(deserialize_with = "length")]
    pub remove_takes: Duration,
    /// Warnings of the engine at creation.
    #[serde(deserialize_with = "one_or_many")]
    pub warn: Vec<String>,
    /// The image is already there.
    pub pulled: bool,
    /// Programs for `exec`, hooks and probes, by name.
    pub programs: BTreeMap<String, ProgramScript>,
}

/// A line of output.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogScript {
    /// When, after the start.
    #[serde(deserialize_with = "length")]
    pub after: Duration,
    /// Printed to standard output, with a newline unless `partial`.
    pub stdout: Option<String>,
    /// Printed to standard error, likewise.
    pub stderr: Option<String>,
    /// Without the newline.
    pub partial: bool,
    /// Again and again at this interval, until the process ends.
    #[serde(deserialize_with = "optional_length")]
    pub every: Option<Duration>,
}

/// What a program does when it is run inside a container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProgramScript {
    /// Exit code.
    pub exit: i64,
    /// Printed to standard output.
    pub stdout: String,
    /// Printed to standard error.
    pub stderr: String,
    /// How long it runs.
    #[serde(deserialize_with = "length")]
    pub takes: Duration,
}

/// What a network or volume does.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThingScript {
    /// `create`, `remove`.
    #[serde(deserialize_with = "one_or_many")]
    pub refuse: Vec<String>,
    /// How often they are refused; always if absent.
    pub refuse_times: Option<u32>,
    /// What the engine says when it refuses.
    pub refuse_text: String,
    /// How long creation takes.
    #[serde(deserialize_with = "length")]
    pub create_takes: Duration,
    /// How long removal takes.
    #[serde(deserialize_with = "length")]
    pub remove_takes: Duration,
}

/// The engine and its registry, from the top level of the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineScript {
    /// All images of the services are already there.
    pub pulled: bool,
    /// Images of the registry that need a description.
    pub images: BTreeMap<String, ImageScript>,
    /// Images that the registry doesn't have although a service names them.
    pub missing_images: Vec<String>,
    /// Host ports that other programs hold.
    pub taken_ports: Vec<u16>,
    /// Who applies restart policies: `engine` or `us`.
    pub restarts: Option<OwnerWord>,
    /// Who probes health: `engine` or `us`.
    pub probes: Option<OwnerWord>,
}

/// Who does a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerWord {
    /// The engine.
    Engine,
    /// Whoever uses it.
    Us,
}

/// An image of the simulated registry.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageScript {
    /// Already pulled.
    pub pulled: bool,
    /// Paths declared as volumes.
    pub volumes: Vec<String>,
    /// Ports declared, `80/tcp`.
    pub exposed: Vec<String>,
    /// Environment.
    pub environment: BTreeMap<String, String>,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Command.
    pub command: Vec<String>,
    /// Working directory.
    pub working_dir: String,
    /// User.
    pub user: String,
    /// Stop signal.
    pub stop_signal: String,
    /// Health check's test, probed each second.
    pub healthcheck: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Changes the image's id: another build of the same reference.
    pub build: u32,
    /// Programs that it has besides the built-in ones are not known: what isn't built in can't be started.
    pub strict_programs: bool,
}

/// A part of `x-sim` that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// Where it stands in the project.
    pub path: KeyPath,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for ScriptError {}

/// All scripts of a project.
#[derive(Clone, Debug, Default)]
pub(super) struct Scripts {
    pub(super) engine: EngineScript,
    pub(super) services: BTreeMap<String, Script>,
    /// By real name of the network or volume.
    pub(super) networks: BTreeMap<String, ThingScript>,
    pub(super) volumes: BTreeMap<String, ThingScript>,
    /// Image of each service, and whether it is already there.
    pub(super) images: BTreeMap<String, (String, bool)>,
}

impl Scripts {
    /// Reads every `x-sim:` of `project`.
    pub(super) fn read(project: &Project) -> Result<Self, Vec<ScriptError>> {
        let mut errors = Vec::new();
        let engine = part(&project.extensions, KeyPath::root(), &mut errors);
        let mut found = Self { engine, ..Self::default() };
        for (name, service) in project.services.iter().chain(&project.disabled) {
            let script: Script = part(&service.extensions, KeyPath::of(["services", name.as_str()]), &mut errors);
            let pulled = script.pulled || found.engine.pulled || service.build.is_some();
            found.images.insert(name.clone(), (project.image_of(service), pulled));
            found.services.insert(name.clone(), script);
        }
        for (key, network) in &project.networks {
            let script = part(&network.extensions, KeyPath::of(["networks", key.as_str()]), &mut errors);
            found.networks.insert(network.name.clone(), script);
        }
        for (key, volume) in &project.volumes {
            let script = part(&volume.extensions, KeyPath::of(["volumes", key.as_str()]), &mut errors);
            found.volumes.insert(volume.name.clone(), script);
        }
        if errors.is_empty() { Ok(found) } else { Err(errors) }
    }
}

/// The `x-sim` among `extensions`, which stand at `path`.
fn part<T: Default + for<'de> Deserialize<'de>>(extensions: &Extensions, path: KeyPath, errors: &mut Vec<ScriptError>) -> T {
    let Some(value) = extensions.get("x-sim") else { return T::default() };
    T::deserialize(value).unwrap_or_else(|error| {
        errors.push(ScriptError { path: path.key("x-sim"), message: error.to_string() });
        T::default()
    })
}

/// Reads `3s`, `1m30s`, `250ms`, or a number of seconds.
fn parse_length(value: &Value) -> Result<Duration, String> {
    let bad = || format!("{value} is no length of time; write `3s`, `1m30s` or `250ms`");
    if let Some(seconds) = value.as_f64() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| bad());
    }
    let mut rest = value.as_str().filter(|s| !s.is_empty()).ok_or_else(bad)?;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at(end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            _ => return Err(bad()),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        total += Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        rest = after;
    }
    Ok(total)
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value == "never" { Ok(Self::Never) } else { parse_length(&value).map(Self::Time).map_err(D::Error::custom) }
    }
}

fn length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_length(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn optional_length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    length(deserializer).map(Some)
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::One(one) => vec![one],
        Either::Many(many) => many,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lengths_of_time() {
        for (text, ms) in [(json!("3s"), 3000), (json!("1m30s"), 90_000), (json!("250ms"), 250), (json!(2), 2000), (json!("1.5s"), 1500)] {
            assert_eq!(parse_length(&text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in [json!("3"), json!("s"), json!(""), json!("3 parsecs"), json!(-1), json!(null)] {
            assert!(parse_length(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_words_are_told_with_their_place() {
        let mut project = Project::default();
        let mut service = crate::model::Service { name: "web".into(), ..Default::default() };
        service.extensions.insert("x-sim".into(), json!({"healty_after": "3s"}));
        project.services.insert("web".into(), service);
        let errors = Scripts::read(&project).unwrap_err();
        assert_eq!(errors[0].path.to_string(), "services.web.x-sim");
        assert!(errors[0].message.contains("healty_after"), "{}", errors[0].message);
    }
}
