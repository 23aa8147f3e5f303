//! `metal3.io/v1alpha1`: hosts, their hardware and what belongs to them.

pub mod common;
pub mod data_image;
pub mod event_subscription;
pub mod firmware_components;
pub mod firmware_settings;
pub mod hardware_data;
pub mod host;
pub mod host_claim;
pub mod preprovisioning_image;
pub mod raid;
pub mod saved;
pub mod state;
pub mod switch;
pub mod update_policy;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// All kinds of the group.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        moved_with_cluster(host::BareMetalHost::crd(), true),
        switch::BareMetalSwitch::crd(),
        event_subscription::BMCEventSubscription::crd(),
        data_image::DataImage::crd(),
        firmware_settings::FirmwareSchema::crd(),
        moved_with_cluster(hardware_data::HardwareData::crd(), false),
        host_claim::HostClaim::crd(),
        host_claim::HostDeployPolicy::crd(),
        firmware_components::HostFirmwareComponents::crd(),
        firmware_settings::HostFirmwareSettings::crd(),
        switch::HostNetworkAttachment::crd(),
        update_policy::HostUpdatePolicy::crd(),
        preprovisioning_image::PreprovisioningImage::crd(),
    ]
}

/// Hosts have no owner in a cluster; with these labels `clusterctl move` takes them along all the same.
fn moved_with_cluster(mut crd: CustomResourceDefinition, hierarchy: bool) -> CustomResourceDefinition {
    let labels = crd.metadata.labels.get_or_insert_default();
    labels.insert("clusterctl.cluster.x-k8s.io".to_owned(), String::new());
    labels.insert("clusterctl.cluster.x-k8s.io/move".to_owned(), String::new());
    if hierarchy {
        labels.insert(
            "clusterctl.cluster.x-k8s.io/move-hierarchy".to_owned(),
            String::new(),
        );
    }
    crd
}
