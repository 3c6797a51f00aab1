//! A later file over an earlier one, as the key table says. Nodes are moved, so each part of the result still points
//! into the file it came from.

use super::keys::{Identity, Merge, Shape};
use super::scalar;
use crate::diag::Diagnostic;
use crate::yaml::{Entry, Mapping, Node, Tag, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Lays files over each other.
pub(super) struct Merger<'a> {
    /// Lists of `KEY=VALUE` and the like were left as written: what is merged becomes a list, as in the reference.
    pub as_written: bool,
    pub diagnostics: &'a mut Vec<Diagnostic>,
}

impl Merger<'_> {
    /// `over` over `base`. Both are canonical. A removed key stays as a tombstone (a node tagged [`Tag::Reset`]) until
    /// [`bury`], because what it removes may yet come from an earlier file.
    pub(super) fn merge(&mut self, mut base: Node, mut over: Node, shape: &Shape, rule: Merge) -> Node {
        if over.tag.is_some() || base.tag == Some(Tag::Reset) {
            return over;
        }
        let lists = |rule| matches!(rule, Merge::Values | Merge::Missing) || matches!(rule, Merge::Unique(identity) if identity != Identity::Subnet);
        if self.as_written && lists(rule) && base.value != Value::Null {
            remove_tagged(&mut base, &mut over);
            to_list(&mut base);
            to_list(&mut over);
        }
        if over.value == Value::Null {
            let asks = rule == Merge::Values && !matches!(base.value, Value::Map(_) | Value::Seq(_));
            return if rule == Merge::Replace || asks { over } else { base };
        }
        if rule == Merge::Replace {
            return over;
        }
        let Node { tag, value: base_value, variables, implied, span: base_span } = base;
        let implied = implied && over.implied;
        match (base_value, over.value) {
            (Value::Map(base), Value::Map(map)) => {
                if rule == Merge::Logging && differs(&base, &map, "driver") {
                    return Node { span: over.span, tag, value: Value::Map(map), variables, implied };
                }
                Node { span: over.span, tag, value: Value::Map(self.maps(base, map, shape, rule)), variables, implied }
            }
            (Value::Seq(mut base), Value::Seq(items)) => {
                if rule == Merge::Unique(Identity::Subnet) {
                    base = self.pools(base, items, item_shape(shape));
                } else if rule == Merge::Missing {
                    let known: BTreeSet<String> = base.iter().filter_map(scalar::text).collect();
                    base.extend(items.into_iter().filter(|item| scalar::text(item).is_none_or(|text| !known.contains(&text))));
                } else {
                    base.extend(items);
                }
                Node { span: over.span, tag, value: Value::Seq(base), variables, implied }
            }
            (base, value) => {
                // Where the table knows the kind, the check has told already.
                if matches!(shape, Shape::Any) && matches!(base, Value::Map(_) | Value::Seq(_)) {
                    self.diagnostics.push(
                        Diagnostic::error("wrong-type", format!("{} can't be merged with {}", value.kind(), base.kind()))
                            .at(over.span)
                            .related(base_span, "said here first")
                            .help("make both of one kind, or put `!override` in front of this one"),
                    );
                }
                Node { value, ..over }
            }
        }
    }

    fn maps(&mut self, base: Mapping, over: Mapping, shape: &Shape, rule: Merge) -> Mapping {
        // Long mappings are merged by an index: services and environments can have hundreds of keys.
        let index: BTreeMap<String, usize> = base.iter().enumerate().map(|(i, e)| (e.key.clone(), i)).collect();
        let mut entries: Vec<Option<Entry>> = base.into_iter().map(Some).collect();
        for entry in over {
            match index.get(&entry.key).and_then(|i| entries.get_mut(*i)) {
                Some(slot) => {
                    let merged = match slot.take() {
                        Some(old) => {
                            let (shape, rule) = self.child(shape, &entry.key, rule);
                            let key_span = if entry.value.value == Value::Null && entry.value.tag.is_none() { old.key_span } else { entry.key_span };
                            Entry { key: entry.key, key_span, value: self.merge(old.value, entry.value, shape, rule) }
                        }
                        None => entry,
                    };
                    *slot = Some(merged);
                }
                None => entries.push(Some(entry)),
            }
        }
        let mut merged = Mapping::new();
        entries.into_iter().flatten().for_each(|e| merged.push_new(e));
        merged
    }

    fn child<'s>(&self, shape: &'s Shape, key: &str, rule: Merge) -> (&'s Shape, Merge) {
        match child(shape, key, rule) {
            // These are mappings in any case.
            (shape, Merge::Values) if self.as_written && matches!(key, "additional_contexts" | "ssh" | "options") => (shape, Merge::Deep),
            found => found,
        }
    }

    /// Address pools of one subnet are merged, others added.
    fn pools(&mut self, base: Vec<Node>, over: Vec<Node>, item: &Shape) -> Vec<Node> {
        let mut pools: Vec<Option<Node>> = base.into_iter().map(Some).collect();
        for pool in over {
            let subnet = pool.get("subnet").map(|n| n.value.clone());
            let same = pools.iter_mut().find(|p| p.as_ref().is_some_and(|p| p.get("subnet").map(|n| &n.value) == subnet.as_ref()));
            match same {
                Some(slot) => *slot = slot.take().map(|old| self.merge(old, pool, item, Merge::Deep)),
                None => pools.push(Some(pool)),
            }
        }
        pools.into_iter().flatten().collect()
    }
}

/// Takes out of one mapping what another removes or replaces, before both become lists.
fn remove_tagged(base: &mut Node, over: &mut Node) {
    let (Value::Map(base), Value::Map(over)) = (&mut base.value, &mut over.value) else { return };
    base.retain(|e| over.get(&e.key).is_none_or(|by| by.tag.is_none()));
    over.retain(|e| e.value.tag != Some(Tag::Reset));
}

/// A mapping as a list of `KEY=VALUE`, sorted; a string as a list of one.
fn to_list(node: &mut Node) {
    let pair = |key: &str, origin: &Node, text: Option<String>| {
        let text = text.map_or_else(|| key.to_owned(), |text| format!("{key}={text}"));
        Node { value: Value::String(text), ..origin.clone() }
    };
    node.value = match std::mem::replace(&mut node.value, Value::Null) {
        Value::Map(map) => {
            let mut items: Vec<Node> = map
                .into_iter()
                .flat_map(|e| match &e.value.value {
                    Value::Seq(values) => values.iter().map(|v| pair(&e.key, v, scalar::text(v))).collect(),
                    Value::Null => vec![pair(&e.key, &e.value, None)],
                    _ => vec![pair(&e.key, &e.value, scalar::text(&e.value))],
                })
                .collect();
            items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            Value::Seq(items)
        }
        Value::String(text) => Value::Seq(vec![Node { value: Value::String(text), tag: None, ..node.clone() }]),
        value => value,
    };
}

/// Both drivers are said, and they differ.
fn differs(base: &Mapping, over: &Mapping, key: &str) -> bool {
    base.get(key).zip(over.get(key)).is_some_and(|(b, o)| b.value != o.value)
}

/// Shape and rule of what stands under `key`.
pub(super) fn child<'a>(shape: &'a Shape, key: &str, rule: Merge) -> (&'a Shape, Merge) {
    match shape {
        Shape::Object(object) => object.key(key).map_or((&Shape::Any, Merge::Deep), |k| (&k.shape, k.merge)),
        // The values of a mapping with a rule of its own follow that rule too.
        Shape::Map(of) => (of.value, if rule == Merge::Values { Merge::Values } else { Merge::Deep }),
        Shape::Either(shapes) => {
            shapes.iter().find(|s| matches!(s, Shape::Object(_) | Shape::Map(_))).map_or((&Shape::Any, Merge::Deep), |s| child(s, key, rule))
        }
        _ => (&Shape::Any, Merge::Deep),
    }
}

pub(super) fn item_shape(shape: &Shape) -> &Shape {
    match shape {
        Shape::List(list) => list.item,
        Shape::Either(shapes) => shapes.iter().find(|s| matches!(s, Shape::List(_))).map_or(&Shape::Any, item_shape),
        _ => &Shape::Any,
    }
}

/// Sections whose lists may say a thing twice, as in the reference.
pub(super) const NOT_UNIFIED: [&str; 3] = ["volumes", "secrets", "configs"];

/// Leaves one item for each identity, in all lists that have one: the last, in the place of the first.
pub(super) fn unify(node: &mut Node, shape: &Shape, rule: Merge) {
    match &mut node.value {
        Value::Map(map) => map.iter_mut().for_each(|e| {
            let (shape, rule) = child(shape, &e.key, rule);
            unify(&mut e.value, shape, rule);
        }),
        Value::Seq(items) => {
            let item = item_shape(shape);
            items.iter_mut().for_each(|i| unify(i, item, Merge::Deep));
            let identity = match rule {
                Merge::Unique(identity) => identity,
                // Left as written.
                Merge::Values => Identity::BeforeEquals,
                _ => return,
            };
            if items.len() < 2 || identity == Identity::Subnet {
                return;
            }
            let mut places: BTreeMap<String, usize> = BTreeMap::new();
            let mut kept: Vec<Node> = Vec::with_capacity(items.len());
            for item in std::mem::take(items) {
                let known = identity_of(&item, identity).and_then(|id| match places.get(&id) {
                    Some(at) => Some(*at),
                    None => {
                        places.insert(id, kept.len());
                        None
                    }
                });
                match known.and_then(|at| kept.get_mut(at)) {
                    Some(slot) => *slot = item,
                    None => kept.push(item),
                }
            }
            *items = kept;
        }
        _ => {}
    }
}

/// What makes `item` the same as another one, if it has such a thing.
pub(super) fn identity_of(item: &Node, identity: Identity) -> Option<String> {
    let field = |key: &str| item.get(key).and_then(scalar::text);
    match identity {
        Identity::Text => scalar::text(item),
        Identity::BeforeEquals => scalar::text(item).map(|t| t.split('=').next().unwrap_or_default().to_owned()),
        Identity::Target => field("target").map(|t| super::short::clean(&t)),
        Identity::TargetIn(folder) => field("target").or_else(|| field("source").map(|s| format!("{folder}/{s}"))),
        Identity::Port if item.as_map().is_none() => scalar::text(item),
        Identity::Port => {
            let target = field("target")?;
            let (ip, protocol) = (field("host_ip").unwrap_or_else(|| "0.0.0.0".into()), field("protocol").unwrap_or_else(|| "tcp".into()));
            Some(format!("{ip}:{}:{target}/{protocol}", field("published").unwrap_or_default()))
        }
        Identity::Path => field("path"),
        Identity::Subnet => field("subnet"),
    }
}

/// Forgets the tags below `!override`: what replaces all has nothing to remove.
pub(super) fn settle_tags(node: &mut Node, replaced: bool) {
    if replaced {
        node.tag = None;
    }
    let replaced = replaced || node.tag == Some(Tag::Override);
    match &mut node.value {
        Value::Map(map) => map.iter_mut().for_each(|e| settle_tags(&mut e.value, replaced)),
        Value::Seq(items) => items.iter_mut().for_each(|item| settle_tags(item, replaced)),
        _ => {}
    }
}

/// Whether two values say the same, wherever they stand and whoever wrote them.
pub(super) fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Map(a), Value::Map(b)) => a.len() == b.len() && a.iter().all(|e| b.get(&e.key).is_some_and(|other| same(&e.value, other))),
        (Value::Seq(a), Value::Seq(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b,
    }
}

/// Takes removed keys out for good, and forgets `!override`.
pub(super) fn bury(node: &mut Node) {
    node.tag = None;
    match &mut node.value {
        Value::Map(map) => {
            map.retain(|e| e.value.tag != Some(Tag::Reset));
            map.iter_mut().for_each(|e| bury(&mut e.value));
        }
        Value::Seq(items) => {
            items.retain(|i| i.tag != Some(Tag::Reset));
            items.iter_mut().for_each(bury);
        }
        _ => {}
    }
}
