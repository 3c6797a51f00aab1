//! The text layer against answers of Go's yaml and of the reference implementation, recorded outside this repository.
//! Where the recordings are absent the tests say so; the units beside the code hold the same rules.

use consort::diag::SourceId;
use consort::load::{self, Request, dotenv, render, words};
use consort::units::{Bytes, Duration};
use consort::yaml::{self, Node, Value};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The folder of recordings, or a note that it is absent.
fn recordings() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found = ["..", "../.."].iter().map(|up| root.join(up).join("shared/corpus/grammar")).find(|path| path.is_dir());
    if found.is_none() {
        // Through the stream and not the macro, so that it is seen without --nocapture.
        std::io::Write::write_all(&mut std::io::stderr(), b"../shared is absent: nothing compared\n").ok();
    }
    found
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn cases(path: PathBuf) -> Vec<Json> {
    serde_json::from_str(&read(path)).expect("a JSON list")
}

/// The tree in the notation of the recordings.
fn go(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(b) => json!(b),
        Value::Int(n) => json!({ "$int": n.to_string() }),
        Value::Uint(n) => json!({ "$int": n.to_string() }),
        Value::Float(f) => json!({ "$float64": f.to_string() }),
        Value::Time(_) => json!({ "$time.Time": "" }),
        Value::String(s) => json!(s),
        Value::Seq(items) => items.iter().map(go).collect(),
        Value::Map(map) => Json::Object(map.iter().map(|e| (e.key.clone(), go(&e.value))).collect()),
    }
}

/// Numbers in one spelling, times without value, unsigned like signed, so that only meaning is compared.
fn plain(json: Json) -> Json {
    match json {
        Json::Object(map) => {
            let single = map.iter().next().filter(|_| map.len() == 1).map(|(k, v)| (k.clone(), v.clone()));
            match single {
                Some((key, Json::String(n))) if key == "$float64" => {
                    json!({ key: n.replace("Inf", "inf").trim_start_matches('+').parse::<f64>().unwrap().to_string() })
                }
                Some((key, n)) if key == "$uint64" => json!({ "$int": n }),
                Some((key, _)) if key == "$time.Time" => json!({ key: "" }),
                _ => Json::Object(map.into_iter().map(|(k, v)| (k, plain(v))).collect::<BTreeMap<_, _>>().into_iter().collect()),
            }
        }
        Json::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

/// Our answer: the documents, or the first error.
fn ours(text: &str) -> Result<String, String> {
    let parsed = yaml::parse(SourceId(0), yaml::strip_bom(text));
    match parsed.diagnostics.iter().find(|d| d.is_error()) {
        Some(error) => Err(error.message.clone()),
        None => Ok(parsed.documents.iter().map(|d| plain(go(d)).to_string()).collect::<Vec<_>>().join(" --- ")),
    }
}

/// Compares with a recording `name<tab>OK<tab>documents` or `name<tab>ERR<tab>message`. `known` names the cases that
/// must differ, each with its reason.
fn compare(recording: &str, text_of: impl Fn(&str) -> String, known: &[(&str, &str)]) {
    let mut differences = Vec::new();
    let mut total = 0;
    for line in recording.lines() {
        let mut columns = line.splitn(3, '\t');
        let (name, status, answer) = (columns.next().unwrap(), columns.next().unwrap(), columns.next().unwrap_or(""));
        total += 1;
        let documents = answer.split(" --- ").filter(|d| !d.is_empty());
        let theirs = match status {
            "OK" => Ok(documents
                .map(|d| serde_json::from_str(d).map_or_else(|_| d.to_owned(), |d| plain(d).to_string()))
                .collect::<Vec<_>>()
                .join(" --- ")),
            _ => Err(answer.to_owned()),
        };
        let found = ours(&text_of(name));
        let same = found == theirs || found.is_err() && theirs.is_err();
        if same == known.iter().any(|(k, _)| *k == name) {
            differences.push(format!("{name}: ours {found:?}, theirs {theirs:?}"));
        }
    }
    assert!(differences.is_empty(), "{} of {total} are not as expected:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn scalars_are_typed_as_by_go() {
    let Some(dir) = recordings() else { return };
    let scalars = cases(dir.join("scalars.json"));
    let text = |name: &str| format!("v: {}\n", scalars[name[..3].parse::<usize>().unwrap()].as_str().unwrap());
    compare(&read(dir.join("scalars.v3")), text, &[("084.yaml", RESET)]);
}

const RESET: &str = "`!reset null` keeps its null; Go's library alone makes a string of it before the tag is looked at";
const KEYS: &str = "keys are strings in the format; Go's library alone allows others";
const DEEP: &str = "255 levels are enough for anybody, and later passes recurse";
const VERSION: &str = "harmless";
const BREAKS: &str = "no line breaks in YAML 1.2";
const KNOWN: &[(&str, &str)] = &[
    ("odd/alias_colon.yaml", "YAML 1.2 lets a colon be part of the name of an alias; the message says how to write it"),
    ("odd/bool_key.yaml", KEYS),
    ("odd/deep.yaml", DEEP),
    ("odd/deep_flow.yaml", DEEP),
    ("odd/dir_unk.yaml", VERSION),
    ("odd/dq_esc.yaml", "`\\/` is an escape in YAML 1.2"),
    ("odd/dup_num.yaml", KEYS),
    ("odd/int_key.yaml", KEYS),
    ("odd/ls.yaml", BREAKS),
    ("odd/merge_seq_alias.yaml", "a list of mappings is one, written in place or not"),
    ("odd/nel.yaml", BREAKS),
    ("odd/null_key.yaml", KEYS),
    ("odd/reset.yaml", RESET),
    ("odd/tab_only_line.yaml", "a line of blanks says nothing"),
    ("odd/yaml12.yaml", VERSION),
    ("odd/yaml13.yaml", VERSION),
];

#[test]
fn odd_files_read_as_by_go() {
    let Some(dir) = recordings() else { return };
    compare(&read(dir.join("odd.v3")), |name| String::from_utf8_lossy(&std::fs::read(dir.join(name)).unwrap()).into_owned(), KNOWN);
}

/// Compares a list of `[input, answer]`, where an answer that begins with `ERR` stands for any error.
fn compare_pairs(cases: &[Json], known: &[(&str, &str)], ours: impl Fn(&str) -> Result<Json, String>) {
    let mut differences = Vec::new();
    for case in cases {
        let (input, answer) = (case[0].as_str().expect("an input"), &case[1]);
        let found = ours(input);
        let same = match &found {
            Ok(found) => found == answer,
            Err(_) => answer.as_str().is_some_and(|a| a.starts_with("ERR")),
        };
        if same == known.iter().any(|(k, _)| *k == input) {
            differences.push(format!("{input:?}: ours {found:?}, theirs {answer}"));
        }
    }
    assert!(differences.is_empty(), "{} of {} are not as expected:\n{}", differences.len(), cases.len(), differences.join("\n"));
}

#[test]
fn durations_and_sizes_are_read_as_by_the_reference() {
    let Some(dir) = recordings() else { return };
    compare_pairs(&cases(dir.join("dur.json")), &[], |text| text.parse::<Duration>().map(|d| json!(d)).map_err(|e| e.to_string()));
    let minus_one = [("-1", "so that `${LIMIT:--1}` can say what `-1` says")];
    compare_pairs(&cases(dir.join("bytes.json")), &minus_one, |text| text.parse::<Bytes>().map(|b| json!(b)).map_err(|e| e.to_string()));
}

#[test]
fn commands_are_split_as_by_the_reference() {
    let Some(dir) = recordings() else { return };
    let known = [];
    compare_pairs(&cases(dir.join("command_split.json")), &known, |text| words::split(text).map(|w| json!(w)).map_err(|e| e.to_string()));
}

#[test]
fn strings_are_written_as_by_go() {
    let Some(dir) = recordings() else { return };
    let inputs = read(dir.join("emit.in.jsonl"));
    let cases: Vec<Json> =
        inputs.lines().zip(read(dir.join("emit.go.jsonl")).lines()).map(|(i, o)| json!([i, serde_json::from_str::<Json>(o).unwrap()])).collect();
    let known =
        [(r#""\n""#, "Go loses the line break"), (r#""\nx""#, "Go loses the line break"), (r#""a\u2028b""#, "YAML 1.2 readers would see other text")];
    compare_pairs(&cases, &known, |text| Ok(json!(yaml::emit(&json!({ "v": serde_json::from_str::<Json>(text).unwrap() })))));
}

#[test]
fn env_files_are_read_as_by_the_reference() {
    let Some(dir) = recordings() else { return };
    // Each line was recorded in a file after `A=1`, where it needs it `B=2`, and printed with dollar signs doubled.
    compare_pairs(&cases(dir.join("env_file.json")), &[], |line| {
        let mut diagnostics = Vec::new();
        let unset = |_: &str| None;
        let before = if line.contains("${B}") { "A=1\nB=2" } else { "A=1" };
        let found = dotenv::parse(SourceId(0), &format!("{before}\n{line}\n"), &unset, &mut diagnostics);
        match diagnostics.iter().find(|d| d.is_error()) {
            Some(error) => Err(error.message.clone()),
            None => {
                Ok(found.into_iter().filter_map(|(k, v)| Some((k, json!(v.value?.replace('$', "$$"))))).collect::<serde_json::Map<_, _>>().into())
            }
        }
    });
}

/// What the reference made of pieces of grammar when `tests/oracle/record.py` asked it: whole files, loaded and printed.
#[test]
fn pieces_of_grammar_are_read_as_by_the_reference() {
    let recording: Json = serde_json::from_str(include_str!("grammar.json")).expect("JSON");
    let mut differences = Vec::new();
    for (class, cases) in recording.as_object().expect("classes") {
        for case in cases.as_array().expect("cases") {
            let (input, theirs) = (case[0].as_str().expect("an input"), case[1].get("is").cloned());
            let known = MEANT.iter().any(|(c, i, _)| c == class && *i == input);
            let found = answer(class, input);
            if (found == theirs) == known {
                differences.push(format!("{class} {input:?}: ours {found:?}, theirs {theirs:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{} are not as expected:\n{}", differences.len(), differences.join("\n"));
}

/// Cases that differ on purpose: class, input, reason.
const MEANT: &[(&str, &str, &str)] = &[
    ("scalars", ".inf", "JSON has no such number: the reference fails to print it"),
    ("scalars", ".Inf", "JSON has no such number: the reference fails to print it"),
    ("scalars", "-.INF", "JSON has no such number: the reference fails to print it"),
    ("scalars", "+.inf", "JSON has no such number: the reference fails to print it"),
    ("scalars", ".nan", "JSON has no such number: the reference fails to print it"),
    ("scalars", ".NaN", "JSON has no such number: the reference fails to print it"),
    ("bytes", "-1", "so that `${LIMIT:--1}` can say what `-1` says"),
    ("bytes", "9223372036854775807", "the reference overflows"),
    ("bytes", "9223372036854775808", "the reference overflows"),
    ("env_files", "A", "the reference makes a variable without a name of it"),
    ("env_files", "A='b' c", "the reference makes a variable without a name of it"),
    ("env_files", "A=\"b\" c", "the reference makes a variable without a name of it"),
    ("env_files", "=1", "the reference makes a variable without a name of it"),
    ("yaml", "x-a: b\u{85}c\n", "no line breaks in YAML 1.2"),
    ("yaml", "x-a: b\u{2028}c\n", "no line breaks in YAML 1.2"),
    ("strings", "\u{1f600}", "the recording escapes what this test writes as it is"),
    ("strings", "\u{7f}", "the recording escapes what this test writes as it is"),
    ("strings", "a\u{2028}b", "YAML 1.2 readers would see other text"),
];

/// The part of `config` that a case is about; `None` where the file is refused.
fn answer(class: &str, input: &str) -> Option<Json> {
    const SERVICE: &str = "services: {a: {image: i}}\n";
    let with = |key: &str| format!("services: {{a: {{image: i, {key}: {}}}}}\n", json!(input));
    let folder = tempfile::tempdir().expect("a folder");
    let whole = !input.starts_with(['x', '?', '%', '\u{feff}']) || input.contains("---");
    let text = match class {
        "scalars" => format!("x-v: {input}\n{SERVICE}"),
        "strings" => format!("x-v: {}\n{SERVICE}", json!(input)),
        "words" => with("command"),
        "durations" => with("stop_grace_period"),
        "bytes" => with("mem_limit"),
        "env_files" => {
            std::fs::write(folder.path().join("vars"), input).expect("a file");
            "services: {a: {image: i, env_file: vars}}\n".to_owned()
        }
        "yaml" if whole => input.to_owned(),
        "yaml" => format!("{input}{SERVICE}"),
        other => panic!("no class {other}"),
    };
    std::fs::write(folder.path().join("compose.yaml"), text).expect("a file");
    let request = Request { cwd: folder.path().into(), project_name: Some("p".into()), ..Request::default() };
    let loaded = load::load(&request).ok()?;
    if class == "strings" {
        let text = render::config(&loaded, render::Format::Yaml);
        return text.find("\nx-v:").map(|at| json!(text[at + 1..]));
    }
    let all: Json = serde_json::from_str(&render::config(&loaded, render::Format::Json)).expect("JSON");
    let of_service = |key: &str| all["services"]["a"][key].clone();
    Some(match class {
        "scalars" => all["x-v"].clone(),
        "words" => of_service("command"),
        "durations" => of_service("stop_grace_period"),
        "bytes" => of_service("mem_limit"),
        "env_files" => of_service("environment"),
        _ => all.as_object().into_iter().flatten().filter(|(k, _)| k.starts_with("x-")).map(|(k, v)| (k.clone(), v.clone())).collect(),
    })
}
