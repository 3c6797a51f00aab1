//! Images in files and folders, for engines that keep images themselves and know nothing of such references: the name
//! under which one of them keeps such an image, and the archive that it takes.

use super::archive::Parcel;
use super::layer::pack;
use super::name::{Name, Platform};
use super::store::Stamp;
use super::{Limits, unusable};
use crate::engine::embedded::record::failed;
use crate::world::EngineError;
use rustix::fs::{AtFlags, CWD, FileType, statat};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// An image of a file or a folder as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    name: Name,
    /// `localhost/consort/NAME-PATH`: the same for every state of the file.
    pub repository: String,
    /// Says which state: of a file that has changed it is another.
    pub tag: String,
}

/// Begins the names under which such images are kept.
const REPOSITORY: &str = "localhost/consort";

impl Elsewhere {
    /// Of a reference like `docker-archive:FILE`; none of one that is in a registry. A folder is looked through, which takes
    /// some time.
    ///
    /// # Errors
    /// It can't be read; `rootfs:/`, which no engine is given.
    pub fn of(reference: &str) -> Result<Option<Self>, EngineError> {
        let name = Name::parse(reference)?;
        let (path, stamp) = match &name {
            Name::Registry(_) => return Ok(None),
            Name::Directory(folder) if folder == Path::new("/") => return Err(whole_machine()),
            Name::Directory(folder) => (folder, folder_stamp(folder)),
            Name::DockerArchive(path, _) | Name::OciDirectory(path, _) | Name::OciArchive(path, _) => (path, Stamp::of(path).map(|s| hex(&s))),
        };
        let stamp = stamp.map_err(|e| failed(&format!("{} can't be read", path.display()), &e))?;
        let base = path.file_name().map_or_else(|| "image".into(), |n| n.to_string_lossy().to_ascii_lowercase());
        let base: String = base.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).take(40).collect();
        let base = Some(base.trim_matches('-')).filter(|b| !b.is_empty()).unwrap_or("image").to_owned();
        let short = |text: &str| text.chars().take(12).collect::<String>();
        let repository = format!("{REPOSITORY}/{base}-{}", short(&hex(&name.to_string())));
        Ok(Some(Self { repository, tag: short(&stamp), name }))
    }

    /// The whole name.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }

    /// Whether it is a folder of files, and no image.
    pub fn is_folder(&self) -> bool {
        matches!(self.name, Name::Directory(_))
    }

    /// Writes it: an archive as `docker save` makes them, or of a folder one of its files. Takes long.
    ///
    /// # Errors
    /// It can't be read, it has no such image; `out` can't be written.
    pub fn write(&self, platform: Option<&str>, limits: &Limits, scratch: &Path, out: &mut dyn Write) -> Result<(), EngineError> {
        let Name::Directory(folder) = &self.name else {
            return Parcel::open(&self.name, &Platform::wanted(platform)?, limits, scratch)?.write(&self.reference(), out);
        };
        let mut out = out;
        pack(folder, false, &mut out).and_then(|()| out.flush()).map_err(|e| failed(&format!("{} can't be sent", folder.display()), &e))
    }
}

/// Why the machine itself is given to no engine.
pub fn whole_machine() -> EngineError {
    unusable("rootfs:/ is this whole machine, which is not copied into another engine".to_owned())
        .because("the embedded engine boots it where it is; else name a folder that has a root file system")
}

fn hex(value: &impl std::fmt::Debug) -> String {
    Sha256::digest(format!("{value:?}").as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// What changes when anything in a folder does: names, kinds, owners, sizes and times of everything on its file system.
fn folder_stamp(folder: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut open = vec![PathBuf::new()];
    let mut home = None;
    while let Some(path) = open.pop() {
        let at = folder.join(&path);
        let about = match statat(CWD, &at, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) if !path.as_os_str().is_empty() => continue,
            about => about?,
        };
        let device = *home.get_or_insert(about.st_dev);
        let seconds = (about.st_mtime, about.st_mtime_nsec, about.st_ctime, about.st_ctime_nsec);
        hash.update(format!("{path:?} {:o} {} {} {} {seconds:?}\n", about.st_mode, about.st_uid, about.st_gid, about.st_size));
        if FileType::from_raw_mode(about.st_mode) == FileType::Directory && about.st_dev == device {
            let mut below = std::fs::read_dir(&at)?.map(|e| e.map(|e| path.join(e.file_name()))).collect::<io::Result<Vec<_>>>()?;
            below.sort();
            open.extend(below);
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_what_they_are_of() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("My_Root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::write(root.join("bin/sh"), "x").unwrap();
        let name = |text: &str| Elsewhere::of(text).unwrap().unwrap();
        let reference = format!("rootfs:{}", root.display());
        let first = name(&reference);
        assert!(first.is_folder() && first.repository.starts_with("localhost/consort/my-root-"), "{first:?}");
        assert_eq!(name(&reference), first);
        std::fs::write(root.join("bin/sh"), "xy").unwrap();
        let second = name(&reference);
        assert_eq!(second.repository, first.repository);
        assert_ne!(second.tag, first.tag);
        assert!(super::super::Tagged::parse(&second.reference()).is_ok());
        let archive = folder.path().join("a.tar");
        assert!(Elsewhere::of(&format!("docker-archive:{}", archive.display())).is_err());
        std::fs::write(&archive, "").unwrap();
        let all = format!("docker-archive:{}", archive.display());
        assert_ne!(name(&all).repository, name(&format!("{all}:app:1")).repository);
        assert_eq!(Elsewhere::of("nginx:alpine"), Ok(None));
        assert!(Elsewhere::of("rootfs:/").unwrap_err().to_string().contains("whole machine"));
    }

    #[test]
    fn a_folder_is_packed_without_what_is_mounted_in_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/one"), "1").unwrap();
        let mut out = Vec::new();
        let elsewhere = Elsewhere::of(&format!("rootfs:{}", folder.path().display())).unwrap().unwrap();
        elsewhere.write(None, &Limits::default(), Path::new("/tmp"), &mut out).unwrap();
        let mut archive = tar::Archive::new(out.as_slice());
        let paths: Vec<String> = archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(paths, ["./", "etc/", "etc/one"]);
    }
}
