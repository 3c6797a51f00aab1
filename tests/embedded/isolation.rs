//! What a container may ask of the kernel and of its files: all that it may in Docker's containers, and no more.
//!
//! The program that asks is this one: mounted into both containers, it runs [`before`] there.

use crate::stage::{Stage, finished, through};
use crate::support::{engines_required, environment, say};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Set inside; its value is the number of a process outside.
const VARIABLE: &str = "CONSORT_TEST_INSIDE";

#[used]
#[unsafe(link_section = ".init_array")]
#[expect(unsafe_code, reason = "the one way to be first in a program whose main is the harness")]
static BEFORE: extern "C" fn() = before;

#[expect(clippy::disallowed_methods, reason = "that it is inside is told by the environment, and the harness must not begin")]
extern "C" fn before() {
    let Ok(outside) = std::env::var(VARIABLE) else { return };
    let mut out = std::io::stdout().lock();
    for (what, answer) in calls().into_iter().chain(sockets()).chain(files(&outside)) {
        writeln!(out, "{what} = {answer}").expect("written");
    }
    out.flush().expect("written");
    std::process::exit(0);
}

/// What a system call answers: in a process of its own, which may be killed for it.
#[expect(unsafe_code, reason = "any system call at all is to be tried")]
fn call(number: libc::c_long, arguments: [libc::c_long; 6]) -> String {
    let [a, b, c, d, e, f] = arguments;
    let mut status = 0;
    // SAFETY: this process has one thread; the copy makes one call, whose arguments are no addresses of ours, and ends. Who
    // doesn't come back is ended by an alarm.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(1);
            let result = libc::syscall(number, a, b, c, d, e, f);
            libc::_exit(if result < 0 { *libc::__errno_location() } else { 0 });
        }
        libc::waitpid(child, &raw mut status, 0);
    }
    if libc::WIFSIGNALED(status) {
        return format!("signal {}", libc::WTERMSIG(status));
    }
    match libc::WEXITSTATUS(status) {
        0 => "fine".to_owned(),
        error => std::io::Error::from_raw_os_error(error).to_string(),
    }
}

/// Every call with arguments that make no sense, and some with those that are looked at.
fn calls() -> Vec<(String, String)> {
    let mut answers = Vec::new();
    #[cfg(target_arch = "x86_64")]
    let senseless = [libc::SYS_rt_sigreturn, libc::SYS_sync, libc::SYS_pause, libc::SYS_vfork];
    #[cfg(not(target_arch = "x86_64"))]
    let senseless = [libc::SYS_rt_sigreturn, libc::SYS_sync];
    for number in (0..=470).filter(|n| !senseless.contains(n)) {
        answers.push((format!("call {number}"), call(number, [-1; 6])));
    }
    for persona in [0, 8, 0x2_0000, 0x2_0008, 0x4_0000, 0x80_0000] {
        answers.push((format!("personality {persona:#x}"), call(libc::SYS_personality, [persona, 0, 0, 0, 0, 0])));
    }
    let namespaces = [
        ("user", libc::CLONE_NEWUSER),
        ("mnt", libc::CLONE_NEWNS),
        ("net", libc::CLONE_NEWNET),
        ("pid", libc::CLONE_NEWPID),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("cgroup", libc::CLONE_NEWCGROUP),
    ];
    for (name, flag) in namespaces {
        answers.push((format!("unshare {name}"), call(libc::SYS_unshare, [flag.into(), 0, 0, 0, 0, 0])));
        let flags = libc::c_long::from(flag | libc::SIGCHLD);
        answers.push((format!("clone {name}"), call(libc::SYS_clone, [flags, 0, 0, 0, 0, 0])));
        answers.push((format!("setns {name}"), call(libc::SYS_setns, [-1, flag.into(), 0, 0, 0, 0])));
    }
    answers.push(("ptrace me".into(), call(libc::SYS_ptrace, [0; 6])));
    answers.push(("ptrace outside".into(), call(libc::SYS_ptrace, [16, 2, 0, 0, 0, 0])));
    answers
}

fn sockets() -> Vec<(String, String)> {
    let mut answers = Vec::new();
    for family in 0..=46 {
        for (name, kind) in [("stream", libc::SOCK_STREAM), ("raw", libc::SOCK_RAW), ("dgram", libc::SOCK_DGRAM)] {
            for protocol in [0, 1, 255] {
                let arguments = [family, kind.into(), protocol, 0, 0, 0];
                answers.push((format!("socket {family} {name} {protocol}"), call(libc::SYS_socket, arguments)));
            }
        }
    }
    answers
}

/// What opening them to write says, and what is in them.
fn files(outside: &str) -> Vec<(String, String)> {
    let mut answers = Vec::new();
    let written = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/shmmax",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/proc/fs/nfsd",
        "/proc/bus/pci",
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kmsg",
        "/proc/kallsyms",
        "/proc/1/mem",
        "/proc/1/oom_score_adj",
        "/proc/self/uid_map",
        "/proc/self/setgroups",
        "/proc/self/exe",
        "/sys/kernel/uevent_helper",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/kernel/profiling",
        "/sys/firmware",
        "/sys/power/state",
        "/sys/class/net/lo/mtu",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory/release_agent",
        "/sys/fs/cgroup/memory/notify_on_release",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/devices/devices.allow",
        "/sys/fs/cgroup/pids/cgroup.procs",
        "/sys/fs/cgroup/pids/pids.max",
        "/dev/mem",
        "/dev/kmsg",
        "/dev/fuse",
        "/dev/net/tun",
        "/dev/null",
        "/dev/ptmx",
        "/dev/console",
        "/dev/tty",
        "/dev/core",
        "/dev/shm/new",
        "/dev/mqueue/new",
        "/dev/new",
    ];
    let word = |result: std::io::Result<()>| result.map_or_else(|e| e.to_string(), |()| "fine".to_owned());
    for file in written {
        // What may be made is; nothing is written.
        let make = file.ends_with("/new");
        let opened = std::fs::OpenOptions::new().write(true).create(make).open(file).map(drop);
        answers.push((format!("write {file}"), word(opened)));
    }
    for file in
        ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/kmsg", "/proc/1/environ", "/proc/1/maps", "/sys/firmware"]
    {
        let read = std::fs::File::open(file).and_then(|mut f| std::io::Read::read(&mut f, &mut [0]).map(|n| format!("{n} bytes")));
        answers.push((format!("read {file}"), read.unwrap_or_else(|e| e.to_string())));
    }
    for (name, kind) in [("disk", libc::S_IFBLK), ("mem", libc::S_IFCHR)] {
        for (major, minor) in [(8, 0), (254, 0), (259, 0), (7, 0), (1, 1), (1, 11), (10, 200), (10, 229), (1, 3)] {
            let path = std::ffi::CString::new(format!("/tmp/{name}{major}-{minor}")).expect("no zero");
            let device = rustix::fs::makedev(major, minor);
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            let made = rustix::fs::mknodat(rustix::fs::CWD, &*path, rustix::fs::FileType::from_raw_mode(kind), mode, device);
            answers.push((format!("mknod {name} {major}:{minor}"), word(made.map_err(Into::into))));
            let opened = rustix::fs::open(&*path, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).map(drop);
            answers.push((format!("open {name} {major}:{minor}"), word(opened.map_err(Into::into))));
        }
    }
    for what in ["", "mem", "root", "environ", "exe", "cwd", "fd", "ns/net"] {
        let found = std::fs::symlink_metadata(format!("/proc/{outside}/{what}")).map(drop);
        answers.push((format!("outside /{what}"), word(found)));
    }
    let listed = |folder: &str| {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names.join(" ")
    };
    for folder in ["/dev", "/sys/class/net", "/proc/sys", "/proc/sys/kernel", "/proc/self/fd"] {
        answers.push((format!("list {folder}"), listed(folder)));
    }
    for folder in ["kernel", "net/core", "net/ipv4", "net/ipv4/conf/lo", "net/ipv6/conf/lo", "fs/mqueue", "net/unix"] {
        for entry in std::fs::read_dir(format!("/proc/sys/{folder}")).into_iter().flatten().flatten() {
            let value = std::fs::read_to_string(entry.path()).unwrap_or_else(|e| e.to_string());
            answers.push((format!("sysctl {folder}/{}", entry.file_name().to_string_lossy()), value.trim().replace('\n', " ")));
        }
    }
    for name in ["Core file size", "Stack size", "Locked memory", "Priority", "Realtime"] {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        answers.extend(limits.lines().filter(|l| l.contains(name)).map(|l| (format!("limit {name}"), l.to_owned())));
    }
    answers
}

/// Values that tell the time or what else goes on on the machine.
fn changes(what: &str) -> bool {
    ["sysctl kernel/random", "sysctl kernel/ns_last_pid", "sysctl kernel/hostname", "sysctl kernel/pty/nr"].iter().any(|w| what.starts_with(w))
}

fn answers(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|l| l.split_once(" = ")).filter(|(what, _)| !changes(what)).collect()
}

/// What differs on purpose: families of sockets that are old and unkept are refused before the kernel loads them, and calls
/// that are newer than what that Docker was built with are known.
fn is_stricter(what: &str, ours: &BTreeMap<&str, &str>, theirs: &BTreeMap<&str, &str>) -> bool {
    let (ours, theirs) = (ours.get(what).copied().unwrap_or_default(), theirs.get(what).copied().unwrap_or_default());
    let number = |prefix: &str| what.strip_prefix(prefix).and_then(|n| n.split(' ').next()?.parse::<u32>().ok());
    let refused = ours.contains("not permitted");
    let is_socket = number("socket ").is_some() || number("call ").is_some_and(|n| libc::c_long::from(n) == libc::SYS_socket);
    is_socket && refused && theirs != "fine" || number("call ").is_some_and(|n| n > 456) && theirs.contains("not implemented") && ours != "fine"
}

#[test]
fn every_call_answers_as_in_dockers_containers() {
    let program = std::env::current_exe().unwrap();
    let project = format!(
        "
services:
  inside:
    image: rootfs:ROOT
    network_mode: none
    environment: {{{VARIABLE}: '{}'}}
    ulimits: {{core: 0, stack: 8388608, memlock: 65536}}
    volumes: ['/usr:/usr:ro', '{}:/probe:ro']
    command: [/probe]
",
        std::process::id(),
        program.display()
    );
    let Some((stage, _machine)) = Stage::new(&project) else { return };
    stage.good(&["up", "-d"]);
    let ours = stage.good(&["logs", "--follow", "--no-log-prefix", "inside"]).0;
    stage.good(&["down"]);
    let ours = String::from_utf8_lossy(&ours.stdout).into_owned();
    let ours = answers(&ours);
    assert!(ours.len() > 900, "{}", ours.len());
    // Whatever others do.
    for (what, answer) in [
        ("call 321", "Operation not permitted (os error 1)"),
        ("unshare user", "Operation not permitted (os error 1)"),
        ("outside /", "No such file or directory (os error 2)"),
        ("open disk 254:0", "Operation not permitted (os error 1)"),
        ("open mem 1:1", "Operation not permitted (os error 1)"),
        ("open mem 1:3", "fine"),
        ("write /proc/sys/kernel/core_pattern", "Read-only file system (os error 30)"),
        ("write /dev/null", "fine"),
        ("socket 2 raw 1", "fine"),
        ("socket 17 raw 255", "fine"),
        ("list /sys/class/net", "lo"),
    ] {
        let is = ours.get(what).copied().unwrap_or("nothing");
        assert!(is == answer || what == "call 321" && cfg!(not(target_arch = "x86_64")), "{what}: {is}");
    }
    let outside = |what: &str| what.starts_with("write /sys/") || what.starts_with("write /proc/sys/") || what.starts_with("write /proc/sysrq");
    for (what, answer) in ours.iter().filter(|(what, _)| outside(what)) {
        assert_ne!(*answer, "fine", "{what}");
    }

    let Some(host) = environment("CONSORT_TEST_DOCKER28") else {
        assert!(!engines_required(), "CONSORT_TEST_DOCKER28 says where a current Docker is");
        say("isolation: no current Docker to compare with (CONSORT_TEST_DOCKER28)");
        return;
    };
    let mut docker = Command::new("docker");
    docker.args(["-H", &host, "run", "--rm", "--network", "none", "-e", &format!("{VARIABLE}={}", std::process::id())]);
    docker.args(["--ulimit", "core=0", "--ulimit", "stack=8388608", "--ulimit", "memlock=65536"]);
    docker.args(["-v", "/usr/lib:/lib:ro", "-v", "/usr/lib64:/lib64:ro", "-v", &format!("{}:/probe:ro", program.display())]);
    docker.args(["busybox", "/probe"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let theirs = finished(docker.spawn().unwrap(), &["docker run"]);
    assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
    let theirs = String::from_utf8_lossy(&theirs.stdout).into_owned();
    let theirs = answers(&theirs);
    let differ: Vec<String> = ours
        .keys()
        .chain(theirs.keys())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .filter(|what| ours.get(*what) != theirs.get(*what) && !is_stricter(what, &ours, &theirs))
        .map(|what| format!("{what}: here {:?}, there {:?}", ours.get(what), theirs.get(what)))
        .collect();
    assert_eq!(differ, Vec::<String>::new());
}

/// What a command in a container pushes into its terminal comes out of its own, never as input of the caller's.
#[test]
fn nothing_is_typed_into_the_callers_terminal() {
    let project = "
services:
  web:
    image: rootfs:ROOT
    network_mode: none
    stop_grace_period: 0s
    command: [sleep, '300']
    volumes: ['/usr:/usr:ro']
";
    let Some((stage, _machine)) = Stage::new(project) else { return };
    stage.good(&["up", "-d"]);
    // TIOCSTI, for every descriptor and the controlling terminal; what they are.
    let script = "for f in 0 1 2; do readlink /proc/self/fd/$f; done; \
        perl -e 'for my $f (*STDIN, *STDOUT, *STDERR) { ioctl($f, 0x5412, my $c = $_) for split //, qq(x\\n) } \
        if (open my $t, q(+<), q(/dev/tty)) { print qq(tty\\n); ioctl($t, 0x5412, my $c = $_) for split //, qq(x\\n) }'; echo ended";
    for (words, inside) in [(&["exec", "-T", "web"][..], "pipe:["), (&["exec", "web"], "/dev/pts/0")] {
        let master = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let slave = std::fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut command = through(&stage.command(&[words, &["sh", "-c", script]].concat()), "setsid", &["--ctty", "--wait"]);
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave.try_clone().unwrap());
        let mut child = command.spawn().unwrap();
        drop(command);
        let mut said = String::new();
        let mut buffer = [0; 4096];
        while !said.contains("ended\r\n") {
            let length = rustix::io::read(&master, &mut buffer).unwrap();
            said.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        assert!(child.wait().unwrap().success(), "{said}");
        assert!(said.contains(inside), "{words:?}: {said}");
        assert!(!said.contains(name.to_str().unwrap()) || name.to_str() == Ok(inside), "{words:?}: {said}");
        // What the next reader of the caller's terminal, its shell, would read.
        let waiting = rustix::io::ioctl_fionread(&slave).unwrap();
        assert_eq!(waiting, 0, "{words:?}: {said}");
    }
    stage.good(&["down"]);
}
