//! Power changes.

use std::time::Instant;

use crate::actions::Deed;
use crate::faults::Kind;
use crate::machine::Operation;
use crate::node::{Job, Target};
use crate::world::{World, with_names};

impl World {
    /// Begins a power change.
    pub(crate) fn set_power(&mut self, number: u64, target: Target, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&number) {
            if node.state.unresumable().is_none() && !node.state.as_str().ends_with("failed") {
                node.last_error = None;
            }
            node.job = Some(Job::Power(target));
            let delay = self.latencies.of(Operation::Power) + self.slowness(number);
            self.schedule(number, now, delay);
        }
    }

    pub(crate) fn power_ended(&mut self, number: u64, target: Target, now: Instant) {
        let wall = self.wall(now);
        let failure = self.nodes.get(&number).and_then(|node| {
            with_names(node, |names| {
                self.faults.strike_node(
                    names,
                    |kind| matches!(kind, Kind::Fail { operation, .. } if *operation == Operation::Power),
                )
            })
        });
        let words = |cause: &str| {
            let target = target.as_str();
            format!("Failed to change power state to '{target}' by '{target}': {cause}")
        };
        let result = match failure {
            Some(Kind::Fail { message, .. }) => Err(words(message.as_deref().unwrap_or("simulated failure"))),
            _ => self.contact(number).map_err(|cause| words(&cause)).map(|server| {
                match target {
                    Target::On if !server.is_on() => server.boot(wall),
                    Target::On => {}
                    Target::Off => server.off(wall),
                    Target::Reboot => server.boot(wall),
                }
                server.is_on()
            }),
        };
        if result.is_ok() {
            let deed = match target {
                Target::On => Deed::PowerOn,
                Target::Off => Deed::PowerOff,
                Target::Reboot => Deed::Reboot,
            };
            self.record(number, deed, None, None, now);
        }
        if let Some(node) = self.nodes.get_mut(&number) {
            node.job = None;
            node.updated = Some(wall);
            match result {
                Ok(power) => node.power = Some(power),
                Err(words) => node.last_error = Some(words),
            }
        }
    }
}
