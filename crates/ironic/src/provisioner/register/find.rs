//! The node of a host, if Ironic has one.

use metal3_provisioner::{Error, FailureCause, HostRef, Outcome};

use crate::client::Node;
use crate::provisioner::IronicProvisioner;

pub(super) enum Found {
    Node(Box<Node>),
    Conflict(Outcome),
    Nothing,
}

/// By identifier, by name, by MAC address: a node made by a process that died before it could record it is found again.
pub(super) async fn find(ironic: &IronicProvisioner, host: &HostRef) -> Result<Found, Error> {
    if let Some(id) = &host.node
        && let Some(node) = ironic.full(&id.0).await?
    {
        return Ok(Found::Node(Box::new(node)));
    }
    if let Some(node) = ironic.full(&node_name(host)).await? {
        return Ok(Found::Node(Box::new(node)));
    }
    // The form of early releases, without namespace.
    if ironic.mirror.may_have_plain(&host.key.name)
        && let Some(node) = ironic
            .full(&host.key.name)
            .await?
            .filter(|node| node.name.as_deref() == Some(&host.key.name))
    {
        return Ok(Found::Node(Box::new(node)));
    }
    let Some(mac) = host.boot_mac_address.as_deref().filter(|mac| !mac.is_empty()) else {
        return Ok(Found::Nothing);
    };
    let Some(id) = ironic.client.node_of_mac(&mac.to_lowercase()).await? else {
        return Ok(Found::Nothing);
    };
    let Some(node) = ironic.full(&id).await? else {
        return Ok(Found::Nothing);
    };
    Ok(match node.name.as_deref() {
        Some(name) if !name.is_empty() => Found::Conflict(mac_conflict(ironic, mac, &node)),
        // Found by itself: ours to name.
        Some(_) | None => Found::Node(Box::new(node)),
    })
}

pub(super) fn node_name(host: &HostRef) -> String {
    format!("{}~{}", host.key.namespace, host.key.name)
}

/// Another node has the MAC address of the host.
pub(in crate::provisioner) fn mac_conflict(ironic: &IronicProvisioner, mac: &str, other: &Node) -> Outcome {
    let name = other
        .name
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or(&other.uuid);
    let left_behind = if ironic.is_orphan(&other.uuid) {
        ", which belongs to no BareMetalHost"
    } else {
        ""
    };
    Outcome::failed(
        FailureCause::MacConflict,
        format!("MAC address {mac} conflicts with existing node {name}{left_behind}"),
    )
}
