//! The one loop that carries a plan out: results of ops, news of the engine, timers, Ctrl-C and room in the output come
//! together here, and [`Run`] says what follows from them.

use super::outbox::Outbox;
use super::state::{Effect, Input, Run};
use super::{Cause, Context, Feed, Interrupts, News, Options, Outcome, Report, why, words};
use crate::diag::Diagnostic;
use crate::engine::OpProgress;
use crate::plan::{Awaited, Gate, Node, NodeId, Plan, Step};
use crate::world::{Applied, EngineError, ErrorKind, Event, Observed, Op, Subject, SubjectKind, Target, TaskState, bind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// After this long, an op that waits for a container's process gives its place to another one.
const SLOW: Duration = Duration::from_secs(1);
/// This long a container without a health check has to run before it counts as running.
const STEADY: Duration = Duration::from_millis(500);
/// Reports of progress that may lie unread; more are dropped.
const PROGRESS: usize = 64;

/// So long a reader may stand still once the user wants to end.
const STANDSTILL: Duration = Duration::from_millis(500);

/// What the tasks send back.
enum Back {
    Input(Input),
    Explained(Vec<Event>),
}

/// Calls that run. Dropped, they are abandoned.
#[derive(Default)]
struct Calls(BTreeMap<NodeId, AbortHandle>);

impl Drop for Calls {
    fn drop(&mut self) {
        self.0.values().for_each(AbortHandle::abort);
    }
}

struct Conductor<'a> {
    ctx: &'a Context,
    plan: &'a Plan,
    options: &'a Options,
    run: Run<'a>,
    out: Outbox,
    back: mpsc::UnboundedSender<Back>,
    progress: mpsc::Sender<(NodeId, OpProgress)>,
    calls: Calls,
    /// Explanations being written.
    explaining: usize,
    /// Containers that were explained already.
    explained: BTreeSet<(String, String)>,
    /// The last word on each thing, so that nothing is said twice.
    said: BTreeMap<Subject, String>,
    /// The engine went away, and the user was told.
    told_lost: bool,
    /// When the time for gates is up.
    deadline: Option<Instant>,
}

pub(super) async fn conduct(ctx: &Context, plan: &Plan, observed: &Observed, mut feed: Feed, options: &Options, interrupts: &Interrupts) -> Report {
    let (back, mut returns) = mpsc::unbounded_channel();
    let (progress, mut reports) = mpsc::channel(PROGRESS);
    let mut me = Conductor {
        ctx,
        plan,
        options,
        run: Run::new(plan, observed, ctx.parallel),
        out: Outbox::new(ctx.out.clone()),
        back,
        progress,
        calls: Calls::default(),
        explaining: 0,
        explained: BTreeSet::new(),
        said: BTreeMap::new(),
        told_lost: false,
        deadline: None,
    };
    let (mut level, mut listening) = (0, true);
    me.feed(Input::Begin);
    while !me.run.finished() || (me.explaining > 0 && level < 2) {
        tokio::select! {
            biased;
            () = interrupts.reached(level + 1) => {
                level = interrupts.level();
                me.interrupted(level);
            }
            // News before results: what was heard before an op is older than what follows from the op.
            news = feed.next(), if listening => match news {
                Some(News::Event(event)) => me.feed(Input::Heard(event)),
                Some(News::Gap) => me.feed(Input::Gap),
                Some(News::Lost(error)) => me.feed(Input::Lost(error)),
                None => listening = false,
            },
            Some(back) = returns.recv() => match back {
                Back::Input(input) => me.feed(input),
                Back::Explained(events) => {
                    me.explaining -= 1;
                    events.into_iter().for_each(|e| me.out.push(e));
                }
            },
            () = sleep_until(me.deadline.unwrap_or_else(Instant::now)), if me.deadline.is_some() => {
                me.deadline = None;
                me.feed(Input::TimedOut);
            }
            Some((id, report)) = reports.recv() => me.report_progress(id, report),
            () = me.out.send_one(), if me.out.has_some() => {}
        }
    }
    if me.told_lost {
        me.sum_up();
    }
    let Conductor { run, mut out, .. } = me;
    tokio::select! {
        biased;
        () = out.send_all() => {}
        // A reader that stands still must not keep the user from ending this.
        () = async { interrupts.reached(1).await; sleep(STANDSTILL).await } => {}
        () = interrupts.reached(2) => {}
    }
    run.report()
}

impl Conductor<'_> {
    fn feed(&mut self, input: Input) {
        // Effects may give rise to inputs at once: a name that can't be bound is a failed op.
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            if let Input::Returned { id, result } = &input {
                self.calls.0.remove(id);
                self.pass_on_warnings(*id, result);
            }
            for effect in self.run.on(input) {
                inputs.extend(self.carry_out(effect));
            }
        }
    }

    /// What the engine wants the user to know of something it did.
    fn pass_on_warnings(&mut self, id: NodeId, result: &Result<Applied, EngineError>) {
        let (Ok(applied), Step::Do(op)) = (result, &self.plan.nodes[id].step) else { return };
        let subject = op.subject().to_string();
        let name = self.plan.nodes[id].shows.as_ref().and_then(|s| s.name.as_deref());
        let kind = subject.split(' ').next().unwrap_or_default().to_lowercase();
        for warning in &applied.warnings {
            let what = format!("{kind} {}: {}", name.unwrap_or(&op.subject().name), warning.trim_end());
            self.out.push(Event::Diagnostic(Diagnostic::warning("engine-warning", what)));
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Apply(id) => return self.apply(id),
            Effect::Drop(id) => {
                if let Some(call) = self.calls.0.remove(&id) {
                    call.abort();
                }
            }
            Effect::Opened(id) => {
                if let (None, Some(limit)) = (self.deadline, self.options.wait_timeout) {
                    self.deadline = Some(Instant::now() + limit);
                }
                let text = self.plan.nodes[id].shows.as_ref().map_or("", |s| s.doing);
                self.tell_node(id, TaskState::Working, text);
            }
            Effect::Settled(id) => self.settled(id),
            Effect::Look { target, container, heard } => {
                let (engine, back) = (self.ctx.engine.clone(), self.back.clone());
                tokio::spawn(async move {
                    let details = match engine.inspect(&target).await {
                        Ok(details) => Ok(Some(Box::new(details))),
                        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
                        Err(error) => Err(error),
                    };
                    let _ = back.send(Back::Input(Input::Seen { container, heard, details }));
                });
            }
            Effect::Steady { container, starts } => {
                let back = self.back.clone();
                tokio::spawn(async move {
                    sleep(STEADY).await;
                    let _ = back.send(Back::Input(Input::Steady { container, starts }));
                });
            }
            Effect::Looping { node, container, restarts } => {
                let text = words::looping(self.plan, node, &container, restarts);
                self.out.push(Event::Diagnostic(Diagnostic::warning("restart-loop", text)));
            }
        }
        None
    }

    fn apply(&mut self, id: NodeId) -> Option<Input> {
        let Step::Do(op) = &self.plan.nodes[id].step else { return None };
        let op = match self.with_ids(op) {
            Ok(op) => op,
            Err(error) => return Some(Input::Returned { id, result: Err(error) }),
        };
        let text = self.plan.nodes[id].shows.as_ref().map_or("", |s| s.doing);
        self.tell_node(id, TaskState::Working, text);
        let (engine, back, progress) = (self.ctx.engine.clone(), self.back.clone(), self.progress.clone());
        let call = tokio::spawn(async move {
            let (sink, mut reports) = mpsc::channel(16);
            let waits = matches!(op, Op::StopContainer { .. } | Op::RestartContainer { .. } | Op::RunHook { .. });
            let mut slow = std::pin::pin!(sleep(SLOW));
            let mut said_slow = !waits;
            let mut applied = engine.apply(&op, &sink);
            let result = loop {
                tokio::select! {
                    biased;
                    result = &mut applied => break result,
                    Some(report) = reports.recv() => drop(progress.try_send((id, report))),
                    () = &mut slow, if !said_slow => {
                        said_slow = true;
                        let _ = back.send(Back::Input(Input::Slow(id)));
                    }
                }
            };
            drop(applied);
            let _ = back.send(Back::Input(Input::Returned { id, result }));
        });
        self.calls.0.insert(id, call.abort_handle());
        None
    }

    /// `op` with the ids of containers that didn't exist when the plan was made.
    fn with_ids(&self, op: &Op) -> Result<Op, EngineError> {
        let ids = self.run.facts.ids();
        let mut op = op.clone();
        if let Op::CreateContainer(spec) = &mut op {
            let name = spec.name.clone();
            bind(spec, &|name| ids.get(name).cloned())
                .map_err(|other| EngineError::new(ErrorKind::NotFound, format!("container {name} needs container {other}, which doesn't exist")))?;
        } else if let Some(target) = op.container_mut()
            && target.id.is_none()
        {
            target.id = ids.get(&target.name).filter(|id| !id.is_empty()).cloned();
        }
        Ok(op)
    }

    fn settled(&mut self, id: NodeId) {
        let node = &self.plan.nodes[id];
        match self.run.outcome(id) {
            Some(Outcome::Done) => self.done(node),
            Some(Outcome::Failed) => self.failed(id),
            Some(Outcome::Waived) => self.waived(node),
            Some(Outcome::Skipped | Outcome::Abandoned | Outcome::NotBegun) | None => {}
        }
    }

    fn done(&mut self, node: &Node) {
        let done = node.shows.as_ref().map_or("", |s| s.done);
        match &node.step {
            // What has done its work is as good as what runs, but not the same.
            Step::Await(gate) if matches!(gate.gate, Gate::Ready { .. }) => {
                for Awaited { target, .. } in &gate.containers {
                    let text = if self.run.has_exited(target) { "Exited" } else { done };
                    self.tell(Subject::new(SubjectKind::Container, &target.name), TaskState::Done, text);
                }
            }
            _ => self.tell_node(node.id, TaskState::Done, done),
        }
    }

    fn failed(&mut self, id: NodeId) {
        let Some(failure) = self.run.failures.iter().rev().find(|f| f.node == id) else { return };
        let cause = failure.cause.clone();
        match cause {
            Cause::Engine(error) => {
                self.tell_node(id, TaskState::Error, "Error");
                let gone = error.kind == ErrorKind::Unreachable;
                if !(gone && self.told_lost) {
                    self.out.push(Event::Diagnostic(words::engine_error(&error)));
                }
                self.told_lost |= gone;
            }
            Cause::Gate { containers, blocked } => {
                let Step::Await(gate) = &self.plan.nodes[id].step else { return };
                self.tell_node(id, TaskState::Error, words::task(&blocked));
                if matches!(blocked, super::Blocked::EngineLost(_)) {
                    if !std::mem::replace(&mut self.told_lost, true) {
                        self.out.push(Event::Diagnostic(why::diagnose(gate, &containers, &blocked, self.options.wait_timeout)));
                    }
                    return;
                }
                let fresh = |t: &&Target| self.explained.insert((t.name.clone(), words::task(&blocked).to_owned()));
                let fresh: Vec<_> = containers.iter().filter(fresh).cloned().collect();
                let (engine, back) = (self.ctx.engine.clone(), self.back.clone());
                let diagnostic = why::diagnose(gate, &containers, &blocked, self.options.wait_timeout);
                let gate = gate.clone();
                self.explaining += 1;
                tokio::spawn(async move {
                    let mut events = vec![Event::Diagnostic(diagnostic)];
                    for container in &fresh {
                        events.extend(why::explain(&*engine, &gate, container, &blocked).await.map(Event::Explanation));
                    }
                    let _ = back.send(Back::Explained(events));
                });
            }
        }
    }

    fn waived(&mut self, node: &Node) {
        let cause = self.run.waived.get(&node.id).cloned();
        match (&node.step, cause) {
            (Step::Await(gate), cause) => {
                let text = words::waived(gate, cause.as_ref());
                self.tell_node(node.id, TaskState::Warning, &text);
            }
            (Step::Do(op), Some(Cause::Engine(error))) => {
                let in_use =
                    error.kind == ErrorKind::Conflict && matches!(op, Op::RemoveNetwork { .. } | Op::RemoveVolume { .. } | Op::RemoveImage { .. });
                if in_use {
                    self.tell_node(node.id, TaskState::Warning, "Resource is still in use");
                } else {
                    self.tell_node(node.id, TaskState::Warning, "Warning");
                    let error = words::engine_error(&error);
                    self.out.push(Event::Diagnostic(Diagnostic { severity: crate::diag::Severity::Warning, ..error }));
                }
            }
            _ => {}
        }
    }

    /// A word on the thing, or the things, that a step is about.
    fn tell_node(&mut self, id: NodeId, state: TaskState, text: &str) {
        let node = &self.plan.nodes[id];
        let Some(shows) = node.shows.as_ref().filter(|_| !text.is_empty()) else { return };
        let subjects: Vec<Subject> = match &node.step {
            Step::Do(op) => {
                let subject = op.subject();
                vec![Subject { name: shows.name.clone().unwrap_or(subject.name), ..subject }]
            }
            Step::Await(gate) => gate.containers.iter().map(|a| Subject::new(SubjectKind::Container, &a.target.name)).collect(),
        };
        for subject in subjects {
            self.tell(subject, state, text);
        }
    }

    fn tell(&mut self, subject: Subject, state: TaskState, text: &str) {
        if self.said.get(&subject).is_none_or(|last| last != text) {
            self.said.insert(subject.clone(), text.to_owned());
            self.out.push(Event::Task { subject, state, text: text.to_owned(), part: None, progress: None });
        }
    }

    fn report_progress(&mut self, id: NodeId, report: OpProgress) {
        let Step::Do(op) = &self.plan.nodes[id].step else { return };
        if self.calls.0.contains_key(&id) && self.out.len() < PROGRESS {
            let part = Some(report.part).filter(|p| !p.is_empty());
            self.out.push(Event::Task { subject: op.subject(), state: TaskState::Working, text: report.text, part, progress: report.progress });
        }
    }

    fn interrupted(&mut self, level: u32) {
        let waiting: Vec<_> = self.run.waiting().collect();
        let mut dropped: Vec<_> = self.run.running().collect();
        self.feed(Input::Interrupted(level));
        if level > 1 {
            return;
        }
        let running: Vec<_> = self.run.running().collect();
        dropped.retain(|id| !running.contains(id));
        if let Some(text) = words::interrupted(self.plan, &waiting, &dropped, &running, self.options.hurry) {
            self.out.push(Event::Message(text));
        }
    }

    /// The engine went away: what was done, and what was not.
    fn sum_up(&mut self) {
        let outcomes = self.plan.nodes.iter().map(|n| (n, self.run.outcome(n.id).unwrap_or(Outcome::NotBegun)));
        self.out.push(Event::Explanation(words::sum_up(outcomes)));
    }
}
