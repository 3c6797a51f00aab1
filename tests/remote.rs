//! Compose files from elsewhere, with the real binary: a Git server of our own, and the registry of the test set-up.
#![expect(clippy::print_stdout, reason = "says what was skipped")]

mod support;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use support::{engines_required, environment};

/// A server of the repositories in a folder; ends with the test.
struct GitDaemon {
    process: Child,
    port: u16,
}

impl GitDaemon {
    /// `None`, and says so, where git or its daemon isn't installed.
    fn start(base: &Path) -> Option<Self> {
        let found = Command::new("git").arg("--exec-path").output().ok().filter(|o| o.status.success());
        let program = found.map(|o| Path::new(String::from_utf8_lossy(&o.stdout).trim()).join("git-daemon"));
        let Some(program) = program.filter(|p| p.is_file()) else {
            assert!(!engines_required(), "git and git-daemon are required");
            println!("skipped files from Git: git, or git-daemon, is not installed");
            return None;
        };
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        // Itself, for `git daemon` would leave it behind.
        let mut process = Command::new(program)
            .args(["--verbose", "--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", base.display()))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = said.skip_while(|l| !l.contains("Ready to rumble"));
        assert!(said.next().is_some(), "git daemon ended");
        // It would be ended by a line that nobody reads.
        std::thread::spawn(move || said.for_each(drop));
        Some(Self { process, port })
    }
}

impl Drop for GitDaemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn consort(home: &Path, folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_consort"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn config(home: &Path, folder: &Path, args: &[&str]) -> Json {
    let output = consort(home, folder, &[args, &["config", "--format", "json"]].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refusal(home: &Path, folder: &Path, args: &[&str]) -> String {
    let output = consort(home, folder, &[args, &["config", "-q"]].concat());
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn files_come_from_git() {
    let root = tempfile::tempdir().unwrap();
    let (home, here, origin) = (root.path().join("home"), root.path().join("here"), root.path().join("srv/stack"));
    write(
        &origin,
        &[
            ("compose.yaml", "include: [inc/compose.yaml]\nservices:\n  web:\n    image: busybox:${TAG:-one}\n    volumes: ['./data:/data']\n"),
            ("inc/compose.yaml", "services:\n  inner:\n    image: busybox\n    env_file: inner.env\n"),
            ("inc/inner.env", "FROM=git\n"),
            ("sub/other.yaml", "services:\n  base:\n    image: sub\n    volumes: ['./x:/x']\n"),
            (".env", "TAG=not-this\n"),
        ],
    );
    let Some(daemon) = GitDaemon::start(&root.path().join("srv")) else { return };
    git(&origin, &["init", "--quiet"]);
    git(&origin, &["add", "-A"]);
    git(&origin, &["commit", "--quiet", "-m", "first"]);
    git(&origin, &["tag", "-a", "-m", "text", "v1"]);
    // A branch whose name ends like that of another, and sorts before it.
    git(&origin, &["checkout", "--quiet", "-b", "feature/main"]);
    write(&origin, &[("compose.yaml", "services: {feature: {image: busybox}}\n")]);
    git(&origin, &["commit", "--quiet", "-a", "-m", "second"]);
    git(&origin, &["checkout", "--quiet", "main"]);
    let commit = git(&origin, &["rev-parse", "main"]);
    let url = format!("git://127.0.0.1:{}/stack", daemon.port);
    let copy = home.join(".cache/docker-compose").join(&commit);
    write(&here, &[(".env", "TAG=two\n")]);

    for name in [url.clone(), format!("{url}#main"), format!("{url}#v1:compose.yaml"), format!("{url}#{commit}:.")] {
        let found = config(&home, &here, &["-f", &name]);
        assert_eq!(found["name"], "here", "the project is called after the folder that it is started from");
        assert_eq!(found["services"]["web"]["image"], "busybox:two", "variables come from here");
        assert_eq!(found["services"]["web"]["volumes"][0]["source"], copy.join("data").display().to_string());
        assert_eq!(found["services"]["inner"]["environment"]["FROM"], "git");
    }

    write(
        &here,
        &[
            ("include.yaml", &format!("include: ['{url}#:sub/other.yaml']\nservices: {{own: {{image: own}}}}\n")),
            ("extends.yaml", &format!("services:\n  own:\n    image: own\n    extends: {{file: '{url}#:sub/other.yaml', service: base}}\n")),
            ("bad.yaml", &format!("include:\n  - {url}#v2\nservices: {{own: {{image: own, port: 1}}}}\n")),
        ],
    );
    let x = copy.join("sub/x").display().to_string();
    assert_eq!(config(&home, &here, &["-f", "include.yaml"])["services"]["base"]["volumes"][0]["source"], x);
    let own = &config(&home, &here, &["-f", "extends.yaml"])["services"]["own"];
    assert_eq!((&own["image"], &own["volumes"][0]["source"]), (&Json::from("own"), &Json::from(x)));

    let said = refusal(&home, &here, &["-f", "bad.yaml"]);
    assert!(said.contains("no branch and no tag \"v2\"") && said.contains("bad.yaml:2:5"), "{said}");
    assert!(said.contains("unknown key `port`"), "other faults are told at the same time: {said}");
    assert!(refusal(&home, &here, &["-f", &format!("{url}#:nowhere")]).contains("no Compose file at \"nowhere\""));
    assert!(refusal(&home, &here, &["-f", &format!("{url}#:../x")]).contains("leads out of"));
    let gone = format!("git://127.0.0.1:{}/gone", daemon.port);
    assert!(refusal(&home, &here, &["-f", &gone]).contains("can't be reached"));

    // Who is asked and who answers.
    let up = |flags: &[&str], answer: &[u8]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_consort"))
            .args(["-f", "include.yaml", "--engine", "sim", "up", "-d"])
            .args(flags)
            .current_dir(&here)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(answer).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = up(&[], b"");
    assert!(code == Some(1) && said.contains(&url) && said.contains("nobody answered") && !said.contains("Created"), "{said}");
    let (code, said) = up(&[], b"n\n");
    assert!(code == Some(1) && said.contains("not accepted") && !said.contains("Created"), "{said}");
    for (flags, answer) in [(&[][..], &b"y\n"[..]), (&["-y"], b"")] {
        let (code, said) = up(flags, answer);
        assert!(code == Some(0) && said.contains("here-base-1"), "{said}");
    }

    let kept: Vec<_> = std::fs::read_dir(copy.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(kept, [commit.as_str()], "nothing half done is left");
}

/// One request to a registry, by hand; returns status, headers and body as text.
fn http(host: &str, authorization: &str, request: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{authorization}", body.len());
    let kind = if request.contains("/manifests/") { "application/vnd.oci.image.manifest.v1+json" } else { "application/octet-stream" };
    stream.write_all(format!("{head}Content-Type: {kind}\r\n\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Pushes files as `docker compose publish` does.
fn publish(host: &str, authorization: &str, name: &str, layers: &[(&str, Json, &str)]) {
    let push = |content: &[u8]| {
        let digest = Sha256::digest(content).iter().fold("sha256:".to_owned(), |t, b| t + &format!("{b:02x}"));
        let answer = http(host, authorization, &format!("POST /v2/{name}/blobs/uploads/"), b"");
        let to = answer.lines().find_map(|l| l.strip_prefix("Location: ")).unwrap_or_else(|| panic!("{answer}"));
        let path = to.trim().trim_start_matches("http://").trim_start_matches(host);
        let answer = http(host, authorization, &format!("PUT {path}{}digest={digest}", if path.contains('?') { '&' } else { '?' }), content);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        digest
    };
    let empty = push(b"{}");
    let layers: Vec<Json> = layers
        .iter()
        .map(|(kind, annotations, text)| {
            json!({ "mediaType": format!("application/vnd.docker.compose.{kind}"), "digest": push(text.as_bytes()), "size": text.len(), "annotations": annotations })
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.docker.compose.project",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
        "layers": layers,
    });
    let answer = http(host, authorization, &format!("PUT /v2/{name}/manifests/1"), manifest.to_string().as_bytes());
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[test]
fn files_come_from_registries() {
    let variables = ["CONSORT_TEST_REGISTRY", "CONSORT_TEST_PRIVATE_REGISTRY", "CONSORT_TEST_PRIVATE_USER", "CONSORT_TEST_PRIVATE_PASSWORD"];
    let [Some(open), Some(private), Some(user), Some(password)] = variables.map(environment) else {
        assert!(!engines_required(), "the registries are required");
        println!("skipped files from registries: {} are not all set", variables.join(", "));
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let (home, here) = (root.path().join("home"), root.path().join("here"));
    write(&here, &[("other.yaml", "services: {own: {image: own}}\n")]);
    let credentials = base64(&format!("{user}:{password}"));
    let layers = [
        (
            "file+yaml",
            json!({ "com.docker.compose.file": "compose.yaml" }),
            "services:\n  web:\n    image: busybox:${TAG:-one}\n    env_file: web.env\n    extends: {file: base.yaml, service: base}\n",
        ),
        (
            "file+yaml",
            json!({ "com.docker.compose.file": "base.yaml", "com.docker.compose.extends": "true" }),
            "services: {base: {labels: {a: b}}}\n",
        ),
        ("file+yaml", json!({ "com.docker.compose.file": "compose.override.yaml" }), "services: {web: {command: top}}\n"),
        ("envfile", json!({ "com.docker.compose.envfile": "web.env" }), "FROM=registry\n"),
    ];
    publish(&open, "", "consort-test/stack", &layers);
    publish(&private, &format!("Authorization: Basic {credentials}\r\n"), "consort-test/stack", &layers);

    let name = format!("oci://{open}/consort-test/stack:1");
    let found = config(&home, &here, &["-f", &name]);
    assert_eq!(found["name"], "here");
    let web = &found["services"]["web"];
    assert_eq!((&web["image"], &web["command"][0], &web["labels"]["a"]), (&json!("busybox:one"), &json!("top"), &json!("b")));
    assert_eq!(web["environment"]["FROM"], "registry");
    assert_eq!(config(&home, &here, &["-f", "other.yaml", "-f", &name])["services"].as_object().unwrap().len(), 2);

    let name = format!("oci://{private}/consort-test/stack:1");
    let said = refusal(&root.path().join("nobody"), &here, &["-f", &name]);
    assert!(said.contains("access is denied") && said.contains(&format!("docker login {private}")), "{said}");
    write(&home, &[(".docker/config.json", &json!({ "auths": { &private: { "auth": credentials } } }).to_string())]);
    assert_eq!(config(&home, &here, &["-f", &name])["services"]["web"]["environment"]["FROM"], "registry");

    assert!(refusal(&home, &here, &["-f", &format!("oci://{open}/consort-test/stack:2")]).contains("no such name or tag"));
    assert!(refusal(&home, &here, &["-f", &format!("oci://{open}/library/busybox:latest")]).contains("no Compose project"));
}

#[test]
fn digests_come_from_registries() {
    let Some(open) = environment("CONSORT_TEST_REGISTRY") else {
        assert!(!engines_required(), "the registry is required");
        println!("skipped digests of images: CONSORT_TEST_REGISTRY is not set");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let (home, here) = (root.path().join("home"), root.path().join("here"));
    let image = format!("{open}/library/busybox");
    let kinds = ["oci.image.index.v1", "docker.distribution.manifest.list.v2", "oci.image.manifest.v1", "docker.distribution.manifest.v2"];
    let accept: String = kinds.iter().map(|kind| format!("Accept: application/vnd.{kind}+json\r\n")).collect();
    let answer = http(&open, &accept, "HEAD /v2/library/busybox/manifests/latest", b"");
    let digest = answer.lines().find_map(|l| l.strip_prefix("Docker-Content-Digest: ")).unwrap_or_else(|| panic!("{answer}")).trim();
    let known = format!("{image}@sha256:{}", "0".repeat(64));
    let file = format!(
        "services:\n  a: {{image: {image}, command: top}}\n  b: {{image: '{image}:latest'}}\n  c: {{image: '{known}'}}\n  d: {{build: .}}\n  \
        off: {{image: {open}/none, profiles: [off]}}\n"
    );
    write(&here, &[("compose.yaml", &file), ("wrong.yaml", &format!("services:\n  a: {{image: {open}/none}}\n  b: {{image: '{image}:none'}}\n"))]);
    let printed = |args: &[&str]| {
        let output = consort(&home, &here, &[&["config"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_yaml::from_slice::<Json>(&output.stdout).unwrap()
    };

    let pinned = format!("{image}:latest@{digest}");
    let found = printed(&["--resolve-image-digests"]);
    let images = |found: &Json| ["a", "b", "c", "d"].map(|name| found["services"][name]["image"].clone());
    assert_eq!(images(&found), [json!(pinned), json!(pinned), json!(known), Json::Null]);
    assert_eq!(found["services"]["a"]["command"], json!(["top"]));
    // Nothing but what pins the images, to be laid over the files.
    let locked = json!({ "a": { "image": pinned }, "b": { "image": pinned }, "c": { "image": known }, "d": {} });
    assert_eq!(printed(&["--lock-image-digests"]), json!({ "services": locked }));
    let lock = consort(&home, &here, &["config", "--lock-image-digests"]).stdout;
    write(&here, &[("lock.yaml", &String::from_utf8(lock).unwrap())]);
    assert_eq!(images(&config(&home, &here, &["-f", "compose.yaml", "-f", "lock.yaml"])), images(&found));

    let output = consort(&home, &here, &["-f", "wrong.yaml", "config", "--resolve-image-digests"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
    assert_eq!((said.matches("error[image-digest]").count(), said.matches("no such name or tag").count()), (2, 2), "{said}");
    assert!(said.contains("wrong.yaml:2:") && said.contains("wrong.yaml:3:"), "{said}");
}

fn base64(text: &str) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text)
}
