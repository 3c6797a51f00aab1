//! What happens to containers: a file to which supervisors append, a line an event, and which everybody may follow.
//!
//! Lines are written by one call to a file open for appending, so lines never mix. When the file has grown too large its
//! writer renames it, alone: others write under a shared lock and look first whether the file is still the one of that
//! name. Readers read the old one to its end before they go on to the new one.
//!
//! Whoever follows has a datagram socket in a folder, and whoever has written knocks at each of them. (The kernel could
//! tell as well that a file was written to, by inotify(7); but whoever has asked it for that waits until all processors
//! have taken notice when he ends, which takes longer than most commands do.)

use super::Places;
use super::record::failed;
use crate::world::{EngineError, EngineEvent, ErrorKind};
use bytes::BytesMut;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Above this many bytes a new file is begun.
const LARGE: u64 = 8 << 20;
/// How much is read at once.
const BLOCK: usize = 32 * 1024;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// The container's project; empty without one.
    pub project: String,
    /// What happened.
    pub event: EngineEvent,
}

/// The file, to write to.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: Option<File>,
    /// Lines to be written.
    lines: Vec<u8>,
    knocker: Option<Knocker>,
}

impl EventLog {
    /// Nothing is opened before the first event.
    pub fn new(places: &Places) -> Self {
        Self { path: places.events(), file: None, lines: Vec::new(), knocker: None }
    }

    /// Takes an event. It is told by the next [`EventLog::flush`].
    pub fn append(&mut self, project: &str, event: EngineEvent) {
        // Maps with keys that are no texts are all that JSON refuses; no event has one.
        let line = serde_json::to_vec(&EventLine { project: project.to_owned(), event }).unwrap_or_default();
        self.lines.extend(line);
        self.lines.push(b'\n');
    }

    /// Writes what has happened, and wakes those who follow.
    ///
    /// # Errors
    /// The file can't be opened or written.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        self.write(&lines)?;
        if self.knocker.is_none() {
            self.knocker = Some(Knocker::new(&listeners(&self.path))?);
        }
        if let Some(knocker) = &mut self.knocker {
            knocker.knock();
        }
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut file = loop {
            let file = match self.file.take() {
                Some(file) => file,
                None => open(&self.path)?,
            };
            flock(&file, FlockOperation::LockShared)?;
            // While the lock was waited for, or since the last event, another one may have been begun.
            if is_current(&file, &self.path) {
                break file;
            }
        };
        let written = file.write_all(lines);
        let large = file.metadata().is_ok_and(|m| m.len() > LARGE);
        flock(&file, FlockOperation::Unlock)?;
        if large && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            if is_current(&file, &self.path) {
                std::fs::rename(&self.path, self.path.with_extension("1"))?;
            }
            return written;
        }
        self.file = Some(file);
        written
    }
}

/// The folder of the sockets of those who follow, beside the file.
fn listeners(events: &Path) -> PathBuf {
    events.with_file_name("listeners")
}

/// A folder, made if it isn't there; closed to others.
fn folder(path: &Path) -> io::Result<OwnedFd> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// What a folder looked like: its inode and when it was changed, in seconds and nanoseconds.
type Version = (u64, i64, i64);

/// Wakes those who follow.
#[derive(Debug)]
struct Knocker {
    path: PathBuf,
    folder: OwnedFd,
    socket: UnixDatagram,
    /// Who was there when the folder looked like that; none if it may have changed since without a trace.
    known: Option<Version>,
    doors: Vec<std::ffi::OsString>,
}

impl Knocker {
    fn new(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { path: path.to_owned(), folder: folder(path)?, socket, known: None, doors: Vec::new() })
    }

    /// Knocks at every door. Who has been knocked for and hasn't looked yet needs no more; who is gone leaves his door,
    /// which is taken away.
    fn knock(&mut self) {
        self.look();
        let within = PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd()));
        for name in &self.doors {
            let door = within.join(name);
            if self.socket.send_to(b".", &door).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
                let _ = std::fs::remove_file(&door);
            }
        }
    }

    /// Sees who is there: a look at the folder's time, mostly.
    fn look(&mut self) {
        let now = match std::fs::metadata(&self.path).map(|m| (m.ino(), m.ctime(), m.ctime_nsec())) {
            Ok(now) => now,
            // Somebody has cleaned up; the next follower makes it anew.
            Err(_) => return self.doors.clear(),
        };
        if self.known == Some(now) {
            return;
        }
        if let Ok(folder) = folder(&self.path) {
            self.folder = folder;
        }
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let age = (time.tv_sec - now.1).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec - now.2);
        self.doors = std::fs::read_dir(&self.path).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        self.known = (age > TICK).then_some(now);
    }
}

/// Nanoseconds that a file system's clock may stand still.
const TICK: i64 = 20_000_000;

/// The socket at which a follower is woken.
#[derive(Debug)]
struct Bell {
    path: PathBuf,
    socket: tokio::net::UnixDatagram,
}

impl Bell {
    fn new(path: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let folder = folder(path)?;
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let door = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(&name);
        // Another process had this number, and was killed.
        let _ = std::fs::remove_file(&door);
        let socket = UnixDatagram::bind(&door)?;
        socket.set_nonblocking(true)?;
        Ok(Self { path: path.join(name), socket: tokio::net::UnixDatagram::from_std(socket)? })
    }

    /// Waits until somebody has knocked since the last time.
    async fn wait(&self) -> io::Result<()> {
        self.socket.readable().await?;
        while self.socket.try_recv(&mut [0]).is_ok() {}
        Ok(())
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // Whoever knocks next would do it, too.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Opens the file, made if it isn't there.
fn open(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    match (open(), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            open()
        }
        (result, _) => result,
    }
}

fn is_current(file: &File, path: &Path) -> bool {
    matches!((file.metadata(), std::fs::metadata(path)), (Ok(own), Ok(now)) if own.ino() == now.ino() && own.dev() == now.dev())
}

/// What happens from now on to the containers of a project, or of all.
///
/// # Errors
/// The file can't be opened or watched.
pub fn events(places: &Places, project: Option<&str>) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
    let follower = Follower::new(places.events()).map_err(|e| failed("what happens to containers can't be followed", &e))?;
    let project = project.map(str::to_owned);
    let events = stream::unfold((Some(follower), project), |(follower, project)| async move {
        let mut follower = follower?;
        loop {
            match follower.next().await {
                Ok(line) if project.as_ref().is_none_or(|p| *p == line.project) => return Some((Ok(line.event), (Some(follower), project))),
                Ok(_) => {}
                Err(error) => {
                    let error =
                        EngineError::new(ErrorKind::Unreachable, "what happens to containers can't be followed any more").because(error.to_string());
                    return Some((Err(error), (None, project)));
                }
            }
        }
    });
    Ok(events.boxed())
}

/// The file, to read from.
struct Follower {
    path: PathBuf,
    file: File,
    bell: Bell,
    unread: BytesMut,
}

impl Follower {
    /// There is a bell before the end of the file is looked up, so that nothing is missed.
    fn new(path: PathBuf) -> io::Result<Self> {
        let bell = Bell::new(&listeners(&path))?;
        let mut file = open(&path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { path, file, bell, unread: BytesMut::new() })
    }

    async fn next(&mut self) -> io::Result<EventLine> {
        loop {
            while let Some(at) = self.unread.iter().position(|b| *b == b'\n') {
                // A line that a supervisor of another version wrote may not be understood.
                if let Ok(event) = serde_json::from_slice(&self.unread.split_to(at + 1)) {
                    return Ok(event);
                }
            }
            if self.fill()? {
                continue;
            }
            if !is_current(&self.file, &self.path) {
                // All of the old one was read after it had its new name: nobody writes to it any more but who held the lock.
                flock(&self.file, FlockOperation::LockShared)?;
                if self.fill()? {
                    continue;
                }
                self.file = open(&self.path)?;
                continue;
            }
            self.bell.wait().await?;
        }
    }

    /// Reads on. False at the end of the file. It lies in memory; waiting for a thread would take longer.
    fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; BLOCK];
        let n = self.file.read(&mut buffer)?;
        self.unread.extend_from_slice(buffer.get(..n).unwrap_or_default());
        Ok(n > 0)
    }
}

/// A queue of the kernel's for changes of files.
#[derive(Debug)]
pub struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    /// Empty.
    ///
    /// # Errors
    /// There are too many.
    #[expect(deprecated, reason = "it is sound for what owns its descriptor; the successor is not safe to call")]
    pub fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|error| {
            let hint = "too many are watched already (sysctl fs.inotify.max_user_instances)";
            if error == rustix::io::Errno::MFILE { io::Error::other(hint) } else { error.into() }
        })?;
        AsyncFd::with_interest(fd, Interest::READABLE).map(Self)
    }

    /// Watches a file or folder from now on.
    ///
    /// # Errors
    /// It isn't there.
    pub fn watch(&self, path: &Path) -> io::Result<()> {
        let kinds = WatchFlags::MODIFY
            | WatchFlags::MOVE_SELF
            | WatchFlags::DELETE_SELF
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM;
        inotify::add_watch(&self.0, path, kinds)?;
        Ok(())
    }

    /// Waits until something has changed since the last time.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn wait(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut buffer = [0; 4096];
        while rustix::io::read(ready.get_inner(), &mut buffer).is_ok_and(|n| n > 0) {}
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;
    use crate::world::{ContainerId, EventKind};

    fn event(n: i64) -> EngineEvent {
        EngineEvent { time: Timestamp(n), container: ContainerId { id: "c".repeat(64), ..ContainerId::default() }, kind: EventKind::Started }
    }

    fn tell(log: &mut EventLog, project: &str, n: i64) {
        log.append(project, event(n));
        log.flush().unwrap();
    }

    #[tokio::test]
    async fn every_event_of_a_project_is_told_across_files() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { state: folder.path().join("state"), run: folder.path().join("run") };
        let (mut a, mut b) = (EventLog::new(&places), EventLog::new(&places));
        tell(&mut a, "p", 0);
        let mut mine = events(&places, Some("p")).unwrap();
        let mut all = events(&places, None).unwrap();
        for n in 1..=40_000 {
            let (log, project) = if n % 2 == 0 { (&mut a, "p") } else { (&mut b, "q") };
            tell(log, project, n);
        }
        assert!(places.run.join("events.1").exists(), "a second file was begun");
        for n in 1..=40_000 {
            if n % 2 == 0 {
                assert_eq!(mine.next().await.unwrap().unwrap(), event(n));
            }
            assert_eq!(all.next().await.unwrap().unwrap(), event(n));
        }
        let later = tokio::spawn(async move { mine.next().await.unwrap().unwrap() });
        tokio::task::yield_now().await;
        tell(&mut b, "p", 7);
        assert_eq!(later.await.unwrap(), event(7));
    }

    #[tokio::test]
    async fn who_follows_is_woken_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        // Longer than the address of a socket may be.
        let places = Places { state: folder.path().join("state"), run: folder.path().join("r".repeat(200)) };
        let doors = || std::fs::read_dir(places.run.join("listeners")).unwrap().count();
        let mut log = EventLog::new(&places);
        tell(&mut log, "p", 0);
        for n in 1..=3 {
            let mut events = events(&places, Some("p")).unwrap();
            assert_eq!(doors(), 1);
            let next = tokio::spawn(async move { events.next().await.unwrap().unwrap() });
            tokio::task::yield_now().await;
            tell(&mut log, "p", n);
            assert_eq!(next.await.unwrap(), event(n));
            assert_eq!(doors(), 0);
        }
        // One that was killed: its door leads nowhere.
        drop(UnixDatagram::bind(folder.path().join("dead")).unwrap());
        std::fs::rename(folder.path().join("dead"), places.run.join("listeners/1-1")).unwrap();
        let mut events = events(&places, Some("p")).unwrap();
        tell(&mut log, "p", 9);
        assert_eq!(events.next().await.unwrap().unwrap(), event(9));
        assert_eq!(doors(), 1);
    }
}
