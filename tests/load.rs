//! Golden tests of `load`: each folder of `tests/load` is a project.
//!
//! `compose.yaml` and whatever it names; `args` with flags of the command line, one line; `environment` with the process
//! environment, `KEY=value` lines. What comes out is compared with `expected.txt`: every finding with its place and cure,
//! then, if the project loads, the JSON of `config`. `BLESS=1 cargo test --test load` writes the files anew.

use consort::diag::{Diagnostic, SourceMap};
use consort::load::{self, Request, render};
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

/// What a load says about a folder.
fn outcome(folder: &Path) -> String {
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
