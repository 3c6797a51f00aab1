//! What stands for engines behind sockets in a program that was built without them.

use super::super::Engine;
use super::{EngineRequest, Failure, Place};
use crate::world::{EngineError, ErrorKind};
use std::sync::Arc;

fn absent(name: &str) -> EngineError {
    EngineError::new(ErrorKind::Unsupported, format!("this consort can't use engine `{name}`: it was built without feature `docker`"))
}

pub(super) fn places(_: &EngineRequest) -> Result<Vec<Place>, EngineError> {
    Ok(Vec::new())
}

pub(super) fn candidates(_: &EngineRequest) -> Result<(bool, Vec<()>), EngineError> {
    Ok((false, Vec::new()))
}

pub(super) async fn connect_all(_: &EngineRequest, _: Vec<()>) -> Result<(Vec<Arc<dyn Engine>>, Vec<Failure>), EngineError> {
    Ok((Vec::new(), vec![("docker".to_owned(), absent("docker"))]))
}

pub(super) async fn docker(_: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
    Err(absent("docker"))
}

pub(super) async fn podman(_: &EngineRequest) -> Result<Arc<dyn Engine>, EngineError> {
    Err(absent("podman"))
}
