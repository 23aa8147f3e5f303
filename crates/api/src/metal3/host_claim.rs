//! HostClaim and HostDeployPolicy: the use of a host from another namespace.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ObjectReference, SecretReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{CustomDeploy, Image};
use crate::schema;

/// Desired host.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "HostClaim",
    plural = "hostclaims",
    doc = "A wish for a host.",
    namespaced,
    status = "HostClaimStatus",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct HostClaimSpec {
    /// Whether the host is to be powered on.
    pub powered_on: bool,
    /// Who uses the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_reference")]
    pub consumer_ref: Option<ObjectReference>,
    /// What to deploy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Custom deploy step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_deploy: Option<CustomDeploy>,
    /// Secret with user data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub user_data: Option<SecretReference>,
    /// Secret with meta data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub meta_data: Option<SecretReference>,
    /// Secret with network data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub network_data: Option<SecretReference>,
    /// Which hosts fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_selector: Option<HostSelector>,
    /// Preferred failure domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_domain: Option<String>,
}

/// Which hosts fit.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostSelector {
    /// Namespace of the hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_namespace: Option<String>,
    /// Labels that must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<HostSelectorRequirement>,
}

/// One requirement.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostSelectorRequirement {
    /// Label.
    pub key: String,
    /// Operator.
    pub operator: String,
    /// Values.
    pub values: Vec<String>,
}

/// Observed claim.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostClaimStatus {
    /// When this was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_updated: Option<Time>,
    /// Observed power.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub powered_on: Option<bool>,
    /// The host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bare_metal_host: Option<ClaimedObject>,
    /// Its hardware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware_data: Option<ClaimedObject>,
    /// Conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions_plain")]
    pub conditions: Vec<Condition>,
}

/// An object in the host's namespace.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedObject {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

/// Policy.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metal3.io",
    version = "v1alpha1",
    kind = "HostDeployPolicy",
    plural = "hostdeploypolicies",
    doc = "Who may use the hosts of a namespace.",
    namespaced,
    status = "HostDeployPolicyStatus",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct HostDeployPolicySpec {
    /// Namespaces whose claims are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_claim_namespaces: Option<HostClaimNamespaces>,
}

/// A choice of namespaces; all given parts must match.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostClaimNamespaces {
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// By regular expression on the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_matches: Option<String>,
    /// By label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub has_labels: Vec<NameValuePair>,
}

/// A label.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NameValuePair {
    /// Name.
    pub name: String,
    /// Value; any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Nothing is reported.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostDeployPolicyStatus {}
