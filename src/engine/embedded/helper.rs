//! `@consort exec`: the process that joins a container to start a command there. It has one thread, and knows nothing but
//! what comes over its standard input, a socket: see [`super::exec`].

use super::Places;
use super::cgroup::Cgroup;
use super::exec::{ExecReply, ExecRequest, STREAMS, send};
use super::image::Store;
use super::inspect;
use super::observe::Seen;
use super::runtime::{self, Starting, Streams};
use super::supervisor::wire::{Lines, line};
use crate::world::{EngineError, ErrorKind};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

/// The helper, from beginning to end.
pub(super) fn main() -> ExitCode {
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3) else { return ExitCode::FAILURE };
    let Ok((request, streams)) = request(&socket) else { return ExitCode::FAILURE };
    let started = match start(&request, streams) {
        Ok(started) => started,
        Err(error) => return tell(&socket, &ExecReply::Error(error), None),
    };
    match started.outcome() {
        Ok(begun) => {
            if tell(&socket, &ExecReply::Started(started.pid), begun.terminal) == ExitCode::FAILURE {
                return ExitCode::FAILURE;
            }
        }
        Err(error) => return tell(&socket, &ExecReply::Error(error), None),
    }
    if request.spec.detach {
        return ExitCode::SUCCESS;
    }
    match wait(&started, &socket) {
        Some(code) => tell(&socket, &ExecReply::Exit(code), None),
        // Whoever asked is gone; the command goes on.
        None => ExitCode::SUCCESS,
    }
}

fn tell(socket: &OwnedFd, reply: &ExecReply, terminal: Option<OwnedFd>) -> ExitCode {
    let fds: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
    if send(socket.as_fd(), &line(reply), &fds).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is asked for, and the streams that came along.
fn request(socket: &OwnedFd) -> io::Result<(ExecRequest, Vec<OwnedFd>)> {
    let (mut lines, mut streams) = (Lines::default(), Vec::new());
    loop {
        if let Some(request) = lines.take().map_err(io::Error::other)? {
            return Ok((request, streams));
        }
        let mut buffer = [0; 16 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let got = match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut along, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => continue,
            got => got?.bytes,
        };
        for message in along.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                streams.extend(fds);
            }
        }
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        lines.push(buffer.get(..got).unwrap_or_default());
    }
}

/// Starts the command.
fn start(request: &ExecRequest, streams: Vec<OwnedFd>) -> Result<Starting, EngineError> {
    let places = Places { state: request.state.clone(), run: request.run.clone() };
    let absent = || EngineError::new(ErrorKind::NotFound, "the container is gone");
    let Seen { record, state } = Seen::read(&places, &request.id)?.ok_or_else(absent)?;
    let ended = || inspect::not_running(&record.name);
    let pid = Pid::from_raw(state.pid).filter(|_| state.boot == super::observe::boot()).ok_or_else(ended)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| ended())?;
    // The number may have gone to another process since.
    if started(state.pid) != Some(state.pid_start) {
        return Err(ended());
    }
    // An image that is gone leaves the container what its record says.
    let image = Store::open(&places)?.find(&record.image, None)?.unwrap_or_default();
    let cgroup = Cgroup::of(&record.project, &record.id, &record.spec.security.cgroup_parent);
    let streams = match request.spec.tty {
        Some(size) => Streams::Terminal { size: Some(size) },
        None => {
            let mut streams = streams.into_iter();
            Streams::Apart { stdin: streams.next(), stdout: streams.next(), stderr: streams.next() }
        }
    };
    runtime::exec(&record.spec, &image, &record.id, pidfd.as_fd(), &cgroup, &request.spec, streams)
}

/// When a process began, in ticks since boot: field 22 of its `stat` (proc(5)).
fn started(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is in parentheses, and may hold anything.
    text.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Waits for the command: its exit code, or none when nobody wants to know it any more.
fn wait(started: &Starting, socket: &OwnedFd) -> Option<i64> {
    loop {
        let mut waited = [PollFd::new(&started.pidfd, PollFlags::IN), PollFd::new(socket, PollFlags::RDHUP)];
        match poll(&mut waited, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        let [ended, left] = waited.map(|fd| !fd.revents().is_empty());
        if ended {
            break;
        }
        if left {
            return None;
        }
    }
    let status = waitid(WaitId::PidFd(started.pidfd.as_fd()), WaitIdOptions::EXITED).ok().flatten()?;
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(signal).map(i64::from)
}
