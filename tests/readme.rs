//! Every block of the README is run.
//!
//! A block in ```` ```console ```` holds commands after `$ ` and what they print: lines that must appear in this order,
//! `…` stands for any number of others. `consort` is the binary under test, and so is `cargo run --release --`. Commands
//! that build or test the project itself are only checked for being there once: the gate runs them.
#![expect(clippy::print_stdout, reason = "says what was run")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{engines_required, environment};

/// A command and the lines that it should print.
struct Step {
    command: String,
    expected: Vec<String>,
}

fn blocks(text: &str) -> Vec<Vec<Step>> {
    let mut blocks = Vec::new();
    let mut open: Option<Vec<Step>> = None;
    for line in text.lines() {
        match (&mut open, line) {
            (None, "```console") => open = Some(Vec::new()),
            (None, other) => assert!(other == "```" || !other.starts_with("```"), "a block that no test runs: {other}"),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(steps), line) => match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step { command: command.to_owned(), expected: Vec::new() }),
                None => steps.last_mut().expect("a block begins with a command").expected.push(line.to_owned()),
            },
        }
    }
    blocks
}

/// Whether `printed` has the expected lines in order; without `…` between them they must follow each other.
fn matches(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "…" => (0..=printed.len()).any(|skip| matches(rest, &printed[skip..])),
        Some((first, rest)) => printed.split_first().is_some_and(|(line, others)| line.trim_end() == first.trim_end() && matches(rest, others)),
    }
}

#[test]
fn every_block_does_what_it_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("README.md")).expect("the README");
    let blocks = blocks(&text);
    assert!(blocks.len() >= 3, "the README has lost its blocks");
    let mut engines: Vec<(&str, Vec<(String, String)>)> = Vec::new();
    match environment("CONSORT_TEST_DOCKER28") {
        Some(endpoint) => engines.push(("docker28", vec![("DOCKER_HOST".into(), endpoint), ("HELLO_IMAGE".into(), "busybox".into())])),
        None => {
            assert!(!engines_required(), "CONSORT_TEST_DOCKER28 is required");
            println!("skipped README on docker28: CONSORT_TEST_DOCKER28 is not set");
        }
    }
    #[cfg(all(feature = "embedded", target_os = "linux"))]
    let home = support::embedded::Home::new("README");
    #[cfg(all(feature = "embedded", target_os = "linux"))]
    engines.extend(home.iter().map(|home| ("embedded", home.variables())));
    for (engine, variables) in &engines {
        println!("README on {engine}");
        run(root, &blocks, variables);
    }
}

/// Runs all blocks in an environment of these variables.
fn run(root: &Path, blocks: &[Vec<Step>], variables: &[(String, String)]) {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_consort"));
    let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", binary.parent().expect("a folder").display());
    for block in blocks {
        let mut folder = root.to_path_buf();
        for Step { command, expected } in block {
            if let Some(to) = command.strip_prefix("cd ") {
                folder = root.join(to);
                assert!(folder.is_dir(), "{command}: no such folder");
                continue;
            }
            if command == "cargo test" || command.contains("cargo build") {
                println!("left to the gate: {command}");
                continue;
            }
            let line = command.replace("cargo run --release --", "consort");
            assert!(line.starts_with("consort "), "a command that no test runs: {command}");
            let output = Command::new("/bin/sh")
                .args(["-c", &format!("{line} 2>&1")])
                .current_dir(&folder)
                .env_clear()
                .env("PATH", &path)
                .envs(variables.iter().map(|(k, v)| (k, v)))
                .stdin(Stdio::null())
                .output()
                .expect("a shell");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let printed: Vec<String> = text.lines().map(str::to_owned).collect();
            assert!(output.status.success(), "{command} ended with {}:\n{text}", output.status);
            assert!(expected.is_empty() || matches(expected, &printed), "{command} should print\n{}\nand printed\n{text}", expected.join("\n"));
            println!("as shown: {command}");
        }
    }
    let _ = Command::new(&binary)
        .args(["-f", "examples/compose/hello/compose.yaml", "down", "-t", "0"])
        .current_dir(root)
        .envs(variables.iter().map(|(k, v)| (k, v)))
        .output();
}
