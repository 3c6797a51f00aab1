//! Compose projects that are artifacts of a registry, as `docker compose publish` makes them.

use super::Draft;
use crate::load::Fetched;
use crate::load::remote::leads_out;
use crate::oci::credentials::Reference;
use crate::oci::{Fault, Repository};
use bytes::Bytes;
use futures::future::try_join_all;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const PROJECT: &str = "application/vnd.docker.compose.project";
const COMPOSE_FILE: &str = "application/vnd.docker.compose.file+yaml";
const ENV_FILE: &str = "application/vnd.docker.compose.envfile";

/// Most bytes that one file may have.
const FILE_LIMIT: usize = 16 << 20;

/// An image manifest (OCI image specification), the parts that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    artifact_type: String,
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Copies the artifact, unless it is there: its Compose files become the documents of one, files that they name stand
/// beside it.
pub(super) async fn fetch(reference: &str, cache: &Path, environment: &BTreeMap<String, String>) -> Fetched {
    let explained = |fault: Fault| {
        let cure = match &fault {
            Fault::NotFound => "see that name and tag are right".to_owned(),
            Fault::Denied(_) => format!("log in: `docker login {}`", Reference::parse(reference).registry()),
            Fault::Busy(_) => "try again later".to_owned(),
            Fault::Unreachable(_) => "see that the address is right and that this machine can reach it".to_owned(),
            Fault::Garbled(_) => "see that it is the address of a registry".to_owned(),
            Fault::Configuration(_) => "mend config.json in ~/.docker or DOCKER_CONFIG".to_owned(),
        };
        (format!("oci://{reference} can't be fetched: {fault}"), cure)
    };
    let parsed = Reference::parse(reference);
    let repository = Repository::open(&parsed, environment).await.map_err(explained)?;
    let (bytes, digest) = repository.manifest(parsed.version, &[MANIFEST]).await.map_err(explained)?;
    let place = cache.join(digest.trim_start_matches("sha256:"));
    let file = place.join("compose.yaml");
    if file.is_file() {
        return Ok(file);
    }
    let other = |what: &str| {
        (format!("oci://{reference} is no Compose project: {what}"), "name an artifact that was made by `docker compose publish`".to_owned())
    };
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| other(&format!("its manifest can't be read: {e}")))?;
    if manifest.artifact_type != PROJECT {
        return Err(other(if manifest.artifact_type.is_empty() { "it is an image" } else { &manifest.artifact_type }));
    }
    let contents = try_join_all(manifest.layers.iter().map(|l| repository.blob(&l.digest, FILE_LIMIT))).await.map_err(explained)?;
    let draft = Draft::new(cache, &digest[digest.len().saturating_sub(12)..])?;
    for (name, content) in files(&manifest.layers, &contents).map_err(|what| other(&what))? {
        let path = draft.0.join(&name);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, content));
        written.map_err(|e| super::unwritable(&path, &e))?;
    }
    draft.keep(&place)?;
    Ok(file)
}

/// The files of an artifact by name, `compose.yaml` among them.
fn files(layers: &[Layer], contents: &[Bytes]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut documents: Vec<&[u8]> = Vec::new();
    for (layer, content) in layers.iter().zip(contents) {
        let named = |key: &str| match layer.annotations.get(key) {
            Some(name) if !name.is_empty() && !leads_out(name) && name != "compose.yaml" => Ok(name.clone()),
            name => Err(format!("a file of it is called {name:?}")),
        };
        let extended = layer.annotations.get("com.docker.compose.extends").is_some_and(|v| v == "true");
        match layer.media_type.as_str() {
            COMPOSE_FILE if extended => _ = files.insert(named("com.docker.compose.file")?, content.to_vec()),
            COMPOSE_FILE => documents.push(content),
            ENV_FILE => _ = files.insert(named("com.docker.compose.envfile")?, content.to_vec()),
            // Of newer versions, which older ones pass over too.
            _ => {}
        }
    }
    if documents.is_empty() {
        return Err("there is no Compose file in it".to_owned());
    }
    files.insert("compose.yaml".to_owned(), documents.join(b"\n---\n".as_slice()));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(media_type: &str, annotations: &[(&str, &str)]) -> Layer {
        let annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Layer { media_type: media_type.to_owned(), digest: String::new(), annotations }
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for name in ["../x.env", "/etc/passwd", "a/../../b", "", "compose.yaml"] {
            let layers = [layer(COMPOSE_FILE, &[]), layer(ENV_FILE, &[("com.docker.compose.envfile", name)])];
            assert!(files(&layers, &[Bytes::from("services: {}"), Bytes::from("A=1")]).is_err(), "{name}");
        }
        assert!(files(&[], &[]).is_err());
    }
}
