//! Specs as the API's request bodies.
//!
//! Binds go as `HostConfig.Binds` where that can say all, and as `HostConfig.Mounts` where it can't, as Docker Compose
//! does: the first makes the engine create a missing host directory, the second makes a missing one an error.

use super::client::Api;
use super::quirks::Quirks;
use crate::world::{
    ConfigHash, ContainerSpec, EndpointSpec, EngineError, ErrorKind, HealthcheckSpec, MountKind, MountSpec, NetworkMode, NetworkSpec, ResourceSpec,
    RestartPolicy, VolumeSpec, label,
};
use bollard::models;
use serde::Serialize;
use std::collections::BTreeMap;
use std::str::FromStr;

/// Driver option that names an endpoint's interface.
const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";

/// Body of a create call: bollard's, and what it lacks.
#[derive(Debug, Serialize)]
pub struct CreateBody {
    #[serde(flatten)]
    body: models::ContainerCreateBody,
    /// For engines that know no MAC address by network.
    #[serde(rename = "MacAddress", skip_serializing_if = "String::is_empty")]
    mac_address: String,
}

/// A container to create, and the networks that must be connected one by one afterwards.
#[derive(Debug)]
pub struct Creation {
    /// Body of the create call.
    pub body: CreateBody,
    /// Networks that the create call can't take along.
    pub later: Vec<EndpointSpec>,
}

fn text(value: &str) -> Option<String> {
    Some(value).filter(|v| !v.is_empty()).map(str::to_owned)
}

fn list<T: Clone>(values: &[T]) -> Option<Vec<T>> {
    Some(values).filter(|v| !v.is_empty()).map(<[T]>::to_vec)
}

fn number<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|v| *v != T::default())
}

fn flag(value: bool) -> Option<bool> {
    value.then_some(true)
}

/// One of the API's own words.
fn word<T: FromStr>(value: &str, what: &str, container: &str) -> Result<Option<T>, EngineError> {
    let parse = |v: &str| {
        T::from_str(v).map_err(|_| {
            EngineError::new(ErrorKind::Refused, format!("can't create container {container}")).because(format!("there is no {what} `{v}`"))
        })
    };
    Some(value).filter(|v| !v.is_empty()).map(parse).transpose()
}

/// The map type of bollard's models from ours.
macro_rules! map {
    ($map:expr) => {
        Some(&$map).filter(|m| !m.is_empty()).map(|m| m.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    };
}

/// The body that creates a container.
///
/// # Errors
/// [`ErrorKind::Refused`] for words that the API doesn't have.
pub fn container(spec: &ContainerSpec, api: Api, quirks: Quirks) -> Result<Creation, EngineError> {
    let capabilities = quirks.capabilities(api);
    let mut labels = spec.labels.clone();
    match &spec.config_hash {
        ConfigHash::Known(hash) => labels.insert(label::CONFIG_HASH.to_owned(), hash.clone()),
        ConfigHash::Pending(_) => {
            return Err(EngineError::new(ErrorKind::Refused, format!("can't create container {}", spec.name))
                .because("its configuration hash needs the id of a container that isn't there"));
        }
    };
    let at_create = if capabilities.many_networks_at_create { spec.networks.len() } else { 1 }.min(spec.networks.len());
    let (first, later) = spec.networks.split_at(at_create);
    let endpoints: BTreeMap<_, _> =
        first.iter().map(|e| (e.network.clone(), endpoint(e, &spec.external_links, capabilities.mac_by_network))).collect();
    let exposed: Vec<String> = spec.expose.iter().map(|p| with_protocol(p)).chain(spec.ports.iter().map(port_key)).collect();
    let mac = if capabilities.mac_by_network && !first.is_empty() { String::new() } else { spec.mac_address.clone() };
    let mac = if mac.is_empty() && !capabilities.mac_by_network { first.first().map(|e| e.mac_address.clone()).unwrap_or_default() } else { mac };
    let body = models::ContainerCreateBody {
        hostname: text(&spec.hostname),
        domainname: text(&spec.domainname),
        user: text(&spec.user),
        attach_stdin: Some(false),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        exposed_ports: list(&exposed),
        tty: flag(spec.tty),
        open_stdin: flag(spec.stdin_open),
        env: list(&spec.environment.iter().map(|(k, v)| v.as_ref().map_or_else(|| k.clone(), |v| format!("{k}={v}"))).collect::<Vec<_>>()),
        cmd: spec.command.clone(),
        entrypoint: spec.entrypoint.clone(),
        healthcheck: spec.healthcheck.as_ref().map(|h| healthcheck(h, capabilities.start_interval)),
        image: Some(spec.image.clone()),
        working_dir: text(&spec.working_dir),
        labels: map!(labels),
        stop_signal: text(&spec.stop_signal),
        stop_timeout: spec.stop_timeout,
        host_config: Some(host_config(spec)?),
        networking_config: (!endpoints.is_empty()).then(|| models::NetworkingConfig { endpoints_config: map!(endpoints) }),
        ..Default::default()
    };
    Ok(Creation { body: CreateBody { body, mac_address: mac }, later: later.to_vec() })
}

/// A port's key in the API: `80/tcp`.
fn port_key(port: &crate::world::PortSpec) -> String {
    format!("{}/{}", port.target, if port.protocol.is_empty() { "tcp" } else { &port.protocol })
}

fn with_protocol(port: &str) -> String {
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

fn host_config(spec: &ContainerSpec) -> Result<models::HostConfig, EngineError> {
    let name = &spec.name;
    let security = &spec.security;
    let (binds, mounts) = mounts(spec)?;
    let mut bindings: BTreeMap<String, Option<Vec<models::PortBinding>>> = BTreeMap::new();
    for port in &spec.ports {
        let binding = models::PortBinding { host_ip: Some(port.host_ip.clone()), host_port: Some(port.published.clone()) };
        bindings.entry(port_key(port)).or_default().get_or_insert_default().push(binding);
    }
    let log = |l: &crate::world::LogSpec| models::HostConfigLogConfig { typ: text(&l.driver), config: map!(l.options) };
    let mut config = models::HostConfig {
        binds: list(&binds),
        mounts: list(&mounts),
        log_config: spec.log.as_ref().map(log),
        network_mode: Some(network_mode(spec)),
        port_bindings: map!(bindings),
        restart_policy: restart(&spec.restart),
        volume_driver: text(&spec.volume_driver),
        volumes_from: list(&spec.volumes_from),
        annotations: map!(spec.annotations),
        cap_add: list(&security.cap_add),
        cap_drop: list(&security.cap_drop),
        cgroupns_mode: word(&security.cgroup, "cgroup namespace", name)?,
        cgroup_parent: text(&security.cgroup_parent),
        dns: list(&spec.dns),
        dns_options: list(&spec.dns_options),
        dns_search: list(&spec.dns_search),
        extra_hosts: list(&spec.extra_hosts),
        group_add: list(&security.group_add),
        ipc_mode: text(&security.ipc),
        pid_mode: text(&security.pid),
        uts_mode: text(&security.uts),
        userns_mode: text(&security.userns),
        privileged: flag(security.privileged),
        readonly_rootfs: flag(security.read_only),
        security_opt: list(&security.options),
        masked_paths: security.unconfined_paths.then(Vec::new),
        readonly_paths: security.unconfined_paths.then(Vec::new),
        sysctls: map!(security.sysctls),
        storage_opt: map!(spec.storage_options),
        tmpfs: map!(spec.tmpfs),
        init: spec.init,
        runtime: text(&spec.runtime),
        isolation: word(&spec.isolation, "isolation", name)?,
        // Links of the old kind, which only the engine's own bridge has.
        links: match &spec.network_mode {
            NetworkMode::Other(mode) if mode == "bridge" || mode == "default" => list(&links(&spec.external_links)),
            _ => None,
        },
        ..Default::default()
    };
    limits(&mut config, &spec.resources);
    Ok(config)
}

fn network_mode(spec: &ContainerSpec) -> String {
    match &spec.network_mode {
        NetworkMode::Networks => spec.networks.first().map_or_else(|| "none".to_owned(), |e| e.network.clone()),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(other) => format!("container:{other}"),
        NetworkMode::Other(mode) => mode.clone(),
    }
}

fn restart(policy: &RestartPolicy) -> Option<models::RestartPolicy> {
    use models::RestartPolicyNameEnum as Name;
    let (name, most) = match policy {
        RestartPolicy::No => return None,
        RestartPolicy::Always => (Name::ALWAYS, None),
        RestartPolicy::UnlessStopped => (Name::UNLESS_STOPPED, None),
        RestartPolicy::OnFailure(most) => (Name::ON_FAILURE, i64::try_from(*most).ok().filter(|m| *m > 0)),
    };
    Some(models::RestartPolicy { name: Some(name), maximum_retry_count: most })
}

fn limits(config: &mut models::HostConfig, r: &ResourceSpec) {
    let rates = |rates: &[(String, i64)]| {
        let devices: Vec<_> = rates.iter().map(|(path, rate)| models::ThrottleDevice { path: Some(path.clone()), rate: Some(*rate) }).collect();
        list(&devices)
    };
    config.nano_cpus = number(r.nano_cpus);
    config.cpuset_cpus = text(&r.cpuset);
    config.cpu_shares = number(r.cpu_shares);
    config.cpu_period = number(r.cpu_period);
    config.cpu_quota = number(r.cpu_quota);
    config.cpu_realtime_period = number(r.cpu_rt_period);
    config.cpu_realtime_runtime = number(r.cpu_rt_runtime);
    config.cpu_count = number(r.cpu_count);
    config.cpu_percent = number(r.cpu_percent);
    config.memory = number(r.memory);
    config.memory_reservation = number(r.memory_reservation);
    config.memory_swap = number(r.memory_swap);
    config.memory_swappiness = r.memory_swappiness;
    config.pids_limit = number(r.pids);
    config.shm_size = number(r.shm_size);
    config.oom_kill_disable = flag(r.oom_kill_disable);
    config.oom_score_adj = number(r.oom_score_adj);
    config.ulimits = list(
        &r.ulimits
            .iter()
            .map(|u| models::ResourcesUlimits { name: Some(u.name.clone()), soft: Some(u.soft), hard: Some(u.hard) })
            .collect::<Vec<_>>(),
    );
    config.blkio_weight = number(r.blkio_weight);
    config.blkio_weight_device = list(
        &r.blkio_weight_device
            .iter()
            .map(|(path, weight)| models::ResourcesBlkioWeightDevice { path: Some(path.clone()), weight: Some(usize::from(*weight)) })
            .collect::<Vec<_>>(),
    );
    config.blkio_device_read_bps = rates(&r.blkio_read_bps);
    config.blkio_device_write_bps = rates(&r.blkio_write_bps);
    config.blkio_device_read_iops = rates(&r.blkio_read_iops);
    config.blkio_device_write_iops = rates(&r.blkio_write_iops);
    let (cdi, paths): (Vec<_>, Vec<_>) = r.devices.iter().partition(|d| is_cdi(d));
    config.devices = list(
        &paths
            .into_iter()
            .map(|d| models::DeviceMapping {
                path_on_host: Some(d.source.clone()),
                path_in_container: Some(d.target.clone()),
                cgroup_permissions: Some(if d.permissions.is_empty() { "rwm".to_owned() } else { d.permissions.clone() }),
            })
            .collect::<Vec<_>>(),
    );
    config.device_cgroup_rules = list(&r.device_cgroup_rules);
    let mut requests: Vec<_> = r
        .device_requests
        .iter()
        .map(|d| models::DeviceRequest {
            driver: text(&d.driver),
            count: number(d.count),
            device_ids: list(&d.device_ids),
            capabilities: Some(vec![d.capabilities.clone()]),
            options: map!(d.options),
        })
        .collect();
    if !cdi.is_empty() {
        let ids = cdi.into_iter().map(|d| d.source.clone()).collect();
        requests.push(models::DeviceRequest { driver: Some("cdi".to_owned()), device_ids: Some(ids), ..Default::default() });
    }
    config.device_requests = list(&requests);
}

/// A device by a name of the Container Device Interface, `vendor/class=name`, rather than by a path.
fn is_cdi(device: &crate::world::DeviceSpec) -> bool {
    device.source == device.target && !device.source.starts_with('/') && device.source.split_once('=').is_some_and(|(kind, _)| kind.contains('/'))
}

fn healthcheck(h: &HealthcheckSpec, start_interval: bool) -> models::HealthConfig {
    let time = |d: Option<crate::units::Duration>| d.map(|d| d.0);
    models::HealthConfig {
        test: list(&h.test),
        interval: time(h.interval),
        timeout: time(h.timeout),
        retries: h.retries.and_then(|r| i64::try_from(r).ok()),
        start_period: time(h.start_period),
        start_interval: time(h.start_interval).filter(|_| start_interval),
    }
}

/// `container[:alias]` as `container:alias`.
fn links(links: &[String]) -> Vec<String> {
    links.iter().map(|l| if l.contains(':') { l.clone() } else { format!("{l}:{l}") }).collect()
}

/// A place on a network, for create and connect calls.
pub fn endpoint(e: &EndpointSpec, external_links: &[String], mac: bool) -> models::EndpointSettings {
    let ipam = models::EndpointIpamConfig { ipv4_address: text(&e.ipv4), ipv6_address: text(&e.ipv6), link_local_ips: list(&e.link_local) };
    let mut options = e.driver_options.clone();
    if !e.interface_name.is_empty() {
        options.insert(INTERFACE_NAME.to_owned(), e.interface_name.clone());
    }
    let links: Vec<_> = e.links.iter().cloned().chain(links(external_links)).collect();
    models::EndpointSettings {
        ipam_config: (ipam != models::EndpointIpamConfig::default()).then_some(ipam),
        links: list(&links),
        mac_address: text(&e.mac_address).filter(|_| mac),
        aliases: list(&e.aliases),
        driver_opts: map!(options),
        gw_priority: number(e.gateway_priority),
        ..Default::default()
    }
}

/// All mounts, as the two lists that the API has for them.
fn mounts(spec: &ContainerSpec) -> Result<(Vec<String>, Vec<models::Mount>), EngineError> {
    let (mut binds, mut mounts) = (Vec::new(), Vec::new());
    for mount in &spec.mounts {
        match as_bind(mount) {
            Some(bind) => binds.push(bind),
            None => mounts.push(as_mount(mount, &spec.name)?),
        }
    }
    Ok((binds, mounts))
}

/// `source:target:mode`, for mounts of which this says all.
fn as_bind(mount: &MountSpec) -> Option<String> {
    let (source, option) = match &mount.kind {
        MountKind::Bind { source, create_host_path: true, propagation, selinux, recursive } if propagation.is_empty() && recursive.is_empty() => {
            (source, selinux.as_str())
        }
        MountKind::Volume { name: Some(name), nocopy: false, subpath, labels, inherited: false } if subpath.is_empty() && labels.is_empty() => {
            (name, "")
        }
        _ => return None,
    };
    // A colon would end the path.
    if source.contains(':') || mount.target.contains(':') {
        return None;
    }
    let mode = if mount.read_only { "ro" } else { "rw" };
    let comma = if option.is_empty() { "" } else { "," };
    Some(format!("{source}:{}:{mode}{comma}{option}", mount.target))
}

fn as_mount(mount: &MountSpec, container: &str) -> Result<models::Mount, EngineError> {
    use models::MountType;
    let base = models::Mount {
        target: Some(mount.target.clone()),
        read_only: flag(mount.read_only),
        consistency: text(&mount.consistency),
        ..Default::default()
    };
    Ok(match &mount.kind {
        MountKind::Bind { source, create_host_path, propagation, recursive, .. } => models::Mount {
            typ: Some(MountType::BIND),
            source: Some(source.clone()),
            bind_options: Some(models::MountBindOptions {
                propagation: word(propagation, "mount propagation", container)?,
                create_mountpoint: flag(*create_host_path),
                non_recursive: flag(recursive == "disabled"),
                read_only_non_recursive: flag(recursive == "writable"),
                read_only_force_recursive: flag(recursive == "readonly"),
            }),
            ..base
        },
        MountKind::Volume { name, nocopy, subpath, labels, .. } => {
            let options = models::MountVolumeOptions { no_copy: flag(*nocopy), labels: map!(labels), subpath: text(subpath), ..Default::default() };
            models::Mount {
                typ: Some(MountType::VOLUME),
                source: name.clone(),
                volume_options: (options != models::MountVolumeOptions::default()).then_some(options),
                ..base
            }
        }
        MountKind::Tmpfs { size, mode } => {
            let options = models::MountTmpfsOptions { size_bytes: number(*size), mode: number(i64::from(*mode)), ..Default::default() };
            models::Mount { typ: Some(MountType::TMPFS), tmpfs_options: (options != models::MountTmpfsOptions::default()).then_some(options), ..base }
        }
        MountKind::Image { reference, subpath } => models::Mount {
            typ: Some(MountType::IMAGE),
            source: Some(reference.clone()),
            image_options: text(subpath).map(|subpath| models::MountImageOptions { subpath: Some(subpath) }),
            ..base
        },
        MountKind::Npipe { source } => models::Mount { typ: Some(MountType::NPIPE), source: Some(source.clone()), ..base },
        MountKind::Cluster { source } => models::Mount { typ: Some(MountType::CLUSTER), source: Some(source.clone()), ..base },
    })
}

/// The body that creates a network.
pub fn network(spec: &NetworkSpec) -> models::NetworkCreateRequest {
    let pools: Vec<_> = spec
        .pools
        .iter()
        .map(|p| models::IpamConfig {
            subnet: text(&p.subnet),
            ip_range: text(&p.ip_range),
            gateway: text(&p.gateway),
            auxiliary_addresses: map!(p.aux_addresses),
        })
        .collect();
    let ipam = models::Ipam { driver: text(&spec.ipam_driver), config: list(&pools), options: map!(spec.ipam_options) };
    models::NetworkCreateRequest {
        name: spec.name.clone(),
        driver: text(&spec.driver),
        internal: flag(spec.internal),
        attachable: flag(spec.attachable),
        ipam: (ipam != models::Ipam::default()).then_some(ipam),
        enable_ipv4: spec.ipv4,
        enable_ipv6: spec.ipv6,
        options: map!(spec.driver_options),
        labels: map!(spec.labels),
        ..Default::default()
    }
}

/// The body that creates a volume.
pub fn volume(spec: &VolumeSpec) -> models::VolumeCreateRequest {
    models::VolumeCreateRequest {
        name: Some(spec.name.clone()),
        driver: text(&spec.driver),
        driver_opts: map!(spec.driver_options),
        labels: map!(spec.labels),
        ..Default::default()
    }
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
