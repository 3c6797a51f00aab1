//! Starting a supervisor, from the command's side.

use super::super::Places;
use super::super::part::PART;
use super::super::runtime::FULL;
use super::super::sys::mount::{Change, change};
use super::wire::{Lines, Readiness};
use crate::world::{EngineError, ErrorKind};
use rustix::fs::{CWD, FlockOperation, flock};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program, on a mount of its own that can't be written to.
///
/// Processes of containers begin as copies of ours, and `/proc/self/exe` leads them to our program: were it writable, root
/// in a container could put another one in its place (CVE-2019-5736).
#[derive(Debug)]
pub struct Program {
    _mount: Option<OwnedFd>,
    /// What to execute, as long as this value lives.
    pub path: PathBuf,
}

impl Program {
    /// The program at `path`; as it is, where the kernel has no such mounts (before Linux 5.12).
    pub fn of(path: &Path) -> Self {
        let mount = || -> std::io::Result<OwnedFd> {
            let tree = open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
            change(&tree, Change::set(MountAttrFlags::MOUNT_ATTR_RDONLY), false)?;
            Ok(tree)
        };
        match mount() {
            Ok(mount) => Self { path: format!("/proc/self/fd/{}", mount.as_raw_fd()).into(), _mount: Some(mount) },
            Err(_) => Self { path: path.to_owned(), _mount: None },
        }
    }
}

/// Starts the supervisors of all projects that have containers: those that should run are started again by their restart
/// policies. For the time after a boot. The others end at once. Returns who could not be started.
pub fn launch_all(places: &Places, program: &Path) -> Vec<(String, EngineError)> {
    let mut projects: Vec<String> = std::fs::read_dir(places.state.join("projects"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| std::fs::read_dir(e.path()).is_ok_and(|mut members| members.next().is_some()))
        .filter_map(|e| e.file_name().into_string().ok())
        .map(|name| if name == "@none" { String::new() } else { name })
        .collect();
    projects.sort();
    let start = |project: String| {
        let folder = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(places.project(&project));
        let started =
            folder.map_err(|e| super::super::record::failed("its folder can't be made", &e)).and_then(|()| launch(places, &project, program));
        started.err().map(|error| (project, error))
    };
    projects.into_iter().filter_map(start).collect()
}

/// A unit for systemd that runs `PROGRAM --engine embedded system boot` when the machine has started.
pub fn unit(program: &Path, places: &Places) -> String {
    let (program, state, run) = (program.display(), places.state.display(), places.run.display());
    format!(
        "[Unit]\n\
         Description=Containers of Consort\n\
         Wants=network-online.target\n\
         After=network-online.target local-fs.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         Environment=CONSORT_STATE_DIR={state} CONSORT_RUN_DIR={run}\n\
         ExecStart={program} --engine embedded system boot\n\
         # Supervisors stay in the group of this unit; they and their containers outlive its stop.\n\
         KillMode=process\n\
         Delegate=yes\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

/// Why there is no new process.
fn process_refused(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => format!("{FULL}: {error}"),
        _ => error.to_string(),
    }
}

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
    let program = Program::of(program);
    let mut child = Command::new(&program.path)
        .arg0("consort")
        .args([PART, "supervisor"])
        .args([&places.state, &places.run])
        .arg(project)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        // Nobody has gone away: it can't come.
        .map_err(|e| EngineError { kind: ErrorKind::Refused, ..failed(process_refused(&e)) })?;
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
