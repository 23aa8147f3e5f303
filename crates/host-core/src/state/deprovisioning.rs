//! The image is being removed.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::DeprovisionArgs;

use super::{provisioned, reached};
use crate::deletion::unreachable;
use crate::pass::{Flow, Pass};
use crate::power::served;
use crate::{Ask, hints, raid};

pub(super) fn work(pass: &mut Pass<'_>) -> Flow {
    if unreachable(pass) {
        return Err(pass.go(ProvisioningState::Deleting));
    }
    deprovision(pass)?;
    pass.status.provisioning.image = None;
    pass.status.provisioning.custom_deploy = None;
    raid::forget(&mut pass.status);
    if pass.view.deleting() {
        reached(pass, ProvisioningState::PoweringOffBeforeDelete);
    } else {
        // Those of the next deployment: there are no others any more.
        pass.status.provisioning.root_device_hints = hints::wanted(pass);
        reached(pass, ProvisioningState::Available);
    }
    Ok(())
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
