//! Containers of the embedded engine as they look from inside, and what they can't do to the outside.
//!
//! The harness has threads, and containers are cloned by processes with one: each test runs this very program again, which
//! then does what [`before`] finds to do and ends before the harness begins.

use consort::engine::embedded::cgroup::{self, Cgroup};
use consort::engine::embedded::image::{Image, ImageConfig};
use consort::engine::embedded::record::ResolvedMount;
use consort::engine::embedded::runtime::{self, Streams, Surroundings};
use consort::world::{ConfigHash, ContainerSpec, EngineError, ExecSpec, FileSpec, InstanceKey, MountKind, MountPoint, NetworkMode, UlimitSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What the other process is to do.
#[derive(Serialize, Deserialize)]
struct Request {
    folder: PathBuf,
    id: String,
    spec: ContainerSpec,
    config: Vec<String>,
    user: String,
    mounts: Vec<ResolvedMount>,
    files: Vec<FileSpec>,
    execs: Vec<Exec>,
    /// It is paused for a while.
    pause: bool,
    /// What a second container does, which shares the namespaces of the first.
    beside: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Exec {
    command: Vec<String>,
    environment: Vec<String>,
    user: String,
    working_dir: String,
    privileged: bool,
    tty: Option<(u16, u16)>,
}

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Outcome {
    warnings: Vec<String>,
    error: Option<EngineError>,
    /// Of process 1, then of each exec.
    outputs: Vec<String>,
    codes: Vec<i32>,
    oom_kills: u64,
}

const VARIABLE: &str = "CONSORT_TEST_CONTAINER";

#[used]
#[unsafe(link_section = ".init_array")]
#[expect(unsafe_code, reason = "the one way to be first in a program whose main is the harness")]
static BEFORE: extern "C" fn() = before;

#[expect(clippy::disallowed_methods, reason = "the request comes through the environment, and the harness must not begin")]
extern "C" fn before() {
    let Ok(file) = std::env::var(VARIABLE) else { return };
    let request: Request = serde_json::from_slice(&std::fs::read(&file).expect("a request")).expect("a request");
    let outcome = carry_out(request).unwrap_or_else(|error| Outcome { error: Some(error), ..Outcome::default() });
    std::fs::write(file + ".outcome", serde_json::to_vec(&outcome).expect("serialized")).expect("written");
    std::process::exit(0);
}

fn wait(pidfd: &OwnedFd) -> i32 {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).expect("waited").expect("a status");
    status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0))
}

fn read(from: OwnedFd) -> String {
    let mut all = Vec::new();
    // A terminal whose other end has gone answers with an error.
    let _ = std::fs::File::from(from).read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe")
}

fn carry_out(request: Request) -> Result<Outcome, EngineError> {
    let Request { folder, id, spec, config, user, mounts, files, execs, pause, beside } = request;
    let layer = folder.join("image");
    let image = Image {
        config: ImageConfig { cmd: config, user, env: vec!["PATH=/bin:/usr/bin".into()], ..ImageConfig::default() },
        layers: vec![layer],
        ..Image::default()
    };
    let cgroup = Cgroup::of(&format!("runtime-tests-{}", std::process::id()), &id, &spec.security.cgroup_parent);
    let mut warnings = runtime::warnings(&spec)?;
    warnings.extend(cgroup.make(&spec.resources, spec.security.privileged)?);
    let images = BTreeMap::from([("mounted".to_owned(), image.clone())]);
    let around = Surroundings {
        id: &id,
        image: &image,
        images: &images,
        upper: &folder.join("uppers").join(&id),
        mounts: &mounts,
        etc: &folder.join("etc"),
        files: &files,
        cgroup: &cgroup,
        network_of: None,
        pid_of: None,
        ipc_of: None,
    };
    let (read_end, write_end) = pipe();
    let streams = if spec.tty {
        Streams::Terminal { size: Some((100, 30)) }
    } else {
        Streams::Apart { stdin: None, stdout: Some(write_end.try_clone().expect("copied")), stderr: Some(write_end) }
    };
    let result = (|| {
        let starting = runtime::prepare(&spec, &around, streams)?.go();
        let master = starting.outcome().inspect_err(|_| {
            wait(&starting.pidfd);
        })?;
        let (mut outputs, mut codes) = (vec![String::new()], vec![0]);
        if pause {
            // It does nothing but count, so its processor time stands still when it does.
            while cgroup.usage().cpu < 5_000_000 {}
            cgroup.freeze(true)?;
            let before = cgroup.usage().cpu;
            let until = std::time::SystemTime::now() + std::time::Duration::from_millis(50);
            while std::time::SystemTime::now() < until {}
            outputs.push(format!("paused {}", cgroup.usage().cpu - before));
            cgroup.freeze(false)?;
            while cgroup.usage().cpu < before + 5_000_000 {}
            cgroup.kill();
        }
        for exec in execs {
            let (output, end) = pipe();
            let streams = match exec.tty {
                Some(size) => Streams::Terminal { size: Some(size) },
                None => Streams::Apart { stdin: None, stdout: Some(end.try_clone().expect("copied")), stderr: Some(end) },
            };
            let Exec { command, environment, user, working_dir, privileged, tty } = exec;
            let exec = ExecSpec { command, environment, user, working_dir, privileged, tty, stdin: false, detach: false };
            let starting = runtime::exec(&spec, &image, &id, starting.pidfd.as_fd(), &cgroup, &exec, streams)?;
            match starting.outcome() {
                Ok(master) => outputs.push(read(master.terminal.unwrap_or(output))),
                Err(error) => outputs.push(error.to_string()),
            }
            codes.push(wait(&starting.pidfd));
        }
        if !beside.is_empty() {
            let (output, code) = share(&around, &spec, &beside, starting.pidfd.as_fd())?;
            outputs.push(output);
            codes.push(code);
        }
        if codes.len() > 1 {
            cgroup.kill();
        }
        outputs[0] = read(master.terminal.unwrap_or(read_end));
        codes[0] = wait(&starting.pidfd);
        Ok(Outcome { outputs, codes, oom_kills: cgroup.usage().oom_kills, warnings, error: None })
    })();
    cgroup.remove();
    result
}

fn share(around: &Surroundings<'_>, spec: &ContainerSpec, script: &str, first: BorrowedFd<'_>) -> Result<(String, i32), EngineError> {
    let id = format!("{}b", around.id.get(1..).unwrap_or_default());
    let upper = around.upper.with_file_name(&id);
    std::fs::create_dir(&upper).expect("made");
    let mut spec = ContainerSpec { command: Some(["sh", "-c", script].map(str::to_owned).into()), ..spec.clone() };
    spec.network_mode = NetworkMode::Container("first".into());
    (spec.security.pid, spec.security.ipc) = ("container:first".into(), "container:first".into());
    let cgroup = Cgroup::of(&format!("runtime-tests-{}", std::process::id()), &id, "");
    cgroup.make(&spec.resources, false)?;
    let around =
        Surroundings { id: &id, upper: &upper, cgroup: &cgroup, network_of: Some(first), pid_of: Some(first), ipc_of: Some(first), ..*around };
    let (output, end) = pipe();
    let streams = Streams::Apart { stdin: None, stdout: Some(end.try_clone().expect("copied")), stderr: Some(end) };
    let starting = runtime::prepare(&spec, &around, streams)?.go();
    starting.outcome()?;
    let result = (read(output), wait(&starting.pidfd));
    cgroup.remove();
    Ok(result)
}

/// A container in the making.
struct Trial {
    folder: tempfile::TempDir,
    request: Request,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// None without root or busybox, which is said.
fn trial(script: &str) -> Option<Trial> {
    let required = support_required();
    if !rustix::process::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
        assert!(!required, "containers need root and /bin/busybox (package busybox-static)");
        crate::support::say("skipped: containers need root and /bin/busybox (package busybox-static)");
        return None;
    }
    let folder = tempfile::Builder::new().prefix("consort-runtime").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let image = folder.path().join("image");
    for name in ["bin", "etc", "tmp", "root", "data"] {
        std::fs::create_dir_all(image.join(name)).expect("made");
    }
    std::fs::copy("/bin/busybox", image.join("bin/busybox")).expect("copied");
    let list = Command::new("/bin/busybox").arg("--list").output().expect("run");
    for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|a| *a != "busybox") {
        std::os::unix::fs::symlink("busybox", image.join("bin").join(applet)).expect("linked");
    }
    std::fs::write(image.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/sh\n").expect("written");
    std::fs::write(image.join("etc/group"), "root:x:0:\nweb:x:34:\nlog:x:4:web\n").expect("written");
    std::fs::write(image.join("data/file"), "of the image").expect("written");
    std::fs::create_dir(folder.path().join("etc")).expect("made");
    for name in ["hosts", "hostname", "resolv.conf"] {
        std::fs::write(folder.path().join("etc").join(name), format!("our {name}\n")).expect("written");
    }
    let id = format!("{:064x}", u64::from(std::process::id()) << 32 | u64::from(NUMBER.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(folder.path().join("uppers").join(&id)).expect("made");
    let mut spec = ContainerSpec::new("trial", InstanceKey { service: "s".into(), number: 1 }, "i", ConfigHash::Known(String::new()));
    spec.network_mode = NetworkMode::None;
    let config = ["sh", "-c", script].map(str::to_owned).into();
    let request = Request {
        folder: folder.path().to_owned(),
        id,
        spec,
        config,
        user: String::new(),
        mounts: Vec::new(),
        files: Vec::new(),
        execs: Vec::new(),
        pause: false,
        beside: String::new(),
    };
    Some(Trial { folder, request })
}

#[expect(clippy::disallowed_methods, reason = "the gate says by the environment whether what is missing is a failure")]
fn support_required() -> bool {
    std::env::var("CONSORT_TEST_ENGINES").is_ok_and(|v| v == "required")
}

impl Trial {
    fn run(&self) -> Outcome {
        let file = self.folder.path().join("request.json");
        std::fs::write(&file, serde_json::to_vec(&self.request).expect("serialized")).expect("written");
        let outcome = self.folder.path().join("request.json.outcome");
        // That of an earlier run would be taken for this one's.
        let _ = std::fs::remove_file(&outcome);
        // As in every program with a main of Rust, which comes later than what is done here: a container that ends early must
        // not end who writes to it.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' PIPE; exec \"$0\""]).arg(std::env::current_exe().expect("this program"));
        let output = command.env(VARIABLE, &file).stdin(Stdio::null()).output().expect("run");
        let outcome = std::fs::read(outcome);
        let outcome = outcome.unwrap_or_else(|_| panic!("no outcome: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
        serde_json::from_slice(&outcome).expect("an outcome")
    }

    /// Output of process 1, which must have ended with 0.
    fn output(&self) -> String {
        let outcome = self.run();
        assert!(outcome.error.is_none() && outcome.codes.first() == Some(&0), "{outcome:?}");
        outcome.outputs.into_iter().next().unwrap_or_default()
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn shell(script: &str) -> Exec {
    Exec { command: ["sh", "-c", script].map(str::to_owned).into(), ..Exec::default() }
}

fn volume(target: &str, source: &Path) -> ResolvedMount {
    let kind = MountKind::Volume { name: Some("v".into()), nocopy: false, subpath: String::new(), labels: BTreeMap::new(), inherited: false };
    let point = MountPoint { source: source.display().to_string(), target: target.into(), ..MountPoint::default() };
    ResolvedMount { point, kind, anonymous: false }
}

fn bind(target: &str, source: &Path, read_only: bool) -> ResolvedMount {
    let source = source.display().to_string();
    let kind = MountKind::Bind {
        source: source.clone(),
        create_host_path: false,
        propagation: String::new(),
        selinux: String::new(),
        recursive: String::new(),
    };
    ResolvedMount { point: MountPoint { source, target: target.into(), read_only, ..MountPoint::default() }, kind, anonymous: false }
}

#[test]
fn a_container_begins() {
    let Some(mut trial) = trial("echo $$ $(hostname) $(pwd) $HOME; cat /etc/hosts; ps | wc -l") else { return };
    trial.request.spec.working_dir = "/made/on/the/way".into();
    let output = trial.output();
    assert_eq!(output, "1 000000000000 /made/on/the/way /root\nour hosts\n4\n".replace("000000000000", &trial.request.id[..12]));
}

#[test]
fn programs_that_cannot_begin() {
    let Some(mut trial) = trial("") else { return };
    let codes = |trial: &Trial| trial.run().error.map(|e| (runtime::exit_code(&e), e.what)).expect("an error");
    trial.request.config = words("nothing-of-the-kind");
    assert_eq!(codes(&trial), (127, "exec: \"nothing-of-the-kind\": executable file not found in $PATH".into()));
    trial.request.config = words("/bin/absent");
    assert_eq!(codes(&trial).0, 127);
    trial.request.config = words("/etc/passwd");
    assert_eq!(codes(&trial), (126, "exec: \"/etc/passwd\": permission denied".into()));
    trial.request.config = words("/etc");
    assert_eq!(codes(&trial).0, 126);
    trial.request.config = words("sh");
    trial.request.user = "nobody-here".into();
    assert!(codes(&trial).1.contains("there is no user `nobody-here`"));
}

#[test]
fn users_and_what_they_may() {
    let script = "id; echo $HOME; grep -E 'CapEff|CapBnd|NoNew|Seccomp:' /proc/self/status; echo x > /dev/stdout; touch /root/x || echo denied";
    let Some(mut trial) = trial(script) else { return };
    trial.request.user = "web".into();
    trial.request.spec.security.group_add = words("7");
    trial.request.spec.security.cap_drop = words("MKNOD");
    trial.request.spec.security.options = words("no-new-privileges:true");
    let output = trial.output();
    assert!(output.starts_with("uid=33(web) gid=34(web) groups=4(log),7,34(web)\n/srv\n"), "{output}");
    assert!(output.contains("CapEff:\t0000000000000000\nCapBnd:\t00000000a00425fb\nNoNewPrivs:\t1\nSeccomp:\t2\nx\n"), "{output}");
    assert!(output.ends_with("denied\n"), "{output}");
}

#[test]
fn more_processes_join() {
    let Some(mut trial) = trial("sleep 1000") else { return };
    trial.request.spec.hostname = "joined".into();
    trial.request.spec.environment = [("SHARED".to_owned(), Some("yes".to_owned()))].into();
    trial.request.execs = vec![
        shell(
            "hostname; echo $SHARED $OWN; id -u; cat /proc/1/cmdline | tr '\\0' ' '; ls /proc/self/fd | wc -l; grep -E 'CapEff|Seccomp:' /proc/self/status",
        ),
        Exec {
            user: "web:log".into(),
            working_dir: "/data".into(),
            environment: words("OWN=x SHARED=no"),
            ..shell("pwd; id; echo $OWN $SHARED; exit 7")
        },
        Exec { tty: Some((100, 30)), ..shell("tty; stty size; echo $TERM; test -t 0 && test -t 1 && test -t 2 && echo terminal") },
        Exec { privileged: true, ..shell("grep CapEff /proc/self/status") },
        Exec { command: words("absent"), ..Exec::default() },
        Exec { working_dir: "/absent".into(), ..shell("true") },
        shell("kill -9 $$"),
    ];
    let outcome = trial.run();
    let at = |n: usize| outcome.outputs.get(n).map_or("", String::as_str);
    assert_eq!(
        at(1),
        "joined\nyes\n0\nsleep 1000 4\nSeccomp:\t2\nCapEff:\t00000000a80425fb\n"
            .replace("Seccomp:\t2\nCapEff:\t00000000a80425fb", "CapEff:\t00000000a80425fb\nSeccomp:\t2")
    );
    assert_eq!(at(2), "/data\nuid=33(web) gid=4(log) groups=4(log)\nx no\n");
    assert_eq!(at(3), "/dev/pts/0\r\n30 100\r\nxterm\r\nterminal\r\n");
    assert!(at(4).contains("1ff") || at(4).contains("1fe"), "{outcome:?}");
    assert!(at(5).contains("executable file not found in $PATH"));
    assert!(at(6).contains("/absent"));
    assert_eq!(outcome.codes, [137, 0, 7, 0, 0, 127, 127, 137], "{outcome:?}");
}

#[test]
fn a_terminal_of_its_own() {
    let Some(mut trial) = trial("tty; stty size; echo $TERM; ls -l /dev/console | cut -c1; echo input > /dev/console") else { return };
    trial.request.spec.tty = true;
    assert_eq!(trial.output(), "/dev/pts/0\r\n30 100\r\nxterm\r\nc\r\ninput\r\n");
}

#[test]
fn a_small_init() {
    let script =
        "echo $$; (sleep 0.1; exit 3) & sh -c '(sleep 0.2 &) ; exit 0'; trap 'echo caught; exit 5' TERM; kill -TERM 1; wait; sleep 9; echo never";
    let Some(mut trial) = trial(script) else { return };
    trial.request.spec.init = Some(true);
    let outcome = trial.run();
    assert_eq!((outcome.outputs.as_slice(), outcome.codes.as_slice()), (&["2\ncaught\n".to_owned()][..], &[5][..]), "{:?}", outcome.error);
    trial.request.config = [
        "sh",
        "-c",
        "tr '\\0' ' ' < /proc/1/cmdline; cat /proc/1/comm; grep -E 'CapEff|Seccomp:' /proc/1/status; readlink /proc/1/exe || readlink /proc/1/fd/1 || head -c 1 /proc/1/environ || head -c 1 /proc/1/maps || echo hidden; kill -9 $$",
    ]
    .map(str::to_owned)
    .into();
    let outcome = trial.run();
    assert_eq!(outcome.codes, [137]);
    let output = &outcome.outputs[0];
    assert!(output.starts_with("consort-init"), "{output:?}");
    assert!(output.contains("CapEff:\t00000000a80425fb\nSeccomp:\t2\n"), "{output}");
    assert!(output.ends_with("hidden\n"), "{output}");
    trial.request.config = words("absent");
    assert_eq!(trial.run().error.map(|e| runtime::exit_code(&e)), Some(127));
}

#[test]
fn mounts_of_all_kinds() {
    let script = "cat /vol/file /bound/name /one; stat -c '%U %a' /vol; echo new > /vol/new; echo x > /bound/x || echo read-only; \
        echo t > /mem/t && cat /mem/t; stat -c %a /mem /tmp; grep -E ' /(mem|tmp|data|bound) ' /proc/self/mountinfo | cut -d' ' -f5,6 | sort; \
        cat /img/data/file; touch /img/x || echo image read-only; cat /run/secrets/key; stat -c '%u:%g %a' /run/secrets/key; cat /sub";
    let Some(mut trial) = trial(script) else { return };
    let folder = trial.folder.path();
    let (host, data) = (folder.join("host"), folder.join("volume/_data"));
    for path in [&host, &data] {
        std::fs::create_dir_all(path).expect("made");
    }
    std::fs::write(host.join("name"), " bound").expect("written");
    std::fs::write(folder.join("image/data/file"), "of the image").expect("written");
    std::fs::write(host.join("sub"), "part").expect("written");
    std::os::unix::fs::chown(folder.join("image/data"), Some(33), Some(34)).expect("changed");
    let point = |target: &str| MountPoint { target: target.into(), ..MountPoint::default() };
    let sub = MountKind::Volume { name: None, nocopy: true, subpath: "sub".into(), labels: BTreeMap::new(), inherited: false };
    trial.request.mounts = vec![
        ResolvedMount { point: MountPoint { source: data.display().to_string(), ..point("/data") }, ..volume("/data", &data) },
        bind("/bound", &host, true),
        bind("/one", &host.join("name"), false),
        ResolvedMount { point: point("/mem"), kind: MountKind::Tmpfs { size: 1 << 20, mode: 0o750 }, anonymous: false },
        ResolvedMount { point: point("/img"), kind: MountKind::Image { reference: "mounted".into(), subpath: String::new() }, anonymous: false },
        ResolvedMount { point: MountPoint { source: host.display().to_string(), ..point("/sub") }, kind: sub, anonymous: false },
    ];
    trial.request.config[2] = trial.request.config[2].replace("/vol", "/data");
    trial.request.spec.tmpfs = [("/tmp".to_owned(), "size=1m,exec".to_owned())].into();
    trial.request.files =
        vec![FileSpec { path: "/run/secrets/key".into(), content: b"secret".to_vec(), uid: "web".into(), gid: "log".into(), mode: 0o440 }];
    let output = trial.output();
    let expected = "of the image bound boundweb 755\n";
    assert!(output.starts_with(expected), "{output}");
    assert!(output.contains("read-only\nt\n750\n755\n"), "{output}");
    assert!(
        output.contains("/bound ro,relatime\n/data rw,relatime\n/mem rw,nosuid,nodev,noexec,relatime\n/tmp rw,nosuid,nodev,relatime\n"),
        "{output}"
    );
    assert!(output.contains("of the image") && output.contains("image read-only\nsecret33:4 440\npart"), "{output}");
    assert_eq!(std::fs::read_to_string(data.join("new")).expect("written inside"), "new\n");
    // What is in a volume stays.
    std::fs::write(data.join("file"), "of the volume").expect("written");
    assert!(trial.output().starts_with("of the volume"));

    trial.request.mounts = vec![bind("/bound", &folder_of(&trial).join("absent"), false)];
    let error = trial.run().error.expect("nothing is there");
    assert!(error.what.ends_with("does not exist on the host"), "{error}");
    trial.request.mounts = vec![bind("/etc/passwd", &host, false)];
    let error = trial.run().error.expect("a folder over a file");
    assert!(error.what.contains("that is a file in the image"), "{error}");
}

fn folder_of(trial: &Trial) -> PathBuf {
    trial.folder.path().to_owned()
}

#[test]
fn a_root_that_can_only_be_read() {
    let Some(mut trial) = trial("touch /x || echo fixed; touch /tmp/x && echo memory; touch /dev/shm/x && echo shared") else { return };
    trial.request.spec.security.read_only = true;
    trial.request.spec.tmpfs = [("/tmp".to_owned(), String::new())].into();
    assert!(trial.output().ends_with("fixed\nmemory\nshared\n"));
}

#[test]
fn limits_hold() {
    let script = "ulimit -n; ulimit -Hn; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/core/somaxconn; \
        df -k /dev/shm | tail -1 | awk '{print $2}'; for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo forked";
    let Some(mut trial) = trial(script) else { return };
    let spec = &mut trial.request.spec;
    spec.resources.ulimits = vec![UlimitSpec { name: "nofile".into(), soft: 100, hard: 200 }];
    spec.security.sysctls = [("net.core.somaxconn".to_owned(), "77".to_owned())].into();
    spec.resources.shm_size = 2 << 20;
    spec.resources.pids = 6;
    let outcome = trial.run();
    let output = &outcome.outputs[0];
    assert!(output.starts_with("100\n200\n0\n77\n2048\n"), "{output}");
    assert!(output.contains("can't fork") && !output.contains("forked"), "{output}");
}

#[test]
fn memory_runs_out() {
    let Some(mut trial) = trial("head -c 60000000 /dev/zero | tail -c 60000000 > /dev/null; echo alive $?") else { return };
    trial.request.spec.resources.memory = 20 << 20;
    trial.request.spec.resources.memory_swap = 20 << 20;
    let outcome = trial.run();
    assert!(outcome.oom_kills > 0, "{outcome:?}");
}

#[test]
fn a_pause_stops_everything() {
    let Some(mut trial) = trial("while :; do :; done") else { return };
    trial.request.pause = true;
    let outcome = trial.run();
    assert_eq!((outcome.outputs.get(1).map(String::as_str), outcome.codes.as_slice()), (Some("paused 0"), &[137][..]), "{outcome:?}");
}

/// The filter of cgroup v2, on whatever unified hierarchy there is; on machines with v1 beside it, too.
#[test]
fn devices_are_filtered_by_a_program() {
    let Some(root) = cgroup::layout().unified.as_ref().filter(|_| rustix::process::geteuid().is_root()) else {
        crate::support::say("skipped: needs root and cgroup v2");
        return;
    };
    let group = root.join(format!("consort-test-{}", std::process::id()));
    std::fs::create_dir(&group).expect("made");
    let rules: Vec<cgroup::Rule> = ["c *:* m", "c 1:3 rwm", "c 1:9 r"].map(|r| r.parse().expect("a rule")).into();
    let filtered = cgroup::restrict_devices(&group, &rules);
    let script = format!(
        "echo $$ > {}/cgroup.procs && echo x > /dev/null && head -c 1 /dev/urandom > /dev/null && echo allowed; \
         (: > /dev/urandom) 2>&1 | grep -c 'not permitted'; head -c 1 /dev/zero 2>&1 | grep -c 'not permitted'",
        group.display()
    );
    let output = Command::new("sh").args(["-c", &script]).output().expect("run");
    let _ = std::fs::remove_dir(&group);
    match filtered {
        Ok(()) => assert_eq!(String::from_utf8_lossy(&output.stdout), "allowed\n1\n1\n", "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            assert!(!support_required(), "{error}");
            crate::support::say(&format!("skipped: the kernel takes no filter: {error}"));
        }
    }
}

#[test]
fn processor_time_is_limited() {
    let Some(mut trial) = trial(
        "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; timeout 1 sh -c 'while :; do :; done'; cat /sys/fs/cgroup/cpu/cpu.stat /sys/fs/cgroup/cpu.stat 2>/dev/null | grep nr_throttled",
    ) else {
        return;
    };
    trial.request.spec.resources.nano_cpus = 200_000_000;
    let output = trial.output();
    assert!(output.starts_with("20000"), "{output}");
    assert!(!output.ends_with("nr_throttled 0\n"), "{output}");
}

/// What somebody inside would try to get out; each must fail, or show nothing of the outside.
#[test]
fn nothing_leads_out() {
    let script = r#"
        try() { if eval "$1" > /tmp/out 2>&1; then echo "escaped: $1: $(head -c 300 /tmp/out)"; fi; }
        cd /; for n in 1 2 3 4 5 6 7 8 9 10; do cd ..; done; test -e /bin/busybox || echo "escaped: cd .."
        try 'mount -t tmpfs none /tmp'
        try 'mount -o bind / /data'
        try 'mount -o remount,rw /proc/sys'
        try 'umount /proc/sys'
        try 'mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk'
        try 'mknod /dev/disk b 8 0 && head -c 1 /dev/disk'
        try 'mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg'
        try 'mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem'
        try 'echo 1 > /proc/sys/kernel/panic'
        try 'echo 1 > /proc/sys/net/ipv4/ip_forward'
        try 'echo b > /proc/sysrq-trigger'
        try 'echo x > /proc/irq/default_smp_affinity'
        try 'echo 1 > /sys/kernel/mm/ksm/run'
        try 'echo 0 > /sys/fs/cgroup/memory/memory.limit_in_bytes'
        try 'test -e /sys/fs/cgroup/cgroup.procs && echo $$ > /sys/fs/cgroup/cgroup.procs'
        try 'echo $$ > /sys/fs/cgroup/pids/cgroup.procs'
        try 'mkdir /sys/fs/cgroup/pids/x'
        try 'cat /proc/kcore | head -c 1 | grep -q .'
        try 'grep -q . /proc/keys'
        try 'grep -q . /proc/timer_list'
        try 'ls /sys/firmware/* | grep -q .'
        try 'insmod /bin/busybox'
        try 'unshare -m true'
        try 'unshare -U true'
        try 'unshare -n true'
        try 'nsenter -t 1 -m true'
        try 'hostname other'
        try 'date -s 2000-01-01; test $(date +%Y) = 2000'
        try 'chroot / sh -c "mount -t proc proc /proc"'
        try 'dmesg'
        try 'ip link add name x type dummy'
        try 'ip link set lo mtu 1000'
        try 'swapoff -a && false || swapon /bin/busybox'
        try 'reboot -f'
        try 'losetup -f /bin/busybox'
        try 'ls /proc/1/root/work'
        try 'nice -n -5 true && renice -n -5 $$'
        try 'kill -0 2'
        for fd in /proc/*/fd/*; do
            case "$(readlink $fd)" in /dev/null|pipe:*|/dev/pts/*|/tmp/out|/proc/*|/|'') ;; *) echo "escaped: $fd $(readlink $fd)";; esac
        done
        for link in /proc/self/cwd /proc/self/root /proc/1/cwd /proc/1/root; do test "$(readlink $link)" = / || echo "escaped: $link"; done
        for p in /proc/[0-9]*; do readlink $p/exe; done | grep -v '^/bin/busybox$' | sed 's/^/escaped: exe /'
        ls -d /proc/[0-9]* | wc -l | awk '$1 > 8 { print "escaped: processes " $1 }'
        ls /sys/class/net | grep -v '^lo$' | sed 's/^/escaped: interface /'
        test "$(wc -l < /proc/net/route)" -le 1 || echo "escaped: routes"
        test "$(wc -l < /proc/sysvipc/shm)" -le 1 || echo "escaped: shared memory"
        echo done"#;
    let Some(trial) = trial(script) else { return };
    let outcome = trial.run();
    assert_eq!(outcome.outputs.first().map(String::as_str), Some("done\n"), "{outcome:?}");
}

/// Links in an image or a volume, at every place where something of the host is mounted or written.
#[test]
fn links_of_the_image_lead_nowhere() {
    let Some(mut trial) = trial("cat /proc/self/mountinfo | cut -d' ' -f5") else { return };
    let folder = folder_of(&trial);
    let (outside, image) = (folder.join("outside"), folder.join("image"));
    std::fs::create_dir(&outside).expect("made");
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, image.join(name)).expect("linked");
    let up = "../".repeat(30);
    link(outside.to_str().expect("text"), "absolute");
    link(&format!("{up}{}", outside.display()), "relative");
    link("/proc/self/root", "magic");
    link("/proc/1/cwd", "cwd");
    link("/proc/self/fd/3", "descriptor");
    trial.request.mounts = vec![
        bind("/absolute/bound", &folder.join("etc"), true),
        bind("/relative/bound2", &folder.join("etc"), true),
        volume("/absolute/volume", &folder.join("etc")),
    ];
    trial.request.spec.tmpfs = [("/relative/memory".to_owned(), String::new())].into();
    let file = |path: &str| FileSpec { path: path.into(), content: b"x".to_vec(), uid: String::new(), gid: String::new(), mode: 0o600 };
    trial.request.files = vec![file("/absolute/file"), file("/relative/file2")];
    trial.request.spec.working_dir = "/absolute/work".into();
    let output = trial.output();
    let inside = outside.display().to_string();
    for name in ["bound", "bound2", "volume", "memory"] {
        assert!(output.lines().any(|l| l == format!("{inside}/{name}")), "{name} is not mounted where the link leads inside:\n{output}");
    }
    assert_eq!(std::fs::read_dir(&outside).expect("there").count(), 0, "something was made outside");
    // Links of /proc, which lead anywhere, are not followed at all.
    for target in ["/magic/x", "/cwd/x", "/descriptor/x"] {
        trial.request.mounts = vec![bind(target, &folder.join("etc"), true)];
        assert!(trial.run().error.is_some(), "{target}");
        trial.request.mounts.clear();
        trial.request.files = vec![file(target)];
        assert!(trial.run().error.is_some(), "{target}");
        trial.request.files.clear();
    }
    trial.request.spec.working_dir = "/proc/self/fd/3".into();
    trial.request.config[2] = "pwd; ls; ls -la /proc/self/cwd".into();
    let outcome = trial.run();
    // Descriptors of the container's own process are all that this can lead to.
    assert!(outcome.error.is_some() || outcome.outputs[0].starts_with("/proc/1/fd\n"), "{outcome:?}");
    trial.request.spec.working_dir = String::new();
    trial.request.config[2] = "true".into();
    // What must be found at its place can't be led elsewhere.
    for name in ["proc", "dev", "sys"] {
        link("/data", name);
        let error = trial.run().error.expect("refused");
        assert!(error.what.contains(&format!("/{name} in the image is not a folder")), "{error}");
        std::fs::remove_file(image.join(name)).expect("removed");
    }
    std::fs::remove_file(image.join("etc/passwd")).expect("removed");
    link("/etc/shadow-of-the-host", "etc/passwd");
    trial.request.spec.user = "root".into();
    assert!(trial.run().error.is_some());
}

/// A container that puts links and other things in the place of what those who join it use.
#[test]
fn joining_what_has_been_swapped() {
    let script = "mkdir -p /data/fake; mv /data /data2; ln -s /proc/1/root /data; ln -sf / /tmp/rootlink; rm -f /etc/passwd; mkfifo /etc/passwd; \
        rm -f /etc/group; ln -s /dev/zero /etc/group; touch /tmp/ready; sleep 1000";
    let Some(mut trial) = trial(script) else { return };
    trial.request.execs = vec![
        shell("while ! test -e /tmp/ready; do :; done"),
        Exec { working_dir: "/data".into(), ..shell("pwd") },
        Exec { working_dir: "/tmp/rootlink".into(), ..shell("pwd; ls -d /work") },
        Exec { working_dir: "/proc/self/fd/3".into(), ..shell("pwd") },
        Exec { working_dir: "/proc/self/cwd".into(), ..shell("pwd") },
        Exec { user: "0:0".into(), ..shell("grep ^Uid /proc/self/status; readlink /proc/self/root; ls /proc/self/fd | wc -l") },
        Exec { user: "web".into(), ..shell("id -u") },
        shell(
            "for p in /proc/[0-9]*; do readlink $p/exe; done | grep -v '^/bin/busybox$'; for p in /proc/[0-9]*; do echo x 2>/dev/null >> $p/exe && echo written $p; done; true",
        ),
    ];
    let outcome = trial.run();
    let at = |n: usize| outcome.outputs.get(n).map_or("", String::as_str);
    assert!(at(2).contains("working directory") && at(4).contains("working directory") && at(5).contains("working directory"), "{outcome:?}");
    assert!(at(3).starts_with("/\n") && at(3).contains("No such file"), "{outcome:?}");
    assert_eq!(at(6), "Uid:\t0\t0\t0\t0\n/\n4\n", "{outcome:?}");
    assert!(at(7).contains("there is no user `web`"), "{outcome:?}");
    assert_eq!(at(8).lines().filter(|l| !l.contains("can't create")).collect::<String>(), "", "{outcome:?}");
}

#[test]
fn namespaces_are_shared() {
    let Some(mut trial) = trial("echo shared > /dev/shm/file; exec sleep 1000") else { return };
    trial.request.beside = "while ! grep -q shared /dev/shm/file; do :; done; cat /proc/1/comm; \
        for n in pid ipc net mnt uts; do test \"$(readlink /proc/self/ns/$n)\" = \"$(readlink /proc/1/ns/$n)\" && echo $n; done"
        .into();
    let outcome = trial.run();
    assert_eq!(outcome.outputs.get(1).map(String::as_str), Some("sleep\npid\nipc\nnet\n"), "{outcome:?}");
}

/// Below `data` a folder `real`, and `link`, which leads to `outside`.
fn swappable(outside: &Path, data: &Path) {
    for path in [outside, &data.join("real")] {
        std::fs::create_dir_all(path).expect("made");
    }
    std::os::unix::fs::symlink(outside, data.join("link")).expect("linked");
}

/// Runs it so often while `real` and `link` change places without end. Whether one begins is a matter of luck.
fn runs_while_swapped(trial: &Trial, data: &Path, times: usize) -> Vec<Outcome> {
    let done = std::sync::atomic::AtomicBool::new(false);
    let outputs = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(rustix::fs::CWD, data.join("real"), rustix::fs::CWD, data.join("link"), flags);
            }
        });
        let outputs = std::panic::catch_unwind(|| (0..times).map(|_| trial.run()).collect());
        // Whatever came of it: the scope waits for the other thread.
        done.store(true, Ordering::Relaxed);
        outputs
    });
    outputs.expect("containers that begin or say why not")
}

/// A folder that is a link at one moment and a folder at the next, while things are mounted and written in it.
#[test]
fn races_of_links_lead_nowhere() {
    let Some(mut trial) = trial("true") else { return };
    let folder = folder_of(&trial);
    let (outside, data) = (folder.join("outside"), folder.join("data"));
    swappable(&outside, &data);
    trial.request.mounts = vec![
        ResolvedMount {
            point: MountPoint { source: data.display().to_string(), target: "/vol".into(), ..MountPoint::default() },
            ..volume("/vol", &data)
        },
        bind("/vol/real/bound", &folder.join("etc"), true),
    ];
    trial.request.files =
        vec![FileSpec { path: "/vol/real/file".into(), content: b"x".to_vec(), uid: String::new(), gid: String::new(), mode: 0o600 }];
    runs_while_swapped(&trial, &data, 10);
    assert_eq!(std::fs::read_dir(&outside).expect("there").count(), 0, "something was made outside");
}

/// A part of a volume that a neighbour, who has the same volume, makes a link at one moment and a folder at the next.
#[test]
fn races_of_parts_of_volumes_lead_nowhere() {
    let Some(mut trial) = trial("cat /part/file; ls /part") else { return };
    let folder = folder_of(&trial);
    let (outside, data) = (folder.join("outside"), folder.join("volume/_data"));
    swappable(&outside, &data);
    std::fs::write(outside.join("file"), "secret").expect("written");
    std::fs::write(data.join("real/file"), "inside").expect("written");
    let kind = MountKind::Volume { name: None, nocopy: true, subpath: "real".into(), labels: BTreeMap::new(), inherited: false };
    let point = MountPoint { source: data.display().to_string(), target: "/part".into(), ..MountPoint::default() };
    trial.request.mounts = vec![ResolvedMount { point, kind, anonymous: false }];
    assert!(trial.output().starts_with("inside"));
    let outputs = runs_while_swapped(&trial, &data, 20);
    assert!(outputs.iter().all(|o| !o.outputs.iter().any(|text| text.contains("secret"))), "{outputs:?}");
}

/// A `/dev` of an image or a volume whose `null` leads to what it is to hide.
#[test]
fn what_hides_is_what_it_should_be() {
    let Some(mut trial) = trial("head -c 1 /proc/keys /proc/timer_list") else { return };
    let devices = folder_of(&trial).join("devices");
    for folder in ["pts", "shm", "mqueue"] {
        std::fs::create_dir_all(devices.join(folder)).expect("made");
    }
    trial.request.mounts = vec![bind("/dev", &devices, false)];
    for target in ["/proc/timer_list", "/proc/1/environ", "/etc/passwd"] {
        std::os::unix::fs::symlink(target, devices.join("null")).expect("linked");
        let outcome = trial.run();
        let error = outcome.error.expect("refused");
        assert!(error.what.contains("/dev/null is something else in this container"), "{target}: {error}");
        std::fs::remove_file(devices.join("null")).expect("removed");
    }
}

/// Processes that are about to become something else inside are still ours: nobody inside may look at them. Most of the
/// way they have privileges that nobody inside has, which is enough; from where they give those up until they have become
/// the program nothing but `PR_SET_DUMPABLE` keeps others away, which takes luck to see here. Where that moment lasts, with
/// `init: true`, it is seen for certain: [`a_small_init`].
#[test]
fn our_program_is_never_seen() {
    let script = "echo begun > /tmp/begun; while :; do for p in /proc/[0-9]*; do for l in exe root cwd fd/3 fd/4 fd/5 fd/6; do \
        case \"$(readlink $p/$l)\" in ''|/bin/busybox|/|/proc/*|/tmp|/tmp/*|pipe:*|/dev/null) ;; *) readlink $p/$l >> /tmp/seen;; esac; done; done; done 2> /dev/null";
    let Some(mut trial) = trial(script) else { return };
    trial.request.execs = vec![shell("while ! test -e /tmp/begun; do :; done")];
    trial.request.execs.extend((0..30).map(|_| shell("true")));
    trial.request.execs.push(shell("cat /tmp/seen || echo nothing"));
    let outcome = trial.run();
    assert!(outcome.outputs.last().is_some_and(|seen| seen.ends_with("nothing\n")), "{outcome:?}");
}

/// As Docker has it, for a container of which nothing special is asked, and for a privileged one.
#[test]
fn as_docker_has_it() {
    let script = "grep -E '^(Cap|Seccomp:|NoNew|Uid|Gid|Groups)' /proc/self/status; cat /proc/self/uid_map; grep 'open files' /proc/self/limits; umask; \
        pwd; env | grep -v HOSTNAME | sort; ls -l /dev | awk '{print $1, $3, $4, $5, $6, $NF}' | grep -v :; cat /proc/self/oom_score_adj; \
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range; \
        awk '{ i = 7; while ($i != \"-\") i++; print \"mount\", $5, $6, $(i+1) }' /proc/self/mountinfo | sort";
    for privileged in [false, true] {
        let Some(mut trial) = trial(script) else { return };
        let Some(host) = docker_host() else {
            assert!(!support_required(), "CONSORT_TEST_DOCKER28 says where a current Docker is");
            crate::support::say("skipped: no current Docker to compare with (CONSORT_TEST_DOCKER28)");
            return;
        };
        let mut docker = Command::new("docker");
        docker.args([
            "-H",
            &host,
            "run",
            "--rm",
            "--network",
            "none",
            "--ulimit",
            "nofile=512:1024",
            "--tmpfs",
            "/tmp:size=1m",
            "-v",
            "/etc:/data:ro",
        ]);
        if privileged {
            docker.arg("--privileged");
        }
        let theirs = docker.args(["busybox", "sh", "-c", script]).output();
        let Some(theirs) = theirs.ok().filter(|o| o.status.success()) else {
            crate::support::say("skipped: there is no Docker with an image `busybox` to compare with");
            return;
        };
        let spec = &mut trial.request.spec;
        spec.security.privileged = privileged;
        spec.resources.ulimits = vec![UlimitSpec { name: "nofile".into(), soft: 512, hard: 1024 }];
        spec.tmpfs = [("/tmp".to_owned(), "size=1m".to_owned())].into();
        spec.environment = [("PATH".to_owned(), Some("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()))].into();
        trial.request.mounts = vec![bind("/data", Path::new("/etc"), true)];
        let ours = trial.output();
        let theirs = String::from_utf8_lossy(&theirs.stdout).into_owned();
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let differ = |a: &[String], b: &[String]| a.iter().filter(|l| !b.contains(l)).cloned().collect::<Vec<_>>();
        let (ours, theirs) = (lines(&ours), lines(&theirs));
        assert_eq!((differ(&ours, &theirs), differ(&theirs, &ours)), (Vec::new(), Vec::new()), "privileged: {privileged}");
        assert_eq!(ours.len(), theirs.len());
    }
}

#[expect(clippy::disallowed_methods, reason = "where engines are is said by the environment")]
fn docker_host() -> Option<String> {
    std::env::var("CONSORT_TEST_DOCKER28").ok()
}
