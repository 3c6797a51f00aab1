//! `pull`.

use super::app::App;
use super::args;
use super::change::change;
use super::fault::{Fault, usage};
use super::prompt::Prompt;
use crate::exit::Exit;
use crate::model::Selection;
use crate::plan::{self, PullOptions, PullPolicy};
use crate::run::Options;
use crate::ui::ProgressMode;

/// `pull`.
pub(crate) async fn run(app: &mut App, args: &args::Pull) -> Result<Exit, Fault> {
    let loaded = app.load(&args.services).await?;
    let policy = match args.policy.as_deref() {
        None | Some("") => None,
        Some("always") => Some(PullPolicy::Always),
        Some("missing") => Some(PullPolicy::Missing),
        Some(other) => return Err(usage(format!("--policy {other:?} is not known")).help("it can be `always` or `missing`").into()),
    };
    let options = PullOptions {
        services: args.services.clone(),
        include_deps: args.include_deps,
        policy,
        ignore_buildable: args.ignore_buildable,
        ignore_failures: args.ignore_pull_failures,
        now: app.now,
    };
    if args.quiet {
        app.console.look().progress = ProgressMode::Quiet;
    }
    let selection = Selection { services: args.services.clone(), no_deps: !args.include_deps };
    let query = plan::observe_query(&loaded.project, &selection);
    change(app, "pull", &loaded.project.name, &query, &Options::default(), async |observed, _, _: &mut Prompt| {
        plan::plan_pull(&loaded.project, observed, &options)
    })
    .await
}
