//! `image`, `volume`, `system`: what the embedded engine keeps beyond any project.
//!
//! Other engines have commands of their own for this, and users know them: they are named.

use super::app::App;
use super::fault::{Fault, usage};
use super::prompt::Answer;
use crate::engine::embedded::Embedded;
use crate::ui::table::{Columns, Row, formatted, json_line, table};
use crate::world::EngineError;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// The embedded engine, if it is the one that the settings mean. `command` is what does the same for another one:
/// `image ls`.
pub(crate) async fn embedded(app: &mut App, command: &str) -> Result<Embedded, Fault> {
    let request = app.settings.engine.clone();
    if request.engine != "embedded" {
        let name = app.connect().await?.info().name;
        let fault = |what: String, help: String| Err(usage(what).help(help).into());
        match name.as_str() {
            "embedded" => {}
            "sim" => return fault("the simulated engine keeps nothing".into(), "leave --engine out, or say --engine embedded".into()),
            other => {
                return fault(
                    format!("`consort {command}` is about the embedded engine, and the engine here is {other}"),
                    format!("`{other} {command}` does it for {other}; for the embedded engine: consort --engine embedded {command}"),
                );
            }
        }
    }
    let program = request.program.unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
    Ok(Embedded::open(&request.environment, program)?)
}

/// Does work that waits for disks.
pub(crate) async fn blocking<T: Send + 'static>(app: &App, work: impl FnOnce() -> Result<T, EngineError> + Send + 'static) -> Result<T, Fault> {
    match app.unless_interrupted(tokio::task::spawn_blocking(work)).await? {
        Ok(result) => Ok(result?),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A list in the format that is asked for: a table of these columns (head and field), JSON, a template.
pub(crate) fn listing(format: Option<&str>, columns: &[(&str, &str)], rows: &[Row]) -> Result<String, Fault> {
    match format.unwrap_or("table") {
        "table" | "" => {
            let field = |row: &Row, name: &str| row.fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut lines = vec![columns.iter().map(|(head, _)| (*head).to_owned()).collect::<Vec<_>>()];
            lines.extend(rows.iter().map(|row| columns.iter().map(|(_, name)| field(row, name)).collect()));
            Ok(table(&lines, Columns::CONTAINERS))
        }
        "json" => Ok(rows.iter().map(|row| format!("{}\n", json_line(&Value::Object(row.fields.clone())))).collect()),
        custom => formatted(rows, custom, Columns::CONTAINERS).map_err(|e| usage(e).into()),
    }
}

/// A row of texts.
pub(crate) fn row(fields: &[(&str, String)]) -> Row {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let fields: Map<String, Value> = sorted.into_iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
    Row { fields, ..Row::default() }
}

/// Asks before something is removed, unless `force`.
pub(crate) async fn sure(app: &mut App, force: bool, warning: &str) -> bool {
    if force {
        return true;
    }
    // No view is under way that would show a question.
    app.console.note(&format!("WARNING! {warning}\nAre you sure you want to continue? [y/N] ")).await;
    let (answer, broken) = app.prompt.answer().await;
    if !broken {
        app.console.note("\n").await;
    }
    answer == Answer::Yes
}
