//! Reading the logs of simulated containers.

use super::Sim;
use super::container::Container;
use crate::units::Timestamp;
use crate::world::{EngineError, LogChunk, LogQuery, State as Life, Target};
use futures::stream::{self, BoxStream, StreamExt};
use std::collections::VecDeque;
use tokio::sync::watch;

/// A reader of one log.
struct Reader {
    sim: Sim,
    container: String,
    /// Place of the next chunk that hasn't been looked at.
    next: usize,
    ready: VecDeque<LogChunk>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Tells of news; `None` when not following.
    news: Option<watch::Receiver<u64>>,
}

/// The log of `container`, and what comes later if asked to follow.
pub(super) fn read(sim: &Sim, container: &Target, query: &LogQuery) -> Result<BoxStream<'static, Result<LogChunk, EngineError>>, EngineError> {
    let mut state = sim.lock();
    let id = state.id_of(container)?;
    let log = &state.get(&id)?.log;
    let mut reader = Reader {
        sim: sim.clone(),
        container: id,
        next: log.chunks.len(),
        ready: VecDeque::new(),
        since: query.since,
        until: query.until,
        news: query.follow.then(|| log.version.subscribe()),
    };
    let wanted: Vec<LogChunk> = log.chunks.iter().filter(|c| reader.wants(c)).cloned().collect();
    let skipped = query.tail.map_or(0, |tail| wanted.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX)));
    reader.ready.extend(wanted.into_iter().skip(skipped));
    drop(state);
    Ok(stream::unfold(reader, |mut reader| async move { reader.next_chunk().await.map(|chunk| (Ok(chunk), reader)) }).boxed())
}

impl Reader {
    fn wants(&self, chunk: &LogChunk) -> bool {
        chunk.time.is_none_or(|t| self.since.is_none_or(|s| t >= s) && self.until.is_none_or(|u| t <= u))
    }

    async fn next_chunk(&mut self) -> Option<LogChunk> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(chunk);
            }
            let news = self.news.as_mut()?;
            news.mark_unchanged();
            let (fresh, alive) = {
                let mut state = self.sim.lock();
                let Ok(container) = state.get(&self.container) else { return None };
                (container.log.chunks.get(self.next..).unwrap_or_default().to_vec(), follows(container))
            };
            self.next += fresh.len();
            let late = |c: &LogChunk| c.time.zip(self.until).is_some_and(|(t, until)| t > until);
            let ended = fresh.iter().any(late);
            let wanted: Vec<LogChunk> = fresh.into_iter().filter(|c| self.wants(c)).collect();
            self.ready.extend(wanted);
            if ended {
                self.news = None;
            }
            if !self.ready.is_empty() {
                continue;
            }
            let until = self.until.map(|u| u.0 - self.sim.now().0);
            if !alive || until.is_some_and(|left| left <= 0) {
                return None;
            }
            let news = self.news.as_mut()?;
            let left = until.map_or(std::time::Duration::MAX, |left| std::time::Duration::from_nanos(left.unsigned_abs()));
            if tokio::time::timeout(left, news.changed()).await.is_ok_and(|r| r.is_err()) {
                return None;
            }
        }
    }
}

/// Whether more can come.
fn follows(container: &Container) -> bool {
    matches!(container.state, Life::Running | Life::Paused)
}
