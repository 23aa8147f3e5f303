//! HostUpdatePolicy: when a provisioned host of the same name may be updated.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Policy.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "HostUpdatePolicy",
    plural = "hostupdatepolicies",
    doc = "When a host of the same name may be updated.",
    namespaced,
    status = "HostUpdatePolicyStatus",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct HostUpdatePolicySpec {
    /// When BIOS settings are applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["onPreparing", "onReboot"]))]
    pub firmware_settings: Option<String>,
    /// When firmware is updated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["onPreparing", "onReboot"]))]
    pub firmware_updates: Option<String>,
}

/// Nothing is reported.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostUpdatePolicyStatus {}
