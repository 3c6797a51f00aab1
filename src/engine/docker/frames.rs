//! Output of two streams in one: frames of a stream's number, three zero bytes, a big-endian length, and the bytes.
//!
//! (Docker Engine API, "Attach to a container", stream format.)

use super::error::Failure;
use crate::world::Stream;
use bytes::{Buf, Bytes, BytesMut};

const HEADER: usize = 8;

/// Takes frames out of pieces of any size. Frames that lie whole within a piece are not copied.
#[derive(Debug, Default)]
pub struct Frames {
    /// The piece that is being read.
    piece: Bytes,
    /// The beginning of a frame whose end hasn't come yet.
    begun: BytesMut,
}

impl Frames {
    /// The next piece. Only when [`Self::next`] has nothing left.
    pub fn push(&mut self, piece: Bytes) {
        debug_assert!(self.piece.is_empty(), "the last piece isn't used up");
        self.piece = piece;
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// What no engine sends; what the engine says went wrong in the middle.
    pub fn next(&mut self) -> Result<Option<(Stream, Bytes)>, Failure> {
        if self.begun.is_empty()
            && let Some(length) = length(&self.piece)?
            && self.piece.len() - HEADER >= length
        {
            let frame = self.piece.split_to(HEADER + length);
            return open(frame).map(Some);
        }
        loop {
            let wanted = match length(&self.begun)? {
                Some(length) if self.begun.len() == HEADER + length => return open(self.begun.split().freeze()).map(Some),
                Some(length) => HEADER + length,
                None => HEADER,
            };
            if self.piece.is_empty() {
                return Ok(None);
            }
            let taken = (wanted - self.begun.len()).min(self.piece.len());
            self.begun.reserve(taken);
            self.begun.extend_from_slice(&self.piece[..taken]);
            self.piece.advance(taken);
        }
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// A frame was cut off.
    pub fn finish(&self) -> Result<(), Failure> {
        if self.begun.is_empty() { Ok(()) } else { Err(Failure::Lost("the connection broke off in the middle of some output".to_owned())) }
    }
}

/// The length in a header, once it is complete.
fn length(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    match bytes.first_chunk::<HEADER>() {
        None => Ok(None),
        Some(&[0..=3, 0, 0, 0, a, b, c, d]) => Ok(Some(u32::from_be_bytes([a, b, c, d]) as usize)),
        Some(header) => Err(Failure::Garbled(format!("{header:?} is no header of a frame of output"))),
    }
}

/// A whole frame's stream and bytes.
fn open(mut frame: Bytes) -> Result<(Stream, Bytes), Failure> {
    let stream = frame.first().copied().unwrap_or(0);
    frame.advance(HEADER);
    match stream {
        0 | 1 => Ok((Stream::Stdout, frame)),
        2 => Ok((Stream::Stderr, frame)),
        _ => Err(Failure::Refused { status: 0, message: String::from_utf8_lossy(&frame).trim().to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], text].concat()
    }

    fn read(pieces: &[&[u8]]) -> Result<Vec<(Stream, Vec<u8>)>, Failure> {
        let (mut frames, mut out) = (Frames::default(), Vec::new());
        for piece in pieces {
            frames.push(Bytes::copy_from_slice(piece));
            while let Some((stream, bytes)) = frames.next()? {
                out.push((stream, bytes.to_vec()));
            }
        }
        frames.finish().map(|()| out)
    }

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let all = [frame(1, b"one\n"), frame(2, b""), frame(2, b"two"), frame(1, &[0, 1, 2, 3, 0, 0, 0, 0, 9]), frame(1, b"\n")].concat();
        let want = read(&[&all]).unwrap();
        assert_eq!(want.len(), 5);
        assert_eq!(want[2], (Stream::Stderr, b"two".to_vec()));
        for a in 0..all.len() {
            for b in a..all.len() {
                assert_eq!(read(&[&all[..a], &all[a..b], &all[b..]]).unwrap(), want, "cut at {a} and {b}");
            }
        }
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(read(&bytes).unwrap(), want);
    }

    #[test]
    fn a_whole_frame_is_not_copied() {
        let piece = Bytes::from([frame(1, b"first"), frame(1, b"second")].concat());
        let mut frames = Frames::default();
        frames.push(piece.clone());
        let (_, text) = frames.next().unwrap().unwrap();
        assert_eq!(text.as_ptr(), piece[8..].as_ptr());
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        assert!(matches!(read(&[&frame(1, b"whole")[..9]]), Err(Failure::Lost(_))));
        assert!(matches!(read(&[b"hello world"]), Err(Failure::Garbled(_))));
        let said = frame(3, b"Error grabbing logs: disk on fire\n");
        assert_eq!(read(&[&said]), Err(Failure::Refused { status: 0, message: "Error grabbing logs: disk on fire".to_owned() }));
    }
}
