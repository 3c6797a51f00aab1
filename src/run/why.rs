//! Why a gate can't be passed: asks the engine and puts the answer into words.

use super::{Blocked, explain, words};
use crate::diag::Diagnostic;
use crate::engine::Engine;
use crate::plan::{Await, Gate};
use crate::world::{LogQuery, Target};
use futures::StreamExt;
use std::time::Duration;

/// How long an explanation may take to be gathered.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many of the last log lines are shown.
const LINES: u64 = 15;

/// The fault itself.
pub(super) fn diagnose(gate: &Await, containers: &[Target], blocked: &Blocked, timeout: Option<Duration>) -> Diagnostic {
    let container = containers.first().map_or(gate.service.as_str(), |t| &t.name);
    let reason = match (blocked, timeout) {
        (Blocked::TimedOut, Some(limit)) => {
            let limit = crate::units::Duration(i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX));
            format!("application not healthy after {limit}: container {container} took too long to {}", words::condition(gate.gate))
        }
        _ => words::reason(gate, container, blocked),
    };
    let diagnostic = match &gate.waiter {
        Some(waiter) => {
            let waits = format!("{waiter} waits for {} to {}", gate.service, words::condition(gate.gate));
            Diagnostic::error("dependency-failed", format!("dependency failed to start: {reason}")).label(waits)
        }
        None => Diagnostic::error("not-ready", reason),
    };
    match blocked {
        Blocked::NoHealthcheck => diagnostic.help(format!("give `{}` a `healthcheck:`, or wait for `condition: service_started`", gate.service)),
        Blocked::Exited { code: 0 } if gate.gate == Gate::Healthy => {
            diagnostic.help(format!("if `{}` is meant to end, wait for `condition: service_completed_successfully`", gate.service))
        }
        Blocked::Exited { code: 0 } if matches!(gate.gate, Gate::Ready { .. }) => {
            diagnostic.help("a service that is meant to end must not have a restart policy")
        }
        _ => diagnostic,
    }
}

/// Everything that helps to understand why `container` keeps the gate closed. `None` if the engine tells nothing in
/// time.
pub(super) async fn explain(engine: &dyn Engine, gate: &Await, container: &Target, blocked: &Blocked) -> Option<String> {
    let gathered = tokio::time::timeout(PATIENCE, async {
        let (details, lines) = tokio::join!(engine.inspect(container), last_lines(engine, container));
        (details.ok(), lines)
    });
    let (details, lines) = gathered.await.ok()?;
    explain::block(&explain::Found { gate, container: &container.name, blocked, details: details.as_ref()?, lines: &lines })
}

/// The last lines of a container's log; none if it can't be read.
async fn last_lines(engine: &dyn Engine, container: &Target) -> Vec<String> {
    let query = LogQuery { tail: Some(LINES), ..LogQuery::default() };
    let Ok(mut log) = engine.logs(container, &query).await else { return Vec::new() };
    let mut text = Vec::new();
    while let Some(Ok(chunk)) = log.next().await {
        text.extend_from_slice(&chunk.bytes);
        if chunk.bytes.last() != Some(&b'\n') && chunk.bytes.len() < 1024 {
            text.push(b'\n');
        }
    }
    let mut lines: Vec<_> = String::from_utf8_lossy(&text).lines().map(explain::plain).collect();
    lines.drain(..lines.len().saturating_sub(LINES as usize));
    lines
}
