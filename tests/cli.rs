//! The real binary: help, exit codes, streams, terminals.

#[path = "cli/faults.rs"]
mod faults;
#[path = "cli/projects.rs"]
mod projects;
#[cfg(all(feature = "embedded", target_os = "linux"))]
#[path = "cli/stores.rs"]
mod stores;
mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use support::{engines_required, environment};

/// `consort` in `folder` with nothing of our environment.
fn consort(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consort"));
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(folder).stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn run(args: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    finish(consort(folder.path()).args(args).output().unwrap())
}

fn finish(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn without_arguments_it_helps() {
    let (code, out, err) = run(&[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(run(&["--help"]).1.lines().next(), out.lines().next());
    let commands: Vec<&str> =
        out.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty()).filter_map(|l| l.split_whitespace().next()).collect();
    let expected = [
        "up", "down", "ps", "logs", "exec", "start", "stop", "restart", "kill", "rm", "pull", "ls", "config", "check", "create", "pause", "unpause",
        "image", "volume", "system", "schema", "version",
    ];
    assert_eq!(commands, expected);
    for command in commands {
        let (code, out, err) = run(&[command, "--help"]);
        assert_eq!((code, err.as_str()), (0, ""), "{command}");
        assert!(out.contains(&format!("Usage: consort {command}")), "{command}: {out}");
        let options = out.lines().skip_while(|l| *l != "Options:").skip(1).take_while(|l| l.is_empty() || l.starts_with(' '));
        for line in options.filter(|l| l.trim_start().starts_with('-') && !l.trim_start().starts_with("- ")) {
            // An option's help stands on the same line after two blanks, or on the next line.
            assert!(line.trim().split("  ").count() > 1 || out.contains(&format!("{line}\n          ")), "{command}: no help for {line}");
        }
    }
}

#[test]
fn bad_usage_is_a_failure_like_any_other() {
    for (args, says) in [
        (&["up", "--foo"][..], "unexpected argument '--foo'"),
        (&["frob"], "unknown command \"frob\""),
        (&["dwon"], "did you mean `down`?"),
        (&["build"], "not available yet"),
        (&["up", "--profile", "x"], "--profile goes before the command"),
        (&["exec", "web"], "required arguments were not provided"),
        (&["up", "--build", "--no-build"], "cannot be used with"),
        (&["up", "-d", "--abort-on-container-exit"], "cannot be used with"),
        (&["up", "--wait", "--attach", "web"], "cannot be used with"),
        (&["up", "--no-recreate", "-V"], "cannot be used with"),
        (&["--progress", "loud", "ps"], "--progress \"loud\" is not known"),
        (&["--progress", "tty", "--ansi", "never", "ps"], "can't be had together"),
        (&["-p", "x", "ps", "--status", "odd"], "unknown state \"odd\""),
        (&["-p", "x", "ps", "--filter", "name=x"], "unknown filter \"name\""),
        (&["-p", "x", "logs", "--index", "1"], "--index needs exactly one service"),
        (&["-p", "x", "logs", "--since", "yesterday"], "is not a time"),
        (&["ls", "--filter", "odd=x"], "unknown filter"),
        (&["version", "-f", "xml"], "unknown format \"xml\""),
        (&["--parallel", "many", "ps"], "invalid value 'many'"),
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}: {err}");
        assert!(err.contains(says), "{args:?} says {err:?}, not {says:?}");
        assert!(!err.contains('\x1b'), "{args:?}: escape codes in a pipe");
    }
}

#[test]
fn the_version_in_all_its_forms() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&["version"]), (0, format!("Consort version {version}\n"), String::new()));
    assert_eq!(run(&["--version"]).1, format!("Consort version {version}\n"));
    assert_eq!(run(&["-v"]).1, format!("Consort version {version}\n"));
    assert_eq!(run(&["version", "--short"]).1, format!("{version}\n"));
    assert_eq!(run(&["version", "-f", "json"]).1, format!("{{\"version\":\"{version}\"}}\n"));
}

#[test]
fn without_a_file_or_an_engine_it_says_so() {
    for args in [&["up"][..], &["ps"], &["config"], &["exec", "web", "true"]] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("no Compose file"), "{args:?}: {err}");
    }
    let folder = tempfile::tempdir().unwrap();
    let dead = format!("unix://{}", folder.path().join("dead.sock").display());
    let (code, out, err) = finish(consort(folder.path()).env("DOCKER_HOST", &dead).args(["-p", "x", "ps"]).output().unwrap());
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains(&dead) && err.contains("help: DOCKER_HOST is"), "{err}");
    assert_eq!(err.matches("error").count(), 1, "{err}");
}

#[test]
fn a_reader_that_went_away_is_no_fault() {
    for args in [&["--help"][..], &["version"], &["up", "--help"]] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = consort(folder.path()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

/// The engine for tests of the real thing, `None` (and a word about it) without one.
fn docker() -> Option<String> {
    let address = environment("CONSORT_TEST_DOCKER28");
    if address.is_none() {
        assert!(!engines_required(), "docker28 is required, but CONSORT_TEST_DOCKER28 is not set");
        eprint_skip();
    }
    address
}

/// Every real engine there is, by name.
fn engines() -> Vec<(&'static str, String)> {
    let known = [("docker28", "CONSORT_TEST_DOCKER28"), ("docker20", "CONSORT_TEST_DOCKER20"), ("podman", "CONSORT_TEST_PODMAN")];
    let find = |(engine, variable): (&'static str, &str)| {
        let address = environment(variable);
        if address.is_none() {
            assert!(!engines_required(), "{engine} is required, but {variable} is not set");
            support::say(&format!("skipped on {engine}: {variable} is not set"));
        }
        Some((engine, address?))
    };
    known.into_iter().filter_map(find).collect()
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn eprint_skip() {
    eprintln!("skipped: CONSORT_TEST_DOCKER28 doesn't say where Docker is");
}

/// A project on a real engine that is gone when the test is over.
struct Project {
    folder: tempfile::TempDir,
    address: String,
    name: String,
}

impl Project {
    fn new(address: String, name: &str, file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("compose.yaml"), file).unwrap();
        Self { folder, address, name: format!("cli-{name}-{}", std::process::id()) }
    }

    fn consort(&self, args: &[&str]) -> Command {
        let mut command = consort(self.folder.path());
        command.env("DOCKER_HOST", &self.address).env("COMPOSE_PROJECT_NAME", &self.name).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        finish(self.consort(args).output().unwrap())
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = self.consort(&["down", "-v", "-t", "0"]).output();
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Terminal,
    Pipe,
    File,
    Closed,
}

/// A terminal: our end, and the one for the child.
fn terminal() -> (std::fs::File, std::fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let theirs = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
    (ours.into(), theirs.into())
}

/// Everything from `from` until nobody writes to it any more; a terminal says that with an error.
fn drain(mut from: impl std::io::Read) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        all.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// What `exec` prints when its input and output are of these kinds, and its exit code.
fn exec_with(project: &Project, stdin: Kind, stdout: Kind) -> (i32, String) {
    use std::io::Write;
    let script = "test -t 1 && t=terminal || t=none; read line; echo \"$t:$line\"; echo err >&2; exit 7";
    let program = env!("CARGO_BIN_EXE_consort");
    let redirect = |kind, text: &'static str| if kind == Kind::Closed { text } else { "" };
    // Only a shell can start a program with a stream closed.
    let line = format!("exec {program} exec web sh -c '{script}' {} {}", redirect(stdin, "<&-"), redirect(stdout, ">&-"));
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir(project.folder.path()).env_clear().env("PATH", "/usr/bin:/bin");
    command.env("DOCKER_HOST", &project.address).env("COMPOSE_PROJECT_NAME", &project.name).env("TERM", "xterm");
    let (ours, theirs) = terminal();
    let file = tempfile::NamedTempFile::new().unwrap();
    let input = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(input.path(), "hello\n").unwrap();
    command.stdin(match stdin {
        Kind::Terminal => theirs.try_clone().unwrap().into(),
        Kind::Pipe => Stdio::piped(),
        Kind::File => std::fs::File::open(input.path()).unwrap().into(),
        Kind::Closed => Stdio::null(),
    });
    command.stdout(match stdout {
        Kind::Terminal => theirs.try_clone().unwrap().into(),
        Kind::Pipe => Stdio::piped(),
        Kind::File => file.reopen().unwrap().into(),
        Kind::Closed => Stdio::null(),
    });
    command.stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop((command, theirs));
    // One that hangs ends with words, not with the time of the whole run.
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let pid = rustix::process::Pid::from_child(&child);
    let watch = std::thread::spawn(move || {
        let hangs = end.recv_timeout(Duration::from_secs(120)).is_err();
        if hangs {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        hangs
    });
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(b"hello\n").unwrap();
    }
    if stdin == Kind::Terminal {
        ours.try_clone().unwrap().write_all(b"hello\n").unwrap();
    }
    // The terminal must be read all the time, or who writes to it waits.
    let screen = std::thread::spawn(move || drain(ours));
    let piped = child.stdout.take().map(drain);
    let code = child.wait().unwrap().code().unwrap_or(-1);
    let _ = ended.send(());
    assert!(!watch.join().unwrap(), "exec with input {stdin:?} and output {stdout:?} has not ended within two minutes");
    let screen = screen.join().unwrap();
    let text = match stdout {
        Kind::Terminal => screen,
        Kind::Pipe => piped.unwrap_or_default(),
        Kind::File => std::fs::read_to_string(file.path()).unwrap(),
        Kind::Closed => String::new(),
    };
    (code, text)
}

#[test]
fn exec_with_every_kind_of_input_and_output() {
    let Some(address) = docker() else { return };
    let file = "services:\n  web:\n    image: busybox\n    command: sleep 600\n    stop_signal: SIGKILL\n";
    let project = Project::new(address, "exec", file);
    let (code, _, err) = project.run(&["up", "-d"]);
    assert_eq!(code, 0, "{err}");
    let kinds = [Kind::Terminal, Kind::Pipe, Kind::File, Kind::Closed];
    for stdin in kinds {
        for stdout in kinds {
            let (code, text) = exec_with(&project, stdin, stdout);
            assert_eq!(code, 7, "{stdin:?} to {stdout:?}: {text}");
            let is_terminal = (stdin, stdout) == (Kind::Terminal, Kind::Terminal);
            let expected = match (is_terminal, stdin) {
                (true, _) => "terminal:hello\r\n",
                (false, Kind::Closed) => "none:",
                (false, _) => "none:hello",
            };
            assert!(stdout == Kind::Closed || text.contains(expected), "{stdin:?} to {stdout:?}: {text:?}");
            // Standard error of the command is only mixed in where a terminal does that.
            assert_eq!(text.contains("err"), is_terminal, "{stdin:?} to {stdout:?}: {text:?}");
        }
    }
    assert_eq!(project.run(&["exec", "web", "sh", "-c", "exit 300"]).0, 300 % 256);
    assert_eq!(project.run(&["exec", "web", "nosuchcommand"]).0, 127);
    assert_eq!(project.run(&["exec", "--index", "5", "web", "true"]).0, 1);
    assert_eq!(project.run(&["exec", "-e", "A=1", "-w", "/tmp", "web", "sh", "-c", "echo $A $PWD"]).1, "1 /tmp\n");
}

#[test]
fn ctrl_c_at_any_moment_of_up_stops_what_was_started() {
    use std::io::BufRead;
    let Some(address) = docker() else { return };
    let service = |name: &str, more: &str| format!("  {name}:\n    image: busybox\n    command: sleep 600\n    stop_signal: SIGKILL\n{more}");
    let healthy = "    healthcheck: {test: 'true', interval: 1s}\n";
    let after = "    depends_on: {a: {condition: service_healthy}}\n";
    let file = format!("services:\n{}{}{}", service("a", healthy), service("b", after), service("c", ""));
    // As many lines of progress as this, then Ctrl-C. Before its first word nobody can know whether it listens yet.
    for moment in 1..=10 {
        let project = Project::new(address.clone(), &format!("int{moment}"), &file);
        let mut child = project.consort(&["up"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = Vec::new();
        for _ in 0..moment {
            told.extend(lines.next().map(Result::unwrap));
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let output = std::thread::spawn({
            let stdout = child.stdout.take().unwrap();
            move || drain(stdout)
        });
        told.extend(lines.map(Result::unwrap));
        assert_eq!(child.wait().unwrap().code(), Some(130), "after {moment} lines: {told:#?}\n{}", output.join().unwrap());
        let (code, running, err) = project.run(&["ps", "-q"]);
        assert_eq!((code, running.as_str()), (0, ""), "after {moment} lines something still runs: {told:#?}\n{err}");
        let (code, _, err) = project.run(&["down", "-t", "0"]);
        assert_eq!(code, 0, "{err}");
        assert_eq!(project.run(&["ps", "-aq"]).1, "");
    }
}

#[test]
fn logs_for_a_reader_that_has_enough() {
    let Some(address) = docker() else { return };
    let file = "services:\n  web:\n    image: busybox\n    command: seq 1 200000\n";
    let project = Project::new(address, "logs", file);
    let (code, out, err) = project.run(&["up", "--no-log-prefix"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.lines().filter(|l| l.parse::<u32>().is_ok()).count(), 200_000);
    let mut child = project.consort(&["logs"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 9];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((&first, output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (b"web-1  | ", Some(0), ""));
}

#[test]
fn a_container_that_is_started_again_shows_each_line_once() {
    let Some(address) = docker() else { return };
    // The shorter the run, the sooner it is over when somebody comes to look.
    let file = "services:\n  web:\n    image: busybox\n    command: sh -c 'cat /proc/sys/kernel/random/uuid; echo end >&2'\n";
    let project = Project::new(address, "again", file);
    let mut before = std::collections::BTreeSet::new();
    for run in 1..=8 {
        let output = project.consort(&["up", "--no-log-prefix"]).output().unwrap();
        let (code, out, err) = finish(output);
        let lines: Vec<&str> = out.lines().filter(|l| l.len() == 36 && l.matches('-').count() == 4).collect();
        assert_eq!((code, lines.len()), (0, 1), "run {run}: {out}{err}");
        assert_eq!(err.lines().filter(|l| *l == "end").count(), 1, "run {run}: {out}{err}");
        assert!(before.insert(lines[0].to_owned()), "run {run} shows a line of an earlier one: {out}");
    }
    // And in all there is what was written in all.
    assert_eq!(project.run(&["logs", "--no-log-prefix"]).1.lines().count(), 16);
}

/// A stand-in for an engine that dies: whatever goes through it is the real engine's, until it is cut.
struct Lifeline {
    socket: std::path::PathBuf,
    open: std::sync::Arc<std::sync::Mutex<Option<Vec<std::os::unix::net::UnixStream>>>>,
}

impl Lifeline {
    fn to(engine: String, folder: &Path) -> Self {
        use std::os::unix::net::{UnixListener, UnixStream};
        let socket = folder.join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let open = std::sync::Arc::new(std::sync::Mutex::new(Some(Vec::new())));
        let calls = std::sync::Arc::clone(&open);
        std::thread::spawn(move || {
            for call in listener.incoming().map_while(Result::ok) {
                let real = UnixStream::connect(&engine).unwrap();
                let Some(calls) = &mut *calls.lock().unwrap() else { return };
                for (from, to) in [(&call, &real), (&real, &call)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Write);
                    });
                }
                calls.extend([call, real]);
            }
        });
        Self { socket, open }
    }

    /// The engine is gone: every call breaks off, and nobody listens any more.
    fn cut(&self) {
        std::fs::remove_file(&self.socket).unwrap();
        for call in self.open.lock().unwrap().take().into_iter().flatten() {
            let _ = call.shutdown(std::net::Shutdown::Both);
        }
    }
}

#[test]
fn an_engine_that_dies_during_up_leaves_a_known_state() {
    use std::io::BufRead;
    let Some(address) = docker() else { return };
    let Some(engine) = address.strip_prefix("unix://").map(str::to_owned) else { return };
    let gate = "    healthcheck: {test: sleep 60, interval: 1s, timeout: 2m}\n";
    let service = |name: &str, more: &str| format!("  {name}:\n    image: busybox\n    command: sleep 600\n    stop_signal: SIGKILL\n{more}");
    let file = format!("services:\n{}{}", service("db", gate), service("web", "    depends_on: {db: {condition: service_healthy}}\n"));
    let project = Project::new(address.clone(), "dies", &file);
    let folder = tempfile::tempdir().unwrap();
    let lifeline = Lifeline::to(engine, folder.path());
    let through = format!("unix://{}", lifeline.socket.display());
    let mut child = project.consort(&["up", "-d"]).env("DOCKER_HOST", through).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = Vec::new();
    for line in std::io::BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap) {
        if line.ends_with("Waiting") {
            lifeline.cut();
        }
        told.push(line);
    }
    assert_eq!(child.wait().unwrap().code(), Some(1), "{told:#?}");
    let told = told.join("\n");
    assert!(told.contains("the engine went away"), "{told}");
    assert!(told.contains("not begun: start Container"), "what was not done is named:\n{told}");
    // What was done is there, and the engine, back again, takes it down.
    assert_eq!(project.run(&["ps", "-aq"]).1.lines().count(), 2);
    let (code, _, err) = project.run(&["down", "-t", "0"]);
    assert_eq!((code, project.run(&["ps", "-aq"]).1.as_str()), (0, ""), "{err}");
}
