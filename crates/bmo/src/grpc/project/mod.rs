//! A BareMetalHost as others may see it: no credential, no content of a Secret.

#[cfg(test)]
mod leaks;
mod wait;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::SecretReference;
use kube::ResourceExt as _;
use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::metal3::host::{AutomatedCleaningMode, BareMetalHost, BareMetalHostStatus, Image};
use metal3_api::names;
use metal3_rpc::v1;

pub(super) use wait::told as told_wait;

/// Projects a host.
pub(crate) fn project(host: &BareMetalHost) -> v1::Host {
    let (spec, status) = (&host.spec, host.status.as_ref());
    let annotations = host.annotations();
    let label = |name: &str| host.labels().get(name).cloned().unwrap_or_default();
    let provisioning = status.map(|status| &status.provisioning);
    let cleaning = match spec.automated_cleaning_mode {
        Some(AutomatedCleaningMode::Disabled) => v1::CleaningMode::Disabled,
        Some(AutomatedCleaningMode::Metadata) | None => v1::CleaningMode::Metadata,
    };
    v1::Host {
        r#ref: Some(v1::HostRef {
            namespace: host.namespace().unwrap_or_default(),
            name: host.name_any(),
            uid: host.uid().unwrap_or_default(),
        }),
        revision: host.resource_version().unwrap_or_default(),
        generation: host.metadata.generation.unwrap_or(0),
        labels: host.labels().clone().into_iter().collect(),
        annotations: told(annotations),
        consumer: spec.consumer_ref.as_ref().map(|consumer| v1::Consumer {
            api_version: consumer.api_version.clone().unwrap_or_default(),
            kind: consumer.kind.clone().unwrap_or_default(),
            // Upstream's provider leaves it out when it is the host's.
            namespace: consumer
                .namespace
                .clone()
                .or_else(|| host.namespace())
                .unwrap_or_default(),
            name: consumer.name.clone().unwrap_or_default(),
            uid: consumer.uid.clone().unwrap_or_default(),
        }),
        cluster_name: label(names::LABEL_CLUSTER_NAME),
        reuse_key: label(names::LABEL_NODE_REUSE),
        failure_domain: label(names::LABEL_FAILURE_DOMAIN),
        provisioning_state: provisioning.map(|p| p.state.to_string()).unwrap_or_default(),
        operational_status: status
            .map(|status| status.operational_status.as_str().into())
            .unwrap_or_default(),
        error_type: status
            .and_then(|s| s.error_type)
            .map(|error| error.as_str().into())
            .unwrap_or_default(),
        error_message: status
            .map(|status| status.error_message.clone())
            .unwrap_or_default(),
        error_count: status
            .and_then(|status| i32::try_from(status.error_count).ok())
            .unwrap_or(0),
        powered_on: status.is_some_and(|status| status.powered_on),
        online: spec.online,
        disable_power_off: spec.disable_power_off == Some(true),
        cleaning_mode: cleaning.into(),
        paused_by: annotations.get(names::ANNOTATION_PAUSED).cloned(),
        unhealthy: [names::ANNOTATION_UNHEALTHY, names::ANNOTATION_UNHEALTHY_LEGACY]
            .iter()
            .any(|name| annotations.contains_key(*name)),
        deleting: host.metadata.deletion_timestamp.is_some(),
        provisioned_image: provisioning.and_then(|p| image(p.image.as_ref())),
        requested_image: image(spec.image.as_ref()),
        user_data: secret(spec.user_data.as_ref()),
        meta_data: secret(spec.meta_data.as_ref()),
        network_data: secret(spec.network_data.as_ref()),
        inventory: status.and_then(|status| status.hardware.as_ref()).map(inventory),
        power_holds: holds(annotations),
        conditions: status.map(told_conditions).unwrap_or_default(),
        wait: wait::waits(host),
        externally_provisioned: spec.externally_provisioned == Some(true),
        requested_custom_deploy_method: spec
            .custom_deploy
            .as_ref()
            .map(|d| d.method.clone())
            .unwrap_or_default(),
        provisioned_custom_deploy_method: provisioning
            .and_then(|p| p.custom_deploy.as_ref())
            .map(|deploy| deploy.method.clone())
            .unwrap_or_default(),
        reserved_until: annotations
            .get(names::ANNOTATION_RESERVED_UNTIL)
            .and_then(|end| end.parse().ok())
            .map(timestamp),
    }
}

/// Annotations that consumers act on; others may hold anything.
fn told(annotations: &BTreeMap<String, String>) -> std::collections::HashMap<String, String> {
    let wanted = |key: &str| {
        key.starts_with(names::ANNOTATION_REBOOT)
            || [
                names::ANNOTATION_PAUSED,
                names::ANNOTATION_DETACHED,
                names::ANNOTATION_BLOCK_MOVE,
                names::ANNOTATION_UNHEALTHY,
                names::ANNOTATION_UNHEALTHY_LEGACY,
            ]
            .contains(&key)
    };
    annotations
        .iter()
        .filter(|(key, _)| wanted(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn holds(annotations: &BTreeMap<String, String>) -> Vec<String> {
    let prefix = format!("{}/", names::ANNOTATION_REBOOT);
    annotations
        .keys()
        .filter_map(|key| key.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect()
}

fn image(image: Option<&Image>) -> Option<v1::Image> {
    let image = image.filter(|image| !image.url.is_empty())?;
    Some(v1::Image {
        url: image.url.clone(),
        checksum: image.checksum.clone().unwrap_or_default(),
        checksum_type: image.checksum_type.clone().unwrap_or_default(),
        format: image.format.clone().unwrap_or_default(),
    })
}

fn secret(secret: Option<&SecretReference>) -> Option<v1::SecretRef> {
    let secret = secret?;
    Some(v1::SecretRef {
        name: secret.name.clone().unwrap_or_default(),
        namespace: secret.namespace.clone().unwrap_or_default(),
    })
}

fn inventory(hardware: &HardwareDetails) -> v1::InventorySummary {
    let unsigned = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    let cpu = hardware.cpu.as_ref();
    v1::InventorySummary {
        hostname: hardware.hostname.clone().unwrap_or_default(),
        nics: hardware
            .nics
            .iter()
            .map(|nic| v1::Nic {
                name: nic.name.clone().unwrap_or_default(),
                mac: nic.mac.clone().unwrap_or_default(),
                ip: nic.ip.clone().unwrap_or_default(),
            })
            .collect(),
        architecture: cpu.and_then(|cpu| cpu.arch.clone()).unwrap_or_default(),
        cpu_count: u32::try_from(unsigned(cpu.and_then(|cpu| cpu.count))).unwrap_or(u32::MAX),
        ram_mebibytes: unsigned(hardware.ram_mebibytes),
        disk_bytes: hardware
            .storage
            .iter()
            .map(|disk| unsigned(disk.size_bytes))
            .sum(),
    }
}

/// A time on the wire.
pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

fn told_conditions(status: &BareMetalHostStatus) -> Vec<v1::Condition> {
    let conditions = status.conditions.iter();
    conditions
        .map(|condition| v1::Condition {
            r#type: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            last_transition_time: Some(timestamp(condition.last_transition_time.0)),
        })
        .collect()
}
