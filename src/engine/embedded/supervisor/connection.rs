//! A command that is connected.

use super::wait::Token;
use super::wire::Lines;
use crate::world::EngineError;
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use std::os::fd::OwnedFd;

/// How much is read at once.
const BLOCK: usize = 16 * 1024;

/// One.
#[derive(Debug)]
pub struct Connection {
    /// Its socket, which doesn't block.
    pub socket: OwnedFd,
    /// How it is waited for.
    pub token: Token,
    /// It has said who it is.
    pub greeted: bool,
    /// Requests that have no answer yet.
    pub open: usize,
    /// It has sent its last byte.
    pub ended: bool,
    lines: Lines,
    output: Vec<u8>,
}

impl Connection {
    /// A new one.
    pub fn new(socket: OwnedFd, token: Token) -> Self {
        Self { socket, token, greeted: false, open: 0, ended: false, lines: Lines::default(), output: Vec::new() }
    }

    /// Reads what has come.
    ///
    /// # Errors
    /// It is gone.
    pub fn read(&mut self) -> std::io::Result<()> {
        let mut block = vec![0; BLOCK];
        loop {
            match rustix::io::read(&self.socket, block.as_mut_slice()) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(n) => self.lines.push(block.get(..n).unwrap_or_default()),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message, if all of it has come.
    ///
    /// # Errors
    /// It is none.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, EngineError> {
        self.lines.take()
    }

    /// Sends as much as the other side takes; the rest waits. True if something is left.
    ///
    /// # Errors
    /// It is gone.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<bool> {
        self.output.extend_from_slice(bytes);
        while !self.output.is_empty() {
            match rustix::io::write(&self.socket, &self.output) {
                Ok(n) => {
                    self.output.drain(..n);
                }
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.output = Vec::new();
        Ok(false)
    }
}
