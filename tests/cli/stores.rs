//! `image`, `volume`, `system`: what the embedded engine keeps, as a user reads it.

use super::support::embedded::Home;
use super::{finish, terminal};
use std::io::Write as _;
use std::process::{Command, Stdio};

struct Bench {
    home: Home,
    folder: tempfile::TempDir,
    project: String,
}

impl Bench {
    fn new(what: &str) -> Option<Self> {
        let home = Home::new(what)?;
        let folder = tempfile::tempdir().unwrap();
        let project = format!("stores-{what}-{}", std::process::id());
        let text = format!(
            "name: {project}
services:
  a:
    image: busybox
    command: sh -c 'head -c 1000000 /dev/zero >/data/x; head -c 2000000 /dev/zero >/own; touch /ready; exec sleep 1000'
    healthcheck: {{test: test -e /ready, interval: 1s, start_interval: 50ms, start_period: 60s}}
    stop_signal: KILL
    volumes: [data:/data, /anonymous]
volumes: {{data: {{labels: {{kind: kept}}}}}}
"
        );
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        Some(Self { home, folder, project })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = super::consort(self.folder.path());
        command.args(arguments).envs(self.home.variables()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        finish(self.command(arguments).output().unwrap())
    }

    fn good(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {err}");
        out
    }

    /// What a command says that fails.
    fn bad(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}: {err}");
        err
    }

    fn answered(&self, arguments: &[&str], answer: &str) -> (i32, String, String) {
        let mut child = self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        finish(child.wait_with_output().unwrap())
    }
}

#[test]
fn images_and_volumes_in_use() {
    let Some(bench) = Bench::new("in-use") else { return };
    assert_eq!(bench.good(&["image", "ls"]), "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n");
    assert_eq!(bench.good(&["volume", "ls"]), "DRIVER    VOLUME NAME\n");
    bench.good(&["up", "-d", "--wait"]);
    let project = bench.project.as_str();

    let table = bench.good(&["image", "ls"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert_eq!(lines[0].join(" "), "REPOSITORY TAG IMAGE ID CREATED SIZE");
    assert!(matches!(lines[1].as_slice(), ["busybox", "latest", id, .., "ago", size] if id.len() == 12 && size.ends_with("MB")), "{table}");
    assert_eq!(bench.good(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.Containers}}"]), "busybox:latest 1\n");
    assert_eq!(bench.good(&["image", "ls", "-q"]).trim().len(), 12);
    assert!(bench.good(&["image", "ls", "-q", "--no-trunc"]).starts_with("sha256:"));
    assert_eq!(bench.good(&["image", "ls", "-q", "other"]), "");
    let json: serde_json::Value = serde_json::from_str(&bench.good(&["image", "ls", "--format", "json"])).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let docker = ["Containers", "CreatedAt", "CreatedSince", "Digest", "ID", "Platform", "Repository", "SharedSize", "Size", "Tag", "UniqueSize"];
    assert_eq!(keys, docker);

    let told = bench.bad(&["image", "rm", "busybox"]);
    assert!(
        told.starts_with(&format!("error: image busybox can't be removed: container {project}-a-1 was made of it\n  help: remove the container")),
        "{told}"
    );
    let told = bench.bad(&["image", "rm", "nope"]);
    assert_eq!(told, "error: there is no image nope\n  help: `consort image ls` lists those that are here\n");
    assert_eq!(bench.good(&["image", "rm", "-f", "nope"]), "");
    assert!(bench.bad(&["image", "tag", "nope", "x"]).contains("there is no image nope"));
    assert!(bench.bad(&["image", "save", "nope", "-o", "out.tar"]).contains("there is no image nope"));
    assert!(!bench.folder.path().join("out.tar").exists());
    for all in [&["image", "prune", "-f"][..], &["image", "prune", "-a", "-f"], &["volume", "prune", "-a", "-f"]] {
        assert_eq!(bench.good(all), "Total reclaimed space: 0B\n", "{all:?}");
    }

    let own = format!("{project}_data");
    let anonymous: Vec<String> = bench.good(&["volume", "ls", "-q"]).lines().filter(|v| *v != own).map(str::to_owned).collect();
    assert!(matches!(anonymous.as_slice(), [one] if one.len() == 64), "{anonymous:?}");
    assert_eq!(bench.good(&["volume", "ls", "-q", "-f", "label=kind=kept"]), format!("{own}\n"));
    assert_eq!(bench.good(&["volume", "ls", "-q", "-f", "dangling=true"]), "");
    assert_eq!(bench.good(&["volume", "ls", "-f", "name=data", "--format", "{{.Driver}} {{.Label \"kind\"}}"]), "local kept\n");
    let told = bench.bad(&["volume", "ls", "-f", "colour=red"]);
    assert_eq!(told, "error: unknown filter \"colour=red\"\n  help: it can be name=, driver=, label= or dangling=\n");
    let told = bench.bad(&["volume", "rm", &own, "nope"]);
    assert!(told.contains(&format!("volume {own} is in use by container {project}-a-1\n  help: remove the container")), "{told}");
    assert!(told.contains("there is no volume nope\n  help: `consort volume ls`"), "{told}");
    assert_eq!(bench.good(&["volume", "rm", "-f", "nope"]), "");

    // What it takes in all, and that nothing of it is free.
    let rows = bench.good(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Reclaimable}}"]);
    assert_eq!(rows, "Images 1 1 0B (0%)\nContainers 1 1 0B (0%)\nLocal Volumes 2 2 0B (0%)\n");
    let sizes = bench.good(&["system", "df", "--format", "{{.Size}}"]);
    let sizes: Vec<f64> = sizes.lines().map(|s| s.trim_end_matches("MB").parse().unwrap()).collect();
    assert!((2.0..2.3).contains(&sizes[1]) && (1.0..1.1).contains(&sizes[2]), "{sizes:?}");
    bench.good(&["stop"]);
    let rows = bench.good(&["system", "df", "--format", "{{.Type}} {{.Active}} {{.Reclaimable}}"]);
    assert!(rows.contains("Containers 0 2") && rows.contains("(100%)"), "{rows}");

    // Without an answer nothing is removed.
    let (code, out, err) = bench.run(&["system", "prune"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("WARNING! This will remove:\n  - all stopped containers") && err.contains("continue? [y/N] \n"), "{err}");
    for (answer, code) in [("n\n", 1), ("", 1), ("y\n", 0)] {
        assert_eq!(bench.answered(&["image", "prune"], answer).0, code, "{answer:?}");
    }
    let pruned = bench.good(&["system", "prune", "-f", "--volumes", "-a"]);
    assert!(pruned.starts_with("Deleted Containers:\n") && pruned.contains(&format!("Deleted Networks:\n{project}_default\n")), "{pruned}");
    assert!(pruned.contains(&format!("Deleted Volumes:\n{}\n", anonymous[0])) && pruned.contains("Deleted Images:\nbusybox:latest\n"), "{pruned}");
    let freed: f64 = pruned.lines().last().unwrap().strip_prefix("Total reclaimed space: ").unwrap().trim_end_matches("MB").parse().unwrap();
    assert!((4.0..8.0).contains(&freed), "{pruned}");
    assert_eq!(bench.good(&["volume", "ls", "-q"]), format!("{own}\n"), "it has a name, and stays");
    let pruned = bench.good(&["volume", "prune", "-a", "-f"]);
    assert_eq!(pruned, format!("Deleted Volumes:\n{own}\n\nTotal reclaimed space: 1MB\n"));
    let rows = bench.good(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}} {{.Reclaimable}}"]);
    assert_eq!(rows, "Images 0 0B 0B\nContainers 0 0B 0B\nLocal Volumes 0 0B 0B\n");
}

#[test]
fn images_go_out_and_come_in() {
    let Some(bench) = Bench::new("in-out") else { return };
    bench.good(&["image", "pull", "-q", "busybox"]);
    let archive = bench.folder.path().join("out.tar");
    bench.good(&["image", "save", "busybox", "-o", "out.tar"]);
    bench.good(&["image", "tag", "busybox", "other:1"]);
    assert_eq!(bench.good(&["image", "rm", "other:1"]), "Untagged: other:1\n");
    let removed = bench.good(&["image", "rm", "busybox"]);
    assert!(removed.starts_with("Untagged: busybox:latest\n") && removed.contains("\nDeleted: sha256:"), "{removed}");
    assert_eq!(bench.good(&["image", "load", "-i", "out.tar"]), "Loaded image: busybox:latest\n");
    assert_eq!(bench.good(&["image", "load", "-q", "-i", archive.to_str().unwrap()]), "");
    let told = bench.bad(&["image", "load", "-i", "compose.yaml"]);
    assert!(told.starts_with("error: ") && told.contains("compose.yaml"), "{told}");
    assert!(bench.bad(&["image", "load", "-i", "absent.tar"]).contains("absent.tar"));
    let root = bench.folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("file"), "x").unwrap();
    assert!(bench.good(&["image", "import", "root", "mine:2"]).starts_with("sha256:"));
    assert_eq!(bench.good(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "mine"]), "mine:2\n");
    assert!(bench.bad(&["image", "import", "absent", "x:1"]).contains("absent can't be read"));
    assert!(bench.bad(&["image", "pull", "UPPER"]).contains("lower case"));
}

#[test]
fn an_archive_is_nothing_for_a_terminal() {
    let Some(bench) = Bench::new("terminal") else { return };
    bench.good(&["image", "pull", "-q", "busybox"]);
    let (master, slave) = terminal();
    let output = bench.command(&["image", "save", "busybox"]).stdout(slave.try_clone().unwrap()).stderr(Stdio::piped()).spawn().unwrap();
    let (code, _, err) = finish(output.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (1, "error: an archive is nothing for a terminal\n  help: name a file: -o FILE\n"));
    drop((master, slave));
}

#[test]
fn their_help_is_whole_and_other_engines_have_their_own() {
    let help = |arguments: &[&str]| {
        let (code, out, err) = super::run(&[arguments, &["--help"]].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        out
    };
    for (kind, commands) in [
        ("image", &["ls", "pull", "load", "save", "import", "tag", "rm", "prune"][..]),
        ("volume", &["ls", "rm", "prune"]),
        ("system", &["df", "prune", "unit"]),
    ] {
        let list = help(&[kind]);
        for command in commands {
            let line =
                list.lines().find(|l| l.trim_start().starts_with(&format!("{command} "))).unwrap_or_else(|| panic!("{kind} {command}: {list}"));
            assert!(line.trim().len() > command.len() + 8, "{line}");
            let own = help(&[kind, command]);
            assert!(own.contains(&format!("consort {kind} {command}")) && own.contains("--help"), "{own}");
        }
    }
    let (code, _, err) = super::run(&["--engine", "sim", "image", "ls"]);
    assert_eq!(code, 1);
    assert!(err.contains("the simulated engine keeps nothing\n  help: leave --engine out"), "{err}");
    if let Some(address) = super::docker() {
        let (code, _, err) = super::run(&["--engine", "docker", "-H", &address, "volume", "ls"]);
        assert_eq!(code, 1);
        assert!(err.contains("is about the embedded engine") && err.contains("`docker volume ls` does it for docker"), "{err}");
    }
}

/// Keys of files that were written for Docker: what changes nothing or can be done is taken without a word.
#[test]
fn keys_for_docker_are_taken_or_told_at_their_line() {
    let Some(bench) = Bench::new("keys") else { return };
    let write = |text: &str| std::fs::write(bench.folder.path().join("compose.yaml"), format!("name: {}\n{text}", bench.project)).unwrap();
    write(
        "services:
  a:
    image: busybox
    command: sleep 1000
    stop_signal: KILL
    security_opt: ['label:disable', 'label=disable', 'apparmor:unconfined', 'apparmor=unconfined', 'no-new-privileges:true']
    userns_mode: host
    cgroup: host
    ipc: shareable
    isolation: default
    volumes: [bound:/bound, memory:/memory, plain:/plain, '/etc/hostname:/x:ro,z', '/etc/hostname:/y:cached']
    networks: [one, two]
    logging: {driver: json-file, options: {max-size: 10m, max-file: '3'}}
volumes:
  bound: {driver: local, driver_opts: {type: none, o: bind, device: /etc}}
  memory: {driver: local, driver_opts: {type: tmpfs, device: tmpfs, o: 'size=1m,uid=1000'}}
  plain: {driver: local}
networks:
  one: {driver: bridge, driver_opts: {com.docker.network.bridge.enable_icc: 'true', com.docker.network.driver.mtu: '1400'}}
  two: {attachable: true, ipam: {driver: default, options: {some: thing}}}
",
    );
    let (code, _, err) = bench.run(&["up", "-d"]);
    assert!(code == 0 && !err.contains("warning") && !err.contains("error"), "{err}");
    let seen =
        bench.good(&["exec", "-T", "a", "sh", "-c", "test -e /bound/passwd && stat -c %u /memory && df -k /memory | tail -1 | awk '{print $2}'"]);
    assert_eq!(seen, "1000\n1024\n");
    bench.good(&["down", "-v"]);

    let service = |key: &str| format!("services:\n  a:\n    image: busybox\n    {key}\n");
    for (text, place, words) in [
        (service("userns_mode: auto"), "5:5", "`userns_mode`"),
        (service("isolation: hyperv"), "5:5", "for containers of Windows"),
        (service("gpus: all"), "5:5", "runtime: nvidia"),
        (service("devices: ['vendor.example/class=all']"), "5:15", "Container Device Interface"),
        (service("storage_opt: {size: 1G}"), "5:5", "`storage_opt`"),
        (service("logging: {driver: gelf}"), "5:15", "json-file, local, or none"),
        (service("volumes: ['v:/v']") + "volumes: {v: {driver: rexray}}\n", "6:15", "`local` alone"),
        (service("networks: [n]") + "networks: {n: {driver: macvlan}}\n", "6:16", "bridge networks alone"),
        (service("networks: [n]") + "networks: {n: {ipam: {driver: dhcp}}}\n", "6:23", "addresses"),
    ] {
        write(&text);
        let told = bench.bad(&["up", "--dry-run"]);
        assert!(told.starts_with("error[engine-cannot]: ") && told.contains(&format!("compose.yaml:{place}")), "{told}");
        assert!(told.contains(words) && told.contains("help: take it out, or use an engine that can"), "{told}");
    }
    for (option, words) in [("apparmor:mine", "profiles of AppArmor"), ("label:type:mine_t", "labels of SELinux")] {
        write(&service(&format!("security_opt: ['{option}']")));
        let (code, _, err) = bench.run(&["up", "--dry-run"]);
        assert!(code == 0 && err.contains("warning[engine-cannot]") && err.contains(words) && err.contains("compose.yaml:5:20"), "{err}");
    }
}
