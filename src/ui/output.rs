//! One of the two streams that we write to.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

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

    /// Writes all of `bytes` and flushes, on this thread.
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(bytes)?;
        writer.flush()
    }

    /// Writes all of `bytes` and flushes; `bytes` is empty afterwards and keeps its capacity.
    pub async fn write(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let result = if self.may_block {
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
