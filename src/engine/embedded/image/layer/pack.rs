//! A folder becomes an archive.

use rustix::fs::{self, AtFlags, CWD, FileType, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Writes the archive of a folder. With `layer` what overlayfs marks as removed is marked as in the OCI image specification;
/// without, the folder may be a root file system that lives: what is mounted in it is left out, and what goes meanwhile.
/// Sockets are left out.
///
/// # Errors
/// It can't be read or written.
pub fn pack(folder: &Path, layer: bool, out: &mut impl Write) -> io::Result<()> {
    let mut packer = Packer { builder: Builder::new(out), links: BTreeMap::new(), layer };
    let mut open = vec![PathBuf::new()];
    let mut home = None;
    while let Some(path) = open.pop() {
        let at = folder.join(&path);
        let about = match fs::statat(CWD, &at, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if !layer && !path.as_os_str().is_empty() => continue,
            about => about?,
        };
        let device = *home.get_or_insert(about.st_dev);
        packer.entry(&path, &at, &about)?;
        if FileType::from_raw_mode(about.st_mode) == FileType::Directory && (layer || about.st_dev == device) {
            let mut below = std::fs::read_dir(&at)?.map(|e| e.map(|e| path.join(e.file_name()))).collect::<io::Result<Vec<_>>>()?;
            below.sort();
            open.extend(below.into_iter().rev());
        }
    }
    packer.builder.finish()
}

struct Packer<W: Write> {
    builder: Builder<W>,
    /// Files with several names, by device and inode.
    links: BTreeMap<(u64, u64), PathBuf>,
    layer: bool,
}

impl<W: Write> Packer<W> {
    fn entry(&mut self, path: &Path, at: &Path, about: &Stat) -> io::Result<()> {
        let mut header = Header::new_ustar();
        let mut pax: Vec<(String, Vec<u8>)> = Vec::new();
        header.set_mode(about.st_mode & 0o7777);
        for (id, key) in [(about.st_uid, "uid"), (about.st_gid, "gid")] {
            // Seven octal digits are all there is room for.
            if id > 0o777_7777 {
                pax.push((key.to_owned(), id.to_string().into_bytes()));
            }
        }
        header.set_uid(about.st_uid.min(0o777_7777).into());
        header.set_gid(about.st_gid.min(0o777_7777).into());
        header.set_mtime(u64::try_from(about.st_mtime).unwrap_or(0));
        if about.st_mtime < 0 || about.st_mtime_nsec > 0 {
            // Before 1970 the fraction counts the other way.
            let (seconds, nanos) = if about.st_mtime < 0 && about.st_mtime_nsec > 0 {
                (about.st_mtime + 1, 1_000_000_000 - about.st_mtime_nsec)
            } else {
                (about.st_mtime, about.st_mtime_nsec)
            };
            let sign = if seconds == 0 && about.st_mtime < 0 { "-" } else { "" };
            pax.push(("mtime".to_owned(), format!("{sign}{seconds}.{nanos:09}").into_bytes()));
        }
        let mut name = if path.as_os_str().is_empty() { b"./".to_vec() } else { path.as_os_str().as_bytes().to_vec() };
        let kind = FileType::from_raw_mode(about.st_mode);
        let mut size = 0;
        let mut opaque = false;
        for attribute in names(at)? {
            if attribute == "trusted.overlay.opaque" {
                opaque = self.layer;
            } else if !attribute.starts_with("trusted.overlay.") && !attribute.starts_with("user.overlay.") && attribute != "security.selinux" {
                pax.push((format!("SCHILY.xattr.{attribute}"), value(at, &attribute)?));
            }
        }
        match kind {
            FileType::CharacterDevice if self.layer && about.st_rdev == 0 => {
                header.set_entry_type(EntryType::Regular);
                let file = path.file_name().unwrap_or_default().as_bytes();
                name =
                    path.parent().unwrap_or(Path::new("")).join(std::ffi::OsString::from_vec([b".wh.", file].concat())).into_os_string().into_vec();
            }
            FileType::RegularFile => match self.links.get(&(about.st_dev, about.st_ino)).filter(|_| about.st_nlink > 1) {
                Some(first) => {
                    header.set_entry_type(EntryType::Link);
                    link(&mut header, &mut pax, first.as_os_str().as_bytes());
                }
                None => {
                    self.links.insert((about.st_dev, about.st_ino), path.to_owned());
                    header.set_entry_type(EntryType::Regular);
                    size = u64::try_from(about.st_size).unwrap_or(0);
                    if size > 0o777_7777_7777 {
                        pax.push(("size".to_owned(), size.to_string().into_bytes()));
                    }
                }
            },
            FileType::Directory => {
                header.set_entry_type(EntryType::Directory);
                if !name.ends_with(b"/") {
                    name.push(b'/');
                }
            }
            FileType::Symlink => {
                header.set_entry_type(EntryType::Symlink);
                link(&mut header, &mut pax, std::fs::read_link(at)?.as_os_str().as_bytes());
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                header.set_entry_type(if kind == FileType::CharacterDevice { EntryType::Char } else { EntryType::Block });
                header.set_device_major(fs::major(about.st_rdev))?;
                header.set_device_minor(fs::minor(about.st_rdev))?;
            }
            FileType::Fifo => header.set_entry_type(EntryType::Fifo),
            _ => return Ok(()),
        }
        self.write(&mut header, pax, &name, size, at)?;
        if opaque {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o600);
            name.extend_from_slice(b".wh..wh..opq");
            self.write(&mut header, Vec::new(), &name, 0, at)?;
        }
        Ok(())
    }

    fn write(&mut self, header: &mut Header, mut pax: Vec<(String, Vec<u8>)>, name: &[u8], size: u64, at: &Path) -> io::Result<()> {
        match header.as_old_mut().name.get_mut(..name.len()) {
            Some(field) => field.copy_from_slice(name),
            None => pax.push(("path".to_owned(), name.to_vec())),
        }
        header.set_size(size);
        header.set_cksum();
        if !pax.is_empty() {
            self.builder.append_pax_extensions(pax.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        }
        if size == 0 {
            return self.builder.append(header, io::empty());
        }
        // A file that grows meanwhile is cut, one that shrinks is filled up: the archive stays one.
        self.builder.append(header, io::Read::take(io::Read::chain(File::open(at)?, io::repeat(0)), size))
    }
}

fn link(header: &mut Header, pax: &mut Vec<(String, Vec<u8>)>, target: &[u8]) {
    match header.as_old_mut().linkname.get_mut(..target.len()) {
        Some(field) => field.copy_from_slice(target),
        None => pax.push(("linkpath".to_owned(), target.to_vec())),
    }
}

/// Names of the extended attributes; none where the file system has none.
fn names(at: &Path) -> io::Result<Vec<String>> {
    let mut buffer = vec![0; 64 << 10];
    match fs::llistxattr(at, buffer.as_mut_slice()) {
        Ok(n) => Ok(buffer
            .get(..n)
            .unwrap_or_default()
            .split(|b| *b == 0)
            .filter(|n| !n.is_empty())
            .map(|n| String::from_utf8_lossy(n).into_owned())
            .collect()),
        Err(Errno::NOTSUP) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn value(at: &Path, name: &str) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 64 << 10];
    let n = fs::lgetxattr(at, name, buffer.as_mut_slice())?;
    buffer.truncate(n);
    Ok(buffer)
}
