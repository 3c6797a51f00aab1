//! Mounts of a container: volumes, and secrets and configs in their two ways.

use crate::diag::{Diagnostic, KeyPath};
use crate::model::{FileReference, Mount, MountType, Project, Service};
use crate::world::{FileSpec, MountKind, MountSpec};
use indexmap::IndexMap;

/// The mounts of `service` by target. What the service mounts itself wins over a secret or config of the same target.
pub(super) fn mounts(project: &Project, service: &Service) -> Vec<MountSpec> {
    let mut mounts: IndexMap<String, MountSpec> = IndexMap::new();
    for mount in &service.volumes {
        mounts.insert(mount.target.clone(), lower(project, mount));
    }
    let secrets = service.secrets.iter().filter_map(|r| Some((secret_target(r), &project.secrets.get(&r.source)?.file)));
    let configs = service.configs.iter().filter_map(|r| Some((config_target(r), &project.configs.get(&r.source)?.file)));
    for (target, file) in configs.chain(secrets).filter(|(_, file)| !file.is_empty()) {
        let kind = MountKind::Bind {
            source: file.clone(),
            create_host_path: false,
            propagation: String::new(),
            selinux: String::new(),
            recursive: String::new(),
        };
        mounts.entry(target.clone()).or_insert(MountSpec { kind, target, read_only: true, consistency: String::new() });
    }
    mounts.into_values().collect()
}

fn lower(project: &Project, mount: &Mount) -> MountSpec {
    let kind = match mount.kind {
        MountType::Bind => {
            let bind = mount.bind.as_ref();
            MountKind::Bind {
                source: mount.source.clone(),
                // Without a `bind:` block there is nothing that says no.
                create_host_path: bind.is_none_or(|b| b.create_host_path),
                propagation: bind.map(|b| b.propagation.clone()).unwrap_or_default(),
                selinux: bind.map(|b| b.selinux.clone()).unwrap_or_default(),
                recursive: bind.map(|b| b.recursive.clone()).unwrap_or_default(),
            }
        }
        MountType::Volume => {
            let options = mount.volume.as_ref();
            MountKind::Volume {
                name: volume_name(project, &mount.source),
                nocopy: options.is_some_and(|v| v.nocopy),
                subpath: options.map(|v| v.subpath.clone()).unwrap_or_default(),
                labels: options.map(|v| v.labels.clone()).unwrap_or_default(),
                inherited: false,
            }
        }
        MountType::Tmpfs => MountKind::Tmpfs { size: mount.tmpfs.as_ref().map_or(0, |t| t.size.0), mode: mount.tmpfs.as_ref().map_or(0, |t| t.mode) },
        MountType::Image => MountKind::Image {
            reference: project.service(&mount.source).map_or_else(|| mount.source.clone(), |s| project.image_of(s)),
            subpath: mount.image.as_ref().map(|i| i.subpath.clone()).unwrap_or_default(),
        },
        MountType::Npipe => MountKind::Npipe { source: mount.source.clone() },
        MountType::Cluster => MountKind::Cluster { source: mount.source.clone() },
    };
    MountSpec { kind, target: mount.target.clone(), read_only: mount.read_only, consistency: mount.consistency.clone() }
}

/// The real name of a volume; `None` for an anonymous one.
pub(in crate::plan) fn volume_name(project: &Project, key: &str) -> Option<String> {
    if key.is_empty() {
        return None;
    }
    Some(match project.volumes.get(key) {
        Some(volume) if !volume.name.is_empty() => volume.name.clone(),
        Some(_) => format!("{}_{key}", project.name),
        None => key.to_owned(),
    })
}

fn target(reference: &FileReference, base: &str) -> String {
    match reference.target.as_str() {
        "" => format!("{base}{}", reference.source),
        target if target.starts_with('/') => target.to_owned(),
        relative => format!("{base}{relative}"),
    }
}

fn secret_target(reference: &FileReference) -> String {
    target(reference, "/run/secrets/")
}

fn config_target(reference: &FileReference) -> String {
    target(reference, "/")
}

/// The files that are written into the containers of `service`: secrets and configs from variables and from the Compose
/// file itself. Empty content is none.
///
/// # Errors
/// A path of the file and what is wrong there: a variable that isn't set, a source that can't be had. The value never
/// enters a message.
pub(in crate::plan) fn files(project: &Project, service: &Service) -> Result<Vec<FileSpec>, Vec<(KeyPath, Diagnostic)>> {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    let mut put = |kind: &str, i: usize, r: &FileReference, path: String, variable: &str, content: &str| {
        let content = if variable.is_empty() {
            content
        } else if let Some(value) = project.environment.get(variable) {
            value
        } else {
            let what = format!("environment variable {variable:?} required by {kind} {:?} is not set", r.source);
            let fault = Diagnostic::error("unset-variable", what).help(format!("set {variable}, or take the {kind} out of the service"));
            faults.push((KeyPath::of([format!("{kind}s"), r.source.clone(), "environment".into()]), fault));
            return;
        };
        let covered = service.volumes.iter().any(|m| m.target == path);
        if content.is_empty() || covered {
            return;
        }
        let in_volume = service.volumes.iter().any(|m| path.strip_prefix(&m.target).is_some_and(|rest| rest.starts_with('/')));
        if service.read_only && !in_volume {
            let what = format!("{kind} {:?} can't be written into service {:?}, which is read-only", r.source, service.name);
            let fault = Diagnostic::error("read-only-service", what)
                .help(format!("give the {kind} a `file:`, which is mounted instead, or take `read_only` out"));
            faults.push((KeyPath::of(["services", service.name.as_str(), &format!("{kind}s")]).index(i), fault));
        }
        files.push(FileSpec { path, content: content.as_bytes().to_vec(), uid: r.uid.clone(), gid: r.gid.clone(), mode: r.mode.unwrap_or(0o444) });
    };
    for (i, reference) in service.secrets.iter().enumerate() {
        if let Some(secret) = project.secrets.get(&reference.source).filter(|s| !s.environment.is_empty()) {
            put("secret", i, reference, secret_target(reference), &secret.environment, "");
        }
    }
    for (i, reference) in service.configs.iter().enumerate() {
        if let Some(config) = project.configs.get(&reference.source).filter(|c| !(c.environment.is_empty() && c.content.is_empty())) {
            put("config", i, reference, config_target(reference), &config.environment, &config.content);
        }
    }
    if faults.is_empty() { Ok(files) } else { Err(faults) }
}
