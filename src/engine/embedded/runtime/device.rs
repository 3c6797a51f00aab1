//! `/dev`: the nodes that every container has, and those asked for.

use super::error::{Told as _, refused};
use super::path::{Make, Root, clean};
use crate::world::{DeviceSpec, EngineError};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, makedev, mknodat, symlinkat};
use rustix::io::Errno;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

const NODES: [(&str, u32, u32); 6] = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] =
    [("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"), ("/proc/self/fd/2", "stderr"), ("pts/ptmx", "ptmx")];

/// A device of the host that a container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Path in the container.
    path: String,
    kind: FileType,
    device: u64,
    mode: u32,
    owner: (u32, u32),
}

impl Node {
    /// As another runtime is told of it: OCI runtime specification, config-linux.md, devices.
    pub fn oci(&self) -> serde_json::Value {
        let kind = if self.kind == FileType::BlockDevice { "b" } else { "c" };
        serde_json::json!({
            "path": self.path, "type": kind, "major": rustix::fs::major(self.device), "minor": rustix::fs::minor(self.device),
            "fileMode": self.mode, "uid": self.owner.0, "gid": self.owner.1,
        })
    }
}

/// The nodes that a container gets besides the usual ones; looked up on the host.
///
/// # Errors
/// A path that isn't there or is no device.
pub fn wanted(devices: &[DeviceSpec], privileged: bool) -> Result<Vec<Node>, EngineError> {
    let mut nodes = Vec::new();
    if privileged {
        gather(Path::new("/dev"), "/dev", &mut nodes);
    }
    for device in devices {
        if !device.source.starts_with('/') {
            return Err(super::error::unsupported(format!("devices by name ({}, CDI) are not supported by this engine", device.source)));
        }
        let info = std::fs::metadata(&device.source).told(|| format!("the device {} can't be used", device.source))?;
        let target = clean(if device.target.is_empty() { &device.source } else { &device.target });
        let before = nodes.len();
        if info.is_dir() {
            gather(Path::new(&device.source), &target, &mut nodes);
        } else {
            nodes.extend(node(&target, &info));
        }
        if nodes.len() == before {
            return Err(refused(format!("{} is not a device", device.source)));
        }
    }
    Ok(nodes)
}

fn node(path: &str, info: &std::fs::Metadata) -> Option<Node> {
    let kind = if info.file_type().is_block_device() {
        FileType::BlockDevice
    } else if info.file_type().is_char_device() {
        FileType::CharacterDevice
    } else {
        return None;
    };
    Some(Node { path: path.to_owned(), kind, device: info.rdev(), mode: info.permissions().mode() & 0o7777, owner: (info.uid(), info.gid()) })
}

/// All devices in a folder, but those that containers have of their own.
fn gather(folder: &Path, target: &str, nodes: &mut Vec<Node>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let (Some(name), Ok(info)) = (name.to_str(), entry.metadata()) else { continue };
        if info.is_dir() {
            if !["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"].contains(&name) {
                gather(&entry.path(), &format!("{target}/{name}"), nodes);
            }
        } else if name != "console" {
            nodes.extend(node(&format!("{target}/{name}"), &info));
        }
    }
}

/// Fills a fresh `/dev`.
///
/// # Errors
/// The kernel refuses.
pub fn fill(root: &Root, more: &[Node]) -> Result<(), EngineError> {
    let folder = root.open("/dev", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).told(|| "/dev is not there".into())?;
    let all = Mode::from_raw_mode(0o666);
    for (name, major, minor) in NODES {
        // umask is 0 here.
        mknodat(&folder, name, FileType::CharacterDevice, all, makedev(major, minor)).told(|| format!("/dev/{name} can't be made"))?;
    }
    for (to, name) in LINKS {
        symlinkat(to, &folder, name).told(|| format!("/dev/{name} can't be made"))?;
    }
    more.iter().try_for_each(|node| make(root, node))
}

fn make(root: &Root, node: &Node) -> Result<(), EngineError> {
    let attempt = || -> Result<(), Errno> {
        let (parent, name) = node.path.rsplit_once('/').ok_or(Errno::INVAL)?;
        let folder: OwnedFd = root.find_or_make(parent, Make::Folder)?;
        match mknodat(&folder, name, node.kind, Mode::from_raw_mode(node.mode), node.device) {
            // One of the usual ones, or one named twice.
            Err(Errno::EXIST) => return Ok(()),
            made => made?,
        }
        chmodat(&folder, name, Mode::from_raw_mode(node.mode), rustix::fs::AtFlags::empty())?;
        chownat(&folder, name, Some(Uid::from_raw(node.owner.0)), Some(Gid::from_raw(node.owner.1)), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
    };
    attempt().told(|| format!("the device {} can't be made", node.path))
}

/// Opens `/dev/null` of this process's root, for streams that nobody wants.
///
/// # Errors
/// It isn't there.
pub fn null() -> Result<OwnedFd, EngineError> {
    rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).told(|| "/dev/null can't be opened".into())
}
