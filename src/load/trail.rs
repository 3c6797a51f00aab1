//! Where a pass stands in the document: a path that costs nothing until somebody asks for it.

use crate::diag::{KeyPath, Segment};

/// A path as a chain on the stack, from the innermost segment outward.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trail<'a> {
    above: Option<&'a Trail<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Trail<'a> {
    pub(super) const ROOT: Trail<'static> = Trail { above: None, step: Step::Root };

    pub(super) fn key(&'a self, key: &'a str) -> Trail<'a> {
        Trail { above: Some(self), step: Step::Key(key) }
    }

    pub(super) fn index(&'a self, index: usize) -> Trail<'a> {
        Trail { above: Some(self), step: Step::Index(index) }
    }

    /// The path as a value.
    pub(super) fn path(&self) -> KeyPath {
        let mut path = self.above.map_or_else(KeyPath::root, Trail::path);
        match self.step {
            Step::Root => {}
            Step::Key(key) => path.0.push(Segment::Key(key.to_owned())),
            Step::Index(index) => path.0.push(Segment::Index(index)),
        }
        path
    }

    /// `in` the path, or `at the top level`.
    pub(super) fn inside(&self) -> String {
        match self.step {
            Step::Root => "at the top level".to_owned(),
            _ => format!("in {}", self.name()),
        }
    }

    /// What messages call the place: the path, or `the top level`.
    pub(super) fn name(&self) -> String {
        match self.step {
            Step::Root => "the top level".to_owned(),
            _ => format!("`{}`", self.path()),
        }
    }
}
