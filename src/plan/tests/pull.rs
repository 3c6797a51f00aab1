//! `pull`.

use super::*;
use crate::model::Build;

fn policy(name: &str, policy: &str) -> Service {
    svc(name).with(|s| s.pull_policy = policy.into())
}

#[test]
fn everything_is_fetched_anew_but_what_says_otherwise() {
    let built = svc("built").with(|s| (s.image, s.build) = (String::new(), Some(Build::default())));
    let project = project([svc("a"), policy("b", "missing"), policy("c", "never"), policy("d", "always"), policy("e", "daily"), built]);
    let world = World::of(&project);
    let plan = plan_pull(&project, &world.observed, &PullOptions::default()).unwrap();
    reads(
        &plan,
        r"
1  pull image a:1  pull
2  pull image d:1  pull
3  pull image e:1  pull
3 images to pull
",
    );
    assert_eq!(
        notes(&plan),
        "not-pulled: service \"b\" is skipped: the image is here\n\
         not-pulled: service \"built\" is skipped: it has no image to fetch, it is built\n\
         not-pulled: service \"c\" is skipped: its pull policy says so"
    );
    reads(
        &plan_pull(&project, &World::bare().observed, &PullOptions { policy: Some(PullPolicy::Missing), ..PullOptions::default() }).unwrap(),
        r"
1  pull image a:1  the image is not here
2  pull image b:1  the image is not here
3  pull image d:1  the image is not here
4  pull image e:1  the image is not here
4 images to pull
",
    );
}

#[test]
fn one_image_is_fetched_once_and_dependencies_only_when_asked_for() {
    let same = |name: &str| svc(name).with(|s| s.image = "same:1".into());
    let project = project([same("a").started("db"), same("b"), svc("db")]);
    let named = |include_deps| PullOptions { services: vec!["a".into()], include_deps, ..PullOptions::default() };
    let world = World::bare();
    assert_eq!(plan_pull(&project, &world.observed, &PullOptions::default()).unwrap().nodes.len(), 2);
    assert_eq!(plan_pull(&project, &world.observed, &named(false)).unwrap().nodes.len(), 1);
    assert_eq!(plan_pull(&project, &world.observed, &named(true)).unwrap().nodes.len(), 2);
}

#[test]
fn failures_and_buildable_services_can_be_passed_over() {
    let both = svc("a").with(|s| s.build = Some(Build::default()));
    let project = project([both, svc("b")]);
    let options = PullOptions { ignore_buildable: true, ignore_failures: true, ..PullOptions::default() };
    let plan = plan_pull(&project, &World::bare().observed, &options).unwrap();
    assert_eq!(plan.nodes.len(), 1);
    assert!(plan.nodes[0].lenient);
    assert_eq!(notes(&plan), "not-pulled: service \"a\" is skipped: it can be built");
}
