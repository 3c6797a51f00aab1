//! Options and variables → settings. Pure.

use super::args::Globals;
use super::fault::Fault;
use crate::diag::Diagnostic;
use crate::engine::registry::EngineRequest;
use crate::ui::diagnostics::Form;
use crate::ui::{Look, ProgressMode};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Engine calls at the same time, unless the user says otherwise. Without a limit the engine gets slower, not faster.
const PARALLEL: usize = 8;

/// Which of the three streams are terminals.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terminals {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// Everything that is set for a run besides the command's own options.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) look: Look,
    /// Engine calls at the same time.
    pub(crate) parallel: usize,
    pub(crate) remove_orphans: bool,
    pub(crate) ignore_orphans: bool,
    pub(crate) compatibility: bool,
    /// OCI runtime of services that name none.
    pub(crate) runtime: Option<String>,
    pub(crate) engine: EngineRequest,
}

impl Settings {
    /// What options and environment say together; options win.
    ///
    /// # Errors
    /// A value that can't be understood, or two that can't be had together.
    pub(crate) fn resolve(globals: &Globals, environment: &BTreeMap<String, String>, terminals: Terminals) -> Result<Self, Fault> {
        let var = |name: &str| environment.get(name).map(String::as_str).filter(|v| !v.is_empty());
        let parallel = match (globals.parallel, var("COMPOSE_PARALLEL_LIMIT")) {
            (Some(n), _) => n,
            (None, Some(text)) => text.trim().parse().map_err(|_| {
                Diagnostic::error("bad-setting", format!("COMPOSE_PARALLEL_LIMIT is {text:?}, which is not a whole number"))
                    .help("set it to the number of engine calls at the same time, or to -1 for no limit")
            })?,
            (None, None) => PARALLEL as i64,
        };
        Ok(Self {
            look: look(globals, &var, terminals)?,
            parallel: usize::try_from(parallel).ok().filter(|n| *n > 0).unwrap_or(1024),
            remove_orphans: flag(&var, "COMPOSE_REMOVE_ORPHANS"),
            ignore_orphans: flag(&var, "COMPOSE_IGNORE_ORPHANS"),
            compatibility: globals.compatibility || flag(&var, "COMPOSE_COMPATIBILITY"),
            runtime: globals.runtime.clone().or_else(|| var("CONSORT_RUNTIME").map(str::to_owned)).filter(|r| !r.is_empty()),
            engine: EngineRequest {
                engine: globals.engine.clone().or_else(|| var("CONSORT_ENGINE").map(str::to_owned)).unwrap_or_default(),
                environment: environment.clone(),
                config_dir: None,
                host: globals.host.clone(),
                context: globals.context.clone(),
                program: Some(PathBuf::from("/proc/self/exe")),
                project: None,
                project_name: None,
                needs_embedded: false,
            },
        })
    }
}

/// How things are shown.
fn look<'v>(globals: &Globals, var: &impl Fn(&str) -> Option<&'v str>, terminals: Terminals) -> Result<Look, Fault> {
    let bad = |what: &str, value: &str, known: &str| {
        Fault::from(Diagnostic::error("bad-setting", format!("{what} {value:?} is not known")).help(format!("it can be {known}")))
    };
    let ansi = if globals.no_ansi { "never" } else { globals.ansi.as_deref().or_else(|| var("COMPOSE_ANSI")).unwrap_or("auto") };
    let dumb = var("TERM") == Some("dumb");
    let (control, colour): (Option<bool>, Option<bool>) = match ansi {
        "never" => (Some(false), Some(false)),
        "always" => (None, Some(true)),
        "auto" if dumb => (Some(false), Some(false)),
        "auto" => (None, var("NO_COLOR").map(|_| false)),
        other => return Err(bad("--ansi", other, "`never`, `always` or `auto`")),
    };
    let clash =
        |a: &str, b: &str| Fault::from(Diagnostic::error("bad-setting", format!("{a} and {b} can't be had together")).help("leave one of them out"));
    let progress = match globals.progress.as_deref().or_else(|| var("COMPOSE_PROGRESS")).unwrap_or("auto") {
        "auto" if terminals.stderr && control != Some(false) => ProgressMode::Tty,
        "auto" => ProgressMode::Plain,
        "tty" if ansi == "never" => return Err(clash("--progress tty", "--ansi never")),
        "tty" => ProgressMode::Tty,
        "plain" if ansi == "always" && globals.ansi.is_some() => return Err(clash("--progress plain", "--ansi always")),
        "plain" => ProgressMode::Plain,
        "json" => ProgressMode::Json,
        "quiet" | "none" => ProgressMode::Quiet,
        other => return Err(bad("--progress", other, "`auto`, `tty`, `plain`, `json` or `quiet`")),
    };
    Ok(Look {
        progress,
        colour_out: colour.unwrap_or(terminals.stdout),
        colour_err: colour.unwrap_or(terminals.stderr) && progress != ProgressMode::Json,
        one_screen: terminals.stdout && terminals.stderr,
        findings: match globals.errors.as_deref().unwrap_or("full") {
            "full" => Form::Full,
            "short" => Form::Short,
            "json" => Form::Json,
            other => return Err(bad("--errors", other, "`full`, `short` or `json`")),
        },
    })
}

/// A variable that is yes or no; unset is no.
fn flag<'v>(var: &impl Fn(&str) -> Option<&'v str>, name: &str) -> bool {
    var(name).is_some_and(truth)
}

/// Whether a word means yes. Like Docker Compose, and `yes` and `on` besides.
pub(crate) fn truth(word: &str) -> bool {
    matches!(word.trim().to_ascii_lowercase().as_str(), "1" | "t" | "true" | "y" | "yes" | "on")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(globals: Globals, vars: &[(&str, &str)], terminal: bool) -> Result<Settings, String> {
        let environment = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let terminals = Terminals { stdin: terminal, stdout: terminal, stderr: terminal };
        Settings::resolve(&globals, &environment, terminals).map_err(|fault| format!("{fault:?}"))
    }

    fn look(globals: Globals, vars: &[(&str, &str)], terminal: bool) -> (ProgressMode, bool) {
        let look = settings(globals, vars, terminal).unwrap().look;
        (look.progress, look.colour_out)
    }

    #[test]
    fn a_terminal_gets_colours_and_a_live_view_and_a_pipe_gets_neither() {
        use ProgressMode::{Plain, Quiet, Tty};
        let ansi = |v: &str| Globals { ansi: Some(v.into()), ..Globals::default() };
        let progress = |v: &str| Globals { progress: Some(v.into()), ..Globals::default() };
        let none = Globals::default;
        assert_eq!(look(none(), &[], true), (Tty, true));
        assert_eq!(look(none(), &[], false), (Plain, false));
        assert_eq!(look(none(), &[("NO_COLOR", "1")], true), (Tty, false));
        assert_eq!(look(none(), &[("NO_COLOR", "")], true), (Tty, true));
        assert_eq!(look(none(), &[("TERM", "dumb")], true), (Plain, false));
        assert_eq!(look(ansi("never"), &[], true), (Plain, false));
        assert_eq!(look(ansi("always"), &[("NO_COLOR", "1")], false), (Plain, true));
        assert_eq!(look(none(), &[("COMPOSE_ANSI", "never")], true), (Plain, false));
        assert_eq!(look(none(), &[("COMPOSE_PROGRESS", "none")], true), (Quiet, true));
        assert_eq!(look(progress("tty"), &[("COMPOSE_PROGRESS", "plain")], false), (Tty, false));
        assert!(settings(Globals { ansi: Some("never".into()), ..progress("tty") }, &[], true).is_err());
        assert!(settings(Globals { ansi: Some("always".into()), ..progress("plain") }, &[], true).is_err());
        assert!(settings(progress("loud"), &[], true).unwrap_err().contains("loud"));
    }

    #[test]
    fn numbers_and_switches() {
        assert_eq!(settings(Globals::default(), &[], true).unwrap().parallel, 8);
        assert_eq!(settings(Globals { parallel: Some(-1), ..Globals::default() }, &[], true).unwrap().parallel, 1024);
        assert_eq!(settings(Globals::default(), &[("COMPOSE_PARALLEL_LIMIT", "3")], true).unwrap().parallel, 3);
        assert!(settings(Globals::default(), &[("COMPOSE_PARALLEL_LIMIT", "many")], true).is_err());
        assert!(settings(Globals::default(), &[("COMPOSE_REMOVE_ORPHANS", "yes")], true).unwrap().remove_orphans);
        assert!(!settings(Globals::default(), &[("COMPOSE_REMOVE_ORPHANS", "false")], true).unwrap().remove_orphans);
    }
}
