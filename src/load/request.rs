//! What is asked of a load, and what comes back.

use super::Provenance;
use super::interpolate::Variable;
use super::trace::Trace;
use crate::diag::{Diagnostic, SourceMap};
use crate::model::Project;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What to load. Nothing else is looked at: the process environment and the working directory come in as values.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Files as given by `-f`, `-` for standard input. Empty: `COMPOSE_FILE`, else discovery.
    pub files: Vec<String>,
    /// `--project-directory`.
    pub project_directory: Option<PathBuf>,
    /// `--project-name`; an empty one counts as not given.
    pub project_name: Option<String>,
    /// `--profile`; empty: `COMPOSE_PROFILES`.
    pub profiles: Vec<String>,
    /// `--env-file`; empty: `COMPOSE_ENV_FILES`, else `.env` of the project directory.
    pub env_files: Vec<String>,
    /// The process environment.
    pub environment: BTreeMap<String, String>,
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// The text of standard input, needed if `-` is among the files.
    pub stdin: Option<String>,
    /// Services named on the command line: their profiles get active.
    pub services: Vec<String>,
    /// `--compatibility`, or its variable.
    pub compatibility: bool,
    /// Leave `${…}` as written.
    pub no_interpolate: bool,
    /// Leave defaults and names out.
    pub no_normalize: bool,
    /// Leave relative paths relative.
    pub no_path_resolution: bool,
    /// Don't check that references lead somewhere.
    pub no_consistency: bool,
    /// Leave `env_file` where it is and don't read it.
    pub no_env_resolution: bool,
    /// Keep networks, volumes, secrets and configs that no enabled service uses.
    pub all_resources: bool,
    /// Remember what was met on the way.
    pub trace: bool,
    /// Files from elsewhere, by the name that is written: the absolute path of the copy, or why there is none.
    pub fetched: BTreeMap<String, Fetched>,
}

/// The copy of a file from elsewhere, or what happened and what to do.
pub type Fetched = Result<PathBuf, (String, String)>;

/// A project and everything that was learnt on the way to it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// Where each part of it was written.
    pub provenance: Provenance,
    /// The texts that spans point into.
    pub sources: SourceMap,
    /// Warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// What is written but won't be acted on, each at its line. For commands that act (`up`, `create`, `run`); `config`
    /// has no use for it.
    pub unhonoured: Vec<Diagnostic>,
    /// The variables that the files mention.
    pub variables: BTreeMap<String, Variable>,
    /// `${…}` was left as written.
    pub uninterpolated: bool,
    /// Files from elsewhere: name as written, path of the copy.
    pub fetched: BTreeMap<String, PathBuf>,
    /// What was met on the way; empty unless asked for.
    pub trace: Trace,
}

/// A load that can't be gone on with.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The texts that spans point into.
    pub sources: SourceMap,
    /// Everything found, at least one error among it.
    pub diagnostics: Vec<Diagnostic>,
    /// There was no Compose file at all. `down`, `ps`, `logs` go on by labels then.
    pub not_found: bool,
    /// What was met on the way until then; empty unless asked for.
    pub trace: Box<Trace>,
    /// Names of files that are elsewhere. If there are any, errors may be missing: fetch them and load again.
    pub wanted: BTreeSet<String>,
}
