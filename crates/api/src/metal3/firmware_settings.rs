//! HostFirmwareSettings and FirmwareSchema: BIOS settings of a host and what they may be.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Desired settings.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "HostFirmwareSettings",
    plural = "hostfirmwaresettings",
    doc = "BIOS settings of a host of the same name.",
    namespaced,
    shortname = "hfs",
    status = "HostFirmwareSettingsStatus",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct HostFirmwareSettingsSpec {
    /// Value by name.
    #[schemars(schema_with = "schema::int_or_string_map")]
    pub settings: BTreeMap<String, IntOrString>,
}

/// Observed settings.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostFirmwareSettingsStatus {
    /// What the settings may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaReference>,
    /// Value by name.
    pub settings: BTreeMap<String, String>,
    /// When this was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_updated: Option<Time>,
    /// Conditions by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions_unbounded")]
    pub conditions: Vec<Condition>,
}

/// A FirmwareSchema.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaReference {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Settings of one model.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "FirmwareSchema",
    plural = "firmwareschemas",
    doc = "What the BIOS settings of a model may be.",
    namespaced,
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct FirmwareSchemaSpec {
    /// Vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware_vendor: Option<String>,
    /// Model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware_model: Option<String>,
    /// Rules by name of the setting.
    pub schema: BTreeMap<String, SettingSchema>,
}

/// Rules for one setting.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettingSchema {
    /// Kind of value.
    #[serde(rename = "attribute_type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Enumeration", "String", "Integer", "Boolean", "Password"]))]
    pub attribute_type: Option<String>,
    /// Values of an enumeration.
    #[serde(rename = "allowable_values", default, skip_serializing_if = "Vec::is_empty")]
    pub allowable_values: Vec<String>,
    /// Smallest integer.
    #[serde(rename = "lower_bound", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub lower_bound: Option<i64>,
    /// Largest integer.
    #[serde(rename = "upper_bound", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub upper_bound: Option<i64>,
    /// Shortest string.
    #[serde(rename = "min_length", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub min_length: Option<i64>,
    /// Longest string.
    #[serde(rename = "max_length", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub max_length: Option<i64>,
    /// Cannot be changed.
    #[serde(rename = "read_only", skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Differs from machine to machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique: Option<bool>,
}
