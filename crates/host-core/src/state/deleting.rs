//! The end of a host; its bound is in [`crate::deletion`].

use metal3_api::metal3::host::{ErrorType, OperationalStatus, ProvisioningState};

use super::reached;
use crate::deletion::{gone, never_registered, unreachable};
use crate::pass::{Flow, Pass};
use crate::{Ask, Step, power};

pub(super) fn power_off(pass: &mut Pass<'_>) -> Step {
    if unreachable(pass) {
        return pass.go(ProvisioningState::Deleting);
    }
    power::before_delete(pass).map_or_else(|step| step, |()| reached(pass, ProvisioningState::Deleting))
}

pub(super) fn decide(pass: &mut Pass<'_>) -> Step {
    match remove(pass) {
        Ok(()) => {
            let next = gone(pass);
            pass.end(next)
        }
        Err(step) => step,
    }
}

fn remove(pass: &mut Pass<'_>) -> Flow {
    // Detaching ended with the node seen gone.
    let detached = pass.status.operational_status == OperationalStatus::Detached;
    if detached || never_registered(&pass.status) || pass.seen.node_unknown {
        return Ok(());
    }
    let outcome = pass.need(pass.seen.delete.as_ref(), || Ask::Delete)?;
    pass.through(outcome, ErrorType::Registration)
}
