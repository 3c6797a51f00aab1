//! The root file system of a container: its image below a layer of its own, and the file systems that every container
//! has. Everything here runs in the container's process, in its mount namespace.

use super::error::{Told as _, refused};
use super::path::{Make, Root};
use crate::engine::embedded::sys::mount::{Change, change};
use crate::world::EngineError;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change, move_mount, open_tree, unmount,
};
use std::path::{Path, PathBuf};

const NONE: MountAttrFlags = MountAttrFlags::empty();
/// No set-user-id, no devices, no programs.
pub const HARMLESS: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV).union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// A file system that is mounted nowhere yet. Options are `key` or `key=value`.
///
/// # Errors
/// As fsopen(2) and its kin.
pub fn filesystem<'a>(kind: &str, source: &str, options: impl IntoIterator<Item = &'a str>, attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", source)?;
    for option in options {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value)?,
            None => fsconfig_set_flag(&context, option)?,
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A copy of what is mounted at a path, mounted nowhere yet.
///
/// # Errors
/// As open_tree(2).
pub fn copy_of(folder: impl AsFd, path: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(folder, path, if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags })
}

/// Mounts it.
///
/// # Errors
/// As move_mount(2).
pub fn attach(tree: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    move_mount(tree, "", target, "", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
}

/// Folders and files that everything is mounted on, in a layer below every image, so that none has to be made in the
/// container's own: that costs more than all mounts together. Made once; `uppers` is the folder of all own layers.
///
/// # Errors
/// It can't be written.
pub fn base_layer(uppers: &Path) -> Result<PathBuf, EngineError> {
    use std::os::unix::fs::PermissionsExt as _;
    let layer = uppers.join("@base");
    let last = layer.join("etc");
    if std::fs::metadata(&last).is_ok_and(|m| m.permissions().mode() & 0o777 == 0o755) {
        return Ok(layer);
    }
    // Whoever the container's user is, he may look into them, where the image has none: whatever the umask is here.
    let open = |path: &Path, mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    let make = || -> std::io::Result<()> {
        for folder in ["dev", "proc", "sys", "etc"] {
            std::fs::create_dir_all(layer.join(folder))?;
        }
        for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
            std::fs::File::create(layer.join(file))?;
            open(&layer.join(file), 0o644)?;
        }
        [layer.clone(), layer.join("dev"), layer.join("proc"), layer.join("sys"), last].iter().try_for_each(|folder| open(folder, 0o755))
    };
    make().told(|| format!("{} can't be made", layer.display()))?;
    Ok(layer)
}

/// The image with the container's own layer over it, mounted nowhere yet. `layers` are the lowest first, `base` is below
/// them all ([`base_layer`]).
///
/// An image that is a folder (`rootfs:/`) may contain the folder of the container's own layer, and overlayfs takes none
/// that is within another. Then that layer lies in memory, for as long as the container runs.
pub fn overlay(base: &Path, layers: &[PathBuf], upper: &Path) -> Result<OwnedFd, EngineError> {
    let contained = layers.iter().any(|l| upper.starts_with(l) && same_device(l, upper));
    let base = if contained {
        let memory = filesystem("tmpfs", "tmpfs", ["mode=0755"], NONE).told(|| "a layer in memory can't be mounted".into())?;
        let place = rustix::fs::open(upper, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, Mode::empty());
        place.and_then(|place| attach(&memory, place)).told(|| "a layer in memory can't be mounted".into())?;
        base_layer(upper)?
    } else {
        base.to_owned()
    };
    let layers: Vec<PathBuf> = std::iter::once(base).chain(layers.iter().cloned()).collect();
    let (top, work) = (upper.join("upper"), upper.join("work"));
    for folder in [&top, &work] {
        match rustix::fs::mkdir(folder, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).told(|| format!("{} can't be made", folder.display())),
        }
    }
    stacked(&layers, Some((&top, &work)), NONE)
}

fn same_device(a: &Path, b: &Path) -> bool {
    matches!((rustix::fs::stat(a), rustix::fs::stat(b)), (Ok(a), Ok(b)) if a.st_dev == b.st_dev)
}

/// Layers over each other, the lowest first, read-only unless there is one to write in (`upper` and `work`).
///
/// # Errors
/// The kernel has no overlayfs; it refuses the layers.
pub fn stacked(layers: &[PathBuf], own: Option<(&Path, &Path)>, attributes: MountAttrFlags) -> Result<OwnedFd, EngineError> {
    let modern = || -> Result<OwnedFd, Errno> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "source", "overlay")?;
        for layer in layers.iter().rev() {
            fsconfig_set_string(&context, "lowerdir+", layer)?;
        }
        if let Some((upper, work)) = own {
            fsconfig_set_string(&context, "upperdir", upper)?;
            fsconfig_set_string(&context, "workdir", work)?;
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    match modern() {
        Err(Errno::NODEV) => {
            Err(super::error::unsupported("the kernel has no overlayfs (CONFIG_OVERLAY_FS): containers need it for their file systems"))
        }
        // Before Linux 6.7 there is no `lowerdir+`, and before 6.5 values of more than 255 bytes were refused.
        Err(Errno::INVAL) => classic(layers, own, attributes).map_err(|e| overlay_refused(own, e)),
        other => other.map_err(|e| overlay_refused(own, e)),
    }
}

fn overlay_refused(own: Option<(&Path, &Path)>, error: Errno) -> EngineError {
    let upper = own.map_or("", |(upper, _)| upper.to_str().unwrap_or_default());
    let what = match error {
        Errno::LOOP => format!("the image contains the folder where the container's changes would be written ({upper})"),
        Errno::INVAL => format!("the file system of {upper} can't hold the layer of a container (overlayfs, NFS and some others can't)"),
        _ => "the image can't be mounted".into(),
    };
    crate::engine::embedded::record::failed(&what, &error.into())
}

/// With mount(2), whose options are one page: names are relative to the folder of all layers.
fn classic(layers: &[PathBuf], own: Option<(&Path, &Path)>, attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let common = layers.first().and_then(|l| l.parent()).unwrap_or(Path::new("/"));
    rustix::process::chdir(common)?;
    let escaped = |path: &Path| path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,");
    let lower: Vec<String> = layers.iter().rev().map(|l| escaped(l.strip_prefix(common).unwrap_or(l))).collect();
    let mut options = format!("lowerdir={}", lower.join(":"));
    if let Some((upper, work)) = own {
        options += &format!(",upperdir={},workdir={}", escaped(upper), escaped(work));
    }
    // Some place of this namespace's own, from which it is taken at once.
    let place = own.map_or(common, |(upper, _)| upper);
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    mount("overlay", place, "overlay", MountFlags::empty(), Some(options.as_c_str()))?;
    let tree = copy_of(CWD, place, false)?;
    unmount(place, UnmountFlags::DETACH)?;
    if !attributes.is_empty() {
        change(&tree, Change::set(attributes), false).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::INVAL))?;
    }
    Ok(tree)
}

/// Nothing that is mounted from now on is seen outside, nor the other way round.
///
/// # Errors
/// As mount(2).
pub fn part_from_host() -> Result<(), EngineError> {
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).told(|| "mounts can't be parted from the host's".into())
}

/// Makes `tree` the root. `place` is a folder of the host that it is mounted on meanwhile.
///
/// # Errors
/// As pivot_root(2).
pub fn enter(tree: impl AsFd, place: &Path) -> Result<(), EngineError> {
    let enter = || -> Result<(), Errno> {
        let target = rustix::fs::open(place, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, Mode::empty())?;
        attach(&tree, target)?;
        rustix::process::fchdir(&tree)?;
        // Both on one another: the old root is below the working directory then, and goes without a place of its own.
        rustix::process::pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    };
    enter().told(|| "the container's root can't be entered".into())
}

/// What differs between the file systems that containers have.
#[derive(Debug)]
pub struct Furnishing<'a> {
    /// `/sys` and `/sys/fs/cgroup` can be written.
    pub privileged: bool,
    /// Bytes of `/dev/shm`; 0 is 64 MB.
    pub shm_size: i64,
    /// `/dev/shm` of somebody else.
    pub shm: Option<OwnedFd>,
    /// There is none.
    pub no_shm: bool,
    /// Mounts of groups: name below `/sys/fs/cgroup`, tree. One with an empty name is mounted there itself.
    pub cgroups: Vec<(String, OwnedFd)>,
    /// Paths that are mounted by the user.
    pub taken: &'a [String],
}

/// Mounts `/proc`, `/dev`, `/sys` and what belongs into them.
///
/// # Errors
/// The kernel refuses; an image with links in their place.
pub fn furnish(root: &Root, with: Furnishing<'_>) -> Result<(), EngineError> {
    // A volume at one of these paths takes its place, as does one at /dev or /sys with everything in it.
    let wanted = |path: &str| !with.taken.iter().any(|t| t == path || path.strip_prefix(t.as_str()).is_some_and(|rest| rest.starts_with('/')));
    let at = |path: &str, tree: Result<OwnedFd, Errno>| {
        let mount = || -> Result<(), Errno> {
            // Folders of these names, and nothing that leads elsewhere: what is mounted there must be found there.
            let target = match root.find_without_links(path) {
                Err(Errno::NOENT) => {
                    root.find_or_make(path, Make::Folder)?;
                    root.find_without_links(path)?
                }
                found => found?,
            };
            attach(tree?, target)
        };
        match mount() {
            Err(Errno::LOOP | Errno::NOTDIR) => Err(refused(format!("{path} in the image is not a folder"))),
            done => done.told(|| format!("{path} can't be mounted")),
        }
    };
    let read_only = if with.privileged { NONE } else { READ_ONLY };
    if wanted("/proc") {
        at("/proc", filesystem("proc", "proc", [], HARMLESS))?;
    }
    if wanted("/dev") {
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
        at("/dev", filesystem("tmpfs", "tmpfs", ["mode=755", "size=65536k"], attributes))?;
        if wanted("/dev/pts") {
            let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            at("/dev/pts", filesystem("devpts", "devpts", ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"], attributes))?;
        }
        if wanted("/dev/mqueue") {
            at("/dev/mqueue", filesystem("mqueue", "mqueue", [], HARMLESS))?;
        }
        if wanted("/dev/shm") && !with.no_shm {
            let size = if with.shm_size > 0 { format!("size={}", with.shm_size) } else { "size=65536k".into() };
            at("/dev/shm", with.shm.map_or_else(|| filesystem("tmpfs", "shm", ["mode=1777", &size], HARMLESS), Ok))?;
        }
    }
    if wanted("/sys") {
        at("/sys", filesystem("sysfs", "sysfs", [], HARMLESS | read_only))?;
        if wanted("/sys/fs/cgroup") {
            if with.cgroups.iter().any(|(name, _)| !name.is_empty()) {
                at("/sys/fs/cgroup", filesystem("tmpfs", "tmpfs", ["mode=755"], HARMLESS))?;
            }
            for (name, _) in with.cgroups.iter().filter(|(name, _)| name.contains(',')) {
                for controller in name.split(',') {
                    let path = format!("/sys/fs/cgroup/{controller}");
                    rustix::fs::symlink(name, &path).told(|| format!("{path} can't be made"))?;
                }
            }
            for (name, tree) in with.cgroups {
                change(&tree, Change::set(HARMLESS | read_only), true).told(|| "/sys/fs/cgroup can't be mounted".into())?;
                at(&if name.is_empty() { "/sys/fs/cgroup".to_owned() } else { format!("/sys/fs/cgroup/{name}") }, Ok(tree))?;
            }
        }
    }
    Ok(())
}

/// Hides what a container has no business with.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that can only be read.
pub const FIXED: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Masks paths, and makes others read-only.
///
/// # Errors
/// The kernel refuses.
pub fn mask(root: &Root) -> Result<(), EngineError> {
    for path in FIXED {
        let fix = || -> std::io::Result<()> {
            let target = match root.find(path) {
                Err(Errno::NOENT) => return Ok(()),
                found => found?,
            };
            let tree = copy_of(&target, Path::new(""), true)?;
            change(&tree, Change::set(READ_ONLY), true)?;
            Ok(attach(tree, target)?)
        };
        fix().told(|| format!("{path} can't be made read-only"))?;
    }
    let null = root.find("/dev/null").told(|| "/dev/null is not there".into())?;
    // What an image or a volume has put there instead would not hide anything, but show it in many places.
    let info = rustix::fs::fstat(&null).told(|| "/dev/null can't be looked at".into())?;
    if rustix::fs::FileType::from_raw_mode(info.st_mode) != rustix::fs::FileType::CharacterDevice || info.st_rdev != rustix::fs::makedev(1, 3) {
        return Err(refused("/dev/null is something else in this container: nothing can be hidden by it"));
    }
    let mut empty: Option<OwnedFd> = None;
    let thermal = thermal_throttles(root);
    for path in MASKED.iter().copied().chain(thermal.iter().map(String::as_str)) {
        let mut hide = || -> Result<(), Errno> {
            let target = match root.find(path) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                found => found?,
            };
            let folder = rustix::fs::fstat(&target)?.st_mode & 0o170_000 == 0o040_000;
            let tree = match &empty {
                _ if !folder => copy_of(&null, Path::new(""), false)?,
                // One empty folder serves for all.
                Some(tree) => copy_of(tree, Path::new(""), false)?,
                None => filesystem("tmpfs", "tmpfs", ["ro"], READ_ONLY)?,
            };
            attach(&tree, target)?;
            if folder && empty.is_none() {
                empty = Some(tree);
            }
            Ok(())
        };
        hide().told(|| format!("{path} can't be hidden"))?;
    }
    Ok(())
}

/// What is hidden, as a list for others to hide.
pub fn masked() -> Vec<String> {
    let throttles = if Path::new("/sys/devices/system/cpu/cpu0/thermal_throttle").exists() { throttles() } else { Vec::new() };
    MASKED.iter().map(|m| (*m).to_owned()).chain(throttles).collect()
}

/// Counters that tell how warm other people's work makes each processor.
fn thermal_throttles(root: &Root) -> Vec<String> {
    if root.find("/sys/devices/system/cpu/cpu0/thermal_throttle").is_err() {
        return Vec::new();
    }
    throttles()
}

fn throttles() -> Vec<String> {
    let names = std::fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
    names
        .filter(|n| n.strip_prefix("cpu").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())))
        .map(|n| format!("/sys/devices/system/cpu/{n}/thermal_throttle"))
        .collect()
}

/// Makes the root itself read-only; what is mounted in it stays as it is.
///
/// # Errors
/// The kernel refuses.
pub fn fix_root(root: &Root) -> Result<(), EngineError> {
    change(root.folder(), Change::set(READ_ONLY), false).told(|| "the root can't be made read-only".into())
}
