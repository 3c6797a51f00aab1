//! The loop: what there is, what is waited for, and who takes care of it when it happens.

use super::super::Places;
use super::super::events::EventLog;
use super::super::image::{Image, Store};
use super::super::net::Net;
use super::super::record;
use super::super::sys::memory;
use super::capture::{Bench, Pumped};
use super::clock::Clock;
use super::connection::Connection;
use super::container::{Container, Process, Ticket};
use super::litter::Litters;
use super::wait::{Poll, Timers, Token};
use super::wire::{self, Answer, Hello, Request};
use crate::world::{Applied, EngineError, EngineEvent, ErrorKind, EventKind, Op, State, Stream, Target};
use rustix::event::epoll::EventFlags;
use rustix::net::SocketFlags;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// What a descriptor means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Commands connect.
    Listener,
    /// A command says something, or takes something.
    Connection(u64),
    /// Name servers and proxies.
    Net,
    /// The start of a container has an outcome.
    Status(String),
    /// A container has ended.
    Ended(String),
    /// The runtime of a container that has ended has forgotten it.
    Forgotten(String),
    /// A container prints.
    Printed(String, Stream),
    /// Memory has run out.
    Memory(String),
    /// A probe has ended.
    Probed(String),
    /// A probe prints.
    ProbePrinted(String),
    /// What was left of containers is gone.
    Swept,
    /// Whoever held a terminal has ended.
    Held(String),
}

/// What is due. Numbers say of which run or waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Patience with a container that was asked to end is over.
    Kill(String, u64),
    /// A restart policy starts it again.
    Restart(String, u64),
    /// The next probe.
    Probe(String, u64),
    /// A probe has had its time.
    ProbeOver(String, u64, u64),
}

/// What an op gave: an outcome, or nothing yet, which means that somebody has kept its ticket.
pub type Reply = Result<Option<Applied>, EngineError>;

/// A supervisor.
#[derive(Debug)]
pub struct Supervisor {
    /// Folders.
    pub places: Places,
    /// Name of the project; empty for containers without one.
    pub project: String,
    /// Which boot this is.
    pub boot: String,
    /// The time.
    pub clock: Clock,
    /// Descriptors.
    pub poll: Poll<Source>,
    /// Times.
    pub timers: Timers<Due>,
    /// Images.
    pub store: Store,
    /// Those that were looked up, by id.
    pub images: BTreeMap<String, Rc<Image>>,
    /// Networks, from the first container on.
    pub net: Option<(Net, Option<Token>)>,
    /// Containers by id.
    pub containers: BTreeMap<String, Container>,
    /// Counts runs.
    pub runs: u64,
    /// Room for what is printed.
    pub bench: Bench,
    /// Processes of other runtimes may become our children.
    pub has_foster_children: bool,
    /// Pipes that have more than one turn takes.
    pub printing: BTreeSet<(String, Stream)>,
    /// What is left of containers that are gone.
    pub litters: Litters,
    events: EventLog,
    listener: OwnedFd,
    connections: BTreeMap<u64, Connection>,
    connected: u64,
    /// Commands have been, and none is left.
    sated: bool,
    /// Containers whose state couldn't be written down: a full disk.
    unsaved: BTreeSet<String>,
    /// A command of another version wants this program to go on instead.
    successor: Option<PathBuf>,
}

/// How the loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There is nothing to do.
    Idle,
    /// This program is to go on.
    Successor(PathBuf),
}

/// Something was done, or there was nothing to do.
pub fn changed(changed: bool) -> Applied {
    Applied { changed, ..Applied::default() }
}

impl Supervisor {
    /// One that listens at `listener` and looks after nothing yet.
    ///
    /// # Errors
    /// No descriptors, no store of images.
    pub fn new(places: Places, project: String, boot: String, listener: OwnedFd) -> Result<Self, EngineError> {
        let failed = |e: std::io::Error| record::failed("the supervisor of the project can't be started", &e);
        let mut poll = Poll::new().map_err(failed)?;
        poll.add(&listener, EventFlags::IN, Source::Listener).map_err(failed)?;
        Ok(Self {
            store: Store::open(&places)?,
            events: EventLog::new(&places),
            boot,
            clock: Clock::default(),
            poll,
            timers: Timers::default(),
            images: BTreeMap::new(),
            net: None,
            containers: BTreeMap::new(),
            runs: 0,
            has_foster_children: false,
            bench: Bench::new().map_err(failed)?,
            printing: BTreeSet::new(),
            litters: Litters::default(),
            listener,
            connections: BTreeMap::new(),
            connected: 0,
            sated: false,
            unsaved: BTreeSet::new(),
            successor: None,
            places,
            project,
        })
    }

    /// Runs until there is nothing to do.
    ///
    /// # Errors
    /// The kernel's, which leave nothing but to end; containers live on.
    pub fn run(&mut self) -> std::io::Result<Ending> {
        // The command that has started it needs a moment to connect.
        let mut expected = true;
        loop {
            self.overdue();
            self.tell_events();
            if self.connections.values().all(|c| c.open == 0)
                && self.settled()
                && let Some(program) = self.successor.take()
            {
                return Ok(Ending::Successor(program));
            }
            if !expected && self.idle() {
                return Ok(Ending::Idle);
            }
            if self.connections.is_empty()
                && let Some((net, _)) = &mut self.net
            {
                net.rest(None);
            }
            let patience = if self.printing.is_empty() { self.timers.wait(self.clock.passed()) } else { Some(Duration::ZERO) };
            if self.printing.is_empty() {
                self.bench.rest();
            }
            let patience = if expected { Some(patience.unwrap_or(FIRST_WAIT).min(FIRST_WAIT)) } else { patience };
            if self.sated && self.printing.is_empty() && patience.is_none_or(|p| !p.is_zero()) && !self.idle() {
                self.sated = false;
                memory::give_back();
            }
            let events = self.poll.wait(patience)?;
            expected = expected && !events.is_empty() && self.connections.is_empty();
            for (token, flags) in events {
                // It may be gone: an event before this one has ended it.
                if let Some(source) = self.poll.source(token) {
                    self.happened(source, flags);
                }
            }
            for (id, stream) in std::mem::take(&mut self.printing) {
                self.printed(&id, stream);
            }
            self.bury_strays();
        }
    }

    fn happened(&mut self, source: Source, flags: EventFlags) {
        match source {
            Source::Listener => self.connected(),
            Source::Connection(number) => self.talked(number, flags),
            Source::Net => {
                if let Some((net, _)) = &mut self.net {
                    net.turn();
                }
            }
            Source::Status(id) => self.outcome(&id),
            Source::Ended(id) => self.process_ended(&id),
            Source::Forgotten(id) => self.forgotten(&id),
            Source::Printed(id, stream) => self.printed(&id, stream),
            Source::Memory(id) => self.memory_ran_out(&id),
            Source::Probed(id) => self.probe_ended(&id),
            Source::ProbePrinted(id) => self.probe_printed(&id),
            Source::Swept => self.swept(),
            Source::Held(id) => self.held(&id),
        }
    }

    fn overdue(&mut self) {
        while let Some(due) = self.timers.due(self.clock.passed()) {
            match due {
                Due::Kill(id, run) => self.patience_over(&id, run),
                Due::Restart(id, wait) => self.wait_over(&id, wait),
                Due::Probe(id, run) => self.probe_due(&id, run),
                Due::ProbeOver(id, run, probe) => self.probe_over(&id, run, probe),
            }
        }
    }

    /// Whether nothing is in the middle of something.
    fn settled(&self) -> bool {
        self.containers.values().all(|c| c.then.is_empty() && c.run.as_ref().is_none_or(|r| !r.is_starting() && r.probe.is_none()))
    }

    fn idle(&self) -> bool {
        self.connections.is_empty() && self.containers.values().all(|c| c.run.is_none() && c.state() != State::Restarting)
    }

    fn connected(&mut self) {
        while let Ok(socket) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            // The folder is closed to others already; this is the second lock.
            let trusted = rustix::net::sockopt::socket_peercred(&socket).is_ok_and(|c| c.uid.is_root() || c.uid == rustix::process::geteuid());
            if !trusted {
                continue;
            }
            self.connected += 1;
            let number = self.connected;
            let Ok(token) = self.poll.add(&socket, EventFlags::IN, Source::Connection(number)) else { continue };
            self.connections.insert(number, Connection::new(socket, token));
            self.send(number, &wire::line(&Hello::new()));
        }
        self.save_all();
    }

    /// Writes down what couldn't be: somebody looks now, and may have made room. What he may have read before is told.
    fn save_all(&mut self) {
        for id in std::mem::take(&mut self.unsaved) {
            if self.save(&id).is_ok()
                && let Some(health) = self.containers.get(&id).and_then(|c| c.state.health)
            {
                self.tell(&id, EventKind::Health(health));
            }
        }
    }

    fn talked(&mut self, number: u64, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.send(number, &[]);
        }
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.read().is_err() {
            self.hang_up(number);
            return;
        }
        while let Some(connection) = self.connections.get_mut(&number) {
            if !connection.greeted {
                match connection.take::<Hello>() {
                    Ok(Some(hello)) if hello.consort == wire::VERSION => connection.greeted = true,
                    // It comes again, and finds its like.
                    Ok(Some(hello)) => {
                        self.successor = hello.program.or(self.successor.take());
                        self.hang_up(number);
                    }
                    Ok(None) => break,
                    Err(_) => self.hang_up(number),
                }
                continue;
            }
            match connection.take::<Request>() {
                Ok(Some(request)) => {
                    connection.open += 1;
                    self.request(Ticket { connection: number, request: request.id }, request.op);
                }
                Ok(None) => break,
                Err(_) => self.hang_up(number),
            }
        }
        if self.connections.get(&number).is_some_and(|c| c.ended) {
            self.hang_up(number);
        }
    }

    /// What was asked for goes on; nobody hears of it any more.
    fn hang_up(&mut self, number: u64) {
        if let Some(connection) = self.connections.remove(&number) {
            self.poll.remove(connection.token, &connection.socket);
            // From now on it mostly waits. What a start takes is no use for that.
            self.sated |= connection.greeted && self.connections.is_empty();
        }
    }

    fn send(&mut self, number: u64, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.send(bytes) {
            Ok(more) => {
                let events = if more { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
                self.poll.change(connection.token, &connection.socket, events);
            }
            Err(_) => self.hang_up(number),
        }
    }

    /// Does one thing, or begins to.
    pub fn request(&mut self, ticket: Ticket, op: Op) {
        let reply = match op {
            Op::CreateContainer(spec) => self.create(*spec).map(Some),
            Op::StartContainer { container } => self.asked_to_start(ticket, &container),
            Op::StopContainer { container, timeout } => self.asked_to_stop(ticket, &container, timeout),
            Op::RestartContainer { container, timeout } => self.asked_to_restart(ticket, &container, timeout),
            Op::KillContainer { container, signal } => self.asked_to_kill(ticket, &container, &signal),
            Op::PauseContainer { container } => self.freeze(ticket, &container, true),
            Op::UnpauseContainer { container } => self.freeze(ticket, &container, false),
            Op::RemoveContainer { container, volumes } => self.asked_to_remove(ticket, &container, volumes),
            Op::RenameContainer { container, to } => self.rename(&container, &to).map(Some),
            Op::ConnectNetwork { container, endpoint } => self.connect(ticket, &container, *endpoint),
            Op::DisconnectNetwork { container, network } => self.disconnect(ticket, &container, &network),
            Op::RemoveNetwork { name, id } => self.dismiss(&name, id.as_deref()).map(Some),
            Op::WriteFiles { container, files } => self.write_files(ticket, &container, &files),
            Op::PullImage { .. }
            | Op::RemoveImage { .. }
            | Op::CreateNetwork(_)
            | Op::CreateVolume(_)
            | Op::RemoveVolume { .. }
            | Op::RunHook { .. } => Err(EngineError::new(ErrorKind::Unsupported, format!("a supervisor doesn't {}", op.verb()))),
        };
        match reply {
            Ok(Some(applied)) => self.answer(ticket, Ok(applied)),
            Ok(None) => {}
            Err(error) => self.answer(ticket, Err(error)),
        }
    }

    /// Answers a request. Nobody may be there to hear it.
    pub fn answer(&mut self, ticket: Ticket, outcome: Result<Applied, EngineError>) {
        // What has happened is heard before what came of it.
        self.tell_events();
        if let Some(connection) = self.connections.get_mut(&ticket.connection) {
            connection.open = connection.open.saturating_sub(1);
            self.send(ticket.connection, &wire::line(&Answer { id: ticket.request, outcome: outcome.into() }));
        }
    }

    /// Writes down for those who listen what has happened. What can't be written is not worth failing for.
    pub fn tell_events(&mut self) {
        let _ = self.events.flush();
    }

    /// Id of the container that an op is about.
    ///
    /// # Errors
    /// There is none.
    pub fn id_of(&self, target: &Target) -> Result<String, EngineError> {
        let reference = target.reference();
        let named = || self.containers.values().find(|c| c.record.name == reference).map(|c| &c.record.id);
        let by_id = self.containers.get_key_value(reference).map(|(id, _)| id);
        let begun = || {
            let mut ids = self.containers.keys().filter(|id| id.starts_with(reference));
            ids.next().filter(|_| !reference.is_empty() && ids.next().is_none())
        };
        let found = by_id.or_else(named).or_else(begun);
        found.cloned().ok_or_else(|| EngineError::new(ErrorKind::NotFound, format!("there is no container {}", target.name)))
    }

    /// Writes the state of a container down.
    ///
    /// # Errors
    /// It can't be written.
    pub fn save(&mut self, id: &str) -> Result<(), EngineError> {
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        let written = record::write(&self.places.container(id).join("state.json"), &container.state);
        if written.is_ok() {
            self.unsaved.remove(id);
        } else {
            self.unsaved.insert(id.to_owned());
        }
        written
    }

    /// Writes down what a container is.
    ///
    /// # Errors
    /// It can't be written.
    pub fn save_record(&mut self, id: &str) -> Result<(), EngineError> {
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        record::write(&self.places.container(id).join("container.json"), &container.record)
    }

    /// Tells those who listen.
    pub fn tell(&mut self, id: &str, kind: EventKind) {
        let Some(container) = self.containers.get(id) else { return };
        let event = EngineEvent { time: self.clock.now(), container: container.identity(), kind };
        self.events.append(&self.project, event);
    }

    /// An image by reference or id, looked up once.
    ///
    /// # Errors
    /// It isn't here.
    pub fn image(&mut self, reference: &str, platform: Option<&str>) -> Result<Rc<Image>, EngineError> {
        if let Some(image) = self.images.get(reference) {
            return Ok(Rc::clone(image));
        }
        let found = self.store.find(reference, platform)?;
        let image = Rc::new(found.ok_or_else(|| EngineError::new(ErrorKind::NotFound, format!("there is no image {reference} here")))?);
        // Names are not kept: what they stand for changes.
        self.images.insert(image.id.clone(), Rc::clone(&image));
        Ok(image)
    }

    /// A container prints.
    pub fn printed(&mut self, id: &str, stream: Stream) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(run) = &mut container.run else { return };
        let Some(log) = &mut run.log else { return };
        let Some(capture) = run.captures.iter().find(|c| c.stream == stream) else { return };
        let (pumped, lost) = self.bench.pump(capture, log, self.clock.now(), false);
        if pumped == Pumped::More {
            self.printing.insert((id.to_owned(), stream));
        }
        if let Some(lost) = lost {
            self.log_failed(id, lost);
        }
    }

    /// What a container prints is lost: said once.
    pub fn log_failed(&mut self, id: &str, (error, first): super::capture::Lost) {
        let Some(container) = self.containers.get_mut(id).filter(|_| first) else { return };
        let why = format!("its log can't be written: {error}; what it prints is lost until there is room");
        container.state.error.clone_from(&why);
        // Where a log has no room, a state may have none either.
        let _ = self.save(id);
        self.tell(id, EventKind::Other(why));
    }

    /// Whether a process is on its way to its program.
    pub fn is_starting(&self, id: &str) -> bool {
        self.containers.get(id).and_then(|c| c.run.as_ref()).is_some_and(|r| matches!(r.process, Process::Starting(..)))
    }
}

/// How long a supervisor waits for whoever has started it.
const FIRST_WAIT: Duration = Duration::from_secs(5);
