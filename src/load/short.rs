//! The short forms of ports, mounts and devices.

use std::net::IpAddr;
use std::ops::Range;

/// A published port in long form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ShortPort {
    pub host_ip: String,
    pub published: String,
    pub target: u16,
    pub protocol: String,
}

/// What is wrong with a short form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub message: String,
    pub help: String,
    /// The bytes at fault.
    pub part: Range<usize>,
}

fn fault(part: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault { message: message.into(), help: help.into(), part }
}

/// `[[ip:][host]:]container[/protocol]`, with ranges on either side. The ports of a range come in the order of their
/// text, as in the reference.
pub(super) fn ports(spec: &str) -> Result<Vec<ShortPort>, Fault> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (ip, host, container) = match parts[..] {
        [container] => (String::new(), "", container),
        [host, container] => (String::new(), host, container),
        [ref ip @ .., host, container] => (ip.join(":"), host, container),
        [] => (String::new(), "", ""),
    };
    let start = spec.len() - container.len();
    let (host_part, ip_part) = (start.saturating_sub(host.len() + 1)..start.saturating_sub(1), 0..ip.len());
    let (container, protocol) = match container.split_once('/') {
        Some((port, "")) => (port, "tcp".to_owned()),
        Some((port, protocol)) => (port, protocol.to_ascii_lowercase()),
        None => (container, "tcp".to_owned()),
    };
    let container_part = start..start + container.len();
    let whole = 0..spec.len();
    if spec.contains("://") {
        return Err(fault(whole, format!("{spec:?} is a URL"), "write the port alone, or `host:container`"));
    }
    if let Some((first, _)) = spec.split_once(" - ") {
        let help = format!("indent the dashes of all items alike: is the line below `- {first}` indented deeper?");
        return Err(fault(whole, format!("{spec:?} is two items in one"), help));
    }
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(fault(container_part.end + 1..spec.len(), format!("{protocol:?} is not a protocol"), "write `tcp`, `udp` or `sctp`"));
    }
    if matches!(container, "tcp" | "udp" | "sctp") {
        let ports = spec.strip_suffix(container).unwrap_or_default().trim_end_matches(':');
        return Err(fault(container_part, "the protocol stands behind a slash", format!("write `{ports}/{container}`")));
    }
    if container.is_empty() {
        return Err(fault(whole, "the port of the container is missing", "write `host:container`, or `container` alone"));
    }
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).map_or(ip.clone(), str::to_owned);
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        let help = match ip.as_str() {
            "localhost" => format!("write `127.0.0.1:{host}:{container}`; names are not looked up"),
            "*" => format!("write `{host}:{container}`: it listens on all addresses"),
            _ => "write `address:host:container`, an IPv6 address in brackets".to_owned(),
        };
        return Err(fault(ip_part, format!("{ip:?} is not an IP address"), help));
    }
    let (first, last) = range(container).filter(|(first, _)| *first > 0).ok_or_else(|| bad_port(container_part.clone(), "container", container))?;
    let (host_first, host_last) = if host.is_empty() { (0, 0) } else { range(host).ok_or_else(|| bad_port(host_part.clone(), "host", host))? };
    let one = first == last;
    if !host.is_empty() && last - first != host_last - host_first && !one {
        return Err(fault(
            host_part.start..container_part.end,
            format!("the ranges {host} and {container} are of different lengths"),
            "make them of one length, or name a single port of the container",
        ));
    }
    let mut found: Vec<ShortPort> = (first..=last)
        .map(|target| {
            let published = match () {
                () if host.is_empty() => String::new(),
                () if one && host_first != host_last => format!("{host_first}-{host_last}"),
                () => (host_first + (target - first)).to_string(),
            };
            ShortPort { host_ip: ip.clone(), published, target, protocol: protocol.clone() }
        })
        .collect();
    found.sort_by_key(|p| p.target.to_string());
    Ok(found)
}

fn bad_port(part: Range<usize>, whose: &str, text: &str) -> Fault {
    let number = |s: &str| s.trim().parse::<u64>().ok();
    let help = match text.split_once('-') {
        _ if text.trim() != text && number(text).is_some() => format!("write `{}`, without blanks", text.trim()),
        _ if super::mistakes::without_typographic_quotes(text).is_some() => {
            "take the typographic quotes away: to YAML they are part of the text".to_owned()
        }
        Some((first, last)) if number(first) > number(last) && number(last).is_some() => format!("write the lower port first: `{last}-{first}`"),
        _ if number(text).is_some() => "ports go from 1 to 65535".to_owned(),
        _ => "write a number from 1 to 65535, or a range like `8000-8010`".to_owned(),
    };
    fault(part, format!("{text:?} is not a port of the {whose}"), help)
}

fn range(text: &str) -> Option<(u16, u16)> {
    let port = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<u16>().ok()).flatten();
    match text.split_once('-') {
        None => port(text).map(|p| (p, p)),
        Some((first, last)) => port(first).zip(port(last)).filter(|(first, last)| first <= last),
    }
}

/// A mount in long form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ShortMount {
    pub bind: bool,
    pub source: String,
    pub target: String,
    pub read_only: bool,
    pub nocopy: bool,
    pub propagation: Option<String>,
    pub selinux: Option<String>,
    /// Too short to say more than a target.
    pub bare: bool,
    /// Options that mean nothing.
    pub unknown: Vec<String>,
}

/// `[source:]target[:options]`.
pub(super) fn mount(spec: &str) -> Result<ShortMount, Fault> {
    const FORM: &str = "write `source:target`, `source:target:ro`, or `target` alone";
    if spec.is_empty() {
        return Err(fault(0..0, "a mount can't be empty", FORM));
    }
    let mut mount = ShortMount::default();
    if spec.len() <= 2 {
        mount.target = spec.to_owned();
        mount.bare = true;
        return Ok(mount);
    }
    let sections = sections(spec);
    if sections.iter().any(String::is_empty) {
        let at = if spec.starts_with(':') { 0 } else { spec.find("::").map_or(spec.len() - 1, |i| i + 1) };
        return Err(fault(at..at + 1, format!("{spec:?} has nothing {} a colon", if at == 0 { "in front of" } else { "behind" }), FORM));
    }
    let options = match &sections[..] {
        [target] => {
            mount.target.clone_from(target);
            ""
        }
        [source, target] => {
            (mount.source, mount.target) = (source.clone(), target.clone());
            ""
        }
        [source, target, options] => {
            (mount.source, mount.target) = (source.clone(), target.clone());
            options.as_str()
        }
        [source, target, options, more @ ..] => {
            let start = source.len() + target.len() + options.len() + 2;
            let all: Vec<&str> = std::iter::once(options.as_str()).chain(more.iter().map(String::as_str)).collect();
            let help = format!("join options by commas: `{source}:{target}:{}`", all.join(","));
            return Err(fault(start..spec.len(), format!("{spec:?} has too many colons"), help));
        }
        [] => return Err(fault(0..0, "a mount can't be empty", FORM)),
    };
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" => mount.nocopy = true,
            "z" | "Z" => mount.selinux = Some(option.to_owned()),
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => mount.propagation = Some(option.to_owned()),
            // Hints for file sharing on a Mac, which mean nothing elsewhere.
            "cached" | "delegated" | "consistent" => {}
            other => mount.unknown.push(other.to_owned()),
        }
    }
    mount.bind = is_path(&mount.source);
    Ok(mount)
}

/// The parts between colons. The colon of a drive letter and those inside `${…}` don't count.
fn sections(spec: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    let mut depth = 0usize;
    for (i, c) in spec.char_indices() {
        let section = sections.last_mut().expect("there is always a section");
        match c {
            '$' if spec[i + 1..].starts_with('{') => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ':' if depth == 0 && !(drive_letter(section) && is_drive(&spec[i + 1..])) => {
                sections.push(String::new());
                continue;
            }
            _ => {}
        }
        section.push(c);
    }
    sections
}

fn drive_letter(text: &str) -> bool {
    text.len() == 1 && text.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Whether what follows `X:` makes it a Windows drive. A drive alone is no place in a container, so `v:/data` is the
/// volume `v`; and `v:/data:ro` too, for `ro` is no path.
fn is_drive(rest: &str) -> bool {
    let path = |s: &str| s.starts_with(['/', '\\']) || (s.len() > 1 && drive_letter(&s[..1]) && s[1..].starts_with(':'));
    rest.starts_with('\\') || rest.starts_with('/') && rest.split_once(':').is_some_and(|(_, after)| path(after))
}

/// Whether a source is a path of the host rather than the name of a volume.
fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~']) || source.starts_with(r"\\") || (source.get(..1).is_some_and(drive_letter) && source[1..].starts_with(':'))
}

/// `source[:target[:permissions]]`.
pub(super) fn device(spec: &str) -> Result<(String, String, String), Fault> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => {
            let message = format!("{spec:?} has too many colons");
            return Err(fault(0..spec.len(), message, "write `source: …`, `target: …`, `permissions: …` in the long form"));
        }
    };
    let target = if target.is_empty() { source } else { target };
    Ok((source.to_owned(), target.to_owned(), permissions.to_owned()))
}

/// A path of a container without `.`, `..` and doubled slashes, by its text alone.
pub(super) fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    match (absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(spec: &str) -> String {
        match ports(spec) {
            Ok(ports) => ports.iter().map(|p| format!("{}|{}|{}/{}", p.host_ip, p.published, p.target, p.protocol)).collect::<Vec<_>>().join(" "),
            Err(fault) => fault.message,
        }
    }

    #[test]
    fn ports_short() {
        for (spec, long) in [
            ("80", "||80/tcp"),
            ("8080:80", "|8080|80/tcp"),
            ("8080:80/UDP", "|8080|80/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1|8080|80/tcp"),
            ("127.0.0.1::80", "127.0.0.1||80/tcp"),
            ("[::1]:8080:80", "::1|8080|80/tcp"),
            ("8000-8002:80", "|8000-8002|80/tcp"),
            ("9-10:9-10", "|10|10/tcp |9|9/tcp"),
            ("80/foo", "\"foo\" is not a protocol"),
            ("x:80", "\"x\" is not a port of the host"),
            ("70000", "\"70000\" is not a port of the container"),
            ("1-2:1-3", "the ranges 1-2 and 1-3 are of different lengths"),
            ("8080:", "the port of the container is missing"),
            ("host:1:2", "\"host\" is not an IP address"),
        ] {
            assert_eq!(shown(spec), long, "{spec}");
        }
    }

    #[test]
    fn mounts_short() {
        let parts = |spec: &str| mount(spec).map(|m| (m.bind, m.source, m.target, m.read_only)).map_err(|f| f.message);
        let owned = |bind, source: &str, target: &str, ro| Ok((bind, source.to_owned(), target.to_owned(), ro));
        assert_eq!(parts("/data"), owned(false, "", "/data", false));
        assert_eq!(parts("data:/data:ro"), owned(false, "data", "/data", true));
        assert_eq!(parts("./a:/b"), owned(true, "./a", "/b", false));
        assert_eq!(parts("~/a:/b"), owned(true, "~/a", "/b", false));
        assert_eq!(parts("v:/data"), owned(false, "v", "/data", false));
        assert_eq!(parts("v:/data:ro"), owned(false, "v", "/data", true));
        assert_eq!(parts(r"C:\a:/b"), owned(true, r"C:\a", "/b", false));
        assert_eq!(parts("c:/a:/b:ro"), owned(true, "c:/a", "/b", true));
        assert_eq!(parts("${A:-x}:/b"), owned(false, "${A:-x}", "/b", false));
        assert_eq!(parts("a::/b"), Err("\"a::/b\" has nothing behind a colon".to_owned()));
        assert_eq!(parts("a:/b:ro:x"), Err("\"a:/b:ro:x\" has too many colons".to_owned()));
        assert_eq!(mount("a:/b:sneaky,z").unwrap().unknown, ["sneaky"]);
    }

    #[test]
    fn paths_are_cleaned_by_text() {
        for (path, cleaned) in [("/a/", "/a"), ("/a//b/./c/..", "/a/b"), ("a/../..", ".."), ("", "."), ("/..", "/"), ("./a", "a")] {
            assert_eq!(clean(path), cleaned);
        }
    }
}
