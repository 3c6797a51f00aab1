//! Files → one canonical tree: interpolation, check, canonical form, `include`, `extends`, merge.

use super::budget::{Budget, MAX_CHAIN};
use super::canonical::{Canonical, entry};
use super::check::Checker;
use super::drives;
use super::find::{self, File, absolute, relative};
use super::interpolate::{self, Variable};
use super::keys::{Form, Merge, ROOT, SERVICE, Shape};
use super::merge::{Merger, NOT_UNIFIED, bury, child, same, settle_tags, unify};
use super::mistakes;
use super::paths::{Paths, map_mut};
use super::read::{self, Strictness};
use super::request::Request;
use super::trace::{Hidden, Layer, Origin as LayerOrigin, Trace};
use super::trail::Trail;
use super::unknown::Unknown;
use crate::diag::{Diagnostic, KeyPath, Severity, SourceId, SourceMap, Span, did_you_mean};
use crate::yaml::{self, Mapping, Node, Tag, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Sections that an included file brings along.
pub(super) const RESOURCES: [&str; 6] = ["services", "networks", "volumes", "secrets", "configs", "models"];

/// A file that was read.
struct Read {
    /// Its text, if it could be read.
    source: Option<SourceId>,
    /// Its documents, as written, unless they were taken.
    documents: Option<Vec<Node>>,
    /// It was read as a whole.
    sound: bool,
}

/// What a load has gathered so far.
pub(super) struct Loader<'r> {
    pub request: &'r Request,
    pub sources: SourceMap,
    pub diagnostics: Vec<Diagnostic>,
    /// Variables that the files mention.
    pub variables: BTreeMap<String, Variable>,
    /// Values of variables that included secrets and configs name, from the environment of the file that includes them.
    pub borrowed: BTreeMap<String, String>,
    /// Scalars with faulty expressions.
    pub unknown: Unknown,
    /// Faults of keys without value of which it isn't known yet whether something else gives one.
    empty: Vec<Diagnostic>,
    /// Some text could not be read, or not as a whole: what is missing may stand there.
    pub incomplete: bool,
    /// Services that don't get what they extend, for a reason that is told.
    pub unextended: BTreeSet<String>,
    /// Places of the `extends` of each cycle that is told.
    cycles: BTreeSet<BTreeSet<Span>>,
    budget: Budget,
    /// Files that were read.
    read: BTreeMap<PathBuf, Read>,
    /// What was met on the way, if that is wanted.
    pub trace: Option<Trace>,
    /// Names of files that are elsewhere and weren't fetched yet.
    pub wanted: BTreeSet<String>,
}

/// The surroundings that a set of files is read in: the project's own, or those of one `include`.
pub(super) struct Level<'a> {
    /// Absolute folder that relative paths are looked up in.
    pub directory: PathBuf,
    /// What relative paths of the result start with; `None` leaves them as they are.
    pub base: Option<PathBuf>,
    pub environment: &'a BTreeMap<String, String>,
    /// Files that led here, each with the place that names it.
    pub chain: Vec<(PathBuf, Option<Span>)>,
    /// Number of its environment in the trace.
    pub number: usize,
}

impl<'a> Level<'a> {
    /// The same surroundings for a file with a folder of its own.
    fn at(&self, directory: &Path) -> Self {
        Level {
            directory: directory.to_path_buf(),
            base: Some(directory.to_path_buf()),
            environment: self.environment,
            chain: self.chain.clone(),
            number: self.number,
        }
    }
}

impl<'r> Loader<'r> {
    pub(super) fn new(request: &'r Request) -> Self {
        Self {
            request,
            sources: SourceMap::new(),
            diagnostics: Vec::new(),
            variables: BTreeMap::new(),
            borrowed: BTreeMap::new(),
            unknown: Unknown::default(),
            empty: Vec::new(),
            incomplete: false,
            unextended: BTreeSet::new(),
            cycles: BTreeSet::new(),
            budget: Budget::default(),
            read: BTreeMap::new(),
            trace: request.trace.then(|| Trace { shell: request.environment.clone(), ..Trace::default() }),
            wanted: BTreeSet::new(),
        }
    }

    /// Remembers that the name of the project doesn't come from a file.
    pub(super) fn name_from(&mut self, origin: &str) {
        if let Some(trace) = &mut self.trace {
            trace.name_from = Some(origin.to_owned());
        }
    }

    /// The documents of a file, as written, to be asked for again.
    pub(super) fn documents(&mut self, file: &File, named_at: Option<Span>) -> &[Node] {
        let key = self.read(file, named_at);
        self.read.get(&key).and_then(|read| read.documents.as_deref()).unwrap_or_default()
    }

    /// The documents of a file, as written, to be changed. Most files are read for this once: no second copy is kept.
    fn take_documents(&mut self, file: &File, named_at: Option<Span>) -> Vec<Node> {
        let key = self.read(file, named_at);
        self.read.get_mut(&key).and_then(|read| read.documents.take()).unwrap_or_default()
    }

    /// Reads a file if its documents aren't there, and reports it once. Returns its key in [`Loader::read`].
    fn read(&mut self, file: &File, named_at: Option<Span>) -> PathBuf {
        let key = file.path.clone().unwrap_or_else(|| PathBuf::from("-"));
        let known = self.read.get(&key);
        if known.is_some_and(|read| read.documents.is_some() || read.source.is_none()) {
            return key;
        }
        let again = known.and_then(|read| read.source);
        let text = match (again, &file.path) {
            (Some(source), _) => Some((source, self.sources.file(source).text.to_string())),
            (None, Some(path)) => read::read(&file.name, path, named_at, Strictness::Strict, &mut self.sources, &mut self.diagnostics),
            (None, None) => {
                let text = yaml::strip_bom(self.request.stdin.as_deref().unwrap_or_default()).to_owned();
                Some((self.sources.add(&*file.name, text.as_str()), text))
            }
        };
        let source = text.as_ref().map(|(source, _)| *source);
        let mut documents = Vec::new();
        let mut sound = false;
        match text {
            Some((source, text)) => {
                let parsed = yaml::parse(source, &text);
                sound = !parsed.diagnostics.iter().any(Diagnostic::is_error);
                if again.is_none() {
                    self.report(file, source, &parsed);
                }
                for document in parsed.documents {
                    match mistakes::odd_indentation(&document) {
                        Some(fault) if again.is_none() => {
                            self.diagnostics.push(fault);
                            self.incomplete = true;
                        }
                        Some(_) => {}
                        None if document.value == Value::Null => {}
                        None => documents.push(document),
                    }
                }
            }
            None => self.incomplete = true,
        }
        if let Some(first) = documents.first() {
            let (bytes, at) = (documents.iter().map(Node::weight).sum(), named_at.unwrap_or(first.span));
            let cure = "include and extend less often, or divide this into several projects";
            if !self.budget.spend(bytes, Some(at), cure, &mut self.diagnostics) {
                documents.clear();
            }
        }
        self.read.insert(key.clone(), Read { source, documents: Some(documents), sound });
        key
    }

    /// What is to be said of a text that was read for the first time.
    fn report(&mut self, file: &File, source: SourceId, parsed: &yaml::Parsed) {
        let empty = |code, what: String| Diagnostic::warning(code, what).help("describe at least one service under `services:`");
        let nothing: Vec<&Node> = parsed.documents.iter().filter(|d| d.value == Value::Null).collect();
        if nothing.len() == parsed.documents.len() && !parsed.diagnostics.iter().any(Diagnostic::is_error) {
            let mut fault = empty("empty-file", format!("{} is empty", file.name)).at(Span::new(source, 0, 0));
            // A file without a document is none that others could miss; one that says nothing is refused.
            if !nothing.is_empty() {
                fault.severity = Severity::Error;
                self.incomplete = true;
            }
            self.diagnostics.push(fault);
        } else {
            let faults = nothing.iter().map(|document| {
                let fault = Diagnostic::error("empty-document", format!("{} has a document that is empty", file.name));
                fault.at(document.span).help("take the line `---` out")
            });
            self.diagnostics.extend(faults);
        }
        let lost = |d: &Diagnostic| matches!(d.code, "yaml-syntax" | "template" | "nesting-limit" | "alias-limit");
        self.incomplete |= parsed.diagnostics.iter().any(lost);
        self.diagnostics.extend(parsed.diagnostics.iter().cloned());
        if let Some(trace) = &mut self.trace {
            trace.hidden.extend(parsed.hidden.iter().map(|(by, key, value)| Hidden { by: *by, key: *key, value: *value, in_list: false }));
        }
    }

    /// Reads files, lays each over those before it, and gives the result its paths.
    pub(super) fn set(&mut self, files: &[(File, Option<Span>)], level: &Level<'_>) -> Node {
        let mut result: Option<Node> = None;
        let first_empty = self.empty.len();
        for (file, named_at) in files {
            let own = file.path.as_deref().and_then(Path::parent).filter(|_| file.remote).map(|own| level.at(own));
            for document in self.take_documents(file, *named_at) {
                let Some(mut document) = self.document(document, file, own.as_ref().unwrap_or(level)) else { continue };
                if let Some(Level { base: Some(base), environment, .. }) = &own {
                    default_contexts(&mut document);
                    Paths { base, environment, diagnostics: &mut self.diagnostics }.document(&mut document);
                }
                result = Some(match result {
                    Some(earlier) => self.merge(earlier, document, &Shape::Object(&ROOT)),
                    None => document,
                });
                if let Some(result) = &mut result {
                    bury(result);
                    self.judge_empty(first_empty, result);
                }
            }
        }
        let mut result = result.unwrap_or_else(|| Node::new(Span::new(SourceId(0), 0, 0), Value::Map(Mapping::new())));
        default_contexts(&mut result);
        if level.chain.is_empty() {
            drives::settle(&mut result, &self.sources, &mut self.diagnostics);
        }
        if let Some(base) = &level.base {
            Paths { base, environment: level.environment, diagnostics: &mut self.diagnostics }.document(&mut result);
        }
        let root = Shape::Object(&ROOT);
        for section in result_sections(&mut result) {
            let (shape, rule) = child(&root, &section.key, Merge::Deep);
            unify(&mut section.value, shape, rule);
        }
        result
    }

    /// Keys without value, found since there were `first` of them: what is still without one in `result` is an error.
    fn judge_empty(&mut self, first: usize, result: &Node) {
        fn nulls(node: &Node, found: &mut BTreeSet<Span>) {
            match &node.value {
                Value::Null => _ = found.insert(node.span),
                Value::Map(map) => map.iter().for_each(|e| nulls(&e.value, found)),
                Value::Seq(items) => items.iter().for_each(|item| nulls(item, found)),
                _ => {}
            }
        }
        let faults: Vec<Diagnostic> = self.empty.drain(first..).collect();
        if faults.is_empty() {
            return;
        }
        let mut left = BTreeSet::new();
        nulls(result, &mut left);
        for mut fault in faults {
            if fault.span.is_some_and(|span| !left.contains(&span)) {
                let what = fault.message.split(';').next().unwrap_or_default();
                fault = Diagnostic::warning("says-nothing", format!("{what}, and changes nothing"))
                    .at_opt(fault.span)
                    .help("to remove what another file or service says, write `!reset null`");
            }
            self.diagnostics.push(fault);
        }
    }

    fn merge(&mut self, base: Node, over: Node, shape: &Shape) -> Node {
        Merger { as_written: self.request.no_interpolate, diagnostics: &mut self.diagnostics }.merge(base, over, shape, Merge::Deep)
    }

    /// One document, canonical, with all that it includes and extends.
    fn document(&mut self, mut node: Node, file: &File, level: &Level<'_>) -> Option<Node> {
        if node.as_map().is_none() {
            self.diagnostics.push(
                Diagnostic::error("wrong-type", format!("the top level of {} must be a mapping, not {}", file.name, node.value.kind()))
                    .at(node.span)
                    .help("begin with `services:`"),
            );
            return None;
        }
        let written = self.prepare(&mut node, &Shape::Object(&ROOT), &Trail::ROOT, level);
        let own = self.trace.as_ref().map(|trace| (trace.layers.len(), node.clone()));
        let Value::Map(map) = &mut node.value else { return None };
        if let Some(version) = map.remove("version")
            && version.value.as_str().is_some()
        {
            self.diagnostics.push(
                Diagnostic::warning("obsolete-version", "`version` is obsolete and means nothing").at(version.key_span).help("take the line out"),
            );
        }
        let included = map.remove("include").filter(|e| e.value.tag != Some(Tag::Reset));
        if let Some(included) = included {
            let mut known = written;
            for item in included.value.as_seq().unwrap_or_default() {
                if let Some(mut imported) = self.include(item, file, level) {
                    if let Some(written) = &mut known {
                        self.join(&mut imported, written);
                    }
                    node = self.merge(imported, node, &Shape::Object(&ROOT));
                }
            }
        }
        if let Some(trace) = &mut self.trace
            && let Some((_, own)) = &own
        {
            let origin = level.chain.last().and_then(|(_, span)| *span).map_or(LayerOrigin::File, LayerOrigin::Included);
            trace.layers.push(Layer { at: KeyPath::root(), node: own.clone(), origin });
        }
        if let Value::Map(map) = &mut node.value
            && let Some(services) = map_mut(map, "services")
        {
            self.extend_all(services, file, level);
        }
        if let (Some(trace), Some((start, _))) = (&mut self.trace, own) {
            trace.settle_bases(start);
        }
        Some(node)
    }

    /// What an included file brings must not be `known` already, from the file itself or another include, unless as the
    /// same thing; the reference compares with the file as it is written. Adds the rest to `known`.
    fn join(&mut self, imported: &mut Node, known: &mut Node) {
        let (Value::Map(imported), Value::Map(known)) = (&mut imported.value, &mut known.value) else { return };
        for section in RESOURCES {
            let Some(new) = map_mut(imported, section) else { continue };
            if !known.contains(section) {
                known.push_new(entry(section, Node::new(Span::new(SourceId(0), 0, 0), Value::Map(Mapping::new()))));
            }
            let Some(there) = map_mut(known, section) else { continue };
            let mut twice = Vec::new();
            for resource in new.iter() {
                match there.entry(&resource.key) {
                    Some(other) => {
                        if !same(&resource.value, &other.value) {
                            let kind = section.trim_end_matches('s');
                            let message = format!("the {kind} {:?} is in an included file too, and differs there", other.key);
                            let help = format!(
                                "call one of them something else; to change an included {kind}, lay a file over it: `include: [{{path: [FILE, CHANGES]}}]`"
                            );
                            self.diagnostics.push(
                                Diagnostic::error("include-conflict", message)
                                    .at(other.key_span)
                                    .related(resource.key_span, "the included one")
                                    .help(help),
                            );
                        }
                        twice.push(resource.key.clone());
                    }
                    None => there.push_new(resource.clone()),
                }
            }
            new.retain(|e| !twice.contains(&e.key));
        }
    }

    /// Interpolates, checks and makes canonical. Returns a document that includes others as it was before that.
    fn prepare(&mut self, node: &mut Node, shape: &Shape, at: &Trail<'_>, level: &Level<'_>) -> Option<Node> {
        interpolate::variables(node, &mut self.variables);
        let before = node.weight();
        let lookup = |name: &str| level.environment.get(name).cloned();
        if let Some(trace) = &mut self.trace {
            trace.mention(node, at, &self.sources, &lookup, level.number);
        }
        let uninterpolated = self.request.no_interpolate;
        if !uninterpolated {
            let unknown = interpolate::interpolate(node, &self.sources, &lookup, &mut self.diagnostics);
            self.unknown.add(unknown);
        }
        settle_tags(node, false);
        let written = node.get("include").is_some().then(|| {
            let mut written = node.clone();
            bury(&mut written);
            written
        });
        let (unknown, empty) = (&self.unknown, &mut self.empty);
        Checker { sources: &self.sources, diagnostics: &mut self.diagnostics, uninterpolated, unknown, empty }.value(node, shape, at, false);
        let mut hidden = Vec::new();
        let (budget, unknown) = (&mut self.budget, &self.unknown);
        Canonical { sources: &self.sources, diagnostics: &mut self.diagnostics, uninterpolated, hidden: &mut hidden, unknown, budget }.value(
            node,
            shape,
            Form::AsIs,
            at,
        );
        let grown = node.weight().saturating_sub(before);
        if !self.budget.spend(grown, Some(node.span), "write less, or divide it into several projects", &mut self.diagnostics) {
            node.value = Value::Map(Mapping::new());
        }
        if let Some(trace) = &mut self.trace {
            trace.hidden.append(&mut hidden);
        }
        written
    }

    /// How messages call a path: from the working directory if it is below it.
    pub(super) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.request.cwd).unwrap_or(path).display().to_string()
    }

    /// Gives every service of a document what it extends.
    fn extend_all(&mut self, services: &mut Mapping, file: &File, level: &Level<'_>) {
        let names: Vec<String> = services.iter().filter(|e| e.value.get("extends").is_some()).map(|e| e.key.clone()).collect();
        if names.is_empty() {
            return;
        }
        let mut origin =
            Origin { file: file.clone(), directory: level.directory.clone(), base: None, ready: services.clone(), written: BTreeMap::new() };
        for name in names {
            if let Some(extended) = self.extended(&name, &mut origin, level, &mut Vec::new())
                && let Some(slot) = services.get_mut(&name)
            {
                *slot = extended;
            }
        }
    }

    /// The service `name` with all that it extends, its paths seen from whoever asked for its file.
    fn extended(&mut self, name: &str, origin: &mut Origin, level: &Level<'_>, chain: &mut Chain) -> Option<Node> {
        let mut own = self.service_of(name, origin, level)?;
        if let Some((_, _, by)) = chain.last()
            && !self.budget.spend(own.weight(), Some(*by), "extend shorter services, or fewer times", &mut self.diagnostics)
        {
            return None;
        }
        let extends = match &mut own.value {
            Value::Map(map) => map.remove("extends").map(|e| e.value),
            _ => None,
        };
        let Some(extends) = extends.filter(|e| !self.unknown.inside(e)) else {
            self.trace_base(&own, chain);
            return Some(own);
        };
        let Some((target, span)) = extends.get("service").and_then(|n| Some((n.as_str()?.to_owned(), n.span))) else {
            let services = Trail::ROOT.key("services");
            let message = format!("`{}` lacks the key `service`", services.key(name).key("extends").path());
            self.diagnostics.push(Diagnostic::error("missing-key", message).at(extends.span).help("add `service: …`, the service to extend"));
            return Some(own);
        };
        let file = extends.get("file").and_then(|f| Some((f.as_str()?.to_owned(), f.span)));
        let file = match file {
            None => None,
            Some((path, at)) => Some((
                match self.elsewhere(&path, at, &origin.directory) {
                    None => {
                        let path = absolute(&origin.directory, Path::new(&find::expand_home(&path, level.environment)));
                        Some(File { name: self.shown(&path), path: Some(path), remote: false })
                    }
                    fetched => fetched.flatten(),
                },
                at,
            )),
        };
        chain.push((origin.file.clone(), name.to_owned(), span));
        let mut nothing = false;
        let base = match file {
            Some((None, _)) => None,
            Some((Some(file), at)) if file.path != origin.file.path => {
                let other = self.base_file(file, at, origin).filter(|other| {
                    nothing = other.is_nothing(&target);
                    !nothing
                });
                other.and_then(|mut other| self.base(&target, span, &mut other, level, chain)).map(|mut base| {
                    self.see_from_outside(&mut base, &target, origin, level);
                    base
                })
            }
            _ => self.base(&target, span, origin, level, chain),
        };
        if base.is_none() {
            self.unextended.insert(chain.first().map_or(name, |(_, first, _)| first).to_owned());
        }
        chain.pop();
        self.trace_base(&own, chain);
        if let Value::Map(map) = &mut own.value
            && nothing
        {
            map.push_new(entry("extends", extends));
        }
        Some(match base {
            Some(mut base) => {
                bury(&mut base);
                // Left where there was nothing to extend from.
                if let Value::Map(map) = &mut base.value {
                    map.remove("extends");
                }
                self.merge(base, own, &Shape::Object(&SERVICE))
            }
            None => own,
        })
    }

    /// A file that `include` or `extends` names and that isn't here; `Some(None)` if it can't be had, or not yet.
    pub(super) fn elsewhere(&mut self, name: &str, span: Span, folder: &Path) -> Option<Option<File>> {
        if find::elsewhere(name, folder).is_none() {
            if !find::is_url(name) {
                return None;
            }
            self.diagnostics.push(find::unfetchable(name).at(span));
            return Some(None);
        }
        match find::fetched(name, self.request) {
            Some(Ok(file)) => return Some(Some(file)),
            Some(Err(fault)) => self.diagnostics.push(fault.at(span)),
            None => _ = self.wanted.insert(name.to_owned()),
        }
        Some(None)
    }

    /// Remembers a service that others extend, `chain` being those.
    fn trace_base(&mut self, own: &Node, chain: &Chain) {
        if let (Some(trace), Some((_, derived, _)), Some((_, _, by))) = (&mut self.trace, chain.first(), chain.last()) {
            let at = KeyPath::of(["services", derived.as_str()]);
            trace.bases.push(Layer { at, node: own.clone(), origin: LayerOrigin::Base(*by) });
        }
    }

    /// The service that one extends, if it is there and doesn't lead back.
    fn base(&mut self, target: &str, span: Span, origin: &mut Origin, level: &Level<'_>, chain: &mut Chain) -> Option<Node> {
        if let Some(from) = chain.iter().position(|(file, name, _)| *file == origin.file && name == target) {
            let mut fault =
                Diagnostic::error("extends-cycle", format!("the service {target:?} extends itself")).at(span).help("take one of these `extends` out");
            fault.related =
                chain.iter().skip(from).filter(|(_, _, at)| *at != span).map(|(_, name, at)| (*at, format!("{name:?} extends it"))).collect();
            let cycle = chain.iter().skip(from).map(|(_, _, at)| *at).chain([span]).collect();
            if self.cycles.insert(cycle) {
                self.diagnostics.push(fault);
            }
            return None;
        }
        if chain.len() > MAX_CHAIN {
            let what = format!("services extend each other more than {MAX_CHAIN} deep");
            self.diagnostics.push(Diagnostic::error("extends-limit", what).at(span).help("let them extend the first one"));
            return None;
        }
        let known = origin.ready.get(target).is_some_and(|s| s.tag != Some(Tag::Reset)) || origin.written.contains_key(target);
        let names = if known { Vec::new() } else { origin.names() };
        if !known {
            let help = match did_you_mean(target, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its services are: {}", names.join(", ")),
            };
            let message = format!("{} has no service {target:?} to extend", origin.file.name);
            self.diagnostics.push(Diagnostic::error("extends-unknown", message).at(span).help(help));
            return None;
        }
        self.extended(target, origin, level, chain)
    }

    /// The file that `extends.file` names.
    fn base_file(&mut self, file: File, span: Span, origin: &Origin) -> Option<Origin> {
        let key = self.read(&file, Some(span));
        let read = self.read.get(&key)?;
        let documents = read.documents.as_deref().unwrap_or_default();
        if documents.is_empty() && !read.sound {
            return None;
        }
        let mut services: BTreeMap<String, Vec<Node>> = BTreeMap::new();
        for section in documents.iter().filter_map(|document| document.get("services")?.as_map()) {
            section.iter().for_each(|e| services.entry(e.key.clone()).or_default().push(e.value.clone()));
        }
        let copies: usize = services.values().flatten().map(Node::weight).sum();
        if !self.budget.spend(copies, Some(span), "extend services of shorter files, or fewer times", &mut self.diagnostics) {
            return None;
        }
        if services.is_empty() {
            let message = format!("{} has no services to extend", file.name);
            self.diagnostics.push(Diagnostic::error("extends-unknown", message).at(span).help("name a file with `services:`"));
            return None;
        }
        let directory = file.path.as_deref().and_then(Path::parent).unwrap_or(Path::new("/")).to_path_buf();
        let base = Some(if self.request.no_path_resolution && !file.remote { relative(&origin.directory, &directory) } else { directory.clone() });
        Some(Origin { file, directory, base, ready: Mapping::new(), written: services })
    }

    /// The service `name` as its own file says it, canonical. Of a file that is only extended from, no more is looked at
    /// than that needs.
    fn service_of(&mut self, name: &str, origin: &mut Origin, level: &Level<'_>) -> Option<Node> {
        if let Some(ready) = origin.ready.get(name) {
            return Some(ready.clone());
        }
        let mut result: Option<Node> = None;
        for mut version in origin.written.get(name).cloned()? {
            let services = Trail::ROOT.key("services");
            self.prepare(&mut version, &Shape::Object(&SERVICE), &services.key(name), level);
            result = Some(match result {
                Some(earlier) => self.merge(earlier, version, &Shape::Object(&SERVICE)),
                None => version,
            });
        }
        let mut service = result?;
        self.see_from_outside(&mut service, name, origin, level);
        origin.ready.push_new(entry(name, service.clone()));
        Some(service)
    }

    /// Paths of a service of another file, seen from the file that extends it.
    fn see_from_outside(&mut self, service: &mut Node, name: &str, origin: &Origin, level: &Level<'_>) {
        if let Some(base) = &origin.base {
            let services = Trail::ROOT.key("services");
            Paths { base, environment: level.environment, diagnostics: &mut self.diagnostics }.service(service, &services.key(name));
        }
    }
}

/// Services that led here by `extends`: file, name, place of the reference.
type Chain = Vec<(File, String, Span)>;

/// A file whose services are extended.
struct Origin {
    file: File,
    /// Absolute folder that its paths are looked up in.
    directory: PathBuf,
    /// What its paths start with where they are used; `None` for the file that is being read.
    base: Option<PathBuf>,
    /// Canonical services.
    ready: Mapping,
    /// Services as written, one for each document that has it.
    written: BTreeMap<String, Vec<Node>>,
}

impl Origin {
    /// The service is there without anything: there is nothing to extend from, which is no fault, and `extends` stays.
    fn is_nothing(&self, name: &str) -> bool {
        self.written.get(name).is_some_and(|versions| versions.iter().all(|v| v.value == Value::Null && v.tag.is_none()))
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .ready
            .iter()
            .filter(|e| e.value.tag != Some(Tag::Reset))
            .map(|e| e.key.as_str())
            .chain(self.written.iter().filter(|(_, versions)| versions.iter().any(|v| v.tag != Some(Tag::Reset))).map(|(name, _)| name.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The sections of a document that say a thing once.
fn result_sections(root: &mut Node) -> impl Iterator<Item = &mut yaml::Entry> {
    let sections = if let Value::Map(map) = &mut root.value { Some(map) } else { None };
    sections.into_iter().flat_map(Mapping::iter_mut).filter(|e| !NOT_UNIFIED.contains(&e.key.as_str()))
}

/// A build without a context is built in the folder of its file.
fn default_contexts(root: &mut Node) {
    let Value::Map(root) = &mut root.value else { return };
    for service in map_mut(root, "services").into_iter().flat_map(Mapping::iter_mut) {
        let Value::Map(service) = &mut service.value.value else { continue };
        let Some(span) = service.get("build").map(|b| b.span) else { continue };
        if let Some(build) = map_mut(service, "build")
            && !build.contains("context")
        {
            build.push_new(entry("context", Node::implied(span, Value::String(".".into()))));
        }
    }
}
