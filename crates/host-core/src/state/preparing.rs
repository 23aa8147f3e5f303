//! Settings are being applied.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};
use metal3_provisioner::PrepareArgs;

use super::reached;
use crate::pass::{Flow, Pass};
use crate::{Ask, Step};

pub(super) fn decide(pass: &mut Pass<'_>) -> Step {
    prepare(pass).map_or_else(|step| step, |()| reached(pass, ProvisioningState::Available))
}

fn prepare(pass: &mut Pass<'_>) -> Flow {
    let args = PrepareArgs {
        unprepared: false,
        target_raid: None,
        actual_raid: None,
        root_device_hints: pass.status.provisioning.root_device_hints.clone(),
        on_failure: pass.on_failure(ErrorType::Preparation),
    };
    let outcome = pass.need(pass.seen.prepare.as_ref(), || Ask::Prepare(Box::new(args)))?;
    pass.through(outcome, ErrorType::Preparation)
}
