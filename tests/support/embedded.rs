//! Folders of one's own for the embedded engine, and what is left on the machine when they are given back.

use consort::engine::embedded::record::ContainerState;

use super::{all_environment, engines_required, environment, say};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Folders that nobody else has. Not in memory, where overlays can't have their upper layer.
pub struct Home {
    folder: Option<tempfile::TempDir>,
    state: PathBuf,
    run: PathBuf,
}

impl Home {
    /// None where the engine can't run: not root, or no registry with images. That is told, and is a failure where engines
    /// are required.
    pub fn new(what: &str) -> Option<Self> {
        let missing = if !rustix::process::geteuid().is_root() {
            Some("it needs root")
        } else if environment("CONSORT_TEST_REGISTRY").is_none() {
            Some("CONSORT_TEST_REGISTRY doesn't say where images are")
        } else {
            None
        };
        if let Some(why) = missing {
            assert!(!engines_required(), "the embedded engine is required, but {why}");
            say(&format!("{what}: embedded skipped: {why}"));
            return None;
        }
        Some(Self::make())
    }

    /// The same without a need for images. None without root.
    pub fn bare(what: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(!engines_required(), "the embedded engine is required, but it needs root");
            say(&format!("{what}: embedded skipped: it needs root"));
            return None;
        }
        Some(Self::make())
    }

    fn make() -> Self {
        let folder = tempfile::Builder::new().prefix("consort-test-").tempdir_in("/var/tmp").unwrap();
        let (state, run) = (folder.path().join("state"), folder.path().join("run"));
        Self { folder: Some(folder), state, run }
    }

    /// What survives a reboot.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// What doesn't.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The variables that lead there.
    pub fn variables(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let registry = environment("CONSORT_TEST_REGISTRY").unwrap_or_default();
        vec![
            ("CONSORT_ENGINE".into(), "embedded".into()),
            ("CONSORT_STATE_DIR".into(), text(&self.state)),
            ("CONSORT_RUN_DIR".into(), text(&self.run)),
            ("CONSORT_REGISTRY_MIRRORS".into(), format!("http://{registry}")),
        ]
    }

    /// The whole environment.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut all = all_environment();
        all.extend(self.variables());
        all
    }

    /// Processes that were started from these folders: supervisors, by their arguments.
    pub fn supervisors(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok());
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: BTreeSet<&[u8]> = line.split(|b| *b == 0).collect();
            if words.contains(&b"@consort"[..]) && words.contains(self.state.as_os_str().as_encoded_bytes()) {
                found.extend(pid);
            }
        }
        found
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What a failed test left alive must not outlive it.
        for pid in self.supervisors() {
            if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap_or(0)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        for entry in std::fs::read_dir(self.state.join("containers")).into_iter().flatten().flatten() {
            let text = std::fs::read(entry.path().join("state.json")).unwrap_or_default();
            let pid = serde_json::from_slice::<ContainerState>(&text).ok().and_then(|s| rustix::process::Pid::from_raw(s.pid));
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        // Bridges and rules of a network go when nobody remembers it.
        let _ = std::fs::remove_dir_all(self.state.join("networks"));
        let _ = consort::engine::embedded::net::sweep(&consort::engine::embedded::Places { state: self.state.clone(), run: self.run.clone() });
        if let Some(folder) = self.folder.take()
            && environment("CONSORT_TEST_KEEP").is_some()
        {
            say(&format!("kept: {}", folder.keep().display()));
        }
    }
}

/// Memory mounted on a folder, until this is dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    /// With options of tmpfs.
    pub fn memory(folder: &Path, options: &str) -> Self {
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount("tmpfs", folder, "tmpfs", rustix::mount::MountFlags::empty(), options.as_c_str()).unwrap();
        Self(folder.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}
