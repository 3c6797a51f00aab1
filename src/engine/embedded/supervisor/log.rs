//! The log of a container: its format, who appends to it, and what a reader needs to find its place.
//!
//! ```text
//! STATE/containers/ID/log/current       what is appended to
//! STATE/containers/ID/log/1, 2, …       older files, 1 the youngest
//!
//! 1795430163123456789o+ a whole line
//! 1795430163123456789e. a part of one
//! ```
//!
//! A record is a line: nanoseconds since 1970 in 19 digits, the stream (`o` or `e`), `+` for a whole line or the rest of
//! one, `.` for a part (a line longer than 16 KiB, one without an end, output of a terminal), a space, the text. Times
//! never go backwards, so that a time is found by bisection and the last lines by reading backwards: there is no index
//! that could be wrong.

use crate::units::{Bytes, Timestamp};
use crate::world::{LogSpec, Stream};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest text of a record in bytes, as Docker has it.
pub const LONGEST: usize = 16 * 1024;
/// Bytes of a record before its text.
const HEAD: usize = 22;
/// How much is read at once to find a place.
const PIECE: u64 = 64 * 1024;
/// Size of a file when nobody says, in bytes.
const SIZE: u64 = 50_000_000;
/// Files when nobody says.
const FILES: u32 = 2;

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'t> {
    /// When it was read from the container.
    pub time: Timestamp,
    /// Stream.
    pub stream: Stream,
    /// A newline followed.
    pub whole: bool,
    /// The text, without that newline.
    pub text: &'t [u8],
}

/// Takes a record apart, with or without its own newline. None if it is none: the torn end of a file.
pub fn parse(line: &[u8]) -> Option<Record<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (head, text) = line.split_at_checked(HEAD)?;
    let time = std::str::from_utf8(&head[..19]).ok()?.parse().ok().map(Timestamp)?;
    let stream = match head[19] {
        b'o' => Stream::Stdout,
        b'e' => Stream::Stderr,
        _ => return None,
    };
    let whole = match head[20] {
        b'+' => true,
        b'.' => false,
        _ => return None,
    };
    (head[21] == b' ').then_some(Record { time, stream, whole, text })
}

/// Appends the records of `text`, read from `stream` at `time`, to `records`. Returns how many bytes of `text` they hold:
/// the beginning of a line is left over until there is more of it, or `end`.
pub fn encode(records: &mut Vec<u8>, time: Timestamp, stream: Stream, text: &[u8], end: bool) -> usize {
    let mut done = 0;
    let mut head = [0_u8; HEAD];
    head.copy_from_slice(format!("{:019}{}+ ", time.0.clamp(0, i64::MAX), if stream == Stream::Stdout { 'o' } else { 'e' }).as_bytes());
    let mut record = |text: &[u8], whole: bool| {
        head[20] = if whole { b'+' } else { b'.' };
        records.extend_from_slice(&head);
        records.extend_from_slice(text);
        records.push(b'\n');
    };
    loop {
        let rest = &text[done..];
        let window = &rest[..rest.len().min(LONGEST + 1)];
        match window.iter().position(|b| *b == b'\n') {
            Some(length) => {
                record(&rest[..length], true);
                done += length + 1;
            }
            None if rest.len() >= LONGEST => {
                record(&rest[..LONGEST], false);
                done += LONGEST;
            }
            None => {
                if end && !rest.is_empty() {
                    record(rest, false);
                    done += rest.len();
                }
                return done;
            }
        }
    }
}

/// What `logging` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Nothing is kept.
    pub none: bool,
    /// Bytes of one file; none is no limit.
    pub size: Option<u64>,
    /// Files, the current one among them.
    pub files: u32,
}

impl LogOptions {
    /// Reads `max-size` and `max-file`. 50 MB and 2 files, unless they say otherwise.
    ///
    /// # Errors
    /// A driver that isn't here, in words; a size or number that is none.
    pub fn of(spec: Option<&LogSpec>) -> Result<Self, String> {
        let mut options = Self { none: false, size: Some(SIZE), files: FILES };
        let Some(spec) = spec else { return Ok(options) };
        match spec.driver.as_str() {
            "" | "json-file" | "local" => {}
            "none" => options.none = true,
            other => return Err(format!("there is no log driver {other} here; json-file, local and none are")),
        }
        if let Some(size) = spec.options.get("max-size") {
            options.size = match size.as_str() {
                "-1" => None,
                text => Some(
                    text.parse::<Bytes>()
                        .ok()
                        .and_then(|b| u64::try_from(b.0).ok())
                        .filter(|n| *n > 0)
                        .ok_or(format!("max-size: {size} is no size"))?,
                ),
            };
        }
        if let Some(files) = spec.options.get("max-file") {
            options.files = files.parse().ok().filter(|n| *n > 0).ok_or(format!("max-file: {files} is no number of files"))?;
        }
        Ok(options)
    }
}

/// The end of a log that is appended to.
#[derive(Debug)]
pub struct LogWriter {
    folder: PathBuf,
    file: File,
    size: u64,
    options: LogOptions,
    /// Time of the last record.
    last: Timestamp,
    /// Bytes that could not be kept since one was.
    lost: u64,
}

impl LogWriter {
    /// The log in `folder`, which is made. A torn record at its end is cut off.
    ///
    /// # Errors
    /// It can't be made, opened or read.
    pub fn open(folder: &Path, options: LogOptions) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(folder.join("current"))?;
        let mut size = file.metadata()?.len();
        let whole = Window::new(&file).end_before(size)?;
        if whole != size {
            file.set_len(whole)?;
            size = whole;
        }
        let mut last = Timestamp::default();
        if size > 0 {
            let start = seek_back(&file, size, 1, true)?.0;
            let mut line = vec![0; usize::try_from(size - start).unwrap_or(0).min(HEAD)];
            file.read_exact_at(&mut line, start)?;
            last = parse(&line).map(|r| r.time).unwrap_or_default();
        }
        Ok(Self { folder: folder.to_owned(), file, size, options, last, lost: 0 })
    }

    /// The time for what is read now: `now`, or that of the last record if that is later.
    pub fn time(&mut self, now: Timestamp) -> Timestamp {
        self.last = self.last.max(now);
        self.last
    }

    /// Appends records, all or none of them, after making room.
    ///
    /// # Errors
    /// They can't be written and are lost; nothing torn is left. True with the first one that fails in a row, where it
    /// is worth telling.
    pub fn append(&mut self, records: &[u8]) -> Result<(), (std::io::Error, bool)> {
        if self.options.none || records.is_empty() {
            return Ok(());
        }
        let mut note = Vec::new();
        if self.lost > 0 {
            let text = format!("consort: {} bytes of log could not be written here and are lost\n", self.lost);
            encode(&mut note, self.last, Stream::Stderr, text.as_bytes(), true);
        }
        let written = self.rotate(records.len() as u64).and_then(|()| {
            self.file.write_all(&note)?;
            self.file.write_all(records)
        });
        match written {
            Ok(()) => {
                self.size += (note.len() + records.len()) as u64;
                self.lost = 0;
                Ok(())
            }
            Err(error) => {
                // Shrinking needs no room.
                let _ = self.file.set_len(self.size);
                let first = self.lost == 0;
                self.lost += records.len() as u64;
                Err((error, first))
            }
        }
    }

    /// Makes room for so many bytes. Returns the place in the current file at which they will begin.
    pub fn place_for(&mut self, more: usize) -> u64 {
        // What is wrong is told when they are appended.
        let _ = self.rotate(more as u64);
        self.size
    }

    /// What the records of a stream say that begin at a place in the current file or later, as it was printed.
    pub fn text_since(&self, place: u64, stream: Stream) -> Vec<u8> {
        let length = usize::try_from(self.size.saturating_sub(place)).unwrap_or(0);
        let mut bytes = vec![0; length];
        if self.file.read_exact_at(&mut bytes, place).is_err() {
            return Vec::new();
        }
        let records = bytes.split_inclusive(|b| *b == b'\n').filter_map(parse).filter(|r| r.stream == stream);
        records.flat_map(|r| r.text.iter().chain(r.whole.then_some(&b'\n'))).copied().collect()
    }

    /// Begins a new file if the current one would get too long by so much more.
    fn rotate(&mut self, more: u64) -> std::io::Result<()> {
        if self.size == 0 || self.options.size.is_none_or(|most| self.size + more <= most) {
            return Ok(());
        }
        let name = |n: u32| self.folder.join(n.to_string());
        for n in (1..self.options.files.saturating_sub(1)).rev() {
            match std::fs::rename(name(n), name(n + 1)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let current = self.folder.join("current");
        if self.options.files > 1 {
            std::fs::rename(&current, name(1))?;
        } else {
            std::fs::remove_file(&current)?;
        }
        self.size = 0;
        self.file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(current)?;
        Ok(())
    }
}

/// Where the first record of that time or a later one begins in a file of so many bytes; `size` if there is none.
///
/// # Errors
/// The file can't be read.
pub fn seek_time(file: &File, size: u64, since: Timestamp) -> std::io::Result<u64> {
    let mut bytes = Window::new(file);
    // The lowest place after which no record is too old.
    let (mut low, mut high) = (0, size);
    while low < high {
        let middle = low + (high - low) / 2;
        let start = bytes.start_from(middle, size)?;
        let young = start == size || {
            let mut head = [0; HEAD];
            let length = usize::try_from(size - start).unwrap_or(HEAD).min(HEAD);
            file.read_exact_at(&mut head[..length], start)?;
            // What is no record (a torn end) is younger than any.
            parse(&head).is_none_or(|r| r.time >= since)
        };
        if young {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    bytes.start_from(low, size)
}

/// Where the last `lines` lines of a file of so many bytes begin, and how many are there, if there are fewer. A line may
/// be several records; parts without an end count `at_end` of the log, and belong to a line of the next file elsewhere.
///
/// # Errors
/// The file can't be read.
pub fn seek_back(file: &File, size: u64, lines: u64, at_end: bool) -> std::io::Result<(u64, u64)> {
    let mut bytes = Window::new(file);
    let (mut end, mut count) = (bytes.end_before(size)?, 0);
    let last = end;
    while end > 0 {
        let start = bytes.end_before(end - 1)?;
        let whole = bytes.at(start + 20)? == b'+';
        if whole || at_end && end == last {
            if count == lines {
                return Ok((end, count));
            }
            count += 1;
        }
        end = start;
    }
    Ok((0, count))
}

/// A piece of a file, moved to where a byte is asked for.
struct Window<'f> {
    file: &'f File,
    start: u64,
    bytes: Vec<u8>,
}

impl<'f> Window<'f> {
    fn new(file: &'f File) -> Self {
        Self { file, start: 0, bytes: Vec::new() }
    }

    /// Reads from `start` on.
    fn load(&mut self, start: u64, length: u64) -> std::io::Result<()> {
        self.bytes.resize(usize::try_from(length).unwrap_or(0), 0);
        let mut done = 0;
        while done < self.bytes.len() {
            match self.file.read_at(&mut self.bytes[done..], start + done as u64)? {
                0 => break,
                n => done += n,
            }
        }
        self.bytes.truncate(done);
        self.start = start;
        Ok(())
    }

    /// The byte at a place; a newline behind the end.
    fn at(&mut self, place: u64) -> std::io::Result<u8> {
        let inside = |w: &Self| place.checked_sub(w.start).and_then(|n| w.bytes.get(usize::try_from(n).ok()?).copied());
        if let Some(byte) = inside(self) {
            return Ok(byte);
        }
        let start = (place + 1).saturating_sub(PIECE / 2);
        self.load(start, PIECE)?;
        Ok(inside(self).unwrap_or(b'\n'))
    }

    /// The end of the last whole record before `place`: the place behind a newline, or 0.
    fn end_before(&mut self, mut place: u64) -> std::io::Result<u64> {
        while place > 0 && self.at(place - 1)? != b'\n' {
            place -= 1;
        }
        Ok(place)
    }

    /// Where the first record begins that begins at `place` or later; `size` if there is none.
    fn start_from(&mut self, mut place: u64, size: u64) -> std::io::Result<u64> {
        while place > 0 && place < size && self.at(place - 1)? != b'\n' {
            place += 1;
        }
        Ok(place.min(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of a log that are there, the oldest first.
    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut numbers: Vec<u32> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        let mut all: Vec<PathBuf> = numbers.iter().rev().map(|n| folder.join(n.to_string())).collect();
        let current = folder.join("current");
        if current.exists() {
            all.push(current);
        }
        all
    }

    fn written(records: &[(i64, Stream, &str, bool)]) -> (tempfile::NamedTempFile, u64) {
        let mut bytes = Vec::new();
        for (time, stream, text, end) in records {
            encode(&mut bytes, Timestamp(*time), *stream, text.as_bytes(), *end);
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        (file, bytes.len() as u64)
    }

    fn read(bytes: &[u8]) -> Vec<(i64, Stream, bool, String)> {
        let lines = bytes.split_inclusive(|b| *b == b'\n');
        lines.map(|l| parse(l).unwrap()).map(|r| (r.time.0, r.stream, r.whole, String::from_utf8_lossy(r.text).into_owned())).collect()
    }

    #[test]
    fn lines_are_kept_as_they_are() {
        let mut bytes = Vec::new();
        assert_eq!(encode(&mut bytes, Timestamp(7), Stream::Stdout, b"one\n\ntwo\nthr", false), 9);
        assert_eq!(encode(&mut bytes, Timestamp(8), Stream::Stderr, b"thr", true), 3);
        assert!(bytes.starts_with(b"0000000000000000007o+ one\n0000000000000000007o+ \n"));
        let text = |s: &str| s.to_owned();
        assert_eq!(
            read(&bytes),
            [
                (7, Stream::Stdout, true, text("one")),
                (7, Stream::Stdout, true, text("")),
                (7, Stream::Stdout, true, text("two")),
                (8, Stream::Stderr, false, text("thr")),
            ]
        );
    }

    #[test]
    fn long_lines_come_in_parts() {
        for (length, parts) in [(LONGEST - 1, vec![LONGEST - 1]), (LONGEST, vec![LONGEST]), (2 * LONGEST + 5, vec![LONGEST, LONGEST, 5])] {
            let mut bytes = Vec::new();
            let text = ["x".repeat(length).as_bytes(), b"\n"].concat();
            assert_eq!(encode(&mut bytes, Timestamp(1), Stream::Stdout, &text, false), text.len());
            let records = read(&bytes);
            assert_eq!(records.iter().map(|r| r.3.len()).collect::<Vec<_>>(), parts);
            assert!(records.iter().rev().skip(1).all(|r| !r.2) && records.last().unwrap().2);
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        for line in ["", "hello", "0000000000000000007x+ a", "0000000000000000007o? a", "000000000000000000zo+ a", "0000000000000000007o+a"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_time_is_found() {
        let records: Vec<_> = (0..4000).map(|n| (n / 3 * 10, Stream::Stdout, "some text\n", false)).collect();
        let (file, size) = written(&records);
        let length = size / 4000;
        for since in [-1, 0, 5, 10, 11, 6660, 13320, 13329, 13330, 13331] {
            let expected = records.iter().position(|r| r.0 >= since).unwrap_or(4000) as u64 * length;
            assert_eq!(seek_time(file.as_file(), size, Timestamp(since)).unwrap(), expected, "{since}");
        }
        let (empty, _) = written(&[]);
        assert_eq!(seek_time(empty.as_file(), 0, Timestamp(5)).unwrap(), 0);
    }

    #[test]
    fn the_last_lines_are_found() {
        let long = "y".repeat(3 * LONGEST) + "\n";
        let (file, size) = written(&[
            (1, Stream::Stdout, "a\n", false),
            (2, Stream::Stdout, &long, false),
            (3, Stream::Stderr, "b\n", false),
            (4, Stream::Stdout, "begun", true),
        ]);
        let tail = |n| seek_back(file.as_file(), size, n, true).unwrap();
        let begun = HEAD as u64 + 6;
        assert_eq!(tail(0), (size, 0));
        assert_eq!(tail(1), (size - begun, 1));
        assert_eq!(tail(2), (size - begun - 24, 2));
        assert_eq!(tail(3), (24, 3));
        assert_eq!(tail(4), (0, 4));
        assert_eq!(tail(9), (0, 4));
        assert_eq!(seek_back(file.as_file(), size, 0, false).unwrap(), (size - begun, 0), "a line of the next file");
    }

    #[test]
    fn files_take_turns_and_a_torn_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let options = LogOptions { none: false, size: Some(100), files: 3 };
        let mut log = LogWriter::open(folder.path(), options).unwrap();
        for n in 0..12 {
            let mut records = Vec::new();
            encode(&mut records, log.time(Timestamp(n)), Stream::Stdout, b"0123456789\n", false);
            log.append(&records).unwrap();
        }
        let times = |folder: &Path| -> Vec<i64> { files(folder).iter().flat_map(|f| read(&std::fs::read(f).unwrap())).map(|r| r.0).collect() };
        assert_eq!(files(folder.path()).len(), 3);
        assert_eq!(times(folder.path()), [3, 4, 5, 6, 7, 8, 9, 10, 11]);
        OpenOptions::new().append(true).open(folder.path().join("current")).unwrap().write_all(b"00000").unwrap();
        let mut log = LogWriter::open(folder.path(), options).unwrap();
        assert_eq!(log.time(Timestamp(2)), Timestamp(11), "time doesn't go back");
        assert_eq!(times(folder.path()).len(), 9);
    }

    #[test]
    fn options_are_dockers() {
        let spec = |driver: &str, options: &[(&str, &str)]| {
            let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            LogOptions::of(Some(&LogSpec { driver: driver.into(), options }))
        };
        let own = LogOptions { none: false, size: Some(10 << 20), files: 5 };
        assert_eq!(spec("json-file", &[("max-size", "10m"), ("max-file", "5")]), Ok(own));
        assert_eq!(spec("", &[("max-size", "-1")]).map(|o| o.size), Ok(None));
        assert_eq!(LogOptions::of(None).map(|o| (o.size, o.files)), Ok((Some(SIZE), FILES)));
        assert!(spec("none", &[]).is_ok_and(|o| o.none));
        for bad in [spec("syslog", &[]), spec("local", &[("max-size", "much")]), spec("local", &[("max-file", "0")])] {
            bad.unwrap_err();
        }
    }
}
