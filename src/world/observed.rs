//! What exists.

use super::{HealthcheckSpec, InstanceKey, RestartPolicy, label};
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What to look at. Everything is asked for in parallel, with as few calls as the engine allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObserveQuery {
    /// Containers, networks and volumes with this project's label; `None` means containers of every project.
    pub project: Option<String>,
    /// Images to look up.
    pub images: Vec<ImageQuery>,
    /// Real names of networks to look up besides the labelled ones.
    pub networks: Vec<String>,
    /// Real names of volumes to look up besides the labelled ones.
    pub volumes: Vec<String>,
    /// Only containers, which saves the other calls.
    pub containers_only: bool,
    /// Containers that belong to no project too.
    pub strangers: bool,
}

/// An image to look up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageQuery {
    /// Reference.
    pub reference: String,
    /// `os/arch[/variant]`; a local image of another platform counts as absent.
    pub platform: Option<String>,
}

/// What exists of a project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Containers with the project's label, one-off ones too, ordered by service, number and name.
    pub containers: Vec<Container>,
    /// Networks with the project's label, and those looked up by name.
    pub networks: Vec<NetworkState>,
    /// Volumes with the project's label, and those looked up by name.
    pub volumes: Vec<VolumeState>,
    /// Local images by the reference asked for; an absent one has no entry.
    pub images: BTreeMap<String, Image>,
}

/// State of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// Never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Waiting to be started again by its restart policy.
    Restarting,
    /// On its way out.
    Removing,
    /// Its process ended.
    Exited,
    /// It could not be removed.
    Dead,
}

impl State {
    /// The word that every tool uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

/// Health of a running container that has a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Health {
    /// No answer yet.
    Starting,
    /// The last probe was good.
    Healthy,
    /// Too many bad probes in a row.
    Unhealthy,
}

impl Health {
    /// The word that every tool uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// A container.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Full id.
    pub id: String,
    /// Name without slash.
    pub name: String,
    /// Image reference as given at creation.
    pub image: String,
    /// Id of its image.
    pub image_id: String,
    /// Command line as the engine shows it.
    pub command: String,
    /// When it was created.
    pub created: Timestamp,
    /// State.
    pub state: State,
    /// Health, if it runs and has a health check.
    pub health: Option<Health>,
    /// Exit code of the last run, where the engine tells.
    pub exit_code: Option<i64>,
    /// State in the engine's words: `Up 2 minutes (healthy)`.
    pub status: String,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// Ports.
    pub ports: Vec<PublishedPort>,
    /// Mounts.
    pub mounts: Vec<MountPoint>,
    /// Networks it is connected to.
    pub networks: Vec<Attachment>,
    /// The OCI runtime that runs it, where the engine tells in its lists and it isn't the engine's own.
    pub runtime: String,
}

impl Container {
    /// Value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// Its project.
    pub fn project(&self) -> &str {
        self.label(label::PROJECT).unwrap_or("")
    }

    /// Its service.
    pub fn service(&self) -> &str {
        self.label(label::SERVICE).unwrap_or("")
    }

    /// Its number; `None` for one-off containers and bad labels.
    pub fn number(&self) -> Option<u32> {
        self.label(label::CONTAINER_NUMBER)?.parse().ok()
    }

    /// Whether it comes from `run`.
    pub fn is_oneoff(&self) -> bool {
        self.label(label::ONEOFF).is_some_and(|v| v.eq_ignore_ascii_case("true"))
    }

    /// Which replica it is; `None` for one-off containers.
    pub fn key(&self) -> Option<InstanceKey> {
        Some(InstanceKey { service: self.service().to_owned(), number: self.number()? })
    }

    /// Whether a process of it is alive.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, State::Running | State::Paused | State::Restarting)
    }
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Address on the host; empty when not published.
    pub host_ip: String,
    /// Port on the host; 0 when not published.
    pub host_port: u16,
    /// Port in the container.
    pub target: u16,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
}

/// A mount of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// `bind`, `volume`, `tmpfs`, `image`, …
    pub kind: String,
    /// Name of the volume; empty for other kinds.
    pub name: String,
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Driver of the volume.
    pub driver: String,
    /// Read-only.
    pub read_only: bool,
}

/// A container's connection to a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Real name of the network.
    pub network: String,
    /// Id of the network; empty when the container isn't running on some engines.
    pub network_id: String,
    /// IPv4 address; empty without.
    pub ipv4: String,
    /// IPv6 address; empty without, or where the engine doesn't say.
    #[serde(default)]
    pub ipv6: String,
}

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkState {
    /// Id.
    pub id: String,
    /// Real name.
    pub name: String,
    /// Driver.
    pub driver: String,
    /// All labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeState {
    /// Real name.
    pub name: String,
    /// Driver.
    pub driver: String,
    /// All labels.
    pub labels: BTreeMap<String, String>,
}

/// A local image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Id.
    pub id: String,
    /// Paths it declares as volumes.
    pub volumes: Vec<String>,
    /// Ports it declares, `80/tcp`.
    pub exposed: Vec<String>,
    /// Its health check.
    pub healthcheck: Option<HealthcheckSpec>,
    /// When a tag was last put on it.
    pub tagged: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Everything worth knowing of one container, for explanations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerDetails {
    /// Full id.
    pub id: String,
    /// Name without slash.
    pub name: String,
    /// State; `None` if the engine's word is unknown.
    pub state: Option<State>,
    /// Health.
    pub health: Option<Health>,
    /// Its health check as it was created, the image's if it took that.
    pub healthcheck: Option<HealthcheckSpec>,
    /// Last probes, oldest first.
    pub probes: Vec<Probe>,
    /// Exit code of the last run.
    pub exit_code: i64,
    /// Killed because memory ran out.
    pub oom_killed: bool,
    /// What the engine says went wrong.
    pub error: String,
    /// How often its restart policy started it again.
    pub restarts: u64,
    /// When it was started last.
    pub started: Option<Timestamp>,
    /// When it ended last.
    pub finished: Option<Timestamp>,
    /// Its restart policy.
    pub restart: RestartPolicy,
    /// A terminal for process 1: output has no separate streams.
    pub tty: bool,
    /// Log driver.
    pub log_driver: String,
    /// Process 1 on the host; 0 when not running.
    pub pid: i64,
    /// Entry point and command.
    pub command: Vec<String>,
}

/// One probe of a health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When it began.
    pub start: Option<Timestamp>,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// Exit code.
    pub exit_code: i64,
    /// What it printed.
    pub output: String,
}
