//! Networks: bridges, addresses, names, published ports.
//!
//! ```text
//! network   records, subnets, bridges            port    ports of the host, held
//! lease     who has which address and names      proxy   the way in where rules don't reach
//! link      rtnetlink in words                   dns     name servers of containers
//! nft       nf_tables in words                   etc     resolv.conf, hosts
//! rules     the table of this engine             poll    one epoll, one timer
//! conntrack connections under way
//! firewall  the tables of others                 guest   inside a container's network namespace
//! ```
//!
//! Everything is done by the kernel within the call, so a supervisor with one thread never waits for it.

mod address;
mod conntrack;
mod dns;
pub mod etc;
mod firewall;
mod guest;
mod lease;
mod link;
mod network;
mod nft;
mod poll;
mod port;
mod proxy;
mod rules;

use self::address::Cidr;
use self::guest::Stand;
use self::lease::{Lease, Leases, Wanted};
use self::network::Options;
use self::poll::{Owner, Poll};
use super::Places;
use super::record::{self, NetworkRecord};
use super::sys::netlink::Refusal;
use crate::world::{Attachment, EndpointSpec, EngineError, ErrorKind, NetworkSpec, PortSpec, PublishedPort};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

fn failure(kind: ErrorKind, what: impl Into<String>) -> EngineError {
    EngineError::new(kind, what)
}

/// The error of something that the kernel refused.
fn refused(what: &str, refusal: &Refusal) -> EngineError {
    let mut error = record::failed(what, &refusal.error);
    error.source = error.source.map(|source| match error.kind {
        ErrorKind::Denied => format!("{source}: it needs CAP_NET_ADMIN"),
        _ => format!("{source} (step {})", refusal.index),
    });
    error
}

/// Makes a network: chooses subnets that nobody has, writes its record, sets the bridge up.
///
/// # Errors
/// [`ErrorKind::Conflict`] if there is one of this name; a driver or an option that can't be honoured; no subnet left.
pub fn create(places: &Places, spec: &NetworkSpec) -> Result<NetworkRecord, EngineError> {
    network::create(places, spec)
}

/// Removes a network. False if there is none.
///
/// # Errors
/// [`ErrorKind::Conflict`] while a container is connected, running or not.
pub fn remove(places: &Places, name: &str, id: Option<&str>) -> Result<bool, EngineError> {
    let removed = network::remove(places, &network::Tools::new()?, name, id)?;
    // Its bridge, and what supervisors that were killed have left; that harms nobody if it doesn't go.
    let _ = sweep(places);
    Ok(removed)
}

/// All networks that have a record: those that were created, and `bridge` once it was needed.
///
/// # Errors
/// A record that can't be read.
pub fn list(places: &Places) -> Result<Vec<NetworkRecord>, EngineError> {
    network::list(places)
}

/// As [`list`], without those whose record can't be understood and that `needed` says no to by name.
///
/// # Errors
/// A record that is needed can't be understood.
pub fn list_some(places: &Places, needed: &dyn Fn(&str) -> bool) -> Result<Vec<NetworkRecord>, EngineError> {
    network::list_some(places, needed)
}

/// The network of this name.
///
/// # Errors
/// A record that can't be read.
pub fn find(places: &Places, name: &str) -> Result<Option<NetworkRecord>, EngineError> {
    network::named(places, name)
}

/// Removes what is left on the host: bridges and rules of networks that have no record any more, leases and ports of
/// containers whose process has ended. Nothing that lives is touched.
///
/// The kernel takes its time to remove a link, as it waits for every processor: nobody else waits for this meanwhile.
///
/// # Errors
/// The kernel can't be asked; a record that can't be read.
pub fn sweep(places: &Places) -> Result<(), EngineError> {
    network::sweep(places)
}

/// Whether bridges are to be removed by [`sweep`].
pub fn has_leavings(places: &Places) -> bool {
    network::has_leavings(places)
}

/// As [`sweep`], if those who were about to do it have not, for they were killed. They are waited for.
///
/// # Errors
/// As there.
pub fn sweep_after_others(places: &Places) -> Result<(), EngineError> {
    network::wait_for_promises(places)?;
    if has_leavings(places) { sweep(places) } else { Ok(()) }
}

/// Who is to be connected.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// Id of the container.
    pub id: &'a str,
    /// Its name, then others by which it is known on each of its networks (service, host name), besides the aliases of the
    /// endpoint and the first 12 digits of its id.
    pub names: &'a [String],
    /// Its process 1 (pidfd), whose network namespace is furnished.
    pub pidfd: BorrowedFd<'a>,
    /// Its process 1.
    pub pid: i32,
    /// Name servers of its own (`dns`); empty takes the host's.
    pub dns: &'a [String],
}

/// What a supervisor does for the networks of its containers.
///
/// It has an epoll of its own over name servers, proxies and upstream queries: the supervisor waits for
/// [`Net::descriptor`] and then calls [`Net::turn`].
#[derive(Debug)]
pub struct Net {
    places: Places,
    /// None before the first container.
    work: Option<Work>,
    notes: Vec<String>,
    /// Networks were removed, and bridges are to be.
    promise: Option<network::Promise>,
}

/// A network that is up.
#[derive(Debug)]
struct Network {
    record: NetworkRecord,
    options: Options,
    raised: network::Raised,
}

/// A container that is connected.
#[derive(Debug)]
struct Placed {
    name: String,
    pidfd: OwnedFd,
    /// Its network namespace, once it was entered.
    namespace: Option<OwnedFd>,
    stands: Vec<Stand>,
    forwards: Vec<rules::Forward>,
    /// What it publishes; sockets are the proxy's.
    held: Vec<port::Held>,
    /// Named `eth0`, …
    next: u32,
}

#[derive(Debug)]
struct Work {
    home: OwnedFd,
    tools: network::Tools,
    table: String,
    poll: Poll,
    names: dns::Names,
    proxy: proxy::Proxy,
    /// By id.
    networks: BTreeMap<String, Network>,
    /// By id of the network.
    leases: BTreeMap<String, Leases>,
    /// By id of the container.
    guests: BTreeMap<String, Placed>,
    /// Namespaces of containers that were detached, by id.
    empty: BTreeMap<String, OwnedFd>,
    scratch: Vec<u8>,
}

impl Net {
    /// Nothing is touched before the first container.
    ///
    /// # Errors
    /// No sockets to be had.
    pub fn new(places: &Places, project: &str) -> Result<Self, EngineError> {
        // One table serves all projects; leases say whose is what.
        let _ = project;
        Ok(Self { places: places.clone(), work: None, notes: Vec::new(), promise: None })
    }

    /// What doesn't work as it should, in words: a firewall in the way, ports that couldn't be published. Each is told
    /// once.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn work(&mut self) -> Result<&mut Work, EngineError> {
        let work = match self.work.take() {
            Some(work) => work,
            None => Work::new(&self.places)?,
        };
        Ok(self.work.insert(work))
    }

    /// Furnishes the network namespace of a container: loopback, an interface per endpoint (the primary one first),
    /// addresses, routes, name server at 127.0.0.11, published ports. With what it gave.
    ///
    /// # Errors
    /// No such network, address taken, port taken. Nothing is left behind then.
    pub fn attach(
        &mut self,
        guest: &Guest<'_>,
        endpoints: &[EndpointSpec],
        ports: &[PortSpec],
    ) -> Result<(Vec<Attachment>, Vec<PublishedPort>), EngineError> {
        self.detach(guest.id);
        let places = self.places.clone();
        let mut notes = std::mem::take(&mut self.notes);
        let work = self.work()?;
        let done = work.attach(&places, guest, endpoints, ports, &mut notes);
        if done.is_err() {
            work.forget(guest.id);
        }
        self.notes = notes;
        done
    }

    /// Connects a running container to one more network.
    ///
    /// # Errors
    /// As [`Net::attach`].
    pub fn connect(&mut self, guest: &Guest<'_>, endpoint: &EndpointSpec) -> Result<Attachment, EngineError> {
        let places = self.places.clone();
        let mut notes = std::mem::take(&mut self.notes);
        let work = self.work()?;
        let done = work.connect(&places, guest, endpoint, &mut notes);
        self.notes = notes;
        done
    }

    /// Disconnects a running container from a network (its name or id).
    ///
    /// # Errors
    /// It isn't on it.
    pub fn disconnect(&mut self, guest: &Guest<'_>, network: &str) -> Result<(), EngineError> {
        self.work()?.disconnect(guest.id, network)
    }

    /// Takes a container over that another supervisor had attached: name server and proxies are opened again, leases and
    /// rules are found as they are.
    ///
    /// # Errors
    /// As [`Net::attach`].
    pub fn adopt(&mut self, guest: &Guest<'_>, endpoints: &[EndpointSpec], ports: &[PublishedPort]) -> Result<(), EngineError> {
        let places = self.places.clone();
        let mut notes = std::mem::take(&mut self.notes);
        let done = self.work()?.adopt(&places, guest, endpoints, ports, &mut notes);
        self.notes = notes;
        done
    }

    /// Another process stands for a container now: the one that was attached for it ends.
    ///
    /// # Errors
    /// A lease can't be written.
    pub fn hand_over(&mut self, guest: &Guest<'_>) -> Result<(), EngineError> {
        match &mut self.work {
            Some(work) => work.hand_over(guest),
            None => Ok(()),
        }
    }

    /// Calls a running container by another name from now on; its aliases stay. One that isn't connected has none here.
    ///
    /// # Errors
    /// A lease can't be written.
    pub fn rename(&mut self, id: &str, to: &str) -> Result<(), EngineError> {
        let Some(Work { guests, leases, .. }) = &mut self.work else { return Ok(()) };
        let Some(placed) = guests.get_mut(id) else { return Ok(()) };
        to.clone_into(&mut placed.name);
        for stand in &placed.stands {
            if let Some(leases) = leases.get_mut(&stand.network_id) {
                leases.rename(id, to)?;
            }
        }
        Ok(())
    }

    /// Forgets a container that has ended: leases, ports, sockets. Nothing is answered from its interfaces any more. They go
    /// with its namespace, which stays until [`Net::rest`].
    pub fn detach(&mut self, id: &str) {
        if let Some(work) = &mut self.work {
            work.forget(id);
        }
    }

    /// Lets the namespaces of containers that were detached go: of all of them, or of one.
    ///
    /// The kernel takes its time to clear them away, and whoever changes a link anywhere on the machine waits for it
    /// meanwhile. So it is best done when nobody is in a hurry.
    pub fn rest(&mut self, id: Option<&str>) {
        match (&mut self.work, id) {
            (Some(work), Some(id)) => drop(work.empty.remove(id)),
            (Some(work), None) => work.empty.clear(),
            (None, _) => {}
        }
    }

    /// Removes a network as [`remove`] does, but for its bridge: that has no address any more and is switched off, and
    /// waits for [`sweep`].
    ///
    /// # Errors
    /// As there.
    pub fn dismiss(&mut self, name: &str, id: Option<&str>) -> Result<bool, EngineError> {
        let places = self.places.clone();
        if self.promise.is_none() {
            self.promise = Some(network::promise(&places)?);
        }
        let work = self.work()?;
        let removed = network::remove(&places, &work.tools, name, id)?;
        work.networks.retain(|_, network| network.record.spec.name != name || !removed);
        work.leases.retain(|id, _| work.networks.contains_key(id));
        Ok(removed)
    }

    /// Does what is left to do of [`Net::dismiss`]. The kernel takes its time for that.
    pub fn settle(&mut self) {
        if self.promise.is_some() {
            // What can't be removed is tried again by the next one who looks.
            let _ = sweep(&self.places);
            self.promise = None;
        }
    }

    /// Whether there was ever a container or a network to take care of.
    pub fn was_needed(&self) -> bool {
        self.work.is_some()
    }

    /// The address under which a container reaches the host: its default gateway, else the gateway of its first network.
    /// What `host-gateway` stands for.
    pub fn host_gateway(&self, id: &str) -> Option<IpAddr> {
        let stands = &self.work.as_ref()?.guests.get(id)?.stands;
        let routed = guest::gateways(stands);
        routed.into_iter().flatten().map(|(_, gateway)| gateway).next().or_else(|| stands.iter().find_map(|s| s.host_address()))
    }

    /// What to wait for, readable when [`Net::turn`] has work. None before the first container.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.work.as_ref().map(|work| work.poll.as_fd())
    }

    /// Answers name queries, moves bytes of proxies. Never blocks.
    pub fn turn(&mut self) {
        if let Some(work) = &mut self.work {
            work.turn();
        }
    }

    /// Closes everything and takes nothing back: as if the process had been killed. For tests.
    #[must_use]
    pub fn abandon(mut self) -> Self {
        self.work = None;
        self
    }

    /// Detaches all.
    pub fn clear(&mut self) {
        if let Some(work) = &mut self.work {
            let ids: Vec<String> = work.guests.keys().cloned().collect();
            ids.iter().for_each(|id| work.forget(id));
        }
    }
}

impl Work {
    fn new(places: &Places) -> Result<Self, EngineError> {
        let wrong = |e: std::io::Error| record::failed("the kernel's network can't be used", &e);
        Ok(Self {
            home: guest::home().map_err(wrong)?,
            tools: network::Tools::new()?,
            table: rules::table(places),
            poll: Poll::new().map_err(wrong)?,
            names: dns::Names::default(),
            proxy: proxy::Proxy::default(),
            networks: BTreeMap::new(),
            leases: BTreeMap::new(),
            guests: BTreeMap::new(),
            empty: BTreeMap::new(),
            scratch: Vec::new(),
        })
    }

    /// Id of the network that is called so, set up.
    fn network(&mut self, places: &Places, reference: &str, notes: &mut Vec<String>) -> Result<String, EngineError> {
        let record = network::find(places, reference)?;
        let id = record.id.clone();
        if record.bridge.is_empty() || self.networks.contains_key(&id) {
            self.networks.entry(id.clone()).or_insert_with(|| Network {
                options: Options::read(&NetworkSpec::default()).unwrap_or_else(|_| unreachable!("no options are no wrong options")),
                record,
                raised: network::Raised::default(),
            });
            return Ok(id);
        }
        let raised = {
            let _lock = network::lock(places)?;
            // It may have been removed while we waited.
            network::find(places, reference)?;
            network::raise(places, &record, &self.tools)?
        };
        for hostile in &raised.hostile {
            let note = format!(
                "{hostile} may drop what containers of network {} send and get; published ports are proxied: let {} pass there",
                record.spec.name, record.bridge
            );
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        if !raised.has_rules && !record.spec.internal {
            let apart = if network::forwards() { "; nothing keeps networks apart, as this machine forwards packets" } else { "" };
            notes.push(format!(
                "this kernel has no nf_tables (CONFIG_NF_TABLES): containers of network {} reach nothing outside, published ports are proxied{apart}",
                record.spec.name
            ));
        }
        let options = Options::read(&record.spec)?;
        if !self.leases.contains_key(&id) {
            self.leases.insert(id.clone(), Leases::open(places, &id)?);
        }
        self.networks.insert(id.clone(), Network { record, options, raised });
        Ok(id)
    }

    fn attach(
        &mut self,
        places: &Places,
        guest: &Guest<'_>,
        endpoints: &[EndpointSpec],
        ports: &[PortSpec],
        notes: &mut Vec<String>,
    ) -> Result<(Vec<Attachment>, Vec<PublishedPort>), EngineError> {
        let pidfd = guest.pidfd.try_clone_to_owned().map_err(|e| record::failed("no descriptor left", &e))?;
        let name = guest.names.first().cloned().unwrap_or_default();
        self.guests.insert(
            guest.id.to_owned(),
            Placed { name, pidfd, namespace: None, stands: Vec::new(), forwards: Vec::new(), held: Vec::new(), next: 0 },
        );
        self.empty.remove(guest.id);
        let mut attachments = Vec::new();
        for endpoint in endpoints {
            attachments.extend(self.join(places, guest, endpoint, notes)?);
        }
        let placed = self.guests.get_mut(guest.id).ok_or_else(|| failure(ErrorKind::NotFound, "the container is gone"))?;
        let wrong = |e| record::failed(&format!("the network of {} can't be set up", guest.names.first().map_or("", |n| n)), &e);
        let stands = &placed.stands;
        let furnish = || Ok((guest::home()?, guest::furnish(stands, guest::Kind::Fresh)?));
        let (namespace, sockets) = guest::inside(&self.home, guest.pidfd, furnish).map_err(wrong)?;
        placed.namespace = Some(namespace);
        if let Some((udp, tcp)) = sockets {
            let upstream = guest.dns.iter().filter_map(|d| d.parse().ok()).collect();
            self.names.open(&mut self.poll, guest.id, udp, tcp, upstream).map_err(wrong)?;
        }
        self.tell_names(guest.id);
        let held = self.take_ports(guest.id, ports, notes)?;
        let published = held.iter().map(port::Held::published).collect();
        self.publish(guest.id, held)?;
        Ok((attachments, published))
    }

    /// Leases an address on a network and lays a cable there. None for `none`.
    fn join(
        &mut self,
        places: &Places,
        guest: &Guest<'_>,
        endpoint: &EndpointSpec,
        notes: &mut Vec<String>,
    ) -> Result<Option<Attachment>, EngineError> {
        match endpoint.network.as_str() {
            "none" => return Ok(None),
            "host" => return Err(failure(ErrorKind::Refused, "the host's network can't be one of several: say `network_mode: host`")),
            _ => {}
        }
        let id = self.network(places, &endpoint.network, notes)?;
        let placed = self.guests.get_mut(guest.id).ok_or_else(|| failure(ErrorKind::NotFound, "the container is gone"))?;
        let (Some(network), Some(leases)) = (self.networks.get(&id), self.leases.get_mut(&id)) else { return Ok(None) };
        let label = &network.record.spec.name;
        if placed.stands.iter().any(|s| s.network_id == id) {
            return Err(failure(ErrorKind::Conflict, format!("{} is on network {label} already", placed.name)));
        }
        let inside = if endpoint.interface_name.is_empty() {
            let free = |n: &u32| !placed.stands.iter().any(|s| s.inside == format!("{}{n}", network.options.prefix));
            format!("{}{}", network.options.prefix, (0..).find(free).unwrap_or_default())
        } else {
            endpoint.interface_name.clone()
        };
        if !network::is_link_name(&inside) || inside == "lo" || placed.stands.iter().any(|s| s.inside == inside) {
            let what = format!("`{inside}` can't be the name of the interface of {} on network {label}", placed.name);
            return Err(failure(ErrorKind::Refused, what));
        }
        // The number may have been that of another container's first process, which has gone and left it its cable.
        let mut outside = format!("cs{}.{}", guest.pid, placed.next);
        placed.next += 1;
        while Path::new("/sys/class/net").join(&outside).exists() {
            outside = format!("cs{}.{}", guest.pid, placed.next);
            placed.next += 1;
        }
        let parse = |text: &str| -> Result<Option<IpAddr>, EngineError> {
            if text.is_empty() {
                return Ok(None);
            }
            let wrong = || failure(ErrorKind::Refused, format!("`{text}` is no address for {} on network {label}", placed.name));
            text.parse().map(Some).map_err(|_| wrong())
        };
        let wanted = Wanted {
            ipv4: parse(&endpoint.ipv4)?.and_then(|a| if let IpAddr::V4(a) = a { Some(a) } else { None }),
            ipv6: parse(&endpoint.ipv6)?.and_then(|a| if let IpAddr::V6(a) = a { Some(a) } else { None }),
        };
        let mut names: Vec<String> = guest.names.iter().chain(&endpoint.aliases).map(|n| n.to_ascii_lowercase()).collect();
        names.extend(guest.id.get(..12).map(str::to_owned));
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|n| !n.is_empty() && seen.insert(n.clone()));
        let lease = Lease {
            container: guest.id.to_owned(),
            name: placed.name.clone(),
            pid: guest.pid,
            pid_start: lease::started(guest.pid).unwrap_or_default(),
            mac: if endpoint.mac_address.is_empty() { [0; 6] } else { lease::parse_mac(&endpoint.mac_address)? },
            outside,
            inside,
            names,
            ..Lease::default()
        };
        let extra = endpoint.link_local.iter().map(|a| parse(a)).collect::<Result<Vec<_>, _>>()?;
        let sysctls = guest::sysctls(endpoint)?;
        let lease = leases.claim(&network.record, lease, wanted)?;
        let mut stand = Stand::new(&network.record, &lease, endpoint);
        (stand.extra, stand.sysctls) = (extra.into_iter().flatten().collect(), sysctls);
        let attachment = stand.attachment();
        let mut cable = link::Cable {
            outside: &lease.outside,
            inside: &lease.inside,
            bridge: network.raised.index,
            pid: guest.pid,
            mac: lease.mac,
            mtu: network.raised.mtu,
            isolated: !network.options.icc,
        };
        // From here on `forget` takes back what was given.
        placed.stands.push(stand);
        let laid = match link::lay(&self.tools.route, &cable) {
            // A container that has ended had a process of the same number, and its namespace hasn't gone yet.
            Err(refusal) if refusal.is(rustix::io::Errno::EXIST) => {
                let _ = link::remove(&self.tools.route, cable.outside);
                link::lay(&self.tools.route, &cable)
            }
            // Somebody removed the bridge behind our back.
            Err(refusal) if refusal.is(rustix::io::Errno::NODEV) => {
                let record = network.record.clone();
                let _lock = network::lock(places)?;
                if network::find(places, &endpoint.network)?.id != id {
                    return Err(failure(ErrorKind::NotFound, format!("network {} has been removed", endpoint.network)));
                }
                let raised = network::raise(places, &record, &self.tools)?;
                cable.bridge = raised.index;
                let laid = link::lay(&self.tools.route, &cable);
                if let Some(network) = self.networks.get_mut(&id) {
                    network.raised = raised;
                }
                laid
            }
            laid => laid,
        };
        laid.map_err(|r| refused(&format!("{} can't be connected to network {}", guest.names.first().map_or("", |n| n), endpoint.network), &r))?;
        Ok(Some(attachment))
    }

    fn connect(&mut self, places: &Places, guest: &Guest<'_>, endpoint: &EndpointSpec, notes: &mut Vec<String>) -> Result<Attachment, EngineError> {
        if !self.guests.contains_key(guest.id) {
            return Err(failure(ErrorKind::NotFound, "the container has no network of its own to be connected"));
        }
        let before = self.guests.get(guest.id).map_or(0, |p| p.stands.len());
        let done = self.join(places, guest, endpoint, notes).and_then(|attachment| {
            let stands = self.guests.get(guest.id).map(|p| p.stands.as_slice()).unwrap_or_default();
            let wrong = |e| record::failed(&format!("the interface on network {} can't be set up", endpoint.network), &e);
            guest::inside(&self.home, guest.pidfd, || guest::furnish(stands, guest::Kind::More)).map_err(wrong)?;
            attachment.ok_or_else(|| failure(ErrorKind::Refused, "a running container can't be connected to network none"))
        });
        match done {
            Ok(attachment) => {
                self.tell_names(guest.id);
                self.republish(guest.id)?;
                Ok(attachment)
            }
            Err(error) => {
                let added = self.guests.get_mut(guest.id).and_then(|p| if p.stands.len() > before { p.stands.pop() } else { None });
                if let Some(stand) = added {
                    self.cut(guest.id, &stand);
                }
                Err(error)
            }
        }
    }

    fn disconnect(&mut self, id: &str, network: &str) -> Result<(), EngineError> {
        let is_not = || failure(ErrorKind::NotFound, format!("it is not on network {network}"));
        let placed = self.guests.get_mut(id).ok_or_else(is_not)?;
        let at = placed.stands.iter().position(|s| s.network == network || s.network_id == network).ok_or_else(is_not)?;
        let stand = placed.stands.remove(at);
        self.cut(id, &stand);
        let placed = self.guests.get(id).ok_or_else(is_not)?;
        let wrong = |e| record::failed("the routes of the container can't be changed", &e);
        guest::inside(&self.home, placed.pidfd.as_fd(), || guest::reroute(&placed.stands)).map_err(wrong)?;
        self.tell_names(id);
        self.republish(id)
    }

    /// Takes a cable away and gives its lease back.
    fn cut(&mut self, id: &str, stand: &Stand) {
        // With its namespace gone, so is the cable.
        let _ = link::remove(&self.tools.route, &stand.outside);
        if let Some(leases) = self.leases.get_mut(&stand.network_id) {
            leases.release(id);
        }
    }

    /// Tells a container's name server where it is.
    fn tell_names(&mut self, id: &str) {
        let Some(placed) = self.guests.get(id) else { return };
        let sides = placed.stands.iter().map(|s| dns::Side {
            network_id: s.network_id.clone(),
            network: s.network.clone(),
            subnets: s.subnets.clone(),
            links: s.links.clone(),
        });
        let outside = placed.stands.iter().any(|s| !s.internal);
        self.names.place(id, sides.collect(), outside);
    }

    /// Takes the ports of the host that a container wants.
    fn take_ports(&self, id: &str, ports: &[PortSpec], notes: &mut Vec<String>) -> Result<Vec<port::Held>, EngineError> {
        let Some(placed) = self.guests.get(id).filter(|_| !ports.is_empty()) else { return Ok(Vec::new()) };
        if !placed.stands.iter().any(|s| !s.internal) {
            notes.push(format!("ports of {} are not published: it is on internal networks only", placed.name));
            return Ok(Vec::new());
        }
        let primary = guest::primary(&placed.stands).and_then(|s| self.networks.get(&s.network_id));
        let default = primary.and_then(|n| n.options.host_binding);
        let mut held = Vec::new();
        for spec in ports {
            held.extend(port::take(spec, default).map_err(|mut error| {
                if error.kind == ErrorKind::PortTaken {
                    error.what = format!("port {} of {} can't be published: {}", spec.target, placed.name, error.what);
                }
                error
            })?);
        }
        Ok(held)
    }

    /// Opens the ways to a container's ports.
    fn publish(&mut self, id: &str, mut held: Vec<port::Held>) -> Result<(), EngineError> {
        let Some(placed) = self.guests.get_mut(id).filter(|_| !held.is_empty()) else { return Ok(()) };
        let to = guest::published_addresses(&placed.stands);
        for port in &mut held {
            let address = to.iter().find(|a| a.is_ipv4() == port.host.is_ipv4()).or(to.first());
            if let (Some(socket), Some(address)) = (port.socket.take(), address) {
                let to = SocketAddr::new(*address, port.target);
                self.proxy
                    .add(&mut self.poll, id, socket, port.protocol == 17, to)
                    .map_err(|e| record::failed("a published port can't be watched", &e))?;
            }
        }
        placed.held = held;
        self.republish(id)
    }

    /// Makes rules and proxies lead to where a container is now.
    fn republish(&mut self, id: &str) -> Result<(), EngineError> {
        let Some(placed) = self.guests.get_mut(id) else { return Ok(()) };
        let to = guest::published_addresses(&placed.stands);
        self.proxy.retarget(id, &to);
        let primary = guest::primary(&placed.stands).and_then(|s| self.networks.get(&s.network_id));
        // Where somebody else drops what is forwarded, the proxy gets through, which forwards nothing.
        let by_rules = primary.is_some_and(|n| n.raised.has_rules && n.raised.hostile.is_empty());
        let wanted: Vec<rules::Forward> = if by_rules { placed.held.iter().filter_map(|h| h.forward(&to)).collect() } else { Vec::new() };
        if wanted == placed.forwards {
            return Ok(());
        }
        let Some(netfilter) = &self.tools.netfilter else { return Ok(()) };
        if !placed.forwards.is_empty() {
            let _ = rules::forward(netfilter, &self.table, false, &placed.forwards);
            conntrack::forget(netfilter, &placed.forwards);
            placed.forwards.clear();
        }
        let wrong = |r| refused(&format!("ports of {} can't be published", placed.name), &r);
        match rules::forward(netfilter, &self.table, true, &wanted) {
            Ok(()) => {}
            // Left by somebody who was killed: who holds the port decides where it leads.
            Err(refusal) if refusal.is(rustix::io::Errno::EXIST) => {
                for one in &wanted {
                    let _ = rules::withdraw(netfilter, &self.table, one);
                }
                rules::forward(netfilter, &self.table, true, &wanted).map_err(wrong)?;
            }
            // Somebody has emptied the host's rules, ours too.
            Err(refusal) if refusal.is(rustix::io::Errno::NOENT) => {
                rules::ensure(netfilter, &self.table).map_err(wrong)?;
                for network in self.networks.values().filter(|n| !n.record.bridge.is_empty()) {
                    rules::add_network(netfilter, &self.table, &network::behaviour(&network.record)?).map_err(wrong)?;
                }
                rules::forward(netfilter, &self.table, true, &wanted).map_err(wrong)?;
            }
            Err(refusal) => return Err(wrong(refusal)),
        }
        conntrack::forget(netfilter, &wanted);
        placed.forwards = wanted;
        Ok(())
    }

    fn adopt(
        &mut self,
        places: &Places,
        guest: &Guest<'_>,
        endpoints: &[EndpointSpec],
        ports: &[PublishedPort],
        notes: &mut Vec<String>,
    ) -> Result<(), EngineError> {
        let pidfd = guest.pidfd.try_clone_to_owned().map_err(|e| record::failed("no descriptor left", &e))?;
        let name = guest.names.first().cloned().unwrap_or_default();
        let mut stands = Vec::new();
        for endpoint in endpoints.iter().filter(|e| e.network != "none") {
            let id = self.network(places, &endpoint.network, notes)?;
            let (Some(network), Some(leases)) = (self.networks.get(&id), self.leases.get_mut(&id)) else { continue };
            leases.refresh();
            if let Some(lease) = leases.of(guest.id) {
                stands.push(Stand::new(&network.record, lease, endpoint));
            }
        }
        let next = u32::try_from(stands.len()).unwrap_or(0) + 16;
        let furnish = || Ok((guest::home()?, guest::furnish(&stands, guest::Kind::Adopted)?));
        let entered = guest::inside(&self.home, guest.pidfd, furnish);
        let (namespace, sockets) = entered.map_err(|e| record::failed(&format!("the network of {name} can't be entered"), &e))?;
        let placed = Placed { name: name.clone(), pidfd, namespace: Some(namespace), stands, forwards: Vec::new(), held: Vec::new(), next };
        self.guests.insert(guest.id.to_owned(), placed);
        if let Some((udp, tcp)) = sockets {
            let upstream = guest.dns.iter().filter_map(|d| d.parse().ok()).collect();
            let opened = self.names.open(&mut self.poll, guest.id, udp, tcp, upstream);
            opened.map_err(|e| record::failed("a name server can't be watched", &e))?;
        }
        self.tell_names(guest.id);
        let mut held = Vec::new();
        for port in ports.iter().filter(|p| p.host_port != 0) {
            match port::again(port) {
                Ok(one) => held.push(one),
                Err(error) => notes.push(format!("a port of {name} was lost: {error}")),
            }
        }
        self.publish(guest.id, held)
    }

    fn hand_over(&mut self, guest: &Guest<'_>) -> Result<(), EngineError> {
        let Some(placed) = self.guests.get_mut(guest.id) else { return Ok(()) };
        placed.pidfd = guest.pidfd.try_clone_to_owned().map_err(|e| record::failed("no descriptor left", &e))?;
        for stand in &placed.stands {
            if let Some(leases) = self.leases.get_mut(&stand.network_id) {
                leases.hand_over(guest.id, guest.pid)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, id: &str) {
        self.names.close(id);
        self.proxy.remove(id);
        let Some(placed) = self.guests.remove(id) else { return };
        if let Some(netfilter) = self.tools.netfilter.as_ref()
            && rules::forward(netfilter, &self.table, false, &placed.forwards).is_err()
        {
            // One that is gone keeps the others from going.
            for one in &placed.forwards {
                let _ = rules::withdraw(netfilter, &self.table, one);
            }
        }
        if let Some(netfilter) = self.tools.netfilter.as_ref() {
            conntrack::forget(netfilter, &placed.forwards);
        }
        link::silence(&self.tools.route, placed.stands.iter().map(|s| s.outside.as_str()));
        self.empty.extend(placed.namespace.map(|namespace| (id.to_owned(), namespace)));
        for stand in &placed.stands {
            if let Some(leases) = self.leases.get_mut(&stand.network_id) {
                leases.release(id);
            }
        }
    }

    fn turn(&mut self) {
        let Self { poll, names, proxy, leases, guests, home, scratch, .. } = self;
        let inside = |container: &str, family, kind| {
            let placed = guests.get(container).ok_or(rustix::io::Errno::SRCH)?;
            guest::inside(home, placed.pidfd.as_fd(), || guest::socket(family, kind))
                .map_err(|e| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO))
        };
        for (owner, _) in poll.ready() {
            match owner {
                Owner::Names(id) => names.asked(poll, leases, &inside, id),
                Owner::NamesListener(id) => names.connected(poll, id),
                Owner::Asker(id) => names.heard(poll, leases, &inside, id),
                Owner::Upstream(id) => names.answered(poll, &inside, id),
                Owner::Port(id) => proxy.arrived(poll, id),
                Owner::Client(id) | Owner::Server(id) => proxy.flow(poll, id, scratch),
                Owner::Session(id) => proxy.answered(id, scratch),
                Owner::Timer => {
                    poll.rang();
                    let now = poll::now();
                    names.expire(poll, &inside, now);
                    proxy.expire(now);
                }
            }
        }
        let deadline = [names.deadline(), proxy.deadline()].into_iter().flatten().min();
        poll.alarm(deadline);
    }
}

impl Network {
    /// Its subnets.
    fn subnets(record: &NetworkRecord) -> Vec<Cidr> {
        record.subnets.iter().map(|s| Cidr::around(s.address, s.prefix)).collect()
    }
}
