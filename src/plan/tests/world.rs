//! A world that plans are carried out on: just enough of an engine, and stricter.

use super::super::*;
use crate::digest::sha256;
use crate::units::Timestamp;
use crate::world::{
    Attachment, ConfigHash, Container, ContainerSpec, Health, Image, MountKind, MountPoint, NetworkMode, NetworkState, Op, PublishedPort, State,
    Target, VolumeState, bind, label,
};
use std::collections::BTreeMap;

pub(super) struct World {
    pub observed: Observed,
    next: u64,
}

impl World {
    /// Nothing but images `NAME:1` for the services of a project.
    pub fn of(project: &Project) -> Self {
        let mut world = Self::bare();
        for service in project.services.values().chain(project.disabled.values()) {
            world.image(&project.image_of(service));
        }
        world
    }

    /// Nothing at all.
    pub fn bare() -> Self {
        Self { observed: Observed::default(), next: 0 }
    }

    /// A project that is up.
    pub fn up(project: &Project) -> Self {
        let mut world = Self::of(project);
        let mut plan = super::up(project, &world);
        if plan.again {
            world.carry_out(&plan);
            plan = super::up_with(project, &world, &UpOptions { pulled: true, ..UpOptions::default() });
        }
        world.carry_out(&plan);
        world
    }

    pub fn image(&mut self, reference: &str) -> &mut Image {
        let id = format!("sha256:{}", sha256(reference));
        self.observed.images.entry(reference.into()).or_insert(Image { id, ..Image::default() })
    }

    /// An image of another content under the same name.
    pub fn retag(&mut self, reference: &str) {
        let id = format!("sha256:{}", sha256(format!("{reference} anew")));
        self.observed.images.insert(reference.into(), Image { id, ..Image::default() });
    }

    pub fn container(&mut self, name: &str) -> &mut Container {
        self.observed.containers.iter_mut().find(|c| c.name == name).unwrap_or_else(|| panic!("no container {name}"))
    }

    pub fn set(&mut self, name: &str, state: State) {
        let container = self.container(name);
        container.state = state;
        if state != State::Running {
            container.health = None;
        }
    }

    /// Names, each with its state.
    pub fn states(&self) -> String {
        let mut all: Vec<String> = self.observed.containers.iter().map(|c| format!("{} {}", c.name, c.state.as_str())).collect();
        all.sort();
        all.join(", ")
    }

    fn fresh_id(&mut self) -> String {
        self.next += 1;
        format!("{:012x}{:052x}", self.next, 0)
    }

    /// Does all steps in order; each must be possible.
    pub fn carry_out(&mut self, plan: &Plan) {
        for node in &plan.nodes {
            match &node.step {
                Step::Do(op) => self.apply(op),
                Step::Await(gate) => self.pass(gate),
            }
        }
        self.observed.containers.sort_by(|a, b| (a.service(), a.number(), &a.name).cmp(&(b.service(), b.number(), &b.name)));
    }

    fn pass(&mut self, gate: &Await) {
        for awaited in &gate.containers {
            let container = self.find(&awaited.target);
            match gate.gate {
                Gate::Completed => container.state = State::Exited,
                Gate::Healthy => assert_eq!(container.health, Some(Health::Healthy), "{}", container.name),
                Gate::Started | Gate::Ready { .. } => {}
            }
        }
    }

    fn find(&mut self, target: &Target) -> &mut Container {
        let by = |c: &&mut Container| target.id.as_ref().map_or(c.name == target.name, |id| &c.id == id);
        self.observed.containers.iter_mut().find(by).unwrap_or_else(|| panic!("no container {target:?}"))
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::PullImage { reference, .. } => _ = self.image(reference),
            Op::RemoveImage { reference } => _ = self.observed.images.remove(reference),
            Op::CreateNetwork(spec) => {
                assert!(self.observed.networks.iter().all(|n| n.name != spec.name), "network {} is there", spec.name);
                let id = self.fresh_id();
                let state = NetworkState { id, name: spec.name.clone(), driver: spec.driver.clone(), labels: spec.labels.clone() };
                self.observed.networks.push(state);
            }
            Op::RemoveNetwork { name, .. } => {
                let users = self.observed.containers.iter().filter(|c| c.networks.iter().any(|a| &a.network == name)).count();
                assert_eq!(users, 0, "network {name} is in use");
                self.observed.networks.retain(|n| &n.name != name);
            }
            Op::ConnectNetwork { container, endpoint } => {
                let network = endpoint.network.clone();
                self.find(container).networks.push(Attachment { network, ..Attachment::default() });
            }
            Op::DisconnectNetwork { container, network } => self.find(container).networks.retain(|a| &a.network != network),
            Op::CreateVolume(spec) => {
                assert!(self.observed.volumes.iter().all(|v| v.name != spec.name), "volume {} is there", spec.name);
                self.observed.volumes.push(VolumeState { name: spec.name.clone(), labels: spec.labels.clone(), ..VolumeState::default() });
            }
            Op::RemoveVolume { name } => {
                let users = self.observed.containers.iter().filter(|c| c.mounts.iter().any(|m| &m.name == name)).count();
                assert_eq!(users, 0, "volume {name} is in use");
                self.observed.volumes.retain(|v| &v.name != name);
            }
            Op::CreateContainer(spec) => self.create(spec),
            Op::WriteFiles { container, .. } => assert!(!self.find(container).is_alive(), "{container:?} is running"),
            Op::RenameContainer { container, to } => {
                assert!(self.observed.containers.iter().all(|c| &c.name != to), "{to} is there");
                self.find(container).name.clone_from(to);
            }
            Op::StartContainer { container } => self.run(container),
            Op::RestartContainer { container, .. } => {
                self.find(container).state = State::Exited;
                self.run(container);
            }
            Op::StopContainer { container, .. } | Op::KillContainer { container, .. } => {
                let container = self.find(container);
                assert!(container.is_alive(), "{} does not run", container.name);
                (container.state, container.health) = (State::Exited, None);
            }
            Op::PauseContainer { container } => self.find(container).state = State::Paused,
            Op::UnpauseContainer { container } => self.find(container).state = State::Running,
            Op::RemoveContainer { container, .. } => {
                assert!(!self.find(container).is_alive(), "{container:?} is running");
                let id = self.find(container).id.clone();
                self.observed.containers.retain(|c| c.id != id);
            }
            Op::RunHook { container, .. } => assert!(self.find(container).is_alive(), "{container:?} does not run"),
        }
    }

    fn run(&mut self, target: &Target) {
        let container = self.find(target);
        assert!(!container.is_alive(), "{} runs already", container.name);
        container.state = State::Running;
        container.health = container.labels.contains_key("checked").then_some(Health::Healthy);
    }

    fn create(&mut self, spec: &ContainerSpec) {
        assert!(self.observed.containers.iter().all(|c| c.name != spec.name), "{} is there", spec.name);
        let mut spec = spec.clone();
        let ids: BTreeMap<String, String> = self.observed.containers.iter().map(|c| (c.name.clone(), c.id.clone())).collect();
        bind(&mut spec, &|name| ids.get(name).cloned()).unwrap_or_else(|name| panic!("{} needs {name}", spec.name));
        let ConfigHash::Known(hash) = &spec.config_hash else { panic!("no hash") };
        if let NetworkMode::Container(id) = &spec.network_mode {
            assert!(self.observed.containers.iter().any(|c| &c.id == id), "{} shares the network of {id}, which isn't there", spec.name);
        }
        let mut labels = spec.labels.clone();
        labels.insert(label::CONFIG_HASH.into(), hash.clone());
        if spec.healthcheck.is_some() {
            labels.insert("checked".into(), String::new());
        }
        let image = self.observed.images.get(&spec.image).unwrap_or_else(|| panic!("no image {}", spec.image)).clone();
        let mut mounts = Vec::new();
        for mount in &spec.mounts {
            let name = match &mount.kind {
                MountKind::Volume { name: Some(name), .. } => name.clone(),
                MountKind::Volume { name: None, .. } => sha256(self.fresh_id()),
                _ => continue,
            };
            mounts.push(MountPoint { kind: "volume".into(), name, target: mount.target.clone(), ..MountPoint::default() });
        }
        for path in image.volumes.iter().filter(|p| !spec.mounts.iter().any(|m| &&m.target == p)) {
            let name = sha256(self.fresh_id());
            mounts.push(MountPoint { kind: "volume".into(), name, target: path.clone(), ..MountPoint::default() });
        }
        let attach = |network: &String| {
            let id = self.observed.networks.iter().find(|n| &n.name == network).map(|n| n.id.clone());
            Attachment { network: network.clone(), network_id: id.unwrap_or_else(|| panic!("no network {network}")), ..Attachment::default() }
        };
        let networks = spec.networks.iter().map(|e| attach(&e.network)).collect();
        let port = |p: &crate::world::PortSpec| PublishedPort {
            host_ip: p.host_ip.clone(),
            host_port: p.published.parse().unwrap_or(0),
            target: p.target,
            protocol: p.protocol.clone(),
        };
        let container = Container {
            id: self.fresh_id(),
            name: spec.name.clone(),
            image: spec.image.clone(),
            image_id: image.id,
            command: String::new(),
            created: Timestamp(self.next.try_into().unwrap_or(0)),
            state: State::Created,
            health: None,
            exit_code: None,
            status: String::new(),
            labels,
            ports: spec.ports.iter().map(port).collect(),
            mounts,
            networks,
            runtime: String::new(),
        };
        self.observed.containers.push(container);
    }
}

impl World {
    /// The same, with one more image.
    pub fn with_image(mut self, reference: &str) -> Self {
        self.image(reference);
        self
    }
}
