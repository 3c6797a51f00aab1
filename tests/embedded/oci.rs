//! Containers by other runtimes, through the command line: what only they can get wrong. That they do what everybody's
//! containers do is the contract suite's affair (`embedded_crun`, `embedded_runc`).

use crate::support::{embedded::Home, engines_required, say};
use consort::engine::embedded::record::ContainerState;
use consort::engine::embedded::runtime::oci;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The runtimes that are installed.
fn runtimes(what: &str) -> Vec<PathBuf> {
    let found = |name: &str| match oci::find(name) {
        Ok((Some(runtime), _)) => Some(runtime.path),
        other => {
            assert!(!engines_required(), "{name} is required: {other:?}");
            say(&format!("{what}: {name} skipped: it is not installed"));
            None
        }
    };
    ["crun", "runc"].into_iter().filter_map(found).collect()
}

/// A project in folders of its own.
struct Bench {
    home: Home,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(what: &str, text: &str) -> Option<Self> {
        let home = Home::new(what)?;
        let folder = tempfile::tempdir().unwrap();
        let text = format!("name: oci-{what}-{}\n{text}", std::process::id());
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        Some(Self { home, folder })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_consort"));
        command.args(arguments).current_dir(self.folder.path()).envs(self.home.variables());
        command.output().unwrap()
    }

    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn bad(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} should have failed");
        String::from_utf8(output.stderr).unwrap()
    }

    fn with(&self, runtime: &Path, arguments: &[&str]) -> String {
        let runtime = runtime.to_str().unwrap();
        self.good(&[&["--runtime", runtime], arguments].concat())
    }

    fn down(&self) {
        self.good(&["down", "--volumes", "--timeout", "1"]);
    }

    fn states(&self) -> Vec<ContainerState> {
        let entries = std::fs::read_dir(self.home.state().join("containers")).into_iter().flatten().flatten();
        entries.map(|e| serde_json::from_slice(&std::fs::read(e.path().join("state.json")).unwrap()).unwrap()).collect()
    }
}

/// What a container can see of itself that has to be the same whoever runs it.
const LOOK: &str = "exec 2>&1
id
grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status
ulimit -n
hostname
cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_unprivileged_port_start
env | sort
pwd
ls /dev | grep -v core
for f in /proc/kcore /proc/timer_list; do head -c 1 $$f | wc -c; done
echo x 2>/dev/null >/proc/sys/kernel/hostname && echo written
grep -E ' (/data|/etc/given|/mem|/fixed|/dev/shm|/secret|/) ' /proc/self/mounts | grep -v overlay | cut -d' ' -f2,4 | sed 's/relatime.*//' | sort
cat /secret /mem/token
stat -c %a:%u:%g /secret /mem /data
mknod /tmp/disk b 8 0 && head -c 1 /tmp/disk 2>&1
unshare -n true 2>&1
true";

fn looking() -> String {
    let script = LOOK.replace('\n', "\n        ");
    format!(
        "services:
  look:
    image: busybox
    user: '7:8'
    group_add: ['99']
    hostname: looker
    domainname: example.org
    working_dir: /made/here
    cap_add: [NET_ADMIN]
    cap_drop: [CHOWN]
    security_opt: ['no-new-privileges:true']
    ulimits: {{nofile: {{soft: 100, hard: 200}}}}
    shm_size: 8m
    environment: {{GREETING: hello}}
    tmpfs: ['/mem:size=1m,mode=1750']
    volumes: ['data:/data', '/etc/hostname:/etc/given:ro', './fixed:/fixed:ro']
    configs:
      - {{source: one, target: /secret, uid: '7', gid: '8', mode: 0440}}
      - {{source: one, target: /mem/token}}
    command: |
      sh -c '
        {}'
configs: {{one: {{content: told}}}}
volumes: {{data: {{}}}}
",
        script.replace('\'', "\"")
    )
}

#[test]
fn what_a_container_sees_is_the_same() {
    let Some(bench) = Bench::new("same", &looking()) else { return };
    std::fs::create_dir(bench.folder.path().join("fixed")).unwrap();
    let look = |arguments: &[&str]| {
        bench.good(&[arguments, &["up", "-d", "--wait"]].concat());
        let text = bench.good(&["logs", "--no-log-prefix"]);
        bench.down();
        text
    };
    let own = look(&[]);
    assert!(own.contains("uid=7") && own.contains("told") && own.contains("/fixed ro"), "{own}");
    for runtime in runtimes("same") {
        let theirs = look(&["--runtime", runtime.to_str().unwrap()]);
        assert_eq!(theirs, own, "{}", runtime.display());
    }
}

#[test]
fn a_runtime_is_told_and_another_one_recreates() {
    let text = "services: {one: {image: busybox, command: sleep 1000, stop_signal: KILL}}\n";
    let Some(bench) = Bench::new("told", text) else { return };
    let told = || {
        let line = bench.good(&["ps", "--format", "json"]);
        let value: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
        (value["ID"].as_str().unwrap().to_owned(), value["Runtime"].as_str().map(str::to_owned))
    };
    bench.good(&["up", "-d"]);
    let (own, none) = told();
    assert_eq!(none, None);
    for runtime in runtimes("told") {
        bench.with(&runtime, &["up", "-d"]);
        let (id, name) = told();
        assert_eq!(name.as_deref(), runtime.to_str());
        assert_ne!(id, own);
        bench.with(&runtime, &["up", "-d"]);
        assert_eq!(told().0, id, "nothing has changed");
    }
    bench.down();
}

#[test]
fn its_errors_are_told_in_its_words() {
    let text = "services: {one: {image: busybox, command: no-such-program}, two: {image: busybox, runtime: no-such-runtime, profiles: [two]}}\n";
    let Some(bench) = Bench::new("errors", text) else { return };
    for runtime in runtimes("errors") {
        let name = runtime.file_name().unwrap().to_str().unwrap();
        let said = bench.bad(&["--runtime", name, "up", "-d", "one"]);
        assert!(
            said.contains(&format!("{name} can't create the container")) && said.contains("no-such-program") && said.contains("not found"),
            "{said}"
        );
        assert!(said.contains("look at `command` and `entrypoint`"), "{said}");
    }
    let said = bench.bad(&["up", "-d", "two"]);
    assert!(said.contains("there is no runtime `no-such-runtime`") && said.contains("install it"), "{said}");
    bench.good(&["--profile", "two", "down"]);
}

#[test]
fn a_dead_supervisor_leaves_its_containers_to_the_next_one() {
    let text = "services: {one: {image: busybox, command: 'sh -c \"trap \\\"exit 7\\\" TERM; echo begun; while :; do sleep 0.1; done\"'}}\n";
    let Some(bench) = Bench::new("adopt", text) else { return };
    for runtime in runtimes("adopt") {
        bench.with(&runtime, &["up", "-d"]);
        let before = bench.states();
        for pid in bench.home.supervisors() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        assert!(bench.good(&["ps", "--format", "{{.State}}"]).contains("running"));
        assert_eq!(bench.states()[0].pid, before[0].pid, "it is still the same process");
        assert_eq!(bench.good(&["exec", "-T", "one", "echo", "entered"]), "entered\n");
        bench.good(&["stop"]);
        assert!(bench.good(&["ps", "-a", "--format", "{{.State}}"]).contains("exited"));
        // What it had with its runtime is forgotten, and it starts again.
        bench.good(&["start"]);
        assert!(bench.good(&["ps", "--format", "{{.State}}"]).contains("running"));
        bench.down();
    }
}

#[test]
fn memory_that_runs_out_is_told_and_nothing_is_left() {
    let text = "services:
  eater:
    image: busybox
    command: sh -c 'tail /dev/zero'
    mem_limit: 16m
  other: {image: busybox, command: sleep 1000, init: true}
  starter: {image: busybox, command: 'true', restart: 'on-failure:2'}
";
    let Some(bench) = Bench::new("memory", text) else { return };
    let mounts = || {
        let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        all.lines().filter(|l| l.contains(bench.home.state().parent().unwrap().to_str().unwrap())).count()
    };
    let before = mounts();
    for runtime in runtimes("memory") {
        bench.with(&runtime, &["up", "-d", "other", "starter"]);
        bench.run(&["--runtime", runtime.to_str().unwrap(), "up", "eater"]);
        let told = bench.good(&["ps", "-a", "eater"]);
        assert!(told.contains("(out of memory)"), "{told}");
        assert!(bench.good(&["logs", "eater"]).contains("memory ran out (limit 16.0 MiB)"));
        assert!(bench.good(&["ps", "other"]).contains("Up "));
        assert!(bench.good(&["exec", "-T", "other", "sh", "-c", "cat /proc/1/cmdline"]).contains("init"));
        bench.down();
        assert_eq!(std::fs::read_dir(bench.home.run().join("containers")).unwrap().count(), 0);
        assert_eq!(mounts(), before);
        for hierarchy in ["memory", "unified", "."] {
            let project = format!("oci-memory-{}", std::process::id());
            assert!(!Path::new("/sys/fs/cgroup").join(hierarchy).join("consort").join(project).exists());
        }
    }
}
