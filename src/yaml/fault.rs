//! Errors of syntax in the words of the person who made them: what is there, and what to write instead.

use crate::diag::{Diagnostic, SourceId, Span};
use std::ops::Range;

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

/// Where it happened.
pub(super) struct Context<'t> {
    pub source: SourceId,
    /// What the parser read.
    pub text: &'t str,
    /// The text before any repair.
    pub original: &'t str,
    /// Where the parser stopped.
    pub at: usize,
    /// The last scalar, alias or closing bracket before.
    pub last: Range<usize>,
    /// Where the innermost open collection begins.
    pub bracket: Option<usize>,
    /// Whether a bracket is open.
    pub in_brackets: bool,
}

impl<'t> Context<'t> {
    fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.source, range.start, range.end)
    }

    /// The bytes of `range`; nothing if it doesn't lie in the text.
    fn slice(&self, range: Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or("")
    }

    /// From the character where the parser stopped to the end of the line's content.
    fn rest(&self) -> Range<usize> {
        self.at..self.content(self.at).end.max(self.at)
    }

    /// Whether this error comes from an alias that took the colon behind it for its own.
    pub(super) fn follows_failed_alias(&self) -> bool {
        let last = self.slice(self.last.clone());
        last.starts_with('*') && last.ends_with(':')
    }

    /// From the character at `at` to its end.
    fn one(&self, at: usize) -> Span {
        self.span(at..at + self.text[at..].chars().next().map_or(0, char::len_utf8))
    }

    /// The line around `at` without its break and trailing blanks.
    pub(super) fn line(&self, at: usize) -> Range<usize> {
        let start = self.text[..at].rfind(['\n', '\r']).map_or(0, |i| i + 1);
        let end = self.text[at..].find(['\n', '\r']).map_or(self.text.len(), |i| at + i);
        start..start + self.text[start..end].trim_ascii_end().len()
    }

    /// The line around `at` without indentation and without a comment.
    fn content(&self, at: usize) -> Range<usize> {
        let Range { start, end } = self.line(at);
        let line = &self.text[start..end];
        let line = line.find(" #").map_or(line, |i| &line[..i]).trim_ascii_end();
        start + (line.len() - line.trim_ascii_start().len())..start + line.len()
    }

    /// The quote that opens the quoted value in which or behind which the parser stopped.
    pub(super) fn opening_quote(&self) -> Option<usize> {
        let mut comment = false;
        let mut before = ' ';
        for (i, c) in self.text[self.last.end..].char_indices() {
            let i = self.last.end + i;
            match c {
                '\n' => comment = false,
                '#' if before.is_whitespace() => comment = true,
                '"' | '\'' if !comment => return (i <= self.at).then_some(i),
                _ => {}
            }
            before = c;
        }
        None
    }
}

/// The closing partner.
fn partner(open: char) -> char {
    if open == '[' { ']' } else { '}' }
}

/// `value` in the quotes that need least escaping.
fn quoted(value: &str) -> String {
    if value.contains(['"', '\\']) { format!("'{}'", value.replace('\'', "''")) } else { format!("\"{value}\"") }
}

/// At most 40 characters of the first line, for a message.
fn brief(text: &str) -> String {
    let line = text.lines().next().unwrap_or("").trim();
    match line.char_indices().nth(40) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
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

/// What is wrong with `key:value` or `key = value`, if that is what `line` looks like, and `key: value`.
fn glued(line: &str) -> Option<(&'static str, String)> {
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
fn flush_block(context: &Context<'_>) -> Option<Diagnostic> {
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
fn missing_dash(context: &Context<'_>) -> Option<Diagnostic> {
    let range = context.content(context.at);
    let above = context.content(context.line(context.at).start.checked_sub(1)?);
    let indent = |at: usize| at - context.line(at).start;
    if !context.slice(above.clone()).starts_with("- ") || indent(above.start) != indent(range.start) {
        return None;
    }
    let item = brief(context.slice(range.clone()));
    Some(Diagnostic::error("yaml-syntax", "a list item has no dash").at(context.span(range)).help(format!("write `- {item}`")))
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

/// A bracket of a line above that is still open where a key follows that isn't indented deeper than its line.
fn unclosed_above(context: &Context<'_>) -> Option<Diagnostic> {
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

/// A colon behind a plain value: a value with a colon in it, or a key that the line above has swallowed.
fn colon(context: &Context<'_>) -> Diagnostic {
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
fn deeper(context: &Context<'_>, key: Range<usize>, above: &str) -> Diagnostic {
    let message = format!("`{}` is indented deeper than the line above, whose key has a value already", context.slice(key.clone()));
    Diagnostic::error("yaml-syntax", message).at(context.span(key)).help(format!("indent it like `{above}`"))
}

/// The key that the line below holds, if it looks like one.
fn next_line_is_key(context: &Context<'_>) -> Option<Range<usize>> {
    let below = context.content(context.line(context.at).end + context.text[context.line(context.at).end..].find('\n')? + 1);
    let line = context.slice(below.clone());
    let key = line.find(": ").or_else(|| line.ends_with(':').then(|| line.len() - 1))?;
    Some(below.start..below.start + key)
}

/// A line whose indentation or beginning doesn't fit what is around it.
fn misplaced_line(context: &Context<'_>, expected: &str) -> Diagnostic {
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

fn after_quote(context: &Context<'_>) -> Diagnostic {
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

/// The first escape in the open double-quoted value that YAML doesn't know.
fn bad_escape<'t>(context: &Context<'t>) -> (Range<usize>, &'t str) {
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
