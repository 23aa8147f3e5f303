//! What a decision is made from: the newest known host, its Secret, and how the backend finds it.

use kube::{Resource, ResourceExt as _};
use metal3_api::metal3::host::{BareMetalHost, ProvisioningState};
use metal3_api::names;
use metal3_host_core::BmcSecret;
use metal3_provisioner::{BmcAccess, HostKey, HostRef, NodeId};

use super::reconcile::{Context, Failure};

/// Namespace and name of an object.
pub(super) fn key<K: Resource>(object: &K) -> HostKey {
    HostKey::new(
        object.meta().namespace.clone().unwrap_or_default(),
        object.name_any(),
    )
}

/// The BMC Secret's state and, if usable, the access it gives.
pub(super) async fn bmc(
    context: &Context,
    host: &BareMetalHost,
) -> Result<(BmcSecret, Option<BmcAccess>), Failure> {
    let bmc = &host.spec.bmc;
    let state = host.status.as_ref().map(|status| &status.provisioning.state);
    let unmanaged = matches!(
        state,
        None | Some(ProvisioningState::None | ProvisioningState::Unmanaged)
    );
    // A host that begins to be managed is registered in the same pass; before its finalizer it must leave no trace.
    let claimed = host.finalizers().iter().any(|name| name == names::FINALIZER_HOST);
    let given = !bmc.address.is_empty() || !bmc.credentials_name.is_empty();
    if unmanaged && !(claimed && given) {
        return Ok((BmcSecret::NotNeeded, None));
    }
    let incomplete = |message: &str| {
        Ok((
            BmcSecret::Incomplete {
                message: message.to_owned(),
            },
            None,
        ))
    };
    if bmc.address.is_empty() {
        return incomplete("spec.bmc.address is empty");
    }
    if bmc.credentials_name.is_empty() {
        return incomplete("spec.bmc.credentialsName is empty");
    }
    let Some(secret) = context.secrets.credentials(host).await? else {
        return Ok((BmcSecret::Missing, None));
    };
    match secret.credentials {
        Ok(credentials) => Ok((
            BmcSecret::Found {
                version: secret.version,
                same: secret.same,
            },
            Some(BmcAccess {
                address: bmc.address.clone(),
                credentials,
                disable_certificate_verification: bmc.disable_certificate_verification == Some(true),
            }),
        )),
        Err(message) => incomplete(&message),
    }
}

/// How the backend finds the host.
pub(super) fn reference(host: &BareMetalHost, bmc: Option<BmcAccess>, node: Option<NodeId>) -> HostRef {
    HostRef {
        key: key(host),
        uid: host.uid().unwrap_or_default(),
        node,
        bmc,
        boot_mac_address: host.spec.boot_mac_address.clone().filter(|mac| !mac.is_empty()),
    }
}

/// The node recorded in the status.
pub(super) fn node(host: &BareMetalHost) -> Option<NodeId> {
    let id = &host.status.as_ref()?.provisioning.id;
    (!id.is_empty()).then(|| NodeId(id.clone()))
}
