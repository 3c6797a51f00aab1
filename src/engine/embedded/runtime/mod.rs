//! From a description to a process in namespaces, and more processes beside it.

use super::cgroup::Cgroup;
use super::image::Image;
use super::record::ResolvedMount;
use crate::world::{ContainerSpec, EngineError, ErrorKind, ExecSpec, FileSpec};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// Everything that a container's process depends on besides its spec.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// 64 hex digits.
    pub id: &'a str,
    /// Its image.
    pub image: &'a Image,
    /// Folder of its own layer; `upper` and `work` are made in it.
    pub upper: &'a Path,
    /// Mounts with their sources, in the order in which they are mounted.
    pub mounts: &'a [ResolvedMount],
    /// Folder with `hosts`, `hostname` and `resolv.conf`, which are mounted over those of the image.
    pub etc: &'a Path,
    /// Files that are written into it, after everything is mounted and before the process starts.
    pub files: &'a [FileSpec],
    /// Its groups, made already.
    pub cgroup: &'a Cgroup,
    /// Process 1 (pidfd) of the container whose network namespace it shares.
    pub network_of: Option<BorrowedFd<'a>>,
    /// Process 1 (pidfd) of the container whose pid namespace it shares.
    pub pid_of: Option<BorrowedFd<'a>>,
    /// Process 1 (pidfd) of the container whose ipc namespace it shares.
    pub ipc_of: Option<BorrowedFd<'a>>,
    /// Program of ours that is process 1 with `init: true`, and that is handed to the container for nothing else.
    pub program: &'a Path,
}

/// Standard streams of a process.
#[derive(Debug)]
pub enum Streams {
    /// Each on its own; none is `/dev/null`.
    Apart {
        /// Standard input.
        stdin: Option<OwnedFd>,
        /// Standard output.
        stdout: Option<OwnedFd>,
        /// Standard error.
        stderr: Option<OwnedFd>,
    },
    /// A terminal of the container's own, made inside of it; its master comes back in [`Prepared::terminal`].
    Terminal {
        /// Columns and rows; none leaves it at 0.
        size: Option<(u16, u16)>,
    },
}

/// A process that exists and waits for [`Prepared::go`].
#[derive(Debug)]
pub struct Prepared {
    /// On the host.
    pub pid: i32,
    /// It.
    pub pidfd: OwnedFd,
    /// Readable when the process has begun (end of file) or failed (a serialized [`EngineError`]).
    pub status: OwnedFd,
    /// A byte lets it go on.
    go: OwnedFd,
}

impl Prepared {
    /// Lets it go on: its network is furnished. Returns where the outcome is told, to be read when it is readable.
    pub fn go(self) -> Starting {
        drop(self.go);
        Starting { pid: self.pid, pidfd: self.pidfd, status: self.status }
    }
}

/// A process on its way to its program.
#[derive(Debug)]
pub struct Starting {
    /// On the host.
    pub pid: i32,
    /// It.
    pub pidfd: OwnedFd,
    /// Readable when the outcome is known.
    pub status: OwnedFd,
}

impl Starting {
    /// The outcome, once `status` is readable: nothing when the program runs; the master of its terminal if it has one.
    ///
    /// # Errors
    /// Why it doesn't run: a program that isn't there (exit code 127 in Docker's words), not executable (126), …
    pub fn outcome(&self) -> Result<Option<OwnedFd>, EngineError> {
        Ok(None)
    }
}

/// Makes the first process of a container, in its namespaces and groups, stopped before it touches its network. The
/// caller must be single-threaded.
///
/// # Errors
/// Namespaces that can't be had, a spec that can't be honoured.
pub fn prepare(spec: &ContainerSpec, around: &Surroundings<'_>, streams: Streams) -> Result<Prepared, EngineError> {
    let _ = (around, streams);
    Err(EngineError::new(ErrorKind::Unsupported, format!("{} can't be started yet", spec.name)))
}

/// Starts one more process in a running container: user, environment and privileges as the container has them, unless
/// `exec` says otherwise. The caller must be single-threaded.
///
/// # Errors
/// It has ended; namespaces that can't be joined.
pub fn exec(
    spec: &ContainerSpec,
    image: &Image,
    pidfd: BorrowedFd<'_>,
    cgroup: &Cgroup,
    exec: &ExecSpec,
    streams: Streams,
) -> Result<Starting, EngineError> {
    let _ = (image, pidfd, cgroup, exec, streams);
    Err(EngineError::new(ErrorKind::Unsupported, format!("nothing can be run in {} yet", spec.name)))
}
