//! Content of an image that goes into a volume when it is used for the first time.

use super::error::Told as _;
use super::path::Root;
use crate::world::EngineError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown, fgetxattr, flistxattr, flock,
    fsetxattr, fstat, futimens, linkat, mkdirat, mknodat, openat, readlinkat, statat, symlinkat, utimensat,
};
use rustix::io::{Errno, Result};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

/// Copies what the image has at `path` into a volume that is empty: owners, modes, times, attributes, links and nodes as
/// they are. A volume with anything in it stays as it is.
///
/// # Errors
/// It can't be read or written.
pub fn into_volume(root: &Root, path: &str, volume: &OwnedFd) -> std::result::Result<(), EngineError> {
    let words = || format!("what the image has at {path} can't be copied into the volume");
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(from) = root.open(path, folder, Mode::empty()) else { return Ok(()) };
    let to = openat(volume, ".", folder, Mode::empty()).told(words)?;
    // Another container may begin with the same volume at the same time.
    flock(&to, FlockOperation::LockExclusive).told(words)?;
    if names(&to).told(words)?.iter().any(|n| n.as_bytes() != b"lost+found") {
        return Ok(());
    }
    match tree(&from, &to, &mut BTreeMap::new()) {
        // One that can only be read stays empty.
        Err(Errno::ROFS) => Ok(()),
        done => done.told(words),
    }
}

fn names(folder: &OwnedFd) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Files with several names: where the first of them was copied to.
type Links = BTreeMap<(u64, u64), (OwnedFd, CString)>;

fn tree(from: &OwnedFd, to: &OwnedFd, links: &mut Links) -> Result<()> {
    for name in names(from)? {
        entry(from, to, &name, links)?;
    }
    // Last: what was written in it has changed its times.
    attributes(from, to)
}

fn entry(from: &OwnedFd, to: &OwnedFd, name: &CStr, links: &mut Links) -> Result<()> {
    let info = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(info.st_mode);
    if kind != FileType::Directory && info.st_nlink > 1 {
        if let Some((folder, first)) = links.get(&(info.st_dev, info.st_ino)) {
            return linkat(folder, first, to, name, AtFlags::empty());
        }
        links.insert((info.st_dev, info.st_ino), (to.try_clone().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::MFILE))?, name.to_owned()));
    }
    let open = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match kind {
        FileType::Directory => {
            mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            let folder = open | OFlags::RDONLY | OFlags::DIRECTORY;
            tree(&openat(from, name, folder, Mode::empty())?, &openat(to, name, folder, Mode::empty())?, links)
        }
        FileType::RegularFile => {
            let source = openat(from, name, open | OFlags::RDONLY, Mode::empty())?;
            let target = openat(to, name, open | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(0o600))?;
            // By copy_file_range, where the file systems can.
            std::io::copy(
                &mut &std::fs::File::from(source.try_clone().map_err(other)?),
                &mut &std::fs::File::from(target.try_clone().map_err(other)?),
            )
            .map_err(other)?;
            attributes(&source, &target)
        }
        FileType::Symlink => {
            symlinkat(&readlinkat(from, name, Vec::new())?, to, name)?;
            own(to.as_fd(), name, &info)
        }
        _ => {
            mknodat(to, name, kind, Mode::from_raw_mode(info.st_mode & 0o7777), info.st_rdev)?;
            own(to.as_fd(), name, &info)
        }
    }
}

fn other(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn times(info: &rustix::fs::Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: info.st_atime as _, tv_nsec: info.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: info.st_mtime as _, tv_nsec: info.st_mtime_nsec as _ },
    }
}

fn own(folder: BorrowedFd<'_>, name: &CStr, info: &rustix::fs::Stat) -> Result<()> {
    chownat(folder, name, Some(Uid::from_raw(info.st_uid)), Some(Gid::from_raw(info.st_gid)), AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(folder, name, &times(info), AtFlags::SYMLINK_NOFOLLOW)
}

fn attributes(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let info = fstat(from)?;
    fchown(to, Some(Uid::from_raw(info.st_uid)), Some(Gid::from_raw(info.st_gid)))?;
    // After the owner: changing that takes set-user-id away.
    fchmod(to, Mode::from_raw_mode(info.st_mode & 0o7777))?;
    let mut list = Vec::with_capacity(4096);
    if flistxattr(from, rustix::buffer::spare_capacity(&mut list)).is_ok() {
        for name in list.split(|b| *b == 0).filter(|n| !n.is_empty() && !n.starts_with(b"trusted.overlay.")) {
            let mut value = Vec::with_capacity(65536);
            if fgetxattr(from, name, rustix::buffer::spare_capacity(&mut value)).is_ok() {
                // A file system without such attributes does without them.
                let _ = fsetxattr(to, name, &value, rustix::fs::XattrFlags::empty());
            }
        }
    }
    futimens(to, &times(&info))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    #[test]
    fn everything_is_copied_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (image, volume) = (folder.path().join("image/data"), folder.path().join("volume"));
        std::fs::create_dir_all(image.join("sub")).expect("made");
        std::fs::create_dir(&volume).expect("made");
        std::fs::write(image.join("sub/file"), "content").expect("written");
        std::fs::set_permissions(image.join("sub/file"), std::fs::Permissions::from_mode(0o4751)).expect("changed");
        std::fs::hard_link(image.join("sub/file"), image.join("again")).expect("linked");
        symlink("/nowhere", image.join("link")).expect("linked");
        std::fs::set_permissions(&image, std::fs::Permissions::from_mode(0o2770)).expect("changed");
        let open = |path: &std::path::Path| rustix::fs::open(path, OFlags::PATH, Mode::empty()).expect("opened");
        let root = Root::at(open(&folder.path().join("image")));
        into_volume(&root, "/data", &open(&volume)).expect("copied");
        let copied = std::fs::metadata(volume.join("sub/file")).expect("there");
        assert_eq!(copied.permissions().mode() & 0o7777, 0o4751);
        assert_eq!(copied.ino(), std::fs::metadata(volume.join("again")).expect("there").ino());
        assert_eq!(std::fs::read_link(volume.join("link")).expect("a link"), std::path::Path::new("/nowhere"));
        let top = std::fs::metadata(&volume).expect("there");
        assert_eq!((top.permissions().mode() & 0o7777, top.mtime()), (0o2770, std::fs::metadata(&image).expect("there").mtime()));
        std::fs::remove_file(volume.join("again")).expect("removed");
        into_volume(&root, "/data", &open(&volume)).expect("nothing to do");
        assert!(!volume.join("again").exists());
        into_volume(&root, "/absent", &open(&volume)).expect("nothing to do");
    }
}
