//! The end of a process, and what follows from it.

use super::super::cgroup::Usage;
use super::container::{Forgetting, Process, Run, Then};
use super::log::{self, LogWriter};
use super::turn::{Due, Source, Supervisor, changed};
use crate::policy::{HealthFact, RestartAction, RestartFact};
use crate::units::Timestamp;
use crate::world::{EventKind, State, Stream};
use rustix::event::epoll::EventFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this code; 128 + n for signal n.
    Code(i64),
    /// It isn't over yet, or nobody could say how.
    NotYet,
    /// It is over, and nobody knows how.
    Unknown,
}

/// Asks how a process of ours has ended, and lets it go.
pub fn end_of(pidfd: impl AsFd) -> End {
    match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        Ok(Some(status)) => {
            let signal = status.terminating_signal().map(|n| 128 + i64::from(n));
            End::Code(status.exit_status().map(i64::from).or(signal).unwrap_or(255))
        }
        Ok(None) => End::NotYet,
        Err(_) => End::Unknown,
    }
}

/// Kills a process of ours that hasn't begun, and waits for it, which takes no time.
pub fn destroy(pidfd: &impl AsFd) {
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
}

impl Supervisor {
    /// Process 1 of a container may have ended.
    pub fn process_ended(&mut self, id: &str) {
        // How its start went is told first.
        let before = self.pid_of(id);
        if self.is_starting(id) {
            self.outcome(id);
        }
        let Some(container) = self.containers.get(id) else { return };
        let Some(run) = &container.run else { return };
        // It was the shepherd that has ended, and the container goes on.
        if before != Some(run.pid) {
            return;
        }
        let end = if run.adopted { super::adopt::end_of(run.pidfd(), run.pid, container.state.pid_start) } else { end_of(run.pidfd()) };
        let (code, unknown) = match end {
            End::Code(code) => (code, false),
            End::Unknown => (255, true),
            End::NotYet => {
                // One that isn't our child: whoever is its parent lets it go, which is reported without being asked for.
                self.poll.change(run.token, run.pidfd(), EventFlags::empty());
                return;
            }
        };
        if run.terminal.is_some() {
            // It has heard of it too, and ends when it has carried over what is left.
            self.poll.change(run.token, run.pidfd(), EventFlags::empty() | EventFlags::ET);
            if let Some(run) = self.containers.get_mut(id).and_then(|c| c.run.as_mut()) {
                run.ended = run.ended.or(Some((code, unknown)));
            }
            return;
        }
        self.forget(id, code, unknown);
    }

    /// Process 1 has ended: its runtime, if it isn't our own, forgets it; then it has ended for everybody.
    pub fn forget(&mut self, id: &str, code: i64, unknown: bool) {
        let folder = self.places.run_of(id);
        let Some(container) = self.containers.get_mut(id) else { return };
        if let (Some(runtime), Some(run)) = (&container.record.runtime, &mut container.run) {
            run.cgroup.kill();
            let usage = run.cgroup.usage();
            if let Some(pidfd) = super::super::runtime::oci::delete(runtime, &folder, id) {
                // Its end is known; it would be reported over and over.
                self.poll.remove(run.token, run.pidfd());
                if let Ok(token) = self.poll.add(&pidfd, EventFlags::IN, Source::Forgotten(id.to_owned())) {
                    run.forgetting = Some(Forgetting { pidfd, token, code, unknown, usage });
                    return;
                }
                destroy(&pidfd);
            }
        }
        self.ended(id, code, unknown);
    }

    /// A runtime has forgotten a container.
    pub fn forgotten(&mut self, id: &str) {
        let forgetting = self.containers.get(id).and_then(|c| c.run.as_ref()).and_then(|r| r.forgetting.as_ref());
        if let Some((code, unknown)) = forgetting.map(|f| (f.code, f.unknown)) {
            self.ended(id, code, unknown);
        }
    }

    /// Process 1 has ended. What it has printed is written down, then how it ended, and then it is told.
    pub fn ended(&mut self, id: &str, code: i64, unknown: bool) {
        let (now, passed) = (self.clock.now(), self.clock.passed());
        let Some(mut run) = self.containers.get_mut(id).and_then(|c| c.run.take()) else { return };
        let own_processes = self.containers.get(id).is_some_and(|c| c.record.spec.security.pid.is_empty());
        // With a process namespace of its own nothing is left; without, the rest goes too.
        if !own_processes {
            run.cgroup.kill();
        }
        let oom_kills = run.forgetting.as_ref().map_or_else(|| run.cgroup.oom_kills(), |f| f.usage.oom_kills);
        if let Some(log) = &mut run.log {
            let mut lost = None;
            for capture in &run.captures {
                lost = self.bench.pump(capture, log, now, true).1.or(lost);
            }
            if let Some(lost) = lost {
                self.log_failed(id, lost);
            }
        }
        if let Some(health) = &mut run.health {
            health.on(HealthFact::Ended, passed);
        }
        let out_of_memory = oom_kills > 0 && self.containers.get(id).is_some_and(|c| !c.state.oom_killed);
        if let Some(log) = run.log.as_mut().filter(|_| out_of_memory) {
            let usage = run.forgetting.as_ref().map_or_else(|| run.cgroup.usage(), |f| f.usage);
            note_out_of_memory(log, &usage, now);
        }
        self.let_go(id, run);
        let Some(container) = self.containers.get_mut(id) else { return };
        let then = std::mem::take(&mut container.then);
        let on_purpose = container.state.stopped_on_purpose || !then.is_empty();
        // Who ends several on purpose doesn't want to wait for the kernel, which clears up after each.
        if !on_purpose && let Some((net, _)) = &mut self.net {
            net.rest(Some(id));
        }
        let fact = if on_purpose { RestartFact::Stopped } else { RestartFact::Exited { code } };
        let action = container.restart.on(fact, passed);
        let state = &mut container.state;
        state.state = Some(State::Exited);
        (state.pid, state.pid_start) = (0, 0);
        (state.exit_code, state.finished, state.health) = (Some(code), Some(now), None);
        state.oom_killed |= out_of_memory;
        if unknown {
            state.error = "its exit code is unknown: its supervisor was killed before".into();
        }
        state.networks.clear();
        state.ports.clear();
        if let RestartAction::Wait { until } = action {
            self.wait_for_restart(id, until);
        }
        // Where it can't be written, it is known here as long as we live, and found out anew after that.
        let _ = self.save(id);
        if out_of_memory {
            self.tell(id, EventKind::OutOfMemory);
        }
        self.tell(id, EventKind::Died { exit_code: code });
        self.follow_up(id, then);
        self.clear_net();
    }

    /// Its policy starts it again at that time.
    pub fn wait_for_restart(&mut self, id: &str, until: Duration) {
        if let Some(container) = self.containers.get_mut(id) {
            container.state.state = Some(State::Restarting);
            container.waits += 1;
            self.timers.add(until, Due::Restart(id.to_owned(), container.waits));
        }
    }

    /// What was to be done when it has ended.
    fn follow_up(&mut self, id: &str, then: Vec<Then>) {
        if then.iter().any(|t| matches!(t, Then::Stopped(_) | Then::Restart(_))) {
            self.tell(id, EventKind::Stopped);
        }
        let removal = then.iter().any(|t| matches!(t, Then::Remove(..)));
        let mut started = None;
        for step in then {
            match step {
                Then::Answer(ticket) | Then::Stopped(ticket) => self.answer(ticket, Ok(changed(true))),
                Then::Restart(ticket) if !removal => {
                    let begun = started.get_or_insert_with(|| {
                        self.fresh(id);
                        self.start(id)
                    });
                    match begun.clone() {
                        Ok(()) => {
                            if let Some(container) = self.containers.get_mut(id) {
                                container.starts.push((ticket, true));
                            }
                        }
                        Err(error) => self.answer(ticket, Err(error)),
                    }
                }
                Then::Restart(ticket) => self.answer(ticket, Ok(changed(true))),
                Then::Remove(ticket, volumes) => {
                    let removed = self.removed(id, volumes);
                    self.answer(ticket, removed);
                }
            }
        }
    }

    /// Gives back what a run had.
    pub fn let_go(&mut self, id: &str, run: Run) {
        self.poll.remove(run.token, run.pidfd());
        if let Process::Starting(starting, token) = &run.process {
            self.poll.remove(*token, &starting.status);
        }
        for capture in &run.captures {
            self.poll.remove(capture.token, &capture.descriptor);
        }
        if let Some((watch, token)) = &run.oom {
            self.poll.remove(*token, watch);
        }
        if let Some(holder) = &run.terminal {
            self.poll.remove(holder.token, &holder.pidfd);
            destroy(&holder.pidfd);
        }
        if let Some(probe) = run.probe {
            self.poll.remove(probe.token, &probe.starting.pidfd);
            self.poll.remove(probe.output.1, &probe.output.0);
            destroy(&probe.starting.pidfd);
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.printing.remove(&(id.to_owned(), stream));
        }
        if let Some(forgetting) = &run.forgetting {
            self.poll.remove(forgetting.token, &forgetting.pidfd);
            destroy(&forgetting.pidfd);
        }
        self.detach(id);
        run.cgroup.remove();
    }

    /// Process 1.
    fn pid_of(&self, id: &str) -> Option<i32> {
        self.containers.get(id)?.run.as_ref().map(|r| r.pid)
    }

    /// Lets go of children that aren't ours by birth and that nobody waits for: what another runtime has left behind, or
    /// what lived in a container without a process namespace of its own.
    pub fn bury_strays(&mut self) {
        // One of those could be a container's process, of which we have not heard yet.
        if !self.has_foster_children || self.containers.values().any(|c| c.run.as_ref().is_some_and(Run::is_starting)) {
            return;
        }
        let known = |pid: i32| {
            let of = |r: &Run| r.pid == pid || r.probe.as_ref().is_some_and(|p| p.starting.pid == pid);
            self.containers.values().any(|c| c.run.as_ref().is_some_and(of))
        };
        let list = std::fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).unwrap_or_default();
        for pid in list.split_whitespace().filter_map(|p| p.parse().ok()).filter(|pid| !known(*pid)) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            }
        }
    }

    /// With the last container goes what the project has on the host.
    pub fn clear_net(&mut self) {
        if self.containers.values().all(|c| c.run.is_none())
            && let Some((net, _)) = &mut self.net
        {
            net.clear();
        }
    }

    /// The wait before a restart is over.
    pub fn wait_over(&mut self, id: &str, wait: u64) {
        let passed = self.clock.passed();
        let Some(container) = self.containers.get_mut(id).filter(|c| c.waits == wait && c.run.is_none()) else { return };
        match container.restart.on(RestartFact::WaitOver, passed) {
            RestartAction::Start => {
                container.state.restarts = container.restart.restarts();
                // It is tried again, or has given up; its state says so.
                let _ = self.start(id);
            }
            RestartAction::Wait { until } => self.timers.add(until, Due::Restart(id.to_owned(), wait)),
            RestartAction::Nothing | RestartAction::GiveUp { .. } => {}
        }
    }

    /// Memory has run out in a container.
    pub fn memory_ran_out(&mut self, id: &str) {
        let now = self.clock.now();
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(run) = &mut container.run else { return };
        if let Some((watch, _)) = &run.oom {
            // The count of an eventfd; other kinds of watches have nothing to read.
            let mut count = [0_u8; 8];
            let ready = rustix::io::ioctl_fionread(watch).is_ok_and(|n| n > 0);
            if ready {
                let _ = rustix::io::read(watch, &mut count);
            }
        }
        if run.cgroup.oom_kills() == 0 || container.state.oom_killed {
            return;
        }
        if let Some(log) = &mut run.log {
            note_out_of_memory(log, &run.cgroup.usage(), now);
        }
        container.state.oom_killed = true;
        let _ = self.save(id);
        self.tell(id, EventKind::OutOfMemory);
    }

    /// Kills process 1 and everything beside it.
    pub fn kill(&mut self, id: &str) {
        if let Some(run) = self.containers.get(id).and_then(|c| c.run.as_ref()) {
            signal_to(run.pidfd(), Signal::KILL);
            run.cgroup.kill();
            if let Some(forgetting) = &run.forgetting {
                signal_to(forgetting.pidfd.as_fd(), Signal::KILL);
            }
        }
    }
}

/// Says in a container's log why a process of it is gone: the kernel kills without a word. A log without room stays
/// without it.
fn note_out_of_memory(log: &mut LogWriter, usage: &Usage, now: Timestamp) {
    let limit = usage.memory_limit.map_or_else(String::new, |bytes| format!(" (limit {:.1} MiB)", bytes as f64 / f64::from(1 << 20)));
    let mut records = Vec::new();
    let time = log.time(now);
    log::encode(&mut records, time, Stream::Stderr, format!("consort: memory ran out{limit}, the kernel has killed a process\n").as_bytes(), true);
    let _ = log.append(&records);
}

/// Sends a signal to a process; one that has just ended gets none.
pub fn signal_to(pidfd: BorrowedFd<'_>, signal: Signal) {
    let _ = pidfd_send_signal(pidfd, signal);
}
