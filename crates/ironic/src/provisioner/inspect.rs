//! Inspection.

use metal3_api::metal3::hardware_data::HardwareDetails;
use metal3_api::metal3::host::{ErrorType, InspectionMode};
use metal3_bmc::Bmc;
use metal3_provisioner::{
    Error, FailureCause, Force, HostRef, InspectArgs, Inspection, OnFailure, Outcome, WaitReason,
};
use serde_json::json;

use super::drive::{error_or, failed, unexpected};
use super::patch::{Patch, capabilities};
use super::register::inspect_interface;
use super::{IronicProvisioner, LONG, SHORT, inventory};
use crate::client::Node;

/// Says that an inspection was ended on request: it begins anew.
const ABORTED: &str = "aborted";

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
            let node = ironic.registered_full(host).await?;
            let abort = json!({"target": "abort"});
            ironic.verb(&node, &abort, WaitReason::BackendTransition).await?
        }
        // The BMC is soon done.
        "inspect wait" | "inspecting" if args.mode == Some(InspectionMode::Fast) => {
            Outcome::working(WaitReason::Inspecting, SHORT)
        }
        "inspect wait" | "inspecting" => Outcome::working(WaitReason::Inspecting, LONG),
        "inspect failed" => {
            let error = error_or(&node, "Inspection failed");
            if args.on_failure == OnFailure::Restart || error.contains(ABORTED) {
                start(ironic, host, args).await?
            } else {
                failed(ErrorType::Inspection, error)
            }
        }
        "manageable" if args.refresh => start(ironic, host, args).await?,
        "manageable" => match found(ironic, ironic.registered_full(host).await?).await? {
            Found::Details(details) => {
                return Ok(Inspection {
                    outcome: Outcome::done().notice("InspectionComplete", "Hardware inspection completed"),
                    details: Some(details),
                });
            }
            Found::Nothing(node) => begin(ironic, host, args, *node).await?,
            Found::Unreadable(_) if args.on_failure == OnFailure::Restart => {
                start(ironic, host, args).await?
            }
            Found::Unreadable(cause) => Outcome::failed(
                FailureCause::InspectionFailed,
                format!("the inspection data in Ironic cannot be read: {cause}"),
            ),
        },
        _ => return Err(unexpected(&node, "inspecting")),
    };
    Ok(Inspection {
        outcome,
        details: None,
    })
}

/// What Ironic has of the last inspection.
enum Found {
    Details(Box<HardwareDetails>),
    /// None, or of an inspection before the last one, which did not end well.
    Nothing(Box<Node>),
    Unreadable(&'static str),
}

async fn found(ironic: &IronicProvisioner, node: Node) -> Result<Found, Error> {
    if node.inspection_finished_at.is_none() {
        return Ok(Found::Nothing(Box::new(node)));
    }
    let Some(data) = ironic.client.inventory(&node.uuid).await? else {
        return Ok(Found::Nothing(Box::new(node)));
    };
    Ok(match inventory::details(&data) {
        Ok(details) => Found::Details(Box::new(details)),
        Err(cause) => Found::Unreadable(cause),
    })
}

async fn start(ironic: &IronicProvisioner, host: &HostRef, args: &InspectArgs) -> Result<Outcome, Error> {
    let node = ironic.registered_full(host).await?;
    begin(ironic, host, args, node).await
}

/// Starts with a node that was just read.
async fn begin(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &InspectArgs,
    node: Node,
) -> Result<Outcome, Error> {
    let interface = host
        .bmc
        .as_ref()
        .and_then(|bmc| bmc.address.parse::<Bmc>().ok())
        .map(|bmc| inspect_interface(&bmc, args.mode));
    let other_way = interface.is_some_and(|wanted| node.inspect_interface.as_deref() != Some(wanted));
    if node.provision_state == "inspect failed" && other_way {
        // Ironic does not let interfaces be changed here.
        return ironic
            .target(&node, "manage", WaitReason::BackendTransition)
            .await;
    }
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
    if let Some(wanted) = interface {
        patch.field(
            "inspect_interface",
            &json!(node.inspect_interface),
            &json!(wanted),
        );
    }
    match ironic.patched(node, &patch).await? {
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
