//! What the user mounts: folders of the host, volumes, memory, images.
//!
//! In two steps, both in the container's process: sources are opened while the host is still visible, each as a copy that
//! is mounted nowhere; then, when nothing but the container's root is left, they are mounted in it.

use super::Surroundings;
use super::copy;
use super::error::{Told as _, refused, unsupported};
use super::path::{Make, Root, clean};
use super::rootfs::{attach, copy_of, filesystem, stacked};
use crate::engine::embedded::record::{self, ResolvedMount, VolumeRecord};
use crate::engine::embedded::sys::mount::{Change, change};
use crate::world::{ContainerSpec, EngineError, ErrorKind, MountKind};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::path::{Path, PathBuf};

/// A mount whose source is open.
#[derive(Debug)]
pub struct Ready {
    /// Path in the container, clean.
    pub target: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Mounted as it is.
    Tree { tree: OwnedFd, folder: bool, copy_up: bool },
    /// A part of it is mounted. Parts can be taken only of what is mounted somewhere.
    Part { tree: OwnedFd, path: String, what: String },
    /// Memory: options, whether its mode was chosen, read-only.
    Memory { options: Vec<String>, attributes: MountAttrFlags, mode: bool },
}

/// What one mount is, before anything is opened.
enum Plan<'a> {
    Resolved(&'a ResolvedMount),
    Memory(&'a str),
    Etc(&'static str),
}

/// Opens the sources of all mounts, in the order in which they are mounted.
///
/// # Errors
/// A source that isn't there; what this engine doesn't have.
pub fn open(spec: &ContainerSpec, around: &Surroundings<'_>) -> Result<Vec<Ready>, EngineError> {
    let mut plans: Vec<(String, Plan<'_>)> = around.mounts.iter().map(|m| (clean(&m.point.target), Plan::Resolved(m))).collect();
    for (path, options) in &spec.tmpfs {
        if !plans.iter().any(|(target, _)| *target == clean(path)) {
            plans.push((clean(path), Plan::Memory(options)));
        }
    }
    for file in ["resolv.conf", "hostname", "hosts"] {
        let target = format!("/etc/{file}");
        if !plans.iter().any(|(t, _)| *t == target) {
            plans.push((target, Plan::Etc(file)));
        }
    }
    if let Some((target, _)) = plans.iter().find(|(target, _)| target.is_empty() || target == "/proc") {
        return Err(refused(format!("nothing can be mounted at `{}`", if target.is_empty() { "/" } else { target })));
    }
    // A folder before what is mounted in it.
    plans.sort_by_key(|(target, _)| target.matches('/').count());
    plans.into_iter().map(|(target, plan)| Ok(Ready { source: open_one(&target, plan, around)?, target })).collect()
}

fn open_one(target: &str, plan: Plan<'_>, around: &Surroundings<'_>) -> Result<Source, EngineError> {
    match plan {
        Plan::Resolved(mount) => resolved(target, mount, around),
        Plan::Memory(options) => memory(options.split(',').filter(|o| !o.is_empty()).map(str::to_owned)),
        Plan::Etc(file) => {
            let path = around.etc.join(file);
            let tree = copy_of(CWD, &path, false).told(|| format!("{} can't be mounted", path.display()))?;
            private(&tree)?;
            Ok(Source::Tree { tree, folder: false, copy_up: false })
        }
    }
}

fn private(tree: &OwnedFd) -> Result<(), EngineError> {
    change(tree, Change { propagation: libc::MS_PRIVATE, ..Change::default() }, true).told(|| "mounts can't be parted from the host's".into())
}

fn resolved(target: &str, mount: &ResolvedMount, around: &Surroundings<'_>) -> Result<Source, EngineError> {
    let read_only = mount.point.read_only;
    match &mount.kind {
        MountKind::Bind { source, create_host_path, propagation, recursive, .. } => {
            let source = if mount.point.source.is_empty() { source } else { &mount.point.source };
            bind(source, *create_host_path, propagation, recursive, read_only)
        }
        MountKind::Volume { nocopy, subpath, .. } => {
            let (tree, rest) = volume(Path::new(&mount.point.source), subpath)?;
            private(&tree)?;
            if read_only {
                change(&tree, Change::set(MountAttrFlags::MOUNT_ATTR_RDONLY), true).told(|| format!("{target} can't be made read-only"))?;
            }
            Ok(match rest {
                "" => Source::Tree { folder: is_folder(&tree), copy_up: !nocopy && subpath.is_empty(), tree },
                path => Source::Part { tree, path: path.to_owned(), what: "the volume".into() },
            })
        }
        MountKind::Tmpfs { size, mode } => {
            let size = (*size > 0).then(|| format!("size={size}"));
            let mode = (*mode > 0).then(|| format!("mode={mode:o}"));
            memory(size.into_iter().chain(mode).chain(read_only.then(|| "ro".to_owned())))
        }
        MountKind::Image { reference, subpath } => {
            let image = around
                .images
                .get(reference)
                .ok_or_else(|| EngineError::new(ErrorKind::NotFound, format!("the image {reference}, which is mounted at {target}, is not here")))?;
            let tree = match image.layers.as_slice() {
                [one] => copy_of(CWD, one, false).told(|| format!("the image {reference} can't be mounted"))?,
                layers => stacked(layers, None, MountAttrFlags::empty())?,
            };
            private(&tree)?;
            change(&tree, Change::set(MountAttrFlags::MOUNT_ATTR_RDONLY), true).told(|| format!("{target} can't be made read-only"))?;
            Ok(match subpath.as_str() {
                "" => Source::Tree { folder: true, copy_up: false, tree },
                path => Source::Part { tree, path: path.to_owned(), what: format!("the image {reference}") },
            })
        }
        MountKind::Npipe { .. } => Err(unsupported(format!("{target}: named pipes of Windows can't be mounted here"))),
        MountKind::Cluster { .. } => Err(unsupported(format!("{target}: cluster volumes need a Swarm"))),
    }
}

fn is_folder(tree: &OwnedFd) -> bool {
    rustix::fs::fstat(tree).is_ok_and(|info| FileType::from_raw_mode(info.st_mode) == FileType::Directory)
}

fn bind(source: &str, create: bool, propagation: &str, recursive: &str, read_only: bool) -> Result<Source, EngineError> {
    let open = || copy_of(CWD, Path::new(source), recursive != "disabled");
    let tree = match open() {
        Err(Errno::NOENT) if create => {
            std::fs::create_dir_all(source).told(|| format!("the folder {source}, which is to be mounted, can't be made"))?;
            open()
        }
        Err(Errno::NOENT) => {
            return Err(EngineError::new(ErrorKind::Refused, format!("{source}, which is to be mounted, does not exist on the host")));
        }
        opened => opened,
    };
    let tree = tree.told(|| format!("{source} can't be mounted"))?;
    // As a part of the host's mounts it was copied with its ties to them.
    let (kind, word) = match propagation.strip_prefix('r').unwrap_or(propagation) {
        "" | "private" => (libc::MS_PRIVATE, None),
        "slave" => (libc::MS_SLAVE, Some("slave")),
        "shared" => (libc::MS_SHARED, Some("shared")),
        _ => return Err(refused(format!("`{propagation}` is no propagation of mounts"))),
    };
    if let Some(word) = word
        && !is_tied(source, word == "slave")
    {
        return Err(refused(format!("{source} can't be mounted {propagation}: it is not on a shared mount of the host")));
    }
    // `shared` without `r` leaves the mounts below it private.
    private_below(&tree, kind, propagation)?;
    if read_only {
        change(&tree, Change::set(MountAttrFlags::MOUNT_ATTR_RDONLY), recursive != "writable")
            .told(|| format!("{source} can't be made read-only"))?;
    }
    Ok(Source::Tree { folder: is_folder(&tree), copy_up: false, tree })
}

fn private_below(tree: &OwnedFd, kind: u64, propagation: &str) -> Result<(), EngineError> {
    let recursive = propagation.is_empty() || propagation.starts_with('r');
    change(tree, Change { propagation: kind, ..Change::default() }, recursive).told(|| format!("mounts can't be made {propagation}"))
}

/// Whether a path of the host is on a mount that others are told of (for a slave: that is told by others, at least).
fn is_tied(path: &str, slave: bool) -> bool {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let deepest = mounts.lines().filter_map(|line| {
        let (before, _) = line.split_once(" - ")?;
        let mut words = before.split(' ');
        let place = words.nth(4)?;
        path.starts_with(place).then(|| (place.len(), words.any(|w| w.starts_with("shared:") || (slave && w.starts_with("master:")))))
    });
    deepest.max_by_key(|(length, _)| *length).is_some_and(|(_, tied)| tied)
}

/// Content of a volume, or a part of it; and the path of the part that has still to be taken. A volume with options of its
/// driver is mounted from elsewhere.
fn volume<'a>(data: &Path, subpath: &'a str) -> Result<(OwnedFd, &'a str), EngineError> {
    let words = || format!("the volume at {} can't be mounted", data.display());
    let record: Option<VolumeRecord> = match data.parent() {
        Some(folder) => record::read(&folder.join("volume.json"))?,
        None => None,
    };
    let options = record.map(|r| r.spec.driver_options).unwrap_or_default();
    let option = |key: &str| options.get(key).map_or("", String::as_str);
    let (kind, device, mut flags) = (option("type"), option("device"), option("o").split(',').filter(|o| !o.is_empty()).collect::<Vec<_>>());
    let tree = if kind.is_empty() && device.is_empty() {
        if !subpath.is_empty() {
            let words = || format!("`{subpath}` in the volume can't be mounted");
            let folder = rustix::fs::open(data, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).told(words)?;
            let part = Root::at(folder).find(subpath).told(words)?;
            return Ok((copy_of(part, Path::new(""), true).told(words)?, ""));
        }
        copy_of(CWD, data, true).told(words)?
    } else if flags.contains(&"bind") || flags.contains(&"rbind") {
        let tree = copy_of(CWD, Path::new(device), flags.contains(&"rbind")).told(|| format!("{device}, which is a volume, can't be mounted"))?;
        attributes(&mut flags, &["bind", "rbind"]).apply(&tree)?;
        tree
    } else {
        from_driver(kind, device, flags)?
    };
    Ok((tree, subpath))
}

/// A file system with the options of mount(8).
fn from_driver(kind: &str, device: &str, mut flags: Vec<&str>) -> Result<OwnedFd, EngineError> {
    let attributes = attributes(&mut flags, &[]);
    let mut options: Vec<String> = flags.iter().map(|o| (*o).to_owned()).collect();
    if matches!(kind, "nfs" | "nfs4" | "cifs")
        && let Some(server) = flags.iter().find_map(|o| o.strip_prefix("addr="))
    {
        // The kernel looks no names up.
        use std::net::ToSocketAddrs as _;
        if let Some(address) = (server, 0).to_socket_addrs().ok().and_then(|mut a| a.next()) {
            options.retain(|o| !o.starts_with("addr="));
            options.push(format!("addr={}", address.ip()));
        }
    }
    let tree = filesystem(kind, if device.is_empty() { kind } else { device }, options.iter().map(String::as_str), attributes.set);
    match tree {
        Err(Errno::NODEV) => Err(unsupported(format!("the kernel has no file system `{kind}`, which the volume asks for"))),
        tree => tree.told(|| format!("the volume ({kind} {device}) can't be mounted")),
    }
}

/// Attributes of a mount among options of mount(8).
#[derive(Clone, Copy, Debug)]
struct Attributes {
    set: MountAttrFlags,
}

impl Attributes {
    fn apply(self, tree: &OwnedFd) -> Result<(), EngineError> {
        change(tree, Change::set(self.set), true).told(|| "the options of the mount are refused".into())
    }
}

/// Takes the attributes of the mount itself out of `options`; what is left is the file system's.
fn attributes(options: &mut Vec<&str>, ignored: &[&str]) -> Attributes {
    let mut set = MountAttrFlags::empty();
    options.retain(|option| {
        let (flag, on) = match *option {
            "ro" => (MountAttrFlags::MOUNT_ATTR_RDONLY, true),
            "rw" => (MountAttrFlags::MOUNT_ATTR_RDONLY, false),
            "nosuid" => (MountAttrFlags::MOUNT_ATTR_NOSUID, true),
            "suid" => (MountAttrFlags::MOUNT_ATTR_NOSUID, false),
            "nodev" => (MountAttrFlags::MOUNT_ATTR_NODEV, true),
            "dev" => (MountAttrFlags::MOUNT_ATTR_NODEV, false),
            "noexec" => (MountAttrFlags::MOUNT_ATTR_NOEXEC, true),
            "exec" => (MountAttrFlags::MOUNT_ATTR_NOEXEC, false),
            "noatime" => (MountAttrFlags::MOUNT_ATTR_NOATIME, true),
            "strictatime" => (MountAttrFlags::MOUNT_ATTR_STRICTATIME, true),
            "nodiratime" => (MountAttrFlags::MOUNT_ATTR_NODIRATIME, true),
            "relatime" | "defaults" | "atime" | "diratime" | "private" | "rprivate" => (MountAttrFlags::empty(), true),
            other => return !ignored.contains(&other),
        };
        set.set(flag, on);
        false
    });
    Attributes { set }
}

/// Memory, harmless unless the options say otherwise (as Docker has it).
fn memory(options: impl Iterator<Item = String>) -> Result<Source, EngineError> {
    let options: Vec<String> = options.collect();
    let mut all: Vec<&str> = vec!["nosuid", "nodev", "noexec"];
    all.extend(options.iter().map(String::as_str));
    let attributes = attributes(&mut all, &["bind", "rbind"]).set;
    if let Some(wrong) =
        all.iter().find(|o| !["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"].contains(&o.split('=').next().unwrap_or_default()))
    {
        return Err(refused(format!("`{wrong}` is no option of a tmpfs")));
    }
    let options: Vec<String> = all.into_iter().map(str::to_owned).collect();
    Ok(Source::Memory { mode: options.iter().any(|o| o.starts_with("mode=")), options, attributes })
}

/// Where a whole lies while a part of it is taken: on the container's own `/dev`, which nothing of the image is in.
const ASIDE: &str = "/dev/.aside";

/// A part of something that isn't mounted yet. `aside` is a free path of this process's own root.
fn part(aside: &str, tree: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let root = Root::own()?;
    attach(tree, root.find_or_make(aside, Make::Folder)?)?;
    // Links in it lead nowhere but into it.
    let whole = root.find_without_links(aside)?;
    let part = Root::at(whole).find(path).and_then(|part| copy_of(part, Path::new(""), true));
    rustix::mount::unmount(aside, rustix::mount::UnmountFlags::DETACH)?;
    rustix::fs::rmdir(aside)?;
    part
}

/// A mount that lies beside the root, for another runtime to mount in it.
#[derive(Debug)]
pub struct Staged {
    /// Path in the container, clean.
    pub target: String,
    /// Path where it is meanwhile.
    pub source: PathBuf,
    /// What it is to be told of the host's mounts or to tell them; empty is nothing.
    pub propagation: String,
    /// What it is restricted to, as options of mount(8): a runtime that mounts it anew would lift that.
    pub restrictions: Vec<&'static str>,
}

fn restrictions(tree: &OwnedFd) -> Result<Vec<&'static str>, Errno> {
    use rustix::fs::StatVfsMountFlags as Flags;
    let has = rustix::fs::fstatvfs(tree)?.f_flag;
    let all = [(Flags::RDONLY, "ro"), (Flags::NOSUID, "nosuid"), (Flags::NODEV, "nodev"), (Flags::NOEXEC, "noexec"), (Flags::NOATIME, "noatime")];
    Ok(all.into_iter().filter(|(flag, _)| has.contains(*flag)).map(|(_, word)| word).collect())
}

/// Mounts everything in a folder of this process's own mount namespace. `root` is that of the container, where nothing is
/// mounted yet.
///
/// # Errors
/// As [`mount`].
pub fn stage(root: &Root, mounts: Vec<Ready>, folder: &Path, propagation: impl Fn(&str) -> String) -> Result<Vec<Staged>, EngineError> {
    let stage = |(number, mount): (usize, Ready)| {
        let target = mount.target;
        let words = || format!("nothing can be mounted at {target}");
        let tree = match mount.source {
            Source::Part { tree, path, what } => {
                let aside = folder.join("whole");
                part(&aside.to_string_lossy(), &tree, &path).told(|| format!("`{path}` in {what} can't be mounted"))?
            }
            Source::Tree { tree, folder, copy_up } => {
                if copy_up && folder {
                    copy::into_volume(root, &target, &tree)?;
                }
                tree
            }
            Source::Memory { options, attributes, mode } => tmpfs(root, &target, options, attributes, mode).told(words)?,
        };
        let source = folder.join(number.to_string());
        if is_folder(&tree) { std::fs::create_dir(&source) } else { std::fs::File::create(&source).map(drop) }.told(words)?;
        let place = rustix::fs::open(&source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).told(words)?;
        attach(&tree, place).told(words)?;
        Ok(Staged { propagation: propagation(&target), restrictions: restrictions(&tree).told(words)?, target, source })
    };
    mounts.into_iter().enumerate().map(stage).collect()
}

/// Memory that looks as what it covers, unless somebody wants otherwise.
fn tmpfs(root: &Root, target: &str, mut options: Vec<String>, attributes: MountAttrFlags, mode: bool) -> Result<OwnedFd, Errno> {
    if !mode && let Ok(info) = root.open(target, OFlags::PATH, Mode::empty()).and_then(rustix::fs::fstat) {
        options.push(format!("mode={:o}", info.st_mode & 0o7777));
    }
    filesystem("tmpfs", "tmpfs", options.iter().map(String::as_str), attributes)
}

/// Mounts everything in the root of this process.
///
/// # Errors
/// A target that can't be made or mounted on.
pub fn mount(root: &Root, mounts: Vec<Ready>) -> Result<(), EngineError> {
    mounts.into_iter().try_for_each(|mount| one(root, mount))
}

fn one(root: &Root, mount: Ready) -> Result<(), EngineError> {
    let target = mount.target.as_str();
    let words = || format!("nothing can be mounted at {target}");
    match mount.source {
        Source::Part { tree, path, what } => {
            let tree = part(ASIDE, &tree, &path).told(|| format!("`{path}` in {what} can't be mounted"))?;
            one(root, Ready { target: mount.target, source: Source::Tree { folder: is_folder(&tree), copy_up: false, tree } })
        }
        Source::Tree { tree, folder, copy_up } => {
            if copy_up && folder {
                copy::into_volume(root, target, &tree)?;
            }
            let place = root.find_or_make(target, if folder { Make::Folder } else { Make::File }).told(words)?;
            match (folder, is_folder(&place)) {
                (true, false) => Err(refused(format!("a folder can't be mounted at {target}: that is a file in the image"))),
                (false, true) => Err(refused(format!("a file can't be mounted at {target}: that is a folder in the image"))),
                _ => attach(&tree, place).told(words),
            }
        }
        Source::Memory { options, attributes, mode } => {
            let tree = tmpfs(root, target, options, attributes, mode).told(words)?;
            let place = root.find_or_make(target, Make::Folder).told(words)?;
            attach(&tree, place).told(words)
        }
    }
}
