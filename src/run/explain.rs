//! The block of text under a fault: the container, its last probes, the exit code in words, the last log lines and
//! a hint where there is a sure one. Pure.

use super::{Blocked, words};
use crate::plan::{Await, Gate};
use crate::units::Duration;
use crate::world::{ContainerDetails, HealthcheckSpec, Probe, State};
use std::fmt::Write as _;

/// What was found out.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub gate: &'a Await,
    pub container: &'a str,
    pub blocked: &'a Blocked,
    pub details: &'a ContainerDetails,
    /// Last lines of its log, without escape sequences.
    pub lines: &'a [String],
}

/// How many probes are shown.
const PROBES: usize = 3;
/// How many characters of a line are shown.
const WIDTH: usize = 400;

/// The block, or nothing if there is nothing to add to the fault itself.
pub(super) fn block(found: &Found) -> Option<String> {
    let Found { gate, container, blocked, details, lines } = found;
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    field("container", &format!("{container}: {}", state(details)));
    if !details.error.is_empty() {
        field("engine", &details.error);
    }
    let probing = details.healthcheck.as_ref().filter(|h| !h.is_none() && !matches!(gate.gate, Gate::Completed | Gate::Started));
    if let Some(check) = probing {
        field("probe", &probe_line(check));
        let last = &details.probes[details.probes.len().saturating_sub(PROBES)..];
        if last.is_empty() {
            field("probes", "none has ended yet");
        }
        for (i, probe) in last.iter().enumerate() {
            field(if i == 0 { "probes" } else { "" }, &probe_result(probe));
        }
    }
    if lines.is_empty() {
        field("log", "empty");
    }
    for (i, line) in lines.iter().enumerate() {
        field(if i == 0 { "log" } else { "" }, &format!("| {}", clip(line)));
    }
    if let Some(hint) = hint(blocked, details, probing, lines) {
        field("hint", &hint);
    }
    Some(text.trim_end().to_owned())
}

fn state(details: &ContainerDetails) -> String {
    let mut text = match details.state {
        Some(State::Exited | State::Dead) => {
            format!("exited with code {} ({})", details.exit_code, words::exit_code(details.exit_code, details.oom_killed))
        }
        Some(State::Running) => match details.health {
            Some(health) => format!("running, {}", health.as_str()),
            None => "running".to_owned(),
        },
        Some(State::Restarting) => {
            let words = words::exit_code(details.exit_code, details.oom_killed);
            format!("being restarted after exit code {} ({words})", details.exit_code)
        }
        Some(other) => other.as_str().to_owned(),
        None => "state unknown".to_owned(),
    };
    if let (Some(State::Exited), Some(from), Some(to)) = (details.state, details.started, details.finished)
        && to > from
    {
        let _ = write!(text, " after {}", round(to.0 - from.0));
    }
    if details.restarts > 0 {
        let _ = write!(text, ", restarted {} times", details.restarts);
    }
    text
}

/// The check as it is written in the file: command, then what isn't a default.
fn probe_line(check: &HealthcheckSpec) -> String {
    let mut text = match check.test.split_first() {
        Some((kind, rest)) if kind == "CMD-SHELL" => format!("sh -c {:?}", rest.join(" ")),
        Some((kind, rest)) if kind == "CMD" => rest.join(" "),
        _ => check.test.join(" "),
    };
    let times = [("interval", check.interval), ("timeout", check.timeout), ("start_period", check.start_period)];
    let mut notes: Vec<_> = times.iter().filter_map(|(name, d)| d.filter(|d| d.0 > 0).map(|d| format!("{name} {d}"))).collect();
    notes.extend(check.retries.filter(|r| *r > 0).map(|r| format!("retries {r}")));
    if !notes.is_empty() {
        let _ = write!(text, "  ({})", notes.join(", "));
    }
    text
}

fn probe_result(probe: &Probe) -> String {
    let mut text = match probe.exit_code {
        0 => "ok".to_owned(),
        code @ (126 | 127) => format!("exit {code} ({})", words::exit_code(code, false)),
        code => format!("exit {code}"),
    };
    if let (Some(start), Some(end)) = (probe.start, probe.end) {
        let _ = write!(text, " after {}", round(end.0 - start.0));
    }
    let output = plain(probe.output.trim());
    if output.is_empty() {
        text.push_str(", no output");
    } else {
        let _ = write!(text, ": {}", clip(&output.lines().collect::<Vec<_>>().join(" / ")));
    }
    text
}

/// Nanoseconds as people say them: `1.2s`, `35ms`.
fn round(nanoseconds: i64) -> Duration {
    const UNITS: [(i64, i64); 3] = [(10_000_000, 100_000), (1_000_000_000, 1_000_000), (60_000_000_000, 100_000_000)];
    let unit = UNITS.iter().find(|(limit, _)| nanoseconds < *limit).map_or(1_000_000_000, |(_, unit)| *unit);
    Duration(nanoseconds / unit * unit)
}

fn clip(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Text without escape sequences and other control characters.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                // CSI ends at its final byte (ECMA-48); of others one character is dropped.
                if rest.next() == Some('[') {
                    while rest.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                    rest.next();
                }
            }
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// What to do, where that is certain.
fn hint(blocked: &Blocked, details: &ContainerDetails, probing: Option<&HealthcheckSpec>, lines: &[String]) -> Option<String> {
    if details.oom_killed {
        return Some("it needs more memory than `mem_limit` / `deploy.resources.limits.memory` or the host gives it".to_owned());
    }
    let ended = matches!(blocked, Blocked::Exited { .. });
    if ended && lines.iter().any(|l| l.contains("exec format error")) {
        return Some("the image was made for another processor: look at `platform:`".to_owned());
    }
    match blocked {
        Blocked::Exited { code: 127 } => {
            return Some(format!("the command isn't in the image, or isn't on its PATH: {}", details.command.join(" ")));
        }
        Blocked::Exited { code: 126 } => {
            return Some(format!("the command has no execute permission, or is a directory: {}", details.command.join(" ")));
        }
        _ => {}
    }
    let check = probing?;
    let failed: Vec<_> = details.probes.iter().rev().take(PROBES).filter(|p| p.exit_code != 0).collect();
    let output = failed.iter().map(|p| p.output.to_lowercase()).collect::<Vec<_>>().join("\n");
    let shell = check.test.first().is_some_and(|t| t == "CMD-SHELL");
    if failed.is_empty() {
        let quiet = check.start_period.or(check.interval).filter(|d| *d > Duration::from_secs(5));
        return match (blocked, quiet) {
            (Blocked::TimedOut, Some(quiet)) if details.probes.is_empty() => {
                Some(format!("no probe has ended yet: the first one comes {quiet} after the start; shorten `interval`, or set `start_interval`"))
            }
            _ => None,
        };
    }
    if output.contains("executable file not found")
        || output.contains("no such file or directory") && failed.iter().any(|p| matches!(p.exit_code, -1 | 126 | 127))
    {
        let tool = if shell { "sh" } else { check.test.get(1).map_or("it", String::as_str) };
        return Some(format!("the probe's program `{tool}` isn't in the image; probe with one that is, or add it"));
    }
    if let Some(tool) = not_found(&output) {
        return Some(format!("the probe's program `{tool}` isn't in the image; probe with one that is (busybox images have `wget`), or add it"));
    }
    if failed.iter().any(|p| p.exit_code == 127) {
        return Some("127 means that the probe's command isn't in the image".to_owned());
    }
    if output.contains("exceeded timeout") || output.contains("timed out") && failed.iter().any(|p| p.exit_code == -1) {
        return Some("the probe takes longer than its `timeout`".to_owned());
    }
    if output.contains("connection refused") {
        let v6 = output.contains("::1");
        let what =
            if v6 { "nothing listens on ::1: `localhost` may mean IPv6 first, say 127.0.0.1" } else { "nothing listens there inside the container" };
        return Some(format!("{what}; compare the probe's address and port with what the server says in its log"));
    }
    None
}

/// The program of which a shell said that it isn't there: `sh: curl: not found`, `bash: line 1: curl: command not found`.
fn not_found(output: &str) -> Option<&str> {
    output.lines().find_map(|line| {
        let line = line.trim_end().strip_suffix("not found")?.trim_end();
        let line = line.strip_suffix("command").map_or(line, str::trim_end).strip_suffix(':')?;
        let tool = line.rsplit(": ").next()?.trim();
        (!tool.is_empty() && !tool.contains(' ')).then_some(tool)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Awaited;
    use crate::units::Timestamp;
    use crate::world::{Health, Target};

    fn gate(gate: Gate) -> Await {
        let awaited = Awaited { target: Target::named("p-db-1"), fresh: true };
        Await { service: "db".into(), containers: vec![awaited], gate, waiter: Some("web".into()), optional: false }
    }

    fn check(test: &[&str]) -> HealthcheckSpec {
        let test = test.iter().map(|t| (*t).to_owned()).collect();
        HealthcheckSpec { test, interval: Some(Duration::from_secs(5)), retries: Some(3), ..HealthcheckSpec::default() }
    }

    fn probe(exit_code: i64, output: &str) -> Probe {
        Probe { start: Some(Timestamp(0)), end: Some(Timestamp(32_400_000)), exit_code, output: output.into() }
    }

    fn unhealthy(test: &[&str], probes: Vec<Probe>) -> String {
        let details = ContainerDetails {
            state: Some(State::Running),
            health: Some(Health::Unhealthy),
            healthcheck: Some(check(test)),
            probes,
            ..ContainerDetails::default()
        };
        let lines = ["ready".to_owned()];
        block(&Found { gate: &gate(Gate::Healthy), container: "p-db-1", blocked: &Blocked::Unhealthy, details: &details, lines: &lines }).unwrap()
    }

    #[test]
    fn an_unhealthy_container_shows_probe_results_and_log() {
        let text =
            unhealthy(&["CMD-SHELL", "curl -f localhost"], vec![probe(1, "old"), probe(1, "a"), probe(1, ""), probe(127, "sh: curl: not found\n")]);
        assert_eq!(
            text,
            "  container  p-db-1: running, unhealthy
  probe      sh -c \"curl -f localhost\"  (interval 5s, retries 3)
  probes     exit 1 after 32ms: a
             exit 1 after 32ms, no output
             exit 127 (the command was not found in the image) after 32ms: sh: curl: not found
  log        | ready
  hint       the probe's program `curl` isn't in the image; probe with one that is (busybox images have `wget`), or add it"
        );
    }

    #[test]
    fn hints_are_given_where_the_cause_is_certain() {
        for (test, exit, output, hint) in [
            (&["CMD", "pg_isready"][..], -1, "OCI runtime exec failed: exec: \"pg_isready\": executable file not found in $PATH", "`pg_isready`"),
            (&["CMD-SHELL", "nc -z ::1 80"], 1, "nc: connect to ::1: Connection refused", "127.0.0.1"),
            (&["CMD-SHELL", "wget -q x"], 1, "wget: can't connect to remote host (127.0.0.1): Connection refused", "nothing listens there"),
            (&["CMD", "sleep", "9"], -1, "Health check exceeded timeout (1s)", "longer than its `timeout`"),
            (&["CMD-SHELL", "x"], 127, "/bin/sh: line 1: x: command not found", "`x`"),
        ] {
            let text = unhealthy(test, vec![probe(exit, output)]);
            let line = text.lines().last().unwrap();
            assert!(line.contains("hint") && line.contains(hint), "{text}");
        }
        assert!(!unhealthy(&["CMD", "x"], vec![probe(1, "no")]).contains("hint"));
    }

    #[test]
    fn an_exit_is_said_in_words() {
        let details = ContainerDetails {
            state: Some(State::Exited),
            exit_code: 137,
            oom_killed: true,
            started: Some(Timestamp(0)),
            finished: Some(Timestamp(2_340_000_000)),
            restarts: 2,
            ..ContainerDetails::default()
        };
        let found =
            Found { gate: &gate(Gate::Completed), container: "p-db-1", blocked: &Blocked::Exited { code: 137 }, details: &details, lines: &[] };
        let text = block(&found).unwrap();
        assert!(text.contains("exited with code 137 (killed by SIGKILL, because memory ran out) after 2.3s, restarted 2 times"), "{text}");
        assert!(text.contains("log        empty"), "{text}");
        assert!(text.contains("hint       it needs more memory"), "{text}");
    }

    #[test]
    fn escape_sequences_don_t_reach_the_terminal() {
        assert_eq!(plain("\u{1b}[1;31mred\u{1b}[0m\u{7}\tx\u{1b}]"), "red\tx");
    }
}
