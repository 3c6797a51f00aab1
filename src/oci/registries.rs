//! What the user says of registries: mirrors, and which of them do without TLS. It is said in the environment, or in the
//! configuration of a Docker engine that is or was here.

use super::http::is_loopback;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// Where Docker's engine has its configuration.
const DAEMON: &str = "/etc/docker/daemon.json";

/// What is known of registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    /// Addresses of mirrors by registry, in the order in which they are asked.
    mirrors: BTreeMap<String, Vec<String>>,
    /// `host`, `host:port`, or a subnet, `10.0.0.0/8`.
    insecure: Vec<String>,
}

/// The keys of `daemon.json` that matter here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Daemon {
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
}

impl Registries {
    /// `CONSORT_REGISTRY_MIRRORS` has addresses of mirrors, between commas: `https://mirror.example` is one of Docker Hub,
    /// `ghcr.io=https://mirror.example` of another registry; without `https://` it is said for you, or `http://` for this
    /// machine. `CONSORT_INSECURE_REGISTRIES` has hosts, with their ports, or
    /// subnets. Docker's `registry-mirrors` and `insecure-registries` come after them.
    ///
    /// # Errors
    /// What can't be understood.
    pub fn of(environment: &BTreeMap<String, String>) -> Result<Self, String> {
        Self::with(environment, Path::new(DAEMON))
    }

    fn with(environment: &BTreeMap<String, String>, daemon: &Path) -> Result<Self, String> {
        let list =
            |name: &str| environment.get(name).map(String::as_str).unwrap_or_default().split([',', ' ']).map(str::trim).filter(|t| !t.is_empty());
        let mut registries = Self::default();
        for entry in list("CONSORT_REGISTRY_MIRRORS") {
            let (registry, mirror) = match entry.split_once('=') {
                Some((registry, mirror)) if !registry.contains("://") => (registry, mirror),
                _ => ("docker.io", entry),
            };
            registries.mirror(registry, mirror).map_err(|why| format!("CONSORT_REGISTRY_MIRRORS: {why}"))?;
        }
        registries.insecure.extend(list("CONSORT_INSECURE_REGISTRIES").map(str::to_owned));
        // Somebody else's file: without it, or without the right to read it, there is nothing to know.
        if let Ok(text) = std::fs::read(daemon)
            && !text.iter().all(u8::is_ascii_whitespace)
        {
            let daemon_file: Daemon = serde_json::from_slice(&text).map_err(|e| format!("{} can't be understood: {e}", daemon.display()))?;
            for mirror in &daemon_file.registry_mirrors {
                registries.mirror("docker.io", mirror).map_err(|why| format!("{}: {why}", daemon.display()))?;
            }
            registries.insecure.extend(daemon_file.insecure_registries);
        }
        Ok(registries)
    }

    fn mirror(&mut self, registry: &str, mirror: &str) -> Result<(), String> {
        let mirror = mirror.trim_end_matches('/');
        let mirror = match mirror.split_once("://") {
            Some(("https" | "http", host)) if !host.is_empty() => mirror.to_owned(),
            // A host alone: this machine is trusted without TLS.
            None if is_loopback(mirror.rsplit_once(':').map_or(mirror, |(host, _)| host)) => format!("http://{mirror}"),
            None if !mirror.is_empty() => format!("https://{mirror}"),
            _ => return Err(format!("`{mirror}` is no address of a mirror: it begins with https:// or http://")),
        };
        let mirrors = self.mirrors.entry(registry.to_owned()).or_default();
        if !mirrors.contains(&mirror) {
            mirrors.push(mirror);
        }
        Ok(())
    }

    /// Mirrors of a registry, in the order in which they are asked.
    pub fn mirrors(&self, registry: &str) -> &[String] {
        self.mirrors.get(registry).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a registry (`host` or `host:port`) may be asked without TLS.
    pub fn is_insecure(&self, registry: &str) -> bool {
        let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host).trim_matches(['[', ']']);
        self.insecure.iter().any(|entry| {
            entry == registry
                || match (entry.split_once('/'), host.parse::<IpAddr>()) {
                    (Some((net, bits)), Ok(ip)) => is_within(ip, net, bits),
                    _ => false,
                }
        })
    }
}

fn is_within(ip: IpAddr, net: &str, bits: &str) -> bool {
    let (Ok(net), Ok(bits)) = (net.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    let ((ip_bits, width), (net_bits, _)) = (number(ip), number(net));
    ip.is_ipv4() == net.is_ipv4() && bits <= width && (bits == 0 || (ip_bits ^ net_bits) >> (128 - bits) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_and_docker_are_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("daemon.json");
        std::fs::write(&file, r#"{"registry-mirrors":["https://c.example/"],"insecure-registries":["10.0.0.0/8"],"debug":true}"#).unwrap();
        let environment = BTreeMap::from([
            ("CONSORT_REGISTRY_MIRRORS".to_owned(), "https://a.example, ghcr.io=http://b.example,127.0.0.1:5000,d.example".to_owned()),
            ("CONSORT_INSECURE_REGISTRIES".to_owned(), "reg.example:5000".to_owned()),
        ]);
        let known = Registries::with(&environment, &file).unwrap();
        assert_eq!(known.mirrors("docker.io"), ["https://a.example", "http://127.0.0.1:5000", "https://d.example", "https://c.example"]);
        assert_eq!(known.mirrors("ghcr.io"), ["http://b.example"]);
        assert_eq!(known.mirrors("quay.io"), [] as [&str; 0]);
        for (registry, insecure) in
            [("reg.example:5000", true), ("reg.example", false), ("10.1.2.3:80", true), ("11.1.2.3", false), ("[fd00::1]:5000", false)]
        {
            assert_eq!(known.is_insecure(registry), insecure, "{registry}");
        }
        assert_eq!(Registries::with(&BTreeMap::new(), Path::new("/no/such/file")).unwrap(), Registries::default());
        let wrong = BTreeMap::from([("CONSORT_REGISTRY_MIRRORS".to_owned(), "ftp://mirror.example".to_owned())]);
        assert!(Registries::with(&wrong, &file).is_err());
        std::fs::write(&file, "{").unwrap();
        assert!(Registries::with(&BTreeMap::new(), &file).is_err());
    }
}
