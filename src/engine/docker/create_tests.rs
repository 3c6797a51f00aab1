//! Create bodies, word for word.

use super::*;
use crate::units::Duration;
use crate::world::{DeviceRequestSpec, DeviceSpec, InstanceKey, LogSpec, PortSpec, SecuritySpec, UlimitSpec};
use serde_json::{Value, json};

fn plain(name: &str) -> ContainerSpec {
    let key = InstanceKey { service: "web".to_owned(), number: 1 };
    ContainerSpec::new(name, key, "nginx:alpine", ConfigHash::Known("cafe".to_owned()))
}

fn mount(kind: MountKind, target: &str, read_only: bool) -> MountSpec {
    MountSpec { kind, target: target.to_owned(), read_only, consistency: String::new() }
}

fn bind(source: &str, create: bool, propagation: &str, selinux: &str, recursive: &str) -> MountKind {
    MountKind::Bind {
        source: source.to_owned(),
        create_host_path: create,
        propagation: propagation.to_owned(),
        selinux: selinux.to_owned(),
        recursive: recursive.to_owned(),
    }
}

fn volume(name: Option<&str>, nocopy: bool, subpath: &str, inherited: bool) -> MountKind {
    MountKind::Volume { name: name.map(str::to_owned), nocopy, subpath: subpath.to_owned(), labels: BTreeMap::new(), inherited }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|v| (*v).to_owned()).collect()
}

fn docker() -> Quirks {
    Quirks::default()
}

fn body(spec: &ContainerSpec, api: Api) -> Value {
    serde_json::to_value(container(spec, api, docker()).unwrap().body).unwrap()
}

#[test]
fn a_plain_container_says_no_more_than_it_must() {
    let want = json!({
        "AttachStdin": false, "AttachStdout": true, "AttachStderr": true, "Image": "nginx:alpine",
        "Labels": {"com.docker.compose.config-hash": "cafe"}, "HostConfig": {"NetworkMode": "none"},
    });
    assert_eq!(body(&plain("a"), Api(1, 51)), want);
}

#[test]
fn every_key_has_its_place() {
    let spec = ContainerSpec {
        labels: map(&[("x", "y")]),
        annotations: map(&[("a.b", "c")]),
        entrypoint: Some(strings(&["/entry"])),
        command: Some(strings(&["nginx", "-g"])),
        environment: BTreeMap::from([("A".to_owned(), Some("1".to_owned())), ("B".to_owned(), None)]),
        working_dir: "/tmp".to_owned(),
        user: "0:0".to_owned(),
        hostname: "webhost".to_owned(),
        domainname: "example.org".to_owned(),
        tty: true,
        stdin_open: true,
        stop_signal: "SIGUSR1".to_owned(),
        stop_timeout: Some(7),
        healthcheck: Some(HealthcheckSpec {
            test: strings(&["CMD", "true"]),
            interval: Some(Duration::from_secs(5)),
            timeout: Some(Duration::from_secs(3)),
            start_period: Some(Duration::from_secs(2)),
            start_interval: Some(Duration::from_secs(1)),
            retries: Some(4),
        }),
        expose: strings(&["99", "100/udp"]),
        ports: vec![
            PortSpec { target: 80, protocol: "tcp".to_owned(), host_ip: String::new(), published: "18090".to_owned() },
            PortSpec { target: 80, protocol: "tcp".to_owned(), host_ip: "127.0.0.1".to_owned(), published: String::new() },
        ],
        tmpfs: map(&[("/run3", "size=10m")]),
        volumes_from: strings(&["c0ffee:ro"]),
        dns: strings(&["1.1.1.1"]),
        dns_options: strings(&["ndots:2"]),
        dns_search: strings(&["ex.org"]),
        extra_hosts: strings(&["h:10.0.0.1"]),
        restart: RestartPolicy::OnFailure(4),
        init: Some(true),
        log: Some(LogSpec { driver: "json-file".to_owned(), options: map(&[("max-size", "1m")]) }),
        resources: ResourceSpec {
            nano_cpus: 500_000_000,
            cpuset: "0".to_owned(),
            cpu_shares: 100,
            memory: 67_108_864,
            memory_reservation: 33_554_432,
            memory_swap: 134_217_728,
            memory_swappiness: Some(10),
            pids: 100,
            shm_size: 33_554_432,
            oom_score_adj: 100,
            ulimits: vec![UlimitSpec { name: "nofile".to_owned(), soft: 100, hard: 200 }],
            blkio_weight: 300,
            blkio_read_bps: vec![("/dev/null".to_owned(), 1_048_576)],
            devices: vec![
                DeviceSpec { source: "/dev/null".to_owned(), target: "/dev/x".to_owned(), permissions: String::new() },
                DeviceSpec { source: "vendor.com/gpu=all".to_owned(), target: "vendor.com/gpu=all".to_owned(), permissions: String::new() },
            ],
            device_cgroup_rules: strings(&["c 1:3 mr"]),
            device_requests: vec![DeviceRequestSpec { capabilities: strings(&["gpu"]), count: -1, ..DeviceRequestSpec::default() }],
            ..ResourceSpec::default()
        },
        security: SecuritySpec {
            cap_add: strings(&["NET_ADMIN"]),
            options: strings(&["no-new-privileges:true"]),
            unconfined_paths: true,
            group_add: strings(&["10"]),
            sysctls: map(&[("net.core.somaxconn", "1024")]),
            pid: "host".to_owned(),
            ipc: "shareable".to_owned(),
            cgroup: "host".to_owned(),
            cgroup_parent: "/p".to_owned(),
            ..SecuritySpec::default()
        },
        ..plain("p-web-1")
    };
    let want = r#"{
        "Hostname": "webhost", "Domainname": "example.org", "User": "0:0", "AttachStdin": false, "AttachStdout": true, "AttachStderr": true,
        "ExposedPorts": {"99/tcp": {}, "100/udp": {}, "80/tcp": {}}, "Tty": true, "OpenStdin": true, "Env": ["A=1", "B"], "Cmd": ["nginx", "-g"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5000000000, "Timeout": 3000000000, "Retries": 4,
            "StartPeriod": 2000000000, "StartInterval": 1000000000},
        "Image": "nginx:alpine", "WorkingDir": "/tmp", "Entrypoint": ["/entry"], "Labels": {"x": "y", "com.docker.compose.config-hash": "cafe"},
        "StopSignal": "SIGUSR1", "StopTimeout": 7,
        "HostConfig": {
            "CpuShares": 100, "Memory": 67108864, "CgroupParent": "/p", "BlkioWeight": 300,
            "BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1048576}], "CpusetCpus": "0",
            "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}], "DeviceCgroupRules": ["c 1:3 mr"],
            "DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}, {"Driver": "cdi", "DeviceIDs": ["vendor.com/gpu=all"]}],
            "MemoryReservation": 33554432, "MemorySwap": 134217728, "MemorySwappiness": 10, "NanoCpus": 500000000, "Init": true,
            "PidsLimit": 100, "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}], "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "NetworkMode": "none",
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "18090"}, {"HostIp": "127.0.0.1", "HostPort": ""}]},
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 4}, "VolumesFrom": ["c0ffee:ro"], "Annotations": {"a.b": "c"},
            "CapAdd": ["NET_ADMIN"], "CgroupnsMode": "host", "Dns": ["1.1.1.1"], "DnsOptions": ["ndots:2"], "DnsSearch": ["ex.org"],
            "ExtraHosts": ["h:10.0.0.1"], "GroupAdd": ["10"], "IpcMode": "shareable", "OomScoreAdj": 100, "PidMode": "host",
            "SecurityOpt": ["no-new-privileges:true"], "Tmpfs": {"/run3": "size=10m"}, "ShmSize": 33554432,
            "Sysctls": {"net.core.somaxconn": "1024"}, "MaskedPaths": [], "ReadonlyPaths": []
        }
    }"#;
    let want: Value = serde_json::from_str(want).unwrap();
    assert_eq!(body(&spec, Api(1, 51)), want);
}

#[test]
fn mounts_are_binds_where_that_says_all() {
    let spec = ContainerSpec {
        mounts: vec![
            mount(bind("/tmp", true, "", "z", ""), "/host", true),
            mount(volume(Some("p_data"), false, "", false), "/data", false),
            mount(volume(None, false, "", false), "/anon", false),
            mount(volume(Some("p_data"), true, "sub", false), "/d2", false),
            mount(volume(Some("0a1b2c"), false, "", true), "/kept", false),
            mount(bind("/etc", true, "rslave", "", "readonly"), "/e", true),
            mount(bind("/etc", false, "", "", ""), "/e2", false),
            mount(bind("/odd:path", true, "", "", ""), "/e3", false),
            mount(MountKind::Tmpfs { size: 1_000_000, mode: 0o700 }, "/tm", false),
            mount(MountKind::Image { reference: "busybox".to_owned(), subpath: "bin".to_owned() }, "/img", false),
        ],
        ..plain("a")
    };
    let body = body(&spec, Api(1, 51));
    assert_eq!(body["HostConfig"]["Binds"], json!(["/tmp:/host:ro,z", "p_data:/data:rw"]));
    let want = json!([
        {"Target": "/anon", "Type": "volume"},
        {"Target": "/d2", "Source": "p_data", "Type": "volume", "VolumeOptions": {"NoCopy": true, "Subpath": "sub"}},
        {"Target": "/kept", "Source": "0a1b2c", "Type": "volume"},
        {"Target": "/e", "Source": "/etc", "Type": "bind", "ReadOnly": true,
            "BindOptions": {"Propagation": "rslave", "CreateMountpoint": true, "ReadOnlyForceRecursive": true}},
        {"Target": "/e2", "Source": "/etc", "Type": "bind", "BindOptions": {}},
        {"Target": "/e3", "Source": "/odd:path", "Type": "bind", "BindOptions": {"CreateMountpoint": true}},
        {"Target": "/tm", "Type": "tmpfs", "TmpfsOptions": {"SizeBytes": 1_000_000, "Mode": 0o700}},
        {"Target": "/img", "Source": "busybox", "Type": "image", "ImageOptions": {"Subpath": "bin"}},
    ]);
    assert_eq!(body["HostConfig"]["Mounts"], want);
}

#[test]
fn older_engines_get_one_network_at_create() {
    let front = EndpointSpec {
        network: "p_front".to_owned(),
        aliases: strings(&["p-web-1", "web"]),
        links: strings(&["p-db-1:db"]),
        ipv4: "10.9.0.5".to_owned(),
        mac_address: "02:42:ac:11:00:05".to_owned(),
        interface_name: "eth7".to_owned(),
        gateway_priority: 3,
        ..EndpointSpec::default()
    };
    let back = EndpointSpec { network: "p_back".to_owned(), ..EndpointSpec::default() };
    let spec = ContainerSpec { networks: vec![front, back], external_links: strings(&["other"]), ..plain("a") };
    let endpoint = json!({
        "IPAMConfig": {"IPv4Address": "10.9.0.5"}, "Links": ["p-db-1:db", "other:other"], "MacAddress": "02:42:ac:11:00:05",
        "Aliases": ["p-web-1", "web"], "DriverOpts": {"com.docker.network.endpoint.ifname": "eth7"}, "GwPriority": 3,
    });
    let new = body(&spec, Api(1, 51));
    assert_eq!(new["NetworkingConfig"]["EndpointsConfig"], json!({"p_front": endpoint, "p_back": {"Links": ["other:other"]}}));
    assert_eq!((&new["HostConfig"]["NetworkMode"], new.get("MacAddress")), (&json!("p_front"), None));

    let old = container(&spec, Api(1, 41), docker()).unwrap();
    assert_eq!(old.later.iter().map(|e| e.network.as_str()).collect::<Vec<_>>(), ["p_back"]);
    let old = serde_json::to_value(old.body).unwrap();
    assert_eq!(old["MacAddress"], "02:42:ac:11:00:05");
    assert_eq!(old["NetworkingConfig"]["EndpointsConfig"].as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(old["NetworkingConfig"]["EndpointsConfig"]["p_front"].get("MacAddress"), None);
}

#[test]
fn unknown_words_and_unfinished_hashes_are_refused() {
    let spec = ContainerSpec { isolation: "bubble".to_owned(), ..plain("a") };
    assert_eq!(container(&spec, Api(1, 51), docker()).unwrap_err().kind, ErrorKind::Refused);
    let spec = ContainerSpec { config_hash: ConfigHash::Pending("{}".to_owned()), ..plain("a") };
    assert_eq!(container(&spec, Api(1, 51), docker()).unwrap_err().kind, ErrorKind::Refused);
}

#[test]
fn networks_and_volumes_say_no_more_than_they_must() {
    let spec = NetworkSpec { name: "p_default".to_owned(), labels: map(&[("a", "b")]), ..NetworkSpec::default() };
    assert_eq!(serde_json::to_value(network(&spec)).unwrap(), json!({"Name": "p_default", "Labels": {"a": "b"}}));
    let pool = crate::world::IpamPoolSpec { subnet: "10.9.0.0/24".to_owned(), aux_addresses: map(&[("x", "10.9.0.2")]), ..Default::default() };
    let spec = NetworkSpec { name: "n".to_owned(), pools: vec![pool], ipv6: Some(false), internal: true, ..NetworkSpec::default() };
    let want = json!({"Name": "n", "Internal": true, "EnableIPv6": false,
        "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "AuxiliaryAddresses": {"x": "10.9.0.2"}}]}});
    assert_eq!(serde_json::to_value(network(&spec)).unwrap(), want);
    let spec = VolumeSpec { name: "p_v".to_owned(), driver_options: map(&[("type", "tmpfs")]), ..VolumeSpec::default() };
    assert_eq!(serde_json::to_value(super::volume(&spec)).unwrap(), json!({"Name": "p_v", "DriverOpts": {"type": "tmpfs"}}));
}
