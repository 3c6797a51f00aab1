//! Pure state machines, `(state, fact, now) → (state, action)`: what an engine does that supervises containers.
//!
//! Used where an engine doesn't do it itself. Time comes in as an argument, as a length of time since any fixed start:
//! nothing here reads a clock or waits.

mod health;
mod restart;

pub use health::{Health, HealthConfig, HealthFact, HealthState, Probing};
pub use restart::{Restart, RestartAction, RestartFact, RestartState};
