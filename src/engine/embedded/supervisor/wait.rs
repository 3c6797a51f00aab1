//! What a supervisor waits for: descriptors, by epoll, and times.

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Most events that are taken at once.
const BATCH: usize = 64;

/// A descriptor that is waited for. It must be given back ([`Poll::remove`]) before the descriptor is closed: a process
/// that has a copy of it would keep it alive here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(u64);

/// An epoll, and what each of its descriptors means.
#[derive(Debug)]
pub struct Poll<S> {
    epoll: OwnedFd,
    sources: BTreeMap<Token, S>,
    next: u64,
}

impl<S: Clone> Poll<S> {
    /// Nothing to wait for yet.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, sources: BTreeMap::new(), next: 1 })
    }

    /// Waits for `descriptor` too.
    ///
    /// # Errors
    /// The kernel's limit of watches.
    pub fn add(&mut self, descriptor: impl AsFd, events: EventFlags, source: S) -> std::io::Result<Token> {
        let token = Token(self.next);
        epoll::add(&self.epoll, descriptor, EventData::new_u64(token.0), events)?;
        self.next += 1;
        self.sources.insert(token, source);
        Ok(token)
    }

    /// Waits for other events of it from now on.
    pub fn change(&self, token: Token, descriptor: impl AsFd, events: EventFlags) {
        // It can only fail for a descriptor that isn't there.
        let _ = epoll::modify(&self.epoll, descriptor, EventData::new_u64(token.0), events);
    }

    /// Waits for it no more.
    pub fn remove(&mut self, token: Token, descriptor: impl AsFd) {
        self.sources.remove(&token);
        let _ = epoll::delete(&self.epoll, descriptor);
    }

    /// What the events of a batch mean, as long as the descriptor is still waited for when its turn comes.
    pub fn source(&self, token: Token) -> Option<S> {
        self.sources.get(&token).cloned()
    }

    /// Waits until something happens, or so long.
    ///
    /// # Errors
    /// None that a sound descriptor could have.
    pub fn wait(&self, timeout: Option<Duration>) -> std::io::Result<Vec<(Token, EventFlags)>> {
        let timeout = timeout.map(|t| Timespec { tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX), tv_nsec: t.subsec_nanos().into() });
        let mut events: Vec<Event> = Vec::with_capacity(BATCH);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events.iter().map(|e| (Token(e.data.u64()), e.flags)).collect())
    }
}

/// What is due when.
#[derive(Debug)]
pub struct Timers<T> {
    heap: BinaryHeap<Reverse<(Duration, u64)>>,
    what: BTreeMap<u64, T>,
    next: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), what: BTreeMap::new(), next: 0 }
    }
}

impl<T> Timers<T> {
    /// Says `what` at the time `at`.
    pub fn add(&mut self, at: Duration, what: T) {
        self.heap.push(Reverse((at, self.next)));
        self.what.insert(self.next, what);
        self.next += 1;
    }

    /// How long to wait for the next one.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        self.heap.peek().map(|Reverse((at, _))| at.saturating_sub(now))
    }

    /// The next one that is due.
    pub fn due(&mut self, now: Duration) -> Option<T> {
        let Reverse((at, number)) = *self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        self.what.remove(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_the_order_of_their_times() {
        let s = Duration::from_secs;
        let mut timers = Timers::default();
        assert_eq!(timers.wait(s(0)), None);
        for (at, what) in [(5, "e"), (2, "a"), (2, "b"), (9, "z")] {
            timers.add(s(at), what);
        }
        assert_eq!(timers.wait(s(1)), Some(s(1)));
        assert_eq!(timers.due(s(1)), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.due(s(6))).collect();
        assert_eq!(due, ["a", "b", "e"]);
        assert_eq!(timers.wait(s(10)), Some(s(0)));
    }

    #[test]
    fn a_descriptor_is_reported_as_long_as_it_is_watched() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut poll = Poll::new().unwrap();
        let token = poll.add(&read, EventFlags::IN, "pipe").unwrap();
        assert!(poll.wait(Some(Duration::ZERO)).unwrap().is_empty());
        rustix::io::write(&write, b"x").unwrap();
        let events = poll.wait(None).unwrap();
        assert_eq!(events.iter().map(|(t, _)| poll.source(*t)).collect::<Vec<_>>(), [Some("pipe")]);
        poll.remove(token, &read);
        assert_eq!(poll.source(token), None);
        assert!(poll.wait(Some(Duration::ZERO)).unwrap().is_empty());
    }
}
