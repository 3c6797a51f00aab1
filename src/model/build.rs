//! `build:` of a service.

use super::{Extensions, FileReference, OptionMap, StringMap, Ulimit, is_default};
use crate::units::Bytes;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A secret of a build: the same reference as a service's.
pub type BuildSecret = FileReference;

/// How the image of a service is built.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Build {
    /// Absolute path, or a URL.
    #[serde(skip_serializing_if = "is_default")]
    pub context: String,
    /// Path of the Dockerfile, relative to the context.
    #[serde(skip_serializing_if = "is_default")]
    pub dockerfile: String,
    /// The Dockerfile itself.
    #[serde(skip_serializing_if = "is_default")]
    pub dockerfile_inline: String,
    /// Extra privileges of the build.
    #[serde(skip_serializing_if = "is_default")]
    pub entitlements: Vec<String>,
    /// Build arguments.
    #[serde(skip_serializing_if = "is_default")]
    pub args: OptionMap,
    /// Provenance attestation, as written.
    #[serde(skip_serializing_if = "is_default")]
    pub provenance: String,
    /// SBOM attestation, as written.
    #[serde(skip_serializing_if = "is_default")]
    pub sbom: String,
    /// SSH agents and keys, id to path (empty: the agent).
    #[serde(skip_serializing_if = "is_default", serialize_with = "keys_as_list")]
    pub ssh: StringMap,
    /// Labels of the image.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: StringMap,
    /// Where cached layers come from.
    #[serde(skip_serializing_if = "is_default")]
    pub cache_from: Vec<String>,
    /// Where layers are cached to.
    #[serde(skip_serializing_if = "is_default")]
    pub cache_to: Vec<String>,
    /// Build without the cache.
    #[serde(skip_serializing_if = "is_default")]
    pub no_cache: bool,
    /// Stages to build without the cache.
    #[serde(skip_serializing_if = "is_default")]
    pub no_cache_filter: Vec<String>,
    /// Named contexts.
    #[serde(skip_serializing_if = "is_default")]
    pub additional_contexts: StringMap,
    /// Always pull the base images.
    #[serde(skip_serializing_if = "is_default")]
    pub pull: bool,
    /// Extra hosts, name to addresses.
    #[serde(skip_serializing_if = "is_default", serialize_with = "super::service::hosts_as_list")]
    pub extra_hosts: BTreeMap<String, Vec<String>>,
    /// Isolation technology.
    #[serde(skip_serializing_if = "is_default")]
    pub isolation: String,
    /// Network of `RUN`.
    #[serde(skip_serializing_if = "is_default")]
    pub network: String,
    /// Stage to build.
    #[serde(skip_serializing_if = "is_default")]
    pub target: String,
    /// Secrets of the build.
    #[serde(skip_serializing_if = "is_default")]
    pub secrets: Vec<BuildSecret>,
    /// Size of /dev/shm.
    #[serde(skip_serializing_if = "is_default")]
    pub shm_size: Bytes,
    /// More names for the image.
    #[serde(skip_serializing_if = "is_default")]
    pub tags: Vec<String>,
    /// Limits of processes.
    #[serde(skip_serializing_if = "is_default")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Platforms to build for.
    #[serde(skip_serializing_if = "is_default")]
    pub platforms: Vec<String>,
    /// With all privileges.
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Writes SSH keys in the short form that can be read back: `id=path`, or `id` for the agent.
fn keys_as_list<S: Serializer>(keys: &StringMap, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(|(id, path)| if path.is_empty() { id.clone() } else { format!("{id}={path}") }))
}
