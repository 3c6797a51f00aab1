//! Gates and ports: what a start waits for, and what would make it fail.

use super::{Planner, Unit, key_of};
use crate::diag::Diagnostic;
use crate::model::{Condition, Service};
use crate::plan::images::policy;
use crate::plan::lower;
use crate::plan::options::PullPolicy;
use crate::plan::view::Needed;
use crate::world::PortSpec;
use std::collections::BTreeMap;

impl<'a> Planner<'a> {
    /// The dependencies that a start of `service` waits for: those in the plan, with containers.
    pub(super) fn gates_of(&self, service: &str) -> Vec<Needed<'a>> {
        let needs = self.dependencies.get(service).map_or(&[][..], Vec::as_slice);
        let has_containers = |on: &str| self.units_of(on).any(|u| u.act != super::Act::Remove);
        let known = |on: &str| self.project.services.get(on).is_some_and(|s| s.provider.is_none());
        needs.iter().filter(|n| known(n.on) && has_containers(n.on)).cloned().collect()
    }

    /// Whether a start of a container of `service` is in the plan.
    fn starts(&self, service: &str) -> bool {
        self.units_of(service).any(|u| u.start)
    }

    /// `service_healthy` of something that has no health check can never be passed.
    pub(super) fn check_gates(&mut self) {
        let mut found = Vec::new();
        for service in self.chosen().into_iter().filter(|s| self.starts(&s.name)) {
            for needed in self.gates_of(&service.name).iter().filter(|n| n.condition == Condition::Healthy) {
                let Some(on) = self.project.services.get(needed.on) else { continue };
                if self.has_healthcheck(on) {
                    continue;
                }
                let what = format!("service {:?} waits until {:?} is healthy, but {:?} has no health check", service.name, needed.on, needed.on);
                let depends_on = key_of(&service.name, "depends_on").key(needed.on);
                let place = self.place(&depends_on.key("condition")).or_else(|| self.place(&depends_on));
                let fault = if needed.required { Diagnostic::error("no-healthcheck", what) } else { Diagnostic::warning("no-healthcheck", what) };
                found.push(fault.at_opt(place).help(format!("add a `healthcheck` to {:?}, or wait with `condition: service_started`", needed.on)));
            }
        }
        let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(Diagnostic::is_error);
        self.faults.extend(errors);
        self.plan.notes.extend(warnings);
    }

    /// Whether containers of `service` have a health check, as far as that is known; an image that isn't here may have
    /// one.
    fn has_healthcheck(&self, service: &Service) -> bool {
        let own = service.healthcheck.as_ref();
        if own.is_some_and(|h| h.disable || h.test.first().is_some_and(|t| t == "NONE")) {
            return false;
        }
        own.is_some_and(|h| !h.test.is_empty())
            || self.image(service).is_none_or(|i| i.healthcheck.as_ref().is_some_and(|h| !h.is_none() && !h.test.is_empty()))
    }

    /// Images that are needed, not here and not fetched.
    pub(super) fn check_images(&mut self) {
        for service in self.chosen() {
            let creates = self.units_of(&service.name).any(|u| u.act.creates());
            let policy = policy(service, self.options.pull).unwrap_or_default();
            let reference = self.project.image_of(service);
            let fetched = self.fetches.contains_key(&(reference.clone(), lower::platform(self.project, service)));
            let here = self.image(service).is_some();
            if let Some(build) = &service.build {
                let place = self.place(&key_of(&service.name, "build"));
                let context = if build.context.is_empty() { "." } else { &build.context };
                let by_hand = format!("build it by hand: docker build -t {reference} {context}");
                if fetched && !here {
                    let what = format!("image {reference:?} is not here; building is not available yet, so it is fetched instead");
                    self.plan.notes.push(Diagnostic::warning("build-unavailable", what).at_opt(place).help(by_hand));
                } else if creates && !here {
                    let what = format!("image {reference:?} of service {:?} is not here, and building is not available yet", service.name);
                    self.faults.push(Diagnostic::error("build-unavailable", what).at_opt(place).help(by_hand));
                } else if policy == PullPolicy::Build && !service.image.is_empty() {
                    let what = format!("image {reference:?} is used as it is: building is not available yet");
                    self.plan.notes.push(Diagnostic::warning("build-unavailable", what).at_opt(place).help(by_hand));
                }
            } else if creates && !here && !fetched {
                let platform = lower::platform(self.project, service);
                let made_for = platform.as_ref().map(|p| format!(" for platform {p}")).unwrap_or_default();
                let what = format!("image {reference:?} of service {:?} is not here{made_for}", service.name);
                let help = match policy {
                    // It was fetched, and the registry gave another one.
                    _ if self.options.pulled && platform.is_some() => "take `platform` out, or choose an image that is made for it".to_owned(),
                    PullPolicy::Never => format!("the pull policy is `never`: fetch it by hand (docker pull {reference}), or choose another policy"),
                    _ => format!("fetch it by hand: docker pull {reference}"),
                };
                self.faults.push(Diagnostic::error("image-missing", what).at_opt(self.place(&key_of(&service.name, "image"))).help(help));
            }
        }
    }

    /// Values of secrets and configs, for services of which something is started.
    pub(super) fn check_files(&mut self) {
        for service in self.chosen() {
            if !self.units_of(&service.name).any(|u| u.start || u.act.creates()) {
                continue;
            }
            if let Err(faults) = lower::files(self.project, service) {
                let placed = faults.into_iter().map(|(path, fault)| fault.at_opt(self.place(&path))).collect::<Vec<_>>();
                self.faults.extend(placed);
            }
        }
    }

    /// Two containers that want the same port of the host. Jobs are left out: they may be over when the other starts.
    pub(super) fn check_ports(&mut self) {
        let mut wanted: BTreeMap<(u16, String), Vec<(usize, usize)>> = BTreeMap::new();
        for (u, unit) in self.units.iter().enumerate().filter(|(_, u)| u.start && !self.is_job(&u.service.name)) {
            let Some(spec) = &unit.spec else { continue };
            for (p, port) in spec.ports.iter().enumerate() {
                if let Ok(number) = port.published.parse::<u16>()
                    && number != 0
                {
                    wanted.entry((number, port.protocol.clone())).or_default().push((u, p));
                }
            }
        }
        let mut found = Vec::new();
        for ((number, protocol), users) in wanted {
            let address = |&(u, p): &(usize, usize)| self.units.get(u).and_then(|u| u.spec.as_ref()?.ports.get(p)).map_or("", |p| p.host_ip.as_str());
            let clash = users.iter().enumerate().find_map(|(i, b)| users.iter().take(i).find(|a| overlaps(address(a), address(b))).map(|a| (*a, *b)));
            let Some(((a, pa), (b, pb))) = clash else { continue };
            let (Some(a), Some(b)) = (self.units.get(a), self.units.get(b)) else { continue };
            let same = a.service.name == b.service.name;
            let what = if same && a.number != b.number {
                format!("{} containers of service {:?} can't all have port {number}/{protocol} of the host", users.len(), a.service.name)
            } else {
                format!("{} and {} both want port {number}/{protocol} of the host", a.name, b.name)
            };
            let at = |unit: &Unit, port: usize| self.place(&key_of(&unit.service.name, "ports").index(port));
            let help = if same { "publish a range with a port for each, or none" } else { "give one of them another port" };
            let mut fault = Diagnostic::error("port-clash", what).at_opt(at(b, pb)).help(help);
            if let Some(first) = at(a, pa).filter(|s| Some(*s) != fault.span) {
                fault = fault.related(first, "the other one");
            }
            found.push(fault);
        }
        self.faults.extend(found);
    }
}

/// Whether two addresses of the host have a port in common; empty means all, `0.0.0.0` and `::` all of their kind.
pub(super) fn overlaps(a: &str, b: &str) -> bool {
    let covers = |a: &str, b: &str| match a {
        "" => true,
        "0.0.0.0" => !b.contains(':'),
        "::" => b.is_empty() || b.contains(':'),
        _ => a == b,
    };
    covers(a, b) || covers(b, a)
}

/// Fixed ports that a published port can become: one, all of a range, or none that is known before.
pub(super) fn host_ports(port: &PortSpec) -> impl Iterator<Item = u16> + use<> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|n| *n != 0);
    let range = match port.published.split_once('-') {
        Some((first, last)) => number(first).zip(number(last)),
        None => number(&port.published).map(|n| (n, n)),
    };
    range.into_iter().flat_map(|(first, last)| first..=last)
}
