//! Brings an existing node in line, and has its access verified.

use metal3_api::metal3::host::ErrorType;
use metal3_provisioner::{CleaningMode, Error, OnFailure, Outcome, WaitReason};
use serde_json::json;

use super::find::node_name;
use super::{Request, access, create, network, ramdisk};
use crate::client::Node;
use crate::provisioner::drive::failed;
use crate::provisioner::patch::{Patch, capabilities};
use crate::provisioner::{IronicProvisioner, SHORT, ports};

/// Ironic works on the node and refuses changes, or would only see them too late.
fn is_busy(provision_state: &str) -> bool {
    matches!(
        provision_state,
        "clean wait" | "cleaning" | "wait call-back" | "deploying" | "inspecting"
    )
}

pub(super) async fn configure(
    ironic: &IronicProvisioner,
    request: &Request<'_>,
    node: Node,
) -> Result<Outcome, Error> {
    let state = node.provision_state.clone();
    let (busy, verifying) = (is_busy(&state), state == "verifying");
    let mut patch = Patch::default();
    let rewritten = driver_info(ironic, request, &node, &mut patch).await;
    if !(busy || verifying) {
        settings(request, &node, &mut patch);
    }
    let node = match ironic.patched(node, &patch).await? {
        Ok(node) => node,
        Err(wait) => return Ok(wait),
    };
    ironic.unwritten().remove(&node.uuid);
    if verifying {
        return Ok(Outcome::working(WaitReason::VerifyingBmcAccess, SHORT));
    }
    let node = match access::prove(ironic, request, node).await? {
        Ok(node) => node,
        Err(stopped) => return Ok(stopped),
    };
    if busy {
        return Ok(Outcome::done());
    }
    let node = match network::write(ironic, request, node).await? {
        Ok(node) => node,
        Err(stopped) => return Ok(stopped),
    };
    if ports::are_due(&state)
        && let Some(stopped) = ports::add(ironic, request.host, request.args, &node, request.fresh).await?
    {
        return Ok(stopped);
    }
    if state == "enroll" {
        return verify(ironic, request, &node, rewritten).await;
    }
    ironic.configured().insert(node.uuid.clone(), request.fingerprint);
    Ok(ramdisk::lacking(ironic, request).unwrap_or_else(Outcome::done))
}

/// Asks Ironic to verify a node that it never managed, unless that failed already.
async fn verify(
    ironic: &IronicProvisioner,
    request: &Request<'_>,
    node: &Node,
    rewritten: bool,
) -> Result<Outcome, Error> {
    if let Some(error) = node.error()
        && request.args.on_failure == OnFailure::Report
        && !rewritten
    {
        return Ok(failed(ErrorType::Registration, error));
    }
    let body = json!({"target": "manage"});
    ironic.verb(node, &body, WaitReason::VerifyingBmcAccess).await
}

/// What Ironic needs to reach the BMC, and to boot a ramdisk. Says whether the access was written.
async fn driver_info(
    ironic: &IronicProvisioner,
    request: &Request<'_>,
    node: &Node,
    patch: &mut Patch,
) -> bool {
    let wanted = create::driver_info(ironic, &request.bmc, request.access).await;
    let ramdisk = ramdisk::keys(&ironic.settings, &request.bmc, &request.args.ramdisk);
    let ramdisk = ramdisk.into_iter().flatten();
    let address = request.bmc.driver.family.key("address");
    if request.credentials_changed || node.driver_info.get(address) != wanted.get(address) {
        // Secrets come back masked, so the whole is written; what belongs to the ramdisk goes with it.
        let mut whole = wanted;
        whole.extend(
            ramdisk
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.to_owned(), value)),
        );
        patch.replace("driver_info", &whole);
        access::note(patch, node);
        return true;
    }
    if !is_busy(&node.provision_state) && node.provision_state != "verifying" {
        for (key, value) in ramdisk {
            patch.inner("driver_info", &node.driver_info, key, &value);
        }
        if let Some(url) = wanted.get("external_http_url") {
            patch.inner("driver_info", &node.driver_info, "external_http_url", url);
        }
    }
    false
}

fn settings(request: &Request<'_>, node: &Node, patch: &mut Patch) {
    let args = request.args;
    patch.field("name", &json!(node.name), &json!(node_name(request.host)));
    if let Some(disabled) = node.disable_power_off {
        patch.field(
            "disable_power_off",
            &json!(disabled),
            &json!(args.disable_power_off),
        );
    }
    patch.field(
        "automated_clean",
        &json!(node.automated_clean),
        &json!(args.cleaning == CleaningMode::Metadata),
    );
    let current = node.properties.get("capabilities").cloned().unwrap_or_default();
    patch.inner(
        "properties",
        &node.properties,
        "capabilities",
        &json!(capabilities(&current, args.boot_mode)),
    );
    if let Some(architecture) = &args.architecture {
        patch.inner("properties", &node.properties, "cpu_arch", &json!(architecture));
    }
}
