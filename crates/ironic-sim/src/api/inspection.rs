//! The ramdisk's report, for whoever plays the ramdisk.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Answer, Call, reply};
use crate::Sim;
use crate::machine::State;
use crate::refusal::Refusal;

/// Ends the waiting for the ramdisk with what it found. Whoever holds it back sets the fault `hang:inspect` before.
pub(super) fn proceed(sim: &Sim, call: &Call) -> Answer {
    let body = call.json()?;
    let Value::Object(mut parts) = body else {
        return Err(Refusal::bad(
            "Schema error: the inspection data is not of type 'object'",
        ));
    };
    let inventory = parts
        .remove("inventory")
        .filter(Value::is_object)
        .ok_or_else(|| Refusal::bad("Inventory is missing in the inspection data"))?;
    let id = call
        .query("node_uuid")
        .ok_or_else(|| Refusal::bad("The simulation needs node_uuid to find the node"))?;
    sim.with(|world, now| {
        let number = world.find(id)?;
        if world.node(number)?.state != State::InspectWait {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                format!("Node {id} is not waiting for its inspection"),
            ));
        }
        world.reported(number, reported(&inventory, parts), now);
        reply(StatusCode::ACCEPTED, &json!({"uuid": world.node(number)?.uuid}))
    })
}

/// What the hooks of ironic-image make of a report, as far as it is read.
fn reported(inventory: &Value, mut plugin: Map<String, Value>) -> Value {
    let boot = inventory["boot"]["pxe_interface"].as_str().map(str::to_owned);
    let interfaces = inventory["interfaces"].as_array().map_or(&[][..], Vec::as_slice);
    let all: Map<String, Value> = interfaces
        .iter()
        .filter_map(|interface| {
            let mut shown = interface.clone();
            let pxe = interface["mac_address"].as_str() == boot.as_deref();
            shown["pxe_enabled"] = json!(pxe);
            Some((interface["name"].as_str()?.to_owned(), shown))
        })
        .collect();
    plugin.entry("all_interfaces").or_insert(Value::Object(all));
    json!({"inventory": inventory, "plugin_data": plugin})
}
