//! Name servers: one in each container's network namespace, all served here. They know the names on the container's own
//! networks; other questions go to the servers of the container or of the host.

pub mod message;

use super::address::Cidr;
use super::etc::Resolver;
use super::lease::Leases;
use super::poll::{Owner, Poll, now};
use message::{Data, NOERROR, NXDOMAIN, Odd, Question, REFUSED, SERVFAIL, kind};
use rustix::event::epoll::EventFlags;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

/// How long an answer about a container may be kept, in seconds: containers come and go.
const KEEP: u32 = 5;
/// Milliseconds that a server has to answer before the next one is asked.
const PATIENCE: u64 = 2_000;
/// Milliseconds after which somebody who asks by TCP and says nothing is let go.
const SILENCE: u64 = 10_000;
/// Questions that are under way at a time.
const PENDING: usize = 1024;
/// Those who ask by TCP at a time.
const ASKERS: usize = 256;

/// A network on which a container is.
#[derive(Clone, Debug)]
pub struct Side {
    /// Id of the network.
    pub network_id: String,
    /// Its name.
    pub network: String,
    /// Its subnets.
    pub subnets: Vec<Cidr>,
    /// Names for other containers that hold for this one only: alias, name of the container.
    pub links: Vec<(String, String)>,
}

/// Opens a socket in the network namespace of a container.
pub type Inside<'a> = &'a dyn Fn(&str, AddressFamily, SocketType) -> rustix::io::Result<OwnedFd>;

/// The name server of one container.
#[derive(Debug)]
struct Server {
    container: String,
    udp: OwnedFd,
    tcp: Option<OwnedFd>,
    sides: Vec<Side>,
    /// Its own servers, asked from where it is; empty: those of the host, asked from the host.
    upstream: Vec<IpAddr>,
    /// It may ask outside.
    outside: bool,
}

/// Somebody who asks by TCP.
#[derive(Debug)]
struct Asker {
    server: u64,
    socket: OwnedFd,
    input: Vec<u8>,
    output: Vec<u8>,
    last: u64,
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Udp(SocketAddr),
    Tcp(u64),
}

/// A question that was passed on.
#[derive(Debug)]
struct Pending {
    server: u64,
    reply: Reply,
    question: Question,
    request: Vec<u8>,
    /// The id under which it was passed on.
    id: u16,
    /// Servers to ask, the present one first.
    servers: Vec<IpAddr>,
    socket: OwnedFd,
    /// By TCP: what came so far; and whether the request is out.
    stream: Option<(Vec<u8>, bool)>,
    deadline: u64,
}

/// All name servers.
#[derive(Debug, Default)]
pub struct Names {
    servers: BTreeMap<u64, Server>,
    askers: BTreeMap<u64, Asker>,
    pending: BTreeMap<u64, Pending>,
    turn: usize,
    host: Option<((i64, u64, u64), Vec<IpAddr>)>,
}

impl Names {
    /// Opens the name server of a container, on sockets that lie in its namespace.
    ///
    /// # Errors
    /// They can't be watched.
    pub fn open(&mut self, poll: &mut Poll, container: &str, udp: OwnedFd, tcp: Option<OwnedFd>, upstream: Vec<IpAddr>) -> std::io::Result<()> {
        self.close(container);
        let id = poll.number();
        poll.watch(&udp, Owner::Names(id), EventFlags::IN)?;
        if let Some(tcp) = &tcp {
            poll.watch(tcp, Owner::NamesListener(id), EventFlags::IN)?;
        }
        let server = Server { container: container.to_owned(), udp, tcp, sides: Vec::new(), upstream, outside: false };
        self.servers.insert(id, server);
        Ok(())
    }

    /// Tells it on which networks its container is, and whether one of them leads out.
    pub fn place(&mut self, container: &str, sides: Vec<Side>, outside: bool) {
        if let Some(server) = self.servers.values_mut().find(|s| s.container == container) {
            (server.sides, server.outside) = (sides, outside);
        }
    }

    /// Ends the name server of a container.
    pub fn close(&mut self, container: &str) {
        self.servers.retain(|_, server| server.container != container);
        let servers = &self.servers;
        self.askers.retain(|_, asker| servers.contains_key(&asker.server));
        self.pending.retain(|_, pending| servers.contains_key(&pending.server));
    }

    /// Datagrams have come.
    pub fn asked(&mut self, poll: &mut Poll, leases: &mut BTreeMap<String, Leases>, inside: Inside<'_>, id: u64) {
        let mut buffer = [0; 4096];
        for _ in 0..64 {
            let Some(server) = self.servers.get(&id) else { return };
            let Ok((length, _, Some(from))) = rustix::net::recvfrom(&server.udp, &mut buffer[..], RecvFlags::empty()) else { return };
            let Ok(from) = SocketAddr::try_from(from) else { continue };
            if let Some(answer) = self.consider(poll, leases, inside, id, &buffer[..length], Reply::Udp(from)) {
                self.reply(poll, id, Reply::Udp(from), &answer);
            }
        }
    }

    /// Somebody wants to ask by TCP.
    pub fn connected(&mut self, poll: &mut Poll, id: u64) {
        for _ in 0..16 {
            let Some(listener) = self.servers.get(&id).and_then(|s| s.tcp.as_ref()) else { return };
            let Ok(socket) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) else { return };
            if self.askers.len() >= ASKERS {
                continue;
            }
            let asker = poll.number();
            if poll.watch(&socket, Owner::Asker(asker), EventFlags::IN).is_ok() {
                self.askers.insert(asker, Asker { server: id, socket, input: Vec::new(), output: Vec::new(), last: now() });
            }
        }
    }

    /// Somebody who asks by TCP says something, or takes more of an answer.
    pub fn heard(&mut self, poll: &mut Poll, leases: &mut BTreeMap<String, Leases>, inside: Inside<'_>, id: u64) {
        let Some(asker) = self.askers.get_mut(&id) else { return };
        let mut buffer = [0; 4096];
        match rustix::io::read(&asker.socket, &mut buffer[..]) {
            Ok(0) => return drop(self.askers.remove(&id)),
            Ok(length) => asker.input.extend_from_slice(&buffer[..length]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => return drop(self.askers.remove(&id)),
        }
        asker.last = now();
        let server = asker.server;
        while let Some(request) = self.askers.get_mut(&id).and_then(|a| frame(&mut a.input)) {
            if let Some(answer) = self.consider(poll, leases, inside, server, &request, Reply::Tcp(id)) {
                self.reply(poll, server, Reply::Tcp(id), &answer);
            }
        }
        self.flush(poll, id);
    }

    /// Sends what an asker has to get, and watches it for what comes next.
    fn flush(&mut self, poll: &Poll, id: u64) {
        let Some(asker) = self.askers.get_mut(&id) else { return };
        if !asker.output.is_empty() {
            match rustix::net::send(&asker.socket, &asker.output, SendFlags::NOSIGNAL) {
                Ok(n) => drop(asker.output.drain(..n)),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(_) => return drop(self.askers.remove(&id)),
            }
        }
        let flags = if asker.output.is_empty() { EventFlags::IN } else { EventFlags::OUT };
        if poll.change(&asker.socket, Owner::Asker(id), flags).is_err() {
            self.askers.remove(&id);
        }
    }

    fn reply(&mut self, poll: &Poll, server: u64, reply: Reply, answer: &[u8]) {
        match reply {
            Reply::Udp(to) => {
                if let Some(server) = self.servers.get(&server) {
                    // A lost answer is asked for again.
                    let _ = rustix::net::sendto(&server.udp, answer, SendFlags::NOSIGNAL, &to);
                }
            }
            Reply::Tcp(id) => {
                if let Some(asker) = self.askers.get_mut(&id) {
                    asker.output.extend(u16::try_from(answer.len()).unwrap_or(u16::MAX).to_be_bytes());
                    asker.output.extend_from_slice(answer);
                    self.flush(poll, id);
                }
            }
        }
    }

    /// The answer to a request, or none if it is passed on or not to be answered.
    fn consider(
        &mut self,
        poll: &mut Poll,
        leases: &mut BTreeMap<String, Leases>,
        inside: Inside<'_>,
        id: u64,
        request: &[u8],
        reply: Reply,
    ) -> Option<Vec<u8>> {
        let question = match Question::read(request) {
            Ok(question) => question,
            Err(Odd::Ignore) => return None,
            Err(Odd::Answer(code)) => return Some(message::refusal(request, code)),
        };
        let room = if matches!(reply, Reply::Tcp(_)) { usize::from(u16::MAX) } else { question.room() };
        let server = self.servers.get(&id)?;
        if matches!(question.class, 1 | 255)
            && let Some((code, mut data)) = server.know(leases, &question)
        {
            // Each question finds another one first.
            self.turn = self.turn.wrapping_add(1);
            if !data.is_empty() {
                let turn = self.turn % data.len();
                data.rotate_left(turn);
            }
            return Some(question.answer(code, &data, KEEP, room));
        }
        let servers = if server.upstream.is_empty() { self.of_host() } else { server.upstream.clone() };
        let outside = self.servers.get(&id)?.outside;
        if !outside || servers.is_empty() || self.pending.len() >= PENDING {
            return Some(question.answer(SERVFAIL, &[], KEEP, room));
        }
        let answer = question.answer(SERVFAIL, &[], KEEP, room);
        self.pass_on(poll, inside, id, reply, question, request.to_vec(), servers).is_none().then_some(answer)
    }

    /// The host's servers, as they are now.
    fn of_host(&mut self) -> Vec<IpAddr> {
        let file = "/etc/resolv.conf";
        let Ok(stat) = rustix::fs::stat(file) else { return Vec::new() };
        let version = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ino);
        if let Some((known, servers)) = &self.host
            && *known == version
        {
            return servers.clone();
        }
        let mut servers = Resolver::read(&std::fs::read_to_string(file).unwrap_or_default()).servers;
        servers.truncate(3);
        self.host = Some((version, servers.clone()));
        servers
    }

    /// Passes a question on to the first of the servers that can be asked.
    #[expect(clippy::too_many_arguments, reason = "a question with all that it needs on its way")]
    fn pass_on(
        &mut self,
        poll: &mut Poll,
        inside: Inside<'_>,
        server: u64,
        reply: Reply,
        question: Question,
        mut request: Vec<u8>,
        mut servers: Vec<IpAddr>,
    ) -> Option<()> {
        let from = self.servers.get(&server)?;
        let tcp = matches!(reply, Reply::Tcp(_));
        let sock = if tcp { SocketType::STREAM } else { SocketType::DGRAM };
        while let Some(to) = servers.first().map(|a| SocketAddr::new(*a, 53)) {
            let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = if from.upstream.is_empty() {
                rustix::net::socket_with(family, sock, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
            } else {
                inside(&from.container, family, sock)
            };
            // The port is random, and the id is another one than the asker's: an answer is hard to forge.
            let id = random();
            message::set_id(&mut request, id);
            let asked = socket.and_then(|socket| {
                match rustix::net::connect(&socket, &to) {
                    Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
                    Err(error) => return Err(error),
                }
                if !tcp {
                    rustix::net::send(&socket, &request, SendFlags::NOSIGNAL)?;
                }
                Ok(socket)
            });
            let number = poll.number();
            let flags = if tcp { EventFlags::OUT } else { EventFlags::IN };
            match asked {
                Ok(socket) if poll.watch(&socket, Owner::Upstream(number), flags).is_ok() => {
                    let stream = tcp.then(|| (Vec::new(), false));
                    let deadline = now() + PATIENCE;
                    self.pending.insert(number, Pending { server, reply, question, request, id, servers, socket, stream, deadline });
                    return Some(());
                }
                _ => drop(servers.remove(0)),
            }
        }
        None
    }

    /// A server that was asked says something.
    pub fn answered(&mut self, poll: &mut Poll, inside: Inside<'_>, id: u64) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        let mut buffer = vec![0; 65_535];
        let answer = match &mut pending.stream {
            None => match rustix::net::recv(&pending.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => Some(buffer[..length].to_vec()),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
                // Nobody listens there.
                Err(_) => None,
            },
            Some((input, sent)) => {
                if !*sent {
                    let mut framed = u16::try_from(pending.request.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
                    framed.extend_from_slice(&pending.request);
                    match rustix::net::send(&pending.socket, &framed, SendFlags::NOSIGNAL) {
                        Ok(n) if n == framed.len() => {
                            *sent = true;
                            if poll.change(&pending.socket, Owner::Upstream(id), EventFlags::IN).is_ok() {
                                return;
                            }
                            None
                        }
                        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
                        _ => None,
                    }
                } else {
                    match rustix::io::read(&pending.socket, &mut buffer[..]) {
                        Ok(0) | Err(_) => None,
                        Ok(length) => {
                            input.extend_from_slice(&buffer[..length]);
                            match frame(input) {
                                Some(answer) => Some(answer),
                                None => return,
                            }
                        }
                    }
                }
            }
        };
        match answer {
            // Somebody else's words: the right answer may still come.
            Some(answer) if !pending.question.is_answered_by(pending.id, &answer) && pending.stream.is_none() => {}
            Some(mut answer) if pending.question.is_answered_by(pending.id, &answer) => {
                let code = message::code(&answer);
                if matches!(code, SERVFAIL | REFUSED) && pending.servers.len() > 1 {
                    return self.next(poll, inside, id);
                }
                message::set_id(&mut answer, pending.question.id);
                if let Some(pending) = self.pending.remove(&id) {
                    self.reply(poll, pending.server, pending.reply, &answer);
                }
            }
            _ => self.next(poll, inside, id),
        }
    }

    /// Asks the next server; without one, says that there is no answer.
    fn next(&mut self, poll: &mut Poll, inside: Inside<'_>, id: u64) {
        let Some(mut pending) = self.pending.remove(&id) else { return };
        pending.servers.remove(0);
        let failed = pending.question.answer(SERVFAIL, &[], KEEP, message::CLASSIC);
        let (server, reply) = (pending.server, pending.reply);
        if self.pass_on(poll, inside, server, reply, pending.question, pending.request, pending.servers).is_none() {
            self.reply(poll, server, reply, &failed);
        }
    }

    /// Gives up what takes too long.
    pub fn expire(&mut self, poll: &mut Poll, inside: Inside<'_>, now: u64) {
        let late: Vec<u64> = self.pending.iter().filter(|(_, p)| p.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.next(poll, inside, id);
        }
        self.askers.retain(|_, asker| asker.last + SILENCE > now);
    }

    /// When something will have taken too long.
    pub fn deadline(&self) -> Option<u64> {
        self.pending.values().map(|p| p.deadline).chain(self.askers.values().map(|a| a.last + SILENCE)).min()
    }
}

impl Server {
    /// What the networks of the container say; none if they say nothing about that name.
    fn know(&self, leases: &mut BTreeMap<String, Leases>, question: &Question) -> Option<(u8, Vec<Data>)> {
        if let Some(address) = question.reverse() {
            if !matches!(question.kind, kind::PTR | kind::ANY) {
                return None;
            }
            let side = self.sides.iter().find(|s| s.subnets.iter().any(|c| c.contains(address)))?;
            let leases = leases.get_mut(&side.network_id)?;
            leases.refresh();
            let found = leases.all().find(|l| l.addresses().any(|a| a == address));
            // Nobody else can know more about our subnets.
            return Some(found.map_or((NXDOMAIN, Vec::new()), |l| (NOERROR, vec![Data::Name(format!("{}.{}", l.name, side.network))])));
        }
        let mut known = false;
        let mut data = Vec::new();
        for side in &self.sides {
            let Some(leases) = leases.get_mut(&side.network_id) else { continue };
            leases.refresh();
            // `NAME.NETWORK` means the same on that network.
            let network = side.network.to_ascii_lowercase();
            let bare = question.name.strip_suffix(network.as_str()).and_then(|n| n.strip_suffix('.')).unwrap_or(&question.name);
            let linked: Vec<&str> = side.links.iter().filter(|(alias, _)| alias == bare).map(|(_, name)| name.as_str()).collect();
            for lease in leases.all() {
                if lease.names.iter().any(|n| n == bare) || linked.contains(&lease.name.as_str()) {
                    known = true;
                    let wanted = |a: &IpAddr| match question.kind {
                        kind::A => a.is_ipv4(),
                        kind::AAAA => a.is_ipv6(),
                        kind::ANY => true,
                        _ => false,
                    };
                    data.extend(lease.addresses().filter(wanted).map(Data::Address));
                }
            }
            // Who shares several networks is found on the first of them, as one and not as several.
            if known {
                break;
            }
        }
        known.then_some((NOERROR, data))
    }
}

/// Takes a whole message with its length in front out of what came.
fn frame(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes([*input.first()?, *input.get(1)?]));
    let message = input.get(2..2 + length)?.to_vec();
    input.drain(..2 + length);
    Some(message)
}

fn random() -> u16 {
    use std::io::Read as _;
    let mut bytes = [0; 2];
    // Without it ids are guessable, but still answered.
    let _ = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    u16::from_ne_bytes(bytes)
}
