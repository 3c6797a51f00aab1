//! Limits, privileges and namespaces of a container.

use super::{Setting, namespace};
use crate::model::{DeviceRequest, Service, ThrottleDevice, Ulimit};
use crate::world::{DeviceRequestSpec, DeviceSpec, ResourceSpec, SecuritySpec, UlimitSpec};

/// Billionths of a processor. A product of 32-bit floats, as in the reference: 0.3 is 300 million, not 300,000,011.
fn nano(cpus: f32) -> i64 {
    (cpus * 1e9) as i64
}

pub(super) fn resources(service: &Service) -> ResourceSpec {
    let blkio = service.blkio_config.clone().unwrap_or_default();
    let rates = |list: &[ThrottleDevice]| list.iter().map(|d| (d.path.clone(), d.rate.0)).collect::<Vec<_>>();
    let limits = service.deploy.as_ref().and_then(|d| d.resources.limits.as_ref());
    let reserved = service.deploy.as_ref().and_then(|d| d.resources.reservations.as_ref());
    let cdi = |d: &&crate::model::DeviceMapping| d.source == d.target && is_cdi_name(&d.source);
    let mut device_requests: Vec<DeviceRequestSpec> =
        reserved.into_iter().flat_map(|r| r.devices.iter()).map(|d| request(d, d.capabilities.clone())).collect();
    let named: Vec<String> = service.devices.iter().filter(cdi).map(|d| d.source.clone()).collect();
    if !named.is_empty() {
        device_requests.push(DeviceRequestSpec { driver: "cdi".into(), device_ids: named, ..DeviceRequestSpec::default() });
    }
    device_requests.extend(service.gpus.iter().map(|d| {
        let mut capabilities = d.capabilities.clone();
        if !capabilities.iter().any(|c| c == "gpu") {
            capabilities.push("gpu".into());
        }
        request(d, capabilities)
    }));
    let ulimit = |(name, limit): (&String, &Ulimit)| {
        let (soft, hard) = match *limit {
            Ulimit::Single(n) => (n, n),
            Ulimit::Pair { soft, hard } => (soft, hard),
        };
        UlimitSpec { name: name.clone(), soft, hard }
    };
    ResourceSpec {
        nano_cpus: limits.map(|l| l.cpus).filter(|c| *c != 0.0).map_or_else(|| nano(service.cpus), nano),
        cpuset: service.cpuset.clone(),
        cpu_shares: service.cpu_shares,
        cpu_period: service.cpu_period,
        cpu_quota: service.cpu_quota,
        cpu_rt_period: service.cpu_rt_period,
        cpu_rt_runtime: service.cpu_rt_runtime,
        cpu_count: service.cpu_count,
        cpu_percent: service.cpu_percent as i64,
        memory: limits.map(|l| l.memory.0).filter(|m| *m != 0).unwrap_or(service.mem_limit.0),
        memory_reservation: reserved.map(|r| r.memory.0).filter(|m| *m != 0).unwrap_or(service.mem_reservation.0),
        memory_swap: service.memswap_limit.0,
        memory_swappiness: Some(service.mem_swappiness.0).filter(|s| *s != 0),
        pids: limits.map(|l| l.pids).filter(|p| *p != 0).unwrap_or(service.pids_limit),
        shm_size: service.shm_size.0,
        oom_kill_disable: service.oom_kill_disable,
        oom_score_adj: service.oom_score_adj,
        ulimits: service.ulimits.iter().map(ulimit).collect(),
        blkio_weight: blkio.weight,
        blkio_weight_device: blkio.weight_device.iter().map(|d| (d.path.clone(), d.weight)).collect(),
        blkio_read_bps: rates(&blkio.device_read_bps),
        blkio_write_bps: rates(&blkio.device_write_bps),
        blkio_read_iops: rates(&blkio.device_read_iops),
        blkio_write_iops: rates(&blkio.device_write_iops),
        devices: service
            .devices
            .iter()
            .filter(|d| !cdi(d))
            .map(|d| DeviceSpec { source: d.source.clone(), target: d.target.clone(), permissions: d.permissions.clone() })
            .collect(),
        device_cgroup_rules: service.device_cgroup_rules.clone(),
        device_requests,
    }
}

fn request(device: &DeviceRequest, capabilities: Vec<String>) -> DeviceRequestSpec {
    DeviceRequestSpec {
        capabilities,
        driver: device.driver.clone(),
        count: device.count,
        device_ids: device.device_ids.clone(),
        options: device.options.clone(),
    }
}

/// `vendor.com/class=name` (Container Device Interface).
pub(in crate::plan) fn is_cdi_name(name: &str) -> bool {
    !name.starts_with('/') && name.split_once('=').is_some_and(|(kind, device)| !device.is_empty() && kind.contains('/'))
}

pub(super) fn security(setting: &Setting, service: &Service) -> SecuritySpec {
    const UNCONFINED: &str = "systempaths=unconfined";
    SecuritySpec {
        privileged: service.privileged,
        read_only: service.read_only,
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        options: service.security_opt.iter().filter(|o| *o != UNCONFINED).map(|o| security_option(setting, o)).collect(),
        unconfined_paths: service.security_opt.iter().any(|o| o == UNCONFINED),
        group_add: service.group_add.clone(),
        sysctls: service.sysctls.clone(),
        pid: namespace(setting, &service.pid),
        ipc: namespace(setting, &service.ipc),
        uts: service.uts.clone(),
        userns: service.userns_mode.clone(),
        cgroup: service.cgroup.clone(),
        cgroup_parent: service.cgroup_parent.clone(),
    }
}

/// A seccomp profile stands for its file: engines take the profile itself.
fn security_option(setting: &Setting, option: &str) -> String {
    let profile = option.strip_prefix("seccomp=").or_else(|| option.strip_prefix("seccomp:")).and_then(|path| setting.project.seccomp.get(path));
    profile.map_or_else(|| option.to_owned(), |profile| format!("seccomp={profile}"))
}
