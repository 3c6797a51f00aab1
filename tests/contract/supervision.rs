//! Restart policies and health checks, where the engine sees to them.

use crate::lab::{Lab, Verdict};
use consort::units::Duration;
use consort::world::{EventKind, Health, HealthcheckSpec, Owner, RestartPolicy, State};

crate::cases![
    without_a_policy_a_container_stays_down,
    always_starts_it_again,
    on_failure_counts,
    on_failure_leaves_success_alone,
    unless_stopped_rests_after_a_stop,
    a_good_check_makes_it_healthy,
    bad_checks_make_it_unhealthy,
    a_check_can_be_switched_off,
    a_command_check_needs_no_shell,
];

/// Milliseconds.
fn ms(n: i64) -> Option<Duration> {
    Some(Duration(n * 1_000_000))
}

fn check(script: &str) -> HealthcheckSpec {
    let test = vec!["CMD-SHELL".into(), script.into()];
    HealthcheckSpec { test, interval: ms(300), timeout: ms(5000), start_period: None, start_interval: None, retries: Some(2) }
}

async fn without_a_policy_a_container_stays_down(lab: &Lab) {
    let target = lab.run("web", "exit 1").await;
    lab.exited(&target).await;
    assert_eq!(lab.observed(&target).await.state, State::Exited);
    assert_eq!(lab.inspect(&target).await.restarts, 0);
}

async fn always_starts_it_again(lab: &Lab) -> Verdict {
    if lab.engine.capabilities().restarts == Owner::Us {
        return Verdict::NotCapable("restart policies");
    }
    let mut spec = lab.spec("web", "sleep 0.2; exit 0");
    spec.restart = RestartPolicy::Always;
    let target = lab.create(&spec).await;
    let mut events = lab.events().await;
    lab.start(&target).await;
    for _ in 0..2 {
        events.until(|e| e.kind == EventKind::Died { exit_code: 0 }).await;
        events.until(|e| e.kind == EventKind::Started).await;
    }
    assert!(lab.inspect(&target).await.restarts >= 1);
    lab.stop(&target, Some(0)).await;
    assert_eq!(lab.observed(&target).await.state, State::Exited);
    Verdict::Good
}

async fn on_failure_counts(lab: &Lab) -> Verdict {
    if lab.engine.capabilities().restarts == Owner::Us {
        return Verdict::NotCapable("restart policies");
    }
    let mut spec = lab.spec("web", "echo run >> /runs; cat /runs; exit 3");
    spec.restart = RestartPolicy::OnFailure(2);
    let target = lab.create(&spec).await;
    let mut events = lab.events().await;
    lab.start(&target).await;
    for _ in 0..3 {
        events.until(|e| e.kind == EventKind::Died { exit_code: 3 }).await;
    }
    let details = lab.inspect(&target).await;
    assert_eq!((details.restarts, details.exit_code), (2, 3));
    assert_eq!(lab.observed(&target).await.state, State::Exited);
    Verdict::Good
}

async fn on_failure_leaves_success_alone(lab: &Lab) {
    let mut spec = lab.spec("web", "exit 0");
    spec.restart = RestartPolicy::OnFailure(5);
    let target = lab.up(&spec).await;
    lab.exited(&target).await;
    let details = lab.inspect(&target).await;
    assert_eq!((details.state, details.restarts), (Some(State::Exited), 0));
}

async fn unless_stopped_rests_after_a_stop(lab: &Lab) {
    let mut spec = lab.spec("web", "trap 'exit 1' TERM; echo ready; sleep 300 & wait");
    spec.restart = RestartPolicy::UnlessStopped;
    let target = lab.up_ready(&spec).await;
    lab.stop(&target, Some(5)).await;
    let seen = lab.inspect(&target).await;
    assert_eq!((seen.state, seen.exit_code), (Some(State::Exited), 1));
    assert_eq!(seen.restart, RestartPolicy::UnlessStopped);
}

async fn a_good_check_makes_it_healthy(lab: &Lab) -> Verdict {
    if lab.engine.capabilities().probes == Owner::Us {
        return Verdict::NotCapable("health checks");
    }
    let mut spec = lab.spec("web", "sleep 1; echo yes > /state; sleep 300");
    spec.healthcheck = Some(HealthcheckSpec { retries: Some(100), ..check("cat /state") });
    let target = lab.create(&spec).await;
    let mut events = lab.events().await;
    lab.start(&target).await;
    assert_eq!(lab.observed(&target).await.health, Some(Health::Starting));
    events.until(|e| e.kind == EventKind::Health(Health::Healthy)).await;
    assert_eq!(lab.observed(&target).await.health, Some(Health::Healthy));
    let details = lab.inspect(&target).await;
    assert_eq!(details.health, Some(Health::Healthy));
    let last = details.probes.last().expect("probes are remembered");
    assert_eq!((last.exit_code, last.output.trim_end()), (0, "yes"));
    assert_eq!(details.healthcheck.map(|c| c.test), Some(vec!["CMD-SHELL".to_owned(), "cat /state".to_owned()]));
    Verdict::Good
}

async fn bad_checks_make_it_unhealthy(lab: &Lab) -> Verdict {
    if lab.engine.capabilities().probes == Owner::Us {
        return Verdict::NotCapable("health checks");
    }
    let mut spec = lab.spec("web", "sleep 300");
    spec.healthcheck = Some(check("echo no luck; exit 1"));
    let target = lab.create(&spec).await;
    let mut events = lab.events().await;
    lab.start(&target).await;
    events.until(|e| e.kind == EventKind::Health(Health::Unhealthy)).await;
    let details = lab.inspect(&target).await;
    assert_eq!(details.health, Some(Health::Unhealthy));
    assert!(details.probes.len() >= 2 && details.probes.iter().all(|p| p.exit_code == 1 && p.output.contains("no luck")), "{:?}", details.probes);
    Verdict::Good
}

async fn a_check_can_be_switched_off(lab: &Lab) {
    let mut spec = lab.spec("web", "sleep 300");
    spec.healthcheck = Some(HealthcheckSpec { test: vec!["NONE".into()], ..HealthcheckSpec::default() });
    let target = lab.up(&spec).await;
    assert_eq!(lab.observed(&target).await.health, None);
    assert_eq!(lab.inspect(&target).await.health, None);
}

async fn a_command_check_needs_no_shell(lab: &Lab) -> Verdict {
    if lab.engine.capabilities().probes == Owner::Us {
        return Verdict::NotCapable("health checks");
    }
    let mut spec = lab.spec("web", "sleep 300");
    spec.healthcheck = Some(HealthcheckSpec { test: ["CMD", "echo", "$HOME", "two  words"].map(str::to_owned).to_vec(), ..check("") });
    let target = lab.create(&spec).await;
    let mut events = lab.events().await;
    lab.start(&target).await;
    events.until(|e| e.kind == EventKind::Health(Health::Healthy)).await;
    let details = lab.inspect(&target).await;
    assert_eq!(details.probes.last().map(|p| p.output.trim_end().to_owned()).as_deref(), Some("$HOME two  words"));
    assert_eq!(details.healthcheck.map(|c| c.test.len()), Some(4));
    Verdict::Good
}
