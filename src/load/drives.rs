//! Mounts of one letter, `v:/data`. Where a volume `v` is declared, it is meant. Where none is, the reference takes the
//! letter for a Windows drive, and so the project can only be read as it does; it is told, for no engine on Linux takes it.

use super::paths::{items_mut, map_mut};
use super::short::clean;
use crate::diag::{Diagnostic, SourceMap};
use crate::yaml::{Mapping, Node, Value};
use std::collections::BTreeSet;

/// Reads short mounts whose source is a letter that names no volume of the project as the reference does.
pub(super) fn settle(root: &mut Node, sources: &SourceMap, diagnostics: &mut Vec<Diagnostic>) {
    let Value::Map(root) = &mut root.value else { return };
    let declared: BTreeSet<String> = root.get("volumes").and_then(Node::as_map).into_iter().flatten().map(|e| e.key.clone()).collect();
    for service in map_mut(root, "services").into_iter().flat_map(Mapping::iter_mut) {
        let Value::Map(service) = &mut service.value.value else { continue };
        for mount in items_mut(service, "volumes") {
            let text = |key: &str| mount.get(key).and_then(Node::as_str).unwrap_or_default();
            let letter = text("source").to_owned();
            let is_letter = letter.len() == 1 && letter.bytes().all(|b| b.is_ascii_alphabetic());
            // All that comes of a short form has its place.
            let short = mount.get("type").is_some_and(|kind| kind.span == mount.span);
            if !(short && is_letter && text("type") == "volume") || declared.contains(&letter) {
                continue;
            }
            let written = sources.text(mount.span).trim_matches(['"', '\'']).to_owned();
            let span = mount.span;
            let Value::Map(map) = &mut mount.value else { continue };
            let mut set = |key: &str, text: String| {
                if let Some(node) = map.get_mut(key) {
                    (node.value, node.span) = (Value::String(text), span);
                }
            };
            match written.split(':').collect::<Vec<_>>()[..] {
                [first, _] if first == letter => {
                    set("target", clean(&written));
                    map.remove("source");
                }
                [first, path, target] if first == letter => {
                    set("source", format!("{letter}:{path}"));
                    set("target", clean(target));
                    set("type", "bind".to_owned());
                    map.retain(|e| matches!(e.key.as_str(), "type" | "source" | "target"));
                    map.push_new(super::canonical::created(span));
                }
                _ => continue,
            }
            diagnostics.push(
                Diagnostic::warning("drive-letter", format!("`{written}` is read as a path of Windows: no volume {letter:?} is declared"))
                    .at(span)
                    .help(format!("declare it at the top level: `volumes: {{{letter}: {{}}}}`")),
            );
        }
    }
}
