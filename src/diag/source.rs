//! Source texts and byte ranges in them.

use std::sync::Arc;

/// Names one text of a [`SourceMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u32);

/// A byte range in one source text. `Copy`, twelve bytes; lines and columns are computed only for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The text.
    pub source: SourceId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes `start..end` of `source`.
    pub fn new(source: SourceId, start: usize, end: usize) -> Self {
        // Texts over 4 GiB are refused when they are read.
        Self { source, start: start as u32, end: end as u32 }
    }

    /// The part `start..end` (relative bytes) of this span, kept inside it.
    #[must_use]
    pub fn part(self, start: usize, end: usize) -> Self {
        let clamp = |offset: usize| self.start.saturating_add(offset as u32).min(self.end);
        Self { source: self.source, start: clamp(start), end: clamp(end) }
    }
}

/// One source text with the name that messages call it by.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As the user wrote the path, or `<stdin>`, `<environment>`.
    pub name: String,
    /// The whole text, without a byte order mark.
    pub text: Arc<str>,
    /// The place in another text that names this one: an `include`, an `extends`, an `env_file`.
    pub named_at: Option<Span>,
    /// Byte offset of the start of each line.
    lines: Vec<u32>,
}

/// Line and column, both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineCol {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// All texts of one load.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// No texts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text and returns its id. Adding the same name twice gives two ids.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> SourceId {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i as u32 + 1)).collect();
        self.files.push(SourceFile { name: name.into(), text, named_at: None, lines });
        SourceId(self.files.len() as u32 - 1)
    }

    /// As [`SourceMap::add`], for a text that another names; one that is there with that name already is not added again.
    pub fn add_once(&mut self, name: &str, text: &str, named_at: Option<Span>) -> SourceId {
        let known = self.files().find(|(_, file)| file.name == name && *file.text == *text).map(|(id, _)| id);
        known.unwrap_or_else(|| {
            let id = self.add(name, text);
            if let Some(file) = self.files.last_mut() {
                file.named_at = named_at.filter(|span| span.source != id);
            }
            id
        })
    }

    /// The places that lead to a text, from the one that names it outward.
    pub fn way_to(&self, id: SourceId) -> Vec<Span> {
        // A text is named by an earlier one, so this ends.
        std::iter::successors(self.file(id).named_at, |span| self.file(span.source).named_at.filter(|above| above.source < span.source)).collect()
    }

    /// The text called `id`.
    ///
    /// # Panics
    /// If `id` comes from another map.
    pub fn file(&self, id: SourceId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// Every text, in the order of adding.
    pub fn files(&self) -> impl Iterator<Item = (SourceId, &SourceFile)> {
        self.files.iter().enumerate().map(|(i, f)| (SourceId(i as u32), f))
    }

    /// The text of `span`.
    pub fn text(&self, span: Span) -> &str {
        self.file(span.source).text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// Where `span` begins.
    pub fn line_col(&self, span: Span) -> LineCol {
        let file = self.file(span.source);
        let line = file.lines.partition_point(|start| *start <= span.start).saturating_sub(1);
        let from = file.lines[line] as usize;
        let to = (span.start as usize).min(file.text.len());
        let column = file.text.get(from..to).map_or(0, |s| s.chars().count()) + 1;
        LineCol { line: line + 1, column }
    }

    /// `file:line:col` of where `span` begins.
    pub fn place(&self, span: Span) -> String {
        let LineCol { line, column } = self.line_col(span);
        format!("{}:{line}:{column}", self.file(span.source).name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let mut map = SourceMap::new();
        let id = map.add("a.yaml", "a: 1\nčě: x\n");
        assert_eq!(map.place(Span::new(id, 0, 1)), "a.yaml:1:1");
        assert_eq!(map.place(Span::new(id, 5, 9)), "a.yaml:2:1");
        assert_eq!(map.place(Span::new(id, 11, 12)), "a.yaml:2:5");
        assert_eq!(map.text(Span::new(id, 11, 12)), "x");
        // One past the end is where "something is missing" points to.
        assert_eq!(map.line_col(Span::new(id, 13, 13)), LineCol { line: 3, column: 1 });
    }

    #[test]
    fn a_part_never_leaves_its_span() {
        let span = Span::new(SourceId(0), 10, 20);
        assert_eq!(span.part(2, 5), Span::new(SourceId(0), 12, 15));
        assert_eq!(span.part(8, 99), Span::new(SourceId(0), 18, 20));
    }
}
