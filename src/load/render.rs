//! What `config` prints. Everything ends with a line break, except where nothing is printed.

use super::MANY_SERVICES;
use super::check::takes;
use super::keys::{Identity, Merge, Object, Others, ROOT, SERVICE, Shape};
use super::lower;
use super::merge::{NOT_UNIFIED, child, item_shape};
use super::request::Loaded;
use crate::digest::sha256;
use crate::model::{Project, Service, pretty_json, service_json};
use crate::yaml::{self, Node};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How a project is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// YAML, with every `x-…` key.
    #[default]
    Yaml,
    /// JSON, as the configuration hashes see it: `x-…` keys at the top level only.
    Json,
}

/// The project in canonical form. Dollar signs are doubled, so that it can be read again; files that were loaded without
/// interpolation are written with their expressions.
pub fn config(loaded: &Loaded, format: Format) -> String {
    pinned(loaded, format, &BTreeMap::new())
}

/// As [`config`], with other names for the images in `pins`.
pub fn pinned(loaded: &Loaded, format: Format, pins: &BTreeMap<String, String>) -> String {
    if loaded.uninterpolated {
        let root = loaded.provenance.root();
        let mut tree = if format == Format::Json { lower::json(root) } else { lower::yaml(root) };
        pin(&mut tree, pins);
        return match format {
            Format::Json => {
                for section in NOT_UNIFIED {
                    if let Some(value) = tree.get_mut(section) {
                        *value = without_empty_lists(value.take());
                    }
                }
                pretty(&bare(tree, &Shape::Object(&ROOT), Merge::Deep))
            }
            Format::Yaml => yaml::emit(&sorted(tree)),
        };
    }
    let text = match format {
        Format::Json => {
            let mut value = serde_json::to_value(&loaded.project).unwrap_or_default();
            value.get_mut("services").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut).for_each(without_label_files);
            pin(&mut value, pins);
            let mut top: BTreeMap<String, Value> = match value {
                Value::Object(map) => map.into_iter().collect(),
                _ => BTreeMap::new(),
            };
            // Nor does the reference's JSON have them.
            top.remove("models");
            let extensions = loaded.provenance.root().as_map().into_iter().flatten().filter(|e| e.key.starts_with("x-"));
            top.extend(extensions.map(|e| (e.key.clone(), without_empty_lists(lower::json(&e.value)))));
            pretty(&top)
        }
        Format::Yaml => project_yaml(loaded, pins),
    };
    if text.contains('$') { text.replace('$', "$$") } else { text }
}

/// What they say is among the labels.
fn without_label_files(service: &mut Value) {
    service.as_object_mut().map(|service| service.shift_remove("label_file"));
}

/// The services one by one: the tree of a large project would be larger than all that was read for it.
fn project_yaml(loaded: &Loaded, pins: &BTreeMap<String, String>) -> String {
    let project = &loaded.project;
    let others = Project {
        name: project.name.clone(),
        networks: project.networks.clone(),
        volumes: project.volumes.clone(),
        secrets: project.secrets.clone(),
        configs: project.configs.clone(),
        models: project.models.clone(),
        ..Project::default()
    };
    let root = loaded.provenance.root();
    let mut others = serde_json::to_value(&others).unwrap_or_default();
    view(&mut others, root, &Shape::Object(&ROOT));

    let mut services: Vec<&Service> = project.services.values().collect();
    services.sort_by(|a, b| yaml::natural(&a.name, &b.name));
    let written = |services: &[&Service]| {
        let mut out = String::with_capacity(services.len() * 1024);
        services.iter().for_each(|service| service_yaml(service, root.get("services"), pins, &mut out));
        out
    };
    let (one, other) = services.split_at(if services.len() < MANY_SERVICES { services.len() } else { services.len() / 2 });
    let mut parts = std::thread::scope(|scope| {
        let other = (!other.is_empty()).then(|| scope.spawn(|| written(other)));
        let one = written(one);
        // A panic there is one here.
        [one, other.map_or_else(String::new, |thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))]
    });

    let mut out = String::new();
    for (key, value) in others.as_object().into_iter().flatten() {
        if key == "services" && !services.is_empty() {
            out.push_str("services:\n");
            out.extend(parts.iter_mut().map(std::mem::take));
        } else {
            yaml::emit_entry(key, value, 0, &mut out);
        }
    }
    out
}

fn service_yaml(service: &Service, nodes: Option<&Node>, pins: &BTreeMap<String, String>, out: &mut String) {
    let mut value = serde_json::to_value(service).unwrap_or_default();
    without_label_files(&mut value);
    pin_image(&mut value, pins);
    match nodes.and_then(|nodes| nodes.get(&service.name)) {
        Some(node) => view(&mut value, node, &Shape::Object(&SERVICE)),
        None => sort(&mut value),
    }
    yaml::emit_entry(&service.name, &value, 2, out);
}

fn pin(tree: &mut Value, pins: &BTreeMap<String, String>) {
    for service in tree.get_mut("services").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        pin_image(service, pins);
    }
}

fn pin_image(service: &mut Value, pins: &BTreeMap<String, String>) {
    if let Some(image) = service.get_mut("image")
        && let Some(name) = image.as_str().and_then(|image| pins.get(image))
    {
        *image = json!(name);
    }
}

/// A file to lay over the others: the services with their images as in `pins`, and nothing else.
pub fn images_only(loaded: &Loaded, format: Format, pins: &BTreeMap<String, String>) -> String {
    let typed_json = format == Format::Json && !loaded.uninterpolated;
    let service = |service: &Service| {
        let mut map = Map::new();
        if typed_json {
            map.extend(["command", "entrypoint"].map(|key| (key.to_owned(), Value::Null)));
        }
        if !service.image.is_empty() {
            map.insert("image".into(), json!(pins.get(&service.image).unwrap_or(&service.image)));
        }
        Value::Object(map)
    };
    let disabled = loaded.project.disabled.iter().filter(|_| loaded.uninterpolated);
    let services = by_keys(loaded.project.services.iter().chain(disabled).map(|(name, s)| (name.clone(), service(s))));
    match format {
        Format::Json if typed_json => pretty(&json!({ "name": "", "services": services })),
        Format::Json => pretty(&json!({ "services": services })),
        Format::Yaml => yaml::emit(&json!({ "services": services })),
    }
}

/// Names of the enabled services, dependencies first.
pub fn services(project: &Project) -> Vec<String> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for name in project.services.keys() {
        // Chains can be longer than the stack is deep.
        let mut open: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut next = seen.insert(name.as_str()).then_some(name.as_str());
        loop {
            if let Some(name) = next.take() {
                let needs = project.services.get(name).into_iter().flat_map(|s| s.depends_on.keys().map(String::as_str));
                open.push((name, needs.filter(|on| project.services.contains_key(*on)).rev().collect()));
            }
            let Some((name, needs)) = open.last_mut() else { break };
            match needs.pop() {
                Some(on) => next = seen.insert(on).then_some(on),
                None => {
                    order.push((*name).to_owned());
                    open.pop();
                }
            }
        }
    }
    order
}

/// Image of each enabled service, in the order of services.
pub fn images(project: &Project) -> Vec<String> {
    project.services.values().map(|s| project.image_of(s)).collect()
}

/// References of the models that services use.
pub fn models(project: &Project) -> Vec<String> {
    project.models.values().map(|m| m.model.clone()).filter(|m| !m.is_empty()).collect()
}

/// Every profile that some service names, sorted.
pub fn profiles(project: &Project) -> Vec<String> {
    let all: BTreeSet<String> = project.services.values().chain(project.disabled.values()).flat_map(|s| s.profiles.iter().cloned()).collect();
    all.into_iter().collect()
}

/// `KEY=value` of the environment for interpolation, sorted.
pub fn environment(project: &Project) -> Vec<String> {
    project.environment.iter().map(|(k, v)| format!("{k}={v}")).collect()
}

/// Name and configuration hash of each enabled service, as Docker Compose prints them: of a project that was loaded without
/// its env files, of which the hash takes the names. Label files are among the labels.
pub fn hashes(project: &Project) -> Vec<(String, String)> {
    let default = project.environment.get("DOCKER_DEFAULT_PLATFORM").filter(|p| !p.is_empty());
    let hash = |service: &Service| {
        let mut service = service.clone();
        service.label_files.clear();
        if let Some(platform) = default
            && service.build.is_some()
            && service.platform.is_empty()
        {
            service.platform.clone_from(platform);
        }
        sha256(service_json(&service))
    };
    project.services.iter().map(|(name, service)| (name.clone(), hash(service))).collect()
}

/// The variables that the files mention, as a table.
pub fn variables(loaded: &Loaded) -> String {
    let header = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned);
    let rows = loaded
        .variables
        .iter()
        .map(|(name, v)| [name.clone(), v.required.to_string(), v.default.clone().unwrap_or_default(), v.alternate.clone().unwrap_or_default()]);
    let rows: Vec<[String; 4]> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0).max(17) + 3;
    rows.iter().map(|r| format!("{:a$}{:b$}{:c$}{}\n", r[0], r[1], r[2], r[3], a = width(0), b = width(1), c = width(2))).collect()
}

/// The variables that the files mention, as YAML.
pub fn variables_yaml(loaded: &Loaded) -> String {
    let all = loaded.variables.iter().map(|(name, v)| {
        let value = json!({
            "name": name,
            "defaultvalue": v.default.as_deref().unwrap_or_default(),
            "presencevalue": v.alternate.as_deref().unwrap_or_default(),
            "required": v.required,
        });
        (name.clone(), value)
    });
    // Its only YAML that is indented by four.
    let deeper = |line: &str| {
        let indent = line.len() - line.trim_start_matches(' ').len();
        format!("{:1$}{line}\n", "", indent.min(4))
    };
    yaml::emit(&by_keys(all)).lines().map(deeper).collect()
}

/// The variables that the files mention, as JSON.
pub fn variables_json(loaded: &Loaded) -> String {
    let all: Map<String, Value> = loaded
        .variables
        .iter()
        .map(|(name, v)| {
            let value = json!({
                "Name": name,
                "DefaultValue": v.default.as_deref().unwrap_or_default(),
                "PresenceValue": v.alternate.as_deref().unwrap_or_default(),
                "Required": v.required,
            });
            (name.clone(), value)
        })
        .collect();
    pretty(&all)
}

fn pretty<T: serde::Serialize>(value: &T) -> String {
    pretty_json(value) + "\n"
}

/// As the reference's JSON has values of no type: an empty list is `null`.
fn without_empty_lists(value: Value) -> Value {
    match value {
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Array(items) => items.into_iter().map(without_empty_lists).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, without_empty_lists(value))).collect(),
        value => value,
    }
}

/// The same of a whole tree; lists that are freed of duplicates stay empty lists, unless variables are looked up in them.
fn bare(value: Value, shape: &Shape, rule: Merge) -> Value {
    match value {
        Value::Array(items) if items.is_empty() => match rule {
            Merge::Unique(Identity::Subnet) => Value::Null,
            Merge::Unique(_) | Merge::Values => Value::Array(items),
            _ => Value::Null,
        },
        Value::Array(items) => items.into_iter().map(|item| bare(item, item_shape(shape), Merge::Deep)).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| {
                let (shape, rule) = child(shape, &key, rule);
                let looked_up = matches!(key.as_str(), "environment" | "args");
                let value = bare(value, shape, if looked_up { Merge::Deep } else { rule });
                (key, value)
            })
            .collect(),
        value => value,
    }
}

/// Mappings by their keys, as YAML has them.
fn sorted(mut value: Value) -> Value {
    sort(&mut value);
    value
}

fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(sort),
        Value::Object(map) => {
            map.values_mut().for_each(sort);
            sort_keys(map);
        }
        _ => {}
    }
}

fn sort_keys(map: &mut Map<String, Value>) {
    if !map.keys().is_sorted_by(|a, b| yaml::natural(a, b).is_le()) {
        let mut entries: Vec<(String, Value)> = std::mem::take(map).into_iter().collect();
        entries.sort_by(|(a, _), (b, _)| yaml::natural(a, b));
        map.extend(entries);
    }
}

fn by_keys(entries: impl Iterator<Item = (String, Value)>) -> Value {
    let mut map = entries.collect();
    sort_keys(&mut map);
    Value::Object(map)
}

/// From the JSON of the model to what YAML shows: `x-…` keys come back, and what JSON writes only because it can't leave
/// it out goes.
fn view(value: &mut Value, node: &Node, shape: &Shape) {
    let shape = match shape {
        // A resource without anything is `null` in the file and an object in the model.
        Shape::Either(shapes) => {
            let object = |s: &&Shape| value.is_object() && matches!(s, Shape::Object(_));
            shapes.iter().find(object).or_else(|| shapes.iter().find(|s| takes(s, node))).unwrap_or(&Shape::Any)
        }
        shape => shape,
    };
    match (shape, value) {
        (Shape::Object(object), Value::Object(map)) => view_object(map, node, object),
        (Shape::Map(of), Value::Object(map)) => {
            for (key, value) in map.iter_mut() {
                match node.get(key) {
                    Some(node) => view(value, node, of.value),
                    None => sort(value),
                }
            }
            sort_keys(map);
        }
        (Shape::List(list), Value::Array(items)) => {
            items.iter_mut().zip(node.as_seq().unwrap_or_default()).for_each(|(value, node)| view(value, node, list.item));
        }
        (Shape::Any, value) => sort(value),
        _ => {}
    }
}

fn view_object(map: &mut Map<String, Value>, node: &Node, object: &Object) {
    // The only capital letters are those of two structures without names for JSON.
    if map.keys().any(|key| key.bytes().any(|b| b.is_ascii_uppercase())) {
        *map = std::mem::take(map).into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect();
    }
    map.retain(|key, value| {
        if let (Some(node), Some(known)) = (node.get(key), object.key(key)) {
            view(value, node, &known.shape);
        }
        match key.as_str() {
            "command" | "entrypoint" => !value.is_null(),
            "resources" | "placement" | "ipam" => !value.as_object().is_some_and(Map::is_empty),
            "exec" => !value.get("command").is_some_and(Value::is_null),
            _ => true,
        }
    });
    if object.key("soft").is_some() {
        for key in ["soft", "hard"] {
            let value = map.shift_remove(key).unwrap_or_else(|| json!(0));
            map.insert(key.to_owned(), value);
        }
    }
    if object.others != Others::Refused {
        let own = node.as_map().into_iter().flatten().filter(|e| e.key.starts_with("x-"));
        if let Value::Object(own) = by_keys(own.map(|e| (e.key.clone(), sorted(lower::yaml(&e.value))))) {
            map.extend(own);
        }
    }
}
