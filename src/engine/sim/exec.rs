//! Commands inside simulated containers.

use super::Sim;
use super::shell::{Input, Output, Shell};
use super::state::refused;
use crate::world::{EngineError, ErrorKind, ExecControl, ExecSession, ExecSpec, State as Life, Target};
use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use std::sync::Arc;
use tokio::io::{AsyncWrite, duplex, sink};
use tokio::sync::{mpsc, watch};

/// Bytes on their way to a command that doesn't read.
const PIPE: usize = 64 * 1024;
/// Pieces of output on their way to a reader who doesn't read.
const PIECES: usize = 16;

struct Control {
    size: watch::Sender<(u16, u16)>,
    code: watch::Receiver<Option<i64>>,
    terminal: bool,
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&self, columns: u16, rows: u16) -> Result<(), EngineError> {
        if !self.terminal {
            return Err(EngineError::new(ErrorKind::Refused, "the command has no terminal"));
        }
        self.size.send_replace((columns, rows));
        Ok(())
    }

    async fn exit_code(&self) -> Result<i64, EngineError> {
        let mut code = self.code.clone();
        let found = code.wait_for(Option::is_some).await.ok().and_then(|c| *c);
        found.ok_or_else(|| EngineError::new(ErrorKind::Unreachable, "the simulated engine was shut down"))
    }
}

/// Starts a command.
pub(super) fn start(sim: &Sim, container: &Target, spec: &ExecSpec) -> Result<ExecSession, EngineError> {
    let (id, mut ended) = {
        let mut state = sim.lock();
        let id = state.id_of(container)?;
        let target = state.get(&id)?;
        let alive = target.process.as_ref().filter(|_| target.state == Life::Running);
        let not_running = || EngineError::new(ErrorKind::Conflict, format!("container {} is {}, not running", target.name, target.state.as_str()));
        let ended = alive.ok_or_else(not_running)?.ended.clone();
        (id, ended)
    };
    let program = spec.command.first().cloned().unwrap_or_default();
    if program.is_empty() {
        return Err(refused(format!("nothing can be run in container {}", container.name), "no command was given"));
    }
    let (output, pieces) = mpsc::channel(PIECES);
    let (size, size_now) = watch::channel(spec.tty.unwrap_or_default());
    let (code, code_now) = watch::channel(None);
    let mut shell = Shell::in_container(sim, &id, Output::Channel(output));
    shell.terminal = spec.tty.map(|_| size_now);
    for pair in &spec.environment {
        if let Some((name, value)) = pair.split_once('=') {
            shell.environment.insert(name.to_owned(), value.to_owned());
        }
    }
    if !spec.user.is_empty() {
        shell.user.clone_from(&spec.user);
    }
    if !spec.working_dir.is_empty() {
        shell.cwd.clone_from(&spec.working_dir);
    }
    let input: Box<dyn AsyncWrite + Send + Unpin> = if spec.stdin && !spec.detach {
        let (ours, theirs) = duplex(PIPE);
        shell.input = Input::Reader(Arc::new(tokio::sync::Mutex::new(Box::new(theirs))));
        Box::new(ours)
    } else {
        Box::new(sink())
    };
    let argv = spec.command.clone();
    tokio::spawn(async move {
        let result = if shell.finds(&argv) {
            tokio::select! {
                biased;
                result = shell.run(&argv) => result,
                _ = ended.wait_for(|e| *e) => 137,
            }
        } else {
            shell.not_there(&program).await
        };
        code.send_replace(Some(result));
    });
    let output = stream::unfold(pieces, |mut pieces| async move { pieces.recv().await.map(|piece| (Ok(piece), pieces)) }).boxed();
    let control = Box::new(Control { size, code: code_now, terminal: spec.tty.is_some() });
    Ok(ExecSession { output, input, control })
}
