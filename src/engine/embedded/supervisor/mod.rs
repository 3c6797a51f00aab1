//! The supervisor of a project: one process, one thread, no tokio.
//!
//! ```text
//! wire       what commands say to it            launch   starting one, from the command's side
//! host       the process: locks, arguments      turn     the loop, and what happens in it
//! connection bytes of a command                 wait     epoll and timers         clock   the time
//! create, start, stop, network, probe           ops and what follows from them     litter   what is left of them
//! adopt      taking over from one that was killed, or from before a reboot
//! capture    pipes of containers → log          log      the format, for readers too
//! terminal   what keeps a terminal alive
//! ```
//!
//! It alone creates, changes and removes the containers of its project. Everything that must outlive it is written down
//! at the moment it happens, so it may be ended by any signal: SIGTERM and SIGKILL are the same to it. Its containers go
//! on, what they print waits in their pipes, and the next command starts another one, which adopts them.

mod adopt;
mod capture;
mod clock;
mod connection;
mod container;
mod create;
mod exit;
mod host;
pub mod launch;
mod litter;
pub mod log;
mod network;
mod probe;
mod start;
mod stop;
mod terminal;
mod turn;
mod wait;
pub mod wire;

pub(super) use host::main;
