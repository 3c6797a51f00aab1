//! Why a variable or a value is what it is: the winner, everything that lost, and why.
//!
//! Made from a load with `trace`; a load that failed explains its variables too, for that is when they are asked about.

mod value;
mod variable;

use super::keys::ROOT;
use super::request::{Failed, Loaded};
use super::trace::Trace;
use super::{Provenance, scalar};
use crate::diag::{Diagnostic, KeyPath, Segment, SourceMap, Span, did_you_mean};
use crate::yaml::{Node, Value};
use serde_json::{Value as Json, json};

/// The answer, as text and as data.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// For people. Ends with a line break.
    pub text: String,
    /// For tools.
    pub json: Json,
}

/// What a load left behind, whether it succeeded or not.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What was met on the way.
    pub trace: &'a Trace,
    /// The texts that spans point into.
    pub sources: &'a SourceMap,
    /// The merged document, if the load succeeded.
    pub provenance: Option<&'a Provenance>,
}

impl<'a> From<&'a Loaded> for Known<'a> {
    fn from(loaded: &'a Loaded) -> Self {
        Self { trace: &loaded.trace, sources: &loaded.sources, provenance: Some(&loaded.provenance) }
    }
}

impl<'a> From<&'a Failed> for Known<'a> {
    fn from(failed: &'a Failed) -> Self {
        Self { trace: &failed.trace, sources: &failed.sources, provenance: None }
    }
}

/// Explains a variable (`TAG`) or the value at a path (`services.web.environment.LOG`, `services.web.ports[0]`; keys with
/// dots may be quoted).
///
/// # Errors
/// If nothing is called so, with the nearest name that is there; if a path is asked for and the load failed.
pub fn explain(what: &str, known: Known<'_>) -> Result<Story, Box<Diagnostic>> {
    let sections = || ROOT.keys.iter().map(|k| k.name);
    let is_path = what.contains(['.', '[']) || sections().any(|s| s == what) || what.starts_with("x-");
    if is_path {
        let Some(provenance) = known.provenance else {
            return Err(Box::new(
                Diagnostic::error("not-explained", format!("{what:?} can't be explained, because the project doesn't load"))
                    .help("mend the faults first; variables can be explained already"),
            ));
        };
        return value::explain(what, known, provenance);
    }
    if let Some(story) = variable::explain(what, known) {
        return Ok(story);
    }
    let names = variable::names(known.trace);
    let unknown = Diagnostic::error("unknown-variable", format!("no file mentions the variable {what:?}, and no env file sets it"));
    Err(Box::new(match did_you_mean(what, names.iter().map(String::as_str).chain(sections())) {
        Some(near) => unknown.help(format!("did you mean `{near}`?")),
        None if names.is_empty() => unknown.help("the files mention no variables; a value is asked for by its path: `services.web.image`"),
        None => unknown.help(format!("the variables are: {}; a value is asked for by its path: `services.web.image`", listed(&names))),
    }))
}

/// The first few names of a list.
fn listed(names: &[String]) -> String {
    match names.get(12..) {
        Some(rest) if !rest.is_empty() => format!("{} and {} more", names[..12].join(", "), rest.len()),
        _ => names.join(", "),
    }
}

/// A place as data.
fn place(sources: &SourceMap, span: Span) -> Json {
    let at = sources.line_col(span);
    json!({ "file": sources.file(span.source).name, "line": at.line, "column": at.column })
}

/// A value on one line.
fn shown(node: &Node) -> String {
    let text = match scalar::text(node).filter(|_| node.value != Value::Null) {
        Some(text) if node.as_str().is_some() && needs_quotes(&text) => format!("{text:?}"),
        Some(text) => text,
        None => super::lower::json(node).to_string(),
    };
    clipped(&text)
}

/// What a file says at a place, on one line.
fn written(sources: &SourceMap, span: Span) -> String {
    let words: Vec<&str> = sources.text(span).split_whitespace().collect();
    clipped(&words.join(" "))
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.contains(|c: char| c.is_control()) || text.starts_with(' ') || text.ends_with(' ')
}

fn clipped(text: &str) -> String {
    if text.chars().count() <= 80 {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(79).collect();
    short.push('…');
    short
}

/// Lines of columns, each as wide as its widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).filter(|w| *w <= 50).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            line.push(' ');
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 1));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A path as users write it, found in a document: keys may hold dots, items are `[0]` or `.0`. What is left over is
/// what the document doesn't have.
fn resolve(what: &str, root: &Node) -> (KeyPath, Vec<String>) {
    let words = words(what);
    let mut path = KeyPath::root();
    let mut node = root;
    let mut rest = words.as_slice();
    while !rest.is_empty() {
        let (step, used, next) = if let Some(map) = node.as_map() {
            // The longest key that is there: `labels.traefik.enable`.
            let found = (1..=rest.len()).rev().find_map(|n| {
                let key = rest[..n].join(".");
                map.get(&key).map(|next| (Segment::Key(key), n, next))
            });
            let Some(found) = found else { break };
            found
        } else if let Some(items) = node.as_seq() {
            let Some((index, next)) = rest[0].parse::<usize>().ok().and_then(|i| items.get(i).map(|n| (i, n))) else { break };
            (Segment::Index(index), 1, next)
        } else {
            break;
        };
        path.0.push(step);
        node = next;
        rest = &rest[used..];
    }
    (path, rest.to_vec())
}

/// `a."b.c"[0].d` → a, b.c, 0, d
fn words(what: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in what.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '.' | '[') => words.push(String::new()),
            (None, ']') => {}
            (_, c) => words.last_mut().into_iter().for_each(|w| w.push(c)),
        }
    }
    words.retain(|w| !w.is_empty());
    words
}
