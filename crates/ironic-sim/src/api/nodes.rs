//! Nodes.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use serde_json::Value;
use uuid::Uuid;

use super::list::fields;
use super::{Answer, Call, empty, reply};
use crate::Sim;
use crate::actions::Deed;
use crate::interfaces::{Interfaces, kind_of};
use crate::machine::State;
use crate::node::Node;
use crate::patch;
use crate::refusal::Refusal;
use crate::view::{Field, OTHER, View, too_new};
use crate::world::World;

pub(super) fn get(sim: &Sim, call: &Call) -> Answer {
    // Of one node Ironic refuses an unknown field, of a list it fails.
    let fields = fields(call, Field::all).map_err(|refusal| match refusal.status {
        StatusCode::INTERNAL_SERVER_ERROR => Refusal::bad(refusal.message),
        _ => refusal,
    })?;
    sim.with(|world, _| {
        let number = world.find(&call.id)?;
        show(world, number, &fields, call, StatusCode::OK)
    })
}

fn show(world: &World, number: u64, fields: &[Field], call: &Call, status: StatusCode) -> Answer {
    let node = world.node(number)?;
    let view = View {
        node,
        fields,
        base: &call.base,
        minor: call.minor,
        locked: world.locked_by_fault(node),
    };
    reply(status, &view)
}

/// Names are parts of host names in Ironic; `~` and `_` are allowed as well.
fn check_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && Uuid::parse_str(name).is_err()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

pub(super) fn create(sim: &Sim, call: &Call) -> Answer {
    let body = call.json()?;
    let Value::Object(body) = body else {
        return Err(Refusal::bad("Schema error for node: it is not of type 'object'"));
    };
    if let Some(field) = body.keys().find(|field| too_new(field, call.minor)) {
        tracing::debug!(field, minor = call.minor, "field needs a newer version");
        return Err(Refusal::version());
    }
    let driver = body
        .get("driver")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::bad("Schema error for node: 'driver' is a required property"))?;
    sim.with(|world, now| {
        let mut node = empty_node(driver, world.wall(now))?;
        for (field, value) in &body {
            match field.as_str() {
                "driver" => {}
                "uuid" => {
                    let text = value.as_str().unwrap_or_default();
                    node.uuid = Uuid::parse_str(text)
                        .map_err(|_| Refusal::bad(format!("Expected UUID for uuid: {text}")))?;
                }
                known if is_known(known) => {
                    let operation = serde_json::json!([{"op": "add", "path": format!("/{known}"), "value": value}]);
                    for operation in patch::parse(&operation)? {
                        operation.apply(&mut node)?;
                    }
                }
                other => {
                    return Err(Refusal::bad(format!(
                        "Schema error for node: Additional properties are not allowed ('{other}' was unexpected)"
                    )));
                }
            }
        }
        if let Some(name) = &node.name {
            if !check_name(name) {
                return Err(Refusal::bad(format!("Cannot create node with invalid name '{name}'")));
            }
            if world.by_name(name).is_some() {
                return Err(Refusal::conflict(format!("A node with name {name} already exists.")));
            }
        }
        if world.by_uuid(node.uuid).is_some() {
            return Err(Refusal::conflict(format!(
                "A node with UUID {} already exists.",
                node.uuid
            )));
        }
        let location = format!("{}/v1/nodes/{}", call.base, node.uuid);
        let number = world.insert_node(node);
        let shown = show(world, number, &Field::all(), call, StatusCode::CREATED)?;
        Ok(([(header::LOCATION, location)], shown).into_response())
    })
}

fn is_known(field: &str) -> bool {
    kind_of(field).is_some()
        || OTHER.iter().any(|(known, _)| *known == field)
        || matches!(
            field,
            "name"
                | "instance_uuid"
                | "automated_clean"
                | "disable_power_off"
                | "driver_info"
                | "instance_info"
                | "properties"
                | "extra"
                | "network_data"
        )
}

fn empty_node(driver: &str, created: jiff::Timestamp) -> Result<Node, Refusal> {
    Ok(Node {
        uuid: Uuid::new_v4(),
        name: None,
        driver: driver.to_owned(),
        interfaces: Interfaces::of(driver)?,
        state: State::Enroll,
        target: None,
        job: None,
        turn: 0,
        hangs: false,
        power: None,
        last_error: None,
        maintenance: false,
        maintenance_reason: None,
        fault: None,
        instance_uuid: None,
        driver_info: serde_json::Map::new(),
        instance_info: serde_json::Map::new(),
        properties: serde_json::Map::new(),
        extra: serde_json::Map::new(),
        network_data: serde_json::Map::new(),
        target_raid_config: serde_json::Map::new(),
        raid_config: serde_json::Map::new(),
        health: None,
        steps: Box::default(),
        asked: Arc::default(),
        inventory: None,
        automated_clean: None,
        disable_power_off: false,
        other: serde_json::Map::new(),
        config_drive: None,
        inspected: None,
        verified: false,
        created,
        updated: None,
        provision_updated: None,
        inspection_finished: None,
        ports: Vec::new(),
    })
}

pub(super) fn update(sim: &Sim, call: &Call) -> Answer {
    let body = call.json()?;
    let operations = patch::parse(&body)?;
    if operations.iter().any(|operation| operation.too_new(call.minor)) {
        return Err(Refusal::version());
    }
    sim.with(|world, now| {
        let number = world.find(&call.id)?;
        let node = world.node(number)?;
        check_patch(world, node, number, &operations)?;
        world.unlocked(number)?;
        let wall = world.wall(now);
        let node = world.node_mut(number)?;
        // All or nothing: what was changed before an operation fails is put back.
        let (name, before) = (node.name.clone(), Saved::of(node));
        let result = operations.iter().try_for_each(|operation| operation.apply(node));
        if let Err(refusal) = result {
            before.restore(node);
            return Err(refusal);
        }
        node.updated = Some(wall);
        world.renamed(number, name.as_deref());
        show(world, number, &Field::all(), call, StatusCode::OK)
    })
}

/// What Ironic refuses before it looks at values.
fn check_patch(
    world: &World,
    node: &Node,
    number: u64,
    operations: &[patch::Operation<'_>],
) -> Result<(), Refusal> {
    let uuid = node.uuid;
    for operation in operations {
        operation.check_schema()?;
    }
    if node.target.is_some() && !node.state.allows_update() {
        return Err(Refusal::conflict(format!(
            "Node {uuid} can not be updated while a state transition is in progress."
        )));
    }
    for operation in operations {
        if let Some(name) = operation.name() {
            if !check_name(name) {
                return Err(Refusal::bad(format!(
                    "Node {uuid}: Cannot change name to invalid name '{name}'"
                )));
            }
            if world.by_name(name).is_some_and(|other| other != number) {
                return Err(Refusal::conflict(format!(
                    "A node with name {name} already exists."
                )));
            }
        }
        if let (Some(wanted), Some(known)) = (operation.instance(), &node.instance_uuid)
            && wanted != known
        {
            return Err(Refusal::conflict(format!(
                "Node {uuid} is associated with instance {known}."
            )));
        }
        if let Some(interface) = operation.interface()
            && operation.changes(node)
            && !node.maintenance
            && !node.state.allows_interfaces()
        {
            return Err(Refusal::conflict(format!(
                "Node {uuid} can not have {interface} updated unless it is in one of allowed (enroll, inspecting, \
                 inspect wait, manageable, available) states or in maintenance mode. Current state is '{}'.",
                node.state.as_str()
            )));
        }
    }
    Ok(())
}

/// What a patch may change.
struct Saved {
    name: Option<String>,
    driver: String,
    interfaces: Interfaces,
    instance_uuid: Option<String>,
    flags: (Option<bool>, bool, bool),
    maps: [serde_json::Map<String, Value>; 6],
}

impl Saved {
    fn of(node: &Node) -> Self {
        Self {
            name: node.name.clone(),
            driver: node.driver.clone(),
            interfaces: node.interfaces.clone(),
            instance_uuid: node.instance_uuid.clone(),
            flags: (node.automated_clean, node.disable_power_off, node.maintenance),
            maps: [
                &node.driver_info,
                &node.instance_info,
                &node.properties,
                &node.extra,
                &node.network_data,
                &node.other,
            ]
            .map(Clone::clone),
        }
    }

    fn restore(self, node: &mut Node) {
        node.name = self.name;
        node.driver = self.driver;
        node.interfaces = self.interfaces;
        node.instance_uuid = self.instance_uuid;
        (node.automated_clean, node.disable_power_off, node.maintenance) = self.flags;
        [
            node.driver_info,
            node.instance_info,
            node.properties,
            node.extra,
            node.network_data,
            node.other,
        ] = self.maps;
    }
}

pub(super) fn delete(sim: &Sim, call: &Call) -> Answer {
    sim.with(|world, now| {
        let number = world.find(&call.id)?;
        world.unlocked(number)?;
        let node = world.node(number)?;
        let uuid = node.uuid;
        if !node.maintenance {
            if let Some(instance) = &node.instance_uuid {
                return Err(Refusal::conflict(format!(
                    "Node {uuid} is associated with instance {instance}."
                )));
            }
            if !node.state.allows_removal() {
                return Err(Refusal::conflict(format!(
                    "Can not delete node \"{uuid}\" while it is in provision state \"{}\". Valid provision states to \
                     perform deletion are: [\"adopt failed\", \"available\", \"enroll\", \"manageable\"], or set the \
                     node into maintenance mode",
                    node.state.as_str()
                )));
            }
        }
        world.node_mut(number)?.asked = call.asked("DELETE nodes");
        world.record(number, Deed::Delete, None, None, now);
        world.remove_node(number);
        empty(StatusCode::NO_CONTENT)
    })
}
