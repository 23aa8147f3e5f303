//! The part of each pass before the state's own work: credentials, and that the backend knows the host.

use k8s_openapi::api::core::v1::SecretReference;
use metal3_api::metal3::host::{
    CredentialsStatus, ErrorType, InspectionMode, OperationalStatus, ProvisioningState,
};
use metal3_provisioner::{CleaningMode, FailureCause, NodeId, Progress, Ramdisk, RegisterArgs, WaitReason};

use crate::failure::secret_changed;
use crate::pass::{Flow, Pass, SECRET_POLL};
use crate::{Ask, BmcSecret, Built, EventKind, Next, Step, hints, raid};

/// Goes on once the backend knows the host and reaches its BMC.
pub(crate) fn register(pass: &mut Pass<'_>) -> Flow {
    if !needed(pass.state()) {
        return Ok(());
    }
    // On the way out, an unusable Secret must not hold anything up.
    let leaving = pass.view.deleting()
        && matches!(
            pass.state(),
            ProvisioningState::Deprovisioning | ProvisioningState::PoweringOffBeforeDelete
        );
    match &pass.view.secret {
        BmcSecret::Found { .. } => {}
        BmcSecret::Missing if !leaving => {
            let (namespace, name) = secret_name(pass);
            let message = format!("the BMC secret {namespace}/{name} does not exist");
            return Err(credentials_failed(
                pass,
                message,
                Next::wait(WaitReason::BmcSecretMissing, SECRET_POLL),
            ));
        }
        BmcSecret::Incomplete { message } if !leaving => {
            let message = message.clone();
            return Err(credentials_failed(
                pass,
                message,
                Next::wait(WaitReason::BmcAccessIncomplete, SECRET_POLL),
            ));
        }
        BmcSecret::Missing | BmcSecret::Incomplete { .. } | BmcSecret::NotNeeded => return Ok(()),
    }
    let changed = secret_changed(pass.view, &pass.status);
    let current = current_credentials(pass);
    if !changed && pass.status.good_credentials == pass.status.tried_credentials {
        // Nothing to verify: what was verified has a new version.
        pass.status.good_credentials.clone_from(&current);
    }
    pass.status.tried_credentials = current;
    let (ramdisk, detail) = ramdisk(pass)?;
    let answer = pass.need(pass.seen.register.as_ref(), || {
        Ask::Register(Box::new(arguments(pass, changed, ramdisk.clone())))
    })?;
    let answer = match answer {
        Ok(answer) => answer,
        Err(message) => {
            let message = format!("failed to read preprovisioningNetworkData: {message}");
            return Err(pass.fail(ErrorType::Registration, message, FailureCause::Unknown));
        }
    };
    if let Some(NodeId(id)) = answer.node
        && id != pass.status.provisioning.id
    {
        new_node(pass, id);
    }
    let unfit = matches!(ramdisk, Ramdisk::Built(_))
        && matches!(
            &answer.outcome.progress,
            Progress::Working {
                reason: WaitReason::PreprovisioningImage,
                ..
            }
        );
    if unfit {
        let message = "Preprovisioning Image is not acceptable to provisioner".to_owned();
        return Err(pass.fail(ErrorType::Registration, message, FailureCause::RamdiskMissing));
    }
    pass.through_with(answer.outcome, ErrorType::Registration, &detail)?;
    hints::profile(pass)?;
    if matches!(
        pass.state(),
        ProvisioningState::Registering | ProvisioningState::Inspecting
    ) {
        // Later on they are those that the disks were prepared for, and then those that the image was deployed with.
        pass.status.provisioning.root_device_hints = hints::wanted(pass);
    }
    registered(pass);
    if pass.status.good_credentials != pass.status.tried_credentials {
        pass.status.good_credentials = pass.status.tried_credentials.clone();
        pass.event(
            EventKind::Normal,
            "BMCAccessValidated",
            "verified access to the BMC",
        );
        pass.settle();
    }
    pass.recovered(ErrorType::Registration);
    if pass.status.operational_status == OperationalStatus::None {
        pass.clear_error();
    }
    Ok(())
}

/// The backend knows the host by another node: for the first time, or because it lost its database.
fn new_node(pass: &mut Pass<'_>, id: String) {
    if *pass.state() == ProvisioningState::Preparing {
        // A new node knows nothing of what was applied to the old one.
        raid::forget(&mut pass.status);
    }
    if *pass.state() != ProvisioningState::Registering {
        pass.begin(&ProvisioningState::Registering);
    }
    pass.status.provisioning.id = id;
}

/// Closes a registration anew; the first one is over when its state is left.
fn registered(pass: &mut Pass<'_>) {
    let register = &mut pass.status.operation_history.register;
    if pass.status.provisioning.state != ProvisioningState::Registering
        && register.start.is_some()
        && register.end.is_none()
    {
        register.end = Some(metal3_api::conditions::time(pass.now));
    }
}

/// The ramdisk that was built for the host, and what is to be said while it is not. A missing one holds nothing up here: only
/// the backend knows whether it needs one now.
fn ramdisk(pass: &mut Pass<'_>) -> Flow<(Ramdisk, String)> {
    if !pass.view.settings.build_preprovisioning_images {
        return Ok((Ramdisk::Configured, String::new()));
    }
    if !needs_ramdisk(pass) {
        return Ok((Ramdisk::Missing, String::new()));
    }
    let architecture = architecture(pass);
    let ask = || Ask::PreprovisioningImage { architecture };
    match pass.need(pass.seen.ramdisk.as_ref(), ask)? {
        Built::Ready(built) => Ok((Ramdisk::Built(built), String::new())),
        Built::NotYet { detail } => Ok((Ramdisk::Missing, detail)),
        Built::Failed(message) => {
            Err(pass.fail(ErrorType::Registration, message, FailureCause::RamdiskMissing))
        }
    }
}

fn needs_ramdisk(pass: &Pass<'_>) -> bool {
    use ProvisioningState as S;
    let spec = &pass.view.host.spec;
    match pass.state() {
        S::Inspecting => spec.inspection_mode != Some(InspectionMode::Fast),
        S::Deprovisioning => pass.view.cleaning() != CleaningMode::Disabled,
        S::Provisioned | S::ExternallyProvisioned => servicing(pass),
        S::Preparing | S::Available | S::Ready | S::Provisioning => true,
        S::None
        | S::Unmanaged
        | S::Registering
        | S::MatchProfile
        | S::PoweringOffBeforeDelete
        | S::Deleting
        | S::Unknown(_) => false,
    }
}

/// Whether the host is serviced, or is to be again after a failure.
pub(crate) fn servicing(pass: &Pass<'_>) -> bool {
    pass.status.operational_status == OperationalStatus::Servicing
        || pass.status.error_type == Some(ErrorType::Servicing)
}

/// Whether the backend must know a host in this state.
pub(crate) fn needed(state: &ProvisioningState) -> bool {
    use ProvisioningState as S;
    match state {
        S::None | S::Unmanaged | S::MatchProfile | S::Deleting | S::Unknown(_) => false,
        S::Registering
        | S::Inspecting
        | S::Preparing
        | S::Ready
        | S::Available
        | S::Provisioning
        | S::Provisioned
        | S::ExternallyProvisioned
        | S::Deprovisioning
        | S::PoweringOffBeforeDelete => true,
    }
}

/// The same missing Secret is one failure, however often it is looked for.
fn credentials_failed(pass: &mut Pass<'_>, message: String, next: Next) -> Step {
    if pass.status.error_message != message || pass.status.error_type != Some(ErrorType::Registration) {
        pass.status.error_count = pass.status.error_count.saturating_add(1);
        pass.event(EventKind::Warning, "BMCCredentialError", message.clone());
    }
    pass.status.operational_status = OperationalStatus::Error;
    pass.status.error_type = Some(ErrorType::Registration);
    pass.status.error_message.clone_from(&message);
    pass.end(next.with_detail(message))
}

fn secret_name(pass: &Pass<'_>) -> (String, String) {
    let namespace = pass.view.host.metadata.namespace.clone().unwrap_or_default();
    (namespace, pass.view.host.spec.bmc.credentials_name.clone())
}

fn current_credentials(pass: &Pass<'_>) -> CredentialsStatus {
    let (namespace, name) = secret_name(pass);
    let version = match &pass.view.secret {
        BmcSecret::Found { version, .. } => Some(version.clone()),
        BmcSecret::Missing | BmcSecret::Incomplete { .. } | BmcSecret::NotNeeded => None,
    };
    let credentials = SecretReference {
        name: Some(name),
        namespace: Some(namespace),
    };
    CredentialsStatus {
        credentials: Some(credentials),
        credentials_version: version,
    }
}

fn arguments(pass: &Pass<'_>, credentials_changed: bool, ramdisk: Ramdisk) -> RegisterArgs {
    let (spec, status) = (&pass.view.host.spec, &pass.status);
    let deploying = matches!(
        status.provisioning.state,
        ProvisioningState::Provisioning | ProvisioningState::ExternallyProvisioned
    );
    let deployed = status
        .provisioning
        .image
        .clone()
        .filter(|image| !image.url.is_empty());
    let inspected = pass.view.hardware.and_then(|data| data.spec.hardware.clone());
    RegisterArgs {
        state: status.provisioning.state.clone(),
        credentials_changed,
        on_failure: pass.on_failure(ErrorType::Registration),
        boot_mode: pass.boot_mode(),
        cleaning: pass.view.cleaning(),
        disable_power_off: spec.disable_power_off == Some(true),
        architecture: architecture(pass),
        inspection: if pass.view.inspection_disabled() {
            Some(InspectionMode::Disabled)
        } else {
            spec.inspection_mode
        },
        current_image: deployed.or_else(|| spec.image.clone().filter(|_| deploying)),
        custom_deploy: status.provisioning.custom_deploy.is_some()
            || (deploying && spec.custom_deploy.is_some()),
        ramdisk,
        servicing: servicing(pass),
        preprovisioning_network_data: None,
        hardware: inspected.or_else(|| status.hardware.clone()),
    }
}

pub(crate) fn architecture(pass: &Pass<'_>) -> Option<String> {
    let inspected = || pass.status.hardware.as_ref()?.cpu.as_ref()?.arch.clone();
    let given = pass
        .view
        .host
        .spec
        .architecture
        .clone()
        .filter(|architecture| !architecture.is_empty());
    given
        .or_else(inspected)
        .or_else(|| Some(pass.view.settings.default_architecture.clone()))
}
