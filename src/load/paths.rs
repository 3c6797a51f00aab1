//! Relative paths of a canonical document become absolute, or relative to another directory.

use super::find::{absolute, expand_home, is_url};
use super::trail::Trail;
use crate::diag::Diagnostic;
use crate::world::image_path;
use crate::yaml::{Mapping, Node, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where relative paths start from, and what `~` is.
pub(super) struct Paths<'a> {
    pub base: &'a Path,
    pub environment: &'a BTreeMap<String, String>,
    pub diagnostics: &'a mut Vec<Diagnostic>,
}

impl Paths<'_> {
    /// All paths of a document.
    pub(super) fn document(&mut self, root: &mut Node) {
        let Value::Map(root) = &mut root.value else { return };
        if let Some(services) = map_mut(root, "services") {
            for entry in services.iter_mut() {
                self.service(&mut entry.value, &Trail::ROOT.key("services").key(&entry.key));
                if let Value::Map(service) = &mut entry.value.value
                    && let Some(extends) = map_mut(service, "extends")
                {
                    self.at(extends, "file");
                }
            }
        }
        for section in ["configs", "secrets"] {
            for entry in map_mut(root, section).into_iter().flat_map(Mapping::iter_mut) {
                if let Value::Map(map) = &mut entry.value.value {
                    self.at(map, "file");
                }
            }
        }
        for entry in map_mut(root, "volumes").into_iter().flat_map(Mapping::iter_mut) {
            if let Value::Map(volume) = &mut entry.value.value
                && volume.get("driver").and_then(Node::as_str) == Some("local")
                && let Some(options) = map_mut(volume, "driver_opts")
                && options.get("o").and_then(Node::as_str) == Some("bind")
            {
                self.at(options, "device");
            }
        }
    }

    /// All paths of a service.
    pub(super) fn service(&mut self, service: &mut Node, at: &Trail<'_>) {
        let Value::Map(service) = &mut service.value else { return };
        if let Some(image) = service.get_mut("image")
            && let Value::String(text) = &mut image.value
            && let Some((scheme, path)) = image_path(text)
            && !path.starts_with('/')
        {
            *text = format!("{scheme}:{}", absolute(self.base, Path::new(&expand_home(path, self.environment))).display());
        }
        if let Some(build) = map_mut(service, "build") {
            if let Some(context) = build.get_mut("context") {
                self.context(context);
            }
            for entry in map_mut(build, "additional_contexts").into_iter().flat_map(Mapping::iter_mut) {
                self.context(&mut entry.value);
            }
            for entry in map_mut(build, "ssh").into_iter().flat_map(Mapping::iter_mut) {
                self.path(&mut entry.value);
            }
        }
        for file in items_mut(service, "env_file") {
            if let Value::Map(map) = &mut file.value {
                self.at(map, "path");
            }
        }
        items_mut(service, "label_file").iter_mut().for_each(|file| self.path(file));
        for (i, mount) in items_mut(service, "volumes").iter_mut().enumerate() {
            let span = mount.span;
            let Value::Map(map) = &mut mount.value else { continue };
            if map.get("type").and_then(Node::as_str) != Some("bind") {
                continue;
            }
            if map.get("source").and_then(Node::as_str) == Some("") {
                self.diagnostics.push(
                    Diagnostic::warning(
                        "empty-source",
                        format!("`{}` has an empty source and mounts the folder of the project", at.key("volumes").index(i).path()),
                    )
                    .at(map.get("source").map_or(span, |source| source.span))
                    .help("write `.` if that is meant"),
                );
                if let Some(source) = map.get_mut("source") {
                    source.value = Value::String(".".to_owned());
                }
            }
            if map.get("source").and_then(Node::as_str).is_none() {
                self.diagnostics.push(
                    Diagnostic::error("missing-key", format!("`{}` is a bind mount without a source", at.key("volumes").index(i).path()))
                        .at(span)
                        .help("add `source: …`, the path on the host"),
                );
            }
            self.at(map, "source");
        }
        if let Some(develop) = map_mut(service, "develop") {
            for trigger in items_mut(develop, "watch") {
                if let Value::Map(map) = &mut trigger.value {
                    self.at(map, "path");
                    if let Some(path) = map.get_mut("path")
                        && let Value::String(text) = &mut path.value
                        && text.starts_with('/')
                    {
                        *text = real(Path::new(text.as_str())).display().to_string();
                    }
                }
            }
        }
    }

    fn at(&self, map: &mut Mapping, key: &str) {
        if let Some(node) = map.get_mut(key) {
            self.path(node);
        }
    }

    fn path(&self, node: &mut Node) {
        let Value::String(text) = &mut node.value else { return };
        if text.is_empty() {
            return;
        }
        let expanded = expand_home(text, self.environment);
        let windows = expanded.starts_with(r"\\")
            || (expanded.as_bytes().get(1) == Some(&b':')
                && expanded.as_bytes()[0].is_ascii_alphabetic()
                && matches!(expanded.as_bytes().get(2), Some(b'/' | b'\\')));
        *text = if expanded.starts_with('/') || windows { expanded } else { absolute(self.base, Path::new(&expanded)).display().to_string() };
    }

    /// A build context can also be a URL, an image or a service.
    fn context(&self, node: &mut Node) {
        let Some(text) = node.as_str() else { return };
        if text.contains("://") || text.starts_with("service:") || is_url(text) {
            return;
        }
        self.path(node);
    }
}

/// A path without symbolic links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = std::fs::canonicalize(ancestor) {
            return match path.strip_prefix(ancestor) {
                Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                _ => real,
            };
        }
    }
    path.to_path_buf()
}

/// The mapping under `key`, to change it.
pub(super) fn map_mut<'a>(map: &'a mut Mapping, key: &str) -> Option<&'a mut Mapping> {
    match &mut map.get_mut(key)?.value {
        Value::Map(inner) => Some(inner),
        _ => None,
    }
}

/// The items of the list under `key`, to change them; none if there is no list.
pub(super) fn items_mut<'a>(map: &'a mut Mapping, key: &str) -> &'a mut [Node] {
    match map.get_mut(key).map(|n| &mut n.value) {
        Some(Value::Seq(items)) => items,
        _ => &mut [],
    }
}
