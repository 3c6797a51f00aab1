//! What can't be done with a service, said at its line before anything is touched.

use super::images::parse_policy;
use super::lower;
use crate::diag::{Diagnostic, KeyPath, Places, Segment};
use crate::model::{MountType, Project, Service};
use crate::world::{Capabilities, image_path};

/// Faults and warnings of `services`.
pub(super) fn services(services: &[&Service], project: &Project, capabilities: &Capabilities, places: Places) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for service in services {
        let own = KeyPath::of(["services", service.name.as_str()]);
        let mut put = |path: KeyPath, fault: Diagnostic| found.push(fault.at_opt(places(&path)));
        words(service, &own, &mut put);
        files(service, project, &own, &mut put);
        gaps(service, capabilities, &own, &mut put);
        refused(service, capabilities, &own, &mut put);
    }
    refused_resources(project, capabilities, &mut |path, fault| found.push(fault.at_opt(places(&path))));
    found
}

type Put<'p> = &'p mut dyn FnMut(KeyPath, Diagnostic);

fn words(service: &Service, own: &KeyPath, put: Put) {
    if let Err(word) = lower::restart_policy(service) {
        let key = if service.deploy.as_ref().is_some_and(|d| d.restart_policy.as_ref().is_some_and(|p| p.condition == word)) {
            own.key("deploy").key("restart_policy").key("condition")
        } else {
            own.key("restart")
        };
        let fault = Diagnostic::error("invalid-restart", format!("{word:?} is no restart policy"));
        put(key, fault.help("use no, always, on-failure[:attempts] or unless-stopped"));
    }
    if let Err(word) = parse_policy(&service.pull_policy) {
        let fault = Diagnostic::error("invalid-pull-policy", format!("{word:?} is no pull policy"));
        put(own.key("pull_policy"), fault.help("use always, missing, never, daily, weekly or every_<duration>"));
    }
    if let Some(check) = &service.healthcheck
        && check.start_interval.is_some()
        && check.start_period.is_none()
    {
        let fault = Diagnostic::error("start-interval-alone", "`start_interval` needs `start_period`, the time in which it applies");
        put(own.key("healthcheck").key("start_interval"), fault.help("add `start_period`"));
    }
    for (i, option) in service.security_opt.iter().enumerate() {
        let alone = matches!(option.as_str(), "no-new-privileges" | "systempaths=unconfined");
        if !alone && !option.contains(['=', ':']) {
            let fault = Diagnostic::error("invalid-security-option", format!("security option {option:?} has no value"));
            put(own.key("security_opt").index(i), fault.help("write it as `name=value`"));
        }
    }
}

/// Secrets and configs in ways that no engine here knows.
fn files(service: &Service, project: &Project, own: &KeyPath, put: Put) {
    let mut check = |kind: &str, i: usize, source: &str, external: bool, driver: bool, mounted: bool, owned: bool| {
        let path = own.key(format!("{kind}s")).index(i);
        if external {
            let fault = Diagnostic::error("external-file", format!("unsupported external {kind} {source:?}: no engine keeps {kind}s"));
            put(path, fault.help(format!("give the {kind} a `file:` or `environment:`")));
        } else if driver {
            put(path, Diagnostic::error("file-driver", format!("{kind} {source:?} has a driver, and no engine here knows drivers of {kind}s")));
        } else if mounted && owned {
            let fault = Diagnostic::warning("file-owner", format!("`uid`, `gid` and `mode` of {kind} {source:?} are not applied"));
            put(path, fault.help("it is mounted from a file and keeps that file's owner and mode"));
        }
    };
    for (i, r) in service.secrets.iter().enumerate() {
        if let Some(s) = project.secrets.get(&r.source) {
            let owned = !(r.uid.is_empty() && r.gid.is_empty() && r.mode.is_none());
            let driver = !(s.driver.is_empty() && s.template_driver.is_empty());
            check("secret", i, &r.source, s.external, driver, !s.file.is_empty(), owned);
        }
    }
    for (i, r) in service.configs.iter().enumerate() {
        if let Some(c) = project.configs.get(&r.source) {
            let owned = !(r.uid.is_empty() && r.gid.is_empty() && r.mode.is_none());
            let driver = !(c.driver.is_empty() && c.template_driver.is_empty());
            check("config", i, &r.source, c.external, driver, !c.file.is_empty(), owned);
        }
    }
}

/// What the engine has no way for.
fn gaps(service: &Service, can: &Capabilities, own: &KeyPath, put: Put) {
    if let Some((scheme, _)) = image_path(&service.image).filter(|_| !can.image_files) {
        let what = if scheme == "rootfs" { "a folder as an image" } else { "an archive as an image" };
        let fault = Diagnostic::error("engine-cannot", format!("this engine can't take {what}: {}", service.image));
        put(own.key("image"), fault.help("name an image of a registry, or use the embedded engine: as root, with --engine embedded"));
    }
    if service.image.strip_prefix("rootfs:").is_some_and(|path| path.trim_matches('/').is_empty()) && !can.boots_folders {
        let fault = Diagnostic::error("engine-cannot", "this engine can't be given the whole machine as an image: rootfs:/");
        put(own.key("image"), fault.help("use the embedded engine, which boots it where it is (as root, --engine embedded), or name a folder"));
    }
    let mut error = |path: KeyPath, what: &str| {
        put(path, Diagnostic::error("engine-cannot", format!("this engine can't do {what}")).help("take it out, or use an engine that can"));
    };
    for (i, device) in service.devices.iter().enumerate().filter(|(_, d)| !can.cdi && lower::is_cdi_name(&d.source)) {
        error(own.key("devices").index(i), &format!("devices by name of the Container Device Interface ({})", device.source));
    }
    for (i, mount) in service.volumes.iter().enumerate() {
        let path = own.key("volumes").index(i);
        if mount.kind == MountType::Image && !can.image_mounts {
            error(path.clone(), "mounts of images");
        }
        if mount.volume.as_ref().is_some_and(|v| !v.subpath.is_empty()) && !can.volume_subpath {
            error(path.key("volume").key("subpath"), "mounts of a part of a volume");
        }
        if mount.bind.as_ref().is_some_and(|b| !b.recursive.is_empty()) && !can.recursive_readonly {
            error(path.key("bind").key("recursive"), "a choice about recursive bind mounts");
        }
    }
    for (key, path) in [("links", &service.links), ("external_links", &service.external_links)] {
        if !path.is_empty() && !can.links {
            error(own.key(key), "links");
        }
    }
    let mut macs = 0;
    for (key, place) in service.networks.iter().filter_map(|(key, place)| Some((key, place.as_ref()?))) {
        let path = own.key("networks").key(key);
        if !place.interface_name.is_empty() && !can.interface_name {
            error(path.key("interface_name"), "names of interfaces");
        }
        macs += usize::from(!place.mac_address.is_empty());
        if macs > 1 && !place.mac_address.is_empty() && !can.mac_by_network {
            error(path.key("mac_address"), "several MAC addresses for one container");
        }
    }
    let mut warning = |path: KeyPath, what: &str| put(path, Diagnostic::warning("engine-cannot", format!("this engine {what}")));
    if service.healthcheck.as_ref().is_some_and(|h| h.start_interval.is_some()) && !can.start_interval {
        warning(own.key("healthcheck").key("start_interval"), "doesn't know `start_interval`; probes come every `interval` from the start");
    }
    if !service.annotations.is_empty() && !can.annotations {
        warning(own.key("annotations"), "doesn't know annotations; they are left out");
    }
    if !service.dns.is_empty() && !service.networks.is_empty() && !can.own_dns {
        let what = "asks its own name server first, which knows the services and else asks the host's; the servers of `dns` come after it";
        warning(own.key("dns"), what);
    }
    for (key, place) in &service.networks {
        if place.as_ref().is_some_and(|p| p.gw_priority != 0) && !can.gateway_priority {
            warning(own.key("networks").key(key).key("gw_priority"), "doesn't know `gw_priority`; it chooses the default gateway itself");
        }
    }
}

/// A pattern of [`Capabilities::refused`].
struct Pattern<'p> {
    path: Vec<&'p str>,
    /// Beginnings of values that are meant; none means all.
    begins: Vec<&'p str>,
    /// Values that are not meant.
    but: Vec<&'p str>,
}

impl<'p> Pattern<'p> {
    fn read(text: &'p str) -> Self {
        let (text, but) = text.split_once("!=").unwrap_or((text, ""));
        let (text, begins) = text.split_once('~').unwrap_or((text, ""));
        let list = |words: &'p str| words.split('|').filter(|w| !w.is_empty()).collect();
        Self { path: text.split('.').collect(), begins: list(begins), but: list(but) }
    }

    fn means(&self, value: &serde_json::Value) -> bool {
        let text = value.as_str().unwrap_or_default();
        (self.begins.is_empty() || self.begins.iter().any(|b| text.starts_with(b))) && !self.but.contains(&text)
    }
}

/// Keys of a service that the engine says it can't honour.
fn refused(service: &Service, can: &Capabilities, own: &KeyPath, put: Put) {
    if can.refused.is_empty() && can.ignored.is_empty() {
        return;
    }
    // The model has string keys only.
    let Ok(tree) = serde_json::to_value(service) else { return };
    sift(&tree, "services.*.", can, own, put);
}

/// Keys of networks and volumes that the engine says it can't honour.
fn refused_resources(project: &Project, can: &Capabilities, put: Put) {
    let mut each = |kind: &str, key: &str, external: bool, tree: serde_json::Result<serde_json::Value>| {
        if let (false, Ok(tree)) = (external, tree) {
            sift(&tree, &format!("{kind}.*."), can, &KeyPath::of([kind, key]), put);
        }
    };
    for (key, network) in &project.networks {
        each("networks", key, network.external, serde_json::to_value(network));
    }
    for (key, volume) in &project.volumes {
        each("volumes", key, volume.external, serde_json::to_value(volume));
    }
}

fn sift(tree: &serde_json::Value, kind: &str, can: &Capabilities, own: &KeyPath, put: Put) {
    let mut each = |patterns: &[(&str, &str)], fault: &dyn Fn(&str, &str) -> Diagnostic| {
        for (text, why) in patterns.iter().filter_map(|(p, why)| Some((p.strip_prefix(kind)?, *why))) {
            let pattern = Pattern::read(text);
            let mut hits = Vec::new();
            walk(tree, &pattern.path, own.clone(), &mut hits);
            for (path, _) in hits.into_iter().filter(|(_, value)| pattern.means(value)) {
                let key = path.last_key().unwrap_or(text).to_owned();
                put(path, fault(&key, why));
            }
        }
    };
    each(&can.refused, &|key, why| {
        let fault = Diagnostic::error("engine-cannot", format!("this engine can't honour `{key}`: {why}"));
        fault.help("take it out, or use an engine that can")
    });
    each(&can.ignored, &|key, why| Diagnostic::warning("engine-cannot", format!("this engine leaves `{key}` out: {why}")));
}

/// The places in `tree` that match, and what is there; `*` stands for any key or item. Nulls are nothing.
fn walk<'t>(tree: &'t serde_json::Value, pattern: &[&str], path: KeyPath, hits: &mut Vec<(KeyPath, &'t serde_json::Value)>) {
    use serde_json::Value;
    let Some((first, rest)) = pattern.split_first() else {
        if !tree.is_null() {
            hits.push((path, tree));
        }
        return;
    };
    match tree {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(key, _)| *first == "*" || key == first) {
                walk(value, rest, path.key(key), hits);
            }
        }
        Value::Array(items) => {
            let rest = if *first == "*" { rest } else { pattern };
            for (i, item) in items.iter().enumerate() {
                let mut path = path.clone();
                path.0.push(Segment::Index(i));
                walk(item, rest, path, hits);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_reach_into_maps_and_lists() {
        let tree = serde_json::json!({"isolation": "x", "volumes": [{"bind": {"selinux": "z"}}, {"bind": {}}], "command": null});
        let hit = |pattern: &str| {
            let mut hits = Vec::new();
            walk(&tree, &pattern.split('.').collect::<Vec<_>>(), KeyPath::root(), &mut hits);
            hits.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(hit("isolation"), ["isolation"]);
        assert_eq!(hit("volumes.*.bind.selinux"), ["volumes[0].bind.selinux"]);
        assert_eq!(hit("volumes.bind.selinux"), ["volumes[0].bind.selinux"]);
        assert!(hit("command").is_empty());
        assert!(hit("missing.*").is_empty());
    }

    #[test]
    fn patterns_choose_values() {
        let means = |pattern: &str, value: &str| Pattern::read(pattern).means(&value.into());
        assert!(means("a.b", "x") && means("a!=b|c", "x") && !means("a!=b|c", "c"));
        assert!(means("a~lab|app", "apparmor=x") && !means("a~lab|app", "seccomp=x"));
        assert!(means("a~app!=app:no", "app:x") && !means("a~app!=app:no", "app:no"));
    }
}
