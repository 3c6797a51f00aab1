//! What goes wrong outside: no room, no permission, ports that are taken. Each ends with one clear message and a known
//! state.

use super::*;
use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;

/// The user and group that own nothing.
const NOBODY: u32 = 65534;

/// A Docker engine of our own on a file system of 64 MiB, which is gone with it.
struct Daemon {
    process: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start(dockerd: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(path("data")).unwrap();
        std::fs::write(path("daemon.json"), r#"{"bridge": "none", "iptables": false, "ip6tables": false}"#).unwrap();
        // The file system is in a mount namespace that ends with the engine.
        let script = "mount -t tmpfs -o size=64m small \"$1\" && shift && exec \"$@\"";
        let programs = Path::new(dockerd).parent().unwrap().display().to_string();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", &path("data"), dockerd]);
        command.args(["--config-file", &path("daemon.json"), "--data-root", &path("data"), "--exec-root", &path("exec")]);
        command.args(["--pidfile", &path("pid"), "-H", &format!("unix://{}", path("engine.sock"))]);
        command.env("PATH", format!("{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = std::io::BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut heard = Vec::new();
        let listens = told.by_ref().inspect(|line| heard.push(line.clone())).any(|line| line.contains("API listen on"));
        assert!(listens, "dockerd doesn't start:\n{}", heard.join("\n"));
        std::thread::spawn(move || told.for_each(drop));
        Self { process, folder }
    }

    fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("engine.sock").display())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

#[test]
fn a_full_disk_ends_a_pull_with_nothing_begun() {
    let (Some(dockerd), Some(registry)) = (environment("CONSORT_TEST_DOCKERD"), environment("CONSORT_TEST_REGISTRY")) else {
        assert!(!engines_required(), "CONSORT_TEST_DOCKERD and CONSORT_TEST_REGISTRY are required");
        support::say("skipped a full disk: CONSORT_TEST_DOCKERD or CONSORT_TEST_REGISTRY is not set");
        return;
    };
    let daemon = Daemon::start(&dockerd);
    let service = |name: &str, image: &str| {
        format!("  {name}:\n    image: {registry}/library/{image}\n    network_mode: none\n    command: sleep 600\n    stop_signal: SIGKILL\n")
    };
    let file = format!("services:\n{}{}", service("small", "busybox:latest"), service("large", "postgres:14.2"));
    let project = Project::new(daemon.address(), "full", &file);
    // What fits is there already: while the large one is unpacked, nothing else would fit either.
    let (code, _, err) = project.run(&["pull", "small"]);
    assert_eq!(code, 0, "{err}");
    for command in [&["up", "-d"][..], &["pull"], &["up", "-d", "--wait", "large"]] {
        let (code, out, err) = project.run(command);
        assert_eq!((code, out.as_str()), (1, ""), "{command:?}: {err}");
        assert_eq!(err.matches("error").count(), 1, "{command:?}: {err}");
        let says = format!("error: no space left on the engine's disk: can't pull image {registry}/library/postgres:14.2");
        assert!(err.contains(&says) && err.contains("docker system df"), "{command:?}: {err}");
        assert_eq!(project.run(&["ps", "-aq"]), (0, String::new(), String::new()), "after {command:?} nothing exists");
    }
    // The engine is as good as before: what fits works.
    let (code, _, err) = project.run(&["up", "-d", "small"]);
    assert_eq!(code, 0, "{err}");
    let fill = project.run(&["exec", "small", "dd", "if=/dev/zero", "of=/fill", "bs=1M"]);
    assert!(fill.2.contains("No space left on device"), "{fill:?}");
    let (code, _, err) = project.run(&["up", "-d", "--scale", "small=2", "small"]);
    assert_eq!((code, err.matches("error").count()), (1, 1), "{err}");
    assert!(err.contains("no space left on the engine's disk") && err.contains("small-2"), "{err}");
    let (code, _, err) = project.run(&["down", "-t", "0"]);
    assert_eq!((code, project.run(&["ps", "-aq"]).1.as_str()), (0, ""), "{err}");
}

/// A folder that everybody may enter, with the program in it, and commands that are run as nobody.
struct Powerless {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Powerless {
    /// `None` where we are nobody ourselves: then the tests' own files would be unreadable to the tests.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(!engines_required(), "these tests are to be run as root");
            support::say("skipped what a user may not read: only root can become nobody");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("consort");
        // By a process of its own: a program that some other test's child still has open for writing can't be run.
        assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_consort")).arg(&program).status().unwrap().success());
        let powerless = Self { folder, program };
        powerless.chmod("", 0o755);
        powerless.chmod("consort", 0o755);
        Some(powerless)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    fn chmod(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn run(&self, folder: &str, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(&self.program);
        command.env_clear().env("DOCKER_HOST", "unix:///nowhere.sock").current_dir(self.path(folder)).stdin(Stdio::null());
        finish(command.uid(NOBODY).gid(NOBODY).args(args).output().unwrap())
    }
}

/// Folder, files in it, the one that may not be read, and what is said of it.
type Case<'a> = (&'a str, &'a [(&'a str, String)], &'a str, &'a str);

#[test]
fn what_may_not_be_read_is_named_with_its_place() {
    let Some(powerless) = Powerless::new() else { return };
    let plain = "services:\n  a:\n    image: busybox\n";
    let with = |line: &str| format!("{plain}    {line}\n");
    let cases: [Case; 9] = [
        ("file", &[("compose.yaml", plain.into())], "compose.yaml", "compose.yaml can't be read: permission denied"),
        (
            "over",
            &[("compose.yaml", plain.into()), ("compose.override.yaml", plain.into())],
            "compose.override.yaml",
            "compose.override.yaml can't be",
        ),
        ("dotenv", &[("compose.yaml", plain.into()), (".env", "A=1".into())], ".env", ".env can't be read: permission denied"),
        ("env", &[("compose.yaml", with("env_file: x.env")), ("x.env", "A=1".into())], "x.env", "compose.yaml:4:15"),
        ("label", &[("compose.yaml", with("label_file: x.env")), ("x.env", "A=1".into())], "x.env", "compose.yaml:4:17"),
        (
            "extends",
            &[("compose.yaml", with("extends: {file: base.yaml, service: a}")), ("base.yaml", plain.into())],
            "base.yaml",
            "base.yaml can't be read: permission denied",
        ),
        ("include", &[("compose.yaml", format!("include: [base.yaml]\n{plain}")), ("base.yaml", plain.into())], "base.yaml", "compose.yaml:1:11"),
        ("closed", &[("compose.yaml", plain.into())], "", "closed can't be read: permission denied"),
        ("listed", &[("compose.yaml", plain.into())], "", "listed can't be read: permission denied"),
    ];
    for (folder, files, secret, says) in cases {
        for (name, text) in files {
            powerless.write(&format!("{folder}/{name}"), text);
        }
        powerless.chmod(folder, 0o755);
        let before = powerless.run(folder, &["config", "-q"]);
        assert_eq!((before.0, before.2.as_str()), (0, ""), "{folder}");
        // A folder that may be listed but not entered hides what is in it no less.
        let mode = match (secret, folder) {
            ("", "listed") => 0o744,
            ("", _) => 0o700,
            _ => 0o600,
        };
        powerless.chmod(&format!("{folder}/{secret}"), mode);
        // Nobody can enter a folder that is closed, but a shell may have been there before.
        let inside = if secret.is_empty() { "." } else { folder };
        let place = powerless.path(folder).display().to_string();
        for command in [&["config", "-q"][..], &["up", "-d"], &["down"], &["ps"]] {
            let args: Vec<&str> = if secret.is_empty() { [&["--project-directory", &place], command].concat() } else { command.to_vec() };
            let (code, out, err) = powerless.run(inside, &args);
            assert_eq!((code, out.as_str()), (1, ""), "{folder}: {command:?}: {err}");
            assert_eq!(err.matches("error").count(), 1, "{folder}: {command:?}: {err}");
            assert!(err.contains(says) && err.contains("permission denied") && err.contains("run as a user who may read it"), "{folder}: {err}");
        }
    }
    let (code, _, err) = powerless.run("file", &["-f", "../env/compose.yaml", "--env-file", "../env/x.env", "config", "-q"]);
    assert_eq!((code, err.contains("../env/x.env can't be read: permission denied")), (1, true), "{err}");
}

#[test]
fn a_socket_that_is_closed_to_the_user() {
    let Some(powerless) = Powerless::new() else { return };
    powerless.write("compose.yaml", "services:\n  a:\n    image: busybox\n");
    let socket = powerless.path("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    powerless.chmod("docker.sock", 0o600);
    let address = format!("unix://{}", socket.display());
    for command in [&["up", "-d"][..], &["ps"], &["ls"], &["logs"]] {
        let (code, out, err) = powerless.run("", &[&["--host", &address], command].concat());
        assert_eq!((code, out.as_str(), err.matches("error").count()), (1, "", 1), "{command:?}: {err}");
        assert!(err.contains("you may not use that socket") && err.contains("usermod -aG docker"), "{command:?}: {err}");
    }
}

#[test]
fn who_holds_a_port_is_told() {
    for (engine, address) in engines() {
        port_is_taken(engine, address);
    }
}

fn port_is_taken(engine: &str, address: String) {
    let file = |port: &str| {
        format!("services:\n  web:\n    image: busybox\n    command: sleep 600\n    stop_signal: SIGKILL\n    ports: [\"127.0.0.1:{port}:80\"]\n")
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let project = Project::new(address.clone(), &format!("port-{engine}"), &file(&port));
    let (code, _, err) = project.run(&["up", "-d"]);
    assert_eq!((code, err.matches("error").count()), (1, 1), "{engine}: {err}");
    assert!(err.contains(&format!("can't start container {}-web-1: host port 127.0.0.1:{port} is already taken\n", project.name)), "{engine}: {err}");
    assert!(err.contains(&format!("127.0.0.1:{port} is held by process {}: ", std::process::id())), "{engine}: {err}");
    assert!(!err.contains("endpoint"), "the engine's own names for things say nothing to a user: {err}");
    // Created and not started: once the port is free, the same command goes on from there.
    assert_eq!(project.run(&["ps", "-a", "--format", "{{.State}}"]).1, "created\n");
    drop(listener);
    let (code, _, err) = project.run(&["up", "-d"]);
    assert_eq!(code, 0, "{engine}: {err}");
    assert!(!err.contains("Creating"), "{engine}: {err}");

    let second = Project::new(address, &format!("port2-{engine}"), &file(&port));
    let (code, _, err) = second.run(&["up", "-d"]);
    assert_eq!((code, err.matches("error").count()), (1, 1), "{engine}: {err}");
    assert!(err.contains(&format!("is held by container {0}-web-1 of project {0}", project.name)), "{engine}: {err}");
    assert!(err.contains(&format!("`consort -p {} stop web` frees it", project.name)), "{engine}: {err}");
    // As told.
    assert_eq!(second.consort(&["-p", &project.name, "stop", "-t", "0", "web"]).output().unwrap().status.code(), Some(0));
    let (code, _, err) = second.run(&["up", "-d"]);
    assert_eq!(code, 0, "{engine}: {err}");
}

#[test]
fn an_image_that_can_t_be_had_leaves_nothing_behind() {
    let Some(registry) = environment("CONSORT_TEST_REGISTRY") else {
        assert!(!engines_required(), "CONSORT_TEST_REGISTRY is required");
        support::say("skipped images that can't be had: CONSORT_TEST_REGISTRY is not set");
        return;
    };
    for (engine, address) in engines() {
        no_image(engine, &address, &registry);
    }
}

fn no_image(engine: &str, address: &str, registry: &str) {
    let private = environment("CONSORT_TEST_PRIVATE_REGISTRY").unwrap_or_default();
    // A port at which nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (image, says, cure) in [
        (format!("{registry}/no-such:1"), format!("registry {registry} has no image {registry}/no-such:1"), "is the name spelled right".to_owned()),
        (format!("{registry}/library/busybox:nope"), "has no image".into(), "does the tag exist".into()),
        (format!("{private}/any:1"), format!("registry {private} doesn't give image {private}/any:1 away"), format!("`docker login {private}`")),
        (format!("{free}/any:1"), format!("the engine can't reach registry {free}"), "does it run".into()),
    ] {
        if image.starts_with('/') {
            continue;
        }
        let file = format!("services:\n  a:\n    image: {image}\n  b:\n    image: busybox\n    depends_on: [a]\n");
        let project = Project::new(address.to_owned(), &format!("image-{engine}"), &file);
        let (code, out, err) = project.run(&["up", "-d"]);
        assert_eq!((code, out.as_str(), err.matches("error").count()), (1, "", 1), "{engine}: {image}: {err}");
        assert!(err.contains(&says) && err.contains(&cure), "{engine}: {image}: {err}");
        assert_eq!(project.run(&["ps", "-aq"]).1, "", "{engine}: {image}");
        assert_eq!(project.run(&["down"]).0, 0);
    }
}
