//! Metal3Cluster and its template.

use std::collections::BTreeMap;

use super::common::{conditions, filled, initialization, narrow, ready, v1beta2_status};
use crate::infra::{v1beta1, v1beta2};

impl From<v1beta1::Metal3ClusterSpec> for v1beta2::Metal3ClusterSpec {
    fn from(spec: v1beta1::Metal3ClusterSpec) -> Self {
        let v1beta1::Metal3ClusterSpec {
            control_plane_endpoint,
            cloud_provider_enabled,
            no_cloud_provider,
            failure_domains,
        } = spec;
        Self {
            control_plane_endpoint: control_plane_endpoint.map(Into::into),
            // The older field counts only when the newer one says nothing.
            cloud_provider_enabled: cloud_provider_enabled.or_else(|| no_cloud_provider.map(|no| !no)),
            failure_domains: domain_list(failure_domains),
        }
    }
}

impl From<v1beta2::Metal3ClusterSpec> for v1beta1::Metal3ClusterSpec {
    fn from(spec: v1beta2::Metal3ClusterSpec) -> Self {
        let v1beta2::Metal3ClusterSpec {
            control_plane_endpoint,
            cloud_provider_enabled,
            failure_domains,
        } = spec;
        Self {
            control_plane_endpoint: control_plane_endpoint.map(Into::into),
            cloud_provider_enabled,
            no_cloud_provider: cloud_provider_enabled.map(|enabled| !enabled),
            failure_domains: domain_map(failure_domains),
        }
    }
}

impl From<v1beta1::APIEndpoint> for v1beta2::APIEndpoint {
    fn from(endpoint: v1beta1::APIEndpoint) -> Self {
        let v1beta1::APIEndpoint { host, port } = endpoint;
        // Port 0 is how v1beta1 says that there is none.
        Self {
            host: filled(host),
            port: port.filter(|port| *port != 0).map(narrow),
        }
    }
}

impl From<v1beta2::APIEndpoint> for v1beta1::APIEndpoint {
    fn from(endpoint: v1beta2::APIEndpoint) -> Self {
        let v1beta2::APIEndpoint { host, port } = endpoint;
        Self {
            host,
            port: port.map(i64::from),
        }
    }
}

fn domain_list(domains: BTreeMap<String, v1beta1::FailureDomainSpec>) -> Vec<v1beta2::FailureDomain> {
    domains
        .into_iter()
        .map(
            |(
                name,
                v1beta1::FailureDomainSpec {
                    control_plane,
                    attributes,
                },
            )| v1beta2::FailureDomain {
                name,
                control_plane,
                attributes,
            },
        )
        .collect()
}

fn domain_map(domains: Vec<v1beta2::FailureDomain>) -> BTreeMap<String, v1beta1::FailureDomainSpec> {
    domains
        .into_iter()
        .map(
            |v1beta2::FailureDomain {
                 name,
                 control_plane,
                 attributes,
             }| {
                (
                    name,
                    v1beta1::FailureDomainSpec {
                        control_plane,
                        attributes,
                    },
                )
            },
        )
        .collect()
}

impl From<v1beta1::Metal3ClusterStatus> for v1beta2::Metal3ClusterStatus {
    fn from(status: v1beta1::Metal3ClusterStatus) -> Self {
        let v1beta1::Metal3ClusterStatus {
            ready,
            failure_domains,
            last_updated,
            failure_reason,
            failure_message,
            conditions: old_conditions,
            v1beta2,
        } = status;
        let deprecated = v1beta2::Metal3ClusterV1Beta1DeprecatedStatus {
            conditions: old_conditions,
            failure_reason,
            failure_message,
        };
        let empty = deprecated == v1beta2::Metal3ClusterV1Beta1DeprecatedStatus::default();
        Self {
            initialization: initialization(ready),
            failure_domains: domain_list(failure_domains),
            last_updated,
            conditions: conditions(v1beta2),
            deprecated: (!empty).then_some(v1beta2::Metal3ClusterDeprecatedStatus {
                v1beta1: Some(deprecated),
            }),
        }
    }
}

impl From<v1beta2::Metal3ClusterStatus> for v1beta1::Metal3ClusterStatus {
    fn from(status: v1beta2::Metal3ClusterStatus) -> Self {
        let v1beta2::Metal3ClusterStatus {
            initialization,
            failure_domains,
            last_updated,
            conditions,
            deprecated,
        } = status;
        let v1beta2::Metal3ClusterV1Beta1DeprecatedStatus {
            conditions: old_conditions,
            failure_reason,
            failure_message,
        } = deprecated
            .and_then(|deprecated| deprecated.v1beta1)
            .unwrap_or_default();
        Self {
            ready: ready(initialization),
            failure_domains: domain_map(failure_domains),
            last_updated,
            failure_reason,
            failure_message,
            conditions: old_conditions,
            v1beta2: v1beta2_status(conditions),
        }
    }
}

impl From<v1beta1::Metal3ClusterTemplateSpec> for v1beta2::Metal3ClusterTemplateSpec {
    fn from(spec: v1beta1::Metal3ClusterTemplateSpec) -> Self {
        let v1beta1::Metal3ClusterTemplateSpec {
            template: v1beta1::Metal3ClusterTemplateResource { spec },
        } = spec;
        Self {
            template: v1beta2::Metal3ClusterTemplateResource {
                metadata: None,
                spec: spec.into(),
            },
        }
    }
}

impl From<v1beta2::Metal3ClusterTemplateSpec> for v1beta1::Metal3ClusterTemplateSpec {
    fn from(spec: v1beta2::Metal3ClusterTemplateSpec) -> Self {
        // v1beta1 has no place for the metadata.
        let v1beta2::Metal3ClusterTemplateResource { metadata: _, spec } = spec.template;
        Self {
            template: v1beta1::Metal3ClusterTemplateResource { spec: spec.into() },
        }
    }
}
