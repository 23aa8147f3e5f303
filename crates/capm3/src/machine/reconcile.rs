//! One pass over one Metal3Machine.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
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
use crate::wake::Wakes;
use crate::workload::Workloads;

/// How soon a machine looks for a host by itself when not everything may have been told: the stream of hosts is not there, or
/// whoever said that there is none perhaps did not know of the newest one.
const UNTOLD: SignedDuration = SignedDuration::from_secs(30);

/// The controller of Metal3Machines.
pub(crate) struct Controller {
    /// Shared with those who write machines besides.
    pub(crate) committer: Arc<Committer<Metal3Machine>>,
    pub(crate) objects: Objects,
    pub(crate) hosts: Hosts,
    pub(crate) workloads: Workloads,
    pub(crate) wakes: Wakes,
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

    fn failed(&self, key: &Key) {
        self.wakes.unanswered(key);
    }

    fn set_aside(&self, key: &Key) {
        self.wakes.wants_no_host(key);
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
    let awaited = queue(context, key, &verdict);
    commit(&context.committer, machine, verdict).await?;
    Ok(match awaited {
        // It came back while we were about to wait for that: those that waited are woken already.
        Awaited::Service if context.hosts.link.ups() != ups => Requeue::Now.into(),
        Awaited::Service => Again {
            requeue,
            longest: UNANSWERED,
        },
        Awaited::Host => {
            look_for_host(requeue, context.hosts.tells_all(&key.namespace), rand::random()).into()
        }
        Awaited::Nothing => requeue.into(),
    })
}

/// When a machine that waits for a host looks by itself. `jitter` in 0..1 spreads those that began to wait together.
pub(crate) fn look_for_host(requeue: Requeue, told: bool, jitter: f64) -> Requeue {
    match requeue {
        Requeue::After(_) if !told => Requeue::After(UNTOLD),
        Requeue::After(after) => {
            let seconds = after.as_secs_f64() * (1.0 - 0.25 * jitter.clamp(0.0, 1.0));
            Requeue::After(SignedDuration::from_secs_f64(seconds))
        }
        Requeue::Now | Requeue::Backoff | Requeue::OnChange => requeue,
    }
}

/// Performs one ask. Each may be repeated; none is begun by a replica that no longer leads.
async fn perform(context: &Controller, key: &Key, ask: Ask) -> Result<Answer, Failure> {
    context.committer.may_act()?;
    let hosts = &context.hosts;
    match ask {
        Ask::Claim(request) => {
            context.wakes.asks_for_host(key, &request.wish);
            hosts.claim(request).await
        }
        Ask::Host(host) => hosts.get(host, key).await,
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

/// What a machine waits for.
enum Awaited {
    Host,
    /// The host service is to answer, or to answer otherwise.
    Service,
    /// Nothing, or something that wakes it.
    Nothing,
}

/// Remembers what the machine waits for, if nothing of Kubernetes will wake it.
fn queue(context: &Controller, key: &Key, verdict: &Verdict) -> Awaited {
    let reason = verdict.waiting.as_ref().map(|wait| wait.reason);
    if let Some(wait) = &verdict.waiting {
        tracing::debug!(machine = %key, reason = wait.reason.as_str(), message = wait.message, "machine waits");
    }
    let wakes = &context.wakes;
    let awaited = match reason {
        _ if verdict.finalizer == Finalizer::Drop => Awaited::Nothing,
        Some(Reason::AssociateFailed | Reason::WaitingForReservedHost) => Awaited::Host,
        Some(
            Reason::HostServiceUnavailable
            | Reason::HostServiceDenied
            | Reason::PauseSetFailed
            | Reason::PauseRemoveFailed,
        ) => Awaited::Service,
        _ => Awaited::Nothing,
    };
    match awaited {
        Awaited::Host => wakes.found_no_host(key),
        Awaited::Service => {
            wakes.waiting.for_service(key);
            // While the service is away, nobody else has an answer; when it is back, all who wait are asked.
            if context.hosts.link.is_up() {
                wakes.unanswered(key);
            }
        }
        Awaited::Nothing => wakes.wants_no_host(key),
    }
    awaited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_that_began_to_wait_together_do_not_look_together() {
        let look = |jitter| look_for_host(Requeue::After(SignedDuration::from_mins(10)), true, jitter);
        assert_eq!(look(0.0), Requeue::After(SignedDuration::from_mins(10)));
        assert_eq!(look(1.0), Requeue::After(SignedDuration::from_secs(450)));
        assert_eq!(look_for_host(Requeue::OnChange, false, 0.0), Requeue::OnChange);
    }
}
