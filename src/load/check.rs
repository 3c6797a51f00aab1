//! A document against the key table: unknown keys, wrong kinds, values that don't say what they must.
//!
//! Runs on what is written, before short forms become long ones, so every fault is told in the user's own terms. Keys
//! that must be there are looked for later, when files are merged: see [`required`].

use super::cure::{cure, describe, joined};
use super::keys::{Format, Kinds, List, MapOf, Merge, Names, Object, Others, ROOT, SERVICE, Scalar, Shape};
use super::mistakes;
use super::scalar;
use super::trail::Trail;
use super::unknown::Unknown;
use crate::diag::{Diagnostic, Segment, Severity, SourceMap, Span, did_you_mean};
use crate::yaml::{Entry, Mapping, Node, Tag, Value};

/// Findings behind which no more is looked for, if there is an error there.
const ENOUGH: usize = 2000;

/// Where findings go, and how strict to be.
pub(super) struct Checker<'a> {
    pub sources: &'a SourceMap,
    pub diagnostics: &'a mut Vec<Diagnostic>,
    /// Expressions are still in the text, so scalars with a `$` say anything.
    pub uninterpolated: bool,
    /// Scalars that may say anything.
    pub unknown: &'a Unknown,
    /// Faults of keys without value. They count if no other file or service gives one.
    pub empty: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    /// Checks the value at `at`. Lists that are freed of duplicates anyway may have some (`deduplicated`).
    pub(super) fn value(&mut self, node: &Node, shape: &Shape, at: &Trail<'_>, deduplicated: bool) {
        if node.tag == Some(Tag::Reset) || self.unknown.is(node) || self.is_enough() {
            return;
        }
        match shape {
            Shape::Either(shapes) => match shapes.iter().find(|s| takes(s, node)) {
                Some(shape) => self.value(node, shape, at, deduplicated),
                None => self.wrong_kind(node, shape, at),
            },
            _ if !takes(shape, node) => self.wrong_kind(node, shape, at),
            Shape::Any | Shape::Null => {}
            Shape::Scalar(scalar) => self.scalar(node, scalar, at),
            Shape::List(list) => self.list(node.as_seq().unwrap_or_default(), list, at, deduplicated),
            Shape::Object(object) => node.as_map().into_iter().for_each(|map| self.object(map, object, at)),
            Shape::Map(of) => node.as_map().into_iter().for_each(|map| self.map(map, of, at)),
        }
    }

    /// So much is wrong that no more of it is looked for; nobody would see it.
    fn is_enough(&self) -> bool {
        self.diagnostics.get(ENOUGH).is_some_and(Diagnostic::is_error)
    }

    fn list(&mut self, items: &[Node], list: &List, at: &Trail<'_>, deduplicated: bool) {
        for (i, item) in items.iter().enumerate() {
            if item.tag == Some(Tag::Reset) {
                self.diagnostics.push(
                    Diagnostic::warning("reset-item", format!("`!reset` can't take one item out of the list {}; this is no item", at.name()))
                        .at(item.span)
                        .help("put `!override` on the list and write the items that it shall have"),
                );
                continue;
            }
            self.value(item, list.item, &at.index(i), false);
        }
        if list.unique && !deduplicated {
            let mut seen = std::collections::BTreeMap::new();
            for item in items.iter().filter(|i| !self.unknown.is(i)) {
                let Some(text) = scalar::text(item) else { continue };
                if let Some(first) = seen.insert(text.clone(), item.span) {
                    self.diagnostics.push(
                        Diagnostic::error("duplicate-item", format!("{} has {text:?} twice", at.name()))
                            .at(item.span)
                            .related(first, "first here")
                            .help("take one of them out"),
                    );
                }
            }
        }
    }

    fn object(&mut self, map: &Mapping, object: &'static Object, at: &Trail<'_>) {
        let outside = self.unindented(map, &|entry, below, begun| {
            let inner = object.key(&entry.key).map(|k| &k.shape);
            let known = object.key(&below.key).is_some() || below.key.starts_with("x-");
            !known && (begun || inner.is_some_and(|inner| may_hold(inner, below)))
        });
        for Entry { key, key_span, value } in map.iter().filter(|e| !outside.contains(&e.key_span)) {
            match object.key(key) {
                Some(known) => {
                    let deduplicated = matches!(known.merge, Merge::Unique(_) | Merge::Values);
                    self.value(value, &known.shape, &at.key(key), deduplicated);
                    if std::ptr::eq(object, &raw const SERVICE) {
                        self.refused_by_engines(key, value, &at.key(key));
                    }
                }
                None if object.others != Others::Refused && key.starts_with("x-") || self.is_enough() => {}
                None => {
                    let entry = Entry { key: key.clone(), key_span: *key_span, value: value.clone() };
                    let mut fault = mistakes::unknown_key(&entry, map, object, &at.path());
                    // There is nothing to remove, and no harm in it.
                    if object.others == Others::Overlooked || value.tag == Some(Tag::Reset) {
                        fault.severity = Severity::Warning;
                    }
                    let once = fault.code == "blank-after-colon" && self.diagnostics.last().is_some_and(|d| d.span == fault.span);
                    if !once {
                        self.diagnostics.push(fault);
                    }
                }
            }
        }
    }

    /// Words that the format takes and no engine does.
    fn refused_by_engines(&mut self, key: &str, value: &Node, at: &Trail<'_>) {
        let Some(text) = value.as_str().filter(|t| !(t.is_empty() || self.uninterpolated && t.contains('$'))) else { return };
        // Where a variable without a value leaves a gap, that is the slip, and told.
        let gap = self.sources.text(value.span).contains('$') && text.ends_with([':', '/']);
        if self.unknown.is(value) || gap {
            return;
        }
        let (what, help) = match key {
            "restart" => ("restart policy", mistakes::restart(text)),
            "image" => ("name of an image", mistakes::image(text)),
            _ => return,
        };
        if let Some(help) = help {
            let finding = Diagnostic::warning("engine-refuses", format!("{} is no {what} that engines take: {text:?}", at.name()));
            self.diagnostics.push(substituted(finding.at(value.span).help(help), value, text, self.sources));
        }
    }

    /// Keys that stand beside the key that they belong below, because they are not indented: reported once for each such
    /// key. `belongs` tells whether the second entry can only be part of the first, which is empty, where other such
    /// entries have begun or not. Returns the places of all of them.
    fn unindented(&mut self, map: &Mapping, belongs: &dyn Fn(&Entry, &Entry, bool) -> bool) -> Vec<Span> {
        let mut found = Vec::new();
        let mut owner: Option<&Entry> = None;
        for entry in map {
            match owner {
                Some(empty) if belongs(empty, entry, found.contains(&empty.key_span)) => {
                    if !found.contains(&empty.key_span) {
                        found.push(empty.key_span);
                        self.diagnostics.push(
                            Diagnostic::error("not-indented", format!("`{}` is not indented below `{}`", entry.key, empty.key))
                                .at(entry.key_span)
                                .related(empty.key_span, "this is left empty")
                                .help(format!("indent it, and all that belongs to `{}`, by 2 more spaces", empty.key)),
                        );
                    }
                    found.push(entry.key_span);
                }
                _ => owner = (entry.value.value == Value::Null && entry.value.span == entry.key_span).then_some(entry),
            }
        }
        found
    }

    fn map(&mut self, map: &Mapping, of: &MapOf, at: &Trail<'_>) {
        let service = matches!(of.value, Shape::Object(object) if std::ptr::eq(*object, &raw const SERVICE));
        let outside = match of.names {
            Names::Any | Names::NotEmpty => Vec::new(),
            Names::Resource => self.unindented(map, &|_, below, _| {
                let scalar = !matches!(below.value.value, Value::Map(_) | Value::Null);
                may_hold(of.value, below) && (scalar || service && !mistakes::looks_like_service(&below.value))
            }),
        };
        let mut before: Option<&Entry> = None;
        for entry in map.iter().filter(|e| !outside.contains(&e.key_span)) {
            let Entry { key, key_span, value } = entry;
            if service && let Some(fault) = misplaced(entry, before) {
                self.diagnostics.push(fault);
                continue;
            }
            before = Some(entry);
            if bad_name(key, of.names) {
                let cure: String = key.trim().chars().map(|c| if is_name(c) { c } else { '-' }).collect();
                let help = match key.contains('$') {
                    _ if key.is_empty() => "write the name in front of the colon".to_owned(),
                    true => "write the name itself: variables are not replaced in keys".to_owned(),
                    false if cure.contains(|c: char| c.is_ascii_alphanumeric()) => {
                        format!("names are made of letters, digits, `.`, `_` and `-`: `{cure}`")
                    }
                    false => "names are made of letters, digits, `.`, `_` and `-`".to_owned(),
                };
                self.diagnostics.push(Diagnostic::error("bad-name", format!("{key:?} can't be a name {}", at.inside())).at(*key_span).help(help));
                continue;
            }
            self.value(value, of.value, &at.key(key), false);
        }
    }

    fn scalar(&mut self, node: &Node, scalar: &Scalar, at: &Trail<'_>) {
        if self.uninterpolated && node.as_str().is_some_and(|s| s.contains('$')) {
            return;
        }
        let text = || scalar::text(node).unwrap_or_default();
        let fraction = matches!(node.value, Value::Float(f) if f.fract() != 0.0);
        let (wrong, help) = match scalar.format {
            Format::Text => return,
            Format::Bool => {
                let word = node.as_str().filter(|s| !s.eq_ignore_ascii_case("true") && !s.eq_ignore_ascii_case("false"));
                match (scalar::boolean(node), word) {
                    (Some(meant), Some(word)) => {
                        self.diagnostics.push(
                            Diagnostic::warning("boolean-word", format!("{word:?} is not a boolean in YAML 1.2; it is taken for {meant}"))
                                .at(node.span)
                                .help(format!("write `{meant}`")),
                        );
                        return;
                    }
                    (Some(_), None) => return,
                    (None, _) => {
                        let help = match &*text() {
                            "1" => "write `true`".to_owned(),
                            "0" => "write `false`".to_owned(),
                            text => did_you_mean(text, ["true", "false"])
                                .map_or_else(|| "write `true` or `false`".to_owned(), |near| format!("write `{near}`")),
                        };
                        (format!("must be a boolean, not {:?}", text()), help)
                    }
                }
            }
            Format::Int(min, max) => match scalar::integer(node) {
                Some(_) if max < i64::MAX && fraction => (format!("must be a whole number, not {:?}", text()), bounds(min, max)),
                Some(n) if (min..=max).contains(&n) => {
                    if fraction {
                        self.diagnostics.push(
                            Diagnostic::warning("fraction", format!("{} is a whole number; the fraction of {} is cut off", at.name(), text()))
                                .at(node.span)
                                .help(format!("write `{n}`")),
                        );
                    }
                    return;
                }
                Some(n) if n < min => (format!("must be at least {min}, not {n}"), bounds(min, max)),
                Some(n) => (format!("must be at most {max}, not {n}"), bounds(min, max)),
                None => (format!("must be a whole number, not {:?}", text()), bounds(min, max)),
            },
            Format::Float => match scalar::number(node) {
                Some(_) => return,
                None => (format!("must be a number, not {:?}", text()), "write it like `1.5`".to_owned()),
            },
            Format::Duration => match scalar::duration(node) {
                Ok(_) => return,
                Err(fault) => {
                    let help = mistakes::duration(&text())
                        .map_or_else(|| "write it like `1m30s`; the units are ms, s, m, h, d, w".to_owned(), |meant| format!("write `{meant}`"));
                    (format!("must be a duration, not {:?}: {}", text(), reason(&fault)), help)
                }
            },
            Format::Bytes(min) => match scalar::bytes(node) {
                Ok(size) if size.0 >= min => return,
                Ok(_) => (format!("must be at least {min} bytes, not {}", text()), "write it like `512m`; the units are b, k, m, g".to_owned()),
                Err(fault) => {
                    let help = mistakes::size(&text())
                        .map_or_else(|| "write it like `512m`; the units are b, k, m, g".to_owned(), |meant| format!("write `{meant}`"));
                    (format!("must be a size, not {:?}: {}", text(), reason(&fault)), help)
                }
            },
            Format::Mode => match scalar::mode(node) {
                Some(_) => return,
                None => (format!("must be a file mode, not {:?}", text()), "write it in octal, like `0440`".to_owned()),
            },
            Format::Count => match scalar::count(node) {
                Some(_) => return,
                None => (format!("must be a number or `all`, not {:?}", text()), "write `all`, or how many".to_owned()),
            },
            Format::Address => match text().parse::<std::net::IpAddr>() {
                Ok(_) => return,
                Err(_) => (format!("must be an IP address, not {:?}", text()), "write it like `127.0.0.1`; names are not looked up".to_owned()),
            },
            Format::OneOf(words) => {
                let text = text();
                if words.contains(&text.as_str()) {
                    return;
                }
                let help = did_you_mean(&text, words.iter().copied())
                    .map_or_else(|| format!("write {}", choice(words)), |near| format!("did you mean `{near}`?"));
                (format!("must be {}, not {text:?}", choice(words)), help)
            }
            Format::Name(allowed, which) => {
                if allowed(&text()) {
                    return;
                }
                let words = which.split('`').skip(1).step_by(2).filter(|w| w.len() > 1);
                let help = did_you_mean(&text(), words).map_or_else(|| format!("write {which}"), |near| format!("did you mean `{near}`?"));
                (format!("can't be {:?}", text()), help)
            }
        };
        let text = text();
        let help = match (mistakes::without_end(&text), mistakes::without_typographic_quotes(&text)) {
            (Some((shorter, end)), _) => format!("write `{shorter}`: YAML needs no {end} at the end of a line"),
            (_, Some(plain)) => format!("write `{plain}`: typographic quotes are part of the text"),
            _ => help,
        };
        let fault = Diagnostic::error("bad-value", format!("{} {wrong}", at.name())).at(node.span).help(help);
        self.diagnostics.push(substituted(fault, node, &text, self.sources));
    }

    fn wrong_kind(&mut self, node: &Node, shape: &Shape, at: &Trail<'_>) {
        let wanted = describe(shape);
        let message = match &node.value {
            Value::Null => format!("{} is empty; it must be {wanted}", at.name()),
            Value::Float(f) if f.fract() == 0.0 => {
                format!("{} must be {wanted}; YAML reads {} as a number with a fraction", at.name(), self.sources.text(node.span))
            }
            value => format!("{} must be {wanted}, not {}", at.name(), value.kind()),
        };
        let fault = Diagnostic::error("wrong-type", message).at(node.span).help(cure(node, shape, at, self.sources));
        match (&node.value, at.path().0.last()) {
            (Value::Null, Some(Segment::Key(_))) => self.empty.push(fault),
            _ => self.diagnostics.push(fault),
        }
    }
}

/// Why something is no duration or no size, without the words that say that it is none.
fn reason(fault: &str) -> &str {
    fault.split_once(": ").map_or(fault, |(_, why)| why)
}

/// A value that holds variables is shown with theirs in place.
pub(super) fn substituted(fault: Diagnostic, node: &Node, text: &str, sources: &SourceMap) -> Diagnostic {
    let written = sources.text(node.span);
    if written.contains('$') && !text.contains('$') { fault.label(format!("with its variables: {text:?}")) } else { fault }
}

/// A section of the top level, or a key of a service, where the services are named.
fn misplaced(entry: &Entry, before: Option<&Entry>) -> Option<Diagnostic> {
    let Entry { key, key_span, value } = entry;
    let own = value.as_map().is_some_and(|map| map.is_empty() || map.iter().any(|e| SERVICE.key(&e.key).is_some() || e.key.starts_with("x-")));
    if own {
        return None;
    }
    let section = ROOT.key(key).is_some() && !matches!(key.as_str(), "name" | "version" | "services");
    if section && matches!(value.value, Value::Map(_) | Value::Null) {
        let message = format!("`{key}` is a section of its own, and stands among the services");
        return Some(
            Diagnostic::error("wrong-level", message)
                .at(*key_span)
                .help(format!("write `{key}:` without indentation, and what belongs to it 2 spaces less")),
        );
    }
    let known = SERVICE.key(key).is_some() && value.value != Value::Null;
    known.then(|| {
        let help = match before {
            Some(before) => format!("indent it by 2 more spaces, so that it stands below `{}:`", before.key),
            None => "put it below the name of its service".to_owned(),
        };
        Diagnostic::error("wrong-level", format!("`{key}` is a key of a service, and stands where services are named")).at(*key_span).help(help)
    })
}

/// Whether `entry` can be a part of what has the shape.
fn may_hold(shape: &Shape, entry: &Entry) -> bool {
    match shape {
        Shape::Object(object) => object.key(&entry.key).is_some(),
        Shape::Map(of) => matches!(of.names, Names::Resource) && matches!(entry.value.value, Value::Map(_) | Value::Null),
        Shape::Either(shapes) => shapes.iter().any(|s| may_hold(s, entry)),
        _ => false,
    }
}

/// Keys of the table that must be there and aren't, in the merged document.
pub(super) fn required(node: &Node, shape: &Shape, place: Span, at: &Trail<'_>, diagnostics: &mut Vec<Diagnostic>) {
    match (shape, &node.value) {
        (Shape::Either(shapes), _) => shapes.iter().filter(|s| takes(s, node)).for_each(|s| required(node, s, place, at, diagnostics)),
        (Shape::Object(object), Value::Map(map)) => {
            let missing: Vec<&str> = object.required.iter().copied().filter(|r| !map.contains(r)).collect();
            // An unknown key may well be the missing one, misspelt.
            let odd = || map.iter().any(|e| object.key(&e.key).is_none() && !e.key.starts_with("x-"));
            if !missing.is_empty() && !odd() {
                let keys = if missing.len() == 1 { "key" } else { "keys" };
                let message = format!("{} lacks the {keys} {}", at.name(), list_of_words(&missing, "and"));
                let cure = |name: &&str| match object.key(name).map(|k| (k.shape, k.doc)) {
                    Some((Shape::Scalar(Scalar { format: Format::OneOf([first, ..]), .. }), _)) => format!("`{name}: {first}`"),
                    Some((_, doc)) if !doc.trim_end_matches('.').eq_ignore_ascii_case(name) => {
                        format!("`{name}: …` ({})", lower_first(doc.trim_end_matches('.')))
                    }
                    Some(_) => format!("`{name}: …`"),
                    None => format!("`{name}: …`"),
                };
                let cures: Vec<String> = missing.iter().map(cure).collect();
                diagnostics.push(Diagnostic::error("missing-key", message).at(place).help(format!("add {}", cures.join(", and "))));
            }
            for entry in map {
                if let Some(key) = object.key(&entry.key) {
                    required(&entry.value, &key.shape, entry.key_span, &at.key(&entry.key), diagnostics);
                }
            }
        }
        (Shape::Map(of), Value::Map(map)) => {
            map.iter().for_each(|e| required(&e.value, of.value, e.key_span, &at.key(&e.key), diagnostics));
        }
        (Shape::List(list), Value::Seq(items)) => {
            items.iter().enumerate().for_each(|(i, item)| required(item, list.item, item.span, &at.index(i), diagnostics));
        }
        _ => {}
    }
}

/// Whether a value of this kind of YAML can be of this shape, whatever it says.
pub(super) fn takes(shape: &Shape, node: &Node) -> bool {
    match (shape, &node.value) {
        (Shape::Any, _) => true,
        (Shape::Either(shapes), _) => shapes.iter().any(|s| takes(s, node)),
        (Shape::Null, value) => *value == Value::Null,
        (Shape::List(_), Value::Seq(_)) | (Shape::Object(_) | Shape::Map(_), Value::Map(_)) => true,
        (Shape::Scalar(scalar), value) => match value {
            Value::String(_) => scalar.kinds.has(Kinds::STRING),
            Value::Bool(_) => scalar.kinds.has(Kinds::BOOL),
            Value::Int(_) => scalar.kinds.has(Kinds::INT) || scalar.kinds.has(Kinds::WHOLE),
            Value::Float(f) if f.fract() == 0.0 => scalar.kinds.has(Kinds::INT),
            Value::Uint(_) | Value::Float(_) => scalar.kinds.has(Kinds::NUMBER),
            _ => false,
        },
        _ => false,
    }
}

fn list_of_words(words: &[&str], last: &str) -> String {
    joined(&words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>(), last)
}

fn choice(words: &[&str]) -> String {
    list_of_words(words, "or")
}

/// With a small letter in front, unless the word is an abbreviation.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

fn bounds(min: i64, max: i64) -> String {
    match (min, max) {
        (i64::MIN, _) => "write it like `3`".to_owned(),
        (_, i64::MAX) => format!("write a number from {min} on"),
        _ => format!("write a number from {min} to {max}"),
    }
}

/// Whether `name` holds what names can't.
fn bad_name(name: &str, names: Names) -> bool {
    names != Names::Any && name.is_empty() || names == Names::Resource && !name.chars().all(is_name)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}
