//! `ipam.metal3.io/v1alpha1`: address pools, the claims on them, and the addresses they gave.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::ObjectReference,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::infra::schema::{self, IP, SUBNET};

/// Desired state of a pool of addresses.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "ipam.metal3.io",
    version = "v1alpha1",
    kind = "IPPool",
    plural = "ippools",
    doc = "Pool of addresses.",
    namespaced,
    category = "cluster-api",
    shortname = "ipp",
    shortname = "ippool",
    shortname = "m3ipp",
    shortname = "m3ippool",
    shortname = "m3ippools",
    shortname = "metal3ipp",
    shortname = "metal3ippool",
    shortname = "metal3ippools",
    status = "IPPoolStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Cluster", "type": "string", "jsonPath": ".metadata.labels.cluster\\.x-k8s\\.io/cluster-name", "description": "Cluster this object belongs to"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct IPPoolSpec {
    /// Cluster that the pool belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Ranges of addresses, used in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
    /// Addresses that are reserved for claims, by name of the claim.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::ip_map")]
    pub pre_allocations: BTreeMap<String, String>,
    /// Prefix length, unless the range has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(max = 128))]
    pub prefix: Option<i64>,
    /// Gateway, unless the range has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = IP))]
    pub gateway: Option<String>,
    /// DNS servers, unless the range has its own.
    #[serde(rename = "dnsServers", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = IP)))]
    pub dns_servers: Vec<String>,
    /// Start of the names of IPAddress objects; cannot be changed.
    #[schemars(length(min = 1))]
    pub name_prefix: String,
    /// Order of the addresses inside a range; cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["sequential", "random"], "default" = "sequential"))]
    pub allocation_strategy: Option<String>,
}

/// One range of addresses.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Pool {
    /// First address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = IP))]
    pub start: Option<String>,
    /// Last address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = IP))]
    pub end: Option<String>,
    /// Network that bounds the range, and the range itself when there is no first address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = SUBNET))]
    pub subnet: Option<String>,
    /// Prefix length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(max = 128))]
    pub prefix: Option<i64>,
    /// Gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = IP))]
    pub gateway: Option<String>,
    /// DNS servers.
    #[serde(rename = "dnsServers", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = IP)))]
    pub dns_servers: Vec<String>,
}

/// Observed state of an IPPool.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IPPoolStatus {
    /// When this status was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_updated: Option<Time>,
    /// Addresses in use, by name of the claim.
    #[serde(rename = "indexes", default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::ip_map")]
    pub allocations: BTreeMap<String, String>,
}

/// Desired state of a claim for an address.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "ipam.metal3.io",
    version = "v1alpha1",
    kind = "IPClaim",
    plural = "ipclaims",
    doc = "Claim for an address of an IPPool.",
    namespaced,
    category = "cluster-api",
    shortname = "ipc",
    shortname = "ipclaim",
    shortname = "m3ipc",
    shortname = "m3ipclaim",
    shortname = "m3ipclaims",
    shortname = "metal3ipc",
    shortname = "metal3ipclaim",
    shortname = "metal3ipclaims",
    status = "IPClaimStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
pub struct IPClaimSpec {
    /// The IPPool to take the address from.
    #[schemars(schema_with = "schema::object_reference")]
    pub pool: ObjectReference,
}

/// Observed state of an IPClaim.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IPClaimStatus {
    /// The IPAddress that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_reference")]
    pub address: Option<ObjectReference>,
    /// Why no address was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// An address that was given, and what belongs to it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "ipam.metal3.io",
    version = "v1alpha1",
    kind = "IPAddress",
    plural = "ipaddresses",
    doc = "Address that an IPPool gave to an IPClaim.",
    namespaced,
    category = "metal3",
    shortname = "ipa",
    shortname = "ipaddress",
    shortname = "m3ipa",
    shortname = "m3ipaddress",
    shortname = "m3ipaddresses",
    shortname = "metal3ipa",
    shortname = "metal3ipaddress",
    shortname = "metal3ipaddresses",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
pub struct IPAddressSpec {
    /// The IPClaim that holds the address.
    #[schemars(schema_with = "schema::object_reference")]
    pub claim: ObjectReference,
    /// The IPPool that gave it.
    #[schemars(schema_with = "schema::object_reference")]
    pub pool: ObjectReference,
    /// Prefix length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(max = 128))]
    pub prefix: Option<i64>,
    /// Gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = IP))]
    pub gateway: Option<String>,
    /// The address.
    #[schemars(regex(pattern = IP))]
    pub address: String,
    /// DNS servers.
    #[serde(rename = "dnsServers", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = IP)))]
    pub dns_servers: Vec<String>,
}

/// All kinds of the group.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![IPPool::crd(), IPClaim::crd(), IPAddress::crd()]
}
