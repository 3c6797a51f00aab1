//! Volumes: folders with a name.
//!
//! A volume is made whole beside its place and then renamed into it, and renamed away before it is emptied: whoever is
//! killed in the middle leaves a folder whose name no volume can have, which [`sweep`] removes.

use super::place::{is_name, replace};
use super::record::{self, ContainerRecord, VolumeRecord, failed};
use super::{Places, now};
use crate::world::{EngineError, ErrorKind, VolumeSpec};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Options of the driver `local`, as mount(8) knows them.
const OPTIONS: [&str; 3] = ["type", "o", "device"];

/// Makes a volume; the one that is there is left as it is.
///
/// # Errors
/// A driver or an option that can't be honoured; no room.
pub fn create(places: &Places, spec: &VolumeSpec, anonymous: bool) -> Result<VolumeRecord, EngineError> {
    check(spec)?;
    if let Some(found) = find(places, &spec.name)? {
        return Ok(found);
    }
    let mut spec = spec.clone();
    if spec.driver.is_empty() {
        "local".clone_into(&mut spec.driver);
    }
    let record = VolumeRecord { spec, created: now(), anonymous };
    let name = &record.spec.name;
    let place = places.volumes().join(name);
    let beside = places.volumes().join(format!(".{name}.{}.new", std::process::id()));
    let make = || -> std::io::Result<Vec<u8>> {
        fs::create_dir_all(places.volumes())?;
        if beside.exists() {
            fs::remove_dir_all(&beside)?;
        }
        fs::create_dir_all(beside.join("_data"))?;
        // Who may look is for the volume's own folder to say; that of all volumes is closed.
        fs::set_permissions(beside.join("_data"), fs::Permissions::from_mode(0o755))?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o711))?;
        let text = serde_json::to_vec(&record)?;
        replace(&beside.join("volume.json"), &text)?;
        Ok(text)
    };
    let cant = |error: &std::io::Error| failed(&format!("volume {name} can't be made"), error);
    let text = make().map_err(|e| {
        let _ = fs::remove_dir_all(&beside);
        cant(&e)
    })?;
    match fs::rename(&beside, &place) {
        Ok(()) => Ok(record),
        Err(error) => {
            let _ = fs::remove_dir_all(&beside);
            // Somebody was quicker.
            if let Some(found) = find(places, name)? {
                return Ok(found);
            }
            // Somebody has removed the record alone: what is in it is kept.
            if !place.join("_data").is_dir() {
                return Err(cant(&error));
            }
            replace(&place.join("volume.json"), &text).map_err(|e| cant(&e))?;
            Ok(record)
        }
    }
}

/// Whether this engine can make it.
fn check(spec: &VolumeSpec) -> Result<(), EngineError> {
    let name = &spec.name;
    if !is_name(name) {
        return Err(EngineError::new(ErrorKind::Refused, format!("a volume can't be called `{name}`"))
            .because("names are letters, digits, `_`, `.` and `-`, a letter or digit first"));
    }
    if !matches!(spec.driver.as_str(), "" | "local") {
        return Err(EngineError::new(ErrorKind::Unsupported, format!("volume {name} wants driver `{}`", spec.driver))
            .because("the embedded engine knows `local` alone, with `type`, `o` and `device`"));
    }
    if let Some(option) = spec.driver_options.keys().find(|o| !OPTIONS.contains(&o.as_str())) {
        return Err(EngineError::new(ErrorKind::Refused, format!("volume {name} has option `{option}`, which driver `local` doesn't know"))
            .because("it knows `type`, `o` and `device`"));
    }
    let given = |option: &str| spec.driver_options.get(option).is_some_and(|v| !v.is_empty());
    if !spec.driver_options.is_empty()
        && let Some(missing) = ["type", "device"].into_iter().find(|o| !given(o))
    {
        return Err(EngineError::new(ErrorKind::Refused, format!("volume {name} has options of driver `local`, but no `{missing}`"))
            .because("what is mounted needs both `type` and `device`"));
    }
    Ok(())
}

/// The volume called `name`.
///
/// # Errors
/// A record that can't be read.
pub fn find(places: &Places, name: &str) -> Result<Option<VolumeRecord>, EngineError> {
    if is_name(name) { record::read(&places.volumes().join(name).join("volume.json")) } else { Ok(None) }
}

/// Removes a volume and what is in it. False if there is none.
///
/// # Errors
/// [`ErrorKind::Conflict`] while a container has it mounted, running or not.
pub fn remove(places: &Places, name: &str) -> Result<bool, EngineError> {
    let Some(gone) = set_aside(places, name)? else { return Ok(false) };
    fs::remove_dir_all(&gone).map_err(|e| failed(&format!("volume {name} can't be removed"), &e))?;
    Ok(true)
}

/// Takes a volume away from where it is found, for somebody to remove the folder that is returned. None if there is none.
///
/// # Errors
/// As [`remove`].
pub fn set_aside(places: &Places, name: &str) -> Result<Option<PathBuf>, EngineError> {
    if !is_name(name) {
        return Ok(None);
    }
    let place = places.volumes().join(name);
    if !place.join("volume.json").exists() {
        return Ok(None);
    }
    in_use(places, name)?;
    let gone = places.volumes().join(format!(".{name}.{}.gone", std::process::id()));
    let cant = |error: &std::io::Error| failed(&format!("volume {name} can't be removed"), error);
    match fs::rename(&place, &gone) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cant(&error)),
    }
    // A container may have been made since: it wins.
    if let Err(conflict) = in_use(places, name) {
        fs::rename(&gone, &place).map_err(|e| cant(&e))?;
        return Err(conflict);
    }
    Ok(Some(gone))
}

/// Folders of a volume that was [`set_aside`], by whomever, and that are not removed yet.
pub fn set_aside_before(places: &Places, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(places.volumes()).into_iter().flatten().flatten().map(|e| e.path());
    let is_gone = |path: &PathBuf| {
        let rest = path.file_name().and_then(|n| n.to_str()?.strip_prefix('.')?.strip_prefix(name)?.strip_prefix('.'));
        rest.is_some_and(|rest| rest.ends_with(".gone"))
    };
    entries.filter(is_gone).collect()
}

fn in_use(places: &Places, name: &str) -> Result<(), EngineError> {
    let users = users(places, name)?;
    if users.is_empty() {
        return Ok(());
    }
    let what = if users.len() == 1 { "container" } else { "containers" };
    Err(EngineError::new(ErrorKind::Conflict, format!("volume {name} is in use by {what} {}", users.join(", "))))
}

/// Names of the containers that have a volume mounted, running or not.
///
/// # Errors
/// Records that can't be read.
pub fn users(places: &Places, name: &str) -> Result<Vec<String>, EngineError> {
    let mut users = Vec::new();
    for file in container_records(places) {
        // Most containers have nothing to do with it; that is seen without taking the record apart.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        if !text.contains(name) {
            continue;
        }
        let container: ContainerRecord = serde_json::from_str(&text)
            .map_err(|e| EngineError::new(ErrorKind::Protocol, format!("{} can't be understood", file.display())).because(e.to_string()))?;
        if container.mounts.iter().any(|m| m.point.kind == "volume" && m.point.name == name) {
            users.push(container.name);
        }
    }
    users.sort();
    Ok(users)
}

fn container_records(places: &Places) -> Vec<PathBuf> {
    fs::read_dir(places.containers()).into_iter().flatten().flatten().map(|e| e.path().join("container.json")).collect()
}

/// All volumes, by name.
///
/// # Errors
/// A record that can't be read.
pub fn list(places: &Places) -> Result<Vec<VolumeRecord>, EngineError> {
    list_some(places, &|_| true)
}

/// As [`list`], without those whose record can't be understood and that `needed` says no to by name.
///
/// # Errors
/// A record that is needed can't be read.
pub fn list_some(places: &Places, needed: &dyn Fn(&str) -> bool) -> Result<Vec<VolumeRecord>, EngineError> {
    let mut all = Vec::new();
    for entry in fs::read_dir(places.volumes()).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().filter(|n| is_name(n)).map(str::to_owned) else { continue };
        match record::read::<VolumeRecord>(&entry.path().join("volume.json")) {
            Err(error) if error.kind == ErrorKind::Protocol && !needed(&name) => {}
            read => all.extend(read?),
        }
    }
    all.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    Ok(all)
}

/// Removes what was left by commands that were killed while they made or removed a volume. With the number of bytes that
/// are free now. Those of commands that go on are left alone.
pub fn sweep(places: &Places) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(places.volumes()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().filter(|n| n.starts_with('.')).and_then(|n| n.rsplit('.').nth(1)).and_then(|p| p.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            bytes += size(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    bytes
}

/// Folder of a volume's content.
pub fn content(places: &Places, name: &str) -> PathBuf {
    places.volumes().join(name).join("_data")
}

/// Bytes on the disk of a folder and everything in it. Other file systems and what can't be looked at don't count.
pub fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(top) = fs::symlink_metadata(folder) else { return 0 };
    let (mut bytes, mut left, mut linked) = (0, vec![folder.to_owned()], std::collections::BTreeSet::new());
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.dev() != top.dev() || (meta.nlink() > 1 && !meta.is_dir() && !linked.insert(meta.ino())) {
                continue;
            }
            bytes += meta.blocks() * 512;
            if meta.is_dir() {
                left.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn lab() -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { state: folder.path().join("state"), run: folder.path().join("run") };
        (folder, places)
    }

    fn spec(name: &str) -> VolumeSpec {
        VolumeSpec { name: name.into(), ..VolumeSpec::default() }
    }

    #[test]
    fn a_volume_is_made_once_and_keeps_its_content() {
        let (_folder, places) = lab();
        let first = create(&places, &spec("data"), false).unwrap();
        assert_eq!(first.spec.driver, "local");
        fs::write(content(&places, "data").join("file"), "kept").unwrap();
        assert_eq!(create(&places, &spec("data"), true).unwrap(), first);
        assert_eq!(fs::read_to_string(content(&places, "data").join("file")).unwrap(), "kept");
        assert_eq!(list(&places).unwrap(), [first]);
        assert!(remove(&places, "data").unwrap());
        assert!(!remove(&places, "data").unwrap());
        assert_eq!(list(&places).unwrap(), []);
        assert_eq!(fs::read_dir(places.volumes()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_had_is_refused_in_words() {
        let (_folder, places) = lab();
        let refused = |spec: &VolumeSpec| create(&places, spec, false).unwrap_err().to_string();
        assert!(refused(&spec("../escape")).contains("can't be called"));
        assert!(refused(&VolumeSpec { driver: "nfs-plugin".into(), ..spec("a") }).contains("`nfs-plugin`"));
        let options = |pairs: &[(&str, &str)]| VolumeSpec {
            driver_options: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
            ..spec("a")
        };
        assert!(refused(&options(&[("size", "1g")])).contains("`size`"));
        assert!(refused(&options(&[("type", "none"), ("o", "bind")])).contains("no `device`"));
        assert!(create(&places, &options(&[("type", "none"), ("o", "bind"), ("device", "/srv")]), false).is_ok());
        assert!(!remove(&places, "../state").unwrap());
    }

    #[test]
    fn leavings_of_the_dead_are_swept_and_those_of_the_living_are_not() {
        let (_folder, places) = lab();
        let own = places.volumes().join(format!(".a.{}.gone", std::process::id()));
        // No process has this number: it is above what the kernel gives.
        let dead = places.volumes().join(".b.4194305.new");
        for folder in [&own, &dead] {
            fs::create_dir_all(folder.join("_data")).unwrap();
            fs::write(folder.join("_data/file"), "x").unwrap();
        }
        assert!(sweep(&places) > 0);
        assert!(own.exists() && !dead.exists());
        assert_eq!(list(&places).unwrap(), []);
    }
}
