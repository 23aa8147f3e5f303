//! Undeploying and cleaning. The node is read afresh before it is touched: this destroys data.

use metal3_api::metal3::host::ErrorType;
use metal3_provisioner::{CleaningMode, DeprovisionArgs, Error, HostRef, OnFailure, Outcome, WaitReason};
use serde_json::json;

use super::drive::{error_or, failed, unexpected};
use super::patch::Patch;
use super::{IronicProvisioner, LONG, SHORT};

/// What is deployed, or was to be, is given up from these.
const DEPLOYED: [&str; 10] = [
    "active",
    "deploy failed",
    "wait call-back",
    "service failed",
    "service wait",
    "rescue",
    "rescue failed",
    "rescue wait",
    "unrescue failed",
    // Only after its failure was told.
    "error",
];

pub(super) async fn deprovision(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &DeprovisionArgs,
) -> Result<Outcome, Error> {
    let node = ironic.registered(host).await?;
    let report = args.on_failure == OnFailure::Report;
    match node.provision_state.as_str() {
        "error" if report => Ok(failed(
            ErrorType::Provisioning,
            error_or(&node, "Deprovisioning failed"),
        )),
        state if DEPLOYED.contains(&state) => undeploy(ironic, host, args).await,
        "clean failed" if report => Ok(failed(
            ErrorType::Provisioning,
            format!("Cleaning failed: {}", error_or(&node, "")),
        )),
        "clean failed" if node.maintenance => ironic.clear_maintenance(&node).await,
        "clean failed" | "inspect failed" | "adopt failed" => {
            ironic
                .target(&node, "manage", WaitReason::BackendTransition)
                .await
        }
        "manageable" => ironic.target(&node, "provide", WaitReason::Cleaning).await,
        "available" => Ok(Outcome::done().notice("DeprovisioningComplete", "Image deprovisioning completed")),
        "cleaning" | "clean wait" => Ok(Outcome::working(WaitReason::Cleaning, LONG)),
        "deleting" => Ok(Outcome::working(WaitReason::Undeploying, LONG)),
        "deploying" => Ok(Outcome::working(WaitReason::Deploying, LONG)),
        "servicing" => Ok(Outcome::working(WaitReason::Servicing, LONG)),
        "adopting" => Ok(Outcome::working(WaitReason::Adopting, SHORT)),
        "verifying" => Ok(Outcome::working(WaitReason::VerifyingBmcAccess, SHORT)),
        "inspecting" | "rescuing" | "unrescuing" => Ok(Outcome::working(WaitReason::BackendTransition, LONG)),
        // Somebody halted it; the host is to be given up all the same.
        "inspect wait" | "deploy hold" | "clean hold" | "service hold" => {
            ironic.target(&node, "abort", WaitReason::BackendTransition).await
        }
        _ => Err(unexpected(&node, "deprovisioning")),
    }
}

async fn undeploy(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &DeprovisionArgs,
) -> Result<Outcome, Error> {
    let node = ironic.registered_full(host).await?;
    if !DEPLOYED.contains(&node.provision_state.as_str()) {
        return Ok(Outcome::working(WaitReason::BackendTransition, LONG));
    }
    let mut patch = Patch::default();
    patch.field(
        "automated_clean",
        &json!(node.automated_clean),
        &json!(args.cleaning == CleaningMode::Metadata),
    );
    let restarted = node.provision_state == "error";
    let node = match ironic.patched(node, &patch).await? {
        Ok(node) => node,
        Err(wait) => return Ok(wait),
    };
    let outcome = ironic
        .verb(&node, &json!({"target": "deleted"}), WaitReason::Undeploying)
        .await?;
    Ok(match (outcome.started, restarted) {
        (false, _) => outcome,
        (true, false) => outcome.notice("DeprovisioningStarted", "Image deprovisioning started"),
        (true, true) => outcome.notice("DeprovisioningStarted", "Image deprovisioning restarted"),
    })
}
