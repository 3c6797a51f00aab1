//! What users read about steps, gates and exit codes.

use super::{Blocked, Cause, Outcome};
use crate::diag::Diagnostic;
use crate::plan::{Await, Gate, Node, NodeId, Plan, Step};
use crate::world::{EngineError, ErrorKind, Op};
use std::fmt::Write as _;

/// The code of a diagnostic about an engine's error, by kind.
pub(super) fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not-found",
        ErrorKind::Conflict => "conflict",
        ErrorKind::PortTaken => "port-taken",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Unreachable => "engine-unreachable",
        ErrorKind::Denied => "denied",
        ErrorKind::NoSpace => "no-space",
        ErrorKind::Refused => "engine-refused",
        ErrorKind::TimedOut => "timed-out",
        ErrorKind::Protocol => "engine-protocol",
    }
}

/// An engine's error as a finding.
pub(super) fn engine_error(error: &EngineError) -> Diagnostic {
    Diagnostic::error(code(error.kind), error.to_string())
}

/// What a progress line says of a gate that can't be passed.
pub(super) fn task(blocked: &Blocked) -> &'static str {
    match blocked {
        Blocked::NoHealthcheck => "No health check",
        Blocked::Unhealthy => "Unhealthy",
        Blocked::NotStarted => "Not started",
        Blocked::Exited { .. } => "Exited",
        Blocked::Missing => "Missing",
        Blocked::TimedOut => "Timed out",
        Blocked::EngineLost(_) => "Error",
    }
}

/// What is waited for, after "waits for db to".
pub(super) fn condition(gate: Gate) -> &'static str {
    match gate {
        Gate::Started => "be started",
        Gate::Healthy => "be healthy",
        Gate::Completed => "complete successfully",
        Gate::Ready { .. } => "be ready",
    }
}

/// Why a gate is closed: `container p-db-1 is unhealthy`.
pub(super) fn reason(gate: &Await, container: &str, blocked: &Blocked) -> String {
    match blocked {
        Blocked::NoHealthcheck => format!("container {container} has no healthcheck configured"),
        Blocked::Unhealthy => format!("container {container} is unhealthy"),
        Blocked::NotStarted => format!("container {container} was never started"),
        Blocked::Exited { code } if gate.gate == Gate::Completed => {
            format!("service \"{}\" didn't complete successfully: exit {code}", gate.service)
        }
        Blocked::Exited { code } => format!("container {container} exited ({code})"),
        Blocked::Missing => format!("container {container} doesn't exist"),
        Blocked::TimedOut => format!("container {container} took too long to {}", condition(gate.gate)),
        Blocked::EngineLost(error) => format!("nothing more is heard of container {container}: {error}"),
    }
}

/// What a progress line says of an optional gate that was not passed.
pub(super) fn waived(gate: &Await, cause: Option<&Cause>) -> String {
    let why = match cause {
        Some(Cause::Gate { containers, blocked }) => reason(gate, containers.first().map_or(&*gate.service, |t| &t.name), blocked),
        Some(Cause::Engine(error)) => error.to_string(),
        None => format!("{} could not be started", gate.service),
    };
    format!("Skipped: optional dependency {}: {why}", gate.service)
}

/// A container that is waited for falls over again and again.
pub(super) fn looping(plan: &Plan, id: NodeId, container: &str, restarts: u32) -> String {
    let waits = match plan.nodes.get(id).map(|n| &n.step) {
        Some(Step::Await(gate)) => match &gate.waiter {
            Some(waiter) => format!("{waiter} still waits for {} to {}", gate.service, condition(gate.gate)),
            None => format!("still waiting for {} to {}", gate.service, condition(gate.gate)),
        },
        _ => "still waiting".to_owned(),
    };
    format!("container {container} ended and was started again {restarts} times by its restart policy; {waits}")
}

/// What was going on at the first Ctrl-C, and what is waited for; nothing if there is nothing to say.
pub(super) fn interrupted(plan: &Plan, waiting: &[NodeId], dropped: &[NodeId], running: &[NodeId], hurry: &str) -> Option<String> {
    let mut text = String::new();
    let gates: Vec<_> = waiting
        .iter()
        .chain(dropped)
        .filter_map(|id| match &plan.nodes[*id].step {
            Step::Await(gate) => {
                let waiter = gate.waiter.as_ref().map_or_else(String::new, |w| format!("{w} waited for "));
                Some(format!("{waiter}{} to {}", gate.service, condition(gate.gate)))
            }
            Step::Do(Op::PullImage { reference, .. }) => Some(format!("image {reference} was pulled")),
            Step::Do(Op::RunHook { container, .. }) => Some(format!("a hook ran in {}", container.name)),
            Step::Do(_) => None,
        })
        .collect();
    if !gates.is_empty() {
        let _ = write!(text, "Interrupted while {}.", list(&gates));
    }
    let calls: Vec<_> = running.iter().filter_map(|id| step(&plan.nodes[*id])).collect();
    if !calls.is_empty() {
        if !text.is_empty() {
            text.push(' ');
        }
        let _ = write!(text, "Waiting for {}; press Ctrl+C again to {hurry}.", list(&calls));
    }
    (!text.is_empty()).then_some(text)
}

/// At most so many things are named.
const NAMED: usize = 6;

/// `a, b and 3 more`.
fn list(items: &[String]) -> String {
    match items.len() {
        0..=NAMED => items.join(", "),
        n => format!("{} and {} more", items[..NAMED].join(", "), n - NAMED),
    }
}

/// `start Container p-web-1`; nothing for gates.
fn step(node: &Node) -> Option<String> {
    match &node.step {
        Step::Do(op) => {
            let subject = op.subject();
            let name = node.shows.as_ref().and_then(|s| s.name.clone()).unwrap_or(subject.name);
            let verb = op.verb().split(' ').next().unwrap_or_default();
            Some(format!("{verb} {}", crate::world::Subject { name, ..subject }))
        }
        Step::Await(_) => None,
    }
}

/// What was done and what was not, after the engine went away.
pub(super) fn sum_up<'a>(outcomes: impl Iterator<Item = (&'a Node, Outcome)>) -> String {
    let (mut done, mut unknown, mut not) = (Vec::new(), Vec::new(), Vec::new());
    for (node, outcome) in outcomes {
        let Some(what) = step(node) else { continue };
        match outcome {
            Outcome::Done | Outcome::Waived => done.push(what),
            Outcome::Failed | Outcome::Abandoned => unknown.push(what),
            Outcome::Skipped | Outcome::NotBegun => not.push(what),
        }
    }
    let mut text = format!("{} of {} steps were done when the engine went away", done.len(), done.len() + unknown.len() + not.len());
    for (title, what) in [("done", done), ("begun, or failed", unknown), ("not begun", not)] {
        if !what.is_empty() {
            let _ = write!(text, "\n  {title}: {}", list(&what));
        }
    }
    text.push_str("\nOnce the engine is back, the same command goes on from there.");
    text
}

/// What goes on running after the command ended.
pub(super) fn left(names: &[String]) -> String {
    match names {
        [] => "Nothing that was started still runs.".to_owned(),
        names => format!("Left running: {}.", list(names)),
    }
}

/// Signals by number (signal(7), x86 and ARM).
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// An exit code in words, without the number: `killed by SIGKILL, because memory ran out`. Codes above 128 mean signals
/// by the shells' convention (POSIX sh, "Exit Status for Commands").
pub fn exit_code(code: i64, oom: bool) -> String {
    let signal = usize::try_from(code).ok().and_then(|c| c.checked_sub(129)).and_then(|i| SIGNALS.get(i));
    let text = match (code, signal) {
        (137, _) if oom => "killed by SIGKILL, because memory ran out",
        (0, _) => "success",
        (1, _) => "failure",
        (2, _) => "failure, often a wrong command line",
        (125, _) => "the engine could not run it",
        (126, _) => "the command was found but is not executable",
        (127, _) => "the command was not found in the image",
        (128, _) => "invalid exit code",
        (134, _) => "aborted by itself (SIGABRT)",
        (137, _) => "killed by SIGKILL: stopped too slowly, killed from outside, or out of memory on the host",
        (139, _) => "crashed: segmentation fault (SIGSEGV)",
        (143, _) => "ended by SIGTERM",
        (255, _) => "failure (255 or -1)",
        (_, Some(signal)) => return format!("ended by {signal}"),
        (159.., _) if code < 193 => return format!("ended by real-time signal {}", code - 128),
        _ => "failure",
    };
    if oom && code != 137 { format!("{text}; memory ran out") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_in_words() {
        for (code, oom, words) in [
            (0, false, "success"),
            (126, false, "the command was found but is not executable"),
            (127, false, "the command was not found in the image"),
            (130, false, "ended by SIGINT"),
            (137, true, "killed by SIGKILL, because memory ran out"),
            (139, false, "crashed: segmentation fault (SIGSEGV)"),
            (141, false, "ended by SIGPIPE"),
            (159, false, "ended by SIGSYS"),
            (162, false, "ended by real-time signal 34"),
            (42, false, "failure"),
            (1, true, "failure; memory ran out"),
            (-1, false, "failure"),
        ] {
            assert_eq!(exit_code(code, oom), words, "{code}");
        }
        assert!(exit_code(137, false).starts_with("killed by SIGKILL"));
    }

    #[test]
    fn long_lists_are_cut() {
        let items: Vec<_> = (0..9).map(|i| i.to_string()).collect();
        assert_eq!(list(&items), "0, 1, 2, 3, 4, 5 and 3 more");
        assert_eq!(list(&items[..2]), "0, 1");
    }
}
