//! A new host, and one without a management controller.

use metal3_api::metal3::host::{OperationalStatus, ProvisioningState};
use metal3_provisioner::WaitReason;

use crate::pass::{Flow, IDLE_INTERVAL, Pass};
use crate::{BmcSecret, EventKind, Next, Step, registration};

pub(super) fn work(pass: &mut Pass<'_>) -> Flow {
    if !pass.view.has_bmc() {
        return Err(if *pass.state() == ProvisioningState::Unmanaged {
            pass.end(Next::wait(WaitReason::Unmanaged, IDLE_INTERVAL))
        } else {
            discover(pass)
        });
    }
    pass.enter(ProvisioningState::Registering);
    if pass.view.secret == BmcSecret::NotNeeded {
        // Nobody looked for it in the state before.
        return Err(pass.record());
    }
    // A node is found again by its name if this pass is never recorded.
    registration::register(pass)
}

/// A host without a management controller is told of, and left alone.
pub(crate) fn discover(pass: &mut Pass<'_>) -> Step {
    pass.event(
        EventKind::Normal,
        "Discovered",
        "discovered host with no BMC details",
    );
    pass.status.operational_status = OperationalStatus::Discovered;
    pass.enter(ProvisioningState::Unmanaged);
    pass.end(Next::expect(WaitReason::Unmanaged))
}
