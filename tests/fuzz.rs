//! Loading is fed with what nobody means: inputs that were found once, random changes of good and broken projects, and
//! short texts that ask for a great deal.
//!
//! `tests/fuzz/targets.rs` says what is fuzzed and what counts as a finding; `tests/fuzz/run` is the long search, guided by
//! what the code does. `CONSORT_FUZZ_SEED` repeats a run, `CONSORT_FUZZ_ROUNDS` makes it longer.

#[path = "fuzz/hungry.rs"]
mod hungry;
#[path = "fuzz/mutate.rs"]
mod mutate;
mod support;
#[path = "fuzz/targets.rs"]
mod targets;

use mutate::Dice;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use support::environment;
use targets::Target;

/// How many changed inputs each target gets.
const ROUNDS: usize = 1500;
/// After this an input counts as one that never ends, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// What an input of up to a megabyte may take of memory, in KiB, as data: heap, stacks of threads, private mappings.
const MEMORY: u32 = 100 * 1024;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Texts to begin with.
fn seeds(target: Target) -> Vec<String> {
    let mut found = Vec::new();
    for path in [root().join("load"), root().join("broken"), root().join("../examples")].iter().flat_map(|f| files(f)) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let name = path.file_name().unwrap().to_string_lossy();
        let is_env = name.contains("env");
        if path.extension().is_some_and(|e| e == "txt") && path.parent().is_some_and(|p| p.parent() == Some(&root().join("broken"))) {
            let input = text.split("\n==== exit ").next().unwrap_or_default();
            found.extend(input.split_once("\n==== compose.yaml\n").map(|(_, rest)| rest.to_owned()));
        } else if name.ends_with(".yaml") || is_env && target == Target::Dotenv {
            found.push(text);
        }
    }
    assert!(found.len() > 100, "{} seeds", found.len());
    found
}

/// Names on standard error what the threads are at when one of them doesn't come to an end, and ends the test.
fn watch(what: &'static str) -> Sender<String> {
    let (sender, receiver) = channel::<String>();
    std::thread::spawn(move || {
        let mut last = String::new();
        loop {
            match receiver.recv_timeout(PATIENCE) {
                Ok(next) => last = next,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    _ = writeln!(std::io::stderr(), "{what} doesn't end with this input:\n{last:?}");
                    std::process::abort();
                }
            }
        }
    });
    sender
}

/// What is wrong with `text`, if anything.
fn finding(target: Target, text: &str) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| target.run(text))) {
        Ok(Ok(())) => None,
        Ok(Err(finding)) => Some(finding),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Some(format!("panic: {}", said.unwrap_or_default()))
        }
    }
}

#[test]
fn what_was_found_once_is_found_no_more() {
    for target in Target::ALL {
        let watch = watch(target.name());
        for path in files(&root().join("fuzz/inputs").join(target.name())) {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            watch.send(path.display().to_string()).unwrap();
            // What breaks one target may break another.
            for target in Target::ALL {
                if let Some(finding) = finding(target, &text) {
                    panic!("{} of {}: {finding}", target.name(), path.display());
                }
            }
        }
    }
}

#[test]
fn random_changes_break_nothing() {
    let number = |name: &str| environment(name).map(|v| v.parse::<u64>().expect("a number"));
    let seed = number("CONSORT_FUZZ_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs() ^ u64::from(now.subsec_nanos())
    });
    let rounds = number("CONSORT_FUZZ_ROUNDS").map_or(ROUNDS, |n| usize::try_from(n).unwrap());
    for target in Target::ALL {
        let (seeds, mut dice, watch) = (seeds(target), Dice::new(seed), watch(target.name()));
        for round in 0..rounds {
            let (text, donor) = (&seeds[dice.below(seeds.len())], &seeds[dice.below(seeds.len())]);
            let mut changed = mutate::mutate(text, donor, &mut dice);
            changed.truncate((0..=changed.len().min(20_000)).rev().find(|at| changed.is_char_boundary(*at)).unwrap_or(0));
            watch.send(changed.clone()).unwrap();
            if let Some(finding) = finding(target, &changed) {
                let file = root().join("fuzz/inputs").join(target.name()).join(format!("{seed:x}-{round}"));
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(&file, &changed).unwrap();
                panic!("{}, CONSORT_FUZZ_SEED={seed}, round {round}, kept as {}: {finding}", target.name(), file.display());
            }
        }
    }
}

/// The real binary, held by the system to [`MEMORY`], says yes or names what is too much.
#[test]
fn short_texts_that_ask_for_a_great_deal_get_little() {
    let watch = watch("config");
    let mut faults = Vec::new();
    for case in hungry::cases() {
        let folder = tempfile::tempdir().unwrap();
        let size: usize = case.files.iter().map(|(_, text)| text.len()).sum();
        assert!(size <= 1 << 20, "{} has {size} bytes", case.name);
        for (name, text) in &case.files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        watch.send(case.name.to_owned()).unwrap();
        let limited = format!("ulimit -c 0 && ulimit -d {MEMORY} && exec \"$0\" -p p config -q");
        let output = Command::new("/bin/sh")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_consort")])
            .env_clear()
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let right = match (output.status.code(), case.error) {
            (Some(0), None) => true,
            (Some(1), Some(code)) => {
                said.contains(&format!("error[{code}]: ")) && (said.contains(" --> ") || code == "unreadable-file") && said.contains("help: ")
            }
            _ => false,
        };
        if !right {
            let first: String = said.chars().take(600).collect();
            faults.push(format!("{}: {:?}, expected {:?}\n{first}", case.name, output.status, case.error));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
