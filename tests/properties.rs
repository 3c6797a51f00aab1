//! What must hold of every project: random ones are brought up and down on the simulated engine.

mod support;

use consort::engine::Engine;
use consort::engine::faulty::{Fault, Faulty};
use consort::engine::sim::{After, Entry, Script, Sim};
use consort::exit::Exit;
use consort::model::{Condition, Dependency, Healthcheck, Mount, MountType, Network, Project, Selection, Service, Volume};
use consort::plan::{self, DownOptions, Plan, Step, StopOptions, UpOptions};
use consort::run::{self, Attach, Context, Interrupts, Options, Report, UpRequest, interrupts};
use consort::units::{Duration, Timestamp};
use consort::world::{EventKind, Health, Observed, Op, State, label};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many random projects come up and go down.
const PROJECTS: u32 = 1000;
/// How many the other properties see.
const SOME_PROJECTS: u32 = 300;
/// At how many random moments `up` is interrupted.
const MOMENTS: u32 = 50;

/// A random project, and what its containers do.
#[derive(Clone, Debug)]
struct World {
    project: Project,
    scripts: BTreeMap<String, Script>,
}

/// What a random service is made of.
#[derive(Clone, Debug)]
struct Parts {
    /// For each service before this one: whether and how it is waited for.
    needs: Vec<Option<(u8, bool, bool)>>,
    replicas: u8,
    networks: BTreeSet<u8>,
    volumes: BTreeSet<u8>,
    anonymous: bool,
    image: u8,
    /// Milliseconds: start, health, end, stop.
    takes: (u16, u16, u16, u16),
    environment: u8,
    restart: u8,
}

fn parts(index: usize) -> impl Strategy<Value = Parts> {
    let need = prop_oneof![2 => Just(None), 3 => (0..3_u8, any::<bool>(), prop::bool::weighted(0.8)).prop_map(Some)];
    let takes = (0..2000_u16, 0..5000_u16, 0..3000_u16, 0..2000_u16);
    let things = (prop::collection::btree_set(0..3_u8, 0..3), prop::collection::btree_set(0..3_u8, 0..3), any::<bool>());
    (prop::collection::vec(need, index), prop_oneof![1 => Just(0_u8), 6 => Just(1), 3 => 2..4_u8], things, 0..3_u8, takes, 0..4_u8, 0..4_u8).prop_map(
        |(needs, replicas, (networks, volumes, anonymous), image, takes, environment, restart)| Parts {
            needs,
            replicas,
            networks,
            volumes,
            anonymous,
            image,
            takes,
            environment,
            restart,
        },
    )
}

fn worlds() -> impl Strategy<Value = World> {
    (1..7_usize).prop_flat_map(|n| (0..n).map(parts).collect::<Vec<_>>()).prop_map(|all| world(&all))
}

fn ms(n: u16) -> std::time::Duration {
    std::time::Duration::from_millis(u64::from(n))
}

fn world(all: &[Parts]) -> World {
    let mut project = Project { name: "p".into(), working_dir: "/p".into(), ..Project::default() };
    let mut scripts = BTreeMap::new();
    let name = |i: usize| format!("s{i}");
    // A service ends by itself exactly if somebody waits for that.
    let jobs: BTreeSet<usize> = all.iter().flat_map(|p| p.needs.iter().enumerate()).filter_map(|(i, n)| n.filter(|n| n.0 == 2).map(|_| i)).collect();
    for (i, parts) in all.iter().enumerate() {
        let mut service =
            Service { name: name(i), image: format!("image-{}", parts.image), scale: Some(i64::from(parts.replicas)), ..Service::default() };
        for (other, need) in parts.needs.iter().enumerate() {
            let Some((condition, restart, required)) = *need else { continue };
            let condition = match condition {
                0 => Condition::Started,
                // What ends is never healthy for long.
                1 if !jobs.contains(&other) => Condition::Healthy,
                1 => Condition::Started,
                _ => Condition::Completed,
            };
            service.depends_on.insert(name(other), Dependency { condition, restart, required, ..Dependency::default() });
        }
        service.healthcheck =
            Some(Healthcheck { test: vec!["CMD-SHELL".into(), "check".into()], interval: Some(Duration::from_secs(1)), ..Healthcheck::default() });
        for network in &parts.networks {
            let key = format!("n{network}");
            service.networks.insert(key.clone(), None);
            project.networks.insert(key.clone(), Network { name: format!("p_{key}"), ..Network::default() });
        }
        if service.networks.is_empty() {
            service.networks.insert("default".into(), None);
            project.networks.insert("default".into(), Network { name: "p_default".into(), ..Network::default() });
        }
        for volume in &parts.volumes {
            let key = format!("v{volume}");
            service.volumes.push(Mount { kind: MountType::Volume, source: key.clone(), target: format!("/{key}"), ..Mount::default() });
            project.volumes.insert(key.clone(), Volume { name: format!("p_{key}"), ..Volume::default() });
        }
        if parts.anonymous {
            service.volumes.push(Mount { kind: MountType::Volume, target: "/anonymous".into(), ..Mount::default() });
        }
        service.environment.insert("E".into(), Some(parts.environment.to_string()));
        let job = jobs.contains(&i);
        service.restart = ["", "no", "on-failure", if job { "" } else { "always" }][usize::from(parts.restart)].into();
        let (start, health, end, stop) = parts.takes;
        let script = Script {
            start_takes: ms(start),
            create_takes: ms(start / 3),
            pull_takes: ms(health / 3),
            healthy_after: Some(After::Time(ms(health))),
            exit_after: job.then_some(After::Time(ms(end))),
            stop_takes: ms(stop),
            ..Script::default()
        };
        scripts.insert(name(i), script);
        project.services.insert(name(i), service);
    }
    World { project, scripts }
}

/// A project on an engine of its own.
struct Bench {
    sim: Sim,
    project: Project,
    context: Context,
}

impl Bench {
    fn new(world: &World) -> Self {
        let sim = Sim::from_project(&world.project).expect("nothing of x-sim can be wrong where there is none");
        for (service, script) in &world.scripts {
            sim.script_in(&world.project.name, service, script.clone());
        }
        let (out, mut events) = mpsc::channel(16);
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        let context = Context { engine: Arc::new(sim.clone()), project: world.project.name.clone(), out, parallel: 4 };
        Self { sim, project: world.project.clone(), context }
    }

    async fn observe(&self) -> Observed {
        self.sim.observe(&plan::observe_query(&self.project, &Selection::default())).await.unwrap()
    }

    fn plan_on(&self, observed: &Observed, pulled: bool) -> Plan {
        let options = UpOptions { pulled, ..UpOptions::default() };
        let planned = plan::plan_up(&self.project, observed, &self.sim.capabilities(), &options, &|_| None);
        planned.unwrap_or_else(|e| panic!("no plan: {e:?}"))
    }

    async fn plan(&self) -> Plan {
        self.plan_on(&self.observe().await, false)
    }

    async fn up_until(&self, interrupts: &Interrupts) -> Result<Report, run::Error> {
        let query = plan::observe_query(&self.project, &Selection::default());
        let plan = async |observed: &Observed, fetched: bool| Ok(self.plan_on(observed, fetched));
        run::change(&self.context, &query, plan, &Options::default(), interrupts).await
    }

    async fn up(&self) -> Report {
        self.up_until(&Interrupts::never()).await.unwrap_or_else(|e| panic!("up: {e:?}"))
    }

    async fn down(&self, volumes: bool) -> Report {
        let query = plan::observe_query(&self.project, &Selection::default());
        let options = DownOptions { volumes, ..DownOptions::default() };
        let plan = async |observed: &Observed, _: bool| plan::plan_down(None, &self.project.name, observed, &options);
        let done = run::change(&self.context, &query, plan, &Options::default(), &Interrupts::never()).await;
        done.unwrap_or_else(|e| panic!("down: {e:?}"))
    }

    /// What is left of the project, by label.
    fn left(&self) -> Vec<String> {
        let shot = self.sim.snapshot();
        let containers = shot.containers.iter().filter(|(_, c)| c.project == self.project.name).map(|(name, _)| name.clone());
        containers.chain(shot.networks).collect()
    }

    /// Holds every start to the gates of its service.
    fn starts_came_after_their_gates(&self) {
        let mut facts: BTreeMap<String, Vec<EventKind>> = BTreeMap::new();
        for entry in self.sim.journal() {
            match entry {
                Entry::Event(event) => {
                    let heard = facts.entry(event.container.name.clone()).or_default();
                    if event.kind == EventKind::Started {
                        heard.clear();
                    }
                    heard.push(event.kind);
                }
                Entry::Begun { op, .. } => {
                    let Op::StartContainer { container } = *op else { continue };
                    let service = service_of(&container.name);
                    for (other, need) in &self.project.services[service].depends_on {
                        let wanted = |e: &EventKind| match need.condition {
                            Condition::Started => *e == EventKind::Started,
                            Condition::Healthy => *e == EventKind::Health(Health::Healthy),
                            Condition::Completed => *e == EventKind::Died { exit_code: 0 },
                        };
                        for number in 1..=self.project.services[other].replicas() {
                            let name = format!("p-{other}-{number}");
                            let passed = facts.get(&name).is_some_and(|heard| heard.iter().any(wanted));
                            assert!(passed, "{} was started before {name} was {}", container.name, need.condition.as_str());
                        }
                    }
                }
                Entry::Ended { .. } => {}
            }
        }
    }
}

fn service_of(container: &str) -> &str {
    container.split('-').nth(1).unwrap_or_default()
}

/// Runs something in virtual time.
fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let limit = std::time::Duration::from_secs(24 * 3600);
    runtime.block_on(async { tokio::time::timeout(limit, work).await.expect("still not done after a day of virtual time") })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() }
}

/// The ops of a plan that change something about containers that are not done with their work.
fn ops(plan: &Plan) -> Vec<String> {
    let of = |step: &Step| match step {
        Step::Do(op) => Some(format!("{} {}", op.verb(), op.subject())),
        Step::Await(_) => None,
    };
    plan.nodes.iter().filter_map(|n| of(&n.step)).collect()
}

proptest! {
    #![proptest_config(config(PROJECTS))]

    /// Up, and nothing is left to do; the gates were kept; nothing was asked for that was done already; down, and
    /// nothing is left at all.
    #[test]
    fn up_is_complete_and_orderly_and_down_leaves_nothing(world in worlds()) {
        in_virtual_time(async {
            let bench = Bench::new(&world);
            let report = bench.up().await;
            assert!(report.failures.is_empty(), "{:?}", report.failures);
            bench.starts_came_after_their_gates();
            let idle: Vec<_> = bench.sim.records().into_iter().filter(|r| !matches!(&r.ended, Some((_, Ok(applied))) if applied.changed)).collect();
            assert!(idle.is_empty(), "these changed nothing: {idle:?}");
            let again = bench.plan().await;
            // Jobs are run again by every `up`; nothing else may be left to do.
            let left: Vec<String> = ops(&again).into_iter().filter(|op| !op.starts_with("start ")).collect();
            assert!(left.is_empty(), "left to do: {left:?}");
            for node in &again.nodes {
                if let Step::Do(Op::StartContainer { container }) = &node.step {
                    let shot = &bench.sim.snapshot().containers[&container.name];
                    assert!(shot.state == State::Exited, "{} is {:?} and is to be started", container.name, shot.state);
                }
            }
            bench.down(true).await;
            assert_eq!(bench.left(), Vec::<String>::new());
            let named = bench.sim.snapshot().volumes.into_iter().filter(|v| v.starts_with("p_")).collect::<Vec<_>>();
            assert_eq!(named, Vec::<String>::new());
        });
    }

}

proptest! {
    #![proptest_config(config(SOME_PROJECTS))]

    /// From any state to any other: the second project takes the place of the first.
    #[test]
    fn any_project_can_become_any_other(first in worlds(), second in worlds()) {
        in_virtual_time(async {
            let mut second = second;
            // What runs unchanged goes on as the first project had it, for ever if need be: a service whose end is
            // waited for has to be a new one.
            let needs = second.project.services.values().flat_map(|s| &s.depends_on);
            let awaited: Vec<String> = needs.filter(|(_, need)| need.condition == Condition::Completed).map(|(name, _)| name.clone()).collect();
            for name in awaited {
                second.project.services.get_mut(&name).unwrap().environment.insert("NEW".into(), Some("1".into()));
            }
            let bench = Bench::new(&first);
            bench.up().await;
            let sim = bench.sim.clone();
            sim.learn(&second.project).unwrap();
            for (service, script) in &second.scripts {
                sim.script_in("p", service, script.clone());
            }
            let context = Context { engine: Arc::new(sim.clone()), ..bench.context.clone() };
            let bench = Bench { sim, project: second.project.clone(), context };
            let report = bench.up().await;
            assert!(report.failures.is_empty(), "{:?}", report.failures);
            let left: Vec<String> = ops(&bench.plan().await).into_iter().filter(|op| !op.starts_with("start ")).collect();
            assert!(left.is_empty(), "left to do: {left:?}");
            let shot = bench.sim.snapshot();
            for (name, service) in &bench.project.services {
                let there = shot.containers.values().filter(|c| c.service == *name).count();
                assert_eq!(there, usize::try_from(service.replicas()).unwrap(), "replicas of {name}");
            }
        });
    }

    /// What fails blocks what needs it, and nothing else.
    #[test]
    fn a_failure_blocks_only_what_hangs_on_it(world in worlds(), pick in any::<prop::sample::Index>(), how in 0..3_u8) {
        in_virtual_time(async {
            let mut world = world;
            let names: Vec<String> = world.project.services.keys().cloned().collect();
            let broken = names[pick.index(names.len())].clone();
            let script = world.scripts.get_mut(&broken).unwrap();
            match how {
                0 => script.refuse = vec!["create".into()],
                1 => script.refuse = vec!["start".into()],
                _ => script.exits = vec![3],
            }
            // A container that is started again and again never gets to a state that can be told to have failed.
            world.project.services.get_mut(&broken).unwrap().restart = String::new();
            let bench = Bench::new(&world);
            let report = bench.up().await;
            bench.only_dependants_are_missing(&broken, how == 2, &report);
        });
    }

    /// What is planned doesn't hang on the order in which things were observed.
    #[test]
    fn the_order_of_observation_changes_nothing(world in worlds()) {
        in_virtual_time(async {
            let bench = Bench::new(&world);
            bench.up().await;
            let mut observed = bench.observe().await;
            let (one, down) = (bench.plan_on(&observed, false), plan::plan_down(None, "p", &observed, &DownOptions::default()));
            observed.containers.reverse();
            observed.networks.reverse();
            observed.volumes.reverse();
            assert_eq!(one, bench.plan_on(&observed, false));
            assert_eq!(down, plan::plan_down(None, "p", &observed, &DownOptions::default()));
        });
    }
}

impl Bench {
    /// After `broken` has failed: whoever needs it can't have been started, all others must have been.
    fn only_dependants_are_missing(&self, broken: &str, ended: bool, report: &Report) {
        let services = &self.project.services;
        // With an exit code other than 0 only those are blocked that wait for success or health.
        let blocks = |need: &Dependency| need.required && (!ended || need.condition != Condition::Started);
        let mut blocked: BTreeSet<&str> = BTreeSet::new();
        if services[broken].replicas() > 0 {
            loop {
                let stuck = |name: &str| name == broken && !ended || blocked.contains(name);
                let more = services.iter().filter(|(name, s)| {
                    !blocked.contains(name.as_str())
                        && s.depends_on
                            .iter()
                            .any(|(other, need)| stuck(other) && need.required && services[other].replicas() > 0 || other == broken && blocks(need))
                });
                let more: Vec<&str> = more.map(|(name, _)| name.as_str()).collect();
                if more.is_empty() {
                    break;
                }
                blocked.extend(more);
            }
        }
        for (name, container) in &self.sim.snapshot().containers {
            let service = container.service.as_str();
            if service == broken {
                continue;
            }
            let started = container.starts > 0;
            if blocked.contains(service) {
                assert!(!started, "{name} was started although {broken} failed: {:?}", report.failures);
            } else {
                assert!(started, "{name} was not started although it doesn't need {broken}: {:?}", report.failures);
            }
        }
        for (name, service) in services.iter().filter(|(name, _)| *name != broken && !blocked.contains(name.as_str())) {
            let there = self.sim.snapshot().containers.values().filter(|c| c.service == *name).count();
            assert_eq!(there, usize::try_from(service.replicas()).unwrap(), "{name} doesn't need {broken}");
        }
    }

    /// What has begun and has not ended.
    fn unfinished(&self) -> usize {
        self.sim.records().iter().filter(|r| r.ended.is_none()).count()
    }
}

/// The time that `up` takes when nobody disturbs it.
async fn length_of_up(world: &World) -> std::time::Duration {
    let bench = Bench::new(world);
    let began = tokio::time::Instant::now();
    bench.up().await;
    began.elapsed()
}

proptest! {
    #![proptest_config(config(MOMENTS))]

    /// Ctrl-C at a random moment of a detached `up`: nothing begins after it, what was begun has ended, the exit code is
    /// 130, and another `up` completes the work.
    #[test]
    fn an_interrupted_up_ends_in_a_known_state(world in worlds(), moment in 0.0..1.0_f64) {
        in_virtual_time(async {
            let moment = length_of_up(&world).await.mul_f64(moment);
            let bench = Bench::new(&world);
            let (interrupter, interrupts) = interrupts();
            let sim = bench.sim.clone();
            let clicking = tokio::spawn(async move {
                tokio::time::sleep(moment).await;
                interrupter.interrupt();
                (sim.now(), interrupter)
            });
            let outcome = bench.up_until(&interrupts).await;
            let (clicked, _) = clicking.await.unwrap();
            match outcome {
                Err(run::Error::Interrupted) => {}
                Err(error) => panic!("{error:?}"),
                Ok(report) => {
                    assert!(report.failures.is_empty(), "{:?}", report.failures);
                    assert_eq!(report.exit(), if report.interrupted { Exit::Interrupted } else { Exit::Success });
                }
            }
            assert_eq!(bench.pulls_aside(), 0, "what was begun must have ended");
            let late: Vec<_> = bench.sim.records().into_iter().filter(|r| r.begun > clicked).collect();
            assert!(late.is_empty(), "begun after Ctrl-C: {late:?}");
            bench.up().await;
            let left: Vec<String> = ops(&bench.plan().await).into_iter().filter(|op| !op.starts_with("start ")).collect();
            assert!(left.is_empty(), "left to do: {left:?}");
        });
    }

    /// Ctrl-C at a random moment of an attached `up`: nothing of the project runs afterwards, exit code 130.
    #[test]
    fn an_interrupted_attached_up_stops_everything(world in worlds(), moment in 0.0..1.2_f64) {
        in_virtual_time(async {
            let moment = length_of_up(&world).await.mul_f64(moment);
            let bench = Bench::new(&world);
            let (interrupter, interrupts) = interrupts();
            let began = tokio::time::Instant::now();
            let clicking = tokio::spawn(async move {
                tokio::time::sleep_until(began + moment).await;
                interrupter.interrupt();
                interrupter
            });
            let all: BTreeSet<String> = bench.project.services.keys().cloned().collect();
            let request = UpRequest {
                query: plan::observe_query(&bench.project, &Selection::default()),
                attach: Some(Attach { shown: all.clone(), watched: all, ..Attach::default() }),
                wait_timeout: None,
            };
            let plan = async |observed: &Observed, fetched: bool| Ok(bench.plan_on(observed, fetched));
            let stop = |observed: &Observed| plan::plan_stop(Some(&bench.project), "p", observed, &StopOptions::default()).unwrap();
            let kill = |observed: &Observed| plan::plan_kill(Some(&bench.project), "p", observed, &plan::KillOptions::default()).unwrap();
            let outcome = run::up(&bench.context, &request, plan, stop, kill, &interrupts).await;
            let ended_before = !clicking.is_finished();
            drop(clicking.await.unwrap());
            match outcome {
                Err(run::Error::Interrupted) => {}
                Err(error) => panic!("{error:?}"),
                // It had nothing to watch, or all had ended before.
                Ok(ended) if ended_before => assert_eq!(ended.exit, Exit::Success),
                Ok(ended) => assert_eq!(ended.exit, Exit::Interrupted, "{:?}", ended.report),
            }
            if !ended_before {
                let running: Vec<String> = bench.sim.snapshot().containers.into_iter().filter(|(_, c)| c.state == State::Running).map(|(n, _)| n).collect();
                assert!(running.is_empty(), "still running after Ctrl-C at {moment:?}: {running:?}");
            }
        });
    }
}

proptest! {
    #![proptest_config(config(MOMENTS))]

    /// The engine goes away before a random op of `up`: it ends by itself with code 1, nothing begins afterwards, and
    /// when the engine is back another `up` completes the work.
    #[test]
    fn an_engine_that_goes_away_is_noticed(world in worlds(), nth in 0..40_usize, lose in any::<bool>()) {
        in_virtual_time(async {
            let bench = Bench::new(&world);
            let fault = if lose { Fault::LoseAnswer } else { Fault::Cut };
            let faulty = Arc::new(Faulty::new(Arc::new(bench.sim.clone())).with(1, fault, move |n, _| n == nth));
            let context = Context { engine: Arc::clone(&faulty) as Arc<dyn Engine>, ..bench.context.clone() };
            let broken = Bench { sim: bench.sim.clone(), project: bench.project.clone(), context };
            match broken.up_until(&Interrupts::never()).await {
                // It had fewer ops than that.
                Ok(report) if report.failures.is_empty() => {
                    assert!(bench.sim.records().len() <= nth, "the fault went unnoticed");
                    return;
                }
                Ok(report) => assert_eq!(report.exit(), Exit::Failure),
                Err(run::Error::Engine(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
            // What the engine had already been asked goes on there.
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            faulty.mend();
            let report = broken.up().await;
            assert!(report.failures.is_empty(), "{:?}", report.failures);
            let left: Vec<String> = ops(&bench.plan().await).into_iter().filter(|op| !op.starts_with("start ")).collect();
            assert!(left.is_empty(), "left to do: {left:?}");
        });
    }

    /// An op that never ends: the first Ctrl-C waits for it, the second leaves.
    #[test]
    fn two_interrupts_leave_a_hanging_engine(world in worlds(), nth in 0..10_usize) {
        in_virtual_time(async {
            let bench = Bench::new(&world);
            let faulty = Faulty::new(Arc::new(bench.sim.clone())).with(1, Fault::Hang, move |n, _| n == nth);
            let context = Context { engine: Arc::new(faulty), ..bench.context.clone() };
            let bench = Bench { context, ..bench };
            let (interrupter, interrupts) = interrupts();
            tokio::spawn(async move {
                for _ in 0..2 {
                    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
                    interrupter.interrupt();
                }
            });
            match bench.up_until(&interrupts).await {
                Ok(report) => assert!(matches!(report.exit(), Exit::Success | Exit::Interrupted), "{report:?}"),
                Err(error) => panic!("{error:?}"),
            }
        });
    }
}

impl Bench {
    /// How much has begun and not ended, but for pulls, which are dropped.
    fn pulls_aside(&self) -> usize {
        let pulls = self.sim.records().iter().filter(|r| r.ended.is_none() && matches!(r.op, Op::PullImage { .. })).count();
        self.unfinished() - pulls
    }
}

/// The generator makes what the properties speak of; without that they would hold of nothing.
#[test]
fn random_projects_are_not_all_alike() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..300 {
        let world = worlds().new_tree(&mut runner).unwrap().current();
        for service in world.project.services.values() {
            for need in service.depends_on.values() {
                *seen.entry(need.condition.as_str()).or_default() += 1;
                *seen.entry(if need.required { "required" } else { "optional" }).or_default() += 1;
            }
            *seen.entry(if service.replicas() > 1 { "many" } else { "few" }).or_default() += 1;
        }
    }
    let wanted = ["service_started", "service_healthy", "service_completed_successfully", "required", "optional", "many", "few"];
    assert!(wanted.iter().all(|w| seen.get(w).is_some_and(|n| *n > 50)), "{seen:?}");
    // The label that says whose a container is.
    assert_eq!(label::PROJECT, "com.docker.compose.project");
    assert!(Timestamp::default() < Sim::EPOCH);
}
