//! `up`: carry out, then stay.

use super::{Context, Error, Interrupts, Options, Report};
use crate::diag::Diagnostic;
use crate::exit::Exit;
use crate::plan::Plan;
use crate::world::{ObserveQuery, Observed};
use std::collections::BTreeSet;
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
/// `stop` and `kill` plan the end: they are given what exists then, already without the containers that are none of
/// this run's business.
///
/// # Errors
/// The engine can't be asked, there is no plan, or it was interrupted before anything was begun.
pub async fn up<P, S, K>(ctx: &Context, request: &UpRequest, mut plan: P, stop: S, kill: K, interrupts: &Interrupts) -> Result<Ended, Error>
where
    P: AsyncFnMut(&Observed, bool) -> Result<Plan, Vec<Diagnostic>>,
    S: Fn(&Observed) -> Plan,
    K: Fn(&Observed) -> Plan,
{
    let _ = (stop, kill);
    let options = Options { wait_timeout: request.wait_timeout, ..Options::default() };
    let report = super::change(ctx, &request.query, async |o: &Observed, fetched| plan(o, fetched).await, &options, interrupts).await?;
    Ok(Ended { exit: report.exit(), report })
}
