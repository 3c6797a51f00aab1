//! Supervisors that are killed, replaced and started anew; containers go on, and nothing that they print is lost.
//!
//! Containers have the programs of this machine, mounted into a root that is empty otherwise, and no network.

use crate::support::{self, embedded::Home};
use consort::engine::embedded::record::ContainerState;
use consort::engine::embedded::supervisor::wire::{self, Door, Hello, Lines};
use consort::engine::registry::{EngineRequest, connect};
use consort::engine::{Engine, OpProgress};
use consort::units::Duration as Span;
use consort::world::{
    Applied, ContainerDetails, ContainerSpec, EngineEvent, EventKind, ExecSpec, Health, HealthcheckSpec, LogQuery, MountKind, MountSpec,
    ObserveQuery, Op, RestartPolicy, State, Stream, Target,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long something may take that must come.
const PATIENCE: Duration = Duration::from_secs(60);

struct Stage {
    home: Home,
    root: PathBuf,
    engine: Arc<dyn Engine>,
    project: String,
    progress: mpsc::Sender<OpProgress>,
}

async fn open(home: &Home) -> Arc<dyn Engine> {
    let program = Some(env!("CARGO_BIN_EXE_consort").into());
    let request = EngineRequest { engine: "embedded".into(), environment: home.environment(), program, ..EngineRequest::default() };
    connect(&request).await.unwrap_or_else(|e| panic!("the embedded engine can't be used: {e}"))
}

impl Stage {
    /// None where there is no root.
    async fn new(what: &str) -> Option<Self> {
        let home = Home::bare(what)?;
        let root = home.state().with_file_name("root");
        for folder in ["etc", "proc", "dev", "sys", "tmp", "usr"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        // Where they are folders of their own, they are not below /usr.
        for name in ["bin", "sbin", "lib", "lib64"] {
            assert!(PathBuf::from("/").join(name).is_symlink() || name == "lib64", "/{name} is no link into /usr");
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
        let engine = open(&home).await;
        let (progress, mut reports) = mpsc::channel(8);
        tokio::spawn(async move { while reports.recv().await.is_some() {} });
        Some(Self { home, root, engine, project: format!("supervisor-{what}-{}", std::process::id()), progress })
    }

    fn spec(&self, service: &str, script: &str) -> ContainerSpec {
        let mut spec = support::container(&self.project, service, 1, &format!("rootfs:{}", self.root.display()));
        let kind = MountKind::Bind {
            source: "/usr".into(),
            create_host_path: false,
            propagation: String::new(),
            selinux: String::new(),
            recursive: String::new(),
        };
        spec.mounts = vec![MountSpec { kind, target: "/usr".into(), read_only: true, consistency: String::new() }];
        spec.command = Some(vec!["/bin/sh".into(), "-c".into(), script.into()]);
        spec
    }

    async fn good(&self, op: &Op) -> Applied {
        self.engine.apply(op, &self.progress).await.unwrap_or_else(|e| panic!("{} {} failed: {e}", op.verb(), op.subject()))
    }

    async fn create(&self, spec: &ContainerSpec) -> Target {
        let made = self.good(&Op::CreateContainer(Box::new(spec.clone()))).await;
        Target::existing(&spec.name, made.id.expect("an id"))
    }

    async fn up(&self, spec: &ContainerSpec) -> Target {
        let target = self.create(spec).await;
        self.good(&Op::StartContainer { container: target.clone() }).await;
        target
    }

    async fn inspect(&self, target: &Target) -> ContainerDetails {
        self.engine.inspect(target).await.unwrap_or_else(|e| panic!("{} can't be inspected: {e}", target.name))
    }

    async fn events(&self) -> BoxStream<'static, Result<EngineEvent, consort::world::EngineError>> {
        self.engine.events(Some(&self.project)).await.unwrap()
    }

    /// What it has printed so far, or until it ends.
    async fn printed(&self, target: &Target, follow: bool) -> (String, String) {
        let query = LogQuery { follow, ..LogQuery::default() };
        let mut log = self.engine.logs(target, &query).await.unwrap_or_else(|e| panic!("no log of {}: {e}", target.name));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(chunk) = tokio::time::timeout(PATIENCE, log.next()).await.expect("the log goes on for too long") {
            let chunk = chunk.unwrap();
            if chunk.stream == Stream::Stdout { &mut out } else { &mut err }.extend_from_slice(&chunk.bytes);
        }
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    /// Kills the supervisor, and waits until it is gone.
    fn kill_supervisor(&self) -> bool {
        let found = self.home.supervisors();
        for pid in &found {
            let pid = Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
            let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
            let _ = kill_process(pid, Signal::KILL);
            if let Ok(pidfd) = pidfd {
                let _ = rustix::event::poll(&mut [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)], None);
            }
        }
        !found.is_empty()
    }

    fn state_file(&self, target: &Target) -> PathBuf {
        self.home.state().join("containers").join(target.reference()).join("state.json")
    }

    fn state(&self, target: &Target) -> ContainerState {
        serde_json::from_slice(&std::fs::read(self.state_file(target)).unwrap()).unwrap()
    }

    async fn remove(&self, target: &Target) {
        self.good(&Op::RemoveContainer { container: target.clone(), volumes: true }).await;
    }

    /// Nothing may be left: no container, no process, no group, no file of a container.
    async fn leave(self) {
        let query = ObserveQuery { project: Some(self.project.clone()), containers_only: true, ..ObserveQuery::default() };
        assert_eq!(self.engine.observe(&query).await.unwrap().containers, []);
        let groups = PathBuf::from("/sys/fs/cgroup");
        let ours = |folder: PathBuf| folder.join("consort").join(&self.project);
        let mut left = Vec::new();
        for folder in std::fs::read_dir(&groups).unwrap().flatten().map(|e| e.path()).chain([groups.clone()]) {
            left.extend(std::fs::read_dir(ours(folder)).into_iter().flatten().flatten().filter(|e| e.path().is_dir()).map(|e| e.path()));
        }
        assert_eq!(left, Vec::<PathBuf>::new(), "groups are left");
        for folder in ["containers", "names"] {
            assert_eq!(std::fs::read_dir(self.home.state().join(folder)).unwrap().count(), 0, "{folder} has something left");
        }
        let layers: Vec<_> = std::fs::read_dir(self.home.state().join("upper")).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(layers, ["@base"]);
    }
}

async fn next(events: &mut BoxStream<'static, Result<EngineEvent, consort::world::EngineError>>, wanted: impl Fn(&EventKind) -> bool) -> EventKind {
    let find = async {
        loop {
            let event = events.next().await.expect("events end").expect("events fail");
            if wanted(&event.kind) {
                return event.kind;
            }
        }
    };
    tokio::time::timeout(PATIENCE, find).await.expect("an event was expected, none came")
}

fn died(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Died { .. })
}

/// Numbers from 1 on, none missing, none twice.
fn is_count(text: &str) -> usize {
    for (n, line) in text.lines().enumerate() {
        assert_eq!(line, format!("line {}", n + 1), "after {n} lines");
    }
    text.lines().count()
}

#[tokio::test]
async fn no_line_is_lost_however_often_a_supervisor_is_killed() {
    let Some(stage) = Stage::new("lines").await else { return };
    let script = "n=0; while [ $n -lt 30000 ]; do n=$((n+1)); echo line $n; echo line $n >&2; done; exit 9";
    let target = stage.up(&stage.spec("web", script)).await;
    let mut seen = 0;
    for round in 0..25 {
        // At whatever moment that is: it is writing all the time.
        stage.kill_supervisor();
        assert!(stage.inspect(&target).await.state.is_some());
        let (out, _) = stage.printed(&target, false).await;
        let now = is_count(&out);
        assert!(now >= seen, "round {round}: {now} lines after {seen}");
        seen = now;
    }
    let (out, err) = stage.printed(&target, true).await;
    assert_eq!((is_count(&out), is_count(&err)), (30000, 30000));
    let end = stage.inspect(&target).await;
    assert_eq!(end.state, Some(State::Exited));
    // Older kernels don't tell it to those who aren't its parent.
    assert!(end.exit_code == 9 || end.exit_code == 255 && !end.error.is_empty(), "{end:?}");
    stage.remove(&target).await;
    stage.leave().await;
}

#[tokio::test]
async fn an_adopted_container_is_looked_after_as_before() {
    let Some(stage) = Stage::new("adopted").await else { return };
    let mut spec = stage.spec("web", "trap 'exit 4' TERM; echo ready; while true; do sleep 0.1; done");
    spec.healthcheck = Some(HealthcheckSpec {
        test: vec!["CMD-SHELL".into(), "test -e /tmp/good && echo fine".into()],
        interval: Some(Span(200_000_000)),
        retries: Some(1000),
        ..HealthcheckSpec::default()
    });
    let target = stage.up(&spec).await;
    let before = stage.inspect(&target).await;
    assert!(stage.kill_supervisor());
    let mut events = stage.events().await;
    let after = stage.inspect(&target).await;
    assert_eq!((after.state, after.pid, after.started), (Some(State::Running), before.pid, before.started));
    assert!(!stage.good(&Op::StartContainer { container: target.clone() }).await.changed, "it runs");
    let exec = ExecSpec { command: vec!["/usr/bin/touch".into(), "/tmp/good".into()], ..ExecSpec::default() };
    let session = stage.engine.exec(&target, &exec).await.unwrap();
    let printed: Vec<_> = session.output.collect().await;
    assert_eq!(session.control.exit_code().await.unwrap(), 0, "{printed:?}");
    next(&mut events, |k| *k == EventKind::Health(Health::Healthy)).await;
    let probes = stage.inspect(&target).await.probes;
    assert_eq!(probes.last().map(|p| (p.exit_code, p.output.as_str())), Some((0, "fine\n")));
    stage.good(&Op::PauseContainer { container: target.clone() }).await;
    assert!(stage.kill_supervisor());
    assert_eq!(stage.inspect(&target).await.state, Some(State::Paused));
    stage.good(&Op::UnpauseContainer { container: target.clone() }).await;
    stage.good(&Op::StopContainer { container: target.clone(), timeout: Some(20) }).await;
    let end = stage.inspect(&target).await;
    assert!(end.exit_code == 4 || end.exit_code == 255 && !end.error.is_empty(), "{end:?}");
    stage.remove(&target).await;
    stage.leave().await;
}

/// A health check whose regular probes come when nobody waits for them any more.
fn seldom(script: &str) -> HealthcheckSpec {
    let hour = Some(Span::from_secs(3600));
    HealthcheckSpec { test: vec!["CMD-SHELL".into(), script.into()], interval: hour, ..HealthcheckSpec::default() }
}

#[tokio::test]
async fn early_probes_open_gates_and_leave_no_failures() {
    let Some(stage) = Stage::new("early").await else { return };
    let mut events = stage.events().await;
    let mut spec = stage.spec("web", "exec sleep 300");
    spec.healthcheck = Some(seldom("test -e /tmp/good || { echo no | tee -a /tmp/asked; exit 1; }"));
    let target = stage.up(&spec).await;
    let wait = ["/bin/sh", "-c", "until [ $(wc -l < /tmp/asked || echo 0) -gt 2 ]; do sleep 0.01; done"].map(str::to_owned).to_vec();
    let session = stage.engine.exec(&target, &ExecSpec { command: wait, ..ExecSpec::default() }).await.unwrap();
    let _: Vec<_> = session.output.collect().await;
    let between = stage.inspect(&target).await;
    assert_eq!((between.health, between.probes), (Some(Health::Starting), vec![]), "three bad ones are nobody's business");
    let good = ExecSpec { command: vec!["/usr/bin/touch".into(), "/tmp/good".into()], ..ExecSpec::default() };
    let session = stage.engine.exec(&target, &good).await.unwrap();
    let _: Vec<_> = session.output.collect().await;
    assert_eq!(next(&mut events, |k| matches!(k, EventKind::Health(_))).await, EventKind::Health(Health::Healthy));
    assert_eq!(stage.inspect(&target).await.probes.iter().map(|p| p.exit_code).collect::<Vec<_>>(), [0]);

    // A script that prepares something isn't asked yet; what it executes is.
    std::fs::write(stage.root.join("entry"), "sleep 0.4; test -e /tmp/asked || echo unasked; exec sleep 300").unwrap();
    let mut spec = stage.spec("db", "");
    spec.command = Some(vec!["/bin/sh".into(), "/entry".into()]);
    spec.healthcheck = Some(seldom("touch /tmp/asked"));
    let other = stage.up(&spec).await;
    assert_eq!(next(&mut events, |k| matches!(k, EventKind::Health(_))).await, EventKind::Health(Health::Healthy));
    assert_eq!(stage.printed(&other, false).await.0, "unasked\n");
    for target in [&target, &other] {
        stage.remove(target).await;
    }
    stage.leave().await;
}

#[tokio::test]
async fn restarts_are_counted_over_supervisors() {
    let Some(stage) = Stage::new("restarts").await else { return };
    let mut spec = stage.spec("web", "echo run; sleep 0.3; exit 3");
    spec.restart = RestartPolicy::OnFailure(3);
    let mut events = stage.events().await;
    let target = stage.up(&spec).await;
    next(&mut events, died).await;
    next(&mut events, |k| *k == EventKind::Started).await;
    stage.kill_supervisor();
    // Whoever looks next starts the next one.
    let query = ObserveQuery { project: Some(stage.project.clone()), containers_only: true, ..ObserveQuery::default() };
    stage.engine.observe(&query).await.unwrap();
    let (out, _) = loop {
        let printed = stage.printed(&target, true).await;
        if stage.inspect(&target).await.state == Some(State::Exited) {
            break printed;
        }
    };
    let end = stage.inspect(&target).await;
    assert_eq!((end.restarts, out.as_str()), (3, "run\nrun\nrun\nrun\n"), "{end:?}");
    stage.remove(&target).await;
    stage.leave().await;
}

#[tokio::test]
async fn whoever_follows_starts_another_supervisor() {
    let Some(mut stage) = Stage::new("follow").await else { return };
    let target = stage.up(&stage.spec("web", "n=0; while [ $n -lt 20 ]; do n=$((n+1)); echo line $n; sleep 0.02; done; exit 2")).await;
    // Another command, which does nothing but to read the log.
    stage.engine = open(&stage.home).await;
    let mut log = stage.engine.logs(&target, &LogQuery { follow: true, ..LogQuery::default() }).await.unwrap();
    let mut text = Vec::new();
    for _ in 0..3 {
        text.extend(tokio::time::timeout(PATIENCE, log.next()).await.unwrap().unwrap().unwrap().bytes);
    }
    assert!(stage.kill_supervisor());
    while let Some(chunk) = tokio::time::timeout(PATIENCE, log.next()).await.expect("the log stands still") {
        text.extend(chunk.unwrap().bytes);
    }
    assert_eq!(is_count(&String::from_utf8(text).unwrap()), 20);

    // One that was listening before there was anything to listen to.
    let other = open(&stage.home).await;
    let mut events = other.events(Some(&stage.project)).await.unwrap();
    stage.good(&Op::StartContainer { container: target.clone() }).await;
    next(&mut events, |k| *k == EventKind::Started).await;
    // Heard means that it has connected: the command that has started it goes, and then the supervisor.
    stage.engine = open(&stage.home).await;
    assert!(stage.kill_supervisor());
    next(&mut events, died).await;
    stage.remove(&target).await;
    stage.leave().await;
}

#[tokio::test]
async fn what_ended_while_nobody_looked_is_found_out() {
    let Some(stage) = Stage::new("unseen").await else { return };
    let mut always = stage.spec("always", "echo run; sleep 300");
    always.restart = RestartPolicy::Always;
    let (once, always) = (stage.up(&stage.spec("once", "echo run; sleep 300")).await, stage.up(&always).await);
    // A supervisor of its own project only knows those two.
    let pids: Vec<i32> = [&once, &always].map(|t| stage.state(t).pid).to_vec();
    stage.kill_supervisor();
    for pid in &pids {
        let pid = Pid::from_raw(*pid).unwrap();
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        rustix::event::poll(&mut [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)], None).unwrap();
    }
    let end = stage.inspect(&once).await;
    assert_eq!((end.state, end.exit_code), (Some(State::Exited), 255));
    assert!(end.error.contains("no supervisor looked"), "{}", end.error);
    let mut again = stage.inspect(&always).await;
    let mut events = stage.events().await;
    if again.state != Some(State::Running) {
        next(&mut events, |k| *k == EventKind::Started).await;
        again = stage.inspect(&always).await;
    }
    assert_eq!(again.state, Some(State::Running));
    assert_ne!(again.pid, i64::from(pids[1]));

    // The same after a reboot: who was stopped on purpose stays down, unless it is `always`.
    stage.kill_supervisor();
    let mut state = stage.state(&always);
    kill_process(Pid::from_raw(state.pid).unwrap(), Signal::KILL).unwrap();
    state.boot = "another".into();
    std::fs::write(stage.state_file(&always), serde_json::to_vec(&state).unwrap()).unwrap();
    std::fs::remove_dir_all(stage.home.run()).unwrap();
    assert_eq!(stage.inspect(&always).await.state, Some(State::Exited), "nothing has looked after it yet");
    let started = stage.good(&Op::StartContainer { container: once.clone() }).await;
    assert!(started.changed);
    let mut events = stage.events().await;
    if stage.inspect(&always).await.state != Some(State::Running) {
        next(&mut events, |k| *k == EventKind::Started).await;
    }
    assert_eq!(stage.inspect(&always).await.state, Some(State::Running));
    for target in [&once, &always] {
        stage.remove(target).await;
    }
    stage.leave().await;
}

#[tokio::test]
async fn another_version_goes_on_in_the_same_process() {
    let Some(stage) = Stage::new("upgrade").await else { return };
    let target = stage.up(&stage.spec("web", "trap 'exit 6' TERM; echo ready; while true; do sleep 0.1; done")).await;
    let before = stage.home.supervisors();
    {
        let door = Door::of(&stage.home.run().join("projects").join(&stage.project)).unwrap();
        let mut socket = std::os::unix::net::UnixStream::connect(&door.path).unwrap();
        let hello = Hello { consort: "0.0.0-other".into(), program: Some(env!("CARGO_BIN_EXE_consort").into()) };
        socket.write_all(&wire::line(&hello)).unwrap();
        let (mut lines, mut text) = (Lines::default(), Vec::new());
        // It says who it is, and hangs up.
        socket.read_to_end(&mut text).unwrap();
        lines.push(&text);
        assert_eq!(lines.take::<Hello>().unwrap().map(|h| h.consort), Some(wire::VERSION.to_owned()));
    }
    // A later request waits for the one that goes on, or starts one.
    stage.good(&Op::StopContainer { container: target.clone(), timeout: Some(20) }).await;
    let after = stage.home.supervisors();
    let end = stage.inspect(&target).await;
    assert_eq!((end.exit_code, end.state), (6, Some(State::Exited)), "it is still the container's parent: {before:?} {after:?}");
    stage.remove(&target).await;
    stage.leave().await;
}

#[tokio::test]
async fn a_full_disk_does_not_stop_a_container() {
    let Some(stage) = Stage::new("full").await else { return };
    let folder = stage.home.state().join("containers");
    std::fs::create_dir_all(&folder).unwrap();
    let full = support::embedded::Mounted::memory(&folder, "size=256k");
    let mut events = stage.events().await;
    let script = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); echo line $n of many that no disk has room for; done; exit 5";
    let target = stage.up(&stage.spec("web", script)).await;
    let told = next(&mut events, |k| matches!(k, EventKind::Other(_))).await;
    let EventKind::Other(text) = told else { panic!() };
    assert!(text.contains("its log can't be written"), "{text}");
    assert_eq!(next(&mut events, died).await, EventKind::Died { exit_code: 5 });
    stage.remove(&target).await;
    drop(full);
    stage.leave().await;
}

#[tokio::test]
async fn a_large_layer_goes_while_others_are_looked_after() {
    let Some(stage) = Stage::new("large").await else { return };
    let other = stage.up(&stage.spec("other", "while true; do echo tick; sleep 0.002; done")).await;
    let large = stage.up(&stage.spec("large", "exec sleep 300")).await;
    let layer = stage.home.state().join("upper").join(large.reference());
    std::fs::write(layer.join("upper/file"), "").unwrap();
    for n in 0..60_000 {
        std::fs::hard_link(layer.join("upper/file"), layer.join(format!("upper/{n}"))).unwrap();
    }
    let now = || i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    stage.remove(&large).await;
    let begin = now();
    assert!(layer.exists(), "the answer doesn't wait for it");
    while layer.exists() {
        std::thread::yield_now();
    }
    let end = now();
    // Times are those at which the supervisor has read the lines.
    let mut log = stage.engine.logs(&other, &LogQuery::default()).await.unwrap();
    let mut between = 0;
    while let Some(chunk) = log.next().await {
        between += usize::from((begin..end).contains(&chunk.unwrap().time.unwrap().0));
    }
    assert!(between >= 3, "{between} lines were read in {} ms", (end - begin) / 1_000_000);

    // What a sudden end leaves of a removal is removed by the next supervisor.
    let half = stage.up(&stage.spec("half", "exec sleep 300")).await;
    let files = [stage.home.state().join("upper").join(half.reference()), stage.home.state().join("containers").join(half.reference())];
    stage.kill_supervisor();
    std::fs::remove_file(files[1].join("container.json")).unwrap();
    std::fs::remove_file(stage.home.state().join("names").join(&half.name)).unwrap();
    stage.remove(&other).await;
    assert!(files.iter().all(|f| !f.exists()), "{files:?}");
    stage.leave().await;
}

#[tokio::test]
async fn a_terminal_outlives_its_supervisor() {
    let Some(stage) = Stage::new("terminal").await else { return };
    // Whoever loses the terminal hears of it.
    let script = "trap 'echo hung up; exit 1' HUP; n=0; while [ $n -lt 8000 ]; do n=$((n+1)); echo line $n; done; test -t 1 && exit 9";
    let spec = ContainerSpec { tty: true, ..stage.spec("web", script) };
    let target = stage.up(&spec).await;
    let mut seen = 0;
    for round in 0..10 {
        stage.kill_supervisor();
        let (out, err) = stage.printed(&target, false).await;
        assert!(err.is_empty());
        let now = is_count(&out);
        assert!(now >= seen, "round {round}: {now} lines after {seen}");
        seen = now;
    }
    let all = stage.printed(&target, true).await.0;
    assert_eq!(is_count(&all), 8000, "{:?}", stage.inspect(&target).await);
    let end = stage.inspect(&target).await;
    assert!(end.exit_code == 9 || end.exit_code == 255 && end.error.contains("unknown"), "{end:?}");
    stage.remove(&target).await;

    // One that waits at its prompt, which has no end of line, and that nobody has killed.
    let spec = ContainerSpec { tty: true, ..stage.spec("shell", "trap 'exit 7' TERM; printf 'name? '; while true; do sleep 0.05; done") };
    let target = stage.up(&spec).await;
    let mut log = stage.engine.logs(&target, &LogQuery { follow: true, ..LogQuery::default() }).await.unwrap();
    let prompt = tokio::time::timeout(PATIENCE, log.next()).await.expect("no prompt").unwrap().unwrap();
    assert_eq!(prompt.bytes.as_ref(), b"name? ");
    let before = stage.inspect(&target).await;
    assert!(stage.kill_supervisor());
    assert_eq!(stage.inspect(&target).await.pid, before.pid);
    stage.good(&Op::StopContainer { container: target.clone(), timeout: Some(20) }).await;
    let end = stage.inspect(&target).await;
    assert!(end.exit_code == 7 || end.exit_code == 255 && end.error.contains("unknown"), "{end:?}");
    stage.remove(&target).await;
    stage.leave().await;
}

#[tokio::test]
async fn what_a_killed_command_leaves_is_cleaned_up() {
    let Some(stage) = Stage::new("command").await else { return };
    let folder = stage.root.with_file_name("project");
    std::fs::create_dir_all(&folder).unwrap();
    let service = |name: &str| {
        format!(
            "  {name}:\n    image: rootfs:{}\n    network_mode: none\n    volumes: ['/usr:/usr:ro', '/data']\n    command: [sh, -c, 'exec sleep 300']\n",
            stage.root.display()
        )
    };
    std::fs::write(folder.join("compose.yaml"), format!("services:\n{}{}{}", service("a"), service("b"), service("c"))).unwrap();
    let command = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_consort"));
        command.args(["--engine", "embedded", "--project-name", &stage.project]).args(words).current_dir(&folder);
        command.env_clear().envs(stage.home.variables()).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        command
    };
    let mut unfinished = 0;
    for round in 0..30_u64 {
        let mut child = command(&["up", "-d"]).spawn().unwrap();
        let pidfd = rustix::process::pidfd_open(Pid::from_child(&child), rustix::process::PidfdFlags::empty()).unwrap();
        let moment = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::try_from(round * 7 % 150).unwrap() * 1_000_000 };
        let ended = rustix::event::poll(&mut [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)], Some(&moment)).unwrap();
        unfinished += usize::from(ended == 0);
        let _ = child.kill();
        child.wait().unwrap();
        if round % 3 == 0 {
            stage.kill_supervisor();
        }
        let down = command(&["down", "--volumes", "--timeout", "0"]).output().unwrap();
        assert!(down.status.success(), "round {round}: {}", String::from_utf8_lossy(&down.stderr));
    }
    assert!(unfinished > 0, "every `up` was done before it could be killed");
    assert_eq!(std::fs::read_dir(stage.home.state().join("volumes")).map(|e| e.count()).unwrap_or(0), 0, "volumes are left");
    stage.leave().await;
}

#[tokio::test]
async fn a_supervisor_ends_when_there_is_nothing_to_do() {
    let Some(stage) = Stage::new("idle").await else { return };
    let target = stage.up(&stage.spec("web", "echo done")).await;
    assert_eq!(stage.printed(&target, true).await.0, "done\n");
    stage.remove(&target).await;
    let supervisors = stage.home.supervisors();
    // The connection of the engine was what it waited for.
    let Stage { home, engine, .. } = stage;
    drop(engine);
    for pid in supervisors {
        let Ok(pidfd) = rustix::process::pidfd_open(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), rustix::process::PidfdFlags::empty()) else {
            continue;
        };
        let wait =
            tokio::task::spawn_blocking(move || rustix::event::poll(&mut [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)], None));
        tokio::time::timeout(PATIENCE, wait).await.expect("it goes on").unwrap().unwrap();
    }
    assert_eq!(home.supervisors(), Vec::<u32>::new());
}
