//! The lives of simulated containers: process 1, its probes, its restarts.

use super::Sim;
use super::container::{Process, Signal};
use super::script::{After, Script};
use super::shell::{self, Output, Traps};
use crate::world::{ErrorKind, EventKind, Health, HealthcheckSpec, Owner, Probe, RestartPolicy, State as Life, Stream, signal};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// SIGKILL.
pub(super) const KILL: Signal = 9;
/// How long a restart policy waits first; it doubles with each restart in a row.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// How long it waits at most.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// A run that lasted so long starts the count anew.
const STABLE: i64 = 10_000_000_000;

/// What process 1 is.
enum Program {
    /// It does what the script says.
    Script,
    /// A command that the built-in shell knows.
    Command(Vec<String>),
    /// It runs until it is told to end.
    Server,
}

/// How process 1 takes a signal.
enum Reaction {
    /// It ends with this code after so long.
    End(Duration, i64),
    /// A trap of the shell runs.
    Trap,
    Nothing,
}

impl Sim {
    /// Begins a run of the container, which has its addresses and ports.
    pub(super) fn launch(&self, id: &str) {
        let now = self.now();
        let (ended, ended_now) = watch::channel(false);
        let (frozen, _) = watch::channel(false);
        let (signals, inbox) = mpsc::unbounded_channel();
        {
            let mut state = self.lock();
            let pid = 1000 + i64::try_from(state.journal.len()).unwrap_or(0);
            let Ok(container) = state.get(id) else { return };
            container.state = Life::Running;
            container.started = Some(now);
            container.starts += 1;
            container.stopped = false;
            container.oom = false;
            container.exit_code = 0;
            container.error.clear();
            container.probes.clear();
            container.process = Some(Process { signals, ended: ended_now, frozen, pid });
            let probed = container.healthcheck().is_some();
            container.health = probed.then_some(Health::Starting);
            state.emit(id, EventKind::Started, now);
        }
        let (sim, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            sim.live(&id, inbox).await;
            // The state already says so; now everybody who waits may look.
            ended.send_replace(true);
        });
    }

    /// One run of a container, to its end.
    async fn live(&self, id: &str, mut inbox: mpsc::UnboundedReceiver<Signal>) {
        let Some((script, argv, init, starts)) = self.lock().get(id).ok().map(|c| (c.script.clone(), c.argv(), c.spec.init == Some(true), c.starts))
        else {
            return;
        };
        let program = if script.rules_the_process() {
            Program::Script
        } else if shell::knows(&argv) {
            Program::Command(argv)
        } else {
            Program::Server
        };
        let traps = Arc::new(Traps::default());
        let mut deadline: Option<(Instant, i64)> = None;
        let code = {
            let mut process = pin!(self.process(id, &program, &script, starts, Arc::clone(&traps)));
            let mut probes = pin!(self.probe(id, &script));
            loop {
                let dies = async {
                    match deadline {
                        Some((at, code)) => {
                            sleep_until(at).await;
                            code
                        }
                        None => pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    Some(signal) = inbox.recv() => match reaction(signal, &program, &script, init, &traps) {
                        Reaction::End(Duration::ZERO, code) => break code,
                        Reaction::End(delay, code) => deadline = Some((Instant::now() + delay, code)),
                        Reaction::Trap => traps.raise(signal),
                        Reaction::Nothing => {}
                    },
                    code = dies => break code,
                    code = &mut process => break code,
                    () = &mut probes => {}
                }
            }
        };
        self.finish(id, code, script.oom);
    }

    /// What process 1 does by itself; its exit code.
    async fn process(&self, id: &str, program: &Program, script: &Script, starts: u32, traps: Arc<Traps>) -> i64 {
        match program {
            Program::Server => pending().await,
            Program::Command(argv) => {
                let mut shell = shell::Shell::in_container(self, id, Output::Log);
                shell.traps = traps;
                shell.run(argv).await
            }
            Program::Script => {
                let began = Instant::now();
                // What is to be printed next: when, and which line.
                let mut lines: Vec<(Duration, usize)> = script.log.iter().enumerate().map(|(i, l)| (l.after, i)).collect();
                let exit_at = match (script.exit_after, script.exit, script.exits.is_empty()) {
                    (Some(After::Time(after)), ..) => Some(after),
                    (Some(After::Never), ..) | (None, None, true) => None,
                    _ => Some(lines.iter().map(|(at, _)| *at).max().unwrap_or_default()),
                };
                loop {
                    lines.sort();
                    let Some((at, index)) = lines.first().copied().filter(|(at, _)| exit_at.is_none_or(|e| *at <= e)) else { break };
                    sleep_until(began + at).await;
                    self.thawed(id).await;
                    lines.remove(0);
                    let Some(line) = script.log.get(index) else { break };
                    for (text, stream) in [(&line.stdout, Stream::Stdout), (&line.stderr, Stream::Stderr)] {
                        if let Some(text) = text {
                            let newline = if line.partial { "" } else { "\n" };
                            let now = self.now();
                            self.lock().print(id, stream, format!("{text}{newline}").as_bytes(), now);
                        }
                    }
                    if let Some(every) = line.every.filter(|e| !e.is_zero()) {
                        lines.push((at + every, index));
                    }
                }
                match exit_at {
                    Some(at) => sleep_until(began + at).await,
                    None => pending().await,
                }
                self.thawed(id).await;
                let nth = usize::try_from(starts.saturating_sub(1)).unwrap_or(usize::MAX);
                let code = script.exits.get(nth).or(script.exits.last()).copied();
                if script.oom { 137 } else { code.or(script.exit).unwrap_or(0) }
            }
        }
    }

    /// Waits until the container isn't frozen.
    pub(super) async fn thawed(&self, id: &str) {
        let frozen = self.lock().get(id).ok().and_then(|c| c.process.as_ref().map(|p| p.frozen.subscribe()));
        if let Some(mut frozen) = frozen {
            // An error means that the process is gone, and with it whoever asked.
            let _ = frozen.wait_for(|f| !f).await;
        }
    }

    /// Process 1 has ended.
    fn finish(&self, id: &str, code: i64, oom: bool) {
        let now = self.now();
        let restarts = self.shared.capabilities.lock().unwrap_or_else(std::sync::PoisonError::into_inner).restarts;
        let mut state = self.lock();
        state.flush(id, now);
        state.strip(id);
        let Ok(container) = state.get(id) else { return };
        let stable = container.started.is_some_and(|s| now.0 - s.0 >= STABLE);
        if stable {
            container.restarts = 0;
        }
        let again = restarts == Owner::Engine
            && !container.stopped
            && match container.spec.restart {
                RestartPolicy::No => false,
                RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
                RestartPolicy::OnFailure(most) => code != 0 && (most == 0 || container.restarts < most),
            };
        container.state = if again { Life::Restarting } else { Life::Exited };
        container.exit_code = code;
        container.oom = oom;
        container.health = None;
        container.finished = Some(now);
        container.process = None;
        let (run, restarts) = (container.starts, container.restarts);
        container.log.version.send_modify(|v| *v += 1);
        if oom {
            state.emit(id, EventKind::OutOfMemory, now);
        }
        state.emit(id, EventKind::Died { exit_code: code }, now);
        drop(state);
        if again {
            let (sim, id) = (self.clone(), id.to_owned());
            let delay = FIRST_BACKOFF.saturating_mul(1 << restarts.min(16)).min(LONGEST_BACKOFF);
            tokio::spawn(async move {
                sleep(delay).await;
                sim.start_again(&id, run);
            });
        }
    }

    /// The restart policy starts the container, unless somebody did something to it meanwhile.
    fn start_again(&self, id: &str, run: u32) {
        let mut state = self.lock();
        match state.get(id) {
            Ok(container) if container.starts == run && container.state == Life::Restarting => container.restarts += 1,
            _ => return,
        }
        if let Err(error) = state.equip(id) {
            let now = self.now();
            if let Ok(container) = state.get(id) {
                container.state = Life::Exited;
                container.error = error.to_string();
                container.finished = Some(now);
            }
            return;
        }
        drop(state);
        self.launch(id);
    }

    /// Probes the container's health until it ends. Returns only where there is nothing to probe.
    async fn probe(&self, id: &str, script: &Script) {
        let check = self.lock().get(id).ok().and_then(|c| c.healthcheck());
        let by_us = self.shared.capabilities.lock().unwrap_or_else(std::sync::PoisonError::into_inner).probes == Owner::Us;
        match check {
            Some(check) if !by_us => {
                if script.healthy_after.is_some() || script.unhealthy_after.is_some() {
                    self.probe_by_script(id, script).await;
                } else {
                    self.probe_by_test(id, &check).await;
                }
            }
            _ => {}
        }
        pending().await
    }

    /// Health as the script has it: it changes at the very moments that are written there.
    async fn probe_by_script(&self, id: &str, script: &Script) {
        let began = Instant::now();
        let moment = |after: Option<After>| if let Some(After::Time(t)) = after { Some(t) } else { None };
        let mut moments: Vec<(Duration, bool)> =
            moment(script.healthy_after).map(|t| (t, true)).into_iter().chain(moment(script.unhealthy_after).map(|t| (t, false))).collect();
        moments.sort();
        for (at, good) in moments {
            sleep_until(began + at).await;
            self.thawed(id).await;
            let (code, output, health) = if good { (0, String::new(), Health::Healthy) } else { (1, script.probe_output.clone(), Health::Unhealthy) };
            self.probed(id, code, output, Some(health));
        }
    }

    /// Health by running the test, as real engines do.
    async fn probe_by_test(&self, id: &str, check: &HealthcheckSpec) {
        let or = |d: Option<crate::units::Duration>, default: u64| d.filter(|d| d.0 > 0).map_or(Duration::from_secs(default), |d| d.to_std());
        let (interval, timeout) = (or(check.interval, 30), or(check.timeout, 30));
        let (start_period, start_interval) = (or(check.start_period, 0), or(check.start_interval, 5));
        let retries = check.retries.filter(|r| *r > 0).unwrap_or(3);
        let argv: Vec<String> = match check.test.split_first() {
            Some((kind, rest)) if kind == "CMD-SHELL" => ["/bin/sh", "-c"].map(str::to_owned).into_iter().chain(rest.iter().cloned()).collect(),
            Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
            _ => check.test.clone(),
        };
        let (began, mut bad, mut ever_good) = (Instant::now(), 0, false);
        loop {
            let starting = !ever_good && began.elapsed() < start_period;
            sleep(if starting { start_interval.min(interval) } else { interval }).await;
            self.thawed(id).await;
            let (output, sink) = Output::captured();
            let mut shell = shell::Shell::in_container(self, id, output);
            let code = tokio::time::timeout(timeout, shell.run_or(&argv, 0)).await.unwrap_or(-1);
            let printed = if code == -1 { format!("health check exceeded timeout ({timeout:?})") } else { sink.text() };
            let in_grace = !ever_good && began.elapsed() < start_period;
            let health = if code == 0 {
                (bad, ever_good) = (0, true);
                Some(Health::Healthy)
            } else {
                bad += u64::from(!in_grace);
                (bad >= retries).then_some(Health::Unhealthy)
            };
            self.probed(id, code, printed, health);
        }
    }

    /// Remembers a probe, and tells if health has changed by it.
    fn probed(&self, id: &str, exit_code: i64, output: String, health: Option<Health>) {
        let now = self.now();
        let mut state = self.lock();
        let Ok(container) = state.get(id) else { return };
        container.remember(Probe { start: Some(now), end: Some(now), exit_code, output });
        if let Some(health) = health.filter(|h| container.health != Some(*h)) {
            container.health = Some(health);
            state.emit(id, EventKind::Health(health), now);
        }
    }
}

fn reaction(signal: Signal, program: &Program, script: &Script, init: bool, traps: &Traps) -> Reaction {
    let by_signal = 128 + i64::from(signal);
    match program {
        _ if signal == KILL => Reaction::End(Duration::ZERO, by_signal),
        Program::Command(_) if traps.has(signal) => Reaction::Trap,
        // The kernel keeps from process 1 what it has no handler for; under an init, the command isn't process 1.
        Program::Command(_) if init && !harmless(signal) => Reaction::End(Duration::ZERO, by_signal),
        Program::Command(_) => Reaction::Nothing,
        Program::Script | Program::Server if script.ignore_term || !matches!(signal, 2 | 3 | 15 | 28 | 37) => Reaction::Nothing,
        Program::Script | Program::Server => Reaction::End(script.stop_takes, script.stop_exit),
    }
}

/// Signals that don't end a process by default.
fn harmless(signal: Signal) -> bool {
    matches!(signal, 17 | 18 | 19 | 23 | 28)
}

impl Script {
    /// Whether it says what process 1 does.
    pub(super) fn rules_the_process(&self) -> bool {
        self.exit.is_some()
            || self.exit_after.is_some()
            || !self.exits.is_empty()
            || self.oom
            || !self.log.is_empty()
            || self.ignore_term
            || !self.stop_takes.is_zero()
            || self.stop_exit != 0
            || self.healthy_after.is_some()
            || self.unhealthy_after.is_some()
    }
}

/// Number of a signal by name or number.
pub(super) fn signal_number(name: &str) -> Result<Signal, crate::world::EngineError> {
    signal::number(name).ok_or_else(|| crate::world::EngineError::new(ErrorKind::Refused, format!("there is no signal {name}")))
}
