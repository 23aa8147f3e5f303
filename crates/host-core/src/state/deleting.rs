//! The end of a host. Nothing here waits for ever: what the backend cannot do any more is left behind and reported.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};

use super::{deprovisioning::unreachable, reached};
use crate::failure::DELETION_GIVES_UP_AFTER;
use crate::pass::{Flow, Pass};
use crate::{Ask, EventKind, Finish, Next, Step, Write, power};

pub(super) fn power_off(pass: &mut Pass<'_>) -> Step {
    if unreachable(pass) {
        return pass.go(ProvisioningState::Deleting);
    }
    let step = match power::before_delete(pass) {
        Ok(()) => {
            pass.status.powered_on = false;
            if pass.status.error_type.is_some() {
                pass.clear_error();
            }
            return reached(pass, ProvisioningState::Deleting);
        }
        Err(step) => step,
    };
    let hopeless = pass.status.error_type == Some(ErrorType::PowerManagement)
        && pass.status.error_count > DELETION_GIVES_UP_AFTER;
    if hopeless && matches!(step, Step::Finish(_)) {
        let message = format!("giving up the last power off: {}", pass.status.error_message);
        pass.event(EventKind::Warning, "DeletedWithoutPowerOff", message);
        return pass.go(ProvisioningState::Deleting);
    }
    step
}

pub(super) fn decide(pass: &mut Pass<'_>) -> Step {
    match remove(pass) {
        Ok(()) => {
            pass.writes.push(Write::ReleaseOwned);
            pass.finish = Finish::RemoveFinalizer;
            pass.end(Next::nothing())
        }
        Err(step) => step,
    }
}

fn remove(pass: &mut Pass<'_>) -> Flow {
    let outcome = pass.need(pass.seen.delete.as_ref(), || Ask::Delete)?;
    pass.through(outcome, ErrorType::Registration)
}
