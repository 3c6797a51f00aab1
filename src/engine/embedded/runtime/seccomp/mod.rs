//! Which system calls a container may make: Docker's default profile, or one of the user's, as a program for the kernel.

mod compile;
mod profile;
mod table;

use super::error::refused;
use super::privilege::Set;
use crate::engine::embedded::sys::process::Instruction;
use crate::world::EngineError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use profile::oci;

/// A compiled profile.
pub type Program = Arc<[Instruction]>;

/// The program for a container with these capabilities; none for `unconfined`. `option` is what follows `seccomp=`:
/// nothing, `builtin`, `unconfined`, or the text of a profile. Each is compiled once.
///
/// # Errors
/// A profile that can't be understood.
pub fn program(option: &str, capabilities: Set) -> Result<Option<Program>, EngineError> {
    static COMPILED: Mutex<BTreeMap<(Set, String), Program>> = Mutex::new(BTreeMap::new());
    if option == "unconfined" {
        return Ok(None);
    }
    let option = if option == "builtin" || option == "default" { "" } else { option };
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (capabilities, option.to_owned());
    if let Some(program) = compiled.get(&key) {
        return Ok(Some(program.clone()));
    }
    let rules = if option.is_empty() { profile::default(capabilities) } else { profile::read(option, capabilities)? };
    let program: Program = compile::compile(&rules).into();
    // BPF_MAXINSNS.
    if program.len() > 4096 {
        return Err(refused(format!("the seccomp profile is too long: {} instructions, of which the kernel takes 4096", program.len())));
    }
    compiled.insert(key, program.clone());
    Ok(Some(program))
}
