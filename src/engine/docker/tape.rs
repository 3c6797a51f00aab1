//! Podman's file of events, read on and on.
//!
//! When the file is full (`events_logfile_max_size`, one megabyte), Podman goes on in a new one, which begins with the
//! younger half of the old one. Who reads the old one hears the end of the stream then, or, if it had only just begun to
//! read, nothing any more for ever. An event may also be read before it is written to its end, which breaks the stream.
//! So the file is read again from a little before the place where we stood, and what was told already is left out.

use super::client::Client;
use super::error::Failure;
use super::events::{self, Raw};
use super::observe::of_project;
use crate::units::Timestamp;
use crate::world::EngineEvent;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Events are written in nearly the order of their times. So far back a new reading begins, in nanoseconds.
const DISORDER: i64 = 5_000_000_000;
/// A reading that ends before it has lived so long, and told nothing new, has failed.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// So many failures in a row are the end.
const ATTEMPTS: u32 = 3;

type Reading = BoxStream<'static, Result<Raw, Failure>>;

/// The events of a project, or of all.
pub struct Tape {
    client: Client,
    /// The label of what is read.
    label: String,
    told: Told,
    now: Reading,
    next: Option<BoxFuture<'static, Result<Reading, Failure>>>,
    begun: Instant,
    failures: u32,
    over: bool,
}

impl Tape {
    /// Subscribes to what happens from `since` on, by the engine's clock.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn begin(client: &Client, project: Option<&str>, since: Timestamp) -> Result<Self, Failure> {
        let (client, label, told) = (client.clone(), of_project(project), Told::since(since));
        let now = read(client.clone(), label.clone(), since).await?;
        Ok(Self { client, label, told, now, next: None, begun: Instant::now(), failures: 0, over: false })
    }

    /// Reads once more.
    pub fn renew(&mut self) {
        self.begun = Instant::now();
        self.next = Some(Box::pin(read(self.client.clone(), self.label.clone(), self.told.again())));
    }

    /// The next event; `None` when no more come. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<EngineEvent, Failure>> {
        while !self.over {
            if let Some(next) = &mut self.next {
                let fresh = next.await;
                self.next = None;
                match fresh {
                    Ok(fresh) => self.now = fresh,
                    Err(failure) => {
                        self.over = true;
                        return Some(Err(failure));
                    }
                }
            }
            match self.now.next().await {
                Some(Ok(raw)) => {
                    if self.told.is_new(&raw) {
                        self.failures = 0;
                        return Some(Ok(events::event(raw)));
                    }
                }
                broken => {
                    self.failures = if self.begun.elapsed() < SHORT_LIFE { self.failures + 1 } else { 0 };
                    if self.failures >= ATTEMPTS {
                        self.over = true;
                        return broken.map(|item| item.map(events::event));
                    }
                    self.renew();
                }
            }
        }
        None
    }
}

async fn read(client: Client, label: String, since: Timestamp) -> Result<Reading, Failure> {
    Ok(events::subscribe(&client, &[("type", &["container"]), ("label", &[&label])], Some(since)).await?.boxed())
}

/// What was told and may be read again.
struct Told {
    since: i64,
    newest: i64,
    events: BTreeSet<(i64, String, String)>,
}

impl Told {
    fn since(since: Timestamp) -> Self {
        Self { since: since.0, newest: since.0, events: BTreeSet::new() }
    }

    /// From where to read again.
    fn again(&self) -> Timestamp {
        Timestamp(self.since.max(self.newest.saturating_sub(DISORDER)))
    }

    /// Whether it is an event that was not told yet.
    fn is_new(&mut self, raw: &Raw) -> bool {
        let Some(key) = raw.key() else { return false };
        let time = key.0;
        if time < self.again().0 || !self.events.insert(key) {
            return false;
        }
        if time > self.newest {
            self.newest = time;
            self.events = self.events.split_off(&(self.again().0, String::new(), String::new()));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(action: &str, nanos: i64) -> Raw {
        let text = format!(r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"c0ffee"}},"timeNano":{nanos}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_read_again_is_told_once() {
        let mut told = Told::since(Timestamp(1_000));
        assert!(!told.is_new(&raw("create", 999)), "before the subscription");
        let first = [("create", 1_000), ("start", 2_000), ("die", 2_000)];
        assert!(first.iter().all(|(action, nanos)| told.is_new(&raw(action, *nanos))), "events of one moment are several");
        assert!(!first.iter().any(|(action, nanos)| told.is_new(&raw(action, *nanos))));
        assert!(told.is_new(&raw("start", 1_500)), "written late, but not told yet");
        assert_eq!(told.again(), Timestamp(1_000));
        let later = 2_000 + 2 * DISORDER;
        assert!(told.is_new(&raw("start", later)));
        assert_eq!((told.events.len(), told.again()), (1, Timestamp(later - DISORDER)), "only what may come again is remembered");
        assert!(!told.is_new(&raw("die", 2_000)), "long ago");
    }

    #[test]
    fn an_error_in_the_stream_is_no_event() {
        let error = serde_json::from_str(r#"{"cause":"invalid character","message":"unmarshalling","response":500}"#).unwrap();
        assert!(!Told::since(Timestamp(0)).is_new(&error));
    }
}
