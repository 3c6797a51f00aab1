//! The canonical YAML with a comment behind each value: where it was written, and which variables stand in it.

use super::Loaded;
use super::render::{self, Format};
use super::trace::{From, Mention, Outcome};
use super::trail::Trail;
use crate::diag::{KeyPath, SourceId, SourceMap, Span};
use crate::yaml::{self, Node, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Lines longer than this have their comment right behind them.
const COLUMN: usize = 64;

/// What `config` prints, with comments: `# compose.yaml:12`, `# compose.yaml:12, TAG from .env:3`, `# default`. Read
/// as YAML it is the same. Needs a load with `trace`.
pub fn config(loaded: &Loaded) -> String {
    let text = render::config(loaded, Format::Yaml);
    let mut map = SourceMap::new();
    let id = map.add("", text.as_str());
    let parsed = yaml::parse(id, &text);
    let Some(root) = parsed.documents.first() else { return text };
    let mut notes = Notes { loaded, map, id, lines: BTreeMap::new(), mentions: Mentions::new(&loaded.trace.mentions) };
    notes.value(root, root.span, &Trail::ROOT, 0);
    let lines = notes.lines;
    let noted = |number: usize| lines.get(&number).filter(|n| !n.is_empty());
    let widths = text.lines().enumerate().filter(|(i, _)| noted(i + 1).is_some()).map(|(_, line)| line.chars().count());
    let column = widths.filter(|w| *w <= COLUMN).max().unwrap_or(0);
    let mut result = String::with_capacity(text.len() * 2);
    for (i, line) in text.lines().enumerate() {
        result.push_str(line);
        if let Some(note) = noted(i + 1) {
            let blanks = column.saturating_sub(line.chars().count()) + 2;
            result.extend(std::iter::repeat_n(' ', blanks));
            result.push_str("# ");
            result.extend(note.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }));
        }
        result.push('\n');
    }
    result
}

/// `file:line`.
pub(super) fn line(sources: &SourceMap, span: Span) -> String {
    format!("{}:{}", sources.file(span.source).name, sources.line_col(span).line)
}

struct Notes<'a> {
    loaded: &'a Loaded,
    map: SourceMap,
    id: SourceId,
    lines: BTreeMap<usize, String>,
    mentions: Mentions<'a>,
}

impl Notes<'_> {
    /// `key`: where the line of the value begins.
    fn value(&mut self, node: &Node, key: Span, at: &Trail<'_>, depth: usize) {
        match &node.value {
            Value::Map(map) if !map.is_empty() => {
                if depth == 2 {
                    self.note(key, &at.path(), true);
                }
                map.iter().for_each(|e| self.value(&e.value, e.key_span, &at.key(&e.key), depth + 1));
            }
            Value::Seq(items) if !items.is_empty() => {
                for (i, item) in items.iter().enumerate() {
                    let start = if item.as_str().is_some_and(|s| s.contains('\n')) { self.header(item.span) } else { item.span };
                    self.value(item, start, &at.index(i), depth + 1);
                }
            }
            _ => self.note(key, &at.path(), false),
        }
    }

    /// Where the line of `- |` is above the block at `span`; `span` for a text in quotes.
    fn header(&self, span: Span) -> Span {
        let text = &self.map.file(self.id).text;
        let start = (span.start as usize).min(text.len());
        if text[start..].starts_with('"') {
            return span;
        }
        let above = text[..start].trim_end();
        Span { start: above.len() as u32, end: above.len() as u32, ..span }
    }

    fn note(&mut self, key: Span, path: &KeyPath, heading: bool) {
        let mut at = self.map.line_col(Span { source: self.id, ..key }).line;
        // A long key has its value on a line of its own.
        if self.map.file(self.id).text[..key.start as usize].ends_with("? ") {
            at += 1;
        }
        let note = if heading { self.places(path) } else { self.origin(path) };
        self.lines.entry(at).or_insert(note);
    }

    /// All places where something with a name is described.
    fn places(&self, path: &KeyPath) -> String {
        let loaded = self.loaded;
        let mut found: Vec<String> = Vec::new();
        for layer in &loaded.trace.layers {
            let rest = path.0.strip_prefix(layer.at.0.as_slice());
            let key = match rest {
                Some([]) => layer.node.span,
                Some([section, name]) => {
                    let entry = section_entry(&layer.node, section, name);
                    let Some(entry) = entry else { continue };
                    entry
                }
                _ => continue,
            };
            let place = line(&loaded.sources, key);
            if !found.contains(&place) {
                found.push(place);
            }
        }
        if found.is_empty() { "default".to_owned() } else { found.join(", ") }
    }

    /// Where a value comes from.
    fn origin(&self, path: &KeyPath) -> String {
        let Loaded { sources, trace, provenance, .. } = self.loaded;
        if path.0.len() == 1 && path.last_key() == Some("name") {
            match trace.name_from.as_deref() {
                Some(from) => return format!("from {}", from.replace('`', "")),
                None if provenance.find(path).is_none_or(|n| n.implied) => return "from the folder".to_owned(),
                None => {}
            }
        }
        let Some(node) = provenance.find(path).filter(|n| !n.implied) else { return "default".to_owned() };
        let mut text = line(sources, node.span);
        // Expressions that are left as they are take nothing from anywhere.
        if !self.loaded.uninterpolated {
            for (name, from) in variables(self.loaded, &self.mentions, node) {
                text.push_str(&format!(", {name} {from}"));
            }
        }
        text
    }
}

fn section_entry(node: &Node, section: &crate::diag::Segment, name: &crate::diag::Segment) -> Option<Span> {
    let (crate::diag::Segment::Key(section), crate::diag::Segment::Key(name)) = (section, name) else { return None };
    node.get(section)?.as_map()?.entry(name).map(|e| e.key_span)
}

/// Expressions by the scalar that they stand in.
#[derive(Debug)]
pub(super) struct Mentions<'a>(BTreeMap<Span, Vec<&'a Mention>>);

impl<'a> Mentions<'a> {
    pub(super) fn new(all: &'a [Mention]) -> Self {
        let mut map: BTreeMap<Span, Vec<&Mention>> = BTreeMap::new();
        all.iter().for_each(|m| map.entry(m.scalar).or_default().push(m));
        Self(map)
    }

    /// Those that have to do with the value of `node`, which may be a part of the scalar.
    pub(super) fn of(&self, node: &Node) -> Vec<&'a Mention> {
        let text = super::scalar::text(node).unwrap_or_default();
        // Scalars don't overlap, so it can only be the last one that begins no later.
        let end = Span { start: node.span.start, end: u32::MAX, ..node.span };
        let Some((scalar, found)) = self.0.range(..=end).next_back() else { return Vec::new() };
        if scalar.source != node.span.source || scalar.end < node.span.end {
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        let counts = |m: &&&Mention| match &m.outcome {
            Outcome::Value(_) => node.variables.contains(&m.name),
            // Of a short form each part has its own text.
            Outcome::Default(default) | Outcome::Alternate(default) => m.scalar == node.span && text.contains(default.as_str()),
            Outcome::Nothing { meant } => !meant && m.scalar == node.span,
            Outcome::Required | Outcome::Unread => false,
        };
        found.iter().filter(counts).filter(|m| seen.insert((&m.name, m.span))).copied().collect()
    }
}

/// The variables of a value and where theirs come from: `from .env:3`, `from the shell`, `default`, `unset`.
fn variables(loaded: &Loaded, mentions: &Mentions<'_>, node: &Node) -> Vec<(String, String)> {
    let Loaded { sources, trace, .. } = loaded;
    let from = |name: &str, environment: usize| match trace.winner(name, environment) {
        Some(From::Shell(_)) => "from the shell".to_owned(),
        Some(From::File(setting)) => format!("from {}", line(sources, setting.span)),
        Some(From::ProjectName) => "is the name of the project".to_owned(),
        Some(From::Directory) => "is the working directory".to_owned(),
        None => "unset".to_owned(),
    };
    let mut found: Vec<(String, String)> = Vec::new();
    for mention in mentions.of(node) {
        let text = match &mention.outcome {
            Outcome::Default(_) => "default".to_owned(),
            _ => from(&mention.name, mention.environment),
        };
        let item = (mention.name.clone(), text);
        if !found.contains(&item) {
            found.push(item);
        }
    }
    // A variable that is named without a value takes that of the environment.
    for name in &node.variables {
        if !found.iter().any(|(n, _)| n == name) {
            let environment = (0..trace.environments.len()).find(|e| trace.winner(name, *e).is_some()).unwrap_or(0);
            found.push((name.clone(), from(name, environment)));
        }
    }
    found
}
