//! Where engines that speak Docker's API differ.

use super::client::{Api, Hello};
use crate::world::{Capabilities, Owner};

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
    /// Health checks are left to timers of systemd, which a host may not have.
    pub probes_need_timers: bool,
    /// A bind's missing source is made, although the request says that it must be there.
    pub makes_missing_binds: bool,
    /// Takes one host port for a port, not a range to choose from.
    pub no_port_ranges: bool,
    /// A log that is followed ends with the container, even if not all of it was told.
    pub follow_loses_lines: bool,
}

impl Quirks {
    /// Of the engine that said this.
    pub fn of(hello: &Hello) -> Self {
        if !hello.podman {
            // Docker 20.10 stops reading a followed log when the container ends, as Podman does.
            return Self { follow_loses_lines: hello.api < Api(1, 42), ..Self::default() };
        }
        let major = hello.version.split('.').next().and_then(|v| v.parse::<u32>().ok()).unwrap_or(0);
        Self {
            podman: true,
            many_networks: major >= 4,
            health_in_own_list: true,
            remove_is_gentle: true,
            probes_need_timers: true,
            makes_missing_binds: true,
            no_port_ranges: true,
            follow_loses_lines: true,
        }
    }

    /// What the engine can do with this version of the API.
    pub fn capabilities(self, api: Api) -> Capabilities {
        let docker = |since: Api| !self.podman && api >= since;
        Capabilities {
            restarts: Owner::Engine,
            // Where Podman has no timers for it, `probes` has them run.
            probes: Owner::Engine,
            many_networks_at_create: self.many_networks || docker(Api(1, 44)),
            start_interval: docker(Api(1, 44)),
            image_mounts: docker(Api(1, 48)),
            volume_subpath: docker(Api(1, 45)),
            interface_name: docker(Api(1, 49)),
            gateway_priority: docker(Api(1, 48)),
            mac_by_network: self.many_networks || docker(Api(1, 44)),
            annotations: docker(Api(1, 43)),
            recursive_readonly: docker(Api(1, 44)),
            links: !self.podman,
            pull: true,
            pause: true,
            refused: Vec::new(),
        }
    }
}
