//! The table as a document, for people.

use super::schema::description;
use super::{Form, Format, Identity, Key, Merge, Object, Others, ROOT, Scalar, Shape};
use crate::load::cure::describe;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Every key of the format in Markdown: what it may be, what it means, how files merge, whether it is acted on.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# The keys of a Compose file\n\n\
         Every object takes `x-…` keys of your own, where it isn't said otherwise. A later file adds to mappings and \
         lists and replaces anything else, where it isn't said otherwise; `!override` replaces, `!reset` takes away.\n",
    );
    let mut seen = BTreeSet::new();
    let mut waiting = vec![("Top level".to_owned(), &ROOT)];
    while !waiting.is_empty() {
        let (path, object) = waiting.remove(0);
        if !seen.insert(object.what) {
            continue;
        }
        let _ = write!(text, "\n## {path}\n");
        if object.others == Others::Refused {
            text.push_str("No `x-…` here.\n");
        }
        text.push_str("\n| key | may be | meaning |\n|---|---|---|\n");
        let mut below = Vec::new();
        for key in object.keys {
            let name = if object.required.contains(&key.name) { format!("`{}`, required", key.name) } else { format!("`{}`", key.name) };
            let sentences: Vec<_> = [Some(description(key)), short(key).map(str::to_owned), merge(key)].into_iter().flatten().collect();
            let _ = writeln!(text, "| {name} | {} | {} |", may_be(&key.shape), sentences.join(" ").replace('|', "\\|"));
            objects(&key.shape, &mut |inner, suffix| {
                let parent = if std::ptr::eq(object, &ROOT) { String::new() } else { format!("{path}.") };
                below.push((format!("{parent}{}{suffix}", key.name), inner));
            });
        }
        waiting.extend(below);
    }
    text
}

/// What it may be, in words.
fn may_be(shape: &Shape) -> String {
    match shape {
        Shape::Scalar(Scalar { format: Format::OneOf(words), .. }) => words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", "),
        _ => describe(shape),
    }
}

/// The objects within a shape, each with what stands between: `.NAME`, `[]`.
fn objects(shape: &Shape, visit: &mut dyn FnMut(&'static Object, String)) {
    match shape {
        Shape::Object(object) => visit(object, String::new()),
        Shape::List(list) => objects(list.item, &mut |o, suffix| visit(o, format!("[]{suffix}"))),
        Shape::Map(map) => objects(map.value, &mut |o, suffix| visit(o, format!(".NAME{suffix}"))),
        Shape::Either(shapes) => shapes.iter().for_each(|s| objects(s, visit)),
        Shape::Any | Shape::Null | Shape::Scalar(_) => {}
    }
}

/// Other ways of writing it.
fn short(key: &Key) -> Option<&'static str> {
    Some(match key.form {
        Form::AsIs | Form::Stringify => return None,
        Form::KeyValues => "A list of `KEY=VALUE` is a mapping.",
        Form::Pairs(_) => "A list of `NAME=VALUE` is a mapping.",
        Form::Environment => "A list of `KEY=VALUE` is a mapping; `KEY` alone takes the value of the project's environment.",
        Form::Names => "A list of names is a mapping of empty ones.",
        Form::DependsOn => "A list of services waits for each to be started.",
        Form::List | Form::OneOrMore => "One string is a list of one.",
        Form::Words => "A string is split into words as a shell does.",
        Form::Test => "A string is run by the container's shell: `[CMD-SHELL, …]`.",
        Form::Under("context") => "A string is the `context`.",
        Form::Under("service") => "A string is the `service`.",
        Form::Under(_) => "A string stands for the mapping.",
        Form::ItemsUnder("source") => "A string is the `source`.",
        Form::ItemsUnder("path") => "A string is the `path`.",
        Form::ItemsUnder(_) => "A string stands for the mapping.",
        Form::EnvFiles => "A string is the `path` of a required file.",
        Form::Ports => "Short: `[[IP:]PUBLISHED:]TARGET[/PROTOCOL]`, with ranges.",
        Form::Mounts => "Short: `[SOURCE:]TARGET[:OPTIONS]`.",
        Form::Devices => "Short: `SOURCE[:TARGET[:PERMISSIONS]]`.",
        Form::Gpus => "`all` asks for all of them.",
        Form::Hosts => "A list of `HOST=IP` is a mapping.",
        Form::External => "A mapping with `name` is the deprecated form.",
    })
}

/// How a later file changes it, where that isn't the ordinary way.
fn merge(key: &Key) -> Option<String> {
    let what = match key.merge {
        Merge::Deep | Merge::Values => return None,
        Merge::Replace => return Some("A later file replaces it.".into()),
        Merge::Logging => return Some("A later file adds options where the driver is the same.".into()),
        Merge::Missing => "A later file adds items that aren't there yet.",
        Merge::Unique(identity) => match identity {
            Identity::Text | Identity::BeforeEquals => return Some("Duplicates count once.".into()),
            Identity::Target | Identity::TargetIn(_) => "target",
            Identity::Port => "address, ports and protocol",
            Identity::Path => "path",
            Identity::Subnet => return Some("A later file adds to the item with the same subnet.".into()),
        },
    };
    Some(format!("An item of a later file replaces one with the same {what}."))
}
