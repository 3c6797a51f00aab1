//! Scalars whose expressions have faults. Nothing is known of what they say, so no later pass judges them: one load shows
//! these faults and all others that don't hang on them.

use crate::diag::Span;
use crate::yaml::{Node, Value};
use std::collections::BTreeSet;

/// The places of such scalars.
#[derive(Debug, Default)]
pub(super) struct Unknown(BTreeSet<Span>);

impl Unknown {
    /// Adds more of them.
    pub(super) fn add(&mut self, more: BTreeSet<Span>) {
        self.0.extend(more);
    }

    /// Whether it is one of them.
    pub(super) fn is(&self, node: &Node) -> bool {
        !self.0.is_empty() && matches!(node.value, Value::String(_)) && self.holds(node.span)
    }

    /// Whether it is one of them, or has one inside.
    pub(super) fn inside(&self, node: &Node) -> bool {
        let within = match &node.value {
            Value::Map(map) => map.iter().any(|e| self.inside(&e.value)),
            Value::Seq(items) => items.iter().any(|item| self.inside(item)),
            _ => self.is(node),
        };
        !self.0.is_empty() && within
    }

    /// Whether the place is in one of them.
    pub(super) fn holds(&self, place: Span) -> bool {
        // Scalars don't overlap: only the nearest that begins before it can hold it.
        let before = Span { end: u32::MAX, ..place };
        self.0.range(..=before).next_back().is_some_and(|u| u.source == place.source && place.end <= u.end)
    }
}
