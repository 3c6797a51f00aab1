//! Processes: copies of this one, other programs in its place.
#![expect(unsafe_code, reason = "clone3, execve, seccomp, close_range, signal actions and _exit have no safe wrapper")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// Which of the two a clone is.
#[derive(Debug)]
pub enum Cloned {
    /// The copy.
    Child,
    /// The one that was copied.
    Parent {
        /// The copy.
        pid: i32,
        /// The copy.
        pidfd: OwnedFd,
    },
}

/// `struct clone_args` of clone3(2), in its second version.
#[repr(C)]
#[derive(Default)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// Copies this process, as fork(2) does, with new namespaces (`CLONE_NEW…` in `flags`), and on cgroup v2 straight into a
/// group (its folder). The copy may go on as it likes: this process has one thread, so nothing is left half done in it.
///
/// # Errors
/// As clone3(2); `EDEADLK` if this process has several threads.
pub fn clone(flags: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    // A folder has two links of its own, and one per thread.
    if rustix::fs::stat("/proc/self/task")?.st_nlink > 3 {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK));
    }
    let mut pidfd: RawFd = -1;
    let mut arguments = Arguments {
        flags: u64::from((flags | libc::CLONE_PIDFD).cast_unsigned()),
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..Arguments::default()
    };
    if let Some(folder) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = folder.as_raw_fd() as u64;
    }
    // SAFETY: neither memory nor stack are shared with the copy (no CLONE_VM), so both go on with memory of their own. There
    // is no other thread that could hold a lock in the copy. The structure and the descriptor's place outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, std::mem::size_of::<Arguments>()) };
    match result {
        0 => Ok(Cloned::Child),
        // SAFETY: the kernel has put a new descriptor there, which belongs to nobody else.
        pid if pid > 0 => Ok(Cloned::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Puts a program in the place of this one. Comes back only with the error.
pub fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let list = |texts: &[CString]| texts.iter().map(|t| t.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
    let (arguments, environment) = (list(arguments), list(environment));
    // SAFETY: both lists end with a null pointer, and what they point to lives until the call fails.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once: nothing is flushed, no destructor runs. For copies, whose memory isn't their own affair.
pub fn exit(code: i32) -> ! {
    // SAFETY: doesn't return, and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Marks every descriptor from `first` on so that it is closed by the next execve.
///
/// # Errors
/// As close_range(2).
pub fn close_on_exec(first: u32) -> io::Result<()> {
    // SAFETY: no descriptor is closed now, so nobody's descriptor becomes invalid.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Closes every descriptor but standard streams and `kept`. For a fresh copy, which never uses the others again.
///
/// # Errors
/// As close_range(2).
pub fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    let mut from = 3;
    for end in kept.into_iter().map(Some).chain([None]) {
        let last = end.map_or(u32::MAX, |fd| fd.wrapping_sub(1));
        if from <= last {
            // SAFETY: descriptors that belong to values of the process that was copied; the copy touches none of these
            // values again, and ends by execve or `exit`, which run no destructors.
            if unsafe { libc::syscall(libc::SYS_close_range, from, last, 0) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        from = end.map_or(u32::MAX, |fd| fd.saturating_add(1).max(from));
    }
    Ok(())
}

/// Signals as a new program expects them: no handler, none ignored, none blocked.
pub fn reset_signals() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours. Numbers that have no action (SIGKILL, the two of the C library)
        // are refused, which changes nothing.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let none = signals(&[]);
    // SAFETY: a valid set, and no place for the old one.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) };
}

fn signals(numbers: &[i32]) -> libc::sigset_t {
    // SAFETY: a structure of numbers; sigemptyset makes it valid, sigaddset keeps it so.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for number in numbers {
            libc::sigaddset(&raw mut set, *number);
        }
        set
    }
}

/// Blocks every signal that can be blocked, for [`wait_signal`].
pub fn block_signals() {
    // SAFETY: as in `signals`.
    let all = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        set
    };
    // SAFETY: a valid set, and no place for the old one.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut()) };
}

/// Waits for a blocked signal, and returns its number; 0 when the wait was interrupted.
pub fn wait_signal() -> i32 {
    // SAFETY: as in `signals`.
    let all = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        set
    };
    // SAFETY: a valid set, and no place for the details.
    unsafe { libc::sigwaitinfo(&raw const all, ptr::null_mut()) }.max(0)
}

/// An instruction of a filter of system calls: `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions skipped if a comparison holds.
    pub jt: u8,
    /// Instructions skipped if it doesn't.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Filters the system calls of this thread from now on: seccomp(2).
///
/// # Errors
/// As seccomp(2): `EACCES` without CAP_SYS_ADMIN and no_new_privs, `EINVAL` for a program that the kernel refuses.
pub fn filter(program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: `Instruction` has the layout of `struct sock_filter`, the length is that of the slice, and the kernel copies
    // the program and never writes to it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Leaves the cgroup namespace for one whose root is the groups that this process is in.
///
/// # Errors
/// As unshare(2).
pub fn unshare_cgroup() -> io::Result<()> {
    // SAFETY: no descriptors and no memory are unshared.
    if unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends a signal by its number, real-time ones among them. A process that has gone is no error.
pub fn send(pid: i32, number: i32) {
    // SAFETY: touches no memory.
    unsafe { libc::kill(pid, number) };
}

/// What lists of processes show of this one from now on. For copies that stay: what was asked of the process that was
/// copied is nobody else's affair.
pub fn set_title(title: &str) {
    use std::os::unix::fs::FileExt as _;
    if let Ok(name) = CString::new(title) {
        let _ = rustix::thread::set_name(&name);
    }
    // Fields 48 and 49 of proc(5): where the arguments lie. Written through a file, since no value of ours is there.
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    let fields: Vec<u64> = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(45).take(2).filter_map(|f| f.parse().ok()).collect();
    if let ([start, end], Ok(memory)) = (fields.as_slice(), std::fs::OpenOptions::new().write(true).open("/proc/self/mem"))
        && let Ok(length) = usize::try_from(end.saturating_sub(*start))
    {
        let mut text = vec![0; length];
        text.iter_mut().zip(title.bytes()).take(length.saturating_sub(1)).for_each(|(to, from)| *to = from);
        let _ = memory.write_at(&text, *start);
    }
}

/// Whether this kernel has a system call whose first argument may be a descriptor, a pointer or a number. Called so that
/// it can't do anything.
pub fn has_system_call(number: libc::c_long) -> bool {
    const NONE: libc::c_long = -1;
    // SAFETY: -1 is neither a descriptor, a valid pointer nor a known set of flags or size: every call that is asked for
    // here refuses these arguments (EBADF, EFAULT, EINVAL) before it touches anything.
    let result = unsafe { libc::syscall(number, NONE, NONE, NONE, NONE, NONE, NONE) };
    result >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

/// Leaves the keys of the session behind (keyrings(7)): a container must not find those of whoever started it.
pub fn new_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: without a name a new keyring is made; no memory is touched. A kernel without keys answers with an error.
    unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<libc::c_char>()) };
}
