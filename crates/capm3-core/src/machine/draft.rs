//! The outcome of a pass while it is put together.

use jiff::{SignedDuration, Timestamp};
use metal3_api::conditions::{Status, time};
use metal3_api::infra::v1beta2::{Initialization, Metal3MachineStatus};
use metal3_api::names;

use super::ask::{Ask, Seen, Trouble};
use super::{Step, View, old};
use crate::condition::{Conditions, Event, Reason, Type, Wait};
use crate::host::HostKey;

/// The parts of Ready.
const PARTS: [Type; 4] = [
    Type::Associated,
    Type::DataReady,
    Type::HostProvisioned,
    Type::MetaData,
];
/// Waits end by events; this is for those that were lost.
const SAFETY: SignedDuration = SignedDuration::from_mins(2);

/// What to do with our finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// Leave it as it is.
    Keep,
    /// Add it; written before anything else.
    Add,
    /// Remove it; written after everything else.
    Drop,
}

/// When to look again, besides when something changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// At once.
    Now,
    /// After this time.
    After(SignedDuration),
    /// With growing delay.
    Backoff,
    /// Only when something changes.
    OnChange,
}

/// Changes of metadata and spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New value of the annotation that names the host.
    pub host: Option<String>,
    /// New provider ID.
    pub provider_id: Option<String>,
    /// New failure domain; `Some(None)` removes it.
    pub failure_domain: Option<Option<String>>,
}

impl Changes {
    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The end of a pass. Written in this order: finalizer added, metadata and spec, status, events, finalizer dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What to do with the finalizer.
    pub finalizer: Finalizer,
    /// Changes of metadata and spec.
    pub changes: Changes,
    /// The status as it should be.
    pub status: Metal3MachineStatus,
    /// Events.
    pub events: Vec<Event>,
    /// Why the machine is not done, if it is not.
    pub waiting: Option<Wait>,
    /// When to look again.
    pub requeue: Requeue,
}

#[derive(Clone, Debug)]
pub(super) struct Draft {
    status: Metal3MachineStatus,
    stored: Metal3MachineStatus,
    /// What the event about a machine that is ready says.
    achieved: String,
    conditions: Conditions,
    changes: Changes,
    finalizer: Finalizer,
    requeue: Requeue,
    failure_domain: Option<String>,
    now: Timestamp,
}

impl Draft {
    pub(super) fn new(view: &View<'_>, now: Timestamp) -> Self {
        let stored = view.machine.status.clone().unwrap_or_default();
        Self {
            conditions: Conditions::new(&stored.conditions, view.machine.metadata.generation, now),
            status: stored.clone(),
            stored,
            achieved: String::new(),
            changes: Changes::default(),
            finalizer: Finalizer::Keep,
            requeue: Requeue::OnChange,
            failure_domain: view.machine.spec.failure_domain.clone(),
            now,
        }
    }

    pub(super) fn set(&mut self, type_: Type, holds: bool, reason: Reason, message: impl Into<String>) {
        self.conditions
            .set(type_, Status::from(holds), reason, message.into());
    }

    pub(super) const fn status(&mut self) -> &mut Metal3MachineStatus {
        &mut self.status
    }

    /// Cluster API was told that the machine is there; never taken back.
    pub(super) fn is_provisioned(&self) -> bool {
        self.stored
            .initialization
            .as_ref()
            .is_some_and(|initialization| initialization.provisioned == Some(true))
    }

    pub(super) fn provisioned(&mut self, provider_id: &str, stored: Option<&str>) {
        self.status.initialization = Some(Initialization {
            provisioned: Some(true),
        });
        if stored != Some(provider_id) {
            self.changes.provider_id = Some(provider_id.to_owned());
        }
    }

    /// The host was one that a machine of the same parent gave back.
    pub(super) fn was_reused(&self) -> bool {
        let before = self.conditions.before(Type::Associated);
        before.is_some_and(|condition| condition.reason == Reason::AssociateReused.as_str())
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.conditions.tell(event);
    }

    pub(super) fn achieve(&mut self, what: String) {
        self.achieved = what;
    }

    pub(super) fn name_host(&mut self, host: &HostKey, stored: Option<&str>) {
        let value = host.to_string();
        if stored != Some(value.as_str()) {
            self.changes.host = Some(value);
        }
    }

    pub(super) fn follow_failure_domain(&mut self, wanted: Option<&str>) {
        let wanted = wanted.filter(|name| !name.is_empty()).map(str::to_owned);
        if self.failure_domain != wanted {
            self.failure_domain.clone_from(&wanted);
            self.changes.failure_domain = Some(wanted);
        }
    }

    /// The failure domain after this pass.
    pub(super) fn failure_domain(&self) -> &str {
        self.failure_domain.as_deref().unwrap_or_default()
    }

    pub(super) const fn requeue(&mut self, requeue: Requeue) {
        self.requeue = requeue;
    }

    pub(super) fn not_paused(&mut self) {
        self.set(Type::Paused, false, Reason::NotPaused, "");
    }

    /// Nothing is touched. A machine without a host says so in the condition about it, as upstream does; what is true of one
    /// that has a host stays so, because a machine that runs does not become unready by a pause.
    pub(super) fn paused(mut self, why: &str) -> Step {
        self.set(Type::Paused, true, Reason::Paused, why);
        if !self.conditions.holds(Type::Associated) {
            self.set(Type::Associated, false, Reason::Paused, why);
        }
        let wait = Wait {
            reason: Reason::Paused,
            message: why.to_owned(),
            remedy: "",
        };
        self.finish(Some(wait))
    }

    pub(super) fn add_finalizer(mut self) -> Step {
        self.finalizer = Finalizer::Add;
        self.requeue = Requeue::Now;
        self.finish(None)
    }

    pub(super) fn drop_finalizer(mut self) -> Step {
        self.finalizer = Finalizer::Drop;
        self.finish(None)
    }

    /// Ends the pass before a host was claimed.
    pub(super) fn wait_for_host(self, wait: Wait) -> Step {
        self.wait(Type::Associated, wait)
    }

    /// Ends the pass with one condition false.
    pub(super) fn wait(mut self, type_: Type, wait: Wait) -> Step {
        self.set(type_, false, wait.reason, wait.text());
        self.finish(Some(wait))
    }

    /// Asks the host service, or ends the pass if it already failed.
    pub(super) fn ask(mut self, seen: &Seen, type_: Type, ask: Ask) -> Step {
        let Some(trouble) = &seen.trouble else {
            return Step::Ask(Box::new(ask));
        };
        let wait = told(trouble);
        self.requeue = Requeue::Backoff;
        // A running machine does not become unready because somebody else is away.
        if self.is_provisioned() && type_ == Type::HostProvisioned {
            return self.finish(Some(wait));
        }
        self.wait(type_, wait)
    }

    /// Asks the host service to pause the host or to end that, or tells that it could not be done. The pass is repeated
    /// until it is: `clusterctl move` waits for it.
    pub(super) fn ask_about_pause(mut self, seen: &Seen, failed: Reason, ask: Ask) -> Step {
        let Some(trouble) = &seen.trouble else {
            return Step::Ask(Box::new(ask));
        };
        self.requeue = Requeue::Backoff;
        let wait = Wait {
            reason: failed,
            ..told(trouble)
        };
        self.wait(Type::Paused, wait)
    }

    pub(super) fn finish(mut self, waiting: Option<Wait>) -> Step {
        if waiting.is_some() && self.requeue == Requeue::OnChange {
            self.requeue = Requeue::After(SAFETY);
        }
        let (conditions, events) = self.conditions.summarise(&PARTS, &self.achieved);
        self.status.deprecated = old::deprecated(&conditions, self.stored.deprecated.as_ref());
        self.status.conditions = conditions;
        if self.status != self.stored {
            self.status.last_updated = Some(time(self.now));
        }
        Step::Finish(Box::new(Verdict {
            finalizer: self.finalizer,
            changes: self.changes,
            status: self.status,
            events,
            waiting,
            requeue: self.requeue,
        }))
    }
}

/// What a failed call is told as.
fn told(trouble: &Trouble) -> Wait {
    match trouble {
        Trouble::Unavailable(message) => Wait {
            reason: Reason::HostServiceUnavailable,
            message: message.clone(),
            remedy: "check that the bare-metal operator runs and --host-service-address is right; nothing is lost \
                     meanwhile",
        },
        Trouble::Denied(message) => Wait {
            reason: Reason::HostServiceDenied,
            message: message.clone(),
            remedy: "grant the provider's ServiceAccount the verbs on hosts.host.metal3.io and check its token",
        },
        Trouble::Invalid(message) => Wait {
            reason: Reason::InvalidConfiguration,
            message: message.clone(),
            remedy: "correct the Metal3Machine, or the template it was made from",
        },
    }
}

/// The annotation that names the host.
pub(super) fn host_annotation<'a>(view: &View<'a>) -> Option<&'a str> {
    let annotations = view.machine.metadata.annotations.as_ref()?;
    annotations.get(names::ANNOTATION_HOST).map(String::as_str)
}
