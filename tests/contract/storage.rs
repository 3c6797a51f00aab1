//! Volumes, binds, memory, and files written by the engine.

use crate::lab::{Lab, Verdict};
use crate::support;
use consort::world::{ErrorKind, FileSpec, MountKind, ObserveQuery, Op, VolumeSpec};
use std::collections::BTreeMap;

crate::cases![
    a_named_volume_outlives_its_containers,
    a_volume_is_shared,
    an_anonymous_volume_goes_with_its_container,
    an_anonymous_volume_can_be_kept,
    a_volume_in_use_is_not_removed,
    volumes_are_seen_with_labels_and_by_name,
    mounts_are_seen,
    a_read_only_volume,
    the_volumes_of_another_container,
    a_folder_of_the_host,
    a_missing_folder_of_the_host_is_refused,
    a_missing_folder_of_the_host_is_made,
    memory_is_a_mount,
    tmpfs_takes_options,
    files_are_written_with_mode_and_owner,
    written_files_outlive_a_restart,
    files_can_be_written_into_a_volume,
    many_files_at_once,
];

fn file(path: &str, content: &str, mode: u32) -> FileSpec {
    FileSpec { path: path.into(), content: content.into(), uid: String::new(), gid: String::new(), mode }
}

async fn a_named_volume_outlives_its_containers(lab: &Lab) {
    let volume = lab.volume("data").await;
    let mut spec = lab.spec("web", "echo kept > /data/file");
    spec.mounts = vec![support::volume(Some(&volume), "/data")];
    let first = lab.up(&spec).await;
    lab.exited(&first).await;
    lab.remove(&first, true).await;
    spec.command = Some(["sh", "-c", "cat /data/file"].map(str::to_owned).to_vec());
    assert_eq!(lab.ran(&spec).await.stdout, "kept\n");
}

async fn a_volume_is_shared(lab: &Lab) {
    let volume = lab.volume("data").await;
    let spec = |service: &str| {
        let mut spec = lab.spec(service, "sleep 300");
        spec.mounts = vec![support::volume(Some(&volume), "/data")];
        spec
    };
    let (a, b) = (lab.up(&spec("a")).await, lab.up(&spec("b")).await);
    lab.sh(&a, "echo hello > /data/x").await;
    assert_eq!(lab.sh(&b, "cat /data/x").await.stdout, "hello\n");
}

/// A container with an anonymous volume, and that volume's name.
async fn with_anonymous(lab: &Lab) -> (consort::world::Target, String) {
    let mut spec = lab.spec("web", "sleep 300");
    spec.mounts = vec![support::volume(None, "/data")];
    let target = lab.up(&spec).await;
    let mounts = lab.observed(&target).await.mounts;
    let mount = mounts.iter().find(|m| m.target == "/data").unwrap_or_else(|| panic!("{mounts:?}"));
    assert_eq!(mount.kind, "volume");
    (target, mount.name.clone())
}

async fn exists(lab: &Lab, volume: &str) -> bool {
    let query = ObserveQuery { project: Some(lab.name("nobody")), volumes: vec![volume.to_owned()], ..ObserveQuery::default() };
    !lab.engine.observe(&query).await.unwrap().volumes.is_empty()
}

async fn an_anonymous_volume_goes_with_its_container(lab: &Lab) {
    let (target, volume) = with_anonymous(lab).await;
    assert!(exists(lab, &volume).await);
    lab.remove(&target, true).await;
    assert!(!exists(lab, &volume).await);
}

async fn an_anonymous_volume_can_be_kept(lab: &Lab) {
    let (target, volume) = with_anonymous(lab).await;
    lab.remove(&target, false).await;
    assert!(exists(lab, &volume).await);
    assert!(lab.good(&Op::RemoveVolume { name: volume.clone() }).await.changed);
    assert!(!exists(lab, &volume).await);
}

async fn a_volume_in_use_is_not_removed(lab: &Lab) {
    let volume = lab.volume("data").await;
    let mut spec = lab.spec("web", "true");
    spec.mounts = vec![support::volume(Some(&volume), "/data")];
    lab.create(&spec).await;
    let error = lab.bad(&Op::RemoveVolume { name: volume }).await;
    assert_eq!(error.kind, ErrorKind::Conflict, "{error:?}");
}

async fn volumes_are_seen_with_labels_and_by_name(lab: &Lab) {
    let mut spec = VolumeSpec { name: lab.name("data"), labels: lab.labels(), ..VolumeSpec::default() };
    spec.labels.insert("color".into(), "red".into());
    lab.good(&Op::CreateVolume(spec.clone())).await;
    let seen = lab.observe().await.volumes;
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].name.as_str(), seen[0].driver.as_str()), (spec.name.as_str(), "local"));
    assert_eq!(seen[0].labels.get("color").map(String::as_str), Some("red"));
    assert!(exists(lab, &spec.name).await && !exists(lab, &lab.name("none")).await);
}

async fn mounts_are_seen(lab: &Lab) {
    let volume = lab.volume("data").await;
    let mut spec = lab.spec("web", "true");
    spec.mounts = vec![support::volume(Some(&volume), "/data"), support::bind("/tmp", "/host", true)];
    let target = lab.create(&spec).await;
    let mounts = lab.observed(&target).await.mounts;
    let find = |target: &str| mounts.iter().find(|m| m.target == target).unwrap_or_else(|| panic!("{target} is not among {mounts:?}"));
    assert_eq!((find("/data").kind.as_str(), find("/data").name.as_str()), ("volume", volume.as_str()));
    assert_eq!((find("/host").kind.as_str(), find("/host").source.as_str()), ("bind", "/tmp"));
}

async fn a_read_only_volume(lab: &Lab) {
    let volume = lab.volume("data").await;
    let mut spec = lab.spec("web", "sleep 300");
    let mut mount = support::volume(Some(&volume), "/data");
    mount.read_only = true;
    spec.mounts = vec![mount];
    let target = lab.up(&spec).await;
    assert_ne!(lab.sh(&target, "echo x > /data/x").await.code, 0);
}

async fn the_volumes_of_another_container(lab: &Lab) {
    let volume = lab.volume("data").await;
    let mut spec = lab.spec("a", "echo shared > /data/x; sleep 300");
    spec.mounts = vec![support::volume(Some(&volume), "/data")];
    let a = lab.up(&spec).await;
    lab.sh(&a, "echo shared > /data/x").await;
    let mut spec = lab.spec("b", "cat /data/x; echo y > /data/y || echo refused");
    spec.volumes_from = vec![format!("{}:ro", a.id.unwrap())];
    assert_eq!(lab.ran(&spec).await.stdout, "shared\nrefused\n");
}

async fn a_folder_of_the_host(lab: &Lab) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("greeting"), "from the host\n").unwrap();
    let path = folder.path().to_str().unwrap();
    let mut spec = lab.spec("web", "cat /host/greeting; echo inside > /host/answer; cat /host/answer");
    spec.mounts = vec![support::bind(path, "/host", false)];
    let ran = lab.ran(&spec).await;
    assert_eq!(ran.stdout, "from the host\ninside\n", "{ran:?}");
    if lab.real {
        assert_eq!(std::fs::read_to_string(folder.path().join("answer")).unwrap(), "inside\n");
    }
}

async fn a_missing_folder_of_the_host_is_refused(lab: &Lab) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing");
    let mut spec = lab.spec("web", "true");
    spec.mounts = vec![support::bind(path.to_str().unwrap(), "/host", false)];
    // Some engines look at creation, others at the start.
    let error = match lab.apply(&Op::CreateContainer(Box::new(spec.clone()))).await {
        Err(error) => error,
        Ok(_) => lab.bad(&Op::StartContainer { container: consort::world::Target::named(&spec.name) }).await,
    };
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(!path.exists());
}

async fn a_missing_folder_of_the_host_is_made(lab: &Lab) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made");
    let mut spec = lab.spec("web", "echo x > /host/x");
    spec.mounts = vec![support::bind(path.to_str().unwrap(), "/host", true)];
    assert_eq!(lab.ran(&spec).await.code, 0);
    if !lab.real {
        return Verdict::NotCapable("files of the host");
    }
    assert!(path.join("x").exists());
    Verdict::Good
}

async fn memory_is_a_mount(lab: &Lab) {
    let mut spec = lab.spec("web", "sleep 300");
    let mut mount = support::volume(None, "/scratch");
    mount.kind = MountKind::Tmpfs { size: 1024 * 1024, mode: 0o700 };
    spec.mounts = vec![mount];
    let target = lab.up(&spec).await;
    assert_eq!(lab.sh(&target, "echo x > /scratch/x && cat /scratch/x").await.stdout, "x\n");
    if lab.real {
        let mounts = lab.sh(&target, "grep ' /scratch ' /proc/mounts").await.stdout;
        assert!(mounts.starts_with("tmpfs") && mounts.contains("size=1024k"), "{mounts}");
        assert_eq!(lab.sh(&target, "stat -c %a /scratch").await.stdout, "700\n");
    }
    lab.stop(&target, Some(0)).await;
    lab.start(&target).await;
    assert_ne!(lab.sh(&target, "cat /scratch/x").await.code, 0, "memory is empty after a restart");
}

async fn tmpfs_takes_options(lab: &Lab) {
    let mut spec = lab.spec("web", "sleep 300");
    spec.tmpfs = BTreeMap::from([("/run".to_owned(), "size=64k,mode=1770".to_owned())]);
    let target = lab.up(&spec).await;
    assert_eq!(lab.sh(&target, "echo x > /run/x && cat /run/x").await.stdout, "x\n");
    if lab.real {
        let mounts = lab.sh(&target, "grep ' /run ' /proc/mounts").await.stdout;
        assert!(mounts.contains("size=64k") && mounts.contains("mode=1770"), "{mounts}");
    }
}

async fn files_are_written_with_mode_and_owner(lab: &Lab) {
    let target = lab.create(&lab.spec("web", "sleep 300")).await;
    let files = vec![
        file("/run/secrets/token", "s3cret", 0o400),
        FileSpec { uid: "1000".into(), gid: "100".into(), ..file("/config.ini", "[a]\nb=1\n", 0o640) },
        file("/deep/er/than/there/was", "", 0o644),
    ];
    lab.good(&Op::WriteFiles { container: target.clone(), files }).await;
    lab.start(&target).await;
    let ran = lab.sh(&target, "stat -c '%a %u %g %s' /run/secrets/token /config.ini /deep/er/than/there/was").await;
    let one_by_one = |path: &str| format!("stat -c '%a %u %g %s' {path}");
    let ran = if ran.code == 0 {
        ran
    } else {
        lab.sh(&target, &["/run/secrets/token", "/config.ini", "/deep/er/than/there/was"].map(one_by_one).join("; ")).await
    };
    assert_eq!(ran.stdout, "400 0 0 6\n640 1000 100 8\n644 0 0 0\n", "{ran:?}");
    assert_eq!(lab.sh(&target, "cat /run/secrets/token").await.stdout, "s3cret");
    assert_eq!(lab.sh(&target, "cat /config.ini").await.stdout, "[a]\nb=1\n");
}

async fn written_files_outlive_a_restart(lab: &Lab) {
    let target = lab.create(&lab.spec("web", "cat /etc/motd")).await;
    lab.good(&Op::WriteFiles { container: target.clone(), files: vec![file("/etc/motd", "hello\n", 0o644)] }).await;
    for _ in 0..2 {
        let mut events = lab.events().await;
        lab.start(&target).await;
        events.until(|e| matches!(e.kind, consort::world::EventKind::Died { .. })).await;
    }
    assert_eq!(lab.output(&target).await.0, "hello\nhello\n");
}

async fn files_can_be_written_into_a_volume(lab: &Lab) {
    let volume = lab.volume("data").await;
    let mut spec = lab.spec("web", "cat /data/inner/file");
    spec.mounts = vec![support::volume(Some(&volume), "/data")];
    let target = lab.create(&spec).await;
    lab.good(&Op::WriteFiles { container: target.clone(), files: vec![file("/data/inner/file", "in a volume\n", 0o644)] }).await;
    lab.start(&target).await;
    assert_eq!(lab.exited(&target).await, 0);
    assert_eq!(lab.output(&target).await.0, "in a volume\n");
}

async fn many_files_at_once(lab: &Lab) {
    let target = lab.create(&lab.spec("web", "sleep 300")).await;
    let content = "x".repeat(10_000);
    let files = (0..50).map(|n| file(&format!("/many/{n:03}"), &content, 0o644)).collect();
    lab.good(&Op::WriteFiles { container: target.clone(), files }).await;
    lab.start(&target).await;
    assert_eq!(lab.sh(&target, "ls /many | wc -l").await.stdout.trim(), "50");
    assert_eq!(lab.sh(&target, "cat /many/049 | wc -c").await.stdout.trim(), "10000");
}
