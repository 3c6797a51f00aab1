//! What a service mounts, and files of secrets and configs.

use super::{Extensions, StringMap, is_default};
use crate::units::Bytes;
use serde::{Serialize, Serializer};

/// Kind of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MountType {
    /// A path of the host.
    Bind,
    /// A named or anonymous volume.
    #[default]
    Volume,
    /// Memory.
    Tmpfs,
    /// A named pipe (Windows).
    Npipe,
    /// A cluster volume.
    Cluster,
    /// The files of an image.
    Image,
}

/// A mount of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Mount {
    /// Kind.
    #[serde(rename = "type")]
    pub kind: MountType,
    /// Host path, volume key, image; empty for an anonymous volume and tmpfs.
    #[serde(skip_serializing_if = "is_default")]
    pub source: String,
    /// Path in the container.
    #[serde(skip_serializing_if = "is_default")]
    pub target: String,
    /// Read-only.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Consistency (macOS).
    #[serde(skip_serializing_if = "is_default")]
    pub consistency: String,
    /// For `bind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<BindOptions>,
    /// For `volume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeOptions>,
    /// For `tmpfs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<TmpfsOptions>,
    /// For `image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageOptions>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Options of a bind mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BindOptions {
    /// SELinux relabelling: `z` shared, `Z` private.
    #[serde(skip_serializing_if = "is_default")]
    pub selinux: String,
    /// Mount propagation.
    #[serde(skip_serializing_if = "is_default")]
    pub propagation: String,
    /// Create a missing host directory.
    #[serde(skip_serializing_if = "is_default")]
    pub create_host_path: bool,
    /// Recursive bind mounts: `enabled`, `disabled`, `writable`, `readonly`.
    #[serde(skip_serializing_if = "is_default")]
    pub recursive: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Options of a volume mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VolumeOptions {
    /// Labels of an anonymous volume.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: StringMap,
    /// Don't copy the image's files in.
    #[serde(skip_serializing_if = "is_default")]
    pub nocopy: bool,
    /// Path within the volume.
    #[serde(skip_serializing_if = "is_default")]
    pub subpath: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Options of a tmpfs mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TmpfsOptions {
    /// Size.
    #[serde(skip_serializing_if = "is_default")]
    pub size: Bytes,
    /// File mode.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: u32,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Options of an image mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ImageOptions {
    /// Path within the image.
    #[serde(skip_serializing_if = "is_default")]
    pub subpath: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// A service's use of a secret or config.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FileReference {
    /// Its key at the top level.
    #[serde(skip_serializing_if = "is_default")]
    pub source: String,
    /// Path in the container.
    #[serde(skip_serializing_if = "is_default")]
    pub target: String,
    /// Owner.
    #[serde(skip_serializing_if = "is_default")]
    pub uid: String,
    /// Group.
    #[serde(skip_serializing_if = "is_default")]
    pub gid: String,
    /// File mode, written as an octal string (`"0444"`).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "octal")]
    pub mode: Option<u32>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

fn octal<S: Serializer>(mode: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("0{:o}", mode.unwrap_or(0)))
}
