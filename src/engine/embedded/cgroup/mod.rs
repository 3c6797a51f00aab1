//! Control groups: v1, hybrid and v2. Limits, who is in one, freezing, out of memory, what it uses.

mod device;
mod filter;
mod layout;
mod limit;
mod usage;

pub use device::{Access, Rule};
pub use filter::restrict_devices;
pub use layout::{Layout, layout};

use super::record::failed;
use crate::world::{EngineError, ErrorKind, ResourceSpec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use std::io::{self, ErrorKind as Io};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The groups of one container, in every hierarchy that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Path below each hierarchy, `consort/PROJECT/ID`, or below the `cgroup_parent` that was asked for.
    path: String,
}

/// What a group uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes, without those of files that could be given back at once.
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
        let parent = match parent.trim_matches('/') {
            "" => format!("consort/{}", if project.is_empty() { "@none" } else { project }),
            parent => parent.to_owned(),
        };
        Self { path: format!("{parent}/{id}") }
    }

    /// Its path below each hierarchy.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Makes them, and sets the limits. Warnings tell of limits that this machine can't set.
    ///
    /// # Errors
    /// They can't be made; a limit that the kernel refuses.
    pub fn make(&self, resources: &ResourceSpec, privileged: bool) -> Result<Vec<String>, EngineError> {
        if Path::new(&self.path).components().any(|c| !matches!(c, std::path::Component::Normal(_))) {
            return Err(EngineError::new(ErrorKind::Refused, format!("`{}` can't be the path of a control group", self.path)));
        }
        let layout = layout();
        if layout.v1.is_empty() && layout.unified.is_none() {
            return Err(EngineError::new(ErrorKind::Unsupported, "no control groups are mounted on this machine (/sys/fs/cgroup)")
                .because("containers need them for limits and to be found again; `mount -t cgroup2 none /sys/fs/cgroup` mounts them"));
        }
        let rules = device::rules(resources, privileged)?;
        let mut warnings = limit::check(resources)?;
        self.folders(layout)?;
        if layout.unified_has_controllers() {
            limit::v2(&layout.unified_folder(&self.path), resources, &mut warnings)?;
            device::v2(&layout.unified_folder(&self.path), &rules)?;
        } else {
            limit::v1(layout, &self.path, resources, &mut warnings)?;
            device::v1(layout, &self.path, &rules, &mut warnings)?;
        }
        Ok(warnings)
    }

    fn folders(&self, layout: &Layout) -> Result<(), EngineError> {
        for (root, unified) in layout.roots() {
            let folder = root.join(&self.path);
            match std::fs::create_dir(&folder) {
                Ok(()) => {}
                Err(error) if error.kind() == Io::NotFound => {
                    layout.make_parents(root, unified, &self.path).map_err(|e| refused(&folder, &e))?;
                    std::fs::create_dir(&folder).map_err(|e| refused(&folder, &e))?;
                }
                // Left over: limits of another time are in it. One with processes can't be removed, and is not ours to use.
                Err(error) if error.kind() == Io::AlreadyExists => {
                    remove_below(&folder);
                    std::fs::create_dir(&folder).map_err(|e| refused(&folder, &e))?;
                }
                Err(error) => return Err(refused(&folder, &error)),
            }
        }
        Ok(())
    }

    /// Puts a process in.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add(&self, pid: i32) -> Result<(), EngineError> {
        for (root, _) in layout().roots() {
            let folder = root.join(&self.path);
            std::fs::write(folder.join("cgroup.procs"), pid.to_string()).map_err(|e| refused(&folder, &e))?;
        }
        Ok(())
    }

    /// Its folder in the unified hierarchy, for clone3; none on machines that have v1 alone.
    pub(super) fn unified(&self) -> Option<OwnedFd> {
        let folder = layout().unified.as_ref()?.join(&self.path);
        open(&folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    /// As [`Cgroup::add`], for a process that was cloned into the folder of [`Cgroup::unified`].
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn add_to_v1(&self, pid: i32) -> Result<(), EngineError> {
        let pid = pid.to_string();
        for hierarchy in &layout().v1 {
            let folder = hierarchy.folder.join(&self.path);
            std::fs::write(folder.join("cgroup.procs"), &pid).map_err(|e| refused(&folder, &e))?;
        }
        Ok(())
    }

    /// Freezes or thaws every process in it, and returns when that is done.
    ///
    /// # Errors
    /// There is no freezer.
    pub fn freeze(&self, frozen: bool) -> Result<(), EngineError> {
        let layout = layout();
        if let Some(folder) = layout.unified.as_ref().map(|root| root.join(&self.path)).filter(|f| f.join("cgroup.freeze").exists()) {
            std::fs::write(folder.join("cgroup.freeze"), if frozen { "1" } else { "0" }).map_err(|e| refused(&folder, &e))?;
            return until(&folder.join("cgroup.events"), if frozen { "frozen 1" } else { "frozen 0" }).map_err(|e| refused(&folder, &e));
        }
        let Some(folder) = layout.of_controller("freezer").map(|root| root.join(&self.path)) else {
            return Err(EngineError::new(ErrorKind::Unsupported, "this machine can't pause containers: the kernel has no freezer"));
        };
        let state = folder.join("freezer.state");
        let wanted = if frozen { "FROZEN" } else { "THAWED" };
        // Only where there is no unified hierarchy at all. The old freezer tells nobody when it is done, and is not done
        // by itself: a read of its state is what looks after the processes (freezer-subsystem.rst), and a write what wakes
        // up those that slept meanwhile. So it is asked again, after waits that grow from 50 µs, for a second in all: a
        // process is frozen when it next goes into the kernel or back, which takes less unless a device holds it.
        let mut pause = 50_000;
        while pause < 500_000_000 {
            std::fs::write(&state, wanted).map_err(|e| refused(&folder, &e))?;
            if std::fs::read_to_string(&state).map_err(|e| refused(&folder, &e))?.trim() == wanted {
                return Ok(());
            }
            let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: pause }));
            pause += pause / 2;
        }
        let _ = std::fs::write(&state, "THAWED");
        Err(EngineError::new(ErrorKind::TimedOut, "a process can't be frozen: it waits for a device or a file system"))
    }

    /// Kills every process in it.
    pub fn kill(&self) {
        let layout = layout();
        if layout.unified.as_ref().is_some_and(|root| std::fs::write(root.join(&self.path).join("cgroup.kill"), "1").is_ok()) {
            return;
        }
        let Some(folder) = layout.v1.first().map(|h| h.folder.join(&self.path)) else { return };
        // A process may fork while the list is read: until it is empty.
        for _ in 0..64 {
            let Ok(list) = std::fs::read_to_string(folder.join("cgroup.procs")) else { return };
            let pids: Vec<_> = list.lines().filter_map(|l| rustix::process::Pid::from_raw(l.parse().ok()?)).collect();
            if pids.is_empty() {
                return;
            }
            for pid in pids {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// Kills every process in it and waits until they have gone; no longer than `patience`, for the kernel may hold one.
    pub fn end(&self, patience: std::time::Duration) {
        let layout = layout();
        let roots = layout.unified.iter().chain(layout.v1.first().map(|h| &h.folder));
        let lists = roots.filter_map(|root| std::fs::read_to_string(root.join(&self.path).join("cgroup.procs")).ok());
        let pids: Vec<_> =
            lists.flat_map(|l| l.lines().filter_map(|l| rustix::process::Pid::from_raw(l.parse().ok()?)).collect::<Vec<_>>()).collect();
        let processes: Vec<_> =
            pids.into_iter().filter_map(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()).collect();
        self.kill();
        let timeout = Timespec { tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX), tv_nsec: patience.subsec_nanos().into() };
        for process in &processes {
            let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout));
        }
    }

    /// What it uses.
    pub fn usage(&self) -> Usage {
        let layout = layout();
        if layout.unified_has_controllers() { usage::v2(&layout.unified_folder(&self.path)) } else { usage::v1(layout, &self.path) }
    }

    /// How many processes the kernel has killed in it because memory ran out: [`Usage::oom_kills`] without the rest.
    pub fn oom_kills(&self) -> u64 {
        let layout = layout();
        if layout.unified_has_controllers() {
            usage::killed_v2(&layout.unified_folder(&self.path))
        } else {
            layout.of_controller("memory").map_or(0, |root| usage::killed_v1(&root.join(&self.path)))
        }
    }

    /// Becomes readable when memory has run out in it; then [`Cgroup::oom_kills`] tells.
    pub fn oom_watch(&self) -> Option<OwnedFd> {
        let layout = layout();
        if layout.unified_has_controllers() {
            use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
            let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
            add_watch(&watch, layout.unified_folder(&self.path).join("memory.events"), WatchFlags::MODIFY).ok()?;
            return Some(watch);
        }
        let folder = layout.of_controller("memory")?.join(&self.path);
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK).ok()?;
        let control = std::fs::File::open(folder.join("memory.oom_control")).ok()?;
        std::fs::write(folder.join("cgroup.event_control"), format!("{} {}", event.as_raw_fd(), control.as_raw_fd())).ok()?;
        Some(event)
    }

    /// Removes them. What can't be removed because a process is still going is left for the next time.
    pub fn remove(&self) {
        for (root, _) in layout().roots() {
            remove_below(&root.join(&self.path));
            // Its project's, and ours, if this was the last one. A group that others use can't be removed.
            if self.path.starts_with("consort/") {
                for parent in Path::new(&self.path).ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()) {
                    if std::fs::remove_dir(root.join(parent)).is_err() {
                        break;
                    }
                }
            }
        }
    }
}

/// Removes a group and those that a container has made in it. Files in it can't be removed, and go with it.
fn remove_below(folder: &Path) {
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() != Io::NotFound => {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
                remove_below(&entry.path());
            }
            let _ = std::fs::remove_dir(folder);
        }
        _ => {}
    }
}

/// Waits until a line of `cgroup.events` says so.
fn until(file: &Path, line: &str) -> io::Result<()> {
    use std::io::{Read as _, Seek as _};
    let mut events = std::fs::File::open(file)?;
    for _ in 0..100 {
        let mut text = String::new();
        events.rewind()?;
        events.read_to_string(&mut text)?;
        if text.lines().any(|l| l == line) {
            return Ok(());
        }
        let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }));
    }
    Err(io::Error::from(Io::TimedOut))
}

fn refused(folder: &Path, error: &io::Error) -> EngineError {
    let told = failed(&format!("the control group {} can't be used", folder.display()), error);
    match error.kind() {
        Io::ReadOnlyFilesystem => {
            told.because("it is mounted read-only; `mount -o remount,rw` on its hierarchy, or a privileged container around us, helps")
        }
        _ => told,
    }
}

/// Devices that a container may use: what [`Cgroup::make`] allows it.
///
/// # Errors
/// Rules that are none.
pub fn device_rules(resources: &ResourceSpec, privileged: bool) -> Result<Vec<Rule>, EngineError> {
    device::rules(resources, privileged)
}

/// Where hierarchies are mounted, for the mounts of a container.
pub(super) fn mounts(path: &str) -> Vec<(String, PathBuf)> {
    layout().v1.iter().map(|h| (h.folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(), h.folder.join(path))).collect()
}
