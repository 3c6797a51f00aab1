//! Parser events → [`Node`] trees: aliases, merge keys, tags, duplicate keys.

use super::scalar;
use super::{Entry, Mapping, Node, Tag, Value};
use crate::diag::{Diagnostic, SourceId, Span, did_you_mean};
use base64::Engine as _;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Collections inside collections, aliases counted as what they stand for. Later passes walk trees by recursion.
pub const MAX_DEPTH: usize = 255;
/// What aliases may add to the tree, in bytes of memory: some 200,000 small values.
const MAX_EXPANSION: usize = 32 << 20;

/// What the values of one text may take, in bytes of memory: some 200,000 of them.
const MAX_SIZE: usize = 24 << 20;

/// How many hidden entries of one text are remembered.
const MAX_HIDDEN: usize = 10_000;

/// How many findings of one text are kept.
pub(super) const MAX_FINDINGS: usize = 200;

/// A scalar as the parser found it.
pub(super) struct Scalar<'t> {
    pub text: Cow<'t, str>,
    pub plain: bool,
}

/// What can stand before a node.
pub(super) struct Properties {
    /// Number of the anchor, 0 for none.
    pub anchor: usize,
    pub tag: Option<WrittenTag>,
}

/// A tag with its place.
pub(super) struct WrittenTag {
    /// `!reset`; `tag:yaml.org,2002:str` is shortened to `!!str`.
    pub name: String,
    pub range: Range<usize>,
}

/// Collects the events of one text.
pub(super) struct Builder {
    source: SourceId,
    /// Where each document begins, also those that are abandoned later.
    pub starts: Vec<usize>,
    /// Each with its number in `starts`.
    pub documents: Vec<(usize, Node)>,
    pub diagnostics: Vec<Diagnostic>,
    /// As in [`Parsed`](super::Parsed).
    pub hidden: Vec<(Span, Span, Span)>,
    /// How many findings were not kept.
    pub left_out: usize,
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: BTreeMap<usize, Anchor>,
    /// The newest anchor of each name. Unlike YAML says, anchors live on in later documents, as in the reference.
    names: BTreeMap<String, usize>,
    /// What may be the name of an alias somewhere in the text.
    mentioned: BTreeSet<String>,
    /// Anchors that no alias names; their values are not kept.
    idle: BTreeSet<usize>,
    expanded: usize,
    /// Bytes of memory that the values take, without those of aliases.
    grown: usize,
    /// Set when going on would cost too much.
    pub halted: bool,
    /// The last scalar, alias or closing bracket.
    pub last: Range<usize>,
}

struct Anchor {
    node: Node,
    cost: usize,
    depth: usize,
}

/// A collection that is still open.
struct Frame {
    start: usize,
    in_brackets: bool,
    properties: Properties,
    content: Content,
    /// The finding that says that this is the outer pair of `{{ }}`.
    template: Option<usize>,
}

enum Content {
    Seq(Vec<Node>),
    Map { entries: Vec<Entry>, merges: Vec<(Span, Node)>, key: Option<Key> },
}

enum Key {
    Plain(String, Span),
    /// `<<`
    Merge(Span),
    /// Reported already; its value is dropped.
    Unusable,
}

impl Builder {
    pub(super) fn new(source: SourceId, text: &str) -> Self {
        let names = text.split('*').skip(1).filter_map(|s| s.split([' ', '\t', '\r', '\n', ',', '[', ']', '{', '}']).next());
        let mentioned =
            if text.contains('&') { names.flat_map(|n| [n, n.trim_end_matches(':')]).map(String::from).collect() } else { BTreeSet::new() };
        Self {
            source,
            documents: Vec::new(),
            starts: Vec::new(),
            diagnostics: Vec::new(),
            hidden: Vec::new(),
            left_out: 0,
            stack: Vec::new(),
            root: None,
            anchors: BTreeMap::new(),
            names: BTreeMap::new(),
            mentioned,
            idle: BTreeSet::new(),
            expanded: 0,
            grown: 0,
            halted: false,
            last: 0..0,
        }
    }

    fn span(&self, range: &Range<usize>) -> Span {
        Span::new(self.source, range.start, range.end)
    }

    /// Remembers the place of the last token.
    fn reach(&mut self, range: &Range<usize>) {
        if !range.is_empty() && range.end >= self.last.end {
            self.last = range.clone();
        }
    }

    /// Where the innermost open collection begins.
    pub(super) fn innermost(&self) -> Option<usize> {
        self.stack.last().map(|f| f.start)
    }

    /// Whether a bracket is open.
    pub(super) fn in_brackets(&self) -> bool {
        self.stack.iter().any(|f| f.in_brackets)
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < MAX_FINDINGS {
            self.diagnostics.push(diagnostic);
        } else {
            self.left_out += 1;
        }
    }

    fn halt(&mut self, diagnostic: Diagnostic) {
        self.report(diagnostic);
        self.halted = true;
    }

    /// Counts a value that is about to be read.
    fn grow(&mut self, length: usize, span: Span) {
        self.grown += length + size_of::<Entry>();
        if self.grown > MAX_SIZE && !self.halted {
            let what = format!("this file holds more than {} MB of values", MAX_SIZE >> 20);
            self.halt(Diagnostic::error("size-limit", what).at(span).help("generate less, or divide it into several projects"));
        }
    }

    /// Whether the next node is the key of a mapping.
    fn at_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { content: Content::Map { key: None, .. }, .. }))
    }

    pub(super) fn scalar(&mut self, scalar: Scalar<'_>, properties: &Properties, range: Range<usize>) {
        let mut span = self.span(&range);
        let implicit = scalar.plain && range.is_empty();
        self.reach(&range);
        let is_key = self.at_key();
        if !is_key {
            self.grow(scalar.text.len(), span);
        }
        let tag = properties.tag.as_ref();
        if is_key && scalar.plain && &*scalar.text == "<<" && tag.is_none_or(|t| t.name == "!!merge") {
            self.set_key(Key::Merge(span));
            return;
        }
        // A missing value is shown at its key.
        if implicit && let Some(Frame { content: Content::Map { key: Some(Key::Plain(_, key)), .. }, .. }) = self.stack.last() {
            span = *key;
        }
        let written = is_key.then(|| if implicit { Cow::default() } else { scalar.text.clone() });
        let value = if implicit && tag.is_none() { Value::Null } else { self.typed(scalar, tag, span) };
        let node = Node { tag: merge_tag(tag), ..Node::new(span, value) };
        self.define(properties.anchor, &node);
        if is_key {
            let key = self.key_of(node.value, written, span);
            self.set_key(key);
        } else {
            self.place(node);
        }
    }

    pub(super) fn open(&mut self, is_mapping: bool, in_brackets: bool, properties: Properties, start: usize) {
        let span = Span::new(self.source, start, start + 1);
        if self.stack.len() >= MAX_DEPTH {
            self.halt(too_deep(span));
            return;
        }
        self.grow(0, span);
        if let Some(tag) = &properties.tag
            && merge_tag(Some(tag)).is_none()
        {
            match (tag.name.as_str(), is_mapping) {
                ("!" | "!!map" | "!!set" | "!!omap", true) | ("!" | "!!seq" | "!!omap" | "!!pairs", false) => {}
                (name, _) if name.starts_with("!!") => {
                    let found = if is_mapping { "a mapping" } else { "a list" };
                    let what = format!("the tag `{name}` doesn't fit {found}");
                    self.report(Diagnostic::error("invalid-tag", what).at(self.span(&tag.range)).help("remove the tag"));
                }
                _ => self.unknown_tag(tag),
            }
        }
        let content = if is_mapping { Content::Map { entries: Vec::new(), merges: Vec::new(), key: None } } else { Content::Seq(Vec::new()) };
        self.stack.push(Frame { start, in_brackets, properties, content, template: None });
    }

    /// Ends the innermost collection. `range` is that of the closing bracket, or empty where there is none.
    pub(super) fn close(&mut self, range: &Range<usize>) {
        let Some(frame) = self.stack.pop() else { return };
        self.reach(range);
        let span = Span::new(self.source, frame.start, self.last.end.max(frame.start));
        if let Some(finding) = frame.template.and_then(|index| self.diagnostics.get_mut(index)) {
            finding.span = Some(span);
        }
        let value = match frame.content {
            Content::Seq(mut items) => {
                items.shrink_to_fit();
                Value::Seq(items)
            }
            Content::Map { entries, merges, .. } => Value::Map(self.mapping(entries, merges)),
        };
        let node = Node { tag: merge_tag(frame.properties.tag.as_ref()), ..Node::new(span, value) };
        self.define(frame.properties.anchor, &node);
        if self.at_key() {
            let key = self.key_of(node.value, None, span);
            self.set_key(key);
        } else {
            self.place(node);
        }
    }

    /// Names the anchor `id`.
    pub(super) fn anchor(&mut self, id: usize, name: &str) {
        self.names.insert(name.to_owned(), id);
        if !self.mentioned.contains(name) {
            self.idle.insert(id);
        }
    }

    pub(super) fn alias(&mut self, id: usize, range: &Range<usize>) {
        self.reach(range);
        let span = self.span(range);
        let Some(anchor) = self.anchors.get(&id) else {
            self.report(
                Diagnostic::error("recursive-alias", "this alias stands inside the value that it repeats")
                    .at(span)
                    .help("let the alias name a value that ends before it"),
            );
            self.place_failed(span);
            return;
        };
        let (cost, depth) = (anchor.cost, anchor.depth);
        if self.expanded + cost > MAX_EXPANSION {
            let what = format!("aliases make this file larger than {} MB", MAX_EXPANSION >> 20);
            self.halt(Diagnostic::error("alias-limit", what).at(span).help("repeat less with aliases; nested ones multiply"));
        } else if self.stack.len() + depth > MAX_DEPTH {
            self.halt(too_deep(span));
        } else {
            let node = anchor.node.clone();
            self.expanded += cost;
            self.place_alias(node, span);
        }
    }

    /// An alias whose name has no anchor before it in its document.
    pub(super) fn alias_by_name(&mut self, name: &str, range: &Range<usize>) {
        if let Some(id) = self.names.get(name) {
            return self.alias(*id, range);
        }
        self.reach(range);
        let span = self.span(range);
        let found = did_you_mean(name, self.names.keys().map(String::as_str));
        let glued = name.strip_suffix(':').and_then(|name| Some((name, self.anchors.get(self.names.get(name)?)?)));
        let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        let missing = format!("no anchor `&{name}` stands before this alias");
        let (what, help) = match (glued, found) {
            (Some((name, anchor)), _) => {
                let what = format!("`*{name}:` is read as an alias with a colon in its name");
                let help = match anchor.node.value {
                    Value::Map(_) => format!("write `<<: *{name}` to take over the keys of `&{name}`"),
                    _ => format!("put a blank before the colon: `*{name} :`"),
                };
                (what, help)
            }
            (None, Some(near)) => (missing, format!("did you mean `*{near}`?")),
            (None, None) if word => (missing, format!("define `&{name}` at an earlier value; if it is meant as text, quote it: \"*{name}\"")),
            (None, None) => {
                (format!("`*{name}` is read as an alias, and there is no anchor `&{name}`"), format!("if it is meant as text, quote it: \"*{name}\""))
            }
        };
        self.report(Diagnostic::error("unknown-anchor", what).at(span).help(help));
        self.place_failed(span);
    }

    pub(super) fn document_start(&mut self, at: usize) {
        self.starts.push(at);
    }

    pub(super) fn document_end(&mut self) {
        if let Some(root) = self.root.take() {
            self.documents.push((self.starts.len().saturating_sub(1), root));
        }
    }

    /// Forgets the open document after an error of syntax.
    pub(super) fn abandon(&mut self) {
        self.stack.clear();
        self.root = None;
    }

    /// Puts null where an alias that has been reported stands.
    fn place_failed(&mut self, span: Span) {
        if self.at_key() {
            self.set_key(Key::Unusable);
        } else {
            self.place(Node::new(span, Value::Null));
        }
    }

    fn place_alias(&mut self, node: Node, span: Span) {
        if self.at_key() {
            let key = self.key_of(node.value, None, span);
            self.set_key(key);
        } else {
            self.place(node);
        }
    }

    fn set_key(&mut self, found: Key) {
        if let Some(Frame { content: Content::Map { key, .. }, .. }) = self.stack.last_mut() {
            *key = Some(found);
        }
    }

    fn place(&mut self, node: Node) {
        match self.stack.last_mut().map(|f| &mut f.content) {
            None => self.root = Some(node),
            Some(Content::Seq(items)) => items.push(node),
            Some(Content::Map { entries, merges, key }) => match key.take() {
                Some(Key::Plain(key, key_span)) => entries.push(Entry { key, key_span, value: node }),
                Some(Key::Merge(span)) => merges.push((span, node)),
                Some(Key::Unusable) | None => {}
            },
        }
    }

    /// Keeps the value of an anchor for its aliases.
    fn define(&mut self, id: usize, node: &Node) {
        if id == 0 || self.idle.contains(&id) {
            return;
        }
        let (cost, depth) = measure(node);
        // The copy counts too: anchors inside anchors would multiply a text.
        self.expanded += cost;
        if self.expanded > MAX_EXPANSION {
            let what = format!("anchors make this file larger than {} MB", MAX_EXPANSION >> 20);
            self.halt(Diagnostic::error("alias-limit", what).at(node.span).help("put anchors on smaller values"));
            return;
        }
        self.anchors.insert(id, Anchor { node: node.clone(), cost, depth });
    }

    fn key_of(&mut self, value: Value, written: Option<Cow<'_, str>>, span: Span) -> Key {
        let kind = value.kind();
        let text = match value {
            Value::String(text) => return Key::Plain(text, span),
            Value::Map(_) if self.stack.last().is_some_and(|frame| frame.in_brackets && frame.start + 1 == span.start as usize) => {
                // `{{ name }}`: shown with both pairs of braces, when the outer one ends.
                let help = "put the value in quotes if the braces are meant; if this is a template, render it first";
                self.report(Diagnostic::error("non-string-key", "`{{ }}` is read as a mapping in a mapping").at(span).help(help));
                let index = self.diagnostics.len() - 1;
                if let Some(frame) = self.stack.last_mut() {
                    frame.template = Some(index);
                }
                return Key::Unusable;
            }
            Value::Seq(_) | Value::Map(_) => {
                self.report(Diagnostic::error("non-string-key", format!("{kind} can't be a key")).at(span).help("put quotes around the key"));
                return Key::Unusable;
            }
            value => written.map_or_else(|| plain_text(&value), Cow::into_owned),
        };
        let (what, help) = if text.is_empty() {
            ("a key is missing before the colon".to_owned(), "write the key, or `\"\"` for an empty one".to_owned())
        } else {
            (format!("the key `{text}` is read as {kind}, and keys are strings"), format!("put it in quotes: `\"{text}\":`"))
        };
        self.report(Diagnostic::error("non-string-key", what).at(span).help(help));
        Key::Plain(text, span)
    }

    /// Reports what stands twice (the first counts) and puts merged entries after the mapping's own.
    fn mapping(&mut self, mut entries: Vec<Entry>, merges: Vec<(Span, Node)>) -> Mapping {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_unstable_by(|a, b| entries[*a].key.cmp(&entries[*b].key).then(a.cmp(b)));
        let mut twice = BTreeSet::new();
        for run in order.chunk_by(|a, b| entries[*a].key == entries[*b].key) {
            for again in &run[1..] {
                let Entry { key, key_span, .. } = &entries[*again];
                twice.insert(*again);
                if *again != run[1] {
                    continue;
                }
                let times = if run.len() == 2 { "twice".to_owned() } else { format!("{} times", run.len()) };
                let mut fault = Diagnostic::error("duplicate-key", format!("the key `{key}` stands {times} in this mapping"))
                    .at(*key_span)
                    .related(entries[run[0]].key_span, "first here")
                    .help("keep one of them, or join their values under one");
                fault.related.extend(run[2..].iter().take(10).map(|more| (entries[*more].key_span, "and here".to_owned())));
                self.report(fault);
            }
        }
        if !twice.is_empty() {
            let mut index = 0..;
            entries.retain(|_| index.next().is_none_or(|i| !twice.contains(&i)));
        }
        if let [(first, _), (second, _), ..] = &merges[..] {
            self.report(
                Diagnostic::error("duplicate-key", "the merge key `<<` stands twice in this mapping")
                    .at(*second)
                    .related(*first, "first here")
                    .help("write one `<<` with a list: `<<: [*a, *b]`"),
            );
        }
        for (key_span, node) in merges {
            match node.value {
                Value::Map(map) => absorb(&mut entries, map, &mut self.hidden),
                Value::Seq(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => {
                    for item in items {
                        if let Value::Map(map) = item.value {
                            absorb(&mut entries, map, &mut self.hidden);
                        }
                    }
                }
                Value::Seq(items) => {
                    let odd = items.iter().find(|item| !matches!(item.value, Value::Map(_)));
                    let (span, kind) = odd.map_or((key_span, "a list"), |item| (item.span, item.value.kind()));
                    self.report(
                        Diagnostic::error("merge-key", format!("the merge key `<<` takes mappings, not {kind}"))
                            .at(span)
                            .help("name mappings by alias: `<<: [*a, *b]`"),
                    );
                }
                Value::String(name) if self.names.contains_key(&name) => self.report(
                    Diagnostic::error("merge-key", "the merge key `<<` takes a mapping, not a string")
                        .at(node.span)
                        .help(format!("write `<<: *{name}`")),
                ),
                // An alias that failed has been reported.
                Value::Null if self.diagnostics.last().is_some_and(|d| d.span == Some(node.span)) => {}
                other => self.report(
                    Diagnostic::error("merge-key", format!("the merge key `<<` takes a mapping, not {}", other.kind()))
                        .at(key_span)
                        .help("name mappings by alias: `<<: *name`; for a plain key put `\"<<\"` in quotes"),
                ),
            }
        }
        // Most mappings are small, and a growing vector begins with room for four.
        entries.shrink_to_fit();
        Mapping::from_unique(entries)
    }

    fn typed(&mut self, scalar: Scalar<'_>, tag: Option<&WrittenTag>, span: Span) -> Value {
        let implicit = |scalar: Scalar<'_>| if scalar.plain { scalar::resolve(&scalar.text) } else { Value::String(scalar.text.into_owned()) };
        let Some(tag) = tag else { return implicit(scalar) };
        let text = &*scalar.text;
        let fits = match (tag.name.as_str(), scalar::resolve(text)) {
            ("!", _) => return implicit(scalar),
            // To the reference such a scalar is a string, whatever it looks like.
            ("!reset", Value::Null) => return Value::Null,
            ("!override", Value::Null) if scalar.plain && !text.is_empty() => {
                self.report(
                    Diagnostic::warning("override-null", format!("`!override {text}` is the text {text:?}"))
                        .at(span)
                        .help("to remove what an earlier file says, write `!reset null`; for the text itself, put it in quotes"),
                );
                return Value::String(scalar.text.into_owned());
            }
            ("!reset" | "!override", _) => return Value::String(scalar.text.into_owned()),
            ("!!str", _) => return Value::String(scalar.text.into_owned()),
            ("!!binary", _) => {
                let packed: String = text.split_ascii_whitespace().collect();
                base64::engine::general_purpose::STANDARD.decode(packed).ok().and_then(|b| String::from_utf8(b).ok()).map(Value::String)
            }
            ("!!float", Value::Int(n)) => Some(Value::Float(n as f64)),
            ("!!float", Value::Uint(n)) => Some(Value::Float(n as f64)),
            ("!!null", value @ Value::Null)
            | ("!!bool", value @ Value::Bool(_))
            | ("!!int", value @ (Value::Int(_) | Value::Uint(_)))
            | ("!!float", value @ Value::Float(_))
            | ("!!timestamp", value @ Value::Time(_)) => Some(value),
            (name, _) if name.starts_with("!!") => None,
            _ => {
                self.unknown_tag(tag);
                return Value::String(scalar.text.into_owned());
            }
        };
        fits.unwrap_or_else(|| {
            let what = format!("`{text}` can't be read as `{}`", tag.name);
            self.report(Diagnostic::error("invalid-tag", what).at(span).help("remove the tag or mend the value"));
            Value::String(text.to_owned())
        })
    }

    fn unknown_tag(&mut self, tag: &WrittenTag) {
        let help = match did_you_mean(&tag.name, ["!reset", "!override"]) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it; the format knows `!reset` and `!override`, YAML `!!str` and the like".to_owned(),
        };
        let what = format!("the tag `{}` has no meaning here and is ignored", tag.name);
        self.report(Diagnostic::warning("unknown-tag", what).at(self.span(&tag.range)).help(help));
    }
}

fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::error("nesting-limit", format!("nested deeper than {MAX_DEPTH} levels")).at(span).help("write it flatter")
}

fn merge_tag(tag: Option<&WrittenTag>) -> Option<Tag> {
    match tag?.name.as_str() {
        "!reset" => Some(Tag::Reset),
        "!override" => Some(Tag::Override),
        _ => None,
    }
}

/// Adds the entries of `from` whose keys are new; the others are told to `hidden`.
fn absorb(entries: &mut Vec<Entry>, from: Mapping, hidden: &mut Vec<(Span, Span, Span)>) {
    let known: BTreeMap<&str, Span> = entries.iter().map(|e| (e.key.as_str(), e.key_span)).collect();
    let mut fresh: Vec<Entry> = Vec::new();
    for entry in from {
        match known.get(entry.key.as_str()) {
            Some(_) if hidden.len() >= MAX_HIDDEN => {}
            Some(by) => hidden.push((*by, entry.key_span, entry.value.span)),
            None => fresh.push(entry),
        }
    }
    entries.extend(fresh);
}

/// Bytes of memory and levels of nesting of a tree.
fn measure(node: &Node) -> (usize, usize) {
    let inside = |(cost, depth): (usize, usize), (c, d): (usize, usize)| (cost + c, depth.max(d));
    let (cost, depth) = match &node.value {
        Value::String(s) | Value::Time(s) => (s.len(), 0),
        Value::Seq(items) => items.iter().map(measure).fold((0, 1), |all, (c, d)| inside(all, (c, d + 1))),
        Value::Map(map) => map.iter().map(|e| (e, measure(&e.value))).fold((0, 1), |all, (e, (c, d))| inside(all, (c + e.key.len() + 48, d + 1))),
        _ => (0, 0),
    };
    (cost + size_of::<Node>() + 16, depth)
}

/// A scalar that isn't a string as text, for a message.
fn plain_text(value: &Value) -> String {
    match value {
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Float(f) => f.to_string(),
        Value::Time(s) | Value::String(s) => s.clone(),
        Value::Null | Value::Seq(_) | Value::Map(_) => String::new(),
    }
}
