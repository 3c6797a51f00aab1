//! Commands on containers that exist: stop, start, restart, kill, rm.

use super::lower;
use super::options::{KillOptions, RestartOptions, RmOptions, StartOptions, StopOptions};
use super::scope::{Scope, unknown};
use super::steps::{self, push, show};
use super::types::{Await, Awaited, Gate, NodeId, Plan};
use super::view::{is_anonymous, resting};
use crate::diag::{Diagnostic, KeyPath, Places};
use crate::model::{Condition, Project};
use crate::world::{Container, HookSpec, Observed, Op, RestartPolicy, State, Target, label};
use std::collections::{BTreeMap, BTreeSet};

/// A scope and an empty plan, once every named service is known.
fn begin<'a>(project: Option<&'a Project>, name: &'a str, observed: &'a Observed, services: &[String]) -> Result<(Scope<'a>, Plan), Vec<Diagnostic>> {
    let scope = Scope::of(project, name, observed);
    let faults: Vec<_> = services.iter().filter_map(|s| unknown(&scope, s)).collect();
    if faults.is_empty() { Ok((scope, Plan { project: name.to_owned(), ..Plan::default() })) } else { Err(faults) }
}

fn target(container: &Container) -> Target {
    Target::existing(container.name.clone(), container.id.clone())
}

fn pre_stop(scope: &Scope, service: &str) -> Vec<HookSpec> {
    scope.project.and_then(|p| p.service(service)).into_iter().flat_map(|s| s.pre_stop.iter().map(lower::hook)).collect()
}

fn post_start(scope: &Scope, service: &str) -> Vec<HookSpec> {
    scope.project.and_then(|p| p.service(service)).into_iter().flat_map(|s| s.post_start.iter().map(lower::hook)).collect()
}

/// Stops what is meant, dependants first; returns the stops by id of the container.
fn push_stops<'a>(plan: &mut Plan, scope: &Scope<'a>, services: &[String], timeout: Option<i64>) -> BTreeMap<&'a str, NodeId> {
    let mut by_service: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    let mut stops = BTreeMap::new();
    for (service, containers) in scope.meant(services).into_iter().rev() {
        let after: Vec<NodeId> = scope.dependants_of(service).filter_map(|d| by_service.get(d)).flatten().copied().collect();
        let hooks = pre_stop(scope, service);
        // Where nothing runs, the order goes on through it.
        if !containers.iter().any(|c| c.is_alive()) {
            by_service.insert(service, after);
            continue;
        }
        for container in containers.into_iter().filter(|c| c.is_alive()) {
            let first = plan.nodes.len();
            let id = steps::push_stop(plan, container, service, &hooks, timeout, after.clone(), "stop");
            (first..=id).for_each(|id| steps::proceed(plan, id));
            show(plan, id, "Stopping", "Stopped");
            by_service.entry(service).or_default().push(id);
            stops.insert(container.id.as_str(), id);
        }
    }
    stops
}

/// Stops containers, dependants first.
pub(super) fn plan_stop(project: Option<&Project>, name: &str, observed: &Observed, options: &StopOptions) -> Result<Plan, Vec<Diagnostic>> {
    let (scope, mut plan) = begin(project, name, observed, &options.services)?;
    push_stops(&mut plan, &scope, &options.services, options.timeout);
    Ok(plan)
}

/// Gates in front of `service`: what it depends on, among services that have steps or containers in the plan.
fn push_gates(plan: &mut Plan, scope: &Scope, service: &str, started: &BTreeMap<&str, Started>, only_restart: bool) -> Vec<NodeId> {
    let mut gates = Vec::new();
    for needed in scope.needs(service).iter().filter(|n| n.restart || !only_restart) {
        let Some(on) = started.get(needed.on).filter(|s| !s.containers.is_empty()) else { continue };
        let gate = match needed.condition {
            Condition::Started if needed.required || on.ready.is_empty() => {
                gates.extend(&on.ready);
                continue;
            }
            Condition::Started => Gate::Started,
            Condition::Healthy => Gate::Healthy,
            Condition::Completed => Gate::Completed,
        };
        let (optional, waiter) = (!needed.required, Some(service.to_owned()));
        let step = Await { service: needed.on.to_owned(), containers: on.containers.clone(), gate, waiter, optional };
        gates.push(steps::push_await(plan, step, on.ready.clone(), format!("{service} waits for it")));
    }
    gates
}

/// A service whose containers are up, or will be.
#[derive(Default)]
struct Started {
    containers: Vec<Awaited>,
    ready: Vec<NodeId>,
}

/// Starts existing containers, dependencies first, with their gates.
pub(super) fn plan_start(
    project: Option<&Project>,
    name: &str,
    observed: &Observed,
    options: &StartOptions,
    places: Places,
) -> Result<Plan, Vec<Diagnostic>> {
    let (scope, mut plan) = begin(project, name, observed, &options.services)?;
    let wanted = with_dependencies(&scope, &options.services);
    let mut faults = Vec::new();
    let mut started: BTreeMap<&str, Started> = BTreeMap::new();
    for service in scope.order.iter().copied().filter(|s| wanted.contains(s)) {
        let containers = scope.view.of_service(service);
        let model = scope.project.and_then(|p| p.service(service));
        if containers.is_empty() && model.is_some_and(|s| s.replicas() > 0 && s.provider.is_none()) {
            let fault = Diagnostic::error("no-container", format!("service {service:?} has no container to start"));
            faults.push(fault.at_opt(places(&KeyPath::of(["services", service]))).help(format!("`consort up -d {service}` creates and starts one")));
            continue;
        }
        let idle: Vec<&Container> =
            containers.iter().copied().filter(|c| matches!(c.state, State::Created | State::Exited | State::Paused | State::Dead)).collect();
        let gates = if idle.is_empty() { Vec::new() } else { push_gates(&mut plan, &scope, service, &started, false) };
        let files = match (scope.project, model) {
            (Some(project), Some(model)) if !idle.is_empty() => lower::files(project, model).unwrap_or_else(|more| {
                faults.extend(more.into_iter().map(|(path, fault)| fault.at_opt(places(&path))));
                Vec::new()
            }),
            _ => Vec::new(),
        };
        let mut own = Started::default();
        for container in containers {
            own.containers
                .push(Awaited { target: target(container), fresh: matches!(container.state, State::Created | State::Exited | State::Dead) });
        }
        for container in idle {
            let why = resting(container.state);
            if container.state == State::Paused {
                let id = push(&mut plan, Op::UnpauseContainer { container: target(container) }, vec![], why);
                steps::of_service(&mut plan, id, service);
                show(&mut plan, id, "Unpausing", "Unpaused");
                own.ready.push(id);
                continue;
            }
            let mut after = gates.clone();
            if !files.is_empty() {
                let op = Op::WriteFiles { container: target(container), files: files.clone() };
                let id = push(&mut plan, op, gates.clone(), "secrets and configs that are no files");
                steps::of_service(&mut plan, id, service);
                after.push(id);
            }
            let id = push(&mut plan, Op::StartContainer { container: target(container) }, after, why);
            steps::of_service(&mut plan, id, service);
            show(&mut plan, id, "Starting", "Started");
            own.ready.push(steps::push_post_start(&mut plan, &target(container), service, post_start(&scope, service), id));
        }
        started.insert(service, own);
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    if options.wait {
        for (service, own) in started.into_iter().filter(|(_, own)| !own.containers.is_empty()) {
            let job = scope.dependencies.values().flatten().any(|n| n.on == service && n.condition == Condition::Completed);
            let model = scope.project.and_then(|p| p.service(service));
            let one_shot = job || model.is_some_and(|s| lower::restart_policy(s) == Ok(RestartPolicy::No));
            let step =
                Await { service: service.to_owned(), containers: own.containers, gate: Gate::Ready { one_shot }, waiter: None, optional: false };
            steps::push_await(&mut plan, step, own.ready, "--wait".to_owned());
        }
    }
    Ok(plan)
}

/// The services that `named` means, and what they depend on.
fn with_dependencies<'a>(scope: &Scope<'a>, named: &[String]) -> BTreeSet<&'a str> {
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let mut stack: Vec<&str> = scope.order.iter().copied().filter(|s| scope.is_meant(s, named)).collect();
    while let Some(service) = stack.pop() {
        if wanted.insert(service) {
            stack.extend(scope.needs(service).iter().map(|n| n.on).filter(|on| scope.is_meant(on, &[])));
        }
    }
    wanted
}

/// Restarts containers, and those of services that say `restart: true` about them, after them.
pub(super) fn plan_restart(project: Option<&Project>, name: &str, observed: &Observed, options: &RestartOptions) -> Result<Plan, Vec<Diagnostic>> {
    let (scope, mut plan) = begin(project, name, observed, &options.services)?;
    let mut wanted: BTreeMap<&str, String> = scope.meant(&options.services).into_iter().map(|(s, _)| (s, "restart".to_owned())).collect();
    let mut started: BTreeMap<&str, Started> = BTreeMap::new();
    for service in scope.order.clone() {
        if !options.no_deps
            && !wanted.contains_key(service)
            && let Some(by) = scope.needs(service).iter().find(|n| n.restart && wanted.contains_key(n.on))
        {
            wanted.insert(service, format!("{} is restarted, and `restart: true` asks for it", by.on));
        }
        let Some(why) = wanted.get(service).cloned() else { continue };
        let asked = why == "restart";
        // Nobody asked for a dependant that is down.
        let containers: Vec<&Container> = scope.view.of_service(service).iter().copied().filter(|c| asked || c.is_alive()).collect();
        if containers.is_empty() {
            wanted.remove(service);
            continue;
        }
        let gates = push_gates(&mut plan, &scope, service, &started, true);
        let mut own = Started::default();
        for container in containers {
            own.containers.push(Awaited { target: target(container), fresh: true });
            let mut after = gates.clone();
            if container.state == State::Running {
                for hook in pre_stop(&scope, service) {
                    let id = push(&mut plan, Op::RunHook { container: target(container), hook }, after.clone(), "pre_stop hook");
                    steps::of_service(&mut plan, id, service);
                    steps::lenient(&mut plan, id);
                    after.push(id);
                }
            }
            let id = push(&mut plan, Op::RestartContainer { container: target(container), timeout: options.timeout }, after, why.clone());
            steps::of_service(&mut plan, id, service);
            show(&mut plan, id, "Restarting", "Started");
            own.ready.push(steps::push_post_start(&mut plan, &target(container), service, post_start(&scope, service), id));
        }
        started.insert(service, own);
    }
    Ok(plan)
}

/// Sends a signal to running containers, one-off ones too, all at once.
pub(super) fn plan_kill(project: Option<&Project>, name: &str, observed: &Observed, options: &KillOptions) -> Result<Plan, Vec<Diagnostic>> {
    let (scope, mut plan) = begin(project, name, observed, &options.services)?;
    let signal = if options.signal.is_empty() { "SIGKILL" } else { &options.signal };
    let meant = |c: &&Container| scope.is_meant(c.service(), &options.services) || options.remove_orphans && options.services.is_empty();
    for container in scope.view.containers().filter(|c| c.is_alive()).filter(meant) {
        let id = push(&mut plan, Op::KillContainer { container: target(container), signal: signal.to_owned() }, vec![], "kill");
        steps::of_service(&mut plan, id, container.service());
        show(&mut plan, id, "Killing", "Killed");
    }
    Ok(plan)
}

/// Removes stopped containers.
pub(super) fn plan_rm(project: Option<&Project>, name: &str, observed: &Observed, options: &RmOptions) -> Result<Plan, Vec<Diagnostic>> {
    let (scope, mut plan) = begin(project, name, observed, &options.services)?;
    let stops = if options.stop { push_stops(&mut plan, &scope, &options.services, None) } else { BTreeMap::new() };
    let mut removals: BTreeMap<&str, NodeId> = BTreeMap::new();
    let mut handed_on: BTreeSet<&str> = BTreeSet::new();
    for (service, containers) in scope.meant(&options.services) {
        for container in containers.into_iter().filter(|c| options.stop || !c.is_alive()) {
            let after = stops.get(container.id.as_str()).copied().into_iter().collect();
            let id = push(&mut plan, Op::RemoveContainer { container: target(container), volumes: options.volumes }, after, "rm");
            steps::of_service(&mut plan, id, service);
            show(&mut plan, id, "Removing", "Removed");
            removals.insert(&container.id, id);
            if options.volumes && container.label(label::REPLACE).is_some() {
                handed_on.extend(container.mounts.iter().filter(|m| m.kind == "volume" && is_anonymous(&m.name)).map(|m| m.name.as_str()));
            }
        }
    }
    for name in handed_on {
        let users: Vec<&Container> = scope.view.containers().filter(|c| c.mounts.iter().any(|m| m.name == name)).collect();
        if users.iter().all(|c| removals.contains_key(c.id.as_str())) {
            let after = users.iter().filter_map(|c| removals.get(c.id.as_str()).copied()).collect();
            let id = push(&mut plan, Op::RemoveVolume { name: name.to_owned() }, after, "anonymous volume of a container that was recreated");
            steps::lenient(&mut plan, id);
        }
    }
    Ok(plan)
}
