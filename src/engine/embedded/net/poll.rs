//! One epoll over everything of the network, inside of the supervisor's, and one timer.

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::time::{ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a descriptor that is watched belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A name server's UDP socket.
    Names(u64),
    /// A name server's TCP socket that listens.
    NamesListener(u64),
    /// Somebody who asks by TCP.
    Asker(u64),
    /// A server that was asked.
    Upstream(u64),
    /// A published port.
    Port(u64),
    /// The client's end of a proxied connection.
    Client(u64),
    /// The container's end of it.
    Server(u64),
    /// The container's end of a proxied UDP conversation.
    Session(u64),
    /// The timer.
    Timer,
}

impl Owner {
    fn token(self) -> u64 {
        let (kind, id) = match self {
            Self::Names(id) => (0, id),
            Self::NamesListener(id) => (1, id),
            Self::Asker(id) => (2, id),
            Self::Upstream(id) => (3, id),
            Self::Port(id) => (4, id),
            Self::Client(id) => (5, id),
            Self::Server(id) => (6, id),
            Self::Session(id) => (7, id),
            Self::Timer => (8, 0),
        };
        kind << 56 | id
    }

    fn from_token(token: u64) -> Option<Self> {
        let id = token & ((1 << 56) - 1);
        Some(match token >> 56 {
            0 => Self::Names(id),
            1 => Self::NamesListener(id),
            2 => Self::Asker(id),
            3 => Self::Upstream(id),
            4 => Self::Port(id),
            5 => Self::Client(id),
            6 => Self::Server(id),
            7 => Self::Session(id),
            8 => Self::Timer,
            _ => return None,
        })
    }
}

/// The epoll and its timer.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
    timer: OwnedFd,
    /// When the timer goes off, in milliseconds; 0 never.
    alarm: u64,
    next: u64,
}

impl Poll {
    /// A new one.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn new() -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let poll = Self { epoll, timer, alarm: 0, next: 0 };
        poll.watch(&poll.timer, Owner::Timer, EventFlags::IN)?;
        Ok(poll)
    }

    /// A number that no other owner has.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Watches a descriptor until it is closed.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn watch(&self, what: impl AsFd, owner: Owner, flags: EventFlags) -> std::io::Result<()> {
        Ok(epoll::add(&self.epoll, what, EventData::new_u64(owner.token()), flags)?)
    }

    /// Watches it for something else.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn change(&self, what: impl AsFd, owner: Owner, flags: EventFlags) -> std::io::Result<()> {
        Ok(epoll::modify(&self.epoll, what, EventData::new_u64(owner.token()), flags)?)
    }

    /// What has happened. Doesn't wait.
    pub fn ready(&self) -> Vec<(Owner, EventFlags)> {
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 64];
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let count = epoll::wait(&self.epoll, &mut events[..], Some(&none)).unwrap_or(0);
        events[..count].iter().filter_map(|e| Some((Owner::from_token(e.data.u64())?, e.flags))).collect()
    }

    /// Sets the timer to the time in milliseconds of [`now`]; none switches it off.
    pub fn alarm(&mut self, at: Option<u64>) {
        let at = at.unwrap_or(0);
        if at == self.alarm {
            return;
        }
        self.alarm = at;
        let value = Timespec { tv_sec: (at / 1000).cast_signed(), tv_nsec: i64::try_from(at % 1000 * 1_000_000).unwrap_or(0) };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // Fails only for times that there are not.
        let _ = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec);
    }

    /// Takes note that the timer went off.
    pub fn rang(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8][..]);
        self.alarm = 0;
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Milliseconds since some moment.
pub fn now() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1000 + now.tv_nsec.cast_unsigned() / 1_000_000
}
