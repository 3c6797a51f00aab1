//! From rules to a program for the kernel (classic BPF): numbers are found by halving, neighbours that are treated alike
//! are one range. A long list of comparisons instead would cost every system call of every container.

use super::profile::{Rule, Rules, Test};
use super::table::{Abi, X32_BIT};
use crate::engine::embedded::sys::process::Instruction;
use std::collections::BTreeMap;

const LOAD: u16 = 0x20;
const LOAD_CONSTANT: u16 = 0x00;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where `struct seccomp_data` has the number, the architecture, the arguments.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const KILL_PROCESS: u32 = 0x8000_0000;

fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// What is done from some number on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Leaf {
    Always(u32),
    /// Rules with conditions, and what is done if none holds.
    Depends(Vec<Rule>, u32),
}

/// The program.
pub fn compile(all: &[Rules]) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, ARCHITECTURE)];
    let mut architectures: Vec<u32> = all.iter().map(|r| r.abi.audit()).collect();
    architectures.dedup();
    for architecture in architectures {
        // x32 is a range of numbers of x86-64.
        let mut ranges = BTreeMap::new();
        let of_it = || all.iter().filter(|r| r.abi.audit() == architecture);
        for rules in of_it() {
            ranges.append(&mut self::ranges(rules));
        }
        if of_it().any(|r| r.abi == Abi::X86_64) && !of_it().any(|r| r.abi == Abi::X32) {
            ranges.insert(X32_BIT, Leaf::Always(KILL_PROCESS));
        }
        let ranges: Vec<(u32, Leaf)> = ranges.into_iter().collect();
        let mut body = vec![plain(LOAD, NUMBER)];
        body.extend(tree(&ranges, architecture == Abi::I386.audit()));
        program.push(Instruction { code: JEQ, jt: 1, jf: 0, k: architecture });
        program.push(plain(JUMP, body.len() as u32));
        program.extend(body);
    }
    // A way to call the kernel that nobody spoke of.
    program.push(plain(RETURN, KILL_PROCESS));
    program
}

fn ranges(rules: &Rules) -> BTreeMap<u32, Leaf> {
    let mut calls: BTreeMap<u32, Leaf> = BTreeMap::new();
    for (number, rule) in &rules.rules {
        let leaf = calls.entry(*number).or_insert_with(|| Leaf::Depends(Vec::new(), rules.default));
        match leaf {
            // A rule without conditions stands above all others.
            Leaf::Always(_) => {}
            _ if rule.conditions.is_empty() => *leaf = Leaf::Always(rule.action),
            Leaf::Depends(list, _) => list.push(rule.clone()),
        }
    }
    let first = if rules.abi == Abi::X32 { X32_BIT } else { 0 };
    let mut ranges = BTreeMap::from([(first, Leaf::Always(rules.default))]);
    let mut last = Leaf::Always(rules.default);
    let mut next = first;
    for (number, leaf) in calls {
        if number > next && last != Leaf::Always(rules.default) {
            last = Leaf::Always(rules.default);
            ranges.insert(next, last.clone());
        }
        if leaf != last {
            last = leaf.clone();
            ranges.insert(number, leaf);
        }
        next = number.saturating_add(1);
    }
    ranges.insert(next, Leaf::Always(if next > first { rules.newer.unwrap_or(rules.default) } else { rules.default }));
    ranges
}

fn tree(ranges: &[(u32, Leaf)], narrow: bool) -> Vec<Instruction> {
    match ranges {
        [] => vec![plain(RETURN, KILL_PROCESS)],
        [(_, Leaf::Always(action))] => vec![plain(RETURN, *action)],
        [(start, Leaf::Depends(rules, otherwise))] => {
            // Programs with 32-bit arguments may leave anything in the upper halves of their registers.
            let narrow = narrow || start & X32_BIT != 0;
            let mut code: Vec<Instruction> = rules.iter().flat_map(|rule| conditional(rule, narrow)).collect();
            code.push(plain(RETURN, *otherwise));
            code
        }
        ranges => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let bound = high.first().map_or(0, |(start, _)| *start);
            let (low, high) = (tree(low, narrow), tree(high, narrow));
            let mut code = match u8::try_from(low.len()) {
                Ok(length) => vec![Instruction { code: JGE, jt: length, jf: 0, k: bound }],
                // Jumps on a condition reach 255 instructions far.
                Err(_) => vec![Instruction { code: JGE, jt: 0, jf: 1, k: bound }, plain(JUMP, low.len() as u32)],
            };
            code.extend(low);
            code.extend(high);
            code
        }
    }
}

/// Where a comparison leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    /// On to the next instruction.
    Next,
    /// The condition holds: past its instructions.
    Holds,
    /// It doesn't: past the rule.
    Fails,
}

/// Answers if all conditions of the rule hold, and goes on behind it if not.
fn conditional(rule: &Rule, narrow: bool) -> Vec<Instruction> {
    let mut code: Vec<(Instruction, To, To)> = Vec::new();
    let mut ends = Vec::new();
    for (argument, test) in &rule.conditions {
        let low = ARGUMENTS + 8 * u32::from(*argument);
        condition(low, narrow, *test, &mut code);
        ends.push(code.len());
    }
    code.push((plain(RETURN, rule.action), To::Next, To::Next));
    let all = code.len();
    code.into_iter()
        .enumerate()
        .map(|(at, (instruction, yes, no))| {
            let end = ends.iter().copied().find(|end| *end > at).unwrap_or(all);
            let distance = |to: To| match to {
                To::Next => 0,
                To::Holds => end - at - 1,
                To::Fails => all - at - 1,
            } as u8;
            Instruction { jt: distance(yes), jf: distance(no), ..instruction }
        })
        .collect()
}

/// Compares 64 bits, half by half (the machine is little-endian); of narrow arguments the upper half is zero.
fn condition(low: u32, narrow: bool, test: Test, code: &mut Vec<(Instruction, To, To)>) {
    let high = low + 4;
    let load = |at: u32, code: &mut Vec<(Instruction, To, To)>| {
        let instruction = if narrow && at == high { plain(LOAD_CONSTANT, 0) } else { plain(LOAD, at) };
        code.push((instruction, To::Next, To::Next));
    };
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let jump = |operation: u16, k: u32, yes: To, no: To| (plain(operation, k), yes, no);
    match test {
        Test::Eq(value) => {
            let (h, l) = halves(value);
            load(high, code);
            code.push(jump(JEQ, h, To::Next, To::Fails));
            load(low, code);
            code.push(jump(JEQ, l, To::Holds, To::Fails));
        }
        Test::Ne(value) => {
            let (h, l) = halves(value);
            load(high, code);
            code.push(jump(JEQ, h, To::Next, To::Holds));
            load(low, code);
            code.push(jump(JEQ, l, To::Fails, To::Holds));
        }
        Test::Masked(mask, value) => {
            let ((mh, ml), (vh, vl)) = (halves(mask), halves(value));
            load(high, code);
            code.push((plain(AND, mh), To::Next, To::Next));
            code.push(jump(JEQ, vh, To::Next, To::Fails));
            load(low, code);
            code.push((plain(AND, ml), To::Next, To::Next));
            code.push(jump(JEQ, vl, To::Holds, To::Fails));
        }
        Test::Among(ranges) => {
            load(high, code);
            code.push(jump(JEQ, 0, To::Next, To::Fails));
            load(low, code);
            for (at, (first, last)) in ranges.iter().enumerate() {
                code.push(jump(JGE, *first, To::Next, To::Fails));
                code.push(jump(JGT, *last, if at + 1 == ranges.len() { To::Fails } else { To::Next }, To::Holds));
            }
        }
        Test::Ge(value) | Test::Gt(value) | Test::Lt(value) | Test::Le(value) => {
            let (h, l) = halves(value);
            // Less is not (more or it); less or it is not more.
            let (above, below) = if matches!(test, Test::Ge(_) | Test::Gt(_)) { (To::Holds, To::Fails) } else { (To::Fails, To::Holds) };
            let last = if matches!(test, Test::Ge(_) | Test::Lt(_)) { JGE } else { JGT };
            load(high, code);
            code.push(jump(JGT, h, above, To::Next));
            code.push(jump(JEQ, h, To::Next, below));
            load(low, code);
            code.push(jump(last, l, above, below));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::{default, read};
    use super::super::table::calls;
    use super::*;
    use crate::engine::embedded::runtime::privilege;
    use proptest::prelude::*;

    /// What the kernel would do.
    fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let (mut at, mut value) = (0_usize, 0_u32);
        loop {
            let i = program[at];
            at += 1;
            let branch = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
            match i.code {
                LOAD => {
                    value = match i.k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        k => {
                            let argument = arguments[((k - ARGUMENTS) / 8) as usize];
                            if k % 8 == 4 { (argument >> 32) as u32 } else { argument as u32 }
                        }
                    }
                }
                LOAD_CONSTANT => value = i.k,
                AND => value &= i.k,
                JUMP => at += i.k as usize,
                JEQ => at += branch(value == i.k),
                JGT => at += branch(value > i.k),
                JGE => at += branch(value >= i.k),
                RETURN => return i.k,
                code => panic!("instruction {code}"),
            }
        }
    }

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;
    const ENOSYS: u32 = 0x0005_0026;

    fn standard() -> privilege::Set {
        privilege::of(&crate::world::SecuritySpec::default()).expect("the default")
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_default() {
        let program = compile(&default(standard()));
        assert!(program.len() < 1200, "{}", program.len());
        let ask = |abi: Abi, name: &str, arguments: [u64; 6]| run(&program, abi.audit(), calls()[name].number(abi).expect("there"), arguments);
        let none = [0; 6];
        for abi in [Abi::X86_64, Abi::I386, Abi::X32] {
            assert_eq!(ask(abi, "read", none), ALLOW);
            assert_eq!(ask(abi, "mount", none), EPERM);
            assert_eq!(ask(abi, "keyctl", none), EPERM);
            assert_eq!(ask(abi, "io_uring_setup", none), EPERM);
            assert_eq!(ask(abi, "clone3", none), ENOSYS);
            assert_eq!(ask(abi, "clone", [0x11, 0, 0, 0, 0, 0]), ALLOW);
            assert_eq!(ask(abi, "clone", [0x1000_0011, 0, 0, 0, 0, 0]), EPERM);
            assert_eq!(ask(abi, "socket", [2, 0, 0, 0, 0, 0]), ALLOW);
            assert_eq!(ask(abi, "socket", [40, 0, 0, 0, 0, 0]), EPERM);
            assert_eq!(ask(abi, "socket", [38, 0, 0, 0, 0, 0]), EPERM);
            // Where arguments have 32 bits, the kernel doesn't look at the others either.
            assert_eq!(ask(abi, "socket", [2 | 1 << 32, 0, 0, 0, 0, 0]), if abi == Abi::X86_64 { EPERM } else { ALLOW });
            assert_eq!(ask(abi, "socket", [40 | 1 << 32, 0, 0, 0, 0, 0]), EPERM);
            assert_eq!(ask(abi, "clone", [0x1000_0011 | 1 << 32, 0, 0, 0, 0, 0]), EPERM);
            assert_eq!(ask(abi, "personality", [0xffff_ffff, 0, 0, 0, 0, 0]), ALLOW);
            assert_eq!(ask(abi, "personality", [0x40_0000, 0, 0, 0, 0, 0]), EPERM);
        }
        assert_eq!(ask(Abi::X86_64, "arch_prctl", none), ALLOW);
        assert_eq!(ask(Abi::I386, "arch_prctl", none), ALLOW);
        assert_eq!(run(&program, Abi::X86_64.audit(), 600, none), ENOSYS);
        assert_eq!(run(&program, Abi::X86_64.audit(), X32_BIT + 9999, none), ENOSYS);
        assert_eq!(run(&program, Abi::Arm64.audit(), 0, none), KILL_PROCESS);
        let program = compile(&default(privilege::ALL));
        assert_eq!(run(&program, Abi::X86_64.audit(), 165, none), ALLOW);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_profile_of_the_user() {
        let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["chmod", "fchmod", "unheard_of"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
            {"name": "kill", "action": "SCMP_ACT_KILL_PROCESS", "args": [{"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}]},
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["read"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "99.0"}}]}"#;
        let program = compile(&read(text, standard()).expect("a profile"));
        let ask = |number, second| run(&program, Abi::X86_64.audit(), number, [0, second, 0, 0, 0, 0]);
        assert_eq!((ask(90, 0), ask(91, 0), ask(0, 0), ask(9999, 0), ask(165, 0)), (0x0005_0005, 0x0005_0005, ALLOW, ALLOW, EPERM));
        assert_eq!((ask(62, 9), ask(62, 15)), (KILL_PROCESS, ALLOW));
        assert_eq!(run(&program, Abi::I386.audit(), 3, [0; 6]), KILL_PROCESS);
        for wrong in ["", "{}", r#"{"defaultAction":"SCMP_ACT_X"}"#, r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#] {
            assert!(read(wrong, 0).is_err(), "{wrong}");
        }
    }

    fn test() -> impl Strategy<Value = Test> {
        let value = prop_oneof![0_u64..4, any::<u64>(), (0_u64..4).prop_map(|v| v << 32), (0_u64..4).prop_map(|v| v << 32 | 2)];
        (0..8, value.clone(), value).prop_map(|(kind, a, b)| match kind {
            0 => Test::Ne(a),
            1 => Test::Lt(a),
            2 => Test::Le(a),
            3 => Test::Eq(a),
            4 => Test::Ge(a),
            5 => Test::Gt(a),
            6 => Test::Masked(a, b & a),
            _ => Test::Among(&[(0, 1), (3, 5)]),
        })
    }

    proptest! {
        /// The program does what the rules say, for any rules.
        #[test]
        fn programs_are_their_rules(
            rules in prop::collection::vec((0_u32..40, prop::collection::vec((0_u8..6, test()), 0..3), 0_u32..3), 0..60),
            number in 0_u32..45,
            narrow in any::<bool>(),
            arguments in prop::array::uniform6(prop_oneof![0_u64..4, any::<u64>(), (0_u64..4).prop_map(|v| v << 32 | 2)]),
        ) {
            let rules: Vec<(u32, Rule)> = rules.into_iter().map(|(n, conditions, action)| (n, Rule { conditions, action: 100 + action })).collect();
            let abi = if narrow { Abi::I386 } else { Abi::Arm64 };
            let all = Rules { abi, rules: rules.clone(), default: 1, newer: Some(2) };
            let holds = |rule: &Rule| rule.conditions.iter().all(|(argument, test)| {
                let value = arguments[usize::from(*argument)] & if narrow { 0xffff_ffff } else { u64::MAX };
                match *test {
                    Test::Ne(v) => value != v,
                    Test::Lt(v) => value < v,
                    Test::Le(v) => value <= v,
                    Test::Eq(v) => value == v,
                    Test::Ge(v) => value >= v,
                    Test::Gt(v) => value > v,
                    Test::Masked(mask, v) => value & mask == v,
                    Test::Among(ranges) => ranges.iter().any(|(a, b)| (u64::from(*a)..=u64::from(*b)).contains(&value)),
                }
            });
            let mine = || rules.iter().filter(|(n, _)| *n == number).map(|(_, rule)| rule);
            let newest = rules.iter().map(|(n, _)| *n).max();
            let expected = mine().find(|r| r.conditions.is_empty()).or_else(|| mine().find(|r| holds(r))).map_or_else(
                || if newest.is_some_and(|newest| number > newest) { 2 } else { 1 },
                |rule| rule.action,
            );
            prop_assert_eq!(run(&compile(&[all]), abi.audit(), number, arguments), expected);
        }
    }
}
