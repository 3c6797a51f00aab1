//! Taking over: containers that another supervisor has started and left, because it was killed, because the machine was
//! booted anew, or because this is a newer version of it.

use super::super::cgroup::Cgroup;
use super::super::net::Guest;
use super::super::record::{self, ContainerRecord, ContainerState};
use super::super::sys::pidfd;
use super::capture::fifo;
use super::container::{Container, Process, Run};
use super::exit::End;
use super::turn::{Source, Supervisor};
use crate::policy::{RestartAction, RestartFact};
use crate::world::{EngineError, ErrorKind, State, Stream};
use rustix::event::epoll::EventFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};

/// How long killed processes may take to go.
const LAST_BREATH: std::time::Duration = std::time::Duration::from_secs(2);

/// Fields of `/proc/PID/stat` from the third on: state, …
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in brackets, may have anything in it.
    let rest = text.rsplit_once(") ")?.1;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// When a process began, in ticks since boot.
pub fn begun(pid: i32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// Which boot this is.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Whether the process that a state speaks of is the one that has its number now, and goes on.
pub fn is_alive(state: &ContainerState, boot: &str) -> bool {
    let alive = |fields: &Vec<String>| {
        fields.first().is_some_and(|s| !matches!(s.as_str(), "Z" | "X")) && fields.get(19).is_some_and(|t| *t == state.pid_start.to_string())
    };
    state.pid > 0 && state.boot == boot && stat(state.pid).as_ref().is_some_and(alive)
}

/// How a process has ended that may be somebody else's child.
pub fn end_of(process: impl AsFd + Copy, pid: i32, start: u64) -> End {
    match super::exit::end_of(process) {
        End::Unknown => {}
        known => return known,
    }
    // As long as its parent hasn't let it go it stands among the processes, with its code; after that the kernel tells
    // those who hold a descriptor.
    let here = stat(pid).filter(|fields| fields.get(19).is_some_and(|s| *s == start.to_string()));
    let standing = here.as_ref().filter(|fields| fields.first().is_some_and(|s| s == "Z")).and_then(|fields| fields.get(49)?.parse().ok());
    match standing.or_else(|| pidfd::exit_status(process)) {
        Some(status) => End::Code(code(status)),
        None if here.is_some() => End::NotYet,
        None => End::Unknown,
    }
}

/// The exit code in what wait(2) tells: 128 + n for signal n.
fn code(status: i32) -> i64 {
    if status & 0x7f == 0 { i64::from(status >> 8 & 0xff) } else { 128 + i64::from(status & 0x7f) }
}

impl Supervisor {
    /// Looks for everything that the project has, and goes on with it.
    ///
    /// # Errors
    /// The folders can't be read.
    pub fn adopt(&mut self) -> Result<(), EngineError> {
        let members = self.places.members(&self.project);
        let mut ids: Vec<String> =
            std::fs::read_dir(&members).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        ids.sort();
        let is_new = ids.is_empty();
        for id in ids {
            let folder = self.places.container(&id);
            let read = record::read::<ContainerRecord>(&folder.join("container.json"));
            // Commands for the project say which file can't be understood; the other containers go on.
            let Ok(read) = read else { continue };
            let Some(record) = read else {
                // A creation or a removal that was cut short.
                let cgroup = Cgroup::of(&self.project, &id, "");
                cgroup.end(LAST_BREATH);
                cgroup.remove();
                self.sweep(&id);
                continue;
            };
            match self.claim_name(&record.name, &id) {
                Err(error) if error.kind == ErrorKind::Conflict => {
                    self.sweep(&id);
                    continue;
                }
                // Who has it can't be found out now.
                _ => {}
            }
            let state = match record::read::<ContainerState>(&folder.join("state.json")) {
                Ok(state) => state.unwrap_or_default(),
                // Nobody knows its process any more: whatever runs of it is ended below.
                Err(error) => {
                    let boot = self.boot.clone();
                    ContainerState { state: Some(State::Dead), boot, error: error.to_string(), ..ContainerState::default() }
                }
            };
            self.containers.insert(id.clone(), Container::new(record, state));
        }
        self.free_old_names();
        // In the order in which they were made: what others depend on was made before them.
        let mut ids: Vec<_> = self.containers.values().map(|c| (c.record.created, c.record.id.clone())).collect();
        ids.sort();
        for (_, id) in &ids {
            self.adopt_one(id);
        }
        // What nobody holds any more of networks; a new project has left nothing.
        if !is_new {
            let _ = super::super::net::sweep(&self.places);
        }
        Ok(())
    }

    /// Frees the names that containers had before they got another one, where somebody was killed between the two.
    fn free_old_names(&self) {
        let names = if self.containers.is_empty() { None } else { std::fs::read_dir(self.places.name("")).ok() };
        for entry in names.into_iter().flatten().flatten() {
            let holder = std::fs::read_to_string(entry.path()).ok().and_then(|id| self.containers.get(&id));
            if let (Some(holder), Ok(name)) = (holder, entry.file_name().into_string())
                && holder.record.name != name
            {
                self.free_name(&name, &holder.record.id);
            }
        }
    }

    fn adopt_one(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let (state, was) = (&container.state, container.state());
        if is_alive(state, &self.boot) && matches!(was, State::Running | State::Paused) {
            match self.take_over(id) {
                Ok(()) => return,
                // It can't be looked after: then it must not run.
                Err(error) => self.note(id, &error),
            }
        }
        let Some(container) = self.containers.get(id) else { return };
        let cgroup = Cgroup::of(&self.project, id, &container.record.spec.security.cgroup_parent);
        if self.places.run_of(id).exists() {
            // A start that was cut short has left a process nobody knows of, and what it was given.
            cgroup.end(LAST_BREATH);
            self.drain(id);
            cgroup.remove();
            if self.net().is_ok() {
                self.detach(id);
            }
        }
        if matches!(was, State::Running | State::Paused | State::Restarting | State::Dead) {
            self.found_down(id, was);
        }
    }

    fn note(&mut self, id: &str, error: &EngineError) {
        if let Some(container) = self.containers.get_mut(id) {
            container.state.error = error.to_string();
        }
    }

    /// Goes on with a container that runs.
    fn take_over(&mut self, id: &str) -> Result<(), EngineError> {
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        let (record, state) = (container.record.clone(), container.state.clone());
        let cant = |e: std::io::Error| record::failed(&format!("container {} can't be taken over", record.name), &e);
        let pid = Pid::from_raw(state.pid).ok_or_else(|| cant(std::io::ErrorKind::NotFound.into()))?;
        let pidfd: OwnedFd = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| cant(e.into()))?;
        // It may have ended, and its number been given to another one, between the look and the descriptor.
        if !is_alive(&state, &self.boot) {
            return Err(cant(std::io::ErrorKind::NotFound.into()));
        }
        let image = self.image(&record.image, record.spec.platform.as_deref())?;
        let cgroup = Cgroup::of(&self.project, id, &record.spec.security.cgroup_parent);
        let mut log = self.open_log(id, &record.spec)?;
        let mut pipes = Vec::new();
        let run = self.places.run_of(id);
        for (name, stream) in [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)].into_iter().take(if record.spec.tty { 1 } else { 2 }) {
            pipes.push((fifo(&run.join(name)).map_err(cant)?.0, stream));
        }
        let names = super::start::names(&record.name, &record.spec);
        let guest = Guest { id, names: &names, pidfd: pidfd.as_fd(), pid: state.pid, dns: &record.spec.dns };
        let published: Vec<_> = state.ports.iter().filter(|p| p.host_port != 0).cloned().collect();
        if !record.spec.networks.is_empty() || !published.is_empty() {
            // Without its name server it is worse off, but not dead.
            if let Err(error) = self.net()?.adopt(&guest, &record.spec.networks, &published) {
                self.note(id, &error);
            }
            self.watch_net();
        }
        let token = self.poll.add(&pidfd, EventFlags::IN, Source::Ended(id.to_owned())).map_err(cant)?;
        let captures = self.watch(id, pipes, record.spec.tty);
        let terminal = if record.spec.tty { self.find_holder(id) } else { None };
        let oom = self.watch_memory(id, &cgroup);
        // What was in the pipes before they were watched.
        for capture in &captures {
            capture.settle(&mut self.bench, &log);
            self.bench.pump(capture, &mut log, self.clock.now(), false);
        }
        for capture in &captures {
            self.printing.insert((id.to_owned(), capture.stream));
        }
        self.runs += 1;
        self.has_foster_children |= record.runtime.is_some();
        let run = Run {
            number: self.runs,
            pid: state.pid,
            process: Process::Running(pidfd),
            token,
            cgroup,
            image,
            captures,
            log: Some(log),
            oom,
            health: None,
            probe: None,
            owed: false,
            adopted: true,
            forgetting: None,
            terminal,
            ended: None,
        };
        let running = {
            let ago = u64::try_from(self.clock.now().0.saturating_sub(state.started.unwrap_or_default().0)).unwrap_or(0);
            self.clock.passed().saturating_sub(std::time::Duration::from_nanos(ago))
        };
        if let Some(container) = self.containers.get_mut(id) {
            container.restart.on(RestartFact::Started, running);
            container.run = Some(run);
        }
        self.resume_probing(id);
        Ok(())
    }

    /// Writes down what a container that is gone has printed last: it is still in its pipes, if one of its processes or
    /// somebody else has them open.
    fn drain(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let folder = self.places.run_of(id);
        let Ok(mut log) = self.open_log(id, &container.record.spec) else { return };
        for (name, stream) in [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)] {
            let path = folder.join(name);
            if !path.exists() {
                continue;
            }
            let Ok((descriptor, _)) = fifo(&path) else { continue };
            for capture in self.watch(id, vec![(descriptor, stream)], false) {
                capture.settle(&mut self.bench, &log);
                self.bench.pump(&capture, &mut log, self.clock.now(), true);
                self.poll.remove(capture.token, &capture.descriptor);
            }
        }
    }

    /// A container that should run doesn't: it has ended while nobody looked, or the machine was booted anew.
    fn found_down(&mut self, id: &str, was: State) {
        let (now, passed) = (self.clock.now(), self.clock.passed());
        let Some(container) = self.containers.get_mut(id) else { return };
        let rebooted = container.state.boot != self.boot;
        let stopped = container.state.stopped_on_purpose;
        let code = if was == State::Restarting { container.state.exit_code } else { None }.unwrap_or(255);
        let state = &mut container.state;
        state.state = Some(State::Exited);
        (state.pid, state.pid_start, state.health) = (0, 0, None);
        state.networks.clear();
        state.ports.clear();
        if was != State::Restarting {
            (state.exit_code, state.finished) = (Some(code), Some(now));
            if was != State::Dead {
                state.error =
                    if rebooted { "the machine was booted anew" } else { "it ended while no supervisor looked; its exit code is unknown" }.into();
            }
        }
        let action = container.restart.on(RestartFact::Found { stopped, code }, passed);
        // Found out anew if it can't be written.
        let _ = self.save(id);
        if was != State::Restarting {
            self.tell(id, crate::world::EventKind::Died { exit_code: code });
        }
        if action == RestartAction::Start {
            // What it needs may not be there yet after a boot: then its policy tries again, and its state says what is wrong.
            if let Some(container) = self.containers.get_mut(id) {
                container.state.state = Some(State::Restarting);
            }
            let _ = self.start(id);
        }
    }
}
