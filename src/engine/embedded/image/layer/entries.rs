//! Entries of a tar archive (POSIX.1-2024 `pax`, section "Extended Description"; GNU tar manual, "Standard Format" and
//! "Storing Sparse Files"), read one after the other from a stream that nobody vouches for.

use super::recipe::Recorder;
use std::collections::BTreeMap;
use std::io::{self, Read};
use tar::{EntryType, GnuExtSparseHeader, Header};

/// Size of a block.
const BLOCK: usize = 512;

/// Most that a description of an entry besides its header may have: a long name, extended attributes.
const DESCRIPTION: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

/// An entry.
#[derive(Debug)]
pub struct Entry {
    pub kind: Kind,
    /// As it is written there.
    pub path: Vec<u8>,
    /// Where a link leads.
    pub link: Vec<u8>,
    /// Permissions, with the bits for set-user-id, set-group-id and sticky.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Of a device.
    pub major: u32,
    pub minor: u32,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the file.
    pub size: u64,
    /// Pieces of a file with holes: where each begins, and how long it is.
    pub pieces: Option<Vec<(u64, u64)>>,
    /// Bytes in the archive that are not read yet.
    left: u64,
    /// What fills its last block up.
    padding: u64,
}

/// Entries of an archive.
pub struct Entries<R> {
    reader: R,
    /// Notes down what isn't content of files.
    pub recorder: Option<Recorder>,
}

impl<R: Read> Entries<R> {
    pub fn new(reader: R, recorder: Option<Recorder>) -> Self {
        Self { reader, recorder }
    }

    /// The next entry; none at the end of the archive, which is then read to its last byte. Content of the one before
    /// must have been read.
    pub fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut pax = BTreeMap::new();
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let Some(header) = self.header()? else {
                if pax.is_empty() && long_name.is_none() && long_link.is_none() {
                    self.drain()?;
                    return Ok(None);
                }
                return Err(broken("it ends where an entry was announced"));
            };
            let kind = header.entry_type();
            match kind {
                EntryType::XHeader => pax = records(&self.description(&header)?)?,
                // Docker takes no notice of what is said of all entries at once (git writes the commit there).
                EntryType::XGlobalHeader => drop(self.description(&header)?),
                EntryType::GNULongName => long_name = Some(text(self.description(&header)?)),
                EntryType::GNULongLink => long_link = Some(text(self.description(&header)?)),
                _ => return self.entry(&header, pax, long_name, long_link).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        mut pax: BTreeMap<Vec<u8>, Vec<u8>>,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> io::Result<Entry> {
        let mut take = |key: &str| pax.remove(key.as_bytes());
        let mut path = long_name.or_else(|| take("path")).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = long_link.or_else(|| take("linkpath")).or_else(|| header.link_name_bytes().map(|l| l.into_owned())).unwrap_or_default();
        let name = String::from_utf8_lossy(&path).into_owned();
        let kind = match header.entry_type() {
            EntryType::Regular if header.as_bytes().get(156) == Some(&0) && path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Link => Kind::HardLink,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Char => Kind::Character,
            EntryType::Block => Kind::Block,
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Fifo,
            other => return Err(broken(&format!("{name} is of the unknown type {:?}", char::from(other.as_byte())))),
        };
        let number = |bytes: Option<Vec<u8>>, key: &str| match bytes {
            Some(bytes) => decimal(&bytes).map(Some).ok_or_else(|| broken(&format!("{key} of {name} is no number"))),
            None => Ok(None),
        };
        let stored = number(take("size"), "size")?.map_or_else(|| field(header, 124..136, header.entry_size()), Ok)?;
        // What has no content has none, whatever is said.
        let stored = if kind == Kind::File { stored } else { 0 };
        if stored > i64::MAX as u64 {
            return Err(broken(&format!("{name} is larger than anything")));
        }
        let device = matches!(kind, Kind::Character | Kind::Block);
        let mut entry = Entry {
            kind,
            path: Vec::new(),
            link,
            mode: field(header, 100..108, header.mode())? & 0o7777,
            uid: number(take("uid"), "uid")?.map_or_else(|| field(header, 108..116, header.uid()), Ok)?,
            gid: number(take("gid"), "gid")?.map_or_else(|| field(header, 116..124, header.gid()), Ok)?,
            mtime: match take("mtime") {
                Some(text) => time(&text).ok_or_else(|| broken(&format!("mtime of {name} is no time")))?,
                None => (i64::try_from(field(header, 136..148, header.mtime())?).unwrap_or(0), 0),
            },
            major: if device { header.device_major()?.unwrap_or(0) } else { 0 },
            minor: if device { header.device_minor()?.unwrap_or(0) } else { 0 },
            xattrs: Vec::new(),
            size: stored,
            pieces: None,
            left: stored,
            padding: stored.next_multiple_of(BLOCK as u64) - stored,
        };
        if header.entry_type() == EntryType::GNUSparse {
            entry.pieces = Some(self.old_pieces(header)?);
            entry.size = header.as_gnu().ok_or_else(|| broken("a sparse file needs a header of GNU tar"))?.real_size()?;
        } else if let Some(map) = take("GNU.sparse.map") {
            entry.pieces = Some(pairs(&map.split(|b| *b == b',').map(decimal).collect::<Option<Vec<u64>>>().unwrap_or_default()));
            entry.size = number(take("GNU.sparse.size").or_else(|| take("GNU.sparse.realsize")), "GNU.sparse.size")?.unwrap_or(0);
            path = take("GNU.sparse.name").unwrap_or(path);
        } else if take("GNU.sparse.major").as_deref() == Some(b"1") {
            entry.size = number(take("GNU.sparse.realsize"), "GNU.sparse.realsize")?.unwrap_or(0);
            path = take("GNU.sparse.name").unwrap_or(path);
            entry.pieces = Some(self.new_pieces(&mut entry)?);
        } else if take("GNU.sparse.numblocks").is_some() {
            return Err(broken(&format!("{name} is a sparse file in a format that nobody writes any more")));
        }
        if let Some(pieces) = &entry.pieces {
            let mut end = 0_u64;
            let mut total = 0_u64;
            for (offset, length) in pieces {
                if *offset < end || offset.checked_add(*length).is_none_or(|e| e > entry.size) {
                    return Err(broken(&format!("the pieces of {name} don't lie one after the other")));
                }
                end = offset + length;
                total += length;
            }
            if total != entry.left {
                return Err(broken(&format!("the pieces of {name} are not all there")));
            }
        }
        entry.path = path;
        entry.xattrs = pax.into_iter().filter_map(|(key, value)| Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value))).collect();
        Ok(entry)
    }

    /// Up to a buffer full of an entry's content; 0 at its end.
    pub fn content(&mut self, entry: &mut Entry, buffer: &mut [u8]) -> io::Result<usize> {
        if entry.left == 0 {
            let padding = std::mem::take(&mut entry.padding);
            self.raw(usize::try_from(padding).unwrap_or(0))?;
            return Ok(0);
        }
        let most = usize::try_from(entry.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.reader.read(buffer.get_mut(..most).unwrap_or_default())?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        entry.left -= n as u64;
        if entry.pieces.is_some()
            && let Some(recorder) = &mut self.recorder
        {
            // The file will have its holes; what is in the archive can't be told from it.
            recorder.raw(buffer.get(..n).unwrap_or_default())?;
        }
        Ok(n)
    }

    /// A header; none at the end of the archive.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(header.as_mut_bytes().get_mut(filled..).unwrap_or_default())? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        self.record(header.as_bytes())?;
        if header.as_bytes().iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let bytes = header.as_bytes();
        // The field of the sum counts as blanks.
        let sum: u32 = bytes.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) }).sum();
        if header.cksum().ok() != Some(sum) {
            return Err(broken("the checksum of an entry doesn't fit: it is damaged, or no archive"));
        }
        Ok(Some(header))
    }

    /// What describes the next entry.
    fn description(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        let size = header.entry_size()?;
        if size > DESCRIPTION {
            return Err(broken(&format!("an entry is described in {size} bytes, and {DESCRIPTION} are allowed")));
        }
        let size = usize::try_from(size).unwrap_or(0);
        let mut bytes = self.raw(size.next_multiple_of(BLOCK))?;
        bytes.truncate(size);
        Ok(bytes)
    }

    /// That many bytes, noted down.
    fn raw(&mut self, size: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        self.reader.read_exact(&mut bytes)?;
        self.record(&bytes)?;
        Ok(bytes)
    }

    fn record(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.recorder.as_mut().map_or(Ok(()), |r| r.raw(bytes))
    }

    /// Whatever comes after the end.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; super::stream::CHUNK];
        loop {
            match self.reader.read(&mut buffer)? {
                0 => return Ok(()),
                n => self.record(buffer.get(..n).unwrap_or_default())?,
            }
        }
    }

    /// Pieces of a sparse file, as the headers of GNU tar list them.
    fn old_pieces(&mut self, header: &Header) -> io::Result<Vec<(u64, u64)>> {
        let gnu = header.as_gnu().ok_or_else(|| broken("a sparse file needs a header of GNU tar"))?;
        let mut pieces = Vec::new();
        let mut add = |blocks: &[tar::GnuSparseHeader]| {
            for block in blocks.iter().filter(|b| !b.is_empty()) {
                pieces.push((block.offset()?, block.length()?));
            }
            if pieces.len() as u64 * 24 > DESCRIPTION { Err(broken("a sparse file has too many pieces")) } else { Ok(()) }
        };
        add(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut extension = GnuExtSparseHeader::new();
            self.reader.read_exact(extension.as_mut_bytes())?;
            if let Some(recorder) = &mut self.recorder {
                recorder.raw(extension.as_bytes())?;
            }
            add(extension.sparse())?;
            more = extension.is_extended();
        }
        Ok(pieces)
    }

    /// Pieces of a sparse file, as they are listed before its content.
    fn new_pieces(&mut self, entry: &mut Entry) -> io::Result<Vec<(u64, u64)>> {
        let short = || broken("the list of a sparse file's pieces breaks off");
        let (mut numbers, mut digits, mut wanted) = (Vec::new(), Vec::new(), None);
        let mut taken = 0;
        while wanted.is_none_or(|w| numbers.len() < w) {
            entry.left = entry.left.checked_sub(BLOCK as u64).ok_or_else(short)?;
            taken += BLOCK as u64;
            if taken > DESCRIPTION {
                return Err(broken("a sparse file has too many pieces"));
            }
            for byte in self.raw(BLOCK)? {
                if wanted.is_some_and(|w| numbers.len() >= w) {
                    break;
                }
                if byte != b'\n' {
                    digits.push(byte);
                    continue;
                }
                let number = decimal(&std::mem::take(&mut digits)).ok_or_else(short)?;
                match wanted {
                    None => wanted = Some(usize::try_from(number).ok().and_then(|n| n.checked_mul(2)).ok_or_else(short)?),
                    Some(_) => numbers.push(number),
                }
            }
        }
        Ok(pairs(&numbers))
    }
}

fn pairs(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.chunks_exact(2).filter_map(|p| Some((*p.first()?, *p.get(1)?))).collect()
}

/// A number of the header; one that is left blank is 0.
fn field<T: Default>(header: &Header, at: std::ops::Range<usize>, number: io::Result<T>) -> io::Result<T> {
    let blank = header.as_bytes().get(at).is_some_and(|f| f.iter().all(|b| matches!(b, 0 | b' ')));
    if blank { Ok(T::default()) } else { number }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A name without the zero that ends it.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn decimal(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// `SECONDS[.FRACTION]`.
fn time(bytes: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse::<u32>().ok()?;
    let whole: i64 = seconds.parse().ok()?;
    // A fraction counts away from zero as it is written, and upwards as the kernel has it.
    if seconds.starts_with('-') && nanoseconds > 0 { Some((whole.checked_sub(1)?, 1_000_000_000 - nanoseconds)) } else { Some((whole, nanoseconds)) }
}

/// Records of an extended header: `LENGTH KEY=VALUE\n`, where a value may be any bytes.
fn records(mut bytes: &[u8]) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let bad = || broken("an extended header can't be understood");
    let mut all = BTreeMap::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|b| *b == b' ').ok_or_else(bad)?;
        let length = bytes.get(..blank).and_then(decimal).and_then(|n| usize::try_from(n).ok()).ok_or_else(bad)?;
        let record = bytes.get(blank + 1..length).and_then(|r| r.strip_suffix(b"\n")).ok_or_else(bad)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        let (key, value) = record.split_at(equals);
        all.insert(key.to_vec(), value.get(1..).unwrap_or_default().to_vec());
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_extended_headers_are_any_bytes() {
        let all = records(b"13 a=b\nc=d\0e\n13 mtime=1.5\n").unwrap();
        assert_eq!(all.get(b"a".as_slice()).map(Vec::as_slice), Some(b"b\nc=d\0e".as_slice()));
        assert_eq!(time(all.get(b"mtime".as_slice()).unwrap()), Some((1, 500_000_000)));
        for bad in [b"5 a=b".as_slice(), b"x a=b\n", b"6 ab.\n", b"999 a=b\n", b"0 a=b\n", b"18446744073709551616 a=b\n"] {
            assert!(records(bad).is_err(), "{bad:?}");
        }
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"1.123456789123"), Some((1, 123_456_789)));
        assert_eq!(time(b"soon"), None);
    }
}
