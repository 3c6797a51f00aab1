//! Small pieces that plans are put together from.

use super::types::{Await, Gate, NodeId, Plan, Shows, Step, Upstream};
use crate::world::{Container, HookSpec, Op, State, Target};

/// Adds a change.
pub(super) fn push(plan: &mut Plan, op: Op, mut after: Vec<NodeId>, why: impl Into<String>) -> NodeId {
    after.sort_unstable();
    after.dedup();
    plan.push(Step::Do(op), after, why)
}

/// Says what progress lines say.
pub(super) fn show(plan: &mut Plan, id: NodeId, doing: &'static str, done: &'static str) {
    if let Some(node) = plan.nodes.get_mut(id) {
        node.shows = Some(Shows { name: None, doing, done });
    }
}

/// The same, for a thing that is shown under another name than its own.
pub(super) fn show_as(plan: &mut Plan, id: NodeId, name: &str, doing: &'static str, done: &'static str) {
    if let Some(node) = plan.nodes.get_mut(id) {
        node.shows = Some(Shows { name: Some(name.to_owned()), doing, done });
    }
}

/// Says to which service a step belongs.
pub(super) fn of_service(plan: &mut Plan, id: NodeId, service: &str) {
    if let Some(node) = plan.nodes.get_mut(id).filter(|_| !service.is_empty()) {
        node.service = Some(service.to_owned());
    }
}

/// A failure of the step is only a warning.
pub(super) fn lenient(plan: &mut Plan, id: NodeId) {
    if let Some(node) = plan.nodes.get_mut(id) {
        node.lenient = true;
    }
}

/// The step is done even if something that it waits for failed.
pub(super) fn proceed(plan: &mut Plan, id: NodeId) {
    if let Some(node) = plan.nodes.get_mut(id) {
        node.upstream = Upstream::Proceed;
    }
}

/// Adds a gate.
pub(super) fn push_await(plan: &mut Plan, step: Await, mut after: Vec<NodeId>, why: String) -> NodeId {
    let (service, optional, gate) = (step.service.clone(), step.optional, step.gate);
    after.sort_unstable();
    after.dedup();
    let id = plan.push(Step::Await(step), after, why);
    of_service(plan, id, &service);
    match gate {
        Gate::Started => {}
        Gate::Completed => show(plan, id, "Waiting", "Exited"),
        Gate::Healthy | Gate::Ready { .. } => show(plan, id, "Waiting", "Healthy"),
    }
    if optional {
        proceed(plan, id);
        lenient(plan, id);
    }
    id
}

/// Adds the hooks before a stop and the stop. A hook that fails is a warning, and the container is stopped all the same.
pub(super) fn push_stop(
    plan: &mut Plan,
    container: &Container,
    service: &str,
    hooks: &[HookSpec],
    timeout: Option<i64>,
    mut after: Vec<NodeId>,
    why: &str,
) -> NodeId {
    let target = Target::existing(container.name.clone(), container.id.clone());
    if container.state == State::Running {
        for hook in hooks {
            let op = Op::RunHook { container: target.clone(), hook: hook.clone() };
            let id = push(plan, op, after.clone(), "pre_stop hook");
            of_service(plan, id, service);
            lenient(plan, id);
            after.push(id);
        }
    }
    let id = push(plan, Op::StopContainer { container: target, timeout }, after, why);
    of_service(plan, id, service);
    id
}

/// Adds the hooks after a start, in order; returns the last step.
pub(super) fn push_post_start(plan: &mut Plan, container: &Target, service: &str, hooks: Vec<HookSpec>, start: NodeId) -> NodeId {
    hooks.into_iter().fold(start, |before, hook| {
        let id = push(plan, Op::RunHook { container: container.clone(), hook }, vec![before], "post_start hook");
        of_service(plan, id, service);
        id
    })
}

/// Adds stop and removal of a container that nothing is known of but its labels: first step, stop, removal.
pub(super) fn push_teardown(
    plan: &mut Plan,
    container: &Container,
    timeout: Option<i64>,
    after: Vec<NodeId>,
    why: &str,
) -> (NodeId, Option<NodeId>, NodeId) {
    let service = container.service().to_owned();
    let target = Target::existing(container.name.clone(), container.id.clone());
    let stop = container.is_alive().then(|| {
        let id = push(plan, Op::StopContainer { container: target.clone(), timeout }, after.clone(), why);
        of_service(plan, id, &service);
        show(plan, id, "Stopping", "Stopped");
        id
    });
    let remove = push(plan, Op::RemoveContainer { container: target, volumes: false }, stop.map_or(after, |s| vec![s]), why);
    of_service(plan, remove, &service);
    show(plan, remove, "Removing", "Removed");
    (stop.unwrap_or(remove), stop, remove)
}
