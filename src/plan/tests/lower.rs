//! What a service becomes: names, labels, networks, mounts, limits.

use super::super::lower::{self, Parent, Setting};
use super::*;
use crate::digest::sha256;
use crate::model::{
    BindOptions, Deploy, DeployRestartPolicy, DeviceMapping, FileReference, Logging, Resource, Resources, Secret, ServiceNetwork, Ulimit,
};
use crate::units::{Bytes, Duration};
use crate::world::{ConfigHash, ContainerSpec, MountKind, NetworkMode, RestartPolicy, label};
use std::collections::BTreeMap;

fn spec_in(project: &Project, name: &str, parents: &[(&'static str, &str, Option<&str>)]) -> ContainerSpec {
    let parents: BTreeMap<&str, Parent> =
        parents.iter().map(|(of, name, id)| (*of, Parent { name: (*name).into(), id: id.map(str::to_owned) })).collect();
    let setting = Setting { project, parents: &parents, image_id: Some("sha256:abc") };
    let service = &project.services[name];
    lower::container(&setting, service, 2, lower::config_hash(&setting, service))
}

fn spec(service: Service) -> ContainerSpec {
    let name = service.name.clone();
    spec_in(&project([service]), &name, &[])
}

#[test]
fn labels_are_the_references() {
    let web = svc("web").started("db").with(|s| {
        _ = s.labels.insert("mine".into(), "yes".into());
        _ = s.labels.insert(label::SERVICE.into(), "forged".into());
        _ = s.depends_on.insert("cache".into(), Dependency { condition: Condition::Healthy, restart: true, ..Dependency::default() });
    });
    let project = project([web]).with(|p| {
        p.files = vec!["/p/a.yaml".into(), "/p/b.yaml".into()];
        p.env_files = vec!["/p/x.env".into()];
    });
    let spec = spec_in(&project, "web", &[]);
    assert_eq!(spec.name, "p-web-2");
    let labels: Vec<String> = spec.labels.iter().map(|(k, v)| format!("{}={v}", k.replace("com.docker.compose.", "~"))).collect();
    assert_eq!(
        labels,
        [
            "~container-number=2",
            "~depends_on=cache:service_healthy:true,db:service_started:false",
            "~image=sha256:abc",
            "~oneoff=False",
            "~project=p",
            "~project.config_files=/p/a.yaml,/p/b.yaml",
            "~project.environment_file=/p/x.env",
            "~project.working_dir=/p",
            "~service=web",
            &format!("~version={}", env!("CARGO_PKG_VERSION")),
            "mine=yes",
        ]
    );
}

#[test]
fn the_primary_network_comes_first_and_names_are_aliases() {
    let place = |priority, aliases: &[&str]| {
        let aliases = aliases.iter().map(|a| (*a).to_owned()).collect();
        Some(ServiceNetwork { priority, aliases, ipv4_address: "10.0.0.9".into(), ..ServiceNetwork::default() })
    };
    let web = svc("web").with(|s| {
        s.networks = [("a".into(), None), ("z".into(), place(7, &["www", "site"]))].into();
        s.mac_address = "02:42:ac:11:00:01".into();
    });
    let project = project([web]).with(|p| _ = p.networks.insert("z".into(), Network { name: "zone".into(), ..Network::default() }));
    let spec = spec_in(&project, "web", &[]);
    let short: Vec<_> = spec.networks.iter().map(|e| (e.network.as_str(), e.aliases.join(" "), e.ipv4.as_str(), e.mac_address.as_str())).collect();
    assert_eq!(short, [("zone", "p-web-2 web www site".to_owned(), "10.0.0.9", "02:42:ac:11:00:01"), ("p_a", "p-web-2 web".to_owned(), "", "")]);
    assert_eq!(spec.mac_address, "02:42:ac:11:00:01");
}

#[test]
fn links_name_every_container_in_three_ways() {
    let project = project([svc("db").scaled(2), svc("web").with(|s| s.links = vec!["db:store".into()])]);
    assert_eq!(
        spec_in(&project, "web", &[]).networks[0].links,
        ["p-db-1:store", "p-db-1:db-1", "p-db-1:p-db-1", "p-db-2:store", "p-db-2:db-2", "p-db-2:p-db-2"]
    );
}

#[test]
fn network_modes() {
    let mode = |text: &str| spec(svc("web").with(|s| s.network_mode = text.into()));
    assert_eq!(mode("none").network_mode, NetworkMode::None);
    assert_eq!(mode("host").network_mode, NetworkMode::Host);
    assert_eq!(mode("bridge").network_mode, NetworkMode::Other("bridge".into()));
    assert_eq!(mode("container:x").network_mode, NetworkMode::Container("x".into()));
    assert!(mode("host").networks.is_empty());
    assert_eq!(spec(svc("web")).network_mode, NetworkMode::Networks);
}

#[test]
fn shared_namespaces_are_hashed_with_ids_as_soon_as_there_are_any() {
    let app = svc("app").in_network_of("vpn").with(|s| {
        s.pid = "service:vpn".into();
        s.volumes_from = vec!["vpn:ro".into(), "container:other:ro".into()];
    });
    let project = project([svc("vpn"), app]);
    let mut later = spec_in(&project, "app", &[("vpn", "p-vpn-1", None)]);
    assert_eq!(later.network_mode, NetworkMode::Container("p-vpn-1".into()));
    assert_eq!(later.volumes_from, ["p-vpn-1:ro", "other:ro"]);
    assert!(matches!(later.config_hash, ConfigHash::Pending(_)));
    let now = spec_in(&project, "app", &[("vpn", "p-vpn-1", Some("cafe"))]);
    assert_eq!(now.security.pid, "container:cafe");
    crate::world::bind(&mut later, &|name| (name == "p-vpn-1").then(|| "cafe".into())).unwrap();
    assert_eq!(later, now);
}

#[test]
fn mounts_of_every_kind() {
    let mount = |kind, source: &str, target: &str| Mount { kind, source: source.into(), target: target.into(), ..Mount::default() };
    let web = svc("web").volume("data", "/data").volume("", "/anonymous").with(|s| {
        s.volumes.push(mount(MountType::Bind, "/host", "/made"));
        s.volumes.push(Mount { bind: Some(BindOptions::default()), read_only: true, ..mount(MountType::Bind, "/host", "/strict") });
        s.volumes.push(mount(MountType::Image, "assets", "/assets"));
        s.volumes.push(mount(MountType::Tmpfs, "", "/mem"));
        s.tmpfs = vec!["/run:size=1m".into(), "/tmp".into()];
        s.secrets = vec![FileReference { source: "key".into(), target: "here".into(), mode: Some(0o400), ..FileReference::default() }];
    });
    let project = project([web, svc("assets")]).with(|p| _ = p.secrets.insert("key".into(), Secret { file: "/p/key".into(), ..Secret::default() }));
    let spec = spec_in(&project, "web", &[]);
    let kinds: Vec<String> = spec
        .mounts
        .iter()
        .map(|m| {
            let what = match &m.kind {
                MountKind::Bind { source, create_host_path, .. } => format!("bind {source} create={create_host_path}"),
                MountKind::Volume { name, .. } => format!("volume {}", name.as_deref().unwrap_or("-")),
                MountKind::Image { reference, .. } => format!("image {reference}"),
                other => format!("{other:?}"),
            };
            format!("{} {what} ro={}", m.target, m.read_only)
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "/data volume p_data ro=false",
            "/anonymous volume - ro=false",
            "/made bind /host create=true ro=false",
            "/strict bind /host create=false ro=true",
            "/assets image assets:1 ro=false",
            "/mem Tmpfs { size: 0, mode: 0 } ro=false",
            "/run/secrets/here bind /p/key create=false ro=true",
        ]
    );
    assert_eq!(spec.tmpfs, [("/run".into(), "size=1m".into()), ("/tmp".into(), String::new())].into());
}

#[test]
fn restart_policies() {
    let plain = |text: &str| lower::restart_policy(&svc("a").with(|s| s.restart = text.into()));
    assert_eq!(plain(""), Ok(RestartPolicy::No));
    assert_eq!(plain("no"), Ok(RestartPolicy::No));
    assert_eq!(plain("always"), Ok(RestartPolicy::Always));
    assert_eq!(plain("on-failure:3"), Ok(RestartPolicy::OnFailure(3)));
    assert_eq!(plain("unless-stopped"), Ok(RestartPolicy::UnlessStopped));
    assert_eq!(plain("on-failure:x"), Err("on-failure:x".into()));
    let deploy = |restart: &str, condition: &str, max_attempts| {
        let policy = DeployRestartPolicy { condition: condition.into(), max_attempts, ..DeployRestartPolicy::default() };
        let deploy = Deploy { restart_policy: Some(policy), ..Deploy::default() };
        lower::restart_policy(&svc("a").with(|s| (s.restart, s.deploy) = (restart.into(), Some(deploy))))
    };
    assert_eq!(deploy("always", "on-failure", Some(2)), Ok(RestartPolicy::OnFailure(2)));
    assert_eq!(deploy("always", "none", None), Ok(RestartPolicy::No));
    assert_eq!(deploy("", "any", Some(2)), Ok(RestartPolicy::Always));
    assert_eq!(deploy("", "", None), Ok(RestartPolicy::Always));
    assert_eq!(deploy("no", "", None), Ok(RestartPolicy::No));
}

#[test]
fn limits_of_the_service_and_of_its_deployment() {
    let plain = svc("a").with(|s| {
        (s.cpus, s.mem_limit, s.pids_limit, s.shm_size) = (0.5, Bytes(64), 10, Bytes(7));
        s.ulimits = [("nofile".into(), Ulimit::Pair { soft: 1, hard: 2 }), ("nproc".into(), Ulimit::Single(3))].into();
    });
    let own = spec(plain.clone()).resources;
    assert_eq!(spec(svc("a").with(|s| s.cpus = 0.3)).resources.nano_cpus, 300_000_000);
    assert_eq!((own.nano_cpus, own.memory, own.pids, own.shm_size), (500_000_000, 64, 10, 7));
    assert_eq!(own.ulimits.iter().map(|u| (u.name.as_str(), u.soft, u.hard)).collect::<Vec<_>>(), [("nofile", 1, 2), ("nproc", 3, 3)]);
    let limits = Resource { cpus: 2.0, memory: Bytes(128), pids: 20, ..Resource::default() };
    let reservations = Resource { memory: Bytes(32), ..Resource::default() };
    let resources = Resources { limits: Some(limits), reservations: Some(reservations), ..Resources::default() };
    let deployed = spec(plain.with(|s| s.deploy = Some(Deploy { resources, ..Deploy::default() }))).resources;
    assert_eq!((deployed.nano_cpus, deployed.memory, deployed.pids, deployed.memory_reservation), (2_000_000_000, 128, 20, 32));
}

#[test]
fn devices_by_path_and_by_name() {
    let device = |text: &str| DeviceMapping { source: text.into(), target: text.into(), permissions: "rwm".into(), ..DeviceMapping::default() };
    let spec = spec(svc("a").with(|s| s.devices = vec![device("/dev/null"), device("vendor.com/gpu=all")])).resources;
    assert_eq!(spec.devices.iter().map(|d| d.source.as_str()).collect::<Vec<_>>(), ["/dev/null"]);
    assert_eq!((spec.device_requests[0].driver.as_str(), spec.device_requests[0].device_ids.join(",")), ("cdi", "vendor.com/gpu=all".into()));
}

#[test]
fn the_rest() {
    let web = svc("web").port("8000-8002", 80).port("", 81).with(|s| {
        s.expose = vec!["90".into(), "100-102/udp".into()];
        s.stop_grace_period = Some(Duration(1_500_000_000));
        s.extra_hosts = [("h".into(), vec!["10.0.0.1".into(), "::1".into()])].into();
        s.security_opt = vec!["systempaths=unconfined".into(), "label:disable".into(), "no-new-privileges".into()];
        s.logging = Some(Logging { driver: "none".into(), ..Logging::default() });
    });
    let spec = spec(web);
    assert_eq!(spec.expose, ["90", "100/udp", "101/udp", "102/udp"]);
    assert_eq!(
        spec.ports.iter().map(|p| format!("{}:{}/{}", p.published, p.target, p.protocol)).collect::<Vec<_>>(),
        ["8000-8002:80/tcp", ":81/tcp"]
    );
    assert_eq!(spec.stop_timeout, Some(1));
    assert_eq!(spec.extra_hosts, ["h:10.0.0.1", "h:::1"]);
    assert_eq!((spec.security.unconfined_paths, spec.security.options), (true, vec!["label:disable".to_owned(), "no-new-privileges".into()]));
    assert_eq!(spec.log.unwrap().driver, "none");
}

#[test]
fn a_seccomp_profile_stands_for_its_file() {
    let web = svc("web").with(|s| s.security_opt = vec!["seccomp:./own.json".into(), "seccomp=unconfined".into()]);
    let project = project([web]).with(|p| _ = p.seccomp.insert("./own.json".into(), "{}".into()));
    assert_eq!(spec_in(&project, "web", &[]).security.options, ["seccomp={}", "seccomp=unconfined"]);
}

#[test]
fn the_platform_is_the_services_or_the_environments() {
    let plain = project([svc("a")]).with(|p| _ = p.environment.insert("DOCKER_DEFAULT_PLATFORM".into(), "linux/arm64".into()));
    assert_eq!(spec_in(&plain, "a", &[]).platform.as_deref(), Some("linux/arm64"));
    let own = plain.after(|p| p.services.get_mut("a").unwrap().platform = "linux/amd64".into());
    assert_eq!(spec_in(&own, "a", &[]).platform.as_deref(), Some("linux/amd64"));
    assert_eq!(spec(svc("a")).platform, None);
}

#[test]
fn networks_and_volumes_carry_the_references_labels_and_hashes() {
    let project = project([svc("db").volume("data", "/data")]);
    let network = lower::network_spec(&project, "default", &project.networks["default"]);
    assert_eq!(network.labels[label::CONFIG_HASH], sha256(r#"{"name":"p_default","ipam":{}}"#));
    assert_eq!(network.labels[label::NETWORK], "default");
    let volume = lower::volume_spec(&project, "data", &project.volumes["data"]);
    assert_eq!(volume.labels[label::CONFIG_HASH], sha256(r#"{"name":"p_data","driver":"local"}"#));
    assert_eq!((volume.name.as_str(), volume.labels[label::VOLUME].as_str()), ("p_data", "data"));
}

#[test]
fn a_thousand_containers_are_planned_in_an_instant() {
    let names: Vec<String> = (0..500).map(|i| format!("s{i:03}")).collect();
    let service = |i: usize| {
        let own = svc(&names[i]).checked().scaled(2).volume(&format!("v{i}"), "/data").env("A", "1");
        names[..i].iter().rev().take(3).fold(own, |s, on| s.on(on, Condition::Healthy))
    };
    let project = project((0..500).map(service));
    let mut world = World::of(&project);
    let plan = up(&project, &world);
    assert_eq!(plan.nodes.iter().filter(|n| n.step.verb() == "start").count(), 1000);
    world.carry_out(&plan);
    assert!(up(&project, &world).is_empty());
}
