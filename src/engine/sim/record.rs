//! What a simulated engine remembers for those who test with it.

use crate::units::Timestamp;
use crate::world::{Applied, EngineError, EngineEvent, Health, Op, State};
use std::collections::{BTreeMap, BTreeSet};

/// Something that happened in the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An op was asked for.
    Begun {
        /// When.
        at: Timestamp,
        /// Which: its place among all ops.
        number: usize,
        /// What.
        op: Box<Op>,
    },
    /// An op ended.
    Ended {
        /// When.
        at: Timestamp,
        /// Which.
        number: usize,
        /// How.
        outcome: Result<Applied, EngineError>,
    },
    /// An event was told.
    Event(EngineEvent),
}

/// An op that was asked for, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When it was asked for.
    pub begun: Timestamp,
    /// When it ended and how; `None` while it runs.
    pub ended: Option<(Timestamp, Result<Applied, EngineError>)>,
    /// The op.
    pub op: Op,
}

/// What exists, for comparisons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Containers by name.
    pub containers: BTreeMap<String, ContainerShot>,
    /// Names of networks.
    pub networks: BTreeSet<String>,
    /// Names of volumes.
    pub volumes: BTreeSet<String>,
    /// Local images, full references.
    pub images: BTreeSet<String>,
}

/// A container of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerShot {
    /// Id.
    pub id: String,
    /// Project.
    pub project: String,
    /// Service.
    pub service: String,
    /// State.
    pub state: State,
    /// Health.
    pub health: Option<Health>,
    /// Exit code of the last run.
    pub exit_code: i64,
    /// How often it was started, by whomever.
    pub starts: u32,
}

/// One line for each thing: `container p-web-1: running (healthy)`.
impl std::fmt::Display for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, c) in &self.containers {
            write!(f, "container {name}: {}", c.state.as_str())?;
            match (c.state, c.health) {
                (State::Exited | State::Restarting, _) => writeln!(f, " ({})", c.exit_code)?,
                (_, Some(health)) => writeln!(f, " ({})", health.as_str())?,
                (_, None) => writeln!(f)?,
            }
        }
        for name in &self.networks {
            writeln!(f, "network {name}")?;
        }
        for name in &self.volumes {
            writeln!(f, "volume {name}")?;
        }
        Ok(())
    }
}
