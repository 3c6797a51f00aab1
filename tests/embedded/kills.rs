//! Commands and supervisors that are killed at any moment of their work, and everything on the machine that could be left
//! behind: counted before and after.
//!
//! The project runs on a network of its own, where every link and every table of rules is its.

use crate::net::{enter_machine, tables};
use crate::support::{embedded::Home, environment, say};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two networks, a published port, a named and an anonymous volume, probes, a small init, a terminal, a restart policy.
const PROJECT: &str = "
x-all: &all
  image: rootfs:ROOT
  stop_grace_period: 0s
  command: [sleep, '300']
services:
  web:
    <<: *all
    init: true
    networks: [front, back]
    ports: ['80', '127.0.0.1:8080:80/udp']
    volumes: ['/usr:/usr:ro', 'data:/data']
    healthcheck: {test: [CMD, 'true'], interval: 200ms, start_interval: 20ms, start_period: 5s}
  terminal:
    <<: *all
    tty: true
    networks: [back]
    volumes: ['/usr:/usr:ro', /cache]
    depends_on: {web: {condition: service_healthy}}
  worker:
    <<: *all
    networks: [front]
    restart: always
    volumes: ['/usr:/usr:ro']
    configs: [{source: text, target: /text}]
networks: {front: {}, back: {internal: true}}
volumes: {data: {}}
configs: {text: {content: text}}
";

static NUMBER: AtomicU32 = AtomicU32::new(0);

struct Stage {
    home: Home,
    folder: PathBuf,
    name: String,
    /// The network of this thread and of all that it starts.
    network: u64,
}

/// What is on the machine of this test's: a line each.
type Census = BTreeSet<String>;

fn inode_of(link: &Path) -> Option<u64> {
    let text = std::fs::read_link(link).ok()?;
    text.to_str()?.split(['[', ']']).nth(1)?.parse().ok()
}

fn files(folder: &Path, below: &str, found: &mut Census) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        // Where a supervisor that was killed has listened: the next one takes its place, like its lock.
        if kind.is_socket() {
            continue;
        }
        let name = format!("{below}/{}", entry.file_name().to_string_lossy());
        let word = if kind.is_fifo() { "fifo" } else { "file" };
        found.insert(format!("{word} {name}"));
        if kind.is_dir() {
            files(&entry.path(), &name, found);
        }
    }
}

impl Stage {
    /// None where there is no root. Whoever calls this is in a network of its own as long as the second value lives.
    fn new(project: &str) -> Option<(Self, crate::net::Inmate)> {
        let home = Home::bare("kills")?;
        let machine = enter_machine();
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        let root = home.state().with_file_name("root");
        for folder in ["etc", "proc", "dev", "sys", "tmp", "usr"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
        let folder = root.with_file_name("project");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("compose.yaml"), project.replace("ROOT", root.to_str().unwrap())).unwrap();
        let network = inode_of(Path::new("/proc/thread-self/ns/net")).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Some((Self { home, folder, name: format!("kills-{}-{number}", std::process::id()), network }, machine))
    }

    fn census(&self) -> Census {
        let mut found = Census::new();
        let root = self.folder.parent().unwrap();
        let marked = |text: &[u8]| text.windows(root.as_os_str().len()).any(|w| w == root.as_os_str().as_encoded_bytes());
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let network = inode_of(&entry.path().join("ns/net"));
            let ours = network == Some(self.network) || marked(&read("mountinfo")) || marked(&read("cmdline"));
            if ours && pid != std::process::id() {
                let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
                found.insert(format!("process {pid} {line}, network {network:?}"));
            }
        }
        let mounts = std::fs::read("/proc/self/mountinfo").unwrap();
        found.extend(mounts.split(|b| *b == b'\n').filter(|l| marked(l)).map(|l| format!("mount {}", String::from_utf8_lossy(l))));
        let groups = Path::new("/sys/fs/cgroup");
        for folder in std::fs::read_dir(groups).unwrap().flatten().map(|e| e.path()).chain([groups.to_owned()]) {
            let ours = folder.join("consort").join(&self.name);
            for entry in std::fs::read_dir(&ours).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
                found.insert(format!("group {}", entry.path().display()));
            }
        }
        let links = Command::new("ip").args(["-o", "link"]).output().unwrap();
        let name = |line: &str| line.split(": ").nth(1).map(|n| format!("link {n}"));
        found.extend(String::from_utf8_lossy(&links.stdout).lines().filter_map(name));
        found.extend(tables().into_iter().map(|t| format!("rules {t}")));
        files(self.home.state(), "state", &mut found);
        files(self.home.run(), "run", &mut found);
        found
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_consort"));
        command.args(["--ansi", "never", "--project-name", &self.name, "--file"]).arg(self.folder.join("compose.yaml")).args(words);
        command.env_clear().envs(self.home.variables()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A command that must succeed, and how long it took.
    fn good(&self, words: &[&str]) -> (Output, Duration) {
        let begun = SystemTime::now();
        let child = self.command(words).spawn().unwrap();
        let output = finished(child, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("panicked"), "{words:?}: {}: {said}", output.status);
        (output, begun.elapsed().unwrap_or_default())
    }

    fn kill_supervisors(&self) {
        for pid in self.home.supervisors() {
            let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
        }
    }

    /// When nothing runs any more.
    fn census_at_rest(&self) -> Census {
        let mut wanted = self.census();
        wanted.retain(|l| !l.contains("@consort") && (!l.starts_with("link") || l == "link lo"));
        self.settles(&wanted).unwrap_or_else(|left| panic!("after the first time: {left}"));
        wanted
    }

    /// Supervisors end by themselves, and the kernel removes links of dead networks in its own time.
    fn settles(&self, wanted: &Census) -> Result<(), String> {
        let begun = SystemTime::now();
        loop {
            let now = self.census();
            if now == *wanted {
                return Ok(());
            }
            if begun.elapsed().unwrap_or_default() > Duration::from_secs(20) {
                let more: Vec<_> = now.difference(wanted).collect();
                let less: Vec<_> = wanted.difference(&now).collect();
                return Err(format!("left: {more:#?}\nmissing: {less:#?}"));
            }
            let waited: Vec<OwnedFd> = self.home.supervisors().into_iter().filter_map(open).collect();
            let mut waited: Vec<_> = waited.iter().map(|p| PollFd::new(p, PollFlags::IN)).collect();
            let _ = poll(&mut waited, Some(&Timespec { tv_sec: 0, tv_nsec: 5_000_000 }));
        }
    }
}

fn open(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()
}

/// Waits for a command's end with its output; one that doesn't end is a failure.
fn finished(mut child: std::process::Child, words: &[&str]) -> Output {
    let pidfd = open(child.id()).unwrap();
    let timeout = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).unwrap() == 0 {
        let _ = child.kill();
        panic!("{words:?} doesn't end: {:?}", child.wait_with_output());
    }
    child.wait_with_output().unwrap()
}

/// xorshift: the same moments for the same seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}

#[test]
fn nothing_is_left_of_fifty_kills() {
    let Some((stage, _machine)) = Stage::new(PROJECT) else { return };
    let seed = environment("CONSORT_TEST_SEED")
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |d| u64::from(d.subsec_nanos()) | 1));
    say(&format!("kills: CONSORT_TEST_SEED={seed}"));
    let mut dice = Dice(seed);

    // The first time makes what stays for the next: folders, locks. And how long each takes.
    let up = ["up", "-d", "--wait"];
    let again = ["up", "-d", "--force-recreate"];
    let down = ["down", "--volumes"];
    let restart = ["restart"];
    let exec = ["exec", "-T", "web", "true"];
    let actions: [&[&str]; 5] = [&up, &again, &restart, &exec, &down];
    let lasts: Vec<u64> = actions.iter().map(|a| u64::try_from(stage.good(a).1.as_micros()).unwrap()).collect();
    say(&format!("kills: {lasts:?}"));
    let first = stage.census_at_rest();

    let mut is_up = false;
    let (mut cut, mut failed) = (0, 0);
    for round in 0..50 {
        let action = match dice.throw(6) {
            _ if !is_up => 0,
            5 => 4,
            n => usize::try_from(n).unwrap(),
        };
        let words = actions[action];
        let moment = dice.throw(lasts[action]);
        let who = dice.throw(3);
        let what = format!(
            "seed {seed}, round {round}: {words:?}, after {moment} µs {}",
            ["the command", "the supervisor", "both"][usize::try_from(who).unwrap()]
        );
        let mut child = stage.command(words).spawn().unwrap();
        let pidfd = open(child.id()).unwrap();
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::try_from(moment).unwrap() * 1000 };
        let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).unwrap();
        cut += usize::from(ended == 0);
        if who != 1 {
            let _ = child.kill();
        }
        if who != 0 {
            stage.kill_supervisors();
        }
        let output = finished(child, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{what}: {said}");
        if who == 1 && !output.status.success() {
            failed += 1;
            assert!(said.lines().any(|l| l.contains("supervisor")), "{what}: {said}");
        }
        // The next command goes on from there.
        is_up = dice.throw(2) == 0;
        if is_up {
            stage.good(&up);
            let running = stage.good(&["ps", "--quiet", "--status", "running"]).0;
            assert_eq!(String::from_utf8_lossy(&running.stdout).lines().count(), 3, "{what}");
            stage.good(&exec);
        } else {
            stage.good(&down);
            stage.settles(&first).unwrap_or_else(|left| panic!("{what}: {left}"));
        }
    }
    stage.good(&down);
    stage.settles(&first).unwrap_or_else(|left| panic!("seed {seed}: {left}"));
    say(&format!("kills: {cut} of 50 commands were at work, {failed} of those whose supervisor was killed failed"));
    assert!(cut > 10, "too few commands were killed at work: {cut}");
}

/// It would wait for ever for what only a supervisor tells.
#[test]
fn a_command_that_waits_starts_another_supervisor() {
    let project = "
services:
  web:
    image: rootfs:ROOT
    network_mode: none
    stop_grace_period: 0s
    command: [sleep, '300']
    volumes: ['/usr:/usr:ro', 'data:/data']
    healthcheck: {test: [CMD, test, -e, /data/good], interval: 100ms, retries: 10000}
volumes: {data: {}}
";
    let Some((stage, _machine)) = Stage::new(project) else { return };
    let words = ["up", "-d", "--wait"];
    for round in ["new", "there already"] {
        let mut child = stage.command(&words).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().ends_with("Waiting")), "{round}");
        stage.kill_supervisors();
        let good = stage.home.state().join("volumes").join(format!("{}_data/_data/good", stage.name));
        std::fs::write(&good, "").unwrap();
        let ended = finished(child, &words);
        assert!(ended.status.success(), "{round}: {:?}", said.collect::<Vec<_>>());
        std::fs::remove_file(&good).unwrap();
        // Of which the next round hears from the supervisor alone.
        let _ = stage.command(&["restart"]).output().unwrap();
    }
    stage.good(&["down", "--volumes"]);
}
