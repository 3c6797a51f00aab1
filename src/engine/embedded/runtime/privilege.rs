//! Capabilities, and the other things that a process may or may not.

use super::error::{Told as _, refused, unsupported};
use crate::world::{EngineError, SecuritySpec};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Names of capabilities, each at its number: capabilities(7).
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Those that a container has by default.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
    "MKNOD",
    "AUDIT_WRITE",
    "SETFCAP",
];

/// A set of capabilities, a bit each.
pub type Set = u64;

/// The bit of a capability, `CAP_` in front or not.
pub fn bit(name: &str) -> Option<Set> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    NAMES.iter().position(|n| *n == name).map(|at| 1 << at)
}

/// Every capability that there is.
pub const ALL: Set = (1 << NAMES.len()) - 1;

/// Which capabilities a container has.
///
/// # Errors
/// A name that is none.
pub fn of(security: &SecuritySpec) -> Result<Set, EngineError> {
    if security.privileged {
        return Ok(ALL);
    }
    let set = |names: &[String]| {
        names.iter().try_fold(0, |set, name| match bit(name) {
            _ if name.eq_ignore_ascii_case("ALL") => Ok(set | ALL),
            Some(bit) => Ok(set | bit),
            None => Err(refused(format!("there is no capability `{name}`"))),
        })
    };
    let (add, drop) = (set(&security.cap_add)?, set(&security.cap_drop)?);
    let default = DEFAULT.iter().filter_map(|n| bit(n)).fold(0, |all, b| all | b);
    // `drop: [ALL]` with some added leaves these; `add: [ALL]` with some dropped leaves the others.
    Ok(if drop == ALL { if add == ALL { ALL } else { add } } else { (default | add) & !drop })
}

/// Names of a set, as everybody else writes them: `CAP_CHOWN`.
pub fn names(set: Set) -> Vec<String> {
    NAMES.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0).map(|(_, name)| format!("CAP_{name}")).collect()
}

/// Those that this process has itself: nobody can be given more.
pub fn own() -> Set {
    capabilities(None).map_or(ALL, |sets| sets.permitted.bits())
}

/// What `security_opt` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// `seccomp=`: `unconfined`, `builtin`, or the text of a profile; empty is the default.
    pub seccomp: String,
    /// `apparmor=`; empty is the default.
    pub apparmor: String,
    /// `label=`.
    pub labels: Vec<String>,
    /// `systempaths=unconfined`.
    pub unconfined_paths: bool,
}

impl Options {
    /// Of a container.
    ///
    /// # Errors
    /// An option that nobody knows.
    pub fn of(security: &SecuritySpec) -> Result<Self, EngineError> {
        let mut options = Self { unconfined_paths: security.unconfined_paths, ..Self::default() };
        for text in &security.options {
            // `:` was the separator once, and still is understood.
            let (key, value) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
            match (key, value) {
                ("no-new-privileges", "" | "true") => options.no_new_privileges = true,
                ("no-new-privileges", "false") => options.no_new_privileges = false,
                ("seccomp", value) => options.seccomp = value.to_owned(),
                ("apparmor", value) => options.apparmor = value.to_owned(),
                ("label", value) => options.labels.push(value.to_owned()),
                ("disable", "") => options.labels.push("disable".into()),
                ("systempaths", "unconfined") => options.unconfined_paths = true,
                ("writable-cgroups", "false") => {}
                ("writable-cgroups", _) => return Err(unsupported("writable-cgroups is not supported yet: use `privileged`")),
                _ => return Err(refused(format!("`{text}` is not a security option"))),
            }
        }
        Ok(options)
    }
}

/// Takes away from this process for ever what isn't in `set`; what it can do until [`settle`] stays.
///
/// # Errors
/// The kernel refuses.
pub fn bound(set: Set) -> Result<(), EngineError> {
    for bit in (0..NAMES.len()).map(|n| 1 << n).filter(|bit| set & bit == 0) {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            // One that this kernel doesn't have need not be dropped.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error).told(|| "capabilities can't be dropped".into()),
        }
    }
    Ok(())
}

/// Raises what is permitted again after the user was changed.
///
/// # Errors
/// The kernel refuses.
pub fn raise() -> Result<(), EngineError> {
    let all = CapabilitySet::from_bits_retain(own());
    set_capabilities(None, CapabilitySets { effective: all, permitted: all, inheritable: CapabilitySet::empty() })
        .told(|| "capabilities can't be kept".into())
}

/// Leaves this process nothing but `set`.
///
/// # Errors
/// The kernel refuses.
pub fn settle(set: Set) -> Result<(), EngineError> {
    let set = CapabilitySet::from_bits_retain(set & own());
    set_capabilities(None, CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() })
        .told(|| "capabilities can't be dropped".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(add: &[&str], drop: &[&str]) -> SecuritySpec {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        SecuritySpec { cap_add: list(add), cap_drop: list(drop), ..SecuritySpec::default() }
    }

    #[test]
    fn sets() {
        assert_eq!(of(&spec(&[], &[])), Ok(0xa804_25fb));
        assert_eq!(of(&spec(&["NET_ADMIN"], &["cap_mknod"])), Ok(0xa004_35fb));
        assert_eq!(of(&spec(&["CAP_KILL"], &["ALL"])), Ok(1 << 5));
        assert_eq!(of(&spec(&["all"], &["SYS_ADMIN"])), Ok(ALL & !(1 << 21)));
        assert_eq!(of(&SecuritySpec { privileged: true, ..SecuritySpec::default() }), Ok(ALL));
        assert!(of(&spec(&["FLY"], &[])).is_err());
    }

    #[test]
    fn options() {
        let of = |texts: &[&str]| Options::of(&SecuritySpec { options: texts.iter().map(|t| (*t).to_owned()).collect(), ..SecuritySpec::default() });
        let options = of(&["no-new-privileges:true", "seccomp={\"a\":\"b=c\"}", "apparmor:unconfined", "label=type:x"]).expect("known");
        assert!(options.no_new_privileges);
        assert_eq!((options.seccomp.as_str(), options.apparmor.as_str()), ("{\"a\":\"b=c\"}", "unconfined"));
        assert_eq!(options.labels, ["type:x"]);
        assert!(of(&["no-new-privileges=maybe"]).is_err() && of(&["unknown"]).is_err());
    }
}
