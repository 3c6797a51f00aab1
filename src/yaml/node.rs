//! The spanned tree: what a YAML file says, with the place of every key and value.
//!
//! Anchors and merge keys are resolved when a tree is built, so a tree is self-contained and its parts can be moved
//! into other trees (merge, extends, include) while each keeps the [`Span`] of the file it came from.

use crate::diag::Span;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The place of the value. For a value that came through an alias or a merge key: the place where it is written.
    pub span: Span,
    /// What it says about merging, from `!reset` and `!override`.
    pub tag: Option<Tag>,
    /// The value.
    pub value: Value,
    /// The variables whose values stand in this scalar, in order; empty for most.
    pub variables: Vec<String>,
    /// Nobody wrote it: the format says so where nothing is said. Its place is that of what it belongs to.
    pub implied: bool,
}

/// The two tags of the Compose format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `!reset`: the key is removed from the merged result.
    Reset,
    /// `!override`: the value replaces instead of merging.
    Override,
}

/// A YAML value with Go's (yaml.v3) typing of plain scalars.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~`, nothing.
    Null,
    /// `true`, `false` (and no other word).
    Bool(bool),
    /// An integer that fits 64 bits with sign.
    Int(i64),
    /// An integer above `i64::MAX`.
    Uint(u64),
    /// A float.
    Float(f64),
    /// An unquoted date or time; the format has no place for one, so it is kept as written to be reported.
    Time(String),
    /// A string.
    String(String),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping.
    Map(Mapping),
}

/// A mapping in the order of writing. Keys are unique.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    entries: Vec<Entry>,
    /// Hash of the key and position of each entry, where there are more than [`FEW`]: a hostile or generated file has
    /// a hundred thousand keys, of which each is looked for.
    index: Option<Box<Index>>,
}

#[derive(Clone, Debug, Default)]
struct Index(BTreeSet<(u64, usize)>);

/// So many entries are searched one by one.
const FEW: usize = 64;

/// One entry of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

impl Node {
    /// A value without tag and variables.
    pub fn new(span: Span, value: Value) -> Self {
        Self { span, tag: None, value, variables: Vec::new(), implied: false }
    }

    /// A value that goes without saying, at the place of what it belongs to.
    pub fn implied(span: Span, value: Value) -> Self {
        Self { implied: true, ..Self::new(span, value) }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// The mapping, if it is one.
    pub fn as_map(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Map(m) => Some(m),
            _ => None,
        }
    }

    /// The sequence, if it is one.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Seq(s) => Some(s),
            _ => None,
        }
    }

    /// Roughly how many bytes of memory it takes.
    pub fn weight(&self) -> usize {
        let inside: usize = match &self.value {
            Value::String(s) | Value::Time(s) => s.len(),
            Value::Seq(items) => items.iter().map(Self::weight).sum(),
            Value::Map(map) => map.iter().map(|e| e.key.len() + 48 + e.value.weight()).sum(),
            _ => 0,
        };
        inside + size_of::<Self>() + 16
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }
}

impl Value {
    /// What messages call it: `a mapping`, `a list`, `a string`, `a number`, `a boolean`, `null`, `a date`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Uint(_) | Self::Float(_) => "a number",
            Self::Time(_) => "a date",
            Self::String(_) => "a string",
            Self::Seq(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl PartialEq for Mapping {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl Mapping {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// A mapping of entries whose keys are known to differ.
    pub(super) fn from_unique(entries: Vec<Entry>) -> Self {
        let mut map = Self { entries, index: None };
        map.reindex();
        map
    }

    fn reindex(&mut self) {
        let all = || Box::new(Index(self.entries.iter().enumerate().map(|(at, e)| (hash(&e.key), at)).collect()));
        self.index = (self.entries.len() > FEW).then(all);
    }

    fn position(&self, key: &str) -> Option<usize> {
        let Some(index) = &self.index else { return self.entries.iter().position(|e| e.key == key) };
        let hash = hash(key);
        let mut alike = index.0.range((hash, 0)..=(hash, usize::MAX)).map(|(_, at)| *at);
        alike.find(|at| self.entries.get(*at).is_some_and(|e| e.key == key))
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.value)
    }

    /// The value under `key`, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let at = self.position(key)?;
        self.entries.get_mut(at).map(|e| &mut e.value)
    }

    /// The whole entry under `key`.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(self.position(key)?)
    }

    /// Sets `key`, in its old place if it was there, and returns the entry that was there.
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        match self.position(&entry.key).and_then(|at| self.entries.get_mut(at)) {
            Some(old) => Some(std::mem::replace(old, entry)),
            None => {
                self.push_new(entry);
                None
            }
        }
    }

    /// Adds an entry whose key is known to be new.
    pub fn push_new(&mut self, entry: Entry) {
        match &mut self.index {
            Some(index) => _ = index.0.insert((hash(&entry.key), self.entries.len())),
            None if self.entries.len() == FEW => {
                self.entries.push(entry);
                self.reindex();
                return;
            }
            None => {}
        }
        self.entries.push(entry);
    }

    /// Takes the entry under `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.position(key)?;
        let entry = self.entries.remove(at);
        self.reindex();
        Some(entry)
    }

    /// Whether `key` is there.
    pub fn contains(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// The entries in the order of writing.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// The entries in the order of writing, to change their values.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Entry> {
        self.entries.iter_mut()
    }

    /// Keeps the entries for which `keep` holds.
    pub fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
        self.reindex();
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl IntoIterator for Mapping {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;
    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<'a> IntoIterator for &'a Mapping {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;
    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

impl FromIterator<Entry> for Mapping {
    fn from_iter<T: IntoIterator<Item = Entry>>(iter: T) -> Self {
        let mut map = Self::new();
        for entry in iter {
            map.insert(entry);
        }
        map
    }
}
