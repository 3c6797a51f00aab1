//! Rules for devices as a program for the kernel (eBPF): what cgroup v2 has in place of the `devices` controller.

use super::device::Rule;
use crate::engine::embedded::sys::bpf::{Instruction, attach, load_device_filter};
use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::path::Path;

// Operations: linux/bpf_common.h and linux/bpf.h.
const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const UNLESS_EQUAL: u8 = 0x56;
const UNLESS_EQUAL_REGISTER: u8 = 0x5e;
const EXIT: u8 = 0x95;

const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// The context isn't needed any more.
const SCRATCH: u8 = CONTEXT;

fn constant(code: u8, register: u8, constant: i32) -> Instruction {
    Instruction { code, registers: register, offset: 0, constant }
}

fn registers(code: u8, to: u8, from: u8, offset: i16) -> Instruction {
    Instruction { code, registers: to | from << 4, offset, constant: 0 }
}

/// The program for rules that allow.
fn program(rules: &[Rule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx: access << 16 | kind, major, minor.
    let mut code = vec![
        registers(LOAD_WORD, KIND, CONTEXT, 0),
        constant(AND, KIND, 0xffff),
        registers(LOAD_WORD, ACCESS, CONTEXT, 0),
        constant(SHIFT_RIGHT, ACCESS, 16),
        registers(LOAD_WORD, MAJOR, CONTEXT, 4),
        registers(LOAD_WORD, MINOR, CONTEXT, 8),
    ];
    for rule in rules {
        let mut tests = Vec::new();
        match rule.kind {
            'b' => tests.push(constant(UNLESS_EQUAL, KIND, 1)),
            'c' => tests.push(constant(UNLESS_EQUAL, KIND, 2)),
            _ => {}
        }
        let allowed = i32::from(rule.access.make) | i32::from(rule.access.read) << 1 | i32::from(rule.access.write) << 2;
        if allowed != 7 {
            // Nothing may be wanted beyond what is allowed.
            tests.push(registers(MOVE_REGISTER, SCRATCH, ACCESS, 0));
            tests.push(constant(AND, SCRATCH, allowed));
            tests.push(registers(UNLESS_EQUAL_REGISTER, SCRATCH, ACCESS, 0));
        }
        for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
            tests.extend(number.map(|n| constant(UNLESS_EQUAL, register, n.cast_signed())));
        }
        // To the next rule: past the remaining tests and the two instructions of the answer.
        let all = tests.len() + 2;
        code.extend(tests.into_iter().enumerate().map(|(at, test)| match test.code {
            UNLESS_EQUAL | UNLESS_EQUAL_REGISTER => Instruction { offset: (all - at - 1) as i16, ..test },
            _ => test,
        }));
        code.extend([constant(MOVE, ANSWER, 1), constant(EXIT, 0, 0)]);
    }
    code.extend([constant(MOVE, ANSWER, 0), constant(EXIT, 0, 0)]);
    code
}

/// Lets the processes of a group (its folder in the unified hierarchy) use the devices of `rules` alone.
///
/// # Errors
/// As bpf(2).
pub fn restrict_devices(folder: &Path, rules: &[Rule]) -> io::Result<()> {
    let group = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    attach(group, load_device_filter(&program(rules))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do.
    fn run(code: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> i32 {
        let mut values = [0_u32; 16];
        let mut at = 0;
        loop {
            let i = code[at];
            at += 1;
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            match i.code {
                LOAD_WORD => values[to] = [access << 16 | kind, major, minor][i.offset as usize / 4],
                AND => values[to] &= i.constant as u32,
                SHIFT_RIGHT => values[to] >>= i.constant,
                MOVE => values[to] = i.constant as u32,
                MOVE_REGISTER => values[to] = values[from],
                UNLESS_EQUAL if values[to] != i.constant as u32 => at += i.offset as usize,
                UNLESS_EQUAL_REGISTER if values[to] != values[from] => at += i.offset as usize,
                UNLESS_EQUAL | UNLESS_EQUAL_REGISTER => {}
                EXIT => return values[0] as i32,
                code => panic!("instruction {code}"),
            }
        }
    }

    #[test]
    fn rules_decide() {
        let rules: Vec<Rule> = ["b *:* m", "c *:* m", "c 1:3 rwm", "c 136:* rw", "c 7:1 r"].map(|r| r.parse().expect("a rule")).into();
        let code = program(&rules);
        let ask = |kind, access, major, minor| run(&code, kind, access, major, minor) == 1;
        assert!(ask(1, 1, 8, 0) && ask(2, 1, 99, 9) && ask(2, 6, 1, 3) && ask(2, 7, 1, 3) && ask(2, 6, 136, 5) && ask(2, 2, 7, 1));
        assert!(!ask(1, 2, 8, 0) && !ask(2, 2, 1, 1) && !ask(1, 2, 1, 3) && !ask(2, 7, 136, 5) && !ask(2, 4, 7, 1) && !ask(2, 6, 7, 1));
        let all = program(&["a *:* rwm".parse().expect("a rule")]);
        assert_eq!(run(&all, 1, 7, 8, 0), 1);
        assert_eq!(run(&program(&[]), 2, 2, 1, 3), 0);
    }
}
