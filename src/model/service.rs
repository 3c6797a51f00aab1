//! A service and everything inside it.

use super::{Build, Deploy, Develop, DeviceRequest, Extensions, FileReference, Hook, Mount, OptionMap, StringMap, is_default, shortest};
use crate::units::{Bytes, Duration};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A service in canonical form. Field order is that of the reference's JSON: the configuration hash depends on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Service {
    /// Its key under `services:`.
    #[serde(skip)]
    pub name: String,
    /// Profiles that enable it; none means always.
    #[serde(skip_serializing_if = "is_default")]
    pub profiles: Vec<String>,
    /// OCI annotations.
    #[serde(skip_serializing_if = "is_default")]
    pub annotations: StringMap,
    /// Whether `up` shows its logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attach: Option<bool>,
    /// How its image is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// What `watch` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub develop: Option<Develop>,
    /// Block I/O limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blkio_config: Option<BlkioConfig>,
    /// Capabilities added.
    #[serde(skip_serializing_if = "is_default")]
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    #[serde(skip_serializing_if = "is_default")]
    pub cap_drop: Vec<String>,
    /// Parent cgroup.
    #[serde(skip_serializing_if = "is_default")]
    pub cgroup_parent: String,
    /// Cgroup namespace: `host` or `private`.
    #[serde(skip_serializing_if = "is_default")]
    pub cgroup: String,
    /// Usable processors (Windows).
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_count: i64,
    /// Usable part of the processors (Windows).
    #[serde(skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub cpu_percent: f32,
    /// CFS period in microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_period: i64,
    /// CFS quota in microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_quota: i64,
    /// Real-time period in microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_rt_period: i64,
    /// Real-time runtime in microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_rt_runtime: i64,
    /// Processors.
    #[serde(skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub cpus: f32,
    /// Processors by number.
    #[serde(skip_serializing_if = "is_default")]
    pub cpuset: String,
    /// Relative weight.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_shares: i64,
    /// Command; `None` is the image's, an empty list is none. Always written.
    pub command: Option<Vec<String>>,
    /// Configs.
    #[serde(skip_serializing_if = "is_default")]
    pub configs: Vec<FileReference>,
    /// Name of the one container.
    #[serde(skip_serializing_if = "is_default")]
    pub container_name: String,
    /// Windows credential specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_spec: Option<CredentialSpec>,
    /// What must be there before it starts, by service.
    #[serde(skip_serializing_if = "is_default")]
    pub depends_on: BTreeMap<String, Dependency>,
    /// Replicas, resources, updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Deploy>,
    /// Device cgroup rules.
    #[serde(skip_serializing_if = "is_default")]
    pub device_cgroup_rules: Vec<String>,
    /// Devices.
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Vec<DeviceMapping>,
    /// DNS servers.
    #[serde(skip_serializing_if = "is_default")]
    pub dns: Vec<String>,
    /// Resolver options.
    #[serde(skip_serializing_if = "is_default")]
    pub dns_opt: Vec<String>,
    /// Search domains.
    #[serde(skip_serializing_if = "is_default")]
    pub dns_search: Vec<String>,
    /// Legacy key, accepted and unused.
    #[serde(skip_serializing_if = "is_default")]
    pub dockerfile: String,
    /// Domain name.
    #[serde(skip_serializing_if = "is_default")]
    pub domainname: String,
    /// Entry point; `None` is the image's, an empty list is none. Always written.
    pub entrypoint: Option<Vec<String>>,
    /// An external program that provides the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Environment, with the files of `env_file` merged in.
    #[serde(skip_serializing_if = "is_default")]
    pub environment: OptionMap,
    /// Environment files; empty once they are merged in.
    #[serde(skip_serializing_if = "is_default")]
    pub env_file: Vec<EnvFile>,
    /// Ports opened to other services.
    #[serde(skip_serializing_if = "is_default")]
    pub expose: Vec<String>,
    /// The service this one extends; gone once it is merged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<Extends>,
    /// Links to containers outside the project.
    #[serde(skip_serializing_if = "is_default")]
    pub external_links: Vec<String>,
    /// Extra hosts, name to addresses. Written as a list of `name=address`.
    #[serde(skip_serializing_if = "is_default", serialize_with = "hosts_as_list")]
    pub extra_hosts: BTreeMap<String, Vec<String>>,
    /// More groups of the user.
    #[serde(skip_serializing_if = "is_default")]
    pub group_add: Vec<String>,
    /// GPUs.
    #[serde(skip_serializing_if = "is_default")]
    pub gpus: Vec<DeviceRequest>,
    /// Host name.
    #[serde(skip_serializing_if = "is_default")]
    pub hostname: String,
    /// How health is found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Image reference; empty when it is only built.
    #[serde(skip_serializing_if = "is_default")]
    pub image: String,
    /// A small init as process 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// IPC namespace.
    #[serde(skip_serializing_if = "is_default")]
    pub ipc: String,
    /// Isolation technology.
    #[serde(skip_serializing_if = "is_default")]
    pub isolation: String,
    /// Labels of its containers.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: StringMap,
    /// Files with labels, which are merged into `labels`; their names stay, for the hash.
    #[serde(rename = "label_file", skip_serializing_if = "is_default")]
    pub label_files: Vec<String>,
    /// Links to services, `service[:alias]`.
    #[serde(skip_serializing_if = "is_default")]
    pub links: Vec<String>,
    /// Log driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// Legacy key, accepted and unused.
    #[serde(skip_serializing_if = "is_default")]
    pub log_driver: String,
    /// Legacy key, accepted and unused.
    #[serde(skip_serializing_if = "is_default")]
    pub log_opt: StringMap,
    /// Memory limit.
    #[serde(skip_serializing_if = "is_default")]
    pub mem_limit: Bytes,
    /// Memory reservation.
    #[serde(skip_serializing_if = "is_default")]
    pub mem_reservation: Bytes,
    /// Memory and swap limit; -1 means no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub memswap_limit: Bytes,
    /// Swappiness, 0 to 100.
    #[serde(skip_serializing_if = "is_default")]
    pub mem_swappiness: Bytes,
    /// MAC address on the primary network.
    #[serde(skip_serializing_if = "is_default")]
    pub mac_address: String,
    /// AI models, by key.
    #[serde(skip_serializing_if = "is_default")]
    pub models: BTreeMap<String, Option<ServiceModel>>,
    /// Legacy key, accepted and unused.
    #[serde(skip_serializing_if = "is_default")]
    pub net: String,
    /// `none`, `host`, `bridge`, `service:x`, `container:x`, or a network's name.
    #[serde(skip_serializing_if = "is_default")]
    pub network_mode: String,
    /// Networks by key; `None` is one without settings.
    #[serde(skip_serializing_if = "is_default")]
    pub networks: BTreeMap<String, Option<ServiceNetwork>>,
    /// Never killed when memory runs out.
    #[serde(skip_serializing_if = "is_default")]
    pub oom_kill_disable: bool,
    /// Score for the OOM killer.
    #[serde(skip_serializing_if = "is_default")]
    pub oom_score_adj: i64,
    /// PID namespace.
    #[serde(skip_serializing_if = "is_default")]
    pub pid: String,
    /// Limit of processes.
    #[serde(skip_serializing_if = "is_default")]
    pub pids_limit: i64,
    /// Platform `os/arch[/variant]`.
    #[serde(skip_serializing_if = "is_default")]
    pub platform: String,
    /// Published ports.
    #[serde(skip_serializing_if = "is_default")]
    pub ports: Vec<Port>,
    /// All privileges.
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// When its image is pulled.
    #[serde(skip_serializing_if = "is_default")]
    pub pull_policy: String,
    /// Read-only root file system.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Restart policy: `no`, `always`, `on-failure[:n]`, `unless-stopped`.
    #[serde(skip_serializing_if = "is_default")]
    pub restart: String,
    /// OCI runtime.
    #[serde(skip_serializing_if = "is_default")]
    pub runtime: String,
    /// Number of replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<i64>,
    /// Secrets.
    #[serde(skip_serializing_if = "is_default")]
    pub secrets: Vec<FileReference>,
    /// Security options.
    #[serde(skip_serializing_if = "is_default")]
    pub security_opt: Vec<String>,
    /// Size of /dev/shm.
    #[serde(skip_serializing_if = "is_default")]
    pub shm_size: Bytes,
    /// Keeps standard input open.
    #[serde(skip_serializing_if = "is_default")]
    pub stdin_open: bool,
    /// Time between the stop signal and SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<Duration>,
    /// The stop signal.
    #[serde(skip_serializing_if = "is_default")]
    pub stop_signal: String,
    /// Options of the storage driver.
    #[serde(skip_serializing_if = "is_default")]
    pub storage_opt: StringMap,
    /// Kernel parameters.
    #[serde(skip_serializing_if = "is_default")]
    pub sysctls: StringMap,
    /// Temporary file systems, `path[:options]`.
    #[serde(skip_serializing_if = "is_default")]
    pub tmpfs: Vec<String>,
    /// A terminal for process 1.
    #[serde(skip_serializing_if = "is_default")]
    pub tty: bool,
    /// Limits of processes.
    #[serde(skip_serializing_if = "is_default")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// The engine's socket and credentials inside.
    #[serde(skip_serializing_if = "is_default")]
    pub use_api_socket: bool,
    /// User `name|uid[:group|gid]`.
    #[serde(skip_serializing_if = "is_default")]
    pub user: String,
    /// User namespace.
    #[serde(skip_serializing_if = "is_default")]
    pub userns_mode: String,
    /// UTS namespace.
    #[serde(skip_serializing_if = "is_default")]
    pub uts: String,
    /// Driver for volumes without one.
    #[serde(skip_serializing_if = "is_default")]
    pub volume_driver: String,
    /// Mounts.
    #[serde(skip_serializing_if = "is_default")]
    pub volumes: Vec<Mount>,
    /// All mounts of `service[:mode]` or `container:name[:mode]`.
    #[serde(skip_serializing_if = "is_default")]
    pub volumes_from: Vec<String>,
    /// Working directory.
    #[serde(skip_serializing_if = "is_default")]
    pub working_dir: String,
    /// Run inside after each start.
    #[serde(skip_serializing_if = "is_default")]
    pub post_start: Vec<Hook>,
    /// Run inside before each stop.
    #[serde(skip_serializing_if = "is_default")]
    pub pre_stop: Vec<Hook>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

impl Service {
    /// How many replicas the file asks for: `scale`, else `deploy.replicas`, else 1.
    pub fn replicas(&self) -> u32 {
        let wanted = self.scale.or_else(|| self.deploy.as_ref().and_then(|d| d.replicas)).unwrap_or(1);
        u32::try_from(wanted).unwrap_or(0)
    }
}

/// Writes extra hosts as the reference does: `name=address`, sorted.
pub(super) fn hosts_as_list<S: Serializer>(hosts: &BTreeMap<String, Vec<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut list: Vec<String> = hosts.iter().flat_map(|(name, addresses)| addresses.iter().map(move |a| format!("{name}={a}"))).collect();
    list.sort();
    list.serialize(serializer)
}

/// What must be true of a dependency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Condition {
    /// It was started.
    #[default]
    #[serde(rename = "service_started")]
    Started,
    /// All its replicas are healthy.
    #[serde(rename = "service_healthy")]
    Healthy,
    /// It ran and exited with code 0.
    #[serde(rename = "service_completed_successfully")]
    Completed,
}

impl Condition {
    /// The word of the format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "service_started",
            Self::Healthy => "service_healthy",
            Self::Completed => "service_completed_successfully",
        }
    }
}

/// One entry of `depends_on`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// What must be true of it.
    pub condition: Condition,
    /// Restart this service when the dependency was restarted or recreated.
    #[serde(skip_serializing_if = "is_default")]
    pub restart: bool,
    /// Without it: a missing or failed dependency is only a warning. Always written.
    pub required: bool,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

impl Default for Dependency {
    fn default() -> Self {
        Self { condition: Condition::Started, restart: false, required: true, extensions: Extensions::new() }
    }
}

/// How health is found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", "…"]`, `["NONE"]`; empty takes the image's.
    #[serde(skip_serializing_if = "is_default")]
    pub test: Vec<String>,
    /// How long one probe may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Time between probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    /// Time in which failures don't count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Duration>,
    /// Time between probes during the start period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<Duration>,
    /// Switched off.
    #[serde(skip_serializing_if = "is_default")]
    pub disable: bool,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// A published port.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Port {
    /// Name.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// `ingress` or `host`.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: String,
    /// Address on the host; empty means all.
    #[serde(skip_serializing_if = "is_default")]
    pub host_ip: String,
    /// Port in the container.
    #[serde(skip_serializing_if = "is_default")]
    pub target: u32,
    /// Port or range on the host; empty means that the engine chooses.
    #[serde(skip_serializing_if = "is_default")]
    pub published: String,
    /// `tcp`, `udp`, `sctp`.
    #[serde(skip_serializing_if = "is_default")]
    pub protocol: String,
    /// Protocol of the application.
    #[serde(skip_serializing_if = "is_default")]
    pub app_protocol: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// A service's place on a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServiceNetwork {
    /// More names on this network.
    #[serde(skip_serializing_if = "is_default")]
    pub aliases: Vec<String>,
    /// Options for the driver.
    #[serde(skip_serializing_if = "is_default")]
    pub driver_opts: StringMap,
    /// Which network's gateway becomes the default; highest wins.
    #[serde(skip_serializing_if = "is_default")]
    pub gw_priority: i64,
    /// Name of the interface inside.
    #[serde(skip_serializing_if = "is_default")]
    pub interface_name: String,
    /// Fixed IPv4 address.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv4_address: String,
    /// Fixed IPv6 address.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv6_address: String,
    /// Link-local addresses.
    #[serde(skip_serializing_if = "is_default")]
    pub link_local_ips: Vec<String>,
    /// MAC address.
    #[serde(skip_serializing_if = "is_default")]
    pub mac_address: String,
    /// Order of connection; highest first.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i64,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// One limit of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ulimit {
    /// Soft and hard alike.
    Single(i64),
    /// Soft and hard.
    Pair {
        /// What the process starts with.
        soft: i64,
        /// What it may raise it to.
        hard: i64,
    },
}

impl Serialize for Ulimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        match self {
            // The reference can't tell nought from absent here, and writes an empty mapping.
            Self::Single(0) => serializer.serialize_map(Some(0))?.end(),
            Self::Single(n) => serializer.serialize_i64(*n),
            Self::Pair { soft, hard } => {
                let mut map = serializer.serialize_map(None)?;
                if *soft != 0 {
                    map.serialize_entry("soft", soft)?;
                }
                if *hard != 0 {
                    map.serialize_entry("hard", hard)?;
                }
                map.end()
            }
        }
    }
}

/// Log driver.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Logging {
    /// Driver.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    /// Options for the driver.
    #[serde(skip_serializing_if = "is_default")]
    pub options: StringMap,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeviceMapping {
    /// Path on the host, or a CDI name.
    #[serde(skip_serializing_if = "is_default")]
    pub source: String,
    /// Path in the container.
    #[serde(skip_serializing_if = "is_default")]
    pub target: String,
    /// Some of `rwm`.
    #[serde(skip_serializing_if = "is_default")]
    pub permissions: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Block I/O limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BlkioConfig {
    /// Weight, 10 to 1000.
    #[serde(skip_serializing_if = "is_default")]
    pub weight: u16,
    /// Weight by device.
    #[serde(skip_serializing_if = "is_default")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes read a second.
    #[serde(skip_serializing_if = "is_default")]
    pub device_read_bps: Vec<ThrottleDevice>,
    /// Reads a second.
    #[serde(skip_serializing_if = "is_default")]
    pub device_read_iops: Vec<ThrottleDevice>,
    /// Bytes written a second.
    #[serde(skip_serializing_if = "is_default")]
    pub device_write_bps: Vec<ThrottleDevice>,
    /// Writes a second.
    #[serde(skip_serializing_if = "is_default")]
    pub device_write_iops: Vec<ThrottleDevice>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Weight of a device. The reference's JSON has capital letters in these two names, and the hash with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WeightDevice {
    /// Path of the device.
    #[serde(rename = "Path")]
    pub path: String,
    /// Weight, 10 to 1000.
    #[serde(rename = "Weight")]
    pub weight: u16,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Limit of a device. Capital letters as in [`WeightDevice`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ThrottleDevice {
    /// Path of the device.
    #[serde(rename = "Path")]
    pub path: String,
    /// Bytes or operations a second.
    #[serde(rename = "Rate")]
    pub rate: Bytes,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Windows credential specification.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CredentialSpec {
    /// Key of a config.
    #[serde(skip_serializing_if = "is_default")]
    pub config: String,
    /// File.
    #[serde(skip_serializing_if = "is_default")]
    pub file: String,
    /// Registry key.
    #[serde(skip_serializing_if = "is_default")]
    pub registry: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// An external program that provides a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Provider {
    /// Which program.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its options.
    #[serde(skip_serializing_if = "is_default")]
    pub options: BTreeMap<String, Vec<String>>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// A file with environment variables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnvFile {
    /// Absolute path.
    pub path: String,
    /// Without it: a missing file is fine.
    pub required: bool,
    /// `raw`, or empty for the usual grammar.
    pub format: String,
}

/// The path alone where nothing else is said.
impl Serialize for EnvFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        if self.required && self.format.is_empty() {
            return serializer.serialize_str(&self.path);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("path", &self.path)?;
        map.serialize_entry("required", &self.required)?;
        if !self.format.is_empty() {
            map.serialize_entry("format", &self.format)?;
        }
        map.end()
    }
}

/// The service that one extends.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Extends {
    /// File; empty means the same one.
    #[serde(skip_serializing_if = "is_default")]
    pub file: String,
    /// Service in it.
    pub service: String,
}

/// A service's use of an AI model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServiceModel {
    /// Variable for the endpoint.
    #[serde(rename = "endpoint_var", skip_serializing_if = "is_default")]
    pub endpoint_variable: String,
    /// Variable for the model.
    #[serde(rename = "model_var", skip_serializing_if = "is_default")]
    pub model_variable: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}
