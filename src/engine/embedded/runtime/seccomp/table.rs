//! Names and numbers of system calls.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A way in which programs call the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Abi {
    /// 64-bit programs on x86-64.
    X86_64,
    /// 32-bit programs there.
    I386,
    /// 64-bit programs with 32-bit pointers there: numbers with bit 30 set.
    X32,
    /// 64-bit programs on ARM.
    Arm64,
}

impl Abi {
    /// Those of this machine.
    pub const OWN: &'static [Abi] = if cfg!(target_arch = "x86_64") { &[Abi::X86_64, Abi::I386, Abi::X32] } else { &[Abi::Arm64] };

    /// What the kernel calls it: `AUDIT_ARCH_…` of linux/audit.h.
    pub fn audit(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::I386 => 0x4000_0003,
            Abi::Arm64 => 0xc000_00b7,
        }
    }

    /// Its names in profiles: in `architectures`, and among `arches`.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Abi::X86_64 => ("SCMP_ARCH_X86_64", "amd64"),
            Abi::I386 => ("SCMP_ARCH_X86", "x86"),
            Abi::X32 => ("SCMP_ARCH_X32", "x32"),
            Abi::Arm64 => ("SCMP_ARCH_AARCH64", "arm64"),
        }
    }
}

/// Bit of the numbers of x32.
pub const X32_BIT: u32 = 0x4000_0000;

/// A system call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    numbers: [Option<u32>; 4],
    /// Who may call it by default, in the words of the table.
    pub who: &'static str,
}

impl Call {
    /// Its number, if there is one.
    pub fn number(&self, abi: Abi) -> Option<u32> {
        match abi {
            Abi::X86_64 => self.numbers[0],
            Abi::I386 => self.numbers[1],
            Abi::X32 => self.numbers[2].map(|n| n | X32_BIT),
            Abi::Arm64 => self.numbers[3],
        }
    }
}

/// All of them, by name.
pub fn calls() -> &'static BTreeMap<&'static str, Call> {
    static CALLS: OnceLock<BTreeMap<&'static str, Call>> = OnceLock::new();
    CALLS.get_or_init(|| {
        let mut calls = BTreeMap::new();
        for line in include_str!("syscalls.txt").lines().filter(|l| !l.starts_with('#')) {
            let words: Vec<&'static str> = line.split(' ').collect();
            if let [name, x86_64, i386, x32, arm64, who] = words.as_slice() {
                calls.insert(*name, Call { numbers: [x86_64, i386, x32, arm64].map(|n| n.parse().ok()), who });
            }
        }
        calls
    })
}
