//! Progress as a value: a pure fold of events.

use crate::world::{Progress, Subject, SubjectKind, TaskState};
use indexmap::IndexMap;
use std::time::Duration;

/// What is being done, in the order in which it began.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) tasks: IndexMap<Subject, Task>,
}

/// One thing.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) state: TaskState,
    pub(crate) text: String,
    /// When the present piece of work began, since the beginning of the view.
    pub(crate) since: Duration,
    /// When it ended.
    pub(crate) until: Option<Duration>,
    /// Layers of an image by id.
    parts: IndexMap<String, Part>,
    progress: Option<Progress>,
}

#[derive(Debug)]
struct Part {
    done: bool,
    progress: Option<Progress>,
}

/// News of one thing.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) state: TaskState,
    pub(crate) text: &'a str,
    pub(crate) part: Option<&'a str>,
    pub(crate) progress: Option<Progress>,
}

impl View {
    /// Takes a change in. Returns whether it is worth a line: the thing itself (not a part of it) began, or ended, a piece
    /// of work.
    pub(crate) fn on(&mut self, change: &Change<'_>, now: Duration) -> bool {
        let fresh = !self.tasks.contains_key(change.subject);
        let task = self.tasks.entry(change.subject.clone()).or_insert_with(|| Task {
            state: TaskState::Working,
            text: String::new(),
            since: now,
            until: None,
            parts: IndexMap::new(),
            progress: None,
        });
        if let Some(part) = change.part.filter(|p| !p.is_empty()) {
            let entry = task.parts.entry(part.to_owned()).or_insert(Part { done: false, progress: None });
            entry.done = change.state != TaskState::Working;
            entry.progress = change.progress.or(entry.progress);
            return false;
        }
        if change.progress.is_some() {
            task.progress = change.progress;
        }
        let goes_on = task.state == TaskState::Working && change.state == TaskState::Working;
        let news = fresh || (!goes_on && (task.text != change.text || task.state != change.state));
        if task.until.is_some() && change.state == TaskState::Working {
            (task.since, task.until) = (now, None);
        }
        if change.state != TaskState::Working {
            task.until = task.until.or(Some(now));
            task.parts.clear();
            task.progress = None;
        }
        task.state = change.state;
        change.text.clone_into(&mut task.text);
        news
    }

    /// How many things are done.
    pub(crate) fn done(&self) -> usize {
        self.tasks.values().filter(|t| t.state != TaskState::Working).count()
    }
}

impl Task {
    /// How long the present piece of work has taken, or took.
    pub(crate) fn took(&self, now: Duration) -> Duration {
        self.until.unwrap_or(now).saturating_sub(self.since)
    }

    /// How far a transfer is: its own numbers, or the sum of its parts, with how full the bar of each part is.
    pub(crate) fn transfer(&self) -> Option<Transfer> {
        if self.parts.is_empty() {
            return self.progress.filter(|p| p.total > 0).map(|p| Transfer {
                current: p.current,
                total: p.total,
                parts: vec![fraction(Some(p), false)],
            });
        }
        let (mut current, mut total) = (0, 0);
        for progress in self.parts.values().filter_map(|p| p.progress) {
            current += progress.current.min(progress.total.max(progress.current));
            total += progress.total;
        }
        Some(Transfer { current, total, parts: self.parts.values().map(|p| fraction(p.progress, p.done)).collect() })
    }
}

/// How far a transfer is.
#[derive(Debug, PartialEq)]
pub(crate) struct Transfer {
    pub(crate) current: u64,
    pub(crate) total: u64,
    /// Eighths of each part, 0 to 8.
    pub(crate) parts: Vec<u8>,
}

fn fraction(progress: Option<Progress>, done: bool) -> u8 {
    match progress {
        _ if done => 8,
        Some(p) if p.total > 0 => (p.current.min(p.total).saturating_mul(8) / p.total) as u8,
        _ => 0,
    }
}

/// Whether news of this kind is worth a line beside flowing logs: `Started` and the like are not, logs say it better.
pub(crate) fn worth_telling(subject: &Subject, state: TaskState, text: &str) -> bool {
    match state {
        TaskState::Warning | TaskState::Error => true,
        TaskState::Working => false,
        TaskState::Done => !(subject.kind == SubjectKind::Container && matches!(text, "Created" | "Started" | "Running" | "Healthy" | "Exited")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change<'a>(subject: &'a Subject, state: TaskState, text: &'a str) -> Change<'a> {
        Change { subject, state, text, part: None, progress: None }
    }

    #[test]
    fn the_timer_starts_again_with_the_next_piece_of_work() {
        let web = Subject::new(SubjectKind::Container, "p-web-1");
        let at = Duration::from_secs;
        let mut view = View::default();
        assert!(view.on(&change(&web, TaskState::Working, "Creating"), at(0)));
        assert!(view.on(&change(&web, TaskState::Done, "Created"), at(2)));
        assert!(!view.on(&change(&web, TaskState::Done, "Created"), at(3)));
        assert_eq!(view.tasks[&web].took(at(9)), at(2));
        assert!(view.on(&change(&web, TaskState::Working, "Starting"), at(5)));
        assert_eq!((view.tasks[&web].took(at(6)), view.done()), (at(1), 0));
    }

    #[test]
    fn layers_add_up() {
        let image = Subject::new(SubjectKind::Image, "nginx");
        let mut view = View::default();
        view.on(&change(&image, TaskState::Working, "Pulling"), Duration::ZERO);
        for (part, state, progress) in [
            ("a", TaskState::Working, Some(Progress { current: 30, total: 100 })),
            ("b", TaskState::Working, Some(Progress { current: 50, total: 100 })),
            ("b", TaskState::Done, None),
            ("c", TaskState::Working, None),
        ] {
            assert!(!view.on(&Change { part: Some(part), progress, ..change(&image, state, "x") }, Duration::ZERO));
        }
        assert_eq!(view.tasks[&image].transfer(), Some(Transfer { current: 80, total: 200, parts: vec![2, 8, 0] }));
        view.on(&change(&image, TaskState::Done, "Pulled"), Duration::ZERO);
        assert_eq!(view.tasks[&image].transfer(), None);
    }
}
