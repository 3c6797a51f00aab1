//! `up`: carry out, then stay.

use super::logs::{Begin, Lines, last_line, source_name};
use super::watch::{self, Scope, Turn, Watcher, identify};
use super::{Context, Error, Feed, Interrupts, Options, Outcome, Prepared, Report, execute, prepare, words};
use crate::diag::Diagnostic;
use crate::exit::Exit;
use crate::plan::{Plan, Step};
use crate::world::{Container, ContainerId, EngineError, Event, LogQuery, ObserveQuery, Observed, Op, Target};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What `up` is to do besides the plan.
#[derive(Clone, Debug, Default)]
pub struct UpRequest {
    /// What to look at.
    pub query: ObserveQuery,
    /// `None` is `--detach`.
    pub attach: Option<Attach>,
    /// `--wait-timeout`.
    pub wait_timeout: Option<Duration>,
}

/// What an attached `up` shows, and when it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attach {
    /// Services whose logs are shown.
    pub shown: BTreeSet<String>,
    /// Services whose containers are watched for the end.
    pub watched: BTreeSet<String>,
    /// When it ends by itself.
    pub end: EndRule,
}

/// When an attached `up` ends by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EndRule {
    /// When all have ended.
    #[default]
    AllEnded,
    /// `--abort-on-container-exit`: when one has ended; the rest is stopped. The code is that of the first, or that of
    /// the service that `--exit-code-from` names.
    FirstExit {
        /// `--exit-code-from`.
        code_from: Option<String>,
    },
    /// `--abort-on-container-failure`: when one has failed, or all have ended; the rest is stopped.
    FirstFailure {
        /// `--exit-code-from`.
        code_from: Option<String>,
    },
    /// `--exit-code-from` alone: when this service has ended, or another one has failed; the rest is stopped.
    ServiceEnded(String),
}

/// How `up` ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// What the shell sees.
    pub exit: Exit,
    /// What came of the plan.
    pub report: Report,
}

/// Subscribes, observes, plans, carries the plan out and, if attached, follows the logs until the end.
///
/// `stop` and `kill` plan the end: they are given what exists then, without the containers that are none of this run's
/// business.
///
/// # The end
/// Detached, an interrupt leaves what runs. Attached:
/// - The first interrupt stops gracefully, dependants first: as long as the plan is not carried out only what this run
///   started, afterwards everything that `stop` plans for. The second kills the same. The third leaves at once.
/// - A step that fails ends it with code 1; what runs goes on, as it does with Docker Compose.
/// - Otherwise [`EndRule`] says when it ends. A container that its restart policy starts again has not ended.
///
/// # Errors
/// The engine can't be asked, there is no plan, or it was interrupted before anything was begun.
pub async fn up<P, S, K>(ctx: &Context, request: &UpRequest, mut plan: P, stop: S, kill: K, interrupts: &Interrupts) -> Result<Ended, Error>
where
    P: AsyncFnMut(&Observed, bool) -> Result<Plan, Vec<Diagnostic>>,
    S: Fn(&Observed) -> Plan,
    K: Fn(&Observed) -> Plan,
{
    let options =
        Options { wait_timeout: request.wait_timeout, hurry: if request.attach.is_some() { "kill what was started" } else { "leave at once" } };
    let ctx = &ctx.supervised();
    let mut fetched = false;
    loop {
        let Prepared { plan, observed, feeds: [feed, news] } = prepare(ctx, &request.query, &mut plan, fetched, interrupts).await?;
        if plan.again {
            drop(news);
            let report = execute(ctx, &plan, &observed, feed, &options, interrupts).await;
            if report.interrupted || !report.failures.is_empty() {
                return Ok(Ended { exit: report.exit(), report });
            }
            fetched = true;
            continue;
        }
        let Some(attach) = &request.attach else {
            drop(news);
            let report = execute(ctx, &plan, &observed, feed, &options, interrupts).await;
            if report.interrupted {
                ctx.tell(Event::Message(words::left(&report.running))).await;
            }
            return Ok(Ended { exit: report.exit(), report });
        };
        let attached = Attached { ctx, attach, plan: &plan, observed: &observed, options: &options, interrupts };
        return Ok(attached.run(feed, news, &stop, &kill).await);
    }
}

impl Scope for &Attach {
    fn shows(&self, c: &ContainerId) -> bool {
        !c.oneoff && self.shown.contains(&c.service)
    }

    fn watches(&self, c: &ContainerId) -> bool {
        !c.oneoff && (self.watched.contains(&c.service) || self.end.service() == Some(&c.service))
    }
}

impl EndRule {
    /// The service whose code is the command's.
    fn service(&self) -> Option<&String> {
        match self {
            Self::AllEnded => None,
            Self::FirstExit { code_from } | Self::FirstFailure { code_from } => code_from.as_ref(),
            Self::ServiceEnded(service) => Some(service),
        }
    }

    /// Whether the end of this container is the end of all.
    fn ends_with(&self, container: &watch::Ended) -> bool {
        match self {
            Self::AllEnded => false,
            Self::FirstExit { .. } => true,
            Self::FirstFailure { .. } => container.code != 0,
            Self::ServiceEnded(service) => container.code != 0 || *service == container.service,
        }
    }
}

/// Why an attached `up` ends.
#[derive(Debug)]
enum Because {
    /// All have ended.
    AllEnded,
    /// The user wants it.
    Interrupted,
    /// The rule says so, after this container ended.
    Rule(watch::Ended),
    /// A step failed.
    Failed,
    /// The engine went away.
    Lost(EngineError),
}

struct Attached<'a> {
    ctx: &'a Context,
    attach: &'a Attach,
    plan: &'a Plan,
    observed: &'a Observed,
    options: &'a Options,
    interrupts: &'a Interrupts,
}

/// How long the last words of stopped containers are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Attached<'_> {
    async fn run(self, feed: Feed, mut news: Feed, stop: &dyn Fn(&Observed) -> Plan, kill: &dyn Fn(&Observed) -> Plan) -> Ended {
        let Self { ctx, attach, plan, observed, options, interrupts } = self;
        let heading = Event::Attach { sources: self.names(), announce: true };
        let mut watcher = Watcher::new(ctx, attach, Some(heading));
        let touched = self.touched();
        for c in observed.containers.iter().filter(|c| c.is_alive() && !touched.contains(c.id.as_str())) {
            watcher.adopt(c, None, Begin::At(LogQuery { tail: Some(0), ..LogQuery::default() }));
        }
        for (c, lines) in self.stopped().await {
            watcher.adopt(c, Some(lines), Begin::NextStart);
        }
        watcher.doubt();
        // The plan has a brake of its own: the rule may end it early, too.
        let (brake, braked) = super::interrupts();
        let mut codes: BTreeMap<String, i64> = BTreeMap::new();
        let (mut rule, mut lost) = (None, None);
        let mut passed_on = 0;
        let report = {
            let mut executing = std::pin::pin!(execute(ctx, plan, observed, feed, options, &braked));
            loop {
                tokio::select! {
                    biased;
                    () = interrupts.reached(passed_on + 1) => {
                        passed_on += 1;
                        brake.interrupt();
                    }
                    report = &mut executing => break report,
                    turn = watcher.turn(&mut news) => match turn {
                        Turn::Ended(ended) => {
                            codes.entry(ended.service.clone()).or_insert(ended.code);
                            if rule.is_none() && attach.end.ends_with(&ended) {
                                rule = Some(ended);
                                brake.interrupt();
                            }
                        }
                        Turn::Lost(error) => lost = Some(error),
                        Turn::Other => {}
                    },
                }
            }
        };
        watcher.follower.open();
        let complete = !report.interrupted;
        let watched = |name: &String| plan.nodes.iter().any(|n| self.starts(n.id, name));
        watcher.expect(report.started.iter().filter(|name| watched(name)).cloned());
        let because = if interrupts.level() > 0 {
            Because::Interrupted
        } else if let Some(ended) = rule {
            Because::Rule(ended)
        } else if !report.failures.is_empty() {
            Because::Failed
        } else if let Some(error) = lost {
            Because::Lost(error)
        } else {
            self.stay(&mut watcher, &mut news, &mut codes).await
        };
        let interrupted = matches!(because, Because::Interrupted);
        if interrupted || matches!(because, Because::Rule(_)) {
            let ours = (interrupted && !complete).then(|| self.ours(&report));
            let text = match &because {
                Because::Rule(ended) => format!("Aborting on container exit: {} exited with code {}", ended.name, ended.code),
                _ => "Gracefully stopping; press Ctrl+C again to kill, once more to leave at once".to_owned(),
            };
            let spent = u32::from(interrupted);
            let rest = interrupts.beyond(spent);
            let end = wind_down(ctx, text, ours.as_ref(), stop, kill, &rest);
            let mut ending = std::pin::pin!(end);
            loop {
                tokio::select! {
                    biased;
                    () = &mut ending => break,
                    turn = watcher.turn(&mut news) => self.note(turn, &mut codes),
                }
            }
            if rest.level() < 2 {
                self.last_words(&mut watcher, &mut news, &mut codes, &rest).await;
            }
        }
        let exit = self.exit(&because, &codes);
        if let Because::Lost(error) = &because {
            ctx.tell(Event::Diagnostic(words::engine_error(error))).await;
        }
        let left = watcher.running();
        let Watcher { follower, alive, .. } = watcher;
        tokio::select! {
            biased;
            () = follower.finish(|id| alive.contains_key(id)) => {}
            () = interrupts.reached(3) => {}
        }
        if matches!(because, Because::Failed) && !left.is_empty() {
            ctx.tell(Event::Message(words::left(&left))).await;
        }
        Ended { exit, report }
    }

    /// The plan is carried out: stays until the end.
    async fn stay(&self, watcher: &mut Watcher<'_, &Attach>, news: &mut Feed, codes: &mut BTreeMap<String, i64>) -> Because {
        loop {
            if !watcher.any_alive() {
                return Because::AllEnded;
            }
            tokio::select! {
                biased;
                () = self.interrupts.reached(1) => return Because::Interrupted,
                turn = watcher.turn(news) => match turn {
                    Turn::Ended(ended) => {
                        codes.entry(ended.service.clone()).or_insert(ended.code);
                        if self.attach.end.ends_with(&ended) {
                            return Because::Rule(ended);
                        }
                    }
                    Turn::Lost(error) => return Because::Lost(error),
                    Turn::Other => {}
                },
            }
        }
    }

    fn note(&self, turn: Turn, codes: &mut BTreeMap<String, i64>) {
        if let Turn::Ended(ended) = turn {
            codes.entry(ended.service).or_insert(ended.code);
        }
    }

    /// Containers were stopped: waits until their ends are heard.
    async fn last_words(&self, watcher: &mut Watcher<'_, &Attach>, news: &mut Feed, codes: &mut BTreeMap<String, i64>, rest: &Interrupts) {
        let mut patience = std::pin::pin!(tokio::time::sleep(LAST_WORDS));
        while watcher.any_alive() {
            tokio::select! {
                biased;
                () = rest.reached(2) => return,
                turn = watcher.turn(news) => {
                    if matches!(turn, Turn::Lost(_)) {
                        return;
                    }
                    self.note(turn, codes);
                }
                () = &mut patience => return,
            }
        }
    }

    fn exit(&self, because: &Because, codes: &BTreeMap<String, i64>) -> Exit {
        let of = |code: i64| match u8::try_from(code.rem_euclid(256)).unwrap_or(1) {
            0 => Exit::Success,
            code => Exit::Process(code),
        };
        let from = self.attach.end.service().map(|service| of(codes.get(service).copied().unwrap_or(0)));
        match because {
            Because::Interrupted => Exit::Interrupted,
            Because::Failed | Because::Lost(_) => Exit::Failure,
            Because::AllEnded => from.unwrap_or(Exit::Success),
            // A helper's failure is not covered up by how the service takes its end.
            Because::Rule(ended) if matches!(&self.attach.end, EndRule::ServiceEnded(s) if *s != ended.service) => of(ended.code),
            Because::Rule(ended) => from.unwrap_or_else(|| of(ended.code)),
        }
    }

    /// Whether step `id` starts the container `name` of a watched service.
    fn starts(&self, id: usize, name: &str) -> bool {
        let node = &self.plan.nodes[id];
        let watched = node.service.as_ref().is_some_and(|s| self.attach.watched.contains(s) || self.attach.end.service() == Some(s));
        watched && started(&node.step).is_some_and(|target| target.name == name)
    }

    /// Names in front of lines, sorted.
    fn names(&self) -> Vec<Arc<str>> {
        let shown = |service: &str| self.attach.shown.contains(service);
        let mut names = BTreeSet::new();
        for node in &self.plan.nodes {
            if let (Some(target), Some(service)) = (started(&node.step), &node.service)
                && shown(service)
            {
                names.insert(source_name(&self.ctx.project, service, &target.name));
            }
        }
        let touched = self.touched();
        for c in self.observed.containers.iter().filter(|c| c.is_alive() && !c.is_oneoff() && shown(c.service())) {
            if !touched.contains(c.id.as_str()) {
                names.insert(source_name(&self.ctx.project, c.service(), &c.name));
            }
        }
        names.into_iter().collect()
    }

    /// Ids of existing containers that the plan does not leave running as they are.
    fn touched(&self) -> BTreeSet<&str> {
        let touched = |step: &'_ Step| match step {
            Step::Do(
                Op::StopContainer { container, .. }
                | Op::RemoveContainer { container, .. }
                | Op::StartContainer { container }
                | Op::RestartContainer { container, .. },
            ) => container.id.clone(),
            _ => None,
        };
        let ids: BTreeSet<String> = self.plan.nodes.iter().filter_map(|n| touched(&n.step)).collect();
        self.observed.containers.iter().map(|c| c.id.as_str()).filter(|id| ids.contains(*id)).collect()
    }

    /// The stopped containers that are shown and started again, with what is needed to tell what their next run writes
    /// from what earlier ones wrote.
    async fn stopped(&self) -> Vec<(&Container, Lines)> {
        let starts = |c: &Container| {
            let is_it = |target: &Target| target.id.as_deref() == Some(c.id.as_str());
            self.plan.nodes.iter().any(|n| matches!(&n.step, Step::Do(Op::StartContainer { container }) if is_it(container)))
        };
        let stopped = self.observed.containers.iter().filter(|c| !c.is_alive() && self.attach.shows(&identify(c)) && starts(c));
        join_all(stopped.map(async |c| {
            let mut lines = Lines::new(source_name(&self.ctx.project, c.service(), &c.name));
            if let Some(time) = last_line(&self.ctx.engine, c).await {
                lines.begin_after(time);
            }
            (c, lines)
        }))
        .await
    }

    /// Names of the containers that this run started, or may have.
    fn ours(&self, report: &Report) -> BTreeSet<String> {
        let ran = |name: &str| self.observed.containers.iter().any(|c| c.name == name && c.is_alive());
        let begun = |id: usize| matches!(report.outcomes.get(id), Some(Outcome::Done | Outcome::Failed | Outcome::Abandoned));
        let replaced: BTreeSet<&str> = self.touched();
        let starts = self.plan.nodes.iter().filter(|n| begun(n.id)).filter_map(|n| started(&n.step));
        // One that ran before is ours only if it was stopped or replaced on the way.
        let ours = |t: &&Target| !ran(&t.name) || self.observed.containers.iter().any(|c| c.name == t.name && replaced.contains(c.id.as_str()));
        starts.filter(ours).map(|t| t.name.clone()).collect()
    }
}

/// The container that a step starts.
fn started(step: &Step) -> Option<&Target> {
    match step {
        Step::Do(Op::StartContainer { container } | Op::RestartContainer { container, .. }) => Some(container),
        _ => None,
    }
}

/// Stops, if need be kills. Told by `rest` how often the user is in a hurry from now on: once to kill, twice to leave.
async fn wind_down(
    ctx: &Context,
    text: String,
    ours: Option<&BTreeSet<String>>,
    stop: &dyn Fn(&Observed) -> Plan,
    kill: &dyn Fn(&Observed) -> Plan,
    rest: &Interrupts,
) {
    // Nobody may be reading; that must not keep anything from being stopped.
    let stopping = async { tokio::join!(ctx.tell(Event::Message(text)), carry_out(ctx, ours, stop)) };
    tokio::select! {
        biased;
        () = rest.reached(1) => {}
        _ = stopping => return,
    }
    tokio::select! {
        biased;
        () = rest.reached(2) => {}
        () = carry_out(ctx, ours, kill) => {}
    }
}

/// Observes, plans and carries out the end of `ours`, or of everything.
async fn carry_out(ctx: &Context, ours: Option<&BTreeSet<String>>, plan: &dyn Fn(&Observed) -> Plan) {
    let query = ObserveQuery { project: Some(ctx.project.clone()), containers_only: true, ..ObserveQuery::default() };
    let options = Options::default();
    let done = async {
        let [feed] = Feed::subscribe::<1>(&ctx.engine, Some(&ctx.project)).await?;
        let mut observed = ctx.engine.observe(&query).await?;
        observed.containers.retain(|c| ours.is_none_or(|names| names.contains(&c.name)));
        let plan = plan(&observed);
        execute(ctx, &plan, &observed, feed, &options, &Interrupts::never()).await;
        Ok(())
    };
    let done: Result<(), EngineError> = done.await;
    if let Err(error) = done {
        ctx.tell(Event::Diagnostic(words::engine_error(&error))).await;
    }
}
