//! A document against the key table: unknown keys, wrong kinds, values that don't say what they must.
//!
//! Runs on what is written, before short forms become long ones, so every fault is told in the user's own terms. Keys
//! that must be there are looked for later, when files are merged: see [`required`].

use super::keys::{Format, Kinds, List, MapOf, Merge, Names, Object, Scalar, Shape};
use super::scalar;
use super::trail::Trail;
use super::unknown::Unknown;
use crate::diag::{Diagnostic, Severity, Span, did_you_mean};
use crate::yaml::{Entry, Mapping, Node, Tag, Value};

/// Where findings go, and how strict to be.
pub(super) struct Checker<'a> {
    pub diagnostics: &'a mut Vec<Diagnostic>,
    /// Expressions are still in the text, so scalars with a `$` say anything.
    pub uninterpolated: bool,
    /// Scalars that may say anything.
    pub unknown: &'a Unknown,
}

impl Checker<'_> {
    /// Checks the value at `at`. Lists that are freed of duplicates anyway may have some (`deduplicated`).
    pub(super) fn value(&mut self, node: &Node, shape: &Shape, at: &Trail<'_>, deduplicated: bool) {
        if node.tag == Some(Tag::Reset) || self.unknown.is(node) {
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

    fn list(&mut self, items: &[Node], list: &List, at: &Trail<'_>, deduplicated: bool) {
        for (i, item) in items.iter().enumerate() {
            if item.tag == Some(Tag::Reset) {
                self.diagnostics.push(
                    Diagnostic::error("reset-item", format!("`!reset` can't take one item out of the list {}", at.name()))
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

    fn object(&mut self, map: &Mapping, object: &Object, at: &Trail<'_>) {
        for Entry { key, key_span, value } in map {
            match object.key(key) {
                Some(known) => {
                    let deduplicated = matches!(known.merge, Merge::Unique(_) | Merge::Values);
                    self.value(value, &known.shape, &at.key(key), deduplicated);
                }
                None if object.extensions && key.starts_with("x-") => {}
                None => {
                    let mut fault = unknown_key(key, *key_span, object, at);
                    // Where the reference never looks, files may have any key.
                    if OVERLOOKED.contains(&object.what) {
                        fault.severity = Severity::Warning;
                    }
                    self.diagnostics.push(fault);
                }
            }
        }
    }

    fn map(&mut self, map: &Mapping, of: &MapOf, at: &Trail<'_>) {
        for Entry { key, key_span, value } in map {
            if let Some(allowed) = bad_name(key, of.names) {
                self.diagnostics.push(
                    Diagnostic::error("bad-name", format!("{key:?} can't be a name {}", at.inside()))
                        .at(*key_span)
                        .help(format!("use {allowed} only")),
                );
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
                    (None, _) => (format!("must be a boolean, not {:?}", text()), "write `true` or `false`".to_owned()),
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
                Err(fault) => (format!("must be a duration: {fault}"), "write it like `1m30s`; the units are ms, s, m, h, d, w".to_owned()),
            },
            Format::Bytes(min) => match scalar::bytes(node) {
                Ok(size) if size.0 >= min => return,
                Ok(_) => (format!("must be at least {min} bytes, not {}", text()), "write it like `512m`; the units are b, k, m, g".to_owned()),
                Err(fault) => (format!("must be a size: {fault}"), "write it like `512m`; the units are b, k, m, g".to_owned()),
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
                    .map_or_else(|| format!("write one of {}", quoted(words)), |near| format!("did you mean `{near}`?"));
                (format!("must be {}, not {text:?}", if words.len() == 1 { quoted(words) } else { format!("one of {}", quoted(words)) }), help)
            }
            Format::Name(allowed, which) => {
                if allowed(&text()) {
                    return;
                }
                (format!("can't be {:?}", text()), format!("write {which}"))
            }
        };
        self.diagnostics.push(Diagnostic::error("bad-value", format!("{} {wrong}", at.name())).at(node.span).help(help));
    }

    fn wrong_kind(&mut self, node: &Node, shape: &Shape, at: &Trail<'_>) {
        let (message, help) = match &node.value {
            Value::Null => (format!("{} is empty; it must be {}", at.name(), describe(shape)), "give it a value, or take the key out".to_owned()),
            Value::Time(text) => (format!("{} must be {}, not a date", at.name(), describe(shape)), format!("put it in quotes: `\"{text}\"`")),
            value => {
                let help = match (value, shape) {
                    (Value::Map(_), Shape::List(_)) => "put `- ` in front of each item".to_owned(),
                    (Value::Int(n), Shape::Scalar(Scalar { format: Format::Duration, .. })) => format!("say the unit: `{n}s`"),
                    (Value::String(_) | Value::Int(_), shape) if takes(shape, &Node::new(node.span, Value::Seq(Vec::new()))) => {
                        format!("write it as a list: `[{}]`", scalar::text(node).unwrap_or_default())
                    }
                    (Value::Int(_) | Value::Uint(_) | Value::Float(_) | Value::Bool(_), _) if accepts(shape, Kinds::STRING) => {
                        format!("put it in quotes: `\"{}\"`", scalar::text(node).unwrap_or_default())
                    }
                    (Value::String(s), Shape::Object(_) | Shape::Map(_)) if s.contains(':') && !s.contains(": ") => {
                        format!("put a blank after the colon: `{}`", s.replacen(':', ": ", 1))
                    }
                    (Value::Seq(_), Shape::Object(_) | Shape::Map(_)) => "write `key: value` lines without `- ` in front".to_owned(),
                    _ => format!("write {}", describe(shape)),
                };
                (format!("{} must be {}, not {}", at.name(), describe(shape), value.kind()), help)
            }
        };
        self.diagnostics.push(Diagnostic::error("wrong-type", message).at(node.span).help(help));
    }
}

/// Keys of the table that must be there and aren't, in the merged document.
pub(super) fn required(node: &Node, shape: &Shape, place: Span, at: &Trail<'_>, diagnostics: &mut Vec<Diagnostic>) {
    match (shape, &node.value) {
        (Shape::Either(shapes), _) => shapes.iter().filter(|s| takes(s, node)).for_each(|s| required(node, s, place, at, diagnostics)),
        (Shape::Object(object), Value::Map(map)) => {
            for missing in object.required.iter().filter(|r| !map.contains(r)) {
                diagnostics.push(Diagnostic::error("missing-key", format!("{} lacks the key `{missing}`", at.name())).at(place).help(format!(
                    "add `{missing}: …`{}",
                    object.key(missing).map_or_else(String::new, |k| format!(" ({})", k.doc.trim_end_matches('.')))
                )));
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
            Value::Int(_) => scalar.kinds.has(Kinds::INT),
            Value::Float(f) if f.fract() == 0.0 => scalar.kinds.has(Kinds::INT),
            Value::Uint(_) | Value::Float(_) => scalar.kinds.has(Kinds::NUMBER),
            _ => false,
        },
        _ => false,
    }
}

/// Whether the shape takes scalars of this kind.
fn accepts(shape: &Shape, kinds: Kinds) -> bool {
    match shape {
        Shape::Scalar(scalar) => scalar.kinds.has(kinds),
        Shape::Either(shapes) => shapes.iter().any(|s| accepts(s, kinds)),
        _ => false,
    }
}

/// A shape in words: `a string or a list`.
pub(super) fn describe(shape: &Shape) -> String {
    fn collect(shape: &Shape, words: &mut Vec<&'static str>) {
        match shape {
            Shape::Any => words.push("anything"),
            Shape::Null => {}
            Shape::List(_) => words.push("a list"),
            Shape::Object(_) | Shape::Map(_) => words.push("a mapping"),
            Shape::Either(shapes) => shapes.iter().for_each(|s| collect(s, words)),
            Shape::Scalar(Scalar { kinds, format }) => {
                let numeric = matches!(format, Format::Int(..) | Format::Float | Format::Count) && kinds.has(Kinds::INT);
                if kinds.has(Kinds::STRING) && !numeric && !matches!(format, Format::Bool) {
                    words.push(match format {
                        Format::Duration => "a duration",
                        _ => "a string",
                    });
                }
                if kinds.has(Kinds::BOOL) {
                    words.push("a boolean");
                }
                if kinds.has(Kinds::INT) {
                    words.push("a number");
                }
            }
        }
    }
    let mut words = Vec::new();
    collect(shape, &mut words);
    words.dedup();
    words.join(" or ")
}

fn bounds(min: i64, max: i64) -> String {
    match (min, max) {
        (i64::MIN, _) => "write it like `3`".to_owned(),
        (_, i64::MAX) => format!("write a number from {min} on"),
        _ => format!("write a number from {min} to {max}"),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

/// What names may be made of, if `name` isn't.
fn bad_name(name: &str, names: Names) -> Option<&'static str> {
    let fits = match names {
        Names::Any => true,
        Names::NotEmpty => !name.is_empty(),
        Names::Resource => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')),
    };
    (!fits).then_some(if names == Names::NotEmpty { "one character or more" } else { "letters, digits, `.`, `_` and `-`" })
}

/// Objects in which the reference takes any key.
const OVERLOOKED: [&str; 3] = ["external", "extends", "an entry of include"];

/// Keys that once were, or that many people write, and where they went.
const MOVED: [(&str, &str, &str); 9] = [
    ("a service", "net", "write `network_mode`"),
    ("a service", "log_driver", "write `logging: {driver: …}`"),
    ("a service", "log_opt", "write `logging: {options: …}`"),
    ("a service", "dockerfile", "write `build: {dockerfile: …}`"),
    ("a service", "volume_driver", "write `driver` at the volume, at the top level"),
    ("a service", "env", "write `environment`"),
    ("a service", "name", "write `container_name`, or change the key of the service"),
    ("a service", "replicas", "write `deploy: {replicas: …}` or `scale`"),
    ("a service", "resources", "write `deploy: {resources: …}`"),
];

fn unknown_key(key: &str, span: Span, object: &Object, at: &Trail<'_>) -> Diagnostic {
    let help = match MOVED.iter().find(|(what, name, _)| *what == object.what && *name == key) {
        Some((_, _, help)) => (*help).to_owned(),
        None => match did_you_mean(key, object.keys.iter().map(|k| k.name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if object.keys.len() <= 12 => {
                format!("the keys of {} are {}", object.what, quoted(&object.keys.iter().map(|k| k.name).collect::<Vec<_>>()))
            }
            None => "take it out; a key of your own must begin with `x-`".to_owned(),
        },
    };
    Diagnostic::error("unknown-key", format!("unknown key `{key}` {}", at.inside()))
        .at(span)
        .label(format!("not a key of {}", object.what))
        .help(help)
}
