//! Profiles: what is allowed to whom.

use super::super::error::{refused, unsupported};
use super::super::privilege::{self, Set};
use super::table::{Abi, calls};
use crate::world::EngineError;
use serde::Deserialize;
use serde_json::{Value, json};

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;

/// Comparison of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Is not the value.
    Ne(u64),
    /// Is less.
    Lt(u64),
    /// Is less, or it.
    Le(u64),
    /// Is it.
    Eq(u64),
    /// Is more, or it.
    Ge(u64),
    /// Is more.
    Gt(u64),
    /// Masked, is it: mask, value.
    Masked(u64, u64),
    /// Lies in one of these ranges, each with both ends, ascending.
    Among(&'static [(u32, u32)]),
}

/// A condition: argument (0 to 5) and comparison.
pub type Condition = (u8, Test);

/// What is done with a system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// Answer of the program, as the kernel takes it.
    pub action: u32,
}

/// A profile for one way of calling the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whose.
    pub abi: Abi,
    /// Number and rule, in the order of the profile.
    pub rules: Vec<(u32, Rule)>,
    /// For all others.
    pub default: u32,
    /// For those that are newer than every one that the profile knows: `ENOSYS`, so that programs do without them. None
    /// leaves them to the default.
    pub newer: Option<u32>,
}

/// Namespaces of clone(2) and unshare(2).
const NAMESPACES: u64 = 0x7e02_0000;

/// Families of sockets that may be had: all but those that are old and unkept in the kernel, and those that reach out of
/// the container (`AF_VSOCK`) or into the kernel's cryptography (`AF_ALG`).
const FAMILIES: [(u32, u32); 8] = [(0, 11), (13, 18), (21, 22), (24, 24), (26, 33), (35, 36), (39, 39), (41, 45)];

/// Arguments of personality(2) that change nothing of weight: Linux, with 32 bits, without randomized addresses, the
/// question.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Docker's default for a container with these capabilities.
pub fn default(capabilities: Set) -> Vec<Rules> {
    Abi::OWN
        .iter()
        .map(|abi| {
            let mut rules = Vec::new();
            for (name, call) in calls() {
                let Some(number) = call.number(*abi) else { continue };
                let mut add = |conditions, action| rules.push((number, Rule { conditions, action }));
                match call.who {
                    "none" => {}
                    "all" => add(Vec::new(), ALLOW),
                    "argument" => by_argument(name, capabilities, &mut add),
                    who if who.split('|').filter_map(privilege::bit).any(|bit| capabilities & bit != 0) => add(Vec::new(), ALLOW),
                    _ => {}
                }
            }
            Rules { abi: *abi, rules, default: ERRNO | libc::EPERM as u32, newer: Some(ERRNO | libc::ENOSYS as u32) }
        })
        .collect()
}

fn by_argument(name: &str, capabilities: Set, add: &mut impl FnMut(Vec<Condition>, u32)) {
    let admin = privilege::bit("SYS_ADMIN").is_some_and(|bit| capabilities & bit != 0);
    match name {
        "socket" => add(vec![(0, Test::Among(&FAMILIES))], ALLOW),
        "personality" => PERSONALITIES.iter().for_each(|p| add(vec![(0, Test::Eq(*p))], ALLOW)),
        "clone" | "clone3" if admin => add(Vec::new(), ALLOW),
        "clone" => add(vec![(0, Test::Masked(NAMESPACES, 0))], ALLOW),
        // Its flags lie in memory, where no filter sees them; the C library goes on with clone.
        "clone3" => add(Vec::new(), ERRNO | libc::ENOSYS as u32),
        _ => {}
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    syscalls: Option<Vec<Syscalls>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Syscalls {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Filter,
    #[serde(default)]
    excludes: Filter,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

/// Reads a profile in the format of Docker (which is that of the OCI runtime specification with conditions).
///
/// # Errors
/// Text that is none; actions that nobody knows.
pub fn read(text: &str, capabilities: Set) -> Result<Vec<Rules>, EngineError> {
    let profile: Profile = serde_json::from_str(text).map_err(|e| refused(format!("the seccomp profile can't be understood: {e}")))?;
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let main = Abi::OWN[0];
    let mut all = Vec::new();
    for abi in Abi::OWN {
        let known = |name: &str| name == abi.names().0;
        let listed = profile.architectures.as_ref().is_some_and(|list| list.iter().any(|a| known(a)));
        let mapped = profile.arch_map.as_ref().is_some_and(|maps| {
            maps.iter()
                .any(|m| m.architecture == main.names().0 && (known(&m.architecture) || m.sub_architectures.iter().flatten().any(|a| known(a))))
        });
        // Without a word the machine's own way is meant.
        if !(listed || mapped || *abi == main) {
            continue;
        }
        let mut rules = Vec::new();
        for entry in profile.syscalls.iter().flatten() {
            if !applies(&entry.includes, &entry.excludes, capabilities, main) {
                continue;
            }
            let action = action(&entry.action, entry.errno_ret)?;
            let conditions = entry.args.iter().flatten().map(condition).collect::<Result<Vec<_>, _>>()?;
            for name in entry.names.iter().flatten().chain((!entry.name.is_empty()).then_some(&entry.name)) {
                // Profiles name calls of every machine and of kernels to come.
                if let Some(number) = calls().get(name.as_str()).and_then(|c| c.number(*abi)) {
                    rules.push((number, Rule { conditions: conditions.clone(), action }));
                }
            }
        }
        let newer = (default != ALLOW && default != LOG).then_some(ERRNO | libc::ENOSYS as u32);
        all.push(Rules { abi: *abi, rules, default, newer });
    }
    Ok(all)
}

/// The same profile as another runtime takes it: OCI runtime specification, config-linux.md, seccomp. None for
/// `unconfined`. `option` is what follows `seccomp=`, as in [`super::program`].
///
/// # Errors
/// A profile that can't be understood.
pub fn oci(option: &str, capabilities: Set) -> Result<Option<Value>, EngineError> {
    match option {
        "unconfined" => Ok(None),
        "" | "builtin" | "default" => Ok(Some(default_for_others(capabilities))),
        text => {
            // What is wrong with it is told as for our own runtime.
            read(text, capabilities)?;
            let profile: Profile = serde_json::from_str(text).map_err(|e| refused(format!("the seccomp profile can't be understood: {e}")))?;
            Ok(Some(theirs(&profile, capabilities)))
        }
    }
}

fn default_for_others(capabilities: Set) -> Value {
    let mut allowed = Vec::new();
    let mut entries = Vec::new();
    for (name, call) in calls() {
        let mut by_rule = |conditions: Vec<Condition>, action: u32| {
            let mut put = |args: Vec<Value>| match action {
                ALLOW => entries.push(json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": args })),
                errno => entries.push(json!({ "names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno & 0xffff, "args": args })),
            };
            match conditions.as_slice() {
                // An argument can be compared once in a rule, so ranges are told one by one.
                [(index, Test::Among(ranges))] => ranges
                    .iter()
                    .flat_map(|(first, last)| *first..=*last)
                    .for_each(|value| put(vec![json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" })])),
                [(index, Test::Eq(value))] => put(vec![json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" })]),
                [(index, Test::Masked(mask, value))] => {
                    put(vec![json!({ "index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" })]);
                }
                _ => put(Vec::new()),
            }
        };
        match call.who {
            "none" => {}
            "all" => allowed.push(*name),
            "argument" => by_argument(name, capabilities, &mut by_rule),
            who if who.split('|').filter_map(privilege::bit).any(|bit| capabilities & bit != 0) => allowed.push(*name),
            _ => {}
        }
    }
    entries.insert(0, json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" }));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "architectures": Abi::OWN.iter().map(|abi| abi.names().0).collect::<Vec<_>>(),
        "syscalls": entries,
    })
}

/// A profile with its conditions decided.
fn theirs(profile: &Profile, capabilities: Set) -> Value {
    let main = Abi::OWN[0];
    let mut architectures: Vec<&str> = profile.architectures.iter().flatten().map(String::as_str).collect();
    for map in profile.arch_map.iter().flatten().filter(|m| m.architecture == main.names().0) {
        architectures.push(&map.architecture);
        architectures.extend(map.sub_architectures.iter().flatten().map(String::as_str));
    }
    let mut entries = Vec::new();
    for entry in profile.syscalls.iter().flatten().filter(|e| applies(&e.includes, &e.excludes, capabilities, main)) {
        let names = entry.names.iter().flatten().chain((!entry.name.is_empty()).then_some(&entry.name));
        // Runtimes stumble over calls that they don't know.
        let names: Vec<&String> = names.filter(|n| calls().contains_key(n.as_str())).collect();
        if names.is_empty() {
            continue;
        }
        let args = entry.args.iter().flatten();
        let args: Vec<Value> = args.map(|a| json!({ "index": a.index, "value": a.value, "valueTwo": a.value_two, "op": a.op })).collect();
        let mut value = json!({ "names": names, "action": entry.action, "args": args });
        if let Some(errno) = entry.errno_ret {
            value["errnoRet"] = errno.into();
        }
        entries.push(value);
    }
    let mut value = json!({ "defaultAction": profile.default_action, "syscalls": entries });
    if let Some(errno) = profile.default_errno_ret {
        value["defaultErrnoRet"] = errno.into();
    }
    if !architectures.is_empty() {
        value["architectures"] = architectures.into();
    }
    value
}

fn action(name: &str, errno: Option<u32>) -> Result<u32, EngineError> {
    let errno = errno.unwrap_or(libc::EPERM as u32) & 0xffff;
    Ok(match name {
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_ERRNO" => ERRNO | errno,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => KILL_PROCESS,
        "SCMP_ACT_TRAP" => TRAP,
        "SCMP_ACT_TRACE" => TRACE | errno,
        "SCMP_ACT_LOG" => LOG,
        "SCMP_ACT_NOTIFY" => return Err(unsupported("seccomp profiles with SCMP_ACT_NOTIFY are not supported by this engine")),
        name => return Err(refused(format!("`{name}` is no action of seccomp profiles"))),
    })
}

fn condition(argument: &Argument) -> Result<Condition, EngineError> {
    let value = argument.value;
    let test = match argument.op.as_str() {
        "SCMP_CMP_NE" => Test::Ne(value),
        "SCMP_CMP_LT" => Test::Lt(value),
        "SCMP_CMP_LE" => Test::Le(value),
        "SCMP_CMP_EQ" => Test::Eq(value),
        "SCMP_CMP_GE" => Test::Ge(value),
        "SCMP_CMP_GT" => Test::Gt(value),
        "SCMP_CMP_MASKED_EQ" => Test::Masked(value, argument.value_two),
        op => return Err(refused(format!("`{op}` is no comparison of seccomp profiles"))),
    };
    if argument.index > 5 {
        return Err(refused(format!("a system call has no argument {} (seccomp profile)", argument.index)));
    }
    Ok((argument.index, test))
}

fn applies(includes: &Filter, excludes: &Filter, capabilities: Set, main: Abi) -> bool {
    let has = |name: &String| privilege::bit(name).is_some_and(|bit| capabilities & bit != 0);
    let here = |name: &String| name == main.names().1;
    includes.caps.iter().flatten().all(has)
        && includes.arches.as_ref().is_none_or(|list| list.is_empty() || list.iter().any(here))
        && includes.min_kernel.as_ref().is_none_or(|version| kernel_is(version))
        && !excludes.caps.iter().flatten().any(has)
        && !excludes.arches.iter().flatten().any(here)
        && !excludes.min_kernel.as_ref().is_some_and(|version| kernel_is(version))
}

/// Whether the kernel is that version or a later one.
fn kernel_is(version: &str) -> bool {
    let number = |text: &str| {
        let mut parts = text.split(['.', '-', '+']).map(|p| p.parse::<u64>().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    };
    number(&rustix::system::uname().release().to_string_lossy()) >= number(version)
}
