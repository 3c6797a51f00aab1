//! Who holds a port of this host.

use crate::diag::{Diagnostic, Severity};
use crate::engine::Engine;
use crate::ui::human::host_port;
use crate::world::ObserveQuery;
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

/// Says who holds the port that an engine's error `message` is about: a container, or a process of this host.
pub(crate) async fn find(engine: &Arc<dyn Engine>, message: &str) -> Option<Diagnostic> {
    let (ip, port) = port_in(message)?;
    let note = |message: String| Diagnostic::new(Severity::Note, "port-holder", message);
    let query = ObserveQuery { containers_only: true, strangers: true, ..ObserveQuery::default() };
    if let Ok(observed) = engine.observe(&query).await {
        let holder = observed.containers.iter().find(|c| c.is_alive() && c.ports.iter().any(|p| p.host_port == port));
        if let Some(container) = holder {
            let name = &container.name;
            return Some(match (container.project(), engine.info().name) {
                ("", program) => note(format!("port {port} is held by container {name}")).help(format!("`{program} stop {name}` frees it")),
                (project, _) => note(format!("port {port} is held by container {name} of project {project}"))
                    .help(format!("`consort -p {project} stop {}` frees it", container.service())),
            });
        }
    }
    if !is_here(&engine.info().endpoint) {
        return None;
    }
    let place = host_port(&ip, &port.to_string());
    let sockets = sockets(port);
    Some(match holders(&sockets).into_iter().next() {
        // Docker's stand-in for a container: one of this engine's would have been found.
        Some((pid, command)) if command.split(' ').next().is_some_and(|program| program.ends_with("docker-proxy")) => {
            note(format!("{place} is held by a container of another engine of this host, through process {pid}: {command}"))
                .help("`consort ls` lists the projects of all engines that can be found")
        }
        Some((pid, command)) => note(format!("{place} is held by process {pid}: {command}")).help("end it, or publish another port"),
        None if sockets.is_empty() => return None,
        None => note(format!("{place} is held by a process of another user"))
            .help(format!("`sudo ss -lptn 'sport = :{port}'` names it; end it, or publish another port")),
    })
}

/// Whether an engine at `endpoint` shares its ports with this host.
fn is_here(endpoint: &str) -> bool {
    endpoint.is_empty() || ["unix://", "tcp://127.", "tcp://localhost", "tcp://[::1]"].iter().any(|p| endpoint.starts_with(p))
}

/// The address and port that a message is about: the last `address:port` in it, or `port 8080`.
fn port_in(message: &str) -> Option<(String, u16)> {
    let words = message.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '"' | '\'' | '(' | ')'));
    let mut found = None;
    let mut after_port = false;
    for word in words {
        let word = word.trim_end_matches(['.', ':']).split("->").next().unwrap_or_default();
        let address = match word.strip_prefix('[').and_then(|w| w.split_once("]:")) {
            Some((host, rest)) => number(rest).map(|port| (host.to_owned(), port)),
            None => {
                let parts: Vec<&str> = word.split(':').collect();
                let pair = parts.windows(2).find_map(|w| Some((w.first()?.parse::<IpAddr>().ok()?, number(w.last()?)?)));
                pair.map(|(host, port)| (host.to_string(), port))
            }
        };
        let plain = number(word).filter(|_| after_port).map(|port| ("0.0.0.0".to_owned(), port));
        found = address.or(plain).filter(|(_, port)| *port != 0).or(found);
        after_port = word == "port";
    }
    found
}

/// The number at the beginning of `8080/tcp`, `8080:172.18.0.2`.
fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..digits)?.parse().ok()
}

/// Sockets of this host that listen at `port`, as `/proc/PID/fd` names them (proc_pid_net(5)).
fn sockets(port: u16) -> BTreeSet<String> {
    let mut inodes = BTreeSet::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        inodes.extend(text.lines().skip(1).filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
            // 0A is LISTEN, 07 is an unconnected datagram socket.
            (local == port && matches!(*fields.get(3)?, "0A" | "07")).then(|| fields.get(9).map(|i| format!("socket:[{i}]")))?
        }));
    }
    inodes
}

/// Processes of this host that have one of these sockets open, with their command lines (proc_pid_fd(5)).
fn holders(sockets: &BTreeSet<String>) -> Vec<(u32, String)> {
    if sockets.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<(u32, String)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            files.filter_map(|f| fs::read_link(f.path()).ok()).any(|target| target.to_str().is_some_and(|t| sockets.contains(t)))
        })
        .map(|pid| (pid, command(pid)))
        .collect();
    found.sort_unstable();
    found
}

/// The command line of a process, shortened.
fn command(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|b| *b == 0).filter(|w| !w.is_empty()).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    let text = if words.is_empty() { fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned() } else { words.join(" ") };
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    crate::ui::human::ellipsis(&plain, 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_what_engines_say() {
        for (message, port) in [
            ("Bind for 0.0.0.0:8080 failed: port is already allocated", 8080),
            ("failed to bind host port for 127.0.0.1:18080:172.18.0.2:80/tcp: address already in use", 18080),
            ("failed to bind host port 0.0.0.0:8080/tcp: address already in use", 8080),
            ("listen tcp4 0.0.0.0:5432: bind: address already in use", 5432),
            ("listen tcp [::]:53: bind: address already in use", 53),
            ("can't start container p-web-1: host port 127.0.0.1:18098 is already taken", 18098),
            ("can't start container p-web-1: host port 8080 is already taken", 8080),
            ("cannot expose port 8080/tcp: it is taken", 8080),
        ] {
            assert_eq!(port_in(message).map(|(_, p)| p), Some(port), "{message}");
        }
        assert_eq!(port_in("no such container: a:b"), None);
    }

    #[test]
    fn the_process_that_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = holders(&sockets(port));
        assert!(found.iter().any(|(pid, _)| *pid == std::process::id()), "{found:?}");
        drop(listener);
        assert!(!holders(&sockets(port)).iter().any(|(pid, _)| *pid == std::process::id()));
    }
}
