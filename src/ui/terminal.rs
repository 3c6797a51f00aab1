//! What we change about the terminal, and how it ends whatever happens.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the terminal was set to before raw mode.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// How often the process went on after it had been stopped.
static RESUMED: AtomicUsize = AtomicUsize::new(0);

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
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before.clone());
        make_raw(before)?;
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn make_raw(mut settings: Termios) -> io::Result<()> {
    settings.make_raw();
    Ok(tcsetattr(io::stdin(), OptionalActions::Drain, &settings)?)
}

/// Gives the terminal to the shell: to be called before the process stops itself.
pub fn suspend() {
    if let Some(before) = &*BEFORE.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
    }
    if CURSOR_HIDDEN.swap(false, Ordering::Relaxed) {
        let _ = io::stderr().write_all(b"\x1b[?25h");
    }
}

/// Takes the terminal back: to be called when the process goes on. What a live view had drawn is forgotten: it draws
/// itself anew below whatever stands there now.
pub fn resume() {
    RESUMED.fetch_add(1, Ordering::Relaxed);
    if let Some(before) = &*BEFORE.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = make_raw(before.clone());
    }
}

/// How often [`resume`] was called.
pub(crate) fn resumed() -> usize {
    RESUMED.load(Ordering::Relaxed)
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
