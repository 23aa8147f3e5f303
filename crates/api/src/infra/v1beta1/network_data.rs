//! The network part of a Metal3DataTemplate, in the vocabulary of OpenStack's `network_data.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::infra::schema::{self, INTERFACE_NAME, IP, IPV4, IPV6};

/// Template of the network data.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct NetworkData {
    /// Links: interfaces, bonds and VLANs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<NetworkDataLink>,
    /// Networks on those links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<NetworkDataNetwork>,
    /// Services for the whole machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<NetworkDataService>,
}

/// Links: interfaces, bonds and VLANs.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct NetworkDataLink {
    /// Physical and virtual interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ethernets: Vec<NetworkDataLinkEthernet>,
    /// Bonds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bonds: Vec<NetworkDataLinkBond>,
    /// VLANs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<NetworkDataLinkVlan>,
}

/// An interface.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkDataLinkEthernet {
    /// Type of the interface.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["bridge", "dvs", "hw_veb", "hyperv", "ovs", "tap", "vhostuser", "vif", "phy"]))]
    pub type_: String,
    /// Identifier that other entries refer to.
    pub id: String,
    /// Name that the interface is given in the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 15), regex(pattern = INTERFACE_NAME))]
    pub name: Option<String>,
    /// Maximum transmission unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(max = 9000), extend("default" = 1500))]
    pub mtu: Option<i64>,
    /// MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<NetworkLinkEthernetMac>,
}

/// A bond of interfaces.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkDataLinkBond {
    /// Identifier that other entries refer to.
    pub id: String,
    /// Name that the bond is given in the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 15), regex(pattern = INTERFACE_NAME))]
    pub name: Option<String>,
    /// Bonding mode.
    #[schemars(extend("enum" = ["balance-rr", "active-backup", "balance-xor", "broadcast", "balance-tlb", "balance-alb", "802.3ad"]))]
    pub bond_mode: String,
    /// Transmit hash policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["layer2", "layer3+4", "layer2+3"]))]
    pub bond_xmit_hash_policy: Option<String>,
    /// Maximum transmission unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(max = 9000), extend("default" = 1500))]
    pub mtu: Option<i64>,
    /// MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<NetworkLinkEthernetMac>,
    /// Identifiers of the bonded links.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bond_links: Vec<String>,
    /// Further options, rendered as `bond_<name>`; any JSON value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::any_map")]
    pub parameters: BTreeMap<String, Value>,
}

/// A VLAN on a link.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkDataLinkVlan {
    /// Identifier that other entries refer to.
    pub id: String,
    /// Name that the VLAN interface is given in the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 15), regex(pattern = INTERFACE_NAME))]
    pub name: Option<String>,
    /// VLAN number.
    #[serde(rename = "vlanID")]
    #[schemars(schema_with = "schema::integer", range(max = 4096))]
    pub vlan_id: i64,
    /// Maximum transmission unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(max = 9000), extend("default" = 1500))]
    pub mtu: Option<i64>,
    /// MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<NetworkLinkEthernetMac>,
    /// Identifier of the link that carries the VLAN.
    pub vlan_link: String,
}

/// Where a MAC address comes from; the first source that is set counts.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkLinkEthernetMac {
    /// Literal address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string: Option<String>,
    /// Name of one of the host's interfaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_host_interface: Option<String>,
    /// Annotation that holds the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_annotation: Option<NetworkAnnotationRef>,
}

/// An annotation of an object that belongs to the machine.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NetworkAnnotationRef {
    /// The object that carries the annotation.
    #[schemars(extend("enum" = ["machine", "metal3machine", "baremetalhost"]))]
    pub object: String,
    /// Key of the annotation.
    pub annotation: String,
}

/// An address pool of any IPAM provider.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"), transform = schema::require(&["kind"]))]
pub struct PoolRef {
    /// API group of the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// Kind of the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the pool.
    pub name: String,
}

/// Networks on links.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NetworkDataNetwork {
    /// IPv4 networks with an address from a pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv4: Vec<NetworkDataIPv4>,
    /// IPv6 networks with an address from a pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6: Vec<NetworkDataIPv6>,
    /// IPv4 networks with DHCP.
    #[serde(rename = "ipv4DHCP", default, skip_serializing_if = "Vec::is_empty")]
    pub ipv4_dhcp: Vec<NetworkDataIPv4DHCP>,
    /// IPv6 networks with DHCP.
    #[serde(rename = "ipv6DHCP", default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6_dhcp: Vec<NetworkDataIPv6DHCP>,
    /// IPv6 networks with stateless autoconfiguration.
    #[serde(rename = "ipv6SLAAC", default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6_slaac: Vec<NetworkDataIPv6DHCP>,
}

/// An IPv4 network with an address from a pool.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkDataIPv4 {
    /// Identifier of the network.
    pub id: String,
    /// Identifier of the link that carries the network.
    pub link: String,
    /// Name of the IPPool that gives the address.
    #[serde(rename = "ipAddressFromIPPool", skip_serializing_if = "Option::is_none")]
    pub ip_address_from_ip_pool: Option<String>,
    /// Pool that gives the address; wins over `ipAddressFromIPPool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_pool_ref: Option<PoolRef>,
    /// Annotation that names the IPPool; wins over both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_pool_annotation: Option<NetworkAnnotationRef>,
    /// Routes through this network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<NetworkDataRoutev4>,
}

/// An IPv4 network without an address from a pool.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NetworkDataIPv4DHCP {
    /// Identifier of the network.
    pub id: String,
    /// Identifier of the link that carries the network.
    pub link: String,
    /// Routes through this network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<NetworkDataRoutev4>,
}

/// An IPv4 route.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NetworkDataRoutev4 {
    /// Address of the destination network.
    #[schemars(regex(pattern = IPV4))]
    pub network: String,
    /// Prefix length of the destination network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(max = 32))]
    pub prefix: Option<i64>,
    /// Gateway to the destination network.
    pub gateway: NetworkGatewayv4,
    /// Services that are reached through this route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<NetworkDataServicev4>,
}

/// Where an IPv4 gateway comes from; the first source that is set counts.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkGatewayv4 {
    /// Literal address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = IPV4))]
    pub string: Option<String>,
    /// Annotation that names the IPPool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_pool_annotation: Option<NetworkAnnotationRef>,
    /// Pool that gives the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_pool_ref: Option<PoolRef>,
    /// Name of the IPPool that gives the gateway.
    #[serde(rename = "fromIPPool", skip_serializing_if = "Option::is_none")]
    pub from_ip_pool: Option<String>,
}

/// Services on an IPv4 route.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NetworkDataServicev4 {
    /// Addresses of DNS servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = IPV4)))]
    pub dns: Vec<String>,
    /// Name of the IPPool whose DNS servers are added.
    #[serde(rename = "dnsFromIPPool", skip_serializing_if = "Option::is_none")]
    pub dns_from_ip_pool: Option<String>,
}

/// An IPv6 network with an address from a pool.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::require(&["ipAddressFromIPPool"]))]
pub struct NetworkDataIPv6 {
    /// Identifier of the network.
    pub id: String,
    /// Identifier of the link that carries the network.
    pub link: String,
    /// Name of the IPPool that gives the address.
    #[serde(rename = "ipAddressFromIPPool", skip_serializing_if = "Option::is_none")]
    pub ip_address_from_ip_pool: Option<String>,
    /// Pool that gives the address; wins over `ipAddressFromIPPool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_pool_ref: Option<PoolRef>,
    /// Annotation that names the IPPool; wins over both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_pool_annotation: Option<NetworkAnnotationRef>,
    /// Routes through this network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<NetworkDataRoutev6>,
}

/// An IPv6 network without an address from a pool.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NetworkDataIPv6DHCP {
    /// Identifier of the network.
    pub id: String,
    /// Identifier of the link that carries the network.
    pub link: String,
    /// Routes through this network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<NetworkDataRoutev6>,
}

/// An IPv6 route.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NetworkDataRoutev6 {
    /// Address of the destination network.
    #[schemars(regex(pattern = IPV6))]
    pub network: String,
    /// Prefix length of the destination network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer", range(max = 128))]
    pub prefix: Option<i64>,
    /// Gateway to the destination network.
    pub gateway: NetworkGatewayv6,
    /// Services that are reached through this route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<NetworkDataServicev6>,
}

/// Where an IPv6 gateway comes from; the first source that is set counts.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkGatewayv6 {
    /// Literal address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = IPV6))]
    pub string: Option<String>,
    /// Annotation that names the IPPool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_pool_annotation: Option<NetworkAnnotationRef>,
    /// Pool that gives the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_pool_ref: Option<PoolRef>,
    /// Name of the IPPool that gives the gateway.
    #[serde(rename = "fromIPPool", skip_serializing_if = "Option::is_none")]
    pub from_ip_pool: Option<String>,
}

/// Services on an IPv6 route.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NetworkDataServicev6 {
    /// Addresses of DNS servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = IPV6)))]
    pub dns: Vec<String>,
    /// Name of the IPPool whose DNS servers are added.
    #[serde(rename = "dnsFromIPPool", skip_serializing_if = "Option::is_none")]
    pub dns_from_ip_pool: Option<String>,
}

/// Services for the whole machine.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct NetworkDataService {
    /// Addresses of DNS servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = IP)))]
    pub dns: Vec<String>,
    /// Name of the IPPool whose DNS servers are added.
    #[serde(rename = "dnsFromIPPool", skip_serializing_if = "Option::is_none")]
    pub dns_from_ip_pool: Option<String>,
}
