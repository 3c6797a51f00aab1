//! Looks after containers that are shown: who starts, who ends, who only falls over, and their logs.

use super::logs::{Begin, Control, Follower, Lines, source_name};
use super::{Context, Feed, News};
use crate::engine::Engine;
use crate::units::Timestamp;
use crate::world::{Container, ContainerDetails, ContainerId, EngineError, EngineEvent, Event, EventKind, Happening, LogQuery, State, Target};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Which containers.
pub(super) trait Scope {
    /// Its log is shown.
    fn shows(&self, container: &ContainerId) -> bool;
    /// Its end counts.
    fn watches(&self, container: &ContainerId) -> bool;
}

/// Something that matters to who waits for the end.
#[derive(Debug)]
pub(super) enum Turn {
    /// A container's process ended for good.
    Ended(Ended),
    /// Something else happened.
    Other,
    /// Nothing more will be heard.
    Lost(EngineError),
}

/// A container that ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub service: String,
    /// Name in front of its lines.
    pub name: Arc<str>,
    pub code: i64,
}

type Look = BoxFuture<'static, (Arc<EngineEvent>, Result<ContainerDetails, EngineError>)>;

/// Looks after containers.
pub(super) struct Watcher<'a, S> {
    ctx: &'a Context,
    scope: S,
    pub follower: Follower,
    /// Containers in scope whose process is alive or will be again, by id.
    pub alive: BTreeMap<String, ContainerId>,
    /// Names of those that were heard to start.
    started: BTreeSet<String>,
    /// Names of those that were started, which was not heard yet.
    expected: BTreeSet<String>,
    /// Containers that were created since we listen.
    created: BTreeSet<String>,
    /// Names that are or were shown.
    names: BTreeSet<Arc<str>>,
    looks: FuturesUnordered<Look>,
    /// Events of containers that are being looked at, to be taken in their order.
    queued: BTreeMap<String, VecDeque<Arc<EngineEvent>>>,
    turns: VecDeque<Turn>,
}

impl<'a, S: Scope> Watcher<'a, S> {
    /// Nothing is known yet. `heading` is told before the first line.
    pub fn new(ctx: &'a Context, scope: S, heading: Option<Event>) -> Self {
        Self {
            ctx,
            scope,
            follower: Follower::new(ctx, heading),
            alive: BTreeMap::new(),
            started: BTreeSet::new(),
            expected: BTreeSet::new(),
            created: BTreeSet::new(),
            names: BTreeSet::new(),
            looks: FuturesUnordered::new(),
            queued: BTreeMap::new(),
            turns: VecDeque::new(),
        }
    }

    /// A container that existed before: its log is followed from `begin` on.
    pub fn adopt(&mut self, container: &Container, lines: Option<Lines>, begin: Begin) {
        let id = identify(container);
        if container.is_alive() && (self.scope.shows(&id) || self.scope.watches(&id)) {
            self.alive.insert(id.id.clone(), id.clone());
        }
        if self.scope.shows(&id) {
            let name = source_name(&self.ctx.project, &id.service, &id.name);
            self.names.insert(Arc::clone(&name));
            self.follower.follow(&id.id, name, lines, begin);
        }
    }

    /// Whether a watched container is alive.
    pub fn any_alive(&self) -> bool {
        !self.expected.is_empty() || self.alive.values().any(|c| self.scope.watches(c))
    }

    /// These containers were started: until that is heard, they count as alive.
    pub fn expect(&mut self, names: impl Iterator<Item = String>) {
        self.expected.extend(names.filter(|name| !self.started.contains(name)));
    }

    /// Names of the containers in scope that are alive.
    pub fn running(&self) -> Vec<String> {
        let names: BTreeSet<_> = self.alive.values().map(|c| &c.name).chain(&self.expected).collect();
        names.into_iter().cloned().collect()
    }

    /// Waits until something happens. Cancel safe.
    pub async fn turn(&mut self, feed: &mut Feed) -> Turn {
        if let Some(turn) = self.turns.pop_front() {
            return turn;
        }
        tokio::select! {
            biased;
            Some((event, details)) = self.looks.next() => self.looked(&event, details),
            news = feed.next() => match news {
                Some(News::Event(event)) => self.heard(event),
                Some(News::Gap) => self.doubt(),
                Some(News::Lost(error)) => return Turn::Lost(error),
                // Told once already.
                None => std::future::pending().await,
            },
        }
        self.turns.pop_front().unwrap_or(Turn::Other)
    }

    fn heard(&mut self, event: Arc<EngineEvent>) {
        let c = &event.container;
        if c.oneoff || !(self.scope.shows(c) || self.scope.watches(c)) {
            return;
        }
        if let Some(queue) = self.queued.get_mut(&c.id) {
            return queue.push_back(event);
        }
        match &event.kind {
            EventKind::Created => drop(self.created.insert(c.id.clone())),
            EventKind::Started => self.started(&event),
            EventKind::Died { .. } => self.look(event),
            _ => {}
        }
    }

    fn started(&mut self, event: &EngineEvent) {
        let c = &event.container;
        self.alive.insert(c.id.clone(), c.clone());
        self.started.insert(c.name.clone());
        self.expected.remove(&c.name);
        if !self.scope.shows(c) {
            return;
        }
        if self.follower.follows(&c.id) {
            return self.follower.tell(&c.id, Control::Started);
        }
        let name = source_name(&self.ctx.project, &c.service, &c.name);
        let known = !self.names.insert(Arc::clone(&name));
        let new = self.created.contains(&c.id);
        let begin = if new { Begin::At(LogQuery::default()) } else { Begin::Run };
        self.follower.follow(&c.id, name, None, begin);
        if known && new && c.replaces.is_some() {
            self.follower.tell(&c.id, Control::Recreated { time: event.time });
        }
    }

    /// Only a look tells whether its restart policy starts it again.
    fn look(&mut self, event: Arc<EngineEvent>) {
        self.queued.entry(event.container.id.clone()).or_default();
        let engine: Arc<dyn Engine> = Arc::clone(&self.ctx.engine);
        self.looks.push(Box::pin(async move {
            let details = engine.inspect(&Target::existing(&event.container.name, &event.container.id)).await;
            (event, details)
        }));
    }

    fn looked(&mut self, event: &EngineEvent, details: Result<ContainerDetails, EngineError>) {
        let c = &event.container;
        let runs = details.as_ref().is_ok_and(|d| matches!(d.state, Some(State::Restarting | State::Running | State::Paused)));
        let (time, code) = match (&event.kind, &details) {
            (EventKind::Died { exit_code }, _) => (event.time, Some(*exit_code)),
            // Asked after a gap.
            (_, Ok(d)) if !runs => (d.finished.unwrap_or(event.time), Some(d.exit_code)),
            _ => (event.time, None),
        };
        if let Some(code) = code {
            let oom = details.is_ok_and(|d| d.oom_killed);
            self.follower.tell(&c.id, Control::Exited { time, what: Happening::Exited { code, restarting: runs, oom } });
            if !runs && self.alive.remove(&c.id).is_some() && self.scope.watches(c) {
                let name = source_name(&self.ctx.project, &c.service, &c.name);
                self.turns.push_back(Turn::Ended(Ended { service: c.service.clone(), name, code }));
            }
        }
        for event in self.queued.remove(&c.id).unwrap_or_default() {
            self.heard(event);
        }
    }

    /// Looks at everything that is thought to be alive: events were missed, or the list that said so was out of date, as
    /// it is on some engines for a moment after a process ended.
    pub fn doubt(&mut self) {
        for c in self.alive.values().filter(|c| !self.queued.contains_key(&c.id)).cloned().collect::<Vec<_>>() {
            self.look(Arc::new(EngineEvent { time: Timestamp(0), container: c, kind: EventKind::Other(String::new()) }));
        }
    }
}

/// A container as events name it.
pub(super) fn identify(container: &Container) -> ContainerId {
    ContainerId {
        id: container.id.clone(),
        name: container.name.clone(),
        service: container.service().to_owned(),
        number: container.number(),
        oneoff: container.is_oneoff(),
        replaces: None,
    }
}
