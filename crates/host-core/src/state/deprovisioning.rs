//! The image is being removed.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::DeprovisionArgs;

use super::{provisioned, reached};
use crate::deletion::unreachable;
use crate::pass::{Flow, Pass};
use crate::power::served;
use crate::{Ask, Step};

pub(super) fn decide(pass: &mut Pass<'_>) -> Step {
    if unreachable(pass) {
        return pass.go(ProvisioningState::Deleting);
    }
    deprovision(pass).map_or_else(|step| step, |()| done(pass))
}

fn deprovision(pass: &mut Pass<'_>) -> Flow {
    let deployed = pass
        .status
        .provisioning
        .image
        .as_ref()
        .is_some_and(|image| !image.url.is_empty());
    if deployed || pass.status.provisioning.custom_deploy.is_some() {
        provisioned::adopt(pass)?;
    }
    let args = DeprovisionArgs {
        on_failure: pass.on_failure(ErrorType::Provisioning),
        cleaning: pass.view.cleaning(),
    };
    let outcome = pass.need(pass.seen.deprovision.as_ref(), || Ask::Deprovision(args))?;
    pass.through(outcome, ErrorType::Provisioning)?;
    served(pass, &[names::ANNOTATION_REBOOT]);
    Ok(())
}

fn done(pass: &mut Pass<'_>) -> Step {
    let provisioning = &mut pass.status.provisioning;
    provisioning.image = None;
    provisioning.custom_deploy = None;
    provisioning.root_device_hints = None;
    if pass.view.deleting() {
        reached(pass, ProvisioningState::PoweringOffBeforeDelete)
    } else {
        reached(pass, ProvisioningState::Available)
    }
}
