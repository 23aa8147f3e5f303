//! What others do to nodes and machines behind the operator's back, and the log that shows who did what.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::Sim;
use crate::actions::Log;
use crate::api::{Answer, Call, empty, reply};
use crate::control::{locate, missing, parsed};
use crate::machine::State;
use crate::refusal::Refusal;
use crate::server::Disk;
use crate::world::World;

/// The faults that Ironic knows.
const FAULTS: [&str; 4] = [
    "power failure",
    "clean failure",
    "rescue abort failure",
    "service failure",
];
const HEALTH: [&str; 3] = ["OK", "Warning", "Critical"];

/// What is changed of a node; what is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// In maintenance or not; without it the fault is gone, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<bool>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `power failure`, `clean failure`, `rescue abort failure` or `service failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// `OK`, `Warning` or `Critical`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// Puts the node into this state; nothing is under way any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provision_state: Option<String>,
    /// What Ironic says of the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A machine that stands in the rack before anybody tells Ironic of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMachine {
    /// BMC address with the system's path, as in a node's `driver_info`, for example
    /// `https://192.0.2.1/redfish/v1/Systems/1`.
    pub bmc_address: String,
    /// An image that is on its disk already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether it is switched on.
    #[serde(default)]
    pub on: bool,
}

fn known(list: &[&'static str], value: &str, what: &str) -> Result<&'static str, Refusal> {
    list.iter()
        .copied()
        .find(|known| *known == value)
        .ok_or_else(|| Refusal::bad(format!("{value:?} is no {what}; known are: {}", list.join(", "))))
}

impl Sim {
    /// What was done to each machine.
    pub fn actions(&self) -> Vec<Log> {
        self.with(|world, _| {
            let addresses: Vec<String> = world.servers.keys().cloned().collect();
            let names = crate::control::by_address(world);
            addresses
                .iter()
                .map(|address| {
                    let node = names.get(address).and_then(|number| world.nodes.get(number));
                    log(world, address, node.and_then(|node| node.name.clone()))
                })
                .collect()
        })
    }

    /// What was done to a machine, by node UUID, node name, BMC address, or system.
    pub fn actions_of(&self, id: &str) -> Option<Log> {
        self.with(|world, _| {
            let address = locate(world, id)?;
            world.servers.get(&address)?;
            let name = crate::control::by_address(world)
                .get(&address)
                .and_then(|number| world.nodes.get(number)?.name.clone());
            Some(log(world, &address, name))
        })
    }

    /// Begins the logs anew.
    pub fn clear_actions(&self) {
        self.with(|world, _| {
            for server in world.servers.values_mut() {
                server.actions = crate::actions::Recent::default();
            }
        });
    }

    /// Adds a machine, or changes what is on one that is known.
    pub fn add_machine(&self, new: NewMachine) {
        self.with(|world, now| {
            let wall = world.wall(now);
            let server = world.server(&new.bmc_address);
            if let Some(image) = new.image {
                server.disk = Some(Disk {
                    image,
                    image_info: serde_json::Map::new(),
                    configdrive: serde_json::Value::Null,
                });
            }
            if new.on {
                server.boot(wall);
            }
        });
    }

    /// Changes a node as an administrator of Ironic may, or as its conductor would.
    ///
    /// # Errors
    /// When there is no such node, or a word is unknown; the message says which.
    pub fn meddle(&self, id: &str, change: &Change) -> anyhow::Result<()> {
        self.change(id, change)
            .map_err(|refusal| anyhow::anyhow!(refusal.message))
    }

    fn change(&self, id: &str, change: &Change) -> Result<(), Refusal> {
        self.with(|world, now| {
            let number = world.find(id)?;
            let wall = world.wall(now);
            let fault = change
                .fault
                .as_deref()
                .map(|fault| known(&FAULTS, fault, "fault"));
            let fault = fault.transpose()?;
            let health = change
                .health
                .as_deref()
                .map(|health| known(&HEALTH, health, "health"));
            let health = health.transpose()?;
            let state = change.provision_state.as_deref().map(|name| {
                State::parse(name).ok_or_else(|| Refusal::bad(format!("{name:?} is no provision state")))
            });
            let state = state.transpose()?;
            let node = world.node_mut(number)?;
            node.updated = Some(wall);
            if let Some(on) = change.maintenance {
                node.maintenance = on;
                node.maintenance_reason = change.reason.clone().filter(|_| on);
                node.fault = node.fault.filter(|_| on);
            }
            node.fault = fault.or(node.fault);
            node.health = health.or(node.health);
            if let Some(state) = state {
                node.job = None;
                node.turn = 0;
                node.hangs = false;
                node.enter(state, None, wall);
            }
            if change.last_error.is_some() {
                node.last_error = change.last_error.clone().filter(|words| !words.is_empty());
            }
            if change.maintenance == Some(false) {
                world.release(number, now);
            }
            Ok(())
        })
    }
}

fn log(world: &World, address: &str, name: Option<String>) -> Log {
    let recent = world.servers.get(address).map(|server| &server.actions);
    Log {
        bmc_address: address.to_owned(),
        name,
        dropped: recent.map_or(0, |recent| recent.dropped),
        actions: recent
            .into_iter()
            .flat_map(|recent| &recent.actions)
            .cloned()
            .collect(),
    }
}

pub(crate) fn list_actions(sim: &Sim, _: &Call) -> Answer {
    reply(StatusCode::OK, &sim.actions())
}

pub(crate) fn get_actions(sim: &Sim, call: &Call) -> Answer {
    let log = sim
        .actions_of(&call.id)
        .ok_or_else(|| missing("machine", &call.id))?;
    reply(StatusCode::OK, &log)
}

pub(crate) fn delete_actions(sim: &Sim, _: &Call) -> Answer {
    sim.clear_actions();
    empty(StatusCode::NO_CONTENT)
}

pub(crate) fn add(sim: &Sim, call: &Call) -> Answer {
    let new: NewMachine = parsed(call)?;
    let address = new.bmc_address.clone();
    sim.add_machine(new);
    let machine = sim
        .machine(&address)
        .ok_or_else(|| missing("machine", &address))?;
    reply(StatusCode::CREATED, &machine)
}

pub(crate) fn patch_node(sim: &Sim, call: &Call) -> Answer {
    sim.change(&call.id, &parsed(call)?)?;
    empty(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_are_named_with_those_that_are_known() {
        let refusal = known(&HEALTH, "fine", "health").unwrap_err();
        assert!(refusal.message.contains("\"fine\"") && refusal.message.contains("Critical"));
    }
}
