//! Preparation: what manual cleaning still has to do.

use metal3_provisioner::{Error, FailureCause, HostRef, OnFailure, Outcome, PrepareArgs, WaitReason};

use super::{IronicProvisioner, LONG, error_or, unexpected};

pub(super) async fn prepare(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &PrepareArgs,
) -> Result<Outcome, Error> {
    let node = ironic.registered(host).await?;
    match node.provision_state.as_str() {
        "available" | "manageable" => Ok(Outcome::done()),
        "cleaning" | "clean wait" => Ok(Outcome::working(WaitReason::Preparing, LONG)),
        "clean failed" => match args.on_failure {
            OnFailure::Report => Ok(Outcome::failed(
                FailureCause::Unknown,
                error_or(&node, "cleaning failed"),
            )),
            OnFailure::Restart if node.maintenance => ironic.clear_maintenance(&node).await,
            OnFailure::Restart => {
                ironic
                    .target(&node, "manage", WaitReason::BackendTransition)
                    .await
            }
        },
        _ => Err(unexpected(&node, "preparing")),
    }
}
