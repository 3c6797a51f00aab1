//! Chunks of one container's log become lines. Each chunk is taken once, however often the log is opened again.

use crate::units::Timestamp;
use crate::world::{LogChunk, LogLine, Stream};
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::sync::Arc;

/// A line without an end is given out in pieces of this many bytes.
const LONG: usize = 16 * 1024 * 1024;
/// Engines write the two streams side by side, so that times in a log run backwards by a little now and then; and some
/// take `since` only roughly. So much before the last chunk is read again, and what is known of it is dropped.
const OVERLAP: i64 = 2_000_000;

/// Makes lines.
#[derive(Debug)]
pub(in crate::run) struct Lines {
    source: Arc<str>,
    /// What has no newline yet, by stream.
    open: [Vec<u8>; 2],
    /// The latest time.
    last: Timestamp,
    seen_any: bool,
    /// What is not younger was written before, and is left out.
    floor: Option<Timestamp>,
    /// The chunks of the last moment, in the order in which they came.
    recent: VecDeque<(Timestamp, Stream)>,
    /// After the log was opened again: what will come a second time.
    again: Option<Again>,
}

#[derive(Debug)]
struct Again {
    from: Timestamp,
    until: Timestamp,
    known: VecDeque<(Timestamp, Stream)>,
}

impl Lines {
    /// Lines of the container that is shown as `source`.
    pub fn new(source: Arc<str>) -> Self {
        Self { source, open: [Vec::new(), Vec::new()], last: Timestamp(0), seen_any: false, floor: None, recent: VecDeque::new(), again: None }
    }

    /// As long as nothing was read: leaves out what was written up to `time`, by earlier runs.
    pub fn begin_after(&mut self, time: Timestamp) {
        if !self.seen_any {
            self.floor = self.floor.max(Some(time));
        }
    }

    /// The log is opened again: from which time on it has to be read. `None` if nothing was read yet and all is wanted.
    pub fn resume(&mut self) -> Option<Timestamp> {
        if !self.seen_any {
            return self.floor;
        }
        let from = Timestamp(self.last.0.saturating_sub(OVERLAP));
        self.again = Some(Again { from, until: Timestamp(self.last.0.saturating_add(OVERLAP)), known: self.recent.clone() });
        Some(from)
    }

    /// Takes a chunk and adds the lines that it completes.
    pub fn take(&mut self, chunk: LogChunk, out: &mut Vec<LogLine>) {
        let LogChunk { stream, time, mut bytes } = chunk;
        if let Some(time) = time
            && !self.is_new(time, stream)
        {
            return;
        }
        while let Some(n) = bytes.iter().position(|b| *b == b'\n') {
            if n + 1 == bytes.len() {
                bytes.truncate(n);
                return self.piece(stream, bytes, true, out);
            }
            let line = bytes.split_to(n);
            bytes.advance(1);
            self.piece(stream, line, true, out);
        }
        if !bytes.is_empty() {
            self.piece(stream, bytes, false, out);
        }
    }

    /// The process has ended: what has no newline will get none.
    pub fn end(&mut self, out: &mut Vec<LogLine>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.open[stream as usize]);
            if !rest.is_empty() {
                out.push(self.line(stream, rest.into(), true));
            }
        }
    }

    fn is_new(&mut self, time: Timestamp, stream: Stream) -> bool {
        if self.floor.is_some_and(|floor| time <= floor) {
            return false;
        }
        if let Some(again) = &mut self.again {
            if time < again.from {
                return false;
            }
            if time > again.until {
                self.again = None;
            } else if let Some(i) = again.known.iter().position(|known| *known == (time, stream)) {
                again.known.remove(i);
                return false;
            }
        }
        self.last = self.last.max(time);
        self.seen_any = true;
        let old = Timestamp(self.last.0.saturating_sub(OVERLAP));
        while self.recent.front().is_some_and(|(t, _)| *t < old) {
            self.recent.pop_front();
        }
        self.recent.push_back((time, stream));
        true
    }

    fn piece(&mut self, stream: Stream, bytes: Bytes, ended: bool, out: &mut Vec<LogLine>) {
        let open = &mut self.open[stream as usize];
        if open.is_empty() && ended {
            return out.push(self.line(stream, bytes, false));
        }
        open.extend_from_slice(&bytes);
        if ended || open.len() >= LONG {
            let whole = std::mem::take(open);
            out.push(self.line(stream, whole.into(), !ended));
        }
    }

    fn line(&self, stream: Stream, text: Bytes, partial: bool) -> LogLine {
        LogLine { source: Arc::clone(&self.source), stream, time: self.last, text, partial }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(time: i64, text: &'static str) -> LogChunk {
        LogChunk { stream: Stream::Stdout, time: Some(Timestamp(time)), bytes: Bytes::from_static(text.as_bytes()) }
    }

    fn texts(lines: &[LogLine]) -> Vec<(String, bool)> {
        lines.iter().map(|l| (String::from_utf8_lossy(&l.text).into_owned(), l.partial)).collect()
    }

    #[test]
    fn parts_of_a_long_line_are_joined_by_stream() {
        let (mut lines, mut out) = (Lines::new("a-1".into()), Vec::new());
        lines.take(chunk(1, "one "), &mut out);
        lines.take(LogChunk { stream: Stream::Stderr, ..chunk(1, "oops\n") }, &mut out);
        lines.take(chunk(1, "two\nthree\n\nrest"), &mut out);
        assert_eq!(texts(&out), [("oops".into(), false), ("one two".into(), false), ("three".into(), false), (String::new(), false)]);
        assert_eq!(out[0].stream, Stream::Stderr);
        out.clear();
        lines.end(&mut out);
        assert_eq!(texts(&out), [("rest".into(), true)]);
        lines.end(&mut out);
        assert_eq!(out.len(), 1, "it is given out once");
    }

    #[test]
    fn opened_again_nothing_is_lost_and_nothing_doubled() {
        // The log as it is in the end; the first reader sees `cut` chunks of it, times run backwards a little.
        let ms = 1_000_000;
        let log: Vec<_> =
            [(1, "a\n"), (10 * ms, "b\n"), (10 * ms, "c\n"), (10 * ms + 5, "d\n"), (10 * ms + 3, "e\n"), (10 * ms + 5, "f\n"), (30 * ms, "g\n")]
                .map(|(t, text)| chunk(t, text))
                .into();
        for cut in 0..=log.len() {
            for exact in [true, false] {
                let (mut lines, mut out) = (Lines::new("a-1".into()), Vec::new());
                log[..cut].iter().for_each(|c| lines.take(c.clone(), &mut out));
                let since = lines.resume();
                let again = log.iter().filter(|c| !exact || since.is_none_or(|s| c.time >= Some(s)));
                again.for_each(|c| lines.take(c.clone(), &mut out));
                let got: String = out.iter().map(|l| String::from_utf8_lossy(&l.text).into_owned()).collect();
                assert_eq!(got, "abcdefg", "cut {cut} exact {exact}");
            }
        }
    }

    #[test]
    fn a_line_cut_by_opening_the_log_again_stays_whole() {
        let (mut lines, mut out) = (Lines::new("a-1".into()), Vec::new());
        lines.take(chunk(5, "half "), &mut out);
        let _ = lines.resume();
        lines.take(chunk(5, "half "), &mut out);
        lines.take(chunk(5, "whole\n"), &mut out);
        assert_eq!(texts(&out), [("half whole".into(), false)]);
    }

    #[test]
    fn output_without_times_is_taken_as_it_comes() {
        let (mut lines, mut out) = (Lines::new("a-1".into()), Vec::new());
        let raw = LogChunk { time: None, ..chunk(0, "x\n") };
        lines.take(raw.clone(), &mut out);
        let _ = lines.resume();
        lines.take(raw.clone(), &mut out);
        assert_eq!(out.len(), 2);
    }
}
