//! What is declared and used by nobody.

use super::Search;
use crate::model::{MountType, Service};
use crate::yaml::Node;
use std::collections::BTreeSet;

pub(super) fn find(search: &mut Search<'_>) {
    let services: Vec<&Service> = search.services().collect();
    if services.is_empty() {
        return;
    }
    let volumes = services
        .iter()
        .flat_map(|s| s.volumes.iter().filter(|m| matches!(m.kind, MountType::Volume | MountType::Cluster)).map(|m| m.source.as_str()));
    let networks = services.iter().flat_map(|s| s.networks.keys().map(String::as_str).chain([s.network_mode.as_str()]));
    let build = services.iter().flat_map(|s| s.build.iter().flat_map(|b| b.secrets.iter().map(|r| r.source.as_str())));
    let secrets = services.iter().flat_map(|s| s.secrets.iter().map(|r| r.source.as_str())).chain(build);
    let configs = services.iter().flat_map(|s| s.configs.iter().map(|r| r.source.as_str()));
    let used: [(&str, &str, BTreeSet<&str>); 4] = [
        ("volumes", "volume", volumes.collect()),
        ("networks", "network", networks.collect()),
        ("secrets", "secret", secrets.collect()),
        ("configs", "config", configs.collect()),
    ];
    let root = search.loaded.provenance.root();
    for (section, kind, used) in used {
        for entry in root.get(section).and_then(Node::as_map).into_iter().flatten() {
            if entry.value.implied || entry.key == "default" || used.contains(entry.key.as_str()) {
                continue;
            }
            let message = format!("no service uses the {kind} {:?}", entry.key);
            let help = match kind {
                "network" => "name it under `networks` of a service, or take it out",
                "volume" => "mount it with `volumes` of a service, or take it out",
                _ => "name it at a service, or take it out",
            };
            search.warn("unused-resource", Some(entry.key_span), message, help);
        }
    }
}
