//! Answers that go on and on, read straight off a connection of their own.
//!
//! An engine sends every line of a log as an HTTP chunk of its own (RFC 9112, section 7.1). Here all that one read
//! brings is one piece: the sizes between the chunks are squeezed out in place, and nothing is handed from task to task.

use super::error::Failure;
use crate::oci::Io;
use bytes::{Bytes, BytesMut};
use futures::ready;
use futures::stream::Stream;
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, StatusCode};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How much is read at once, at first and at most: many logs are read at the same time, and few of them are fast.
const BUFFER: usize = 8 * 1024;
const LARGE: usize = 64 * 1024;
/// An answer's head is no longer.
const HEAD: usize = 64 * 1024;
/// It has no more fields.
const FIELDS: usize = 100;

/// Head of an answer.
#[derive(Debug)]
pub struct Head {
    /// Status.
    pub status: StatusCode,
    /// Header.
    pub headers: HeaderMap,
}

/// A body that goes on and on. Its connection ends with it.
pub struct Pieces {
    io: Box<dyn Io>,
    buffer: BytesMut,
    /// How large the next buffer is.
    size: usize,
    coding: Coding,
}

/// Sends a request without a body and reads the head of the answer.
///
/// # Errors
/// The connection breaks off; what comes is no answer.
pub async fn exchange(mut io: Box<dyn Io>, method: &Method, target: &str, headers: &HeaderMap) -> Result<(Head, Pieces), Failure> {
    let mut request = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    // Nothing else is asked on this connection.
    request.extend_from_slice(b"connection: close\r\n");
    if *method != Method::GET {
        request.extend_from_slice(b"content-length: 0\r\n");
    }
    request.extend_from_slice(b"\r\n");
    io.write_all(&request).await.map_err(|e| broken(&e))?;
    io.flush().await.map_err(|e| broken(&e))?;
    let mut buffer = BytesMut::with_capacity(BUFFER);
    loop {
        if let Some(head) = take_head(&mut buffer, target)? {
            if head.status.is_informational() {
                continue;
            }
            let coding = Coding::of(&head, target)?;
            return Ok((head, Pieces { io, buffer, size: BUFFER, coding }));
        }
        if io.read_buf(&mut buffer).await.map_err(|e| broken(&e))? == 0 {
            return Err(Failure::Lost("the engine closed the connection without an answer".to_owned()));
        }
    }
}

/// Takes a head off the front, once it is complete.
fn take_head(buffer: &mut BytesMut, target: &str) -> Result<Option<Head>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() < HEAD => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(Failure::garbled(target, &"the head of the answer has no end")),
        Err(error) => return Err(Failure::garbled(target, &error)),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(|| Failure::garbled(target, &"an answer without a status"))?;
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for field in response.headers.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(field.name.as_bytes()), HeaderValue::from_bytes(field.value)) {
            headers.append(name, value);
        }
    }
    drop(buffer.split_to(length));
    Ok(Some(Head { status, headers }))
}

impl Pieces {
    /// All of it.
    ///
    /// # Errors
    /// The connection breaks off.
    pub async fn collect(mut self) -> Result<BytesMut, Failure> {
        use futures::TryStreamExt;
        let mut whole = BytesMut::new();
        while let Some(piece) = self.try_next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, Failure>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if !this.buffer.is_empty() {
                let length = match this.coding.squeeze(&mut this.buffer) {
                    Ok(length) => length,
                    Err(failure) => {
                        this.coding = Coding::End;
                        return Poll::Ready(Some(Err(failure)));
                    }
                };
                let piece = this.buffer.split_to(length).freeze();
                this.buffer.clear();
                if !piece.is_empty() {
                    return Poll::Ready(Some(Ok(piece)));
                }
            }
            if matches!(this.coding, Coding::End) {
                return Poll::Ready(None);
            }
            if this.buffer.capacity() < this.size / 4 {
                this.buffer.reserve(this.size);
            }
            let room = this.buffer.capacity();
            let read = ready!(pin!(this.io.read_buf(&mut this.buffer)).poll(cx));
            if room >= this.size && this.buffer.len() == room {
                this.size = LARGE.min(this.size * 2);
            }
            let whole = matches!(this.coding, Coding::UntilClosed);
            match read {
                Ok(0) => {
                    this.coding = Coding::End;
                    return Poll::Ready((!whole).then(|| Err(Failure::Lost("the connection broke off in the middle of an answer".to_owned()))));
                }
                Ok(_) => {}
                Err(error) => {
                    this.coding = Coding::End;
                    return Poll::Ready(Some(Err(broken(&error))));
                }
            }
        }
    }
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::Lost(error.to_string())
}

/// How far a body goes, and where in it we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// As far as the connection.
    UntilClosed,
    /// So many bytes.
    Length(u64),
    /// In chunks: in the line with a chunk's size, so far this, of so many digits.
    Size(u64, u8),
    /// In what may follow the size.
    Extension(u64),
    /// In a chunk, with so many bytes to come.
    Chunk(u64),
    /// In the line break after a chunk.
    Break,
    /// In the lines after the last chunk; whether the present one is empty so far.
    Trailer(bool),
    /// It is over.
    End,
}

impl Coding {
    /// (RFC 9112, section 6.3.)
    fn of(head: &Head, target: &str) -> Result<Self, Failure> {
        if matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(Self::End);
        }
        if let Some(coding) = head.headers.get(TRANSFER_ENCODING) {
            return match coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                true => Ok(Self::Size(0, 0)),
                false => Err(Failure::garbled(target, &format_args!("the answer comes in the coding {coding:?}"))),
            };
        }
        match head.headers.get(CONTENT_LENGTH) {
            None => Ok(Self::UntilClosed),
            Some(length) => match length.to_str().ok().and_then(|l| l.trim().parse().ok()) {
                Some(0) => Ok(Self::End),
                Some(length) => Ok(Self::Length(length)),
                None => Err(Failure::garbled(target, &format_args!("the answer is {length:?} bytes long"))),
            },
        }
    }

    /// Takes in `bytes`, all of them, moves what belongs to the body to the front and returns how much that is.
    fn squeeze(&mut self, bytes: &mut [u8]) -> Result<usize, Failure> {
        let (mut read, mut written) = (0, 0);
        while let Some(&byte) = bytes.get(read) {
            if let Self::UntilClosed | Self::Length(_) | Self::Chunk(_) = self {
                let here = bytes.len() - read;
                let taken = match self {
                    Self::Length(left) | Self::Chunk(left) => usize::try_from(*left).unwrap_or(usize::MAX).min(here),
                    _ => here,
                };
                if read != written {
                    bytes.copy_within(read..read + taken, written);
                }
                (read, written) = (read + taken, written + taken);
                *self = match *self {
                    Self::Length(left) if left == taken as u64 => Self::End,
                    Self::Length(left) => Self::Length(left - taken as u64),
                    Self::Chunk(left) if left == taken as u64 => Self::Break,
                    Self::Chunk(left) => Self::Chunk(left - taken as u64),
                    other => other,
                };
                continue;
            }
            *self = match (*self, byte) {
                (Self::Size(size, digits @ 0..16), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                    Self::Size(size << 4 | u64::from(char::from(byte).to_digit(16).unwrap_or(0)), digits + 1)
                }
                (Self::Size(0, 1..) | Self::Extension(0), b'\n') => Self::Trailer(true),
                (Self::Size(size, 1..) | Self::Extension(size), b'\n') => Self::Chunk(size),
                (Self::Size(size, 1..), b';' | b' ' | b'\t' | b'\r') => Self::Extension(size),
                (Self::Extension(size), _) => Self::Extension(size),
                (Self::Break, b'\r') => Self::Break,
                (Self::Break, b'\n') => Self::Size(0, 0),
                (Self::Trailer(true), b'\n') => Self::End,
                (Self::Trailer(empty), b'\r') => Self::Trailer(empty),
                (Self::Trailer(_), _) => Self::Trailer(byte == b'\n'),
                // Nothing of ours.
                (Self::End, _) => return Ok(written),
                _ => return Err(Failure::Garbled(format!("{:?} where a chunk of the answer should begin or end", char::from(byte)))),
            };
            read += 1;
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    /// What is read from an engine that says `answer`, cut at `cuts`, and then closes the connection.
    async fn read(answer: &[u8], cuts: &[usize]) -> Result<(StatusCode, Vec<u8>), Failure> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([answer.len()]) {
            parts.push(answer[from..cut].to_vec());
            from = cut;
        }
        let engine = tokio::spawn(async move {
            let mut request = vec![0; 1024];
            let n = theirs.read(&mut request).await.unwrap();
            for part in parts {
                theirs.write_all(&part).await.unwrap();
                tokio::task::yield_now().await;
            }
            String::from_utf8(request[..n].to_vec()).unwrap()
        });
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("docker"));
        let read = async {
            let (head, mut pieces) = exchange(Box::new(ours), &Method::GET, "/v1.51/x?y=1", &headers).await?;
            let mut body = Vec::new();
            while let Some(piece) = pieces.next().await {
                body.extend_from_slice(&piece?);
            }
            assert!(pieces.next().await.is_none(), "the end is the end");
            Ok((head.status, body))
        };
        let read = read.await;
        assert_eq!(engine.await.unwrap(), "GET /v1.51/x?y=1 HTTP/1.1\r\nhost: docker\r\nconnection: close\r\n\r\n");
        read
    }

    #[tokio::test]
    async fn a_body_comes_out_the_same_however_it_is_sent_and_cut() {
        let chunked: &[u8] =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\none\r\n05;name=\"value\"\r\n\r\ntwo\r\n1 \r\n!\r\n0\r\nT: u\r\n\r\n";
        let length: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none\r\ntwo!";
        let closed: &[u8] = b"HTTP/1.0 200 OK\r\n\r\none\r\ntwo!";
        for answer in [chunked, length, closed] {
            let want = Ok((StatusCode::OK, b"one\r\ntwo!".to_vec()));
            for a in 0..answer.len() {
                assert_eq!(read(answer, &[a]).await, want, "cut at {a}");
            }
            assert_eq!(read(answer, &(0..answer.len()).collect::<Vec<_>>()).await, want, "byte by byte");
        }
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_no_whole_one() {
        let whole: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            assert!(matches!(read(&whole[..end], &[]).await, Err(Failure::Lost(_))), "cut off at {end}");
        }
        let short = read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none", &[]).await;
        assert!(matches!(short, Err(Failure::Lost(_))), "{short:?}");
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for garbage in ["x", "\r\n", "3\r\nonetwo", "11111111111111111\r\n", "-1\r\n"] {
            let got = read(format!("{head}{garbage}").as_bytes(), &[]).await;
            assert!(matches!(got, Err(Failure::Garbled(_))), "{garbage:?}: {got:?}");
        }
        for answer in
            ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
        {
            let got = read(answer.as_bytes(), &[]).await;
            assert!(matches!(got, Err(Failure::Garbled(_))), "{answer:?}: {got:?}");
        }
        assert_eq!(read(b"HTTP/1.1 204 No Content\r\n\r\n", &[]).await, Ok((StatusCode::NO_CONTENT, vec![])));
    }

    #[tokio::test]
    async fn one_read_is_one_piece() {
        let mut bytes = b"4\r\naaaa\r\n3\r\nbbb\r\n2\r\ncc".to_vec();
        let mut coding = Coding::Size(0, 0);
        let n = coding.squeeze(&mut bytes).unwrap();
        assert_eq!((&bytes[..n], coding), (&b"aaaabbbcc"[..], Coding::Break));
    }
}
