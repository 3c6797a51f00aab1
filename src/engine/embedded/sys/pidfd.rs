//! What a descriptor of a process tells, and takes.
#![expect(unsafe_code, reason = "signals by number and PIDFD_GET_INFO have no wrapper in rustix")]

use std::os::fd::{AsFd, AsRawFd};

/// `struct pidfd_info` of linux/pidfd.h, as Linux 6.15 has it. Later ones know its size.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ruid: u32,
    rgid: u32,
    euid: u32,
    egid: u32,
    suid: u32,
    sgid: u32,
    fsuid: u32,
    fsgid: u32,
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`: the exit code is asked for, and told.
const EXIT: u64 = 1 << 3;
/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: u32 = 3 << 30 | (std::mem::size_of::<Info>() as u32) << 16 | 0xff << 8 | 11;

/// How a process has ended that was not our child, in the form of wait(2). None if it goes on, if its parent hasn't let it
/// go yet, or if the kernel doesn't tell (Linux 6.15 is the first that does).
pub fn exit_status(process: impl AsFd) -> Option<i32> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the kernel writes no more than the size that is part of the request's number, which is that of `info`; the
    // descriptor is borrowed for the call.
    let result = unsafe { libc::ioctl(process.as_fd().as_raw_fd(), GET_INFO as libc::Ioctl, &raw mut info) };
    (result == 0 && info.mask & EXIT != 0).then_some(info.exit_code)
}

/// Sends a signal by number, for those that have no name. One that has ended gets none.
pub fn signal(process: impl AsFd, number: i32) {
    // SAFETY: no memory is passed; the descriptor is borrowed for the call.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_fd().as_raw_fd(), number, std::ptr::null::<libc::siginfo_t>(), 0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn the_end_of_a_process_can_be_asked_for_after_it_was_let_go() {
        let mut child = Command::new("sh").args(["-c", "read line; kill -$line $$; exit 7"]).stdin(Stdio::piped()).spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        assert_eq!(exit_status(&pidfd), None);
        child.stdin.take().unwrap().write_all(b"0\n").unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(7));
        // Older kernels don't tell.
        if let Some(told) = exit_status(&pidfd) {
            assert_eq!(told, 7 << 8);
        }
        signal(&pidfd, 15);
    }
}
