//! One container's log: read to its end, followed from run to run.

use super::lines::Lines;
use super::merge::{BATCH, Piece};
use crate::diag::Diagnostic;
use crate::engine::Engine;
use crate::units::Timestamp;
use crate::world::{ErrorKind, Event, Happening, LogLine, LogQuery, State, Target};
use futures::StreamExt;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// After a process has ended, so much silence means that its log has, too. For engines whose streams don't end then.
const SILENCE: Duration = Duration::from_secs(1);

/// The first lines of a run are at most so much older than what the engine calls its beginning, in nanoseconds.
const EARLY: i64 = 50_000_000;

/// A container whose log is read.
#[derive(Debug)]
pub(in crate::run) struct Source {
    pub engine: Arc<dyn Engine>,
    pub target: Target,
    /// Name in front of its lines.
    pub name: Arc<str>,
    pub lines: Lines,
}

/// What a source has to know of its container.
#[derive(Debug)]
pub(in crate::run) enum Control {
    /// Its process runs, for the first time or again.
    Started,
    /// Its process ended.
    Exited { time: Timestamp, what: Happening },
    /// It took another one's place.
    Recreated { time: Timestamp },
}

/// Where a follower begins.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::run) enum Begin {
    /// With this part of the log, and then on.
    At(LogQuery),
    /// With the first line of the run that is going on.
    Run,
    /// With its next start.
    NextStart,
}

impl Source {
    /// Reads a log to its end and gives back what is needed to go on from there. What has no newline at the end is kept
    /// with it, or given out if `flush`.
    pub async fn read(mut self, query: LogQuery, flush: bool, out: mpsc::Sender<Vec<LogLine>>, troubles: mpsc::Sender<Event>) -> Lines {
        let mut held = Vec::new();
        match self.engine.logs(&self.target, &query).await {
            Ok(log) => {
                let mut log = log.ready_chunks(BATCH);
                while let Some(chunks) = log.next().await {
                    for chunk in chunks {
                        match chunk {
                            Ok(chunk) => self.lines.take(chunk, &mut held),
                            Err(error) => drop(troubles.send(unreadable(&self.name, &error)).await),
                        }
                    }
                    let ready = settled(&mut held);
                    if !ready.is_empty() && out.send(ready).await.is_err() {
                        return self.lines;
                    }
                }
            }
            Err(error) => drop(troubles.send(unreadable(&self.name, &error)).await),
        }
        if flush {
            self.lines.end(&mut held);
        }
        held.sort_by_key(|l| l.time);
        let _ = out.send(held).await;
        self.lines
    }

    /// Follows a log through all runs of its container, until `control` is closed.
    pub async fn follow(mut self, begin: Begin, mut control: mpsc::UnboundedReceiver<Control>, out: mpsc::Sender<Piece>, streams: Arc<AtomicUsize>) {
        let mut query = match begin {
            Begin::At(query) => Some(LogQuery { follow: true, ..query }),
            Begin::NextStart => None,
            Begin::Run => {
                // What an earlier run wrote is older than its end. If this run is over already, only its beginning is known,
                // and lines are up to a moment older than that.
                let details = self.engine.inspect(&self.target).await.unwrap_or_default();
                let over = matches!(details.state, Some(State::Exited | State::Dead));
                let before = if over { details.started.map(|t| Timestamp(t.0 - EARLY)) } else { details.finished };
                before.into_iter().for_each(|time| self.lines.begin_after(time));
                Some(LogQuery { follow: true, since: before, ..LogQuery::default() })
            }
        };
        let mut told = VecDeque::new();
        loop {
            if let Some(query) = query.take() {
                streams.fetch_add(1, Ordering::Relaxed);
                let going_on = self.stream(&query, &mut control, &mut told, &out).await;
                streams.fetch_sub(1, Ordering::Relaxed);
                if !going_on {
                    return;
                }
            }
            let news = match told.pop_front() {
                Some(news) => news,
                None => match control.recv().await {
                    Some(news) => news,
                    None => break,
                },
            };
            match news {
                Control::Started => query = Some(LogQuery { follow: true, since: self.lines.resume(), ..LogQuery::default() }),
                Control::Exited { time, what } => {
                    self.end(&out).await;
                    self.lines.begin_after(time);
                    let _ = out.send(Piece::Happened { source: Arc::clone(&self.name), time, what }).await;
                }
                Control::Recreated { time } => {
                    let _ = out.send(Piece::Happened { source: Arc::clone(&self.name), time, what: Happening::Recreated }).await;
                }
            }
        }
        self.end(&out).await;
    }

    /// Passes a log on until it ends. False if nobody wants it any more.
    async fn stream(
        &mut self,
        query: &LogQuery,
        control: &mut mpsc::UnboundedReceiver<Control>,
        told: &mut VecDeque<Control>,
        out: &mpsc::Sender<Piece>,
    ) -> bool {
        let log = match self.engine.logs(&self.target, query).await {
            Ok(log) => log,
            // Gone already; what is to be said of that is said elsewhere.
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unreachable) => return true,
            Err(error) => return out.send(Piece::Event(unreadable(&self.name, &error))).await.is_ok(),
        };
        let mut log = log.ready_chunks(BATCH);
        let mut open = true;
        loop {
            let ended = told.iter().any(|c| matches!(c, Control::Exited { .. }));
            let chunks = tokio::select! {
                biased;
                chunks = log.next() => chunks,
                news = control.recv(), if open => {
                    match news {
                        Some(news) => told.push_back(news),
                        None => open = false,
                    }
                    continue;
                }
                () = tokio::time::sleep(SILENCE), if ended => None,
            };
            let Some(chunks) = chunks else { return true };
            let mut lines = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                match chunk {
                    Ok(chunk) => self.lines.take(chunk, &mut lines),
                    // The stream broke: an engine that went away says so elsewhere.
                    Err(_) => break,
                }
            }
            if !lines.is_empty() && out.send(Piece::Lines(lines)).await.is_err() {
                return false;
            }
        }
    }

    /// Gives out what has no newline.
    async fn end(&mut self, out: &mpsc::Sender<Piece>) {
        let mut rest = Vec::new();
        self.lines.end(&mut rest);
        if !rest.is_empty() {
            let _ = out.send(Piece::Lines(rest)).await;
        }
    }
}

/// How far times in a log run backwards at most where its two streams meet.
const DISORDER: i64 = 1_000_000;

/// Takes those lines out, in order, that no later line can come before. All of them if that would be none.
fn settled(held: &mut Vec<LogLine>) -> Vec<LogLine> {
    if !held.is_sorted_by_key(|l| l.time) {
        held.sort_by_key(|l| l.time);
    }
    let Some(last) = held.last().map(|l| l.time.0.saturating_sub(DISORDER)) else { return Vec::new() };
    let n = held.partition_point(|l| l.time.0 < last);
    if n == 0 {
        return if held.len() >= BATCH { std::mem::take(held) } else { Vec::new() };
    }
    let rest = held.split_off(n);
    std::mem::replace(held, rest)
}

fn unreadable(name: &str, error: &crate::world::EngineError) -> Event {
    Event::Diagnostic(Diagnostic::warning("logs-unreadable", format!("the log of {name} can't be read: {error}")))
}
