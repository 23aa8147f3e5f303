//! Servicing: changes to a host that keeps what is deployed on it.

use metal3_api::metal3::host::ErrorType;
use metal3_provisioner::{Error, HostRef, OnFailure, Outcome, ServiceArgs, WaitReason};

use super::drive::{error_or, failed, unexpected};
use super::{IronicProvisioner, LONG};

pub(super) async fn service(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &ServiceArgs,
) -> Result<Outcome, Error> {
    let node = ironic.registered(host).await?;
    match node.provision_state.as_str() {
        "active" => Ok(Outcome::done()),
        "servicing" => Ok(Outcome::working(WaitReason::Servicing, LONG)),
        "service failed" if args.on_failure == OnFailure::Report => {
            Ok(failed(ErrorType::Servicing, error_or(&node, "servicing failed")))
        }
        // A failed step left it in maintenance, in which Ironic refuses to abort.
        "service failed" if node.maintenance => ironic.clear_maintenance(&node).await,
        // Nothing is asked for any more.
        "service failed" | "service wait" | "service hold" => {
            ironic.target(&node, "abort", WaitReason::BackendTransition).await
        }
        _ => Err(unexpected(&node, "servicing")),
    }
}
