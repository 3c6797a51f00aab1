//! Images that are files and folders.

use crate::lab::{Lab, Verdict, image_query};
use consort::world::{ErrorKind, Image, ObserveQuery, Op};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

crate::cases![an_archive_is_an_image, a_layout_is_an_image, a_layout_in_an_archive_is_an_image, a_folder_is_an_image, a_file_that_is_no_image];

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn archive(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Files of an image with one file in it and one label, in both forms that engines save; and its id. Cases run beside each
/// other: `kind` makes each image one of its own.
fn image(kind: &str, word: &str) -> (BTreeMap<String, Vec<u8>>, String) {
    let layer = archive(&[("hello".to_owned(), word.as_bytes().to_vec())].into());
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"], "Labels": {"word": word}}, "created": "2026-01-01T00:00:00Z", "author": kind,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
    });
    let config = config.to_string().into_bytes();
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", digest(bytes));
    let describe = |what: &str, bytes: &[u8]| serde_json::json!({"mediaType": format!("application/vnd.oci.image.{what}"), "digest": format!("sha256:{}", digest(bytes)), "size": bytes.len()});
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe("config.v1+json", &config), "layers": [describe("layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [describe("manifest.v1+json", &manifest)]});
    let saved = serde_json::json!([{"Config": blob(&config), "RepoTags": ["somebody/else:1"], "Layers": [blob(&layer)]}]);
    let id = format!("sha256:{}", digest(&config));
    let mut files = BTreeMap::from([
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.to_string().into_bytes()),
        ("manifest.json".to_owned(), saved.to_string().into_bytes()),
    ]);
    files.extend([&layer, &config, &manifest].map(|bytes| (blob(bytes), bytes.clone())));
    (files, id)
}

async fn found(lab: &Lab, reference: &str) -> Option<Image> {
    let query = ObserveQuery { images: vec![image_query(reference)], ..ObserveQuery::default() };
    lab.engine.observe(&query).await.unwrap_or_else(|e| panic!("images can't be observed: {e}")).images.remove(reference)
}

async fn pulled(lab: &Lab, reference: &str) -> Image {
    lab.good(&Op::PullImage { reference: reference.to_owned(), platform: None }).await;
    found(lab, reference).await.unwrap_or_else(|| panic!("{reference} is not here although it was pulled"))
}

/// Goes through the life of an image whose file `write` writes anew.
async fn lives(lab: &Lab, reference: &str, write: impl Fn(&str) -> Option<String>) -> Verdict {
    if !lab.real || !lab.engine.capabilities().image_files {
        return Verdict::NotCapable("images in files");
    }
    let first = write("one");
    let before = pulled(lab, reference).await;
    assert_eq!(first.as_ref().unwrap_or(&before.id), &before.id);
    let again = pulled(lab, reference).await;
    assert_eq!(again.id, before.id, "the same file is the same image");
    let mut spec = lab.spec("web", "");
    (spec.image, spec.command) = (reference.to_owned(), Some(vec!["/hello".into()]));
    let container = lab.create(&spec).await;
    let seen = lab.observed(&container).await;
    assert_eq!((seen.image.as_str(), &seen.image_id), (reference, &before.id));
    let second = write("another");
    let after = pulled(lab, reference).await;
    if let Some(second) = second {
        assert_eq!(after.id, second);
        assert_eq!(after.labels.get("word").map(String::as_str), Some("another"));
        assert_ne!(after.id, before.id);
    }
    lab.remove(&container, true).await;
    lab.good(&Op::RemoveImage { reference: reference.to_owned() }).await;
    Verdict::Good
}

/// Writes a file so that it is seen to have changed.
fn put(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(beside, path).unwrap();
}

fn unpack(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        put(&path, content);
    }
}

async fn an_archive_is_an_image(lab: &Lab) -> Verdict {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("saved.tar");
    let write = |word: &str| {
        let (files, id) = image(&lab.project, word);
        put(&path, &archive(&files));
        Some(id)
    };
    lives(lab, &format!("docker-archive:{}", path.display()), write).await
}

async fn a_layout_in_an_archive_is_an_image(lab: &Lab) -> Verdict {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("layout.tar");
    let write = |word: &str| {
        let (mut files, id) = image(&lab.project, word);
        files.remove("manifest.json");
        put(&path, &archive(&files));
        Some(id)
    };
    lives(lab, &format!("oci-archive:{}", path.display()), write).await
}

async fn a_layout_is_an_image(lab: &Lab) -> Verdict {
    let folder = TempDir::new().unwrap();
    let write = |word: &str| {
        let (files, id) = image(&lab.project, word);
        unpack(folder.path(), &files);
        Some(id)
    };
    lives(lab, &format!("oci:{}", folder.path().display()), write).await
}

async fn a_folder_is_an_image(lab: &Lab) -> Verdict {
    let folder = TempDir::new().unwrap();
    let write = |word: &str| {
        std::fs::write(folder.path().join("hello"), word).unwrap();
        None
    };
    lives(lab, &format!("rootfs:{}", folder.path().display()), write).await
}

async fn a_file_that_is_no_image(lab: &Lab) -> Verdict {
    if !lab.real || !lab.engine.capabilities().image_files {
        return Verdict::NotCapable("images in files");
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("text");
    let pull = Op::PullImage { reference: format!("docker-archive:{}", path.display()), platform: None };
    let error = lab.bad(&pull).await;
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    std::fs::write(&path, archive(&[("x".to_owned(), Vec::new())].into())).unwrap();
    let error = lab.bad(&pull).await.to_string();
    assert!(error.contains("no manifest.json") && error.contains("text"), "{error}");
    Verdict::Good
}
