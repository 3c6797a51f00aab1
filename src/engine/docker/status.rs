//! State, health and exit code out of the sentence that container lists have: `Up 2 minutes (healthy)`.
//!
//! Reading them there saves one inspection for every container.

use crate::world::{Health, State};

/// A word for a state, in any engine's vocabulary; `None` for one that is not known.
pub fn state(word: &str) -> Option<State> {
    Some(match word {
        // Podman has more words for what has never run, and for what has ended.
        "created" | "configured" | "initialized" => State::Created,
        "running" => State::Running,
        "paused" => State::Paused,
        "restarting" => State::Restarting,
        "removing" | "stopping" => State::Removing,
        "exited" | "stopped" => State::Exited,
        "dead" => State::Dead,
        _ => return None,
    })
}

/// A word for health; `None` for `none`, an empty one and one that is not known.
pub fn health(word: &str) -> Option<Health> {
    match word {
        "starting" => Some(Health::Starting),
        "healthy" => Some(Health::Healthy),
        "unhealthy" => Some(Health::Unhealthy),
        _ => None,
    }
}

/// Health in a status: `Up 5 seconds (health: starting)`, `Up 2 minutes (healthy)`.
pub fn health_in(status: &str) -> Option<Health> {
    let word = status.strip_suffix(')')?.rsplit_once('(')?.1;
    health(word.strip_prefix("health: ").unwrap_or(word))
}

/// A status with the health that belongs to it.
pub fn with_health(status: &str, health: Health) -> String {
    let lead = if health == Health::Starting { "health: " } else { "" };
    format!("{status} ({lead}{})", health.as_str())
}

/// Exit code in a status: `Exited (137) 3 seconds ago`, `Restarting (1) 2 seconds ago`.
pub fn exit_code_in(status: &str) -> Option<i64> {
    let rest = status.strip_prefix("Exited (").or_else(|| status.strip_prefix("Restarting ("))?;
    rest.split_once(')')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read() {
        for (status, health, code) in [
            ("Up 2 minutes", None, None),
            ("Up 2 minutes (healthy)", Some(Health::Healthy), None),
            ("Up Less than a second (health: starting)", Some(Health::Starting), None),
            ("Up About an hour (unhealthy)", Some(Health::Unhealthy), None),
            ("Up 1 second (Paused)", None, None),
            ("Exited (0) 3 seconds ago", None, Some(0)),
            ("Exited (137) Less than a second ago", None, Some(137)),
            ("Exited (-1) 2 days ago", None, Some(-1)),
            ("Restarting (1) 2 seconds ago", None, Some(1)),
            ("Created", None, None),
            ("Removal In Progress", None, None),
            ("", None, None),
            ("Exited (", None, None),
        ] {
            assert_eq!((health_in(status), exit_code_in(status)), (health, code), "{status}");
        }
        for health in [Health::Starting, Health::Healthy, Health::Unhealthy] {
            assert_eq!(health_in(&with_health("Up 2 minutes", health)), Some(health));
        }
    }
}
