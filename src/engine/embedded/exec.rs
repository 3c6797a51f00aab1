//! Commands inside containers, from the command's side: a helper process joins the container, which only a process with
//! one thread can do, and starts the command there. It answers on a socket pair; the command's streams are pipes that
//! never pass through it.

use super::observe::Seen;
use super::part::PART;
use super::supervisor::launch::Program;
use super::supervisor::wire::{Lines, line};
use super::{Embedded, inspect};
use crate::world::{EngineError, ErrorKind, ExecControl, ExecOutput, ExecSession, ExecSpec, State, Stream};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::termios::Winsize;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWrite, Interest};
use tokio::sync::watch;

/// How much is read at once.
const BLOCK: usize = 32 * 1024;
/// Streams of a process.
pub const STREAMS: usize = 3;

/// What a helper is asked for: one line, with the descriptors of the three streams unless there is a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// [`super::Places::state`].
    pub state: PathBuf,
    /// [`super::Places::run`].
    pub run: PathBuf,
    /// The container's id.
    pub id: String,
    /// What is to be run.
    pub spec: ExecSpec,
}

/// What a helper answers: a line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecReply {
    /// The command runs: its process on the host. With a terminal its master comes along.
    Started(i32),
    /// It doesn't.
    Error(EngineError),
    /// It has ended: exit code, 128 + n for signal n.
    Exit(i64),
}

/// Runs a command.
///
/// # Errors
/// The container isn't running; what can't be run.
pub async fn exec(engine: &Embedded, seen: Seen, spec: &ExecSpec) -> Result<ExecSession, EngineError> {
    let name = &seen.record.name;
    match seen.standing(&super::observe::boot()) {
        State::Running => {}
        State::Paused => return Err(EngineError::new(ErrorKind::Conflict, format!("container {name} is paused")).because("unpause it first")),
        _ => return Err(inspect::not_running(name)),
    }
    let cant = |error: &io::Error| super::record::failed(&format!("`{}` can't be run in container {name}", spec.command.join(" ")), error);
    let request = ExecRequest { state: engine.places.state.clone(), run: engine.places.run.clone(), id: seen.record.id.clone(), spec: spec.clone() };
    let mut streams = Streams::new(spec).map_err(|e| cant(&e))?;
    let mut helper = Helper::start(engine, &request, streams.theirs.take()).map_err(|e| cant(&e))?;
    let (reply, terminal) = helper.reply().await.map_err(|e| cant(&e))?;
    match reply {
        Some(ExecReply::Started(_)) => {}
        Some(ExecReply::Error(error)) => return Err(error),
        Some(ExecReply::Exit(_)) | None => {
            return Err(EngineError::new(ErrorKind::Unreachable, format!("`{}` can't be run in container {name}", spec.command.join(" ")))
                .because("the helper process ended"));
        }
    }
    let (outcome, code) = watch::channel(None);
    tokio::spawn(async move {
        let code = match helper.reply().await {
            Ok((Some(ExecReply::Exit(code)), _)) => Ok(code),
            Ok((Some(ExecReply::Error(error)), _)) => Err(error),
            Ok(_) => Err(EngineError::new(ErrorKind::Unreachable, "how the command ended is not known").because("the helper process ended before")),
            Err(error) => Err(EngineError::new(ErrorKind::Unreachable, "how the command ended is not known").because(error.to_string())),
        };
        // Nobody may want to know.
        let _ = outcome.send(Some(code));
    });
    let terminal = terminal.map(|fd| Pipe::new(fd).map(Arc::new)).transpose().map_err(|e| cant(&e))?;
    let control = Control { code, terminal: terminal.clone(), detached: spec.detach };
    let (output, input): (ExecOutput, Box<dyn AsyncWrite + Send + Unpin>) = match terminal {
        Some(terminal) => (read(Arc::clone(&terminal), Stream::Stdout), Box::new(Input { pipe: Some(terminal), terminal: true })),
        None => {
            let (stdin, out, err) = streams.ours.take().map_or((None, None, None), |[a, b, c]| (a, b, c));
            let each = |fd: Option<Pipe>, stream| fd.map_or_else(|| stream::empty().boxed(), |fd| read(Arc::new(fd), stream));
            let output = stream::select(each(out, Stream::Stdout), each(err, Stream::Stderr)).boxed();
            (output, Box::new(Input { pipe: stdin.map(Arc::new), terminal: false }))
        }
    };
    Ok(ExecSession { output, input, control: Box::new(control) })
}

/// The three streams: our ends and the command's.
struct Streams {
    ours: Option<[Option<Pipe>; STREAMS]>,
    theirs: Option<[OwnedFd; STREAMS]>,
}

impl Streams {
    fn new(spec: &ExecSpec) -> io::Result<Self> {
        if spec.tty.is_some() {
            return Ok(Self { ours: None, theirs: None });
        }
        let null = |flags: OFlags| rustix::fs::open("/dev/null", flags | OFlags::CLOEXEC, rustix::fs::Mode::empty());
        if spec.detach {
            return Ok(Self { ours: None, theirs: Some([null(OFlags::RDONLY)?, null(OFlags::WRONLY)?, null(OFlags::WRONLY)?]) });
        }
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (stdin, to_stdin) = if spec.stdin {
            let (reader, writer) = pipe()?;
            (reader, Some(Pipe::new(writer)?))
        } else {
            (null(OFlags::RDONLY)?, None)
        };
        let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
        Ok(Self { ours: Some([to_stdin, Some(Pipe::new(out)?), Some(Pipe::new(err)?)]), theirs: Some([stdin, stdout, stderr]) })
    }
}

/// The helper process, and our end of its socket.
struct Helper {
    socket: AsyncFd<OwnedFd>,
    lines: Lines,
    /// Reaped by the runtime once it has ended.
    _child: tokio::process::Child,
}

impl Helper {
    fn start(engine: &Embedded, request: &ExecRequest, streams: Option<[OwnedFd; STREAMS]>) -> io::Result<Self> {
        let (ours, theirs) =
            rustix::net::socketpair(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, rustix::net::SocketFlags::CLOEXEC, None)?;
        // It lives while it is started: see there.
        let program = Program::of(engine.links.program());
        let child = tokio::process::Command::new(&program.path)
            .args([PART, "exec"])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let text = line(request);
        let fds: Vec<BorrowedFd<'_>> = streams.iter().flatten().map(AsFd::as_fd).collect();
        // It blocks until the helper has read, if the request is very long; that is as soon as it has started.
        send(ours.as_fd(), &text, &fds)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok(Self { socket: heard(ours, Interest::READABLE)?, lines: Lines::default(), _child: child })
    }

    /// Its next answer, with the descriptor that came along; none when it has ended.
    async fn reply(&mut self) -> io::Result<(Option<ExecReply>, Option<OwnedFd>)> {
        let mut terminal = None;
        loop {
            if let Some(reply) = self.lines.take().map_err(io::Error::other)? {
                return Ok((Some(reply), terminal));
            }
            let mut ready = self.socket.readable().await?;
            let mut buffer = [0; 4096];
            match receive(self.socket.get_ref().as_fd(), &mut buffer) {
                Ok((0, _)) | Err(Errno::CONNRESET) => return Ok((None, terminal)),
                Ok((n, fd)) => {
                    terminal = fd.or(terminal);
                    self.lines.push(buffer.get(..n).unwrap_or_default());
                }
                Err(Errno::WOULDBLOCK) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Sends a text, descriptors along with its first bytes.
///
/// # Errors
/// The kernel's.
pub fn send(socket: BorrowedFd<'_>, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !along.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let mut sent = 0;
    while let Some(rest) = text.get(sent..).filter(|r| !r.is_empty()) {
        match rustix::net::sendmsg(socket, &[IoSlice::new(rest)], &mut along, SendFlags::NOSIGNAL) {
            Ok(n) => {
                sent += n;
                along.clear();
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Receives bytes, and the last descriptor that came along.
fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> rustix::io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut along, RecvFlags::CMSG_CLOEXEC)?;
    let mut fd = None;
    for message in along.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            fd = fds.last().or(fd);
        }
    }
    Ok((got.bytes, fd))
}

#[expect(deprecated, reason = "it is sound for what owns its descriptor; the successor is not safe to call")]
fn heard(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

/// A pipe's end or a terminal's master.
struct Pipe(AsyncFd<OwnedFd>);

impl Pipe {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        heard(fd, Interest::READABLE | Interest::WRITABLE).map(Self)
    }
}

/// What comes out of a pipe, to its end.
fn read(pipe: Arc<Pipe>, stream: Stream) -> ExecOutput {
    stream::unfold(Some((pipe, BytesMut::new())), move |state| async move {
        let (pipe, mut buffer) = state?;
        match piece(&pipe, &mut buffer).await {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some((Ok((stream, bytes)), Some((pipe, buffer)))),
            Err(error) => {
                Some((Err(EngineError::new(ErrorKind::Unreachable, "the command's output can't be read").because(error.to_string())), None))
            }
        }
    })
    .boxed()
}

async fn piece(pipe: &Pipe, buffer: &mut BytesMut) -> io::Result<Bytes> {
    loop {
        let mut ready = pipe.0.readable().await?;
        buffer.resize(BLOCK, 0);
        match rustix::io::read(ready.get_inner(), &mut buffer[..]) {
            Ok(n) => {
                buffer.truncate(n);
                return Ok(buffer.split().freeze());
            }
            // A terminal that nobody has open any more.
            Err(Errno::IO) => return Ok(Bytes::new()),
            Err(Errno::WOULDBLOCK) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Standard input of a command.
struct Input {
    /// None once it is at its end.
    pipe: Option<Arc<Pipe>>,
    terminal: bool,
}

/// What a terminal takes for the end of input at the beginning of a line.
const END_OF_INPUT: u8 = 4;

impl AsyncWrite for Input {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // What nobody reads goes nowhere.
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(bytes.len())) };
        loop {
            let mut ready = ready!(pipe.0.poll_write_ready(cx))?;
            match rustix::io::write(ready.get_inner(), bytes) {
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(Errno::WOULDBLOCK) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.terminal && self.pipe.is_some() {
            // A master can't be half closed: whoever reads the terminal is told as a keyboard would tell it.
            ready!(self.as_mut().poll_write(cx, &[END_OF_INPUT]))?;
        }
        self.pipe = None;
        Poll::Ready(Ok(()))
    }
}

/// A command that runs.
struct Control {
    code: watch::Receiver<Option<Result<i64, EngineError>>>,
    terminal: Option<Arc<Pipe>>,
    detached: bool,
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), EngineError> {
        if let Some(terminal) = &self.terminal {
            let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
            rustix::termios::tcsetwinsize(&terminal.0, size)
                .map_err(|e| EngineError::new(ErrorKind::Refused, "the terminal can't be resized").because(e.to_string()))?;
        }
        Ok(())
    }

    async fn exit_code(&self) -> Result<i64, EngineError> {
        if self.detached {
            return Ok(0);
        }
        let mut code = self.code.clone();
        let known = code.wait_for(Option::is_some).await;
        let unknown = || EngineError::new(ErrorKind::Unreachable, "how the command ended is not known");
        known.ok().and_then(|code| code.clone()).unwrap_or_else(|| Err(unknown()))
    }
}
