//! What a decision says.

use jiff::SignedDuration;
use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::metal3::host::{BareMetalHostStatus, ProvisioningState};
use metal3_provisioner::{FailureCause, WaitReason};

use crate::Ask;

/// One step of a decision.
#[derive(Clone, Debug)]
pub enum Step {
    /// One fact is missing: perform this, record the answer, call [`step`](crate::step) again.
    Ask(Ask),
    /// Decided.
    Finish(Box<Verdict>),
}

/// What to commit: finalizer, status by compare-and-swap, other objects, events; the finalizer goes last.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The whole new status; equal to the old one when nothing is to be written.
    pub status: BareMetalHostStatus,
    /// Events to publish after the status was saved.
    pub events: Vec<Event>,
    /// Writes to the host's metadata and to other objects.
    pub writes: Vec<Write>,
    /// What happens to the finalizer.
    pub finish: Finish,
    /// When to look again, and what is waited for.
    pub next: Next,
    /// The transitions made, in their order, for metrics and the log.
    pub transitions: Vec<(ProvisioningState, ProvisioningState)>,
    /// What the failure that was recorded means, for metrics.
    pub failure: Option<FailureCause>,
}

impl Verdict {
    /// Whether all there is to say is that the spec was read: the conditions name its generation, nothing else is new, and
    /// nothing is to be done at once.
    pub fn only_observes(&self, before: &BareMetalHostStatus) -> bool {
        if self.status == *before
            || self.status.conditions.len() != before.conditions.len()
            || self.finish != Finish::Keep
            || !self.writes.is_empty()
            || !self.events.is_empty()
            || !matches!(self.next.requeue, Requeue::After(_) | Requeue::OnChange)
        {
            return false;
        }
        let mut status = self.status.clone();
        status.last_updated.clone_from(&before.last_updated);
        for (condition, before) in status.conditions.iter_mut().zip(&before.conditions) {
            condition.observed_generation = before.observed_generation;
        }
        status == *before
    }
}

/// What happens to the host's finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Nothing.
    Keep,
    /// It is added before anything else.
    AddFinalizer,
    /// It is removed after everything else.
    RemoveFinalizer,
}

/// A write other than status and finalizer.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Remove annotations from the host.
    RemoveAnnotations(Vec<String>),
    /// Fill `spec.architecture`, which is empty. Performed before the status, whose conditions tell of the generation that
    /// this makes.
    Architecture(String),
    /// Create or replace the HardwareData of the host.
    HardwareData(Box<HardwareDetails>),
    /// Take our finalizers off the Secrets and the HardwareData of the host.
    ReleaseOwned,
}

/// When to look again. Only these constructors exist: a wait cannot be expressed without its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    pub(crate) requeue: Requeue,
    pub(crate) reason: Option<WaitReason>,
    pub(crate) detail: String,
    /// What helps with the failure that is waited out, if that is known.
    pub(crate) remedy: Option<&'static str>,
}

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// At once.
    Now,
    /// After this long, or when something changes.
    After(SignedDuration),
    /// After upstream's back-off for this many failures; the shell draws the jitter.
    Backoff {
        /// Failures so far.
        attempt: u32,
    },
    /// When something changes.
    OnChange,
}

impl Requeue {
    /// This long from now at the latest.
    #[must_use]
    pub fn within(self, limit: SignedDuration) -> Self {
        match self {
            Self::Now => Self::Now,
            Self::After(after) => Self::After(after.min(limit)),
            Self::Backoff { .. } | Self::OnChange => Self::After(limit),
        }
    }
}

impl Next {
    pub(crate) const fn now() -> Self {
        Self {
            requeue: Requeue::Now,
            reason: None,
            detail: String::new(),
            remedy: None,
        }
    }

    /// Nothing is waited for; look again for drift.
    pub(crate) const fn steady(interval: SignedDuration) -> Self {
        Self {
            requeue: Requeue::After(interval),
            reason: None,
            detail: String::new(),
            remedy: None,
        }
    }

    pub(crate) const fn nothing() -> Self {
        Self {
            requeue: Requeue::OnChange,
            reason: None,
            detail: String::new(),
            remedy: None,
        }
    }

    pub(crate) const fn wait(reason: WaitReason, poll: SignedDuration) -> Self {
        Self {
            requeue: Requeue::After(poll),
            reason: Some(reason),
            detail: String::new(),
            remedy: None,
        }
    }

    pub(crate) const fn on_change(reason: WaitReason) -> Self {
        Self {
            requeue: Requeue::OnChange,
            reason: Some(reason),
            detail: String::new(),
            remedy: None,
        }
    }

    /// At once, for what will be waited for then.
    pub(crate) const fn expect(reason: WaitReason) -> Self {
        Self {
            requeue: Requeue::Now,
            reason: Some(reason),
            detail: String::new(),
            remedy: None,
        }
    }

    pub(crate) fn backoff(attempt: u32, detail: impl Into<String>, cause: FailureCause) -> Self {
        Self {
            requeue: Requeue::Backoff { attempt },
            reason: Some(WaitReason::RetryBackoff),
            detail: detail.into(),
            remedy: (cause != FailureCause::Unknown).then(|| cause.remedy()),
        }
    }

    /// Looks again after this long at the latest.
    pub(crate) fn no_later_than(mut self, longest: SignedDuration) -> Self {
        self.requeue = match self.requeue {
            Requeue::After(poll) => Requeue::After(poll.min(longest)),
            Requeue::OnChange => Requeue::After(longest),
            sooner @ (Requeue::Now | Requeue::Backoff { .. }) => sooner,
        };
        self
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// When to look again.
    pub const fn requeue(&self) -> Requeue {
        self.requeue
    }

    /// What is waited for, if anything.
    pub const fn reason(&self) -> Option<WaitReason> {
        self.reason
    }
}

/// A Kubernetes event on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Normal or Warning.
    pub kind: EventKind,
    /// CamelCase reason.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Something happened.
    Normal,
    /// Something failed.
    Warning,
}
