//! A project for commands that work on what exists: from its file, or from labels alone.

use super::view::{Needed, View, dependencies, order};
use crate::diag::{Diagnostic, did_you_mean};
use crate::graph;
use crate::model::Project;
use crate::world::{Container, Observed};
use std::collections::BTreeMap;

/// A project, as far as it is known.
pub(super) struct Scope<'a> {
    pub project: Option<&'a Project>,
    pub name: &'a str,
    pub view: View<'a>,
    pub dependencies: BTreeMap<&'a str, Vec<Needed<'a>>>,
    /// Services, each after what it depends on.
    pub order: Vec<&'a str>,
    dependants: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Scope<'a> {
    pub fn of(project: Option<&'a Project>, name: &'a str, observed: &'a Observed) -> Self {
        let view = View::of(name, observed);
        let dependencies = dependencies(project, &view);
        let mut dependants: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (service, needed) in dependencies.iter().flat_map(|(s, needs)| needs.iter().map(move |n| (*s, n))) {
            dependants.entry(needed.on).or_default().push(service);
        }
        Self { project, name, order: order(&dependencies), view, dependencies, dependants }
    }

    /// Services that depend on `service`.
    pub fn dependants_of(&self, service: &str) -> impl Iterator<Item = &'a str> + '_ {
        self.dependants.get(service).into_iter().flatten().copied()
    }

    /// What `service` depends on.
    pub fn needs(&self, service: &str) -> &[Needed<'a>] {
        self.dependencies.get(service).map_or(&[], Vec::as_slice)
    }

    /// Whether a command that names no service is about this one: with a file it must be enabled there.
    pub fn is_meant(&self, service: &str, named: &[String]) -> bool {
        if named.is_empty() { self.project.is_none_or(|p| p.services.contains_key(service)) } else { named.iter().any(|n| n == service) }
    }

    /// Services that a command means, in order of dependency, with their containers.
    pub fn meant(&self, named: &[String]) -> Vec<(&'a str, Vec<&'a Container>)> {
        let meant = self.order.iter().copied().filter(|s| self.is_meant(s, named));
        meant.map(|s| (s, self.view.of_service(s).to_vec())).collect()
    }
}

/// What is wrong with `service` as the name of a service; `None` if nothing is.
pub(super) fn unknown(scope: &Scope, service: &str) -> Option<Diagnostic> {
    if scope.view.services.contains_key(service) {
        return None;
    }
    if let Some(project) = scope.project {
        return if project.disabled.contains_key(service) { None } else { graph::unknown_service(project, service) };
    }
    let fault = Diagnostic::error("no-such-service", format!("no such service: {service}"));
    Some(match did_you_mean(service, scope.view.services.keys().copied()) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None if scope.view.services.is_empty() => fault,
        None => fault.help(format!("the services are: {}", scope.view.services.keys().copied().collect::<Vec<_>>().join(", "))),
    })
}
