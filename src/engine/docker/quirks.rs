//! Where engines that speak Docker's API differ.

use super::client::{Api, Hello};
use crate::world::{Capabilities, Owner};

/// Differences of one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// It is Podman.
    pub podman: bool,
    /// Health is told in the engine's own list of containers only, not in Docker's.
    pub health_in_own_list: bool,
    /// Removal by force sends the stop signal and waits.
    pub remove_is_gentle: bool,
}

impl Quirks {
    /// Of the engine that said this.
    pub fn of(hello: &Hello) -> Self {
        Self { podman: hello.podman, health_in_own_list: hello.podman, remove_is_gentle: hello.podman }
    }

    /// What the engine can do with this version of the API.
    pub fn capabilities(self, api: Api) -> Capabilities {
        let docker = !self.podman;
        Capabilities {
            restarts: Owner::Engine,
            probes: Owner::Engine,
            many_networks_at_create: docker && api >= Api(1, 44),
            start_interval: docker && api >= Api(1, 44),
            image_mounts: docker && api >= Api(1, 48),
            volume_subpath: docker && api >= Api(1, 45),
            interface_name: docker && api >= Api(1, 49),
            gateway_priority: docker && api >= Api(1, 48),
            mac_by_network: docker && api >= Api(1, 44),
            annotations: docker && api >= Api(1, 43),
            recursive_readonly: docker && api >= Api(1, 44),
            links: docker,
            pull: true,
            pause: true,
            refused: Vec::new(),
        }
    }
}
