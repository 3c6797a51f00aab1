//! What a container prints, from its pipes into its log.
//!
//! Nothing is taken out of a pipe before it is in the log: what is there is looked at (`tee`), its whole lines are
//! written, and then so much is taken. The beginning of a line stays in the pipe until the rest of it comes. So a
//! supervisor that is killed loses nothing, and the next one finds what this one had not written.
//!
//! One that is killed between the two steps leaves a mark beside the pipe, which says how much it had written and not
//! taken, so that nothing is there twice either.

use super::log::{LONGEST, LogWriter, encode};
use super::wait::Token;
use crate::units::Timestamp;
use crate::world::Stream;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes that are moved at once.
const BLOCK: usize = 128 * 1024;
/// Size of a pipe; the kernel gives less where a user has many.
const PIPE: usize = 256 * 1024;
/// Bytes of room that are kept between two lines.
const SMALL: usize = 8 * 1024;
/// Most blocks of one pipe before others have their turn.
const TURN: usize = 8;

/// Whether there may be more to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// Nothing until the descriptor says so again.
    Idle,
    /// It was enough for one turn.
    More,
}

/// A pipe that a container prints to.
#[derive(Debug)]
pub struct Capture {
    /// What is read from.
    pub descriptor: OwnedFd,
    /// How it is waited for.
    pub token: Token,
    /// What it is.
    pub stream: Stream,
    /// Where it is noted what was written and not taken yet.
    pub mark: Mark,
    /// A terminal prints: somebody sits there who wants to see the beginning of a line, too.
    pub terminal: bool,
}

impl Capture {
    /// Takes what a supervisor that was killed had written and not taken.
    pub fn settle(&self, bench: &mut Bench, log: &LogWriter) {
        let Some((place, length)) = self.mark.read() else { return };
        let mut written = log.text_since(place, self.stream);
        written.truncate(length);
        let here = bench.look(self).unwrap_or(0);
        if !written.is_empty() && bench.block.get(..here).is_some_and(|text| text.starts_with(&written)) {
            bench.discard(self, written.len());
        }
        self.note(0, 0);
    }

    fn note(&self, place: u64, length: usize) {
        let mut bytes = [0; 16];
        let (front, back) = bytes.split_at_mut(8);
        front.copy_from_slice(&place.to_le_bytes());
        back.copy_from_slice(&(length as u64).to_le_bytes());
        // Without room for it, all that is lost is the certainty about this one moment.
        let _ = self.mark.0.write_all_at(&bytes, 0);
    }
}

/// The file of a mark: a place in the log and a number of bytes; the number is 0 when everything is settled.
#[derive(Debug)]
pub struct Mark(File);

impl Mark {
    /// Opens it, made if it isn't there.
    ///
    /// # Errors
    /// It can't be made.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self(File::options().read(true).write(true).create(true).truncate(false).open(path)?))
    }

    fn read(&self) -> Option<(u64, usize)> {
        let mut bytes = [0; 16];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        let (front, back) = bytes.split_at(8);
        let length = usize::try_from(u64::from_le_bytes(back.try_into().ok()?)).ok()?;
        (length > 0).then_some((u64::from_le_bytes(front.try_into().ok()?), length))
    }
}

/// Opens the FIFO at `path`, made if it isn't there: once to read from, and once for the container. Both are open for
/// both directions, so neither side sees an end when the other one goes away.
///
/// # Errors
/// It can't be made.
pub fn fifo(path: &Path) -> std::io::Result<(OwnedFd, OwnedFd)> {
    let open = |flags| rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | flags, Mode::empty());
    match rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let ours = open(OFlags::NONBLOCK)?;
    // What the kernel gives without it is enough.
    let _ = rustix::pipe::fcntl_setpipe_size(&ours, PIPE);
    Ok((ours, open(OFlags::empty())?))
}

/// What captures share: room to work in.
#[derive(Debug)]
pub struct Bench {
    copy: (OwnedFd, OwnedFd),
    block: Vec<u8>,
    records: Vec<u8>,
}

/// What could not be written, and whether it is the first time in a row.
pub type Lost = (std::io::Error, bool);

impl Bench {
    /// An empty one.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new() -> std::io::Result<Self> {
        let copy = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let _ = rustix::pipe::fcntl_setpipe_size(&copy.1, PIPE);
        Ok(Self { copy, block: Vec::new(), records: Vec::new() })
    }

    /// Moves what has been printed into the log; with `end`, the beginning of a line too. Never blocks.
    ///
    /// What can't be written is taken all the same: a full disk must not stop the container.
    pub fn pump(&mut self, capture: &Capture, log: &mut LogWriter, now: Timestamp, end: bool) -> (Pumped, Option<Lost>) {
        let mut lost = None;
        let mut turns = 0;
        let pumped = loop {
            if turns == TURN && !end {
                break Pumped::More;
            }
            turns += 1;
            let Some(length) = self.look(capture) else { break Pumped::Idle };
            self.records.clear();
            let time = log.time(now);
            let text = self.block.get(..length).unwrap_or_default();
            let mut done = encode(&mut self.records, time, capture.stream, text, end || capture.terminal);
            if done == 0 && length < LONGEST && rustix::io::ioctl_fionread(&capture.descriptor).is_ok_and(|n| n > length as u64) {
                // Crumbs that fill the pipe before they make a line.
                done = encode(&mut self.records, time, capture.stream, text, true);
            }
            if done == 0 {
                break Pumped::Idle;
            }
            capture.note(log.place_for(self.records.len()), done);
            if let Err(error) = log.append(&self.records) {
                lost = lost.or(Some(error));
            }
            self.discard(capture, done);
            capture.note(0, 0);
        };
        (pumped, lost)
    }

    /// Gives memory back when there is nothing to do, but for the little that single lines take.
    pub fn rest(&mut self) {
        for room in [&mut self.block, &mut self.records] {
            if room.capacity() > SMALL {
                *room = Vec::new();
            }
        }
    }

    /// Copies what is in the pipe, and leaves it there.
    fn look(&mut self, capture: &Capture) -> Option<usize> {
        let copied = rustix::pipe::tee(&capture.descriptor, &self.copy.1, BLOCK, SpliceFlags::NONBLOCK).ok().filter(|n| *n > 0)?;
        self.block.resize(copied, 0);
        read_all(self.copy.0.as_fd(), &mut self.block);
        Some(copied)
    }

    /// Takes so many bytes, which were looked at.
    fn discard(&mut self, capture: &Capture, length: usize) {
        if let Some(room) = self.block.get_mut(..length) {
            read_all(capture.descriptor.as_fd(), room);
        }
    }
}

/// Reads exactly so much, of which all is there.
fn read_all(descriptor: std::os::fd::BorrowedFd<'_>, mut room: &mut [u8]) {
    while !room.is_empty() {
        match rustix::io::read(descriptor, &mut *room) {
            Ok(0) => return,
            Ok(n) => room = room.get_mut(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::{self, LogOptions};
    use super::super::wait::Poll;
    use super::*;
    use rustix::event::epoll::EventFlags;

    struct Stage {
        folder: tempfile::TempDir,
        capture: Capture,
        theirs: OwnedFd,
        log: LogWriter,
        bench: Bench,
    }

    impl Stage {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (descriptor, theirs) = fifo(&folder.path().join("stdout")).unwrap();
            let token = Poll::new().unwrap().add(&descriptor, EventFlags::IN, ()).unwrap();
            let log = LogWriter::open(&folder.path().join("log"), LogOptions::of(None).unwrap()).unwrap();
            let mark = Mark::open(&folder.path().join("mark")).unwrap();
            Self {
                capture: Capture { descriptor, token, stream: Stream::Stdout, mark, terminal: false },
                theirs,
                log,
                bench: Bench::new().unwrap(),
                folder,
            }
        }

        fn print(&self, text: &[u8]) {
            assert_eq!(rustix::io::write(&self.theirs, text).unwrap(), text.len());
        }

        fn pump(&mut self, end: bool) -> Pumped {
            let (pumped, lost) = self.bench.pump(&self.capture, &mut self.log, Timestamp(5), end);
            assert!(lost.is_none());
            pumped
        }

        fn text(&self) -> Vec<(bool, Vec<u8>)> {
            let bytes = std::fs::read(self.folder.path().join("log/current")).unwrap();
            bytes.split_inclusive(|b| *b == b'\n').map(|l| log::parse(l).unwrap()).map(|r| (r.whole, r.text.to_vec())).collect()
        }
    }

    #[test]
    fn a_begun_line_waits_in_the_pipe() {
        let mut stage = Stage::new();
        stage.print(b"one\ntw");
        assert_eq!(stage.pump(false), Pumped::Idle);
        assert_eq!(stage.text(), [(true, b"one".to_vec())]);
        // Another supervisor finds it there.
        let (descriptor, _) = fifo(&stage.folder.path().join("stdout")).unwrap();
        stage.capture.descriptor = descriptor;
        stage.print(b"o\nthr");
        stage.pump(false);
        stage.pump(true);
        assert_eq!(stage.text(), [(true, b"one".to_vec()), (true, b"two".to_vec()), (false, b"thr".to_vec())]);
        assert_eq!(rustix::io::ioctl_fionread(&stage.capture.descriptor).unwrap(), 0);
    }

    #[test]
    fn what_was_written_and_not_taken_is_not_written_again() {
        for taken in [false, true] {
            let mut stage = Stage::new();
            stage.print(b"one\n");
            stage.pump(false);
            stage.print(b"two\nthree\nfour");
            // Killed after the log was written, before the mark was settled.
            let mut records = Vec::new();
            assert_eq!(encode(&mut records, Timestamp(6), Stream::Stdout, b"two\nthree\nfour", false), 10);
            stage.capture.note(stage.log.place_for(records.len()), 10);
            stage.log.append(&records).unwrap();
            if taken {
                stage.bench.block.resize(BLOCK, 0);
                stage.bench.discard(&stage.capture, 10);
            }
            stage.log = LogWriter::open(&stage.folder.path().join("log"), LogOptions::of(None).unwrap()).unwrap();
            stage.capture.settle(&mut stage.bench, &stage.log);
            stage.print(b"\n");
            stage.pump(false);
            let text: Vec<_> = stage.text().into_iter().map(|(_, t)| String::from_utf8(t).unwrap()).collect();
            assert_eq!(text, ["one", "two", "three", "four"], "taken: {taken}");
            assert_eq!(stage.capture.mark.read(), None);
        }
    }

    #[test]
    fn more_than_a_pipe_holds_goes_through() {
        let mut stage = Stage::new();
        let line = [b"x".repeat(20_000), b"\n".to_vec()].concat();
        for _ in 0..200 {
            stage.print(&line);
            stage.pump(false);
        }
        let text = stage.text();
        assert_eq!(text.iter().filter(|(whole, _)| *whole).count(), 200);
        assert_eq!(text.iter().map(|(_, t)| t.len()).sum::<usize>(), 200 * 20_000);
    }

    #[test]
    fn crumbs_do_not_stop_up_the_pipe() {
        let mut stage = Stage::new();
        // Packets: each takes a slot of the pipe, whatever its size.
        rustix::fs::fcntl_setfl(&stage.theirs, OFlags::DIRECT).unwrap();
        rustix::pipe::fcntl_setpipe_size(&stage.capture.descriptor, 1 << 20).unwrap();
        for _ in 0..200 {
            stage.print(b"c");
        }
        stage.pump(false);
        stage.pump(true);
        assert_eq!(stage.text().concat_lengths(), 200);
    }

    trait Lengths {
        fn concat_lengths(&self) -> usize;
    }
    impl Lengths for Vec<(bool, Vec<u8>)> {
        fn concat_lengths(&self) -> usize {
            self.iter().map(|(_, t)| t.len()).sum()
        }
    }
}
