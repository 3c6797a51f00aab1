//! What the format takes and no engine does. The reference reads such files, so these are warnings.

use super::Provenance;
use super::mistakes;
use crate::diag::{Diagnostic, KeyPath, did_you_mean};
use crate::model::{Project, Service};

/// What engines will refuse of the services that take part.
pub(super) fn find(project: &Project, provenance: &Provenance) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for service in project.services.values() {
        let at = KeyPath::of(["services", service.name.as_str()]);
        let mut warn = |path: KeyPath, what: String, help: String| {
            found.push(Diagnostic::warning("engine-refuses", what).at_opt(provenance.value(&path)).help(help));
        };
        for (path, target) in targets(service, &at).filter(|(_, target)| !target.is_empty() && !is_absolute(target)) {
            warn(path, format!("engines mount at absolute paths only, not at {target:?}"), format!("write `/{target}`"));
        }
        let condition = service.deploy.as_ref().and_then(|d| d.restart_policy.as_ref()).map_or("", |p| p.condition.as_str());
        if !matches!(condition, "none" | "any")
            && let Some(help) = mistakes::restart(condition)
        {
            let path = at.key("deploy").key("restart_policy").key("condition");
            warn(path, format!("no engine knows the condition {condition:?} to restart"), help);
        }
        if let Some((what, help)) = network_mode(project, &service.network_mode) {
            warn(at.key("network_mode"), what, help);
        }
    }
    found
}

/// Where each mount of a service goes.
fn targets<'s>(service: &'s Service, at: &KeyPath) -> impl Iterator<Item = (KeyPath, &'s str)> {
    let (volumes, tmpfs) = (at.key("volumes"), at.key("tmpfs"));
    let mounts = service.volumes.iter().enumerate().map(move |(i, mount)| (volumes.index(i).key("target"), mount.target.as_str()));
    let in_memory = service.tmpfs.iter().enumerate();
    mounts.chain(in_memory.map(move |(i, text)| (tmpfs.index(i), text.split(':').next().unwrap_or_default())))
}

/// Whether a path is absolute in a container: `/x`, and in one of Windows `C:\x` and `\\.\pipe\x` too.
fn is_absolute(path: &str) -> bool {
    path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':')
}

/// What is wrong with a network mode, if that can be told without asking the engine for its networks.
fn network_mode(project: &Project, mode: &str) -> Option<(String, String)> {
    const MODES: [&str; 3] = ["bridge", "host", "none"];
    if mode == "container:" {
        return Some(("`container:` needs a container".to_owned(), "name it: `container:NAME`; for a service write `service:NAME`".to_owned()));
    }
    let asks = format!("`network_mode: {mode}` asks the engine for a network of this name");
    if let Some(network) = project.networks.get(mode) {
        let help = format!("write `networks: [{mode}]`");
        return (network.name != mode).then(|| (format!("{asks}; that of this project is called {:?}", network.name), help));
    }
    let word = mode.bytes().all(|b| b.is_ascii_lowercase()) && !MODES.contains(&mode) && !project.networks.values().any(|n| n.name == mode);
    let near = did_you_mean(mode, MODES).filter(|_| word)?;
    Some((asks, format!("did you mean `{near}`?")))
}
