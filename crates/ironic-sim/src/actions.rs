//! What was done to machines, and at whose wish: the proof that nothing was wiped or switched without intent.
//!
//! Every machine has a log of its own, which is bounded and outlives the node. An [`Action`] is written when the hardware
//! is touched, not when something is asked for; [`Action::asked`] is the request that led to it.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::machine::Operation;

/// How many actions are kept of each machine.
pub const KEPT: usize = 64;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Switched on.
    PowerOn,
    /// Switched off.
    PowerOff,
    /// Switched off and on.
    Reboot,
    /// Booted into Ironic's ramdisk, for the operation.
    BootRamdisk,
    /// A step of cleaning or servicing was carried out; `detail` names it.
    Step,
    /// The content of the disks was destroyed.
    Erase,
    /// An image was written, or a live ISO inserted; `detail` is its URL.
    Deploy,
    /// The instance was torn down.
    Undeploy,
    /// Ironic forgot the node; the machine stays as it is.
    Delete,
}

/// One thing that was done to a machine.
#[derive(Clone, Debug, Serialize)]
pub struct Action {
    /// Orders the actions of all machines.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub deed: Deed,
    /// As a part of what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// URL of the image, or name of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Arc<str>>,
    /// The node that Ironic had of the machine then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Uuid>,
    /// The request that led to it, with the client's name.
    pub asked: Arc<str>,
}

/// The log of a machine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Log {
    /// BMC address with the system's path.
    pub bmc_address: String,
    /// Name of the node, if Ironic has one.
    pub name: Option<String>,
    /// How many older actions were dropped; the log is complete if it is 0.
    pub dropped: u64,
    /// In order.
    pub actions: Vec<Action>,
}

/// The last actions on a machine.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    pub(crate) dropped: u64,
    pub(crate) actions: VecDeque<Action>,
}

impl Recent {
    pub(crate) fn push(&mut self, action: Action) {
        if self.actions.len() == KEPT {
            self.actions.pop_front();
            self.dropped += 1;
        }
        self.actions.push_back(action);
    }
}
