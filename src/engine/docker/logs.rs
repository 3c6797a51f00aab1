//! Logs: asked for with timestamps, cut into lines, the timestamp taken off.

use super::client::{Api, escape, query};
use super::error::Failure;
use super::frames::Frames;
use super::inspect::inspected;
use super::{DockerEngine, follow};
use crate::units::Timestamp;
use crate::world::{EngineError, LogChunk, LogQuery, Stream, Target};
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{BoxStream, Stream as Items};
use futures::{StreamExt, ready};
use hyper::Method;
use hyper::header::HeaderMap;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Engines cut longer lines into messages of this many bytes.
const MESSAGE: usize = 16 * 1024;

/// Chunks of a log.
pub type Chunks = BoxStream<'static, Result<LogChunk, EngineError>>;

/// The log of a container.
pub async fn logs(engine: &DockerEngine, container: &Target, wanted: &LogQuery) -> Result<Chunks, EngineError> {
    #[cfg(target_os = "linux")]
    if engine.quirks.log_files
        && engine.client.is_local()
        && let Some(chunks) = super::logfile::open(engine, container, wanted).await
    {
        return Ok(chunks);
    }
    if wanted.follow && engine.quirks.follow_loses_lines {
        return follow::follow(engine, container, wanted).await;
    }
    open(engine, container, wanted).await
}

/// Asks for a log.
pub async fn open(engine: &DockerEngine, container: &Target, wanted: &LogQuery) -> Result<Chunks, EngineError> {
    let doing = format!("read the log of container {}", container.name);
    let path = format!("/containers/{}/logs", escape(container.reference()));
    let time = |t: Timestamp| format!("{}.{:09}", t.0.div_euclid(1_000_000_000), t.0.rem_euclid(1_000_000_000));
    let mut pairs = vec![("stdout", "1".to_owned()), ("stderr", "1".to_owned()), ("timestamps", "1".to_owned())];
    if wanted.follow {
        pairs.push(("follow", "1".to_owned()));
    }
    pairs.extend(wanted.since.map(|t| ("since", time(t))));
    pairs.extend(wanted.until.map(|t| ("until", time(t))));
    pairs.extend(wanted.tail.map(|n| ("tail", n.to_string())));
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let open = async {
        // What a terminal writes has no frames. Newer engines say it in the answer.
        let tty = if engine.hello.api < Api(1, 42) { Some(inspected(&engine.client, container.reference()).await?.config.tty) } else { None };
        let (headers, body) = engine.client.stream(Method::GET, &query(&path, &pairs), HeaderMap::new()).await?;
        let raw = headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/vnd.docker.raw-stream"));
        Ok::<_, Failure>((tty.unwrap_or(raw), body))
    };
    let (tty, body) = open.await.map_err(|f| f.explain(&doing))?;
    let clock = Clock::default();
    Ok(if tty {
        Cut { body: Box::pin(body), cutter: Lines { begun: BytesMut::new(), piece: Bytes::new(), clock }, doing, ended: false }.boxed()
    } else {
        Cut { body: Box::pin(body), cutter: Framed { frames: Frames::default(), clock }, doing, ended: false }.boxed()
    })
}

/// Makes chunks of pieces.
trait Cutter {
    fn push(&mut self, piece: Bytes);
    fn next(&mut self) -> Result<Option<LogChunk>, Failure>;
    /// What is left when nothing more comes.
    fn rest(&mut self) -> Result<Option<LogChunk>, Failure>;
}

/// A body, cut.
struct Cut<B, C> {
    body: Pin<Box<B>>,
    cutter: C,
    doing: String,
    ended: bool,
}

impl<B, C: Unpin> Unpin for Cut<B, C> {}

impl<B: Items<Item = Result<Bytes, Failure>>, C: Cutter + Unpin> Items for Cut<B, C> {
    type Item = Result<LogChunk, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let failure = loop {
            match this.cutter.next() {
                Ok(Some(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                Ok(None) => {}
                Err(failure) => break failure,
            }
            match ready!(this.body.as_mut().poll_next(cx)) {
                Some(Ok(piece)) => this.cutter.push(piece),
                Some(Err(failure)) => break failure,
                None => {
                    this.ended = true;
                    return Poll::Ready(this.cutter.rest().map_err(|f| f.explain(&this.doing)).transpose());
                }
            }
        };
        this.ended = true;
        Poll::Ready(Some(Err(failure.explain(&this.doing))))
    }
}

/// Output of two streams: a frame is a message, a message is a line or a part of one.
struct Framed {
    frames: Frames,
    clock: Clock,
}

impl Cutter for Framed {
    fn push(&mut self, piece: Bytes) {
        self.frames.push(piece);
    }

    fn next(&mut self) -> Result<Option<LogChunk>, Failure> {
        Ok(self.frames.next()?.map(|(stream, mut bytes)| {
            let time = self.clock.take(&mut bytes);
            LogChunk { stream, time, bytes }
        }))
    }

    fn rest(&mut self) -> Result<Option<LogChunk>, Failure> {
        self.frames.finish().map(|()| None)
    }
}

/// Output of a terminal: lines, one after the other.
struct Lines {
    piece: Bytes,
    begun: BytesMut,
    clock: Clock,
}

impl Lines {
    fn chunk(&mut self, mut bytes: Bytes) -> LogChunk {
        let time = self.clock.take(&mut bytes);
        // A part of a long line has no line break after it: the next part's timestamp follows at once. Push that back.
        if bytes.len() > MESSAGE {
            let mut next = bytes.slice(MESSAGE..);
            if self.clock.take(&mut next).is_some() {
                let rest = bytes.split_off(MESSAGE);
                let mut piece = BytesMut::with_capacity(rest.len() + self.piece.len());
                piece.extend_from_slice(&rest);
                piece.extend_from_slice(&self.piece);
                self.piece = piece.freeze();
            }
        }
        // A terminal ends its lines with both; nobody who reads a log wants that.
        if bytes.ends_with(b"\r\n") {
            let mut plain = BytesMut::from(&bytes[..bytes.len() - 2]);
            plain.extend_from_slice(b"\n");
            bytes = plain.freeze();
        }
        LogChunk { stream: Stream::Stdout, time, bytes }
    }
}

impl Cutter for Lines {
    fn push(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    fn next(&mut self) -> Result<Option<LogChunk>, Failure> {
        let Some(at) = self.piece.iter().position(|b| *b == b'\n') else {
            self.begun.extend_from_slice(&std::mem::take(&mut self.piece));
            return Ok(None);
        };
        let mut line = self.piece.split_to(at + 1);
        if !self.begun.is_empty() {
            self.begun.extend_from_slice(&line);
            line = self.begun.split().freeze();
        }
        Ok(Some(self.chunk(line)))
    }

    fn rest(&mut self) -> Result<Option<LogChunk>, Failure> {
        let rest = self.begun.split().freeze();
        Ok((!rest.is_empty()).then(|| self.chunk(rest)))
    }
}

/// Reads timestamps. Many lines of a log share their second and their zone, so these are worked out once.
#[derive(Default)]
pub struct Clock {
    /// `2026-11-22T04:05:56`
    second: [u8; 19],
    /// `Z`, or `+01:00`.
    zone: Bytes,
    /// When the second begins.
    begin: Option<i64>,
}

impl Clock {
    /// Takes the timestamp and the blank behind it off the front of a line.
    pub fn take(&mut self, line: &mut Bytes) -> Option<Timestamp> {
        let (time, length) = self.read_common(line).or_else(|| {
            // A fraction may be shorter, or absent.
            let length = line.iter().take(40).position(|b| *b == b' ')?;
            Some((Timestamp::parse_rfc3339(std::str::from_utf8(&line[..length]).ok()?)?, length))
        })?;
        line.advance(length + 1);
        Some(time)
    }

    /// Reads the common form, `2026-11-22T04:05:56.197916832Z `, and says how long it is without the blank.
    fn read_common(&mut self, line: &[u8]) -> Option<(Timestamp, usize)> {
        let (second, rest) = line.split_first_chunk::<19>()?;
        let (fraction, rest) = rest.strip_prefix(b".")?.split_first_chunk::<9>()?;
        let zone = match rest {
            [b'Z', b' ', ..] => &rest[..1],
            [_, _, _, _, _, _, b' ', ..] => &rest[..6],
            _ => return None,
        };
        if self.begin.is_none() || self.second != *second || self.zone != zone {
            let whole = format!("{}{}", std::str::from_utf8(second).ok()?, std::str::from_utf8(zone).ok()?);
            self.begin = Some(Timestamp::parse_rfc3339(&whole)?.0);
            (self.second, self.zone) = (*second, Bytes::copy_from_slice(zone));
        }
        let nanos = fraction.iter().try_fold(0_i64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))?;
        Some((Timestamp(self.begin?.checked_add(nanos)?), second.len() + 1 + fraction.len() + zone.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "2026-11-22T04:05:56.197916832Z";

    fn lines(pieces: &[&[u8]]) -> Vec<LogChunk> {
        let mut cutter = Lines { begun: BytesMut::new(), piece: Bytes::new(), clock: Clock::default() };
        let mut out = Vec::new();
        for piece in pieces {
            cutter.push(Bytes::copy_from_slice(piece));
            while let Some(chunk) = cutter.next().unwrap() {
                out.push(chunk);
            }
        }
        out.extend(cutter.rest().unwrap());
        out
    }

    #[test]
    fn timestamps_are_taken_off_and_read() {
        let want = Timestamp::parse_rfc3339(STAMP).unwrap();
        let mut clock = Clock::default();
        for stamp in [STAMP, STAMP, "2026-11-22T05:05:56.197916832+01:00", "2026-11-21T23:05:56.197916832-05:00"] {
            let mut line = Bytes::from(format!("{stamp} hello world\n"));
            assert_eq!(clock.take(&mut line), Some(want), "{stamp}");
            assert_eq!(&line[..], b"hello world\n");
        }
        let mut next_day = Bytes::from("2026-11-23T00:00:00.000000001Z x");
        assert_eq!(clock.take(&mut next_day), Timestamp::parse_rfc3339("2026-11-23T00:00:00.000000001Z"));
        for bad in [
            "hello world",
            "2026-11-22T04:05:99.197916832Z x",
            "2026-13-22T04:05:09.197916832Z x",
            "",
            " ",
            "no-blank-at-all-within-forty-bytes-of-text",
        ] {
            let mut line = Bytes::from(bad);
            assert_eq!((clock.take(&mut line), &line[..]), (None, bad.as_bytes()));
        }
    }

    #[test]
    fn a_terminals_lines_come_out_whole_however_they_are_cut() {
        let all = format!("{STAMP} one\r\n{STAMP} \r\n{STAMP} unfinished");
        let want = lines(&[all.as_bytes()]);
        assert_eq!(want.iter().map(|c| &c.bytes[..]).collect::<Vec<_>>(), [&b"one\n"[..], b"\n", b"unfinished"]);
        assert!(want.iter().all(|c| c.time.is_some()));
        for cut in 0..all.len() {
            assert_eq!(lines(&[&all.as_bytes()[..cut], &all.as_bytes()[cut..]]), want, "cut at {cut}");
        }
    }

    #[test]
    fn a_terminals_long_line_is_cut_where_the_engine_cut_it() {
        let (long, tail) = ("x".repeat(MESSAGE), "y".repeat(10));
        let all = format!("{STAMP} {long}{STAMP} {long}{STAMP} {tail}\n{STAMP} next\n");
        let texts: Vec<usize> = lines(&[all.as_bytes()]).iter().map(|c| c.bytes.len()).collect();
        assert_eq!(texts, [MESSAGE, MESSAGE, 11, 5]);
    }
}
