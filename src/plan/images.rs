//! Which images are fetched, and why.

use super::lower::platform;
use super::options::PullPolicy;
use crate::model::{MountType, Project, Service};
use crate::units::{Duration, Timestamp};
use crate::world::Image;
use std::collections::BTreeMap;

/// The pull policy that `text` names; empty is the default.
///
/// # Errors
/// The text, if it is none.
pub(super) fn parse_policy(text: &str) -> Result<PullPolicy, String> {
    const DAY: i64 = 86_400;
    Ok(match text {
        "" | "missing" | "if_not_present" | "refresh" => PullPolicy::Missing,
        "always" => PullPolicy::Always,
        "never" => PullPolicy::Never,
        "build" => PullPolicy::Build,
        "daily" => PullPolicy::Every(Duration::from_secs(DAY)),
        "weekly" => PullPolicy::Every(Duration::from_secs(7 * DAY)),
        _ => PullPolicy::Every(text.strip_prefix("every_").and_then(|period| period.parse().ok()).ok_or_else(|| text.to_owned())?),
    })
}

impl std::str::FromStr for PullPolicy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_policy(text)
    }
}

/// The policy for a service: that of the command, else its own; what is only built is never fetched.
pub(super) fn policy(service: &Service, command: Option<PullPolicy>) -> Result<PullPolicy, String> {
    let own = parse_policy(&service.pull_policy)?;
    let policy = command.unwrap_or(own);
    Ok(if service.image.is_empty() && policy != PullPolicy::Never { PullPolicy::Build } else { policy })
}

/// Why an image is to be fetched under `policy`; `None` if it isn't.
pub(super) fn due(policy: PullPolicy, local: Option<&Image>, now: Timestamp) -> Option<String> {
    let absent = || local.is_none().then(|| "the image is not here".to_owned());
    match policy {
        PullPolicy::Always => Some("pull policy is always".into()),
        PullPolicy::Missing => absent(),
        PullPolicy::Never | PullPolicy::Build => None,
        PullPolicy::Every(period) => absent().or_else(|| {
            let old = local?.tagged.is_none_or(|tagged| tagged.0.saturating_add(period.0) < now.0);
            old.then(|| format!("the image was fetched more than {period} ago"))
        }),
    }
}

/// An image to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    /// Why.
    pub why: String,
    /// A service that needs it.
    pub service: String,
}

/// Images to fetch for `services` by reference and platform, each once.
pub(super) fn to_fetch<'a>(
    project: &Project,
    services: impl IntoIterator<Item = &'a Service>,
    local: &BTreeMap<String, Image>,
    command: Option<PullPolicy>,
    now: Timestamp,
) -> BTreeMap<(String, Option<String>), Fetch> {
    let mut fetches = BTreeMap::new();
    let mut add = |reference: String, platform, service: &Service, policy| {
        if let Some(why) = due(policy, local.get(&reference), now) {
            fetches.entry((reference, platform)).or_insert(Fetch { why, service: service.name.clone() });
        }
    };
    for service in services.into_iter().filter(|s| s.provider.is_none()) {
        // A policy that can't be read is reported by the checks.
        let policy = policy(service, command).unwrap_or_default();
        add(project.image_of(service), platform(project, service), service, policy);
        for source in image_mounts(project, service) {
            add(source, None, service, command.unwrap_or_default());
        }
    }
    fetches
}

/// Images that `service` mounts and that aren't the images of services.
pub(super) fn image_mounts<'a>(project: &'a Project, service: &'a Service) -> impl Iterator<Item = String> + 'a {
    service.volumes.iter().filter(|m| m.kind == MountType::Image && project.service(&m.source).is_none()).map(|m| m.source.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000_000);

    #[test]
    fn words_of_policies() {
        for (text, policy) in [
            ("", PullPolicy::Missing),
            ("if_not_present", PullPolicy::Missing),
            ("refresh", PullPolicy::Missing),
            ("always", PullPolicy::Always),
            ("never", PullPolicy::Never),
            ("build", PullPolicy::Build),
            ("daily", PullPolicy::Every(Duration::from_secs(86_400))),
            ("weekly", PullPolicy::Every(Duration::from_secs(604_800))),
        ] {
            assert_eq!(parse_policy(text), Ok(policy), "{text}");
        }
        assert_eq!(parse_policy("sometimes"), Err("sometimes".into()));
        assert_eq!(parse_policy("every_"), Err("every_".into()));
    }

    #[test]
    fn an_image_is_fetched_when_its_policy_says_so() {
        let tagged = |ago: i64| Image { tagged: Some(Timestamp(NOW.0 - ago * 1_000_000_000)), ..Image::default() };
        let day = PullPolicy::Every(Duration::from_secs(86_400));
        let is_due = |policy, local: Option<&Image>| due(policy, local, NOW).is_some();
        assert!(is_due(PullPolicy::Missing, None));
        assert!(!is_due(PullPolicy::Missing, Some(&tagged(1))));
        assert!(is_due(PullPolicy::Always, Some(&tagged(1))));
        assert!(!is_due(PullPolicy::Never, None));
        assert!(!is_due(PullPolicy::Build, None));
        assert!(is_due(day, None));
        assert!(!is_due(day, Some(&tagged(86_000))));
        assert!(is_due(day, Some(&tagged(87_000))));
        assert!(is_due(day, Some(&Image::default())));
    }

    #[test]
    fn what_is_only_built_is_never_fetched() {
        let built = Service { name: "a".into(), build: Some(crate::model::Build::default()), ..Service::default() };
        assert_eq!(policy(&built, None), Ok(PullPolicy::Build));
        assert_eq!(policy(&built, Some(PullPolicy::Always)), Ok(PullPolicy::Build));
        let named = Service { image: "x".into(), pull_policy: "daily".into(), ..built };
        assert_eq!(policy(&named, Some(PullPolicy::Never)), Ok(PullPolicy::Never));
    }
}
