//! Docker and Podman, over their HTTP API.
//!
//! One adapter serves both: Podman speaks Docker's API on its own socket, and where it differs a small value of
//! [`Quirks`] says so.

mod body;
pub mod client;
mod create;
mod credentials;
pub mod dial;
pub mod endpoint;
mod error;
mod events;
mod exec;
mod files;
#[cfg_attr(not(all(feature = "embedded", target_os = "linux")), path = "no_files_as_images.rs")]
mod files_as_images;
mod follow;
mod frames;
mod inspect;
mod json;
#[cfg(target_os = "linux")]
mod logfile;
mod logs;
mod mend;
mod observe;
mod ops;
mod pull;
mod quirks;
mod status;
mod tape;
mod vigil;

use super::{Engine, EngineInfo, ProgressSink};
use crate::oci::client_config::ClientConfig;
use crate::world::{
    Applied, Capabilities, ContainerDetails, EngineError, EngineEvent, ErrorKind, ExecSession, ExecSpec, LogChunk, LogQuery, ObserveQuery, Observed,
    Op, Target,
};
use async_trait::async_trait;
use client::{Api, Client, Hello};
use dial::Dialer;
use endpoint::Endpoint;
use futures::stream::BoxStream;
use quirks::Quirks;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;

/// A Docker or Podman engine.
#[derive(Clone, Debug)]
pub struct DockerEngine {
    client: Client,
    bollard: bollard::Docker,
    hello: Hello,
    quirks: Quirks,
    config: ClientConfig,
    environment: BTreeMap<String, String>,
    /// Containers that an op of ours has started or ended, for who has to notice that their events don't come.
    switched: broadcast::Sender<String>,
    /// Host ports that were chosen out of ranges.
    ports: Arc<Mutex<BTreeSet<u16>>>,
}

/// Ops that may lie unnoticed.
const HINTS: usize = 1024;

impl DockerEngine {
    /// Connects to one endpoint and asks who is there: one round trip. `environment` and `config` are the user's;
    /// ssh and credential helpers run in that environment.
    ///
    /// # Errors
    /// An engine that can't be reached, is too old, or is none.
    pub async fn connect(endpoint: Endpoint, environment: &BTreeMap<String, String>, config: &ClientConfig) -> Result<Self, EngineError> {
        let wanted = match environment.get("DOCKER_API_VERSION").filter(|v| !v.is_empty()) {
            Some(text) => Some(Api::parse(text).ok_or_else(|| {
                EngineError::new(ErrorKind::Refused, format!("DOCKER_API_VERSION is `{text}`")).because("a version looks like 1.51")
            })?),
            None => None,
        };
        let headers: Vec<_> = config.file().http_headers.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let child_environment = environment.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let (client, hello) = Client::connect(Dialer::new(endpoint, child_environment)?, &headers, wanted).await?;
        let bollard = client.bollard()?;
        let quirks = Quirks::of(&hello);
        let switched = broadcast::Sender::new(HINTS);
        Ok(Self { client, bollard, hello, quirks, config: config.clone(), environment: environment.clone(), switched, ports: Arc::default() })
    }

    /// Whether it is Podman.
    pub fn is_podman(&self) -> bool {
        self.hello.podman
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            name: if self.hello.podman { "podman" } else { "docker" }.to_owned(),
            version: self.hello.version.clone(),
            api: self.hello.api.to_string(),
            endpoint: self.client.address(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.quirks.capabilities(self.hello.api)
    }

    async fn observe(&self, query: &ObserveQuery) -> Result<Observed, EngineError> {
        observe::observe(&self.client, self.quirks, self.hello.api, query).await
    }

    async fn apply(&self, op: &Op, progress: &ProgressSink) -> Result<Applied, EngineError> {
        self.do_op(op, progress).await
    }

    async fn events(&self, project: Option<&str>) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
        events::events(self, project).await
    }

    async fn logs(&self, container: &Target, query: &LogQuery) -> Result<BoxStream<'static, Result<LogChunk, EngineError>>, EngineError> {
        logs::logs(self, container, query).await
    }

    async fn exec(&self, container: &Target, spec: &ExecSpec) -> Result<ExecSession, EngineError> {
        exec::exec(self, container, spec).await
    }

    async fn inspect(&self, container: &Target) -> Result<ContainerDetails, EngineError> {
        inspect::inspect(self, container).await
    }
}
