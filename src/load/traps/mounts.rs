//! What is mounted.

use super::{Search, path_of};
use crate::model::{Mount, MountType, Service};
use std::path::Path;

/// Below these the host's own system makes files while it runs; this machine needn't be the one.
const SYSTEM: [&str; 7] = ["/var/run/", "/run/", "/dev/", "/sys/", "/proc/", "/tmp/", "/etc/localtime"];

pub(super) fn find(search: &mut Search<'_>, service: &Service) {
    for (i, mount) in service.volumes.iter().enumerate() {
        let at = path_of(service).key("volumes").index(i);
        match mount.kind {
            MountType::Bind => missing(search, service, mount, &at),
            MountType::Volume if mount.source.is_empty() => stale(search, service, mount, &at),
            _ => {}
        }
    }
}

/// Whether a path is most likely that of a file.
fn looks_like_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let suffix = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, suffix)| suffix);
    // `conf.d` and `app.v1.2` are folders.
    suffix.is_some_and(|s| (2..=10).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric()) && s.bytes().any(|b| b.is_ascii_alphabetic()))
}

fn missing(search: &mut Search<'_>, service: &Service, mount: &Mount, at: &crate::diag::KeyPath) {
    let source = mount.source.as_str();
    // An absolute path may be one of another machine; a relative one belongs to the project.
    let place = search.at(&at.key("source"));
    let text = place.map_or("", |p| search.loaded.sources.text(p)).trim_matches(['"', '\'']);
    let below = Path::new(source).starts_with(&search.loaded.project.working_dir);
    let relative = text.starts_with('.') || below && !text.starts_with('/');
    let system = !relative && SYSTEM.iter().any(|s| source.starts_with(s));
    if !source.starts_with('/') || system || Path::new(source).symlink_metadata().is_ok() {
        return;
    }
    let create = mount.bind.as_ref().is_some_and(|b| b.create_host_path);
    let shown = search.shown(source);
    let file = looks_like_file(source) && looks_like_file(&mount.target);
    if !create {
        let message = format!("{shown} isn't there, so {:?} can't be started", service.name);
        search.warn("bind-missing", place, message, "create it, or say `bind: {create_host_path: true}` for an empty folder");
    } else if file {
        let message = format!("{shown} isn't there: {:?} gets an empty folder of this name, not a file", service.name);
        search.warn("bind-missing", place, message, "create the file first, or mend the path");
    } else if relative {
        let message = format!("{shown} isn't there: an empty folder will be created, owned by root");
        search.note("bind-missing", place, message, "create it as the user who shall own it, or mend the path");
    }
}

/// `./app:/app` and `/app/node_modules`: the folder stays that of the first build.
fn stale(search: &mut Search<'_>, service: &Service, mount: &Mount, at: &crate::diag::KeyPath) {
    if service.build.is_none() {
        return;
    }
    let inside = |bind: &Mount| mount.target.strip_prefix(bind.target.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
    let Some(bind) = service.volumes.iter().position(|b| b.kind == MountType::Bind && inside(b)) else { return };
    let around = search.at(&path_of(service).key("volumes").index(bind));
    let message = format!("{} stays as it was when {:?} was first created: containers hand anonymous volumes on", mount.target, service.name);
    let finding = search.note("anonymous-volume-in-bind", search.at(at), message, "after a change in the image use `up --renew-anon-volumes`");
    finding.related.extend(around.map(|s| (s, "inside this mount".to_owned())));
}
