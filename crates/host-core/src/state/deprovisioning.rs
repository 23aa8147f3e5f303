//! The image is being removed.

use metal3_api::metal3::host::{ErrorType, Image, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::DeprovisionArgs;

use super::{provisioned, reached};
use crate::failure::DELETION_GIVES_UP_AFTER;
use crate::pass::{Flow, Pass};
use crate::power::served;
use crate::{Ask, BmcSecret, EventKind, Step};

pub(super) fn decide(pass: &mut Pass<'_>) -> Step {
    if unreachable(pass) {
        return pass.go(ProvisioningState::Deleting);
    }
    let step = match deprovision(pass) {
        Ok(()) => return done(pass),
        Err(step) => step,
    };
    let failed = pass.status.error_type.is_some() && pass.status.error_count > DELETION_GIVES_UP_AFTER;
    if pass.view.deleting() && failed && matches!(step, Step::Finish(_)) {
        let message = format!("giving up deprovisioning: {}", pass.status.error_message);
        pass.event(EventKind::Warning, "DeletedWithoutDeprovisioning", message);
        return pass.go(ProvisioningState::PoweringOffBeforeDelete);
    }
    step
}

/// Nothing can be done to the machine without credentials, and the host is to go.
pub(super) fn unreachable(pass: &Pass<'_>) -> bool {
    pass.view.deleting()
        && pass.status.provisioning.id.is_empty()
        && !matches!(pass.view.secret, BmcSecret::Found { .. })
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
    if pass.status.error_type == Some(ErrorType::Provisioning) {
        pass.clear_error();
    }
    Ok(())
}

fn done(pass: &mut Pass<'_>) -> Step {
    let provisioning = &mut pass.status.provisioning;
    provisioning.image = Some(Image::default());
    provisioning.custom_deploy = None;
    provisioning.root_device_hints = None;
    if pass.view.deleting() {
        reached(pass, ProvisioningState::PoweringOffBeforeDelete)
    } else {
        reached(pass, ProvisioningState::Available)
    }
}
