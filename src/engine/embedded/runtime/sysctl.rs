//! Kernel parameters of a container's namespaces.

use super::error::{Told as _, refused};
use super::path::Root;
use crate::world::{ContainerSpec, EngineError, NetworkMode};
use rustix::fs::{Mode, OFlags};

const IPC: [&str; 8] =
    ["kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"];

/// Those of a container, defaults among them, as paths below `/proc/sys`.
///
/// # Errors
/// One that is the whole machine's.
pub fn of(spec: &ContainerSpec) -> Result<Vec<(String, String)>, EngineError> {
    let own_network = !matches!(spec.network_mode, NetworkMode::Host | NetworkMode::Container(_));
    let mut all = Vec::new();
    // Low ports and ping for everybody, as Docker has it: with a network of its own there is nobody to protect.
    for (name, value) in [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")] {
        if own_network && !spec.security.sysctls.contains_key(name) {
            all.push((name.replace('.', "/"), value.to_owned()));
        }
    }
    for (name, value) in &spec.security.sysctls {
        // With slashes, dots are parts of names: net/ipv4/conf/eth0.1/forwarding.
        let path = if name.split(['.', '/']).next().is_some_and(|first| name[first.len()..].starts_with('/')) {
            name.clone()
        } else {
            name.replace('/', "\u{1}").replace('.', "/").replace('\u{1}', ".")
        };
        let dotted = path.replace('/', ".");
        let whose = if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
            (spec.security.ipc != "host").then_some(()).ok_or("the container shares the host's ipc namespace")
        } else if dotted.starts_with("net.") {
            (spec.network_mode != NetworkMode::Host).then_some(()).ok_or("the container shares the host's network")
        } else if dotted == "kernel.domainname" {
            (spec.security.uts != "host").then_some(()).ok_or("the container shares the host's name")
        } else {
            Err("it is the whole machine's")
        };
        if let Err(why) = whose {
            return Err(refused(format!("the kernel parameter `{name}` can't be set for a container: {why}")));
        }
        if path.split('/').any(|part| part == ".." || part.is_empty()) {
            return Err(refused(format!("`{name}` is no kernel parameter")));
        }
        all.push((path, value.clone()));
    }
    Ok(all)
}

/// Sets them. `/proc` must be a fresh one.
///
/// # Errors
/// The kernel refuses, or has no such parameter.
pub fn set(root: &Root, parameters: &[(String, String)], asked: usize) -> Result<(), EngineError> {
    let defaults = parameters.len() - asked.min(parameters.len());
    for (at, (path, value)) in parameters.iter().enumerate() {
        let written = root
            .open(&format!("/proc/sys/{path}"), OFlags::WRONLY, Mode::empty())
            .and_then(|file| rustix::io::write(file, value.as_bytes()))
            .map(drop);
        // A kernel without IPv4 has no defaults for it.
        if at >= defaults {
            written.told(|| format!("the kernel parameter `{}` can't be set to `{value}`", path.replace('/', ".")))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{ConfigHash, InstanceKey};

    fn with(name: &str) -> ContainerSpec {
        let mut spec = ContainerSpec::new("c", InstanceKey { service: "s".into(), number: 1 }, "i", ConfigHash::Known(String::new()));
        spec.security.sysctls = [(name.to_owned(), "1".to_owned())].into();
        spec
    }

    #[test]
    fn whose_they_are() {
        let paths = |spec: &ContainerSpec| of(spec).map(|all| all.into_iter().map(|(path, _)| path).collect::<Vec<_>>());
        assert_eq!(paths(&with("net.core.somaxconn")).map(|p| p.len()), Ok(3));
        assert_eq!(
            paths(&with("net/ipv4/conf/eth0.1/forwarding")).expect("fine").last().map(String::as_str),
            Some("net/ipv4/conf/eth0.1/forwarding")
        );
        assert_eq!(paths(&with("net.ipv4.ping_group_range")).map(|p| p.len()), Ok(2));
        assert!(of(&with("vm.max_map_count")).is_err() && of(&with("kernel.panic")).is_err() && of(&with("net/../kernel/panic")).is_err());
        assert!(of(&ContainerSpec { network_mode: NetworkMode::Host, ..with("net.core.somaxconn") }).is_err());
        let mut shared = with("kernel.shmmax");
        assert!(of(&shared).is_ok());
        shared.security.ipc = "host".into();
        assert!(of(&shared).is_err());
    }
}
