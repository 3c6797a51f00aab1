//! The JSON schema and the document that are made from the key table: the files in `schema/` are true, the schema is a
//! valid one, and it takes what the loader takes. `BLESS=1 cargo test --test schema` writes the files anew.

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use consort::diag::SourceId;
use consort::load::{self, Request, keys};
use consort::yaml::{self, Node, Tag, Value};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

#[test]
fn the_files_are_true() {
    hold("compose.schema.json", &format!("{:#}\n", keys::schema()));
    hold("keys.md", &keys::reference());
}

#[expect(clippy::disallowed_methods, reason = "whether to write the files anew is said by a variable")]
fn hold(name: &str, text: &str) {
    let path = root().join("schema").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "schema/{name} is not what the key table says: BLESS=1 cargo test --test schema");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The schema in a validator that knows nothing of this crate. Compiling it checks it against the draft.
struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.add_resource("compose.schema.json", keys::schema()).unwrap();
        let mut schemas = Schemas::new();
        let index = compiler.compile("compose.schema.json", &mut schemas).unwrap_or_else(|e| panic!("{e:#}"));
        Self { schemas, index }
    }

    /// Why it refuses `document`.
    fn refusal(&self, document: &Json) -> Option<String> {
        self.schemas.validate(document, self.index).err().map(|e| format!("{e:#}"))
    }
}

/// The document as an editor sees it. What is marked with `!reset` may be anything.
fn json_of(node: &Node) -> Option<Json> {
    if node.tag == Some(Tag::Reset) {
        return None;
    }
    Some(match &node.value {
        Value::Null => Json::Null,
        Value::Bool(b) => json!(b),
        Value::Int(n) => json!(n),
        Value::Uint(n) => json!(n),
        Value::Float(f) => json!(f),
        Value::Time(s) | Value::String(s) => json!(s),
        Value::Seq(items) => items.iter().filter_map(json_of).collect(),
        Value::Map(map) => map.iter().filter_map(|e| Some((e.key.clone(), json_of(&e.value)?))).collect(),
    })
}

/// Every Compose file below `folder`.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            files(&path, found);
        } else if (name.contains("compose") || name.starts_with("docker")) && (name.ends_with(".yaml") || name.ends_with(".yml")) {
            found.push(path);
        }
    }
}

#[test]
fn it_takes_every_file_that_the_loader_takes() {
    let validator = Validator::new();
    let mut paths = Vec::new();
    files(&root().join("examples"), &mut paths);
    files(&root().join("tests/load"), &mut paths);
    match ["..", "../.."].iter().map(|up| root().join(up).join("shared/corpus")).find(|path| path.is_dir()) {
        Some(corpus) => files(&corpus, &mut paths),
        // Through the stream and not the macro, so that it is seen without --nocapture.
        None => _ = std::io::Write::write_all(&mut std::io::stderr(), b"../shared is absent: only files of this repository compared\n"),
    }
    let (mut faults, mut taken) = (Vec::new(), 0);
    for path in &paths {
        let request = Request {
            files: vec![path.display().to_string()],
            cwd: path.parent().unwrap().to_path_buf(),
            project_name: Some("p".into()),
            ..Request::default()
        };
        if load::load(&request).is_err() {
            continue;
        }
        taken += 1;
        let text = std::fs::read_to_string(path).unwrap();
        for document in yaml::parse(SourceId(0), yaml::strip_bom(&text)).documents {
            if let Some(why) = json_of(&document).filter(|d| !d.is_null()).and_then(|d| validator.refusal(&d)) {
                faults.push(format!("{}: {why}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{} of {taken} files are refused:\n{}", faults.len(), faults.join("\n"));
    assert!(taken >= 30, "only {taken} files");
}

#[test]
fn it_refuses_what_is_wrong() {
    let validator = Validator::new();
    let service = |service: Json| json!({ "services": { "web": service } });
    for wrong in [
        json!({ "service": {} }),
        json!({ "services": { "we b": { "image": "i" } } }),
        service(json!({ "imagee": "i" })),
        service(json!({ "image": ["i"] })),
        service(json!({ "image": "i", "ports": "80" })),
        service(json!({ "image": "i", "healthcheck": { "interval": 5 } })),
        service(json!({ "image": "i", "healthcheck": { "interval": "5 s" } })),
        service(json!({ "image": "i", "depends_on": { "db": { "condition": "healthy" } } })),
        service(json!({ "image": "i", "mem_limit": "1x" })),
        service(json!({ "image": "i", "init": "perhaps" })),
        service(json!({ "image": "i", "deploy": { "replicas": -1 } })),
        service(json!({ "image": "i", "volumes": [{ "type": "bind", "taget": "/x" }] })),
        json!({ "networks": { "n": { "x": 1 } } }),
    ] {
        assert!(validator.refusal(&wrong).is_some(), "{wrong} is taken");
    }
    for right in [
        service(json!({ "image": "i", "init": "${INIT:-true}", "mem_limit": "1.5g", "x-mine": 1 })),
        service(json!({ "image": "i", "ports": ["80:80", 81, { "target": 82, "published": "8082" }] })),
        service(json!({ "image": "i", "healthcheck": { "test": "true", "interval": "1m30s", "retries": "${N}" } })),
    ] {
        assert_eq!(validator.refusal(&right), None, "{right}");
    }
}
