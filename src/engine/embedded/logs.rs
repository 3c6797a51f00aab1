//! Logs, read where supervisors write them.
//!
//! The format, and how a place in a file is found, are in [`log`].
//!
//! Files are read at once and not by a thread's help: a block of a file that was just written takes less time to copy than
//! a thread to wake.

use super::Places;
use super::events::Changes;
use super::observe::{Seen, boot};
use super::record::{ContainerState, failed};
use super::supervisor::log;
use crate::units::Timestamp;
use crate::world::{EngineError, LogChunk, LogQuery, State};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much is read at once.
const BLOCK: u64 = 128 * 1024;

/// The log of a container.
///
/// # Errors
/// It can't be read.
pub fn logs(places: &Places, seen: Seen, wanted: &LogQuery) -> Result<BoxStream<'static, Result<LogChunk, EngineError>>, EngineError> {
    let (id, name) = (&seen.record.id, seen.record.name.clone());
    let cant = |error: &io::Error| failed(&format!("the log of container {} can't be read", seen.record.name), error);
    let folder = places.container(id);
    let mut log =
        Log { folder: folder.join("log"), file: None, unread: BytesMut::new(), wanted: wanted.clone(), tty: seen.record.spec.tty, watch: None };
    if wanted.follow && is_alive(&seen.state) {
        let changes = Changes::new().map_err(|e| cant(&e))?;
        // The folder of the container for its state, that of the log for new files, and the file for new lines.
        changes.watch(&folder).map_err(|e| cant(&e))?;
        fs::create_dir_all(&log.folder).and_then(|()| changes.watch(&log.folder)).map_err(|e| cant(&e))?;
        log.watch = Some(Watch { changes, state: folder.join("state.json"), started: seen.state.started });
    }
    log.begin().map_err(|e| cant(&e))?;
    let chunks = stream::unfold((Some(log), name), |(log, name)| async move {
        let mut log = log?;
        match log.next().await {
            Ok(chunk) => Some((Ok(chunk?), (Some(log), name))),
            Err(error) => Some((Err(failed(&format!("the log of container {name} can't be read"), &error)), (None, name))),
        }
    });
    Ok(chunks.boxed())
}

fn is_alive(state: &ContainerState) -> bool {
    matches!(state.state, Some(State::Running | State::Paused)) && state.boot == boot()
}

/// What a follower waits for.
#[derive(Debug)]
struct Watch {
    changes: Changes,
    state: PathBuf,
    /// When the run began that is followed.
    started: Option<Timestamp>,
}

impl Watch {
    /// Whether the run goes on; otherwise when the next one began, if it did.
    fn is_over(&self) -> Option<Option<Timestamp>> {
        // A state that can't be read belongs to a container that is gone.
        let state: ContainerState = fs::read(&self.state).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        if state.started != self.started {
            return Some(state.started);
        }
        (!is_alive(&state)).then_some(None)
    }
}

/// A log that is read.
#[derive(Debug)]
struct Log {
    folder: PathBuf,
    /// The file that is read, and how far.
    file: Option<(File, u64)>,
    /// What was read and not told.
    unread: BytesMut,
    wanted: LogQuery,
    tty: bool,
    /// There while it is followed.
    watch: Option<Watch>,
}

/// Opens a file of a log; none if it isn't there.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// All files of a log, the youngest first. Files may be rotated meanwhile: none is there twice, and none is missing between
/// two that are there.
fn files(folder: &Path) -> io::Result<Vec<File>> {
    let mut all: Vec<(u64, File)> = Vec::new();
    for number in 0_u32.. {
        let path = if number == 0 { folder.join("current") } else { folder.join(number.to_string()) };
        match open(&path)? {
            Some(file) => {
                let inode = file.metadata()?.ino();
                if all.iter().all(|(i, _)| *i != inode) {
                    all.push((inode, file));
                }
            }
            // The youngest one may be about to come.
            None if number == 0 => {}
            None => break,
        }
    }
    Ok(all.into_iter().map(|(_, file)| file).collect())
}

impl Log {
    /// Opens it at the place where the wanted part begins.
    fn begin(&mut self) -> io::Result<()> {
        let mut left = self.wanted.tail;
        for file in files(&self.folder)? {
            let length = file.metadata()?.len();
            let since = match self.wanted.since {
                Some(since) => log::seek_time(&file, length, since)?,
                None => 0,
            };
            let (tail, lines) = match left {
                // Parts of a line at the end of an older file are the beginning of one that has been counted.
                Some(left) => log::seek_back(&file, length, left, self.wanted.tail == Some(left))?,
                None => (0, 0),
            };
            left = left.map(|n| n.saturating_sub(lines));
            let place = since.max(tail);
            self.file = Some((file, place));
            // What is before it isn't wanted, nor are older files.
            if place > 0 {
                break;
            }
        }
        self.watch_file()
    }

    /// Hears of lines that are written from now on.
    fn watch_file(&self) -> io::Result<()> {
        let current = self.folder.join("current");
        match &self.watch {
            Some(watch) if current.exists() => watch.changes.watch(&current),
            _ => Ok(()),
        }
    }

    /// The next chunk; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<LogChunk>> {
        loop {
            while let Some(at) = self.unread.iter().position(|b| *b == b'\n') {
                let Some(chunk) = chunk(&self.unread.split_to(at + 1).freeze(), self.tty) else { continue };
                if self.wanted.until.is_some() && chunk.time > self.wanted.until {
                    return Ok(None);
                }
                if chunk.time >= self.wanted.since {
                    return Ok(Some(chunk));
                }
            }
            tokio::task::consume_budget().await;
            // Looked up before the log is read to its end: what it has then is all that the run has said.
            let over = self.watch.as_ref().map(Watch::is_over);
            if self.fill()? {
                continue;
            }
            match (over, &self.watch) {
                (Some(None), Some(watch)) => {
                    if !wait(&watch.changes, self.wanted.until).await? {
                        self.watch = None;
                    }
                }
                (Some(Some(next)), _) => {
                    self.watch = None;
                    // What the next run says is no part of this one.
                    let end = next.map(|t| Timestamp(t.0 - 1));
                    self.wanted.until = self.wanted.until.into_iter().chain(end).min();
                }
                _ => return Ok(None),
            }
        }
    }

    /// Reads on. False at the end.
    fn fill(&mut self) -> io::Result<bool> {
        loop {
            let Some((file, place)) = &mut self.file else {
                self.file = open(&self.folder.join("current"))?.map(|file| (file, 0));
                if self.file.is_none() {
                    return Ok(false);
                }
                self.watch_file()?;
                continue;
            };
            let before = self.unread.len();
            self.unread.resize(before + usize::try_from(BLOCK).unwrap_or(4096), 0);
            let n = file.read_at(self.unread.get_mut(before..).unwrap_or_default(), *place)?;
            self.unread.truncate(before + n);
            if n > 0 {
                *place += n as u64;
                return Ok(true);
            }
            // A log that has grown too large goes on in a new file.
            let own = file.metadata()?.ino();
            let all = files(&self.folder)?;
            let at = all.iter().position(|f| f.metadata().is_ok_and(|m| m.ino() == own));
            let next = match at {
                Some(0) => return Ok(false),
                Some(at) => at - 1,
                // It was thrown away while it was read.
                None => match all.len() {
                    0 => return Ok(false),
                    n => n - 1,
                },
            };
            // Lines that came between its end and its rotation.
            let more = file.metadata()?.len() > *place;
            if !more {
                self.unread.clear();
                self.file = all.into_iter().nth(next).map(|file| (file, 0));
                self.watch_file()?;
            }
        }
    }
}

/// Waits for a change. False when the time is up.
async fn wait(changes: &Changes, until: Option<Timestamp>) -> io::Result<bool> {
    let time_up = async {
        match until {
            Some(until) => {
                let left = until.0.saturating_sub(super::now().0);
                tokio::time::sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(0))).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        changed = changes.wait() => changed.map(|()| true),
        () = time_up => Ok(false),
    }
}

/// A record as a chunk; `None` for what is none.
fn chunk(line: &Bytes, tty: bool) -> Option<LogChunk> {
    let log::Record { time, stream, whole, text } = log::parse(line)?;
    let mut bytes = line.slice_ref(text);
    if whole {
        bytes = line.slice(line.len() - text.len() - 1..);
        // A terminal ends its lines with both.
        if tty && text.ends_with(b"\r") {
            bytes = Bytes::from([text.strip_suffix(b"\r").unwrap_or(text), b"\n"].concat());
        }
    }
    Some(LogChunk { stream, time: Some(time), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A log of `n` lines, two a second, every third of them in two parts.
    fn text(n: usize) -> String {
        let part = |i: usize, flag: char, what: &str| format!("{:019}{}{flag} {what}{i}\n", time(i).0, ["o", "e"][i % 2]);
        (0..n).map(|i| if i % 3 == 0 { part(i, '.', "begin") + &part(i, '+', "end") } else { part(i, '+', "line") }).collect()
    }

    fn time(i: usize) -> Timestamp {
        Timestamp(1_795_320_355_000_000_000 + 500_000_000 * i64::try_from(i).unwrap())
    }

    /// Writes files, the youngest first, and reads what is wanted of them.
    async fn read(texts: &[&str], wanted: &LogQuery) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (number, text) in texts.iter().enumerate() {
            let name = if number == 0 { "current".to_owned() } else { number.to_string() };
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut log = Log { folder: folder.path().into(), file: None, unread: BytesMut::new(), wanted: wanted.clone(), tty: false, watch: None };
        log.begin().unwrap();
        let mut all = Vec::new();
        while let Some(chunk) = log.next().await.unwrap() {
            all.push(String::from_utf8(chunk.bytes.to_vec()).unwrap());
        }
        all
    }

    #[tokio::test]
    async fn parts_of_a_log_are_those_that_are_wanted_wherever_it_was_rotated() {
        let text = text(100);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for cuts in [vec![], vec![50], vec![1, 2, 3, 133], vec![67, 67]] {
            let mut texts: Vec<String> = Vec::new();
            let mut begin = 0;
            for end in cuts.iter().copied().chain([lines.len()]) {
                texts.insert(0, lines[begin..end].concat());
                begin = end;
            }
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let all = read(&texts, &LogQuery::default()).await;
            assert_eq!(all.len(), 134, "{cuts:?}");
            assert_eq!(all[..4], ["begin0", "end0\n", "line1\n", "line2\n"]);
            for (tail, want) in [(0, 0), (1, 2), (2, 3), (3, 4), (4, 6), (50, 67), (99, 132), (100, 134), (1_000, 134)] {
                assert_eq!(read(&texts, &LogQuery { tail: Some(tail), ..LogQuery::default() }).await, all[134 - want..], "tail {tail} {cuts:?}");
            }
            let cut = LogQuery { since: Some(time(97)), until: Some(time(98)), ..LogQuery::default() };
            assert_eq!(read(&texts, &cut).await, ["line97\n", "line98\n"]);
            for i in [0, 1, 33, 50, 98] {
                let wanted = LogQuery { since: Some(time(i)), ..LogQuery::default() };
                let first = if i % 3 == 0 { format!("begin{i}") } else { format!("line{i}\n") };
                assert_eq!(read(&texts, &wanted).await.first(), Some(&first), "{cuts:?}");
            }
            let late = LogQuery { since: Some(time(99)), tail: Some(50), ..LogQuery::default() };
            assert_eq!(read(&texts, &late).await, ["begin99", "end99\n"]);
        }
    }

    #[tokio::test]
    async fn long_logs_and_long_lines_are_searched() {
        let long = "x".repeat(300_000);
        let lines: String = (0..60).map(|i| format!("{:019}o+ {i} {long}\n", time(i).0)).collect();
        let numbers = |all: Vec<String>| all.iter().map(|l| l.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>();
        let wanted = LogQuery { since: Some(Timestamp(time(41).0 + 1)), ..LogQuery::default() };
        assert_eq!(numbers(read(&[&lines], &wanted).await), (42..60).map(|i| i.to_string()).collect::<Vec<_>>());
        let wanted = LogQuery { tail: Some(7), ..LogQuery::default() };
        assert_eq!(numbers(read(&[&lines], &wanted).await), (53..60).map(|i| i.to_string()).collect::<Vec<_>>());
        let many: String = (0..60).flat_map(|s| (0..1_000).map(move |i| format!("{:019}e+ {s}.{i}\n", time(s).0 + i))).collect();
        assert_eq!(read(&[&many], &LogQuery { since: Some(time(41)), ..LogQuery::default() }).await.len(), 19_000);
        assert_eq!(read(&[&many], &LogQuery { tail: Some(12_345), ..LogQuery::default() }).await.len(), 12_345);
    }

    #[tokio::test]
    async fn what_is_no_record_is_left_out() {
        let good = |i: usize, what: &str| format!("{:019}o{what}", time(i).0);
        let text = format!("{}half a li\n{}{}{}", good(1, "+ good\n"), good(2, "X what\n"), good(3, ". begun\n"), good(4, "+ not ye"));
        assert_eq!(read(&[&text], &LogQuery::default()).await, ["good\n", "begun"]);
        assert_eq!(read(&[""], &LogQuery { tail: Some(3), ..LogQuery::default() }).await, Vec::<String>::new());
        assert_eq!(read(&[], &LogQuery { tail: Some(3), ..LogQuery::default() }).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_log_is_followed_across_its_rotation_to_the_end_of_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let (logs, state) = (folder.path().join("log"), folder.path().join("state.json"));
        fs::create_dir(&logs).unwrap();
        let living = ContainerState { state: Some(State::Running), boot: boot(), started: Some(Timestamp(1)), ..ContainerState::default() };
        super::super::record::write(&state, &living).unwrap();
        let changes = Changes::new().unwrap();
        changes.watch(folder.path()).unwrap();
        changes.watch(&logs).unwrap();
        let watch = Some(Watch { changes, state: state.clone(), started: Some(Timestamp(1)) });
        let wanted = LogQuery { follow: true, ..LogQuery::default() };
        let mut log = Log { folder: logs.clone(), file: None, unread: BytesMut::new(), wanted, tty: false, watch };
        log.begin().unwrap();
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(chunk) = log.next().await.unwrap() {
                all.push(String::from_utf8(chunk.bytes.to_vec()).unwrap());
            }
            all
        });
        let mut want = Vec::new();
        let mut current = File::create(logs.join("current")).unwrap();
        for i in 0..500 {
            if i % 50 == 49 {
                for n in (1..12).rev() {
                    let _ = fs::rename(logs.join(n.to_string()), logs.join((n + 1).to_string()));
                }
                fs::rename(logs.join("current"), logs.join("1")).unwrap();
                current = File::create(logs.join("current")).unwrap();
            }
            current.write_all(format!("{:019}o+ line {i}\n", time(i).0).as_bytes()).unwrap();
            want.push(format!("line {i}\n"));
            tokio::task::yield_now().await;
        }
        super::super::record::write(&state, &ContainerState { state: Some(State::Exited), ..living }).unwrap();
        assert_eq!(reader.await.unwrap(), want);
    }
}
