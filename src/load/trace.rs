//! What a load met on its way: every layer of the merge, every variable and where it was set, every `${…}` and what it
//! gave. Kept only when a [`Request`](super::Request) asks for it; [`explain`](super::explain) and the traps of `check`
//! are made from it.

use super::interpolate::{self, Lookup, Operator, Part};
use super::trail::Trail;
use crate::diag::{KeyPath, SourceMap, Span};
use crate::yaml::{Node, Value};
use std::collections::BTreeMap;
use std::ops::Range;

/// How deep arguments of expressions are followed.
const MAX_DEPTH: usize = 64;

/// Everything that was met.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// What was merged, in canonical form, before paths were made absolute; a later one is laid over earlier ones.
    pub layers: Vec<Layer>,
    /// Environments that files were read with: the project's, then one for each `include`.
    pub environments: Vec<Environment>,
    /// Expressions in values, in the order of reading.
    pub mentions: Vec<Mention>,
    /// Entries that another entry of the same mapping or list hides.
    pub hidden: Vec<Hidden>,
    /// The environment of the process.
    pub shell: BTreeMap<String, String>,
    /// The working directory, which `PWD` says if nobody else does.
    pub directory: Option<String>,
    /// The name of the project.
    pub project_name: Option<String>,
    /// Where the name of the project comes from, if not from a file: `--project-name`, `COMPOSE_PROJECT_NAME`, the folder.
    pub name_from: Option<String>,
    /// Layers of the base services of the document that is being read.
    pub(super) bases: Vec<Layer>,
}

/// One part of what was merged.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Where its node goes.
    pub at: KeyPath,
    /// The node, tags of `!reset` and `!override` still on it.
    pub node: Node,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a layer comes from. Its file is that of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A document of a file of the project.
    File,
    /// A document of a file that is included here.
    Included(Span),
    /// A service that is extended here.
    Base(Span),
    /// A file of variables that a service names here.
    EnvFile(Span),
    /// A file of labels that a service names here.
    LabelFile(Span),
}

/// The variables that a set of files is read with.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The `include` that it belongs to; the project's own has none.
    pub of: Option<Span>,
    /// Number of the environment whose values go before these; the process's environment goes before the project's.
    pub outer: Option<usize>,
    /// What env files say. The first one of a name counts.
    pub settings: Vec<Setting>,
}

/// A variable of an env file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where the name stands.
    pub key_span: Span,
    /// Where the value stands.
    pub span: Span,
    /// Earlier lines of the same file with the same name, which don't count.
    pub earlier: Vec<Span>,
}

/// An entry that another one hides: of a merge key, or of a list of `KEY=VALUE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The key that counts.
    pub by: Span,
    /// The hidden key.
    pub key: Span,
    /// The hidden value.
    pub value: Span,
    /// It stands in a list, and the later one counts; else it came by a merge key, and what is nearer counts.
    pub in_list: bool,
}

/// One `${…}` in a value.
#[derive(Clone, Debug)]
pub struct Mention {
    /// The variable.
    pub name: String,
    /// The value that it stands in.
    pub path: KeyPath,
    /// The place of the expression, or of the scalar where that can't be told.
    pub span: Span,
    /// The whole scalar.
    pub scalar: Span,
    /// The expression, as written.
    pub text: String,
    /// The default, if it has one.
    pub default: Option<String>,
    /// What it gives.
    pub outcome: Outcome,
    /// Number of its environment.
    pub environment: usize,
}

/// What an expression gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The value of the variable.
    Value(String),
    /// The default, for the variable is unset or empty.
    Default(String),
    /// The alternate, for the variable is set.
    Alternate(String),
    /// Nothing: the variable is unset and there is no default, or it is unset and there is only an alternate.
    Nothing {
        /// Whether that was asked for.
        meant: bool,
    },
    /// The load fails: the variable is required.
    Required,
    /// It stands inside a default or alternate that isn't needed.
    Unread,
}

/// Where the value of a variable comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From<'t> {
    /// The environment of the process.
    Shell(&'t str),
    /// An env file.
    File(&'t Setting),
    /// It is the name of the project.
    ProjectName,
    /// It is the working directory.
    Directory,
}

impl Trace {
    /// Where the variable gets its value from in the environment of this number, if it has one.
    pub fn winner(&self, name: &str, environment: usize) -> Option<From<'_>> {
        let here = self.environments.get(environment)?;
        let outer = match here.outer {
            // Numbers of outer environments are smaller: this ends.
            Some(outer) if outer < environment => self.winner(name, outer),
            Some(_) => None,
            None if name == "COMPOSE_PROJECT_NAME" => Some(From::ProjectName),
            None => self.shell.get(name).map(|v| From::Shell(v)),
        };
        let own = || here.settings.iter().find(|s| s.name == name).map(From::File);
        let directory = || (name == "PWD" && here.outer.is_none()).then_some(From::Directory);
        outer.or_else(own).or_else(directory)
    }

    /// The variables that `node` mentions and what they give; to be called before it is interpolated.
    pub(super) fn mention(&mut self, node: &Node, at: &Trail<'_>, sources: &SourceMap, lookup: Lookup<'_>, environment: usize) {
        match &node.value {
            Value::Seq(items) => items.iter().enumerate().for_each(|(i, n)| self.mention(n, &at.index(i), sources, lookup, environment)),
            Value::Map(map) => map.iter().for_each(|e| self.mention(&e.value, &at.key(&e.key), sources, lookup, environment)),
            Value::String(text) if text.contains('$') => {
                let scalar = Scalar { text, span: node.span, sources, lookup, path: at.path(), environment };
                scalar.read(0..text.len(), 0, true, &mut self.mentions);
            }
            _ => {}
        }
    }

    /// Puts the layers of base services below what was met since `start`.
    pub(super) fn settle_bases(&mut self, start: usize) {
        let bases = std::mem::take(&mut self.bases);
        self.layers.splice(start..start, bases);
    }
}

/// A scalar with expressions.
struct Scalar<'a> {
    text: &'a str,
    span: Span,
    sources: &'a SourceMap,
    lookup: Lookup<'a>,
    path: KeyPath,
    environment: usize,
}

impl Scalar<'_> {
    /// Reads the expressions in these bytes; `live` tells whether their values are needed.
    fn read(&self, range: Range<usize>, depth: usize, live: bool, found: &mut Vec<Mention>) {
        let Some(part) = self.text.get(range.clone()) else { return };
        let mut at = 0;
        while at < part.len() && depth < MAX_DEPTH {
            let (piece, next) = interpolate::next_part(part, at);
            at = next;
            let Part::Expression { name, operator, range: inner } = piece else { continue };
            let place = range.start + inner.start..range.start + inner.end;
            let argument = operator.as_ref().map(|(op, a)| (*op, range.start + a.start..range.start + a.end));
            let value = (self.lookup)(name);
            let counts = |op: Operator| value.as_ref().is_some_and(|v| !(op.or_empty && v.is_empty()));
            let (outcome, needed) = match &argument {
                None => (value.clone().map_or(Outcome::Nothing { meant: false }, Outcome::Value), false),
                Some((op @ Operator { sign: b'+', .. }, a)) if counts(*op) => (Outcome::Alternate(self.result(a.clone())), true),
                Some((Operator { sign: b'+', .. }, _)) => (Outcome::Nothing { meant: true }, false),
                Some((op, _)) if counts(*op) => (Outcome::Value(value.clone().unwrap_or_default()), false),
                Some((Operator { sign: b'-', .. }, a)) => (Outcome::Default(self.result(a.clone())), true),
                Some((_, _)) => (Outcome::Required, true),
            };
            let default = argument.as_ref().filter(|(op, _)| op.sign == b'-').and_then(|(_, a)| self.text.get(a.clone())).map(str::to_owned);
            let written = self.sources.text(self.span);
            found.push(Mention {
                name: name.to_owned(),
                path: self.path.clone(),
                span: interpolate::locate(written, self.text, place.clone()).map_or(self.span, |r| self.span.part(r.start, r.end)),
                scalar: self.span,
                text: self.text.get(place).unwrap_or_default().to_owned(),
                default,
                outcome: if live { outcome } else { Outcome::Unread },
                environment: self.environment,
            });
            if let Some((_, a)) = argument {
                self.read(a, depth + 1, live && needed, found);
            }
        }
    }

    fn result(&self, range: Range<usize>) -> String {
        let text = self.text.get(range).unwrap_or_default();
        interpolate::interpolate_str(text, self.lookup).map(|r| r.text).unwrap_or_default()
    }
}
