//! What exists, read out of the files. Nobody is asked, so it costs the same whether anything runs or not.

use super::Places;
use super::image::Store;
use super::record::{self, ContainerRecord, ContainerState, NetworkRecord};
use super::{net, volume};
use crate::engine::status::{self, Run};
use crate::units::Timestamp;
use crate::world::{
    Attachment, ConfigHash, Container, EngineError, ErrorKind, Image, NetworkMode, NetworkState, ObserveQuery, Observed, PublishedPort, State,
    VolumeState, label,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Which boot of the machine this is; processes of another one are gone.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|t| t.trim().to_owned()).unwrap_or_default()
}

/// A container, with what two files say of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How it was created.
    pub record: ContainerRecord,
    /// How it is.
    pub state: ContainerState,
}

impl Seen {
    /// The container with this id.
    ///
    /// # Errors
    /// Files that can't be understood.
    pub fn read(places: &Places, id: &str) -> Result<Option<Self>, EngineError> {
        let folder = places.container(id);
        let Some(record) = record::read(&folder.join("container.json"))? else { return Ok(None) };
        let state = state(&folder)?;
        Ok(Some(Self { record, state }))
    }

    /// State, in which nothing is alive that ran before the machine was started.
    pub fn standing(&self, boot: &str) -> State {
        match self.state.state.unwrap_or(State::Created) {
            State::Running | State::Paused | State::Restarting | State::Removing | State::Dead if self.state.boot != boot => State::Exited,
            state => state,
        }
    }

    /// Whether a supervisor should be looking after it.
    pub fn needs_supervisor(&self, boot: &str) -> bool {
        matches!(self.standing(boot), State::Running | State::Paused | State::Restarting | State::Dead)
    }
}

/// How the container in a folder is. One whose file can't be understood is dead until a supervisor has looked after it.
fn state(folder: &std::path::Path) -> Result<ContainerState, EngineError> {
    match record::read(&folder.join("state.json")) {
        Err(error) if error.kind == ErrorKind::Protocol => {
            Ok(ContainerState { state: Some(State::Dead), boot: boot(), error: error.to_string(), ..ContainerState::default() })
        }
        read => Ok(read?.unwrap_or_default()),
    }
}

/// The containers of a project; of all projects; with `strangers` those of none, too.
///
/// # Errors
/// The record of a container of the project can't be understood. Those of others are no concern of this one.
pub fn containers(places: &Places, project: Option<&str>, strangers: bool) -> Result<Vec<Seen>, EngineError> {
    let mut all = Vec::new();
    let of_project = project.map(|p| format!("\"project\":\"{p}\""));
    let entries = match fs::read_dir(places.containers()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(all),
        Err(error) => return Err(record::failed(&format!("{} can't be read", places.containers().display()), &error)),
    };
    for entry in entries.flatten() {
        let file = entry.path().join("container.json");
        // It may be about to come, or have just gone.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        // Records of others need not be taken apart. One that is whole ends so.
        if !strangers && of_project.as_ref().is_some_and(|p| !text.contains(p.as_str())) && text.ends_with('}') {
            continue;
        }
        let record: ContainerRecord = match serde_json::from_str(&text) {
            Ok(record) => record,
            Err(error) if project.is_some_and(|p| places.members(p).join(entry.file_name()).exists()) => return Err(record::broken(&file, &error)),
            Err(_) => continue,
        };
        let wanted = strangers || project.map_or(!record.project.is_empty(), |p| record.project == p);
        if wanted {
            let state = state(&entry.path())?;
            all.push(Seen { record, state });
        }
    }
    Ok(all)
}

/// Whether a project has entries of containers that don't exist: not yet, or not any more.
pub fn has_remains(places: &Places, project: &str) -> bool {
    let entries = fs::read_dir(places.members(project)).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).any(|id| !places.container(&id).join("container.json").exists())
}

/// Looks at everything that `wanted` asks for; the containers were read before.
///
/// # Errors
/// Files that can't be understood.
pub fn observe(places: &Places, store: &Store, wanted: &ObserveQuery, seen: Vec<Seen>, now: Timestamp) -> Result<Observed, EngineError> {
    let boot = boot();
    let mut networks = Networks { places, read: None };
    let mut containers: Vec<Container> = seen.into_iter().map(|s| container(s, &boot, now, &mut networks)).collect();
    containers.sort_by(|a, b| (a.service(), a.number(), &a.name).cmp(&(b.service(), b.number(), &b.name)));
    if wanted.containers_only {
        return Ok(Observed { containers, ..Observed::default() });
    }
    let ours = |labels: &BTreeMap<String, String>| match (&wanted.project, labels.get(label::PROJECT)) {
        (Some(project), Some(own)) => project == own,
        (None, own) => own.is_some(),
        _ => false,
    };
    let networks = net::list_some(places, &|name| wanted.networks.iter().any(|n| n == name))?
        .into_iter()
        .filter(|n| ours(&n.spec.labels) || wanted.networks.contains(&n.spec.name))
        .map(|n| NetworkState {
            id: n.id,
            name: n.spec.name,
            driver: if n.spec.driver.is_empty() { "bridge".to_owned() } else { n.spec.driver },
            labels: n.spec.labels,
        })
        .collect();
    let volumes = volume::list_some(places, &|name| wanted.volumes.iter().any(|v| v == name))?
        .into_iter()
        .filter(|v| ours(&v.spec.labels) || wanted.volumes.contains(&v.spec.name))
        .map(|v| VolumeState { name: v.spec.name, driver: v.spec.driver, labels: v.spec.labels })
        .collect();
    let mut images = BTreeMap::new();
    for query in wanted.images.iter().collect::<BTreeSet<_>>() {
        if let Some(found) = store.find(&query.reference, query.platform.as_deref())? {
            images.insert(query.reference.clone(), image(found));
        }
    }
    Ok(Observed { containers, networks, volumes, images })
}

fn image(found: super::image::Image) -> Image {
    Image {
        id: found.id,
        volumes: found.config.volumes,
        exposed: found.config.exposed,
        healthcheck: found.config.healthcheck.filter(|h| !h.test.is_empty()),
        tagged: found.tagged,
        labels: found.config.labels,
    }
}

/// Networks, read when somebody asks for one.
struct Networks<'a> {
    places: &'a Places,
    read: Option<Vec<NetworkRecord>>,
}

impl Networks<'_> {
    fn id(&mut self, name: &str) -> String {
        // One that can't be read has no id here; whoever needs the network hears why.
        let read = self.read.get_or_insert_with(|| net::list_some(self.places, &|_| false).unwrap_or_default());
        read.iter().find(|n| n.spec.name == name).map(|n| n.id.clone()).unwrap_or_default()
    }
}

fn container(seen: Seen, boot: &str, now: Timestamp, networks: &mut Networks<'_>) -> Container {
    let state = seen.standing(boot);
    let Seen { record, state: kept } = seen;
    let alive = matches!(state, State::Running | State::Paused);
    let health = kept.health.filter(|_| state == State::Running);
    let exit_code = if state == kept.state.unwrap_or(State::Created) { kept.exit_code } else { None };
    let run = Run { health, exit_code, started: kept.started, finished: kept.finished.or(kept.started) };
    let mut status = status::sentence(state, &run, now);
    if kept.oom_killed && matches!(state, State::Exited | State::Restarting) {
        status.push_str(" (out of memory)");
    }
    let spec = record.spec;
    let mut labels = spec.labels;
    if let ConfigHash::Known(hash) = spec.config_hash {
        labels.insert(label::CONFIG_HASH.to_owned(), hash);
    }
    let attachments = match spec.network_mode {
        NetworkMode::Networks if !alive => {
            let absent = |name: String, id: String| Attachment { network: name, network_id: id, ..Attachment::default() };
            spec.networks.into_iter().map(|e| (networks.id(&e.network), e.network)).map(|(id, name)| absent(name, id)).collect()
        }
        _ if alive => kept.networks,
        _ => Vec::new(),
    };
    Container {
        id: record.id,
        name: record.name,
        image: spec.image,
        image_id: record.image,
        command: command_line(&record.argv),
        created: record.created,
        state,
        health,
        exit_code: exit_code.filter(|_| matches!(state, State::Exited | State::Restarting | State::Dead)),
        status,
        labels,
        ports: if alive { ports(kept.ports, &spec.expose) } else { Vec::new() },
        mounts: record.mounts.into_iter().map(|m| m.point).collect(),
        networks: attachments,
        runtime: record.runtime.map(|r| r.path.display().to_string()).unwrap_or_default(),
    }
}

/// Published ports, and those that are only exposed.
fn ports(mut published: Vec<PublishedPort>, exposed: &[String]) -> Vec<PublishedPort> {
    for port in exposed {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let (first, last) = number.split_once('-').unwrap_or((number, number));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { continue };
        for target in first..=last {
            if !published.iter().any(|p| p.target == target && p.protocol == protocol) {
                published.push(PublishedPort { host_ip: String::new(), host_port: 0, target, protocol: protocol.to_owned() });
            }
        }
    }
    published
}

/// A command line as lists of containers show it: words with blanks are quoted.
fn command_line(argv: &[String]) -> String {
    let word = |w: &String| if w.contains(' ') { format!("'{w}'") } else { w.clone() };
    let (first, rest) = argv.split_first().map_or((String::new(), &[][..]), |(f, r)| (f.clone(), r));
    std::iter::once(first).chain(rest.iter().map(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{ContainerSpec, InstanceKey};

    fn seen(name: &str, project: &str, state: ContainerState) -> Seen {
        let (service, number) = name.rsplit_once('-').unwrap();
        let key = InstanceKey { service: service.into(), number: number.parse().unwrap() };
        let mut spec = ContainerSpec::new(name, key, "busybox", ConfigHash::Known("0".repeat(64)));
        for (key, value) in [(label::PROJECT, project), (label::SERVICE, service), (label::CONTAINER_NUMBER, number)] {
            spec.labels.insert(key.into(), value.into());
        }
        spec.expose = vec!["80/tcp".into(), "9000-9001/udp".into()];
        let record = ContainerRecord {
            id: format!("{project}{name:f<60}"),
            name: format!("{project}-{name}"),
            project: project.into(),
            spec,
            image: "sha256:1".into(),
            argv: ["sh", "-c", "exec sleep 9"].map(str::to_owned).to_vec(),
            healthcheck: None,
            runtime: None,
            mounts: Vec::new(),
            created: Timestamp(1),
        };
        Seen { record, state }
    }

    fn write(places: &Places, seen: &Seen) {
        let folder = places.container(&seen.record.id);
        fs::create_dir_all(&folder).unwrap();
        record::write(&folder.join("container.json"), &seen.record).unwrap();
        record::write(&folder.join("state.json"), &seen.state).unwrap();
    }

    #[test]
    fn containers_of_a_project_are_told_in_dockers_words() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { state: folder.path().join("state"), run: folder.path().join("run") };
        assert_eq!(containers(&places, Some("p"), false).unwrap().len(), 0);
        let now = Timestamp::from_parts(1000, 0);
        let time = |s| Some(Timestamp::from_parts(s, 0));
        let running = ContainerState {
            state: Some(State::Running),
            boot: boot(),
            started: time(880),
            ports: vec![PublishedPort { host_ip: "0.0.0.0".into(), host_port: 8080, target: 80, protocol: "tcp".into() }],
            ..ContainerState::default()
        };
        write(&places, &seen("web-10", "p", running.clone()));
        let exited = ContainerState { state: Some(State::Exited), exit_code: Some(3), finished: time(997), ..ContainerState::default() };
        write(&places, &seen("web-2", "p", exited));
        write(&places, &seen("db-1", "p", ContainerState { boot: "another".into(), ..running }));
        write(&places, &seen("web-1", "other", ContainerState::default()));
        // Half made: not there yet.
        fs::create_dir_all(places.container("half")).unwrap();
        let store = Store::open(&places).unwrap();
        let query = ObserveQuery { project: Some("p".into()), ..ObserveQuery::default() };
        let all = containers(&places, Some("p"), false).unwrap();
        let observed = observe(&places, &store, &query, all, now).unwrap().containers;
        let told: Vec<(&str, &str)> = observed.iter().map(|c| (c.name.as_str(), c.status.as_str())).collect();
        assert_eq!(told, [("p-db-1", "Exited (255) 2 minutes ago"), ("p-web-2", "Exited (3) 3 seconds ago"), ("p-web-10", "Up 2 minutes")]);
        let up = &observed[2];
        assert_eq!(up.command, "sh -c 'exec sleep 9'");
        assert_eq!(up.label(label::CONFIG_HASH), Some("0".repeat(64).as_str()));
        assert_eq!(up.ports.iter().map(|p| (p.target, p.host_port)).collect::<Vec<_>>(), [(80, 8080), (9000, 0), (9001, 0)]);
        assert_eq!(containers(&places, None, false).unwrap().len(), 4);
    }
}
