//! Creation, new names, files: what is done to a container without its process.
//!
//! The order of the steps is what makes a sudden end harmless. A container exists from the moment at which its
//! `container.json` is there, and until it is gone; its name is taken last and is only worth something as long as that
//! record says the same name. What is left of a container without a record is swept up when the next supervisor of the
//! project starts.

use super::super::record::{self, ContainerRecord, ContainerState, ResolvedMount, failed};
use super::super::{place, runtime, volume};
use super::container::{Container, Ticket, argv, healthcheck};
use super::log::LogOptions;
use super::turn::{Reply, Supervisor, changed};
use crate::world::{
    Applied, ConfigHash, ContainerSpec, EngineError, ErrorKind, EventKind, FileSpec, MountKind, MountPoint, NetworkMode, Target, VolumeSpec, bind,
    label, signal,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind as Io;
use std::path::Path;

/// Docker's mark of volumes that were made for one container.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// 64 random hex digits.
///
/// # Errors
/// No random numbers, which only happens early in a boot.
pub fn random_id() -> Result<String, EngineError> {
    let mut bytes = [0_u8; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(|e| failed("no random numbers are to be had", &e.into()))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

impl Supervisor {
    /// Creates a container.
    pub fn create(&mut self, mut spec: ContainerSpec) -> Result<Applied, EngineError> {
        self.go_on();
        let what = format!("container {} can't be created", spec.name);
        let refused = |why: String| Err(EngineError::new(ErrorKind::Refused, what.clone()).because(why));
        if !place::is_name(&spec.name) {
            return refused("its name may only have letters, digits, and _ . -, a letter or digit first".into());
        }
        self.check_name(&spec.name)?;
        let image = self.image(&spec.image, spec.platform.as_deref())?;
        if !spec.stop_signal.is_empty() && signal::number(&spec.stop_signal).is_none() {
            return refused(format!("there is no signal {}", spec.stop_signal));
        }
        if let Err(why) = LogOptions::of(spec.log.as_ref()) {
            return refused(why);
        }
        let mut networks = BTreeSet::new();
        for endpoint in &spec.networks {
            self.check_network(&endpoint.network)?;
            if !networks.insert(&endpoint.network) {
                return refused(format!("it joins network {} twice", endpoint.network));
            }
        }
        if matches!(spec.network_mode, NetworkMode::Container(_)) && !spec.ports.is_empty() {
            return refused("ports can't be published in another container's network".into());
        }
        let known = |name: &str| record::container_id(&self.places, name).ok();
        for other in self.shared_with(&spec).into_iter().chain(spec.volumes_from.iter().map(|f| f.split(':').next().unwrap_or(f))) {
            known(other).ok_or_else(|| EngineError::new(ErrorKind::NotFound, format!("there is no container {other}")))?;
        }
        bind(&mut spec, &known).map_err(|name| EngineError::new(ErrorKind::NotFound, format!("there is no container {name}")))?;
        if let ConfigHash::Known(hash) = &spec.config_hash {
            spec.labels.insert(label::CONFIG_HASH.into(), hash.clone());
        }
        let (runtime, news) = runtime::oci::find(&spec.runtime)?;
        let mut warnings = runtime::warnings(&spec)?;
        warnings.extend(news);
        if spec.network_mode == NetworkMode::Host && !spec.ports.is_empty() {
            warnings.push("published ports are discarded when using host network mode".into());
        }
        let id = random_id()?;
        // Whatever becomes of this process, what it made is found by its entry.
        let entry = self.places.members(&self.project);
        make_within(&entry).and_then(|()| std::fs::write(entry.join(&id), "")).map_err(|e| failed(&what, &e))?;
        let mut made = Vec::new();
        let mounts = self.mounts(&id, &spec, &image.config.volumes, &mut made).map_err(|e| EngineError { what: format!("{what}: {}", e.what), ..e });
        let created = mounts.and_then(|mounts| {
            let record = ContainerRecord {
                id: id.clone(),
                name: spec.name.clone(),
                project: self.project.clone(),
                argv: argv(&spec, &image.config),
                healthcheck: healthcheck(&spec, &image.config),
                spec,
                image: image.id.clone(),
                mounts,
                runtime,
                created: self.clock.now(),
            };
            self.write_new(&record).map(|()| record)
        });
        match created {
            Ok(record) => {
                self.containers.insert(id.clone(), Container::new(record, ContainerState::default()));
                self.tell(&id, EventKind::Created);
                Ok(Applied { id: Some(id), warnings, changed: true })
            }
            Err(error) => {
                self.sweep(&id);
                Err(error)
            }
        }
    }

    /// Writes a new container down and takes its name, in the order that the head of this file speaks of.
    fn write_new(&self, record: &ContainerRecord) -> Result<(), EngineError> {
        let cant = |e: std::io::Error| failed(&format!("container {} can't be created", record.name), &e);
        let folder = self.places.container(&record.id);
        make_within(&folder).map_err(cant)?;
        record::write(&folder.join("container.json"), record)?;
        self.take_name(&record.name, &record.id)
    }

    /// Takes a name for a container whose record has it already.
    fn take_name(&self, name: &str, id: &str) -> Result<(), EngineError> {
        let cant = |e: std::io::Error| failed(&format!("the name {name} can't be taken"), &e);
        let file = self.places.name(name);
        // No name begins like this one.
        let mine = file.with_file_name(format!(".{id}"));
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(cant)?;
        }
        std::fs::write(&mine, id).map_err(cant)?;
        let mut taken = Ok(());
        // A second try for a name that somebody had left behind.
        for _ in 0..2 {
            taken = std::fs::hard_link(&mine, &file);
            match &taken {
                Err(error) if error.kind() == Io::AlreadyExists => self.check_name(name)?,
                _ => break,
            }
        }
        let _ = std::fs::remove_file(&mine);
        taken.map_err(cant)
    }

    /// Fails if a container has this name. A name that is left over from one that is gone is freed.
    fn check_name(&self, name: &str) -> Result<(), EngineError> {
        let file = self.places.name(name);
        let Ok(id) = std::fs::read_to_string(&file) else { return Ok(()) };
        let holder: Option<ContainerRecord> = record::read(&self.places.container(&id).join("container.json"))?;
        if holder.is_some_and(|h| h.name == name) {
            return Err(EngineError::new(ErrorKind::Conflict, format!("the name {name} is already in use by container {id}")));
        }
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != Io::NotFound => Err(failed(&format!("the name {name} can't be freed"), &error)),
            _ => Ok(()),
        }
    }

    /// Fails if there is no such network.
    pub fn check_network(&self, name: &str) -> Result<(), EngineError> {
        let here = place::is_name(name) && self.places.networks().join(format!("{name}.json")).exists();
        if here { Ok(()) } else { Err(EngineError::new(ErrorKind::NotFound, format!("there is no network {name}"))) }
    }

    /// Containers whose namespaces a spec shares, by name or id.
    pub fn shared_with<'s>(&self, spec: &'s ContainerSpec) -> Vec<&'s str> {
        let network = if let NetworkMode::Container(name) = &spec.network_mode { Some(name.as_str()) } else { None };
        let others = [&spec.security.pid, &spec.security.ipc].into_iter().filter_map(|n| n.strip_prefix("container:"));
        network.into_iter().chain(others).collect()
    }

    /// What is mounted in a new container. Volumes that it brings into being are named in `made`.
    fn mounts(&mut self, id: &str, spec: &ContainerSpec, declared: &[String], made: &mut Vec<String>) -> Result<Vec<ResolvedMount>, EngineError> {
        let mut mounts: Vec<ResolvedMount> = Vec::new();
        for from in &spec.volumes_from {
            let (name, mode) = from.split_once(':').unwrap_or((from, ""));
            let id = record::container_id(&self.places, name)?;
            let source: Option<ContainerRecord> = record::read(&self.places.container(&id).join("container.json"))?;
            for taken in source.map(|s| s.mounts).unwrap_or_default() {
                let point = MountPoint { read_only: taken.point.read_only || mode.split(',').any(|m| m == "ro"), ..taken.point };
                put(&mut mounts, ResolvedMount { point, anonymous: false, ..taken });
            }
        }
        for mount in &spec.mounts {
            let at = |kind: &str| MountPoint { kind: kind.into(), target: mount.target.clone(), read_only: mount.read_only, ..MountPoint::default() };
            let resolved = match &mount.kind {
                MountKind::Bind { source, create_host_path, .. } => {
                    if !create_host_path && !Path::new(source).exists() {
                        return Err(EngineError::new(ErrorKind::Refused, format!("bind source path does not exist: {source}")));
                    }
                    ResolvedMount { point: MountPoint { source: source.clone(), ..at("bind") }, kind: mount.kind.clone(), anonymous: false }
                }
                MountKind::Volume { name, nocopy, subpath, labels, inherited } => {
                    let (name, anonymous) = match name {
                        Some(name) => {
                            let found = volume::create(&self.places, &VolumeSpec { name: name.clone(), ..VolumeSpec::default() }, false)?;
                            (name.clone(), *inherited && found.anonymous)
                        }
                        None => (self.anonymous_volume(id, spec, labels, made)?, true),
                    };
                    let kind = MountKind::Volume {
                        name: Some(name.clone()),
                        nocopy: *nocopy,
                        subpath: subpath.clone(),
                        labels: labels.clone(),
                        inherited: *inherited,
                    };
                    ResolvedMount { point: self.volume_point(&name, at("volume")), kind, anonymous }
                }
                MountKind::Tmpfs { .. } => ResolvedMount { point: at("tmpfs"), kind: mount.kind.clone(), anonymous: false },
                MountKind::Image { reference, .. } => {
                    self.image(reference, None)?;
                    ResolvedMount { point: MountPoint { source: reference.clone(), ..at("image") }, kind: mount.kind.clone(), anonymous: false }
                }
                MountKind::Npipe { .. } => return Err(EngineError::new(ErrorKind::Unsupported, "named pipes of Windows can't be mounted here")),
                MountKind::Cluster { .. } => return Err(EngineError::new(ErrorKind::Unsupported, "there are no cluster volumes here")),
            };
            put(&mut mounts, resolved);
        }
        for path in declared {
            let covered = mounts.iter().any(|m| m.point.target == *path) || spec.tmpfs.contains_key(path);
            if !covered {
                let name = self.anonymous_volume(id, spec, &BTreeMap::new(), made)?;
                let kind =
                    MountKind::Volume { name: Some(name.clone()), nocopy: false, subpath: String::new(), labels: BTreeMap::new(), inherited: false };
                let point = MountPoint { kind: "volume".into(), target: path.clone(), ..MountPoint::default() };
                mounts.push(ResolvedMount { point: self.volume_point(&name, point), kind, anonymous: true });
            }
        }
        // What is mounted inside of another mount comes after it.
        mounts.sort_by_key(|m| m.point.target.split('/').filter(|p| !p.is_empty()).count());
        Ok(mounts)
    }

    fn volume_point(&self, name: &str, point: MountPoint) -> MountPoint {
        MountPoint {
            name: name.to_owned(),
            source: volume::content(&self.places, name).to_string_lossy().into_owned(),
            driver: "local".into(),
            ..point
        }
    }

    fn anonymous_volume(
        &self,
        id: &str,
        spec: &ContainerSpec,
        labels: &BTreeMap<String, String>,
        made: &mut Vec<String>,
    ) -> Result<String, EngineError> {
        let name = random_id()?;
        let mut labels = labels.clone();
        labels.insert(ANONYMOUS.into(), String::new());
        made.push(name.clone());
        self.volumes_go_along(id, made)?;
        volume::create(&self.places, &VolumeSpec { name: name.clone(), driver: spec.volume_driver.clone(), labels, ..VolumeSpec::default() }, true)?;
        Ok(name)
    }

    /// Writes into a container's entry which anonymous volumes go when it does: when it is swept up.
    ///
    /// # Errors
    /// It can't be written.
    pub fn volumes_go_along(&self, id: &str, names: &[String]) -> Result<(), EngineError> {
        let entry = self.places.members(&self.project).join(id);
        std::fs::write(&entry, names.join("\n")).map_err(|e| failed(&format!("{} can't be written", entry.display()), &e))
    }

    /// Frees the name of a container.
    pub fn free_name(&self, name: &str, id: &str) {
        let file = self.places.name(name);
        if std::fs::read_to_string(&file).is_ok_and(|holder| holder == id) {
            let _ = std::fs::remove_file(&file);
        }
    }

    /// Makes sure that a container that was found has its name: whoever created it may have been killed before that.
    ///
    /// # Errors
    /// Another one has it.
    pub fn claim_name(&self, name: &str, id: &str) -> Result<(), EngineError> {
        if std::fs::read_to_string(self.places.name(name)).is_ok_and(|holder| holder == id) { Ok(()) } else { self.take_name(name, id) }
    }

    /// Gives a container another name.
    pub fn rename(&mut self, target: &Target, to: &str) -> Result<Applied, EngineError> {
        let id = self.id_of(target)?;
        let Some(from) = self.containers.get(&id).map(|c| c.record.name.clone()) else { return Ok(changed(false)) };
        if from == to {
            return Ok(changed(false));
        }
        if !place::is_name(to) {
            let error = EngineError::new(ErrorKind::Refused, format!("container {from} can't be called `{to}`"));
            return Err(error.because("a name may only have letters, digits, and _ . -, a letter or digit first"));
        }
        self.check_name(to)?;
        self.take_name(to, &id)?;
        if let Some(container) = self.containers.get_mut(&id) {
            to.clone_into(&mut container.record.name);
        }
        if let Err(error) = self.save_record(&id) {
            if let Some(container) = self.containers.get_mut(&id) {
                container.record.name = from;
            }
            self.free_name(to, &id);
            return Err(error);
        }
        self.free_name(&from, &id);
        // It has its name even where others can't be told of it.
        let untold = self.net.as_mut().and_then(|(net, _)| net.rename(&id, to).err());
        self.tell(&id, EventKind::Renamed { from });
        Ok(Applied { warnings: untold.iter().map(ToString::to_string).collect(), ..changed(true) })
    }

    /// Keeps files for the next start, which writes them into the container.
    pub fn write_files(&mut self, ticket: Ticket, target: &Target, files: &[FileSpec]) -> Reply {
        let _ = ticket;
        let id = self.id_of(target)?;
        let cant =
            |why: String| Err(EngineError::new(ErrorKind::Refused, format!("files can't be written into container {}", target.name)).because(why));
        if let Some(file) = files.iter().find(|f| !f.path.starts_with('/')) {
            return cant(format!("{} is not absolute", file.path));
        }
        let mut all = self.files(&id)?;
        if self.containers.get(&id).is_some_and(|c| c.run.is_some()) {
            // Its restart policy may have been faster than whoever was about to start it: it has them, then.
            return if files.iter().all(|f| all.contains(f)) { Ok(Some(changed(false))) } else { cant("it runs".into()) };
        }
        for file in files {
            all.retain(|f| f.path != file.path);
            all.push(file.clone());
        }
        let folder = self.places.run_of(&id);
        std::fs::create_dir_all(&folder).map_err(|e| failed(&format!("files can't be kept for container {}", target.name), &e))?;
        // Below a folder that is closed to others.
        record::write(&folder.join("files.json"), &all)?;
        Ok(Some(changed(!files.is_empty())))
    }

    /// Files that are written into a container at its start.
    pub fn files(&self, id: &str) -> Result<Vec<FileSpec>, EngineError> {
        Ok(record::read(&self.places.run_of(id).join("files.json"))?.unwrap_or_default())
    }
}

/// Makes a folder, and the one that it is in: then one that spreads what is made in it over the disk.
///
/// # Errors
/// As mkdir(2).
pub fn make_within(folder: &Path) -> std::io::Result<()> {
    if let Some(parent) = folder.parent().filter(|p| !p.exists()) {
        std::fs::create_dir_all(parent)?;
        runtime::spread(parent);
    }
    std::fs::create_dir_all(folder)
}

/// Adds a mount in place of one with the same target.
fn put(mounts: &mut Vec<ResolvedMount>, mount: ResolvedMount) {
    mounts.retain(|m| m.point.target != mount.point.target);
    mounts.push(mount);
}
