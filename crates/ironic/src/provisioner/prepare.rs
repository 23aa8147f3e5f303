//! Preparation: manual cleaning applies the settings that need an idle host.

use metal3_api::metal3::host::ErrorType;
use metal3_bmc::Bmc;
use metal3_provisioner::{Error, FailureCause, HostRef, OnFailure, Outcome, PrepareArgs, WaitReason};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::drive::{error_or, failed, locked, unexpected};
use super::patch::Patch;
use super::raid::{self, Change};
use super::{IronicProvisioner, LONG};

pub(super) async fn prepare(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &PrepareArgs,
) -> Result<Outcome, Error> {
    let node = ironic.registered(host).await?;
    match node.provision_state.as_str() {
        "available" | "manageable" if !args.unprepared => Ok(Outcome::done()),
        state @ ("available" | "manageable") => {
            let change = match wanted(host, args) {
                Ok(change) => change,
                Err(problem) => return Ok(Outcome::failed(FailureCause::Unsupported, problem)),
            };
            if change.steps.is_empty() {
                return Ok(Outcome::done().started());
            }
            if state == "manageable" {
                return clean(ironic, host, &change).await;
            }
            ironic
                .target(&node, "manage", WaitReason::BackendTransition)
                .await
        }
        "cleaning" | "clean wait" => Ok(Outcome::working(WaitReason::Preparing, LONG)),
        "clean failed" => match args.on_failure {
            OnFailure::Report => Ok(failed(ErrorType::Preparation, error_or(&node, "cleaning failed"))),
            OnFailure::Restart if node.maintenance => ironic.clear_maintenance(&node).await,
            OnFailure::Restart => {
                ironic
                    .target(&node, "manage", WaitReason::BackendTransition)
                    .await
            }
        },
        "clean hold" => Ok(Outcome::working(WaitReason::Preparing, LONG)),
        _ => Err(unexpected(&node, "preparing")),
    }
}

fn wanted(host: &HostRef, args: &PrepareArgs) -> Result<Change, String> {
    let Some(bmc) = host
        .bmc
        .as_ref()
        .and_then(|access| access.address.parse::<Bmc>().ok())
    else {
        return Ok(Change::default());
    };
    raid::change(bmc.driver.raid, args)
}

/// Tells Ironic the volumes, then starts the steps. The node is read afresh: its disks are about to lose what they hold.
async fn clean(ironic: &IronicProvisioner, host: &HostRef, change: &Change) -> Result<Outcome, Error> {
    let node = ironic.registered_full(host).await?;
    if node.provision_state != "manageable" {
        return Ok(Outcome::working(WaitReason::BackendTransition, LONG));
    }
    let mut patch = Patch::default();
    patch.field(
        "raid_interface",
        &json!(node.raid_interface),
        &json!(change.interface),
    );
    let node = match ironic.patched(node, &patch).await? {
        Ok(node) => node,
        Err(wait) => return Ok(wait),
    };
    let answer = ironic.client.target_raid(&node.uuid, &change.target).await;
    ironic.mirror.wrote(&node.uuid);
    match answer? {
        Ok(()) => {}
        Err(refusal) if refusal.is_conflict() => return Ok(locked()),
        // The driver has no RAID, or the volumes make no sense to it.
        Err(refusal) if matches!(refusal.status(), StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) => {
            return Ok(failed(
                ErrorType::Preparation,
                format!("Ironic refuses the RAID settings: {}", refusal.message()),
            ));
        }
        Err(refusal) => {
            return Err(refusal.into_error(&format!("the RAID settings of node {}", node.uuid)));
        }
    }
    let steps: Vec<Value> = change
        .steps
        .iter()
        .map(|(interface, step)| json!({"interface": interface, "step": step}))
        .collect();
    let body = json!({"target": "clean", "clean_steps": steps});
    ironic.verb(&node, &body, WaitReason::Preparing).await
}
