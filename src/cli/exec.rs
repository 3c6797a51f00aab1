//! `exec`.

use super::app::{App, Known};
use super::args;
use super::change::containers;
use super::fault::{Fault, usage};
use crate::exit::Exit;
use crate::run::{self, ExecError, ExecIo};
use crate::ui::RawMode;
use crate::world::{Container, ErrorKind, ExecSpec, Observed, State, Target};
use std::io;
use tokio::sync::watch;

/// `exec`.
pub(crate) async fn run(app: &mut App, args: &args::Exec) -> Result<Exit, Fault> {
    let known = app.load_or_name(&[]).await?;
    let engine = app.connect().await?;
    let observed = app.observe(&engine, &containers(&known.name)).await?;
    let container = choose(&known, &observed, &args.service, args.index)?;
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
                text if text.contains("is not running") => {
                    // It ended after it was looked at. Then what it is now says more.
                    let observed = app.observe(&engine, &containers(&known.name)).await?;
                    choose(&known, &observed, &args.service, args.index)?;
                    return Err(error.into());
                }
                _ => return Err(error.into()),
            };
            app.tell(error.into()).await;
            Ok(Exit::Process(code))
        }
    }
}

/// The container: the one with the lowest number that runs, or the one that was asked for.
fn choose<'o>(known: &Known, observed: &'o Observed, service: &str, index: Option<u32>) -> Result<&'o Container, Fault> {
    let of_service: Vec<&Container> = observed.containers.iter().filter(|c| c.service() == service && !c.is_oneoff()).collect();
    let index = index.filter(|n| *n > 0);
    let wanted = |c: &&&Container| index.is_none_or(|n| c.number() == Some(n));
    let mut running: Vec<&Container> = of_service.iter().filter(|c| c.state == State::Running).filter(wanted).copied().collect();
    running.sort_by_key(|c| c.number().unwrap_or(u32::MAX));
    if let Some(container) = running.first() {
        return Ok(container);
    }
    known.require(&[service.to_owned()], observed)?;
    let starts = format!("`consort up -d {service}` starts it");
    let not_running = |why: String| usage(format!("service {service:?} is not running{why}"));
    Err(match (of_service.iter().find(wanted), index) {
        (Some(container), _) => {
            let name = &container.name;
            let code = container.exit_code.map(|code| format!(" with code {code}")).unwrap_or_default();
            match container.state {
                State::Paused => not_running(format!(": {name} is paused")).help(format!("`consort unpause {service}` lets it go on")),
                State::Created => not_running(format!(": {name} was never started")).help(starts),
                State::Restarting => not_running(format!(": {name} ends again and again, and is waiting for its next start"))
                    .help(format!("`consort logs {service}` says why")),
                State::Exited | State::Dead => {
                    not_running(format!(": {name} has ended{code}")).help(format!("{starts}, `consort logs {service}` says why it ended"))
                }
                State::Running | State::Removing => not_running(format!(": {name} is {}", container.state.as_str())).help(starts),
            }
        }
        (None, Some(number)) if !of_service.is_empty() => {
            let mut numbers: Vec<u32> = of_service.iter().filter_map(|c| c.number()).collect();
            numbers.sort_unstable();
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            usage(format!("service {service:?} has no container #{number}")).help(format!("--index can be {}", numbers.join(", ")))
        }
        (None, _) => match known.project().and_then(|p| p.disabled.get(service)).and_then(|s| s.profiles.first()) {
            Some(profile) => not_running(format!(": it is left out as long as profile {profile} is not active")).help(starts),
            None => not_running(": it has no container".to_owned()).help(starts),
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
