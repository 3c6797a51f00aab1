//! Where engines that speak Docker's API differ.

use super::client::{Api, Hello};
use crate::world::{Capabilities, Owner};

/// Keys that Podman's side of Docker's API drops without a word, and that a service can't do without.
const REFUSED: [(&str, &str); 5] = [
    ("services.*.cgroup", DROPPED),
    ("services.*.deploy.resources.reservations.devices", DROPPED),
    ("services.*.device_cgroup_rules", DROPPED),
    ("services.*.gpus", DROPPED),
    ("services.*.runtime", DROPPED),
];
/// The same of keys that a service may do without.
const IGNORED: [(&str, &str); 4] = [
    ("services.*.domainname", DROPPED),
    ("services.*.networks.*.driver_opts", DROPPED),
    ("services.*.networks.*.link_local_ips", DROPPED),
    ("services.*.volumes.*.volume.nocopy", DROPPED),
];
const DROPPED: &str = "Podman doesn't take it from Docker's API";

/// Differences from Docker. The default has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// It is Podman, whose API version lags behind what it can do.
    podman: bool,
    /// Takes several networks, with a MAC address each, in one create call at any version of the API.
    many_networks: bool,
    /// Health is told in the engine's own list of containers only, not in Docker's.
    pub health_in_own_list: bool,
    /// Removal by force sends the stop signal and waits.
    pub remove_is_gentle: bool,
    /// Events may be lost, and health checks are left to timers of systemd, which a host may not have.
    pub loses_events: bool,
    /// A bind's missing source is made, although the request says that it must be there.
    pub makes_missing_binds: bool,
    /// Takes one host port for a port, not a range to choose from.
    pub no_port_ranges: bool,
    /// A container with name servers of its own doesn't ask the one of its networks.
    pub dns_hides_names: bool,
    /// Cuts the words of a probe's command at blanks.
    pub splits_probes: bool,
    /// Gives a container no time to stop unless it is told to.
    pub stops_at_once: bool,
    /// Says of a container that never ran that it was stopped.
    pub stops_what_never_ran: bool,
    /// A log that is followed ends with the container, even if not all of it was told.
    pub follow_loses_lines: bool,
    /// Logs are files of a known form.
    pub log_files: bool,
}

impl Quirks {
    /// Of the engine that said this.
    pub fn of(hello: &Hello) -> Self {
        if !hello.podman {
            // Docker 20.10 stops reading a followed log when the container ends, as Podman does.
            return Self { follow_loses_lines: hello.api < Api(1, 42), ..Self::default() };
        }
        let mut numbers = hello.version.split(['.', '-']).map(|v| v.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Self {
            podman: true,
            many_networks: version >= (4, 0),
            health_in_own_list: true,
            remove_is_gentle: true,
            loses_events: true,
            makes_missing_binds: true,
            no_port_ranges: true,
            dns_hides_names: version < (4, 4),
            splits_probes: true,
            stops_at_once: true,
            stops_what_never_ran: true,
            follow_loses_lines: true,
            log_files: true,
        }
    }

    /// What the engine can do with this version of the API.
    pub fn capabilities(self, api: Api) -> Capabilities {
        let docker = |since: Api| !self.podman && api >= since;
        Capabilities {
            restarts: Owner::Engine,
            // Where Podman has no timers for it, `vigil` has them run.
            probes: Owner::Engine,
            many_networks_at_create: self.many_networks || docker(Api(1, 44)),
            start_interval: docker(Api(1, 44)),
            image_mounts: docker(Api(1, 48)),
            image_files: cfg!(all(feature = "embedded", target_os = "linux")),
            boots_folders: false,
            volume_subpath: docker(Api(1, 45)),
            interface_name: docker(Api(1, 49)),
            gateway_priority: docker(Api(1, 48)),
            mac_by_network: self.many_networks || docker(Api(1, 44)),
            annotations: docker(Api(1, 43)),
            recursive_readonly: docker(Api(1, 44)),
            links: !self.podman,
            own_dns: !self.dns_hides_names,
            pull: true,
            cdi: true,
            pause: true,
            refused: if self.podman { REFUSED.to_vec() } else { Vec::new() },
            ignored: if self.podman { IGNORED.to_vec() } else { Vec::new() },
        }
    }
}
