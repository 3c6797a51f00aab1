//! What to do about an engine's errors.

use super::args::Globals;
use crate::diag::Diagnostic;
use crate::world::{EngineError, ErrorKind};
use std::collections::BTreeMap;

/// What advice depends on.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Where the engine's address comes from, if the user gave one: `DOCKER_HOST is tcp://…`.
    address: Option<String>,
}

impl Facts {
    pub(crate) fn new(environment: &BTreeMap<String, String>, globals: &Globals) -> Self {
        let var = |name: &str| environment.get(name).filter(|v| !v.is_empty()).map(|v| format!("{name} is {v}"));
        let address = match (&globals.host, &globals.context) {
            (Some(host), _) => Some(format!("--host is {host}")),
            (None, Some(context)) => Some(format!("--context is {context}")),
            (None, None) => var("DOCKER_HOST").or_else(|| var("DOCKER_CONTEXT")),
        };
        Self { address }
    }
}

/// An engine's error as a finding.
pub(crate) fn engine_finding(error: &EngineError) -> Diagnostic {
    Diagnostic::error(code(error.kind), error.to_string())
}

fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not-found",
        ErrorKind::Conflict => "conflict",
        ErrorKind::PortTaken => "port-taken",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Unreachable => "engine-unreachable",
        ErrorKind::Denied => "denied",
        ErrorKind::NoSpace => "no-space",
        ErrorKind::Refused => "engine-refused",
        ErrorKind::TimedOut => "timed-out",
        ErrorKind::Protocol => "engine-protocol",
    }
}

/// What to do about a finding that doesn't say it itself.
pub(crate) fn advice(finding: &Diagnostic, facts: &Facts) -> Option<String> {
    let message = finding.message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| message.contains(w));
    let about_image = has(&["pull", "manifest", "registry", "repository", "image "]);
    let advice = match finding.code {
        "engine-unreachable" if has(&["went away", "stopped telling"]) => {
            "what was done until then is still there; when the engine runs again, give the same command once more".to_owned()
        }
        "engine-unreachable" | "engine-protocol" if has(&["can't reach the engine", "no container engine", "doesn't answer"]) => {
            match (origin(&finding.message), &facts.address) {
                (Some(origin), _) if origin.starts_with("the default") => {
                    "is the engine running? `systemctl start docker` starts Docker; DOCKER_HOST says where else to look".to_owned()
                }
                (_, Some(address)) => format!("{address}: is that right, and does the engine run there?"),
                (Some(origin), None) => format!("{origin} says where: is that right, and does the engine run there?"),
                (None, None) => "is an engine running? `systemctl start docker` starts Docker; DOCKER_HOST says where else to look".to_owned(),
            }
        }
        "engine-unreachable" if has(&["supervisor of the project"]) => "the containers go on; give the same command once more".to_owned(),
        "engine-unreachable" => "is the engine running? `systemctl start docker` starts Docker; DOCKER_HOST says where else to look".to_owned(),
        "denied" if has(&["docker.sock"]) => {
            "`sudo usermod -aG docker $USER` and a new login let your user use Docker's socket (the group is as powerful as root)".to_owned()
        }
        "denied" if has(&["socket", ".sock"]) => "run it as a user who may use that socket, or through `sudo`".to_owned(),
        "denied" if about_image => match registry(&finding.message) {
            Some(registry) => format!("check the image's name; if it is private, `docker login {registry}` first"),
            None => "check the image's name; if it is private, log in with `docker login` and the registry's address".to_owned(),
        },
        "engine-refused" if has(&["is too new", "is too old"]) && has(&["client version"]) => {
            "DOCKER_API_VERSION asks for that version: unset it, and the newest that the engine knows is used".to_owned()
        }
        "engine-refused" if has(&["cannot assign requested address"]) => {
            "no network interface of the engine's host has that address: publish at one that it has, or at all of them by leaving it out".to_owned()
        }
        "engine-refused" if has(&["bind source path does not exist"]) => {
            "create it, or let the engine make an empty folder of it: `create_host_path: true`".to_owned()
        }
        "unsupported" if has(&["there is no runtime"]) => {
            "install it, name its path, or leave `runtime` out: the embedded engine runs containers itself".to_owned()
        }
        "engine-refused" if has(&["unknown or invalid runtime name"]) => {
            "this engine knows runtimes by the names in its daemon.json; a path is for the embedded engine, `--engine embedded`".to_owned()
        }
        _ if has(&["can't create the container"]) && has(&["executable file"]) && has(&["not found"]) => {
            "the command isn't in the image: look at `command` and `entrypoint`".to_owned()
        }
        _ if has(&["can't start container"]) && has(&["exec: "]) && has(&["executable file not found", "no such file or directory"]) => {
            "the command isn't in the image, or what interprets it isn't: look at `command` and `entrypoint`".to_owned()
        }
        _ if has(&["can't start container"]) && has(&["exec: "]) && has(&["permission denied"]) => {
            "what is to be run has no execute permission, or is a folder: look at `command` and `entrypoint`".to_owned()
        }
        _ if has(&["unable to find user", "unable to find group"]) => {
            "the image doesn't know that name: give a number, or a name that is in the image".to_owned()
        }
        _ if has(&["pool overlaps"]) => {
            "another network has addresses of that range: `docker network ls` lists them; choose another `subnet`".to_owned()
        }
        _ if has(&["address pools have been fully subnetted"]) => {
            "the engine has no addresses left for a new network: `docker network prune` removes networks that nothing uses".to_owned()
        }
        "engine-refused" if has(&["could not select device driver"]) => {
            "the engine has no driver for such devices; for GPUs of NVIDIA it is in their container toolkit".to_owned()
        }
        "engine-refused" | "not-found" if has(&["plugin"]) && has(&["not found"]) => {
            "the engine has no such plugin: `docker plugin ls` lists those that it has".to_owned()
        }
        "conflict" if has(&["the container name"]) => "remove or rename the other container, or give the service another `container_name`".to_owned(),
        "engine-refused" if has(&["all ports are allocated"]) => {
            "every host port of the range is taken: make the range wider, or free some".to_owned()
        }
        "not-found" if has(&["there is no image"]) && !has(&[" in "]) => "`consort image ls` lists those that are here".to_owned(),
        "not-found" if has(&["there is no volume"]) => "`consort volume ls` lists those that are here".to_owned(),
        "conflict" if has(&["was made of it", "is in use by container"]) => {
            "remove the container first, or bring its project down: `consort -p PROJECT down`".to_owned()
        }
        "not-found" if about_image => {
            "is the name spelled right, and does the tag exist? A private image needs `docker login` first; an image that is built needs `build:`"
                .to_owned()
        }
        // An error of this machine's, not one that an engine told of.
        "no-space" if has(&["(os error"]) => {
            "`consort system df` shows what takes room, `consort system prune` and `consort image prune` free some".to_owned()
        }
        "no-space" => "`docker system df` shows what takes room there, `docker image prune` and `docker builder prune` free some".to_owned(),
        "timed-out" if about_image => "the registry doesn't answer: is the network up, is a proxy needed?".to_owned(),
        _ if about_image
            && has(&[
                "no such host",
                "temporary failure in name resolution",
                "i/o timeout",
                "connection refused",
                "network is unreachable",
                "lookup ",
            ]) =>
        {
            "is the network up, is the registry's name right, does it run, is a proxy needed?".to_owned()
        }
        _ => return None,
    };
    Some(advice)
}

/// Who said where the engine is: `can't reach the engine at unix:///x.sock (DOCKER_HOST): …`.
fn origin(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("can't reach the engine at ")?;
    Some(rest.split_once('(')?.1.split_once(')')?.0)
}

/// The registry that a message is about: `registry r.example doesn't …`.
fn registry(message: &str) -> Option<&str> {
    message.split_once("registry ")?.1.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advised(kind: ErrorKind, what: &str, host: Option<&str>) -> Option<String> {
        let environment = host.map(|h| ("DOCKER_HOST".to_owned(), h.to_owned())).into_iter().collect();
        advice(&engine_finding(&EngineError::new(kind, what)), &Facts::new(&environment, &Globals::default()))
    }

    #[test]
    fn cures() {
        let at = |origin: &str| format!("can't reach the engine at tcp://x:1 ({origin}): nothing listens there");
        assert!(advised(ErrorKind::Unreachable, &at("the default"), None).unwrap().contains("systemctl start docker"));
        assert!(advised(ErrorKind::Unreachable, &at("DOCKER_HOST"), Some("tcp://x:1")).unwrap().contains("DOCKER_HOST is tcp://x:1"));
        assert!(advised(ErrorKind::Unreachable, &at("context prod"), None).unwrap().starts_with("context prod says"));
        assert!(
            advised(ErrorKind::Unreachable, "the engine went away while it was to start container a", Some("tcp://x:1"))
                .unwrap()
                .contains("once more")
        );
        assert!(advised(ErrorKind::Denied, "can't reach the engine at unix:///var/run/docker.sock (the default)", None).unwrap().contains("usermod"));
        assert!(advised(ErrorKind::Denied, "can't reach the engine at unix:///run/podman.sock (--host)", None).unwrap().contains("sudo"));
        assert!(advised(ErrorKind::Denied, "pull access denied for foo", None).unwrap().contains("docker login"));
        assert!(advised(ErrorKind::Denied, "registry r:1 doesn't give image r:1/a away", None).unwrap().contains("`docker login r:1`"));
        assert!(advised(ErrorKind::Refused, "can't list containers: client version 1.99 is too new", None).unwrap().contains("DOCKER_API_VERSION"));
        assert!(advised(ErrorKind::NotFound, "manifest for nginx:nope not found", None).unwrap().contains("tag"));
        assert!(advised(ErrorKind::NotFound, "no such container: x", None).is_none());
        let start = |why: &str| format!("can't start container p-web-1: {why}");
        assert!(
            advised(ErrorKind::Refused, &start("exec: \"/x\": stat /x: no such file or directory"), None).unwrap().contains("isn't in the image")
        );
        assert!(advised(ErrorKind::Refused, &start("exec: \"/etc\": permission denied"), None).unwrap().contains("execute permission"));
        assert!(advised(ErrorKind::NotFound, "can't create network a: plugin \"x\" not found", None).unwrap().contains("docker plugin ls"));
        assert!(advised(ErrorKind::Refused, "image x can't be pulled: dial tcp: lookup registry on 1.1.1.1: no such host", None).is_some());
    }
}
