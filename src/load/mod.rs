//! Text → [`Project`] with [`Provenance`] and diagnostics.
//!
//! The passes, each one file:
//!
//! | file | does |
//! |---|---|
//! | `find`, `remote` | which files, directory and environment |
//! | `loader` | each file: interpolation, `check` and `canonical` by the `keys` table, `extends`, `merge`, `paths` |
//! | `include` | what an entry of `include` brings |
//! | `normalize` | defaults, implicit dependencies and networks, real names, env and label files |
//! | `lower` | canonical tree → typed model |
//! | `consistency` | whether the whole makes sense |
//! | `unhonoured` | what is written and won't be acted on |
//! | `render` | what `config` prints |
//!
//! A pass pushes what it finds and goes on where meaning allows, so one load reports every fault. Nodes are moved, never
//! rewritten, so a merged value still points into the file it came from.

pub mod annotate;
mod budget;
mod canonical;
mod check;
mod consistency;
mod cure;
pub mod dotenv;
mod drives;
pub mod explain;
mod find;
mod include;
pub mod interpolate;
pub mod keys;
mod loader;
mod lower;
mod merge;
mod mistakes;
mod normalize;
mod paths;
mod provenance;
mod read;
mod refused;
pub mod remote;
pub mod render;
mod request;
mod scalar;
mod seccomp;
mod short;
pub mod trace;
mod trail;
pub mod traps;
mod unhonoured;
mod unknown;
pub mod words;

pub use find::MAIN_FILES;
pub use provenance::Provenance;
pub use remote::Remote;
pub use request::{Failed, Fetched, Loaded, Request};

use crate::diag::{Diagnostic, KeyPath, Severity, SourceId, SourceMap, Span};
use crate::model::{MountType, Project, Service};
use crate::yaml::{Mapping, Node, Value};
use keys::{ROOT, Shape};
use loader::{Level, Loader};
use std::collections::{BTreeMap, BTreeSet};
use trail::Trail;

/// Reads the files of `request` and returns the project they describe.
///
/// # Errors
/// [`Failed`] with every error found; nothing but reading was done.
pub fn load(request: &Request) -> Result<Loaded, Failed> {
    let mut loader = Loader::new(request);
    let mut found = find::find(request, &mut loader.sources, &mut loader.diagnostics);
    loader.wanted.append(&mut found.wanted);
    if !loader.wanted.is_empty() {
        return Err(failed(loader, false));
    }
    if found.files.is_empty() {
        let not_found = !loader.diagnostics.iter().any(Diagnostic::is_error);
        if not_found {
            loader.diagnostics.push(
                Diagnostic::error("no-file", "there is no Compose file here, nor in a folder above")
                    .help("go to the folder of the project, or name the file with `--file`"),
            );
        }
        return Err(failed(loader, not_found));
    }
    let Some(name) = project_name(&mut loader, &found) else { return Err(failed(loader, false)) };
    found.environment.insert("COMPOSE_PROJECT_NAME".into(), name.clone());

    let level = Level {
        directory: found.directory.clone(),
        base: (!request.no_path_resolution).then(|| found.directory.clone()),
        environment: &found.environment,
        chain: Vec::new(),
        number: 0,
    };
    let files: Vec<_> = found.files.iter().map(|f| (f.clone(), None)).collect();
    if let Some(trace) = &mut loader.trace {
        trace.project_name = Some(name.clone());
        trace.directory = found.environment.get("PWD").cloned();
        trace.environments.push(trace::Environment { settings: std::mem::take(&mut found.settings), ..trace::Environment::default() });
    }
    let root = loader.set(&files, &level);
    // What is missing may stand in what couldn't be read.
    let whole = !loader.incomplete;
    if whole {
        check::required(&root, &Shape::Object(&ROOT), root.span, &Trail::ROOT, &mut loader.diagnostics);
    }
    let Value::Map(mut top) = root.value else { return Err(failed(loader, false)) };
    if top.is_empty() && !loader.diagnostics.iter().any(Diagnostic::is_error) {
        loader.diagnostics.iter_mut().filter(|d| d.code == "empty-file").for_each(|d| d.severity = Severity::Error);
    }
    if top.is_empty() && !loader.diagnostics.iter().any(Diagnostic::is_error) {
        loader.diagnostics.push(
            Diagnostic::error("empty-file", "the Compose file says nothing").at(root.span).help("describe at least one service under `services:`"),
        );
    }

    if let Some(surplus) = top.get("services").and_then(Node::as_map).and_then(|all| all.iter().nth(MAX_SERVICES)) {
        let what = format!("the project has more than {MAX_SERVICES} services");
        loader.diagnostics.push(Diagnostic::error("size-limit", what).at(surplus.key_span).help("divide it into several projects"));
        return Err(failed(loader, false));
    }

    let profiles = active_profiles(request, &found.environment, &top);
    let enabled = enabled_services(&top, &profiles);
    let is_enabled = |name: &str| enabled.contains(name);
    if !(request.no_interpolate && request.no_normalize) {
        let named = top.entry("name").map_or_else(|| Node::implied(root.span, Value::Null), |e| e.value.clone());
        top.insert(canonical::entry("name", Node { value: Value::String(name.clone()), ..named }));
    }
    normalize::defaults(&mut top);
    if !request.no_normalize {
        // Where expressions stay as written, so do variables without a value.
        let none = BTreeMap::new();
        normalize::normalize(&mut top, &name, if request.no_interpolate { &none } else { &found.environment });
    }
    if !(request.no_env_resolution || request.no_interpolate) {
        loader.env_files(&mut top, &is_enabled, &found.environment);
    }
    if !request.no_interpolate {
        loader.label_files(&mut top, &is_enabled);
    }
    if let Some(trace) = &mut loader.trace {
        trace.settle_bases(0);
    }

    let provenance = Provenance::new(Node { value: Value::Map(top), ..root });
    // Two walks over the whole tree, which know nothing of each other.
    let (mut project, mut unhonoured) = std::thread::scope(|scope| {
        let search = || unhonoured::find(provenance.root(), &is_enabled);
        let many = provenance.find(&KeyPath::of(["services"])).and_then(Node::as_map).is_some_and(|all| all.len() >= MANY_SERVICES);
        let search = if many { Err(scope.spawn(search)) } else { Ok(search()) };
        let project = lower::project(provenance.root());
        (project, search.unwrap_or_else(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))))
    });
    project.name = name;
    (project.services, project.disabled) = std::mem::take(&mut project.services).into_iter().partition(|(name, _)| is_enabled(name));
    for service in project.services.values_mut().chain(project.disabled.values_mut()) {
        settle(service, &found.environment);
    }
    // Where so much is wrong, what may follow from it isn't looked for.
    let few = loader.diagnostics.iter().filter(|d| d.is_error()).count() <= MAX_FINDINGS;
    if !request.no_consistency && !request.no_interpolate && whole && few {
        let told = loader.diagnostics.iter().filter(|d| d.is_error());
        let errors: Vec<Span> = told.flat_map(|d| d.span.into_iter().chain(d.related.iter().map(|(span, _)| *span))).collect();
        let spans = if errors.is_empty() { BTreeMap::new() } else { spans_of_entries(provenance.root()) };
        let faulty = |section: &str, name: &str| {
            if section == "services" && loader.unextended.contains(name) {
                return true;
            }
            // A scalar of which nothing is known is no fault to follow from.
            let mut faults = errors.iter().filter(|e| !loader.unknown.holds(**e));
            let own = spans.get(&(section.to_owned(), name.to_owned()));
            own.is_some_and(|own| faults.any(|e| own.get(&e.source).is_some_and(|(start, end)| (*start..=*end).contains(&e.start))))
        };
        let mut faults = consistency::check(&project, &provenance, &faulty, &loader.unknown, &found.directory);
        // One fault at one place is enough.
        let overlap = |a: Span, b: &Span| a.source == b.source && a.start < b.end && b.start < a.end;
        faults.retain(|fault| !fault.span.is_some_and(|span| errors.iter().any(|e| overlap(span, e))));
        loader.diagnostics.extend(faults);
    }
    if !loader.wanted.is_empty() || loader.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(failed(loader, false));
    }
    if !request.no_interpolate {
        loader.diagnostics.extend(refused::find(&project, &provenance));
    }

    project.working_dir = found.directory;
    unhonoured.extend(seccomp::read(&mut project, &|path| provenance.nearest(path)));
    project.files = found.files.into_iter().map(|f| f.path.unwrap_or_else(|| "-".into())).collect();
    project.env_files = found.env_files;
    project.environment = found.environment;
    for (key, value) in std::mem::take(&mut loader.borrowed) {
        project.environment.entry(key).or_insert(value);
    }
    project.profiles = profiles;
    project.compatibility = request.compatibility || project.environment.get("COMPOSE_COMPATIBILITY").is_some_and(|v| truth(v));
    if !request.all_resources {
        drop_unused(&mut project);
    }
    let Loader { sources, diagnostics, variables, trace, .. } = loader;
    Ok(Loaded {
        project,
        provenance,
        sources,
        diagnostics: tidy(diagnostics),
        unhonoured,
        variables,
        uninterpolated: request.no_interpolate,
        fetched: request.fetched.iter().filter_map(|(name, copy)| Some((name.clone(), copy.as_ref().ok()?.clone()))).collect(),
        trace: trace.unwrap_or_default(),
    })
}

/// What a project may ask for, in words: more is refused at its line, so that no file takes all memory.
pub fn limits() -> String {
    format!(
        "a text may have {} MB and {} levels of nesting; a project {MAX_SERVICES} services, {} MB of values once aliases, merges
and ranges are carried out, and {} files or services in a chain of include or extends. Of findings {MAX_FINDINGS} are shown,
errors first.",
        read::MAX >> 20,
        crate::yaml::MAX_DEPTH,
        budget::MAX >> 20,
        budget::MAX_CHAIN,
    )
}

/// The environment that a command works with: that of the process, and over its gaps that of the project's env files.
/// Their faults are reported by [`load`].
pub fn environment(request: &Request) -> BTreeMap<String, String> {
    find::find(request, &mut SourceMap::new(), &mut Vec::new()).environment
}

/// Leaves `services` enabled and nothing else: other services are disabled, dependencies on them forgotten, and
/// networks, volumes, secrets and configs that are used no more dropped unless `all_resources`.
pub fn restrict(project: &mut Project, services: &BTreeSet<String>, all_resources: bool) {
    let (kept, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        std::mem::take(&mut project.services).into_iter().partition(|(name, _)| services.contains(name));
    project.services = kept;
    project.disabled.extend(others);
    for service in project.services.values_mut() {
        service.depends_on.retain(|on, _| services.contains(on));
    }
    if !all_resources {
        drop_unused(project);
    }
}

/// Go's `strconv.ParseBool`, and `y`.
fn truth(word: &str) -> bool {
    matches!(word, "1" | "t" | "T" | "true" | "TRUE" | "True" | "y" | "Y")
}

fn failed(loader: Loader<'_>, not_found: bool) -> Failed {
    Failed {
        sources: loader.sources,
        diagnostics: tidy(loader.diagnostics),
        not_found,
        trace: Box::new(loader.trace.unwrap_or_default()),
        wanted: loader.wanted,
    }
}

/// From so many services on a second thread is worth its start.
const MANY_SERVICES: usize = 40;

/// So many services a project may have: each takes some kilobytes.
const MAX_SERVICES: usize = 5000;

/// So many findings are shown.
const MAX_FINDINGS: usize = 500;

/// Findings in the order of their places, each once, and one for each variable that isn't set.
fn tidy(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|d| d.span);
    let surplus = shorten(&mut diagnostics, 4 * MAX_FINDINGS);
    one_for_each_slip(&mut diagnostics);
    let mut seen = BTreeSet::new();
    diagnostics.retain(|d| seen.insert((d.code, if d.code == "unset-variable" { None } else { d.span }, d.message.clone())));
    let left_out = surplus + shorten(&mut diagnostics, MAX_FINDINGS);
    if left_out > 0 {
        diagnostics.push(Diagnostic::warning("more-findings", format!("{left_out} more findings are left out")));
    }
    diagnostics
}

/// Leaves `max` findings, errors first: they say why nothing happens. Returns how many are gone.
fn shorten(diagnostics: &mut Vec<Diagnostic>, max: usize) -> usize {
    let before = diagnostics.len();
    if before <= max {
        return 0;
    }
    let mut errors = max;
    let mut others = max.saturating_sub(diagnostics.iter().filter(|d| d.is_error()).count());
    diagnostics.retain(|d| {
        let room = if d.is_error() { &mut errors } else { &mut others };
        let kept = *room > 0;
        *room = room.saturating_sub(1);
        kept
    });
    before - diagnostics.len()
}

/// Takes out the errors that only follow from another at the same place.
fn one_for_each_slip(diagnostics: &mut Vec<Diagnostic>) {
    // The lower, the nearer to the cause.
    let rank = |d: &Diagnostic| match d.code {
        "blank-after-colon" | "invalid-tag" => 0,
        "non-string-key" | "merge-key" => 1,
        "wrong-type" | "bad-value" | "bad-name" | "wrong-level" | "not-indented" => 2,
        _ => 3,
    };
    let covers = |outer: Span, inner: Span| outer.source == inner.source && outer.start <= inner.start && inner.end <= outer.end;
    let causes: Vec<(Span, usize)> =
        diagnostics.iter().filter(|d| d.is_error()).filter_map(|d| Some((d.span?, rank(d)))).filter(|(_, r)| *r < 3).collect();
    diagnostics.retain(|d| {
        let Some(span) = d.span.filter(|_| d.is_error()) else { return true };
        let own = rank(d);
        !causes.iter().any(|(cause, rank)| match (*cause == span, own) {
            (true, _) => *rank < own,
            // A list or mapping that can't be one at all: what its keys are doesn't matter.
            (false, 1) => *rank != 1 && covers(*cause, span),
            (false, _) => *rank == 0 && covers(*cause, span),
        })
    });
}

/// The name of the project: `--project-name`, `COMPOSE_PROJECT_NAME`, `name:` of the last file that has one, the folder.
fn project_name(loader: &mut Loader<'_>, found: &find::Found) -> Option<String> {
    let given = [
        ("`--project-name`", loader.request.project_name.clone()),
        ("`COMPOSE_PROJECT_NAME`", found.environment.get("COMPOSE_PROJECT_NAME").cloned()),
    ];
    for (origin, name) in given {
        let Some(name) = name.filter(|n| !n.is_empty()) else { continue };
        let normal = find::normal_name(&name);
        if normal == name {
            loader.name_from(origin);
            return Some(name);
        }
        let help = match normal.as_str() {
            "" => "use lower-case letters, digits, `-` and `_`, beginning with a letter or digit".to_owned(),
            _ => format!("write `{normal}`"),
        };
        loader
            .diagnostics
            .push(Diagnostic::error("bad-project-name", format!("{origin} is {name:?}, which can't be the name of a project")).help(help));
        return None;
    }
    let mut written: Option<Node> = None;
    for file in &found.files {
        for document in loader.documents(file, None) {
            if let Some(name) = document.get("name").filter(|n| n.as_str().is_some_and(|s| !s.is_empty())) {
                written = Some(name.clone());
            }
        }
    }
    if let Some(mut name) = written {
        if !loader.request.no_interpolate {
            _ = interpolate::interpolate(&mut name, &loader.sources, &|v| found.environment.get(v).cloned(), &mut loader.diagnostics);
        }
        let text = name.as_str().unwrap_or_default();
        let normal = if loader.request.no_normalize { text.to_owned() } else { find::normal_name(text) };
        if !normal.is_empty() {
            return Some(normal);
        }
        loader.diagnostics.push(
            Diagnostic::error("bad-project-name", format!("{text:?} can't be the name of a project"))
                .at(name.span)
                .help("use lower-case letters, digits, `-` and `_`, beginning with a letter or digit"),
        );
        return None;
    }
    let base = found.name_directory.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if let Ok(real) = std::fs::canonicalize(&found.name_directory)
        && real.file_name().is_some_and(|n| n.to_string_lossy() != base)
    {
        loader.diagnostics.push(
            Diagnostic::warning("name-of-link", format!("the project is called {base:?} after a link to {}", real.display()))
                .help("say `name: …` in the file, so that it is called the same from everywhere"),
        );
    }
    let name = find::normal_name(&base);
    if name.is_empty() {
        loader.diagnostics.push(
            Diagnostic::error("bad-project-name", format!("the folder {base:?} gives the project no name"))
                .help("say `name: …` in the file, or use `--project-name`"),
        );
        return None;
    }
    loader.name_from("the folder");
    Some(name)
}

/// Profiles that were asked for, and those of services named on the command line.
fn active_profiles(request: &Request, environment: &BTreeMap<String, String>, top: &Mapping) -> Vec<String> {
    let mut profiles = request.profiles.clone();
    if profiles.is_empty() {
        let listed = environment.get("COMPOSE_PROFILES").map_or("", String::as_str);
        // Nothing is a profile too: that of services which have one without a name.
        profiles.extend(listed.split(',').map(str::trim).map(str::to_owned));
    }
    for name in &request.services {
        let own = top.get("services").and_then(|s| s.get(name)).map(profiles_of).unwrap_or_default();
        if !own.is_empty() && !own.iter().any(|p| profiles.contains(p) || profiles.iter().any(|a| a == "*")) {
            profiles.extend(own);
        }
    }
    profiles
}

fn profiles_of(service: &Node) -> Vec<String> {
    let list = service.get("profiles").and_then(Node::as_seq).unwrap_or_default();
    list.iter().filter_map(scalar::text).collect()
}

fn enabled_services(top: &Mapping, profiles: &[String]) -> BTreeSet<String> {
    let services = top.get("services").and_then(Node::as_map);
    let on = |service: &Node| {
        let own = profiles_of(service);
        own.is_empty() || profiles.iter().any(|p| p == "*" || own.contains(p))
    };
    services.into_iter().flatten().filter(|e| on(&e.value)).map(|e| e.key.clone()).collect()
}

/// `scale` is also the number of replicas; Windows paths are translated if the environment asks for it.
fn settle(service: &mut Service, environment: &BTreeMap<String, String>) {
    if let (Some(scale), Some(deploy)) = (service.scale, service.deploy.as_mut())
        && deploy.replicas.is_none()
    {
        deploy.replicas = Some(scale);
    }
    if environment.get("COMPOSE_CONVERT_WINDOWS_PATHS").is_some_and(|v| truth(v)) {
        for mount in &mut service.volumes {
            let drive = mount.source.chars().next().filter(char::is_ascii_alphabetic);
            if let (Some(drive), Some(rest)) = (drive, mount.source.get(1..).and_then(|r| r.strip_prefix(':'))) {
                mount.source = format!("/{}{}", drive.to_ascii_lowercase(), rest.replace('\\', "/"));
            }
        }
    }
}

/// Drops networks, volumes, secrets, configs and models that no enabled service uses.
fn drop_unused(project: &mut Project) {
    let services = || project.services.values();
    let networks: BTreeSet<String> = services().flat_map(|s| s.networks.keys().cloned()).collect();
    let volumes: BTreeSet<String> =
        services().flat_map(|s| s.volumes.iter().filter(|m| m.kind == MountType::Volume).map(|m| m.source.clone())).collect();
    let secrets: BTreeSet<String> =
        services().flat_map(|s| s.secrets.iter().chain(s.build.iter().flat_map(|b| &b.secrets)).map(|r| r.source.clone())).collect();
    let configs: BTreeSet<String> = services().flat_map(|s| s.configs.iter().map(|r| r.source.clone())).collect();
    let models: BTreeSet<String> = services().flat_map(|s| s.models.keys().cloned()).collect();
    project.networks.retain(|key, _| networks.contains(key));
    project.volumes.retain(|key, _| volumes.contains(key));
    project.secrets.retain(|key, _| secrets.contains(key));
    project.configs.retain(|key, _| configs.contains(key));
    project.models.retain(|key, _| models.contains(key));
}

/// First and last byte of every service and resource, by section and name, in each text that it is written in.
fn spans_of_entries(root: &Node) -> BTreeMap<(String, String), BTreeMap<SourceId, (u32, u32)>> {
    fn grow(span: Span, found: &mut BTreeMap<SourceId, (u32, u32)>) {
        let range = found.entry(span.source).or_insert((span.start, span.end));
        *range = (range.0.min(span.start), range.1.max(span.end));
    }
    fn walk(node: &Node, found: &mut BTreeMap<SourceId, (u32, u32)>) {
        grow(node.span, found);
        match &node.value {
            Value::Map(map) => map.iter().for_each(|e| {
                grow(e.key_span, found);
                walk(&e.value, found);
            }),
            Value::Seq(items) => items.iter().for_each(|n| walk(n, found)),
            _ => {}
        }
    }
    let sections = root.as_map().into_iter().flatten().filter_map(|section| Some((&section.key, section.value.as_map()?)));
    sections
        .flat_map(|(section, entries)| entries.iter().map(move |e| (section, e)))
        .map(|(section, e)| {
            let mut found = BTreeMap::new();
            grow(e.key_span, &mut found);
            walk(&e.value, &mut found);
            ((section.clone(), e.key.clone()), found)
        })
        .collect()
}
