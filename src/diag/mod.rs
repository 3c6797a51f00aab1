//! Places in source texts, and what is said about them.
//!
//! Everything here is plain data: nothing prints, nothing knows a terminal. A [`Diagnostic`] is pushed by whoever
//! finds a fault, carried upward as it is, and drawn by `ui::diagnostics` or printed as JSON.

mod key_path;
mod source;
mod suggest;

pub use key_path::{KeyPath, Places, Segment};
pub use source::{LineCol, SourceFile, SourceId, SourceMap, Span};
pub use suggest::did_you_mean;

use serde::Serialize;

/// How bad it is. An [`Severity::Error`] stops the command before anything is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Information that helps to understand another diagnostic.
    Note,
    /// The command goes on; the user should look.
    Warning,
    /// The command does not go on.
    Error,
}

/// One finding: what happened, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable kebab-case name of the kind of finding, for editors and tests: `unknown-key`.
    pub code: &'static str,
    /// What happened: one sentence, lower-case, no full stop.
    pub message: String,
    /// Where it happened. Absent where no file is at fault (a flag, the environment).
    pub span: Option<Span>,
    /// A few words drawn beside the caret.
    pub label: Option<String>,
    /// Other places that take part: the first of two duplicate keys, each edge of a cycle.
    pub related: Vec<(Span, String)>,
    /// What to do about it: one sentence.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding without a place yet.
    pub fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity, code, message: message.into(), span: None, label: None, related: Vec::new(), help: None }
    }

    /// An error: the command does not go on.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A warning: the command goes on.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Says where, if the place is known.
    #[must_use]
    pub fn at_opt(mut self, span: Option<Span>) -> Self {
        self.span = span.or(self.span);
        self
    }

    /// Puts a few words beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds another place that takes part.
    #[must_use]
    pub fn related(mut self, span: Span, what: impl Into<String>) -> Self {
        self.related.push((span, what.into()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether it stops the command.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
