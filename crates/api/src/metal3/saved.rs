//! A status that a host brings along in an annotation, by `clusterctl move`.

use serde_json::{Map, Value};

use super::host::BareMetalHostStatus;

/// As upstream reads it: what is absent or null is zero, what is unknown is ignored. Older versions wrote less.
///
/// # Errors
/// When it is not JSON, or a field has the wrong form.
pub fn read(saved: &str) -> Result<BareMetalHostStatus, serde_json::Error> {
    let saved: Map<String, Value> = serde_json::from_str(saved)?;
    let mut status = serde_json::to_value(BareMetalHostStatus::default())?;
    overlay(&mut status, Value::Object(saved));
    serde_json::from_value(status)
}

fn overlay(under: &mut Value, over: Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                overlay(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}
