//! `config`.

use super::app::{App, runtime};
use super::fault::{Fault, usage};
use super::{args, digests};
use crate::exit::Exit;
use crate::graph;
use crate::load::explain::explain;
use crate::load::render::{self, Format};
use crate::load::{self, Loaded, Request, annotate};
use crate::model::Selection;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `config`.
pub(crate) async fn run(app: &mut App, args: &args::Config) -> Result<Exit, Fault> {
    // These are asked of the whole project, and none of them needs what env files say.
    let whole = args.list_services || args.list_volumes || args.list_networks || args.list_models || args.hash.is_some() || args.variables;
    let listed = whole || args.list_profiles || args.list_images;
    let services: &[String] = if whole || args.no_interpolate { &[] } else { &args.services };
    let request = app.request(services).await;
    let request = Request {
        trace: args.annotate || args.explain.is_some(),
        no_interpolate: args.no_interpolate || args.variables,
        no_normalize: args.no_normalize,
        no_path_resolution: args.no_path_resolution,
        no_consistency: args.no_consistency,
        no_env_resolution: args.no_env_resolution || listed,
        all_resources: request.all_resources,
        ..request
    };
    if args.annotate && args.format == "json" {
        return Err(usage("JSON has no comments: --annotate prints YAML").into());
    }
    if let Some(what) = &args.explain {
        return explained(app, &request, what, args).await;
    }
    let mut loaded = app.load_request(&request).await?;
    if !(args.no_consistency || request.no_interpolate) {
        let cycles = graph::check(&loaded.project, &|path| loaded.provenance.nearest(path));
        if !cycles.is_empty() {
            return Err(cycles.into());
        }
    }
    if !services.is_empty() {
        let selection = Selection { services: services.to_vec(), no_deps: false };
        let selected = graph::select(&loaded.project, &selection)?;
        load::restrict(&mut loaded.project, &selected.services, request.all_resources);
    }
    let pins = match args.resolve_image_digests || args.lock_image_digests {
        true if !listed => {
            runtime().await;
            app.unless_interrupted(digests::resolve(&loaded, &app.environment)).await??
        }
        _ => BTreeMap::new(),
    };
    let text = rendered(&loaded, args, &pins)?;
    // The process ends soon, and with it goes all memory at once; piece by piece takes as long as reading a file.
    std::mem::forget(loaded);
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

/// Why a variable or a value is what it is. Faults of the files are shown too, but variables are explained all the same.
async fn explained(app: &mut App, request: &Request, what: &str, args: &args::Config) -> Result<Exit, Fault> {
    let (story, findings, sources) = match app.load_fetching(request).await? {
        Ok(loaded) => (explain(what, (&loaded).into()), Vec::new(), loaded.sources),
        Err(failed) => (explain(what, (&failed).into()), failed.diagnostics, failed.sources),
    };
    app.console.set_sources(Arc::new(sources));
    match story {
        Ok(story) => {
            app.console.findings(&findings).await;
            let text = match args.format.as_str() {
                "json" => format!("{:#}\n", story.json),
                _ => story.text,
            };
            app.print(&text).await
        }
        Err(unknown) => Err(findings.into_iter().chain([*unknown]).collect::<Vec<_>>().into()),
    }
}

/// What was asked for.
fn rendered(loaded: &Loaded, args: &args::Config, pins: &BTreeMap<String, String>) -> Result<String, Fault> {
    let project = &loaded.project;
    let lines = |names: Vec<String>| names.into_iter().map(|n| n + "\n").collect::<String>();
    if args.list_services {
        let all = render::services(project);
        // Nothing is decided on yet where expressions are left as written.
        let others = project.disabled.keys().filter(|_| args.no_interpolate).cloned();
        return Ok(lines(all.into_iter().chain(others).collect()));
    }
    if args.list_volumes {
        return Ok(lines(project.volumes.keys().cloned().collect()));
    }
    if args.list_networks {
        return Ok(lines(project.networks.keys().cloned().collect()));
    }
    if args.list_models {
        return Ok(lines(render::models(project)));
    }
    if let Some(wanted) = &args.hash {
        let hashes = render::hashes(project);
        let names: Vec<&str> = if wanted == "*" { Vec::new() } else { wanted.split(',').map(str::trim).collect() };
        if let Some(unknown) = names.iter().find_map(|n| graph::unknown_service(project, n)) {
            return Err(vec![unknown].into());
        }
        let chosen = hashes.into_iter().filter(|(name, _)| names.is_empty() || names.contains(&name.as_str()));
        return Ok(chosen.map(|(name, hash)| format!("{name} {hash}\n")).collect());
    }
    if args.list_profiles {
        return Ok(lines(render::profiles(project)));
    }
    if args.list_images {
        return Ok(lines(render::images(project)));
    }
    if args.environment {
        return Ok(lines(render::environment(project)));
    }
    if args.variables {
        return match args.format.as_str() {
            "json" => Ok(render::variables_json(loaded)),
            "yaml" => Ok(render::variables_yaml(loaded)),
            "" | "table" | "pretty" => Ok(render::variables(loaded)),
            other => Err(usage(format!("unknown format {other:?}")).help("it can be `table`, `yaml` or `json`").into()),
        };
    }
    let format = match args.format.as_str() {
        "json" => Format::Json,
        "yaml" | "" => Format::Yaml,
        other => return Err(usage(format!("unknown format {other:?}")).help("it can be `yaml` or `json`").into()),
    };
    Ok(match format {
        _ if args.annotate => annotate::config(loaded),
        format if args.lock_image_digests => render::images_only(loaded, format, pins),
        format => render::pinned(loaded, format, pins),
    })
}
