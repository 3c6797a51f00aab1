//! Colours, and the width of text.

use console::measure_text_width;

/// Colours of the sixteen that every terminal has, by SGR parameters (ECMA-48, 8.3.117).
pub(crate) const BOLD: &str = "1";
pub(crate) const DIM: &str = "2";
pub(crate) const RED: &str = "31;1";
pub(crate) const GREEN: &str = "32";
pub(crate) const YELLOW: &str = "33";
pub(crate) const BLUE: &str = "34";
pub(crate) const CYAN: &str = "36";

/// Colours text, or leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    /// `text` in the colour `sgr`.
    pub(crate) fn paint(self, sgr: &str, text: &str) -> String {
        if self.0 && !text.is_empty() { format!("\x1b[{sgr}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `text` without control characters, which could move the cursor or worse. Line breaks stay.
pub(crate) fn clean(text: &str) -> String {
    if text.chars().any(|c| c.is_control() && c != '\n') {
        text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control() || *c == '\n').collect()
    } else {
        text.to_owned()
    }
}

/// `text` on one line of at most `width` columns, `…` at its end if it was cut.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let text = clean(text).replace('\n', " ");
    if measure_text_width(&text) <= width {
        return text;
    }
    let mut cut = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += measure_text_width(c.encode_utf8(&mut [0; 4]));
        if used > width {
            break;
        }
        cut.push(c);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// `text` and as many spaces as make it `width` columns wide.
pub(crate) fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(measure_text_width(text));
    format!("{text}{:missing$}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_columns_and_never_holds_control_characters() {
        assert_eq!(fit("hello", 5), "hello");
        assert_eq!(fit("hello!", 5), "hell…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("a\x1b[2Jb\nc", 20), "a[2Jb c");
        assert_eq!(pad("日本", 6), "日本  ");
    }
}
