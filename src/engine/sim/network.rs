//! Networks of the simulated engine: address pools and who has which address.

use crate::world::{EngineError, ErrorKind, NetworkSpec, NetworkState};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A network.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) id: String,
    pub(super) spec: NetworkSpec,
    pool: Pool,
    /// The subnet was asked for, so fixed addresses are possible.
    fixed: bool,
    gateway: Ipv4Addr,
    /// Addresses in use: by whom.
    used: BTreeMap<Ipv4Addr, String>,
}

/// A range of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pool {
    first: u32,
    prefix: u32,
}

impl Pool {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let (address, prefix): (Ipv4Addr, u32) = (address.parse().ok()?, prefix.parse().ok().filter(|p| (1..=32).contains(p))?);
        Some(Self { first: address.to_bits() & (u32::MAX << (32 - prefix)), prefix })
    }

    fn size(self) -> u64 {
        1 << (32 - self.prefix)
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        let offset = u64::from(address.to_bits()).checked_sub(u64::from(self.first));
        offset.is_some_and(|o| o < self.size())
    }

    fn overlaps(self, other: Self) -> bool {
        self.contains(other.first.into()) || other.contains(self.first.into())
    }
}

impl Network {
    /// A network on a free pool, or on the one that its spec asks for.
    pub(super) fn new(id: String, spec: NetworkSpec, others: &BTreeMap<String, Self>) -> Result<Self, EngineError> {
        let wanted = spec.pools.iter().find(|p| !p.subnet.is_empty() && !p.subnet.contains(':'));
        let pool = match wanted {
            Some(wanted) => {
                let pool = Pool::parse(&wanted.subnet).ok_or_else(|| {
                    EngineError::new(ErrorKind::Refused, format!("network {} can't be created", spec.name))
                        .because(format!("invalid subnet {}", wanted.subnet))
                })?;
                if let Some((name, _)) = others.iter().find(|(_, n)| n.pool.overlaps(pool)) {
                    return Err(EngineError::new(ErrorKind::Refused, format!("network {} can't be created", spec.name))
                        .because(format!("its subnet {} overlaps with that of network {name}", wanted.subnet)));
                }
                pool
            }
            None => (17..=255_u32)
                .map(|n| Pool { first: (172 << 24) | (n << 16), prefix: 16 })
                .find(|pool| !others.values().any(|o| o.pool.overlaps(*pool)))
                .ok_or_else(|| {
                    EngineError::new(ErrorKind::Refused, format!("network {} can't be created", spec.name)).because("no address pool is left")
                })?,
        };
        let gateway = wanted.and_then(|w| w.gateway.parse().ok()).unwrap_or(Ipv4Addr::from_bits(pool.first + 1));
        Ok(Self { id, fixed: wanted.is_some(), pool, gateway, used: BTreeMap::from([(gateway, String::new())]), spec })
    }

    /// Gives `owner` the address `wanted`, or a free one.
    pub(super) fn take(&mut self, owner: &str, wanted: &str) -> Result<Ipv4Addr, EngineError> {
        let refuse = |why: String| EngineError::new(ErrorKind::Refused, format!("network {} has no such address", self.spec.name)).because(why);
        let address = if wanted.is_empty() {
            let last = self.pool.first + u32::try_from(self.pool.size() - 1).unwrap_or(u32::MAX);
            (self.pool.first + 1..last)
                .map(Ipv4Addr::from_bits)
                .find(|a| !self.used.contains_key(a))
                .ok_or_else(|| refuse("no available addresses".into()))?
        } else {
            let address: Ipv4Addr = wanted.parse().map_err(|_| refuse(format!("{wanted} is no IPv4 address")))?;
            if !self.fixed {
                return Err(refuse("a fixed address needs a network with a subnet of its own".into()));
            }
            if !self.pool.contains(address) {
                return Err(refuse(format!("{wanted} is not in its subnet")));
            }
            if self.used.contains_key(&address) {
                return Err(EngineError::new(ErrorKind::Conflict, format!("address {wanted} is already in use on network {}", self.spec.name)));
            }
            address
        };
        self.used.insert(address, owner.to_owned());
        Ok(address)
    }

    /// Takes back what `owner` has.
    pub(super) fn give_back(&mut self, owner: &str) {
        self.used.retain(|address, by| by != owner || *address == self.gateway);
    }

    pub(super) fn observed(&self) -> NetworkState {
        let driver = if self.spec.driver.is_empty() { "bridge".into() } else { self.spec.driver.clone() };
        NetworkState { id: self.id.clone(), name: self.spec.name.clone(), driver, labels: self.spec.labels.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::IpamPoolSpec;

    fn spec(name: &str, subnet: &str) -> NetworkSpec {
        let pools = if subnet.is_empty() { vec![] } else { vec![IpamPoolSpec { subnet: subnet.into(), ..IpamPoolSpec::default() }] };
        NetworkSpec { name: name.into(), pools, ..NetworkSpec::default() }
    }

    #[test]
    fn pools_do_not_overlap_and_addresses_are_given_once() {
        let mut all = BTreeMap::new();
        for (name, subnet) in [("a", ""), ("b", "172.18.5.0/24"), ("c", "")] {
            let network = Network::new(name.into(), spec(name, subnet), &all).unwrap();
            all.insert(name.to_owned(), network);
        }
        assert_eq!(all["a"].gateway.to_string(), "172.17.0.1");
        assert_eq!(all["c"].gateway.to_string(), "172.19.0.1");
        assert!(Network::new("d".into(), spec("d", "172.16.0.0/12"), &all).is_err());
        let b = all.get_mut("b").unwrap();
        assert_eq!(b.take("x", "172.18.5.9").unwrap().to_string(), "172.18.5.9");
        assert_eq!(b.take("y", "172.18.5.9").unwrap_err().kind, ErrorKind::Conflict);
        assert_eq!(b.take("y", "172.18.6.9").unwrap_err().kind, ErrorKind::Refused);
        b.give_back("x");
        assert_eq!(b.take("y", "").unwrap().to_string(), "172.18.5.2");
        assert_eq!(all.get_mut("a").unwrap().take("y", "172.17.0.9").unwrap_err().kind, ErrorKind::Refused);
    }
}
