//! A bare machine: a kernel, busybox, the program. Control groups of version 2 only, which the machine that runs the
//! tests may not have.

use crate::support::{engines_required, environment, say};
use std::path::Path;
use std::process::Command;

/// What a step printed, and its exit code.
fn step<'a>(console: &'a str, name: &str, turn: usize) -> (&'a str, &'a str) {
    let head = format!("== {name}\n");
    let from = console.match_indices(&head).nth(turn).unwrap_or_else(|| panic!("no step {name} in\n{console}")).0 + head.len();
    let rest = &console[from..];
    let end = rest.find("-- ").unwrap_or_else(|| panic!("step {name} has no end in\n{console}"));
    (&rest[..end], rest[end + 3..].lines().next().unwrap_or_default())
}

#[test]
fn a_project_runs_on_control_groups_of_version_2_with_nothing_installed() {
    let Some(machine) = environment("CONSORT_TEST_MACHINE") else {
        assert!(!engines_required(), "the bare machine is required, but CONSORT_TEST_MACHINE doesn't say where it is");
        say("embedded: the bare machine is skipped: CONSORT_TEST_MACHINE doesn't say where it is");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/embedded/machine");
    for file in ["compose.yaml", "run"] {
        std::fs::copy(here.join(file), folder.path().join(file)).unwrap();
    }
    // Debug information would be most of what the machine has to load.
    let stripped = Command::new("strip").arg("-o").arg(folder.path().join("consort")).arg(env!("CARGO_BIN_EXE_consort")).status();
    assert!(stripped.expect("strip").success());
    let run = Command::new(machine).arg("run").arg(folder.path()).output().expect("the machine");
    let console = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{console}{}", String::from_utf8_lossy(&run.stderr));
    let ended_well = |name, turn| {
        let (text, code) = step(&console, name, turn);
        assert_eq!(code, "0", "{name}: {text}\n{console}");
        text
    };
    ended_well("up", 0);
    let logs = ended_well("logs", 0);
    let lines = ["served", "cpu 50000 100000", "memory 67108864", "pids 20", "zero can be read", "memory of the machine can't be read"];
    for line in lines {
        assert!(logs.lines().any(|l| l == line), "no line {line:?} in {logs}\n{console}");
    }
    let state = ended_well("state", 0);
    assert!(state.contains("eater exited 137") && state.contains("client exited 0") && state.contains("web running"), "{console}");
    assert!(ended_well("why", 0).contains("memory ran out (limit 32.0 MiB)"), "{console}");
    assert!(ended_well("words", 0).contains("(out of memory)"), "{console}");
    assert_eq!(ended_well("published", 0), "served\n");
    ended_well("pause", 0);
    assert!(ended_well("frozen", 0).contains('1'), "{console}");
    ended_well("unpause", 0);
    assert_eq!(ended_well("exec", 0), "0\n");
    ended_well("down", 0);
    assert_eq!(ended_well("volume", 0), "kept\n");
    ended_well("down", 1);
    assert_eq!(ended_well("left", 0), "", "something is left behind");
}
