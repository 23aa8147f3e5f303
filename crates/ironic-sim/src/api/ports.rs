//! Ports: the MAC addresses of nodes.

use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Answer, Call, empty, reply};
use crate::Sim;
use crate::refusal::Refusal;
use crate::view::{links, stamp};
use crate::world::{Port, World};

/// Fields of a port in a list that names none.
const BRIEF: &str = "uuid,address";

fn show(world: &World, port: &Port, fields: Option<&str>, base: &str) -> Result<Value, Refusal> {
    let whole = json!({
        "uuid": port.uuid, "address": port.address, "pxe_enabled": port.pxe,
        "node_uuid": world.node(port.node)?.uuid, "created_at": stamp(port.created).to_string(), "updated_at": null,
        "extra": {}, "internal_info": {}, "is_smartnic": false, "local_link_connection": {},
        "physical_network": null, "portgroup_uuid": null, "name": null, "description": null,
    });
    let mut shown = match fields {
        None => whole,
        Some(fields) => {
            let mut map = Map::new();
            for field in fields.split(',').filter(|field| *field != "links") {
                let value = whole
                    .get(field)
                    .ok_or_else(|| Refusal::bad(format!("Field {field} is not a valid field.")))?;
                map.insert(field.to_owned(), value.clone());
            }
            Value::Object(map)
        }
    };
    shown["links"] = json!(links(base, "ports", port.uuid, None));
    Ok(shown)
}

/// Lower case, if it is one.
fn mac(text: &str) -> Result<String, Refusal> {
    let valid = text.len() == 17
        && text
            .split(':')
            .all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if valid {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(Refusal::bad(format!(
            "Expected valid MAC address for address: {text}"
        )))
    }
}

pub(super) fn list(sim: &Sim, call: &Call) -> Answer {
    let address = call.query("address").map(mac).transpose()?;
    sim.with(|world, _| {
        let node = call.query("node_uuid").or_else(|| call.query("node"));
        let node = node.map(|node| world.find(node)).transpose()?;
        let numbers: Vec<u64> = match (&address, node) {
            (Some(address), _) => world.by_mac(address).into_iter().collect(),
            (None, Some(node)) => world.node(node)?.ports.clone(),
            (None, None) => world.ports.keys().copied().collect(),
        };
        let ports = numbers
            .iter()
            .filter_map(|number| world.ports.get(number))
            .filter(|port| node.is_none_or(|node| port.node == node));
        answer(world, ports, call)
    })
}

pub(super) fn of_node(sim: &Sim, call: &Call) -> Answer {
    sim.with(|world, _| {
        let node = world.node(world.find(&call.id)?)?;
        let ports = node.ports.iter().filter_map(|number| world.ports.get(number));
        answer(world, ports, call)
    })
}

fn answer<'a>(world: &World, ports: impl Iterator<Item = &'a Port>, call: &Call) -> Answer {
    let detail = call
        .query("detail")
        .is_some_and(|detail| detail.eq_ignore_ascii_case("true"));
    let fields = call.query("fields").or_else(|| (!detail).then_some(BRIEF));
    let ports = ports
        .map(|port| show(world, port, fields, &call.base))
        .collect::<Result<Vec<Value>, Refusal>>()?;
    reply(StatusCode::OK, &json!({"ports": ports}))
}

pub(super) fn create(sim: &Sim, call: &Call) -> Answer {
    let body = call.json()?;
    let address = mac(body["address"].as_str().unwrap_or_default())?;
    let pxe = body["pxe_enabled"].as_bool().unwrap_or(true);
    let node = body["node_uuid"].as_str().unwrap_or_default();
    sim.with(|world, now| {
        let number = world
            .find(node)
            .map_err(|refusal| Refusal::bad(refusal.message))?;
        world.unlocked(number)?;
        if world.by_mac(&address).is_some() {
            return Err(Refusal::conflict(format!(
                "A port with MAC address {address} already exists."
            )));
        }
        let created = world.wall(now);
        let port = world.insert_port(Port {
            uuid: Uuid::new_v4(),
            node: number,
            address,
            pxe,
            created,
        });
        let port = world.ports.get(&port).ok_or_else(|| no_port(&port.to_string()))?;
        let location = format!("{}/v1/ports/{}", call.base, port.uuid);
        let shown = reply(StatusCode::CREATED, &show(world, port, None, &call.base)?)?;
        Ok(([(header::LOCATION, location)], shown).into_response())
    })
}

fn no_port(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("Port {id} could not be found."))
}

/// Ports are found by UUID or address; seldom enough to search.
fn find(world: &World, id: &str) -> Result<u64, Refusal> {
    let by_uuid = |uuid| {
        world
            .ports
            .iter()
            .find(|(_, port)| port.uuid == uuid)
            .map(|(number, _)| *number)
    };
    Uuid::parse_str(id)
        .map_or_else(|_| world.by_mac(id), by_uuid)
        .ok_or_else(|| no_port(id))
}

pub(super) fn get(sim: &Sim, call: &Call) -> Answer {
    sim.with(|world, _| {
        let number = find(world, &call.id)?;
        let port = world.ports.get(&number).ok_or_else(|| no_port(&call.id))?;
        reply(
            StatusCode::OK,
            &show(world, port, call.query("fields"), &call.base)?,
        )
    })
}

/// Changes the address, or whether the port is booted from.
pub(super) fn update(sim: &Sim, call: &Call) -> Answer {
    let body = call.json()?;
    let operations = body
        .as_array()
        .ok_or_else(|| Refusal::bad("Schema error for patch: it is not of type 'array'"))?;
    sim.with(|world, _| {
        let number = find(world, &call.id)?;
        let owner = world.ports.get(&number).map(|port| port.node);
        world.unlocked(owner.unwrap_or_default())?;
        for operation in operations {
            match operation["path"].as_str().unwrap_or_default() {
                "/address" => {
                    let address = mac(operation["value"].as_str().unwrap_or_default())?;
                    if world.by_mac(&address).is_some_and(|other| other != number) {
                        return Err(Refusal::conflict(format!(
                            "A port with MAC address {address} already exists."
                        )));
                    }
                    world.readdress_port(number, address);
                }
                "/pxe_enabled" => {
                    let pxe = operation["value"]
                        .as_bool()
                        .ok_or_else(|| Refusal::bad("Expected a boolean for pxe_enabled"))?;
                    if let Some(port) = world.ports.get_mut(&number) {
                        port.pxe = pxe;
                    }
                }
                other => return Err(Refusal::bad(format!("Cannot patch {other}"))),
            }
        }
        let port = world.ports.get(&number).ok_or_else(|| no_port(&call.id))?;
        reply(StatusCode::OK, &show(world, port, None, &call.base)?)
    })
}

pub(super) fn delete(sim: &Sim, call: &Call) -> Answer {
    sim.with(|world, _| {
        let number = find(world, &call.id)?;
        let node = world.ports.get(&number).map(|port| port.node);
        world.unlocked(node.unwrap_or_default())?;
        world.remove_port(number);
        empty(StatusCode::NO_CONTENT)
    })
}
