//! Power in the steady states: available, provisioned, externally provisioned.

use metal3_api::metal3::host::{BareMetalHostStatus, ErrorType, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::{OnFailure, PowerArgs, PowerTarget, Progress, WaitReason};

use crate::conditions::{REBOOT_FAILED, REBOOT_SERVED};
use crate::pass::{Flow, Pass, STEADY_INTERVAL};
use crate::requests::Reboot;
use crate::{Ask, EventKind, HostView, Next, Step, Write, conditions, requests};

/// Keeps the power as wanted; ends the pass, with what is next once there is nothing left to do.
pub(crate) fn manage(pass: &mut Pass<'_>, idle: Next) -> Step {
    match keep(pass) {
        Ok(()) => {
            pass.settle();
            let next = if held_off(pass) {
                Next::wait(WaitReason::HeldOff, STEADY_INTERVAL)
            } else {
                idle
            };
            pass.end(next)
        }
        Err(step) => step,
    }
}

/// Goes on once the power is as wanted.
pub(crate) fn keep(pass: &mut Pass<'_>) -> Flow {
    let hardware = pass.need(pass.seen.hardware.as_ref(), || Ask::Hardware)?;
    if let Some(on) = hardware.powered_on
        && on != pass.status.powered_on
    {
        pass.status.powered_on = on;
        if pass.status.error_type == Some(ErrorType::PowerManagement) {
            pass.clear_error();
        }
    }
    // A backend that does not know leaves the last known power.
    let on = pass.status.powered_on;
    let reboot = requests::reboot(pass.view);
    forget(pass, &reboot);
    if !on && reboot.plain {
        let plain = vec![names::ANNOTATION_REBOOT.into()];
        pass.writes.push(Write::RemoveAnnotations(plain));
        // Powered on before that is written, a host would be rebooted again if the process died in between. After a failure
        // there is no second pass: without the request, its back-off lasts.
        if pass.status.error_type != Some(ErrorType::PowerManagement) {
            return Err(pass.end(Next::now()));
        }
    }
    let rebooting = applies(&reboot, pass.state()) && !served_all(pass, &reboot);
    let off = rebooting || !pass.view.host.spec.online && !never_off(pass);
    if on != off {
        return Ok(());
    }
    // What needs a host that is off and about to be powered on has its place here: servicing begins, and a data image is
    // exchanged.
    let args = PowerArgs {
        target: target(pass, off, reboot.hard),
        on_failure: pass.on_failure(ErrorType::PowerManagement),
        cleaning: pass.view.cleaning(),
    };
    let soft = args.target == PowerTarget::SoftOff;
    let retried = args.on_failure == OnFailure::Restart;
    let mut outcome = pass.need(pass.seen.power.as_ref(), || Ask::SetPower(args))?;
    let accepted = outcome.started || outcome.progress == Progress::Done;
    if off && accepted && never_off(pass) {
        // It will never be seen off: the request is served once the reboot was accepted, and nothing is waited for.
        served(pass, &[names::ANNOTATION_REBOOT]);
        keep_requests(pass, REBOOT_SERVED, "Accepted", &reboot);
        outcome.progress = Progress::Done;
    }
    if let Progress::Failed { message, .. } = &mut outcome.progress {
        if soft && !retried {
            *message =
                format!("Continuing with hard poweroff after soft poweroff fails. More details: {message}");
        }
        keep_requests(pass, REBOOT_FAILED, "PowerFailed", &reboot);
    }
    pass.through(outcome, ErrorType::PowerManagement)?;
    if !(off && never_off(pass)) {
        pass.status.powered_on = !off;
    }
    Ok(())
}

fn target(pass: &Pass<'_>, off: bool, hard: bool) -> PowerTarget {
    // An attempt that is under way has cleared its error, and left the count.
    let failed = match pass.status.error_type {
        Some(error) => error == ErrorType::PowerManagement,
        None => pass.status.error_count > 0,
    };
    if !off {
        PowerTarget::On
    } else if hard || failed {
        PowerTarget::HardOff
    } else {
        PowerTarget::SoftOff
    }
}

fn never_off(pass: &Pass<'_>) -> bool {
    pass.view.host.spec.disable_power_off == Some(true)
}

/// Whether requests to reboot count in this state: outside provisioned ones, only by force.
fn applies(reboot: &Reboot, state: &ProvisioningState) -> bool {
    let provisioned = matches!(
        state,
        ProvisioningState::Provisioned | ProvisioningState::ExternallyProvisioned
    );
    let available = matches!(state, ProvisioningState::Available | ProvisioningState::Ready);
    reboot.wanted && (provisioned || available && reboot.force)
}

/// Whether each request was served, although its annotation stays: only a host that is never off needs to be told.
fn served_all(pass: &Pass<'_>, reboot: &Reboot) -> bool {
    let kept = conditions::message(&pass.status, REBOOT_SERVED).unwrap_or_default();
    never_off(pass) && !reboot.plain && reboot.requests.iter().all(|request| lists(kept, request))
}

/// Whether a reboot is asked for that was not tried before the failure.
pub(crate) fn asked_anew(view: &HostView<'_>, status: &BareMetalHostStatus) -> bool {
    let reboot = requests::reboot(view);
    let tried = conditions::message(status, REBOOT_FAILED).unwrap_or_default();
    applies(&reboot, &status.provisioning.state)
        && !reboot.requests.iter().all(|request| lists(tried, request))
}

/// Whether a client keeps a host off that is to be on.
fn held_off(pass: &Pass<'_>) -> bool {
    let wanted = applies(&requests::reboot(pass.view), pass.state());
    pass.view.host.spec.online && !pass.status.powered_on && wanted
}

fn keep_requests(pass: &mut Pass<'_>, type_: &'static str, reason: &str, reboot: &Reboot) {
    if applies(reboot, pass.state()) {
        let generation = pass.view.host.metadata.generation;
        let requests = reboot.requests.join(LIST);
        conditions::remember(&mut pass.status, type_, reason, &requests, generation, pass.now);
    }
}

/// What is kept of requests lasts as long as any of them; what is kept of failures goes with the failure, too.
fn forget(pass: &mut Pass<'_>, reboot: &Reboot) {
    let stale = |kept: Option<&str>| {
        kept.is_some_and(|kept| !reboot.requests.iter().any(|request| lists(kept, request)))
    };
    if stale(conditions::message(&pass.status, REBOOT_SERVED)) || !never_off(pass) {
        conditions::forget(&mut pass.status, REBOOT_SERVED);
    }
    if stale(conditions::message(&pass.status, REBOOT_FAILED)) {
        conditions::forget(&mut pass.status, REBOOT_FAILED);
    }
}

/// Between two requests of a list; no name of an annotation has it.
const LIST: &str = ", ";

fn lists(kept: &str, request: &str) -> bool {
    kept.split(LIST).any(|kept| kept == request)
}

/// The last power off, before the node is removed.
pub(crate) fn before_delete(pass: &mut Pass<'_>) -> Flow {
    if pass.view.host.spec.disable_power_off == Some(true) {
        return Ok(());
    }
    let args = PowerArgs {
        target: PowerTarget::HardOff,
        on_failure: pass.on_failure(ErrorType::PowerManagement),
        cleaning: pass.view.cleaning(),
    };
    let outcome = pass.need(pass.seen.power.as_ref(), || Ask::SetPower(args))?;
    pass.through(outcome, ErrorType::PowerManagement)?;
    pass.status.powered_on = false;
    Ok(())
}

/// What the annotations asked for was done.
pub(crate) fn served(pass: &mut Pass<'_>, annotations: &[&str]) {
    let present: Vec<String> = annotations
        .iter()
        .filter(|name| pass.view.annotation(name).is_some())
        .map(|&name| name.into())
        .collect();
    if !present.is_empty() {
        pass.event(
            EventKind::Normal,
            "RequestServed",
            format!("removing annotation {}", present.join(", ")),
        );
        pass.writes.push(Write::RemoveAnnotations(present));
    }
}
