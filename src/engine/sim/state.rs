//! Everything that exists in the simulated engine, and the rules by which it changes.
//!
//! Synchronous and without a clock: callers say what time it is. The rules are stricter than those of real engines, so
//! that a plan which passes here leans on nobody's leniency.

use super::container::{Container, Endpoint, Log, Mount};
use super::files::{File, Tree, absolute, is_below, tail};
use super::image::{SimImage, canonical};
use super::network::Network;
use super::record::Entry;
use super::script::{Script, Scripts};
use crate::digest::sha256;
use crate::units::Timestamp;
use crate::world::{
    Capabilities, ConfigHash, Container as Observed, ContainerSpec, EndpointSpec, EngineError, EngineEvent, ErrorKind, EventKind, LogChunk,
    MountKind, MountPoint, NetworkMode, NetworkSpec, PublishedPort, State as Life, Stream, Target, VolumeSpec, VolumeState, bind, label,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;

/// Longest piece of a line that one entry of a log holds.
const LONGEST_CHUNK: usize = 16 * 1024;
/// The first port that the engine chooses by itself.
const FIRST_FREE_PORT: u16 = 32_768;

/// A volume.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) state: VolumeState,
    pub(super) files: Tree,
}

/// Somebody who wants events.
#[derive(Debug)]
struct Subscriber {
    project: Option<String>,
    sender: mpsc::UnboundedSender<EngineEvent>,
}

/// All that exists.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) containers: BTreeMap<String, Container>,
    pub(super) networks: BTreeMap<String, Network>,
    pub(super) volumes: BTreeMap<String, Volume>,
    /// Local images and those of the registry, by full reference.
    pub(super) local: BTreeMap<String, SimImage>,
    pub(super) registry: BTreeMap<String, SimImage>,
    pub(super) scripts: BTreeMap<String, Scripts>,
    /// Scripts for services of any project.
    pub(super) any_project: BTreeMap<String, Script>,
    pub(super) taken_ports: BTreeSet<u16>,
    /// How often something was refused by script.
    pub(super) refusals: BTreeMap<String, u32>,
    /// Files of the host that containers wrote into bind mounts.
    pub(super) host: Tree,
    pub(super) journal: Vec<Entry>,
    pub(super) ops: usize,
    subscribers: Vec<Subscriber>,
    made: u64,
}

pub(super) fn refused(what: impl Into<String>, why: impl Into<String>) -> EngineError {
    EngineError::new(ErrorKind::Refused, what).because(why)
}

fn missing(kind: &str, name: &str) -> EngineError {
    EngineError::new(ErrorKind::NotFound, format!("no such {kind}: {name}"))
}

fn conflict(what: impl Into<String>) -> EngineError {
    EngineError::new(ErrorKind::Conflict, what)
}

impl State {
    /// A new id, the same in every run.
    pub(super) fn new_id(&mut self) -> String {
        self.made += 1;
        sha256(format!("thing {}", self.made))
    }

    pub(super) fn subscribe(&mut self, project: Option<&str>) -> mpsc::UnboundedReceiver<EngineEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.subscribers.push(Subscriber { project: project.map(str::to_owned), sender });
        receiver
    }

    /// Ends every subscription, as when the engine goes away.
    pub(super) fn hang_up(&mut self) {
        self.subscribers.clear();
    }

    pub(super) fn emit(&mut self, id: &str, kind: EventKind, now: Timestamp) {
        let Some(container) = self.containers.get(id) else { return };
        let project = container.project().to_owned();
        let event = EngineEvent { time: now, container: container.identity(), kind };
        self.subscribers.retain(|s| s.project.as_ref().is_some_and(|p| *p != project) || s.sender.send(event.clone()).is_ok());
        self.journal.push(Entry::Event(event));
    }

    /// Id of the container with this id, beginning of an id, or name.
    pub(super) fn find(&self, reference: &str) -> Option<String> {
        let by_name = self.containers.values().find(|c| c.name == reference.trim_start_matches('/'));
        let by_id = || self.containers.values().find(|c| reference.len() >= 12 && c.id.starts_with(reference));
        by_name.or_else(by_id).map(|c| c.id.clone())
    }

    pub(super) fn id_of(&self, target: &Target) -> Result<String, EngineError> {
        self.find(target.reference()).ok_or_else(|| missing("container", &target.name))
    }

    /// The container called `id`.
    pub(super) fn get(&mut self, id: &str) -> Result<&mut Container, EngineError> {
        self.containers.get_mut(id).ok_or_else(|| missing("container", id))
    }

    pub(super) fn script_for(&self, project: &str, service: &str) -> Script {
        let own = self.scripts.get(project).and_then(|s| s.services.get(service));
        own.or_else(|| self.any_project.get(service)).cloned().unwrap_or_default()
    }

    pub(super) fn image(&self, reference: &str) -> Option<&SimImage> {
        let full = canonical(reference);
        self.local.get(&full).or_else(|| self.local.iter().find(|(name, image)| image.id(name) == reference).map(|(_, image)| image))
    }

    /// Puts an image of the registry on the host. False if it was there already in this very form.
    pub(super) fn pull(&mut self, reference: &str) -> Result<bool, EngineError> {
        let full = canonical(reference);
        let image = self.registry.get(&full).cloned().ok_or_else(|| {
            EngineError::new(ErrorKind::NotFound, format!("image {reference} can't be pulled")).because("the registry has no such image")
        })?;
        Ok(self.local.insert(full, image.clone()) != Some(image))
    }

    pub(super) fn remove_image(&mut self, reference: &str) -> Result<bool, EngineError> {
        let full = canonical(reference);
        if let Some(user) = self.containers.values().find(|c| canonical(&c.spec.image) == full) {
            return Err(conflict(format!("image {reference} is in use by container {}", user.name)));
        }
        Ok(self.local.remove(&full).is_some())
    }

    /// Creates a network, and says whether it wasn't there already with the same labels.
    pub(super) fn create_network(&mut self, spec: &NetworkSpec) -> Result<(String, bool), EngineError> {
        match self.networks.get(&spec.name) {
            Some(found) if found.spec.labels == spec.labels => return Ok((found.id.clone(), false)),
            Some(_) => return Err(conflict(format!("network {} already exists", spec.name))),
            None => {}
        }
        let id = self.new_id();
        let network = Network::new(id.clone(), spec.clone(), &self.networks)?;
        self.networks.insert(spec.name.clone(), network);
        Ok((id, true))
    }

    pub(super) fn remove_network(&mut self, name: &str, id: Option<&str>) -> Result<bool, EngineError> {
        let found = self.networks.get(name).is_some_and(|n| id.is_none_or(|id| n.id == id));
        if let Some(user) = self.containers.values().find(|c| found && c.endpoints.iter().any(|e| e.spec.network == name)) {
            return Err(conflict(format!("network {name} is in use by container {}", user.name)));
        }
        Ok(found && self.networks.remove(name).is_some())
    }

    pub(super) fn create_volume(&mut self, spec: &VolumeSpec) -> Result<(), EngineError> {
        if self.volumes.contains_key(&spec.name) {
            return Err(conflict(format!("volume {} already exists", spec.name)));
        }
        let driver = if spec.driver.is_empty() { "local".to_owned() } else { spec.driver.clone() };
        let state = VolumeState { name: spec.name.clone(), driver, labels: spec.labels.clone() };
        self.volumes.insert(spec.name.clone(), Volume { state, files: Tree::default() });
        Ok(())
    }

    pub(super) fn remove_volume(&mut self, name: &str) -> Result<bool, EngineError> {
        let uses = |c: &&Container| c.mounts.iter().any(|m| m.point.kind == "volume" && m.point.name == name);
        if let Some(user) = self.containers.values().find(uses) {
            return Err(conflict(format!("volume {name} is in use by container {}", user.name)));
        }
        Ok(self.volumes.remove(name).is_some())
    }

    /// Checks that a container could be created, and creates it.
    pub(super) fn create(&mut self, spec: &ContainerSpec, capabilities: &Capabilities, now: Timestamp) -> Result<(String, Vec<String>), EngineError> {
        let what = || format!("container {} can't be created", spec.name);
        if spec.name.is_empty() || !spec.name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
            return Err(refused(what(), "its name may only have letters, digits, and _ . -"));
        }
        if let Some(other) = self.containers.values().find(|c| c.name == spec.name) {
            return Err(conflict(format!("the name {} is already in use by container {}", spec.name, other.id)));
        }
        let image = self.image(&spec.image).cloned().ok_or_else(|| missing("image", &spec.image))?;
        if spec.networks.len() > 1 && !capabilities.many_networks_at_create {
            return Err(EngineError::new(ErrorKind::Unsupported, what()).because("this engine takes one network at creation"));
        }
        for endpoint in &spec.networks {
            self.check_endpoint(endpoint)?;
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = spec.networks.iter().find(|e| !names.insert(&e.network)) {
            return Err(refused(what(), format!("it joins network {} twice", twice.network)));
        }
        for other in self.joined(spec) {
            self.find(other).ok_or_else(|| missing("container", other))?;
        }
        for from in &spec.volumes_from {
            let from = from.split(':').next().unwrap_or(from);
            self.find(from).ok_or_else(|| missing("container", from))?;
        }
        if matches!(spec.network_mode, NetworkMode::Container(_)) && !spec.ports.is_empty() {
            return Err(refused(what(), "ports can't be published in another container's network"));
        }
        for port in &spec.ports {
            port_range(&port.published).ok_or_else(|| refused(what(), format!("invalid port {}", port.published)))?;
        }
        let mut spec = spec.clone();
        bind(&mut spec, &|name| self.find(name)).map_err(|name| missing("container", &name))?;
        let id = self.new_id();
        let mut labels = spec.labels.clone();
        if let ConfigHash::Known(hash) = &spec.config_hash {
            labels.insert(label::CONFIG_HASH.into(), hash.clone());
        }
        let project = labels.get(label::PROJECT).cloned().unwrap_or_default();
        let script = self.script_for(&project, labels.get(label::SERVICE).map_or("", String::as_str));
        let mounts = self.mounts(&spec, &image)?;
        let mut warnings = script.warn.clone();
        if spec.network_mode == NetworkMode::Host && !spec.ports.is_empty() {
            warnings.push("published ports are discarded when using host network mode".into());
        }
        let endpoints = spec.networks.iter().map(|e| Endpoint { spec: e.clone(), ipv4: String::new() }).collect();
        let container = Container {
            id: id.clone(),
            name: spec.name.clone(),
            spec: ContainerSpec { labels, ..spec },
            image,
            script,
            created: now,
            state: Life::Created,
            health: None,
            probes: Vec::new(),
            exit_code: 0,
            oom: false,
            error: String::new(),
            started: None,
            finished: None,
            starts: 0,
            restarts: 0,
            stopped: false,
            ports: Vec::new(),
            mounts,
            endpoints,
            layer: Tree::default(),
            log: Log::default(),
            process: None,
        };
        self.containers.insert(id.clone(), container);
        self.emit(&id, EventKind::Created, now);
        Ok((id, warnings))
    }

    /// Containers whose namespaces `spec` joins.
    fn joined<'s>(&self, spec: &'s ContainerSpec) -> Vec<&'s str> {
        let network = if let NetworkMode::Container(name) = &spec.network_mode { Some(name.as_str()) } else { None };
        let others = [&spec.security.pid, &spec.security.ipc].into_iter().filter_map(|n| n.strip_prefix("container:"));
        network.into_iter().chain(others).collect()
    }

    fn check_endpoint(&self, endpoint: &EndpointSpec) -> Result<(), EngineError> {
        if !self.networks.contains_key(&endpoint.network) {
            return Err(missing("network", &endpoint.network));
        }
        for link in &endpoint.links {
            let name = link.split(':').next().unwrap_or(link);
            self.find(name).ok_or_else(|| missing("container", name))?;
        }
        Ok(())
    }

    fn mounts(&mut self, spec: &ContainerSpec, image: &SimImage) -> Result<Vec<Mount>, EngineError> {
        let mut mounts: Vec<Mount> = Vec::new();
        for from in &spec.volumes_from {
            let (name, mode) = from.split_once(':').unwrap_or((from, ""));
            let source = self.find(name).and_then(|id| self.containers.get(&id));
            for taken in source.map(|c| c.mounts.clone()).unwrap_or_default() {
                let point = MountPoint { read_only: taken.point.read_only || mode == "ro", ..taken.point };
                mounts.push(Mount { point, anonymous: false, ..taken });
            }
        }
        for mount in &spec.mounts {
            let at = |kind: &str| MountPoint { kind: kind.into(), target: mount.target.clone(), read_only: mount.read_only, ..MountPoint::default() };
            let (point, anonymous, subpath) = match &mount.kind {
                MountKind::Bind { source, create_host_path, .. } => {
                    if !create_host_path && !std::path::Path::new(source).exists() && self.host.get(source).is_none() {
                        return Err(refused(
                            format!("container {} can't be created", spec.name),
                            format!("bind source path does not exist: {source}"),
                        ));
                    }
                    (MountPoint { source: source.clone(), ..at("bind") }, false, String::new())
                }
                MountKind::Volume { name: Some(name), subpath, .. } => {
                    let volume = self.volumes.get(name).ok_or_else(|| missing("volume", name))?;
                    let driver = volume.state.driver.clone();
                    (MountPoint { name: name.clone(), source: format!("/sim/{name}"), driver, ..at("volume") }, false, subpath.clone())
                }
                MountKind::Volume { name: None, labels, .. } => (self.anonymous_volume(labels.clone(), at("volume"))?, true, String::new()),
                MountKind::Tmpfs { .. } => (at("tmpfs"), false, String::new()),
                MountKind::Image { reference, subpath } => {
                    self.image(reference).ok_or_else(|| missing("image", reference))?;
                    (MountPoint { source: reference.clone(), ..at("image") }, false, subpath.clone())
                }
                MountKind::Npipe { source } => (MountPoint { source: source.clone(), ..at("npipe") }, false, String::new()),
                MountKind::Cluster { source } => (MountPoint { name: source.clone(), ..at("cluster") }, false, String::new()),
            };
            mounts.retain(|m| m.point.target != point.target);
            mounts.push(Mount { point, anonymous, subpath, memory: Tree::default() });
        }
        for path in spec.tmpfs.keys() {
            let point = MountPoint { kind: "tmpfs".into(), target: path.clone(), ..MountPoint::default() };
            mounts.push(Mount { point, anonymous: false, subpath: String::new(), memory: Tree::default() });
        }
        for path in &image.script.volumes {
            if !mounts.iter().any(|m| m.point.target == *path) {
                let point = MountPoint { kind: "volume".into(), target: path.clone(), ..MountPoint::default() };
                let point = self.anonymous_volume(BTreeMap::new(), point)?;
                mounts.push(Mount { point, anonymous: true, subpath: String::new(), memory: Tree::default() });
            }
        }
        Ok(mounts)
    }

    fn anonymous_volume(&mut self, mut labels: BTreeMap<String, String>, point: MountPoint) -> Result<MountPoint, EngineError> {
        let name = self.new_id();
        labels.insert("com.docker.volume.anonymous".into(), String::new());
        self.create_volume(&VolumeSpec { name: name.clone(), labels, ..VolumeSpec::default() })?;
        Ok(MountPoint { source: format!("/sim/{name}"), driver: "local".into(), name, ..point })
    }

    pub(super) fn connect(&mut self, id: &str, endpoint: &EndpointSpec) -> Result<bool, EngineError> {
        self.check_endpoint(endpoint)?;
        let container = self.get(id)?;
        if container.spec.network_mode != NetworkMode::Networks {
            return Err(refused(format!("container {} can't be connected", container.name), "its network mode leaves no room for networks"));
        }
        if container.endpoints.iter().any(|e| e.spec.network == endpoint.network) {
            return Ok(false);
        }
        let running = container.is_running();
        container.endpoints.push(Endpoint { spec: endpoint.clone(), ipv4: String::new() });
        if running {
            self.take_addresses(id)?;
        }
        Ok(true)
    }

    pub(super) fn disconnect(&mut self, id: &str, network: &str) -> Result<bool, EngineError> {
        let container = self.get(id)?;
        let before = container.endpoints.len();
        container.endpoints.retain(|e| e.spec.network != network);
        let changed = container.endpoints.len() != before;
        if let Some(network) = self.networks.get_mut(network) {
            network.give_back(id);
        }
        Ok(changed)
    }

    pub(super) fn rename(&mut self, id: &str, to: &str, now: Timestamp) -> Result<bool, EngineError> {
        if let Some(other) = self.containers.values().find(|c| c.name == to && c.id != id) {
            return Err(conflict(format!("the name {to} is already in use by container {}", other.id)));
        }
        let container = self.get(id)?;
        let from = std::mem::replace(&mut container.name, to.to_owned());
        if from == to {
            return Ok(false);
        }
        self.emit(id, EventKind::Renamed { from }, now);
        Ok(true)
    }

    /// Gives a container what it needs to run: addresses and ports. On failure it has none of them.
    pub(super) fn equip(&mut self, id: &str) -> Result<(), EngineError> {
        let spec = self.get(id)?.spec.clone();
        for other in self.joined(&spec) {
            let running = self.find(other).and_then(|o| self.containers.get(&o)).is_some_and(Container::is_running);
            if !running {
                return Err(conflict(format!("container {} shares a namespace with {other}, which is not running", spec.name)));
            }
        }
        let equipped = self.take_addresses(id).and_then(|()| self.take_ports(id));
        if equipped.is_err() {
            self.strip(id);
        }
        equipped
    }

    /// Takes everything back that a running container holds.
    pub(super) fn strip(&mut self, id: &str) {
        for network in self.networks.values_mut() {
            network.give_back(id);
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.ports.clear();
            for endpoint in &mut container.endpoints {
                endpoint.ipv4.clear();
            }
            for mount in container.mounts.iter_mut().filter(|m| m.point.kind == "tmpfs") {
                mount.memory.clear();
            }
        }
    }

    fn take_addresses(&mut self, id: &str) -> Result<(), EngineError> {
        let Self { containers, networks, .. } = self;
        let container = containers.get_mut(id).ok_or_else(|| missing("container", id))?;
        for endpoint in container.endpoints.iter_mut().filter(|e| e.ipv4.is_empty()) {
            let network = networks.get_mut(&endpoint.spec.network).ok_or_else(|| missing("network", &endpoint.spec.network))?;
            endpoint.ipv4 = network.take(id, &endpoint.spec.ipv4)?.to_string();
        }
        Ok(())
    }

    fn take_ports(&mut self, id: &str) -> Result<(), EngineError> {
        let container = self.get(id)?;
        let (spec, name) = (container.spec.clone(), container.name.clone());
        let exposed = container.image.script.exposed.clone();
        let mut ports: Vec<PublishedPort> = Vec::new();
        for wanted in spec.ports.iter().filter(|_| spec.network_mode != NetworkMode::Host) {
            let protocol = if wanted.protocol.is_empty() { "tcp" } else { &wanted.protocol };
            let host_ip = if wanted.host_ip.is_empty() { "0.0.0.0" } else { &wanted.host_ip };
            let (from, to) = port_range(&wanted.published).unwrap_or_default();
            let (from, to, any) = if from == 0 { (FIRST_FREE_PORT, u16::MAX, true) } else { (from, to, false) };
            let free = (from..=to).find(|port| {
                let clash = |p: &PublishedPort| {
                    p.host_port == *port && p.protocol == protocol && (p.host_ip == host_ip || p.host_ip == "0.0.0.0" || host_ip == "0.0.0.0")
                };
                !self.taken_ports.contains(port) && !ports.iter().any(clash) && !self.containers.values().any(|c| c.ports.iter().any(clash))
            });
            let host_port = free.ok_or_else(|| {
                let which = if any { "every port".to_owned() } else { format!("{host_ip}:{}", wanted.published) };
                EngineError::new(ErrorKind::PortTaken, format!("container {name} can't be started"))
                    .because(format!("Bind for {which} failed: port is already allocated"))
            })?;
            ports.push(PublishedPort { host_ip: host_ip.into(), host_port, target: wanted.target, protocol: protocol.into() });
        }
        for open in spec.expose.iter().chain(&exposed) {
            let (number, protocol) = open.split_once('/').unwrap_or((open, "tcp"));
            let Ok(target) = number.parse() else { continue };
            if !ports.iter().any(|p| p.target == target && p.protocol == protocol) {
                ports.push(PublishedPort { target, protocol: protocol.into(), host_ip: String::new(), host_port: 0 });
            }
        }
        ports.sort_by(|a, b| (a.target, &a.protocol, a.host_port).cmp(&(b.target, &b.protocol, b.host_port)));
        self.get(id)?.ports = ports;
        Ok(())
    }

    /// Adds output to a container's log: whole lines, and the rest when more comes or the process ends.
    pub(super) fn print(&mut self, id: &str, stream: Stream, bytes: &[u8], now: Timestamp) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let stream = if container.spec.tty { Stream::Stdout } else { stream };
        let begun = &mut container.log.begun[usize::from(stream == Stream::Stderr)];
        for byte in bytes {
            begun.push(*byte);
            if *byte == b'\n' || begun.len() >= LONGEST_CHUNK {
                let bytes = Bytes::from(std::mem::take(begun));
                container.log.chunks.push(LogChunk { stream, time: Some(now), bytes });
            }
        }
        container.log.version.send_modify(|v| *v += 1);
    }

    /// Ends begun lines, at the end of a process.
    pub(super) fn flush(&mut self, id: &str, now: Timestamp) {
        let Some(container) = self.containers.get_mut(id) else { return };
        for (begun, stream) in container.log.begun.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
            if !begun.is_empty() {
                let bytes = Bytes::from(std::mem::take(begun));
                container.log.chunks.push(LogChunk { stream, time: Some(now), bytes });
            }
        }
        container.log.version.send_modify(|v| *v += 1);
    }

    /// Removes a container that doesn't run any more.
    pub(super) fn remove(&mut self, id: &str, volumes: bool, now: Timestamp) -> Result<(), EngineError> {
        let name = self.get(id)?.name.clone();
        let shares = |c: &&Container| c.is_running() && self.joined(&c.spec).iter().any(|o| *o == name || *o == id);
        if let Some(other) = self.containers.values().find(shares) {
            return Err(conflict(format!("container {name} can't be removed: {} lives in its namespace", other.name)));
        }
        self.emit(id, EventKind::Removed, now);
        self.strip(id);
        let Some(container) = self.containers.remove(id) else { return Ok(()) };
        container.log.version.send_modify(|v| *v += 1);
        for mount in container.mounts.iter().filter(|m| volumes && m.point.kind == "volume") {
            let labels = self.volumes.get(&mount.point.name).map(|v| v.state.labels.clone()).unwrap_or_default();
            let used = self.containers.values().any(|c| c.mounts.iter().any(|m| m.point.name == mount.point.name));
            if mount.anonymous && labels.contains_key("com.docker.volume.anonymous") && !used {
                self.volumes.remove(&mount.point.name);
            }
        }
        Ok(())
    }

    /// The file at an absolute path inside a container.
    pub(super) fn read(&self, id: &str, path: &str) -> Option<File> {
        let container = self.containers.get(id)?;
        let Some(mount) = container.mount_of(path).and_then(|m| container.mounts.get(m)) else {
            return container.layer.get(path).cloned().or_else(|| container.built_in(path));
        };
        let inner = inside(mount, path);
        match mount.point.kind.as_str() {
            "volume" => self.volumes.get(&mount.point.name).and_then(|v| v.files.get(&inner)).cloned(),
            "tmpfs" => mount.memory.get(&inner).cloned(),
            "bind" => self.host.get(&inner).cloned().or_else(|| std::fs::read(&inner).ok().map(File::new)),
            _ => None,
        }
    }

    /// Where a path inside a container is stored, if it can be written to.
    fn place(&mut self, id: &str, path: &str) -> Result<(&mut Tree, String), &'static str> {
        const READ_ONLY: &str = "Read-only file system";
        let Self { containers, volumes, host, .. } = self;
        let container = containers.get_mut(id).ok_or("the container is gone")?;
        let Some(mount) = container.mount_of(path) else {
            // Files are put into a container that isn't running whatever its processes may do later.
            let locked = container.spec.security.read_only && container.process.is_some();
            return if locked { Err(READ_ONLY) } else { Ok((&mut container.layer, path.to_owned())) };
        };
        let mount = container.mounts.get_mut(mount).ok_or("the mount is gone")?;
        if mount.point.read_only {
            return Err(READ_ONLY);
        }
        let inner = inside(mount, path);
        match mount.point.kind.as_str() {
            "volume" => Ok((&mut volumes.get_mut(&mount.point.name).ok_or("the volume is gone")?.files, inner)),
            "tmpfs" => Ok((&mut mount.memory, inner)),
            "bind" => Ok((host, inner)),
            _ => Err(READ_ONLY),
        }
    }

    pub(super) fn write(&mut self, id: &str, path: &str, file: File) -> Result<(), &'static str> {
        let (tree, inner) = self.place(id, path)?;
        tree.put(inner, file);
        Ok(())
    }

    pub(super) fn append(&mut self, id: &str, path: &str, bytes: &[u8]) -> Result<(), &'static str> {
        let (tree, inner) = self.place(id, path)?;
        tree.append(&inner, bytes);
        Ok(())
    }

    /// Makes a file be there; `fresh` empties it.
    pub(super) fn open(&mut self, id: &str, path: &str, fresh: bool, user: &str) -> Result<(), &'static str> {
        let old = self.read(id, path);
        let (tree, inner) = self.place(id, path)?;
        match old {
            Some(old) if old.directory => Err("Is a directory"),
            Some(old) if fresh => {
                tree.put(inner, File { content: Vec::new(), ..old });
                Ok(())
            }
            Some(_) => Ok(()),
            None => {
                let (uid, gid) = user.split_once(':').unwrap_or((user, ""));
                let or_root = |s: &str| if s.is_empty() || s == "root" { "0".to_owned() } else { s.to_owned() };
                tree.put(inner, File { uid: or_root(uid), gid: or_root(gid), ..File::new(Vec::new()) });
                Ok(())
            }
        }
    }

    pub(super) fn delete(&mut self, id: &str, path: &str) -> bool {
        self.place(id, path).is_ok_and(|(tree, inner)| tree.remove(&inner))
    }

    /// Names in a directory of a container; `None` if it is none.
    pub(super) fn list(&mut self, id: &str, path: &str) -> Option<Vec<String>> {
        let container = self.containers.get(id)?;
        let points: Vec<String> = container.mounts.iter().map(|m| m.point.target.clone()).collect();
        let mounted = points.iter().any(|p| p == path);
        let below = points.iter().filter(|p| is_below(p, path)).filter_map(|p| tail(p, path).split('/').next().map(str::to_owned));
        let mut names: Vec<String> = below.collect();
        let (tree, inner) = match container.mount_of(path).and_then(|m| container.mounts.get(m)) {
            None => (Some(&container.layer), path.to_owned()),
            Some(mount) => {
                let tree = match mount.point.kind.as_str() {
                    "volume" => self.volumes.get(&mount.point.name).map(|v| &v.files),
                    "tmpfs" => Some(&mount.memory),
                    _ => Some(&self.host),
                };
                (tree, inside(mount, path))
            }
        };
        let found = tree.is_some_and(|t| t.is_directory(&inner));
        names.extend(tree.map(|t| t.names(&inner)).unwrap_or_default());
        names.sort();
        names.dedup();
        (found || mounted || !names.is_empty() || ["/tmp", "/etc", "/root", "/bin", "/dev", "/proc"].contains(&path)).then_some(names)
    }

    /// Addresses of a name as a container sees it, and of itself.
    pub(super) fn resolve(&self, id: &str, name: &str) -> Vec<String> {
        let Some(asking) = self.containers.get(id) else { return Vec::new() };
        let by_host = asking.spec.extra_hosts.iter().filter_map(|h| h.split_once([':', '=']));
        let mut found: Vec<String> = by_host.filter(|(host, _)| *host == name).map(|(_, address)| address.to_owned()).collect();
        let asking = match &asking.spec.network_mode {
            NetworkMode::Container(other) => self.find(other).and_then(|o| self.containers.get(&o)).unwrap_or(asking),
            _ => asking,
        };
        for own in &asking.endpoints {
            let linked = own.spec.links.iter().filter_map(|l| l.split_once(':')).find(|(_, alias)| *alias == name).map(|(container, _)| container);
            for other in self.containers.values().filter(|c| c.is_running()) {
                let here = other.endpoints.iter().filter(|e| e.spec.network == own.spec.network && !e.ipv4.is_empty());
                let called = |e: &&Endpoint| {
                    other.name == name
                        || linked == Some(other.name.as_str())
                        || other.id.starts_with(name) && name.len() >= 12
                        || e.spec.aliases.iter().any(|a| a == name)
                };
                found.extend(here.filter(called).map(|e| e.ipv4.clone()));
            }
        }
        found.sort();
        found.dedup();
        found
    }

    pub(super) fn observed(&self, project: Option<&str>, now: Timestamp) -> Vec<Observed> {
        let ours = |c: &&Container| match project {
            Some(project) => c.project() == project,
            None => !c.project().is_empty(),
        };
        let mut found: Vec<Observed> = self.containers.values().filter(ours).map(|c| c.observed(now, &self.networks)).collect();
        found.sort_by(|a, b| (a.service(), a.number(), &a.name).cmp(&(b.service(), b.number(), &b.name)));
        found
    }
}

/// Where a path below a mount is in what is mounted.
fn inside(mount: &Mount, path: &str) -> String {
    let rest = tail(path, &mount.point.target);
    let base = if mount.point.kind == "bind" { &mount.point.source } else { &mount.subpath };
    absolute("/", &format!("{base}/{rest}"))
}

/// Reads a published port: `""` is (0, 0), `8080`, `8000-8010`.
fn port_range(text: &str) -> Option<(u16, u16)> {
    if text.is_empty() {
        return Some((0, 0));
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then_some((from, to))
}
