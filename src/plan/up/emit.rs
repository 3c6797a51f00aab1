//! The steps, round by round.

use super::starts::{host_ports, overlaps};
use super::{Act, Planner, Unit};
use crate::model::Condition;
use crate::plan::lower::{self, network_spec, volume_spec};
use crate::plan::steps::{self, push, show};
use crate::plan::types::{Await, Awaited, Gate, NodeId, Plan};
use crate::world::{Container, EndpointSpec, MountKind, Op, RestartPolicy, Target};
use std::collections::{BTreeMap, BTreeSet};

/// Steps that later ones look up.
#[derive(Default)]
struct Steps<'a> {
    /// Pulls, by reference.
    images: BTreeMap<String, NodeId>,
    /// Networks and volumes by real name, from the step on after which they are there.
    networks: BTreeMap<String, NodeId>,
    volumes: BTreeMap<String, NodeId>,
    /// Real names of networks and volumes that are still to be made.
    pending: BTreeSet<String>,
    /// Ports of the host that get free: port and protocol to address and step.
    ports: BTreeMap<(u16, &'a str), Vec<(&'a str, NodeId)>>,
}

/// Why an old container goes; why it is replaced stands beside the new one.
const MAKES_ROOM: &str = "makes room for the new one";

impl<'a> Planner<'a> {
    /// A plan that fetches images and does no more.
    pub(super) fn only_fetches(mut self) -> Plan {
        self.push_fetches();
        self.plan.again = true;
        self.plan.hazards.clear();
        // What is true of the rest is said when the rest is planned.
        self.plan.notes.retain(|note| note.code == "build-unavailable");
        self.plan
    }

    fn push_fetches(&mut self) -> BTreeMap<String, NodeId> {
        let mut images = BTreeMap::new();
        for ((reference, platform), fetch) in std::mem::take(&mut self.fetches) {
            let id = push(&mut self.plan, Op::PullImage { reference: reference.clone(), platform }, vec![], fetch.why);
            steps::of_service(&mut self.plan, id, &fetch.service);
            show(&mut self.plan, id, "Pulling", "Pulled");
            images.insert(reference, id);
        }
        images
    }

    pub(super) fn emit(mut self) -> Plan {
        let mut steps = Steps { images: self.push_fetches(), ..Steps::default() };
        self.plan.unchanged = self
            .units
            .iter()
            .filter(|u| u.act == Act::Keep && self.is_selected(&u.service.name))
            .filter_map(|u| u.old.map(|c| Target::existing(c.name.clone(), c.id.clone())))
            .collect();
        self.push_missing(&mut steps);
        let order: Vec<usize> = self.order.iter().filter_map(|name| self.by_service.get(name)).flatten().copied().collect();
        for &u in &order {
            self.push_rename(u);
            if self.is_ready_to_create(u, &steps) {
                self.push_create(u, &steps);
            }
        }
        for &u in order.iter().rev() {
            self.push_stop(u);
        }
        for &u in &order {
            if self.units.get(u).is_some_and(|unit| matches!(unit.act, Act::Remove | Act::Replace)) {
                self.push_remove(u);
            }
        }
        self.push_orphans(&mut steps);
        self.push_lost(&mut steps);
        for &u in &order {
            let Some(unit) = self.units.get(u) else { continue };
            if unit.act == Act::Swap {
                self.push_remove(u);
                self.push_take_over(u);
            } else if unit.act.creates() && unit.steps.create.is_none() {
                self.push_create(u, &steps);
            }
        }
        self.note_ports(&mut steps);
        self.push_starts(&steps);
        if self.options.wait && !self.options.no_start {
            self.push_waits();
        }
        self.plan
    }

    fn push_missing(&mut self, steps: &mut Steps) {
        for (key, thing) in &self.networks {
            if thing.lost {
                steps.pending.insert(thing.name.clone());
            } else if thing.missing {
                let network = self.project.networks.get(*key).cloned().unwrap_or_default();
                let spec = network_spec(self.project, key, &network);
                let id = push(&mut self.plan, Op::CreateNetwork(spec), vec![], "no network yet");
                show(&mut self.plan, id, "Creating", "Created");
                steps.networks.insert(thing.name.clone(), id);
            }
        }
        for (key, thing) in &self.volumes {
            let Some(volume) = self.project.volumes.get(*key) else { continue };
            if thing.lost {
                steps.pending.insert(thing.name.clone());
            } else if thing.missing {
                let id = push(&mut self.plan, Op::CreateVolume(volume_spec(self.project, key, volume)), vec![], "no volume yet");
                show(&mut self.plan, id, "Creating", "Created");
                steps.volumes.insert(thing.name.clone(), id);
            }
        }
    }

    /// Containers that `service` needs when it is created: those it shares something with.
    fn parents_of(&self, u: usize) -> Vec<usize> {
        let Some(unit) = self.units.get(u) else { return Vec::new() };
        super::decide::shared(unit.service)
            .into_iter()
            .filter_map(|(of, ..)| {
                let units = self.by_service.get(of)?.iter().filter_map(|i| Some((*i, self.units.get(*i)?))).filter(|(_, u)| u.act != Act::Remove);
                units.min_by(|a, b| a.1.name.cmp(&b.1.name)).map(|(i, _)| i)
            })
            .collect()
    }

    fn is_ready_to_create(&self, u: usize, steps: &Steps) -> bool {
        let Some(unit) = self.units.get(u) else { return false };
        let Some(spec) = &unit.spec else { return false };
        let pending = |name: &String| steps.pending.contains(name);
        let volume = |kind: &MountKind| matches!(kind, MountKind::Volume { name: Some(name), .. } if pending(name));
        matches!(unit.act, Act::Create | Act::Swap)
            && !spec.networks.iter().any(|e| pending(&e.network))
            && !spec.mounts.iter().any(|m| volume(&m.kind))
            && self.parents_of(u).into_iter().all(|p| self.units.get(p).is_some_and(|p| !p.act.creates() || p.steps.made.is_some()))
    }

    fn push_create(&mut self, u: usize, steps: &Steps) {
        let mut after: Vec<NodeId> = self.parents_of(u).into_iter().filter_map(|p| self.units.get(p)?.steps.made).collect();
        let Some(unit) = self.units.get_mut(u) else { return };
        let Some(spec) = unit.spec.take() else { return };
        unit.created_as.clone_from(&spec.name);
        unit.ports.clone_from(&spec.ports);
        after.extend(steps.images.get(&spec.image));
        after.extend(spec.networks.iter().filter_map(|e| steps.networks.get(&e.network)));
        for mount in &spec.mounts {
            match &mount.kind {
                MountKind::Volume { name: Some(name), .. } => after.extend(steps.volumes.get(name)),
                MountKind::Image { reference, .. } => after.extend(steps.images.get(reference)),
                _ => {}
            }
        }
        after.extend(unit.steps.remove);
        let links = unit.service.links.iter().map(|l| l.split(':').next().unwrap_or(l).to_owned()).collect::<Vec<_>>();
        let files = spec.files.clone();
        let (name, act, service) = (unit.name.clone(), unit.act, unit.service.name.clone());
        let target = Target::named(spec.name.clone());
        for linked in links {
            after.extend(self.units_of(&linked).filter_map(|l| l.steps.create));
        }
        let Some(unit) = self.units.get_mut(u) else { return };
        let id = push(&mut self.plan, Op::CreateContainer(spec), after, unit.why.clone());
        steps::of_service(&mut self.plan, id, &service);
        match act {
            Act::Swap => steps::show_as(&mut self.plan, id, &name, "Recreate", ""),
            Act::Replace => show(&mut self.plan, id, "Recreate", "Recreated"),
            _ => show(&mut self.plan, id, "Creating", "Created"),
        }
        unit.steps.create = Some(id);
        if act != Act::Swap {
            unit.steps.made = Some(id);
        }
        if !files.is_empty() {
            let id = push(&mut self.plan, Op::WriteFiles { container: target, files }, vec![id], "secrets and configs that are no files");
            steps::of_service(&mut self.plan, id, &service);
            unit.steps.create = Some(id);
            if act != Act::Swap {
                unit.steps.made = Some(id);
            }
        }
    }

    /// A container that never got its name.
    fn push_rename(&mut self, u: usize) {
        let Some(unit) = self.units.get_mut(u) else { return };
        if let Some(old) = unit.old.filter(|_| unit.rename) {
            let op = Op::RenameContainer { container: Target::existing(old.name.clone(), old.id.clone()), to: unit.name.clone() };
            let id = push(&mut self.plan, op, vec![], "a recreate was interrupted before it got its name");
            steps::of_service(&mut self.plan, id, &unit.service.name);
            unit.steps.made = Some(id);
        }
    }

    fn push_stop(&mut self, u: usize) {
        let Some(unit) = self.units.get(u) else { return };
        let Some(old) = unit.old.filter(|c| c.is_alive()) else { return };
        if !matches!(unit.act, Act::Swap | Act::Replace | Act::Remove | Act::Restart) {
            return;
        }
        let mut after: Vec<NodeId> = unit.steps.create.into_iter().chain(unit.steps.made).collect();
        let name = unit.service.name.as_str();
        if matches!(unit.act, Act::Swap | Act::Replace | Act::Restart) {
            after.extend(self.dependants_of(name).flat_map(|d| self.units_of(d)).filter_map(|d| d.steps.stop));
        }
        let why = if unit.act.creates() { MAKES_ROOM.to_owned() } else { unit.why.clone() };
        let hooks: Vec<_> = unit.service.pre_stop.iter().map(lower::hook).collect();
        let visible = matches!(unit.act, Act::Remove | Act::Restart);
        let id = steps::push_stop(&mut self.plan, old, name, &hooks, self.options.timeout, after, &why);
        if visible {
            show(&mut self.plan, id, "Stopping", "Stopped");
        }
        if let Some(unit) = self.units.get_mut(u) {
            unit.steps.stop = Some(id);
        }
    }

    /// Services that say `restart: true` about `service`.
    fn dependants_of(&self, service: &str) -> impl Iterator<Item = &'a str> {
        self.restarters.get(service).into_iter().flatten().copied()
    }

    fn push_remove(&mut self, u: usize) {
        let Some(unit) = self.units.get(u) else { return };
        let Some(old) = unit.old else { return };
        let after: Vec<NodeId> = unit.steps.stop.or(unit.steps.create).into_iter().collect();
        let why = if unit.act.creates() { MAKES_ROOM.to_owned() } else { unit.why.clone() };
        let container = Target::existing(old.name.clone(), old.id.clone());
        let renews = !unit.discard.is_empty();
        let (service, discard, visible) = (unit.service.name.clone(), unit.discard.clone(), unit.act == Act::Remove);
        let id = push(&mut self.plan, Op::RemoveContainer { container, volumes: renews }, after, why);
        steps::of_service(&mut self.plan, id, &service);
        if visible {
            show(&mut self.plan, id, "Removing", "Removed");
        }
        for name in discard {
            let volume = push(&mut self.plan, Op::RemoveVolume { name }, vec![id], "anonymous volume of the container that is replaced (-V)");
            steps::lenient(&mut self.plan, volume);
        }
        if let Some(unit) = self.units.get_mut(u) {
            unit.steps.remove = Some(id);
        }
    }

    /// The new container takes the name of the old one.
    fn push_take_over(&mut self, u: usize) {
        let Some(unit) = self.units.get_mut(u) else { return };
        let op = Op::RenameContainer { container: Target::named(unit.created_as.clone()), to: unit.name.clone() };
        let id = push(&mut self.plan, op, unit.steps.remove.into_iter().collect(), "it takes the place of the old one");
        steps::of_service(&mut self.plan, id, &unit.service.name);
        steps::show_as(&mut self.plan, id, &unit.name, "", "Recreated");
        unit.steps.made = Some(id);
    }

    fn push_orphans(&mut self, steps: &mut Steps<'a>) {
        if !self.options.remove_orphans {
            return;
        }
        for container in self.orphans() {
            let (_, stop, _) = steps::push_teardown(&mut self.plan, container, self.options.timeout, vec![], "its service is not in the file");
            if let Some(stop) = stop {
                free(steps, container, stop);
            }
        }
    }

    /// Networks and volumes that are made anew: out of use, away, and there again.
    fn push_lost(&mut self, steps: &mut Steps) {
        let own: BTreeSet<&str> = self.units.iter().filter_map(|u| u.old).map(|c| c.id.as_str()).collect();
        let gone: BTreeSet<&str> =
            if self.options.remove_orphans { self.orphans().into_iter().map(|c| c.id.as_str()).collect() } else { BTreeSet::new() };
        for (key, thing) in self.networks.iter().filter(|(_, t)| t.lost) {
            let uses = |c: &Container| c.networks.iter().any(|a| a.network == thing.name);
            let users = self.units.iter().filter(|u| u.old.is_some_and(uses));
            let mut after: Vec<NodeId> = users.filter_map(|u| u.steps.remove).collect();
            // Containers that the plan can't make again come along.
            let mut others = Vec::new();
            for container in self.view.containers().filter(|c| uses(c) && !own.contains(c.id.as_str()) && !gone.contains(c.id.as_str())) {
                let target = Target::existing(container.name.clone(), container.id.clone());
                let op = Op::DisconnectNetwork { container: target.clone(), network: thing.name.clone() };
                after.push(push(&mut self.plan, op, vec![], "its network is made anew"));
                others.push((target, container.service().to_owned()));
            }
            let network = self.project.networks.get(*key).cloned().unwrap_or_default();
            let why = "its configuration changed (config-hash label differs)";
            let remove = push(&mut self.plan, Op::RemoveNetwork { name: thing.name.clone(), id: thing.id.clone() }, after, why);
            show(&mut self.plan, remove, "Removing", "Removed");
            let create = push(&mut self.plan, Op::CreateNetwork(network_spec(self.project, key, &network)), vec![remove], why);
            show(&mut self.plan, create, "Creating", "Created");
            steps.networks.insert(thing.name.clone(), create);
            for (container, service) in others {
                let endpoint =
                    EndpointSpec { network: thing.name.clone(), aliases: vec![container.name.clone(), service], ..EndpointSpec::default() };
                push(&mut self.plan, Op::ConnectNetwork { container, endpoint: Box::new(endpoint) }, vec![create], "it was connected to it before");
            }
        }
        for (key, thing) in self.volumes.iter().filter(|(_, t)| t.lost) {
            let Some(volume) = self.project.volumes.get(*key) else { continue };
            let uses = |c: &Container| c.mounts.iter().any(|m| m.kind == "volume" && m.name == thing.name);
            let after = self.units.iter().filter(|u| u.old.is_some_and(uses)).filter_map(|u| u.steps.remove).collect();
            let why = "its configuration changed, and losing its data was agreed to";
            let remove = push(&mut self.plan, Op::RemoveVolume { name: thing.name.clone() }, after, why);
            show(&mut self.plan, remove, "Removing", "Removed");
            let create = push(&mut self.plan, Op::CreateVolume(volume_spec(self.project, key, volume)), vec![remove], why);
            show(&mut self.plan, create, "Creating", "Created");
            steps.volumes.insert(thing.name.clone(), create);
        }
        steps.pending.clear();
    }

    /// Ports of the host that stopped containers leave.
    fn note_ports(&self, steps: &mut Steps<'a>) {
        for unit in &self.units {
            if let (Some(old), Some(stop)) = (unit.old, unit.steps.stop) {
                free(steps, old, stop);
            }
        }
    }

    fn push_starts(&mut self, steps: &Steps) {
        for name in self.order.clone() {
            let units: Vec<usize> = self.by_service.get(name).cloned().unwrap_or_default();
            let mut gates: Option<Vec<NodeId>> = None;
            let mut before: Option<NodeId> = None;
            for u in units {
                let Some(unit) = self.units.get(u).filter(|u| u.start) else { continue };
                if unit.act == Act::Unpause {
                    let Some(old) = unit.old else { continue };
                    let op = Op::UnpauseContainer { container: Target::existing(unit.name.clone(), old.id.clone()) };
                    let id = push(&mut self.plan, op, unit.steps.made.into_iter().collect(), unit.why.clone());
                    steps::of_service(&mut self.plan, id, name);
                    show(&mut self.plan, id, "Unpausing", "Unpaused");
                    self.set_ready(u, id);
                    continue;
                }
                let gates = match &gates {
                    Some(gates) => gates.clone(),
                    None => gates.insert(self.push_gates(name)).clone(),
                };
                self.push_start(u, gates, steps, &mut before);
            }
        }
    }

    fn set_ready(&mut self, u: usize, id: NodeId) {
        if let Some(unit) = self.units.get_mut(u) {
            unit.steps.ready = Some(id);
        }
    }

    fn push_start(&mut self, u: usize, gates: Vec<NodeId>, steps: &Steps, before: &mut Option<NodeId>) {
        let Some(unit) = self.units.get(u) else { return };
        let mut after: Vec<NodeId> = unit.steps.made.or(unit.steps.stop).into_iter().collect();
        after.extend(gates);
        for port in &unit.ports {
            for number in host_ports(port) {
                let freed = steps.ports.get(&(number, port.protocol.as_str())).into_iter().flatten();
                after.extend(freed.filter(|(ip, _)| overlaps(ip, &port.host_ip)).map(|(_, id)| *id));
            }
        }
        // Replicas that share a range of ports would grab the same one.
        let ranged = unit.ports.iter().any(|p| p.published.contains('-'));
        if ranged {
            after.extend(*before);
        }
        let container = match unit.old.filter(|_| !unit.act.creates()) {
            Some(old) => Target::existing(unit.name.clone(), old.id.clone()),
            None => Target::named(unit.name.clone()),
        };
        let service = unit.service;
        let why = match unit.act {
            Act::Start | Act::Restart => unit.why.clone(),
            Act::Create => "it was created".to_owned(),
            _ => "it was recreated".to_owned(),
        };
        if !unit.act.creates() {
            let files = lower::files(self.project, service).unwrap_or_default();
            if !files.is_empty() {
                let waits = after.clone();
                let op = Op::WriteFiles { container: container.clone(), files };
                let id = push(&mut self.plan, op, waits, "secrets and configs that are no files");
                steps::of_service(&mut self.plan, id, &service.name);
                after.push(id);
            }
        }
        after.sort_unstable();
        after.dedup();
        let start = push(&mut self.plan, Op::StartContainer { container: container.clone() }, after, why);
        steps::of_service(&mut self.plan, start, &service.name);
        show(&mut self.plan, start, "Starting", "Started");
        let hooks: Vec<_> = service.post_start.iter().map(lower::hook).collect();
        let ready = steps::push_post_start(&mut self.plan, &container, &service.name, hooks, start);
        self.set_ready(u, ready);
        if ranged {
            *before = Some(start);
        }
    }

    /// The gates of `service`: steps that its starts wait for.
    fn push_gates(&mut self, service: &str) -> Vec<NodeId> {
        let mut gates = Vec::new();
        for needed in self.gates_of(service) {
            let on: Vec<&Unit> = self.units_of(needed.on).filter(|u| u.act != Act::Remove).collect();
            let after: Vec<NodeId> = on.iter().filter_map(|u| u.steps.ready).collect();
            let gate = match needed.condition {
                Condition::Started if needed.required || after.is_empty() => {
                    gates.extend(after);
                    continue;
                }
                Condition::Started => Gate::Started,
                Condition::Healthy => Gate::Healthy,
                Condition::Completed => Gate::Completed,
            };
            let containers = on.iter().map(|u| awaited(u)).collect();
            let (optional, waiter) = (!needed.required, Some(service.to_owned()));
            let step = Await { service: needed.on.to_owned(), containers, gate, waiter, optional };
            gates.push(steps::push_await(&mut self.plan, step, after, format!("{service} waits for it")));
        }
        gates
    }

    fn push_waits(&mut self) {
        for service in self.chosen() {
            let units: Vec<&Unit> = self.units_of(&service.name).filter(|u| u.act != Act::Remove).collect();
            if units.is_empty() {
                continue;
            }
            let after = units.iter().filter_map(|u| u.steps.ready).collect();
            let one_shot = lower::restart_policy(service) == Ok(RestartPolicy::No) || self.is_job(&service.name);
            let step = Await {
                service: service.name.clone(),
                containers: units.iter().map(|u| awaited(u)).collect(),
                gate: Gate::Ready { one_shot },
                waiter: None,
                optional: false,
            };
            steps::push_await(&mut self.plan, step, after, "--wait".to_owned());
        }
    }
}

fn awaited(unit: &Unit) -> Awaited {
    let id = unit.old.filter(|_| !unit.act.creates()).map(|c| c.id.clone());
    Awaited { target: Target { name: unit.name.clone(), id }, fresh: unit.start && unit.act != Act::Unpause }
}

/// From `step` on the ports that `container` has are free.
fn free<'a>(steps: &mut Steps<'a>, container: &'a Container, step: NodeId) {
    for port in container.ports.iter().filter(|p| p.host_port != 0) {
        steps.ports.entry((port.host_port, port.protocol.as_str())).or_default().push((port.host_ip.as_str(), step));
    }
}
