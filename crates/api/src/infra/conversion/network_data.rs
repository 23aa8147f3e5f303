//! The network part of a Metal3DataTemplate.

use serde_json::Value;

use super::common::{each, filled, narrow};
use crate::infra::{v1beta1, v1beta2};

impl From<v1beta1::NetworkData> for v1beta2::NetworkData {
    fn from(
        v1beta1::NetworkData {
            links,
            networks,
            services,
        }: v1beta1::NetworkData,
    ) -> Self {
        Self {
            links: links.map(Into::into),
            networks: networks.map(Into::into),
            services: services.map(Into::into),
        }
    }
}

impl From<v1beta2::NetworkData> for v1beta1::NetworkData {
    fn from(
        v1beta2::NetworkData {
            links,
            networks,
            services,
        }: v1beta2::NetworkData,
    ) -> Self {
        Self {
            links: links.map(Into::into),
            networks: networks.map(Into::into),
            services: services.map(Into::into),
        }
    }
}

impl From<v1beta1::NetworkDataLink> for v1beta2::NetworkDataLink {
    fn from(
        v1beta1::NetworkDataLink {
            ethernets,
            bonds,
            vlans,
        }: v1beta1::NetworkDataLink,
    ) -> Self {
        Self {
            ethernets: each(ethernets),
            bonds: each(bonds),
            vlans: each(vlans),
        }
    }
}

impl From<v1beta2::NetworkDataLink> for v1beta1::NetworkDataLink {
    fn from(
        v1beta2::NetworkDataLink {
            ethernets,
            bonds,
            vlans,
        }: v1beta2::NetworkDataLink,
    ) -> Self {
        Self {
            ethernets: each(ethernets),
            bonds: each(bonds),
            vlans: each(vlans),
        }
    }
}

impl From<v1beta1::NetworkDataLinkEthernet> for v1beta2::NetworkDataLinkEthernet {
    fn from(link: v1beta1::NetworkDataLinkEthernet) -> Self {
        let v1beta1::NetworkDataLinkEthernet {
            type_,
            id,
            name,
            mtu,
            mac_address,
        } = link;
        Self {
            type_,
            id,
            name: filled(name),
            mtu: mtu.map(narrow),
            mac_address: mac_address.map(Into::into),
        }
    }
}

impl From<v1beta2::NetworkDataLinkEthernet> for v1beta1::NetworkDataLinkEthernet {
    fn from(link: v1beta2::NetworkDataLinkEthernet) -> Self {
        let v1beta2::NetworkDataLinkEthernet {
            type_,
            id,
            name,
            mtu,
            mac_address,
        } = link;
        Self {
            type_,
            id,
            name,
            mtu: mtu.map(i64::from),
            mac_address: mac_address.map(Into::into),
        }
    }
}

impl From<v1beta1::NetworkDataLinkBond> for v1beta2::NetworkDataLinkBond {
    fn from(link: v1beta1::NetworkDataLinkBond) -> Self {
        let v1beta1::NetworkDataLinkBond {
            id,
            name,
            bond_mode,
            bond_xmit_hash_policy,
            mtu,
            mac_address,
            bond_links,
            parameters,
        } = link;
        Self {
            id,
            name: filled(name),
            bond_mode,
            bond_xmit_hash_policy: filled(bond_xmit_hash_policy),
            mtu: mtu.map(narrow),
            mac_address: mac_address.map(Into::into),
            bond_links,
            parameters: parameters
                .into_iter()
                .map(|(name, value)| v1beta2::NetworkDataLinkBondParam {
                    name,
                    value: Some(value).filter(|value| !value.is_null()),
                })
                .collect(),
        }
    }
}

impl From<v1beta2::NetworkDataLinkBond> for v1beta1::NetworkDataLinkBond {
    fn from(link: v1beta2::NetworkDataLinkBond) -> Self {
        let v1beta2::NetworkDataLinkBond {
            id,
            name,
            bond_mode,
            bond_xmit_hash_policy,
            mtu,
            mac_address,
            bond_links,
            parameters,
        } = link;
        Self {
            id,
            name,
            bond_mode,
            bond_xmit_hash_policy,
            mtu: mtu.map(i64::from),
            mac_address: mac_address.map(Into::into),
            bond_links,
            parameters: parameters
                .into_iter()
                .map(|param| (param.name, param.value.unwrap_or(Value::Null)))
                .collect(),
        }
    }
}

impl From<v1beta1::NetworkDataLinkVlan> for v1beta2::NetworkDataLinkVlan {
    fn from(link: v1beta1::NetworkDataLinkVlan) -> Self {
        let v1beta1::NetworkDataLinkVlan {
            id,
            name,
            vlan_id,
            mtu,
            mac_address,
            vlan_link,
        } = link;
        Self {
            id,
            name: filled(name),
            vlan_id: narrow(vlan_id),
            mtu: mtu.map(narrow),
            mac_address: mac_address.map(Into::into),
            vlan_link,
        }
    }
}

impl From<v1beta2::NetworkDataLinkVlan> for v1beta1::NetworkDataLinkVlan {
    fn from(link: v1beta2::NetworkDataLinkVlan) -> Self {
        let v1beta2::NetworkDataLinkVlan {
            id,
            name,
            vlan_id,
            mtu,
            mac_address,
            vlan_link,
        } = link;
        Self {
            id,
            name,
            vlan_id: i64::from(vlan_id),
            mtu: mtu.map(i64::from),
            mac_address: mac_address.map(Into::into),
            vlan_link,
        }
    }
}

impl From<v1beta1::NetworkLinkEthernetMac> for v1beta2::NetworkLinkEthernetMac {
    fn from(mac: v1beta1::NetworkLinkEthernetMac) -> Self {
        let v1beta1::NetworkLinkEthernetMac {
            string,
            from_host_interface,
            from_annotation,
        } = mac;
        Self {
            string: filled(string),
            from_host_interface: filled(from_host_interface),
            from_annotation: from_annotation.map(Into::into),
        }
    }
}

impl From<v1beta2::NetworkLinkEthernetMac> for v1beta1::NetworkLinkEthernetMac {
    fn from(mac: v1beta2::NetworkLinkEthernetMac) -> Self {
        let v1beta2::NetworkLinkEthernetMac {
            string,
            from_host_interface,
            from_annotation,
        } = mac;
        Self {
            string,
            from_host_interface,
            from_annotation: from_annotation.map(Into::into),
        }
    }
}

impl From<v1beta1::NetworkAnnotationRef> for v1beta2::NetworkAnnotationRef {
    fn from(v1beta1::NetworkAnnotationRef { object, annotation }: v1beta1::NetworkAnnotationRef) -> Self {
        Self { object, annotation }
    }
}

impl From<v1beta2::NetworkAnnotationRef> for v1beta1::NetworkAnnotationRef {
    fn from(v1beta2::NetworkAnnotationRef { object, annotation }: v1beta2::NetworkAnnotationRef) -> Self {
        Self { object, annotation }
    }
}

/// v1beta1 writers send a reference without a name when they mean none.
pub(super) fn pool_ref(pool: Option<v1beta1::PoolRef>) -> Option<v1beta2::PoolRef> {
    let v1beta1::PoolRef {
        api_group,
        kind,
        name,
    } = pool?;
    (!name.is_empty()).then(|| v1beta2::PoolRef {
        api_group: filled(api_group),
        kind: filled(kind),
        name,
    })
}

impl From<v1beta2::PoolRef> for v1beta1::PoolRef {
    fn from(
        v1beta2::PoolRef {
            api_group,
            kind,
            name,
        }: v1beta2::PoolRef,
    ) -> Self {
        Self {
            api_group,
            kind,
            name,
        }
    }
}

impl From<v1beta1::NetworkDataNetwork> for v1beta2::NetworkDataNetwork {
    fn from(networks: v1beta1::NetworkDataNetwork) -> Self {
        let v1beta1::NetworkDataNetwork {
            ipv4,
            ipv6,
            ipv4_dhcp,
            ipv6_dhcp,
            ipv6_slaac,
        } = networks;
        Self {
            ipv4: each(ipv4),
            ipv6: each(ipv6),
            ipv4_dhcp: each(ipv4_dhcp),
            ipv6_dhcp: each(ipv6_dhcp),
            ipv6_slaac: each(ipv6_slaac),
        }
    }
}

impl From<v1beta2::NetworkDataNetwork> for v1beta1::NetworkDataNetwork {
    fn from(networks: v1beta2::NetworkDataNetwork) -> Self {
        let v1beta2::NetworkDataNetwork {
            ipv4,
            ipv6,
            ipv4_dhcp,
            ipv6_dhcp,
            ipv6_slaac,
        } = networks;
        Self {
            ipv4: each(ipv4),
            ipv6: each(ipv6),
            ipv4_dhcp: each(ipv4_dhcp),
            ipv6_dhcp: each(ipv6_dhcp),
            ipv6_slaac: each(ipv6_slaac),
        }
    }
}

impl From<v1beta1::NetworkDataService> for v1beta2::NetworkDataService {
    fn from(services: v1beta1::NetworkDataService) -> Self {
        let v1beta1::NetworkDataService {
            dns,
            dns_from_ip_pool,
        } = services;
        Self {
            dns,
            dns_from_ip_pool: filled(dns_from_ip_pool),
        }
    }
}

impl From<v1beta2::NetworkDataService> for v1beta1::NetworkDataService {
    fn from(services: v1beta2::NetworkDataService) -> Self {
        let v1beta2::NetworkDataService {
            dns,
            dns_from_ip_pool,
        } = services;
        Self {
            dns,
            dns_from_ip_pool,
        }
    }
}
