//! One pass: what comes before the state's own work, then dispatch.

use jiff::{SignedDuration, Timestamp};
use metal3_api::metal3::host::{BareMetalHost, ErrorType, OperationalStatus, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::{DetachArgs, Force, WaitReason};

use crate::conditions::waits_for;
use crate::failure::held_back;
use crate::pass::{Flow, IDLE_INTERVAL, Pass};
use crate::restore::restore;
use crate::{
    Ask, EventKind, Finish, HostView, Next, Observed, Step, Verdict, deletion, hardware, registration,
    requests, state,
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
    if view.deleting() {
        deletion::leave(&mut pass);
    }
    if !waits_for(&pass.status, WaitReason::BackendNotReady) {
        pass.event(EventKind::Warning, "BackendNotReady", cause);
    }
    let verdict = pass.verdict(Next::wait(WaitReason::BackendNotReady, BACKEND_POLL).with_detail(cause));
    deletion::bounded(&mut pass, verdict)
}

/// Whether a host, and what belongs to it, is to be left alone.
///
/// `clusterctl move` replaces all annotations of what it has copied by `delete-for-move`, deletes it, and only then takes
/// our finalizers off: without this a host in use would begin to be deprovisioned in between.
pub fn is_paused(host: &BareMetalHost) -> bool {
    let annotations = host.metadata.annotations.as_ref();
    annotations.is_some_and(|all| {
        all.contains_key(names::ANNOTATION_PAUSED) || all.contains_key(names::ANNOTATION_DELETE_FOR_MOVE)
    })
}

fn decide(pass: &mut Pass<'_>) -> Flow<Step> {
    let view = pass.view;
    if is_paused(view.host) {
        return Ok(Pass::leave(view, Finish::Keep, Next::nothing()));
    }
    if view.deleting() && !view.has_finalizer() {
        return Ok(Pass::leave(view, Finish::Keep, Next::nothing()));
    }
    restore(pass)?;
    if !view.deleting() && !view.has_finalizer() {
        return Ok(claim(pass));
    }
    if pass.status.operational_status == OperationalStatus::Delayed {
        // Whatever still needs room asks for it again; the rest must not be held up.
        pass.resume();
    }
    if view.deleting() {
        deletion::leave(pass);
    } else {
        hardware::take_over(pass);
    }
    detach(pass)?;
    hold_back(pass)?;
    registration::register(pass)?;
    let deleting = *pass.state() == ProvisioningState::Deleting;
    if pass.seen.node_unknown && !deleting && !deletion::unreachable(pass) {
        let next = Next::wait(WaitReason::NodeLost, BACKEND_POLL);
        return Ok(pass.end(next.with_detail("it is registered again")));
    }
    Ok(state::decide(pass))
}

/// The finalizer comes before anything exists outside Kubernetes, so that nothing can be left behind.
fn claim(pass: &mut Pass<'_>) -> Step {
    if *pass.state() == ProvisioningState::None && !pass.view.has_bmc() {
        pass.finish = Finish::AddFinalizer;
        hardware::take_over(pass);
        return state::none::discover(pass);
    }
    if pass.status.conditions.is_empty() {
        // Nothing is told yet of what was not looked at.
        return Pass::leave(pass.view, Finish::AddFinalizer, Next::now());
    }
    pass.finish = Finish::AddFinalizer;
    pass.end(Next::now())
}

/// Ends the pass while the back-off of a recorded failure lasts.
fn hold_back(pass: &mut Pass<'_>) -> Flow {
    // A state that begins owes nothing to the last one.
    if pass.moved() {
        return Ok(());
    }
    let Some(left) = held_back(pass.view, &pass.status, pass.now) else {
        return Ok(());
    };
    Err(pass.end(Next::wait(WaitReason::RetryBackoff, left)))
}

/// Whether nothing is at work that a detaching would interrupt.
pub(crate) const fn calm(state: &ProvisioningState) -> bool {
    use ProvisioningState as S;
    matches!(
        state,
        S::Provisioned | S::ExternallyProvisioned | S::Available | S::Ready
    )
}

fn detach(pass: &mut Pass<'_>) -> Flow {
    let asked = requests::detach(pass.view);
    let calm = calm(pass.state());
    let deleting = *pass.state() == ProvisioningState::Deleting;
    let force = asked.as_ref().is_some_and(|asked| asked.force);
    let wanted = asked.is_some() && (calm || force) && !deleting;
    let detached = pass.status.operational_status == OperationalStatus::Detached;
    if !wanted {
        pass.recovered(ErrorType::Detach);
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
        pass.recovered(ErrorType::Detach);
    }
    pass.status.operational_status = OperationalStatus::Detached;
    Err(pass.end(Next::wait(WaitReason::Detached, IDLE_INTERVAL)))
}
