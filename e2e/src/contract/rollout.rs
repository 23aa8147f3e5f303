//! Machines are replaced: hosts are reused, or given back and others taken.

use anyhow::{Result, ensure};
use serde_json::json;

use super::Contract;
use crate::tour::CLUSTER;

/// Image of the second generation; the simulated servers boot whatever its name is.
const IMAGE: &str = "http://images.example.com/node-2.qcow2";

/// The control plane grows to three, is replaced machine by machine on the same hosts, and shrinks again.
pub(super) async fn control_plane(contract: &Contract) -> Result<()> {
    let (old, new) = (
        format!("{CLUSTER}-controlplane"),
        format!("{CLUSTER}-controlplane-2"),
    );
    let workers = contract.plan.workers;
    contract
        .progress
        .step("KubeadmControlPlane: from 1 to 3 machines");
    contract
        .patch("kubeadmcontrolplane", CLUSTER, &json!({"spec": {"replicas": 3}}))
        .await?;
    contract.settled(workers + 3, &old, 3).await?;

    contract.progress.step(
        "KubeadmControlPlane: rolling upgrade to another image, each machine on the host of its predecessor",
    );
    let before = contract.hosts_of(&old).await?;
    contract
        .copy_template(&old, &new, |template| {
            template.spec.node_reuse = Some(true);
            if let Some(image) = &mut template.spec.template.spec.image {
                IMAGE.clone_into(&mut image.url);
            }
        })
        .await?;
    let change = json!({"spec": {
        "machineTemplate": {"spec": {"infrastructureRef": {"name": new}}},
        "rollout": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0}}},
    }});
    contract.patch("kubeadmcontrolplane", CLUSTER, &change).await?;
    contract.settled(workers + 3, &new, 3).await?;
    let after = contract.hosts_of(&new).await?;
    ensure!(
        before == after,
        "the control plane ran on {before:?} and was to be upgraded in place, but runs on {after:?}"
    );
    contract.images(&after, IMAGE).await?;

    contract
        .progress
        .step("KubeadmControlPlane: back to 1 machine; no host stays reserved");
    // Fewer than three cannot be rolled out without one more.
    let change = json!({"spec": {
        "replicas": 1,
        "rollout": {"strategy": {"rollingUpdate": {"maxSurge": 1}}},
    }});
    contract.patch("kubeadmcontrolplane", CLUSTER, &change).await?;
    contract.settled(workers + 1, &new, 1).await?;
    contract.free(contract.plan.hosts - workers - 1).await
}

/// The workers are replaced, one more at a time.
pub(super) async fn workers(contract: &Contract) -> Result<()> {
    let (old, new) = (format!("{CLUSTER}-workers"), format!("{CLUSTER}-workers-2"));
    let workers = contract.plan.workers;
    contract
        .progress
        .step("MachineDeployment: rollout of another image");
    contract
        .copy_template(&old, &new, |template| {
            if let Some(image) = &mut template.spec.template.spec.image {
                IMAGE.clone_into(&mut image.url);
            }
        })
        .await?;
    let change = json!({"spec": {"template": {"spec": {"infrastructureRef": {"name": new}}}}});
    contract.patch("machinedeployment", CLUSTER, &change).await?;
    contract.settled(workers + 1, &new, workers).await?;
    contract.images(&contract.hosts_of(&new).await?, IMAGE).await?;
    contract.free(contract.plan.hosts - workers - 1).await
}
