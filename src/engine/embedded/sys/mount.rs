//! Attributes of mounts.
#![expect(unsafe_code, reason = "mount_setattr(2) has no wrapper in rustix")]

use rustix::mount::MountAttrFlags;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct Attributes {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// What becomes of a mount: `struct mount_attr`, mount_setattr(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// Attributes set.
    pub set: u64,
    /// Attributes cleared.
    pub clear: u64,
    /// Propagation, one of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`; 0 leaves it.
    pub propagation: u64,
}

impl Change {
    /// Sets attributes.
    pub fn set(flags: MountAttrFlags) -> Self {
        Self { set: flags.bits().into(), ..Self::default() }
    }
}

/// Changes the mount that `at` is in, and with `recursive` all below it.
///
/// # Errors
/// As mount_setattr(2); `ENOSYS` before Linux 5.12.
pub fn change(at: impl AsFd, what: Change, recursive: bool) -> io::Result<()> {
    let attr = Attributes { attr_set: what.set, attr_clr: what.clear, propagation: what.propagation, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a constant string with its end, the structure lives until the call returns and its true size is
    // passed along, the descriptor is borrowed for the call.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, at.as_fd().as_raw_fd(), c"".as_ptr(), flags, &raw const attr, std::mem::size_of::<Attributes>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
