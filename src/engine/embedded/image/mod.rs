//! Images: a content-addressed store, and the ways in and out of it.

use super::Places;
use crate::engine::ProgressSink;
use crate::units::Timestamp;
use crate::world::{EngineError, ErrorKind, HealthcheckSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// An image that is here, its layers unpacked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// Digest of its configuration, `sha256:…`.
    pub id: String,
    /// What it says of its containers.
    pub config: ImageConfig,
    /// Folders of its layers, the lowest first, in the form that overlayfs wants (whiteouts are character devices 0:0).
    /// A container must not write into them.
    pub layers: Vec<PathBuf>,
    /// When a tag was last put on it.
    pub tagged: Option<Timestamp>,
}

/// What an image says of its containers (the `config` of the OCI image specification).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `K=V`.
    pub env: Vec<String>,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Command.
    pub cmd: Vec<String>,
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// Working directory.
    pub working_dir: String,
    /// `80/tcp`.
    pub exposed: Vec<String>,
    /// Paths of volumes.
    pub volumes: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Stop signal; empty is SIGTERM.
    pub stop_signal: String,
    /// Health check.
    pub healthcheck: Option<HealthcheckSpec>,
}

impl Store {
    /// The store below `places`, made if it isn't there.
    ///
    /// # Errors
    /// It can't be made.
    pub fn open(places: &Places) -> Result<Self, EngineError> {
        Ok(Self { root: places.images() })
    }

    /// The image called `reference`, if it is here for `platform` (`os/arch[/variant]`; none is this machine's).
    ///
    /// # Errors
    /// The store can't be read.
    pub fn find(&self, reference: &str, platform: Option<&str>) -> Result<Option<Image>, EngineError> {
        let _ = (&self.root, reference, platform);
        Ok(None)
    }

    /// Fetches an image. `environment` tells where credentials are and how the network is reached.
    ///
    /// # Errors
    /// It can't be had; what is not an image; no room.
    pub async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        environment: &BTreeMap<String, String>,
        progress: &ProgressSink,
    ) -> Result<Image, EngineError> {
        let _ = (platform, environment, progress);
        Err(EngineError::new(ErrorKind::Unsupported, format!("{reference} can't be pulled yet")))
    }

    /// Takes the name `reference` away; the image goes with its last name. False if there was no such name.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn untag(&self, reference: &str) -> Result<bool, EngineError> {
        let _ = reference;
        Ok(false)
    }
}
