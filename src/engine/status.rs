//! How a container is, in the sentence that Docker has made common: `Up 2 minutes (healthy)`.

use crate::units::{Timestamp, ago};
use crate::world::{Health, State};

/// What there is to say of a container's last run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// Health, if it has a health check.
    pub health: Option<Health>,
    /// Exit code; none is said to be 255, as of a process whose end nobody saw.
    pub exit_code: Option<i64>,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// The sentence.
pub fn sentence(state: State, run: &Run, now: Timestamp) -> String {
    let since = |time: Option<Timestamp>| ago(now, time.unwrap_or(now));
    let code = run.exit_code.unwrap_or(255);
    match state {
        State::Created => "Created".into(),
        State::Exited => format!("Exited ({code}) {} ago", since(run.finished)),
        State::Restarting => format!("Restarting ({code}) {} ago", since(run.finished)),
        State::Paused => format!("Up {} (Paused)", since(run.started)),
        State::Running => match run.health {
            Some(Health::Starting) => format!("Up {} (health: starting)", since(run.started)),
            Some(health) => format!("Up {} ({})", since(run.started), health.as_str()),
            None => format!("Up {}", since(run.started)),
        },
        State::Removing => "Removal In Progress".into(),
        State::Dead => "Dead".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_dockers() {
        let time = |seconds| Some(Timestamp::from_parts(seconds, 0));
        let now = Timestamp::from_parts(1000, 0);
        let run = Run { health: None, exit_code: Some(137), started: time(880), finished: time(997) };
        let words = |state, health| sentence(state, &Run { health, ..run }, now);
        assert_eq!(words(State::Created, None), "Created");
        assert_eq!(words(State::Running, None), "Up 2 minutes");
        assert_eq!(words(State::Running, Some(Health::Starting)), "Up 2 minutes (health: starting)");
        assert_eq!(words(State::Running, Some(Health::Healthy)), "Up 2 minutes (healthy)");
        assert_eq!(words(State::Paused, None), "Up 2 minutes (Paused)");
        assert_eq!(words(State::Exited, None), "Exited (137) 3 seconds ago");
        assert_eq!(words(State::Restarting, None), "Restarting (137) 3 seconds ago");
        assert_eq!(sentence(State::Exited, &Run::default(), now), "Exited (255) Less than a second ago");
    }
}
