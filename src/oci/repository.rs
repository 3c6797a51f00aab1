//! One repository of a registry: manifests and blobs (OCI distribution specification 1.1, "Pull").

use super::client_config::{AuthEntry, ClientConfig};
use super::credentials::{Reference, credentials};
use super::http::{self, is_loopback};
use super::registries::Registries;
use crate::digest::sha256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{LOCATION, WWW_AUTHENTICATE};
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

/// Most that a manifest may have, as registries have it (OCI distribution specification, "Pushing manifests").
const MANIFEST_LIMIT: usize = 4 << 20;

/// Redirections that are followed.
const REDIRECTIONS: usize = 5;

/// Why something can't be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The registry has no such name, tag or digest.
    #[error("there is no such name or tag")]
    NotFound,
    /// It wants other credentials, or any.
    #[error("access is denied{0}")]
    Denied(String),
    /// It asks to come back later.
    #[error("the registry is busy: {0}")]
    Busy(String),
    /// It isn't reached, or breaks off.
    #[error("the registry isn't reached: {0}")]
    Unreachable(String),
    /// It answers with something else.
    #[error("the registry's answer is not understood: {0}")]
    Garbled(String),
    /// The user's own configuration is at fault.
    #[error("{0}")]
    Configuration(String),
}

impl Fault {
    /// Whether it may be gone when asked again.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy(_))
    }
}

/// A repository, as one user sees it.
pub struct Repository<'e> {
    base: String,
    name: String,
    credentials: Option<AuthEntry>,
    /// What is sent along, once the registry has said that it wants something.
    authorization: Mutex<Option<String>>,
    client: http::Client<'e>,
}

/// A blob on its way.
pub struct Body<'r> {
    response: http::Response<'r>,
    /// Bytes that come although they weren't asked for.
    skip: u64,
}

impl Body<'_> {
    /// The next bytes; none at the end, which may be that of the connection: see how much has come.
    ///
    /// # Errors
    /// [`Fault::Unreachable`] when it breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let Some(mut bytes) = self.response.chunk().await.map_err(|e| Fault::Unreachable(e.to_string()))? else { return Ok(None) };
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            self.skip -= skipped as u64;
            if skipped < bytes.len() {
                return Ok(Some(bytes.split_off(skipped)));
            }
        }
    }
}

impl<'e> Repository<'e> {
    /// The repository of a reference, with the credentials of `~/.docker` or `DOCKER_CONFIG`. Registries on this machine,
    /// and those that [`Registries`] names, may do without TLS.
    ///
    /// # Errors
    /// [`Fault::Configuration`].
    pub async fn open(reference: &Reference<'_>, environment: &'e BTreeMap<String, String>) -> Result<Self, Fault> {
        let registry = reference.registry();
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let client = http::Client::new(environment);
        let mut base = format!("https://{host}");
        if is_loopback(host.split(':').next().unwrap_or_default()) || Registries::of(environment).map_err(Fault::Configuration)?.is_insecure(host) {
            // Asked first whether it speaks TLS: whoever does without says so by an answer that makes sense.
            let plain = format!("http://{host}");
            let probe = async |base: &str| {
                let uri = format!("{base}/v2/").parse().map_err(|_| Fault::Configuration(format!("{host:?} is no host")))?;
                Ok(client.get(&uri, "*/*", None, MANIFEST_LIMIT).await)
            };
            if probe(&base).await?.is_err() && probe(&plain).await?.is_ok_and(|a| matches!(a.status, StatusCode::OK | StatusCode::UNAUTHORIZED)) {
                base = plain;
            }
        }
        Self::of(reference, base, registry, client).await
    }

    /// The same repository at a mirror, with the credentials for that.
    ///
    /// # Errors
    /// [`Fault::Configuration`].
    pub async fn at_mirror(reference: &Reference<'_>, mirror: &str, environment: &'e BTreeMap<String, String>) -> Result<Self, Fault> {
        let host = mirror.split_once("://").map_or(mirror, |(_, rest)| rest).split('/').next().unwrap_or_default();
        Self::of(reference, mirror.trim_end_matches('/').to_owned(), host, http::Client::new(environment)).await
    }

    async fn of(reference: &Reference<'_>, base: String, server: &str, client: http::Client<'e>) -> Result<Self, Fault> {
        let environment = client.environment();
        let folder = environment.get("DOCKER_CONFIG").filter(|f| !f.is_empty()).map(PathBuf::from);
        let folder = folder.or_else(|| Some(PathBuf::from(environment.get("HOME")?).join(".docker")));
        let credentials = match folder {
            Some(folder) => {
                let config = ClientConfig::read(&folder).map_err(|e| Fault::Configuration(e.to_string()))?;
                credentials(&config, server, environment).await.map_err(Fault::Configuration)?
            }
            None => None,
        };
        let name = match reference.registry() {
            "docker.io" => reference.repository.trim_start_matches("docker.io/"),
            host => reference.repository.strip_prefix(host).unwrap_or(reference.repository).trim_start_matches('/'),
        };
        let name = if reference.registry() == "docker.io" && !name.contains('/') { format!("library/{name}") } else { name.to_owned() };
        Ok(Self { base, name, credentials, authorization: Mutex::new(None), client })
    }

    /// The manifest of a tag or digest, and its digest.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn manifest(&self, version: &str, media_types: &[&str]) -> Result<(Bytes, String), Fault> {
        let body = self.get(&format!("manifests/{version}"), &media_types.join(", "), MANIFEST_LIMIT).await?;
        let digest = digest(&body);
        if version.starts_with("sha256:") && version != digest {
            return Err(Fault::Garbled(format!("the content of {version} is that of {digest}")));
        }
        Ok((body, digest))
    }

    /// A blob of at most `limit` bytes, checked against its digest.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn blob(&self, wanted: &str, limit: usize) -> Result<Bytes, Fault> {
        let body = self.get(&format!("blobs/{wanted}"), "*/*", limit).await?;
        let found = digest(&body);
        if found == wanted { Ok(body) } else { Err(Fault::Garbled(format!("the content of {wanted} is that of {found}"))) }
    }

    /// A blob from one of its bytes on. Nothing is checked.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn open_blob(&self, wanted: &str, from: u64) -> Result<Body<'_>, Fault> {
        let response = self.ask(&format!("blobs/{wanted}"), "*/*", from).await?;
        let skip = if response.status == StatusCode::PARTIAL_CONTENT { 0 } else { from };
        Ok(Body { response, skip })
    }

    async fn get(&self, tail: &str, accept: &str, limit: usize) -> Result<Bytes, Fault> {
        let all = async { self.ask(tail, accept, 0).await?.all(limit).await.map(|a| a.body).map_err(|e| Fault::Unreachable(e.to_string())) };
        tokio::time::timeout(http::ANSWER_TIMEOUT, all).await.map_err(|_| Fault::Unreachable("it didn't answer in time".to_owned()))?
    }

    async fn ask(&self, tail: &str, accept: &str, from: u64) -> Result<http::Response<'_>, Fault> {
        let first: Uri = self.uri(&format!("{}/v2/{}/{tail}", self.base, self.name))?;
        let mut asked_for_token = false;
        loop {
            let authorization = self.held();
            let answer = self.follow(&first, http::Wanted { accept, authorization: authorization.as_deref(), from }).await?;
            match answer.status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(answer),
                StatusCode::NOT_FOUND => return Err(Fault::NotFound),
                StatusCode::UNAUTHORIZED if !asked_for_token => {
                    asked_for_token = true;
                    let challenge = answer.headers.get(WWW_AUTHENTICATE).and_then(|v| v.to_str().ok()).unwrap_or_default();
                    let authorization = self.authorize(challenge).await?;
                    *self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(authorization);
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err(Fault::Denied(if self.credentials.is_some() { " with the credentials that are stored" } else { "" }.to_owned()));
                }
                StatusCode::TOO_MANY_REQUESTS => return Err(Fault::Busy("too many requests for now".to_owned())),
                other if other.is_server_error() => return Err(Fault::Busy(format!("status {other}"))),
                other => return Err(Fault::Garbled(format!("status {other}"))),
            }
        }
    }

    fn held(&self) -> Option<String> {
        self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Asks, and asks elsewhere as long as the answer says so. Other hosts are told nothing of the user.
    async fn follow(&self, first: &Uri, wanted: http::Wanted<'_>) -> Result<http::Response<'_>, Fault> {
        let mut uri = first.clone();
        for _ in 0..=REDIRECTIONS {
            let own = uri.authority() == first.authority() && uri.scheme() == first.scheme();
            let wanted = http::Wanted { authorization: wanted.authorization.filter(|_| own), ..wanted };
            let answer = self
                .client
                .ask(&uri, wanted)
                .await
                .map_err(|e| Fault::Unreachable(format!("{}: {e}", uri.authority().map_or("", |a| a.as_str()))))?;
            let Some(to) = answer.headers.get(LOCATION).filter(|_| answer.status.is_redirection()) else { return Ok(answer) };
            let to = to.to_str().map_err(|e| Fault::Garbled(e.to_string()))?;
            let next = if to.starts_with('/') { format!("{}{to}", self.base) } else { to.to_owned() };
            if uri.scheme_str() == Some("https") && !next.starts_with("https://") {
                return Err(Fault::Garbled("it leads from https to http".to_owned()));
            }
            uri = self.uri(&next)?;
        }
        Err(Fault::Garbled("it leads from one place to the next".to_owned()))
    }

    fn uri(&self, text: &str) -> Result<Uri, Fault> {
        text.parse().map_err(|_| Fault::Configuration(format!("{text:?} is no address")))
    }

    /// Does what a challenge asks for (RFC 9110, section 11.6.1; "Token Authentication Specification" of the
    /// distribution project).
    async fn authorize(&self, challenge: &str) -> Result<String, Fault> {
        let Challenge { scheme, parameters } = Challenge::parse(challenge);
        let basic = self.credentials.as_ref().filter(|c| !c.username.is_empty()).map(|c| STANDARD.encode(format!("{}:{}", c.username, c.password)));
        if scheme.eq_ignore_ascii_case("basic") {
            return basic.map(|b| format!("Basic {b}")).ok_or_else(|| Fault::Denied(" without credentials".to_owned()));
        }
        if let Some(token) = self.credentials.as_ref().map(|c| &c.registrytoken).filter(|t| !t.is_empty()) {
            return Ok(format!("Bearer {token}"));
        }
        let realm = parameters.get("realm").filter(|_| scheme.eq_ignore_ascii_case("bearer"));
        let Some(realm) = realm else { return Err(Fault::Garbled(format!("it wants {challenge:?}"))) };
        let scope = parameters.get("scope").cloned().unwrap_or_else(|| format!("repository:{}:pull", self.name));
        let mut query = format!("scope={}", escaped(&scope));
        if let Some(service) = parameters.get("service") {
            query += &format!("&service={}", escaped(service));
        }
        let uri = self.uri(&format!("{realm}{}{query}", if realm.contains('?') { '&' } else { '?' }))?;
        let answer = self
            .client
            .get(&uri, "application/json", basic.map(|b| format!("Basic {b}")).as_deref(), MANIFEST_LIMIT)
            .await
            .map_err(|e| Fault::Unreachable(format!("{realm}: {e}")))?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Fault::Denied(format!(" by {realm}"))),
            StatusCode::TOO_MANY_REQUESTS => return Err(Fault::Busy(format!("{realm} gives no more tokens for now"))),
            other if other.is_server_error() => return Err(Fault::Busy(format!("{realm} answers with status {other}"))),
            other => return Err(Fault::Garbled(format!("{realm} answers with status {other}"))),
        }
        let token: Token = serde_json::from_slice(&answer.body).map_err(|e| Fault::Garbled(format!("{realm}: {e}")))?;
        let token = if token.token.is_empty() { token.access_token } else { token.token };
        if token.is_empty() { Err(Fault::Garbled(format!("{realm} gives no token"))) } else { Ok(format!("Bearer {token}")) }
    }
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// `SCHEME key="value",key=value`.
struct Challenge<'c> {
    scheme: &'c str,
    parameters: BTreeMap<String, String>,
}

impl<'c> Challenge<'c> {
    fn parse(text: &'c str) -> Self {
        let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let mut parameters = BTreeMap::new();
        while let Some((key, tail)) = rest.split_once('=') {
            let (value, after) = match tail.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => tail.split_once(',').unwrap_or((tail, "")),
            };
            parameters.insert(key.trim_matches([' ', ',']).to_ascii_lowercase(), value.to_owned());
            rest = after;
        }
        Self { scheme, parameters }
    }
}

/// `sha256:…` of some bytes.
fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// As a part of a query (RFC 3986, section 2.3).
fn escaped(text: &str) -> String {
    text.bytes().map(|b| if b.is_ascii_alphanumeric() || b"-._~".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_come_apart() {
        let challenge = Challenge::parse(r#"Bearer realm="https://a/token",service="a",scope="repository:x/y:pull,push""#);
        assert_eq!(challenge.scheme, "Bearer");
        assert_eq!(challenge.parameters["realm"], "https://a/token");
        assert_eq!(challenge.parameters["scope"], "repository:x/y:pull,push");
        assert_eq!(Challenge::parse("Basic realm=x, charset=y").parameters["charset"], "y");
        assert_eq!(Challenge::parse("").scheme, "");
        assert_eq!(escaped("repository:x/y:pull"), "repository%3Ax%2Fy%3Apull");
    }
}
