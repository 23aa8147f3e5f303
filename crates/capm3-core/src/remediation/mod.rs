//! One Metal3Remediation: reboot the host of an unhealthy Machine, and in the end let its owner replace it.
//!
//! An attempt keeps the host off (`running.rs`), makes sure that nothing runs on its Node any more, lets the host come back
//! and puts the Node in service (`waiting.rs`). One deadline is over all of that: whatever an attempt waits for, the next
//! one begins after the timeout, and after the last one the Machine is given up (`end.rs`). Deleting the object ends it from
//! wherever it is (`delete.rs`). `draft.rs` collects the outcome, `ask.rs` has what may be asked, `node.rs` the Node,
//! `machine.rs` what is written on the Machine.

mod ask;
mod delete;
mod draft;
mod end;
mod machine;
mod node;
mod running;
mod waiting;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use metal3_api::capi::{Cluster, Machine};
use metal3_api::infra::v1beta2::{Metal3Machine, Metal3Remediation};
use metal3_api::names;

pub use ask::{Answer, Ask, Hold, HostFacts, NodeAnswer, NodeChange, Progress, Seen};
pub use draft::{Reason, Verdict, Wait};
pub use machine::told;
pub use node::{Backup, NodeName, NodeSeen, can_be_tainted, is_tainted, tainted, untainted};

use crate::host::{Consumer, HostKey};
use crate::machine::owner_of;
use draft::Draft;

const GROUP: &str = "infrastructure.cluster.x-k8s.io";
/// Finalizer of a Metal3Remediation.
pub const FINALIZER: &str = "metal3remediation.infrastructure.cluster.x-k8s.io";
/// Annotation, ours: the key of the power hold. It goes with the object to another cluster, where its UID is another.
pub const ANNOTATION_HOLD: &str = "remediation.metal3.io/power-hold";
/// Annotation with the labels of a Node that was deleted.
pub const ANNOTATION_LABELS: &str = "remediation.metal3.io/node-labels-backup";
/// Annotation with the annotations of a Node that was deleted.
pub const ANNOTATION_ANNOTATIONS: &str = "remediation.metal3.io/node-annotations-backup";
/// Annotation, ours: the Machine was given up while the host service did not answer, so this host, by its name, is still to be
/// let go and marked unhealthy. The Metal3Machine that names it may be gone by then.
pub const ANNOTATION_TO_MARK: &str = "remediation.metal3.io/host-to-mark";
/// The operator ends holds of this kind itself when the host is given back.
const HOLD_PREFIX: &str = "metal3-remediation-";
const REBOOT: &str = "Reboot";
const DEFAULT_TIMEOUT: i32 = 600;
const DEFAULT_RETRY_LIMIT: i32 = 1;

/// The objects a decision is made on, as they were read at its start.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The remediation itself.
    pub remediation: &'a Metal3Remediation,
    /// Its owner.
    pub machine: Option<&'a Machine>,
    /// The owner's infrastructure.
    pub metal3_machine: Option<&'a Metal3Machine>,
    /// The Cluster it belongs to.
    pub cluster: Option<&'a Cluster>,
}

/// How far a remediation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not begun.
    New,
    /// The host goes off.
    Running,
    /// The host comes back.
    Waiting,
    /// The Machine is given up.
    DeletingMachine,
    /// The user wants the host off: nothing can be done.
    Failed,
}

impl Phase {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "",
            Self::Running => "Running",
            Self::Waiting => "Waiting",
            Self::DeletingMachine => "Deleting machine",
            Self::Failed => "Failed",
        }
    }
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Perform this, record the answer and call [`plan`] again.
    Ask(Box<Ask>),
    /// Write this.
    Finish(Box<Verdict>),
}

/// Name of the Machine that a remediation is about.
pub fn owner_name(remediation: &Metal3Remediation) -> Option<&str> {
    owner_of(remediation.metadata.owner_references.as_deref(), "Machine")
}

/// Decides the next step for a remediation.
pub fn plan(view: &View<'_>, seen: &Seen, now: Timestamp) -> Step {
    let draft = Draft::new(view, now);
    if let Some(why) = view.paused() {
        return draft.paused(why);
    }
    if view.deleting() {
        return delete::plan(draft, seen);
    }
    if view.phase() == Phase::DeletingMachine
        && let Some(host) = view.owed()
    {
        return end::make_up(draft, seen, host);
    }
    if matches!(view.phase(), Phase::DeletingMachine | Phase::Failed) || !view.is_reboot() {
        return draft.end();
    }
    let Some(machine) = view.machine else {
        let message = match owner_name(view.remediation) {
            Some(name) => format!("Machine {}/{name}, the owner, does not exist", view.namespace()),
            None => "no Machine owns this Metal3Remediation; a MachineHealthCheck sets the owner".to_owned(),
        };
        return draft.wait_silently(Wait::new(Reason::MachineMissing, message), None);
    };
    if !view.guarded() {
        return begin(draft);
    }
    if machine.metadata.deletion_timestamp.is_some() {
        return end::machine_goes(draft, seen);
    }
    let Some(deadline) = view.deadline() else {
        return first(draft);
    };
    let over = now >= deadline;
    let host = match look(view, seen) {
        // Whoever does not answer, the time of an attempt ends.
        Look::Ask(key) if over && seen.trouble.is_some() => return end::attempt_over(draft, seen, key),
        Look::Ask(key) => return draft.ask(seen, Ask::Host(key)),
        Look::Absent(why) if over => return end::give_up(draft, seen, None, &why),
        Look::Absent(why) => return draft.wait(seen, Wait::new(Reason::HostMissing, why), None),
        Look::Host(host) => host,
    };
    if seen.refused || !host.facts.online {
        return end::fail(draft, seen, &host);
    }
    match view.phase() {
        _ if over => end::attempt_over(draft, seen, host.key),
        Phase::Waiting => waiting::plan(draft, seen, &host, machine),
        Phase::New | Phase::Running | Phase::DeletingMachine | Phase::Failed => {
            running::plan(draft, seen, &host, machine)
        }
    }
}

/// The finalizer, and the key of the hold before there is a hold.
fn begin(mut draft: Draft<'_>) -> Step {
    draft.annotate(ANNOTATION_HOLD, Some(draft.view.hold_key()));
    draft.guard()
}

fn first(mut draft: Draft<'_>) -> Step {
    let strategy = draft.view.strategy();
    let message = format!(
        "rebooting the host of Machine {}; {} s for each of up to {} attempts",
        draft.view.machine_name(),
        strategy.timeout.as_secs(),
        strategy.retry_limit.saturating_add(1)
    );
    draft.event(false, "RemediationStarted", message);
    draft.attempt(None)
}

/// A host of the machine.
struct Host {
    key: HostKey,
    facts: HostFacts,
}

enum Look {
    Ask(HostKey),
    Absent(String),
    Host(Host),
}

fn look(view: &View<'_>, seen: &Seen) -> Look {
    let Some(key) = view.host() else {
        return Look::Absent(format!(
            "Machine {} has no host that could be rebooted",
            view.machine_name()
        ));
    };
    match &seen.host {
        None => Look::Ask(key),
        Some(None) => Look::Absent(format!("host {key} does not exist")),
        Some(Some(facts)) if facts.consumer.as_ref() != view.consumer().as_ref() => {
            Look::Absent(format!("host {key} belongs to somebody else"))
        }
        Some(Some(facts)) => Look::Host(Host {
            key,
            facts: facts.clone(),
        }),
    }
}

/// How a remediation is to be done.
struct Strategy {
    retry_limit: i32,
    timeout: SignedDuration,
}

impl View<'_> {
    fn namespace(&self) -> &str {
        self.remediation.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn machine_name(&self) -> &str {
        let machine = self.machine.and_then(|machine| machine.metadata.name.as_deref());
        machine.unwrap_or_default()
    }

    /// What is written down; a word that we do not know is taken for no beginning.
    pub(super) fn phase(&self) -> Phase {
        let status = self.remediation.status.as_ref();
        let word = status
            .and_then(|status| status.phase.as_deref())
            .unwrap_or_default();
        [
            Phase::Running,
            Phase::Waiting,
            Phase::DeletingMachine,
            Phase::Failed,
        ]
        .into_iter()
        .find(|phase| phase.as_str() == word)
        .unwrap_or(Phase::New)
    }

    fn deleting(&self) -> bool {
        self.remediation.metadata.deletion_timestamp.is_some()
    }

    fn guarded(&self) -> bool {
        let mut finalizers = self.remediation.metadata.finalizers.iter().flatten();
        finalizers.any(|finalizer| finalizer == FINALIZER)
    }

    /// The only strategy, also when none is given.
    fn is_reboot(&self) -> bool {
        let strategy = self.remediation.spec.strategy.as_ref();
        let word = strategy.and_then(|strategy| strategy.type_.as_deref());
        word.is_none_or(|word| word.is_empty() || word == REBOOT)
    }

    fn strategy(&self) -> Strategy {
        let strategy = self.remediation.spec.strategy.as_ref();
        let given = |number: Option<i32>, default| number.filter(|number| *number > 0).unwrap_or(default);
        let timeout = given(
            strategy.and_then(|strategy| strategy.timeout_seconds),
            DEFAULT_TIMEOUT,
        );
        Strategy {
            retry_limit: given(
                strategy.and_then(|strategy| strategy.retry_limit),
                DEFAULT_RETRY_LIMIT,
            ),
            timeout: SignedDuration::from_secs(timeout.into()),
        }
    }

    /// The host on which something was to be done when the Machine was given up that is not done yet.
    fn owed(&self) -> Option<HostKey> {
        let value = annotation(&self.remediation.metadata, ANNOTATION_TO_MARK)?;
        HostKey::from_annotation(value, self.namespace())
    }

    fn retry_count(&self) -> i32 {
        let status = self.remediation.status.as_ref();
        status.and_then(|status| status.retry_count).unwrap_or(0)
    }

    fn since(&self) -> Option<Timestamp> {
        let status = self.remediation.status.as_ref()?;
        let begun = matches!(self.phase(), Phase::Running | Phase::Waiting);
        let since = status.last_remediated.as_ref().filter(|_| begun)?;
        Some(since.0)
    }

    /// When the attempt is over, whatever it waits for.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.since()?.checked_add(self.strategy().timeout).ok()
    }

    /// Until when the host may stay off so that what ran on it is gone: the other half of the time is the node's.
    pub(super) fn fence_until(&self) -> Option<Timestamp> {
        self.since()?.checked_add(self.strategy().timeout / 2).ok()
    }

    /// The name under which the host is held off.
    fn hold_key(&self) -> String {
        let metadata = &self.remediation.metadata;
        // Written by us before the first hold. What people make of it must not end the holds of others.
        let recorded = annotation(metadata, ANNOTATION_HOLD).filter(|key| {
            let rest = key.strip_prefix(HOLD_PREFIX).unwrap_or_default();
            let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
            !rest.is_empty() && key.len() <= 63 && rest.chars().all(good)
        });
        recorded.map_or_else(
            || format!("{HOLD_PREFIX}{}", metadata.uid.as_deref().unwrap_or_default()),
            str::to_owned,
        )
    }

    /// Whom the host belongs to.
    fn consumer(&self) -> Option<Consumer> {
        Some(Consumer {
            group: GROUP.into(),
            kind: "Metal3Machine".into(),
            namespace: self.namespace().into(),
            name: self.metal3_machine?.metadata.name.clone().unwrap_or_default(),
        })
    }

    fn host(&self) -> Option<HostKey> {
        let value = annotation(&self.metal3_machine?.metadata, names::ANNOTATION_HOST)?;
        HostKey::from_annotation(value, self.namespace())
    }

    fn hold(&self, host: HostKey) -> Option<Hold> {
        Some(Hold {
            host,
            consumer: self.consumer()?,
            key: self.hold_key(),
        })
    }

    /// The Node, if the machine ever became one and its cluster is not going.
    fn node(&self) -> Option<NodeName> {
        let cluster = self.cluster?;
        if cluster.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let reference = self.machine?.status.as_ref()?.node_ref.as_ref()?;
        (!reference.name.is_empty()).then(|| NodeName {
            namespace: self.namespace().to_owned(),
            cluster: cluster.metadata.name.clone().unwrap_or_default(),
            name: reference.name.clone(),
        })
    }

    /// What a Node that was deleted had.
    fn backup(&self) -> Option<Backup> {
        let kept = |name| annotation(&self.remediation.metadata, name);
        let (labels, annotations) = (kept(ANNOTATION_LABELS), kept(ANNOTATION_ANNOTATIONS));
        (labels.is_some() || annotations.is_some()).then(|| Backup {
            labels: node::read(labels),
            annotations: node::read(annotations),
        })
    }

    /// Why nobody may act, if so.
    fn paused(&self) -> Option<&'static str> {
        let metadata = &self.remediation.metadata;
        if annotation(metadata, names::ANNOTATION_CAPI_PAUSED).is_some() {
            return Some("the Metal3Remediation has the annotation cluster.x-k8s.io/paused");
        }
        // `clusterctl move` deletes the objects it has copied: what they hold goes on under the copies.
        if annotation(metadata, names::ANNOTATION_DELETE_FOR_MOVE).is_some() {
            return Some("the Metal3Remediation is being moved to another cluster");
        }
        let paused = self
            .cluster
            .and_then(|cluster| cluster.spec.paused)
            .unwrap_or(false);
        paused.then_some("the Cluster is paused")
    }
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}
