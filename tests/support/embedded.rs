//! Folders of one's own for the embedded engine, and what is left on the machine when they are given back.

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
        let folder = tempfile::Builder::new().prefix("consort-test-").tempdir_in("/var/tmp").unwrap();
        let (state, run) = (folder.path().join("state"), folder.path().join("run"));
        Some(Self { folder: Some(folder), state, run })
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
        if let Some(folder) = self.folder.take()
            && environment("CONSORT_TEST_KEEP").is_some()
        {
            say(&format!("kept: {}", folder.keep().display()));
        }
    }
}
