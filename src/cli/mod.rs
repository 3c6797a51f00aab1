//! The command line: arguments and environment in, one call per command.
//!
//! [`run`] runs a whole command in process. Everything from outside is in [`Session`], so a test can run any command
//! with captured output, on an engine of its own and under paused time.

mod app;
mod args;
mod args_stores;
mod change;
mod check;
mod config;
mod digests;
mod down;
mod exec;
mod fault;
mod hints;
#[cfg(all(feature = "embedded", target_os = "linux"))]
mod image;
mod logs;
mod ls;
mod port_owner;
mod prompt;
mod ps;
mod pull;
mod schema;
mod session;
mod settings;
mod states;
#[cfg(all(feature = "embedded", target_os = "linux"))]
mod stores;
#[cfg(all(feature = "embedded", target_os = "linux"))]
mod system;
mod up;
mod usage;
mod version;
#[cfg(all(feature = "embedded", target_os = "linux"))]
mod volume;

pub use session::{Input, Session, Signal, Wires};

use crate::exit::Exit;
use crate::ui::diagnostics::{Drawer, Form};
use crate::ui::{Output, Paint};
use app::App;
use args::{Args, Command};
use clap::{CommandFactory, Parser};
use fault::Fault;
use futures::FutureExt;
use std::pin::Pin;
use std::time::Duration;

/// A command that has been read.
pub enum Started {
    /// It needed no runtime, and is done.
    Done(Exit),
    /// It goes on in a runtime.
    Running(Pin<Box<dyn Future<Output = Exit>>>),
}

/// Reads the command line and does at once what needs no engine: help, version, `config`, `check`, a bad flag.
pub fn start(session: Session) -> Started {
    let args = match Args::try_parse_from(&session.args) {
        Err(error) => return Started::Done(usage::bad(&session, &error)),
        Ok(args) if args.globals.version => return Started::Done(version::run(&session, &args::Version::default())),
        Ok(Args { command: Some(Command::Schema(schema)), .. }) => return Started::Done(schema::run(&session, &schema)),
        Ok(Args { command: Some(Command::Version(version)), .. }) => return Started::Done(version::run(&session, &version)),
        Ok(Args { command: Some(Command::Other(words)), .. }) => return Started::Done(usage::unknown(&session, &words)),
        Ok(Args { command: None, .. }) => {
            let help = Args::command().render_help();
            return Started::Done(usage::help(&session, &help));
        }
        Ok(args) => args,
    };
    let alone = matches!(args.command, Some(Command::Config(_) | Command::Check(_))) && !app::reads_stdin(&args.globals, &session.environment);
    let mut command: Pin<Box<dyn Future<Output = Exit>>> = Box::pin(finish(session, args));
    // One poll is all it takes, unless it must wait for something after all: see [`app::runtime`].
    if alone && let Some(exit) = command.as_mut().now_or_never() {
        return Started::Done(exit);
    }
    Started::Running(command)
}

/// Runs a command from beginning to end.
pub async fn run(session: Session) -> Exit {
    match start(session) {
        Started::Done(exit) => exit,
        Started::Running(command) => command.await,
    }
}

/// Runs a command to its end.
async fn finish(session: Session, args: Args) -> Exit {
    let (mut app, signals) = match App::new(session, &args) {
        Ok(parts) => parts,
        Err((stderr, fault)) => return early(&stderr, fault),
    };
    let signals = app.signals(signals);
    let command = async {
        match dispatch(&mut app, &args).await {
            Ok(exit) => exit,
            Err(fault) => app.tell(fault).await,
        }
    };
    tokio::pin!(command);
    tokio::select! {
        biased;
        exit = &mut command => exit,
        // The third Ctrl-C leaves, at the latest a moment after the command was told.
        () = signals => tokio::time::timeout(Duration::from_millis(200), command).await.unwrap_or(Exit::Interrupted),
    }
}

async fn dispatch(app: &mut App, args: &Args) -> Result<Exit, Fault> {
    if args.globals.verbose && !matches!(args.command, Some(Command::Ls(_))) {
        app.console.note("warning: --verbose says nothing more yet\n").await;
    }
    match &args.command {
        Some(Command::Up(args)) => up::run(app, args).await,
        Some(Command::Create(args)) => up::create(app, args).await,
        Some(Command::Down(args)) => down::run(app, args).await,
        Some(Command::Ps(args)) => ps::run(app, args).await,
        Some(Command::Logs(args)) => logs::run(app, args).await,
        Some(Command::Exec(args)) => exec::run(app, args).await,
        Some(Command::Start(args)) => states::start(app, args).await,
        Some(Command::Stop(args)) => states::stop(app, args).await,
        Some(Command::Restart(args)) => states::restart(app, args).await,
        Some(Command::Kill(args)) => states::kill(app, args).await,
        Some(Command::Rm(args)) => states::rm(app, args).await,
        Some(Command::Pause(args)) => states::pause(app, args).await,
        Some(Command::Unpause(args)) => states::unpause(app, args).await,
        Some(Command::Pull(args)) => pull::run(app, args).await,
        Some(Command::Ls(args)) => ls::run(app, args).await,
        #[cfg(all(feature = "embedded", target_os = "linux"))]
        Some(Command::Image(args)) => image::run(app, args).await,
        #[cfg(all(feature = "embedded", target_os = "linux"))]
        Some(Command::Volume(args)) => volume::run(app, args).await,
        #[cfg(all(feature = "embedded", target_os = "linux"))]
        Some(Command::System(args)) => system::run(app, args).await,
        #[cfg(not(all(feature = "embedded", target_os = "linux")))]
        Some(Command::Image(_) | Command::Volume(_) | Command::System(_)) => Err(fault::usage("this consort has no embedded engine").into()),
        Some(Command::Config(args)) => config::run(app, args).await,
        Some(Command::Check(args)) => check::run(app, args).await,
        // Done before.
        Some(Command::Schema(_) | Command::Version(_) | Command::Other(_)) | None => Ok(Exit::Success),
    }
}

/// Tells what is wrong before there is a console.
fn early(stderr: &Output, fault: Fault) -> Exit {
    if let Fault::Findings(findings) = fault {
        let sources = crate::diag::SourceMap::new();
        let drawer = Drawer { sources: &sources, form: Form::Full, paint: Paint(stderr.is_terminal()), width: 100 };
        // Nobody can be told that nobody listens.
        let _ = stderr.write_now(drawer.all(&findings).as_bytes());
    }
    Exit::Failure
}
