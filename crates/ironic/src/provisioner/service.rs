//! Servicing: changes to a host that keeps what is deployed on it.

use metal3_provisioner::{Error, FailureCause, HostRef, OnFailure, Outcome, ServiceArgs, WaitReason};

use super::{IronicProvisioner, LONG, error_or, unexpected};

pub(super) async fn service(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &ServiceArgs,
) -> Result<Outcome, Error> {
    let node = ironic.registered(host).await?;
    match node.provision_state.as_str() {
        "active" => Ok(Outcome::done()),
        "servicing" => Ok(Outcome::working(WaitReason::Servicing, LONG)),
        "service failed" if args.on_failure == OnFailure::Report => Ok(Outcome::failed(
            FailureCause::Unknown,
            error_or(&node, "servicing failed"),
        )),
        // Nothing is asked for any more.
        "service failed" | "service wait" => {
            ironic.target(&node, "abort", WaitReason::BackendTransition).await
        }
        _ => Err(unexpected(&node, "servicing")),
    }
}
