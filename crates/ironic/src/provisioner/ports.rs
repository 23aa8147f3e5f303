//! Ports: the MAC addresses by which Ironic knows a machine.

use metal3_provisioner::{Error, HostRef, Outcome, RegisterArgs};

use super::IronicProvisioner;
use super::drive::locked;
use super::register::mac_conflict;
use crate::client::Node;

/// Whether Ironic lets a node get ports, and has use for them, in a state.
pub(super) fn are_due(provision_state: &str) -> bool {
    matches!(
        provision_state,
        "enroll"
            | "manageable"
            | "available"
            | "active"
            | "adopt failed"
            | "inspect failed"
            | "clean failed"
            | "deploy failed"
            | "service failed"
            | "error"
    )
}

/// Ironic finds machines by the addresses of their NICs; a new database knows none. Answers what stands in the way.
pub(super) async fn add(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &RegisterArgs,
    node: &Node,
    fresh: bool,
) -> Result<Option<Outcome>, Error> {
    let boot = host
        .boot_mac_address
        .as_deref()
        .unwrap_or_default()
        .to_lowercase();
    let inspected = args.hardware.iter().flat_map(|hardware| &hardware.nics);
    let inspected =
        inspected.filter_map(|nic| Some((nic.mac.as_ref()?.to_lowercase(), nic.pxe.unwrap_or(false))));
    let wanted: Vec<(String, bool)> = std::iter::once((boot.clone(), true))
        .chain(inspected)
        .filter(|(mac, _)| !mac.is_empty())
        .collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut known = if fresh {
        Vec::new()
    } else {
        ironic.client.macs_of(&node.uuid).await?
    };
    for (mac, pxe) in wanted {
        if known.contains(&mac) {
            continue;
        }
        match ironic.client.create_port(&node.uuid, &mac, pxe).await? {
            Ok(()) => {}
            Err(refusal) if refusal.is_conflict() => match ironic.client.node_of_mac(&mac).await? {
                // The node is locked.
                None => return Ok(Some(locked())),
                Some(owner) if owner == node.uuid => {}
                Some(owner) if mac == boot => {
                    let owner = ironic.full(&owner).await?.unwrap_or_default();
                    return Ok(Some(mac_conflict(ironic, &mac, &owner)));
                }
                // Some makers give the same address to a NIC of each machine. Nothing boots from it.
                Some(owner) => {
                    tracing::warn!(host = %host.key, mac, other = owner, "a MAC address of the host belongs to another node");
                }
            },
            Err(refusal) => return Err(refusal.into_error(&format!("the port {mac} of host {}", host.key))),
        }
        known.push(mac);
    }
    Ok(None)
}
