//! Everything that a run of Consort gets from outside, as one value.

use crate::engine::Engine;
use crate::ui::{Captured, Output, Size};
use crate::units::Timestamp;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::AsyncRead;
use tokio::sync::{mpsc, watch};

/// What the user or the system wants of a running command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// The terminal went away.
    Hangup,
}

/// Standard input.
pub struct Input {
    /// Its bytes.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// Whether it is a terminal.
    pub terminal: bool,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

/// Everything from outside. `main` makes the real one; a test makes its own and runs a whole command in process.
#[derive(Debug)]
pub struct Session {
    /// The command line, the program's name first.
    pub args: Vec<OsString>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// Standard input.
    pub stdin: Input,
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// Signals. A closed channel means that none will come.
    pub signals: mpsc::Receiver<Signal>,
    /// Size of the terminal, now and later.
    pub size: watch::Receiver<Size>,
    /// The time of day.
    pub clock: fn() -> Timestamp,
    /// An engine that is used whatever the settings say.
    pub engine: Option<Arc<dyn Engine>>,
}

/// The other ends of a session that stands for a real one.
#[derive(Debug)]
pub struct Wires {
    /// What the command printed on standard output.
    pub stdout: Captured,
    /// What the command printed on standard error.
    pub stderr: Captured,
    /// Sends signals.
    pub signals: mpsc::Sender<Signal>,
    /// Changes the size of the terminal.
    pub size: watch::Sender<Size>,
}

impl Session {
    /// A session for a test: these arguments (without the program's name), an empty environment, no input, captured
    /// output that is no terminal, no signals until one is sent.
    pub fn captured<S: AsRef<str>>(cwd: impl Into<PathBuf>, args: impl IntoIterator<Item = S>) -> (Self, Wires) {
        let (out, stdout) = Output::captured(false);
        let (err, stderr) = Output::captured(false);
        let (signals, receiver) = mpsc::channel(8);
        let (size, size_now) = watch::channel(Size::default());
        let session = Self {
            args: std::iter::once(OsString::from("consort")).chain(args.into_iter().map(|a| OsString::from(a.as_ref()))).collect(),
            environment: BTreeMap::new(),
            cwd: cwd.into(),
            stdin: Input { reader: Box::new(tokio::io::empty()), terminal: false },
            stdout: out,
            stderr: err,
            signals: receiver,
            size: size_now,
            clock: || Timestamp::from_parts(1_800_000_000, 0),
            engine: None,
        };
        (session, Wires { stdout, stderr, signals, size })
    }
}
