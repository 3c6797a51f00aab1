//! Commands and watches of a service.

use super::{Extensions, OptionMap, is_default};
use serde::{Serialize, Serializer};

/// A command run inside a container at a point of its life.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Hook {
    /// Command; the reference tells an absent one from an empty one.
    pub command: Option<Vec<String>>,
    /// User.
    #[serde(skip_serializing_if = "is_default")]
    pub user: String,
    /// All privileges.
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// Working directory.
    #[serde(skip_serializing_if = "is_default")]
    pub working_dir: String,
    /// Environment.
    #[serde(skip_serializing_if = "is_default")]
    pub environment: OptionMap,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// What `watch` does.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Develop {
    /// Triggers.
    #[serde(skip_serializing_if = "is_default")]
    pub watch: Vec<WatchTrigger>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// One trigger of `watch`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WatchTrigger {
    /// Absolute path watched.
    pub path: String,
    /// `sync`, `rebuild`, `restart`, `sync+restart`, `sync+exec`.
    pub action: String,
    /// Path in the container.
    #[serde(skip_serializing_if = "is_default")]
    pub target: String,
    /// Command of `sync+exec`. Always written.
    #[serde(serialize_with = "hook_or_nothing")]
    pub exec: Option<Hook>,
    /// Only files that match.
    #[serde(skip_serializing_if = "is_default")]
    pub include: Vec<String>,
    /// No files that match.
    #[serde(skip_serializing_if = "is_default")]
    pub ignore: Vec<String>,
    /// Copy existing files first.
    #[serde(skip_serializing_if = "is_default")]
    pub initial_sync: bool,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// The reference writes a hook without a command where there is none.
fn hook_or_nothing<S: Serializer>(hook: &Option<Hook>, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    match hook {
        Some(hook) => hook.serialize(serializer),
        None => {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry("command", &())?;
            map.end()
        }
    }
}
