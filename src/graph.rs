//! Order among services, networks and volumes.
//!
//! Nodes are inserted in the order of kind and name, so everything here is stable: the same project gives the same
//! order, whatever the order of its keys.

use crate::diag::{Diagnostic, KeyPath, Places, Span, did_you_mean};
use crate::model::{Dependency, MountType, Project, Selection, Service};
use petgraph::Direction;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// A thing that others can need.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A network, by key.
    Network(String),
    /// A volume, by key.
    Volume(String),
    /// A service.
    Service(String),
}

impl Item {
    /// Key or name.
    pub fn name(&self) -> &str {
        match self {
            Self::Network(name) | Self::Volume(name) | Self::Service(name) => name,
        }
    }
}

/// What needs what. An arrow leads from a thing to what it needs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    graph: DiGraph<Item, ()>,
    nodes: BTreeMap<Item, NodeIndex>,
}

impl Graph {
    /// The graph of a project: services, the networks and volumes they use, and their dependencies. Dependencies that
    /// are not among the enabled services are left out.
    pub fn of(project: &Project) -> Self {
        let mut graph = Self::default();
        for key in project.networks.keys() {
            graph.add(Item::Network(key.clone()));
        }
        for key in project.volumes.keys() {
            graph.add(Item::Volume(key.clone()));
        }
        for name in project.services.keys() {
            graph.add(Item::Service(name.clone()));
        }
        for (name, service) in &project.services {
            let from = Item::Service(name.clone());
            for dependency in service.depends_on.keys() {
                graph.connect(&from, &Item::Service(dependency.clone()));
            }
            for network in service.networks.keys() {
                graph.connect(&from, &Item::Network(network.clone()));
            }
            for mount in service.volumes.iter().filter(|m| m.kind == MountType::Volume && !m.source.is_empty()) {
                graph.connect(&from, &Item::Volume(mount.source.clone()));
            }
        }
        graph
    }

    /// The graph of services alone, for projects that are known by their labels only.
    pub fn of_services<'a>(services: impl IntoIterator<Item = (&'a str, Vec<&'a str>)>) -> Self {
        let services: BTreeMap<&str, Vec<&str>> = services.into_iter().collect();
        let mut graph = Self::default();
        for name in services.keys() {
            graph.add(Item::Service((*name).to_owned()));
        }
        for (name, dependencies) in &services {
            for dependency in dependencies {
                graph.connect(&Item::Service((*name).to_owned()), &Item::Service((*dependency).to_owned()));
            }
        }
        graph
    }

    fn add(&mut self, item: Item) {
        let node = self.graph.add_node(item.clone());
        self.nodes.insert(item, node);
    }

    fn connect(&mut self, from: &Item, to: &Item) {
        if let (Some(from), Some(to)) = (self.nodes.get(from), self.nodes.get(to)) {
            self.graph.update_edge(*from, *to, ());
        }
    }

    fn neighbours(&self, node: NodeIndex, direction: Direction) -> Vec<NodeIndex> {
        let mut nodes: Vec<NodeIndex> = self.graph.neighbors_directed(node, direction).collect();
        nodes.sort_unstable();
        nodes
    }

    /// What `item` needs directly, in the order of kind and name.
    pub fn needs(&self, item: &Item) -> Vec<&Item> {
        self.nodes.get(item).map_or_else(Vec::new, |n| self.neighbours(*n, Direction::Outgoing).into_iter().map(|n| &self.graph[n]).collect())
    }

    /// What needs `item` directly, in the order of kind and name.
    pub fn needed_by(&self, item: &Item) -> Vec<&Item> {
        self.nodes.get(item).map_or_else(Vec::new, |n| self.neighbours(*n, Direction::Incoming).into_iter().map(|n| &self.graph[n]).collect())
    }

    /// Everything, each thing after all it needs; among those that could be next, the first by kind and name is. What is
    /// on a cycle, or needs what is on one, comes last.
    pub fn order(&self) -> Vec<&Item> {
        let mut waits: Vec<usize> = self.graph.node_indices().map(|n| self.graph.neighbors(n).count()).collect();
        let mut ready: BinaryHeap<std::cmp::Reverse<NodeIndex>> =
            self.graph.node_indices().filter(|n| waits[n.index()] == 0).map(std::cmp::Reverse).collect();
        let mut order = Vec::with_capacity(waits.len());
        let mut placed = vec![false; waits.len()];
        while let Some(std::cmp::Reverse(node)) = ready.pop() {
            placed[node.index()] = true;
            order.push(&self.graph[node]);
            for waiting in self.graph.neighbors_directed(node, Direction::Incoming) {
                waits[waiting.index()] -= 1;
                if waits[waiting.index()] == 0 {
                    ready.push(std::cmp::Reverse(waiting));
                }
            }
        }
        order.extend(self.graph.node_indices().filter(|n| !placed[n.index()]).map(|n| &self.graph[n]));
        order
    }

    /// Names of the services of [`Graph::order`]: dependencies first. Stopping goes the other way.
    pub fn services(&self) -> Vec<&str> {
        self.order()
            .into_iter()
            .filter_map(|item| match item {
                Item::Service(name) => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Services by level: those of a level need only services of earlier levels, so they can go at the same time.
    pub fn levels(&self) -> Vec<Vec<&str>> {
        let mut level: BTreeMap<&str, usize> = BTreeMap::new();
        let mut levels: Vec<Vec<&str>> = Vec::new();
        for name in self.services() {
            let needs = self.needs(&Item::Service(name.to_owned()));
            let own = needs.iter().filter_map(|n| matches!(n, Item::Service(_)).then(|| level.get(n.name())).flatten()).max().map_or(0, |l| l + 1);
            level.insert(name, own);
            if levels.len() <= own {
                levels.resize_with(own + 1, Vec::new);
            }
            levels[own].push(name);
        }
        levels
    }

    /// The shortest cycle of each knot, as names of services in the order of needing: `[a, b]` is `a → b → a`. Each
    /// begins with its first name.
    pub fn cycles(&self) -> Vec<Vec<&str>> {
        let mut cycles: Vec<Vec<&str>> = kosaraju_scc(&self.graph)
            .into_iter()
            .filter_map(|knot| {
                let inside: BTreeSet<NodeIndex> = knot.into_iter().collect();
                // In a great knot any cycle will do.
                let starts = if inside.len() > MANY { 1 } else { inside.len() };
                inside.iter().take(starts).filter_map(|start| self.cycle_through(*start, &inside)).min_by_key(Vec::len)
            })
            .map(|cycle| cycle.into_iter().map(|n| self.graph[n].name()).collect())
            .collect();
        cycles.sort();
        cycles
    }

    /// The shortest way from `start` back to itself within `inside`.
    fn cycle_through(&self, start: NodeIndex, inside: &BTreeSet<NodeIndex>) -> Option<Vec<NodeIndex>> {
        let mut came_from: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for next in self.neighbours(node, Direction::Outgoing) {
                if next == start {
                    let mut cycle = vec![node];
                    while let Some(before) = came_from.get(cycle.last()?) {
                        cycle.push(*before);
                    }
                    cycle.reverse();
                    return Some(cycle);
                }
                if inside.contains(&next) && !came_from.contains_key(&next) {
                    came_from.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// `start` and everything it needs, near or far.
    pub fn closure<'a>(&'a self, start: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut seen: BTreeSet<NodeIndex> = BTreeSet::new();
        let mut stack: Vec<NodeIndex> = start.into_iter().filter_map(|name| self.nodes.get(&Item::Service(name.to_owned())).copied()).collect();
        while let Some(node) = stack.pop() {
            if seen.insert(node) {
                stack.extend(self.graph.neighbors(node).filter(|n| matches!(self.graph[*n], Item::Service(_))));
            }
        }
        seen.into_iter().map(|n| self.graph[n].name()).collect()
    }
}

/// More services than this make a knot that isn't shown to its end.
const MANY: usize = 50;

/// Faults of the graph: cycles, each as a path with the lines that make it.
pub fn check(project: &Project, places: Places) -> Vec<Diagnostic> {
    Graph::of(project)
        .cycles()
        .into_iter()
        .map(|cycle| {
            let mut path = cycle.iter().take(MANY).copied().collect::<Vec<_>>().join(" → ");
            path.push_str(if cycle.len() > MANY { " → … → " } else { " → " });
            path.push_str(cycle.first().copied().unwrap_or_default());
            let edges = cycle.iter().zip(cycle.iter().cycle().skip(1)).take(MANY);
            let mut lines: Vec<(Span, String)> = edges
                .filter_map(|(from, to)| {
                    let (place, how) = edge_place(project.services.get(*from)?, to, places)?;
                    Some((place, format!("{from} {how} {to}")))
                })
                .collect();
            let message = if let [only] = cycle[..] { format!("service {only:?} depends on itself") } else { format!("dependency cycle: {path}") };
            let mut diagnostic = Diagnostic::error("dependency-cycle", message)
                .help("take one of these dependencies out; nothing can start first as long as each waits for another");
            if !lines.is_empty() {
                let (place, label) = lines.remove(0);
                diagnostic = diagnostic.at(place).label(label);
            }
            diagnostic.related = lines;
            diagnostic
        })
        .collect()
}

/// The line that makes `service` depend on `on`, and in which words.
fn edge_place(service: &Service, on: &str, places: Places) -> Option<(Span, &'static str)> {
    let own = KeyPath::of(["services", service.name.as_str()]);
    let member = |text: &str| text == on || text.strip_prefix(on).is_some_and(|rest| rest.starts_with(':'));
    let item = |key: &str, list: &[String]| list.iter().position(|entry| member(entry)).and_then(|i| places(&own.key(key).index(i)));
    let shares = |key: &str, mode: &str| (mode.strip_prefix("service:") == Some(on)).then(|| places(&own.key(key))).flatten();
    // Implicit dependencies are written into `depends_on` when a project is loaded, but nobody wrote a line for them: the
    // reason is asked for first.
    shares("network_mode", &service.network_mode)
        .or_else(|| shares("ipc", &service.ipc))
        .or_else(|| shares("pid", &service.pid))
        .or_else(|| shares("uts", &service.uts))
        .or_else(|| shares("cgroup", &service.cgroup))
        .map(|place| (place, "shares a namespace of"))
        .or_else(|| item("links", &service.links).map(|place| (place, "is linked to")))
        .or_else(|| item("volumes_from", &service.volumes_from).map(|place| (place, "takes the volumes of")))
        .or_else(|| places(&own.key("depends_on").key(on)).map(|place| (place, "depends on")))
        .or_else(|| places(&own.key("depends_on")).map(|place| (place, "depends on")))
        .or_else(|| places(&own).map(|place| (place, "depends on")))
}

/// Which services a command is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// Named on the command line, or all if none was.
    pub targets: BTreeSet<String>,
    /// Those and what they depend on.
    pub services: BTreeSet<String>,
}

/// The services that `selection` means: those named, and what they depend on.
///
/// # Errors
/// A name that is no enabled service; a needed dependency that isn't one.
pub fn select(project: &Project, selection: &Selection) -> Result<Selected, Vec<Diagnostic>> {
    let mut faults: Vec<Diagnostic> = selection.services.iter().filter_map(|name| unknown_service(project, name)).collect();
    let targets: BTreeSet<String> = if selection.services.is_empty() {
        project.services.keys().cloned().collect()
    } else {
        selection.services.iter().filter(|name| project.services.contains_key(*name)).cloned().collect()
    };
    if selection.no_deps {
        return if faults.is_empty() { Ok(Selected { services: targets.clone(), targets }) } else { Err(faults) };
    }
    let graph = Graph::of(project);
    let services: BTreeSet<String> = graph.closure(targets.iter().map(String::as_str)).into_iter().map(str::to_owned).collect();
    for service in services.iter().filter_map(|name| project.services.get(name)) {
        faults.extend(
            service
                .depends_on
                .iter()
                .filter(|(on, d)| d.required && !project.services.contains_key(*on))
                .map(|(on, d)| missing(project, service, on, d)),
        );
    }
    if faults.is_empty() { Ok(Selected { targets, services }) } else { Err(faults) }
}

/// A service that some other needs but that isn't enabled.
fn missing(project: &Project, service: &Service, on: &str, dependency: &Dependency) -> Diagnostic {
    let (name, condition) = (&service.name, dependency.condition.as_str());
    let fault = Diagnostic::error("dependency-disabled", format!("service {name:?} depends on {on:?} ({condition}), which is not enabled"));
    match project.disabled.get(on).map(|s| s.profiles.join("`, `")) {
        Some(profiles) if !profiles.is_empty() => fault.help(format!("add `--profile` with `{profiles}`, or say `required: false`")),
        _ => fault.help(format!("add the service {on:?}, or take it out of `depends_on`")),
    }
}

/// What is wrong with `name` as the name of an enabled service; `None` if nothing is.
pub fn unknown_service(project: &Project, name: &str) -> Option<Diagnostic> {
    if project.services.contains_key(name) {
        return None;
    }
    if let Some(service) = project.disabled.get(name) {
        let help = format!("add `--profile {}`", service.profiles.first().map_or("…", String::as_str));
        return Some(Diagnostic::error("service-disabled", format!("service {name:?} is not enabled by an active profile")).help(help));
    }
    let fault = Diagnostic::error("no-such-service", format!("no such service: {name}"));
    let names = |of: &BTreeMap<String, Service>| of.keys().cloned().collect::<Vec<_>>().join(", ");
    let disabled = if project.disabled.is_empty() { String::new() } else { format!("; in profiles: {}", names(&project.disabled)) };
    Some(match did_you_mean(name, project.services.keys().chain(project.disabled.keys()).map(String::as_str)) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None if project.services.is_empty() => fault.help(format!("the project has no enabled services{disabled}")),
        None => fault.help(format!("the services are: {}{disabled}", names(&project.services))),
    })
}

#[cfg(test)]
mod tests;
