//! JSON values → YAML text in the style of Go's yaml.v3, which prints the reference's `config`.

use super::scalar::{format_float, is_old_typed, is_plain_string, resolve};
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Above this many bytes a key is written behind `? `.
const LONG_KEY: usize = 128;

/// `value` as YAML with two spaces of indent, keys as given, lines never folded. Strings are quoted where a YAML 1.1 or
/// 1.2 reader would take them for something else; those of several lines become `|` blocks. Ends with a line break.
pub fn emit(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if is_block(map) => mapping(map, 0, false, &mut out),
        Value::Array(items) if !items.is_empty() => sequence(items, 0, false, &mut out),
        _ => {
            scalar(value, 2, &mut out);
            out.push('\n');
        }
    }
    out
}

/// What [`emit`] writes as it stands, without quotes: a date, or a float that isn't finite, which JSON has no word for.
/// Other texts are an object with an odd key.
pub fn unquoted(text: &str) -> Value {
    Value::Object(Map::from_iter([(UNQUOTED.to_owned(), Value::from(text))]))
}

const UNQUOTED: &str = "\0unquoted";

fn as_unquoted(map: &Map<String, Value>) -> Option<&str> {
    let text = map.get(UNQUOTED).filter(|_| map.len() == 1)?.as_str()?;
    let typed = match resolve(text) {
        super::Value::Time(_) => true,
        super::Value::Float(f) => !f.is_finite(),
        _ => false,
    };
    typed.then_some(text)
}

fn is_block(map: &Map<String, Value>) -> bool {
    !map.is_empty() && as_unquoted(map).is_none()
}

fn pad(indent: usize, out: &mut String) {
    const BLANKS: &str = "                                ";
    let mut left = indent;
    while left > 0 {
        let now = left.min(BLANKS.len());
        out.push_str(&BLANKS[..now]);
        left -= now;
    }
}

/// `on_line`: the first entry goes on where the line stands, behind a dash.
fn mapping(map: &Map<String, Value>, indent: usize, on_line: bool, out: &mut String) {
    for (i, (key, value)) in map.iter().enumerate() {
        if !(on_line && i == 0) {
            pad(indent, out);
        }
        entry(key, value, indent, out);
    }
}

/// One entry of a mapping that is indented by `indent`, as [`emit`] writes it: for what is written part by part.
pub fn emit_entry(key: &str, value: &Value, indent: usize, out: &mut String) {
    pad(indent, out);
    entry(key, value, indent, out);
}

fn entry(key: &str, value: &Value, indent: usize, out: &mut String) {
    let start = out.len();
    string(key, Place::Key, out);
    if out.len() - start > LONG_KEY {
        out.insert_str(start, "? ");
        out.push('\n');
        pad(indent, out);
    }
    out.push(':');
    match value {
        Value::Object(map) if is_block(map) => {
            out.push('\n');
            mapping(map, indent + 2, false, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            sequence(items, indent + 2, false, out);
        }
        _ => {
            out.push(' ');
            scalar(value, indent + 2, out);
            out.push('\n');
        }
    }
}

fn sequence(items: &[Value], indent: usize, on_line: bool, out: &mut String) {
    for (i, item) in items.iter().enumerate() {
        if !(on_line && i == 0) {
            pad(indent, out);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if is_block(map) => mapping(map, indent + 2, true, out),
            Value::Array(items) if !items.is_empty() => sequence(items, indent + 2, true, out),
            _ => {
                scalar(item, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

/// A scalar or an empty collection. The lines of a block are indented by `indent`.
fn scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => match n.as_f64() {
            Some(float) if n.is_f64() => out.push_str(&format_float(float)),
            _ => _ = write!(out, "{n}"),
        },
        Value::String(text) => string(text, Place::Value { indent }, out),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(map) => out.push_str(as_unquoted(map).unwrap_or("{}")),
    }
}

#[derive(Clone, Copy)]
enum Place {
    Key,
    Value { indent: usize },
}

/// The styles that syntax allows for a string.
struct Styles {
    plain: bool,
    single: bool,
    block: bool,
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// What may stand outside double quotes. Characters beyond the basic plane are left out, as in libyaml.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

/// Whether nothing in `text` has a meaning in YAML, which is soon seen of most.
fn is_simple(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && !text.ends_with(':')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b':'))
}

fn styles(text: &str) -> Styles {
    if is_simple(text) {
        return Styles { plain: true, single: true, block: true };
    }
    let mut plain = !(text.starts_with("---") || text.starts_with("..."));
    let (mut single, mut block) = (true, true);
    let mut before: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next_blank = chars.peek().is_none_or(|n| is_blank(*n));
        plain &= match (c, before) {
            ('#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`', None) => false,
            ('?' | '-', None) | (':', _) => !next_blank,
            ('#', Some(before)) => !(is_blank(before) || is_break(before)),
            _ => !is_break(c) && !(c == ' ' && (before.is_none() || chars.peek().is_none())),
        };
        if c == '\t' {
            (plain, single) = (false, false);
        } else if !is_printable(c) {
            (plain, single, block) = (false, false, false);
        }
        match before {
            Some(b) if is_break(b) && c == ' ' => single = false,
            Some(' ') if is_break(c) => (single, block) = (false, false),
            _ => {}
        }
        // A block would take them for line breaks of its own or lose them.
        if is_break(c) && c != '\n' {
            (single, block) = (false, false);
        }
        before = Some(c);
    }
    Styles { plain, single, block: block && before.is_some_and(|last| last != ' ') }
}

fn string(text: &str, place: Place, out: &mut String) {
    let styles = styles(text);
    if text.contains('\n') {
        match place {
            Place::Value { indent } if styles.block => literal(text, indent, out),
            _ => double_quoted(text, out),
        }
        return;
    }
    let merge_key = matches!(place, Place::Key) && text == "<<";
    if !is_plain_string(text) || is_old_typed(text) || merge_key || !styles.single {
        double_quoted(text, out);
    } else if styles.plain {
        out.push_str(text);
    } else {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    }
}

fn literal(text: &str, indent: usize, out: &mut String) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    let body = match text.strip_suffix('\n') {
        None => {
            out.push('-');
            text
        }
        Some(body) => {
            if body.is_empty() || body.ends_with('\n') {
                out.push('+');
            }
            body
        }
    };
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(indent, out);
            out.push_str(line);
        }
    }
}

fn double_quoted(text: &str, out: &mut String) {
    out.push('"');
    // The reference looks for the mark at the beginning of the text, whichever character it is at.
    let marked = text.starts_with('\u{feff}');
    for c in text.chars() {
        let escape = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\0' => "\\0",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\u{b}' => "\\v",
            '\u{c}' => "\\f",
            '\u{1b}' => "\\e",
            '\u{85}' => "\\N",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            c if is_printable(c) && !marked => {
                out.push(c);
                continue;
            }
            c => {
                let code = u32::from(c);
                let written = match code {
                    ..=0xff => write!(out, "\\x{code:02X}"),
                    0x100..=0xffff => write!(out, "\\u{code:04X}"),
                    _ => write!(out, "\\U{code:08X}"),
                };
                debug_assert!(written.is_ok(), "a string takes every text");
                continue;
            }
        };
        out.push_str(escape);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceId;
    use crate::yaml::{self, Node};
    use proptest::prelude::*;
    use serde_json::json;

    fn value(text: &str) -> String {
        emit(&json!({ "v": text })).trim_start_matches("v: ").trim_end_matches('\n').to_owned()
    }

    #[test]
    fn strings_are_quoted_where_they_would_be_read_otherwise() {
        for (text, written) in [
            ("8080", "\"8080\""),
            ("22:22", "\"22:22\""),
            ("8080:80", "8080:80"),
            ("yes", "\"yes\""),
            ("null", "\"null\""),
            ("", "\"\""),
            ("2026-11-22", "\"2026-11-22\""),
            ("a: b", "'a: b'"),
            ("a:b", "a:b"),
            ("- x", "'- x'"),
            ("--x", "--x"),
            ("it's", "it's"),
            ("'q'", "'''q'''"),
            ("a #b", "'a #b'"),
            ("x]", "x]"),
            ("[ -f x ] && y", "'[ -f x ] && y'"),
            (" lead", "' lead'"),
            ("trail ", "'trail '"),
            ("a\tb", "\"a\\tb\""),
            ("\u{1}\u{7f}é日\u{1f600}", "\"\\x01\\x7Fé日\\U0001F600\""),
            ("a\r\nb", "\"a\\r\\nb\""),
            ("${A:-b}", "${A:-b}"),
            ("<<", "<<"),
            ("---", "'---'"),
        ] {
            assert_eq!(value(text), written);
        }
    }

    #[test]
    fn what_json_has_no_word_for_is_written_without_quotes() {
        let value = json!({ "date": unquoted("2024-01-01T00:00:00Z"), "list": [unquoted(".inf"), unquoted("-.inf"), unquoted(".nan")] });
        assert_eq!(emit(&value), "date: 2024-01-01T00:00:00Z\nlist:\n  - .inf\n  - -.inf\n  - .nan\n");
        // Nothing else gets through that way.
        assert_eq!(emit(&json!({ "v": unquoted("a: b") })), "v:\n  \"\\0unquoted\": 'a: b'\n");
        assert_eq!(emit(&json!({ "v": unquoted("5") })), "v:\n  \"\\0unquoted\": \"5\"\n");
    }

    #[test]
    fn lines_become_blocks() {
        assert_eq!(value("a\nb"), "|-\n  a\n  b");
        assert_eq!(value("a\n\n b\n"), "|\n  a\n\n   b");
        assert_eq!(emit(&json!(["a\n\n"])), "- |+\n  a\n\n");
        assert_eq!(value(" a\nb"), "|2-\n   a\n  b");
        assert_eq!(value("a \nb"), "\"a \\nb\"");
        assert_eq!(emit(&json!({ "v": "\n" })), "v: |2+\n\n");
    }

    #[test]
    fn collections_and_numbers() {
        let value = json!({
            "a": { "b": [1, -2.5, 1e21, 100_000.0, 123_456_789.0, 0.00001], "c": [] , "d": {} },
            "e": [[1, [2]], { "f": null, "g": [true] }, [{}]],
            "<<": 18_446_744_073_709_551_615_u64,
            "true": "x\ny",
        });
        let text = "a:\n  b:\n    - 1\n    - -2.5\n    - 1e+21\n    - 100000\n    - 1.23456789e+08\n    - 1e-05\n  c: []\n  d: {}\n\
            e:\n  - - 1\n    - - 2\n  - f: null\n    g:\n      - true\n  - - {}\n\"<<\": 18446744073709551615\n\"true\": |-\n  x\n  y\n";
        assert_eq!(emit(&value), text);
        assert_eq!(emit(&json!("x")), "x\n");
        let long = "k".repeat(200);
        assert_eq!(emit(&json!({ (long.clone()): [1] })), format!("? {long}\n:\n  - 1\n"));
    }

    fn json_of(node: &Node) -> Value {
        match &node.value {
            yaml::Value::Null => Value::Null,
            yaml::Value::Bool(b) => json!(b),
            yaml::Value::Int(n) => json!(n),
            yaml::Value::Uint(n) => json!(n),
            yaml::Value::Float(f) => json!(f),
            yaml::Value::Time(s) => json!({ "time": s }),
            yaml::Value::String(s) => json!(s),
            yaml::Value::Seq(items) => items.iter().map(json_of).collect(),
            yaml::Value::Map(map) => Value::Object(map.iter().map(|e| (e.key.clone(), json_of(&e.value))).collect()),
        }
    }

    fn read_back(text: &str) -> Value {
        let parsed = yaml::parse(SourceId(0), text);
        assert_eq!(parsed.diagnostics, [], "{text}");
        parsed.documents.first().map_or(Value::Null, json_of)
    }

    /// Texts made of what has a meaning in YAML.
    fn nasty() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "a",
            "b c",
            " ",
            "  ",
            "\n",
            "\n\n",
            "\t",
            "\r",
            ":",
            ": ",
            "#",
            " #",
            "-",
            "- ",
            "?",
            ",",
            "[",
            "]",
            "{",
            "}",
            "&",
            "*",
            "!",
            "|",
            ">",
            "'",
            "\"",
            "%",
            "@",
            "`",
            "\\",
            "---",
            "...",
            "<<",
            "~",
            "null",
            "true",
            "yes",
            "0",
            "1",
            ".",
            "_",
            "e",
            "+",
            "0x",
            "12:30",
            "2026-11-22",
            "$",
            "é",
            "\u{85}",
            "\u{a0}",
            "\u{2028}",
            "\u{feff}",
            "\u{1f600}",
            "\u{0}",
            "\u{7f}",
            "=",
        ]);
        prop::collection::vec(pieces, 0..6).prop_map(|p| p.concat())
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            1 => Just(Value::Null),
            1 => any::<bool>().prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<u64>().prop_map(Value::from),
            // Whole floats are written like integers.
            1 => any::<f64>().prop_filter("a fraction", |f| f.is_finite() && f.fract() != 0.0).prop_map(Value::from),
            4 => nasty().prop_map(Value::from),
            1 => any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((nasty(), inner), 0..5).prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_is_written_reads_back(value in values()) {
            let text = emit(&value);
            prop_assert_eq!(read_back(&text), value, "{}", text);
        }
    }
}
