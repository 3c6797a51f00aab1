//! What happened: in the engine ([`EngineEvent`]), and everything that a user is told ([`Event`]).

use super::Health;
use crate::diag::Diagnostic;
use crate::units::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A container in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerId {
    /// Full id.
    pub id: String,
    /// Name without slash.
    pub name: String,
    /// Service; empty when the label is missing.
    pub service: String,
    /// Number; `None` for one-off containers.
    pub number: Option<u32>,
    /// From `run`.
    pub oneoff: bool,
    /// Name of the container it replaces, while it is being recreated.
    pub replaces: Option<String>,
}

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineEvent {
    /// When, by the engine's clock.
    pub time: Timestamp,
    /// To whom.
    pub container: ContainerId,
    /// What.
    pub kind: EventKind,
}

/// What happened to a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// It was created.
    Created,
    /// Its process runs.
    Started,
    /// Its process ended.
    Died {
        /// Exit code; 128 + n for signal n.
        exit_code: i64,
    },
    /// A signal was sent to it.
    Killed {
        /// Name or number.
        signal: String,
    },
    /// It was stopped on purpose (after [`EventKind::Died`]).
    Stopped,
    /// It was restarted on purpose (after [`EventKind::Started`]).
    Restarted,
    /// Memory ran out in it.
    OutOfMemory,
    /// Its health changed.
    Health(Health),
    /// It was frozen.
    Paused,
    /// It was resumed.
    Unpaused,
    /// It has another name now (the one in [`ContainerId`]).
    Renamed {
        /// The name it had.
        from: String,
    },
    /// It is gone.
    Removed,
    /// Anything else, in the engine's word.
    Other(String),
}

/// Kind of a thing that users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// An image.
    Image,
    /// A container.
    Container,
}

/// A thing that users see, as progress lines name it: `Container p-web-1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Kind.
    pub kind: SubjectKind,
    /// Real name.
    pub name: String,
}

impl Subject {
    /// The thing called `name`.
    pub fn new(kind: SubjectKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            SubjectKind::Network => "Network",
            SubjectKind::Volume => "Volume",
            SubjectKind::Image => "Image",
            SubjectKind::Container => "Container",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Begun.
    Working,
    /// Ended well.
    Done,
    /// Ended well enough: skipped, still in use.
    Warning,
    /// Failed.
    Error,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes so far.
    pub current: u64,
    /// Bytes in all; 0 when unknown.
    pub total: u64,
}

/// Which stream of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of a container's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Name that the prefix shows: `web-1`, or the whole container name where it is the user's own.
    pub source: Arc<str>,
    /// Stream.
    pub stream: Stream,
    /// When, by the engine's clock.
    pub time: Timestamp,
    /// The line without its newline; any bytes.
    pub text: Bytes,
    /// No newline followed: the last line of a stream, or raw output of a terminal.
    pub partial: bool,
}

/// Something about a container that is shown among its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Its process ended.
    Exited {
        /// Exit code.
        code: i64,
        /// The restart policy starts it again.
        restarting: bool,
        /// Memory ran out.
        oom: bool,
    },
    /// It was recreated while attached.
    Recreated,
}

/// Everything that a user is told, in the order in which it is told: one stream, one reader, which is the terminal.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Progress of a thing: `Container p-web-1  Starting`.
    Task {
        /// The thing.
        subject: Subject,
        /// Where it stands.
        state: TaskState,
        /// The word: `Creating`, `Created`, `Waiting`, `Healthy`, `Skipped: …`.
        text: String,
        /// Part of the thing, such as a layer of an image.
        part: Option<String>,
        /// How far a transfer is.
        progress: Option<Progress>,
    },
    /// The names whose logs follow, for the width of the column: sorted, complete before the first line.
    Attach {
        /// Names as [`LogLine::source`] has them.
        sources: Vec<Arc<str>>,
        /// Print the line `Attaching to …`.
        announce: bool,
    },
    /// Lines of logs, in the order in which they are shown. Many at once, for speed: never empty.
    Logs(Vec<LogLine>),
    /// Something about a container that is shown among the logs.
    Happened {
        /// Name as [`LogLine::source`] has it.
        source: Arc<str>,
        /// What.
        what: Happening,
    },
    /// A finding.
    Diagnostic(Diagnostic),
    /// A sentence for the user that is neither progress nor a fault, on standard error.
    Message(String),
    /// An explanation of several lines, under a fault, on standard error.
    Explanation(String),
}
