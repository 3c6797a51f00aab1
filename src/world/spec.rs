//! Fully resolved, engine-neutral descriptions of what is to be created.
//!
//! `plan` lowers the model to these once, so no engine re-implements Compose semantics: names are real names, paths
//! absolute, defaults applied, labels complete.

use crate::units::Duration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One replica of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstanceKey {
    /// Service.
    pub service: String,
    /// Number, from 1.
    pub number: u32,
}

impl std::fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.service, self.number)
    }
}

/// The value of the `config-hash` label.
///
/// A service that lives in another one's namespace (`network_mode: service:x`) is hashed with the id of that
/// container, as Docker Compose does, and the id is not known before that container was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigHash {
    /// Known: 64 hex digits.
    Known(String),
    /// The JSON to hash, in which `\u{1}NAME\u{1}` stands for the id of the container called NAME.
    Pending(String),
}

/// A container to create.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Real name.
    pub name: String,
    /// Which replica it is.
    pub key: InstanceKey,
    /// Image reference.
    pub image: String,
    /// `os/arch[/variant]`; `None` leaves it to the engine.
    pub platform: Option<String>,
    /// All labels but the configuration hash.
    pub labels: BTreeMap<String, String>,
    /// The configuration hash.
    pub config_hash: ConfigHash,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// `None` takes the image's; an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// `None` takes the image's; an empty list clears it.
    pub command: Option<Vec<String>>,
    /// Environment; a variable without a value is left to the engine (removed from the image's environment).
    pub environment: BTreeMap<String, Option<String>>,
    /// Working directory; empty takes the image's.
    pub working_dir: String,
    /// User; empty takes the image's.
    pub user: String,
    /// Host name; empty leaves it to the engine.
    pub hostname: String,
    /// Domain name.
    pub domainname: String,
    /// A terminal for process 1.
    pub tty: bool,
    /// Keeps standard input open.
    pub stdin_open: bool,
    /// Stop signal; empty takes the image's.
    pub stop_signal: String,
    /// Seconds between the stop signal and SIGKILL; `None` is the engine's default.
    pub stop_timeout: Option<i64>,
    /// Health check; `None` takes the image's.
    pub healthcheck: Option<HealthcheckSpec>,
    /// Ports opened without publishing, `port[/protocol]` (ranges `a-b/protocol` expanded).
    pub expose: Vec<String>,
    /// Published ports.
    pub ports: Vec<PortSpec>,
    /// Mounts, secrets and configs from files among them.
    pub mounts: Vec<MountSpec>,
    /// tmpfs: path to options.
    pub tmpfs: BTreeMap<String, String>,
    /// Containers (names or ids, `[:mode]`) whose mounts are taken.
    pub volumes_from: Vec<String>,
    /// Driver of anonymous volumes.
    pub volume_driver: String,
    /// How it is connected.
    pub network_mode: NetworkMode,
    /// Networks it joins, the primary one first. Empty unless `network_mode` is [`NetworkMode::Networks`].
    pub networks: Vec<EndpointSpec>,
    /// Fixed MAC address of the whole container, for engines that know no other.
    pub mac_address: String,
    /// Links to containers outside the project, `container[:alias]`.
    pub external_links: Vec<String>,
    /// DNS servers.
    pub dns: Vec<String>,
    /// Resolver options.
    pub dns_options: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Extra hosts, `name:address`.
    pub extra_hosts: Vec<String>,
    /// When the container is started again.
    pub restart: RestartPolicy,
    /// A small init as process 1; `None` is the engine's default.
    pub init: Option<bool>,
    /// OCI runtime; empty is the engine's default.
    pub runtime: String,
    /// Isolation technology; empty is the engine's default.
    pub isolation: String,
    /// Log driver; `None` is the engine's default.
    pub log: Option<LogSpec>,
    /// Limits.
    pub resources: ResourceSpec,
    /// Privileges and namespaces.
    pub security: SecuritySpec,
    /// Options of the storage driver.
    pub storage_options: BTreeMap<String, String>,
    /// Files written into the container after it was created and before each start: secrets and configs whose value
    /// is not a file of the host.
    pub files: Vec<FileSpec>,
    /// Commands run inside after each start, in order.
    pub post_start: Vec<HookSpec>,
}

impl ContainerSpec {
    /// A container of which nothing special is asked: everything else is the image's or the engine's.
    pub fn new(name: impl Into<String>, key: InstanceKey, image: impl Into<String>, config_hash: ConfigHash) -> Self {
        Self {
            name: name.into(),
            key,
            image: image.into(),
            platform: None,
            labels: BTreeMap::new(),
            config_hash,
            annotations: BTreeMap::new(),
            entrypoint: None,
            command: None,
            environment: BTreeMap::new(),
            working_dir: String::new(),
            user: String::new(),
            hostname: String::new(),
            domainname: String::new(),
            tty: false,
            stdin_open: false,
            stop_signal: String::new(),
            stop_timeout: None,
            healthcheck: None,
            expose: Vec::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            tmpfs: BTreeMap::new(),
            volumes_from: Vec::new(),
            volume_driver: String::new(),
            network_mode: NetworkMode::Networks,
            networks: Vec::new(),
            mac_address: String::new(),
            external_links: Vec::new(),
            dns: Vec::new(),
            dns_options: Vec::new(),
            dns_search: Vec::new(),
            extra_hosts: Vec::new(),
            restart: RestartPolicy::No,
            init: None,
            runtime: String::new(),
            isolation: String::new(),
            log: None,
            resources: ResourceSpec::default(),
            security: SecuritySpec::default(),
            storage_options: BTreeMap::new(),
            files: Vec::new(),
            post_start: Vec::new(),
        }
    }
}

/// What stands before a path where an image is not one of a registry, in the words that skopeo made common; and
/// `rootfs:`, a folder that is a root file system.
pub const IMAGE_SCHEMES: [&str; 4] = ["docker-archive", "oci", "oci-archive", "rootfs"];

/// The scheme and the path of an image that is not one of a registry: `rootfs:/srv/root`, `docker-archive:app.tar`. Where the
/// scheme may be the name of an image too, a path has a slash, or begins with a dot or `~`; `oci:latest` is a name and a tag.
pub fn image_path(reference: &str) -> Option<(&str, &str)> {
    let (scheme, path) = reference.split_once(':')?;
    let is_path = path.starts_with(['.', '~']) || path.contains('/') || (scheme.ends_with("-archive") && !path.is_empty());
    (IMAGE_SCHEMES.contains(&scheme) && !path.starts_with("//") && is_path).then_some((scheme, path))
}

/// How a container is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// To the networks of the spec.
    Networks,
    /// Not at all.
    None,
    /// It shares the host's network.
    Host,
    /// It shares that of another container (name or id).
    Container(String),
    /// Anything else, passed on as it is (`bridge`, a network's name).
    Other(String),
}

/// A place on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Real name of the network.
    pub network: String,
    /// Names on it.
    pub aliases: Vec<String>,
    /// Links, `container:alias`.
    pub links: Vec<String>,
    /// Fixed IPv4 address; empty lets the engine choose.
    pub ipv4: String,
    /// Fixed IPv6 address; empty lets the engine choose.
    pub ipv6: String,
    /// Link-local addresses.
    pub link_local: Vec<String>,
    /// Fixed MAC address; empty lets the engine choose.
    pub mac_address: String,
    /// Options for the driver.
    pub driver_options: BTreeMap<String, String>,
    /// Which network's gateway becomes the default; highest wins.
    pub gateway_priority: i64,
    /// Name of the interface inside; empty lets the engine choose.
    pub interface_name: String,
}

/// A published port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortSpec {
    /// Port in the container.
    pub target: u16,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
    /// Address on the host; empty means all.
    pub host_ip: String,
    /// Port, range `a-b`, or empty: the engine chooses.
    pub published: String,
}

/// How health is found out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthcheckSpec {
    /// `["CMD", …]`, `["CMD-SHELL", "…"]`, `["NONE"]`; empty takes the image's.
    pub test: Vec<String>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// How long one probe may take.
    pub timeout: Option<Duration>,
    /// Time in which failures don't count.
    pub start_period: Option<Duration>,
    /// Time between probes during the start period.
    pub start_interval: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u64>,
}

impl HealthcheckSpec {
    /// Whether it switches probing off.
    pub fn is_none(&self) -> bool {
        self.test.first().is_some_and(|t| t == "NONE")
    }
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// What is mounted.
    pub kind: MountKind,
    /// Path in the container.
    pub target: String,
    /// Read-only.
    pub read_only: bool,
    /// Consistency (macOS).
    pub consistency: String,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the host.
    Bind {
        /// Absolute path.
        source: String,
        /// Create a missing directory; otherwise it is an error.
        create_host_path: bool,
        /// Mount propagation; empty is the engine's default.
        propagation: String,
        /// SELinux relabelling, `z` or `Z`; empty is none.
        selinux: String,
        /// `enabled`, `disabled`, `writable`, `readonly`; empty is the engine's default.
        recursive: String,
    },
    /// A volume.
    Volume {
        /// Real name; `None` makes an anonymous one.
        name: Option<String>,
        /// Don't copy the image's files in.
        nocopy: bool,
        /// Path within the volume; empty is all of it.
        subpath: String,
        /// Labels of an anonymous volume.
        labels: BTreeMap<String, String>,
        /// Taken over from the container that this one replaces.
        inherited: bool,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; 0 is the kernel's default.
        size: i64,
        /// File mode; 0 is the kernel's default.
        mode: u32,
    },
    /// The files of an image.
    Image {
        /// Reference.
        reference: String,
        /// Path within it; empty is all of it.
        subpath: String,
    },
    /// A named pipe (Windows).
    Npipe {
        /// The pipe.
        source: String,
    },
    /// A cluster volume.
    Cluster {
        /// Its name.
        source: String,
    },
}

/// When a container is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Always.
    Always,
    /// After a code other than 0, at most so often (0: no limit).
    OnFailure(u64),
    /// Always, except when it was stopped on purpose.
    UnlessStopped,
}

/// Log driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// Driver; empty is the engine's default.
    pub driver: String,
    /// Options for the driver.
    pub options: BTreeMap<String, String>,
}

/// Limits. 0 and empty mean "no limit of ours".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceSpec {
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// Processors by number.
    pub cpuset: String,
    /// Relative weight.
    pub cpu_shares: i64,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds.
    pub cpu_quota: i64,
    /// Microseconds.
    pub cpu_rt_period: i64,
    /// Microseconds.
    pub cpu_rt_runtime: i64,
    /// Windows.
    pub cpu_count: i64,
    /// Windows.
    pub cpu_percent: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub memory_reservation: i64,
    /// Bytes, memory and swap together; -1 is no limit.
    pub memory_swap: i64,
    /// 0 to 100; `None` is the engine's default.
    pub memory_swappiness: Option<i64>,
    /// Processes; -1 is no limit.
    pub pids: i64,
    /// Bytes.
    pub shm_size: i64,
    /// Never killed when memory runs out.
    pub oom_kill_disable: bool,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    /// Limits of processes.
    pub ulimits: Vec<UlimitSpec>,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// Device and weight.
    pub blkio_weight_device: Vec<(String, u16)>,
    /// Device and bytes a second.
    pub blkio_read_bps: Vec<(String, i64)>,
    /// Device and bytes a second.
    pub blkio_write_bps: Vec<(String, i64)>,
    /// Device and operations a second.
    pub blkio_read_iops: Vec<(String, i64)>,
    /// Device and operations a second.
    pub blkio_write_iops: Vec<(String, i64)>,
    /// Devices by path.
    pub devices: Vec<DeviceSpec>,
    /// Rules for the device cgroup.
    pub device_cgroup_rules: Vec<String>,
    /// Devices by capability (GPUs).
    pub device_requests: Vec<DeviceRequestSpec>,
}

/// One limit of processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UlimitSpec {
    /// `nofile`, `nproc`, …
    pub name: String,
    /// What the process starts with.
    pub soft: i64,
    /// What it may raise it to.
    pub hard: i64,
}

/// A device by path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Path on the host, or a CDI name.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Some of `rwm`.
    pub permissions: String,
}

/// Privileges and namespaces. Namespaces are `host`, `private`, `container:NAME`, …, empty for the engine's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecuritySpec {
    /// All privileges.
    pub privileged: bool,
    /// Read-only root file system.
    pub read_only: bool,
    /// Capabilities added.
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// Security options, with seccomp files already read in.
    pub options: Vec<String>,
    /// `systempaths=unconfined`: no masked and no read-only paths.
    pub unconfined_paths: bool,
    /// More groups of the user.
    pub group_add: Vec<String>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// PID namespace.
    pub pid: String,
    /// IPC namespace.
    pub ipc: String,
    /// UTS namespace.
    pub uts: String,
    /// User namespace.
    pub userns: String,
    /// Cgroup namespace.
    pub cgroup: String,
    /// Parent cgroup.
    pub cgroup_parent: String,
}

/// A file written into a container.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Absolute path in the container.
    pub path: String,
    /// Content. Left out of debug output: it may be a secret.
    pub content: Vec<u8>,
    /// Owner: a number, or a name that exists in the image; empty is root.
    pub uid: String,
    /// Group; empty is root.
    pub gid: String,
    /// Mode.
    pub mode: u32,
}

impl std::fmt::Debug for FileSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSpec").field("path", &self.path).field("bytes", &self.content.len()).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// A command run inside a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookSpec {
    /// Command.
    pub command: Vec<String>,
    /// User; empty is the container's.
    pub user: String,
    /// All privileges.
    pub privileged: bool,
    /// Working directory; empty is the container's.
    pub working_dir: String,
    /// Environment.
    pub environment: BTreeMap<String, Option<String>>,
}

/// A network to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Real name.
    pub name: String,
    /// Driver; empty is the engine's default.
    pub driver: String,
    /// Options for the driver.
    pub driver_options: BTreeMap<String, String>,
    /// IPAM driver; empty is the engine's default.
    pub ipam_driver: String,
    /// Options for the IPAM driver.
    pub ipam_options: BTreeMap<String, String>,
    /// Address pools.
    pub pools: Vec<IpamPoolSpec>,
    /// No way out of it.
    pub internal: bool,
    /// Other containers may join.
    pub attachable: bool,
    /// IPv4 addresses; `None` is the engine's default.
    pub ipv4: Option<bool>,
    /// IPv6 addresses; `None` is the engine's default.
    pub ipv6: Option<bool>,
    /// All labels, the configuration hash among them.
    pub labels: BTreeMap<String, String>,
}

/// One address pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamPoolSpec {
    /// CIDR.
    pub subnet: String,
    /// CIDR within the subnet that addresses are taken from.
    pub ip_range: String,
    /// Address of the gateway.
    pub gateway: String,
    /// Addresses kept free.
    pub aux_addresses: BTreeMap<String, String>,
}

/// A volume to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Real name.
    pub name: String,
    /// Driver; empty is the engine's default, `local`.
    pub driver: String,
    /// Options for the driver.
    pub driver_options: BTreeMap<String, String>,
    /// All labels, the configuration hash among them.
    pub labels: BTreeMap<String, String>,
}

/// Devices that the engine looks for by capability.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequestSpec {
    /// Capabilities, all of them wanted.
    pub capabilities: Vec<String>,
    /// Driver.
    pub driver: String,
    /// How many; -1 means all.
    pub count: i64,
    /// These very devices.
    pub device_ids: Vec<String>,
    /// Options for the driver.
    pub options: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::image_path;

    #[test]
    fn an_image_that_is_a_path_is_told_from_a_name() {
        for (reference, scheme, path) in
            [("rootfs:/", "rootfs", "/"), ("oci:./layout:tag", "oci", "./layout:tag"), ("docker-archive:app.tar", "docker-archive", "app.tar")]
        {
            assert_eq!(image_path(reference), Some((scheme, path)));
        }
        for reference in ["oci:latest", "rootfs", "rootfs:1.0", "docker-archive:", "busybox:latest", "localhost:5000/oci:1", "oci://registry/file"] {
            assert_eq!(image_path(reference), None);
        }
    }
}
