//! Images from registries, with progress by layer.

use super::DockerEngine;
use super::client::{REGISTRY_AUTH, query};
use super::credentials::header;
use super::error::Failure;
use super::events::lines;
use crate::engine::{OpProgress, ProgressSink};
use crate::oci::credentials::Reference;
use crate::world::{Applied, EngineError, ErrorKind, Progress};
use futures::TryStreamExt;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use serde::Deserialize;
use std::pin::pin;

/// One line of the engine's answer.
#[derive(Default, Deserialize)]
struct Line {
    #[serde(default)]
    status: String,
    #[serde(default)]
    id: String,
    #[serde(default, rename = "progressDetail")]
    progress: Option<Detail>,
    #[serde(default)]
    error: String,
}

#[derive(Default, Deserialize)]
struct Detail {
    #[serde(default)]
    current: u64,
    #[serde(default)]
    total: u64,
}

/// Pulls one image.
pub async fn pull(engine: &DockerEngine, reference: &str, platform: Option<&str>, progress: &ProgressSink) -> Result<Applied, EngineError> {
    let parsed = Reference::parse(reference);
    transfer(engine, &parsed, platform, progress).await.map_err(|failure| explain(failure, reference, parsed.registry()))
}

async fn transfer(engine: &DockerEngine, image: &Reference<'_>, platform: Option<&str>, progress: &ProgressSink) -> Result<Applied, Failure> {
    let mut headers = HeaderMap::new();
    if let Some(auth) = header(&engine.config, image.registry(), &engine.environment).await? {
        let mut value = HeaderValue::from_str(&auth).map_err(|e| Failure::garbled("credentials", &e))?;
        value.set_sensitive(true);
        headers.insert(REGISTRY_AUTH, value);
    }
    let mut pairs = vec![("fromImage", image.repository), ("tag", image.version)];
    pairs.extend(platform.map(|p| ("platform", p)));
    let (_, pieces) = engine.client.stream(Method::POST, &query("/images/create", &pairs), headers).await?;
    let mut lines = pin!(lines::<Line>(pieces));
    let mut applied = Applied { changed: true, ..Applied::default() };
    while let Some(line) = lines.try_next().await? {
        if !line.error.is_empty() {
            return Err(Failure::Refused { status: 0, message: line.error });
        }
        if line.status.starts_with("Status: Image is up to date") {
            applied.changed = false;
        }
        if let Some(warning) = line.status.strip_prefix("WARNING: ") {
            applied.warnings.push(warning.to_owned());
        }
        // The tag itself is no layer.
        let part = if line.id == image.version { String::new() } else { line.id };
        let amount = line.progress.filter(|p| p.current > 0 || p.total > 0).map(|p| Progress { current: p.current, total: p.total });
        // Nobody waits for whoever reads this: what doesn't fit is dropped.
        let _ = progress.try_send(OpProgress { part, text: line.status, progress: amount });
    }
    Ok(applied)
}

/// What went wrong, told apart: a wrong name, no permission, a registry that isn't reached or is fed up.
fn explain(failure: Failure, reference: &str, registry: &str) -> EngineError {
    let Failure::Refused { message, .. } = &failure else { return failure.explain(&format!("pull image {reference}")) };
    let low = message.to_ascii_lowercase();
    let has = |needle: &str| low.contains(needle);
    let (kind, what) = if has("toomanyrequests") || has("too many requests") || has("rate limit") {
        (ErrorKind::Refused, format!("registry {registry} wants fewer pulls from you: log in, or wait"))
    } else if has("no space left on device") {
        (ErrorKind::NoSpace, format!("no space left on the engine's disk: can't pull image {reference}"))
    } else if has("no matching manifest")
        || has("does not provide the specified platform")
        || has("no image found in")
        || has("does not match the specified platform")
    {
        (ErrorKind::NotFound, format!("image {reference} doesn't exist for this platform"))
    } else if has("manifest unknown") || has("not found: manifest") || (has("manifest for") && has("not found")) || has("name unknown") {
        (ErrorKind::NotFound, format!("registry {registry} has no image {reference}"))
    } else if has("denied") || has("unauthorized") || has("authentication required") || has("no basic auth credentials") {
        (ErrorKind::Denied, format!("registry {registry} doesn't give image {reference} away: it doesn't exist, or needs `docker login`"))
    } else if has("no such host") || has("server misbehaving") || has("name resolution") {
        (ErrorKind::Refused, format!("registry {registry} can't be found: the engine's name server doesn't know it"))
    } else if [
        "connection refused",
        "no route to host",
        "network is unreachable",
        "i/o timeout",
        "deadline exceeded",
        "client.timeout",
        "connection reset",
    ]
    .iter()
    .any(|n| has(n))
    {
        (ErrorKind::Refused, format!("the engine can't reach registry {registry}"))
    } else if has("x509") || has("tls:") || has("http response to https client") {
        (ErrorKind::Refused, format!("the engine doesn't trust registry {registry}"))
    } else if has("repository does not exist") || has("not found") {
        (ErrorKind::NotFound, format!("registry {registry} has no image {reference}"))
    } else if has("invalid reference format") {
        (ErrorKind::Refused, format!("`{reference}` is no name of an image"))
    } else {
        return failure.explain(&format!("pull image {reference}"));
    };
    EngineError::new(kind, what).because(message.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart() {
        for (message, kind, word) in [
            ("manifest for nginx:nope not found: manifest unknown: manifest unknown", ErrorKind::NotFound, "has no image"),
            (
                "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access",
                ErrorKind::Denied,
                "docker login",
            ),
            ("Get \"https://r/v2/\": dial tcp: lookup r on 8.8.8.8:53: no such host", ErrorKind::Refused, "can't be found"),
            ("Get \"https://r/v2/\": dial tcp 127.0.0.1:9: connect: connection refused", ErrorKind::Refused, "can't reach"),
            ("toomanyrequests: You have reached your pull rate limit.", ErrorKind::Refused, "fewer pulls"),
            ("no matching manifest for linux/arm64 in the manifest list entries", ErrorKind::NotFound, "this platform"),
            ("failed to register layer: write /x: no space left on device", ErrorKind::NoSpace, "no space"),
            ("Head \"https://r/v2/a/manifests/latest\": no basic auth credentials", ErrorKind::Denied, "docker login"),
            ("something new", ErrorKind::Refused, "can't pull image"),
        ] {
            let error = explain(Failure::Refused { status: 500, message: message.to_owned() }, "r/a:1", "r");
            assert_eq!(error.kind, kind, "{message}");
            assert!(error.what.contains(word), "{error}");
            assert_eq!(error.source.as_deref(), Some(message));
        }
    }
}
