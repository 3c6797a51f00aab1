//! Every example loads, and comes up on every engine at hand.
//!
//! Engines are named by `CONSORT_TEST_DOCKER28`, `CONSORT_TEST_DOCKER20` and `CONSORT_TEST_PODMAN`; what is absent is
//! skipped by name, and with `CONSORT_TEST_ENGINES=required` that is a failure.
#![expect(clippy::print_stdout, reason = "says which engines were used")]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::{engines_required, environment};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/compose")
}

/// Runs `test` with each engine that is named, under a project name of its own.
fn on_every_engine(example: &str, test: impl Fn(&Project)) {
    for (engine, name) in [("docker28", "CONSORT_TEST_DOCKER28"), ("docker20", "CONSORT_TEST_DOCKER20"), ("podman", "CONSORT_TEST_PODMAN")] {
        match environment(name) {
            Some(endpoint) => {
                let project =
                    Project { example: example.to_owned(), name: format!("ex-{example}-{engine}"), engine, endpoint, environment: Vec::new() };
                println!("{example} on {engine}");
                test(&project);
            }
            None if engines_required() => panic!("{engine} is required, but {name} is not set"),
            None => println!("skipped on {engine}: {name} is not set"),
        }
    }
    #[cfg(all(feature = "embedded", target_os = "linux"))]
    if let Some(home) = support::embedded::Home::new(example) {
        let (name, engine) = (format!("ex-{example}-embedded"), "embedded");
        let project = Project { example: example.to_owned(), name, engine, endpoint: String::new(), environment: home.variables() };
        println!("{example} on {engine}");
        test(&project);
    }
}

/// An example on an engine. Whatever happens, nothing of it is left.
struct Project {
    example: String,
    name: String,
    engine: &'static str,
    endpoint: String,
    environment: Vec<(String, String)>,
}

impl Project {
    fn with(&self, environment: &[(&str, String)]) -> Self {
        Self {
            example: self.example.clone(),
            name: self.name.clone(),
            engine: self.engine,
            endpoint: self.endpoint.clone(),
            environment: self.environment.iter().cloned().chain(environment.iter().map(|(k, v)| ((*k).to_owned(), v.clone()))).collect(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_consort"));
        command
            .current_dir(examples().join(&self.example))
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs((!self.endpoint.is_empty()).then_some(("DOCKER_HOST", &self.endpoint)))
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .args(["-p", &self.name])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// Runs a command that must succeed; returns standard output.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{} on {}: consort {}\n{}", self.example, self.engine, arguments.join(" "), told(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = self.run(&["--profile", "*", "down", "--volumes", "--remove-orphans", "-t", "1"]);
    }
}

fn told(output: &Output) -> String {
    let mut text = format!("ended with {}\n", output.status);
    let _ = write!(text, "stdout:\n{}\nstderr:\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    text
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port().to_string()
}

/// Body of `GET /`.
fn fetch(port: &str) -> String {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("the published port answers");
    stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("an HTTP answer")
}

#[test]
fn every_example_loads_without_an_engine() {
    let mut seen = 0;
    for entry in std::fs::read_dir(examples()).expect("the examples") {
        let folder = entry.expect("an entry").path();
        if !folder.is_dir() {
            continue;
        }
        seen += 1;
        let output = Command::new(env!("CARGO_BIN_EXE_consort")).current_dir(&folder).args(["config", "-q"]).output().expect("the binary runs");
        assert!(output.status.success(), "{}\n{}", folder.display(), told(&output));
        let listed = std::fs::read_to_string(examples().join("README.md")).expect("the list of examples");
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(listed.contains(&format!("[{name}]({name})")), "examples/compose/README.md doesn't name {name}");
    }
    assert!(seen >= 6, "only {seen} examples");
}

#[test]
fn hello() {
    on_every_engine("hello", |project| {
        // The machine itself where that can be booted.
        let image = if project.engine == "embedded" { String::new() } else { "busybox:latest".to_owned() };
        let project = project.with(&[("HELLO_IMAGE", image)]);
        let output = project.run(&["up"]);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", told(&output));
        for line in ["clock-1      | tick 5", "greeter-1    | hello, world", "bystander-1  | I wait for nobody", "clock-1 exited with code 0"] {
            assert!(out.contains(line), "no {line:?} in\n{}", told(&output));
        }
        assert!(String::from_utf8_lossy(&output.stderr).contains("greeter-1    | a word on standard error"), "{}", told(&output));
        assert!(out.find("winding up") < out.find("hello, world"), "the gate was not kept\n{out}");
    });
}

#[test]
fn migration() {
    on_every_engine("migration", |project| {
        project.ok(&["up", "-d", "--wait", "--wait-timeout", "60"]);
        assert!(project.ok(&["logs", "--no-log-prefix", "migrate"]).contains("schema is now 2"));
        assert!(project.ok(&["logs", "--no-log-prefix", "api"]).contains("serving schema 2"));
        assert_eq!(project.ok(&["exec", "-T", "store", "redis-cli", "get", "schema"]).trim(), "2");
    });
}

#[test]
fn replicas() {
    on_every_engine("replicas", |project| {
        let port = free_port();
        let project = project.with(&[("WEB_PORT", port.clone())]);
        project.ok(&["up", "-d", "--wait", "--wait-timeout", "60"]);
        let answers: BTreeSet<String> = (0..12).map(|_| fetch(&port)).collect();
        assert_eq!(answers.len(), 3, "not every replica answered: {answers:?}");
        project.ok(&["up", "-d", "--scale", "backend=2"]);
        assert_eq!(project.ok(&["ps", "-q", "backend"]).lines().count(), 2);
    });
}

#[test]
fn profiles() {
    on_every_engine("profiles", |project| {
        project.ok(&["up", "-d"]);
        assert_eq!(project.ok(&["ps", "--services"]).trim(), "app");
        project.ok(&["--profile", "debug", "up", "-d"]);
        assert_eq!(project.ok(&["ps", "--services"]).lines().collect::<BTreeSet<_>>(), BTreeSet::from(["app", "shell"]));
        assert!(project.ok(&["up", "seed"]).contains("seeding data"), "naming a service enables its profile");
    });
}

#[test]
fn secrets() {
    on_every_engine("secrets", |project| {
        let out = project.ok(&["up", "--no-log-prefix"]);
        assert!(out.contains(&format!("welcome to {}", project.name)), "{out}");
        assert!(out.contains("not-a-real-token"), "{out}");
        assert!(out.lines().any(|l| l.starts_with("-r--------") && (l.contains("nobody") || l.contains("65534"))), "{out}");
        assert!(!project.ok(&["config"]).contains("change-me"), "the value of a secret is printed");
    });
}

#[test]
fn overrides() {
    on_every_engine("overrides", |project| {
        let port = free_port();
        let project = project.with(&[("WEB_PORT", port.clone())]);
        project.ok(&["up", "-d", "--wait", "--wait-timeout", "60"]);
        assert!(fetch(&port).contains("It works"));
        assert!(project.ok(&["exec", "-T", "web", "env"]).contains("MODE=development"));
        assert!(project.ok(&["-f", "compose.yaml", "-f", "production.yaml", "config"]).contains("MODE: production"));
    });
}

/// The whole story of the platform and its database: gate, queries, a killed database, data kept and data gone.
#[test]
fn coder() {
    on_every_engine("coder", |project| {
        let port = free_port();
        let project = project.with(&[("CODER_REPO", "consort/coder-standin".into()), ("CODER_PORT", port), ("POSTGRES_PASSWORD", "another".into())]);
        project.ok(&["up", "-d", "--wait", "--wait-timeout", "120"]);
        let psql = |query: &str| project.ok(&["exec", "-T", "database", "psql", "-U", "username", "-d", "coder", "-tAc", query]).trim().to_owned();
        assert_eq!(psql("select 1"), "1");
        psql("create table kept (word text)");
        psql("insert into kept values ('still here')");

        // Follow the log while the database is killed: the follower says how it ended, `ps -a` says so too.
        let mut follower = project.command(&["logs", "-f", "database"]).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("ready to accept connections")), "the log of the database");
        project.ok(&["kill", "database"]);
        let followed: Vec<String> = lines.collect();
        assert!(followed.iter().any(|line| line == "database-1 exited with code 137"), "{followed:#?}");
        assert!(follower.wait().expect("the follower ends with its container").success());
        assert!(project.ok(&["ps", "-a", "database"]).contains("Exited (137)"));

        project.ok(&["up", "-d", "--wait", "--wait-timeout", "120"]);
        assert_eq!(psql("select word from kept"), "still here", "data survives a kill");
        project.ok(&["down"]);
        project.ok(&["up", "-d", "--wait", "--wait-timeout", "120"]);
        assert_eq!(psql("select word from kept"), "still here", "data survives `down`");
        project.ok(&["down", "--volumes"]);
        project.ok(&["up", "-d", "--wait", "--wait-timeout", "120"]);
        assert_eq!(psql("select count(*) from information_schema.tables where table_name = 'kept'"), "0", "`down --volumes` removes data");
    });
}
