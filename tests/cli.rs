//! The real binary: help, exit codes, streams, terminals.

use std::path::Path;
use std::process::{Command, Output, Stdio};

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
        "up", "down", "ps", "logs", "exec", "start", "stop", "restart", "kill", "rm", "pull", "ls", "config", "create", "pause", "unpause", "version",
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
