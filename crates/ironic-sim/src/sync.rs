//! Faults come and go: what Ironic notices by itself.

use std::time::{Duration, Instant};

use crate::bmc;
use crate::faults::{Fault, Kind};
use crate::server::Server;
use crate::world::{World, with_names};

/// The fault of a node whose power cannot be read.
const POWER_FAILURE: &str = "power failure";

impl World {
    /// Sets a fault, with what follows from it at once.
    pub(crate) fn set_fault(&mut self, name: &str, fault: Fault, now: Instant) {
        self.faults.set(name, fault);
        self.faults_changed(now);
    }

    /// Removes a fault; says whether there was one.
    pub(crate) fn remove_fault(&mut self, name: &str, now: Instant) -> bool {
        let known = self.faults.remove(name);
        self.faults_changed(now);
        known
    }

    /// Removes all faults.
    pub(crate) fn clear_faults(&mut self, now: Instant) {
        self.faults.clear();
        self.faults_changed(now);
    }

    /// The periodic power synchronisation notices lost and regained power control; what hung goes on.
    fn faults_changed(&mut self, now: Instant) {
        let numbers: Vec<u64> = self.nodes.keys().copied().collect();
        for number in numbers {
            self.sync_power(number, now);
            self.release(number, now);
        }
    }

    /// Ironic's periodic synchronisation reaches a node.
    pub(crate) fn sync_power(&mut self, number: u64, now: Instant) {
        let wall = self.wall(now);
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        let lost = with_names(node, |names| {
            self.faults
                .find(names, |kind| (*kind == Kind::PowerLost).then_some(()))
                .is_some()
        });
        if lost && node.verified && node.fault.is_none() && node.job.is_none() {
            let message = format!(
                "During sync_power_state, max retries exceeded for node {}, node state None does not match expected \
                 state. Updating DB state to 'None' Switching node to maintenance mode.",
                node.uuid
            );
            node.power = None;
            node.maintenance = true;
            node.maintenance_reason = Some(message.clone());
            node.fault = Some(POWER_FAILURE);
            node.last_error = Some(message);
            node.updated = Some(wall);
        } else if !lost && node.fault == Some(POWER_FAILURE) {
            node.maintenance = false;
            node.maintenance_reason = None;
            node.fault = None;
            node.last_error = None;
            node.updated = Some(wall);
            if let Ok(access) = bmc::access(node) {
                node.power = self.servers.get(&access.address).map(Server::is_on);
            }
        }
    }

    /// What a node hung on may be gone: it tries again.
    pub(crate) fn release(&mut self, number: u64, now: Instant) {
        if self.nodes.get(&number).is_some_and(|node| node.hangs) {
            self.schedule(number, now, Duration::ZERO);
        }
    }
}
