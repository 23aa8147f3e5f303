//! One pass over one Metal3Remediation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use metal3_api::infra::v1beta2::Metal3Remediation;
use metal3_capm3_core::machine::Requeue;
use metal3_capm3_core::remediation::{Answer, Ask, Seen, Step, View, owner_name, plan};
use metal3_kit::telemetry;
use tracing::Instrument as _;

use super::commit::commit;
use super::machine::tell;
use crate::commit::{Committer, Failure, PASS_DEADLINE};
use crate::hosts::Hosts;
use crate::objects::{Guarded, Key, Objects, metal3_machine_key, selected};
use crate::wake::Following;
use crate::workload::Workloads;

/// No deadline is missed by more than this because a service did not answer.
const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// What every pass shares.
pub(super) struct Context {
    pub(super) committer: Committer<Metal3Remediation>,
    pub(super) objects: Objects,
    pub(super) hosts: Hosts,
    pub(super) workloads: Workloads,
    pub(super) following: Arc<Following>,
    pub(super) watch_filter: String,
}

/// Looks at a remediation once.
pub(super) async fn reconcile(
    guarded: Arc<Guarded<Metal3Remediation>>,
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
    let remediation = committer.newest(cached);
    let span = telemetry::reconcile("Metal3Remediation", &key.namespace, &key.name);
    let looked = pass(&context, &key, &remediation).instrument(span.clone());
    let result = match tokio::time::timeout(PASS_DEADLINE, looked).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Deadline),
    };
    if result.is_err() {
        telemetry::failed(&span);
    }
    let outcome = match &result {
        Ok(Requeue::OnChange) => "success",
        Ok(Requeue::Now | Requeue::After(_) | Requeue::Backoff) => "requeue_after",
        Err(_) => "error",
    };
    committer
        .metrics
        .passed(committer.name, outcome, started.elapsed());
    let requeue = result?;
    if requeue != Requeue::Backoff {
        committer.backoff.forget(&key);
    }
    Ok(match requeue {
        Requeue::Now => Action::requeue(Duration::ZERO),
        Requeue::After(after) => Action::requeue(duration(after)),
        Requeue::Backoff => Action::requeue(committer.delay(&key).min(LONGEST_DELAY)),
        Requeue::OnChange => Action::await_change(),
    })
}

async fn pass(context: &Context, key: &Key, remediation: &Metal3Remediation) -> Result<Requeue, Failure> {
    let objects = &context.objects;
    let machine = match owner_name(remediation) {
        Some(name) => objects.machine(&key.namespace, name)?,
        None => None,
    };
    let (mut metal3_machine, mut cluster) = (None, None);
    if let Some(machine) = &machine {
        if let Some(infra) = metal3_machine_key(machine) {
            metal3_machine = objects.metal3_machine(&infra)?;
            context.following.follow(key, infra);
        }
        cluster = objects.cluster(&key.namespace, &machine.spec.cluster_name)?;
    }
    let view = View {
        remediation,
        machine: machine.as_ref(),
        metal3_machine: metal3_machine.as_ref(),
        cluster: cluster.as_ref(),
    };
    let mut seen = Seen::default();
    let verdict = loop {
        match plan(&view, &seen, Timestamp::now()) {
            Step::Finish(verdict) => break *verdict,
            Step::Ask(ask) => seen.record(perform(context, key, &view, *ask).await?),
        }
    };
    if let Some(wait) = &verdict.waiting {
        tracing::debug!(remediation = %key, reason = wait.reason.as_str(), message = wait.message, "remediation waits");
    }
    let requeue = verdict.requeue;
    commit(&context.committer, remediation, verdict).await?;
    Ok(requeue)
}

/// Performs one ask. Each may be repeated; none is begun by a replica that no longer leads.
async fn perform(context: &Context, key: &Key, view: &View<'_>, ask: Ask) -> Result<Answer, Failure> {
    context.committer.may_act()?;
    let (hosts, workloads) = (&context.hosts, &context.workloads);
    match ask {
        Ask::Host(host) => hosts.look(host).await,
        Ask::Hold(hold) => hosts.hold(hold).await,
        Ask::Release(hold) => hosts.let_go(hold).await,
        Ask::Mark { host, consumer } => hosts.mark_unhealthy(host, &consumer).await,
        Ask::Node {
            node,
            workloads: count,
        } => Ok(Answer::Node(workloads.look(&node, count).await)),
        Ask::ChangeNode(node, change) => Ok(Answer::NodeChanged(workloads.change(&node, change).await)),
        Ask::Tell(progress) => {
            if let Some(machine) = view.machine.map(Key::of) {
                let told = tell(&context.committer.client, &machine, progress.as_ref(), false).await;
                // For people only: the remediation goes on without.
                if let Err(error) = told {
                    tracing::warn!(remediation = %key, %machine, %error, "the Machine does not tell how far it is");
                }
            }
            Ok(Answer::Told)
        }
        Ask::HandOver(progress) => {
            if let Some(machine) = view.machine.map(Key::of) {
                tell(&context.committer.client, &machine, Some(&progress), true).await?;
            }
            Ok(Answer::HandedOver)
        }
    }
}

fn duration(signed: SignedDuration) -> Duration {
    Duration::try_from(signed).unwrap_or(Duration::ZERO)
}
