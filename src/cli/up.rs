//! `up` and `create`.

use super::app::{App, Unread, places};
use super::args;
use super::change::{after, change, show_plan};
use super::fault::{Fault, usage};
use super::prompt::{Answer, Prompt};
use crate::diag::Diagnostic;
use crate::exit::Exit;
use crate::graph;
use crate::load::Loaded;
use crate::model::Selection;
use crate::plan::{self, HazardKind, KillOptions, Plan, PullPolicy, Recreate, StopOptions, UpOptions};
use crate::run::{self, Attach, EndRule, Options, UpRequest};
use crate::ui::ProgressMode;
use crate::ui::human::{counted, listed};
use crate::world::{Capabilities, Observed};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// `up`.
pub(crate) async fn run(app: &mut App, args: &args::Up) -> Result<Exit, Fault> {
    if args.watch {
        return Err(usage("--watch is not available yet").into());
    }
    let mut loaded = app.load(&args.services).await?;
    begin(app, &loaded, args.build).await?;
    choose_runtime(app, &mut loaded);
    if args.wait_timeout.is_some() && !args.wait {
        let finding = Diagnostic::warning("usage", "--wait-timeout does nothing without --wait").help("add --wait");
        app.console.findings(&[finding]).await;
    }
    let options = UpOptions {
        selection: Selection { services: args.services.clone(), no_deps: args.no_deps },
        scale: scale(&loaded, &args.scale)?,
        recreate: recreate(args.force_recreate, args.no_recreate),
        always_recreate_deps: args.always_recreate_deps,
        renew_anonymous_volumes: args.renew_anon_volumes,
        no_start: args.no_start,
        remove_orphans: args.remove_orphans.unwrap_or(app.settings.remove_orphans),
        ignore_orphans: app.settings.ignore_orphans,
        timeout: args.timeout,
        pull: pull_policy(args.pull.as_deref())?,
        wait: args.wait,
        accept_all: args.yes,
        now: app.now,
        ..UpOptions::default()
    };
    if options.remove_orphans && options.ignore_orphans {
        return Err(usage("COMPOSE_IGNORE_ORPHANS and --remove-orphans can't be had together").into());
    }
    let attach = attach(&loaded, args)?;
    let engine = app.connect().await?;
    app.tell_choice().await;
    let capabilities = engine.capabilities();
    let query = plan::observe_query(&loaded.project, &options.selection);
    let name = loaded.project.name.clone();
    let places = places(&loaded);
    if app.globals.dry_run {
        let observed = app.observe(&engine, &query).await?;
        let preview = UpOptions { preview: true, ..options };
        let plan = plan::plan_up(&loaded.project, &observed, &capabilities, &preview, &places)?;
        return show_plan(app, &plan).await;
    }
    let detached = attach.is_none();
    let request = UpRequest { query, attach, wait_timeout: args.wait_timeout.filter(|s| *s > 0).map(Duration::from_secs) };
    let style = app.log_style(args.no_log_prefix, args.timestamps, args.no_color, true);
    if args.quiet_pull && app.settings.look.progress == ProgressMode::Tty {
        app.console.look().progress = ProgressMode::Plain;
    }
    let began = tokio::time::Instant::now();
    let mut unchanged = 0;
    let mut trusted = false;
    let ended = app
        .show("up", style, &engine, &name, Unread::Interrupt, async |context, interrupts, prompt: &mut Prompt| {
            let mut options = options.clone();
            let plan = async |observed: &Observed, fetched: bool| {
                options.pulled = fetched;
                trust(&loaded, &options, &mut trusted, prompt).await?;
                let plan = plan_up(&loaded, observed, &capabilities, &mut options, &places, prompt).await?;
                unchanged = plan.unchanged.len();
                Ok(plan)
            };
            let stop = |observed: &Observed| {
                let options = StopOptions { timeout: args.timeout, ..StopOptions::default() };
                plan::plan_stop(Some(&loaded.project), &loaded.project.name, observed, &options).unwrap_or_default()
            };
            let kill = |observed: &Observed| {
                plan::plan_kill(Some(&loaded.project), &loaded.project.name, observed, &KillOptions::default()).unwrap_or_default()
            };
            run::up(&context, &request, plan, stop, kill, &interrupts).await
        })
        .await??;
    after(app, &engine, &ended.report).await;
    if detached && ended.exit == Exit::Success && app.settings.look.progress == ProgressMode::Tty {
        summary(app, &loaded, &ended.report, unchanged, began.elapsed()).await;
    }
    Ok(ended.exit)
}

/// `create`.
pub(crate) async fn create(app: &mut App, args: &args::Create) -> Result<Exit, Fault> {
    let mut loaded = app.load(&args.services).await?;
    begin(app, &loaded, args.build).await?;
    choose_runtime(app, &mut loaded);
    let mut options = UpOptions {
        selection: Selection { services: args.services.clone(), no_deps: false },
        scale: scale(&loaded, &args.scale)?,
        recreate: recreate(args.force_recreate, args.no_recreate),
        no_start: true,
        remove_orphans: args.remove_orphans.unwrap_or(app.settings.remove_orphans),
        ignore_orphans: app.settings.ignore_orphans,
        pull: pull_policy(args.pull.as_deref())?,
        accept_all: args.yes,
        preview: app.globals.dry_run,
        now: app.now,
        ..UpOptions::default()
    };
    let capabilities = app.connect().await?.capabilities();
    let query = plan::observe_query(&loaded.project, &options.selection);
    let places = places(&loaded);
    let mut trusted = false;
    change(app, "create", &loaded.project.name, &query, &Options::default(), async |observed, fetched, prompt: &mut Prompt| {
        options.pulled = fetched;
        trust(&loaded, &options, &mut trusted, prompt).await?;
        plan_up(&loaded, observed, &capabilities, &mut options, &places, prompt).await
    })
    .await
}

/// What is checked before anything is asked of the engine.
async fn begin(app: &mut App, loaded: &Loaded, build: bool) -> Result<(), Fault> {
    if build {
        return Err(usage("--build is not available yet").into());
    }
    if loaded.project.services.is_empty() {
        let mut finding = usage("no service selected");
        if !loaded.project.disabled.is_empty() {
            let names: Vec<&str> = loaded.project.disabled.keys().map(String::as_str).collect();
            finding = finding.help(format!("name one on the command line or enable its profile with --profile: {}", listed(&names)));
        }
        return Err(finding.into());
    }
    if loaded.unhonoured.iter().any(Diagnostic::is_error) {
        return Err(loaded.unhonoured.clone().into());
    }
    if !loaded.unhonoured.is_empty() {
        app.console.findings(&loaded.unhonoured).await;
    }
    Ok(())
}

/// `--runtime`: as if every service that names no runtime named this one, so that another one recreates it. A path counts
/// from the working directory.
fn choose_runtime(app: &App, loaded: &mut Loaded) {
    let Some(runtime) = &app.settings.runtime else { return };
    let runtime = if runtime.contains('/') { app.cwd.join(runtime).to_string_lossy().into_owned() } else { runtime.clone() };
    for service in loaded.project.services.values_mut().filter(|s| s.runtime.is_empty()) {
        service.runtime.clone_from(&runtime);
    }
}

/// Asks once whether files from elsewhere may be acted on: they decide what is run and what of this machine it sees.
async fn trust(loaded: &Loaded, options: &UpOptions, trusted: &mut bool, prompt: &mut Prompt) -> Result<(), Vec<Diagnostic>> {
    if *trusted || loaded.fetched.is_empty() || options.preview || options.accept_all {
        return Ok(());
    }
    let mut question = "These files of the project come from elsewhere:\n".to_owned();
    for (name, copy) in &loaded.fetched {
        question += &format!("  {name}, kept as {}\n", copy.display());
    }
    if !loaded.variables.is_empty() {
        question += "The project gets these variables:\n";
    }
    for (name, variable) in &loaded.variables {
        question += &match (loaded.project.environment.get(name), &variable.default) {
            (Some(value), _) => format!("  {name}={value}\n"),
            (None, Some(default)) => format!("  {name}, not set: {default:?} by default\n"),
            (None, None) => format!("  {name}, not set\n"),
        };
    }
    match prompt.ask(&format!("{question}Start it?")).await {
        Answer::Yes => {
            *trusted = true;
            Ok(())
        }
        Answer::No => Err(vec![Diagnostic::error("untrusted", "nothing was done: files from elsewhere were not accepted")]),
        Answer::Nobody => {
            let message = "nobody answered whether files from elsewhere may be acted on; nothing was done";
            Err(vec![Diagnostic::error("unanswered", message).help("look at them with `config`, then say `-y`")])
        }
    }
}

/// Plans; what is risky is asked about, and planned again with the answers.
async fn plan_up(
    loaded: &Loaded,
    observed: &Observed,
    capabilities: &Capabilities,
    options: &mut UpOptions,
    places: crate::diag::Places<'_>,
    prompt: &mut Prompt,
) -> Result<Plan, Vec<Diagnostic>> {
    let plan = |options: &UpOptions| plan::plan_up(&loaded.project, observed, capabilities, options, places);
    let mut first = plan(options)?;
    let mut accepted = false;
    let mut unanswered = Vec::new();
    for hazard in &first.hazards {
        if options.preview || options.accept_all || options.accepted.contains(&hazard.kind) {
            continue;
        }
        match prompt.ask(&hazard.question).await {
            Answer::Yes => {
                options.accepted.insert(hazard.kind.clone());
                accepted = true;
            }
            Answer::No => {}
            Answer::Nobody => {
                let HazardKind::RecreateVolume(name) = &hazard.kind;
                let message = format!("nobody answered, so volume {name:?} stays: {}, not as the files have it", hazard.otherwise);
                unanswered.push(Diagnostic::warning("unanswered", message).help("`-y` recreates it, and what is stored in it is lost"));
            }
        }
    }
    if accepted {
        first = plan(options)?;
    }
    first.notes.extend(unanswered);
    Ok(first)
}

/// `--scale web=3`.
fn scale(loaded: &Loaded, given: &[String]) -> Result<BTreeMap<String, u32>, Fault> {
    let mut scale = BTreeMap::new();
    for item in given {
        let bad = || usage(format!("--scale {item:?} is not of the form SERVICE=NUMBER")).help("for example: --scale web=3");
        let (service, number) = item.split_once('=').ok_or_else(bad)?;
        let number = number.trim().parse().map_err(|_| bad())?;
        if loaded.project.service(service).is_none() {
            return Err(unknown(loaded, service).into());
        }
        scale.insert(service.to_owned(), number);
    }
    Ok(scale)
}

fn recreate(force: bool, never: bool) -> Recreate {
    match (force, never) {
        (true, _) => Recreate::Force,
        (_, true) => Recreate::Never,
        _ => Recreate::Diverged,
    }
}

/// `--pull`.
fn pull_policy(given: Option<&str>) -> Result<Option<PullPolicy>, Fault> {
    Ok(match given {
        None | Some("policy" | "") => None,
        Some("always") => Some(PullPolicy::Always),
        Some("missing" | "if_not_present") => Some(PullPolicy::Missing),
        Some("never") => Some(PullPolicy::Never),
        Some("build") => Some(PullPolicy::Build),
        Some(other) => {
            let finding = usage(format!("--pull {other:?} is not known")).help("it can be `always`, `missing`, `never`, `build` or `policy`");
            return Err(finding.into());
        }
    })
}

/// A name that is no service of this `up`.
fn unknown(loaded: &Loaded, name: &str) -> Diagnostic {
    graph::unknown_service(&loaded.project, name).unwrap_or_else(|| usage(format!("service {name:?} is not part of this `up`")))
}

/// Whose logs are shown and when it ends; `None` in the background.
fn attach(loaded: &Loaded, args: &args::Up) -> Result<Option<Attach>, Fault> {
    let project = &loaded.project;
    let all: BTreeSet<String> = project.services.keys().cloned().collect();
    for name in args.attach.iter().chain(&args.no_attach).chain(&args.exit_code_from) {
        if !all.contains(name) {
            return Err(unknown(loaded, name).into());
        }
    }
    if args.detach || args.wait || args.no_start {
        return Ok(None);
    }
    let named: BTreeSet<String> =
        if args.services.is_empty() || args.attach_dependencies { all.clone() } else { args.services.iter().cloned().collect() };
    let shown: BTreeSet<String> = if args.attach.is_empty() {
        let quiet = |name: &String| args.no_attach.contains(name) || project.service(name).is_some_and(|s| s.attach == Some(false));
        named.iter().filter(|name| !quiet(name)).cloned().collect()
    } else {
        args.attach.iter().cloned().collect()
    };
    let watched = match (args.services.is_empty(), shown.is_empty()) {
        (false, _) => args.services.iter().cloned().collect(),
        (true, false) => shown.clone(),
        (true, true) => all,
    };
    let code_from = args.exit_code_from.clone();
    let end = match (args.abort_on_container_exit, args.abort_on_container_failure, code_from) {
        (true, _, code_from) => EndRule::FirstExit { code_from },
        (_, true, code_from) => EndRule::FirstFailure { code_from },
        (_, _, Some(service)) => EndRule::ServiceEnded(service),
        (_, _, None) => EndRule::AllEnded,
    };
    Ok(Some(Attach { shown, watched, end }))
}

/// What was done, how long it took and where to look.
async fn summary(app: &mut App, loaded: &Loaded, report: &run::Report, unchanged: usize, took: Duration) {
    let mut parts = Vec::new();
    if !report.started.is_empty() {
        parts.push(format!("{} started", counted(report.started.len(), "container")));
    }
    if unchanged > 0 {
        parts.push(format!("{unchanged} unchanged"));
    }
    if parts.is_empty() {
        parts.push("nothing to do".to_owned());
    }
    let mut text = format!("{} in {:.1}s\n", parts.join(", "), took.as_secs_f64());
    for service in loaded.project.services.values() {
        for port in service.ports.iter().filter(|p| !p.published.is_empty()) {
            let host = if port.host_ip.is_empty() || port.host_ip == "0.0.0.0" { "localhost" } else { &port.host_ip };
            let protocol = if port.protocol == "tcp" || port.protocol.is_empty() { String::new() } else { format!("/{}", port.protocol) };
            text.push_str(&format!("  {} {}{protocol}\n", service.name, crate::ui::human::host_port(host, &port.published)));
        }
    }
    app.console.note(&text).await;
}
