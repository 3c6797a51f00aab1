//! Stands in where the code for images in files isn't built in: there are none, and plans refuse them at their line.

use super::DockerEngine;
use crate::engine::ProgressSink;
use crate::world::{Applied, ContainerSpec, EngineError};
use std::borrow::Cow;

#[expect(clippy::unused_async, reason = "as where they are built in")]
pub async fn local(reference: &str) -> Result<Cow<'_, str>, EngineError> {
    Ok(Cow::Borrowed(reference))
}

#[expect(clippy::unused_async, reason = "as where they are built in")]
pub async fn renamed(spec: &ContainerSpec) -> Result<Cow<'_, ContainerSpec>, EngineError> {
    Ok(Cow::Borrowed(spec))
}

#[expect(clippy::unused_async, reason = "as where they are built in")]
pub async fn bring(_: &DockerEngine, _: &str, _: Option<&str>, _: &ProgressSink) -> Result<Option<Applied>, EngineError> {
    Ok(None)
}
