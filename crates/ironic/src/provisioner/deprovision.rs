//! Undeploying and cleaning. The node is read afresh before it is touched: this destroys data.

use metal3_provisioner::{
    CleaningMode, DeprovisionArgs, Error, FailureCause, HostRef, OnFailure, Outcome, WaitReason,
};
use serde_json::json;

use super::patch::Patch;
use super::{IronicProvisioner, LONG, error_or, unexpected};
use crate::client::Node;

pub(super) async fn deprovision(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &DeprovisionArgs,
) -> Result<Outcome, Error> {
    let node = ironic.registered(host).await?;
    match node.provision_state.as_str() {
        "active" | "deploy failed" | "wait call-back" => undeploy(ironic, host, args).await,
        "error" => match args.on_failure {
            OnFailure::Report => Ok(Outcome::failed(
                FailureCause::Unknown,
                error_or(&node, "Deprovisioning failed"),
            )),
            OnFailure::Restart => ironic.target(&node, "deleted", WaitReason::Undeploying).await,
        },
        "clean failed" => match args.on_failure {
            OnFailure::Report => Ok(Outcome::failed(
                FailureCause::Unknown,
                format!("Cleaning failed: {}", error_or(&node, "")),
            )),
            OnFailure::Restart if node.maintenance => ironic.clear_maintenance(&node).await,
            OnFailure::Restart => {
                ironic
                    .target(&node, "manage", WaitReason::BackendTransition)
                    .await
            }
        },
        "manageable" => ironic.target(&node, "provide", WaitReason::Cleaning).await,
        "available" => Ok(Outcome::done().notice("DeprovisioningComplete", "Image deprovisioning completed")),
        "cleaning" | "clean wait" => Ok(Outcome::working(WaitReason::Cleaning, LONG)),
        "deleting" | "deploying" => Ok(Outcome::working(WaitReason::Undeploying, LONG)),
        // States that upstream retries for ever; each has a way out.
        "adopting" | "inspecting" | "verifying" => Ok(Outcome::working(WaitReason::BackendTransition, LONG)),
        "adopt failed" | "inspect failed" | "enroll" => {
            ironic
                .target(&node, "manage", WaitReason::BackendTransition)
                .await
        }
        "inspect wait" => ironic.target(&node, "abort", WaitReason::BackendTransition).await,
        _ => Err(unexpected(&node, "deprovisioning")),
    }
}

async fn undeploy(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &DeprovisionArgs,
) -> Result<Outcome, Error> {
    let node: Node = ironic.registered_full(host).await?;
    if !matches!(
        node.provision_state.as_str(),
        "active" | "deploy failed" | "wait call-back"
    ) {
        return Ok(Outcome::working(WaitReason::BackendTransition, LONG));
    }
    let mut patch = Patch::default();
    patch.field(
        "automated_clean",
        &json!(node.automated_clean),
        &json!(args.cleaning == CleaningMode::Metadata),
    );
    let node = match ironic.patched(node, patch.operations()).await? {
        Ok(node) => node,
        Err(wait) => return Ok(wait),
    };
    let outcome = ironic
        .verb(&node, &json!({"target": "deleted"}), WaitReason::Undeploying)
        .await?;
    Ok(if outcome.started {
        outcome.notice("DeprovisioningStarted", "Image deprovisioning started")
    } else {
        outcome
    })
}
