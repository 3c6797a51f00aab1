//! Files in memory: the writable layers, volumes and tmpfs of simulated containers.

use std::collections::BTreeMap;

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: String,
    pub(super) gid: String,
    pub(super) directory: bool,
}

impl File {
    pub(super) fn new(content: Vec<u8>) -> Self {
        Self { content, mode: 0o644, uid: "0".into(), gid: "0".into(), directory: false }
    }

    pub(super) fn directory() -> Self {
        Self { mode: 0o755, directory: true, ..Self::new(Vec::new()) }
    }
}

/// A tree of files by normalised absolute path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    files: BTreeMap<String, File>,
}

impl Tree {
    pub(super) fn get(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    pub(super) fn put(&mut self, path: String, file: File) {
        self.files.insert(path, file);
    }

    /// Adds to the end of a file, which is made if it isn't there.
    pub(super) fn append(&mut self, path: &str, bytes: &[u8]) {
        self.files.entry(path.to_owned()).or_insert_with(|| File::new(Vec::new())).content.extend_from_slice(bytes);
    }

    /// Removes a file, or a directory with all that is in it. Says whether there was one.
    pub(super) fn remove(&mut self, path: &str) -> bool {
        let before = self.files.len();
        self.files.retain(|p, _| p != path && !is_below(p, path));
        self.files.len() != before
    }

    /// Whether `path` is a directory: made as one, or with something below it.
    pub(super) fn is_directory(&self, path: &str) -> bool {
        path == "/" || self.files.get(path).is_some_and(|f| f.directory) || self.files.keys().any(|p| is_below(p, path))
    }

    /// Names directly in the directory `path`, sorted.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.files.keys().filter(|p| is_below(p, path)).filter_map(|p| tail(p, path).split('/').next().map(str::to_owned)).collect();
        names.dedup();
        names
    }

    pub(super) fn clear(&mut self) {
        self.files.clear();
    }
}

/// Whether `path` lies below the directory `directory`.
pub(super) fn is_below(path: &str, directory: &str) -> bool {
    directory == "/" && path.len() > 1 || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// `path` as it is seen from `directory`, which is above it: without a slash in front.
pub(super) fn tail<'p>(path: &'p str, directory: &str) -> &'p str {
    path.strip_prefix(directory).unwrap_or(path).trim_start_matches('/')
}

/// `path` as seen from the working directory `cwd`: absolute, without `.`, `..` and double slashes.
pub(super) fn absolute(cwd: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{cwd}/{path}") };
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(absolute("/srv", "a/../b//c/."), "/srv/b/c");
        assert_eq!(absolute("", ".."), "/");
        assert_eq!(absolute("/x", "/y"), "/y");
        assert!(is_below("/a/b", "/a") && !is_below("/ab", "/a") && is_below("/a", "/") && !is_below("/", "/"));
    }

    #[test]
    fn directories_are_seen_by_what_is_in_them() {
        let mut tree = Tree::default();
        tree.put("/a/b/c".into(), File::new(b"x".to_vec()));
        tree.put("/a/d".into(), File::new(Vec::new()));
        assert!(tree.is_directory("/a") && tree.is_directory("/a/b") && !tree.is_directory("/a/d"));
        assert_eq!(tree.names("/a"), ["b", "d"]);
        assert!(tree.remove("/a/b") && !tree.remove("/a/b"));
        assert_eq!(tree.names("/a"), ["d"]);
    }
}
