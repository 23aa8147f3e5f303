//! Annotations of a host, one a line: reboot, detached, status, inspect, hardware details. The webhook judges them, and the
//! operator, which may meet them without it, decides.

#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use metal3_admission::{Host, review};
use metal3_api::metal3::host::BareMetalHost;
use metal3_api::metal3::saved;
use metal3_host_core::{BmcSecret, HostView, Observed, Settings, step};
use serde_json::{Map, json};

const NAMES: [&str; 6] = [
    "reboot.metal3.io",
    "reboot.metal3.io/client",
    "baremetalhost.metal3.io/detached",
    "baremetalhost.metal3.io/status",
    "inspect.metal3.io",
    "inspect.metal3.io/hardwaredetails",
];

fuzz_target!(|text: &str| {
    let annotations: Map<_, _> = NAMES
        .into_iter()
        .zip(text.split('\n'))
        .filter(|(_, value)| *value != "-")
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let object = json!({
        "metadata": {"name": "a", "namespace": "b", "annotations": annotations},
        "spec": {
            "online": true,
            "bootMACAddress": "00:5c:52:31:3a:9c",
            "inspectionMode": "disabled",
            "bmc": {"address": "redfish://c/d", "credentialsName": "e"},
        },
    });
    let errors = review::<Host>(&object, None).errors;
    let status = annotations
        .get("baremetalhost.metal3.io/status")
        .and_then(|status| status.as_str());
    if let Some(status) = status.filter(|status| !status.is_empty()) {
        let refused = errors
            .iter()
            .any(|error| error.contains("baremetalhost.metal3.io/status"));
        assert!(refused || saved::read(status).is_ok(), "{status}");
    }
    // Nothing that is stored already gets in the way of a finalizer.
    let mut finalized = object.clone();
    finalized["metadata"]["finalizers"] = json!(["baremetalhost.metal3.io"]);
    assert!(review::<Host>(&finalized, Some(&object)).errors.is_empty());

    let settings = Settings::default();
    for state in ["", "registering", "available", "provisioned", "deprovisioning"] {
        for deleting in [false, true] {
            let mut object = finalized.clone();
            let mut status = json!(metal3_api::metal3::host::BareMetalHostStatus::default());
            status["provisioning"]["state"] = json!(state);
            if !state.is_empty() {
                status["lastUpdated"] = json!("2026-01-01T00:00:00Z");
                status["provisioning"]["ID"] = json!("f");
            }
            object["status"] = status;
            if deleting {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            let host: BareMetalHost = serde_json::from_value(object).expect("a host");
            let view = HostView {
                host: &host,
                hardware: None,
                secret: BmcSecret::Found {
                    version: "1".into(),
                    same: Vec::new(),
                },
                settings: &settings,
            };
            step(&view, &Observed::default(), Timestamp::UNIX_EPOCH);
        }
    }
});
