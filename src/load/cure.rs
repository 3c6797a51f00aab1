//! What to write instead of a value of the wrong kind, and shapes in words.

use super::keys::{Format, Kinds, List, Object, SERVICE, Scalar, Shape};
use super::mistakes::{self, quoted};
use super::scalar;
use super::trail::Trail;
use crate::diag::{Segment, SourceMap};
use crate::yaml::{Mapping, Node, Value};

/// What to write instead of a value of the wrong kind.
pub(super) fn cure(node: &Node, shape: &Shape, at: &Trail<'_>, sources: &SourceMap) -> String {
    let path = at.path();
    let key = path.last_key().unwrap_or_default();
    let item = matches!(path.0.last(), Some(Segment::Index(_)));
    let written = sources.text(node.span);
    let text = scalar::text(node).map(|t| if written.is_empty() || written.contains(['\n', '"', '\'']) { t } else { written.to_owned() });
    let object = object_of(shape);
    let is = |static_: *const Object| object.is_some_and(|o| std::ptr::eq(o, static_));
    match (&node.value, text) {
        (Value::Null, _) if is(&raw const SERVICE) => "write `image: …` below it, indented by 2 more spaces".to_owned(),
        (Value::Null, _) if item => "write something behind the dash, or take the line out".to_owned(),
        (Value::Null, _) => "give it a value, or take the key out".to_owned(),
        (Value::Time(text), _) => format!("put it in quotes: `\"{text}\"`"),
        (Value::Map(_), _) if item && written.starts_with("<<") => "take the dashes of this list away: a merge key goes into mappings".to_owned(),
        (Value::Map(map), _) if item && accepts(shape, Kinds::STRING) => mistakes::mapping_for_item(map, &path),
        (Value::Map(map), _) if list_of(shape).is_some() => map_for_list(map, key, shape),
        (Value::Map(_), _) => format!("write {}", describe(shape)),
        (Value::Seq(items), _) => list_for_other(items, shape, key, object),
        (Value::Int(n), _) if matches!(shape, Shape::Scalar(Scalar { format: Format::Duration, .. })) => format!("say the unit: `{n}s`"),
        (Value::Bool(always), _) if key == "restart" && path.0.len() == 3 => format!("write `{}`", if *always { "always" } else { "\"no\"" }),
        (Value::Int(n @ (0 | 1)), _) if accepts(shape, Kinds::BOOL) => format!("write `{}`", *n == 1),
        (Value::Float(f), _) if accepts(shape, Kinds::WHOLE) && f.fract() == 0.0 && f.abs() < 1e15 => format!("write `{}`", *f as i64),
        (Value::Float(_), _) if accepts(shape, Kinds::INT) || accepts(shape, Kinds::WHOLE) => "write a whole number".to_owned(),
        _ if key == "version" => "take the line out: `version` means nothing any more".to_owned(),
        (Value::String(_), Some(text)) if text.starts_with('-') && text.len() > 1 && list_of(shape).is_some() => {
            let first = text[1..].split(" -").next().unwrap_or_default();
            format!("put a blank behind each dash: `- {first}`")
        }
        (_, Some(text)) if item => scalar_for_other(&text, shape, "-", object).replace("`-: {", "`- {"),
        (_, Some(text)) => scalar_for_other(&text, shape, key, object),
        (_, None) => format!("write {}", describe(shape)),
    }
}

/// What to write instead of a mapping where a list is wanted.
fn map_for_list(map: &Mapping, key: &str, shape: &Shape) -> String {
    let first = map.iter().next().and_then(|e| Some((e.key.as_str(), scalar::text(&e.value)?)));
    match (key, first) {
        ("ports", Some((host, container))) => format!("write `- \"{host}:{container}\"`, a line for each"),
        ("volumes" | "devices", Some((source, target))) => format!("write `- {source}:{target}`, a line for each"),
        (_, Some((name, text))) if text.is_empty() => format!("write `- {name}`, a line for each"),
        _ => match list_of(shape).and_then(|list| object_of(list.item)).and(map.iter().next()) {
            Some(first) => format!("put `- ` in front of the first key of each item: `- {}: …`", first.key),
            None => format!("write {}", describe(shape)),
        },
    }
}

/// What to write instead of a list where something else is wanted.
fn list_for_other(items: &[Node], shape: &Shape, key: &str, object: Option<&Object>) -> String {
    let inner = object.and_then(mistakes::inner_key);
    match (items, shape) {
        ([one], _) if accepts(shape, Kinds::STRING) && scalar::text(one).is_some() => {
            format!("write it alone, without brackets or dash: `{}`", quoted(&scalar::text(one).unwrap_or_default()))
        }
        (_, Shape::Object(_)) if inner == Some("test") => format!("write `{key}: {{test: […]}}`"),
        ([first, ..], Shape::Map(of)) => match (first.get("name").and_then(scalar::text), first.as_map().and_then(|m| m.iter().next())) {
            (Some(name), _) => format!("write the name as the key, and the rest below it: `{name}:`"),
            (None, Some(entry)) => format!("take the dashes of this list away: `{}:`", entry.key),
            (None, None) if takes_null(of.value) => {
                format!("write each name with a colon and without a dash: `{}:`", scalar::text(first).unwrap_or_default())
            }
            (None, None) => "write `key: value` lines without dashes".to_owned(),
        },
        (_, Shape::Object(_) | Shape::Map(_)) => "write `key: value` lines without dashes".to_owned(),
        _ => format!("write {}", describe(shape)),
    }
}

/// What to write instead of a scalar where something else is wanted.
fn scalar_for_other(text: &str, shape: &Shape, key: &str, object: Option<&Object>) -> String {
    let lists = list_of(shape);
    let glued = text.split_once(':').filter(|(k, v)| {
        let known = object.is_some_and(|o| o.key(k).is_some());
        known && !v.is_empty() && !v.starts_with([' ', '/'])
    });
    let pair = text.split_once('=').filter(|_| matches!(shape, Shape::Map(_) | Shape::Either(_)) && is_map(shape));
    let mut words = text.split_whitespace();
    let several = words.clone().count() > 1 && words.all(|word| word.contains('='));
    match (lists, object) {
        (Some(_), _) if pair.is_some() && several => {
            format!("put a dash in front of each line: `- {}`", text.split_whitespace().next().unwrap_or_default())
        }
        (_, Some(_)) if glued.is_some() => glued.map_or_else(String::new, |(k, v)| format!("put a blank behind the colon: `{k}: {v}`")),
        _ if pair.is_some() => pair.map_or_else(String::new, |(k, v)| format!("write `{k}: {}` on a line of its own below", quoted(v))),
        (Some(List { item, .. }), _) if accepts(item, Kinds::STRING) => format!("write it as a list: `[{}]`", quoted(text)),
        (Some(List { item, .. }), _) => match object_of(item).and_then(mistakes::inner_key) {
            Some(inner) => format!("write it as a list: `[{{{inner}: {}}}]`", quoted(text)),
            None => "write it as a list".to_owned(),
        },
        (None, _) if accepts(shape, Kinds::STRING) => format!("put it in quotes: `\"{text}\"`"),
        (None, Some(object)) => match (object.what, mistakes::inner_key(object)) {
            ("a volume", _) if text.starts_with(['.', '/', '~']) => {
                format!("a folder of the host needs no volume: write `{text}:/path` in the service, and take this line out")
            }
            (_, Some(inner)) => format!("write `{key}: {{{inner}: {}}}`", quoted(text)),
            _ => format!("write {}", describe(shape)),
        },
        (None, None) => format!("write {}", describe(shape)),
    }
}

fn object_of(shape: &Shape) -> Option<&'static Object> {
    match shape {
        Shape::Object(object) => Some(object),
        Shape::Either(shapes) => shapes.iter().find_map(object_of),
        _ => None,
    }
}

fn list_of(shape: &Shape) -> Option<&List> {
    match shape {
        Shape::List(list) => Some(list),
        Shape::Either(shapes) => shapes.iter().find_map(list_of),
        _ => None,
    }
}

fn is_map(shape: &Shape) -> bool {
    match shape {
        Shape::Map(_) => true,
        Shape::Either(shapes) => shapes.iter().any(is_map),
        _ => false,
    }
}

fn takes_null(shape: &Shape) -> bool {
    matches!(shape, Shape::Null) || matches!(shape, Shape::Either(shapes) if shapes.iter().any(takes_null))
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
                let numeric = matches!(format, Format::Int(..) | Format::Float | Format::Count) && (kinds.has(Kinds::INT) || kinds.has(Kinds::WHOLE));
                if kinds.has(Kinds::STRING) && !numeric && !matches!(format, Format::Bool) {
                    words.push(match format {
                        Format::Duration => "a duration",
                        _ => "a string",
                    });
                }
                if kinds.has(Kinds::INT) || kinds.has(Kinds::WHOLE) {
                    words.push(if kinds.has(Kinds::NUMBER) { "a number" } else { "a whole number" });
                }
                if kinds.has(Kinds::BOOL) {
                    words.push("a boolean");
                }
            }
        }
    }
    let mut words = Vec::new();
    collect(shape, &mut words);
    words.dedup();
    joined(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>(), "or")
}

/// `a, b or c`
pub(super) fn joined(words: &[String], last: &str) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., end] => format!("{} {last} {end}", rest.join(", ")),
    }
}
