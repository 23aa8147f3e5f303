//! Access that was changed on a node which Ironic manages already: written first, and believed once the BMC was asked.
//!
//! Ironic verifies access only of new nodes. For others, that it still is to be proven is noted on the node, in the
//! same request that writes it, so that no crash makes us believe it.

use metal3_api::metal3::host::ErrorType;
use metal3_provisioner::{Error, FailureCause, Kind, Outcome, WaitReason};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Request;
use super::create::masked;
use crate::client::Node;
use crate::provisioner::drive::{failed, unexpected};
use crate::provisioner::patch::Patch;
use crate::provisioner::{IronicProvisioner, SHORT};

/// The key in a node's `extra`.
const UNVERIFIED: &str = "metal3_unverified_access";

/// Notes on the node that its access is to be proven; not where Ironic does that by itself.
pub(super) fn note(patch: &mut Patch, node: &Node) {
    if node.provision_state != "enroll" {
        patch.inner("extra", &node.extra, UNVERIFIED, &json!(true));
    }
}

/// Has Ironic ask the BMC, if that is noted. `Err` is what stands in the way.
pub(super) async fn prove(
    ironic: &IronicProvisioner,
    request: &Request<'_>,
    node: Node,
) -> Result<Result<Node, Outcome>, Error> {
    if node.extra.get(UNVERIFIED).is_none() {
        return Ok(Ok(node));
    }
    match ironic.client.boot_device(&node.uuid).await {
        Ok(Ok(())) => {
            tracing::info!(host = %request.host.key, node = %node.uuid, "changed access to the BMC is verified");
            let mut patch = Patch::default();
            patch.inner("extra", &node.extra, UNVERIFIED, &Value::Null);
            ironic.patched(node, &patch).await
        }
        // Somebody works on the node.
        Ok(Err(refusal)) if refusal.is_conflict() => {
            Ok(Err(Outcome::working(WaitReason::VerifyingBmcAccess, SHORT)))
        }
        Ok(Err(refusal))
            if matches!(
                refusal.status(),
                StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_REQUEST
            ) && !refusal.message().is_empty() =>
        {
            Ok(Err(refused(request, refusal.message())))
        }
        Ok(Err(refusal)) if refusal.status() == StatusCode::NOT_FOUND => {
            Err(unexpected(&node, "verifying the access to its BMC"))
        }
        Ok(Err(refusal)) => Err(refusal.into_error(&format!("the BMC of node {}", node.uuid))),
        // Ironic answered a moment ago: it is the BMC that it still waits for.
        Err(error) if error.kind() == Kind::NotReady && error.label() == "timeout" => {
            Ok(Err(Outcome::failed(
                FailureCause::BmcUnreachable,
                "the BMC did not answer Ironic in time with the changed address or credentials",
            )))
        }
        Err(error) => Err(error),
    }
}

fn refused(request: &Request<'_>, words: &str) -> Outcome {
    let words = masked(words, request.access);
    failed(
        ErrorType::Registration,
        format!("the changed address or credentials of the BMC do not work: {words}"),
    )
}
