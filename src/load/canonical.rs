//! Short forms become long ones, as the key table says. Every new node keeps the place of what it was made of.

use super::budget::Budget;
use super::check::{substituted, takes};
use super::keys::{Form, Object, Shape};
use super::trace::Hidden;
use super::trail::Trail;
use super::unknown::Unknown;
use super::{scalar, short};
use crate::diag::{Diagnostic, SourceMap, Span, did_you_mean};
use crate::yaml::{Entry, Mapping, Node, Tag, Value};

/// Where findings go, and what is known of the texts.
pub(super) struct Canonical<'a> {
    pub sources: &'a SourceMap,
    pub diagnostics: &'a mut Vec<Diagnostic>,
    /// Expressions are still in the text: what can't be read because of one stays as it is, and so does what the
    /// reference then leaves as written.
    pub uninterpolated: bool,
    /// Items that others of the same name hide.
    pub hidden: &'a mut Vec<Hidden>,
    pub budget: &'a mut Budget,
    /// Scalars that may say anything. They stay as they are; items of lists go, so that lists have only what is known.
    pub unknown: &'a Unknown,
}

/// What a port takes that comes out of a range, or a dependency that is only named.
const PORT_BYTES: usize = 400;

impl Canonical<'_> {
    /// Makes the value at `at` canonical. What the check refused is left as it is.
    pub(super) fn value(&mut self, node: &mut Node, shape: &Shape, form: Form, at: &Trail<'_>) {
        if self.unknown.is(node) {
            return;
        }
        if let Value::Seq(items) = &mut node.value {
            items.retain(|item| !self.unknown.is(item) && item.tag != Some(Tag::Reset));
        }
        self.reform(node, form, at);
        let shape = match shape {
            Shape::Either(shapes) => shapes.iter().find(|s| takes(s, node)).unwrap_or(&Shape::Any),
            shape => shape,
        };
        match (shape, &mut node.value) {
            (Shape::Object(object), Value::Map(map)) => self.object(map, object, at),
            (Shape::Map(of), Value::Map(map)) => map.iter_mut().for_each(|e| self.value(&mut e.value, of.value, Form::AsIs, &at.key(&e.key))),
            (Shape::List(list), Value::Seq(items)) => {
                items.iter_mut().enumerate().for_each(|(i, item)| self.value(item, list.item, Form::AsIs, &at.index(i)));
            }
            _ => {}
        }
    }

    fn object(&mut self, map: &mut Mapping, object: &Object, at: &Trail<'_>) {
        for entry in map.iter_mut() {
            if let Some(key) = object.key(&entry.key) {
                self.value(&mut entry.value, &key.shape, key.form, &at.key(&entry.key));
            }
        }
        if map.get("external").is_some_and(|e| e.as_map().is_some()) {
            self.external(map, at);
        }
    }

    /// `external: {name: x}` says `external: true` and `name: x`.
    fn external(&mut self, map: &mut Mapping, at: &Trail<'_>) {
        let Some(external) = map.get_mut("external") else { return };
        let old = std::mem::replace(&mut external.value, Value::Bool(true));
        let Value::Map(old) = old else { return };
        let Some(inner) = old.into_iter().find(|e| e.key == "name") else { return };
        self.diagnostics.push(
            Diagnostic::warning("external-name", format!("`name` inside `external` is deprecated in {}", at.name()))
                .at(inner.key_span)
                .help("write `external: true` and `name: …` beside it"),
        );
        match map.entry("name") {
            Some(outer) if outer.value.value != inner.value.value => self.diagnostics.push(
                Diagnostic::error("conflict", format!("{} has two names", at.name()))
                    .at(inner.value.span)
                    .related(outer.value.span, "the other one")
                    .help("write `name` once, beside `external: true`"),
            ),
            Some(_) => {}
            None => map.push_new(inner),
        }
    }

    fn reform(&mut self, node: &mut Node, form: Form, at: &Trail<'_>) {
        let span = node.span;
        let string = node.as_str().map(str::to_owned);
        match (form, string, &mut node.value) {
            (Form::AsIs | Form::External, ..) => {}
            (Form::KeyValues | Form::Environment | Form::OneOrMore | Form::Words | Form::Test | Form::Hosts, ..) if self.uninterpolated => {}
            (Form::KeyValues | Form::Environment, _, Value::Seq(items)) => {
                let items = std::mem::take(items);
                node.value = self.key_values(items, form == Form::Environment, at);
            }
            (Form::Pairs(alone), _, Value::Seq(items)) => {
                let items = std::mem::take(items);
                for item in &items {
                    let bare = item.as_str().filter(|text| !text.contains('=') && *text != alone && !(self.uninterpolated && text.contains('$')));
                    if let Some(text) = bare {
                        self.diagnostics.push(
                            Diagnostic::error("bad-pair", format!("{text:?} in {} has no value", at.name()))
                                .at(item.span)
                                .help(format!("write `{text}=…`")),
                        );
                    }
                }
                node.value = self.key_values(items, false, at);
            }
            (Form::Names, _, Value::Seq(items)) => {
                let entries = std::mem::take(items).into_iter().filter_map(|item| {
                    let key = item.as_str()?.to_owned();
                    Some(Entry { key, key_span: item.span, value: Node::new(item.span, Value::Null) })
                });
                node.value = Value::Map(entries.collect());
            }
            (Form::DependsOn, _, Value::Seq(items))
                if !self.budget.spend(items.len() * PORT_BYTES, Some(span), "name fewer: what those need comes along anyway", self.diagnostics) =>
            {
                node.value = Value::Map(Mapping::new());
            }
            (Form::DependsOn, _, Value::Seq(items)) => {
                let entries = std::mem::take(items).into_iter().filter_map(|item| {
                    let key = item.as_str()?.to_owned();
                    Some(Entry { key, key_span: item.span, value: dependency(item.span, None) })
                });
                node.value = Value::Map(entries.collect());
            }
            (Form::List | Form::OneOrMore, Some(_), _) => wrap(node),
            (Form::Words, Some(text), _) => match super::words::split_words(&text) {
                Ok(found) => {
                    if let Some(dropped) = found.dropped {
                        self.diagnostics.push(
                            Diagnostic::warning(
                                "shell-syntax",
                                format!("{} ends before {:?}: no shell reads it", at.name(), text.get(dropped.clone()).unwrap_or_default().trim()),
                            )
                            .at(self.part(span, &text, dropped.start, dropped.end))
                            .help("write `sh -c '…'`, or put it in quotes if the program shall have it"),
                        );
                    }
                    node.value = Value::Seq(found.words.into_iter().map(|w| Node::new(span, Value::String(w))).collect());
                }
                Err(fault) => self.diagnostics.push(
                    Diagnostic::error("bad-command", format!("{} can't be split into words: {fault}", at.name()))
                        .at(self.part(span, &text, fault.offset, text.len()))
                        .help("close the quote, or write the command as a list"),
                ),
            },
            (Form::Test, Some(text), _) => {
                node.value = Value::Seq(vec![
                    Node::implied(span, Value::String("CMD-SHELL".into())),
                    Node { variables: node.variables.clone(), ..Node::new(span, Value::String(text)) },
                ]);
            }
            (Form::Under(key), Some(_), _) => under(node, key),
            (Form::ItemsUnder(key), _, Value::Seq(items)) => items.iter_mut().filter(|i| i.as_str().is_some()).for_each(|i| under(i, key)),
            (Form::EnvFiles, _, _) => {
                if node.as_str().is_some() {
                    wrap(node);
                }
                if let Value::Seq(items) = &mut node.value {
                    for item in items.iter_mut().filter(|i| i.as_str().is_some()) {
                        under(item, "path");
                        if let Value::Map(map) = &mut item.value {
                            map.push_new(entry("required", Node::implied(item.span, Value::Bool(true))));
                        }
                    }
                }
            }
            // One that can't be read leaves all of them as they are.
            (Form::Ports, _, Value::Seq(items))
                if self.uninterpolated && items.iter().any(|i| i.as_str().is_some_and(|s| short::ports(s).is_err())) => {}
            (Form::Ports, _, Value::Seq(items)) => {
                let items = std::mem::take(items);
                node.value = Value::Seq(items.into_iter().enumerate().flat_map(|(i, item)| self.port(item, &at.index(i))).collect());
            }
            (Form::Mounts, _, Value::Seq(items)) => items.iter_mut().enumerate().for_each(|(i, item)| self.mount(item, &at.index(i))),
            (Form::Devices, _, Value::Seq(items)) => items.iter_mut().enumerate().for_each(|(i, item)| self.device(item, &at.index(i))),
            (Form::Gpus, Some(_), _) => {
                under(node, "count");
                wrap(node);
            }
            (Form::Hosts, _, _) => self.hosts(node, at),
            (Form::Stringify, None, value) if *value != Value::Null => {
                if let Some(text) = scalar::text(node) {
                    node.value = Value::String(text);
                }
            }
            _ => {}
        }
    }

    /// `- KEY=VALUE` lines as a mapping; a later one replaces an earlier one.
    fn key_values(&mut self, items: Vec<Node>, environment: bool, at: &Trail<'_>) -> Value {
        let mut entries: indexmap::IndexMap<String, Entry> = indexmap::IndexMap::with_capacity(items.len());
        for item in items {
            let Some(text) = item.as_str() else { continue };
            let (key, value) = match text.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (text, None),
            };
            let key_span = self.part(item.span, text, 0, key.len());
            if environment && key.ends_with(char::is_whitespace) {
                self.diagnostics.push(
                    Diagnostic::error("bad-variable", format!("the variable {:?} in {} ends with a blank", key, at.name()))
                        .at(key_span)
                        .help("take the blank in front of `=` out"),
                );
            }
            let value = match value {
                Some(value) => Node {
                    variables: item.variables.clone(),
                    ..Node::new(self.part(item.span, text, key.len() + 1, text.len()), Value::String(value.to_owned()))
                },
                None => Node::new(item.span, Value::Null),
            };
            let (key, said) = (key.to_owned(), value.value.clone());
            if let Some(old) = entries.insert(key.clone(), Entry { key, key_span, value })
                && old.value.value != said
            {
                self.hidden.push(Hidden { by: key_span, key: old.key_span, value: old.value.span, in_list: true });
            }
        }
        let mut map = Mapping::new();
        entries.into_values().for_each(|e| map.push_new(e));
        Value::Map(map)
    }

    fn port(&mut self, item: Node, at: &Trail<'_>) -> Vec<Node> {
        let Some(text) = scalar::text(&item) else {
            let mut item = item;
            // A number here is text everywhere else.
            if let Value::Map(map) = &mut item.value
                && !self.uninterpolated
                && let Some(published) = map.get_mut("published")
                && let Some(text) = scalar::text(published)
            {
                published.value = Value::String(text);
            }
            return vec![item];
        };
        if self.uninterpolated && text.contains('$') {
            return vec![item];
        }
        if self.budget.is_spent() {
            return Vec::new();
        }
        // Counted here, and once more with all that the document has become.
        let enough = "publish fewer ports, or use `network_mode: host`";
        match short::ports(&text) {
            Ok(ports) if !self.budget.spend(ports.len() * PORT_BYTES, Some(item.span), enough, self.diagnostics) => Vec::new(),
            Ok(ports) => ports
                .into_iter()
                .map(|port| {
                    let mut map = Mapping::new();
                    map.push_new(entry("mode", Node::implied(item.span, Value::String("ingress".into()))));
                    let mut set = |key: &str, value: Value| {
                        map.push_new(entry(key, Node { variables: item.variables.clone(), ..Node::new(item.span, value) }));
                    };
                    if !port.host_ip.is_empty() {
                        set("host_ip", Value::String(port.host_ip));
                    }
                    set("target", Value::Int(i64::from(port.target)));
                    if !port.published.is_empty() {
                        set("published", Value::String(port.published));
                    }
                    set("protocol", Value::String(port.protocol));
                    if let Some(protocol) = map.get_mut("protocol") {
                        protocol.implied = !text.contains('/');
                    }
                    Node { tag: item.tag, variables: item.variables.clone(), ..Node::new(item.span, Value::Map(map)) }
                })
                .collect(),
            Err(fault) => {
                self.fault("bad-port", fault, &item, at);
                Vec::new()
            }
        }
    }

    fn mount(&mut self, item: &mut Node, at: &Trail<'_>) {
        let Some(text) = item.as_str() else { return };
        let mount = match short::mount(text) {
            Ok(mount) => mount,
            Err(_) if self.uninterpolated && text.contains('$') => return,
            Err(fault) => return self.fault("bad-mount", fault, item, at),
        };
        for option in mount.unknown {
            self.diagnostics.push(
                Diagnostic::warning("unknown-option", format!("{} has the option {option:?}, which means nothing", at.name()))
                    .at(match text.rfind(&option) {
                        Some(start) => self.part(item.span, text, start, start + option.len()),
                        None => item.span,
                    })
                    .help(match option.to_lowercase().as_str() {
                        "readonly" | "read_only" | "read-only" | "r" => "write `ro`".to_owned(),
                        "readwrite" | "read_write" | "w" | "rwx" => "write `rw`".to_owned(),
                        other => did_you_mean(other, ["nocopy", "rprivate", "private", "rshared", "shared", "rslave", "slave"]).map_or_else(
                            || "the options are ro, rw, nocopy, z, Z, and propagation: private, shared, slave, rprivate, rshared, rslave".to_owned(),
                            |near| format!("did you mean `{near}`?"),
                        ),
                    }),
            );
        }
        let span = item.span;
        let node = |value: Value| Node::new(span, value);
        let part = |text: &str| self.find(span, item.as_str().unwrap_or_default(), text);
        let (source_span, target_span) = (part(&mount.source), part(&mount.target));
        let mut map = Mapping::new();
        map.push_new(entry("type", node(Value::String(if mount.bind { "bind" } else { "volume" }.into()))));
        if !mount.source.is_empty() {
            map.push_new(entry("source", Node { variables: item.variables.clone(), ..Node::new(source_span, Value::String(mount.source)) }));
        }
        map.push_new(entry("target", Node::new(target_span, Value::String(short::clean(&mount.target)))));
        if mount.read_only {
            map.push_new(entry("read_only", node(Value::Bool(true))));
        }
        let mut bind = Mapping::new();
        if let Some(selinux) = mount.selinux {
            bind.push_new(entry("selinux", node(Value::String(selinux))));
        }
        if let Some(propagation) = mount.propagation {
            bind.push_new(entry("propagation", node(Value::String(propagation))));
        }
        if mount.bind {
            bind.push_new(entry("create_host_path", Node::implied(span, Value::Bool(true))));
        }
        if !bind.is_empty() {
            map.push_new(entry("bind", node(Value::Map(bind))));
        }
        if mount.nocopy || !(mount.bind || mount.bare) {
            let mut volume = Mapping::new();
            if mount.nocopy {
                volume.push_new(entry("nocopy", node(Value::Bool(true))));
            }
            map.push_new(entry("volume", node(Value::Map(volume))));
        }
        item.value = Value::Map(map);
    }

    fn device(&mut self, item: &mut Node, at: &Trail<'_>) {
        let Some(text) = item.as_str() else { return };
        match short::device(text) {
            Ok((source, target, permissions)) => {
                let node = |text: String| Node { variables: item.variables.clone(), ..Node::new(item.span, Value::String(text)) };
                let mut map = Mapping::new();
                map.push_new(entry("source", node(source)));
                map.push_new(entry("target", node(target)));
                map.push_new(entry("permissions", node(permissions)));
                item.value = Value::Map(map);
            }
            Err(_) if self.uninterpolated && text.contains('$') => {}
            Err(fault) => self.fault("bad-device", fault, item, at),
        }
    }

    /// Host names as a list of `host=ip`, whichever way they are written.
    fn hosts(&mut self, node: &mut Node, at: &Trail<'_>) {
        let mut list = Vec::new();
        match &mut node.value {
            Value::Map(map) => {
                for e in std::mem::take(map).into_iter().filter(|e| e.value.tag != Some(Tag::Reset)) {
                    let Entry { key, value, key_span } = e;
                    match &value.value {
                        Value::Seq(addresses) => {
                            list.extend(addresses.iter().filter_map(|a| Some(host(&key, a.as_str()?, a))));
                        }
                        _ => match value.as_str() {
                            Some(address) => list.push(host(&key, address, &value)),
                            None => self.bad_host(key_span, &key, at),
                        },
                    }
                }
            }
            Value::Seq(items) => {
                for item in std::mem::take(items) {
                    let Some(text) = item.as_str() else { continue };
                    match text.split_once('=').or_else(|| text.split_once(':')) {
                        Some((name, addresses)) if !name.is_empty() && !name.contains([':', '=']) => {
                            list.extend(addresses.split(',').map(|address| host(name, address, &item)));
                        }
                        _ if self.uninterpolated && text.contains('$') => list.push(item),
                        _ => self.bad_host(item.span, text, at),
                    }
                }
            }
            _ => return,
        }
        node.value = Value::Seq(list);
    }

    fn bad_host(&mut self, span: Span, text: &str, at: &Trail<'_>) {
        self.diagnostics
            .push(Diagnostic::error("bad-host", format!("{text:?} in {} has no address", at.name())).at(span).help("write `name=address`"));
    }

    fn fault(&mut self, code: &'static str, fault: short::Fault, item: &Node, at: &Trail<'_>) {
        let text = scalar::text(item).unwrap_or_default();
        let span = match fault.part.is_empty() {
            true => item.span,
            false => self.part(item.span, &text, fault.part.start, fault.part.end),
        };
        let found = Diagnostic::error(code, format!("{}: {}", at.name(), fault.message)).at(span).help(fault.help);
        self.diagnostics.push(substituted(found, item, &text, self.sources));
    }

    /// The place of the bytes `start..end` of a scalar that says `text`, where the file has it just so.
    fn part(&self, span: Span, text: &str, start: usize, end: usize) -> Span {
        let written = self.sources.text(span);
        if written == text {
            return span.part(start, end);
        }
        let quoted = written.len() == text.len() + 2 && written.get(1..written.len() - 1) == Some(text);
        if quoted { span.part(start + 1, end + 1) } else { span }
    }

    /// The place of `part` inside a scalar that says `text`.
    fn find(&self, span: Span, text: &str, part: &str) -> Span {
        match text.find(part) {
            Some(start) if !part.is_empty() => self.part(span, text, start, start + part.len()),
            _ => span,
        }
    }
}

/// An entry whose key stands where its value does.
pub(super) fn entry(key: &str, value: Node) -> Entry {
    Entry { key: key.to_owned(), key_span: value.span, value }
}

fn host(name: &str, address: &str, origin: &Node) -> Node {
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    Node { variables: origin.variables.clone(), ..Node::new(origin.span, Value::String(format!("{name}={address}"))) }
}

/// Options of a short bind mount: its folder is created.
pub(super) fn created(span: Span) -> Entry {
    let mut bind = Mapping::new();
    bind.push_new(entry("create_host_path", Node::implied(span, Value::Bool(true))));
    entry("bind", Node::new(span, Value::Map(bind)))
}

/// A dependency that only wants the other to be started; `restart` is said for implicit ones.
pub(super) fn dependency(span: Span, restart: Option<bool>) -> Node {
    let mut map = Mapping::new();
    map.push_new(entry("condition", Node::implied(span, Value::String("service_started".into()))));
    if let Some(restart) = restart {
        map.push_new(entry("restart", Node::implied(span, Value::Bool(restart))));
    }
    map.push_new(entry("required", Node::implied(span, Value::Bool(true))));
    Node::new(span, Value::Map(map))
}

/// A value as the only item of a list; the tag goes with the list.
fn wrap(node: &mut Node) {
    let (span, tag) = (node.span, node.tag.take());
    let item = std::mem::replace(node, Node::new(span, Value::Null));
    node.tag = tag;
    node.value = Value::Seq(vec![item]);
}

/// A value as the only entry of a mapping; the tag goes with the mapping.
fn under(node: &mut Node, key: &str) {
    let (span, tag) = (node.span, node.tag.take());
    let inner = std::mem::replace(node, Node::new(span, Value::Null));
    let mut map = Mapping::new();
    map.push_new(entry(key, inner));
    node.tag = tag;
    node.value = Value::Map(map);
}
