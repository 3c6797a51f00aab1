//! Create, start, stop, kill, pause, restart, rename, remove; what is refused, and what was done already.

use crate::lab::{IMAGE, Lab, OTHER_IMAGE, Verdict, image_query};
use crate::support::environment;
use consort::world::{ErrorKind, EventKind, ExecSpec, LogQuery, ObserveQuery, Op, State, Target};

crate::cases![
    a_new_container_is_seen_as_created,
    what_runs_is_seen_with_times_and_command,
    a_taken_name_is_a_conflict,
    an_absent_image_is_not_found,
    start_of_a_running_container_changes_nothing,
    stop_of_a_stopped_container_changes_nothing,
    a_stop_gives_time_even_if_nobody_says_how_much,
    removal_of_what_is_absent_changes_nothing,
    an_absent_container_is_not_found,
    exit_codes_are_kept,
    a_stop_sends_sigterm,
    the_stop_signal_of_the_container_is_sent,
    a_stop_kills_after_its_timeout,
    the_timeout_of_the_container_counts,
    a_timeout_of_nought_kills_at_once,
    a_kill_sends_any_signal,
    a_kill_of_a_stopped_container_changes_nothing,
    a_paused_container_is_frozen,
    a_restart_is_a_new_run,
    a_restart_starts_a_stopped_container,
    a_renamed_container_keeps_its_id,
    a_running_container_can_be_removed,
    a_container_runs_again_after_its_end,
    an_absent_command_fails_at_the_start,
    many_at_once,
    observation_keeps_to_the_project,
    images_are_looked_up,
    a_pull_brings_an_image_that_can_be_removed,
    an_unknown_image_cannot_be_pulled,
    an_abandoned_op_goes_on,
];

async fn a_new_container_is_seen_as_created(lab: &Lab) {
    let mut spec = lab.spec("web", "true");
    spec.labels.insert("color".into(), "blue = green".into());
    let target = lab.create(&spec).await;
    let seen = lab.observed(&target).await;
    assert_eq!((seen.name.as_str(), seen.state), (spec.name.as_str(), State::Created));
    assert_eq!((seen.project(), seen.service(), seen.number()), (lab.project.as_str(), "web", Some(1)));
    assert_eq!(seen.label("color"), Some("blue = green"));
    assert_eq!(seen.label(consort::world::label::CONFIG_HASH), Some("0".repeat(64).as_str()));
    assert!(seen.image.ends_with(IMAGE), "{}", seen.image);
    assert!(seen.created.0 > 0 && !seen.image_id.is_empty());
    assert_eq!(lab.inspect(&target).await.state, Some(State::Created));
}

async fn what_runs_is_seen_with_times_and_command(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    let seen = lab.observed(&target).await;
    assert_eq!(seen.state, State::Running);
    assert!(seen.status.starts_with("Up"), "{}", seen.status);
    let details = lab.inspect(&target).await;
    assert_eq!(details.command, ["sh", "-c", "sleep 300"]);
    assert!(details.pid > 0 && details.started.is_some_and(|t| t.0 > 0));
    assert_eq!(Some(&details.id), target.id.as_ref());
}

async fn a_taken_name_is_a_conflict(lab: &Lab) {
    let spec = lab.spec("web", "true");
    lab.create(&spec).await;
    let error = lab.bad(&Op::CreateContainer(Box::new(spec.clone()))).await;
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains(&spec.name), "{error}");
}

async fn an_absent_image_is_not_found(lab: &Lab) {
    let mut spec = lab.spec("web", "true");
    spec.image = "no-such-image.invalid/never:1".into();
    let error = lab.bad(&Op::CreateContainer(Box::new(spec))).await;
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

async fn start_of_a_running_container_changes_nothing(lab: &Lab) {
    let target = lab.create(&lab.spec("web", "sleep 300")).await;
    assert!(lab.start(&target).await.changed);
    assert!(!lab.start(&target).await.changed);
}

async fn stop_of_a_stopped_container_changes_nothing(lab: &Lab) {
    let target = lab.create(&lab.spec("web", "trap 'exit 0' TERM; sleep 300 & wait")).await;
    assert!(!lab.stop(&target, Some(5)).await.changed, "it never ran");
    lab.start(&target).await;
    assert!(lab.stop(&target, Some(5)).await.changed);
    assert!(!lab.stop(&target, Some(5)).await.changed);
}

async fn a_stop_gives_time_even_if_nobody_says_how_much(lab: &Lab) {
    let target = lab.run_ready("web", "trap 'sleep 1; exit 7' TERM; echo ready; sleep 300 & wait").await;
    lab.stop(&target, None).await;
    assert_eq!(lab.inspect(&target).await.exit_code, 7);
}

async fn removal_of_what_is_absent_changes_nothing(lab: &Lab) {
    let name = lab.name("nothing");
    for op in [
        Op::RemoveContainer { container: Target::named(&name), volumes: true },
        Op::RemoveNetwork { name: name.clone(), id: None },
        Op::RemoveVolume { name: name.clone() },
        Op::RemoveImage { reference: "no-such-image.invalid/never:1".into() },
    ] {
        assert!(!lab.good(&op).await.changed, "{op:?}");
    }
    let target = lab.create(&lab.spec("web", "true")).await;
    assert!(lab.remove(&target, false).await.changed);
    assert!(!lab.remove(&target, false).await.changed);
}

async fn an_absent_container_is_not_found(lab: &Lab) {
    let container = Target::named(lab.name("nobody"));
    let ops = [
        Op::StartContainer { container: container.clone() },
        Op::StopContainer { container: container.clone(), timeout: None },
        Op::RestartContainer { container: container.clone(), timeout: None },
        Op::KillContainer { container: container.clone(), signal: "SIGKILL".into() },
        Op::RenameContainer { container: container.clone(), to: lab.name("somebody") },
    ];
    for op in ops {
        let error = lab.bad(&op).await;
        assert_eq!(error.kind, ErrorKind::NotFound, "{}: {error}", op.verb());
    }
    assert_eq!(lab.engine.inspect(&container).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(lab.engine.logs(&container, &LogQuery::default()).await.err().map(|e| e.kind), Some(ErrorKind::NotFound));
    let spec = ExecSpec { command: vec!["true".into()], ..ExecSpec::default() };
    assert_eq!(lab.engine.exec(&container, &spec).await.err().map(|e| e.kind), Some(ErrorKind::NotFound));
}

async fn exit_codes_are_kept(lab: &Lab) {
    let target = lab.run("web", "sleep 0.3; exit 37").await;
    assert_eq!(lab.exited(&target).await, 37);
    let seen = lab.observed(&target).await;
    assert_eq!(seen.state, State::Exited);
    assert!(seen.exit_code.is_none_or(|c| c == 37) && seen.status.starts_with("Exited (37)"), "{seen:?}");
    let details = lab.inspect(&target).await;
    assert_eq!((details.exit_code, details.oom_killed), (37, false));
    assert!(details.finished >= details.started, "{details:?}");
}

async fn a_stop_sends_sigterm(lab: &Lab) {
    let target = lab.run_ready("web", "trap 'exit 7' TERM; echo ready; sleep 300 & wait").await;
    lab.stop(&target, Some(10)).await;
    assert_eq!(lab.inspect(&target).await.exit_code, 7);
}

async fn the_stop_signal_of_the_container_is_sent(lab: &Lab) {
    let mut spec = lab.spec("web", "trap 'exit 8' USR1; trap 'exit 9' TERM; echo ready; sleep 300 & wait");
    spec.stop_signal = "SIGUSR1".into();
    let target = lab.up_ready(&spec).await;
    lab.stop(&target, Some(10)).await;
    assert_eq!(lab.inspect(&target).await.exit_code, 8);
}

async fn a_stop_kills_after_its_timeout(lab: &Lab) {
    let target = lab.run_ready("web", "trap '' TERM; echo ready; while true; do sleep 1; done").await;
    lab.stop(&target, Some(1)).await;
    assert_eq!(lab.inspect(&target).await.exit_code, 137);
}

async fn the_timeout_of_the_container_counts(lab: &Lab) {
    let mut spec = lab.spec("web", "trap '' TERM; echo ready; while true; do sleep 1; done");
    spec.stop_timeout = Some(1);
    let target = lab.up_ready(&spec).await;
    let began = tokio::time::Instant::now();
    lab.stop(&target, None).await;
    assert!(began.elapsed().as_secs() < 8, "its own second was not heeded: {:?}", began.elapsed());
    assert_eq!(lab.inspect(&target).await.exit_code, 137);
}

async fn a_timeout_of_nought_kills_at_once(lab: &Lab) {
    let target = lab.run_ready("web", "trap '' TERM; echo ready; while true; do sleep 1; done").await;
    let began = tokio::time::Instant::now();
    lab.stop(&target, Some(0)).await;
    assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
    assert_eq!(lab.observed(&target).await.state, State::Exited);
}

async fn a_kill_sends_any_signal(lab: &Lab) {
    let target = lab.run_ready("web", "trap 'echo hup' HUP; echo ready; while true; do sleep 0.1; done").await;
    lab.kill(&target, "SIGHUP").await;
    lab.wait_for_line(&target, "hup").await;
    assert_eq!(lab.observed(&target).await.state, State::Running);
    let mut events = lab.events().await;
    lab.kill(&target, "KILL").await;
    events.until(|e| e.kind == EventKind::Died { exit_code: 137 }).await;
    assert_eq!(lab.inspect(&target).await.exit_code, 137);
}

async fn a_kill_of_a_stopped_container_changes_nothing(lab: &Lab) {
    let target = lab.create(&lab.spec("web", "true")).await;
    assert!(!lab.kill(&target, "SIGKILL").await.changed);
}

async fn a_paused_container_is_frozen(lab: &Lab) -> Verdict {
    let target = lab.run_ready("web", "echo ready; while true; do sleep 0.1; done").await;
    let pause = Op::PauseContainer { container: target.clone() };
    if !lab.engine.capabilities().pause {
        assert_eq!(lab.bad(&pause).await.kind, ErrorKind::Unsupported);
        return Verdict::NotCapable("pausing");
    }
    assert!(lab.good(&pause).await.changed);
    assert_eq!(lab.observed(&target).await.state, State::Paused);
    let spec = ExecSpec { command: vec!["true".into()], ..ExecSpec::default() };
    assert!(lab.engine.exec(&target, &spec).await.is_err(), "nothing runs in a frozen container");
    assert!(lab.good(&Op::UnpauseContainer { container: target.clone() }).await.changed);
    assert_eq!(lab.observed(&target).await.state, State::Running);
    assert_eq!(lab.sh(&target, "exit 4").await.code, 4);
    Verdict::Good
}

async fn a_restart_is_a_new_run(lab: &Lab) {
    let target = lab.run_ready("web", "trap 'exit 0' TERM; echo ready; sleep 300 & wait").await;
    let before = lab.inspect(&target).await;
    crate::lab::moment().await;
    let mut events = lab.events().await;
    lab.good(&Op::RestartContainer { container: target.clone(), timeout: Some(5) }).await;
    events.until(|e| e.kind == EventKind::Started).await;
    let after = lab.inspect(&target).await;
    assert_eq!(after.state, Some(State::Running));
    assert!(after.started > before.started, "{after:?}");
}

async fn a_restart_starts_a_stopped_container(lab: &Lab) {
    let target = lab.run("web", "sleep 1").await;
    lab.exited(&target).await;
    lab.good(&Op::RestartContainer { container: target.clone(), timeout: Some(5) }).await;
    assert_eq!(lab.exited(&target).await, 0);
}

async fn a_renamed_container_keeps_its_id(lab: &Lab) {
    let (a, b) = (lab.create(&lab.spec("a", "true")).await, lab.create(&lab.spec("b", "true")).await);
    let taken = lab.bad(&Op::RenameContainer { container: a.clone(), to: b.name.clone() }).await;
    assert_eq!(taken.kind, ErrorKind::Conflict, "{taken}");
    let to = lab.name("c");
    lab.good(&Op::RenameContainer { container: a.clone(), to: to.clone() }).await;
    assert_eq!(lab.observed(&a).await.name, to);
    // Its old name is free.
    lab.good(&Op::RenameContainer { container: b.clone(), to: a.name.clone() }).await;
    assert_eq!(lab.observed(&b).await.name, a.name);
}

async fn a_running_container_can_be_removed(lab: &Lab) {
    let target = lab.run("web", "sleep 300").await;
    assert!(lab.remove(&target, false).await.changed);
    assert!(lab.observe().await.containers.is_empty());
}

async fn a_container_runs_again_after_its_end(lab: &Lab) {
    let target = lab.run("web", "echo run >> /runs; cat /runs").await;
    lab.exited(&target).await;
    let mut events = lab.events().await;
    assert!(lab.start(&target).await.changed);
    events.until(|e| matches!(e.kind, EventKind::Died { .. })).await;
    // What it has written is still there, and its log goes on.
    assert_eq!(lab.output(&target).await.0, "run\nrun\nrun\n");
}

async fn an_absent_command_fails_at_the_start(lab: &Lab) {
    let mut spec = lab.spec("web", "");
    spec.command = Some(vec!["/no/such/program".into()]);
    let target = lab.create(&spec).await;
    let error = lab.bad(&Op::StartContainer { container: target.clone() }).await;
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    let state = lab.inspect(&target).await.state;
    assert!(matches!(state, Some(State::Created | State::Exited)), "{state:?}");
}

async fn many_at_once(lab: &Lab) {
    let names: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
    let specs: Vec<_> = names.iter().map(|n| lab.spec(n, "echo hello")).collect();
    let all = futures::future::join_all(specs.iter().map(|spec| lab.ran(spec))).await;
    assert!(all.iter().all(|r| r.code == 0 && r.stdout == "hello\n"), "{all:?}");
    let seen = lab.observe().await.containers;
    let order: Vec<&str> = seen.iter().map(|c| c.service()).collect();
    assert_eq!(order, names, "observation is ordered by service, number and name");
}

async fn observation_keeps_to_the_project(lab: &Lab) {
    let other = Lab::new(std::sync::Arc::clone(&lab.engine), lab.name("other"), lab.real);
    let mine = lab.create(&lab.spec("web", "true")).await;
    let theirs = other.create(&other.spec("web", "true")).await;
    let ids = |seen: Vec<consort::world::Container>| seen.into_iter().map(|c| c.id).collect::<Vec<_>>();
    assert_eq!(ids(lab.observe().await.containers), [mine.id.clone().unwrap()]);
    let everything = ObserveQuery { project: None, containers_only: true, ..ObserveQuery::default() };
    let all = ids(lab.engine.observe(&everything).await.unwrap().containers);
    assert!(all.contains(mine.id.as_ref().unwrap()) && all.contains(theirs.id.as_ref().unwrap()));
    other.clean_up().await.unwrap();
}

async fn images_are_looked_up(lab: &Lab) {
    let query = ObserveQuery { images: vec![image_query(IMAGE), image_query("no-such-image.invalid/never:1")], ..lab.query() };
    let seen = lab.engine.observe(&query).await.unwrap();
    assert_eq!(seen.images.keys().collect::<Vec<_>>(), [IMAGE]);
    assert!(!seen.images[IMAGE].id.is_empty());
    let target = lab.create(&lab.spec("web", "true")).await;
    assert_eq!(lab.observed(&target).await.image_id, seen.images[IMAGE].id);
}

async fn a_pull_brings_an_image_that_can_be_removed(lab: &Lab) -> Verdict {
    let pull = Op::PullImage { reference: OTHER_IMAGE.into(), platform: None };
    if !lab.engine.capabilities().pull {
        assert_eq!(lab.bad(&pull).await.kind, ErrorKind::Unsupported);
        return Verdict::NotCapable("pulling");
    }
    let query = ObserveQuery { images: vec![image_query(OTHER_IMAGE)], ..lab.query() };
    let before = lab.engine.observe(&query).await.unwrap().images;
    lab.good(&pull).await;
    let after = lab.engine.observe(&query).await.unwrap().images;
    assert!(after.contains_key(OTHER_IMAGE), "{after:?}");
    lab.good(&pull).await;
    if before.is_empty() {
        assert!(lab.good(&Op::RemoveImage { reference: OTHER_IMAGE.into() }).await.changed);
        assert!(lab.engine.observe(&query).await.unwrap().images.is_empty());
    }
    Verdict::Good
}

async fn an_unknown_image_cannot_be_pulled(lab: &Lab) -> Verdict {
    if !lab.engine.capabilities().pull {
        return Verdict::NotCapable("pulling");
    }
    // A registry that surely answers; without one, the failure to reach any is as good.
    let registry = environment("CONSORT_TEST_REGISTRY").filter(|_| lab.real);
    let reference = registry.as_ref().map_or("busybox:no-such-tag".to_owned(), |r| format!("{r}/library/busybox:no-such-tag"));
    let error = lab.bad(&Op::PullImage { reference, platform: None }).await;
    assert!(matches!(error.kind, ErrorKind::NotFound | ErrorKind::Denied) || lab.real && registry.is_none(), "{error:?}");
    assert!(error.to_string().contains("no-such-tag") || registry.is_none(), "{error}");
    Verdict::Good
}

async fn an_abandoned_op_goes_on(lab: &Lab) {
    let target = lab.run_ready("web", "trap 'echo heard' TERM; echo ready; while true; do sleep 0.2; done").await;
    let mut events = lab.events().await;
    let stop = Op::StopContainer { container: target.clone(), timeout: Some(2) };
    // Given up as soon as the container has heard of it.
    tokio::select! {
        biased;
        outcome = lab.apply(&stop) => panic!("the stop can't be over yet: {outcome:?}"),
        () = lab.wait_for_line(&target, "heard") => {}
    }
    events.until(|e| matches!(e.kind, EventKind::Died { .. })).await;
    assert_eq!(lab.ran(&lab.spec("next", "true")).await.code, 0, "the engine is well");
}
