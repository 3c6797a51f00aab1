//! Splitting of `command` and `entrypoint` strings into words, with the rules of the reference (which are not quite a
//! shell's): blanks separate, quotes and backslashes protect, nothing is expanded, and an unquoted `;`, `|`, `&`, `<`
//! or `>` ends the command.

use std::ops::Range;

/// Why a string can't be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WordsError {
    /// What happened.
    pub message: &'static str,
    /// Byte offset in the string.
    pub offset: usize,
}

/// The words of a string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The words.
    pub words: Vec<String>,
    /// What follows an unquoted `;`, `|`, `&`, `<` or `>`, which no program is ever told: worth a warning that
    /// recommends `sh -c '…'`.
    pub dropped: Option<Range<usize>>,
}

/// Splits `text` at blanks; quotes and backslashes protect. Variables are not expanded.
///
/// # Errors
/// A quote or a parenthesis that is not closed, a backslash at the end.
pub fn split(text: &str) -> Result<Vec<String>, WordsError> {
    split_words(text).map(|found| found.words)
}

/// As [`split`], and says what is left out.
///
/// # Errors
/// As [`split`].
pub fn split_words(text: &str) -> Result<Words, WordsError> {
    let mut result = Words::default();
    let mut word = String::new();
    // Whether a word has begun; quotes begin one even if nothing is between them.
    let mut begun = false;
    let mut open: Option<(char, usize)> = None;
    let mut chars = text.char_indices();
    while let Some((offset, c)) = chars.next() {
        let quote = open.map(|(c, _)| c);
        match (c, quote) {
            ('\\', None | Some('"' | '`' | '(')) => {
                let (_, escaped) = chars.next().ok_or(WordsError { message: "a backslash stands at the end", offset })?;
                word.push(escaped);
                begun = true;
            }
            (' ' | '\t' | '\r' | '\n', None) => {
                if std::mem::take(&mut begun) {
                    result.words.push(std::mem::take(&mut word));
                }
            }
            ('"' | '\'', None) => {
                open = Some((c, offset));
                begun = true;
            }
            ('"', Some('"')) | ('\'', Some('\'')) => open = None,
            // Substitutions are kept as they are, blanks and all.
            ('`', None) | ('(', None) if c == '`' || word.ends_with('$') => {
                open = Some((c, offset));
                word.push(c);
                begun = true;
            }
            ('`', Some('`')) | (')', Some('(')) => {
                open = None;
                word.push(c);
            }
            ('(' | ')', None) => return Err(WordsError { message: "a parenthesis is not quoted", offset }),
            (';' | '&' | '|' | '<' | '>', None) => {
                // The number of a stream that is redirected, as in `2>`.
                if c == '>' && word.starts_with(|c: char| c.is_ascii_digit()) {
                    begun = false;
                }
                result.dropped = Some(offset..text.len());
                break;
            }
            _ => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        result.words.push(word);
    }
    match open {
        None => Ok(result),
        Some(('(', offset)) => Err(WordsError { message: "a parenthesis is not closed", offset }),
        Some((_, offset)) => Err(WordsError { message: "a quote is not closed", offset }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_quotes_and_backslashes() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  x  y ", &["x", "y"]),
            ("sh -c 'echo \"x\" \\n'", &["sh", "-c", "echo \"x\" \\n"]),
            ("a\\ b \"it's\\\"\"c", &["a b", "it's\"c"]),
            ("'' a \"\"", &["", "a", ""]),
            ("\"a\\nb\"", &["anb"]),
            ("a#b # c", &["a#b", "#", "c"]),
            ("a\\\nb", &["a\nb"]),
            ("echo `a b` $(c d)e", &["echo", "`a b`", "$(c d)e"]),
            ("é {a,b} *.txt ~ $X", &["é", "{a,b}", "*.txt", "~", "$X"]),
        ];
        for (text, words) in cases {
            assert_eq!(split(text).unwrap(), *words, "{text}");
        }
    }

    #[test]
    fn operators_end_the_command_and_the_rest_is_named() {
        for (text, words, dropped) in [
            ("echo a; echo b", vec!["echo", "a"], "; echo b"),
            ("a&&b", vec!["a"], "&&b"),
            ("echo 2>f", vec!["echo"], ">f"),
            ("x<y", vec!["x"], "<y"),
            (">", vec![], ">"),
        ] {
            let found = split_words(text).unwrap();
            assert_eq!((found.words, &text[found.dropped.unwrap()]), (words.into_iter().map(String::from).collect(), dropped));
        }
        assert_eq!(split_words("echo 'a|b' \\;").unwrap().dropped, None);
    }

    #[test]
    fn what_stays_open_is_an_error_at_its_beginning() {
        for (text, offset) in [("x 'y", 2), ("é\"", 2), ("a\\", 1), ("cmd (x)", 4), ("a)", 1), ("$(a", 1), ("`a", 0)] {
            assert_eq!(split(text).unwrap_err().offset, offset, "{text}");
        }
    }
}
