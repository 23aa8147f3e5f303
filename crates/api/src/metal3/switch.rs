//! BareMetalSwitch and HostNetworkAttachment: the network side of hosts.

use k8s_openapi::api::core::v1::SecretReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Access to a switch.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "BareMetalSwitch",
    plural = "baremetalswitches",
    doc = "A switch.",
    namespaced,
    shortname = "bms",
    status = "BareMetalSwitchStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(
        name = "Driver",
        type_ = "string",
        json_path = ".spec.driver",
        description = "Driver"
    ),
    printcolumn(
        name = "Device Type",
        type_ = "string",
        json_path = ".spec.deviceType",
        description = "Device type"
    ),
    printcolumn(
        name = "Address",
        type_ = "string",
        json_path = ".spec.address",
        description = "Address"
    ),
    printcolumn(
        name = "Valid",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Valid")].status"#,
        description = "Whether the configuration is valid"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct BareMetalSwitchSpec {
    /// Address.
    pub address: String,
    /// MAC address.
    #[schemars(regex(pattern = schema::MAC))]
    pub mac_address: String,
    /// Driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["generic-switch"], "default" = "generic-switch"))]
    pub driver: Option<String>,
    /// Device type, as the driver names it.
    pub device_type: String,
    /// Secret with the login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub credentials: Option<SecretReference>,
    /// Management port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Accept any certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_certificate_verification: Option<bool>,
}

/// Observed switch.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BareMetalSwitchStatus {
    /// Conditions by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions_unbounded")]
    pub conditions: Vec<Condition>,
}

/// Attachment.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "HostNetworkAttachment",
    plural = "hostnetworkattachments",
    doc = "How an interface is attached to VLANs.",
    namespaced,
    status = "HostNetworkAttachmentStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".spec.mode",
        description = "Mode"
    ),
    printcolumn(
        name = "Native VLAN",
        type_ = "integer",
        json_path = ".spec.nativeVLAN",
        description = "Native VLAN"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since creation"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct HostNetworkAttachmentSpec {
    /// Kind of port.
    #[schemars(extend("enum" = ["access", "trunk", "hybrid"], "default" = "access"))]
    pub mode: String,
    /// Untagged VLAN.
    #[serde(rename = "nativeVLAN")]
    #[schemars(schema_with = "schema::integer", range(min = 1, max = 4094))]
    pub native_vlan: i64,
    /// Tagged VLANs or ranges.
    #[serde(rename = "allowedVLANs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^\d+(-\d+)?$")))]
    pub allowed_vlans: Vec<String>,
    /// MTU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(min = 68, max = 9216))]
    pub mtu: Option<i64>,
}

/// Nothing is reported.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostNetworkAttachmentStatus {}
