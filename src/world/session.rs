//! Streams between us and a container: logs and exec.

use super::{EngineError, Stream};
use crate::units::Timestamp;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWrite;

/// Which part of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on with what is written later, until the container stops.
    pub follow: bool,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Only lines up to this time.
    pub until: Option<Timestamp>,
    /// Only so many last lines.
    pub tail: Option<u64>,
}

/// A piece of a log: one line, or a part of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Stream.
    pub stream: Stream,
    /// When, by the engine's clock; `None` where the engine gave none (output of a terminal without line breaks).
    pub time: Option<Timestamp>,
    /// The bytes, with the newline if there was one.
    pub bytes: Bytes,
}

/// A command to run inside a running container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Command.
    pub command: Vec<String>,
    /// Environment, `K=V`.
    pub environment: Vec<String>,
    /// User; empty is the container's.
    pub user: String,
    /// Working directory; empty is the container's.
    pub working_dir: String,
    /// All privileges.
    pub privileged: bool,
    /// With a terminal of this size, columns and rows.
    pub tty: Option<(u16, u16)>,
    /// Standard input is connected.
    pub stdin: bool,
    /// Nothing is connected and nobody waits.
    pub detach: bool,
}

/// Output of a command.
pub type ExecOutput = BoxStream<'static, Result<(Stream, Bytes), EngineError>>;

/// A running command: raw bytes both ways.
pub struct ExecSession {
    /// What it prints; with a terminal everything is [`Stream::Stdout`]. Ends when the command has ended.
    pub output: ExecOutput,
    /// Its standard input; shutting it down is end of file.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    /// The rest.
    pub control: Box<dyn ExecControl>,
}

impl std::fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExecSession")
    }
}

/// What can be done to a running command besides reading and writing.
#[async_trait]
pub trait ExecControl: Send + Sync {
    /// Tells the terminal its new size.
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), EngineError>;
    /// Exit code, once the output has ended.
    async fn exit_code(&self) -> Result<i64, EngineError>;
}
