//! Settings are being applied.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};
use metal3_provisioner::{PrepareArgs, Progress};

use super::reached;
use crate::pass::{Flow, Pass};
use crate::{Ask, hints, raid};

pub(super) fn work(pass: &mut Pass<'_>) -> Flow {
    let spec = &pass.view.host.spec;
    let unprepared = raid::differs(spec, &pass.status);
    if unprepared && pass.moved() {
        return Err(pass.record());
    }
    let target = raid::target(spec, &pass.status);
    let args = PrepareArgs {
        unprepared,
        target_raid: target.clone(),
        actual_raid: raid::applied(&pass.status),
        root_device_hints: hints::wanted(pass),
        on_failure: pass.on_failure(ErrorType::Preparation),
    };
    let outcome = pass.need(pass.seen.prepare.as_ref(), || Ask::Prepare(Box::new(args)))?;
    match outcome.progress {
        // Once it is started, it must not be started again; if this is lost, it is, and does the same.
        Progress::Done => pass.status.provisioning.raid = target,
        Progress::Working { .. } if outcome.started => pass.status.provisioning.raid = target,
        Progress::Working { .. } => {}
        Progress::Failed { .. } => raid::forget(&mut pass.status),
    }
    pass.through(outcome, ErrorType::Preparation)?;
    pass.status.provisioning.root_device_hints = hints::wanted(pass);
    reached(pass, ProvisioningState::Available);
    Ok(())
}
