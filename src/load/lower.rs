//! Canonical tree → typed model. Whatever can't be read was reported by the check; here it counts as not written.

use super::scalar;
use crate::model::{
    BindOptions, BlkioConfig, Build, Condition, Config, CredentialSpec, Dependency, Deploy, DeployRestartPolicy, Develop, DeviceMapping,
    DeviceRequest, DiscreteResource, EnvFile, Extends, Extensions, FileReference, GenericResource, Healthcheck, Hook, ImageOptions, Ipam, IpamPool,
    Logging, Model, Mount, MountType, Network, OptionMap, Placement, PlacementPreference, Port, Project, Provider, Resource, Resources, Secret,
    Service, ServiceModel, ServiceNetwork, StringMap, ThrottleDevice, TmpfsOptions, Ulimit, UpdateConfig, Volume, VolumeOptions, WatchTrigger,
    WeightDevice,
};
use crate::units::{Bytes, Duration};
use crate::yaml::{Mapping, Node, Value, format_float, format_time, unquoted};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The project that `root` describes; all services are enabled.
pub(super) fn project(root: &Node) -> Project {
    let top = Fields::of(root);
    Project {
        name: top.string("name"),
        services: top.named("services", service),
        networks: top.named("networks", |_, n| network(n)),
        volumes: top.named("volumes", |_, n| volume(n)),
        secrets: top.named("secrets", |_, n| secret(n)),
        configs: top.named("configs", |_, n| config(n)),
        models: top.named("models", |_, n| model(n)),
        extensions: top.node("x-sim").map(|n| ("x-sim".to_owned(), json(n))).into_iter().collect(),
        ..Project::default()
    }
}

/// Reads the keys of one mapping.
struct Fields<'a>(Option<&'a Mapping>);

impl<'a> Fields<'a> {
    fn of(node: &'a Node) -> Self {
        Self(node.as_map())
    }

    fn node(&self, key: &str) -> Option<&'a Node> {
        self.0?.get(key).filter(|n| n.value != Value::Null)
    }

    fn string(&self, key: &str) -> String {
        self.node(key).and_then(scalar::text).unwrap_or_default()
    }

    fn strings(&self, key: &str) -> Vec<String> {
        self.node(key).map(strings).unwrap_or_default()
    }

    /// A command: absent, or `null`, is not the same as an empty one.
    fn command(&self, key: &str) -> Option<Vec<String>> {
        self.node(key).map(strings)
    }

    fn flag(&self, key: &str) -> bool {
        self.option_flag(key).unwrap_or(false)
    }

    fn option_flag(&self, key: &str) -> Option<bool> {
        self.node(key).and_then(scalar::boolean)
    }

    fn int(&self, key: &str) -> i64 {
        self.option_int(key).unwrap_or(0)
    }

    fn option_int(&self, key: &str) -> Option<i64> {
        self.node(key).and_then(scalar::integer)
    }

    fn unsigned(&self, key: &str) -> Option<u64> {
        self.option_int(key).and_then(|n| u64::try_from(n).ok())
    }

    fn float(&self, key: &str) -> f32 {
        self.node(key).and_then(scalar::number).map_or(0.0, |n| n as f32)
    }

    fn bytes(&self, key: &str) -> Bytes {
        self.node(key).and_then(|n| scalar::bytes(n).ok()).unwrap_or_default()
    }

    fn duration(&self, key: &str) -> Option<Duration> {
        self.node(key).and_then(|n| scalar::duration(n).ok())
    }

    /// A mapping of strings; a missing value is the empty one.
    fn map(&self, key: &str) -> StringMap {
        self.named(key, |_, n| scalar::text(n).unwrap_or_default())
    }

    /// A mapping in which a value can be missing.
    fn options(&self, key: &str) -> OptionMap {
        self.named(key, |_, n| if n.value == Value::Null { None } else { scalar::text(n) })
    }

    fn named<T>(&self, key: &str, read: impl Fn(&str, &Node) -> T) -> BTreeMap<String, T> {
        let map = self.node(key).and_then(Node::as_map);
        map.into_iter().flatten().map(|e| (e.key.clone(), read(&e.key, &e.value))).collect()
    }

    fn list<T>(&self, key: &str, read: impl Fn(&Node) -> T) -> Vec<T> {
        self.node(key).and_then(Node::as_seq).unwrap_or_default().iter().map(read).collect()
    }

    fn one<T>(&self, key: &str, read: impl Fn(&Node) -> T) -> Option<T> {
        self.node(key).map(read)
    }

    fn hosts(&self, key: &str) -> BTreeMap<String, Vec<String>> {
        let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in self.strings(key) {
            if let Some((name, address)) = entry.split_once('=') {
                hosts.entry(name.to_owned()).or_default().push(address.to_owned());
            }
        }
        hosts
    }

    fn extensions(&self) -> Extensions {
        self.0.into_iter().flatten().filter(|e| e.key.starts_with("x-")).map(|e| (e.key.clone(), json(&e.value))).collect()
    }
}

fn strings(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Seq(items) => items.iter().filter_map(scalar::text).collect(),
        _ => scalar::text(node).into_iter().collect(),
    }
}

/// A tree as JSON. A float without fraction is a whole number, as in the reference.
pub(super) fn json(node: &Node) -> Json {
    tree(node, &|node| match &node.value {
        Value::Time(text) => Json::from(format_time(text)),
        _ => Json::Null,
    })
}

/// As [`json`], for YAML: dates and what isn't finite stay what they are.
pub(super) fn yaml(node: &Node) -> Json {
    tree(node, &|node| match &node.value {
        Value::Time(text) => unquoted(&format_time(text)),
        Value::Float(f) => unquoted(&format_float(*f)),
        _ => Json::Null,
    })
}

/// `other` makes of a scalar what JSON has no word for.
fn tree(node: &Node, other: &dyn Fn(&Node) -> Json) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::from(*b),
        Value::Int(n) => Json::from(*n),
        Value::Uint(n) => Json::from(*n),
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 1e15 && !(*f == 0.0 && f.is_sign_negative()) => Json::from(*f as i64),
        Value::Float(f) if f.is_finite() => Json::from(*f),
        Value::Float(_) | Value::Time(_) => other(node),
        Value::String(s) => Json::from(s.as_str()),
        Value::Seq(items) => items.iter().map(|item| tree(item, other)).collect(),
        // The reference keeps mappings of no type by their keys.
        Value::Map(map) => map.iter().map(|e| (e.key.clone(), tree(&e.value, other))).collect::<BTreeMap<_, _>>().into_iter().collect(),
    }
}

#[expect(clippy::too_many_lines, reason = "one line for each key of the format; a part of them would say no more")]
fn service(name: &str, node: &Node) -> Service {
    let f = Fields::of(node);
    Service {
        name: name.to_owned(),
        profiles: f.strings("profiles"),
        annotations: f.map("annotations"),
        attach: f.option_flag("attach"),
        build: f.one("build", build),
        develop: f.one("develop", develop),
        blkio_config: f.one("blkio_config", blkio),
        cap_add: f.strings("cap_add"),
        cap_drop: f.strings("cap_drop"),
        cgroup_parent: f.string("cgroup_parent"),
        cgroup: f.string("cgroup"),
        cpu_count: f.int("cpu_count"),
        cpu_percent: f.float("cpu_percent"),
        cpu_period: f.int("cpu_period"),
        cpu_quota: f.int("cpu_quota"),
        cpu_rt_period: f.int("cpu_rt_period"),
        cpu_rt_runtime: f.int("cpu_rt_runtime"),
        cpus: f.float("cpus"),
        cpuset: f.string("cpuset"),
        cpu_shares: f.int("cpu_shares"),
        command: f.command("command"),
        configs: f.list("configs", file_reference),
        container_name: f.string("container_name"),
        credential_spec: f.one("credential_spec", credential_spec),
        depends_on: f.named("depends_on", |_, n| dependency(n)),
        deploy: f.one("deploy", deploy),
        device_cgroup_rules: f.strings("device_cgroup_rules"),
        devices: f.list("devices", device),
        dns: f.strings("dns"),
        dns_opt: f.strings("dns_opt"),
        dns_search: f.strings("dns_search"),
        dockerfile: String::new(),
        domainname: f.string("domainname"),
        entrypoint: f.command("entrypoint"),
        provider: f.one("provider", provider),
        environment: f.options("environment"),
        env_file: f.list("env_file", env_file),
        expose: f.strings("expose"),
        extends: f.one("extends", extends),
        external_links: f.strings("external_links"),
        extra_hosts: f.hosts("extra_hosts"),
        group_add: f.strings("group_add"),
        gpus: f.list("gpus", device_request),
        hostname: f.string("hostname"),
        healthcheck: f.one("healthcheck", healthcheck),
        image: f.string("image"),
        init: f.option_flag("init"),
        ipc: f.string("ipc"),
        isolation: f.string("isolation"),
        labels: f.map("labels"),
        label_files: f.strings("label_file"),
        links: f.strings("links"),
        logging: f.one("logging", logging),
        log_driver: String::new(),
        log_opt: StringMap::new(),
        mem_limit: f.bytes("mem_limit"),
        mem_reservation: f.bytes("mem_reservation"),
        memswap_limit: f.bytes("memswap_limit"),
        mem_swappiness: f.bytes("mem_swappiness"),
        mac_address: f.string("mac_address"),
        models: f.named("models", |_, n| (n.value != Value::Null).then(|| service_model(n))),
        net: String::new(),
        network_mode: f.string("network_mode"),
        networks: f.named("networks", |_, n| (n.value != Value::Null).then(|| service_network(n))),
        oom_kill_disable: f.flag("oom_kill_disable"),
        oom_score_adj: f.int("oom_score_adj"),
        pid: f.string("pid"),
        pids_limit: f.int("pids_limit"),
        platform: f.string("platform"),
        ports: f.list("ports", port),
        privileged: f.flag("privileged"),
        pull_policy: f.string("pull_policy"),
        read_only: f.flag("read_only"),
        restart: f.string("restart"),
        runtime: f.string("runtime"),
        scale: f.option_int("scale"),
        secrets: f.list("secrets", file_reference),
        security_opt: f.strings("security_opt"),
        shm_size: f.bytes("shm_size"),
        stdin_open: f.flag("stdin_open"),
        stop_grace_period: f.duration("stop_grace_period"),
        stop_signal: f.string("stop_signal"),
        storage_opt: f.map("storage_opt"),
        sysctls: f.map("sysctls"),
        tmpfs: f.strings("tmpfs"),
        tty: f.flag("tty"),
        ulimits: f.named("ulimits", |_, n| ulimit(n)),
        use_api_socket: f.flag("use_api_socket"),
        user: f.string("user"),
        userns_mode: f.string("userns_mode"),
        uts: f.string("uts"),
        volume_driver: String::new(),
        volumes: f.list("volumes", mount),
        volumes_from: f.strings("volumes_from"),
        working_dir: f.string("working_dir"),
        post_start: f.list("post_start", hook),
        pre_stop: f.list("pre_stop", hook),
        extensions: f.extensions(),
    }
}

fn build(node: &Node) -> Build {
    let f = Fields::of(node);
    Build {
        context: f.string("context"),
        dockerfile: f.string("dockerfile"),
        dockerfile_inline: f.string("dockerfile_inline"),
        entitlements: f.strings("entitlements"),
        args: f.options("args"),
        provenance: f.string("provenance"),
        sbom: f.string("sbom"),
        ssh: f.map("ssh"),
        labels: f.map("labels"),
        cache_from: f.strings("cache_from"),
        cache_to: f.strings("cache_to"),
        no_cache: f.flag("no_cache"),
        no_cache_filter: f.strings("no_cache_filter"),
        additional_contexts: f.map("additional_contexts"),
        pull: f.flag("pull"),
        extra_hosts: f.hosts("extra_hosts"),
        isolation: f.string("isolation"),
        network: f.string("network"),
        target: f.string("target"),
        secrets: f.list("secrets", file_reference),
        shm_size: f.bytes("shm_size"),
        tags: f.strings("tags"),
        ulimits: f.named("ulimits", |_, n| ulimit(n)),
        platforms: f.strings("platforms"),
        privileged: f.flag("privileged"),
        extensions: f.extensions(),
    }
}

fn develop(node: &Node) -> Develop {
    let f = Fields::of(node);
    Develop { watch: f.list("watch", trigger), extensions: f.extensions() }
}

fn trigger(node: &Node) -> WatchTrigger {
    let f = Fields::of(node);
    WatchTrigger {
        path: f.string("path"),
        action: f.string("action"),
        target: f.string("target"),
        exec: f.one("exec", hook),
        include: f.strings("include"),
        ignore: f.strings("ignore"),
        initial_sync: f.flag("initial_sync"),
        extensions: f.extensions(),
    }
}

fn hook(node: &Node) -> Hook {
    let f = Fields::of(node);
    Hook {
        command: f.command("command"),
        user: f.string("user"),
        privileged: f.flag("privileged"),
        working_dir: f.string("working_dir"),
        environment: f.options("environment"),
        extensions: f.extensions(),
    }
}

fn blkio(node: &Node) -> BlkioConfig {
    let f = Fields::of(node);
    let limit = |n: &Node| {
        let f = Fields::of(n);
        ThrottleDevice { path: f.string("path"), rate: f.bytes("rate"), extensions: f.extensions() }
    };
    let weight = |f: &Fields<'_>| u16::try_from(f.int("weight")).unwrap_or(0);
    BlkioConfig {
        weight: weight(&f),
        weight_device: f.list("weight_device", |n| {
            let f = Fields::of(n);
            WeightDevice { path: f.string("path"), weight: weight(&f), extensions: f.extensions() }
        }),
        device_read_bps: f.list("device_read_bps", limit),
        device_read_iops: f.list("device_read_iops", limit),
        device_write_bps: f.list("device_write_bps", limit),
        device_write_iops: f.list("device_write_iops", limit),
        extensions: f.extensions(),
    }
}

fn file_reference(node: &Node) -> FileReference {
    let f = Fields::of(node);
    FileReference {
        source: f.string("source"),
        target: f.string("target"),
        uid: f.string("uid"),
        gid: f.string("gid"),
        mode: f.node("mode").and_then(scalar::mode),
        extensions: f.extensions(),
    }
}

fn credential_spec(node: &Node) -> CredentialSpec {
    let f = Fields::of(node);
    CredentialSpec { config: f.string("config"), file: f.string("file"), registry: f.string("registry"), extensions: f.extensions() }
}

fn dependency(node: &Node) -> Dependency {
    let f = Fields::of(node);
    Dependency {
        condition: match f.string("condition").as_str() {
            "service_healthy" => Condition::Healthy,
            "service_completed_successfully" => Condition::Completed,
            _ => Condition::Started,
        },
        restart: f.flag("restart"),
        required: f.option_flag("required").unwrap_or(true),
        extensions: f.extensions(),
    }
}

fn deploy(node: &Node) -> Deploy {
    let f = Fields::of(node);
    Deploy {
        mode: f.string("mode"),
        replicas: f.option_int("replicas"),
        labels: f.map("labels"),
        update_config: f.one("update_config", update),
        rollback_config: f.one("rollback_config", update),
        resources: f.one("resources", resources).unwrap_or_default(),
        restart_policy: f.one("restart_policy", restart_policy),
        placement: f.one("placement", placement).unwrap_or_default(),
        endpoint_mode: f.string("endpoint_mode"),
        extensions: f.extensions(),
    }
}

fn update(node: &Node) -> UpdateConfig {
    let f = Fields::of(node);
    UpdateConfig {
        parallelism: f.unsigned("parallelism"),
        delay: f.duration("delay").unwrap_or_default(),
        failure_action: f.string("failure_action"),
        monitor: f.duration("monitor").unwrap_or_default(),
        max_failure_ratio: f.float("max_failure_ratio"),
        order: f.string("order"),
        extensions: f.extensions(),
    }
}

fn resources(node: &Node) -> Resources {
    let f = Fields::of(node);
    Resources { limits: f.one("limits", resource), reservations: f.one("reservations", resource), extensions: f.extensions() }
}

fn resource(node: &Node) -> Resource {
    let f = Fields::of(node);
    Resource {
        cpus: f.float("cpus"),
        memory: f.bytes("memory"),
        pids: f.int("pids"),
        devices: f.list("devices", device_request),
        generic_resources: f.list("generic_resources", |n| {
            let f = Fields::of(n);
            GenericResource {
                discrete_resource_spec: f.one("discrete_resource_spec", |n| {
                    let f = Fields::of(n);
                    DiscreteResource { kind: f.string("kind"), value: f.int("value"), extensions: f.extensions() }
                }),
                extensions: f.extensions(),
            }
        }),
        extensions: f.extensions(),
    }
}

fn device_request(node: &Node) -> DeviceRequest {
    let f = Fields::of(node);
    DeviceRequest {
        capabilities: f.strings("capabilities"),
        driver: f.string("driver"),
        count: f.node("count").and_then(scalar::count).unwrap_or(0),
        device_ids: f.strings("device_ids"),
        options: f.map("options"),
    }
}

fn restart_policy(node: &Node) -> DeployRestartPolicy {
    let f = Fields::of(node);
    DeployRestartPolicy {
        condition: f.string("condition"),
        delay: f.duration("delay"),
        max_attempts: f.unsigned("max_attempts"),
        window: f.duration("window"),
        extensions: f.extensions(),
    }
}

fn placement(node: &Node) -> Placement {
    let f = Fields::of(node);
    Placement {
        constraints: f.strings("constraints"),
        preferences: f.list("preferences", |n| {
            let f = Fields::of(n);
            PlacementPreference { spread: f.string("spread"), extensions: f.extensions() }
        }),
        max_replicas_per_node: f.unsigned("max_replicas_per_node").unwrap_or(0),
        extensions: f.extensions(),
    }
}

fn device(node: &Node) -> DeviceMapping {
    let f = Fields::of(node);
    DeviceMapping { source: f.string("source"), target: f.string("target"), permissions: f.string("permissions"), extensions: f.extensions() }
}

fn provider(node: &Node) -> Provider {
    let f = Fields::of(node);
    Provider { kind: f.string("type"), options: provided(f.named("options", |_, n| strings(n))), extensions: f.extensions() }
}

/// An option of no values is none.
fn provided(mut options: BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    options.retain(|_, values| !values.is_empty());
    options
}

fn env_file(node: &Node) -> EnvFile {
    let f = Fields::of(node);
    EnvFile { path: f.string("path"), required: f.option_flag("required").unwrap_or(true), format: f.string("format") }
}

fn extends(node: &Node) -> Extends {
    let f = Fields::of(node);
    Extends { file: f.string("file"), service: f.string("service") }
}

fn healthcheck(node: &Node) -> Healthcheck {
    let f = Fields::of(node);
    Healthcheck {
        test: f.strings("test"),
        timeout: f.duration("timeout"),
        interval: f.duration("interval"),
        retries: f.unsigned("retries"),
        start_period: f.duration("start_period"),
        start_interval: f.duration("start_interval"),
        disable: f.flag("disable"),
        extensions: f.extensions(),
    }
}

fn logging(node: &Node) -> Logging {
    let f = Fields::of(node);
    Logging { driver: f.string("driver"), options: f.map("options"), extensions: f.extensions() }
}

fn service_model(node: &Node) -> ServiceModel {
    let f = Fields::of(node);
    ServiceModel { endpoint_variable: f.string("endpoint_var"), model_variable: f.string("model_var"), extensions: f.extensions() }
}

fn service_network(node: &Node) -> ServiceNetwork {
    let f = Fields::of(node);
    ServiceNetwork {
        aliases: f.strings("aliases"),
        driver_opts: f.map("driver_opts"),
        gw_priority: f.int("gw_priority"),
        interface_name: f.string("interface_name"),
        ipv4_address: f.string("ipv4_address"),
        ipv6_address: f.string("ipv6_address"),
        link_local_ips: f.strings("link_local_ips"),
        mac_address: f.string("mac_address"),
        priority: f.int("priority"),
        extensions: f.extensions(),
    }
}

fn port(node: &Node) -> Port {
    let f = Fields::of(node);
    Port {
        name: f.string("name"),
        mode: f.string("mode"),
        host_ip: f.string("host_ip"),
        target: u32::try_from(f.int("target")).unwrap_or(0),
        published: f.string("published"),
        protocol: f.string("protocol"),
        app_protocol: f.string("app_protocol"),
        extensions: f.extensions(),
    }
}

fn ulimit(node: &Node) -> Ulimit {
    let f = Fields::of(node);
    match f.0 {
        Some(_) => Ulimit::Pair { soft: f.int("soft"), hard: f.int("hard") },
        None => Ulimit::Single(scalar::integer(node).unwrap_or(0)),
    }
}

fn mount(node: &Node) -> Mount {
    let f = Fields::of(node);
    Mount {
        kind: match f.string("type").as_str() {
            "bind" => MountType::Bind,
            "tmpfs" => MountType::Tmpfs,
            "npipe" => MountType::Npipe,
            "cluster" => MountType::Cluster,
            "image" => MountType::Image,
            _ => MountType::Volume,
        },
        source: f.string("source"),
        target: f.string("target"),
        read_only: f.flag("read_only"),
        consistency: f.string("consistency"),
        bind: f.one("bind", |n| {
            let f = Fields::of(n);
            BindOptions {
                selinux: f.string("selinux"),
                propagation: f.string("propagation"),
                create_host_path: f.flag("create_host_path"),
                recursive: f.string("recursive"),
                extensions: f.extensions(),
            }
        }),
        volume: f.one("volume", |n| {
            let f = Fields::of(n);
            VolumeOptions { labels: f.map("labels"), nocopy: f.flag("nocopy"), subpath: f.string("subpath"), extensions: f.extensions() }
        }),
        tmpfs: f.one("tmpfs", |n| {
            let f = Fields::of(n);
            TmpfsOptions { size: f.bytes("size"), mode: f.node("mode").and_then(scalar::mode).unwrap_or(0), extensions: f.extensions() }
        }),
        image: f.one("image", |n| {
            let f = Fields::of(n);
            ImageOptions { subpath: f.string("subpath"), extensions: f.extensions() }
        }),
        extensions: f.extensions(),
    }
}

fn network(node: &Node) -> Network {
    let f = Fields::of(node);
    Network {
        name: f.string("name"),
        driver: f.string("driver"),
        driver_opts: f.map("driver_opts"),
        ipam: f.one("ipam", ipam).unwrap_or_default(),
        external: f.flag("external"),
        internal: f.flag("internal"),
        attachable: f.flag("attachable"),
        labels: f.map("labels"),
        enable_ipv4: f.option_flag("enable_ipv4"),
        enable_ipv6: f.option_flag("enable_ipv6"),
        extensions: f.extensions(),
    }
}

fn ipam(node: &Node) -> Ipam {
    let f = Fields::of(node);
    Ipam {
        driver: f.string("driver"),
        pools: f.list("config", |n| {
            let f = Fields::of(n);
            IpamPool {
                subnet: f.string("subnet"),
                gateway: f.string("gateway"),
                ip_range: f.string("ip_range"),
                aux_addresses: f.map("aux_addresses"),
                extensions: f.extensions(),
            }
        }),
        options: f.map("options"),
        extensions: f.extensions(),
    }
}

fn volume(node: &Node) -> Volume {
    let f = Fields::of(node);
    Volume {
        name: f.string("name"),
        driver: f.string("driver"),
        driver_opts: f.map("driver_opts"),
        external: f.flag("external"),
        labels: f.map("labels"),
        extensions: f.extensions(),
    }
}

fn secret(node: &Node) -> Secret {
    let f = Fields::of(node);
    Secret {
        name: f.string("name"),
        file: f.string("file"),
        environment: f.string("environment"),
        external: f.flag("external"),
        labels: f.map("labels"),
        driver: f.string("driver"),
        driver_opts: f.map("driver_opts"),
        template_driver: f.string("template_driver"),
        extensions: f.extensions(),
    }
}

fn config(node: &Node) -> Config {
    let f = Fields::of(node);
    Config {
        name: f.string("name"),
        file: f.string("file"),
        environment: f.string("environment"),
        content: f.string("content"),
        external: f.flag("external"),
        labels: f.map("labels"),
        driver: f.string("driver"),
        driver_opts: f.map("driver_opts"),
        template_driver: f.string("template_driver"),
        extensions: f.extensions(),
    }
}

fn model(node: &Node) -> Model {
    let f = Fields::of(node);
    Model {
        name: f.string("name"),
        model: f.string("model"),
        context_size: f.int("context_size"),
        runtime_flags: f.strings("runtime_flags"),
        extensions: f.extensions(),
    }
}
