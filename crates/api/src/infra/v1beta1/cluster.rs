//! Metal3Cluster and its template.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{V1Beta1Condition, V1Beta2Status};
use crate::infra::schema;

/// Desired state of the infrastructure of one Cluster.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta1",
    deprecated,
    kind = "Metal3Cluster",
    plural = "metal3clusters",
    doc = "Infrastructure of one Cluster on bare metal.",
    namespaced,
    category = "cluster-api",
    shortname = "m3c",
    shortname = "m3cluster",
    shortname = "m3clusters",
    shortname = "metal3c",
    shortname = "metal3cluster",
    status = "Metal3ClusterStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.ready", "description": "Whether the infrastructure is provisioned"}"#,
    printcolumn = r#"{"name": "Error", "type": "string", "jsonPath": ".status.failureReason", "description": "Most recent failure"}"#,
    printcolumn = r#"{"name": "Cluster", "type": "string", "jsonPath": ".metadata.labels.cluster\\.x-k8s\\.io/cluster-name", "description": "Cluster this object belongs to"}"#,
    printcolumn = r#"{"name": "Endpoint", "type": "string", "jsonPath": ".spec.controlPlaneEndpoint", "description": "Control plane endpoint"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct Metal3ClusterSpec {
    /// Address of the workload cluster's API server; supplied by the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint: Option<APIEndpoint>,
    /// True when an external cloud controller manager sets the provider IDs of nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_provider_enabled: Option<bool>,
    /// Inverse of `cloudProviderEnabled`, which wins when both are set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_cloud_provider: Option<bool>,
    /// Failure domains that Machines may be spread over, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failure_domains: BTreeMap<String, FailureDomainSpec>,
}

/// Host and port of an API server.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(transform = schema::require(&["host", "port"]))]
pub struct APIEndpoint {
    /// Host name or address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub port: Option<i64>,
}

/// One place that can fail without the others.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureDomainSpec {
    /// Whether control plane machines may be placed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<bool>,
    /// Free-form facts about the failure domain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// Observed state of a Metal3Cluster.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metal3ClusterStatus {
    /// True once the infrastructure was provisioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Failure domains that are offered to Cluster API, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failure_domains: BTreeMap<String, FailureDomainSpec>,
    /// When this status was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_updated: Option<Time>,
    /// One word for a failure that needs a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Explanation of that failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_message: Option<String>,
    /// Conditions with severity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<V1Beta1Condition>,
    /// Conditions in the form of v1beta2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v1beta2: Option<V1Beta2Status>,
}

/// Desired state of a template that ClusterClasses stamp Metal3Clusters from.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta1",
    deprecated,
    kind = "Metal3ClusterTemplate",
    plural = "metal3clustertemplates",
    doc = "Template of Metal3Clusters for ClusterClasses.",
    namespaced,
    category = "cluster-api",
    shortname = "m3ct",
    derive = "Default",
    derive = "PartialEq"
)]
pub struct Metal3ClusterTemplateSpec {
    /// The Metal3Cluster to create.
    pub template: Metal3ClusterTemplateResource,
}

/// Spec of the Metal3Clusters to create.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct Metal3ClusterTemplateResource {
    /// Spec of the created object.
    pub spec: Metal3ClusterSpec,
}
