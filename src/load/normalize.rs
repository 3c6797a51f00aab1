//! What a project means without saying it: default values, the `default` network, implicit dependencies, real names,
//! values of the environment, env and label files.

use super::canonical::{dependency, entry};
use super::dotenv;
use super::loader::Loader;
use super::paths::{items_mut, map_mut};
use super::read::{Strictness, read};
use super::scalar;
use super::short::clean;
use super::trace::{Layer, Origin};
use super::trail::Trail;
use crate::diag::{SourceId, Span};
use crate::yaml::{Entry, Mapping, Node, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// A text that goes without saying.
fn implied(span: Span, text: impl Into<String>) -> Node {
    Node::implied(span, Value::String(text.into()))
}

/// Default values that hold whether a project is normalized or not.
pub(super) fn defaults(root: &mut Mapping) {
    for service in services(root) {
        let Value::Map(service) = &mut service.value.value else { continue };
        for secret in items_mut(service, "secrets") {
            let span = secret.span;
            if let Value::Map(map) = &mut secret.value
                && !map.contains("target")
                && let Some(source) = map.get("source").and_then(Node::as_str)
            {
                let target = format!("/run/secrets/{source}");
                map.push_new(entry("target", implied(span, target)));
            }
        }
        for port in items_mut(service, "ports") {
            let span = port.span;
            let Value::Map(map) = &mut port.value else { continue };
            for (key, value) in [("protocol", "tcp"), ("mode", "ingress")] {
                if !map.contains(key) {
                    map.push_new(entry(key, implied(span, value)));
                }
            }
        }
        items_mut(service, "gpus").iter_mut().for_each(all_devices);
        if let Some(reservations) = map_mut(service, "deploy").and_then(|d| map_mut(d, "resources")).and_then(|r| map_mut(r, "reservations")) {
            items_mut(reservations, "devices").iter_mut().for_each(all_devices);
        }
        for (dependency, required) in map_mut(service, "depends_on").into_iter().flat_map(Mapping::iter_mut).map(|e| (e.key_span, &mut e.value)) {
            if let Value::Map(map) = &mut required.value
                && !map.contains("required")
            {
                map.push_new(entry("required", Node::implied(dependency, Value::Bool(true))));
            }
        }
        for file in items_mut(service, "env_file") {
            let span = file.span;
            if let Value::Map(map) = &mut file.value
                && !map.contains("required")
            {
                map.push_new(entry("required", Node::implied(span, Value::Bool(true))));
            }
        }
        if let Some(Value::Seq(servers)) = service.get_mut("dns").map(|n| &mut n.value) {
            // `dns: ["${DNS}"]` with an empty variable asks for no server.
            servers.retain(|s| s.as_str() != Some(""));
        }
    }
}

/// A request that says neither how many nor which asks for all.
fn all_devices(request: &mut Node) {
    let span = request.span;
    if let Value::Map(map) = &mut request.value
        && !map.contains("count")
        && !map.contains("device_ids")
    {
        map.push_new(entry("count", implied(span, "all")));
    }
}

fn services(root: &mut Mapping) -> impl Iterator<Item = &mut Entry> {
    map_mut(root, "services").into_iter().flat_map(Mapping::iter_mut)
}

/// Everything else that goes without saying.
pub(super) fn normalize(root: &mut Mapping, name: &str, environment: &BTreeMap<String, String>) {
    networks(root);
    for service in services(root) {
        let key_span = service.key_span;
        let Value::Map(service) = &mut service.value.value else { continue };
        if let Some(policy) = service.get_mut("pull_policy")
            && policy.as_str() == Some("if_not_present")
        {
            policy.value = Value::String("missing".into());
        }
        if let Some(build) = map_mut(service, "build") {
            if !build.contains("dockerfile") && !build.contains("dockerfile_inline") {
                build.push_new(entry("dockerfile", implied(key_span, "Dockerfile")));
            }
            if let Some(args) = map_mut(build, "args") {
                values(args, environment);
                args.retain(|e| e.value.value != Value::Null);
            }
            if let Some(Value::Seq(args)) = build.get_mut("args").map(|n| &mut n.value) {
                args.retain(|a| a.as_str().is_some_and(|text| text.contains('=')));
            }
        }
        if let Some(variables) = map_mut(service, "environment") {
            values(variables, environment);
        }
        for mount in items_mut(service, "volumes") {
            if let Value::Map(map) = &mut mount.value
                && let Some(Value::String(target)) = map.get_mut("target").map(|t| &mut t.value)
                && !target.is_empty()
            {
                *target = clean(target);
            }
        }
        dependencies(service, key_span);
    }
    names(root, name);
}

/// Variables without a value take that of the environment, if it has one.
fn values(variables: &mut Mapping, environment: &BTreeMap<String, String>) {
    for variable in variables.iter_mut().filter(|v| v.value.value == Value::Null) {
        if let Some(value) = environment.get(&variable.key) {
            variable.value.value = Value::String(value.clone());
            variable.value.variables = vec![variable.key.clone()];
        }
    }
}

/// Services that say nothing of networks join `default`, which needs no section of its own.
fn networks(root: &mut Mapping) {
    let mut used = None;
    for service in services(root) {
        let key_span = service.key_span;
        let Value::Map(service) = &mut service.value.value else { continue };
        if service.contains("provider") || service.contains("network_mode") {
            continue;
        }
        match service.get_mut("networks").map(|n| &mut n.value) {
            Some(Value::Map(networks)) if !networks.is_empty() => {
                if networks.contains("default") {
                    used = used.or(networks.entry("default").map(|e| e.key_span));
                }
            }
            _ => {
                let default = Entry { key: "default".into(), key_span, value: Node::implied(key_span, Value::Null) };
                let networks = Node::implied(key_span, Value::Map([default].into_iter().collect()));
                service.insert(Entry { key: "networks".into(), key_span, value: networks });
                used = used.or(Some(key_span));
            }
        }
    }
    let Some(span) = used else { return };
    let default = Entry { key: "default".into(), key_span: span, value: Node::implied(span, Value::Null) };
    match map_mut(root, "networks") {
        Some(networks) if networks.contains("default") => {}
        Some(networks) => networks.push_new(default),
        None => _ = root.insert(entry("networks", Node::implied(span, Value::Map([default].into_iter().collect())))),
    }
}

/// Links, shared namespaces and `volumes_from` make dependencies.
fn dependencies(service: &mut Mapping, key_span: Span) {
    let mut implied: Vec<(String, Span, bool)> = Vec::new();
    let items = |service: &Mapping, key: &str| -> Vec<(String, Span)> {
        let items = service.get(key).and_then(Node::as_seq).unwrap_or_default();
        items.iter().filter_map(|i| Some((i.as_str()?.to_owned(), i.span))).collect()
    };
    for (link, span) in items(service, "links") {
        let name = match link.split(':').collect::<Vec<_>>()[..] {
            [name, _] => name.to_owned(),
            _ => link.clone(),
        };
        implied.push((name, span, true));
    }
    for namespace in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(namespace)
            && let Some(name) = node.as_str().and_then(|s| s.strip_prefix("service:"))
        {
            implied.push((name.to_owned(), node.span, true));
        }
    }
    for (from, span) in items(service, "volumes_from") {
        if !from.starts_with("container:") {
            implied.push((from.split(':').next().unwrap_or_default().to_owned(), span, false));
        }
    }
    if implied.is_empty() {
        return;
    }
    if map_mut(service, "depends_on").is_none() {
        service.insert(entry("depends_on", Node::implied(key_span, Value::Map(Mapping::new()))));
    }
    let Some(known) = map_mut(service, "depends_on") else { return };
    for (name, span, restart) in implied {
        if !known.contains(&name) {
            known.push_new(entry(&name, dependency(span, Some(restart))));
        }
    }
}

/// Resources have real names: their own, or the project's and their key, or the key alone if they are external.
fn names(root: &mut Mapping, project: &str) {
    for section in ["networks", "volumes", "configs", "secrets"] {
        for resource in map_mut(root, section).into_iter().flat_map(Mapping::iter_mut) {
            let (key, span) = (resource.key.clone(), resource.key_span);
            if resource.value.value == Value::Null {
                resource.value.value = Value::Map(Mapping::new());
            }
            let Value::Map(map) = &mut resource.value.value else { continue };
            if map.get("name").is_none_or(|n| n.value == Value::Null) {
                let external = map.get("external").and_then(scalar::boolean).unwrap_or(false);
                map.insert(entry("name", implied(span, if external { key } else { format!("{project}_{key}") })));
            }
        }
    }
}

impl Loader<'_> {
    /// Reads the env files of the enabled services into their environments, which go before them.
    pub(super) fn env_files(&mut self, root: &mut Mapping, enabled: &dyn Fn(&str) -> bool, environment: &BTreeMap<String, String>) {
        for service in services(root).filter(|s| enabled(&s.key)) {
            let name = service.key.clone();
            let Value::Map(service) = &mut service.value.value else { continue };
            if let Some(variables) = map_mut(service, "environment") {
                values(variables, environment);
            }
            let Some(files) = service.remove("env_file") else { continue };
            let span = files.value.span;
            let own = service.remove("environment");
            let own_span = own.as_ref().map_or(span, |e| e.value.span);
            let own_key = own.as_ref().map_or(files.key_span, |e| e.key_span);
            let mut own = match own.map(|e| e.value.value) {
                Some(Value::Map(map)) => map,
                _ => Mapping::new(),
            };
            values(&mut own, environment);
            let said: BTreeMap<String, String> =
                own.iter().filter_map(|e| Some((e.key.clone(), scalar::text(&e.value).filter(|_| e.value.value != Value::Null)?))).collect();
            let mut found: indexmap::IndexMap<String, Entry> = indexmap::IndexMap::new();
            for (i, file) in files.value.as_seq().unwrap_or_default().iter().enumerate() {
                let services = Trail::ROOT.key("services");
                let (service_at, key) = (services.key(&name), "env_file");
                let list = service_at.key(key);
                let read = self.env_file(file, &list.index(i), environment, &said, &found);
                self.trace_side(&service_at.key("environment"), &read, Origin::EnvFile(file.span));
                found.extend(read);
            }
            let mut result = Mapping::new();
            found.into_values().filter(|e| own.get(&e.key).is_none()).for_each(|e| result.push_new(e));
            own.into_iter().for_each(|e| result.push_new(e));
            if !result.is_empty() {
                service.push_new(Entry { key: "environment".into(), key_span: own_key, value: Node::new(own_span, Value::Map(result)) });
            }
        }
    }

    fn env_file(
        &mut self,
        file: &Node,
        at: &Trail<'_>,
        environment: &BTreeMap<String, String>,
        said: &BTreeMap<String, String>,
        found: &indexmap::IndexMap<String, Entry>,
    ) -> indexmap::IndexMap<String, Entry> {
        let nothing = indexmap::IndexMap::new();
        let Some(node) = file.get("path") else { return nothing };
        let Some(path) = node.as_str().filter(|_| !self.unknown.is(node)) else { return nothing };
        let required = file.get("required").and_then(scalar::boolean).unwrap_or(true);
        if !required && !Path::new(path).exists() {
            return nothing;
        }
        let Some((source, content)) = self.side_file(path, node.span, "env file", at) else { return nothing };
        let raw = file.get("format").and_then(Node::as_str) == Some("raw");
        let variables = if raw {
            dotenv::parse_raw(source, &content, &mut self.diagnostics)
        } else {
            let earlier: BTreeMap<String, String> = found.iter().filter_map(|(k, e)| Some((k.clone(), e.value.as_str()?.to_owned()))).collect();
            let lookup = |name: &str| environment.get(name).or_else(|| said.get(name)).or_else(|| earlier.get(name)).cloned();
            dotenv::parse(source, &content, &lookup, &mut self.diagnostics)
        };
        let entries = variables.into_iter().filter_map(|(key, v)| {
            let value = v.value.or_else(|| environment.get(&key).cloned())?;
            Some((key.clone(), Entry { key, key_span: v.key_span, value: Node::new(v.span, Value::String(value)) }))
        });
        entries.collect()
    }

    /// Remembers what a file beside the Compose files says about a mapping of a service.
    fn trace_side(&mut self, at: &Trail<'_>, entries: &indexmap::IndexMap<String, Entry>, origin: Origin) {
        let Some(trace) = &mut self.trace else { return };
        let Some(span) = entries.values().next().map(|e| e.key_span) else { return };
        let node = Node::new(span, Value::Map(entries.values().cloned().collect()));
        trace.bases.push(Layer { at: at.path(), node, origin });
    }

    /// Reads the label files of the enabled services into their labels, which go before them. Unlike env files they stay
    /// named: the reference hashes their names.
    pub(super) fn label_files(&mut self, root: &mut Mapping, enabled: &dyn Fn(&str) -> bool) {
        for service in services(root).filter(|s| enabled(&s.key)) {
            let name = service.key.clone();
            let Value::Map(service) = &mut service.value.value else { continue };
            let Some(files) = service.entry("label_file").cloned() else { continue };
            let mut found: indexmap::IndexMap<String, Entry> = indexmap::IndexMap::new();
            for (i, file) in files.value.as_seq().unwrap_or_default().iter().enumerate() {
                let Some(path) = file.as_str().filter(|_| !self.unknown.is(file)) else { continue };
                let services = Trail::ROOT.key("services");
                let service_at = services.key(&name);
                let list = service_at.key("label_file");
                let Some((source, content)) = self.side_file(path, file.span, "label file", &list.index(i)) else { continue };
                let earlier: BTreeMap<String, String> = found.iter().filter_map(|(k, e)| Some((k.clone(), e.value.as_str()?.to_owned()))).collect();
                let mut read: indexmap::IndexMap<String, Entry> = indexmap::IndexMap::new();
                for (key, label) in dotenv::parse(source, &content, &|name| earlier.get(name).cloned(), &mut self.diagnostics) {
                    // A name alone says nothing.
                    let Some(value) = label.value else { continue };
                    read.insert(key.clone(), Entry { key, key_span: label.key_span, value: Node::new(label.span, Value::String(value)) });
                }
                self.trace_side(&service_at.key("labels"), &read, Origin::LabelFile(file.span));
                found.extend(read);
            }
            let (key_span, span, own) = match service.remove("labels") {
                Some(Entry { key_span, value: Node { span, value: Value::Map(own), .. }, .. }) => (key_span, span, own),
                _ => (files.key_span, files.value.span, Mapping::new()),
            };
            for label in own {
                found.insert(label.key.clone(), label);
            }
            let mut labels = Mapping::new();
            found.into_values().for_each(|e| labels.push_new(e));
            if !labels.is_empty() {
                service.push_new(Entry { key: "labels".into(), key_span, value: Node::new(span, Value::Map(labels)) });
            }
        }
    }

    /// A file that a service names, as a source of its own.
    fn side_file(&mut self, path: &str, span: Span, what: &str, at: &Trail<'_>) -> Option<(SourceId, String)> {
        let shown = self.shown(Path::new(path));
        let before = self.diagnostics.len();
        let found = read(&shown, Path::new(path), Some(span), Strictness::Lenient, &mut self.sources, &mut self.diagnostics);
        let cure = if what == "env file" { "create it, or say `required: false` beside its `path`" } else { "create it, or take it out" };
        for fault in self.diagnostics.iter_mut().skip(before).filter(|d| d.span == Some(span)) {
            fault.label = Some(format!("{what} of {}", at.name()));
            if fault.code == "no-such-file" && !fault.help.as_ref().is_some_and(|h| h.starts_with("did you mean")) {
                fault.help = Some(cure.to_owned());
            }
        }
        found
    }
}
