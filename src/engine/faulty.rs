//! An engine that fails when it is told to: a wrapper around any other, for tests of what happens then.

use super::{Engine, EngineInfo, ProgressSink};
use crate::world::{
    Applied, Capabilities, ContainerDetails, EngineError, EngineEvent, ErrorKind, ExecSession, ExecSpec, LogChunk, LogQuery, ObserveQuery, Observed,
    Op, Target,
};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// What goes wrong with an op.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It takes longer by so much.
    Delay(Duration),
    /// It is refused, and nothing is done.
    Refuse(EngineError),
    /// It is done, but the answer is lost.
    LoseAnswer,
    /// Nothing is done, and no answer ever comes.
    Hang,
    /// The connection breaks before it is done: this op and all later calls fail, and all streams end with an error.
    Cut,
}

type Matches = Box<dyn Fn(usize, &Op) -> bool + Send + Sync>;

/// One fault, and which ops it is for.
struct Rule {
    matches: Matches,
    fault: Fault,
    /// How often it still happens.
    left: usize,
}

/// The wrapper.
pub struct Faulty {
    inner: Arc<dyn Engine>,
    rules: Mutex<Vec<Rule>>,
    ops: AtomicUsize,
    cut: watch::Sender<bool>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).field("ops", &self.ops).field("cut", &*self.cut.borrow()).finish_non_exhaustive()
    }
}

impl Faulty {
    /// A wrapper that fails in nothing yet.
    pub fn new(inner: Arc<dyn Engine>) -> Self {
        Self { inner, rules: Mutex::default(), ops: AtomicUsize::new(0), cut: watch::Sender::new(false) }
    }

    /// `fault` happens to the first `times` ops for which `matches` says so; it is given their number, from 0, among all
    /// ops. Of several faults that match, the first one counts.
    #[must_use]
    pub fn with(self, times: usize, fault: Fault, matches: impl Fn(usize, &Op) -> bool + Send + Sync + 'static) -> Self {
        let rule = Rule { matches: Box::new(matches), fault, left: times };
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
        self
    }

    /// Breaks the connection now.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// The connection is good again: later calls reach the engine.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }

    fn lost() -> EngineError {
        EngineError::new(ErrorKind::Unreachable, "the engine doesn't answer any more")
    }

    /// Waits for `call`, unless the connection breaks.
    async fn over<T>(&self, call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
        let mut cut = self.cut.subscribe();
        tokio::select! {
            biased;
            _ = cut.wait_for(|c| *c) => Err(Self::lost()),
            result = call => result,
        }
    }

    /// `stream`, until the connection breaks.
    fn stream<T: Send + 'static>(&self, stream: BoxStream<'static, Result<T, EngineError>>) -> BoxStream<'static, Result<T, EngineError>> {
        let cut = self.cut.subscribe();
        let state = Some((stream, cut));
        stream::unfold(state, |state| async move {
            let (mut stream, mut cut) = state?;
            let item = tokio::select! {
                biased;
                _ = cut.wait_for(|c| *c) => return Some((Err(Self::lost()), None)),
                item = stream.next() => item?,
            };
            Some((item, Some((stream, cut))))
        })
        .boxed()
    }

    fn fault_of(&self, op: &Op) -> Option<Fault> {
        let number = self.ops.fetch_add(1, Ordering::Relaxed);
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let rule = rules.iter_mut().find(|r| r.left > 0 && (r.matches)(number, op))?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }
}

#[async_trait]
impl Engine for Faulty {
    fn info(&self) -> EngineInfo {
        self.inner.info()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn observe(&self, query: &ObserveQuery) -> Result<Observed, EngineError> {
        self.over(self.inner.observe(query)).await
    }

    async fn apply(&self, op: &Op, progress: &ProgressSink) -> Result<Applied, EngineError> {
        let fault = self.fault_of(op);
        let work = async {
            match fault {
                None => self.inner.apply(op, progress).await,
                Some(Fault::Delay(length)) => {
                    sleep(length).await;
                    self.inner.apply(op, progress).await
                }
                Some(Fault::Refuse(error)) => Err(error),
                Some(Fault::LoseAnswer) => {
                    // Done all the same, well or badly: nobody will know.
                    let _ = self.inner.apply(op, progress).await;
                    Err(Self::lost())
                }
                Some(Fault::Hang) => pending().await,
                Some(Fault::Cut) => {
                    self.cut();
                    Err(Self::lost())
                }
            }
        };
        self.over(work).await
    }

    async fn events(&self, project: Option<&str>) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
        let stream = self.over(self.inner.events(project)).await?;
        Ok(self.stream(stream))
    }

    async fn logs(&self, container: &Target, query: &LogQuery) -> Result<BoxStream<'static, Result<LogChunk, EngineError>>, EngineError> {
        let stream = self.over(self.inner.logs(container, query)).await?;
        Ok(self.stream(stream))
    }

    async fn exec(&self, container: &Target, spec: &ExecSpec) -> Result<ExecSession, EngineError> {
        let session = self.over(self.inner.exec(container, spec)).await?;
        Ok(ExecSession { output: self.stream(session.output), ..session })
    }

    async fn inspect(&self, container: &Target) -> Result<ContainerDetails, EngineError> {
        self.over(self.inner.inspect(container)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sim::Sim;
    use crate::world::NetworkSpec;
    use tokio::sync::mpsc;

    fn network(name: &str) -> Op {
        Op::CreateNetwork(NetworkSpec { name: name.into(), ..NetworkSpec::default() })
    }

    async fn apply(engine: &Faulty, op: &Op) -> Result<Applied, EngineError> {
        engine.apply(op, &mpsc::channel(1).0).await
    }

    #[tokio::test(start_paused = true)]
    async fn each_fault_does_what_it_says() {
        let sim = Sim::new();
        let refusal = EngineError::new(ErrorKind::NoSpace, "no room");
        let engine = Faulty::new(Arc::new(sim.clone()))
            .with(1, Fault::Refuse(refusal.clone()), |n, _| n == 0)
            .with(1, Fault::Delay(Duration::from_secs(5)), |n, _| n == 1)
            .with(1, Fault::LoseAnswer, |n, _| n == 2)
            .with(9, Fault::Hang, |_, op| op.subject().name == "hang");
        assert_eq!(apply(&engine, &network("a")).await, Err(refusal));
        let began = tokio::time::Instant::now();
        assert!(apply(&engine, &network("a")).await.is_ok_and(|a| a.changed));
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        assert_eq!(apply(&engine, &network("b")).await, Err(Faulty::lost()));
        assert!(tokio::time::timeout(Duration::from_secs(3600), apply(&engine, &network("hang"))).await.is_err());
        assert_eq!(sim.snapshot().networks.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_ends_everything_until_it_is_mended() {
        let engine = Arc::new(Faulty::new(Arc::new(Sim::new())).with(1, Fault::Cut, |n, _| n == 1));
        let mut events = engine.events(None).await.unwrap();
        assert!(apply(&engine, &network("a")).await.is_ok());
        assert_eq!(apply(&engine, &network("b")).await, Err(Faulty::lost()));
        assert_eq!(events.next().await, Some(Err(Faulty::lost())));
        assert_eq!(events.next().await, None);
        assert_eq!(engine.observe(&ObserveQuery::default()).await, Err(Faulty::lost()));
        engine.mend();
        assert!(apply(&engine, &network("b")).await.is_ok());
    }
}
