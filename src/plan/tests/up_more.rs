//! `up` and networks, volumes, namespaces, images, secrets, and what it refuses.

use super::*;
use crate::model::{Build, Config, FileReference, Secret, ServiceNetwork};
use crate::units::Timestamp;
use crate::world::{State, label};

fn changed(service: Service) -> Service {
    service.env("CHANGED", "1")
}

#[test]
fn a_network_with_another_configuration_takes_its_containers_along() {
    let old = project([svc("db"), svc("web").started("db")]);
    let mut world = World::up(&old);
    let new = old.after(|p| p.networks.get_mut("default").unwrap().internal = true);
    let plan = up_with(&new, &world, &only(&["web"]));
    reads(
        &plan,
        r"
 1  stop p-web-1              makes room for the new one
 2  stop p-db-1               makes room for the new one
 3  remove container p-db-1   makes room for the new one  [after 2]
 4  remove container p-web-1  makes room for the new one  [after 1]
 5  remove network p_default  its configuration changed (config-hash label differs)  [after 3, 4]
 6  create network p_default  its configuration changed (config-hash label differs)  [after 5]
 7  create container p-db-1   its network p_default is made anew  [after 3, 6]
 8  create container p-web-1  its network p_default is made anew  [after 4, 6]
 9  start p-db-1              it was recreated  [after 7]
10  start p-web-1             it was recreated  [after 8, 9]
1 network to recreate; 2 containers to recreate
",
    );
    world.carry_out(&plan);
    assert!(up(&new, &world).is_empty());
}

#[test]
fn services_outside_the_selection_on_a_lost_network_go_back_to_what_they_were() {
    let old = project([svc("a"), svc("b"), svc("c")]);
    let mut world = World::up(&old);
    world.set("p-c-1", State::Exited);
    let new = old.after(|p| p.networks.get_mut("default").unwrap().internal = true);
    reads(
        &up_with(&new, &world, &only(&["a"])),
        r"
 1  stop p-b-1                makes room for the new one
 2  stop p-a-1                makes room for the new one
 3  remove container p-a-1    makes room for the new one  [after 2]
 4  remove container p-b-1    makes room for the new one  [after 1]
 5  remove container p-c-1    makes room for the new one
 6  remove network p_default  its configuration changed (config-hash label differs)  [after 3, 4, 5]
 7  create network p_default  its configuration changed (config-hash label differs)  [after 6]
 8  create container p-a-1    its network p_default is made anew  [after 3, 7]
 9  create container p-b-1    its network p_default is made anew  [after 4, 7]
10  create container p-c-1    its network p_default is made anew  [after 5, 7]
11  start p-a-1               it was recreated  [after 8]
12  start p-b-1               it was recreated  [after 9]
1 network to recreate; 3 containers to recreate
",
    );
}

#[test]
fn an_orphan_on_a_lost_network_is_carried_over() {
    let old = project([svc("a"), svc("gone")]);
    let world = World::up(&old);
    let new = project([svc("a")]).with(|p| p.networks.get_mut("default").unwrap().internal = true);
    reads(
        &up(&new, &world),
        r"
1  stop p-a-1                          makes room for the new one
2  remove container p-a-1              makes room for the new one  [after 1]
3  disconnect p-gone-1 from p_default  its network is made anew
4  remove network p_default            its configuration changed (config-hash label differs)  [after 2, 3]
5  create network p_default            its configuration changed (config-hash label differs)  [after 4]
6  connect p-gone-1 to p_default       it was connected to it before  [after 5]
7  create container p-a-1              its network p_default is made anew  [after 2, 5]
8  start p-a-1                         it was recreated  [after 7]
1 network to recreate; 1 container to recreate
",
    );
}

#[test]
fn no_recreate_keeps_a_network_that_differs() {
    let old = project([svc("a")]);
    let world = World::up(&old);
    let new = old.after(|p| p.networks.get_mut("default").unwrap().internal = true);
    let plan = up_with(&new, &world, &UpOptions { recreate: Recreate::Never, ..UpOptions::default() });
    assert!(plan.is_empty());
    assert_eq!(notes(&plan), "network-diverged: network \"p_default\" exists with another configuration and stays as it is (--no-recreate)");
}

#[test]
fn a_volume_with_another_configuration_is_kept_unless_its_loss_is_agreed_to() {
    let old = project([svc("db").volume("data", "/data"), svc("web").started("db")]);
    let mut world = World::up(&old);
    let new = old.after(|p| _ = p.volumes.get_mut("data").unwrap().driver_opts.insert("type".into(), "tmpfs".into()));
    let plan = up(&new, &world);
    reads(
        &plan,
        r#"
?  Volume "p_data" exists but doesn't match configuration in compose file. Recreate (data will be lost)? Without a yes it is used as it is.
2 containers unchanged
"#,
    );
    let accepted = plan.hazards.iter().map(|h| h.kind.clone()).collect();
    let plan = up_with(&new, &world, &UpOptions { accepted, ..UpOptions::default() });
    reads(
        &plan,
        r"
1  stop p-db-1              makes room for the new one
2  remove container p-db-1  makes room for the new one  [after 1]
3  remove volume p_data     its configuration changed, and losing its data was agreed to  [after 2]
4  create volume p_data     its configuration changed, and losing its data was agreed to  [after 3]
5  create container p-db-1  its volume p_data is made anew  [after 2, 4]
6  start p-db-1             it was recreated  [after 5]
1 volume to recreate; 1 container to recreate, 1 unchanged
",
    );
    assert_eq!(plan, up_with(&new, &world, &UpOptions { accept_all: true, ..UpOptions::default() }));
    world.carry_out(&plan);
    assert!(up(&new, &world).is_empty());
}

#[test]
fn a_container_without_an_expected_network_or_volume_is_recreated() {
    let project = project([svc("db").volume("data", "/data")]);
    let mut world = World::up(&project);
    world.container("p-db-1").networks.clear();
    reads(
        &up(&project, &world),
        r"
1  create container 000000000002_p-db-1  it is not connected to network p_default
2  stop p-db-1                           makes room for the new one  [after 1]
3  remove container p-db-1               makes room for the new one  [after 2]
4  rename 000000000002_p-db-1 to p-db-1  it takes the place of the old one  [after 3]
5  start p-db-1                          it was recreated  [after 4]
1 container to recreate
",
    );
    let mut world = World::up(&project);
    world.container("p-db-1").mounts.clear();
    reads(
        &up(&project, &world),
        r"
1  create container 000000000002_p-db-1  volume p_data is not mounted
2  stop p-db-1                           makes room for the new one  [after 1]
3  remove container p-db-1               makes room for the new one  [after 2]
4  rename 000000000002_p-db-1 to p-db-1  it takes the place of the old one  [after 3]
5  start p-db-1                          it was recreated  [after 4]
1 container to recreate
",
    );
}

#[test]
fn things_of_others_are_used_with_a_warning() {
    let project = project([svc("db").volume("data", "/data")]);
    let mut world = World::up(&project);
    world.observed.networks[0].labels.clear();
    world.observed.volumes[0].labels.insert(label::PROJECT.into(), "other".into());
    let plan = up(&project, &world);
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(
        notes(&plan),
        "foreign-network: network \"p_default\" was not created for this project; it is used as it is and never removed / say `external: true` if that is meant\n\
         foreign-volume: volume \"p_data\" was created for project \"other\"; it is used as it is and never removed / say `external: true` if that is meant"
    );
    assert_eq!(place(&project, &world, &UpOptions::default()), "networks.default");
}

#[test]
fn external_things_must_be_there() {
    let project = project([svc("db").volume("data", "/data")]).with(|p| {
        *p.networks.get_mut("default").unwrap() = Network { name: "shared".into(), external: true, ..Network::default() };
        *p.volumes.get_mut("data").unwrap() = Volume { name: "kept".into(), external: true, ..Volume::default() };
    });
    let mut world = World::of(&project);
    assert_eq!(
        faults(try_up(&project, &world, &UpOptions::default())),
        "external-missing: network \"shared\" is declared as external, but it can't be found / create it (`docker network create shared`), or take `external` out\n\
         external-missing: volume \"kept\" is declared as external, but it can't be found / create it (`docker volume create kept`), or take `external` out"
    );
    world.observed.networks.push(crate::world::NetworkState { id: "n1".into(), name: "shared".into(), ..Default::default() });
    world.observed.volumes.push(crate::world::VolumeState { name: "kept".into(), ..Default::default() });
    reads(
        &up(&project, &world),
        r"
1  create container p-db-1  no container yet
2  start p-db-1             it was created  [after 1]
1 container to create
",
    );
    world.observed.networks.push(crate::world::NetworkState { id: "n2".into(), name: "shared".into(), ..Default::default() });
    assert_eq!(
        faults(try_up(&project, &world, &UpOptions::default())),
        "ambiguous-network: there are 2 networks called \"shared\" / give the id of the right one as `name:`"
    );
}

#[test]
fn anonymous_volumes_stay_with_the_replica() {
    let db = svc("db").volume("", "/scratch").volume("data", "/named");
    let old = project([db.clone()]);
    let mut world = World::of(&old);
    world.image("db:1").volumes = vec!["/image".into(), "/named".into()];
    let plan = up(&old, &world);
    world.carry_out(&plan);
    let before: Vec<_> = world.container("p-db-1").mounts.iter().map(|m| (m.target.clone(), m.name.clone())).collect();
    let new = project([changed(db)]);
    let plan = up(&new, &world);
    world.carry_out(&plan);
    let after: Vec<_> = world.container("p-db-1").mounts.iter().map(|m| (m.target.clone(), m.name.clone())).collect();
    assert_eq!(before, after);
    assert_eq!(before.len(), 3);
}

#[test]
fn renewed_anonymous_volumes_leave_nothing_behind() {
    let project = project([svc("db").volume("", "/scratch").volume("data", "/named")]);
    let mut world = World::up(&project);
    let old = world.container("p-db-1").mounts[0].name.clone();
    let plan = up_with(&project, &world, &UpOptions { renew_anonymous_volumes: true, ..UpOptions::default() });
    reads(
        &plan,
        r"
1  create container 000000000003_p-db-1                          new anonymous volumes are asked for (-V)
2  stop p-db-1                                                   makes room for the new one  [after 1]
3  remove container p-db-1 with its anonymous volumes            makes room for the new one  [after 2]
4  remove volume ab1eed52f817685d4f3e2697e077100bac9bec3487286e894d897ab42da335d8  anonymous volume of the container that is replaced (-V)  [after 3]
5  rename 000000000003_p-db-1 to p-db-1                          it takes the place of the old one  [after 3]
6  start p-db-1                                                  it was recreated  [after 5]
1 volume to remove; 1 container to recreate
",
    );
    world.carry_out(&plan);
    assert_ne!(world.container("p-db-1").mounts[0].name, old);
    assert_eq!(world.container("p-db-1").mounts[1].name, "p_data");
}

#[test]
fn what_was_a_named_volume_is_not_mounted_when_the_file_no_longer_says_so() {
    let old = project([svc("db").volume("data", "/data")]);
    let mut world = World::of(&old);
    world.image("db:1").volumes = vec!["/data".into()];
    let plan = up(&old, &world);
    world.carry_out(&plan);
    let plan = up(&project([svc("db")]), &world);
    world.carry_out(&plan);
    assert_ne!(world.container("p-db-1").mounts[0].name, "p_data");
}

#[test]
fn who_lives_in_the_network_of_another_goes_with_it() {
    let old = project([svc("vpn"), svc("app").in_network_of("vpn")]);
    let mut world = World::of(&old);
    let plan = up(&old, &world);
    reads(
        &plan,
        r"
1  create network p_default  no network yet
2  create container p-vpn-1  no container yet  [after 1]
3  create container p-app-1  no container yet  [after 2]
4  start p-vpn-1             it was created  [after 2]
5  start p-app-1             it was created  [after 3, 4]
1 network to create; 2 containers to create
",
    );
    world.carry_out(&plan);
    assert!(up(&old, &world).is_empty());
    let new = project([changed(svc("vpn")), svc("app").in_network_of("vpn")]);
    let plan = up_with(&new, &world, &only(&["vpn"]));
    reads(
        &plan,
        r"
1  create container 000000000002_p-vpn-1   configuration changed (config-hash label differs)
2  stop p-app-1                            makes room for the new one
3  stop p-vpn-1                            makes room for the new one  [after 1, 2]
4  remove container p-app-1                makes room for the new one  [after 2]
5  remove container p-vpn-1                makes room for the new one  [after 3]
6  rename 000000000002_p-vpn-1 to p-vpn-1  it takes the place of the old one  [after 5]
7  create container p-app-1                it shares the network of vpn, which is recreated  [after 4, 6]
8  start p-vpn-1                           it was recreated  [after 6]
9  start p-app-1                           it was recreated  [after 7, 8]
2 containers to recreate
",
    );
    world.carry_out(&plan);
    assert!(up(&new, &world).is_empty());
}

#[test]
fn who_lives_in_a_stopped_network_is_restarted() {
    let project = project([svc("vpn"), svc("app").in_network_of("vpn")]);
    let mut world = World::up(&project);
    world.set("p-vpn-1", State::Exited);
    reads(
        &up(&project, &world),
        r"
1  stop p-app-1   it shares the network of vpn, which was stopped
2  start p-vpn-1  it is not running
3  start p-app-1  it shares the network of vpn, which was stopped  [after 1, 2]
1 container to restart, 1 to start
",
    );
}

#[test]
fn who_takes_volumes_from_another_is_replaced_with_it() {
    let web = svc("web").started("data").with(|s| s.volumes_from = vec!["data:ro".into()]);
    let old = project([svc("data"), web.clone()]);
    let mut world = World::up(&old);
    assert!(up(&old, &world).is_empty());
    let new = project([changed(svc("data")), web]);
    let plan = up(&new, &world);
    reads(
        &plan,
        r"
1  create container 000000000002_p-data-1    configuration changed (config-hash label differs)
2  stop p-web-1                              makes room for the new one
3  stop p-data-1                             makes room for the new one  [after 1]
4  remove container p-web-1                  makes room for the new one  [after 2]
5  remove container p-data-1                 makes room for the new one  [after 3]
6  rename 000000000002_p-data-1 to p-data-1  it takes the place of the old one  [after 5]
7  create container p-web-1                  it shares the volumes of data, which is recreated  [after 4, 6]
8  start p-data-1                            it was recreated  [after 6]
9  start p-web-1                             it was recreated  [after 7, 8]
2 containers to recreate
",
    );
    world.carry_out(&plan);
    assert!(up(&new, &world).is_empty());
}

#[test]
fn a_namespace_of_nobody_is_a_fault() {
    let project = project([svc("vpn").scaled(0), svc("app").in_network_of("vpn")]);
    assert_eq!(
        faults(try_up(&project, &World::of(&project), &UpOptions::default())),
        "no-container: service \"app\" shares the network of \"vpn\", which has no container / bring vpn up too"
    );
    assert_eq!(place(&project, &World::of(&project), &UpOptions::default()), "services.app.network_mode");
}

#[test]
fn an_interrupted_recreate_is_cleaned_up_or_finished() {
    let project = project([svc("web")]);
    let world = |name: &str, id: &str| {
        let mut world = World::up(&project);
        let mut half = world.container("p-web-1").clone();
        (half.name, half.id, half.state) = (name.into(), id.into(), State::Created);
        half.labels.insert(label::REPLACE.into(), "web-1".into());
        world.observed.containers.push(half);
        world
    };
    let both = world("000000000002_p-web-1", "half");
    reads(
        &up(&project, &both),
        r"
1  remove container 000000000002_p-web-1  left over from a recreate that was interrupted
1 container to remove, 1 unchanged
",
    );
    let mut half = world("000000000002_p-web-1", "half");
    half.observed.containers.retain(|c| c.id == "half");
    let plan = up(&project, &half);
    reads(
        &plan,
        r"
1  rename 000000000002_p-web-1 to p-web-1  a recreate was interrupted before it got its name
2  start p-web-1                           it was never started  [after 1]
1 container to start
",
    );
    half.carry_out(&plan);
    assert!(up(&project, &half).is_empty());
}

#[test]
fn images_are_fetched_first_and_then_planned_again() {
    let project = project([svc("db"), svc("web").started("db"), svc("cron").with(|s| s.image = "web:1".into())]);
    let mut world = World::bare();
    let plan = up(&project, &world);
    assert!(plan.again);
    reads(
        &plan,
        r"
1  pull image db:1   the image is not here
2  pull image web:1  the image is not here
2 images to pull
",
    );
    reads(
        &up_with(&project, &world, &UpOptions { preview: true, ..UpOptions::default() }),
        r"
1  pull image db:1            the image is not here
2  pull image web:1           the image is not here
3  create network p_default   no network yet
4  create container p-cron-1  no container yet  [after 2, 3]
5  create container p-db-1    no container yet  [after 1, 3]
6  create container p-web-1   no container yet  [after 2, 3]
7  start p-cron-1             it was created  [after 4]
8  start p-db-1               it was created  [after 5]
9  start p-web-1              it was created  [after 6, 8]
1 network to create; 2 images to pull; 3 containers to create
",
    );
    world.carry_out(&plan);
    let plan = up_with(&project, &world, &UpOptions { pulled: true, ..UpOptions::default() });
    assert!(!plan.again);
    world.carry_out(&plan);
    assert!(up(&project, &world).is_empty());
}

#[test]
fn pull_policies_of_services_and_of_the_command() {
    let policy = |name: &str, policy: &str| svc(name).with(|s| s.pull_policy = policy.into());
    let project = project([policy("a", "always"), policy("b", "missing"), policy("c", "daily"), policy("d", "never"), policy("e", "weekly")]);
    let mut world = World::up(&project);
    let day = 86_400_000_000_000;
    for image in ["c:1", "e:1"] {
        world.image(image).tagged = Some(Timestamp(day));
    }
    let at = |now| UpOptions { now: Timestamp(now), ..UpOptions::default() };
    reads(
        &up_with(&project, &world, &at(3 * day)),
        r"
1  pull image a:1  pull policy is always
2  pull image c:1  the image was fetched more than 24h0m0s ago
2 images to pull
",
    );
    reads(
        &up_with(&project, &world, &at(9 * day).with(|o| o.pull = Some(PullPolicy::Missing))),
        r"
5 containers unchanged
",
    );
    reads(
        &up_with(&project, &world, &at(3 * day).with(|o| o.pull = Some(PullPolicy::Always))),
        r"
1  pull image a:1  pull policy is always
2  pull image b:1  pull policy is always
3  pull image c:1  pull policy is always
4  pull image d:1  pull policy is always
5  pull image e:1  pull policy is always
5 images to pull
",
    );
}

#[test]
fn an_image_that_may_not_be_fetched_is_missed_only_where_it_is_needed() {
    let project = project([svc("web").with(|s| s.pull_policy = "never".into())]);
    let mut world = World::up(&project);
    world.observed.images.clear();
    assert!(up(&project, &world).is_empty());
    let bare = World::bare();
    assert_eq!(
        faults(try_up(&project, &bare, &UpOptions::default())),
        "image-missing: image \"web:1\" of service \"web\" is not here / the pull policy is `never`: fetch it by hand (docker pull web:1), or choose another policy"
    );
    assert_eq!(place(&project, &bare, &UpOptions::default()), "services.web.image");
}

#[test]
fn what_must_be_built_says_how() {
    let build = Some(Build { context: "/p/app".into(), ..Build::default() });
    let only_built = project([svc("app").with(|s| (s.image, s.build) = (String::new(), build.clone()))]);
    assert_eq!(
        faults(try_up(&only_built, &World::bare(), &UpOptions::default())),
        "build-unavailable: image \"p-app\" of service \"app\" is not here, and building is not available yet / build it by hand: docker build -t p-app /p/app"
    );
    assert_eq!(place(&only_built, &World::bare(), &UpOptions::default()), "services.app.build");
    let plan = up(&only_built, &World::of(&only_built));
    assert!(!plan.is_empty() && plan.notes.is_empty());
    let both = project([svc("app").with(|s| s.build = build)]);
    let plan = up(&both, &World::bare());
    reads(
        &plan,
        r"
1  pull image app:1  the image is not here
1 image to pull
",
    );
    assert_eq!(
        notes(&plan),
        "build-unavailable: image \"app:1\" is not here; building is not available yet, so it is fetched instead / build it by hand: docker build -t app:1 /p/app"
    );
}

#[test]
fn a_gate_that_can_never_open_is_refused_before_anything_starts() {
    let project = project([svc("db"), svc("web").on("db", Condition::Healthy)]);
    let mut world = World::of(&project);
    assert_eq!(
        faults(try_up(&project, &world, &UpOptions::default())),
        "no-healthcheck: service \"web\" waits until \"db\" is healthy, but \"db\" has no health check / add a `healthcheck` to \"db\", or wait with `condition: service_started`"
    );
    assert_eq!(place(&project, &world, &UpOptions::default()), "services.web.depends_on.db.condition");
    world.image("db:1").healthcheck = Some(HealthcheckSpec { test: vec!["CMD".into(), "x".into()], ..HealthcheckSpec::default() });
    assert!(try_up(&project, &world, &UpOptions::default()).is_ok());
    let off = project.after(|p| p.services.get_mut("db").unwrap().healthcheck = Some(Healthcheck { disable: true, ..Healthcheck::default() }));
    assert!(try_up(&off, &world, &UpOptions::default()).is_err());
    let optional = super::project([svc("db"), svc("web").optionally("db", Condition::Healthy)]);
    assert_eq!(up(&optional, &World::of(&optional)).notes.len(), 1);
}

#[test]
fn names_that_can_not_be_shared_are_not_scaled() {
    let project = project([svc("web").with(|s| s.container_name = "www".into())]);
    let world = World::of(&project);
    let options = UpOptions::default().with(|o| _ = o.scale.insert("web".into(), 2));
    assert_eq!(
        faults(try_up(&project, &world, &options)),
        "container-name-scale: service \"web\" can't have 2 containers: they can't all be called \"www\" / remove the custom name to scale the service"
    );
    assert_eq!(place(&project, &world, &options), "services.web.container_name");
    let options = UpOptions::default().with(|o| _ = o.scale.insert("wbe".into(), 2));
    assert_eq!(faults(try_up(&project, &world, &options)), "no-such-service: no such service: wbe / did you mean `web`?");
}

#[test]
fn the_same_port_for_two_is_refused_before_anything_starts() {
    let clash = |services: Vec<Service>| {
        let project = project(services);
        faults(try_up(&project, &World::of(&project), &UpOptions::default()))
    };
    assert_eq!(
        clash(vec![svc("a").port("80", 80), svc("b").port("80", 8080)]),
        "port-clash: p-a-1 and p-b-1 both want port 80/tcp of the host / give one of them another port"
    );
    assert_eq!(
        clash(vec![svc("a").port("80", 80).scaled(2)]),
        "port-clash: 2 containers of service \"a\" can't all have port 80/tcp of the host / publish a range with a port for each, or none"
    );
    let at = |ip: &str| svc(&format!("s{}", ip.len())).port("80", 80).with(|s| s.ports[0].host_ip = ip.into());
    assert_eq!(clash(vec![at("127.0.0.1"), at("127.0.0.22")]), "");
    assert_ne!(clash(vec![at("127.0.0.1"), at("0.0.0.0")]), "");
    assert_eq!(clash(vec![at("0.0.0.0"), at("::")]), "");
    assert_eq!(clash(vec![svc("job").port("80", 80), svc("web").port("80", 80).on("job", Condition::Completed)]), "");
}

#[test]
fn secrets_and_configs_are_files_or_mounts() {
    let reference = |source: &str| FileReference { source: source.into(), ..FileReference::default() };
    let web = svc("web").with(|s| {
        s.secrets = vec![reference("token"), reference("key")];
        s.configs = vec![reference("motd")];
    });
    let project = project([web]).with(|p| {
        p.secrets.insert("token".into(), Secret { environment: "TOKEN".into(), ..Secret::default() });
        p.secrets.insert("key".into(), Secret { file: "/p/key.pem".into(), ..Secret::default() });
        p.configs.insert("motd".into(), Config { content: "hi".into(), ..Config::default() });
    });
    assert_eq!(
        faults(try_up(&project, &World::of(&project), &UpOptions::default())),
        "unset-variable: environment variable \"TOKEN\" required by secret \"token\" is not set / set TOKEN, or take the secret out of the service"
    );
    assert_eq!(place(&project, &World::of(&project), &UpOptions::default()), "secrets.token.environment");
    let set = project.after(|p| _ = p.environment.insert("TOKEN".into(), "s3cret".into()));
    let mut world = World::of(&set);
    let plan = up(&set, &world);
    reads(
        &plan,
        r"
1  create network p_default                      no network yet
2  create container p-web-1                      no container yet  [after 1]
3  write /run/secrets/token, /motd into p-web-1  secrets and configs that are no files  [after 2]
4  start p-web-1                                 it was created  [after 3]
1 network to create; 1 container to create
",
    );
    assert!(!plan.to_string().contains("s3cret") && !format!("{plan:?}").contains("s3cret"));
    world.carry_out(&plan);
    assert!(up(&project, &world).is_empty(), "nothing is started, so nothing is needed");
    world.set("p-web-1", State::Exited);
    reads(
        &up(&set, &world),
        r"
1  write /run/secrets/token, /motd into p-web-1  secrets and configs that are no files
2  start p-web-1                                 it is not running  [after 1]
1 container to start
",
    );
    let locked = set.after(|p| p.services.get_mut("web").unwrap().read_only = true);
    assert!(faults(try_up(&locked, &World::of(&locked), &UpOptions::default())).starts_with("read-only-service: secret \"token\" can't be written"));
    let volumes = locked.after(|p| {
        let web = p.services.remove("web").unwrap().volume("", "/run/secrets").with(|s| s.configs.clear());
        _ = p.services.insert("web".into(), web);
    });
    assert!(try_up(&volumes, &World::of(&volumes), &UpOptions::default()).is_ok(), "a volume can be written into");
}

#[test]
fn what_an_engine_can_not_do_is_said_at_its_line() {
    let web = svc("web").with(|s| {
        s.links = vec!["db".into()];
        s.isolation = "hyperv".into();
        s.networks.insert("default".into(), Some(ServiceNetwork { interface_name: "eth7".into(), gw_priority: 3, ..ServiceNetwork::default() }));
    });
    let project = project([svc("db"), web]);
    let less = Capabilities {
        links: false,
        interface_name: false,
        gateway_priority: false,
        refused: vec![("services.*.isolation", "there is no Windows here")],
        ..docker()
    };
    let result = plan_up(&project, &World::of(&project).observed, &less, &UpOptions::default(), &nowhere);
    assert_eq!(
        faults(result),
        "engine-cannot: this engine can't do links / take it out, or use an engine that can\n\
         engine-cannot: this engine can't do names of interfaces / take it out, or use an engine that can\n\
         engine-cannot: this engine can't honour `isolation`: there is no Windows here / take it out, or use an engine that can"
    );
    let only_gateway = Capabilities { gateway_priority: false, ..docker() };
    let plan = plan_up(&project, &World::of(&project).observed, &only_gateway, &UpOptions::default(), &nowhere).unwrap();
    assert_eq!(notes(&plan), "engine-cannot: this engine doesn't know `gw_priority`; it chooses the default gateway itself");
    let labels = vec![("services.*.security_opt.*~label!=label:disable", "there are none")];
    let no_labels = Capabilities { ignored: labels, ..docker() };
    let labelled =
        self::project([svc("web").with(|s| s.security_opt = ["label:disable", "label:type:x", "seccomp:unconfined"].map(Into::into).to_vec())]);
    let plan = plan_up(&labelled, &World::of(&labelled).observed, &no_labels, &UpOptions::default(), &nowhere).unwrap();
    assert_eq!(notes(&plan), "engine-cannot: this engine leaves `security_opt` out: there are none");
    let own_names = Capabilities { own_dns: false, ignored: vec![("services.*.domainname", "nobody asks")], ..docker() };
    let project = self::project([svc("web").with(|s| {
        s.domainname = "example.org".into();
        s.dns = vec!["192.0.2.1".into()];
        s.networks.insert("default".into(), None);
    })]);
    let plan = plan_up(&project, &World::of(&project).observed, &own_names, &UpOptions::default(), &nowhere).unwrap();
    assert_eq!(
        notes(&plan),
        "engine-cannot: this engine asks its own name server first, which knows the services and else asks the host's; the servers of `dns` \
         come after it\n\
         engine-cannot: this engine leaves `domainname` out: nobody asks"
    );
}

#[test]
fn words_that_mean_nothing_are_refused() {
    let web = svc("web").with(|s| {
        s.restart = "sometimes".into();
        s.pull_policy = "every_blue_moon".into();
        s.security_opt = vec!["label".into(), "no-new-privileges".into()];
        s.healthcheck = Some(Healthcheck { start_interval: Some(crate::units::Duration::from_secs(1)), ..Healthcheck::default() });
    });
    let project = project([web]);
    assert_eq!(
        faults(try_up(&project, &World::of(&project), &UpOptions::default())),
        "invalid-restart: \"sometimes\" is no restart policy / use no, always, on-failure[:attempts] or unless-stopped\n\
         invalid-pull-policy: \"every_blue_moon\" is no pull policy / use always, missing, never, daily, weekly or every_<duration>\n\
         start-interval-alone: `start_interval` needs `start_period`, the time in which it applies / add `start_period`\n\
         invalid-security-option: security option \"label\" has no value / write it as `name=value`"
    );
}

#[test]
fn a_cycle_is_refused() {
    let project = project([svc("a").started("b"), svc("b").started("a")]);
    assert!(faults(try_up(&project, &World::of(&project), &UpOptions::default())).starts_with("dependency-cycle: dependency cycle: a → b → a"));
}

#[test]
fn several_networks_and_the_ones_that_nobody_uses() {
    let web = svc("web").with(|s| {
        s.networks.clear();
        s.networks.insert("back".into(), None);
        s.networks.insert("front".into(), Some(ServiceNetwork { priority: 10, ..ServiceNetwork::default() }));
    });
    let project = project([web]).with(|p| {
        for key in ["back", "front", "unused"] {
            p.networks.insert(key.into(), Network { name: format!("p_{key}"), ..Network::default() });
        }
    });
    reads(
        &up(&project, &World::of(&project)),
        r"
1  create network p_back     no network yet
2  create network p_front    no network yet
3  create container p-web-1  no container yet  [after 1, 2]
4  start p-web-1             it was created  [after 3]
2 networks to create; 1 container to create
",
    );
}

#[test]
fn a_plan_does_not_depend_on_what_came_first() {
    let project = project([svc("db").checked(), svc("web").on("db", Condition::Healthy).scaled(3)]);
    let mut world = World::up(&project);
    let new = super::project([changed(svc("db").checked()), svc("web").on("db", Condition::Healthy).scaled(2)]);
    let plan = up(&new, &world);
    world.observed.containers.reverse();
    assert_eq!(plan, up(&new, &world));
}

#[test]
fn what_is_to_be_observed() {
    let web = svc("web").volume("data", "/data").with(|s| s.platform = "linux/arm64".into());
    let mount = Mount { kind: MountType::Image, source: "assets:2".into(), target: "/assets".into(), ..Mount::default() };
    let project = project([web.with(|s| s.volumes.push(mount)), svc("db")]);
    let query = observe_query(&project, &Selection { services: vec!["web".into()], no_deps: false });
    let images: Vec<_> = query.images.iter().map(|i| (i.reference.as_str(), i.platform.as_deref())).collect();
    assert_eq!(images, [("assets:2", None), ("web:1", Some("linux/arm64"))]);
    assert_eq!((query.networks, query.volumes), (vec!["p_default".to_owned()], vec!["p_data".to_owned()]));
    assert_eq!(observe_query(&project, &Selection::default()).images.len(), 3);
}
