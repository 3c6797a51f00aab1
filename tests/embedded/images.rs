//! Images: what Docker writes and what registries give, against what Docker makes of the same.

use crate::support::{engines_required, environment, say};
use consort::engine::embedded::Places;
use consort::engine::embedded::image::{Files, Image, Limits, Store};
use consort::world::ErrorKind;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
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
    save(&engine, "nginx:alpine", &file);
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

/// Every file below a folder: path, type and mode, owner, size, time, device, number of names, where a link leads, extended
/// attributes, content.
fn listing(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        let about = std::fs::symlink_metadata(&at).unwrap();
        let path = at.strip_prefix(folder).unwrap().display();
        let size = if about.is_dir() { 0 } else { about.size() };
        let names = if about.is_dir() { 0 } else { about.nlink() };
        let mut line = format!(
            "{path} {:o} {}:{} {size} {}.{} {:x} {names}",
            about.mode(),
            about.uid(),
            about.gid(),
            about.mtime(),
            about.mtime_nsec(),
            about.rdev()
        );
        let mut buffer = vec![0; 65536];
        let n = rustix::fs::llistxattr(&at, buffer.as_mut_slice()).unwrap();
        for name in buffer[..n].split(|b| *b == 0).filter(|n| !n.is_empty()) {
            let mut value = vec![0; 65536];
            let n = rustix::fs::lgetxattr(&at, name, value.as_mut_slice()).unwrap();
            line += &format!(" {}={:?}", String::from_utf8_lossy(name), &value[..n]);
        }
        if about.is_symlink() {
            line += &format!(" -> {}", std::fs::read_link(&at).unwrap().display());
        } else if about.is_file() {
            line += &format!(" {}", consort::digest::sha256(std::fs::read(&at).unwrap()));
        } else if about.is_dir() {
            open.extend(std::fs::read_dir(&at).unwrap().map(|e| e.unwrap().path()));
        }
        lines.push(line);
    }
    lines.sort();
    lines
}

#[tokio::test]
async fn what_goes_out_is_what_came_in() {
    let name = "what_goes_out_is_what_came_in";
    let Some(engine) = variable("CONSORT_TEST_DOCKER28", name).filter(|_| root(name)) else { return };
    let (folder, store) = store();
    let (sink, _events) = mpsc::channel(16);
    let (file, again) = (folder.path().join("in.tar"), folder.path().join("out.tar"));
    run("docker", &["--host", &engine, "save", "--output", file.to_str().unwrap(), "busybox:latest", "nginx:alpine"]);
    let loaded = store.load(&file, Limits::default(), &sink).unwrap();
    assert_eq!(loaded.into_iter().collect::<BTreeSet<_>>(), ["busybox:latest", "nginx:alpine"].map(str::to_owned).into());
    let listed = store.list().unwrap();
    assert_eq!(listed.iter().flat_map(|l| l.names.clone()).collect::<BTreeSet<_>>(), ["busybox:latest", "nginx:alpine"].map(str::to_owned).into());
    store.tag("busybox", "images-out/busybox:1").unwrap();
    store.save(&["images-out/busybox:1", "nginx:alpine"], &mut std::fs::File::create(&again).unwrap()).unwrap();
    // Docker makes the same image of it, with the same id.
    run("docker", &["--host", &engine, "load", "--input", again.to_str().unwrap()]);
    let id = run("docker", &["--host", &engine, "image", "inspect", "--format", "{{.Id}}", "images-out/busybox:1"]);
    run("docker", &["--host", &engine, "image", "rm", "images-out/busybox:1"]);
    assert_eq!(id.trim(), store.find("busybox", None).unwrap().unwrap().id);
    // And so does a second store, out of the image layout that is in it too, packed or not.
    run("gzip", &["-1", again.to_str().unwrap()]);
    let (_other_folder, other) = self::store();
    let reference = format!("oci-archive:{}.gz:1", again.display());
    let image = pull(&other, &reference).await;
    assert_eq!(image.id, id.trim());
    assert_eq!(listing(&image.layers[0]), listing(&store.find("busybox", None).unwrap().unwrap().layers[0]));
}

#[tokio::test]
async fn files_are_imported_and_images_go_when_nobody_needs_them() {
    let name = "files_are_imported_and_images_go_when_nobody_needs_them";
    if !root(name) {
        return;
    }
    let (folder, store) = store();
    let files = folder.path().join("files");
    std::fs::create_dir_all(files.join("a/b")).unwrap();
    std::fs::write(files.join("a/b/file"), vec![7; 100_000]).unwrap();
    std::fs::hard_link(files.join("a/b/file"), files.join("a/same")).unwrap();
    std::os::unix::fs::symlink("/nowhere", files.join("link")).unwrap();
    std::fs::write(files.join(format!("{}x", "long-name-".repeat(15))), b"").unwrap();
    run(
        "sh",
        &[
            "-c",
            "cd \"$1\" && mkfifo fifo && mknod device c 1 3 && chmod 4755 a/same && chown -h 12:34 link && touch -h -d @12345.678901234 a/b/file a/b",
            "sh",
            files.to_str().unwrap(),
        ],
    );
    let before = listing(&files);
    let id = store.import(Files::Folder(&files), Some("imported"), Limits::default()).unwrap();
    let image = store.find("imported", None).unwrap().unwrap();
    assert_eq!((image.id.as_str(), listing(&image.layers[0])), (id.as_str(), before));
    // A container holds its image.
    let container = folder.path().join("state/containers/0123");
    std::fs::create_dir_all(&container).unwrap();
    std::fs::write(container.join("container.json"), format!(r#"{{"name":"user","image":"{id}","mounts":[]}}"#)).unwrap();
    let error = store.remove("imported", false).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.to_string().contains("user"), "{error}");
    assert_eq!(store.remove("imported", true).unwrap().untagged, ["imported:latest"]);
    assert!(store.prune(true).unwrap().deleted.is_empty());
    assert_eq!((store.usage().unwrap().images, store.usage().unwrap().reclaimable), (1, 0));
    assert_eq!(store.find(&id, None).unwrap().unwrap().layers, image.layers);
    std::fs::remove_dir_all(&container).unwrap();
    // What a dead process has left goes too, what a living one has stays.
    std::fs::create_dir(folder.path().join("state/images/tmp/1-1")).unwrap();
    let removed = store.prune(false).unwrap();
    assert_eq!((removed.deleted, removed.bytes), (vec![id], 100_000));
    for below in ["layers", "blobs/sha256", "images", "refs", "tmp"] {
        let left: Vec<_> = std::fs::read_dir(folder.path().join("state/images").join(below)).unwrap().collect();
        assert!(left.is_empty(), "{below}: {left:?}");
    }
}

/// An image with everything that layers can do to each other.
const DOCKERFILE: &str = r#"FROM busybox:latest
RUN mkdir -p /opaque/old /kept/sub && echo one > /opaque/old/file && echo one > /kept/file && echo x > /removed && ln -s /kept /to-kept && ln /kept/file /kept/same
RUN rm -rf /opaque /removed && mkdir -p /opaque/new && echo two > /opaque/new/file && rm /kept/same && chown -R 7:8 /kept && chmod 4711 /kept/file
RUN mkfifo /fifo && mknod /device c 1 7 && ln -s nowhere /dangling && touch -d @1234567890 /kept/sub && rm -rf /to-kept && mkdir /to-kept && echo three > /to-kept/file
RUN mkdir -p /home/someone && echo hello > /home/someone/file && chown -R 1000:1001 /home/someone && rm -f /bin/vi && ln /bin/busybox /one-more-name
"#;

#[tokio::test]
async fn a_root_is_as_docker_makes_it() {
    let name = "a_root_is_as_docker_makes_it";
    let Some(engine) = variable("CONSORT_TEST_DOCKER28", name).filter(|_| root(name)) else { return };
    let (folder, store) = store();
    let (sink, _events) = mpsc::channel(16);
    std::fs::write(folder.path().join("Dockerfile"), DOCKERFILE).unwrap();
    let at = folder.path().to_str().unwrap();
    let tag = format!("images-test:{}", std::process::id());
    run("env", &["DOCKER_BUILDKIT=0", "docker", "--host", &engine, "build", "--quiet", "--tag", &tag, at]);
    for image in [tag.as_str(), "nginx:alpine"] {
        let file = folder.path().join("image.tar");
        save(&engine, image, &file);
        store.load(&file, Limits::default(), &sink).unwrap();
        let layers = store.find(image, None).unwrap().unwrap().layers;
        let container = run("docker", &["--host", &engine, "run", "--detach", "--network", "none", "--entrypoint", "sleep", image, "1000"]);
        let theirs = run("docker", &["--host", &engine, "inspect", "--format", "{{.GraphDriver.Data.MergedDir}}", container.trim()]);
        let ours = folder.path().join("root");
        std::fs::create_dir_all(&ours).unwrap();
        let lower: Vec<String> = layers.iter().rev().map(|l| l.display().to_string()).collect();
        // One layer alone is no overlay: an empty one goes with it.
        let empty = folder.path().join("empty");
        std::fs::create_dir_all(&empty).unwrap();
        run("mount", &["-t", "overlay", "-o", &format!("ro,lowerdir={}:{}", lower.join(":"), empty.display()), "overlay", ours.to_str().unwrap()]);
        // What Docker puts into every container, and what the two can't have in common: the root's own attributes, and times
        // and marks of folders into which Docker has put something.
        let common = |line: &String| {
            let path = line.split(' ').next().unwrap_or_default();
            !["", "dev", "etc", "proc", "sys", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"].contains(&path)
                && !["dev/", "proc/", "sys/"].iter().any(|p| path.starts_with(p))
        };
        let keep = |folder: &Path| listing(folder).into_iter().filter(common).collect::<Vec<_>>();
        let (theirs, ours_listed) = (keep(Path::new(theirs.trim())), keep(&ours));
        run("umount", &[ours.to_str().unwrap()]);
        run("docker", &["--host", &engine, "rm", "--force", container.trim()]);
        assert!(ours_listed.len() > 100, "{image} has {} files", ours_listed.len());
        let differences: Vec<&String> =
            theirs.iter().filter(|l| !ours_listed.contains(l)).chain(ours_listed.iter().filter(|l| !theirs.contains(l))).take(20).collect();
        assert!(differences.is_empty(), "{image}: {differences:#?}");
    }
    run("docker", &["--host", &engine, "rmi", &tag]);
}

/// A registry that has one image, and moods: it is busy at first, cuts every answer short after `cut` bytes, and counts
/// what it is asked for.
struct Moody {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Moody {
    fn new(layers: &[Vec<u8>], diff_ids: &[String], cut: usize) -> Self {
        let digest = |bytes: &[u8]| format!("sha256:{}", consort::digest::sha256(bytes));
        let config =
            serde_json::json!({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string();
        let descriptor = |bytes: &[u8]| serde_json::json!({"mediaType": "x", "digest": digest(bytes), "size": bytes.len()});
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config.as_bytes()), "size": config.len()},
            "layers": layers.iter().map(|l| descriptor(l)).collect::<Vec<_>>(),
        });
        let mut files =
            BTreeMap::from([("/v2/".to_owned(), b"{}".to_vec()), ("/v2/moody/manifests/latest".to_owned(), manifest.to_string().into_bytes())]);
        for blob in layers.iter().map(Vec::as_slice).chain([config.as_bytes()]) {
            files.insert(format!("/v2/moody/blobs/{}", digest(blob)), blob.to_vec());
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let _ = serve(stream, &files, cut, &log);
            }
        });
        Self { address, asked }
    }

    fn times(&self, what: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|a| a.contains(what)).count()
    }
}

/// One connection, one request.
fn serve(mut stream: TcpStream, files: &BTreeMap<String, Vec<u8>>, cut: usize, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut request = Vec::new();
    while let Some(line) = lines.next().transpose()?.filter(|l| !l.is_empty()) {
        request.push(line);
    }
    let path = request.first().and_then(|l| l.split(' ').nth(1)).unwrap_or_default().to_owned();
    let range = request.iter().find_map(|l| l.to_ascii_lowercase().strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let seen = {
        let mut log = log.lock().unwrap();
        log.push(format!("{path} {}", range.unwrap_or(0)));
        log.iter().filter(|l| l.starts_with(&path)).count()
    };
    if path.contains("/manifests/") && seen == 1 {
        return stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let Some(body) = files.get(&path) else { return stream.write_all(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") };
    let rest = &body[range.unwrap_or(0).min(body.len())..];
    let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
    stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", rest.len()).as_bytes())?;
    let most = if path.contains("/blobs/") && body.len() > cut { cut } else { rest.len() };
    stream.write_all(&rest[..most.min(rest.len())])
}

/// A layer with a file of bytes that can't be packed well; its diff id too.
fn layer(file: &str, size: usize) -> (Vec<u8>, String) {
    let mut state = 1_u64;
    let content: Vec<u8> = (0..size)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
        .collect();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, file, content.as_slice()).unwrap();
    let archive = archive.into_inner().unwrap();
    let diff_id = format!("sha256:{}", consort::digest::sha256(&archive));
    (archive, diff_id)
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_it_was() {
    let name = "what_breaks_off_goes_on_where_it_was";
    if !root(name) {
        return;
    }
    let (_folder, store) = store();
    let (one, id) = layer("file", 500_000);
    let moody = Moody::new(std::slice::from_ref(&one), std::slice::from_ref(&id), 150_000);
    let image = pull(&store, &format!("{}/moody", moody.address)).await;
    assert_eq!(std::fs::metadata(image.layers[0].join("file")).unwrap().len(), 500_000);
    let blob = consort::digest::sha256(&one);
    let asked: Vec<String> =
        moody.asked.lock().unwrap().iter().filter(|a| a.contains(&blob)).map(|a| a.rsplit_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(asked, ["0", "150000", "300000", "450000"]);
    assert_eq!(moody.times("/manifests/latest"), 2);
    // Again, it is all here.
    pull(&store, &format!("{}/moody:latest", moody.address)).await;
    assert_eq!(moody.times(&blob), 4);
}

#[tokio::test]
async fn what_is_not_what_it_says_is_not_kept() {
    let name = "what_is_not_what_it_says_is_not_kept";
    if !root(name) {
        return;
    }
    let (folder, store) = store();
    let ((one, _), (_, other)) = (layer("file", 1000), layer("other", 1000));
    let moody = Moody::new(&[one], &[other], usize::MAX);
    let (sink, _events) = mpsc::channel(16);
    let error = store.pull(&format!("{}/moody", moody.address), None, &BTreeMap::new(), &sink).await.unwrap_err();
    assert!(error.to_string().contains("diff id"), "{error}");
    let state = folder.path().join("state/images");
    for below in ["layers", "images", "refs"] {
        assert_eq!(std::fs::read_dir(state.join(below)).unwrap().count(), 0, "{below}");
    }
    let error = store.pull(&format!("{}/moody:absent", moody.address), None, &BTreeMap::new(), &sink).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    let error = store.pull(&format!("{}/moody", moody.address), Some("linux/riscv64"), &BTreeMap::new(), &sink).await.unwrap_err();
    assert!(error.to_string().contains("linux/amd64"), "{error}");
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_what_it_lacks_is_asked_elsewhere() {
    let name = "a_mirror_is_asked_first_and_what_it_lacks_is_asked_elsewhere";
    let Some(registry) = variable("CONSORT_TEST_REGISTRY", name).filter(|_| root(name)) else { return };
    let (_folder, store) = store();
    let (sink, _events) = mpsc::channel(16);
    let empty = Moody::new(&[], &[], usize::MAX);
    let environment = BTreeMap::from([("CONSORT_REGISTRY_MIRRORS".to_owned(), format!("http://{},{registry}", empty.address))]);
    let image = store.pull("busybox", None, &environment, &sink).await.unwrap();
    assert_eq!(store.find("docker.io/library/busybox:latest", None).unwrap().unwrap().id, image.id);
    // It was busy at first.
    assert_eq!(empty.times("/v2/library/busybox/manifests/latest"), 2);
}

#[tokio::test]
async fn a_private_registry_gets_the_credentials_of_dockers_client() {
    let name = "a_private_registry_gets_the_credentials_of_dockers_client";
    let variables = ["CONSORT_TEST_PRIVATE_REGISTRY", "CONSORT_TEST_PRIVATE_USER", "CONSORT_TEST_PRIVATE_PASSWORD"].map(|v| variable(v, name));
    let [Some(registry), Some(user), Some(password)] = variables else { return };
    if !root(name) {
        return;
    }
    let (folder, store) = store();
    let (sink, _events) = mpsc::channel(16);
    let reference = format!("{registry}/private/app:1");
    let auth = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{user}:{password}"));
    let config = serde_json::json!({"auths": {registry: {"auth": auth}}});
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let environment = |folder: &Path| BTreeMap::from([("DOCKER_CONFIG".to_owned(), folder.display().to_string())]);
    let error = store.pull(&reference, None, &environment(&folder.path().join("none")), &sink).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.to_string().contains("docker login"), "{error}");
    let image = store.pull(&reference, None, &environment(folder.path()), &sink).await.unwrap();
    assert!(image.layers.iter().any(|l| l.join("app.txt").is_file()));
}

#[tokio::test]
async fn what_several_want_at_once_comes_once() {
    let name = "what_several_want_at_once_comes_once";
    if !root(name) {
        return;
    }
    let (folder, store) = store();
    let (one, id) = layer("file", 3_000_000);
    // The same layer twice in one image, too.
    let moody = Moody::new(&[one.clone(), one.clone()], &[id.clone(), id], usize::MAX);
    let reference = format!("{}/moody", moody.address);
    // As another process would: a store of its own over the same folders.
    let other = Store::open(&Places { state: folder.path().join("state"), run: folder.path().join("run") }).unwrap();
    let (first, second) = tokio::join!(pull(&store, &reference), pull(&other, &reference));
    assert_eq!((first.layers.len(), &first.layers), (2, &second.layers));
    assert_eq!(moody.times(&consort::digest::sha256(&one)), 1);
}

/// A file system of memory, gone with this.
struct Memory(std::path::PathBuf);

impl Memory {
    fn new(at: &Path, size: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", at.to_str().unwrap()]);
        Self(at.to_owned())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_left_on_it() {
    let name = "a_full_disk_is_told_and_nothing_is_left_on_it";
    let Some(registry) = variable("CONSORT_TEST_REGISTRY", name).filter(|_| root(name)) else { return };
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let state = folder.path().join("state");
    let _memory = Memory::new(&state, "1m");
    let store = Store::open(&Places { state: state.clone(), run: folder.path().join("run") }).unwrap();
    let (sink, _events) = mpsc::channel(16);
    let reference = format!("{registry}/library/busybox");
    let error = store.pull(&reference, None, &BTreeMap::new(), &sink).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSpace, "{error}");
    for below in ["tmp", "layers", "images", "refs"] {
        assert_eq!(std::fs::read_dir(state.join("images").join(below)).unwrap().count(), 0, "{below}");
    }
    run("mount", &["-o", "remount,size=64m", state.to_str().unwrap()]);
    assert!(pull(&store, &reference).await.layers[0].join("bin/busybox").is_file());
}

/// What a child of [`a_pull_may_be_killed_at_any_moment`] does.
#[tokio::test]
#[ignore = "started by another test"]
async fn child_pulls() {
    let (Some(folder), Some(reference)) = (environment("IMAGES_TEST_FOLDER"), environment("IMAGES_TEST_REFERENCE")) else { return };
    let store = Store::open(&Places { state: Path::new(&folder).join("state"), run: Path::new(&folder).join("run") }).unwrap();
    pull(&store, &reference).await;
}

#[tokio::test]
async fn a_pull_may_be_killed_at_any_moment() {
    let name = "a_pull_may_be_killed_at_any_moment";
    let Some(registry) = variable("CONSORT_TEST_REGISTRY", name).filter(|_| root(name)) else { return };
    let (folder, store) = store();
    let reference = format!("{registry}/library/busybox:latest");
    let (mut killed, mut done) = (0, 0);
    for attempt in 0..40_u64 {
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "images::child_pulls", "--ignored"])
            .env("IMAGES_TEST_FOLDER", folder.path())
            .env("IMAGES_TEST_REFERENCE", &reference)
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // The moments are spread over the whole pull: each begins where the one before has left the store.
        match tokio::time::timeout(Duration::from_millis(attempt * 4), child.wait()).await {
            Ok(status) => {
                assert!(status.unwrap().success());
                done += 1;
                store.untag(&reference).unwrap();
                store.prune(false).unwrap();
            }
            Err(_) => {
                child.kill().await.unwrap();
                killed += 1;
            }
        }
        // Whatever is there under its name is whole.
        if let Some(image) = store.find(&reference, None).unwrap() {
            assert!(image.layers.iter().all(|l| l.join("bin/busybox").is_file()));
        }
    }
    assert!(killed > 0, "{done} pulls were done before anybody could kill them");
    let image = pull(&store, &reference).await;
    assert!(image.layers[0].join("bin/busybox").is_file());
    let left = std::fs::read_dir(folder.path().join("state/images/tmp")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_pull_prune_and_remove_at_once() {
    let name = "many_may_pull_prune_and_remove_at_once";
    let Some(registry) = variable("CONSORT_TEST_REGISTRY", name).filter(|_| root(name)) else { return };
    let (_folder, store) = store();
    let images = ["busybox", "alpine", "hello-world"].map(|i| format!("{registry}/library/{i}:latest"));
    let mut tasks = tokio::task::JoinSet::new();
    for round in 0..12_usize {
        let (store, image) = (store.clone(), images[round % 3].clone());
        tasks.spawn(async move {
            let image_pulled = pull(&store, &image).await;
            assert!(image_pulled.layers.iter().all(|l| l.is_dir()) || store.find(&image, None).unwrap().is_none());
            let aside = store.clone();
            tokio::task::spawn_blocking(move || match round % 4 {
                0 => drop(aside.prune(false).unwrap()),
                1 => drop(aside.untag(&image).unwrap()),
                2 => drop(aside.prune(true).unwrap()),
                _ => drop(aside.list().unwrap()),
            })
            .await
            .unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    for image in &images {
        let pulled = pull(&store, image).await;
        assert_eq!(store.find(image, None).unwrap().unwrap().layers, pulled.layers);
    }
}
