//! Hooks: commands inside a container that are waited for.

use super::Engine;
use crate::world::{Applied, EngineError, ErrorKind, ExecSpec, HookSpec, Target};
use bytes::BytesMut;
use futures::stream::TryStreamExt;

/// How much of a hook's output an error tells: its end.
const TOLD: usize = 2000;

/// Runs a hook and waits for it.
///
/// # Errors
/// It can't be run; a code other than 0, with what it said at last.
pub async fn run(engine: &dyn Engine, container: &Target, hook: &HookSpec) -> Result<Applied, EngineError> {
    let spec = ExecSpec {
        command: hook.command.clone(),
        environment: hook.environment.iter().map(|(k, v)| v.as_ref().map_or_else(|| k.clone(), |v| format!("{k}={v}"))).collect(),
        user: hook.user.clone(),
        working_dir: hook.working_dir.clone(),
        privileged: hook.privileged,
        ..ExecSpec::default()
    };
    let mut session = engine.exec(container, &spec).await?;
    let mut said = BytesMut::new();
    while let Some((_, bytes)) = session.output.try_next().await? {
        said.extend_from_slice(&bytes);
        if said.len() > 2 * TOLD {
            let _ = said.split_to(said.len() - TOLD);
        }
    }
    match session.control.exit_code().await? {
        0 => Ok(Applied { changed: true, ..Applied::default() }),
        code => {
            let what = format!("hook `{}` in container {} exited with {code}", hook.command.join(" "), container.name);
            let said = String::from_utf8_lossy(&said);
            let error = EngineError::new(ErrorKind::Refused, what);
            Err(if said.trim().is_empty() { error } else { error.because(said.trim()) })
        }
    }
}
