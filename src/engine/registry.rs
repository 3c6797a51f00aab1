//! Engines by name, and how one is chosen when none is named.

#[cfg(feature = "docker")]
mod socket;
#[cfg(not(feature = "docker"))]
#[path = "registry/no_socket.rs"]
mod socket;

use super::Engine;
#[cfg(feature = "docker")]
use super::docker;
#[cfg(all(feature = "embedded", target_os = "linux"))]
use super::embedded::Embedded;
use super::sim::Sim;
use crate::model::Project;
use crate::world::{EngineError, ErrorKind, ObserveQuery};
use futures::future::join_all;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Names of all engines, those that aren't built in too; `auto` is whichever of the real ones fits.
pub const NAMES: [&str; 5] = ["auto", "docker", "podman", "embedded", "sim"];

/// Which engine is wanted, and what its whereabouts depend on.
#[derive(Clone, Debug, Default)]
pub struct EngineRequest {
    /// One of [`NAMES`]; empty counts as `auto`.
    pub engine: String,
    /// The environment: `DOCKER_HOST`, `DOCKER_CONTEXT`, `DOCKER_TLS_VERIFY`, `DOCKER_CERT_PATH`, `DOCKER_CONFIG`,
    /// `DOCKER_API_VERSION`, `CONTAINER_HOST`, `XDG_RUNTIME_DIR`, `HOME`, `CONSORT_STATE_DIR`, `CONSORT_RUN_DIR`. Child
    /// processes (ssh, credential helpers) get all of it.
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
    /// Name of the project that the command is about, where there is one: `auto` looks for the engine on which it lives.
    pub project_name: Option<String>,
    /// The project has an image that the embedded engine boots where it is, and others want copied.
    pub needs_embedded: bool,
}

/// An engine, and why it is this one.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// It.
    pub engine: Arc<dyn Engine>,
    /// One line for the user where the choice wasn't the plain one.
    pub news: Option<String>,
}

/// Connects to an engine.
///
/// Docker is where `--host`, `--context`, `DOCKER_HOST`, `DOCKER_CONTEXT` or the current context of its client say, in
/// this order, else at `unix:///var/run/docker.sock`. Podman is where `--host` or `CONTAINER_HOST` say, else at the
/// user's socket or the system's. The embedded engine is this program itself, run by root on Linux.
///
/// `auto` takes what was asked for in one of these ways. When nothing was, it takes the engine on which the project lives;
/// for one that lives nowhere the first that answers: Docker, Podman, the embedded one.
///
/// # Errors
/// An unknown name; an engine that isn't built in; one that can't be reached, with everything that was tried.
pub async fn connect(request: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
    choose(request).await.map(|chosen| chosen.engine)
}

/// As [`connect`], with the reason.
///
/// # Errors
/// As [`connect`].
pub async fn choose(request: &EngineRequest) -> Result<Chosen, EngineError> {
    let engine = match request.engine.as_str() {
        "" | "auto" => return auto(request).await,
        "docker" => socket::docker(request).await,
        "podman" => socket::podman(request).await,
        "embedded" => embedded(request),
        "sim" => simulated(request.project.as_deref()),
        other => Err(EngineError::new(ErrorKind::Unsupported, format!("there is no engine `{other}`"))
            .because(format!("the engines are {}", NAMES.join(", ")))),
    };
    engine.map(|engine| Chosen { engine, news: None })
}

/// Whichever fits. The embedded engine is asked first where the project lives: its answer is a file.
async fn auto(request: &EngineRequest) -> Result<Chosen, EngineError> {
    let (asked_for, candidates) = socket::candidates(request)?;
    let embedded = |news: &str| embedded(request).map(|engine| Chosen { engine, news: Some(format!("engine: embedded, {news}")) });
    if !asked_for {
        if lives_on_embedded(request) {
            return embedded("where the project lives");
        }
        if request.needs_embedded && embedded_is_usable() {
            return embedded("which boots images of the kind `rootfs:` where they are");
        }
    }
    let (mut engines, mut failures) = socket::connect_all(request, candidates).await?;
    if let (2.., Some(project), false) = (engines.len(), &request.project_name, asked_for) {
        let query = ObserveQuery { project: Some(project.clone()), containers_only: true, ..ObserveQuery::default() };
        let asked = engines.iter().map(async |engine| engine.observe(&query).await.is_ok_and(|seen| !seen.containers.is_empty()));
        let place = join_all(asked).await.into_iter().position(|lives| lives).unwrap_or(0);
        let engine = engines.swap_remove(place);
        let news = (place > 0).then(|| format!("engine: {}, where the project lives", engine.info().name));
        return Ok(Chosen { engine, news });
    }
    if let Some(engine) = engines.into_iter().next() {
        return Ok(Chosen { engine, news: None });
    }
    if !asked_for {
        match embedded("as no other one answers") {
            Ok(chosen) => return Ok(chosen),
            Err(error) => failures.push(("embedded".to_owned(), error)),
        }
    }
    Err(no_answer(failures, "container engine"))
}

/// A place, and why there is no engine.
type Failure = (String, EngineError);

/// What was tried in vain.
fn no_answer(mut failures: Vec<Failure>, what: &str) -> EngineError {
    if failures.len() == 1 {
        return failures.remove(0).1;
    }
    // A socket that is there but can't be used says more than one that isn't.
    let kind = failures.iter().map(|(_, e)| e.kind).find(|k| *k != ErrorKind::Unreachable).unwrap_or(ErrorKind::Unreachable);
    let tried = failures.into_iter().map(|(place, e)| format!("\n  {place}: {}", e.source.unwrap_or(e.what)));
    EngineError::new(kind, format!("no {what} answers")).because(tried.collect::<String>())
}

/// An engine that may be there; nobody has asked it yet.
#[derive(Clone, Debug)]
pub struct Place {
    /// What users call it: `docker`, `podman`, `embedded`, `context prod`, an address.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// It is the one that [`connect`] takes because somebody asks for it: `DOCKER_HOST`, a context in use.
    pub asked_for: bool,
    way: Way,
}

/// How an engine is reached.
#[derive(Clone, Debug)]
enum Way {
    #[cfg(feature = "docker")]
    Socket(docker::endpoint::Endpoint),
    #[cfg_attr(not(all(feature = "embedded", target_os = "linux")), expect(dead_code, reason = "there is none"))]
    Within,
}

/// Every engine that may be there, the one of [`connect`] for a new project first: that of `DOCKER_HOST` or the context in
/// use, Docker's and Podman's own sockets, the embedded engine, those of all contexts. A socket that doesn't exist is left
/// out unless it was asked for.
///
/// # Errors
/// Where to look can't be found out: an address that can't be read, a context that doesn't exist.
pub fn places(request: &EngineRequest) -> Result<Vec<Place>, EngineError> {
    let mut places = socket::places(request)?;
    #[cfg(all(feature = "embedded", target_os = "linux"))]
    if embedded_is_usable() {
        let folder = super::embedded::Places::of(&request.environment).state;
        let at = places.iter().position(|p| p.name.starts_with("context ") && !p.asked_for).unwrap_or(places.len());
        let (name, address) = ("embedded".to_owned(), folder.display().to_string());
        places.insert(at, Place { name, address, asked_for: false, way: Way::Within });
    }
    Ok(places)
}

impl Place {
    /// Connects.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn connect(&self, request: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
        match &self.way {
            #[cfg(feature = "docker")]
            Way::Socket(endpoint) => socket::connect(endpoint, request).await,
            Way::Within => embedded(request),
        }
    }
}

/// Whether the embedded engine can be had at all.
fn embedded_is_usable() -> bool {
    cfg!(all(feature = "embedded", target_os = "linux")) && rustix::process::geteuid().is_root()
}

#[cfg(all(feature = "embedded", target_os = "linux"))]
fn embedded(request: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
    let program = request.program.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
    Ok(Arc::new(Embedded::open(&request.environment, program)?))
}

#[cfg(not(all(feature = "embedded", target_os = "linux")))]
fn embedded(_: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
    let why = if cfg!(target_os = "linux") { "it was built without feature `embedded`" } else { "it needs Linux" };
    Err(EngineError::new(ErrorKind::Unsupported, format!("this consort has no embedded engine: {why}")))
}

/// Whether the project has a container there.
fn lives_on_embedded(request: &EngineRequest) -> bool {
    #[cfg(all(feature = "embedded", target_os = "linux"))]
    if let (Some(project), true) = (&request.project_name, embedded_is_usable()) {
        return super::embedded::has_project(&super::embedded::Places::of(&request.environment), project);
    }
    let _ = request;
    false
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
