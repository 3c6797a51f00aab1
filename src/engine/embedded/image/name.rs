//! What images are called, and for which machines they are.

use super::unusable;
use crate::world::EngineError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// A reference to an image, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// In a registry: `REGISTRY/REPOSITORY:TAG` or `REGISTRY/REPOSITORY@DIGEST`, in full.
    Registry(Tagged),
    /// `docker-archive:FILE[:REFERENCE]`, what `docker save` writes.
    DockerArchive(PathBuf, Option<String>),
    /// `oci:DIR[:TAG]`, an image layout.
    OciDirectory(PathBuf, Option<String>),
    /// `oci-archive:FILE[:TAG]`, an image layout in an archive.
    OciArchive(PathBuf, Option<String>),
    /// `rootfs:DIR`, a directory that is the image.
    Directory(PathBuf),
}

/// A name in a registry, in full: `docker.io/library/nginx:alpine`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tagged {
    /// Registry and repository.
    pub repository: String,
    /// `:TAG` or `@DIGEST`.
    pub version: Version,
}

/// Which of a repository's images.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// By tag.
    Tag(String),
    /// By the digest of its manifest or index, `sha256:…`.
    Digest(String),
}

impl fmt::Display for Tagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Version::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

/// As it is written in full: equal names are equal texts.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path, part) = match self {
            Self::Registry(tagged) => return tagged.fmt(f),
            Self::DockerArchive(path, part) => ("docker-archive", path, part),
            Self::OciDirectory(path, part) => ("oci", path, part),
            Self::OciArchive(path, part) => ("oci-archive", path, part),
            Self::Directory(path) => ("rootfs", path, &None),
        };
        write!(f, "{scheme}:{}", path.display())?;
        part.as_ref().map_or(Ok(()), |part| write!(f, ":{part}"))
    }
}

impl Name {
    /// Understands a reference. Paths become absolute and free of links where they exist.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(reference: &str) -> Result<Self, EngineError> {
        let split = |rest: &str| {
            // A path may have a colon in it; what comes after the last one is a tag unless a file is called like the whole.
            let (path, part) = match rest.rsplit_once(':') {
                Some((path, part)) if !Path::new(rest).exists() && !part.contains('/') => (path, Some(part)),
                _ => (rest, None),
            };
            // `docker-archive:FILE:NAME:TAG`: the name has a colon of its own.
            match (path.rsplit_once(':'), part) {
                (Some((file, name)), Some(tag)) if !Path::new(path).exists() && Path::new(file).exists() => {
                    (full(file), Some(format!("{name}:{tag}")))
                }
                _ => (full(path), part.map(str::to_owned)),
            }
        };
        let empty = |rest: &str| if rest.is_empty() { Err(unusable(format!("`{reference}` names no file"))) } else { Ok(()) };
        if let Some((scheme, rest)) = reference.split_once(':') {
            match scheme {
                "docker-archive" | "oci" | "oci-archive" if !is_tag(rest) || Path::new(rest).exists() || scheme != "oci" => {
                    empty(rest)?;
                    let (path, part) = split(rest);
                    return Ok(match scheme {
                        "docker-archive" => Self::DockerArchive(path, part),
                        "oci" => Self::OciDirectory(path, part),
                        _ => Self::OciArchive(path, part),
                    });
                }
                "rootfs" if !is_tag(rest) || Path::new(rest).exists() => {
                    empty(rest)?;
                    return Ok(Self::Directory(full(rest)));
                }
                _ => {}
            }
        }
        Tagged::parse(reference).map(Self::Registry)
    }
}

/// An absolute path without links, as far as it exists.
fn full(path: &str) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path))
}

impl Tagged {
    /// Completes a name as Docker does: `nginx` is `docker.io/library/nginx:latest`. A tag beside a digest counts for
    /// nothing.
    ///
    /// # Errors
    /// What is wrong with it (grammar: package `reference` of the distribution project).
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        let wrong = |why: &str| unusable(format!("`{text}` is no name of an image: {why}"));
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) => {
                (first, path)
            }
            _ => ("docker.io", name),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let path = if registry == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        if registry.is_empty() || !registry.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)) {
            return Err(wrong("its registry is no host"));
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong("it must be in lower case"));
        }
        let component = |part: &str| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            part.bytes().next().is_some_and(plain)
                && part.bytes().next_back().is_some_and(plain)
                && part.bytes().all(|b| plain(b) || b"._-".contains(&b))
                && !part.contains("..")
        };
        if !path.split('/').all(component) {
            return Err(wrong("between slashes there are letters and digits, with `.`, `_` or `-` between them"));
        }
        let version = match (digest, tag) {
            (Some(digest), _) => match digest.strip_prefix("sha256:") {
                Some(hex) if is_hex(hex) => Version::Digest(digest.to_owned()),
                _ => return Err(wrong("a digest is `sha256:` and 64 hexadecimal digits")),
            },
            (None, Some(tag)) if is_tag(tag) => Version::Tag(tag.to_owned()),
            (None, Some(_)) => return Err(wrong("a tag has letters, digits, `_`, `.` and `-`, 128 at most")),
            (None, None) => Version::Tag("latest".to_owned()),
        };
        let repository = format!("{registry}/{path}");
        if repository.len() > 255 {
            return Err(wrong("it has more than 255 characters"));
        }
        Ok(Self { repository, version })
    }

    /// As users write it: without what is added to every name of Docker Hub.
    pub fn familiar(&self) -> String {
        let short = self.repository.strip_prefix("docker.io/").unwrap_or(&self.repository);
        short.strip_prefix("library/").unwrap_or(short).to_owned()
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        match &self.version {
            Version::Tag(tag) => Some(tag),
            Version::Digest(_) => None,
        }
    }
}

/// Whether it is 64 lower-case hexadecimal digits.
pub fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128 && text.bytes().next().is_some_and(word) && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// A kind of machine, `linux/arm64`, `linux/arm/v7`, as the OCI image specification names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// Processor.
    #[serde(default)]
    pub architecture: String,
    /// Its variant; empty is any.
    #[serde(default)]
    pub variant: String,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

impl Platform {
    /// This machine.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", ""),
            "arm" => ("arm", "v7"),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", ""),
            "powerpc64" => ("ppc64", ""),
            "loongarch64" => ("loong64", ""),
            other => (other, ""),
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: variant.to_owned() }
    }

    /// Reads `os/arch[/variant]`, or the architecture alone.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [architecture] => ("linux", *architecture, ""),
            [os, architecture] => (*os, *architecture, ""),
            [os, architecture, variant] => (*os, *architecture, *variant),
            _ => return Err(unusable(format!("`{text}` is no platform: write os/arch or os/arch/variant"))),
        };
        if os.is_empty() || architecture.is_empty() {
            return Err(unusable(format!("`{text}` is no platform: write os/arch or os/arch/variant")));
        }
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.to_owned() }.normal())
    }

    /// The one that was asked for, or this machine's.
    ///
    /// # Errors
    /// As [`Platform::parse`].
    pub fn wanted(text: Option<&str>) -> Result<Self, EngineError> {
        text.filter(|t| !t.is_empty()).map_or_else(|| Ok(Self::host()), Self::parse)
    }

    /// With other names of the same thing replaced, so that equal platforms are equal.
    #[must_use]
    pub fn normal(mut self) -> Self {
        self.os = self.os.to_ascii_lowercase();
        let architecture = self.architecture.to_ascii_lowercase();
        let (architecture, variant) = match architecture.as_str() {
            "x86_64" | "x86-64" => ("amd64", self.variant.as_str()),
            "i386" | "i686" => ("386", ""),
            "aarch64" => ("arm64", self.variant.as_str()),
            "armhf" => ("arm", "v7"),
            "armel" => ("arm", "v6"),
            other => (other, self.variant.as_str()),
        };
        let variant = match (architecture, variant) {
            ("amd64", "v1") | ("arm64", "v8" | "8") => "",
            ("arm", "" | "7") => "v7",
            ("arm", "6") => "v6",
            ("arm", "5") => "v5",
            (_, other) => other,
        };
        (self.architecture, self.variant) = (architecture.to_owned(), variant.to_owned());
        self
    }

    /// How well a machine like this runs what is made for `other`: 0 is best, none not at all.
    pub fn runs(&self, other: &Self) -> Option<usize> {
        let other = other.clone().normal();
        let own = self.clone().normal();
        if other.os != own.os || other.architecture != own.architecture {
            return None;
        }
        // Variants are steps of one ladder (`v5`, `v6`, …): a machine runs what is made for the lower ones.
        let step = |variant: &str| variant.trim_start_matches('v').split('.').next().and_then(|n| n.parse::<usize>().ok());
        match (step(&own.variant), step(&other.variant)) {
            _ if own.variant == other.variant => Some(0),
            (Some(own), Some(other)) if other < own => Some(own - other),
            (Some(_), None) if other.variant.is_empty() => Some(64),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, full, familiar) in [
            ("nginx", "docker.io/library/nginx:latest", "nginx"),
            ("nginx:alpine", "docker.io/library/nginx:alpine", "nginx"),
            ("user/app", "docker.io/user/app:latest", "user/app"),
            ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx"),
            ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1", "nginx"),
            ("localhost/x:1", "localhost/x:1", "localhost/x"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest", "127.0.0.1:5000/a/b"),
            ("ghcr.io/a/b:t", "ghcr.io/a/b:t", "ghcr.io/a/b"),
        ] {
            let name = Tagged::parse(text).unwrap();
            assert_eq!((name.to_string().as_str(), name.familiar().as_str()), (full, familiar), "{text}");
        }
        assert_eq!(Tagged::parse(&format!("nginx:1@{digest}")).unwrap().to_string(), format!("docker.io/library/nginx@{digest}"));
        for bad in ["", "Nginx", "a//b", "a/-b", "nginx:", "nginx:a b", "nginx@sha256:12", "-", "a/../b", "x/y:z/../w"] {
            assert!(Tagged::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_and_folders_are_references_too() {
        let folder = tempfile::tempdir().unwrap();
        let at = std::fs::canonicalize(folder.path()).unwrap();
        let file = at.join("a:b.tar");
        std::fs::write(&file, b"").unwrap();
        let parse = |text: String| Name::parse(&text).unwrap();
        assert_eq!(parse(format!("docker-archive:{}", file.display())), Name::DockerArchive(file.clone(), None));
        assert_eq!(parse(format!("docker-archive:{}:x:1", file.display())), Name::DockerArchive(file.clone(), Some("x:1".to_owned())));
        assert_eq!(parse(format!("oci:{}:t", at.display())), Name::OciDirectory(at.clone(), Some("t".to_owned())));
        assert_eq!(parse(format!("rootfs:{}", at.display())), Name::Directory(at.clone()));
        assert_eq!(parse("rootfs:/".to_owned()).to_string(), "rootfs:/");
        // An image may be called like one of the words.
        assert_eq!(parse("oci:latest".to_owned()).to_string(), "docker.io/library/oci:latest");
        assert!(Name::parse("rootfs:").is_err() && Name::parse("docker-archive:").is_err());
    }

    #[test]
    fn machines_run_what_is_made_for_them_and_for_their_forebears() {
        let p = |text: &str| Platform::parse(text).unwrap();
        assert_eq!(p("linux/arm64/v8"), p("aarch64"));
        assert_eq!(p("linux/arm").runs(&p("linux/arm/v7")), Some(0));
        assert_eq!(p("linux/arm/v7").runs(&p("linux/arm/v6")), Some(1));
        assert_eq!(p("linux/arm/v6").runs(&p("linux/arm/v7")), None);
        assert_eq!(p("linux/amd64").runs(&p("linux/amd64/v3")), None);
        assert_eq!(p("linux/amd64/v3").runs(&p("linux/amd64")), Some(64));
        assert_eq!(p("linux/amd64").runs(&p("windows/amd64")), None);
        assert!(Platform::parse("a/b/c/d").is_err() && Platform::parse("").is_err());
    }
}
