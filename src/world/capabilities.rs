//! What an engine can do.

/// Who does a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The engine, also after we are gone.
    Engine,
    /// We, as long as we run.
    Us,
}

/// What an engine can do, as a value. A gap becomes a diagnostic at its line before anything is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Who applies restart policies.
    pub restarts: Owner,
    /// Who runs health probes.
    pub probes: Owner,
    /// Several networks in one create call; otherwise the rest is connected before the start.
    pub many_networks_at_create: bool,
    /// `healthcheck.start_interval`.
    pub start_interval: bool,
    /// `type: image` mounts.
    pub image_mounts: bool,
    /// Images that are archives or folders: `docker-archive:`, `oci-archive:`, `oci:`, `rootfs:`.
    pub image_files: bool,
    /// `rootfs:` is booted where it lies, so it may be the machine itself.
    pub boots_folders: bool,
    /// `volume.subpath`.
    pub volume_subpath: bool,
    /// `networks.*.interface_name`.
    pub interface_name: bool,
    /// `networks.*.gw_priority`.
    pub gateway_priority: bool,
    /// MAC address by network; otherwise one for the container.
    pub mac_by_network: bool,
    /// `annotations`.
    pub annotations: bool,
    /// Recursive read-only bind mounts (`bind.recursive`).
    pub recursive_readonly: bool,
    /// `links` and `external_links`.
    pub links: bool,
    /// Name servers of `dns` are asked for every name that no container has; otherwise only when the networks' own
    /// name server doesn't answer.
    pub own_dns: bool,
    /// Pulls images from registries.
    pub pull: bool,
    /// Pauses and resumes containers.
    pub pause: bool,
    /// Devices by the names of the Container Device Interface.
    pub cdi: bool,
    /// Keys of the format, as dotted patterns (`services.*.isolation`, `volumes.*.driver`), that this engine can't honour
    /// although it has no switch above; each with the reason in words. `PATTERN!=A|B` leaves these values out,
    /// `PATTERN~A|B` means values that begin so alone.
    pub refused: Vec<(&'static str, &'static str)>,
    /// The same of keys that only make a difference: they are left out, with a warning.
    pub ignored: Vec<(&'static str, &'static str)>,
}

impl Capabilities {
    /// Everything, as a current Docker has it.
    pub fn all() -> Self {
        Self {
            restarts: Owner::Engine,
            probes: Owner::Engine,
            many_networks_at_create: true,
            start_interval: true,
            image_mounts: true,
            image_files: true,
            boots_folders: true,
            volume_subpath: true,
            interface_name: true,
            gateway_priority: true,
            mac_by_network: true,
            annotations: true,
            recursive_readonly: true,
            links: true,
            own_dns: true,
            pull: true,
            cdi: true,
            pause: true,
            refused: Vec::new(),
            ignored: Vec::new(),
        }
    }
}
