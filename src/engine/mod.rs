//! The port, and the engines behind it.
//!
//! One door for change, [`Engine::apply`]: a wrapper that records, delays or fails overrides one method. Engines never
//! read YAML and never decide; `plan` leaves them no choices.

#[cfg(feature = "docker")]
pub mod docker;
#[cfg(all(feature = "embedded", target_os = "linux"))]
pub mod embedded;
pub mod faulty;
#[cfg(any(feature = "docker", feature = "embedded"))]
mod hook;
pub mod registry;
pub mod sim;
mod status;

use crate::world::{
    Applied, Capabilities, ContainerDetails, EngineError, EngineEvent, ExecSession, ExecSpec, LogChunk, LogQuery, ObserveQuery, Observed, Op,
    Progress, Target,
};
use async_trait::async_trait;
use futures::stream::BoxStream;

/// A part of an op's progress: which part (a layer of an image), what is done with it, how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpProgress {
    /// Which part; empty for the whole.
    pub part: String,
    /// The word: `Downloading`, `Extracting`, `Pull complete`.
    pub text: String,
    /// How far.
    pub progress: Option<Progress>,
}

/// Where an op reports its progress. Reports are dropped rather than awaited when nobody reads fast enough.
pub type ProgressSink = tokio::sync::mpsc::Sender<OpProgress>;

/// What an engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// `docker`, `podman`, `sim`.
    pub name: String,
    /// Version of the engine.
    pub version: String,
    /// Version of the API in use; empty without one.
    pub api: String,
    /// Where it is: `unix:///var/run/docker.sock`.
    pub endpoint: String,
}

/// A container engine.
///
/// Methods may be called concurrently. Dropping a returned future or stream abandons the call; what the engine had
/// already been asked goes on there.
#[async_trait]
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// What it says of itself.
    fn info(&self) -> EngineInfo;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// What exists. One consistent look per kind of thing, nothing changed.
    async fn observe(&self, query: &ObserveQuery) -> Result<Observed, EngineError>;

    /// Does one thing. Ops that find their work done already (start of a running container, stop of a stopped one,
    /// removal of an absent one) succeed with [`Applied::changed`] false.
    async fn apply(&self, op: &Op, progress: &ProgressSink) -> Result<Applied, EngineError>;

    /// What happens to the containers of a project (`None`: of every project) from now on. When this returns, the
    /// subscription stands: nothing that happens later is missed. The stream ends or fails when the engine goes away.
    async fn events(&self, project: Option<&str>) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError>;

    /// A container's log. With `follow` the stream ends when the container stops.
    async fn logs(&self, container: &Target, query: &LogQuery) -> Result<BoxStream<'static, Result<LogChunk, EngineError>>, EngineError>;

    /// Runs a command inside a running container.
    async fn exec(&self, container: &Target, spec: &ExecSpec) -> Result<ExecSession, EngineError>;

    /// Everything worth knowing of one container.
    async fn inspect(&self, container: &Target) -> Result<ContainerDetails, EngineError>;
}
