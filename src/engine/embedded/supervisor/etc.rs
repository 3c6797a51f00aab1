//! The three files in `/etc` that are the engine's: `hosts`, `hostname`, `resolv.conf`.

use crate::world::{ContainerSpec, NetworkMode};
use std::fmt::Write;
use std::net::IpAddr;

/// The name server of a container on networks.
const OWN_SERVER: &str = "127.0.0.11";

/// What the files depend on besides the spec.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Name of the container's own.
    pub hostname: String,
    /// Its addresses, that of the primary network first.
    pub addresses: Vec<String>,
    /// Stands for `host-gateway`.
    pub gateway: Option<IpAddr>,
    /// `/etc/resolv.conf` of the host.
    pub resolv: String,
    /// `/etc/hosts` of the host.
    pub hosts: String,
}

/// `hosts`: the loopback, the names that were asked for, its own.
pub fn hosts(spec: &ContainerSpec, around: &Around) -> String {
    let mut text = if spec.network_mode == NetworkMode::Host && !around.hosts.is_empty() {
        around.hosts.clone()
    } else {
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
            .to_owned()
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, address) in spec.extra_hosts.iter().filter_map(|h| h.split_once([':', '='])) {
        let address = match (address, around.gateway) {
            ("host-gateway", Some(gateway)) => gateway.to_string(),
            (address, _) => address.trim_start_matches('[').trim_end_matches(']').to_owned(),
        };
        // Writing to a text can't fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    for address in &around.addresses {
        let name = &around.hostname;
        let _ = if spec.domainname.is_empty() {
            writeln!(text, "{address}\t{name}")
        } else {
            writeln!(text, "{address}\t{name}.{} {name}", spec.domainname)
        };
    }
    text
}

/// `resolv.conf`: the name server of the networks, or the host's where there are none.
pub fn resolv(spec: &ContainerSpec, around: &Around) -> String {
    let word = |word: &str| -> Vec<String> {
        let lines = around.resolv.lines().filter_map(|l| l.trim().strip_prefix(word)).filter(|l| l.starts_with([' ', '\t']));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    let on_networks = matches!(spec.network_mode, NetworkMode::Networks | NetworkMode::Other(_)) && !spec.networks.is_empty();
    let servers = if on_networks {
        vec![OWN_SERVER.to_owned()]
    } else if spec.dns.is_empty() {
        word("nameserver")
    } else {
        spec.dns.clone()
    };
    let search = if spec.dns_search.is_empty() { word("search") } else { spec.dns_search.iter().filter(|s| *s != ".").cloned().collect() };
    let options = if !spec.dns_options.is_empty() {
        spec.dns_options.clone()
    } else if on_networks {
        // Names without a dot are those of services: ask for them as they are first.
        word("options").into_iter().filter(|o| !o.starts_with("ndots:")).chain(["ndots:0".to_owned()]).collect()
    } else {
        word("options")
    };
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for (word, values) in [("search", search), ("options", options)] {
        if !values.is_empty() {
            let _ = writeln!(text, "{word} {}", values.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{ConfigHash, EndpointSpec, InstanceKey};

    fn spec() -> ContainerSpec {
        let key = InstanceKey { service: "web".into(), number: 1 };
        let networks = vec![EndpointSpec { network: "n".into(), ..EndpointSpec::default() }];
        ContainerSpec { networks, ..ContainerSpec::new("p-web-1", key, "busybox", ConfigHash::Known(String::new())) }
    }

    fn around() -> Around {
        Around {
            hostname: "cafe".into(),
            addresses: vec!["172.20.0.2".into()],
            gateway: Some([172, 20, 0, 1].into()),
            resolv: "# by hand\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch example.org\noptions ndots:5 edns0\n".into(),
            hosts: "127.0.0.1 localhost machine".into(),
        }
    }

    #[test]
    fn hosts_have_the_names_that_were_asked_for() {
        let spec = ContainerSpec {
            extra_hosts: vec!["db:10.1.1.1".into(), "six:[::5]".into(), "outside:host-gateway".into()],
            domainname: "test".into(),
            ..spec()
        };
        let text = hosts(&spec, &around());
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"), "{text}");
        assert!(text.ends_with("10.1.1.1\tdb\n::5\tsix\n172.20.0.1\toutside\n172.20.0.2\tcafe.test cafe\n"), "{text}");
        let host = ContainerSpec { network_mode: NetworkMode::Host, networks: vec![], ..spec };
        assert!(hosts(&host, &Around { addresses: vec![], ..around() }).starts_with("127.0.0.1 localhost machine\n10.1.1.1\tdb\n"));
    }

    #[test]
    fn names_are_asked_for_where_the_networks_are() {
        assert_eq!(resolv(&spec(), &around()), "nameserver 127.0.0.11\nsearch example.org\noptions edns0 ndots:0\n");
        let own = ContainerSpec { dns: vec!["9.9.9.9".into()], dns_search: vec![".".into()], dns_options: vec!["timeout:1".into()], ..spec() };
        assert_eq!(resolv(&own, &around()), "nameserver 127.0.0.11\noptions timeout:1\n");
        let none = ContainerSpec { network_mode: NetworkMode::None, networks: vec![], ..spec() };
        assert_eq!(resolv(&none, &around()), "nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch example.org\noptions ndots:5 edns0\n");
        assert_eq!(resolv(&ContainerSpec { dns: own.dns, ..none }, &around()), "nameserver 9.9.9.9\nsearch example.org\noptions ndots:5 edns0\n");
    }
}
