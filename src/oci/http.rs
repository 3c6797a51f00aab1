//! One HTTP request on a connection of its own (RFC 9112), over TLS or, to this very machine, without.

use super::{Tls, TlsFiles};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long an answer may take, from the request to its last byte.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What a server answered.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Asks for `uri`. The body may have `limit` bytes.
pub(super) async fn get(
    uri: &Uri,
    accept: &str,
    authorization: Option<&str>,
    limit: usize,
    environment: &BTreeMap<String, String>,
) -> io::Result<Answer> {
    let stream = connect(uri, environment).await?;
    let timeout = || io::Error::new(io::ErrorKind::TimedOut, "it didn't answer in time");
    tokio::time::timeout(ANSWER_TIMEOUT, exchange(stream, uri, accept, authorization, limit)).await.map_err(|_| timeout())?
}

async fn exchange(stream: Box<dyn Io>, uri: &Uri, accept: &str, authorization: Option<&str>, limit: usize) -> io::Result<Answer> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let host = uri.authority().map_or("", |a| a.as_str());
    let mut request = Request::get(path)
        .header(HOST, host)
        .header(ACCEPT, accept)
        .header(USER_AGENT, concat!("consort/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::from_str(authorization).map_err(io::Error::other)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let answer = async {
        let (parts, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, limit).collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection may be over before the body was taken out of it.
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(io::Error::other(error)),
        },
    }
}

/// Connects to the server of `uri`, through the proxy that the environment names for it.
async fn connect(uri: &Uri, environment: &BTreeMap<String, String>) -> io::Result<Box<dyn Io>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let secure = uri.scheme_str() != Some("http");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = match proxy(host, secure, environment) {
        Some(proxy) => through(&proxy, host, port).await?,
        None => tcp(host, port).await?,
    };
    if !secure {
        return Ok(Box::new(stream));
    }
    Tls::new(&TlsFiles { ca: environment.get("SSL_CERT_FILE").map(Into::into), ..TlsFiles::default() })
        .map_err(|e| io::Error::other(e.to_string()))?
        .wrap(host, stream)
        .await
}

/// Connects by TCP, without Nagle's delay.
///
/// # Errors
/// Those of the system, [`io::ErrorKind::TimedOut`] after 15 seconds.
pub async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream =
        tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The proxy for a host: `HTTPS_PROXY` or `HTTP_PROXY`, in small letters too, unless `NO_PROXY` names the host or a
/// domain that it is in.
fn proxy(host: &str, secure: bool, environment: &BTreeMap<String, String>) -> Option<Uri> {
    let either = |upper: &str, lower: &str| environment.get(upper).or_else(|| environment.get(lower)).filter(|v| !v.is_empty());
    let direct = either("NO_PROXY", "no_proxy").is_some_and(|list| {
        list.split(',')
            .map(|n| n.trim().trim_start_matches('.'))
            .any(|n| n == "*" || n == host || !n.is_empty() && host.strip_suffix(n).is_some_and(|rest| rest.ends_with('.')))
    });
    if direct || is_loopback(host) {
        return None;
    }
    let proxy = if secure { either("HTTPS_PROXY", "https_proxy") } else { either("HTTP_PROXY", "http_proxy") }?;
    let proxy = if proxy.contains("://") { proxy.clone() } else { format!("http://{proxy}") };
    proxy.parse().ok()
}

/// A tunnel (RFC 9110, section 9.3.6).
async fn through(proxy: &Uri, host: &str, port: u16) -> io::Result<TcpStream> {
    let explain = |what: String| io::Error::other(format!("the proxy {proxy} {what}"));
    let mut stream =
        tcp(proxy.host().unwrap_or_default(), proxy.port_u16().unwrap_or(80)).await.map_err(|e| explain(format!("isn't reached: {e}")))?;
    stream.write_all(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n").as_bytes()).await?;
    let mut answer = BytesMut::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > 16_384 {
            return Err(explain("answers at too great length".to_owned()));
        }
        // Byte by byte: what follows the empty line is the server's.
        answer.extend_from_slice(&[stream.read_u8().await.map_err(|e| explain(format!("breaks off: {e}")))?]);
    }
    let status = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    if status.split(' ').nth(1) == Some("200") { Ok(stream) } else { Err(explain(format!("refuses: {status}"))) }
}

/// Whether it is this machine, by its name alone.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_for_those_whom_nobody_exempts() {
        let environment = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let set: BTreeMap<String, String> = environment(&[("HTTPS_PROXY", "p:3128"), ("no_proxy", "exempt.example, .inner.example")]);
        let named = |host: &str| proxy(host, true, &set).map(|u| u.to_string());
        assert_eq!(named("ghcr.io").as_deref(), Some("http://p:3128/"));
        for host in ["exempt.example", "a.exempt.example", "x.inner.example", "localhost", "127.0.0.1"] {
            assert_eq!(named(host), None, "{host}");
        }
        assert_eq!(proxy("notexempt.example", true, &set).map(|u| u.to_string()).as_deref(), Some("http://p:3128/"));
        assert_eq!(proxy("ghcr.io", false, &set), None);
    }
}
