//! Metal3DataClaim and Metal3Data: one machine's share of a data template.

use k8s_openapi::api::core::v1::SecretReference;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Metal3ObjectRef;
use crate::infra::schema;

/// Desired state of a claim for a Metal3Data.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "Metal3DataClaim",
    plural = "metal3dataclaims",
    doc = "A machine's claim for data rendered from a Metal3DataTemplate.",
    namespaced,
    category = "cluster-api",
    shortname = "m3dc",
    shortname = "m3dataclaim",
    shortname = "m3dataclaims",
    shortname = "metal3dc",
    shortname = "metal3dataclaim",
    status = "Metal3DataClaimStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
pub struct Metal3DataClaimSpec {
    /// The Metal3DataTemplate to render.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Metal3ObjectRef>,
}

/// Observed state of a Metal3DataClaim.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metal3DataClaimStatus {
    /// The Metal3Data that answers the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendered_data: Option<Metal3ObjectRef>,
    /// Why the claim could not be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub error_message: Option<String>,
}

/// Desired state of one rendered share of a data template.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta2",
    kind = "Metal3Data",
    plural = "metal3datas",
    doc = "Metadata and network data of one machine, rendered from a Metal3DataTemplate.",
    namespaced,
    category = "cluster-api",
    shortname = "m3d",
    shortname = "m3data",
    shortname = "m3datas",
    shortname = "metal3d",
    shortname = "metal3data",
    status = "Metal3DataStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct Metal3DataSpec {
    /// Number of this share among all shares of its template.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub index: Option<i32>,
    /// Secret with the rendered metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub meta_data: Option<SecretReference>,
    /// Secret with the rendered network data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub network_data: Option<SecretReference>,
    /// The Metal3DataClaim that this object answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Metal3ObjectRef>,
    /// The Metal3DataTemplate that is rendered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Metal3ObjectRef>,
}

/// Observed state of a Metal3Data.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metal3DataStatus {
    /// True when all Secrets exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Why the Secrets could not be rendered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub error_message: Option<String>,
}
