//! What is written and won't be acted on, each at its line: the statuses of the key table.

use super::check::takes;
use super::keys::{ROOT, Shape, Status};
use super::trail::Trail;
use crate::diag::Diagnostic;
use crate::diag::SourceId;
use crate::yaml::{Node, Value};
use std::collections::BTreeSet;

/// Keys of `root` that are not acted on: one finding for each key and file. `enabled` tells services that take part.
pub(super) fn find(root: &Node, enabled: &(dyn Fn(&str) -> bool + Sync)) -> Vec<Diagnostic> {
    let mut search = Search { enabled, seen: BTreeSet::new(), found: Vec::new() };
    search.value(root, &Shape::Object(&ROOT), &Trail::ROOT);
    search.found
}

struct Search<'a> {
    enabled: &'a dyn Fn(&str) -> bool,
    seen: BTreeSet<(&'static str, &'static str, SourceId)>,
    found: Vec<Diagnostic>,
}

impl Search<'_> {
    fn value(&mut self, node: &Node, shape: &Shape, at: &Trail<'_>) {
        match (shape, &node.value) {
            (Shape::Either(shapes), _) => shapes.iter().filter(|s| takes(s, node)).for_each(|s| self.value(node, s, at)),
            (Shape::List(list), Value::Seq(items)) => items.iter().enumerate().for_each(|(i, n)| self.value(n, list.item, &at.index(i))),
            (Shape::Map(of), Value::Map(map)) => {
                for entry in map {
                    // Services are the mapping right below the top level whose entries can be switched off.
                    let service = matches!(of.value, Shape::Object(o) if std::ptr::eq(*o, &super::keys::SERVICE));
                    if !service || (self.enabled)(&entry.key) {
                        self.value(&entry.value, of.value, &at.key(&entry.key));
                    }
                }
            }
            (Shape::Object(object), Value::Map(map)) => {
                for entry in map {
                    let Some(key) = object.key(&entry.key) else { continue };
                    // Switched off, or the only mode there is.
                    let off = matches!(entry.value.value, Value::Null | Value::Bool(false)) || entry.value.as_str() == Some("replicated");
                    let path = at.key(&entry.key);
                    let (severe, why) = match key.status {
                        Status::Honoured => {
                            self.value(&entry.value, &key.shape, &path);
                            continue;
                        }
                        Status::Ignored(why) => (false, why),
                        Status::Refused(why) => (true, why),
                    };
                    if off || !self.seen.insert((object.what, key.name, entry.key_span.source)) {
                        continue;
                    }
                    let finding = if severe {
                        Diagnostic::error("not-honoured", format!("{} can't be honoured: {why}", path.name()))
                            .help("take it out, or leave the service out")
                    } else {
                        Diagnostic::warning("ignored-key", format!("{} is ignored: {why}", path.name()))
                    };
                    self.found.push(finding.at(entry.key_span));
                }
            }
            _ => {}
        }
    }
}
