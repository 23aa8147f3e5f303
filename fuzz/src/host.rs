//! A host in many ways, chosen by two bytes.

use metal3_api::names;
use serde_json::{Value, json};

/// Where it is.
pub const NAMESPACE: &str = "ns";
/// What it is called.
pub const NAME: &str = "a";

const STATES: [&str; 8] = [
    "available",
    "provisioned",
    "externally provisioned",
    "deprovisioning",
    "inspecting",
    "ready",
    "registering",
    "",
];

fn consumer(kind: &str, name: &str) -> Value {
    let group = match kind {
        "Cluster" => "cluster.x-k8s.io",
        _ => "infrastructure.cluster.x-k8s.io",
    };
    json!({"apiVersion": format!("{group}/v1beta2"), "kind": kind, "namespace": NAMESPACE, "name": name})
}

/// The host that these bits stand for. In the first byte: whose it is, in which state, whether something is to run there,
/// whether it is paused for a move and whether it goes; in the second one each bit is something that it has, or is.
pub fn host(first: u8, second: u8) -> Value {
    let has = |bits: u8, bit: u8| bits >> bit & 1 == 1;
    let when = |there: bool, value: &str| there.then(|| value.to_owned());
    let (owner, reserved) = match first & 3 {
        0 => (Some(consumer("Metal3Machine", "m")), false),
        1 => (None, false),
        2 => (Some(consumer("Cluster", "c")), true),
        _ => (Some(consumer("Metal3Machine", "other")), false),
    };
    let (image, paused, going) = (has(first, 5), has(first, 6), has(first, 7));
    let cleaning = if has(second, 5) { "disabled" } else { "metadata" };
    let hardware = has(second, 7).then(|| json!({"hostname": "h", "ramMebibytes": 1024}));
    let mut host = json!({});
    let given = json!({
        "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
        "metadata": {
            "namespace": NAMESPACE, "name": NAME, "uid": "u", "resourceVersion": "1", "generation": 1,
            "deletionTimestamp": when(going, "2026-01-01T00:00:00Z"),
            "labels": {
                "rack": "a",
                names::LABEL_CLUSTER_NAME: when(has(second, 0), "c"),
                names::LABEL_NODE_REUSE: when(reserved, "md-x"),
            },
            "annotations": {
                "reboot.metal3.io/k": when(has(second, 1), ""),
                names::ANNOTATION_PAUSED: when(paused, names::PAUSED_BY_CAPM3),
                names::ANNOTATION_STATUS: when(paused, "{}"),
                names::ANNOTATION_UNHEALTHY: when(has(second, 4), "fan"),
                names::ANNOTATION_RESERVED_UNTIL: when(reserved && has(second, 4), "1970-01-01T00:00:00Z"),
            },
        },
        "spec": {
            "online": has(second, 2), "disablePowerOff": has(second, 3), "automatedCleaningMode": cleaning,
            "consumerRef": owner,
            "image": image.then(|| json!({"url": "http://i", "checksum": "c", "format": "raw"})),
            "userData": when(has(second, 6), "s").map(|name| json!({"name": name, "namespace": NAMESPACE})),
        },
        "status": {
            "operationalStatus": "OK", "errorMessage": "", "errorCount": 0, "provisioningFailCount": 0,
            "poweredOn": has(second, 2), "lastUpdated": "2026-01-01T00:00:00Z",
            "provisioning": {"state": STATES[usize::from(first >> 2 & 7)], "ID": "i"},
            "hardware": hardware,
        },
    });
    // What is null is not there.
    json_patch::merge(&mut host, &given);
    host
}
