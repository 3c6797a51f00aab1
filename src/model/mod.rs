//! The Compose model in its one canonical form: what the files say after interpolation, merging and short forms.
//!
//! No I/O, no spans (they would enter equality and hashes; see `load::Provenance`). The order of fields and the rules
//! of what is left out when empty are those of the reference implementation, because the configuration hash of a
//! service is the SHA-256 of exactly this JSON.

mod build;
mod canonical;
mod deploy;
mod develop;
mod mount;
mod project;
mod resource;
mod service;

pub use build::{Build, BuildSecret};
pub use canonical::{escape, json, network_json, pretty_json, service_json, volume_json};
pub use deploy::{
    Deploy, DeployRestartPolicy, DeviceRequest, DiscreteResource, GenericResource, Placement, PlacementPreference, Resource, Resources, UpdateConfig,
};
pub use develop::{Develop, Hook, WatchTrigger};
pub use mount::{BindOptions, FileReference, ImageOptions, Mount, MountType, TmpfsOptions, VolumeOptions};
pub use project::{Project, Selection};
pub use resource::{Config, Ipam, IpamPool, Model, Network, Secret, Volume};
pub use service::{
    BlkioConfig, Condition, CredentialSpec, Dependency, DeviceMapping, EnvFile, Extends, Healthcheck, Logging, Port, Provider, Service, ServiceModel,
    ServiceNetwork, ThrottleDevice, Ulimit, WeightDevice,
};

use std::collections::BTreeMap;

/// `x-…` keys, as written. Never part of the JSON of the model: they enter no hash, and `load::render` writes them back.
pub type Extensions = BTreeMap<String, serde_json::Value>;
/// A mapping of strings in the order of keys.
pub type StringMap = BTreeMap<String, String>;
/// A mapping in which a value can be missing: `KEY` without `=` takes the value of the environment.
pub type OptionMap = BTreeMap<String, Option<String>>;

/// For `skip_serializing_if`: leaves out what equals its default, as the reference does.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Writes a 32-bit float by its shortest digits, without a fraction where it is whole, as the reference does.
pub(crate) fn shortest<S: serde::Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    let value: f64 = value.to_string().parse().unwrap_or(f64::from(*value));
    if value.fract() == 0.0 && value.abs() < 1e15 { serializer.serialize_i64(value as i64) } else { serializer.serialize_f64(value) }
}
