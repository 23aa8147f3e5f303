//! Registration: the node exists, has the right access data, and Ironic reached the BMC.

mod access;
mod checks;
mod configure;
mod create;
mod find;
mod network;
mod ramdisk;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use metal3_bmc::Bmc;
use metal3_provisioner::{
    BmcAccess, CleaningMode, Error, FailureCause, HostRef, NodeId, Outcome, RegisterArgs, Registration,
};
use secrecy::ExposeSecret as _;

pub(super) use self::create::inspect_interface;
use self::find::Found;
pub(super) use self::find::mac_conflict;
use super::IronicProvisioner;

/// What a registration is made from.
struct Request<'a> {
    host: &'a HostRef,
    args: &'a RegisterArgs,
    access: &'a BmcAccess,
    bmc: Bmc,
    /// Ironic does not have the credentials yet.
    credentials_changed: bool,
    /// What [`fingerprint`] says.
    fingerprint: u64,
    /// The node was made in this very pass: it has no ports yet.
    fresh: bool,
}

pub(super) async fn register(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &RegisterArgs,
) -> Result<Registration, Error> {
    let Some(access) = &host.bmc else {
        return Ok(answer(host, Outcome::done()));
    };
    let bmc = match access.address.parse::<Bmc>() {
        Ok(bmc) => bmc,
        Err(error) => {
            let outcome = Outcome::failed(FailureCause::BmcAddressInvalid, error.to_string());
            return Ok(answer(host, outcome));
        }
    };
    if let Some(message) = checks::unsupported(ironic, host, args, &bmc).await? {
        return Ok(answer(host, Outcome::failed(FailureCause::Unsupported, message)));
    }
    if let (Some(node), true) = (&host.node, args.credentials_changed) {
        ironic.unwritten().insert(node.0.clone());
    }
    let unwritten = host
        .node
        .as_ref()
        .is_some_and(|node| ironic.unwritten().contains(&node.0));
    let request = Request {
        host,
        args,
        access,
        credentials_changed: args.credentials_changed || unwritten,
        fingerprint: fingerprint(host, args),
        fresh: false,
        bmc,
    };
    if unchanged(ironic, &request) {
        let outcome = ramdisk::lacking(ironic, &request).unwrap_or_else(Outcome::done);
        return Ok(answer(host, outcome));
    }
    let node = match find::find(ironic, host).await? {
        Found::Node(node) => *node,
        Found::Conflict(outcome) => return Ok(answer(host, outcome)),
        Found::Nothing => return create::create(ironic, &request).await,
    };
    let id = NodeId(node.uuid.clone());
    let outcome = configure::configure(ironic, &request, node).await?;
    Ok(Registration {
        node: Some(id),
        outcome,
    })
}

fn answer(host: &HostRef, outcome: Outcome) -> Registration {
    Registration {
        node: host.node.clone(),
        outcome,
    }
}

/// Everything that a registration would write; equal to last time means there is nothing to do.
fn fingerprint(host: &HostRef, args: &RegisterArgs) -> u64 {
    let mut hasher = DefaultHasher::new();
    let access = host
        .bmc
        .as_ref()
        .map(|bmc| (&bmc.address, bmc.disable_certificate_verification));
    (
        access,
        &host.boot_mac_address,
        &host.key.namespace,
        &host.key.name,
    )
        .hash(&mut hasher);
    (
        args.boot_mode,
        args.cleaning == CleaningMode::Disabled,
        args.disable_power_off,
    )
        .hash(&mut hasher);
    (&args.architecture, args.inspection, args.custom_deploy).hash(&mut hasher);
    ramdisk::hash(&args.ramdisk, &mut hasher);
    args.preprovisioning_network_data
        .as_ref()
        .map(|data| data.expose_secret())
        .hash(&mut hasher);
    let nics = args.hardware.iter().flat_map(|hardware| &hardware.nics);
    nics.for_each(|nic| nic.mac.hash(&mut hasher));
    hasher.finish()
}

fn unchanged(ironic: &IronicProvisioner, request: &Request<'_>) -> bool {
    let Some(id) = &request.host.node else {
        return false;
    };
    if request.credentials_changed || ironic.configured().get(&id.0) != Some(&request.fingerprint) {
        return false;
    }
    ironic
        .mirror
        .node(&id.0)
        .is_some_and(|node| !matches!(node.provision_state.as_str(), "enroll" | "verifying"))
}
