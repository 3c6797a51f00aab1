//! An archive becomes a folder in the form that overlayfs wants.

use super::entries::{Entries, Entry, Kind};
use super::recipe::Recorder;
use super::tree::{self, Attributes, Place, Tree};
use super::{Limits, stream};
use crate::engine::embedded::record;
use crate::world::{EngineError, ErrorKind};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of all files.
    pub size: u64,
    /// The recipe makes the same archive again. It doesn't if a file was there twice.
    pub repeatable: bool,
    /// Nothing of the layers below is seen.
    pub opaque: bool,
}

/// Unpacks an archive into an empty folder. A layer's marks for what it removes (OCI image specification, "Whiteouts")
/// become those of overlayfs. The stream is read to its end. The recipe, see [`super::recipe`], is written on the way.
///
/// # Errors
/// What is no archive; what leads out of the folder; what is too much; no room.
pub fn unpack(archive: impl Read, folder: &Path, recipe: Option<File>, limits: &Limits) -> Result<Unpacked, EngineError> {
    let tree = Tree::open(folder).map_err(|e| record::failed(&format!("{} can't be opened", folder.display()), &e))?;
    let entries = Entries::new(archive, recipe.map(Recorder::new));
    let result = Unpacked { size: 0, repeatable: true, opaque: false };
    let mut unpacker = Unpacker { tree, entries, limits, result, count: 0, directories: BTreeMap::new(), buffer: vec![0; stream::CHUNK] };
    unpacker.all()?;
    if let Some(recorder) = unpacker.entries.recorder.take() {
        recorder.finish().map_err(|e| explain("the recipe of a layer can't be written", &e))?;
    }
    Ok(unpacker.result)
}

/// The error of a stream: the one of ours that caused it, or what happened, in words.
pub fn explain(what: &str, error: &io::Error) -> EngineError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(|e| e.get_ref());
        if let Some(own) = inner.and_then(|e| e.downcast_ref::<EngineError>()).or_else(|| error.downcast_ref()) {
            return own.clone();
        }
        cause = inner.map(|e| e as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => EngineError::new(ErrorKind::Protocol, what).because("it breaks off"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            EngineError::new(ErrorKind::Protocol, what).because(error.to_string())
        }
        _ => record::failed(what, error),
    }
}

struct Unpacker<'l, R> {
    tree: Tree,
    entries: Entries<R>,
    limits: &'l Limits,
    result: Unpacked,
    count: u64,
    /// Permissions and times of folders are set at the end: what comes into them changes the ones, and can't pass the
    /// others.
    directories: BTreeMap<Vec<u8>, (u32, (i64, u32))>,
    buffer: Vec<u8>,
}

impl<R: Read> Unpacker<'_, R> {
    fn all(&mut self) -> Result<(), EngineError> {
        while let Some(mut entry) = self.entries.next().map_err(|e| explain("the layer's archive can't be read", &e))? {
            self.count += 1;
            if self.count > self.limits.entries {
                return Err(Limits::exceeded("more entries than", self.limits.entries, "CONSORT_LAYER_MAX_ENTRIES"));
            }
            self.one(&mut entry)
                .map_err(|e| explain(&format!("the layer's entry `{}` can't be unpacked", String::from_utf8_lossy(&entry.path)), &e))?;
        }
        self.finish().map_err(|e| explain("the layer can't be unpacked", &e))
    }

    fn one(&mut self, entry: &mut Entry) -> io::Result<()> {
        let path = tree::clean(&entry.path)?;
        let (folder, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
            None => (b"".as_slice(), path.as_slice()),
        };
        if path.is_empty() {
            if entry.kind != Kind::Directory {
                return Err(invalid("it is the root, and not a folder"));
            }
            tree::describe(self.tree.root(), &attributes(entry, entry.mode))?;
            self.directories.insert(path, (entry.mode, entry.mtime));
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            self.whiteout(folder, hidden)?;
            while self.entries.content(entry, &mut self.buffer)? > 0 {}
            return Ok(());
        }
        let place = self.tree.place(&path)?;
        let existing = Tree::kind(&place)?;
        let hidden = existing == Some(FileType::CharacterDevice) && Tree::is_whiteout(&place);
        if entry.kind == Kind::Directory {
            if existing.is_some_and(|e| e != FileType::Directory) {
                self.clear(&place, hidden)?;
            }
            let folder = Tree::directory(&place)?;
            if hidden {
                // Removed and made anew: what the layers below have in it is gone.
                tree::make_opaque(folder.as_fd())?;
            }
            tree::describe(folder.as_fd(), &attributes(entry, entry.mode | 0o700))?;
            self.directories.insert(path, (entry.mode, entry.mtime));
            return Ok(());
        }
        if entry.kind == Kind::HardLink {
            return self.hard_link(entry, &path, &place, existing, hidden);
        }
        if existing.is_some() {
            self.clear(&place, hidden)?;
        }
        match entry.kind {
            Kind::Symlink => Tree::symlink(&place, &entry.link)?,
            Kind::Character | Kind::Block | Kind::Fifo => Tree::node(&place, entry.kind, entry.major, entry.minor)?,
            _ => {
                let mut file = File::from(Tree::file(&place)?);
                self.content(entry, &path, &mut file)?;
                return tree::describe(file.as_fd(), &attributes(entry, entry.mode));
            }
        }
        Tree::describe(&place, &attributes(entry, entry.mode), entry.kind == Kind::Symlink)
    }

    /// Makes room at a place.
    fn clear(&mut self, place: &Place, hidden: bool) -> io::Result<()> {
        self.result.repeatable &= hidden;
        self.tree.remove(place)
    }

    /// A mark that `name` is removed from the layers below; what this very layer has stays (OCI image specification,
    /// "Whiteouts").
    fn whiteout(&mut self, folder: &[u8], name: &[u8]) -> io::Result<()> {
        let inside = |name: &[u8]| if folder.is_empty() { name.to_vec() } else { [folder, name].join(&b'/') };
        if name == b".wh..opq" {
            if folder.is_empty() {
                self.result.opaque = true;
                return Ok(());
            }
            let place = self.tree.place(folder)?;
            return tree::make_opaque(Tree::directory(&place)?.as_fd());
        }
        if name.starts_with(b".wh.") {
            // Notes of a storage driver of old (AUFS), which mean nothing to others.
            return Ok(());
        }
        if matches!(name, b"" | b"." | b"..") {
            return Err(invalid("it removes nothing that has a name"));
        }
        let place = self.tree.place(&inside(name))?;
        match Tree::kind(&place)? {
            None => Tree::whiteout(&place),
            Some(FileType::Directory) => tree::make_opaque(Tree::directory(&place)?.as_fd()),
            Some(_) => Ok(()),
        }
    }

    fn hard_link(&mut self, entry: &Entry, path: &[u8], place: &Place, existing: Option<FileType>, hidden: bool) -> io::Result<()> {
        let link = tree::clean(&entry.link)?;
        if link == path {
            return Ok(());
        }
        let absent = || invalid(&format!("it is a hard link to `{}`, which isn't there", String::from_utf8_lossy(&entry.link)));
        let target = self.tree.find(&link)?.ok_or_else(absent)?;
        match Tree::kind(&target)? {
            None => return Err(absent()),
            Some(FileType::Directory) => return Err(invalid("it is a hard link to a folder")),
            Some(_) => {}
        }
        if existing.is_some() {
            self.clear(place, hidden)?;
        }
        Tree::hard_link(&target, place)
    }

    /// Writes a file.
    fn content(&mut self, entry: &mut Entry, path: &[u8], file: &mut File) -> io::Result<()> {
        self.result.size = self.result.size.saturating_add(entry.size);
        if self.result.size > self.limits.size {
            return Err(io::Error::other(Limits::exceeded("more bytes than", self.limits.size, "CONSORT_LAYER_MAX_SIZE")));
        }
        let Some(pieces) = entry.pieces.clone() else {
            if let Some(recorder) = self.entries.recorder.as_mut().filter(|_| entry.size > 0) {
                recorder.file(path, entry.size)?;
            }
            loop {
                match self.entries.content(entry, &mut self.buffer)? {
                    0 => return Ok(()),
                    n => file.write_all(self.buffer.get(..n).unwrap_or_default())?,
                }
            }
        };
        for (offset, mut length) in pieces {
            file.seek(SeekFrom::Start(offset))?;
            while length > 0 {
                let most = usize::try_from(length).unwrap_or(usize::MAX).min(self.buffer.len());
                let piece = self.buffer.get_mut(..most).unwrap_or_default();
                let n = self.entries.content(entry, piece)?;
                if n == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                file.write_all(piece.get(..n).unwrap_or_default())?;
                length -= n as u64;
            }
        }
        while self.entries.content(entry, &mut self.buffer)? > 0 {}
        file.set_len(entry.size)
    }

    fn finish(&mut self) -> io::Result<()> {
        for (path, (mode, mtime)) in std::mem::take(&mut self.directories) {
            let folder = match self.tree.open_at(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(folder) => folder,
                // Something else came in its place later.
                Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => continue,
                Err(error) => return Err(error),
            };
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode))?;
            rustix::fs::futimens(&folder, &tree::stamps(mtime))?;
        }
        Ok(())
    }
}

fn attributes(entry: &Entry, mode: u32) -> Attributes<'_> {
    Attributes { mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs: &entry.xattrs }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
