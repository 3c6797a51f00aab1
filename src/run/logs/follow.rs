//! Follows many logs at once.

use super::lines::Lines;
use super::merge::{self, Piece};
use super::source::{Begin, Control, Source};
use crate::engine::Engine;
use crate::run::Context;
use crate::world::{Event, Target};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// Pieces that may lie unread between the logs and their merging.
const PIECES: usize = 16;

/// Follows logs and tells them, merged. Dropped, it stops at once.
#[derive(Debug)]
pub(in crate::run) struct Follower {
    engine: Arc<dyn Engine>,
    tasks: JoinSet<()>,
    sources: BTreeMap<String, Followed>,
    pieces: mpsc::Sender<Piece>,
    streams: Arc<AtomicUsize>,
    merging: JoinSet<()>,
}

#[derive(Debug)]
struct Followed {
    control: mpsc::UnboundedSender<Control>,
    task: AbortHandle,
}

impl Follower {
    /// Nothing is followed yet. `heading` is told before anything else.
    pub fn new(ctx: &Context, heading: Option<Event>) -> Self {
        let (pieces, receiver) = mpsc::channel(PIECES);
        let streams = Arc::new(AtomicUsize::new(0));
        let mut merging = JoinSet::new();
        let (counted, out) = (Arc::clone(&streams), ctx.out.clone());
        // Without a reader the sources find their channel closed and end, too.
        merging.spawn(async move { drop(merge::live(receiver, heading, counted, &out).await) });
        Self { engine: Arc::clone(&ctx.engine), tasks: JoinSet::new(), sources: BTreeMap::new(), pieces, streams, merging }
    }

    /// Follows the container `id`, shown as `name`.
    pub(in crate::run) fn follow(&mut self, id: &str, name: Arc<str>, lines: Option<Lines>, begin: Begin) {
        let (control, told) = mpsc::unbounded_channel();
        let lines = lines.unwrap_or_else(|| Lines::new(Arc::clone(&name)));
        let source = Source { engine: Arc::clone(&self.engine), target: Target::existing("", id), name, lines };
        let task = self.tasks.spawn(source.follow(begin, told, self.pieces.clone(), Arc::clone(&self.streams)));
        self.sources.insert(id.to_owned(), Followed { control, task });
    }

    pub fn follows(&self, id: &str) -> bool {
        self.sources.contains_key(id)
    }

    /// Tells the source of the container `id` what happened to it.
    pub(in crate::run) fn tell(&self, id: &str, news: Control) {
        if let Some(source) = self.sources.get(id) {
            // A source that has ended has nobody to tell.
            let _ = source.control.send(news);
        }
    }

    /// Tells the heading now, if it wasn't yet.
    pub fn open(&self) {
        // A full channel means that it is told anyway.
        let _ = self.pieces.try_send(Piece::Open);
    }

    /// Leaves the containers alone that still run, and waits until everything is told that the others wrote.
    pub async fn finish(mut self, runs: impl Fn(&str) -> bool) {
        for (id, source) in std::mem::take(&mut self.sources) {
            if runs(&id) {
                source.task.abort();
            }
        }
        while self.tasks.join_next().await.is_some() {}
        drop(self.pieces);
        while self.merging.join_next().await.is_some() {}
    }
}
