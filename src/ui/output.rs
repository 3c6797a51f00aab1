//! One of the two streams that we write to.

use crate::world::Stream;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::task::JoinHandle;

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

impl Default for Size {
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

/// Standard output or standard error, or what stands for them in a test.
///
/// Clones write to the same stream. Once the reader at the other end is gone, writing is refused with
/// [`io::ErrorKind::BrokenPipe`] and nothing more reaches the stream.
#[derive(Clone)]
pub struct Output {
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    terminal: bool,
    may_block: bool,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl Output {
    /// A stream whose writes may block: they are done on a thread of their own, so that a stalled reader (a pager, a
    /// stopped terminal) never keeps signals and containers waiting.
    pub fn blocking(writer: impl Write + Send + 'static, terminal: bool) -> Self {
        Self { writer: Arc::new(Mutex::new(Box::new(writer))), terminal, may_block: true }
    }

    /// A stream whose writes never block.
    pub fn memory(writer: impl Write + Send + 'static, terminal: bool) -> Self {
        Self { writer: Arc::new(Mutex::new(Box::new(writer))), terminal, may_block: false }
    }

    /// A stream into a buffer, and the buffer.
    pub fn captured(terminal: bool) -> (Self, Captured) {
        let captured = Captured::default();
        (Self::memory(captured.clone(), terminal), captured)
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The same stream for who writes asynchronously.
    pub fn writer(&self) -> Writer {
        Writer { output: self.clone(), writing: None }
    }

    /// Writes all of `bytes` and flushes, on this thread.
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(bytes)?;
        writer.flush()
    }

    /// Writes `bytes` unless a write is stuck: for the way out.
    pub(crate) fn write_if_free(&self, bytes: &[u8]) {
        if let Ok(mut writer) = self.writer.try_lock() {
            let _ = writer.write_all(bytes).and_then(|()| writer.flush());
        }
    }

    /// Writes all of `bytes` and flushes; `bytes` is empty afterwards and keeps its capacity.
    pub async fn write(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        // Commands that need no engine run without a runtime; nothing else waits for their output then.
        let result = if self.may_block && tokio::runtime::Handle::try_current().is_ok() {
            let (output, chunk) = (self.clone(), std::mem::take(bytes));
            let written = tokio::task::spawn_blocking(move || {
                let result = output.write_now(&chunk);
                (chunk, result)
            });
            match written.await {
                Ok((chunk, result)) => {
                    *bytes = chunk;
                    result
                }
                Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
            }
        } else {
            self.write_now(bytes)
        };
        bytes.clear();
        result
    }
}

/// An [`Output`] for who writes asynchronously.
#[derive(Debug)]
pub struct Writer {
    output: Output,
    /// A write that goes on, on a thread of its own.
    writing: Option<JoinHandle<io::Result<usize>>>,
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.output.may_block {
            return Poll::Ready(self.output.write_now(bytes).map(|()| bytes.len()));
        }
        let output = self.output.clone();
        let writing = self.writing.get_or_insert_with(|| {
            let chunk = bytes.to_vec();
            tokio::task::spawn_blocking(move || output.write_now(&chunk).map(|()| chunk.len()))
        });
        let result = ready!(Pin::new(writing).poll(context));
        self.writing = None;
        Poll::Ready(result.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())))
    }

    /// Every write flushes.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Bytes for both streams, in the order in which they are to be written.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    chunks: Vec<(Stream, Vec<u8>)>,
    used: usize,
}

impl Chunks {
    /// Where the next bytes for `stream` go.
    pub(crate) fn to(&mut self, stream: Stream) -> &mut Vec<u8> {
        if self.used == 0 || self.chunks[self.used - 1].0 != stream {
            if self.used == self.chunks.len() {
                self.chunks.push((stream, Vec::new()));
            }
            self.chunks[self.used].0 = stream;
            self.used += 1;
        }
        &mut self.chunks[self.used - 1].1
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// What waits.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Stream, Vec<u8>)> {
        self.chunks[..self.used].iter()
    }

    /// Writes everything, and is empty afterwards. A stream that is
    /// gone is passed over; one that breaks is marked.
    pub(crate) async fn write(&mut self, stdout: &mut Pipe, stderr: &mut Pipe) {
        for (stream, bytes) in &mut self.chunks[..self.used] {
            let pipe = if *stream == Stream::Stdout { &mut *stdout } else { &mut *stderr };
            if pipe.gone.is_some() {
                bytes.clear();
            } else if let Err(error) = pipe.output.write(bytes).await {
                pipe.gone = Some(error);
            }
        }
        self.used = 0;
    }
}

/// A stream that may have lost its reader.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) output: Output,
    /// Why it can't be written to any more.
    pub(crate) gone: Option<io::Error>,
}

/// What was written to a stream that stands for a real one.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Everything so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything so far; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
