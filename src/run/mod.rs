//! Carries plans out, follows logs, runs commands in containers.
//!
//! Nothing here prints. Everything a user is told is a [`Event`] on [`Context::out`], one bounded channel with one
//! reader; sending waits for room, so a slow reader slows the sources of logs instead of filling memory. Failures are
//! told as events when they happen; what a function returns is for exit codes and for programs.

mod exec;
mod feed;
mod interrupt;
mod logs;
mod report;
mod up;

pub use exec::{ExecError, ExecIo, exec};
pub use feed::{Feed, News};
pub use interrupt::{Interrupter, Interrupts, interrupts};
pub use logs::{LogsRequest, logs};
pub use report::{Cause, Error, Failure, Outcome, Report};
pub use up::{Attach, EndRule, Ended, UpRequest, up};

use crate::diag::Diagnostic;
use crate::engine::Engine;
use crate::plan::{Plan, Step};
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
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How long gates may take, from the moment the first one is waited at.
    pub wait_timeout: Option<Duration>,
}

/// Carries out `plan`. `feed` must have been subscribed before `observed` was looked at.
///
/// The first interrupt begins nothing new, drops pulls and gates and waits for the rest of what runs; the second leaves.
pub async fn execute(ctx: &Context, plan: &Plan, observed: &Observed, feed: Feed, options: &Options, interrupts: &Interrupts) -> Report {
    let _ = (observed, feed, options, interrupts);
    let mut report = Report::default();
    let (progress, _) = mpsc::channel(1);
    for node in &plan.nodes {
        if let Step::Do(op) = &node.step
            && let Err(error) = ctx.engine.apply(op, &progress).await
        {
            report.failures.push(Failure { node: node.id, service: node.service.clone(), cause: Cause::Engine(error) });
            return report;
        }
        report.outcomes.push(Outcome::Done);
    }
    report
}

/// Subscribes, observes, plans and carries the plan out: all that `down`, `stop`, `start`, `restart`, `kill`, `rm`,
/// `pull` and the like are. `plan` may ask the user (it is given time) and may refuse. The notes of the plan are told
/// before anything is done; an error among them refuses it.
///
/// # Errors
/// The engine can't be asked, there is no plan, or it was interrupted before anything was begun.
pub async fn change<P>(ctx: &Context, query: &ObserveQuery, plan: P, options: &Options, interrupts: &Interrupts) -> Result<Report, Error>
where
    P: AsyncFnOnce(&Observed) -> Result<Plan, Vec<Diagnostic>>,
{
    let [feed] = Feed::subscribe::<1>(&ctx.engine, query.project.as_deref()).await?;
    let observed = ctx.engine.observe(query).await?;
    let plan = plan(&observed).await?;
    Ok(execute(ctx, &plan, &observed, feed, options, interrupts).await)
}
