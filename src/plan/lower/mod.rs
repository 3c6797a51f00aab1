//! From the model to what engines create: names, labels, defaults, nothing left to decide.

mod mounts;
mod networks;
mod resources;

pub(super) use mounts::{files, volume_name};
pub(super) use networks::{network_keys, network_name, network_spec, volume_spec};
pub(super) use resources::is_cdi_name;

use crate::digest::sha256;
use crate::model::{Hook, Project, Service};
use crate::world::{ConfigHash, ContainerSpec, HealthcheckSpec, HookSpec, InstanceKey, LogSpec, NetworkMode, PortSpec, RestartPolicy, label};
use std::collections::BTreeMap;

/// Who a container shares namespaces or volumes with: a service of the project becomes a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    /// Name of the container.
    pub name: String,
    /// Its id, if it stays as it is.
    pub id: Option<String>,
}

/// What a container's specification needs besides its service.
pub(super) struct Setting<'a> {
    /// The project.
    pub project: &'a Project,
    /// The containers that `service:x` means, by service.
    pub parents: &'a BTreeMap<&'a str, Parent>,
    /// Id of the image, if it is here.
    pub image_id: Option<&'a str>,
}

/// The engine's word for a parent: its id, or its name until there is one.
fn reference(parent: &Parent) -> &str {
    parent.id.as_deref().unwrap_or(&parent.name)
}

/// Replica `number` of `service`.
pub(super) fn container(setting: &Setting, service: &Service, number: u32, config_hash: ConfigHash) -> ContainerSpec {
    let project = setting.project;
    let name = project.container_name(service, number);
    let network_mode = network_mode(setting, &service.network_mode);
    let mut external_links = service.external_links.clone();
    if matches!(network_mode, NetworkMode::Other(_)) {
        external_links.extend(networks::links(project, service));
    }
    let networks = if network_mode == NetworkMode::Networks { networks::endpoints(project, service, &name) } else { Vec::new() };
    let mac_address = networks.first().map_or_else(|| service.mac_address.clone(), |e| e.mac_address.clone());
    ContainerSpec {
        key: InstanceKey { service: service.name.clone(), number },
        image: project.image_of(service),
        platform: platform(project, service),
        labels: labels(setting, service, number),
        config_hash,
        annotations: service.annotations.clone(),
        entrypoint: service.entrypoint.clone(),
        command: service.command.clone(),
        environment: service.environment.clone(),
        working_dir: service.working_dir.clone(),
        user: service.user.clone(),
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        tty: service.tty,
        stdin_open: service.stdin_open,
        stop_signal: service.stop_signal.clone(),
        stop_timeout: service.stop_grace_period.map(|d| d.0.max(0) / 1_000_000_000),
        healthcheck: healthcheck(service),
        expose: service.expose.iter().flat_map(|e| exposed(e)).collect(),
        ports: ports(service),
        mounts: mounts::mounts(project, service),
        tmpfs: service.tmpfs.iter().map(|t| t.split_once(':').unwrap_or((t, ""))).map(|(path, options)| (path.into(), options.into())).collect(),
        volumes_from: volumes_from(setting, service),
        volume_driver: service.volume_driver.clone(),
        network_mode,
        networks,
        mac_address,
        external_links,
        dns: service.dns.clone(),
        dns_options: service.dns_opt.clone(),
        dns_search: service.dns_search.clone(),
        extra_hosts: service.extra_hosts.iter().flat_map(|(host, all)| all.iter().map(move |a| format!("{host}:{a}"))).collect(),
        restart: restart_policy(service).unwrap_or_default(),
        init: service.init,
        runtime: service.runtime.clone(),
        isolation: service.isolation.clone(),
        log: service.logging.as_ref().map(|l| LogSpec { driver: l.driver.clone(), options: l.options.clone() }),
        resources: resources::resources(service),
        security: resources::security(setting, service),
        storage_options: service.storage_opt.clone(),
        files: files(project, service).unwrap_or_default(),
        post_start: service.post_start.iter().map(hook).collect(),
        name,
    }
}

/// The hash of the service's configuration, in which containers stand in place of `service:x`.
pub(super) fn config_hash(setting: &Setting, service: &Service) -> ConfigHash {
    let mut unknown: Vec<&str> = Vec::new();
    let mut place = |of: &str| -> Option<String> {
        let parent = setting.parents.get(of)?;
        Some(parent.id.clone().unwrap_or_else(|| {
            unknown.push(&parent.name);
            format!("\u{1}{}\u{1}", parent.name)
        }))
    };
    let mut changed = std::borrow::Cow::Borrowed(service);
    for (mode, field) in [
        (&service.network_mode, (|s| &mut s.network_mode) as fn(&mut Service) -> &mut String),
        (&service.ipc, |s| &mut s.ipc),
        (&service.pid, |s| &mut s.pid),
    ] {
        if let Some(id) = mode.strip_prefix("service:").and_then(&mut place) {
            *field(changed.to_mut()) = format!("container:{id}");
        }
    }
    for (i, from) in service.volumes_from.iter().enumerate() {
        // The mode is no part of the hash: the reference implementation forgets it.
        let id = match from.strip_prefix("container:") {
            Some(rest) => Some(rest.split(':').next().unwrap_or(rest).to_owned()),
            None => place(from.split(':').next().unwrap_or(from)),
        };
        if let (Some(id), Some(entry)) = (id, changed.to_mut().volumes_from.get_mut(i)) {
            *entry = id;
        }
    }
    let json = crate::model::service_json(&changed);
    if unknown.is_empty() {
        return ConfigHash::Known(sha256(json));
    }
    // JSON writes the mark as an escape.
    ConfigHash::Pending(unknown.iter().fold(json, |json, name| json.replace(&format!("\\u0001{name}\\u0001"), &format!("\u{1}{name}\u{1}"))))
}

/// `os/arch[/variant]` of the service, or the one that the environment asks for.
pub(super) fn platform(project: &Project, service: &Service) -> Option<String> {
    let default = || project.environment.get("DOCKER_DEFAULT_PLATFORM").cloned().unwrap_or_default();
    Some(if service.platform.is_empty() { default() } else { service.platform.clone() }).filter(|p| !p.is_empty())
}

fn labels(setting: &Setting, service: &Service, number: u32) -> BTreeMap<String, String> {
    let project = setting.project;
    let paths = |paths: &[std::path::PathBuf]| paths.iter().map(|p| p.to_string_lossy()).collect::<Vec<_>>().join(",");
    let dependencies = service.depends_on.iter().map(|(on, d)| format!("{on}:{}:{}", d.condition.as_str(), d.restart)).collect::<Vec<_>>();
    let mut labels = service.labels.clone();
    let mut set = |name: &str, value: String| labels.insert(name.to_owned(), value);
    set(label::PROJECT, project.name.clone());
    set(label::SERVICE, service.name.clone());
    set(label::CONTAINER_NUMBER, number.to_string());
    set(label::ONEOFF, "False".into());
    set(label::VERSION, env!("CARGO_PKG_VERSION").into());
    set(label::DEPENDS_ON, dependencies.join(","));
    set(label::CONFIG_FILES, paths(&project.files));
    set(label::WORKING_DIR, project.working_dir.to_string_lossy().into_owned());
    if !project.env_files.is_empty() {
        set(label::ENVIRONMENT_FILE, paths(&project.env_files));
    }
    if let Some(id) = setting.image_id {
        set(label::IMAGE, id.to_owned());
    }
    labels
}

fn network_mode(setting: &Setting, mode: &str) -> NetworkMode {
    match mode {
        "" => NetworkMode::Networks,
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        _ => match (mode.strip_prefix("service:").and_then(|s| setting.parents.get(s)), mode.strip_prefix("container:")) {
            (Some(parent), _) => NetworkMode::Container(reference(parent).to_owned()),
            (None, Some(container)) => NetworkMode::Container(container.to_owned()),
            (None, None) => NetworkMode::Other(mode.to_owned()),
        },
    }
}

/// `service:x` of `ipc` and `pid` becomes `container:…`; anything else stays.
fn namespace(setting: &Setting, mode: &str) -> String {
    match mode.strip_prefix("service:").and_then(|s| setting.parents.get(s)) {
        Some(parent) => format!("container:{}", reference(parent)),
        None => mode.to_owned(),
    }
}

fn volumes_from(setting: &Setting, service: &Service) -> Vec<String> {
    let lower = |entry: &String| {
        if let Some(container) = entry.strip_prefix("container:") {
            return container.to_owned();
        }
        let (from, mode) = entry.split_once(':').map_or((entry.as_str(), None), |(s, mode)| (s, Some(mode)));
        let container = setting.parents.get(from).map_or(from, reference);
        mode.map_or_else(|| container.to_owned(), |mode| format!("{container}:{mode}"))
    };
    service.volumes_from.iter().map(lower).collect()
}

fn healthcheck(service: &Service) -> Option<HealthcheckSpec> {
    let check = service.healthcheck.as_ref()?;
    Some(HealthcheckSpec {
        test: if check.disable { vec!["NONE".into()] } else { check.test.clone() },
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    })
}

/// When it is started again. `deploy.restart_policy` wins over `restart`; without a condition it means `any`, unless
/// `restart` says something.
///
/// # Errors
/// The word that is none.
pub(super) fn restart_policy(service: &Service) -> Result<RestartPolicy, String> {
    let policy = service.deploy.as_ref().and_then(|d| d.restart_policy.as_ref()).filter(|p| !p.condition.is_empty() || service.restart.is_empty());
    let (word, attempts) = match policy {
        Some(policy) => (if policy.condition.is_empty() { "any" } else { policy.condition.as_str() }, policy.max_attempts),
        None => match service.restart.split_once(':') {
            Some((word, attempts)) => (word, Some(attempts.parse().map_err(|_| service.restart.clone())?)),
            None => (service.restart.as_str(), None),
        },
    };
    match word {
        "" | "no" | "none" => Ok(RestartPolicy::No),
        "always" | "any" => Ok(RestartPolicy::Always),
        "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
        "on-failure" => Ok(RestartPolicy::OnFailure(attempts.unwrap_or(0))),
        other => Err(other.to_owned()),
    }
}

fn ports(service: &Service) -> Vec<PortSpec> {
    let lower = |p: &crate::model::Port| PortSpec {
        // A port above 65535 is refused when the project is loaded.
        target: u16::try_from(p.target).unwrap_or(0),
        protocol: if p.protocol.is_empty() { "tcp".into() } else { p.protocol.clone() },
        host_ip: p.host_ip.clone(),
        published: p.published.clone(),
    };
    service.ports.iter().map(lower).collect()
}

/// `80`, `80/udp`, `8000-8002/tcp`: each port on its own.
fn exposed(entry: &str) -> Vec<String> {
    let (ports, protocol) = entry.split_once('/').map_or((entry, ""), |(p, protocol)| (p, protocol));
    let name = |port: &str| if protocol.is_empty() { port.to_owned() } else { format!("{port}/{protocol}") };
    match ports.split_once('-').and_then(|(a, b)| Some((a.parse::<u16>().ok()?, b.parse::<u16>().ok()?))) {
        Some((first, last)) => (first..=last).map(|port| name(&port.to_string())).collect(),
        None => vec![name(ports)],
    }
}

/// A hook.
pub(super) fn hook(hook: &Hook) -> HookSpec {
    HookSpec {
        command: hook.command.clone().unwrap_or_default(),
        user: hook.user.clone(),
        privileged: hook.privileged,
        working_dir: hook.working_dir.clone(),
        environment: hook.environment.clone(),
    }
}
