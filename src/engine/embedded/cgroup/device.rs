//! Which devices the processes of a group may open: the `devices` controller of v1, a program in the kernel on v2.

use super::{Layout, refused};
use crate::engine::embedded::record::failed;
use crate::world::{EngineError, ErrorKind, ResourceSpec};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// What may be done with a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Read.
    pub read: bool,
    /// Write.
    pub write: bool,
    /// Make a node of it.
    pub make: bool,
}

/// Devices that are allowed. Everything else is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `b`, `c`, or `a` for both.
    pub kind: char,
    /// Major number; none is all.
    pub major: Option<u32>,
    /// Minor number; none is all.
    pub minor: Option<u32>,
    /// What may be done.
    pub access: Access,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        write!(f, "{} {}:{} {}", self.kind, number(self.major), number(self.minor), self.access)
    }
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        [(self.read, "r"), (self.write, "w"), (self.make, "m")].iter().filter(|(yes, _)| *yes).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

impl std::str::FromStr for Access {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.chars().any(|c| !"rwm".contains(c)) {
            return Err(format!("`{text}` is not some of the letters rwm"));
        }
        Ok(Self { read: text.contains('r'), write: text.contains('w'), make: text.contains('m') })
    }
}

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rule for devices like `c 10:200 rwm`");
        let words: Vec<&str> = text.split_whitespace().collect();
        let [kind, numbers, access] = words.as_slice() else { return Err(wrong()) };
        let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
        let number = |n: &str| if n == "*" { Ok(None) } else { n.parse().map(Some).map_err(|_| wrong()) };
        let kind = match *kind {
            "a" => 'a',
            "b" => 'b',
            "c" => 'c',
            _ => return Err(wrong()),
        };
        Ok(Self { kind, major: number(major)?, minor: number(minor)?, access: access.parse().map_err(|_| wrong())? })
    }
}

/// The rules of a container: everything for a privileged one, else nodes of all, and the devices that every container
/// has, plus those asked for.
pub(super) fn rules(resources: &ResourceSpec, privileged: bool) -> Result<Vec<Rule>, EngineError> {
    let all = Access { read: true, write: true, make: true };
    if privileged {
        return Ok(vec![Rule { kind: 'a', major: None, minor: None, access: all }]);
    }
    let node = Access { make: true, ..Access::default() };
    let mut rules = vec![Rule { kind: 'b', major: None, minor: None, access: node }, Rule { kind: 'c', major: None, minor: None, access: node }];
    // null, zero, full, random, urandom, tty, console, ptmx, the terminals of devpts, and tun, which is worth nothing without
    // CAP_NET_ADMIN: programs that have that one make the node themselves, as they may with runc.
    for (major, minor) in
        [(1, Some(3)), (1, Some(5)), (1, Some(7)), (1, Some(8)), (1, Some(9)), (5, Some(0)), (5, Some(1)), (5, Some(2)), (136, None), (10, Some(200))]
    {
        rules.push(Rule { kind: 'c', major: Some(major), minor, access: all });
    }
    for device in &resources.devices {
        let access: Access = if device.permissions.is_empty() { all } else { parse(&device.permissions)? };
        rules.extend(nodes(Path::new(&device.source)).into_iter().map(|node| Rule { access, ..node }));
    }
    for rule in &resources.device_cgroup_rules {
        rules.push(parse(rule)?);
    }
    Ok(rules)
}

fn parse<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T, EngineError> {
    text.parse().map_err(|e| EngineError::new(ErrorKind::Refused, e))
}

/// The device of a node, or those in a folder. What can't be looked at is not there; whoever makes the nodes says so.
fn nodes(path: &Path) -> Vec<Rule> {
    let Ok(info) = std::fs::metadata(path) else { return Vec::new() };
    let kind = if info.file_type().is_block_device() {
        'b'
    } else if info.file_type().is_char_device() {
        'c'
    } else if info.is_dir() {
        return std::fs::read_dir(path).into_iter().flatten().flatten().flat_map(|e| nodes(&e.path())).collect();
    } else {
        return Vec::new();
    };
    let (major, minor) = (rustix::fs::major(info.rdev()), rustix::fs::minor(info.rdev()));
    vec![Rule { kind, major: Some(major), minor: Some(minor), access: Access::default() }]
}

pub(super) fn v1(layout: &Layout, path: &str, rules: &[Rule], warnings: &mut Vec<String>) -> Result<(), EngineError> {
    let Some(folder) = layout.of_controller("devices").map(|root| root.join(path)) else {
        warnings.push("this machine can't keep containers from devices: its kernel has no `devices` controller".into());
        return Ok(());
    };
    let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).map_err(|e| refused(&folder, &e));
    if rules.first().is_some_and(|r| r.kind == 'a') {
        return write("devices.allow", "a");
    }
    write("devices.deny", "a")?;
    rules.iter().try_for_each(|rule| write("devices.allow", &rule.to_string()))
}

/// Without a filter a container could open the machine's disks: it isn't started then.
pub(super) fn v2(folder: &Path, rules: &[Rule]) -> Result<(), EngineError> {
    if rules.first().is_some_and(|r| r.kind == 'a') {
        return Ok(());
    }
    super::restrict_devices(folder, rules)
        .map_err(|e| failed("containers can't be kept from the machine's devices: the kernel takes no filter for them (bpf)", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written() {
        for text in ["c 10:200 rwm", "b *:* m", "a *:* rwm", "c 136:* rw"] {
            assert_eq!(text.parse::<Rule>().expect("a rule").to_string(), text);
        }
        for text in ["", "c 1:3", "d 1:3 rwm", "c 1 rwm", "c 1:3 x", "c -1:3 r", "c 1:3 rwm more"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }

    #[test]
    fn rules_of_a_container() {
        let mut resources = ResourceSpec::default();
        resources.devices.push(crate::world::DeviceSpec { source: "/dev/zero".into(), target: "/dev/x".into(), permissions: "r".into() });
        resources.device_cgroup_rules.push("c 7:* w".into());
        let rules: Vec<String> = rules(&resources, false).expect("rules").iter().map(Rule::to_string).collect();
        assert!(rules.starts_with(&["b *:* m".into(), "c *:* m".into()]));
        assert_eq!(rules.last().map(String::as_str), Some("c 7:* w"));
        assert!(rules.contains(&"c 1:5 r".to_owned()));
    }
}
