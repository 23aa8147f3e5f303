//! The image is being deployed.

use metal3_api::metal3::host::{BareMetalHostSpec, BareMetalHostStatus, ErrorType, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::{ConfigDrive, DeployImage, Force, Progress, ProvisionArgs, PullSecret, WaitReason};

use super::reached;
use crate::conditions::{METHOD_ATTEMPTED, WAITING, message, since, waits_for};
use crate::input::{Provision, PullSecretProblem};
use crate::pass::{Flow, OBJECT_INTERVAL, Pass, SECRET_POLL};
use crate::power::served;
use crate::requests::reboot;
use crate::{Ask, EventKind, Next, Step};

pub(super) fn work(pass: &mut Pass<'_>) -> Flow {
    if pass.status.error_type.is_some() {
        // Counted when the state is left, not while there is no room for that.
        pass.capacity()?;
        pass.status.provisioning_fail_count = pass.status.provisioning_fail_count.saturating_add(1);
        return Err(pass.go(ProvisioningState::Deprovisioning));
    }
    let spec = &pass.view.host.spec;
    if cancelled(spec, &pass.status) || replaced(spec, &pass.status) {
        return Err(pass.go(ProvisioningState::Deprovisioning));
    }
    deploy(pass)?;
    let provisioning = &mut pass.status.provisioning;
    provisioning.image.clone_from(&spec.image);
    provisioning.custom_deploy.clone_from(&spec.custom_deploy);
    pass.status.provisioning_fail_count = 0;
    reached(pass, ProvisioningState::Provisioned);
    Ok(())
}

fn deploy(pass: &mut Pass<'_>) -> Flow {
    let spec = &pass.view.host.spec;
    pass.status.last_attempted_image.clone_from(&spec.image);
    let args = ProvisionArgs {
        deploy: DeployImage {
            image: spec.image.clone().filter(|image| !image.url.is_empty()),
            custom_deploy_method: spec.custom_deploy.as_ref().map(|deploy| deploy.method.clone()),
        },
        config_drive: ConfigDrive::default(),
        pull_secret: PullSecret::None,
        boot_mode: pass.boot_mode(),
        root_device_hints: pass.status.provisioning.root_device_hints.clone(),
        force_reboot: if reboot(pass.view).force {
            Force::Yes
        } else {
            Force::No
        },
    };
    let answer = pass.need(pass.seen.provision.as_ref(), || Ask::Provision(Box::new(args)))?;
    let outcome = match answer {
        Provision::Outcome(outcome) => outcome,
        Provision::PullSecretUnusable(problem, message) => {
            let event = match problem {
                PullSecretProblem::Missing => WaitReason::PullSecretUnusable.code(),
                PullSecretProblem::Format => "ImageAuthFormatUnsupported",
                PullSecretProblem::Content => "ImageAuthParseError",
            };
            return Err(without_secret(
                pass,
                WaitReason::PullSecretUnusable,
                event,
                message,
            ));
        }
        Provision::ConfigDataMissing(message) => {
            let reason = WaitReason::ConfigDataMissing;
            return Err(without_secret(pass, reason, reason.code(), message));
        }
    };
    if !matches!(outcome.progress, Progress::Failed { .. }) {
        // Kept, it would abort the deployment again and again.
        served(pass, &[names::ANNOTATION_REBOOT]);
    }
    pass.through(outcome, ErrorType::Provisioning)
}

/// Waits, before anything is begun, for a Secret that the deployment needs. Each problem is told once.
fn without_secret(pass: &mut Pass<'_>, reason: WaitReason, event: &'static str, problem: String) -> Step {
    let told = waits_for(&pass.status, reason)
        && message(&pass.status, WAITING).is_some_and(|told| told.contains(&problem));
    if !told {
        pass.event(EventKind::Warning, event, problem.clone());
    }
    // What is applied together is soon there, and what never comes costs little.
    let waited = since(&pass.status, reason).map_or(SECRET_POLL, |since| pass.now.duration_since(since));
    let again = waited.clamp(SECRET_POLL, OBJECT_INTERVAL);
    pass.end(Next::wait(reason, again).with_detail(problem))
}

/// Whether another image, or another custom deploy, is asked for than the one at work. Upstream finishes the old one and takes it for the new.
/// Without a recorded attempt it is unknown: upstream saves none while a first deployment runs.
fn replaced(spec: &BareMetalHostSpec, status: &BareMetalHostStatus) -> bool {
    let attempted = status.last_attempted_image.as_ref();
    let method = message(status, METHOD_ATTEMPTED);
    let wanted = spec.custom_deploy.as_ref().map(|deploy| deploy.method.as_str());
    attempted.is_some_and(|image| spec.image.as_ref().map(|image| &image.url) != Some(&image.url))
        || method.is_some_and(|method| wanted != Some(method))
}

/// Whether what runs, or is being deployed, is no longer what is asked for. Only the URL and the method count.
pub(super) fn cancelled(spec: &BareMetalHostSpec, status: &BareMetalHostStatus) -> bool {
    let wanted = spec.image.as_ref().map_or("", |image| image.url.as_str());
    let running = status
        .provisioning
        .image
        .as_ref()
        .map_or("", |image| image.url.as_str());
    let method = spec
        .custom_deploy
        .as_ref()
        .map_or("", |deploy| deploy.method.as_str());
    let current = status
        .provisioning
        .custom_deploy
        .as_ref()
        .map_or("", |deploy| deploy.method.as_str());
    if !method.is_empty() {
        (!current.is_empty() && current != method) || (!running.is_empty() && running != wanted)
    } else if !current.is_empty() {
        true
    } else {
        wanted.is_empty() || (!running.is_empty() && running != wanted)
    }
}
