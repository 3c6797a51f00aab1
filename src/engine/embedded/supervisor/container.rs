//! A container as its supervisor knows it.

use super::super::cgroup::{Cgroup, Usage};
use super::super::image::{Image, ImageConfig};
use super::super::record::{ContainerRecord, ContainerState};
use super::super::runtime::Starting;
use super::capture::Capture;
use super::log::LogWriter;
use super::terminal::Holder;
use super::wait::Token;
use crate::policy;
use crate::units::Timestamp;
use crate::world::{ContainerId, ContainerSpec, HealthcheckSpec, Op, Probe, State, label, signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// Who waits for an answer: a connection, and its number for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The connection.
    pub connection: u64,
    /// The request.
    pub request: u64,
}

/// A container.
#[derive(Debug)]
pub struct Container {
    /// What was asked for.
    pub record: ContainerRecord,
    /// How it is, as it is written down.
    pub state: ContainerState,
    /// When it is started again.
    pub restart: policy::Restart,
    /// Says which waiting for a restart a timer belongs to.
    pub waits: u64,
    /// Its process, from the moment at which it is made.
    pub run: Option<Run>,
    /// Who waits for its start, and whether it is one after a stop.
    pub starts: Vec<(Ticket, bool)>,
    /// Asked for while it was being started.
    pub later: Vec<(Ticket, Op)>,
    /// What is to be done when its process has ended.
    pub then: Vec<Then>,
}

/// What is to be done when a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Say so.
    Answer(Ticket),
    /// Say that it was stopped.
    Stopped(Ticket),
    /// Start it again.
    Restart(Ticket),
    /// Remove it, with its anonymous volumes or without.
    Remove(Ticket, bool),
}

/// Process 1.
#[derive(Debug)]
pub struct Run {
    /// Which run of all runs it is: timers that have another number are out of date.
    pub number: u64,
    /// On the host.
    pub pid: i32,
    /// It.
    pub process: Process,
    /// How its end is waited for.
    pub token: Token,
    /// Its groups.
    pub cgroup: Cgroup,
    /// Its image.
    pub image: Rc<Image>,
    /// What it prints.
    pub captures: Vec<Capture>,
    /// Where that goes.
    pub log: Option<LogWriter>,
    /// Memory.
    pub oom: Option<(OwnedFd, Token)>,
    /// Its health, if it is looked after.
    pub health: Option<policy::Health>,
    /// The probe that runs.
    pub probe: Option<ProbeRun>,
    /// A probe was due while it was frozen.
    pub owed: bool,
    /// A supervisor before this one started it.
    pub adopted: bool,
    /// It has ended, and its runtime is forgetting it.
    pub forgetting: Option<Forgetting>,
    /// Who holds its terminal.
    pub terminal: Option<Holder>,
    /// How it has ended, while that one still has something to say: exit code, and whether it is a guess.
    pub ended: Option<(i64, bool)>,
}

/// What is known of an end while a runtime forgets the container.
#[derive(Debug)]
pub struct Forgetting {
    /// Whoever has the runtime do it.
    pub pidfd: OwnedFd,
    /// How its end is waited for.
    pub token: Token,
    /// Exit code.
    pub code: i64,
    /// Nobody knows the exit code.
    pub unknown: bool,
    /// What the groups had used: they are removed.
    pub usage: Usage,
}

/// How far process 1 is.
#[derive(Debug)]
pub enum Process {
    /// On its way to its program; how the outcome is waited for.
    Starting(Starting, Token),
    /// There.
    Running(OwnedFd),
}

/// A probe that runs.
#[derive(Debug)]
pub struct ProbeRun {
    /// Which one of this run.
    pub number: u64,
    /// It.
    pub starting: Starting,
    /// How its end is waited for.
    pub token: Token,
    /// What it prints, and how that is waited for.
    pub output: (OwnedFd, Token),
    /// What it has printed, cut off.
    pub text: Vec<u8>,
    /// When it began.
    pub began: Timestamp,
}

impl Run {
    /// Process 1.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        match &self.process {
            Process::Starting(starting, _) => starting.pidfd.as_fd(),
            Process::Running(pidfd) => pidfd.as_fd(),
        }
    }

    /// Whether its program hasn't begun yet.
    pub fn is_starting(&self) -> bool {
        matches!(self.process, Process::Starting(..))
    }
}

impl Container {
    /// A container that nobody looks after yet.
    pub fn new(record: ContainerRecord, state: ContainerState) -> Self {
        let restart = policy::Restart::resumed(record.spec.restart.clone(), state.restarts);
        Self { record, state, restart, waits: 0, run: None, starts: Vec::new(), later: Vec::new(), then: Vec::new() }
    }

    /// Its state; that of one that never ran is `created`.
    pub fn state(&self) -> State {
        self.state.state.unwrap_or(State::Created)
    }

    /// As events name it.
    pub fn identity(&self) -> ContainerId {
        let label = |name: &str| self.record.spec.labels.get(name);
        ContainerId {
            id: self.record.id.clone(),
            name: self.record.name.clone(),
            service: label(label::SERVICE).cloned().unwrap_or_default(),
            number: label(label::CONTAINER_NUMBER).and_then(|n| n.parse().ok()),
            oneoff: label(label::ONEOFF).is_some_and(|v| v.eq_ignore_ascii_case("true")),
            replaces: label(label::REPLACE).cloned(),
        }
    }

    /// Remembers a probe, and forgets old ones.
    pub fn remember(&mut self, probe: Probe) {
        const PROBES: usize = 5;
        self.state.probes.push(probe);
        let old = self.state.probes.len().saturating_sub(PROBES);
        self.state.probes.drain(..old);
    }
}

/// The entry point and command in force. An entry point of one's own drops the image's command.
pub fn argv(spec: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
    let own = spec.entrypoint.is_some();
    let entrypoint = spec.entrypoint.as_ref().unwrap_or(&image.entrypoint);
    let command = spec.command.clone().unwrap_or_else(|| if own { Vec::new() } else { image.cmd.clone() });
    entrypoint.iter().cloned().chain(command).collect()
}

/// The health check in force: its own, completed by the image's. None if there is none or it is switched off.
pub fn healthcheck(spec: &ContainerSpec, image: &ImageConfig) -> Option<HealthcheckSpec> {
    let check = match (&spec.healthcheck, &image.healthcheck) {
        (Some(own), _) if !own.test.is_empty() => Some(own.clone()),
        (Some(own), Some(image)) => Some(HealthcheckSpec {
            test: image.test.clone(),
            interval: own.interval.or(image.interval),
            timeout: own.timeout.or(image.timeout),
            start_period: own.start_period.or(image.start_period),
            start_interval: own.start_interval.or(image.start_interval),
            retries: own.retries.or(image.retries),
        }),
        (None, image) => image.clone(),
        (Some(_), None) => None,
    };
    check.filter(|c| !c.is_none() && !c.test.is_empty())
}

/// The signal that asks it to end.
pub fn stop_signal(spec: &ContainerSpec, image: &ImageConfig) -> i32 {
    let name = if spec.stop_signal.is_empty() { &image.stop_signal } else { &spec.stop_signal };
    // What is no signal was refused at creation; an image's is another matter.
    signal::number(name).unwrap_or(signal::TERM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Duration;
    use crate::world::{ConfigHash, InstanceKey};

    fn spec() -> ContainerSpec {
        ContainerSpec::new("p-web-1", InstanceKey { service: "web".into(), number: 1 }, "busybox", ConfigHash::Known(String::new()))
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_the_spec_leaves_open_is_the_images() {
        let image = ImageConfig {
            entrypoint: words("/entry"),
            cmd: words("serve"),
            stop_signal: "SIGQUIT".into(),
            healthcheck: Some(HealthcheckSpec { test: words("CMD probe"), retries: Some(7), ..HealthcheckSpec::default() }),
            ..ImageConfig::default()
        };
        assert_eq!(argv(&spec(), &image), words("/entry serve"));
        assert_eq!(argv(&ContainerSpec { command: Some(words("x y")), ..spec() }, &image), words("/entry x y"));
        assert_eq!(argv(&ContainerSpec { entrypoint: Some(words("sh")), ..spec() }, &image), words("sh"));
        assert_eq!(argv(&ContainerSpec { entrypoint: Some(vec![]), command: Some(words("a")), ..spec() }, &image), words("a"));
        assert_eq!(stop_signal(&spec(), &image), 3);
        assert_eq!(stop_signal(&ContainerSpec { stop_signal: "USR1".into(), ..spec() }, &image), 10);
        assert_eq!(stop_signal(&spec(), &ImageConfig::default()), 15);

        let own = |test: &str| HealthcheckSpec { test: words(test), interval: Some(Duration::from_secs(1)), ..HealthcheckSpec::default() };
        let with = |check| healthcheck(&ContainerSpec { healthcheck: check, ..spec() }, &image);
        assert_eq!(with(None).map(|c| c.test), Some(words("CMD probe")));
        assert_eq!(with(Some(own(""))).map(|c| (c.test, c.interval, c.retries)), Some((words("CMD probe"), Some(Duration::from_secs(1)), Some(7))));
        assert_eq!(with(Some(own("CMD mine"))).map(|c| (c.test, c.retries)), Some((words("CMD mine"), None)));
        assert_eq!(with(Some(own("NONE"))), None);
        assert_eq!(healthcheck(&ContainerSpec { healthcheck: Some(own("")), ..spec() }, &ImageConfig::default()), None);
    }
}
