//! Reading of texts: Compose files, env files, label files.

use crate::diag::{Diagnostic, SourceId, SourceMap, Span, did_you_mean};
use crate::yaml::strip_bom;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

/// What becomes of bytes that are no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// They are a fault: YAML is UTF-8.
    Strict,
    /// They are replaced, with a warning: the reference hands them on, and everything behind it replaces them.
    Lenient,
}

/// How many bytes a file may have: more is no text of people, and devices have no end.
pub(super) const MAX: u64 = 16 << 20;

/// The bytes of a file, at most one more than it may have.
pub(super) fn read_some(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file, without byte order mark, as a source that knows where the file is named; or what is wrong.
pub(super) fn read(
    name: &str,
    path: &Path,
    named_at: Option<Span>,
    strictness: Strictness,
    sources: &mut SourceMap,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(SourceId, String)> {
    let fault = |code: &'static str, what: String, help: String| Diagnostic::error(code, what).at_opt(named_at).help(help);
    let bytes = match read_some(path) {
        Ok(bytes) if bytes.len() as u64 > MAX => {
            let what = format!("{name} holds more than {} MB", MAX >> 20);
            diagnostics.push(fault("unreadable-file", what, "name a file that is written by people, or divide it".to_owned()));
            return None;
        }
        Ok(bytes) => bytes,
        Err(error) => {
            let name = if name.is_empty() { "." } else { name };
            let what = format!("{name} can't be read: {}", words(&error));
            diagnostics.push(match error.kind() {
                ErrorKind::NotFound => fault("no-such-file", what, missing(path)),
                ErrorKind::PermissionDenied => fault("unreadable-file", what, "run as a user who may read it".to_owned()),
                ErrorKind::IsADirectory => fault("unreadable-file", what, "name a file in it".to_owned()),
                _ => fault("unreadable-file", what, format!("look at {}", path.display())),
            });
            return None;
        }
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        diagnostics.push(fault("not-utf8", format!("{name} is UTF-16"), "save it as UTF-8".to_owned()));
        return None;
    }
    let (mut text, bad) = match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let byte = error.as_bytes().get(at).copied().unwrap_or_default();
            (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some((at, byte)))
        }
    };
    let cut = text.len() - strip_bom(&text).len();
    text.drain(..cut);
    let source = sources.add_once(name, text.as_str(), named_at);
    let Some((at, byte)) = bad else { return Some((source, text)) };
    let at = at.saturating_sub(cut);
    let place = Span::new(source, at, at + char::REPLACEMENT_CHARACTER.len_utf8());
    let what = format!("the byte 0x{byte:02X} is no UTF-8");
    if strictness == Strictness::Lenient {
        diagnostics.push(Diagnostic::warning("not-utf8", format!("{what}, and is replaced")).at(place).help("save the file as UTF-8"));
        return Some((source, text));
    }
    diagnostics.push(Diagnostic::error("not-utf8", what).at(place).help("save the file as UTF-8"));
    None
}

/// What to do about a file that isn't there.
fn missing(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(folder) = path.parent() else { return format!("looked for {}", path.display()) };
    let Ok(entries) = std::fs::read_dir(folder) else {
        return format!("looked for {}; there is no folder {}", path.display(), folder.display());
    };
    let mut names: Vec<String> = entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort_unstable();
    match did_you_mean(&name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? Looked for {}", path.display()),
        None => format!("looked for {}", path.display()),
    }
}

/// An error of the system in plain words, without its number.
pub(super) fn words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}
