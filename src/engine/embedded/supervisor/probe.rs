//! Probes: whether a container is healthy.

use super::super::runtime::{self, Streams};
use super::container::ProbeRun;
use super::exit::{End, end_of};
use super::turn::{Due, Source, Supervisor};
use crate::policy::{self, HealthConfig, HealthFact, HealthState, Probing};
use crate::units::Timestamp;
use crate::world::{EngineError, EventKind, ExecSpec, Health, Probe, State};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Bytes of output that are kept of a probe.
const KEPT: usize = 4096;

/// The word that is written down.
fn word(state: HealthState) -> Health {
    match state {
        HealthState::Starting => Health::Starting,
        HealthState::Healthy => Health::Healthy,
        HealthState::Unhealthy => Health::Unhealthy,
    }
}

/// The command of a test: `["CMD", …]`, `["CMD-SHELL", "…"]`.
fn command(test: &[String]) -> Vec<String> {
    match test.split_first() {
        Some((kind, rest)) if kind == "CMD-SHELL" => ["/bin/sh", "-c"].map(str::to_owned).into_iter().chain(rest.iter().cloned()).collect(),
        Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
        _ => test.to_vec(),
    }
}

/// Whether a container is still on its way to its program: process 1, or the only child of it (a small init), is a shell
/// that runs a script.
///
/// Images of databases begin with a script, which runs a server for itself, on a socket of the container's own, to make the
/// first database with, and executes the real one after that. Who asks early would take the first for the second. A command
/// given to a shell as words (`sh -c "…"`) is the program itself.
fn prepares(pid: i32) -> bool {
    let is_script = |pid: i32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| runs_script(&line));
    let only_child = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.trim().parse().ok();
    is_script(pid) || only_child().is_some_and(is_script)
}

/// Whether this command line (arguments that end with NUL) is that of a shell with a script: its first operand is a file,
/// unless `-c` among the options makes it a command (POSIX, sh).
fn runs_script(line: &[u8]) -> bool {
    let mut arguments = line.split(|b| *b == 0);
    let program = arguments.next().unwrap_or_default();
    let name = program.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let is_shell = matches!(name.strip_prefix(b"-").unwrap_or(name), b"sh" | b"ash" | b"bash" | b"dash" | b"ksh" | b"mksh" | b"yash" | b"zsh");
    for argument in arguments {
        match argument {
            [b'-', b'-', ..] => {}
            [b'-', flags @ ..] if flags.contains(&b'c') => return false,
            [b'-' | b'+', ..] => {}
            operand => return is_shell && !operand.is_empty(),
        }
    }
    false
}

impl Supervisor {
    /// A container has begun to run.
    pub fn begin_probing(&mut self, id: &str) {
        let passed = self.clock.passed();
        let Some(container) = self.containers.get_mut(id) else { return };
        let (Some(check), Some(run)) = (&container.record.healthcheck, &mut container.run) else { return };
        let mut health = policy::Health::new(HealthConfig::with_early(check));
        let action = health.on(HealthFact::Started, passed);
        container.state.health = Some(Health::Starting);
        run.health = Some(health);
        self.probing(id, action);
    }

    /// Goes on where another supervisor was: what it had found out is gone through once more. All of it counted, and early
    /// probes are over.
    pub fn resume_probing(&mut self, id: &str) {
        let (now, passed) = (self.clock.now(), self.clock.passed());
        let Some(container) = self.containers.get_mut(id) else { return };
        let (Some(check), Some(run)) = (&container.record.healthcheck, &mut container.run) else { return };
        let since_boot = |time: Option<Timestamp>| {
            let ago = u64::try_from(now.0.saturating_sub(time.unwrap_or(now).0)).unwrap_or(0);
            passed.saturating_sub(std::time::Duration::from_nanos(ago))
        };
        let mut health = policy::Health::new(HealthConfig::of(check));
        let mut action = health.on(HealthFact::Started, since_boot(container.state.started));
        for probe in &container.state.probes {
            health.on(HealthFact::Due, since_boot(probe.start));
            action = health.on(HealthFact::Probed { good: probe.exit_code == 0 }, since_boot(probe.end));
        }
        container.state.health = container.state.health.or(Some(word(health.state())));
        run.health = Some(health);
        self.probing(id, action);
    }

    fn probing(&mut self, id: &str, action: Probing) {
        let Some(run) = self.containers.get(id).and_then(|c| c.run.as_ref()) else { return };
        match action {
            Probing::Nothing => {}
            Probing::Wait { until } => self.timers.add(until, Due::Probe(id.to_owned(), run.number)),
            Probing::Probe { deadline } => {
                let number = run.number;
                match self.probe(id) {
                    Ok(probe) => self.timers.add(deadline, Due::ProbeOver(id.to_owned(), number, probe)),
                    Err(error) => {
                        let now = self.clock.now();
                        self.probed(id, Probe { start: Some(now), end: Some(now), exit_code: -1, output: error.to_string() });
                    }
                }
            }
        }
    }

    /// It is time for a probe.
    pub fn probe_due(&mut self, id: &str, number: u64) {
        let passed = self.clock.passed();
        let Some(container) = self.containers.get_mut(id) else { return };
        let frozen = container.state() == State::Paused;
        let Some(run) = container.run.as_mut().filter(|r| r.number == number) else { return };
        if frozen {
            run.owed = true;
            return;
        }
        let Some(health) = &mut run.health else { return };
        let mut action = health.on(HealthFact::Due, passed);
        if health.is_early() && prepares(run.pid) {
            // As if it had been bad.
            action = health.on(HealthFact::Probed { good: false }, passed);
        }
        self.probing(id, action);
    }

    /// A container goes on that was frozen when a probe was due.
    pub fn probe_owed(&mut self, id: &str) {
        if let Some(run) = self.containers.get_mut(id).and_then(|c| c.run.as_mut())
            && std::mem::take(&mut run.owed)
        {
            let number = run.number;
            self.probe_due(id, number);
        }
    }

    /// Starts a probe; its number.
    fn probe(&mut self, id: &str) -> Result<u64, EngineError> {
        let cant = |e: std::io::Error| super::super::record::failed("the probe can't be started", &e);
        let began = self.clock.now();
        let gone = || EngineError::new(crate::world::ErrorKind::NotFound, "the container is gone");
        let container = self.containers.get_mut(id).ok_or_else(gone)?;
        let (Some(check), Some(run)) = (&container.record.healthcheck, &mut container.run) else { return Err(gone()) };
        let (output, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| cant(e.into()))?;
        let both = theirs.try_clone().map_err(cant)?;
        let _ = rustix::io::ioctl_fionbio(&output, true);
        let exec = ExecSpec { command: command(&check.test), ..ExecSpec::default() };
        let streams = Streams::Apart { stdin: None, stdout: Some(theirs), stderr: Some(both) };
        let starting = runtime::exec(&container.record.spec, &run.image, id, run.pidfd(), &run.cgroup, &exec, streams)?;
        let token = self.poll.add(&starting.pidfd, EventFlags::IN, Source::Probed(id.to_owned()));
        let printing = self.poll.add(&output, EventFlags::IN, Source::ProbePrinted(id.to_owned()));
        self.runs += 1;
        match (token, printing) {
            (Ok(token), Ok(printing)) => {
                run.probe = Some(ProbeRun { number: self.runs, starting, token, output: (output, printing), text: Vec::new(), began });
                Ok(self.runs)
            }
            (Ok(token), Err(error)) => {
                self.poll.remove(token, &starting.pidfd);
                super::exit::destroy(&starting.pidfd);
                Err(cant(error))
            }
            (Err(error), _) => {
                super::exit::destroy(&starting.pidfd);
                Err(cant(error))
            }
        }
    }

    /// A probe prints. What is more than is kept is read and forgotten.
    pub fn probe_printed(&mut self, id: &str) {
        let Some(probe) = self.containers.get_mut(id).and_then(|c| c.run.as_mut()).and_then(|r| r.probe.as_mut()) else { return };
        let mut block = [0_u8; 4096];
        // No more than a pipe holds: others have their turn.
        for _ in 0..16 {
            match rustix::io::read(&probe.output.0, &mut block) {
                Ok(n @ 1..) => {
                    let room = KEPT.saturating_sub(probe.text.len()).min(n);
                    probe.text.extend_from_slice(block.get(..room).unwrap_or_default());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Ok(_) | Err(_) => {
                    // Everybody has closed it; its process may go on.
                    self.poll.change(probe.output.1, &probe.output.0, EventFlags::empty() | EventFlags::ET);
                    return;
                }
            }
        }
    }

    /// The process of a probe has ended.
    pub fn probe_ended(&mut self, id: &str) {
        self.probe_printed(id);
        let Some(run) = self.containers.get_mut(id).and_then(|c| c.run.as_mut()) else { return };
        let Some(probe) = &run.probe else { return };
        let code = match end_of(&probe.starting.pidfd) {
            End::Code(code) => code,
            End::NotYet => return,
            End::Unknown => -1,
        };
        // A command that couldn't be executed says why.
        let failed = probe.starting.outcome().err();
        self.finish_probe(id, failed.as_ref().map_or(code, |_| -1), failed.map(|e| e.to_string()));
    }

    /// A probe has had its time.
    pub fn probe_over(&mut self, id: &str, number: u64, which: u64) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(run) = container.run.as_mut().filter(|r| r.number == number) else { return };
        if run.probe.as_ref().is_none_or(|p| p.number != which) {
            return;
        }
        let timeout = container.record.healthcheck.as_ref().map(|c| HealthConfig::of(c).timeout).unwrap_or_default();
        self.probe_printed(id);
        self.finish_probe(id, -1, Some(format!("Health check exceeded timeout ({timeout:?})")));
    }

    /// Lets a probe go, and takes note of how it went.
    fn finish_probe(&mut self, id: &str, exit_code: i64, text: Option<String>) {
        let end = self.clock.now();
        let Some(run) = self.containers.get_mut(id).and_then(|c| c.run.as_mut()) else { return };
        let Some(probe) = run.probe.take() else { return };
        self.poll.remove(probe.token, &probe.starting.pidfd);
        self.poll.remove(probe.output.1, &probe.output.0);
        super::exit::destroy(&probe.starting.pidfd);
        let printed = String::from_utf8_lossy(&probe.text);
        let output = match text {
            Some(text) if printed.is_empty() => text,
            Some(text) => format!("{text}: {printed}"),
            None => printed.into_owned(),
        };
        self.probed(id, Probe { start: Some(probe.began), end: Some(end), exit_code, output });
    }

    /// Takes note of a probe.
    fn probed(&mut self, id: &str, probe: Probe) {
        let passed = self.clock.passed();
        let good = probe.exit_code == 0;
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(health) = container.run.as_mut().and_then(|r| r.health.as_mut()) else { return };
        let unsaid = health.is_early() && !good;
        let action = health.on(HealthFact::Probed { good }, passed);
        if unsaid {
            self.probing(id, action);
            return;
        }
        let now = word(health.state());
        let news = container.state.health != Some(now);
        container.state.health = Some(now);
        container.remember(probe);
        let _ = self.save(id);
        if news {
            self.tell(id, EventKind::Health(now));
        }
        self.probing(id, action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_with_a_script_is_told_from_one_with_a_command() {
        let runs = |words: &[&str]| runs_script(format!("{}\0", words.join("\0")).as_bytes());
        assert!(runs(&["/bin/bash", "/usr/local/bin/docker-entrypoint.sh", "postgres"]));
        assert!(runs(&["/bin/sh", "-e", "/entry.sh"]));
        assert!(runs(&["-bash", "--norc", "-x", "+m", "run", "-c"]));
        let others: [&[&str]; 7] = [
            &["sh", "-c", "./serve & wait"],
            &["sh", "-ec", "./serve"],
            &["bash", "--login", "-c", "serve"],
            &["-bash"],
            &["postgres", "-D", "/data"],
            &["python", "serve.py"],
            &[],
        ];
        for words in others {
            assert!(!runs(words), "{words:?}");
        }
    }

    #[test]
    fn tests_are_commands() {
        let words = |w: &[&str]| w.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(command(&words(&["CMD", "a", "b c"])), words(&["a", "b c"]));
        assert_eq!(command(&words(&["CMD-SHELL", "a && b"])), words(&["/bin/sh", "-c", "a && b"]));
    }
}
