//! What we change about the terminal, and how it ends whatever happens.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the terminal was set to before raw mode.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The cursor is hidden.
static CURSOR_HIDDEN: AtomicBool = AtomicBool::new(false);

/// Notes whether the cursor of the real terminal is hidden now.
pub(crate) fn note_cursor(hidden: bool) {
    CURSOR_HIDDEN.store(hidden, Ordering::Relaxed);
}

/// Every byte that is typed arrives at once and unchanged, Ctrl-C too (termios(3), cfmakeraw). Ends when it is dropped.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Begins it on standard input.
    ///
    /// # Errors
    /// Standard input is no terminal.
    pub fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Ends raw mode and shows the cursor again, if need be. For panics and other hasty ends.
pub fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
    if CURSOR_HIDDEN.swap(false, Ordering::Relaxed) {
        let _ = io::stderr().write_all(b"\x1b[?25h");
    }
}
