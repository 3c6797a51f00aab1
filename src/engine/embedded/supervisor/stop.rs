//! Stops, kills, restarts, freezing, removal.

use super::super::cgroup::Cgroup;
use super::super::record;
use super::container::{Container, Then, Ticket, stop_signal};
use super::exit::signal_to;
use super::turn::{Due, Reply, Supervisor, changed};
use crate::policy::RestartFact;
use crate::world::{Applied, EngineError, ErrorKind, EventKind, Op, RestartPolicy, State, Target, signal};
use rustix::process::Signal;
use std::time::Duration;

/// Seconds between the stop signal and SIGKILL when nobody says.
const STOP_TIMEOUT: i64 = 10;

impl Supervisor {
    /// `stop`.
    pub fn asked_to_stop(&mut self, ticket: Ticket, target: &Target, timeout: Option<i64>) -> Reply {
        let id = self.id_of(target)?;
        if self.cut_short(&id, ticket, || Op::StopContainer { container: target.clone(), timeout }) {
            return Ok(None);
        }
        let Some(container) = self.containers.get_mut(&id) else { return Ok(Some(changed(false))) };
        if container.run.is_none() {
            return Ok(Some(changed(self.stop_waiting(&id))));
        }
        container.then.push(Then::Stopped(ticket));
        self.ask_to_end(&id, timeout);
        Ok(None)
    }

    /// `restart`.
    pub fn asked_to_restart(&mut self, ticket: Ticket, target: &Target, timeout: Option<i64>) -> Reply {
        let id = self.id_of(target)?;
        if self.cut_short(&id, ticket, || Op::RestartContainer { container: target.clone(), timeout }) {
            return Ok(None);
        }
        let Some(container) = self.containers.get_mut(&id) else { return Ok(Some(changed(false))) };
        if container.run.is_some() {
            container.then.push(Then::Restart(ticket));
            self.ask_to_end(&id, timeout);
            return Ok(None);
        }
        self.fresh(&id);
        self.start(&id)?;
        if let Some(container) = self.containers.get_mut(&id) {
            container.starts.push((ticket, true));
        }
        Ok(None)
    }

    /// `kill`: any signal. One that ends it is waited for, where it can't be caught.
    pub fn asked_to_kill(&mut self, ticket: Ticket, target: &Target, name: &str) -> Reply {
        let id = self.id_of(target)?;
        let number = signal::number(name).ok_or_else(|| EngineError::new(ErrorKind::Refused, format!("there is no signal {name}")))?;
        let again = || Op::KillContainer { container: target.clone(), signal: name.to_owned() };
        if number == signal::KILL && self.cut_short(&id, ticket, again) || self.put_off(&id, ticket, again) {
            return Ok(None);
        }
        let Some(container) = self.containers.get_mut(&id) else { return Ok(Some(changed(false))) };
        let Some(run) = &container.run else {
            let stopped = number == signal::KILL && self.stop_waiting(&id);
            return Ok(Some(changed(stopped)));
        };
        let ends = number == signal::KILL || number == stop_signal(&container.record.spec, &run.image.config);
        if number == signal::KILL {
            container.then.push(Then::Answer(ticket));
        }
        if ends {
            self.on_purpose(&id);
        }
        self.send_signal(&id, number);
        if number == signal::KILL {
            self.kill(&id);
            self.thaw(&id);
            return Ok(None);
        }
        Ok(Some(changed(true)))
    }

    /// `pause` and `unpause`.
    pub fn freeze(&mut self, ticket: Ticket, target: &Target, frozen: bool) -> Reply {
        let id = self.id_of(target)?;
        let again = || {
            let container = target.clone();
            if frozen { Op::PauseContainer { container } } else { Op::UnpauseContainer { container } }
        };
        if self.put_off(&id, ticket, again) {
            return Ok(None);
        }
        let Some(container) = self.containers.get_mut(&id) else { return Ok(Some(changed(false))) };
        match (container.state(), frozen) {
            (State::Paused, true) | (State::Running | State::Created | State::Exited, false) => return Ok(Some(changed(false))),
            (State::Running, true) | (State::Paused, false) => {}
            _ => return Err(EngineError::new(ErrorKind::Conflict, format!("container {} is not running", container.record.name))),
        }
        if let Some(run) = &container.run {
            run.cgroup.freeze(frozen)?;
        }
        container.state.state = Some(if frozen { State::Paused } else { State::Running });
        self.save(&id)?;
        self.tell(&id, if frozen { EventKind::Paused } else { EventKind::Unpaused });
        if !frozen {
            self.probe_owed(&id);
        }
        Ok(Some(changed(true)))
    }

    /// `rm -f`.
    pub fn asked_to_remove(&mut self, ticket: Ticket, target: &Target, volumes: bool) -> Reply {
        let id = match self.id_of(target) {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(Some(changed(false))),
            other => other?,
        };
        if let Some(container) = self.containers.get(&id)
            && let Some(other) = self.lives_in(&id, &container.record.name)
        {
            let name = &container.record.name;
            return Err(EngineError::new(ErrorKind::Conflict, format!("container {name} can't be removed: {other} lives in its namespace")));
        }
        if self.cut_short(&id, ticket, || Op::RemoveContainer { container: target.clone(), volumes }) {
            return Ok(None);
        }
        let Some(container) = self.containers.get_mut(&id) else { return Ok(Some(changed(false))) };
        if container.run.is_none() {
            return self.removed(&id, volumes).map(Some);
        }
        let first = !container.then.iter().any(|t| matches!(t, Then::Remove(..)));
        container.then.push(Then::Remove(ticket, volumes));
        if first {
            self.on_purpose(&id);
            self.send_signal(&id, signal::KILL);
            self.kill(&id);
            self.thaw(&id);
        }
        Ok(None)
    }

    /// A running container that shares a namespace of this one.
    fn lives_in(&self, id: &str, name: &str) -> Option<String> {
        let shares = |c: &&Container| c.run.is_some() && self.shared_with(&c.record.spec).iter().any(|o| *o == id || *o == name);
        self.containers.values().find(shares).map(|c| c.record.name.clone())
    }

    /// Removes a container that has no process.
    ///
    /// # Errors
    /// Its record can't be removed.
    pub fn removed(&mut self, id: &str, volumes: bool) -> Result<Applied, EngineError> {
        let Some(container) = self.containers.get(id) else { return Ok(changed(false)) };
        let record = container.record.clone();
        let anonymous = record.mounts.iter().filter(|m| volumes && m.anonymous && m.point.kind == "volume");
        self.volumes_go_along(id, &anonymous.map(|m| m.point.name.clone()).collect::<Vec<_>>())?;
        // Where a process took its time to go when its run ended, its groups are still there. They are found by the record.
        Cgroup::of(&self.project, id, &record.spec.security.cgroup_parent).remove();
        let gone = std::fs::remove_file(self.places.container(id).join("container.json"));
        if let Err(error) = gone
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(record::failed(&format!("container {} can't be removed", record.name), &error));
        }
        self.free_name(&record.name, id);
        self.tell(id, EventKind::Removed);
        self.containers.remove(id);
        self.sweep(id);
        Ok(changed(true))
    }

    /// Asks a running container to end, and kills it when its time is over.
    fn ask_to_end(&mut self, id: &str, timeout: Option<i64>) {
        self.on_purpose(id);
        let Some(container) = self.containers.get(id) else { return };
        let Some(run) = &container.run else { return };
        let seconds = timeout.or(container.record.spec.stop_timeout).unwrap_or(STOP_TIMEOUT);
        let (number, run) = (stop_signal(&container.record.spec, &run.image.config), run.number);
        if seconds == 0 {
            self.send_signal(id, signal::KILL);
            self.kill(id);
        } else {
            self.send_signal(id, number);
        }
        // A frozen process couldn't end.
        self.thaw(id);
        // Less than nought is for ever.
        if let Ok(seconds @ 1..) = u64::try_from(seconds) {
            let until = self.clock.passed().saturating_add(Duration::from_secs(seconds));
            self.timers.add(until, Due::Kill(id.to_owned(), run));
        }
    }

    /// It was asked to end, and hasn't.
    pub fn patience_over(&mut self, id: &str, run: u64) {
        if self.containers.get(id).and_then(|c| c.run.as_ref()).is_some_and(|r| r.number == run) {
            self.send_signal(id, signal::KILL);
            self.kill(id);
            self.thaw(id);
        }
    }

    /// Remembers that somebody wanted it to end. Written down at once if that makes a difference to who comes after us: we
    /// may be killed before it has ended.
    fn on_purpose(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if !container.state.stopped_on_purpose {
            container.state.stopped_on_purpose = true;
            if container.record.spec.restart != RestartPolicy::No {
                let _ = self.save(id);
            }
        }
    }

    /// Ends the wait for a restart. False if there was none.
    fn stop_waiting(&mut self, id: &str) -> bool {
        let passed = self.clock.passed();
        let Some(container) = self.containers.get_mut(id) else { return false };
        let waiting = container.state() == State::Restarting;
        if waiting {
            container.restart.on(RestartFact::Stopped, passed);
            container.waits += 1;
            container.state.state = Some(State::Exited);
        }
        // One that is down stays down after a reboot too, as it was wished.
        let news = waiting || container.state.state.is_some() && !container.state.stopped_on_purpose;
        container.state.stopped_on_purpose |= container.state.state.is_some();
        if news {
            let _ = self.save(id);
        }
        if waiting {
            self.tell(id, EventKind::Stopped);
        }
        waiting
    }

    /// Sends a signal to process 1, and says so.
    fn send_signal(&mut self, id: &str, number: i32) {
        let Some(run) = self.containers.get(id).and_then(|c| c.run.as_ref()) else { return };
        if let Some(signal) = Signal::from_named_raw(number) {
            signal_to(run.pidfd(), signal);
        } else {
            super::super::sys::pidfd::signal(run.pidfd(), number);
        }
        self.tell(id, EventKind::Killed { signal: number.to_string() });
    }

    /// Lets a frozen container go on, without a word.
    fn thaw(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id).filter(|c| c.state() == State::Paused) else { return };
        if let Some(run) = &container.run {
            // It may have ended already.
            let _ = run.cgroup.freeze(false);
        }
        container.state.state = Some(State::Running);
    }

    /// Ends a start that is under way, and does the op after that. False if there is none.
    fn cut_short(&mut self, id: &str, ticket: Ticket, op: impl FnOnce() -> Op) -> bool {
        let cut = self.put_off(id, ticket, op);
        if cut {
            self.kill(id);
        }
        cut
    }

    /// Does the op when a start that is under way has an outcome. False if there is none.
    pub fn put_off(&mut self, id: &str, ticket: Ticket, op: impl FnOnce() -> Op) -> bool {
        // The outcome may be known already, and only not have been read.
        if self.is_starting(id) && self.start_is_over(id) {
            self.outcome(id);
        }
        if !self.is_starting(id) {
            return false;
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.later.push((ticket, op()));
        }
        true
    }

    fn start_is_over(&self, id: &str) -> bool {
        use super::container::Process;
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let Some(run) = self.containers.get(id).and_then(|c| c.run.as_ref()) else { return false };
        let Process::Starting(starting, _) = &run.process else { return false };
        let mut waited = [PollFd::new(&starting.status, PollFlags::IN)];
        poll(&mut waited, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|n| n > 0)
    }
}
