//! Links, addresses and routes, by rtnetlink(7).

use super::address::Cidr;
use crate::engine::embedded::sys::netlink::{self, Attributes, CREATE, EXCLUSIVE, NESTED, Netlink, Refusal, Requests};
use std::io;
use std::net::IpAddr;

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const SETLINK: u16 = 19;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;
/// `NLM_F_REPLACE`.
const REPLACE: u16 = 0x100;

/// `IFF_UP`.
const UP: u32 = 1;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_IFALIAS: u16 = 20;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const BR_MCAST_SNOOPING: u16 = 23;
const BRPORT_STATE: u16 = 1;
const BRPORT_ISOLATED: u16 = 33;

/// `struct ifinfomsg`.
fn ifinfo(a: &mut Attributes, index: u32, flags: u32, change: u32) -> &mut Attributes {
    a.raw(&[0; 4]).raw(&index.to_ne_bytes()).raw(&flags.to_ne_bytes()).raw(&change.to_ne_bytes())
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

/// A link that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What somebody wrote on it; empty mostly.
    pub alias: String,
    /// Its largest packet.
    pub mtu: u32,
}

/// All links of the socket's namespace.
///
/// # Errors
/// The kernel's.
pub fn list(netlink: &Netlink) -> Result<Vec<Link>, Refusal> {
    let found = netlink.ask(GETLINK, true, |a| {
        ifinfo(a, 0, 0, 0);
    })?;
    Ok(found.iter().filter_map(|(_, payload)| read(payload)).collect())
}

/// The link of this name.
///
/// # Errors
/// The kernel's, other than that there is none.
pub fn find(netlink: &Netlink, name: &str) -> Result<Option<Link>, Refusal> {
    let found = netlink.ask(GETLINK, false, |a| {
        ifinfo(a, 0, 0, 0).text(IFLA_IFNAME, name);
    });
    match found {
        Ok(found) => Ok(found.first().and_then(|(_, payload)| read(payload))),
        Err(refusal) if refusal.is(rustix::io::Errno::NODEV) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn read(payload: &[u8]) -> Option<Link> {
    let attributes = payload.get(16..)?;
    let text = |kind| netlink::attribute(attributes, kind).map(netlink::text).unwrap_or_default();
    let mtu = netlink::attribute(attributes, IFLA_MTU).and_then(|v| netlink::number(v, 0)).unwrap_or(0);
    Some(Link { index: netlink::number(payload, 4)?, name: text(IFLA_IFNAME), alias: text(IFLA_IFALIAS), mtu })
}

/// A route of the host.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Where it leads.
    pub to: Cidr,
    /// Number of the link that it goes over; 0 if it isn't one.
    pub link: u32,
}

/// All unicast routes, of every table.
///
/// # Errors
/// The kernel's.
pub fn routes(netlink: &Netlink) -> Result<Vec<Route>, Refusal> {
    let found = netlink.ask(GETROUTE, true, |a| {
        a.raw(&[0; 12]);
    })?;
    let route = |payload: &[u8]| {
        let (family, prefix, kind) = (*payload.first()?, *payload.get(1)?, *payload.get(7)?);
        // RTN_UNICAST; local and broadcast ones say the same again.
        if kind != 1 {
            return None;
        }
        let attributes = payload.get(12..)?;
        let to = match (family, netlink::attribute(attributes, 1)) {
            (2, None) => IpAddr::from([0; 4]),
            (10, None) => IpAddr::from([0; 16]),
            (2, Some(bytes)) => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
            (10, Some(bytes)) => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
            _ => return None,
        };
        let link = netlink::attribute(attributes, 4).and_then(|v| netlink::number(v, 0)).unwrap_or(0);
        Some(Route { to: Cidr::around(to, prefix), link })
    };
    Ok(found.iter().filter_map(|(_, payload)| route(payload)).collect())
}

/// Number of a link of the current network namespace.
///
/// # Errors
/// There is none of this name.
pub fn index(name: &str) -> io::Result<u32> {
    let socket = rustix::net::socket_with(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, rustix::net::SocketFlags::CLOEXEC, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}

/// Makes a bridge, down and without addresses.
///
/// # Errors
/// There is a link of this name; the kernel has no bridges.
pub fn make_bridge(netlink: &Netlink, name: &str, mtu: Option<u32>) -> Result<(), Refusal> {
    let mut requests = Requests::new();
    requests.add(NEWLINK, CREATE | EXCLUSIVE, |a| {
        ifinfo(a, 0, 0, 0).text(IFLA_IFNAME, name);
        if let Some(mtu) = mtu {
            a.number(IFLA_MTU, mtu);
        }
        a.nest(IFLA_LINKINFO, |a| {
            // Who listens to which group isn't looked at: bridges come up faster, and few containers send to many.
            a.text(INFO_KIND, "bridge").nest(INFO_DATA, |a| {
                a.bytes(BR_MCAST_SNOOPING, &[0]);
            });
        });
    });
    netlink.send(requests)
}

/// Writes on a bridge whose it is, gives it addresses and sets it up.
///
/// # Errors
/// An address that can't be had.
pub fn raise_bridge(netlink: &Netlink, name: &str, alias: &str, addresses: &[(IpAddr, u8)]) -> Result<(), Refusal> {
    let index = index(name).map_err(|error| Refusal { index: 0, error })?;
    let mut requests = Requests::new();
    requests.add(SETLINK, 0, |a| {
        ifinfo(a, index, UP, UP).text(IFLA_IFALIAS, alias);
    });
    for (address, prefix) in addresses {
        add_address(&mut requests, index, *address, *prefix);
    }
    netlink.send(requests)
}

/// Takes a bridge its addresses, and the routes that come with them, and switches it off.
///
/// # Errors
/// The kernel's; that the bridge has none of them, or isn't there, is no error.
pub fn lower_bridge(netlink: &Netlink, index: u32, addresses: &[(IpAddr, u8)]) -> Result<(), Refusal> {
    for (address, prefix) in addresses {
        let mut requests = Requests::new();
        requests.add(DELADDR, 0, |a| {
            a.raw(&[family(*address), *prefix, 0, 0]).raw(&index.to_ne_bytes()).bytes(2, &octets(*address));
        });
        match netlink.send(requests) {
            Err(refusal) if !refusal.is(rustix::io::Errno::ADDRNOTAVAIL) && !refusal.is(rustix::io::Errno::NODEV) => return Err(refusal),
            _ => {}
        }
    }
    let mut requests = Requests::new();
    requests.add(SETLINK, 0, |a| {
        ifinfo(a, index, 0, UP);
    });
    match netlink.send(requests) {
        Err(refusal) if !refusal.is(rustix::io::Errno::NODEV) => Err(refusal),
        _ => Ok(()),
    }
}

/// Removes the link of this number. False if there is none.
///
/// # Errors
/// The kernel's.
pub fn remove_number(netlink: &Netlink, index: u32) -> Result<bool, Refusal> {
    let mut requests = Requests::new();
    requests.add(DELLINK, 0, |a| {
        ifinfo(a, index, 0, 0);
    });
    removed(netlink.send(requests))
}

fn removed(outcome: Result<(), Refusal>) -> Result<bool, Refusal> {
    match outcome {
        Ok(()) => Ok(true),
        Err(refusal) if refusal.is(rustix::io::Errno::NODEV) => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

/// Removes a link. False if there is none.
///
/// # Errors
/// The kernel's.
pub fn remove(netlink: &Netlink, name: &str) -> Result<bool, Refusal> {
    let mut requests = Requests::new();
    requests.add(DELLINK, 0, |a| {
        ifinfo(a, 0, 0, 0).text(IFLA_IFNAME, name);
    });
    removed(netlink.send(requests))
}

/// A cable from a bridge into a network namespace.
#[derive(Debug)]
pub struct Cable<'a> {
    /// Name of the end at the bridge.
    pub outside: &'a str,
    /// Name of the other end.
    pub inside: &'a str,
    /// Number of the bridge.
    pub bridge: u32,
    /// A process in the namespace.
    pub pid: i32,
    /// Address of the inner end.
    pub mac: [u8; 6],
    /// Largest packet.
    pub mtu: Option<u32>,
    /// It reaches no other cable of the bridge.
    pub isolated: bool,
}

/// Lays a cable.
///
/// # Errors
/// A name that is taken, a process that has ended.
pub fn lay(netlink: &Netlink, cable: &Cable<'_>) -> Result<(), Refusal> {
    let mut requests = Requests::new();
    let mtu = |a: &mut Attributes| {
        if let Some(mtu) = cable.mtu {
            a.number(IFLA_MTU, mtu);
        }
    };
    requests.add(NEWLINK, CREATE | EXCLUSIVE, |a| {
        ifinfo(a, 0, UP, UP).text(IFLA_IFNAME, cable.outside).number(IFLA_LINK_MASTER, cable.bridge);
        mtu(a);
        a.nest(IFLA_LINKINFO, |a| {
            a.text(INFO_KIND, "veth").nest(INFO_DATA, |a| {
                a.nest(VETH_INFO_PEER, |a| {
                    ifinfo(a, 0, 0, 0).text(IFLA_IFNAME, cable.inside).bytes(IFLA_ADDRESS, &cable.mac);
                    mtu(a);
                    a.number(IFLA_NET_NS_PID, cable.pid.cast_unsigned());
                });
            });
        });
    });
    if cable.isolated {
        at_bridge(&mut requests, cable.outside, BRPORT_ISOLATED, 1);
    }
    netlink.send(requests)
}

/// Changes how a bridge treats a cable.
fn at_bridge(requests: &mut Requests, outside: &str, what: u16, value: u8) {
    requests.add(NEWLINK, 0, |a| {
        ifinfo(a, 0, 0, 0).text(IFLA_IFNAME, outside).nest(IFLA_LINKINFO, |a| {
            a.text(INFO_SLAVE_KIND, "bridge").nest(INFO_SLAVE_DATA | NESTED, |a| {
                a.bytes(what, &[value]);
            });
        });
    });
}

/// The bridge takes no notice of these cables any more. The kernel removes a cable with its namespace, some time after the
/// last process; until then nobody is to be answered from there. Removing it would wait for every processor.
pub fn silence<'a>(netlink: &Netlink, cables: impl Iterator<Item = &'a str>) {
    let mut requests = Requests::new();
    for outside in cables {
        at_bridge(&mut requests, outside, BRPORT_STATE, 0);
    }
    // One that is gone is silent.
    let _ = netlink.send(requests);
}

/// Sets a link up.
pub fn add_up(requests: &mut Requests, index: u32) {
    requests.add(NEWLINK, 0, |a| {
        ifinfo(a, index, UP, UP);
    });
}

/// Gives a link an address.
pub fn add_address(requests: &mut Requests, index: u32, address: IpAddr, prefix: u8) {
    requests.add(NEWADDR, CREATE | EXCLUSIVE, |a| {
        // IFA_F_NODAD: nobody else has it, that is what leases are for; without it IPv6 waits a second or two.
        let flags = if address.is_ipv4() { 0 } else { 2 };
        let bytes = octets(address);
        a.raw(&[family(address), prefix, flags, 0]).raw(&index.to_ne_bytes()).bytes(2, &bytes).bytes(1, &bytes);
        if address.is_ipv4() && prefix < 31 {
            a.bytes(4, &octets(Cidr::around(address, prefix).last()));
        }
    });
}

/// A default route over a gateway, in place of one that is there.
pub fn add_default(requests: &mut Requests, index: u32, gateway: IpAddr) {
    requests.add(NEWROUTE, CREATE | REPLACE, |a| {
        default_route(a, gateway).number(4, index);
    });
}

/// `struct rtmsg`: main table, RTPROT_BOOT, everywhere, unicast.
fn default_route(a: &mut Attributes, gateway: IpAddr) -> &mut Attributes {
    a.raw(&[family(gateway), 0, 0, 0, 254, 3, 0, 1]).raw(&[0; 4]).bytes(5, &octets(gateway))
}
