//! Whole runs on the simulated engine, with its clock.

use super::*;
use crate::engine::sim::{Script, Sim, SimImage};
use crate::exit::Exit;
use crate::model::{Condition, Dependency, Healthcheck, Project, Service};
use crate::plan::{self, DownOptions, KillOptions, StartOptions, StopOptions, UpOptions};
use crate::world::{Happening, LogQuery, SubjectKind};
use std::collections::BTreeSet;
use tokio::time::{Instant, sleep, timeout};

/// A project in a simulated engine.
struct World {
    sim: Sim,
    project: Project,
}

/// What a user was told, in words.
#[derive(Debug, Default)]
struct Told {
    events: Vec<Event>,
}

impl Told {
    /// `web-1 | text`, `web-1 exited 0`.
    fn logs(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for event in &self.events {
            match event {
                Event::Logs(lines) => texts.extend(lines.iter().map(|l| format!("{} | {}", l.source, String::from_utf8_lossy(&l.text)))),
                Event::Happened { source, what: Happening::Exited { code, restarting, .. } } => {
                    texts.push(format!("{source} exited {code}{}", if *restarting { " restarting" } else { "" }));
                }
                Event::Happened { source, what: Happening::Recreated } => texts.push(format!("{source} recreated")),
                _ => {}
            }
        }
        texts
    }

    /// Messages, findings and explanations.
    fn words(&self) -> String {
        let mut text = String::new();
        for event in &self.events {
            match event {
                Event::Message(message) | Event::Explanation(message) => text.push_str(message),
                Event::Diagnostic(d) => text.push_str(&format!("{:?} {}: {} {}", d.severity, d.code, d.message, d.label.as_deref().unwrap_or(""))),
                _ => continue,
            }
            text.push('\n');
        }
        text
    }

    /// `web-1 Started`.
    fn tasks(&self) -> Vec<String> {
        let task = |e: &Event| match e {
            Event::Task { subject, text, part: None, .. } if subject.kind == SubjectKind::Container => Some(format!("{} {text}", subject.name)),
            _ => None,
        };
        self.events.iter().filter_map(task).collect()
    }
}

fn script(text: &str) -> Script {
    serde_json::from_value(serde_yaml::from_str(text).expect("YAML")).expect("a script")
}

impl World {
    fn new() -> Self {
        let sim = Sim::new();
        sim.add_image("busybox", SimImage { script: serde_json::from_value(serde_json::json!({"pulled": true})).expect("an image") });
        Self { sim, project: Project { name: "p".into(), ..Project::default() } }
    }

    fn service(mut self, name: &str, text: &str, needs: &[(&str, Condition)]) -> Self {
        let script = script(text);
        let probed = script.healthy_after.is_some() || script.unhealthy_after.is_some();
        self.sim.script(name, script);
        let depends_on =
            needs.iter().map(|(on, condition)| ((*on).to_owned(), Dependency { condition: *condition, ..Dependency::default() })).collect();
        let test = vec!["CMD".to_owned(), "true".to_owned()];
        let second = Some(crate::units::Duration::from_secs(1));
        let service = Service {
            name: name.into(),
            image: "busybox".into(),
            network_mode: "none".into(),
            depends_on,
            healthcheck: probed.then(|| Healthcheck { test, interval: second, retries: Some(1), ..Healthcheck::default() }),
            ..Service::default()
        };
        self.project.services.insert(name.into(), service);
        self
    }

    fn with(mut self, name: &str, change: impl FnOnce(&mut Service)) -> Self {
        change(self.project.services.get_mut(name).expect("a service"));
        self
    }

    fn context(&self) -> (Context, tokio::task::JoinHandle<Told>) {
        let (out, mut events) = mpsc::channel(16);
        let reading = tokio::spawn(async move {
            let mut told = Told::default();
            while let Some(event) = events.recv().await {
                told.events.push(event);
            }
            told
        });
        (Context { engine: Arc::new(self.sim.clone()), project: "p".into(), out, parallel: 8 }, reading)
    }

    fn request(&self, attach: Option<EndRule>) -> UpRequest {
        let names: BTreeSet<String> = self.project.services.keys().cloned().collect();
        UpRequest {
            query: plan::observe_query(&self.project, &Default::default()),
            attach: attach.map(|end| Attach { shown: names.clone(), watched: names, end }),
            wait_timeout: None,
        }
    }

    async fn up_in(&self, ctx: &Context, request: &UpRequest, options: &UpOptions, interrupts: &Interrupts) -> Result<Ended, Error> {
        let plan = async |observed: &Observed, pulled: bool| {
            let options = UpOptions { pulled, ..options.clone() };
            plan::plan_up(&self.project, observed, &self.sim.capabilities(), &options, &|_| None)
        };
        let stop = |observed: &Observed| plan::plan_stop(Some(&self.project), "p", observed, &StopOptions::default()).expect("a plan");
        let kill = |observed: &Observed| plan::plan_kill(Some(&self.project), "p", observed, &KillOptions::default()).expect("a plan");
        up(ctx, request, plan, stop, kill, interrupts).await
    }

    async fn up_with(&self, request: &UpRequest, options: &UpOptions, interrupts: &Interrupts) -> (Ended, Told) {
        let (ctx, reading) = self.context();
        let ended = self.up_in(&ctx, request, options, interrupts).await.expect("it is carried out");
        drop(ctx);
        (ended, reading.await.expect("told"))
    }

    async fn up(&self, attach: Option<EndRule>) -> (Ended, Told) {
        self.up_with(&self.request(attach), &UpOptions::default(), &Interrupts::never()).await
    }

    async fn logs(&self, query: LogQuery) -> Told {
        let (ctx, reading) = self.context();
        logs(&ctx, &LogsRequest { query, ..LogsRequest::default() }, &Interrupts::never()).await.expect("logs");
        drop(ctx);
        reading.await.expect("told")
    }

    fn states(&self) -> Vec<String> {
        self.sim.snapshot().containers.iter().map(|(name, c)| format!("{} {}", name.trim_start_matches("p-"), c.state.as_str())).collect()
    }

    fn running(&self) -> Vec<String> {
        self.sim.snapshot().containers.iter().filter(|(_, c)| c.state.as_str() == "running").map(|(name, _)| name.clone()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_gates_comes_up_as_fast_as_its_health() {
    let w = World::new()
        .service("db", "{healthy_after: 3s}", &[])
        .service("migrate", "{exit: 0, exit_after: 2s}", &[("db", Condition::Healthy)])
        .service("web", "{}", &[("migrate", Condition::Completed)]);
    let before = Instant::now();
    let (ended, told) = w.up(None).await;
    assert_eq!(ended.exit, Exit::Success, "{}", told.words());
    assert_eq!(w.states(), ["db-1 running", "migrate-1 exited", "web-1 running"]);
    let took = before.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_millis(5_100), "{took:?}");
    let tasks = told.tasks();
    for line in ["p-db-1 Waiting", "p-db-1 Healthy", "p-migrate-1 Exited", "p-web-1 Started"] {
        assert!(tasks.contains(&line.to_owned()), "{line} in {tasks:?}");
    }
    // Everything that is as it should be is left alone.
    let before = w.sim.records().len();
    let (ended, _) = w.up(None).await;
    assert_eq!(ended.exit, Exit::Success);
    let ops: Vec<_> = w.sim.records()[before..].iter().map(|r| r.op.verb()).collect();
    assert_eq!(ops, ["start"], "the job runs again, as with Docker Compose");
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_can_t_be_passed_says_why() {
    let w = World::new()
        .service("db", "{unhealthy_after: 2s, probe_output: 'sh: pg_isready: not found', log: [{stdout: 'starting up'}]}", &[])
        .service("other", "{}", &[])
        .service("web", "{}", &[("db", Condition::Healthy)]);
    let (ended, told) = w.up(None).await;
    assert_eq!(ended.exit, Exit::Failure);
    assert_eq!(w.states(), ["db-1 running", "other-1 running", "web-1 created"]);
    let words = told.words();
    for part in [
        "dependency failed to start: container p-db-1 is unhealthy",
        "web waits for db to be healthy",
        "pg_isready: not found",
        "| starting up",
        "hint",
    ] {
        assert!(words.contains(part), "{part:?} in:\n{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_is_named_with_its_code() {
    let w = World::new().service("migrate", "{exit: 3, exit_after: 1s, log: [{stderr: 'no such table'}]}", &[]).service(
        "web",
        "{}",
        &[("migrate", Condition::Completed)],
    );
    let (ended, told) = w.up(None).await;
    assert_eq!(ended.exit, Exit::Failure);
    let words = told.words();
    assert!(words.contains("service \"migrate\" didn't complete successfully: exit 3") && words.contains("| no such table"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_everything() {
    for (exit, expected) in [("0", Exit::Success), ("3", Exit::Failure)] {
        let w = World::new().service("db", "{healthy_after: 3s}", &[]).service("migrate", &format!("{{exit: {exit}, exit_after: 1s}}"), &[]).service(
            "api",
            "{}",
            &[("db", Condition::Healthy), ("migrate", Condition::Completed)],
        );
        let options = UpOptions { wait: true, ..UpOptions::default() };
        let (ended, told) = w.up_with(&w.request(None), &options, &Interrupts::never()).await;
        assert_eq!(ended.exit, expected, "{}", told.words());
        assert_eq!(told.words().contains("migrate"), expected == Exit::Failure);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_has_an_end() {
    let w = World::new().service("db", "{healthy_after: never, log: [{stdout: 'thinking'}]}", &[]);
    let request = UpRequest { wait_timeout: Some(Duration::from_secs(3)), ..w.request(None) };
    let options = UpOptions { wait: true, ..UpOptions::default() };
    let (ended, told) = w.up_with(&request, &options, &Interrupts::never()).await;
    assert_eq!(ended.exit, Exit::Failure);
    let words = told.words();
    assert!(words.contains("application not healthy after 3s") && words.contains("p-db-1") && words.contains("| thinking"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn attached_nothing_is_lost_and_it_ends_with_the_last_container() {
    let w = World::new()
        .service(
            "a",
            "{log: [{stdout: first}, {after: 1s, stderr: second}, {after: 2s, stdout: 'no newline', partial: true}], exit: 0, exit_after: 2s}",
            &[],
        )
        .service("b", "{log: [{after: 500ms, stdout: between}], exit: 4, exit_after: 3s}", &[]);
    let (ended, told) = w.up(Some(EndRule::AllEnded)).await;
    assert_eq!(ended.exit, Exit::Success);
    let expected = ["a-1 | first", "b-1 | between", "a-1 | second", "a-1 | no newline", "a-1 exited 0", "b-1 exited 4"];
    assert_eq!(told.logs(), expected);
    let attach = told.events.iter().find_map(|e| if let Event::Attach { sources, announce } = e { Some((sources.clone(), *announce)) } else { None });
    assert_eq!(attach, Some((vec!["a-1".into(), "b-1".into()], true)));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_started_again_has_not_ended() {
    let w =
        World::new().service("a", "{exits: [4, 4, 0], exit_after: 1s, log: [{stdout: hello}]}", &[]).with("a", |s| s.restart = "on-failure".into());
    let (ended, told) = w.up(Some(EndRule::AllEnded)).await;
    assert_eq!(ended.exit, Exit::Success);
    let expected = ["a-1 | hello", "a-1 exited 4 restarting", "a-1 | hello", "a-1 exited 4 restarting", "a-1 | hello", "a-1 exited 0"];
    assert_eq!(told.logs(), expected);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_started_again_shows_its_new_run_and_nothing_older() {
    for after in ["0s", "1s"] {
        let w = World::new().service("a", &format!("{{log: [{{stdout: hello}}], exit: 0, exit_after: {after}}}"), &[]);
        for _ in 0..3 {
            let (ended, told) = w.up(Some(EndRule::AllEnded)).await;
            assert_eq!((ended.exit, told.logs()), (Exit::Success, vec!["a-1 | hello".to_owned(), "a-1 exited 0".to_owned()]), "{after}");
            // Simulated time stands still between two runs, which real time doesn't.
            sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_ran_before_is_shown_from_now_on() {
    let w = World::new().service("a", "{log: [{stdout: old}, {after: 5s, stdout: new}], exit: 0, exit_after: 6s}", &[]);
    w.up(None).await;
    sleep(Duration::from_secs(1)).await;
    let (_, told) = w.up(Some(EndRule::AllEnded)).await;
    assert_eq!(told.logs(), ["a-1 | new", "a-1 exited 0"]);
    // Started again, only the new run is shown.
    sleep(Duration::from_millis(1)).await;
    let (_, told) = w.up(Some(EndRule::AllEnded)).await;
    assert_eq!(told.logs(), ["a-1 | old", "a-1 | new", "a-1 exited 0"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_rules() {
    let one = "{exit: 0, exit_after: 1s}";
    let helper_fails = "{exit: 3, exit_after: 1s}";
    let test = "{exit: 7, exit_after: 2s, stop_exit: 5}";
    let from = |s: &str| Some(s.to_owned());
    let first = |code_from| EndRule::FirstExit { code_from };
    let failure = |code_from| EndRule::FirstFailure { code_from };
    for (helper, rule, exit) in [
        (one, EndRule::AllEnded, Exit::Success),
        (one, first(None), Exit::Success),
        (helper_fails, first(None), Exit::Process(3)),
        (one, first(from("test")), Exit::Process(5)),
        (one, failure(None), Exit::Process(7)),
        (helper_fails, failure(None), Exit::Process(3)),
        (helper_fails, failure(from("test")), Exit::Process(5)),
        (one, EndRule::ServiceEnded("test".into()), Exit::Process(7)),
        (helper_fails, EndRule::ServiceEnded("test".into()), Exit::Process(3)),
    ] {
        let w = World::new().service("helper", helper, &[]).service("test", test, &[]).service("server", "{exit_after: 9s}", &[]);
        let (ended, told) = w.up(Some(rule.clone())).await;
        assert_eq!(ended.exit, exit, "{helper} {rule:?} {}", told.words());
        assert!(w.running().is_empty(), "{rule:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_start_the_rest_goes_on() {
    let w = World::new().service("bad", "{refuse: start, refuse_text: 'port is taken'}", &[]).service("good", "{}", &[]);
    let (ended, told) = w.up(Some(EndRule::AllEnded)).await;
    assert_eq!(ended.exit, Exit::Failure);
    assert_eq!(w.running(), ["p-good-1"]);
    assert!(told.words().contains("port is taken") && told.words().contains("Left running: p-good-1."), "{}", told.words());
}

/// Interrupts an attached `up` after `at`, and says whether it ended within `limit`.
async fn interrupted_at(w: &World, at: Duration, times: u32, limit: Duration) -> (Result<Ended, Error>, Told, Duration) {
    let (interrupter, interrupts) = interrupts();
    let (ctx, reading) = w.context();
    let pressing = tokio::spawn(async move {
        sleep(at).await;
        for _ in 0..times {
            interrupter.interrupt();
            sleep(Duration::from_millis(100)).await;
        }
    });
    let ended = timeout(at + limit, w.up_in(&ctx, &w.request(Some(EndRule::AllEnded)), &UpOptions::default(), &interrupts)).await;
    let when = Instant::now();
    drop(ctx);
    let told = reading.await.expect("told");
    pressing.await.expect("pressed");
    (ended.expect("in time"), told, when.elapsed())
}

#[tokio::test(start_paused = true)]
async fn ctrl_c_at_any_moment_leaves_nothing_running() {
    for step in 0..120 {
        let w = World::new()
            .service("db", "{healthy_after: 2s, create_takes: 130ms, start_takes: 170ms, stop_takes: 300ms}", &[])
            .service("job", "{exit: 0, exit_after: 700ms, start_takes: 90ms}", &[("db", Condition::Healthy)])
            .service("web", "{start_takes: 250ms, stop_takes: 1s}", &[("job", Condition::Completed), ("db", Condition::Healthy)]);
        let at = Duration::from_millis(step * 37);
        let (ended, told, _) = interrupted_at(&w, at, 1, Duration::from_secs(5)).await;
        match ended {
            Ok(ended) => assert_eq!(ended.exit, Exit::Interrupted, "{at:?}"),
            Err(error) => assert_eq!(error, Error::Interrupted, "{at:?}"),
        }
        assert!(w.running().is_empty(), "{at:?}: {:?}\n{}", w.states(), told.words());
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_ctrl_c_kills_and_the_third_leaves() {
    for (times, limit, running) in [(1, 11, 0), (2, 1, 0)] {
        let w = World::new().service("slow", "{ignore_term: true}", &[]);
        let (ended, _, _) = interrupted_at(&w, Duration::from_secs(1), times, Duration::from_secs(limit)).await;
        assert_eq!(ended.expect("an end").exit, Exit::Interrupted);
        assert_eq!(w.running().len(), running, "{times}");
    }
    // An engine that hangs: nothing but leaving helps.
    let w = World::new().service("slow", "{ignore_term: true}", &[]);
    let (interrupter, interrupts) = interrupts();
    let (ctx, _reading) = w.context();
    let ctx = Context { engine: Arc::new(Hanging(w.sim.clone())), ..ctx };
    let request = w.request(Some(EndRule::AllEnded));
    let options = UpOptions::default();
    let running = w.up_in(&ctx, &request, &options, &interrupts);
    let pressing = async {
        sleep(Duration::from_secs(1)).await;
        for _ in 0..3 {
            interrupter.interrupt();
            sleep(Duration::from_secs(1)).await;
        }
    };
    let both = async { tokio::join!(running, pressing).0 };
    let ended = timeout(Duration::from_secs(8), both).await.expect("in time").expect("an end");
    assert_eq!(ended.exit, Exit::Interrupted);
}

/// Stops and kills never return.
#[derive(Debug)]
struct Hanging(Sim);

#[async_trait::async_trait]
impl Engine for Hanging {
    fn info(&self) -> crate::engine::EngineInfo {
        self.0.info()
    }
    fn capabilities(&self) -> crate::world::Capabilities {
        self.0.capabilities()
    }
    async fn observe(&self, query: &ObserveQuery) -> Result<Observed, EngineError> {
        self.0.observe(query).await
    }
    async fn apply(&self, op: &crate::world::Op, progress: &crate::engine::ProgressSink) -> Result<crate::world::Applied, EngineError> {
        if matches!(op, crate::world::Op::StopContainer { .. } | crate::world::Op::KillContainer { .. }) {
            std::future::pending::<()>().await;
        }
        self.0.apply(op, progress).await
    }
    async fn events(
        &self,
        project: Option<&str>,
    ) -> Result<futures::stream::BoxStream<'static, Result<crate::world::EngineEvent, EngineError>>, EngineError> {
        self.0.events(project).await
    }
    async fn logs(
        &self,
        container: &crate::world::Target,
        query: &LogQuery,
    ) -> Result<futures::stream::BoxStream<'static, Result<crate::world::LogChunk, EngineError>>, EngineError> {
        self.0.logs(container, query).await
    }
    async fn exec(&self, container: &crate::world::Target, spec: &crate::world::ExecSpec) -> Result<crate::world::ExecSession, EngineError> {
        self.0.exec(container, spec).await
    }
    async fn inspect(&self, container: &crate::world::Target) -> Result<crate::world::ContainerDetails, EngineError> {
        self.0.inspect(container).await
    }
}

#[tokio::test(start_paused = true)]
async fn interrupted_in_the_middle_only_what_this_run_started_is_stopped() {
    let mut w = World::new().service("old", "{}", &[]);
    w.up(None).await;
    w = w.service("db", "{healthy_after: 60s}", &[]).service("web", "{}", &[("db", Condition::Healthy)]);
    let (ended, told, _) = interrupted_at(&w, Duration::from_secs(3), 1, Duration::from_secs(3)).await;
    assert_eq!(ended.expect("an end").exit, Exit::Interrupted);
    assert_eq!(w.running(), ["p-old-1"]);
    assert!(told.words().contains("Interrupted while web waited for db to be healthy."), "{}", told.words());
}

#[tokio::test(start_paused = true)]
async fn detached_an_interrupt_leaves_what_runs() {
    let w = World::new().service("db", "{healthy_after: 60s}", &[]).service("web", "{}", &[("db", Condition::Healthy)]);
    let (interrupter, interrupts) = interrupts();
    tokio::spawn(async move {
        sleep(Duration::from_secs(3)).await;
        interrupter.interrupt();
    });
    let (ended, told) = w.up_with(&w.request(None), &UpOptions::default(), &interrupts).await;
    assert_eq!(ended.exit, Exit::Interrupted);
    assert_eq!(w.running(), ["p-db-1"]);
    assert!(told.words().contains("Left running: p-db-1."), "{}", told.words());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stands_still_does_not_keep_ctrl_c_from_stopping() {
    let w = World::new().service("chatty", "{log: [{stdout: blah, every: 1ms}]}", &[]);
    let (out, _unread) = mpsc::channel(1);
    let ctx = Context { out, ..w.context().0 };
    let (interrupter, interrupts) = interrupts();
    let request = w.request(Some(EndRule::AllEnded));
    let options = UpOptions::default();
    let running = w.up_in(&ctx, &request, &options, &interrupts);
    let pressing = async {
        sleep(Duration::from_secs(1)).await;
        interrupter.interrupt();
        sleep(Duration::from_secs(1)).await;
        let stopped = w.running().is_empty();
        interrupter.interrupt();
        interrupter.interrupt();
        stopped
    };
    let both = async { tokio::join!(running, pressing) };
    let (ended, stopped) = timeout(Duration::from_secs(8), both).await.expect("in time");
    assert_eq!(ended.expect("an end").exit, Exit::Interrupted);
    assert!(stopped);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_is_said_once_with_what_was_done() {
    let w = World::new().service("db", "{healthy_after: 60s}", &[]).service("web", "{}", &[("db", Condition::Healthy)]);
    let sim = w.sim.clone();
    let ctx_engine = Arc::new(Leaving { sim: w.sim.clone(), gone: std::sync::atomic::AtomicBool::new(false) });
    let leaving = Arc::clone(&ctx_engine);
    tokio::spawn(async move {
        sleep(Duration::from_secs(2)).await;
        leaving.gone.store(true, std::sync::atomic::Ordering::Relaxed);
        sim.hang_up();
    });
    let (ctx, reading) = w.context();
    let ctx = Context { engine: ctx_engine, ..ctx };
    let ended = w.up_in(&ctx, &w.request(None), &UpOptions::default(), &Interrupts::never()).await.expect("an end");
    drop(ctx);
    let told = reading.await.expect("told");
    assert_eq!(ended.exit, Exit::Failure);
    let words = told.words();
    assert_eq!(words.matches("Error ").count(), 1, "{words}");
    assert!(words.contains("steps were done when the engine went away") && words.contains("not begun: start Container p-web-1"), "{words}");
}

/// Goes away for good.
#[derive(Debug)]
struct Leaving {
    sim: Sim,
    gone: std::sync::atomic::AtomicBool,
}

impl Leaving {
    fn there(&self) -> Result<&Sim, EngineError> {
        match self.gone.load(std::sync::atomic::Ordering::Relaxed) {
            false => Ok(&self.sim),
            true => Err(EngineError::new(crate::world::ErrorKind::Unreachable, "no answer from the engine")),
        }
    }
}

#[async_trait::async_trait]
impl Engine for Leaving {
    fn info(&self) -> crate::engine::EngineInfo {
        self.sim.info()
    }
    fn capabilities(&self) -> crate::world::Capabilities {
        self.sim.capabilities()
    }
    async fn observe(&self, query: &ObserveQuery) -> Result<Observed, EngineError> {
        self.there()?.observe(query).await
    }
    async fn apply(&self, op: &crate::world::Op, progress: &crate::engine::ProgressSink) -> Result<crate::world::Applied, EngineError> {
        self.there()?.apply(op, progress).await
    }
    async fn events(
        &self,
        project: Option<&str>,
    ) -> Result<futures::stream::BoxStream<'static, Result<crate::world::EngineEvent, EngineError>>, EngineError> {
        self.there()?.events(project).await
    }
    async fn logs(
        &self,
        container: &crate::world::Target,
        query: &LogQuery,
    ) -> Result<futures::stream::BoxStream<'static, Result<crate::world::LogChunk, EngineError>>, EngineError> {
        self.there()?.logs(container, query).await
    }
    async fn exec(&self, container: &crate::world::Target, spec: &crate::world::ExecSpec) -> Result<crate::world::ExecSession, EngineError> {
        self.there()?.exec(container, spec).await
    }
    async fn inspect(&self, container: &crate::world::Target) -> Result<crate::world::ContainerDetails, EngineError> {
        self.there()?.inspect(container).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_mended() {
    let w = World::new().service("db", "{healthy_after: 4s}", &[]).service("web", "{}", &[("db", Condition::Healthy)]);
    let sim = w.sim.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(2)).await;
        sim.hang_up();
    });
    let (ended, told) = w.up(None).await;
    assert_eq!(ended.exit, Exit::Success, "{}", told.words());
    assert_eq!(w.running().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn logs_of_several_containers_come_in_order_of_time() {
    let w = World::new().service("a", "{log: [{stdout: a0}, {after: 2s, stdout: a2}, {after: 4s, stdout: a4}]}", &[]).service(
        "b",
        "{log: [{after: 1s, stdout: b1}, {after: 3s, stderr: b3}]}",
        &[],
    );
    w.up(None).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(w.logs(LogQuery::default()).await.logs(), ["a-1 | a0", "b-1 | b1", "a-1 | a2", "b-1 | b3", "a-1 | a4"]);
    assert_eq!(w.logs(LogQuery { tail: Some(1), ..LogQuery::default() }).await.logs(), ["b-1 | b3", "a-1 | a4"]);
}

#[tokio::test(start_paused = true)]
async fn followed_logs_go_on_over_restarts_and_end_with_the_containers() {
    let w = World::new().service("a", "{log: [{stdout: one}, {after: 1s, stdout: two}, {after: 1500ms, stdout: half, partial: true}]}", &[]).service(
        "b",
        "{log: [{stdout: hello}]}",
        &[],
    );
    w.up(None).await;
    sleep(Duration::from_millis(1_200)).await;
    let changing = async {
        sleep(Duration::from_secs(1)).await;
        let (ctx, _reading) = w.context();
        let all = plan::observe_query(&w.project, &Default::default());
        let options = Options::default();
        let never = Interrupts::never();
        let restart = async |o: &Observed, _| {
            plan::plan_restart(Some(&w.project), "p", o, &plan::RestartOptions { services: vec!["a".into()], ..Default::default() })
        };
        change(&ctx, &all, restart, &options, &never).await.expect("restarted");
        sleep(Duration::from_secs(2)).await;
        let down = async |o: &Observed, _| plan::plan_down(Some(&w.project), "p", o, &DownOptions::default());
        change(&ctx, &all, down, &options, &never).await.expect("down");
    };
    let (told, ()) = tokio::join!(w.logs(LogQuery { follow: true, ..LogQuery::default() }), changing);
    let logs = told.logs();
    let of = |name: &str| logs.iter().filter(|l| l.starts_with(name)).cloned().collect::<Vec<_>>();
    assert_eq!(
        of("a-1"),
        ["a-1 | one", "a-1 | two", "a-1 | half", "a-1 exited 0 restarting", "a-1 | one", "a-1 | two", "a-1 | half", "a-1 exited 0"],
        "{logs:?}"
    );
    assert_eq!(of("b-1"), ["b-1 | hello", "b-1 exited 0"]);
}

#[tokio::test(start_paused = true)]
async fn followed_logs_show_new_replicas() {
    let w = World::new().service("a", "{log: [{stdout: hi}], exit: 0, exit_after: 5s}", &[]);
    w.up(None).await;
    let scaling = async {
        sleep(Duration::from_secs(1)).await;
        let options = UpOptions { scale: [("a".to_owned(), 2)].into(), ..UpOptions::default() };
        w.up_with(&w.request(None), &options, &Interrupts::never()).await
    };
    let (told, _) = tokio::join!(w.logs(LogQuery { follow: true, ..LogQuery::default() }), scaling);
    assert_eq!(told.logs(), ["a-1 | hi", "a-2 | hi", "a-1 exited 0", "a-2 exited 0"]);
}

#[tokio::test(start_paused = true)]
async fn starting_again_waits_at_the_gates() {
    let w = World::new().service("db", "{healthy_after: 3s}", &[]).service("web", "{}", &[("db", Condition::Healthy)]);
    w.up(None).await;
    let (ctx, reading) = w.context();
    let all = plan::observe_query(&w.project, &Default::default());
    let never = Interrupts::never();
    let stop = async |o: &Observed, _| plan::plan_stop(Some(&w.project), "p", o, &StopOptions::default());
    let report = change(&ctx, &all, stop, &Options::default(), &never).await.expect("stopped");
    assert_eq!(report.exit(), Exit::Success);
    assert!(w.running().is_empty());
    let before = Instant::now();
    let start = async |o: &Observed, _| plan::plan_start(Some(&w.project), "p", o, &StartOptions::default(), &|_| None);
    let report = change(&ctx, &all, start, &Options::default(), &never).await.expect("started");
    assert_eq!(report.exit(), Exit::Success);
    assert!(before.elapsed() >= Duration::from_secs(3), "old health doesn't count: {:?}", before.elapsed());
    drop(ctx);
    reading.await.expect("told");
}

#[tokio::test(start_paused = true)]
async fn probes_and_restarts_are_ours_where_the_engine_does_neither() {
    let probe = "{programs: {check: {exit: 0}, bad: {exit: 127, stderr: 'bad: not found'}}}";
    let w = World::new()
        .service("db", probe, &[])
        .with("db", |s| {
            let test = vec!["CMD".to_owned(), "check".to_owned()];
            let interval = Some(crate::units::Duration::from_secs(2));
            s.healthcheck = Some(Healthcheck { test, interval, retries: Some(2), ..Healthcheck::default() });
        })
        .service("ill", probe, &[])
        .with("ill", |s| {
            let test = vec!["CMD".to_owned(), "bad".to_owned()];
            let interval = Some(crate::units::Duration::from_secs(1));
            s.healthcheck = Some(Healthcheck { test, interval, retries: Some(2), ..Healthcheck::default() });
        })
        .service("job", "{exits: [4, 4, 0], exit_after: 1s}", &[("db", Condition::Healthy)])
        .with("job", |s| s.restart = "on-failure".into())
        .service("web", "{exit: 0, exit_after: 1s}", &[("job", Condition::Completed)])
        .service("never", "{}", &[("ill", Condition::Healthy)]);
    w.sim.vary(|can| {
        can.probes = crate::world::Owner::Us;
        can.restarts = crate::world::Owner::Us;
    });
    let (ended, told) = w.up(None).await;
    assert_eq!(ended.exit, Exit::Failure);
    assert!(w.sim.snapshot().containers["p-web-1"].starts == 1 && w.sim.snapshot().containers["p-job-1"].starts == 3, "{:?}", w.states());
    let words = told.words();
    assert!(words.contains("container p-ill-1 is unhealthy") && words.contains("bad: not found") && !words.contains("p-db-1"), "{words}");
    // What is healthy already is found out by a probe at once.
    let before = Instant::now();
    let (ended, told) = w
        .up_with(
            &w.request(None),
            &UpOptions { selection: crate::model::Selection { services: vec!["job".into()], no_deps: false }, ..UpOptions::default() },
            &Interrupts::never(),
        )
        .await;
    assert_eq!(ended.exit, Exit::Success, "{}", told.words());
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}
