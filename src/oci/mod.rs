//! Registries, by the OCI distribution specification: names, credentials, connections, and what is stored there.

pub mod client_config;
pub mod credentials;
mod http;
mod registries;
mod repository;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;

pub use http::{Io, tcp};
pub use registries::Registries;
pub use repository::{Body, Fault, Repository};
pub use tls::Tls;

use std::path::{Path, PathBuf};

/// Files of a TLS client. Those that are `None` or absent are not used, except that a certificate needs its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates that sign the server's; absent: those of this host.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Take any certificate.
    pub skip_verify: bool,
}

impl TlsFiles {
    /// `ca.pem`, `cert.pem` and `key.pem` of a folder, those that exist.
    #[must_use]
    pub fn in_folder(folder: &Path, skip_verify: bool) -> Self {
        let file = |name: &str| Some(folder.join(name)).filter(|p| p.is_file());
        Self { ca: file("ca.pem"), cert: file("cert.pem"), key: file("key.pem"), skip_verify }
    }
}
