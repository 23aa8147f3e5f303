//! One pass over one Metal3Remediation.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::Store;
use metal3_api::infra::v1beta2::Metal3Remediation;
use metal3_capm3_core::remediation::{Answer, Ask, Seen, Step, View, owner_name, plan};

use super::commit::commit;
use super::machine::tell;
use crate::commit::{Committer, Failure};
use crate::hosts::Hosts;
use crate::objects::{Guarded, Key, Objects, metal3_machine_key};
use crate::queue::{Again, Reconcile};
use crate::wake::Following;
use crate::workload::Workloads;

/// No deadline is missed by more than this because a service did not answer.
const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// The controller of Metal3Remediations.
pub(crate) struct Controller {
    pub(crate) committer: Committer<Metal3Remediation>,
    pub(crate) objects: Objects,
    pub(crate) hosts: Hosts,
    pub(crate) workloads: Workloads,
    pub(crate) following: Arc<Following>,
}

impl Reconcile for Controller {
    type Object = Metal3Remediation;

    const KIND: &'static str = "Metal3Remediation";

    fn reader(objects: &Objects) -> &Store<Guarded<Metal3Remediation>> {
        &objects.remediations
    }

    fn committer(&self) -> &Committer<Metal3Remediation> {
        &self.committer
    }

    async fn pass(&self, key: &Key, object: &Metal3Remediation) -> Result<Again, Failure> {
        pass(self, key, object).await
    }
}

async fn pass(context: &Controller, key: &Key, remediation: &Metal3Remediation) -> Result<Again, Failure> {
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
    Ok(Again {
        requeue,
        longest: LONGEST_DELAY,
    })
}

/// Performs one ask. Each may be repeated; none is begun by a replica that no longer leads.
async fn perform(context: &Controller, key: &Key, view: &View<'_>, ask: Ask) -> Result<Answer, Failure> {
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
