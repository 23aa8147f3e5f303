//! The control API under `/sim/v1`: machines, nodes, actions, faults, latencies, statistics.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{MethodFilter, on};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Sim;
use crate::api::{Answer, Call, Handler, empty, reply};
use crate::bmc;
use crate::faults::Fault;
use crate::latency::{Latencies, parse_duration};
use crate::meddling;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::server::{Disk, Running, Server};
use crate::stats::Requests;
use crate::view::stamp;
use crate::world::World;

/// A machine, and the node that Ironic has of it.
///
/// The names are those of the test bed's agents where they mean the same: `system`, `state`, `node`, `image`, `disk`
/// with `image`, `image_info` and `configdrive`, and `history`.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Last part of the system's path, or of the BMC address.
    pub system: String,
    /// BMC address with the system's path.
    pub bmc_address: String,
    /// UUID of the node, if Ironic has one.
    pub node: Option<String>,
    /// Name of the node.
    pub name: Option<String>,
    /// Provision state of the node.
    pub provision_state: Option<&'static str>,
    /// `power on` or `power off`, as the machine is; Ironic may not know yet.
    pub power_state: &'static str,
    /// What runs on it.
    pub state: Running,
    /// URL of the image on the disk.
    pub image: Option<String>,
    /// URL of the live ISO in its drive.
    pub live_iso: Option<String>,
    /// How often it was switched on or reset.
    pub boots: u64,
    /// MAC addresses of the node's ports.
    pub mac_addresses: Vec<String>,
    /// What was deployed; only of a single machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    /// Times and states; only of a single machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<(String, Running)>,
}

/// How much is told of a machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Brief,
    Full,
}

fn describe(world: &World, address: &str, server: &Server, node: Option<&Node>, detail: Detail) -> Machine {
    let full = detail == Detail::Full;
    let ports = node.into_iter().flat_map(|node| &node.ports);
    Machine {
        system: address.rsplit('/').next().unwrap_or_default().to_owned(),
        bmc_address: address.to_owned(),
        node: node.map(|node| node.uuid.to_string()),
        name: node.and_then(|node| node.name.clone()),
        provision_state: node.map(|node| node.state.as_str()),
        power_state: if server.is_on() { "power on" } else { "power off" },
        state: server.running,
        image: server.disk.as_ref().map(|disk| disk.image.clone()),
        live_iso: server.live_iso.clone(),
        boots: server.boots,
        mac_addresses: ports
            .filter_map(|number| world.ports.get(number))
            .map(|port| port.address.clone())
            .collect(),
        disk: server.disk.clone().filter(|_| full),
        history: server
            .history
            .iter()
            .filter(|_| full)
            .map(|(at, state)| (stamp(*at).to_string(), *state))
            .collect(),
    }
}

/// The nodes by the address of their BMC.
pub(crate) fn by_address(world: &World) -> HashMap<String, u64> {
    world
        .nodes
        .iter()
        .filter_map(|(number, node)| Some((bmc::access(node).ok()?.address, *number)))
        .collect()
}

impl Sim {
    /// Works on the world as it is now.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut World, Instant) -> T) -> T {
        let mut world = self
            .world
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        world.advance(now);
        work(&mut world, now)
    }

    /// All machines that Ironic ever talked to, without their disks.
    pub fn machines(&self) -> Vec<Machine> {
        self.with(|world, _| {
            let nodes = by_address(world);
            world
                .servers
                .iter()
                .map(|(address, server)| {
                    let node = nodes.get(address).and_then(|number| world.nodes.get(number));
                    describe(world, address, server, node, Detail::Brief)
                })
                .collect()
        })
    }

    /// A machine by node UUID, node name, BMC address, or system.
    pub fn machine(&self, id: &str) -> Option<Machine> {
        self.with(|world, _| {
            let address = locate(world, id)?;
            let server = world.servers.get(&address)?;
            let node = by_address(world)
                .get(&address)
                .and_then(|number| world.nodes.get(number));
            Some(describe(world, &address, server, node, Detail::Full))
        })
    }

    /// Presses the power button of a machine; says whether there is one.
    pub fn press_power(&self, id: &str, on: bool) -> bool {
        self.with(|world, now| {
            let address = locate(world, id);
            if let Some(address) = &address {
                world.press(address, on, now);
            }
            address.is_some()
        })
    }

    /// Sets or replaces a fault.
    pub fn set_fault(&self, name: &str, fault: Fault) {
        self.with(|world, now| world.set_fault(name, fault, now));
    }

    /// Removes a fault; says whether there was one.
    pub fn remove_fault(&self, name: &str) -> bool {
        self.with(|world, now| world.remove_fault(name, now))
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.with(World::clear_faults);
    }

    /// Changes the latencies of what begins from now on.
    pub fn set_latencies(&self, latencies: Latencies) {
        self.with(|world, _| world.latencies = latencies);
    }

    /// Enforces another BMC login, or none.
    pub fn set_bmc_login(&self, login: Option<bmc::Login>) {
        self.with(|world, _| world.login = login);
    }

    /// Ironic loses its database; the machines stay as they are.
    pub fn wipe(&self) {
        self.with(|world, _| world.wipe());
    }

    /// Ironic restarts and answers 503 meanwhile; what its conductor was doing fails.
    pub fn restart(&self, down: Duration) {
        self.with(|world, now| world.restart(now, down));
    }

    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        self.with(|world, _| world.nodes.len())
    }

    /// Requests to Ironic's API so far.
    pub fn stats(&self) -> Vec<Requests> {
        self.stats.snapshot()
    }

    /// All requests to Ironic's API so far.
    pub fn requests(&self) -> u64 {
        self.stats().iter().map(|requests| requests.count).sum()
    }

    /// Counts from zero.
    pub fn reset_stats(&self) {
        self.stats.reset();
    }
}

/// The address of a machine by any of its names.
pub(crate) fn locate(world: &World, id: &str) -> Option<String> {
    if let Ok(number) = world.find(id) {
        return bmc::access(world.nodes.get(&number)?)
            .ok()
            .map(|access| access.address);
    }
    let mut addresses = world.servers.keys();
    addresses
        .find(|address| *address == id || address.rsplit('/').next() == Some(id))
        .cloned()
}

const ROUTES: &[(Method, &str, Handler)] = &[
    (Method::GET, "machines", list_machines),
    (Method::POST, "machines", meddling::add),
    (Method::GET, "machines/{id}", get_machine),
    (Method::PATCH, "nodes/{id}", meddling::patch_node),
    (Method::GET, "actions", meddling::list_actions),
    (Method::DELETE, "actions", meddling::delete_actions),
    (Method::GET, "actions/{id}", meddling::get_actions),
    (Method::PUT, "machines/{id}/power", put_power),
    (Method::GET, "faults", list_faults),
    (Method::DELETE, "faults", delete_faults),
    (Method::GET, "faults/{id}", get_fault),
    (Method::PUT, "faults/{id}", put_fault),
    (Method::DELETE, "faults/{id}", delete_fault),
    (Method::GET, "latencies", get_latencies),
    (Method::PUT, "latencies", put_latencies),
    (Method::PATCH, "latencies", patch_latencies),
    (Method::POST, "wipe", wipe),
    (Method::POST, "restart", restart),
    (Method::GET, "stats", get_stats),
    (Method::DELETE, "stats", delete_stats),
];

/// The routes of the control API.
pub(crate) fn router(sim: &Arc<Sim>) -> Router {
    let mut router = Router::new();
    for (method, path, handler) in ROUTES {
        let sim = Arc::clone(sim);
        let route = move |Path(ids): Path<HashMap<String, String>>, body: Bytes| async move {
            let call = Call {
                id: ids.into_values().next().unwrap_or_default(),
                query: HashMap::new(),
                body,
                base: String::new(),
                minor: 0,
                agent: String::new(),
            };
            handler(&sim, &call).into_response()
        };
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        router = router.route(&format!("/sim/v1/{path}"), on(filter, route));
    }
    router
}

pub(crate) fn parsed<T: for<'de> Deserialize<'de>>(call: &Call) -> Result<T, Refusal> {
    serde_json::from_slice(&call.body)
        .map_err(|error| Refusal::bad(format!("the body cannot be read: {error}")))
}

pub(crate) fn missing(what: &str, id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("there is no {what} {id:?}"))
}

fn list_machines(sim: &Sim, _: &Call) -> Answer {
    reply(StatusCode::OK, &sim.machines())
}

fn get_machine(sim: &Sim, call: &Call) -> Answer {
    let machine = sim
        .machine(&call.id)
        .ok_or_else(|| missing("machine", &call.id))?;
    reply(StatusCode::OK, &machine)
}

fn put_power(sim: &Sim, call: &Call) -> Answer {
    let body: Value = parsed(call)?;
    let on = match body["power"].as_str() {
        Some("on" | "reset") => true,
        Some("off") => false,
        _ => return Err(Refusal::bad("power is to be on, off or reset")),
    };
    if sim.press_power(&call.id, on) {
        empty(StatusCode::NO_CONTENT)
    } else {
        Err(missing("machine", &call.id))
    }
}

fn list_faults(sim: &Sim, _: &Call) -> Answer {
    sim.with(|world, _| reply(StatusCode::OK, world.faults.all()))
}

fn get_fault(sim: &Sim, call: &Call) -> Answer {
    sim.with(|world, _| match world.faults.all().get(&call.id) {
        Some(fault) => reply(StatusCode::OK, fault),
        None => Err(missing("fault", &call.id)),
    })
}

fn put_fault(sim: &Sim, call: &Call) -> Answer {
    sim.set_fault(&call.id, parsed(call)?);
    empty(StatusCode::NO_CONTENT)
}

fn delete_fault(sim: &Sim, call: &Call) -> Answer {
    if sim.remove_fault(&call.id) {
        empty(StatusCode::NO_CONTENT)
    } else {
        Err(missing("fault", &call.id))
    }
}

fn delete_faults(sim: &Sim, _: &Call) -> Answer {
    sim.clear_faults();
    empty(StatusCode::NO_CONTENT)
}

fn get_latencies(sim: &Sim, _: &Call) -> Answer {
    sim.with(|world, _| reply(StatusCode::OK, &world.latencies))
}

fn put_latencies(sim: &Sim, call: &Call) -> Answer {
    sim.set_latencies(parsed(call)?);
    empty(StatusCode::NO_CONTENT)
}

/// Changes some, in the form of the flag.
fn patch_latencies(sim: &Sim, call: &Call) -> Answer {
    let body: Value = parsed(call)?;
    let text = body["latency"].as_str().unwrap_or_default();
    let applied = sim.with(|world, _| {
        let mut latencies = world.latencies.clone();
        latencies.apply(text).map(|()| world.latencies = latencies)
    });
    applied.map_err(|error| Refusal::bad(error.to_string()))?;
    empty(StatusCode::NO_CONTENT)
}

fn wipe(sim: &Sim, _: &Call) -> Answer {
    sim.wipe();
    empty(StatusCode::NO_CONTENT)
}

fn restart(sim: &Sim, call: &Call) -> Answer {
    let body: Value = if call.body.is_empty() {
        Value::Null
    } else {
        parsed(call)?
    };
    let down = parse_duration(body["down"].as_str().unwrap_or("0"));
    sim.restart(down.map_err(|error| Refusal::bad(error.to_string()))?);
    empty(StatusCode::NO_CONTENT)
}

fn get_stats(sim: &Sim, _: &Call) -> Answer {
    let stats = sim.stats();
    let total: u64 = stats.iter().map(|requests| requests.count).sum();
    reply(
        StatusCode::OK,
        &json!({"total": total, "nodes": sim.nodes(), "requests": stats}),
    )
}

fn delete_stats(sim: &Sim, _: &Call) -> Answer {
    sim.reset_stats();
    empty(StatusCode::NO_CONTENT)
}
