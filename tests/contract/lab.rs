//! The bench of a case: an engine, a project of its own, and the moves that every case needs.

use crate::support;
use bytes::Bytes;
use consort::engine::{Engine, OpProgress};
use consort::units::Timestamp;
use consort::world::{
    Applied, Container, ContainerDetails, ContainerSpec, EngineError, EngineEvent, EventKind, ExecSession, ExecSpec, ImageQuery, LogChunk, LogQuery,
    NetworkMode, NetworkSpec, ObserveQuery, Observed, Op, State, Stream, Target, VolumeSpec, label,
};
use futures::stream::{BoxStream, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

/// The image of most cases.
pub const IMAGE: &str = "busybox:latest";
/// One that cases may pull and remove.
pub const OTHER_IMAGE: &str = "busybox:1.35.0";
/// How long a case waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a case went.
#[derive(Debug)]
pub enum Verdict {
    Good,
    /// The engine can't do what the case is about.
    NotCapable(&'static str),
    Failed(String),
}

/// What a case may return.
pub trait IntoVerdict {
    fn verdict(self) -> Verdict;
}

impl IntoVerdict for () {
    fn verdict(self) -> Verdict {
        Verdict::Good
    }
}

impl IntoVerdict for Verdict {
    fn verdict(self) -> Verdict {
        self
    }
}

/// What a panicked case said.
pub fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => {
            let text = payload.downcast_ref::<String>().cloned().or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            text.unwrap_or_else(|| "panicked".into())
        }
        Err(error) => error.to_string(),
    }
}

/// An engine, and a project of one's own on it.
#[derive(Clone)]
pub struct Lab {
    pub engine: Arc<dyn Engine>,
    /// Name of the project, and the beginning of every other name.
    pub project: String,
    /// Not a simulation.
    pub real: bool,
    /// OCI runtime of containers that name none; empty is the engine's own.
    pub runtime: &'static str,
    progress: mpsc::Sender<OpProgress>,
}

/// Events of the lab's project, read one by one.
pub struct Events(BoxStream<'static, Result<EngineEvent, EngineError>>);

impl Events {
    /// The next event that counts: what engines say besides the port's own words is left out.
    pub async fn next(&mut self) -> EngineEvent {
        let next = async {
            loop {
                let event = self.0.next().await.expect("the stream of events ended").expect("the stream of events failed");
                if !matches!(event.kind, EventKind::Other(_)) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("an event was expected, none came")
    }

    /// Reads up to the first event that `wanted` picks, and returns all of them.
    pub async fn until(&mut self, wanted: impl Fn(&EngineEvent) -> bool) -> Vec<EngineEvent> {
        let mut all = Vec::new();
        loop {
            let event = self.next().await;
            let found = wanted(&event);
            all.push(event);
            if found {
                return all;
            }
        }
    }
}

/// What a command printed, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: i64,
    pub stdout: String,
    pub stderr: String,
}

impl Lab {
    pub fn new(engine: Arc<dyn Engine>, project: String, real: bool) -> Self {
        let (progress, mut reports) = mpsc::channel(64);
        tokio::spawn(async move { while reports.recv().await.is_some() {} });
        Self { engine, project, real, runtime: "", progress }
    }

    /// Makes sure that the image is there.
    pub async fn prepare(&self) {
        let query = ObserveQuery { images: vec![image_query(IMAGE)], ..self.query() };
        let found = self.engine.observe(&query).await.unwrap_or_else(|e| panic!("nothing can be observed: {e}"));
        if !found.images.contains_key(IMAGE) {
            let pulled = self.apply(&Op::PullImage { reference: IMAGE.into(), platform: None }).await;
            pulled.unwrap_or_else(|e| panic!("{IMAGE} is not there and can't be pulled: {e}"));
        }
    }

    /// Removes everything of the lab's project, and of the other one that some cases have.
    pub async fn clean_up(&self) -> Result<(), EngineError> {
        self.clear(self.query()).await?;
        self.clear(ObserveQuery { project: Some(self.name("other")), ..ObserveQuery::default() }).await
    }

    async fn clear(&self, query: ObserveQuery) -> Result<(), EngineError> {
        let found = self.engine.observe(&query).await?;
        for c in &found.containers {
            let container = Target::existing(&c.name, &c.id);
            self.apply(&Op::RemoveContainer { container, volumes: true }).await?;
        }
        for network in &found.networks {
            self.apply(&Op::RemoveNetwork { name: network.name.clone(), id: Some(network.id.clone()) }).await?;
        }
        for volume in &found.volumes {
            self.apply(&Op::RemoveVolume { name: volume.name.clone() }).await?;
        }
        Ok(())
    }

    pub fn query(&self) -> ObserveQuery {
        ObserveQuery { project: Some(self.project.clone()), ..ObserveQuery::default() }
    }

    /// A name that nobody else has.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.project)
    }

    pub async fn apply(&self, op: &Op) -> Result<Applied, EngineError> {
        if let Op::CreateContainer(spec) = op
            && spec.runtime.is_empty()
            && !self.runtime.is_empty()
        {
            let spec = ContainerSpec { runtime: self.runtime.to_owned(), ..spec.as_ref().clone() };
            return self.engine.apply(&Op::CreateContainer(Box::new(spec)), &self.progress).await;
        }
        self.engine.apply(op, &self.progress).await
    }

    /// Applies an op that must succeed.
    pub async fn good(&self, op: &Op) -> Applied {
        self.apply(op).await.unwrap_or_else(|e| panic!("{} {} failed: {e}", op.verb(), op.subject()))
    }

    /// Applies an op that must be refused.
    pub async fn bad(&self, op: &Op) -> EngineError {
        match self.apply(op).await {
            Err(error) => error,
            Ok(applied) => panic!("{} {} should have failed, but gave {applied:?}", op.verb(), op.subject()),
        }
    }

    /// A container that runs `script` in a shell, without a network.
    pub fn spec(&self, service: &str, script: &str) -> ContainerSpec {
        let mut spec = support::container(&self.project, service, 1, IMAGE);
        spec.command = Some(vec!["sh".into(), "-c".into(), script.into()]);
        spec
    }

    /// The same on a network.
    pub fn networked(&self, service: &str, script: &str, network: &str, aliases: &[&str]) -> ContainerSpec {
        let mut spec = self.spec(service, script);
        spec.network_mode = NetworkMode::Networks;
        spec.networks = vec![support::endpoint(network, aliases)];
        spec
    }

    pub async fn create(&self, spec: &ContainerSpec) -> Target {
        let applied = self.good(&Op::CreateContainer(Box::new(spec.clone()))).await;
        Target::existing(&spec.name, applied.id.expect("creation gives an id"))
    }

    pub async fn start(&self, container: &Target) -> Applied {
        self.good(&Op::StartContainer { container: container.clone() }).await
    }

    pub async fn stop(&self, container: &Target, timeout: Option<i64>) -> Applied {
        self.good(&Op::StopContainer { container: container.clone(), timeout }).await
    }

    pub async fn kill(&self, container: &Target, signal: &str) -> Applied {
        self.good(&Op::KillContainer { container: container.clone(), signal: signal.into() }).await
    }

    pub async fn remove(&self, container: &Target, volumes: bool) -> Applied {
        self.good(&Op::RemoveContainer { container: container.clone(), volumes }).await
    }

    /// Creates and starts.
    pub async fn up(&self, spec: &ContainerSpec) -> Target {
        let container = self.create(spec).await;
        self.start(&container).await;
        container
    }

    /// Starts a container that runs `script` in a shell.
    pub async fn run(&self, service: &str, script: &str) -> Target {
        self.up(&self.spec(service, script)).await
    }

    /// Starts it, and waits until its log has the line `ready`, which the script must print.
    pub async fn run_ready(&self, service: &str, script: &str) -> Target {
        self.up_ready(&self.spec(service, script)).await
    }

    pub async fn up_ready(&self, spec: &ContainerSpec) -> Target {
        let container = self.up(spec).await;
        self.wait_for_line(&container, "ready").await;
        container
    }

    /// Waits until the log has a line.
    pub async fn wait_for_line(&self, container: &Target, line: &str) {
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let mut stream = self.engine.logs(container, &query).await.expect("logs");
        let found = async {
            while let Some(chunk) = stream.next().await {
                if text(&chunk.expect("logs").bytes).trim_end() == line {
                    return;
                }
            }
            panic!("the log of {} ended without the line {line:?}", container.name);
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no line {line:?} in the log of {}", container.name));
    }

    pub async fn events(&self) -> Events {
        Events(self.engine.events(Some(&self.project)).await.expect("events"))
    }

    /// Waits for the end of a container's run; its exit code.
    pub async fn exited(&self, container: &Target) -> i64 {
        let mut events = self.events().await;
        let seen = self.inspect(container).await;
        if seen.state == Some(State::Exited) {
            return seen.exit_code;
        }
        let id = container.id.clone().unwrap_or_default();
        let all = events.until(|e| e.container.id == id && matches!(e.kind, EventKind::Died { .. })).await;
        // Lists may lag behind events; this waits until the engine has done with the death.
        self.inspect(container).await;
        match all.last().map(|e| e.kind.clone()) {
            Some(EventKind::Died { exit_code }) => exit_code,
            other => panic!("{other:?}"),
        }
    }

    /// Runs a container to its end.
    pub async fn ran(&self, spec: &ContainerSpec) -> Ran {
        let container = self.create(spec).await;
        let mut events = self.events().await;
        self.start(&container).await;
        let all = events.until(|e| Some(&e.container.id) == container.id.as_ref() && matches!(e.kind, EventKind::Died { .. })).await;
        let code = match all.last().map(|e| e.kind.clone()) {
            Some(EventKind::Died { exit_code }) => exit_code,
            other => panic!("{other:?}"),
        };
        let (stdout, stderr) = self.output(&container).await;
        Ran { code, stdout, stderr }
    }

    pub async fn inspect(&self, container: &Target) -> ContainerDetails {
        self.engine.inspect(container).await.unwrap_or_else(|e| panic!("{} can't be inspected: {e}", container.name))
    }

    pub async fn observe(&self) -> Observed {
        self.engine.observe(&self.query()).await.unwrap_or_else(|e| panic!("nothing can be observed: {e}"))
    }

    /// The container as observation shows it.
    pub async fn observed(&self, container: &Target) -> Container {
        let found = self.observe().await;
        let id = container.id.as_ref();
        found.containers.into_iter().find(|c| Some(&c.id) == id).unwrap_or_else(|| panic!("{} is not observed", container.name))
    }

    pub async fn chunks(&self, container: &Target, query: &LogQuery) -> Vec<LogChunk> {
        let stream = self.engine.logs(container, query).await.unwrap_or_else(|e| panic!("the log of {} can't be read: {e}", container.name));
        let all = stream.map(|c| c.expect("logs")).collect();
        tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("the log of {} doesn't end", container.name))
    }

    /// All that a container has printed: standard output and error.
    pub async fn output(&self, container: &Target) -> (String, String) {
        let chunks = self.chunks(container, &LogQuery::default()).await;
        (joined(&chunks, Stream::Stdout), joined(&chunks, Stream::Stderr))
    }

    pub async fn exec(&self, container: &Target, spec: &ExecSpec) -> ExecSession {
        self.engine.exec(container, spec).await.unwrap_or_else(|e| panic!("nothing can be run in {}: {e}", container.name))
    }

    /// Runs a command inside a container, with `input`, to its end.
    pub async fn exec_with(&self, container: &Target, spec: &ExecSpec, input: &[u8]) -> Ran {
        let ExecSession { output, input: mut writer, control } = self.exec(container, spec).await;
        let input = input.to_vec();
        let writing = tokio::spawn(async move {
            // A command may end before it has read everything.
            let _ = writer.write_all(&input).await;
            let _ = writer.shutdown().await;
            writer
        });
        let (stdout, stderr) = tokio::time::timeout(PATIENCE, read_all(output)).await.expect("the command's output doesn't end");
        let code = tokio::time::timeout(PATIENCE, control.exit_code()).await.expect("no exit code came").expect("exit code");
        writing.abort();
        Ran { code, stdout: text(&stdout), stderr: text(&stderr) }
    }

    /// Runs a script inside a container.
    pub async fn sh(&self, container: &Target, script: &str) -> Ran {
        let spec = ExecSpec { command: ["sh", "-c", script].map(str::to_owned).to_vec(), ..ExecSpec::default() };
        self.exec_with(container, &spec, b"").await
    }

    pub async fn network(&self, name: &str) -> String {
        self.network_as(NetworkSpec { name: self.name(name), ..NetworkSpec::default() }).await
    }

    pub async fn network_as(&self, mut spec: NetworkSpec) -> String {
        spec.labels = self.labels();
        let name = spec.name.clone();
        self.good(&Op::CreateNetwork(spec)).await;
        name
    }

    pub async fn volume(&self, name: &str) -> String {
        let name = self.name(name);
        self.good(&Op::CreateVolume(VolumeSpec { name: name.clone(), labels: self.labels(), ..VolumeSpec::default() })).await;
        name
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(label::PROJECT.to_owned(), self.project.clone())])
    }
}

pub fn image_query(reference: &str) -> ImageQuery {
    ImageQuery { reference: reference.into(), platform: None }
}

/// What came on one stream, put together.
pub fn joined(chunks: &[LogChunk], stream: Stream) -> String {
    chunks.iter().filter(|c| c.stream == stream).map(|c| text(&c.bytes)).collect()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads a command's output to its end.
pub async fn read_all(mut output: consort::world::ExecOutput) -> (Vec<u8>, Vec<u8>) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(piece) = output.next().await {
        let (stream, bytes): (Stream, Bytes) = piece.expect("output of a command");
        match stream {
            Stream::Stdout => stdout.extend_from_slice(&bytes),
            Stream::Stderr => stderr.extend_from_slice(&bytes),
        }
    }
    (stdout, stderr)
}

/// The time in the middle between two.
pub fn between(a: Timestamp, b: Timestamp) -> Timestamp {
    Timestamp(a.0 / 2 + b.0 / 2)
}

/// Waits a moment of the engine's clock, so that what happens later has a later time.
pub async fn moment() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}
