//! Errors of syntax in and behind quoted values.

use super::context::{Context, brief};
use crate::diag::Diagnostic;
use std::ops::Range;

pub(super) fn after_quote(context: &Context<'_>) -> Diagnostic {
    let Context { text, at, .. } = *context;
    let error = Diagnostic::error("yaml-syntax", "text follows the closing quote").at(context.span(context.rest()));
    let Some(open) = context.opening_quote() else { return error.help("put the whole value in quotes") };
    let single = text[open..].starts_with('\'');
    if context.slice(open..at).contains('\n') {
        let quote = if single { '\'' } else { '"' };
        return error.related(context.one(open), "the quote opened here").help(format!("the value that begins above may lack its closing {quote}"));
    }
    if context.in_brackets {
        let (before, after) = (context.slice(open..at).trim_end(), brief(context.slice(context.rest())));
        let next = after.split_inclusive(['"', '\'', ',']).take(2).collect::<String>();
        let end = open + before.len();
        return Diagnostic::error("yaml-syntax", "a comma is missing behind this")
            .at(context.span(open..end))
            .help(format!("write `{before}, {}`", next.trim_end_matches(',')));
    }
    let whole = context.slice(open..context.rest().end.max(at));
    let inner = |quote: char| whole.strip_prefix(quote).and_then(|w| w.strip_suffix(quote)).filter(|w| !w.is_empty());
    if single {
        let cure = inner('\'').map_or_else(|| "`''`".to_owned(), |w| format!("'{}'", w.replace('\'', "''")));
        error.help(format!("inside single quotes an apostrophe is written twice: {cure}"))
    } else {
        match inner('"') {
            Some(w) if !w.contains(['\'', '\\']) => error.help(format!("take single quotes outside: '{w}'")),
            _ => error.help("put the whole value in quotes; a quote inside double quotes is written `\\\"`"),
        }
    }
}

/// The first escape in the open double-quoted value that YAML doesn't know.
pub(super) fn bad_escape<'t>(context: &Context<'t>) -> (Range<usize>, &'t str) {
    let Context { text, at, .. } = *context;
    let start = context.opening_quote().unwrap_or(at);
    match first_bad_escape(text, start) {
        Some(range) => (range.clone(), context.slice(range)),
        None => (at..at, "\\"),
    }
}

/// The range of the first unknown escape after the double quote at `open`.
pub(super) fn first_bad_escape(text: &str, open: usize) -> Option<Range<usize>> {
    let mut chars = text[open..].char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return None,
            '\\' => {
                let (j, escaped) = chars.next()?;
                let digits = match escaped {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ if "0abt\tnvfre \"/\\N_LP\n\r".contains(escaped) => continue,
                    _ => return Some(open + i..open + j + escaped.len_utf8()),
                };
                let code = text[open + j + 1..].chars().take_while(char::is_ascii_hexdigit).take(digits).count();
                let point = u32::from_str_radix(&text[open + j + 1..open + j + 1 + code], 16).ok();
                if code < digits || point.and_then(char::from_u32).is_none() {
                    return Some(open + i..open + j + 1 + code);
                }
            }
            _ => {}
        }
    }
    None
}

/// The quote that closes the one at `open`, if it stands where a value can end.
pub(super) fn closing_quote(text: &str, open: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let quote = *bytes.get(open)?;
    let mut i = open + 1;
    loop {
        match bytes.get(i)? {
            b'\\' if quote == b'"' => i += 1,
            b if *b == quote && quote == b'\'' && bytes.get(i + 1) == Some(&b'\'') => i += 1,
            b if *b == quote => break,
            _ => {}
        }
        i += 1;
    }
    let rest = text[i + 1..].lines().next().unwrap_or("").trim_start();
    (rest.is_empty() || rest.starts_with(['#', ',', ']', '}'])).then_some(i)
}
