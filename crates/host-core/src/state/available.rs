//! May be claimed; deploys as soon as an image is asked for.

use metal3_api::metal3::host::{ErrorType, ProvisioningState};
use metal3_api::names;
use metal3_provisioner::WaitReason;

use crate::pass::{Pass, STEADY_INTERVAL};
use crate::{Next, Step, power};

pub(super) fn decide(pass: &mut Pass<'_>) -> Step {
    let spec = &pass.view.host.spec;
    if spec.externally_provisioned == Some(true) {
        pass.status.provisioning.root_device_hints = None;
        return pass.go(ProvisioningState::ExternallyProvisioned);
    }
    let inspect = pass.view.annotation(names::ANNOTATION_INSPECT);
    if inspect.is_some_and(|value| value != "disabled") && !pass.view.inspection_disabled() {
        return pass.go(ProvisioningState::Inspecting);
    }
    if !wants_deployment(pass) {
        if !pass.view.wants_image() && spec.custom_deploy.is_none() {
            pass.status.provisioning_fail_count = 0;
            pass.status.last_attempted_image = None;
        }
        return power::manage(pass, Next::steady(STEADY_INTERVAL));
    }
    if !spec.online {
        return power::manage(pass, Next::wait(WaitReason::PoweredOffByUser, STEADY_INTERVAL));
    }
    if let Some(step) = retry_limit(pass) {
        return step;
    }
    if pass.status.error_type.is_some() {
        pass.clear_error();
    }
    // Recorded before the backend hears of it: what is being written cannot be told from the spec later on.
    pass.status.last_attempted_image.clone_from(&spec.image);
    pass.go(ProvisioningState::Provisioning)
}

fn wants_deployment(pass: &Pass<'_>) -> bool {
    let spec = &pass.view.host.spec;
    let deployed = pass
        .status
        .provisioning
        .image
        .as_ref()
        .is_some_and(|image| !image.url.is_empty());
    let method = spec
        .custom_deploy
        .as_ref()
        .map(|deploy| deploy.method.as_str())
        .filter(|method| !method.is_empty());
    let current = pass
        .status
        .provisioning
        .custom_deploy
        .as_ref()
        .map(|deploy| deploy.method.as_str());
    (pass.view.wants_image() && !deployed) || (method.is_some() && method != current)
}

/// Upstream's limit: the same image is not tried for ever.
fn retry_limit(pass: &mut Pass<'_>) -> Option<Step> {
    let image = &pass.view.host.spec.image;
    if *image != pass.status.last_attempted_image {
        pass.status.provisioning_fail_count = 0;
    }
    let (failed, limit) = (
        pass.status.provisioning_fail_count,
        pass.view.settings.max_provisioning_retries,
    );
    if limit == 0 || failed < i64::from(limit) {
        return None;
    }
    let message = format!(
        "provisioning failed {failed} times, retry limit ({limit}) reached; change image or reset \
         provisioningFailCount to retry"
    );
    if pass.status.error_message != message {
        pass.record_failure(ErrorType::Provisioning, message);
    }
    Some(pass.end(Next::on_change(WaitReason::ProvisioningRetryLimit)))
}
