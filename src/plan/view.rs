//! What exists of a project, indexed.

use crate::graph::Graph;
use crate::model::{Condition, Project};
use crate::world::{Container, NetworkState, Observed, State, VolumeState, label};
use std::collections::BTreeMap;

/// What exists of a project.
pub(super) struct View<'a> {
    /// Containers by service, by number and name.
    pub services: BTreeMap<&'a str, Vec<&'a Container>>,
    /// One-off containers.
    pub oneoffs: Vec<&'a Container>,
    /// Networks by real name, which need not be unique.
    pub networks: BTreeMap<&'a str, Vec<&'a NetworkState>>,
    /// Volumes by real name.
    pub volumes: BTreeMap<&'a str, &'a VolumeState>,
}

/// A dependency as a plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needed<'a> {
    /// The service.
    pub on: &'a str,
    /// What must be true of it.
    pub condition: Condition,
    /// Restart with it.
    pub restart: bool,
    /// Without it: a failure is only a warning.
    pub required: bool,
}

impl<'a> View<'a> {
    /// What exists of the project called `name`.
    pub fn of(name: &str, observed: &'a Observed) -> Self {
        let mut view = Self { services: BTreeMap::new(), oneoffs: Vec::new(), networks: BTreeMap::new(), volumes: BTreeMap::new() };
        for container in observed.containers.iter().filter(|c| c.project() == name && c.label(label::CONFIG_HASH).is_some()) {
            if container.is_oneoff() {
                view.oneoffs.push(container);
            } else {
                view.services.entry(container.service()).or_default().push(container);
            }
        }
        for containers in view.services.values_mut() {
            containers.sort_by(|a, b| (a.number(), &a.name).cmp(&(b.number(), &b.name)));
        }
        for network in &observed.networks {
            view.networks.entry(&network.name).or_default().push(network);
        }
        view.volumes.extend(observed.volumes.iter().map(|v| (v.name.as_str(), v)));
        view
    }

    /// The containers of a service.
    pub fn of_service(&self, service: &str) -> &[&'a Container] {
        self.services.get(service).map_or(&[], Vec::as_slice)
    }

    /// All containers, one-off ones last.
    pub fn containers(&self) -> impl Iterator<Item = &'a Container> {
        self.services.values().flatten().chain(&self.oneoffs).copied()
    }
}

/// Dependencies by service: as the file says, and for services that only labels know, as their labels say.
pub(super) fn dependencies<'a>(project: Option<&'a Project>, view: &View<'a>) -> BTreeMap<&'a str, Vec<Needed<'a>>> {
    let mut all: BTreeMap<&str, Vec<Needed>> = BTreeMap::new();
    for (name, service) in project.into_iter().flat_map(|p| p.services.iter().chain(&p.disabled)) {
        let needed =
            service.depends_on.iter().map(|(on, d)| Needed { on, condition: d.condition, restart: d.restart, required: d.required }).collect();
        all.insert(name, needed);
    }
    for (service, containers) in &view.services {
        // The youngest knows best.
        let label = || containers.iter().max_by_key(|c| c.created).and_then(|c| c.label(label::DEPENDS_ON)).unwrap_or("");
        all.entry(service).or_insert_with(|| from_label(label()));
    }
    all
}

/// `db:service_started:false,x:service_healthy:true`; names alone come from old versions and mean a restart.
fn from_label(text: &str) -> Vec<Needed<'_>> {
    text.split(',').filter(|entry| !entry.is_empty()).map(needed).collect()
}

fn needed(entry: &str) -> Needed<'_> {
    let mut parts = entry.split(':');
    let on = parts.next().unwrap_or(entry);
    let (condition, restart) = match parts.next() {
        Some("service_healthy") => (Condition::Healthy, false),
        Some("service_completed_successfully") => (Condition::Completed, false),
        Some(_) => (Condition::Started, false),
        None => (Condition::Started, true),
    };
    let restart = parts.next().map_or(restart, |r| r.eq_ignore_ascii_case("true"));
    Needed { on, condition, restart, required: false }
}

/// Services in an order in which each comes after what it depends on.
pub(super) fn order<'a>(dependencies: &BTreeMap<&'a str, Vec<Needed<'a>>>) -> Vec<&'a str> {
    let graph = Graph::of_services(dependencies.iter().map(|(name, needs)| (*name, needs.iter().map(|n| n.on).collect())));
    graph.services().into_iter().filter_map(|name| dependencies.get_key_value(name).map(|(name, _)| *name)).collect()
}

/// Whether `name` is one that only engines give: that of an anonymous volume.
pub(super) fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Why a container is started, in words.
pub(super) fn resting(state: State) -> &'static str {
    match state {
        State::Created => "it was never started",
        State::Paused => "it is paused",
        _ => "it is not running",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_labels_of_any_age() {
        let read = from_label("db:service_started:false,x:service_healthy:true,old,job:service_completed_successfully:false");
        let short: Vec<_> = read.iter().map(|n| (n.on, n.condition, n.restart)).collect();
        assert_eq!(
            short,
            [
                ("db", Condition::Started, false),
                ("x", Condition::Healthy, true),
                ("old", Condition::Started, true),
                ("job", Condition::Completed, false)
            ]
        );
        assert_eq!(from_label(""), []);
    }

    #[test]
    fn only_engines_give_such_names() {
        assert!(is_anonymous(&"0a".repeat(32)));
        assert!(!is_anonymous("p_data"));
        assert!(!is_anonymous(&"0A".repeat(32)));
    }
}
