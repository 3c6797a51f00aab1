//! Terminals of containers (`tty: true`). A terminal ends with the last descriptor of its master, and whoever sits at it
//! gets SIGHUP. So a copy of the supervisor has it, which does nothing but to carry what comes out of it into the FIFO of
//! standard output. It outlives the supervisor, and all the rest is as for a container without a terminal.

use super::super::record;
use super::super::sys::process::{self, Cloned};
use super::capture::fifo;
use super::turn::{Source, Supervisor};
use super::wait::Token;
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::OpenptFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What is carried at once.
const BLOCK: usize = 16 * 1024;

/// Who holds a terminal.
#[derive(Debug)]
pub struct Holder {
    /// Its process.
    pub pidfd: OwnedFd,
    /// How its end is waited for.
    pub token: Token,
}

/// The file that says who holds the terminal of a container: its pid, and when it began.
fn note(run: &Path) -> std::path::PathBuf {
    run.join("terminal")
}

impl Supervisor {
    /// Has a copy hold the terminal of a container with this process 1.
    ///
    /// # Errors
    /// It can't be made: then the terminal ends.
    pub fn hold_terminal(&mut self, id: &str, master: &OwnedFd, container: BorrowedFd<'_>) -> std::io::Result<Holder> {
        let run = self.places.run_of(id);
        let (_, output) = fifo(&run.join("stdout"))?;
        let (ready, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        match process::clone(0, None)? {
            Cloned::Child => {
                let kept = [master, &output, &theirs].map(AsRawFd::as_raw_fd);
                if process::close_all_but(&[kept.as_slice(), &[container.as_raw_fd()]].concat()).is_ok() {
                    process::set_title("consort-terminal");
                    drop(theirs);
                    carry(master, &output, container);
                }
                process::exit(0);
            }
            Cloned::Parent { pid, pidfd } => {
                drop(theirs);
                // From now on it is another process than this one for everybody who looks, and is not taken for it.
                let _ = rustix::io::read(&ready, &mut [0_u8; 1]);
                let begun = super::adopt::begun(pid).unwrap_or_default();
                let token = record::write(&note(&run), &(pid, begun))
                    .map_err(std::io::Error::other)
                    .and_then(|()| self.poll.add(&pidfd, EventFlags::IN, Source::Held(id.to_owned())));
                match token {
                    Ok(token) => Ok(Holder { pidfd, token }),
                    Err(error) => {
                        super::exit::destroy(&pidfd);
                        Err(error)
                    }
                }
            }
        }
    }

    /// Finds who holds the terminal of a container that is taken over.
    pub fn find_holder(&mut self, id: &str) -> Option<Holder> {
        let (pid, begun): (i32, u64) = record::read(&note(&self.places.run_of(id))).ok()??;
        let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // It may be another one that has its number by now.
        if super::adopt::begun(pid) != Some(begun) {
            return None;
        }
        let token = self.poll.add(&pidfd, EventFlags::IN, Source::Held(id.to_owned())).ok()?;
        Some(Holder { pidfd, token })
    }

    /// Whoever held a terminal has ended: with the container, and after all that it had printed; or it was killed, and then
    /// the container hears of that.
    pub fn held(&mut self, id: &str) {
        let Some(run) = self.containers.get_mut(id).and_then(|c| c.run.as_mut()) else { return };
        let Some(holder) = run.terminal.take() else { return };
        let ended = run.ended.take();
        self.poll.remove(holder.token, &holder.pidfd);
        super::exit::end_of(&holder.pidfd);
        if let Some((code, unknown)) = ended {
            self.forget(id, code, unknown);
        }
    }
}

/// Carries what is printed until the container has ended and nothing is left.
fn carry(master: &OwnedFd, output: &OwnedFd, container: BorrowedFd<'_>) {
    // As long as one has the other side open there is no hanging up, which would be reported again and again.
    let side = rustix::pty::ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).ok();
    let _ = rustix::io::ioctl_fionbio(master, true);
    let mut block = vec![0; BLOCK];
    loop {
        let mut waited = vec![PollFd::from_borrowed_fd(container, PollFlags::IN), PollFd::new(master, PollFlags::IN)];
        if poll(&mut waited, None).is_err_and(|e| e != Errno::INTR) {
            return;
        }
        let over = waited.first().is_some_and(|w| !w.revents().is_empty());
        let mut closed = false;
        loop {
            match rustix::io::read(master, block.as_mut_slice()) {
                Ok(0) | Err(Errno::IO) => {
                    closed = true;
                    break;
                }
                Ok(n) => write_all(output.as_fd(), block.get(..n).unwrap_or_default()),
                Err(Errno::INTR) => {}
                // The kernel has carried over what was on its way, before it says so.
                Err(_) => break,
            }
        }
        if over {
            return;
        }
        if closed && side.is_none() {
            // Nobody has it open, and nobody can be waited for who opens it.
            let _ = poll(&mut [PollFd::from_borrowed_fd(container, PollFlags::IN)], None);
            return;
        }
    }
}

fn write_all(output: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(output, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
