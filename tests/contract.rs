//! One suite for every engine, through the port alone.
//!
//! The simulated engine always takes it. Real engines take it where the environment says where they are:
//! `CONSORT_TEST_DOCKER20`, `CONSORT_TEST_DOCKER28`, `CONSORT_TEST_PODMAN`, each an address like
//! `unix:///var/run/docker.sock`. One that isn't named is said to be skipped; with `CONSORT_TEST_ENGINES=required` that
//! is a failure. `CONSORT_TEST_CASE=logs` runs the cases whose name has `logs` in it.
//!
//! The embedded engine takes it where the tests run as root on Linux, with folders of its own; its images come from the
//! registry of `CONSORT_TEST_REGISTRY`.
//!
//! What an engine can't do is named in the table: `not capable: …`. A case that real Docker fails is a wrong case.

#[path = "contract/config.rs"]
mod config;
#[path = "contract/events.rs"]
mod events;
#[path = "contract/exec.rs"]
mod exec;
#[path = "contract/images.rs"]
mod images;
#[path = "contract/lab.rs"]
mod lab;
#[path = "contract/lifecycle.rs"]
mod lifecycle;
#[path = "contract/logs.rs"]
mod logs;
#[path = "contract/networks.rs"]
mod networks;
#[path = "contract/storage.rs"]
mod storage;
#[path = "contract/supervision.rs"]
mod supervision;
mod support;

use consort::engine::registry::{EngineRequest, connect};
use consort::engine::sim::{ImageScript, Sim, SimImage};
use consort::engine::{Engine, sim};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use lab::{Lab, Verdict};
use std::sync::Arc;
use std::time::Duration;
use support::{all_environment, engines_required, environment, say};

/// How long a case may take.
const CASE_LIMIT: Duration = Duration::from_secs(90);

/// A case: its name, and what it does.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    run: fn(Lab) -> BoxFuture<'static, Verdict>,
}

/// Lists async functions `fn(Lab) -> Verdict` as cases.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub fn cases() -> Vec<crate::Case> {
            vec![$(crate::Case {
                name: concat!(module_path!(), "::", stringify!($name)),
                run: |lab| Box::pin(async move { crate::lab::IntoVerdict::verdict($name(&lab).await) }),
            }),*]
        }
    };
}
pub(crate) use cases;

fn all_cases() -> Vec<Case> {
    let all = [
        lifecycle::cases(),
        supervision::cases(),
        events::cases(),
        logs::cases(),
        exec::cases(),
        networks::cases(),
        storage::cases(),
        images::cases(),
        config::cases(),
    ];
    let wanted = environment("CONSORT_TEST_CASE").unwrap_or_default();
    all.into_iter().flatten().filter(|c| c.name.contains(&wanted)).collect()
}

/// Runs one case.
async fn take(case: Case, lab: &Lab) -> Verdict {
    let work = tokio::spawn(tokio::time::timeout(CASE_LIMIT, (case.run)(lab.clone())));
    match work.await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_)) => Verdict::Failed(format!("not done after {CASE_LIMIT:?}")),
        Err(panic) => Verdict::Failed(lab::panic_text(panic)),
    }
}

/// Runs every case on `engine`, so many at once, and prints a table.
async fn suite(name: &str, engine: Arc<dyn Engine>, real: bool, at_once: usize) {
    suite_of(name, engine, real, at_once, "", all_cases()).await;
}

/// The same of some cases, with containers by an OCI runtime.
async fn suite_of(name: &str, engine: Arc<dyn Engine>, real: bool, at_once: usize, runtime: &'static str, cases: Vec<Case>) {
    let began = tokio::time::Instant::now();
    let run = |(number, case): (usize, Case)| {
        let mut lab = Lab::new(Arc::clone(&engine), format!("contract-{name}-{}-{number}", std::process::id()), real);
        lab.runtime = runtime;
        async move {
            let began = tokio::time::Instant::now();
            let verdict = take(case, &lab).await;
            let left = lab.clean_up().await;
            let verdict = match (verdict, left) {
                (Verdict::Good, Err(error)) => Verdict::Failed(format!("clean-up: {error}")),
                (verdict, _) => verdict,
            };
            (case.name.trim_start_matches("contract::"), verdict, began.elapsed())
        }
    };
    Lab::new(Arc::clone(&engine), format!("contract-{name}-{}", std::process::id()), real).prepare().await;
    let results: Vec<_> = stream::iter(cases.into_iter().enumerate()).map(run).buffered(at_once).collect().await;
    let mut failed = Vec::new();
    for (case, verdict, time) in &results {
        let text = match verdict {
            Verdict::Good => "ok".to_owned(),
            Verdict::NotCapable(what) => format!("not capable: {what}"),
            Verdict::Failed(why) => {
                failed.push(format!("{case}: {why}"));
                format!("FAILED: {why}")
            }
        };
        say(&format!("{name:9} {case:60} {:>6.2} s  {text}", time.as_secs_f64()));
    }
    let info = engine.info();
    let (count, all) = (failed.len(), results.len());
    say(&format!("{name}: {} {} {}: {all} cases, {count} failed, {:.1} s", info.name, info.version, info.api, began.elapsed().as_secs_f64()));
    assert!(failed.is_empty(), "{name}: {count} of {all} cases failed\n{}", failed.join("\n"));
}

/// Runs the suite on the engine at the address in `variable`.
fn real(name: &str, variable: &str, kind: &str) {
    let Some(address) = environment(variable) else {
        assert!(!engines_required(), "{name} is required, but {variable} doesn't say where it is");
        say(&format!("contract: {name} skipped: {variable} doesn't say where it is"));
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let request = EngineRequest { engine: kind.into(), host: Some(address), environment: all_environment(), ..EngineRequest::default() };
        let engine = connect(&request).await.unwrap_or_else(|e| panic!("{name} can't be reached: {e}"));
        suite(name, engine, true, 6).await;
    });
}

#[tokio::test(start_paused = true)]
async fn sim() {
    let sim = Sim::new();
    let busybox = ImageScript { command: vec!["sh".into()], strict_programs: true, ..ImageScript::default() };
    sim.add_image(lab::IMAGE, SimImage { script: busybox.clone() });
    sim.add_image(lab::OTHER_IMAGE, SimImage { script: busybox });
    suite("sim", Arc::new(sim), false, 4).await;
}

/// The same with the engine's own restarts and probes switched off: what is left must still hold.
#[tokio::test(start_paused = true)]
async fn sim_that_supervises_nothing() {
    let sim = sim::Sim::new();
    sim.vary(|capabilities| {
        capabilities.restarts = consort::world::Owner::Us;
        capabilities.probes = consort::world::Owner::Us;
        capabilities.many_networks_at_create = false;
        capabilities.pull = false;
        capabilities.pause = false;
    });
    let busybox = ImageScript { command: vec!["sh".into()], strict_programs: true, pulled: true, ..ImageScript::default() };
    sim.add_image(lab::IMAGE, SimImage { script: busybox });
    suite("sim-bare", Arc::new(sim), false, 4).await;
}

#[test]
fn docker20() {
    real("docker20", "CONSORT_TEST_DOCKER20", "docker");
}

#[test]
fn docker28() {
    real("docker28", "CONSORT_TEST_DOCKER28", "docker");
}

#[test]
fn podman() {
    real("podman", "CONSORT_TEST_PODMAN", "podman");
}

#[cfg(all(feature = "embedded", target_os = "linux"))]
#[test]
fn embedded() {
    let Some(home) = support::embedded::Home::new("contract") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let program = Some(env!("CARGO_BIN_EXE_consort").into());
        let request = EngineRequest { engine: "embedded".into(), environment: home.environment(), program, ..EngineRequest::default() };
        let engine = connect(&request).await.unwrap_or_else(|e| panic!("the embedded engine can't be used: {e}"));
        suite("embedded", engine, true, 6).await;
    });
}

#[cfg(all(feature = "embedded", target_os = "linux"))]
fn by_runtime(name: &'static str) {
    use consort::engine::embedded::runtime::oci;
    let Some(home) = support::embedded::Home::new(name) else { return };
    if let Err(error) = oci::find(name).and_then(|(found, _)| found.ok_or_else(|| unreachable!("{name} is a runtime of its own"))) {
        assert!(!engines_required(), "{name} is required, but {error}");
        say(&format!("contract: {name} skipped: {error}"));
        return;
    }
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    tokio.block_on(async {
        let program = Some(env!("CARGO_BIN_EXE_consort").into());
        let request = EngineRequest { engine: "embedded".into(), environment: home.environment(), program, ..EngineRequest::default() };
        let engine = connect(&request).await.unwrap_or_else(|e| panic!("the embedded engine can't be used: {e}"));
        suite_of(name, engine, true, 6, name, all_cases()).await;
    });
}

/// The embedded engine with containers by crun.
#[cfg(all(feature = "embedded", target_os = "linux"))]
#[test]
fn embedded_crun() {
    by_runtime("crun");
}

/// The embedded engine with containers by runc.
#[cfg(all(feature = "embedded", target_os = "linux"))]
#[test]
fn embedded_runc() {
    by_runtime("runc");
}
