use jiff::SignedDuration;
use metal3_api::metal3::hardware_data::HardwareDetails;

use crate::{FailureCause, NodeId, WaitReason};

/// How far an operation is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Finished; the state machine may go on.
    Done,
    /// The backend works on it. Call again after `poll` at the latest, earlier when the backend reports a change.
    Working {
        /// What is waited for.
        reason: WaitReason,
        /// Upper bound until the next look.
        poll: SignedDuration,
    },
    /// The host failed for good until something changes; recorded in its status.
    Failed {
        /// The backend's words.
        message: String,
        /// What they mean, as far as they are understood.
        cause: FailureCause,
    },
}

/// Something worth an event on the host: upstream's reasons (`ProvisioningStarted`, …).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Event reason, CamelCase.
    pub reason: &'static str,
    /// Event message.
    pub message: String,
}

/// Answer of most operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How far it is.
    pub progress: Progress,
    /// The operation was accepted by the backend in this very call.
    pub started: bool,
    /// Events to publish once the verdict is committed.
    pub notices: Vec<Notice>,
}

impl Outcome {
    /// Finished without news.
    pub const fn done() -> Self {
        Self {
            progress: Progress::Done,
            started: false,
            notices: Vec::new(),
        }
    }

    /// Still at work.
    pub const fn working(reason: WaitReason, poll: SignedDuration) -> Self {
        Self {
            progress: Progress::Working { reason, poll },
            started: false,
            notices: Vec::new(),
        }
    }

    /// Accepted by the backend in this call.
    #[must_use]
    pub const fn started(mut self) -> Self {
        self.started = true;
        self
    }

    /// The host failed.
    pub fn failed(cause: FailureCause, message: impl Into<String>) -> Self {
        Self {
            progress: Progress::Failed {
                message: message.into(),
                cause,
            },
            started: false,
            notices: Vec::new(),
        }
    }

    /// Adds an event.
    #[must_use]
    pub fn notice(mut self, reason: &'static str, message: impl Into<String>) -> Self {
        self.notices.push(Notice {
            reason,
            message: message.into(),
        });
        self
    }
}

/// Answer of [`register`](crate::Provisioner::register).
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// The node, also while registration is still at work.
    pub node: Option<NodeId>,
    /// How far it is.
    pub outcome: Outcome,
}

/// Answer of [`inspect`](crate::Provisioner::inspect): details are present exactly when it is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// How far it is.
    pub outcome: Outcome,
    /// The inspected hardware.
    pub details: Option<Box<HardwareDetails>>,
}

/// Answer of [`hardware`](crate::Provisioner::hardware).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// Observed power; `None` when the backend does not know.
    pub powered_on: Option<bool>,
    /// The backend lost the power management of the machine.
    pub power_fault: bool,
    /// BMC health roll-up (`OK`, `Warning`, `Critical`, other), if reported.
    pub health: Option<String>,
}

/// Answer of [`capacity`](crate::Provisioner::capacity).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// Go ahead.
    Free,
    /// Too many hosts are busy.
    Full {
        /// Busy hosts.
        busy: u32,
        /// The limit.
        limit: u32,
        /// Place of this host among those that wait, from 1.
        position: u32,
    },
}
