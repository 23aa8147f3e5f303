//! Something runs on the host: ours, or somebody else's.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};
use metal3_provisioner::AdoptArgs;

use super::provisioning::cancelled;
use super::servicing;
use crate::pass::{Flow, Pass, STEADY_INTERVAL};
use crate::{Ask, EventKind, Next, power};

pub(super) fn work(pass: &mut Pass<'_>) -> Flow {
    if cancelled(&pass.view.host.spec, &pass.status) {
        return Err(pass.go(ProvisioningState::Deprovisioning));
    }
    run(pass)
}

pub(super) fn externally(pass: &mut Pass<'_>) -> Flow {
    let spec = &pass.view.host.spec;
    if spec.externally_provisioned == Some(true) {
        return run(pass);
    }
    let provisioning = &mut pass.status.provisioning;
    provisioning.image.clone_from(&spec.image);
    provisioning.custom_deploy.clone_from(&spec.custom_deploy);
    pass.enter(ProvisioningState::Provisioned);
    if cancelled(spec, &pass.status) {
        let message = "externallyProvisioned was cleared and no image is asked for: what runs on the host is removed and \
                       the host is cleaned, unless it is detached or paused";
        pass.event(EventKind::Warning, "DeprovisioningAhead", message);
    }
    Err(pass.end(Next::now()))
}

fn run(pass: &mut Pass<'_>) -> Flow {
    adopt(pass)?;
    servicing::finish(pass)?;
    Err(power::manage(pass, Next::steady(STEADY_INTERVAL)))
}

/// The backend must know that the host is in use; it may have lost its database.
pub(super) fn adopt(pass: &mut Pass<'_>) -> Flow {
    let args = AdoptArgs {
        state: pass.state().clone(),
        on_failure: pass.on_failure(ErrorType::ProvisionedRegistration),
    };
    let outcome = pass.need(pass.seen.adopt.as_ref(), || Ask::Adopt(args))?;
    pass.through(outcome, ErrorType::ProvisionedRegistration)?;
    pass.recovered(ErrorType::ProvisionedRegistration);
    Ok(())
}
