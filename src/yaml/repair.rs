//! Text that is no YAML by the letter, but that the reference reads and that stands in many files. Each repair keeps
//! the length, so that every offset stays true.

use super::context::Context;
use super::fault::Fault;
use super::quotes::{closing_quote, first_bad_escape};

/// Stands for the two bytes of `\'` while a mended text is read. A letter of two bytes that Compose files don't hold;
/// where one does, that repair is not made.
pub(super) const APOSTROPHE: char = '\u{7fa}';

/// The text without the deviation, if it is one that can be mended.
pub(super) fn mend(fault: &Fault, context: &Context<'_>) -> Option<String> {
    match fault {
        Fault::CommentAttached => comment(context),
        Fault::Escape => apostrophe(context),
        Fault::UnclosedQuote => flush_lines(context),
        Fault::Tab if context.in_brackets => tabs(context),
        _ => None,
    }
}

/// The text with the lines of an error of this kind blank, and where they end; `None` if what follows would make no
/// sense without them.
pub(super) fn cut(fault: &Fault, context: &Context<'_>) -> Option<(String, usize)> {
    let line = match fault {
        Fault::Start(_) | Fault::NoColon | Fault::Escape | Fault::NoName | Fault::Tag | Fault::DashAfterKey | Fault::BlockHeader => {
            context.line(context.at)
        }
        // The value before the colon may have swallowed lines above.
        Fault::Colon if context.last.end == context.at => context.line(context.last.start),
        Fault::Colon => context.line(context.at),
        Fault::AfterQuote => {
            let open = context.line(context.opening_quote()?);
            (open == context.line(context.at)).then_some(open)?
        }
        _ => return None,
    };
    if context.in_brackets {
        return None;
    }
    let text = context.text;
    let indent = |line: &str| line.len() - line.trim_start().len();
    let width = indent(&text[line.clone()]);
    // With its children.
    let mut lines = text[line.start..].split_inclusive('\n');
    let mut end = line.start + lines.next().map_or(0, str::len);
    for below in lines {
        if !below.trim().is_empty() && indent(below) <= width {
            break;
        }
        end += below.len();
    }
    let blank: String = text[line.start..end].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
    Some((format!("{}{blank}{}", &text[..line.start], &text[end..]), end))
}

/// `"x"#c` and `|# c`: the comment becomes blanks.
fn comment(context: &Context<'_>) -> Option<String> {
    let end = context.line(context.at).end;
    (context.text[context.at..].starts_with('#') && end > context.at).then(|| {
        let mut text = context.text.to_owned();
        text.replace_range(context.at..end, &" ".repeat(end - context.at));
        text
    })
}

/// Between brackets indentation means nothing, so tabs may stand there: those of this line, and of the lines below that
/// begin with one.
fn tabs(context: &Context<'_>) -> Option<String> {
    let mut text = context.text.as_bytes().to_vec();
    let mut start = context.line(context.at).start;
    let mut changed = false;
    loop {
        let blanks = text[start..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let indent = &mut text[start..start + blanks];
        changed |= indent.contains(&b'\t');
        indent.fill(b' ');
        let Some(length) = text[start..].iter().position(|b| *b == b'\n') else { break };
        start += length + 1;
        if text.get(start) != Some(&b'\t') {
            break;
        }
    }
    changed.then(|| String::from_utf8(text).ok()).flatten()
}

/// `"it\'s"`: an escape that YAML doesn't have; all of them in this value.
fn apostrophe(context: &Context<'_>) -> Option<String> {
    let open = context.opening_quote()?;
    let mut text = context.text.to_owned();
    let mut changed = false;
    while let Some(bad) = first_bad_escape(&text, open) {
        if &text[bad.clone()] != "\\'" || context.original.contains(APOSTROPHE) {
            return None;
        }
        text.replace_range(bad, APOSTROPHE.encode_utf8(&mut [0; 4]));
        changed = true;
    }
    changed.then_some(text)
}

/// A quoted value that goes on at the first column: line breaks that fold to a blank become one, or move before the
/// blanks that end their line, which then indent the next.
fn flush_lines(context: &Context<'_>) -> Option<String> {
    let open = context.opening_quote()?;
    let close = closing_quote(context.text, open)?;
    let mut bytes = context.text.as_bytes().to_vec();
    let mut changed = false;
    for i in open..close {
        if bytes[i] != b'\n' || bytes[i + 1].is_ascii_whitespace() {
            continue;
        }
        let blanks = bytes[open..i].iter().rev().take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count();
        match bytes[i - blanks - 1] {
            // An empty line or an escaped break means something else.
            b'\n' | b'\\' => return None,
            _ if blanks == 0 => bytes[i] = b' ',
            _ => {
                bytes[i - blanks] = b'\n';
                bytes[i - blanks + 1..=i].fill(b' ');
            }
        }
        changed = true;
    }
    changed.then(|| String::from_utf8(bytes).ok()).flatten()
}
