//! What belongs to a node: validation, inventory, BIOS, firmware.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Call, reply};
use crate::Sim;
use crate::bmc;
use crate::hardware::{BIOS, FIRMWARE, inventory as found};
use crate::node::Node;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::view::stamp;
use crate::world::World;

/// What speaks against a deployment.
pub(super) fn deploy_problem(node: &Node) -> Option<String> {
    let has = |key: &str| {
        node.instance_info
            .get(key)
            .is_some_and(|value| !value.is_null() && *value != json!(""))
    };
    let deploy = node.interfaces.named("deploy");
    let live = deploy == "ramdisk" || (deploy == "autodetect" && has("boot_iso") && !has("image_source"));
    let missing = if deploy == "custom-agent" || deploy == "fake" {
        None
    } else if live {
        (!has("boot_iso")).then_some("instance_info.boot_iso")
    } else if !has("image_source") {
        Some("instance_info.image_source")
    } else if !has("image_checksum") && !has("image_os_hash_value") && !is_oci(node) {
        Some("instance_info.image_checksum")
    } else {
        None
    };
    missing
        .map(|key| {
            format!(
                "Node {} failed to validate deploy image info. Some parameters were missing. Missing are: ['{key}']",
                node.uuid
            )
        })
        .or_else(|| bmc::access(node).err())
}

fn is_oci(node: &Node) -> bool {
    node.instance_info
        .get("image_source")
        .and_then(Value::as_str)
        .is_some_and(|url| url.starts_with("oci://"))
}

fn boot_problem(node: &Node) -> Option<String> {
    let boots_from_network = matches!(node.interfaces.named("boot"), "ipxe" | "pxe");
    if boots_from_network && node.ports.is_empty() {
        return Some(format!(
            "Node {} does not have any port associated with it",
            node.uuid
        ));
    }
    bmc::access(node).err()
}

fn verdict(problem: Option<String>) -> Value {
    match problem {
        Some(reason) => json!({"result": false, "reason": reason}),
        None => json!({"result": true}),
    }
}

pub(super) fn validate(sim: &Sim, call: &Call) -> Answer {
    sim.with(|world, _| {
        let node = world.node(world.find(&call.id)?)?;
        let boot = boot_problem(node);
        let deploy = boot.clone().or_else(|| deploy_problem(node));
        let access = || verdict(bmc::access(node).err());
        let absent = |what: &str| {
            verdict(Some(format!(
                "Driver {} does not support {what} (disabled or not implemented).",
                node.driver
            )))
        };
        reply(
            StatusCode::OK,
            &json!({
                "boot": verdict(boot), "deploy": verdict(deploy), "management": access(), "power": access(),
                "network": {"result": true}, "bios": {"result": true}, "firmware": {"result": true},
                "inspect": {"result": true}, "raid": {"result": true}, "storage": {"result": true},
                "console": absent("console"), "rescue": absent("rescue"),
            }),
        )
    })
}

pub(super) fn inventory(sim: &Sim, call: &Call) -> Answer {
    sim.with(|world, _| {
        let number = world.find(&call.id)?;
        let node = world.node(number)?;
        let (Some(boot_mac), Ok(access)) = (node.inspected.clone(), bmc::access(node)) else {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                format!("Node inventory record for node {number} could not be found."),
            ));
        };
        if let Some(inventory) = &node.inventory {
            return reply(StatusCode::OK, inventory);
        }
        let ramdisk = node.interfaces.named("inspect") == "agent";
        let identity = world.server(&access.address).identity;
        reply(StatusCode::OK, &found(identity, &boot_mac, ramdisk))
    })
}

/// BIOS and firmware are known of Redfish BMCs that answered.
fn has_settings(node: &Node) -> bool {
    node.verified && matches!(node.driver.as_str(), "redfish" | "idrac")
}

/// The machine of a node, if it ever had one.
fn server<'a>(world: &'a World, node: &Node) -> Option<&'a Server> {
    world.servers.get(&bmc::access(node).ok()?.address)
}

pub(super) fn bios(sim: &Sim, call: &Call) -> Answer {
    let detail = call
        .query("detail")
        .is_some_and(|detail| detail.eq_ignore_ascii_case("true"));
    sim.with(|world, _| {
        let node = world.node(world.find(&call.id)?)?;
        let server = server(world, node);
        let settings: Vec<Value> = BIOS
            .iter()
            .filter(|_| has_settings(node))
            .map(|known| {
                let changed = server.and_then(|server| server.bios.get(known.name));
                let mut setting = json!({
                    "name": known.name,
                    "value": changed.map_or(known.value, |(value, _)| value),
                    "created_at": stamp(node.created).to_string(),
                    "updated_at": changed.map(|(_, at)| stamp(*at).to_string()),
                });
                if let (true, Some(shown), Value::Object(schema)) =
                    (detail, setting.as_object_mut(), known.schema())
                {
                    shown.extend(schema);
                }
                setting
            })
            .collect();
        reply(StatusCode::OK, &json!({"bios": settings}))
    })
}

pub(super) fn firmware(sim: &Sim, call: &Call) -> Answer {
    sim.with(|world, _| {
        let node = world.node(world.find(&call.id)?)?;
        let server = server(world, node);
        let components: Vec<Value> = FIRMWARE
            .iter()
            .filter(|_| has_settings(node))
            .map(|(component, version)| {
                let updated = server.and_then(|server| server.firmware.get(*component));
                let flashed = updated.map(|(version, _)| version.as_str());
                json!({
                    "component": component, "initial_version": version,
                    "current_version": flashed.unwrap_or(version), "last_version_flashed": flashed,
                    "created_at": stamp(node.created).to_string(),
                    "updated_at": updated.map(|(_, at)| stamp(*at).to_string()),
                })
            })
            .collect();
        reply(StatusCode::OK, &json!({"firmware": components}))
    })
}
