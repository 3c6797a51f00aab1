//! The life of a process between the moment it is copied and the moment it becomes the program. Alone in its copy of
//! memory, it may do what it likes; it ends by becoming the program, or by telling why it can't.

use super::command::Command;
use super::device::{self, Node};
use super::error::{Told as _, refused};
use super::path::{Make, Root, clean};
use super::privilege::{self, Options};
use super::rootfs::{self, Furnishing, copy_of};
use super::{Streams, Surroundings, exit_code, init, limit, mounts, seccomp, sysctl, user};
use crate::engine::embedded::cgroup;
use crate::engine::embedded::sys::process::{close_all_but, close_on_exec, execute, filter, new_keyring, reset_signals, unshare_cgroup};
use crate::world::{ContainerSpec, EngineError, ErrorKind, FileSpec};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::ffi::CString;
use std::io::{IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

/// What a process may.
#[derive(Debug)]
pub struct Authority {
    /// Capabilities that it is left with.
    pub capabilities: privilege::Set,
    /// `security_opt`.
    pub options: Options,
    /// Filter of system calls.
    pub filter: Option<seccomp::Program>,
}

impl Authority {
    /// Of a container.
    ///
    /// # Errors
    /// What it asks for doesn't exist.
    pub fn of(spec: &ContainerSpec) -> Result<Self, EngineError> {
        let Self { capabilities, options, .. } = Self::unfiltered(spec)?;
        let unfiltered = spec.security.privileged && options.seccomp.is_empty();
        let filter = if unfiltered { None } else { seccomp::program(&options.seccomp, capabilities)? };
        Ok(Self { capabilities, options, filter })
    }

    /// Of a container, without its filter.
    ///
    /// # Errors
    /// What it asks for doesn't exist.
    pub fn unfiltered(spec: &ContainerSpec) -> Result<Self, EngineError> {
        Ok(Self { capabilities: privilege::of(&spec.security)?, options: Options::of(&spec.security)?, filter: None })
    }
}

/// What whoever makes a container needs to know of it: its first process, or the one that has another runtime do it.
#[derive(Debug)]
pub struct Container<'a> {
    pub spec: &'a ContainerSpec,
    pub around: &'a Surroundings<'a>,
    pub command: Command,
    /// See [`rootfs::base_layer`].
    pub base: PathBuf,
    pub nodes: Vec<Node>,
    pub sysctls: Vec<(String, String)>,
    pub authority: Authority,
    /// Namespaces that it has of its own (`CLONE_NEW…`).
    pub own: libc::c_int,
    /// It has a cgroup namespace of its own.
    pub own_cgroup: bool,
}

/// What one more process needs to know.
#[derive(Debug)]
pub struct Guest<'a> {
    pub spec: &'a ContainerSpec,
    pub command: Command,
    pub authority: Authority,
    pub pidfd: BorrowedFd<'a>,
}

/// The line to the parent.
#[derive(Debug)]
pub struct Line {
    status: OwnedFd,
    go: OwnedFd,
}

impl Line {
    pub fn new(status: OwnedFd, go: OwnedFd) -> Self {
        Self { status, go }
    }

    /// Waits for the next word. Without one the parent has gone, or given up.
    pub fn wait(&self) -> Result<(), EngineError> {
        loop {
            match rustix::io::read(&self.go, &mut [0]) {
                Ok(1) => return Ok(()),
                Err(Errno::INTR) => {}
                _ => return Err(EngineError::new(ErrorKind::Unreachable, "the start was given up")),
            }
        }
    }

    /// Tells the parent why.
    pub fn fail(&self, error: &EngineError) {
        let text = serde_json::to_vec(error).unwrap_or_default();
        let _ = send(&self.status, &text, SendFlags::NOSIGNAL);
    }

    /// Hands a descriptor over: see [`super::Starting::outcome`].
    pub fn send(&self, word: &[u8], descriptor: &OwnedFd) -> Result<(), EngineError> {
        let descriptors = [descriptor.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        rights.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(&self.status, &[IoSlice::new(word)], &mut rights, SendFlags::NOSIGNAL).told(|| "what was made can't be handed over".into())?;
        Ok(())
    }

    /// Waits until the parent has closed its end, or has gone.
    pub fn wait_for_end(&self) {
        while !matches!(rustix::net::recv(&self.status, &mut [0; 1], rustix::net::RecvFlags::empty()), Ok((0, _)) | Err(Errno::CONNRESET)) {}
    }
}

/// The first process of a container. Comes back with the error.
pub fn begin(container: &Container<'_>, streams: Streams, line: &mut Line) -> EngineError {
    match try_begin(container, streams, line) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

enum Never {}

fn try_begin(container: &Container<'_>, streams: Streams, line: &Line) -> Result<Never, EngineError> {
    let (spec, around) = (container.spec, container.around);
    let security = &spec.security;
    fresh(&streams, line, &[around.network_of, around.ipc_of])?;
    line.wait()?;

    if let Some(other) = around.network_of {
        move_into_thread_name_spaces(other, ThreadNameSpaceType::NETWORK).told(|| "the network of the other container can't be joined".into())?;
    }
    let mut shm = None;
    if let Some(other) = around.ipc_of {
        move_into_thread_name_spaces(other, ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
            .told(|| "the ipc namespace of the other container can't be joined".into())?;
        shm = Some(shm_of(other)?);
    } else if security.ipc == "host" {
        shm = Some(copy_of(CWD, Path::new("/dev/shm"), false).told(|| "the host's /dev/shm can't be mounted".into())?);
    }
    if container.own_cgroup {
        unshare_cgroup().told(|| "no cgroup namespace can be had".into())?;
    }
    adjust_oom_score(spec.resources.oom_score_adj)?;

    // What comes from the host is opened while it can be seen.
    let ready = mounts::open(spec, around)?;
    let cgroups = cgroup_mounts(container)?;
    rootfs::part_from_host()?;
    rootfs::enter(rootfs::overlay(&container.base, &around.image.layers, around.upper)?, around.upper)?;

    let root = Root::own().told(|| "the root can't be opened".into())?;
    let taken: Vec<String> = ready.iter().map(|m| m.target.clone()).collect();
    rootfs::furnish(
        &root,
        Furnishing {
            privileged: security.privileged,
            shm_size: spec.resources.shm_size,
            shm,
            no_shm: security.ipc == "none",
            cgroups,
            taken: &taken,
        },
    )?;
    if !taken.iter().any(|t| t == "/dev") {
        device::fill(&root, &container.nodes)?;
    }
    sysctl::set(&root, &container.sysctls, security.sysctls.len())?;
    let terminal = match &streams {
        Streams::Terminal { size } => Some(Terminal::open(&root, *size)?),
        Streams::Apart { .. } => None,
    };
    if let Some(terminal) = &terminal {
        terminal.mount_console(&root)?;
    }
    mounts::mount(&root, ready)?;
    around.files.iter().try_for_each(|file| write(&root, &root, &clean(&file.path), file))?;
    let folder = root.find_or_make(&clean(&container.command.folder), Make::Folder).told(|| no_folder(&container.command.folder))?;
    if !security.privileged && !container.authority.options.unconfined_paths {
        rootfs::mask(&root)?;
    }
    if security.read_only {
        rootfs::fix_root(&root)?;
    }
    if container.own & libc::CLONE_NEWUTS != 0 {
        let name = super::hostname(spec, around.id);
        rustix::system::sethostname(name.as_bytes()).told(|| format!("the host name can't be `{name}`"))?;
        if !spec.domainname.is_empty() {
            rustix::system::setdomainname(spec.domainname.as_bytes()).told(|| format!("the domain name can't be `{}`", spec.domainname))?;
        }
    }
    line.wait()?;
    become_program(spec, &container.command, &container.authority, &root, &folder, streams, terminal, line, spec.init == Some(true))
}

/// One more process of a container. Comes back with the error.
pub fn join(guest: &Guest<'_>, streams: Streams, line: &mut Line) -> EngineError {
    match try_join(guest, streams, line) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_join(guest: &Guest<'_>, streams: Streams, line: &Line) -> Result<Never, EngineError> {
    fresh(&streams, line, &[Some(guest.pidfd)])?;
    line.wait()?;
    adjust_oom_score(guest.spec.resources.oom_score_adj)?;
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::CONTROL_GROUP;
    // Root and working directory become the root of the container's mounts, whatever it has made of its folders.
    move_into_thread_name_spaces(guest.pidfd, all).told(|| "the container's namespaces can't be joined: it has ended".into())?;
    let root = Root::own().told(|| "the root can't be opened".into())?;
    let terminal = match &streams {
        Streams::Terminal { size } => Some(Terminal::open(&root, *size)?),
        Streams::Apart { .. } => None,
    };
    let folder = root.open(&guest.command.folder, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).told(|| no_folder(&guest.command.folder))?;
    line.wait()?;
    become_program(guest.spec, &guest.command, &guest.authority, &root, &folder, streams, terminal, line, false)
}

pub fn no_folder(path: &str) -> String {
    format!("the working directory {path} can't be used")
}

/// A session of its own, no signal handlers, and no descriptor but those that are needed.
pub fn fresh(streams: &Streams, line: &Line, more: &[Option<BorrowedFd<'_>>]) -> Result<(), EngineError> {
    reset_signals();
    let mut kept = vec![line.status.as_raw_fd(), line.go.as_raw_fd()];
    if let Streams::Apart { stdin, stdout, stderr } = streams {
        kept.extend([stdin, stdout, stderr].into_iter().flatten().map(AsRawFd::as_raw_fd));
    }
    kept.extend(more.iter().flatten().map(AsRawFd::as_raw_fd));
    close_all_but(&kept).told(|| "descriptors can't be closed".into())?;
    // A leader of a session can't begin another, which does no harm.
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::empty());
    new_keyring();
    Ok(())
}

/// `/dev/shm` of another container: it is looked up in its mounts, and carried over into ours.
pub fn shm_of(other: BorrowedFd<'_>) -> Result<OwnedFd, EngineError> {
    let words = || "/dev/shm of the other container can't be mounted".to_owned();
    let own = std::fs::File::open("/proc/self/ns/mnt").told(words)?;
    move_into_thread_name_spaces(other, ThreadNameSpaceType::MOUNT).told(words)?;
    let tree = Root::own().and_then(|root| root.find_without_links("/dev/shm")).and_then(|shm| copy_of(shm, Path::new(""), false));
    rustix::thread::move_into_link_name_space(own.as_fd(), Some(rustix::thread::LinkNameSpaceType::Mount)).told(words)?;
    tree.told(words)
}

/// How readily the process is killed when memory runs out, if it is to be another than this one's and may be: less needs
/// CAP_SYS_RESOURCE.
pub fn oom_score(score: i64) -> Option<i64> {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|s| s.trim().parse::<i64>().ok()).unwrap_or(0);
    let may = score >= own || privilege::own() & rustix::thread::CapabilitySet::SYS_RESOURCE.bits() != 0;
    (score != 0 && may).then_some(score)
}

fn adjust_oom_score(score: i64) -> Result<(), EngineError> {
    if score == 0 {
        return Ok(());
    }
    match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        // Less than it has now needs CAP_SYS_RESOURCE.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        done => done.told(|| format!("oom_score_adj can't be {score}")),
    }
}

fn cgroup_mounts(container: &Container<'_>) -> Result<Vec<(String, OwnedFd)>, EngineError> {
    let words = || "/sys/fs/cgroup can't be mounted".to_owned();
    if cgroup::layout().unified_has_controllers() {
        let tree = rootfs::filesystem("cgroup2", "cgroup", [], rootfs::HARMLESS).told(words)?;
        return Ok(vec![(String::new(), tree)]);
    }
    let folders = cgroup::mounts(container.around.cgroup.path());
    folders.into_iter().map(|(name, folder)| Ok((name, copy_of(CWD, &folder, false).told(words)?))).collect()
}

/// A terminal inside of a container.
pub struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
}

/// `DEVPTS_SUPER_MAGIC` of statfs(2).
const DEVPTS: i64 = 0x1cd1;

impl Terminal {
    fn open(root: &Root, size: Option<(u16, u16)>) -> Result<Self, EngineError> {
        let open = || -> Result<Self, Errno> {
            let folder = root.find_without_links("/dev/pts")?;
            // Not something that a container has put in its place.
            if rustix::fs::fstatfs(&folder)?.f_type as i64 != DEVPTS {
                return Err(Errno::NOTTY);
            }
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let master = rustix::fs::openat(&folder, "ptmx", flags, Mode::empty())?;
            rustix::pty::unlockpt(&master)?;
            let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC;
            let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
            if let Some((ws_col, ws_row)) = size {
                rustix::termios::tcsetwinsize(&master, rustix::termios::Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })?;
            }
            Ok(Self { master, slave })
        };
        open().told(|| "no terminal can be had".into())
    }

    /// `/dev/console` is this terminal.
    fn mount_console(&self, root: &Root) -> Result<(), EngineError> {
        let mount = || -> Result<(), Errno> {
            let name = rustix::pty::ptsname(&self.master, Vec::new())?;
            let node = root.find(name.to_str().map_err(|_| Errno::ILSEQ)?)?;
            let place = root.find_or_make("/dev/console", Make::File)?;
            rootfs::attach(copy_of(node, Path::new(""), false)?, place)
        };
        mount().told(|| "/dev/console can't be made".into())
    }
}

/// Writes a file at `path`, a clean one, below `root`. `users` is the root of the container, which knows its users.
pub fn write(users: &Root, root: &Root, path: &str, file: &FileSpec) -> Result<(), EngineError> {
    let words = || format!("the file {} can't be written", file.path);
    let (uid, gid) = user::owner(users, &file.uid, &file.gid)?;
    let (parent, _) = path.rsplit_once('/').ok_or_else(|| refused(format!("`{}` is no path of a file", file.path)))?;
    root.find_or_make(parent, Make::Folder).told(words)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK;
    let target = root.open(path, flags, Mode::from_raw_mode(0o600)).told(words)?;
    fchown(&target, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).told(words)?;
    fchmod(&target, Mode::from_raw_mode(file.mode & 0o7777)).told(words)?;
    std::fs::File::from(target).write_all(&file.content).told(words)
}

/// Streams, user, limits, capabilities; and the program.
#[expect(clippy::too_many_arguments, reason = "the last step of two ways, which share nothing else")]
fn become_program(
    spec: &ContainerSpec,
    command: &Command,
    authority: &Authority,
    root: &Root,
    folder: &OwnedFd,
    streams: Streams,
    terminal: Option<Terminal>,
    line: &Line,
    init: bool,
) -> Result<Never, EngineError> {
    let who = user::find(root, &command.user, &spec.security.group_add)?;
    let mut command = command.clone();
    if command.variable("HOME").is_none_or(str::is_empty) {
        command.set(&format!("HOME={}", who.home));
    }
    let (words, environment) = (Command::texts(&command.words)?, Command::texts(&command.environment)?);
    let candidates: Vec<CString> = Command::texts(&command.candidates())?;

    connect(streams, terminal.as_ref(), who.uid)?;
    limit::set(&spec.resources.ulimits)?;
    rustix::process::fchdir(folder).told(|| no_folder(&command.folder))?;
    privilege::bound(authority.capabilities)?;
    if authority.options.no_new_privileges {
        rustix::thread::set_no_new_privs(true).told(|| "no_new_privileges can't be had".into())?;
    }
    user::become_user(&who)?;
    privilege::raise()?;
    if let Some(terminal) = &terminal {
        line.send(b"t", &terminal.master)?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    close_on_exec(3).told(|| "descriptors can't be closed".into())?;
    let restrict = || {
        // While it still has CAP_SYS_ADMIN: without it a filter would need no_new_privs. What follows, every profile has
        // to allow.
        if let Some(program) = &authority.filter {
            filter(program).told(|| "the filter of system calls can't be installed".into())?;
        }
        privilege::settle(authority.capabilities)
    };
    if init {
        init::split(restrict)?;
    }
    restrict()?;

    // As execvp(3): what can't be executed somewhere doesn't hide what can elsewhere, and is told if there is nothing.
    let mut worst = Errno::NOENT;
    for program in &candidates {
        let error = Errno::from_io_error(&execute(program, &words, &environment)).unwrap_or(Errno::IO);
        match error {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => worst = error,
            error => return Err(command.error(error)),
        }
    }
    let error = command.error(worst);
    debug_assert!(exit_code(&error) >= 126);
    Err(error)
}

/// Puts the streams where every program looks for them.
pub fn connect(streams: Streams, terminal: Option<&Terminal>, uid: u32) -> Result<(), EngineError> {
    use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
    let words = || "standard streams can't be connected".to_owned();
    if let Some(terminal) = terminal {
        let slave = &terminal.slave;
        rustix::process::ioctl_tiocsctty(slave).told(|| "the terminal can't be taken".into())?;
        fchown(slave, Some(Uid::from_raw(uid)), None).told(|| "the terminal can't be handed over".into())?;
        dup2_stdin(slave).and_then(|()| dup2_stdout(slave)).and_then(|()| dup2_stderr(slave)).told(words)?;
    } else if let Streams::Apart { stdin, stdout, stderr } = streams {
        let null = device::null()?;
        let given = |stream: &Option<OwnedFd>| -> Result<(), EngineError> {
            // Through `/dev/stdout` and its like a pipe is opened anew, which only its owner may.
            if let Some(stream) = stream
                && fstat(stream).is_ok_and(|info| FileType::from_raw_mode(info.st_mode) == FileType::Fifo && info.st_uid != uid)
            {
                fchown(stream, Some(Uid::from_raw(uid)), None).told(|| "a stream can't be handed over".into())?;
            }
            Ok(())
        };
        given(&stdin)?;
        given(&stdout)?;
        given(&stderr)?;
        // One of them may be where another one goes to: out of the way first.
        let aside = |stream: &Option<OwnedFd>| rustix::io::fcntl_dupfd_cloexec(stream.as_ref().unwrap_or(&null), 3);
        let (input, output, errors) = (aside(&stdin).told(words)?, aside(&stdout).told(words)?, aside(&stderr).told(words)?);
        dup2_stdin(&input).and_then(|()| dup2_stdout(&output)).and_then(|()| dup2_stderr(&errors)).told(words)?;
        // Descriptors 0 to 2 are no longer what these values stand for.
        std::mem::forget((stdin, stdout, stderr));
    }
    Ok(())
}
