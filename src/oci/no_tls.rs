//! Stands for TLS in a build without it.

use super::{Io, TlsFiles};
use crate::world::{EngineError, ErrorKind};
use tokio::net::TcpStream;

/// No TLS client: there is no value of it.
#[derive(Clone)]
pub enum Tls {}

impl Tls {
    /// Says that TLS isn't built in.
    ///
    /// # Errors
    /// Always [`ErrorKind::Unsupported`].
    pub fn new(_: &TlsFiles) -> Result<Self, EngineError> {
        Err(EngineError::new(ErrorKind::Unsupported, "the server wants TLS, and this consort was built without feature `tls`"))
    }

    /// Never called.
    pub async fn wrap(&self, _: &str, _: TcpStream) -> std::io::Result<Box<dyn Io>> {
        match *self {}
    }
}
