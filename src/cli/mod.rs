//! The command line: arguments and environment in, one call per command.
//!
//! [`run`] runs a whole command in process. Everything from outside is in [`Session`], so a test can run any command
//! with captured output, on an engine of its own and under paused time.

mod args;
mod session;
mod settings;
mod version;

pub use session::{Input, Session, Signal, Wires};

use crate::exit::Exit;
use args::{Args, Command};
use clap::{CommandFactory, Parser};

/// A command that has been read, before anything is done.
#[derive(Debug)]
pub enum Started {
    /// It needed no engine, and is done.
    Done(Exit),
    /// It goes on in a runtime.
    Engine(Box<Running>),
}

/// A command that needs a runtime.
#[derive(Debug)]
pub struct Running {
    session: Session,
    args: Args,
}

/// Reads the command line and does at once what needs no engine: help, version, a bad flag.
pub fn start(session: Session) -> Started {
    match Args::try_parse_from(&session.args) {
        Err(error) => Started::Done(bad_usage(&session, &error)),
        Ok(args) if args.globals.version => Started::Done(version::run(&session, &args::Version { format: "pretty".into(), short: false })),
        Ok(Args { command: Some(Command::Version(version)), .. }) => Started::Done(version::run(&session, &version)),
        Ok(Args { command: None, .. }) => {
            let help = Args::command().render_help();
            let text = if session.stdout.is_terminal() { help.ansi().to_string() } else { help.to_string() };
            Started::Done(print(&session, &text, Exit::Success))
        }
        Ok(args) => Started::Engine(Box::new(Running { session, args })),
    }
}

/// Runs a command from beginning to end.
pub async fn run(session: Session) -> Exit {
    match start(session) {
        Started::Done(exit) => exit,
        Started::Engine(running) => running.finish().await,
    }
}

impl Running {
    /// Runs the command to its end.
    pub async fn finish(self) -> Exit {
        let name = match &self.args.command {
            Some(Command::Other(words)) => words.first().cloned().unwrap_or_default(),
            command => format!("{command:?}").split(['(', ' ']).nth(1).unwrap_or_default().to_lowercase(),
        };
        let _ = self.session.stderr.write_now(format!("error: `{name}` is not available yet\n").as_bytes());
        Exit::Failure
    }
}

/// Help that was asked for goes to standard output; what is wrong with the arguments goes to standard error.
fn bad_usage(session: &Session, error: &clap::Error) -> Exit {
    let (output, exit) = if error.use_stderr() { (&session.stderr, Exit::Failure) } else { (&session.stdout, Exit::Success) };
    let text = error.render();
    let text = if output.is_terminal() { text.ansi().to_string() } else { text.to_string() };
    // Nobody can be told that nobody listens.
    let _ = output.write_now(text.as_bytes());
    exit
}

/// Prints `text` on standard output.
fn print(session: &Session, text: &str, exit: Exit) -> Exit {
    let _ = session.stdout.write_now(text.as_bytes());
    exit
}
