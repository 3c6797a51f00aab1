//! `deploy:` and `gpus:` of a service.

use super::{Extensions, StringMap, is_default, shortest};
use crate::units::{Bytes, Duration};
use serde::Serialize;

/// How a service is deployed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Deploy {
    /// `replicated`, `global`, …
    #[serde(skip_serializing_if = "is_default")]
    pub mode: String,
    /// Number of replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// Labels of the service (not of its containers).
    #[serde(skip_serializing_if = "is_default")]
    pub labels: StringMap,
    /// How an update goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_config: Option<UpdateConfig>,
    /// How a rollback goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_config: Option<UpdateConfig>,
    /// Limits and reservations. Always written, empty or not.
    pub resources: Resources,
    /// When a replica is started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<DeployRestartPolicy>,
    /// Where replicas may run. Always written, empty or not.
    pub placement: Placement,
    /// `vip` or `dnsrr`.
    #[serde(skip_serializing_if = "is_default")]
    pub endpoint_mode: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// How an update or a rollback goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UpdateConfig {
    /// How many at once; 0 means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u64>,
    /// Time between groups.
    #[serde(skip_serializing_if = "is_default")]
    pub delay: Duration,
    /// `continue`, `rollback`, `pause`.
    #[serde(skip_serializing_if = "is_default")]
    pub failure_action: String,
    /// How long a replica is watched.
    #[serde(skip_serializing_if = "is_default")]
    pub monitor: Duration,
    /// Tolerated part of failures, 0 to 1.
    #[serde(skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub max_failure_ratio: f32,
    /// `start-first` or `stop-first`.
    #[serde(skip_serializing_if = "is_default")]
    pub order: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Limits and reservations.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Resources {
    /// Never more than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Resource>,
    /// Never less than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservations: Option<Resource>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// An amount of each resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Resource {
    /// Processors. The reference keeps a 32-bit float.
    #[serde(skip_serializing_if = "is_default", serialize_with = "shortest")]
    pub cpus: f32,
    /// Memory.
    #[serde(skip_serializing_if = "is_default")]
    pub memory: Bytes,
    /// Processes.
    #[serde(skip_serializing_if = "is_default")]
    pub pids: i64,
    /// Devices.
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Vec<DeviceRequest>,
    /// Anything countable.
    #[serde(skip_serializing_if = "is_default")]
    pub generic_resources: Vec<GenericResource>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// A countable resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GenericResource {
    /// What and how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discrete_resource_spec: Option<DiscreteResource>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// What and how many.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiscreteResource {
    /// Kind.
    pub kind: String,
    /// Number.
    pub value: i64,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// A device that the engine looks for by capability.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeviceRequest {
    /// Capabilities, all of them wanted.
    #[serde(skip_serializing_if = "is_default")]
    pub capabilities: Vec<String>,
    /// Driver.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    /// How many; -1 means all.
    #[serde(skip_serializing_if = "is_default")]
    pub count: i64,
    /// These very devices.
    #[serde(skip_serializing_if = "is_default")]
    pub device_ids: Vec<String>,
    /// Options for the driver.
    #[serde(skip_serializing_if = "is_default")]
    pub options: StringMap,
}

/// When a replica is started again.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeployRestartPolicy {
    /// `none`, `on-failure`, `any`.
    #[serde(skip_serializing_if = "is_default")]
    pub condition: String,
    /// Time between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// How many attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u64>,
    /// How long a replica must live to count as started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Where replicas may run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Placement {
    /// Conditions on nodes.
    #[serde(skip_serializing_if = "is_default")]
    pub constraints: Vec<String>,
    /// Preferences.
    #[serde(skip_serializing_if = "is_default")]
    pub preferences: Vec<PlacementPreference>,
    /// Replicas on one node.
    #[serde(skip_serializing_if = "is_default")]
    pub max_replicas_per_node: u64,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// A preference.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PlacementPreference {
    /// Node label to spread over.
    #[serde(skip_serializing_if = "is_default")]
    pub spread: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}
