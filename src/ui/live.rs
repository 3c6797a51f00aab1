//! The live view: a few lines at the bottom of a terminal that are drawn again and again.

use super::output::Size;
use super::style::{BLUE, DIM, GREEN, Paint, RED, YELLOW, fit, pad};
use super::view::{Task, Transfer, View};
use crate::world::{Subject, TaskState};
use console::measure_text_width;
use std::fmt::Write;
use std::time::Duration;

/// Time between two drawings.
pub(crate) const TICK: Duration = Duration::from_millis(100);

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const EIGHTHS: [char; 9] = ['⠀', '⡀', '⣀', '⣄', '⣤', '⣦', '⣶', '⣷', '⣿'];

/// What of a view is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A headline and every thing, as many as fit.
    Fitting,
    /// A headline and every thing: what stays on the screen.
    Everything,
    /// Only what is being done, without headline: below logs.
    Working,
}

/// The lines of `view`, each at most `columns` wide.
pub(crate) fn draw(view: &View, title: &str, scope: Scope, size: Size, now: Duration, paint: Paint) -> Vec<String> {
    let columns = usize::from(size.columns.max(20)) - 1;
    let rows = usize::from(size.rows.max(4)) - 2;
    let working = |task: &Task| task.state == TaskState::Working;
    let mut shown: Vec<(&Subject, &Task)> = view.tasks.iter().filter(|(_, t)| scope != Scope::Working || working(t)).collect();
    if shown.is_empty() {
        return Vec::new();
    }
    let mut hidden = 0;
    if scope != Scope::Everything && shown.len() > rows {
        hidden = shown.len() - (rows - 1);
        // What is done gives way first, the oldest of it before the rest; then what began last.
        let mut order: Vec<usize> = (0..shown.len()).collect();
        order.sort_by_key(|i| match shown[*i].1.state {
            TaskState::Error => 0,
            TaskState::Working => 1,
            TaskState::Warning => 2,
            TaskState::Done => 3 + (shown.len() - i),
        });
        order.truncate(rows - 1);
        order.sort_unstable();
        shown = order.into_iter().map(|i| shown[i]).collect();
    }
    let names: Vec<String> = shown.iter().map(|(subject, _)| subject.to_string()).collect();
    let name_width = names.iter().map(|n| measure_text_width(n)).max().unwrap_or(0).min(columns * 3 / 5);
    let words: Vec<String> = shown.iter().map(|(_, task)| fit(&words(task), columns.saturating_sub(name_width + 14))).collect();
    let word_width = words.iter().map(|w| measure_text_width(w)).max().unwrap_or(0);

    let mut lines = Vec::new();
    if scope != Scope::Working {
        let (done, all) = (view.done(), view.tasks.len());
        let headline = format!("[+] {title} {done}/{all}");
        lines.push(if done == all { paint.paint(BLUE, &headline) } else { headline });
    }
    for (i, (_, task)) in shown.iter().enumerate() {
        let (sign, colour) = match task.state {
            TaskState::Working => (SPINNER[(now.as_millis() / TICK.as_millis()) as usize % SPINNER.len()], YELLOW),
            TaskState::Done => ('✔', GREEN),
            TaskState::Warning => ('!', YELLOW),
            TaskState::Error => ('✘', RED),
        };
        let colour_of_words = if task.state == TaskState::Working { YELLOW } else { colour };
        let timer = format!("{:.1}s", task.took(now).as_secs_f64());
        lines.push(format!(
            " {} {}  {}  {}",
            paint.paint(colour, &sign.to_string()),
            pad(&fit(&names[i], name_width), name_width),
            pad(&paint.paint(colour_of_words, &words[i]), word_width),
            paint.paint(BLUE, &format!("{timer:>6}")),
        ));
    }
    if hidden > 0 {
        lines.push(paint.paint(DIM, &format!("   … {hidden} more")));
    }
    lines
}

/// One thing as a line of its own, without timer.
pub(crate) fn line(subject: &Subject, state: TaskState, text: &str, paint: Paint) -> String {
    let (sign, colour) = match state {
        TaskState::Working => ("·", YELLOW),
        TaskState::Done => ("✔", GREEN),
        TaskState::Warning => ("!", YELLOW),
        TaskState::Error => ("✘", RED),
    };
    format!(" {} {subject}  {}", paint.paint(colour, sign), paint.paint(colour, &super::style::clean(text)))
}

/// `Pulling [⣿⣿⣄⠀] 12.3MB / 40MB`.
fn words(task: &Task) -> String {
    match task.transfer() {
        Some(Transfer { current, total, parts }) => {
            let mut text = format!("{} [", task.text);
            text.extend(parts.iter().take(24).map(|p| EIGHTHS[usize::from(*p).min(8)]));
            text.push(']');
            if total > 0 {
                let _ = write!(text, " {} / {}", megabytes(current), megabytes(total));
            }
            text
        }
        None => task.text.clone(),
    }
}

/// A number of bytes with three or four digits and a decimal unit, as engines show sizes: `12.3MB`.
pub(crate) fn megabytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000.0 || unit == "TB" {
            return match value {
                _ if unit == "B" => format!("{bytes}B"),
                v if v < 10.0 => format!("{v:.2}{unit}"),
                v if v < 100.0 => format!("{v:.1}{unit}"),
                v => format!("{v:.0}{unit}"),
            };
        }
        value /= 1000.0;
    }
    unreachable!("the last unit takes everything")
}

/// Where the live view stands on the terminal: what is needed to wipe it.
#[derive(Debug, Default)]
pub(crate) struct Region {
    /// Widths of the lines that stand there.
    widths: Vec<usize>,
    hidden_cursor: bool,
}

impl Region {
    /// Whether anything of it stands on the screen.
    pub(crate) fn is_drawn(&self) -> bool {
        !self.widths.is_empty()
    }

    /// Whether the cursor is hidden.
    pub(crate) fn hides_cursor(&self) -> bool {
        self.hidden_cursor
    }

    /// Wipes it: the cursor stands where its first line began.
    pub(crate) fn wipe(&mut self, size: Size, bytes: &mut Vec<u8>) {
        let rows = self.rows(size);
        if rows > 0 {
            bytes.extend_from_slice(format!("\r\x1b[{rows}A\x1b[J").as_bytes());
        }
        self.widths.clear();
    }

    /// Draws `lines` in its place. Lines are overwritten before the rest is wiped, so nothing flickers.
    pub(crate) fn redraw(&mut self, lines: &[String], size: Size, bytes: &mut Vec<u8>) {
        let rows = self.rows(size);
        let mut text = String::new();
        if !self.hidden_cursor && !lines.is_empty() {
            text.push_str("\x1b[?25l");
            self.hidden_cursor = true;
        }
        if rows > 0 {
            let _ = write!(text, "\r\x1b[{rows}A");
        }
        for line in lines {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        if rows > 0 {
            text.push_str("\x1b[J");
        }
        self.widths = lines.iter().map(|l| measure_text_width(l)).collect();
        bytes.extend_from_slice(text.as_bytes());
    }

    /// Leaves what stands there, gives the cursor back and begins below.
    pub(crate) fn leave(&mut self, bytes: &mut Vec<u8>) {
        self.widths.clear();
        if std::mem::take(&mut self.hidden_cursor) {
            bytes.extend_from_slice(b"\x1b[?25h");
        }
    }

    /// What stands there is no longer ours to wipe, and the cursor is shown.
    pub(crate) fn forget(&mut self) {
        self.widths.clear();
        self.hidden_cursor = false;
    }

    /// Rows it takes now: after a terminal got narrower, long lines take more than one.
    fn rows(&self, size: Size) -> usize {
        let columns = usize::from(size.columns.max(1));
        self.widths.iter().map(|w| w.div_ceil(columns).max(1)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::Change;
    use super::*;
    use crate::world::{Progress, SubjectKind};

    fn view(changes: &[(SubjectKind, &str, TaskState, &str, u64)]) -> View {
        let mut view = View::default();
        for (kind, name, state, text, at) in changes {
            let subject = Subject::new(*kind, *name);
            view.on(&Change { subject: &subject, state: *state, text, part: None, progress: None }, Duration::from_millis(*at));
        }
        view
    }

    #[test]
    fn a_view_is_aligned() {
        let view = view(&[
            (SubjectKind::Network, "p_default", TaskState::Working, "Creating", 0),
            (SubjectKind::Network, "p_default", TaskState::Done, "Created", 100),
            (SubjectKind::Container, "p-web-1", TaskState::Working, "Starting", 100),
            (SubjectKind::Container, "p-worker-10", TaskState::Error, "no such image", 100),
        ]);
        let lines = draw(&view, "up", Scope::Fitting, Size::default(), Duration::from_millis(400), Paint(false));
        assert_eq!(
            lines.join("\n"),
            "\
[+] up 2/3
 ✔ Network p_default      Created          0.1s
 ⠼ Container p-web-1      Starting         0.3s
 ✘ Container p-worker-10  no such image    0.0s"
        );
        let working = draw(&view, "up", Scope::Working, Size::default(), Duration::from_millis(400), Paint(false));
        assert_eq!(working, [" ⠼ Container p-web-1  Starting    0.3s"]);
    }

    #[test]
    fn what_does_not_fit_gives_way() {
        let names: Vec<String> = (0..30).map(|i| format!("p-s-{i}")).collect();
        let changes: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(i, n)| {
                let (state, text) = if i < 20 { (TaskState::Done, "Started") } else { (TaskState::Working, "Starting") };
                (SubjectKind::Container, n.as_str(), state, text, 0)
            })
            .collect();
        let view = view(&changes);
        let size = Size { columns: 40, rows: 15 };
        let lines = draw(&view, "up", Scope::Fitting, size, Duration::ZERO, Paint(false));
        assert_eq!(lines.len(), 14);
        assert!(lines.iter().all(|l| measure_text_width(l) < 40));
        assert_eq!(lines[1], " ✔ Container p-s-18  Started     0.0s");
        assert_eq!(lines.last().map(String::as_str), Some("   … 18 more"));
        assert_eq!(draw(&view, "up", Scope::Everything, size, Duration::ZERO, Paint(false)).len(), 31);
    }

    #[test]
    fn a_pull_shows_its_layers_as_one_bar() {
        let image = Subject::new(SubjectKind::Image, "nginx:alpine");
        let mut view = View::default();
        for (part, current) in [(None, 0), (Some("a"), 20_000_000), (Some("b"), 3_300_000)] {
            let progress = part.map(|_| Progress { current, total: 20_000_000 });
            view.on(&Change { subject: &image, state: TaskState::Working, text: "Pulling", part, progress }, Duration::ZERO);
        }
        let lines = draw(&view, "pull", Scope::Fitting, Size::default(), Duration::ZERO, Paint(false));
        assert_eq!(lines[1], " ⠋ Image nginx:alpine  Pulling [⣿⡀] 23.3MB / 40.0MB    0.0s");
    }

    #[test]
    fn drawing_goes_back_over_wrapped_lines() {
        let mut region = Region::default();
        let mut bytes = Vec::new();
        region.redraw(&["a".repeat(30), "b".into()], Size { columns: 40, rows: 10 }, &mut bytes);
        assert!(region.hides_cursor() && region.is_drawn());
        bytes.clear();
        region.wipe(Size { columns: 20, rows: 10 }, &mut bytes);
        assert_eq!(bytes, b"\r\x1b[3A\x1b[J");
        bytes.clear();
        region.leave(&mut bytes);
        assert_eq!(bytes, b"\x1b[?25h");
    }

    #[test]
    fn after_others_wrote_it_is_drawn_below() {
        let mut region = Region::default();
        let size = Size { columns: 40, rows: 10 };
        let mut bytes = Vec::new();
        region.redraw(&["a".into()], size, &mut bytes);
        region.forget();
        assert!(!region.hides_cursor() && !region.is_drawn());
        bytes.clear();
        region.redraw(&["a".into()], size, &mut bytes);
        assert_eq!(bytes, b"\x1b[?25la\x1b[K\n");
    }
}
