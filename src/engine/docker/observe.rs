//! What exists: lists asked for in parallel, nothing inspected one by one but images.

use super::client::{Api, Client, query, reference_path};
use super::error::Failure;
use super::files_as_images;
use super::json::{keys, nullable};
use super::quirks::Quirks;
use super::status;
use crate::units::{Duration, Timestamp};
use crate::world::{
    Attachment, Container, EngineError, HealthcheckSpec, Image, ImageQuery, MountPoint, NetworkState, ObserveQuery, Observed, PublishedPort, State,
    VolumeState, label,
};
use futures::future::try_join_all;
use hyper::Method;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Looks at everything that `wanted` asks for, at once.
pub async fn observe(client: &Client, quirks: Quirks, api: Api, wanted: &ObserveQuery) -> Result<Observed, EngineError> {
    let project = wanted.project.as_deref();
    let containers = async { containers(client, quirks, project, wanted.strangers).await.map_err(|f| f.explain("list containers")) };
    if wanted.containers_only {
        return Ok(Observed { containers: containers.await?, ..Observed::default() });
    }
    let networks = async { networks(client, project, &wanted.networks).await.map_err(|f| f.explain("list networks")) };
    let volumes = async { volumes(client, project, &wanted.volumes).await.map_err(|f| f.explain("list volumes")) };
    let distinct: BTreeSet<&ImageQuery> = wanted.images.iter().collect();
    let images = try_join_all(distinct.into_iter().map(|q| async move {
        let found = image(client, api, q).await.map_err(|f| f.explain(&format!("inspect image {}", q.reference)))?;
        Ok::<_, EngineError>((q.reference.clone(), found))
    }));
    let (mut containers, networks, volumes, images) = futures::try_join!(containers, networks, volumes, images)?;
    let nameless = containers.iter_mut().flat_map(|c| &mut c.networks).filter(|a| a.network_id.is_empty());
    for attachment in nameless {
        attachment.network_id = networks.iter().find(|n| n.name == attachment.network).map(|n| n.id.clone()).unwrap_or_default();
    }
    let images = images.into_iter().filter_map(|(reference, image)| Some((reference, image?))).collect();
    Ok(Observed { containers, networks, volumes, images })
}

/// A filter as the API takes it: a map of lists, in JSON.
pub fn filters(pairs: &[(&str, &[&str])]) -> String {
    let map: BTreeMap<_, _> = pairs.iter().copied().collect();
    // Strings in maps and lists can always be written.
    serde_json::to_string(&map).unwrap_or_default()
}

/// The filter for what belongs to a project, or to any.
pub fn of_project(project: Option<&str>) -> String {
    project.map_or_else(|| label::PROJECT.to_owned(), |p| format!("{}={p}", label::PROJECT))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedContainer {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
    #[serde(default)]
    image: String,
    #[serde(default, rename = "ImageID")]
    image_id: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    created: i64,
    #[serde(default)]
    state: String,
    #[serde(default)]
    status: String,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<ListedPort>,
    #[serde(default, deserialize_with = "nullable")]
    mounts: Vec<ListedMount>,
    #[serde(default, deserialize_with = "nullable")]
    network_settings: ListedNetworks,
}

#[derive(Deserialize)]
struct ListedPort {
    #[serde(default, rename = "IP")]
    ip: String,
    #[serde(default, rename = "PrivatePort")]
    private: u16,
    #[serde(default, rename = "PublicPort")]
    public: u16,
    #[serde(default, rename = "Type")]
    protocol: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedMount {
    #[serde(default, rename = "Type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    destination: String,
    #[serde(default)]
    driver: String,
    #[serde(default, rename = "RW")]
    writable: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedNetworks {
    #[serde(default, deserialize_with = "nullable")]
    networks: BTreeMap<String, Option<ListedEndpoint>>,
}

#[derive(Default, Deserialize)]
struct ListedEndpoint {
    #[serde(default, rename = "NetworkID")]
    network_id: String,
    #[serde(default, rename = "IPAddress")]
    address: String,
}

async fn containers(client: &Client, quirks: Quirks, project: Option<&str>, strangers: bool) -> Result<Vec<Container>, Failure> {
    let filter = if strangers { filters(&[]) } else { filters(&[("label", &[&of_project(project), label::CONFIG_HASH])]) };
    let tail = query("/containers/json", &[("all", "1"), ("filters", &filter)]);
    let listed = client.json::<Vec<ListedContainer>>(Method::GET, &tail, None);
    let (listed, health) = if quirks.health_in_own_list {
        let health = own_health(client, &filter);
        futures::try_join!(listed, health)?
    } else {
        (listed.await?, BTreeMap::new())
    };
    let mut containers: Vec<_> = listed.into_iter().map(|c| container(c, &health)).collect();
    containers.sort_by(|a, b| (a.service(), a.number(), &a.name).cmp(&(b.service(), b.number(), &b.name)));
    Ok(containers)
}

/// Health by container id, which Podman tells only in its own list.
async fn own_health(client: &Client, filter: &str) -> Result<BTreeMap<String, String>, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Own {
        id: String,
        #[serde(default)]
        status: String,
    }
    let tail = query("/libpod/containers/json", &[("filters", filter)]);
    let own: Option<Vec<Own>> = client.json(Method::GET, &tail, None).await?;
    Ok(own.unwrap_or_default().into_iter().map(|c| (c.id, c.status)).collect())
}

fn container(listed: ListedContainer, health: &BTreeMap<String, String>) -> Container {
    let state = status::state(&listed.state).unwrap_or(State::Dead);
    // Links give a container more names, each below another container's.
    let name = listed.names.iter().find(|n| n.trim_start_matches('/').find('/').is_none()).or(listed.names.first());
    let own = health.get(&listed.id).and_then(|word| status::health(word)).filter(|_| state == State::Running);
    let sentence = match own {
        Some(health) if status::health_in(&listed.status).is_none() => status::with_health(&listed.status, health),
        _ => listed.status,
    };
    Container {
        name: name.map_or_else(|| listed.id.clone(), |n| n.trim_start_matches('/').to_owned()),
        image: listed.labels.get(label::IMAGE_FILE).cloned().unwrap_or(listed.image),
        image_id: listed.image_id,
        command: listed.command,
        created: Timestamp::from_parts(listed.created, 0),
        health: status::health_in(&sentence).filter(|_| state == State::Running),
        exit_code: status::exit_code_in(&sentence),
        state,
        status: sentence,
        labels: listed.labels,
        ports: listed.ports.into_iter().map(port).collect(),
        mounts: listed.mounts.into_iter().map(mount).collect(),
        networks: listed.network_settings.networks.into_iter().map(|(name, e)| attachment(name, e.unwrap_or_default())).collect(),
        runtime: String::new(),
        id: listed.id,
    }
}

fn port(p: ListedPort) -> PublishedPort {
    PublishedPort {
        // Podman leaves the address out when it is all of them.
        host_ip: if p.ip.is_empty() && p.public != 0 { "0.0.0.0".to_owned() } else { p.ip },
        host_port: p.public,
        target: p.private,
        protocol: p.protocol,
    }
}

fn mount(m: ListedMount) -> MountPoint {
    MountPoint { kind: m.kind, name: m.name, source: m.source, target: m.destination, driver: m.driver, read_only: !m.writable }
}

fn attachment(network: String, endpoint: ListedEndpoint) -> Attachment {
    // Podman writes the name where the id belongs.
    let network_id = if endpoint.network_id == network { String::new() } else { endpoint.network_id };
    Attachment { network, network_id, ipv4: endpoint.address, ipv6: String::new() }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedNetwork {
    id: String,
    name: String,
    #[serde(default)]
    driver: String,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
}

async fn networks(client: &Client, project: Option<&str>, wanted: &[String]) -> Result<Vec<NetworkState>, Failure> {
    // One list serves both questions; names in filters are patterns, and a network may be asked for by id.
    let filter = filters(&[("label", &[&of_project(project)])]);
    let tail = if wanted.is_empty() { query("/networks", &[("filters", &filter)]) } else { "/networks".to_owned() };
    let listed: Vec<ListedNetwork> = client.json(Method::GET, &tail, None).await?;
    let ours = |n: &ListedNetwork| match n.labels.get(label::PROJECT) {
        Some(owner) => project.is_none_or(|p| p == owner),
        None => false,
    };
    let asked = |n: &ListedNetwork| wanted.iter().any(|w| *w == n.name || *w == n.id);
    let mut networks: Vec<_> = listed
        .into_iter()
        .filter(|n| ours(n) || asked(n))
        .map(|n| NetworkState { id: n.id, name: n.name, driver: n.driver, labels: n.labels })
        .collect();
    networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(networks)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VolumeList {
    #[serde(default, deserialize_with = "nullable")]
    volumes: Vec<ListedVolume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedVolume {
    name: String,
    #[serde(default)]
    driver: String,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
}

async fn volumes(client: &Client, project: Option<&str>, wanted: &[String]) -> Result<Vec<VolumeState>, Failure> {
    let list = |filter: String| async move { client.json::<VolumeList>(Method::GET, &query("/volumes", &[("filters", &filter)]), None).await };
    let labelled = list(filters(&[("label", &[&of_project(project)])]));
    let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let named = async { if names.is_empty() { Ok(VolumeList { volumes: Vec::new() }) } else { list(filters(&[("name", &names)])).await } };
    let (labelled, named) = futures::try_join!(labelled, named)?;
    // Names in filters are patterns: take the exact ones.
    let named = named.volumes.into_iter().filter(|v| wanted.contains(&v.name));
    let by_name: BTreeMap<String, ListedVolume> = labelled.volumes.into_iter().chain(named).map(|v| (v.name.clone(), v)).collect();
    Ok(by_name.into_values().map(|v| VolumeState { name: v.name, driver: v.driver, labels: v.labels }).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedImage {
    id: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
    #[serde(default, deserialize_with = "nullable")]
    config: ImageConfig,
    #[serde(default, deserialize_with = "nullable")]
    metadata: ImageMetadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageConfig {
    #[serde(default, deserialize_with = "keys")]
    volumes: Vec<String>,
    #[serde(default, deserialize_with = "keys")]
    exposed_ports: Vec<String>,
    #[serde(default)]
    healthcheck: Option<InspectedHealthcheck>,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageMetadata {
    #[serde(default)]
    last_tag_time: String,
}

/// A health check as engines tell it: times in nanoseconds, nought for "not given".
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectedHealthcheck {
    #[serde(default, deserialize_with = "nullable")]
    test: Vec<String>,
    #[serde(default)]
    interval: i64,
    #[serde(default)]
    timeout: i64,
    #[serde(default)]
    start_period: i64,
    #[serde(default)]
    start_interval: i64,
    #[serde(default)]
    retries: u64,
}

impl From<InspectedHealthcheck> for HealthcheckSpec {
    fn from(h: InspectedHealthcheck) -> Self {
        let time = |ns: i64| (ns != 0).then_some(Duration(ns));
        Self {
            test: h.test,
            interval: time(h.interval),
            timeout: time(h.timeout),
            start_period: time(h.start_period),
            start_interval: time(h.start_interval),
            retries: (h.retries != 0).then_some(h.retries),
        }
    }
}

/// A local image, unless it is absent or of another platform.
async fn image(client: &Client, api: Api, wanted: &ImageQuery) -> Result<Option<Image>, Failure> {
    let platform = wanted.platform.as_deref().map(Platform::parse);
    // A file that can't be read is told by whoever loads it.
    let Ok(name) = files_as_images::local(&wanted.reference).await else { return Ok(None) };
    let mut tail = format!("/images/{}/json", reference_path(&name));
    if let (Some(platform), true) = (&platform, api >= Api(1, 49)) {
        tail = query(&tail, &[("platform", &platform.to_json())]);
    }
    let found: InspectedImage = match client.json(Method::GET, &tail, None).await {
        Ok(found) => found,
        Err(failure) if failure.status() == Some(404) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let own = Platform::new(&found.os, &found.architecture, &found.variant);
    if platform.is_some_and(|p| !p.covers(&own)) {
        return Ok(None);
    }
    Ok(Some(Image {
        id: found.id,
        volumes: found.config.volumes,
        exposed: found.config.exposed_ports,
        healthcheck: found.config.healthcheck.map(Into::into).filter(|h: &HealthcheckSpec| !h.test.is_empty()),
        // The year 1 stands for never.
        tagged: Timestamp::parse_rfc3339(&found.metadata.last_tag_time).filter(|t| t.0 > 0),
        labels: found.config.labels,
    }))
}

/// `os/architecture[/variant]` in the words of the OCI image spec.
#[derive(Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: String,
}

impl Platform {
    /// From its parts, in anybody's words.
    fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => ("amd64".to_owned(), ""),
            "aarch64" => ("arm64".to_owned(), ""),
            "i386" | "i686" => ("386".to_owned(), ""),
            "armhf" => ("arm".to_owned(), "v7"),
            "armel" => ("arm".to_owned(), "v6"),
            other => (other.to_owned(), ""),
        };
        let variant = if variant.is_empty() { implied } else { variant };
        // The only 64-bit ARM there is goes without saying.
        let variant = if architecture == "arm64" && variant == "v8" { "" } else { variant };
        Self { os: os.to_ascii_lowercase(), architecture, variant: variant.to_owned() }
    }

    /// Reads `linux/arm64/v8`; a lone word is an architecture.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant) => Self::new(os, architecture, variant.unwrap_or("")),
            (Some(only), ..) if only == "linux" || only == "windows" => Self::new(only, "", ""),
            (only, ..) => Self::new("linux", only.unwrap_or(""), ""),
        }
    }

    /// Whether an image of platform `other` serves whoever asks for this one.
    fn covers(&self, other: &Self) -> bool {
        let fits = |wanted: &str, own: &str| wanted.is_empty() || own.is_empty() || wanted == own;
        fits(&self.os, &other.os) && fits(&self.architecture, &other.architecture) && fits(&self.variant, &other.variant)
    }

    /// As the API takes it.
    fn to_json(&self) -> String {
        let mut map = BTreeMap::from([("os", &self.os), ("architecture", &self.architecture)]);
        if !self.variant.is_empty() {
            map.insert("variant", &self.variant);
        }
        serde_json::to_string(&map).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_match_by_meaning() {
        for (wanted, own, fits) in [
            ("linux/amd64", ("linux", "amd64", ""), true),
            ("linux/x86_64", ("linux", "amd64", ""), true),
            ("linux/arm64/v8", ("linux", "arm64", ""), true),
            ("linux/arm64", ("linux", "aarch64", "v8"), true),
            ("linux/arm/v6", ("linux", "arm", "v7"), false),
            ("linux/arm64", ("linux", "amd64", ""), false),
            ("arm64", ("linux", "arm64", ""), true),
        ] {
            assert_eq!(Platform::parse(wanted).covers(&Platform::new(own.0, own.1, own.2)), fits, "{wanted} {own:?}");
        }
    }

    #[test]
    fn lists_read_although_fields_are_null_or_absent() {
        let text = r#"[{"Id":"a","Names":["/web/db","/p-db-1"],"State":"exited","Status":"Exited (3) 1 second ago","Labels":null,"Ports":null,
            "Mounts":[{"Type":"volume","Name":"v","Source":"/x","Destination":"/data","Driver":"local","RW":true}],
            "NetworkSettings":{"Networks":{"n":{"NetworkID":"n","IPAddress":""},"m":null}}}]"#;
        let listed: Vec<ListedContainer> = serde_json::from_str(text).unwrap();
        let found = container(listed.into_iter().next().unwrap(), &BTreeMap::new());
        assert_eq!((found.name.as_str(), found.state, found.exit_code, found.health), ("p-db-1", State::Exited, Some(3), None));
        assert_eq!(found.networks.iter().map(|n| (n.network.as_str(), n.network_id.as_str())).collect::<Vec<_>>(), [("m", ""), ("n", "")]);
        assert!(!found.mounts[0].read_only);
    }
}
