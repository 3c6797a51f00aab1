//! The embedded engine: containers of our own, where no engine is installed. Linux, as root.
//!
//! # The map
//!
//! ```text
//! the command (tokio)                               the supervisor (one per project, no tokio, one thread)
//! Embedded ── changes of containers: Op ─ socket ─▶ supervisor ─▶ runtime   clone, mounts, privileges, exec
//!    │                                                   │    └──▶ cgroup    limits, freezing, out of memory
//!    │ images, volumes, networks, reading,               └───────▶ net       bridges, addresses, DNS, ports
//!    │ logs, events, exec: straight                          logs, health, restarts (`policy`)
//!    ▼                                                   ▼
//!   the files of [`Places`]: what exists, whether anybody runs or not
//! ```
//!
//! The files are the truth, and each of them has one writer: containers belong to the supervisor of their project,
//! which alone creates, changes and removes them; images, volumes and networks belong to nobody, and are made and removed
//! by rename under a lock. So a command may be killed at any step, and what it leaves is whole: the next one goes on.
//! A supervisor lives as long as a container of its project runs, or a command talks to it. When it is killed its
//! containers live on; whoever looks next starts another one, which adopts them.
//!
//! `sys` is the only place with `unsafe` code.

pub mod cgroup;
pub mod image;
pub mod net;
mod part;
mod place;
pub mod record;
pub mod runtime;
pub mod supervisor;
mod sys;
pub mod volume;

pub use part::enter;
pub use place::Places;
