//! `ls`.

use super::app::App;
use super::fault::{Fault, usage};
use super::{args, hints};
use crate::diag::{Diagnostic, Severity};
use crate::engine::registry::{self, Place};
use crate::exit::Exit;
use crate::ui::table::{Columns, json_line, table};
use crate::world::{Container, EngineError, ErrorKind, ObserveQuery, Observed, label};
use futures::future::join_all;
use regex::Regex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an engine that nobody asked for may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A project of one engine: its name, the engine's place among those that were asked, its containers.
type Entry<'a> = ((&'a str, usize), Vec<&'a Container>);

/// `ls`.
pub(crate) async fn run(app: &mut App, args: &args::Ls) -> Result<Exit, Fault> {
    let filters = filters(&args.filter)?;
    if !matches!(args.format.as_str(), "table" | "json" | "pretty" | "") {
        return Err(usage(format!("unknown format {:?}", args.format)).help("it can be `table` or `json`").into());
    }
    let answers = everywhere(app).await?;
    let mut projects: BTreeMap<(&str, usize), Vec<&Container>> = BTreeMap::new();
    for (engine, (_, observed)) in answers.iter().enumerate() {
        for container in observed.containers.iter().filter(|c| !c.project().is_empty() && !c.is_oneoff() && (args.all || c.is_alive())) {
            projects.entry((container.project(), engine)).or_default().push(container);
        }
    }
    projects.retain(|(name, _), _| filters.is_empty() || filters.iter().any(|f| f.is_match(name)));
    // Where everything is on the engine that other commands use, nothing needs to be said about it.
    let told = projects.keys().any(|(_, engine)| *engine > 0);
    let engine = |n: usize| answers.get(n).map_or("", |(name, _)| name.as_str()).to_owned();
    let projects: Vec<Entry> = projects.into_iter().collect();
    let text = if args.quiet {
        let mut names: Vec<&str> = projects.iter().map(|((name, _), _)| *name).collect();
        names.dedup();
        names.iter().map(|name| format!("{name}\n")).collect()
    } else if args.format == "json" {
        let entry = |((name, n), containers): &Entry| {
            let mut entry = json!({ "Name": name, "Status": status(containers), "ConfigFiles": files(containers) });
            if let (true, Value::Object(fields)) = (told, &mut entry) {
                fields.insert("Engine".to_owned(), engine(*n).into());
            }
            entry
        };
        format!("{}\n", json_line(&Value::Array(projects.iter().map(entry).collect())))
    } else {
        let mut rows = vec![["NAME", "STATUS", "CONFIG FILES"].map(str::to_owned).to_vec()];
        rows.extend(projects.iter().map(|((name, _), containers)| vec![(*name).to_owned(), status(containers), files(containers)]));
        if told {
            let engines = std::iter::once("ENGINE".to_owned()).chain(projects.iter().map(|((_, n), _)| engine(*n)));
            rows.iter_mut().zip(engines).for_each(|(row, engine)| row.push(engine));
        }
        table(&rows, Columns::THINGS)
    };
    app.print(&text).await
}

/// What runs on which engine: all engines that can be found are asked at once, unless the command line names one. The
/// first is the one that other commands use.
async fn everywhere(app: &mut App) -> Result<Vec<(String, Observed)>, Fault> {
    let query = ObserveQuery { containers_only: true, ..ObserveQuery::default() };
    let request = app.settings.engine.clone();
    let one = request.host.is_some() || request.context.is_some() || !matches!(request.engine.as_str(), "" | "auto");
    let places = if one || app.has_engine() { Vec::new() } else { registry::places(&request)? };
    if places.len() < 2 {
        let engine = app.connect().await?;
        return Ok(vec![(String::new(), app.observe(&engine, &query).await?)]);
    }
    let ask = async |place: &Place| {
        let answer = async { place.connect(&request).await?.observe(&query).await };
        if place.asked_for {
            return answer.await;
        }
        let late = |_| Err(EngineError::new(ErrorKind::TimedOut, format!("no answer within {} seconds", PATIENCE.as_secs())));
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(late)
    };
    let answers = app.unless_interrupted(join_all(places.iter().map(ask))).await?;
    if answers.iter().all(Result::is_err) {
        // Says everything that was tried.
        app.connect().await?;
    }
    let mut found = Vec::new();
    let mut silent = Vec::new();
    for (place, answer) in places.into_iter().zip(answers) {
        match answer {
            Ok(observed) => found.push((place.name, observed)),
            Err(error) if place.asked_for || app.globals.verbose => {
                silent.push(Diagnostic { severity: Severity::Warning, ..hints::engine_finding(&error) });
                if place.asked_for {
                    // It keeps its place: what the others have is not on the engine that other commands use.
                    found.push((place.name, Observed::default()));
                }
            }
            Err(_) => {}
        }
    }
    app.console.findings(&silent).await;
    Ok(found)
}

/// `name=REGEX`.
fn filters(given: &[String]) -> Result<Vec<Regex>, Fault> {
    let mut filters = Vec::new();
    for filter in given {
        match filter.split_once('=') {
            Some(("name", pattern)) => filters.push(Regex::new(pattern).map_err(|e| usage(format!("--filter {filter:?}: {e}")))?),
            _ => return Err(usage(format!("unknown filter {filter:?}")).help("the filter is `name=REGEX`").into()),
        }
    }
    Ok(filters)
}

/// `exited(1), running(2)`.
fn status(containers: &[&Container]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for container in containers {
        *counts.entry(container.state.as_str()).or_default() += 1;
    }
    counts.iter().map(|(state, n)| format!("{state}({n})")).collect::<Vec<_>>().join(", ")
}

/// The Compose files of a project.
fn files(containers: &[&Container]) -> String {
    let mut files: Vec<&str> = Vec::new();
    for file in containers.iter().filter_map(|c| c.label(label::CONFIG_FILES)).flat_map(|f| f.split(',')) {
        if !files.contains(&file) && !file.is_empty() {
            files.push(file);
        }
    }
    if files.is_empty() { "N/A".to_owned() } else { files.join(",") }
}
