//! BareMetalHosts as users and older versions wrote them.

use metal3_api::metal3::{
    hardware_data::HardwareDetails,
    host::{BareMetalHost, BareMetalHostStatus, ErrorType, OperationalStatus, ProvisioningState, RAIDConfig},
};
use serde_json::{Value, json};

const HOST: &str = r#"
apiVersion: metal3.io/v1alpha1
kind: BareMetalHost
metadata: {name: rack1-7, namespace: lab, labels: {rack: "1"}}
spec:
  online: true
  architecture: x86_64
  bootMACAddress: 52:54:00:aa:00:07
  bootMode: UEFISecureBoot
  automatedCleaningMode: disabled
  bmc: {address: "redfish-virtualmedia://192.0.2.7/redfish/v1/Systems/1", credentialsName: rack1-7-bmc, disableCertificateVerification: true}
  rootDeviceHints: {deviceName: /dev/disk/by-path/pci-0000:00:1f.2-ata-1, minSizeGigabytes: 100, rotational: false}
  raid:
    hardwareRAIDVolumes: null
    softwareRAIDVolumes: [{level: "1", sizeGibibytes: 50, physicalDisks: [{serialNumber: a}, {serialNumber: b}]}]
  image: {url: "http://192.0.2.1/os.qcow2", checksum: "http://192.0.2.1/os.qcow2.sha256", checksumType: sha256, format: qcow2}
  userData: {name: worker-user-data, namespace: lab}
  consumerRef: {apiVersion: infrastructure.cluster.x-k8s.io/v1beta2, kind: Metal3Machine, name: worker-x, namespace: lab}
"#;

fn status() -> Value {
    json!({
        "operationalStatus": "OK", "errorMessage": "", "poweredOn": false, "errorCount": 0, "provisioningFailCount": 0,
        "provisioning": {"state": "preparing", "ID": "a-b", "image": {"url": ""}},
        "goodCredentials": {}, "triedCredentials": {},
        "operationHistory": {
            "register": {"start": "2026-11-24T10:00:00Z", "end": null},
            "inspect": {"start": null, "end": null},
            "provision": {"start": null, "end": null},
            "deprovision": {"start": null, "end": null},
        },
    })
}

#[test]
fn a_host_as_users_write_it_is_read_without_loss() {
    let manifest: Value = serde_saphyr::from_str(HOST).unwrap();
    let host: BareMetalHost = serde_json::from_value(manifest.clone()).unwrap();
    assert_eq!(serde_json::to_value(&host).unwrap(), manifest);
}

#[test]
fn fields_that_upstream_always_writes_are_written() {
    assert_eq!(
        serde_json::to_value(BareMetalHostStatus {
            operational_status: OperationalStatus::Ok,
            ..BareMetalHostStatus::default()
        })
        .unwrap()["provisioning"],
        json!({"state": "", "ID": "", "image": {"url": ""}})
    );
    assert_eq!(
        serde_json::to_value(HardwareDetails::default()).unwrap(),
        json!({"systemVendor": {}, "firmware": {"bios": {}}})
    );
    let host = serde_json::to_value(BareMetalHost::new("a", Default::default())).unwrap();
    assert_eq!(
        host["spec"],
        json!({"online": false, "bmc": {"address": "", "credentialsName": ""}})
    );
}

#[test]
fn a_status_as_upstream_writes_it_is_read_without_loss() {
    let read: BareMetalHostStatus = serde_json::from_value(status()).unwrap();
    assert_eq!(read.provisioning.image, None);
    assert_eq!(serde_json::to_value(&read).unwrap(), status());
}

#[test]
fn absent_and_empty_raid_volumes_stay_apart() {
    for raid in [
        json!({"hardwareRAIDVolumes": null, "softwareRAIDVolumes": null}),
        json!({"hardwareRAIDVolumes": [], "softwareRAIDVolumes": null}),
    ] {
        let read: RAIDConfig = serde_json::from_value(raid.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), raid);
    }
    assert_eq!(
        serde_json::from_value::<RAIDConfig>(json!({})).unwrap(),
        RAIDConfig::default()
    );
}

#[test]
fn words_of_another_version_leave_the_host_readable() {
    let mut status = status();
    status["operationalStatus"] = json!("meditating");
    status["errorType"] = json!("existential error");
    status["provisioning"]["state"] = json!("transcending");
    let read: BareMetalHostStatus = serde_json::from_value(status.clone()).unwrap();
    assert_eq!(
        (read.operational_status, read.error_type),
        (OperationalStatus::None, None)
    );
    assert_eq!(
        read.provisioning.state,
        ProvisioningState::Unknown("transcending".to_owned())
    );
    status["errorType"] = json!("detach error");
    let read: BareMetalHostStatus = serde_json::from_value(status).unwrap();
    assert_eq!(read.error_type, Some(ErrorType::Detach));
}

#[test]
fn every_state_is_written_as_the_word_it_is_read_from() {
    for word in [
        "",
        "unmanaged",
        "registering",
        "match profile",
        "inspecting",
        "preparing",
        "ready",
        "available",
        "provisioning",
        "provisioned",
        "externally provisioned",
        "deprovisioning",
        "powering off before delete",
        "deleting",
    ] {
        let state = ProvisioningState::from(word);
        assert!(!matches!(state, ProvisioningState::Unknown(_)), "{word}");
        assert_eq!(state.as_str(), word);
    }
}
