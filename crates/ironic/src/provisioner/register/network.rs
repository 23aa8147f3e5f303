//! The network of the ramdisk, where the ramdisk is the same for all hosts.

use metal3_provisioner::{Error, FailureCause, Outcome, Ramdisk};
use reqwest::StatusCode;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::Request;
use crate::client::Node;
use crate::provisioner::IronicProvisioner;
use crate::provisioner::drive::locked;
use crate::provisioner::patch::Patch;

/// Gives the node the network data of the host. `Err` is what stands in the way. Their content stays out of messages:
/// it comes from a Secret.
pub(super) async fn write(
    ironic: &IronicProvisioner,
    request: &Request<'_>,
    node: Node,
) -> Result<Result<Node, Outcome>, Error> {
    let data = match (&request.args.ramdisk, &request.args.preprovisioning_network_data) {
        (Ramdisk::Configured, Some(data)) => data.expose_secret(),
        // A ramdisk that is built for the host has them in it.
        (Ramdisk::Missing | Ramdisk::Built(_), _) | (Ramdisk::Configured, None) => return Ok(Ok(node)),
    };
    if data.trim().is_empty() {
        return Ok(Ok(node));
    }
    let unusable = |problem: &str| {
        Outcome::failed(
            FailureCause::ConfigDriveInvalid,
            format!("the preprovisioning network data cannot be used: {problem}"),
        )
    };
    let wanted = match serde_saphyr::from_str::<Value>(data) {
        Ok(wanted @ Value::Object(_)) => wanted,
        Ok(_) => return Ok(Err(unusable("it is not a map"))),
        Err(_) => return Ok(Err(unusable("it is neither YAML nor JSON"))),
    };
    let mut patch = Patch::default();
    patch.field("network_data", &node.network_data, &wanted);
    if patch.operations().is_empty() {
        return Ok(Ok(node));
    }
    let answer = ironic.client.patch_node(&node.uuid, patch.operations()).await;
    ironic.mirror.wrote(&node.uuid);
    match answer? {
        Ok(node) => Ok(Ok(node)),
        Err(refusal) if refusal.is_conflict() => Ok(Err(locked())),
        Err(refusal) if refusal.status() == StatusCode::BAD_REQUEST => Ok(Err(unusable(
            "Ironic wants OpenStack's network_data.json, with links, networks and services",
        ))),
        Err(refusal) => Err(refusal.into_error(&format!("the network data of node {}", node.uuid))),
    }
}
