//! From a description to a process in namespaces, and more processes beside it.

mod child;
mod command;
mod copy;
mod device;
mod error;
mod init;
mod limit;
mod mounts;
pub mod oci;
mod path;
mod privilege;
mod rootfs;
mod seccomp;
mod sysctl;
mod user;

use super::cgroup::{Cgroup, layout};
use super::image::Image;
use super::record::ResolvedMount;
use super::sys::process::{Cloned, clone, exit};
use crate::world::{ContainerSpec, EngineError, ErrorKind, ExecSpec, FileSpec, MountKind, NetworkMode};
use command::Command;
use error::{Told as _, refused, unsupported};
use rustix::net::{AddressFamily, SocketFlags, SocketType, recvmsg, socketpair};
use rustix::process::{DumpableBehavior, Signal, WaitId, WaitIdOptions, pidfd_send_signal, set_dumpable_behavior, waitid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

/// Everything that a container's process depends on besides its spec.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// 64 hex digits.
    pub id: &'a str,
    /// Its image.
    pub image: &'a Image,
    /// Images that are mounted, by reference.
    pub images: &'a BTreeMap<String, Image>,
    /// Folder of its own layer; `upper` and `work` are made in it. The folder above it is that of all own layers.
    pub upper: &'a Path,
    /// Mounts with their sources, in the order in which they are mounted. The source of a volume is its `_data`.
    pub mounts: &'a [ResolvedMount],
    /// Folder with `hosts`, `hostname` and `resolv.conf`, which are mounted over those of the image.
    pub etc: &'a Path,
    /// Files that are written into it, after everything is mounted and before the process starts.
    pub files: &'a [FileSpec],
    /// Its groups, made already.
    pub cgroup: &'a Cgroup,
    /// Process 1 (pidfd) of the container whose network namespace it shares.
    pub network_of: Option<BorrowedFd<'a>>,
    /// Process 1 (pidfd) of the container whose pid namespace it shares.
    pub pid_of: Option<BorrowedFd<'a>>,
    /// Process 1 (pidfd) of the container whose ipc namespace it shares.
    pub ipc_of: Option<BorrowedFd<'a>>,
}

/// Standard streams of a process.
#[derive(Debug)]
pub enum Streams {
    /// Each on its own; none is `/dev/null`.
    Apart {
        /// Standard input.
        stdin: Option<OwnedFd>,
        /// Standard output.
        stdout: Option<OwnedFd>,
        /// Standard error.
        stderr: Option<OwnedFd>,
    },
    /// A terminal of the container's own, made inside of it; its master comes back from [`Starting::outcome`].
    Terminal {
        /// Columns and rows; none leaves it at 0.
        size: Option<(u16, u16)>,
    },
}

/// A process that exists and waits for [`Prepared::go`].
#[derive(Debug)]
pub struct Prepared {
    /// On the host.
    pub pid: i32,
    /// It.
    pub pidfd: OwnedFd,
    /// Readable when the process has begun (end of file) or failed (a serialized [`EngineError`]).
    pub status: OwnedFd,
    /// A byte lets it go on; without one it ends when this is closed.
    go: OwnedFd,
}

impl Prepared {
    /// Lets it go on: its network is furnished. Returns where the outcome is told, to be read when it is readable.
    pub fn go(self) -> Starting {
        // If it has ended meanwhile the outcome tells.
        let _ = rustix::io::write(&self.go, b"g");
        Starting { pid: self.pid, pidfd: self.pidfd, status: self.status }
    }

    /// Ends it: its network can't be furnished. Returns when it has gone; nobody need wait for it any more. What it had to
    /// say itself, if it had failed before: that is why its network couldn't be furnished, then.
    pub fn abandon(self) -> Option<EngineError> {
        end(&self.pidfd);
        let Self { pid, pidfd, status, go } = self;
        drop(go);
        Starting { pid, pidfd, status }.outcome().err()
    }
}

/// A process on its way to its program.
#[derive(Debug)]
pub struct Starting {
    /// On the host.
    pub pid: i32,
    /// It.
    pub pidfd: OwnedFd,
    /// Readable when the outcome is known.
    pub status: OwnedFd,
}

/// A program has begun.
#[derive(Debug, Default)]
pub struct Begun {
    /// The master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// It, where another runtime made it: then the process that was started is its shepherd ([`oci`]), which ends when
    /// [`Starting::status`] is closed.
    pub process: Option<(i32, OwnedFd)>,
}

impl Starting {
    /// The outcome, once `status` is readable, when the program runs.
    /// A process that failed ends by itself, with [`exit_code`] of the error, and is waited for as any other.
    ///
    /// # Errors
    /// Why it doesn't run: a program that isn't there (exit code 127 in Docker's words), not executable (126), …
    pub fn outcome(&self) -> Result<Begun, EngineError> {
        let (mut terminal, mut process) = (None, None);
        loop {
            let mut text = vec![0; 64 << 10];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut rights = rustix::net::RecvAncillaryBuffer::new(&mut space);
            let mut came = None;
            let flags = rustix::net::RecvFlags::CMSG_CLOEXEC;
            let got = match recvmsg(&self.status, &mut [IoSliceMut::new(&mut text)], &mut rights, flags) {
                Err(rustix::io::Errno::INTR) => continue,
                got => got.told(|| "the outcome of a start can't be read".into())?,
            };
            for message in rights.drain() {
                if let rustix::net::RecvAncillaryMessage::ScmRights(mut rights) = message {
                    came = rights.next();
                }
            }
            match text.get(..got.bytes) {
                None | Some([]) => return Ok(Begun { terminal, process }),
                Some(b"t") => terminal = came,
                Some([b'p', pid @ ..]) => {
                    let pid = std::str::from_utf8(pid).ok().and_then(|p| p.parse().ok());
                    process = pid.zip(came);
                    return Ok(Begun { terminal, process });
                }
                Some(text) => {
                    return Err(serde_json::from_slice(text).unwrap_or_else(|_| {
                        EngineError::new(ErrorKind::Protocol, "a process failed to start and can't say why").because(String::from_utf8_lossy(text))
                    }));
                }
            }
        }
    }
}

/// Exit code of a process that didn't reach its program, as Docker has it.
pub fn exit_code(error: &EngineError) -> i32 {
    match error.kind {
        ErrorKind::NotFound => 127,
        ErrorKind::Refused | ErrorKind::Denied => 126,
        _ => 128,
    }
}

/// The host name that a container has.
pub fn hostname(spec: &ContainerSpec, id: &str) -> String {
    if !spec.hostname.is_empty() {
        return spec.hostname.clone();
    }
    if spec.network_mode == NetworkMode::Host || spec.security.uts == "host" {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    id.chars().take(12).collect()
}

/// Spreads folders that are made in this one over the disk (`chattr +T`, ext4 alone): where many files come and go in one
/// corner of it making one is ten times as slow, since ext4 passes over every inode that was freed in the last minute. To
/// be called when the folder was made.
pub fn spread(folder: &Path) {
    if let Ok(folder) = std::fs::File::open(folder)
        && let Ok(flags) = rustix::fs::ioctl_getflags(&folder)
    {
        let _ = rustix::fs::ioctl_setflags(&folder, flags | rustix::fs::IFlags::TOPDIR);
    }
}

/// What can't be honoured on this machine although the container starts: a sentence each.
///
/// # Errors
/// What [`prepare`] would refuse, as far as it is known before.
pub fn warnings(spec: &ContainerSpec) -> Result<Vec<String>, EngineError> {
    let mut warnings = limit::check(&spec.resources.ulimits)?;
    privilege::Options::of(&spec.security)?;
    let wanted = privilege::of(&spec.security)?;
    let missing = wanted & !privilege::own();
    if !spec.security.privileged && missing != 0 && !spec.security.cap_add.iter().any(|c| c.eq_ignore_ascii_case("ALL")) {
        let names = privilege::NAMES.iter().enumerate().filter(|(at, _)| missing & (1 << at) != 0).map(|(_, name)| *name).collect::<Vec<_>>();
        warnings.push(format!("capabilities that this machine doesn't give even root can't be given: {}", names.join(", ")));
    }
    sysctl::of(spec)?;
    warnings.extend(beyond_us(spec)?);
    Ok(warnings)
}

/// Keys that other engines have a meaning for.
fn beyond_us(spec: &ContainerSpec) -> Result<Vec<String>, EngineError> {
    let mut warnings = Vec::new();
    if !matches!(spec.isolation.as_str(), "" | "default") {
        return Err(unsupported(format!("`isolation: {}` is for Windows", spec.isolation)));
    }
    if let Some(name) = spec.storage_options.keys().next() {
        return Err(unsupported(format!("the storage option `{name}` is not supported by this engine")));
    }
    if let Some(request) = spec.resources.device_requests.first() {
        let what = if request.driver.is_empty() { request.capabilities.join(", ") } else { request.driver.clone() };
        return Err(unsupported(format!("devices by capability ({what}) are not supported by this engine: name them in `devices`")));
    }
    let relabelled = |m: &crate::world::MountSpec| matches!(&m.kind, MountKind::Bind { selinux, .. } if !selinux.is_empty());
    if spec.mounts.iter().any(relabelled) && Path::new("/sys/fs/selinux/enforce").exists() {
        warnings.push("`z` and `Z` do nothing: this engine has no SELinux support yet".into());
    }
    let score = spec.resources.oom_score_adj;
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|s| s.trim().parse::<i64>().ok()).unwrap_or(0);
    if score < own && privilege::own() & rustix::thread::CapabilitySet::SYS_RESOURCE.bits() == 0 {
        warnings.push(format!("oom_score_adj stays {own}: lowering it to {score} needs CAP_SYS_RESOURCE"));
    }
    Ok(warnings)
}

/// The namespaces that a container has of its own.
fn namespaces(spec: &ContainerSpec, around: &Surroundings<'_>) -> Result<libc::c_int, EngineError> {
    let own = |mode: &str, name: &str, shared: bool| match mode {
        "" | "private" | "shareable" | "none" => Ok(!shared),
        "host" => Ok(false),
        _ if shared => Ok(false),
        mode => Err(unsupported(format!("the {name} namespace can't be `{mode}`"))),
    };
    let security = &spec.security;
    let mut flags = libc::CLONE_NEWNS;
    if own(&security.pid, "pid", around.pid_of.is_some())? {
        flags |= libc::CLONE_NEWPID;
    }
    if own(&security.ipc, "ipc", around.ipc_of.is_some())? {
        flags |= libc::CLONE_NEWIPC;
    }
    if own(&security.uts, "uts", false)? {
        flags |= libc::CLONE_NEWUTS;
    }
    if spec.network_mode != NetworkMode::Host && around.network_of.is_none() {
        flags |= libc::CLONE_NEWNET;
    }
    if !matches!(security.userns.as_str(), "" | "host") {
        return Err(unsupported(format!("user namespaces (`{}`) are not supported by this engine yet", security.userns)));
    }
    if !matches!(security.cgroup.as_str(), "" | "host" | "private") {
        return Err(unsupported(format!("the cgroup namespace can't be `{}`", security.cgroup)));
    }
    Ok(flags)
}

/// Whether a container has a cgroup namespace of its own.
fn own_cgroup(spec: &ContainerSpec) -> bool {
    match spec.security.cgroup.as_str() {
        "private" => true,
        "host" => false,
        _ => layout().unified_has_controllers(),
    }
}

/// Nobody may look at this process or its copies: they carry what belongs to all containers, and in a copy that is
/// already seen inside `/proc/PID/exe` leads to this very program.
fn shield() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

fn end(pidfd: &OwnedFd) {
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
    while matches!(waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED), Err(rustix::io::Errno::INTR)) {}
}

/// What a copy is given and its parent keeps.
struct Copy {
    pid: i32,
    pidfd: OwnedFd,
    status: OwnedFd,
    go: OwnedFd,
}

/// Which groups a copy is put into.
#[derive(Clone, Copy)]
enum Groups<'a> {
    /// All of a container's.
    All(&'a Cgroup),
    /// None that has limits: another runtime takes its process from there, and wants them empty. It leaves a hierarchy
    /// without controllers alone, so the container comes into that one with its shepherd.
    Beside(&'a Cgroup),
}

/// Makes a copy of this process, which runs `inside` and ends with its error. It has been put into its groups when the
/// first byte comes through the descriptor that `inside` gets.
fn copy(
    flags: libc::c_int,
    groups: Groups<'_>,
    pid_of: Option<BorrowedFd<'_>>,
    inside: impl FnOnce(&mut child::Line) -> EngineError,
) -> Result<Copy, EngineError> {
    shield();
    let (status, status_inside) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).told(|| "a process can't be prepared".into())?;
    let (go_inside, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).told(|| "a process can't be prepared".into())?;
    let unified = match groups {
        Groups::All(cgroup) => cgroup.unified(),
        Groups::Beside(cgroup) => cgroup.unified().filter(|_| !layout().unified_has_controllers()),
    };
    // Children of this process are born where it says; it stays where it is itself.
    let home = match pid_of {
        Some(target) => {
            let home = std::fs::File::open("/proc/self/ns/pid").told(|| "the pid namespace can't be joined".into())?;
            move_into_thread_name_spaces(target, ThreadNameSpaceType::PROCESS_ID)
                .told(|| "the pid namespace can't be joined: its container has ended".into())?;
            Some(home)
        }
        None => None,
    };
    let cloned = clone(flags, unified.as_ref().map(|u| u.as_fd()));
    if let Ok(Cloned::Child) = cloned {
        let mut line = child::Line::new(status_inside, go_inside);
        let error = inside(&mut line);
        line.fail(&error);
        exit(exit_code(&error));
    }
    if let Some(home) = home {
        rustix::thread::move_into_link_name_space(home.as_fd(), Some(rustix::thread::LinkNameSpaceType::ProcessID))
            .told(|| "the pid namespace can't be left".into())?;
    }
    match cloned.map_err(|e| clone_failed(&e))? {
        Cloned::Child => exit(128),
        Cloned::Parent { pid, pidfd } => {
            let added = match groups {
                Groups::All(cgroup) if unified.is_some() => cgroup.add_to_v1(pid),
                Groups::All(cgroup) => cgroup.add(pid),
                Groups::Beside(_) => Ok(()),
            };
            if let Err(error) = added {
                end(&pidfd);
                return Err(error);
            }
            let _ = rustix::io::write(&go, b"c");
            Ok(Copy { pid, pidfd, status, go })
        }
    }
}

/// Why no process can be had.
pub const FULL: &str =
    "the limit of processes is reached (`pids.max` of a control group, /proc/sys/kernel/pid_max or threads-max): end some, or raise it";

fn clone_failed(error: &std::io::Error) -> EngineError {
    let what = match error.raw_os_error() {
        Some(libc::EAGAIN) => return super::record::failed(&format!("no process can be started: {FULL}"), error),
        Some(libc::ENOSPC) => "no namespaces can be had: the limit in /proc/sys/user is reached",
        Some(libc::EPERM) => "no namespaces can be had: that needs root",
        Some(libc::EINVAL) => "no namespaces can be had: the kernel doesn't have them all",
        Some(libc::EDEADLK) => "this process has several threads and can't be copied",
        _ => "no process can be started",
    };
    super::record::failed(what, error)
}

/// All that whoever makes a container with these namespaces of its own needs to know of it.
fn container<'a>(
    spec: &'a ContainerSpec,
    around: &'a Surroundings<'a>,
    own: libc::c_int,
    authority: child::Authority,
) -> Result<child::Container<'a>, EngineError> {
    let container = child::Container {
        spec,
        around,
        command: Command::of(spec, &around.image.config, &hostname(spec, around.id))?,
        base: rootfs::base_layer(around.upper.parent().unwrap_or(around.upper))?,
        nodes: device::wanted(&spec.resources.devices, spec.security.privileged)?,
        sysctls: sysctl::of(spec)?,
        authority,
        own,
        own_cgroup: own_cgroup(spec),
    };
    limit::check(&spec.resources.ulimits)?;
    beyond_us(spec)?;
    Ok(container)
}

/// Makes the first process of a container, in its namespaces and groups, stopped before it touches its network. The
/// caller must be single-threaded.
///
/// # Errors
/// Namespaces that can't be had, a spec that can't be honoured.
pub fn prepare(spec: &ContainerSpec, around: &Surroundings<'_>, streams: Streams) -> Result<Prepared, EngineError> {
    let flags = namespaces(spec, around)?;
    let container = container(spec, around, flags, child::Authority::of(spec)?)?;
    let copy = copy(flags, Groups::All(around.cgroup), around.pid_of, |line| child::begin(&container, streams, line))?;
    Ok(Prepared { pid: copy.pid, pidfd: copy.pidfd, status: copy.status, go: copy.go })
}

/// Starts one more process in a running container: user, environment and privileges as the container has them, unless
/// `exec` says otherwise. The caller must be single-threaded.
///
/// # Errors
/// It has ended; namespaces that can't be joined.
pub fn exec(
    spec: &ContainerSpec,
    image: &Image,
    id: &str,
    pidfd: BorrowedFd<'_>,
    cgroup: &Cgroup,
    exec: &ExecSpec,
    streams: Streams,
) -> Result<Starting, EngineError> {
    if exec.command.first().is_none_or(String::is_empty) {
        return Err(refused("no command"));
    }
    let mut command = Command::of(&ContainerSpec { tty: exec.tty.is_some(), ..spec.clone() }, &image.config, &hostname(spec, id))
        .unwrap_or_else(|_| Command { words: Vec::new(), environment: Vec::new(), folder: "/".into(), user: String::new() });
    command.words.clone_from(&exec.command);
    for variable in &exec.environment {
        command.set(variable);
    }
    if !exec.user.is_empty() {
        command.user.clone_from(&exec.user);
    }
    if !exec.working_dir.is_empty() {
        command.folder.clone_from(&exec.working_dir);
    }
    let mut authority = child::Authority::of(spec)?;
    if exec.privileged {
        authority.capabilities = privilege::ALL;
    }
    let guest = child::Guest { spec, command, authority, pidfd };
    let copy = copy(0, Groups::All(cgroup), Some(pidfd), |line| child::join(&guest, streams, line))?;
    let _ = rustix::io::write(&copy.go, b"g");
    Ok(Starting { pid: copy.pid, pidfd: copy.pidfd, status: copy.status })
}
