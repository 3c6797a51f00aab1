//! `${VARIABLE}` in the values of a file.

use crate::diag::{Diagnostic, SourceMap};
use crate::yaml::Node;
use std::collections::BTreeMap;
use std::ops::Range;

/// Gives the value of a variable, `None` if it is unset.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A text after substitution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interpolated {
    /// The text.
    pub text: String,
    /// The variables whose values stand in it, in order, each once.
    pub variables: Vec<String>,
    /// Variables that were unset and had no default, with the byte range of their expression in the input.
    pub unset: Vec<(String, Range<usize>)>,
}

/// Why a text can't be substituted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InterpolationError {
    /// What happened.
    pub message: String,
    /// The byte range of the expression in the input.
    pub range: Range<usize>,
    /// The variable that `${V:?}` or `${V?}` asks for; absent where the expression is malformed.
    pub required: Option<String>,
}

/// Substitutes in one text.
pub fn interpolate_str(text: &str, lookup: Lookup<'_>) -> Result<Interpolated, InterpolationError> {
    let _ = lookup;
    Ok(Interpolated { text: text.to_owned(), ..Interpolated::default() })
}

/// Substitutes in every string value of the tree, never in keys, and records in [`Node::variables`] what was used.
/// Unset variables and faults are reported at the exact expression where the text of the scalar stands in the file
/// as it is, otherwise at the scalar.
pub fn interpolate(node: &mut Node, sources: &SourceMap, lookup: Lookup<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let _ = (node, sources, lookup, diagnostics);
}

/// What a file says about one variable (`config --variables`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// `${V:?}` or `${V?}` somewhere.
    pub required: bool,
    /// The default of `${V:-d}` or `${V-d}`, as written.
    pub default: Option<String>,
    /// The alternate of `${V:+a}` or `${V+a}`, as written.
    pub alternate: Option<String>,
}

/// Adds the variables that the values of the tree mention to `found`. To be called before [`interpolate`].
pub fn variables(node: &Node, found: &mut BTreeMap<String, Variable>) {
    let _ = (node, found);
}
