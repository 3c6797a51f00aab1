//! Engines that speak Docker's API, each behind a socket of its own.

use super::super::Engine;
use super::super::docker::DockerEngine;
use super::super::docker::endpoint::{Endpoint, Surroundings};
use super::{EngineRequest, Failure, Place, Way, no_answer};
use crate::oci::client_config::ClientConfig;
use crate::world::EngineError;
use futures::future::join_all;
use std::path::PathBuf;
use std::sync::Arc;

fn config(request: &EngineRequest) -> Result<ClientConfig, EngineError> {
    let var = |name: &str| request.environment.get(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let folder = request.config_dir.clone().or_else(|| var("DOCKER_CONFIG")).or_else(|| var("HOME").map(|home| home.join(".docker")));
    folder.map_or_else(|| Ok(ClientConfig::default()), |folder| ClientConfig::read(&folder))
}

/// The first of `candidates` that answers.
async fn first(request: &EngineRequest, config: &ClientConfig, candidates: Vec<Endpoint>, what: &str) -> Result<Arc<dyn Engine>, EngineError> {
    let mut failures = Vec::new();
    for endpoint in candidates {
        let place = format!("{} ({})", endpoint.address, endpoint.origin);
        match DockerEngine::connect(endpoint, &request.environment, config).await {
            Ok(engine) => return Ok(Arc::new(engine)),
            Err(error) => failures.push((place, error)),
        }
    }
    Err(no_answer(failures, what))
}

fn surroundings<'a>(request: &'a EngineRequest, config: &'a ClientConfig) -> Surroundings<'a> {
    Surroundings { environment: &request.environment, config, host: request.host.as_deref(), context: request.context.as_deref() }
}

/// Where an engine may be when none is named, and whether somebody asked for the first one.
pub(super) fn candidates(request: &EngineRequest) -> Result<(bool, Vec<Endpoint>), EngineError> {
    let config = config(request)?;
    let around = surroundings(request, &config);
    Ok(match around.docker_asked_for()? {
        Some(endpoint) => (true, vec![endpoint]),
        None => match around.podman_asked_for()? {
            // Docker's own socket comes before it, as ever.
            Some(endpoint) => (true, around.docker_by_default().into_iter().chain([endpoint]).collect()),
            None => (false, around.docker_by_default().into_iter().chain(around.podman_by_default()).collect()),
        },
    })
}

/// Connects to those that are there, all at once: engines in the order of `candidates`, and what was tried in vain.
pub(super) async fn connect_all(request: &EngineRequest, candidates: Vec<Endpoint>) -> Result<(Vec<Arc<dyn Engine>>, Vec<Failure>), EngineError> {
    let config = config(request)?;
    let (mut engines, mut failures): (Vec<Arc<dyn Engine>>, Vec<Failure>) = (Vec::new(), Vec::new());
    let tried = candidates.into_iter().map(async |endpoint| {
        let place = format!("{} ({})", endpoint.address, endpoint.origin);
        (place, DockerEngine::connect(endpoint, &request.environment, &config).await)
    });
    for (place, result) in join_all(tried).await {
        match result {
            Ok(engine) => engines.push(Arc::new(engine)),
            Err(error) => failures.push((place, error)),
        }
    }
    Ok((engines, failures))
}

pub(super) fn places(request: &EngineRequest) -> Result<Vec<Place>, EngineError> {
    let config = config(request)?;
    let around = surroundings(request, &config);
    let asked = |e: Endpoint| (e.address.to_string(), true, e);
    let docker = around.docker_by_default().into_iter().map(|e| ("docker".to_owned(), false, e));
    let docker = around.docker_asked_for()?.map(asked).into_iter().chain(docker);
    let podman = around.podman_by_default().into_iter().map(|e| ("podman".to_owned(), false, e));
    let podman = around.podman_asked_for()?.map(asked).into_iter().chain(podman);
    let contexts = around.of_contexts().into_iter().map(|e| (e.origin.clone(), false, e));
    let mut places: Vec<Place> = Vec::new();
    for (name, asked_for, endpoint) in docker.chain(podman).chain(contexts) {
        if (asked_for || !endpoint.is_absent()) && !places.iter().any(|p| matches!(&p.way, Way::Socket(e) if e.is_same_place(&endpoint))) {
            // A context has a name that is shorter than its address; what goes by a name already gets its address.
            let name = if endpoint.origin.starts_with("context ") { endpoint.origin.clone() } else { name };
            let address = endpoint.address.to_string();
            let name = if places.iter().any(|p| p.name == name) { address.clone() } else { name };
            places.push(Place { name, address, asked_for, way: Way::Socket(endpoint) });
        }
    }
    Ok(places)
}

pub(super) async fn connect(endpoint: &Endpoint, request: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
    Ok(Arc::new(DockerEngine::connect(endpoint.clone(), &request.environment, &config(request)?).await?))
}

pub(super) async fn docker(request: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
    let config = config(request)?;
    let around = surroundings(request, &config);
    let candidates = around.docker_asked_for()?.map_or_else(|| around.docker_by_default(), |endpoint| vec![endpoint]);
    first(request, &config, candidates, "Docker").await
}

pub(super) async fn podman(request: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
    let config = config(request)?;
    let around = surroundings(request, &config);
    let candidates = around.podman_asked_for()?.map_or_else(|| around.podman_by_default(), |endpoint| vec![endpoint]);
    first(request, &config, candidates, "Podman").await
}
