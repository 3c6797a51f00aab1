//! Plans as text, for every rule; on a world that is itself changed by plans only.

mod down;
mod lifecycle;
mod lower;
mod pull;
mod up;
mod up_more;
mod world;

use super::*;
use crate::diag::{KeyPath, SourceId, Span};
use crate::model::{Condition, Dependency, Healthcheck, Mount, MountType, Network, Port, Service, Volume};
use crate::world::HealthcheckSpec;
use world::World;

/// Small changes in place, so that projects read like Compose files.
trait With: Sized {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn after(&self, change: impl FnOnce(&mut Self)) -> Self
    where
        Self: Clone,
    {
        self.clone().with(change)
    }
}

impl With for Service {}
impl With for Project {}
impl With for UpOptions {}

/// A service of image `NAME:1` on the default network.
fn svc(name: &str) -> Service {
    let mut service = Service { name: name.into(), image: format!("{name}:1"), ..Service::default() };
    service.networks.insert("default".into(), None);
    service
}

impl Service {
    fn on(self, other: &str, condition: Condition) -> Self {
        self.with(|s| _ = s.depends_on.insert(other.into(), Dependency { condition, ..Dependency::default() }))
    }

    fn started(self, other: &str) -> Self {
        self.on(other, Condition::Started)
    }

    fn restarting_with(self, other: &str) -> Self {
        self.with(|s| _ = s.depends_on.insert(other.into(), Dependency { restart: true, ..Dependency::default() }))
    }

    fn optionally(self, other: &str, condition: Condition) -> Self {
        self.with(|s| _ = s.depends_on.insert(other.into(), Dependency { condition, required: false, ..Dependency::default() }))
    }

    fn checked(self) -> Self {
        self.with(|s| s.healthcheck = Some(Healthcheck { test: vec!["CMD".into(), "true".into()], ..Healthcheck::default() }))
    }

    fn volume(self, key: &str, target: &str) -> Self {
        self.with(|s| s.volumes.push(Mount { source: key.into(), target: target.into(), kind: MountType::Volume, ..Mount::default() }))
    }

    fn port(self, published: &str, target: u32) -> Self {
        let port = Port { published: published.into(), target, protocol: "tcp".into(), ..Port::default() };
        self.with(|s| s.ports.push(port))
    }

    fn env(self, key: &str, value: &str) -> Self {
        self.with(|s| _ = s.environment.insert(key.into(), Some(value.into())))
    }

    fn scaled(self, n: i64) -> Self {
        self.with(|s| s.scale = Some(n))
    }

    /// The network of another service, as a load writes it.
    fn in_network_of(self, other: &str) -> Self {
        let other = other.to_owned();
        self.restarting_with(&other).with(|s| {
            s.networks.clear();
            s.network_mode = format!("service:{other}");
        })
    }
}

/// Project `p` of these services, with its default network and the volumes that they mount.
fn project(services: impl IntoIterator<Item = Service>) -> Project {
    let mut project = Project { name: "p".into(), working_dir: "/p".into(), files: vec!["/p/compose.yaml".into()], ..Project::default() };
    for service in services {
        for mount in service.volumes.iter().filter(|m| m.kind == MountType::Volume && !m.source.is_empty()) {
            project.volumes.insert(mount.source.clone(), Volume { name: format!("p_{}", mount.source), ..Volume::default() });
        }
        project.services.insert(service.name.clone(), service);
    }
    project.networks.insert("default".into(), Network { name: "p_default".into(), ..Network::default() });
    project
}

fn docker() -> Capabilities {
    Capabilities::all()
}

fn nowhere(_: &KeyPath) -> Option<Span> {
    None
}

fn try_up(project: &Project, world: &World, options: &UpOptions) -> Result<Plan, Vec<Diagnostic>> {
    plan_up(project, &world.observed, &docker(), options, &nowhere)
}

fn up_with(project: &Project, world: &World, options: &UpOptions) -> Plan {
    try_up(project, world, options).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn up(project: &Project, world: &World) -> Plan {
    up_with(project, world, &UpOptions::default())
}

/// Options for named services.
fn only(services: &[&str]) -> UpOptions {
    UpOptions { selection: Selection { services: services.iter().map(|s| (*s).to_owned()).collect(), no_deps: false }, ..UpOptions::default() }
}

/// What is wrong, one line each: code, the place if there is one, message, help.
fn faults(result: Result<Plan, Vec<Diagnostic>>) -> String {
    result.err().unwrap_or_default().iter().map(said).collect::<Vec<_>>().join("\n")
}

fn said(d: &Diagnostic) -> String {
    let help = d.help.as_deref().map_or_else(String::new, |h| format!(" / {h}"));
    format!("{}: {}{help}", d.code, d.message)
}

/// Notes of a plan, one line each.
fn notes(plan: &Plan) -> String {
    plan.notes.iter().map(said).collect::<Vec<_>>().join("\n")
}

/// The key path that the first fault points at.
fn place(project: &Project, world: &World, options: &UpOptions) -> String {
    let asked = std::cell::RefCell::new(Vec::new());
    let places = |path: &KeyPath| {
        asked.borrow_mut().push(path.to_string());
        Some(Span::new(SourceId(0), asked.borrow().len() - 1, asked.borrow().len()))
    };
    let result = plan_up(project, &world.observed, &docker(), options, &places);
    let spans: Vec<Span> = match result {
        Ok(plan) => plan.notes.iter().filter_map(|d| d.span).collect(),
        Err(faults) => faults.iter().filter_map(|d| d.span).collect(),
    };
    spans.first().map_or_else(String::new, |s| asked.borrow()[s.start as usize].clone())
}

/// The plan reads exactly so.
#[track_caller]
fn reads(plan: &Plan, expected: &str) {
    let (text, expected) = (plan.to_string(), expected.trim_start_matches('\n'));
    assert!(text == expected, "SNAP\n{text}ENDSNAP\nexpected:\n{expected}");
}
