//! The requests of the table in `drift.txt`.

use reqwest::Method;
use serde_json::{Value, json};

const OTHER_INSTANCE: &str = "5eed0000-0000-4000-8000-0000000000ff";

/// A request to a node, by the words it has in the table.
pub(super) struct Probe {
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) body: Value,
}

fn probe(name: &'static str, method: Method, path: &'static str, body: Value) -> Probe {
    Probe {
        name,
        method,
        path,
        body,
    }
}

fn verb(name: &'static str, body: Value) -> Probe {
    probe(name, Method::PUT, "/states/provision", body)
}

fn patch(name: &'static str, operation: &Value) -> Probe {
    probe(name, Method::PATCH, "", json!([operation]))
}

/// What is tried in every state. What changes the node comes last.
pub(super) fn probes() -> Vec<Probe> {
    [reads(), wrong_states(), wrong_patches(), parts()]
        .into_iter()
        .flatten()
        .collect()
}

fn get(name: &'static str, path: &'static str) -> Probe {
    probe(name, Method::GET, path, Value::Null)
}

fn put(name: &'static str, path: &'static str, body: Value) -> Probe {
    probe(name, Method::PUT, path, body)
}

/// Reading works in any state.
fn reads() -> Vec<Probe> {
    vec![
        get("get", ""),
        get("get fields=bogus", "?fields=bogus"),
        get("get fields=updated_at", "?fields=updated_at"),
        get("get states", "/states"),
        get("get ports", "/ports"),
        get("get bios", "/bios?detail=true"),
        get("get firmware", "/firmware"),
    ]
}

/// Verbs, power and RAID with something wrong in them.
fn wrong_states() -> Vec<Probe> {
    let steps = json!([{"interface": "raid", "step": "delete_configuration"}]);
    let wrong = json!([{"interface": "console", "step": "a"}]);
    vec![
        verb("bogus", json!({"target": "bogus"})),
        verb("nothing", json!({})),
        verb("clean without steps", json!({"target": "clean"})),
        verb(
            "clean with a wrong step",
            json!({"target": "clean", "clean_steps": wrong}),
        ),
        verb(
            "manage with steps",
            json!({"target": "manage", "clean_steps": steps}),
        ),
        verb("service without steps", json!({"target": "service"})),
        verb(
            "service with a wrong step",
            json!({"target": "service", "service_steps": wrong}),
        ),
        verb(
            "active with a wrong drive",
            json!({"target": "active", "configdrive": {"bogus": 1}}),
        ),
        verb(
            "active with a wrong step",
            json!({"target": "active", "deploy_steps": wrong}),
        ),
        verb(
            "provide with a drive",
            json!({"target": "provide", "configdrive": {"meta_data": {}}}),
        ),
        put("power bogus", "/states/power", json!({"target": "bogus"})),
        put(
            "power timeout 0",
            "/states/power",
            json!({"target": "soft power off", "timeout": 0}),
        ),
        put("raid without disks", "/states/raid", json!({"logical_disks": []})),
        put(
            "raid of no level",
            "/states/raid",
            json!({"logical_disks": [{"size_gb": 10}]}),
        ),
    ]
}

/// Patches that no node takes.
fn wrong_patches() -> Vec<Probe> {
    vec![
        patch(
            "patch provision_state",
            &json!({"op": "add", "path": "/provision_state", "value": "active"}),
        ),
        patch(
            "patch driver bogus",
            &json!({"op": "add", "path": "/driver", "value": "bogus"}),
        ),
        patch(
            "patch boot_interface bogus",
            &json!({"op": "add", "path": "/boot_interface", "value": "bogus"}),
        ),
        patch(
            "patch unknown",
            &json!({"op": "add", "path": "/bogus", "value": 1}),
        ),
        patch(
            "patch name",
            &json!({"op": "add", "path": "/name", "value": "not a name!"}),
        ),
        patch(
            "patch instance_uuid",
            &json!({"op": "add", "path": "/instance_uuid", "value": "no-uuid"}),
        ),
        patch(
            "patch network_data",
            &json!({"op": "add", "path": "/network_data", "value": {"networks": []}}),
        ),
        patch(
            "patch automated_clean",
            &json!({"op": "add", "path": "/automated_clean", "value": "perhaps"}),
        ),
        patch(
            "remove what is absent",
            &json!({"op": "remove", "path": "/driver_info/absent"}),
        ),
        patch(
            "replace what is absent",
            &json!({"op": "replace", "path": "/driver_info/absent", "value": 1}),
        ),
        patch(
            "move",
            &json!({"op": "move", "path": "/extra/a", "from": "/extra/b"}),
        ),
    ]
}

/// What belongs to the node, and changes that are harmless.
fn parts() -> Vec<Probe> {
    vec![
        probe(
            "vendor without method",
            Method::POST,
            "/vendor_passthru",
            json!({}),
        ),
        probe(
            "vendor bogus",
            Method::POST,
            "/vendor_passthru?method=bogus",
            json!({}),
        ),
        probe(
            "media without URL",
            Method::POST,
            "/vmedia",
            json!({"device_type": "cdrom"}),
        ),
        probe(
            "media of a wrong scheme",
            Method::POST,
            "/vmedia",
            json!({"device_type": "cdrom", "image_url": "ftp://a/b"}),
        ),
        probe(
            "media of a wrong device",
            Method::POST,
            "/vmedia",
            json!({"device_type": "tape", "image_url": "http://a/b"}),
        ),
        probe(
            "detach a wrong device",
            Method::DELETE,
            "/vmedia?device_types=tape",
            Value::Null,
        ),
        patch(
            "patch extra",
            &json!({"op": "add", "path": "/extra/a", "value": 1}),
        ),
        patch(
            "patch boot_interface",
            &json!({"op": "add", "path": "/boot_interface", "value": "fake"}),
        ),
        put("set maintenance", "/maintenance", json!({"reason": "test"})),
        verb("active in maintenance", json!({"target": "active"})),
        probe("clear maintenance", Method::DELETE, "/maintenance", Value::Null),
    ]
}

/// The verbs, which change the state where they are accepted.
pub(super) fn verbs() -> Vec<Probe> {
    let steps = json!([{"interface": "raid", "step": "delete_configuration"}]);
    vec![
        verb("manage", json!({"target": "manage"})),
        verb("provide", json!({"target": "provide"})),
        verb("inspect", json!({"target": "inspect"})),
        verb("clean", json!({"target": "clean", "clean_steps": steps})),
        verb("active", json!({"target": "active"})),
        verb("deleted", json!({"target": "deleted"})),
        verb("adopt", json!({"target": "adopt"})),
        verb("abort", json!({"target": "abort"})),
        verb("service", json!({"target": "service", "service_steps": steps})),
        verb("unhold", json!({"target": "unhold"})),
        verb("rebuild", json!({"target": "rebuild"})),
        verb(
            "rescue",
            json!({"target": "rescue", "rescue_password": "of a test"}),
        ),
        probe("delete", Method::DELETE, "", Value::Null),
        probe(
            "power on",
            Method::PUT,
            "/states/power",
            json!({"target": "power on"}),
        ),
        patch(
            "take an instance",
            &json!({"op": "add", "path": "/instance_uuid", "value": OTHER_INSTANCE}),
        ),
    ]
}
