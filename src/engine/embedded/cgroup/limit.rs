//! Limits as the kernel has them: files of a group.

use super::Layout;
use crate::world::{EngineError, ErrorKind, ResourceSpec};
use std::io::ErrorKind as Io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Less than this no process can begin with (as Docker has it).
const LEAST_MEMORY: i64 = 6 << 20;

/// What is wrong with limits whatever the machine; warnings for those that no Linux has.
pub(super) fn check(r: &ResourceSpec) -> Result<Vec<String>, EngineError> {
    let refuse = |what: String| Err(EngineError::new(ErrorKind::Refused, what));
    if r.memory > 0 && r.memory < LEAST_MEMORY {
        return refuse(format!("a memory limit of {} bytes is too small: at least 6 MB", r.memory));
    }
    if r.memory_swap > 0 && r.memory == 0 {
        return refuse("a limit of memory and swap together needs a limit of memory".into());
    }
    if r.memory_swap > 0 && r.memory_swap < r.memory {
        return refuse(format!("the limit of memory and swap together ({}) is less than that of memory ({})", r.memory_swap, r.memory));
    }
    if r.memory_reservation > 0 && r.memory > 0 && r.memory_reservation > r.memory {
        return refuse(format!("the memory reservation ({}) is more than the limit ({})", r.memory_reservation, r.memory));
    }
    if r.nano_cpus > 0 && (r.cpu_period > 0 || r.cpu_quota > 0) {
        return refuse("a number of processors and a period or quota can't be asked for together".into());
    }
    let processors = std::thread::available_parallelism().map_or(i64::MAX, |n| i64::try_from(n.get()).unwrap_or(i64::MAX));
    if r.nano_cpus > 0 && r.nano_cpus > processors.saturating_mul(1_000_000_000) {
        return refuse(format!("{} processors were asked for, and there are {processors}", r.nano_cpus as f64 / 1e9));
    }
    if r.blkio_weight != 0 && !(10..=1000).contains(&r.blkio_weight) {
        return refuse(format!("the weight of block devices is {}, and must be 10 to 1000", r.blkio_weight));
    }
    let mut warnings = Vec::new();
    if r.cpu_count > 0 || r.cpu_percent > 0 {
        warnings.push("cpu_count and cpu_percent are for Windows and do nothing here".to_owned());
    }
    Ok(warnings)
}

/// Writes one limit. A file that isn't there is a limit that this kernel doesn't have: a warning.
fn set(folder: &Path, file: &str, value: &str, what: &str, warnings: &mut Vec<String>) -> Result<(), EngineError> {
    // Without O_CREAT, which the kernel would answer with "not permitted".
    let written = std::fs::OpenOptions::new().write(true).open(folder.join(file)).and_then(|mut f| {
        use std::io::Write as _;
        f.write_all(value.as_bytes())
    });
    match written {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.kind(), Io::NotFound | Io::PermissionDenied | Io::Unsupported) || error.raw_os_error() == Some(libc::ENODEV) => {
            warnings.push(format!("this machine can't limit {what}: it has no {file}"));
            Ok(())
        }
        Err(error) => Err(EngineError::new(ErrorKind::Refused, format!("the limit of {what} is refused: {value}")).because(error.to_string())),
    }
}

/// Period and quota in microseconds.
fn quota(r: &ResourceSpec) -> (i64, i64) {
    if r.nano_cpus > 0 { (100_000, r.nano_cpus / 10_000) } else { (r.cpu_period, r.cpu_quota) }
}

/// Memory and swap together, in bytes: what Docker takes when only memory is limited.
fn memory_and_swap(r: &ResourceSpec) -> i64 {
    match r.memory_swap {
        0 if r.memory > 0 => r.memory.saturating_mul(2),
        swap => swap,
    }
}

/// `MAJOR:MINOR` of a block device.
fn block_device(path: &str) -> Result<String, EngineError> {
    let info = std::fs::metadata(path).map_err(|e| crate::engine::embedded::record::failed(&format!("the device {path} can't be limited"), &e))?;
    if !info.file_type().is_block_device() {
        return Err(EngineError::new(ErrorKind::Refused, format!("{path} is not a block device")));
    }
    Ok(format!("{}:{}", rustix::fs::major(info.rdev()), rustix::fs::minor(info.rdev())))
}

/// Sets the limits of v1.
pub(super) fn v1(layout: &Layout, path: &str, r: &ResourceSpec, warnings: &mut Vec<String>) -> Result<(), EngineError> {
    let mut put = |controller: &str, file: &str, value: String, what: &str| match layout.of_controller(controller) {
        Some(root) => set(&root.join(path), file, &value, what, warnings),
        None => {
            warnings.push(format!("this machine can't limit {what}: its kernel has no `{controller}` controller"));
            Ok(())
        }
    };
    if r.memory > 0 {
        put("memory", "memory.limit_in_bytes", r.memory.to_string(), "memory")?;
    }
    // Counting of swap may be off, and twice the memory was nobody's wish.
    let swap = memory_and_swap(r);
    if swap != 0 && (r.memory_swap != 0 || layout.of_controller("memory").is_some_and(|m| m.join(path).join("memory.memsw.limit_in_bytes").exists()))
    {
        put("memory", "memory.memsw.limit_in_bytes", swap.to_string(), "memory and swap together")?;
    }
    if r.memory_reservation > 0 {
        put("memory", "memory.soft_limit_in_bytes", r.memory_reservation.to_string(), "reserved memory")?;
    }
    if let Some(swappiness) = r.memory_swappiness.filter(|s| *s >= 0) {
        put("memory", "memory.swappiness", swappiness.to_string(), "swappiness")?;
    }
    if r.oom_kill_disable {
        put("memory", "memory.oom_control", "1".into(), "killing when memory runs out")?;
    }
    if r.cpu_shares > 0 {
        put("cpu", "cpu.shares", r.cpu_shares.to_string(), "processor shares")?;
    }
    if r.cpu_rt_period > 0 {
        put("cpu", "cpu.rt_period_us", r.cpu_rt_period.to_string(), "the real-time period")?;
    }
    if r.cpu_rt_runtime > 0 {
        put("cpu", "cpu.rt_runtime_us", r.cpu_rt_runtime.to_string(), "real-time runtime")?;
    }
    let (period, quota) = quota(r);
    if period > 0 {
        put("cpu", "cpu.cfs_period_us", period.to_string(), "processor time")?;
    }
    if quota != 0 {
        put("cpu", "cpu.cfs_quota_us", quota.to_string(), "processor time")?;
    }
    if !r.cpuset.is_empty() {
        put("cpuset", "cpuset.cpus", r.cpuset.clone(), "the set of processors")?;
    }
    if r.pids > 0 {
        put("pids", "pids.max", r.pids.to_string(), "processes")?;
    }
    if r.blkio_weight > 0 {
        put("blkio", weight_file(layout.of_controller("blkio"), path, "weight"), r.blkio_weight.to_string(), "the weight of block devices")?;
    }
    for (device, weight) in &r.blkio_weight_device {
        let value = format!("{} {weight}", block_device(device)?);
        put("blkio", weight_file(layout.of_controller("blkio"), path, "weight_device"), value, &format!("the weight of {device}"))?;
    }
    for (list, file) in [
        (&r.blkio_read_bps, "blkio.throttle.read_bps_device"),
        (&r.blkio_write_bps, "blkio.throttle.write_bps_device"),
        (&r.blkio_read_iops, "blkio.throttle.read_iops_device"),
        (&r.blkio_write_iops, "blkio.throttle.write_iops_device"),
    ] {
        for (device, rate) in list {
            put("blkio", file, format!("{} {rate}", block_device(device)?), &format!("the rate of {device}"))?;
        }
    }
    Ok(())
}

/// The file of CFQ, or of BFQ where that is in its place.
fn weight_file(root: Option<&Path>, path: &str, name: &str) -> &'static str {
    let old = root.is_some_and(|r| r.join(path).join(format!("blkio.{name}")).exists());
    match (name, old) {
        ("weight", true) => "blkio.weight",
        ("weight", false) => "blkio.bfq.weight",
        (_, true) => "blkio.weight_device",
        (_, false) => "blkio.bfq.weight_device",
    }
}

/// Sets the limits of v2.
pub(super) fn v2(folder: &Path, r: &ResourceSpec, warnings: &mut Vec<String>) -> Result<(), EngineError> {
    let mut put = |file: &str, value: String, what: &str| set(folder, file, &value, what, warnings);
    if r.memory > 0 {
        put("memory.max", r.memory.to_string(), "memory")?;
    }
    match memory_and_swap(r) {
        0 => {}
        -1 => put("memory.swap.max", "max".into(), "swap")?,
        both if r.memory_swap != 0 || folder.join("memory.swap.max").exists() => put("memory.swap.max", (both - r.memory).to_string(), "swap")?,
        _ => {}
    }
    if r.memory_reservation > 0 {
        put("memory.low", r.memory_reservation.to_string(), "reserved memory")?;
    }
    if r.cpu_shares > 0 {
        put("cpu.weight", weight_of_shares(r.cpu_shares).to_string(), "processor shares")?;
    }
    let (period, quota) = quota(r);
    if period > 0 || quota > 0 {
        let quota = if quota > 0 { quota.to_string() } else { "max".into() };
        put("cpu.max", format!("{quota} {}", if period > 0 { period } else { 100_000 }), "processor time")?;
    }
    if !r.cpuset.is_empty() {
        put("cpuset.cpus", r.cpuset.clone(), "the set of processors")?;
    }
    if r.pids > 0 {
        put("pids.max", r.pids.to_string(), "processes")?;
    }
    // BFQ takes the old range, io.weight one of its own.
    if r.blkio_weight > 0 {
        if folder.join("io.bfq.weight").exists() {
            put("io.bfq.weight", r.blkio_weight.to_string(), "the weight of block devices")?;
        } else {
            put("io.weight", weight_of_blkio(r.blkio_weight).to_string(), "the weight of block devices")?;
        }
    }
    for (device, weight) in &r.blkio_weight_device {
        let number = block_device(device)?;
        if folder.join("io.bfq.weight").exists() {
            put("io.bfq.weight", format!("{number} {weight}"), &format!("the weight of {device}"))?;
        } else {
            put("io.weight", format!("{number} {}", weight_of_blkio(*weight)), &format!("the weight of {device}"))?;
        }
    }
    for (list, key) in [(&r.blkio_read_bps, "rbps"), (&r.blkio_write_bps, "wbps"), (&r.blkio_read_iops, "riops"), (&r.blkio_write_iops, "wiops")] {
        for (device, rate) in list {
            put("io.max", format!("{} {key}={rate}", block_device(device)?), &format!("the rate of {device}"))?;
        }
    }
    for (asked, what) in [
        (r.memory_swappiness.is_some_and(|s| s >= 0), "mem_swappiness"),
        (r.oom_kill_disable, "oom_kill_disable"),
        (r.cpu_rt_period > 0, "cpu_rt_period"),
        (r.cpu_rt_runtime > 0, "cpu_rt_runtime"),
    ] {
        if asked {
            warnings.push(format!("cgroup v2 has no {what}, it does nothing"));
        }
    }
    Ok(())
}

/// Shares 2 to 262144 as weight 1 to 10000.
fn weight_of_shares(shares: i64) -> i64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// 10 to 1000 as 1 to 10000.
fn weight_of_blkio(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights() {
        assert_eq!((weight_of_shares(2), weight_of_shares(1024), weight_of_shares(262_144), weight_of_shares(9_999_999)), (1, 39, 10000, 10000));
        assert_eq!((weight_of_blkio(10), weight_of_blkio(1000)), (1, 10000));
    }

    #[test]
    fn what_contradicts_itself() {
        let refused = |r: ResourceSpec| check(&r).is_err();
        assert!(refused(ResourceSpec { memory: 1000, ..ResourceSpec::default() }));
        assert!(refused(ResourceSpec { memory_swap: 1 << 30, ..ResourceSpec::default() }));
        assert!(refused(ResourceSpec { memory: 1 << 30, memory_swap: 1 << 29, ..ResourceSpec::default() }));
        assert!(refused(ResourceSpec { nano_cpus: 1, cpu_quota: 1, ..ResourceSpec::default() }));
        assert!(refused(ResourceSpec { nano_cpus: i64::MAX, ..ResourceSpec::default() }));
        assert!(refused(ResourceSpec { blkio_weight: 5, ..ResourceSpec::default() }));
        assert!(!refused(ResourceSpec { memory: 1 << 30, memory_swap: -1, nano_cpus: 1_000_000_000, ..ResourceSpec::default() }));
        assert_eq!(memory_and_swap(&ResourceSpec { memory: 7, ..ResourceSpec::default() }), 14);
        assert_eq!(quota(&ResourceSpec { nano_cpus: 1_500_000_000, ..ResourceSpec::default() }), (100_000, 150_000));
    }
}
