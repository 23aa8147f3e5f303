//! Everything there is: nodes, ports, machines, faults, and what is due when.
//!
//! Time passes only when somebody looks: each request first carries out what has become due. There is no task and no
//! timer, a world can be driven by a test with times of its own, and an idle world costs nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::actions::{Action, Deed};
use crate::bmc::{self, Login};
use crate::faults::{Faults, Kind, Names};
use crate::latency::Latencies;
use crate::machine::State;
use crate::node::{Job, Node};
use crate::refusal::Refusal;
use crate::server::Server;

/// A port.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) uuid: Uuid,
    pub(crate) node: u64,
    pub(crate) address: String,
    pub(crate) pxe: bool,
    pub(crate) created: Timestamp,
}

/// A stage that ends.
type Due = Reverse<(Instant, u64, u64)>;

/// The world behind the API.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) latencies: Latencies,
    pub(crate) faults: Faults,
    /// Enforced BMC login.
    pub(crate) login: Option<Login>,
    /// Nodes by their number, which is the order of creation.
    pub(crate) nodes: BTreeMap<u64, Node>,
    by_uuid: HashMap<Uuid, u64>,
    by_name: HashMap<String, u64>,
    pub(crate) ports: BTreeMap<u64, Port>,
    by_mac: HashMap<String, u64>,
    /// Machines by BMC address.
    pub(crate) servers: BTreeMap<String, Server>,
    due: BinaryHeap<Due>,
    last: u64,
    started: (Instant, Timestamp),
    /// Ironic restarts until then.
    pub(crate) down: Option<Instant>,
}

impl World {
    /// An empty world that begins now.
    pub(crate) fn new(latencies: Latencies, login: Option<Login>, now: Instant, wall: Timestamp) -> Self {
        Self {
            latencies,
            faults: Faults::default(),
            login,
            nodes: BTreeMap::new(),
            by_uuid: HashMap::new(),
            by_name: HashMap::new(),
            ports: BTreeMap::new(),
            by_mac: HashMap::new(),
            servers: BTreeMap::new(),
            due: BinaryHeap::new(),
            last: 0,
            started: (now, wall),
            down: None,
        }
    }

    /// A number that was never given out before.
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The wall clock at an instant.
    pub(crate) fn wall(&self, at: Instant) -> Timestamp {
        let (started, wall) = self.started;
        SignedDuration::try_from(at.saturating_duration_since(started))
            .ok()
            .and_then(|passed| wall.checked_add(passed).ok())
            .unwrap_or(wall)
    }

    /// Carries out what has become due.
    pub(crate) fn advance(&mut self, now: Instant) {
        while let Some(Reverse((at, number, turn))) = self.due.peek().copied() {
            if at > now {
                break;
            }
            self.due.pop();
            if self.nodes.get(&number).is_some_and(|node| node.turn == turn) {
                self.stage_ended(number, at);
                if !self.faults.all().is_empty() {
                    self.sync_power(number, at);
                }
            }
        }
    }

    /// The current stage of a node ends after `delay`; what was scheduled for it before is void.
    pub(crate) fn schedule(&mut self, number: u64, now: Instant, delay: Duration) {
        let turn = self.number();
        if let Some(node) = self.nodes.get_mut(&number) {
            node.turn = turn;
            self.due.push(Reverse((now + delay, number, turn)));
        }
    }

    /// The number of a node by UUID or name.
    ///
    /// # Errors
    /// 404
    pub(crate) fn find(&self, id: &str) -> Result<u64, Refusal> {
        let number = match Uuid::parse_str(id) {
            Ok(uuid) => self.by_uuid.get(&uuid),
            Err(_) => self.by_name.get(id),
        };
        number.copied().ok_or_else(|| Refusal::no_node(id))
    }

    /// The number of a node by UUID.
    pub(crate) fn by_uuid(&self, uuid: Uuid) -> Option<u64> {
        self.by_uuid.get(&uuid).copied()
    }

    /// The number of a node by name.
    pub(crate) fn by_name(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).copied()
    }

    /// The number of a port by address.
    pub(crate) fn by_mac(&self, mac: &str) -> Option<u64> {
        self.by_mac.get(mac).copied()
    }

    /// A node that exists.
    ///
    /// # Errors
    /// 404
    pub(crate) fn node(&self, number: u64) -> Result<&Node, Refusal> {
        self.nodes
            .get(&number)
            .ok_or_else(|| Refusal::no_node(&number.to_string()))
    }

    /// A node that exists, to change it.
    ///
    /// # Errors
    /// 404
    pub(crate) fn node_mut(&mut self, number: u64) -> Result<&mut Node, Refusal> {
        self.nodes
            .get_mut(&number)
            .ok_or_else(|| Refusal::no_node(&number.to_string()))
    }

    /// Adds a node.
    pub(crate) fn insert_node(&mut self, node: Node) -> u64 {
        let number = self.number();
        self.by_uuid.insert(node.uuid, number);
        if let Some(name) = &node.name {
            self.by_name.insert(name.clone(), number);
        }
        self.nodes.insert(number, node);
        number
    }

    /// The name of a node changed.
    pub(crate) fn renamed(&mut self, number: u64, before: Option<&str>) {
        if let Some(before) = before {
            self.by_name.remove(before);
        }
        if let Some(name) = self.nodes.get(&number).and_then(|node| node.name.clone()) {
            self.by_name.insert(name, number);
        }
    }

    /// Removes a node with its ports.
    pub(crate) fn remove_node(&mut self, number: u64) {
        let Some(node) = self.nodes.remove(&number) else {
            return;
        };
        self.by_uuid.remove(&node.uuid);
        if let Some(name) = &node.name {
            self.by_name.remove(name);
        }
        for port in node.ports {
            if let Some(port) = self.ports.remove(&port) {
                self.by_mac.remove(&port.address);
            }
        }
    }

    /// Adds a port.
    pub(crate) fn insert_port(&mut self, port: Port) -> u64 {
        let number = self.number();
        if let Some(node) = self.nodes.get_mut(&port.node) {
            node.ports.push(number);
        }
        self.by_mac.insert(port.address.clone(), number);
        self.ports.insert(number, port);
        number
    }

    /// Changes the address of a port.
    pub(crate) fn readdress_port(&mut self, number: u64, address: String) {
        if let Some(port) = self.ports.get_mut(&number) {
            self.by_mac.remove(&port.address);
            self.by_mac.insert(address.clone(), number);
            port.address = address;
        }
    }

    /// Removes a port.
    pub(crate) fn remove_port(&mut self, number: u64) {
        if let Some(port) = self.ports.remove(&number) {
            self.by_mac.remove(&port.address);
            if let Some(node) = self.nodes.get_mut(&port.node) {
                node.ports.retain(|known| *known != number);
            }
        }
    }

    /// The MAC address that a node boots from, if it has a port.
    pub(crate) fn boot_mac(&self, node: &Node) -> Option<&str> {
        let mut ports = node.ports.iter().filter_map(|number| self.ports.get(number));
        let first = ports.next()?;
        let boot = if first.pxe {
            first
        } else {
            ports.find(|port| port.pxe).unwrap_or(first)
        };
        Some(&boot.address)
    }

    /// Whether the fault `node-locked` holds a node.
    pub(crate) fn locked_by_fault(&self, node: &Node) -> bool {
        !self.faults.all().is_empty()
            && with_names(node, |names| {
                self.faults
                    .find(names, |kind| (*kind == Kind::NodeLocked).then_some(()))
                    .is_some()
            })
    }

    /// Refuses changes of a node that somebody works on.
    ///
    /// # Errors
    /// 409
    pub(crate) fn unlocked(&self, number: u64) -> Result<(), Refusal> {
        let node = self.node(number)?;
        if node.busy() || self.locked_by_fault(node) {
            return Err(Refusal::conflict(format!(
                "Node {} is locked by host {}, please retry after the current operation is completed.",
                node.uuid,
                crate::view::CONDUCTOR
            )));
        }
        Ok(())
    }

    /// The machine of a node, as its BMC answers.
    ///
    /// # Errors
    /// What ends in `last_error`.
    pub(crate) fn contact(&mut self, number: u64) -> Result<&mut Server, String> {
        let Some(node) = self.nodes.get(&number) else {
            return Err("the node is gone".to_owned());
        };
        let address = bmc::contact(node, self.login.as_ref(), &mut self.faults)?;
        Ok(self.server(&address))
    }

    /// The machine at an address; any address has one.
    pub(crate) fn server(&mut self, address: &str) -> &mut Server {
        self.servers
            .entry(address.to_owned())
            .or_insert_with(|| Server::new(address))
    }

    /// Ironic loses its database. The machines stay as they are.
    pub(crate) fn wipe(&mut self) {
        self.nodes.clear();
        self.by_uuid.clear();
        self.by_name.clear();
        self.ports.clear();
        self.by_mac.clear();
        self.due.clear();
    }

    /// Ironic restarts: what its conductor was doing fails, what ramdisks do goes on.
    pub(crate) fn restart(&mut self, now: Instant, down: Duration) {
        let wall = self.wall(now);
        for node in self.nodes.values_mut().filter(|node| node.busy()) {
            node.last_error = Some("Operation was aborted due to conductor take over".to_owned());
            node.updated = Some(wall);
            node.job = None;
            node.turn = 0;
            node.hangs = false;
            if let Some(state) = node.state.unresumable().and_then(|operation| operation.failed()) {
                let target = node
                    .target
                    .filter(|_| state != State::Enroll && state != State::Error);
                node.enter(state, target, wall);
            }
        }
        self.down = Some(now + down);
    }

    /// Somebody presses the power button of a machine.
    pub(crate) fn press(&mut self, address: &str, on: bool, now: Instant) {
        let wall = self.wall(now);
        let action = Action {
            number: self.number(),
            at: wall,
            deed: if on { Deed::PowerOn } else { Deed::PowerOff },
            operation: None,
            detail: None,
            node: None,
            asked: "somebody at the machine".into(),
        };
        let server = self.server(address);
        if on {
            server.boot(wall);
        } else {
            server.off(wall);
        }
        server.actions.push(action);
        // The next synchronisation of power states sees it.
        for node in self.nodes.values_mut() {
            let idle = node.verified && !matches!(node.job, Some(Job::Power(_))) && node.fault.is_none();
            if idle && bmc::access(node).is_ok_and(|access| access.address == address) {
                node.power = Some(on);
                node.updated = Some(wall);
            }
        }
    }
}

/// Calls with the words by which a fault may mean a node.
pub(crate) fn with_names<T>(node: &Node, call: impl FnOnce(Names<'_>) -> T) -> T {
    let uuid = node.uuid.to_string();
    let bmc = bmc::access(node).map(|access| access.address).unwrap_or_default();
    call(Names {
        name: node.name.as_deref(),
        uuid: &uuid,
        bmc: &bmc,
    })
}
