//! What came of a plan.

use super::Blocked;
use crate::diag::Diagnostic;
use crate::exit::Exit;
use crate::plan::NodeId;
use crate::world::{EngineError, Target};
use std::collections::BTreeMap;

/// What became of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or passed.
    Done,
    /// It failed in a way that doesn't matter: an optional gate, a network that others still use.
    Waived,
    /// It failed.
    Failed,
    /// Not begun, because something it waits for failed.
    Skipped,
    /// Begun, but not waited for: the user was in a hurry. The engine may still be doing it.
    Abandoned,
    /// Not begun, because the run was interrupted or the engine went away.
    NotBegun,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Which.
    pub node: NodeId,
    /// Service it belongs to.
    pub service: Option<String>,
    /// Why.
    pub cause: Cause,
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// The engine said so.
    Engine(EngineError),
    /// The gate could not be passed.
    Gate {
        /// The containers that keep it closed.
        containers: Vec<Target>,
        /// Why.
        blocked: Blocked,
    },
}

/// What came of a plan. Everything in it was told as events already; this is for exit codes and for programs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// By node.
    pub outcomes: Vec<Outcome>,
    /// The steps that failed, in the order in which they did.
    pub failures: Vec<Failure>,
    /// The user ended it early.
    pub interrupted: bool,
    /// How many steps changed something.
    pub changed: usize,
    /// Ids of the containers that were created, by final name.
    pub ids: BTreeMap<String, String>,
    /// Names of the containers that were started.
    pub started: Vec<String>,
    /// Those of them that were not heard to end.
    pub running: Vec<String>,
}

impl Report {
    /// How a command that does nothing else ends.
    pub fn exit(&self) -> Exit {
        match (self.interrupted, self.failures.is_empty()) {
            (true, _) => Exit::Interrupted,
            (false, true) => Exit::Success,
            (false, false) => Exit::Failure,
        }
    }
}

/// Why a command could not do its work at all. Unlike what is in a [`Report`] it was not told as an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The engine could not be asked.
    Engine(EngineError),
    /// There is no plan.
    Refused(Vec<Diagnostic>),
    /// The user ended it before anything was begun.
    Interrupted,
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<Vec<Diagnostic>> for Error {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self::Refused(diagnostics)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::Refused(diagnostics) => {
                for (i, d) in diagnostics.iter().filter(|d| d.is_error()).enumerate() {
                    write!(f, "{}{}", if i > 0 { "; " } else { "" }, d.message)?;
                }
                Ok(())
            }
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {}
