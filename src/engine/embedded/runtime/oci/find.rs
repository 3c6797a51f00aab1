//! Where runtimes are: by path, by name among Docker's, by name on the machine.

use crate::engine::embedded::record::OciRuntime;
use crate::world::{EngineError, ErrorKind};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where programs are looked for. A supervisor has no environment.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Where Docker's engine says which runtimes it knows.
const DOCKER: &str = "/etc/docker/daemon.json";

/// Names of this engine's own runtime.
const OWN: [&str; 3] = ["", "consort", "embedded"];

/// What Docker calls the runtime that it takes by itself.
const USUAL: [&str; 3] = ["runc", "io.containerd.runc.v2", "io.containerd.runtime.v1.linux"];

#[derive(Default, Deserialize)]
struct Daemon {
    #[serde(default)]
    runtimes: BTreeMap<String, Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    path: String,
    #[serde(default, rename = "runtimeArgs")]
    arguments: Vec<String>,
}

/// The runtime that `name` means, a path or a name; none is this engine's own. The second is a warning.
///
/// # Errors
/// There is none, or what is there can't be executed.
pub fn find(name: &str) -> Result<(Option<OciRuntime>, Option<String>), EngineError> {
    if OWN.contains(&name) {
        return Ok((None, None));
    }
    if name.contains('/') {
        let path = PathBuf::from(name);
        return if !path.is_absolute() {
            Err(absent(name, "its path is not absolute"))
        } else if is_program(&path) {
            Ok((Some(OciRuntime { path, arguments: Vec::new() }), None))
        } else {
            Err(absent(name, if path.exists() { "it can't be executed" } else { "it doesn't exist" }))
        };
    }
    let daemon: Daemon = std::fs::read(DOCKER).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    if let Some(named) = daemon.runtimes.get(name).filter(|n| !n.path.is_empty()) {
        return match program(&named.path) {
            Some(path) => Ok((Some(OciRuntime { path, arguments: named.arguments.clone() }), None)),
            None => Err(absent(name, &format!("{DOCKER} says that it is {}, which can't be executed", named.path))),
        };
    }
    let usual = USUAL.contains(&name);
    match program(if usual { "runc" } else { name }) {
        Some(path) => Ok((Some(OciRuntime { path, arguments: Vec::new() }), None)),
        // Docker's own choice, which nobody means who names it.
        None if usual => Ok((None, Some(format!("`runtime: {name}` is not installed: this engine runs the container itself")))),
        None => Err(absent(name, &format!("there is no such program in {}, and {DOCKER} names none", PATH.join(":")))),
    }
}

fn absent(name: &str, why: &str) -> EngineError {
    EngineError::new(ErrorKind::Unsupported, format!("there is no runtime `{name}`")).because(why)
}

fn program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|p| is_program(p));
    }
    PATH.iter().map(|folder| Path::new(folder).join(name)).find(|p| is_program(p))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// A program that can be process 1 of a container, whatever the container has in it.
pub fn init() -> Option<PathBuf> {
    // Those that are linked statically; Debian's dynamic `tini` is not among them.
    ["docker-init", "tini-static", "catatonit"].iter().find_map(|name| program(name)).or_else(|| {
        let podman = PathBuf::from("/usr/libexec/podman/catatonit");
        Some(podman).filter(|p| is_program(p))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths() {
        for own in OWN {
            assert_eq!(find(own), Ok((None, None)));
        }
        let shell = |name: &str| find(name).map(|(found, _)| found.map(|r| r.path));
        assert_eq!(shell("/bin/sh"), Ok(Some("/bin/sh".into())));
        assert!(shell("sh").expect("there").is_some_and(|p| p.ends_with("sh")));
        for (name, why) in
            [("/no/such/runtime", "doesn't exist"), ("/etc", "can't be executed"), ("bin/sh", "not absolute"), ("no-such-runtime", "no such program")]
        {
            let error = find(name).expect_err(name).to_string();
            assert!(error.contains(name) && error.contains(why), "{error}");
        }
    }
}
