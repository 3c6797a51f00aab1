//! Errors of syntax in lines that don't fit those above.

use super::context::{Context, brief, partner, quoted};
use crate::diag::Diagnostic;
use std::ops::Range;

/// What is wrong with `key:value` or `key = value`, if that is what `line` looks like, and `key: value`.
pub(super) fn glued(line: &str) -> Option<(&'static str, String)> {
    let word = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if let Some((key, value)) = line.split_once(':')
        && word(key)
        && !value.is_empty()
        && !value.starts_with([' ', '/'])
    {
        return Some(("a blank is missing after the colon", format!("{key}: {value}")));
    }
    let (key, value) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()))?;
    (word(key) && !value.is_empty()).then(|| ("an equals sign stands where a colon belongs", format!("{key}: {value}")))
}

/// The text of a block scalar that isn't indented deeper than its key.
pub(super) fn flush_block(context: &Context<'_>) -> Option<Diagnostic> {
    let above = context.content(context.line(context.at).start.checked_sub(1)?);
    let (key, mark) = context.slice(above).split_once(": ")?;
    let mark = mark.trim();
    if !mark.starts_with(['|', '>']) || mark.len() > 3 {
        return None;
    }
    let message = format!("the text of `{key}` is not indented deeper than `{key}`");
    let range = context.content(context.at);
    Some(Diagnostic::error("yaml-syntax", message).at(context.span(range)).help("indent every line of the text by two more spaces"))
}

/// A line that stands right below the dashes of a list and has none.
pub(super) fn missing_dash(context: &Context<'_>) -> Option<Diagnostic> {
    let range = context.content(context.at);
    let above = context.content(context.line(context.at).start.checked_sub(1)?);
    let indent = |at: usize| at - context.line(at).start;
    if !context.slice(above.clone()).starts_with("- ") || indent(above.start) != indent(range.start) {
        return None;
    }
    let item = brief(context.slice(range.clone()));
    Some(Diagnostic::error("yaml-syntax", "a list item has no dash").at(context.span(range)).help(format!("write `- {item}`")))
}

/// A colon behind a plain value: a value with a colon in it, or a key that the line above has swallowed.
pub(super) fn colon(context: &Context<'_>) -> Diagnostic {
    let at = context.at;
    if let Some(found) = unclosed_above(context) {
        return found;
    }
    let error = |message: String, range: Range<usize>, help: String| Diagnostic::error("yaml-syntax", message).at(context.span(range)).help(help);
    let value = context.last.clone();
    let end = context.content(at).end.max(at);
    if value.is_empty() || value.end > at || !context.slice(value.end..at).trim().is_empty() {
        return error("a colon can't stand here".into(), at..at + 1, "put the text in quotes if it belongs to a value".into());
    }
    let Some(last_line) = context.slice(value.clone()).rfind('\n') else {
        let whole = context.slice(value.start..end);
        return error("a plain value can't hold a colon before a blank".into(), at..at + 1, format!("put it in quotes: {}", quoted(whole)));
    };
    let key_start = value.end - context.slice(value.start + last_line..value.end).trim_start().len();
    let above = context.content(value.start);
    // Behind the dashes of a list the value is a line of its own too.
    let before = context.slice(above.start..value.start);
    if !before.trim_start_matches(['-', ' ']).is_empty() {
        let name = before.trim_start_matches("- ").split(':').next().unwrap_or("");
        return deeper(context, key_start..value.end, name);
    }
    let above = value.start..above.end.max(value.start);
    let above_text = context.slice(above.clone());
    match glued(above_text) {
        Some((what, spaced)) => error(what.into(), above, format!("write `{spaced}`")),
        None => {
            let name = brief(above_text);
            error(format!("`{name}` is no key: it has no colon"), above, format!("write `{name}:`"))
        }
    }
}

/// A key on a line that can only continue the value above it.
pub(super) fn deeper(context: &Context<'_>, key: Range<usize>, above: &str) -> Diagnostic {
    let message = format!("`{}` is indented deeper than the line above, whose key has a value already", context.slice(key.clone()));
    Diagnostic::error("yaml-syntax", message).at(context.span(key)).help(format!("indent it like `{above}`"))
}

/// The key that the line below holds, if it looks like one.
pub(super) fn next_line_is_key(context: &Context<'_>) -> Option<Range<usize>> {
    let below = context.content(context.line(context.at).end + context.text[context.line(context.at).end..].find('\n')? + 1);
    let line = context.slice(below.clone());
    let key = line.find(": ").or_else(|| line.ends_with(':').then(|| line.len() - 1))?;
    Some(below.start..below.start + key)
}

/// A line whose indentation or beginning doesn't fit what is around it.
pub(super) fn misplaced_line(context: &Context<'_>, expected: &str) -> Diagnostic {
    let Context { text, at, .. } = *context;
    let content = context.content(at);
    let error = |message: String, help: String| Diagnostic::error("yaml-syntax", message).at(context.span(content.clone())).help(help);
    let line = context.slice(content.clone());
    let indent = content.start - context.line(at).start;
    let dash = line == "-" || line.starts_with("- ");
    if !dash && at > content.start {
        let range = at..content.end.max(at);
        let text = context.slice(range.clone());
        let error = Diagnostic::error("yaml-syntax", "text follows a value that is complete").at(context.span(range));
        let last = context.slice(context.last.clone());
        let inside = last.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
        return match inside.filter(|i| !i.contains(['"', '\\']) && context.last.end == at && !text.contains(['"', '\\'])) {
            Some(inside) => error.help(format!("put the whole value in quotes: \"{inside}{text}\"")),
            None => error.help("put the whole value in quotes, or remove the text"),
        };
    }
    // `*base` alone, where `<<: *base` is meant.
    let last = context.slice(context.last.clone());
    if last.starts_with('*') && !last.contains(char::is_whitespace) && context.content(context.last.start) == context.last {
        return Diagnostic::error("yaml-syntax", format!("`{last}` stands alone where keys stand"))
            .at(context.span(context.last.clone()))
            .help(format!("write `<<: {last}` to take over the keys of its value"));
    }
    let (mut inner, mut outer) = (None, None);
    let mut smallest = usize::MAX;
    for above in text[..context.line(at).start].lines().rev() {
        let trimmed = above.trim_start();
        let width = above.len() - trimmed.len();
        if trimmed.is_empty() || trimmed.starts_with('#') || width >= smallest {
            continue;
        }
        smallest = width;
        let name = brief(trimmed.split(": ").next().unwrap_or(trimmed).trim_end_matches(':'));
        if width > indent {
            inner = Some((width, name));
        } else {
            outer = Some((width, name));
            break;
        }
    }
    let like = |(width, name): &(usize, String)| match width {
        0 => format!("not at all, like `{name}`"),
        1 => format!("by 1 space, like `{name}`"),
        _ => format!("by {width} spaces, like `{name}`"),
    };
    match (&inner, &outer) {
        (Some(inner), Some(outer)) if outer.0 < indent => {
            // An item goes with items, a key with keys.
            let fits = |(_, name): &(usize, String)| name.starts_with("- ") == dash;
            let help = match (fits(inner), fits(outer)) {
                (true, false) => format!("indent it {}", like(inner)),
                (false, true) => format!("indent it {}", like(outer)),
                _ => format!("indent it {}, or {}", like(inner), like(outer)),
            };
            error("the indentation of this line fits no line above".into(), help)
        }
        (Some(inner), None) => error("the indentation of this line fits no line above".into(), format!("indent it {}", like(inner))),
        _ if dash => error(
            format!("a list item stands where {expected} was expected"),
            match &inner {
                Some(inner) => format!("indent it {}, if it belongs to that list", like(inner)),
                None => "write it as `key: value`, like the lines above, or move it below the key of its list".into(),
            },
        ),
        _ => error(
            format!("`{}` stands where {expected} was expected", brief(line)),
            match &inner {
                Some(inner) => format!("indent it {}, or move it out of the list", like(inner)),
                None => "begin it with `- `, like the lines above, or move it out of the list".into(),
            },
        ),
    }
}

/// A bracket of a line above that is still open where a key follows that isn't indented deeper than its line.
pub(super) fn unclosed_above(context: &Context<'_>) -> Option<Diagnostic> {
    let open = context.bracket.filter(|_| context.in_brackets)?;
    let (line, above) = (context.content(context.at), context.content(open));
    let indent = |at: usize| at - context.line(at).start;
    let key = context.slice(line.clone()).split_once(':').map(|(key, _)| key)?;
    if context.line(open) == context.line(context.at) || indent(line.start) > indent(above.start) || key.contains(['"', '\'', ',', ']', '}']) {
        return None;
    }
    let bracket = context.text[open..].chars().next()?;
    let close = partner(bracket);
    let found = Diagnostic::error("yaml-syntax", format!("`{bracket}` is never closed")).at(context.one(open));
    Some(found.related(context.span(line.start..line.start + key.len()), "a key follows").help(format!("add `{close}`")))
}
