//! Metal3Machine and its template.

use super::common::{conditions, each, filled, initialization, narrow_ref, ready, v1beta2_status, widen_ref};
use crate::infra::{v1beta1, v1beta2};

impl From<v1beta1::Metal3MachineSpec> for v1beta2::Metal3MachineSpec {
    fn from(spec: v1beta1::Metal3MachineSpec) -> Self {
        let v1beta1::Metal3MachineSpec {
            provider_id,
            image,
            custom_deploy,
            user_data,
            meta_data,
            network_data,
            host_selector,
            data_template,
            automated_cleaning_mode,
            failure_domain,
        } = spec;
        Self {
            provider_id: filled(provider_id),
            // v1beta1 writers send an empty image when they mean none; v1beta2 forbids it.
            image: image
                .map(v1beta2::Image::from)
                .filter(|image| *image != v1beta2::Image::default()),
            custom_deploy: custom_deploy
                .map(v1beta2::CustomDeploy::from)
                .filter(|deploy| !deploy.method.is_empty()),
            user_data,
            meta_data,
            network_data,
            host_selector: host_selector.map(Into::into),
            data_template: data_template.map(narrow_ref),
            automated_cleaning_mode: filled(automated_cleaning_mode),
            failure_domain: filled(failure_domain),
        }
    }
}

impl From<v1beta2::Metal3MachineSpec> for v1beta1::Metal3MachineSpec {
    fn from(spec: v1beta2::Metal3MachineSpec) -> Self {
        let v1beta2::Metal3MachineSpec {
            provider_id,
            image,
            custom_deploy,
            user_data,
            meta_data,
            network_data,
            host_selector,
            data_template,
            automated_cleaning_mode,
            failure_domain,
        } = spec;
        Self {
            provider_id,
            image: image.map(Into::into),
            custom_deploy: custom_deploy.map(Into::into),
            user_data,
            meta_data,
            network_data,
            host_selector: host_selector.map(Into::into),
            data_template: data_template.map(widen_ref),
            automated_cleaning_mode,
            failure_domain,
        }
    }
}

impl From<v1beta1::Image> for v1beta2::Image {
    fn from(image: v1beta1::Image) -> Self {
        let v1beta1::Image {
            url,
            checksum,
            checksum_type,
            format,
        } = image;
        Self {
            url,
            checksum: filled(checksum),
            checksum_type: filled(checksum_type),
            disk_format: filled(format),
        }
    }
}

impl From<v1beta2::Image> for v1beta1::Image {
    fn from(image: v1beta2::Image) -> Self {
        let v1beta2::Image {
            url,
            checksum,
            checksum_type,
            disk_format,
        } = image;
        Self {
            url,
            checksum,
            checksum_type,
            format: disk_format,
        }
    }
}

impl From<v1beta1::CustomDeploy> for v1beta2::CustomDeploy {
    fn from(deploy: v1beta1::CustomDeploy) -> Self {
        Self {
            method: deploy.method,
        }
    }
}

impl From<v1beta2::CustomDeploy> for v1beta1::CustomDeploy {
    fn from(deploy: v1beta2::CustomDeploy) -> Self {
        Self {
            method: deploy.method,
        }
    }
}

impl From<v1beta1::HostSelector> for v1beta2::HostSelector {
    fn from(selector: v1beta1::HostSelector) -> Self {
        let v1beta1::HostSelector {
            match_labels,
            match_expressions,
        } = selector;
        Self {
            match_labels,
            match_expressions: each(match_expressions),
        }
    }
}

impl From<v1beta2::HostSelector> for v1beta1::HostSelector {
    fn from(selector: v1beta2::HostSelector) -> Self {
        let v1beta2::HostSelector {
            match_labels,
            match_expressions,
        } = selector;
        Self {
            match_labels,
            match_expressions: each(match_expressions),
        }
    }
}

impl From<v1beta1::HostSelectorRequirement> for v1beta2::HostSelectorRequirement {
    fn from(requirement: v1beta1::HostSelectorRequirement) -> Self {
        let v1beta1::HostSelectorRequirement {
            key,
            operator,
            values,
        } = requirement;
        Self {
            key,
            operator,
            values,
        }
    }
}

impl From<v1beta2::HostSelectorRequirement> for v1beta1::HostSelectorRequirement {
    fn from(requirement: v1beta2::HostSelectorRequirement) -> Self {
        let v1beta2::HostSelectorRequirement {
            key,
            operator,
            values,
        } = requirement;
        Self {
            key,
            operator,
            values,
        }
    }
}

impl From<v1beta1::Metal3MachineStatus> for v1beta2::Metal3MachineStatus {
    fn from(status: v1beta1::Metal3MachineStatus) -> Self {
        let v1beta1::Metal3MachineStatus {
            ready,
            // Nothing ever wrote the phase.
            phase: _,
            addresses,
            user_data,
            meta_data,
            network_data,
            rendered_data,
            last_updated,
            failure_reason,
            failure_message,
            conditions: old_conditions,
            v1beta2,
        } = status;
        let deprecated = v1beta2::V1Beta1DeprecatedStatus {
            conditions: old_conditions,
            failure_reason,
            failure_message,
        };
        let empty = deprecated == v1beta2::V1Beta1DeprecatedStatus::default();
        Self {
            initialization: initialization(ready),
            addresses,
            user_data,
            meta_data,
            network_data,
            rendered_data: rendered_data.map(narrow_ref),
            last_updated,
            conditions: conditions(v1beta2),
            deprecated: (!empty).then_some(v1beta2::DeprecatedStatus {
                v1beta1: Some(deprecated),
            }),
        }
    }
}

impl From<v1beta2::Metal3MachineStatus> for v1beta1::Metal3MachineStatus {
    fn from(status: v1beta2::Metal3MachineStatus) -> Self {
        let v1beta2::Metal3MachineStatus {
            initialization,
            addresses,
            user_data,
            meta_data,
            network_data,
            rendered_data,
            last_updated,
            conditions,
            deprecated,
        } = status;
        let v1beta2::V1Beta1DeprecatedStatus {
            conditions: old_conditions,
            failure_reason,
            failure_message,
        } = deprecated
            .and_then(|deprecated| deprecated.v1beta1)
            .unwrap_or_default();
        Self {
            ready: ready(initialization),
            phase: None,
            addresses,
            user_data,
            meta_data,
            network_data,
            rendered_data: rendered_data.map(widen_ref),
            last_updated,
            failure_reason,
            failure_message,
            conditions: old_conditions,
            v1beta2: v1beta2_status(conditions),
        }
    }
}

impl From<v1beta1::Metal3MachineTemplateSpec> for v1beta2::Metal3MachineTemplateSpec {
    fn from(spec: v1beta1::Metal3MachineTemplateSpec) -> Self {
        let v1beta1::Metal3MachineTemplateSpec { template, node_reuse } = spec;
        let v1beta1::Metal3MachineTemplateResource { spec } = template;
        Self {
            template: v1beta2::Metal3MachineTemplateResource {
                metadata: None,
                spec: spec.into(),
            },
            node_reuse,
        }
    }
}

impl From<v1beta2::Metal3MachineTemplateSpec> for v1beta1::Metal3MachineTemplateSpec {
    fn from(spec: v1beta2::Metal3MachineTemplateSpec) -> Self {
        let v1beta2::Metal3MachineTemplateSpec { template, node_reuse } = spec;
        // v1beta1 has no place for the metadata.
        let v1beta2::Metal3MachineTemplateResource { metadata: _, spec } = template;
        Self {
            template: v1beta1::Metal3MachineTemplateResource { spec: spec.into() },
            node_reuse,
        }
    }
}
