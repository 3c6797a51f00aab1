//! `down`.

use super::app::App;
use super::args;
use super::change::{change, own};
use super::fault::Fault;
use super::prompt::Prompt;
use crate::exit::Exit;
use crate::model::Selection;
use crate::plan::{self, DownOptions, RemoveImages};
use crate::run::Options;

/// `down`.
pub(crate) async fn run(app: &mut App, args: &args::Down) -> Result<Exit, Fault> {
    let known = app.load_or_name(&args.services).await?;
    let options = DownOptions {
        services: args.services.clone(),
        volumes: args.volumes,
        images: args.rmi.map(|rmi| match rmi {
            args::Rmi::All => RemoveImages::All,
            args::Rmi::Local => RemoveImages::Local,
        }),
        remove_orphans: args.remove_orphans.unwrap_or(app.settings.remove_orphans),
        timeout: args.timeout,
    };
    let query = known.project().map_or_else(|| own(&known.name), |project| plan::observe_query(project, &Selection::default()));
    change(app, "down", &known.name, &query, &Options::default(), async |observed, _, _: &mut Prompt| {
        plan::plan_down(known.project(), &known.name, observed, &options)
    })
    .await
}
