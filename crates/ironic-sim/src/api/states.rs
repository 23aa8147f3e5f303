//! States: what a node is doing, and what it shall do.

use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Answer, Call, empty, reply};
use crate::Sim;
use crate::machine::{State, Verb, react};
use crate::node::Target;
use crate::refusal::Refusal;
use crate::steps::{self, Step};
use crate::view::stamp;
use crate::work::wrong_state;

/// `abort` of a deployment came with this version.
const ABORT_DEPLOY: u32 = 110;
const CONFIG_DRIVE_KEYS: [&str; 4] = ["meta_data", "network_data", "user_data", "vendor_data"];

pub(super) fn get(sim: &Sim, call: &Call) -> Answer {
    sim.with(|world, _| {
        let node = world.node(world.find(&call.id)?)?;
        let power = node.power.map(|on| if on { "power on" } else { "power off" });
        reply(
            StatusCode::OK,
            &json!({
                "console_enabled": false, "last_error": node.last_error, "power_state": power,
                "provision_state": node.state.as_str(), "target_power_state": node.power_target(),
                "target_provision_state": node.target.map(State::as_str),
                "provision_updated_at": node.provision_updated.map(|at| stamp(at).to_string()),
                "raid_config": node.raid_config, "target_raid_config": node.target_raid_config,
                "boot_mode": node.verified.then_some("uefi"), "secure_boot": node.verified.then_some(false),
            }),
        )
    })
}

/// 202, and where to look.
fn accepted(call: &Call) -> Answer {
    let location = format!("{}/v1/nodes/{}/states", call.base, call.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)]).into_response())
}

pub(super) fn provision(sim: &Sim, call: &Call) -> Answer {
    let body = call.json()?;
    let target = body["target"]
        .as_str()
        .ok_or_else(|| Refusal::bad("Expected a string for target"))?;
    sim.with(|world, now| {
        let number = world.find(&call.id)?;
        let node = world.node(number)?;
        let verb = Verb::parse(target);
        if matches!(verb, Some(Verb::Deploy | Verb::Rebuild)) && node.maintenance {
            return Err(Refusal::bad(format!(
                "The provisioning operation can't be performed on node {} because it's in maintenance mode.",
                node.uuid
            )));
        }
        let accepts = verb.filter(|verb| react(node.state, *verb).is_some());
        let verb = match accepts {
            Some(verb) => verb,
            // A node that somebody works on is locked rather than in a wrong state.
            None => {
                world.unlocked(number)?;
                return Err(wrong_state(node, target));
            }
        };
        if verb == Verb::Abort && node.state == State::WaitCallBack && call.minor < ABORT_DEPLOY {
            return Err(wrong_state(node, target));
        }
        let steps = steps_of(&body, verb)?;
        let deploys = matches!(verb, Verb::Deploy | Verb::Rebuild);
        let drive = &body["configdrive"];
        if !drive.is_null() {
            if !deploys && *drive != json!({}) {
                return Err(Refusal::bad(format!(
                    "Adding a config drive is only supported when setting provision state to active or rebuild, not \
                     {target}"
                )));
            }
            check_config_drive(drive)?;
        }
        world.unlocked(number)?;
        if deploys {
            let problem = super::parts::deploy_problem(world.node(number)?);
            if let Some(problem) = problem {
                return Err(Refusal::bad(format!(
                    "Failed to validate deploy or power info for node {}: {problem}",
                    world.node(number)?.uuid
                )));
            }
            let node = world.node_mut(number)?;
            node.config_drive = (!drive.is_null()).then(|| drive.clone());
            if !drive.is_null() {
                node.instance_info.insert("configdrive".to_owned(), json!("kept"));
            }
        }
        let node = world.node_mut(number)?;
        node.asked = call.asked(&format!("PUT states/provision {target}"));
        node.steps = steps.into();
        world.verb(number, target, verb, now)?;
        tracing::info!(node = %world.node(number)?.uuid, target, "provision state asked for");
        accepted(call)
    })
}

/// The steps that a verb needs, or may have; those of other verbs are refused.
fn steps_of(body: &Value, verb: Verb) -> Result<Vec<Step>, Refusal> {
    let mut given = Vec::new();
    for (kind, wanted, required) in [
        ("clean", verb == Verb::Clean, true),
        ("service", verb == Verb::Service, true),
        ("deploy", matches!(verb, Verb::Deploy | Verb::Rebuild), false),
    ] {
        let steps = &body[format!("{kind}_steps")];
        let empty = steps.is_null() || *steps == json!([]);
        if wanted && required && empty {
            return Err(Refusal::bad(format!(
                "\"{kind}_steps\" is required when setting target provision state to {kind}"
            )));
        }
        if !wanted && !empty {
            return Err(Refusal::bad(format!(
                "\"{kind}_steps\" is only valid when setting target provision state to {kind}"
            )));
        }
        if !empty {
            given = steps::parse(kind, steps)?;
        }
    }
    Ok(given)
}

fn check_config_drive(drive: &Value) -> Result<(), Refusal> {
    match drive {
        Value::Object(map) => match map.keys().find(|key| !CONFIG_DRIVE_KEYS.contains(&key.as_str())) {
            Some(key) => Err(Refusal::bad(format!(
                "Invalid configdrive format: Additional properties are not allowed ('{key}' was unexpected)"
            ))),
            None => Ok(()),
        },
        Value::String(text) if text.starts_with("http://") || text.starts_with("https://") => Ok(()),
        Value::String(text) if STANDARD.decode(text.replace('\n', "")).is_ok() => Ok(()),
        _ => Err(Refusal::bad(
            "Invalid configdrive format: it is neither a JSON, nor a URL, nor a base64 string",
        )),
    }
}

pub(super) fn power(sim: &Sim, call: &Call) -> Answer {
    let body = call.json()?;
    let name = body["target"].as_str().unwrap_or_default();
    if !body["timeout"].is_null() && body["timeout"].as_u64().is_none_or(|seconds| seconds == 0) {
        return Err(Refusal::bad("timeout has to be positive integer"));
    }
    sim.with(|world, now| {
        let number = world.find(&call.id)?;
        let node = world.node(number)?;
        let Some(target) = Target::parse(name) else {
            let state = match node.power {
                Some(true) => "power on",
                Some(false) => "power off",
                None => "None",
            };
            return Err(Refusal::bad(format!(
                "The requested action \"{name}\" can not be performed on node \"{}\" while it is in state \"{state}\".",
                call.id
            )));
        };
        // Cleaning must not lose power in the middle of its work.
        if matches!(node.state, State::Cleaning | State::CleanWait) {
            return Err(Refusal::bad(format!(
                "The requested action \"{name}\" can not be performed on node \"{}\" while it is in state \"{}\".",
                call.id,
                node.state.as_str()
            )));
        }
        if target == Target::Off && node.disable_power_off {
            return Err(Refusal::conflict(format!(
                "Failed to set node power state to {name}."
            )));
        }
        world.unlocked(number)?;
        world.node_mut(number)?.asked = call.asked(&format!("PUT states/power {name}"));
        world.set_power(number, target, now);
        accepted(call)
    })
}

const RAID_LEVELS: [&str; 9] = ["JBOD", "0", "1", "2", "5", "6", "1+0", "5+0", "6+0"];

pub(super) fn raid(sim: &Sim, call: &Call) -> Answer {
    let body = call.json()?;
    let invalid = |reason: String| Refusal::bad(format!("RAID config validation error: {reason}"));
    let disks = body["logical_disks"].as_array().map_or(&[][..], Vec::as_slice);
    // An empty map is no configuration.
    if body != json!({}) && disks.is_empty() {
        return Err(invalid("[] should be non-empty".to_owned()));
    }
    for disk in disks {
        if disk["size_gb"].as_u64().is_none_or(|size| size == 0) && disk["size_gb"] != "MAX" {
            return Err(invalid(format!(
                "{disk}: 'size_gb' is to be a number above 0, or MAX"
            )));
        }
        let level = disk["raid_level"].as_str().unwrap_or_default();
        if !RAID_LEVELS.contains(&level) {
            return Err(invalid(format!(
                "{disk}: 'raid_level' is not one of {RAID_LEVELS:?}"
            )));
        }
    }
    sim.with(|world, _| {
        let number = world.find(&call.id)?;
        world.unlocked(number)?;
        let node = world.node_mut(number)?;
        if node.interfaces.named("raid") == "no-raid" {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                format!(
                    "Driver {} does not support raid (disabled or not implemented).",
                    node.driver
                ),
            ));
        }
        node.target_raid_config = body.as_object().cloned().unwrap_or_default();
        empty(StatusCode::NO_CONTENT)
    })
}

pub(super) fn set_maintenance(sim: &Sim, call: &Call) -> Answer {
    let reason = if call.body.is_empty() {
        None
    } else {
        call.json()?["reason"].as_str().map(str::to_owned)
    };
    maintenance(sim, call, true, reason)
}

pub(super) fn clear_maintenance(sim: &Sim, call: &Call) -> Answer {
    maintenance(sim, call, false, None)
}

fn maintenance(sim: &Sim, call: &Call, on: bool, reason: Option<String>) -> Answer {
    sim.with(|world, now| {
        let number = world.find(&call.id)?;
        world.unlocked(number)?;
        let wall = world.wall(now);
        let node = world.node_mut(number)?;
        node.maintenance = on;
        node.maintenance_reason = reason;
        node.updated = Some(wall);
        if !on {
            node.fault = None;
            world.release(number, now);
        }
        empty(StatusCode::ACCEPTED)
    })
}
