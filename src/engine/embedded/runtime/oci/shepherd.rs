//! The life of a shepherd: a copy of the supervisor that mounts what a container needs where only it and the runtime see
//! it, has the runtime start the container, and ends.

use super::super::error::{Told as _, refused};
use super::super::mounts::{self, Staged};
use super::super::path::{Make, Root, clean};
use super::super::rootfs::{self, attach, copy_of};
use super::super::{Streams, child, hostname, user};
use super::call::call;
use super::config::{Facts, config, has_network, ties};
use super::{Files, find, make_folder};
use crate::engine::embedded::cgroup;
use crate::engine::embedded::record::OciRuntime;
use crate::engine::embedded::sys::process::{close_all_but, close_on_exec, exit};
use crate::world::{EngineError, ErrorKind};
use rustix::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::net::{AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces};
use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

/// What a shepherd needs to know.
pub struct Shepherd<'a> {
    pub runtime: &'a OciRuntime,
    pub files: Files,
    pub container: child::Container<'a>,
    pub profile: Option<serde_json::Value>,
    pub limited: bool,
    /// The host's network namespace.
    pub home: File,
}

/// Comes back with the error; a shepherd that has done its work ends here.
pub fn begin(shepherd: &Shepherd<'_>, streams: Streams, line: &mut child::Line) -> EngineError {
    match drive(shepherd, streams, line) {
        Ok(()) => exit(0),
        Err(error) => error,
    }
}

fn drive(shepherd: &Shepherd<'_>, streams: Streams, line: &child::Line) -> Result<(), EngineError> {
    let (spec, around, files) = (shepherd.container.spec, shepherd.container.around, &shepherd.files);
    child::fresh(&streams, line, &[around.network_of, around.ipc_of, around.pid_of, Some(shepherd.home.as_fd())])?;
    line.wait()?;
    if let Some(other) = around.network_of {
        move_into_thread_name_spaces(other, ThreadNameSpaceType::NETWORK).told(|| "the network of the other container can't be joined".into())?;
    }
    let shm = match around.ipc_of {
        Some(other) => Some(child::shm_of(other)?),
        None if spec.security.ipc == "host" => {
            Some(copy_of(CWD, Path::new("/dev/shm"), false).told(|| "the host's /dev/shm can't be mounted".into())?)
        }
        None => None,
    };
    let ready = mounts::open(spec, around)?;
    rootfs::part_from_host()?;
    leave_hybrid();

    let bundle = &files.bundle;
    let _ = std::fs::remove_dir_all(bundle);
    // Left by a start that was cut short. The runtime itself would remove the control groups too, which are new.
    let _ = std::fs::remove_dir_all(&files.state);
    let folders = [bundle.join("rootfs"), bundle.join("mounts"), files.state.clone()];
    folders.iter().try_for_each(|f| make_folder(f)).told(|| format!("{} can't be made", bundle.display()))?;
    let [rootfs, places, _] = &folders;
    let tree = rootfs::overlay(&shepherd.container.base, &around.image.layers, around.upper)?;
    open(rootfs).and_then(|place| attach(&tree, place)).told(|| "the container's root can't be mounted".into())?;
    let root = Root::at(tree);
    let ties_of = |target: &str| around.mounts.iter().find(|m| clean(&m.point.target) == target).map_or("", |m| ties(&m.kind)).to_owned();
    let staged = mounts::stage(&root, ready, places, ties_of)?;
    let shm = shm.map(|tree| put_aside(&tree, &places.join("shm"))).transpose()?;
    for file in around.files {
        write(&root, &staged, file)?;
    }
    make_working_folder(&root, &staged, &shepherd.container.command.folder)?;
    let who = user::find(&root, &shepherd.container.command.user, &spec.security.group_add)?;
    let mut command = shepherd.container.command.clone();
    if command.variable("HOME").is_none_or(str::is_empty) {
        command.set(&format!("HOME={}", who.home));
    }

    // From here on in the host's network: what a runtime makes of its own is none of the container's.
    line.wait()?;
    let network = if has_network(spec) { Some(keep_network(&bundle.join("network"), &shepherd.home)?) } else { None };
    let init = if spec.init == Some(true) { find::init() } else { None };
    let text = config(&Facts {
        spec,
        hostname: &hostname(spec, around.id),
        command: &command,
        user: &who,
        capabilities: shepherd.container.authority.capabilities,
        options: &shepherd.container.authority.options,
        profile: shepherd.profile.as_ref(),
        nodes: &shepherd.container.nodes,
        sysctls: &shepherd.container.sysctls,
        cgroup: around.cgroup,
        own: shepherd.container.own,
        own_cgroup: shepherd.container.own_cgroup,
        network: network.as_deref(),
        pid_of: around.pid_of.and_then(pid_of),
        ipc_of: around.ipc_of.and_then(pid_of),
        mounts: &staged,
        shm: shm.as_deref(),
        init: init.as_deref(),
        limited: shepherd.limited,
        root: rootfs,
    })?;
    std::fs::write(bundle.join("config.json"), text).told(|| format!("{} can't be written", bundle.join("config.json").display()))?;
    rustix::process::chdir(bundle).told(|| format!("{} can't be entered", bundle.display()))?;
    run(shepherd, streams, who.uid, line)
}

/// Has the runtime create the container and start it; tells the supervisor of its process and its terminal.
fn run(shepherd: &Shepherd<'_>, streams: Streams, uid: u32, line: &child::Line) -> Result<(), EngineError> {
    let (runtime, files, id) = (shepherd.runtime, &shepherd.files, shepherd.container.around.id);
    let bundle = files.bundle.to_string_lossy();
    let pid_file = files.bundle.join("pid");
    let pid_text = pid_file.to_string_lossy();
    let mut words = vec!["create", "--bundle", &bundle, "--pid-file", &pid_text];
    let console = matches!(streams, Streams::Terminal { .. }).then(listen).transpose()?;
    if console.is_some() {
        // Below the working directory: addresses of sockets are short.
        words.extend(["--console-socket", CONSOLE]);
    }
    words.push(id);
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // A terminal is the runtime's to make; it has nothing of its own to say on our streams.
    let streams = match streams {
        Streams::Terminal { .. } => Streams::Apart { stdin: None, stdout: None, stderr: None },
        apart @ Streams::Apart { .. } => apart,
    };
    child::connect(streams, None, uid)?;
    close_on_exec(3).told(|| "descriptors can't be closed".into())?;
    call(runtime, files, &words)?;
    let begun = || -> Result<(), EngineError> {
        let number = std::fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<i32>().ok());
        let pid = number.and_then(Pid::from_raw).ok_or_else(|| refused(format!("{} didn't say which process it made", runtime.name())))?;
        let process = pidfd_open(pid, PidfdFlags::empty()).told(|| format!("the process that {} made is gone", runtime.name()))?;
        let terminal = console.as_ref().map(terminal).transpose()?;
        call(runtime, files, &["start", id])?;
        if let Some(terminal) = &terminal {
            line.send(b"t", terminal)?;
        }
        line.send(format!("p{}", pid.as_raw_nonzero()).as_bytes(), &process)?;
        // As long as this process lives the network is in its name.
        line.wait_for_end();
        Ok(())
    };
    let outcome = begun();
    if outcome.is_err() {
        let _ = call(runtime, files, &["delete", "--force", id]);
    }
    outcome
}

/// Has the runtime forget a container. In a copy of the supervisor, with which it ends.
pub fn forget(runtime: &OciRuntime, files: &Files, id: &str) {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if close_all_but(&[]).is_err() {
        return;
    }
    let _ = rustix::process::setsid();
    let nowhere = Streams::Apart { stdin: None, stdout: None, stderr: None };
    if child::connect(nowhere, None, 0).is_ok() {
        // Its container has ended; nobody is there to hear that it can't be forgotten, and the next start tries again.
        let _ = call(runtime, files, &["delete", "--force", id]);
    }
}

const CONSOLE: &str = "console.sock";

/// Where the runtime sends the terminal: in the working directory.
fn listen() -> Result<OwnedFd, EngineError> {
    let listen = || -> rustix::io::Result<OwnedFd> {
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(CONSOLE)?)?;
        rustix::net::listen(&socket, 1)?;
        Ok(socket)
    };
    listen().told(|| "the terminal's socket can't be made".into())
}

/// The terminal that a runtime has sent before it has ended.
fn terminal(listener: &OwnedFd) -> Result<OwnedFd, EngineError> {
    let words = || "the runtime has sent no terminal".to_owned();
    let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC).told(words)?;
    let mut name = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut name)], &mut along, RecvFlags::CMSG_CLOEXEC).told(words)?;
    for message in along.drain() {
        if let RecvAncillaryMessage::ScmRights(mut rights) = message
            && let Some(master) = rights.next()
        {
            return Ok(master);
        }
    }
    Err(EngineError::new(ErrorKind::Protocol, words()))
}

/// Runtimes know control groups of version 1 or of version 2. Where both are there, some refuse to work as soon as the
/// newer hierarchy has any controller: it is out of their sight here, and the container stays in the group of it that this
/// process is in.
fn leave_hybrid() {
    let layout = cgroup::layout();
    if !layout.unified_has_controllers()
        && let Some(unified) = &layout.unified
    {
        let _ = unmount(unified, UnmountFlags::DETACH);
    }
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Mounts a folder's tree at a path of our own.
fn put_aside(tree: &OwnedFd, place: &Path) -> Result<PathBuf, EngineError> {
    std::fs::create_dir(place).told(|| format!("{} can't be made", place.display()))?;
    open(place).and_then(|at| attach(tree, at)).told(|| format!("nothing can be mounted at {}", place.display()))?;
    Ok(place.to_owned())
}

/// Gives the network namespace that this process is in a path, and leaves it.
fn keep_network(place: &Path, home: &File) -> Result<PathBuf, EngineError> {
    File::create(place).told(|| format!("{} can't be made", place.display()))?;
    mount_bind("/proc/self/ns/net", place).told(|| "the container's network can't be given a name".into())?;
    move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network)).told(|| "the host's network can't be returned to".into())?;
    Ok(place.to_owned())
}

/// The number of the process that a pidfd is of: its `fdinfo` (proc(5)).
fn pid_of(process: BorrowedFd<'_>) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?;
    text.lines().find_map(|l| l.strip_prefix("Pid:")?.trim().parse().ok()).filter(|pid| *pid > 0)
}

/// The mount that a path of the container lies on, and the path within it; none if it lies on the root.
fn mount_of<'s>(staged: &'s [Staged], path: &str) -> Option<(&'s Staged, String)> {
    let within = |m: &&Staged| path == m.target || path.strip_prefix(&m.target).is_some_and(|rest| rest.starts_with('/'));
    let found = staged.iter().filter(within).max_by_key(|m| m.target.len())?;
    Some((found, path.get(found.target.len()..).unwrap_or_default().to_owned()))
}

fn write(root: &Root, staged: &[Staged], file: &crate::world::FileSpec) -> Result<(), EngineError> {
    let path = clean(&file.path);
    let Some((mount, rest)) = mount_of(staged, &path) else { return child::write(root, root, &path, file) };
    let at = |path: &Path| open(path).map(Root::at).told(|| format!("the file {} can't be written", file.path));
    match (mount.source.parent(), mount.source.file_name().and_then(|n| n.to_str())) {
        // The mount itself is a file.
        (Some(folder), Some(name)) if rest.is_empty() => child::write(root, &at(folder)?, &format!("/{name}"), file),
        _ => child::write(root, &at(&mount.source)?, &rest, file),
    }
}

fn make_working_folder(root: &Root, staged: &[Staged], folder: &str) -> Result<(), EngineError> {
    let path = clean(folder);
    // What is in the kernel's own file systems can't be made, and is looked for by the runtime.
    if ["/proc", "/sys", "/dev"].iter().any(|p| path == *p || path.starts_with(&format!("{p}/"))) {
        return Ok(());
    }
    let made = match mount_of(staged, &path) {
        None => root.find_or_make(&path, Make::Folder),
        Some((mount, rest)) => open(&mount.source).and_then(|at| Root::at(at).find_or_make(&rest, Make::Folder)),
    };
    made.map(drop).told(|| child::no_folder(folder))
}
