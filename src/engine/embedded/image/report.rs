//! Progress of layers, in Docker's words.

use crate::engine::{OpProgress, ProgressSink};
use crate::world::Progress;
use std::io::{self, Read};

/// Bytes after which progress is reported again.
const STEP: u64 = 512 << 10;

/// Where progress is reported. Nobody waits for those who read it.
#[derive(Clone, Debug)]
pub struct Report {
    sink: Option<ProgressSink>,
}

impl Report {
    /// To a sink.
    pub fn new(sink: ProgressSink) -> Self {
        Self { sink: Some(sink) }
    }

    /// What is done with a layer.
    pub fn word(&self, digest: &str, text: &str) {
        self.send(digest, text, None);
    }

    /// How far it is.
    pub fn far(&self, digest: &str, text: &str, current: u64, total: u64) {
        self.send(digest, text, Some(Progress { current, total }));
    }

    fn send(&self, digest: &str, text: &str, progress: Option<Progress>) {
        if let Some(sink) = &self.sink {
            let hex = digest.trim_start_matches("sha256:");
            let part = hex.get(..12).unwrap_or(hex).to_owned();
            // A full queue: its reader has more to show than anybody can see.
            let _ = sink.try_send(OpProgress { part, text: text.to_owned(), progress });
        }
    }

    /// Reports how much of a reader was read.
    pub fn reader<R: Read>(&self, digest: &str, text: &'static str, inner: R, total: u64) -> Reported<R> {
        Reported { inner, report: self.clone(), digest: digest.to_owned(), text, total, current: 0, reported: 0 }
    }
}

/// See [`Report::reader`].
pub struct Reported<R> {
    inner: R,
    report: Report,
    digest: String,
    text: &'static str,
    total: u64,
    current: u64,
    reported: u64,
}

impl<R: Read> Read for Reported<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.current += n as u64;
        if self.current - self.reported >= STEP.max(self.total / 100) {
            self.reported = self.current;
            self.report.far(&self.digest, self.text, self.current, self.total);
        }
        Ok(n)
    }
}
