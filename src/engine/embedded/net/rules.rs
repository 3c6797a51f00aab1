//! The table of rules: one for all networks, so that a packet's way doesn't grow with them. Networks and ports are
//! elements of its sets.
//!
//! ```text
//! guard    (prerouting, raw)  nothing of a container's goes to 127.0.0.0/8 of the host
//! arriving (prerouting, nat)  to an address of the host, and a published port: on to the container; what comes by TCP
//!                             from a container is left to the proxy
//! leaving  (output, nat)      the same for the host's own processes
//! through  (forward)          known connections and published ports pass; containers don't reach other bridges,
//!                             `internal` ones nothing at all, and nobody reaches them uninvited
//! source   (postrouting, nat) what leaves by another link gets that link's address; published ports reached from the
//!                             host's loopback or from a bridge get the bridge's, so that answers come back
//! ```

use super::nft::{self, Batch, FAMILY, FROM_LINK, Hook, INET, IPV4, IPV6, PROTOCOL, Set, Step, TO_LINK};
use crate::engine::embedded::Places;
use crate::engine::embedded::sys::netlink::{self, Netlink, Refusal};
use std::net::IpAddr;
use std::path::Path;

/// Types for those who list sets: `ifname`, `ipv4_addr`, `ipv6_addr`, `inet_proto`, `inet_service`; six bits each.
const IFNAME: u32 = 41;
const V4: u32 = 7;
const V6: u32 = 8;
const PROTO: u32 = 12;
const SERVICE: u32 = 13;

/// Every bridge.
const BRIDGES: &str = "bridges";
/// Those whose containers reach nothing outside.
const INTERNAL: &str = "internal";
/// Those whose containers may be reached without a published port.
const OPEN: &str = "open";
/// Those whose IPv4 packets get another source on their way out.
const HIDDEN4: &str = "hidden4";
/// As above, for IPv6.
const HIDDEN6: &str = "hidden6";
/// Bridge, bridge: containers of one reach each other.
const WITHIN: &str = "within";
/// Address, protocol, port of the host: address, port of a container.
const BOUND: [&str; 2] = ["bound4", "bound6"];
/// Protocol, port of any address of the host: address, port of a container.
const ANY: [&str; 2] = ["any4", "any6"];

/// `NFT_REG32_00`.
const REG: u32 = 8;

/// Name of the table: other folders, other table.
pub fn table(places: &Places) -> String {
    if places.run.as_os_str() == "/run/consort" {
        return "consort".to_owned();
    }
    format!("consort-{}", digest(&places.run))
}

/// A few letters that tell folders apart (FNV-1a).
pub fn digest(folder: &Path) -> String {
    let bytes = folder.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// A link's name as the kernel compares it.
fn link(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// How a network behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Name of its bridge.
    pub bridge: String,
    /// No way out and none in.
    pub internal: bool,
    /// Containers reach each other.
    pub within: bool,
    /// Containers may be reached without a published port.
    pub open: bool,
    /// Their IPv4, IPv6 packets get another source on the way out.
    pub hidden: [bool; 2],
}

/// A published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Address of the host; unspecified means all of the family.
    pub host: IpAddr,
    /// Port of the host.
    pub port: u16,
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// Address of the container, of the same family.
    pub to: IpAddr,
    /// Its port.
    pub target: u16,
}

type Element = (Vec<u8>, Option<Vec<u8>>);

fn padded_port(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

impl Forward {
    fn element(&self) -> (&'static str, Element) {
        let family = usize::from(self.host.is_ipv6());
        let mut key = Vec::new();
        if !self.host.is_unspecified() {
            key.extend(octets(self.host));
        }
        key.extend([self.protocol, 0, 0, 0]);
        key.extend(padded_port(self.port));
        let mut value = octets(self.to);
        value.extend(padded_port(self.target));
        (if self.host.is_unspecified() { ANY[family] } else { BOUND[family] }, (key, Some(value)))
    }
}

/// Makes the table if there is none. Callers hold the lock of networks.
///
/// # Errors
/// No nf_tables in this kernel.
pub fn ensure(netlink: &Netlink, table: &str) -> Result<bool, Refusal> {
    if nft::has_table(netlink, INET, table)? {
        return Ok(false);
    }
    let mut batch = Batch::new(INET, table);
    batch.table();
    for name in [BRIDGES, INTERNAL, OPEN, HIDDEN4, HIDDEN6] {
        batch.set(&Set { name, key: (IFNAME, 16), value: None });
    }
    batch.set(&Set { name: WITHIN, key: (IFNAME << 6 | IFNAME, 32), value: None });
    for (i, (address, length)) in [(V4, 4), (V6, 16)].into_iter().enumerate() {
        let value = Some((address << 6 | SERVICE, length + 4));
        batch.set(&Set { name: BOUND[i], key: (address << 12 | PROTO << 6 | SERVICE, length + 8), value });
        batch.set(&Set { name: ANY[i], key: (PROTO << 6 | SERVICE, 8), value });
    }
    batch.chain("guard", "filter", Hook::Prerouting, -300);
    batch.chain("arriving", "nat", Hook::Prerouting, -100);
    batch.chain("leaving", "nat", Hook::Output, -100);
    batch.chain("through", "filter", Hook::Forward, 0);
    batch.chain("source", "nat", Hook::Postrouting, 100);
    let (four, six) = ([IPV4], [IPV6]);
    let is4 = [Step::Meta(FAMILY, 1), Step::Equal(&four)];
    let is6 = [Step::Meta(FAMILY, 1), Step::Equal(&six)];
    let is_loopback = [Step::Payload(1, 16, 1, 1), Step::Equal(&[127])];
    let from = |set| [Step::Meta(FROM_LINK, 1), Step::Lookup(set, 1, false)];
    let to = |set, inverted| [Step::Meta(TO_LINK, 1), Step::Lookup(set, 1, inverted)];

    batch.rule("guard", &[&is4[..], &from(BRIDGES), &is_loopback, &[Step::Drop]].concat());
    // A container that comes back to its own bridge by the host's address would have to be turned around in the bridge:
    // the proxy serves connections of all containers.
    batch.rule("arriving", &[&[Step::Meta(PROTOCOL, 1), Step::Equal(&[6])][..], &from(BRIDGES), &[Step::Accept]].concat());
    for chain in ["arriving", "leaving"] {
        for (i, (is, length)) in [(is4, 4), (is6, 16)].into_iter().enumerate() {
            let family = if i == 0 { IPV4 } else { IPV6 };
            let (offset, words) = if i == 0 { (16, 1) } else { (24, 4) };
            let mut head = is.to_vec();
            head.extend([Step::DestinationKind, Step::Equal(&LOCAL)]);
            if i == 1 {
                // There is no IPv6 way from ::1 to another host; the proxy serves it.
                head.extend([Step::Payload(1, 24, 16, 1), Step::Other(&LOOPBACK6)]);
            }
            let bound = [
                Step::Payload(1, offset, length, REG),
                Step::Meta(PROTOCOL, REG + words),
                Step::Payload(2, 2, 2, REG + words + 1),
                Step::Map(BOUND[i], REG, REG),
                Step::Destination(family, REG, REG + words),
            ];
            let any = [
                Step::Meta(PROTOCOL, REG),
                Step::Payload(2, 2, 2, REG + 1),
                Step::Map(ANY[i], REG, REG),
                Step::Destination(family, REG, REG + words),
            ];
            batch.rule(chain, &[&head[..], &bound].concat());
            batch.rule(chain, &[&head[..], &any].concat());
        }
    }
    let translated = [Step::Connection(STATUS), Step::AnyBit(DESTINATION_CHANGED)];
    batch.rule("through", &[Step::Connection(STATE), Step::AnyBit(KNOWN), Step::Accept]);
    batch.rule("through", &[Step::Meta(FROM_LINK, 1), Step::Meta(TO_LINK, 2), Step::Lookup(WITHIN, 1, false), Step::Accept]);
    batch.rule("through", &[&from(INTERNAL)[..], &[Step::Drop]].concat());
    batch.rule("through", &[&to(INTERNAL, false)[..], &[Step::Drop]].concat());
    batch.rule("through", &[&translated[..], &[Step::Accept]].concat());
    batch.rule("through", &[&to(OPEN, false)[..], &[Step::Accept]].concat());
    batch.rule("through", &[&to(BRIDGES, false)[..], &[Step::Drop]].concat());

    let from_loopback = [Step::Payload(1, 12, 1, 1), Step::Equal(&[127])];
    batch.rule("source", &[&is4[..], &from_loopback, &to(BRIDGES, false), &[Step::Masquerade]].concat());
    batch.rule("source", &[&translated[..], &from(BRIDGES), &to(BRIDGES, false), &[Step::Masquerade]].concat());
    batch.rule("source", &[&is4[..], &from(HIDDEN4), &to(BRIDGES, true), &[Step::Masquerade]].concat());
    batch.rule("source", &[&is6[..], &from(HIDDEN6), &to(BRIDGES, true), &[Step::Masquerade]].concat());
    batch.commit(netlink)?;
    Ok(true)
}

/// `NFT_CT_STATE`.
const STATE: u32 = 0;
/// `NFT_CT_STATUS`.
const STATUS: u32 = 2;
/// Established, related.
const KNOWN: u32 = 2 | 4;
/// `IPS_DST_NAT`.
const DESTINATION_CHANGED: u32 = 1 << 5;
/// `RTN_LOCAL`, in the machine's order.
const LOCAL: [u8; 4] = 2_u32.to_ne_bytes();
/// `::1`.
const LOOPBACK6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Tells the table of a network. Doing it again does no harm.
///
/// # Errors
/// The table isn't there.
pub fn add_network(netlink: &Netlink, table: &str, network: &Behaviour) -> Result<(), Refusal> {
    let mut batch = Batch::new(INET, table);
    for (set, key) in network.elements() {
        batch.elements(set, true, &[(key, None)]);
    }
    batch.commit(netlink)
}

/// Takes a network out of the table.
///
/// # Errors
/// It isn't in it.
pub fn remove_network(netlink: &Netlink, table: &str, network: &Behaviour) -> Result<(), Refusal> {
    let mut batch = Batch::new(INET, table);
    for (set, key) in network.elements() {
        batch.elements(set, false, &[(key, None)]);
    }
    batch.commit(netlink)
}

impl Behaviour {
    fn elements(&self) -> Vec<(&'static str, Vec<u8>)> {
        let name = link(&self.bridge);
        let mut elements = vec![(BRIDGES, name.clone())];
        let sets = [(INTERNAL, self.internal), (OPEN, self.open && !self.internal), (HIDDEN4, self.hidden[0]), (HIDDEN6, self.hidden[1])];
        elements.extend(sets.into_iter().filter(|(_, is)| *is).map(|(set, _)| (set, name.clone())));
        if self.within {
            elements.push((WITHIN, [name.clone(), name].concat()));
        }
        elements
    }
}

/// Publishes ports, or ends that: all or none.
///
/// # Errors
/// The table isn't there; when they end, one of them isn't there.
pub fn forward(netlink: &Netlink, table: &str, add: bool, forwards: &[Forward]) -> Result<(), Refusal> {
    if forwards.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new(INET, table);
    for set in [BOUND[0], BOUND[1], ANY[0], ANY[1]] {
        let elements: Vec<Element> =
            forwards.iter().map(Forward::element).filter(|(s, _)| *s == set).map(|(_, (k, v))| (k, v.filter(|_| add))).collect();
        batch.elements(set, add, &elements);
    }
    batch.commit(netlink)
}

/// Ends one published port, wherever it leads.
///
/// # Errors
/// It isn't there.
pub fn withdraw(netlink: &Netlink, table: &str, forward: &Forward) -> Result<(), Refusal> {
    let (set, (key, _)) = forward.element();
    let mut batch = Batch::new(INET, table);
    batch.elements(set, false, &[(key, None)]);
    batch.commit(netlink)
}

/// Removes the table with all that is in it.
///
/// # Errors
/// The kernel's; that there is none is no error.
pub fn remove(netlink: &Netlink, table: &str) -> Result<(), Refusal> {
    // A change that is refused has the kernel wait for every processor.
    if !nft::has_table(netlink, INET, table)? {
        return Ok(());
    }
    let mut batch = Batch::new(INET, table);
    batch.remove_table();
    match batch.commit(netlink) {
        Err(refusal) if !refusal.is(rustix::io::Errno::NOENT) => Err(refusal),
        _ => Ok(()),
    }
}

/// Elements of a set as they lie in the kernel: keys and values.
fn dump(netlink: &Netlink, table: &str, set: &str) -> Vec<Element> {
    let found = netlink.ask(nft::GETSETELEM, true, |a| {
        a.raw(&[INET, 0, 0, 0]).text(1, table).text(2, set);
    });
    let mut elements = Vec::new();
    for (_, payload) in found.unwrap_or_default() {
        let Some(list) = payload.get(4..).and_then(|p| netlink::attribute(p, 3)) else { continue };
        for (_, element) in netlink::attributes(list) {
            let part = |kind| netlink::attribute(element, kind).and_then(|v| netlink::attribute(v, 1)).map(<[u8]>::to_vec);
            elements.extend(part(1).map(|key| (key, part(2))));
        }
    }
    elements
}

/// Takes out bridges that `lives` doesn't know and ports whose container's address `lives_at` doesn't know.
pub fn sweep(netlink: &Netlink, table: &str, lives: &dyn Fn(&str) -> bool, lives_at: &dyn Fn(IpAddr) -> bool) {
    let remove = |set: &str, dead: Vec<Element>| {
        for element in dead {
            let mut batch = Batch::new(INET, table);
            batch.elements(set, false, &[(element.0, None)]);
            // It may have gone meanwhile.
            let _ = batch.commit(netlink);
        }
    };
    for set in [BRIDGES, INTERNAL, OPEN, HIDDEN4, HIDDEN6, WITHIN] {
        let mut found = dump(netlink, table, set);
        found.retain(|(key, _)| !lives(&netlink::text(key)));
        remove(set, found);
    }
    for (set, length) in [(BOUND[0], 4), (ANY[0], 4), (BOUND[1], 16), (ANY[1], 16)] {
        let mut found = dump(netlink, table, set);
        found.retain(|(_, value)| {
            let address = value.as_deref().and_then(|v| v.get(..length));
            let address = address.and_then(|a| <[u8; 4]>::try_from(a).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(a).map(IpAddr::from)).ok());
            address.is_some_and(|a| !lives_at(a))
        });
        remove(set, found);
    }
}
