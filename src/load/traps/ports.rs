//! Published ports.

use super::{Search, path_of};
use crate::diag::{KeyPath, Span};
use crate::model::{Port, Service};
use std::net::IpAddr;

/// Ports that hardly anybody means to show the world: data stores, queues, debuggers. Where others use the port too, the
/// name of the image or service must hold one of the words.
const PRIVATE: [(u32, &str, &[&str]); 20] = [
    (1433, "SQL Server", &[]),
    (1521, "Oracle", &["oracle"]),
    (2375, "the Docker engine", &[]),
    (2379, "etcd", &["etcd"]),
    (3306, "MySQL", &[]),
    (5432, "PostgreSQL", &[]),
    (5672, "RabbitMQ", &[]),
    (5984, "CouchDB", &["couch"]),
    (6379, "Redis", &[]),
    (7474, "Neo4j", &["neo4j"]),
    (7687, "Neo4j", &["neo4j"]),
    (8086, "InfluxDB", &["influx"]),
    (9042, "Cassandra", &["cassandra", "scylla"]),
    (9092, "Kafka", &["kafka", "redpanda"]),
    (9200, "Elasticsearch", &["elastic", "opensearch"]),
    (9229, "the Node.js debugger", &[]),
    (9300, "Elasticsearch", &["elastic", "opensearch"]),
    (11211, "memcached", &[]),
    (26257, "CockroachDB", &[]),
    (27017, "MongoDB", &[]),
];

/// What listens there that hardly anybody means to show the world.
fn private(service: &Service, port: &Port) -> Option<&'static str> {
    let named = |words: &[&str]| words.is_empty() || words.iter().any(|w| service.image.contains(w) || service.name.contains(w));
    PRIVATE.iter().find(|(p, _, words)| *p == port.target && named(words)).map(|(_, what, _)| *what)
}

/// Whether it listens on every address of the host.
fn open(port: &Port) -> bool {
    port.host_ip.is_empty() || port.host_ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

fn entry(service: &Service, index: usize) -> KeyPath {
    path_of(service).key("ports").index(index)
}

/// Ports of the host: first and last; none if the engine chooses.
fn published(port: &Port) -> Option<(u32, u32)> {
    let (first, last) = port.published.split_once('-').unwrap_or((&port.published, &port.published));
    Some((first.parse().ok()?, last.parse().ok()?)).filter(|(first, _)| *first > 0)
}

/// Whether both would listen on one address.
fn meet(a: &Port, b: &Port) -> bool {
    let any = |ip: &str| ip.is_empty();
    let address = |ip: &str| ip.parse::<IpAddr>().ok();
    let overlap = any(&a.host_ip)
        || any(&b.host_ip)
        || match (address(&a.host_ip), address(&b.host_ip)) {
            (Some(a), Some(b)) => a == b || a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()),
            _ => false,
        };
    let ranges = published(a).zip(published(b)).is_some_and(|(a, b)| a.0 <= b.1 && b.0 <= a.1);
    // A range for a single port is a choice that the engine makes.
    let fixed = |p: &Port| !p.published.contains('-');
    overlap && ranges && a.protocol == b.protocol && (fixed(a) && fixed(b))
}

fn shown(port: &Port) -> String {
    if port.protocol == "tcp" { port.published.clone() } else { format!("{}/{}", port.published, port.protocol) }
}

pub(super) fn find(search: &mut Search<'_>, service: &Service) {
    let at = |search: &Search<'_>, i: usize| search.at(&entry(service, i));
    let off = service.network_mode == "host" || service.network_mode == "none";
    if off && !service.ports.is_empty() {
        let mode = &service.network_mode;
        let place = search.at(&path_of(service).key("ports"));
        let message = format!("the ports of {:?} are not published: `network_mode: {mode}` leaves it no network of its own", service.name);
        let help = if mode == "host" { "take `ports` out: it listens on the host's own ports" } else { "take `ports` out, or `network_mode`" };
        search.warn("ports-without-network", place, message, help);
        return;
    }
    for (i, port) in service.ports.iter().enumerate() {
        let Some(place) = at(search, i) else { continue };
        for (j, earlier) in service.ports.iter().enumerate().take(i) {
            let Some(first) = at(search, j).filter(|first| *first != place) else { continue };
            let merged = first.source != place.source;
            if meet(port, earlier) {
                let message = format!("port {} of the host is published twice by {:?}", shown(port), service.name);
                let help = if merged {
                    "lists of several files add up: write `ports: !override` in the later one, or take one entry out"
                } else {
                    "take one of the entries out"
                };
                search.warn("port-published-twice", Some(place), message, help).related.push((first, "the other entry".to_owned()));
            } else if merged
                && port.target == earlier.target
                && port.protocol == earlier.protocol
                && published(port).zip(published(earlier)).is_some()
            {
                let message = format!(
                    "port {} of {:?} is published as {} and as {}: lists of several files add up",
                    port.target,
                    service.name,
                    shown(earlier),
                    shown(port)
                );
                let help = "to replace the first, write `ports: !override` in the later file; if both are meant, allow it";
                search.warn("ports-add-up", Some(place), message, help).related.push((first, "published here too".to_owned()));
            }
        }
        if published(port).is_some_and(|(first, last)| first == last) && service.replicas() > 1 {
            let message = format!("{:?} has {} containers, and only one can have port {} of the host", service.name, service.replicas(), shown(port));
            let help = format!(
                "give a range, such as \"{}-{}:{}\", or no port of the host, or put a proxy in front",
                port.published,
                published(port).map_or(0, |(first, _)| first.saturating_add(service.replicas() - 1)),
                port.target
            );
            search.warn("port-of-replicas", Some(place), message, help);
        }
        warn_open(search, service, port, place);
        sexagesimal(search, place);
    }
}

/// A port of a data store or the like that others can reach.
fn warn_open(search: &mut Search<'_>, service: &Service, port: &Port, place: Span) {
    let Some(what) = private(service, port).filter(|_| open(port) && published(port).is_some()) else { return };
    let message = format!("port {} of {:?} ({what}) is open on all addresses of the host, past its firewall", shown(port), service.name);
    let help = format!("write \"127.0.0.1:{}:{}\"; services of the project reach it without a published port", port.published, port.target);
    search.warn("port-open-to-all", Some(place), message, help);
}

/// `22:22`, which YAML 1.1 takes for 22 × 60 + 22.
fn sexagesimal(search: &mut Search<'_>, place: Span) {
    let text = search.loaded.sources.text(place);
    let sixty = |s: &str| s.len() <= 2 && s.parse::<u32>().is_ok_and(|n| n < 60) && (s.len() == 1 || !s.starts_with('0'));
    if text.split_once(':').is_some_and(|(host, container)| sixty(container) && host.len() <= 5 && host.bytes().all(|b| b.is_ascii_digit())) {
        let message = format!("{text} is a number of base 60 for tools that read YAML 1.1; Consort and Docker Compose read it as a port");
        search.note("port-sexagesimal", Some(place), message, format!("put it in quotes: \"{text}\""));
    }
}

/// What several services publish, and one note about all that is open.
pub(super) fn across(search: &mut Search<'_>) {
    let services: Vec<&Service> = search.services().filter(|s| !matches!(s.network_mode.as_str(), "host" | "none")).collect();
    let mut found: Vec<(Span, String, String)> = Vec::new();
    for (i, service) in services.iter().enumerate() {
        for (n, port) in service.ports.iter().enumerate() {
            let Some(place) = search.at(&entry(service, n)) else { continue };
            let told = private(service, port).is_some();
            let web = matches!(port.published.as_str(), "80" | "443");
            if open(port) && !told && !web && published(port).is_some() && !found.iter().any(|(at, ..)| *at == place) {
                found.push((place, shown(port), service.name.clone()));
            }
            let before = services.get(..i).unwrap_or_default().iter().filter(|other| together(service, other));
            let taken: Vec<(&str, Option<Span>)> = before
                .flat_map(|other| other.ports.iter().enumerate().map(move |(m, p)| (other, m, p)))
                .filter(|(_, _, earlier)| meet(port, earlier))
                .map(|(other, m, _)| (other.name.as_str(), search.at(&entry(other, m))))
                .collect();
            if taken.is_empty() {
                continue;
            }
            let names: Vec<String> = taken.iter().map(|(name, _)| format!("{name:?}")).collect();
            let message = format!("port {} of the host is published by {} and by {:?}", shown(port), names.join(", by "), service.name);
            let finding = search.warn("port-published-twice", Some(place), message, "give one of them another port of the host");
            let places = taken.into_iter().filter_map(|(_, at)| at.filter(|f| *f != place));
            finding.related.extend(places.map(|at| (at, "the other entry".to_owned())));
        }
    }
    let Some((first, ..)) = found.first().cloned() else { return };
    let all: Vec<String> = found.iter().take(10).map(|(_, port, service)| format!("{port} ({service})")).collect();
    let more = if found.len() > 10 { format!(" and {} more", found.len() - 10) } else { String::new() };
    let these = if all.len() == 1 { "this port is" } else { "these ports are" };
    let message = format!("{these} open on all addresses of the host, past its firewall: {}{more}", all.join(", "));
    let help = "write `127.0.0.1:` in front of what only this machine needs; services of the project need no published port";
    let finding = search.note("port-open-to-all", Some(first), message, help);
    finding.related.extend(found.into_iter().skip(1).take(9).map(|(at, ..)| (at, "here too".to_owned())));
}

/// Whether two services can be up at the same time: both always, or one profile enables both.
fn together(a: &Service, b: &Service) -> bool {
    a.profiles.is_empty() && b.profiles.is_empty() || a.profiles.iter().any(|p| b.profiles.contains(p))
}
