//! The configuration of an image (OCI image specification, "Image Configuration"; the health check is Docker's).

use super::name::Platform;
use super::store::ImageRecord;
use super::{ImageConfig, broken};
use crate::units::{Duration, Timestamp};
use crate::world::{EngineError, HealthcheckSpec};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Configuration {
    #[serde(flatten)]
    platform: Platform,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    config: Option<Container>,
    #[serde(default)]
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Container {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
    healthcheck: Option<Healthcheck>,
}

/// Times in nanoseconds; 0 is not given.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Healthcheck {
    test: Option<Vec<String>>,
    interval: i64,
    timeout: i64,
    start_period: i64,
    start_interval: i64,
    retries: u64,
}

/// Reads JSON of an image.
pub fn json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(bytes).map_err(|e| broken(format!("{what} can't be understood")).because(e.to_string()))
}

/// What a configuration says, and the diff ids of the layers, `sha256:…`.
///
/// # Errors
/// It can't be understood.
pub fn read(bytes: &[u8]) -> Result<(ImageRecord, Vec<String>), EngineError> {
    let read: Configuration = json("the configuration of the image", bytes)?;
    let c = read.config.unwrap_or_default();
    let given = |ns: i64| (ns != 0).then_some(Duration(ns));
    let config = ImageConfig {
        env: c.env.unwrap_or_default(),
        entrypoint: c.entrypoint.unwrap_or_default(),
        cmd: c.cmd.unwrap_or_default(),
        user: c.user.unwrap_or_default(),
        working_dir: c.working_dir.unwrap_or_default(),
        exposed: c.exposed_ports.unwrap_or_default().into_keys().collect(),
        volumes: c.volumes.unwrap_or_default().into_keys().collect(),
        labels: c.labels.unwrap_or_default(),
        stop_signal: c.stop_signal.unwrap_or_default(),
        healthcheck: c.healthcheck.map(|h| HealthcheckSpec {
            test: h.test.unwrap_or_default(),
            interval: given(h.interval),
            timeout: given(h.timeout),
            start_period: given(h.start_period),
            start_interval: given(h.start_interval),
            retries: (h.retries > 0).then_some(h.retries),
        }),
    };
    let layers = read.rootfs.diff_ids.unwrap_or_default();
    if let Some(bad) = layers.iter().find(|l| !l.strip_prefix("sha256:").is_some_and(super::name::is_hex)) {
        return Err(broken(format!("`{bad}` is no diff id")));
    }
    // What says nothing of a machine was made on one like this (`docker import` of old).
    let platform = if read.platform.architecture.is_empty() { Platform::host() } else { read.platform.normal() };
    let created = read.created.as_deref().and_then(Timestamp::parse_rfc3339);
    Ok((ImageRecord { config, platform, created, ..ImageRecord::default() }, layers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read_and_null_is_nothing() {
        let layer = format!("sha256:{}", "0".repeat(64));
        let text = format!(
            r#"{{"architecture":"arm64","variant":"v8","os":"linux","created":"2026-11-22T04:05:56Z","config":{{"Env":["A=b"],"Entrypoint":null,
            "Cmd":["sh"],"User":"1:2","WorkingDir":"/w","ExposedPorts":{{"80/tcp":{{}}}},"Volumes":{{"/data":{{}}}},"Labels":null,"StopSignal":"SIGINT",
            "Healthcheck":{{"Test":["CMD","true"],"Interval":1000000000,"Retries":2}},"OnBuild":null}},"rootfs":{{"type":"layers","diff_ids":["{layer}"]}},
            "history":[]}}"#
        );
        let (image, layers) = read(text.as_bytes()).unwrap();
        assert_eq!((image.platform.to_string().as_str(), layers.as_slice()), ("linux/arm64", [layer].as_slice()));
        let config = image.config;
        assert_eq!((config.env, config.entrypoint, config.cmd), (vec!["A=b".to_owned()], vec![], vec!["sh".to_owned()]));
        assert_eq!((config.user.as_str(), config.working_dir.as_str(), config.stop_signal.as_str()), ("1:2", "/w", "SIGINT"));
        assert_eq!((config.exposed, config.volumes), (vec!["80/tcp".to_owned()], vec!["/data".to_owned()]));
        let health = config.healthcheck.unwrap();
        assert_eq!((health.interval, health.timeout, health.retries), (Some(Duration::from_secs(1)), None, Some(2)));
        assert_eq!(read(b"{}").unwrap().0.platform, Platform::host());
        assert!(read(b"[]").is_err() && read(br#"{"rootfs":{"diff_ids":["../../x"]}}"#).is_err());
    }
}
