//! `exec`.

use super::app::App;
use super::args;
use super::change::containers;
use super::fault::{Fault, usage};
use crate::diag::did_you_mean;
use crate::exit::Exit;
use crate::run::{self, ExecError, ExecIo};
use crate::ui::RawMode;
use crate::world::{Container, ErrorKind, ExecSpec, Observed, State, Target};
use std::io;
use tokio::sync::watch;

/// `exec`.
pub(crate) async fn run(app: &mut App, args: &args::Exec) -> Result<Exit, Fault> {
    let name = app.name().await?;
    let engine = app.connect().await?;
    let observed = app.observe(&engine, &containers(&name)).await?;
    let container = choose(&observed, &args.service, args.index)?;
    let terminal = match (args.no_tty, args.tty) {
        (true, _) | (_, Some(false)) => false,
        (_, Some(true)) => true,
        (_, None) => app.terminals.stdin && app.terminals.stdout,
    };
    let size = *app.size.borrow();
    let spec = ExecSpec {
        command: args.command.clone(),
        environment: environment(app, &args.env),
        user: args.user.clone().unwrap_or_default(),
        working_dir: args.workdir.clone().unwrap_or_default(),
        privileged: args.privileged,
        tty: terminal.then_some((size.columns, size.rows)),
        stdin: !args.detach && args.interactive != Some(false),
        detach: args.detach,
    };
    if app.globals.dry_run {
        return app.print(&format!("would run {:?} in {}\n", args.command.join(" "), container.name)).await;
    }
    let target = Target::existing(&container.name, &container.id);
    // A terminal that isn't ours can't be changed; what is typed then arrives line by line.
    let raw = (terminal && !args.detach && app.terminals.stdin).then(RawMode::enter).and_then(Result::ok);
    let stdin = if spec.stdin { app.prompt.take_input() } else { None };
    let io = ExecIo {
        stdin: stdin.map(|input| Box::new(input) as _),
        stdout: Some(Box::new(app.stdout.writer())),
        stderr: Some(Box::new(app.stderr.writer())),
        size: terminal.then(|| sizes(app)),
    };
    let ended = app.unless_interrupted(run::exec(&*engine, &target, &spec, io)).await;
    drop(raw);
    match ended? {
        Ok(code) => Ok(Exit::Process(u8::try_from(code & 0xff).unwrap_or(1))),
        Err(ExecError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Process(141)),
        Err(ExecError::Output(error)) => Err(usage(format!("output can't be written: {error}")).into()),
        Err(ExecError::Engine(error)) => {
            // What a shell would say of a command that isn't there or can't be run.
            let code = match error.to_string() {
                text if text.contains("executable file not found") || text.contains("no such file or directory") => 127,
                text if text.contains("permission denied") && error.kind != ErrorKind::Unreachable => 126,
                _ => return Err(error.into()),
            };
            app.tell(error.into()).await;
            Ok(Exit::Process(code))
        }
    }
}

/// The container: the one with the lowest number that runs, or the one that was asked for.
fn choose<'o>(observed: &'o Observed, service: &str, index: Option<u32>) -> Result<&'o Container, Fault> {
    let of_service: Vec<&Container> = observed.containers.iter().filter(|c| c.service() == service && !c.is_oneoff()).collect();
    let wanted = |c: &&&Container| index.is_none_or(|n| n == 0 || c.number() == Some(n));
    let mut running: Vec<&Container> = of_service.iter().filter(|c| c.state == State::Running).filter(wanted).copied().collect();
    running.sort_by_key(|c| c.number().unwrap_or(u32::MAX));
    if let Some(container) = running.first() {
        return Ok(container);
    }
    let number = index.filter(|n| *n > 0).map(|n| format!(" container #{n}")).unwrap_or_default();
    let finding = usage(format!("service {service:?} is not running{number}"));
    let found = of_service.iter().find(|c| wanted(c));
    Err(match found {
        Some(container) if container.state == State::Paused => finding.help(format!("{} is paused: `consort unpause {service}`", container.name)),
        Some(container) => finding.help(format!(
            "{} is {}: `consort up -d {service}` starts it, `consort logs {service}` says why",
            container.name,
            container.state.as_str()
        )),
        None => match did_you_mean(service, observed.containers.iter().map(Container::service)) {
            Some(meant) if meant != service => finding.help(format!("did you mean `{meant}`?")),
            _ if number.is_empty() => finding.help(format!("`consort up -d {service}` starts it")),
            _ => finding,
        },
    }
    .into())
}

/// `K=V` as it is, `K` with our value; a variable that we don't have is left out.
fn environment(app: &App, given: &[String]) -> Vec<String> {
    let own = |item: &String| app.environment.get(item).map(|value| format!("{item}={value}"));
    given.iter().filter_map(|item| if item.contains('=') { Some(item.clone()) } else { own(item) }).collect()
}

/// Sizes of the terminal from now on.
fn sizes(app: &App) -> watch::Receiver<(u16, u16)> {
    let mut size = app.size.clone();
    let now = *size.borrow_and_update();
    let (sender, receiver) = watch::channel((now.columns, now.rows));
    tokio::spawn(async move {
        while size.changed().await.is_ok() {
            let now = *size.borrow_and_update();
            if sender.send((now.columns, now.rows)).is_err() {
                return;
            }
        }
        // The size stays what it is; dropping the sender would say that it is unknown.
        sender.closed().await;
    });
    receiver
}
