//! Credentials for registries: `auths` of the client's configuration, and the helpers that it names.

use super::client_config::{AuthEntry, ClientConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The name under which credentials for Docker Hub are kept.
const HUB: &str = "https://index.docker.io/v1/";

/// An image reference, in parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Everything before tag and digest, as given.
    pub repository: &'a str,
    /// Tag or digest (`sha256:…`); `latest` when neither was given.
    pub version: &'a str,
}

impl<'a> Reference<'a> {
    /// Takes a reference apart.
    pub fn parse(reference: &'a str) -> Self {
        if let Some((name, digest)) = reference.split_once('@') {
            let repository = Self::parse(name).repository;
            return Self { repository, version: digest };
        }
        // A colon before a slash belongs to the registry's port.
        match reference.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => Self { repository, version: tag },
            _ => Self { repository: reference, version: "latest" },
        }
    }

    /// Host and port of its registry; `docker.io` unless it says otherwise.
    pub fn registry(&self) -> &'a str {
        match self.repository.split_once('/') {
            Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
            _ => "docker.io",
        }
    }
}

/// The name under which credentials for a registry are kept.
pub fn server(registry: &str) -> &str {
    if matches!(registry, "docker.io" | "index.docker.io" | "registry-1.docker.io") { HUB } else { registry }
}

/// The user's credentials for a registry, if there are any.
///
/// # Errors
/// What is wrong with them: text that is no base64, a helper that can't be run or doesn't keep to its protocol.
pub async fn credentials(config: &ClientConfig, registry: &str, environment: &BTreeMap<String, String>) -> Result<Option<AuthEntry>, String> {
    let server = server(registry);
    let file = config.file();
    let helper = file.cred_helpers.get(server).or_else(|| file.cred_helpers.get(registry)).unwrap_or(&file.creds_store);
    if !helper.is_empty()
        && let Some(entry) = ask(helper, server, environment).await?
    {
        return Ok(Some(entry));
    }
    stored(&file.auths, server)
}

/// The host in a key of `auths`: `https://index.docker.io/v1/`, `registry:5000`.
fn host(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Credentials out of `auths`.
fn stored(auths: &BTreeMap<String, AuthEntry>, server: &str) -> Result<Option<AuthEntry>, String> {
    let found = auths.get_key_value(server).or_else(|| auths.iter().find(|(key, _)| host(key) == host(server)));
    let Some((key, entry)) = found else { return Ok(None) };
    let mut entry = entry.clone();
    if !entry.auth.is_empty() {
        let bad = || format!("the credentials for `{key}` in config.json can't be read");
        let decoded = STANDARD.decode(entry.auth.trim()).map_err(|_| bad())?;
        let text = String::from_utf8(decoded).map_err(|_| bad())?;
        let (user, password) = text.split_once(':').ok_or_else(bad)?;
        entry.username = user.to_owned();
        entry.password = password.trim_end_matches('\0').to_owned();
    }
    let empty = entry.username.is_empty() && entry.identitytoken.is_empty() && entry.registrytoken.is_empty();
    Ok((!empty).then_some(entry))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks a helper (docker-credential-helpers, "Development"): the server on its standard input, JSON on its output.
async fn ask(helper: &str, server: &str, environment: &BTreeMap<String, String>) -> Result<Option<AuthEntry>, String> {
    let program = format!("docker-credential-{helper}");
    let fail = |why: String| format!("the credential helper `{program}` {why}");
    if helper.contains('/') {
        return Err(fail("is no name of a program".to_owned()));
    }
    let mut command = Command::new(&program);
    command.arg("get").env_clear().envs(environment).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| fail(format!("can't be run: {e}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why in its output.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(|e| fail(format!("can't be read: {e}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(if output.stdout.is_empty() { &output.stderr } else { &output.stdout }).trim().to_owned();
        return if said.contains("credentials not found") { Ok(None) } else { Err(fail(format!("failed: {said}"))) };
    }
    let helped: Helped = serde_json::from_slice(&output.stdout).map_err(|e| fail(format!("gives what is no credentials: {e}")))?;
    Ok(Some(if helped.username == "<token>" {
        AuthEntry { identitytoken: helped.secret, ..AuthEntry::default() }
    } else {
        AuthEntry { username: helped.username, password: helped.secret, ..AuthEntry::default() }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn references_come_apart() {
        for (reference, repository, version, registry) in [
            ("nginx", "nginx", "latest", "docker.io"),
            ("nginx:alpine", "nginx", "alpine", "docker.io"),
            ("library/nginx", "library/nginx", "latest", "docker.io"),
            ("localhost/x:1", "localhost/x", "1", "localhost"),
            ("reg:5000/a/b", "reg:5000/a/b", "latest", "reg:5000"),
            ("reg:5000/a/b:t", "reg:5000/a/b", "t", "reg:5000"),
            ("ghcr.io/a/b:t@sha256:cafe", "ghcr.io/a/b", "sha256:cafe", "ghcr.io"),
        ] {
            let parsed = Reference::parse(reference);
            assert_eq!((parsed.repository, parsed.version, parsed.registry()), (repository, version, registry), "{reference}");
        }
    }

    fn config(folder: &std::path::Path, json: &str) -> ClientConfig {
        std::fs::write(folder.join("config.json"), json).unwrap();
        ClientConfig::read(folder).unwrap()
    }

    async fn told(config: &ClientConfig, registry: &str, path: &str) -> Option<AuthEntry> {
        let environment = BTreeMap::from([("PATH".to_owned(), path.to_owned())]);
        credentials(config, registry, &environment).await.unwrap()
    }

    #[tokio::test]
    async fn stored_credentials_are_found_by_host() {
        let home = tempfile::tempdir().unwrap();
        // "user:p>?~" holds what the two alphabets of base64 write differently.
        let auth = STANDARD.encode("user:p>?~~>>??");
        let config = config(
            home.path(),
            &format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{auth}"}},"http://reg:5000/v2/":{{"auth":"{auth}"}},"empty":{{}}}}}}"#),
        );
        for registry in ["docker.io", "reg:5000"] {
            let told = told(&config, registry, "").await.unwrap();
            assert_eq!((told.username.as_str(), told.password.as_str()), ("user", "p>?~~>>??"), "{registry}");
        }
        assert!(told(&config, "reg:5001", "").await.is_none());
        assert!(told(&config, "empty", "").await.is_none());
    }

    #[tokio::test]
    async fn helpers_are_asked() {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("docker-credential-probe");
        let script = "#!/bin/sh\nread -r server\ncase $server in\nreg) echo '{\"ServerURL\":\"reg\",\"Username\":\"u\",\"Secret\":\"s\"}';;\ntok) echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}';;\n*) echo credentials not found in native keychain; exit 1;;\nesac\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = config(home.path(), r#"{"credsStore":"probe","credHelpers":{"other":"nowhere"}}"#);
        let path = format!("{}:/usr/bin:/bin", home.path().display());
        assert_eq!(told(&config, "reg", &path).await.unwrap().password, "s");
        assert_eq!(told(&config, "tok", &path).await.unwrap().identitytoken, "t");
        assert!(told(&config, "unknown", &path).await.is_none());
        let environment = BTreeMap::from([("PATH".to_owned(), path)]);
        let missing = credentials(&config, "other", &environment).await.unwrap_err();
        assert!(missing.contains("docker-credential-nowhere"), "{missing}");
    }
}
