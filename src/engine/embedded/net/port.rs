//! Published ports: chosen, and held by a socket that also serves as the way in where rules don't reach.

use super::failure;
use super::rules::Forward;
use crate::engine::embedded::record;
use crate::world::{EngineError, ErrorKind, PortSpec, PublishedPort};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

/// A port of the host that is held.
#[derive(Debug)]
pub struct Held {
    /// Address and port of the host.
    pub host: SocketAddr,
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// Port of the container.
    pub target: u16,
    /// It listens; none for protocols that this kernel has no sockets for.
    pub socket: Option<OwnedFd>,
}

impl Held {
    /// As it is told.
    pub fn published(&self) -> PublishedPort {
        PublishedPort {
            host_ip: self.host.ip().to_string(),
            host_port: self.host.port(),
            target: self.target,
            protocol: name(self.protocol).to_owned(),
        }
    }

    /// The way to a container that has these addresses by rules, if there is one: within a family.
    pub fn forward(&self, to: &[IpAddr]) -> Option<Forward> {
        let to = to.iter().copied().find(|a| a.is_ipv4() == self.host.is_ipv4())?;
        // The rules pass over ::1: nothing leads from there to another host.
        (self.host.ip() != IpAddr::V6(Ipv6Addr::LOCALHOST)).then_some(Forward {
            host: self.host.ip(),
            port: self.host.port(),
            protocol: self.protocol,
            to,
            target: self.target,
        })
    }
}

/// Number of a protocol.
///
/// # Errors
/// One that can't be published.
pub fn protocol(name: &str) -> Result<u8, EngineError> {
    match name {
        "" | "tcp" => Ok(6),
        "udp" => Ok(17),
        "sctp" => Ok(132),
        other => Err(failure(ErrorKind::Unsupported, format!("ports of protocol {other} can't be published"))),
    }
}

fn name(protocol: u8) -> &'static str {
    match protocol {
        17 => "udp",
        132 => "sctp",
        _ => "tcp",
    }
}

/// Takes the ports that `spec` asks for, on all addresses that it means.
///
/// # Errors
/// [`ErrorKind::PortTaken`]; a text that is no port; an address that isn't the host's.
pub fn take(spec: &PortSpec, default_host: Option<IpAddr>) -> Result<Vec<Held>, EngineError> {
    let protocol = protocol(&spec.protocol)?;
    let hosts: Vec<IpAddr> = if spec.host_ip.is_empty() {
        default_host.map_or_else(|| vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()], |host| vec![host])
    } else {
        let text = spec.host_ip.trim_start_matches('[').trim_end_matches(']');
        vec![text.parse().map_err(|_| failure(ErrorKind::Refused, format!("`{}` is no address to publish a port on", spec.host_ip)))?]
    };
    let (low, high) = range(&spec.published)?;
    if low == 0 {
        // The kernel chooses for the first address; whether the others have it too, is seen.
        let mut last = None;
        for _ in 0..16 {
            match hold_all(&hosts, 0, protocol, spec.target) {
                Ok(held) => return Ok(held),
                Err(error) if error.kind == ErrorKind::PortTaken => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        return Err(last.unwrap_or_else(|| failure(ErrorKind::PortTaken, "no port is free")));
    }
    let mut first = None;
    for port in low..=high {
        match hold_all(&hosts, port, protocol, spec.target) {
            Ok(held) => return Ok(held),
            Err(error) if error.kind == ErrorKind::PortTaken => first = first.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    match first {
        Some(error) if low == high => Err(error),
        _ => Err(failure(ErrorKind::PortTaken, format!("all host ports {low}-{high} are taken"))),
    }
}

fn range(text: &str) -> Result<(u16, u16), EngineError> {
    let wrong = || failure(ErrorKind::Refused, format!("`{text}` is no port and no range of ports"));
    let port = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    match text.split_once('-') {
        _ if text.is_empty() => Ok((0, 0)),
        None => port(text).map(|p| (p, p)),
        Some((low, high)) => Some((port(low)?, port(high)?)).filter(|(l, h)| l <= h && *l > 0).ok_or_else(wrong),
    }
}

fn hold_all(hosts: &[IpAddr], port: u16, protocol: u8, target: u16) -> Result<Vec<Held>, EngineError> {
    let mut held: Vec<Held> = Vec::new();
    for host in hosts {
        let port = held.first().map_or(port, |h| h.host.port());
        match hold(SocketAddr::new(*host, port), protocol, target) {
            Ok(one) => held.push(one),
            // A machine without IPv6, of which nobody spoke.
            Err(Refused::NoFamily(_)) if hosts.len() > 1 && !held.is_empty() => {}
            Err(Refused::NoFamily(error) | Refused::Other(error)) => return Err(error),
        }
    }
    Ok(held)
}

/// Why a port can't be held.
enum Refused {
    /// The machine doesn't speak it.
    NoFamily(EngineError),
    Other(EngineError),
}

/// Takes again what another supervisor held.
///
/// # Errors
/// [`ErrorKind::PortTaken`].
pub fn again(port: &PublishedPort) -> Result<Held, EngineError> {
    let host: IpAddr = port.host_ip.parse().map_err(|_| failure(ErrorKind::Protocol, format!("`{}` is no address", port.host_ip)))?;
    hold(SocketAddr::new(host, port.host_port), protocol(&port.protocol)?, port.target).map_err(|r| match r {
        Refused::NoFamily(error) | Refused::Other(error) => error,
    })
}

fn hold(host: SocketAddr, protocol: u8, target: u16) -> Result<Held, Refused> {
    use rustix::io::Errno;
    let shown = |port: u16| format!("{}/{}", SocketAddr::new(host.ip(), port), name(protocol));
    let wrong = |errno: Errno| {
        let what = format!("host port {} can't be had", shown(host.port()));
        match errno {
            Errno::ADDRINUSE => {
                let what = format!("host port {} is taken by somebody else", shown(host.port()));
                Refused::Other(failure(ErrorKind::PortTaken, what))
            }
            Errno::ADDRNOTAVAIL if host.ip().is_unspecified() => Refused::NoFamily(record::failed(&what, &errno.into())),
            Errno::ADDRNOTAVAIL => {
                let what = format!("port {} can't be published: this machine has no address {}", host.port(), host.ip());
                Refused::Other(failure(ErrorKind::Refused, what))
            }
            Errno::AFNOSUPPORT => Refused::NoFamily(record::failed(&what, &errno.into())),
            _ => Refused::Other(record::failed(&what, &errno.into())),
        }
    };
    let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        17 => (SocketType::DGRAM, ipproto::UDP),
        132 => (SocketType::STREAM, ipproto::SCTP),
        _ => (SocketType::STREAM, ipproto::TCP),
    };
    let socket = match rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(number)) {
        Ok(socket) => socket,
        Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) if protocol == 132 && host.port() != 0 => {
            return Ok(Held { host, protocol, target, socket: None });
        }
        Err(errno) => return Err(wrong(errno)),
    };
    let set_up = || -> rustix::io::Result<SocketAddr> {
        if host.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        if protocol != 17 {
            // Old connections that linger are nobody who listens.
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        rustix::net::bind(&socket, &host)?;
        if protocol != 17 {
            rustix::net::listen(&socket, 1024)?;
        }
        SocketAddr::try_from(rustix::net::getsockname(&socket)?).map_err(|_| Errno::AFNOSUPPORT)
    };
    let host = set_up().map_err(wrong)?;
    Ok(Held { host, protocol, target, socket: Some(socket) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(published: &str, host_ip: &str, protocol: &str) -> PortSpec {
        PortSpec { target: 80, protocol: protocol.to_owned(), host_ip: host_ip.to_owned(), published: published.to_owned() }
    }

    #[test]
    fn the_kernel_chooses_one_port_for_all_addresses() {
        let held = take(&spec("", "", "tcp"), None).unwrap();
        assert!(held[0].host.port() > 0 && held.iter().all(|h| h.host.port() == held[0].host.port()));
        assert_eq!(held[0].published().host_ip, "0.0.0.0");
        let port = held[0].host.port().to_string();
        let taken = take(&spec(&port, "127.0.0.1", ""), None).unwrap_err();
        assert_eq!(taken.kind, ErrorKind::PortTaken);
        assert_eq!(taken.what, format!("host port 127.0.0.1:{port}/tcp is taken by somebody else"));
        // UDP is another matter.
        take(&spec(&port, "127.0.0.1", "udp"), None).unwrap();
        // A range goes on after what is taken.
        let range = format!("{port}-{}", held[0].host.port().saturating_add(20));
        let next = take(&spec(&range, "127.0.0.1", "tcp"), None).unwrap();
        assert!(next[0].host.port() > held[0].host.port());
    }

    #[test]
    fn what_is_no_port_or_address_is_refused() {
        for (published, host) in [("x", ""), ("70000", ""), ("9-8", ""), ("0-5", ""), ("80-", ""), ("80", "nowhere"), ("80", "300.1.1.1")] {
            assert_eq!(take(&spec(published, host, "tcp"), None).unwrap_err().kind, ErrorKind::Refused, "{published} {host}");
        }
        assert_eq!(take(&spec("1", "", "dccp"), None).unwrap_err().kind, ErrorKind::Unsupported);
        let error = take(&spec("18099", "203.0.113.77", "tcp"), None).unwrap_err();
        assert!(error.what.contains("no address 203.0.113.77"), "{error}");
    }

    #[test]
    fn rules_forward_within_a_family_and_not_from_the_loopback_of_ipv6() {
        let held = |host: &str| Held { host: host.parse().unwrap(), protocol: 6, target: 80, socket: None };
        let to: [IpAddr; 2] = ["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        assert_eq!(held("0.0.0.0:8080").forward(&to).unwrap().to, to[0]);
        assert_eq!(held("[::]:8080").forward(&to).unwrap().to, to[1]);
        assert_eq!(held("[::]:8080").forward(&to[..1]), None);
        assert_eq!(held("[::1]:8080").forward(&to), None);
    }
}
