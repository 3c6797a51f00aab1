//! Carries plans out, follows logs, runs commands in containers.
//!
//! Nothing here prints. Everything a user is told is a [`Event`] on [`Context::out`], one bounded channel with one
//! reader; sending waits for room, so a slow reader slows the sources of logs instead of filling memory. Failures are
//! told as events when they happen; what a function returns is for exit codes and for programs.

mod conductor;
mod exec;
mod explain;
mod facts;
mod feed;
mod interrupt;
mod logs;
mod outbox;
mod report;
mod state;
#[cfg(test)]
mod state_tests;
mod supervise;
#[cfg(test)]
mod tests;
mod up;
mod watch;
mod why;
mod words;

pub use exec::{ExecError, ExecIo, exec};
pub use feed::{Feed, News};
pub use interrupt::{Interrupter, Interrupts, interrupts};
pub use logs::{LogsRequest, logs};
pub use report::{Cause, Error, Failure, Outcome, Report};
pub use supervise::supervised;
pub use up::{Attach, EndRule, Ended, UpRequest, up};

use crate::diag::Diagnostic;
use crate::engine::Engine;
use crate::plan::Plan;
use crate::world::{EngineError, Event, ObserveQuery, Observed};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What every command works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// The project.
    pub project: String,
    /// Where everything goes that a user is told. When the reader has gone away, work goes on untold.
    pub out: mpsc::Sender<Event>,
    /// How many engine calls at once; 0 counts as 1. Pulls are counted apart from the rest.
    pub parallel: usize,
}

/// Why a gate can't be passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// It has no health check, so it never gets healthy.
    NoHealthcheck,
    /// Its health check says so.
    Unhealthy,
    /// It was never started.
    NotStarted,
    /// Its process ended, for good.
    Exited {
        /// Exit code.
        code: i64,
    },
    /// There is no such container, or not any more.
    Missing,
    /// The time given was up.
    TimedOut,
    /// What happens can't be seen any more: the engine went away.
    EngineLost(EngineError),
}

/// What [`execute`] needs to know besides the plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long gates may take, from the moment the first one is waited at.
    pub wait_timeout: Option<Duration>,
    /// What the second Ctrl-C does, in words.
    pub hurry: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self { wait_timeout: None, hurry: "leave at once" }
    }
}

/// Carries out `plan`. `feed` must have been subscribed before `observed` was looked at.
///
/// The first interrupt begins nothing new, drops pulls and gates and waits for the rest of what runs; the second leaves.
pub async fn execute(ctx: &Context, plan: &Plan, observed: &Observed, feed: Feed, options: &Options, interrupts: &Interrupts) -> Report {
    conductor::conduct(ctx, plan, observed, feed, options, interrupts).await
}

/// Subscribes, observes, plans and carries the plan out: all that `down`, `stop`, `start`, `restart`, `kill`, `rm`,
/// `pull` and the like are. `plan` may ask the user (it is given time) and may refuse. The notes of the plan are told
/// before anything is done; an error among them refuses it.
///
/// A plan that says [`Plan::again`] is carried out, then `plan` is asked again with `true` for what was fetched.
///
/// # Errors
/// The engine can't be asked, there is no plan, or it was interrupted before anything was begun.
pub async fn change<P>(ctx: &Context, query: &ObserveQuery, mut plan: P, options: &Options, interrupts: &Interrupts) -> Result<Report, Error>
where
    P: AsyncFnMut(&Observed, bool) -> Result<Plan, Vec<Diagnostic>>,
{
    let ctx = &ctx.supervised();
    let mut fetched = false;
    loop {
        let Prepared { plan, observed, feeds: [feed] } = prepare(ctx, query, &mut plan, fetched, interrupts).await?;
        let report = execute(ctx, &plan, &observed, feed, options, interrupts).await;
        if !plan.again || report.interrupted || !report.failures.is_empty() {
            return Ok(report);
        }
        fetched = true;
    }
}

/// All that is needed to carry a plan out.
struct Prepared<const N: usize> {
    plan: Plan,
    observed: Observed,
    feeds: [Feed; N],
}

/// Subscribes, observes, plans and tells the plan's notes.
async fn prepare<const N: usize, P>(
    ctx: &Context,
    query: &ObserveQuery,
    plan: &mut P,
    fetched: bool,
    interrupts: &Interrupts,
) -> Result<Prepared<N>, Error>
where
    P: AsyncFnMut(&Observed, bool) -> Result<Plan, Vec<Diagnostic>>,
{
    let prepared = async {
        let feeds = Feed::subscribe::<N>(&ctx.engine, query.project.as_deref()).await?;
        let observed = ctx.engine.observe(query).await?;
        let mut plan = plan(&observed, fetched).await?;
        if plan.notes.iter().any(Diagnostic::is_error) {
            return Err(Error::Refused(plan.notes));
        }
        for note in std::mem::take(&mut plan.notes) {
            ctx.tell(Event::Diagnostic(note)).await;
        }
        Ok(Prepared { plan, observed, feeds })
    };
    tokio::select! {
        biased;
        () = interrupts.reached(1) => Err(Error::Interrupted),
        prepared = prepared => prepared,
    }
}

impl Context {
    /// The same, with an engine that looks after containers where it leaves that to us.
    fn supervised(&self) -> Self {
        Self { engine: supervised(&self.engine), ..self.clone() }
    }

    /// Tells the user something; without a reader it stays untold.
    pub(crate) async fn tell(&self, event: Event) {
        let _ = self.out.send(event).await;
    }
}
