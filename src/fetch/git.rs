//! Files in Git repositories, by the `git` command: it knows the user's keys, proxies and helpers.

use super::Draft;
use crate::load::remote::leads_out;
use crate::load::{Fetched, MAIN_FILES};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// A file in a repository; see [`crate::load::Remote::Git`].
pub(super) struct Wanted {
    pub url: String,
    pub revision: String,
    pub path: String,
}

type Told<T> = Result<T, (String, String)>;

/// Copies the commit that is wanted, unless it is there, and finds the file in it.
pub(super) async fn fetch(wanted: &Wanted, cache: &Path, environment: &BTreeMap<String, String>) -> Fetched {
    let Wanted { url, revision, path } = wanted;
    if leads_out(path) {
        return Err((format!("{path:?} leads out of {url}"), "name a path within the repository".to_owned()));
    }
    for (what, word) in [("address", url), ("revision", revision)] {
        // It would be taken for a flag.
        if word.starts_with('-') {
            return Err((format!("{word:?} is no {what} of Git"), "write `URL#REVISION:PATH`".to_owned()));
        }
    }
    let commit = if is_commit(revision) { revision.clone() } else { resolve(url, revision, cache, environment).await? };
    let place = cache.join(&commit);
    if !place.exists() {
        let draft = Draft::new(cache, &commit)?;
        let steps: [&[&str]; 3] = [
            &["init", "--quiet"],
            &["fetch", "--quiet", "--depth=1", "--no-tags", "--", url, &commit],
            &["-c", "advice.detachedHead=false", "checkout", "--quiet", "FETCH_HEAD"],
        ];
        for step in steps {
            git(step, &draft.0, environment).await?.map_err(|said| {
                (
                    format!("{revision} of {url} can't be fetched: {said}"),
                    "see that this machine can reach it and that you may read it; a commit must be that of a branch or tag".to_owned(),
                )
            })?;
        }
        draft.keep(&place)?;
    }
    let found = place.join(path);
    let file = if found.is_dir() { compose_file(&found) } else { Some(found).filter(|f| f.is_file()) };
    match file.filter(|f| is_within(&place, f)) {
        Some(file) => Ok(file),
        None if path.is_empty() => {
            Err((format!("{url} has no Compose file at its top, at {revision}"), format!("say where it is: `{url}#{}:PATH`", branch(revision))))
        }
        None => Err((format!("{url} has no Compose file at {path:?}, at {revision}"), "name the file, or the folder that it is in".to_owned())),
    }
}

fn branch(revision: &str) -> &str {
    if revision == "HEAD" { "" } else { revision }
}

/// A full name of a commit: 40 or, with SHA-256, 64 hexadecimal digits.
fn is_commit(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64) && revision.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The commit that a branch or tag points to.
async fn resolve(url: &str, revision: &str, cache: &Path, environment: &BTreeMap<String, String>) -> Told<String> {
    std::fs::create_dir_all(cache).map_err(|e| super::unwritable(cache, &e))?;
    let peeled = format!("{revision}^{{}}");
    let listed = git(&["ls-remote", "--", url, revision, &peeled], cache, environment).await?.map_err(|said| {
        (
            format!("{url} can't be reached: {said}"),
            "see that the address is right, that this machine can reach it and that you may read it".to_owned(),
        )
    })?;
    chosen(&listed, revision)
        .ok_or_else(|| (format!("{url} has no branch and no tag {revision:?}"), "name a branch, a tag or the full name of a commit".to_owned()))
}

/// Picks out of what `git ls-remote` lists. The pattern `a` also finds `refs/heads/x/a`, so names are looked at whole; a
/// tag with a text of its own is followed to its commit.
fn chosen(listed: &str, revision: &str) -> Option<String> {
    let refs: BTreeMap<&str, &str> = listed.lines().filter_map(|l| l.split_once('\t')).map(|(id, name)| (name, id)).collect();
    let names = [
        revision.to_owned(),
        format!("refs/heads/{revision}"),
        format!("refs/tags/{revision}^{{}}"),
        format!("refs/tags/{revision}"),
        format!("refs/{revision}"),
    ];
    names.iter().find_map(|n| refs.get(n.as_str())).filter(|id| is_commit(id)).map(|id| (*id).to_owned())
}

/// Runs `git`; `Ok(Err)` is what it says when it fails.
async fn git(args: &[&str], folder: &Path, environment: &BTreeMap<String, String>) -> Told<Result<String, String>> {
    let mut command = Command::new("git");
    command.args(args).current_dir(folder).env_clear().envs(outward(environment));
    // Nobody could answer it.
    command.env("GIT_TERMINAL_PROMPT", "0");
    if !environment.contains_key("GIT_SSH_COMMAND") && !environment.contains_key("GIT_SSH") {
        command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    match command.output().await {
        Ok(output) if output.status.success() => Ok(Ok(String::from_utf8_lossy(&output.stdout).into_owned())),
        Ok(output) => Ok(Err(last_words(&output.stderr))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(("files from Git repositories need the command `git`, which isn't there".to_owned(), "install git".to_owned()))
        }
        Err(error) => Err((format!("git can't be run: {error}"), "see that `git version` works".to_owned())),
    }
}

/// The Compose file of a folder, under the names that are looked for.
fn compose_file(folder: &Path) -> Option<PathBuf> {
    MAIN_FILES.iter().map(|n| folder.join(n)).find(|p| p.is_file())
}

/// The last lines that a program wrote, for a message.
fn last_words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

/// Whether `path` stays within `folder` once links are followed.
fn is_within(folder: &Path, path: &Path) -> bool {
    let real = |p: &Path| std::fs::canonicalize(p).ok();
    matches!((real(folder), real(path)), (Some(folder), Some(path)) if path.starts_with(&folder))
}

/// Every variable but those that would turn `git` to another repository.
fn outward(environment: &BTreeMap<String, String>) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    let inner = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"];
    environment.iter().filter(move |(k, _)| !inner.contains(&k.as_str())).map(|(k, v)| (OsStr::new(k), OsStr::new(v)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn whole_names_of_references_are_chosen() {
        let listed = format!("{A}\trefs/heads/feature/main\n{B}\trefs/heads/main\n");
        assert_eq!(chosen(&listed, "main").as_deref(), Some(B));
        let listed = format!("{A}\trefs/tags/v1\n{B}\trefs/tags/v1^{{}}\n");
        assert_eq!(chosen(&listed, "v1").as_deref(), Some(B));
        let listed = format!("{A}\tHEAD\n{B}\trefs/remotes/origin/HEAD\n");
        assert_eq!(chosen(&listed, "HEAD").as_deref(), Some(A));
        assert_eq!(chosen(&format!("{A}\trefs/heads/x/y\n"), "y"), None);
    }
}
