//! Logs of several containers as one.

mod follow;
mod lines;
mod merge;
mod names;
mod source;

pub(in crate::run) use follow::Follower;
pub(in crate::run) use lines::Lines;
pub(in crate::run) use names::source as source_name;
pub(in crate::run) use source::{Begin, Control};

use super::watch::{Scope, Turn, Watcher, identify};
use super::{Context, Error, Feed, Interrupts};
use crate::engine::Engine;
use crate::units::Timestamp;
use crate::world::{Container, ContainerId, Event, LogQuery, ObserveQuery, Target};
use futures::StreamExt;
use source::Source;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Whose logs, and which part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogsRequest {
    /// Services; empty means all.
    pub services: Vec<String>,
    /// Only the replica with this number.
    pub index: Option<u32>,
    /// Which part. `tail` counts for each container. With `follow` it ends when no container runs any more.
    pub query: LogQuery,
}

impl Scope for &LogsRequest {
    fn shows(&self, c: &ContainerId) -> bool {
        !c.oneoff && (self.services.is_empty() || self.services.contains(&c.service)) && self.index.is_none_or(|i| c.number == Some(i))
    }

    fn watches(&self, c: &ContainerId) -> bool {
        self.shows(c)
    }
}

/// Sends the logs of the project's containers as events, merged by the engine's time. Interrupted, it just ends.
///
/// What was written before is merged exactly; what is written while it is followed is held back for 50 ms at most, so
/// that lines of several containers come in the order of the engine's clock. Restarted and new containers are followed,
/// too.
///
/// # Errors
/// The engine can't be asked.
pub async fn logs(ctx: &Context, request: &LogsRequest, interrupts: &Interrupts) -> Result<(), Error> {
    tokio::select! {
        biased;
        () = interrupts.reached(1) => Ok(()),
        () = ctx.out.closed() => Ok(()),
        done = tell(ctx, request) => done,
    }
}

async fn tell(ctx: &Context, request: &LogsRequest) -> Result<(), Error> {
    let past = LogQuery { follow: false, ..request.query.clone() };
    // A log with an end in time is followed up to there, whatever happens to its container.
    let watching = request.query.follow && request.query.until.is_none();
    let mut feed = match watching {
        true => Some(Feed::subscribe::<1>(&ctx.engine, Some(&ctx.project)).await?),
        false => None,
    };
    let query = ObserveQuery { project: Some(ctx.project.clone()), containers_only: true, ..ObserveQuery::default() };
    let observed = ctx.engine.observe(&query).await?;
    let containers: Vec<&Container> = observed.containers.iter().filter(|c| request.shows(&identify(c))).collect();
    let mut names: Vec<_> = containers.iter().map(|c| name(ctx, c)).collect();
    names.sort_unstable();
    ctx.tell(Event::Attach { sources: names, announce: false }).await;
    if request.query.follow && !watching {
        let mut follower = Follower::new(ctx, None);
        for c in containers {
            follower.follow(&c.id, name(ctx, c), None, Begin::At(request.query.clone()));
        }
        follower.finish(|_| false).await;
        return Ok(());
    }
    let read = history(ctx, &containers, &past, watching).await;
    let Some([feed]) = &mut feed else { return Ok(()) };
    let mut watcher = Watcher::new(ctx, request, None);
    for (c, mut lines) in containers.into_iter().zip(read) {
        if !c.is_alive()
            && request.query.tail == Some(0)
            && let Some(lines) = &mut lines
        {
            last_line(&ctx.engine, c).await.into_iter().for_each(|time| lines.begin_after(time));
        }
        let since = lines.as_mut().and_then(Lines::resume).or(request.query.since);
        let tail = request.query.tail.filter(|n| *n == 0);
        let begin = if c.is_alive() { Begin::At(LogQuery { since, tail, ..LogQuery::default() }) } else { Begin::NextStart };
        watcher.adopt(c, lines, begin);
    }
    watcher.doubt();
    while watcher.any_alive() {
        if let Turn::Lost(error) = watcher.turn(feed).await {
            return Err(error.into());
        }
    }
    watcher.follower.finish(|_| false).await;
    Ok(())
}

/// How many of the last lines are looked at for the youngest: the two streams are written side by side.
const LAST: u64 = 20;

/// When the youngest line of a container's log was written; `None` without one, or where that can't be found out.
pub(in crate::run) async fn last_line(engine: &Arc<dyn Engine>, container: &Container) -> Option<Timestamp> {
    let query = LogQuery { tail: Some(LAST), ..LogQuery::default() };
    let log = engine.logs(&Target::existing(&container.name, &container.id), &query).await.ok()?;
    log.fold(None, async |last: Option<Timestamp>, chunk| last.max(chunk.ok().and_then(|c| c.time))).await
}

fn name(ctx: &Context, container: &Container) -> Arc<str> {
    source_name(&ctx.project, container.service(), &container.name)
}

/// Tells what was written so far and returns, by container, what is needed to go on from there.
async fn history(ctx: &Context, containers: &[&Container], query: &LogQuery, follow: bool) -> Vec<Option<Lines>> {
    let mut reading = JoinSet::new();
    let mut sources = Vec::with_capacity(containers.len());
    for (i, c) in containers.iter().enumerate() {
        let (sender, receiver) = mpsc::channel(2);
        sources.push(receiver);
        let name = name(ctx, c);
        let source =
            Source { engine: Arc::clone(&ctx.engine), target: Target::existing(&c.name, &c.id), name: Arc::clone(&name), lines: Lines::new(name) };
        // What a running process has not ended with a newline may still go on.
        let flush = !follow || !c.is_alive();
        let (query, troubles) = (query.clone(), ctx.out.clone());
        reading.spawn(async move { (i, source.read(query, flush, sender, troubles).await) });
    }
    // An error means that nobody reads; the readers find out, too.
    let _ = merge::finished(sources, &ctx.out).await;
    let mut read: Vec<Option<Lines>> = containers.iter().map(|_| None).collect();
    while let Some(done) = reading.join_next().await {
        if let Ok((i, lines)) = done {
            read[i] = Some(lines);
        }
    }
    read
}
