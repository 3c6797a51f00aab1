//! Paths inside a container. Whatever its image or its volumes put in the way, nothing is found outside of its root: the
//! kernel resolves every path in it (openat2(2)), and links of `/proc` that lead to descriptors are not followed.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat};
use rustix::io::{Errno, Result};

/// What is made where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// A folder.
    Folder,
    /// An empty file.
    File,
}

const WITHIN: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Links followed while missing parts are made, as many as the kernel follows.
const LINKS: u32 = 40;

/// A root, below which paths are resolved.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
}

impl Root {
    /// That of this process.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn own() -> Result<Self> {
        Ok(Self { folder: rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())? })
    }

    /// A folder.
    pub fn at(folder: OwnedFd) -> Self {
        Self { folder }
    }

    /// It.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Opens what is there.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open(&self, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        self.resolve(path, flags, mode, WITHIN)
    }

    fn resolve(&self, path: &str, flags: OFlags, mode: Mode, resolve: ResolveFlags) -> Result<OwnedFd> {
        loop {
            match openat2(&self.folder, inner(path), flags | OFlags::CLOEXEC, mode, resolve) {
                // Something was renamed or mounted somewhere in the system meanwhile: `..` in a link has to be resolved anew.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// A descriptor (`O_PATH`) of what is there.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn find(&self, path: &str) -> Result<OwnedFd> {
        self.open(path, OFlags::PATH, Mode::empty())
    }

    /// As [`Root::find`], and no link is followed: neither on the way nor at its end.
    ///
    /// # Errors
    /// As openat2(2); `ELOOP` for a link.
    pub fn find_without_links(&self, path: &str) -> Result<OwnedFd> {
        self.resolve(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), WITHIN | ResolveFlags::NO_SYMLINKS)
    }

    /// As [`Root::find`]; what is missing is made, folders on the way as well, where links lead to.
    ///
    /// # Errors
    /// As openat2(2), mkdirat(2).
    pub fn find_or_make(&self, path: &str, make: Make) -> Result<OwnedFd> {
        self.make(&clean(path), make, LINKS)
    }

    fn make(&self, path: &str, make: Make, links: u32) -> Result<OwnedFd> {
        match self.find(path) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let Some((parent, name)) = path.rsplit_once('/') else { return Err(Errno::NOENT) };
        let folder = self.make(parent, Make::Folder, links)?;
        if let Ok(link) = readlinkat(&folder, name, Vec::new()) {
            let link = link.to_str().map_err(|_| Errno::ILSEQ)?;
            let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
            return self.make(&clean(&if link.starts_with('/') { link.to_owned() } else { format!("{parent}/{link}") }), make, links);
        }
        let made = match make {
            Make::Folder => mkdirat(&folder, name, Mode::from_raw_mode(0o755)),
            Make::File => {
                openat(&folder, name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o644)).map(drop)
            }
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => openat(&folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()),
            Err(error) => Err(error),
        }
    }
}

/// What openat2 takes: never empty.
fn inner(path: &str) -> &str {
    match path.trim_start_matches('/') {
        "" => ".",
        path => path,
    }
}

/// A path from the root without `.`, `..` and double slashes; empty for the root itself.
pub fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.iter().fold(String::new(), |all, part| all + "/" + part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn cleaning() {
        for (path, cleaned) in [("/", ""), ("", ""), ("/a/../../b//c/.", "/b/c"), ("a/b", "/a/b"), ("/..", "")] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    #[test]
    fn nothing_leaves_the_root() {
        let outside = tempfile::tempdir().expect("a folder");
        let folder = outside.path().join("root");
        std::fs::create_dir(&folder).expect("made");
        symlink(outside.path(), folder.join("absolute")).expect("linked");
        symlink("../../../..", folder.join("relative")).expect("linked");
        symlink("missing/deep", folder.join("dangling")).expect("linked");
        symlink("/proc/self/root", folder.join("magic")).expect("linked");
        symlink("loop", folder.join("loop")).expect("linked");
        let root = Root::at(rustix::fs::open(&folder, OFlags::PATH, Mode::empty()).expect("opened"));
        // An absolute link leads to the same path below the root, which is made there.
        root.find_or_make("/absolute/made", Make::Folder).expect("made");
        assert!(!outside.path().join("made").exists());
        assert!(folder.join(outside.path().strip_prefix("/").expect("absolute")).join("made").is_dir());
        root.find_or_make("/relative/etc/file", Make::File).expect("made");
        assert!(folder.join("etc/file").is_file());
        root.find_or_make("/dangling/x", Make::File).expect("made");
        assert!(folder.join("missing/deep/x").is_file());
        assert_eq!(root.find_or_make("/loop/x", Make::Folder).err(), Some(Errno::LOOP));
        // Below the root there is no /proc here, so the link leads to nothing, and is made as an ordinary folder.
        root.find_or_make("/magic", Make::Folder).expect("made");
        assert!(folder.join("proc/self/root").is_dir());
        assert_eq!(root.find_without_links("/dangling/").err(), Some(Errno::LOOP));
    }
}
