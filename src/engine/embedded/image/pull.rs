//! From a registry into the store.

use super::layer::Limits;
use super::manifest::{self, Descriptor};
use super::name::{Platform, Tagged, Version};
use super::report::Report;
use super::store::{self, ImageRecord, Intake};
use super::{Store, aside, broken, unusable};
use crate::engine::embedded::record;
use crate::oci::credentials::Reference;
use crate::oci::{Fault, Registries, Repository};
use crate::world::{EngineError, ErrorKind};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Most that a configuration may have.
const CONFIGURATION: usize = 8 << 20;

/// Layers that come at the same time, of all images together.
static AT_ONCE: Semaphore = Semaphore::const_new(4);

/// Pieces of a layer that wait for being unpacked.
const QUEUE: usize = 32;

/// How often something is tried again, the waiting doubled each time.
const ATTEMPTS: u32 = 5;

/// The first waiting.
const BACK_OFF: Duration = Duration::from_millis(250);

/// What is to be pulled.
pub struct Wanted<'w> {
    /// Its name.
    pub name: &'w Tagged,
    /// For which machine.
    pub platform: &'w Platform,
    /// The user asked for this platform: another one's image is not taken instead.
    pub strict: bool,
    /// Where credentials are and how the network is reached.
    pub environment: &'w BTreeMap<String, String>,
}

/// Why it can't be had from here.
enum Failure {
    /// Another mirror may have it.
    Elsewhere(Fault),
    /// Nobody has it otherwise.
    Everywhere(EngineError),
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Everywhere(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Elsewhere(fault)
    }
}

/// Fetches what isn't here yet, and names it. Mirrors are asked first, one after the other.
pub async fn pull(store: &Store, limits: Limits, wanted: &Wanted<'_>, report: &Report) -> Result<ImageRecord, EngineError> {
    let name = wanted.name;
    let version = match &name.version {
        Version::Tag(version) | Version::Digest(version) => version.as_str(),
    };
    let reference = Reference { repository: &name.repository, version };
    let registries = Registries::of(wanted.environment).map_err(unusable)?;
    let mut tried = Vec::new();
    for mirror in registries.mirrors(reference.registry()) {
        let fault = match Repository::at_mirror(&reference, mirror, wanted.environment).await {
            Ok(repository) => match from(&repository, version, store, limits, wanted, report).await {
                Ok(image) => return Ok(image),
                Err(Failure::Everywhere(error)) => return Err(error),
                Err(Failure::Elsewhere(fault)) => fault,
            },
            Err(fault) => fault,
        };
        tried.push(format!("mirror {mirror}: {fault}"));
    }
    let fault = match Repository::open(&reference, wanted.environment).await {
        Ok(repository) => match from(&repository, version, store, limits, wanted, report).await {
            Ok(image) => return Ok(image),
            Err(Failure::Everywhere(error)) => return Err(error),
            Err(Failure::Elsewhere(fault)) => fault,
        },
        Err(fault) => fault,
    };
    Err(explain(name, &reference, &fault, &tried))
}

async fn from(
    repository: &Repository<'_>,
    version: &str,
    store: &Store,
    limits: Limits,
    wanted: &Wanted<'_>,
    report: &Report,
) -> Result<ImageRecord, Failure> {
    let within = |e: EngineError| EngineError { what: format!("{}: {}", wanted.name, e.what), ..e };
    let (mut body, digest) = again(|| repository.manifest(version, &manifest::MANIFESTS)).await?;
    let intake = {
        let store = store.clone();
        Arc::new(aside(move || Intake::new(&store, limits)).await?)
    };
    if manifest::is_index(&body) {
        let index: manifest::Index = super::config::json("the index of the image", &body).map_err(within)?;
        let chosen = checked(&index.choose(wanted.platform).map_err(within)?.digest)?;
        body = again(|| repository.manifest(chosen, &manifest::MANIFESTS)).await?.0;
    }
    let read = manifest::read(&body).map_err(within)?;
    let id = checked(&read.config.digest)?;
    let config = match std::fs::read(store.blob_file(id)) {
        Ok(bytes) => Bytes::from(bytes),
        Err(_) => again(|| repository.blob(id, CONFIGURATION)).await?,
    };
    let (image, diff_ids) = super::config::read(&config).map_err(within)?;
    if wanted.strict && wanted.platform.runs(&image.platform).is_none() {
        let what = format!("{} is for {}, and {} was asked for", wanted.name, image.platform, wanted.platform);
        return Err(EngineError::new(ErrorKind::NotFound, what).into());
    }
    if diff_ids.len() != read.layers.len() {
        let what = format!("the configuration of {} has {} layers, its manifest {}", wanted.name, diff_ids.len(), read.layers.len());
        return Err(broken(what).into());
    }
    for layer in &read.layers {
        checked(&layer.digest)?;
        report.word(&layer.digest, "Pulling fs layer");
    }
    let mut layers = FuturesUnordered::new();
    for (layer, diff_id) in read.layers.iter().zip(&diff_ids) {
        layers.push(one(repository, &intake, layer, diff_id, report));
    }
    while let Some(done) = layers.next().await {
        done?;
    }
    let (intake, name) = (Arc::clone(&intake), wanted.name.clone());
    let image = aside(move || {
        let image = intake.image(&config)?;
        intake.name(&name.to_string(), &image, &digest, None)?;
        if matches!(name.version, Version::Tag(_)) {
            // Known by its digest too, for those who name it so.
            let by_digest = Tagged { version: Version::Digest(digest.clone()), ..name };
            intake.name(&by_digest.to_string(), &image, &digest, None)?;
        }
        Ok(image)
    });
    Ok(image.await?)
}

/// One layer, unless it is here.
async fn one(repository: &Repository<'_>, intake: &Arc<Intake>, layer: &Descriptor, diff_id: &str, report: &Report) -> Result<(), Failure> {
    if intake.store().layer_record(diff_id).is_some() {
        report.word(&layer.digest, "Already exists");
        return Ok(());
    }
    // Whoever has the lock fetches it; the others, of this process or another, wait and find it here.
    let file = intake.store().temporary().join(format!("layer-{}", diff_id.trim_start_matches("sha256:")));
    let _alone = alone(file.clone()).await?;
    if intake.store().layer_record(diff_id).is_some() {
        report.word(&layer.digest, "Already exists");
        return Ok(());
    }
    let _permit = AT_ONCE.acquire().await.map_err(|e| broken(e.to_string()))?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let unpacked = {
        let (intake, diff_id) = (Arc::clone(intake), diff_id.to_owned());
        aside(move || intake.layer(Pieces { receiver, current: Bytes::new(), whole: false }, Some(&diff_id)))
    };
    let (fetched, unpacked) = tokio::join!(fetch(repository, layer, sender, report), unpacked);
    // Nobody waits for it any more.
    let _ = std::fs::remove_file(file);
    match (fetched, unpacked) {
        // What was fetched in part can't be unpacked either: the first cause is told.
        (Err(fault), _) => Err(fault),
        (Ok(()), unpacked) => {
            unpacked.map_err(|e| EngineError { what: format!("layer {}: {}", layer.digest, e.what), ..e })?;
            report.word(&layer.digest, "Pull complete");
            Ok(())
        }
    }
}

/// Waits until nobody else has the lock.
async fn alone(file: std::path::PathBuf) -> Result<OwnedFd, EngineError> {
    aside(move || {
        let failed = |e: io::Error| record::failed("the image store can't be locked", &e);
        loop {
            std::fs::OpenOptions::new().create(true).append(true).open(&file).map_err(failed)?;
            match store::lock(&file, rustix::fs::FlockOperation::LockExclusive) {
                // Its owner has removed it between the two.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other.map_err(failed),
            }
        }
    })
    .await
}

/// Fetches a blob piece by piece. When it breaks off it goes on where it was.
async fn fetch(repository: &Repository<'_>, layer: &Descriptor, sender: mpsc::Sender<io::Result<Bytes>>, report: &Report) -> Result<(), Failure> {
    let (mut hash, mut at, mut failures, mut reported) = (Sha256::new(), 0_u64, 0, 0_u64);
    let step = (layer.size / 100).max(256 << 10);
    report.far(&layer.digest, "Downloading", 0, layer.size);
    while at < layer.size {
        let before = at;
        let broke_off = async {
            let mut body = repository.open_blob(&layer.digest, at).await?;
            while let Some(bytes) = body.chunk().await? {
                at += bytes.len() as u64;
                if at > layer.size {
                    return Err(Fault::Garbled(format!("layer {} is larger than the {} bytes that its manifest says", layer.digest, layer.size)));
                }
                hash.update(&bytes);
                if at - reported >= step {
                    reported = at;
                    report.far(&layer.digest, "Downloading", at, layer.size);
                }
                if sender.send(Ok(bytes)).await.is_err() {
                    // Unpacking has failed, and will say why.
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let fault = match broke_off.await {
            Ok(true) => return Ok(()),
            Ok(false) if at >= layer.size => break,
            Ok(false) => Fault::Unreachable(format!("layer {} breaks off after {at} of {} bytes", layer.digest, layer.size)),
            Err(fault) => fault,
        };
        failures = if at > before { 1 } else { failures + 1 };
        if failures > ATTEMPTS || !fault.is_passing() {
            return Err(fault.into());
        }
        report.far(&layer.digest, "Retrying", at, layer.size);
        tokio::time::sleep(BACK_OFF * 2_u32.pow(failures - 1)).await;
    }
    let found = super::layer::stream::digest(hash);
    if found != layer.digest {
        return Err(Fault::Garbled(format!("the content of layer {} is that of {found}", layer.digest)).into());
    }
    report.far(&layer.digest, "Extracting", layer.size, layer.size);
    // An empty piece says that nothing is missing.
    let _ = sender.send(Ok(Bytes::new())).await;
    Ok(())
}

/// What is fetched, for the thread that unpacks it.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    whole: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.whole {
                return Ok(0);
            }
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Err(io::Error::other("it was given up")),
            }
            self.whole = self.current.is_empty();
        }
        let n = self.current.len().min(buffer.len());
        let piece = self.current.split_to(n);
        buffer.get_mut(..n).unwrap_or_default().copy_from_slice(&piece);
        Ok(n)
    }
}

/// Asks again, after a while, as long as that may help.
async fn again<T, F: Future<Output = Result<T, Fault>>>(mut ask: impl FnMut() -> F) -> Result<T, Fault> {
    let mut failures = 0;
    loop {
        match ask().await {
            Err(fault) if fault.is_passing() && failures < 2 => {
                tokio::time::sleep(BACK_OFF * 2_u32.pow(failures)).await;
                failures += 1;
            }
            other => return other,
        }
    }
}

/// A digest that is one: it becomes a part of addresses and paths.
fn checked(digest: &str) -> Result<&str, EngineError> {
    match digest.strip_prefix("sha256:") {
        Some(hex) if super::name::is_hex(hex) => Ok(digest),
        _ => Err(broken(format!("`{digest}` is no digest that is known: only sha256 is"))),
    }
}

fn explain(name: &Tagged, reference: &Reference<'_>, fault: &Fault, tried: &[String]) -> EngineError {
    let kind = match fault {
        Fault::NotFound => ErrorKind::NotFound,
        Fault::Denied(_) => ErrorKind::Denied,
        Fault::Unreachable(_) | Fault::Busy(_) => ErrorKind::Unreachable,
        Fault::Garbled(_) => ErrorKind::Protocol,
        Fault::Configuration(_) => ErrorKind::Refused,
    };
    let image = match &name.version {
        Version::Tag(tag) => format!("{}:{tag}", name.familiar()),
        Version::Digest(digest) => format!("{}@{digest}", name.familiar()),
    };
    let why = match fault {
        Fault::Denied(_) => format!("{fault}; if it is not public, `docker login {}` first", reference.registry()),
        _ => fault.to_string(),
    };
    let why = tried.iter().map(|t| format!("; {t}")).fold(why, |all, one| all + &one);
    EngineError::new(kind, format!("{image} can't be pulled")).because(why)
}
