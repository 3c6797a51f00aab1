//! When a container is started again after its process ended.
//!
//! The rules are the Docker engine's (moby, `restartmanager`): the wait doubles from 100 ms to one minute, and starts over
//! after a run of ten seconds or more; `on-failure:n` gives up after `n` restarts, which a good run doesn't reset.

use crate::world::RestartPolicy;
use std::time::Duration;

/// The first wait.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A run as long as this starts the waits over.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// A container under a restart policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    policy: RestartPolicy,
    state: RestartState,
    /// The wait before the last restart.
    wait: Duration,
    restarts: u64,
}

/// Where a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartState {
    /// It isn't running, and nobody is about to start it.
    Down,
    /// It runs.
    Running {
        /// Since when.
        since: Duration,
    },
    /// It is started again at a time.
    Waiting {
        /// When.
        until: Duration,
    },
}

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartFact {
    /// Its process runs.
    Started,
    /// Its process ended.
    Exited {
        /// Exit code.
        code: i64,
    },
    /// It was stopped on purpose: it stays down, whatever the policy.
    Stopped,
    /// The wait is over.
    WaitOver,
    /// The supervisor came up and found it down: after a reboot.
    Found {
        /// It had been stopped on purpose.
        stopped: bool,
        /// Exit code of its last run.
        code: i64,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartAction {
    /// Nothing.
    Nothing,
    /// Say [`RestartFact::WaitOver`] at that time, unless something else happens first.
    Wait {
        /// When.
        until: Duration,
    },
    /// Start it.
    Start,
    /// It stays down; the attempts that the policy allows are used up.
    GiveUp {
        /// How often it was started again.
        restarts: u64,
    },
}

impl Restart {
    /// A container that isn't running yet.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, state: RestartState::Down, wait: Duration::ZERO, restarts: 0 }
    }

    /// A container that somebody else has looked after until now, and has started again so often.
    pub fn resumed(policy: RestartPolicy, restarts: u64) -> Self {
        Self { restarts, ..Self::new(policy) }
    }

    /// Where it stands.
    pub fn state(&self) -> RestartState {
        self.state
    }

    /// How often it was started again by the policy.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Takes note of `fact` at the time `now` and says what is to be done.
    pub fn on(&mut self, fact: RestartFact, now: Duration) -> RestartAction {
        match (fact, self.state) {
            (RestartFact::Started, _) => {
                self.state = RestartState::Running { since: now };
                RestartAction::Nothing
            }
            (RestartFact::Exited { code }, RestartState::Running { since }) => {
                if now.saturating_sub(since) >= GOOD_RUN {
                    self.wait = Duration::ZERO;
                }
                self.ended(code, now)
            }
            // An exit that nobody saw a start of is counted as a short run.
            (RestartFact::Exited { code }, RestartState::Down) => self.ended(code, now),
            (RestartFact::Exited { .. }, RestartState::Waiting { until }) => RestartAction::Wait { until },
            (RestartFact::Stopped, _) => {
                (self.state, self.wait, self.restarts) = (RestartState::Down, Duration::ZERO, 0);
                RestartAction::Nothing
            }
            (RestartFact::WaitOver, RestartState::Waiting { until }) if now >= until => {
                self.state = RestartState::Down;
                self.restarts += 1;
                RestartAction::Start
            }
            (RestartFact::WaitOver, RestartState::Waiting { until }) => RestartAction::Wait { until },
            (RestartFact::WaitOver, _) => RestartAction::Nothing,
            (RestartFact::Found { stopped, code }, _) => {
                self.state = RestartState::Down;
                let start = match self.policy {
                    RestartPolicy::No => false,
                    RestartPolicy::Always => true,
                    RestartPolicy::UnlessStopped => !stopped,
                    RestartPolicy::OnFailure(_) => !stopped && code != 0,
                };
                if start { RestartAction::Start } else { RestartAction::Nothing }
            }
        }
    }

    fn ended(&mut self, code: i64, now: Duration) -> RestartAction {
        self.state = RestartState::Down;
        let again = match self.policy {
            RestartPolicy::No => return RestartAction::Nothing,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure(_) if code == 0 => return RestartAction::Nothing,
            RestartPolicy::OnFailure(attempts) => attempts == 0 || self.restarts < attempts,
        };
        if !again {
            return RestartAction::GiveUp { restarts: self.restarts };
        }
        self.wait = if self.wait.is_zero() { FIRST_WAIT } else { (self.wait * 2).min(LONGEST_WAIT) };
        let until = now.saturating_add(self.wait);
        self.state = RestartState::Waiting { until };
        RestartAction::Wait { until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Lets a container start and fail after `run`, so often; returns the waits and what came last.
    fn crash(restart: &mut Restart, run: Duration, code: i64, times: usize) -> (Vec<u64>, RestartAction) {
        let (mut now, mut waits, mut last) = (Duration::ZERO, Vec::new(), RestartAction::Nothing);
        for _ in 0..times {
            restart.on(RestartFact::Started, now);
            now += run;
            last = restart.on(RestartFact::Exited { code }, now);
            let RestartAction::Wait { until } = last else { break };
            waits.push((until - now).as_millis() as u64);
            now = until;
            assert_eq!(restart.on(RestartFact::WaitOver, now), RestartAction::Start);
        }
        (waits, last)
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let (waits, _) = crash(&mut Restart::new(RestartPolicy::Always), ms(1), 1, 12);
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
    }

    #[test]
    fn a_run_of_ten_seconds_starts_the_waits_over() {
        let mut restart = Restart::new(RestartPolicy::UnlessStopped);
        assert_eq!(crash(&mut restart, ms(9_999), 0, 3).0, [100, 200, 400]);
        assert_eq!(crash(&mut restart, ms(10_000), 0, 2).0, [100, 100]);
    }

    #[test]
    fn policies_differ_in_what_they_take_for_an_end() {
        for (policy, code, again) in [
            (RestartPolicy::No, 1, false),
            (RestartPolicy::Always, 0, true),
            (RestartPolicy::UnlessStopped, 0, true),
            (RestartPolicy::OnFailure(0), 0, false),
            (RestartPolicy::OnFailure(0), 137, true),
        ] {
            let (waits, _) = crash(&mut Restart::new(policy.clone()), ms(5), code, 1);
            assert_eq!(!waits.is_empty(), again, "{policy:?} {code}");
        }
    }

    #[test]
    fn attempts_are_counted_and_a_good_run_does_not_give_them_back() {
        let mut restart = Restart::new(RestartPolicy::OnFailure(3));
        let (waits, last) = crash(&mut restart, ms(20_000), 1, 9);
        assert_eq!((waits.len(), last), (3, RestartAction::GiveUp { restarts: 3 }));
        assert_eq!(restart.restarts(), 3);
    }

    #[test]
    fn attempts_count_over_a_change_of_supervisors() {
        let mut restart = Restart::resumed(RestartPolicy::OnFailure(3), 2);
        let (waits, last) = crash(&mut restart, ms(1), 1, 9);
        assert_eq!((waits.len(), last), (1, RestartAction::GiveUp { restarts: 3 }));
    }

    #[test]
    fn a_stop_on_purpose_ends_the_wait_and_forgets() {
        let mut restart = Restart::new(RestartPolicy::Always);
        crash(&mut restart, ms(1), 1, 4);
        restart.on(RestartFact::Started, ms(0));
        let RestartAction::Wait { until } = restart.on(RestartFact::Exited { code: 1 }, ms(1)) else { panic!() };
        assert_eq!(restart.on(RestartFact::Stopped, ms(2)), RestartAction::Nothing);
        assert_eq!(restart.on(RestartFact::WaitOver, until), RestartAction::Nothing);
        assert_eq!(restart.state(), RestartState::Down);
        assert_eq!(crash(&mut restart, ms(1), 1, 1).0, [100]);
    }

    #[test]
    fn a_timer_that_comes_too_early_is_set_again() {
        let mut restart = Restart::new(RestartPolicy::Always);
        restart.on(RestartFact::Started, ms(0));
        restart.on(RestartFact::Exited { code: 1 }, ms(10));
        assert_eq!(restart.on(RestartFact::WaitOver, ms(50)), RestartAction::Wait { until: ms(110) });
        assert_eq!(restart.on(RestartFact::WaitOver, ms(110)), RestartAction::Start);
    }

    #[test]
    fn after_a_reboot_only_what_should_run_runs() {
        for (policy, stopped, code, start) in [
            (RestartPolicy::No, false, 1, false),
            (RestartPolicy::Always, true, 0, true),
            (RestartPolicy::UnlessStopped, true, 137, false),
            (RestartPolicy::UnlessStopped, false, 137, true),
            (RestartPolicy::OnFailure(0), false, 0, false),
            (RestartPolicy::OnFailure(0), false, 137, true),
        ] {
            let action = Restart::new(policy.clone()).on(RestartFact::Found { stopped, code }, ms(0));
            assert_eq!(action == RestartAction::Start, start, "{policy:?} {stopped} {code}");
        }
    }
}
