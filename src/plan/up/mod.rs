//! Bringing services up: decide for each container what becomes of it, then lay out the steps.
//!
//! All decisions are made first, in dependency order, so that every fault is known before there is a plan. The steps come
//! in five rounds, each in dependency order (stops in reverse):
//!
//! 1. networks and volumes that are missing, containers that need nothing which is still to be replaced;
//! 2. stops;
//! 3. removals, and with them networks and volumes that are made anew;
//! 4. containers that had to wait for that, and the new ones of round 1 take the place of the old;
//! 5. starts, each behind the gates of its service.

mod affected;
mod decide;
mod emit;
mod resources;
mod starts;

use super::images::{self, Fetch};
use super::options::{Recreate, UpOptions};
use super::types::{NodeId, Plan};
use super::view::{Needed, View, dependencies};
use super::{checks, view};
use crate::diag::{Diagnostic, KeyPath, Places};
use crate::graph::{self, Selected};
use crate::model::{Condition, Project, Service};
use crate::world::{Capabilities, Container, ContainerSpec, Image, Observed, PortSpec};
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Nothing: it is as it should be.
    Keep,
    /// It exists and is started.
    Start,
    /// It is resumed.
    Unpause,
    /// It runs and is stopped and started.
    Restart,
    /// There is none: it is created.
    Create,
    /// It is created under another name beside the old one, which then makes room.
    Swap,
    /// The old one is removed first: it can't stand beside the new one.
    Replace,
    /// It is removed.
    Remove,
}

impl Act {
    /// Whether a new container is made.
    fn creates(self) -> bool {
        matches!(self, Self::Create | Self::Swap | Self::Replace)
    }
}

/// One container, as it is and as it will be.
struct Unit<'a> {
    service: &'a Service,
    number: u32,
    /// Its name in the end.
    name: String,
    /// The container that exists.
    old: Option<&'a Container>,
    act: Act,
    why: String,
    /// What is created, until there is a step for it.
    spec: Option<Box<ContainerSpec>>,
    /// The name it is created under, and the ports it publishes.
    created_as: String,
    ports: Vec<PortSpec>,
    /// It is started by the plan.
    start: bool,
    /// It gets a name that it should have got already.
    rename: bool,
    /// Volumes that go with the old one.
    discard: Vec<String>,
    /// Steps, as they come to be.
    steps: Steps,
}

/// The steps of a container.
#[derive(Clone, Copy, Debug, Default)]
struct Steps {
    create: Option<NodeId>,
    stop: Option<NodeId>,
    remove: Option<NodeId>,
    /// From here on the container is there under its name.
    made: Option<NodeId>,
    /// From here on it is started, hooks included.
    ready: Option<NodeId>,
}

/// A network or volume of the project.
#[derive(Clone, Debug, Default)]
struct Thing {
    /// Real name.
    name: String,
    /// It isn't there.
    missing: bool,
    /// It is there with another configuration and is made anew.
    lost: bool,
    /// Id of the one that is lost.
    id: Option<String>,
}

struct Planner<'a> {
    project: &'a Project,
    observed: &'a Observed,
    view: View<'a>,
    options: &'a UpOptions,
    places: Places<'a>,
    selected: Selected,
    dependencies: BTreeMap<&'a str, Vec<Needed<'a>>>,
    /// Services that say `restart: true` about a service.
    restarters: BTreeMap<&'a str, Vec<&'a str>>,
    /// Services that others wait for to complete.
    jobs: BTreeSet<&'a str>,
    /// Every known service, dependencies first.
    order: Vec<&'a str>,
    fetches: BTreeMap<(String, Option<String>), Fetch>,
    networks: BTreeMap<&'a str, Thing>,
    volumes: BTreeMap<&'a str, Thing>,
    /// Real names of those that are made anew.
    lost_networks: BTreeSet<String>,
    lost_volumes: BTreeSet<String>,
    units: Vec<Unit<'a>>,
    by_service: BTreeMap<&'a str, Vec<usize>>,
    /// Services of which a container is replaced or restarted.
    bounced: BTreeSet<&'a str>,
    faults: Vec<Diagnostic>,
    plan: Plan,
}

/// Brings the selected services up.
pub(super) fn plan_up<'a>(
    project: &'a Project,
    observed: &'a Observed,
    capabilities: &Capabilities,
    options: &'a UpOptions,
    places: Places<'a>,
) -> Result<Plan, Vec<Diagnostic>> {
    let mut faults: Vec<Diagnostic> = options.scale.keys().filter_map(|name| graph::unknown_service(project, name)).collect();
    let selected = graph::select(project, &options.selection).unwrap_or_else(|more| {
        faults.extend(more);
        Selected::default()
    });
    faults.extend(graph::check(project, places));
    if !faults.is_empty() {
        return Err(faults);
    }
    let view = View::of(&project.name, observed);
    let dependencies = dependencies(Some(project), &view);
    let mut restarters: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, needed) in dependencies.iter().flat_map(|(name, needs)| needs.iter().map(move |n| (*name, n))).filter(|(_, n)| n.restart) {
        restarters.entry(needed.on).or_default().push(name);
    }
    let jobs = dependencies.values().flatten().filter(|n| n.condition == Condition::Completed).map(|n| n.on).collect();
    let mut planner = Planner {
        restarters,
        jobs,
        order: view::order(&dependencies),
        project,
        observed,
        view,
        options,
        places,
        selected,
        dependencies,
        fetches: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        lost_networks: BTreeSet::new(),
        lost_volumes: BTreeSet::new(),
        units: Vec::new(),
        by_service: BTreeMap::new(),
        bounced: BTreeSet::new(),
        faults,
        plan: Plan { project: project.name.clone(), ..Plan::default() },
    };
    planner.find_fetches();
    planner.decide_networks();
    planner.decide_volumes();
    planner.decide_services();
    let (errors, warnings): (Vec<_>, Vec<_>) =
        checks::services(&planner.chosen(), project, capabilities, places).into_iter().partition(Diagnostic::is_error);
    planner.faults.extend(errors);
    planner.plan.notes.extend(warnings);
    planner.check_gates();
    planner.check_images();
    planner.check_files();
    planner.check_ports();
    planner.note_orphans();
    if !planner.faults.is_empty() {
        return Err(planner.faults);
    }
    if !planner.fetches.is_empty() && !options.preview {
        return Ok(planner.only_fetches());
    }
    Ok(planner.emit())
}

impl<'a> Planner<'a> {
    /// The selected services that have containers.
    fn chosen(&self) -> Vec<&'a Service> {
        self.selected.services.iter().filter_map(|name| self.project.services.get(name)).filter(|s| s.provider.is_none()).collect()
    }

    fn is_selected(&self, service: &str) -> bool {
        self.selected.services.contains(service)
    }

    /// How many replicas there should be.
    fn wanted(&self, service: &Service) -> u32 {
        self.options.scale.get(&service.name).copied().unwrap_or_else(|| service.replicas())
    }

    /// When containers of `service` are replaced.
    fn recreate(&self, service: &Service) -> Recreate {
        match self.options.recreate {
            Recreate::Never => Recreate::Never,
            Recreate::Force if self.selected.targets.contains(&service.name) => Recreate::Force,
            _ if self.selected.targets.contains(&service.name) && self.options.renew_anonymous_volumes => Recreate::Force,
            _ if !self.selected.targets.contains(&service.name) && self.options.always_recreate_deps => Recreate::Force,
            _ => Recreate::Diverged,
        }
    }

    /// The local image of `service`.
    fn image(&self, service: &Service) -> Option<&'a Image> {
        self.observed.images.get(&self.project.image_of(service))
    }

    fn units_of(&self, service: &str) -> impl Iterator<Item = &Unit<'a>> {
        self.by_service.get(service).into_iter().flatten().filter_map(|i| self.units.get(*i))
    }

    /// Whether others wait for it to complete.
    fn is_job(&self, service: &str) -> bool {
        self.jobs.contains(service)
    }

    fn place(&self, path: &KeyPath) -> Option<crate::diag::Span> {
        (self.places)(path)
    }

    fn find_fetches(&mut self) {
        if self.options.pulled {
            return;
        }
        let services: Vec<&Service> = self.chosen().into_iter().filter(|s| self.wanted(s) > 0).collect();
        self.fetches = images::to_fetch(self.project, services, &self.observed.images, self.options.pull, self.options.now);
    }
}

/// The path of a service's key.
fn key_of(service: &str, key: &str) -> KeyPath {
    KeyPath::of(["services", service, key])
}
