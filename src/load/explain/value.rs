//! Values at a path.

use super::{Known, Story, place, resolve, shown, table};
use crate::diag::{Diagnostic, KeyPath, Segment, SourceMap, Span, did_you_mean};
use crate::load::annotate::Mentions;
use crate::load::check::takes;
use crate::load::keys::{Identity, Merge, Object, ROOT, Shape};
use crate::load::merge::{child, identity_of, item_shape};
use crate::load::trace::{From, Layer, Origin, Outcome};
use crate::load::{Provenance, lower};
use crate::yaml::{Node, Tag, Value};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;

/// What one layer says about a path.
struct Voice<'a> {
    layer: &'a Layer,
    said: Said<'a>,
}

enum Said<'a> {
    /// A value, with the place of its key, and the place of the nearest `!override` on the way to it.
    Value { node: &'a Node, key: Span, parent: Span, replaces: Option<Span> },
    /// `!reset` here or above.
    Reset(Span),
}

/// Something that lost.
struct Loser {
    span: Span,
    value: String,
    why: String,
}

/// The story of the value that `what` names.
pub(super) fn explain(what: &str, known: Known<'_>, provenance: &Provenance) -> Result<Story, Box<Diagnostic>> {
    let Known { trace, sources, .. } = known;
    let (found, rest) = resolve(what, provenance.root());
    let mut path = found;
    let node = if rest.is_empty() { provenance.find(&path) } else { None };
    if node.is_none() {
        // Layers may have what the result hasn't: what was reset, what became something else.
        let elsewhere = trace.layers.iter().find_map(|layer| {
            let own = under(layer, &path)?;
            let inside = rest.join(".");
            let (more, left) = resolve(&inside, own);
            left.is_empty().then(|| KeyPath(path.0.iter().chain(&more.0).cloned().collect()))
        });
        match elsewhere {
            Some(there) => path = there,
            None => return Err(Box::new(unknown(&path, &rest, provenance))),
        }
    }
    let voices: Vec<Voice<'_>> = trace.layers.iter().filter_map(|layer| voice(layer, &path, provenance)).collect();
    // The last layer that wrote what came out.
    let written = |v: &Voice<'_>, node: &Node| matches!(v.said, Said::Value { node: own, .. } if own.span == node.span);
    let spoken = |v: &Voice<'_>| matches!(v.said, Said::Value { node, .. } if node.value != Value::Null);
    let winner = match node.filter(|n| !n.implied) {
        Some(node) => voices.iter().rposition(|v| written(v, node)).or_else(|| voices.iter().rposition(spoken)),
        None if node.is_some() => None,
        None => voices.iter().rposition(|v| matches!(v.said, Said::Value { .. })).filter(|at| reset_after(&voices, *at).is_none()),
    };
    let collection = node.is_some_and(|n| matches!(n.value, Value::Map(_) | Value::Seq(_)));
    let mut losers = match node.filter(|_| collection) {
        Some(node) => dropped(node, &path, &voices, sources),
        None => losers(&voices, winner, sources),
    };
    losers.extend(hidden(&voices, &path, known, collection));
    let story = Telling { known, path: &path, node, voices: &voices, winner, losers };
    Ok(story.tell())
}

/// The part of a layer at `path`, which may go less deep than the layer itself.
fn under<'a>(layer: &'a Layer, path: &KeyPath) -> Option<&'a Node> {
    let rest = path.0.strip_prefix(layer.at.0.as_slice())?;
    rest.iter().try_fold(&layer.node, |node, step| match (step, &node.value) {
        (Segment::Key(key), Value::Map(map)) => map.get(key),
        (Segment::Index(i), Value::Seq(items)) => items.get(*i),
        _ => None,
    })
}

/// What a layer says about `path`.
fn voice<'a>(layer: &'a Layer, path: &KeyPath, provenance: &Provenance) -> Option<Voice<'a>> {
    let rest = path.0.strip_prefix(layer.at.0.as_slice())?;
    let (mut node, mut key, mut parent, mut replaces) = (&layer.node, layer.node.span, layer.node.span, None);
    let reset = |span| Some(Voice { layer, said: Said::Reset(span) });
    for (i, step) in rest.iter().enumerate() {
        if node.tag == Some(Tag::Reset) {
            return reset(node.span);
        }
        if node.tag == Some(Tag::Override) {
            replaces = Some(node.span);
        }
        parent = node.span;
        match (step, &node.value) {
            (Segment::Key(name), Value::Map(map)) => {
                let entry = map.entry(name)?;
                (node, key) = (&entry.value, entry.key_span);
            }
            (Segment::Index(_), Value::Seq(items)) => {
                let whole = KeyPath(path.0[..layer.at.0.len() + i + 1].to_vec());
                node = same_item(items, &whole, provenance)?;
                key = node.span;
            }
            _ => return None,
        }
    }
    match node.tag {
        Some(Tag::Reset) => reset(key),
        tag => {
            Some(Voice { layer, said: Said::Value { node, key, parent, replaces: replaces.or((tag == Some(Tag::Override)).then_some(node.span)) } })
        }
    }
}

/// The item of a layer's list that is the one at `path` of the result, or stood in its place.
fn same_item<'a>(items: &'a [Node], path: &KeyPath, provenance: &Provenance) -> Option<&'a Node> {
    let wanted = provenance.find(path)?;
    if let Some(item) = items.iter().find(|i| i.span == wanted.span && i.value == wanted.value) {
        return Some(item);
    }
    if let Some(item) = items.iter().find(|i| i.span == wanted.span) {
        return Some(item);
    }
    let (_, Merge::Unique(identity)) = rule(&path.parent()) else { return None };
    let id = identity_of(wanted, identity)?;
    items.iter().rfind(|i| identity_of(i, identity).as_ref() == Some(&id))
}

/// Shape and merge rule of what stands at `path`.
fn rule(path: &KeyPath) -> (Shape, Merge) {
    path.0.iter().fold((Shape::Object(&ROOT), Merge::Deep), |(shape, rule), step| match step {
        Segment::Key(key) => {
            let (shape, rule) = child(&shape, key, rule);
            (*shape, rule)
        }
        Segment::Index(_) => (*item_shape(&shape), Merge::Deep),
    })
}

/// The `!reset` of a layer above the one at `at`.
fn reset_after(voices: &[Voice<'_>], at: usize) -> Option<Span> {
    voices.get(at + 1..)?.iter().find_map(|v| match v.said {
        Said::Reset(span) => Some(span),
        Said::Value { .. } => None,
    })
}

/// Why each layer that isn't the winner isn't.
fn losers(voices: &[Voice<'_>], winner: Option<usize>, sources: &SourceMap) -> Vec<Loser> {
    let mut found = Vec::new();
    for (i, voice) in voices.iter().enumerate().rev() {
        let Said::Value { node, .. } = &voice.said else { continue };
        if Some(i) == winner || node.implied {
            continue;
        }
        // The nearest layer above that takes the word.
        let above = voices[i + 1..].iter().find(|v| match v.said {
            Said::Reset(_) => true,
            Said::Value { node, .. } => node.value != Value::Null || winner.is_none(),
        });
        let why = match above.map(|v| (&v.said, v)) {
            Some((Said::Reset(span), _)) => format!("`!reset` at {} takes it out", sources.place(*span)),
            Some((Said::Value { replaces: Some(span), .. }, _)) => {
                format!("`!override` at {} replaces all that was said before", sources.place(*span))
            }
            Some((Said::Value { .. }, over)) => laid_over(voice.layer, over.layer, sources),
            None if node.value == Value::Null => "it says nothing, so what was said before stays".to_owned(),
            None => "something else took its place".to_owned(),
        };
        found.push(Loser { span: node.span, value: shown(node), why });
    }
    found
}

/// What layers say about a list or mapping and the result hasn't.
fn dropped(node: &Node, path: &KeyPath, voices: &[Voice<'_>], sources: &SourceMap) -> Vec<Loser> {
    let mut found = Vec::new();
    for (i, voice) in voices.iter().enumerate() {
        let Said::Value { node: own, .. } = &voice.said else { continue };
        let above = voices.get(i + 1..).unwrap_or_default();
        let taken = above.iter().find_map(|v| match v.said {
            Said::Reset(span) => Some(format!("`!reset` at {} takes it out", sources.place(span))),
            Said::Value { replaces: Some(span), .. } => Some(format!("`!override` at {} replaces all that was said before", sources.place(span))),
            Said::Value { .. } => None,
        });
        let loser = |node: &Node, why: String| Loser { span: node.span, value: shown(node), why };
        match (taken, &own.value, &node.value) {
            (Some(why), ..) => found.push(loser(own, why)),
            (None, Value::Seq(items), Value::Seq(kept)) => {
                let lost: Vec<&Node> = items.iter().filter(|i| !kept.iter().any(|k| k.span == i.span)).collect();
                let over = above.iter().rev().find(|v| matches!(v.said, Said::Value { .. }));
                match (rule(path).1, over) {
                    (Merge::Unique(identity), _) => found.extend(lost.into_iter().map(|item| {
                        let id = identity_of(item, identity);
                        let same = kept.iter().find(|k| id.is_some() && identity_of(k, identity) == id);
                        let why = same.map_or_else(
                            || "something else took its place".to_owned(),
                            |k| format!("the one at {} is for the same {}", sources.place(k.span), same_what(identity)),
                        );
                        loser(item, why)
                    })),
                    (_, Some(over)) if lost.len() == items.len() && !items.is_empty() => {
                        found.push(loser(own, laid_over(voice.layer, over.layer, sources)));
                    }
                    _ => {}
                }
            }
            (None, Value::Map(map), Value::Map(kept)) => {
                for entry in map.iter().filter(|e| !kept.contains(&e.key)) {
                    let reset = above.iter().find_map(|v| match v.said {
                        Said::Value { node, .. } => node.as_map()?.entry(&entry.key).filter(|e| e.value.tag == Some(Tag::Reset)),
                        Said::Reset(_) => None,
                    });
                    if let Some(reset) = reset {
                        let why = format!("`!reset` at {} takes it out", sources.place(reset.key_span));
                        found.push(Loser { span: entry.key_span, value: format!("{}: {}", entry.key, shown(&entry.value)), why });
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// What two items of one identity have in common.
fn same_what(identity: Identity) -> &'static str {
    match identity {
        Identity::Text => "text",
        Identity::BeforeEquals => "name",
        Identity::Target | Identity::TargetIn(_) => "target",
        Identity::Port => "address and port",
        Identity::Path => "path",
        Identity::Subnet => "subnet",
    }
}

/// Why one layer goes before another.
fn laid_over(below: &Layer, above: &Layer, sources: &SourceMap) -> String {
    let file = |layer: &Layer| sources.file(layer.node.span.source).name.clone();
    match (below.origin, above.origin) {
        (Origin::EnvFile(_), Origin::EnvFile(_)) => "a later env file goes before it".to_owned(),
        (Origin::EnvFile(_), _) => "`environment` goes before `env_file`".to_owned(),
        (Origin::LabelFile(_), Origin::LabelFile(_)) => "a later label file goes before it".to_owned(),
        (Origin::LabelFile(_), _) => "`labels` goes before `label_file`".to_owned(),
        (Origin::Base(_), Origin::Base(_)) => "the service that extends it says otherwise".to_owned(),
        (Origin::Base(at), _) => format!("the service itself says otherwise; this comes by `extends` at {}", sources.place(at)),
        (Origin::Included(one), Origin::Included(other)) if one == other => format!("{} is laid over it", file(above)),
        (Origin::Included(at), _) => format!("the file that includes it (at {}) says otherwise", sources.place(at)),
        _ if below.node.span.source == above.node.span.source => "a later document of the same file goes before it".to_owned(),
        _ => format!("{} is laid over {}", file(above), file(below)),
    }
}

/// What merge keys brought in vain, and earlier lines of `KEY=VALUE` lists.
fn hidden(voices: &[Voice<'_>], path: &KeyPath, known: Known<'_>, collection: bool) -> Vec<Loser> {
    let Known { trace, sources, .. } = known;
    let keys: Vec<Span> = voices
        .iter()
        .filter_map(|v| match v.said {
            Said::Value { key, .. } if !collection || path.0.len() > 2 => Some(key),
            _ => None,
        })
        .collect();
    let mut found: Vec<Loser> = Vec::new();
    for hidden in trace.hidden.iter().filter(|h| keys.contains(&h.by)) {
        let why = if hidden.in_list {
            format!("the later line at {} counts", sources.place(hidden.by))
        } else {
            format!("it comes by a merge key (`<<`), and the nearer key at {} goes before it", sources.place(hidden.by))
        };
        let value = super::written(sources, hidden.value);
        found.push(Loser { span: hidden.value, value, why });
    }
    found
}

/// Nothing is called so.
fn unknown(found: &KeyPath, rest: &[String], provenance: &Provenance) -> Diagnostic {
    let here = provenance.find(found);
    let missing = rest.first().map_or("", String::as_str);
    let at = if found.0.is_empty() { "at the top level".to_owned() } else { format!("in `{found}`") };
    let shape = rule(found).0;
    if let Some(key) = object(&shape, here).and_then(|o| o.key(missing)) {
        return Diagnostic::error("not-set", format!("nobody sets `{}`, and it has no default", found.key(missing)))
            .at_opt(provenance.key(found))
            .help(format!("`{missing}`: {}", key.doc));
    }
    let keys: Vec<&str> = here.and_then(Node::as_map).into_iter().flatten().map(|e| e.key.as_str()).collect();
    let known = object(&shape, here).into_iter().flat_map(|o| o.keys.iter().map(|k| k.name));
    let help = match did_you_mean(missing, keys.iter().copied().chain(known)) {
        Some(near) => format!("did you mean `{}`?", found.key(near)),
        None if keys.is_empty() => match here.and_then(Node::as_seq) {
            Some(items) => format!("it is a list of {}: say `{found}[0]`", items.len()),
            None => "it has nothing inside".to_owned(),
        },
        None => format!("there is: {}", super::listed(&keys.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>())),
    };
    Diagnostic::error("unknown-path", format!("there is no {missing:?} {at}")).at_opt(provenance.key(found)).help(help)
}

fn object(shape: &Shape, node: Option<&Node>) -> Option<&'static Object> {
    match shape {
        Shape::Object(object) => Some(object),
        Shape::Either(shapes) => shapes.iter().filter(|s| node.is_none_or(|n| takes(s, n))).find_map(|s| object(s, node)),
        _ => None,
    }
}

struct Telling<'a> {
    known: Known<'a>,
    path: &'a KeyPath,
    /// In the result.
    node: Option<&'a Node>,
    voices: &'a [Voice<'a>],
    winner: Option<usize>,
    losers: Vec<Loser>,
}

impl Telling<'_> {
    fn tell(&self) -> Story {
        let Known { sources, .. } = self.known;
        let winner = self.winner.and_then(|i| self.voices.get(i));
        let node = self.node.or(match winner.map(|w| &w.said) {
            Some(Said::Value { node, .. }) => Some(*node),
            _ => None,
        });
        let mut text = String::new();
        let mut json = json!({ "path": self.path.to_string(), "set": node.is_some(), "value": node.map(lower::json) });
        let mut how: Vec<String> = Vec::new();
        match node {
            None => {
                let _ = writeln!(text, "{} is not set", self.name());
                if let Some(Voice { said: Said::Reset(span), .. }) = self.voices.iter().rev().find(|v| matches!(v.said, Said::Reset(_))) {
                    how.push(format!("`!reset` at {} takes it out", sources.place(*span)));
                }
            }
            Some(node) => {
                match &node.value {
                    Value::Map(map) => _ = writeln!(text, "{} has {}", self.name(), counted(map.len(), "key", "keys")),
                    Value::Seq(items) => _ = writeln!(text, "{} has {}", self.name(), counted(items.len(), "item", "items")),
                    _ => _ = writeln!(text, "{} = {}", self.path, shown(node)),
                }
                let trace = self.known.trace;
                let whole = |key: &str| self.path.0.len() == 1 && self.path.last_key() == Some(key);
                if let Some(from) = trace.name_from.as_deref().filter(|_| whole("name")) {
                    how.push(format!("from {from}"));
                } else if node.implied {
                    how.push("default: nobody says it".to_owned());
                    json["default"] = json!(true);
                } else if !matches!(node.value, Value::Map(_) | Value::Seq(_)) || winner.is_none() {
                    how.push(format!("from {}", sources.place(node.span)));
                    json["place"] = place(sources, node.span);
                }
                how.extend(winner.and_then(|w| self.came_by(w)));
                let variables = self.variables(node);
                how.extend(variables.iter().map(|(line, _)| line.clone()));
                if let [Segment::Key(_), Segment::Key(_), Segment::Key(list), Segment::Key(name)] = self.path.0.as_slice()
                    && list == "environment"
                    && node.value == Value::Null
                {
                    how.push(format!("it asks for the value of the environment, where {name} is not set"));
                }
                if !variables.is_empty() {
                    json["variables"] = variables.into_iter().map(|(_, json)| json).collect();
                }
            }
        }
        if !matches!(node.map(|n| &n.value), Some(Value::Map(_) | Value::Seq(_))) || node.is_some_and(|n| n.implied) {
            how.iter().for_each(|line| _ = writeln!(text, "  {line}"));
        }
        json["how"] = how.into_iter().map(Json::from).collect();
        if let Some(parts) = node.map(|n| self.parts(n)).filter(|p| !p.is_empty()) {
            let rows: Vec<Vec<String>> = parts.iter().map(|(name, value, at, _)| vec![at.clone(), name.clone(), value.clone()]).collect();
            text.push_str(&table(&rows));
            json["parts"] = parts.into_iter().map(|(.., json)| json).collect();
        }
        if !self.losers.is_empty() {
            let rows: Vec<Vec<String>> = self.losers.iter().map(|l| vec![sources.place(l.span), l.value.clone(), l.why.clone()]).collect();
            let _ = write!(text, "\nlost:\n{}", table(&rows));
        }
        json["losers"] = self.losers.iter().map(|l| json!({ "place": place(sources, l.span), "value": l.value, "why": l.why })).collect();
        Story { text, json }
    }

    fn name(&self) -> String {
        if self.path.0.is_empty() { "the project".to_owned() } else { self.path.to_string() }
    }

    /// How the winner came where it is, if it isn't simply written there.
    fn came_by(&self, winner: &Voice<'_>) -> Option<String> {
        let sources = self.known.sources;
        let by = match winner.layer.origin {
            Origin::File => None,
            Origin::Included(at) => Some(format!("its file is included at {}", sources.place(at))),
            Origin::Base(at) => Some(format!("by `extends` at {}", sources.place(at))),
            Origin::EnvFile(at) => Some(format!("by `env_file` at {}", sources.place(at))),
            Origin::LabelFile(at) => Some(format!("by `label_file` at {}", sources.place(at))),
        };
        let Said::Value { node, key, parent, .. } = winner.said else { return by };
        if matches!(winner.layer.origin, Origin::EnvFile(_) | Origin::LabelFile(_)) {
            return by;
        }
        let outside = |inner: Span| inner.source != parent.source || inner.start < parent.start || inner.end > parent.end;
        let alias = if outside(key) {
            Some(format!("by a merge key (`<<`) in the mapping at {}", sources.place(parent)))
        } else if outside(node.span) {
            Some(format!("by an alias (`*`) at {}", sources.place(key)))
        } else {
            None
        };
        match (by, alias) {
            (Some(by), Some(alias)) => Some(format!("{by}, {alias}")),
            (by, alias) => by.or(alias),
        }
    }

    /// The variables in a value.
    fn variables(&self, node: &Node) -> Vec<(String, Json)> {
        let Known { trace, sources, .. } = self.known;
        if matches!(node.value, Value::Map(_) | Value::Seq(_)) {
            return Vec::new();
        }
        let told = |name: &str, environment: usize| match trace.winner(name, environment) {
            Some(From::Shell(value)) => (format!("{name} = {} from the shell", super::clipped(value)), json!({ "kind": "shell" })),
            Some(From::File(s)) => (
                format!("{name} = {} from {}", super::clipped(&s.value), sources.place(s.span)),
                json!({ "kind": "env-file", "place": place(sources, s.span) }),
            ),
            Some(From::ProjectName) => (format!("{name} is the name of the project"), json!({ "kind": "project-name" })),
            Some(From::Directory) => (format!("{name} is the working directory"), json!({ "kind": "directory" })),
            None => (format!("{name} is not set"), json!({ "kind": "unset" })),
        };
        let mut found: Vec<(String, Json)> = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for mention in Mentions::new(&trace.mentions).of(node) {
            names.push(&mention.name);
            let (text, mut json) = match &mention.outcome {
                Outcome::Default(value) => {
                    (format!("{} is not set, {} gives {}", mention.name, mention.text, super::clipped(value)), json!({ "kind": "default" }))
                }
                _ => told(&mention.name, mention.environment),
            };
            json["name"] = json!(mention.name);
            json["expression"] = json!(mention.text);
            if !found.iter().any(|(t, _)| *t == text) {
                found.push((text, json));
            }
        }
        for name in node.variables.iter().filter(|n| !names.contains(&n.as_str())) {
            let environment = (0..trace.environments.len()).find(|e| trace.winner(name, *e).is_some()).unwrap_or(0);
            let (text, mut json) = told(name, environment);
            json["name"] = json!(name);
            found.push((text, json));
        }
        found
    }

    /// The parts of a collection: name, value, place, and all of it as data.
    fn parts(&self, node: &Node) -> Vec<(String, String, String, Json)> {
        let sources = self.known.sources;
        let one = |name: String, path: &KeyPath, node: &Node, span: Span| {
            let at = if node.implied { "default".to_owned() } else { sources.place(span) };
            let mut json = json!({ "path": path.to_string(), "value": lower::json(node) });
            if node.implied {
                json["default"] = json!(true);
            } else {
                json["place"] = place(sources, span);
            }
            (name, shown(node), at, json)
        };
        match &node.value {
            Value::Map(map) => map.iter().map(|e| one(e.key.clone(), &self.path.key(&e.key), &e.value, e.key_span)).collect(),
            Value::Seq(items) => items.iter().enumerate().map(|(i, n)| one(format!("[{i}]"), &self.path.index(i), n, n.span)).collect(),
            _ => Vec::new(),
        }
    }
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
