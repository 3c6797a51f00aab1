//! Commands inside containers: the connection becomes a raw one, both ways.
//!
//! bollard's own decoder isn't used: with a terminal there are no frames, and it takes low bytes for their headers.

use super::DockerEngine;
use super::client::{Api, Client, Payload};
use super::error::Failure;
use super::events;
use super::frames::Frames;
use crate::oci::Io;
use crate::world::{EngineError, ExecControl, ExecOutput, ExecSession, ExecSpec, Stream, Target};
use async_trait::async_trait;
use bollard::models::ExecConfig;
use bollard::query_parameters::ResizeExecOptionsBuilder;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use serde::Serialize;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt, AsyncWrite, ReadHalf, WriteHalf};

/// How much is read at once.
const BUFFER: usize = 32 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Start {
    detach: bool,
    tty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    console_size: Option<[u16; 2]>,
}

/// Runs a command.
pub async fn exec(engine: &DockerEngine, container: &Target, spec: &ExecSpec) -> Result<ExecSession, EngineError> {
    let doing = format!("run `{}` in container {}", spec.command.join(" "), container.name);
    begin(engine, container, spec, doing.clone()).await.map_err(|f| f.explain(&doing))
}

async fn begin(engine: &DockerEngine, container: &Target, spec: &ExecSpec, doing: String) -> Result<ExecSession, Failure> {
    let tty = spec.tty.is_some();
    let some = |text: &str| Some(text).filter(|t| !t.is_empty()).map(str::to_owned);
    let config = ExecConfig {
        attach_stdin: Some(spec.stdin && !spec.detach),
        attach_stdout: Some(!spec.detach),
        attach_stderr: Some(!spec.detach),
        tty: Some(tty),
        env: Some(spec.environment.clone()).filter(|e| !e.is_empty()),
        cmd: Some(spec.command.clone()),
        privileged: Some(spec.privileged),
        user: some(&spec.user),
        working_dir: some(&spec.working_dir),
        ..Default::default()
    };
    let id = engine.bollard.create_exec(container.reference(), config).await?.id;
    let control = Control {
        bollard: engine.bollard.clone(),
        client: engine.client.clone(),
        container: container.reference().to_owned(),
        id,
        doing,
        detached: spec.detach,
    };
    let tail = format!("/exec/{}/start", control.id);
    // Rows first.
    let size = spec.tty.filter(|_| engine.hello.api >= Api(1, 42)).map(|(columns, rows)| [rows, columns]);
    let start = Payload::json(&Start { detach: spec.detach, tty, console_size: size })?;
    if spec.detach {
        engine.client.call(hyper::Method::POST, &tail, Some(start)).await?;
        return Ok(ExecSession { output: stream::empty().boxed(), input: Box::new(tokio::io::sink()), control: Box::new(control) });
    }
    let (reader, writer) = tokio::io::split(engine.client.hijack(&tail, start).await?);
    if let (Some((columns, rows)), None) = (spec.tty, size) {
        // It may have ended already.
        let _ = control.resize(columns, rows).await;
    }
    let output = if tty { raw(reader, &control.doing) } else { framed(reader, &control.doing) };
    let started = (!tty).then(|| started(engine.bollard.clone(), control.id.clone()).boxed());
    Ok(ExecSession { output, input: Box::new(Input { writer, started }), control: Box::new(control) })
}

/// Waits until a command without a terminal runs. The engine says that it does before it does, but it answers a change of
/// size, which means nothing here, only when it does.
async fn started(bollard: bollard::Docker, id: String) {
    let nothing = ResizeExecOptionsBuilder::default().h(0).w(0).build();
    // An error is an answer too: what has ended has started.
    let _ = bollard.resize_exec(&id, nothing).await;
}

/// Input of a command. Its end is told when the command runs: the engine forgets one that comes before.
struct Input {
    writer: WriteHalf<Box<dyn Io>>,
    started: Option<BoxFuture<'static, ()>>,
}

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(started) = &mut self.started {
            ready!(started.as_mut().poll(cx));
            self.started = None;
        }
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

/// The next piece of output; `None` at its end.
async fn piece(reader: &mut ReadHalf<Box<dyn Io>>, buffer: &mut BytesMut) -> Option<Result<Bytes, Failure>> {
    buffer.reserve(BUFFER);
    match reader.read_buf(buffer).await {
        Ok(0) => None,
        Ok(_) => Some(Ok(buffer.split().freeze())),
        Err(error) => Some(Err(Failure::Lost(error.to_string()))),
    }
}

/// Output of a terminal.
fn raw(reader: ReadHalf<Box<dyn Io>>, doing: &str) -> ExecOutput {
    stream::unfold((reader, BytesMut::new(), doing.to_owned()), |(mut reader, mut buffer, doing)| async move {
        let item = piece(&mut reader, &mut buffer).await?;
        let item = item.map(|bytes| (Stream::Stdout, bytes)).map_err(|f| f.explain(&doing));
        Some((item, (reader, buffer, doing)))
    })
    .boxed()
}

/// Output of two streams.
fn framed(reader: ReadHalf<Box<dyn Io>>, doing: &str) -> ExecOutput {
    let state = (reader, BytesMut::new(), Frames::default(), false);
    stream::unfold(state, |(mut reader, mut buffer, mut frames, failed)| async move {
        if failed {
            return None;
        }
        loop {
            match frames.next() {
                Ok(Some((_, bytes))) if bytes.is_empty() => {}
                Ok(Some(chunk)) => return Some((Ok(chunk), (reader, buffer, frames, false))),
                Ok(None) => match piece(&mut reader, &mut buffer).await {
                    Some(Ok(bytes)) => frames.push(bytes),
                    Some(Err(failure)) => return Some((Err(failure), (reader, buffer, frames, true))),
                    None => return frames.finish().err().map(|failure| (Err(failure), (reader, buffer, frames, true))),
                },
                Err(failure) => return Some((Err(failure), (reader, buffer, frames, true))),
            }
        }
    })
    .map_err({
        let doing = doing.to_owned();
        move |f: Failure| f.explain(&doing)
    })
    .boxed()
}

/// How often events may end, as Podman's do now and then, while the end of a command is waited for.
const SUBSCRIPTIONS: usize = 10;

/// A command that runs.
struct Control {
    bollard: bollard::Docker,
    client: Client,
    container: String,
    id: String,
    doing: String,
    detached: bool,
}

impl Control {
    /// The exit code, unless it still runs.
    async fn ended(&self) -> Result<Option<i64>, Failure> {
        let inspected = self.bollard.inspect_exec(&self.id).await?;
        Ok(inspected.exit_code.filter(|_| inspected.running == Some(false)))
    }

    async fn wait(&self) -> Result<i64, Failure> {
        if let Some(code) = self.ended().await? {
            return Ok(code);
        }
        // Its output has ended, and it hasn't: it closed it itself, or the engine has yet to notice.
        for _ in 0..SUBSCRIPTIONS {
            let ends = events::subscribe(&self.client, &[("type", &["container"]), ("container", &[&self.container])], None).await?;
            let mut ends = pin!(ends);
            loop {
                if let Some(code) = self.ended().await? {
                    return Ok(code);
                }
                if ends.next().await.transpose()?.is_none() {
                    break;
                }
            }
        }
        Err(Failure::Lost("the engine stopped telling what happens".to_owned()))
    }
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), EngineError> {
        let options = ResizeExecOptionsBuilder::default().h(i32::from(rows)).w(i32::from(columns)).build();
        self.bollard.resize_exec(&self.id, options).await.map_err(|e| Failure::from(e).explain(&self.doing))
    }

    async fn exit_code(&self) -> Result<i64, EngineError> {
        if self.detached {
            return Ok(0);
        }
        self.wait().await.map_err(|f| f.explain(&self.doing))
    }
}
