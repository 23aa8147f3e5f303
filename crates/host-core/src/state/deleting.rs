//! The end of a host; its bound is in [`crate::deletion`].

use metal3_api::metal3::host::{ErrorType, OperationalStatus, ProvisioningState};

use crate::deletion::{gone, never_registered, unreachable};
use crate::pass::{Flow, Pass};
use crate::{Ask, power};

pub(super) fn power_off(pass: &mut Pass<'_>) -> Flow {
    if !unreachable(pass) {
        power::before_delete(pass)?;
        pass.settle();
    }
    // Recorded before the node is removed: in the state before, it would be registered again.
    Err(pass.go(ProvisioningState::Deleting))
}

pub(super) fn work(pass: &mut Pass<'_>) -> Flow {
    remove(pass)?;
    let next = gone(pass);
    Err(pass.end(next))
}

fn remove(pass: &mut Pass<'_>) -> Flow {
    // Detaching ended with the node seen gone.
    let detached = pass.status.operational_status == OperationalStatus::Detached;
    if detached || never_registered(pass) || pass.seen.node_unknown {
        return Ok(());
    }
    let outcome = pass.need(pass.seen.delete.as_ref(), || Ask::Delete)?;
    pass.through(outcome, ErrorType::Registration)
}
