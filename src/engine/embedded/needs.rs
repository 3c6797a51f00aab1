//! What the engine can't do without: asked once, before anything is touched.

use super::sys::process::has_system_call;
use crate::world::{EngineError, ErrorKind};
use rustix::thread::CapabilitySet;

/// System calls, and since which Linux there are. The last ones that came decide.
const CALLS: [(libc::c_long, &str, &str); 6] = [
    (libc::SYS_mount_setattr, "mount_setattr", "5.12"),
    (libc::SYS_close_range, "close_range", "5.9"),
    (libc::SYS_openat2, "openat2", "5.6"),
    (libc::SYS_clone3, "clone3", "5.3"),
    (libc::SYS_pidfd_open, "pidfd_open", "5.3"),
    (libc::SYS_fsopen, "fsopen", "5.2"),
];

/// Whether this machine and this process have it all.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for an older kernel, [`ErrorKind::Denied`] for root without the privileges of root.
pub fn check() -> Result<(), EngineError> {
    if let Some((_, name, since)) = CALLS.iter().find(|(number, ..)| !has_system_call(*number)) {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let what = format!("the embedded engine can't run containers here: this kernel ({release}) has no {name}(2), which Linux {since} brought");
        return Err(EngineError::new(ErrorKind::Unsupported, what)
            .because("it needs Linux 5.12 or later; an engine like Docker (`--engine docker`) may do with less"));
    }
    // What can't be asked will be told when it is missing.
    let own = rustix::thread::capabilities(None).map_or(CapabilitySet::all(), |sets| sets.effective);
    if !own.contains(CapabilitySet::SYS_ADMIN) {
        return Err(EngineError::new(ErrorKind::Denied, "the embedded engine needs CAP_SYS_ADMIN, which this root doesn't have")
            .because("inside a container that one has to be privileged"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_of_the_tests_has_all_calls() {
        assert!(CALLS.iter().all(|(number, ..)| has_system_call(*number)));
        // No kernel has as many.
        assert!(!has_system_call(100_000));
    }
}
