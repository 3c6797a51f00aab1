//! Subnets, and the choice of free ones.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A subnet: its lowest address and the bits of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl Cidr {
    /// The subnet in which `address` lies; `prefix` beyond the family's width counts as that.
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(width(address));
        let host = u32::from(width(address) - prefix);
        let low = bits(address) & u128::MAX.checked_shl(host).unwrap_or(0);
        Self { address: with_bits(address.is_ipv4(), low), prefix }
    }

    /// Reads `10.0.0.0/24`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no subnet: write it as 10.20.0.0/24");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().ok().filter(|p| *p <= width(address)).ok_or_else(wrong)?;
        let subnet = Self::around(address, prefix);
        if subnet.address == address { Ok(subnet) } else { Err(format!("`{text}` is no subnet: it should be {subnet}")) }
    }

    /// Its lowest address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Bits of its prefix.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether its addresses are IPv4.
    pub fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    fn last_bits(self) -> u128 {
        let host = u32::from(width(self.address) - self.prefix);
        bits(self.address) | 1_u128.checked_shl(host).map_or(u128::MAX, |n| n - 1)
    }

    /// Its highest address: with IPv4, broadcast.
    pub fn last(self) -> IpAddr {
        with_bits(self.is_ipv4(), self.last_bits())
    }

    /// The address `n` after the lowest one, if it is in the subnet.
    pub fn nth(self, n: u128) -> Option<IpAddr> {
        let at = bits(self.address).checked_add(n).filter(|b| *b <= self.last_bits())?;
        Some(with_bits(self.is_ipv4(), at))
    }

    /// How many addresses it has.
    pub fn size(self) -> u128 {
        (self.last_bits() - bits(self.address)).saturating_add(1)
    }

    /// Whether an address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4() && (bits(self.address)..=self.last_bits()).contains(&bits(address))
    }

    /// Whether they have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Whether an interface can have this address: in the subnet, and with IPv4 neither its name nor broadcast.
    pub fn is_usable(self, address: IpAddr) -> bool {
        self.contains(address) && (!self.is_ipv4() || self.prefix >= 31 || (address != self.address && address != self.last()))
    }
}

fn with_bits(ipv4: bool, bits: u128) -> IpAddr {
    match u32::try_from(bits) {
        Ok(low) if ipv4 => IpAddr::V4(Ipv4Addr::from_bits(low)),
        _ => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Where networks without a subnet of their own get one: Docker's ranges, in smaller pieces. 1020 containers in each of
/// 960 networks; 172.17 comes last, where Docker's own bridge is by default or will be.
const POOLS: [(Ipv4Addr, u8, u8); 4] = [
    (Ipv4Addr::new(172, 18, 0, 0), 15, 22),
    (Ipv4Addr::new(172, 20, 0, 0), 14, 22),
    (Ipv4Addr::new(172, 24, 0, 0), 13, 22),
    (Ipv4Addr::new(192, 168, 0, 0), 16, 22),
];

/// The first IPv4 subnet that overlaps none of `taken`.
pub fn free_ipv4(taken: &[Cidr]) -> Option<Cidr> {
    let last = std::iter::once((Ipv4Addr::new(172, 17, 0, 0), 16, 22));
    POOLS.into_iter().chain(last).find_map(|(base, from, to)| {
        let pool = Cidr::around(IpAddr::V4(base), from);
        (0..1_u128 << (to - from)).find_map(|i| {
            let subnet = Cidr::around(pool.nth(i << (32 - to))?, to);
            taken.iter().all(|t| !t.overlaps(subnet)).then_some(subnet)
        })
    })
}

/// A unique local IPv6 subnet (RFC 4193) whose global id are 40 bits of `seed`.
pub fn unique_local(seed: u64) -> Cidr {
    let id = u128::from(seed & 0xff_ffff_ffff);
    Cidr::around(IpAddr::V6(Ipv6Addr::from_bits(0xfd << 120 | id << 80)), 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap()
    }

    #[test]
    fn texts_that_are_no_subnets_say_why() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1", "x/8"] {
            assert!(Cidr::parse(text).unwrap_err().contains("no subnet"), "{text}");
        }
        assert!(Cidr::parse("10.0.0.7/24").unwrap_err().ends_with("it should be 10.0.0.0/24"));
        for text in ["0.0.0.0/0", "::/0", "10.1.2.3/32", "fd00::/64", "255.255.255.255/32"] {
            assert_eq!(cidr(text).to_string(), text);
        }
    }

    #[test]
    fn bounds() {
        let net = cidr("10.0.4.0/22");
        assert_eq!(net.last().to_string(), "10.0.7.255");
        assert_eq!(net.size(), 1024);
        assert_eq!(net.nth(1023).unwrap(), net.last());
        assert_eq!(net.nth(1024), None);
        assert!(!net.is_usable(net.last()) && !net.is_usable(net.address()) && net.is_usable(net.nth(1).unwrap()));
        assert!(cidr("10.0.0.0/31").is_usable("10.0.0.0".parse().unwrap()));
        assert!(!net.contains("::10.0.4.1".parse().unwrap()));
        assert_eq!(cidr("::/0").size(), u128::MAX);
        assert!(cidr("10.0.0.0/8").overlaps(cidr("10.9.0.0/16")) && cidr("10.9.0.0/16").overlaps(cidr("10.0.0.0/8")));
        assert!(!cidr("10.0.0.0/16").overlaps(cidr("10.1.0.0/16")));
    }

    #[test]
    fn two_hundred_projects_of_four_networks_fit() {
        let mut taken = vec![cidr("172.18.0.0/16"), cidr("192.168.1.0/24")];
        // Quickly: the pieces of 172.20.0.0/14 and 172.24.0.0/13 are gone already, 768 of them.
        for (pool, pieces) in [("172.20.0.0/14", 256), ("172.24.0.0/13", 512)] {
            taken.extend((0..pieces).map(|i| Cidr::around(cidr(pool).nth(i << 10).unwrap(), 22)));
        }
        for i in 0..32 {
            let Some(subnet) = free_ipv4(&taken) else { panic!("network {i} has no subnet") };
            assert!(taken.iter().all(|t| !t.overlaps(subnet)));
            taken.push(subnet);
        }
        assert_eq!(free_ipv4(&[cidr("172.16.0.0/12"), cidr("192.168.0.0/16")]), None);
    }
}
