//! Projects change hands: what Docker Compose started is taken over with nothing done, and the other way round.
//!
//! Needs `CONSORT_TEST_PEER` (path of Docker Compose 2.40) and `CONSORT_TEST_DOCKER28`; skipped by name without, a
//! failure where `CONSORT_TEST_ENGINES=required`.
#![expect(clippy::print_stdout, reason = "says what was skipped")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::{engines_required, environment};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adoption")
}

/// One project, which both tools work on.
struct Project<'a> {
    file: String,
    name: String,
    endpoint: &'a str,
    peer: &'a str,
}

impl Project<'_> {
    fn run(&self, tool: &str, arguments: &[&str]) -> Output {
        let output = Command::new(tool)
            .current_dir(folder())
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

#[test]
fn projects_change_hands_with_nothing_done() {
    let (Some(peer), Some(endpoint)) = (environment("CONSORT_TEST_PEER"), environment("CONSORT_TEST_DOCKER28")) else {
        assert!(!engines_required(), "CONSORT_TEST_PEER and CONSORT_TEST_DOCKER28 are required");
        println!("skipped adoption: CONSORT_TEST_PEER or CONSORT_TEST_DOCKER28 is not set");
        return;
    };
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .expect("the projects")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|n| n.ends_with(".yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "ten projects, not {}", files.len());
    let ours = env!("CARGO_BIN_EXE_consort");
    std::thread::scope(|scope| {
        let running: Vec<_> = files
            .chunks(files.len().div_ceil(3))
            .map(|chunk| {
                let (peer, endpoint) = (peer.as_str(), endpoint.as_str());
                scope.spawn(move || {
                    for file in chunk {
                        let name = format!("adopted-{}", file.trim_end_matches(".yaml"));
                        let project = Project { file: file.clone(), name, endpoint, peer };
                        project.run(peer, &["down", "-v", "-t", "0"]);
                        project.handed_over(peer, ours);
                        project.handed_over(ours, peer);
                        println!("{file}: changed hands both ways");
                    }
                })
            })
            .collect();
        for one in running {
            one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}
