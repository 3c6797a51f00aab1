//! Networks, volumes, secrets, configs, models: everything at the top level but services.

use super::{Extensions, StringMap, is_default};
use serde::Serialize;

/// A network of the top level.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Network {
    /// Real name: `name:`, or `<project>_<key>`, or the key of an external one.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// Driver; empty means the engine's default.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    /// Options for the driver.
    #[serde(skip_serializing_if = "is_default")]
    pub driver_opts: StringMap,
    /// Addresses.
    pub ipam: Ipam,
    /// Exists already and is not ours to create or remove.
    #[serde(skip_serializing_if = "is_default")]
    pub external: bool,
    /// No way out of it.
    #[serde(skip_serializing_if = "is_default")]
    pub internal: bool,
    /// Other containers may join.
    #[serde(skip_serializing_if = "is_default")]
    pub attachable: bool,
    /// Labels of the user.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: StringMap,
    /// IPv4 addresses on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_ipv4: Option<bool>,
    /// IPv6 addresses on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_ipv6: Option<bool>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// Address management of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ipam {
    /// IPAM driver.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    /// Address pools.
    #[serde(rename = "config", skip_serializing_if = "is_default")]
    pub pools: Vec<IpamPool>,
    /// Options for the IPAM driver. The reference takes and forgets them.
    #[serde(skip)]
    pub options: StringMap,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// One address pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IpamPool {
    /// CIDR.
    #[serde(skip_serializing_if = "is_default")]
    pub subnet: String,
    /// Address of the gateway.
    #[serde(skip_serializing_if = "is_default")]
    pub gateway: String,
    /// CIDR within the subnet that addresses are taken from.
    #[serde(skip_serializing_if = "is_default")]
    pub ip_range: String,
    /// Addresses kept free, by host name.
    #[serde(skip_serializing_if = "is_default")]
    pub aux_addresses: StringMap,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// A volume of the top level.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Volume {
    /// Real name: `name:`, or `<project>_<key>`, or the key of an external one.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// Driver; empty means the engine's default, `local`.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    /// Options for the driver.
    #[serde(skip_serializing_if = "is_default")]
    pub driver_opts: StringMap,
    /// Exists already and is not ours to create or remove.
    #[serde(skip_serializing_if = "is_default")]
    pub external: bool,
    /// Labels of the user.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: StringMap,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// A secret of the top level. Its value is never in the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Secret {
    /// Real name.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// Absolute path of the file that holds it.
    #[serde(skip_serializing_if = "is_default")]
    pub file: String,
    /// Variable that holds it.
    #[serde(skip_serializing_if = "is_default")]
    pub environment: String,
    /// Kept by the engine.
    #[serde(skip_serializing_if = "is_default")]
    pub external: bool,
    /// Labels of the user.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: StringMap,
    /// Driver.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    /// Options for the driver.
    #[serde(skip_serializing_if = "is_default")]
    pub driver_opts: StringMap,
    /// Template driver.
    #[serde(skip_serializing_if = "is_default")]
    pub template_driver: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// A config of the top level.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Config {
    /// Real name.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// Absolute path of the file that holds it.
    #[serde(skip_serializing_if = "is_default")]
    pub file: String,
    /// Variable that holds it.
    #[serde(skip_serializing_if = "is_default")]
    pub environment: String,
    /// The content itself.
    #[serde(skip_serializing_if = "is_default")]
    pub content: String,
    /// Kept by the engine.
    #[serde(skip_serializing_if = "is_default")]
    pub external: bool,
    /// Labels of the user.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: StringMap,
    /// Driver.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    /// Options for the driver.
    #[serde(skip_serializing_if = "is_default")]
    pub driver_opts: StringMap,
    /// Template driver.
    #[serde(skip_serializing_if = "is_default")]
    pub template_driver: String,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}

/// An AI model of the top level.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Model {
    /// Real name.
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    /// Model reference.
    #[serde(skip_serializing_if = "is_default")]
    pub model: String,
    /// Context length in tokens.
    #[serde(skip_serializing_if = "is_default")]
    pub context_size: i64,
    /// Flags for the runtime.
    #[serde(skip_serializing_if = "is_default")]
    pub runtime_flags: Vec<String>,
    /// `x-…` keys.
    #[serde(skip)]
    pub extensions: Extensions,
}
