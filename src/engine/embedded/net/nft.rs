//! nf_tables in messages: tables, chains, sets, rules (linux/netfilter/nf_tables.h).

use crate::engine::embedded::sys::netlink::{APPEND, Attributes, CREATE, NESTED, Netlink, Refusal, Requests};

const SUBSYSTEM: u16 = 10 << 8;
const NEWTABLE: u16 = SUBSYSTEM;
const GETTABLE: u16 = SUBSYSTEM | 1;
const DELTABLE: u16 = SUBSYSTEM | 2;
const NEWCHAIN: u16 = SUBSYSTEM | 3;
/// `NFT_MSG_GETCHAIN`.
pub const GETCHAIN: u16 = SUBSYSTEM | 4;
const NEWRULE: u16 = SUBSYSTEM | 6;
/// `NFT_MSG_GETRULE`.
pub const GETRULE: u16 = SUBSYSTEM | 7;
const DELRULE: u16 = SUBSYSTEM | 8;
const NEWSET: u16 = SUBSYSTEM | 9;
const NEWSETELEM: u16 = SUBSYSTEM | 12;
/// `NFT_MSG_GETSETELEM`.
pub const GETSETELEM: u16 = SUBSYSTEM | 13;
const DELSETELEM: u16 = SUBSYSTEM | 14;

/// IPv4 and IPv6 together.
pub const INET: u8 = 1;
/// IPv4.
pub const IPV4: u8 = 2;
/// IPv6.
pub const IPV6: u8 = 10;

/// Where a chain is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A packet has come.
    Prerouting = 0,
    /// It goes through.
    Forward = 2,
    /// It begins here.
    Output = 3,
    /// It leaves.
    Postrouting = 4,
}

/// One step of a rule. Registers are numbered as the kernel does: 1 to 4 have 16 bytes, 8 to 23 lie over them with 4 each.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A property of the packet (`NFT_META_*`) into a register.
    Meta(u32, u32),
    /// Bytes of the packet: base (1 network header, 2 transport header), offset, length; into a register.
    Payload(u32, u32, u32, u32),
    /// Goes on if register 1 is this.
    Equal(&'a [u8]),
    /// Goes on if register 1 isn't this.
    Other(&'a [u8]),
    /// Goes on if register 1 has one of these bits.
    AnyBit(u32),
    /// Goes on if what begins in the register is in the set; inverted, if it isn't.
    Lookup(&'a str, u32, bool),
    /// The value that the map has for what begins in the first register, into the second; ends the rule without one.
    Map(&'a str, u32, u32),
    /// Of the connection (`NFT_CT_*`), into register 1.
    Connection(u32),
    /// What the destination is to the host (`RTN_*`), into register 1.
    DestinationKind,
    /// Bytes into register 1.
    Load(&'a [u8]),
    /// Register 1 into the packet: base, offset, length; no checksum is mended.
    Write(u32, u32, u32),
    /// Another destination: the address is in the first register, the port in the second; family.
    Destination(u8, u32, u32),
    /// The source becomes the address of the link by which it leaves.
    Masquerade,
    /// The packet passes this chain.
    Accept,
    /// The packet is gone.
    Drop,
}

/// `NFT_META_IIFNAME`.
pub const FROM_LINK: u32 = 6;
/// `NFT_META_OIFNAME`.
pub const TO_LINK: u32 = 7;
/// `NFT_META_NFPROTO`.
pub const FAMILY: u32 = 15;
/// `NFT_META_L4PROTO`.
pub const PROTOCOL: u32 = 16;

impl Step<'_> {
    fn put(&self, a: &mut Attributes) {
        let mut step = |name: &str, fill: &dyn Fn(&mut Attributes)| {
            a.nest(1 | NESTED, |a| {
                a.text(1, name).nest(2 | NESTED, |a| fill(a));
            });
        };
        let compare = |a: &mut Attributes, operation: u32, value: &[u8]| {
            a.big(1, 1).big(2, operation).nest(3 | NESTED, |a| {
                a.bytes(1, value);
            });
        };
        match *self {
            Self::Meta(key, register) => step("meta", &|a| {
                a.big(2, key).big(1, register);
            }),
            Self::Payload(base, offset, length, register) => step("payload", &|a| {
                a.big(1, register).big(2, base).big(3, offset).big(4, length);
            }),
            Self::Equal(value) => step("cmp", &|a| compare(a, 0, value)),
            Self::Other(value) => step("cmp", &|a| compare(a, 1, value)),
            Self::AnyBit(mask) => {
                step("bitwise", &|a| {
                    a.big(1, 1).big(2, 1).big(3, 4);
                    a.nest(4 | NESTED, |a| {
                        a.number(1, mask);
                    });
                    a.nest(5 | NESTED, |a| {
                        a.number(1, 0);
                    });
                });
                step("cmp", &|a| compare(a, 1, &[0; 4]));
            }
            Self::Lookup(set, register, inverted) => step("lookup", &|a| {
                a.text(1, set).big(2, register).big(5, u32::from(inverted));
            }),
            Self::Map(map, from, to) => step("lookup", &|a| {
                a.text(1, map).big(2, from).big(3, to);
            }),
            Self::Connection(key) => step("ct", &|a| {
                a.big(1, 1).big(2, key);
            }),
            Self::DestinationKind => step("fib", &|a| {
                a.big(1, 1).big(2, 3).big(3, 2);
            }),
            Self::Load(value) => step("immediate", &|a| {
                a.big(1, 1).nest(2 | NESTED, |a| {
                    a.bytes(1, value);
                });
            }),
            Self::Write(base, offset, length) => step("payload", &|a| {
                a.big(5, 1).big(2, base).big(3, offset).big(4, length).big(6, 0);
            }),
            Self::Destination(family, address, port) => step("nat", &|a| {
                a.big(1, 1).big(2, u32::from(family)).big(3, address).big(5, port);
            }),
            Self::Masquerade => step("masq", &|_| {}),
            Self::Accept => step("immediate", &|a| verdict(a, 1)),
            Self::Drop => step("immediate", &|a| verdict(a, 0)),
        }
    }
}

fn verdict(a: &mut Attributes, code: u32) {
    a.big(1, 0).nest(2 | NESTED, |a| {
        a.nest(2 | NESTED, |a| {
            a.big(1, code);
        });
    });
}

/// A set, or a map if it has values.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    /// Its name.
    pub name: &'a str,
    /// Type (for those who list it) and length of its keys.
    pub key: (u32, u32),
    /// Type and length of its values.
    pub value: Option<(u32, u32)>,
}

/// Changes of one table that happen all or not at all.
#[derive(Debug)]
pub struct Batch<'a> {
    requests: Requests,
    family: u8,
    table: &'a str,
    sets: u32,
}

impl<'a> Batch<'a> {
    /// Nothing yet.
    pub fn new(family: u8, table: &'a str) -> Self {
        let mut requests = Requests::new();
        requests.add(0x10, 0, |a| {
            a.raw(&[0, 0, 0, 10]);
        });
        Self { requests, family, table, sets: 0 }
    }

    fn add(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Attributes)) -> &mut Self {
        let (family, table) = (self.family, self.table);
        self.requests.add(kind, flags, |a| {
            fill(a.raw(&[family, 0, 0, 0]).text(1, table));
        });
        self
    }

    /// The table, made if it isn't there.
    pub fn table(&mut self) -> &mut Self {
        self.add(NEWTABLE, CREATE, |_| {})
    }

    /// The table and all in it goes.
    pub fn remove_table(&mut self) -> &mut Self {
        self.add(DELTABLE, 0, |_| {})
    }

    /// A chain that packets enter at a hook.
    pub fn chain(&mut self, name: &str, kind: &str, hook: Hook, priority: i32) -> &mut Self {
        self.add(NEWCHAIN, CREATE, |a| {
            a.text(3, name).nest(4 | NESTED, |a| {
                a.big(1, hook as u32).big(2, priority.cast_unsigned());
            });
            a.text(7, kind);
        })
    }

    /// A rule at the end of a chain.
    pub fn rule(&mut self, chain: &str, steps: &[Step<'_>]) -> &mut Self {
        self.add(NEWRULE, CREATE | APPEND, |a| {
            a.text(2, chain).nest(4 | NESTED, |a| steps.iter().for_each(|step| step.put(a)));
        })
    }

    /// A rule goes.
    pub fn remove_rule(&mut self, chain: &str, handle: u64) -> &mut Self {
        self.add(DELRULE, 0, |a| {
            a.text(2, chain).bytes(3, &handle.to_be_bytes());
        })
    }

    /// A set or a map.
    pub fn set(&mut self, set: &Set<'_>) -> &mut Self {
        self.sets += 1;
        let id = self.sets;
        self.add(NEWSET, CREATE, |a| {
            // NFT_SET_MAP
            a.text(2, set.name).big(3, if set.value.is_some() { 8 } else { 0 }).big(4, set.key.0).big(5, set.key.1);
            if let Some((kind, length)) = set.value {
                a.big(6, kind).big(7, length);
            }
            a.big(10, id);
        })
    }

    /// Elements come into a set, or go.
    pub fn elements(&mut self, set: &str, add: bool, elements: &[(Vec<u8>, Option<Vec<u8>>)]) -> &mut Self {
        // A message's lists are at most 64 KB long.
        for part in elements.chunks(500) {
            self.add(if add { NEWSETELEM } else { DELSETELEM }, if add { CREATE } else { 0 }, |a| {
                a.text(2, set).nest(3 | NESTED, |a| {
                    for (key, value) in part {
                        a.nest(1 | NESTED, |a| {
                            a.nest(1 | NESTED, |a| {
                                a.bytes(1, key);
                            });
                            if let Some(value) = value {
                                a.nest(2 | NESTED, |a| {
                                    a.bytes(1, value);
                                });
                            }
                        });
                    }
                });
            });
        }
        self
    }

    /// Does it.
    ///
    /// # Errors
    /// The first change that was refused; none was made then.
    pub fn commit(mut self, netlink: &Netlink) -> Result<(), Refusal> {
        self.requests.add(0x11, 0, |a| {
            a.raw(&[0, 0, 0, 10]);
        });
        netlink.send(self.requests)
    }
}

/// Whether there is a table of this name.
///
/// # Errors
/// The kernel's: it has no nf_tables.
pub fn has_table(netlink: &Netlink, family: u8, table: &str) -> Result<bool, Refusal> {
    let found = netlink.ask(GETTABLE, false, |a| {
        a.raw(&[family, 0, 0, 0]).text(1, table);
    });
    match found {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.is(rustix::io::Errno::NOENT) => Ok(false),
        Err(refusal) => Err(refusal),
    }
}
