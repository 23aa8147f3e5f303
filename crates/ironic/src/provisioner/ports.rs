//! Ports: the MAC addresses by which Ironic knows a machine.

use metal3_provisioner::{Error, HostRef, Kind, RegisterArgs};

use super::IronicProvisioner;
use crate::client::Node;

/// Ironic finds machines by the addresses of their NICs; a new database knows none.
pub(super) async fn add(
    ironic: &IronicProvisioner,
    host: &HostRef,
    args: &RegisterArgs,
    node: &Node,
) -> Result<(), Error> {
    let boot = host.boot_mac_address.iter().map(|mac| (mac.to_lowercase(), true));
    let inspected = args.hardware.iter().flat_map(|hardware| &hardware.nics);
    let inspected =
        inspected.filter_map(|nic| Some((nic.mac.as_ref()?.to_lowercase(), nic.pxe.unwrap_or(false))));
    let wanted: Vec<(String, bool)> = boot.chain(inspected).filter(|(mac, _)| !mac.is_empty()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut known = ironic.client.macs_of(&node.uuid).await?;
    for (mac, pxe) in wanted {
        if known.contains(&mac) {
            continue;
        }
        if let Err(refusal) = ironic.client.create_port(&node.uuid, &mac, pxe).await? {
            let what = format!("the port {mac} of host {}", host.key);
            if refusal.is_conflict() {
                return Err(Error::new(
                    Kind::Config,
                    "port_conflict",
                    format!(
                        "{what} belongs to another node: {}; correct bootMACAddress",
                        refusal.message()
                    ),
                ));
            }
            return Err(refusal.into_error(&what));
        }
        known.push(mac);
    }
    Ok(())
}
