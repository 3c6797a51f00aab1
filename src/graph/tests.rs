use super::*;
use crate::diag::SourceId;
use crate::model::{Mount, Network};

fn project(services: &[(&str, &[&str])]) -> Project {
    let services = services
        .iter()
        .map(|(name, needs)| {
            let depends_on = needs.iter().map(|n| ((*n).to_owned(), Dependency::default())).collect();
            ((*name).to_owned(), Service { name: (*name).to_owned(), depends_on, ..Service::default() })
        })
        .collect();
    Project { name: "p".into(), services, ..Project::default() }
}

fn nowhere(_: &KeyPath) -> Option<Span> {
    None
}

#[test]
fn each_service_comes_after_what_it_needs_and_ties_go_by_name() {
    let project = project(&[("web", &["api"]), ("api", &["db", "cache"]), ("db", &[]), ("cache", &[]), ("zoo", &[]), ("ant", &["zoo"])]);
    assert_eq!(Graph::of(&project).services(), ["cache", "db", "api", "web", "zoo", "ant"]);
    assert_eq!(Graph::of(&project).levels(), [vec!["cache", "db", "zoo"], vec!["api", "ant"], vec!["web"]]);
}

#[test]
fn networks_and_volumes_come_before_the_services_that_use_them() {
    let mut project = project(&[("a", &[])]);
    project.networks.insert("back".into(), Network::default());
    project.volumes.insert("data".into(), crate::model::Volume::default());
    let service = project.services.get_mut("a").unwrap();
    service.networks.insert("back".into(), None);
    service.volumes.push(Mount { source: "data".into(), target: "/d".into(), ..Mount::default() });
    service.volumes.push(Mount { target: "/anonymous".into(), ..Mount::default() });
    let graph = Graph::of(&project);
    assert_eq!(graph.order(), [&Item::Network("back".into()), &Item::Volume("data".into()), &Item::Service("a".into())]);
    assert_eq!(graph.needed_by(&Item::Volume("data".into())), [&Item::Service("a".into())]);
}

#[test]
fn a_cycle_is_a_path_with_the_lines_that_make_it() {
    let project = project(&[("web", &["api"]), ("api", &["db"]), ("db", &["web"]), ("alone", &[])]);
    let places = |path: &KeyPath| {
        let line = match path.to_string().as_str() {
            "services.api.depends_on.db" => 10,
            "services.db.depends_on.web" => 20,
            "services.web.depends_on.api" => 30,
            _ => return None,
        };
        Some(Span::new(SourceId(0), line, line + 1))
    };
    let found = check(&project, &places);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message, "dependency cycle: api → db → web → api");
    assert_eq!((found[0].span.unwrap().start, found[0].label.as_deref()), (10, Some("api depends on db")));
    let related: Vec<(u32, &str)> = found[0].related.iter().map(|(s, what)| (s.start, what.as_str())).collect();
    assert_eq!(related, [(20, "db depends on web"), (30, "web depends on api")]);
}

#[test]
fn a_service_that_needs_itself_and_two_separate_cycles_are_told_apart() {
    let project = project(&[("me", &["me"]), ("a", &["b"]), ("b", &["a"]), ("c", &["a", "d"]), ("d", &["c", "e"]), ("e", &["c"])]);
    let messages: Vec<String> = check(&project, &nowhere).into_iter().map(|d| d.message).collect();
    assert_eq!(messages, ["dependency cycle: a → b → a", "dependency cycle: c → d → c", "service \"me\" depends on itself"]);
}

#[test]
fn an_implicit_dependency_is_shown_at_the_line_that_causes_it() {
    let mut project = project(&[("vpn", &["app"]), ("app", &["vpn"])]);
    project.services.get_mut("app").unwrap().network_mode = "service:vpn".into();
    let places = |path: &KeyPath| (path.to_string() == "services.app.network_mode").then(|| Span::new(SourceId(0), 5, 6));
    let found = check(&project, &places);
    assert_eq!(found[0].label.as_deref(), Some("app shares a namespace of vpn"));
}

#[test]
fn what_is_on_a_cycle_still_has_a_place_in_the_order() {
    let project = project(&[("a", &["b"]), ("b", &["a"]), ("c", &[])]);
    assert_eq!(Graph::of(&project).services(), ["c", "a", "b"]);
}

#[test]
fn a_selection_takes_its_dependencies_along_unless_told_not_to() {
    let project = project(&[("web", &["api"]), ("api", &["db"]), ("db", &[]), ("other", &[])]);
    let mut selection = Selection { services: vec!["web".into()], no_deps: false };
    let selected = select(&project, &selection).unwrap();
    assert_eq!(selected.targets.into_iter().collect::<Vec<_>>(), ["web"]);
    assert_eq!(selected.services.into_iter().collect::<Vec<_>>(), ["api", "db", "web"]);
    selection.no_deps = true;
    assert_eq!(select(&project, &selection).unwrap().services.into_iter().collect::<Vec<_>>(), ["web"]);
    assert_eq!(select(&project, &Selection::default()).unwrap().services.len(), 4);
}

#[test]
fn a_wrong_name_gets_a_cure() {
    let mut project = project(&[("web", &[]), ("db", &[])]);
    project.disabled.insert("debug".into(), Service { name: "debug".into(), profiles: vec!["dev".into()], ..Service::default() });
    let say = |name: &str| {
        let fault = select(&project, &Selection { services: vec![name.into()], no_deps: false }).unwrap_err().remove(0);
        format!("{} / {}", fault.message, fault.help.unwrap_or_default())
    };
    assert_eq!(say("wbe"), "no such service: wbe / did you mean `web`?");
    assert_eq!(say("frontend"), "no such service: frontend / the services are: db, web; in profiles: debug");
    assert_eq!(say("debug"), "service \"debug\" is not enabled by an active profile / add `--profile dev`");
}

#[test]
fn a_needed_dependency_must_be_enabled_and_an_optional_one_need_not() {
    let mut project = project(&[("web", &["debug"])]);
    project.disabled.insert("debug".into(), Service { name: "debug".into(), profiles: vec!["dev".into()], ..Service::default() });
    let fault = select(&project, &Selection::default()).unwrap_err().remove(0);
    assert_eq!(fault.message, "service \"web\" depends on \"debug\" (service_started), which is not enabled");
    project.services.get_mut("web").unwrap().depends_on.get_mut("debug").unwrap().required = false;
    assert_eq!(select(&project, &Selection::default()).unwrap().services.len(), 1);
}

#[test]
fn five_hundred_services_in_a_chain_have_one_order() {
    let names: Vec<String> = (0..500).map(|i| format!("s{i:03}")).collect();
    let needs: Vec<Vec<&str>> = (0..500).map(|i| names.get(i + 1).map(String::as_str).into_iter().collect()).collect();
    let graph = Graph::of_services(names.iter().map(String::as_str).zip(needs));
    let order = graph.services();
    assert_eq!((order[0], order[499]), ("s499", "s000"));
    assert_eq!(graph.levels().len(), 500);
    assert_eq!(graph.closure(["s490"]).len(), 10);
}
