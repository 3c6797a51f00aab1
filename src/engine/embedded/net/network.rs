//! Networks: what was asked for, checked; subnets chosen; bridges set up and taken down.

use super::address::{self, Cidr};
use super::lease::{self, Lock};
use super::{failure, firewall, link, refused, rules};
use crate::engine::embedded::Places;
use crate::engine::embedded::place::is_name;
use crate::engine::embedded::record::{self, ContainerRecord, NetworkRecord, Subnet};
use crate::engine::embedded::sys::netlink::Netlink;
use crate::units::Timestamp;
use crate::world::{EngineError, ErrorKind, NetworkMode, NetworkSpec};
use rustix::fs::{FlockOperation, flock};
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;

/// Where those who choose subnets on one machine wait for each other, whatever folders they use.
const MACHINE: &str = "/run/lock/consort-subnets";

/// Options of Docker's bridge driver, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name of the bridge.
    pub bridge: Option<String>,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// Containers reach each other.
    pub icc: bool,
    /// Packets that leave get the host's address.
    pub masquerade: bool,
    /// Where ports are published that name no address.
    pub host_binding: Option<IpAddr>,
    /// What names of interfaces begin with.
    pub prefix: String,
    /// `nat`, `nat-unprotected` or `routed`; for IPv4, IPv6.
    pub mode: [String; 2],
}

const DRIVER: &str = "com.docker.network.";

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// An option that isn't known, a value that isn't one.
    pub fn read(spec: &NetworkSpec) -> Result<Self, EngineError> {
        let nat = || "nat".to_owned();
        let mut read =
            Self { bridge: None, mtu: None, icc: true, masquerade: true, host_binding: None, prefix: "eth".to_owned(), mode: [nat(), nat()] };
        for (key, value) in &spec.driver_options {
            let wrong = |want: &str| {
                let what = format!("option {key} of network {} can't be `{value}`: it is {want}", spec.name);
                EngineError::new(ErrorKind::Refused, what)
            };
            let truth = || match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
                _ => Err(wrong("true or false")),
            };
            let mode = || match value.as_str() {
                "nat" | "nat-unprotected" | "routed" => Ok(value.clone()),
                _ => Err(wrong("nat, nat-unprotected or routed")),
            };
            match key.strip_prefix(DRIVER).unwrap_or(key) {
                "bridge.name" => read.bridge = Some(value.clone()).filter(|v| is_link_name(v)).map(Some).ok_or_else(|| wrong(LINK_NAME))?,
                "driver.mtu" => {
                    let mtu = value.parse().ok().filter(|m| (68..=65535).contains(m));
                    read.mtu = Some(mtu.ok_or_else(|| wrong("a number from 68 to 65535"))?);
                }
                "bridge.enable_icc" => read.icc = truth()?,
                "bridge.enable_ip_masquerade" => read.masquerade = truth()?,
                "bridge.host_binding_ipv4" => {
                    read.host_binding = Some(value.parse().map(IpAddr::V4).map_err(|_| wrong("an IPv4 address"))?);
                }
                "bridge.gateway_mode_ipv4" => read.mode[0] = mode()?,
                "bridge.gateway_mode_ipv6" => read.mode[1] = mode()?,
                "container_iface_prefix" => {
                    read.prefix = Some(value.clone()).filter(|v| is_link_name(v) && v.len() < 13).ok_or_else(|| wrong("short and without blanks"))?;
                }
                _ => {
                    let what = format!("network {} has an option that isn't known: {key}", spec.name);
                    return Err(
                        EngineError::new(ErrorKind::Unsupported, what).because("take it out of `driver_opts`, or use an engine that knows it")
                    );
                }
            }
        }
        Ok(read)
    }
}

const LINK_NAME: &str = "at most 15 letters, digits, `_`, `-`, `.`";

/// Whether a link can be called so.
pub fn is_link_name(name: &str) -> bool {
    (1..16).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// The lock of everything that networks of these folders share.
///
/// # Errors
/// A folder that can't be made.
pub fn lock(places: &Places) -> Result<Lock, EngineError> {
    Lock::take(&places.run.join("networks"))
}

/// A note for each bridge that is to be removed, written before its record is: whoever is killed in between leaves it.
fn leaving(places: &Places) -> std::path::PathBuf {
    places.run.join("leaving")
}

/// Says, as long as it is held, that somebody is there who will call [`sweep`].
///
/// # Errors
/// A folder that can't be made or locked.
pub fn promise(places: &Places) -> Result<Promise, EngineError> {
    let folder = leaving(places);
    let wrong = |e: std::io::Error| record::failed(&format!("{} can't be locked", folder.display()), &e);
    std::fs::create_dir_all(&folder).map_err(wrong)?;
    let folder = std::fs::File::open(&folder).map_err(wrong)?;
    flock(&folder, FlockOperation::LockShared).map_err(|e| wrong(e.into()))?;
    Ok(Promise(folder))
}

/// See [`promise`].
#[derive(Debug)]
pub struct Promise(#[expect(dead_code, reason = "it is a lock")] std::fs::File);

/// See [`super::has_leavings`].
pub fn has_leavings(places: &Places) -> bool {
    std::fs::read_dir(leaving(places)).is_ok_and(|mut notes| notes.next().is_some())
}

/// Waits until nobody holds a [`Promise`]: until it is kept, or broken.
///
/// # Errors
/// A folder that can't be locked.
pub fn wait_for_promises(places: &Places) -> Result<(), EngineError> {
    let folder = leaving(places);
    let waited = std::fs::File::open(&folder).and_then(|f| Ok(flock(&f, FlockOperation::LockExclusive)?));
    waited.map_err(|e| record::failed(&format!("{} can't be locked", folder.display()), &e))
}

fn file(places: &Places, name: &str) -> std::path::PathBuf {
    places.networks().join(format!("{name}.json"))
}

/// Ways to ask the kernel. They are kept where they can be: to close one that rules were removed by takes its time, as the
/// kernel waits until no processor uses those any more.
#[derive(Debug)]
pub struct Tools {
    /// For links, addresses, routes.
    pub route: Netlink,
    /// For rules; none where the kernel has none.
    pub netfilter: Option<Netlink>,
}

impl Tools {
    /// New ones.
    ///
    /// # Errors
    /// No sockets to be had.
    pub fn new() -> Result<Self, EngineError> {
        let route = Netlink::route().map_err(|e| record::failed("the kernel's network can't be asked", &e))?;
        Ok(Self { route, netfilter: Netlink::netfilter().ok() })
    }
}

/// See [`super::create`].
///
/// # Errors
/// As there.
pub fn create(places: &Places, spec: &NetworkSpec) -> Result<NetworkRecord, EngineError> {
    if !is_name(&spec.name) {
        return Err(failure(ErrorKind::Refused, format!("`{}` can't be the name of a network", spec.name)));
    }
    let bridged = match spec.driver.as_str() {
        "" | "bridge" | "default" => true,
        "host" | "none" | "null" => false,
        other => {
            let what = format!("network {} wants driver {other}; there is only bridge (and host, none)", spec.name);
            return Err(failure(ErrorKind::Unsupported, what));
        }
    };
    if matches!(spec.name.as_str(), "host" | "none") {
        return Err(failure(ErrorKind::Conflict, format!("network {} is always there and can't be created", spec.name)));
    }
    // The default manager has no options: those that it is given do nothing, here as with Docker.
    if !matches!(spec.ipam_driver.as_str(), "" | "default") {
        let what = format!("network {} wants an address manager other than the default one", spec.name);
        return Err(failure(ErrorKind::Unsupported, what));
    }
    let options = Options::read(spec)?;
    let _lock = lock(places)?;
    let file = file(places, &spec.name);
    if file.exists() {
        return Err(failure(ErrorKind::Conflict, format!("there is a network {} already", spec.name)));
    }
    std::fs::create_dir_all(places.networks()).map_err(|e| record::failed(&format!("{} can't be made", places.networks().display()), &e))?;
    let id = random_id()?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let created = Timestamp::from_parts(now.tv_sec, now.tv_nsec);
    if !bridged {
        let network = NetworkRecord { id, spec: spec.clone(), bridge: String::new(), subnets: Vec::new(), created };
        record::write(&file, &network)?;
        return Ok(network);
    }
    let bridge = options.bridge.unwrap_or_else(|| format!("cs-{}", id.get(..12).unwrap_or_default()));
    let _machine = Lock::take(Path::new(MACHINE))?;
    let tools = Tools::new()?;
    let subnets = choose(places, spec, &id, &tools.route)?;
    let network = NetworkRecord { id, spec: spec.clone(), bridge, subnets, created };
    if let Some(found) = link::find(&tools.route, &network.bridge).map_err(|r| refused("links can't be listed", &r))? {
        // That of a network that was removed may not have gone yet.
        if found.alias != mark(places) || list(places)?.iter().any(|n| n.bridge == found.name) {
            return Err(failure(ErrorKind::Conflict, format!("there is a link {} on this machine already", network.bridge)));
        }
        link::remove(&tools.route, &found.name).map_err(|r| refused(&format!("bridge {} can't be removed", found.name), &r))?;
    }
    record::write(&file, &network)?;
    if let Err(error) = raise(places, &network, &tools) {
        let _ = lower(places, &network, &tools);
        let _ = link::remove(&tools.route, &network.bridge);
        let _ = std::fs::remove_file(&file);
        return Err(error);
    }
    Ok(network)
}

/// Subnets for a network: those that it names, else free ones.
fn choose(places: &Places, spec: &NetworkSpec, id: &str, netlink: &Netlink) -> Result<Vec<Subnet>, EngineError> {
    let wrong = |what: String| failure(ErrorKind::Refused, format!("network {}: {what}", spec.name));
    let others: Vec<(String, Cidr)> = list_some(places, &|_| false)?
        .into_iter()
        .flat_map(|n| n.subnets.into_iter().map(move |s| (n.spec.name.clone(), Cidr::around(s.address, s.prefix))))
        .collect();
    let mut routes: Vec<Cidr> = link::routes(netlink).map_err(|r| refused("routes can't be listed", &r))?.into_iter().map(|r| r.to).collect();
    routes.extend(Cidr::parse("127.0.0.0/8"));
    let mut subnets: Vec<Subnet> = Vec::new();
    for pool in spec.pools.iter().filter(|p| **p != Default::default()) {
        let subnet = Cidr::parse(&pool.subnet).map_err(wrong)?;
        if subnets.iter().any(|s| s.address.is_ipv4() == subnet.is_ipv4()) {
            return Err(wrong("a bridge has one subnet of a family, no more".to_owned()));
        }
        if (subnet.is_ipv4() && spec.ipv4 == Some(false)) || (!subnet.is_ipv4() && spec.ipv6 == Some(false)) {
            return Err(wrong(format!("it has subnet {subnet}, but addresses of that family are switched off")));
        }
        if let Some((name, other)) = others.iter().find(|(_, o)| o.overlaps(subnet)) {
            return Err(failure(ErrorKind::Conflict, format!("subnet {subnet} of network {} overlaps {other} of network {name}", spec.name)));
        }
        // A wider route elsewhere loses against ours; one within it would take our containers' packets away.
        if let Some(route) = routes.iter().find(|r| r.overlaps(subnet) && r.prefix() >= subnet.prefix()) {
            return Err(failure(
                ErrorKind::Conflict,
                format!("subnet {subnet} of network {} overlaps a route of this machine to {route}", spec.name),
            ));
        }
        let range = if pool.ip_range.is_empty() { subnet } else { Cidr::parse(&pool.ip_range).map_err(wrong)? };
        if !subnet.contains(range.address()) || !subnet.contains(range.last()) {
            return Err(wrong(format!("ip_range {range} is not within subnet {subnet}")));
        }
        for (name, address) in &pool.aux_addresses {
            if !address.parse().is_ok_and(|a| subnet.contains(a)) {
                return Err(wrong(format!("address {address} of {name} is not in subnet {subnet}")));
            }
        }
        let gateway = if pool.gateway.is_empty() {
            let kept = |a: IpAddr| pool.aux_addresses.values().any(|k| k.parse() == Ok(a));
            let first = (0..range.size())
                .map_while(|n| range.nth(n))
                .find(|a| subnet.is_usable(*a) && !kept(*a) && (subnet.is_ipv4() || *a != subnet.address()));
            first.ok_or_else(|| wrong(format!("there is no room for a gateway in {range}")))?
        } else {
            let gateway = pool.gateway.parse().ok().filter(|g| subnet.is_usable(*g));
            gateway.ok_or_else(|| wrong(format!("gateway {} is no address in subnet {subnet}", pool.gateway)))?
        };
        subnets.push(Subnet { address: subnet.address(), prefix: subnet.prefix(), gateway });
    }
    let gateway = |cidr: Cidr| cidr.nth(1).map(|gateway| Subnet { address: cidr.address(), prefix: cidr.prefix(), gateway });
    if spec.ipv4 != Some(false) && !subnets.iter().any(|s| s.address.is_ipv4()) {
        // The widest routes (a tunnel that takes everything) are no networks that one could collide with.
        let mut taken: Vec<Cidr> = routes.iter().copied().filter(|r| r.prefix() > 4).collect();
        taken.extend(others.iter().map(|(_, c)| *c));
        let chosen = address::free_ipv4(&taken).and_then(gateway);
        let none = || wrong("no IPv4 subnet is free; name one in `ipam.config`".to_owned());
        subnets.insert(0, chosen.ok_or_else(none)?);
    }
    if spec.ipv6 == Some(true) && !subnets.iter().any(|s| s.address.is_ipv6()) {
        let seed = id.get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or_default();
        subnets.extend(gateway(address::unique_local(seed)));
    }
    if subnets.is_empty() {
        return Err(wrong("it has neither IPv4 nor IPv6 addresses".to_owned()));
    }
    Ok(subnets)
}

/// What a bridge carries in its alias, so that it is known to be of these folders.
fn mark(places: &Places) -> String {
    format!("consort {}", rules::digest(&places.state))
}

/// What the table has to know of a network.
///
/// # Errors
/// Its options can't be read any more.
pub fn behaviour(network: &NetworkRecord) -> Result<rules::Behaviour, EngineError> {
    let options = Options::read(&network.spec)?;
    let hidden = |i: usize| options.masquerade && options.mode[i] != "routed" && !network.spec.internal;
    Ok(rules::Behaviour {
        bridge: network.bridge.clone(),
        internal: network.spec.internal,
        within: options.icc,
        open: options.mode.iter().any(|m| m != "nat"),
        hidden: [hidden(0), hidden(1)],
    })
}

/// A network that is up.
#[derive(Clone, Debug, Default)]
pub struct Raised {
    /// Number of its bridge.
    pub index: u32,
    /// Largest packet, if it isn't the usual 1500.
    pub mtu: Option<u32>,
    /// Whether the table of rules is there.
    pub has_rules: bool,
    /// Who drops what is forwarded, and can't be helped.
    pub hostile: Vec<String>,
}

/// Sets a network up: bridge, addresses, rules. What is there already stays. Callers hold [`lock`].
///
/// # Errors
/// The bridge can't be had.
pub fn raise(places: &Places, network: &NetworkRecord, tools: &Tools) -> Result<Raised, EngineError> {
    let netlink = &tools.route;
    let wrong = |r| refused(&format!("bridge {} of network {} can't be set up", network.bridge, network.spec.name), &r);
    let (ipv4, ipv6) = (network.subnets.iter().any(|s| s.address.is_ipv4()), network.subnets.iter().any(|s| s.address.is_ipv6()));
    let found = link::find(netlink, &network.bridge).map_err(wrong)?;
    let whole = mark(places);
    let up = match found {
        Some(found) if found.alias == whole => Some(found),
        // Killed between making it and giving it an address; or somebody else's, which then has no mark.
        Some(found) if found.alias.is_empty() && network.bridge.starts_with("cs-") => {
            link::remove(netlink, &found.name).map_err(wrong)?;
            None
        }
        Some(found) => return Err(failure(ErrorKind::Conflict, format!("link {} belongs to somebody else", found.name))),
        None => None,
    };
    let up = match up {
        Some(up) => up,
        None => {
            let options = Options::read(&network.spec)?;
            link::make_bridge(netlink, &network.bridge, options.mtu.or_else(|| narrow(netlink))).map_err(wrong)?;
            // Nothing on the host shall believe the router advertisements of a container.
            let _ = if ipv6 { set(6, &network.bridge, "accept_ra", "0") } else { set(6, &network.bridge, "disable_ipv6", "1") };
            let addresses: Vec<_> = network.subnets.iter().map(|s| (s.gateway, s.prefix)).collect();
            link::raise_bridge(netlink, &network.bridge, &whole, &addresses).map_err(wrong)?;
            link::find(netlink, &network.bridge)
                .map_err(wrong)?
                .ok_or_else(|| failure(ErrorKind::NotFound, format!("bridge {} is gone", network.bridge)))?
        }
    };
    let mut raised = Raised { index: up.index, mtu: Some(up.mtu).filter(|m| *m != 1500), ..Raised::default() };
    if let Some(netfilter) = &tools.netfilter {
        let table = rules::table(places);
        if rules::ensure(netfilter, &table).is_ok() {
            rules::add_network(netfilter, &table, &behaviour(network)?).map_err(|r| refused("rules can't be made", &r))?;
            raised.has_rules = true;
            // 127.0.0.1:PORT of the host is led to a container; the table keeps containers from using that way back.
            if ipv4 {
                let _ = set(4, &network.bridge, "route_localnet", "1");
            }
            let outlook = firewall::look(netfilter, &table);
            if !network.spec.internal || std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").is_ok() {
                firewall::open(netfilter, &outlook, &network.bridge).map_err(|r| refused("the firewall takes no rule", &r))?;
            }
            raised.hostile = outlook.hostile;
        }
    }
    // Without rules packets would be forwarded from one network to the other, and to the outside with addresses that
    // nobody there knows.
    if !network.spec.internal && raised.has_rules {
        firewall::forwarding(ipv4, ipv6).map_err(|e| record::failed("the host can't be made to forward packets", &e))?;
    }
    Ok(raised)
}

/// Whether this machine forwards packets.
pub fn forwards() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|v| v.trim() != "0")
}

/// The largest packet of the link with the default route, if that is less than usual: what is larger would have to be cut,
/// and many a firewall loses the message that says so.
fn narrow(netlink: &Netlink) -> Option<u32> {
    let routes = link::routes(netlink).ok()?;
    let links: Vec<u32> = routes.iter().filter(|r| r.to.prefix() == 0 && r.link != 0).map(|r| r.link).collect();
    let all = link::list(netlink).ok()?;
    all.iter().filter(|l| links.contains(&l.index)).map(|l| l.mtu).min().filter(|m| (1280..1500).contains(m))
}

/// Writes a setting of a link of the current network namespace.
///
/// # Errors
/// The kernel has no such setting, or /proc can't be written.
pub fn set(family: u8, link: &str, name: &str, value: &str) -> std::io::Result<()> {
    std::fs::write(format!("/proc/sys/net/ipv{family}/conf/{link}/{name}"), value)
}

/// Takes a network down: nothing of it acts any more. Its bridge is left, switched off and without an address, as a link
/// of these folders that has no record: [`sweep`] removes it. Callers hold [`lock`].
///
/// # Errors
/// The bridge can't be reached.
pub fn lower(places: &Places, network: &NetworkRecord, tools: &Tools) -> Result<(), EngineError> {
    if network.bridge.is_empty() {
        return Ok(());
    }
    if let Some(netfilter) = &tools.netfilter {
        firewall::close(netfilter, &network.bridge);
        if let Ok(behaviour) = behaviour(network) {
            // Whoever removed the table did this too.
            let _ = rules::remove_network(netfilter, &rules::table(places), &behaviour);
        }
    }
    let wrong = |r| refused(&format!("bridge {} of network {} can't be removed", network.bridge, network.spec.name), &r);
    match link::find(&tools.route, &network.bridge).map_err(wrong)? {
        Some(found) if found.alias == mark(places) => {
            let note = leaving(places).join(&network.bridge);
            let written = std::fs::create_dir_all(leaving(places)).and_then(|()| std::fs::write(&note, ""));
            written.map_err(|e| record::failed(&format!("{} can't be written", note.display()), &e))?;
            let addresses: Vec<_> = network.subnets.iter().map(|s| (s.gateway, s.prefix)).collect();
            link::lower_bridge(&tools.route, found.index, &addresses).map_err(wrong)?;
        }
        // Whoever made it was killed before it was whole; nobody would know it again.
        Some(found) if found.alias.is_empty() => drop(link::remove_number(&tools.route, found.index).map_err(wrong)?),
        _ => {}
    }
    let _ = std::fs::remove_dir_all(places.leases(&network.id));
    Ok(())
}

/// See [`super::remove`]. The bridge stays, see [`lower`].
///
/// # Errors
/// As there.
pub fn remove(places: &Places, tools: &Tools, name: &str, id: Option<&str>) -> Result<bool, EngineError> {
    if !is_name(name) || !file(places, name).exists() {
        return Ok(false);
    }
    let _lock = lock(places)?;
    let Some(network) = record::read::<NetworkRecord>(&file(places, name))?.filter(|n| id.is_none_or(|id| n.id == id)) else {
        return Ok(false);
    };
    if let Some(container) = connected(places, &network)? {
        return Err(failure(ErrorKind::Conflict, format!("network {name} is in use: container {container} is connected to it")));
    }
    // One whose record can't be understood may need it.
    if list(places).is_ok_and(|all| all.iter().all(|n| n.bridge.is_empty() || n.id == network.id)) {
        forget_table(places, tools);
    }
    lower(places, &network, tools)?;
    // Last: whoever is killed before leaves a network that the next one removes with all that is left of it.
    let file = file(places, name);
    std::fs::remove_file(&file).map_err(|e| record::failed(&format!("{} can't be removed", file.display()), &e))?;
    Ok(true)
}

/// The table goes, as nobody needs it any more.
fn forget_table(places: &Places, tools: &Tools) {
    if let Some(netfilter) = &tools.netfilter {
        let _ = rules::remove(netfilter, &rules::table(places));
    }
}

/// Name of a container that is connected to a network.
fn connected(places: &Places, network: &NetworkRecord) -> Result<Option<String>, EngineError> {
    if let Some(lease) = lease::read_all(&places.leases(&network.id)).into_values().find(lease::Lease::is_alive) {
        return Ok(Some(lease.name));
    }
    let name = network.spec.name.as_bytes();
    for entry in std::fs::read_dir(places.containers()).into_iter().flatten().flatten() {
        let file = entry.path().join("container.json");
        // Most records don't mention it: they needn't be understood.
        if !std::fs::read(&file).is_ok_and(|text| text.windows(name.len()).any(|w| w == name)) {
            continue;
        }
        let Some(container) = record::read::<ContainerRecord>(&file)? else { continue };
        let is = |reference: &str| reference == network.spec.name || reference == network.id;
        let by_mode = matches!(&container.spec.network_mode, NetworkMode::Other(name) if is(name));
        let by_endpoint = container.spec.network_mode == NetworkMode::Networks && container.spec.networks.iter().any(|e| is(&e.network));
        if by_mode || by_endpoint {
            return Ok(Some(container.name));
        }
    }
    Ok(None)
}

/// See [`super::list`].
///
/// # Errors
/// As there.
pub fn list(places: &Places) -> Result<Vec<NetworkRecord>, EngineError> {
    list_some(places, &|_| true)
}

/// See [`super::list_some`].
///
/// # Errors
/// As there.
pub fn list_some(places: &Places, needed: &dyn Fn(&str) -> bool) -> Result<Vec<NetworkRecord>, EngineError> {
    let mut files: Vec<_> = std::fs::read_dir(places.networks()).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    let mut networks = Vec::new();
    for file in files {
        match record::read::<NetworkRecord>(&file) {
            Err(error) if error.kind == ErrorKind::Protocol && !file.file_stem().and_then(|n| n.to_str()).is_some_and(needed) => {}
            read => networks.extend(read?),
        }
    }
    Ok(networks)
}

/// See [`super::find`].
///
/// # Errors
/// As there.
pub fn named(places: &Places, name: &str) -> Result<Option<NetworkRecord>, EngineError> {
    if is_name(name) { record::read(&file(places, name)) } else { Ok(None) }
}

/// The network of this name or id. `bridge`, the network of those who name none, is made when it is needed first.
///
/// # Errors
/// [`ErrorKind::NotFound`].
pub fn find(places: &Places, reference: &str) -> Result<NetworkRecord, EngineError> {
    let absent = || failure(ErrorKind::NotFound, format!("there is no network {reference}"));
    if !is_name(reference) {
        return Err(absent());
    }
    if let Some(network) = record::read::<NetworkRecord>(&file(places, reference))? {
        return Ok(network);
    }
    if reference == "bridge" {
        return create(places, &NetworkSpec { name: "bridge".to_owned(), ..NetworkSpec::default() });
    }
    list_some(places, &|_| false)?.into_iter().find(|n| n.id == reference).ok_or_else(absent)
}

fn random_id() -> Result<String, EngineError> {
    let mut bytes = [0_u8; 32];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    read.map_err(|e| record::failed("/dev/urandom can't be read", &e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Removes what is left of networks whose record is gone, and leases of containers that don't run: bridges, rules, ports.
///
/// # Errors
/// The kernel can't be asked.
pub fn sweep(places: &Places) -> Result<(), EngineError> {
    let _promise = promise(places)?;
    let tools = Tools::new()?;
    let doomed = {
        let _lock = lock(places)?;
        sweep_files(places, &tools)?
    };
    // Others wait for the lock, and these take their time. A link's number is never given again, its name may be.
    for link in doomed {
        link::remove_number(&tools.route, link.index).map_err(|r| refused(&format!("bridge {} can't be removed", link.name), &r))?;
        let _ = std::fs::remove_file(leaving(places).join(link.name));
    }
    Ok(())
}

/// As [`sweep`], but for the bridges, which are given back. Callers hold [`lock`].
fn sweep_files(places: &Places, tools: &Tools) -> Result<Vec<link::Link>, EngineError> {
    let networks = list(places)?;
    let mark = mark(places);
    let lives = |bridge: &str| networks.iter().any(|n| n.bridge == bridge);
    let mut doomed = link::list(&tools.route).map_err(|r| refused("links can't be listed", &r))?;
    doomed.retain(|link| link.alias == mark && !lives(&link.name));
    // Whoever removed the bridge was killed before the note of it.
    for note in std::fs::read_dir(leaving(places)).into_iter().flatten().flatten() {
        if !doomed.iter().any(|l| note.file_name().to_str() == Some(&l.name)) {
            let _ = std::fs::remove_file(note.path());
        }
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for entry in std::fs::read_dir(places.run.join("networks")).into_iter().flatten().flatten() {
        let folder = entry.path();
        if !folder.is_dir() {
            continue;
        }
        if !networks.iter().any(|n| entry.file_name().to_str() == Some(&n.id)) {
            let _ = std::fs::remove_dir_all(&folder);
            continue;
        }
        let _lock = Lock::take(&folder)?;
        for (container, lease) in lease::read_all(&folder) {
            if lease.is_alive() {
                addresses.extend(lease.addresses());
            } else {
                let _ = std::fs::remove_file(folder.join(format!("{container}.json")));
            }
        }
    }
    let Some(netfilter) = &tools.netfilter else { return Ok(doomed) };
    if networks.iter().all(|n| n.bridge.is_empty()) {
        forget_table(places, tools);
    } else {
        rules::sweep(netfilter, &rules::table(places), &lives, &|address| addresses.contains(&address));
    }
    // Rules in other's chains name bridges; those of other folders still have theirs.
    for bridge in firewall::bridges(netfilter) {
        let going = doomed.iter().any(|l| l.name == bridge);
        if !lives(&bridge) && (going || link::find(&tools.route, &bridge).is_ok_and(|l| l.is_none())) {
            firewall::close(netfilter, &bridge);
        }
    }
    Ok(doomed)
}
