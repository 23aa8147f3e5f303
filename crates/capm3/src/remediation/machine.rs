//! The conditions of the Machine. They are lists that others write as well, so the Machine is read anew each time.

use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use metal3_api::capi::Machine;
use metal3_capm3_core::remediation::{Progress, told};
use serde_json::json;

use crate::commit::Failure;
use crate::objects::Key;

/// Writes them; a Machine that is gone needs none.
///
/// # Errors
/// A conflict means that somebody else wrote meanwhile; the next pass tries again.
pub(super) async fn tell(
    client: &Client,
    machine: &Key,
    progress: Option<&Progress>,
    hand_over: bool,
) -> Result<(), Failure> {
    let resource = ApiResource::erase::<Machine>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &machine.namespace, &resource);
    let Some(current) = api.get_opt(&machine.name).await? else {
        return Ok(());
    };
    let Some(status) = told(&json!(current), progress, hand_over, Timestamp::now()) else {
        return Ok(());
    };
    let patch = json!({"metadata": {"resourceVersion": current.resource_version()}, "status": status});
    let params = PatchParams::default();
    api.patch_status(&machine.name, &params, &Patch::Merge(&patch))
        .await?;
    if hand_over {
        tracing::info!(%machine, "machine handed over to its owner");
    }
    Ok(())
}
