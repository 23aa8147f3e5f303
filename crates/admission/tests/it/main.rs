//! The rules by their numbers, and what they must never be in the way of.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod annotations;
mod changes;
mod corpus;
mod hosts;
mod others;
mod ratchet;

use metal3_admission::{Host, review};
use serde_json::{Value, json};

/// A host that nobody complains about.
fn host() -> Value {
    json!({
        "apiVersion": "metal3.io/v1alpha1",
        "kind": "BareMetalHost",
        "metadata": {"name": "host-1", "namespace": "metal3", "annotations": {}},
        "spec": {
            "online": true,
            "bootMACAddress": "00:5c:52:31:3a:9c",
            "bmc": {"address": "redfish://bmc.example.com/redfish/v1/Systems/1", "credentialsName": "host-1-bmc"},
        },
    })
}

/// The same with other fields, as a merge patch would change it.
fn with(mut object: Value, patch: &Value) -> Value {
    merge(&mut object, patch);
    object
}

fn merge(under: &mut Value, over: &Value) {
    match over {
        Value::Object(over) => {
            if !under.is_object() {
                *under = json!({});
            }
            for (name, value) in over {
                if value.is_null() {
                    under.as_object_mut().unwrap().remove(name);
                } else {
                    merge(&mut under[name], value);
                }
            }
        }
        over => *under = over.clone(),
    }
}

fn annotated(name: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {name: value}}})
}

fn created(object: &Value) -> Vec<String> {
    review::<Host>(object, None).errors
}

fn updated(object: &Value, old: &Value) -> Vec<String> {
    review::<Host>(object, Some(old)).errors
}

fn spec(patch: &Value) -> Value {
    with(host(), &json!({"spec": patch}))
}

fn bmc(address: &str) -> Value {
    json!({"bmc": {"address": address}})
}

/// One error alone, with each of these parts; none when there are no parts.
fn expect(what: &str, errors: &[String], parts: &[&str]) {
    assert_eq!(errors.len(), usize::from(!parts.is_empty()), "{what}: {errors:?}");
    for part in parts {
        assert!(
            errors[0].contains(part),
            "{what}: {part:?} is missing in {errors:?}"
        );
    }
}
