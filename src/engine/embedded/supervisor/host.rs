//! The process: what it is told, what it locks, how it ends.

use super::super::Places;
use super::super::part::PART;
use super::super::record::failed;
use super::launch::Program;
use super::turn::{Ending, Supervisor};
use super::wire::{self, Door, Hello, Readiness};
use crate::world::EngineError;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// The supervisor, from beginning to end. `arguments` are those after the name of the part: folders STATE and RUN, the
/// name of the project.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let [state, run, project] = arguments else { return ExitCode::FAILURE };
    let Some(project) = project.to_str() else { return ExitCode::FAILURE };
    let places = Places { state: state.into(), run: run.into() };
    match supervise(&places, project) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever has started us may have gone.
            let _ = rustix::io::write(rustix::stdio::stdout(), &wire::line(&Readiness::Failed(error)));
            ExitCode::FAILURE
        }
    }
}

fn supervise(places: &Places, project: &str) -> Result<(), EngineError> {
    let cant = |e: std::io::Error| failed("the supervisor of the project can't be started", &e);
    // Of its own: a signal to whoever has started it is none of ours. One that leads a session already stays so.
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"consort");
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    super::super::sys::process::close_on_exec(3).map_err(cant)?;
    let folder = places.project(project);
    let Some(lock) = lock(&folder).map_err(cant)? else {
        // Another one looks after the project already.
        ready();
        return Ok(());
    };
    let listener = listen(&folder).map_err(cant)?;
    let mut supervisor = Supervisor::new(places.clone(), project.to_owned(), super::adopt::boot_id(), listener)?;
    supervisor.adopt()?;
    ready();
    match supervisor.run().map_err(cant)? {
        Ending::Idle => {
            // Whoever connects from now on starts another one, which waits for the lock.
            let _ = std::fs::remove_file(folder.join("socket"));
        }
        Ending::Successor(program) => {
            let _ = std::fs::remove_file(folder.join("socket"));
            // Containers stay children of this process, whatever program it runs; the lock is taken anew at once.
            let arguments = [PART.as_ref(), "supervisor".as_ref(), places.state.as_os_str(), places.run.as_os_str(), project.as_ref()];
            let program = Program::of(&program);
            let error = Command::new(&program.path).arg0("consort").args(arguments).exec();
            return Err(cant(error));
        }
    }
    drop(lock);
    supervisor.last_act();
    Ok(())
}

/// Tells whoever has started us that we listen, and lets go of their streams.
fn ready() {
    let _ = rustix::io::write(rustix::stdio::stdout(), &wire::line(&Readiness::Listening(Hello::new())));
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

/// Takes the lock of the project; none if a supervisor that listens has it. One that is about to end is waited for.
fn lock(folder: &Path) -> std::io::Result<Option<File>> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    loop {
        let path = folder.join("lock");
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let door = Door::of(folder)?;
            if std::os::unix::net::UnixStream::connect(&door.path).is_ok() {
                return Ok(None);
            }
            flock(&file, FlockOperation::LockExclusive)?;
        }
        // Somebody may have removed it meanwhile.
        let named = std::fs::metadata(&path);
        if named.is_ok_and(|n| file.metadata().is_ok_and(|f| f.ino() == n.ino())) {
            return Ok(Some(file));
        }
    }
}

/// Listens where commands look for it.
fn listen(folder: &Path) -> std::io::Result<OwnedFd> {
    let door = Door::of(folder)?;
    match std::fs::remove_file(&door.path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(&door.path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}
