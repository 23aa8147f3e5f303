//! What each state does; one file per state or pair of states.

mod available;
mod deleting;
mod deprovisioning;
mod inspecting;
pub(crate) mod none;
mod preparing;
mod provisioned;
mod provisioning;
mod servicing;

use metal3_api::metal3::host::ProvisioningState as S;
use metal3_provisioner::WaitReason;

use crate::pass::{Flow, Pass};
use crate::step::calm;
use crate::{Next, Step, requests};

/// Does the work of states until the pass has to end: because something is waited for, or because a new state must be
/// recorded before it is acted upon. States between which nothing happens are walked in one pass, so that they cost one write.
pub(crate) fn decide(pass: &mut Pass<'_>) -> Step {
    while !pass.dizzy() {
        if let Err(step) = work(pass) {
            return step;
        }
        if calm(pass.state()) && requests::detach(pass.view).is_some() {
            // From here on it is detached, and nothing else.
            break;
        }
    }
    pass.end(Next::now())
}

/// `Ok` when another state was entered.
fn work(pass: &mut Pass<'_>) -> Flow {
    match pass.state().clone() {
        S::None | S::Unmanaged => none::work(pass),
        S::Registering => registering(pass),
        S::Inspecting => inspecting::work(pass),
        S::MatchProfile => {
            reached(pass, S::Preparing);
            // This state is not registered.
            Err(pass.record())
        }
        S::Preparing => preparing::work(pass),
        S::Available | S::Ready => available::work(pass),
        S::Provisioning => provisioning::work(pass),
        S::Provisioned => provisioned::work(pass),
        S::ExternallyProvisioned => provisioned::externally(pass),
        S::Deprovisioning => deprovisioning::work(pass),
        S::PoweringOffBeforeDelete => deleting::power_off(pass),
        S::Deleting => deleting::work(pass),
        S::Unknown(word) => {
            let next =
                Next::on_change(WaitReason::UnknownState).with_detail(format!("the state is {word:?}"));
            Err(pass.end(next))
        }
    }
}

/// Reached only once registration succeeded.
fn registering(pass: &mut Pass<'_>) -> Flow {
    pass.settle();
    if pass.view.host.spec.externally_provisioned == Some(true) {
        return Err(pass.go(S::ExternallyProvisioned));
    }
    if !pass.view.inspection_disabled() {
        return Err(pass.go(S::Inspecting));
    }
    pass.enter(S::Preparing);
    Ok(())
}

/// A stage was completed: earlier failures no longer count.
pub(crate) fn reached(pass: &mut Pass<'_>, state: S) {
    pass.settle();
    pass.enter(state);
}
