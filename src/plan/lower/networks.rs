//! Networks, volumes, and a service's places on networks.

use crate::digest::sha256;
use crate::model::{Network, Project, Service, Volume};
use crate::world::{EndpointSpec, IpamPoolSpec, NetworkSpec, VolumeSpec, label};
use std::collections::BTreeMap;

/// Keys of the networks that `service` joins, the primary one first: by priority, ties by key. Empty with a
/// `network_mode`.
pub(in crate::plan) fn network_keys(service: &Service) -> Vec<&str> {
    if !service.network_mode.is_empty() || service.provider.is_some() {
        return Vec::new();
    }
    let mut keys: Vec<&str> = service.networks.keys().map(String::as_str).collect();
    keys.sort_by_key(|key| std::cmp::Reverse(service.networks.get(*key).and_then(Option::as_ref).map_or(0, |n| n.priority)));
    if keys.is_empty() { vec!["default"] } else { keys }
}

/// The real name of a network.
pub(in crate::plan) fn network_name(project: &Project, key: &str) -> String {
    match project.networks.get(key) {
        Some(network) if !network.name.is_empty() => network.name.clone(),
        _ => format!("{}_{key}", project.name),
    }
}

pub(super) fn endpoints(project: &Project, service: &Service, container: &str) -> Vec<EndpointSpec> {
    let links = links(project, service);
    let endpoint = |(i, key): (usize, &str)| {
        let place = service.networks.get(key).and_then(Option::as_ref);
        let mut aliases = vec![container.to_owned(), service.name.clone()];
        aliases.extend(place.into_iter().flat_map(|p| p.aliases.iter().cloned()));
        let mut spec = EndpointSpec { network: network_name(project, key), aliases, links: links.clone(), ..EndpointSpec::default() };
        if let Some(place) = place {
            spec.ipv4.clone_from(&place.ipv4_address);
            spec.ipv6.clone_from(&place.ipv6_address);
            spec.link_local.clone_from(&place.link_local_ips);
            spec.mac_address.clone_from(&place.mac_address);
            spec.driver_options.clone_from(&place.driver_opts);
            spec.gateway_priority = place.gw_priority;
            spec.interface_name.clone_from(&place.interface_name);
        }
        if i == 0 && spec.mac_address.is_empty() {
            spec.mac_address.clone_from(&service.mac_address);
        }
        spec
    };
    network_keys(service).into_iter().enumerate().map(endpoint).collect()
}

/// `CONTAINER:alias`, `CONTAINER:service-N` and `CONTAINER:project-service-N` for each container of a linked service.
pub(super) fn links(project: &Project, service: &Service) -> Vec<String> {
    let mut links = Vec::new();
    for link in &service.links {
        let (linked, alias) = link.split_once(':').unwrap_or((link, link));
        let Some(target) = project.service(linked) else { continue };
        for number in 1..=target.replicas() {
            let container = project.container_name(target, number);
            links.push(format!("{container}:{alias}"));
            links.push(format!("{container}:{linked}-{number}"));
            links.push(format!("{container}:{}-{linked}-{number}", project.name));
        }
    }
    links
}

/// The labels of a network of the project but for the hash.
pub(in crate::plan) fn network_labels(project: &Project, key: &str, network: &Network) -> BTreeMap<String, String> {
    let mut labels = network.labels.clone();
    labels.insert(label::PROJECT.into(), project.name.clone());
    labels.insert(label::NETWORK.into(), key.to_owned());
    labels.insert(label::VERSION.into(), env!("CARGO_PKG_VERSION").into());
    labels
}

/// A network of the project.
pub(in crate::plan) fn network_spec(project: &Project, key: &str, network: &Network) -> NetworkSpec {
    let mut labels = network_labels(project, key, network);
    labels.insert(label::CONFIG_HASH.into(), sha256(crate::model::network_json(network)));
    let pool = |p: &crate::model::IpamPool| IpamPoolSpec {
        subnet: p.subnet.clone(),
        ip_range: p.ip_range.clone(),
        gateway: p.gateway.clone(),
        aux_addresses: p.aux_addresses.clone(),
    };
    NetworkSpec {
        name: network_name(project, key),
        driver: network.driver.clone(),
        driver_options: network.driver_opts.clone(),
        ipam_driver: network.ipam.driver.clone(),
        ipam_options: network.ipam.options.clone(),
        pools: network.ipam.pools.iter().map(pool).collect(),
        internal: network.internal,
        attachable: network.attachable,
        ipv4: network.enable_ipv4,
        ipv6: network.enable_ipv6,
        labels,
    }
}

/// A volume of the project.
pub(in crate::plan) fn volume_spec(project: &Project, key: &str, volume: &Volume) -> VolumeSpec {
    let mut labels = volume.labels.clone();
    labels.insert(label::PROJECT.into(), project.name.clone());
    labels.insert(label::VOLUME.into(), key.to_owned());
    labels.insert(label::VERSION.into(), env!("CARGO_PKG_VERSION").into());
    labels.insert(label::CONFIG_HASH.into(), sha256(crate::model::volume_json(volume)));
    VolumeSpec {
        name: if volume.name.is_empty() { format!("{}_{key}", project.name) } else { volume.name.clone() },
        driver: volume.driver.clone(),
        driver_options: volume.driver_opts.clone(),
        labels,
    }
}
