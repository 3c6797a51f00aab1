//! Events in, bytes out: everything that is decided about what a user sees, without a terminal and without a clock.

use super::diagnostics::{Drawer, Form};
use super::live::{self, Region, Scope};
use super::logs::{LogStyle, LogWriter};
use super::output::{Chunks, Size};
use super::style::{Paint, clean};
use super::view::{Change, View, worth_telling};
use crate::diag::{Diagnostic, SourceMap};
use crate::world::{Event, Progress, Stream, Subject, TaskState};
use std::sync::Arc;
use std::time::Duration;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressMode {
    /// A line for each change.
    #[default]
    Plain,
    /// A few lines that are drawn again and again.
    Tty,
    /// A JSON object for each change.
    Json,
    /// Not at all.
    Quiet,
}

/// How things are shown, once it is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Progress.
    pub progress: ProgressMode,
    /// Colours on standard output.
    pub colour_out: bool,
    /// Colours on standard error.
    pub colour_err: bool,
    /// Both streams end on the same screen.
    pub one_screen: bool,
    /// How findings are shown.
    pub findings: Form,
}

/// What to do about a finding that doesn't say it itself.
pub(crate) struct Advice(pub(crate) Box<Advise>);

type Advise = dyn Fn(&Diagnostic) -> Option<String> + Send;

impl std::fmt::Debug for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Advice")
    }
}

/// Everything that is decided about what a user sees.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) look: Look,
    /// The texts that findings point into.
    pub(crate) sources: Arc<SourceMap>,
    pub(crate) advice: Option<Advice>,
    /// The word in the headline.
    pub(crate) title: String,
    pub(crate) size: Size,
    view: View,
    region: Region,
    logs: LogWriter,
    /// Logs flow: progress gives way to them.
    attached: bool,
    dirty: bool,
    /// When the live view was drawn last.
    drawn: Duration,
    pub(crate) chunks: Chunks,
}

impl Screen {
    pub(crate) fn new(look: Look, size: Size) -> Self {
        Self {
            look,
            sources: Arc::default(),
            advice: None,
            title: String::new(),
            size,
            view: View::default(),
            region: Region::default(),
            logs: LogWriter::default(),
            attached: false,
            dirty: false,
            drawn: Duration::ZERO,
            chunks: Chunks::default(),
        }
    }

    /// Begins a new view.
    pub(crate) fn begin(&mut self, title: &str, logs: LogStyle) {
        title.clone_into(&mut self.title);
        self.view = View::default();
        self.logs = LogWriter::new(logs);
        self.attached = false;
    }

    /// Takes an event in.
    pub(crate) fn on(&mut self, event: &Event, now: Duration) {
        match event {
            Event::Task { subject, state, text, part, progress } => self.task(subject, *state, text, part.as_deref(), *progress, now),
            Event::Attach { sources, announce } => {
                self.attach(now);
                self.logs.attach(sources);
                if *announce && self.look.progress != ProgressMode::Quiet {
                    self.say(Stream::Stdout, &format!("Attaching to {}\n", sources.join(", ")));
                }
            }
            Event::Logs(lines) => {
                self.attach(now);
                self.make_way(Stream::Stdout);
                for line in lines {
                    self.logs.line(line, &mut self.chunks);
                }
            }
            Event::Happened { source, what } => {
                self.attach(now);
                let text = self.logs.happened(source, what);
                self.say(Stream::Stdout, &format!("{text}\n"));
            }
            Event::Diagnostic(diagnostic) => self.diagnostic(diagnostic),
            Event::Message(text) | Event::Explanation(text) => match self.look.progress {
                ProgressMode::Json => self.say(Stream::Stderr, &format!("{}\n", serde_json::json!({ "message": text }))),
                _ => {
                    let text = clean(text);
                    self.say(Stream::Stderr, &format!("{}\n", text.trim_end_matches('\n')));
                }
            },
        }
    }

    fn task(&mut self, subject: &Subject, state: TaskState, text: &str, part: Option<&str>, progress: Option<Progress>, now: Duration) {
        let change = Change { subject, state, text, part, progress };
        if self.look.progress == ProgressMode::Json {
            return self.json(&change);
        }
        let news = self.view.on(&change, now);
        self.dirty = true;
        match self.look.progress {
            ProgressMode::Plain if news && (!self.attached || worth_telling(subject, state, text)) && !text.is_empty() => {
                self.say(Stream::Stderr, &format!(" {subject}  {}\n", clean(text)));
            }
            ProgressMode::Tty if news && self.attached && worth_telling(subject, state, text) && !text.is_empty() => {
                let line = live::line(subject, state, text, Paint(self.look.colour_err));
                self.say(Stream::Stderr, &format!("{line}\n"));
            }
            // A failure is told even where progress is not.
            ProgressMode::Quiet if news && state == TaskState::Error => {
                self.say(Stream::Stderr, &format!(" {subject}  {}\n", clean(text)));
            }
            _ => {}
        }
    }

    fn json(&mut self, change: &Change<'_>) {
        let mut object = serde_json::Map::new();
        let mut put = |key: &str, value: serde_json::Value| object.insert(key.to_owned(), value);
        match change.part {
            Some(part) => {
                put("id", part.into());
                put("parent_id", change.subject.to_string().into());
            }
            None => drop(put("id", change.subject.to_string().into())),
        }
        put(
            "status",
            match change.state {
                TaskState::Working => "Working",
                TaskState::Done => "Done",
                TaskState::Warning => "Warning",
                TaskState::Error => "Error",
            }
            .into(),
        );
        put("text", change.text.into());
        if let Some(Progress { current, total }) = change.progress {
            put("current", current.into());
            if total > 0 {
                put("total", total.into());
                put("percent", (current.min(total).saturating_mul(100) / total).into());
            }
        }
        let line = format!("{}\n", serde_json::Value::Object(object));
        self.say(Stream::Stderr, &line);
    }

    /// Shows a finding.
    fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        let advised = self.advised(diagnostic);
        let text = self.drawer().one(&advised);
        self.say(Stream::Stderr, &text);
    }

    /// Shows several findings and how many there are.
    pub(crate) fn diagnostics(&mut self, diagnostics: &[Diagnostic]) {
        let advised: Vec<Diagnostic> = diagnostics.iter().map(|d| self.advised(d)).collect();
        let text = self.drawer().all(&advised);
        self.say(Stream::Stderr, &text);
    }

    fn drawer(&self) -> Drawer<'_> {
        let form = if self.look.progress == ProgressMode::Json { Form::Json } else { self.look.findings };
        Drawer { sources: &self.sources, form, paint: Paint(self.look.colour_err), width: usize::from(self.size.columns) }
    }

    fn advised(&self, diagnostic: &Diagnostic) -> Diagnostic {
        let mut diagnostic = diagnostic.clone();
        if diagnostic.help.is_none() {
            diagnostic.help = self.advice.as_ref().and_then(|advice| advice.0(&diagnostic));
        }
        diagnostic
    }

    /// Shows a question, or the end of its line.
    pub(crate) fn ask(&mut self, text: &str) {
        match (self.look.progress, text.trim()) {
            (ProgressMode::Json, "") => {}
            (ProgressMode::Json, question) => self.say(Stream::Stderr, &format!("{}\n", serde_json::json!({ "message": question }))),
            _ => self.say(Stream::Stderr, text),
        }
    }

    /// Prints text that stays, above the live view.
    pub(crate) fn say(&mut self, stream: Stream, text: &str) {
        self.logs.close(&mut self.chunks);
        self.make_way(stream);
        self.chunks.to(stream).extend_from_slice(text.as_bytes());
    }

    /// Logs begin to flow. What was done until now stays on the screen; what is still being done moves below the logs.
    fn attach(&mut self, now: Duration) {
        if self.attached {
            return;
        }
        if self.look.progress == ProgressMode::Tty {
            self.settle(now);
        }
        self.attached = true;
    }

    /// Wipes the live view where `stream` would write into it.
    fn make_way(&mut self, stream: Stream) {
        if self.region.is_drawn() && (stream == Stream::Stderr || self.look.one_screen) {
            self.region.wipe(self.size, self.chunks.to(Stream::Stderr));
            self.dirty = true;
        }
    }

    /// Whether something moves that has to be drawn again as time goes by.
    pub(crate) fn is_live(&self) -> bool {
        self.look.progress == ProgressMode::Tty && (self.region.is_drawn() || self.dirty)
    }

    /// Whether the cursor is hidden once everything is written.
    pub(crate) fn hides_cursor(&self) -> bool {
        self.region.hides_cursor()
    }

    /// Others have written to the terminal: what was drawn is theirs now, the cursor is shown, and the next frame is drawn
    /// below.
    pub(crate) fn forget(&mut self) {
        if self.region.is_drawn() {
            self.dirty = true;
        }
        self.region.forget();
    }

    /// Draws the live view. Called before bytes are written, and at every tick.
    pub(crate) fn frame(&mut self, now: Duration) {
        if self.look.progress != ProgressMode::Tty {
            return;
        }
        // Many changes at once are drawn once; the next tick draws what was passed over.
        if self.region.is_drawn() && now.saturating_sub(self.drawn) < live::TICK / 2 {
            return;
        }
        self.drawn = now;
        let scope = if self.attached { Scope::Working } else { Scope::Fitting };
        let lines = live::draw(&self.view, &self.title, scope, self.size, now, Paint(self.look.colour_err));
        if lines.is_empty() {
            if self.region.is_drawn() {
                self.region.wipe(self.size, self.chunks.to(Stream::Stderr));
            }
            if self.region.hides_cursor() {
                self.region.leave(self.chunks.to(Stream::Stderr));
            }
        } else {
            if self.look.one_screen {
                self.logs.close(&mut self.chunks);
            }
            self.region.redraw(&lines, self.size, self.chunks.to(Stream::Stderr));
        }
        self.dirty = false;
    }

    /// Leaves the last state of the live view on the screen.
    fn settle(&mut self, now: Duration) {
        if self.look.progress != ProgressMode::Tty {
            return;
        }
        let lines = match self.attached {
            true => Vec::new(),
            false => live::draw(&self.view, &self.title, Scope::Everything, self.size, now, Paint(self.look.colour_err)),
        };
        if self.region.is_drawn() || !lines.is_empty() {
            let bytes = self.chunks.to(Stream::Stderr);
            self.region.wipe(self.size, bytes);
            for line in lines {
                bytes.extend_from_slice(line.as_bytes());
                bytes.push(b'\n');
            }
            self.region.leave(bytes);
        }
        self.dirty = false;
    }

    /// The work is over.
    pub(crate) fn finish(&mut self, now: Duration) {
        self.logs.close(&mut self.chunks);
        self.settle(now);
        if self.region.hides_cursor() {
            self.region.leave(self.chunks.to(Stream::Stderr));
        }
        self.begin("", LogStyle::default());
    }

    /// Gives the cursor back, on the way out.
    pub(crate) fn abandon(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.region.leave(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;
    use crate::world::{Happening, LogLine, SubjectKind};
    use bytes::Bytes;

    fn task(name: &str, state: TaskState, text: &str) -> Event {
        Event::Task { subject: Subject::new(SubjectKind::Container, name), state, text: text.into(), part: None, progress: None }
    }

    fn log(source: &str, text: &'static str) -> Event {
        Event::Logs(vec![LogLine { source: source.into(), stream: Stream::Stderr, time: Timestamp(0), text: Bytes::from(text), partial: false }])
    }

    fn attach(names: &[&str]) -> Event {
        Event::Attach { sources: names.iter().map(|n| Arc::from(*n)).collect(), announce: true }
    }

    fn run(look: Look, events: &[Event]) -> String {
        let mut screen = Screen::new(look, Size::default());
        screen.begin("up", LogStyle { split: true, ..LogStyle::default() });
        for (i, event) in events.iter().enumerate() {
            screen.on(event, Duration::from_millis(100 * i as u64));
            screen.frame(Duration::from_millis(100 * i as u64));
        }
        screen.finish(Duration::from_millis(100 * events.len() as u64));
        let mut all = String::new();
        for (stream, bytes) in screen.chunks.iter() {
            for line in String::from_utf8(bytes.clone()).unwrap().lines() {
                all.push_str(if *stream == Stream::Stdout { "1|" } else { "2|" });
                all.push_str(line);
                all.push('\n');
            }
        }
        all
    }

    fn story() -> Vec<Event> {
        vec![
            task("p-a-1", TaskState::Working, "Creating"),
            task("p-a-1", TaskState::Done, "Created"),
            attach(&["a-1", "bb-1"]),
            task("p-a-1", TaskState::Working, "Starting"),
            log("a-1", "hello"),
            task("p-a-1", TaskState::Done, "Started"),
            Event::Happened { source: "a-1".into(), what: Happening::Exited { code: 3, restarting: true, oom: false } },
            task("p-bb-1", TaskState::Error, "port is taken"),
            Event::Message("bye".into()),
        ]
    }

    #[test]
    fn plain_says_each_change_once_and_gives_way_to_logs() {
        assert_eq!(
            run(Look::default(), &story()),
            "\
2| Container p-a-1  Creating
2| Container p-a-1  Created
1|Attaching to a-1, bb-1
2|a-1   | hello
1|a-1 exited with code 3 (restarting)
2| Container p-bb-1  port is taken
2|bye
"
        );
    }

    #[test]
    fn a_terminal_keeps_what_was_done_and_shows_what_is_being_done_below_the_logs() {
        let look = Look { progress: ProgressMode::Tty, one_screen: true, ..Look::default() };
        let shown = run(look, &story());
        let expected = "\
2|\u{1b}[?25l[+] up 0/1\u{1b}[K
2| ⠋ Container p-a-1  Creating    0.0s\u{1b}[K
2|\r\u{1b}[2A[+] up 1/1\u{1b}[K
2| ✔ Container p-a-1  Created    0.1s\u{1b}[K
2|\u{1b}[J\r\u{1b}[2A\u{1b}[J[+] up 1/1
2| ✔ Container p-a-1  Created    0.1s
2|\u{1b}[?25h
1|Attaching to a-1, bb-1
2|\u{1b}[?25l ⠸ Container p-a-1  Starting    0.0s\u{1b}[K
2|\r\u{1b}[1A\u{1b}[Ja-1   | hello
2| ⠼ Container p-a-1  Starting    0.1s\u{1b}[K
2|\r\u{1b}[1A\u{1b}[J\u{1b}[?25h
1|a-1 exited with code 3 (restarting)
2| ✘ Container p-bb-1  port is taken
2|bye
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn json_is_one_object_a_line() {
        let shown = run(Look { progress: ProgressMode::Json, ..Look::default() }, &story()[..1]);
        assert_eq!(shown, "2|{\"id\":\"Container p-a-1\",\"status\":\"Working\",\"text\":\"Creating\"}\n");
    }

    #[test]
    fn quiet_tells_only_what_went_wrong() {
        let shown = run(Look { progress: ProgressMode::Quiet, ..Look::default() }, &story());
        assert_eq!(shown, "2|a-1   | hello\n1|a-1 exited with code 3 (restarting)\n2| Container p-bb-1  port is taken\n2|bye\n");
    }
}
