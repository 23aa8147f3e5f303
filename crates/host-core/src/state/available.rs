//! May be claimed; deploys as soon as an image is asked for.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::{FailureCause, WaitReason};

use crate::conditions::METHOD_ATTEMPTED;
use crate::pass::{Flow, Pass, STEADY_INTERVAL};
use crate::{EventKind, Next, Step, Write, conditions, hints, image, power, raid};

pub(super) fn work(pass: &mut Pass<'_>) -> Flow {
    let spec = &pass.view.host.spec;
    if spec.externally_provisioned == Some(true) {
        raid::forget(&mut pass.status);
        return Err(pass.go(ProvisioningState::ExternallyProvisioned));
    }
    if inspection_wanted(pass) {
        return Err(pass.go(ProvisioningState::Inspecting));
    }
    if raid::differs(spec, &pass.status) || pass.status.provisioning.root_device_hints != hints::wanted(pass)
    {
        pass.enter(ProvisioningState::Preparing);
        return Ok(());
    }
    Err(deploy(pass))
}

fn deploy(pass: &mut Pass<'_>) -> Step {
    let spec = &pass.view.host.spec;
    if !wants_deployment(pass) {
        if !pass.view.wants_image() && spec.custom_deploy.is_none() {
            pass.status.provisioning_fail_count = 0;
            pass.status.last_attempted_image = None;
            conditions::forget(&mut pass.status, METHOD_ATTEMPTED);
        }
        return power::manage(pass, Next::steady(STEADY_INTERVAL));
    }
    if !spec.online {
        return power::manage(pass, Next::wait(WaitReason::PoweredOffByUser, STEADY_INTERVAL));
    }
    if let Some(step) = retry_limit(pass) {
        return step;
    }
    if let Some(problem) = image::problem(spec.image.as_ref(), spec.custom_deploy.as_ref()) {
        // Found out by the backend, it would cost the host a cleaning.
        let message = format!("Validation failed: {problem}");
        return match power::keep(pass) {
            Ok(()) => pass.fail(ErrorType::Provisioning, message, FailureCause::ImageInvalid),
            Err(step) => step,
        };
    }
    if pass.status.error_type.is_some() {
        pass.clear_error();
    }
    attempt(pass);
    pass.go(ProvisioningState::Provisioning)
}

/// Recorded before the backend hears of it: what is being written cannot be told from the spec later on.
fn attempt(pass: &mut Pass<'_>) {
    pass.status
        .last_attempted_image
        .clone_from(&pass.view.host.spec.image);
    match method(pass) {
        Some(method) => {
            let generation = pass.view.host.metadata.generation;
            let status = &mut pass.status;
            conditions::remember(
                status,
                METHOD_ATTEMPTED,
                "Attempted",
                &method,
                generation,
                pass.now,
            );
        }
        None => conditions::forget(&mut pass.status, METHOD_ATTEMPTED),
    }
}

/// Whether the hardware is to be looked at again. Where that is disabled, the request is dropped: it would never end.
fn inspection_wanted(pass: &mut Pass<'_>) -> bool {
    const NAME: &str = names::ANNOTATION_INSPECT;
    let asked = pass
        .view
        .annotation(NAME)
        .is_some_and(|value| value != "disabled");
    if asked && pass.view.inspection_disabled() {
        let message = format!("removing annotation {NAME}: inspection is disabled");
        pass.event(EventKind::Normal, "RemoveAnnotation", message);
        pass.writes.push(Write::RemoveAnnotations(vec![NAME.into()]));
        return false;
    }
    asked
}

fn method(pass: &Pass<'_>) -> Option<String> {
    let deploy = pass.view.host.spec.custom_deploy.as_ref()?;
    Some(deploy.method.clone()).filter(|method| !method.is_empty())
}

fn wants_deployment(pass: &Pass<'_>) -> bool {
    let provisioning = &pass.status.provisioning;
    let deployed = provisioning
        .image
        .as_ref()
        .is_some_and(|image| !image.url.is_empty());
    let current = provisioning
        .custom_deploy
        .as_ref()
        .map(|deploy| deploy.method.clone());
    let method = method(pass);
    (pass.view.wants_image() && !deployed) || (method.is_some() && method != current)
}

/// Upstream's limit: the same image, or the same custom deploy, is not tried for ever. The power is managed on.
fn retry_limit(pass: &mut Pass<'_>) -> Option<Step> {
    let tried = conditions::message(&pass.status, METHOD_ATTEMPTED);
    // Hosts that were tried by another version have no record of the method.
    let other = tried.is_some() && method(pass).as_deref() != tried;
    if pass.view.host.spec.image != pass.status.last_attempted_image || other {
        pass.status.provisioning_fail_count = 0;
    }
    let (failed, limit) = (
        pass.status.provisioning_fail_count,
        pass.view.settings.max_provisioning_retries,
    );
    if limit == 0 || failed < i64::from(limit) {
        return None;
    }
    if let Err(step) = power::keep(pass) {
        return Some(step);
    }
    let message = format!(
        "provisioning failed {failed} times, retry limit ({limit}) reached; change image or reset \
         provisioningFailCount to retry"
    );
    if pass.status.error_message != message {
        pass.record_failure(ErrorType::Provisioning, message, FailureCause::Unknown);
    }
    Some(pass.end(Next::wait(WaitReason::ProvisioningRetryLimit, STEADY_INTERVAL)))
}
