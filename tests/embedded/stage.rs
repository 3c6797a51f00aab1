//! A project on a machine that is nearly its own, and everything of it that is on the machine.

use crate::net::{Inmate, enter_machine, tables};
use crate::support::embedded::Home;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Stage {
    pub(crate) home: Home,
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
    /// The network of this thread and of all that it starts.
    network: u64,
}

/// What is on the machine of this test's: a line each.
pub(crate) type Census = BTreeSet<String>;

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
    pub(crate) fn new(project: &str) -> Option<(Self, Inmate)> {
        let home = Home::bare("a project")?;
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
        Some((Self { home, folder, name: format!("stage-{}-{number}", std::process::id()), network }, machine))
    }

    pub(crate) fn census(&self) -> Census {
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

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.command_of(&self.name, "compose.yaml", words)
    }

    /// A command for another project, in the same folders of the engine.
    pub(crate) fn command_of(&self, project: &str, file: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_consort"));
        command.args(["--ansi", "never", "--project-name", project, "--file"]).arg(self.folder.join(file)).args(words);
        command.env_clear().envs(self.home.variables()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A command that must succeed, and how long it took.
    pub(crate) fn good(&self, words: &[&str]) -> (Output, Duration) {
        let begun = SystemTime::now();
        let child = self.command(words).spawn().unwrap();
        let output = finished(child, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("panicked"), "{words:?}: {}: {said}", output.status);
        (output, begun.elapsed().unwrap_or_default())
    }

    pub(crate) fn kill_supervisors(&self) {
        for pid in self.home.supervisors() {
            let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
        }
    }

    /// When nothing runs any more.
    pub(crate) fn census_at_rest(&self) -> Census {
        let mut wanted = self.census();
        wanted.retain(|l| !l.contains("@consort") && (!l.starts_with("link") || l == "link lo") && !l.contains("/leaving/"));
        self.settles(&wanted).unwrap_or_else(|left| panic!("after the first time: {left}"));
        wanted
    }

    /// Supervisors end by themselves, and the kernel removes links of dead networks in its own time.
    pub(crate) fn settles(&self, wanted: &Census) -> Result<(), String> {
        self.settles_so(&|now| now == wanted).map_err(|now| {
            let more: Vec<_> = now.difference(wanted).collect();
            let less: Vec<_> = wanted.difference(&now).collect();
            format!("left: {more:#?}\nmissing: {less:#?}")
        })
    }

    /// The same, as a question. What is there if it isn't so in the end.
    pub(crate) fn settles_so(&self, is_right: &dyn Fn(&Census) -> bool) -> Result<(), Census> {
        let begun = SystemTime::now();
        loop {
            let now = self.census();
            if is_right(&now) {
                return Ok(());
            }
            if begun.elapsed().unwrap_or_default() > Duration::from_secs(20) {
                return Err(now);
            }
            let waited: Vec<OwnedFd> = self.home.supervisors().into_iter().filter_map(open).collect();
            let mut waited: Vec<_> = waited.iter().map(|p| PollFd::new(p, PollFlags::IN)).collect();
            let _ = poll(&mut waited, Some(&Timespec { tv_sec: 0, tv_nsec: 5_000_000 }));
        }
    }
}

pub(crate) fn open(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()
}

/// Waits for a command's end with its output; one that doesn't end is a failure.
pub(crate) fn finished(mut child: Child, words: &[&str]) -> Output {
    fn reader(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let _ = from.map(|mut f| f.read_to_end(&mut all));
            all
        })
    }
    let readers = (reader(child.stdout.take()), reader(child.stderr.take()));
    let pidfd = open(child.id()).unwrap();
    let timeout = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).unwrap() != 0;
    if !ended {
        let _ = child.kill();
    }
    let status = child.wait().unwrap();
    let output = Output { status, stdout: readers.0.join().unwrap(), stderr: readers.1.join().unwrap() };
    assert!(ended, "{words:?} doesn't end: {output:?}");
    output
}

/// The same command below another program.
pub(crate) fn through(command: &Command, program: &str, words: &[&str]) -> Command {
    let mut outer = Command::new(program);
    outer.args(words).arg(command.get_program()).args(command.get_args());
    outer.env_clear().envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    outer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    outer
}
