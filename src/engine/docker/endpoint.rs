//! Where an engine is: `DOCKER_HOST`, contexts, sockets by default.

use crate::oci::TlsFiles;
use crate::oci::client_config::ClientConfig;
use crate::world::{EngineError, ErrorKind};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// How an engine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket of this host.
    Unix(PathBuf),
    /// A host and a port.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// A host on which `docker system dial-stdio` is run.
    Ssh {
        /// User; `None` leaves it to ssh.
        user: Option<String>,
        /// Host or alias of ssh's own configuration.
        host: String,
        /// Port; `None` leaves it to ssh.
        port: Option<u16>,
        /// Socket on that host; `None` is its default.
        socket: Option<String>,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Ssh { user, host, port, socket } => {
                f.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                f.write_str(host)?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                f.write_str(socket.as_deref().unwrap_or(""))
            }
        }
    }
}

/// An engine that may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// How it is reached.
    pub address: Address,
    /// With TLS.
    pub tls: Option<TlsFiles>,
    /// Who says so, for messages: `DOCKER_HOST`, `context prod`, `the default`.
    pub origin: String,
}

impl Endpoint {
    /// A socket of this host.
    fn unix(path: impl Into<PathBuf>, origin: &str) -> Self {
        Self { address: Address::Unix(path.into()), tls: None, origin: origin.to_owned() }
    }
}

/// Reads an address as `DOCKER_HOST` has it: `unix:///run/docker.sock`, `tcp://host:2375`, `ssh://user@host:22`,
/// `host:2375`.
///
/// # Errors
/// [`ErrorKind::Refused`] for an address that can't be read, [`ErrorKind::Unsupported`] for a scheme that isn't ours.
pub fn parse_address(text: &str, tls: bool) -> Result<Address, EngineError> {
    let bad = |why: &str| Err(EngineError::new(ErrorKind::Refused, format!("`{text}` is not the address of an engine")).because(why));
    let (scheme, rest) = text.trim().split_once("://").unwrap_or((if text.starts_with('/') { "" } else { "tcp" }, text.trim()));
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Address::Unix(PathBuf::from(rest))),
        "unix" => bad("a socket needs an absolute path, as in `unix:///var/run/docker.sock`"),
        "tcp" | "http" | "https" => {
            let authority = rest.split('/').next().unwrap_or("");
            let default_port = if tls || scheme == "https" { 2376 } else { 2375 };
            let (host, port) = split_port(authority);
            match (host, port.map(str::parse)) {
                ("", None) => bad("there is no host in it"),
                (_, Some(Err(_))) => bad("its port is not a number between 0 and 65535"),
                (host, port) => {
                    let host = if host.is_empty() { "127.0.0.1" } else { host };
                    Ok(Address::Tcp { host: host.to_owned(), port: port.and_then(Result::ok).unwrap_or(default_port) })
                }
            }
        }
        "ssh" => {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let (user, authority) = authority.rsplit_once('@').map_or((None, authority), |(u, a)| (Some(u), a));
            if user.is_some_and(|u| u.contains(':')) {
                return bad("a password in it can't be used; use keys");
            }
            let (host, port) = split_port(authority);
            // A name that begins with a dash would be an option of ssh.
            if host.is_empty() || host.starts_with('-') || user.is_some_and(|u| u.is_empty() || u.starts_with('-')) {
                return bad("there is no host in it");
            }
            let port = match port.map(str::parse) {
                Some(Err(_)) => return bad("its port is not a number between 0 and 65535"),
                Some(Ok(port)) => Some(port),
                None => None,
            };
            let socket = Some(path).filter(|p| p.len() > 1).map(str::to_owned);
            Ok(Address::Ssh { user: user.map(str::to_owned), host: host.to_owned(), port, socket })
        }
        "npipe" => Err(EngineError::new(ErrorKind::Unsupported, format!("`{text}` is a named pipe of Windows, which this system has none of"))),
        _ if text.starts_with('/') => bad("a socket is written as in `unix:///var/run/docker.sock`"),
        _ => bad("it begins with none of unix://, tcp://, ssh://"),
    }
}

/// `host:port`, `[v6]:port` or without port.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match authority.split_once(':') {
        Some((_, rest)) if rest.contains(':') => (authority, None),
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    }
}

/// What an engine's address depends on.
pub struct Surroundings<'a> {
    /// Environment.
    pub environment: &'a BTreeMap<String, String>,
    /// The client's configuration.
    pub config: &'a ClientConfig,
    /// `--host`.
    pub host: Option<&'a str>,
    /// `--context`.
    pub context: Option<&'a str>,
}

impl Surroundings<'_> {
    fn var(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// TLS as `DOCKER_TLS_VERIFY`, `DOCKER_TLS` and `DOCKER_CERT_PATH` have it.
    fn tls(&self) -> Option<TlsFiles> {
        let verify = self.var("DOCKER_TLS_VERIFY").is_some();
        let folder = self.var("DOCKER_CERT_PATH").map_or_else(|| self.config.folder().to_owned(), PathBuf::from);
        (verify || self.var("DOCKER_TLS").is_some()).then(|| TlsFiles::in_folder(&folder, !verify))
    }

    /// An address that was given, with the environment's TLS.
    fn given(&self, text: &str, origin: &str) -> Result<Endpoint, EngineError> {
        let tls = self.tls().or_else(|| text.starts_with("https://").then(TlsFiles::default));
        let address = parse_address(text, tls.is_some()).map_err(|e| EngineError { what: format!("{}, said by {origin}", e.what), ..e })?;
        let tls = tls.filter(|_| matches!(address, Address::Tcp { .. }));
        Ok(Endpoint { address, tls, origin: origin.to_owned() })
    }

    /// The Docker that was asked for by `--host`, `--context`, `DOCKER_HOST`, `DOCKER_CONTEXT` or the client's
    /// configuration, in this order; `None` when nobody asks for a particular one.
    ///
    /// # Errors
    /// An address that can't be read; a context that doesn't exist.
    pub fn docker_asked_for(&self) -> Result<Option<Endpoint>, EngineError> {
        if let Some(host) = self.host {
            return self.given(host, "--host").map(Some);
        }
        let context = match (self.context, self.var("DOCKER_HOST"), self.var("DOCKER_CONTEXT")) {
            (Some(name), ..) => Some((name, "--context")),
            (None, Some(host), _) => return self.given(host, "DOCKER_HOST").map(Some),
            (None, None, Some(name)) => Some((name, "DOCKER_CONTEXT")),
            (None, None, None) => self.config.current_context().map(|name| (name, "the current context")),
        };
        match context {
            None | Some(("default" | "", _)) => Ok(None),
            Some((name, origin)) => self.context(name, origin).map(Some),
        }
    }

    /// The engine of a context.
    fn context(&self, name: &str, origin: &str) -> Result<Endpoint, EngineError> {
        let stored = self.config.context(name, origin)?;
        let files = TlsFiles::in_folder(&stored.tls_folder, stored.skip_verify);
        let tls = (stored.skip_verify || files.ca.is_some() || files.cert.is_some() || stored.host.starts_with("https://")).then_some(files);
        let address = parse_address(&stored.host, tls.is_some())?;
        let tls = tls.filter(|_| matches!(address, Address::Tcp { .. }));
        Ok(Endpoint { address, tls, origin: format!("context {name}") })
    }

    /// The engines of all contexts that are stored; those without a usable address are left out.
    pub fn of_contexts(&self) -> Vec<Endpoint> {
        self.config.contexts().iter().filter_map(|name| self.context(name, "the list of contexts").ok()).collect()
    }

    /// Where Docker is when nobody says: the system's socket, then that of a rootless one.
    pub fn docker_by_default(&self) -> Vec<Endpoint> {
        let rootless =
            self.var("XDG_RUNTIME_DIR").map(|d| Endpoint::unix(Path::new(d).join("docker.sock"), "rootless Docker")).filter(|e| !e.is_absent());
        [Endpoint::unix("/var/run/docker.sock", "the default")].into_iter().chain(rootless).collect()
    }

    /// The Podman that was asked for by `--host` or `CONTAINER_HOST`.
    ///
    /// # Errors
    /// An address that can't be read.
    pub fn podman_asked_for(&self) -> Result<Option<Endpoint>, EngineError> {
        match (self.host, self.var("CONTAINER_HOST")) {
            (Some(host), _) => self.given(host, "--host").map(Some),
            (None, Some(host)) => self.given(host, "CONTAINER_HOST").map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Where Podman is when nobody says: the user's socket, then the system's.
    pub fn podman_by_default(&self) -> Vec<Endpoint> {
        let rootless = self.var("XDG_RUNTIME_DIR").map(|d| Endpoint::unix(Path::new(d).join("podman/podman.sock"), "rootless Podman"));
        rootless.into_iter().chain([Endpoint::unix("/run/podman/podman.sock", "the default of Podman")]).collect()
    }
}

impl Endpoint {
    /// Whether it can't be there: a socket of this host that doesn't exist.
    pub fn is_absent(&self) -> bool {
        matches!(&self.address, Address::Unix(path) if !path.exists())
    }

    /// Whether both are the same place, symbolic links followed.
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (&self.address, &other.address) {
            (Address::Unix(a), Address::Unix(b)) => {
                a == b || matches!((std::fs::canonicalize(a), std::fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
            }
            (a, b) => a == b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_docker_reads_them() {
        for (text, tls, want) in [
            ("unix:///var/run/docker.sock", false, "unix:///var/run/docker.sock"),
            ("tcp://10.0.0.1:2375", false, "tcp://10.0.0.1:2375"),
            ("tcp://10.0.0.1", true, "tcp://10.0.0.1:2376"),
            ("tcp://[::1]:99", false, "tcp://[::1]:99"),
            ("tcp://::1", false, "tcp://[::1]:2375"),
            ("tcp://:1234/path", false, "tcp://127.0.0.1:1234"),
            ("box:2375", false, "tcp://box:2375"),
            ("https://box", false, "tcp://box:2376"),
            ("ssh://me@box:2222/run/docker.sock", false, "ssh://me@box:2222/run/docker.sock"),
            ("ssh://box", false, "ssh://box"),
        ] {
            assert_eq!(parse_address(text, tls).unwrap().to_string(), want, "{text}");
        }
        for bad in [
            "unix://docker.sock",
            "tcp://",
            "tcp://a:b",
            "tcp://a:70000",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://me:pw@box",
            "fd://",
            "npipe:////./pipe/x",
            "",
        ] {
            assert!(parse_address(bad, false).is_err(), "{bad}");
        }
    }
}
