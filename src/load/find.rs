//! Which files, which directory, which environment, which name.

use super::dotenv;
use super::read::{Strictness, read, words};
use super::remote::Remote;
use super::request::Request;
use super::trace::Setting;
use crate::diag::{Diagnostic, SourceMap, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// Names of the file that is looked for, the first that is there wins.
pub const MAIN_FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// Names of the file that is laid over it if it is there.
const OVERRIDE: [&str; 4] = ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// One Compose file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// What messages call it.
    pub name: String,
    /// Absolute path; `None` is standard input.
    pub path: Option<PathBuf>,
    /// It was fetched from elsewhere: paths in it start from its own folder.
    pub remote: bool,
}

/// Where a project is, and with what it is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub files: Vec<File>,
    /// The project directory, absolute.
    pub directory: PathBuf,
    /// The folder that gives the project its name where nothing else does.
    pub name_directory: PathBuf,
    /// Variables for interpolation: the process's, then those of env files.
    pub environment: BTreeMap<String, String>,
    /// Absolute paths of env files that were asked for.
    pub env_files: Vec<PathBuf>,
    /// What env files say; the first one of a name counts.
    pub settings: Vec<Setting>,
    /// Names of files that are elsewhere and weren't fetched yet.
    pub wanted: BTreeSet<String>,
}

/// Finds everything that `request` leaves open. Faults go to `diagnostics`; without any file the list is empty.
pub(super) fn find(request: &Request, sources: &mut SourceMap, diagnostics: &mut Vec<Diagnostic>) -> Found {
    let mut environment = request.environment.clone();
    environment.entry("PWD".into()).or_insert_with(|| request.cwd.display().to_string());
    let asked = asked_env_files(request);
    let env_files: Vec<PathBuf> = asked.iter().map(|f| absolute(&request.cwd, Path::new(&expand_home(f, &environment)))).collect();

    let given = directory_of(request, &request.files);
    let first = given.clone().unwrap_or_else(|| request.cwd.clone());
    let mut read = Vec::new();
    let mut settings = Vec::new();
    if asked.is_empty() {
        settings.extend(read_default(&first, request, sources, &mut environment, diagnostics, &mut read));
    } else {
        settings = read_asked(&asked, &env_files, request, sources, &mut environment, diagnostics);
    }

    let mut names = request.files.clone();
    if names.is_empty() {
        names = files_of_environment(&environment);
    }
    let mut wanted = BTreeSet::new();
    let files = if names.is_empty() {
        discover(given.as_deref().unwrap_or(&request.cwd), &request.cwd, diagnostics)
    } else {
        names.iter().filter_map(|name| named(name, request, &mut wanted, diagnostics)).collect()
    };

    let directory = match &request.project_directory {
        Some(directory) => absolute(&request.cwd, directory),
        None => files.iter().find_map(|f| f.path.as_deref().and_then(Path::parent)).map_or_else(|| request.cwd.clone(), Path::to_path_buf),
    };
    // A project from elsewhere gets its variables from here.
    let from_elsewhere = request.project_directory.is_none() && files.iter().find(|f| f.path.is_some()).is_some_and(|f| f.remote);
    if asked.is_empty() && !from_elsewhere {
        settings.extend(read_default(&directory, request, sources, &mut environment, diagnostics, &mut read));
    }
    let name = if from_elsewhere { &request.cwd } else { &directory };
    let name_directory = name.clone();
    Found { files, directory, name_directory, environment, env_files, settings, wanted }
}

/// `--env-file`, else `COMPOSE_ENV_FILES`.
fn asked_env_files(request: &Request) -> Vec<String> {
    if !request.env_files.is_empty() {
        return request.env_files.clone();
    }
    let listed = request.environment.get("COMPOSE_ENV_FILES").map_or("", String::as_str);
    listed.split(',').filter(|f| !f.is_empty()).map(str::to_owned).collect()
}

/// `COMPOSE_FILE`.
fn files_of_environment(environment: &BTreeMap<String, String>) -> Vec<String> {
    let Some(list) = environment.get("COMPOSE_FILE").filter(|l| !l.is_empty()) else { return Vec::new() };
    let separator = environment.get("COMPOSE_PATH_SEPARATOR").map(String::as_str).filter(|s| !s.is_empty()).unwrap_or(":");
    list.split(separator).filter(|f| !f.is_empty()).map(str::to_owned).collect()
}

/// The directory that the flags tell, before any file is looked for.
fn directory_of(request: &Request, files: &[String]) -> Option<PathBuf> {
    if let Some(directory) = &request.project_directory {
        return Some(absolute(&request.cwd, directory));
    }
    let first = files.iter().find(|f| *f != "-" && elsewhere(f, &request.cwd).is_none())?;
    absolute(&request.cwd, Path::new(first)).parent().map(Path::to_path_buf)
}

fn named(name: &str, request: &Request, wanted: &mut BTreeSet<String>, diagnostics: &mut Vec<Diagnostic>) -> Option<File> {
    if name == "-" {
        return Some(File { name: "<stdin>".into(), path: None, remote: false });
    }
    if elsewhere(name, &request.cwd).is_some() {
        return match fetched(name, request) {
            Some(Ok(file)) => Some(file),
            Some(Err(fault)) => {
                diagnostics.push(*fault);
                None
            }
            None => {
                wanted.insert(name.to_owned());
                None
            }
        };
    }
    if is_url(name) {
        diagnostics.push(unfetchable(name));
        return None;
    }
    let path = absolute(&request.cwd, Path::new(name));
    Some(File { name: name.to_owned(), path: Some(path), remote: false })
}

/// Where a file is that isn't here. What exists under this name in `folder` goes before.
pub(super) fn elsewhere(name: &str, folder: &Path) -> Option<Remote> {
    Remote::parse(name).filter(|_| !folder.join(name).exists())
}

/// The copy of a file from elsewhere, if that was asked for already.
pub(super) fn fetched(name: &str, request: &Request) -> Option<Result<File, Box<Diagnostic>>> {
    Some(match request.fetched.get(name)? {
        Ok(path) => Ok(File { name: path.strip_prefix(&request.cwd).unwrap_or(path).display().to_string(), path: Some(path.clone()), remote: true }),
        Err((what, cure)) => Err(Box::new(Diagnostic::error("remote-file", what.clone()).help(cure.clone()))),
    })
}

/// Whether it is a URL rather than a path.
pub(super) fn is_url(name: &str) -> bool {
    ["oci://", "https://", "http://", "git://", "ssh://", "git@", "github.com/"].iter().any(|p| name.starts_with(p))
}

/// URLs that are neither Git's nor a registry's are refused.
pub(super) fn unfetchable(name: &str) -> Diagnostic {
    Diagnostic::error("remote-file", format!("{name:?} is no Git repository and no artifact of a registry"))
        .help("write `https://….git#REVISION:PATH` or `oci://…`, or fetch the file first and name the path of the copy")
}

/// The Compose file of `start` or of the nearest folder above it that has one, and its override.
fn discover(start: &Path, cwd: &Path, diagnostics: &mut Vec<Diagnostic>) -> Vec<File> {
    for directory in start.ancestors() {
        let there = |names: &[&str]| -> Vec<PathBuf> { names.iter().map(|n| directory.join(n)).filter(|p| p.exists()).collect() };
        let main = there(&MAIN_FILES);
        if main.is_empty() {
            // What can't be looked into may well hold the file that is wanted.
            let looked = std::fs::read_dir(directory).and_then(|_| std::fs::metadata(directory.join(".")));
            if let Err(error) = looked
                && error.kind() == ErrorKind::PermissionDenied
                && directory == start
            {
                diagnostics.push(
                    Diagnostic::error("unreadable-directory", format!("{} can't be read: {}", directory.display(), words(&error)))
                        .help("run as a user who may read it, or name the file with `--file`"),
                );
                return Vec::new();
            }
            continue;
        }
        let overrides = there(&OVERRIDE);
        return [("Compose", main), ("override", overrides)]
            .into_iter()
            .filter_map(|(kind, candidates)| {
                let winner = candidates.first()?.clone();
                if candidates.len() > 1 {
                    let names: Vec<String> = candidates.iter().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
                    diagnostics.push(
                        Diagnostic::warning(
                            "several-files",
                            format!("{} has several {kind} files, {}; the first is used", directory.display(), names.join(", ")),
                        )
                        .help("remove the others, or choose with `--file`"),
                    );
                }
                let name = winner.strip_prefix(cwd).unwrap_or(&winner).display().to_string();
                Some(File { name, path: Some(winner), remote: false })
            })
            .collect();
    }
    Vec::new()
}

/// Reads `.env` of `directory`, once, and adds what isn't set yet.
fn read_default(
    directory: &Path,
    request: &Request,
    sources: &mut SourceMap,
    environment: &mut BTreeMap<String, String>,
    diagnostics: &mut Vec<Diagnostic>,
    read: &mut Vec<PathBuf>,
) -> Vec<Setting> {
    let disabled =
        request.environment.get("COMPOSE_DISABLE_ENV_FILE").is_some_and(|v| matches!(v.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"));
    let path = directory.join(".env");
    if disabled || read.contains(&path) || !path.is_file() {
        return Vec::new();
    }
    let name = path.strip_prefix(&request.cwd).unwrap_or(&path).display().to_string();
    read.push(path.clone());
    let file = read_env(&name, &path, None, sources, environment, diagnostics);
    for setting in &file {
        environment.entry(setting.name.clone()).or_insert_with(|| setting.value.clone());
    }
    file
}

/// Reads the env files that were asked for: a later one goes before an earlier one, the process before both.
fn read_asked(
    asked: &[String],
    paths: &[PathBuf],
    request: &Request,
    sources: &mut SourceMap,
    environment: &mut BTreeMap<String, String>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Setting> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut settings = Vec::new();
    for (name, path) in asked.iter().zip(paths) {
        if path.is_dir() {
            diagnostics.push(Diagnostic::error("env-file", format!("the env file {name} is a directory")).help("name a file with `--env-file`"));
            continue;
        }
        let mut known = found.clone();
        known.extend(request.environment.clone());
        let file = read_env(name, path, None, sources, &known, diagnostics);
        found.extend(file.iter().map(|s| (s.name.clone(), s.value.clone())));
        settings.splice(0..0, file);
    }
    for (key, value) in found {
        environment.entry(key).or_insert(value);
    }
    settings
}

/// The variables of one env file that have a value.
pub(super) fn read_env(
    name: &str,
    path: &Path,
    named_at: Option<Span>,
    sources: &mut SourceMap,
    known: &BTreeMap<String, String>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Setting> {
    let Some((source, text)) = read(name, path, named_at, Strictness::Lenient, sources, diagnostics) else { return Vec::new() };
    let lookup = |key: &str| known.get(key).cloned();
    dotenv::parse(source, &text, &lookup, diagnostics)
        .into_iter()
        .filter_map(|(name, v)| {
            let value = v.value.or_else(|| known.get(&name).cloned())?;
            Some(Setting { name, value, key_span: v.key_span, span: v.span, earlier: v.earlier })
        })
        .collect()
}

/// `~` and `~/…` with the home of the environment; anything else as it is.
pub(super) fn expand_home(path: &str, environment: &BTreeMap<String, String>) -> String {
    match (path.strip_prefix('~'), environment.get("HOME").filter(|h| !h.is_empty())) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            normal(&Path::new(home).join(rest.trim_start_matches('/'))).display().to_string()
        }
        _ => path.to_owned(),
    }
}

/// `path` from `base`, without `.` and `..`, by its text alone.
pub(super) fn absolute(base: &Path, path: &Path) -> PathBuf {
    normal(&base.join(path))
}

/// The way from one absolute folder to another.
pub(super) fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| std::path::Component::ParentDir);
    let way: PathBuf = up.chain(to.components().skip(common)).collect();
    if way.as_os_str().is_empty() { PathBuf::from(".") } else { way }
}

/// A path without `.` and `..`, by its text alone: `a/../b` is `b`, whatever `a` is.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match result.components().next_back() {
                Some(Component::Normal(_)) => _ = result.pop(),
                Some(Component::RootDir) => {}
                _ => result.push(".."),
            },
            other => result.push(other),
        }
    }
    if result.as_os_str().is_empty() {
        result.push(".");
    }
    result
}

/// A project name made of any text: lower-case letters, digits, `_` and `-`, beginning with a letter or digit.
pub(super) fn normal_name(text: &str) -> String {
    let kept: String = text.to_lowercase().chars().filter(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')).collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_projects() {
        for (text, name) in [("My.Proj_X-1!", "myproj_x-1"), ("FOO Bar", "foobar"), ("_-weird", "weird"), ("příliš", "pli"), ("...", "")] {
            assert_eq!(normal_name(text), name);
        }
    }

    #[test]
    fn paths_by_their_text() {
        for (base, path, result) in
            [("/a/b", "../c", "/a/c"), ("/a", "../../..", "/"), ("/a", "/x/./y", "/x/y"), ("sub", "./x", "sub/x"), ("sub", "../..", "..")]
        {
            assert_eq!(absolute(Path::new(base), Path::new(path)), PathBuf::from(result));
        }
    }
}
