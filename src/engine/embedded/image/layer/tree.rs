//! A folder that nothing leads out of: whatever a path or a link says, it is resolved within (`openat2(2)`,
//! `RESOLVE_IN_ROOT`), as if the folder were the root of the file system.

use super::entries::Kind;
use rustix::fs::{self, AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

/// Deepest path: every folder on the way to what is removed is held open.
const DEPTH: usize = 200;

/// Such a folder.
pub struct Tree {
    root: OwnedFd,
    /// The folder that was used last: entries of an archive come folder by folder.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

/// A name in a folder.
pub struct Place {
    folder: Rc<OwnedFd>,
    name: Vec<u8>,
}

/// Owner, permissions and so on.
pub struct Attributes<'a> {
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: (i64, u32),
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// A path within, without `.` and `..`, not beginning with `/`; empty is the folder itself.
///
/// # Errors
/// It leads out; it is too deep.
pub fn clean(path: &[u8]) -> io::Result<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it leads out of the layer"))?;
            }
            _ => parts.push(part),
        }
    }
    if parts.len() > DEPTH { Err(io::Error::new(io::ErrorKind::InvalidData, "its path is too deep")) } else { Ok(parts.join(&b'/')) }
}

/// The folder of a clean path, and the name in it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

impl Tree {
    /// The folder at a path that is trusted.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { root: fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?, last: None })
    }

    /// The folder itself.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens a clean path.
    pub fn open_at(&self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        loop {
            match fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, resolve) {
                // A rename somewhere in the system came between: `..` in a link has to be resolved anew.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::NOSYS) => return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel has no openat2: Linux 5.6 is needed")),
                other => return Ok(other?),
            }
        }
    }

    /// Where a clean path is; folders on the way are made.
    pub fn place(&mut self, path: &[u8]) -> io::Result<Place> {
        let (folder, name) = split(path);
        Ok(Place { folder: self.folder(folder)?, name: name.to_vec() })
    }

    /// Where a clean path is; none if there is no such folder.
    pub fn find(&self, path: &[u8]) -> io::Result<Option<Place>> {
        let (folder, name) = split(path);
        match self.open_at(folder, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Ok(folder) => Ok(Some(Place { folder: Rc::new(folder), name: name.to_vec() })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn folder(&mut self, path: &[u8]) -> io::Result<Rc<OwnedFd>> {
        if let Some((last, folder)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(folder));
        }
        let folder = Rc::new(self.make_folders(path)?);
        self.last = Some((path.to_vec(), Rc::clone(&folder)));
        Ok(folder)
    }

    fn make_folders(&self, path: &[u8]) -> io::Result<OwnedFd> {
        match self.open_at(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_empty() => {
                let (above, name) = split(path);
                let above = self.make_folders(above)?;
                match fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => {}
                    // It is there, and isn't found: a link to nowhere.
                    Err(Errno::EXIST) => return Err(io::Error::new(io::ErrorKind::InvalidData, "it lies behind a link that leads nowhere")),
                    Err(error) => return Err(error.into()),
                }
                self.open_at(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            }
            other => other,
        }
    }

    /// What is at a place; none if nothing is.
    pub fn kind(place: &Place) -> io::Result<Option<FileType>> {
        match fs::statat(&*place.folder, &*place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether overlayfs takes what is there for the mark of something removed.
    pub fn is_whiteout(place: &Place) -> bool {
        fs::statat(&*place.folder, &*place.name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::CharacterDevice && s.st_rdev == 0)
    }

    /// Removes whatever is at a place.
    pub fn remove(&mut self, place: &Place) -> io::Result<()> {
        // The folder that was used last may be below.
        self.last = None;
        remove(place.folder.as_fd(), &place.name)
    }

    /// A new file, to be written.
    pub fn file(place: &Place) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(fs::openat(&*place.folder, &*place.name, flags, Mode::from_raw_mode(0o600))?)
    }

    /// A folder, new or not, opened.
    pub fn directory(place: &Place) -> io::Result<OwnedFd> {
        match fs::mkdirat(&*place.folder, &*place.name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(fs::openat(&*place.folder, &*place.name, flags, Mode::empty())?)
    }

    /// A link that says `target`.
    pub fn symlink(place: &Place, target: &[u8]) -> io::Result<()> {
        Ok(fs::symlinkat(target, &*place.folder, &*place.name)?)
    }

    /// One more name of what is at `target`.
    pub fn hard_link(target: &Place, place: &Place) -> io::Result<()> {
        Ok(fs::linkat(&*target.folder, &*target.name, &*place.folder, &*place.name, AtFlags::empty())?)
    }

    /// A device or a FIFO.
    pub fn node(place: &Place, kind: Kind, major: u32, minor: u32) -> io::Result<()> {
        let kind = match kind {
            Kind::Character => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        Ok(fs::mknodat(&*place.folder, &*place.name, kind, Mode::from_raw_mode(0o600), fs::makedev(major, minor))?)
    }

    /// Marks a name as removed.
    pub fn whiteout(place: &Place) -> io::Result<()> {
        Ok(fs::mknodat(&*place.folder, &*place.name, FileType::CharacterDevice, Mode::empty(), 0)?)
    }

    /// Sets attributes of what is at a place, and not what it may lead to. Times come last, by [`times`].
    pub fn describe(place: &Place, attributes: &Attributes<'_>, is_link: bool) -> io::Result<()> {
        let (uid, gid) = owner(attributes)?;
        fs::chownat(&*place.folder, &*place.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if !is_link {
            // Nothing else can have come here: it was made just now, and isn't a link.
            fs::chmodat(&*place.folder, &*place.name, Mode::from_raw_mode(attributes.mode), AtFlags::empty())?;
        }
        for (name, value) in kept(attributes.xattrs) {
            let mut path = format!("/proc/self/fd/{}/", place.folder.as_raw_fd()).into_bytes();
            path.extend_from_slice(&place.name);
            attribute(&String::from_utf8_lossy(name), fs::lsetxattr(path, name, value, XattrFlags::empty()))?;
        }
        let times = stamps(attributes.mtime);
        Ok(fs::utimensat(&*place.folder, &*place.name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// Sets attributes of an open file or folder. Owner first: a change of it takes away what permissions and capabilities
/// give.
pub fn describe(file: BorrowedFd<'_>, attributes: &Attributes<'_>) -> io::Result<()> {
    let (uid, gid) = owner(attributes)?;
    fs::fchown(file, Some(uid), Some(gid))?;
    fs::fchmod(file, Mode::from_raw_mode(attributes.mode))?;
    for (name, value) in kept(attributes.xattrs) {
        attribute(&String::from_utf8_lossy(name), fs::fsetxattr(file, name, value, XattrFlags::empty()))?;
    }
    Ok(fs::futimens(file, &stamps(attributes.mtime))?)
}

/// Marks a folder: what lower layers have in it counts no more.
pub fn make_opaque(folder: BorrowedFd<'_>) -> io::Result<()> {
    Ok(fs::fsetxattr(folder, "trusted.overlay.opaque", b"y", XattrFlags::empty())?)
}

/// Time of the last change.
pub fn stamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Attributes of overlayfs itself are not an image's business: one could make a folder show another one's files.
fn kept(xattrs: &[(Vec<u8>, Vec<u8>)]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let overlay = |name: &[u8]| name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    xattrs.iter().filter(move |(name, _)| !overlay(name)).map(|(name, value)| (name.as_slice(), value.as_slice()))
}

/// What the file system or the kind of file can't have is left out, as Docker does.
fn attribute(name: &str, outcome: rustix::io::Result<()>) -> io::Result<()> {
    match outcome {
        Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => Ok(()),
        Err(error) => {
            let error = io::Error::from(error);
            Err(io::Error::new(error.kind(), format!("its attribute {name} can't be set: {error}")))
        }
    }
}

fn owner(attributes: &Attributes<'_>) -> io::Result<(Uid, Gid)> {
    // The highest number means "leave it" to the kernel.
    let number = |n: u64| u32::try_from(n).ok().filter(|n| *n != u32::MAX);
    match (number(attributes.uid), number(attributes.gid)) {
        (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("its owner is {}:{}", attributes.uid, attributes.gid))),
    }
}

/// Removes a name and whatever is below it, without ever following a link.
fn remove(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return Ok(other?),
    }
    let inner = fs::openat(folder, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    for entry in Dir::read_from(&inner)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            remove(inner.as_fd(), name)?;
        }
    }
    Ok(fs::unlinkat(folder, name, AtFlags::REMOVEDIR)?)
}
