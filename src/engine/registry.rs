//! Engines by name, and how one is chosen when none is named.

use super::Engine;
#[cfg(feature = "docker")]
use super::docker;
use super::sim::Sim;
use crate::model::Project;
use crate::world::{EngineError, ErrorKind};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Names of all engines, those that aren't built in too; `auto` is whichever of the real ones answers.
pub const NAMES: [&str; 4] = ["auto", "docker", "podman", "sim"];

/// Which engine is wanted, and what its whereabouts depend on.
#[derive(Clone, Debug, Default)]
pub struct EngineRequest {
    /// One of [`NAMES`]; empty counts as `auto`.
    pub engine: String,
    /// The environment: `DOCKER_HOST`, `DOCKER_CONTEXT`, `DOCKER_TLS_VERIFY`, `DOCKER_CERT_PATH`, `DOCKER_CONFIG`,
    /// `DOCKER_API_VERSION`, `CONTAINER_HOST`, `XDG_RUNTIME_DIR`, `HOME`. Child processes (ssh, credential helpers)
    /// get all of it.
    pub environment: BTreeMap<String, String>,
    /// Folder of the Docker client's configuration; `None` is `$DOCKER_CONFIG`, else `$HOME/.docker`.
    pub config_dir: Option<PathBuf>,
    /// `--host`.
    pub host: Option<String>,
    /// `--context`.
    pub context: Option<String>,
    /// This program, which the embedded engine starts anew as its supervisor.
    pub program: Option<PathBuf>,
    /// The project, whose `x-sim:` tells the simulated engine what its containers do.
    pub project: Option<Arc<Project>>,
}

/// Connects to an engine.
///
/// Docker is where `--host`, `--context`, `DOCKER_HOST`, `DOCKER_CONTEXT` or the current context of its client say, in
/// this order, else at `unix:///var/run/docker.sock`. Podman is where `--host` or `CONTAINER_HOST` say, else at the
/// user's socket or the system's. `auto` takes what was asked for; when nothing was, it takes the first that answers,
/// Docker before Podman.
///
/// # Errors
/// An unknown name; an engine that isn't built in; one that can't be reached, with everything that was tried.
pub async fn connect(request: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
    match request.engine.as_str() {
        "" | "auto" => socket::auto(request).await,
        "docker" => socket::docker(request).await,
        "podman" => socket::podman(request).await,
        "sim" => simulated(request.project.as_deref()),
        other => Err(EngineError::new(ErrorKind::Unsupported, format!("there is no engine `{other}`"))
            .because(format!("the engines are {}", NAMES.join(", ")))),
    }
}

/// An engine that may be there; nobody has asked it yet.
#[derive(Clone, Debug)]
pub struct Place {
    /// What users call it: `docker`, `podman`, `context prod`, an address.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// It is the one that [`connect`] takes because somebody asks for it: `DOCKER_HOST`, a context in use.
    pub asked_for: bool,
    #[cfg(feature = "docker")]
    endpoint: docker::endpoint::Endpoint,
}

/// Every engine that may be there, the one of [`connect`] first: that of `DOCKER_HOST` or the context in use, Docker's
/// and Podman's own sockets, those of all contexts. A socket that doesn't exist is left out unless it was asked for.
///
/// # Errors
/// Where to look can't be found out: an address that can't be read, a context that doesn't exist.
pub fn places(request: &EngineRequest) -> Result<Vec<Place>, EngineError> {
    socket::places(request)
}

impl Place {
    /// Connects.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn connect(&self, request: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
        socket::connect(self, request).await
    }
}

/// A new simulated engine, which lives as long as the command.
fn simulated(project: Option<&Project>) -> Result<Arc<dyn Engine>, EngineError> {
    let sim = Sim::new();
    if let Some(Err(errors)) = project.map(|p| sim.learn(p)) {
        let all = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ");
        return Err(EngineError::new(ErrorKind::Refused, "the simulated engine can't make sense of `x-sim`").because(all));
    }
    Ok(Arc::new(sim))
}

#[cfg(feature = "docker")]
mod socket {
    use super::super::Engine;
    use super::super::docker::DockerEngine;
    use super::super::docker::endpoint::{Endpoint, Surroundings};
    use super::{EngineRequest, Place};
    use crate::oci::client_config::ClientConfig;
    use crate::world::{EngineError, ErrorKind};
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
        match failures.len() {
            1 => Err(failures.remove(0).1),
            _ => {
                // A socket that is there but can't be used says more than one that isn't.
                let kind = failures.iter().map(|(_, e)| e.kind).find(|k| *k != ErrorKind::Unreachable).unwrap_or(ErrorKind::Unreachable);
                let tried = failures.into_iter().map(|(place, e)| format!("\n  {place}: {}", e.source.unwrap_or(e.what)));
                Err(EngineError::new(kind, format!("no {what} answers")).because(tried.collect::<String>()))
            }
        }
    }

    fn surroundings<'a>(request: &'a EngineRequest, config: &'a ClientConfig) -> Surroundings<'a> {
        Surroundings { environment: &request.environment, config, host: request.host.as_deref(), context: request.context.as_deref() }
    }

    pub(super) async fn auto(request: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
        let config = config(request)?;
        let around = surroundings(request, &config);
        let candidates = match around.docker_asked_for()? {
            Some(endpoint) => vec![endpoint],
            None => match around.podman_asked_for()? {
                Some(endpoint) => around.docker_by_default().into_iter().chain([endpoint]).collect(),
                None => around.docker_by_default().into_iter().chain(around.podman_by_default()).collect(),
            },
        };
        first(request, &config, candidates, "container engine").await
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
            if (asked_for || !endpoint.is_absent()) && !places.iter().any(|p| p.endpoint.is_same_place(&endpoint)) {
                // A context has a name that is shorter than its address; what goes by a name already gets its address.
                let name = if endpoint.origin.starts_with("context ") { endpoint.origin.clone() } else { name };
                let address = endpoint.address.to_string();
                let name = if places.iter().any(|p| p.name == name) { address.clone() } else { name };
                places.push(Place { name, address, asked_for, endpoint });
            }
        }
        Ok(places)
    }

    pub(super) async fn connect(place: &Place, request: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
        Ok(Arc::new(DockerEngine::connect(place.endpoint.clone(), &request.environment, &config(request)?).await?))
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
}

#[cfg(not(feature = "docker"))]
mod socket {
    use super::super::Engine;
    use super::{EngineRequest, Place};
    use crate::world::{EngineError, ErrorKind};
    use std::sync::Arc;

    fn absent(name: &str) -> Result<Arc<dyn Engine>, EngineError> {
        Err(EngineError::new(ErrorKind::Unsupported, format!("this consort can't use engine `{name}`: it was built without feature `docker`")))
    }

    pub(super) fn places(_: &EngineRequest) -> Result<Vec<Place>, EngineError> {
        Ok(Vec::new())
    }

    pub(super) async fn connect(_: &Place, _: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
        absent("docker")
    }

    pub(super) async fn auto(_: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
        absent("auto")
    }

    pub(super) async fn docker(_: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
        absent("docker")
    }

    pub(super) async fn podman(_: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
        absent("podman")
    }
}
