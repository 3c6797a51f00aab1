//! The Docker client's own files: `config.json` and the contexts beside it.

use crate::digest::sha256;
use crate::world::{EngineError, ErrorKind};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `config.json`, the keys that matter to us. Unknown keys are other tools'.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConfigFile {
    /// Context in use.
    #[serde(rename = "currentContext")]
    pub current_context: String,
    /// Credentials by registry.
    pub auths: BTreeMap<String, AuthEntry>,
    /// Helper that stores credentials of all registries.
    #[serde(rename = "credsStore")]
    pub creds_store: String,
    /// Helpers by registry.
    #[serde(rename = "credHelpers")]
    pub cred_helpers: BTreeMap<String, String>,
    /// Headers for every request to the engine.
    #[serde(rename = "HttpHeaders")]
    pub http_headers: BTreeMap<String, String>,
}

/// Credentials in `config.json`. Never printed.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct AuthEntry {
    /// `user:password` in base64.
    pub auth: String,
    /// User.
    pub username: String,
    /// Password.
    pub password: String,
    /// Token that stands for both.
    pub identitytoken: String,
    /// Token for the registry itself.
    pub registrytoken: String,
}

impl std::fmt::Debug for AuthEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthEntry")
    }
}

/// The client's configuration: a folder, `~/.docker` by default, and what was read from it.
#[derive(Clone, Debug, Default)]
pub struct ClientConfig {
    folder: PathBuf,
    file: ConfigFile,
}

/// A context as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredContext {
    /// Address, as in `DOCKER_HOST`.
    pub host: String,
    /// Take any certificate.
    pub skip_verify: bool,
    /// Folder of its certificates; may be absent.
    pub tls_folder: PathBuf,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Endpoints", default)]
    endpoints: BTreeMap<String, MetaEndpoint>,
}

#[derive(Deserialize)]
struct MetaEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_verify: bool,
}

impl ClientConfig {
    /// Reads `config.json` of a folder. An absent file is an empty one.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for a file that can't be read: silently going on without its context or credentials
    /// would talk to the wrong engine.
    pub fn read(folder: &Path) -> Result<Self, EngineError> {
        let path = folder.join("config.json");
        let file = match std::fs::read(&path) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => ConfigFile::default(),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| unreadable(&path, &e))?,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => ConfigFile::default(),
            Err(e) => return Err(unreadable(&path, &e)),
        };
        Ok(Self { folder: folder.to_owned(), file })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What `config.json` says.
    pub fn file(&self) -> &ConfigFile {
        &self.file
    }

    /// Context in use, if one was chosen.
    pub fn current_context(&self) -> Option<&str> {
        Some(self.file.current_context.as_str()).filter(|c| !c.is_empty())
    }

    /// Names of all contexts that are stored, sorted. What can't be read is left out: nobody asked for it.
    pub fn contexts(&self) -> Vec<String> {
        let folders = std::fs::read_dir(self.folder.join("contexts/meta")).into_iter().flatten().flatten();
        let meta = folders.filter_map(|f| serde_json::from_slice::<Meta>(&std::fs::read(f.path().join("meta.json")).ok()?).ok());
        let mut names: Vec<String> = meta.filter(|m| m.endpoints.contains_key("docker")).map(|m| m.name).filter(|n| !n.is_empty()).collect();
        names.sort();
        names
    }

    /// Looks up a context; `origin` says who asked for it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of this name, [`ErrorKind::Refused`] when its file can't be read or
    /// has no engine in it.
    pub fn context(&self, name: &str, origin: &str) -> Result<StoredContext, EngineError> {
        let contexts = self.folder.join("contexts");
        let id = sha256(name);
        let path = contexts.join("meta").join(&id).join("meta.json");
        let bytes = std::fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => EngineError::new(ErrorKind::NotFound, format!("there is no context `{name}`, said by {origin}"))
                .because(format!("`{}` doesn't exist; `docker context ls` shows those that do", path.display())),
            _ => unreadable(&path, &e),
        })?;
        let meta: Meta = serde_json::from_slice(&bytes).map_err(|e| unreadable(&path, &e))?;
        match meta.endpoints.get("docker") {
            Some(docker) if !docker.host.is_empty() => Ok(StoredContext {
                host: docker.host.clone(),
                skip_verify: docker.skip_verify,
                tls_folder: contexts.join("tls").join(&id).join("docker"),
            }),
            _ => {
                Err(EngineError::new(ErrorKind::Refused, format!("context `{name}` has no Docker engine in it")).because(path.display().to_string()))
            }
        }
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> EngineError {
    EngineError::new(ErrorKind::Refused, format!("can't read `{}`", path.display())).because(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_found_by_the_digest_of_their_name() {
        let home = tempfile::tempdir().unwrap();
        let id = "6754af9632a2745e85c293e5aac0863370d9bd3330b9938c00cadfd215227d77";
        let meta = home.path().join("contexts/meta").join(id);
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(home.path().join("config.json"), br#"{"currentContext":"prod","other":{"x":1}}"#).unwrap();
        std::fs::write(
            meta.join("meta.json"),
            br#"{"Name":"prod","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://h:2376","SkipTLSVerify":true}}}"#,
        )
        .unwrap();
        let config = ClientConfig::read(home.path()).unwrap();
        let name = config.current_context().unwrap();
        let stored = config.context(name, "test").unwrap();
        assert_eq!((stored.host.as_str(), stored.skip_verify), ("tcp://h:2376", true));
        std::fs::create_dir_all(home.path().join("contexts/meta/broken")).unwrap();
        assert_eq!(config.contexts(), ["prod"]);
        let missing = config.context("nope", "DOCKER_CONTEXT").unwrap_err();
        assert_eq!(missing.kind, ErrorKind::NotFound);
        assert!(missing.what.contains("`nope`") && missing.what.contains("DOCKER_CONTEXT"), "{missing}");
    }

    #[test]
    fn an_absent_file_is_empty_and_a_broken_one_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(ClientConfig::read(home.path()).unwrap().current_context(), None);
        std::fs::write(home.path().join("config.json"), b"{").unwrap();
        assert_eq!(ClientConfig::read(home.path()).unwrap_err().kind, ErrorKind::Refused);
    }
}
