//! Users and groups of an image: its `/etc/passwd` and `/etc/group`, read as plain files.

use super::error::{Told as _, refused};
use super::path::Root;
use crate::world::EngineError;
use rustix::fs::{Mode, OFlags};
use std::io::Read as _;

/// Who a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Home; `/` if nobody says.
    pub home: String,
}

/// Files that are longer are not those of users: an image must not make us eat memory.
const LONGEST: u64 = 16 << 20;

fn file(root: &Root, path: &str) -> String {
    // Not to wait: it may be a FIFO.
    let Ok(file) = root.open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) else { return String::new() };
    let file = std::fs::File::from(file);
    let mut content = Vec::new();
    if file.metadata().is_ok_and(|m| m.is_file()) {
        let _ = file.take(LONGEST).read_to_end(&mut content);
    }
    String::from_utf8_lossy(&content).into_owned()
}

/// Finds out who `text` (`user`, `user:group`, names or numbers; empty is root) and the groups of `more` are.
///
/// # Errors
/// A name that isn't there.
pub fn find(root: &Root, text: &str, more: &[String]) -> Result<User, EngineError> {
    // Most containers are root's: then only the groups need be looked up.
    of(text, more, &file(root, "/etc/passwd"), &file(root, "/etc/group"))
}

/// Changes the owner of a file: names or numbers, empty is root.
///
/// # Errors
/// A name that isn't there.
pub fn owner(root: &Root, uid: &str, gid: &str) -> Result<(u32, u32), EngineError> {
    if let (Ok(uid), Ok(gid)) = (number(uid), number(gid)) {
        return Ok((uid, gid));
    }
    let user = of(uid, &[], &file(root, "/etc/passwd"), "")?;
    let gid = match number(gid) {
        Ok(gid) => gid,
        Err(()) => group(gid, &file(root, "/etc/group"))?,
    };
    Ok((user.uid, gid))
}

/// A number; 0 for nothing.
fn number(text: &str) -> Result<u32, ()> {
    if text.is_empty() { Ok(0) } else { text.parse().ok().filter(|n| *n < u32::MAX).ok_or(()) }
}

/// Follows what moby's `user` package does: a number needs no entry, a name does; an explicit group replaces those that
/// the user is a member of.
fn of(text: &str, more: &[String], passwd: &str, groups: &str) -> Result<User, EngineError> {
    let (user, group_wanted) = text.split_once(':').unwrap_or((text, ""));
    let wanted = number(user).ok();
    let mut found = User { uid: wanted.unwrap_or(0), home: "/".into(), ..User::default() };
    let mut name = None;
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [entry, _, uid, gid, _, home, ..] = fields.as_slice() else { continue };
        let (Ok(uid), Ok(gid)) = (uid.trim().parse::<u32>(), gid.trim().parse::<u32>()) else { continue };
        if (!user.is_empty() && *entry == user) || wanted == Some(uid) {
            found = User { uid, gid, home: if home.is_empty() { "/".into() } else { (*home).to_owned() }, groups: Vec::new() };
            name = Some((*entry).to_owned());
            break;
        }
    }
    if name.is_none() && wanted.is_none() {
        return Err(refused(format!("there is no user `{user}` in the image's /etc/passwd")));
    }
    if !group_wanted.is_empty() {
        found.gid = match group_wanted.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => group(group_wanted, groups)?,
        };
    } else if let Some(name) = name {
        for line in groups.lines() {
            let mut fields = line.split(':');
            let (Some(gid), Some(members)) = (fields.nth(2).and_then(|g| g.trim().parse::<u32>().ok()), fields.next()) else { continue };
            if members.split(',').any(|m| m.trim() == name) {
                found.groups.push(gid);
            }
        }
    }
    for wanted in more {
        let gid = match wanted.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => group(wanted, groups)?,
        };
        found.groups.push(gid);
    }
    // Its own group is one of them: files that deny it to others of the group stay denied when the group is changed.
    found.groups.insert(0, found.gid);
    let mut seen = Vec::new();
    found.groups.retain(|g| {
        !seen.contains(g) && {
            seen.push(*g);
            true
        }
    });
    Ok(found)
}

fn group(name: &str, groups: &str) -> Result<u32, EngineError> {
    groups
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.trim().parse().ok())?
        })
        .ok_or_else(|| refused(format!("there is no group `{name}` in the image's /etc/group")))
}

/// Becomes it, capabilities kept for now.
///
/// # Errors
/// The kernel refuses.
pub fn become_user(user: &User) -> Result<(), EngineError> {
    use rustix::thread::{set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let groups: Vec<_> = user.groups.iter().map(|g| rustix::fs::Gid::from_raw(*g)).collect();
    let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
    let all = || {
        set_keep_capabilities(true)?;
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)
    };
    all().told(|| format!("user {}:{} can't be taken on", user.uid, user.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34:web:/srv:/bin/sh\nhomeless:x:50:50::\nnohome:x:51:51:::/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,web\nweb:x:34:\nlog:x:4:web\nbad:x:y:web\n";

    #[test]
    fn users() {
        let who = |text: &str| of(text, &[], PASSWD, GROUP).map(|u| (u.uid, u.gid, u.groups, u.home));
        assert_eq!(who(""), Ok((0, 0, vec![0, 10], "/root".into())));
        assert_eq!(who("web"), Ok((33, 34, vec![34, 10, 4], "/srv".into())));
        assert_eq!(who("33"), who("web"));
        assert_eq!(who("web:log"), Ok((33, 4, vec![4], "/srv".into())));
        assert_eq!(who("1234"), Ok((1234, 0, vec![0], "/".into())));
        assert_eq!(who("1234:777"), Ok((1234, 777, vec![777], "/".into())));
        assert_eq!(who("nohome"), Ok((51, 51, vec![51], "/".into())));
        assert!(who("nobody").is_err() && who("web:none").is_err() && who("4294967296").is_err());
    }

    #[test]
    fn more_groups() {
        let user = of("web", &["log".into(), "99".into()], PASSWD, GROUP).expect("found");
        assert_eq!(user.groups, [34, 10, 4, 99]);
        assert!(of("web", &["none".into()], PASSWD, GROUP).is_err());
        assert_eq!(of("", &[], "", "").map(|u| (u.uid, u.home)), Ok((0, "/".into())));
    }
}
