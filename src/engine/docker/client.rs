//! HTTP to an engine: a pool of connections, the version prefix, plain calls, streams and hijacked connections.
//!
//! It lies under bollard as its transport too. What bollard's own methods can't do right (they never send the API
//! version, take the first bytes of a terminal for a frame header, hide whether a start or stop changed anything,
//! and encode registry credentials in the wrong alphabet) goes through here directly.

use super::body::{self, Pieces};
use super::dial::Dialer;
use super::endpoint::{Address, Endpoint};
use super::error::Failure;
use crate::oci::Io;
use crate::world::{EngineError, ErrorKind};
use bollard::BollardRequest;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Header of registry credentials.
pub const REGISTRY_AUTH: HeaderName = HeaderName::from_static("x-registry-auth");

/// The oldest API we speak: Docker 20.10, Podman 3.
pub const OLDEST_API: Api = Api(1, 41);
/// The newest API we speak: Docker 28.5.
pub const NEWEST_API: Api = Api(1, 51);

/// How long an engine may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Api(pub u16, pub u16);

impl Api {
    /// Reads `1.51`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().trim_start_matches('v').split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What an engine said when it was greeted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Version of the API that both speak.
    pub api: Api,
    /// It is Podman.
    pub podman: bool,
    /// Version of the engine; empty when it doesn't say.
    pub version: String,
}

/// Calls to one engine. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    dialer: Dialer,
    /// `/v1.51`; empty while greeting.
    prefix: String,
    /// Sent with every request.
    headers: HeaderMap,
    idle: Mutex<Vec<SendRequest<Body>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}{})", self.0.dialer.endpoint().address, self.0.prefix)
    }
}

/// What an engine answered.
#[derive(Debug)]
pub struct Reply {
    /// Status below 400.
    pub status: StatusCode,
    /// All of the body.
    pub body: Bytes,
}

impl Client {
    /// Connects, asks the engine who it is and settles on a version of the API: `wanted`, or the newest that both
    /// speak. One round trip, whose connection is kept for the first call.
    ///
    /// # Errors
    /// An engine that can't be reached, is no Docker engine, or is too old.
    pub async fn connect(dialer: Dialer, extra: &[(String, String)], wanted: Option<Api>) -> Result<(Self, Hello), EngineError> {
        let mut headers = HeaderMap::new();
        for (name, value) in extra {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("consort/", env!("CARGO_PKG_VERSION"))));
        headers.insert(HOST, HeaderValue::from_static("docker"));
        let mut inner = Inner { dialer, prefix: String::new(), headers, idle: Mutex::default() };
        let place = inner.dialer.endpoint().address.to_string();
        let strange = |what: &str| EngineError::new(ErrorKind::Protocol, format!("what answers at {place} is no container engine")).because(what);
        let request = plain_request(Method::GET, "/_ping", None).map_err(|e| strange(&e.to_string()))?;
        let (response, sender) = tokio::time::timeout(HELLO_TIMEOUT, inner.exchange(request))
            .await
            .map_err(|_| {
                EngineError::new(ErrorKind::Unreachable, format!("the engine at {place} doesn't answer"))
                    .because("it takes the connection and then says nothing")
            })?
            .map_err(|f| f.explain("greet the engine"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| strange(&e.to_string()))?.to_bytes();
        let hello = read_hello(parts.status, &parts.headers, wanted).map_err(|known| {
            known.unwrap_or_else(|| {
                // An answer to the wrong question: plain HTTP where TLS is spoken.
                let tls = String::from_utf8_lossy(&body).contains("HTTPS server");
                strange(&if tls {
                    "it wants TLS: DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH".to_owned()
                } else {
                    format!("it answers a ping with {}", parts.status)
                })
            })
        })?;
        inner.keep(sender);
        inner.prefix = format!("/v{}", hello.api);
        Ok((Self(Arc::new(inner)), hello))
    }

    /// Where it is: `unix:///var/run/docker.sock`.
    pub fn address(&self) -> String {
        self.0.dialer.endpoint().address.to_string()
    }

    /// Where it is, and how that is known.
    pub fn endpoint(&self) -> &Endpoint {
        self.0.dialer.endpoint()
    }

    /// Whether it is on this machine: it has our clock and our files.
    pub fn is_local(&self) -> bool {
        matches!(self.endpoint().address, Address::Unix(_))
    }

    /// A bollard client on this transport. It sets no time limit: stops and pulls take as long as they take.
    ///
    /// # Errors
    /// None that is known.
    pub fn bollard(&self) -> Result<bollard::Docker, EngineError> {
        let client = self.clone();
        let transport = move |request: BollardRequest| {
            let client = client.clone();
            Box::pin(async move { client.carry(request).await })
        };
        let years = 100 * 365 * 24 * 3600;
        bollard::Docker::connect_with_custom_transport(transport, Some("http://docker"), years, bollard::API_DEFAULT_VERSION)
            .map_err(|e| Failure::from(e).explain("set up the engine's client"))
    }

    /// One request of bollard's. Used only for calls whose answer is short.
    async fn carry(&self, request: BollardRequest) -> Result<Response<Incoming>, bollard::errors::Error> {
        let (mut parts, body) = request.into_parts();
        let tail = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        parts.uri = format!("{}{tail}", self.0.prefix).parse::<Uri>()?;
        let request = Request::from_parts(parts, body.boxed_unsync());
        let (response, sender) = self.0.exchange(request).await.map_err(std::io::Error::other)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.0.keep(sender);
        }
        Ok(response)
    }

    /// One call with a whole answer. `tail` is path and query behind the version.
    pub async fn call(&self, method: Method, tail: &str, body: Option<Payload>) -> Result<Reply, Failure> {
        let request = plain_request(method, &format!("{}{tail}", self.0.prefix), body)?;
        let (response, sender) = self.0.exchange(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(Failure::lost)?.to_bytes();
        self.0.keep(sender);
        if status.as_u16() >= 400 { Err(Failure::refused(status, &body)) } else { Ok(Reply { status, body }) }
    }

    /// A call whose answer is JSON.
    pub async fn json<T: DeserializeOwned>(&self, method: Method, tail: &str, body: Option<Payload>) -> Result<T, Failure> {
        let reply = self.call(method, tail, body).await?;
        serde_json::from_slice(&reply.body).map_err(|e| Failure::garbled(tail, &e))
    }

    /// A call whose answer goes on and on. Dropping the stream closes the connection. When this returns, the engine
    /// has begun to answer.
    pub async fn stream(&self, method: Method, tail: &str, headers: HeaderMap) -> Result<(HeaderMap, Pieces), Failure> {
        let mut all = self.0.headers.clone();
        all.extend(headers);
        let target = format!("{}{tail}", self.0.prefix);
        let (head, pieces) = match body::exchange(self.0.dial().await?, &method, &target, &all).await {
            Err(Failure::Lost(why)) => return Err(self.0.died().await.unwrap_or(Failure::Lost(why))),
            other => other?,
        };
        if head.status.as_u16() >= 400 { Err(Failure::refused(head.status, &pieces.collect().await?)) } else { Ok((head.headers, pieces)) }
    }

    /// Sends what comes piece by piece. The answer is whole.
    pub async fn upload(&self, tail: &str, pieces: impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Result<Bytes, Failure> {
        use futures::TryStreamExt as _;
        let body = StreamBody::new(pieces.map_ok(Frame::data).map_err(BoxError::from)).boxed_unsync();
        let request = Request::builder().method(Method::POST).uri(format!("{}{tail}", self.0.prefix)).header(CONTENT_TYPE, "application/x-tar");
        let request = request.body(body).map_err(|e| Failure::garbled("our own request", &e))?;
        let (response, sender) = self.0.exchange(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(Failure::lost)?.to_bytes();
        self.0.keep(sender);
        if status.as_u16() >= 400 { Err(Failure::refused(status, &body)) } else { Ok(body) }
    }

    /// A call that turns its connection into a raw one, both ways.
    pub async fn hijack(&self, tail: &str, body: Payload) -> Result<Box<dyn Io>, Failure> {
        let mut request = plain_request(Method::POST, &format!("{}{tail}", self.0.prefix), Some(body))?;
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
        let (response, sender) = self.0.exchange(request).await?;
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Box::new(TokioIo::new(hyper::upgrade::on(response).await.map_err(Failure::lost)?)));
        }
        let body = response.into_body().collect().await.map_err(Failure::lost)?.to_bytes();
        self.0.keep(sender);
        if status.as_u16() >= 400 {
            Err(Failure::refused(status, &body))
        } else {
            Err(Failure::garbled(tail, &format_args!("{status} instead of a raw connection")))
        }
    }
}

impl Inner {
    /// Sends a request on an idle connection or a new one. The sender is to be kept once the body was read.
    async fn exchange(&self, mut request: Request<Body>) -> Result<(Response<Incoming>, SendRequest<Body>), Failure> {
        for (name, value) in &self.headers {
            if !request.headers().contains_key(name) || name == USER_AGENT || name == HOST {
                request.headers_mut().insert(name, value.clone());
            }
        }
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let fresh = kept.is_none();
            let mut sender = match kept {
                Some(sender) => sender,
                None => self.open().await?,
            };
            if sender.ready().await.is_err() {
                // The engine has closed it meanwhile.
                if fresh {
                    return Err(Failure::Lost("the engine closed the connection at once".to_owned()));
                }
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut error) => match error.take_message() {
                    // Nothing of it was sent: the connection had died in the pool.
                    Some(unsent) if !fresh => request = unsent,
                    _ => return Err(self.lost(error.into_error()).await),
                },
            }
        }
    }

    async fn dial(&self) -> Result<Box<dyn Io>, Failure> {
        self.dialer.dial().await.map_err(|e| Failure::Unreachable(self.dialer.explain(&e)))
    }

    async fn open(&self) -> Result<SendRequest<Body>, Failure> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.dial().await?)).await.map_err(Failure::lost)?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    /// A connection broke off.
    async fn lost(&self, error: hyper::Error) -> Failure {
        self.died().await.unwrap_or_else(|| Failure::lost(error))
    }

    /// Where a child process carried a connection that broke off, that has the reason.
    async fn died(&self) -> Option<Failure> {
        let words = self.dialer.last_words().await?;
        Some(Failure::Unreachable(self.dialer.explain(&std::io::Error::other(format!("ssh says: {words}")))))
    }

    fn keep(&self, sender: SendRequest<Body>) {
        if !sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
    }
}

/// A request's body and what it is.
pub struct Payload {
    kind: &'static str,
    bytes: Bytes,
}

impl Payload {
    /// A value as JSON.
    ///
    /// # Errors
    /// A value that JSON can't express.
    pub fn json(value: &impl Serialize) -> Result<Self, Failure> {
        let bytes = serde_json::to_vec(value).map_err(|e| Failure::garbled("our own request", &e))?;
        Ok(Self { kind: "application/json", bytes: bytes.into() })
    }

    /// A tar archive.
    pub fn tar(bytes: Vec<u8>) -> Self {
        Self { kind: "application/x-tar", bytes: bytes.into() }
    }
}

fn plain_request(method: Method, uri: &str, payload: Option<Payload>) -> Result<Request<Body>, Failure> {
    let (kind, bytes) = payload.map_or((None, Bytes::new()), |p| (Some(p.kind), p.bytes));
    let mut builder = Request::builder().method(method).uri(uri);
    if let Some(kind) = kind {
        builder = builder.header(CONTENT_TYPE, kind);
    }
    builder.body(Full::new(bytes).map_err(|never| match never {}).boxed_unsync()).map_err(|e| Failure::garbled("our own request", &e))
}

/// Who answered a ping. `Err(None)`: nobody we know.
fn read_hello(status: StatusCode, headers: &HeaderMap, wanted: Option<Api>) -> Result<Hello, Option<EngineError>> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        return Err(Some(EngineError::new(ErrorKind::Denied, "the engine doesn't let us in").because(format!("it answers a ping with {status}"))));
    }
    let Some(theirs) = Api::parse(text("api-version")) else { return Err(None) };
    // `Docker/28.5.2 (linux)`, `Libpod/4.3.1 (linux)`
    let (product, rest) = text("server").split_once('/').unwrap_or(("", ""));
    let podman = product.eq_ignore_ascii_case("libpod") || headers.contains_key("libpod-api-version");
    let version = rest.split(' ').next().unwrap_or("").to_owned();
    if theirs < OLDEST_API {
        return Err(Some(
            EngineError::new(ErrorKind::Unsupported, format!("the engine is too old: it speaks version {theirs} of the API"))
                .because(format!("{OLDEST_API} is the oldest that consort knows (Docker 20.10, Podman 3.0)")),
        ));
    }
    Ok(Hello { api: wanted.unwrap_or_else(|| theirs.min(NEWEST_API)), podman, version })
}

/// A path with a query: `query("/containers/json", &[("all", "1")])`.
pub fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (i, (name, value)) in pairs.iter().enumerate() {
        out.push(if i == 0 { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.push_str(&escape(value));
    }
    out
}

/// An image reference as part of a path: slashes stay.
pub fn reference_path(reference: &str) -> String {
    reference.split('/').map(escape).collect::<Vec<_>>().join("/")
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).map_or('0', |c| c.to_ascii_uppercase()));
            }
        }
    }
    out
}
