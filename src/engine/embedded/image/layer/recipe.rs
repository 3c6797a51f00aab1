//! What an archive has besides the content of its files, so that the very same archive can be made from the folder that
//! it became: its digest is part of the image's.
//!
//! A recipe is packed with gzip. It has records: `r`, a length in 4 bytes, that many bytes of the archive; `f`, a length in
//! 2 bytes, a path of that length, a size in 8 bytes: here the archive has the content of that file. All numbers are little
//! endian.

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

/// Writes a recipe.
pub struct Recorder {
    out: GzEncoder<BufWriter<File>>,
    pending: Vec<u8>,
}

/// Bytes of an archive that are kept before they are written.
const PENDING: usize = 64 << 10;

impl Recorder {
    /// Into a new file.
    pub fn new(file: File) -> Self {
        Self { out: GzEncoder::new(BufWriter::new(file), Compression::fast()), pending: Vec::with_capacity(PENDING) }
    }

    /// Bytes of the archive.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(PENDING) {
            if self.pending.len() + chunk.len() > PENDING {
                self.flush()?;
            }
            self.pending.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// Content of a file.
    pub fn file(&mut self, path: &[u8], size: u64) -> io::Result<()> {
        self.flush()?;
        let length = u16::try_from(path.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))?;
        self.out.write_all(b"f")?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(path)?;
        self.out.write_all(&size.to_le_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let length = u32::try_from(self.pending.len()).map_err(io::Error::other)?;
        self.out.write_all(b"r")?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// The end.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.out.finish()?.into_inner().map_err(io::IntoInnerError::into_error).map(drop)
    }
}

/// Writes the archive whose recipe is `recipe`, with the files below `folder`.
///
/// # Errors
/// They can't be read; they are not what they were; `out` can't be written.
pub fn replay(recipe: &Path, folder: &Path, out: &mut impl Write) -> io::Result<()> {
    let root = super::tree::Tree::open(folder)?;
    let mut recipe = BufReader::new(GzDecoder::new(BufReader::new(File::open(recipe)?)));
    let mut kind = [0];
    while recipe.read(&mut kind)? == 1 {
        if kind == *b"r" {
            let mut length = [0; 4];
            recipe.read_exact(&mut length)?;
            let length = u64::from(u32::from_le_bytes(length));
            if io::copy(&mut recipe.by_ref().take(length), out)? != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            continue;
        }
        let (mut length, mut size) = ([0; 2], [0; 8]);
        recipe.read_exact(&mut length)?;
        let mut path = vec![0; usize::from(u16::from_le_bytes(length))];
        recipe.read_exact(&mut path)?;
        recipe.read_exact(&mut size)?;
        let size = u64::from_le_bytes(size);
        let file = File::from(root.open_at(&path, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty())?);
        if io::copy(&mut file.take(size), out)? != size {
            return Err(io::Error::other(format!("{} in the image store is shorter than it was", String::from_utf8_lossy(&path))));
        }
    }
    Ok(())
}
