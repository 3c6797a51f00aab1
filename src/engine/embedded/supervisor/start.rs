//! Starts: first this process makes what a container needs, one after the other; then the container's own process goes
//! on alone, and tells how it went. So many starts overlap.

use super::super::cgroup::Cgroup;
use super::super::image::Image;
use super::super::net::{self, Guest, Net};
use super::super::record::{self, ContainerState, OciRuntime, failed};
use super::super::runtime::{self, Begun, Prepared, Streams, Surroundings};
use super::capture::{Capture, Mark, fifo};
use super::container::{Process, Run, Ticket};
use super::create::make_within;
use super::log::{LogOptions, LogWriter};
use super::turn::{Reply, Source, Supervisor, changed};
use crate::policy::{RestartAction, RestartFact};
use crate::world::{
    Applied, Attachment, ContainerSpec, EndpointSpec, EngineError, ErrorKind, EventKind, MountKind, NetworkMode, NetworkSpec, PublishedPort, State,
    Stream, Target,
};
use rustix::event::epoll::EventFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A container is being started: what it has got so far.
struct Equipped {
    prepared: Prepared,
    networks: Vec<Attachment>,
    ports: Vec<PublishedPort>,
    captures: Vec<(OwnedFd, Stream)>,
    log: LogWriter,
}

/// What a container is called on its networks, besides the aliases that it has on each.
pub fn names(name: &str, spec: &ContainerSpec) -> Vec<String> {
    [name, &spec.hostname].into_iter().filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

/// The process of a container whose namespaces are shared.
pub struct Shared {
    id: String,
    pidfd: OwnedFd,
}

impl Supervisor {
    /// `start`.
    pub fn asked_to_start(&mut self, ticket: Ticket, target: &Target) -> Reply {
        let id = self.id_of(target)?;
        let Some(container) = self.containers.get_mut(&id) else { return Ok(Some(changed(false))) };
        match (container.state(), &container.run) {
            (State::Paused, _) => {
                let name = &container.record.name;
                return Err(EngineError::new(ErrorKind::Conflict, format!("container {name} is paused; unpause it instead")));
            }
            (_, Some(run)) if run.is_starting() => {
                container.starts.push((ticket, false));
                return Ok(None);
            }
            (_, Some(_)) => return Ok(Some(changed(false))),
            _ => {}
        }
        self.fresh(&id);
        self.start(&id)?;
        if let Some(container) = self.containers.get_mut(&id) {
            container.starts.push((ticket, false));
        }
        Ok(None)
    }

    /// Forgets restarts and stops of the past: somebody wants it to run.
    pub fn fresh(&mut self, id: &str) {
        let now = self.clock.passed();
        if let Some(container) = self.containers.get_mut(id) {
            container.restart.on(RestartFact::Stopped, now);
            container.waits += 1;
            container.state.restarts = 0;
            container.state.stopped_on_purpose = false;
        }
    }

    /// Starts a container that has no process. The outcome comes later ([`Supervisor::outcome`]).
    ///
    /// # Errors
    /// It can't be started, as its state now says; nothing is left behind.
    pub fn start(&mut self, id: &str) -> Result<(), EngineError> {
        let begun = self.begin(id);
        if let Err(error) = &begun {
            self.start_failed(id, error);
        }
        begun
    }

    fn begin(&mut self, id: &str) -> Result<(), EngineError> {
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        let (spec, reference, parent) =
            (container.record.spec.clone(), container.record.image.clone(), container.record.spec.security.cgroup_parent.clone());
        let (name, runtime) = (container.record.name.clone(), container.record.runtime.clone());
        let image = self.image(&reference, spec.platform.as_deref())?;
        let cgroup = Cgroup::of(&self.project, id, &parent);
        let equipped = match self.equip(id, &name, &spec, &image, &cgroup, runtime.as_ref()) {
            Ok(equipped) => equipped,
            Err(error) => {
                cgroup.remove();
                return Err(error);
            }
        };
        let starting = equipped.prepared.go();
        self.runs += 1;
        let watched = self
            .poll
            .add(&starting.status, EventFlags::IN, Source::Status(id.to_owned()))
            .and_then(|status| Ok((status, self.poll.add(&starting.pidfd, EventFlags::IN, Source::Ended(id.to_owned()))?)));
        let (status, token) = match watched {
            Ok(watched) => watched,
            Err(error) => {
                super::exit::destroy(&starting.pidfd);
                self.detach(id);
                cgroup.remove();
                return Err(failed(&format!("container {name} can't be watched"), &error));
            }
        };
        let captures = self.watch(id, equipped.captures, spec.tty);
        let oom = self.watch_memory(id, &cgroup);
        let run = Run {
            number: self.runs,
            pid: starting.pid,
            process: Process::Starting(starting, status),
            token,
            cgroup,
            image,
            captures,
            log: Some(equipped.log),
            oom,
            health: None,
            probe: None,
            owed: false,
            adopted: false,
            forgetting: None,
            terminal: None,
            ended: None,
        };
        if let Some(container) = self.containers.get_mut(id) {
            container.run = Some(run);
            container.state.networks = equipped.networks;
            container.state.ports = equipped.ports;
        }
        Ok(())
    }

    /// Everything up to the moment at which a container's own process goes on.
    fn equip(
        &mut self,
        id: &str,
        name: &str,
        spec: &ContainerSpec,
        image: &Rc<Image>,
        cgroup: &Cgroup,
        runtime: Option<&OciRuntime>,
    ) -> Result<Equipped, EngineError> {
        let cant = |e: std::io::Error| failed(&format!("container {name} can't be started"), &e);
        let network_of = match &spec.network_mode {
            NetworkMode::Container(other) => Some(self.shared(name, other)?),
            _ => None,
        };
        let of = |kind: &str| kind.strip_prefix("container:").map(|other| self.shared(name, other)).transpose();
        let (pid_of, ipc_of) = (of(&spec.security.pid)?, of(&spec.security.ipc)?);
        let run = self.places.run_of(id);
        make_within(&run).map_err(cant)?;
        let upper = self.places.upper(id);
        make_within(&upper).map_err(cant)?;
        let log = self.open_log(id, spec)?;
        let (captures, streams) = if spec.tty {
            (vec![(fifo(&run.join("stdout")).map_err(cant)?.0, Stream::Stdout)], Streams::Terminal { size: None })
        } else {
            let (out, stdout) = fifo(&run.join("stdout")).map_err(cant)?;
            let (err, stderr) = fifo(&run.join("stderr")).map_err(cant)?;
            let stdin = if spec.stdin_open { Some(fifo(&run.join("stdin")).map_err(cant)?.1) } else { None };
            (vec![(out, Stream::Stdout), (err, Stream::Stderr)], Streams::Apart { stdin, stdout: Some(stdout), stderr: Some(stderr) })
        };
        // The files must be there before the process is made, and say what is only known after: they are filled then.
        let etc = match &network_of {
            Some(shared) => self.places.run_of(&shared.id),
            None => run.clone(),
        };
        self.write_etc(id, spec, &run, &[])?;
        let limited = cgroup.make(&spec.resources, spec.security.privileged)?.is_empty();
        let files = self.files(id)?;
        let mounts = self.containers.get(id).map(|c| c.record.mounts.clone()).unwrap_or_default();
        let mut images = BTreeMap::new();
        for mount in &mounts {
            if let MountKind::Image { reference, .. } = &mount.kind {
                images.insert(reference.clone(), self.image(reference, None)?.as_ref().clone());
            }
        }
        let around = Surroundings {
            id,
            image,
            images: &images,
            upper: &upper,
            mounts: &mounts,
            etc: &etc,
            files: &files,
            cgroup,
            network_of: network_of.as_ref().map(|s| s.pidfd.as_fd()),
            pid_of: pid_of.as_ref().map(|s| s.pidfd.as_fd()),
            ipc_of: ipc_of.as_ref().map(|s| s.pidfd.as_fd()),
        };
        let prepared = match runtime {
            None => runtime::prepare(spec, &around, streams)?,
            Some(runtime) => {
                self.has_foster_children = true;
                runtime::oci::prepare(runtime, &run, limited, spec, &around, streams)?
            }
        };
        match self.attach(id, name, spec, image, &prepared) {
            Ok((networks, ports)) => Ok(Equipped { prepared, networks, ports, captures, log }),
            Err(error) => {
                self.detach(id);
                Err(prepared.abandon().unwrap_or(error))
            }
        }
    }

    /// The process of another container, of this project or another one.
    fn shared(&self, name: &str, other: &str) -> Result<Shared, EngineError> {
        let id = record::container_id(&self.places, other)?;
        let pid = match self.containers.get(&id) {
            Some(container) => container.run.as_ref().filter(|r| !r.is_starting()).map(|r| r.pid),
            None => {
                let state: ContainerState = record::read(&self.places.container(&id).join("state.json"))?.unwrap_or_default();
                super::adopt::is_alive(&state, &self.boot).then_some(state.pid)
            }
        };
        let pidfd = pid.and_then(Pid::from_raw).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        match pidfd {
            Some(pidfd) => Ok(Shared { id, pidfd }),
            None => Err(EngineError::new(ErrorKind::Conflict, format!("container {name} shares a namespace with {other}, which is not running"))),
        }
    }

    /// Opens the log of a container.
    pub fn open_log(&self, id: &str, spec: &ContainerSpec) -> Result<LogWriter, EngineError> {
        let options = LogOptions::of(spec.log.as_ref()).map_err(|why| EngineError::new(ErrorKind::Refused, why))?;
        let folder = self.places.container(id).join("log");
        LogWriter::open(&folder, options).map_err(|e| failed(&format!("{} can't be opened", folder.display()), &e))
    }

    /// Waits for what a container prints, by a terminal or without one.
    pub fn watch(&mut self, id: &str, pipes: Vec<(OwnedFd, Stream)>, terminal: bool) -> Vec<Capture> {
        let mut captures = Vec::new();
        for (descriptor, stream) in pipes {
            let source = Source::Printed(id.to_owned(), stream);
            let name = if stream == Stream::Stdout { "stdout.mark" } else { "stderr.mark" };
            let Ok(mark) = Mark::open(&self.places.run_of(id).join(name)) else { continue };
            // Edges: the beginning of a line stays in the pipe and would be reported for ever.
            if let Ok(token) = self.poll.add(&descriptor, EventFlags::IN | EventFlags::ET, source) {
                captures.push(Capture { descriptor, token, stream, mark, terminal });
            }
        }
        captures
    }

    /// Waits for memory to run out in a container.
    pub fn watch_memory(&mut self, id: &str, cgroup: &Cgroup) -> Option<(OwnedFd, super::wait::Token)> {
        let watch = cgroup.oom_watch()?;
        let events = EventFlags::IN | EventFlags::PRI | EventFlags::ET;
        let token = self.poll.add(&watch, events, Source::Memory(id.to_owned())).ok()?;
        Some((watch, token))
    }

    /// Connects a new process to its networks, and fills its files in.
    fn attach(
        &mut self,
        id: &str,
        name: &str,
        spec: &ContainerSpec,
        image: &Image,
        prepared: &Prepared,
    ) -> Result<(Vec<Attachment>, Vec<PublishedPort>), EngineError> {
        let endpoints = match &spec.network_mode {
            NetworkMode::Networks => spec.networks.clone(),
            NetworkMode::None => Vec::new(),
            NetworkMode::Other(network) => vec![self.other_network(network, spec)?],
            NetworkMode::Host | NetworkMode::Container(_) => return Ok((Vec::new(), Vec::new())),
        };
        let names = names(name, spec);
        let guest = Guest { id, names: &names, pidfd: prepared.pidfd.as_fd(), pid: prepared.pid, dns: &spec.dns };
        let (networks, mut ports) = self.net()?.attach(&guest, &endpoints, &spec.ports)?;
        self.watch_net();
        self.write_etc(id, spec, &self.places.run_of(id), &networks)?;
        for open in spec.expose.iter().chain(&image.config.exposed) {
            let (number, protocol) = open.split_once('/').unwrap_or((open, "tcp"));
            let Ok(target) = number.parse() else { continue };
            if !ports.iter().any(|p| p.target == target && p.protocol == protocol) {
                ports.push(PublishedPort { target, protocol: protocol.into(), host_ip: String::new(), host_port: 0 });
            }
        }
        ports.sort_by(|a, b| (a.target, &a.protocol, a.host_port).cmp(&(b.target, &b.protocol, b.host_port)));
        Ok((networks, ports))
    }

    /// `network_mode: NAME`. A network called `bridge` or `default` is there for everybody, and is made when it is needed.
    fn other_network(&self, network: &str, spec: &ContainerSpec) -> Result<EndpointSpec, EngineError> {
        let network = if network == "default" { "bridge" } else { network };
        if network == "bridge" && self.check_network(network).is_err() {
            match net::create(&self.places, &NetworkSpec { name: network.into(), ..NetworkSpec::default() }) {
                Err(error) if error.kind != ErrorKind::Conflict => return Err(error),
                _ => {}
            }
        }
        self.check_network(network)?;
        Ok(EndpointSpec { network: network.into(), mac_address: spec.mac_address.clone(), ..EndpointSpec::default() })
    }

    /// Networks of this project's containers.
    ///
    /// # Errors
    /// No sockets.
    pub fn net(&mut self) -> Result<&mut Net, EngineError> {
        if self.net.is_none() {
            self.net = Some((Net::new(&self.places, &self.project)?, None));
        }
        match &mut self.net {
            Some((net, _)) => Ok(net),
            None => Err(EngineError::new(ErrorKind::Refused, "there are no networks")),
        }
    }

    /// Waits for name servers and proxies, once there are any.
    pub fn watch_net(&mut self) {
        if let Some((net, token @ None)) = &mut self.net
            && let Some(descriptor) = net.descriptor()
        {
            *token = self.poll.add(descriptor, EventFlags::IN, Source::Net).ok();
        }
    }

    /// Takes a container off its networks.
    pub fn detach(&mut self, id: &str) {
        if let Some((net, _)) = &mut self.net {
            net.detach(id);
        }
    }

    /// Writes `hosts`, `hostname` and `resolv.conf`. In place: they are mounted.
    fn write_etc(&self, id: &str, spec: &ContainerSpec, folder: &Path, networks: &[Attachment]) -> Result<(), EngineError> {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let hostname = runtime::hostname(spec, id);
        let gateway = self.net.as_ref().and_then(|(net, _)| net.host_gateway(id));
        let mut hosts = net::etc::hosts(spec, &hostname, networks, gateway);
        if spec.network_mode == NetworkMode::Host {
            // Whoever shares the host's network knows the names that the host knows.
            hosts = text("/etc/hosts") + &hosts;
        }
        let resolv = net::etc::resolv_conf(spec, &text("/etc/resolv.conf"));
        let all: [(&str, String); 3] = [("hosts", hosts), ("resolv.conf", resolv), ("hostname", format!("{hostname}\n"))];
        for (name, text) in all {
            let file: PathBuf = folder.join(name);
            std::fs::write(&file, text).map_err(|e| failed(&format!("{} can't be written", file.display()), &e))?;
            // Whoever the container's user is, he reads them.
            let _ = rustix::fs::chmod(&file, rustix::fs::Mode::from_raw_mode(0o644));
        }
        Ok(())
    }

    /// The outcome of a start is known.
    pub fn outcome(&mut self, id: &str) {
        let Some(run) = self.containers.get_mut(id).and_then(|c| c.run.as_mut()) else { return };
        let Process::Starting(starting, token) = &run.process else { return };
        let outcome = starting.outcome();
        self.poll.remove(*token, &starting.status);
        match outcome {
            Ok(begun) => self.started(id, begun),
            Err(error) => {
                if let Some(run) = self.containers.get_mut(id).and_then(|c| c.run.take()) {
                    super::exit::destroy(&run.pidfd());
                    self.let_go(id, run);
                }
                self.start_failed(id, &error);
            }
        }
    }

    /// Its program runs.
    fn started(&mut self, id: &str, begun: Begun) {
        let (now, passed) = (self.clock.now(), self.clock.passed());
        let Begun { terminal, process } = begun;
        if let Some((pid, pidfd)) = process
            && let Err(error) = self.change_hands(id, pid, pidfd)
        {
            if let Some(run) = self.containers.get_mut(id).and_then(|c| c.run.take()) {
                run.cgroup.kill();
                super::exit::destroy(&run.pidfd());
                self.let_go(id, run);
            }
            self.start_failed(id, &error);
            return;
        }
        let Some(mut run) = self.containers.get_mut(id).and_then(|c| c.run.take()) else { return };
        let mut held = Ok(());
        if let Some(master) = terminal {
            let holder = self.hold_terminal(id, &master, run.pidfd());
            held = holder.map(|holder| run.terminal = Some(holder)).map_err(|e| failed("its terminal can't be held", &e));
        }
        let Some(container) = self.containers.get_mut(id) else { return };
        run.process = match run.process {
            Process::Starting(starting, _) => Process::Running(starting.pidfd),
            running @ Process::Running(_) => running,
        };
        container.restart.on(RestartFact::Started, passed);
        container.state = ContainerState {
            state: Some(State::Running),
            pid: run.pid,
            pid_start: super::adopt::begun(run.pid).unwrap_or(0),
            boot: self.boot.clone(),
            exit_code: None,
            oom_killed: false,
            error: String::new(),
            started: Some(now),
            finished: container.state.finished,
            restarts: container.state.restarts,
            stopped_on_purpose: false,
            health: None,
            probes: Vec::new(),
            networks: std::mem::take(&mut container.state.networks),
            ports: std::mem::take(&mut container.state.ports),
        };
        container.run = Some(run);
        self.begin_probing(id);
        let saved = held.and_then(|()| self.save(id));
        self.tell(id, EventKind::Started);
        if let Err(error) = saved {
            // Nobody would know of it, were we killed: then it must not run.
            self.kill(id);
            self.answer_starts(id, &Err(error));
        } else {
            self.answer_starts(id, &Ok(()));
        }
        let later = self.containers.get_mut(id).map(|c| std::mem::take(&mut c.later)).unwrap_or_default();
        for (ticket, op) in later {
            self.request(ticket, op);
        }
    }

    /// Another runtime has made the container's process: it takes the place of the shepherd, which ends.
    fn change_hands(&mut self, id: &str, pid: i32, pidfd: OwnedFd) -> Result<(), EngineError> {
        let Some(container) = self.containers.get_mut(id) else { return Ok(()) };
        let Some(mut run) = container.run.take() else { return Ok(()) };
        let names = names(&container.record.name, &container.record.spec);
        let guest = Guest { id, names: &names, pidfd: pidfd.as_fd(), pid, dns: &container.record.spec.dns };
        let handed = match &mut self.net {
            Some((net, _)) => net.hand_over(&guest),
            None => Ok(()),
        };
        let cant = |e: std::io::Error| failed(&format!("container {} can't be watched", container.record.name), &e);
        let watched = handed.and_then(|()| self.poll.add(&pidfd, EventFlags::IN, Source::Ended(id.to_owned())).map_err(cant));
        let outcome = watched.map(|token| {
            self.poll.remove(run.token, run.pidfd());
            super::exit::destroy(&run.pidfd());
            (run.pid, run.process, run.token) = (pid, Process::Running(pidfd), token);
        });
        container.run = Some(run);
        outcome
    }

    /// Tells those who wait for a start.
    fn answer_starts(&mut self, id: &str, outcome: &Result<(), EngineError>) {
        let starts = self.containers.get_mut(id).map(|c| std::mem::take(&mut c.starts)).unwrap_or_default();
        if outcome.is_ok() && starts.iter().any(|(_, again)| *again) {
            self.tell(id, EventKind::Restarted);
        }
        // What of its networks doesn't work as it should.
        let warnings = self.net.as_mut().map(|(net, _)| net.notes()).unwrap_or_default();
        for (ticket, _) in starts {
            self.answer(ticket, outcome.clone().map(|()| Applied { warnings: warnings.clone(), ..changed(true) }));
        }
    }

    /// A start has failed; nothing of it is left but what is known of it.
    fn start_failed(&mut self, id: &str, error: &EngineError) {
        let code = i64::from(runtime::exit_code(error));
        let (now, passed) = (self.clock.now(), self.clock.passed());
        let Some(container) = self.containers.get_mut(id) else { return };
        // A restart policy tries again, unless it is somebody who hears of it.
        let waiting = container.starts.is_empty() && container.state() == State::Restarting;
        let state = &mut container.state;
        state.state = state.state.map(|_| State::Exited);
        (state.pid, state.exit_code, state.error) = (0, Some(code), error.to_string());
        if state.state.is_some() {
            state.finished = Some(now);
        }
        state.networks.clear();
        state.ports.clear();
        if waiting {
            let action = container.restart.on(RestartFact::Exited { code }, passed);
            if let RestartAction::Wait { until } = action {
                self.wait_for_restart(id, until);
            }
        }
        // It is the second failure; the first one is told.
        let _ = self.save(id);
        self.answer_starts(id, &Err(error.clone()));
        let later = self.containers.get_mut(id).map(|c| std::mem::take(&mut c.later)).unwrap_or_default();
        for (ticket, op) in later {
            self.request(ticket, op);
        }
    }
}
