//! Inspection.

use metal3_bmc::Bmc;
use metal3_provisioner::{
    Error, FailureCause, Force, HostRef, InspectArgs, Inspection, Kind, OnFailure, Outcome, WaitReason,
};
use serde_json::json;

use super::patch::{Patch, capabilities};
use super::register::inspect_interface;
use super::{IronicProvisioner, LONG, error_or, inventory, unexpected};
use crate::client::Node;

pub(super) async fn inspect(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &InspectArgs,
) -> Result<Inspection, Error> {
    let node = ironic.registered(host).await?;
    let outcome = match node.provision_state.as_str() {
        "available" => {
            ironic
                .target(&node, "manage", WaitReason::BackendTransition)
                .await?
        }
        "inspect wait" if args.force_reboot == Force::Yes => {
            ironic
                .target(&node, "abort", WaitReason::BackendTransition)
                .await?
        }
        "inspect wait" | "inspecting" => Outcome::working(WaitReason::Inspecting, LONG),
        "inspect failed" => {
            let error = error_or(&node, "Inspection failed");
            if args.on_failure == OnFailure::Restart || error.contains("aborted") {
                start(ironic, host, args).await?
            } else {
                Outcome::failed(FailureCause::Unknown, error)
            }
        }
        "manageable" if args.refresh => start(ironic, host, args).await?,
        "manageable" => match ironic.client.inventory(&node.uuid).await? {
            Some(data) => return finished(&node, &data),
            None => start(ironic, host, args).await?,
        },
        _ => return Err(unexpected(&node, "inspecting")),
    };
    Ok(Inspection {
        outcome,
        details: None,
    })
}

fn finished(node: &Node, data: &serde_json::Value) -> Result<Inspection, Error> {
    let details = inventory::details(data).map_err(|cause| {
        Error::new(
            Kind::Bug,
            "inventory",
            format!("inspection data of node {} cannot be read: {cause}", node.uuid),
        )
    })?;
    let outcome = Outcome::done().notice("InspectionComplete", "Hardware inspection completed");
    Ok(Inspection {
        outcome,
        details: Some(Box::new(details)),
    })
}

async fn start(ironic: &IronicProvisioner, host: &HostRef, args: &InspectArgs) -> Result<Outcome, Error> {
    let node = ironic.registered_full(host).await?;
    let mut patch = Patch::default();
    let current = node.properties.get("capabilities").cloned().unwrap_or_default();
    patch.inner(
        "properties",
        &node.properties,
        "capabilities",
        &json!(capabilities(&current, args.boot_mode)),
    );
    if let Some(architecture) = &args.architecture {
        patch.inner("properties", &node.properties, "cpu_arch", &json!(architecture));
    }
    if let Some(bmc) = host.bmc.as_ref().and_then(|bmc| bmc.address.parse::<Bmc>().ok()) {
        let wanted = json!(inspect_interface(&bmc, args.mode));
        patch.field("inspect_interface", &json!(node.inspect_interface), &wanted);
    }
    match ironic.patched(node, patch.operations()).await? {
        Ok(node) => {
            let outcome = ironic
                .verb(&node, &json!({"target": "inspect"}), WaitReason::Inspecting)
                .await?;
            Ok(if outcome.started {
                outcome.notice("InspectionStarted", "Hardware inspection started")
            } else {
                outcome
            })
        }
        Err(wait) => Ok(wait),
    }
}
