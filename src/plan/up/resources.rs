//! Networks and volumes: which are there, which are missing, which are made anew.

use super::{Planner, Thing};
use crate::diag::{Diagnostic, KeyPath};
use crate::model::MountType;
use crate::plan::lower::{network_keys, network_spec, volume_spec};
use crate::plan::options::Recreate;
use crate::plan::types::{Hazard, HazardKind};
use crate::world::{NetworkState, label};
use std::collections::{BTreeMap, BTreeSet};

/// Whose a thing is.
enum Owner {
    /// This project's, and as the file says; or nobody knows better.
    Ours,
    /// This project's, with another configuration.
    Diverged,
    /// Not this project's, in words.
    Foreign(String),
}

fn owner(project: &str, kind: &str, key: &str, labels: &BTreeMap<String, String>, hash: Option<&String>) -> Owner {
    let is = |name: &str, value: &str| labels.get(name).is_some_and(|v| v == value);
    if !is(label::PROJECT, project) {
        return Owner::Foreign(match labels.get(label::PROJECT) {
            Some(other) => format!("was created for project {other:?}"),
            None => "was not created for this project".to_owned(),
        });
    }
    if !is(kind, key) {
        return Owner::Foreign(format!("was created for the key {:?} of this project", labels.get(kind).map_or("", String::as_str)));
    }
    match labels.get(label::CONFIG_HASH).filter(|h| !h.is_empty()) {
        Some(there) if Some(there) != hash => Owner::Diverged,
        _ => Owner::Ours,
    }
}

impl<'a> Planner<'a> {
    pub(super) fn decide_networks(&mut self) {
        let used: BTreeSet<&str> = self.chosen().into_iter().filter(|s| self.wanted(s) > 0).flat_map(network_keys).collect();
        let implicit = crate::model::Network::default();
        for key in used {
            let network = self.project.networks.get(key).unwrap_or(&implicit);
            let spec = network_spec(self.project, key, network);
            let place = self.place(&KeyPath::of(["networks", key]));
            let there: Vec<&NetworkState> = self.view.networks.get(spec.name.as_str()).cloned().unwrap_or_default();
            let mut thing = Thing { name: spec.name.clone(), ..Thing::default() };
            if network.external {
                let by_id = self.observed.networks.iter().any(|n| n.id == spec.name);
                if there.is_empty() && !by_id {
                    let what = format!("network {:?} is declared as external, but it can't be found", spec.name);
                    let help = format!("create it (`docker network create {}`), or take `external` out", spec.name);
                    self.faults.push(Diagnostic::error("external-missing", what).at_opt(place).help(help));
                } else if there.len() > 1 && !by_id {
                    let what = format!("there are {} networks called {:?}", there.len(), spec.name);
                    self.faults.push(Diagnostic::error("ambiguous-network", what).at_opt(place).help("give the id of the right one as `name:`"));
                }
                self.networks.insert(key, thing);
                continue;
            }
            let ours = |n: &&&NetworkState| n.labels.get(label::PROJECT) == Some(&self.project.name);
            match there.iter().find(ours).or(there.first()) {
                None => thing.missing = true,
                Some(network) => match owner(&self.project.name, label::NETWORK, key, &network.labels, spec.labels.get(label::CONFIG_HASH)) {
                    Owner::Ours => {}
                    Owner::Diverged if self.options.recreate == Recreate::Never => {
                        let what = format!("network {:?} exists with another configuration and stays as it is (--no-recreate)", spec.name);
                        self.plan.notes.push(Diagnostic::warning("network-diverged", what).at_opt(place));
                    }
                    Owner::Diverged => {
                        thing.lost = true;
                        self.lost_networks.insert(spec.name.clone());
                        thing.id = Some(network.id.clone()).filter(|id| !id.is_empty());
                    }
                    Owner::Foreign(whose) => {
                        let what = format!("network {:?} {whose}; it is used as it is and never removed", spec.name);
                        self.plan
                            .notes
                            .push(Diagnostic::warning("foreign-network", what).at_opt(place).help("say `external: true` if that is meant"));
                    }
                },
            }
            self.networks.insert(key, thing);
        }
    }

    pub(super) fn decide_volumes(&mut self) {
        let used: BTreeSet<&str> = self
            .chosen()
            .into_iter()
            .filter(|s| self.wanted(s) > 0)
            .flat_map(|s| s.volumes.iter().filter(|m| m.kind == MountType::Volume && !m.source.is_empty()).map(|m| m.source.as_str()))
            .collect();
        for key in used {
            // A source that isn't declared is a fault of the load.
            let Some(volume) = self.project.volumes.get(key) else { continue };
            let spec = volume_spec(self.project, key, volume);
            let place = self.place(&KeyPath::of(["volumes", key]));
            let there = self.view.volumes.get(spec.name.as_str()).copied();
            let mut thing = Thing { name: spec.name.clone(), ..Thing::default() };
            match there {
                None if volume.external => {
                    let what = format!("volume {:?} is declared as external, but it can't be found", spec.name);
                    let help = format!("create it (`docker volume create {}`), or take `external` out", spec.name);
                    self.faults.push(Diagnostic::error("external-missing", what).at_opt(place).help(help));
                }
                None => thing.missing = true,
                Some(_) if volume.external => {}
                Some(state) => match owner(&self.project.name, label::VOLUME, key, &state.labels, spec.labels.get(label::CONFIG_HASH)) {
                    Owner::Ours => {}
                    Owner::Diverged => {
                        let kind = HazardKind::RecreateVolume(spec.name.clone());
                        if self.options.accept_all || self.options.accepted.contains(&kind) {
                            thing.lost = true;
                            self.lost_volumes.insert(spec.name.clone());
                        } else {
                            self.plan.hazards.push(Hazard {
                                kind,
                                question: format!(
                                    "Volume {:?} exists but doesn't match configuration in compose file. Recreate (data will be lost)?",
                                    spec.name
                                ),
                                otherwise: "it is used as it is".into(),
                            });
                        }
                    }
                    Owner::Foreign(whose) => {
                        let what = format!("volume {:?} {whose}; it is used as it is and never removed", spec.name);
                        self.plan.notes.push(Diagnostic::warning("foreign-volume", what).at_opt(place).help("say `external: true` if that is meant"));
                    }
                },
            }
            self.volumes.insert(key, thing);
        }
    }
}
