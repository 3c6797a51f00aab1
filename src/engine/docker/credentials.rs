//! What the engine is told about the user when it pulls.

use super::error::Failure;
use crate::oci::client_config::ClientConfig;
use crate::oci::credentials::{credentials, server};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde::Serialize;
use std::collections::BTreeMap;

/// Never printed.
#[derive(Serialize)]
struct AuthHeader<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    password: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    identitytoken: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    registrytoken: &'a str,
    serveraddress: &'a str,
}

/// The value of `X-Registry-Auth` for a registry, in the alphabet that engines read (RFC 4648, section 5); `None`
/// without credentials.
///
/// # Errors
/// Credentials that can't be had.
pub async fn header(config: &ClientConfig, registry: &str, environment: &BTreeMap<String, String>) -> Result<Option<String>, Failure> {
    let found = credentials(config, registry, environment).await.map_err(|message| Failure::Refused { status: 400, message })?;
    let Some(entry) = found else { return Ok(None) };
    let header = AuthHeader {
        username: &entry.username,
        password: &entry.password,
        identitytoken: &entry.identitytoken,
        registrytoken: &entry.registrytoken,
        serveraddress: server(registry),
    };
    let json = serde_json::to_vec(&header).map_err(|e| Failure::garbled("credentials", &e))?;
    Ok(Some(URL_SAFE.encode(json)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    #[tokio::test]
    async fn the_header_has_the_alphabet_of_urls() {
        let home = tempfile::tempdir().unwrap();
        // What the two alphabets of base64 write differently.
        let auth = STANDARD.encode("user:p>?~~>>??");
        std::fs::write(home.path().join("config.json"), format!(r#"{{"auths":{{"reg:5000":{{"auth":"{auth}"}}}}}}"#)).unwrap();
        let config = ClientConfig::read(home.path()).unwrap();
        let header = header(&config, "reg:5000", &BTreeMap::new()).await.unwrap().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&URL_SAFE.decode(&header).unwrap()).unwrap();
        assert_eq!((told["password"].as_str(), told["serveraddress"].as_str()), (Some("p>?~~>>??"), Some("reg:5000")));
        assert!(!header.contains(['+', '/']));
    }
}
