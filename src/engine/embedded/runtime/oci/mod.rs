//! Containers by another runtime: runc, crun, youki, or what else takes bundles of the OCI runtime specification
//! (`runtime:`, `--runtime`).
//!
//! What is ours stays ours: image and own layer, volumes, networks, control groups, logs, health, restarts, stops. The
//! other runtime makes the namespaces, mounts what is named to it, takes privileges away and executes the program.
//!
//! ```text
//! supervisor ── clone ──▶ shepherd: mount and network namespaces of its own
//!     │                     mounts the root and every volume below RUN/containers/ID/bundle, which only it sees
//!     │                     writes bundle/config.json
//!     │ attaches the        waits until its network is furnished, and goes back to the host's
//!     │ shepherd's network  PATH create, PATH start; tells pid and terminal; ends
//!     ▼
//!   process 1, which its dead runtime leaves to the next subreaper: the supervisor
//! ```
//!
//! With the shepherd go its mounts, so nothing of a start is left on the machine whatever happens; the container has
//! copies of them in its own namespace. Commands (`exec`, probes, hooks) enter the container's namespaces by our own
//! code and not by `PATH exec`: namespaces are namespaces, and it is several times as fast. So a runtime has to make
//! containers of this kernel's namespaces; one with a kernel of its own (Kata, gVisor) can start containers, but nothing
//! can be executed in them. Freezing and signals are by control group and pidfd.

mod call;
mod config;
mod find;
mod shepherd;

pub use find::find;

use super::error::{Told as _, refused};
use super::{Copy, Groups, Prepared, Streams, Surroundings, child, copy, namespaces, seccomp};
use crate::engine::embedded::record::OciRuntime;
use crate::engine::embedded::sys::process::{Cloned, clone, exit};
use crate::world::{ContainerSpec, EngineError};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Files of one container that its runtime needs: below RUN/containers/ID.
#[derive(Clone, Debug)]
struct Files {
    /// `config.json`, `rootfs`, `mounts`.
    bundle: PathBuf,
    /// `--root`.
    state: PathBuf,
}

impl Files {
    fn of(run: &Path) -> Self {
        Self { bundle: run.join("bundle"), state: run.join("runtime") }
    }
}

/// As [`super::prepare`], by another runtime; `run` is the folder RUN/containers/ID. The process that comes back is the
/// shepherd; that of the container comes with its outcome. `limited` says that the machine has all limits that were asked
/// for, so that the runtime may be told of them.
///
/// # Errors
/// As [`super::prepare`]; what can't be had with another runtime.
pub fn prepare(
    runtime: &OciRuntime,
    run: &Path,
    limited: bool,
    spec: &ContainerSpec,
    around: &Surroundings<'_>,
    streams: Streams,
) -> Result<Prepared, EngineError> {
    if spec.init == Some(true) && find::init().is_none() {
        return Err(refused(format!("`init: true` needs a program for it beside {}", runtime.name()))
            .because("this engine's own init is part of its own runtime: install tini (or docker-init, catatonit), or leave `init` out"));
    }
    let own = namespaces(spec, around)?;
    let authority = child::Authority::unfiltered(spec)?;
    let profile = if spec.security.privileged && authority.options.seccomp.is_empty() {
        None
    } else {
        seccomp::oci(&authority.options.seccomp, authority.capabilities)?
    };
    let shepherd = shepherd::Shepherd {
        runtime,
        files: Files::of(run),
        container: super::container(spec, around, own, authority)?,
        profile,
        limited,
        home: File::open("/proc/self/ns/net").told(|| "the host's network can't be looked at".into())?,
    };
    let _ = rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1));
    let flags = libc::CLONE_NEWNS | own & libc::CLONE_NEWNET;
    let Copy { pid, pidfd, status, go } = copy(flags, Groups::Beside(around.cgroup), None, |line| shepherd::begin(&shepherd, streams, line))?;
    Ok(Prepared { pid, pidfd, status, go })
}

/// Lets a runtime forget a container whose process has ended, in a process of its own, which is returned: until it has
/// ended the container can't be started again, for the runtime removes its control groups. None if there is nothing to
/// forget.
pub fn delete(runtime: &OciRuntime, run: &Path, id: &str) -> Option<OwnedFd> {
    let files = Files::of(run);
    if !files.state.join(id).exists() {
        return None;
    }
    match clone(0, None) {
        Ok(Cloned::Parent { pidfd, .. }) => Some(pidfd),
        Ok(Cloned::Child) => {
            shepherd::forget(runtime, &files, id);
            exit(0);
        }
        // The next start does without.
        Err(_) => None,
    }
}

/// The folder of bundles: closed to others, for a container's volumes are mounted in it.
fn make_folder(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
