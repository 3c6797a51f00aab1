//! Help, and what is said about a command line that can't be understood.

use super::Session;
use super::args::Args;
use crate::diag::did_you_mean;
use crate::exit::Exit;
use clap::CommandFactory;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Commands of Docker Compose that are not there yet.
const LATER: [&str; 20] = [
    "alpha", "attach", "bridge", "build", "commit", "convert", "cp", "events", "export", "images", "port", "publish", "push", "run", "scale",
    "stats", "top", "volumes", "wait", "watch",
];

/// Prints help that was asked for.
pub(crate) fn help(session: &Session, text: &StyledStr) -> Exit {
    let text = if session.stdout.is_terminal() { text.ansi().to_string() } else { text.to_string() };
    // What nobody reads is no fault.
    let _ = session.stdout.write_now(text.as_bytes());
    Exit::Success
}

/// Help that was asked for goes to standard output; what is wrong with the arguments goes to standard error, with exit
/// code 1 as every other fault.
pub(crate) fn bad(session: &Session, error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        return help(session, &error.render());
    }
    let styled = error.render();
    let mut text = if session.stderr.is_terminal() { styled.ansi().to_string() } else { styled.to_string() };
    if let Some(option) = misplaced(error) {
        text.push_str(&format!("\n{option} goes before the command: consort {option} … COMMAND\n"));
    }
    let _ = session.stderr.write_now(text.as_bytes());
    Exit::Failure
}

/// An option that is known, but only before the command.
fn misplaced(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return None };
    let given = given.split('=').next()?;
    let command = Args::command();
    let is_it = |arg: &clap::Arg| {
        arg.get_long().is_some_and(|long| given.strip_prefix("--") == Some(long)) || arg.get_short().is_some_and(|short| given == format!("-{short}"))
    };
    (error.kind() == ErrorKind::UnknownArgument && command.get_arguments().any(is_it)).then(|| given.to_owned())
}

/// A command that isn't one, or isn't one yet.
pub(crate) fn unknown(session: &Session, words: &[String]) -> Exit {
    let word = words.first().map_or("", String::as_str);
    let text = if LATER.contains(&word) {
        format!("error: `{word}` is not available yet\n  help: Docker Compose's `docker compose {word}` works on the same project\n")
    } else {
        let command = Args::command();
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).chain(LATER).collect();
        let meant = did_you_mean(word, names).map(|m| format!("did you mean `{m}`? ")).unwrap_or_default();
        format!("error: unknown command {word:?}\n  help: {meant}`consort --help` lists the commands\n")
    };
    let _ = session.stderr.write_now(text.as_bytes());
    Exit::Failure
}
