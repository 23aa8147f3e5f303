//! Keeping a host for the successor of its machine: node reuse.
//!
//! A machine that goes may keep its host for the next machine of the same control plane or MachineDeployment, when the
//! template says so. A host is kept only when somebody will come for it: otherwise it, and whatever else is kept for the
//! same parent, is everybody's.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use metal3_api::capi::Machine;
use metal3_api::names;

use super::{CAPI_GROUP, group_of};
use crate::host::Consumer;

/// Group of the kinds that own control plane machines, whoever makes them.
const CONTROL_PLANE_GROUP: &str = "controlplane.cluster.x-k8s.io";

/// What makes the machines among which hosts are handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Namespace of all that is involved.
    pub namespace: String,
    /// What hosts are kept under.
    pub key: String,
    /// The object that names the template.
    pub owner: Owner,
}

/// The object that names the template of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The control plane, of any kind.
    ControlPlane(Reference),
    /// The MachineSet, and the name of its MachineDeployment.
    MachineSet(Reference, String),
}

/// An object as an owner reference names it; the version does not count, because upgrades change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

impl From<&OwnerReference> for Reference {
    fn from(owner: &OwnerReference) -> Self {
        Self {
            group: group_of(owner).to_owned(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        }
    }
}

/// Whether another machine of the same parent will come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Successor {
    /// The template does not ask for node reuse, or is gone.
    Unwanted,
    /// It cannot be found out; why, and what to do.
    Unknown(String),
    /// The template asks for it.
    Wanted {
        /// Machines that there are to be.
        replicas: u32,
        /// Machines that stay and have a host.
        settled: u32,
    },
}

/// A host that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// For whom.
    pub key: String,
    /// The Cluster, which owns the host meanwhile.
    pub cluster: Consumer,
    /// When it is anybody's again.
    pub expires: Option<jiff::Timestamp>,
}

/// Reservations to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservations {
    /// All of a Cluster.
    Cluster(Consumer),
    /// All under a key.
    Key {
        /// Namespace of the hosts.
        namespace: String,
        /// The key.
        key: String,
    },
}

/// The key of the hosts that a machine may take over, and hands on.
pub fn key(owner: &Machine) -> Option<String> {
    if is_control_plane(owner) {
        return Some(format!("cp-{}", control_plane(owner)?.name));
    }
    Some(format!("md-{}", deployment(owner)?))
}

/// Whom to ask about the successor of a machine; none: it has none.
pub(super) fn parent(owner: &Machine) -> Option<Parent> {
    let reference = if is_control_plane(owner) {
        Owner::ControlPlane(control_plane(owner)?.into())
    } else {
        let owners = owner.metadata.owner_references.iter().flatten();
        let mut sets = owners.filter(|owner| owner.kind == "MachineSet" && group_of(owner) == CAPI_GROUP);
        Owner::MachineSet(sets.next()?.into(), deployment(owner)?.to_owned())
    };
    Some(Parent {
        namespace: owner.metadata.namespace.clone().unwrap_or_default(),
        key: key(owner)?,
        owner: reference,
    })
}

/// What becomes of a host that is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Free, and nothing else changes.
    Free,
    /// Kept for a successor.
    Kept,
    /// Free, as all that are kept under the same key: nobody comes any more.
    Surplus,
}

/// Decides what becomes of a host. A successor comes when fewer machines stay than there are to be: a rollout and a
/// replacement make new ones, a scale-down does not.
pub(super) const fn fate(successor: &Successor) -> Fate {
    match successor {
        Successor::Unwanted | Successor::Unknown(_) => Fate::Free,
        Successor::Wanted { replicas, settled } if *settled < *replicas => Fate::Kept,
        Successor::Wanted { .. } => Fate::Surplus,
    }
}

fn is_control_plane(owner: &Machine) -> bool {
    label(owner, names::LABEL_CONTROL_PLANE).is_some()
}

fn control_plane(owner: &Machine) -> Option<&OwnerReference> {
    let mut owners = owner.metadata.owner_references.iter().flatten();
    owners.find(|owner| group_of(owner) == CONTROL_PLANE_GROUP)
}

fn deployment(owner: &Machine) -> Option<&str> {
    label(owner, names::LABEL_DEPLOYMENT_NAME).filter(|name| !name.is_empty())
}

fn label<'a>(owner: &'a Machine, key: &str) -> Option<&'a str> {
    owner.metadata.labels.as_ref()?.get(key).map(String::as_str)
}
