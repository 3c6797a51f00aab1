//! Where an error of syntax happened, and what stands around it.

use crate::diag::{SourceId, Span};
use std::ops::Range;

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
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.source, range.start, range.end)
    }

    /// The bytes of `range`; nothing if it doesn't lie in the text.
    pub(super) fn slice(&self, range: Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or("")
    }

    /// From the character where the parser stopped to the end of the line's content.
    pub(super) fn rest(&self) -> Range<usize> {
        self.at..self.content(self.at).end.max(self.at)
    }

    /// Whether this error comes from an alias that took the colon behind it for its own.
    pub(super) fn follows_failed_alias(&self) -> bool {
        let last = self.slice(self.last.clone());
        last.starts_with('*') && last.ends_with(':')
    }

    /// From the character at `at` to its end.
    pub(super) fn one(&self, at: usize) -> Span {
        self.span(at..at + self.text[at..].chars().next().map_or(0, char::len_utf8))
    }

    /// The line around `at` without its break and trailing blanks.
    pub(super) fn line(&self, at: usize) -> Range<usize> {
        let start = self.text[..at].rfind(['\n', '\r']).map_or(0, |i| i + 1);
        let end = self.text[at..].find(['\n', '\r']).map_or(self.text.len(), |i| at + i);
        start..start + self.text[start..end].trim_ascii_end().len()
    }

    /// Whether a tab stands in front of the line where the parser stopped.
    pub(super) fn is_indented_by_tab(&self) -> bool {
        let line = self.slice(self.line(self.at));
        line[..line.len() - line.trim_start().len()].contains('\t')
    }

    /// The line around `at` without indentation and without a comment.
    pub(super) fn content(&self, at: usize) -> Range<usize> {
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
pub(super) fn partner(open: char) -> char {
    if open == '[' { ']' } else { '}' }
}

/// `value` in the quotes that need least escaping.
pub(super) fn quoted(value: &str) -> String {
    if value.contains(['"', '\\']) { format!("'{}'", value.replace('\'', "''")) } else { format!("\"{value}\"") }
}

/// At most 40 characters of the first line, for a message.
pub(super) fn brief(text: &str) -> String {
    let line = text.lines().next().unwrap_or("").trim();
    match line.char_indices().nth(40) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}
