//! One pass over one Metal3Machine.

use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::reflector::Store;
use metal3_api::infra::v1beta2::Metal3Machine;
use metal3_capm3_core::condition::Reason;
use metal3_capm3_core::machine::{Answer, Ask, Finalizer, Policy, Requeue, Seen, Step, Verdict, View, plan};

use super::commit::commit;
use super::successor::successor;
use crate::commit::{Committer, Failure};
use crate::hosts::Hosts;
use crate::objects::{Guarded, Key, Objects, Parents};
use crate::queue::{Again, Reconcile, UNANSWERED};
use crate::wake::Waiting;
use crate::workload::Workloads;

/// The controller of Metal3Machines.
pub(crate) struct Controller {
    /// Shared with those who write machines besides.
    pub(crate) committer: Arc<Committer<Metal3Machine>>,
    pub(crate) objects: Objects,
    pub(crate) hosts: Hosts,
    pub(crate) workloads: Workloads,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) policy: Policy,
}

impl Reconcile for Controller {
    type Object = Metal3Machine;

    const KIND: &'static str = "Metal3Machine";

    fn reader(objects: &Objects) -> &Store<Guarded<Metal3Machine>> {
        &objects.metal3_machines
    }

    fn committer(&self) -> &Committer<Metal3Machine> {
        &self.committer
    }

    async fn pass(&self, key: &Key, object: &Metal3Machine) -> Result<Again, Failure> {
        pass(self, key, object).await
    }
}

async fn pass(context: &Controller, key: &Key, machine: &Metal3Machine) -> Result<Again, Failure> {
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
        true if context.hosts.link.ups() != ups => Requeue::Now.into(),
        true => Again {
            requeue,
            longest: UNANSWERED,
        },
        false => requeue.into(),
    })
}

/// Performs one ask. Each may be repeated; none is begun by a replica that no longer leads.
async fn perform(context: &Controller, key: &Key, ask: Ask) -> Result<Answer, Failure> {
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
        Ask::EndReservations(reservations) => {
            let ended = hosts.end_reservations(reservations).await?;
            Ok(ended.map_or_else(Answer::Trouble, |()| Answer::ReservationsEnded))
        }
    }
}

/// Remembers what the machine waits for, if nothing of Kubernetes will wake it. Tells whether it waits for the host
/// service to answer, or to answer otherwise.
fn queue(context: &Controller, key: &Key, verdict: &Verdict) -> bool {
    let reason = verdict.waiting.as_ref().map(|wait| wait.reason);
    let for_host = matches!(
        reason,
        Some(Reason::AssociateFailed | Reason::WaitingForReservedHost)
    );
    if !for_host || verdict.finalizer == Finalizer::Drop {
        context.waiting.has_host(key);
    }
    let for_service = matches!(
        reason,
        Some(
            Reason::HostServiceUnavailable
                | Reason::HostServiceDenied
                | Reason::PauseSetFailed
                | Reason::PauseRemoveFailed
        )
    );
    if for_service {
        context.waiting.for_service(key);
    }
    if let Some(wait) = &verdict.waiting {
        tracing::debug!(machine = %key, reason = wait.reason.as_str(), message = wait.message, "machine waits");
    }
    for_service
}
