//! Containers as an engine has to be asked for them, so that it makes what Docker makes.

use super::DockerEngine;
use super::client::{escape, query};
use super::error::Failure;
use super::json::nullable;
use crate::world::{ContainerSpec, EngineError, ErrorKind, MountKind, NetworkMode, PortSpec};
use hyper::Method;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::PoisonError;

/// Seconds between the stop signal and the end by force, where nobody says: Docker's.
const STOP_TIMEOUT: i64 = 10;

impl DockerEngine {
    /// A container as this engine needs to hear of it. `doing` completes "can't …".
    ///
    /// # Errors
    /// What Docker refuses and this engine would get wrong; no free port in a range.
    pub(super) async fn mended<'s>(&self, spec: &'s ContainerSpec, doing: &str) -> Result<Cow<'s, ContainerSpec>, EngineError> {
        let mut spec = Cow::Borrowed(spec);
        if self.quirks.makes_missing_binds && self.client.is_local() {
            missing_bind(&spec).map_or(Ok(()), |source| {
                let error = EngineError::new(ErrorKind::Refused, format!("can't {doing}"));
                Err(error.because(format!("bind source path does not exist: {source}")))
            })?;
        }
        if self.quirks.stops_at_once && spec.stop_timeout.is_none() {
            spec.to_mut().stop_timeout = Some(STOP_TIMEOUT);
        }
        if self.quirks.splits_probes
            && let Some(check) = &spec.healthcheck
            && let Some(test) = kept_together(&check.test)
            && let Some(check) = &mut spec.to_mut().healthcheck
        {
            check.test = vec![test];
        }
        if self.quirks.dns_hides_names && !spec.dns.is_empty() && spec.network_mode == NetworkMode::Networks {
            let server = self.name_server(&spec).await.map_err(|f| f.explain(doing))?;
            let dns = &mut spec.to_mut().dns;
            dns.splice(0..0, server);
        }
        if self.quirks.no_port_ranges && spec.ports.iter().any(|p| p.published.contains('-')) {
            let used = self.used_ports().await.map_err(|f| f.explain(doing))?;
            for port in spec.to_mut().ports.iter_mut().filter(|p| p.published.contains('-')) {
                let Some(free) = self.take_port(port, &used) else {
                    let error = EngineError::new(ErrorKind::PortTaken, format!("can't {doing}"));
                    return Err(error.because(format!("every host port of {} for port {} is already taken", port.published, port.target)));
                };
                port.published = free.to_string();
            }
        }
        Ok(spec)
    }

    /// The name server of a container's first network, which knows the names of all its networks: it listens at the
    /// gateway.
    async fn name_server(&self, spec: &ContainerSpec) -> Result<Option<String>, Failure> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Pool {
            #[serde(default)]
            gateway: String,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Ipam {
            #[serde(default, deserialize_with = "nullable")]
            config: Vec<Pool>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Found {
            #[serde(default)]
            driver: String,
            #[serde(default, rename = "IPAM", deserialize_with = "nullable")]
            ipam: Ipam,
        }
        for endpoint in &spec.networks {
            let found: Found = self.client.json(Method::GET, &format!("/networks/{}", escape(&endpoint.network)), None).await?;
            let gateway = found.ipam.config.into_iter().map(|p| p.gateway).find(|g| g.parse::<IpAddr>().is_ok());
            if found.driver == "bridge" && gateway.is_some() {
                return Ok(gateway);
            }
        }
        Ok(None)
    }

    /// Host ports that containers have, running or not.
    async fn used_ports(&self) -> Result<BTreeSet<u16>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Port {
            #[serde(default)]
            public_port: u16,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            #[serde(default, deserialize_with = "nullable")]
            ports: Vec<Port>,
        }
        let listed: Vec<Listed> = self.client.json(Method::GET, &query("/containers/json", &[("all", "1")]), None).await?;
        Ok(listed.iter().flat_map(|c| &c.ports).map(|p| p.public_port).collect())
    }

    /// A port out of a range that nobody has, and nobody else gets from us.
    fn take_port(&self, port: &PortSpec, used: &BTreeSet<u16>) -> Option<u16> {
        let (first, last) = port.published.split_once('-')?;
        let range = first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?;
        let ip = port.host_ip.parse::<IpAddr>().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let free = |p: u16| match port.protocol.as_str() {
            _ if !self.client.is_local() => true,
            "udp" => UdpSocket::bind((ip, p)).is_ok(),
            _ => TcpListener::bind((ip, p)).is_ok(),
        };
        let mut taken = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let found = range.into_iter().find(|p| !used.contains(p) && !taken.contains(p) && free(*p))?;
        taken.insert(found);
        Some(found)
    }
}

/// The command of a probe in the one form in which Podman keeps its words as they are: it puts the words of a list
/// together and cuts them at blanks again, unless what comes out is a list in JSON.
fn kept_together(test: &[String]) -> Option<String> {
    match test {
        // A list of one word it takes for a shell's.
        [kind, command @ ..] if kind == "CMD" && command.len() > 1 => serde_json::to_string(command).ok(),
        _ => None,
    }
}

/// A bind mount whose source must be there, and is not.
fn missing_bind(spec: &ContainerSpec) -> Option<&str> {
    spec.mounts.iter().find_map(|m| match &m.kind {
        MountKind::Bind { source, create_host_path: false, .. } if !Path::new(source).exists() => Some(source.as_str()),
        _ => None,
    })
}
