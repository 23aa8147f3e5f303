//! Removing the node: the end of a host, or the begin of its time detached.

use std::time::Instant;

use metal3_provisioner::{Error, Force, HostRef, Outcome, WaitReason};
use serde_json::json;

use super::drive::{again, locked, settle};
use super::{IronicProvisioner, LONG, SHORT};
use crate::client::Node;

/// Aborting a deployment that waits for its ramdisk came with this version.
const ABORTS_DEPLOYMENTS: u32 = 110;

pub(super) async fn remove(
    ironic: &IronicProvisioner,
    host: &HostRef,
    force: Force,
) -> Result<Outcome, Error> {
    let Some(node) = current(ironic, host).await? else {
        if let Some(id) = &host.node {
            ironic.forget(&id.0);
        }
        return Ok(Outcome::done());
    };
    match node.provision_state.as_str() {
        "verifying" => Ok(Outcome::working(WaitReason::VerifyingBmcAccess, SHORT)),
        "deploying" | "cleaning" | "inspecting" | "servicing" | "deleting" => {
            Ok(Outcome::working(WaitReason::BackendTransition, LONG))
        }
        // In maintenance, Ironic listens to no ramdisk and to no time limit: it would wait for ever.
        "wait call-back" | "inspect wait" | "clean wait" | "service wait" if node.maintenance => {
            delete(ironic, &node).await
        }
        "wait call-back" | "inspect wait" | "clean wait" | "service wait" => match force {
            Force::Yes => abort(ironic, &node).await,
            Force::No => Ok(Outcome::working(WaitReason::BackendTransition, LONG)),
        },
        "enroll" => delete(ironic, &node).await,
        "available" | "manageable" => {
            if node.instance_uuid.is_some() {
                let drop_instance = [json!({"op": "remove", "path": "/instance_uuid"})];
                let answer = ironic.client.patch_node(&node.uuid, &drop_instance).await?;
                ironic.mirror.wrote(&node.uuid);
                if let Err(refusal) = answer {
                    return if refusal.is_conflict() {
                        Ok(locked())
                    } else {
                        Err(refusal.into_error(&format!("the instance of node {}", node.uuid)))
                    };
                }
            }
            delete(ironic, &node).await
        }
        // Ironic removes nodes in any state while they are in maintenance.
        _ if !node.maintenance => {
            let reason = "forcing deletion in baremetal-operator";
            let answer = ironic.client.maintenance(&node.uuid, Some(reason)).await;
            ironic.mirror.wrote(&node.uuid);
            settle(answer?, &node, "put into maintenance", again)
        }
        _ => delete(ironic, &node).await,
    }
}

async fn abort(ironic: &IronicProvisioner, node: &Node) -> Result<Outcome, Error> {
    let deploying = node.provision_state == "wait call-back";
    let target = if deploying && ironic.client.ready().await? < ABORTS_DEPLOYMENTS {
        "deleted"
    } else {
        "abort"
    };
    let body = json!({"target": target});
    ironic.verb(node, &body, WaitReason::BackendTransition).await
}

/// Straight from Ironic, by identifier or by name: a node that a crash left unrecorded must not stay behind.
async fn current(ironic: &IronicProvisioner, host: &HostRef) -> Result<Option<Node>, Error> {
    if let Some(id) = &host.node
        && let Some(node) = ironic.full(&id.0).await?
    {
        return Ok(Some(node));
    }
    ironic
        .full(&format!("{}~{}", host.key.namespace, host.key.name))
        .await
}

/// Removes the node and makes sure that it is gone.
async fn delete(ironic: &IronicProvisioner, node: &Node) -> Result<Outcome, Error> {
    let started = Instant::now();
    let answer = ironic.client.delete_node(&node.uuid).await?;
    ironic.mirror.wrote(&node.uuid);
    match answer {
        Ok(()) if ironic.full(&node.uuid).await?.is_none() => {
            tracing::info!(node = %node.uuid, took = ?started.elapsed(), "node removed from ironic");
            ironic.forget(&node.uuid);
            Ok(Outcome::done())
        }
        Ok(()) => Ok(Outcome::working(WaitReason::RemovingNode, SHORT)),
        Err(refusal) if refusal.is_conflict() => Ok(locked()),
        Err(refusal) => Err(refusal.into_error(&format!("the removal of node {}", node.uuid))),
    }
}
