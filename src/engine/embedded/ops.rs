//! One op: images, networks and volumes here, containers by the supervisor of their project.

use super::{Embedded, blocking, net, volume};
use crate::engine::{ProgressSink, hook};
use crate::world::{Applied, Capabilities, EngineError, ErrorKind, NetworkSpec, Op, label};

/// What this engine has no switch for and can't honour.
const REFUSED: [(&str, &str); 12] = [
    ("networks.*.driver!=bridge|default|host|none|null", "it knows bridge networks alone"),
    ("networks.*.ipam.driver!=default", "it gives addresses away itself"),
    ("services.*.credential_spec", WINDOWS),
    ("services.*.deploy.resources.reservations.devices", GPUS),
    ("services.*.gpus", GPUS),
    ("services.*.isolation!=default", WINDOWS),
    ("services.*.logging.driver!=json-file|local|none", "logs are kept in files alone: json-file, local, or none"),
    ("services.*.storage_opt", "a container's layer is a folder, which has no size of its own"),
    ("services.*.userns_mode!=host", "root in a container is root of the machine, without most privileges"),
    ("services.*.cpu_count", WINDOWS),
    ("services.*.cpu_percent", WINDOWS),
    ("volumes.*.driver!=local", "it knows `local` alone, with `type`, `o` and `device`"),
];
/// The same of what a container can do without.
const IGNORED: [(&str, &str); 2] = [
    (
        "services.*.security_opt.*~apparmor!=apparmor:unconfined|apparmor=unconfined",
        "profiles of AppArmor are applied by another runtime alone (`runtime`)",
    ),
    ("services.*.security_opt.*~label!=label:disable|label=disable", "there are no labels of SELinux here"),
];
const WINDOWS: &str = "it is for containers of Windows";
const GPUS: &str = "devices by capability need a driver's helper; name them under `devices`, or take its runtime (`runtime: nvidia`)";

/// What this engine can do.
pub fn capabilities() -> Capabilities {
    Capabilities { refused: REFUSED.to_vec(), ignored: IGNORED.to_vec(), cdi: false, ..Capabilities::all() }
}

/// Does one thing.
///
/// # Errors
/// What can't be done, and why.
pub async fn apply(engine: &Embedded, op: &Op, progress: &ProgressSink) -> Result<Applied, EngineError> {
    match op {
        Op::PullImage { reference, platform } => {
            let image = engine.store.pull(reference, platform.as_deref(), &engine.environment, progress).await?;
            Ok(Applied { id: Some(image.id), ..changed(true) })
        }
        Op::RemoveImage { reference } => {
            let (store, reference) = (engine.store.clone(), reference.clone());
            blocking(move || remove_image(&store, &reference)).await.map(changed)
        }
        Op::CreateNetwork(spec) => {
            let (places, spec) = (engine.places.clone(), spec.clone());
            blocking(move || create_network(&places, &spec)).await
        }
        Op::RemoveNetwork { name, id } => remove_network(engine, op, name, id.as_deref()).await,
        Op::CreateVolume(spec) => {
            let (places, spec) = (engine.places.clone(), spec.clone());
            blocking(move || {
                let there = volume::find(&places, &spec.name)?.is_some();
                volume::create(&places, &spec, false)?;
                Ok(Applied { id: Some(spec.name), ..changed(!there) })
            })
            .await
        }
        Op::RemoveVolume { name } => {
            let (places, name) = (engine.places.clone(), name.clone());
            blocking(move || volume::remove(&places, &name)).await.map(changed)
        }
        Op::CreateContainer(spec) => {
            let project = spec.labels.get(label::PROJECT).map_or("", String::as_str);
            let created = engine.links.apply(project, op).await?;
            engine.remember(created.id.iter().map(|id| (id.clone(), project.to_owned())));
            Ok(created)
        }
        Op::RunHook { container, hook } => hook::run(engine, container, hook).await,
        Op::ConnectNetwork { container, .. }
        | Op::DisconnectNetwork { container, .. }
        | Op::WriteFiles { container, .. }
        | Op::RenameContainer { container, .. }
        | Op::StartContainer { container }
        | Op::StopContainer { container, .. }
        | Op::RestartContainer { container, .. }
        | Op::KillContainer { container, .. }
        | Op::PauseContainer { container }
        | Op::UnpauseContainer { container } => {
            let project = engine.project_of(container)?;
            engine.links.apply(&project, op).await
        }
        Op::RemoveContainer { container, .. } => match engine.project_of(container) {
            Ok(project) => engine.links.apply(&project, op).await,
            Err(error) if error.kind == ErrorKind::NotFound => Ok(changed(false)),
            Err(error) => Err(error),
        },
    }
}

pub fn changed(changed: bool) -> Applied {
    Applied { changed, ..Applied::default() }
}

/// Removes a network. What takes long of it is left to the supervisor that is about to end: when the project has no
/// container any more.
async fn remove_network(engine: &Embedded, op: &Op, name: &str, id: Option<&str>) -> Result<Applied, EngineError> {
    let project = net::find(&engine.places, name)?.and_then(|n| n.spec.labels.get(label::PROJECT).cloned());
    if let Some(project) = project
        && engine.links.is_open(&project).await
        && std::fs::read_dir(engine.places.members(&project)).is_ok_and(|mut members| members.next().is_none())
    {
        let removed = engine.links.apply(&project, op).await;
        // It sweeps up after all when this command has gone.
        engine.leave_networks();
        return removed;
    }
    let (places, name, id) = (engine.places.clone(), name.to_owned(), id.map(str::to_owned));
    blocking(move || net::remove(&places, &name, id.as_deref())).await.map(changed)
}

/// Makes a network; one that is just like it is as good.
fn create_network(places: &super::Places, spec: &NetworkSpec) -> Result<Applied, EngineError> {
    match net::create(places, spec) {
        Ok(record) => Ok(Applied { id: Some(record.id), ..changed(true) }),
        Err(error) if error.kind == ErrorKind::Conflict => {
            let same =
                net::list_some(places, &|name| name == spec.name)?.into_iter().find(|n| n.spec.name == spec.name && n.spec.labels == spec.labels);
            same.map(|n| Applied { id: Some(n.id), ..changed(false) }).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// Takes a name of an image away; what containers need stays.
fn remove_image(store: &super::image::Store, reference: &str) -> Result<bool, EngineError> {
    match store.remove(reference, false) {
        Ok(_) => Ok(true),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
