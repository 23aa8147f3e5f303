//! Metal3Remediation and its template.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::infra::schema;

/// Desired state of the remediation of one unhealthy machine.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta1",
    deprecated,
    kind = "Metal3Remediation",
    plural = "metal3remediations",
    doc = "Attempt to repair one unhealthy machine by rebooting its host.",
    namespaced,
    category = "cluster-api",
    shortname = "m3r",
    shortname = "m3remediation",
    status = "Metal3RemediationStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Retry limit", "type": "string", "jsonPath": ".spec.strategy.retryLimit", "description": "How many reboots are tried"}"#,
    printcolumn = r#"{"name": "Retry count", "type": "string", "jsonPath": ".status.retryCount", "description": "How many reboots were tried"}"#,
    printcolumn = r#"{"name": "Last Remediated", "type": "string", "jsonPath": ".status.lastRemediated", "description": "When the last reboot was started"}"#,
    printcolumn = r#"{"name": "Strategy", "type": "string", "jsonPath": ".spec.strategy.type", "description": "Kind of remediation"}"#,
    printcolumn = r#"{"name": "Phase", "type": "string", "jsonPath": ".status.phase", "description": "How far the remediation is"}"#
)]
pub struct Metal3RemediationSpec {
    /// How to remediate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<RemediationStrategy>,
}

/// How to remediate.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemediationStrategy {
    /// Kind of remediation.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// How many reboots are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub retry_limit: Option<i64>,
    /// How long to wait for the node after a reboot, as a Go duration such as `10m0s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// Observed state of a Metal3Remediation.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metal3RemediationStatus {
    /// How far the remediation is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// How many reboots were tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub retry_count: Option<i64>,
    /// When the last reboot was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_remediated: Option<Time>,
}

/// Desired state of a template that Metal3Remediations are stamped from.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta1",
    deprecated,
    kind = "Metal3RemediationTemplate",
    plural = "metal3remediationtemplates",
    doc = "Template of Metal3Remediations, named by MachineHealthChecks.",
    namespaced,
    category = "cluster-api",
    shortname = "m3rt",
    shortname = "m3remediationtemplate",
    shortname = "m3remediationtemplates",
    shortname = "metal3rt",
    shortname = "metal3remediationtemplate",
    status = "Metal3RemediationTemplateStatus",
    derive = "Default",
    derive = "PartialEq"
)]
pub struct Metal3RemediationTemplateSpec {
    /// The Metal3Remediation to create.
    pub template: Metal3RemediationTemplateResource,
}

/// Spec of the Metal3Remediations to create.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct Metal3RemediationTemplateResource {
    /// Spec of the created object.
    pub spec: Metal3RemediationSpec,
}

/// Observed state of a Metal3RemediationTemplate; nothing writes it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(transform = schema::require(&["status"]))]
pub struct Metal3RemediationTemplateStatus {
    /// Status in the form of a Metal3Remediation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Metal3RemediationStatus>,
}
