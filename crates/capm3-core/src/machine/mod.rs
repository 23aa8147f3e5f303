//! One Metal3Machine: claim a host, run the image on it, link its Node; in the end, give the host back.
//!
//! [`plan`] fixes the order of what is checked. `normal.rs` leads to a running machine, `link.rs` to its Node,
//! `delete.rs` back; `moving.rs` prepares the host for `clusterctl move`; `reuse.rs` says whether the host is kept for the next machine. `draft.rs` collects the outcome,
//! `ask.rs` has what may be asked and answered, `old.rs` the conditions as v1beta1 shows them.

mod ask;
mod delete;
mod draft;
mod link;
mod moving;
mod normal;
mod old;
mod reuse;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube_resource::{annotation, deleting};
use metal3_api::capi::{Cluster, Machine};
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use metal3_api::names;

pub use ask::{
    Answer, Ask, ClaimRequest, Claimed, Expression, NodeAnswer, ProvisionSpec, Provisioned, Released, Seen,
    Trouble, Wish,
};
pub use draft::{Changes, Finalizer, Requeue, Verdict};
pub use reuse::{Owner, Parent, Reference, Reservation, Reservations, Successor, key as reuse_key};

use crate::condition::{Reason, Wait};
use crate::host::Consumer;
use draft::Draft;

/// API group of the provider's kinds.
const GROUP: &str = "infrastructure.cluster.x-k8s.io";
pub(crate) const CAPI_GROUP: &str = "cluster.x-k8s.io";

/// The objects a decision is made on, as they were read at its start.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The machine itself.
    pub machine: &'a Metal3Machine,
    /// Its owner.
    pub owner: Option<&'a Machine>,
    /// The Cluster it belongs to.
    pub cluster: Option<&'a Cluster>,
    /// The Cluster's infrastructure.
    pub infra: Option<&'a Metal3Cluster>,
    /// What the administrator chose.
    pub policy: Policy,
}

/// What the administrator chose for all machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Released hosts that will be cleaned stay powered on.
    pub fast_track: bool,
    /// A machine rather waits than taking a host outside of its failure domain.
    pub failure_domain_required: bool,
    /// How long a host is kept for the successor of its machine; none: until somebody comes.
    pub reuse_timeout: Option<SignedDuration>,
}

impl View<'_> {
    fn namespace(&self) -> &str {
        self.machine.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.machine.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whom hosts belong to when they belong to this machine.
    fn consumer(&self) -> Consumer {
        Consumer {
            group: GROUP.into(),
            kind: "Metal3Machine".into(),
            namespace: self.namespace().into(),
            name: self.name().into(),
        }
    }

    /// Whom hosts belong to that are kept for another machine of the Cluster.
    fn cluster_consumer(&self) -> Consumer {
        Consumer {
            group: CAPI_GROUP.into(),
            kind: "Cluster".into(),
            namespace: self.namespace().into(),
            name: self.cluster_name().into(),
        }
    }

    fn cluster_name(&self) -> &str {
        cluster_name(self.machine, self.owner)
    }

    fn has_finalizer(&self) -> bool {
        self.machine
            .metadata
            .finalizers
            .iter()
            .flatten()
            .any(|finalizer| finalizer == names::FINALIZER_METAL3_MACHINE)
    }

    /// What to do when nobody may act.
    fn paused(&self, seen: &Seen, draft: &Draft) -> Option<Step> {
        let annotated = |key| annotation(&self.machine.metadata, key).is_some();
        // `clusterctl move` deletes the objects it has copied: their hosts go on under the copies.
        if annotated(names::ANNOTATION_DELETE_FOR_MOVE) {
            let why = "the Metal3Machine is being moved to another cluster";
            return Some(draft.clone().paused(why));
        }
        let cluster = self.cluster.and_then(|cluster| cluster.spec.paused);
        if cluster == Some(true) {
            return Some(moving::prepare(
                self,
                seen,
                draft.clone(),
                "the Cluster is paused",
            ));
        }
        annotated(names::ANNOTATION_CAPI_PAUSED).then(|| {
            let why = "the Metal3Machine has the annotation cluster.x-k8s.io/paused";
            moving::machine_alone(self, seen, draft.clone(), why)
        })
    }
}

/// Name of the Machine that owns a Metal3Machine.
pub fn owner_name(machine: &Metal3Machine) -> Option<&str> {
    owner_of(machine.metadata.owner_references.as_deref(), "Machine")
}

/// Name of the Cluster that a Metal3Machine belongs to; empty when nobody said so yet.
pub fn cluster_name<'a>(machine: &'a Metal3Machine, owner: Option<&'a Machine>) -> &'a str {
    owner
        .map(|owner| owner.spec.cluster_name.as_str())
        .unwrap_or_else(|| {
            let labels = machine.metadata.labels.as_ref();
            labels
                .and_then(|labels| labels.get(names::LABEL_CLUSTER_NAME))
                .map_or("", String::as_str)
        })
}

/// The owner of a kind of Cluster API; version and UID do not count, because upgrades and moves change them.
pub(crate) fn owner_of<'a>(owners: Option<&'a [OwnerReference]>, kind: &str) -> Option<&'a str> {
    let mut owners = owners?.iter();
    let owner = owners.find(|owner| owner.kind == kind && group_of(owner) == CAPI_GROUP)?;
    Some(&owner.name)
}

/// The API group of an owner.
fn group_of(owner: &OwnerReference) -> &str {
    owner.api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Perform this, record the answer and call [`plan`] again.
    Ask(Box<Ask>),
    /// Write this.
    Finish(Box<Verdict>),
}

/// Decides the next step for a machine.
pub fn plan(view: &View<'_>, seen: &Seen, now: Timestamp) -> Step {
    let mut draft = Draft::new(view, now);
    if let Some(step) = view.paused(seen, &draft) {
        return step;
    }
    draft.not_paused();
    if deleting(&view.machine.metadata) {
        return delete::plan(view, seen, draft, now);
    }
    let Some(owner) = view.owner else {
        let message = match owner_name(view.machine) {
            None => "no Machine owns this Metal3Machine yet".to_owned(),
            Some(name) => format!("Machine {}/{name}, the owner, does not exist", view.namespace()),
        };
        return draft.wait_for_host(Wait {
            reason: Reason::WaitingForOwner,
            message,
            remedy: "Cluster API sets the owner; a Metal3Machine made by hand needs a Machine that refers to it",
        });
    };
    draft.follow_failure_domain(owner.spec.failure_domain.as_deref());
    if let Some(wait) = infrastructure(view) {
        return draft.wait_for_host(wait);
    }
    // Written before the first claim, so that no deletion can overtake the release of the host.
    if !view.has_finalizer() {
        return draft.add_finalizer();
    }
    normal::plan(view, owner, seen, draft)
}

/// Whether Cluster API says that the infrastructure of a Cluster is there, if need be by the condition of v1beta1.
pub fn infrastructure_provisioned(cluster: &Cluster) -> bool {
    let Some(status) = &cluster.status else {
        return false;
    };
    let told = status.initialization.as_ref();
    if let Some(provisioned) = told.and_then(|told| told.infrastructure_provisioned) {
        return provisioned;
    }
    let old = status.deprecated.as_ref().and_then(|old| old.v1beta1.as_ref());
    let mut conditions = old.into_iter().flat_map(|old| &old.conditions);
    conditions.any(|condition| condition.type_ == "InfrastructureReady" && condition.status == "True")
}

/// What is still missing around the machine.
fn infrastructure(view: &View<'_>) -> Option<Wait> {
    let name = view.cluster_name();
    let Some(cluster) = view.cluster else {
        return Some(Wait {
            reason: Reason::WaitingForInfrastructure,
            message: format!("Cluster {}/{name} does not exist", view.namespace()),
            remedy: "create it, or delete this machine",
        });
    };
    if view.infra.is_none() {
        let reference = cluster.spec.infrastructure_ref.as_ref();
        return Some(Wait {
            reason: Reason::WaitingForMetal3Cluster,
            message: match reference {
                Some(reference) => format!(
                    "Metal3Cluster {}/{} does not exist",
                    view.namespace(),
                    reference.name
                ),
                None => format!("Cluster {name} names no Metal3Cluster"),
            },
            remedy: "",
        });
    }
    (!infrastructure_provisioned(cluster)).then(|| Wait {
        reason: Reason::WaitingForInfrastructure,
        message: format!("the infrastructure of Cluster {name} is not provisioned yet"),
        remedy: "",
    })
}

/// Little readers of metadata.
mod kube_resource {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
        metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    pub(super) fn deleting(metadata: &ObjectMeta) -> bool {
        metadata.deletion_timestamp.is_some()
    }
}
