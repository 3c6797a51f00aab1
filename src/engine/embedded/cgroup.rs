//! Control groups: v1, hybrid and v2. Limits, who is in one, freezing, out of memory, what it uses.

use crate::world::{EngineError, ResourceSpec};
use std::os::fd::OwnedFd;

/// The groups of one container, in every hierarchy that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Path below each hierarchy, `consort/PROJECT/ID`, or below the `cgroup_parent` that was asked for.
    path: String,
}

/// What a group uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes.
    pub memory: u64,
    /// Bytes; none without a limit.
    pub memory_limit: Option<u64>,
    /// Nanoseconds of processor time.
    pub cpu: u64,
    /// Processes.
    pub pids: u64,
    /// Bytes read and written on block devices.
    pub io: (u64, u64),
    /// Processes killed because memory ran out.
    pub oom_kills: u64,
}

impl Cgroup {
    /// The groups of a container. Nothing is touched.
    pub fn of(project: &str, id: &str, parent: &str) -> Self {
        let parent = if parent.is_empty() {
            format!("consort/{}", if project.is_empty() { "@none" } else { project })
        } else {
            parent.trim_start_matches('/').to_owned()
        };
        Self { path: format!("{parent}/{id}") }
    }

    /// Makes them, and sets the limits. Warnings tell of limits that this machine can't set.
    ///
    /// # Errors
    /// They can't be made; a limit that the kernel refuses.
    pub fn make(&self, resources: &ResourceSpec, privileged: bool) -> Result<Vec<String>, EngineError> {
        let _ = (&self.path, resources, privileged);
        Ok(Vec::new())
    }

    /// Puts a process in.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add(&self, pid: i32) -> Result<(), EngineError> {
        let _ = pid;
        Ok(())
    }

    /// Freezes or thaws every process in it, and returns when that is done.
    ///
    /// # Errors
    /// There is no freezer.
    pub fn freeze(&self, frozen: bool) -> Result<(), EngineError> {
        let _ = frozen;
        Ok(())
    }

    /// Kills every process in it.
    pub fn kill(&self) {}

    /// What it uses.
    pub fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Becomes readable when memory has run out in it; then [`Usage::oom_kills`] tells.
    pub fn oom_watch(&self) -> Option<OwnedFd> {
        None
    }

    /// Removes them. What can't be removed because a process is still going is left for the next time.
    pub fn remove(&self) {}
}
