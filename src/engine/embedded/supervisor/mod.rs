//! The supervisor of a project: one process, one thread, no tokio.

pub mod launch;
pub mod wire;

use std::ffi::OsString;
use std::process::ExitCode;

/// The supervisor, from beginning to end. `arguments` are those after the name of the part.
pub(super) fn main(arguments: &[OsString]) -> ExitCode {
    let _ = arguments;
    ExitCode::FAILURE
}
