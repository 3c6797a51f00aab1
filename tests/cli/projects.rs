//! Projects on real engines: names of services, `--wait`, questions, `ls` over several engines, Ctrl-Z.

use super::*;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Runs until it is killed, which takes no time.
const SLEEPS: &str = "image: busybox\n    command: sleep 600\n    stop_signal: SIGKILL\n";

#[test]
fn a_service_that_isn_t_there_is_told_from_one_that_doesn_t_run() {
    let Some(address) = docker() else { return };
    let file = format!(
        "services:\n  web:\n    {SLEEPS}  once:\n    image: busybox\n    command: sh -c 'exit 3'\n  other:\n    profiles: [tools]\n    {SLEEPS}"
    );
    let project = Project::new(address, "names", &file);
    let unknown = |args: &[&str]| {
        let (code, out, err) = project.run(args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}: {err}");
        assert!(err.contains("error: no such service: nope\n"), "{args:?}: {err}");
        assert!(err.contains("help: the services are: once, web; in profiles: other\n"), "{args:?}: {err}");
    };
    for command in ["ps", "logs", "stop", "start", "restart", "kill", "pause", "unpause", "pull", "create", "down", "config"] {
        unknown(&[command, "nope"]);
    }
    for args in
        [&["up", "-d", "nope"][..], &["exec", "nope", "true"], &["rm", "-f", "nope"], &["up", "--attach", "nope"], &["up", "--scale", "nope=2"]]
    {
        unknown(args);
    }
    let says = |args: &[&str], code: i32, text: &str| {
        let (ended, _, err) = project.run(args);
        assert_eq!(ended, code, "{args:?}: {err}");
        assert!(err.contains(text), "{args:?}: {err}");
    };
    says(&["exec", "wbe", "true"], 1, "did you mean `web`?");
    says(&["exec", "web", "true"], 1, "service \"web\" is not running: it has no container\n  help: `consort up -d web` starts it");
    says(&["exec", "other", "true"], 1, "is not running: it is left out as long as profile tools is not active");
    says(&["start", "web"], 1, "service \"web\" has no container to start");
    for command in ["stop", "restart", "kill", "logs"] {
        says(&[command, "web"], 0, "note: service \"web\" has no container");
    }
    let (code, _, err) = project.run(&["up", "--no-log-prefix", "once"]);
    assert_eq!(code, 0, "{err}");
    says(&["exec", "once", "true"], 1, "is not running: ");
    says(&["exec", "once", "true"], 1, "`consort logs once` says why it ended");
    assert_eq!(project.run(&["up", "-d", "web"]).0, 0);
    says(&["exec", "--index", "2", "web", "true"], 1, "service \"web\" has no container #2\n  help: --index can be 1");
    says(&["logs", "--index", "2", "web"], 1, "service \"web\" has no container #2");
    assert_eq!(project.run(&["pause", "web"]).0, 0);
    says(&["exec", "web", "true"], 1, "web-1 is paused\n  help: `consort unpause web` lets it go on");
    assert_eq!(project.run(&["unpause", "web"]).0, 0);
    // By labels alone the same is known, as far as there are containers.
    let name = project.name.as_str();
    says(&["-p", name, "stop", "nope"], 1, "no such service: nope\n  help: the services are: once, web");
    says(&["-p", name, "exec", "wbe", "true"], 1, "did you mean `web`?");
}

#[test]
fn wait_is_over_when_everything_runs_is_healthy_or_is_done() {
    let Some(address) = docker() else { return };
    let once = |command: &str, more: &str| format!("image: busybox\n    command: {command}\n    stop_signal: SIGKILL\n{more}");
    // Its probes say when it is up, however long a busy machine takes to let it fail.
    let probed = "    healthcheck: {test: pidof sleep, interval: 1s, retries: 600}\n";
    let restarts = &format!("{probed}    restart: on-failure:2\n");
    for (name, service, code, says) in [
        ("plain", SLEEPS.to_owned(), 0, "Healthy"),
        ("done", once("'true'", ""), 0, "Exited"),
        ("done-later", once("sleep 1", ""), 0, ""),
        ("failed", once("sh -c 'echo oops; exit 4'", probed), 1, "exited (4)"),
        ("gives-up", once("sh -c 'echo oops; exit 4'", restarts), 1, "restarted 2 times"),
        ("recovers", once("sh -c 'test -e /x && exec sleep 600; touch /x; exit 4'", restarts), 0, "Healthy"),
        ("unhealthy", format!("{SLEEPS}    healthcheck: {{test: 'false', interval: 1s, retries: 1}}\n"), 1, "is unhealthy"),
        ("late", format!("{SLEEPS}    healthcheck: {{test: 'false', interval: 1s, retries: 99}}\n"), 1, "not healthy after 3s"),
    ] {
        let project = Project::new(address.clone(), &format!("wait-{name}"), &format!("services:\n  web:\n    {service}"));
        let (ended, out, err) = project.run(&["up", "--wait", "--wait-timeout", if name == "late" { "3" } else { "60" }]);
        assert_eq!((ended, out.as_str()), (code, ""), "{name}: {err}");
        assert!(err.contains(says), "{name}: {err}");
        assert_eq!(err.matches("error: ").count(), usize::from(code != 0), "{name}: {err}");
        // Whatever came of it, what was created stays to be looked at.
        assert_eq!(project.run(&["ps", "-aq"]).1.lines().count(), 1, "{name}");
    }
    let (code, _, err) = Project::new(address, "wait-no", "services: {a: {image: busybox}}").run(&["up", "--wait", "--wait-timeout", "-1"]);
    assert_eq!((code, err.contains("--wait-timeout")), (1, true), "{err}");
}

#[test]
fn a_question_that_nobody_answers_is_a_no_that_is_told() {
    let Some(address) = docker() else { return };
    let file = |label: &str| format!("services:\n  web:\n    {SLEEPS}    volumes: ['data:/data']\nvolumes:\n  data:\n    labels: {{v: '{label}'}}\n");
    let project = Project::new(address, "ask", &file("1"));
    let write = |label: &str| std::fs::write(project.folder.path().join("compose.yaml"), file(label)).unwrap();
    assert_eq!(project.run(&["up", "-d"]).0, 0);
    assert_eq!(project.run(&["exec", "web", "touch", "/data/kept"]).0, 0);
    let kept = || project.run(&["exec", "web", "test", "-e", "/data/kept"]).0 == 0;
    let answered = |answer: &str, args: &[&str]| {
        let mut child = project.consort(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may have ended without reading its answer.
        let _ = child.stdin.take().unwrap().write_all(answer.as_bytes());
        finish(child.wait_with_output().unwrap())
    };
    write("2");
    for args in [&["up", "-d"][..], &["up", "--wait"], &["create"]] {
        let (code, out, err) = project.run(args);
        assert_eq!((code, out.as_str()), (0, ""), "{args:?}: {err}");
        assert!(err.contains("Recreate (data will be lost)? [y/N]") && err.contains("warning: nobody answered, so volume"), "{args:?}: {err}");
        assert!(err.contains("help: `-y` recreates it"), "{args:?}: {err}");
    }
    let (code, _, err) = project.run(&["--progress", "json", "up", "-d"]);
    assert_eq!(code, 0);
    assert!(err.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{err}");
    let (code, _, err) = answered("n\n", &["up", "--wait"]);
    assert_eq!((code, err.contains("nobody answered")), (0, false), "{err}");
    assert!(kept());
    let (code, _, err) = answered("y\n", &["up", "--wait"]);
    assert_eq!((code, kept()), (0, false), "{err}");
    assert_eq!(project.run(&["exec", "web", "touch", "/data/kept"]).0, 0);
    write("3");
    let (code, _, err) = project.run(&["up", "--wait", "-y"]);
    assert_eq!((code, kept(), err.contains("[y/N]")), (0, false, false), "{err}");
    let (code, _, err) = project.run(&["up", "--wait", "-y"]);
    assert_eq!((code, err.contains("Removed")), (0, false), "{err}");
}

/// Stores a context of the Docker client under `home`.
fn context(home: &Path, name: &str, address: &str) {
    let id: String = Sha256::digest(name.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    let folder = home.join(".docker/contexts/meta").join(id);
    std::fs::create_dir_all(&folder).unwrap();
    let meta = serde_json::json!({ "Name": name, "Metadata": {}, "Endpoints": { "docker": { "Host": address, "SkipTLSVerify": false } } });
    std::fs::write(folder.join("meta.json"), meta.to_string()).unwrap();
}

#[test]
fn ls_asks_every_engine_that_can_be_found() {
    let Some(address) = docker() else { return };
    let project = Project::new(address.clone(), "everywhere", &format!("services:\n  web:\n    {SLEEPS}"));
    assert_eq!(project.run(&["up", "-d"]).0, 0);
    let name = project.name.as_str();
    let home = tempfile::tempdir().unwrap();
    // One that refuses, and one that takes the call and says nothing.
    context(home.path(), "dead", "tcp://127.0.0.1:1");
    let mute = home.path().join("mute.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&mute).unwrap();
    context(home.path(), "mute", &format!("unix://{}", mute.display()));
    let file = project.folder.path().canonicalize().unwrap().join("compose.yaml").display().to_string();
    // Options that go before the command, and those that go after it.
    let ls = |host: &str, before: &[&str], after: &[&str]| {
        let mut command = consort(home.path());
        command.env("HOME", home.path()).env("DOCKER_HOST", host).args(before).args(["ls", "--filter", &format!("name=^{name}$")]).args(after);
        finish(command.output().unwrap())
    };

    // On the engine that every command uses: as Docker Compose prints it, whatever else there is.
    let width = (name.len() + 3).max(20);
    let table = format!("{:width$}{:20}CONFIG FILES\n{name:width$}{:20}{file}\n", "NAME", "STATUS", "running(1)");
    assert_eq!(ls(&address, &[], &[]), (0, table.clone(), String::new()));
    if let Some(peer) = environment("CONSORT_TEST_PEER") {
        let output =
            Command::new(peer).env_clear().env("DOCKER_HOST", &address).args(["ls", "--filter", &format!("name=^{name}$")]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), table);
    }

    // On another: with a column that says which.
    let nowhere = format!("unix://{}", home.path().join("none.sock").display());
    context(home.path(), "modern", &address);
    let (code, out, err) = ls(&nowhere, &[], &[]);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<Vec<&str>> = out.lines().map(|l| l.split("   ").map(str::trim).filter(|c| !c.is_empty()).collect()).collect();
    assert_eq!(lines, [vec!["NAME", "STATUS", "CONFIG FILES", "ENGINE"], vec![name, "running(1)", &file, "context modern"]]);
    // One that was asked for and doesn't answer is worth a word, but no failure.
    assert_eq!(err.matches("warning: ").count(), 1, "{err}");
    assert!(err.contains(&nowhere) && err.contains("help: DOCKER_HOST is "), "{err}");
    let (_, out, err) = ls(&nowhere, &["--verbose"], &[]);
    assert!(out.contains("context modern") && err.contains("127.0.0.1:1") && err.contains("no answer within 2 seconds"), "{err}");
    let (_, out, _) = ls(&nowhere, &[], &["--format", "json"]);
    let expected = serde_json::json!([{ "Name": name, "Status": "running(1)", "ConfigFiles": file, "Engine": "context modern" }]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), expected);

    // Named on the command line, it is the only one.
    for args in [&["--context", "modern"][..], &["--host", &address]] {
        assert_eq!(ls(&nowhere, args, &[]), (0, table.clone(), String::new()), "{args:?}");
    }
    let (code, out, err) = ls(&nowhere, &["--engine", "docker"], &[]);
    assert_eq!((code, out.as_str(), err.matches("error: ").count()), (1, "", 1), "{err}");
}

/// What stands on a terminal so far, and who waits for it.
#[derive(Clone)]
struct Seen(Arc<(Mutex<String>, Condvar)>);

impl Seen {
    fn of(mut terminal: std::fs::File) -> Self {
        let seen = Self(Arc::default());
        let fill = seen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = terminal.read(&mut buffer) {
                fill.0.0.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
                fill.0.1.notify_all();
            }
        });
        seen
    }

    /// Waits until something stands there, after what stood there before; returns how much stands there then.
    fn wait(&self, after: usize, what: &str) -> usize {
        let (text, news) = &*self.0;
        let guard = text.lock().unwrap();
        let absent = |text: &mut String| !text.get(after..).is_some_and(|t| t.contains(what));
        let (guard, result) = news.wait_timeout_while(guard, Duration::from_secs(60), absent).unwrap();
        assert!(!result.timed_out(), "{what:?} never came: {:?}", *guard);
        guard.len()
    }

    fn text(&self) -> String {
        self.0.0.lock().unwrap().clone()
    }
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_fg_draws_the_view_again() {
    use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
    const HIDE: &str = "\x1b[?25l";
    const SHOW: &str = "\x1b[?25h";
    let Some(address) = docker() else { return };
    let check = "    healthcheck: {test: test -e /ready, interval: 1s, retries: 600}\n";
    let project = Project::new(address, "ctrlz", &format!("services:\n  web:\n    {SLEEPS}{check}"));
    let (ours, theirs) = terminal();
    let mut command = project.consort(&["up", "--wait"]);
    command.env("TERM", "xterm").stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
    let mut child = command.spawn().unwrap();
    drop(command);
    let seen = Seen::of(ours);
    let pid = Pid::from_child(&child);
    let mut at = seen.wait(0, "Waiting");
    assert!(seen.text().contains(HIDE), "{:?}", seen.text());
    for _ in 0..2 {
        kill_process(pid, Signal::TSTP).unwrap();
        let status = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap().1;
        assert!(status.stopped(), "{status:?}");
        at = seen.wait(at.saturating_sub(1), SHOW);
        assert!(seen.text().ends_with(SHOW), "nothing comes after the cursor is back: {:?}", seen.text());
        kill_process(pid, Signal::CONT).unwrap();
        // It hides the cursor again and draws from scratch: it doesn't go up to where it was.
        at = seen.wait(at, "Waiting");
        let text = seen.text();
        let redrawn = text.rsplit_once(SHOW).unwrap().1;
        assert!(redrawn.starts_with(&format!("{HIDE}[+] up")), "{redrawn:?}");
    }
    assert_eq!(project.run(&["exec", "web", "touch", "/ready"]).0, 0);
    let code = child.wait().unwrap().code();
    seen.wait(at, SHOW);
    let text = seen.text();
    assert!(code == Some(0) && text.rfind(SHOW) > text.rfind(HIDE), "{code:?}: {text:?}");
}
