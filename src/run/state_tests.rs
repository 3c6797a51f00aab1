//! Tests of the state machine, without any engine.

use super::state::{Effect, Input, Run};
use super::{Blocked, Cause, Outcome};
use crate::plan::{Await, Awaited, Gate, NodeId, Plan, Step, Upstream};
use crate::units::Timestamp;
use crate::world::{
    Applied, ConfigHash, Container, ContainerDetails, ContainerId, ContainerSpec, EngineError, EngineEvent, ErrorKind, EventKind, Health,
    HealthcheckSpec, InstanceKey, Observed, Op, State, Target,
};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn spec(name: &str, probed: bool) -> ContainerSpec {
    let healthcheck = HealthcheckSpec { test: vec![if probed { "CMD".into() } else { "NONE".into() }], ..HealthcheckSpec::default() };
    let key = InstanceKey { service: name.into(), number: 1 };
    ContainerSpec { healthcheck: Some(healthcheck), ..ContainerSpec::new(name, key, "i", ConfigHash::Known(String::new())) }
}

/// A plan that creates and starts services, each after its gates.
#[derive(Default)]
pub(super) struct Building {
    pub plan: Plan,
    starts: BTreeMap<String, NodeId>,
}

impl Building {
    pub fn service(&mut self, name: &str, probed: bool, needs: &[(&str, Gate)]) -> NodeId {
        let create = self.plan.push(Step::Do(Op::CreateContainer(Box::new(spec(name, probed)))), vec![], "absent");
        let mut after = vec![create];
        for (on, gate) in needs {
            after.push(self.gate(on, *gate, Some(name), false));
        }
        let start = self.plan.push(Step::Do(Op::StartContainer { container: Target::named(name) }), after, "created");
        self.starts.insert(name.into(), start);
        start
    }

    pub fn gate(&mut self, on: &str, gate: Gate, waiter: Option<&str>, optional: bool) -> NodeId {
        let awaited = Awaited { target: Target::named(on), fresh: self.starts.contains_key(on) };
        let step = Await { service: on.into(), containers: vec![awaited], gate, waiter: waiter.map(Into::into), optional };
        self.plan.push(Step::Await(step), self.starts.get(on).copied().into_iter().collect(), "depends_on")
    }
}

pub(super) fn event(name: &str, kind: EventKind) -> EngineEvent {
    EngineEvent { time: Timestamp(0), container: ContainerId { id: format!("id-{name}"), name: name.into(), ..ContainerId::default() }, kind }
}

fn heard(name: &str, kind: EventKind) -> Input {
    Input::Heard(Arc::new(event(name, kind)))
}

/// An engine that does every op at once, and whose news and looks come from the test.
struct Bench<'p> {
    run: Run<'p>,
    plan: &'p Plan,
    refuse: Vec<NodeId>,
    applied: Vec<NodeId>,
    looks: Vec<(String, u64)>,
    other: Vec<Effect>,
}

impl<'p> Bench<'p> {
    fn new(plan: &'p Plan, observed: &'p Observed) -> Self {
        Self { run: Run::new(plan, observed, 8), plan, refuse: vec![], applied: vec![], looks: vec![], other: vec![] }
    }

    fn on(&mut self, input: Input) -> &mut Self {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.run.on(input) {
                match effect {
                    Effect::Apply(id) => {
                        self.applied.push(id);
                        let Step::Do(op) = &self.plan.nodes[id].step else { unreachable!("only ops are applied") };
                        let made = if let Op::CreateContainer(spec) = op { Some(format!("id-{}", spec.name)) } else { None };
                        let result = if self.refuse.contains(&id) {
                            Err(EngineError::new(ErrorKind::Refused, "no"))
                        } else {
                            Ok(Applied { id: made, changed: true, ..Applied::default() })
                        };
                        inputs.push(Input::Returned { id, result });
                    }
                    Effect::Look { container, heard, .. } => self.looks.push((container, heard)),
                    other => self.other.push(other),
                }
            }
        }
        self
    }

    fn saw(&mut self, details: ContainerDetails) -> &mut Self {
        let (container, heard) = self.looks.pop().expect("a look was asked for");
        self.on(Input::Seen { container, heard, details: Ok(Some(Box::new(details))) })
    }

    fn outcomes(&self) -> Vec<Option<Outcome>> {
        (0..self.plan.nodes.len()).map(|id| self.run.outcome(id)).collect()
    }
}

fn exited(code: i64) -> ContainerDetails {
    ContainerDetails { state: Some(State::Exited), exit_code: code, ..ContainerDetails::default() }
}

fn blocked(bench: &Bench) -> Blocked {
    match &bench.run.failures[0].cause {
        Cause::Gate { blocked, .. } => blocked.clone(),
        Cause::Engine(error) => panic!("{error}"),
    }
}

const DONE: Option<Outcome> = Some(Outcome::Done);

#[test]
fn a_gate_opens_when_the_engine_says_healthy() {
    let mut b = Building::default();
    let db = b.service("db", true, &[]);
    let web = b.service("web", false, &[("db", Gate::Healthy)]);
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin);
    assert!(bench.applied.contains(&db) && !bench.applied.contains(&web));
    bench.on(heard("db", EventKind::Started)).on(heard("db", EventKind::Health(Health::Starting)));
    assert!(!bench.applied.contains(&web));
    bench.on(heard("db", EventKind::Health(Health::Healthy)));
    assert!(bench.applied.contains(&web) && bench.run.finished());
    assert!(bench.looks.is_empty(), "everything was heard, nothing had to be looked up");
}

#[test]
fn what_a_container_did_before_it_was_started_does_not_count() {
    let mut b = Building::default();
    let start = b.plan.push(Step::Do(Op::StartContainer { container: Target::existing("job", "id-job") }), vec![], "exited");
    b.starts.insert("job".into(), start);
    let gate = b.gate("job", Gate::Completed, Some("web"), false);
    let old = Container { exit_code: Some(0), state: State::Exited, ..container("job") };
    let observed = Observed { containers: vec![old], ..Observed::default() };
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin);
    // Late news of the run before.
    bench.on(heard("job", EventKind::Died { exit_code: 0 }));
    assert_eq!(bench.run.outcome(gate), None);
    bench.on(heard("job", EventKind::Started)).on(heard("job", EventKind::Died { exit_code: 0 }));
    assert_eq!(bench.run.outcome(gate), DONE);
}

fn container(name: &str) -> Container {
    Container {
        id: format!("id-{name}"),
        name: name.into(),
        image: String::new(),
        image_id: String::new(),
        command: String::new(),
        created: Timestamp(0),
        state: State::Running,
        health: None,
        exit_code: None,
        status: String::new(),
        labels: BTreeMap::new(),
        ports: Vec::new(),
        mounts: Vec::new(),
        networks: Vec::new(),
        runtime: String::new(),
    }
}

#[test]
fn while_a_container_is_replaced_the_old_one_s_end_is_not_the_new_one_s() {
    let mut plan = Plan::default();
    let create = plan.push(Step::Do(Op::CreateContainer(Box::new(spec("tmp_db", true)))), vec![], "changed");
    let stop = plan.push(Step::Do(Op::StopContainer { container: Target::existing("db", "old"), timeout: None }), vec![create], "replaced");
    let rename = plan.push(Step::Do(Op::RenameContainer { container: Target::named("tmp_db"), to: "db".into() }), vec![stop], "replaces");
    let start = plan.push(Step::Do(Op::StartContainer { container: Target::named("db") }), vec![rename], "created");
    let mut b = Building { plan, starts: [("db".to_owned(), start)].into() };
    let gate = b.gate("db", Gate::Healthy, Some("web"), false);
    let observed =
        Observed { containers: vec![Container { id: "old".into(), health: Some(Health::Healthy), ..container("db") }], ..Observed::default() };
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin);
    assert_eq!(bench.run.outcome(start), DONE);
    let old = |kind| {
        Input::Heard(Arc::new(EngineEvent {
            container: ContainerId { id: "old".into(), name: "db".into(), ..ContainerId::default() },
            ..event("db", kind)
        }))
    };
    bench.on(old(EventKind::Died { exit_code: 137 }));
    assert_eq!(bench.run.outcome(gate), None, "neither the old health nor the old end counts");
    let new = |kind| {
        Input::Heard(Arc::new(EngineEvent {
            container: ContainerId { id: "id-tmp_db".into(), name: "db".into(), ..ContainerId::default() },
            ..event("db", kind)
        }))
    };
    bench.on(new(EventKind::Started)).on(new(EventKind::Health(Health::Healthy)));
    assert_eq!(bench.run.outcome(gate), DONE);
    assert_eq!(bench.run.report().ids, [("db".to_owned(), "id-tmp_db".to_owned())].into());
}

#[test]
fn an_exit_while_healthy_is_waited_for_blocks_once_it_is_final() {
    let mut b = Building::default();
    b.service("db", true, &[]);
    let web = b.service("web", false, &[("db", Gate::Healthy)]);
    let other = b.service("other", false, &[]);
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin).on(heard("db", EventKind::Started)).on(heard("db", EventKind::Died { exit_code: 0 }));
    // Its restart policy starts it again: not the end.
    bench.saw(ContainerDetails {
        state: Some(State::Restarting),
        healthcheck: Some(HealthcheckSpec { test: vec!["CMD".into()], ..Default::default() }),
        ..exited(0)
    });
    assert!(!bench.run.finished());
    bench.on(heard("db", EventKind::Started)).on(heard("db", EventKind::Died { exit_code: 3 })).saw(exited(3));
    assert_eq!(blocked(&bench), Blocked::Exited { code: 3 });
    assert_eq!((bench.run.outcome(web), bench.run.outcome(other)), (Some(Outcome::Skipped), DONE), "only what hangs on it is skipped");
    assert!(bench.run.finished());
}

#[test]
fn a_job_completes_with_code_0_only() {
    for (code, passes) in [(0, true), (1, false)] {
        let mut b = Building::default();
        b.service("job", false, &[]);
        b.service("web", false, &[("job", Gate::Completed)]);
        let observed = Observed::default();
        let mut bench = Bench::new(&b.plan, &observed);
        bench.on(Input::Begin).on(heard("job", EventKind::Started)).on(heard("job", EventKind::Died { exit_code: code }));
        if !passes {
            bench.saw(exited(code));
        }
        assert!(bench.run.finished());
        assert_eq!(bench.run.failures.is_empty(), passes, "{code}");
    }
}

#[test]
fn without_a_health_check_healthy_never_comes() {
    let mut b = Building::default();
    b.service("db", false, &[]);
    b.service("web", false, &[("db", Gate::Healthy)]);
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin);
    assert_eq!(blocked(&bench), Blocked::NoHealthcheck);
}

#[test]
fn an_optional_gate_never_stops_what_waits() {
    for upstream_fails in [false, true] {
        let mut b = Building::default();
        let db = b.service("db", true, &[]);
        let gate = b.gate("db", Gate::Healthy, Some("web"), true);
        let web = b.plan.push(Step::Do(Op::StartContainer { container: Target::named("web") }), vec![gate], "exited");
        let observed = Observed::default();
        let mut bench = Bench::new(&b.plan, &observed);
        if upstream_fails {
            bench.refuse.push(db);
        }
        bench.on(Input::Begin);
        if !upstream_fails {
            bench.on(heard("db", EventKind::Started)).on(heard("db", EventKind::Health(Health::Unhealthy)));
            assert!(bench.run.waived.contains_key(&gate));
        }
        assert_eq!((bench.run.outcome(gate), bench.run.outcome(web)), (Some(Outcome::Waived), DONE));
        assert_eq!(bench.run.failures.len(), usize::from(upstream_fails));
    }
}

#[test]
fn tearing_down_goes_on_after_a_failure() {
    let mut plan = Plan::default();
    let stop = plan.push(Step::Do(Op::StopContainer { container: Target::named("a"), timeout: None }), vec![], "down");
    let next = plan.push(Step::Do(Op::StopContainer { container: Target::named("b"), timeout: None }), vec![stop], "down");
    let other = plan.push(Step::Do(Op::RemoveNetwork { name: "n".into(), id: None }), vec![stop], "down");
    plan.nodes[next].upstream = Upstream::Proceed;
    let observed = Observed::default();
    let mut bench = Bench::new(&plan, &observed);
    bench.refuse.push(stop);
    bench.on(Input::Begin);
    assert_eq!((bench.run.outcome(next), bench.run.outcome(other)), (DONE, Some(Outcome::Skipped)));
}

#[test]
fn a_lenient_step_s_failure_is_no_failure() {
    let mut plan = Plan::default();
    let remove = plan.push(Step::Do(Op::RemoveNetwork { name: "n".into(), id: None }), vec![], "down");
    plan.nodes[remove].lenient = true;
    let observed = Observed::default();
    let mut bench = Bench::new(&plan, &observed);
    bench.refuse.push(remove);
    bench.on(Input::Begin);
    assert_eq!(bench.run.outcome(remove), Some(Outcome::Waived));
    assert!(bench.run.failures.is_empty());
}

#[test]
fn ready_without_a_health_check_means_running_for_a_moment() {
    let mut b = Building::default();
    b.service("web", false, &[]);
    let gate = b.gate("web", Gate::Ready { one_shot: false }, None, false);
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin).on(heard("web", EventKind::Started));
    let steady =
        bench.other.iter().find_map(|e| if let Effect::Steady { container, starts } = e { Some((container.clone(), *starts)) } else { None });
    let (container, starts) = steady.expect("it is asked to be told");
    // It fell over and came back meanwhile: the moment begins again.
    bench.on(heard("web", EventKind::Died { exit_code: 1 })).on(heard("web", EventKind::Started));
    bench.on(Input::Steady { container: container.clone(), starts });
    assert_eq!(bench.run.outcome(gate), None);
    bench.on(Input::Steady { container, starts: starts + 1 });
    assert_eq!(bench.run.outcome(gate), DONE);
}

#[test]
fn what_is_about_to_be_started_again_is_not_unhealthy() {
    let mut b = Building::default();
    b.service("db", true, &[]);
    b.gate("db", Gate::Healthy, None, false);
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin).on(heard("db", EventKind::Started)).on(heard("db", EventKind::Died { exit_code: 4 }));
    let (container, count) = bench.looks.pop().expect("it is looked at");
    // So says Docker of a container whose probes have stopped with it.
    let healthcheck = Some(HealthcheckSpec { test: vec!["CMD".into(), "true".into()], ..HealthcheckSpec::default() });
    let details = ContainerDetails { state: Some(State::Restarting), health: Some(Health::Unhealthy), healthcheck, ..exited(4) };
    bench.on(Input::Seen { container, heard: count, details: Ok(Some(Box::new(details))) });
    assert!(!bench.run.finished() && bench.run.failures.is_empty());
    bench.on(heard("db", EventKind::Started)).on(heard("db", EventKind::Health(Health::Healthy)));
    assert!(bench.run.finished() && bench.run.failures.is_empty());
}

#[test]
fn ready_and_one_shot_services() {
    for (one_shot, code, passes) in [(true, 0, true), (true, 3, false), (false, 0, false)] {
        let mut b = Building::default();
        b.service("job", false, &[]);
        b.gate("job", Gate::Ready { one_shot }, None, false);
        let observed = Observed::default();
        let mut bench = Bench::new(&b.plan, &observed);
        bench.on(Input::Begin).on(heard("job", EventKind::Started)).on(heard("job", EventKind::Died { exit_code: code }));
        if let Some((container, heard)) = bench.looks.pop() {
            bench.on(Input::Seen { container, heard, details: Ok(Some(Box::new(exited(code)))) });
        }
        assert!(bench.run.finished());
        assert_eq!(bench.run.failures.is_empty(), passes, "{one_shot} {code}");
    }
}

#[test]
fn time_runs_out_for_gates_that_wait_and_for_later_ones() {
    let mut b = Building::default();
    b.service("db", true, &[]);
    b.service("web", true, &[("db", Gate::Healthy)]);
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin).on(heard("db", EventKind::Started)).on(Input::TimedOut);
    assert_eq!(blocked(&bench), Blocked::TimedOut);
    assert!(bench.run.finished());
}

#[test]
fn an_engine_that_is_gone_fails_the_gates_that_wait() {
    let mut b = Building::default();
    b.service("db", true, &[]);
    b.service("web", true, &[("db", Gate::Healthy)]);
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin).on(Input::Lost(EngineError::new(ErrorKind::Unreachable, "gone")));
    assert!(matches!(blocked(&bench), Blocked::EngineLost(_)));
    assert!(bench.run.finished());
}

#[test]
fn a_gap_in_the_news_is_mended_by_a_look() {
    let mut b = Building::default();
    b.service("db", true, &[]);
    let web = b.service("web", false, &[("db", Gate::Healthy)]);
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin).on(heard("db", EventKind::Started)).on(Input::Gap);
    let check = HealthcheckSpec { test: vec!["CMD".into()], ..Default::default() };
    bench.saw(ContainerDetails { state: Some(State::Running), health: Some(Health::Healthy), healthcheck: Some(check), ..Default::default() });
    assert_eq!(bench.run.outcome(web), DONE);
}

#[test]
fn a_look_that_is_older_than_the_news_changes_nothing() {
    let mut b = Building::default();
    b.service("db", true, &[]);
    let web = b.service("web", false, &[("db", Gate::Healthy)]);
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin).on(heard("db", EventKind::Started)).on(heard("db", EventKind::Died { exit_code: 1 }));
    bench.on(heard("db", EventKind::Started)).on(heard("db", EventKind::Health(Health::Healthy)));
    assert_eq!(bench.run.outcome(web), DONE);
    bench.saw(exited(1));
    assert!(bench.run.failures.is_empty());
}

#[test]
fn no_more_calls_than_allowed_run_at_once_and_pulls_count_apart() {
    let mut plan = Plan::default();
    for i in 0..20 {
        let op = if i % 2 == 0 {
            Op::PullImage { reference: i.to_string(), platform: None }
        } else {
            Op::StopContainer { container: Target::named(i.to_string()), timeout: None }
        };
        plan.push(Step::Do(op), vec![], "");
    }
    let observed = Observed::default();
    let mut run = Run::new(&plan, &observed, 3);
    let applied = |fx: &[Effect]| fx.iter().filter_map(|e| if let Effect::Apply(id) = e { Some(*id) } else { None }).collect::<Vec<_>>();
    assert_eq!(applied(&run.on(Input::Begin)), [0, 2, 4, 1, 3, 5]);
    assert_eq!(applied(&run.on(Input::Returned { id: 2, result: Ok(Applied::default()) })), [6]);
    // A stop that takes its time makes room, once.
    assert_eq!(applied(&run.on(Input::Slow(3))), [7]);
    assert!(applied(&run.on(Input::Returned { id: 3, result: Ok(Applied::default()) })).is_empty());
    assert_eq!(applied(&run.on(Input::Returned { id: 1, result: Ok(Applied::default()) })), [9]);
}

#[test]
fn interrupted_nothing_new_begins_and_what_runs_is_awaited() {
    let mut b = Building::default();
    let pull = b.plan.push(Step::Do(Op::PullImage { reference: "i".into(), platform: None }), vec![], "");
    let after_pull = b.plan.push(Step::Do(Op::CreateVolume(Default::default())), vec![pull], "");
    let network = b.plan.push(Step::Do(Op::CreateNetwork(Default::default())), vec![], "");
    let after_network = b.plan.push(Step::Do(Op::CreateVolume(Default::default())), vec![network], "");
    let gate = b.gate("db", Gate::Healthy, None, false);
    let observed = Observed { containers: vec![Container { health: Some(Health::Starting), ..container("db") }], ..Observed::default() };
    let mut run = Run::new(&b.plan, &observed, 8);
    run.on(Input::Begin);
    let fx = run.on(Input::Interrupted(1));
    assert!(fx.contains(&Effect::Drop(pull)) && !fx.contains(&Effect::Drop(network)));
    assert!(!run.finished());
    assert_eq!(run.running().collect::<Vec<_>>(), [network]);
    run.on(Input::Returned { id: network, result: Ok(Applied::default()) });
    assert!(run.finished());
    let outcomes = run.report();
    assert!(outcomes.interrupted);
    let expected = [
        (pull, Outcome::Abandoned),
        (after_pull, Outcome::NotBegun),
        (network, Outcome::Done),
        (after_network, Outcome::NotBegun),
        (gate, Outcome::Abandoned),
    ];
    for (id, outcome) in expected {
        assert_eq!(outcomes.outcomes[id], outcome, "{id}");
    }
}

#[test]
fn interrupted_twice_nothing_is_awaited() {
    let mut plan = Plan::default();
    plan.push(Step::Do(Op::StopContainer { container: Target::named("a"), timeout: None }), vec![], "");
    let observed = Observed::default();
    let mut run = Run::new(&plan, &observed, 8);
    run.on(Input::Begin);
    assert!(run.on(Input::Interrupted(1)).is_empty());
    assert_eq!(run.on(Input::Interrupted(2)), [Effect::Drop(0), Effect::Settled(0)]);
    assert!(run.finished());
    // A result that still comes is too late.
    assert!(run.on(Input::Returned { id: 0, result: Ok(Applied::default()) }).is_empty());
}

#[test]
fn a_replacement_gets_its_name_even_when_interrupted() {
    let mut plan = Plan::default();
    let remove = plan.push(Step::Do(Op::RemoveContainer { container: Target::existing("a", "old"), volumes: false }), vec![], "");
    let rename = plan.push(Step::Do(Op::RenameContainer { container: Target::named("tmp_a"), to: "a".into() }), vec![remove], "");
    let start = plan.push(Step::Do(Op::StartContainer { container: Target::named("a") }), vec![rename], "");
    let observed = Observed::default();
    let mut run = Run::new(&plan, &observed, 8);
    run.on(Input::Begin);
    run.on(Input::Interrupted(1));
    assert_eq!(run.on(Input::Returned { id: remove, result: Ok(Applied::default()) }).last(), Some(&Effect::Apply(rename)));
    run.on(Input::Returned { id: rename, result: Ok(Applied::default()) });
    assert_eq!(run.outcome(start), Some(Outcome::NotBegun));
}

#[test]
fn a_container_that_falls_over_again_and_again_is_reported() {
    let mut b = Building::default();
    b.service("job", false, &[]);
    b.service("web", false, &[("job", Gate::Completed)]);
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin).on(heard("job", EventKind::Started));
    for _ in 0..4 {
        bench.on(heard("job", EventKind::Died { exit_code: 1 })).saw(ContainerDetails { state: Some(State::Restarting), ..exited(1) });
        bench.on(heard("job", EventKind::Started));
    }
    assert_eq!(bench.other.iter().filter(|e| matches!(e, Effect::Looping { restarts: 3, .. })).count(), 1);
    assert!(bench.run.failures.is_empty());
}

#[test]
fn a_container_that_is_not_there_blocks() {
    let mut b = Building::default();
    b.gate("ghost", Gate::Healthy, Some("web"), false);
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin);
    let (container, heard) = bench.looks.pop().unwrap();
    assert_eq!(container, "ghost");
    bench.on(Input::Seen { container, heard, details: Ok(None) });
    assert_eq!(blocked(&bench), Blocked::Missing);
}

#[test]
fn five_hundred_services_at_one_gate_are_no_work() {
    let mut b = Building::default();
    b.service("db", true, &[]);
    for i in 0..2_000 {
        b.service(&format!("s{i}"), false, &[("db", Gate::Healthy)]);
    }
    let observed = Observed::default();
    let mut bench = Bench::new(&b.plan, &observed);
    bench.on(Input::Begin).on(heard("db", EventKind::Started)).on(heard("db", EventKind::Health(Health::Healthy)));
    assert!(bench.run.finished() && bench.outcomes().iter().all(|o| *o == DONE));
}
