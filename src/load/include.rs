//! What an entry of `include` brings: a set of files with a folder and an environment of its own.

use super::budget::MAX_CHAIN;
use super::find::{self, File, absolute, relative};
use super::keys::INCLUDE_ENTRY;
use super::loader::{Level, Loader, RESOURCES};
use super::paths::{items_mut, map_mut};
use super::trace::Environment;
use crate::diag::{Diagnostic, Span};
use crate::yaml::{Mapping, Node, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

impl Loader<'_> {
    /// What one entry of `include` brings.
    pub(super) fn include(&mut self, item: &Node, file: &File, level: &Level<'_>) -> Option<Node> {
        let texts = |key: &str| -> Vec<(String, Span)> {
            let list = item.get(key).and_then(Node::as_seq).unwrap_or_default();
            list.iter().filter_map(|n| Some((n.as_str()?.to_owned(), n.span))).collect()
        };
        if ["path", "project_directory", "env_file"].iter().filter_map(|key| item.get(key)).any(|node| self.unknown.inside(node)) {
            return None;
        }
        let mut files = Vec::new();
        for (path, span) in texts("path") {
            if path.is_empty() {
                self.diagnostics.push(
                    Diagnostic::error("no-such-file", "this entry of `include` names no file").at(span).help("write the path of a Compose file"),
                );
                return None;
            }
            if let Some(file) = self.elsewhere(&path, span, &level.directory) {
                files.push((file?, Some(span)));
                continue;
            }
            let path = absolute(&level.directory, Path::new(&find::expand_home(&path, level.environment)));
            let name = self.shown(&path);
            files.push((File { name, path: Some(path), remote: false }, Some(span)));
        }
        let Some((main, main_span)) = files.first().and_then(|(f, span)| Some((f.path.clone()?, *span))) else {
            // An unknown key may well be the missing one, misspelt.
            if item.value == Value::Null || item.as_map().is_some_and(|map| map.iter().all(|e| INCLUDE_ENTRY.key(&e.key).is_some())) {
                self.diagnostics.push(
                    Diagnostic::warning("missing-key", "this entry of `include` names no file, and includes nothing")
                        .at(item.span)
                        .help("add `path: …`"),
                );
            }
            let env_files = texts("env_file");
            if !env_files.is_empty() {
                self.included_environment(&env_files, &level.directory, level, item.span);
            }
            return None;
        };

        let mut chain = level.chain.clone();
        if chain.is_empty() {
            chain.extend(file.path.clone().map(|p| (p, None)));
        } else if let (Some(own), Some(last)) = (&file.path, chain.last_mut()) {
            last.0.clone_from(own);
        }
        if let Some(from) = chain.iter().position(|(path, _)| *path == main) {
            let mut fault = Diagnostic::error("include-cycle", format!("{} includes itself", self.shown(&main)))
                .at_opt(main_span)
                .help("take one of these includes out");
            fault.related =
                chain[from..].iter().filter_map(|(path, span)| Some(((*span)?, format!("{} is included here", self.shown(path))))).collect();
            self.diagnostics.push(fault);
            return None;
        }
        chain.push((main.clone(), main_span));
        if chain.len() > MAX_CHAIN {
            let what = format!("files include each other more than {MAX_CHAIN} deep");
            self.diagnostics.push(Diagnostic::error("include-limit", what).at_opt(main_span).help("include the last ones from the first"));
            return None;
        }

        let directory = match item.get("project_directory").and_then(Node::as_str).filter(|d| !d.is_empty()) {
            Some(directory) => absolute(&level.directory, Path::new(&find::expand_home(directory, level.environment))),
            None => main.parent().unwrap_or(Path::new("/")).to_path_buf(),
        };
        let base = self.include_base(item, &directory);
        let base = Some(if self.request.no_path_resolution { relative(&level.directory, &base) } else { base });
        let (environment, own) = self.included_environment(&texts("env_file"), &directory, level, item.span);
        let number = self.trace.as_ref().map_or(0, |t| t.environments.len().saturating_sub(1));
        let mut result = self.set(&files, &Level { directory, base, environment: &environment, chain, number });
        self.borrow(&mut result, &environment, &own);
        if let Value::Map(map) = &mut result.value {
            map.retain(|e| RESOURCES.contains(&e.key.as_str()));
        }
        Some(result)
    }

    /// The environment of an included file: the one that is there, and what its own env files add. The second is what
    /// those say by themselves.
    fn included_environment(
        &mut self,
        env_files: &[(String, Span)],
        directory: &Path,
        level: &Level<'_>,
        of: Span,
    ) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let default = directory.join(".env");
        let paths: Vec<(PathBuf, Option<Span>)> = if env_files.is_empty() {
            if default.is_file() { vec![(default, None)] } else { Vec::new() }
        } else {
            env_files.iter().map(|(f, span)| (absolute(&level.directory, Path::new(&find::expand_home(f, level.environment))), Some(*span))).collect()
        };
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        let mut settings = Vec::new();
        for (path, span) in paths {
            let mut known = found.clone();
            known.extend(level.environment.clone());
            let name = self.shown(&path);
            let read = find::read_env(&name, &path, span, &mut self.sources, &known, &mut self.diagnostics);
            found.extend(read.iter().map(|s| (s.name.clone(), s.value.clone())));
            settings.splice(0..0, read);
        }
        if let Some(trace) = &mut self.trace {
            trace.environments.push(Environment { of: Some(of), outer: Some(level.number), settings });
        }
        let mut environment = level.environment.clone();
        for (key, value) in &found {
            environment.entry(key.clone()).or_insert_with(|| value.clone());
        }
        (environment, found)
    }

    /// What relative paths of an included file start with: its project directory; as in the reference the folder above,
    /// if that is written as a relative path and is no folder.
    fn include_base(&mut self, item: &Node, directory: &Path) -> PathBuf {
        let written = item.get("project_directory").filter(|node| node.as_str().is_some_and(|d| !d.is_empty()));
        let Some(written) = written.filter(|_| !directory.is_dir()) else { return directory.to_path_buf() };
        let absolute = written.as_str().is_some_and(|d| Path::new(d).is_absolute());
        let base = if absolute { directory } else { directory.parent().unwrap_or(directory) };
        self.diagnostics.push(
            Diagnostic::warning("no-such-folder", format!("the project directory {} is no folder", self.shown(directory)))
                .at(written.span)
                .label(format!("relative paths start from {}", base.display()))
                .help("create it, or name the folder that the paths in the included file start from"),
        );
        base.to_path_buf()
    }

    /// Values that only the environment of an included file has: variables without value of its services get theirs
    /// here; those that its secrets and configs name are remembered.
    fn borrow(&mut self, root: &mut Node, environment: &BTreeMap<String, String>, own: &BTreeMap<String, String>) {
        let Value::Map(root) = &mut root.value else { return };
        for section in ["secrets", "configs"] {
            for entry in root.get(section).and_then(Node::as_map).into_iter().flatten() {
                if let Some(name) = entry.value.get("environment").and_then(Node::as_str)
                    && let Some(value) = environment.get(name)
                {
                    self.borrowed.insert(name.to_owned(), value.clone());
                }
            }
        }
        for service in map_mut(root, "services").into_iter().flat_map(Mapping::iter_mut) {
            let Value::Map(service) = &mut service.value.value else { continue };
            // Where nothing is interpolated a list is still one, and the reference looks no further than the env files.
            if self.request.no_interpolate {
                for item in items_mut(service, "environment") {
                    if let Some(name) = item.as_str()
                        && let Some(value) = own.get(name)
                    {
                        item.value = Value::String(format!("{name}={value}"));
                    }
                }
                continue;
            }
            for variable in map_mut(service, "environment").into_iter().flat_map(Mapping::iter_mut).filter(|v| v.value.value == Value::Null) {
                if let Some(value) = environment.get(&variable.key) {
                    variable.value.value = Value::String(value.clone());
                    variable.value.variables = vec![variable.key.clone()];
                }
            }
        }
    }
}
