//! Objects with every field that upstream's schemas have are read and written back without loss.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use metal3_api::{
    infra::{v1beta1, v1beta2},
    ipam,
    metal3::{
        data_image::DataImage,
        event_subscription::BMCEventSubscription,
        firmware_components::HostFirmwareComponents,
        firmware_settings::{FirmwareSchema, HostFirmwareSettings},
        hardware_data::HardwareData,
        host::BareMetalHost,
        host_claim::{HostClaim, HostDeployPolicy},
        preprovisioning_image::PreprovisioningImage,
        switch::{BareMetalSwitch, HostNetworkAttachment},
        update_policy::HostUpdatePolicy,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// The rows of a fact table: path, type, format and enum.
fn rows(table: &str, version: &str) -> Vec<[String; 4]> {
    let path = format!("{}/parity/{table}.tsv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|cells| cells[0] == version)
        .map(|cells| [cells[1], cells[2], cells[3], cells[6]].map(str::to_owned))
        .collect()
}

/// A value for a leaf; containers are made by what is inside them.
fn leaf([path, kind, format, words]: &[String; 4]) -> Option<Value> {
    let first = words.split(',').find(|word| !word.is_empty() && *word != "\"\"");
    Some(match (kind.as_str(), first) {
        ("string", Some(word)) if !word.starts_with('[') => json!(word),
        ("string", _) if format == "date-time" => json!("2026-11-24T10:00:00Z"),
        ("string", _) => json!(format!("text of {path}")),
        ("integer", _) => json!(42),
        ("number", _) => json!(4.5),
        ("boolean", _) => json!(true),
        ("int-or-string", _) => json!(7),
        _ => return None,
    })
}

fn put(root: &mut Value, path: &str, value: Value) {
    let mut at = root;
    let path = path.replace("[]", ".[]").replace("{}", ".{}");
    for step in path.split('.').filter(|step| !step.is_empty()) {
        at = match step {
            "[]" => {
                if !at.is_array() {
                    *at = json!([null]);
                }
                &mut at[0]
            }
            name => {
                if !at.is_object() {
                    *at = Value::Object(Map::new());
                }
                &mut at[if name == "{}" { "any key" } else { name }]
            }
        };
    }
    *at = value;
}

fn object<T: DeserializeOwned + Serialize>(group: &str, plural: &str, version: &str, kind: &str) -> T {
    let mut full = json!({});
    let rows = rows(&format!("{group}_{plural}"), version);
    assert!(rows.len() > 5, "{plural} has {} rows", rows.len());
    for row in &rows {
        if let Some(value) = leaf(row) {
            put(&mut full, &row[0], value);
        }
    }
    full["apiVersion"] = json!(format!("{group}/{version}"));
    full["kind"] = json!(kind);
    full["metadata"] = json!({"name": "full", "namespace": "lab"});
    let read: T =
        serde_json::from_value(full.clone()).unwrap_or_else(|error| panic!("{kind}: {error}\n{full:#}"));
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(leaves(&written), leaves(&full), "{kind} {version}");
    read
}

/// Leaves by pointer, so that a difference names its field.
fn leaves(value: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields
                .iter()
                .for_each(|(key, inner)| walk(inner, &format!("{path}/{key}"), found)),
            Value::Array(items) => items
                .iter()
                .for_each(|inner| walk(inner, &format!("{path}/0"), found)),
            leaf => found.push(format!("{path} = {leaf}")),
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found.sort();
    found
}

#[test]
fn full_objects_of_the_host_group_are_read_without_loss() {
    fn read<T: DeserializeOwned + Serialize>(plural: &str, kind: &str) -> T {
        object("metal3.io", plural, "v1alpha1", kind)
    }
    let host: BareMetalHost = read("baremetalhosts", "BareMetalHost");
    assert!(host.status.unwrap().hardware.is_some());
    read::<BareMetalSwitch>("baremetalswitches", "BareMetalSwitch");
    read::<BMCEventSubscription>("bmceventsubscriptions", "BMCEventSubscription");
    read::<DataImage>("dataimages", "DataImage");
    read::<FirmwareSchema>("firmwareschemas", "FirmwareSchema");
    read::<HardwareData>("hardwaredata", "HardwareData");
    read::<HostClaim>("hostclaims", "HostClaim");
    read::<HostDeployPolicy>("hostdeploypolicies", "HostDeployPolicy");
    read::<HostFirmwareComponents>("hostfirmwarecomponents", "HostFirmwareComponents");
    read::<HostFirmwareSettings>("hostfirmwaresettings", "HostFirmwareSettings");
    read::<HostNetworkAttachment>("hostnetworkattachments", "HostNetworkAttachment");
    read::<HostUpdatePolicy>("hostupdatepolicies", "HostUpdatePolicy");
    read::<PreprovisioningImage>("preprovisioningimages", "PreprovisioningImage");
}

#[test]
fn full_objects_of_the_address_group_are_read_without_loss() {
    fn read<T: DeserializeOwned + Serialize>(plural: &str, kind: &str) {
        object::<T>("ipam.metal3.io", plural, "v1alpha1", kind);
    }
    read::<ipam::IPPool>("ippools", "IPPool");
    read::<ipam::IPClaim>("ipclaims", "IPClaim");
    read::<ipam::IPAddress>("ipaddresses", "IPAddress");
}

const INFRA: &str = "infrastructure.cluster.x-k8s.io";

#[test]
fn full_objects_of_infrastructure_v1beta2_are_read_without_loss() {
    fn read<T: DeserializeOwned + Serialize>(plural: &str, kind: &str) {
        object::<T>(INFRA, plural, "v1beta2", kind);
    }
    read::<v1beta2::Metal3Cluster>("metal3clusters", "Metal3Cluster");
    read::<v1beta2::Metal3ClusterTemplate>("metal3clustertemplates", "Metal3ClusterTemplate");
    read::<v1beta2::Metal3Data>("metal3datas", "Metal3Data");
    read::<v1beta2::Metal3DataClaim>("metal3dataclaims", "Metal3DataClaim");
    read::<v1beta2::Metal3DataTemplate>("metal3datatemplates", "Metal3DataTemplate");
    read::<v1beta2::Metal3Machine>("metal3machines", "Metal3Machine");
    read::<v1beta2::Metal3MachineTemplate>("metal3machinetemplates", "Metal3MachineTemplate");
    read::<v1beta2::Metal3Remediation>("metal3remediations", "Metal3Remediation");
    read::<v1beta2::Metal3RemediationTemplate>("metal3remediationtemplates", "Metal3RemediationTemplate");
}

#[test]
fn full_objects_of_infrastructure_v1beta1_are_read_without_loss() {
    fn read<T: DeserializeOwned + Serialize>(plural: &str, kind: &str) {
        object::<T>(INFRA, plural, "v1beta1", kind);
    }
    read::<v1beta1::Metal3Cluster>("metal3clusters", "Metal3Cluster");
    read::<v1beta1::Metal3ClusterTemplate>("metal3clustertemplates", "Metal3ClusterTemplate");
    read::<v1beta1::Metal3Data>("metal3datas", "Metal3Data");
    read::<v1beta1::Metal3DataClaim>("metal3dataclaims", "Metal3DataClaim");
    read::<v1beta1::Metal3DataTemplate>("metal3datatemplates", "Metal3DataTemplate");
    read::<v1beta1::Metal3Machine>("metal3machines", "Metal3Machine");
    read::<v1beta1::Metal3MachineTemplate>("metal3machinetemplates", "Metal3MachineTemplate");
    read::<v1beta1::Metal3Remediation>("metal3remediations", "Metal3Remediation");
    read::<v1beta1::Metal3RemediationTemplate>("metal3remediationtemplates", "Metal3RemediationTemplate");
}
