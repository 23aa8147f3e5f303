//! A second Cluster, in a namespace of its own, from our ClusterClass.

use anyhow::Result;
use metal3_testkit::wait::try_until;
use tokio_util::sync::CancellationToken;

use super::{BOUND, Contract};
use crate::player::{Player, Target};
use crate::tour::{self, VERSION};
use crate::view::View;

const NAMESPACE: &str = "metal3-class";
const CLUSTER: &str = "classy";
const ENDPOINT: (&str, u16) = ("10.124.0.2", 6443);
/// One for the control plane, one for a worker.
const HOSTS: usize = 2;

/// Comes up, and goes.
pub(super) async fn run(contract: &Contract) -> Result<()> {
    let Contract {
        bed,
        hardware,
        progress,
        plan,
        ..
    } = contract;
    progress.step(&format!(
        "ClusterClass: Cluster {CLUSTER} with a managed topology"
    ));
    let first = plan.hosts + 1;
    let hosts = tour::host_manifests(hardware, NAMESPACE, first..first + HOSTS);
    tour::apply(bed, &hosts).await?;
    let view = View::new(contract.client.clone(), NAMESPACE, HOSTS);
    try_until(
        "the hosts of the second Cluster to be available",
        BOUND,
        async || view.all_hosts(progress, "available").await,
    )
    .await?;

    let workers = HOSTS - 1;
    let class = tour::generate(bed, hardware, "topology", NAMESPACE, CLUSTER, ENDPOINT, workers).await?;
    tour::apply(bed, &class).await?;
    let target = Target {
        namespace: NAMESPACE.into(),
        cluster: CLUSTER.into(),
        host: ENDPOINT.0.into(),
        port: ENDPOINT.1,
        version: VERSION.into(),
    };
    let stop = CancellationToken::new();
    let playing = Player::new(bed, hardware, target, progress).start(stop.clone());
    let steps = async {
        try_until("the second Cluster to be available", BOUND, async || {
            view.cluster_available(progress, HOSTS).await
        })
        .await?;
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(playing, steps)?;

    progress.step(&format!("ClusterClass: deleting Cluster {CLUSTER} and its hosts"));
    let delete = |kind: &'static str| {
        let call = ["delete", kind, "--all", "-n", NAMESPACE, "--wait=false"];
        async move { bed.kubectl(&call, None).await }
    };
    delete("cluster").await?;
    try_until("the second Cluster to be gone", BOUND, async || {
        view.cluster_gone(progress).await
    })
    .await?;
    bed.capi(&["target", "down", NAMESPACE, CLUSTER]).await?;
    delete("bmh").await?;
    try_until("the hosts of the second Cluster to be gone", BOUND, async || {
        view.no_hosts(progress).await
    })
    .await?;
    bed.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"], None)
        .await?;
    Ok(())
}
