//! Metal3DataTemplate: what the metadata of each machine is rendered from.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NetworkData;
use crate::infra::schema;

/// Desired state of a data template.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1beta1",
    deprecated,
    kind = "Metal3DataTemplate",
    plural = "metal3datatemplates",
    doc = "Template of the metadata and network data of machines.",
    namespaced,
    category = "cluster-api",
    shortname = "m3dt",
    shortname = "m3datatemplate",
    shortname = "m3datatemplates",
    shortname = "metal3dt",
    shortname = "metal3datatemplate",
    status = "Metal3DataTemplateStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Cluster", "type": "string", "jsonPath": ".metadata.labels.cluster\\.x-k8s\\.io/cluster-name", "description": "Cluster this object belongs to"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since creation"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::require(&["clusterName"]))]
pub struct Metal3DataTemplateSpec {
    /// Unused; templates may be shared by clusters. Empty for one that was made in a newer version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Unused; kept for older templates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_reference: Option<String>,
    /// Template of the metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_data: Option<MetaData>,
    /// Template of the network data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_data: Option<NetworkData>,
}

/// Template of the metadata: a flat map of keys to values, from several sources.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetaData {
    /// Literal values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strings: Vec<MetaDataString>,
    /// Names of objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub object_names: Vec<MetaDataObjectName>,
    /// Values computed from the index of the Metal3Data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<MetaDataIndex>,
    /// The namespace of the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<MetaDataNamespace>,
    /// Addresses from pools.
    #[serde(
        rename = "ipAddressesFromIPPool",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ip_addresses_from_ip_pool: Vec<FromPool>,
    /// Prefix lengths from pools.
    #[serde(rename = "prefixesFromIPPool", default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes_from_ip_pool: Vec<FromPool>,
    /// Gateways from pools.
    #[serde(rename = "gatewaysFromIPPool", default, skip_serializing_if = "Vec::is_empty")]
    pub gateways_from_ip_pool: Vec<FromPool>,
    /// DNS servers from pools.
    #[serde(
        rename = "dnsServersFromIPPool",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub dns_servers_from_ip_pool: Vec<FromPool>,
    /// MAC addresses of the host's interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_host_interfaces: Vec<MetaDataHostInterface>,
    /// Values of labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_labels: Vec<MetaDataFromLabel>,
    /// Values of annotations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_annotations: Vec<MetaDataFromAnnotation>,
}

/// A literal value.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct MetaDataString {
    /// Key in the metadata.
    pub key: String,
    /// The value.
    pub value: String,
}

/// The name of an object.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct MetaDataObjectName {
    /// Key in the metadata.
    pub key: String,
    /// The object whose name is rendered.
    #[schemars(extend("enum" = ["machine", "metal3machine", "baremetalhost"]))]
    pub object: String,
}

/// A value computed as prefix, then offset plus index times step, then suffix.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct MetaDataIndex {
    /// Key in the metadata.
    pub key: String,
    /// Number for index 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub offset: Option<i64>,
    /// Difference from one index to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", extend("default" = 1))]
    pub step: Option<i64>,
    /// Text before the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Text after the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
}

/// The namespace of the machine.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct MetaDataNamespace {
    /// Key in the metadata.
    pub key: String,
}

/// A value from the address that a pool gave.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::require(&["apiGroup", "kind"]))]
pub struct FromPool {
    /// Key in the metadata.
    pub key: String,
    /// API group of the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// Kind of the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the pool.
    pub name: String,
}

/// The MAC address of one of the host's interfaces.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetaDataHostInterface {
    /// Key in the metadata.
    pub key: String,
    /// Name of the interface, as inspection found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Use the host's boot MAC address instead of a named interface.
    #[serde(rename = "fromBootMAC", skip_serializing_if = "Option::is_none")]
    pub from_boot_mac: Option<bool>,
}

/// The value of a label.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct MetaDataFromLabel {
    /// Key in the metadata.
    pub key: String,
    /// The object that carries the label.
    #[schemars(extend("enum" = ["machine", "metal3machine", "baremetalhost"]))]
    pub object: String,
    /// Key of the label.
    pub label: String,
}

/// The value of an annotation.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct MetaDataFromAnnotation {
    /// Key in the metadata.
    pub key: String,
    /// The object that carries the annotation.
    #[schemars(extend("enum" = ["machine", "metal3machine", "baremetalhost"]))]
    pub object: String,
    /// Key of the annotation.
    pub annotation: String,
}

/// Observed state of a Metal3DataTemplate.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metal3DataTemplateStatus {
    /// Which claim holds which index, by name of the claim.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::integer_map")]
    pub indexes: BTreeMap<String, i64>,
    /// When this status was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_updated: Option<Time>,
}
