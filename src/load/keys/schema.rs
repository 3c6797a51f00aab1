//! The table as a JSON schema (draft 2020-12), for editors.
//!
//! It describes files as they are written: before interpolation, so any scalar may be a string with a `$` in it, and
//! before files are merged, so no key has to be there. What it refuses, the loader refuses too; a few things that only
//! code can tell are left to the loader.

use super::{Format, Key, Kinds, MapOf, Merge, Names, Object, Others, ROOT, Scalar, Shape, Status};
use serde_json::{Map, Value, json};

/// The schema of a Compose file.
#[must_use]
pub fn schema() -> Value {
    let mut definitions = Map::new();
    let root = properties(&ROOT, &mut definitions);
    definitions.sort_keys();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "compose.schema.json",
        "title": "Compose file",
        "description": "A multi-container project, as Consort and Docker Compose read it.",
    });
    if let (Value::Object(schema), Value::Object(root)) = (&mut schema, root) {
        schema.extend(root);
        schema.insert("$defs".into(), definitions.into());
    }
    schema
}

/// The keys of an object. Objects below it are put among the definitions.
fn properties(object: &Object, definitions: &mut Map<String, Value>) -> Value {
    let keys: Map<String, Value> = object.keys.iter().map(|k| (k.name.to_owned(), property(k, definitions))).collect();
    let mut value = json!({ "type": "object", "properties": keys });
    if object.others == Others::Extensions {
        value["patternProperties"] = json!({ "^x-": {} });
    }
    // Other keys of these are warned about, no more.
    if object.others != Others::Overlooked {
        value["additionalProperties"] = false.into();
    }
    value
}

fn property(key: &Key, definitions: &mut Map<String, Value>) -> Value {
    // Duplicates of these lists are dropped, not refused.
    let deduplicated = matches!(key.merge, Merge::Unique(_) | Merge::Values);
    let mut value = json!({ "description": description(key) });
    if let (Value::Object(value), Value::Object(said)) = (&mut value, of(&key.shape, deduplicated, definitions)) {
        value.extend(said);
    }
    value
}

/// What the key means, and whether it is acted on.
pub(super) fn description(key: &Key) -> String {
    match key.status {
        Status::Honoured => key.doc.to_owned(),
        Status::Ignored(why) => format!("{} Ignored with a warning: {why}.", key.doc),
        Status::Refused(why) => format!("{} Can't be honoured: {why}.", key.doc),
    }
}

fn of(shape: &Shape, deduplicated: bool, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Any => json!({}),
        Shape::Null => json!({ "type": "null" }),
        Shape::Scalar(scalar) => alternatives(of_scalar(scalar)),
        Shape::List(list) => {
            let items = of(list.item, false, definitions);
            if list.unique && !deduplicated {
                json!({ "type": "array", "items": items, "uniqueItems": true })
            } else {
                json!({ "type": "array", "items": items })
            }
        }
        Shape::Object(object) => {
            let name = object.what.replace(' ', "-");
            if !definitions.contains_key(&name) {
                // Holds the place, should the object contain itself.
                definitions.insert(name.clone(), Value::Null);
                let value = properties(object, definitions);
                definitions.insert(name.clone(), value);
            }
            json!({ "$ref": format!("#/$defs/{name}") })
        }
        Shape::Map(MapOf { value, names: Names::Any }) => json!({ "type": "object", "additionalProperties": of(value, false, definitions) }),
        Shape::Map(MapOf { value, names: Names::NotEmpty }) => json!({
            "type": "object",
            "propertyNames": { "minLength": 1 },
            "additionalProperties": of(value, false, definitions),
        }),
        Shape::Map(MapOf { value, names: Names::Resource }) => json!({
            "type": "object",
            "patternProperties": { "^[a-zA-Z0-9._-]+$": of(value, false, definitions) },
            "additionalProperties": false,
        }),
        Shape::Either(shapes) => alternatives(shapes.iter().map(|s| of(s, deduplicated, definitions)).collect()),
    }
}

/// One of several: `anyOf`, of which those that only name a type are written as one list of types.
fn alternatives(all: Vec<Value>) -> Value {
    let mut types: Vec<Value> = Vec::new();
    let mut rest = Vec::new();
    for value in all {
        match value {
            Value::Object(mut map) if map.len() == 1 && map.contains_key("anyOf") => match map.remove("anyOf") {
                Some(Value::Array(inner)) => rest.extend(inner),
                _ => unreachable!("anyOf is a list"),
            },
            Value::Object(mut map) if map.len() == 1 && map.contains_key("type") => match map.remove("type") {
                Some(Value::Array(inner)) => types.extend(inner),
                Some(one) => types.push(one),
                None => unreachable!("the key is there"),
            },
            other => rest.push(other),
        }
    }
    match types.len() {
        0 => {}
        1 => rest.insert(0, json!({ "type": types.remove(0) })),
        _ => rest.insert(0, json!({ "type": types })),
    }
    if rest.len() == 1 { rest.remove(0) } else { json!({ "anyOf": rest }) }
}

/// The kinds of scalar that it may be written as. A string is always among them: it may hold an expression.
fn of_scalar(scalar: &Scalar) -> Vec<Value> {
    let mut kinds = Vec::new();
    if scalar.kinds.has(Kinds::BOOL) {
        kinds.push(json!({ "type": "boolean" }));
    }
    if scalar.kinds.has(Kinds::INT) || scalar.kinds.has(Kinds::WHOLE) {
        let mut number = json!({ "type": if scalar.kinds.has(Kinds::NUMBER) { "number" } else { "integer" } });
        let (min, max) = match scalar.format {
            Format::Int(min, max) => (min, max),
            Format::Bytes(min) => (min, i64::MAX),
            Format::Mode => (0, i64::MAX),
            _ => (i64::MIN, i64::MAX),
        };
        if min != i64::MIN {
            number["minimum"] = min.into();
        }
        if max != i64::MAX {
            number["maximum"] = max.into();
        }
        kinds.push(number);
    }
    kinds.extend(of_string(scalar));
    kinds
}

fn of_string(scalar: &Scalar) -> Vec<Value> {
    let matching = |pattern: &str| json!({ "type": "string", "pattern": format!("{pattern}|\\$") });
    if !scalar.kinds.has(Kinds::STRING) {
        return vec![json!({ "type": "string", "pattern": "\\$" })];
    }
    let words = |words: &[&str]| format!("^({})$", words.iter().map(|w| any_case(w)).collect::<Vec<_>>().join("|"));
    const FLOAT: &str = "(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?";
    /// As [`FLOAT`], with underscores between digits.
    const GROUPED: &str = "([0-9](_?[0-9])*\\.?([0-9](_?[0-9])*)?|\\.[0-9](_?[0-9])*)([eE][+-]?[0-9]+)?";
    vec![match scalar.format {
        // Which names are taken is for code to say.
        Format::Text | Format::Name(..) => json!({ "type": "string" }),
        Format::OneOf(words) => return vec![json!({ "enum": words }), json!({ "type": "string", "pattern": "\\$" })],
        Format::Bool => matching(&words(&["true", "false", "yes", "no", "on", "off", "y", "n"])),
        Format::Int(..) => matching("^[+-]?\\d+$"),
        Format::Float => matching(&format!("^[+-]?{FLOAT}$")),
        Format::Duration => matching("^[+-]?(0|((\\d+\\.?\\d*|\\.\\d+)(ns|us|\u{b5}s|\u{3bc}s|ms|s|m|h|d|w))+)$"),
        Format::Bytes(_) => matching(&format!("^(-1|\\+?{GROUPED} ?([bB]|[kKmMgGtTpP]([iI]?[bB])?)?)$")),
        Format::Mode => matching("^(0o)?[0-7]+$"),
        Format::Count => matching(&format!("^({}|[+-]?\\d+)$", any_case("all"))),
        Format::Address => matching("^[0-9a-fA-F:.]+$"),
    }]
}

/// A pattern of the word in any case; the dialect of JSON schema has no flag for that.
fn any_case(word: &str) -> String {
    word.chars().map(|c| format!("[{}{c}]", c.to_ascii_uppercase())).collect()
}
