//! The command's end of the line to the supervisors: one connection for each project, many ops on it at once.
//!
//! A supervisor ends when nobody needs it, and may be killed. So a connection may end at any time, and what becomes of an
//! op that was under way is known only where asking again does no harm.

use super::Places;
use super::supervisor::launch::launch;
use super::supervisor::wire::{Answer, Door, Hello, Lines, Outcome, Request, VERSION, line};
use crate::world::{Applied, EngineError, ErrorKind, Op};
use std::collections::BTreeMap;
use std::io::ErrorKind as Io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// How often a supervisor may end while it is spoken to, before that is a fault.
const ATTEMPTS: usize = 5;
/// How long a supervisor lives that isn't broken.
const LIVED: std::time::Duration = std::time::Duration::from_secs(1);
/// How much is read at once.
const BLOCK: usize = 16 * 1024;

/// Connections to supervisors.
#[derive(Debug)]
pub struct Links {
    places: Places,
    /// This program, where other processes find it.
    program: PathBuf,
    open: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Option<Link>>>>>,
    next: AtomicU64,
}

/// A connection: its task ends with it.
#[derive(Clone, Debug)]
struct Link {
    requests: mpsc::UnboundedSender<Sent>,
}

/// A request on its way, and who waits for the answer.
type Sent = (Request, oneshot::Sender<Outcome>);

impl Links {
    /// None yet.
    pub fn new(places: &Places, program: PathBuf) -> Self {
        // A link to oneself means another program in another process.
        let program = std::fs::read_link(&program).ok().filter(|_| program.starts_with("/proc/self")).unwrap_or(program);
        Self { places: places.clone(), program, open: Mutex::default(), next: AtomicU64::new(1) }
    }

    /// This program, where other processes find it.
    pub fn program(&self) -> &std::path::Path {
        &self.program
    }

    /// Has an op on a container done by the supervisor of its project, which is started if nobody listens.
    ///
    /// # Errors
    /// The supervisor's; [`ErrorKind::Unreachable`] when it can't be started, or went away in the middle of something that
    /// must not be done twice.
    pub async fn apply(&self, project: &str, op: &Op) -> Result<Applied, EngineError> {
        for _ in 0..ATTEMPTS {
            let link = self.link(project).await?;
            let (answer, answered) = oneshot::channel();
            let request = Request { id: self.next.fetch_add(1, Ordering::Relaxed), op: op.clone() };
            let sent = link.requests.send((request, answer)).is_ok();
            if sent && let Ok(outcome) = answered.await {
                return outcome.into();
            }
            self.forget(project, &link).await;
            if sent && !may_be_repeated(op) {
                break;
            }
        }
        Err(EngineError::new(ErrorKind::Unreachable, format!("the supervisor of the project went away during: {} {}", op.verb(), op.subject().name))
            .because("the containers are not touched by that; try again"))
    }

    /// Sees to it that a supervisor lives and has taken over what runs.
    ///
    /// # Errors
    /// It can't be started.
    pub async fn adopt(&self, project: &str) -> Result<(), EngineError> {
        {
            let slot = self.slot(project);
            let mut slot = slot.lock().await;
            // One that was killed a moment ago may not have been heard to go yet.
            if !self.is_alive(project).await {
                *slot = None;
            }
        }
        self.link(project).await.map(drop)
    }

    /// Stays connected with the supervisor of a project, so that another one is started when it is killed.
    ///
    /// # Errors
    /// It can't be reached nor started.
    pub async fn stay(&self, project: &str) -> Result<(), EngineError> {
        self.link(project).await.map(drop)
    }

    /// Whether a supervisor listens.
    pub async fn is_alive(&self, project: &str) -> bool {
        let Ok(door) = Door::of(&self.places.project(project)) else { return false };
        match UnixStream::connect(&door.path).await {
            Ok(_) => true,
            // Busy, then.
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }

    /// Whether this command has spoken to the supervisor of a project, and still can.
    pub async fn is_open(&self, project: &str) -> bool {
        self.slot(project).lock().await.as_ref().is_some_and(|l| !l.requests.is_closed())
    }

    fn slot(&self, project: &str) -> Arc<tokio::sync::Mutex<Option<Link>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(open.entry(project.to_owned()).or_default())
    }

    async fn forget(&self, project: &str, link: &Link) {
        let slot = self.slot(project);
        let mut slot = slot.lock().await;
        if slot.as_ref().is_some_and(|l| l.requests.same_channel(&link.requests)) {
            *slot = None;
        }
    }

    /// The connection, made if there is none.
    async fn link(&self, project: &str) -> Result<Link, EngineError> {
        let slot = self.slot(project);
        let mut slot = slot.lock().await;
        if let Some(link) = slot.as_ref().filter(|l| !l.requests.is_closed()) {
            return Ok(link.clone());
        }
        let folder = self.places.project(project);
        let cant = |error: &std::io::Error| super::record::failed(&format!("{} can't be made", folder.display()), error);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| cant(&e))?;
        for attempt in 0..ATTEMPTS {
            if let Some(link) = self.connect(project).await? {
                *slot = Some(link.clone());
                return Ok(link);
            }
            if attempt + 1 < ATTEMPTS {
                let (places, project, program) = (self.places.clone(), project.to_owned(), self.program.clone());
                super::blocking(move || launch(&places, &project, &program)).await?;
            }
        }
        Err(EngineError::new(ErrorKind::Unreachable, "the supervisor of the project ends as soon as it is started"))
    }

    /// Connects, if somebody listens and says who they are.
    async fn connect(&self, project: &str) -> Result<Option<Link>, EngineError> {
        let door = match Door::of(&self.places.project(project)) {
            Ok(door) => door,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(super::record::failed("the supervisor's folder can't be opened", &error)),
        };
        let mut stream = match UnixStream::connect(&door.path).await {
            Ok(stream) => stream,
            // Nobody listens, or it has ended before it took us in.
            Err(error) if matches!(error.kind(), Io::NotFound | Io::ConnectionRefused | Io::ConnectionReset) => {
                return Ok(None);
            }
            Err(error) => {
                return Err(EngineError::new(ErrorKind::Unreachable, "the supervisor of the project can't be reached").because(error.to_string()));
            }
        };
        let hello = Hello { program: Some(self.program.clone()), ..Hello::new() };
        if stream.write_all(&line(&hello)).await.is_err() {
            return Ok(None);
        }
        let mut lines = Lines::default();
        let theirs: Hello = loop {
            match lines.take()? {
                Some(hello) => break hello,
                None if hear(&mut stream, &mut lines).await => {}
                // It was about to end.
                None => return Ok(None),
            }
        };
        if theirs.consort != VERSION {
            // It goes on as this program, and hangs up first.
            while hear(&mut stream, &mut lines).await {}
            return Ok(None);
        }
        let (requests, receiver) = mpsc::unbounded_channel();
        let watched = (self.places.clone(), project.to_owned(), self.program.clone());
        tokio::spawn(async move {
            if converse(stream, lines, receiver).await == Ended::ByThem {
                watch_over(watched.0, watched.1, watched.2).await;
            }
        });
        Ok(Some(Link { requests }))
    }
}

/// Reads on. False at the end.
async fn hear(stream: &mut UnixStream, lines: &mut Lines) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer).await {
        Ok(0) | Err(_) => false,
        Ok(n) => {
            lines.push(buffer.get(..n).unwrap_or_default());
            true
        }
    }
}

/// Who has ended a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    ByUs,
    ByThem,
}

/// A supervisor was killed while this command was connected to it. What the command waits for then, such as health, would
/// never come: as long as containers run there is to be a supervisor.
async fn watch_over(places: Places, project: String, program: PathBuf) {
    let boot = super::observe::boot();
    let mut attempts = 0;
    while attempts < ATTEMPTS {
        attempts += 1;
        let seen = super::observe::containers(&places, Some(&project), project.is_empty()).unwrap_or_default();
        if !seen.iter().any(|s| s.record.project == project && s.needs_supervisor(&boot)) {
            return;
        }
        let (at, of, with) = (places.clone(), project.clone(), program.clone());
        // Whoever needs it for more than looking hears why it can't be started.
        if super::blocking(move || launch(&at, &of, &with)).await.is_err() {
            return;
        }
        let Ok(door) = Door::of(&places.project(&project)) else { return };
        // A line that isn't ended is none: it only shows when the other end goes.
        if let Ok(mut stream) = UnixStream::connect(&door.path).await {
            let began = tokio::time::Instant::now();
            while hear(&mut stream, &mut Lines::default()).await {}
            // One that lived was killed; one that didn't can't live.
            if began.elapsed() > LIVED {
                attempts = 0;
            }
        }
    }
}

/// Carries requests there and answers back until either end goes. Whoever still waits then hears nothing, which tells all.
async fn converse(stream: UnixStream, mut lines: Lines, mut requests: mpsc::UnboundedReceiver<Sent>) -> Ended {
    let (mut reader, mut writer) = stream.into_split();
    let waiting: Mutex<BTreeMap<u64, oneshot::Sender<Outcome>>> = Mutex::default();
    let ask = async {
        while let Some((request, answer)) = requests.recv().await {
            waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(request.id, answer);
            if writer.write_all(&line(&request)).await.is_err() {
                return Ended::ByThem;
            }
        }
        Ended::ByUs
    };
    let hear = async {
        let mut buffer = vec![0; BLOCK];
        loop {
            loop {
                let (id, outcome) = match lines.take() {
                    Ok(Some(Answer { id, outcome })) => (id, outcome),
                    Ok(None) => break,
                    // What follows can't be understood either.
                    Err(_) => return Ended::ByUs,
                };
                let answer = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                // Whoever asked may be gone.
                let _ = answer.map(|a| a.send(outcome));
            }
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => return Ended::ByThem,
                Ok(n) => lines.push(buffer.get(..n).unwrap_or_default()),
            }
        }
    };
    tokio::select! {
        ended = hear => ended,
        ended = ask => ended,
    }
}

/// Whether an op that may have been done already can be asked for again with the same result.
fn may_be_repeated(op: &Op) -> bool {
    matches!(
        op,
        Op::StartContainer { .. }
            | Op::StopContainer { .. }
            | Op::PauseContainer { .. }
            | Op::UnpauseContainer { .. }
            | Op::RemoveContainer { .. }
            | Op::RemoveNetwork { .. }
            | Op::WriteFiles { .. }
            | Op::ConnectNetwork { .. }
            | Op::DisconnectNetwork { .. }
    )
}
