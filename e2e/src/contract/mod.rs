//! What Cluster API asks of an infrastructure provider after the first day, with its real managers: scaling and rolling
//! upgrades of the control plane, rollouts of a MachineDeployment, remediation, a Cluster from a ClusterClass.
//!
//! * [`rollout`]: machines are replaced; hosts are reused or given back
//! * [`health`]: a MachineHealthCheck finds a sick Node
//! * [`class`]: a second Cluster, from our ClusterClass
//! * [`pivot`]: everything moves to another management cluster, and back

mod class;
mod health;
mod pivot;
mod rollout;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use metal3_api::infra::v1beta2::{Metal3Machine, Metal3MachineTemplate};
use metal3_api::metal3::host::BareMetalHost;
use metal3_testkit::wait::try_until;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::bed::Bed;
use crate::hardware::Hardware;
use crate::player::{Broken, Player};
use crate::progress::Progress;
use crate::tour::{self, NAMESPACE, Plan};
use crate::view::View;

/// The bound of one step; a remediation that fails takes two reboots of 100 s each.
const BOUND: Duration = Duration::from_secs(600);

/// A part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The control plane grows, is upgraded and shrinks.
    ControlPlane,
    /// The workers are replaced.
    Workers,
    /// A Node falls sick and comes back; then one that does not.
    Health,
    /// A Cluster from a ClusterClass.
    Class,
    /// To another management cluster, and back.
    Pivot,
}

/// Goes through these parts, or all; the workload cluster of `up` is as it was afterwards, on other hosts.
///
/// # Errors
/// Which step was missed and what was seen instead.
pub async fn run(bed: &Bed, parts: &[Part]) -> Result<()> {
    let plan = Plan::of(bed)?;
    let hardware = Hardware::find(bed, plan.kind(), plan.hosts).await?;
    ensure!(
        plan.hosts >= 4 + plan.workers,
        "{} hosts are too few: 3 control plane machines, {} workers and one to replace a machine",
        plan.hosts,
        plan.workers
    );
    let client = tour::client(&bed.kubeconfig()).await?;
    let progress = Arc::new(Progress::default());
    let player = Player::resume(bed, &hardware, tour::target(), &progress).await?;
    let broken = player.broken();
    let stop = CancellationToken::new();
    let contract = Contract {
        view: View::new(client.clone(), NAMESPACE, plan.hosts),
        bed: bed.clone(),
        client,
        hardware,
        progress,
        plan,
    };
    let playing = async { player.play(stop.clone()).await.context("a server could not boot") };
    let steps = async {
        contract.steps(&broken, parts).await?;
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(playing, steps)?;
    Ok(())
}

struct Contract {
    bed: Bed,
    client: Client,
    view: View,
    hardware: Hardware,
    progress: Arc<Progress>,
    plan: Plan,
}

impl Contract {
    async fn steps(&self, broken: &Broken, parts: &[Part]) -> Result<()> {
        let wanted = |part| parts.is_empty() || parts.contains(&part);
        if wanted(Part::ControlPlane) {
            rollout::control_plane(self).await?;
        }
        if wanted(Part::Workers) {
            rollout::workers(self).await?;
        }
        let health = async {
            if wanted(Part::Health) {
                health::returns(self).await?;
                health::replaced(self, broken).await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let class = async {
            if wanted(Part::Class) {
                class::run(self).await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        // Most of the one is waiting for two reboots to fail.
        tokio::try_join!(health, class)?;
        if wanted(Part::Pivot) {
            pivot::run(self).await?;
        }
        Ok(())
    }

    fn hosts(&self) -> Api<BareMetalHost> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn machines(&self) -> Api<Metal3Machine> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn templates(&self) -> Api<Metal3MachineTemplate> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Machines made from a template, by name.
    async fn made_from(&self, template: &str) -> Result<BTreeSet<String>> {
        let machines = self.machines().list(&ListParams::default()).await?;
        Ok(machines
            .iter()
            .filter(|machine| {
                machine
                    .annotations()
                    .get("cluster.x-k8s.io/cloned-from-name")
                    .is_some_and(|name| name == template)
            })
            .map(ResourceExt::name_any)
            .collect())
    }

    /// The hosts that the machines of a template hold.
    async fn hosts_of(&self, template: &str) -> Result<BTreeSet<String>> {
        let machines = self.made_from(template).await?;
        let hosts = self.hosts().list(&ListParams::default()).await?;
        Ok(hosts
            .iter()
            .filter(|host| {
                let consumer = host.spec.consumer_ref.as_ref();
                consumer
                    .and_then(|consumer| consumer.name.as_ref())
                    .is_some_and(|name| machines.contains(name))
            })
            .map(ResourceExt::name_any)
            .collect())
    }

    /// A copy of a template, changed.
    async fn copy_template(
        &self,
        from: &str,
        to: &str,
        change: impl FnOnce(&mut Metal3MachineTemplate),
    ) -> Result<()> {
        let mut template = self.templates().get(from).await?;
        template.metadata = ObjectMeta {
            name: Some(to.to_owned()),
            ..Default::default()
        };
        change(&mut template);
        self.templates().create(&PostParams::default(), &template).await?;
        Ok(())
    }

    /// The hosts were installed with this image.
    async fn images(&self, hosts: &BTreeSet<String>, url: &str) -> Result<()> {
        for name in hosts {
            let host = self.hosts().get(name).await?;
            let status = host.status.unwrap_or_default();
            let image = status
                .provisioning
                .image
                .map(|image| image.url)
                .unwrap_or_default();
            ensure!(
                image == url,
                "host {name} was installed with {image:?}, not with {url}"
            );
        }
        Ok(())
    }

    async fn apply(&self, manifests: &str) -> Result<()> {
        tour::apply(&self.bed, manifests).await
    }

    /// `kubectl patch`.
    async fn patch(&self, resource: &str, name: &str, patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        let call = [
            "patch",
            resource,
            name,
            "-n",
            NAMESPACE,
            "--type=merge",
            "-p",
            &patch,
        ];
        self.bed.kubectl(&call, None).await?;
        Ok(())
    }

    /// The Cluster is available with so many machines, and so many of them are made from this template.
    async fn settled(&self, machines: usize, template: &str, of_it: usize) -> Result<()> {
        let what = format!("{machines} Machines to run, {of_it} of them from {template}");
        try_until(&what, BOUND, async || {
            let made = self
                .made_from(template)
                .await
                .map_err(|error| error.to_string())?;
            self.view.cluster_available(&self.progress, machines).await?;
            if made.len() == of_it {
                Ok(())
            } else {
                Err(format!("from {template}: {made:?}"))
            }
        })
        .await?;
        Ok(())
    }

    /// So many hosts are free.
    async fn free(&self, count: usize) -> Result<()> {
        try_until(&format!("{count} hosts to be free"), BOUND, async || {
            let hosts = self
                .hosts()
                .list(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let free: Vec<String> = hosts
                .iter()
                .filter(|host| {
                    host.spec.consumer_ref.is_none()
                        && host
                            .status
                            .as_ref()
                            .is_some_and(|status| status.provisioning.state.as_str() == "available")
                })
                .map(ResourceExt::name_any)
                .collect();
            if free.len() == count {
                Ok(())
            } else {
                Err(format!("free: {free:?}"))
            }
        })
        .await?;
        Ok(())
    }
}
