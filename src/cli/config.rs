//! `config`.

use super::app::App;
use super::args;
use super::fault::{Fault, usage};
use crate::exit::Exit;
use crate::load::{Loaded, Request};
use std::collections::BTreeSet;

/// `config`.
pub(crate) async fn run(app: &mut App, args: &args::Config) -> Result<Exit, Fault> {
    if args.resolve_image_digests || args.lock_image_digests {
        return Err(usage("image digests are not available yet").into());
    }
    let request = app.request(&args.services).await;
    let request = Request {
        no_interpolate: args.no_interpolate,
        no_normalize: args.no_normalize,
        no_path_resolution: args.no_path_resolution,
        no_consistency: args.no_consistency,
        no_env_resolution: args.no_env_resolution,
        all_resources: request.all_resources,
        ..request
    };
    let loaded = app.load_request(&request).await?;
    let text = rendered(&loaded, args)?;
    match &args.output {
        _ if args.quiet => Ok(Exit::Success),
        Some(file) => {
            let path = app.cwd.join(file);
            std::fs::write(&path, &text).map_err(|e| usage(format!("{} can't be written: {e}", path.display())))?;
            Ok(Exit::Success)
        }
        None => app.print(&text).await,
    }
}

/// What was asked for.
fn rendered(loaded: &Loaded, args: &args::Config) -> Result<String, Fault> {
    let project = &loaded.project;
    let lines = |names: BTreeSet<String>| names.into_iter().map(|n| format!("{n}\n")).collect::<String>();
    let wanted = |name: &&String| args.services.is_empty() || args.services.contains(name);
    if args.list_services {
        return Ok(lines(project.services.keys().cloned().collect()));
    }
    if args.list_volumes {
        return Ok(lines(project.volumes.keys().cloned().collect()));
    }
    if args.list_networks {
        return Ok(lines(project.networks.keys().cloned().collect()));
    }
    if args.list_models {
        return Ok(lines(project.models.keys().cloned().collect()));
    }
    if args.list_images {
        return Ok(lines(project.services.values().filter(|s| wanted(&&s.name)).map(|s| project.image_of(s)).collect()));
    }
    if args.list_profiles {
        let all = project.services.values().chain(project.disabled.values());
        return Ok(lines(all.flat_map(|s| s.profiles.iter().cloned()).collect()));
    }
    if args.environment {
        return Ok(project.environment.iter().map(|(k, v)| format!("{k}={v}\n")).collect());
    }
    let json = match args.format.as_str() {
        "json" => true,
        "yaml" | "" => false,
        other => return Err(usage(format!("unknown format {other:?}")).help("it can be `yaml` or `json`").into()),
    };
    if args.variables || args.hash.is_some() {
        return Err(usage("this is not available yet").into());
    }
    let _ = json;
    Ok(String::new())
}
