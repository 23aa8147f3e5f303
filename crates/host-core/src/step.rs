//! One pass: what comes before the state's own work, then dispatch.

use jiff::{SignedDuration, Timestamp};
use metal3_api::metal3::host::{ErrorType, OperationalStatus, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::{DetachArgs, Force, WaitReason};

use crate::conditions::waits_for;
use crate::failure::held_back;
use crate::pass::{Flow, IDLE_INTERVAL, Pass};
use crate::restore::restore;
use crate::{
    Ask, EventKind, Finish, HostView, Next, Observed, Step, Verdict, deletion, hardware, registration, state,
};

/// How often a backend that does not answer is tried for each host.
const BACKEND_POLL: SignedDuration = SignedDuration::from_secs(15);

/// Decides what is next for a host: one question, or the end of the pass.
///
/// Pure: the same arguments give the same answer. Call it again from the start after each answer.
pub fn step(view: &HostView<'_>, seen: &Observed, now: Timestamp) -> Step {
    let mut pass = Pass::new(view, seen, now);
    match decide(&mut pass).unwrap_or_else(|step| step) {
        Step::Finish(verdict) => Step::Finish(Box::new(deletion::bounded(&mut pass, *verdict))),
        ask @ Step::Ask(_) => ask,
    }
}

/// The backend cannot be asked: nothing about the host changes but the condition that says so. Only a deletion goes on
/// without the backend in the end.
pub fn unavailable(view: &HostView<'_>, cause: &str, now: Timestamp) -> Verdict {
    let seen = Observed::default();
    let mut pass = Pass::new(view, &seen, now);
    if !waits_for(&pass.status, WaitReason::BackendNotReady) {
        pass.event(EventKind::Warning, "BackendNotReady", cause);
    }
    let verdict = pass.verdict(Next::wait(WaitReason::BackendNotReady, BACKEND_POLL).with_detail(cause));
    deletion::bounded(&mut pass, verdict)
}

fn decide(pass: &mut Pass<'_>) -> Flow<Step> {
    let view = pass.view;
    if view.annotation(names::ANNOTATION_PAUSED).is_some() {
        return Ok(Pass::leave(view, Next::nothing()));
    }
    if view.deleting() && !view.has_finalizer() {
        return Ok(Pass::leave(view, Next::nothing()));
    }
    restore(pass)?;
    if !view.deleting() && !view.has_finalizer() {
        // Before anything exists outside Kubernetes, so that nothing can be left behind.
        pass.finish = Finish::AddFinalizer;
        let new = *pass.state() == ProvisioningState::None;
        return Ok(if new {
            state::none::decide(pass)
        } else {
            pass.end(Next::now())
        });
    }
    if pass.status.operational_status == OperationalStatus::Delayed {
        // Whatever still needs room asks for it again; the rest must not be held up.
        pass.resume();
    }
    if view.deleting() {
        deletion::leave(pass)?;
    } else {
        hardware::take_over(pass)?;
    }
    detach(pass)?;
    hold_back(pass)?;
    registration::register(pass)?;
    let deleting = *pass.state() == ProvisioningState::Deleting;
    if pass.seen.node_unknown && !deleting && !deletion::unreachable(pass) {
        let next = Next::wait(WaitReason::BackendTransition, BACKEND_POLL);
        return Ok(pass.end(next.with_detail("the backend lost the node; it is registered again")));
    }
    Ok(state::decide(pass))
}

/// Ends the pass while the back-off of a recorded failure lasts.
fn hold_back(pass: &mut Pass<'_>) -> Flow {
    let Some(left) = held_back(pass.view, &pass.status, pass.now) else {
        return Ok(());
    };
    let attempt = pass.status.error_count;
    let detail = format!("failure {attempt}: {}", pass.status.error_message);
    Err(pass.end(Next::wait(WaitReason::RetryBackoff, left).with_detail(detail)))
}

fn detach(pass: &mut Pass<'_>) -> Flow {
    use ProvisioningState as S;
    let annotation = pass.view.annotation(names::ANNOTATION_DETACHED);
    let force = annotation.is_some_and(|text| {
        serde_json::from_str::<serde_json::Value>(text)
            .is_ok_and(|value| value.get("force").and_then(serde_json::Value::as_bool) == Some(true))
    });
    let calm = match pass.state() {
        S::Provisioned | S::ExternallyProvisioned | S::Available | S::Ready => true,
        S::None
        | S::Unmanaged
        | S::Registering
        | S::MatchProfile
        | S::Inspecting
        | S::Preparing
        | S::Provisioning
        | S::Deprovisioning
        | S::PoweringOffBeforeDelete
        | S::Deleting
        | S::Unknown(_) => false,
    };
    let deleting = *pass.state() == S::Deleting;
    let wanted = annotation.is_some() && (calm || force) && !deleting;
    let detached = pass.status.operational_status == OperationalStatus::Detached;
    if !wanted {
        if pass.status.error_type == Some(ErrorType::Detach) {
            pass.settle();
        }
        if detached && !deleting {
            pass.resume();
            return Err(pass.end(Next::now()));
        }
        return Ok(());
    }
    // A node that the backend does not know is let go already.
    if !detached && !pass.seen.node_unknown {
        if pass.status.error_type == Some(ErrorType::Detach) {
            hold_back(pass)?;
        }
        // A host at rest has nothing to be interrupted.
        let force = if force && !calm { Force::Yes } else { Force::No };
        let outcome = pass.need(pass.seen.detach.as_ref(), || Ask::Detach(DetachArgs { force }))?;
        pass.through(outcome, ErrorType::Detach)?;
        if pass.status.error_type == Some(ErrorType::Detach) {
            pass.settle();
        }
    }
    pass.status.operational_status = OperationalStatus::Detached;
    Err(pass.end(Next::wait(WaitReason::Detached, IDLE_INTERVAL)))
}
