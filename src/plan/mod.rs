//! Desired and observed state in, a [`Plan`] out.
//!
//! Pure and synchronous: no clock, no random ids, no prompts, no I/O, no engine. A plan is a value that can be printed,
//! compared and saved; `--dry-run` is the plan itself.

mod types;

pub use types::{Await, Awaited, Gate, Hazard, HazardKind, Node, NodeId, Plan, Shows, Step, Upstream};
