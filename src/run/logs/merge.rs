//! Lines of many containers as one sequence by the engine's time.

use crate::units::Timestamp;
use crate::world::{Event, Happening, LogLine};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Lines in one event.
pub(super) const BATCH: usize = 128;
/// How long a line is held back so that an older one of another container can overtake it.
const WINDOW: Duration = Duration::from_millis(50);
/// How many lines are held back at most, and how many bytes of text.
const HELD: usize = 16 * 1024;
const HELD_BYTES: usize = 4 * 1024 * 1024;

/// Nobody reads any more.
#[derive(Debug, PartialEq)]
pub(super) struct Unread;

/// Gathers lines into events.
struct Writer<'a> {
    out: &'a mpsc::Sender<Event>,
    lines: Vec<LogLine>,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mpsc::Sender<Event>) -> Self {
        Self { out, lines: Vec::new() }
    }

    async fn line(&mut self, line: LogLine) -> Result<(), Unread> {
        self.lines.push(line);
        if self.lines.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    /// Lines that follow each other.
    async fn run(&mut self, mut lines: Vec<LogLine>) -> Result<(), Unread> {
        if self.lines.is_empty() {
            self.lines = lines;
        } else {
            self.lines.append(&mut lines);
        }
        if self.lines.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Unread> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        self.out.send(Event::Logs(lines)).await.map_err(|_| Unread)
    }

    async fn event(&mut self, event: Event) -> Result<(), Unread> {
        self.flush().await?;
        self.out.send(event).await.map_err(|_| Unread)
    }
}

/// Merges logs that have an end: exact, nothing is held back longer than the slowest source needs for its next line.
pub(super) async fn finished(mut sources: Vec<mpsc::Receiver<Vec<LogLine>>>, out: &mpsc::Sender<Event>) -> Result<(), Unread> {
    let mut writer = Writer::new(out);
    let mut heads: Vec<std::vec::IntoIter<LogLine>> = Vec::with_capacity(sources.len());
    let mut order = BinaryHeap::with_capacity(sources.len());
    for (i, source) in sources.iter_mut().enumerate() {
        let head = next(source).await.unwrap_or_default().into_iter();
        order.extend(head.as_slice().first().map(|line| Reverse((line.time, i))));
        heads.push(head);
    }
    while let Some(Reverse((_, i))) = order.pop() {
        // As long as no other source is older, this one goes on.
        let limit = order.peek().map(|Reverse(other)| *other);
        let head = &mut heads[i];
        loop {
            match head.as_slice().first().map(|line| line.time) {
                Some(time) if limit.is_none_or(|other| (time, i) < other) => {
                    if let Some(line) = head.next() {
                        writer.line(line).await?;
                    }
                }
                Some(time) => {
                    order.push(Reverse((time, i)));
                    break;
                }
                None => {
                    let more = match sources[i].try_recv() {
                        Ok(more) => Some(more),
                        Err(_) => {
                            writer.flush().await?;
                            next(&mut sources[i]).await
                        }
                    };
                    match more {
                        // All of them come before what the others have.
                        Some(more) if more.last().is_none_or(|last| limit.is_none_or(|other| (last.time, i) < other)) => writer.run(more).await?,
                        Some(more) => *head = more.into_iter(),
                        None => break,
                    }
                }
            }
        }
    }
    writer.flush().await
}

/// The next lines; batches without any are passed over.
async fn next(source: &mut mpsc::Receiver<Vec<LogLine>>) -> Option<Vec<LogLine>> {
    loop {
        match source.recv().await {
            Some(lines) if lines.is_empty() => {}
            other => return other,
        }
    }
}

/// What a source that is being followed tells.
#[derive(Debug)]
pub(super) enum Piece {
    /// Lines of one container.
    Lines(Vec<LogLine>),
    /// Something about a container, after all its lines so far.
    Happened { source: Arc<str>, time: Timestamp, what: Happening },
    /// Something that belongs at no particular place.
    Event(Event),
    /// Everything is begun: the heading is due, even if nothing follows for long.
    Open,
}

enum Held {
    Line(LogLine),
    Happened(Arc<str>, Happening),
}

struct Entry {
    time: Timestamp,
    what: Held,
}

impl Entry {
    fn bytes(&self) -> usize {
        match &self.what {
            Held::Line(line) => line.text.len(),
            Held::Happened(..) => 0,
        }
    }
}

/// Merges what is being written now, until all senders are gone. `heading` comes before anything else. `streams` is the
/// number of logs that are open: with only one there is nothing to wait for.
pub(super) async fn live(
    mut pieces: mpsc::Receiver<Piece>,
    mut heading: Option<Event>,
    streams: Arc<AtomicUsize>,
    out: &mpsc::Sender<Event>,
) -> Result<(), Unread> {
    let mut writer = Writer::new(out);
    let mut held: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    // When pieces came, in that order, and the latest time in each.
    let mut arrivals: VecDeque<(Instant, Timestamp)> = VecDeque::new();
    // The latest time of each source: what happened to it comes after all it wrote.
    let mut latest: BTreeMap<Arc<str>, Timestamp> = BTreeMap::new();
    loop {
        let ripe = arrivals.front().map(|(arrived, _)| *arrived + WINDOW);
        let piece = tokio::select! {
            biased;
            () = sleep_until(ripe.unwrap_or_else(Instant::now)), if ripe.is_some() => None,
            piece = pieces.recv() => match piece {
                Some(piece) => Some(piece),
                None => break,
            },
        };
        let now = Instant::now();
        if let Some(heading) = heading.take() {
            writer.event(heading).await?;
        }
        match piece {
            Some(Piece::Lines(lines)) => {
                if let Some(last) = lines.iter().max_by_key(|l| l.time) {
                    let known = latest.entry(Arc::clone(&last.source)).or_default();
                    *known = last.time.max(*known);
                    arrivals.push_back((now, last.time));
                }
                bytes += lines.iter().map(|l| l.text.len()).sum::<usize>();
                held.extend(lines.into_iter().map(|line| Entry { time: line.time, what: Held::Line(line) }));
            }
            Some(Piece::Happened { source, time, what }) => {
                let time = latest.get(&source).map_or(time, |t| time.max(*t));
                arrivals.push_back((now, time));
                held.push(Entry { time, what: Held::Happened(source, what) });
            }
            Some(Piece::Event(event)) => writer.event(event).await?,
            Some(Piece::Open) | None => {}
        }
        // Everything is released that isn't younger than something that has waited long enough.
        let mut until = None;
        if streams.load(Ordering::Relaxed) <= 1 && latest.len() <= 1 {
            arrivals.clear();
            until = Some(Timestamp(i64::MAX));
        } else if held.len() >= HELD || bytes >= HELD_BYTES {
            // The older half, so that the window goes on working under a flood.
            held.sort_by_key(|e| e.time);
            until = held.get(held.len() / 2).map(|e| e.time);
        }
        while let Some((arrived, time)) = arrivals.front()
            && now.duration_since(*arrived) >= WINDOW
        {
            until = until.max(Some(*time));
            arrivals.pop_front();
        }
        if let Some(until) = until {
            // Stable: what a container wrote at the same time stays in order.
            held.sort_by_key(|e| e.time);
            let n = held.partition_point(|e| e.time <= until);
            bytes = bytes.saturating_sub(release(&mut writer, held.drain(..n)).await?);
        }
    }
    held.sort_by_key(|e| e.time);
    release(&mut writer, held.drain(..)).await?;
    Ok(())
}

/// Sends entries and returns their size.
async fn release(writer: &mut Writer<'_>, entries: impl Iterator<Item = Entry>) -> Result<usize, Unread> {
    let mut bytes = 0;
    for entry in entries {
        bytes += entry.bytes();
        match entry.what {
            Held::Line(line) => writer.line(line).await?,
            Held::Happened(source, what) => writer.event(Event::Happened { source, what }).await?,
        }
    }
    writer.flush().await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Stream;

    fn line(source: &Arc<str>, time: i64) -> LogLine {
        LogLine { source: Arc::clone(source), stream: Stream::Stdout, time: Timestamp(time), text: format!("{time}").into(), partial: false }
    }

    async fn all(mut events: mpsc::Receiver<Event>) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(event) = events.recv().await {
            match event {
                Event::Logs(lines) => {
                    assert!(!lines.is_empty() && lines.len() < 2 * BATCH);
                    texts.extend(lines.into_iter().map(|l| format!("{} {}", l.source, l.time.0)));
                }
                Event::Happened { source, .. } => texts.push(format!("{source} happened")),
                other => panic!("{other:?}"),
            }
        }
        texts
    }

    #[tokio::test]
    async fn finished_logs_are_merged_exactly_whatever_the_batches() {
        let names: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).into();
        let (out, events) = mpsc::channel(1);
        let mut receivers = Vec::new();
        let mut expected = Vec::new();
        for (k, name) in names.iter().enumerate() {
            let (sender, receiver) = mpsc::channel(1);
            receivers.push(receiver);
            // Numbers spread unevenly: long runs of one source, then turns.
            let times: Vec<i64> = (0..5_000).filter(|t| (t / (1 + t % 7)) % 3 == k as i64).collect();
            expected.extend(times.iter().map(|t| (*t, k)));
            let name = Arc::clone(name);
            tokio::spawn(async move {
                for (i, part) in times.chunks(37).enumerate() {
                    if i % 5 == 0 {
                        tokio::task::yield_now().await;
                        sender.send(Vec::new()).await.unwrap();
                    }
                    sender.send(part.iter().map(|t| line(&name, *t)).collect()).await.unwrap();
                }
            });
        }
        expected.sort_unstable();
        let merging = tokio::spawn(async move { finished(receivers, &out).await });
        let got = all(events).await;
        merging.await.unwrap().unwrap();
        assert_eq!(got, expected.iter().map(|(t, k)| format!("{} {t}", names[*k])).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_merge_that_nobody_reads_ends() {
        let (out, events) = mpsc::channel(1);
        drop(events);
        let (sender, receiver) = mpsc::channel(1);
        sender.send(vec![line(&"a".into(), 1)]).await.unwrap();
        drop(sender);
        assert_eq!(finished(vec![receiver], &out).await, Err(Unread));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_comes_late_is_put_in_its_place_within_the_window() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let (out, events) = mpsc::channel(4);
        let (pieces, receiver) = mpsc::channel(4);
        let merging = tokio::spawn(async move { live(receiver, None, Arc::new(AtomicUsize::new(2)), &out).await });
        pieces.send(Piece::Lines(vec![line(&a, 10), line(&a, 30)])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        pieces.send(Piece::Lines(vec![line(&b, 5), line(&b, 20), line(&b, 60)])).await.unwrap();
        // What happened to `a` comes after its lines, though the engine's clock says otherwise.
        pieces.send(Piece::Happened { source: Arc::clone(&a), time: Timestamp(25), what: Happening::Recreated }).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        pieces.send(Piece::Lines(vec![line(&a, 55)])).await.unwrap();
        drop(pieces);
        assert_eq!(all(events).await, ["b 5", "a 10", "b 20", "a 30", "a happened", "b 60", "a 55"]);
        merging.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_log_is_not_held_back() {
        let a: Arc<str> = "a".into();
        let (out, mut events) = mpsc::channel(4);
        let (pieces, receiver) = mpsc::channel(4);
        let _merging = tokio::spawn(async move { live(receiver, None, Arc::new(AtomicUsize::new(1)), &out).await });
        let before = Instant::now();
        pieces.send(Piece::Lines(vec![line(&a, 1)])).await.unwrap();
        assert!(events.recv().await.is_some());
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_not_held_back_for_the_sake_of_a_quiet_container() {
        let a: Arc<str> = "a".into();
        let (out, events) = mpsc::channel(1);
        let (pieces, receiver) = mpsc::channel(1);
        let merging = tokio::spawn(async move { live(receiver, None, Arc::new(AtomicUsize::new(2)), &out).await });
        let reading = tokio::spawn(all(events));
        let before = Instant::now();
        for part in 0..1_000 {
            pieces.send(Piece::Lines((0..100).map(|i| line(&a, part * 100 + i)).collect())).await.unwrap();
        }
        assert_eq!(before.elapsed(), Duration::ZERO, "only the reader's pace counts");
        drop(pieces);
        let got = reading.await.unwrap();
        assert_eq!(got, (0..100_000).map(|i| format!("a {i}")).collect::<Vec<_>>());
        merging.await.unwrap().unwrap();
    }
}
