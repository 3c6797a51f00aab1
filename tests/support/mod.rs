//! What several test files share.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part")]

#[cfg(all(feature = "embedded", target_os = "linux"))]
pub mod embedded;

use consort::world::{ConfigHash, ContainerSpec, EndpointSpec, InstanceKey, MountKind, MountSpec, NetworkMode, PortSpec, label};
use std::collections::BTreeMap;
use std::io::Write;

/// The value of a variable of the test's own environment.
#[expect(clippy::disallowed_methods, reason = "tests learn from the environment which engines there are")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// The whole environment of the test.
#[expect(clippy::disallowed_methods, reason = "engines look for their clients' configuration there")]
pub fn all_environment() -> BTreeMap<String, String> {
    std::env::vars().collect()
}

/// Whether a missing engine is a failure (`CONSORT_TEST_ENGINES=required`) rather than skipped.
pub fn engines_required() -> bool {
    environment("CONSORT_TEST_ENGINES").is_some_and(|v| v == "required")
}

/// Writes a line to standard output past the test harness, which would keep it to itself when the test passes.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody is there to be told.
    let _ = writeln!(out, "{text}");
}

/// A container of `project` that does nothing special: fill in what the test is about.
pub fn container(project: &str, service: &str, number: u32, image: &str) -> ContainerSpec {
    let labels = [
        (label::PROJECT, project.to_owned()),
        (label::SERVICE, service.to_owned()),
        (label::CONTAINER_NUMBER, number.to_string()),
        (label::ONEOFF, "False".to_owned()),
    ];
    let key = InstanceKey { service: service.to_owned(), number };
    ContainerSpec {
        labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        network_mode: NetworkMode::None,
        ..ContainerSpec::new(format!("{project}-{service}-{number}"), key, image, ConfigHash::Known("0".repeat(64)))
    }
}

/// A place on the network `name` with these aliases.
pub fn endpoint(name: &str, aliases: &[&str]) -> EndpointSpec {
    EndpointSpec { network: name.to_owned(), aliases: aliases.iter().map(|a| (*a).to_owned()).collect(), ..EndpointSpec::default() }
}

/// A mount of the volume `name`, or of an anonymous one.
pub fn volume(name: Option<&str>, target: &str) -> MountSpec {
    let kind = MountKind::Volume { name: name.map(str::to_owned), nocopy: false, subpath: String::new(), labels: BTreeMap::new(), inherited: false };
    MountSpec { kind, target: target.to_owned(), read_only: false, consistency: String::new() }
}

/// A mount of a path of the host.
pub fn bind(source: &str, target: &str, create_host_path: bool) -> MountSpec {
    let kind =
        MountKind::Bind { source: source.to_owned(), create_host_path, propagation: String::new(), selinux: String::new(), recursive: String::new() };
    MountSpec { kind, target: target.to_owned(), read_only: false, consistency: String::new() }
}

/// A published port.
pub fn port(target: u16, host_ip: &str, published: &str) -> PortSpec {
    PortSpec { target, protocol: "tcp".into(), host_ip: host_ip.into(), published: published.into() }
}
