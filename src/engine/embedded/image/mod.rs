//! Images: a content-addressed store, and the ways in and out of it.
//!
//! ```text
//! STATE/images/                    mode 0700; its flock: shared by whoever brings images in, exclusive for a collection
//!   refs/NAME                      NameRecord: images by platform; written by rename under the folder's flock
//!   images/HEX.json                ImageRecord: all that a container needs to know, by the digest of the configuration
//!   layers/HEX/                    by diff id, renamed in place when whole
//!     fs/                          the files, for overlayfs
//!     recipe.gz                    what the archive has besides: with it the very same archive can be made again
//!     layer.json                   LayerRecord
//!   blobs/sha256/HEX               configurations as they came
//!   tmp/PID-N/                     what isn't whole yet; flock: its owner lives
//! ```
//!
//! Nothing is ever changed in place, so a reader needs no lock, and a process may be killed at any step. What it leaves is in
//! `tmp`, and goes when the next one comes. Roots of what is kept are the image records; these go with their last name, or
//! by `prune`, unless a container uses them.

mod archive;
mod config;
pub mod elsewhere;
mod import;
mod keep;
mod layer;
mod manifest;
mod name;
mod pull;
mod report;
mod save;
mod store;

pub use import::Files;
pub use keep::{Listed, Removed, Usage};
pub use layer::Limits;
pub use name::{Name, Platform, Tagged, Version};

use self::report::Report;
use self::store::{ImageRecord, Intake, NameRecord, Stamp};
use super::{Places, record};
use crate::engine::ProgressSink;
use crate::units::Timestamp;
use crate::world::{EngineError, ErrorKind, HealthcheckSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    containers: PathBuf,
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
        let store = Self { root: places.images(), containers: places.containers() };
        store.make()?;
        Ok(store)
    }

    /// The image called `reference`, if it is here for `platform` (`os/arch[/variant]`; none is this machine's, or whatever
    /// is there). An id (`sha256:…`), or the beginning of one, names an image too. An archive that has changed since it was
    /// loaded isn't here: it is pulled again.
    ///
    /// # Errors
    /// The store can't be read; `reference` or `platform` make no sense.
    pub fn find(&self, reference: &str, platform: Option<&str>) -> Result<Option<Image>, EngineError> {
        if reference.starts_with("sha256:") {
            return self.by_id(reference);
        }
        let name = Name::parse(reference)?;
        if let Name::Directory(folder) = &name {
            return self.directory(&name, folder);
        }
        let known: Option<NameRecord> = record::read(&self.name_file(&name.to_string()))?;
        let Some(known) = known else {
            let is_id = (4..=64).contains(&reference.len()) && reference.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            return if is_id { self.by_id(reference) } else { Ok(None) };
        };
        let path = match &name {
            Name::DockerArchive(path, _) | Name::OciArchive(path, _) | Name::OciDirectory(path, _) => Some(path),
            Name::Registry(_) | Name::Directory(_) => None,
        };
        // One that is gone can't have changed.
        if path.and_then(|p| Stamp::of(p).ok()).is_some_and(|now| Some(now) != known.file) {
            return Ok(None);
        }
        let wanted = Platform::wanted(platform)?;
        let rank = |text: &str| Platform::parse(text).ok().and_then(|p| wanted.runs(&p));
        let best = known.images.iter().filter_map(|(p, i)| Some((rank(p)?, i))).min_by_key(|(rank, _)| *rank).map(|(_, image)| image);
        let any = || known.images.values().max_by_key(|i| i.tagged).filter(|_| platform.is_none_or(str::is_empty));
        let Some(named) = best.or_else(any) else { return Ok(None) };
        Ok(self.image_record(&named.id)?.and_then(|r| self.image(r, Some(named.tagged))))
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
        let name = Name::parse(reference)?;
        let wanted = Platform::wanted(platform)?;
        let limits = Limits::of(environment)?;
        let report = Report::new(progress.clone());
        let record = match &name {
            Name::Directory(folder) => {
                let absent = || EngineError::new(ErrorKind::NotFound, format!("{} is no folder", folder.display()));
                return self.directory(&name, folder)?.ok_or_else(absent);
            }
            Name::Registry(tagged) => {
                let wanted = pull::Wanted { name: tagged, platform: &wanted, strict: platform.is_some(), environment };
                pull::pull(self, limits, &wanted, &report).await?
            }
            _ => {
                let (store, name) = (self.clone(), name.clone());
                aside(move || archive::load_one(&Intake::new(&store, limits)?, &name, &wanted, &report)).await?
            }
        };
        let tagged = Some(store::now());
        self.image(record, tagged).ok_or_else(|| EngineError::new(ErrorKind::Conflict, format!("{reference} was removed while it came")))
    }

    /// The image with an id, or the only one whose id begins so.
    fn by_id(&self, id: &str) -> Result<Option<Image>, EngineError> {
        if let Some(record) = self.image_record(id)? {
            return Ok(self.image(record, None));
        }
        let start = id.trim_start_matches("sha256:");
        let mut found = self.all_images()?;
        found.retain(|i| i.id.trim_start_matches("sha256:").starts_with(start));
        match (found.len(), found.pop()) {
            (1, Some(record)) => Ok(self.image(record, None)),
            (0, _) => Ok(None),
            (many, _) => Err(unusable(format!("{many} images have an id that begins with `{start}`"))),
        }
    }

    /// A folder that is an image. It has no layers of its own, and its record is there for those who know its id alone.
    fn directory(&self, name: &Name, folder: &Path) -> Result<Option<Image>, EngineError> {
        if !folder.is_dir() {
            return Ok(None);
        }
        let config = ImageConfig {
            env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
            cmd: vec!["/bin/sh".to_owned()],
            ..ImageConfig::default()
        };
        let id = layer::stream::digest_of(name.to_string().as_bytes());
        let image = ImageRecord { id, config, platform: Platform::host(), folder: Some(folder.to_owned()), ..ImageRecord::default() };
        if self.image_record(&image.id)?.as_ref() != Some(&image) {
            record::write(&self.image_file(&image.id), &image)?;
        }
        Ok(self.image(image, None))
    }
}

/// Does what takes long beside the loop that everything else runs in. Nobody waits for it when the program ends.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, EngineError> + Send + 'static) -> Result<T, EngineError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("images".to_owned()).spawn(move || sender.send(work()).unwrap_or(()));
    thread.map_err(|e| record::failed("a thread can't be started", &e))?;
    receiver.await.unwrap_or_else(|_| Err(EngineError::new(ErrorKind::Protocol, "a thread of the image store has ended before its time")))
}

/// Something that a user gave makes no sense.
fn unusable(what: String) -> EngineError {
    EngineError::new(ErrorKind::Refused, what)
}

/// An image, or what should be one, isn't as the specification has it.
fn broken(what: String) -> EngineError {
    EngineError::new(ErrorKind::Protocol, what)
}
