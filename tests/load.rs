//! Golden tests of `load`: each folder of `tests/load` is a project.
//!
//! `compose.yaml` and whatever it names; `args` with flags of the command line, one line; `environment` with the process
//! environment, `KEY=value` lines. What comes out is compared with `expected.txt`: every finding with its place and cure,
//! then, if the project loads, the JSON of `config`. `BLESS=1 cargo test --test load` writes the files anew.

use consort::diag::{Diagnostic, KeyPath, SourceId, SourceMap};
use consort::load::{self, Request, annotate, explain, render};
use consort::yaml::{self, Node, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[test]
#[expect(clippy::disallowed_methods, reason = "whether to write the expected texts anew is said by a variable")]
fn folders() {
    let bless = std::env::var_os("BLESS").is_some();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/load");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    let mut faults = Vec::new();
    let mut broken = 0;
    for folder in &folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let found = outcome(folder);
        broken += usize::from(found.contains("error["));
        let file = folder.join("expected.txt");
        if bless {
            std::fs::write(&file, &found).unwrap();
        } else {
            let expected = std::fs::read_to_string(&file).unwrap_or_default();
            if expected != found {
                faults.push(format!("== {name}\n-- expected\n{expected}\n-- found\n{found}"));
            }
        }
    }
    assert!(faults.is_empty(), "{} of {} folders differ:\n{}", faults.len(), folders.len(), faults.join("\n"));
    assert!(folders.len() >= 50 && broken >= 30, "{} folders, {broken} of them broken", folders.len());
}

/// Folders of projects: those of this test, those of the scenarios, the examples.
fn projects() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for parent in ["tests/load", "tests/scenarios", "examples/compose"] {
        let folders = std::fs::read_dir(root.join(parent)).unwrap().map(|e| e.unwrap().path());
        found.extend(folders.filter(|p| p.is_dir()));
    }
    found.sort();
    found
}

#[test]
fn annotations_are_comments_and_say_nothing_wrong() {
    let (mut compared, mut lines) = (0, 0);
    for folder in projects() {
        let (request, _) = asked(&folder);
        let Ok(loaded) = load::load(&Request { trace: true, ..request }) else { continue };
        let plain = render::config(&loaded, render::Format::Yaml);
        let noted = annotate::config(&loaded);
        let read = |text: &str| {
            let parsed = yaml::parse(SourceId(0), text);
            assert_eq!(parsed.diagnostics, [], "{}", folder.display());
            parsed.documents.first().map(values)
        };
        assert_eq!(read(&noted), read(&plain), "{}\n{noted}", folder.display());
        assert_eq!(noted.lines().count(), plain.lines().count(), "{}\n{noted}", folder.display());
        let names: Vec<&str> = loaded.sources.files().map(|(_, file)| file.name.as_str()).collect();
        for (before, after) in plain.lines().zip(noted.lines()) {
            let Some(note) = after.strip_prefix(before).expect("a note stands behind its line").trim_start().strip_prefix("# ") else { continue };
            lines += 1;
            let known = note == "default" || note.starts_with("from ") || names.iter().any(|n| note.starts_with(&format!("{n}:")));
            assert!(known, "{}: {after}", folder.display());
        }
        compared += 1;
    }
    assert!(compared > 80 && lines > 1000, "{compared} projects, {lines} notes");
}

/// A tree without places.
fn values(node: &Node) -> String {
    match &node.value {
        Value::Map(map) => map.iter().map(|e| format!("{:?}: {{{}}}\n", e.key, values(&e.value))).collect(),
        Value::Seq(items) => items.iter().map(|i| format!("- {{{}}}\n", values(i))).collect(),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_value_and_every_variable_has_a_story() {
    fn paths(node: &Node, at: &KeyPath, found: &mut Vec<KeyPath>) {
        found.push(at.clone());
        match &node.value {
            Value::Map(map) => map.iter().for_each(|e| paths(&e.value, &at.key(&e.key), found)),
            Value::Seq(items) => items.iter().enumerate().for_each(|(i, n)| paths(n, &at.index(i), found)),
            _ => {}
        }
    }
    let (mut told, mut seen, mut wrong) = (0, 0, Vec::new());
    for folder in projects() {
        let (request, _) = asked(&folder);
        let loaded = load::load(&Request { trace: true, ..request });
        let known: explain::Known<'_> = match &loaded {
            Ok(loaded) => loaded.into(),
            Err(failed) => failed.into(),
        };
        for mention in &known.trace.mentions {
            let story = explain::explain(&mention.name, known).unwrap();
            assert!(story.text.contains(&known.sources.place(mention.span)), "{}: {}", folder.display(), story.text);
        }
        let Ok(loaded) = &loaded else { continue };
        let mut all = Vec::new();
        paths(loaded.provenance.root(), &KeyPath::root(), &mut all);
        for path in all.iter().skip(1) {
            let name = path.to_string();
            // A key that looks like a path of others is another path.
            let Ok(story) = explain::explain(&name, known) else { panic!("{}: {name} has no story", folder.display()) };
            assert_eq!(story.json["path"].as_str(), Some(name.as_str()), "{}", folder.display());
            assert_eq!(story.json["set"], true, "{}: {name}", folder.display());
            let node = loaded.provenance.find(path).unwrap();
            if let (Value::String(value), false) = (&node.value, node.implied) {
                assert!(story.text.contains("  from "), "{}: {}", folder.display(), story.text);
                // What stands at the place says it, but for paths, which were made absolute, and what short mounts imply.
                let written = loaded.sources.text(node.span);
                let simple = value.bytes().all(|b| b.is_ascii_alphanumeric()) && node.variables.is_empty() && !written.contains('$');
                if simple && !matches!(path.last_key(), Some("name" | "type")) {
                    seen += 1;
                    wrong.extend((!written.contains(value.as_str())).then(|| format!("{}: {name} = {value}: {written}", folder.display())));
                }
            }
            told += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(told > 2000 && seen > 400, "{told} stories, {seen} places");
}

/// What a folder of this test asks for, and whether what isn't honoured is what counts.
fn asked(folder: &Path) -> (Request, bool) {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let environment: BTreeMap<String, String> =
        read("environment").lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let mut request = Request { cwd: folder.to_path_buf(), environment, project_name: Some("p".into()), ..Request::default() };
    let args = read("args");
    let mut words = args.split_whitespace();
    let mut unhonoured = false;
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap().to_owned();
        match word {
            "-f" => request.files.push(value()),
            "-p" => request.project_name = Some(value()),
            "--no-name" => request.project_name = None,
            "--profile" => request.profiles.push(value()),
            "--env-file" => request.env_files.push(value()),
            "--project-directory" => request.project_directory = Some(value().into()),
            "--no-interpolate" => request.no_interpolate = true,
            "--no-path-resolution" => request.no_path_resolution = true,
            "--stdin" => request.stdin = Some(read(&value())),
            "--service" => request.services.push(value()),
            "--unhonoured" => unhonoured = true,
            other => panic!("unknown word {other} in args of {}", folder.display()),
        }
    }
    (request, unhonoured)
}

/// What a load says about a folder.
fn outcome(folder: &Path) -> String {
    let (request, unhonoured) = asked(folder);
    let mut text = String::new();
    match load::load(&request) {
        Ok(loaded) => {
            tell(&mut text, &loaded.sources, &loaded.diagnostics);
            if unhonoured {
                tell(&mut text, &loaded.sources, &loaded.unhonoured);
            } else {
                text.push_str(&render::config(&loaded, render::Format::Json));
            }
        }
        Err(failed) => {
            assert!(failed.diagnostics.iter().any(Diagnostic::is_error), "a load fails without an error");
            tell(&mut text, &failed.sources, &failed.diagnostics);
        }
    }
    text.replace(&folder.display().to_string(), "{DIR}")
}

fn tell(text: &mut String, sources: &SourceMap, findings: &[Diagnostic]) {
    for finding in findings {
        let severity = if finding.is_error() { "error" } else { "warning" };
        let place = finding.span.map_or_else(|| "-".to_owned(), |s| sources.place(s));
        writeln!(text, "{severity}[{}] {place}: {}", finding.code, finding.message).unwrap();
        for (span, what) in &finding.related {
            writeln!(text, "    also {}: {what}", sources.place(*span)).unwrap();
        }
        if let Some(help) = &finding.help {
            writeln!(text, "    help: {help}").unwrap();
        }
    }
}
