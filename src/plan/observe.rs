//! What must be looked at before a plan.

use super::{images, lower};
use crate::graph;
use crate::model::{MountType, Project, Selection, Service};
use crate::world::{ImageQuery, ObserveQuery};
use std::collections::BTreeSet;

/// The images of the selected services, and the networks and volumes that have no label of the project: external ones,
/// and those with a name of their own, which may be somebody else's.
pub(super) fn query(project: &Project, selection: &Selection) -> ObserveQuery {
    let selected = graph::select(project, selection).map(|s| s.services).unwrap_or_default();
    let services: Vec<&Service> = selected.iter().filter_map(|name| project.services.get(name)).filter(|s| s.provider.is_none()).collect();
    let mut images: BTreeSet<ImageQuery> = BTreeSet::new();
    for service in &services {
        images.insert(ImageQuery { reference: project.image_of(service), platform: lower::platform(project, service) });
        images.extend(images::image_mounts(project, service).map(|reference| ImageQuery { reference, platform: None }));
    }
    let keys: BTreeSet<&str> = services.iter().flat_map(|s| lower::network_keys(s)).collect();
    let networks: BTreeSet<String> = keys.into_iter().map(|key| lower::network_name(project, key)).collect();
    let mounts = services.iter().flat_map(|s| s.volumes.iter()).filter(|m| m.kind == MountType::Volume);
    let volumes: BTreeSet<String> = mounts.filter_map(|m| lower::volume_name(project, &m.source)).collect();
    ObserveQuery {
        project: Some(project.name.clone()),
        images: images.into_iter().collect(),
        networks: networks.into_iter().collect(),
        volumes: volumes.into_iter().collect(),
        containers_only: false,
        strangers: false,
    }
}
