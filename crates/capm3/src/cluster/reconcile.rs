//! One pass over one Metal3Cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3ClusterStatus};
use metal3_api::names;
use metal3_capm3_core::cluster::{Seen, Step, Verdict, View, cluster_name, plan};
use metal3_capm3_core::machine::Finalizer;
use metal3_kit::telemetry;
use serde_json::json;
use tracing::Instrument as _;

use crate::commit::{Committer, Failure, PASS_DEADLINE};
use crate::objects::{Guarded, Key, Objects, selected};

/// What every pass shares.
pub(super) struct Context {
    pub(super) committer: Committer<Metal3Cluster>,
    pub(super) objects: Objects,
    pub(super) watch_filter: String,
}

/// Looks at a cluster once.
pub(super) async fn reconcile(
    guarded: Arc<Guarded<Metal3Cluster>>,
    context: Arc<Context>,
) -> Result<Action, Failure> {
    let Ok(cached) = &guarded.0 else {
        return Ok(Action::await_change());
    };
    if !selected(cached.labels(), &context.watch_filter) {
        return Ok(Action::await_change());
    }
    let key = Key::of(cached);
    let committer = &context.committer;
    let started = Instant::now();
    let infra = committer.newest(cached);
    let span = telemetry::reconcile("Metal3Cluster", &key.namespace, &key.name);
    let looked = pass(&context, &key, &infra).instrument(span.clone());
    let result = match tokio::time::timeout(PASS_DEADLINE, looked).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Deadline),
    };
    if result.is_err() {
        telemetry::failed(&span);
    }
    let outcome = match &result {
        Ok(None) => "success",
        Ok(Some(_)) => "requeue_after",
        Err(_) => "error",
    };
    committer
        .metrics
        .passed(committer.name, outcome, started.elapsed());
    let after = result?;
    committer.backoff.forget(&key);
    Ok(after.map_or_else(Action::await_change, Action::requeue))
}

async fn pass(context: &Context, key: &Key, infra: &Metal3Cluster) -> Result<Option<Duration>, Failure> {
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
            Step::Finish(verdict) => break *verdict,
            Step::Leave => return Ok(None),
        }
    };
    let after = verdict.after.and_then(|after| Duration::try_from(after).ok());
    if let Some(wait) = &verdict.waiting {
        tracing::debug!(cluster = %key, reason = wait.reason.as_str(), message = wait.message, "cluster waits");
    }
    commit(&context.committer, infra, verdict).await?;
    Ok(after)
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
