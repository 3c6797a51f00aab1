//! Messages of the domain name system (RFC 1035, 4; RFC 6891 for OPT), as far as a name server needs them that knows
//! addresses and passes everything else on as it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a header.
pub const HEADER: usize = 12;
/// Largest UDP message without EDNS.
pub const CLASSIC: usize = 512;
/// Largest UDP message that we take: what passes every network uncut.
const PAYLOAD: u16 = 1232;

/// No error.
pub const NOERROR: u8 = 0;
/// The question can't be understood.
pub const FORMERR: u8 = 1;
/// No answer to be had.
pub const SERVFAIL: u8 = 2;
/// There is no such name.
pub const NXDOMAIN: u8 = 3;
/// Not this kind of request.
pub const NOTIMP: u8 = 4;
/// Asked somebody who doesn't want to answer.
pub const REFUSED: u8 = 5;

/// Types of records.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// EDNS.
    pub const OPT: u16 = 41;
    /// Everything.
    pub const ANY: u16 = 255;
}

/// A request with one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Identifies it among those of one asker.
    pub id: u16,
    /// Flags as they came.
    flags: u16,
    /// The name in lower case, without a dot at its end; a label's odd bytes as they are.
    pub name: String,
    /// Type.
    pub kind: u16,
    /// Class; 1 is the internet.
    pub class: u16,
    /// The question as it came.
    section: Vec<u8>,
    /// What the asker takes by UDP, if it speaks EDNS.
    payload: Option<u16>,
}

/// Why a request isn't a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// Not to be answered at all.
    Ignore,
    /// To be answered with this code.
    Answer(u8),
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The name at `at` and where it ends.
fn name(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = Vec::new();
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..64 => {
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend(bytes.get(at..at + length)?.iter().map(u8::to_ascii_lowercase));
                at += length;
            }
            // A question comes first: there is nothing before it that it could point to.
            _ => return None,
        }
        if name.len() > 255 {
            return None;
        }
    }
    Some((String::from_utf8_lossy(&name).into_owned(), at))
}

impl Question {
    /// Reads a request.
    ///
    /// # Errors
    /// What to do with one that isn't a question.
    pub fn read(bytes: &[u8]) -> Result<Self, Odd> {
        let (Some(id), Some(flags)) = (word(bytes, 0), word(bytes, 2)) else { return Err(Odd::Ignore) };
        if bytes.len() < HEADER || flags & 0x8000 != 0 {
            return Err(Odd::Ignore);
        }
        if flags >> 11 & 0xf != 0 {
            return Err(Odd::Answer(NOTIMP));
        }
        Self::single(bytes, id, flags).ok_or(Odd::Answer(FORMERR))
    }

    fn single(bytes: &[u8], id: u16, flags: u16) -> Option<Self> {
        if word(bytes, 4)? != 1 {
            return None;
        }
        let (name, end) = name(bytes, HEADER)?;
        let (kind, class) = (word(bytes, end)?, word(bytes, end + 2)?);
        let section = bytes.get(HEADER..end + 4)?.to_vec();
        // Clients send OPT as the only additional record, with the root as its name.
        let plain = word(bytes, 6)? == 0 && word(bytes, 8)? == 0 && word(bytes, 10)? > 0;
        let opt = end + 4;
        let payload = if plain && bytes.get(opt) == Some(&0) && word(bytes, opt + 1) == Some(kind::OPT) { word(bytes, opt + 3) } else { None };
        Some(Self { id, flags, name, kind, class, section, payload })
    }

    /// Bytes that an answer may have by UDP.
    pub fn room(&self) -> usize {
        self.payload.map_or(CLASSIC, |p| usize::from(p.clamp(512, 4096)))
    }

    /// An answer: for each address or name a record. What doesn't fit into `room` bytes is left out, and the asker told
    /// to ask again by TCP.
    pub fn answer(&self, code: u8, data: &[Data], seconds: u32, room: usize) -> Vec<u8> {
        // An answer, recursion available; opcode and "recursion desired" as they came.
        let mut flags = 0x8080 | self.flags & 0x7900 | u16::from(code);
        let mut message = Vec::with_capacity(HEADER + self.section.len() + data.len() * 28 + 11);
        message.extend(self.id.to_be_bytes());
        message.extend([0; 2]);
        message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.payload.is_some())]);
        message.extend(&self.section);
        let room = room - if self.payload.is_some() { 11 } else { 0 };
        let mut count = 0_u16;
        for data in data {
            let (kind, bytes) = data.encode();
            if message.len() + 12 + bytes.len() > room {
                flags |= 0x0200;
                break;
            }
            // The name: that of the question.
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1]);
            message.extend(seconds.to_be_bytes());
            message.extend(u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
            message.extend(bytes);
            count += 1;
        }
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[6..8].copy_from_slice(&count.to_be_bytes());
        if self.payload.is_some() {
            message.push(0);
            message.extend(kind::OPT.to_be_bytes());
            message.extend(PAYLOAD.to_be_bytes());
            message.extend([0; 6]);
        }
        message
    }

    /// Whether a message answers this question, asked under `id`.
    pub fn is_answered_by(&self, id: u16, message: &[u8]) -> bool {
        let same = |section: &[u8]| section.eq_ignore_ascii_case(&self.section);
        word(message, 0) == Some(id)
            && word(message, 2).is_some_and(|flags| flags & 0x8000 != 0)
            && word(message, 4) == Some(1)
            && message.get(HEADER..HEADER + self.section.len()).is_some_and(same)
    }

    /// The address whose name is asked for, `2.0.18.172.in-addr.arpa`.
    pub fn reverse(&self) -> Option<IpAddr> {
        if let Some(labels) = self.name.strip_suffix(".in-addr.arpa") {
            let mut octets: Vec<u8> = labels.split('.').map(|l| l.parse().ok()).collect::<Option<_>>()?;
            octets.reverse();
            return Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)));
        }
        let labels: Vec<&str> = self.name.strip_suffix(".ip6.arpa")?.split('.').collect();
        if labels.len() != 32 || labels.iter().any(|l| l.len() != 1) {
            return None;
        }
        let bits = labels.iter().rev().try_fold(0_u128, |bits, l| Some(bits << 4 | u128::from_str_radix(l, 16).ok()?))?;
        Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An address.
    Address(IpAddr),
    /// A name.
    Name(String),
}

impl Data {
    fn encode(&self) -> (u16, Vec<u8>) {
        match self {
            Self::Address(IpAddr::V4(a)) => (kind::A, a.octets().to_vec()),
            Self::Address(IpAddr::V6(a)) => (kind::AAAA, a.octets().to_vec()),
            Self::Name(name) => {
                let mut bytes = Vec::new();
                for label in name.split('.').filter(|l| !l.is_empty()) {
                    let label = label.as_bytes().get(..63).unwrap_or(label.as_bytes());
                    bytes.push(u8::try_from(label.len()).unwrap_or(0));
                    bytes.extend_from_slice(label);
                }
                bytes.push(0);
                (kind::PTR, bytes)
            }
        }
    }
}

/// An answer of nothing but a code, to what can't be understood.
pub fn refusal(request: &[u8], code: u8) -> Vec<u8> {
    let mut message = request.get(..HEADER).unwrap_or(&[0; HEADER]).to_vec();
    message[2] = 0x80 | message[2] & 0x79;
    message[3] = 0x80 | code;
    message[4..].fill(0);
    message
}

/// The code in an answer; that of a broken one is that the server failed.
pub fn code(message: &[u8]) -> u8 {
    message.get(3).map_or(SERVFAIL, |b| b & 0xf)
}

/// Gives a message another id.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(field) = message.get_mut(..2) {
        field.copy_from_slice(&id.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.bytes());
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        if let Some(size) = edns {
            bytes.extend([0, 0, 41]);
            bytes.extend(size.to_be_bytes());
            bytes.extend([0; 6]);
        }
        bytes
    }

    #[test]
    fn a_question_is_read_and_answered() {
        let question = Question::read(&query("Web.Example", kind::A, None)).unwrap();
        assert_eq!((question.name.as_str(), question.kind, question.class, question.room()), ("web.example", kind::A, 1, 512));
        let answer = question.answer(NOERROR, &[Data::Address("10.0.0.2".parse().unwrap())], 5, 512);
        assert_eq!(answer[..12], [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(&answer[13..16], b"Web", "the case of the question comes back");
        assert_eq!(answer[answer.len() - 16..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 2]);
        assert!(question.is_answered_by(0x1234, &answer));
        assert!(!question.is_answered_by(0x1235, &answer));
        assert!(!question.is_answered_by(0x1234, &query("web.example", kind::A, None)));
    }

    #[test]
    fn what_does_not_fit_is_cut_and_said_so() {
        let many: Vec<Data> = (0..100).map(|i| Data::Address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, i)))).collect();
        let plain = Question::read(&query("a", kind::A, None)).unwrap();
        let answer = plain.answer(NOERROR, &many, 5, plain.room());
        assert!(answer.len() <= 512 && answer[2] & 2 == 2 && answer[7] > 20);
        let edns = Question::read(&query("a", kind::A, Some(4096))).unwrap();
        let answer = edns.answer(NOERROR, &many, 5, edns.room());
        assert_eq!((answer[2] & 2, answer[7], answer[11]), (0, 100, 1));
        assert_eq!(answer[answer.len() - 11..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Question::read(&query("a", 1, Some(10))).unwrap().room(), 512);
    }

    #[test]
    fn addresses_backwards() {
        let reverse = |name: &str| Question::read(&query(name, kind::PTR, None)).unwrap().reverse();
        assert_eq!(reverse("2.0.18.172.in-addr.arpa"), Some("172.18.0.2".parse().unwrap()));
        assert_eq!(reverse("18.172.in-addr.arpa"), None);
        let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(reverse(six), Some("fd00::2".parse().unwrap()));
        assert_eq!(reverse("a.example"), None);
    }

    #[test]
    fn no_bytes_whatever_are_trusted() {
        assert_eq!(Question::read(&[]), Err(Odd::Ignore));
        let whole = query("some.name.example", kind::AAAA, Some(1232));
        for length in 0..whole.len() {
            let _ = Question::read(&whole[..length]);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
                let mut broken = whole.clone();
                broken[at] = value;
                if let Ok(question) = Question::read(&broken) {
                    question.answer(NOERROR, &[Data::Name("x.y".to_owned())], 1, 512);
                    question.reverse();
                }
                assert_eq!(refusal(&broken, FORMERR).len(), HEADER);
            }
        }
        let mut pointer = whole.clone();
        pointer[12] = 0xc0;
        assert_eq!(Question::read(&pointer), Err(Odd::Answer(FORMERR)));
        let mut response = whole.clone();
        response[2] |= 0x80;
        assert_eq!(Question::read(&response), Err(Odd::Ignore));
        let mut update = whole;
        update[2] |= 5 << 3;
        assert_eq!(Question::read(&update), Err(Odd::Answer(NOTIMP)));
    }
}
