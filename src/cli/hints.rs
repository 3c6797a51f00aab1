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
        "engine-unreachable" => match &facts.address {
            Some(address) => format!("{address}: is that right, and does the engine run there?"),
            None => "is the engine running? `systemctl start docker` starts Docker; DOCKER_HOST says where else to look".to_owned(),
        },
        "denied" if about_image => {
            "the image may not exist, or it is private: check its name, and log in with `docker login` and the registry's address".to_owned()
        }
        "denied" if has(&["sock", "permission", "connect"]) => {
            "your user may not use the engine's socket: `sudo usermod -aG docker $USER` and a new login change that (the group is as powerful as root)"
                .to_owned()
        }
        "not-found" if about_image => {
            "is the name spelled right, and does the tag exist? A private image needs `docker login` first; an image that is built needs `build:`".to_owned()
        }
        "no-space" => "the disk of the engine is full: `docker system df` shows what takes room, `docker image prune` and `docker builder prune` free some".to_owned(),
        "timed-out" if about_image => "the registry doesn't answer: is the network up, is a proxy needed?".to_owned(),
        _ if about_image && has(&["no such host", "temporary failure in name resolution", "i/o timeout", "connection refused", "network is unreachable", "lookup "]) => {
            "the registry can't be reached from the engine: is the network up, is the registry's name right, is a proxy needed?".to_owned()
        }
        _ => return None,
    };
    Some(advice)
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
        assert!(advised(ErrorKind::Unreachable, "Docker can't be reached", None).unwrap().contains("systemctl start docker"));
        assert!(advised(ErrorKind::Unreachable, "Docker can't be reached", Some("tcp://x:1")).unwrap().contains("DOCKER_HOST is tcp://x:1"));
        assert!(advised(ErrorKind::Denied, "permission denied on unix:///var/run/docker.sock", None).unwrap().contains("usermod"));
        assert!(advised(ErrorKind::Denied, "pull access denied for foo", None).unwrap().contains("docker login"));
        assert!(advised(ErrorKind::NotFound, "manifest for nginx:nope not found", None).unwrap().contains("tag"));
        assert!(advised(ErrorKind::NotFound, "no such container: x", None).is_none());
        assert!(advised(ErrorKind::Refused, "image x can't be pulled: dial tcp: lookup registry on 1.1.1.1: no such host", None).is_some());
    }
}
