//! RAID volumes of a BareMetalHost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::RootDeviceHints;
use crate::schema;

/// RAID volumes; null keeps what is there, an empty list removes it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RAIDConfig {
    /// Volumes of the controller.
    #[serde(rename = "hardwareRAIDVolumes")]
    pub hardware_raid_volumes: Option<Vec<HardwareRAIDVolume>>,
    /// Volumes of the operating system.
    #[serde(rename = "softwareRAIDVolumes")]
    #[schemars(length(max = 2))]
    pub software_raid_volumes: Option<Vec<SoftwareRAIDVolume>>,
}

/// One hardware RAID volume.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HardwareRAIDVolume {
    /// Size in GiB; all space when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(min = 0))]
    pub size_gibibytes: Option<i64>,
    /// RAID level.
    #[schemars(extend("enum" = ["0", "1", "2", "5", "6", "1+0", "5+0", "6+0"]))]
    pub level: String,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub name: Option<String>,
    /// Take spinning disks only, or none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotational: Option<bool>,
    /// How many disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(min = 1))]
    pub number_of_physical_disks: Option<i64>,
    /// RAID controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// Disks by identifier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub physical_disks: Vec<String>,
}

/// One software RAID volume.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SoftwareRAIDVolume {
    /// Size in GiB; all space when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(min = 0))]
    pub size_gibibytes: Option<i64>,
    /// RAID level.
    #[schemars(extend("enum" = ["0", "1", "1+0"]))]
    pub level: String,
    /// Disks by hints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 2))]
    pub physical_disks: Vec<RootDeviceHints>,
    /// The volume for the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub root_volume: Option<bool>,
}
