//! Limits, measured from inside and outside to hold.

use crate::stage::Stage;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// Every service prints lines `name value`.
const PROJECT: &str = r#"
x-all: &all
  image: rootfs:ROOT
  network_mode: none
  stop_grace_period: 0s
  volumes: ['/usr:/usr:ro']
services:
  steady:
    <<: *all
    command: [sleep, '300']
    mem_limit: 100m
  eater:
    <<: *all
    mem_limit: 100m
    memswap_limit: 100m
    command: [sh, -c, 'echo begins; tail /dev/zero > /dev/null; echo lives on; sleep 300']
    depends_on: [steady]
  killed:
    <<: *all
    mem_limit: 100m
    memswap_limit: 100m
    restart: 'no'
    command: [tail, /dev/zero]
  part:
    <<: *all
    cpus: 0.2
    command:
      - sh
      - -c
      - |
        now() { cut -d' ' -f1 /proc/uptime | tr -d .; }
        used() { cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || echo $$(($$(grep usage_usec /sys/fs/cgroup/cpu.stat | cut -d' ' -f2) * 1000)); }
        throttled() { cat /sys/fs/cgroup/cpu/cpu.stat /sys/fs/cgroup/cpu.stat 2>/dev/null | grep nr_throttled | cut -d' ' -f2; }
        from=$$(now); before=$$(used)
        for n in 1 2 3; do (while :; do :; done) & done
        while test $$(throttled) -lt 5 || test $$(($$(now) - from)) -lt 100; do :; done
        echo used $$((($$(used) - before) / 10000000)); echo time $$(($$(now) - from))
        kill 0
  one:
    <<: *all
    cpuset: '0'
    command:
      - sh
      - -c
      - |
        now() { cut -d' ' -f1 /proc/uptime | tr -d .; }
        used() { cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || echo $$(($$(grep usage_usec /sys/fs/cgroup/cpu.stat | cut -d' ' -f2) * 1000)); }
        from=$$(now); before=$$(used)
        for n in 1 2 3; do (while :; do :; done) & done
        while test $$(($$(now) - from)) -lt 100; do :; done
        echo used $$((($$(used) - before) / 10000000)); echo time $$(($$(now) - from))
        echo processors $$(nproc)
        kill 0
  small:
    <<: *all
    pids_limit: 20
    shm_size: 1m
    tmpfs: ['/memory:size=2m']
    ulimits: {nofile: 50}
    command:
      - sh
      - -c
      - |
        dd if=/dev/zero of=/dev/shm/file bs=64k 2>/dev/null; echo shared $$(stat -c %s /dev/shm/file)
        dd if=/dev/zero of=/memory/file bs=64k 2>/dev/null; echo memory $$(stat -c %s /memory/file)
        perl -e 'my @f; while (1) { open my $$f, "<", "/dev/null" or last; push @f, $$f } print "files ", scalar(@f) + 3, "\n"'
        perl -e '$$| = 1; my $$n = 0; while (1) { my $$p = fork; last unless defined $$p; if (!$$p) { sleep 60; exit } $$n++ } print "children $$n\n"; kill 9, 0'
"#;

fn numbers(text: &str) -> BTreeMap<&str, i64> {
    text.lines().filter_map(|l| l.split_once(' ')).filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect()
}

/// Waits until a command says this; then it is ended.
fn first_line(mut child: std::process::Child, wanted: &str) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|l| l.unwrap() == wanted), "never `{wanted}`");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn limits_are_kept() {
    let Some((stage, _machine)) = Stage::new(PROJECT) else { return };
    let output = |words: &[&str]| String::from_utf8(stage.good(words).0.stdout).unwrap();
    let printed = |service: &str| output(&["logs", "--follow", "--no-color", "--no-log-prefix", service]);
    stage.good(&["up", "-d"]);

    // Memory: what eats it is killed, and that is said; the others know nothing of it.
    let killed = output(&["logs", "--follow", "--no-color", "killed"]);
    assert!(killed.contains("memory ran out (limit 100.0 MiB)"), "{killed}");
    let state = output(&["ps", "--all", "--format", "{{.Service}} {{.State}} {{.ExitCode}} {{.Status}}", "killed", "steady"]);
    assert!(state.lines().any(|l| l.starts_with("killed exited 137 ") && l.ends_with("(out of memory)")), "{state}");
    assert!(state.lines().any(|l| l.starts_with("steady running ")), "{state}");
    assert_eq!(output(&["exec", "-T", "steady", "echo", "alive"]), "alive\n");

    // One of several processes is killed: what it was for fails, the container goes on.
    let eater = stage.command(&["logs", "--follow", "--no-color", "--no-log-prefix", "eater"]).spawn().unwrap();
    first_line(eater, "lives on");
    assert_eq!(output(&["ps", "--format", "{{.State}}", "eater"]), "running\n");

    // Processor time in hundredths of a second. It goes on until it was held back, however busy the machine is.
    let part = printed("part");
    let part = numbers(&part);
    assert!(part["time"] >= 100 && part["used"] * 100 <= part["time"] * 30, "{part:?}");
    let one = printed("one");
    let one = numbers(&one);
    assert!(one["processors"] == 1 && one["used"] * 100 <= one["time"] * 115, "{one:?}");

    let small = printed("small");
    let small = numbers(&small);
    let kept = ["shared", "memory", "files"].map(|name| small[name]);
    assert_eq!(kept, [1 << 20, 2 << 20, 50], "{small:?}");
    // Shell and perl are two of the twenty.
    assert_eq!(small["children"], 18, "{small:?}");
    stage.good(&["down", "--volumes"]);
}

/// The disk that holds a folder; none where it is no disk, or the kernel has no limits for it.
fn disk_of(folder: &Path) -> Option<String> {
    let device = rustix::fs::stat(folder).ok()?.st_dev;
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let name = std::fs::read_link(format!("/sys/dev/block/{number}")).ok()?;
    let path = format!("/dev/{}", name.file_name()?.to_str()?);
    let limited = Path::new("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device").exists();
    (limited && Path::new(&path).exists()).then_some(path)
}

#[test]
fn a_disk_is_not_written_faster_than_allowed() {
    let project = "
services:
  writer:
    image: rootfs:ROOT
    network_mode: none
    stop_grace_period: 0s
    volumes: ['/usr:/usr:ro']
    blkio_config: {device_write_bps: [{path: DISK, rate: 2mb}]}
    command:
      - sh
      - -c
      - |
        now() { cut -d' ' -f1 /proc/uptime | tr -d .; }
        from=$$(now); dd if=/dev/zero of=/file bs=256k count=12 oflag=direct 2>/dev/null || echo failed; echo time $$(($$(now) - from))
";
    let Some(disk) = disk_of(Path::new("/var/tmp")) else {
        crate::support::say("limits: what is below /var/tmp is no disk that can be limited; skipped");
        return;
    };
    let Some((stage, _machine)) = Stage::new(&project.replace("DISK", &disk)) else { return };
    stage.good(&["up", "-d"]);
    let printed = String::from_utf8(stage.good(&["logs", "--follow", "--no-log-prefix", "writer"]).0.stdout).unwrap();
    // Three megabytes, at two in a second.
    assert!(!printed.contains("failed") && numbers(&printed)["time"] >= 120, "{printed}");
    stage.good(&["down"]);
}
