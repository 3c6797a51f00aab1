//! Logs of a Podman on this machine, read where they are written.
//!
//! Podman's own reader loses lines of a log that is written while it is followed: a line that it finds half written it
//! tells as it stands, and goes on at the end of the file. Its times are whole seconds, and it may not notice the end.
//! The file has it all, a line each: `TIME STREAM FLAG TEXT`, where the flag is `F` for a line and `P` for a part of one
//! (conmon, `k8s-file`; the format is that of Kubernetes' Container Runtime Interface). The kernel tells of changes, and
//! of the end of the process that writes it. Where the file can't be read, the engine is asked after all.

use super::DockerEngine;
use super::client::escape;
use super::inspect::{Inspected, LogConfig};
use super::logs::{Chunks, Clock};
use crate::units::Timestamp;
use crate::world::{EngineError, ErrorKind, LogChunk, LogQuery, Stream, Target};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream;
use hyper::Method;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{self, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncSeekExt, Interest};

/// How much is read at once.
const BLOCK: u64 = 128 * 1024;
/// Time, stream and flag of a line fit into this.
const HEAD: usize = 64;

/// The log of a container, out of its file. `None` where the engine has to be asked.
pub async fn open(engine: &DockerEngine, container: &Target, wanted: &LogQuery) -> Option<Chunks> {
    let found = look(engine, container).await?;
    let writer = match wanted.follow && found.alive {
        true => Writer::of(found.writer)?,
        false => None,
    };
    let watch = match writer {
        Some(writer) => Some(Watch { writer, changes: changes()?, until: wanted.until }),
        None => None,
    };
    let mut log = Log {
        path: found.path,
        file: None,
        unread: BytesMut::new(),
        clock: Clock::default(),
        since: wanted.since,
        until: wanted.until,
        tty: found.tty,
        watch,
    };
    log.begin(wanted).await.ok()?;
    let name = container.name.clone();
    let chunks = stream::unfold(Some(log), move |log| {
        let name = name.clone();
        async move {
            let mut log = log?;
            match log.next().await {
                Ok(chunk) => Some((Ok(chunk?), Some(log))),
                Err(error) => {
                    let what = EngineError::new(ErrorKind::Refused, format!("can't read the log of container {name}"));
                    Some((Err(what.because(format!("{}: {error}", log.path.display()))), None))
                }
            }
        }
    });
    Some(chunks.boxed())
}

/// Where a log is and who writes it.
struct Place {
    path: PathBuf,
    /// Process that writes it.
    writer: i32,
    /// Whether it does.
    alive: bool,
    tty: bool,
}

async fn look(engine: &DockerEngine, container: &Target) -> Option<Place> {
    let tail = format!("/libpod/containers/{}/json", escape(container.reference()));
    let found: Inspected = engine.client.json(Method::GET, &tail, None).await.ok()?;
    let LogConfig { kind, path } = found.host_config.log_config;
    let alive = matches!(found.state.status.as_str(), "running" | "paused" | "stopping");
    let place = Place { path, writer: found.state.conmon_pid, alive, tty: found.config.tty };
    (matches!(kind.as_str(), "k8s-file" | "json-file") && place.path.is_absolute()).then_some(place)
}

/// The process that writes a log.
struct Writer(AsyncFd<OwnedFd>);

impl Writer {
    /// `Some(None)` if it has ended, `None` if that can't be known.
    fn of(pid: i32) -> Option<Option<Self>> {
        match pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()) {
            Ok(fd) => Some(Some(Self(heard(fd)?))),
            Err(rustix::io::Errno::SRCH) => Some(None),
            Err(_) => None,
        }
    }
}

#[expect(deprecated, reason = "it is sound for what owns its descriptor; the successor is not safe to call")]
fn heard(fd: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE).ok()
}

/// A queue of the kernel's for changes of files.
fn changes() -> Option<AsyncFd<OwnedFd>> {
    heard(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?)
}

/// What a follower waits for.
struct Watch {
    writer: Writer,
    changes: AsyncFd<OwnedFd>,
    until: Option<Timestamp>,
}

impl Watch {
    /// Waits until the file may have changed. False when it won't any more.
    async fn wait(&self) -> io::Result<bool> {
        let time_up = async {
            match self.until {
                Some(until) => {
                    let left = until.0.saturating_sub(super::events::now_by_our_clock().0);
                    tokio::time::sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(0))).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ready = self.changes.readable() => {
                let mut ready = ready?;
                let mut buffer = [0; 4096];
                while rustix::io::read(ready.get_inner(), &mut buffer).is_ok_and(|n| n > 0) {}
                ready.clear_ready();
                Ok(true)
            }
            ended = self.writer.0.readable() => ended.map(|_| false),
            () = time_up => Ok(false),
        }
    }
}

/// A log that is read.
struct Log {
    path: PathBuf,
    file: Option<File>,
    /// What was read and not told.
    unread: BytesMut,
    clock: Clock,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    tty: bool,
    /// There while it is followed.
    watch: Option<Watch>,
}

impl Log {
    /// Opens it at the place where the wanted part begins.
    async fn begin(&mut self, wanted: &LogQuery) -> io::Result<()> {
        let mut file = self.open().await?;
        let length = file.metadata().await?.len();
        let mut place = match wanted.since {
            Some(since) => search(&mut file, length, since).await?,
            None => 0,
        };
        if let Some(tail) = wanted.tail {
            place = place.max(last(&mut file, length, tail).await?);
        }
        file.seek(SeekFrom::Start(place)).await?;
        self.file = Some(file);
        Ok(())
    }

    /// Watched from before it is read, so that no change is missed.
    async fn open(&self) -> io::Result<File> {
        if let Some(watch) = &self.watch {
            let kinds = WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
            inotify::add_watch(&watch.changes, &self.path, kinds)?;
        }
        File::open(&self.path).await
    }

    /// The next chunk; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<LogChunk>> {
        loop {
            while let Some(at) = self.unread.iter().position(|b| *b == b'\n') {
                let line = self.unread.split_to(at + 1).freeze();
                let Some(chunk) = self.chunk(line) else { continue };
                if chunk.time > self.until && self.until.is_some() {
                    return Ok(None);
                }
                if chunk.time >= self.since {
                    return Ok(Some(chunk));
                }
            }
            if self.fill().await? {
                continue;
            }
            if let Some(watch) = &self.watch {
                // The end may have come after the last word.
                if !watch.wait().await? {
                    self.watch = None;
                }
            } else {
                return Ok(None);
            }
        }
    }

    /// Reads on. False at the end of the file.
    async fn fill(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        self.unread.reserve(usize::try_from(BLOCK).unwrap_or(4096));
        if file.read_buf(&mut self.unread).await? > 0 {
            return Ok(true);
        }
        if self.watch.is_none() {
            return Ok(false);
        }
        // A log that has grown too large goes on in a new file.
        let own = file.metadata().await?.ino();
        if tokio::fs::metadata(&self.path).await.is_ok_and(|now| now.ino() != own) {
            self.unread.clear();
            self.file = Some(self.open().await?);
            return Ok(true);
        }
        Ok(false)
    }

    /// A line of the file as a chunk; `None` for what is no line of a log.
    fn chunk(&mut self, mut line: Bytes) -> Option<LogChunk> {
        let time = self.clock.take(&mut line)?;
        let (stream, skip) = match &line[..] {
            [b's', b't', b'd', b'o', b'u', b't', b' ', ..] => (Stream::Stdout, 7),
            [b's', b't', b'd', b'e', b'r', b'r', b' ', ..] => (Stream::Stderr, 7),
            _ => return None,
        };
        let mut bytes = match line[skip..] {
            [b'F', b' ', ..] => line.slice(skip + 2..),
            [b'P', b' ', ..] => line.slice(skip + 2..line.len() - 1),
            _ => return None,
        };
        // A terminal ends its lines with both.
        if self.tty && bytes.ends_with(b"\r\n") {
            let mut plain = BytesMut::from(&bytes[..bytes.len() - 2]);
            plain.extend_from_slice(b"\n");
            bytes = plain.freeze();
        }
        Some(LogChunk { stream, time: Some(time), bytes })
    }
}

/// Whether a line, of which this is the beginning, is the end of a message.
fn is_whole(head: &[u8]) -> bool {
    head.split(|b| *b == b' ').nth(2).is_some_and(|flag| flag.starts_with(b"F"))
}

async fn block(file: &mut File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start)).await?;
    let mut bytes = Vec::new();
    file.take(end.saturating_sub(start)).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// A place at or before the first line that is not older than `since`: times grow.
async fn search(file: &mut File, length: u64, since: Timestamp) -> io::Result<u64> {
    let (mut low, mut high) = (0, length);
    while high - low > BLOCK {
        let middle = low + (high - low) / 2;
        let bytes = block(file, middle, (middle + BLOCK).min(high)).await?;
        let line = bytes.iter().position(|b| *b == b'\n').map(|at| at + 1);
        let Some((at, mut head)) = line.and_then(|at| Some((at, Bytes::copy_from_slice(bytes.get(at..)?)))) else { break };
        match Clock::default().take(&mut head) {
            Some(time) if time < since => low = middle + at as u64,
            Some(_) => high = middle,
            None => break,
        }
    }
    Ok(low)
}

/// Where the last `wanted` messages begin.
async fn last(file: &mut File, length: u64, wanted: u64) -> io::Result<u64> {
    let (mut found, mut end, mut later, mut next) = (0, length, Vec::new(), None);
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let mut bytes = block(file, start, end).await?;
        let own = bytes.len();
        bytes.extend_from_slice(&later);
        for at in (0..own).rev().filter(|at| bytes[*at] == b'\n') {
            // The line behind this break ends where the line after it begins. Behind the last break there is none yet.
            let begin = start + at as u64 + 1;
            if let Some(after) = next.replace(begin)
                && is_whole(&bytes[at + 1..])
            {
                if found == wanted {
                    return Ok(after);
                }
                found += 1;
            }
        }
        if start == 0
            && let Some(after) = next
            && is_whole(&bytes)
            && found == wanted
        {
            return Ok(after);
        }
        bytes.truncate(HEAD);
        (later, end) = (bytes, start);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "2026-11-22T09:25:";

    /// A log of `n` lines, two a second, every third of them in two parts.
    fn text(n: usize) -> String {
        let part = |i: usize, flag: char, what: &str| {
            format!("{DAY}{:02}.{}00000000+01:00 std{} {flag} {what}{i}\n", i / 2, i % 2 * 5, ["out", "err"][i % 2])
        };
        (0..n).map(|i| if i % 3 == 0 { part(i, 'P', "begin") + &part(i, 'F', "end") } else { part(i, 'F', "line") }).collect()
    }

    fn time(i: usize) -> Timestamp {
        Timestamp::parse_rfc3339(&format!("{DAY}{:02}.{}+01:00", i / 2, i % 2 * 5)).unwrap()
    }

    async fn read(text: &str, wanted: &LogQuery) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ctr.log");
        std::fs::write(&path, text).unwrap();
        let (since, until) = (wanted.since, wanted.until);
        let mut log = Log { path, file: None, unread: BytesMut::new(), clock: Clock::default(), since, until, tty: false, watch: None };
        log.begin(wanted).await.unwrap();
        let mut all = Vec::new();
        while let Some(chunk) = log.next().await.unwrap() {
            all.push(String::from_utf8(chunk.bytes.to_vec()).unwrap());
        }
        all
    }

    #[tokio::test]
    async fn parts_of_a_log_are_those_that_are_wanted() {
        let text = text(100);
        let all = read(&text, &LogQuery::default()).await;
        assert_eq!(all.len(), 134);
        assert_eq!(all[..4], ["begin0", "end0\n", "line1\n", "line2\n"]);
        for (tail, want) in [(0, 0), (1, 2), (2, 3), (3, 4), (4, 6), (99, 132), (100, 134), (1_000, 134)] {
            assert_eq!(read(&text, &LogQuery { tail: Some(tail), ..LogQuery::default() }).await, all[134 - want..], "tail {tail}");
        }
        let cut = LogQuery { since: Some(time(97)), until: Some(time(98)), ..LogQuery::default() };
        assert_eq!(read(&text, &cut).await, ["line97\n", "line98\n"]);
        let late = LogQuery { since: Some(time(99)), tail: Some(50), ..LogQuery::default() };
        assert_eq!(read(&text, &late).await, ["begin99", "end99\n"]);
    }

    #[tokio::test]
    async fn long_logs_and_long_lines_are_searched() {
        let long = "x".repeat(300_000);
        let lines: String = (0..60).map(|i| format!("{DAY}{i:02}.000000000Z stdout F {i} {long}\n")).collect();
        let since = Timestamp::parse_rfc3339(&format!("{DAY}41.5Z"));
        let numbers = |all: Vec<String>| all.iter().map(|l| l.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>();
        let wanted = LogQuery { since, ..LogQuery::default() };
        assert_eq!(numbers(read(&lines, &wanted).await), (42..60).map(|i| i.to_string()).collect::<Vec<_>>());
        let wanted = LogQuery { tail: Some(7), ..LogQuery::default() };
        assert_eq!(numbers(read(&lines, &wanted).await), (53..60).map(|i| i.to_string()).collect::<Vec<_>>());
        let many: String = (0..60).flat_map(|s| (0..1_000).map(move |i| format!("{DAY}{s:02}.{i:03}000000Z stdout F {s}.{i}\n"))).collect();
        assert_eq!(read(&many, &LogQuery { since, ..LogQuery::default() }).await.len(), 18_500);
        assert_eq!(read(&many, &LogQuery { tail: Some(12_345), ..LogQuery::default() }).await.len(), 12_345);
    }

    #[tokio::test]
    async fn what_is_no_line_of_a_log_is_left_out() {
        let text = format!("{DAY}01.000000000Z stdout F good\nhalf a li\n{DAY}02.000000000Z stdout X what\n{DAY}03.000000000Z stderr F not yet");
        assert_eq!(read(&text, &LogQuery::default()).await, ["good\n"]);
        assert_eq!(read("", &LogQuery { tail: Some(3), ..LogQuery::default() }).await, Vec::<String>::new());
    }
}
