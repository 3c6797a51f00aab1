//! Streams of bytes on their way into a layer: unpacked, counted, hashed.

use super::Limits;
use crate::world::{EngineError, ErrorKind};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes taken at once.
pub const CHUNK: usize = 64 << 10;

/// A reader whose bytes are counted and hashed.
pub struct Hashed<R> {
    inner: R,
    hash: Sha256,
    count: u64,
}

impl<R: Read> Hashed<R> {
    /// Nothing read yet.
    pub fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), count: 0 }
    }

    /// Digest of what was read, `sha256:…`, and how much that was.
    pub fn finish(self) -> (String, u64) {
        (digest(self.hash), self.count)
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..n).unwrap_or_default());
        self.count += n as u64;
        Ok(n)
    }
}

/// `sha256:…`.
pub fn digest(hash: Sha256) -> String {
    hash.finalize().iter().fold("sha256:".to_owned(), |text, b| text + &format!("{b:02x}"))
}

/// `sha256:…` of some bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    digest(Sha256::new_with_prefix(bytes))
}

/// A reader that counts, for others to see.
pub struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Whatever `reader` has, unpacked: gzip, zstd or neither, as its first bytes say.
///
/// # Errors
/// It can't be read; it is packed in a way that isn't known.
pub fn decoded<'a>(reader: impl Read + 'a, limits: &Limits) -> io::Result<Box<dyn Read + 'a>> {
    let count = Arc::new(AtomicU64::new(0));
    let mut reader = BufReader::with_capacity(CHUNK, Counted { inner: reader, count: Arc::clone(&count) });
    let start = reader.fill_buf()?;
    let unknown = |how: &str| {
        let what = format!("it is packed with {how}, and only gzip and zstd are known");
        Err(io::Error::other(EngineError::new(ErrorKind::Unsupported, what)))
    };
    let inner: Box<dyn Read> = match start {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(reader)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Box::new(Zstd::new(reader)?),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return unknown("xz"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => return unknown("bzip2"),
        _ => return Ok(Box::new(reader)),
    };
    Ok(Box::new(Dense { inner, packed: count, unpacked: 0, ratio: limits.ratio }))
}

/// Ends what is packed more densely than anything sensible.
struct Dense<R> {
    inner: R,
    packed: Arc<AtomicU64>,
    unpacked: u64,
    ratio: u64,
}

impl<R: Read> Read for Dense<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.unpacked += n as u64;
        let allowed = self.packed.load(Ordering::Relaxed).saturating_mul(self.ratio);
        if self.unpacked > Limits::RATIO_FROM.max(allowed) {
            let what = "more unpacked bytes per packed one than";
            return Err(io::Error::other(Limits::exceeded(what, self.ratio, "CONSORT_LAYER_MAX_RATIO")));
        }
        Ok(n)
    }
}

/// Frames of zstd, one after the other; those that are to be skipped are (RFC 8878, section 3.1).
struct Zstd<R: Read> {
    state: State<R>,
}

/// A reader whose first bytes were looked at.
type Peeked<R> = io::Chain<io::Cursor<[u8; 4]>, R>;

enum State<R: Read> {
    Between(R, Box<FrameDecoder>),
    Within(Box<StreamingDecoder<Peeked<R>, Box<FrameDecoder>>>),
    Over,
}

/// Header of a frame of nothing (RFC 8878, section 3.1.1).
const NOTHING: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00];

impl<R: BufRead> Zstd<R> {
    fn new(reader: R) -> io::Result<Self> {
        let mut decoder = Box::new(FrameDecoder::new());
        // A decoder holds the memory that a frame asks for against a limit from its second frame on only.
        decoder.init(NOTHING.as_slice()).map_err(io::Error::other)?;
        Ok(Self { state: State::Between(reader, decoder) })
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Ok(0),
                State::Between(mut reader, decoder) => {
                    if reader.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    self.state = enter(reader, decoder)?;
                }
                State::Within(mut frame) => {
                    let n = frame.read(buffer)?;
                    if n > 0 || buffer.is_empty() {
                        self.state = State::Within(frame);
                        return Ok(n);
                    }
                    let (reader, decoder) = frame.into_parts();
                    self.state = State::Between(reader.into_inner().1, decoder);
                }
            }
        }
    }
}

/// Enters a frame, or skips it.
fn enter<R: BufRead>(mut reader: R, decoder: Box<FrameDecoder>) -> io::Result<State<R>> {
    let mut magic = [0; 4];
    reader.read_exact(&mut magic)?;
    if matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18]) {
        let mut length = [0; 4];
        reader.read_exact(&mut length)?;
        io::copy(&mut reader.by_ref().take(u32::from_le_bytes(length).into()), &mut io::sink())?;
        return Ok(State::Between(reader, decoder));
    }
    StreamingDecoder::new_with_decoder(io::Cursor::new(magic).chain(reader), decoder).map(|f| State::Within(Box::new(f))).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn read(packed: &[u8], limits: &Limits) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        decoded(packed, limits)?.read_to_end(&mut all)?;
        Ok(all)
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// A frame with one block that isn't packed.
    fn zstd(plain: &[u8]) -> Vec<u8> {
        let size = u8::try_from(plain.len()).unwrap();
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, size];
        frame.extend_from_slice(&(u32::from(size) << 3 | 1).to_le_bytes()[..3]);
        frame.extend_from_slice(plain);
        frame
    }

    #[test]
    fn what_it_is_packed_with_is_seen_from_its_first_bytes() {
        let limits = Limits::default();
        assert_eq!(read(b"plain", &limits).unwrap(), b"plain");
        assert_eq!(read(b"", &limits).unwrap(), b"");
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(read(&two, &limits).unwrap(), b"one two");
        let skipped = [&[0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9], zstd(b"one ").as_slice(), &zstd(b"two")].concat();
        assert_eq!(read(&skipped, &limits).unwrap(), b"one two");
        let error = read(b"\xfd7zXZ\0....", &limits).unwrap_err().to_string();
        assert!(error.contains("xz"), "{error}");
        assert!(read(&zstd(b"broken off")[..10], &limits).is_err());
        assert!(read(&gzip(b"broken off")[..12], &limits).is_err());
    }

    #[test]
    fn a_frame_can_not_ask_for_all_the_memory() {
        // Window descriptor 0xff: 3.75 TB (RFC 8878, section 3.1.1.1.2).
        let error = read(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 1, 0, 0], &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("Window"), "{error}");
    }

    #[test]
    fn what_is_too_dense_is_refused() {
        let packed = gzip(&vec![0; 8 << 20]);
        let mut dense =
            Dense { inner: io::repeat(0), packed: Arc::new(AtomicU64::new(packed.len() as u64)), unpacked: Limits::RATIO_FROM, ratio: 200 };
        let error = dense.read(&mut [0; 16]).unwrap_err().to_string();
        assert!(error.contains("CONSORT_LAYER_MAX_RATIO"), "{error}");
        assert_eq!(read(&packed, &Limits::default()).unwrap().len(), 8 << 20);
    }
}
