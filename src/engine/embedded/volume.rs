//! Volumes: folders with a name.

use super::Places;
use super::record::VolumeRecord;
use crate::world::{EngineError, ErrorKind, VolumeSpec};
use std::path::PathBuf;

/// Makes a volume; the one that is there is left as it is.
///
/// # Errors
/// A driver or an option that can't be honoured; no room.
pub fn create(places: &Places, spec: &VolumeSpec, anonymous: bool) -> Result<VolumeRecord, EngineError> {
    let _ = (places, anonymous);
    Err(EngineError::new(ErrorKind::Unsupported, format!("volume {} can't be made yet", spec.name)))
}

/// Removes a volume and what is in it. False if there is none.
///
/// # Errors
/// [`ErrorKind::Conflict`] while a container has it mounted, running or not.
pub fn remove(places: &Places, name: &str) -> Result<bool, EngineError> {
    let _ = (places, name);
    Ok(false)
}

/// All volumes.
///
/// # Errors
/// A record that can't be read.
pub fn list(places: &Places) -> Result<Vec<VolumeRecord>, EngineError> {
    let _ = places;
    Ok(Vec::new())
}

/// Folder of a volume's content.
pub fn content(places: &Places, name: &str) -> PathBuf {
    places.volumes().join(name).join("_data")
}
