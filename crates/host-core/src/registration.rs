//! The part of each pass before the state's own work: credentials, and that the backend knows the host.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::SecretReference;
use metal3_api::metal3::host::{
    CredentialsStatus, ErrorType, InspectionMode, OperationalStatus, ProvisioningState, RootDeviceHints,
};
use metal3_provisioner::{NodeId, Ramdisk, RegisterArgs, WaitReason};

use crate::failure::secret_changed;
use crate::pass::{Flow, Pass};
use crate::{Ask, BmcSecret, EventKind, Next, Step};

/// A Secret that appears is noticed by its label only; this looks for those without one.
const SECRET_POLL: SignedDuration = SignedDuration::from_secs(10);

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
    let answer = pass.need(pass.seen.register.as_ref(), || {
        Ask::Register(Box::new(arguments(pass, changed)))
    })?;
    let answer = match answer {
        Ok(answer) => answer,
        Err(message) => {
            let message = format!("failed to read preprovisioningNetworkData: {message}");
            return Err(pass.fail(ErrorType::Registration, message));
        }
    };
    if let Some(NodeId(id)) = answer.node
        && id != pass.status.provisioning.id
    {
        if *pass.state() == ProvisioningState::Preparing {
            // A new node knows nothing of what was applied to the old one.
            pass.status.provisioning.root_device_hints = None;
        }
        pass.status.provisioning.id = id;
    }
    pass.through(answer.outcome, ErrorType::Registration)?;
    profile_and_hints(pass)?;
    if pass.status.good_credentials != pass.status.tried_credentials {
        pass.status.good_credentials = pass.status.tried_credentials.clone();
        pass.event(
            EventKind::Normal,
            "BMCAccessValidated",
            "verified access to the BMC",
        );
        pass.clear_error();
    }
    if pass.status.error_type == Some(ErrorType::Registration)
        || pass.status.operational_status == OperationalStatus::None
    {
        pass.clear_error();
    }
    Ok(())
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

fn arguments(pass: &Pass<'_>, credentials_changed: bool) -> RegisterArgs {
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
        ramdisk: Ramdisk::Configured,
        servicing: status.operational_status == OperationalStatus::Servicing,
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

/// The profile is set once and only supplies default hints; the hints follow the spec.
fn profile_and_hints(pass: &mut Pass<'_>) -> Flow {
    let spec = &pass.view.host.spec;
    if pass.status.hardware_profile.is_none() {
        let fallback = if spec.bmc.address.starts_with("libvirt") {
            "libvirt"
        } else {
            "unknown"
        };
        let profile = spec
            .hardware_profile
            .clone()
            .filter(|profile| !profile.is_empty());
        let profile = profile.unwrap_or_else(|| fallback.to_owned());
        if default_hints(&profile).is_none() {
            let message = format!("no hardware profile named {profile:?}; remove spec.hardwareProfile");
            return Err(pass.fail(ErrorType::Registration, message));
        }
        pass.event(
            EventKind::Normal,
            "ProfileSet",
            format!("hardware profile set: {profile}"),
        );
        pass.status.hardware_profile = Some(profile);
    }
    let profile = pass.status.hardware_profile.as_deref().unwrap_or("unknown");
    let hints = spec
        .root_device_hints
        .clone()
        .or_else(|| default_hints(profile).flatten());
    pass.status.provisioning.root_device_hints = hints;
    Ok(())
}

/// The outer option says whether the profile exists.
fn default_hints(profile: &str) -> Option<Option<RootDeviceHints>> {
    let device = |name: &str| {
        Some(RootDeviceHints {
            device_name: Some(name.into()),
            ..RootDeviceHints::default()
        })
    };
    let hctl = |address: &str| {
        Some(RootDeviceHints {
            hctl: Some(address.into()),
            ..RootDeviceHints::default()
        })
    };
    match profile {
        "unknown" => Some(device("/dev/sda")),
        "libvirt" => Some(device("/dev/vda")),
        "openstack" => Some(device("/dev/vdb")),
        "dell" => Some(hctl("0:0:0:0")),
        "dell-raid" => Some(hctl("0:2:0:0")),
        "empty" => Some(None),
        _ => None,
    }
}
