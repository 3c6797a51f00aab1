//! The one task that reads events, and the only thing that writes to the terminal.

use super::live::TICK;
use super::logs::LogStyle;
use super::output::{Output, Pipe, Size};
use super::screen::{Advice, Look, Screen};
use super::terminal::{note_cursor, resumed};
use crate::diag::{Diagnostic, SourceMap};
use crate::world::{Event, Stream};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// How many events wait at most before whoever tells them has to.
const ROOM: usize = 64;
/// How many bytes are gathered at most before they are written.
const FULL: usize = 64 * 1024;
/// How long after one write the next one waits for more, unless there is enough already: what flows fast is written in
/// large pieces, what comes now and then at once.
const PAUSE: Duration = Duration::from_millis(5);

/// Shows what commands tell.
#[derive(Debug)]
pub struct Console {
    stdout: Pipe,
    stderr: Pipe,
    size: watch::Receiver<Size>,
    screen: Screen,
    questions: mpsc::Receiver<Question>,
    asker: Asker,
}

/// Text to be shown now, and who waits until it stands there.
type Question = (String, oneshot::Sender<()>);

/// Lets something be shown in the middle of a view, and tells when it stands there: what a question needs.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::Sender<Question>);

impl Asker {
    /// Shows `text` as it is; returns when it has been written.
    pub async fn show(&self, text: impl Into<String>) {
        let (done, shown) = oneshot::channel();
        if self.0.send((text.into(), done)).await.is_ok() {
            // An error means that the view has ended; then nobody waits for an answer either.
            let _ = shown.await;
        }
    }
}

/// How a piece of work ended.
#[derive(Debug)]
pub enum Shown<T> {
    /// By itself.
    Done(T),
    /// Nobody reads its output any more, so it was dropped.
    Unread,
}

impl Console {
    /// A console over both streams.
    pub fn new(stdout: Output, stderr: Output, size: watch::Receiver<Size>, look: Look) -> Self {
        let screen = Screen::new(look, *size.borrow());
        let (sender, questions) = mpsc::channel(1);
        let pipe = |output| Pipe { output, gone: None };
        Self { stdout: pipe(stdout), stderr: pipe(stderr), size, screen, questions, asker: Asker(sender) }
    }

    /// How things are shown.
    pub fn look(&mut self) -> &mut Look {
        &mut self.screen.look
    }

    /// The texts that findings point into from now on.
    pub fn set_sources(&mut self, sources: Arc<SourceMap>) {
        self.screen.sources = sources;
    }

    /// Asks `advice` what to do about findings that don't say it themselves.
    pub fn set_advice(&mut self, advice: impl Fn(&Diagnostic) -> Option<String> + Send + 'static) {
        self.screen.advice = Some(Advice(Box::new(advice)));
    }

    /// For questions in the middle of a view.
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Prints on standard output.
    pub async fn print(&mut self, text: &str) {
        self.screen.say(Stream::Stdout, text);
        self.flush().await;
    }

    /// Prints on standard error.
    pub async fn note(&mut self, text: &str) {
        self.screen.say(Stream::Stderr, text);
        self.flush().await;
    }

    /// Shows findings.
    pub async fn findings(&mut self, diagnostics: &[Diagnostic]) {
        self.screen.diagnostics(diagnostics);
        self.flush().await;
    }

    /// Why standard output could not be written to, other than that nobody reads it any more.
    pub fn broken(&self) -> Option<&io::Error> {
        self.stdout.gone.as_ref().filter(|e| e.kind() != io::ErrorKind::BrokenPipe)
    }

    /// Does `work` and shows what it tells meanwhile.
    ///
    /// When nobody reads standard output any more, `on_unread` is called: if it returns true the work goes on untold,
    /// else it is dropped.
    pub async fn show<T, F>(
        &mut self,
        title: &str,
        logs: LogStyle,
        on_unread: impl FnOnce() -> bool,
        work: impl FnOnce(mpsc::Sender<Event>) -> F,
    ) -> Shown<T>
    where
        F: Future<Output = T>,
    {
        let (sender, mut events) = mpsc::channel(ROOM);
        self.screen.begin(title, logs);
        let begun = Instant::now();
        let (over, is_over) = oneshot::channel::<()>();
        let (unread, is_unread) = oneshot::channel::<()>();
        let work = pin!(work(sender));
        let work = async move {
            let value = tokio::select! {
                biased;
                value = work => Some(value),
                () = async { if is_unread.await.is_err() { std::future::pending::<()>().await } } => None,
            };
            drop(over);
            value
        };
        let mut unread = Some((unread, on_unread));
        let reader = async {
            let mut is_over = pin!(is_over);
            let mut batch = Vec::with_capacity(ROOM);
            let (mut open, mut ended) = (true, false);
            let mut resumes = resumed();
            // When something was last written, since the beginning of the view.
            let mut written = Duration::ZERO;
            let mut tick = interval(TICK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                if batch.is_empty() && !ended {
                    tokio::select! {
                        biased;
                        n = events.recv_many(&mut batch, ROOM), if open => open = n > 0,
                        Some((text, done)) = self.questions.recv() => {
                            self.screen.ask(&text);
                            self.screen.chunks.write(&mut self.stdout, &mut self.stderr).await;
                            let _ = done.send(());
                        }
                        _ = &mut is_over => ended = true,
                        Ok(()) = self.size.changed(), if self.screen.is_live() => {}
                        _ = tick.tick(), if self.screen.is_live() => {}
                        () = sleep_until(begun + written + PAUSE), if !self.screen.chunks.is_empty() => {}
                    }
                }
                let now = begun.elapsed();
                self.screen.size = *self.size.borrow_and_update();
                if resumes != resumed() {
                    resumes = resumed();
                    self.screen.forget();
                }
                loop {
                    for event in batch.drain(..) {
                        self.screen.on(&event, now);
                    }
                    while batch.len() < ROOM
                        && let Ok(event) = events.try_recv()
                    {
                        batch.push(event);
                    }
                    if batch.is_empty() || self.screen.chunks.len() >= FULL {
                        break;
                    }
                }
                if ended && batch.is_empty() {
                    break;
                }
                self.screen.frame(now);
                let gathers = now < written + PAUSE && self.screen.chunks.len() < FULL && !self.screen.is_live();
                if gathers {
                    continue;
                }
                if !self.screen.chunks.is_empty() {
                    self.screen.chunks.write(&mut self.stdout, &mut self.stderr).await;
                    written = begun.elapsed();
                }
                note_cursor(self.screen.hides_cursor());
                if self.stdout.gone.is_some()
                    && let Some((unread, on_unread)) = unread.take()
                    && !on_unread()
                {
                    let _ = unread.send(());
                    break;
                }
            }
            self.screen.finish(begun.elapsed());
            self.screen.chunks.write(&mut self.stdout, &mut self.stderr).await;
            note_cursor(false);
        };
        match tokio::join!(work, reader).0 {
            Some(value) => Shown::Done(value),
            None => Shown::Unread,
        }
    }

    async fn flush(&mut self) {
        self.screen.chunks.write(&mut self.stdout, &mut self.stderr).await;
    }
}

/// Whatever happens, a hidden cursor comes back.
impl Drop for Console {
    fn drop(&mut self) {
        let bytes = self.screen.abandon();
        if !bytes.is_empty() && self.stderr.gone.is_none() {
            self.stderr.output.write_if_free(&bytes);
            note_cursor(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Captured;
    use super::super::screen::ProgressMode;
    use super::*;
    use crate::world::{Subject, SubjectKind, TaskState};
    use std::io::Write;

    fn console(look: Look) -> (Console, Captured, Captured) {
        let (stdout, out) = Output::captured(false);
        let (stderr, err) = Output::captured(false);
        let (size, receiver) = watch::channel(Size::default());
        // The size never changes here.
        drop(size);
        (Console::new(stdout, stderr, receiver, look), out, err)
    }

    fn task(state: TaskState, text: &str) -> Event {
        Event::Task { subject: Subject::new(SubjectKind::Container, "p-a-1"), state, text: text.into(), part: None, progress: None }
    }

    #[tokio::test(start_paused = true)]
    async fn everything_told_is_shown_before_the_work_is_over() {
        let (mut console, _, err) = console(Look::default());
        let work = |out: mpsc::Sender<Event>| async move {
            for i in 0..1000 {
                out.send(Event::Message(i.to_string())).await.unwrap();
            }
            // Whoever still holds a sender must not keep the view open.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                drop(out);
            });
            7
        };
        let Shown::Done(value) = console.show("up", LogStyle::default(), || false, work).await else { panic!("unread") };
        let expected: String = (0..1000).map(|i| format!("{i}\n")).collect();
        assert_eq!((value, err.text()), (7, expected));
    }

    #[tokio::test(start_paused = true)]
    async fn the_live_view_moves_while_nothing_happens_and_leaves_the_cursor_visible() {
        let (mut console, _, err) = console(Look { progress: ProgressMode::Tty, ..Look::default() });
        let work = |out: mpsc::Sender<Event>| async move {
            out.send(task(TaskState::Working, "Starting")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1050)).await;
            out.send(task(TaskState::Done, "Started")).await.unwrap();
        };
        assert!(matches!(console.show("up", LogStyle::default(), || false, work).await, Shown::Done(())));
        let text = err.text();
        assert!(text.matches("Starting").count() >= 10, "{text}");
        assert!(text.contains("[+] up 1/1\n ✔ Container p-a-1  Started    1.1s\n\u{1b}[?25h"), "{text}");
        assert_eq!(text.matches("\u{1b}[?25l").count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_stands_below_what_was_told_before() {
        let (mut console, _, err) = console(Look::default());
        let asker = console.asker();
        let work = |out: mpsc::Sender<Event>| async move {
            out.send(task(TaskState::Working, "Creating")).await.unwrap();
            asker.show("Really? ").await;
            let shown = err.text();
            out.send(task(TaskState::Done, "Created")).await.unwrap();
            drop(out);
            // Without senders questions are still answered.
            asker.show("Sure? ").await;
            shown
        };
        let Shown::Done(shown) = console.show("up", LogStyle::default(), || false, work).await else { panic!("unread") };
        assert_eq!(shown, " Container p-a-1  Creating\nReally? ");
    }

    /// A stream whose reader is gone.
    struct Gone(io::ErrorKind);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_nobody_reads_is_dropped_or_goes_on_untold() {
        for (kind, goes_on) in [(io::ErrorKind::BrokenPipe, false), (io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
            let (_, receiver) = watch::channel(Size::default());
            let mut console = Console::new(Output::memory(Gone(kind), false), Output::captured(false).0, receiver, Look::default());
            let work = |out: mpsc::Sender<Event>| async move {
                out.send(Event::Attach { sources: vec!["a-1".into()], announce: true }).await.unwrap();
                tokio::time::sleep(Duration::from_secs(9)).await;
                out.send(Event::Message("never".into())).await.unwrap();
            };
            let shown = console.show("logs", LogStyle::default(), || goes_on, work).await;
            assert_eq!(matches!(shown, Shown::Done(())), goes_on);
            assert_eq!(console.broken().map(io::Error::kind), (kind != io::ErrorKind::BrokenPipe).then_some(kind));
        }
    }
}
