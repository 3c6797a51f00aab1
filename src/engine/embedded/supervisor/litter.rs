//! What is left of containers that are gone. Little is removed at once; much is removed by a copy of this process, so that
//! logs, probes and commands don't wait for the disk.
//!
//! None of it is in anybody's way: a container's folders have its id, and without a record nobody sees them. They are
//! listed among the project's containers until they are gone, so whatever a sudden end leaves is found by the next
//! supervisor.

use super::super::sys::process::{self, Cloned};
use super::super::volume;
use super::turn::{Source, Supervisor};
use rustix::event::epoll::EventFlags;
use std::collections::VecDeque;
use std::io::ErrorKind as Io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Most entries of what is removed at once.
const ENTRIES: usize = 500;
/// Most bytes of what is removed at once: blocks of large files take their time too.
const BYTES: u64 = 32 << 20;

/// Folders that go, and a file that says so until they have gone.
#[derive(Debug, Default)]
pub struct Litter {
    folders: Vec<PathBuf>,
    entry: Option<PathBuf>,
}

/// What is still to be removed, and by whom.
#[derive(Debug, Default)]
pub struct Litters {
    waiting: Vec<Litter>,
    /// The copy that is at it.
    sweeper: Option<(OwnedFd, super::wait::Token)>,
}

impl Litter {
    /// Removes it. What can't be removed now is tried again by the next supervisor: its entry stays.
    fn remove(&self) {
        for folder in &self.folders {
            if let Err(error) = std::fs::remove_dir_all(folder)
                && error.kind() != Io::NotFound
            {
                return;
            }
        }
        if let Some(entry) = &self.entry {
            let _ = std::fs::remove_file(entry);
        }
    }

    fn is_small(&self) -> bool {
        let (mut entries, mut bytes) = (0, 0);
        let mut left: VecDeque<PathBuf> = self.folders.iter().cloned().collect();
        while let Some(folder) = left.pop_front() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                entries += 1;
                bytes += metadata.blocks() * 512;
                if entries > ENTRIES || bytes > BYTES {
                    return false;
                }
                if metadata.is_dir() {
                    left.push_back(entry.path());
                }
            }
        }
        true
    }
}

impl Supervisor {
    /// Removes what is left of a container that has no record any more, or that never had one. What another one uses
    /// meanwhile (its name, a volume) is left alone.
    pub fn sweep(&mut self, id: &str) {
        let folder = self.places.container(id);
        let entry = self.places.members(&self.project).join(id);
        let _ = std::fs::remove_file(folder.join("container.json"));
        let _ = std::fs::remove_file(self.places.name(&format!(".{id}")));
        let mut folders = vec![self.places.run_of(id), self.places.upper(id), folder];
        for name in std::fs::read_to_string(&entry).unwrap_or_default().lines() {
            if volume::find(&self.places, name).is_ok_and(|v| v.is_some_and(|v| v.anonymous)) {
                // Another container may use it: then it stays.
                let _ = volume::set_aside(&self.places, name);
            }
            // Those that were set aside before a sudden end, too.
            folders.extend(volume::set_aside_before(&self.places, name));
        }
        self.discard(Litter { folders, entry: Some(entry) });
    }

    fn discard(&mut self, litter: Litter) {
        if litter.is_small() {
            litter.remove();
        } else {
            self.litters.waiting.push(litter);
            self.send_sweeper();
        }
    }

    /// Has a copy remove what waits, if none is at it.
    fn send_sweeper(&mut self) {
        if self.litters.sweeper.is_some() || self.litters.waiting.is_empty() {
            return;
        }
        let all = std::mem::take(&mut self.litters.waiting);
        match process::clone(0, None) {
            Ok(Cloned::Child) => {
                // The lock of the project, for one, is not to be held.
                let closed = process::close_all_but(&[]);
                process::set_title("consort-sweeper");
                if closed.is_ok() {
                    all.iter().for_each(Litter::remove);
                }
                process::exit(0);
            }
            Ok(Cloned::Parent { pidfd, .. }) => match self.poll.add(&pidfd, EventFlags::IN, Source::Swept) {
                Ok(token) => self.litters.sweeper = Some((pidfd, token)),
                // It does its work; only nobody hears of its end.
                Err(_) => drop(pidfd),
            },
            // Then others wait.
            Err(_) => all.iter().for_each(Litter::remove),
        }
    }

    /// The copy has ended.
    pub fn swept(&mut self) {
        if let Some((pidfd, token)) = self.litters.sweeper.take() {
            self.poll.remove(token, &pidfd);
            super::exit::end_of(&pidfd);
        }
        self.send_sweeper();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_is_many_files_or_large_ones() {
        let folder = tempfile::tempdir().unwrap();
        let litter = Litter { folders: vec![folder.path().join("absent"), folder.path().to_owned()], entry: None };
        for n in 0..ENTRIES - 1 {
            std::fs::write(folder.path().join(n.to_string()), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        assert!(litter.is_small());
        std::fs::write(folder.path().join("deep/more"), "").unwrap();
        assert!(!litter.is_small());
        litter.remove();
        std::fs::create_dir(folder.path()).unwrap();
        assert!(litter.is_small());
        std::fs::write(folder.path().join("large"), vec![1; 1 + usize::try_from(BYTES).unwrap()]).unwrap();
        assert!(!litter.is_small());
    }
}
