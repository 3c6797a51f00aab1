//! One connection to an engine: socket, TCP, TLS, or a child process that carries one over ssh.

use super::endpoint::{Address, Endpoint};
use crate::oci::{Io, Tls, tcp};
use crate::world::{EngineError, ErrorKind};
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

/// How much of what ssh says is kept.
const LAST_WORDS: u64 = 4096;

/// How long ssh may take to say them once the connection is closed.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes connections to one engine.
pub struct Dialer {
    endpoint: Endpoint,
    tls: Option<Tls>,
    /// Environment of ssh: the one that was given, not the process's.
    environment: Vec<(String, String)>,
    /// What ssh said on standard error; `None` until a child has said all.
    last_words: watch::Sender<Option<String>>,
}

impl Dialer {
    /// For one endpoint. `environment` is what a child process gets.
    ///
    /// # Errors
    /// TLS files that can't be used.
    pub fn new(endpoint: Endpoint, environment: Vec<(String, String)>) -> Result<Self, EngineError> {
        let tls = endpoint.tls.as_ref().map(Tls::new).transpose()?;
        Ok(Self { endpoint, tls, environment, last_words: watch::Sender::new(None) })
    }

    /// Where it connects to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects.
    pub async fn dial(&self) -> io::Result<Box<dyn Io>> {
        match &self.endpoint.address {
            Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Address::Tcp { host, port } => {
                let stream = tcp(host, *port).await?;
                match &self.tls {
                    Some(tls) => tls.wrap(host, stream).await,
                    None => Ok(Box::new(stream)),
                }
            }
            Address::Ssh { user, host, port, socket } => self.ssh(user.as_deref(), host, *port, socket.as_deref()),
        }
    }

    fn ssh(&self, user: Option<&str>, host: &str, port: Option<u16>, socket: Option<&str>) -> io::Result<Box<dyn Io>> {
        let mut command = Command::new("ssh");
        command.env_clear().envs(self.environment.iter().map(|(k, v)| (k, v)));
        // Nobody is there to answer a question.
        command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"]);
        if let Some(user) = user {
            command.args(["-l", user]);
        }
        if let Some(port) = port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["--", host, "docker"]);
        if let Some(socket) = socket {
            // ssh joins its arguments into a line for the shell over there.
            command.arg(format!("--host={}", quoted(&format!("unix://{socket}"))));
        }
        command.args(["system", "dial-stdio"]);
        // A group of its own: Ctrl-C is for us, who still need the connection to stop things.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| io::Error::new(e.kind(), format!("can't run ssh: {e}")))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("ssh has no pipes"));
        };
        let words = self.last_words.clone();
        tokio::spawn(async move {
            let mut said = Vec::new();
            // Whatever was read until then is worth keeping.
            let _ = stderr.take(LAST_WORDS).read_to_end(&mut said).await;
            words.send_replace(Some(String::from_utf8_lossy(&said).trim().to_owned()));
        });
        Ok(Box::new(Piped { stdin: Some(stdin), stdout, _child: child }))
    }

    /// What a child process that carried a connection said before it ended. It may have closed the connection before
    /// it said why.
    pub async fn last_words(&self) -> Option<String> {
        if !matches!(self.endpoint.address, Address::Ssh { .. }) {
            return None;
        }
        let mut words = self.last_words.subscribe();
        let said = tokio::time::timeout(LAST_WORDS_TIMEOUT, words.wait_for(Option::is_some)).await.ok()?.ok()?.clone();
        said.filter(|w| !w.is_empty())
    }

    /// Why there is no connection, in words: what was tried and what went wrong.
    pub fn explain(&self, error: &io::Error) -> EngineError {
        use io::ErrorKind as Io;
        let (kind, why) = match (&self.endpoint.address, error.kind()) {
            (Address::Unix(_), Io::NotFound) => (ErrorKind::Unreachable, "there is no such socket".to_owned()),
            (Address::Unix(_), Io::PermissionDenied) => (ErrorKind::Denied, "you may not use that socket".to_owned()),
            (Address::Unix(_), Io::ConnectionRefused) => (ErrorKind::Unreachable, "nobody listens on that socket".to_owned()),
            (Address::Tcp { .. }, Io::ConnectionRefused) => (ErrorKind::Unreachable, "nothing listens there".to_owned()),
            (Address::Tcp { .. }, Io::TimedOut) => (ErrorKind::Unreachable, "no answer in time".to_owned()),
            _ => (ErrorKind::Unreachable, plain(error)),
        };
        EngineError::new(kind, format!("can't reach the engine at {} ({})", self.endpoint.address, self.endpoint.origin)).because(why)
    }
}

/// An error of the system without its number, a chain of errors as one line.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(head, _)| head).to_owned()
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A child's standard input and output as one connection. The child ends with it.
struct Piped {
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    _child: Child,
}

impl AsyncRead for Piped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buf)
    }
}

impl AsyncWrite for Piped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_write(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin.as_mut().map_or(Poll::Ready(Ok(())), |stdin| Pin::new(stdin).poll_flush(cx))
    }

    /// Closes the pipe, which is the end of file for the other side.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.stdin = None;
        Poll::Ready(Ok(()))
    }
}
