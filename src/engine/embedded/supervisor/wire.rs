//! What a command and a supervisor say to each other: lines of JSON over a Unix stream socket.
//!
//! Each side begins with a [`Hello`]. Then the command sends [`Request`]s, as many at once as it likes, and gets an
//! [`Answer`] to each, in any order. A connection that ends before the supervisor's hello has done nothing: the command
//! may start anew. A connection that ends later leaves the ops that were asked for to be carried out to their end.
//!
//! ```text
//! > {"consort":"0.1.0","program":"/usr/bin/consort"}
//! < {"consort":"0.1.0"}
//! > {"id":1,"op":{"StartContainer":{"container":{"name":"p-web-1","id":null}}}}
//! < {"id":1,"ok":{"id":null,"warnings":[],"changed":true}}
//! > {"id":2,"op":{"KillContainer":{"container":{"name":"p-x-1","id":null},"signal":"KILL"}}}
//! < {"id":2,"error":{"kind":"NotFound","what":"there is no container `p-x-1`","source":null}}
//! ```
//!
//! Nothing here reads or writes: [`line`] makes bytes, [`Lines`] takes bytes apart, whoever moves them.

use crate::world::{Applied, EngineError, ErrorKind, Op};
use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The version of this program, as a [`Hello`] has it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Longest line, in bytes. Contents of files are the bulk of it, four bytes for each of theirs.
pub const LONGEST: usize = 256 << 20;

/// Name of the socket in the folder of a project.
const SOCKET: &str = "socket";

/// First line, each way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version. A supervisor that hears another one than its own goes on as `program`, without losing a container.
    pub consort: String,
    /// From the command: the program that supervisors are run from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
}

impl Hello {
    /// That of a supervisor.
    pub fn new() -> Self {
        Self { consort: VERSION.to_owned(), program: None }
    }
}

impl Default for Hello {
    fn default() -> Self {
        Self::new()
    }
}

/// A change that is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the command, given back in the answer.
    pub id: u64,
    /// What is to be done: one of the ops of containers, and not [`Op::RunHook`], which the command does itself.
    pub op: Op,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Of the request.
    pub id: u64,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A result, in JSON `"ok":…` or `"error":…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    #[serde(rename = "ok")]
    Done(Applied),
    /// Not done.
    #[serde(rename = "error")]
    Failed(EngineError),
}

impl From<Result<Applied, EngineError>> for Outcome {
    fn from(result: Result<Applied, EngineError>) -> Self {
        result.map_or_else(Self::Failed, Self::Done)
    }
}

impl From<Outcome> for Result<Applied, EngineError> {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done(applied) => Ok(applied),
            Outcome::Failed(error) => Err(error),
        }
    }
}

/// What a new supervisor writes on its standard output: once, before it closes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Readiness {
    /// It listens.
    #[serde(rename = "ok")]
    Listening(Hello),
    /// It doesn't, and ends.
    #[serde(rename = "error")]
    Failed(EngineError),
}

/// A message as a line.
pub fn line<T: Serialize>(message: &T) -> Vec<u8> {
    // Maps with keys that are no texts are all that JSON refuses; no message has one.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Takes a stream of bytes apart into messages.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Bytes of the front that are known to hold no newline.
    searched: usize,
}

impl Lines {
    /// Takes bytes that were read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, if all of it has come.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for a line that is none, or that has no end. The connection is of no use then.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, EngineError> {
        let Some(end) = self.bytes[self.searched..].iter().position(|b| *b == b'\n').map(|n| self.searched + n) else {
            self.searched = self.bytes.len();
            if self.searched > LONGEST {
                return Err(EngineError::new(ErrorKind::Protocol, format!("a message of more than {LONGEST} bytes was refused")));
            }
            return Ok(None);
        };
        let message = serde_json::from_slice(&self.bytes[..end]);
        self.bytes.drain(..=end);
        self.searched = 0;
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        message
            .map(Some)
            .map_err(|e| EngineError::new(ErrorKind::Protocol, "a message between consort and its supervisor is damaged").because(e.to_string()))
    }
}

/// The address of a supervisor's socket, short whatever its folder is called: the kernel takes 107 bytes.
#[derive(Debug)]
pub struct Door {
    /// Keeps `path` valid.
    _folder: OwnedFd,
    /// What to bind or connect to, in this process, as long as this value lives.
    pub path: PathBuf,
}

impl Door {
    /// The door in the folder of a project, which must be there ([`super::super::Places::project`]).
    ///
    /// # Errors
    /// There is no such folder.
    pub fn of(folder: &Path) -> std::io::Result<Self> {
        let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(SOCKET);
        Ok(Self { _folder: folder, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Target;

    #[test]
    fn messages_come_as_the_head_of_the_file_shows_them() {
        let op = Op::StartContainer { container: Target::named("p-web-1") };
        let text = String::from_utf8(line(&Request { id: 1, op })).unwrap();
        assert_eq!(text, "{\"id\":1,\"op\":{\"StartContainer\":{\"container\":{\"name\":\"p-web-1\",\"id\":null}}}}\n");
        let outcome = Outcome::from(Ok(Applied { changed: true, ..Applied::default() }));
        let text = String::from_utf8(line(&Answer { id: 1, outcome })).unwrap();
        assert_eq!(text, "{\"id\":1,\"ok\":{\"id\":null,\"warnings\":[],\"changed\":true}}\n");
        assert_eq!(line(&Hello { consort: "0.1.0".into(), program: None }), b"{\"consort\":\"0.1.0\"}\n");
    }

    #[test]
    fn a_stream_is_taken_apart_however_it_is_cut() {
        let answers: Vec<Answer> =
            (0..3).map(|id| Answer { id, outcome: Err(EngineError::new(ErrorKind::NotFound, "no\nsuch thing").because("é")).into() }).collect();
        let stream: Vec<u8> = answers.iter().flat_map(line).collect();
        for step in [1, 2, 7, stream.len()] {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in stream.chunks(step) {
                lines.push(piece);
                while let Some(answer) = lines.take::<Answer>().unwrap() {
                    found.push(answer);
                }
            }
            assert_eq!(found, answers, "in pieces of {step}");
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let mut lines = Lines::default();
        lines.push(b"hello\n{\"consort\":\"1\"}\n");
        assert_eq!(lines.take::<Hello>().unwrap_err().kind, ErrorKind::Protocol);
        assert_eq!(lines.take::<Hello>().unwrap().unwrap().consort, "1");
    }

    #[test]
    fn a_door_works_in_a_folder_with_a_long_name() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("p".repeat(200));
        std::fs::create_dir(&folder).unwrap();
        let door = Door::of(&folder).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&door.path).unwrap();
        std::os::unix::net::UnixStream::connect(&Door::of(&folder).unwrap().path).unwrap();
    }
}
