//! `up` on what is not there, and on what is there already.

use super::*;
use crate::world::State;

fn shop() -> Project {
    project([
        svc("db").checked().volume("data", "/data"),
        svc("migrate").on("db", Condition::Healthy),
        svc("api").on("db", Condition::Healthy).on("migrate", Condition::Completed).scaled(2),
        svc("web").started("api").port("8080", 80),
    ])
}

#[test]
fn a_first_up_creates_at_once_and_starts_behind_gates() {
    let project = shop();
    reads(
        &up(&project, &World::of(&project)),
        r"
 1  create network p_default                 no network yet
 2  create volume p_data                     no volume yet
 3  create container p-db-1                  no container yet  [after 1, 2]
 4  create container p-migrate-1             no container yet  [after 1]
 5  create container p-api-1                 no container yet  [after 1]
 6  create container p-api-2                 no container yet  [after 1]
 7  create container p-web-1                 no container yet  [after 1]
 8  start p-db-1                             it was created  [after 3]
 9  wait until p-db-1 is healthy             migrate waits for it  [after 8]
10  start p-migrate-1                        it was created  [after 4, 9]
11  wait until p-db-1 is healthy             api waits for it  [after 8]
12  wait until p-migrate-1 is done (exit 0)  api waits for it  [after 10]
13  start p-api-1                            it was created  [after 5, 11, 12]
14  start p-api-2                            it was created  [after 6, 11, 12]
15  start p-web-1                            it was created  [after 7, 13, 14]
1 network to create; 1 volume to create; 5 containers to create
",
    );
}

#[test]
fn an_unchanged_project_is_an_empty_plan() {
    let project = project([svc("db").checked().volume("data", "/data"), svc("web").on("db", Condition::Healthy).scaled(3)]);
    let world = World::up(&project);
    let plan = up(&project, &world);
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(plan.unchanged.len(), 4);
    reads(
        &plan,
        r"
4 containers unchanged
",
    );
}

#[test]
fn a_stopped_project_is_only_started() {
    let project = project([svc("db").checked(), svc("web").on("db", Condition::Healthy)]);
    let mut world = World::up(&project);
    world.set("p-db-1", State::Exited);
    world.set("p-web-1", State::Exited);
    reads(
        &up(&project, &world),
        r"
1  start p-db-1                  it is not running
2  wait until p-db-1 is healthy  web waits for it  [after 1]
3  start p-web-1                 it is not running  [after 2]
2 containers to start
",
    );
}

#[test]
fn jobs_that_are_done_run_again() {
    let project = shop();
    let world = World::up(&project);
    assert_eq!(world.states(), "p-api-1 running, p-api-2 running, p-db-1 running, p-migrate-1 exited, p-web-1 running");
    reads(
        &up(&project, &world),
        r"
1  wait until p-db-1 is healthy  migrate waits for it
2  start p-migrate-1             it is not running  [after 1]
1 container to start, 4 unchanged
",
    );
}

#[test]
fn a_changed_service_is_swapped_and_nothing_else_is_touched() {
    let old = project([svc("db"), svc("web").started("db")]);
    let world = World::up(&old);
    let new = old.after(|p| p.services.insert("web".into(), svc("web").started("db").env("A", "1")).map(drop).unwrap_or_default());
    let plan = up(&new, &world);
    reads(
        &plan,
        r"
1  create container 000000000003_p-web-1   configuration changed (config-hash label differs)
2  stop p-web-1                            makes room for the new one  [after 1]
3  remove container p-web-1                makes room for the new one  [after 2]
4  rename 000000000003_p-web-1 to p-web-1  it takes the place of the old one  [after 3]
5  start p-web-1                           it was recreated  [after 4]
1 container to recreate, 1 unchanged
",
    );
    let mut world = world;
    world.carry_out(&plan);
    assert!(up(&new, &world).is_empty());
}

#[test]
fn dependants_that_ask_for_it_are_stopped_before_and_started_after() {
    let old = project([
        svc("db").checked(),
        svc("api")
            .with(|s| _ = s.depends_on.insert("db".into(), Dependency { condition: Condition::Healthy, restart: true, ..Dependency::default() })),
        svc("web").restarting_with("api"),
        svc("cron").started("db"),
    ]);
    let mut world = World::up(&old);
    let new = old.after(|p| p.services.insert("db".into(), svc("db").checked().env("A", "1")).map(drop).unwrap_or_default());
    let plan = up(&new, &world);
    reads(
        &plan,
        r"
 1  create container 000000000002_p-db-1  configuration changed (config-hash label differs)
 2  stop p-web-1                          api is restarted, and `restart: true` asks for it
 3  stop p-api-1                          db is recreated, and `restart: true` asks for it  [after 2]
 4  stop p-db-1                           makes room for the new one  [after 1, 3]
 5  remove container p-db-1               makes room for the new one  [after 4]
 6  rename 000000000002_p-db-1 to p-db-1  it takes the place of the old one  [after 5]
 7  start p-db-1                          it was recreated  [after 6]
 8  wait until p-db-1 is healthy          api waits for it  [after 7]
 9  start p-api-1                         db is recreated, and `restart: true` asks for it  [after 3, 8]
10  start p-web-1                         api is restarted, and `restart: true` asks for it  [after 2, 9]
1 container to recreate, 2 to restart, 1 unchanged
",
    );
    world.carry_out(&plan);
    assert!(up(&new, &world).is_empty());
}

#[test]
fn dependants_outside_the_selection_are_restarted_too() {
    let old = project([svc("db"), svc("api").restarting_with("db")]);
    let world = World::up(&old);
    let new = old.after(|p| p.services.insert("db".into(), svc("db").env("A", "1")).map(drop).unwrap_or_default());
    reads(
        &up_with(&new, &world, &only(&["db"])),
        r"
1  create container 000000000002_p-db-1  configuration changed (config-hash label differs)
2  stop p-api-1                          db is recreated, and `restart: true` asks for it
3  stop p-db-1                           makes room for the new one  [after 1, 2]
4  remove container p-db-1               makes room for the new one  [after 3]
5  rename 000000000002_p-db-1 to p-db-1  it takes the place of the old one  [after 4]
6  start p-db-1                          it was recreated  [after 5]
7  start p-api-1                         db is recreated, and `restart: true` asks for it  [after 2, 6]
1 container to recreate, 1 to restart
",
    );
}

#[test]
fn an_image_of_another_content_recreates() {
    let project = project([svc("web")]);
    let mut world = World::up(&project);
    world.retag("web:1");
    reads(
        &up(&project, &world),
        r"
1  create container 000000000002_p-web-1   image web:1 changed (sha256:8724d338e126 → sha256:8fb4ec6f688a)
2  stop p-web-1                            makes room for the new one  [after 1]
3  remove container p-web-1                makes room for the new one  [after 2]
4  rename 000000000002_p-web-1 to p-web-1  it takes the place of the old one  [after 3]
5  start p-web-1                           it was recreated  [after 4]
1 container to recreate
",
    );
}

#[test]
fn scaling_up_fills_gaps() {
    let one = project([svc("web").scaled(3)]);
    let mut world = World::up(&one);
    world.observed.containers.retain(|c| c.name != "p-web-2");
    reads(
        &up(&one, &world),
        r"
1  create container p-web-2  web is scaled to 3
2  start p-web-2             it was created  [after 1]
1 container to create, 2 unchanged
",
    );
    let options = UpOptions::default().with(|o| _ = o.scale.insert("web".into(), 4));
    reads(
        &up_with(&one, &world, &options),
        r"
1  create container p-web-2  web is scaled to 4
2  create container p-web-4  web is scaled to 4
3  start p-web-2             it was created  [after 1]
4  start p-web-4             it was created  [after 2]
2 containers to create, 2 unchanged
",
    );
}

#[test]
fn scaling_down_removes_what_differs_first_and_then_the_highest_numbers() {
    let three = project([svc("web").scaled(3)]);
    let mut world = World::up(&three);
    world.container("p-web-1").labels.insert(crate::world::label::CONFIG_HASH.into(), "old".into());
    reads(
        &up(&project([svc("web").scaled(2)]), &world),
        r"
1  stop p-web-1              web is scaled to 2
2  remove container p-web-1  web is scaled to 2  [after 1]
1 container to remove, 2 unchanged
",
    );
    reads(
        &up(&project([svc("web")]), &world),
        r"
1  stop p-web-3              web is scaled to 1
2  stop p-web-1              web is scaled to 1
3  remove container p-web-1  web is scaled to 1  [after 2]
4  remove container p-web-3  web is scaled to 1  [after 1]
2 containers to remove, 1 unchanged
",
    );
    reads(
        &up(&project([svc("web").scaled(0)]), &world),
        r"
1  stop p-web-2              web is scaled to 0
2  stop p-web-3              web is scaled to 0
3  stop p-web-1              web is scaled to 0
4  remove container p-web-1  web is scaled to 0  [after 3]
5  remove container p-web-3  web is scaled to 0  [after 2]
6  remove container p-web-2  web is scaled to 0  [after 1]
3 containers to remove
",
    );
}

#[test]
fn nobody_waits_for_a_service_without_replicas() {
    let project = project([svc("db").checked().scaled(0), svc("web").on("db", Condition::Healthy)]);
    reads(
        &up(&project, &World::of(&project)),
        r"
1  create network p_default  no network yet
2  create container p-web-1  no container yet  [after 1]
3  start p-web-1             it was created  [after 2]
1 network to create; 1 container to create
",
    );
}

#[test]
fn force_recreate_is_for_the_named_services() {
    let project = project([svc("db"), svc("web").started("db")]);
    let world = World::up(&project);
    reads(
        &up_with(&project, &world, &only(&["web"]).with(|o| o.recreate = Recreate::Force)),
        r"
1  create container 000000000003_p-web-1   asked for (--force-recreate)
2  stop p-web-1                            makes room for the new one  [after 1]
3  remove container p-web-1                makes room for the new one  [after 2]
4  rename 000000000003_p-web-1 to p-web-1  it takes the place of the old one  [after 3]
5  start p-web-1                           it was recreated  [after 4]
1 container to recreate, 1 unchanged
",
    );
    reads(
        &up_with(&project, &world, &only(&["web"]).with(|o| o.always_recreate_deps = true)),
        r"
1  create container 000000000002_p-db-1  asked for (--always-recreate-deps)
2  stop p-db-1                           makes room for the new one  [after 1]
3  remove container p-db-1               makes room for the new one  [after 2]
4  rename 000000000002_p-db-1 to p-db-1  it takes the place of the old one  [after 3]
5  start p-db-1                          it was recreated  [after 4]
1 container to recreate, 1 unchanged
",
    );
}

#[test]
fn no_recreate_leaves_what_differs_and_creates_what_is_missing() {
    let old = project([svc("db")]);
    let world = World::up(&old).with_image("web:1");
    let new = project([svc("db").env("A", "1"), svc("web").started("db")]);
    reads(
        &up_with(&new, &world, &UpOptions { recreate: Recreate::Never, ..UpOptions::default() }),
        r"
1  create container p-web-1  no container yet
2  start p-web-1             it was created  [after 1]
1 container to create, 1 unchanged
",
    );
}

#[test]
fn no_start_creates_and_recreates_only() {
    let old = project([svc("db"), svc("api").restarting_with("db")]);
    let world = World::up(&old).with_image("web:1");
    let new = project([svc("db").env("A", "1"), svc("api").restarting_with("db"), svc("web")]);
    reads(
        &plan_create(&new, &world.observed, &docker(), &UpOptions::default(), &nowhere).unwrap(),
        r"
1  create container 000000000002_p-db-1  configuration changed (config-hash label differs)
2  create container p-web-1              no container yet
3  stop p-db-1                           makes room for the new one  [after 1]
4  remove container p-db-1               makes room for the new one  [after 3]
5  rename 000000000002_p-db-1 to p-db-1  it takes the place of the old one  [after 4]
1 container to create, 1 to recreate, 1 unchanged
",
    );
}

#[test]
fn no_deps_leaves_dependencies_alone() {
    let project = project([svc("db").checked(), svc("web").on("db", Condition::Healthy)]);
    let options = only(&["web"]).with(|o| o.selection.no_deps = true);
    reads(
        &up_with(&project, &World::of(&project), &options),
        r"
1  create network p_default  no network yet
2  create container p-web-1  no container yet  [after 1]
3  start p-web-1             it was created  [after 2]
1 network to create; 1 container to create
",
    );
}

#[test]
fn a_paused_container_is_resumed() {
    let project = project([svc("db"), svc("web").started("db")]);
    let mut world = World::up(&project);
    world.set("p-db-1", State::Paused);
    reads(
        &up(&project, &world),
        r"
1  unpause p-db-1  it is paused
1 container to resume, 1 unchanged
",
    );
}

#[test]
fn a_restarting_container_is_left_to_its_policy() {
    let project = project([svc("web").with(|s| s.restart = "always".into())]);
    let mut world = World::up(&project);
    world.set("p-web-1", State::Restarting);
    assert!(up(&project, &world).is_empty());
}

#[test]
fn a_dead_container_is_removed_before_it_is_created_anew() {
    let project = project([svc("web")]);
    let mut world = World::up(&project);
    world.set("p-web-1", State::Dead);
    reads(
        &up_with(&project, &world, &UpOptions { recreate: Recreate::Never, ..UpOptions::default() }),
        r"
1  remove container p-web-1  makes room for the new one
2  create container p-web-1  its container is dead  [after 1]
3  start p-web-1             it was recreated  [after 2]
1 container to recreate
",
    );
}

#[test]
fn orphans_are_named_or_removed() {
    let old = project([svc("web"), svc("gone")]);
    let world = World::up(&old);
    let new = project([svc("web")]);
    let plan = up(&new, &world);
    assert!(plan.is_empty());
    assert_eq!(
        notes(&plan),
        "orphans: found orphan containers (p-gone-1) of this project, whose services are not in the file / remove them with --remove-orphans"
    );
    assert_eq!(notes(&up_with(&new, &world, &UpOptions { ignore_orphans: true, ..UpOptions::default() })), "");
    reads(
        &up_with(&new, &world, &UpOptions { remove_orphans: true, timeout: Some(3), ..UpOptions::default() }),
        r"
1  stop p-gone-1              its service is not in the file
2  remove container p-gone-1  its service is not in the file  [after 1]
1 container to remove, 1 unchanged
",
    );
}

#[test]
fn services_without_their_profile_are_no_orphans() {
    let mut all = project([svc("web"), svc("debug")]);
    let world = World::up(&all);
    let debug = all.services.remove("debug").unwrap();
    all.disabled.insert("debug".into(), debug);
    let plan = up_with(&all, &world, &UpOptions { remove_orphans: true, ..UpOptions::default() });
    assert!(plan.is_empty() && plan.notes.is_empty(), "{plan}");
}

#[test]
fn ended_oneoff_containers_are_orphans_and_running_ones_are_not() {
    let project = project([svc("web")]);
    let mut world = World::up(&project);
    for (name, state) in [("p-web-run-1", State::Exited), ("p-web-run-2", State::Running)] {
        let mut oneoff = world.container("p-web-1").clone();
        (oneoff.name, oneoff.id, oneoff.state) = (name.into(), name.into(), state);
        oneoff.labels.insert(crate::world::label::ONEOFF.into(), "True".into());
        oneoff.labels.remove(crate::world::label::CONTAINER_NUMBER);
        world.observed.containers.push(oneoff);
    }
    reads(
        &up_with(&project, &world, &UpOptions { remove_orphans: true, ..UpOptions::default() }),
        r"
1  remove container p-web-run-1  its service is not in the file
1 container to remove, 1 unchanged
",
    );
}

#[test]
fn waiting_ends_with_a_gate_for_each_service() {
    let project = shop().with(|p| _ = p.services.insert("web".into(), svc("web").with(|s| s.restart = "always".into())));
    reads(
        &up_with(&project, &World::of(&project), &UpOptions { wait: true, ..UpOptions::default() }),
        r"
 1  create network p_default                                no network yet
 2  create volume p_data                                    no volume yet
 3  create container p-db-1                                 no container yet  [after 1, 2]
 4  create container p-migrate-1                            no container yet  [after 1]
 5  create container p-api-1                                no container yet  [after 1]
 6  create container p-api-2                                no container yet  [after 1]
 7  create container p-web-1                                no container yet  [after 1]
 8  start p-db-1                                            it was created  [after 3]
 9  wait until p-db-1 is healthy                            migrate waits for it  [after 8]
10  start p-migrate-1                                       it was created  [after 4, 9]
11  wait until p-db-1 is healthy                            api waits for it  [after 8]
12  wait until p-migrate-1 is done (exit 0)                 api waits for it  [after 10]
13  start p-api-1                                           it was created  [after 5, 11, 12]
14  start p-api-2                                           it was created  [after 6, 11, 12]
15  start p-web-1                                           it was created  [after 7]
16  wait until p-api-1, p-api-2 are ready or done (exit 0)  --wait  [after 13, 14]
17  wait until p-db-1 is ready or done (exit 0)             --wait  [after 8]
18  wait until p-migrate-1 is ready or done (exit 0)        --wait  [after 10]
19  wait until p-web-1 is ready                             --wait  [after 15]
1 network to create; 1 volume to create; 5 containers to create
",
    );
}

#[test]
fn hooks_come_after_starts_and_before_stops() {
    let hook = |command: &str| crate::model::Hook { command: Some(vec![command.into()]), ..crate::model::Hook::default() };
    let web = svc("web").with(|s| {
        s.post_start = vec![hook("one"), hook("two")];
        s.pre_stop = vec![hook("bye")];
    });
    let old = project([web.clone(), svc("after").started("web")]);
    let mut world = World::of(&old);
    let plan = up(&old, &world);
    reads(
        &plan,
        r"
1  create network p_default    no network yet
2  create container p-web-1    no container yet  [after 1]
3  create container p-after-1  no container yet  [after 1]
4  start p-web-1               it was created  [after 2]
5  run `one` in p-web-1        post_start hook  [after 4]
6  run `two` in p-web-1        post_start hook  [after 5]
7  start p-after-1             it was created  [after 3, 6]
1 network to create; 2 containers to create
",
    );
    world.carry_out(&plan);
    reads(
        &up(&project([web.env("A", "1"), svc("after").started("web")]), &world),
        r"
1  create container 000000000002_p-web-1   configuration changed (config-hash label differs)
2  run `bye` in p-web-1                    pre_stop hook  [after 1]
3  stop p-web-1                            makes room for the new one  [after 1, 2]
4  remove container p-web-1                makes room for the new one  [after 3]
5  rename 000000000002_p-web-1 to p-web-1  it takes the place of the old one  [after 4]
6  start p-web-1                           it was recreated  [after 5]
7  run `one` in p-web-1                    post_start hook  [after 6]
8  run `two` in p-web-1                    post_start hook  [after 7]
1 container to recreate, 1 unchanged
",
    );
}

#[test]
fn an_optional_gate_goes_on_when_it_fails() {
    let project = project([
        svc("cache").checked(),
        svc("log"),
        svc("web").optionally("cache", Condition::Healthy).optionally("log", Condition::Started).optionally("absent", Condition::Started),
    ]);
    let plan = up(&project, &World::of(&project));
    reads(
        &plan,
        r"
1  create network p_default                    no network yet
2  create container p-cache-1                  no container yet  [after 1]
3  create container p-log-1                    no container yet  [after 1]
4  create container p-web-1                    no container yet  [after 1]
5  start p-cache-1                             it was created  [after 2]
6  start p-log-1                               it was created  [after 3]
7  wait until p-cache-1 is healthy (optional)  web waits for it  [after 5]
8  wait until p-log-1 is started (optional)    web waits for it  [after 6]
9  start p-web-1                               it was created  [after 4, 7, 8]
1 network to create; 3 containers to create
",
    );
    let gates: Vec<_> = plan.nodes.iter().filter(|n| matches!(n.step, Step::Await(_))).collect();
    assert!(gates.iter().all(|n| n.lenient && n.upstream == Upstream::Proceed));
}

#[test]
fn ports_that_move_between_services_are_free_before_they_are_taken() {
    let old = project([svc("a").port("80", 80), svc("b").started("a")]);
    let world = World::up(&old);
    let new = project([svc("a"), svc("b").started("a").port("80", 80)]);
    reads(
        &up(&new, &world),
        r"
 1  create container 000000000002_p-a-1  configuration changed (config-hash label differs)
 2  create container 000000000003_p-b-1  configuration changed (config-hash label differs)
 3  stop p-b-1                           makes room for the new one  [after 2]
 4  stop p-a-1                           makes room for the new one  [after 1]
 5  remove container p-a-1               makes room for the new one  [after 4]
 6  rename 000000000002_p-a-1 to p-a-1   it takes the place of the old one  [after 5]
 7  remove container p-b-1               makes room for the new one  [after 3]
 8  rename 000000000003_p-b-1 to p-b-1   it takes the place of the old one  [after 7]
 9  start p-a-1                          it was recreated  [after 6]
10  start p-b-1                          it was recreated  [after 4, 8, 9]
2 containers to recreate
",
    );
    let other = project([svc("a").started("b"), svc("b").port("80", 80)]);
    reads(
        &up(&other, &world),
        r"
 1  create container 000000000003_p-b-1  configuration changed (config-hash label differs)
 2  create container 000000000002_p-a-1  configuration changed (config-hash label differs)
 3  stop p-a-1                           makes room for the new one  [after 2]
 4  stop p-b-1                           makes room for the new one  [after 1]
 5  remove container p-b-1               makes room for the new one  [after 4]
 6  rename 000000000003_p-b-1 to p-b-1   it takes the place of the old one  [after 5]
 7  remove container p-a-1               makes room for the new one  [after 3]
 8  rename 000000000002_p-a-1 to p-a-1   it takes the place of the old one  [after 7]
 9  start p-b-1                          it was recreated  [after 3, 6]
10  start p-a-1                          it was recreated  [after 8, 9]
2 containers to recreate
",
    );
}

#[test]
fn replicas_that_share_a_range_start_one_after_another() {
    let project = project([svc("web").scaled(3).port("8000-8010", 80)]);
    reads(
        &up(&project, &World::of(&project)),
        r"
1  create network p_default  no network yet
2  create container p-web-1  no container yet  [after 1]
3  create container p-web-2  no container yet  [after 1]
4  create container p-web-3  no container yet  [after 1]
5  start p-web-1             it was created  [after 2]
6  start p-web-2             it was created  [after 3, 5]
7  start p-web-3             it was created  [after 4, 6]
1 network to create; 3 containers to create
",
    );
}
