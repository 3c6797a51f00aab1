//! Fetching images because somebody asked for it.

use super::images::{self, parse_policy};
use super::lower;
use super::options::{PullOptions, PullPolicy};
use super::steps::{self, push, show};
use super::types::Plan;
use crate::diag::{Diagnostic, Severity};
use crate::graph;
use crate::model::{Project, Selection, Service};
use crate::world::{Observed, Op};
use std::collections::BTreeSet;

/// Fetches the images of services. Without a policy everything is fetched anew, except where the service says `never` or
/// `build`, or `missing` and the image is here.
pub(super) fn plan_pull(project: &Project, observed: &Observed, options: &PullOptions) -> Result<Plan, Vec<Diagnostic>> {
    let selection = Selection { services: options.services.clone(), no_deps: !options.include_deps };
    let selected = graph::select(project, &selection)?;
    let mut plan = Plan { project: project.name.clone(), ..Plan::default() };
    let mut asked: BTreeSet<(String, Option<String>)> = BTreeSet::new();
    for service in selected.services.iter().filter_map(|name| project.services.get(name)).filter(|s| s.provider.is_none()) {
        if service.image.is_empty() {
            skip(&mut plan, service, "it has no image to fetch, it is built");
        } else if options.ignore_buildable && service.build.is_some() {
            skip(&mut plan, service, "it can be built");
        } else {
            let reference = project.image_of(service);
            let policy = policy(service, options.policy);
            match images::due(policy, observed.images.get(&reference), options.now) {
                Some(why) => fetch(&mut plan, &mut asked, (reference, lower::platform(project, service)), &service.name, &why, options),
                None if matches!(policy, PullPolicy::Never | PullPolicy::Build) => skip(&mut plan, service, "its pull policy says so"),
                None => skip(&mut plan, service, "the image is here"),
            }
        }
        for reference in images::image_mounts(project, service) {
            let policy = options.policy.unwrap_or(PullPolicy::Always);
            if let Some(why) = images::due(policy, observed.images.get(&reference), options.now) {
                fetch(&mut plan, &mut asked, (reference, None), &service.name, &why, options);
            }
        }
    }
    Ok(plan)
}

fn policy(service: &Service, command: Option<PullPolicy>) -> PullPolicy {
    let own = parse_policy(&service.pull_policy).unwrap_or_default();
    match (command, own) {
        (_, PullPolicy::Never | PullPolicy::Build) => own,
        (Some(command), _) => command,
        (None, PullPolicy::Missing) if !service.pull_policy.is_empty() && service.pull_policy != "refresh" => PullPolicy::Missing,
        (None, _) => PullPolicy::Always,
    }
}

fn fetch(
    plan: &mut Plan,
    asked: &mut BTreeSet<(String, Option<String>)>,
    image: (String, Option<String>),
    service: &str,
    why: &str,
    options: &PullOptions,
) {
    if !asked.insert(image.clone()) {
        return;
    }
    let (reference, platform) = image;
    let why = if why == "pull policy is always" { "pull" } else { why };
    let id = push(plan, Op::PullImage { reference, platform }, vec![], why);
    steps::of_service(plan, id, service);
    show(plan, id, "Pulling", "Pulled");
    if options.ignore_failures {
        steps::lenient(plan, id);
    }
}

fn skip(plan: &mut Plan, service: &Service, why: &str) {
    plan.notes.push(Diagnostic::new(Severity::Note, "not-pulled", format!("service {:?} is skipped: {why}", service.name)));
}
