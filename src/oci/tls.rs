//! TLS clients.

use super::{Io, TlsFiles};
use crate::world::{EngineError, ErrorKind};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where the certificates of this host are, by distribution.
const SYSTEM_ROOTS: [&str; 4] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

/// A TLS client, ready to connect.
#[derive(Clone)]
pub struct Tls(TlsConnector);

impl Tls {
    /// Reads the files of a client.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for files that can't be read or don't fit together.
    pub fn new(files: &TlsFiles) -> Result<Self, EngineError> {
        let provider = Arc::new(ring::default_provider());
        let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| EngineError::new(ErrorKind::Refused, "can't set up TLS").because(e.to_string()))?;
        let verified = if files.skip_verify {
            versions.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            versions.with_root_certificates(roots(files.ca.as_deref())?)
        };
        let config = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
                verified.with_client_auth_cert(chain, secret).map_err(|e| unreadable(cert, &e))?
            }
            (None, None) => verified.with_no_client_auth(),
            (Some(lonely), None) | (None, Some(lonely)) => {
                return Err(EngineError::new(ErrorKind::Refused, format!("`{}` is alone", lonely.display()))
                    .because("a client's certificate needs cert.pem and key.pem"));
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands over a connection to `host`.
    pub async fn wrap(&self, host: &str, stream: TcpStream) -> std::io::Result<Box<dyn Io>> {
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        Ok(Box::new(self.0.connect(name, stream).await?))
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> EngineError {
    EngineError::new(ErrorKind::Refused, format!("can't use `{}` for TLS", path.display())).because(why.to_string())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, EngineError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|e| unreadable(path, &e))?;
    if found.is_empty() { Err(unreadable(path, &"there is no certificate in it")) } else { Ok(found) }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, EngineError> {
    let path = ca.or_else(|| SYSTEM_ROOTS.iter().map(Path::new).find(|p| p.is_file())).ok_or_else(|| {
        EngineError::new(ErrorKind::Refused, "no certificates to check the server's against")
            .because("there is no ca.pem, and this host has none of its own")
    })?;
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates(path)?);
    if added == 0 { Err(unreadable(path, &"none of its certificates can be used")) } else { Ok(store) }
}

/// Takes any certificate: what `SkipTLSVerify` of a context and `DOCKER_TLS` without `DOCKER_TLS_VERIFY` ask for.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
