//! Holds the source to the map in `src/lib.rs`: who may import whom, who may print, who may look at the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A source file of the crate.
struct Source {
    /// Path from `src/`, with slashes.
    path: String,
    /// The text with comments and literals blanked out; line breaks stay.
    code: String,
}

impl Source {
    /// The top-level module that it belongs to; `main` and `lib` for the roots.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// How many modules lie between the crate's root and this file: 1 for `src/a.rs` and `src/a/mod.rs`.
    fn depth(&self) -> usize {
        self.path.strip_suffix("/mod.rs").unwrap_or(&self.path).split('/').count()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let (root, mut paths) = (root(), Vec::new());
    walk(&root, &mut paths);
    paths.sort();
    let read = |path: PathBuf| Source {
        code: blank(&std::fs::read_to_string(&path).unwrap()),
        path: path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/"),
    };
    paths.into_iter().map(read).collect()
}

/// Replaces comments and the insides of literals by blanks.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut out, mut i) = (String::with_capacity(text.len()), 0);
    let skip = |out: &mut String, from: usize, to: usize| {
        for c in &chars[from..to.min(chars.len())] {
            out.push(if *c == '\n' { '\n' } else { ' ' });
        }
    };
    while i < chars.len() {
        let start = i;
        let in_word = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
                skip(&mut out, start, i);
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
                skip(&mut out, start, i);
            }
            'r' | 'b' if !in_word && raw_hashes(&chars, i).is_some() => {
                let (hashes, body) = raw_hashes(&chars, i).unwrap();
                i = body;
                while i < chars.len() && !(at(i) == '"' && (1..=hashes).all(|h| at(i + h) == '#')) {
                    i += 1;
                }
                i += hashes + 1;
                skip(&mut out, start, i);
            }
            '"' => {
                i += 1;
                while i < chars.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
                skip(&mut out, start, i);
            }
            // A character, not a lifetime.
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                i += if at(i + 1) == '\\' { 3 } else { 2 };
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
                skip(&mut out, start, i);
            }
            c => {
                out.push(c);
                i += 1;
            }
        }
    }
    out
}

/// For a raw string that begins at `i`: how many hashes, and where its body begins.
fn raw_hashes(chars: &[char], i: usize) -> Option<(usize, usize)> {
    let i = if chars.get(i) == Some(&'b') { i + 1 } else { i };
    let rest = chars.get(i..)?.strip_prefix(&['r'])?;
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    (rest.get(hashes) == Some(&'"')).then_some((hashes, i + 1 + hashes + 1))
}

/// The ranks of the modules, as the table in the documentation of `lib.rs` gives them.
fn ranks() -> BTreeMap<String, u8> {
    let text = std::fs::read_to_string(root().join("lib.rs")).unwrap();
    let modules = modules(&text);
    let mut ranks = BTreeMap::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("//! rank ")) {
        let (rank, cells) = line.split_once(' ').expect("a rank and its modules");
        let rank: u8 = rank.parse().expect("a number of a rank");
        for cell in cells.split("  ").map(str::trim).filter(|c| !c.is_empty()) {
            for name in cell.split(", ").map(|n| n.strip_suffix(".rs").unwrap_or(n)) {
                if modules.contains(name) || name == "main" {
                    assert!(ranks.insert(name.to_owned(), rank).is_none(), "lib.rs ranks `{name}` twice");
                }
            }
        }
    }
    for module in modules {
        assert!(ranks.contains_key(&module), "lib.rs has `pub mod {module}` but its table gives it no rank");
    }
    ranks
}

/// Names of the crate's top-level modules.
fn modules(lib: &str) -> BTreeSet<String> {
    lib.lines().filter_map(|l| l.trim().strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

/// Every top-level module that the code names from the crate's root, with the place in the text.
fn named_from_root(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut found = Vec::new();
    for root in ["crate::", "consort::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            let restricts = code[..at].trim_end().ends_with("in");
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') || restricts {
                continue;
            }
            for name in first_names(&code[at + root.len()..]) {
                found.push((at, name));
            }
        }
    }
    // `super::super::x` out of the top-level module is the same arrow in disguise. Tests at the end of a file are one
    // module deeper and would be counted wrongly.
    let own = &code[..code.find("mod tests {").unwrap_or(code.len())];
    let supers = "super::".repeat(source.depth());
    let mut next = 0;
    while let Some(at) = own[next..].find(&supers).map(|at| at + next) {
        next = at + supers.len();
        for name in first_names(&own[next..]) {
            found.push((at, name));
        }
    }
    found
}

/// The first names of a path or of a group of paths: `{a::b, c}` gives `a`, `c`.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(name(&group[start..i]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&group[start..i]));
                start = i + 1;
            }
            _ => {}
        }
    }
    names.retain(|n| !n.is_empty());
    names
}

#[test]
fn arrows_point_down() {
    let ranks = ranks();
    let mut wrong = String::new();
    for source in sources().iter().filter(|s| s.module() != "lib") {
        let own = source.module();
        let rank = *ranks.get(own).unwrap_or_else(|| panic!("src/{} belongs to no module of the table", source.path));
        for (at, other) in named_from_root(source) {
            match ranks.get(&other) {
                Some(r) if other == own || *r < rank => {}
                Some(r) => {
                    let direction = if *r == rank { "sideways" } else { "up" };
                    writeln!(wrong, "src/{}:{}: {own} (rank {rank}) → {other} (rank {r}) points {direction}", source.path, source.line_of(at))
                        .unwrap();
                }
                None => {}
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Fails for each place outside `allowed` where the code has one of `words`.
fn only_in(words: &[&str], allowed: &[&str], rule: &str) {
    let mut wrong = String::new();
    for source in sources().iter().filter(|s| !allowed.iter().any(|a| s.path.starts_with(a))) {
        for word in words {
            for (at, _) in source.code.match_indices(word) {
                let alone = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
                if alone(source.code[..at].chars().next_back()) && alone(source.code[at + word.len()..].chars().next()) {
                    writeln!(wrong, "src/{}:{}: `{word}`", source.path, source.line_of(at)).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{rule}\n{wrong}");
}

#[test]
fn only_ui_prints() {
    let words = ["print!", "println!", "eprint!", "eprintln!", "io::stdout", "io::stderr", "dbg!"];
    only_in(&words, &["ui", "main.rs"], "only ui prints");
}

#[test]
fn the_environment_enters_once() {
    let words =
        ["env::var", "env::var_os", "env::vars", "env::vars_os", "env::current_dir", "env::args", "env::args_os", "env::home_dir", "env::set_var"];
    only_in(&words, &["cli", "main.rs"], "only main and cli look at the environment");
}

#[test]
fn nothing_is_unsafe() {
    only_in(&["unsafe"], &["engine/embedded/sys"], "unsafe code has one place");
}

#[test]
fn plan_is_pure() {
    let code = sources().into_iter().filter(|s| s.module() == "plan");
    for source in code {
        for word in [".await", "async ", "SystemTime", "Instant::", "std::fs", "tokio::"] {
            if let Some(at) = source.code.find(word) {
                panic!("src/{}:{}: plan is pure, but here is `{word}`", source.path, source.line_of(at));
            }
        }
    }
}

#[test]
fn the_reader_of_sources_reads_right() {
    let code =
        blank("use crate::a; // crate::b\n/* crate::c /* x */ */ \"crate::d \\\" \" r#\"crate::e\"# 'x' '\\'' &'a str crate::{f::g, h::{i, j}, k}");
    let source = Source { path: "plan/x.rs".into(), code };
    let names: Vec<String> = named_from_root(&source).into_iter().map(|(_, n)| n).collect();
    assert_eq!(names, ["a", "f", "h", "k"]);
    let escape = Source { path: "plan/x.rs".into(), code: "use super::super::engine::Engine; use super::types;".into() };
    assert_eq!(named_from_root(&escape).into_iter().map(|(_, n)| n).collect::<Vec<_>>(), ["engine"]);
    let escape = Source { path: "graph.rs".into(), code: "use super::engine::Engine;".into() };
    assert_eq!(named_from_root(&escape).into_iter().map(|(_, n)| n).collect::<Vec<_>>(), ["engine"]);
}
