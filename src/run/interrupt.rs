//! Ctrl-C, as a number that only grows.

use std::sync::Arc;
use tokio::sync::watch;

/// Makes an [`Interrupter`] and what it interrupts.
pub fn interrupts() -> (Interrupter, Interrupts) {
    let (sender, count) = watch::channel(0);
    let sender = Arc::new(sender);
    (Interrupter(Arc::clone(&sender)), Interrupts { count, base: 0, _alive: Some(sender) })
}

/// Told of every Ctrl-C, SIGTERM and SIGHUP.
#[derive(Clone, Debug)]
pub struct Interrupter(Arc<watch::Sender<u32>>);

impl Interrupter {
    /// Once more. The first asks for a graceful end, the second for a quick one, the third for none at all.
    pub fn interrupt(&self) {
        self.0.send_modify(|count| *count = count.saturating_add(1));
    }
}

/// How often the user wanted to end this. Every phase of a command looks at the same count, so none is lost between two
/// of them.
#[derive(Clone, Debug)]
pub struct Interrupts {
    count: watch::Receiver<u32>,
    base: u32,
    // Keeps the channel open where nobody holds an `Interrupter`, so that `reached` waits instead of failing.
    _alive: Option<Arc<watch::Sender<u32>>>,
}

impl Interrupts {
    /// Never interrupted.
    pub fn never() -> Self {
        interrupts().1
    }

    /// How often so far.
    pub fn level(&self) -> u32 {
        self.count.borrow().saturating_sub(self.base)
    }

    /// Returns once it was interrupted `level` times.
    pub async fn reached(&self, level: u32) {
        let wanted = self.base.saturating_add(level);
        let mut count = self.count.clone();
        if count.wait_for(|n| *n >= wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The same, counted from `level` on: what a later phase sees, whose first interrupt is the one after those.
    #[must_use]
    pub fn beyond(&self, level: u32) -> Self {
        Self { base: self.base.saturating_add(level), ..self.clone() }
    }
}
