//! Compose files that are elsewhere: what their names mean. Nothing is fetched here; a load says what it wants
//! ([`super::Failed::wanted`]), and is repeated with what was fetched ([`super::Request::fetched`]).

use std::path::{Component, Path};

/// A Compose file elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// In a Git repository: `URL[#[REVISION][:PATH]]`.
    Git {
        /// What `git fetch` is told.
        url: String,
        /// Branch, tag or commit; `HEAD` is the default branch.
        revision: String,
        /// File, or folder with a Compose file of a usual name; empty for the top of the repository.
        path: String,
    },
    /// An artifact in a registry: `oci://REFERENCE`.
    Oci {
        /// `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`.
        reference: String,
    },
}

impl Remote {
    /// What `name` means if it is not the name of a file here: `oci://…`, an address of Git (`https://….git`,
    /// `http://….git`, `git://…`, `ssh://…`, `user@host:…`), or `github.com/…`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(reference) = name.strip_prefix("oci://") {
            return Some(Self::Oci { reference: reference.to_owned() });
        }
        let (address, fragment) = name.split_once('#').unwrap_or((name, ""));
        let web = ["https://", "http://"].iter().any(|p| address.starts_with(p));
        let url = if web && address.ends_with(".git") || ["git://", "ssh://"].iter().any(|p| address.starts_with(p)) || is_scp(address) {
            address.to_owned()
        } else if address.starts_with("github.com/") {
            format!("https://{address}")
        } else {
            return None;
        };
        let (revision, path) = fragment.split_once(':').unwrap_or((fragment, ""));
        let revision = if revision.is_empty() { "HEAD" } else { revision };
        Some(Self::Git { url, revision: revision.to_owned(), path: path.trim_matches('/').to_owned() })
    }
}

/// Whether it is written as `scp` and `ssh` have it: `user@host:path`.
fn is_scp(address: &str) -> bool {
    let Some((user, rest)) = address.split_once('@') else { return false };
    let word = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    word(user) && rest.split_once(':').is_some_and(|(host, path)| word(host) && !path.is_empty())
}

/// Whether a path leads out of the folder that it starts in, by its text.
#[must_use]
pub fn leads_out(path: &str) -> bool {
    let mut depth = 0_i32;
    for component in Path::new(path).components() {
        depth += match component {
            Component::Normal(_) => 1,
            Component::ParentDir => -1,
            Component::CurDir => 0,
            Component::RootDir | Component::Prefix(_) => return true,
        };
        if depth < 0 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_git_and_of_registries() {
        for (name, url, revision, path) in [
            ("https://h/a/b.git", "https://h/a/b.git", "HEAD", ""),
            ("https://h/a/b.git#v1", "https://h/a/b.git", "v1", ""),
            ("https://h/a/b.git#:sub/dir", "https://h/a/b.git", "HEAD", "sub/dir"),
            ("git://h/a#main:x/compose.yaml", "git://h/a", "main", "x/compose.yaml"),
            ("ssh://git@h:22/a", "ssh://git@h:22/a", "HEAD", ""),
            ("git@h:a/b.git#release/1:/x/", "git@h:a/b.git", "release/1", "x"),
            ("github.com/a/b", "https://github.com/a/b", "HEAD", ""),
        ] {
            let git = Remote::Git { url: url.into(), revision: revision.into(), path: path.into() };
            assert_eq!(Remote::parse(name), Some(git), "{name}");
        }
        assert_eq!(Remote::parse("oci://h:5000/a:1"), Some(Remote::Oci { reference: "h:5000/a:1".into() }));
        for name in ["compose.yaml", "./git@h:x", "https://h/compose.yaml", "a@b", "x/y@z:w", "C:\\x", "-"] {
            assert_eq!(Remote::parse(name), None, "{name}");
        }
    }

    #[test]
    fn paths_stay_in_their_repository() {
        for (path, out) in [("a/b", false), ("a/../b", false), ("..", true), ("a/../../b", true), ("/etc", true), ("", false), ("./a", false)] {
            assert_eq!(leads_out(path), out, "{path}");
        }
    }
}
