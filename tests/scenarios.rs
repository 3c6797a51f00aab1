//! Whole commands on the simulated engine, in virtual time: what the user sees, to the letter.
//!
//! Each folder of `tests/scenarios/` is one story about one thing: a `compose.yaml` with `x-sim:`, and a file `run`:
//!
//! ```text
//! # What it is about.
//! $ consort up -d --wait
//! ^C @ 3s
//! & 2s consort kill db
//! stdout|what it prints
//! stderr|what it says
//! exit 0
//! took 3.5s
//! ```
//!
//! `^C @ TIME` and `^T @ TIME` (SIGTERM) are sent while the command above them runs; `& TIME COMMAND` is run beside it
//! and must succeed. `$ NAME=value consort …` sets the environment. Besides `consort` there is `sim state` (what
//! exists), `sim ops` (what the engine was asked for since the last time, with the time) and `sim wait TIME`. The path
//! of the folder is written `<dir>`.
//!
//! `BLESS=1 cargo test --test scenarios` writes what happens into the files, to be read before it is believed.
//! `CONSORT_TEST_SCENARIO=gate` runs those with `gate` in their name.

mod support;

use consort::cli::{Session, Signal, run};
use consort::engine::sim::Sim;
use consort::load::{Request, load};
use consort::model::Project;
use consort::units::Timestamp;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// No command takes so long, unless it hangs.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time of day of the scenario that runs on this thread: the engine's.
fn clock() -> Timestamp {
    let passed = BEGAN.get().map_or(0, |began| began.elapsed().as_nanos());
    Timestamp(Sim::EPOCH.0 + i64::try_from(passed).unwrap())
}

/// A line of a run file that does something.
#[derive(Clone, Debug, Default)]
struct Step {
    /// Comments and blank lines before it, with their line ends.
    before: String,
    command: String,
    /// Lines about what happens while it runs, as written.
    beside: Vec<String>,
}

fn parse(text: &str) -> (Vec<Step>, String) {
    let (mut steps, mut before): (Vec<Step>, String) = (Vec::new(), String::new());
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { before: std::mem::take(&mut before), command: command.to_owned(), beside: Vec::new() });
        } else if line.starts_with('^') || line.starts_with("& ") {
            steps.last_mut().expect("a command before what happens beside it").beside.push(line.to_owned());
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(before, "{line}").unwrap();
        }
    }
    (steps, before)
}

/// Reads `3s`, `250ms`, `1.5s`.
fn time(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or_else(|| panic!("{text} has no unit")));
    let number: f64 = number.parse().unwrap_or_else(|_| panic!("{text} is no time"));
    Duration::from_secs_f64(number * if unit == "ms" { 0.001 } else { 1.0 })
}

/// A scenario that runs.
struct Stage {
    dir: PathBuf,
    sim: Sim,
    learnt: Option<Project>,
    seen_ops: usize,
}

impl Stage {
    /// Runs one step; what is to be written under it.
    async fn step(&mut self, step: &Step) -> String {
        let words: Vec<String> = split(&step.command);
        let environment = words.iter().take_while(|w| is_assignment(w)).filter_map(|w| w.split_once('='));
        let environment: BTreeMap<String, String> = environment.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).skip(environment.len()).collect();
        match words.as_slice() {
            ["sim", "state"] => lines("stdout", &self.sim.snapshot().to_string()),
            ["sim", "ops"] => lines("stdout", &self.ops()),
            ["sim", "wait", length] => {
                tokio::time::sleep(time(length)).await;
                String::new()
            }
            ["consort", args @ ..] => {
                self.learn(args, &environment);
                self.consort(args, environment, &step.beside).await
            }
            other => panic!("{}: no such command: {other:?}", self.dir.display()),
        }
    }

    /// Ops since the last time this was asked.
    fn ops(&mut self) -> String {
        let records = self.sim.records();
        let mut text = String::new();
        for record in records.iter().skip(self.seen_ops) {
            let at = Duration::from_nanos((record.begun.0 - Sim::EPOCH.0).unsigned_abs());
            let outcome = match &record.ended {
                Some((_, Ok(applied))) if applied.changed => String::new(),
                Some((_, Ok(_))) => " (nothing to do)".into(),
                Some((_, Err(error))) => format!(" (failed: {error})"),
                None => " (not ended)".into(),
            };
            writeln!(text, "{at:?} {} {}{outcome}", record.op.verb(), record.op.subject().name).unwrap();
        }
        self.seen_ops = records.len();
        text
    }

    /// Lets the engine read `x-sim:` of the files that the command is about.
    fn learn(&mut self, args: &[&str], environment: &BTreeMap<String, String>) {
        let after = |flag: &str| args.windows(2).filter(|w| w[0] == flag).map(|w| w[1].to_owned()).collect::<Vec<_>>();
        let request = Request {
            files: after("-f").into_iter().filter(|f| !f.starts_with("--") && f.contains('.')).collect(),
            project_name: after("-p").pop(),
            profiles: vec!["*".into()],
            environment: environment.clone(),
            cwd: self.dir.clone(),
            ..Request::default()
        };
        let Ok(loaded) = load(&request) else { return };
        if self.learnt.as_ref() != Some(&loaded.project) {
            self.sim.learn(&loaded.project).unwrap_or_else(|e| panic!("{}: {}", self.dir.display(), e[0]));
            self.learnt = Some(loaded.project);
        }
    }

    fn session(&self, args: &[&str], environment: BTreeMap<String, String>) -> (Session, consort::cli::Wires) {
        let (session, wires) = Session::captured(&self.dir, args);
        (Session { engine: Some(Arc::new(self.sim.clone())), environment, clock, ..session }, wires)
    }

    async fn consort(&self, args: &[&str], environment: BTreeMap<String, String>, beside: &[String]) -> String {
        let began = Instant::now();
        let (session, wires) = self.session(args, environment);
        let mut helpers = Vec::new();
        for line in beside {
            if let Some((signal, at)) = line.split_once(" @ ") {
                let signal = match signal {
                    "^C" => Signal::Interrupt,
                    "^T" => Signal::Terminate,
                    other => panic!("no such signal: {other}"),
                };
                let (at, signals) = (time(at), wires.signals.clone());
                helpers.push(tokio::task::spawn_local(async move {
                    tokio::time::sleep(at).await;
                    // The command may be over by then.
                    let _ = signals.send(signal).await;
                }));
            } else {
                let (at, command) = line.trim_start_matches("& ").split_once(' ').expect("a time and a command");
                let (at, words) = (time(at), split(command));
                let words: Vec<&str> = words.iter().map(String::as_str).skip(1).collect();
                let (session, wires) = self.session(&words, BTreeMap::new());
                let command = command.to_owned();
                helpers.push(tokio::task::spawn_local(async move {
                    tokio::time::sleep(at).await;
                    let exit = run(session).await;
                    assert_eq!(exit.code(), 0, "{command}: {}", wires.stderr.text());
                }));
            }
        }
        let exit = tokio::time::timeout(LIMIT, run(session)).await;
        let took = began.elapsed();
        for helper in helpers {
            helper.await.unwrap();
        }
        let dir = self.dir.to_str().unwrap();
        let plain = |text: String| text.replace(dir, "<dir>").replace(concat!("version=", env!("CARGO_PKG_VERSION")), "version=<version>");
        let mut text = lines("stdout", &plain(wires.stdout.text()));
        text += &lines("stderr", &plain(wires.stderr.text()));
        match exit {
            Ok(exit) => writeln!(text, "exit {}", exit.code()).unwrap(),
            Err(_) => text += "HANGS\n",
        }
        if !took.is_zero() {
            writeln!(text, "took {took:?}").unwrap();
        }
        text
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'))
}

/// Splits a command line at blanks; single quotes keep them.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

fn lines(stream: &str, text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        match line.strip_suffix('\n') {
            Some(line) => writeln!(out, "{stream}|{line}").unwrap(),
            None => writeln!(out, "{stream}|{line}\\").unwrap(),
        }
    }
    out
}

/// Runs a scenario; the run file as it should be.
fn play(dir: &Path) -> String {
    let text = std::fs::read_to_string(dir.join("run")).unwrap_or_else(|e| panic!("{}: {e}", dir.join("run").display()));
    let (steps, after) = parse(&text);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        BEGAN.set(Some(Instant::now()));
        let mut stage = Stage { dir: dir.to_owned(), sim: Sim::new(), learnt: None, seen_ops: 0 };
        let mut out = String::new();
        for step in &steps {
            writeln!(out, "{}$ {}", step.before, step.command).unwrap();
            for line in &step.beside {
                writeln!(out, "{line}").unwrap();
            }
            out += &stage.step(step).await;
        }
        out + &after
    })
}

/// The first line in which two texts differ.
fn difference(expected: &str, found: &str) -> String {
    let (mut a, mut b, mut number) = (expected.lines(), found.lines(), 0);
    loop {
        number += 1;
        match (a.next(), b.next()) {
            (None, None) => return "they differ in their line ends".into(),
            (x, y) if x == y => {}
            (x, y) => return format!("line {number}\n    expected: {}\n    found:    {}", x.unwrap_or("(end)"), y.unwrap_or("(end)")),
        }
    }
}

#[test]
fn scenarios() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let wanted = support::environment("CONSORT_TEST_SCENARIO").unwrap_or_default();
    let bless = support::environment("BLESS").is_some();
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.join("run").exists()).collect();
    dirs.retain(|d| d.file_name().unwrap().to_str().unwrap().contains(&wanted));
    dirs.sort();
    let mut failures = Vec::new();
    for dir in &dirs {
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        let expected = std::fs::read_to_string(dir.join("run")).unwrap();
        let playing = dir.clone();
        // A thread of its own, so that a panic is its own.
        let found = std::thread::spawn(move || play(&playing)).join();
        match found {
            Err(_) => failures.push(format!("{name}: panicked")),
            Ok(found) if found == expected => {}
            Ok(found) if bless => std::fs::write(dir.join("run"), found).unwrap(),
            Ok(found) => failures.push(format!("{name}/run {}", difference(&expected, &found))),
        }
    }
    support::say(&format!("scenarios: {} played, {} failed", dirs.len(), failures.len()));
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
