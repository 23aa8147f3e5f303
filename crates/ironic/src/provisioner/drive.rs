//! What all operations do: read the node, ask for a state, tell what the answer means.

use std::sync::Arc;
use std::time::Instant;

use jiff::SignedDuration;
use metal3_api::metal3::host::ErrorType;
use metal3_provisioner::{Error, FailureCause, HostRef, Kind, Outcome, WaitReason};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::patch::Patch;
use super::{IronicProvisioner, LONG, SHORT};
use crate::client::{Accepted, Node};

impl IronicProvisioner {
    /// The node as the mirror knows it, or as Ironic tells.
    pub(super) async fn node(&self, id: &str) -> Result<Option<Arc<Node>>, Error> {
        match self.mirror.node(id) {
            Some(node) => Ok(Some(node)),
            None => Ok(self.full(id).await?.map(Arc::new)),
        }
    }

    /// The whole node, from Ironic.
    pub(super) async fn full(&self, id: &str) -> Result<Option<Node>, Error> {
        let as_of = Instant::now();
        let node = self.client.node(id).await?;
        if let Some(node) = &node {
            self.mirror.seen(node, as_of);
        }
        Ok(node)
    }

    /// The node of a host that was registered.
    pub(super) async fn registered(&self, host: &HostRef) -> Result<Arc<Node>, Error> {
        let id = host.node.as_ref().ok_or_else(|| not_registered(host))?;
        self.node(&id.0).await?.ok_or_else(|| not_registered(host))
    }

    /// The same, whole and fresh: before changes that depend on more than the mirror holds, and destructive ones.
    pub(super) async fn registered_full(&self, host: &HostRef) -> Result<Node, Error> {
        let id = host.node.as_ref().ok_or_else(|| not_registered(host))?;
        self.full(&id.0).await?.ok_or_else(|| not_registered(host))
    }

    /// Asks for a provision state of a node that was just read. Maintenance that somebody forgot, or that came with the
    /// failure of a step, ends first: Ironic would refuse. A lost BMC is Ironic's to find again.
    pub(super) async fn verb(&self, node: &Node, body: &Value, reason: WaitReason) -> Result<Outcome, Error> {
        if node.fault.as_deref() == Some(POWER_FAILURE) {
            return Ok(Outcome::working(WaitReason::NodeFault, LONG));
        }
        if node.maintenance {
            return self.clear_maintenance(node).await;
        }
        let answer = self.client.provision_state(&node.uuid, body).await;
        self.mirror.wrote(&node.uuid);
        settle(answer?, node, "change the provision state of", || {
            Outcome::working(reason, SHORT).started()
        })
    }

    /// A step on the way, which does not count as the start of the operation, of a node as the mirror knows it. It is read
    /// once more: maintenance that somebody set meanwhile would stop what begins now for ever, because Ironic does not
    /// listen to a ramdisk then.
    pub(super) async fn target(
        &self,
        node: &Node,
        target: &str,
        reason: WaitReason,
    ) -> Result<Outcome, Error> {
        match self.full(&node.uuid).await? {
            Some(fresh) if fresh.provision_state == node.provision_state => {
                let outcome = self.verb(&fresh, &json!({"target": target}), reason).await?;
                Ok(Outcome {
                    started: false,
                    ..outcome
                })
            }
            // It moved on: look again.
            Some(_) => Ok(again()),
            None => Err(gone(&node.uuid)),
        }
    }

    pub(super) async fn clear_maintenance(&self, node: &Node) -> Result<Outcome, Error> {
        let answer = self.client.maintenance(&node.uuid, None).await;
        self.mirror.wrote(&node.uuid);
        settle(answer?, node, "end the maintenance of", again)
    }

    /// Applies a patch if it says anything; `Err` is the wait for a locked node.
    pub(super) async fn patched(&self, node: Node, patch: &Patch) -> Result<Result<Node, Outcome>, Error> {
        if patch.operations().is_empty() {
            return Ok(Ok(node));
        }
        let answer = self.client.patch_node(&node.uuid, patch.operations()).await;
        self.mirror.wrote(&node.uuid);
        match answer? {
            Ok(node) => Ok(Ok(node)),
            Err(refusal) if refusal.is_conflict() => Ok(Err(locked())),
            Err(refusal) => Err(refusal.into_error(&format!("the settings of node {}", node.uuid))),
        }
    }

    /// The node is gone.
    pub(super) fn forget(&self, uuid: &str) {
        self.configured().remove(uuid);
        self.asked().remove(uuid);
        self.unwritten().remove(uuid);
    }
}

/// The fault of a node whose BMC does not answer any more.
pub(super) const POWER_FAILURE: &str = "power failure";

/// The host failed; Ironic's words tell why.
pub(super) fn failed(operation: ErrorType, message: impl Into<String>) -> Outcome {
    let message = message.into();
    Outcome::failed(FailureCause::of(operation, &message), message)
}

/// Locked nodes are waited for; other refusals are errors.
pub(super) fn settle(
    answer: Accepted,
    node: &Node,
    what: &str,
    accepted: impl FnOnce() -> Outcome,
) -> Result<Outcome, Error> {
    match answer {
        Ok(()) => Ok(accepted()),
        Err(refusal) if refusal.is_conflict() => Ok(locked()),
        // The node is not where we thought: look again.
        Err(refusal) if refusal.status() == StatusCode::BAD_REQUEST => Err(Error::new(
            Kind::Transient,
            "wrong_state",
            format!(
                "Ironic refused to {what} node {} in state {}: {}",
                node.uuid,
                node.provision_state,
                refusal.message()
            ),
        )),
        Err(refusal) => Err(refusal.into_error(&format!("node {}", node.uuid))),
    }
}

pub(super) const fn locked() -> Outcome {
    Outcome::working(WaitReason::NodeLocked, SHORT)
}

/// Something was changed that takes effect at once: go on soon.
pub(super) const fn again() -> Outcome {
    Outcome::working(WaitReason::BackendTransition, SignedDuration::ZERO)
}

pub(super) fn not_registered(host: &HostRef) -> Error {
    Error::new(
        Kind::NotRegistered,
        "not_registered",
        format!("host {} is not known to Ironic", host.key),
    )
}

pub(super) fn gone(node: &str) -> Error {
    Error::new(
        Kind::NotRegistered,
        "not_registered",
        format!("node {node} is not known to Ironic any more"),
    )
}

pub(super) fn unexpected(node: &Node, doing: &str) -> Error {
    Error::new(
        Kind::Transient,
        "unexpected_state",
        format!(
            "node {} is in state {:?}, unexpected while {doing}",
            node.uuid, node.provision_state
        ),
    )
}

pub(super) fn error_or(node: &Node, fallback: &str) -> String {
    node.error().unwrap_or(fallback).to_owned()
}
