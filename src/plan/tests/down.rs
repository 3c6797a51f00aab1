//! `down`, with a file and without one.

use super::*;
use crate::model::Build;
use crate::world::{State, label};

fn options() -> DownOptions {
    DownOptions { volumes: true, ..DownOptions::default() }
}

fn down(project: &Project, world: &World, options: &DownOptions) -> Plan {
    plan_down(Some(project), "p", &world.observed, options).unwrap()
}

fn shop() -> Project {
    project([svc("db").volume("data", "/data").volume("", "/tmp"), svc("api").started("db").scaled(2), svc("web").started("api")])
}

#[test]
fn dependants_are_gone_before_what_they_depend_on() {
    let project = shop();
    let mut world = World::up(&project);
    let plan = down(&project, &world, &DownOptions { timeout: Some(1), ..DownOptions::default() });
    reads(
        &plan,
        r"
1  stop p-web-1              down
2  remove container p-web-1  down  [after 1]
3  stop p-api-1              down  [after 2]
4  remove container p-api-1  down  [after 3]
5  stop p-api-2              down  [after 2]
6  remove container p-api-2  down  [after 5]
7  stop p-db-1               down  [after 4, 6]
8  remove container p-db-1   down  [after 7]
9  remove network p_default  down  [after 2, 4, 6, 8]
1 network to remove; 4 containers to remove
",
    );
    assert!(plan.nodes.iter().filter(|n| n.step.verb() != "remove container").all(|n| n.upstream == Upstream::Proceed), "teardown goes on");
    world.carry_out(&plan);
    assert_eq!((world.states().as_str(), world.observed.networks.len(), world.observed.volumes.len()), ("", 0, 1));
}

#[test]
fn without_a_file_labels_say_as_much() {
    let project = shop();
    let world = World::up(&project);
    let with_file = down(&project, &world, &options());
    let without = plan_down(None, "p", &world.observed, &options()).unwrap();
    assert_eq!(with_file, without);
    reads(
        &without,
        r"
 1  stop p-web-1                                         down
 2  remove container p-web-1 with its anonymous volumes  down  [after 1]
 3  stop p-api-1                                         down  [after 2]
 4  remove container p-api-1 with its anonymous volumes  down  [after 3]
 5  stop p-api-2                                         down  [after 2]
 6  remove container p-api-2 with its anonymous volumes  down  [after 5]
 7  stop p-db-1                                          down  [after 4, 6]
 8  remove container p-db-1 with its anonymous volumes   down  [after 7]
 9  remove network p_default                             down  [after 2, 4, 6, 8]
10  remove volume p_data                                 down --volumes  [after 8]
1 network to remove; 1 volume to remove; 4 containers to remove
",
    );
}

#[test]
fn what_does_not_run_is_only_removed() {
    let project = project([svc("a"), svc("b").started("a")]);
    let mut world = World::up(&project);
    world.set("p-a-1", State::Exited);
    world.set("p-b-1", State::Created);
    reads(
        &down(&project, &world, &DownOptions::default()),
        r"
1  remove container p-b-1    down
2  remove container p-a-1    down  [after 1]
3  remove network p_default  down  [after 1, 2]
1 network to remove; 2 containers to remove
",
    );
}

#[test]
fn only_what_is_named_goes_and_its_network_if_nobody_else_is_there() {
    let project = shop();
    let world = World::up(&project);
    let only = |services: &[&str]| DownOptions { services: services.iter().map(|s| (*s).to_owned()).collect(), ..options() };
    reads(
        &down(&project, &world, &only(&["api"])),
        r"
1  stop p-api-1                                         down
2  remove container p-api-1 with its anonymous volumes  down  [after 1]
3  stop p-api-2                                         down
4  remove container p-api-2 with its anonymous volumes  down  [after 3]
2 containers to remove
",
    );
    reads(
        &down(&project, &world, &only(&["web", "db", "api"])),
        r"
 1  stop p-web-1                                         down
 2  remove container p-web-1 with its anonymous volumes  down  [after 1]
 3  stop p-api-1                                         down  [after 2]
 4  remove container p-api-1 with its anonymous volumes  down  [after 3]
 5  stop p-api-2                                         down  [after 2]
 6  remove container p-api-2 with its anonymous volumes  down  [after 5]
 7  stop p-db-1                                          down  [after 4, 6]
 8  remove container p-db-1 with its anonymous volumes   down  [after 7]
 9  remove network p_default                             down  [after 2, 4, 6, 8]
10  remove volume p_data                                 down --volumes  [after 8]
1 network to remove; 1 volume to remove; 4 containers to remove
",
    );
    assert_eq!(
        faults(plan_down(Some(&project), "p", &world.observed, &only(&["dbb"]))),
        "no-such-service: no such service: dbb / did you mean `db`?"
    );
    assert_eq!(faults(plan_down(None, "p", &world.observed, &only(&["dbb"]))), "no-such-service: no such service: dbb / did you mean `db`?");
}

#[test]
fn external_and_foreign_things_are_never_removed() {
    let project = project([svc("db").volume("data", "/data").volume("kept", "/kept")]).with(|p| {
        *p.networks.get_mut("default").unwrap() = Network { name: "shared".into(), external: true, ..Network::default() };
        *p.volumes.get_mut("kept").unwrap() = Volume { name: "kept".into(), external: true, ..Volume::default() };
    });
    let mut world = World::of(&project);
    world.observed.networks.push(crate::world::NetworkState { id: "n".into(), name: "shared".into(), ..Default::default() });
    world.observed.volumes.push(crate::world::VolumeState { name: "kept".into(), ..Default::default() });
    world.observed.volumes.push(crate::world::VolumeState { name: "p_data".into(), ..Default::default() });
    let plan = up(&project, &world);
    world.carry_out(&plan);
    let plan = down(&project, &world, &options());
    reads(
        &plan,
        r"
1  stop p-db-1                                         down
2  remove container p-db-1 with its anonymous volumes  down  [after 1]
1 container to remove
",
    );
    assert_eq!(
        notes(&plan),
        "foreign-volume: volume p_data stays: it was not created for this project / say `external: true` if it is somebody else's"
    );
    assert!(plan_down(None, "p", &world.observed, &options()).unwrap().nodes.iter().all(|n| n.step.verb() != "remove volume"));
}

#[test]
fn orphans_and_oneoffs_stay_and_so_does_their_network() {
    let world = World::up(&project([svc("web"), svc("gone")]));
    let project = project([svc("web")]);
    let plan = down(&project, &world, &DownOptions::default());
    reads(
        &plan,
        r"
1  stop p-web-1              down
2  remove container p-web-1  down  [after 1]
1 container to remove
",
    );
    assert_eq!(
        notes(&plan),
        "network-in-use: network p_default stays: it is still used by p-gone-1 / remove such containers too with --remove-orphans"
    );
    reads(
        &down(&project, &world, &DownOptions { remove_orphans: true, ..DownOptions::default() }),
        r"
1  stop p-web-1               down
2  remove container p-web-1   down  [after 1]
3  stop p-gone-1              its service is not in the file
4  remove container p-gone-1  its service is not in the file  [after 3]
5  remove network p_default   down  [after 2, 4]
1 network to remove; 2 containers to remove
",
    );
}

#[test]
fn containers_of_other_profiles_are_named_and_go_with_the_orphans() {
    let mut all = project([svc("web"), svc("debug")]);
    let world = World::up(&all);
    let debug = all.services.remove("debug").unwrap();
    all.disabled.insert("debug".into(), debug);
    let plan = down(&all, &world, &DownOptions::default());
    assert_eq!(
        notes(&plan),
        "network-in-use: network p_default stays: it is still used by p-debug-1 / remove such containers too with --remove-orphans\n\
         profiles-left: containers of services that no active profile enables stay: p-debug-1 / remove them with --profile, or with --remove-orphans"
    );
    let plan = down(&all, &world, &DownOptions { remove_orphans: true, ..DownOptions::default() });
    assert!(plan.notes.is_empty());
    assert!(plan.to_string().contains("remove container p-debug-1"));
}

#[test]
fn anonymous_volumes_that_were_handed_on_are_removed_too() {
    let old = project([svc("db").volume("", "/scratch")]);
    let mut world = World::up(&old);
    let new = project([svc("db").volume("", "/scratch").env("A", "1")]);
    let plan = up(&new, &world);
    world.carry_out(&plan);
    reads(
        &down(&new, &world, &options()),
        r"
1  stop p-db-1                                                   down
2  remove container p-db-1 with its anonymous volumes            down  [after 1]
3  remove network p_default                                      down  [after 2]
4  remove volume ab1eed52f817685d4f3e2697e077100bac9bec3487286e894d897ab42da335d8  anonymous volume of a container that was recreated  [after 2]
1 network to remove; 1 volume to remove; 1 container to remove
",
    );
    assert!(down(&new, &world, &DownOptions::default()).nodes.iter().all(|n| n.step.verb() != "remove volume"));
}

#[test]
fn volumes_that_left_the_file_stay_and_are_named() {
    let world = World::up(&project([svc("db").volume("old", "/data")]));
    let new = project([svc("db").volume("new", "/data")]);
    let plan = down(&new, &world, &options());
    assert_eq!(notes(&plan), "volumes-left: volumes that are no longer in the file stay: p_old");
}

#[test]
fn images_go_after_their_containers() {
    let built = svc("app").with(|s| (s.image, s.build) = (String::new(), Some(Build::default())));
    let named = svc("api").with(|s| s.build = Some(Build::default()));
    let project = project([built, named, svc("web")]);
    let world = World::up(&project);
    reads(
        &down(&project, &world, &DownOptions { images: Some(RemoveImages::Local), ..DownOptions::default() }),
        r"
1  stop p-web-1              down
2  remove container p-web-1  down  [after 1]
3  stop p-app-1              down
4  remove container p-app-1  down  [after 3]
5  stop p-api-1              down
6  remove container p-api-1  down  [after 5]
7  remove network p_default  down  [after 2, 4, 6]
8  remove image p-app        down --rmi  [after 4]
1 network to remove; 1 image to remove; 3 containers to remove
",
    );
    let all = DownOptions { images: Some(RemoveImages::All), ..DownOptions::default() };
    reads(
        &down(&project, &world, &all),
        r"
 1  stop p-web-1              down
 2  remove container p-web-1  down  [after 1]
 3  stop p-app-1              down
 4  remove container p-app-1  down  [after 3]
 5  stop p-api-1              down
 6  remove container p-api-1  down  [after 5]
 7  remove network p_default  down  [after 2, 4, 6]
 8  remove image api:1        down --rmi  [after 6]
 9  remove image p-app        down --rmi  [after 4]
10  remove image web:1        down --rmi  [after 2]
1 network to remove; 3 images to remove; 3 containers to remove
",
    );
    assert_eq!(down(&project, &world, &all), plan_down(None, "p", &world.observed, &all).unwrap());
}

#[test]
fn hooks_run_before_a_stop_and_their_failure_is_a_warning() {
    let hook = crate::model::Hook { command: Some(vec!["drain".into()]), ..crate::model::Hook::default() };
    let project = project([svc("web").with(|s| s.pre_stop = vec![hook])]);
    let plan = down(&project, &World::up(&project), &DownOptions::default());
    reads(
        &plan,
        r"
1  run `drain` in p-web-1    pre_stop hook
2  stop p-web-1              down  [after 1]
3  remove container p-web-1  down  [after 2]
4  remove network p_default  down  [after 3]
1 network to remove; 1 container to remove
",
    );
    assert!(plan.nodes[0].lenient && !plan.nodes[1].lenient);
}

#[test]
fn nothing_to_remove_is_said() {
    let plan = down(&shop(), &World::bare(), &options());
    assert!(plan.is_empty());
    assert_eq!(notes(&plan), "nothing-to-remove: no resource found to remove for project \"p\"");
}

#[test]
fn two_networks_of_one_name_are_told_apart_by_their_ids() {
    let project = project([svc("web")]);
    let mut world = World::up(&project);
    let mut twin = world.observed.networks[0].clone();
    twin.id = "twin".into();
    world.observed.networks.push(twin);
    let plan = down(&project, &world, &DownOptions::default());
    let removed: Vec<_> = plan
        .nodes
        .iter()
        .filter_map(|n| {
            if let Step::Do(crate::world::Op::RemoveNetwork { id, .. }) = &n.step { Some((id.clone().unwrap(), n.after.len())) } else { None }
        })
        .collect();
    assert_eq!(removed, [(world.observed.networks[0].id.clone(), 1), ("twin".to_owned(), 0)]);
    assert_eq!(world.observed.networks[0].labels.get(label::NETWORK).map(String::as_str), Some("default"));
}
