//! Values as people read them.

pub use crate::units::ago;
use crate::world::PublishedPort;

/// Ports of a container on one line: `0.0.0.0:8080->80/tcp, 443/tcp`. Neighbours with the same numbers inside and
/// outside become ranges: `0.0.0.0:8000-8002->8000-8002/tcp`.
pub fn ports(ports: &[PublishedPort]) -> String {
    let mut sorted: Vec<&PublishedPort> = ports.iter().collect();
    sorted.sort_by(|a, b| (a.target, &a.host_ip, a.host_port, &a.protocol).cmp(&(b.target, &b.host_ip, b.host_port, &b.protocol)));
    // Ranges by address and protocol in the order of their first port; ranges that have ended; mappings to other numbers.
    let mut open: Vec<(&str, &str, u16, u16)> = Vec::new();
    let (mut closed, mut mapped) = (Vec::new(), Vec::new());
    for port in sorted {
        let (ip, protocol, target) = (port.host_ip.as_str(), port.protocol.as_str(), port.target);
        if !ip.is_empty() && port.host_port != target {
            mapped.push(format!("{}->{target}/{protocol}", host_port(ip, &port.host_port.to_string())));
            continue;
        }
        match open.iter_mut().find(|(i, p, ..)| (*i, *p) == (ip, protocol)) {
            Some((.., last)) if *last == target => {}
            Some((.., last)) if last.checked_add(1) == Some(target) => *last = target,
            Some((_, _, first, last)) => {
                closed.push(range(ip, protocol, *first, *last));
                (*first, *last) = (target, target);
            }
            None => open.push((ip, protocol, target, target)),
        }
    }
    closed.extend(open.into_iter().map(|(ip, protocol, first, last)| range(ip, protocol, first, last)));
    closed.extend(mapped);
    closed.join(", ")
}

fn range(ip: &str, protocol: &str, first: u16, last: u16) -> String {
    let numbers = if first == last { first.to_string() } else { format!("{first}-{last}") };
    if ip.is_empty() { format!("{numbers}/{protocol}") } else { format!("{}->{numbers}/{protocol}", host_port(ip, &numbers)) }
}

/// An address and a port: `0.0.0.0:80`, `[::]:80`.
pub fn host_port(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// `text` cut to `width` characters, the last one `…` if something is missing.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A list of things as a sentence names them: `a`, `a and b`, `a, b and c`.
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => format!("{} and {}", most.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "), last.as_ref()),
    }
}

/// A number of things: `1 container`, `3 containers`.
pub fn counted(n: usize, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

/// Bytes, three digits, in steps of a thousand as Docker has them: `4.27MB`, `142MB`, `0B`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS.get(unit).unwrap_or(&"B"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    #[test]
    fn times_ago() {
        let at = |seconds: i64| ago(Timestamp::from_parts(seconds, 0), Timestamp(0));
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (2 * 3600 - 1800, "2 hours"),
            (3 * 86_400, "3 days"),
            (20 * 86_400, "2 weeks"),
            (70 * 86_400, "2 months"),
            (800 * 86_400, "2 years"),
            (-5, "Less than a second"),
        ] {
            assert_eq!(at(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn ports_on_one_line() {
        let port = |host_ip: &str, host_port, target, protocol: &str| PublishedPort {
            host_ip: host_ip.into(),
            host_port,
            target,
            protocol: protocol.into(),
        };
        assert_eq!(ports(&[port("", 0, 80, "tcp"), port("", 0, 53, "udp")]), "53/udp, 80/tcp");
        assert_eq!(ports(&[port("::", 32768, 8081, "tcp"), port("0.0.0.0", 32768, 8081, "tcp")]), "0.0.0.0:32768->8081/tcp, [::]:32768->8081/tcp");
        assert_eq!(
            ports(&[
                port("0.0.0.0", 8001, 8001, "tcp"),
                port("0.0.0.0", 8000, 8000, "tcp"),
                port("0.0.0.0", 9000, 9000, "tcp"),
                port("", 0, 81, "tcp")
            ]),
            "0.0.0.0:8000-8001->8000-8001/tcp, 81/tcp, 0.0.0.0:9000->9000/tcp"
        );
    }

    #[test]
    fn lists_and_numbers() {
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(counted(2, "container"), "2 containers");
        assert_eq!(ellipsis("sh -c 'echo hello; sleep'", 20), "sh -c 'echo hello; …");
    }

    #[test]
    fn sizes_have_three_digits() {
        let pairs = [(0, "0B"), (999, "999B"), (1000, "1kB"), (4_270_000, "4.27MB"), (142_300_000, "142MB"), (17_400_000_000, "17.4GB")];
        for (bytes, want) in pairs {
            assert_eq!(size(bytes), want);
        }
    }
}
