//! What is allowed and still not what people mean: the findings that only `check` has.
//!
//! A trap that cries wolf is worse than one that is missed: each asks for evidence in the files. What is merely worth
//! knowing is a note.

mod gates;
mod images;
mod mounts;
mod ports;
mod resources;
mod values;
mod variables;

use super::{Loaded, spans_of_entries};
use crate::diag::{Diagnostic, KeyPath, Severity, SourceId, Span, did_you_mean};
use crate::model::Service;
use crate::yaml::Node;
use std::collections::{BTreeMap, BTreeSet};

/// A kind of trap.
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    /// Its stable name.
    pub code: &'static str,
    /// What it is about, in a few words.
    pub about: &'static str,
}

/// Every trap, by name.
pub static TRAPS: &[Trap] = &[
    trap("anonymous-volume-in-bind", "an anonymous volume keeps a folder of the image from an earlier build"),
    trap("bind-missing", "a mounted file or folder of the host isn't there"),
    trap("build-missing", "the folder or the Dockerfile of a build isn't there"),
    trap("dollar-in-secret", "`$` in a password is read as a variable"),
    trap("duplicate-variable", "a variable is set twice in one list or file"),
    trap("env-file-not-for-files", "a variable is looked for that only an `env_file` sets"),
    trap("gate-never-opens", "waiting for the end of a service that is always restarted"),
    trap("gate-only-started", "waiting only for the start of a service that has a health check"),
    trap("gate-without-healthcheck", "waiting for the health of a service without a health check"),
    trap("image-latest", "an image without a tag, or with `latest`"),
    trap("localhost-is-the-container", "an address that means the container itself"),
    trap("near-variable", "a variable is not set, and one of nearly the same name is"),
    trap("port-open-to-all", "a port that others can reach"),
    trap("port-published-twice", "two entries publish one port of the host"),
    trap("port-of-replicas", "several containers want one port of the host"),
    trap("port-sexagesimal", "an unquoted port that other tools read as a number of base 60"),
    trap("ports-add-up", "a later file adds a port where it seems to replace one"),
    trap("ports-without-network", "published ports on a service that has no network of its own"),
    trap("shell-variable", "a variable of the container is replaced before it gets there"),
    trap("unused-resource", "a volume, network, secret or config that no service uses"),
    trap("unused-variable", "an env file sets what nothing uses"),
    trap("value-rewritten", "an unquoted value doesn't arrive as it is written"),
    trap("x-consort", "a setting of Consort's own that it doesn't know"),
];

/// Warnings of every load, which can be allowed too.
static WARNINGS: &[&str] = &[
    "boolean-word",
    "empty-source",
    "engine-refuses",
    "env-file",
    "external-name",
    "ignored-key",
    "name-of-link",
    "no-such-folder",
    "obsolete-version",
    "override-null",
    "several-files",
    "shell-syntax",
    "unknown-option",
    "unknown-tag",
    "unset-variable",
];

const fn trap(code: &'static str, about: &'static str) -> Trap {
    Trap { code, about }
}

/// Refuses a code that no warning has.
///
/// # Errors
/// With the nearest one that there is.
pub fn known(code: &str) -> Result<(), Box<Diagnostic>> {
    let codes = || TRAPS.iter().map(|t| t.code).chain(WARNINGS.iter().copied());
    if codes().any(|c| c == code) {
        return Ok(());
    }
    let unknown = Diagnostic::error("usage", format!("no warning is called {code:?}"));
    Err(Box::new(match did_you_mean(code, codes()) {
        Some(near) => unknown.help(format!("did you mean `{near}`?")),
        None => unknown.help("`consort check --help` lists them; errors can't be allowed"),
    }))
}

/// Everything that `check` says about a project that loads: the warnings of the load, what won't be honoured, and the
/// traps; without those that are allowed, in the order of their places. Needs a load with `trace`.
pub fn check(loaded: &Loaded, allowed: &BTreeSet<String>) -> Vec<Diagnostic> {
    let mut search = Search { loaded, found: loaded.diagnostics.clone() };
    search.found.extend(loaded.unhonoured.iter().cloned());
    variables::find(&mut search);
    for service in search.services() {
        ports::find(&mut search, service);
        gates::find(&mut search, service);
        images::find(&mut search, service);
        mounts::find(&mut search, service);
        values::find(&mut search, service);
    }
    ports::across(&mut search);
    resources::find(&mut search);
    let permits = Permits::read(loaded, &mut search.found);
    let mut found = search.found;
    found.retain(|d| d.is_error() || !(allowed.contains(d.code) || permits.allow(d)));
    found.sort_by_key(|d| (d.span, d.code));
    found.dedup();
    found
}

struct Search<'a> {
    loaded: &'a Loaded,
    found: Vec<Diagnostic>,
}

impl<'a> Search<'a> {
    /// All services, those that are switched off too.
    fn services(&self) -> impl Iterator<Item = &'a Service> + use<'a> {
        let project = &self.loaded.project;
        project.services.values().chain(project.disabled.values())
    }

    fn service(&self, name: &str) -> Option<&'a Service> {
        let project = &self.loaded.project;
        project.services.get(name).or_else(|| project.disabled.get(name))
    }

    fn warn(&mut self, code: &'static str, at: Option<Span>, message: String, help: impl Into<String>) -> &mut Diagnostic {
        self.say(Severity::Warning, code, at, message, help)
    }

    fn note(&mut self, code: &'static str, at: Option<Span>, message: String, help: impl Into<String>) -> &mut Diagnostic {
        self.say(Severity::Note, code, at, message, help)
    }

    fn say(&mut self, severity: Severity, code: &'static str, at: Option<Span>, message: String, help: impl Into<String>) -> &mut Diagnostic {
        debug_assert!(TRAPS.iter().any(|t| t.code == code), "{code} is not in the table");
        self.found.push(Diagnostic::new(severity, code, message).at_opt(at).help(help));
        self.found.last_mut().expect("one was just added")
    }

    fn node(&self, path: &KeyPath) -> Option<&'a Node> {
        self.loaded.provenance.find(path)
    }

    /// A path as messages call it: from the project's directory if it is below it.
    fn shown(&self, path: &str) -> String {
        let below = std::path::Path::new(path).strip_prefix(&self.loaded.project.working_dir);
        below.map_or_else(|_| path.to_owned(), |rest| format!("./{}", rest.display()))
    }

    /// The place of the value at a path, or of what it belongs to.
    fn at(&self, path: &KeyPath) -> Option<Span> {
        self.loaded.provenance.value(path).or_else(|| self.loaded.provenance.nearest(path))
    }
}

fn path_of(service: &Service) -> KeyPath {
    KeyPath::of(["services", service.name.as_str()])
}

/// What `x-consort: {allow: […]}` permits, for all and for single services.
#[derive(Default)]
struct Permits {
    everywhere: BTreeSet<String>,
    services: Vec<(BTreeSet<String>, Extent)>,
}

/// First and last byte of a service in each text that it is written in.
type Extent = BTreeMap<SourceId, (u32, u32)>;

impl Permits {
    fn read(loaded: &Loaded, found: &mut Vec<Diagnostic>) -> Self {
        let root = loaded.provenance.root();
        let mut permits = Self { everywhere: listed(root, found), services: Vec::new() };
        let mut spans = spans_of_entries(root);
        for entry in root.get("services").and_then(Node::as_map).into_iter().flatten() {
            let codes = listed(&entry.value, found);
            if let (false, Some(places)) = (codes.is_empty(), spans.remove(&("services".to_owned(), entry.key.clone()))) {
                permits.services.push((codes, places));
            }
        }
        permits
    }

    fn allow(&self, finding: &Diagnostic) -> bool {
        let within =
            |places: &Extent| finding.span.is_some_and(|at| places.get(&at.source).is_some_and(|(start, end)| (*start..=*end).contains(&at.start)));
        self.everywhere.contains(finding.code) || self.services.iter().any(|(codes, places)| codes.contains(finding.code) && within(places))
    }
}

/// The codes that `x-consort` of a mapping allows; what it says beside that is a finding.
fn listed(node: &Node, found: &mut Vec<Diagnostic>) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let Some(ours) = node.get("x-consort") else { return codes };
    let odd = |span: Span, what: String, help: String| Diagnostic::warning("x-consort", what).at(span).help(help);
    let form = || "write `x-consort: {allow: [image-latest]}`".to_owned();
    let Some(map) = ours.as_map() else {
        found.push(odd(ours.span, format!("`x-consort` must be a mapping, not {}", ours.value.kind()), form()));
        return codes;
    };
    for entry in map {
        if entry.key != "allow" {
            found.push(odd(entry.key_span, format!("`x-consort` has no key {:?}", entry.key), form()));
            continue;
        }
        let Some(items) = entry.value.as_seq() else {
            found.push(odd(entry.value.span, format!("`allow` must be a list, not {}", entry.value.value.kind()), form()));
            continue;
        };
        for item in items {
            let code = super::scalar::text(item).unwrap_or_default();
            match known(&code) {
                Ok(()) => _ = codes.insert(code),
                Err(unknown) => found.push(odd(item.span, unknown.message.clone(), unknown.help.clone().unwrap_or_default())),
            }
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trap_is_shown_by_a_scenario() {
        let text = include_str!("../../../tests/scenarios/check/run");
        for trap in TRAPS {
            assert!(text.contains(&format!("[{}]", trap.code)), "{} has no example in tests/scenarios/check", trap.code);
        }
    }

    #[test]
    fn codes_are_sorted_into_one_table() {
        let codes: Vec<&str> = TRAPS.iter().map(|t| t.code).collect();
        let unique: BTreeSet<&str> = codes.iter().copied().collect();
        assert_eq!(unique.len(), codes.len());
        assert!(codes.iter().all(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        assert!(TRAPS.iter().all(|t| !t.about.ends_with('.')));
        assert!(known("image-latest").is_ok() && known("unset-variable").is_ok());
        assert_eq!(known("image-lastest").unwrap_err().help.as_deref(), Some("did you mean `image-latest`?"));
    }
}
