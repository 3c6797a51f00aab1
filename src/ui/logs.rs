//! Lines of logs: a column of names, colours that stay with a replica, what happened to containers in between.

use super::output::Chunks;
use crate::world::{Happening, LogLine, Stream};
use console::measure_text_width;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

/// Colours in the order in which replicas get them, as Compose hands them out.
const COLOURS: [&str; 10] = ["36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1"];

/// How lines of logs are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStyle {
    /// With the name in front.
    pub prefix: bool,
    /// With the time.
    pub timestamps: bool,
    /// Names in colour.
    pub colour: bool,
    /// What a container writes on standard error goes to our standard error; otherwise everything goes to standard
    /// output.
    pub split: bool,
}

impl Default for LogStyle {
    fn default() -> Self {
        Self { prefix: true, timestamps: false, colour: false, split: false }
    }
}

/// Writes lines of logs.
#[derive(Debug, Default)]
pub(crate) struct LogWriter {
    style: LogStyle,
    sources: BTreeMap<Arc<str>, Source>,
    width: usize,
    /// The source of the line before, whose prefix is most likely the next one's too.
    last: Option<(Arc<str>, Vec<u8>)>,
    /// The line before has no end yet: whose it is, and where it stands.
    open: Option<(Arc<str>, Stream)>,
}

#[derive(Debug)]
struct Source {
    colour: &'static str,
    prefix: Vec<u8>,
}

impl LogWriter {
    pub(crate) fn new(style: LogStyle) -> Self {
        Self { style, ..Self::default() }
    }

    /// Makes room for these names.
    pub(crate) fn attach(&mut self, names: &[Arc<str>]) {
        for name in names {
            let next = COLOURS[self.sources.len() % COLOURS.len()];
            self.sources.entry(Arc::clone(name)).or_insert(Source { colour: next, prefix: Vec::new() });
        }
        self.width = self.sources.keys().map(|name| measure_text_width(name)).max().unwrap_or(0).max(self.width);
        for (name, source) in &mut self.sources {
            let pad = self.width - measure_text_width(name);
            source.prefix = if self.style.colour {
                format!("\x1b[{}m{name}{:pad$}  | \x1b[0m", source.colour, "").into_bytes()
            } else {
                format!("{name}{:pad$}  | ", "").into_bytes()
            };
        }
        self.last = None;
    }

    /// Where the stream of a container goes.
    pub(crate) fn target(&self, stream: Stream) -> Stream {
        if self.style.split { stream } else { Stream::Stdout }
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: &LogLine, out: &mut Chunks) {
        let target = self.target(line.stream);
        let goes_on = match &self.open {
            Some((source, stream)) if *source == line.source && *stream == target => true,
            Some((_, stream)) => {
                out.to(*stream).push(b'\n');
                false
            }
            None => false,
        };
        let bytes = out.to(target);
        if !goes_on {
            if self.style.prefix {
                bytes.extend_from_slice(self.prefix(&line.source));
            }
            if self.style.timestamps {
                // Writing to a vector never fails.
                let _ = write!(bytes, "{} ", line.time);
            }
        }
        bytes.extend_from_slice(&line.text);
        if line.partial {
            self.open = Some((Arc::clone(&line.source), target));
        } else {
            bytes.push(b'\n');
            self.open = None;
        }
    }

    /// Ends a line that has no end.
    pub(crate) fn close(&mut self, out: &mut Chunks) {
        if let Some((_, stream)) = self.open.take() {
            out.to(stream).push(b'\n');
        }
    }

    /// What is said when something happened to a container.
    pub(crate) fn happened(&mut self, source: &Arc<str>, what: &Happening) -> String {
        let text = match what {
            Happening::Exited { code, restarting, oom } => format!(
                "{source} exited with code {code}{}{}",
                if *oom { " (out of memory)" } else { "" },
                if *restarting { " (restarting)" } else { "" }
            ),
            Happening::Recreated => format!("{source} has been recreated"),
        };
        if !self.style.colour {
            return text;
        }
        if !self.sources.contains_key(source) {
            self.attach(std::slice::from_ref(source));
        }
        let colour = self.sources.get(source).map_or(COLOURS[0], |s| s.colour);
        format!("\x1b[{colour}m{text}\x1b[0m")
    }

    fn prefix(&mut self, name: &Arc<str>) -> &[u8] {
        if self.last.as_ref().is_none_or(|(last, _)| !Arc::ptr_eq(last, name) && last != name) {
            if !self.sources.contains_key(name) {
                self.attach(std::slice::from_ref(name));
            }
            let prefix = self.sources.get(name).map(|s| s.prefix.clone()).unwrap_or_default();
            self.last = Some((Arc::clone(name), prefix));
        }
        self.last.as_ref().map_or(&[], |(_, prefix)| prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;
    use bytes::Bytes;

    fn line(source: &str, stream: Stream, text: &'static str, partial: bool) -> LogLine {
        LogLine { source: source.into(), stream, time: Timestamp(1), text: Bytes::from(text), partial }
    }

    fn shown(style: LogStyle, names: &[&str], lines: &[LogLine]) -> (String, String) {
        let mut writer = LogWriter::new(style);
        writer.attach(&names.iter().map(|n| Arc::from(*n)).collect::<Vec<_>>());
        let mut chunks = Chunks::default();
        for line in lines {
            writer.line(line, &mut chunks);
        }
        writer.close(&mut chunks);
        let text = |wanted| {
            let bytes = chunks.iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, bytes)| bytes.clone()).collect();
            String::from_utf8(bytes).unwrap()
        };
        (text(Stream::Stdout), text(Stream::Stderr))
    }

    #[test]
    fn the_column_has_one_width_from_the_first_line_on() {
        let lines = [line("a-1", Stream::Stdout, "x", false), line("bbbbbb-1", Stream::Stderr, "y", false)];
        let (out, err) = shown(LogStyle::default(), &["a-1", "bbbbbb-1"], &lines);
        assert_eq!((out.as_str(), err.as_str()), ("a-1       | x\nbbbbbb-1  | y\n", ""));
    }

    #[test]
    fn standard_error_is_kept_apart_where_it_is_asked_for() {
        let style = LogStyle { split: true, prefix: false, timestamps: true, ..LogStyle::default() };
        let (out, err) = shown(style, &[], &[line("a-1", Stream::Stdout, "x", false), line("a-1", Stream::Stderr, "", false)]);
        assert_eq!((out.as_str(), err.as_str()), ("1970-01-01T00:00:00.000000001Z x\n", "1970-01-01T00:00:00.000000001Z \n"));
    }

    #[test]
    fn colours_stay_with_a_replica_and_cover_only_the_name() {
        let style = LogStyle { colour: true, ..LogStyle::default() };
        let lines = [line("b-1", Stream::Stdout, "x", false), line("new-1", Stream::Stdout, "y", false), line("b-1", Stream::Stdout, "z", false)];
        let (out, _) = shown(style, &["a-1", "b-1"], &lines);
        assert_eq!(out, "\x1b[33mb-1  | \x1b[0mx\n\x1b[32mnew-1  | \x1b[0my\n\x1b[33mb-1    | \x1b[0mz\n");
    }

    #[test]
    fn a_line_in_pieces_stays_one_line_and_never_swallows_another() {
        let lines = [
            line("a-1", Stream::Stdout, "pro", true),
            line("a-1", Stream::Stdout, "mpt> ", true),
            line("b-1", Stream::Stdout, "hello", false),
            line("a-1", Stream::Stdout, "end", true),
        ];
        let (out, _) = shown(LogStyle::default(), &["a-1", "b-1"], &lines);
        assert_eq!(out, "a-1  | prompt> \nb-1  | hello\na-1  | end\n");
    }
}
