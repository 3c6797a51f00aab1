//! The one error type of engines.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The thing isn't there.
    NotFound,
    /// The name is taken, or the thing is in use.
    Conflict,
    /// The host port is taken.
    PortTaken,
    /// The engine can't do it at all.
    Unsupported,
    /// The engine doesn't answer, or went away in the middle.
    Unreachable,
    /// Not allowed: socket permissions, registry credentials.
    Denied,
    /// No room left on the device.
    NoSpace,
    /// The engine understood and said no.
    Refused,
    /// It took too long.
    TimedOut,
    /// The engine said something that can't be understood.
    Protocol,
}

/// What went wrong in an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineError {
    /// What a caller can do about it.
    pub kind: ErrorKind,
    /// What happened: one sentence, lower-case, no full stop; names the thing as the user knows it.
    pub what: String,
    /// What the engine itself said, if that adds anything.
    pub source: Option<String>,
}

impl EngineError {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    /// Adds what the engine itself said.
    #[must_use]
    pub fn because(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.source {
            Some(source) if source.starts_with('\n') => write!(f, ":{source}"),
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for EngineError {}
