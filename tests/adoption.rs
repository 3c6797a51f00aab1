//! Projects change hands: what Docker Compose started is taken over with nothing done, and the other way round.
//!
//! Ten projects of our own, and those of a corpus of other people's files, where `../shared/corpus` exists.
//!
//! Needs `CONSORT_TEST_PEER` (path of Docker Compose 2.40) and `CONSORT_TEST_DOCKER28`; skipped by name without, a
//! failure where `CONSORT_TEST_ENGINES=required`.
#![expect(clippy::print_stdout, reason = "says what was skipped")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::{engines_required, environment};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adoption")
}

/// One project, which both tools work on.
struct Project<'a> {
    folder: PathBuf,
    file: String,
    name: String,
    endpoint: &'a str,
    peer: &'a str,
}

impl Project<'_> {
    fn run(&self, tool: &str, arguments: &[&str]) -> Output {
        let output = Command::new(tool)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("DOCKER_HOST", self.endpoint)
            .args(["-f", &self.file, "-p", &self.name])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the tool runs");
        let told = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {tool} {} ended with {}\n{told}", self.file, arguments.join(" "), output.status);
        output
    }

    /// Ids of all containers, by the peer's word.
    fn containers(&self) -> Vec<String> {
        let output = self.run(self.peer, &["ps", "-a", "-q", "--no-trunc"]);
        let mut ids: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        ids.sort();
        ids
    }

    /// `first` brings the project up, `second` finds nothing to do, and takes it down.
    fn handed_over(&self, first: &str, second: &str) {
        self.run(first, &["up", "-d"]);
        let before = self.containers();
        assert!(!before.is_empty());
        let told = String::from_utf8_lossy(&self.run(second, &["up", "-d"]).stderr).into_owned();
        assert_eq!(before, self.containers(), "{}: {second} replaced containers of {first}:\n{told}", self.file);
        for word in ["Recreate", "Creat", "Removed"] {
            assert!(!told.contains(word), "{}: {second} found something to do with what {first} had started:\n{told}", self.file);
        }
        self.run(second, &["down", "-v", "-t", "0"]);
        assert!(self.containers().is_empty(), "{}: {second} left containers of {first}", self.file);
        self.run(first, &["down", "-v", "-t", "0"]);
    }
}

/// The engine and the reference, `None` (and a word about it) without them.
fn oracle() -> Option<(String, String)> {
    let found = environment("CONSORT_TEST_PEER").zip(environment("CONSORT_TEST_DOCKER28"));
    if found.is_none() {
        assert!(!engines_required(), "CONSORT_TEST_PEER and CONSORT_TEST_DOCKER28 are required");
        println!("skipped adoption: CONSORT_TEST_PEER or CONSORT_TEST_DOCKER28 is not set");
    }
    found
}

/// Hands each project over in both directions, a few at a time.
fn hand_over(projects: Vec<Project>) {
    let ours = env!("CARGO_BIN_EXE_consort");
    std::thread::scope(|scope| {
        let running: Vec<_> = projects
            .chunks(projects.len().div_ceil(3))
            .map(|chunk| {
                scope.spawn(move || {
                    for project in chunk {
                        project.run(project.peer, &["down", "-v", "-t", "0"]);
                        project.handed_over(project.peer, ours);
                        project.handed_over(ours, project.peer);
                        println!("{}: changed hands both ways", project.file);
                    }
                })
            })
            .collect();
        for one in running {
            one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

#[test]
fn projects_change_hands_with_nothing_done() {
    let Some((peer, endpoint)) = oracle() else { return };
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .expect("the projects")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|n| n.ends_with(".yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "ten projects, not {}", files.len());
    let (peer, endpoint) = (peer.as_str(), endpoint.as_str());
    let project = |file: String| Project { folder: folder(), name: format!("adopted-{}", file.trim_end_matches(".yaml")), file, endpoint, peer };
    hand_over(files.into_iter().map(project).collect());
}

/// A project of the corpus: its folder, its file in it, and files that were left out of the corpus but are needed.
type Foreign = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const FOREIGN: [Foreign; 24] = [
    // Order, probes, ends.
    ("podman/integration/deps", "docker-compose-conditional-healthy.yaml", &[]),
    ("podman/integration/deps", "docker-compose-conditional-completed.yaml", &[]),
    ("podman/integration/healthcheck", "docker-compose.yml", &[]),
    ("podman/integration/abort", "docker-compose-fail-second.yaml", &[]),
    ("spec-inline/463-depends_on", "compose.yaml", &[]),
    // Networks: pools, addresses, aliases, names of interfaces, the host's.
    ("podman/integration/ipam_default", "docker-compose.yaml", &[]),
    ("podman/integration/nets_test_ip", "docker-compose.yml", &[("test1.txt", "1"), ("test2.txt", "2"), ("test3.txt", "3"), ("test4.txt", "4")]),
    ("podman/integration/network_scoped_aliases", "docker-compose.yaml", &[]),
    ("podman/integration/network_interface_name", "docker-compose.yml", &[]),
    ("podman/integration/nethost", "docker-compose.yaml", &[]),
    // Variables and files of them.
    ("podman/integration/env_tests", "container-compose.yml", &[]),
    (
        "podman/integration/env_file_tests",
        "project/container-compose.env-file-obj-optional-missing.yaml",
        &[("env-files/project-1.env", "ZZVAR1=a b\n")],
    ),
    ("podman/integration/env_file_tests", "project/container-compose.env-file-flat.yaml", &[("env-files/project-1.env", "ZZVAR1=$$x\n")]),
    ("podman/integration/interpolation", "docker-compose.yml", &[]),
    // Volumes with and without names, tmpfs, secrets.
    ("podman/integration/merge/volumes_merge", "docker-compose.yaml", &[]),
    ("podman/integration/include", "docker-compose_include_dict.yaml", &[]),
    ("spec-inline/568-volume_bind", "compose.yaml", &[]),
    ("spec-inline/570-volumes_from", "compose.yaml", &[]),
    ("spec-inline/561-tmpfs", "compose.yaml", &[]),
    (
        "podman/integration/secrets",
        "docker-compose.yaml",
        &[(".env", "TEST_ENVIRONMENT=seen\n"), ("my_secret", "secret\n"), ("print_secrets.sh", "#!/bin/sh\nls /run/secrets\n")],
    ),
    // Replicas, limits, names.
    ("spec-inline/543-scale", "compose.yaml", &[]),
    ("spec-inline/467-deploy", "compose.yaml", &[]),
    ("podman/integration/name_separator_compat", "docker-compose_compat.yaml", &[]),
    ("podman/integration/selinux", "docker-compose.yml", &[("host_test_text.txt", "text\n")]),
];

/// What is at hand for what the corpus wants: images and programs in them, and secrets where it has those of a swarm.
const STAND_INS: [(&str, &str); 8] = [
    ("nopush/podman-compose-test", "busybox"),
    ("dumb-init", "env"),
    ("image: alpine", "image: busybox"),
    ("docker.io/library/alpine", "busybox"),
    ("image: redis\n", "image: redis:7\n"),
    ("image: postgres\n", "image: postgres:14.2\n"),
    ("type: env", "mode: 0400"),
    ("    external: true", "    file: ./my_secret"),
];

/// Copies a folder with everything in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder of the corpus").map(|e| e.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match (from.is_dir(), std::fs::read_to_string(&from)) {
            (true, _) => copy(&from, &to),
            (false, Ok(text)) => {
                std::fs::write(&to, STAND_INS.iter().fold(text, |text, (theirs, ours)| text.replace(theirs, ours))).expect("a copy");
            }
            // Not text, or a link to nowhere: no Compose file.
            (false, Err(_)) => drop(std::fs::copy(&from, &to)),
        }
    }
}

#[test]
fn other_people_s_projects_change_hands_with_nothing_done() {
    let Some((peer, endpoint)) = oracle() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(corpus) = ["..", "../.."].iter().map(|up| root.join(up).join("shared/corpus")).find(|path| path.is_dir()) else {
        println!("skipped other people's projects: there is no ../shared/corpus");
        return;
    };
    let (peer, endpoint) = (peer.as_str(), endpoint.as_str());
    let home = tempfile::tempdir().expect("a folder");
    let project = |(n, (folder, file, files)): (usize, &Foreign)| {
        let top = home.path().join(n.to_string());
        copy(&corpus.join(folder), &top);
        for (name, text) in *files {
            std::fs::create_dir_all(top.join(name).parent().expect("a parent")).expect("a folder");
            std::fs::write(top.join(name), text).expect("a file");
            // Some are scripts.
            std::fs::set_permissions(top.join(name), PermissionsExt::from_mode(0o755)).expect("a mode");
        }
        let path = top.join(file);
        let folder = path.parent().expect("a parent").to_owned();
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        Project { folder, file, name: format!("adopted-foreign-{n}"), endpoint, peer }
    };
    hand_over(FOREIGN.iter().enumerate().map(project).collect());
}
