//! From a registry into the store.

use super::layer::Limits;
use super::name::{Platform, Tagged, Version};
use super::report::Report;
use super::store::{ImageRecord, Intake};
use super::{Store, aside, broken, manifest};
use crate::oci::{Fault, Repository, credentials::Reference};
use crate::world::{EngineError, ErrorKind};
use std::collections::BTreeMap;

/// Most that a configuration may have.
const CONFIGURATION: usize = 8 << 20;

/// Fetches what isn't here yet, and names it.
pub async fn pull(
    store: &Store,
    limits: Limits,
    name: &Tagged,
    platform: &Platform,
    asked: bool,
    environment: &BTreeMap<String, String>,
    report: &Report,
) -> Result<ImageRecord, EngineError> {
    let fault = |f: Fault| explain(name, f);
    let version = match &name.version {
        Version::Tag(version) | Version::Digest(version) => version.as_str(),
    };
    let reference = Reference { repository: &name.repository, version };
    let repository = Repository::open(&reference, environment).await.map_err(fault)?;
    let (mut body, digest) = repository.manifest(version, &manifest::MANIFESTS).await.map_err(fault)?;
    let intake = {
        let store = store.clone();
        std::sync::Arc::new(aside(move || Intake::new(&store, limits)).await?)
    };
    if manifest::is_index(&body) {
        intake.blob(&body)?;
        let index: manifest::Index = super::config::json("the index of the image", &body)?;
        let chosen = index.choose(platform).map_err(|e| EngineError { what: format!("{name}: {}", e.what), ..e })?;
        body = repository.manifest(&chosen.digest, &manifest::MANIFESTS).await.map_err(fault)?.0;
    }
    let read = manifest::read(&body).map_err(|e| EngineError { what: format!("{name}: {}", e.what), ..e })?;
    let config = repository.blob(&read.config.digest, CONFIGURATION).await.map_err(fault)?;
    let (image, diff_ids) = super::config::read(&config)?;
    if asked && platform.runs(&image.platform).is_none() {
        return Err(EngineError::new(ErrorKind::NotFound, format!("{name} is for {}, and {platform} was asked for", image.platform)));
    }
    if diff_ids.len() != read.layers.len() {
        return Err(broken(format!("the configuration of {name} has {} layers, its manifest {}", diff_ids.len(), read.layers.len())));
    }
    for (layer, diff_id) in read.layers.iter().zip(&diff_ids) {
        if intake.store().layer_record(diff_id).is_some() {
            report.word(&layer.digest, "Already exists");
            continue;
        }
        report.word(&layer.digest, "Downloading");
        let blob = repository.blob(&layer.digest, usize::MAX).await.map_err(fault)?;
        let (intake, diff_id) = (std::sync::Arc::clone(&intake), diff_id.clone());
        aside(move || intake.layer(blob.as_ref(), Some(&diff_id))).await?;
        report.word(&layer.digest, "Pull complete");
    }
    intake.blob(&body)?;
    let image = intake.image(&config)?;
    intake.name(&name.to_string(), &image, &digest, None)?;
    Ok(image)
}

fn explain(name: &Tagged, fault: Fault) -> EngineError {
    let kind = match &fault {
        Fault::NotFound => ErrorKind::NotFound,
        Fault::Denied(_) => ErrorKind::Denied,
        Fault::Unreachable(_) => ErrorKind::Unreachable,
        Fault::Garbled(_) => ErrorKind::Protocol,
        Fault::Configuration(_) => ErrorKind::Refused,
    };
    EngineError::new(kind, format!("{}:{} can't be pulled", name.familiar(), name.tag().unwrap_or("latest"))).because(fault.to_string())
}
