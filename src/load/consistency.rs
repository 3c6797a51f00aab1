//! Whether a project makes sense as a whole: references lead somewhere, and no two keys contradict each other.

use super::keys::ROOT;
use super::provenance::Provenance;
use super::unknown::Unknown;
use crate::diag::{Diagnostic, KeyPath, Span, did_you_mean};
use crate::model::{MountType, Project, Service};
use std::collections::BTreeMap;
use std::path::Path;

/// Faults of the enabled services and of the resources. Of `faulty` services no more is judged than stands by itself; what
/// hangs on an `unknown` scalar is not judged at all.
pub(super) fn check(
    project: &Project,
    places: &Provenance,
    faulty: &dyn Fn(&str, &str) -> bool,
    unknown: &Unknown,
    folder: &Path,
) -> Vec<Diagnostic> {
    let mut check = Check { project, places, unknown, folder, faults: Vec::new() };
    for service in project.services.values() {
        let at = KeyPath::of(["services", service.name.as_str()]);
        let whole = !faulty("services", &service.name);
        if whole {
            check.image(service, &at);
            check.targets(service, &at);
        }
        check.build(service, &at);
        check.references(service, &at);
        check.numbers(service, &at);
    }
    check.container_names();
    check.resources(faulty);
    let known = |d: &Diagnostic| !d.span.iter().chain(d.related.iter().map(|(span, _)| span)).any(|span| unknown.holds(*span));
    check.faults.retain(known);
    check.faults
}

struct Check<'a> {
    project: &'a Project,
    places: &'a Provenance,
    unknown: &'a Unknown,
    /// The project directory.
    folder: &'a Path,
    faults: Vec<Diagnostic>,
}

impl Check<'_> {
    fn fault(&mut self, code: &'static str, at: &KeyPath, message: String, help: impl Into<String>) -> &mut Diagnostic {
        let fault = Diagnostic::error(code, message).at_opt(self.places.nearest(at)).help(help);
        self.faults.push(fault);
        let last = self.faults.len() - 1;
        &mut self.faults[last]
    }

    /// Where an image comes from.
    fn image(&mut self, service: &Service, at: &KeyPath) {
        let name = &service.name;
        if service.image.is_empty() && service.build.is_none() && service.provider.is_none() {
            let others = self.project.services.values().filter(|s| s.name != *name && !s.image.is_empty() && name.len() > 2).map(|s| s.name.as_str());
            let help = match did_you_mean(name, others) {
                Some(near) => format!("did you mean the service `{near}`? Otherwise add `image: …`"),
                None => "add `image: …`, or `build: …`".to_owned(),
            };
            self.fault("no-image", at, format!("the service {name:?} has neither `image` nor `build`"), help);
        }
    }

    fn build(&mut self, service: &Service, at: &KeyPath) {
        let name = &service.name;
        let Some(build) = &service.build else { return };
        let at = at.key("build");
        if !build.dockerfile.is_empty() && !build.dockerfile_inline.is_empty() {
            let other = self.places.key(&at.key("dockerfile"));
            let message = format!("the service {name:?} has two Dockerfiles");
            let fault = self.fault("conflict", &at.key("dockerfile_inline"), message, "take `dockerfile` or `dockerfile_inline` out");
            fault.related.extend(other.map(|span| (span, "the other one".to_owned())));
        }
        for (key, context) in &build.additional_contexts {
            let Some(target) = context.strip_prefix("service:") else { continue };
            let at = at.key("additional_contexts").key(key);
            match self.project.service(target) {
                None => self.unknown("service", target, &at, &format!("{name:?} builds with the image of"), self.project.services.keys()),
                Some(other) if other.build.is_none() => {
                    self.fault(
                        "conflict",
                        &at,
                        format!("{name:?} builds with the service {target:?}, which has no `build`"),
                        "name its image with `docker-image://…`",
                    );
                }
                Some(_) => {}
            }
        }
        if !build.platforms.is_empty() && !service.platform.is_empty() && !build.platforms.contains(&service.platform) {
            let message = format!("{name:?} runs on {:?}, which its build doesn't make", service.platform);
            let wanted = self.places.value(&at.parent().key("platform"));
            let fault = self.fault("conflict", &at.key("platforms"), message, format!("add `{}` to `platforms`", service.platform));
            fault.related.extend(wanted.map(|span| (span, "the platform it runs on".to_owned())));
        }
    }

    fn unknown<'a>(&mut self, kind: &str, key: &str, at: &KeyPath, who: &str, known: impl Iterator<Item = &'a String>) {
        let section = format!("{kind}s");
        if self.is_lost(&section) {
            return;
        }
        if key.is_empty() {
            let at = if at.last_key() == Some("source") { at.parent() } else { at.clone() };
            let help = format!("add `source: …`, the key of a {kind}");
            self.fault("missing-key", &at, format!("`{at}` doesn't say which {kind} it is"), help);
            return;
        }
        let known: Vec<&String> = known.collect();
        let declared = match kind {
            "secret" | "config" => format!("{{file: ./{key}}}"),
            "model" => "{model: …}".to_owned(),
            _ => "{}".to_owned(),
        };
        let help = match did_you_mean(key, known.iter().map(|k| k.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None if kind == "service" => format!("the services are: {}", known.into_iter().cloned().collect::<Vec<_>>().join(", ")),
            None if kind == "volume" && self.folder.join(key).exists() => {
                format!("if `{key}` of the project's folder is meant, write `./{key}`; a volume is declared by `volumes: {{{key}: {{}}}}`")
            }
            None => format!("declare it at the top level: `{section}: {{{key}: {declared}}}`"),
        };
        let code = match kind {
            "network" => "undefined-network",
            "volume" => "undefined-volume",
            "secret" => "undefined-secret",
            "config" => "undefined-config",
            "model" => "undefined-model",
            _ => "undefined-service",
        };
        self.fault(code, at, format!("{who} the {kind} {key:?}, which is not declared"), help);
    }

    /// Whether what looks like this section has a fault in its name or place, so that nothing is declared in it.
    fn is_lost(&self, section: &str) -> bool {
        let root = self.places.root();
        let misspelt = |key: &str| ROOT.key(key).is_none() && did_you_mean(key, ROOT.keys.iter().map(|k| k.name)) == Some(section);
        let top = root.as_map().into_iter().flatten().any(|e| misspelt(&e.key));
        top || root.get("services").is_some_and(|services| services.get(section).is_some())
    }

    fn references(&mut self, service: &Service, at: &KeyPath) {
        let project = self.project;
        let name = &service.name;
        let uses = format!("the service {name:?} uses");
        if !service.network_mode.is_empty() && !service.networks.is_empty() {
            let other = self.places.key(&at.key("networks"));
            let fault = self.fault(
                "conflict",
                &at.key("network_mode"),
                format!("the service {name:?} has both `network_mode` and `networks`"),
                "take one of them out",
            );
            fault.related.extend(other.map(|span| (span, "the other one".to_owned())));
        }
        for key in service.networks.keys().filter(|k| !project.networks.contains_key(*k) && service.network_mode.is_empty()) {
            self.unknown("network", key, &at.key("networks").key(key), &uses, project.networks.keys());
        }
        for (i, mount) in service.volumes.iter().enumerate() {
            if mount.kind != MountType::Volume || mount.source.is_empty() || project.volumes.contains_key(&mount.source) {
                continue;
            }
            let at = at.key("volumes").index(i).key("source");
            if mount.source.contains('/') {
                let message = format!("{uses} the volume {:?}, which can't be a name", mount.source);
                self.fault("undefined-volume", &at, message, format!("if it is a path of the host, write `./{}`", mount.source));
            } else {
                self.unknown("volume", &mount.source, &at, &uses, project.volumes.keys());
            }
        }
        let build_secrets =
            service.build.iter().flat_map(|b| b.secrets.iter().enumerate()).map(|(i, s)| (at.key("build").key("secrets").index(i), s));
        let own = service.secrets.iter().enumerate().map(|(i, s)| (at.key("secrets").index(i), s));
        for (at, secret) in own.chain(build_secrets).filter(|(_, s)| !project.secrets.contains_key(&s.source)).collect::<Vec<_>>() {
            self.unknown("secret", &secret.source, &at.key("source"), &uses, project.secrets.keys());
        }
        for (i, config) in service.configs.iter().enumerate().filter(|(_, c)| !project.configs.contains_key(&c.source)) {
            self.unknown("config", &config.source, &at.key("configs").index(i).key("source"), &uses, project.configs.keys());
        }
        for key in service.models.keys().filter(|k| !project.models.contains_key(*k)) {
            self.unknown("model", key, &at.key("models").key(key), &uses, project.models.keys());
        }
        self.dependencies(service, at);
        if let Some(first) = service.healthcheck.as_ref().and_then(|h| h.test.first())
            && !matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE")
        {
            let message = format!("the probe of {name:?} begins with {first:?}");
            let help = match did_you_mean(first, ["CMD", "CMD-SHELL", "NONE"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("put `\"CMD\"` in front: `[\"CMD\", \"{first}\", …]`"),
            };
            self.fault("bad-probe", &at.key("healthcheck").key("test").index(0), message, help);
        }
    }

    fn dependencies(&mut self, service: &Service, at: &KeyPath) {
        let project = self.project;
        for (on, dependency) in &service.depends_on {
            if project.services.contains_key(on) {
                continue;
            }
            let implied = self.places.value(&at.key("depends_on").key(on)).is_some_and(|place| {
                let inside = |other: Span| other.source == place.source && other.start <= place.start && place.end <= other.end;
                let origins = ["links", "volumes_from", "network_mode", "ipc", "pid", "uts", "cgroup"];
                origins.iter().filter_map(|key| self.places.value(&at.key(*key))).any(inside)
            });
            let at = at.key("depends_on").key(on);
            match project.disabled.get(on) {
                None => {
                    let who = format!("the service {:?} depends on", service.name);
                    let others: Vec<String> = project.services.keys().filter(|k| **k != service.name).map(|k| format!("`{k}`")).collect();
                    let help = match did_you_mean(on, project.services.keys().filter(|k| **k != service.name).map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None if others.is_empty() => format!("declare it: `services: {{{on}: …}}`, or take the dependency out"),
                        None if others.len() == 1 => format!("the only other service is {}", others.join("")),
                        None => format!("the other services are {}", others.join(", ")),
                    };
                    self.fault("undefined-service", &at, format!("{who} the service {on:?}, which is not declared"), help);
                }
                Some(_) if !dependency.required => {}
                Some(other) => {
                    let profiles: Vec<String> = other.profiles.iter().map(|p| format!("`--profile {p}`")).collect();
                    let message = format!("the service {:?} depends on {on:?}, which no active profile enables", service.name);
                    self.fault(
                        "dependency-disabled",
                        &at,
                        message,
                        if implied {
                            format!("add {}, or give {:?} the same profiles", profiles.join(" or "), service.name)
                        } else {
                            format!("add {}, or say `required: false`", profiles.join(" or "))
                        },
                    );
                }
            }
        }
    }

    fn numbers(&mut self, service: &Service, at: &KeyPath) {
        let name = &service.name;
        let deploy = service.deploy.as_ref();
        let limits = deploy.and_then(|d| d.resources.limits.as_ref());
        let reservations = deploy.and_then(|d| d.resources.reservations.as_ref());
        let limit = |what: &str| at.key("deploy").key("resources").key("limits").key(what);
        let mut pairs: Vec<(KeyPath, KeyPath)> = Vec::new();
        if let (Some(scale), Some(replicas)) = (service.scale, deploy.and_then(|d| d.replicas))
            && scale != replicas
        {
            pairs.push((at.key("scale"), at.key("deploy").key("replicas")));
        }
        if let Some(limits) = limits {
            if service.cpus != 0.0 && service.cpus.to_bits() != limits.cpus.to_bits() {
                pairs.push((at.key("cpus"), limit("cpus")));
            }
            if !service.mem_limit.is_zero() && service.mem_limit != limits.memory {
                pairs.push((at.key("mem_limit"), limit("memory")));
            }
            if service.pids_limit != 0 && service.pids_limit != limits.pids {
                pairs.push((at.key("pids_limit"), limit("pids")));
            }
        }
        if let Some(reservations) = reservations
            && !service.mem_reservation.is_zero()
            && service.mem_reservation != reservations.memory
        {
            pairs.push((at.key("mem_reservation"), at.key("deploy").key("resources").key("reservations").key("memory")));
        }
        for (one, other) in pairs {
            let place = self.places.nearest(&other);
            let message = format!("`{one}` and `{other}` say different things");
            self.fault("conflict", &one, message, "take one of them out, or make them equal")
                .related
                .extend(place.map(|s| (s, "the other one".to_owned())));
        }
        if service.replicas() > 1 && !service.container_name.is_empty() {
            let number = if service.scale.is_some() { at.key("scale") } else { at.key("deploy").key("replicas") };
            let place = self.places.nearest(&number);
            let message = format!("{name:?} can't have {} containers of one name", service.replicas());
            let fault =
                self.fault("conflict", &at.key("container_name"), message, "take `container_name` out; each container then gets a name of its own");
            fault.related.extend(place.map(|s| (s, "the number of containers".to_owned())));
        }
        let requests = reservations.map(|r| r.devices.as_slice()).unwrap_or_default();
        let devices = at.key("deploy").key("resources").key("reservations").key("devices");
        for (at, request) in requests
            .iter()
            .enumerate()
            .map(|(i, r)| (devices.index(i), r))
            .chain(service.gpus.iter().enumerate().map(|(i, r)| (at.key("gpus").index(i), r)))
        {
            if request.count != 0 && !request.device_ids.is_empty() {
                let count = self.places.key(&at.key("count"));
                let fault =
                    self.fault("conflict", &at.key("device_ids"), format!("`{at}` has both `count` and `device_ids`"), "take one of them out");
                fault.related.extend(count.map(|span| (span, "the other one".to_owned())));
            }
        }
        for (i, trigger) in service.develop.iter().flat_map(|d| d.watch.iter().enumerate()) {
            if trigger.target.is_empty() && !matches!(trigger.action.as_str(), "rebuild" | "restart") {
                let at = at.key("develop").key("watch").index(i);
                self.fault("missing-key", &at, format!("`{at}` lacks the key `target`"), "add `target: …`, the path in the container");
            }
        }
    }

    /// Two mounts can't have one target.
    fn targets(&mut self, service: &Service, at: &KeyPath) {
        let mut seen: BTreeMap<&str, KeyPath> = BTreeMap::new();
        let tmpfs = service.tmpfs.iter().enumerate().map(|(i, t)| (t.split(':').next().unwrap_or_default(), at.key("tmpfs").index(i)));
        let volumes = service.volumes.iter().enumerate().map(|(i, m)| (m.target.as_str(), at.key("volumes").index(i)));
        for (target, path) in tmpfs.chain(volumes) {
            match seen.get(target) {
                Some(first) => {
                    let place = self.places.value(first);
                    let message = format!("`{path}` and `{first}` are mounted at the same place, {target}");
                    self.fault("conflict", &path, message, "take one of them out").related.extend(place.map(|s| (s, "the other one".to_owned())));
                }
                None => _ = seen.insert(target, path),
            }
        }
    }

    fn container_names(&mut self) {
        let mut seen: BTreeMap<&str, &Service> = BTreeMap::new();
        for service in self.project.services.values().filter(|s| !s.container_name.is_empty()) {
            let at = |s: &Service| KeyPath::of(["services", s.name.as_str(), "container_name"]);
            if self.is_unknown(&["services", &service.name, "container_name"]) {
                continue;
            }
            if let Some(first) = seen.insert(&service.container_name, service) {
                let place: Option<Span> = self.places.nearest(&at(first));
                let message = format!("{:?} and {:?} want the same container name, {:?}", first.name, service.name, service.container_name);
                self.fault("conflict", &at(service), message, "give one of them another name")
                    .related
                    .extend(place.map(|s| (s, "the other one".to_owned())));
            }
        }
    }

    /// The value at the path has a scalar inside of which nothing is known.
    fn is_unknown(&self, keys: &[&str]) -> bool {
        let node = keys.iter().try_fold(self.places.root(), |node, key| node.get(key));
        node.is_some_and(|node| self.unknown.inside(node))
    }

    fn resources(&mut self, faulty: &dyn Fn(&str, &str) -> bool) {
        for (key, volume) in self.project.volumes.iter().filter(|(_, v)| v.external) {
            let at = KeyPath::of(["volumes", key.as_str()]);
            let settings =
                [(!volume.driver.is_empty(), "driver"), (!volume.driver_opts.is_empty(), "driver_opts"), (!volume.labels.is_empty(), "labels")];
            let said: Vec<&str> = settings.into_iter().filter(|(said, _)| *said).map(|(_, name)| name).collect();
            let [first, rest @ ..] = &said[..] else { continue };
            let names = said.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
            let others: Vec<Span> = rest.iter().filter_map(|name| self.places.key(&at.key(*name))).collect();
            let message = format!("the volume {key:?} is external, so {names} can't be set here");
            let fault = self.fault("conflict", &at.key(*first), message, format!("take {names} out, or `external`"));
            fault.related.extend(others.into_iter().map(|span| (span, "nor this".to_owned())));
        }
        let secrets =
            self.project.secrets.iter().map(|(key, s)| ("secrets", key, s.external, vec![("file", &s.file), ("environment", &s.environment)]));
        let configs = self.project.configs.iter().map(|(key, c)| {
            (
                "configs",
                key,
                c.external || !c.driver.is_empty() || self.places.key(&KeyPath::of(["configs", key, "external"])).is_some(),
                vec![("file", &c.file), ("environment", &c.environment), ("content", &c.content)],
            )
        });
        for (section, key, elsewhere, sources) in secrets.chain(configs).collect::<Vec<_>>() {
            let at = KeyPath::of([section, key.as_str()]);
            let said: Vec<&str> = sources.iter().filter(|(k, _)| self.places.key(&at.key(*k)).is_some()).map(|(k, _)| *k).collect();
            let all = sources.iter().map(|(k, _)| format!("`{k}`")).collect::<Vec<_>>().join(", ");
            if said.len() > 1 {
                let (first, second) = (at.key(said[0]), at.key(said[1]));
                let place = self.places.key(&first);
                let message = format!("`{at}` has {}", said.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(" and "));
                self.fault("conflict", &second, message, "take one of them out").related.extend(place.map(|s| (s, "the other one".to_owned())));
            } else if said.is_empty() && !elsewhere && !faulty(section, key) && !self.is_unknown(&[section, key]) {
                self.fault("missing-key", &at, format!("`{at}` doesn't say where it comes from"), format!("add one of {all}, or `external: true`"));
            }
        }
    }
}
