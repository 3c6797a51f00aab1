//! Consort: a Compose-style multi-container orchestrator with pluggable engines.
//!
//! # The map
//!
//! ```text
//! rank 7   main.rs   exit code only
//! rank 6   cli       args → settings → one call per command
//! rank 5   ui        events → tty | plain | json ; diagnostics → carets
//! rank 4   run       state (pure) + conductor (the one async loop), logs, exec
//! rank 3   plan   desired + observed → Plan    engine   the port and its adapters    fetch   files from elsewhere
//! rank 2   load   text → Project    graph   order    policy   restart, health, probes    oci   registries
//! rank 1   yaml      model   what was written           world    what exists and what can be done
//! rank 0   diag, units, digest, exit
//! ```
//!
//! A module imports only from lower ranks; modules of one rank are strangers (`yaml` and `model` too). So `plan` and
//! `engine` never meet: `world` is all they share. `tests/layers.rs` holds every `use crate::` to this table.
//!
//! Flow: `files → yaml → load → Project`, `engine.observe → Observed`, both `→ plan → Plan → run ⇄ engine`,
//! `run → Event → ui`.
//!
//! # Invariants
//!
//! - `model` holds no spans and does no I/O; the place of every value is in `load::Provenance`.
//! - `plan` never awaits, reads no clock and draws no random numbers.
//! - An engine never reads YAML and decides nothing.
//! - Only `ui` prints, only `cli` is told the environment, and it is told it as a value.
//! - Nothing polls.

pub mod cli;
pub mod diag;
pub mod digest;
pub mod engine;
pub mod exit;
pub mod fetch;
pub mod graph;
pub mod load;
pub mod model;
pub mod oci;
pub mod plan;
pub mod policy;
pub mod run;
pub mod ui;
pub mod units;
pub mod world;
pub mod yaml;
