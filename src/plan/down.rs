//! Taking a project down: what `up` made goes, dependants before what they depend on.

use super::lower;
use super::options::{DownOptions, RemoveImages};
use super::scope::{Scope, unknown};
use super::steps::{self, push, show};
use super::types::{NodeId, Plan};
use super::view::{View, is_anonymous};
use crate::diag::{Diagnostic, Severity};
use crate::model::{MountType, Project};
use crate::world::{Container, Observed, Op, Target, label};
use std::collections::{BTreeMap, BTreeSet};

/// Removes what `up` made.
///
/// What the project doesn't own is never removed: external networks and volumes, and those without its label. A network
/// that a container which stays still uses is left, with a note that names the container.
pub(super) fn plan_down(project: Option<&Project>, name: &str, observed: &Observed, options: &DownOptions) -> Result<Plan, Vec<Diagnostic>> {
    let scope = Scope::of(project, name, observed);
    let faults: Vec<_> = options.services.iter().filter_map(|s| unknown(&scope, s)).collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let (mut by_volume, mut by_image) = (ByName::new(), ByName::new());
    for container in scope.view.containers() {
        by_image.entry(&container.image).or_default().push(container);
        for mount in container.mounts.iter().filter(|m| m.kind == "volume") {
            by_volume.entry(&mount.name).or_default().push(container);
        }
    }
    let mut down = Down {
        by_volume,
        by_image,
        leaving: leaving(&scope, options),
        removals: BTreeMap::new(),
        plan: Plan { project: name.to_owned(), ..Plan::default() },
        scope,
        options,
        observed,
    };
    down.containers();
    down.networks();
    down.volumes();
    down.images();
    down.note_the_rest();
    Ok(down.plan)
}

/// Ids of the containers that go.
fn leaving<'a>(scope: &Scope<'a>, options: &DownOptions) -> BTreeSet<&'a str> {
    let known = |name: &str| scope.project.is_none_or(|p| p.services.contains_key(name));
    let goes =
        |name: &str| if options.services.is_empty() { options.remove_orphans || known(name) } else { options.services.iter().any(|s| s == name) };
    let regular = scope.view.services.iter().filter(|(name, _)| goes(name)).flat_map(|(_, containers)| containers.iter());
    let oneoffs = scope.view.oneoffs.iter().filter(|_| options.remove_orphans && options.services.is_empty());
    regular.chain(oneoffs).map(|c| c.id.as_str()).collect()
}

type ByName<'a> = BTreeMap<&'a str, Vec<&'a Container>>;

struct Down<'a> {
    scope: Scope<'a>,
    options: &'a DownOptions,
    observed: &'a Observed,
    leaving: BTreeSet<&'a str>,
    /// Removal by id of the container.
    removals: BTreeMap<&'a str, NodeId>,
    /// Containers by the volumes that they mount, and by image.
    by_volume: ByName<'a>,
    by_image: ByName<'a>,
    plan: Plan,
}

impl<'a> Down<'a> {
    fn view(&self) -> &View<'a> {
        &self.scope.view
    }

    /// Containers that stay and for which `uses` holds.
    fn staying(&self, uses: impl Fn(&Container) -> bool) -> Vec<&'a Container> {
        self.view().containers().filter(|c| !self.leaving.contains(c.id.as_str()) && uses(c)).collect()
    }

    /// Removals of these containers, and whether one of them stays.
    fn removals_of<'c>(&self, containers: impl IntoIterator<Item = &'c Container>) -> (Vec<NodeId>, bool) {
        let (mut removals, mut stays) = (Vec::new(), false);
        for container in containers {
            match self.removals.get(container.id.as_str()) {
                Some(id) => removals.push(*id),
                None => stays = true,
            }
        }
        (removals, stays)
    }

    fn users_of(&self, volume: &str) -> (Vec<NodeId>, bool) {
        self.removals_of(self.by_volume.get(volume).into_iter().flatten().copied())
    }

    fn containers(&mut self) {
        let mut removed: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
        for name in self.scope.order.iter().rev().copied().collect::<Vec<_>>() {
            let containers: Vec<&Container> = self.view().of_service(name).iter().copied().filter(|c| self.leaving.contains(c.id.as_str())).collect();
            let after: Vec<NodeId> = self.scope.dependants_of(name).filter_map(|d| removed.get(d)).flatten().copied().collect();
            let hooks: Vec<_> =
                self.scope.project.and_then(|p| p.service(name)).into_iter().flat_map(|s| s.pre_stop.iter().map(lower::hook)).collect();
            let known = self.scope.project.is_none_or(|p| p.service(name).is_some());
            let why = if known { "down" } else { "its service is not in the file" };
            // Where nothing is, the order goes on through it.
            if containers.is_empty() {
                removed.insert(name, after);
                continue;
            }
            for container in containers {
                let id = self.remove(container, name, &hooks, after.clone(), why);
                removed.entry(name).or_default().push(id);
            }
        }
        for container in self.view().oneoffs.clone().into_iter().filter(|c| self.leaving.contains(c.id.as_str())).collect::<Vec<_>>() {
            self.remove(container, container.service(), &[], vec![], "it is a one-off container");
        }
    }

    fn remove(&mut self, container: &'a Container, service: &str, hooks: &[crate::world::HookSpec], after: Vec<NodeId>, why: &str) -> NodeId {
        let target = Target::existing(container.name.clone(), container.id.clone());
        let after = if container.is_alive() {
            let first = self.plan.nodes.len();
            let stop = steps::push_stop(&mut self.plan, container, service, hooks, self.options.timeout, after, why);
            show(&mut self.plan, stop, "Stopping", "Stopped");
            (first..=stop).for_each(|id| steps::proceed(&mut self.plan, id));
            vec![stop]
        } else {
            after
        };
        let alive = container.is_alive();
        let id = push(&mut self.plan, Op::RemoveContainer { container: target, volumes: self.options.volumes }, after, why);
        steps::of_service(&mut self.plan, id, service);
        show(&mut self.plan, id, "Removing", "Removed");
        if !alive {
            steps::proceed(&mut self.plan, id);
        }
        self.removals.insert(&container.id, id);
        id
    }

    /// Networks with the project's label. With services named: those of theirs that nobody else uses.
    fn networks(&mut self) {
        let named: Option<BTreeSet<String>> = (!self.options.services.is_empty()).then(|| self.networks_of_named());
        let external: BTreeSet<&str> =
            self.scope.project.into_iter().flat_map(|p| p.networks.values()).filter(|n| n.external).map(|n| n.name.as_str()).collect();
        let (observed, project) = (self.observed, self.scope.name);
        let mut ours: Vec<_> = observed.networks.iter().filter(|n| n.labels.get(label::PROJECT).is_some_and(|p| p == project)).collect();
        ours.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        for network in ours {
            if external.contains(network.name.as_str()) || named.as_ref().is_some_and(|n| !n.contains(&network.name)) {
                continue;
            }
            let uses =
                |c: &Container| c.networks.iter().any(|a| a.network == network.name && (a.network_id.is_empty() || a.network_id == network.id));
            // One that was on a network of that name before this one can be in its way, too.
            let known = |id: &str| observed.networks.iter().any(|n| n.id == id);
            let names = |c: &Container| c.networks.iter().any(|a| a.network == network.name && (a.network_id == network.id || !known(&a.network_id)));
            let users: Vec<&str> = self.staying(|c| c.is_alive() && uses(c)).into_iter().map(|c| c.name.as_str()).collect();
            if !users.is_empty() {
                if named.is_none() {
                    let what = format!("network {} stays: it is still used by {}", network.name, users.join(", "));
                    self.plan.notes.push(Diagnostic::warning("network-in-use", what).help("remove such containers too with --remove-orphans"));
                }
                continue;
            }
            let op = Op::RemoveNetwork { name: network.name.clone(), id: Some(network.id.clone()).filter(|id| !id.is_empty()) };
            let (after, _) = self.removals_of(self.view().containers().filter(|c| c.networks.is_empty() || names(c)));
            let id = push(&mut self.plan, op, after, "down");
            self.tear_down(id);
        }
    }

    fn networks_of_named(&self) -> BTreeSet<String> {
        let Some(project) = self.scope.project else {
            let containers = self.options.services.iter().flat_map(|s| self.view().of_service(s));
            return containers.flat_map(|c| c.networks.iter().map(|a| a.network.clone())).collect();
        };
        let services = self.options.services.iter().filter_map(|s| project.service(s));
        services.flat_map(lower::network_keys).map(|key| lower::network_name(project, key)).collect()
    }

    fn tear_down(&mut self, id: NodeId) {
        show(&mut self.plan, id, "Removing", "Removed");
        steps::proceed(&mut self.plan, id);
        steps::lenient(&mut self.plan, id);
    }

    /// Volumes of the file, or all with the project's label if there is no file; and anonymous ones that the engine no
    /// longer takes for such, because they were handed on from container to container.
    fn volumes(&mut self) {
        if !self.options.volumes {
            return;
        }
        for name in self.own_volumes() {
            let (after, stays) = self.users_of(&name);
            if !self.options.services.is_empty() && stays {
                continue;
            }
            let id = push(&mut self.plan, Op::RemoveVolume { name }, after, "down --volumes");
            self.tear_down(id);
        }
        let mut anonymous: BTreeSet<String> = BTreeSet::new();
        for container in self.view().containers().filter(|c| self.leaving.contains(c.id.as_str()) && c.label(label::REPLACE).is_some()) {
            anonymous.extend(container.mounts.iter().filter(|m| m.kind == "volume" && is_anonymous(&m.name)).map(|m| m.name.clone()));
        }
        for name in anonymous {
            let (after, stays) = self.users_of(&name);
            if !stays {
                let id = push(&mut self.plan, Op::RemoveVolume { name }, after, "anonymous volume of a container that was recreated");
                steps::proceed(&mut self.plan, id);
                steps::lenient(&mut self.plan, id);
            }
        }
    }

    fn own_volumes(&mut self) -> Vec<String> {
        let labelled = |v: &&crate::world::VolumeState| v.labels.get(label::PROJECT).is_some_and(|p| p == self.scope.name);
        let ours: BTreeSet<&str> = self.observed.volumes.iter().filter(labelled).map(|v| v.name.as_str()).collect();
        let Some(project) = self.scope.project else { return ours.into_iter().map(str::to_owned).collect() };
        let named: Option<BTreeSet<&str>> = (!self.options.services.is_empty()).then(|| {
            let services = self.options.services.iter().filter_map(|s| project.service(s));
            services.flat_map(|s| s.volumes.iter()).filter(|m| m.kind == MountType::Volume).map(|m| m.source.as_str()).collect()
        });
        let (mut names, mut kept) = (BTreeSet::new(), ours.clone());
        for (key, volume) in &project.volumes {
            let Some(name) = lower::volume_name(project, key) else { continue };
            kept.remove(name.as_str());
            if volume.external || named.as_ref().is_some_and(|n| !n.contains(key.as_str())) {
                continue;
            }
            if ours.contains(name.as_str()) {
                names.insert(name);
            } else if self.view().volumes.contains_key(name.as_str()) {
                let what = format!("volume {name} stays: it was not created for this project");
                self.plan.notes.push(Diagnostic::warning("foreign-volume", what).help("say `external: true` if it is somebody else's"));
            }
        }
        if named.is_none() && !kept.is_empty() {
            let what = format!("volumes that are no longer in the file stay: {}", kept.into_iter().collect::<Vec<_>>().join(", "));
            self.plan.notes.push(Diagnostic::new(Severity::Note, "volumes-left", what));
        }
        names.into_iter().collect()
    }

    fn images(&mut self) {
        let Some(which) = self.options.images else { return };
        let mut images: BTreeSet<String> = BTreeSet::new();
        let chosen = |name: &str| self.options.services.is_empty() || self.options.services.iter().any(|s| s == name);
        match self.scope.project {
            Some(project) => {
                let services = project.services.values().filter(|s| chosen(&s.name) && s.provider.is_none());
                let services = services.filter(|s| which == RemoveImages::All || s.image.is_empty());
                images.extend(services.map(|s| project.image_of(s)).filter(|image| self.observed.images.contains_key(image)));
            }
            None => {
                let containers = self.view().services.iter().filter(|(name, _)| chosen(name)).flat_map(|(_, c)| c.iter());
                let local = |c: &&&Container| ['-', '_'].iter().any(|sep| c.image == format!("{}{sep}{}", self.scope.name, c.service()));
                images.extend(containers.filter(|c| which == RemoveImages::All || local(c)).map(|c| c.image.clone()));
            }
        }
        for reference in images {
            let (after, _) = self.removals_of(self.by_image.get(reference.as_str()).into_iter().flatten().copied());
            let id = push(&mut self.plan, Op::RemoveImage { reference }, after, "down --rmi");
            self.tear_down(id);
        }
    }

    fn note_the_rest(&mut self) {
        if self.plan.is_empty() {
            let what = format!("no resource found to remove for project {:?}", self.scope.name);
            self.plan.notes.push(Diagnostic::warning("nothing-to-remove", what));
        }
        let Some(project) = self.scope.project.filter(|_| self.options.services.is_empty()) else { return };
        let off: Vec<&str> = self.staying(|c| project.disabled.contains_key(c.service()) && !c.is_oneoff()).iter().map(|c| c.name.as_str()).collect();
        if !off.is_empty() {
            let what = format!("containers of services that no active profile enables stay: {}", off.join(", "));
            self.plan.notes.push(Diagnostic::warning("profiles-left", what).help("remove them with --profile, or with --remove-orphans"));
        }
    }
}
