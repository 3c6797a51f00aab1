//! Findings as text: source excerpts with carets, one line each, or JSON lines.

use super::style::{BOLD, CYAN, Paint, RED, YELLOW, clean};
use crate::diag::{Diagnostic, LineCol, Severity, SourceId, SourceMap, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;
use std::fmt::Write;

/// Bytes of the longest line that is shown.
const MAX_LINE: usize = 4096;

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// With excerpts of the source.
    #[default]
    Full,
    /// `file:line:col: error: message`.
    Short,
    /// One JSON object a line.
    Json,
}

/// Writes findings.
#[derive(Clone, Copy, Debug)]
pub struct Drawer<'a> {
    /// The texts that spans point into.
    pub sources: &'a SourceMap,
    /// How.
    pub form: Form,
    /// In colour.
    pub paint: Paint,
    /// Columns that are there.
    pub width: usize,
}

impl Drawer<'_> {
    /// All of `diagnostics`, and a last line that counts them if there is more than one error.
    pub fn all(&self, diagnostics: &[Diagnostic]) -> String {
        let mut text: String = diagnostics.iter().map(|d| self.one(d)).collect();
        if self.form != Form::Json
            && let Some(summary) = self.summary(diagnostics)
        {
            text.push_str(&summary);
        }
        text
    }

    /// One finding, with its newline.
    pub fn one(&self, diagnostic: &Diagnostic) -> String {
        match self.form {
            Form::Full => self.full(diagnostic),
            Form::Short => self.short(diagnostic),
            Form::Json => format!("{}\n", self.json(diagnostic)),
        }
    }

    /// `3 errors and 1 warning in compose.yaml`, for more than one error.
    fn summary(&self, diagnostics: &[Diagnostic]) -> Option<String> {
        let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        if errors < 2 {
            return None;
        }
        let mut files: Vec<&str> =
            diagnostics.iter().filter(|d| d.is_error()).filter_map(|d| d.span).map(|s| self.sources.file(s.source).name.as_str()).collect();
        files.sort_unstable();
        files.dedup();
        let place = match files.as_slice() {
            [] => String::new(),
            [one] => format!(" in {one}"),
            [one, two] => format!(" in {one} and {two}"),
            [one, rest @ ..] => format!(" in {one} and {} more files", rest.len()),
        };
        let warnings = match warnings {
            0 => String::new(),
            1 => " and 1 warning".to_owned(),
            n => format!(" and {n} warnings"),
        };
        Some(format!("{}{warnings}{place}\n", self.paint.paint(RED, &format!("{errors} errors"))))
    }

    /// As rustc shows it.
    fn full(&self, diagnostic: &Diagnostic) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        if diagnostic.span.is_none() && diagnostic.related.is_empty() {
            return self.placeless(diagnostic);
        }
        if diagnostic.span.iter().chain(diagnostic.related.iter().map(|(s, _)| s)).any(|span| self.line_length(*span) > MAX_LINE) {
            return self.without_excerpt(diagnostic);
        }
        let mut group = Group::with_title(level.primary_title(clean(&diagnostic.message)).id(diagnostic.code));
        // The places by file, the file of the main place first; in one excerpt each.
        let mut files: Vec<SourceId> = Vec::new();
        for span in diagnostic.span.iter().chain(diagnostic.related.iter().map(|(s, _)| s)) {
            if !files.contains(&span.source) {
                files.push(span.source);
            }
        }
        for file in files {
            let main = diagnostic.span.filter(|s| s.source == file).map(|s| (s, diagnostic.label.clone(), AnnotationKind::Primary));
            let others =
                diagnostic.related.iter().filter(|(s, _)| s.source == file).map(|(s, what)| (*s, Some(what.clone()), AnnotationKind::Context));
            group = group.element(self.excerpt(file, main.into_iter().chain(others).collect()));
        }
        if let Some(way) = self.way(diagnostic) {
            group = group.element(Level::NOTE.message(way));
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(clean(help)));
        }
        let renderer = if self.paint.0 { Renderer::styled() } else { Renderer::plain() };
        let mut text = renderer.term_width(self.width.max(40)).render(&[group]);
        text.push_str("\n\n");
        text
    }

    /// How the file of a finding is reached, if another names it: `mid.yaml is named at compose.yaml:2:5`.
    fn way(&self, diagnostic: &Diagnostic) -> Option<String> {
        let mut source = diagnostic.span?.source;
        // What is shown anyway needs no words.
        let shown = |span: &Span| diagnostic.related.iter().any(|(related, _)| related.source == span.source);
        let steps = self.sources.way_to(source).into_iter().take_while(|span| !shown(span)).map(|span| {
            let name = clean(&self.sources.file(std::mem::replace(&mut source, span.source)).name);
            format!("{name} is named at {}", clean(&self.sources.place(span)))
        });
        let steps: Vec<String> = steps.collect();
        (!steps.is_empty()).then(|| steps.join(", "))
    }

    /// Bytes of the line that `span` begins in.
    fn line_length(&self, span: Span) -> usize {
        let text: &str = &self.sources.file(span.source).text;
        let at = floor(text, span.start as usize);
        let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
        end - text[..at].rfind('\n').map_or(0, |n| n + 1)
    }

    /// Of a line that fills screens only the place is told.
    fn without_excerpt(&self, diagnostic: &Diagnostic) -> String {
        let mut text = format!("{}[{}]: {}\n", self.word(diagnostic.severity), diagnostic.code, clean(&cut(&diagnostic.message)));
        for span in diagnostic.span.iter().chain(diagnostic.related.iter().map(|(s, _)| s)) {
            let _ = writeln!(text, " --> {}", clean(&self.sources.place(*span)));
        }
        if let Some(help) = &diagnostic.help {
            let _ = writeln!(text, "  = {}: {}", self.paint.paint(CYAN, "help"), clean(&cut(help)));
        }
        text.push('\n');
        text
    }

    /// Where no file is at fault there is nothing to excerpt.
    fn placeless(&self, diagnostic: &Diagnostic) -> String {
        let indented = |text: &str| clean(text).trim_end().replace('\n', "\n  ");
        let mut text = format!("{}: {}\n", self.word(diagnostic.severity), indented(&diagnostic.message));
        if let Some(label) = &diagnostic.label {
            let _ = writeln!(text, "  {}", indented(label));
        }
        if let Some(help) = &diagnostic.help {
            let _ = writeln!(text, "  {}: {}", self.paint.paint(CYAN, "help"), indented(help));
        }
        text
    }

    /// `error`, `warning`, `note`.
    fn word(&self, severity: Severity) -> String {
        match severity {
            Severity::Error => self.paint.paint(RED, "error"),
            Severity::Warning => self.paint.paint(YELLOW, "warning"),
            Severity::Note => self.paint.paint(BOLD, "note"),
        }
    }

    /// The lines of `file` that hold `places`, and nothing else of it.
    fn excerpt(
        &self,
        file: SourceId,
        places: Vec<(Span, Option<String>, AnnotationKind)>,
    ) -> Snippet<'static, annotate_snippets::Annotation<'static>> {
        let source = self.sources.file(file);
        let text: &str = &source.text;
        // A place that spans several lines is shown by its first one.
        let range = |span: &Span| {
            let start = floor(text, span.start as usize);
            let line_end = text[start..].find('\n').map_or(text.len(), |n| start + n);
            start..floor(text, span.end as usize).clamp(start, line_end)
        };
        let first = places.iter().map(|(s, ..)| range(s).start).min().unwrap_or(0);
        let last = places.iter().map(|(s, ..)| range(s).end).max().unwrap_or(0);
        let from = text[..first].rfind('\n').map_or(0, |n| n + 1);
        let to = text[last..].find('\n').map_or(text.len(), |n| last + n);
        let line = text[..from].bytes().filter(|b| *b == b'\n').count() + 1;
        let mut snippet = Snippet::source(text[from..to].to_owned()).path(clean(&source.name)).line_start(line);
        for (span, label, kind) in places {
            let range = range(&span);
            let annotation = kind.span(range.start - from..range.end - from);
            snippet = snippet.annotation(match label {
                Some(label) => annotation.label(clean(&label)),
                None => annotation,
            });
        }
        snippet
    }

    /// One line, as compilers and editors know it.
    fn short(&self, diagnostic: &Diagnostic) -> String {
        let mut text = String::new();
        if let Some(span) = diagnostic.span {
            let _ = write!(text, "{}: ", clean(&self.sources.place(span)));
        }
        let _ = write!(text, "{}: {}", self.word(diagnostic.severity), clean(&diagnostic.message).replace('\n', " "));
        if let Some(help) = &diagnostic.help {
            let _ = write!(text, " ({})", clean(help).replace('\n', " "));
        }
        text.push('\n');
        text
    }

    /// As data.
    fn json(&self, diagnostic: &Diagnostic) -> serde_json::Value {
        let place = |span: Span| {
            let end = Span { start: span.end, ..span };
            let (LineCol { line, column }, until) = (self.sources.line_col(span), self.sources.line_col(end));
            json!({
                "file": self.sources.file(span.source).name,
                "line": line, "column": column, "end_line": until.line, "end_column": until.column,
            })
        };
        let mut object = json!({ "severity": diagnostic.severity, "code": diagnostic.code, "message": diagnostic.message });
        if let Some(span) = diagnostic.span {
            object["place"] = place(span);
        }
        if let Some(label) = &diagnostic.label {
            object["label"] = json!(label);
        }
        if let Some(span) = diagnostic.span
            && let way = self.sources.way_to(span.source)
            && !way.is_empty()
        {
            object["named_at"] = way.into_iter().map(place).collect();
        }
        if !diagnostic.related.is_empty() {
            object["related"] = diagnostic.related.iter().map(|(span, what)| json!({ "place": place(*span), "what": what })).collect();
        }
        if let Some(help) = &diagnostic.help {
            object["help"] = json!(help);
        }
        object
    }
}

impl Drawer<'_> {
    /// A finding as data without nesting, as editors like it: its place stands beside what it says.
    pub fn flat(&self, diagnostic: &Diagnostic) -> serde_json::Value {
        let mut object = json!({ "severity": diagnostic.severity, "code": diagnostic.code, "message": diagnostic.message });
        let put = |object: &mut serde_json::Value, span: Span| {
            let end = Span { start: span.end, ..span };
            let (start, end) = (self.sources.line_col(span), self.sources.line_col(end));
            object["file"] = json!(self.sources.file(span.source).name);
            for (key, number) in [("line", start.line), ("column", start.column), ("end_line", end.line), ("end_column", end.column)] {
                object[key] = json!(number);
            }
        };
        if let Some(span) = diagnostic.span {
            put(&mut object, span);
        }
        for (key, text) in [("label", &diagnostic.label), ("help", &diagnostic.help)] {
            if let Some(text) = text {
                object[key] = json!(text);
            }
        }
        let related = diagnostic.related.iter().map(|(span, what)| {
            let mut place = json!({ "message": what });
            put(&mut place, *span);
            place
        });
        object["related"] = related.collect();
        object
    }
}

/// The beginning of a text that quotes what is endless.
fn cut(text: &str) -> String {
    if text.len() <= MAX_LINE { text.to_owned() } else { format!("{}…", &text[..floor(text, MAX_LINE)]) }
}

/// The nearest place at or before `at` where `text` can be cut.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "services:\n  web:\n    imgae: nginx\n    depends_on: [db]\n  db:\n    image: pg\n    image: mysql\n";

    fn sources() -> (SourceMap, SourceId) {
        let mut map = SourceMap::new();
        let id = map.add("compose.yaml", TEXT);
        (map, id)
    }

    fn span(id: SourceId, word: &str, nth: usize) -> Span {
        let at = TEXT.match_indices(word).nth(nth).unwrap().0;
        Span::new(id, at, at + word.len())
    }

    fn drawer(sources: &SourceMap, form: Form) -> Drawer<'_> {
        Drawer { sources, form, paint: Paint(false), width: 100 }
    }

    #[test]
    fn an_unknown_key_gets_a_caret_and_a_cure() {
        let (map, id) = sources();
        let d = Diagnostic::error("unknown-key", "unknown key `imgae`")
            .at(span(id, "imgae", 0))
            .label("not a key of a service")
            .help("did you mean `image`?");
        assert_eq!(
            drawer(&map, Form::Full).one(&d),
            "\
error[unknown-key]: unknown key `imgae`
 --> compose.yaml:3:5
  |
3 |     imgae: nginx
  |     ^^^^^ not a key of a service
  |
  = help: did you mean `image`?

"
        );
        assert_eq!(drawer(&map, Form::Short).one(&d), "compose.yaml:3:5: error: unknown key `imgae` (did you mean `image`?)\n");
        let json: serde_json::Value = serde_json::from_str(&drawer(&map, Form::Json).one(&d)).unwrap();
        assert_eq!(json["place"], json!({"file": "compose.yaml", "line": 3, "column": 5, "end_line": 3, "end_column": 10}));
    }

    #[test]
    fn related_places_stand_in_the_same_excerpt() {
        let (map, id) = sources();
        let d = Diagnostic::error("duplicate-key", "key `image` twice").at(span(id, "image", 1)).related(span(id, "image", 0), "first here");
        assert_eq!(
            drawer(&map, Form::Full).one(&d),
            "\
error[duplicate-key]: key `image` twice
 --> compose.yaml:7:5
  |
6 |     image: pg
  |     ----- first here
7 |     image: mysql
  |     ^^^^^

"
        );
    }

    #[test]
    fn several_errors_are_counted() {
        let (map, id) = sources();
        let d = Diagnostic::error("x", "one").at(span(id, "web", 0));
        let all = drawer(&map, Form::Short).all(&[d.clone(), Diagnostic::warning("y", "careful"), d]);
        assert!(all.ends_with("\n2 errors and 1 warning in compose.yaml\n"), "{all}");
        assert_eq!(drawer(&map, Form::Full).one(&Diagnostic::error("x", "no place").help("do this")), "error: no place\n  help: do this\n");
    }

    #[test]
    fn odd_places_never_panic() {
        let mut map = SourceMap::new();
        let id = map.add("čudný\x1b.yaml", "a: \tž\x1b[2J\r\nb: |\n  x\n");
        for (start, end) in [(0, 0), (0, 999), (999, 9999), (4, 5), (5, 5), (20, 20), (0, 18)] {
            for form in [Form::Full, Form::Short, Form::Json] {
                let d = Diagnostic::error("x", "odd").at(Span::new(id, start, end)).related(Span::new(id, end, start), "odd");
                assert!(!drawer(&map, form).one(&d).contains("\x1b"));
            }
        }
        let empty = map.add("empty.yaml", "");
        assert!(drawer(&map, Form::Full).one(&Diagnostic::error("x", "empty").at(Span::new(empty, 0, 0))).contains("empty.yaml:1:1"));
    }
}
