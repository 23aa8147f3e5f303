//! Label sync: the Node that runs on a host has the labels of the host, as far as the Metal3Cluster asks for their prefixes.
//!
//! [`plan`] says whose labels go where, and [`changes`] what a Node lacks or has too much. `prefixes.rs` reads what is
//! asked for, `labels.rs` is what is remembered of hosts and Nodes, `events.rs` what people are told.

pub mod events;
mod labels;
mod prefixes;

use std::collections::BTreeMap;

use kube_resource::{annotated, annotation};
use metal3_api::capi::{Cluster, Machine};
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use metal3_api::names;

pub use labels::{Labels, NodeLabels};
pub use prefixes::Prefixes;

use crate::host::HostKey;
use crate::remediation::NodeName;

/// Labels by which kubelet, kubeadm, Cluster API and this provider know a Node and what runs on it. Hosts have no say in
/// them, whatever is asked for: a Node that loses them is lost to somebody.
const KEPT: [&str; 8] = [
    names::LABEL_NODE_UUID,
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node-role.kubernetes.io/control-plane",
    "node.kubernetes.io/exclude-from-external-load-balancers",
];

/// The objects a decision is made on, as they were read at its start.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The machine between host and Node.
    pub machine: &'a Metal3Machine,
    /// Its owner.
    pub owner: Option<&'a Machine>,
    /// The Cluster it belongs to.
    pub cluster: Option<&'a Cluster>,
    /// The Cluster's infrastructure, which says what is synced.
    pub infra: Option<&'a Metal3Cluster>,
}

/// What is to be synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Labels with these prefixes.
    pub prefixes: Prefixes,
    /// What was asked for and is no prefix.
    pub malformed: Vec<String>,
    /// From where to where; none while the machine has no host or no Node.
    pub pair: Option<Pair>,
}

/// A host and the Node that runs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Whose labels count.
    pub host: HostKey,
    /// Whose labels are changed.
    pub node: NodeName,
}

/// Labels of a Node by key: the value that it is to have, or none if it is not to have the label.
pub type Changes = BTreeMap<String, Option<String>>;

/// Says what is to be synced for a machine; none when nobody asks for it, or nothing may be done now.
pub fn plan(view: &View<'_>) -> Option<Plan> {
    let View {
        machine,
        owner,
        cluster: Some(cluster),
        infra: Some(infra),
    } = *view
    else {
        return None;
    };
    let asked = annotation(&infra.metadata, names::ANNOTATION_LABEL_SYNC_PREFIXES)?;
    let stopped = [
        names::ANNOTATION_CAPI_PAUSED,
        // What clusterctl has copied goes on in the other cluster.
        names::ANNOTATION_DELETE_FOR_MOVE,
    ];
    let paused = cluster.spec.paused == Some(true)
        || annotated(&infra.metadata, &stopped)
        || annotated(&machine.metadata, &stopped);
    if paused || machine.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let (prefixes, malformed) = Prefixes::read(asked);
    let namespace = machine.metadata.namespace.as_deref().unwrap_or_default();
    let pair = || {
        let host = annotation(&machine.metadata, names::ANNOTATION_HOST)?;
        let owner = owner?;
        let node = &owner.status.as_ref()?.node_ref.as_ref()?.name;
        Some(Pair {
            host: HostKey::from_annotation(host, namespace)?,
            node: NodeName {
                namespace: namespace.to_owned(),
                cluster: owner.spec.cluster_name.clone(),
                name: Some(node).filter(|name| !name.is_empty())?.clone(),
            },
        })
    };
    Some(Plan {
        pair: pair().filter(|_| !prefixes.is_empty()),
        prefixes,
        malformed,
    })
}

/// What to change on a Node so that it has the labels of its host, and no others with these prefixes. Labels that Cluster
/// API sets from the Machine are the Machine's: two that correct each other would never end.
pub fn changes(host: &Labels, node: &NodeLabels, prefixes: &Prefixes) -> Changes {
    let synced = |key: &str| prefixes.cover(key) && !KEPT.contains(&key) && !node.is_of_machine(key);
    let lacking = host
        .iter()
        .filter(|(key, value)| synced(key) && node.labels.get(key) != Some(*value))
        .map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
    let too_much = node
        .labels
        .iter()
        .filter(|(key, _)| synced(key) && host.get(key).is_none())
        .map(|(key, _)| (key.to_owned(), None));
    lacking.chain(too_much).collect()
}

/// Little readers of metadata.
mod kube_resource {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
        metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    pub(super) fn annotated(metadata: &ObjectMeta, keys: &[&str]) -> bool {
        keys.iter().any(|key| annotation(metadata, key).is_some())
    }
}
