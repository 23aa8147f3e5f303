//! A new host, and one without a management controller.

use metal3_api::metal3::host::{OperationalStatus, ProvisioningState};
use metal3_provisioner::WaitReason;

use crate::pass::{IDLE_INTERVAL, Pass};
use crate::{EventKind, Next, Step};

pub(crate) fn decide(pass: &mut Pass<'_>) -> Step {
    if pass.view.has_bmc() {
        return pass.go(ProvisioningState::Registering);
    }
    if *pass.state() == ProvisioningState::Unmanaged {
        return pass.end(Next::wait(WaitReason::Unmanaged, IDLE_INTERVAL));
    }
    pass.event(
        EventKind::Normal,
        "Discovered",
        "discovered host with no BMC details",
    );
    pass.status.operational_status = OperationalStatus::Discovered;
    pass.go(ProvisioningState::Unmanaged)
}
