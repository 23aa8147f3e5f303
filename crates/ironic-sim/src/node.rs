//! Ironic's record of a node.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::interfaces::Interfaces;
use crate::machine::{Means, Operation, State};
use crate::steps::Step;

/// A power state that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `power on`
    On,
    /// `power off` and `soft power off`
    Off,
    /// `rebooting` and `soft rebooting`
    Reboot,
}

impl Target {
    /// The target of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "power on" => Self::On,
            "power off" | "soft power off" => Self::Off,
            "rebooting" | "soft rebooting" => Self::Reboot,
            _ => return None,
        })
    }

    /// What `target_power_state` shows on the way.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::On | Self::Reboot => "power on",
            Self::Off => "power off",
        }
    }
}

/// What a conductor or a ramdisk is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// A long operation in one of its stages.
    Work {
        operation: Operation,
        means: Means,
        stage: usize,
    },
    /// A power change.
    Power(Target),
}

/// A node. Hot fields are typed; the rest is kept as it came.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) uuid: Uuid,
    pub(crate) name: Option<String>,
    pub(crate) driver: String,
    pub(crate) interfaces: Interfaces,
    pub(crate) state: State,
    pub(crate) target: Option<State>,
    pub(crate) job: Option<Job>,
    /// Distinguishes the jobs of a node: what was scheduled for an earlier one is void.
    pub(crate) turn: u64,
    /// Hangs in its stage until a fault is removed.
    pub(crate) hangs: bool,
    /// Power as last read from the BMC.
    pub(crate) power: Option<bool>,
    pub(crate) last_error: Option<String>,
    pub(crate) maintenance: bool,
    pub(crate) maintenance_reason: Option<String>,
    pub(crate) fault: Option<&'static str>,
    pub(crate) instance_uuid: Option<String>,
    pub(crate) driver_info: Map<String, Value>,
    pub(crate) instance_info: Map<String, Value>,
    pub(crate) properties: Map<String, Value>,
    pub(crate) extra: Map<String, Value>,
    pub(crate) network_data: Map<String, Value>,
    pub(crate) target_raid_config: Map<String, Value>,
    /// The logical disks that the last `raid` step left.
    pub(crate) raid_config: Map<String, Value>,
    /// `OK`, `Warning` or `Critical`, as the BMC last said.
    pub(crate) health: Option<&'static str>,
    pub(crate) automated_clean: Option<bool>,
    pub(crate) disable_power_off: bool,
    /// What a user may set and nothing here reads: `owner`, `description`, …
    pub(crate) other: Map<String, Value>,
    /// The steps that the operation under way was given.
    pub(crate) steps: Box<[Step]>,
    /// The request that led to what is under way.
    pub(crate) asked: Arc<str>,
    /// What `continue_inspection` was given; otherwise the machine's identity tells.
    pub(crate) inventory: Option<Box<Value>>,
    /// The config drive of the deployment under way, until it is written to the disk.
    pub(crate) config_drive: Option<Value>,
    /// The MAC address that inspection saw on the first NIC; `None` before the first inspection.
    pub(crate) inspected: Option<String>,
    /// The conductor read the BMC's settings and firmware.
    pub(crate) verified: bool,
    pub(crate) created: Timestamp,
    pub(crate) updated: Option<Timestamp>,
    pub(crate) provision_updated: Option<Timestamp>,
    pub(crate) inspection_finished: Option<Timestamp>,
    /// Ports by their numbers.
    pub(crate) ports: Vec<u64>,
}

impl Node {
    /// A conductor works on it: changes have to wait.
    pub(crate) const fn busy(&self) -> bool {
        match self.job {
            Some(Job::Power(_)) => true,
            Some(Job::Work { .. }) => !self.state.is_wait(),
            None => false,
        }
    }

    /// The power state that is being changed to.
    pub(crate) const fn power_target(&self) -> Option<&'static str> {
        match self.job {
            Some(Job::Power(target)) => Some(target.as_str()),
            _ => None,
        }
    }

    /// Automated cleaning happens unless it is turned off.
    pub(crate) fn cleans(&self) -> bool {
        self.automated_clean.unwrap_or(true)
    }

    /// Moves to another state.
    pub(crate) fn enter(&mut self, state: State, target: Option<State>, at: Timestamp) {
        if state == State::Inspecting {
            self.inspection_finished = None;
        }
        self.state = state;
        self.target = target;
        self.provision_updated = Some(at);
        self.updated = Some(at);
    }
}
