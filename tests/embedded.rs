//! The embedded engine, part by part, with real kernels, files and processes.
#![cfg(all(feature = "embedded", target_os = "linux"))]

#[path = "embedded/faults.rs"]
mod faults;
#[path = "embedded/images.rs"]
mod images;
#[path = "embedded/isolation.rs"]
mod isolation;
#[path = "embedded/kills.rs"]
mod kills;
#[path = "embedded/limits.rs"]
mod limits;
#[path = "embedded/machine.rs"]
mod machine;
#[path = "embedded/net.rs"]
mod net;
#[path = "embedded/oci.rs"]
mod oci;
#[path = "embedded/runtime.rs"]
mod runtime;
#[path = "embedded/stage.rs"]
mod stage;
#[path = "embedded/supervisor.rs"]
mod supervisor;
mod support;
