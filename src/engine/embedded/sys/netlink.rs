//! Netlink: requests of several kernel subsystems over one kind of socket (netlink(7)).
//!
//! The kernel handles a request within the `sendmsg` that brings it, so nothing here waits: once the requests are sent,
//! their answers lie in the socket.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::OwnedFd;

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
const ACK: u16 = 4;
/// `NLM_F_DUMP`.
const DUMP: u16 = 0x300;
/// `NLMSG_ERROR`, which an acknowledgement is too.
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
/// Bytes of a message's header.
const HEADER: usize = 16;

/// `NLM_F_CREATE`: make what isn't there.
pub const CREATE: u16 = 0x400;
/// `NLM_F_EXCL`: fail if it is there.
pub const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_APPEND`: at the end of a list.
pub const APPEND: u16 = 0x800;
/// `NLA_F_NESTED`.
pub const NESTED: u16 = 0x8000;

/// Attributes, one after the other, as they lie in a message.
#[derive(Debug, Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Raw bytes: the fixed part in front of attributes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One attribute.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Text with a zero at its end.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// A number in the machine's order.
    pub fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// A number in network order.
    pub fn big(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// An attribute made of attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        fill(self);
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self
    }
}

/// Requests that go to the kernel in one piece.
#[derive(Debug, Default)]
pub struct Requests {
    content: Attributes,
    /// Where each begins.
    starts: Vec<usize>,
}

impl Requests {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are; also the index of the next one.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// One more.
    pub fn add(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Attributes)) -> &mut Self {
        let start = self.content.0.len();
        self.starts.push(start);
        let sequence = u32::try_from(self.starts.len()).unwrap_or(u32::MAX);
        self.content.raw(&[0; 4]).raw(&kind.to_ne_bytes()).raw(&(flags | REQUEST).to_ne_bytes());
        self.content.raw(&sequence.to_ne_bytes()).raw(&[0; 4]);
        fill(&mut self.content);
        let length = u32::try_from(self.content.0.len() - start).unwrap_or(u32::MAX);
        self.content.0[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Sets flags of request `index`.
    fn flag(&mut self, index: usize, flags: u16) {
        if let Some(field) = self.starts.get(index).and_then(|at| self.content.0.get_mut(at + 6..at + 8)) {
            let old = u16::from_ne_bytes([field[0], field[1]]);
            field.copy_from_slice(&(old | flags).to_ne_bytes());
        }
    }
}

/// A request that the kernel refused.
#[derive(Debug)]
pub struct Refusal {
    /// Which one of those that were sent together.
    pub index: usize,
    /// Why.
    pub error: io::Error,
}

impl Refusal {
    /// Whether it failed with this error number.
    pub fn is(&self, errno: rustix::io::Errno) -> bool {
        self.error.raw_os_error() == Some(errno.raw_os_error())
    }
}

impl From<rustix::io::Errno> for Refusal {
    fn from(errno: rustix::io::Errno) -> Self {
        Self { index: 0, error: errno.into() }
    }
}

/// A netlink socket. It belongs to the network namespace in which it was opened, wherever its user goes later.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// Links, addresses, routes (rtnetlink(7)).
    ///
    /// # Errors
    /// As socket(2).
    pub fn route() -> io::Result<Self> {
        Self::open(None)
    }

    /// nf_tables and conntrack.
    ///
    /// # Errors
    /// As socket(2): a kernel without netfilter's netlink.
    pub fn netfilter() -> io::Result<Self> {
        Self::open(Some(rustix::net::netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Sends requests together. Returns when they are done, all of them: routing requests are done one by one, those of a
    /// netfilter batch all or none.
    ///
    /// # Errors
    /// The first one that was refused.
    pub fn send(&self, mut requests: Requests) -> Result<(), Refusal> {
        if requests.starts.is_empty() {
            return Ok(());
        }
        // The last request proper: the end of a netfilter batch (NFNL_MSG_BATCH_END) isn't acknowledged.
        let last = (0..requests.len()).rev().find(|i| {
            let at = requests.starts[*i];
            requests.content.0[at + 4..at + 6] != 0x11_u16.to_ne_bytes()
        });
        if let Some(last) = last {
            requests.flag(last, ACK);
        }
        self.transmit(&requests)?;
        let mut refusal: Option<Refusal> = None;
        let mut acknowledged = last.is_none();
        let mut buffer = vec![0_u8; 32 << 10];
        loop {
            let length = match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC) {
                Ok((length, _)) => length,
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            };
            for message in messages(&buffer[..length]) {
                if message.kind != ERROR {
                    continue;
                }
                let index = (message.sequence as usize).saturating_sub(1);
                match number(message.payload, 0).map(|n| n.cast_signed()) {
                    Some(0) => acknowledged |= Some(index) == last,
                    Some(code) if refusal.is_none() => refusal = Some(Refusal { index, error: io::Error::from_raw_os_error(-code) }),
                    _ => {}
                }
            }
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None if acknowledged => Ok(()),
            None => Err(Refusal { index: 0, error: io::Error::other("the kernel gave no answer to a netlink request") }),
        }
    }

    fn transmit(&self, requests: &Requests) -> Result<(), Refusal> {
        let bytes = &requests.content.0;
        if bytes.len() > 64 << 10 {
            // Best effort: without it the send says that the message is too long.
            let _ = rustix::net::sockopt::set_socket_send_buffer_size_force(&self.socket, bytes.len() * 2);
        }
        rustix::net::sendto(&self.socket, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }

    /// Asks for a list (`dump`) or for one thing, and gathers the payloads of what comes, with their kinds.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ask(&self, kind: u16, dump: bool, fill: impl FnOnce(&mut Attributes)) -> Result<Vec<(u16, Vec<u8>)>, Refusal> {
        let mut requests = Requests::new();
        requests.add(kind, if dump { DUMP } else { 0 }, fill);
        self.transmit(&requests)?;
        let mut found = Vec::new();
        let mut buffer = vec![0_u8; 64 << 10];
        loop {
            let length = match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC) {
                Ok((length, _)) => length,
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) if !dump => return Ok(found),
                Err(error) => return Err(error.into()),
            };
            for message in messages(&buffer[..length]) {
                match message.kind {
                    DONE => return Ok(found),
                    ERROR => match number(message.payload, 0).map(|n| n.cast_signed()) {
                        Some(0) | None => return Ok(found),
                        Some(code) => return Err(Refusal { index: 0, error: io::Error::from_raw_os_error(-code) }),
                    },
                    kind => found.push((kind, message.payload.to_vec())),
                }
            }
        }
    }
}

/// A message that came.
struct Message<'a> {
    kind: u16,
    sequence: u32,
    payload: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = number(bytes, 0)? as usize;
        let message =
            Message { kind: u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?), sequence: number(bytes, 8)?, payload: bytes.get(HEADER..length)? };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The number in the machine's order that lies at `offset`.
pub fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

/// The attributes in a payload: kind without flags, value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// Text without the zero at its end.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_come_back() {
        let mut a = Attributes::default();
        a.text(3, "eth0").nest(18, |a| {
            a.bytes(1, &[7]).big(2, 5);
        });
        assert_eq!(a.0.len() % 4, 0);
        assert_eq!(text(attribute(&a.0, 3).unwrap()), "eth0");
        let inner = attribute(&a.0, 18).unwrap();
        assert_eq!(attributes(inner).collect::<Vec<_>>(), [(1, &[7][..]), (2, &[0, 0, 0, 5][..])]);
    }

    #[test]
    fn broken_messages_end_the_walk() {
        for bytes in [&[][..], &[3, 0, 1, 0], &[200, 0, 1, 0, 0], &[0, 0, 1, 0]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
            assert_eq!(messages(bytes).count(), 0, "{bytes:?}");
        }
        let mut whole = vec![20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
        assert_eq!(messages(&whole).count(), 1);
        whole[0] = 15;
        assert_eq!(messages(&whole).count(), 0);
    }

    #[test]
    fn the_kernel_lists_loopback_and_refuses_nonsense() {
        let netlink = Netlink::route().unwrap();
        let links = netlink.ask(18, true, |a| {
            a.raw(&[0; 16]);
        });
        let names: Vec<String> = links.unwrap().iter().filter_map(|(_, p)| attribute(&p[16..], 3).map(text)).collect();
        assert!(names.contains(&"lo".to_owned()), "{names:?}");
        let mut requests = Requests::new();
        requests.add(17, 0, |a| {
            a.raw(&[0; 16]).text(3, "no-such-link-1");
        });
        assert!(netlink.send(requests).is_err());
    }
}
