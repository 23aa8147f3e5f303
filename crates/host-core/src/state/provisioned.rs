//! Something runs on the host: ours, or somebody else's.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};
use metal3_provisioner::AdoptArgs;

use super::provisioning::cancelled;
use crate::pass::{Flow, Pass, STEADY_INTERVAL};
use crate::{Ask, Next, Step, power};

pub(super) fn decide(pass: &mut Pass<'_>) -> Step {
    if cancelled(&pass.view.host.spec, &pass.status) {
        return pass.go(ProvisioningState::Deprovisioning);
    }
    adopt(pass).map_or_else(
        |step| step,
        |()| power::manage(pass, Next::steady(STEADY_INTERVAL)),
    )
}

pub(super) fn externally(pass: &mut Pass<'_>) -> Step {
    let spec = &pass.view.host.spec;
    if spec.externally_provisioned != Some(true) {
        pass.status.provisioning.image.clone_from(&spec.image);
        pass.status
            .provisioning
            .custom_deploy
            .clone_from(&spec.custom_deploy);
        return pass.go(ProvisioningState::Provisioned);
    }
    adopt(pass).map_or_else(
        |step| step,
        |()| power::manage(pass, Next::steady(STEADY_INTERVAL)),
    )
}

/// The backend must know that the host is in use; it may have lost its database.
pub(super) fn adopt(pass: &mut Pass<'_>) -> Flow {
    let args = AdoptArgs {
        state: pass.state().clone(),
        on_failure: pass.on_failure(ErrorType::ProvisionedRegistration),
    };
    let outcome = pass.need(pass.seen.adopt.as_ref(), || Ask::Adopt(args))?;
    pass.through(outcome, ErrorType::ProvisionedRegistration)?;
    if pass.status.error_type == Some(ErrorType::ProvisionedRegistration) {
        pass.clear_error();
    }
    Ok(())
}
