//! The embedded engine, part by part, with real kernels, files and processes.
#![cfg(all(feature = "embedded", target_os = "linux"))]

#[path = "embedded/runtime.rs"]
mod runtime;
