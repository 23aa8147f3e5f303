//! The outcome of a pass while it is put together.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use metal3_api::conditions::{find, time};
use metal3_api::infra::v1beta2::Metal3RemediationStatus;

use super::ask::{Ask, Progress, Seen};
use super::{Phase, Step, View, machine};
use crate::condition::Event;
use crate::machine::{Finalizer, Requeue, Trouble};

/// Waits end by events; this is for those that were lost.
const SAFETY: SignedDuration = SignedDuration::from_secs(30);
/// What nobody tells us is looked at again after this time.
pub(super) const POLL: SignedDuration = SignedDuration::from_secs(5);

/// Why a remediation is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody may act.
    Paused,
    /// The Machine does not exist, or is not one of ours.
    MachineMissing,
    /// The Machine is being deleted.
    MachineDeleting,
    /// The Machine has no host.
    HostMissing,
    /// The host is to go off.
    PoweringOff,
    /// The host is off; what ran on the Node is to go.
    Fencing,
    /// The host is to come on.
    PoweringOn,
    /// The host is on; the Node is to be found healthy.
    WaitingForNode,
    /// The host service cannot be reached.
    HostServiceUnavailable,
    /// The host service refuses the call.
    HostServiceDenied,
    /// The workload cluster does not answer.
    WorkloadUnreachable,
}

impl Reason {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "Paused",
            Self::MachineMissing => "MachineMissing",
            Self::MachineDeleting => "MachineDeleting",
            Self::HostMissing => "HostMissing",
            Self::PoweringOff => "PoweringOff",
            Self::Fencing => "FencingUnconfirmed",
            Self::PoweringOn => "PoweringOn",
            Self::WaitingForNode => "WaitingForNode",
            Self::HostServiceUnavailable => "HostServiceUnavailable",
            Self::HostServiceDenied => "HostServiceDenied",
            Self::WorkloadUnreachable => "WorkloadUnreachable",
        }
    }
}

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Code.
    pub reason: Reason,
    /// What is awaited, and what a person can do.
    pub message: String,
}

impl Wait {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// The end of a pass. Written in this order: finalizer added and annotations, status, events, finalizer dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What to do with the finalizer.
    pub finalizer: Finalizer,
    /// Annotations to set, or to remove.
    pub annotations: BTreeMap<&'static str, Option<String>>,
    /// The status as it should be.
    pub status: Metal3RemediationStatus,
    /// Events.
    pub events: Vec<Event>,
    /// Why the remediation is not done, if it is not.
    pub waiting: Option<Wait>,
    /// When to look again.
    pub requeue: Requeue,
}

#[derive(Clone, Debug)]
pub(super) struct Draft<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) now: Timestamp,
    verdict: Verdict,
}

impl<'a> Draft<'a> {
    pub(super) fn new(view: &'a View<'a>, now: Timestamp) -> Self {
        Self {
            view,
            now,
            verdict: Verdict {
                finalizer: Finalizer::Keep,
                annotations: BTreeMap::new(),
                status: view.remediation.status.clone().unwrap_or_default(),
                events: Vec::new(),
                waiting: None,
                requeue: Requeue::OnChange,
            },
        }
    }

    pub(super) fn annotate(&mut self, name: &'static str, value: Option<String>) {
        self.verdict.annotations.insert(name, value);
    }

    pub(super) fn event(&mut self, warning: bool, reason: &'static str, message: impl Into<String>) {
        self.verdict.events.push(Event {
            warning,
            reason,
            message: message.into(),
        });
    }

    /// Written before anything is done.
    pub(super) fn guard(mut self) -> Step {
        self.verdict.finalizer = Finalizer::Add;
        self.verdict.requeue = Requeue::Now;
        self.end()
    }

    /// Nothing is left of it.
    pub(super) fn drop_finalizer(mut self) -> Step {
        self.verdict.finalizer = Finalizer::Drop;
        self.end()
    }

    /// Begins an attempt.
    pub(super) fn attempt(mut self, count: Option<i32>) -> Step {
        self.verdict.status.phase = Some(Phase::Running.as_str().to_owned());
        self.verdict.status.last_remediated = Some(time(self.now));
        if count.is_some() {
            self.verdict.status.retry_count = count;
        }
        self.verdict.requeue = Requeue::Now;
        self.end()
    }

    /// Goes on with the next phase.
    pub(super) fn enter(mut self, phase: Phase) -> Step {
        self.verdict.status.phase = Some(phase.as_str().to_owned());
        self.verdict.requeue = Requeue::Now;
        self.end()
    }

    /// Looks again at once.
    pub(super) fn again(mut self) -> Step {
        self.verdict.requeue = Requeue::Now;
        self.end()
    }

    /// Ends the pass; it is looked at again by itself after some time.
    pub(super) fn wait(self, seen: &Seen, wait: Wait, poll: Option<SignedDuration>) -> Step {
        let reason = match self.view.phase() {
            Phase::New => "WaitingForRemediation",
            Phase::Running => "Rebooting",
            Phase::Waiting => "WaitingForNode",
            Phase::DeletingMachine | Phase::Failed => "RemediationFailed",
        };
        let progress = Progress {
            reason,
            message: wait.message.clone(),
        };
        if let Some(ask) = self.tell(seen, progress) {
            return ask;
        }
        self.wait_silently(wait, poll)
    }

    pub(super) fn wait_silently(mut self, wait: Wait, poll: Option<SignedDuration>) -> Step {
        let limits = [self.view.fence_until(), self.view.deadline()];
        let next = limits
            .into_iter()
            .flatten()
            .map(|limit| limit.duration_since(self.now))
            .filter(SignedDuration::is_positive)
            .min();
        let after = poll.unwrap_or(SAFETY);
        self.verdict.requeue = Requeue::After(next.map_or(after, |next| after.min(next)));
        self.verdict.waiting = Some(wait);
        self.end()
    }

    /// Nobody may act: neither here nor on the Machine.
    pub(super) fn paused(mut self, why: &str) -> Step {
        self.verdict.waiting = Some(Wait::new(Reason::Paused, why));
        self.end()
    }

    /// Says how far it is, unless the Machine says so already.
    pub(super) fn tell(&self, seen: &Seen, progress: Progress) -> Option<Step> {
        let machine = self.view.machine.filter(|_| !seen.told && !seen.handed_over)?;
        let status = machine.status.as_ref();
        let known = status.and_then(|status| find(&status.conditions, machine::EXTERNAL));
        let same =
            known.is_some_and(|known| known.reason == progress.reason && known.message == progress.message);
        (!same).then(|| Step::Ask(Box::new(Ask::Tell(Some(progress)))))
    }

    /// Asks the host service, or ends the pass if it already failed.
    pub(super) fn ask(self, seen: &Seen, ask: Ask) -> Step {
        match &seen.trouble {
            None => Step::Ask(Box::new(ask)),
            Some(trouble) => self.trouble(seen, trouble),
        }
    }

    pub(super) fn trouble(mut self, seen: &Seen, trouble: &Trouble) -> Step {
        let mut wait = match trouble {
            Trouble::Unavailable(message) => Wait::new(
                Reason::HostServiceUnavailable,
                format!("{message}; check that the bare-metal operator runs, nothing is lost meanwhile"),
            ),
            Trouble::Denied(message) | Trouble::Invalid(message) => Wait::new(
                Reason::HostServiceDenied,
                format!(
                    "{message}; grant the provider's ServiceAccount verbs get, power and health on hosts.host.metal3.io"
                ),
            ),
        };
        if self.view.deleting() {
            wait.message = format!(
                "the remediation ends when its host is not held any more: {}",
                wait.message
            );
        }
        let progress = Progress {
            reason: wait.reason.as_str(),
            message: wait.message.clone(),
        };
        if let Some(ask) = self.tell(seen, progress).filter(|_| self.explains_trouble()) {
            return ask;
        }
        self.verdict.requeue = Requeue::Backoff;
        self.verdict.waiting = Some(wait);
        self.end()
    }

    /// Whether the Machine is to say what the host service does. One that is well again or given up says so.
    fn explains_trouble(&self) -> bool {
        if !self.view.deleting() {
            return self.view.phase() != Phase::DeletingMachine;
        }
        let status = self.view.machine.and_then(|machine| machine.status.as_ref());
        status.is_some_and(|status| find(&status.conditions, machine::EXTERNAL).is_some())
    }

    /// Nothing to do until something changes.
    pub(super) fn end(self) -> Step {
        Step::Finish(Box::new(self.verdict))
    }
}
