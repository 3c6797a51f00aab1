//! Simulated images.

use super::script::ImageScript;
use crate::digest::sha256;
use crate::units::Duration;
use crate::world::{HealthcheckSpec, Image};

/// An image of the simulated registry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SimImage {
    /// What it is made of.
    pub script: ImageScript,
}

impl SimImage {
    pub(super) fn id(&self, reference: &str) -> String {
        format!("sha256:{}", sha256(format!("image {} {}", canonical(reference), self.script.build)))
    }

    pub(super) fn healthcheck(&self) -> Option<HealthcheckSpec> {
        let test = self.script.healthcheck.clone();
        (!test.is_empty()).then(|| HealthcheckSpec { test, interval: Some(Duration::from_secs(1)), ..HealthcheckSpec::default() })
    }

    pub(super) fn observed(&self, reference: &str) -> Image {
        Image {
            id: self.id(reference),
            volumes: self.script.volumes.clone(),
            exposed: self.script.exposed.clone(),
            healthcheck: self.healthcheck(),
            tagged: None,
            labels: self.script.labels.clone(),
        }
    }
}

/// The one form of a reference: `busybox` is `docker.io/library/busybox:latest`.
pub(super) fn canonical(reference: &str) -> String {
    if reference.starts_with("sha256:") {
        return reference.to_owned();
    }
    let (host, rest) = match reference.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest.to_owned()),
        Some(_) => ("docker.io", reference.to_owned()),
        None => ("docker.io", format!("library/{reference}")),
    };
    let tagged = rest.contains('@') || rest.rsplit('/').next().is_some_and(|last| last.contains(':'));
    format!("{host}/{rest}{}", if tagged { "" } else { ":latest" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_one_form() {
        for (given, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("a/b:1", "docker.io/a/b:1"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("ghcr.io/a/b@sha256:12", "ghcr.io/a/b@sha256:12"),
        ] {
            assert_eq!(canonical(given), full);
        }
    }
}
