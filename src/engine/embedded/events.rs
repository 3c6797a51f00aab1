//! What happens to containers: a file to which supervisors append, a line an event, and which everybody may follow.
//!
//! A line is written by one call to a file open for appending, so lines never mix. When the file has grown too large its
//! writer renames it, alone: others write under a shared lock and look first whether the file is still the one of that
//! name. Readers read the old one to its end before they go on to the new one.

use super::Places;
use super::record::failed;
use crate::world::{EngineError, EngineEvent, ErrorKind};
use bytes::BytesMut;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
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
}

impl EventLog {
    /// Nothing is opened before the first event.
    pub fn new(places: &Places) -> Self {
        Self { path: places.events(), file: None }
    }

    /// Writes an event.
    ///
    /// # Errors
    /// The file can't be opened or written.
    pub fn append(&mut self, project: &str, event: EngineEvent) -> io::Result<()> {
        let mut line = serde_json::to_vec(&EventLine { project: project.to_owned(), event })?;
        line.push(b'\n');
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
        let written = file.write_all(&line);
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
    changes: Changes,
    unread: BytesMut,
}

impl Follower {
    /// Watched from before its end is looked up, so that nothing is missed.
    fn new(path: PathBuf) -> io::Result<Self> {
        let changes = Changes::new()?;
        let mut file = open(&path)?;
        changes.watch(&path)?;
        if !is_current(&file, &path) {
            file = open(&path)?;
            changes.watch(&path)?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Self { path, file, changes, unread: BytesMut::new() })
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
                self.changes.watch(&self.path)?;
                continue;
            }
            self.changes.wait().await?;
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

    #[tokio::test]
    async fn every_event_of_a_project_is_told_across_files() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { state: folder.path().join("state"), run: folder.path().join("run") };
        let (mut a, mut b) = (EventLog::new(&places), EventLog::new(&places));
        a.append("p", event(0)).unwrap();
        let mut mine = events(&places, Some("p")).unwrap();
        let mut all = events(&places, None).unwrap();
        for n in 1..=40_000 {
            let (log, project) = if n % 2 == 0 { (&mut a, "p") } else { (&mut b, "q") };
            log.append(project, event(n)).unwrap();
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
        b.append("p", event(7)).unwrap();
        assert_eq!(later.await.unwrap(), event(7));
    }
}
