//! Errors of system calls, in words.

use crate::engine::embedded::record::failed;
use crate::world::{EngineError, ErrorKind};
use std::io;

/// Says what was tried when it failed.
pub trait Told<T> {
    /// The error of `what`.
    fn told(self, what: impl FnOnce() -> String) -> Result<T, EngineError>;
}

impl<T, E: Into<io::Error>> Told<T> for Result<T, E> {
    fn told(self, what: impl FnOnce() -> String) -> Result<T, EngineError> {
        self.map_err(|error| failed(&what(), &error.into()))
    }
}

/// Something that can't be honoured.
pub fn refused(what: impl Into<String>) -> EngineError {
    EngineError::new(ErrorKind::Refused, what)
}

/// Something that this machine or this engine doesn't have.
pub fn unsupported(what: impl Into<String>) -> EngineError {
    EngineError::new(ErrorKind::Unsupported, what)
}
