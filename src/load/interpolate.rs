//! `${VARIABLE}` in the values of a file.
//!
//! | written | set | set and empty | unset |
//! |---|---|---|---|
//! | `$V`, `${V}` | its value | empty | empty, with a warning |
//! | `${V:-text}` | its value | `text` | `text` |
//! | `${V-text}` | its value | empty | `text` |
//! | `${V:?text}` | its value | error `text` | error `text` |
//! | `${V?text}` | its value | empty | error `text` |
//! | `${V:+text}` | `text` | empty | empty |
//! | `${V+text}` | `text` | `text` | empty |
//! | `$$` | `$` | | |
//!
//! A `text` holds expressions in its turn and may hold balanced braces; it is looked at only where it is used, so in
//! `${A:-${B:?}}` nothing asks for `B` while `A` is set (as in the fifth major version of the reference; earlier ones
//! always asked). A name is a letter or `_` and then letters, digits and `_`; a `$` before anything else stays as it is.

use crate::diag::{Diagnostic, SourceMap, Span};
use crate::yaml::{Node, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Gives the value of a variable, `None` if it is unset.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How many findings of one call are kept.
const MAX_FINDINGS: usize = 200;

/// How many faults of one text are looked for; behind each the rest is read again.
const MAX_FAULTS: usize = 20;

/// How long a text may get, in bytes: the system takes no longer variable or argument by far.
const MAX_TEXT: usize = 4 << 20;

/// How long all texts of one tree may get together.
const MAX_TEXTS: usize = 16 << 20;

/// How deep expressions may nest.
const MAX_DEPTH: usize = 64;

/// A text after substitution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interpolated {
    /// The text.
    pub text: String,
    /// The variables whose values stand in it, in order, each once.
    pub variables: Vec<String>,
    /// Variables that were unset and had no default, with the byte range of their expression in the input.
    pub unset: Vec<(String, Range<usize>)>,
}

/// Why a text can't be substituted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InterpolationError {
    /// What happened.
    pub message: String,
    /// The byte range of the expression in the input.
    pub range: Range<usize>,
    /// The variable that `${V:?}` or `${V?}` asks for; absent where the expression is malformed.
    pub required: Option<String>,
    /// The text would get too long; the expression itself may be in order.
    pub too_long: bool,
}

/// One part of a text. Ranges count bytes of the text that was given to [`next_part`].
#[derive(Debug, PartialEq)]
pub(super) enum Part<'t> {
    /// As it is.
    Text(&'t str),
    /// `$$`
    Dollar,
    /// An expression, its range with dollar sign and braces.
    Expression { name: &'t str, operator: Option<(Operator, Range<usize>)>, range: Range<usize> },
    /// `${` and then something else than an expression.
    Malformed { what: &'static str, range: Range<usize> },
}

/// What stands behind the name, without the colon that makes empty count as unset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    /// `-`, `?` or `+`.
    pub sign: u8,
    /// Whether an empty value counts as none.
    pub or_empty: bool,
}

/// Length of the name that `text` begins with.
fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b) if b.is_ascii_alphabetic() || *b == b'_' => bytes.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count(),
        _ => 0,
    }
}

/// Offset of the brace that closes the one at `open`. Where braces don't balance, the last one of the line counts, as
/// in `${V:-{}`; so they do where a great many are open, which bounds the search.
fn closing_brace(text: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (i, b) in text.bytes().enumerate().skip(open) {
        match b {
            b'{' if depth == 256 => break,
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(i),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    let line = text[open..].lines().next().unwrap_or("");
    line.rfind('}').map(|i| open + i)
}

/// The part of `text` that begins at `at`, and where the next one begins. `at` must be before the end of the text.
pub(super) fn next_part(text: &str, at: usize) -> (Part<'_>, usize) {
    let rest = &text[at..];
    match rest.find('$') {
        Some(0) => {}
        found => {
            let end = found.map_or(text.len(), |i| at + i);
            return (Part::Text(&text[at..end]), end);
        }
    }
    let after = &rest[1..];
    if after.starts_with('$') {
        return (Part::Dollar, at + 2);
    }
    if !after.starts_with('{') {
        return match name_length(after) {
            0 => (Part::Text(&rest[..1]), at + 1),
            n => (Part::Expression { name: &after[..n], operator: None, range: at..at + 1 + n }, at + 1 + n),
        };
    }
    let malformed = |what, end| (Part::Malformed { what, range: at..end }, text.len());
    let Some(close) = closing_brace(text, at + 1) else {
        let end = rest.find(char::is_whitespace).map_or(text.len(), |i| at + i);
        return malformed("its brace is never closed", end);
    };
    let range = at..close + 1;
    let inside = &text[at + 2..close];
    let name = &inside[..name_length(inside)];
    let tail = &inside[name.len()..];
    if name.is_empty() {
        let what = if inside.is_empty() { "it names no variable" } else { "a name begins with a letter or `_`" };
        return malformed(what, range.end);
    }
    let or_empty = tail.starts_with(':');
    let sign = tail.as_bytes().get(usize::from(or_empty)).copied();
    match sign {
        None if !or_empty => (Part::Expression { name, operator: None, range: range.clone() }, range.end),
        Some(sign @ (b'-' | b'?' | b'+')) => {
            let start = at + 2 + name.len() + usize::from(or_empty) + 1;
            (Part::Expression { name, operator: Some((Operator { sign, or_empty }, start..close)), range: range.clone() }, range.end)
        }
        _ if or_empty => malformed("a colon needs `-`, `?` or `+` after it", range.end),
        _ => malformed("behind the name only `:-`, `-`, `:?`, `?`, `:+` or `+` can stand", range.end),
    }
}

/// Substitutes in one text.
///
/// # Errors
/// A malformed expression, or a variable that `${V:?}` asks for and that is missing.
pub fn interpolate_str(text: &str, lookup: Lookup<'_>) -> Result<Interpolated, InterpolationError> {
    let mut result = Interpolated { text: String::with_capacity(text.len()), ..Interpolated::default() };
    substitute(text, 0, 0, lookup, &mut result)?;
    Ok(result)
}

fn too_long(limit: usize, range: Range<usize>) -> InterpolationError {
    InterpolationError { message: format!("with its variables the text gets longer than {} MB", limit >> 20), range, required: None, too_long: true }
}

/// Adds `text`, which begins at byte `base` of the whole, to `result`.
fn substitute(text: &str, base: usize, depth: usize, lookup: Lookup<'_>, result: &mut Interpolated) -> Result<(), InterpolationError> {
    let whole = |range: Range<usize>| base + range.start..base + range.end;
    if depth > MAX_DEPTH {
        let message = format!("expressions nest deeper than {MAX_DEPTH} levels");
        return Err(InterpolationError { message, range: whole(0..text.len()), required: None, too_long: false });
    }
    let mut at = 0;
    while at < text.len() {
        let (part, next) = next_part(text, at);
        at = next;
        match part {
            Part::Text(plain) => result.text.push_str(plain),
            Part::Dollar => result.text.push('$'),
            Part::Malformed { what, range } => {
                let message = format!("`{}` is no expression: {what}", &text[range.clone()]);
                return Err(InterpolationError { message, range: whole(range), required: None, too_long: false });
            }
            Part::Expression { name, operator, range } => {
                let value = lookup(name);
                let counts = |op: Operator| value.as_ref().is_some_and(|v| !(op.or_empty && v.is_empty()));
                let argument = |argument: Range<usize>, result: &mut Interpolated| {
                    let start = base + argument.start;
                    substitute(&text[argument], start, depth + 1, lookup, result)
                };
                match operator {
                    Some((op @ Operator { sign: b'+', .. }, alternate)) => {
                        if counts(op) {
                            argument(alternate, result)?;
                        }
                        continue;
                    }
                    Some((op @ Operator { sign: b'-', .. }, default)) if !counts(op) => {
                        argument(default, result)?;
                        continue;
                    }
                    Some((op, reason)) if !counts(op) => {
                        let mut said = Interpolated::default();
                        argument(reason, &mut said)?;
                        let state = if value.is_some() { "is empty" } else { "is not set" };
                        let message = match said.text.trim() {
                            "" => format!("the required variable `{name}` {state}"),
                            reason => format!("the required variable `{name}` {state}: {reason}"),
                        };
                        return Err(InterpolationError { message, range: whole(range), required: Some(name.to_owned()), too_long: false });
                    }
                    _ => {}
                }
                match value {
                    Some(value) => {
                        result.text.push_str(&value);
                        if result.text.len() > MAX_TEXT {
                            return Err(too_long(MAX_TEXT, whole(range)));
                        }
                        if result.variables.len() < MAX_FINDINGS && !result.variables.iter().any(|v| v == name) {
                            result.variables.push(name.to_owned());
                        }
                    }
                    None => result.unset.push((name.to_owned(), whole(range))),
                }
            }
        }
    }
    Ok(())
}

/// Substitutes in every string value of the tree, never in keys, and records in [`Node::variables`] what was used.
/// What was a string stays one: `"${N}"` and `${N}` are cast where the format wants a number. Unset variables (once for
/// each place) and faults are reported at the exact expression where it stands in the file as it is, otherwise at the
/// scalar.
///
/// Returns the places of the scalars that have a fault and stay as they are written: nothing is known of what they say.
pub fn interpolate(node: &mut Node, sources: &SourceMap, lookup: Lookup<'_>, diagnostics: &mut Vec<Diagnostic>) -> BTreeSet<Span> {
    let mut state = Walk { sources, lookup, diagnostics, reported: BTreeSet::new(), left_out: 0, unknown: BTreeSet::new(), length: 0 };
    walk(node, &mut state);
    if state.left_out > 0 {
        let what = format!("{} more findings about variables are left out", state.left_out);
        state.diagnostics.push(Diagnostic::warning("more-findings", what).at(node.span));
    }
    state.unknown
}

/// The warning that a variable is unset and has no default.
pub(super) fn unset(name: &str) -> Diagnostic {
    Diagnostic::warning("unset-variable", format!("the variable `{name}` is not set and counts as empty"))
        .help(format!("set it, or write a default: `${{{name}:-…}}`; a literal dollar sign is written `$$`"))
}

/// The error in `text` with its cure.
pub(super) fn malformed(error: InterpolationError, text: &str) -> Diagnostic {
    match error.required {
        Some(name) => Diagnostic::error("required-variable", error.message).help(format!("set `{name}` in the environment or in an env file")),
        None if error.too_long => Diagnostic::error("size-limit", error.message).help("use shorter values, or fewer of them"),
        None => {
            let help = match meant(text.get(error.range).unwrap_or_default()) {
                Some(cure) => format!("{cure}; a literal dollar sign is written `$$`"),
                None => "write `$$` for a literal dollar sign".to_owned(),
            };
            Diagnostic::error("invalid-interpolation", error.message).help(help)
        }
    }
}

/// What the writer of an expression that is none may have meant.
fn meant(expression: &str) -> Option<String> {
    let inside = expression.strip_prefix("${")?;
    let Some(inside) = inside.strip_suffix('}') else {
        return Some(format!("add the closing brace: `{expression}}}`"));
    };
    let (name, tail) = inside.split_at(name_length(inside));
    let trimmed = inside.trim();
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'-' || b == b' ');
    Some(match (name, tail) {
        ("", "") => "name the variable: `${NAME}`".to_owned(),
        ("", tail) if tail.starts_with('{') => "expressions of other tools are not known here".to_owned(),
        ("", tail) if tail.starts_with(['#', '!']) => "only a shell can do that: set a variable to the result".to_owned(),
        _ if trimmed != inside && name_length(trimmed) == trimmed.len() => format!("write `${{{trimmed}}}`, without blanks"),
        ("", _) => return None,
        (_, tail) if tail.starts_with("${") => "a name can't be put together from other variables".to_owned(),
        (name, tail) if tail.starts_with(":=") => format!("write `${{{name}:-{}}}` for a default", &tail[2..]),
        (name, tail) if tail.starts_with('=') => format!("write `${{{name}-{}}}` for a default", &tail[1..]),
        (_, tail) if tail.starts_with(['%', '#', '/', '^', ',', '@']) || tail.strip_prefix(':').is_some_and(number) => {
            "only a shell can do that: set a variable to the result".to_owned()
        }
        (name, tail) if tail.len() > 1 && tail.starts_with(':') => format!("write `${{{name}:-{}}}` for a default", &tail[1..]),
        (_, tail) if tail.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.- ".contains(&b)) => {
            let name: String = inside.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            format!("names are made of letters, digits and `_`: `${{{name}}}`")
        }
        _ => return None,
    })
}

struct Walk<'a> {
    sources: &'a SourceMap,
    lookup: Lookup<'a>,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// A value that is used through aliases has one place, and one is enough to say so.
    reported: BTreeSet<(Span, String)>,
    left_out: usize,
    unknown: BTreeSet<Span>,
    /// Bytes of all texts so far.
    length: usize,
}

fn walk(node: &mut Node, state: &mut Walk<'_>) {
    match &mut node.value {
        Value::Seq(items) => items.iter_mut().for_each(|item| walk(item, state)),
        Value::Map(map) => map.iter_mut().for_each(|entry| walk(&mut entry.value, state)),
        Value::String(text) if text.contains('$') && state.length > MAX_TEXTS => _ = state.unknown.insert(node.span),
        Value::String(text) if text.contains('$') => match interpolate_str(text, state.lookup) {
            Ok(found) if state.length.saturating_add(found.text.len()) > MAX_TEXTS => {
                // Said once; what isn't substituted costs nothing more.
                if state.length <= MAX_TEXTS {
                    state.report(malformed(too_long(MAX_TEXTS, 0..text.len()), text), node.span, text, 0..text.len());
                }
                state.length = usize::MAX;
                state.unknown.insert(node.span);
            }
            Ok(found) => {
                state.length += found.text.len();
                for (name, range) in found.unset {
                    state.report(unset(&name), node.span, text, range);
                }
                *text = found.text;
                node.variables = found.variables;
            }
            Err(error) => {
                state.unknown.insert(node.span);
                let mut next = Some((error, 0));
                let mut times = 0..MAX_FAULTS;
                while let Some((error, base)) = next.take().filter(|_| times.next().is_some()) {
                    let range = base + error.range.start..base + error.range.end;
                    let error = InterpolationError { range: range.clone(), ..error };
                    state.report(malformed(error, text), node.span, text, range.clone());
                    // What stands behind it can have faults of its own.
                    let rest = text.get(range.end.max(base + 1)..).unwrap_or_default();
                    next = interpolate_str(rest, state.lookup).err().map(|error| (error, range.end.max(base + 1)));
                }
            }
        },
        _ => {}
    }
}

impl Walk<'_> {
    fn report(&mut self, diagnostic: Diagnostic, scalar: Span, value: &str, range: Range<usize>) {
        // Even where the first ones were only warnings, an error must not be lost.
        if self.reported.len() >= MAX_FINDINGS && !diagnostic.is_error() {
            self.left_out += 1;
            return;
        }
        let span = match locate(self.sources.text(scalar), value, range) {
            Some(range) => scalar.part(range.start, range.end),
            None => scalar,
        };
        if self.reported.insert((span, diagnostic.message.clone())) {
            self.diagnostics.push(diagnostic.at(span));
        }
    }
}

/// Where the bytes `range` of `value` stand in `written`, the text of the scalar in its file: the occurrence of the
/// same rank, if quoting and folding left all of them alone.
pub(super) fn locate(written: &str, value: &str, range: Range<usize>) -> Option<Range<usize>> {
    if written == value {
        return Some(range);
    }
    let expression = value.get(range.clone())?;
    let rank = value[..range.start].matches(expression).count();
    if written.matches(expression).count() != value.matches(expression).count() {
        return None;
    }
    let (start, _) = written.match_indices(expression).nth(rank)?;
    Some(start..start + expression.len())
}

/// What a file says about one variable (`config --variables`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// `${V:?}` or `${V?}` somewhere.
    pub required: bool,
    /// The default of `${V:-d}` or `${V-d}`, as written; the first, where there are several.
    pub default: Option<String>,
    /// The alternate of `${V:+a}` or `${V+a}`, as written; the first, where there are several.
    pub alternate: Option<String>,
}

/// Adds the variables that the values of the tree mention to `found`, those inside defaults too. To be called before
/// [`interpolate`].
pub fn variables(node: &Node, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Seq(items) => items.iter().for_each(|item| variables(item, found)),
        Value::Map(map) => map.iter().for_each(|entry| variables(&entry.value, found)),
        Value::String(text) if text.contains('$') => mentioned(text, 0, found),
        _ => {}
    }
}

fn mentioned(text: &str, depth: usize, found: &mut BTreeMap<String, Variable>) {
    let mut at = 0;
    while at < text.len() && depth <= MAX_DEPTH {
        let (part, next) = next_part(text, at);
        at = next;
        let Part::Expression { name, operator, .. } = part else { continue };
        let variable = found.entry(name.to_owned()).or_default();
        let Some((operator, argument)) = operator else { continue };
        let argument = &text[argument];
        match operator.sign {
            b'-' => _ = variable.default.get_or_insert_with(|| argument.to_owned()),
            b'+' => _ = variable.alternate.get_or_insert_with(|| argument.to_owned()),
            _ => variable.required = true,
        }
        mentioned(argument, depth + 1, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "SET" => Some("set".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn text(input: &str) -> String {
        match interpolate_str(input, &lookup) {
            Ok(found) => found.text,
            Err(error) => format!("ERROR {:?} {error}", error.range),
        }
    }

    #[test]
    fn every_form_with_set_empty_and_unset() {
        for (input, set, empty, unset) in [
            ("$V", "set", "", ""),
            ("${V}", "set", "", ""),
            ("${V:-d}", "set", "d", "d"),
            ("${V-d}", "set", "", "d"),
            ("${V:+a}", "a", "", ""),
            ("${V+a}", "a", "a", ""),
            ("${V:?m}", "set", "ERROR 0..7 the required variable `EMPTY` is empty: m", "ERROR 0..7 the required variable `U` is not set: m"),
            ("${V?m}", "set", "", "ERROR 0..6 the required variable `U` is not set: m"),
            ("${V?}", "set", "", "ERROR 0..5 the required variable `U` is not set"),
        ] {
            assert_eq!(text(&input.replace('V', "SET")), set);
            // Names as long as `V` would be keep the ranges readable.
            let shorten = |s: String, by: usize| {
                s.split_once("..").map_or(s.clone(), |(a, b)| {
                    let (end, rest) = b.split_once(' ').unwrap();
                    format!("{a}..{} {rest}", end.parse::<usize>().unwrap() - by)
                })
            };
            assert_eq!(shorten(text(&input.replace('V', "EMPTY")), 4), empty);
            assert_eq!(text(&input.replace('V', "U")), unset);
        }
    }

    #[test]
    fn dollars_braces_and_nesting() {
        for (input, output) in [
            ("$$", "$"),
            ("$$$SET", "$set"),
            ("a$", "a$"),
            ("$1 $ {X} $}", "$1 $ {X} $}"),
            ("$SET-x$SET", "set-xset"),
            ("${SET:-a}b}", "setb}"),
            ("${U:-${U2:-${U3:-deep}}}", "deep"),
            ("${U:-${SET:-a}b}c}", "setbc}"),
            ("${U:-{\"a\":1}}", "{\"a\":1}"),
            ("${U:-{{.x}}-y}", "{{.x}}-y"),
            ("{{.Node}}${U-x}{{y}}", "{{.Node}}x{{y}}"),
            ("${U:-{}", "{"),
            ("${U:-{a}", "{a"),
            ("${U:-a:-b?c}", "a:-b?c"),
            ("${U:-$$SET}", "$SET"),
            ("${SET:+${SET}-y}", "set-y"),
            ("${U:-a\nb}", "a\nb"),
            ("${set:-Names keep their case}", "Names keep their case"),
            // What isn't used isn't asked for.
            ("${SET:-${U:?boom}}", "set"),
            ("${U:?no ${SET}}", "ERROR 0..15 the required variable `U` is not set: no set"),
            ("x ${U:-${U2:?boom}}", "ERROR 7..18 the required variable `U2` is not set: boom"),
        ] {
            assert_eq!(text(input), output, "{input}");
        }
    }

    #[test]
    fn malformed_expressions() {
        for (input, range) in [
            ("a ${", 2..4),
            ("${SET b", 0..5),
            ("${}", 0..3),
            ("${1}", 0..4),
            ("${a b}", 0..6),
            ("${SET:}", 0..7),
            ("${SET:x}", 0..8),
            ("${SET!x}", 0..8),
            ("${ SET}", 0..7),
            ("${É}", 0..5),
            ("é ${U:-${}}", 8..11),
        ] {
            let error = interpolate_str(input, &lookup).unwrap_err();
            assert_eq!((error.range, error.required), (range, None), "{input}");
        }
        assert!(interpolate_str(&"${A:-".repeat(100_000), &lookup).is_err());
        assert!(interpolate_str(&format!("{}{}", "${A:-".repeat(500), "}".repeat(500)), &lookup).is_err());
    }

    #[test]
    fn what_was_used_is_recorded() {
        let found = interpolate_str("${SET} $U ${EMPTY:-${U2}} $SET", &lookup).unwrap();
        assert_eq!(found.text, "set   set");
        assert_eq!(found.variables, ["SET"]);
        assert_eq!(found.unset, [("U".into(), 7..9), ("U2".into(), 19..24)]);
    }

    fn report(text: &str) -> (Node, Vec<String>) {
        let mut sources = SourceMap::new();
        let id = sources.add("c.yaml", text);
        let mut parsed = yaml::parse(id, text);
        assert_eq!(parsed.diagnostics, []);
        let mut node = parsed.documents.remove(0);
        let mut diagnostics = Vec::new();
        interpolate(&mut node, &sources, &lookup, &mut diagnostics);
        let said = diagnostics.iter().map(|d| d.span.map_or(String::new(), |s| format!("{} {} {}", sources.place(s), d.code, sources.text(s))));
        (node, said.collect())
    }

    #[test]
    fn values_are_substituted_and_keys_are_not() {
        let (node, said) = report("$SET: $SET\nlist: [\"${SET}\", 1, '$$x']\nn: ${SET}\n");
        assert_eq!(node.get("$SET").unwrap().as_str(), Some("set"));
        assert_eq!(node.get("n").unwrap().variables, ["SET"]);
        assert_eq!(node.get("list").unwrap().as_seq().unwrap()[2].as_str(), Some("$x"));
        assert!(said.is_empty());
    }

    #[test]
    fn places_are_exact_inside_scalars() {
        let (_, said) = report(concat!(
            "plain: a ${U} b ${U}\n",
            "quoted: \"\\t$U2 '${U3:?x}\"\n",
            "single: 'it''s $U4'\n",
            "block: |\n  one\n  two ${U5}\n",
            "folded: >\n  ${U6:-\n  ${U7}}\n",
            "escaped: \"\\x24U8\"\n",
            "x: &x ${U9}\ny: *x\n",
        ));
        assert_eq!(
            said,
            [
                "c.yaml:1:10 unset-variable ${U}",
                "c.yaml:1:17 unset-variable ${U}",
                "c.yaml:2:17 required-variable ${U3:?x}",
                "c.yaml:3:16 unset-variable $U4",
                "c.yaml:6:7 unset-variable ${U5}",
                "c.yaml:9:3 unset-variable ${U7}",
                "c.yaml:10:10 unset-variable \"\\x24U8\"",
                "c.yaml:11:7 unset-variable ${U9}",
            ]
        );
    }

    #[test]
    fn variables_are_listed_with_what_is_said_about_them() {
        let text = "a: ${A:-${B:?m}} ${A:-other}\nb: [$C, '${D:+alt}']\n";
        let mut found = BTreeMap::new();
        variables(&yaml::parse(crate::diag::SourceId(0), text).documents[0], &mut found);
        let lines: Vec<String> = found.iter().map(|(k, v)| format!("{k} {} {:?} {:?}", v.required, v.default, v.alternate)).collect();
        assert_eq!(lines, ["A false Some(\"${B:?m}\") None", "B true None None", "C false None None", "D false None Some(\"alt\")"]);
    }
}
