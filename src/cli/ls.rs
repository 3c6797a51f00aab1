//! `ls`.

use super::app::App;
use super::args;
use super::fault::{Fault, usage};
use crate::exit::Exit;
use crate::ui::table::{Columns, json_line, table};
use crate::world::{Container, ObserveQuery, label};
use regex::Regex;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `ls`.
pub(crate) async fn run(app: &mut App, args: &args::Ls) -> Result<Exit, Fault> {
    let filters = filters(&args.filter)?;
    if !matches!(args.format.as_str(), "table" | "json" | "pretty" | "") {
        return Err(usage(format!("unknown format {:?}", args.format)).help("it can be `table` or `json`").into());
    }
    let engine = app.connect().await?;
    let observed = app.observe(&engine, &ObserveQuery { containers_only: true, ..ObserveQuery::default() }).await?;
    let mut projects: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
    for container in observed.containers.iter().filter(|c| !c.project().is_empty() && !c.is_oneoff() && (args.all || c.is_alive())) {
        projects.entry(container.project()).or_default().push(container);
    }
    projects.retain(|name, _| filters.is_empty() || filters.iter().any(|f| f.is_match(name)));
    let text = if args.quiet {
        projects.keys().map(|name| format!("{name}\n")).collect()
    } else if args.format == "json" {
        let list: Vec<Value> = projects
            .iter()
            .map(|(name, containers)| json!({ "Name": name, "Status": status(containers), "ConfigFiles": files(containers) }))
            .collect();
        format!("{}\n", json_line(&Value::Array(list)))
    } else {
        let mut rows = vec![["NAME", "STATUS", "CONFIG FILES"].map(str::to_owned).to_vec()];
        rows.extend(projects.iter().map(|(name, containers)| vec![(*name).to_owned(), status(containers), files(containers)]));
        table(&rows, Columns::THINGS)
    };
    app.print(&text).await
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
