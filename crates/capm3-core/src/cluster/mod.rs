//! One Metal3Cluster: it is provisioned as soon as the user has said where the API server will be, and goes when the
//! last Machine has gone and no host is kept for the next ones any more (`delete.rs`).

mod delete;
mod old;

use jiff::{SignedDuration, Timestamp};
use metal3_api::capi::Cluster;
use metal3_api::conditions::{Status, time};
use metal3_api::infra::v1beta2::{Initialization, Metal3Cluster, Metal3ClusterStatus};
use metal3_api::names;

use crate::condition::{Conditions, Event, Reason, Type, Wait};
use crate::machine::{Finalizer, Reservations, Trouble, owner_of};

/// The objects a decision is made on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The object itself.
    pub infra: &'a Metal3Cluster,
    /// Its owner.
    pub cluster: Option<&'a Cluster>,
}

/// What was found out in this pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Answer to [`Step::CountMachines`].
    pub machines: Option<usize>,
    /// Answer to [`Step::EndReservations`].
    pub ended: Option<Result<(), Trouble>>,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Count the Machines of this Cluster in the namespace of the object.
    CountMachines(String),
    /// Free the hosts that are kept for machines of this Cluster.
    EndReservations(Reservations),
    /// Write this.
    Finish(Box<Verdict>),
    /// Somebody else manages the object: leave it alone.
    Leave,
}

/// The end of a pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What to do with the finalizer.
    pub finalizer: Finalizer,
    /// The status as it should be.
    pub status: Metal3ClusterStatus,
    /// Events.
    pub events: Vec<Event>,
    /// Why it is not done, if it is not.
    pub waiting: Option<Wait>,
    /// When to look again, besides when something changes.
    pub after: Option<SignedDuration>,
}

/// Name of the Cluster that owns a Metal3Cluster.
pub fn owner_name(infra: &Metal3Cluster) -> Option<&str> {
    owner_of(infra.metadata.owner_references.as_deref(), "Cluster")
}

/// Name of the Cluster, from the owner or, when the owner was never set, from the label.
pub fn cluster_name(infra: &Metal3Cluster) -> Option<&str> {
    let labels = infra.metadata.labels.as_ref();
    owner_name(infra).or_else(|| Some(labels?.get(names::LABEL_CLUSTER_NAME)?))
}

/// Decides the next step for a cluster.
pub fn plan(view: &View<'_>, seen: &Seen, now: Timestamp) -> Step {
    let metadata = &view.infra.metadata;
    let annotated = |key: &str| {
        metadata
            .annotations
            .as_ref()
            .is_some_and(|all| all.contains_key(key))
    };
    if annotated(names::ANNOTATION_MANAGED_BY) {
        return Step::Leave;
    }
    let mut draft = Draft::new(view.infra, now);
    let paused = view
        .cluster
        .and_then(|cluster| cluster.spec.paused)
        .unwrap_or(false);
    if paused || annotated(names::ANNOTATION_CAPI_PAUSED) || annotated(names::ANNOTATION_DELETE_FOR_MOVE) {
        let why = if paused {
            "the Cluster is paused"
        } else {
            "the Metal3Cluster is paused by annotation"
        };
        draft.set(Type::Paused, true, Reason::Paused, why);
        return draft.wait(Reason::Paused, why.into(), "");
    }
    draft.set(Type::Paused, false, Reason::NotPaused, "");
    if metadata.deletion_timestamp.is_some() {
        return delete::plan(view, seen, draft);
    }
    if owner_name(view.infra).is_none() || view.cluster.is_none() {
        let remedy =
            "Cluster API sets the owner; a Metal3Cluster made by hand needs a Cluster that refers to it";
        let message = "no Cluster owns this Metal3Cluster yet";
        draft.set(
            Type::InfrastructureReady,
            false,
            Reason::WaitingForClusterOwner,
            message,
        );
        return draft.wait(Reason::WaitingForClusterOwner, message.into(), remedy);
    }
    if !has_finalizer(view.infra) {
        draft.verdict.finalizer = Finalizer::Add;
    }
    draft
        .verdict
        .status
        .failure_domains
        .clone_from(&view.infra.spec.failure_domains);
    let endpoint = view.infra.spec.control_plane_endpoint.as_ref();
    let host = endpoint
        .and_then(|endpoint| endpoint.host.as_deref())
        .unwrap_or_default();
    let port = endpoint.and_then(|endpoint| endpoint.port).unwrap_or_default();
    if host.is_empty() || port == 0 {
        let message = "spec.controlPlaneEndpoint needs host and port";
        let remedy = "set the address that the API server of the new cluster will have";
        draft.set(
            Type::InfrastructureReady,
            false,
            Reason::InvalidConfiguration,
            &format!("{message}; {remedy}"),
        );
        return draft.wait(Reason::InvalidConfiguration, message.into(), remedy);
    }
    draft.verdict.status.initialization = Some(Initialization {
        provisioned: Some(true),
    });
    draft.set(Type::InfrastructureReady, true, Reason::Ready, "");
    draft.achieved = format!("the control plane endpoint is {host}:{port}");
    draft.finish()
}

fn has_finalizer(infra: &Metal3Cluster) -> bool {
    let mut finalizers = infra.metadata.finalizers.iter().flatten();
    finalizers.any(|finalizer| finalizer == names::FINALIZER_METAL3_CLUSTER)
}

struct Draft {
    verdict: Verdict,
    stored: Metal3ClusterStatus,
    /// What the event about a cluster that is ready says.
    achieved: String,
    conditions: Conditions,
    now: Timestamp,
}

impl Draft {
    fn new(infra: &Metal3Cluster, now: Timestamp) -> Self {
        let stored = infra.status.clone().unwrap_or_default();
        Self {
            conditions: Conditions::new(&stored.conditions, infra.metadata.generation, now),
            verdict: Verdict {
                finalizer: Finalizer::Keep,
                status: stored.clone(),
                events: Vec::new(),
                waiting: None,
                after: None,
            },
            stored,
            achieved: String::new(),
            now,
        }
    }

    fn tell(&mut self, event: Event) {
        self.conditions.tell(event);
    }

    fn set(&mut self, type_: Type, holds: bool, reason: Reason, message: &str) {
        self.conditions
            .set(type_, Status::from(holds), reason, message.to_owned());
    }

    fn wait(mut self, reason: Reason, message: String, remedy: &'static str) -> Step {
        self.verdict.waiting = Some(Wait {
            reason,
            message,
            remedy,
        });
        self.finish()
    }

    fn finish(mut self) -> Step {
        let (conditions, events) = self
            .conditions
            .summarise(&[Type::InfrastructureReady], &self.achieved);
        let status = &mut self.verdict.status;
        status.deprecated = old::deprecated(&conditions, status.deprecated.as_ref());
        status.conditions = conditions;
        self.verdict.events = events;
        if self.verdict.status != self.stored {
            self.verdict.status.last_updated = Some(time(self.now));
        }
        Step::Finish(Box::new(self.verdict))
    }
}
