//! What an update may not do: rules U1 to U3; and what the user should know of it.

use metal3_api::metal3::host::ProvisioningState as State;

use super::Host;
use crate::{Findings, given};

pub(super) fn findings(new: &Host, old: &Host) -> Findings {
    let errors = [address(new, old), mac(new, old), taken_over(new, old)];
    Findings {
        errors: errors.into_iter().flatten().collect(),
        warnings: cleaned(new, old).into_iter().collect(),
    }
}

/// U1.
fn address(new: &Host, old: &Host) -> Option<String> {
    let (from, to) = (&old.spec.bmc.address, &new.spec.bmc.address);
    let free = from.is_empty()
        || [new, old]
            .iter()
            .any(|host| host.detached || host.state == State::Registering);
    (from != to && !free).then(|| {
        "spec.bmc.address: BMC address can not be changed if the BMH is not in the Registering state, or if the BMH is not \
         detached; annotate it with baremetalhost.metal3.io/detached, wait for operationalStatus detached, change the \
         address, and remove the annotation"
            .to_owned()
    })
}

/// U2.
fn mac(new: &Host, old: &Host) -> Option<String> {
    let before = given(old.spec.boot_mac_address.as_ref())?;
    let after = given(new.spec.boot_mac_address.as_ref()).unwrap_or_default();
    (!before.eq_ignore_ascii_case(after)).then(|| {
        format!(
            "spec.bootMACAddress: bootMACAddress can not be changed once it is set; keep {before}, or delete the host and \
             create it anew"
        )
    })
}

/// U3.
fn taken_over(new: &Host, old: &Host) -> Option<String> {
    let enabled = !external(old) && external(new);
    let free = [new, old]
        .iter()
        .any(|host| matches!(host.state, State::Available | State::Ready));
    (enabled && !free).then(|| {
        let state = old.state.as_str();
        format!(
            "spec.externallyProvisioned: externallyProvisioned can only be enabled when in Available state, currently in \
             {state:?}"
        )
    })
}

fn external(host: &Host) -> bool {
    host.spec.externally_provisioned == Some(true)
}

/// Upstream says nothing, and the disks are lost.
fn cleaned(new: &Host, old: &Host) -> Option<String> {
    let kept = new.spec.image.is_some() || new.spec.custom_deploy.is_some();
    (external(old) && !external(new) && !kept).then(|| {
        "spec.externallyProvisioned: without image or customDeploy this host is deprovisioned now: it is powered off, and \
         cleaned unless automatedCleaningMode is disabled; set externallyProvisioned back to true to keep what runs on it"
            .to_owned()
    })
}
