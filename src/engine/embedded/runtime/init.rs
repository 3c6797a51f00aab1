//! A small process 1 (`init: true`): starts the program, hands signals on to it, buries every process that is left
//! without a parent, and ends as the program ended.
//!
//! It is a copy of this program that stays: nothing of ours has to be put into the container, and no image has to have
//! anything that it needs. User, capabilities and filter are those of the program.

use crate::engine::embedded::sys::process::{Cloned, block_signals, clone, close_all_but, exit, reset_signals, send, set_title, wait_signal};
use crate::world::{EngineError, ErrorKind};
use rustix::process::{WaitOptions, wait};

/// Comes back in the process that becomes the program; the other one stays process 1, under the restrictions of
/// `restrict`.
///
/// # Errors
/// No process can be had.
pub fn split(restrict: impl FnOnce() -> Result<(), EngineError>) -> Result<(), EngineError> {
    // Before the program exists, so that none of its signals is missed.
    block_signals();
    match clone(0, None) {
        Ok(Cloned::Child) => {
            // A group of its own and, where there is a terminal, the foreground of it. Who takes that from the background
            // is stopped, unless that signal is blocked.
            let _ = rustix::process::setpgid(None, None);
            let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp());
            reset_signals();
            Ok(())
        }
        Ok(Cloned::Parent { pid, pidfd }) => {
            set_title("consort-init");
            // Among them the line to the parent: as long as it were open, nobody would learn that the program has begun.
            drop(pidfd);
            if close_all_but(&[]).is_err() || restrict().is_err() {
                exit(128);
            }
            exit(stay(pid))
        }
        Err(error) => Err(EngineError::new(ErrorKind::Refused, "no process can be started below init").because(error.to_string())),
    }
}

/// Until the program has ended; its exit code.
fn stay(program: i32) -> i32 {
    let _ = rustix::process::chdir("/");
    loop {
        match wait_signal() {
            libc::SIGCHLD => {
                while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                    if pid.as_raw_nonzero().get() == program {
                        return status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0));
                    }
                }
            }
            0 | libc::SIGTTIN | libc::SIGTTOU => {}
            number => send(program, number),
        }
    }
}
