//! Values that don't arrive as they are written.

use super::{Search, path_of};
use crate::load::scalar;
use crate::model::Service;
use crate::yaml::{Node, Value};

/// Mappings of a service whose values are text, whatever YAML makes of them.
const TEXTS: [&[&str]; 5] = [&["environment"], &["labels"], &["build", "args"], &["logging", "options"], &["build", "labels"]];

/// Schemes of addresses that only programs use, never browsers.
const SCHEMES: [&str; 11] = ["postgres", "postgresql", "mysql", "mariadb", "mongodb", "redis", "rediss", "amqp", "amqps", "nats", "memcached"];

pub(super) fn find(search: &mut Search<'_>, service: &Service) {
    for keys in TEXTS {
        let path = keys.iter().fold(path_of(service), |path, key| path.key(*key));
        for entry in search.node(&path).and_then(Node::as_map).into_iter().flatten() {
            rewritten(search, &entry.key, &entry.value);
        }
    }
    for entry in search.node(&path_of(service).key("environment")).and_then(Node::as_map).into_iter().flatten() {
        address(search, service, &entry.key, &entry.value);
    }
}

/// `VERSION: 1.10` is the number 1.1.
fn rewritten(search: &mut Search<'_>, key: &str, node: &Node) {
    if node.implied || !node.variables.is_empty() || !matches!(node.value, Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Float(_)) {
        return;
    }
    let Some(text) = scalar::text(node) else { return };
    let written = search.loaded.sources.text(node.span).trim().to_owned();
    if written.is_empty() || written == text || written.contains('$') || written.starts_with('!') {
        return;
    }
    let kind = node.value.kind();
    let message = format!("{key} is {text:?}: without quotes {written} is {kind}");
    search.warn("value-rewritten", Some(node.span), message, format!("put it in quotes: \"{written}\""));
}

/// `redis://localhost:6379` beside a service that listens there.
fn address(search: &mut Search<'_>, service: &Service, key: &str, node: &Node) {
    let Some(text) = node.as_str() else { return };
    if service.network_mode == "host" || service.network_mode.starts_with("service:") || service.network_mode.starts_with("container:") {
        return;
    }
    let Some((scheme, rest)) = text.split_once("://") else { return };
    let scheme = scheme.strip_prefix("jdbc:").unwrap_or(scheme);
    let scheme = scheme.split('+').next().unwrap_or(scheme);
    if !SCHEMES.contains(&scheme) {
        return;
    }
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let (host, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let default = match scheme {
        "postgres" | "postgresql" => 5432,
        "mysql" | "mariadb" => 3306,
        "mongodb" => 27017,
        "redis" | "rediss" => 6379,
        "amqp" | "amqps" => 5672,
        "nats" => 4222,
        _ => 11211,
    };
    let port: u32 = if port.is_empty() { default } else { port.parse().unwrap_or(0) };
    if !matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
        return;
    }
    let named = |s: &Service| s.image.rsplit('/').next().unwrap_or_default().split([':', '@']).next().unwrap_or_default().to_owned();
    let about = |s: &Service| {
        let image = named(s);
        let fits = |word: &str| image.contains(word);
        port == default && (fits(scheme.trim_end_matches("ql").trim_end_matches('s')) || scheme.starts_with("amqp") && fits("rabbitmq"))
    };
    let Some(other) = search.services().find(|s| s.name != service.name && (s.ports.iter().any(|p| p.target == port) || about(s))) else { return };
    let message = format!("{key} names {host}, which is the container of {:?} itself; nothing listens there", service.name);
    let help = format!("write the service's name: `{}:{port}`", other.name);
    search.warn("localhost-is-the-container", Some(node.span), message, help);
}
