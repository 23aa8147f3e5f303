//! One pass: what comes before the state's own work, then dispatch.

use jiff::Timestamp;
use metal3_api::metal3::host::{BareMetalHostStatus, ErrorType, OperationalStatus, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::{DetachArgs, Force, WaitReason};

use crate::failure::{DELETION_GIVES_UP_AFTER, held_back};
use crate::pass::{Flow, IDLE_INTERVAL, Pass};
use crate::{Ask, Finish, HostView, Next, Observed, Step, Write, registration, state};

/// Decides what is next for a host: one question, or the end of the pass.
///
/// Pure: the same arguments give the same answer. Call it again from the start after each answer.
pub fn step(view: &HostView<'_>, seen: &Observed, now: Timestamp) -> Step {
    let mut pass = Pass::new(view, seen, now);
    decide(&mut pass).unwrap_or_else(|step| step)
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
    if view.deleting() {
        leave_for_deletion(pass)?;
    }
    detach(pass)?;
    if let Some(left) = held_back(view, &pass.status, pass.now)
        && !(view.deleting() && *pass.state() == ProvisioningState::Deleting)
    {
        let attempt = pass.status.error_count;
        let detail = format!("failure {attempt}: {}", pass.status.error_message);
        return Ok(pass.end(Next::wait(WaitReason::RetryBackoff, left).with_detail(detail)));
    }
    if pass.status.operational_status == OperationalStatus::Delayed {
        pass.capacity()?;
    }
    registration::register(pass).or_else(|step| give_up_registration(pass, step))?;
    Ok(state::decide(pass))
}

/// A status that came with the object, by `clusterctl move`, is taken over once.
fn restore(pass: &mut Pass<'_>) -> Flow {
    let Some(saved) = pass.view.annotation(names::ANNOTATION_STATUS) else {
        return Ok(());
    };
    if pass.status.last_updated.is_none()
        && let Ok(status) = serde_json::from_str::<BareMetalHostStatus>(saved)
    {
        pass.status = status;
        if let Some(hardware) = pass.view.hardware.and_then(|data| data.spec.hardware.clone()) {
            pass.status.hardware = Some(hardware);
        }
    }
    pass.writes
        .push(Write::RemoveAnnotations(vec![names::ANNOTATION_STATUS.into()]));
    if !pass.view.has_finalizer() && !pass.view.deleting() {
        pass.finish = Finish::AddFinalizer;
    }
    Err(pass.end(Next::now()))
}

/// A deleted host walks from wherever it is to the end.
fn leave_for_deletion(pass: &mut Pass<'_>) -> Flow {
    use ProvisioningState as S;
    let detached = pass.status.operational_status == OperationalStatus::Detached;
    let annotation = pass.view.annotation(names::ANNOTATION_DETACHED);
    if *pass.state() != S::Deleting && (detached || annotation.is_some()) {
        if delays_deletion(annotation, detached) {
            return Ok(());
        }
        return Err(pass.go(S::Deleting));
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
        S::Deprovisioning | S::PoweringOffBeforeDelete | S::Deleting => return Ok(()),
    };
    Err(pass.go(next))
}

fn delays_deletion(annotation: Option<&str>, detached: bool) -> bool {
    match annotation {
        None => detached,
        Some(text) => serde_json::from_str::<serde_json::Value>(text).is_ok_and(|value| {
            value.get("deleteAction").and_then(serde_json::Value::as_str) == Some("delay")
        }),
    }
}

/// While deleting, a registration that keeps failing ends the wait for the backend.
fn give_up_registration(pass: &mut Pass<'_>, step: Step) -> Flow {
    let hopeless = pass.view.deleting()
        && pass.status.error_type == Some(ErrorType::Registration)
        && pass.status.error_count > DELETION_GIVES_UP_AFTER
        && *pass.state() != ProvisioningState::Deleting;
    Err(if hopeless && matches!(step, Step::Finish(_)) {
        pass.go(ProvisioningState::Deleting)
    } else {
        step
    })
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
    let wanted = annotation.is_some() && (calm || force) && *pass.state() != S::Deleting;
    let detached = pass.status.operational_status == OperationalStatus::Detached;
    if !wanted {
        if detached && *pass.state() != S::Deleting {
            pass.status.operational_status = if pass.status.error_type.is_some() {
                OperationalStatus::Error
            } else {
                OperationalStatus::Ok
            };
            return Err(pass.end(Next::now()));
        }
        return Ok(());
    }
    if !detached {
        let force = if force { Force::Yes } else { Force::No };
        let outcome = pass.need(pass.seen.detach.as_ref(), || Ask::Detach(DetachArgs { force }))?;
        pass.through(outcome, ErrorType::Detach)?;
        if pass.status.error_type == Some(ErrorType::Detach) {
            pass.clear_error();
            pass.status.error_count = 0;
        }
        pass.status.operational_status = OperationalStatus::Detached;
    }
    Err(pass.end(Next::wait(WaitReason::Detached, IDLE_INTERVAL)))
}
