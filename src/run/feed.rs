//! The engine's events, told to several listeners, mended when the connection breaks.

use crate::engine::Engine;
use crate::world::{EngineError, EngineEvent};
use futures::StreamExt;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// What a listener hears.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Something happened.
    Event(Arc<EngineEvent>),
    /// The connection broke and stands again: something may have happened unseen. Look again.
    Gap,
    /// The engine is gone; nothing follows.
    Lost(EngineError),
}

/// A subscription that stands: nothing that happened after it was made is missed.
#[derive(Debug)]
pub struct Feed {
    news: mpsc::UnboundedReceiver<News>,
    _pump: Arc<Pump>,
}

/// Ends the pump with its last listener.
#[derive(Debug)]
struct Pump(AbortHandle);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How often the connection is made again in a row without anything being heard.
const ATTEMPTS: u32 = 3;

impl Feed {
    /// Subscribes once for `N` listeners.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn subscribe<const N: usize>(engine: &Arc<dyn Engine>, project: Option<&str>) -> Result<[Self; N], EngineError> {
        let mut stream = engine.events(project).await?;
        let (engine, project) = (Arc::clone(engine), project.map(str::to_owned));
        // Unbounded, because events are few and small, and a listener that is slow for a while must not miss any.
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..N).map(|_| mpsc::unbounded_channel()).unzip();
        let pump = tokio::spawn(async move {
            let tell = |news: News| senders.iter().for_each(|s| drop(s.send(news.clone())));
            let mut attempts = 0;
            loop {
                let broken = match stream.next().await {
                    Some(Ok(event)) => {
                        attempts = 0;
                        tell(News::Event(Arc::new(event)));
                        continue;
                    }
                    Some(Err(error)) => Some(error),
                    None => None,
                };
                attempts += 1;
                match engine.events(project.as_deref()).await {
                    Ok(again) if attempts <= ATTEMPTS => {
                        stream = again;
                        tell(News::Gap);
                    }
                    Ok(_) => return tell(News::Lost(broken.unwrap_or_else(ended))),
                    Err(error) => return tell(News::Lost(broken.unwrap_or(error))),
                }
            }
        });
        let pump = Arc::new(Pump(pump.abort_handle()));
        let mut receivers = receivers.into_iter();
        Ok(std::array::from_fn(|_| Self { news: receivers.next().expect("one receiver per listener"), _pump: Arc::clone(&pump) }))
    }

    /// The next news; `None` after [`News::Lost`]. Cancel safe.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }
}

fn ended() -> EngineError {
    EngineError::new(crate::world::ErrorKind::Unreachable, "the engine stopped telling what happens")
}
