//! Broken projects and what the real binary says about them, to the letter.
//!
//! Each file of `tests/broken` is one case. Its first line tells the slip; then come its parts, each under a line that
//! begins with `====`:
//!
//! | line | part |
//! |---|---|
//! | `==== NAME` | a file of the project; with `(escapes)` behind the name, `\t`, `\r`, `\0`, `\xHH` and `\\` are escapes |
//! | `==== NAME/` | an empty folder |
//! | `==== args` | the arguments, `config -q` if absent |
//! | `==== environment` | `KEY=value` lines |
//! | `==== stdin` | standard input |
//! | `==== exit CODE` | what is expected: the exit code, and under it all of standard error, `{DIR}` for the folder |
//!
//! `BLESS=1 cargo test --test broken` writes the last part anew. Read each text that changes: is the place exact, is it
//! the cause and no consequence, does the cure tell what to type, is there one message for one slip?

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
#[expect(clippy::disallowed_methods, reason = "whether to write the expected texts anew is said by a variable")]
fn every_slip_is_told_with_its_place_and_its_cure() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken"), &mut files);
    files.sort();
    let refused = files.iter().filter(|file| check(file, bless)).count();
    assert!(refused >= 150, "only {refused} of {} cases are refused", files.len());
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            collect(&entry, files);
        } else {
            files.push(entry);
        }
    }
}

/// Runs one case, compares or blesses it, and says whether the project is refused.
fn check(file: &Path, bless: bool) -> bool {
    let text = fs::read_to_string(file).unwrap();
    let case = Case::read(&text);
    let found = case.run();
    if bless {
        fs::write(file, format!("{}{found}", case.input)).unwrap();
    } else {
        let expected = &text[case.input.len()..];
        assert_eq!(found, expected, "\n{}\n-- found\n{found}\n-- expected\n{expected}", file.display());
    }
    let refused = found.starts_with("==== exit 1\n");
    assert!(!refused || found.contains("error"), "{} is refused without an error", file.display());
    refused
}

/// The input of one case.
struct Case<'t> {
    /// Everything before the expected part.
    input: &'t str,
    parts: BTreeMap<&'t str, &'t str>,
}

impl<'t> Case<'t> {
    fn read(text: &'t str) -> Self {
        let input = text.find("\n==== exit ").map_or(text, |end| &text[..=end]);
        let parts = input.split("\n==== ").skip(1).map(|part| part.split_once('\n').unwrap_or((part, "")));
        Self { input, parts: parts.collect() }
    }

    /// The text of a part; every line of it ends with a line break.
    fn part(&self, name: &str) -> Option<String> {
        self.parts.get(name).map(|text| if text.is_empty() || text.ends_with('\n') { (*text).to_owned() } else { format!("{text}\n") })
    }

    fn run(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("shop");
        fs::create_dir(&project).unwrap();
        for name in self.parts.keys().filter(|n| !["args", "environment", "stdin"].contains(n)) {
            let content = self.part(name).unwrap();
            let (name, content) = match name.strip_suffix(" (escapes)") {
                Some(name) => (name, unescaped(&content)),
                None => (*name, content.into_bytes()),
            };
            let path = project.join(name);
            if name.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
        }
        let args = self.part("args").unwrap_or_else(|| "config -q".to_owned());
        let environment = self.part("environment").unwrap_or_default();
        let mut child = Command::new(env!("CARGO_BIN_EXE_consort"))
            .args(args.split_whitespace())
            .env_clear()
            .envs(environment.lines().filter_map(|l| l.split_once('=')))
            .current_dir(&project)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who doesn't read it has ended already.
        let _ = child.stdin.take().unwrap().write_all(self.part("stdin").unwrap_or_default().as_bytes());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "`config -q` prints nothing");
        let said = String::from_utf8(output.stderr).unwrap().replace(&project.display().to_string(), "{DIR}");
        let code = output.status.code().map_or_else(|| "by a signal".to_owned(), |c| c.to_string());
        format!("==== exit {code}\n{said}")
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        let (byte, length) = match after.as_bytes()[0] {
            b't' => (b'\t', 1),
            b'r' => (b'\r', 1),
            b'0' => (0, 1),
            b'\\' => (b'\\', 1),
            b'x' => (u8::from_str_radix(&after[1..3], 16).unwrap(), 3),
            other => panic!("unknown escape \\{}", char::from(other)),
        };
        bytes.push(byte);
        rest = &after[length..];
    }
    bytes.extend(rest.bytes());
    bytes
}
