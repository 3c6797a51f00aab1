//! The project: everything that a set of Compose files says.

use super::{Config, Extensions, Model, Network, Secret, Service, Volume, is_default};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A loaded project. Serialized, it is what `config` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Project {
    /// Normalised project name.
    pub name: String,
    /// Enabled services by name.
    pub services: BTreeMap<String, Service>,
    /// Networks by key.
    #[serde(skip_serializing_if = "is_default")]
    pub networks: BTreeMap<String, Network>,
    /// Volumes by key.
    #[serde(skip_serializing_if = "is_default")]
    pub volumes: BTreeMap<String, Volume>,
    /// Secrets by key.
    #[serde(skip_serializing_if = "is_default")]
    pub secrets: BTreeMap<String, Secret>,
    /// Configs by key.
    #[serde(skip_serializing_if = "is_default")]
    pub configs: BTreeMap<String, Config>,
    /// Models by key.
    #[serde(skip_serializing_if = "is_default")]
    pub models: BTreeMap<String, Model>,
    /// `x-…` keys of the top level that mean something to Consort (`x-sim`). The others, where files keep their anchors and
    /// which can be long, are in `load::Provenance` alone.
    #[serde(skip)]
    pub extensions: Extensions,
    /// Services that no active profile enables, by name.
    #[serde(skip)]
    pub disabled: BTreeMap<String, Service>,
    /// Absolute path of the project directory.
    #[serde(skip)]
    pub working_dir: PathBuf,
    /// Absolute paths of the Compose files, in the order given; `-` stands for standard input.
    #[serde(skip)]
    pub files: Vec<PathBuf>,
    /// Absolute paths of files given by `--env-file`; empty when the default `.env` was used.
    #[serde(skip)]
    pub env_files: Vec<PathBuf>,
    /// The environment for interpolation: process environment over env files.
    #[serde(skip)]
    pub environment: BTreeMap<String, String>,
    /// Seccomp profiles that `security_opt` names, as compact JSON, by the path as written.
    #[serde(skip)]
    pub seccomp: BTreeMap<String, String>,
    /// Active profiles.
    #[serde(skip)]
    pub profiles: Vec<String>,
    /// `_` instead of `-` in names of containers and built images.
    #[serde(skip)]
    pub compatibility: bool,
}

/// Which services a command is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Named on the command line; empty means every enabled service.
    pub services: Vec<String>,
    /// Leave the dependencies of the named services alone.
    pub no_deps: bool,
}

impl Project {
    /// What stands between the parts of a name: `-`, or `_` with `--compatibility`.
    pub fn separator(&self) -> char {
        if self.compatibility { '_' } else { '-' }
    }

    /// The service called `name`, enabled or not.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name).or_else(|| self.disabled.get(name))
    }

    /// The image that containers of `service` are created from: `image:`, or the name that its build gets.
    pub fn image_of(&self, service: &Service) -> String {
        if service.image.is_empty() { format!("{}{}{}", self.name, self.separator(), service.name) } else { service.image.clone() }
    }

    /// The name of replica `number` of `service`.
    pub fn container_name(&self, service: &Service, number: u32) -> String {
        if service.container_name.is_empty() {
            format!("{}{sep}{}{sep}{number}", self.name, service.name, sep = self.separator())
        } else {
            service.container_name.clone()
        }
    }
}
