//! One look at one Metal3Machine: whether its Node has the labels of its host.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use kube::runtime::reflector::Store;
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use metal3_capm3_core::label_sync::{Changes, Pair, Plan, View, changes, events, plan};
use metal3_capm3_core::machine::Requeue;

use super::pace::Pace;
use super::told::{About, Told};
use crate::commit::{Committer, Failure};
use crate::hosts::HostView;
use crate::objects::{Guarded, Key, Objects, Parents};
use crate::queue::{Again, Reconcile};
use crate::workload::{INTEREST, Labelled, Relabelled, Workloads};

/// An API server that is upgraded, or gets a new certificate, is not worth a word.
const GRACE: Duration = Duration::from_secs(10);

/// The controller of labels.
pub(crate) struct Controller {
    /// Machines are told things; they are not written.
    pub(crate) committer: Committer<Metal3Machine>,
    /// So are clusters.
    pub(crate) clusters: Committer<Metal3Cluster>,
    pub(crate) objects: Objects,
    pub(crate) hosts: HostView,
    pub(crate) workloads: Workloads,
    told: Told,
    pace: Pace,
}

impl Controller {
    pub(crate) fn new(
        committer: Committer<Metal3Machine>,
        clusters: Committer<Metal3Cluster>,
        objects: Objects,
        hosts: HostView,
        workloads: Workloads,
    ) -> Self {
        Self {
            committer,
            clusters,
            objects,
            hosts,
            workloads,
            told: Told::default(),
            pace: Pace::default(),
        }
    }
}

impl Reconcile for Controller {
    type Object = Metal3Machine;

    const KIND: &'static str = "Metal3LabelSync";

    fn reader(objects: &Objects) -> &Store<Guarded<Metal3Machine>> {
        &objects.metal3_machines
    }

    fn committer(&self) -> &Committer<Metal3Machine> {
        &self.committer
    }

    async fn pass(&self, key: &Key, object: &Metal3Machine) -> Result<Again, Failure> {
        pass(self, key, object).await.map(Again::from)
    }
}

async fn pass(context: &Controller, key: &Key, machine: &Metal3Machine) -> Result<Requeue, Failure> {
    let Parents {
        owner,
        cluster,
        infra,
    } = context.objects.parents(key, machine)?;
    let view = View {
        machine,
        owner: owner.as_ref(),
        cluster: cluster.as_ref(),
        infra: infra.as_ref(),
    };
    let (Some(plan), Some(infra)) = (plan(&view), &infra) else {
        return Ok(Requeue::OnChange);
    };
    tell_prefixes(context, infra, &plan).await;
    let Some(pair) = &plan.pair else {
        return Ok(Requeue::OnChange);
    };
    // A host that nobody told of yet may have any labels.
    let Some(host) = context.hosts.labels(&pair.host, key) else {
        return Ok(Requeue::OnChange);
    };
    let node = match context.workloads.labels(key, &pair.node, &plan.prefixes) {
        Labelled::Found(node) => node,
        Labelled::Unknown => return Ok(Requeue::After(INTEREST)),
        Labelled::Unreachable(error, since) => {
            return Ok(unreachable(context, infra, pair, &error, since).await);
        }
    };
    if context.told.is_over(About::Outage, &Key::of(infra)) {
        let resumed = events::resumed(&pair.node.cluster);
        context.clusters.publish(infra, &[resumed]).await;
    }
    let changes = changes(&host, &node, &plan.prefixes);
    if changes.is_empty() {
        return Ok(Requeue::After(INTEREST));
    }
    change(context, machine, pair, changes).await
}

async fn tell_prefixes(context: &Controller, infra: &Metal3Cluster, plan: &Plan) {
    let key = Key::of(infra);
    if plan.malformed.is_empty() {
        context.told.is_over(About::Prefixes, &key);
        return;
    }
    let event = events::invalid(&plan.malformed);
    if context.told.is_news(About::Prefixes, &key, &event.message) {
        tracing::warn!(metal3_cluster = %key, "{}", event.message);
        context.clusters.publish(infra, &[event]).await;
    }
}

async fn unreachable(
    context: &Controller,
    infra: &Metal3Cluster,
    pair: &Pair,
    error: &str,
    since: Duration,
) -> Requeue {
    if let Some(rest) = GRACE.checked_sub(since).filter(|rest| !rest.is_zero()) {
        return after(rest);
    }
    // It has many words for one outage.
    if context.told.is_news(About::Outage, &Key::of(infra), "") {
        tracing::warn!(cluster = %pair.node.cluster, error, "labels of hosts do not reach their nodes");
        let event = events::unreachable(&pair.node.cluster, error);
        context.clusters.publish(infra, &[event]).await;
    }
    Requeue::After(INTEREST)
}

async fn change(
    context: &Controller,
    machine: &Metal3Machine,
    pair: &Pair,
    changes: Changes,
) -> Result<Requeue, Failure> {
    let Controller {
        committer,
        told,
        pace,
        ..
    } = context;
    let (key, node) = (Key::of(machine), &pair.node);
    if let Some(wait) = pace.wait(&key, &changes, Instant::now()) {
        return Ok(after(wait));
    }
    committer.may_act()?;
    match context.workloads.relabel(node, &changes).await {
        Relabelled::Done => {
            committer.metrics.wrote("node", "labels");
            for about in [About::Attempt, About::Node] {
                told.is_over(about, &key);
            }
            let event = events::synced(pair, &changes);
            tracing::info!(machine = %key, cluster = node.cluster, "{}", event.message);
            pace.made(&key, changes, Instant::now());
            committer.publish(machine, &[event]).await;
            Ok(Requeue::After(INTEREST))
        }
        Relabelled::Gone => Ok(Requeue::After(INTEREST)),
        Relabelled::Refused(error) => {
            tracing::warn!(machine = %key, node = node.name, error, "node refuses labels");
            let event = events::refused(pair, &error);
            if told.is_news(About::Node, &key, &event.message) {
                committer.publish(machine, &[event]).await;
            }
            Ok(Requeue::Backoff)
        }
        Relabelled::Failed(error) => {
            tracing::warn!(machine = %key, node = node.name, error, "node not labelled");
            let again = !told.is_news(About::Attempt, &key, "");
            if again && told.is_news(About::Node, &key, "") {
                committer.publish(machine, &[events::failed(pair, &error)]).await;
            }
            Ok(Requeue::Backoff)
        }
    }
}

/// The longest waits are minutes.
fn after(wait: Duration) -> Requeue {
    SignedDuration::try_from(wait).map_or(Requeue::Now, Requeue::After)
}
