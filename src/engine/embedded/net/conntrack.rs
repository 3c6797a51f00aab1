//! Connections that the kernel keeps track of, by ctnetlink (`linux/netfilter/nfnetlink_conntrack.h`).
//!
//! Where a published port leads is decided by the first packet of a connection. UDP knows no end of one: a client that
//! goes on from the same port would be led to an address that is nobody's any more, or to nobody at all, as before.

use super::rules::Forward;
use crate::engine::embedded::sys::netlink::{self, Netlink, Requests};
use std::net::{IpAddr, SocketAddr};

/// Subsystem 1; messages 1 and 2 of it.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
/// `IPS_SEEN_REPLY`, in the network's order.
const ANSWERED: u8 = 1 << 1;
const UDP: u8 = 17;

/// One way of a connection: protocol, from, to.
type Way = (u8, SocketAddr, SocketAddr);

fn way(tuple: &[u8]) -> Option<Way> {
    let (ip, protocol) = (netlink::attribute(tuple, 1)?, netlink::attribute(tuple, 2)?);
    let address = |v4: u16, v6: u16| {
        let four = netlink::attribute(ip, v4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(IpAddr::from);
        four.or_else(|| netlink::attribute(ip, v6).and_then(|b| <[u8; 16]>::try_from(b).ok()).map(IpAddr::from))
    };
    let port = |kind: u16| netlink::attribute(protocol, kind)?.try_into().ok().map(u16::from_be_bytes);
    let number = *netlink::attribute(protocol, 1)?.first()?;
    Some((number, SocketAddr::new(address(1, 3)?, port(2)?), SocketAddr::new(address(2, 4)?, port(3)?)))
}

/// Whether a connection came by a port that is published so: it is led to the container, or to nobody, and nobody has
/// answered.
fn is_of(forward: &Forward, there: Way, back: Way, answered: bool) -> bool {
    let (protocol, _, to) = there;
    let (_, from, _) = back;
    protocol == forward.protocol
        && to.port() == forward.port
        && (forward.host.is_unspecified() || forward.host == to.ip())
        && (from == SocketAddr::new(forward.to, forward.target) || from == to && !answered)
}

/// Forgets the connections by UDP of these ports. What the kernel doesn't tell of goes on.
pub fn forget(netlink: &Netlink, forwards: &[Forward]) {
    for family in [super::nft::IPV4, super::nft::IPV6] {
        let is_four = family == super::nft::IPV4;
        let ours: Vec<&Forward> = forwards.iter().filter(|f| f.protocol == UDP && f.host.is_ipv4() == is_four).collect();
        if ours.is_empty() {
            continue;
        }
        let found = netlink.ask(GET, true, |a| {
            a.raw(&[family, 0, 0, 0]);
        });
        let mut requests = Requests::new();
        for (_, payload) in found.unwrap_or_default() {
            let attributes = payload.get(4..).unwrap_or_default();
            let Some(tuple) = netlink::attribute(attributes, CTA_TUPLE_ORIG) else { continue };
            let back = netlink::attribute(attributes, CTA_TUPLE_REPLY).and_then(way);
            let (Some(there), Some(back)) = (way(tuple), back) else { continue };
            let answered = netlink::attribute(attributes, CTA_STATUS).and_then(|s| s.last()).is_some_and(|s| s & ANSWERED != 0);
            if ours.iter().any(|f| is_of(f, there, back, answered)) {
                requests.add(DELETE, 0, |a| {
                    a.raw(&[family, 0, 0, 0]).bytes(CTA_TUPLE_ORIG | netlink::NESTED, tuple);
                });
            }
        }
        // One that has ended meanwhile is forgotten.
        let _ = netlink.send(requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_a_port_and_no_others() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let any = Forward { host: at("0.0.0.0:0").ip(), port: 53, protocol: UDP, to: at("10.0.0.2:0").ip(), target: 5353 };
        let bound = Forward { host: at("192.0.2.1:0").ip(), ..any };
        let there = (UDP, at("192.0.2.9:4000"), at("192.0.2.1:53"));
        let back = |from: &str| (UDP, at(from), at("192.0.2.9:4000"));
        for forward in [any, bound] {
            assert!(is_of(&forward, there, back("10.0.0.2:5353"), true));
            assert!(is_of(&forward, there, back("192.0.2.1:53"), false));
            // The proxy or another program of the host serves it.
            assert!(!is_of(&forward, there, back("192.0.2.1:53"), true));
            // Another container has it.
            assert!(!is_of(&forward, there, back("10.0.0.3:5353"), false));
            assert!(!is_of(&forward, (6, there.1, there.2), back("10.0.0.2:5353"), true));
            assert!(!is_of(&forward, (UDP, there.1, at("192.0.2.1:54")), back("10.0.0.2:5353"), true));
        }
        assert!(!is_of(&bound, (UDP, there.1, at("192.0.2.2:53")), back("10.0.0.2:5353"), true));
    }
}
