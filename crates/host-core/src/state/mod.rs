//! What each state does; one file per state or pair of states.

mod available;
mod deleting;
mod deprovisioning;
mod inspecting;
pub(crate) mod none;
mod preparing;
mod provisioned;
mod provisioning;

use metal3_api::metal3::host::ProvisioningState as S;
use metal3_provisioner::WaitReason;

use crate::pass::Pass;
use crate::{Next, Step};

pub(crate) fn decide(pass: &mut Pass<'_>) -> Step {
    match pass.state().clone() {
        S::None | S::Unmanaged => none::decide(pass),
        S::Registering => registering(pass),
        S::Inspecting => inspecting::decide(pass),
        S::MatchProfile => reached(pass, S::Preparing),
        S::Preparing => preparing::decide(pass),
        S::Available | S::Ready => available::decide(pass),
        S::Provisioning => provisioning::decide(pass),
        S::Provisioned => provisioned::decide(pass),
        S::ExternallyProvisioned => provisioned::externally(pass),
        S::Deprovisioning => deprovisioning::decide(pass),
        S::PoweringOffBeforeDelete => deleting::power_off(pass),
        S::Deleting => deleting::decide(pass),
        S::Unknown(word) => {
            let next =
                Next::on_change(WaitReason::UnknownState).with_detail(format!("the state is {word:?}"));
            pass.end(next)
        }
    }
}

/// Reached only once registration succeeded.
fn registering(pass: &mut Pass<'_>) -> Step {
    let next = if pass.view.host.spec.externally_provisioned == Some(true) {
        S::ExternallyProvisioned
    } else if pass.view.inspection_disabled() {
        S::Preparing
    } else {
        S::Inspecting
    };
    reached(pass, next)
}

/// A stage was completed: earlier failures no longer count.
pub(crate) fn reached(pass: &mut Pass<'_>, state: S) -> Step {
    pass.settle();
    pass.go(state)
}
