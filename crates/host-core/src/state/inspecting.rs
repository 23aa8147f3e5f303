//! Hardware is being inspected.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::{Force, InspectArgs};

use super::reached;
use crate::pass::{Flow, Pass};
use crate::power::served;
use crate::requests::reboot;
use crate::{Ask, EventKind, Write};

pub(super) fn work(pass: &mut Pass<'_>) -> Flow {
    inspect(pass)?;
    reached(pass, ProvisioningState::Preparing);
    Ok(())
}

fn inspect(pass: &mut Pass<'_>) -> Flow {
    if pass.view.inspection_disabled() {
        pass.event(
            EventKind::Normal,
            "InspectionSkipped",
            "disabled by inspectionMode or annotation",
        );
        return Ok(());
    }
    let args = InspectArgs {
        boot_mode: pass.boot_mode(),
        architecture: crate::registration::architecture(pass),
        mode: pass.view.host.spec.inspection_mode,
        on_failure: pass.on_failure(ErrorType::Inspection),
        refresh: pass
            .view
            .annotation(names::ANNOTATION_INSPECT)
            .is_some_and(|value| value != "disabled"),
        force_reboot: if reboot(pass.view).force {
            Force::Yes
        } else {
            Force::No
        },
    };
    let answer = pass.need(pass.seen.inspect.as_ref(), || Ask::Inspect(Box::new(args)))?;
    if answer.outcome.started {
        served(pass, &[names::ANNOTATION_INSPECT, names::ANNOTATION_REBOOT]);
    }
    pass.through(answer.outcome, ErrorType::Inspection)?;
    if let Some(details) = answer.details {
        pass.status.hardware = Some(*details.clone());
        pass.writes.push(Write::HardwareData(details));
    }
    Ok(())
}
