//! DataImage: a medium in the virtual drive of the host of the same name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Desired medium.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "DataImage",
    plural = "dataimages",
    doc = "A medium for the virtual drive of a host.",
    namespaced,
    status = "DataImageStatus",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct DataImageSpec {
    /// ISO to attach.
    pub url: String,
}

/// Observed medium.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataImageStatus {
    /// When this was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_reconciled: Option<Time>,
    /// What is attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_image: Option<AttachedImageReference>,
    /// Why it could not be attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<DataImageError>,
}

/// An attached medium.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachedImageReference {
    /// ISO.
    pub url: String,
}

/// A failure.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataImageError {
    /// How often.
    #[schemars(schema_with = "schema::integer")]
    pub count: i64,
    /// What happened.
    pub message: String,
}
