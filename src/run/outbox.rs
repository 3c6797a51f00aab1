//! Events on their way to the user.

use crate::world::Event;
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// A queue before a bounded channel, for a loop that must never wait for its reader. What is pushed must be bounded by
/// other means: a plan has so many steps.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: VecDeque<Event>,
    out: mpsc::Sender<Event>,
}

impl Outbox {
    pub fn new(out: mpsc::Sender<Event>) -> Self {
        Self { queue: VecDeque::new(), out }
    }

    pub fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn has_some(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Sends the first event, once there is room. Cancel safe. Without a reader everything is dropped.
    pub async fn send_one(&mut self) {
        match self.out.reserve().await {
            Ok(room) => {
                if let Some(event) = self.queue.pop_front() {
                    room.send(event);
                }
            }
            Err(_) => self.queue.clear(),
        }
    }

    /// Sends everything.
    pub async fn send_all(&mut self) {
        while self.has_some() {
            self.send_one().await;
        }
    }
}
