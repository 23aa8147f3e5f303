//! Deletion: the way from any state to the end, and its bound. What the backend cannot do any more is left behind and
//! reported; only the user's own wish (paused, detached with a delay) holds a deletion up for good.

use jiff::SignedDuration;
use metal3_api::conditions;
use metal3_api::metal3::host::{BareMetalHostStatus, ErrorType, OperationalStatus, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::WaitReason;

use crate::conditions::DELETING;
use crate::pass::Pass;
use crate::{BmcSecret, EventKind, Finish, Next, Requeue, Verdict, Write, requests};

/// Failures of one stage after which a deletion goes on without it; upstream's number.
const PATIENCE_FAILURES: u32 = 3;
/// How long a deletion waits for a clean host, and for room to begin: disks must not be left uncleaned because the
/// backend was down for a while.
const PATIENCE_CLEANING: SignedDuration = SignedDuration::from_hours(24);
/// How long a deletion waits for the last power off, and for the node to be removed.
const PATIENCE: SignedDuration = SignedDuration::from_hours(6);

/// A deleted host leaves the state it is in. That it is deleted is recorded for good, so that the pass goes on.
pub(crate) fn leave(pass: &mut Pass<'_>) {
    use ProvisioningState as S;
    if delayed(pass) {
        return;
    }
    if *pass.state() != S::Deleting && let_go(pass) {
        return pass.enter(S::Deleting);
    }
    let next = match pass.state() {
        S::None | S::Unmanaged | S::Registering => S::Deleting,
        S::Provisioning | S::Provisioned => S::Deprovisioning,
        S::Inspecting
        | S::MatchProfile
        | S::Preparing
        | S::Ready
        | S::Available
        | S::ExternallyProvisioned
        | S::Unknown(_) => S::PoweringOffBeforeDelete,
        S::Deprovisioning | S::PoweringOffBeforeDelete | S::Deleting => return,
    };
    // Failures of an earlier time must not use up the patience of the deletion, unless it is the same BMC failing on.
    if pass.status.error_type != Some(ErrorType::Registration) {
        pass.status.error_count = 0;
    }
    pass.enter(next);
}

/// Detached, or to be: nothing is done to the machine any more.
fn let_go(pass: &Pass<'_>) -> bool {
    pass.status.operational_status == OperationalStatus::Detached
        || pass.view.annotation(names::ANNOTATION_DETACHED).is_some()
}

/// Whether the user wants the host to stay although it is deleted. Without its annotation a detached host comes back
/// first, so that it is cleaned.
fn delayed(pass: &Pass<'_>) -> bool {
    if *pass.state() == ProvisioningState::Deleting {
        return false;
    }
    requests::detach(pass.view).map_or_else(
        || pass.status.operational_status == OperationalStatus::Detached,
        |detach| detach.delay,
    )
}

/// Nothing can be done to the machine: nobody knows how to reach it, and it is to go.
pub(crate) fn unreachable(pass: &Pass<'_>) -> bool {
    let known = !pass.status.provisioning.id.is_empty() && !pass.seen.node_unknown;
    pass.view.deleting() && !known && !matches!(pass.view.secret, BmcSecret::Found { .. })
}

/// The backend was never asked about the host: not even a crash can have left a node behind.
pub(crate) fn never_registered(pass: &Pass<'_>) -> bool {
    unrecorded(&pass.status) && !pass.view.has_bmc()
}

/// Nothing tells of a node. The first question about a host is recorded only with its answer, so that there may be one.
fn unrecorded(status: &BareMetalHostStatus) -> bool {
    status.provisioning.id.is_empty() && status.operation_history.register.start.is_none()
}

/// The end: what belongs to the host is let go, the finalizer last.
pub(crate) fn gone(pass: &mut Pass<'_>) -> Next {
    pass.writes.push(Write::ReleaseOwned);
    pass.finish = Finish::RemoveFinalizer;
    Next::nothing()
}

/// Goes on without the stage that a deletion has waited for long enough.
pub(crate) fn bounded(pass: &mut Pass<'_>, verdict: Verdict) -> Verdict {
    if !pass.view.deleting() || delayed(pass) {
        return verdict;
    }
    let next = &verdict.next;
    let failed = matches!(next.requeue, Requeue::Backoff { attempt } if attempt > PATIENCE_FAILURES);
    // Without a budget the wait is for the user, who asked for it.
    let late = next.reason.is_some_and(|reason| reason.budget().is_some()) && overdue(pass);
    // Nothing is known to be left behind, and nobody can say.
    let silent = next.reason == Some(WaitReason::BackendNotReady) && unrecorded(&pass.status);
    if !failed && !late && !silent {
        return verdict;
    }
    let awaited = next.reason.map_or("", WaitReason::awaits);
    let cause = if next.detail.is_empty() {
        format!("waited for {awaited}")
    } else {
        next.detail.clone()
    };
    pass.events = verdict.events;
    pass.writes = verdict.writes;
    let next = give_up(pass, &cause);
    pass.verdict(next)
}

/// By the clock of the stage, so that a deletion that was paused, or put off by the user, is not late from the start.
fn overdue(pass: &Pass<'_>) -> bool {
    let short = matches!(
        pass.state(),
        ProvisioningState::PoweringOffBeforeDelete | ProvisioningState::Deleting
    );
    let patience = if short { PATIENCE } else { PATIENCE_CLEANING };
    let since = conditions::find(&pass.status.conditions, DELETING);
    since.is_some_and(|since| pass.now.duration_since(since.last_transition_time.0) >= patience)
}

fn give_up(pass: &mut Pass<'_>, cause: &str) -> Next {
    use ProvisioningState as S;
    let (reason, what, to) = match pass.state() {
        S::Deprovisioning => (
            "DeletedWithoutDeprovisioning",
            "giving up deprovisioning, disks may not be clean",
            S::PoweringOffBeforeDelete,
        ),
        S::PoweringOffBeforeDelete => (
            "DeletedWithoutPowerOff",
            "giving up the last power off",
            S::Deleting,
        ),
        S::Deleting => {
            let node = &pass.status.provisioning.id;
            let left = if node.is_empty() {
                "a node that was not recorded may stay in Ironic".to_owned()
            } else {
                format!("node {node} stays in Ironic")
            };
            let message = format!("giving up removing the node, {left}: {cause}");
            pass.event(EventKind::Warning, "DeletedWithoutRemovingNode", message);
            return gone(pass);
        }
        // These were left when the deletion was noticed.
        S::None
        | S::Unmanaged
        | S::Registering
        | S::MatchProfile
        | S::Inspecting
        | S::Preparing
        | S::Ready
        | S::Available
        | S::Provisioning
        | S::Provisioned
        | S::ExternallyProvisioned
        | S::Unknown(_) => return Next::now(),
    };
    pass.event(EventKind::Warning, reason, format!("{what}: {cause}"));
    pass.status.error_count = 0;
    // What cannot be reached cannot be powered off either.
    let lost = pass.status.error_type == Some(ErrorType::Registration);
    pass.enter(if lost { S::Deleting } else { to });
    Next::now()
}
