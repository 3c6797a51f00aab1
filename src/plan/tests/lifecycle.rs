//! stop, start, restart, kill, rm.

use super::*;
use crate::model::Hook;
use crate::world::State;

fn shop() -> Project {
    project([
        svc("db").checked(),
        svc("migrate").on("db", Condition::Healthy),
        svc("api").on("migrate", Condition::Completed).restarting_with("db"),
        svc("web").restarting_with("api"),
        svc("cron").started("db"),
    ])
}

fn stop(services: &[&str]) -> StopOptions {
    StopOptions { services: services.iter().map(|s| (*s).to_owned()).collect(), timeout: None }
}

#[test]
fn a_stop_goes_from_dependants_to_dependencies() {
    let project = shop();
    let mut world = World::up(&project);
    let plan = plan_stop(Some(&project), "p", &world.observed, &stop(&[])).unwrap();
    reads(
        &plan,
        r"
1  stop p-web-1   stop
2  stop p-api-1   stop  [after 1]
3  stop p-cron-1  stop
4  stop p-db-1    stop  [after 2, 3]
4 containers to stop
",
    );
    assert_eq!(plan, plan_stop(None, "p", &world.observed, &stop(&[])).unwrap());
    world.carry_out(&plan);
    assert!(plan_stop(Some(&project), "p", &world.observed, &stop(&[])).unwrap().is_empty());
}

#[test]
fn the_order_of_stopping_goes_through_what_is_down() {
    let project = project([svc("db"), svc("api").started("db"), svc("web").started("api")]);
    let mut world = World::up(&project);
    world.set("p-api-1", State::Exited);
    reads(
        &plan_stop(Some(&project), "p", &world.observed, &stop(&[])).unwrap(),
        r"
1  stop p-web-1  stop
2  stop p-db-1   stop  [after 1]
2 containers to stop
",
    );
}

#[test]
fn a_stop_of_one_leaves_its_dependants() {
    let project = shop();
    let world = World::up(&project);
    reads(
        &plan_stop(Some(&project), "p", &world.observed, &stop(&["db"])).unwrap(),
        r"
1  stop p-db-1  stop
1 container to stop
",
    );
    assert_eq!(faults(plan_stop(Some(&project), "p", &world.observed, &stop(&["x"]))).lines().count(), 1);
}

#[test]
fn hooks_frame_stop_and_restart() {
    let hook = |command: &str| Hook { command: Some(vec![command.into()]), ..Hook::default() };
    let web = svc("web").with(|s| (s.pre_stop, s.post_start) = (vec![hook("bye"), hook("ciao")], vec![hook("hello")]));
    let project = project([web]);
    let mut world = World::up(&project);
    reads(
        &plan_stop(Some(&project), "p", &world.observed, &stop(&[])).unwrap(),
        r"
1  run `bye` in p-web-1   pre_stop hook
2  run `ciao` in p-web-1  pre_stop hook  [after 1]
3  stop p-web-1           stop  [after 1, 2]
1 container to stop
",
    );
    reads(
        &plan_restart(Some(&project), "p", &world.observed, &RestartOptions::default()).unwrap(),
        r"
1  run `bye` in p-web-1    pre_stop hook
2  run `ciao` in p-web-1   pre_stop hook  [after 1]
3  restart p-web-1         restart  [after 1, 2]
4  run `hello` in p-web-1  post_start hook  [after 3]
1 container to restart
",
    );
    world.set("p-web-1", State::Paused);
    reads(
        &plan_stop(Some(&project), "p", &world.observed, &stop(&[])).unwrap(),
        r"
1  stop p-web-1  stop
1 container to stop
",
    );
}

#[test]
fn a_start_takes_dependencies_along_and_waits_at_their_gates() {
    let project = shop();
    let mut world = World::up(&project);
    let plan = plan_stop(Some(&project), "p", &world.observed, &stop(&[])).unwrap();
    world.carry_out(&plan);
    let options = StartOptions { services: vec!["api".into()], wait: false };
    let plan = plan_start(Some(&project), "p", &world.observed, &options, &nowhere).unwrap();
    reads(
        &plan,
        r"
1  start p-db-1                             it is not running
2  wait until p-db-1 is healthy             migrate waits for it  [after 1]
3  start p-migrate-1                        it is not running  [after 2]
4  wait until p-migrate-1 is done (exit 0)  api waits for it  [after 3]
5  start p-api-1                            it is not running  [after 1, 4]
3 containers to start
",
    );
    let labels = plan_start(None, "p", &world.observed, &options, &nowhere).unwrap();
    reads(
        &labels,
        r"
1  start p-db-1                                        it is not running
2  wait until p-db-1 is healthy (optional)             migrate waits for it  [after 1]
3  start p-migrate-1                                   it is not running  [after 2]
4  wait until p-db-1 is started (optional)             api waits for it  [after 1]
5  wait until p-migrate-1 is done (exit 0) (optional)  api waits for it  [after 3]
6  start p-api-1                                       it is not running  [after 4, 5]
3 containers to start
",
    );
    world.carry_out(&plan);
    let options = StartOptions { wait: true, ..StartOptions::default() };
    reads(
        &plan_start(Some(&project), "p", &world.observed, &options, &nowhere).unwrap(),
        r"
1  start p-cron-1                                    it is not running
2  wait until p-db-1 is healthy                      migrate waits for it
3  start p-migrate-1                                 it is not running  [after 2]
4  start p-web-1                                     it is not running
5  wait until p-api-1 is ready or done (exit 0)      --wait
6  wait until p-cron-1 is ready or done (exit 0)     --wait  [after 1]
7  wait until p-db-1 is ready or done (exit 0)       --wait
8  wait until p-migrate-1 is ready or done (exit 0)  --wait  [after 3]
9  wait until p-web-1 is ready or done (exit 0)      --wait  [after 4]
3 containers to start
",
    );
}

#[test]
fn there_must_be_something_to_start() {
    let project = project([svc("a"), svc("b").scaled(0)]);
    let nothing = plan_start(Some(&project), "p", &World::bare().observed, &StartOptions::default(), &nowhere);
    assert_eq!(faults(nothing), "no-container: service \"a\" has no container to start / `consort up -d a` creates and starts one");
}

#[test]
fn a_restart_takes_those_along_who_ask_for_it() {
    let project = shop();
    let mut world = World::up(&project);
    let restart =
        |services: &[&str], no_deps| RestartOptions { services: services.iter().map(|s| (*s).to_owned()).collect(), no_deps, timeout: Some(2) };
    let plan = plan_restart(Some(&project), "p", &world.observed, &restart(&["db"], false)).unwrap();
    reads(
        &plan,
        r"
1  restart p-db-1   restart
2  restart p-api-1  db is restarted, and `restart: true` asks for it  [after 1]
3  restart p-web-1  api is restarted, and `restart: true` asks for it  [after 2]
3 containers to restart
",
    );
    reads(
        &plan_restart(None, "p", &world.observed, &restart(&["db"], false)).unwrap(),
        r"
1  restart p-db-1                            restart
2  wait until p-db-1 is started (optional)   api waits for it  [after 1]
3  restart p-api-1                           db is restarted, and `restart: true` asks for it  [after 2]
4  wait until p-api-1 is started (optional)  web waits for it  [after 3]
5  restart p-web-1                           api is restarted, and `restart: true` asks for it  [after 4]
3 containers to restart
",
    );
    reads(
        &plan_restart(Some(&project), "p", &world.observed, &restart(&["db"], true)).unwrap(),
        r"
1  restart p-db-1  restart
1 container to restart
",
    );
    reads(
        &plan_restart(Some(&project), "p", &world.observed, &restart(&[], false)).unwrap(),
        r"
1  restart p-db-1       restart
2  restart p-cron-1     restart
3  restart p-migrate-1  restart
4  restart p-api-1      restart  [after 1]
5  restart p-web-1      restart  [after 4]
5 containers to restart
",
    );
    world.set("p-api-1", State::Exited);
    reads(
        &plan_restart(Some(&project), "p", &world.observed, &restart(&["db"], false)).unwrap(),
        r"
1  restart p-db-1  restart
1 container to restart
",
    );
}

#[test]
fn kill_is_for_what_runs() {
    let all = project([svc("a"), svc("b"), svc("gone")]);
    let mut world = World::up(&all);
    world.set("p-b-1", State::Exited);
    let project = project([svc("a"), svc("b")]);
    reads(
        &plan_kill(Some(&project), "p", &world.observed, &KillOptions::default()).unwrap(),
        r"
1  kill p-a-1 (SIGKILL)  kill
1 container to kill
",
    );
    let options = KillOptions { signal: "HUP".into(), remove_orphans: true, ..KillOptions::default() };
    reads(
        &plan_kill(Some(&project), "p", &world.observed, &options).unwrap(),
        r"
1  kill p-a-1 (HUP)     kill
2  kill p-gone-1 (HUP)  kill
2 containers to kill
",
    );
    let options = KillOptions { services: vec!["b".into()], ..KillOptions::default() };
    assert!(plan_kill(Some(&project), "p", &world.observed, &options).unwrap().is_empty());
}

#[test]
fn rm_is_for_what_does_not_run() {
    let project = project([svc("a").volume("", "/x"), svc("b").started("a")]);
    let mut world = World::up(&project);
    world.set("p-a-1", State::Exited);
    reads(
        &plan_rm(Some(&project), "p", &world.observed, &RmOptions { volumes: true, ..RmOptions::default() }).unwrap(),
        r"
1  remove container p-a-1 with its anonymous volumes  rm
1 container to remove
",
    );
    reads(
        &plan_rm(Some(&project), "p", &world.observed, &RmOptions { stop: true, ..RmOptions::default() }).unwrap(),
        r"
1  stop p-b-1              stop
2  remove container p-a-1  rm
3  remove container p-b-1  rm  [after 1]
2 containers to remove
",
    );
}

#[test]
fn rm_removes_anonymous_volumes_that_were_handed_on() {
    let old = project([svc("a").volume("", "/x")]);
    let mut world = World::up(&old);
    let new = project([svc("a").volume("", "/x").env("A", "1")]);
    let plan = up(&new, &world);
    world.carry_out(&plan);
    world.set("p-a-1", State::Exited);
    let plan = plan_rm(Some(&new), "p", &world.observed, &RmOptions { volumes: true, ..RmOptions::default() }).unwrap();
    assert_eq!(plan.nodes.iter().map(|n| n.step.verb()).collect::<Vec<_>>(), ["remove container", "remove volume"]);
}
