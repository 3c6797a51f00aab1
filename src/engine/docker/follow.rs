//! Followed logs of engines that stop reading as soon as the container stops, whether all was told or not.
//!
//! Such a log is read three times: what stands there, if only its tail is wanted; what comes; and, when that has ended,
//! once more from a little before the end. What was told already is left out.

use super::DockerEngine;
use super::client::{escape, query};
use super::logs::{Chunks, open};
use crate::units::Timestamp;
use crate::world::{EngineError, LogChunk, LogQuery, Target};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use hyper::Method;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// How many chunks are remembered.
const REMEMBERED: usize = 16 * 1024;

/// Follows a log to its true end.
pub async fn follow(engine: &DockerEngine, container: &Target, wanted: &LogQuery) -> Result<Chunks, EngineError> {
    let (part, now) = match wanted.tail {
        // Its last line tells where to go on.
        Some(tail) => {
            let standing = LogQuery { follow: false, tail: Some(tail.max(1)), ..wanted.clone() };
            (Part::Standing { told: tail > 0 }, open(engine, container, &standing).await?)
        }
        None => (Part::Coming, open(engine, container, wanted).await?),
    };
    let end = engine.quirks.log_files.then(|| ended(engine, container));
    let state = Following { engine: engine.clone(), container: container.clone(), wanted: wanted.clone(), part, now, told: Told::default(), end };
    Ok(stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        match state.next().await {
            Ok(chunk) => Some((Ok(chunk?), Some(state))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed())
}

/// Which part of a log is being read.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// Its tail, which is told, or only remembered.
    Standing { told: bool },
    /// What comes.
    Coming,
    /// What was left out.
    Rest,
}

struct Following {
    engine: DockerEngine,
    container: Target,
    wanted: LogQuery,
    part: Part,
    now: Chunks,
    told: Told,
    /// When the process has ended, where the log may go on without noticing.
    end: Option<BoxFuture<'static, ()>>,
}

impl Following {
    async fn next(&mut self) -> Result<Option<LogChunk>, EngineError> {
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = self.now.next() => chunk.transpose()?,
                () = async { self.end.as_mut().expect("there is one").await }, if self.end.is_some() && self.part == Part::Coming => {
                    self.end = None;
                    None
                }
            };
            let Some(chunk) = chunk else {
                let (part, since) = match self.part {
                    Part::Standing { .. } => (Part::Coming, self.told.go_on()),
                    Part::Coming => (Part::Rest, self.told.look_again(self.wanted.tail.is_some())),
                    Part::Rest => return Ok(None),
                };
                self.part = part;
                let since = since.max(self.wanted.since);
                let query = LogQuery { follow: part == Part::Coming, since, tail: None, ..self.wanted.clone() };
                self.now = match open(&self.engine, &self.container, &query).await {
                    Ok(now) => now,
                    // A container that was removed has no rest.
                    Err(_) if self.part == Part::Rest => return Ok(None),
                    Err(error) => return Err(error),
                };
                continue;
            };
            if self.told.is_new(&chunk) && self.part != (Part::Standing { told: false }) {
                return Ok(Some(chunk));
            }
        }
    }
}

/// Waits for the end of a container's process (libpod API, `wait`).
fn ended(engine: &DockerEngine, container: &Target) -> BoxFuture<'static, ()> {
    let (client, path) = (engine.client.clone(), format!("/libpod/containers/{}/wait", escape(container.reference())));
    async move {
        let wait = query(&path, &[("condition", "exited")]);
        if client.call(Method::POST, &wait, None).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
    .boxed()
}

/// What was told of a log, as far back as is remembered.
#[derive(Default)]
struct Told {
    first: Option<Timestamp>,
    last: VecDeque<(Option<Timestamp>, u64)>,
    /// What is as old as this or older, and not remembered, was told or is not wanted, unless it comes after all that
    /// was told.
    forgotten: Option<Timestamp>,
    /// How many of that time were told and are forgotten.
    lost_count: usize,
    /// How often each chunk was told, less how often it has come again.
    left: BTreeMap<(Option<Timestamp>, u64), usize>,
    /// So many chunks are to come again before there are new ones.
    known: usize,
    /// Those that come again may have new ones between them.
    gaps: bool,
    /// All that was told has come again.
    passed: bool,
}

impl Told {
    /// The log is read again from here on: what was told comes first.
    fn go_on(&mut self) -> Option<Timestamp> {
        let since = self.newest();
        self.left.clear();
        for key in self.last.iter().filter(|(time, _)| *time >= since) {
            *self.left.entry(*key).or_default() += 1;
        }
        self.known = self.left.values().sum();
        since
    }

    /// The log is read again from here on: what was left out comes between what was told. Of a tail, only what is
    /// younger than its first line is told for sure.
    fn look_again(&mut self, tail: bool) -> Option<Timestamp> {
        if tail {
            self.forgotten = self.forgotten.max(self.first);
        }
        let since = self.forgotten.or(self.first);
        self.left.clear();
        for key in &self.last {
            *self.left.entry(*key).or_default() += 1;
        }
        (self.known, self.gaps, self.passed) = (0, true, false);
        since
    }

    /// The time of the last chunk.
    fn newest(&self) -> Option<Timestamp> {
        self.last.back().and_then(|(time, _)| *time)
    }

    /// Whether a chunk is told for the first time.
    fn is_new(&mut self, chunk: &LogChunk) -> bool {
        let key = (chunk.time, Self::digest(chunk));
        if self.gaps && self.lost_count > 0 && chunk.time <= self.forgotten {
            self.lost_count -= 1;
            return false;
        }
        if let Some(left) = self.left.get_mut(&key).filter(|left| **left > 0) {
            *left -= 1;
            self.known = self.known.saturating_sub(1);
            self.passed |= *left == 0 && self.last.back() == Some(&key);
            return false;
        }
        if self.known > 0 {
            if chunk.time <= self.newest() {
                return false;
            }
            self.known = 0;
        }
        if self.gaps {
            return self.passed || self.forgotten.is_none() || chunk.time > self.forgotten;
        }
        if self.last.len() == REMEMBERED
            && let Some((time, _)) = self.last.pop_front()
        {
            self.lost_count = if time == self.forgotten { self.lost_count + 1 } else { 1 };
            self.forgotten = time;
        }
        self.first = self.first.or(chunk.time);
        self.last.push_back(key);
        true
    }

    fn digest(chunk: &LogChunk) -> u64 {
        let mut hasher = DefaultHasher::new();
        (chunk.stream as u8, &chunk.bytes).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Stream;
    use bytes::Bytes;

    fn chunk(n: usize, time: usize) -> LogChunk {
        LogChunk { stream: Stream::Stdout, time: Some(Timestamp(i64::try_from(time).unwrap())), bytes: Bytes::from(n.to_string()) }
    }

    /// Tells all chunks but the lost ones, then reads again as the engine would; what is told then.
    fn found(all: &[LogChunk], lost: impl Fn(usize) -> bool) -> Vec<LogChunk> {
        let mut told = Told::default();
        for (_, chunk) in all.iter().enumerate().filter(|(i, _)| !lost(*i)) {
            assert!(told.is_new(chunk));
        }
        let since = told.look_again(false);
        all.iter().filter(|c| c.time >= since).filter(|c| told.is_new(c)).cloned().collect()
    }

    #[test]
    fn what_was_left_out_is_told_when_a_log_is_read_again() {
        let all: Vec<LogChunk> = (0..40_010).map(|n| chunk(n % 100, n + 1)).collect();
        let lost = |n: usize| n > 39_000 && n.is_multiple_of(3) || n >= 40_000;
        let want: Vec<LogChunk> = all.iter().enumerate().filter(|(n, _)| lost(*n)).map(|(_, c)| c.clone()).collect();
        assert_eq!(found(&all, lost), want);
        assert_eq!(found(&all, |_| false), []);
    }

    #[test]
    fn after_its_tail_a_log_goes_on() {
        let mut told = Told::default();
        let all: Vec<LogChunk> = (0..4).map(|n| chunk(n, 1_000_000_000)).collect();
        assert!(told.is_new(&all[1]));
        told.go_on();
        assert_eq!(all[..3].iter().filter(|c| told.is_new(c)).collect::<Vec<_>>(), [&all[2]]);
        told.look_again(true);
        assert_eq!(all.iter().filter(|c| told.is_new(c)).collect::<Vec<_>>(), [&all[3]], "what is older than the tail is not told");
        // Five lines of one second; the last two are the tail, then one more comes, and one of the next second is lost.
        let all: Vec<LogChunk> = [(1, 1), (2, 1), (3, 1), (3, 1), (4, 1), (5, 2), (6, 2)].map(|(n, s)| chunk(n, s * 1_000_000_000)).to_vec();
        let mut told = Told::default();
        assert!(all[2..4].iter().all(|c| told.is_new(c)));
        assert_eq!(told.go_on(), all[0].time);
        let coming: Vec<bool> = all[..6].iter().map(|c| told.is_new(c)).collect();
        assert_eq!(coming, [false, false, false, false, true, true]);
        assert_eq!(told.look_again(true), all[0].time);
        assert_eq!(all.iter().filter(|c| told.is_new(c)).collect::<Vec<_>>(), [&all[6]]);
    }

    #[test]
    fn whole_seconds_will_do() {
        let all: Vec<LogChunk> = (0..40_000).map(|n| chunk(n % 100, (n / 1_000 + 1) * 1_000_000_000)).collect();
        let want: Vec<LogChunk> = all.iter().skip(39_990).cloned().collect();
        assert_eq!(found(&all, |n| n >= 39_990), want);
        let one_second: Vec<LogChunk> = (0..40_000).map(|n| chunk(n % 3, 1_000_000_000)).collect();
        assert_eq!(found(&one_second, |_| false), []);
        assert_eq!(found(&one_second, |n| n >= 39_000), one_second[39_000..]);
    }
}
