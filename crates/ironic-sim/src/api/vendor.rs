//! Vendor methods: subscriptions to the events of a BMC.

use axum::http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, Call, reply};
use crate::Sim;
use crate::refusal::Refusal;
use crate::server::Server;

/// Calls with the machine of the node, if its vendor interface knows the method.
fn with_method(sim: &Sim, call: &Call, wanted: &str, work: impl FnOnce(&mut Server) -> Answer) -> Answer {
    let method = call
        .query("method")
        .ok_or_else(|| Refusal::bad("Method not specified when calling vendor extension."))?;
    sim.with(|world, _| {
        let number = world.find(&call.id)?;
        let node = world.node(number)?;
        let vendor = node.interfaces.named("vendor");
        if method != wanted || !vendor.ends_with("redfish") {
            return Err(Refusal::bad(format!(
                "Driver {} does not support {method} (disabled or not implemented).",
                node.driver
            )));
        }
        world.unlocked(number)?;
        let server = world
            .contact(number)
            .map_err(|cause| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, cause))?;
        work(server)
    })
}

pub(super) fn post(sim: &Sim, call: &Call) -> Answer {
    let body = call.json()?;
    let destination = body["Destination"].as_str().filter(|url| url.contains("://"));
    with_method(sim, call, "create_subscription", |server| {
        let destination = destination
            .ok_or_else(|| Refusal::bad("create_subscription: Destination is missing or no URL"))?;
        let id = Uuid::new_v4().to_string();
        let given = |key: &str, otherwise: Value| {
            Some(body[key].clone())
                .filter(|value| !value.is_null())
                .unwrap_or(otherwise)
        };
        let subscription = json!({
            "Id": id, "Destination": destination,
            "Protocol": given("Protocol", json!("Redfish")),
            "Context": given("Context", json!("")),
            "EventTypes": given("EventTypes", json!(["Alert"])),
        });
        server.subscriptions.insert(id, subscription.clone());
        reply(StatusCode::OK, &subscription)
    })
}

pub(super) fn get(sim: &Sim, call: &Call) -> Answer {
    with_method(sim, call, "get_all_subscriptions", |server| {
        let members: Vec<&Value> = server.subscriptions.values().collect();
        reply(
            StatusCode::OK,
            &json!({"Members": members, "Members@odata.count": members.len()}),
        )
    })
}

pub(super) fn delete(sim: &Sim, call: &Call) -> Answer {
    let body = call.json().unwrap_or_default();
    let id = body["id"]
        .as_str()
        .or_else(|| call.query("id"))
        .unwrap_or_default();
    with_method(sim, call, "delete_subscription", |server| {
        if id.is_empty() {
            return Err(Refusal::bad(
                "delete_subscription: the id of the subscription is missing",
            ));
        }
        match server.subscriptions.remove(id) {
            Some(_) => reply(StatusCode::OK, &Value::Null),
            None => Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("Redfish exception occurred. Error: subscription {id} could not be found"),
            )),
        }
    })
}
