//! Runs a command inside a container: raw bytes both ways.

use crate::engine::Engine;
use crate::world::{EngineError, ExecSession, ExecSpec, Stream, Target};
use futures::StreamExt;
use std::convert::Infallible;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

/// The near end of a command's streams.
pub struct ExecIo {
    /// What it reads; `None` gives it end of file at once.
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Where its standard output goes; `None` drops it.
    pub stdout: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Where its standard error goes; `None` drops it.
    pub stderr: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Size of the terminal, columns and rows, whenever it changes.
    pub size: Option<watch::Receiver<(u16, u16)>>,
}

impl std::fmt::Debug for ExecIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExecIo")
    }
}

/// Why a command's exit code is not known.
#[derive(Debug)]
pub enum ExecError {
    /// The engine failed.
    Engine(EngineError),
    /// Our own standard output or error can't be written to. `BrokenPipe`: nobody reads it any more.
    Output(std::io::Error),
}

impl From<EngineError> for ExecError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// Runs a command and returns its exit code, after all that it printed has been written. With [`ExecSpec::detach`]
/// nothing is waited for and the code is 0.
///
/// Output is read only as fast as it can be written. The end of standard input is passed on while output goes on; a
/// command that ends without reading its input ends this, too.
///
/// # Errors
/// The engine failed, or our output can't be written to.
pub async fn exec(engine: &dyn Engine, container: &Target, spec: &ExecSpec, io: ExecIo) -> Result<i64, ExecError> {
    let ExecSession { mut output, input, control } = engine.exec(container, spec).await?;
    if spec.detach {
        return Ok(0);
    }
    let ExecIo { stdin, mut stdout, mut stderr, mut size } = io;
    let mut feed = std::pin::pin!(feed(stdin, input));
    loop {
        // Not biased: a command that prints without end must still be able to read.
        tokio::select! {
            piece = output.next() => match piece {
                Some(piece) => {
                    let (stream, bytes) = piece?;
                    let to = if stream == Stream::Stderr { &mut stderr } else { &mut stdout };
                    if let Some(to) = to {
                        // Writing must not stop the input: a command may wait for it before it takes more of ours.
                        tokio::select! {
                            biased;
                            written = write(to, &bytes) => written.map_err(ExecError::Output)?,
                            never = &mut feed => match never {},
                        }
                    }
                }
                None => break,
            },
            never = &mut feed => match never {},
            (columns, rows) = changed(&mut size) => {
                // The command may have ended just now; its size matters to nobody then.
                let _ = control.resize(columns, rows).await;
            }
        }
    }
    Ok(control.exit_code().await?)
}

/// Copies standard input until it ends or nobody reads it any more, then says so at the other end. Holds that end until
/// it is dropped: letting go of it could end the whole connection, output too.
async fn feed(stdin: Option<Box<dyn AsyncRead + Send + Unpin>>, mut input: Box<dyn AsyncWrite + Send + Unpin>) -> Infallible {
    if let Some(mut stdin) = stdin {
        let mut buffer = vec![0; 32 * 1024];
        // What can't be read has ended, and what can't be written is not wanted.
        while let Ok(n @ 1..) = stdin.read(&mut buffer).await {
            if input.write_all(&buffer[..n]).await.is_err() || input.flush().await.is_err() {
                break;
            }
        }
    }
    let _ = input.shutdown().await;
    std::future::pending().await
}

async fn write(to: &mut (dyn AsyncWrite + Send + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// The next size of the terminal.
async fn changed(size: &mut Option<watch::Receiver<(u16, u16)>>) -> (u16, u16) {
    if let Some(receiver) = size
        && receiver.changed().await.is_ok()
    {
        return *receiver.borrow_and_update();
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineInfo, ProgressSink};
    use crate::world::{
        Applied, Capabilities, ContainerDetails, EngineEvent, ErrorKind, ExecControl, LogChunk, LogQuery, ObserveQuery, Observed, Op,
    };
    use async_trait::async_trait;
    use bytes::Bytes;
    use futures::stream::BoxStream;
    use std::sync::{Arc, Mutex};
    use tokio::io::{duplex, simplex};
    use tokio::sync::mpsc;

    /// An engine that runs one "command": a function over its input and output.
    #[derive(Debug, Default)]
    struct One {
        session: Mutex<Option<ExecSession>>,
    }

    #[async_trait]
    impl Engine for One {
        fn info(&self) -> EngineInfo {
            EngineInfo::default()
        }
        fn capabilities(&self) -> Capabilities {
            unreachable!("exec asks for nothing else")
        }
        async fn observe(&self, _: &ObserveQuery) -> Result<Observed, EngineError> {
            Ok(Observed::default())
        }
        async fn apply(&self, _: &Op, _: &ProgressSink) -> Result<Applied, EngineError> {
            Ok(Applied::default())
        }
        async fn events(&self, _: Option<&str>) -> Result<BoxStream<'static, Result<EngineEvent, EngineError>>, EngineError> {
            Ok(futures::stream::pending().boxed())
        }
        async fn logs(&self, _: &Target, _: &LogQuery) -> Result<BoxStream<'static, Result<LogChunk, EngineError>>, EngineError> {
            Ok(futures::stream::empty().boxed())
        }
        async fn exec(&self, _: &Target, _: &ExecSpec) -> Result<ExecSession, EngineError> {
            self.session.lock().unwrap().take().ok_or_else(|| EngineError::new(ErrorKind::NotFound, "no such container"))
        }
        async fn inspect(&self, _: &Target) -> Result<ContainerDetails, EngineError> {
            Ok(ContainerDetails::default())
        }
    }

    #[derive(Default)]
    struct Control {
        sizes: Sizes,
    }

    #[async_trait]
    impl ExecControl for Control {
        async fn resize(&self, columns: u16, rows: u16) -> Result<(), EngineError> {
            self.sizes.lock().unwrap().push((columns, rows));
            Ok(())
        }
        async fn exit_code(&self) -> Result<i64, EngineError> {
            Ok(7)
        }
    }

    type Printed = mpsc::Sender<Result<(Stream, Bytes), EngineError>>;

    type Sizes = Arc<Mutex<Vec<(u16, u16)>>>;

    /// The engine, the command's standard input, what it prints with and the sizes it was told.
    fn command(room: usize) -> (One, tokio::io::DuplexStream, Printed, Sizes) {
        let (input, read) = duplex(room);
        let (print, mut printed) = mpsc::channel(1);
        let output = futures::stream::poll_fn(move |cx| printed.poll_recv(cx)).boxed();
        let control = Control::default();
        let sizes = Arc::clone(&control.sizes);
        let session = ExecSession { output, input: Box::new(input), control: Box::new(control) };
        (One { session: Mutex::new(Some(session)) }, read, print, sizes)
    }

    fn io(stdin: impl AsyncRead + Send + Unpin + 'static) -> (ExecIo, tokio::io::DuplexStream, tokio::io::DuplexStream) {
        let (out, stdout) = duplex(64 * 1024);
        let (err, stderr) = duplex(64 * 1024);
        (ExecIo { stdin: Some(Box::new(stdin)), stdout: Some(Box::new(out)), stderr: Some(Box::new(err)), size: None }, stdout, stderr)
    }

    async fn text(mut from: tokio::io::DuplexStream) -> String {
        let mut text = String::new();
        from.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn input_reaches_the_command_and_its_end_too() {
        let (engine, mut read, print, _) = command(3);
        let cat = tokio::spawn(async move {
            let mut all = Vec::new();
            read.read_to_end(&mut all).await.unwrap();
            print.send(Ok((Stream::Stdout, all.into()))).await.unwrap();
            print.send(Ok((Stream::Stderr, Bytes::from_static(b"bye")))).await.unwrap();
        });
        let (io, stdout, stderr) = io(std::io::Cursor::new(b"hello world".to_vec()));
        let code = exec(&engine, &Target::named("c"), &ExecSpec::default(), io).await.unwrap();
        cat.await.unwrap();
        assert_eq!((code, text(stdout).await.as_str(), text(stderr).await.as_str()), (7, "hello world", "bye"));
    }

    #[tokio::test]
    async fn a_command_that_does_not_read_its_input_ends_all_the_same() {
        let (engine, read, print, _) = command(3);
        drop(print);
        let (input, mut typing) = simplex(8);
        // Nobody types, and nobody closes.
        let (io, stdout, _stderr) = io(input);
        assert_eq!(exec(&engine, &Target::named("c"), &ExecSpec::default(), io).await.unwrap(), 7);
        assert_eq!(text(stdout).await, "");
        assert!(typing.write_all(b"x").await.is_err() || typing.flush().await.is_ok());
        drop(read);
    }

    #[tokio::test]
    async fn input_that_nobody_wants_is_no_error() {
        let (engine, read, print, _) = command(3);
        drop(read);
        let (io, stdout, _stderr) = io(tokio::io::repeat(b'y'));
        let late = tokio::spawn(async move {
            for _ in 0..100 {
                print.send(Ok((Stream::Stdout, Bytes::from_static(b"0123456789")))).await.unwrap();
            }
        });
        assert_eq!(exec(&engine, &Target::named("c"), &ExecSpec::default(), io).await.unwrap(), 7);
        late.await.unwrap();
        assert_eq!(text(stdout).await.len(), 1000);
    }

    #[tokio::test]
    async fn a_slow_reader_slows_the_command_but_not_its_input() {
        let (engine, mut read, print, _) = command(4);
        let (out, mut stdout) = duplex(1);
        let io = ExecIo { stdin: Some(Box::new(std::io::Cursor::new(b"abcdefgh".to_vec()))), stdout: Some(Box::new(out)), stderr: None, size: None };
        // It prints more than anybody reads, then reads all its input, and only then its output is read.
        let command = tokio::spawn(async move {
            print.send(Ok((Stream::Stdout, Bytes::from_static(b"0123456789")))).await.unwrap();
            let mut all = Vec::new();
            read.read_to_end(&mut all).await.unwrap();
            let mut got = [0; 10];
            stdout.read_exact(&mut got).await.unwrap();
            drop(print);
            all
        });
        assert_eq!(exec(&engine, &Target::named("c"), &ExecSpec::default(), io).await.unwrap(), 7);
        assert_eq!(command.await.unwrap(), b"abcdefgh");
    }

    #[tokio::test]
    async fn a_reader_that_went_away_ends_it() {
        let (engine, _read, print, _) = command(4);
        let (io, stdout, _stderr) = io(tokio::io::empty());
        drop(stdout);
        print.send(Ok((Stream::Stdout, Bytes::from_static(b"x")))).await.unwrap();
        match exec(&engine, &Target::named("c"), &ExecSpec::default(), io).await {
            Err(ExecError::Output(error)) => assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn sizes_are_passed_on() {
        let (engine, _read, print, sizes) = command(4);
        let (size, now) = watch::channel((80, 24));
        let (io, _stdout, _stderr) = io(tokio::io::empty());
        let io = ExecIo { size: Some(now), ..io };
        let resizing = tokio::spawn(async move {
            size.send((100, 30)).unwrap();
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            drop(print);
        });
        assert_eq!(exec(&engine, &Target::named("c"), &ExecSpec::default(), io).await.unwrap(), 7);
        resizing.await.unwrap();
        assert_eq!(*sizes.lock().unwrap(), [(100, 30)]);
    }
}
