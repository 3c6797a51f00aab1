//! A plan being carried out, as a pure state machine: inputs in, effects out. No clock, no channel, no engine.

use super::facts::{Facts, Verdict};
use super::{Blocked, Cause, Failure, Outcome, Report};
use crate::plan::{Gate, NodeId, Plan, Step, Upstream};
use crate::world::{Applied, ContainerDetails, EngineError, EngineEvent, ErrorKind, Observed, Op, State, Target};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// Go.
    Begin,
    /// An op ended.
    Returned { id: NodeId, result: Result<Applied, EngineError> },
    /// An op waits for a process rather than for the engine: another one may have its place.
    Slow(NodeId),
    /// The engine tells something.
    Heard(Arc<EngineEvent>),
    /// A look at a container; `None` if there is none.
    Seen { container: String, heard: u64, details: Result<Option<Box<ContainerDetails>>, EngineError> },
    /// Events may have been missed.
    Gap,
    /// No more events will come.
    Lost(EngineError),
    /// A container has run for a moment since its start number `starts`.
    Steady { container: String, starts: u32 },
    /// The time for gates is up.
    TimedOut,
    /// The user wants to end it: 1 gracefully, 2 at once.
    Interrupted(u32),
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// Ask the engine for the op of a node.
    Apply(NodeId),
    /// Don't wait for the op of a node any more.
    Drop(NodeId),
    /// A gate is being waited at.
    Opened(NodeId),
    /// A node has its outcome.
    Settled(NodeId),
    /// Look at a container.
    Look { target: Target, container: String, heard: u64 },
    /// Say when a container has run for a moment.
    Steady { container: String, starts: u32 },
    /// A container that is waited for falls over and is started again, and again.
    Looping { node: NodeId, container: String, restarts: u32 },
}

/// After how many restarts in a row something is said.
const LOOPS: [u32; 4] = [3, 10, 30, 100];

/// A place among the calls that may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    None,
    Pull,
    Other,
}

/// A plan being carried out.
#[derive(Debug)]
pub(super) struct Run<'p> {
    plan: &'p Plan,
    observed: &'p Observed,
    parallel: usize,
    /// How many steps each step still waits for.
    waits: Vec<usize>,
    dependents: Vec<Vec<NodeId>>,
    /// Something that the step waits for failed.
    tainted: Vec<bool>,
    outcomes: Vec<Option<Outcome>>,
    open: usize,
    /// Steps that could begin if there was room.
    ready: BTreeSet<NodeId>,
    ready_pulls: BTreeSet<NodeId>,
    /// What runs.
    running: BTreeMap<NodeId, Place>,
    calls: usize,
    pulls: usize,
    /// Gates being waited at, by container.
    gates: BTreeMap<String, BTreeSet<NodeId>>,
    /// Gates being waited at, with the ids of their containers.
    waiting: BTreeMap<NodeId, Vec<String>>,
    /// Containers that have a moment to prove themselves, with the number of their start.
    proving: BTreeSet<(String, u32)>,
    /// Steps whose last predecessor has settled. A list instead of recursion: chains may be long.
    arrivals: VecDeque<NodeId>,
    looks: VecDeque<Target>,
    looking: usize,
    pub facts: Facts,
    pub failures: Vec<Failure>,
    /// Why steps failed whose failure doesn't matter. A gate that isn't here was waived because what it waits for could
    /// not even be started.
    pub waived: BTreeMap<NodeId, Cause>,
    /// Nothing new is begun.
    halted: bool,
    interrupted: u32,
    lost: Option<EngineError>,
    timed_out: bool,
    changed: usize,
    created: BTreeMap<String, String>,
    started: Vec<String>,
    fx: Vec<Effect>,
}

impl<'p> Run<'p> {
    /// Nothing begun yet.
    pub fn new(plan: &'p Plan, observed: &'p Observed, parallel: usize) -> Self {
        let n = plan.nodes.len();
        let mut dependents = vec![Vec::new(); n];
        for node in &plan.nodes {
            for after in &node.after {
                dependents[*after].push(node.id);
            }
        }
        Self {
            plan,
            observed,
            parallel: parallel.max(1),
            waits: plan.nodes.iter().map(|node| node.after.len()).collect(),
            dependents,
            tainted: vec![false; n],
            outcomes: vec![None; n],
            open: n,
            ready: BTreeSet::new(),
            ready_pulls: BTreeSet::new(),
            running: BTreeMap::new(),
            calls: 0,
            pulls: 0,
            gates: BTreeMap::new(),
            waiting: BTreeMap::new(),
            proving: BTreeSet::new(),
            arrivals: VecDeque::new(),
            looks: VecDeque::new(),
            looking: 0,
            facts: Facts::seeded(observed),
            failures: Vec::new(),
            waived: BTreeMap::new(),
            halted: false,
            interrupted: 0,
            lost: None,
            timed_out: false,
            changed: 0,
            created: BTreeMap::new(),
            started: Vec::new(),
            fx: Vec::new(),
        }
    }

    /// Whether every step has its outcome.
    pub fn finished(&self) -> bool {
        self.open == 0
    }

    /// Outcome of a step.
    pub fn outcome(&self, id: NodeId) -> Option<Outcome> {
        self.outcomes[id]
    }

    /// Steps whose op runs.
    pub fn running(&self) -> impl Iterator<Item = NodeId> {
        self.running.keys().copied()
    }

    /// Gates that are being waited at.
    pub fn waiting(&self) -> impl Iterator<Item = NodeId> {
        self.waiting.keys().copied()
    }

    /// Whether a container has come to its end, as far as is known.
    pub fn has_exited(&self, container: &Target) -> bool {
        self.facts.get(self.facts.id(container)).is_some_and(|fact| fact.state == Some(State::Exited))
    }

    /// What came of it. Steps that have no outcome yet count as not begun.
    pub fn report(self) -> Report {
        let runs = |name: &&String| {
            let fact = self.facts.ids().get(*name).and_then(|id| self.facts.get(id));
            fact.is_none_or(|f| !f.gone && f.state != Some(State::Exited))
        };
        Report {
            running: self.started.iter().filter(runs).cloned().collect(),
            outcomes: self.outcomes.into_iter().map(|o| o.unwrap_or(Outcome::NotBegun)).collect(),
            failures: self.failures,
            interrupted: self.interrupted > 0,
            changed: self.changed,
            ids: self.created,
            started: self.started,
        }
    }

    /// Takes in what happened and says what to do.
    pub fn on(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Begin => self.arrivals.extend((0..self.waits.len()).filter(|id| self.waits[*id] == 0)),
            Input::Returned { id, result } => self.returned(id, result),
            Input::Slow(id) => self.leave_place(id),
            Input::Heard(event) => {
                let restarts = self.facts.get(&event.container.id).map_or(0, |f| f.restarts);
                if self.facts.hear(&event) {
                    self.loops(&event.container.id, &event.container.name, restarts);
                    self.judge_container(&event.container.id);
                }
            }
            Input::Seen { container, heard, details } => self.seen(&container, heard, details),
            Input::Gap => {
                self.facts.doubt();
                self.judge_all();
            }
            Input::Lost(error) => {
                self.lost = Some(error);
                self.judge_all();
            }
            Input::Steady { container, starts } => {
                self.facts.steady(&container, starts);
                self.judge_container(&container);
            }
            Input::TimedOut => {
                self.timed_out = true;
                self.judge_all();
            }
            Input::Interrupted(level) => self.interrupt(level),
        }
        while let Some(id) = self.arrivals.pop_front() {
            self.arrive(id);
        }
        self.begin();
        std::mem::take(&mut self.fx)
    }

    /// All that `id` waits for has settled.
    fn arrive(&mut self, id: NodeId) {
        let node = &self.plan.nodes[id];
        // A container whose predecessor is gone gets its name all the same: otherwise nobody would find it.
        let swap = self.interrupted == 1 && !self.tainted[id] && matches!(node.step, Step::Do(Op::RenameContainer { .. }));
        if self.halted && !swap {
            return self.settle(id, Outcome::NotBegun);
        }
        if self.tainted[id] && node.upstream == Upstream::Skip {
            let optional = matches!(&node.step, Step::Await(gate) if gate.optional);
            return self.settle(id, if optional { Outcome::Waived } else { Outcome::Skipped });
        }
        match &node.step {
            Step::Do(Op::PullImage { .. }) => drop(self.ready_pulls.insert(id)),
            Step::Do(_) => drop(self.ready.insert(id)),
            Step::Await(gate) => {
                let containers: Vec<_> = gate.containers.iter().map(|a| self.facts.id(&a.target).to_owned()).collect();
                for container in &containers {
                    self.gates.entry(container.clone()).or_default().insert(id);
                }
                self.waiting.insert(id, containers);
                if !self.judge(id) {
                    self.fx.push(Effect::Opened(id));
                }
            }
        }
    }

    /// Begins what there is room for.
    fn begin(&mut self) {
        while self.pulls < self.parallel
            && let Some(id) = self.ready_pulls.pop_first()
        {
            self.pulls += 1;
            self.running.insert(id, Place::Pull);
            self.fx.push(Effect::Apply(id));
        }
        while self.calls < self.parallel
            && let Some(id) = self.ready.pop_first()
        {
            self.calls += 1;
            self.running.insert(id, Place::Other);
            if let Step::Do(Op::StartContainer { container } | Op::RestartContainer { container, .. }) = &self.plan.nodes[id].step {
                let container = self.facts.id(container).to_owned();
                self.facts.starting(&container);
            }
            self.fx.push(Effect::Apply(id));
        }
        while self.looking < self.parallel
            && !self.halted
            && let Some(target) = self.looks.pop_front()
        {
            self.looking += 1;
            let container = target.reference().to_owned();
            let heard = self.facts.looking(&container);
            self.fx.push(Effect::Look { target, container, heard });
        }
    }

    fn leave_place(&mut self, id: NodeId) {
        if let Some(place) = self.running.get_mut(&id) {
            match std::mem::replace(place, Place::None) {
                Place::None => {}
                Place::Pull => self.pulls -= 1,
                Place::Other => self.calls -= 1,
            }
        }
    }

    fn returned(&mut self, id: NodeId, result: Result<Applied, EngineError>) {
        self.leave_place(id);
        if self.running.remove(&id).is_none() {
            return; // It was dropped.
        }
        let Step::Do(op) = &self.plan.nodes[id].step else { return };
        if let (Err(_), Op::StartContainer { container } | Op::RestartContainer { container, .. }) = (&result, op) {
            // An optional gate may wait for it all the same.
            let container = self.facts.id(container).to_owned();
            self.facts.not_started(&container);
            self.judge_container(&container);
        }
        match result {
            Ok(applied) => {
                self.learn(op, &applied);
                self.changed += usize::from(applied.changed);
                self.settle(id, Outcome::Done);
            }
            Err(error) if self.plan.nodes[id].lenient => {
                self.waived.insert(id, Cause::Engine(error));
                self.settle(id, Outcome::Waived);
            }
            Err(error) => {
                // An engine that is gone says so to everybody: asking on only repeats the message.
                let gone = error.kind == ErrorKind::Unreachable;
                self.fail(id, Cause::Engine(error));
                if gone {
                    self.halt();
                }
            }
        }
    }

    /// What an op that succeeded says about containers.
    fn learn(&mut self, op: &Op, applied: &Applied) {
        match op {
            Op::CreateContainer(spec) => {
                self.facts.created(spec, applied.id.as_deref(), self.observed);
                self.created.insert(spec.name.clone(), applied.id.clone().unwrap_or_default());
            }
            Op::RenameContainer { container, to } => {
                self.facts.renamed(container, to);
                if let Some(id) = self.created.remove(&container.name) {
                    self.created.insert(to.clone(), id);
                }
            }
            Op::StartContainer { container } | Op::RestartContainer { container, .. } => {
                let id = self.facts.id(container).to_owned();
                self.facts.started(&id, applied.changed);
                if applied.changed {
                    self.started.push(container.name.clone());
                }
                self.judge_container(&id);
            }
            Op::RemoveContainer { container, .. } => {
                let id = self.facts.id(container).to_owned();
                self.facts.removed(&id);
                self.judge_container(&id);
            }
            _ => {}
        }
    }

    fn seen(&mut self, container: &str, heard: u64, details: Result<Option<Box<ContainerDetails>>, EngineError>) {
        self.looking -= 1;
        match details {
            Ok(details) => {
                // A container that was only known by name.
                let id = details.as_ref().map_or(container, |d| if d.id.is_empty() { container } else { &d.id });
                if id != container {
                    self.rename(container, id);
                }
                self.facts.seen(id, heard, details.as_deref());
                self.judge_container(id);
            }
            Err(error) => {
                for id in self.gates.get(container).cloned().unwrap_or_default() {
                    self.block(id, &[container.to_owned()], Blocked::EngineLost(error.clone()));
                }
            }
        }
    }

    /// What was asked for as `from` is the container `to`.
    fn rename(&mut self, from: &str, to: &str) {
        let gates = self.gates.remove(from).unwrap_or_default();
        for gate in &gates {
            self.waiting.entry(*gate).or_default().iter_mut().filter(|c| *c == from).for_each(|c| to.clone_into(c));
        }
        self.gates.entry(to.to_owned()).or_default().extend(gates);
    }

    fn judge_all(&mut self) {
        for id in self.waiting.keys().copied().collect::<Vec<_>>() {
            self.judge(id);
        }
    }

    fn judge_container(&mut self, container: &str) {
        for id in self.gates.get(container).cloned().unwrap_or_default() {
            self.judge(id);
        }
    }

    /// Looks whether a gate can be passed. True if that is settled.
    fn judge(&mut self, id: NodeId) -> bool {
        let Step::Await(gate) = &self.plan.nodes[id].step else { return false };
        let Some(containers) = self.waiting.get(&id).cloned() else { return true };
        let mut keeping = Vec::new();
        for container in containers {
            let verdict = match self.facts.get(&container) {
                Some(fact) => fact.judge(gate.gate),
                None if gate.gate == Gate::Started => Verdict::Passed,
                None => Verdict::Look,
            };
            match verdict {
                Verdict::Passed => continue,
                Verdict::Blocked(blocked) => {
                    self.block(id, &[container], blocked);
                    return true;
                }
                Verdict::Wait => {}
                Verdict::Look if self.lost.is_some() => {}
                Verdict::Look => {
                    // Without a fact there is no id either.
                    let target = match self.facts.get(&container) {
                        Some(_) => Target::existing("", &container),
                        None => Target::named(&container),
                    };
                    if !self.looks.contains(&target) {
                        self.looks.push_back(target);
                    }
                }
                Verdict::Steady => {
                    let starts = self.facts.get(&container).map_or(0, |f| f.starts);
                    if self.proving.insert((container.clone(), starts)) {
                        self.fx.push(Effect::Steady { container: container.clone(), starts });
                    }
                }
            }
            keeping.push(container);
        }
        if keeping.is_empty() {
            self.settle(id, Outcome::Done);
            return true;
        }
        if let Some(error) = self.lost.clone() {
            self.block(id, &keeping, Blocked::EngineLost(error));
            return true;
        }
        if self.timed_out {
            self.block(id, &keeping, Blocked::TimedOut);
            return true;
        }
        false
    }

    /// A gate can't be passed, because of `containers` (ids).
    fn block(&mut self, id: NodeId, containers: &[String], blocked: Blocked) {
        let Step::Await(gate) = &self.plan.nodes[id].step else { return };
        let at_fault = |t: &&Target| containers.iter().any(|c| c == self.facts.id(t));
        let containers = gate.containers.iter().map(|a| &a.target).filter(at_fault).map(|t| Target::existing(&t.name, self.facts.id(t))).collect();
        let cause = Cause::Gate { containers, blocked };
        if gate.optional {
            self.waived.insert(id, cause);
            self.settle(id, Outcome::Waived);
        } else {
            self.fail(id, cause);
        }
    }

    fn fail(&mut self, id: NodeId, cause: Cause) {
        self.failures.push(Failure { node: id, service: self.plan.nodes[id].service.clone(), cause });
        self.settle(id, Outcome::Failed);
    }

    /// Gives a step its outcome and lets those arrive that waited for it last.
    fn settle(&mut self, id: NodeId, outcome: Outcome) {
        if self.outcomes[id].is_some() {
            return;
        }
        self.outcomes[id] = Some(outcome);
        self.open -= 1;
        for container in self.waiting.remove(&id).unwrap_or_default() {
            if let Some(gates) = self.gates.get_mut(&container) {
                gates.remove(&id);
            }
        }
        self.fx.push(Effect::Settled(id));
        let bad = !matches!(outcome, Outcome::Done | Outcome::Waived);
        for dependent in &self.dependents[id] {
            self.tainted[*dependent] |= bad;
            self.waits[*dependent] -= 1;
            if self.waits[*dependent] == 0 {
                self.arrivals.push_back(*dependent);
            }
        }
    }

    fn loops(&mut self, container: &str, name: &str, before: u32) {
        let restarts = self.facts.get(container).map_or(0, |f| f.restarts);
        if restarts > before
            && LOOPS.contains(&restarts)
            && let Some(id) = self.gates.get(container).and_then(|gates| gates.first())
        {
            self.fx.push(Effect::Looping { node: *id, container: name.to_owned(), restarts });
        }
    }

    fn interrupt(&mut self, level: u32) {
        self.interrupted = self.interrupted.max(level);
        self.halt();
        for id in self.running.keys().copied().collect::<Vec<_>>() {
            // What only waits can be left alone; what changes something is given the time to end in a known state.
            let idle = matches!(&self.plan.nodes[id].step, Step::Do(Op::PullImage { .. } | Op::RunHook { .. }));
            if idle || level > 1 {
                self.leave_place(id);
                self.running.remove(&id);
                self.fx.push(Effect::Drop(id));
                self.settle(id, Outcome::Abandoned);
            }
        }
    }

    /// Nothing new is begun, and nothing is waited for that isn't an engine call.
    fn halt(&mut self) {
        if std::mem::replace(&mut self.halted, true) {
            return;
        }
        let ready = std::mem::take(&mut self.ready).into_iter().chain(std::mem::take(&mut self.ready_pulls));
        for id in ready.collect::<Vec<_>>() {
            self.settle(id, Outcome::NotBegun);
        }
        for id in self.waiting.keys().copied().collect::<Vec<_>>() {
            self.settle(id, Outcome::Abandoned);
        }
    }
}
