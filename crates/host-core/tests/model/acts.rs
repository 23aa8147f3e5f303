//! What happens to a host: its begins, and what users, the backend and the process do.

use metal3_api::names;
use metal3_host_core::BmcSecret;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Act, Crash, KINDS, Replies, Reply};
use crate::world::found;

/// New, externally provisioned, unmanaged, or with a part of its life behind it.
pub(crate) fn start() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        1 => Just(json!({"metadata": {"labels": {"ramdisk": ""}}})),
        1 => Just(json!({"spec": {"image": image("a")}, "metadata": finalizer(), "status": servicing()})),
        1 => Just(json!({"spec": {"externallyProvisioned": true}})),
        1 => Just(json!({"spec": {"bmc": null}})),
        1 => Just(json!({"spec": {"image": image("a")}, "metadata": finalizer(), "status": status("available")})),
        3 => Just(json!({"spec": {"image": image("a")}, "metadata": finalizer(), "status": status("provisioned")})),
    ]
}

pub(super) fn image(name: &str) -> Value {
    json!({"url": format!("http://images/{name}"), "checksum": "abc"})
}

fn finalizer() -> Value {
    json!({"finalizers": [names::FINALIZER_HOST]})
}

fn servicing() -> Value {
    let mut status = status("provisioned");
    status["operationalStatus"] = "servicing".into();
    status
}

fn status(state: &str) -> Value {
    let deployed = if state == "provisioned" {
        image("a")
    } else {
        Value::Null
    };
    json!({
        "operationalStatus": "OK", "errorMessage": "", "errorCount": 0, "provisioningFailCount": 0, "poweredOn": true,
        "lastUpdated": "2026-01-01T00:00:00Z",
        "provisioning": {"state": state, "ID": "node-1", "image": deployed},
        "operationHistory": {"register": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}},
    })
}

pub(crate) fn replies() -> impl Strategy<Value = Replies> {
    let reply = prop_oneof![
        8 => Just(Reply::Done),
        2 => Just(Reply::Working),
        2 => Just(Reply::Started),
        2 => Just(Reply::Failed),
        1 => Just(Reply::Unknown),
        1 => Just(Reply::Unavailable),
    ];
    prop::collection::vec(reply, KINDS).prop_map(Replies)
}

fn pass() -> impl Strategy<Value = Act> {
    let crash = prop_oneof![
        8 => Just(Crash::No),
        2 => (0usize..3).prop_map(Crash::After),
        1 => Just(Crash::Stale),
    ];
    (replies(), crash).prop_map(|(replies, crash)| Act::Pass { replies, crash })
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    let edit = prop_oneof![
        Just(json!({"online": false})),
        Just(json!({"online": true})),
        Just(json!({"image": image("a")})),
        Just(json!({"image": image("b")})),
        Just(json!({"image": null})),
        Just(json!({"customDeploy": {"method": "install"}})),
        Just(json!({"customDeploy": {"method": "other"}})),
        Just(json!({"customDeploy": null})),
        Just(json!({"image": {"url": "oci://registry/image", "checksum": null}})),
        Just(json!({"image": {"url": "http://images/unchecked", "checksum": null}})),
        Just(json!({"raid": {"hardwareRAIDVolumes": [{"level": "1"}], "softwareRAIDVolumes": null}})),
        Just(json!({"raid": {"hardwareRAIDVolumes": null, "softwareRAIDVolumes": [{"level": "1", "rootVolume": true}]}})),
        Just(json!({"raid": {"hardwareRAIDVolumes": [], "softwareRAIDVolumes": []}})),
        Just(json!({"raid": null})),
        Just(json!({"rootDeviceHints": {"deviceName": "/dev/sdb"}})),
        Just(json!({"rootDeviceHints": null})),
        Just(json!({"inspectionMode": "disabled"})),
        Just(json!({"inspectionMode": null})),
        Just(json!({"automatedCleaningMode": "disabled"})),
        Just(json!({"disablePowerOff": true})),
        Just(json!({"disablePowerOff": null})),
        Just(json!({"hardwareProfile": "strange"})),
        Just(json!({"hardwareProfile": null})),
    ]
    .prop_map(|spec| Act::Edit(json!({"spec": spec})));
    let annotate = prop_oneof![
        Just((names::ANNOTATION_PAUSED, Some(""))),
        Just((names::ANNOTATION_PAUSED, None)),
        Just((names::ANNOTATION_PAUSED, None)),
        Just((names::ANNOTATION_DETACHED, Some(""))),
        Just((names::ANNOTATION_DETACHED, Some(r#"{"force": true}"#))),
        Just((names::ANNOTATION_DETACHED, Some(r#"{"deleteAction": "delay"}"#))),
        Just((names::ANNOTATION_DETACHED, Some(r#"{"deleteAction": dlay"#))),
        Just((names::ANNOTATION_DETACHED, None)),
        Just((names::ANNOTATION_DETACHED, None)),
        Just((names::ANNOTATION_REBOOT, Some(""))),
        Just((
            names::ANNOTATION_REBOOT,
            Some(r#"{"force": true, "mode": "hard"}"#)
        )),
        Just(("reboot.metal3.io/client", Some(""))),
        Just(("reboot.metal3.io/client", Some("hard"))),
        Just(("reboot.metal3.io/other", Some(r#"{"mode": "hard"}"#))),
        Just(("reboot.metal3.io/other", None)),
        Just(("reboot.metal3.io/client", None)),
        Just((names::ANNOTATION_INSPECT, Some(""))),
        Just((names::ANNOTATION_INSPECT, Some("disabled"))),
        Just((names::ANNOTATION_INSPECT, None)),
        Just((names::ANNOTATION_STATUS, Some("no json"))),
        Just((names::ANNOTATION_STATUS, None)),
        Just((names::ANNOTATION_HARDWARE_DETAILS, Some("{}"))),
    ]
    .prop_map(|(name, value)| Act::Annotate(name, value));
    let secret = prop_oneof![
        Just(BmcSecret::Missing),
        Just(BmcSecret::Incomplete {
            message: "no password".into()
        }),
        Just(found("1")),
        Just(found("2")),
    ]
    .prop_map(Act::Secret);
    prop_oneof![
        16 => pass(),
        4 => edit,
        3 => annotate,
        1 => secret,
        4 => (1i64..600).prop_map(Act::Wait),
        1 => prop_oneof![
            Just(Act::Lost),
            Just(Act::Hardware(r#"{"hostname": "brought", "cpu": {"arch": "aarch64"}}"#)),
        ],
        1 => any::<bool>().prop_map(Act::Power),
        1 => any::<bool>().prop_map(Act::External),
        1 => Just(Act::Delete),
    ]
}
