//! Order among services, networks and volumes.

use crate::diag::{Diagnostic, Places};
use crate::model::{Project, Selection};
use std::collections::BTreeSet;

/// Faults of the graph: cycles, each with the lines that make it.
pub fn check(project: &Project, places: Places) -> Vec<Diagnostic> {
    let _ = (project, places);
    Vec::new()
}

/// Which services a command is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// Named on the command line, or all if none was.
    pub targets: BTreeSet<String>,
    /// Those and what they depend on.
    pub services: BTreeSet<String>,
}

/// The services that `selection` means.
///
/// # Errors
/// A name that is no enabled service.
pub fn select(project: &Project, selection: &Selection) -> Result<Selected, Vec<Diagnostic>> {
    let targets: BTreeSet<String> =
        if selection.services.is_empty() { project.services.keys().cloned().collect() } else { selection.services.iter().cloned().collect() };
    Ok(Selected { services: targets.clone(), targets })
}
