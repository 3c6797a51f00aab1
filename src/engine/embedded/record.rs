//! What is written down of containers, networks and volumes.

use super::place::{self, Places};
use crate::units::Timestamp;
use crate::world::{
    Attachment, ContainerSpec, EngineError, ErrorKind, Health, HealthcheckSpec, MountPoint, NetworkSpec, Probe, PublishedPort, State, VolumeSpec,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A container as it was created: `container.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// 64 hex digits.
    pub id: String,
    /// Its name now, which [`ContainerSpec::name`] is not any more once it was renamed.
    pub name: String,
    /// Its project; empty without one.
    pub project: String,
    /// What was asked for. Networks are those that it is connected to now.
    pub spec: ContainerSpec,
    /// Id of its image.
    pub image: String,
    /// Its whole command line, the entry point first: what the spec leaves to the image is in it.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Its health check, the image's if the spec has none.
    #[serde(default)]
    pub healthcheck: Option<HealthcheckSpec>,
    /// What is mounted in it, in the order in which it is mounted: anonymous volumes have names here, those that the
    /// image declares and those of `volumes_from` are among them.
    pub mounts: Vec<ResolvedMount>,
    /// Who runs it, if it isn't this engine's own runtime.
    #[serde(default)]
    pub runtime: Option<OciRuntime>,
    /// When it was created.
    pub created: Timestamp,
}

/// A program that runs containers from bundles of the OCI runtime specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciRuntime {
    /// Absolute.
    pub path: PathBuf,
    /// What stands before the command on every call.
    #[serde(default)]
    pub arguments: Vec<String>,
}

impl OciRuntime {
    /// The name of the program.
    pub fn name(&self) -> String {
        self.path.file_name().map_or_else(|| self.path.display().to_string(), |name| name.to_string_lossy().into_owned())
    }
}

/// A mount whose source is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedMount {
    /// As `inspect` shows it; the target is the path in the container.
    pub point: MountPoint,
    /// Mount options that are not in `point`: propagation, `recursive`, size and mode of memory, `nocopy`, subpath.
    pub kind: crate::world::MountKind,
    /// The volume was made for this container and goes with it.
    pub anonymous: bool,
}

/// How a container is: `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerState {
    /// State; none means created.
    pub state: Option<State>,
    /// Process 1 on the host; 0 when there is none.
    pub pid: i32,
    /// When that process began, in the kernel's ticks since boot (field 22 of `/proc/PID/stat`): with the pid, who it is.
    pub pid_start: u64,
    /// The boot (`/proc/sys/kernel/random/boot_id`) in which `pid` means something.
    pub boot: String,
    /// Exit code of the last run; none if it never ended or nobody saw it.
    pub exit_code: Option<i64>,
    /// Killed because memory ran out.
    pub oom_killed: bool,
    /// What went wrong at the last start.
    pub error: String,
    /// When it was started last.
    pub started: Option<Timestamp>,
    /// When it ended last.
    pub finished: Option<Timestamp>,
    /// How often its restart policy started it again.
    pub restarts: u64,
    /// It was stopped on purpose: `unless-stopped` leaves it so.
    pub stopped_on_purpose: bool,
    /// Health.
    pub health: Option<Health>,
    /// Last probes, oldest first.
    pub probes: Vec<Probe>,
    /// Networks it is on, with addresses.
    pub networks: Vec<Attachment>,
    /// Ports.
    pub ports: Vec<PublishedPort>,
}

/// A network: `networks/NAME.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// 64 hex digits.
    pub id: String,
    /// What was asked for.
    pub spec: NetworkSpec,
    /// Name of the bridge on the host, at most 15 bytes; empty for `none` and `host`.
    pub bridge: String,
    /// Its subnets: IPv4, IPv6 or both.
    pub subnets: Vec<Subnet>,
    /// When it was created.
    pub created: Timestamp,
}

/// A subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its lowest address.
    pub address: std::net::IpAddr,
    /// Bits of the prefix.
    pub prefix: u8,
    /// Address of the bridge.
    pub gateway: std::net::IpAddr,
}

/// A volume: `volumes/NAME/volume.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// What was asked for.
    pub spec: VolumeSpec,
    /// When it was created.
    pub created: Timestamp,
    /// It was made for a container that named none.
    pub anonymous: bool,
}

/// Reads a record; none if there is no such file.
///
/// # Errors
/// A file that can't be read or understood.
pub fn read<T: DeserializeOwned>(file: &Path) -> Result<Option<T>, EngineError> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound || error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
        Err(error) => return Err(failed(&format!("{} can't be read", file.display()), &error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|e| broken(file, &e))
}

/// A record that can't be understood. All of them are written whole or not at all, so it was not us, or the disk.
pub fn broken(file: &Path, error: &serde_json::Error) -> EngineError {
    let because = format!("{error}; restore it, or remove this one file: the next command goes on without it");
    EngineError::new(ErrorKind::Protocol, format!("{} can't be understood", file.display())).because(because)
}

/// Writes a record, whole or not at all. Its folder must be there.
///
/// # Errors
/// It can't be written.
pub fn write<T: Serialize>(file: &Path, record: &T) -> Result<(), EngineError> {
    let text = serde_json::to_vec(record)
        .map_err(|e| EngineError::new(ErrorKind::Protocol, format!("{} can't be written", file.display())).because(e.to_string()))?;
    place::replace(file, &text).map_err(|e| failed(&format!("{} can't be written", file.display()), &e))
}

/// As [`write`], and it survives a power cut: what it names has to be on the disk by then.
///
/// # Errors
/// It can't be written.
pub fn write_durably<T: Serialize>(file: &Path, record: &T) -> Result<(), EngineError> {
    let text = serde_json::to_vec(record)
        .map_err(|e| EngineError::new(ErrorKind::Protocol, format!("{} can't be written", file.display())).because(e.to_string()))?;
    place::replace_durably(file, &text).map_err(|e| failed(&format!("{} can't be written", file.display()), &e))
}

/// The error of a system call on a file: what happened, and a kind that callers act on.
pub fn failed(what: &str, error: &std::io::Error) -> EngineError {
    use std::io::ErrorKind as Io;
    let kind = match error.kind() {
        Io::NotFound => ErrorKind::NotFound,
        Io::PermissionDenied => ErrorKind::Denied,
        Io::StorageFull | Io::QuotaExceeded => ErrorKind::NoSpace,
        Io::AlreadyExists => ErrorKind::Conflict,
        Io::TimedOut => ErrorKind::TimedOut,
        _ => ErrorKind::Refused,
    };
    EngineError::new(kind, what).because(error.to_string())
}

/// Id of the container called `reference`: a name, an id, or the beginning of one.
///
/// # Errors
/// [`ErrorKind::NotFound`]; an ambiguous beginning.
pub fn container_id(places: &Places, reference: &str) -> Result<String, EngineError> {
    let absent = || EngineError::new(ErrorKind::NotFound, format!("there is no container `{reference}`"));
    if !place::is_name(reference) {
        return Err(absent());
    }
    if let Ok(id) = std::fs::read_to_string(places.name(reference)) {
        return Ok(id);
    }
    if places.container(reference).join("container.json").exists() {
        return Ok(reference.to_owned());
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(places.containers()).into_iter().flatten().flatten().map(|e| e.path()).collect();
    found.retain(|p| p.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(reference)));
    match found.as_slice() {
        [one] => Ok(one.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned()),
        [] => Err(absent()),
        _ => Err(EngineError::new(ErrorKind::Refused, format!("several containers have an id that begins with `{reference}`"))),
    }
}
