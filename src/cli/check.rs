//! `check`.

use super::app::App;
use super::args;
use super::fault::Fault;
use crate::diag::{Diagnostic, Severity, SourceMap};
use crate::exit::Exit;
use crate::graph;
use crate::load::{Request, traps};
use crate::ui::Paint;
use crate::ui::diagnostics::{Drawer, Form};
use std::collections::BTreeSet;

/// `check`.
pub(crate) async fn run(app: &mut App, args: &args::Check) -> Result<Exit, Fault> {
    args.allow.iter().try_for_each(|code| traps::known(code)).map_err(|unknown| Fault::from(*unknown))?;
    let allowed: BTreeSet<String> = args.allow.iter().cloned().collect();
    let request = Request { trace: true, ..app.request(&args.services).await };
    let (findings, sources, files) = match app.load_fetching(&request).await? {
        Ok(loaded) => {
            if let Some(unknown) = args.services.iter().find_map(|name| graph::unknown_service(&loaded.project, name)) {
                return Err(vec![unknown].into());
            }
            let mut findings = graph::check(&loaded.project, &|path| loaded.provenance.nearest(path));
            findings.extend(traps::check(&loaded, &allowed));
            findings.sort_by_key(|d| d.span);
            (findings, loaded.sources, loaded.project.files.len())
        }
        Err(mut failed) => {
            failed.diagnostics.retain(|d| d.is_error() || !allowed.contains(d.code));
            (failed.diagnostics, failed.sources, 0)
        }
    };
    let count = |severity| findings.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    if !args.quiet {
        let text = if args.json {
            let drawer = drawer(app, &sources, Form::Json);
            let list: Vec<_> = findings.iter().map(|d| drawer.flat(d)).collect();
            format!("{:#}\n", serde_json::json!({ "diagnostics": list, "errors": errors, "warnings": warnings, "notes": notes }))
        } else {
            told(&drawer(app, &sources, app.settings.look.findings), &findings, files)
        };
        app.print(&text).await?;
    }
    Ok(if errors > 0 || args.strict && warnings > 0 { Exit::Failure } else { Exit::Success })
}

fn drawer<'a>(app: &App, sources: &'a SourceMap, form: Form) -> Drawer<'a> {
    Drawer { sources, form, paint: Paint(app.settings.look.colour_out), width: usize::from(app.size.borrow().columns) }
}

/// The findings, and a last line that counts them.
fn told(drawer: &Drawer<'_>, findings: &[Diagnostic], files: usize) -> String {
    let mut text: String = findings.iter().map(|d| drawer.one(d)).collect();
    if drawer.form == Form::Json {
        return text;
    }
    let count = |severity, one: &str| {
        let n = findings.iter().filter(|d| d.severity == severity).count();
        (n > 0).then(|| format!("{n} {one}{}", if n == 1 { "" } else { "s" }))
    };
    let counts: Vec<String> =
        [count(Severity::Error, "error"), count(Severity::Warning, "warning"), count(Severity::Note, "note")].into_iter().flatten().collect();
    let what = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    text.push_str(&match counts.as_slice() {
        [] => format!("{what} checked, nothing found\n"),
        counts => format!("{}\n", counts.join(", ")),
    });
    text
}
