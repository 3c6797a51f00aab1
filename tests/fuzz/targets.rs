//! What is fuzzed, and what counts as a finding. A target takes any text; panics, hangs and hunger for memory are
//! noticed by whoever runs it.

use consort::diag::{Diagnostic, SourceId, SourceMap, Span};
use consort::graph;
use consort::load::explain::{self, Known};
use consort::load::interpolate::{Variable, interpolate, interpolate_str, variables};
use consort::load::{self, Loaded, Request, annotate, dotenv, render, traps};
use consort::model::Project;
use consort::plan::{self, DownOptions, UpOptions};
use consort::ui::Paint;
use consort::ui::diagnostics::{Drawer, Form};
use consort::world::{Capabilities, Observed};
use consort::yaml::{self, Node, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

/// Errors that have no place in any file, or may be about one that the command line or `COMPOSE_FILE` names.
const PLACELESS: [&str; 5] = ["no-file", "bad-project-name", "more-findings", "no-such-file", "unreadable-file"];
/// More containers than this are not planned: a file may well ask for many.
const MAX_CONTAINERS: i64 = 100;

/// A part of the way from text to plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A project: load, `config` in every form, findings, graph, plan.
    Loader,
    /// `${…}` in a text, and in the values of a document.
    Interpolation,
    /// Env files in both formats.
    Dotenv,
    /// A document, what the emitter makes of it, and that read again.
    RoundTrip,
}

/// What is wrong.
pub type Finding = String;

impl Target {
    /// All targets.
    pub const ALL: [Self; 4] = [Self::Loader, Self::Interpolation, Self::Dotenv, Self::RoundTrip];

    /// Its name, which is also that of the folder of its inputs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loader => "loader",
            Self::Interpolation => "interpolation",
            Self::Dotenv => "dotenv",
            Self::RoundTrip => "round_trip",
        }
    }

    /// Takes `text` through the target.
    pub fn run(self, text: &str) -> Result<(), Finding> {
        match self {
            Self::Loader => loader(text),
            Self::Interpolation => interpolation(text),
            Self::Dotenv => env_file(text),
            Self::RoundTrip => round_trip(text),
        }
    }
}

fn lookup(name: &str) -> Option<String> {
    environment().get(name).cloned()
}

fn environment() -> BTreeMap<String, String> {
    let pairs = [("A", "a"), ("B", "b: [\"'$A${A}"), ("E", ""), ("N", "8080"), ("HOME", "/home/u"), ("PATH", "/bin"), ("PWD", "/p")];
    pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

/// Every finding of the code under test is drawn in every form, and each of its places lies in its text.
fn look_at(diagnostics: &[Diagnostic], sources: &SourceMap) -> Result<(), Finding> {
    for diagnostic in diagnostics {
        for span in diagnostic.span.iter().chain(diagnostic.related.iter().map(|(span, _)| span)) {
            check_span(*span, sources).map_err(|what| format!("{what}: {diagnostic:?}"))?;
        }
        if diagnostic.message.is_empty() {
            return Err(format!("nothing is said: {diagnostic:?}"));
        }
    }
    // Of many alike the first ones tell as much.
    let some = &diagnostics[..diagnostics.len().min(30)];
    for form in [Form::Full, Form::Short, Form::Json] {
        let drawn = Drawer { sources, form, paint: Paint(false), width: 80 }.all(some);
        if drawn.contains('\x1b') {
            return Err(format!("an escape character comes through: {drawn:?}"));
        }
    }
    let drawer = Drawer { sources, form: Form::Full, paint: Paint(true), width: 40 };
    for diagnostic in some {
        drawer.one(diagnostic);
        drawer.flat(diagnostic);
    }
    Ok(())
}

fn check_span(span: Span, sources: &SourceMap) -> Result<(), Finding> {
    let Some((_, file)) = sources.files().find(|(id, _)| *id == span.source) else { return Err(format!("{span:?} is of no source")) };
    let (start, end) = (span.start as usize, span.end as usize);
    let inside = start <= end && end <= file.text.len() && file.text.is_char_boundary(start) && file.text.is_char_boundary(end);
    if inside { Ok(()) } else { Err(format!("{span:?} leaves its source of {} bytes or cuts a character", file.text.len())) }
}

/// Every error has a place.
fn have_places(diagnostics: &[Diagnostic]) -> Result<(), Finding> {
    match diagnostics.iter().find(|d| d.is_error() && d.span.is_none() && !PLACELESS.contains(&d.code)) {
        Some(placeless) => Err(format!("an error without a place: {placeless:?}")),
        None => Ok(()),
    }
}

fn check_tree(node: &Node, sources: &SourceMap) -> Result<(), Finding> {
    check_span(node.span, sources)?;
    match &node.value {
        Value::Seq(items) => items.iter().try_for_each(|item| check_tree(item, sources)),
        Value::Map(map) => map.iter().try_for_each(|e| check_span(e.key_span, sources).and_then(|()| check_tree(&e.value, sources))),
        _ => Ok(()),
    }
}

/// `text` is `compose.yaml` up to the first line `==== NAME`; other files follow, each behind such a line.
fn loader(text: &str) -> Result<(), Finding> {
    let mut parts = text.split("\n==== ");
    let main = parts.next().unwrap_or_default();
    let others: Vec<(&str, &str)> = parts.map(|p| p.split_once('\n').unwrap_or((p, ""))).filter(|(name, _)| is_fit(name)).collect();
    let asked = |cwd: &Path| Request {
        environment: environment(),
        project_name: (text.len().is_multiple_of(2)).then(|| "p".to_owned()),
        cwd: cwd.to_path_buf(),
        trace: text.len().is_multiple_of(3),
        no_interpolate: text.len().is_multiple_of(11),
        profiles: if text.len().is_multiple_of(5) { vec!["*".to_owned()] } else { Vec::new() },
        ..Request::default()
    };
    // Alone it comes by standard input: files cost time.
    if others.is_empty() && !["file", "include"].iter().any(|word| main.contains(word)) {
        return loaded(&Request { files: vec!["-".to_owned()], stdin: Some(main.to_owned()), ..asked(Path::new("/nowhere/shop")) });
    }
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let project = folder.path().join("shop");
    for (name, content) in [("compose.yaml", main)].into_iter().chain(others) {
        let path = project.join(name);
        // What can't be written isn't there.
        _ = path.parent().map(std::fs::create_dir_all);
        _ = std::fs::write(path, content);
    }
    loaded(&asked(&project))
}

/// Stays inside the folder.
fn is_fit(name: &str) -> bool {
    name.len() < 100 && Path::new(name).components().count() < 5 && Path::new(name).components().all(|c| matches!(c, Component::Normal(_)))
}

fn loaded(request: &Request) -> Result<(), Finding> {
    let loaded = match load::load(request) {
        Ok(loaded) => loaded,
        Err(failed) => {
            if failed.wanted.is_empty() && !failed.diagnostics.iter().any(Diagnostic::is_error) {
                return Err("a load fails without an error".to_owned());
            }
            have_places(&failed.diagnostics)?;
            return look_at(&failed.diagnostics, &failed.sources);
        }
    };
    if let Some(error) = loaded.diagnostics.iter().find(|d| d.is_error()) {
        return Err(format!("a project loads with an error: {error:?}"));
    }
    look_at(&loaded.diagnostics, &loaded.sources)?;
    look_at(&loaded.unhonoured, &loaded.sources)?;
    look_at(&traps::check(&loaded, &BTreeSet::new()), &loaded.sources)?;
    check_tree(loaded.provenance.root(), &loaded.sources)?;
    printed(&loaded, request)?;
    if !request.no_interpolate {
        planned(&loaded)?;
    }
    Ok(())
}

/// What `config` prints is read again, and then gives the same.
fn printed(loaded: &Loaded, request: &Request) -> Result<(), Finding> {
    let text = render::config(loaded, render::Format::Yaml);
    let read = yaml::parse(SourceId(0), &text);
    if let Some(fault) = read.diagnostics.first() {
        return Err(format!("what is printed can't be read: {fault:?}\n{text}"));
    }
    let json = render::config(loaded, render::Format::Json);
    serde_json::from_str::<serde_json::Value>(&json).map_err(|e| format!("what is printed is no JSON: {e}\n{json}"))?;
    _ = (render::services(&loaded.project), render::images(&loaded.project), render::profiles(&loaded.project), render::hashes(&loaded.project));
    _ = (render::variables(loaded), render::variables_json(loaded), render::variables_yaml(loaded));
    if request.trace {
        let noted = annotate::config(loaded);
        let again = yaml::parse(SourceId(0), &noted);
        let plain = |parsed: &yaml::Parsed| parsed.documents.iter().map(data).collect::<Vec<_>>();
        if !again.diagnostics.is_empty() || plain(&again) != plain(&read) {
            return Err(format!("notes change what is said\n{noted}\n{text}"));
        }
        for service in loaded.project.services.keys() {
            let path = consort::diag::KeyPath::of(["services", service.as_str()]).to_string();
            explain::explain(&path, Known::from(loaded)).map_err(|e| format!("{path} has no story: {e:?}"))?;
        }
        for mention in &loaded.trace.mentions {
            explain::explain(&mention.name, Known::from(loaded)).map_err(|e| format!("{} has no story: {e:?}", mention.name))?;
        }
    }
    Ok(())
}

fn planned(loaded: &Loaded) -> Result<(), Finding> {
    let project: &Project = &loaded.project;
    let places = |path: &consort::diag::KeyPath| loaded.provenance.nearest(path);
    let cycles = graph::check(project, &places);
    have_places(&cycles)?;
    look_at(&cycles, &loaded.sources)?;
    let replicas = project.services.values().map(|s| s.scale.or(s.deploy.as_ref().and_then(|d| d.replicas)).unwrap_or(1));
    if !cycles.is_empty() || replicas.fold(0, i64::saturating_add) > MAX_CONTAINERS {
        return Ok(());
    }
    let observed = Observed::default();
    let options = UpOptions { preview: true, ..UpOptions::default() };
    let plans = [
        plan::plan_up(project, &observed, &Capabilities::all(), &options, &places),
        plan::plan_down(Some(project), &project.name, &observed, &DownOptions::default()),
    ];
    for plan in plans {
        match plan {
            Ok(plan) => _ = plan::print(&plan),
            Err(errors) if errors.is_empty() => return Err("a plan fails without an error".to_owned()),
            Err(errors) => look_at(&errors, &loaded.sources)?,
        }
    }
    Ok(())
}

fn interpolation(text: &str) -> Result<(), Finding> {
    let fits = |range: &std::ops::Range<usize>| text.get(range.clone()).is_some();
    match interpolate_str(text, &lookup) {
        Ok(found) => {
            if let Some((name, range)) = found.unset.iter().find(|(_, range)| !fits(range)) {
                return Err(format!("{name} is said to stand at {range:?}"));
            }
            if !text.contains('$') && found.text != text {
                return Err(format!("without an expression {text:?} gets {:?}", found.text));
            }
        }
        Err(error) if error.message.is_empty() || !fits(&error.range) => return Err(format!("an odd error: {error:?}")),
        Err(_) => {}
    }
    let escaped = interpolate_str(&text.replace('$', "$$"), &lookup);
    if escaped.as_ref().map(|found| found.text.as_str()) != Ok(text) {
        return Err(format!("escaped, {text:?} gets {escaped:?}"));
    }
    let mut sources = SourceMap::new();
    let source = sources.add("c.yaml", text);
    for mut document in yaml::parse(source, text).documents {
        let mut found: BTreeMap<String, Variable> = BTreeMap::new();
        variables(&document, &mut found);
        let mut diagnostics = Vec::new();
        let unknown = interpolate(&mut document, &sources, &lookup, &mut diagnostics);
        unknown.iter().try_for_each(|span| check_span(*span, &sources))?;
        have_places(&diagnostics)?;
        look_at(&diagnostics, &sources)?;
    }
    Ok(())
}

fn env_file(text: &str) -> Result<(), Finding> {
    let text = yaml::strip_bom(text);
    let mut sources = SourceMap::new();
    let source = sources.add(".env", text);
    let (mut diagnostics, mut raw) = (Vec::new(), Vec::new());
    let files = [dotenv::parse(source, text, &lookup, &mut diagnostics), dotenv::parse_raw(source, text, &mut raw)];
    for diagnostics in [&diagnostics, &raw] {
        have_places(diagnostics)?;
        look_at(diagnostics, &sources)?;
    }
    for (name, variable) in files.iter().flatten() {
        if name.is_empty() || name.contains(['=', '\0', '\n']) {
            return Err(format!("a variable is called {name:?}"));
        }
        if variable.value.as_ref().is_some_and(|v| v.contains('\0')) {
            return Err(format!("{name} has a null character"));
        }
        let spans = [variable.key_span, variable.span];
        spans.iter().chain(&variable.earlier).try_for_each(|span| check_span(*span, &sources))?;
    }
    Ok(())
}

fn round_trip(text: &str) -> Result<(), Finding> {
    let mut sources = SourceMap::new();
    let source = sources.add("c.yaml", yaml::strip_bom(text));
    let parsed = yaml::parse(source, yaml::strip_bom(text));
    have_places(&parsed.diagnostics)?;
    look_at(&parsed.diagnostics, &sources)?;
    for document in &parsed.documents {
        check_tree(document, &sources)?;
        same(&data(document))?;
    }
    // The text itself is a string too, and so are its lines.
    same(&serde_json::Value::from(text))?;
    let lines: serde_json::Map<String, serde_json::Value> = text.split('\n').map(|l| (l.to_owned(), l.into())).collect();
    same(&serde_json::json!([lines]))
}

fn same(value: &serde_json::Value) -> Result<(), Finding> {
    let text = yaml::emit(value);
    let read = yaml::parse(SourceId(0), &text);
    let again = read.documents.first().map_or(serde_json::Value::Null, data);
    if read.diagnostics.is_empty() && read.documents.len() <= 1 && again == *value {
        return Ok(());
    }
    Err(format!("written\n{value}\nread\n{again}\n{:?}\n{text}", read.diagnostics))
}

/// A tree without places. Numbers are written in few ways: whole floats like integers, what is no number as a word.
fn data(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::Uint(n) => (*n).into(),
        Value::Float(f) if f.fract() == 0.0 || !f.is_finite() => serde_json::json!({ "whole": format!("{f:e}") }),
        Value::Float(f) => (*f).into(),
        Value::Time(text) => serde_json::json!({ "time": text }),
        Value::String(text) => text.as_str().into(),
        Value::Seq(items) => items.iter().map(data).collect(),
        Value::Map(map) => serde_json::Value::Object(map.iter().map(|e| (e.key.clone(), data(&e.value))).collect()),
    }
}
