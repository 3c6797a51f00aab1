//! The `consort` command: gathers what comes from outside, calls the library and ends with its exit code.

use consort::cli::{self, Input, Session, Signal, Started};
use consort::ui::{Output, Size};
use consort::units::Timestamp;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// How long a thread that has nothing to do waits for more.
const KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

fn main() -> ExitCode {
    // Before anything starts a thread: a part of the embedded engine lives in this program too.
    #[cfg(all(feature = "embedded", target_os = "linux"))]
    if let Some(code) = consort::engine::embedded::enter(&std::env::args_os().collect::<Vec<_>>()) {
        return code;
    }
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        consort::ui::restore();
        report(panic);
    }));
    let (signals, receiver) = mpsc::channel(8);
    let (size, size_now) = watch::channel(terminal_size());
    let session = match session(receiver, size_now) {
        Ok(session) => session,
        Err(error) => {
            let _ = Output::blocking(std::io::stderr(), false).write_now(format!("error: {error}\n").as_bytes());
            return ExitCode::FAILURE;
        }
    };
    let exit = match cli::start(session) {
        Started::Done(exit) => exit,
        Started::Running(command) => {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = Output::blocking(std::io::stderr(), false).write_now(format!("error: can't start: {error}\n").as_bytes());
                    return ExitCode::FAILURE;
                }
            };
            let exit = runtime.block_on(async {
                listen(signals, size);
                command.await
            });
            // A thread may still be reading standard input; nobody waits for it.
            runtime.shutdown_background();
            exit
        }
    };
    ExitCode::from(exit.code())
}

/// The runtime, with a thread of its own for what waits for disks: it takes it for granted that there can be one. That
/// one stays, so that what others were to do waits for it when there can be no more.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let first = std::thread::Builder::new().spawn(|| {}).map_err(|e| {
        let what = "no thread can be had, the limit of processes is reached (`pids.max` of a control group, `ulimit -u`)";
        std::io::Error::new(e.kind(), format!("{what}: {e}"))
    })?;
    let _ = first.join();
    // It counts until the kernel has buried it; the folder of threads has two links, and one for each.
    for _ in 0..10_000 {
        use std::os::unix::fs::MetadataExt as _;
        if std::fs::metadata("/proc/self/task").is_ok_and(|threads| threads.nlink() <= 3) {
            break;
        }
        std::thread::yield_now();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_keep_alive(KEPT).build()?;
    drop(runtime.spawn_blocking(|| ()));
    Ok(runtime)
}

/// The real session.
#[expect(clippy::disallowed_methods, reason = "the one place where environment and working directory enter")]
fn session(signals: mpsc::Receiver<Signal>, size: watch::Receiver<Size>) -> Result<Session, String> {
    Ok(Session {
        args: std::env::args_os().collect(),
        // A variable that is no text can't be interpolated or passed on; it stays out.
        environment: std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect(),
        cwd: std::env::current_dir().map_err(|e| format!("the working directory can't be used: {e}"))?,
        stdin: Input { reader: Box::new(tokio::io::stdin()), terminal: std::io::stdin().is_terminal() },
        stdout: Output::blocking(std::io::stdout(), std::io::stdout().is_terminal()),
        stderr: Output::blocking(std::io::stderr(), std::io::stderr().is_terminal()),
        signals,
        size,
        clock: now,
        engine: None,
    })
}

/// Passes signals on from now on. Without this, each of them ends the process, which is right for commands that need no
/// engine.
fn listen(signals: mpsc::Sender<Signal>, size: watch::Sender<Size>) {
    let kinds = [(SignalKind::interrupt(), Signal::Interrupt), (SignalKind::terminate(), Signal::Terminate), (SignalKind::hangup(), Signal::Hangup)];
    for (kind, means) in kinds {
        if let Ok(mut stream) = signal(kind) {
            let signals = signals.clone();
            tokio::spawn(async move { while stream.recv().await.is_some() && signals.send(means).await.is_ok() {} });
        }
    }
    if let Ok(mut stream) = signal(SignalKind::window_change()) {
        tokio::spawn(async move { while stream.recv().await.is_some() && size.send(terminal_size()).is_ok() {} });
    }
    // Without a terminal there is nothing to tidy up: then Ctrl-Z does what it always does.
    if std::io::stderr().is_terminal() || std::io::stdin().is_terminal() {
        step_aside();
    }
}

/// Ctrl-Z: the terminal is given back before the process stops, and taken again when it goes on.
fn step_aside() {
    use rustix::process::{Signal as Number, getpid, kill_process};
    let (Ok(mut stop), Ok(mut go_on)) = (signal(SignalKind::from_raw(Number::TSTP.as_raw())), signal(SignalKind::from_raw(Number::CONT.as_raw())))
    else {
        return;
    };
    tokio::spawn(async move {
        while stop.recv().await.is_some() {
            consort::ui::suspend();
            // It stops here, until somebody lets it go on.
            let _ = kill_process(getpid(), Number::STOP);
        }
    });
    tokio::spawn(async move {
        while go_on.recv().await.is_some() {
            consort::ui::resume();
        }
    });
}

/// Size of the terminal; that of a small one where there is none.
fn terminal_size() -> Size {
    let ask = |size: rustix::io::Result<rustix::termios::Winsize>| size.ok().filter(|s| s.ws_col > 0 && s.ws_row > 0);
    ask(rustix::termios::tcgetwinsize(std::io::stderr()))
        .or_else(|| ask(rustix::termios::tcgetwinsize(std::io::stdout())))
        .or_else(|| ask(rustix::termios::tcgetwinsize(std::io::stdin())))
        .map_or_else(Size::default, |s| Size { columns: s.ws_col, rows: s.ws_row })
}

/// The time of day.
fn now() -> Timestamp {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or_else(|_| Timestamp::default(), |d| Timestamp::from_parts(d.as_secs() as i64, d.subsec_nanos().into()))
}
