//! Errors of syntax in the words of the person who made them: what is there, and what to write instead.

use super::context::{Context, brief, partner, quoted};
use super::lines::{colon, deeper, flush_block, glued, misplaced_line, missing_dash, next_line_is_key, unclosed_above};
use super::quotes::{after_quote, bad_escape, closing_quote};
use crate::diag::{Diagnostic, Span};

/// A kind of error of syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A tab in the indentation.
    Tab,
    /// A character that can't begin a value, or must not be there at all.
    Start(char),
    /// A colon after something that can't be a key.
    Colon,
    /// A line without the colon that makes it a key.
    NoColon,
    /// Something else than a key inside a mapping.
    NoKey,
    /// Something else than an item inside a list.
    NoItem,
    UnclosedQuote,
    /// Text behind a closing quote.
    AfterQuote,
    Unclosed(char),
    Mismatched {
        open: char,
        close: char,
    },
    Misplaced,
    /// Between brackets: neither a comma nor the end.
    Separator {
        close: char,
    },
    /// `&` or `*` alone.
    NoName,
    Escape,
    /// `#` without a blank before it.
    CommentAttached,
    /// A comment between the lines of a plain value.
    CommentInside,
    Tag,
    TooDeep,
    DashInBrackets,
    DashAfterKey,
    /// Text behind `|` or `>`.
    BlockHeader,
    /// A comma or the like where a value is expected.
    NoValue,
    /// In the parser's words.
    Other(String),
}

pub(super) fn explain(fault: &Fault, context: &Context<'_>) -> Diagnostic {
    let Context { text, at, .. } = *context;
    let error = |message: String, span: Span, help: String| Diagnostic::error("yaml-syntax", message).at(span).help(help);
    match fault {
        Fault::Tab => {
            // The parser may stop a line early.
            let tabs = |from: usize| {
                let start = context.line(from).start;
                let blanks = text[start..].len() - text[start..].trim_start_matches([' ', '\t']).len();
                context.slice(start..start + blanks).contains('\t').then_some(start..start + blanks)
            };
            let next = text[at..].find('\n').map(|i| at + i + 1);
            let range = tabs(at).or_else(|| next.and_then(tabs)).unwrap_or(at..at);
            let lines = text.lines().filter(|l| l[..l.len() - l.trim_start().len()].contains('\t')).count();
            let help =
                if lines > 1 { format!("replace the tabs with spaces; {lines} lines have some") } else { "replace the tab with spaces".into() };
            error("a tab stands in the indentation, where YAML takes only spaces".into(), context.span(range), help)
        }
        Fault::Start(c) if c.is_control() || ('\u{80}'..'\u{a0}').contains(c) || *c == '\u{feff}' => {
            // The parser may stop where the value begins.
            let at = text[at..].find(*c).map_or(at, |i| at + i);
            let (name, help) = match c {
                '\0' => ("a null character (U+0000)".to_owned(), "remove it".to_owned()),
                '\u{feff}' => {
                    ("a byte order mark (U+FEFF)".to_owned(), "remove it: it is invisible in most editors, and may only begin a file".to_owned())
                }
                c => {
                    let code = u32::from(*c);
                    (format!("the control character U+{code:04X}"), format!("remove it, or write `\\x{code:02x}` inside double quotes"))
                }
            };
            error(format!("{name} must not stand in YAML"), context.one(at), help)
        }
        Fault::Start('%') if text[..at].ends_with('{') => {
            let what = "this line is of a template language, and Compose files are read as they are";
            Diagnostic::error("template", what)
                .at(context.span(at - 1..context.line(at).end.max(at)))
                .help("render the template first, and name the file that comes out")
        }
        Fault::Start(c) => {
            let value = context.slice(context.rest());
            let help = format!("put the value in quotes: {}", quoted(value));
            let name = if *c == '`' { "a backtick".to_owned() } else { format!("`{c}`") };
            error(format!("a plain value can't begin with {name}"), context.one(at), help)
        }
        Fault::Colon => colon(context),
        Fault::NoColon => {
            let range = context.content(at);
            let line = context.slice(range.clone());
            if let Some(found) = flush_block(context).or_else(|| missing_dash(context)) {
                return found;
            }
            match glued(line) {
                Some((what, spaced)) => error(what.into(), context.span(range), format!("write `{spaced}`")),
                None => error(
                    format!("`{}` is no key: it has no colon", brief(line)),
                    context.span(range),
                    format!("write `{}:`, or indent the line if it continues the value above", brief(line)),
                ),
            }
        }
        Fault::NoKey => misplaced_line(context, "a key"),
        Fault::NoItem => misplaced_line(context, "a list item"),
        Fault::UnclosedQuote => {
            let start = context.opening_quote().unwrap_or(at);
            let quote = context.slice(start..start + 1);
            let range = start..context.line(start).end.max(start);
            if closing_quote(text, start).is_some() {
                let range = context.span(context.rest());
                return error("a quoted value goes on without indentation".into(), range, "indent this line deeper than the key of the value".into());
            }
            error(format!("the quote {quote} is not closed"), context.span(range), format!("put {quote} at the end of the value"))
        }
        Fault::AfterQuote => after_quote(context),
        Fault::Unclosed(open) => error(format!("`{open}` is never closed"), context.one(at), format!("add `{}`", partner(*open))),
        Fault::Mismatched { open, close } => {
            let message = format!("`{open}` is closed by `{close}`");
            let help = format!("write `{}` instead of `{close}`", partner(*open));
            match wrong_partner(text, at, *close) {
                Some(wrong) => error(message, context.one(wrong), help).related(context.one(at), "opened here"),
                None => error(message, context.one(at), help),
            }
        }
        Fault::Misplaced => error(
            "a closing bracket that nothing opened".into(),
            context.one(at),
            "remove it, or put the value in quotes if it is meant as text".into(),
        ),
        Fault::Separator { close } => separator(context, *close),
        Fault::NoName => {
            let c = if text[at..].starts_with('&') { '&' } else { '*' };
            let what = if c == '&' { "an anchor" } else { "an alias" };
            let value = context.slice(context.rest());
            let help = if value == "&" && context.content(at).end == at + 1 {
                "write a name behind it: `&name`".to_owned()
            } else {
                format!("if it is meant as text, quote it: {}", quoted(value))
            };
            error(format!("`{c}` begins {what}, and its name is missing"), context.one(at), help)
        }
        Fault::Escape => {
            let (range, found) = bad_escape(context);
            let help = "write two backslashes, or use single quotes, in which a backslash is just a backslash";
            error(format!("`{found}` is no escape of double quotes"), context.span(range), help.into())
        }
        Fault::CommentAttached => {
            error("`#` begins a comment only after a blank".into(), context.one(at), "put a blank before it, or the text in quotes".into())
        }
        Fault::CommentInside if next_line_is_key(context).is_some() => {
            let key = next_line_is_key(context).unwrap_or(at..at);
            let name = context.slice(context.content(at)).split(':').next().unwrap_or("");
            deeper(context, key, name)
        }
        Fault::CommentInside => error(
            "a comment stands inside a value of several lines".into(),
            context.span(at..context.line(at).end.max(at)),
            "move the comment above the value, or put the value in quotes".into(),
        ),
        Fault::Tag => {
            let end = text[at..].find(char::is_whitespace).map_or(text.len(), |i| at + i);
            let help = "put quotes around text that begins with `!`; the format's tags are `!reset` and `!override`";
            error(format!("the tag `{}` is unknown", context.slice(at..end)), context.span(at..end), help.into())
        }
        Fault::TooDeep => {
            let what = format!("nested deeper than {} levels", super::build::MAX_DEPTH);
            Diagnostic::error("nesting-limit", what).at(context.one(at)).help("write it flatter")
        }
        Fault::DashInBrackets => {
            error("`- ` begins a list item, but brackets list their items with commas".into(), context.one(at), "remove the `-`, or quote it".into())
        }
        Fault::DashAfterKey => {
            let item = context.slice(at..context.line(at).end.max(at));
            error("a list can't begin on the line of its key".into(), context.one(at), format!("put `{}` on a line of its own", brief(item)))
        }
        Fault::BlockHeader => {
            let c = if text[at..].starts_with('>') { '>' } else { '|' };
            let range = context.span(context.rest());
            error(format!("text stands on the line of `{c}`"), range, "begin the text on the next line, indented".into())
        }
        Fault::NoValue if text[at..].starts_with(',') && context.in_brackets => {
            error("an item is missing before this comma".into(), context.one(at), "remove the comma, or write `\"\"` for an empty item".into())
        }
        Fault::NoValue if text[at..].starts_with([',', '?', ':']) => {
            let value = context.slice(context.rest());
            error(format!("a plain value can't begin with `{}`", &value[..1]), context.one(at), format!("put the value in quotes: {}", quoted(value)))
        }
        Fault::NoValue => {
            error("a value is missing here".into(), context.one(at), "check the indentation and the quotes here and on the line above".into())
        }
        Fault::Other(_) if unclosed_above(context).is_some() => separator(context, ']'),
        Fault::Other(what) => error(what.clone(), context.one(at), "check the indentation and the quotes here and on the line above".into()),
    }
}

/// The first bracket behind the one at `open` that should be its partner and isn't.
fn wrong_partner(text: &str, open: usize, close: char) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0_usize;
    for (i, c) in text[open..].char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return (c == close).then_some(open + i);
                }
            }
            _ => {}
        }
    }
    None
}

fn separator(context: &Context<'_>, close: char) -> Diagnostic {
    let Context { text, at, .. } = *context;
    if let Some(found) = unclosed_above(context) {
        return found;
    }
    let open = if close == ']' { '[' } else { '{' };
    let mut error = Diagnostic::error("yaml-syntax", format!("between `{open}` and `{close}`, a comma or `{close}` is missing")).at(context.one(at));
    if let Some(bracket) = context.bracket {
        error = error.related(context.one(bracket), "opened here");
    }
    if text[..at].ends_with('$') && text[at..].starts_with('{') {
        let mut depth = 0;
        let end = context.slice(at..context.line(at).end.max(at)).char_indices().find_map(|(i, c)| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            (depth == 0).then_some(at + i + 1)
        });
        let expression = context.slice(at - 1..end.unwrap_or(at + 1));
        return error.help(format!("inside brackets put variables in quotes: {}", quoted(expression)));
    }
    if text[at..].trim_start().starts_with(':') || text[..at].ends_with(':') {
        return error.help("put the text in quotes if the colon belongs to it");
    }
    error.help("separate with commas, and quote what contains any of `, [ ] { }`")
}
