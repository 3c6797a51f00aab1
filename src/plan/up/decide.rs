//! What becomes of each container of the selected services.

use super::{Act, Planner, Steps, Unit, key_of};
use crate::diag::{Diagnostic, KeyPath};
use crate::model::{MountType, Service};
use crate::plan::lower::{self, Parent, Setting};
use crate::plan::options::Recreate;
use crate::plan::view::{is_anonymous, resting};
use crate::world::{ConfigHash, Container, ContainerSpec, MountKind, MountSpec, State, label};
use std::collections::{BTreeMap, BTreeSet};

/// A service whose container another one lives with: which, what is shared, and the path that says so.
pub(super) fn shared(service: &Service) -> Vec<(&str, &'static str, KeyPath)> {
    let mut all = Vec::new();
    for (mode, what, key) in
        [(&service.network_mode, "network", "network_mode"), (&service.ipc, "IPC namespace", "ipc"), (&service.pid, "PID namespace", "pid")]
    {
        if let Some(of) = mode.strip_prefix("service:") {
            all.push((of, what, key_of(&service.name, key)));
        }
    }
    for (i, from) in service.volumes_from.iter().enumerate().filter(|(_, from)| !from.starts_with("container:")) {
        all.push((from.split(':').next().unwrap_or(from), "volumes", key_of(&service.name, "volumes_from").index(i)));
    }
    all
}

/// Service names to the containers that `service:x` means, and the first of them that is going to be another one, in words.
pub(super) type Parents<'a> = (BTreeMap<&'a str, Parent>, Option<String>);

impl<'a> Planner<'a> {
    pub(super) fn decide_services(&mut self) {
        for name in self.order.clone() {
            match self.project.services.get(name) {
                Some(service) if self.is_selected(name) => self.decide_whole(service),
                _ => self.decide_affected(name),
            }
        }
    }

    fn decide_whole(&mut self, service: &'a Service) {
        if service.provider.is_some() {
            return;
        }
        let wanted = self.wanted(service);
        if !service.container_name.is_empty() && wanted > 1 {
            let what = format!("service {:?} can't have {wanted} containers: they can't all be called {:?}", service.name, service.container_name);
            let fault = Diagnostic::error("container-name-scale", what).at_opt(self.place(&key_of(&service.name, "container_name")));
            self.faults.push(fault.help("remove the custom name to scale the service"));
            return;
        }
        let (parents, moved) = if wanted == 0 { (BTreeMap::new(), None) } else { self.parents(service) };
        let setting = Setting { project: self.project, parents: &parents, image_id: self.image(service).map(|i| i.id.as_str()) };
        let hash = lower::config_hash(&setting, service);
        let (mut existing, leftovers) = self.sift(service);
        for (container, why) in leftovers {
            self.add(service, container.number().unwrap_or(0), Some(container), Act::Remove, why);
        }
        let mut reasons: Vec<(&'a Container, Option<String>)> =
            existing.drain(..).map(|c| (c, self.reason(service, c, &hash, setting.image_id, moved.as_deref()))).collect();
        let surplus = reasons.len().saturating_sub(wanted as usize);
        if surplus > 0 {
            // Those that differ go first, then the highest numbers.
            reasons.sort_by_key(|(c, reason)| (reason.is_none(), std::cmp::Reverse(c.number())));
            for (container, _) in reasons.drain(..surplus) {
                self.add(service, container.number().unwrap_or(0), Some(container), Act::Remove, format!("{} is scaled to {wanted}", service.name));
            }
            reasons.sort_by_key(|(c, _)| c.number());
        }
        let had = reasons.len() + surplus;
        let mut taken: BTreeSet<u32> = reasons.iter().filter_map(|(c, _)| c.number()).collect();
        let mut free = move || {
            let number = (1..).find(|n| !taken.contains(n)).unwrap_or(u32::MAX);
            taken.insert(number);
            number
        };
        for (container, reason) in reasons {
            let number = container.number().unwrap_or_else(&mut free);
            match reason {
                Some(why) => {
                    let act = if self.must_go_first(container, moved.is_some()) { Act::Replace } else { Act::Swap };
                    let i = self.add(service, number, Some(container), act, why);
                    self.create(i, &setting, hash.clone());
                    self.bounced.insert(&service.name);
                }
                None => {
                    let (act, why) = self.keep(service, container);
                    if act == Act::Restart {
                        self.bounced.insert(&service.name);
                    }
                    self.add(service, number, Some(container), act, why);
                }
            }
        }
        for _ in self.units_of(&service.name).filter(|u| u.act != Act::Remove).count()..wanted as usize {
            let why = if had == 0 { "no container yet".to_owned() } else { format!("{} is scaled to {wanted}", service.name) };
            let i = self.add(service, free(), None, Act::Create, why);
            self.create(i, &setting, hash.clone());
        }
    }

    /// The containers of a service, and those that an interrupted recreate left over.
    fn sift(&self, service: &Service) -> (Vec<&'a Container>, Vec<(&'a Container, String)>) {
        let all = self.view.of_service(&service.name);
        let replaced = |c: &Container| unfinished(c).and_then(|prefix| all.iter().find(|o| o.id.starts_with(prefix) && o.id != c.id));
        let (left, stay): (Vec<_>, Vec<_>) = all.iter().copied().partition(|c| c.state == State::Created && replaced(c).is_some());
        (stay, left.into_iter().map(|c| (c, "left over from a recreate that was interrupted".to_owned())).collect())
    }

    fn add(&mut self, service: &'a Service, number: u32, old: Option<&'a Container>, act: Act, why: impl Into<String>) -> usize {
        let name = self.project.container_name(service, number);
        let rename = !act.creates() && act != Act::Remove && old.is_some_and(|c| c.name != name && unfinished(c).is_some());
        let alive = old.is_some_and(Container::is_alive);
        let start = match act {
            Act::Keep | Act::Remove => false,
            Act::Start | Act::Unpause => true,
            Act::Restart => !self.options.no_start,
            // What nobody asked to be started goes back to what it was.
            Act::Create | Act::Swap | Act::Replace => !self.options.no_start && (alive || self.is_selected(&service.name)),
        };
        let discard = match old {
            Some(old) if act.creates() && self.renews(service) => self.anonymous_volumes(old),
            _ => Vec::new(),
        };
        let why = why.into();
        let (created_as, ports) = (String::new(), Vec::new());
        self.units.push(Unit {
            service,
            number,
            name,
            old,
            act,
            why,
            spec: None,
            created_as,
            ports,
            start,
            rename,
            discard,
            steps: Steps::default(),
        });
        self.by_service.entry(&service.name).or_default().push(self.units.len() - 1);
        self.units.len() - 1
    }

    /// An affected container of a service that isn't selected.
    pub(super) fn add_affected(&mut self, service: &'a Service, container: &'a Container, act: Act, why: String) -> usize {
        self.bounced.insert(&service.name);
        self.add(service, container.number().unwrap_or(1), Some(container), act, why)
    }

    /// Gives unit `i` the specification of its new container.
    pub(super) fn create(&mut self, i: usize, setting: &Setting, hash: ConfigHash) {
        let Some(unit) = self.units.get(i) else { return };
        let mut spec = lower::container(setting, unit.service, unit.number, hash);
        if let Some(old) = unit.old {
            spec.labels.insert(label::REPLACE.into(), format!("{}-{}", unit.service.name, unit.number));
            if !self.renews(unit.service) {
                self.inherit(&mut spec, unit.service, old);
            }
            if unit.act == Act::Swap {
                spec.name = format!("{}_{}", old.id.get(..12).unwrap_or(&old.id), unit.name);
            }
        }
        if let Some(unit) = self.units.get_mut(i) {
            unit.spec = Some(Box::new(spec));
        }
    }

    fn renews(&self, service: &Service) -> bool {
        self.options.renew_anonymous_volumes && self.selected.targets.contains(&service.name)
    }

    /// Anonymous volumes stay with the replica: those of the image's `VOLUME`s and those that the service mounts without
    /// a source. What had a name is mounted if the file says so, and not otherwise.
    fn inherit(&self, spec: &mut ContainerSpec, service: &Service, old: &Container) {
        let declared = |target: &str| {
            let same = |path: &String| path.trim_end_matches('/') == target;
            self.image(service).is_some_and(|image| image.volumes.iter().any(same))
        };
        for mount in old.mounts.iter().filter(|m| m.kind == "volume" && is_anonymous(&m.name)) {
            let kept = |labels| MountKind::Volume { name: Some(mount.name.clone()), nocopy: false, subpath: String::new(), labels, inherited: true };
            match spec.mounts.iter_mut().find(|m| m.target == mount.target) {
                Some(own) => {
                    if let MountKind::Volume { name: None, .. } = own.kind {
                        own.kind = kept(BTreeMap::new());
                    }
                }
                None if declared(&mount.target) && !spec.tmpfs.contains_key(&mount.target) => {
                    let (target, read_only) = (mount.target.clone(), mount.read_only);
                    spec.mounts.push(MountSpec { kind: kept(BTreeMap::new()), target, read_only, consistency: String::new() });
                }
                None => {}
            }
        }
    }

    /// Anonymous volumes of `container` that no other container has.
    fn anonymous_volumes(&self, container: &Container) -> Vec<String> {
        let mine = container.mounts.iter().filter(|m| m.kind == "volume" && is_anonymous(&m.name)).map(|m| m.name.as_str());
        let shared = |name: &str| self.view.containers().any(|c| c.id != container.id && c.mounts.iter().any(|m| m.name == name));
        mine.filter(|name| !shared(name)).map(str::to_owned).collect()
    }

    /// Why `container` is replaced; `None` if it isn't.
    fn reason(&self, service: &'a Service, container: &Container, hash: &ConfigHash, image: Option<&str>, moved: Option<&str>) -> Option<String> {
        if matches!(container.state, State::Dead | State::Removing) {
            return Some(format!("its container is {}", container.state.as_str()));
        }
        match self.recreate(service) {
            Recreate::Never => return None,
            Recreate::Force if self.options.recreate == Recreate::Force => return Some("asked for (--force-recreate)".into()),
            Recreate::Force if self.options.renew_anonymous_volumes => return Some("new anonymous volumes are asked for (-V)".into()),
            Recreate::Force => return Some("asked for (--always-recreate-deps)".into()),
            Recreate::Diverged => {}
        }
        if let Some(moved) = moved {
            return Some(moved.to_owned());
        }
        if let ConfigHash::Known(hash) = hash
            && container.label(label::CONFIG_HASH) != Some(hash)
        {
            return Some("configuration changed (config-hash label differs)".into());
        }
        let was = container.label(label::IMAGE).unwrap_or("");
        if let Some(is) = image.filter(|is| *is != was) {
            return Some(format!("image {} changed ({} → {})", self.project.image_of(service), short(was), short(is)));
        }
        self.loses(container).or_else(|| self.unattached(service, container)).or_else(|| self.unmounted(service, container))
    }

    /// A network or volume of `container` that is made anew, in words.
    pub(super) fn loses(&self, container: &Container) -> Option<String> {
        let network = container.networks.iter().find(|a| self.lost_networks.contains(&a.network));
        let volume = || container.mounts.iter().find(|m| m.kind == "volume" && self.lost_volumes.contains(&m.name));
        network.map(|a| format!("its network {} is made anew", a.network)).or_else(|| volume().map(|m| format!("its volume {} is made anew", m.name)))
    }

    fn unattached(&self, service: &Service, container: &Container) -> Option<String> {
        if container.state != State::Running {
            return None;
        }
        let missing = lower::network_keys(service).into_iter().filter_map(|key| self.networks.get(key)).find(|network| {
            let ids = self.view.networks.get(network.name.as_str()).map_or(&[][..], Vec::as_slice);
            let attached = |a: &&crate::world::Attachment| {
                let same_id = !a.network_id.is_empty() && (ids.iter().any(|n| n.id == a.network_id) || a.network_id == network.name);
                same_id || a.network == network.name && (a.network_id.is_empty() || !ids.is_empty() && ids.iter().all(|n| n.id.is_empty()))
            };
            !container.networks.iter().any(|a| attached(&a))
        })?;
        Some(format!("it is not connected to network {}", missing.name))
    }

    fn unmounted(&self, service: &Service, container: &Container) -> Option<String> {
        let named = service.volumes.iter().filter(|m| m.kind == MountType::Volume && !m.source.is_empty());
        let missing = named
            .filter_map(|m| self.volumes.get(m.source.as_str()))
            .find(|volume| !container.mounts.iter().any(|m| m.kind == "volume" && m.name == volume.name))?;
        Some(format!("volume {} is not mounted", missing.name))
    }

    /// Whether the old container can't stand beside the new one.
    pub(super) fn must_go_first(&self, container: &Container, parent_moves: bool) -> bool {
        parent_moves || matches!(container.state, State::Dead | State::Removing) || self.loses(container).is_some()
    }

    /// What becomes of a container that is up to date.
    ///
    /// One that ended is started again, a job that is done too: people rely on `up` to run their migrations.
    fn keep(&self, service: &'a Service, container: &Container) -> (Act, String) {
        if self.options.no_start {
            return (Act::Keep, String::new());
        }
        match container.state {
            State::Running | State::Restarting => match self.restart_reason(service, container) {
                Some(why) => (Act::Restart, why),
                None => (Act::Keep, String::new()),
            },
            State::Paused => (Act::Unpause, resting(State::Paused).into()),
            state => (Act::Start, resting(state).into()),
        }
    }

    /// Why a running container is stopped and started; `None` if it isn't.
    pub(super) fn restart_reason(&self, service: &Service, container: &Container) -> Option<String> {
        if !container.is_alive() || self.options.no_start {
            return None;
        }
        let stale = shared(service).into_iter().find(|(of, what, _)| *what != "volumes" && self.units_of(of).any(|u| u.act == Act::Start));
        if let Some((of, what, _)) = stale {
            return Some(format!("it shares the {what} of {of}, which was stopped"));
        }
        let needs = self.dependencies.get(service.name.as_str())?;
        let by = needs.iter().find(|n| n.restart && self.bounced.contains(n.on))?;
        Some(format!("{} is {}, and `restart: true` asks for it", by.on, self.what_happens(by.on)))
    }

    fn what_happens(&self, service: &str) -> &'static str {
        if self.units_of(service).any(|u| u.act.creates()) { "recreated" } else { "restarted" }
    }

    /// The containers that `service:x` means.
    pub(super) fn parents(&mut self, service: &'a Service) -> Parents<'a> {
        let (mut parents, mut moved) = (BTreeMap::new(), None);
        for (of, what, path) in shared(service) {
            let decided = self.units_of(of).filter(|u| u.act != Act::Remove).min_by(|a, b| a.name.cmp(&b.name));
            let parent = match decided {
                Some(unit) => Parent { name: unit.name.clone(), id: unit.old.filter(|_| !unit.act.creates()).map(|c| c.id.clone()) },
                None => match self.view.of_service(of).iter().filter(|_| !self.by_service.contains_key(of)).min_by_key(|c| &c.name) {
                    Some(container) => Parent { name: container.name.clone(), id: Some(container.id.clone()) },
                    None => {
                        let fault = format!("service {:?} shares the {what} of {of:?}, which has no container", service.name);
                        self.faults.push(Diagnostic::error("no-container", fault).at_opt(self.place(&path)).help(format!("bring {of} up too")));
                        continue;
                    }
                },
            };
            if parent.id.is_none() {
                moved.get_or_insert_with(|| {
                    format!("it shares the {what} of {of}, which is {}", if self.bounced.contains(of) { "recreated" } else { "created" })
                });
            }
            parents.insert(of, parent);
        }
        (parents, moved)
    }
}

/// The part of the old id in the name of a container that was to take its place and hasn't got its name yet.
fn unfinished(container: &Container) -> Option<&str> {
    container.label(label::REPLACE)?;
    let (prefix, _) = container.name.split_once('_')?;
    (prefix.len() == 12 && prefix.bytes().all(|b| b.is_ascii_hexdigit())).then_some(prefix)
}

/// `sha256:` and the first 12 digits of an image id.
fn short(id: &str) -> &str {
    match id {
        "" => "unknown",
        id => id.get(..19).unwrap_or(id),
    }
}
