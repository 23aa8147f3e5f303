//! Adoption: Ironic takes a running host over without touching it.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};
use metal3_provisioner::{AdoptArgs, Error, HostRef, OnFailure, Outcome, WaitReason};

use super::drive::{error_or, failed, unexpected};
use super::{IronicProvisioner, SHORT};

pub(super) async fn adopt(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &AdoptArgs,
) -> Result<Outcome, Error> {
    let node = ironic.registered(host).await?;
    match node.provision_state.as_str() {
        "enroll" | "verifying" => Err(unexpected(&node, "adopting")),
        // Nothing to adopt when it is to be removed anyway.
        "manageable" if args.state == ProvisioningState::Deprovisioning => Ok(Outcome::done()),
        "manageable" => ironic.target(&node, "adopt", WaitReason::Adopting).await,
        "adopting" => Ok(Outcome::working(WaitReason::Adopting, SHORT)),
        "adopt failed" => match args.on_failure {
            OnFailure::Restart => ironic.target(&node, "adopt", WaitReason::Adopting).await,
            OnFailure::Report => Ok(failed(
                ErrorType::ProvisionedRegistration,
                format!("Host adoption failed: {}", error_or(&node, "")),
            )),
        },
        "active" if node.maintenance && node.fault.as_deref().unwrap_or_default().is_empty() => {
            ironic.clear_maintenance(&node).await
        }
        _ => Ok(Outcome::done()),
    }
}
