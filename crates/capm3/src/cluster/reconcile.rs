//! One pass over one Metal3Cluster.

use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::reflector::Store;
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3ClusterStatus};
use metal3_api::names;
use metal3_capm3_core::cluster::{Seen, Step, Verdict, View, cluster_name, plan};
use metal3_capm3_core::condition::Reason;
use metal3_capm3_core::machine::{Finalizer, Requeue};
use serde_json::json;

use crate::commit::{Committer, Failure};
use crate::hosts::Hosts;
use crate::objects::{Guarded, Key, Objects};
use crate::queue::{Again, Reconcile};
use crate::wake::Waiting;

/// The controller of Metal3Clusters.
pub(crate) struct Controller {
    pub(crate) committer: Committer<Metal3Cluster>,
    pub(crate) objects: Objects,
    pub(crate) hosts: Hosts,
    pub(crate) waiting: Arc<Waiting>,
}

impl Reconcile for Controller {
    type Object = Metal3Cluster;

    const KIND: &'static str = "Metal3Cluster";

    fn reader(objects: &Objects) -> &Store<Guarded<Metal3Cluster>> {
        &objects.metal3_clusters
    }

    fn committer(&self) -> &Committer<Metal3Cluster> {
        &self.committer
    }

    async fn pass(&self, key: &Key, object: &Metal3Cluster) -> Result<Again, Failure> {
        pass(self, key, object).await
    }
}

async fn pass(context: &Controller, key: &Key, infra: &Metal3Cluster) -> Result<Again, Failure> {
    let cluster = match cluster_name(infra) {
        Some(name) => context.objects.cluster(&key.namespace, name)?,
        None => None,
    };
    let view = View {
        infra,
        cluster: cluster.as_ref(),
    };
    let mut seen = Seen::default();
    let verdict = loop {
        match plan(&view, &seen, Timestamp::now()) {
            Step::CountMachines(name) => {
                seen.machines = Some(context.objects.count_machines(&key.namespace, &name));
            }
            Step::EndReservations(reservations) => {
                context.committer.may_act()?;
                seen.ended = Some(context.hosts.end_reservations(reservations).await?);
            }
            Step::Finish(verdict) => break *verdict,
            Step::Leave => return Ok(Requeue::OnChange.into()),
        }
    };
    let requeue = verdict.after.map_or(Requeue::OnChange, Requeue::After);
    if let Some(wait) = &verdict.waiting {
        if wait.reason == Reason::HostServiceUnavailable {
            context.waiting.cluster_for_service(key);
        }
        tracing::debug!(cluster = %key, reason = wait.reason.as_str(), message = wait.message, "cluster waits");
    }
    commit(&context.committer, infra, verdict).await?;
    Ok(requeue.into())
}

/// Writes a verdict: finalizer, status, events; the finalizer goes last. Each step can be repeated.
async fn commit(
    committer: &Committer<Metal3Cluster>,
    infra: &Metal3Cluster,
    verdict: Verdict,
) -> Result<(), Failure> {
    let Verdict {
        finalizer,
        status,
        events,
        waiting: _,
        after: _,
    } = verdict;
    let mut current = infra.clone();
    if finalizer == Finalizer::Add {
        let finalizers = Committer::with_finalizer(infra, names::FINALIZER_METAL3_CLUSTER);
        let patch = json!({"metadata": {"finalizers": finalizers}});
        current = committer.patch(&current, patch).await?;
    }
    if finalizer != Finalizer::Drop && differs(infra.status.as_ref(), &status) {
        current.status = Some(status);
        current = committer.status(&current).await?;
    }
    committer.publish(infra, &events).await;
    if finalizer == Finalizer::Drop {
        committer
            .drop_finalizer(&current, names::FINALIZER_METAL3_CLUSTER)
            .await?;
    }
    Ok(())
}

/// An empty status and none are the same.
fn differs(stored: Option<&Metal3ClusterStatus>, wanted: &Metal3ClusterStatus) -> bool {
    stored.map_or_else(
        || *wanted != Metal3ClusterStatus::default(),
        |stored| stored != wanted,
    )
}
