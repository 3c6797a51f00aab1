//! Safe wrappers of system calls that `rustix` doesn't have. The only place with `unsafe` code; every block says why it
//! is sound.

pub mod bpf;
pub mod memory;
pub mod mount;
pub mod netlink;
pub mod pidfd;
pub mod process;
