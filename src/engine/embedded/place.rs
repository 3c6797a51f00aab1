//! Where everything lies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The folders of the engine. Names of containers, volumes and networks are checked before they become names of files:
/// see [`is_name`].
///
/// ```text
/// STATE  /var/lib/consort                          survives a reboot
///   images/                                        see `image`
///   containers/ID/container.json                   ContainerRecord: what was asked for; one writer, the supervisor
///   containers/ID/state.json                       ContainerState: how it is; one writer, the supervisor
///   containers/ID/log/                             see `supervisor::log`
///   upper/ID/{upper,work}                          the container's own layer (flat, chattr +T: see runtime::rootfs)
///   projects/PROJECT/ID                            a file for each container of a project: see [`Places::members`]
///   names/NAME                                     a file with the id: the name is taken (made with O_EXCL)
///   volumes/NAME/{volume.json,_data/}              VolumeRecord, content
///   networks/NAME.json                             NetworkRecord
/// RUN    /run/consort                              gone after a reboot
///   projects/PROJECT/{lock,socket}                 flock of the living supervisor; where it listens
///   containers/ID/{hosts,hostname,resolv.conf}     bind mounted into the container
///   containers/ID/{stdout,stderr}                  FIFOs, open read-write on both sides
///   containers/ID/files/                           what `WriteFiles` brought, until the next start writes it
///   networks/NETWORK-ID/CONTAINER-ID.json          a lease: addresses and names on the network
///   leaving/BRIDGE                                 an empty file for each bridge that is to be removed
///   events                                         one JSON line per EngineEvent, appended
///   listeners/PID-N                                where those who follow the events are woken
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// What survives a reboot.
    pub state: PathBuf,
    /// What doesn't.
    pub run: PathBuf,
}

impl Places {
    /// `CONSORT_STATE_DIR` and `CONSORT_RUN_DIR`, else `/var/lib/consort` and `/run/consort`.
    pub fn of(environment: &BTreeMap<String, String>) -> Self {
        let folder = |name: &str, default: &str| PathBuf::from(environment.get(name).filter(|v| !v.is_empty()).map_or(default, String::as_str));
        Self { state: folder("CONSORT_STATE_DIR", "/var/lib/consort"), run: folder("CONSORT_RUN_DIR", "/run/consort") }
    }

    /// Root of the image store.
    pub fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    /// Folders of all containers, by id.
    pub fn containers(&self) -> PathBuf {
        self.state.join("containers")
    }

    /// Containers of a project, by id: an entry is made before the container is, and removed after it. One without a
    /// `container.json` doesn't exist. Its lines are the anonymous volumes that go with what is left of it.
    pub fn members(&self, project: &str) -> PathBuf {
        self.state.join("projects").join(if project.is_empty() { "@none" } else { project })
    }

    /// Folder of a container.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// Folder of a container's own layer.
    pub fn upper(&self, id: &str) -> PathBuf {
        self.state.join("upper").join(id)
    }

    /// The file that says which id has this name.
    pub fn name(&self, name: &str) -> PathBuf {
        self.state.join("names").join(name)
    }

    /// Folders of all volumes, by name.
    pub fn volumes(&self) -> PathBuf {
        self.state.join("volumes")
    }

    /// Records of all networks.
    pub fn networks(&self) -> PathBuf {
        self.state.join("networks")
    }

    /// Folder of a project's supervisor. Containers without a project share one of their own.
    pub fn project(&self, project: &str) -> PathBuf {
        self.run.join("projects").join(if project.is_empty() { "@none" } else { project })
    }

    /// Runtime files of a container.
    pub fn run_of(&self, id: &str) -> PathBuf {
        self.run.join("containers").join(id)
    }

    /// Leases of a network.
    pub fn leases(&self, network_id: &str) -> PathBuf {
        self.run.join("networks").join(network_id)
    }

    /// The file of events.
    pub fn events(&self) -> PathBuf {
        self.run.join("events")
    }
}

/// Whether a text can be the name of a container, volume or network, as Docker has it: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
pub fn is_name(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Writes a file so that a reader sees the old content or the new one, never a part: a file beside it, then a rename.
///
/// # Errors
/// As those two.
pub fn replace(file: &Path, content: &[u8]) -> std::io::Result<()> {
    put(file, |beside| std::fs::write(beside, content))
}

/// As [`replace`]; the new content is on the disk before it is seen, so that no power cut leaves an empty file.
///
/// # Errors
/// As [`replace`].
pub fn replace_durably(file: &Path, content: &[u8]) -> std::io::Result<()> {
    put(file, |beside| {
        use std::io::Write as _;
        let mut open = std::fs::File::create(beside)?;
        open.write_all(content)?;
        open.sync_data()
    })
}

fn put(file: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut beside = file.as_os_str().to_owned();
    // Threads of one process write the same file too.
    beside.push(format!(".{}-{}.new", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let replaced = write(Path::new(&beside)).and_then(|()| std::fs::rename(&beside, file));
    if replaced.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    replaced
}
