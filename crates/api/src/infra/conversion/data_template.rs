//! Metal3DataTemplate, without its network part.

use super::common::{each, filled, narrow};
use crate::infra::{v1beta1, v1beta2};

impl From<v1beta1::Metal3DataTemplateSpec> for v1beta2::Metal3DataTemplateSpec {
    fn from(spec: v1beta1::Metal3DataTemplateSpec) -> Self {
        let v1beta1::Metal3DataTemplateSpec {
            cluster_name,
            // Nothing reads it.
            template_reference: _,
            meta_data,
            network_data,
        } = spec;
        Self {
            cluster_name: filled(cluster_name),
            meta_data: meta_data.map(Into::into),
            network_data: network_data.map(Into::into),
        }
    }
}

impl From<v1beta2::Metal3DataTemplateSpec> for v1beta1::Metal3DataTemplateSpec {
    fn from(spec: v1beta2::Metal3DataTemplateSpec) -> Self {
        let v1beta2::Metal3DataTemplateSpec {
            cluster_name,
            meta_data,
            network_data,
        } = spec;
        Self {
            // v1beta1 requires it, and a write by that version must not be refused for it.
            cluster_name: Some(cluster_name.unwrap_or_default()),
            template_reference: None,
            meta_data: meta_data.map(Into::into),
            network_data: network_data.map(Into::into),
        }
    }
}

impl From<v1beta1::MetaData> for v1beta2::MetaData {
    fn from(data: v1beta1::MetaData) -> Self {
        let v1beta1::MetaData {
            strings,
            object_names,
            indexes,
            namespaces,
            ip_addresses_from_ip_pool,
            prefixes_from_ip_pool,
            gateways_from_ip_pool,
            dns_servers_from_ip_pool,
            from_host_interfaces,
            from_labels,
            from_annotations,
        } = data;
        Self {
            strings: each(strings),
            object_names: each(object_names),
            indexes: each(indexes),
            namespaces: each(namespaces),
            ip_addresses_from_pool: each(ip_addresses_from_ip_pool),
            prefixes_from_pool: each(prefixes_from_ip_pool),
            gateways_from_pool: each(gateways_from_ip_pool),
            dns_servers_from_pool: each(dns_servers_from_ip_pool),
            from_host_interfaces: each(from_host_interfaces),
            from_labels: each(from_labels),
            from_annotations: each(from_annotations),
        }
    }
}

impl From<v1beta2::MetaData> for v1beta1::MetaData {
    fn from(data: v1beta2::MetaData) -> Self {
        let v1beta2::MetaData {
            strings,
            object_names,
            indexes,
            namespaces,
            ip_addresses_from_pool,
            prefixes_from_pool,
            gateways_from_pool,
            dns_servers_from_pool,
            from_host_interfaces,
            from_labels,
            from_annotations,
        } = data;
        Self {
            strings: each(strings),
            object_names: each(object_names),
            indexes: each(indexes),
            namespaces: each(namespaces),
            ip_addresses_from_ip_pool: each(ip_addresses_from_pool),
            prefixes_from_ip_pool: each(prefixes_from_pool),
            gateways_from_ip_pool: each(gateways_from_pool),
            dns_servers_from_ip_pool: each(dns_servers_from_pool),
            from_host_interfaces: each(from_host_interfaces),
            from_labels: each(from_labels),
            from_annotations: each(from_annotations),
        }
    }
}

impl From<v1beta1::MetaDataString> for v1beta2::MetaDataString {
    fn from(v1beta1::MetaDataString { key, value }: v1beta1::MetaDataString) -> Self {
        Self { key, value }
    }
}

impl From<v1beta2::MetaDataString> for v1beta1::MetaDataString {
    fn from(v1beta2::MetaDataString { key, value }: v1beta2::MetaDataString) -> Self {
        Self { key, value }
    }
}

impl From<v1beta1::MetaDataObjectName> for v1beta2::MetaDataObjectName {
    fn from(v1beta1::MetaDataObjectName { key, object }: v1beta1::MetaDataObjectName) -> Self {
        Self { key, object }
    }
}

impl From<v1beta2::MetaDataObjectName> for v1beta1::MetaDataObjectName {
    fn from(v1beta2::MetaDataObjectName { key, object }: v1beta2::MetaDataObjectName) -> Self {
        Self { key, object }
    }
}

impl From<v1beta1::MetaDataIndex> for v1beta2::MetaDataIndex {
    fn from(index: v1beta1::MetaDataIndex) -> Self {
        let v1beta1::MetaDataIndex {
            key,
            offset,
            step,
            prefix,
            suffix,
        } = index;
        Self {
            key,
            offset: offset.map(narrow),
            step: step.map(narrow),
            prefix: filled(prefix),
            suffix: filled(suffix),
        }
    }
}

impl From<v1beta2::MetaDataIndex> for v1beta1::MetaDataIndex {
    fn from(index: v1beta2::MetaDataIndex) -> Self {
        let v1beta2::MetaDataIndex {
            key,
            offset,
            step,
            prefix,
            suffix,
        } = index;
        Self {
            key,
            offset: offset.map(i64::from),
            step: step.map(i64::from),
            prefix,
            suffix,
        }
    }
}

impl From<v1beta1::MetaDataNamespace> for v1beta2::MetaDataNamespace {
    fn from(v1beta1::MetaDataNamespace { key }: v1beta1::MetaDataNamespace) -> Self {
        Self { key }
    }
}

impl From<v1beta2::MetaDataNamespace> for v1beta1::MetaDataNamespace {
    fn from(v1beta2::MetaDataNamespace { key }: v1beta2::MetaDataNamespace) -> Self {
        Self { key }
    }
}

impl From<v1beta1::FromPool> for v1beta2::FromPool {
    fn from(pool: v1beta1::FromPool) -> Self {
        let v1beta1::FromPool {
            key,
            api_group,
            kind,
            name,
        } = pool;
        Self {
            key,
            api_group: filled(api_group),
            kind: filled(kind),
            name,
        }
    }
}

impl From<v1beta2::FromPool> for v1beta1::FromPool {
    fn from(
        v1beta2::FromPool {
            key,
            api_group,
            kind,
            name,
        }: v1beta2::FromPool,
    ) -> Self {
        Self {
            key,
            api_group,
            kind,
            name,
        }
    }
}

impl From<v1beta1::MetaDataHostInterface> for v1beta2::MetaDataHostInterface {
    fn from(interface: v1beta1::MetaDataHostInterface) -> Self {
        let v1beta1::MetaDataHostInterface {
            key,
            interface,
            from_boot_mac,
        } = interface;
        Self {
            key,
            interface: filled(interface),
            from_boot_mac,
        }
    }
}

impl From<v1beta2::MetaDataHostInterface> for v1beta1::MetaDataHostInterface {
    fn from(interface: v1beta2::MetaDataHostInterface) -> Self {
        let v1beta2::MetaDataHostInterface {
            key,
            interface,
            from_boot_mac,
        } = interface;
        Self {
            key,
            interface,
            from_boot_mac,
        }
    }
}

impl From<v1beta1::MetaDataFromLabel> for v1beta2::MetaDataFromLabel {
    fn from(v1beta1::MetaDataFromLabel { key, object, label }: v1beta1::MetaDataFromLabel) -> Self {
        Self { key, object, label }
    }
}

impl From<v1beta2::MetaDataFromLabel> for v1beta1::MetaDataFromLabel {
    fn from(v1beta2::MetaDataFromLabel { key, object, label }: v1beta2::MetaDataFromLabel) -> Self {
        Self { key, object, label }
    }
}

impl From<v1beta1::MetaDataFromAnnotation> for v1beta2::MetaDataFromAnnotation {
    fn from(source: v1beta1::MetaDataFromAnnotation) -> Self {
        let v1beta1::MetaDataFromAnnotation {
            key,
            object,
            annotation,
        } = source;
        Self {
            key,
            object,
            annotation,
        }
    }
}

impl From<v1beta2::MetaDataFromAnnotation> for v1beta1::MetaDataFromAnnotation {
    fn from(source: v1beta2::MetaDataFromAnnotation) -> Self {
        let v1beta2::MetaDataFromAnnotation {
            key,
            object,
            annotation,
        } = source;
        Self {
            key,
            object,
            annotation,
        }
    }
}

impl From<v1beta1::Metal3DataTemplateStatus> for v1beta2::Metal3DataTemplateStatus {
    fn from(status: v1beta1::Metal3DataTemplateStatus) -> Self {
        let v1beta1::Metal3DataTemplateStatus {
            indexes,
            last_updated,
        } = status;
        let mut indexes: Vec<v1beta2::IndexEntry> = indexes
            .into_iter()
            .map(|(name, index)| v1beta2::IndexEntry {
                index: narrow(index),
                name,
            })
            .collect();
        indexes.sort_by_key(|entry| entry.index);
        Self {
            indexes,
            last_updated,
        }
    }
}

impl From<v1beta2::Metal3DataTemplateStatus> for v1beta1::Metal3DataTemplateStatus {
    fn from(status: v1beta2::Metal3DataTemplateStatus) -> Self {
        let v1beta2::Metal3DataTemplateStatus {
            indexes,
            last_updated,
        } = status;
        let indexes = indexes
            .into_iter()
            .map(|entry| (entry.name, i64::from(entry.index)))
            .collect();
        Self {
            indexes,
            last_updated,
        }
    }
}
