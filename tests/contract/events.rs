//! The stream of events: what, in which order, of whom, and nothing missed.

use crate::lab::{Lab, Verdict};
use consort::world::{EventKind, Op};
use std::sync::Arc;

crate::cases![
    a_life_is_told_in_order,
    a_stop_is_told,
    a_restart_is_told,
    a_pause_is_told,
    a_new_name_is_told,
    nothing_is_missed_after_the_subscription,
    only_ones_own_project_is_told,
    every_event_says_of_whom,
    two_subscribers_hear_the_same,
];

/// The word of an event, where its details don't matter.
fn word(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Created => "create",
        EventKind::Started => "start",
        EventKind::Died { .. } => "die",
        EventKind::Killed { .. } => "kill",
        EventKind::Stopped => "stop",
        EventKind::Restarted => "restart",
        EventKind::OutOfMemory => "oom",
        EventKind::Health(_) => "health",
        EventKind::Paused => "pause",
        EventKind::Unpaused => "unpause",
        EventKind::Renamed { .. } => "rename",
        EventKind::Removed => "destroy",
        EventKind::Other(_) => "other",
    }
}

async fn a_life_is_told_in_order(lab: &Lab) {
    let mut events = lab.events().await;
    let target = lab.run("web", "exit 5").await;
    let mut all = events.until(|e| matches!(e.kind, EventKind::Died { .. })).await;
    lab.remove(&target, false).await;
    all.extend(events.until(|e| e.kind == EventKind::Removed).await);
    let words: Vec<&str> = all.iter().map(|e| word(&e.kind)).collect();
    assert_eq!(words, ["create", "start", "die", "destroy"]);
    assert_eq!(all[2].kind, EventKind::Died { exit_code: 5 });
    assert!(all.windows(2).all(|w| w[0].time <= w[1].time), "{all:?}");
}

async fn a_stop_is_told(lab: &Lab) {
    let target = lab.run_ready("web", "trap 'exit 0' TERM; echo ready; sleep 300 & wait").await;
    let mut events = lab.events().await;
    lab.stop(&target, Some(10)).await;
    let mut all = events.until(|e| matches!(e.kind, EventKind::Died { .. })).await;
    lab.remove(&target, false).await;
    all.extend(events.until(|e| e.kind == EventKind::Removed).await);
    // The order of the end and the word that it was wanted is the engine's affair, and not each tells of the signal.
    let words: Vec<&str> = all.iter().map(|e| word(&e.kind)).collect();
    let place = |w: &str| words.iter().position(|x| *x == w);
    assert!(words.iter().all(|w| ["kill", "die", "stop", "destroy"].contains(w)), "{words:?}");
    assert!(place("kill").is_none_or(|k| Some(k) < place("die") && place("stop").is_none_or(|s| k < s)), "{words:?}");
}

async fn a_restart_is_told(lab: &Lab) {
    let target = lab.run_ready("web", "trap 'exit 0' TERM; echo ready; sleep 300 & wait").await;
    let mut events = lab.events().await;
    lab.good(&Op::RestartContainer { container: target, timeout: Some(10) }).await;
    let mut words = Vec::new();
    while !["die", "start", "restart"].iter().all(|w| words.contains(w)) {
        words.push(word(&events.next().await.kind));
    }
    let place = |w: &str| words.iter().position(|x| *x == w);
    assert!(place("die") < place("start"), "{words:?}");
}

async fn a_pause_is_told(lab: &Lab) -> Verdict {
    if !lab.engine.capabilities().pause {
        return Verdict::NotCapable("pausing");
    }
    let target = lab.run("web", "sleep 300").await;
    let mut events = lab.events().await;
    lab.good(&Op::PauseContainer { container: target.clone() }).await;
    lab.good(&Op::UnpauseContainer { container: target }).await;
    let all = events.until(|e| e.kind == EventKind::Unpaused).await;
    assert!(all.iter().any(|e| e.kind == EventKind::Paused), "{all:?}");
    Verdict::Good
}

async fn a_new_name_is_told(lab: &Lab) {
    let target = lab.create(&lab.spec("web", "true")).await;
    let mut events = lab.events().await;
    lab.good(&Op::RenameContainer { container: target.clone(), to: lab.name("new") }).await;
    let event = events.next().await;
    assert_eq!((Some(event.container.id), event.container.name), (target.id, lab.name("new")));
    assert_eq!(event.kind, EventKind::Renamed { from: target.name });
}

async fn nothing_is_missed_after_the_subscription(lab: &Lab) {
    let specs: Vec<_> = (0..6).map(|n| lab.spec(&format!("s{n}"), "exit 0")).collect();
    let targets = futures::future::join_all(specs.iter().map(|s| lab.create(s))).await;
    let mut events = lab.events().await;
    futures::future::join_all(targets.iter().map(|t| lab.start(t))).await;
    let mut alive: Vec<String> = targets.iter().filter_map(|t| t.id.clone()).collect();
    while !alive.is_empty() {
        let event = events.next().await;
        if let EventKind::Died { .. } = event.kind {
            alive.retain(|id| *id != event.container.id);
        }
    }
}

async fn only_ones_own_project_is_told(lab: &Lab) {
    let other = Lab::new(Arc::clone(&lab.engine), lab.name("other"), lab.real);
    let mut events = lab.events().await;
    let mut theirs = other.events().await;
    other.create(&other.spec("b", "true")).await;
    let mine = lab.create(&lab.spec("a", "true")).await;
    assert_eq!(Some(events.next().await.container.id), mine.id);
    assert_eq!(theirs.next().await.container.service, "b");
    other.clean_up().await.unwrap();
}

async fn every_event_says_of_whom(lab: &Lab) {
    let mut spec = lab.spec("web", "true");
    spec.labels.insert(consort::world::label::CONTAINER_NUMBER.into(), "7".into());
    spec.labels.insert(consort::world::label::REPLACE.into(), "old-one".into());
    let mut events = lab.events().await;
    let target = lab.create(&spec).await;
    let container = events.next().await.container;
    assert_eq!((Some(&container.id), container.name.as_str()), (target.id.as_ref(), target.name.as_str()));
    assert_eq!((container.service.as_str(), container.number, container.oneoff), ("web", Some(7), false));
    assert_eq!(container.replaces.as_deref(), Some("old-one"));
}

async fn two_subscribers_hear_the_same(lab: &Lab) {
    let (mut one, mut two) = (lab.events().await, lab.events().await);
    let target = lab.run("web", "true").await;
    let dead = |e: &consort::world::EngineEvent| matches!(e.kind, EventKind::Died { .. });
    let (a, b) = (one.until(dead).await, two.until(dead).await);
    assert_eq!(a, b);
    assert_eq!(a.last().map(|e| e.container.name.clone()), Some(target.name));
}
