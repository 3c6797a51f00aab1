//! Who has which address on a network, and which names: one file per container, so that every supervisor sees all.

use super::address::Cidr;
use crate::engine::embedded::record::{self, NetworkRecord};
use crate::engine::embedded::{Places, net::failure};
use crate::world::{EngineError, ErrorKind};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A container's place on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Id of the container.
    pub container: String,
    /// Its name.
    pub name: String,
    /// Its process 1.
    pub pid: i32,
    /// When that began, in ticks since boot: with the pid, who it is.
    pub pid_start: u64,
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Address of its interface.
    pub mac: [u8; 6],
    /// The host's end of its cable.
    pub outside: String,
    /// Its interface.
    pub inside: String,
    /// Names under which others on the network find it, in lower case.
    pub names: Vec<String>,
}

/// What addresses are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// This IPv4 address; none takes what is free.
    pub ipv4: Option<Ipv4Addr>,
    /// This IPv6 address; none takes what is free.
    pub ipv6: Option<Ipv6Addr>,
}

/// A flock on a folder's `lock`, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for it. It is held for moments only.
    ///
    /// # Errors
    /// A folder that can't be made or written.
    pub fn take(folder: &Path) -> Result<Self, EngineError> {
        let wrong = |e: &std::io::Error| record::failed(&format!("{} can't be locked", folder.display()), e);
        std::fs::create_dir_all(folder).map_err(|e| wrong(&e))?;
        let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(|e| wrong(&e))?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(wrong(&error.into())),
            }
        }
    }
}

/// The leases of one network. What others did is seen when it is asked for: a look at the folder's time, mostly.
#[derive(Debug)]
pub struct Leases {
    folder: PathBuf,
    /// By container.
    known: BTreeMap<String, Lease>,
    /// Which file each was read from.
    read: BTreeMap<String, Version>,
    /// The folder as it was when it was read; none if it may have changed since without a trace.
    seen: Option<Version>,
}

/// Which file it is, and when it was changed: seconds, nanoseconds.
type Version = (u64, i64, i64);

fn version(metadata: &std::fs::Metadata) -> Version {
    (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

/// Nanoseconds that a file system's clock may stand still.
const TICK: i64 = 20_000_000;

impl Leases {
    /// Those of a network.
    ///
    /// # Errors
    /// Its folder can't be made.
    pub fn open(places: &Places, network_id: &str) -> Result<Self, EngineError> {
        let folder = places.leases(network_id);
        std::fs::create_dir_all(&folder).map_err(|e| record::failed(&format!("{} can't be made", folder.display()), &e))?;
        let mut leases = Self { folder, known: BTreeMap::new(), read: BTreeMap::new(), seen: None };
        leases.refresh();
        Ok(leases)
    }

    /// Takes in what changed since.
    pub fn refresh(&mut self) {
        let Ok(now) = std::fs::metadata(&self.folder).map(|m| version(&m)) else {
            self.known.clear();
            self.read.clear();
            self.seen = None;
            return;
        };
        if self.seen == Some(now) {
            return;
        }
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let age = (time.tv_sec - now.1).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec - now.2);
        let mut there = BTreeMap::new();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let Some(container) = entry.file_name().to_str().and_then(|n| n.strip_suffix(".json")).map(str::to_owned) else { continue };
            let Ok(file) = entry.metadata().map(|m| version(&m)) else { continue };
            if self.read.get(&container) == Some(&file) && self.known.contains_key(&container) {
                there.insert(container, file);
            } else if let Ok(Some(lease)) = record::read::<Lease>(&entry.path()) {
                self.known.insert(container.clone(), lease);
                there.insert(container, file);
            }
        }
        self.known.retain(|container, _| there.contains_key(container));
        self.read = there;
        self.seen = (age > TICK).then_some(now);
    }

    /// All of them, as they were at the last refresh.
    pub fn all(&self) -> impl Iterator<Item = &Lease> {
        self.known.values()
    }

    /// That of a container.
    pub fn of(&self, container: &str) -> Option<&Lease> {
        self.known.get(container)
    }

    /// Chooses addresses for `lease` and writes it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`]: a wanted address is another's; none is left.
    pub fn claim(&mut self, network: &NetworkRecord, mut lease: Lease, wanted: Wanted) -> Result<Lease, EngineError> {
        let _lock = Lock::take(&self.folder)?;
        self.refresh();
        self.known.remove(&lease.container);
        for swept in [false, true] {
            match self.choose(network, &lease.container, wanted) {
                Ok((ipv4, ipv6)) => {
                    (lease.ipv4, lease.ipv6) = (ipv4, ipv6);
                    break;
                }
                Err(error) if swept => return Err(error),
                // Perhaps somebody was killed and left leases behind.
                Err(_) => self.known.retain(|_, lease| lease.is_alive()),
            }
        }
        if let Some(v4) = lease.ipv4.filter(|_| lease.mac == [0; 6]) {
            let [a, b, c, d] = v4.octets();
            lease.mac = [0x02, 0x42, a, b, c, d];
        } else if let Some(v6) = lease.ipv6.filter(|_| lease.mac == [0; 6]) {
            let o = v6.octets();
            lease.mac = [0x02, 0x46, o[12], o[13], o[14], o[15]];
        }
        record::write(&self.folder.join(format!("{}.json", lease.container)), &lease)?;
        self.known.insert(lease.container.clone(), lease.clone());
        Ok(lease)
    }

    fn choose(&self, network: &NetworkRecord, container: &str, wanted: Wanted) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>), EngineError> {
        let (mut ipv4, mut ipv6) = (None, None);
        for subnet in &network.subnets {
            let cidr = Cidr::around(subnet.address, subnet.prefix);
            let owner = |address: IpAddr| self.known.values().find(|l| l.has(address) && l.container != container);
            let asked = if cidr.is_ipv4() { wanted.ipv4.map(IpAddr::V4) } else { wanted.ipv6.map(IpAddr::V6) };
            let address = match asked {
                Some(address) if !cidr.is_usable(address) => {
                    return Err(EngineError::new(
                        ErrorKind::Refused,
                        format!("address {address} is not in subnet {cidr} of network {}", network.spec.name),
                    ));
                }
                Some(address) if address == subnet.gateway => {
                    return Err(EngineError::new(ErrorKind::Conflict, format!("address {address} is the gateway of network {}", network.spec.name)));
                }
                Some(address) => match owner(address) {
                    Some(other) => {
                        let what = format!("address {address} on network {} is already {}'s", network.spec.name, other.name);
                        return Err(EngineError::new(ErrorKind::Conflict, what));
                    }
                    None => address,
                },
                None => self.free(network, cidr, subnet.gateway).ok_or_else(|| {
                    let what = format!("network {} has no free address left in {cidr}", network.spec.name);
                    EngineError::new(ErrorKind::Refused, what)
                })?,
            };
            match address {
                IpAddr::V4(address) => ipv4 = Some(address),
                IpAddr::V6(address) => ipv6 = Some(address),
            }
        }
        match (wanted.ipv4.filter(|_| ipv4.is_none()), wanted.ipv6.filter(|_| ipv6.is_none())) {
            (Some(v4), _) => Err(no_family(network, &v4.to_string(), "IPv4")),
            (_, Some(v6)) => Err(no_family(network, &v6.to_string(), "IPv6")),
            _ => Ok((ipv4, ipv6)),
        }
    }

    /// The lowest free address of the subnet, or of the range in it that the network names.
    fn free(&self, network: &NetworkRecord, cidr: Cidr, gateway: IpAddr) -> Option<IpAddr> {
        let pool = network.spec.pools.iter().find(|p| Cidr::parse(&p.subnet) == Ok(cidr));
        let range = pool.and_then(|p| Cidr::parse(&p.ip_range).ok()).unwrap_or(cidr);
        let kept: Vec<IpAddr> = pool.iter().flat_map(|p| p.aux_addresses.values()).filter_map(|a| a.parse().ok()).collect();
        let mut taken: Vec<IpAddr> = self.known.values().flat_map(Lease::addresses).filter(|a| range.contains(*a)).collect();
        taken.sort_unstable();
        // IPv6's lowest address is that of any router (RFC 4291, 2.6.1).
        let first = u128::from(!cidr.is_ipv4() && range.address() == cidr.address());
        (first..range.size())
            .map_while(|n| range.nth(n))
            .find(|a| cidr.is_usable(*a) && *a != gateway && !kept.contains(a) && taken.binary_search(a).is_err())
    }

    /// Another process of the container has its lease from now on.
    ///
    /// # Errors
    /// It can't be written.
    pub fn hand_over(&mut self, container: &str, pid: i32) -> Result<(), EngineError> {
        let _lock = Lock::take(&self.folder)?;
        self.refresh();
        let Some(lease) = self.known.get_mut(container) else { return Ok(()) };
        (lease.pid, lease.pid_start) = (pid, started(pid).unwrap_or_default());
        record::write(&self.folder.join(format!("{container}.json")), lease)
    }

    /// Calls a container by another name from now on. Without a lease there is nothing to do.
    ///
    /// # Errors
    /// The lease can't be written.
    pub fn rename(&mut self, container: &str, to: &str) -> Result<(), EngineError> {
        let _lock = Lock::take(&self.folder)?;
        self.refresh();
        let Some(lease) = self.known.get_mut(container) else { return Ok(()) };
        let (from, name) = (std::mem::replace(&mut lease.name, to.to_owned()).to_ascii_lowercase(), to.to_ascii_lowercase());
        lease.names.retain(|n| *n != from && *n != name);
        lease.names.insert(0, name);
        record::write(&self.folder.join(format!("{container}.json")), lease)
    }

    /// Gives a container's lease back.
    pub fn release(&mut self, container: &str) -> Option<Lease> {
        let _ = std::fs::remove_file(self.folder.join(format!("{container}.json")));
        self.read.remove(container);
        self.known.remove(container)
    }
}

fn no_family(network: &NetworkRecord, address: &str, family: &str) -> EngineError {
    EngineError::new(ErrorKind::Refused, format!("network {} has no {family} subnet for address {address}", network.spec.name))
}

/// The leases in a folder. What can't be read is nobody's.
pub fn read_all(folder: &Path) -> BTreeMap<String, Lease> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let lease = |entry: std::fs::DirEntry| {
        let container = entry.file_name().to_str()?.strip_suffix(".json")?.to_owned();
        Some((container, record::read::<Lease>(&entry.path()).ok()??))
    };
    entries.filter_map(lease).collect()
}

impl Lease {
    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }

    fn has(&self, address: IpAddr) -> bool {
        self.addresses().any(|a| a == address)
    }

    /// Whether the process that it was given to still runs.
    pub fn is_alive(&self) -> bool {
        started(self.pid).is_some_and(|start| start == self.pid_start)
    }
}

/// When a process began, in ticks since boot (proc(5), field 22 of `stat`); none if it has ended.
pub fn started(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(start)
}

/// Reads a hardware address, `02:42:ac:11:00:02`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_mac(text: &str) -> Result<[u8; 6], EngineError> {
    let wrong = || failure(ErrorKind::Refused, format!("`{text}` is no hardware address: write it as 02:42:ac:11:00:02"));
    let parts: Vec<u8> =
        text.split([':', '-']).map(|p| u8::from_str_radix(p, 16).ok().filter(|_| p.len() == 2)).collect::<Option<_>>().ok_or_else(wrong)?;
    let mac: [u8; 6] = parts.try_into().map_err(|_| wrong())?;
    // The lowest bit of the first byte means a group.
    if mac[0] & 1 == 0 { Ok(mac) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::embedded::record::Subnet;
    use crate::units::Timestamp;
    use crate::world::{IpamPoolSpec, NetworkSpec};

    fn network(subnets: &[(&str, &str)], pools: Vec<IpamPoolSpec>) -> NetworkRecord {
        let subnet = |(cidr, gateway): &(&str, &str)| {
            let cidr = Cidr::parse(cidr).unwrap();
            Subnet { address: cidr.address(), prefix: cidr.prefix(), gateway: gateway.parse().unwrap() }
        };
        NetworkRecord {
            id: "n".to_owned(),
            spec: NetworkSpec { name: "net".to_owned(), pools, ..NetworkSpec::default() },
            bridge: "b".to_owned(),
            subnets: subnets.iter().map(subnet).collect(),
            created: Timestamp::default(),
        }
    }

    fn lease(container: &str) -> Lease {
        let pid = std::process::id().cast_signed();
        Lease { container: container.to_owned(), name: container.to_owned(), pid, pid_start: started(pid).unwrap(), ..Lease::default() }
    }

    fn open(folder: &Path) -> Leases {
        Leases::open(&Places { state: folder.join("s"), run: folder.join("r") }, "n").unwrap()
    }

    #[test]
    fn lowest_free_first_and_seen_by_others_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let net = network(&[("10.9.0.0/29", "10.9.0.1"), ("fd00:9::/64", "fd00:9::1")], Vec::new());
        let (mut one, mut two) = (open(folder.path()), open(folder.path()));
        let a = one.claim(&net, lease("a"), Wanted::default()).unwrap();
        assert_eq!((a.ipv4.unwrap().to_string().as_str(), a.ipv6.unwrap().to_string().as_str()), ("10.9.0.2", "fd00:9::2"));
        assert_eq!(a.mac, [2, 0x42, 10, 9, 0, 2]);
        let b = two.claim(&net, lease("b"), Wanted::default()).unwrap();
        assert_eq!(b.ipv4.unwrap().to_string(), "10.9.0.3");
        one.refresh();
        assert_eq!(one.all().count(), 2);
        two.release("a");
        one.refresh();
        assert_eq!(one.of("a"), None);
        assert_eq!(one.claim(&net, lease("c"), Wanted::default()).unwrap().ipv4.unwrap().to_string(), "10.9.0.2");
    }

    #[test]
    fn fixed_addresses_that_cannot_be_had_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let net = network(&[("10.9.0.0/29", "10.9.0.1")], Vec::new());
        let mut leases = open(folder.path());
        let fixed = |a: &str| Wanted { ipv4: Some(a.parse().unwrap()), ipv6: None };
        leases.claim(&net, lease("a"), fixed("10.9.0.6")).unwrap();
        let mut said = |a: &str| leases.claim(&net, lease("b"), fixed(a)).unwrap_err();
        assert!(said("10.9.0.6").what.contains("already a's"));
        assert!(said("10.9.0.1").what.contains("is the gateway"));
        assert!(said("10.9.0.7").what.contains("not in subnet"));
        assert!(said("10.8.0.2").what.contains("not in subnet"));
        let six = Wanted { ipv4: None, ipv6: Some("fd00::5".parse().unwrap()) };
        assert!(leases.claim(&net, lease("b"), six).unwrap_err().what.contains("has no IPv6 subnet"));
        // Its own old lease is no obstacle.
        leases.claim(&net, lease("a"), fixed("10.9.0.6")).unwrap();
    }

    #[test]
    fn ranges_kept_addresses_and_exhaustion() {
        let folder = tempfile::tempdir().unwrap();
        let pool = IpamPoolSpec {
            subnet: "10.9.0.0/24".to_owned(),
            ip_range: "10.9.0.64/30".to_owned(),
            gateway: String::new(),
            aux_addresses: [("printer".to_owned(), "10.9.0.65".to_owned())].into(),
        };
        let net = network(&[("10.9.0.0/24", "10.9.0.64")], vec![pool]);
        let mut leases = open(folder.path());
        let mut next = |c: &str| leases.claim(&net, lease(c), Wanted::default()).map(|l| l.ipv4.unwrap().to_string());
        assert_eq!(next("a").unwrap(), "10.9.0.66");
        assert_eq!(next("b").unwrap(), "10.9.0.67");
        assert!(next("c").unwrap_err().what.contains("no free address left"));
        // The dead don't hold addresses when they are needed.
        let mut dead = leases.of("a").unwrap().clone();
        dead.pid_start += 1;
        record::write(&folder.path().join("r/networks/n/a.json"), &dead).unwrap();
        assert_eq!(leases.claim(&net, lease("c"), Wanted::default()).unwrap().ipv4.unwrap().to_string(), "10.9.0.66");
    }

    #[test]
    fn hardware_addresses() {
        assert_eq!(parse_mac("02:42:ac:11:00:fF").unwrap(), [2, 0x42, 0xac, 0x11, 0, 0xff]);
        for text in ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "03:42:ac:11:00:02", "2:42:ac:11:0:2", "02:42:ac:11:00:é"] {
            assert!(parse_mac(text).is_err(), "{text}");
        }
    }
}
