//! What is known of containers, folded from what was observed, what ops returned and what the engine tells.
//!
//! Facts are kept by id: while a container is recreated two containers bear its name one after the other.

use super::Blocked;
use crate::plan::Gate;
use crate::world::{ContainerDetails, ContainerSpec, EngineEvent, EventKind, Health, Observed, State, Target};
use std::collections::BTreeMap;

/// What is known of one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fact {
    /// State; `None` from the moment it is being started until the engine says that it was.
    pub state: Option<State>,
    /// Health since its last start.
    pub health: Option<Health>,
    /// Whether it has a health check.
    pub probed: Option<bool>,
    /// Exit code of its last run.
    pub code: Option<i64>,
    /// It ended and nothing starts it again.
    pub ended: bool,
    /// It is being started by this run: what is heard before the start is about an earlier life.
    pub starting: bool,
    /// It was removed.
    pub gone: bool,
    /// It has run for a while without falling over.
    pub steady: bool,
    /// How often it started again by itself after its process ended, while it was looked at.
    pub restarts: u32,
    /// How often it was started, in all.
    pub starts: u32,
    /// What is known may be out of date.
    pub stale: bool,
    /// Counts what was heard, so that a look that is older than the news is recognised.
    pub heard: u64,
    /// The count at the last look.
    pub looked: Option<u64>,
    /// A look is under way.
    pub looking: bool,
}

/// What a gate makes of a fact.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Passed,
    Wait,
    /// What is known is not enough: look.
    Look,
    /// It must run for a moment before it counts as running.
    Steady,
    Blocked(Blocked),
}

impl Fact {
    /// What `gate` makes of it.
    pub fn judge(&self, gate: Gate) -> Verdict {
        // The order of starts is held by the plan itself.
        if gate == Gate::Started {
            return Verdict::Passed;
        }
        if self.gone {
            return Verdict::Blocked(Blocked::Missing);
        }
        let verdict = if self.stale { Verdict::Look } else { self.weigh(gate) };
        // One look for each piece of news: what is still unclear then only becomes clear by something new.
        if verdict == Verdict::Look && (self.looking || self.looked == Some(self.heard)) { Verdict::Wait } else { verdict }
    }

    fn weigh(&self, gate: Gate) -> Verdict {
        match (self.state, gate) {
            (Some(State::Exited | State::Dead | State::Removing), _) => match (gate, self.code) {
                (_, None) => Verdict::Look,
                (Gate::Completed | Gate::Ready { one_shot: true }, Some(0)) => Verdict::Passed,
                (_, Some(code)) if self.ended => Verdict::Blocked(Blocked::Exited { code }),
                // Its restart policy may start it again.
                _ => Verdict::Look,
            },
            (Some(State::Created), _) if !self.starting => Verdict::Blocked(Blocked::NotStarted),
            (_, Gate::Completed) => Verdict::Wait,
            _ => match (self.probed, self.health, gate) {
                (_, Some(Health::Healthy), _) => Verdict::Passed,
                (_, Some(Health::Unhealthy), _) => Verdict::Blocked(Blocked::Unhealthy),
                (Some(true), ..) => Verdict::Wait,
                (Some(false), _, Gate::Healthy) => Verdict::Blocked(Blocked::NoHealthcheck),
                (Some(false), ..) => match self.state {
                    Some(State::Running | State::Paused) if self.steady => Verdict::Passed,
                    Some(State::Running) => Verdict::Steady,
                    _ => Verdict::Wait,
                },
                (None, ..) => Verdict::Look,
            },
        }
    }

    /// Takes in what the engine tells.
    fn hear(&mut self, kind: &EventKind) {
        if self.starting && !matches!(kind, EventKind::Started | EventKind::Removed) {
            return;
        }
        self.heard += 1;
        match kind {
            EventKind::Created => self.state = Some(State::Created),
            EventKind::Started => {
                if self.state == Some(State::Exited) || self.state == Some(State::Restarting) {
                    self.restarts += 1;
                }
                self.starts += 1;
                (self.state, self.health, self.code) = (Some(State::Running), None, None);
                (self.starting, self.ended, self.steady, self.stale) = (false, false, false, false);
            }
            EventKind::Died { exit_code } => {
                (self.state, self.health, self.code) = (Some(State::Exited), None, Some(*exit_code));
                (self.ended, self.steady) = (false, false);
            }
            EventKind::Stopped => self.ended = self.state == Some(State::Exited),
            EventKind::Health(health) => (self.health, self.probed) = (Some(*health), Some(true)),
            EventKind::Paused => self.state = Some(State::Paused),
            EventKind::Unpaused => self.state = Some(State::Running),
            EventKind::Removed => self.gone = true,
            EventKind::OutOfMemory | EventKind::Killed { .. } | EventKind::Restarted | EventKind::Renamed { .. } | EventKind::Other(_) => {
                self.heard -= 1;
            }
        }
    }

    /// Takes in a look that was begun when `heard` was the count.
    fn see(&mut self, heard: u64, details: &ContainerDetails) {
        self.looking = false;
        self.probed = Some(details.healthcheck.as_ref().is_some_and(|h| !h.is_none() && !h.test.is_empty()));
        if heard != self.heard {
            return; // The news is younger.
        }
        (self.looked, self.stale) = (Some(heard), false);
        if details.state.is_some() {
            self.state = details.state;
        }
        // Engines call what doesn't run unhealthy; one that is about to be started again is not.
        self.health = details.health.filter(|_| matches!(self.state, Some(State::Running | State::Paused)));
        let over = matches!(details.state, Some(State::Exited | State::Dead));
        (self.ended, self.code) = (over, over.then_some(details.exit_code));
        // Only a run that was seen to start has to prove itself.
        self.steady |= self.starts == 0 && !self.starting;
    }
}

/// What is known of all containers.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    by_id: BTreeMap<String, Fact>,
    ids: BTreeMap<String, String>,
}

impl Facts {
    /// What was observed.
    pub fn seeded(observed: &Observed) -> Self {
        let mut facts = Self::default();
        for c in &observed.containers {
            let fact = Fact {
                state: Some(c.state),
                health: c.health,
                // Only running containers show whether they have a health check.
                probed: (c.health.is_some() || c.state == State::Running).then_some(c.health.is_some()),
                code: c.exit_code.filter(|_| c.state == State::Exited),
                ended: c.state == State::Exited,
                steady: c.is_alive(),
                ..Fact::default()
            };
            facts.by_id.insert(c.id.clone(), fact);
            facts.ids.insert(c.name.clone(), c.id.clone());
        }
        facts
    }

    /// Id of a container; its name where no id is known.
    pub fn id<'a>(&'a self, target: &'a Target) -> &'a str {
        target.id.as_deref().or_else(|| self.ids.get(&target.name).map(String::as_str)).unwrap_or(&target.name)
    }

    /// Ids by name.
    pub fn ids(&self) -> &BTreeMap<String, String> {
        &self.ids
    }

    /// What is known of a container.
    pub fn get(&self, id: &str) -> Option<&Fact> {
        self.by_id.get(id)
    }

    fn entry(&mut self, id: &str) -> &mut Fact {
        if !self.by_id.contains_key(id) {
            self.by_id.insert(id.to_owned(), Fact::default());
        }
        self.by_id.get_mut(id).expect("it was just put there")
    }

    /// A container was created.
    pub fn created(&mut self, spec: &ContainerSpec, id: Option<&str>, observed: &Observed) {
        let id = id.unwrap_or(&spec.name).to_owned();
        let test = |h: &crate::world::HealthcheckSpec| !h.is_none();
        let probed = match &spec.healthcheck {
            Some(own) if own.is_none() || !own.test.is_empty() => Some(test(own)),
            _ => observed.images.get(&spec.image).map(|image| image.healthcheck.as_ref().is_some_and(test)),
        };
        let fact = self.entry(&id);
        (fact.state, fact.probed) = (Some(State::Created), probed);
        self.ids.insert(spec.name.clone(), id);
    }

    /// A container has another name.
    pub fn renamed(&mut self, target: &Target, to: &str) {
        let id = self.id(target).to_owned();
        self.ids.remove(&target.name);
        self.ids.insert(to.to_owned(), id);
    }

    /// The engine is about to be asked to start a container.
    pub fn starting(&mut self, id: &str) {
        let fact = self.entry(id);
        (fact.state, fact.health, fact.code) = (None, None, None);
        (fact.starting, fact.ended, fact.steady) = (true, false, false);
    }

    /// The engine was asked to start a container; `changed` is false if it ran already.
    pub fn started(&mut self, id: &str, changed: bool) {
        if !changed {
            let fact = self.entry(id);
            (fact.starting, fact.stale) = (false, true);
        }
    }

    /// The engine could not start a container: what it is now must be looked at.
    pub fn not_started(&mut self, id: &str) {
        let fact = self.entry(id);
        (fact.starting, fact.stale) = (false, true);
    }

    /// A container was removed.
    pub fn removed(&mut self, id: &str) {
        self.entry(id).gone = true;
    }

    /// Takes in what the engine tells. False if nothing was learnt.
    pub fn hear(&mut self, event: &EngineEvent) -> bool {
        let c = &event.container;
        // A name that only the engine told is good enough until an op says better.
        if !c.name.is_empty() && !self.ids.contains_key(&c.name) && event.kind == EventKind::Created {
            self.ids.insert(c.name.clone(), c.id.clone());
        }
        let fact = self.entry(&c.id);
        let before = fact.heard;
        fact.hear(&event.kind);
        fact.heard != before
    }

    /// A look is about to be taken; returns what to give to [`Facts::seen`].
    pub fn looking(&mut self, id: &str) -> u64 {
        let fact = self.entry(id);
        fact.looking = true;
        fact.heard
    }

    /// Takes in a look; `None` if there is no such container.
    pub fn seen(&mut self, id: &str, heard: u64, details: Option<&ContainerDetails>) {
        let fact = self.entry(id);
        match details {
            Some(details) => fact.see(heard, details),
            None => (fact.gone, fact.looking) = (true, false),
        }
    }

    /// It has run long enough since start number `starts`.
    pub fn steady(&mut self, id: &str, starts: u32) {
        let fact = self.entry(id);
        fact.steady |= fact.starts == starts && fact.state == Some(State::Running);
    }

    /// Something may have happened unheard.
    pub fn doubt(&mut self) {
        for fact in self.by_id.values_mut() {
            fact.stale = true;
            fact.heard += 1;
        }
    }
}
