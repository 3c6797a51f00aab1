//! Limits of processes: setrlimit(2).

use super::error::{Told as _, refused};
use crate::world::{EngineError, UlimitSpec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

/// -1 is no limit.
fn value(number: i64) -> Option<u64> {
    u64::try_from(number).ok()
}

/// A limit that this process may set: without CAP_SYS_RESOURCE none above its own.
fn within(wanted: Option<u64>, own: Option<u64>) -> Option<u64> {
    match (wanted, own) {
        (Some(wanted), Some(own)) => Some(wanted.min(own)),
        (wanted, own) => wanted.or(own),
    }
}

fn may_raise() -> bool {
    super::privilege::own() & rustix::thread::CapabilitySet::SYS_RESOURCE.bits() != 0
}

/// What is wrong with limits, and warnings for those that will be less than was asked for.
///
/// # Errors
/// A name that is none, a soft limit above the hard one.
pub fn check(limits: &[UlimitSpec]) -> Result<Vec<String>, EngineError> {
    let mut warnings = Vec::new();
    for limit in limits {
        let resource = resource(&limit.name).ok_or_else(|| refused(format!("there is no limit of processes called `{}`", limit.name)))?;
        let (soft, hard) = (value(limit.soft), value(limit.hard));
        if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
            return Err(refused(format!("the soft limit of {} ({}) is above the hard one ({})", limit.name, limit.soft, limit.hard)));
        }
        let most = getrlimit(resource).maximum;
        if !may_raise() && within(hard, most) != hard {
            let most = most.unwrap_or_default();
            warnings.push(format!("the limit of {} is {most}, not {}: raising it needs CAP_SYS_RESOURCE", limit.name, limit.hard));
        }
    }
    Ok(warnings)
}

/// As another program is told to set them, clamped as [`set`] clamps them: name, soft, hard.
pub fn given(limits: &[UlimitSpec]) -> Vec<(String, u64, u64)> {
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let one = |limit: &UlimitSpec| {
        let (soft, hard) = (value(limit.soft), value(limit.hard));
        let most = getrlimit(resource(&limit.name)?).maximum;
        let hard = if may_raise() { hard } else { within(hard, most) };
        Some((limit.name.clone(), number(within(soft, hard)), number(hard)))
    };
    limits.iter().filter_map(one).collect()
}

/// Sets them for this process.
///
/// # Errors
/// The kernel refuses.
pub fn set(limits: &[UlimitSpec]) -> Result<(), EngineError> {
    for limit in limits {
        let Some(resource) = resource(&limit.name) else { continue };
        let (soft, hard) = (value(limit.soft), value(limit.hard));
        if setrlimit(resource, Rlimit { current: soft, maximum: hard }).is_ok() {
            continue;
        }
        let most = getrlimit(resource).maximum;
        let hard = within(hard, most);
        setrlimit(resource, Rlimit { current: within(soft, hard), maximum: hard }).told(|| format!("the limit of {} can't be set", limit.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let limit = |name: &str, soft, hard| UlimitSpec { name: name.into(), soft, hard };
        assert!(check(&[limit("files", 1, 1)]).is_err());
        assert!(check(&[limit("nofile", 2, 1)]).is_err() && check(&[limit("nofile", -1, 1)]).is_err());
        assert_eq!(check(&[limit("nofile", 1, 1), limit("core", 0, 0)]), Ok(Vec::new()));
        assert_eq!((within(None, Some(5)), within(Some(9), Some(5)), within(Some(3), None)), (Some(5), Some(5), Some(3)));
    }
}
