//! Processes of the engine besides the command: this very program, with another first argument.

use super::{helper, supervisor};
use std::ffi::OsString;
use std::process::ExitCode;

/// First argument of this program when it is not a command but a part of the engine.
pub const PART: &str = "@consort";

/// Runs a part of the engine if the arguments ask for one: `@consort supervisor …`. Called first of all, before anything
/// starts a thread: parts clone, and only a process with one thread may go on as it likes in the copy.
pub fn enter(arguments: &[OsString]) -> Option<ExitCode> {
    let [_, part, name, rest @ ..] = arguments else { return None };
    if part != PART {
        return None;
    }
    Some(match name.to_str() {
        Some("supervisor") => supervisor::main(rest),
        Some("exec") => helper::main(),
        _ => ExitCode::FAILURE,
    })
}
