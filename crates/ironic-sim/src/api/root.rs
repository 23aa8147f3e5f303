//! Versions, drivers, conductors.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Call, MIN_MINOR, reply};
use crate::Sim;
use crate::faults::Kind;
use crate::interfaces;
use crate::refusal::Refusal;
use crate::view::CONDUCTOR;

fn version(sim: &Sim, base: &str) -> Value {
    json!({
        "id": "v1",
        "links": [{"href": format!("{base}/v1/"), "rel": "self"}],
        "status": "CURRENT",
        "min_version": format!("1.{MIN_MINOR}"),
        "version": format!("1.{}", sim.max_minor),
    })
}

pub(super) fn versions(sim: &Sim, call: &Call) -> Answer {
    let version = version(sim, &call.base);
    reply(
        StatusCode::OK,
        &json!({
            "name": "OpenStack Ironic API",
            "description": "A simulation of Ironic; the machines behind it do not exist.",
            "default_version": version,
            "versions": [version],
        }),
    )
}

pub(super) fn v1(sim: &Sim, call: &Call) -> Answer {
    let base = &call.base;
    let mut body = json!({
        "id": "v1",
        "links": [{"href": format!("{base}/v1/"), "rel": "self"}],
        "media_types": {"base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"},
        "version": version(sim, base),
    });
    for name in ["nodes", "ports", "drivers", "conductors"] {
        body[name] = json!([{"href": format!("{base}/v1/{name}/"), "rel": "self"},
                            {"href": format!("{base}/{name}/"), "rel": "bookmark"}]);
    }
    reply(StatusCode::OK, &body)
}

pub(super) fn drivers(sim: &Sim, call: &Call) -> Answer {
    if sim.with(|world, _| world.faults.strike_api(&Kind::NoConductor)) {
        return reply(StatusCode::OK, &json!({"drivers": []}));
    }
    let drivers: Vec<Value> = interfaces::drivers()
        .map(|name| describe(name, &call.base))
        .collect();
    reply(StatusCode::OK, &json!({"drivers": drivers}))
}

fn describe(name: &str, base: &str) -> Value {
    json!({
        "name": name, "hosts": [CONDUCTOR], "type": "dynamic",
        "links": [{"href": format!("{base}/v1/drivers/{name}"), "rel": "self"},
                  {"href": format!("{base}/drivers/{name}"), "rel": "bookmark"}],
    })
}

pub(super) fn driver(_: &Sim, call: &Call) -> Answer {
    match interfaces::drivers().find(|name| *name == call.id) {
        Some(name) => reply(StatusCode::OK, &describe(name, &call.base)),
        None => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            format!(
                "Could not find the following driver(s) or hardware type(s): {}.",
                call.id
            ),
        )),
    }
}

pub(super) fn conductors(_: &Sim, _: &Call) -> Answer {
    let conductor = json!({"hostname": CONDUCTOR, "conductor_group": "", "alive": true});
    reply(StatusCode::OK, &json!({"conductors": [conductor]}))
}
