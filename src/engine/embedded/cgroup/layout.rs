//! Which hierarchies this machine has, and where.

use std::io::{self, ErrorKind as Io};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A hierarchy of cgroup v1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// What it controls: `memory`; `cpu` and `cpuacct`; `name=systemd`.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub folder: PathBuf,
}

/// The hierarchies of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Those of v1.
    pub v1: Vec<Hierarchy>,
    /// Where v2 is mounted. It has controllers only where v1 has none.
    pub unified: Option<PathBuf>,
}

/// That of this machine, found out once.
pub fn layout() -> &'static Layout {
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    LAYOUT.get_or_init(|| Layout::of(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()))
}

impl Layout {
    /// From the text of `/proc/self/mountinfo` (proc(5)).
    pub fn of(mounts: &str) -> Self {
        let mut layout = Self::default();
        for line in mounts.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(folder) = before.split(' ').nth(4) else { continue };
            let mut words = after.split(' ');
            let (kind, options) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
            match kind {
                "cgroup2" if layout.unified.is_none() => layout.unified = Some(PathBuf::from(folder)),
                "cgroup" => {
                    let known = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio", "hugetlb"];
                    let more = ["perf_event", "rdma", "misc", "name=systemd"];
                    let controllers: Vec<String> = options.split(',').filter(|o| known.contains(o) || more.contains(o)).map(str::to_owned).collect();
                    if !controllers.is_empty() && !layout.v1.iter().any(|h| h.controllers == controllers) {
                        layout.v1.push(Hierarchy { controllers, folder: PathBuf::from(folder) });
                    }
                }
                _ => {}
            }
        }
        layout
    }

    /// Folder of the v1 hierarchy with this controller.
    pub fn of_controller(&self, controller: &str) -> Option<&Path> {
        self.v1.iter().find(|h| h.controllers.iter().any(|c| c == controller)).map(|h| h.folder.as_path())
    }

    /// Whether limits are those of v2.
    pub fn unified_has_controllers(&self) -> bool {
        self.unified.is_some() && self.v1.iter().all(|h| h.controllers.iter().all(|c| c.starts_with("name=")))
    }

    /// A folder in the unified hierarchy.
    pub(super) fn unified_folder(&self, path: &str) -> PathBuf {
        self.unified.as_deref().unwrap_or(Path::new("/sys/fs/cgroup")).join(path)
    }

    /// Every hierarchy, and whether it is that of v2.
    pub(super) fn roots(&self) -> impl Iterator<Item = (&Path, bool)> {
        self.v1.iter().map(|h| (h.folder.as_path(), false)).chain(self.unified.as_deref().map(|u| (u, true)))
    }

    /// Makes the groups above `path`, so that what is made in them can be limited.
    pub(super) fn make_parents(&self, root: &Path, unified: bool, path: &str) -> io::Result<()> {
        let mut folder = root.to_owned();
        let parents = Path::new(path).parent().unwrap_or(Path::new(""));
        if unified {
            hand_on(&folder);
        }
        for name in parents {
            let above = folder.clone();
            folder.push(name);
            match std::fs::create_dir(&folder) {
                Ok(()) => {
                    // Without processors and memory nobody can live in a group of `cpuset`; it is born with none.
                    for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|_| !unified) {
                        if let Ok(content) = std::fs::read(above.join(file)) {
                            std::fs::write(folder.join(file), content)?;
                        }
                    }
                    if !unified && folder.join("cpuset.cpus").exists() {
                        std::fs::write(folder.join("cgroup.clone_children"), "1")?;
                    }
                }
                Err(error) if error.kind() == Io::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            if unified {
                hand_on(&folder);
            }
        }
        Ok(())
    }
}

/// Lets the groups in a group of v2 be limited. One by one: what the kernel lacks must not keep the others away.
fn hand_on(folder: &Path) {
    let available = std::fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace().filter(|c| ["cpu", "cpuset", "io", "memory", "pids"].contains(c)) {
        let _ = std::fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid() {
        let layout = Layout::of(
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(layout.of_controller("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(layout.of_controller("name=systemd"), Some(Path::new("/sys/fs/cgroup/systemd")));
        assert_eq!(layout.unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert!(!layout.unified_has_controllers());
        assert_eq!(layout.roots().count(), 4);
    }

    #[test]
    fn unified() {
        let layout = Layout::of("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n");
        assert!(layout.unified_has_controllers() && layout.v1.is_empty());
        assert!(!Layout::of("nonsense\n\n1 2 - \n").unified_has_controllers());
    }
}
