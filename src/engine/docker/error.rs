//! What went wrong in a call, and what it means to a user.

use crate::world::{EngineError, ErrorKind};
use hyper::StatusCode;
use serde::Deserialize;
use std::fmt;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The engine said no.
    Refused {
        /// HTTP status; 0 for an error inside a stream that began well.
        status: u16,
        /// What it said.
        message: String,
    },
    /// No connection; already explained.
    Unreachable(EngineError),
    /// The connection broke off.
    Lost(String),
    /// The answer can't be understood.
    Garbled(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { message, .. } => f.write_str(message),
            Self::Unreachable(error) => error.fmt(f),
            Self::Lost(why) | Self::Garbled(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}

#[derive(Deserialize)]
struct Message {
    message: String,
}

impl Failure {
    /// From an answer of 400 or above.
    pub fn refused(status: StatusCode, body: &[u8]) -> Self {
        let message = match serde_json::from_slice::<Message>(body) {
            Ok(body) => body.message,
            Err(_) => String::from_utf8_lossy(body).into_owned(),
        };
        let message = message.trim().to_owned();
        let message = if message.is_empty() { status.to_string() } else { message };
        Self::Refused { status: status.as_u16(), message }
    }

    /// From a broken connection.
    pub fn lost(error: hyper::Error) -> Self {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        // The number of an error of the system says no more than its words.
        let words = text.find(" (os error").map_or(text.len(), |at| at);
        text.truncate(words);
        Self::Lost(text)
    }

    /// From an answer that isn't what it should be; `of` is what was asked.
    pub fn garbled(of: &str, why: &dyn fmt::Display) -> Self {
        Self::Garbled(format!("{}: {why}", of.split('?').next().unwrap_or(of)))
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What it means. `doing` completes "can't …": `start container p-web-1`.
    pub fn explain(self, doing: &str) -> EngineError {
        match self {
            Self::Unreachable(error) => error,
            Self::Lost(why) => EngineError::new(ErrorKind::Unreachable, format!("the engine went away while it was to {doing}")).because(why),
            Self::Garbled(why) => {
                EngineError::new(ErrorKind::Protocol, format!("can't understand what the engine answers when told to {doing}")).because(why)
            }
            Self::Refused { status, message } => refused(doing, status, &message),
        }
    }
}

/// Errors of bollard's methods.
impl From<bollard::errors::Error> for Failure {
    fn from(error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        match error {
            Error::DockerResponseServerError { status_code, message } => Self::Refused { status: status_code, message },
            Error::DockerStreamError { error } => Self::Refused { status: 0, message: error },
            Error::HyperResponseError { err } => Self::lost(err),
            // Our own transport hands its failures through as I/O errors.
            Error::IOError { err } => match err.downcast::<Self>() {
                Ok(own) => own,
                Err(err) => Self::Lost(err.to_string()),
            },
            other => Self::Garbled(other.to_string()),
        }
    }
}

fn refused(doing: &str, status: u16, message: &str) -> EngineError {
    let message = message.trim();
    let low = message.to_ascii_lowercase();
    let has = |needle: &str| low.contains(needle);
    if has("port is already allocated") || has("address already in use") || has("ports are not available") {
        return match taken_port(message) {
            Some(port) => EngineError::new(ErrorKind::PortTaken, format!("can't {doing}: host port {port} is already taken")),
            None => EngineError::new(ErrorKind::PortTaken, format!("can't {doing}: a host port is already taken")).because(without_layers(message)),
        };
    }
    if has("no space left on device") {
        return EngineError::new(ErrorKind::NoSpace, format!("no space left on the engine's disk: can't {doing}")).because(message);
    }
    let kind = match status {
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        // Podman answers 500 where Docker answers 409 or 404; a network in use is 403 to Docker.
        _ if has("is already in use")
            || has("already exists")
            || has("has active endpoints")
            || has("is being used")
            || has("is in use")
            || has("container state improper") =>
        {
            ErrorKind::Conflict
        }
        _ if has("no such container")
            || has("no such image")
            || has("no such network")
            || has("no such volume")
            || has("image not known")
            || has("network not found") =>
        {
            ErrorKind::NotFound
        }
        401 | 403 => ErrorKind::Denied,
        501 => ErrorKind::Unsupported,
        408 | 504 => ErrorKind::TimedOut,
        _ => ErrorKind::Refused,
    };
    EngineError::new(kind, format!("can't {doing}")).because(without_layers(message))
}

/// Without the names of the layers of software that hand an error up: what the kernel said is what helps.
fn without_layers(message: &str) -> &str {
    const LAST: &str = "unable to start container process: ";
    const NETWORK: &str = "driver failed programming external connectivity on endpoint ";
    if let Some((_, rest)) = message.split_once(LAST) {
        return rest;
    }
    // The endpoint's name and, in parentheses, its id.
    message.split_once(NETWORK).and_then(|(_, rest)| rest.split_once("): ")).map_or(message, |(_, rest)| rest)
}

/// The port in an engine's complaint that it is taken, as `80` or `10.0.0.1:80`; all addresses go without saying.
fn taken_port(message: &str) -> Option<String> {
    const BEFORE: [&str; 8] =
        ["Bind for ", "host port for ", "host port ", "listen tcp4 ", "listen tcp6 ", "listen tcp ", "listen udp ", "exposing port TCP "];
    let rest = BEFORE.iter().find_map(|lead| message.split_once(lead).map(|(_, rest)| rest))?;
    // `0.0.0.0:80`, `0.0.0.0:80:172.17.0.2:80/tcp:`, `[::]:80`, `:80:`
    let word = rest.split([' ', '/', ',']).next()?;
    let (host, rest) = match word.strip_prefix('[').and_then(|w| w.split_once("]:")) {
        Some((host, rest)) => (host, rest),
        None => word.split_once(':')?,
    };
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    if port.is_empty() {
        return None;
    }
    Some(match host {
        "" | "0.0.0.0" | "::" => port,
        host if host.contains(':') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named() {
        for (message, want) in [
            ("driver failed programming external connectivity on endpoint x (0a): Bind for 0.0.0.0:80 failed: port is already allocated", "80"),
            (
                "failed to set up container networking: driver failed programming external connectivity on endpoint x: failed to bind host port 0.0.0.0:8080/tcp: address already in use",
                "8080",
            ),
            ("failed to bind host port for 127.0.0.1:8080:172.17.0.2:80/tcp: address already in use", "127.0.0.1:8080"),
            ("driver failed: Error starting userland proxy: listen tcp4 0.0.0.0:5432: bind: address already in use", "5432"),
            ("cannot listen on the TCP port: listen tcp4 :8080: bind: address already in use", "8080"),
            ("Bind for [fd00::1]:443 failed: port is already allocated", "[fd00::1]:443"),
        ] {
            let error = Failure::Refused { status: 500, message: message.to_owned() }.explain("start container a");
            assert_eq!((error.kind, error.what), (ErrorKind::PortTaken, format!("can't start container a: host port {want} is already taken")));
        }
    }

    #[test]
    fn statuses_become_kinds() {
        for (status, message, kind) in [
            (404, "No such container: x", ErrorKind::NotFound),
            (409, "Conflict. The container name \"/x\" is already in use", ErrorKind::Conflict),
            (500, "creating container storage: the container name \"x\" is already in use by abc", ErrorKind::Conflict),
            (500, "write /var/lib/x: no space left on device", ErrorKind::NoSpace),
            (500, "something else", ErrorKind::Refused),
        ] {
            let error = Failure::Refused { status, message: message.to_owned() }.explain("do it");
            assert_eq!(error.kind, kind, "{message}");
            assert_eq!(error.source.as_deref(), Some(message));
        }
    }
}
