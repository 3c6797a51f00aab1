//! Manifests and indexes (OCI image specification, "Image Manifest" and "Image Index"; Docker's "Image Manifest V 2,
//! Schema 2" has the same keys).

use super::config::json;
use super::name::Platform;
use super::{broken, unusable};
use crate::world::{EngineError, ErrorKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Media types of what can be read.
pub const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Points to a blob.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its type.
    #[serde(default)]
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    /// For which machines it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Where else it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
}

impl Descriptor {
    /// Whether it is an index.
    pub fn is_index(&self) -> bool {
        self.media_type.contains("image.index") || self.media_type.contains("manifest.list")
    }

    /// Whether it tells of another image, and is none.
    pub fn is_attestation(&self) -> bool {
        self.annotations.as_ref().is_some_and(|a| a.contains_key("vnd.docker.reference.type"))
            || self.platform.as_ref().is_some_and(|p| p.os == "unknown")
    }

    /// Its names in an image layout.
    pub fn names(&self) -> Vec<String> {
        let annotation = |key: &str| self.annotations.as_ref().and_then(|a| a.get(key)).cloned();
        annotation("io.containerd.image.name").or_else(|| annotation("org.opencontainers.image.ref.name")).into_iter().collect()
    }
}

/// An index.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    #[serde(default)]
    pub schema_version: u32,
    /// Its type.
    #[serde(default)]
    pub media_type: String,
    /// What is in it.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// What fits a platform best.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], with the platforms that there are.
    pub fn choose(&self, platform: &Platform) -> Result<&Descriptor, EngineError> {
        let images = || self.manifests.iter().filter(|d| !d.is_attestation());
        // One that says nothing is for everybody, and for nobody in particular.
        let rank = |d: &&Descriptor| d.platform.as_ref().map_or(Some(usize::MAX), |p| platform.runs(p));
        images().filter(|d| rank(d).is_some()).min_by_key(|d| rank(d)).ok_or_else(|| {
            let there: Vec<String> = images().filter_map(|d| d.platform.as_ref()).map(ToString::to_string).collect();
            EngineError::new(ErrorKind::NotFound, format!("there is no image for {platform}")).because(if there.is_empty() {
                "its index is empty".to_owned()
            } else {
                format!("there are images for {}", there.join(", "))
            })
        })
    }
}

/// A manifest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    #[serde(default)]
    pub schema_version: u32,
    /// Its type.
    #[serde(default)]
    pub media_type: String,
    /// The configuration.
    #[serde(default)]
    pub config: Descriptor,
    /// Layers, the lowest first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

/// Whether these bytes are an index.
pub fn is_index(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Probe {
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Probe>(bytes).is_ok_and(|p| p.manifests.is_some())
}

/// Reads a manifest.
///
/// # Errors
/// It can't be understood; it is none of an image.
pub fn read(bytes: &[u8]) -> Result<Manifest, EngineError> {
    let manifest: Manifest = json("the manifest of the image", bytes)?;
    if manifest.schema_version == 1 {
        return Err(EngineError::new(ErrorKind::Unsupported, "its manifest is of schema 1, given up in 2017")
            .because("push the image again with a program that is not older than that"));
    }
    if manifest.config.digest.is_empty() {
        return Err(broken("its manifest names no configuration".to_owned()));
    }
    let kind = &manifest.config.media_type;
    if !kind.is_empty() && !kind.contains("image") {
        return Err(unusable(format!("it is no image but {kind}")));
    }
    if let Some(other) = manifest.layers.iter().find(|l| l.media_type.contains("encrypted")) {
        return Err(EngineError::new(ErrorKind::Unsupported, format!("layer {} is encrypted", other.digest)));
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Index {
        let manifest = |(i, p): (usize, &&str)| Descriptor {
            digest: i.to_string(),
            platform: match *p {
                "unknown/unknown" => Some(Platform { os: "unknown".to_owned(), architecture: "unknown".to_owned(), variant: String::new() }),
                p => Some(Platform::parse(p).unwrap()),
            },
            ..Descriptor::default()
        };
        Index { manifests: platforms.iter().enumerate().map(manifest).collect(), ..Index::default() }
    }

    #[test]
    fn the_best_image_for_a_machine_is_chosen() {
        let all = index(&["unknown/unknown", "linux/arm/v5", "linux/arm/v6", "linux/amd64", "linux/arm64/v8", "windows/amd64"]);
        let chosen = |p: &str| all.choose(&Platform::parse(p).unwrap()).map(|d| d.digest.clone());
        assert_eq!(chosen("linux/arm/v7").unwrap(), "2");
        assert_eq!(chosen("linux/arm/v5").unwrap(), "1");
        assert_eq!(chosen("linux/amd64").unwrap(), "3");
        assert_eq!(chosen("arm64").unwrap(), "4");
        let error = chosen("linux/riscv64").unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.to_string().contains("linux/arm/v5, linux/arm/v6, linux/amd64"), "{error}");
    }

    #[test]
    fn what_is_no_image_is_refused_in_words() {
        let error = read(br#"{"schemaVersion":1,"fsLayers":[]}"#).unwrap_err();
        assert!(error.to_string().contains("schema 1"), "{error}");
        assert!(read(br#"{"schemaVersion":2}"#).is_err());
        let chart = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"x"}}"#;
        assert!(read(chart.as_bytes()).unwrap_err().to_string().contains("helm"));
        assert!(is_index(br#"{"manifests":[]}"#) && !is_index(br#"{"layers":[]}"#) && !is_index(b"x"));
    }
}
