//! Compose files from elsewhere: Git repositories and artifacts of registries, copied into a cache.
//!
//! The cache is laid out as Docker Compose does it (`docker-compose/ID` in the user's cache folder), so bind mounts of
//! such a project stay where they are whichever of the two starts it. A copy is complete or absent: it is made beside
//! its place and moved there.

mod git;
mod oci;

use crate::load::{Fetched, Remote};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Fetches all of `names` at once.
pub async fn all(names: &BTreeSet<String>, environment: &BTreeMap<String, String>) -> BTreeMap<String, Fetched> {
    let one = |name: &String| {
        let name = name.clone();
        async move {
            let fetched = fetch(&name, environment).await;
            (name, fetched)
        }
    };
    futures::future::join_all(names.iter().map(one)).await.into_iter().collect()
}

async fn fetch(name: &str, environment: &BTreeMap<String, String>) -> Fetched {
    let cache = cache(environment)?;
    let disabled = |variable: &str| {
        let off = environment.get(variable).is_some_and(|v| matches!(v.as_str(), "0" | "f" | "F" | "false" | "FALSE" | "False"));
        if off { Err((format!("{name:?} is not fetched: {variable} says so"), format!("unset {variable}"))) } else { Ok(()) }
    };
    match Remote::parse(name) {
        Some(Remote::Git { url, revision, path }) => {
            disabled("COMPOSE_EXPERIMENTAL_GIT_REMOTE")?;
            git::fetch(&git::Wanted { url, revision, path }, &cache, environment).await
        }
        Some(Remote::Oci { reference }) => {
            disabled("COMPOSE_EXPERIMENTAL_OCI_REMOTE")?;
            oci::fetch(&reference, &cache, environment).await
        }
        None => Err((format!("{name:?} is no Git repository and no artifact of a registry"), "name the path of a copy".to_owned())),
    }
}

/// Where copies are kept (XDG Base Directory Specification).
fn cache(environment: &BTreeMap<String, String>) -> Result<PathBuf, (String, String)> {
    let set = |name: &str| environment.get(name).filter(|v| v.starts_with('/')).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    base.map(|b| b.join("docker-compose"))
        .ok_or_else(|| ("there is no place to keep files from elsewhere".to_owned(), "set HOME or XDG_CACHE_HOME to an absolute path".to_owned()))
}

/// An empty folder in `cache` that goes away unless it is moved to its place.
struct Draft(PathBuf);

impl Draft {
    fn new(cache: &Path, id: &str) -> Result<Self, (String, String)> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = cache.join(format!(".{id}.{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) => Err(unwritable(&path, &error)),
        }
    }

    /// Gives it its name, unless another process was faster.
    fn keep(self, place: &Path) -> Result<(), (String, String)> {
        match std::fs::rename(&self.0, place) {
            Err(error) if !place.exists() => Err(unwritable(place, &error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It has another name by now if it was kept.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> (String, String) {
    (format!("{} can't be written: {error}", path.display()), "make room there, or set XDG_CACHE_HOME to another folder".to_owned())
}
