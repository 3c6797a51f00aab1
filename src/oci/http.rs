//! HTTP requests (RFC 9112), over TLS or, where that is known to be wanted, without.

use super::{Tls, TlsFiles};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderMap, HeaderValue, RANGE, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long an answer may take, from the request to its last byte.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How long a body may pause.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a server answered.
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// Asks servers. Connections are kept for the next request.
pub(super) struct Client<'e> {
    environment: &'e BTreeMap<String, String>,
    idle: Mutex<Vec<Link>>,
    /// Reading the certificates of the system takes longer than most requests.
    tls: Mutex<Option<Tls>>,
}

/// A connection, and where it leads.
struct Link {
    place: String,
    sender: SendRequest<Empty<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'w> {
    pub accept: &'w str,
    pub authorization: Option<&'w str>,
    /// Byte to begin with; a server may begin with the first nevertheless.
    pub from: u64,
}

/// An answer whose body comes as it is read.
pub(super) struct Response<'c> {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
    link: Option<Link>,
    client: &'c Client<'c>,
}

impl<'e> Client<'e> {
    pub fn new(environment: &'e BTreeMap<String, String>) -> Self {
        Self { environment, idle: Mutex::default(), tls: Mutex::default() }
    }

    /// The environment that it was made with.
    pub fn environment(&self) -> &'e BTreeMap<String, String> {
        self.environment
    }

    /// Asks for `uri`. The body may have `limit` bytes.
    pub async fn get(&self, uri: &Uri, accept: &str, authorization: Option<&str>, limit: usize) -> io::Result<Answer> {
        let answer = async { self.ask(uri, Wanted { accept, authorization, from: 0 }).await?.all(limit).await };
        tokio::time::timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| late())?
    }

    /// Asks for `uri`, and returns when the answer begins.
    pub async fn ask(&self, uri: &Uri, wanted: Wanted<'_>) -> io::Result<Response<'_>> {
        let place = format!("{}://{}", uri.scheme_str().unwrap_or("https"), uri.authority().map_or("", |a| a.as_str()));
        loop {
            let kept = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let found = idle.iter().position(|l| l.place == place);
                found.map(|i| idle.swap_remove(i))
            };
            let is_kept = kept.is_some();
            let mut link = match kept {
                Some(link) => link,
                None => self.link(uri, place.clone()).await?,
            };
            let sent = async {
                link.sender.ready().await.map_err(io::Error::other)?;
                link.sender.send_request(request(uri, wanted)?).await.map_err(io::Error::other)
            };
            match tokio::time::timeout(ANSWER_TIMEOUT, sent).await.map_err(|_| late())? {
                Ok(answer) => {
                    let (parts, body) = answer.into_parts();
                    return Ok(Response { status: parts.status, headers: parts.headers, body, link: Some(link), client: self });
                }
                // The server has hung up while nobody asked.
                Err(_) if is_kept => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn link(&self, uri: &Uri, place: String) -> io::Result<Link> {
        let stream = self.connect(uri).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Its errors are those of the requests.
        let task = tokio::spawn(async move { connection.await.unwrap_or(()) });
        Ok(Link { place, sender, task })
    }
}

impl Response<'_> {
    /// The next bytes of the body; none at its end.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(PAUSE_TIMEOUT, self.body.frame()).await.map_err(|_| late())?;
            match frame.transpose().map_err(io::Error::other)?.map(Frame::into_data) {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => return Ok(Some(bytes)),
                Some(Err(_trailers)) => {}
                None => {
                    if let Some(link) = self.link.take() {
                        self.client.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// The whole answer. The body may have `limit` bytes.
    pub async fn all(mut self, limit: usize) -> io::Result<Answer> {
        let mut body = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            if body.len() + bytes.len() > limit {
                return Err(io::Error::other(format!("it answers with more than {limit} bytes")));
            }
            body.extend_from_slice(&bytes);
        }
        Ok(Answer { status: self.status, body: body.freeze() })
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it didn't answer in time")
}

fn request(uri: &Uri, wanted: Wanted<'_>) -> io::Result<Request<Empty<Bytes>>> {
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let host = uri.authority().map_or("", |a| a.as_str());
    let mut request = Request::get(path)
        .header(HOST, host)
        .header(ACCEPT, wanted.accept)
        .header(USER_AGENT, concat!("consort/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    if wanted.from > 0 {
        request.headers_mut().insert(RANGE, HeaderValue::from_str(&format!("bytes={}-", wanted.from)).map_err(io::Error::other)?);
    }
    if let Some(authorization) = wanted.authorization {
        let mut value = HeaderValue::from_str(authorization).map_err(io::Error::other)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

impl Client<'_> {
    /// Connects to the server of `uri`, through the proxy that the environment names for it.
    async fn connect(&self, uri: &Uri) -> io::Result<Box<dyn Io>> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let secure = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = match proxy(host, secure, self.environment) {
            Some(proxy) => through(&proxy, host, port).await?,
            None => tcp(host, port).await?,
        };
        if !secure {
            return Ok(Box::new(stream));
        }
        self.tls()?.wrap(host, stream).await
    }

    fn tls(&self) -> io::Result<Tls> {
        let mut tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = tls.as_ref() {
            return Ok(ready.clone());
        }
        let files = TlsFiles { ca: self.environment.get("SSL_CERT_FILE").map(Into::into), ..TlsFiles::default() };
        let ready = Tls::new(&files).map_err(|e| io::Error::other(e.to_string()))?;
        *tls = Some(ready.clone());
        Ok(ready)
    }
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
