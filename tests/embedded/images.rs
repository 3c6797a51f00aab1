//! Images: what Docker writes and what registries give, against what Docker makes of the same.

use crate::support::{engines_required, environment, say};
use consort::engine::embedded::Places;
use consort::engine::embedded::image::{Image, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use tokio::sync::mpsc;

/// Variable of the tests' environment; without it what needs it is skipped, by name.
fn variable(name: &str, test: &str) -> Option<String> {
    let value = environment(name);
    if value.is_none() {
        assert!(!engines_required(), "{name} is not set");
        say(&format!("skipped: {test} needs {name}"));
    }
    value
}

/// Layers have owners, devices and attributes that only root can give.
fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(!engines_required(), "{test} must be root");
        say(&format!("skipped: {test} must be root"));
    }
    root
}

/// A store of its own, on a file system that has everything.
fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let places = Places { state: folder.path().join("state"), run: folder.path().join("run") };
    let store = Store::open(&places).unwrap();
    (folder, store)
}

async fn pull(store: &Store, reference: &str) -> Image {
    let (sink, _events) = mpsc::channel(16);
    store.pull(reference, None, &BTreeMap::new(), &sink).await.unwrap()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn save(engine: &str, image: &str, file: &Path) {
    run("docker", &["--host", engine, "save", "--output", file.to_str().unwrap(), image]);
}

#[tokio::test]
async fn an_archive_of_docker_is_an_image() {
    let name = "an_archive_of_docker_is_an_image";
    let Some(engine) = variable("CONSORT_TEST_DOCKER28", name).filter(|_| root(name)) else { return };
    let (folder, store) = store();
    let file = folder.path().join("busybox.tar");
    save(&engine, "busybox:latest", &file);
    let reference = format!("docker-archive:{}", file.display());
    assert_eq!(store.find(&reference, None).unwrap(), None);
    let image = pull(&store, &reference).await;
    let found = store.find(&reference, None).unwrap().unwrap();
    assert_eq!((&found.id, &found.layers), (&image.id, &image.layers));
    assert_eq!(store.find(&image.id, None).unwrap().unwrap().layers, image.layers);
    assert_eq!(store.find(&image.id[7..19], None).unwrap().unwrap().layers, image.layers);
    let inspected =
        run("docker", &["--host", &engine, "image", "inspect", "--format", "{{.Id}} {{json .Config.Cmd}} {{json .Config.Env}}", "busybox:latest"]);
    let ours = format!("{} {} {}\n", image.id, serde_json::to_string(&image.config.cmd).unwrap(), serde_json::to_string(&image.config.env).unwrap());
    assert_eq!(ours, inspected);
    assert!(image.layers[0].join("bin").is_dir());
    // Another file under this name is another image.
    save(&engine, "alpine:latest", &file);
    assert_eq!(store.find(&reference, None).unwrap(), None);
    assert_ne!(pull(&store, &reference).await.id, image.id);
}

#[tokio::test]
async fn a_registry_has_images() {
    let name = "a_registry_has_images";
    let Some(registry) = variable("CONSORT_TEST_REGISTRY", name).filter(|_| root(name)) else { return };
    let (_folder, store) = store();
    let reference = format!("{registry}/library/busybox");
    let image = pull(&store, &reference).await;
    let found = store.find(&format!("{reference}:latest"), None).unwrap().unwrap();
    assert_eq!((&found.id, &found.layers), (&image.id, &image.layers));
    assert!(store.untag(&reference).unwrap() && !store.untag(&reference).unwrap());
    assert_eq!(store.find(&reference, None).unwrap(), None);
}

#[tokio::test]
async fn a_folder_is_an_image() {
    let (folder, store) = store();
    let reference = format!("rootfs:{}", folder.path().display());
    let image = store.find(&reference, None).unwrap().unwrap();
    assert_eq!(image.layers, [folder.path()]);
    assert_eq!(store.find(&image.id, None).unwrap(), Some(image));
    assert_eq!(store.find("rootfs:/no/such/folder", None).unwrap(), None);
}
