//! Containers outside the selection that a plan can't leave alone, and orphans.

use super::decide::shared;
use super::{Act, Planner};
use crate::diag::Diagnostic;
use crate::plan::lower::{self, Setting};
use crate::world::{Container, State, label};

impl<'a> Planner<'a> {
    /// Containers of a service that isn't selected: those whose network, volume or namespace goes away are replaced,
    /// those that ask for it are restarted.
    pub(super) fn decide_affected(&mut self, name: &'a str) {
        let containers = self.view.of_service(name).to_vec();
        let Some(service) = self.project.service(name).filter(|_| !containers.is_empty()) else { return };
        let touched = shared(service).iter().any(|(of, ..)| self.by_service.contains_key(of))
            || containers.iter().any(|c| self.loses(c).is_some())
            || self.dependencies.get(name).is_some_and(|needs| needs.iter().any(|n| n.restart && self.bounced.contains(n.on)));
        if !touched {
            return;
        }
        let (parents, moved) = self.parents(service);
        for container in containers {
            if let Some(why) = self.loses(container).or_else(|| moved.clone()) {
                let id = self.image(service).map_or_else(|| container.label(label::IMAGE), |i| Some(i.id.as_str())).map(str::to_owned);
                let setting = Setting { project: self.project, parents: &parents, image_id: id.as_deref() };
                let hash = lower::config_hash(&setting, service);
                let i = self.add_affected(service, container, Act::Replace, why);
                self.create(i, &setting, hash);
            } else if let Some(why) = self.restart_reason(service, container) {
                self.add_affected(service, container, Act::Restart, why);
            }
        }
    }

    /// Containers that no service of the file stands for.
    pub(super) fn orphans(&self) -> Vec<&'a Container> {
        let unknown = self.view.services.iter().filter(|(name, _)| self.project.service(name).is_none()).flat_map(|(_, c)| c.iter().copied());
        let ended = self.view.oneoffs.iter().copied().filter(|c| matches!(c.state, State::Exited | State::Dead));
        unknown.chain(ended).collect()
    }

    pub(super) fn note_orphans(&mut self) {
        let names: Vec<&str> = self.orphans().into_iter().map(|c| c.name.as_str()).collect();
        if names.is_empty() || self.options.remove_orphans || self.options.ignore_orphans {
            return;
        }
        let what = format!("found orphan containers ({}) of this project, whose services are not in the file", names.join(", "));
        self.plan.notes.push(Diagnostic::warning("orphans", what).help("remove them with --remove-orphans"));
    }
}
