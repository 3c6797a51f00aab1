//! The files that tell a container of names: `/etc/resolv.conf`, `/etc/hosts`.

use crate::world::{Attachment, ContainerSpec, NetworkMode};
use std::fmt::Write as _;
use std::net::IpAddr;

/// Where the name server of a container listens, in its own network namespace.
pub const NAME_SERVER: &str = "127.0.0.11";

/// What a host's `/etc/resolv.conf` says (resolv.conf(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Name servers, in order.
    pub servers: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads it. What can't be understood is passed over, as resolvers do.
    pub fn read(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines().filter(|l| !l.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                // A zone (`fe80::1%eth0`) means a link, which this doesn't follow.
                Some("nameserver") => read.servers.extend(words.next().and_then(|w| w.parse::<IpAddr>().ok())),
                Some("search" | "domain") => read.search = words.map(str::to_owned).collect(),
                Some("options") => read.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        read
    }
}

/// `/etc/resolv.conf` of a container. With a network of its own, its name server is ours, which knows the others and
/// `spec.dns`, and forwards the rest; else it has what the host has (`host`: the content of the host's file), or what the
/// spec says in its place.
pub fn resolv_conf(spec: &ContainerSpec, host: &str) -> String {
    let own = match &spec.network_mode {
        NetworkMode::Networks => true,
        // The network that is there for everybody has servers that are given as they are, as Docker's.
        NetworkMode::Other(network) => spec.dns.is_empty() || !matches!(network.as_str(), "bridge" | "default"),
        _ => false,
    };
    let host_resolver = Resolver::read(host);
    if !own && spec.dns.is_empty() && spec.dns_search.is_empty() && spec.dns_options.is_empty() {
        return host.to_owned();
    }
    let servers = match () {
        () if own => vec![NAME_SERVER.to_owned()],
        () if spec.dns.is_empty() => host_resolver.servers.iter().map(ToString::to_string).collect(),
        () => spec.dns.clone(),
    };
    let mut search = if spec.dns_search.is_empty() { host_resolver.search } else { spec.dns_search.clone() };
    // A single dot means: none.
    search.retain(|domain| domain != ".");
    let mut options = if spec.dns_options.is_empty() { host_resolver.options } else { spec.dns_options.clone() };
    if own && !options.iter().any(|o| o.starts_with("ndots:")) {
        options.push("ndots:0".to_owned());
    }
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

/// `/etc/hosts` of a container: loopback, `extra_hosts`, itself on each of its networks. `host_gateway` is the address that
/// `host-gateway` stands for; `own` the name that the container has for itself.
pub fn hosts(spec: &ContainerSpec, own: &str, attachments: &[Attachment], host_gateway: Option<IpAddr>) -> String {
    let mut text = "127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::\tip6-localnet\n\
        ff00::\tip6-mcastprefix\n\
        ff02::1\tip6-allnodes\n\
        ff02::2\tip6-allrouters\n"
        .to_owned();
    for host in &spec.extra_hosts {
        // An IPv6 address has colons of its own; a name has none.
        let Some((name, address)) = host.split_once([':', '=']) else { continue };
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let address = match (address, host_gateway) {
            ("host-gateway", Some(gateway)) => gateway.to_string(),
            ("host-gateway", None) => continue,
            (address, _) => address.to_owned(),
        };
        let _ = writeln!(text, "{address}\t{name}");
    }
    let names = if spec.domainname.is_empty() { own.to_owned() } else { format!("{own}.{} {own}", spec.domainname) };
    for attachment in attachments {
        for address in [&attachment.ipv4, &attachment.ipv6].into_iter().filter(|a| !a.is_empty()) {
            let _ = writeln!(text, "{address}\t{names}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{ConfigHash, InstanceKey};

    fn spec() -> ContainerSpec {
        ContainerSpec::new("p-a-1", InstanceKey { service: "a".to_owned(), number: 1 }, "image", ConfigHash::Known(String::new()))
    }

    const HOST: &str =
        "# by hand\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\nnameserver fd00::53\nsearch corp.example lan\noptions edns0 timeout:2\n";

    #[test]
    fn the_network_of_everybody_has_servers_as_they_are_given() {
        let given = |network: &str| ContainerSpec {
            network_mode: NetworkMode::Other(network.into()),
            dns: vec!["192.0.2.53".into()],
            dns_options: vec!["ndots:3".into()],
            ..spec()
        };
        assert_eq!(resolv_conf(&given("bridge"), "nameserver 10.0.0.1\n"), "nameserver 192.0.2.53\noptions ndots:3\n");
        assert_eq!(resolv_conf(&given("other"), ""), "nameserver 127.0.0.11\noptions ndots:3\n");
        let none = ContainerSpec { dns: vec![], ..given("bridge") };
        assert_eq!(resolv_conf(&none, ""), "nameserver 127.0.0.11\noptions ndots:3\n");
    }

    #[test]
    fn ones_own_network_has_our_name_server() {
        assert_eq!(resolv_conf(&spec(), HOST), "nameserver 127.0.0.11\nsearch corp.example lan\noptions edns0 timeout:2 ndots:0\n");
        let mut with = spec();
        with.dns = vec!["9.9.9.9".to_owned()];
        with.dns_search = vec![".".to_owned()];
        with.dns_options = vec!["ndots:2".to_owned()];
        assert_eq!(resolv_conf(&with, HOST), "nameserver 127.0.0.11\noptions ndots:2\n");
        assert_eq!(resolv_conf(&spec(), ""), "nameserver 127.0.0.11\noptions ndots:0\n");
    }

    #[test]
    fn the_hosts_network_has_the_hosts_servers() {
        let mut host = spec();
        host.network_mode = NetworkMode::Host;
        assert_eq!(resolv_conf(&host, HOST), HOST);
        host.dns = vec!["9.9.9.9".to_owned()];
        assert_eq!(resolv_conf(&host, HOST), "nameserver 9.9.9.9\nsearch corp.example lan\noptions edns0 timeout:2\n");
        assert_eq!(Resolver::read(HOST).servers, ["10.0.0.53".parse::<IpAddr>().unwrap(), "fd00::53".parse().unwrap()]);
    }

    #[test]
    fn hosts_has_loopback_extra_hosts_and_oneself() {
        let mut spec = spec();
        let extra = ["db:10.1.2.3", "six:fd00::7", "seven:[fd00::8]", "gw:host-gateway"];
        spec.extra_hosts = extra.map(str::to_owned).to_vec();
        let attachment = |v4: &str, v6: &str| Attachment { ipv4: v4.to_owned(), ipv6: v6.to_owned(), ..Attachment::default() };
        let attachments = [attachment("172.18.0.2", "fd00::2"), attachment("172.18.4.2", "")];
        let text = hosts(&spec, "me", &attachments, Some("172.18.0.1".parse().unwrap()));
        let (loopback, rest) = text.split_at(text.find("10.1.2.3").unwrap());
        assert!(loopback.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"));
        assert_eq!(rest, "10.1.2.3\tdb\nfd00::7\tsix\nfd00::8\tseven\n172.18.0.1\tgw\n172.18.0.2\tme\nfd00::2\tme\n172.18.4.2\tme\n");
        spec.domainname = "lan".to_owned();
        assert!(hosts(&spec, "me", &attachments, None).ends_with("172.18.4.2\tme.lan me\n"));
    }
}
