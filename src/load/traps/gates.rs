//! What services wait for.

use super::{Search, path_of};
use crate::diag::KeyPath;
use crate::model::{Condition, Healthcheck, Service};

/// Whether the check is switched off.
fn off(check: &Healthcheck) -> bool {
    check.disable || check.test.first().is_some_and(|t| t == "NONE")
}

pub(super) fn find(search: &mut Search<'_>, service: &Service) {
    for (on, dependency) in &service.depends_on {
        let Some(target) = search.service(on) else { continue };
        let at = path_of(service).key("depends_on").key(on);
        let condition = search.node(&at.key("condition"));
        // What links and shared namespaces imply isn't a choice of conditions.
        let chosen = condition.is_some_and(|c| !c.implied);
        let place = if chosen { search.at(&at.key("condition")) } else { search.loaded.provenance.key(&at) };
        let name = &service.name;
        match dependency.condition {
            Condition::Healthy => match &target.healthcheck {
                None => {
                    let message = format!("{name:?} waits until {on:?} is healthy, and {on:?} has no health check here");
                    let help = if target.build.is_some() {
                        "add a `healthcheck` to it, unless its Dockerfile has a HEALTHCHECK"
                    } else {
                        "add a `healthcheck` to it, unless its image brings one"
                    };
                    search.warn("gate-without-healthcheck", place, message, help);
                }
                Some(check) if off(check) => {
                    let message = format!("{name:?} waits until {on:?} is healthy, and the health check of {on:?} is switched off");
                    let place_of = search.loaded.provenance.key(&path_of(target).key("healthcheck"));
                    let finding = search.warn("gate-without-healthcheck", place, message, "wait with `condition: service_started`, or switch it on");
                    finding.related.extend(place_of.map(|s| (s, "switched off here".to_owned())));
                }
                Some(_) => {}
            },
            Condition::Completed => {
                let policy = path_of(target).key("restart");
                if matches!(target.restart.as_str(), "always" | "unless-stopped") {
                    let message = format!("{name:?} waits until {on:?} has ended, and {on:?} is always restarted (`restart: {}`)", target.restart);
                    let restart = search.at(&policy);
                    let finding = search.warn("gate-never-opens", place, message, format!("write `restart: on-failure` or `\"no\"` at {on:?}"));
                    finding.related.extend(restart.map(|s| (s, "restarted always".to_owned())));
                }
            }
            Condition::Started if !chosen && written(search, service, &at, on) => {
                if target.healthcheck.as_ref().is_some_and(|check| !off(check) && !check.test.is_empty()) {
                    let message = format!("{name:?} waits only until {on:?} has started, though {on:?} has a health check");
                    let help = format!("write `{on}: {{condition: service_healthy}}`; if the start is enough, say `condition: service_started`");
                    search.warn("gate-only-started", place, message, help);
                }
            }
            Condition::Started => {}
        }
    }
}

/// Whether the dependency stands under `depends_on` itself, and isn't what a link or a shared namespace implies.
fn written(search: &Search<'_>, service: &Service, at: &KeyPath, on: &str) -> bool {
    let key = search.loaded.provenance.key(at).map(|span| search.loaded.sources.text(span));
    key.is_some_and(|text| text.trim_matches(['"', '\'']) == on) && !service.links.iter().any(|link| link == on)
}
