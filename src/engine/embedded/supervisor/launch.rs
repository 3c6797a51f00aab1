//! Starting a supervisor, from the command's side.

use super::super::Places;
use super::super::part::PART;
use super::wire::{Lines, Readiness};
use crate::world::{EngineError, ErrorKind};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Starts the supervisor of a project and returns when it listens. Whoever calls this for the same project at the same
/// time gets the same supervisor. Its folder must be there. Blocks for some milliseconds.
///
/// `program` is this program, whatever process calls: `/proc/self/exe` for the command itself.
///
/// # Errors
/// It can't be started; it says what is wrong.
pub fn launch(places: &Places, project: &str, program: &Path) -> Result<(), EngineError> {
    let failed = |why: String| EngineError::new(ErrorKind::Unreachable, "the supervisor of the project can't be started").because(why);
    // One at a time; the others find that it listens, and so that theirs has nothing to do.
    let folder = places.project(project);
    let turn = File::options().append(true).create(true).mode(0o600).open(folder.join("start")).map_err(|e| failed(e.to_string()))?;
    flock(&turn, FlockOperation::LockExclusive).map_err(|e| failed(e.to_string()))?;
    // What it says when it breaks, for whoever looks into it.
    let stderr = File::options().append(true).create(true).mode(0o600).open(folder.join("stderr"));
    let stderr = stderr.map_or_else(|_| Stdio::null(), Stdio::from);
    let mut child = Command::new(program)
        .args([PART, "supervisor"])
        .args([&places.state, &places.run])
        .arg(project)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    let mut lines = Lines::default();
    if let Some(mut output) = child.stdout.take() {
        let mut text = Vec::new();
        output.read_to_end(&mut text).map_err(|e| failed(e.to_string()))?;
        lines.push(&text);
    }
    match lines.take::<Readiness>()? {
        // It lives on without us; when it ends before us it is a zombie until we end, too.
        Some(Readiness::Listening(_)) => Ok(()),
        Some(Readiness::Failed(error)) => {
            // It has said its last word.
            let _ = child.wait();
            Err(error)
        }
        None => {
            let how = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
            Err(failed(format!("it ended at once ({how})")))
        }
    }
}
