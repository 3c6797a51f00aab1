//! `config.json`: what a runtime is told. OCI runtime specification 1.0, config.md and config-linux.md.

use super::super::command::Command;
use super::super::device::Node;
use super::super::mounts::Staged;
use super::super::privilege::{self, Options};
use super::super::rootfs;
use super::super::user::User;
use super::super::{child, limit};
use crate::engine::embedded::cgroup::{self, Cgroup, Rule};
use crate::world::{ContainerSpec, EngineError, MountKind, NetworkMode, ResourceSpec};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Everything that it depends on.
pub struct Facts<'a> {
    pub spec: &'a ContainerSpec,
    pub hostname: &'a str,
    pub command: &'a Command,
    pub user: &'a User,
    pub capabilities: privilege::Set,
    pub options: &'a Options,
    pub profile: Option<&'a Value>,
    pub nodes: &'a [Node],
    pub sysctls: &'a [(String, String)],
    pub cgroup: &'a Cgroup,
    /// Namespaces that the container has of its own (`CLONE_NEW…`).
    pub own: libc::c_int,
    pub own_cgroup: bool,
    /// Where the network namespace can be opened; none is that of the host.
    pub network: Option<&'a Path>,
    /// Processes whose namespaces are shared.
    pub pid_of: Option<i32>,
    pub ipc_of: Option<i32>,
    /// What is mounted, in order.
    pub mounts: &'a [Staged],
    /// `/dev/shm` of somebody else.
    pub shm: Option<&'a Path>,
    /// A program for process 1, which starts the command.
    pub init: Option<&'a Path>,
    /// The machine has all limits that were asked for.
    pub limited: bool,
    pub root: &'a Path,
}

/// Where the program of `init: true` is, as with Docker.
const INIT: &str = "/sbin/docker-init";

/// The text of the file.
///
/// # Errors
/// Rules for devices that are none.
pub fn config(facts: &Facts<'_>) -> Result<Vec<u8>, EngineError> {
    let spec = facts.spec;
    let value = json!({
        "ociVersion": "1.0.2",
        "hostname": if facts.own & libc::CLONE_NEWUTS == 0 { "" } else { facts.hostname },
        "annotations": spec.annotations,
        "root": { "path": facts.root, "readonly": spec.security.read_only },
        "process": process(facts),
        "mounts": mounts(facts),
        "linux": linux(facts)?,
    });
    serde_json::to_vec_pretty(&value).map_err(|e| super::super::error::refused("the container can't be described").because(e.to_string()))
}

fn process(facts: &Facts<'_>) -> Value {
    let (spec, command, user) = (facts.spec, facts.command, facts.user);
    let capabilities: Vec<String> = privilege::names(facts.capabilities & privilege::own());
    let mut words = command.words.clone();
    if facts.init.is_some() {
        words.splice(0..0, [INIT.to_owned(), "--".to_owned()]);
    }
    let mut process = json!({
        "terminal": spec.tty,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
        "args": words,
        "env": command.environment,
        "cwd": command.folder,
        "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        "rlimits": limit::given(&spec.resources.ulimits).into_iter()
            .map(|(name, soft, hard)| json!({ "type": format!("RLIMIT_{}", name.to_uppercase()), "soft": soft, "hard": hard }))
            .collect::<Vec<_>>(),
        "noNewPrivileges": facts.options.no_new_privileges,
    });
    if let Some(score) = child::oom_score(spec.resources.oom_score_adj) {
        process["oomScoreAdj"] = score.into();
    }
    if !matches!(facts.options.apparmor.as_str(), "" | "unconfined") {
        process["apparmorProfile"] = facts.options.apparmor.as_str().into();
    }
    process
}

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": target, "type": kind, "source": source, "options": options })
}

fn mounts(facts: &Facts<'_>) -> Vec<Value> {
    let spec = facts.spec;
    let taken = |path: &str| facts.mounts.iter().any(|m| m.target == path || path.strip_prefix(&m.target).is_some_and(|rest| rest.starts_with('/')));
    let read_only = if spec.security.privileged { "rw" } else { "ro" };
    let mut all = Vec::new();
    let mut put = |value: Value| {
        if value["destination"].as_str().is_some_and(|path| !taken(path)) {
            all.push(value);
        }
    };
    put(mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]));
    put(mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]));
    put(mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]));
    put(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    match facts.shm {
        _ if spec.security.ipc == "none" => {}
        Some(shm) => put(mount("/dev/shm", "bind", &shm.to_string_lossy(), &["bind"])),
        None => {
            let size = if spec.resources.shm_size > 0 { format!("size={}", spec.resources.shm_size) } else { "size=65536k".into() };
            put(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]));
        }
    }
    put(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", read_only]));
    put(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", read_only]));
    if let Some(init) = facts.init {
        all.push(mount(INIT, "bind", &init.to_string_lossy(), &["bind", "ro"]));
    }
    for staged in facts.mounts {
        let mut options = vec!["rbind", if staged.propagation.is_empty() { "rprivate" } else { &staged.propagation }];
        options.extend(&staged.restrictions);
        all.push(mount(&staged.target, "bind", &staged.source.to_string_lossy(), &options));
    }
    all
}

fn linux(facts: &Facts<'_>) -> Result<Value, EngineError> {
    let spec = facts.spec;
    let mut namespaces = vec![json!({ "type": "mount" })];
    let mut put = |kind: &str, flag: libc::c_int, path: Option<String>| match path {
        Some(path) => namespaces.push(json!({ "type": kind, "path": path })),
        None if facts.own & flag != 0 => namespaces.push(json!({ "type": kind })),
        None => {}
    };
    let of = |pid: Option<i32>, kind: &str| pid.map(|pid| format!("/proc/{pid}/ns/{kind}"));
    put("pid", libc::CLONE_NEWPID, of(facts.pid_of, "pid"));
    put("ipc", libc::CLONE_NEWIPC, of(facts.ipc_of, "ipc"));
    put("uts", libc::CLONE_NEWUTS, None);
    put("network", 0, facts.network.map(|p| p.to_string_lossy().into_owned()));
    if facts.own_cgroup {
        put("cgroup", libc::c_int::MAX, None);
    }
    let mut sysctls: Map<String, Value> = facts.sysctls.iter().map(|(path, value)| (sysctl(path), value.as_str().into())).collect();
    if !spec.domainname.is_empty() && facts.own & libc::CLONE_NEWUTS != 0 {
        sysctls.insert("kernel.domainname".into(), spec.domainname.as_str().into());
    }
    let mut linux = json!({
        "namespaces": namespaces,
        "cgroupsPath": format!("/{}", facts.cgroup.path()),
        "resources": resources(&spec.resources, spec.security.privileged, facts.limited)?,
        "devices": facts.nodes.iter().map(Node::oci).collect::<Vec<_>>(),
        "sysctl": sysctls,
    });
    if !spec.security.privileged && !facts.options.unconfined_paths {
        linux["maskedPaths"] = rootfs::masked().into();
        linux["readonlyPaths"] = rootfs::FIXED.to_vec().into();
    }
    if let Some(profile) = facts.profile {
        linux["seccomp"] = profile.clone();
    }
    // What is to be told to the host or by it must not be cut off on the way to the container's root.
    let ties: Vec<&str> = facts.mounts.iter().map(|m| m.propagation.as_str()).collect();
    if ties.iter().any(|t| t.ends_with("shared")) {
        linux["rootfsPropagation"] = "shared".into();
    } else if ties.iter().any(|t| t.ends_with("slave")) {
        linux["rootfsPropagation"] = "slave".into();
    }
    Ok(linux)
}

/// `net/ipv4/ip_forward` with dots, unless there are dots in it already.
fn sysctl(path: &str) -> String {
    if path.contains('.') { path.to_owned() } else { path.replace('/', ".") }
}

/// Devices always: a runtime begins with its own list of them. Limits are those that the groups have from us, and said
/// again for runtimes that look at what a container may use; those that only some machines have are ours alone.
fn resources(r: &ResourceSpec, privileged: bool, limited: bool) -> Result<Value, EngineError> {
    let rules = cgroup::device_rules(r, privileged)?;
    let mut devices = Vec::new();
    if !privileged {
        devices.push(json!({ "allow": false, "access": "rwm" }));
    }
    devices.extend(rules.iter().map(device));
    let mut resources = json!({ "devices": devices });
    if !limited {
        return Ok(resources);
    }
    let some = |pairs: &[(&str, i64)]| -> Map<String, Value> {
        pairs.iter().filter(|(_, n)| *n != 0).map(|(name, n)| ((*name).to_owned(), (*n).into())).collect()
    };
    let memory = some(&[("limit", r.memory), ("swap", r.memory_swap), ("reservation", r.memory_reservation)]);
    let (period, quota) = if r.nano_cpus > 0 { (100_000, r.nano_cpus / 10_000) } else { (r.cpu_period, r.cpu_quota) };
    let mut cpu = some(&[("shares", r.cpu_shares), ("period", period), ("quota", quota)]);
    if !r.cpuset.is_empty() {
        cpu.insert("cpus".into(), r.cpuset.as_str().into());
    }
    for (name, values) in [("memory", memory), ("cpu", cpu), ("pids", some(&[("limit", r.pids.max(0))]))] {
        if !values.is_empty() {
            resources[name] = values.into();
        }
    }
    Ok(resources)
}

fn device(rule: &Rule) -> Value {
    let mut value = json!({ "allow": true, "access": rule.access.to_string() });
    if rule.kind != 'a' {
        value["type"] = rule.kind.to_string().into();
    }
    for (name, number) in [("major", rule.major), ("minor", rule.minor)] {
        if let Some(number) = number {
            value[name] = number.into();
        }
    }
    value
}

/// How a mount of the user is tied to the host's: the propagation that it asks for.
pub fn ties(kind: &MountKind) -> &str {
    if let MountKind::Bind { propagation, .. } = kind { propagation } else { "" }
}

/// Whether a container has a network namespace that isn't the host's.
pub fn has_network(spec: &ContainerSpec) -> bool {
    spec.network_mode != NetworkMode::Host
}
