//! How large a project may get. A short file can ask for a great deal: aliases in aliases, services that extend long
//! ones, ranges of ports, files that include each other twice. What is counted is roughly the memory of the tree, of which
//! a load holds a few copies.

use crate::diag::{Diagnostic, Span};

/// Bytes: some 250,000 values, or 30,000 published ports.
pub(super) const MAX: usize = 30 << 20;

/// How deep files may include each other, and services extend each other. Both are followed by recursion.
pub(super) const MAX_CHAIN: usize = 100;

/// What a load has used up.
#[derive(Debug, Default)]
pub(super) struct Budget {
    spent: usize,
    told: bool,
}

impl Budget {
    /// Whether too much was asked for already, and said so.
    pub(super) fn is_spent(&self) -> bool {
        self.told
    }

    /// Counts `bytes` that come by what stands at `at`; false, and once an error, if that is too much.
    pub(super) fn spend(&mut self, bytes: usize, at: Option<Span>, cure: &str, diagnostics: &mut Vec<Diagnostic>) -> bool {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent <= MAX {
            return true;
        }
        if !self.told {
            self.told = true;
            let what = format!("here the project gets larger than {} MB of values", MAX >> 20);
            diagnostics.push(Diagnostic::error("size-limit", what).at_opt(at).help(cure));
        }
        false
    }
}
