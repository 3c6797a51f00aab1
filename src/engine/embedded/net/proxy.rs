//! The way to a published port where no rule leads: connections are taken here and made anew to the container.

use super::poll::{Owner, Poll, now};
use rustix::event::epoll::EventFlags;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

/// Idle milliseconds after which a UDP conversation is over.
const IDLE: u64 = 90_000;
/// UDP conversations at a time.
const SESSIONS: usize = 4096;
/// Bytes that are moved at a time.
const CHUNK: usize = 64 << 10;

/// All ports that are proxied.
#[derive(Debug, Default)]
pub struct Proxy {
    ports: BTreeMap<u64, Port>,
    flows: BTreeMap<u64, Flow>,
    sessions: BTreeMap<u64, Session>,
    /// Sessions by port and client.
    clients: BTreeMap<(u64, SocketAddr), u64>,
}

#[derive(Debug)]
struct Port {
    container: String,
    socket: OwnedFd,
    udp: bool,
    /// It is an IPv4 port of the host.
    ipv4: bool,
    to: SocketAddr,
}

/// A connection: client, container.
#[derive(Debug)]
struct Flow {
    container: String,
    ends: [OwnedFd; 2],
    /// What came from an end and the other didn't take yet.
    pending: [Vec<u8>; 2],
    /// Nothing more comes from this end.
    ended: [bool; 2],
    /// The other end was told so.
    told: [bool; 2],
    /// The connection to the container is there.
    connected: bool,
    watched: [EventFlags; 2],
}

#[derive(Debug)]
struct Session {
    port: u64,
    client: SocketAddr,
    socket: OwnedFd,
    used: u64,
}

impl Proxy {
    /// Serves a port from now on.
    ///
    /// # Errors
    /// The socket can't be watched.
    pub fn add(&mut self, poll: &mut Poll, container: &str, socket: OwnedFd, udp: bool, to: SocketAddr) -> std::io::Result<()> {
        let id = poll.number();
        poll.watch(&socket, Owner::Port(id), EventFlags::IN)?;
        let ipv4 = SocketAddr::try_from(rustix::net::getsockname(&socket)?).is_ok_and(|a| a.is_ipv4());
        self.ports.insert(id, Port { container: container.to_owned(), socket, udp, ipv4, to });
        Ok(())
    }

    /// Leads new clients of a container to where it is now: an address of the port's family, else one of the other.
    pub fn retarget(&mut self, container: &str, addresses: &[IpAddr]) {
        for port in self.ports.values_mut().filter(|p| p.container == container) {
            if let Some(address) = addresses.iter().find(|a| a.is_ipv4() == port.ipv4).or(addresses.first()) {
                port.to.set_ip(*address);
            }
        }
    }

    /// Ends all ports and connections of a container.
    pub fn remove(&mut self, container: &str) {
        self.ports.retain(|_, port| port.container != container);
        self.flows.retain(|_, flow| flow.container != container);
        let ports = &self.ports;
        self.sessions.retain(|_, session| ports.contains_key(&session.port));
        let sessions = &self.sessions;
        self.clients.retain(|_, id| sessions.contains_key(id));
    }

    /// A client is at a port.
    pub fn arrived(&mut self, poll: &mut Poll, id: u64) {
        let Some(port) = self.ports.get(&id) else { return };
        if port.udp {
            return self.datagrams(poll, id);
        }
        // As many as there are, within reason: others wait too.
        for _ in 0..64 {
            let Ok(client) = rustix::net::accept_with(&port.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) else { return };
            let Ok(server) = connect(port.to, SocketType::STREAM) else { continue };
            for end in [&client, &server] {
                let _ = rustix::net::sockopt::set_tcp_nodelay(end, true);
            }
            let flow = poll.number();
            let watched = [EventFlags::empty(), EventFlags::OUT];
            if poll.watch(&client, Owner::Client(flow), watched[0]).is_ok() && poll.watch(&server, Owner::Server(flow), watched[1]).is_ok() {
                self.flows.insert(
                    flow,
                    Flow {
                        container: port.container.clone(),
                        ends: [client, server],
                        pending: Default::default(),
                        ended: [false; 2],
                        told: [false; 2],
                        connected: false,
                        watched,
                    },
                );
            }
        }
    }

    /// An end of a connection is ready.
    pub fn flow(&mut self, poll: &Poll, id: u64, scratch: &mut Vec<u8>) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        scratch.resize(CHUNK, 0);
        if flow.advance(scratch).is_none() || flow.told == [true; 2] || !flow.watch(poll, id) {
            self.flows.remove(&id);
        }
    }

    fn datagrams(&mut self, poll: &mut Poll, id: u64) {
        let mut buffer = vec![0; CHUNK];
        for _ in 0..64 {
            let Some(port) = self.ports.get(&id) else { return };
            let Ok((length, _, Some(from))) = rustix::net::recvfrom(&port.socket, &mut buffer[..], RecvFlags::empty()) else { return };
            let Ok(client) = SocketAddr::try_from(from) else { continue };
            let known = self.clients.get(&(id, client)).copied().filter(|s| self.sessions.contains_key(s));
            let session = match known {
                Some(session) => session,
                None if self.sessions.len() >= SESSIONS => continue,
                None => {
                    let Ok(socket) = connect(port.to, SocketType::DGRAM) else { continue };
                    let session = poll.number();
                    if poll.watch(&socket, Owner::Session(session), EventFlags::IN).is_err() {
                        continue;
                    }
                    self.sessions.insert(session, Session { port: id, client, socket, used: 0 });
                    self.clients.insert((id, client), session);
                    session
                }
            };
            if let Some(session) = self.sessions.get_mut(&session) {
                session.used = now();
                // Lost datagrams are the client's to repeat.
                let _ = rustix::net::send(&session.socket, &buffer[..length], SendFlags::NOSIGNAL);
            }
        }
    }

    /// A container answers a datagram.
    pub fn answered(&mut self, id: u64, scratch: &mut Vec<u8>) {
        scratch.resize(CHUNK, 0);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(port) = self.ports.get(&session.port) else { return };
        for _ in 0..64 {
            match rustix::net::recv(&session.socket, &mut scratch[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    session.used = now();
                    let _ = rustix::net::sendto(&port.socket, &scratch[..length], SendFlags::NOSIGNAL, &session.client);
                }
                // Nobody listens there (yet): that was told by reading it.
                Err(rustix::io::Errno::CONNREFUSED) => {}
                Err(_) => return,
            }
        }
    }

    /// Ends conversations that are idle. When it wants to be asked again.
    pub fn expire(&mut self, now: u64) -> Option<u64> {
        self.sessions.retain(|_, session| session.used + IDLE > now);
        let sessions = &self.sessions;
        self.clients.retain(|_, id| sessions.contains_key(id));
        self.deadline()
    }

    /// When the first conversation may be over.
    pub fn deadline(&self) -> Option<u64> {
        self.sessions.values().map(|s| s.used + IDLE).min()
    }
}

fn connect(to: SocketAddr, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

impl Flow {
    /// Moves what can be moved. None when the connection is broken.
    fn advance(&mut self, scratch: &mut [u8]) -> Option<()> {
        use rustix::io::Errno;
        if !self.connected {
            rustix::net::sockopt::socket_error(&self.ends[1]).ok()?.ok()?;
            if rustix::net::getpeername(&self.ends[1]).is_err() {
                return Some(());
            }
            self.connected = true;
        }
        for from in [0, 1] {
            let to = 1 - from;
            for _ in 0..8 {
                if !self.pending[from].is_empty() {
                    match write(&self.ends[to], &self.pending[from])? {
                        0 => break,
                        n => drop(self.pending[from].drain(..n)),
                    }
                    continue;
                }
                if self.ended[from] {
                    break;
                }
                match rustix::io::read(&self.ends[from], &mut *scratch) {
                    Ok(0) => self.ended[from] = true,
                    Ok(n) => {
                        let written = write(&self.ends[to], &scratch[..n])?;
                        self.pending[from].extend_from_slice(&scratch[written..n]);
                    }
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => {}
                    Err(_) => return None,
                }
            }
            if self.pending[from].is_empty() {
                self.pending[from].shrink_to(0);
                if self.ended[from] && !self.told[from] {
                    let _ = rustix::net::shutdown(&self.ends[to], rustix::net::Shutdown::Write);
                    self.told[from] = true;
                }
            }
        }
        Some(())
    }

    /// Watches the ends for what is needed now. False if they can't be watched.
    fn watch(&mut self, poll: &Poll, id: u64) -> bool {
        for end in [0, 1] {
            let mut flags = EventFlags::empty();
            flags.set(EventFlags::IN, self.connected && self.pending[end].is_empty() && !self.ended[end]);
            flags.set(EventFlags::OUT, !self.pending[1 - end].is_empty() || (end == 1 && !self.connected));
            if flags == self.watched[end] {
                continue;
            }
            let owner = if end == 0 { Owner::Client(id) } else { Owner::Server(id) };
            if poll.change(self.ends[end].as_fd(), owner, flags).is_err() {
                return false;
            }
            self.watched[end] = flags;
        }
        true
    }
}

/// How much was taken; none if the connection is broken.
fn write(to: &OwnedFd, bytes: &[u8]) -> Option<usize> {
    match rustix::net::send(to, bytes, SendFlags::NOSIGNAL) {
        Ok(n) => Some(n),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Some(0),
        Err(_) => None,
    }
}
