//! Digests of images, from their registries.

use super::fault::Fault;
use crate::diag::{Diagnostic, KeyPath};
use crate::load::Loaded;
use crate::oci::credentials::Reference;
use crate::oci::{self, Repository};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};

/// Manifests of images and of lists of images for several platforms (OCI image specification, Docker's "Image Manifest
/// Version 2, Schema 2").
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// The image of each enabled service that names one, to its full name with its digest. Registries are asked at once, each
/// image once.
///
/// # Errors
/// Every image whose registry doesn't tell, at its line.
pub(super) async fn resolve(loaded: &Loaded, environment: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Fault> {
    let services = loaded.project.services.values().chain(loaded.project.disabled.values().filter(|_| loaded.uninterpolated));
    let images: BTreeSet<&str> = services.clone().map(|s| s.image.as_str()).filter(|image| !image.is_empty()).collect();
    let asked = join_all(images.into_iter().map(async |image| (image, pinned(image, environment).await))).await;
    let mut found = BTreeMap::new();
    let mut faults = Vec::new();
    for (image, answer) in asked {
        match answer {
            Ok(pinned) => _ = found.insert(image.to_owned(), pinned),
            Err(fault) => {
                let user = services.clone().find(|s| s.image == image);
                let place = user.and_then(|s| loaded.provenance.nearest(&KeyPath::of(["services", s.name.as_str(), "image"])));
                let help = match &fault {
                    oci::Fault::NotFound => "see that name and tag are right".to_owned(),
                    oci::Fault::Denied(_) => format!("log in: `docker login {}`", Reference::parse(image).registry()),
                    _ => "see that its registry can be reached".to_owned(),
                };
                faults.push(Diagnostic::error("image-digest", format!("{image:?} has no digest: {fault}")).at_opt(place).help(help));
            }
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults.into()) }
}

/// An image with the digest that its tag has now.
async fn pinned(image: &str, environment: &BTreeMap<String, String>) -> Result<String, oci::Fault> {
    let reference = Reference::parse(image);
    let name = full_name(&reference);
    if reference.version.contains(':') {
        return Ok(format!("{name}@{}", reference.version));
    }
    let (_, digest) = Repository::open(&reference, environment).await?.manifest(reference.version, &MANIFESTS).await?;
    Ok(format!("{name}:{}@{digest}", reference.version))
}

/// Registry and repository, with what goes without saying for Docker Hub.
fn full_name(reference: &Reference<'_>) -> String {
    let registry = reference.registry();
    if !matches!(registry, "docker.io" | "index.docker.io") {
        return reference.repository.to_owned();
    }
    let name = reference.repository;
    let name = ["docker.io/", "index.docker.io/"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    if name.contains('/') { format!("docker.io/{name}") } else { format!("docker.io/library/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_out() {
        for (image, name) in [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1", "docker.io/library/nginx"),
            ("me/nginx", "docker.io/me/nginx"),
            ("docker.io/nginx", "docker.io/library/nginx"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b"),
            ("quay.io/a@sha256:00", "quay.io/a"),
        ] {
            assert_eq!(full_name(&Reference::parse(image)), name);
        }
    }
}
