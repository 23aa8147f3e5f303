//! One pass over one Metal3Machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use metal3_api::infra::v1beta2::Metal3Machine;
use metal3_capm3_core::condition::Reason;
use metal3_capm3_core::machine::{
    Answer, Ask, Finalizer, Policy, Requeue, Seen, Step, Verdict, View, cluster_name, owner_name, plan,
};
use metal3_kit::telemetry;
use tracing::Instrument as _;

use super::commit::commit;
use super::successor::successor;
use crate::commit::{Committer, Failure, PASS_DEADLINE};
use crate::hosts::Hosts;
use crate::objects::{Guarded, Key, Objects, selected};
use crate::wake::Waiting;
use crate::workload::Workloads;

/// The stream of hosts wakes whoever waits for the service; when only calls fail nothing does.
const UNANSWERED: Duration = Duration::from_secs(30);

/// What every pass shares.
pub(super) struct Context {
    pub(super) committer: Committer<Metal3Machine>,
    pub(super) objects: Objects,
    pub(super) hosts: Hosts,
    pub(super) workloads: Workloads,
    pub(super) waiting: Arc<Waiting>,
    pub(super) watch_filter: String,
    pub(super) policy: Policy,
}

/// Looks at a machine once.
pub(super) async fn reconcile(
    guarded: Arc<Guarded<Metal3Machine>>,
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
    let machine = committer.newest(cached);
    let span = telemetry::reconcile("Metal3Machine", &key.namespace, &key.name);
    let looked = pass(&context, &key, &machine).instrument(span.clone());
    let result = match tokio::time::timeout(PASS_DEADLINE, looked).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Deadline),
    };
    if result.is_err() {
        telemetry::failed(&span);
    }
    let outcome = match &result {
        Ok((Requeue::OnChange, _)) => "success",
        Ok((Requeue::Now | Requeue::After(_) | Requeue::Backoff, _)) => "requeue_after",
        Err(_) => "error",
    };
    committer
        .metrics
        .passed(committer.name, outcome, started.elapsed());
    let (requeue, longest) = result?;
    if requeue != Requeue::Backoff {
        committer.backoff.forget(&key);
    }
    Ok(match requeue {
        Requeue::Now => Action::requeue(Duration::ZERO),
        Requeue::After(after) => Action::requeue(duration(after)),
        Requeue::Backoff => Action::requeue(committer.delay(&key).min(longest)),
        Requeue::OnChange => Action::await_change(),
    })
}

/// When to look again, and how long that may be put off.
async fn pass(context: &Context, key: &Key, machine: &Metal3Machine) -> Result<(Requeue, Duration), Failure> {
    let objects = &context.objects;
    let owner = match owner_name(machine) {
        Some(name) => objects.machine(&key.namespace, name)?,
        None => None,
    };
    let cluster = match cluster_name(machine, owner.as_ref()) {
        "" => None,
        name => objects.cluster(&key.namespace, name)?,
    };
    let infra = match &cluster {
        Some(cluster) => objects.infra_of(cluster)?,
        None => None,
    };
    let view = View {
        machine,
        owner: owner.as_ref(),
        cluster: cluster.as_ref(),
        infra: infra.as_ref(),
        policy: context.policy,
    };
    let ups = context.hosts.link.ups();
    let mut seen = Seen::default();
    let verdict = loop {
        match plan(&view, &seen, Timestamp::now()) {
            Step::Finish(verdict) => break *verdict,
            Step::Ask(ask) => seen.record(perform(context, key, *ask).await?),
        }
    };
    let requeue = verdict.requeue;
    let unanswered = queue(context, key, &verdict);
    commit(&context.committer, machine, verdict).await?;
    Ok(match unanswered {
        // It came back while we were about to wait for that: those that waited are woken already.
        true if context.hosts.link.ups() != ups => (Requeue::Now, Duration::MAX),
        true => (requeue, UNANSWERED),
        false => (requeue, Duration::MAX),
    })
}

/// Performs one ask. Each may be repeated; none is begun by a replica that no longer leads.
async fn perform(context: &Context, key: &Key, ask: Ask) -> Result<Answer, Failure> {
    context.committer.may_act()?;
    let hosts = &context.hosts;
    match ask {
        Ask::Claim(request) => {
            context.waiting.for_host(key);
            hosts.claim(request).await
        }
        Ask::Host(host) => hosts.get(host).await,
        Ask::Provision { host, consumer, spec } => hosts.provision(host, &consumer, spec).await,
        Ask::Nodes(query) => Ok(Answer::Nodes(context.workloads.nodes(key, &query).await)),
        Ask::LinkNode { node, query } => Ok(Answer::NodeLinked(context.workloads.link(&node, &query).await)),
        Ask::Release {
            host,
            consumer,
            cluster_name,
            fast_track,
            reservation,
        } => {
            hosts
                .release(host, &consumer, cluster_name, fast_track, reservation)
                .await
        }
        Ask::Cleaning { host, consumer, mode } => hosts.cleaning(host, &consumer, &mode).await,
        Ask::PrepareMove { host, consumer } => hosts.prepare_move(host, &consumer).await,
        Ask::ResumeAfterMove {
            host,
            consumer,
            cluster_name,
        } => hosts.resume_after_move(host, &consumer, cluster_name).await,
        Ask::Held(consumer) => hosts.held(&consumer).await,
        Ask::Successor(parent) => {
            let found = successor(&context.committer.client, &context.objects, parent).await?;
            Ok(Answer::Successor(found))
        }
        Ask::EndReservations(reservations) => hosts.end_reservations(reservations).await,
    }
}

/// Remembers what the machine waits for, if nothing of Kubernetes will wake it. Tells whether it waits for the host
/// service to answer.
fn queue(context: &Context, key: &Key, verdict: &Verdict) -> bool {
    let reason = verdict.waiting.as_ref().map(|wait| wait.reason);
    let for_host = matches!(
        reason,
        Some(Reason::AssociateFailed | Reason::WaitingForReservedHost)
    );
    if !for_host || verdict.finalizer == Finalizer::Drop {
        context.waiting.has_host(key);
    }
    let of_pause = matches!(reason, Some(Reason::PauseSetFailed | Reason::PauseRemoveFailed));
    if let Some(wait) = &verdict.waiting {
        if of_pause
            || matches!(
                wait.reason,
                Reason::HostServiceUnavailable | Reason::HostServiceDenied
            )
        {
            context.waiting.for_service(key);
        }
        tracing::debug!(machine = %key, reason = wait.reason.as_str(), message = wait.message, "machine waits");
    }
    of_pause || reason == Some(Reason::HostServiceUnavailable)
}

fn duration(signed: SignedDuration) -> Duration {
    Duration::try_from(signed).unwrap_or(Duration::ZERO)
}
