//! `.env` and `env_file` texts.
//!
//! A line is `KEY=value`, `KEY: value` or `KEY` alone (which takes the value of the environment), with `export` before
//! it or not. Values:
//!
//! - without quotes: to the end of the line or to ` #`, without blanks at the ends; `$V` and `${…}` are expanded,
//!   backslashes stay;
//! - in single quotes: as written, over several lines too; `\'` is an apostrophe;
//! - in double quotes: over several lines too; `\n`, `\t`, `\"`, `\\`, `\$` and the like are escapes, then `$V` and
//!   `${…}` are expanded.
//!
//! What follows a closing quote on its line is read as another line would be, as in the reference, but with a warning
//! unless it is a comment.

use super::interpolate::{Lookup, interpolate_str, locate, malformed, unset};
use crate::diag::{Diagnostic, Severity, SourceId, Span};
use indexmap::IndexMap;
use std::ops::Range;

/// The value of a variable of an env file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// The value; `None` for a key alone, which takes the value of the environment.
    pub value: Option<String>,
    /// Where the key stands.
    pub key_span: Span,
    /// Where the value stands, with its quotes; for a key alone, the key.
    pub span: Span,
    /// Values of earlier lines with the same name, which don't count.
    pub earlier: Vec<Span>,
}

/// Variables in the order of the file; the last of two with one name counts.
pub type EnvFile = IndexMap<String, EnvVar>;

/// How long the values of one text may get together, in bytes.
const MAX_LENGTH: usize = 16 << 20;
/// After so many findings the rest of a text isn't looked at: it is something else than an env file.
const MAX_FINDINGS: usize = 500;

/// Reads the Compose grammar. Expressions in values see `lookup` first, then earlier lines of the same text. A line
/// with an error is reported and left out.
pub fn parse(source: SourceId, text: &str, lookup: Lookup<'_>, diagnostics: &mut Vec<Diagnostic>) -> EnvFile {
    let json = text.trim_start();
    if json.starts_with('{') {
        let at = text.len() - json.len();
        diagnostics.push(
            Diagnostic::error("env-file", "this is JSON, and env files are lines")
                .at(Span::new(source, at, at + 1))
                .help("write `NAME=value` on a line for each variable"),
        );
        return EnvFile::new();
    }
    let before = diagnostics.len();
    let mut reader = Reader { source, text, lookup, diagnostics, at: 0, quoted: None, leftover: None, found: EnvFile::new(), length: 0 };
    while reader.skip_blank() {
        reader.statement();
        if reader.length > MAX_LENGTH || reader.diagnostics.len() > before + MAX_FINDINGS {
            break;
        }
    }
    reader.found
}

/// Reads `format: raw`: no quotes, no expansion, `#` only at the start of a line. A line with an error is reported and
/// left out.
pub fn parse_raw(source: SourceId, text: &str, diagnostics: &mut Vec<Diagnostic>) -> EnvFile {
    let mut found = EnvFile::new();
    let before = diagnostics.len();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.strip_suffix('\n').unwrap_or(line);
        let content = content.strip_suffix('\r').unwrap_or(content);
        let at = start + (content.len() - content.trim_start().len());
        let end = start + content.len();
        start += line.len();
        if at == end || text[at..end].starts_with('#') {
            continue;
        }
        let equals = text[at..end].find('=').map(|i| at + i);
        let key_span = Span::new(source, at, equals.unwrap_or(end));
        let key = &text[at..equals.unwrap_or(end)];
        let fault = if key.is_empty() {
            "a name is missing before the equals sign"
        } else if key.contains(char::is_whitespace) {
            "a name can't hold blanks"
        } else if text[at..end].contains('\0') {
            "a null character can't stand in a variable"
        } else {
            let value = equals.map(|i| text[i + 1..end].to_owned());
            let span = equals.map_or(key_span, |i| Span::new(source, i + 1, end));
            insert(&mut found, key, EnvVar { value, key_span, span, earlier: Vec::new() });
            continue;
        };
        if diagnostics.len() > before + MAX_FINDINGS {
            break;
        }
        let whole = Span::new(source, at, end);
        diagnostics.push(Diagnostic::error("env-file", fault).at(whole).help("in the raw format write `NAME=value`, without blanks before the `=`"));
    }
    found
}

/// Adds a variable, in the place of an earlier one of its name.
fn insert(found: &mut EnvFile, key: &str, variable: EnvVar) {
    let entry = found.entry(key.to_owned());
    let indexmap::map::Entry::Occupied(mut old) = entry else {
        entry.insert_entry(variable);
        return;
    };
    let old = old.get_mut();
    let mut earlier = std::mem::take(&mut old.earlier);
    earlier.push(old.span);
    *old = EnvVar { earlier, ..variable };
}

struct Reader<'a> {
    source: SourceId,
    text: &'a str,
    lookup: Lookup<'a>,
    diagnostics: &'a mut Vec<Diagnostic>,
    at: usize,
    /// Where the quoted value ended that stands before on this line, and the name of its variable.
    quoted: Option<(usize, String)>,
    /// How many findings there were when text behind a closing quote had been warned of.
    leftover: Option<usize>,
    found: EnvFile,
    /// Bytes of all values so far.
    length: usize,
}

impl Reader<'_> {
    fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.source, range.start, range.end)
    }

    fn error(&mut self, range: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let span = self.span(range);
        // What stands behind a closing quote is no line of its own: that is the slip.
        if self.leftover.take() == Some(self.diagnostics.len())
            && let Some(warning) = self.diagnostics.pop()
        {
            let help = "put the whole value in quotes of the other kind, or `#` before a comment";
            self.diagnostics.push(Diagnostic { severity: Severity::Error, ..warning }.help(help));
            return;
        }
        self.diagnostics.push(Diagnostic::error("env-file", message).at(span).help(help));
    }

    /// The end of the line around `at`, before its break.
    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |i| at + i)
    }

    /// Goes to the next statement; false at the end of the text.
    fn skip_blank(&mut self) -> bool {
        loop {
            let rest = &self.text[self.at..];
            let blanks = rest.len() - rest.trim_start().len();
            if rest[..blanks].contains('\n') {
                self.quoted = None;
            }
            self.at += blanks;
            if !self.text[self.at..].starts_with('#') {
                return self.at < self.text.len();
            }
            self.at = self.line_end(self.at);
        }
    }

    fn statement(&mut self) {
        if let Some((end, name)) = self.quoted.take() {
            let rest = self.text[..self.line_end(self.at)].trim_end().len();
            let message = format!("text follows the closing quote of `{name}` and doesn't belong to its value");
            let span = self.span(end..rest.max(end));
            let help = "put the whole value in quotes, or `#` before a comment";
            self.diagnostics.push(Diagnostic::warning("env-file", message).at(span).help(help));
            self.leftover = Some(self.diagnostics.len());
        }
        if let Some(rest) = self.text[self.at..].strip_prefix("export")
            && rest.starts_with(char::is_whitespace)
            && !rest.trim_start().starts_with(['=', ':'])
        {
            self.at = self.text.len() - rest.trim_start().len();
        }
        let start = self.at;
        let end = self.line_end(start);
        let line = &self.text[start..end];
        let stop = line.find(['=', ':', '#']).filter(|i| !line[*i..].starts_with('#') || line[..*i].ends_with([' ', '\t']));
        let key = line[..stop.unwrap_or(line.len())].trim_end();
        let key_range = start..start + key.len();
        self.at = end;
        let odd = key.char_indices().find(|(_, c)| !(c.is_alphabetic() || c.is_numeric() || c.is_whitespace() || "_.-[]".contains(*c)));
        let key_is_odd = odd.is_some() || key.contains(char::is_whitespace);
        if key_is_odd && let Some(open) = self.unquoted_block() {
            return self.error(open, "a value of several lines is not in quotes", "put double quotes around the whole value");
        }
        if let Some((i, c)) = odd {
            let message = format!("`{c}` can't stand in the name of a variable");
            let help = match c {
                _ if line.starts_with(';') || line.starts_with("//") => "a comment begins with `#`",
                _ if stop.is_some() => "names are made of letters, digits, `_`, `.` and `-`",
                _ => "a line is `NAME=value`; put a value of several lines in quotes, and `#` before a comment",
            };
            return self.error(start + i..start + i + c.len_utf8(), message, help);
        }
        if key.is_empty() {
            let first = self.text[start..].chars().next().map_or(0, char::len_utf8);
            let span = self.span(start..start + first);
            let finding = Diagnostic::warning("env-file", "a name is missing here, and the line is left out");
            self.diagnostics.push(finding.at(span).help("write `NAME=value`"));
            return;
        }
        if key.contains(char::is_whitespace) {
            let words: Vec<&str> = key.split_whitespace().collect();
            let help = match words[..] {
                [word @ ("set" | "setenv" | "declare" | "local" | "let" | "setx" | "env" | "var" | "const"), name] => {
                    format!("take `{word}` out: `{name}=…`")
                }
                _ if stop.is_some() => format!("write `{}=…`", words.join("_")),
                _ => "a line is `NAME=value`; put a value of several lines in quotes".to_owned(),
            };
            return self.error(key_range, "the name of a variable can't hold blanks", help);
        }
        let key_span = self.span(key_range);
        let value = match stop.filter(|i| !line[*i..].starts_with('#')) {
            None => Some((None, key_span)),
            Some(i) => {
                let rest = &line[i + 1..];
                let value_start = end - rest.trim_start().len();
                match self.text[value_start..].chars().next() {
                    Some(quote @ ('"' | '\'')) => self.quoted_value(value_start, quote, key),
                    _ => self.plain_value(value_start, end),
                }
            }
        };
        let Some((value, span)) = value else { return };
        if value.as_ref().is_some_and(|v: &String| v.contains('\0')) {
            let finding = Diagnostic::warning("env-file", "a null character can't stand in a variable, and the line is left out");
            self.diagnostics.push(finding.at(span).help("remove it"));
            return;
        }
        insert(&mut self.found, key, EnvVar { value, key_span, span, earlier: Vec::new() });
    }

    /// The first line of a key or certificate without quotes in whose further lines the reader stands, which are left out.
    fn unquoted_block(&mut self) -> Option<Range<usize>> {
        let (_, last) = self.found.last()?;
        let begins = last.value.as_ref().is_some_and(|v| v.contains("-----BEGIN") && !v.contains("-----END"));
        let range = last.span.start as usize..last.span.end as usize;
        if !begins {
            return None;
        }
        let rest = &self.text[range.end..];
        self.at = rest.find("-----END").map_or(self.text.len(), |end| self.line_end(range.end + end));
        Some(range)
    }

    fn plain_value(&mut self, start: usize, end: usize) -> Option<(Option<String>, Span)> {
        let value = &self.text[start..end];
        let value = value.split_once(" #").map_or(value, |(before, _)| before).trim_end();
        let span = self.span(start..start + value.len());
        self.expand(value, span).map(|value| (Some(value), span))
    }

    fn quoted_value(&mut self, start: usize, quote: char, key: &str) -> Option<(Option<String>, Span)> {
        let mut value = String::new();
        let mut chars = self.text[start + 1..].char_indices();
        let close = loop {
            match chars.next() {
                None => {
                    self.at = self.text.len();
                    let help = format!("put {quote} at its end; to begin a value with {quote}, quote it with the other kind");
                    self.error(start..self.line_end(start), format!("the quote {quote} is not closed"), help);
                    return None;
                }
                Some((i, c)) if c == quote => break start + 1 + i,
                Some((_, '\\')) => match chars.next() {
                    Some((_, c)) if c == quote => value.push(c),
                    Some((_, c)) => value.extend(['\\', c]),
                    None => {}
                },
                Some((_, c)) => value.push(c),
            }
        };
        self.at = close + 1;
        self.quoted = Some((close + 1, key.to_owned()));
        let span = self.span(start..close + 1);
        let value = if quote == '"' { self.expand(&unescape(&value), span)? } else { value };
        Some((Some(value), span))
    }

    /// Substitutes variables; errors and unset ones are reported at their place inside `span`.
    fn expand(&mut self, value: &str, span: Span) -> Option<String> {
        let found = interpolate_str(value, &|name| (self.lookup)(name).or_else(|| self.found.get(name).and_then(|v| v.value.clone())));
        let written = &self.text[span.start as usize..span.end as usize];
        let place = |range: Range<usize>| locate(written, value, range).map_or(span, |r| span.part(r.start, r.end));
        match found {
            Ok(found) if self.length + found.text.len() > MAX_LENGTH => {
                self.length = usize::MAX;
                let what = format!("with their variables the values of this file get longer than {} MB", MAX_LENGTH >> 20);
                self.diagnostics.push(Diagnostic::error("size-limit", what).at(span).help("use shorter values, or fewer of them"));
                None
            }
            Ok(found) => {
                self.length += found.text.len();
                self.diagnostics.extend(found.unset.into_iter().map(|(name, range)| unset(&name).at(place(range))));
                Some(found.text)
            }
            Err(error) => {
                let range = error.range.clone();
                self.diagnostics.push(malformed(error, value).at(place(range)));
                None
            }
        }
    }
}

/// The escapes of double quotes. A dollar sign is doubled, so that it survives expansion; unknown escapes stay.
fn unescape(value: &str) -> String {
    let mut result = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('\\') {
        result.push_str(before);
        let escaped = match after.chars().next() {
            Some('a') => "\u{7}",
            Some('b') => "\u{8}",
            Some('f') => "\u{c}",
            Some('n') => "\n",
            Some('r') => "\r",
            Some('t') => "\t",
            Some('v') => "\u{b}",
            Some('"') => "\"",
            Some('\\') => "\\",
            Some('$') => "$$",
            Some('0') => {
                // `\0101` is `A`; with fewer digits the nought vanishes, as in the reference.
                let digits = after[1..].bytes().take(3).take_while(u8::is_ascii_digit).count();
                let code = u8::from_str_radix(&after[1..1 + digits], 8).ok().filter(|b| digits == 3 && b.is_ascii());
                match code {
                    Some(code) => result.push(char::from(code)),
                    None => {
                        result.push('\\');
                        result.push_str(&after[1..1 + digits]);
                    }
                }
                rest = &after[1 + digits..];
                continue;
            }
            _ => {
                result.push('\\');
                rest = after;
                continue;
            }
        };
        result.push_str(escaped);
        rest = &after[1..];
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceMap;

    fn lookup(name: &str) -> Option<String> {
        (name == "SET").then(|| "set".to_owned())
    }

    fn read_with(text: &str, raw: bool) -> (Vec<String>, Vec<String>) {
        let mut sources = SourceMap::new();
        let id = sources.add("e", text);
        let mut diagnostics = Vec::new();
        let found = if raw { parse_raw(id, text, &mut diagnostics) } else { parse(id, text, &lookup, &mut diagnostics) };
        let variables = found.iter().map(|(k, v)| match &v.value {
            Some(value) => format!("{k}={value}"),
            None => k.clone(),
        });
        let said = diagnostics.iter().map(|d| {
            let span = d.span.expect("each has a place");
            format!("{} {} {}", sources.place(span), if d.is_error() { "error" } else { "warning" }, sources.text(span))
        });
        (variables.collect(), said.collect())
    }

    /// The variables of a text without faults.
    fn read(text: &str) -> Vec<String> {
        let (variables, said) = read_with(text, false);
        assert_eq!(said, Vec::<String>::new(), "{text:?}");
        variables
    }

    #[test]
    fn names_and_separators() {
        for (text, variables) in [
            ("A=1\nB = 2\n\tC: 3\nD :4\r\nexport E=5\nexport   F  =  6", &["A=1", "B=2", "C=3", "D=4", "E=5", "F=6"][..]),
            ("A.b-c_d[0]=1\n1A=x\né=1\nexportA=2\nexport=3", &["A.b-c_d[0]=1", "1A=x", "é=1", "exportA=2", "export=3"]),
            ("A\nexport B\nC # taken from outside\nD", &["A", "B", "C", "D"]),
            ("# c\n\n  # c\nA==b=c: d\nA=2", &["A=2"]),
        ] {
            assert_eq!(read(text), variables, "{text:?}");
        }
    }

    #[test]
    fn values_without_quotes() {
        for (text, value) in [
            ("A=", ""),
            ("A=  b c   ", "b c"),
            ("A=b # c # d", "b"),
            ("A=b#c", "b#c"),
            ("A= #c", "#c"),
            ("A=$SET${SET}-${U:-$SET x}", "setset-set x"),
            ("A=\\$SET \\n C:\\p", "\\set \\n C:\\p"),
            ("A=$$SET $1 $(d) `e`", "$SET $1 $(d) `e`"),
            ("A=x 'y' \"z\"", "x 'y' \"z\""),
            ("A={\"a\": 1}", "{\"a\": 1}"),
        ] {
            assert_eq!(read(text), [format!("A={value}")]);
        }
        assert_eq!(read("A=1\nB=$A\nA=2\nC=$A\nSET=file\nD=$SET"), ["A=2", "B=1", "C=2", "SET=file", "D=set"]);
    }

    #[test]
    fn values_in_quotes() {
        for (text, value) in [
            ("A='$SET ${U} \\n \"'", "$SET ${U} \\n \""),
            ("A='it\\'s \\\\'", "it's \\\\"),
            ("A='a\nb' # c", "a\nb"),
            ("A=\"a\n  b\"#c", "a\n  b"),
            ("A=\" $SET \\$SET $$SET \"", " set $SET $SET "),
            ("A=\"\\n\\t\\\"\\\\\\x\\'\\u00e9\"", "\n\t\"\\\\x\\'\\u00e9"),
            ("A=\"\\0101 \\07 \\c \\a\"", "A \\7 \\c \u{7}"),
            ("A=\"{\\\"a\\\": \\\"${SET}\\\"}\"", "{\"a\": \"set\"}"),
        ] {
            assert_eq!(read(text), [format!("A={value}")], "{text:?}");
        }
    }

    #[test]
    fn every_fault_has_its_place_and_the_rest_is_read() {
        let (variables, said) = read_with("A B=1\nC=1\n  D$=2\nexport E F=3\n=4\nG=${G\nH=1 ${H}\nI=\"\\t${}\"\nJ='x", false);
        assert_eq!(variables, ["C=1", "H=1 "]);
        let expected = [
            "e:1:1 error A B",
            "e:3:4 error $",
            "e:4:8 error E F",
            "e:5:1 warning =",
            "e:6:3 error ${G",
            "e:7:5 warning ${H}",
            "e:8:6 error ${}",
            "e:9:3 error 'x",
        ];
        assert_eq!(said, expected);
        let (variables, said) = read_with("A='it''s'\nB=\"x\" y # z\nC=1\0", false);
        assert_eq!(variables, ["A=it", "B=x", "y"]);
        assert_eq!(said, ["e:1:7 error 's'", "e:2:6 warning  y # z", "e:3:3 warning 1\0"]);
    }

    #[test]
    fn earlier_lines_of_one_name_are_remembered() {
        let text = "A=1\nB=2\nA='3'\nA=4\n";
        let mut sources = crate::diag::SourceMap::new();
        let id = sources.add("e", text);
        let found = parse(id, text, &lookup, &mut Vec::new());
        let texts: Vec<&str> = found["A"].earlier.iter().map(|s| sources.text(*s)).collect();
        assert_eq!((found["A"].value.as_deref(), texts), (Some("4"), vec!["1", "'3'"]));
        assert!(found["B"].earlier.is_empty());
        let raw = parse_raw(id, text, &mut Vec::new());
        assert_eq!(raw["A"].earlier.len(), 2);
    }

    #[test]
    fn raw_takes_lines_as_they_are() {
        let (variables, said) = read_with("# c\n A= 'x' # $SET \r\nB\n\nC=\\n${\nD =1\n=2\nE F", true);
        assert_eq!(variables, ["A= 'x' # $SET ", "B", "C=\\n${"]);
        assert_eq!(said, ["e:6:1 error D =1", "e:7:1 error =2", "e:8:1 error E F"]);
    }
}
