//! Whether a container is healthy, found out by probes.
//!
//! The rules are the Docker engine's (moby, `daemon/health.go`): a probe comes `interval` after the last one ended, or
//! `start_interval` after it as long as the start period lasts and no probe was good; failures of the start period don't
//! count; `retries` failures in a row make it unhealthy; one good probe makes it healthy and ends the start period.
//!
//! Early probes ([`HealthConfig::early`]) fill the time before the first of these: at once, then after waits that double.
//! One that is good counts like any other; one that is bad never happened. They end where the first regular one begins, so
//! nothing comes later than it would without them.

use crate::world::HealthcheckSpec;
use std::time::Duration;

/// Times and numbers of a health check, defaults applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// Time between probes.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Time in which failures don't count.
    pub start_period: Duration,
    /// Time between probes during the start period.
    pub start_interval: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u64,
    /// Probe early, too.
    pub early: bool,
}

/// Wait after the first early probe.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// An early probe is followed by a wait of at least so many times its length: those that cost much must not slow down what
/// they wait for.
const REST: u32 = 4;

impl HealthConfig {
    /// Fills in the engine's defaults: every 30 s, at most 30 s, no start period, every 5 s in it, 3 failures.
    pub fn of(spec: &HealthcheckSpec) -> Self {
        let or = |given: Option<crate::units::Duration>, default: u64| match given.map(crate::units::Duration::to_std) {
            Some(length) if !length.is_zero() => length,
            _ => Duration::from_secs(default),
        };
        Self {
            interval: or(spec.interval, 30),
            timeout: or(spec.timeout, 30),
            start_period: or(spec.start_period, 0),
            start_interval: or(spec.start_interval, 5),
            retries: spec.retries.filter(|n| *n > 0).unwrap_or(3),
            early: false,
        }
    }

    /// The same with early probes, unless `start_interval` says how often to probe at the start: then that is so.
    pub fn with_early(spec: &HealthcheckSpec) -> Self {
        Self { early: spec.start_interval.is_none_or(|i| i.to_std().is_zero()), ..Self::of(spec) }
    }
}

/// What is known of a container's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// No answer that counts yet.
    Starting,
    /// The last probe was good.
    Healthy,
    /// Too many bad probes in a row.
    Unhealthy,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthFact {
    /// The container was started.
    Started,
    /// The time of the next probe has come.
    Due,
    /// A probe ended.
    Probed {
        /// Its exit code was 0.
        good: bool,
    },
    /// The container ended.
    Ended,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probing {
    /// Nothing.
    Nothing,
    /// Say [`HealthFact::Due`] at that time.
    Wait {
        /// When.
        until: Duration,
    },
    /// Probe now; a probe that hasn't ended at the deadline is bad.
    Probe {
        /// When it must have ended.
        deadline: Duration,
    },
}

/// The health of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    config: HealthConfig,
    state: HealthState,
    started: Option<Duration>,
    /// When the probe that runs began.
    probing: Option<Duration>,
    failures: u64,
    /// As long as probes are early ones.
    early: Option<Early>,
}

/// Before the first regular probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Early {
    /// When that one comes.
    end: Duration,
    /// Wait after the next early one.
    pause: Duration,
}

impl Health {
    /// A container that isn't running yet.
    pub fn new(config: HealthConfig) -> Self {
        Self { config, state: HealthState::Starting, started: None, probing: None, failures: 0, early: None }
    }

    /// What is known.
    pub fn state(&self) -> HealthState {
        self.state
    }

    /// Failures in a row.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Whether the probe that runs is an early one: nobody is told of it unless it is good.
    pub fn is_early(&self) -> bool {
        self.probing.is_some() && self.early.is_some()
    }

    /// Takes note of `fact` at the time `now` and says what is to be done.
    pub fn on(&mut self, fact: HealthFact, now: Duration) -> Probing {
        match fact {
            HealthFact::Started => {
                *self = Self { started: Some(now), ..Self::new(self.config) };
                let first = now.saturating_add(self.interval(now));
                self.early = self.config.early.then_some(Early { end: first, pause: FIRST_PAUSE });
                Probing::Wait { until: if self.config.early { now } else { first } }
            }
            HealthFact::Ended => {
                *self = Self { state: self.state, ..Self::new(self.config) };
                Probing::Nothing
            }
            HealthFact::Due if self.started.is_some() && self.probing.is_none() => {
                self.probing = Some(now);
                self.early = self.early.filter(|early| now < early.end);
                let deadline = now.saturating_add(self.config.timeout);
                Probing::Probe { deadline: self.early.map_or(deadline, |early| deadline.min(early.end)) }
            }
            HealthFact::Probed { good } => match (self.probing.take(), &mut self.early) {
                (Some(began), Some(early)) if !good => {
                    let wait = early.pause.max(now.saturating_sub(began).saturating_mul(REST));
                    early.pause = wait.saturating_mul(2);
                    Probing::Wait { until: now.saturating_add(wait).min(early.end) }
                }
                (Some(began), _) => {
                    self.early = None;
                    self.count(good, began);
                    Probing::Wait { until: now.saturating_add(self.interval(now)) }
                }
                // A probe of a run that is over.
                (None, _) => Probing::Nothing,
            },
            HealthFact::Due => Probing::Nothing,
        }
    }

    /// Counts a probe that began at the time `began`.
    fn count(&mut self, good: bool, began: Duration) {
        if good {
            (self.state, self.failures) = (HealthState::Healthy, 0);
        } else if !self.is_in_start_period(began) {
            self.failures += 1;
            if self.failures >= self.config.retries {
                self.state = HealthState::Unhealthy;
            }
        }
    }

    /// Whether the start period lasts: it ends with its time or with the first good probe.
    fn is_in_start_period(&self, now: Duration) -> bool {
        let young = self.started.is_some_and(|started| now.saturating_sub(started) < self.config.start_period);
        young && self.state == HealthState::Starting
    }

    fn interval(&self, now: Duration) -> Duration {
        if self.is_in_start_period(now) { self.config.start_interval } else { self.config.interval }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn config() -> HealthConfig {
        HealthConfig { interval: s(10), timeout: s(2), start_period: s(0), start_interval: s(1), retries: 3, early: false }
    }

    /// Runs probes with these results, each at its time and ended at once; returns the times of the probes.
    fn probe(health: &mut Health, results: &[bool]) -> Vec<u64> {
        let mut action = health.on(HealthFact::Started, s(0));
        let mut times = Vec::new();
        for good in results {
            let Probing::Wait { until } = action else { panic!("{action:?}") };
            assert_eq!(health.on(HealthFact::Due, until), Probing::Probe { deadline: until + health.config.timeout });
            times.push(until.as_secs());
            action = health.on(HealthFact::Probed { good: *good }, until);
        }
        times
    }

    #[test]
    fn the_first_good_probe_makes_it_healthy() {
        let mut health = Health::new(config());
        assert_eq!(probe(&mut health, &[false, true]), [10, 20]);
        assert_eq!((health.state(), health.failures()), (HealthState::Healthy, 0));
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_one_good_probe_heals_it() {
        let mut health = Health::new(config());
        probe(&mut health, &[true, false, false, true, false, false]);
        assert_eq!(health.state(), HealthState::Healthy);
        probe(&mut health, &[true, false, false, false]);
        assert_eq!(health.state(), HealthState::Unhealthy);
        probe(&mut health, &[false, false, false, true]);
        assert_eq!(health.state(), HealthState::Healthy);
    }

    #[test]
    fn in_the_start_period_probes_come_faster_and_failures_do_not_count() {
        let mut health = Health::new(HealthConfig { start_period: s(4), ..config() });
        assert_eq!(probe(&mut health, &[false, false, false, false, false]), [1, 2, 3, 4, 14]);
        assert_eq!((health.state(), health.failures()), (HealthState::Starting, 2));
    }

    #[test]
    fn a_good_probe_ends_the_start_period() {
        let mut health = Health::new(HealthConfig { start_period: s(60), ..config() });
        assert_eq!(probe(&mut health, &[false, true, false, false, false]), [1, 2, 12, 22, 32]);
        assert_eq!(health.state(), HealthState::Unhealthy);
    }

    #[test]
    fn a_restart_begins_anew_and_late_answers_are_ignored() {
        let mut health = Health::new(config());
        probe(&mut health, &[true]);
        health.on(HealthFact::Due, s(20));
        assert_eq!(health.on(HealthFact::Ended, s(21)), Probing::Nothing);
        assert_eq!(health.on(HealthFact::Probed { good: false }, s(22)), Probing::Nothing);
        assert_eq!(health.on(HealthFact::Started, s(30)), Probing::Wait { until: s(40) });
        assert_eq!(health.state(), HealthState::Starting);
    }

    #[test]
    fn only_one_probe_at_a_time() {
        let mut health = Health::new(config());
        health.on(HealthFact::Started, s(0));
        assert!(matches!(health.on(HealthFact::Due, s(10)), Probing::Probe { .. }));
        assert_eq!(health.on(HealthFact::Due, s(11)), Probing::Nothing);
    }

    #[test]
    fn defaults_are_the_engines() {
        let config = HealthConfig::of(&HealthcheckSpec::default());
        assert_eq!(config, HealthConfig { interval: s(30), timeout: s(30), start_period: s(0), start_interval: s(5), retries: 3, early: false });
        let spec = HealthcheckSpec { interval: Some(crate::units::Duration::from_secs(7)), retries: Some(9), ..HealthcheckSpec::default() };
        assert_eq!((HealthConfig::of(&spec).interval, HealthConfig::of(&spec).retries), (s(7), 9));
    }

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Runs bad probes of such a length until one isn't early, which begins; returns when the early ones began.
    fn early(health: &mut Health, length: Duration) -> (Vec<Duration>, Duration) {
        let mut action = health.on(HealthFact::Started, s(100));
        let mut times = Vec::new();
        loop {
            let Probing::Wait { until } = action else { panic!("{action:?}") };
            let Probing::Probe { deadline } = health.on(HealthFact::Due, until) else { panic!() };
            if !health.is_early() {
                assert_eq!(deadline, until + health.config.timeout);
                return (times, until - s(100));
            }
            times.push(until - s(100));
            action = health.on(HealthFact::Probed { good: false }, deadline.min(until + length));
            assert_eq!((health.state(), health.failures()), (HealthState::Starting, 0));
        }
    }

    fn eager() -> HealthConfig {
        HealthConfig { early: true, ..config() }
    }

    #[test]
    fn early_probes_come_at_once_and_then_ever_more_seldom() {
        let mut health = Health::new(eager());
        let doubled = [0, 10, 30, 70, 150, 310, 630, 1270, 2550, 5110].map(ms).to_vec();
        assert_eq!(early(&mut health, s(0)), (doubled, s(10)));
        // From here on it is as if they had never been.
        assert_eq!(health.on(HealthFact::Probed { good: false }, s(111)), Probing::Wait { until: s(121) });
        assert_eq!(health.failures(), 1);
        let mut health = Health::new(HealthConfig { interval: s(30), ..eager() });
        assert_eq!(early(&mut health, s(0)).0.len(), 12);
    }

    #[test]
    fn early_probes_that_take_long_leave_time_for_what_they_wait_for() {
        assert_eq!(early(&mut Health::new(eager()), ms(500)), ([0, 2500, 7000].map(ms).to_vec(), s(10)));
    }

    #[test]
    fn one_that_hangs_ends_where_the_regular_one_begins() {
        let mut health = Health::new(HealthConfig { timeout: s(60), ..eager() });
        assert_eq!(early(&mut health, s(1000)), (vec![s(0)], s(10)));
        let mut health = Health::new(HealthConfig { start_period: s(4), ..eager() });
        assert_eq!(early(&mut health, s(1000)), (vec![s(0)], s(1)));
    }

    #[test]
    fn a_good_early_probe_counts_and_begins_the_rhythm() {
        let mut health = Health::new(HealthConfig { start_period: s(60), ..eager() });
        assert_eq!(health.on(HealthFact::Started, s(0)), Probing::Wait { until: s(0) });
        assert_eq!(health.on(HealthFact::Due, s(0)), Probing::Probe { deadline: s(1) });
        assert_eq!(health.on(HealthFact::Due, ms(1)), Probing::Nothing, "never two at once");
        let Probing::Wait { until } = health.on(HealthFact::Probed { good: false }, ms(2)) else { panic!() };
        assert_eq!(until, ms(12));
        health.on(HealthFact::Due, until);
        assert_eq!(health.on(HealthFact::Probed { good: true }, ms(14)), Probing::Wait { until: ms(10_014) });
        assert_eq!(health.state(), HealthState::Healthy);
        for n in 1..=3 {
            health.on(HealthFact::Due, s(10 * n));
            assert!(!health.is_early());
            health.on(HealthFact::Probed { good: false }, s(10 * n));
        }
        assert_eq!(health.state(), HealthState::Unhealthy, "the start period is over");
    }

    #[test]
    fn who_says_how_often_to_probe_at_the_start_is_obeyed() {
        let mut spec = HealthcheckSpec::default();
        assert!(HealthConfig::with_early(&spec).early && !HealthConfig::of(&spec).early);
        spec.start_interval = Some(crate::units::Duration::from_secs(2));
        assert_eq!(HealthConfig::with_early(&spec), HealthConfig::of(&spec));
    }
}
