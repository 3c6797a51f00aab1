//! Why a command could not do its work.

use crate::diag::{Diagnostic, Severity};
use crate::exit::Exit;
use crate::run;
use crate::world::EngineError;

/// Why a command could not do its work; nobody has been told yet.
#[derive(Debug)]
pub(crate) enum Fault {
    /// These say it.
    Findings(Vec<Diagnostic>),
    /// The engine could not be asked.
    Engine(EngineError),
    /// The user ended it.
    Interrupted,
    /// It was told already, or nobody is there to be told.
    Told(Exit),
}

impl Fault {
    /// The findings that say it.
    pub(crate) fn findings(self) -> Vec<Diagnostic> {
        match self {
            Self::Findings(findings) => findings,
            Self::Engine(error) => vec![super::hints::engine_finding(&error)],
            Self::Interrupted | Self::Told(_) => Vec::new(),
        }
    }
}

impl From<Diagnostic> for Fault {
    fn from(finding: Diagnostic) -> Self {
        Self::Findings(vec![finding])
    }
}

impl From<Vec<Diagnostic>> for Fault {
    fn from(findings: Vec<Diagnostic>) -> Self {
        Self::Findings(findings)
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<run::Error> for Fault {
    fn from(error: run::Error) -> Self {
        match error {
            run::Error::Engine(error) => Self::Engine(error),
            run::Error::Refused(findings) => Self::Findings(findings),
            run::Error::Interrupted => Self::Interrupted,
        }
    }
}

/// Something that is wrong with the command line.
pub(crate) fn usage(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Severity::Error, "usage", message)
}
