//! Inside the network namespace of a container: interfaces, addresses, routes, and the way to its name server.

use super::Network;
use super::address::Cidr;
use super::lease::Lease;
use super::nft::{self, Batch, Hook, Step};
use super::{failure, link};
use crate::engine::embedded::record::NetworkRecord;
use crate::engine::embedded::sys::netlink::{Netlink, Requests};
use crate::world::{Attachment, EndpointSpec, EngineError, ErrorKind};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A container's place on a network, as it looks from inside.
#[derive(Clone, Debug)]
pub struct Stand {
    /// Id of the network.
    pub network_id: String,
    /// Its name.
    pub network: String,
    /// Its subnets.
    pub subnets: Vec<Cidr>,
    /// Nothing leads out of it.
    pub internal: bool,
    /// Gateways, one of a family.
    gateways: Vec<IpAddr>,
    /// Addresses and prefixes.
    addresses: Vec<(IpAddr, u8)>,
    /// Addresses besides (`link_local_ips`).
    pub extra: Vec<IpAddr>,
    /// Settings: path below /proc/sys, value.
    pub sysctls: Vec<(String, String)>,
    /// Whose gateway becomes the default one; highest wins.
    priority: i64,
    /// The host's end of the cable.
    pub outside: String,
    /// The container's end.
    pub inside: String,
    /// Alias, name of a container.
    pub links: Vec<(String, String)>,
}

impl Stand {
    /// As the lease says.
    pub fn new(network: &NetworkRecord, lease: &Lease, endpoint: &EndpointSpec) -> Self {
        let subnets = Network::subnets(network);
        let prefix = |a: IpAddr| subnets.iter().find(|s| s.contains(a)).map_or(if a.is_ipv4() { 32 } else { 128 }, |s| s.prefix());
        let link = |link: &String| {
            let (name, alias) = link.split_once(':').unwrap_or((link, link));
            (alias.to_ascii_lowercase(), name.to_owned())
        };
        Self {
            network_id: network.id.clone(),
            network: network.spec.name.clone(),
            internal: network.spec.internal,
            gateways: network.subnets.iter().map(|s| s.gateway).collect(),
            addresses: lease.addresses().map(|a| (a, prefix(a))).collect(),
            extra: Vec::new(),
            sysctls: Vec::new(),
            priority: endpoint.gateway_priority,
            outside: lease.outside.clone(),
            inside: lease.inside.clone(),
            links: endpoint.links.iter().map(link).collect(),
            subnets,
        }
    }

    /// As it is told.
    pub fn attachment(&self) -> Attachment {
        let address = |ipv4: bool| self.addresses.iter().find(|(a, _)| a.is_ipv4() == ipv4).map(|(a, _)| a.to_string()).unwrap_or_default();
        Attachment { network: self.network.clone(), network_id: self.network_id.clone(), ipv4: address(true), ipv6: address(false) }
    }

    /// The host's address on this network.
    pub fn host_address(&self) -> Option<IpAddr> {
        self.gateways.first().copied()
    }

    fn gateway(&self, ipv4: bool) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|g| g.is_ipv4() == ipv4 && !self.internal)
    }
}

/// The stand that a default route goes over: of those that lead out, the first one of the highest priority.
fn leading(stands: &[Stand], ipv4: bool) -> Option<(&Stand, IpAddr)> {
    let out = stands.iter().filter_map(|s| Some((s, s.gateway(ipv4)?)));
    out.fold(None, |best: Option<(&Stand, IpAddr)>, one| if best.is_some_and(|b| b.0.priority >= one.0.priority) { best } else { Some(one) })
}

/// Interface and gateway of the default routes: IPv4, IPv6.
pub fn gateways(stands: &[Stand]) -> [Option<(&str, IpAddr)>; 2] {
    [true, false].map(|ipv4| leading(stands, ipv4).map(|(stand, gateway)| (stand.inside.as_str(), gateway)))
}

/// The stand on which ports are published.
pub fn primary(stands: &[Stand]) -> Option<&Stand> {
    leading(stands, true).or_else(|| leading(stands, false)).map(|(stand, _)| stand)
}

/// Addresses to which published ports lead: those over which answers leave.
pub fn published_addresses(stands: &[Stand]) -> Vec<IpAddr> {
    let address = |ipv4: bool| leading(stands, ipv4)?.0.addresses.iter().map(|(a, _)| *a).find(|a| a.is_ipv4() == ipv4);
    [address(true), address(false)].into_iter().flatten().collect()
}

/// The network namespace of this thread, to come back to.
///
/// # Errors
/// /proc isn't there.
pub fn home() -> io::Result<OwnedFd> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::open("/proc/thread-self/ns/net", flags, rustix::fs::Mode::empty())?)
}

/// Does something in the network namespace of a process.
///
/// # Errors
/// The process has ended; what `job` says.
pub fn inside<T>(home: &OwnedFd, pidfd: BorrowedFd<'_>, job: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    rustix::thread::move_into_thread_name_spaces(pidfd, ThreadNameSpaceType::NETWORK)?;
    let done = job();
    let back = rustix::thread::move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network));
    back.expect("the way back to one's own network namespace is always open");
    done
}

/// A socket that doesn't block.
///
/// # Errors
/// As socket(2).
pub fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

/// What is found in the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is set up yet.
    Fresh,
    /// All but the last stand is set up.
    More,
    /// All is set up, but nobody serves names.
    Adopted,
}

/// Sets up what isn't yet, in the current network namespace. With the sockets of the name server (UDP, TCP), unless `kind`
/// says that there is one or there is no network to serve.
///
/// # Errors
/// An address that can't be had, no sockets.
pub fn furnish(stands: &[Stand], kind: Kind) -> io::Result<Option<(OwnedFd, Option<OwnedFd>)>> {
    let new = match kind {
        Kind::Fresh => stands,
        Kind::More => stands.split_last().map(|(last, _)| std::slice::from_ref(last)).unwrap_or_default(),
        Kind::Adopted => &[],
    };
    let netlink = Netlink::route()?;
    let mut requests = Requests::new();
    if kind == Kind::Fresh {
        link::add_up(&mut requests, link::index("lo")?);
    }
    for stand in new {
        let index = link::index(&stand.inside)?;
        // Without IPv6 on the network there is none on the interface; with it, nobody's advertisements count.
        if stand.gateways.iter().any(IpAddr::is_ipv6) {
            let _ = super::network::set(6, &stand.inside, "accept_ra", "0");
        } else {
            let _ = super::network::set(6, &stand.inside, "disable_ipv6", "1");
        }
        for (path, value) in &stand.sysctls {
            let path = path.replace("IFNAME", &stand.inside);
            std::fs::write(format!("/proc/sys/{path}"), value).map_err(|e| io::Error::new(e.kind(), format!("sysctl {path}: {e}")))?;
        }
        link::add_up(&mut requests, index);
        let extra = stand.extra.iter().map(|a| (*a, if a.is_ipv4() { 16 } else { 64 }));
        for (address, prefix) in stand.addresses.iter().copied().chain(extra) {
            link::add_address(&mut requests, index, address, prefix);
        }
    }
    if kind != Kind::Adopted {
        for (name, gateway) in gateways(stands).into_iter().flatten() {
            // Only a new stand changes the default route.
            if new.iter().any(|s| s.inside == name) {
                link::add_default(&mut requests, link::index(name)?, gateway);
            }
        }
    }
    netlink.send(requests).map_err(|refusal| refusal.error)?;
    if kind == Kind::More || stands.is_empty() { Ok(None) } else { name_server(kind == Kind::Adopted).map(Some) }
}

/// Gives the namespace the default routes that its stands mean.
///
/// # Errors
/// The kernel's.
pub fn reroute(stands: &[Stand]) -> io::Result<()> {
    let netlink = Netlink::route()?;
    let mut requests = Requests::new();
    for (name, gateway) in gateways(stands).into_iter().flatten() {
        link::add_default(&mut requests, link::index(name)?, gateway);
    }
    netlink.send(requests).map_err(|refusal| refusal.error)
}

/// Where a name server is expected: Docker's address, which images have written down.
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Sockets of the name server of the current network namespace. They listen at some port, and rules lead there what is for
/// port 53: a container may have a name server of its own on all addresses. Without nf_tables they listen at port 53.
fn name_server(replace: bool) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    let bind = |port: u16| -> io::Result<(OwnedFd, OwnedFd, u16)> {
        let udp = socket(AddressFamily::INET, SocketType::DGRAM)?;
        rustix::net::bind(&udp, &SocketAddr::from((NAME_SERVER, port)))?;
        let address = SocketAddr::try_from(rustix::net::getsockname(&udp)?)?;
        let tcp = socket(AddressFamily::INET, SocketType::STREAM)?;
        rustix::net::sockopt::set_socket_reuseaddr(&tcp, true)?;
        rustix::net::bind(&tcp, &address)?;
        rustix::net::listen(&tcp, 64)?;
        Ok((udp, tcp, address.port()))
    };
    // Somebody else may listen by TCP where UDP was free; hardly twice.
    let (udp, tcp, port) = bind(0).or_else(|_| bind(0))?;
    match lead(port, replace) {
        Ok(()) => Ok((udp, Some(tcp))),
        Err(_) => bind(53).map(|(udp, tcp, _)| (udp, Some(tcp))),
    }
}

/// Leads what is for the name server to its port and what comes from there back to port 53. Both ways begin in this
/// namespace, so the packets are simply rewritten, and no connection needs to be tracked; checksums of loopback packets
/// aren't looked at, and don't cover the ports before the card fills them in.
fn lead(port: u16, replace: bool) -> io::Result<()> {
    let netlink = Netlink::netfilter()?;
    let mut batch = Batch::new(nft::IPV4, "consort");
    batch.table();
    if replace {
        batch.remove_table().table();
    }
    batch.chain("names", "filter", Hook::Output, -300);
    let (server, own, port) = (NAME_SERVER.octets(), 53_u16.to_be_bytes(), port.to_be_bytes());
    // Addresses: source at byte 12, destination at 16. Ports: source at byte 0, destination at 2, with UDP and TCP alike.
    for (address, at, from, to) in [(16, 2, own, port), (12, 0, port, own)] {
        batch.rule(
            "names",
            &[
                Step::Payload(1, address, 4, 1),
                Step::Equal(&server),
                Step::Meta(nft::PROTOCOL, 1),
                Step::Other(&[1]),
                Step::Payload(2, at, 2, 1),
                Step::Equal(&from),
                Step::Load(&to),
                Step::Write(2, at, 2),
            ],
        );
    }
    batch.commit(&netlink).map_err(|refusal| refusal.error)
}

/// Settings that an endpoint asks for (`com.docker.network.endpoint.sysctls`): `net.ipv4.conf.IFNAME.log_martians=1,…`.
///
/// # Errors
/// Another option; a text that is no setting of an interface.
pub fn sysctls(endpoint: &EndpointSpec) -> Result<Vec<(String, String)>, EngineError> {
    let mut settings = Vec::new();
    for (key, value) in &endpoint.driver_options {
        if key != "com.docker.network.endpoint.sysctls" {
            let what = format!("the connection to network {} has an option that isn't known: {key}", endpoint.network);
            return Err(failure(ErrorKind::Unsupported, what));
        }
        for setting in value.split(',') {
            let parsed = setting.split_once('=').and_then(|(name, value)| {
                let parts: Vec<&str> = name.trim().split('.').collect();
                let good = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                let shape = matches!(parts.as_slice(), ["net", "ipv4" | "ipv6" | "mpls", _, "IFNAME", _]) && parts.iter().all(good);
                shape.then(|| (parts.join("/"), value.trim().to_owned()))
            });
            settings.push(parsed.ok_or_else(|| {
                let what = format!("`{setting}` is no setting of an interface: write it as net.ipv4.conf.IFNAME.log_martians=1");
                failure(ErrorKind::Refused, what)
            })?);
        }
    }
    Ok(settings)
}
