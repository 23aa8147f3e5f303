//! Power in the steady states: available, provisioned, externally provisioned.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::{OnFailure, PowerArgs, PowerTarget, Progress};

use crate::pass::{Flow, Pass};
use crate::{Ask, EventKind, HostView, Next, Step, Write};

/// A request to reboot, or to be held off, from the annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reboot {
    /// The plain annotation, which the operator removes once the host is off.
    plain: bool,
    /// Off is wanted.
    pub(crate) wanted: bool,
    hard: bool,
    /// Asked for outside provisioned states, too.
    pub(crate) force: bool,
}

/// Keeps the power as wanted; ends the pass, with what is next once there is nothing left to do.
pub(crate) fn manage(pass: &mut Pass<'_>, idle: Next) -> Step {
    match managed(pass) {
        Ok(()) => {
            pass.settle();
            pass.end(idle)
        }
        Err(step) => step,
    }
}

fn managed(pass: &mut Pass<'_>) -> Flow {
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
    let reboot = reboot(pass.view);
    if !on && reboot.plain {
        pass.writes
            .push(Write::RemoveAnnotations(vec![names::ANNOTATION_REBOOT.into()]));
        return Err(pass.end(Next::now()));
    }
    let provisioned = !matches!(
        pass.state(),
        ProvisioningState::Available | ProvisioningState::Ready
    );
    let off = (reboot.wanted && (provisioned || reboot.force)) || !pass.view.host.spec.online;
    if on != off {
        return Ok(());
    }
    let args = PowerArgs {
        target: target(pass, off, reboot),
        on_failure: pass.on_failure(ErrorType::PowerManagement),
        cleaning: pass.view.cleaning(),
    };
    let soft = args.target == PowerTarget::SoftOff;
    let retried = args.on_failure == OnFailure::Restart;
    let mut outcome = pass.need(pass.seen.power.as_ref(), || Ask::SetPower(args))?;
    if pass.view.host.spec.disable_power_off == Some(true)
        && reboot.plain
        && (outcome.started || outcome.progress == Progress::Done)
    {
        // It will never be seen off: the request is served once the reboot was accepted.
        served(pass, &[names::ANNOTATION_REBOOT]);
    }
    if let Progress::Failed { message, .. } = &mut outcome.progress
        && soft
        && !retried
    {
        *message =
            format!("Continuing with hard poweroff after soft poweroff fails. More details: {message}");
    }
    pass.through(outcome, ErrorType::PowerManagement)?;
    pass.status.powered_on = !off;
    Ok(())
}

fn target(pass: &Pass<'_>, off: bool, reboot: Reboot) -> PowerTarget {
    if !off {
        PowerTarget::On
    } else if reboot.hard || pass.status.error_count > 0 {
        PowerTarget::HardOff
    } else {
        PowerTarget::SoftOff
    }
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

/// What the reboot annotations ask for, all clients together.
pub(crate) fn reboot(view: &HostView<'_>) -> Reboot {
    let prefix = format!("{}/", names::ANNOTATION_REBOOT);
    let mut wish = Reboot::default();
    for (key, value) in view.host.metadata.annotations.iter().flatten() {
        let plain = key == names::ANNOTATION_REBOOT;
        if !plain && !key.starts_with(&prefix) {
            continue;
        }
        wish.wanted = true;
        wish.plain |= plain;
        if let Ok(details) = serde_json::from_str::<serde_json::Value>(value) {
            wish.hard |= details.get("mode").and_then(serde_json::Value::as_str) == Some("hard");
            wish.force |= details.get("force").and_then(serde_json::Value::as_bool) == Some(true);
        }
    }
    wish
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
