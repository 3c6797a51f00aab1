//! Containers of the embedded engine as they look from inside, and what they can't do to the outside.
//!
//! The harness has threads, and containers are cloned by processes with one: each test runs this very program again, which
//! then does what [`before`] finds to do and ends before the harness begins.

use consort::engine::embedded::cgroup::Cgroup;
use consort::engine::embedded::image::{Image, ImageConfig};
use consort::engine::embedded::record::ResolvedMount;
use consort::engine::embedded::runtime::{self, Streams, Surroundings};
use consort::world::{ConfigHash, ContainerSpec, EngineError, ExecSpec, FileSpec, InstanceKey, NetworkMode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
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
    let Request { folder, id, spec, config, user, mounts, files, execs } = request;
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
                Ok(master) => outputs.push(read(master.unwrap_or(output))),
                Err(error) => outputs.push(error.to_string()),
            }
            codes.push(wait(&starting.pidfd));
        }
        if codes.len() > 1 {
            cgroup.kill();
        }
        outputs[0] = read(master.unwrap_or(read_end));
        codes[0] = wait(&starting.pidfd);
        Ok(Outcome { outputs, codes, oom_kills: cgroup.usage().oom_kills, warnings, error: None })
    })();
    cgroup.remove();
    result
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
        println!("skipped: containers need root and /bin/busybox (package busybox-static)");
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
    std::fs::write(image.join("etc/group"), "root:x:0:\nwheel:x:10:root\nweb:x:34:\nlog:x:4:web\n").expect("written");
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
    let request =
        Request { folder: folder.path().to_owned(), id, spec, config, user: String::new(), mounts: Vec::new(), files: Vec::new(), execs: Vec::new() };
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
        let output = Command::new(std::env::current_exe().expect("this program")).env(VARIABLE, &file).stdin(Stdio::null()).output().expect("run");
        let outcome = std::fs::read(self.folder.path().join("request.json.outcome"));
        let outcome = outcome.unwrap_or_else(|_| panic!("no outcome: {}", String::from_utf8_lossy(&output.stderr)));
        serde_json::from_slice(&outcome).expect("an outcome")
    }

    /// Output of process 1, which must have ended with 0.
    fn output(&self) -> String {
        let outcome = self.run();
        assert!(outcome.error.is_none() && outcome.codes.first() == Some(&0), "{outcome:?}");
        outcome.outputs.into_iter().next().unwrap_or_default()
    }
}

#[test]
fn a_container_begins() {
    let Some(trial) = trial(
        "echo hello from $$; id; cat /etc/hosts /etc/hostname; hostname; pwd; env; ls -la /dev; cat /proc/self/mountinfo; ls -la /proc/self/fd; grep -E 'Cap|NoNew|Secc' /proc/self/status",
    ) else {
        return;
    };
    println!("{}", trial.output());
}
