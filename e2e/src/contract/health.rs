//! A MachineHealthCheck finds a sick Node, and Metal3Remediation reboots its host.

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use kube::api::ListParams;
use metal3_testkit::wait::try_until;
use serde_json::{Value, json};

use super::{BOUND, Contract};
use crate::player::Broken;
use crate::tour::{CLUSTER, NAMESPACE};

/// Marks a host on which a remediation failed.
const UNHEALTHY: &str = "capm3.metal3.io/unhealthy";

/// A Node is sick; after a reboot of its host it is well, and the machine is the same.
pub(super) async fn returns(contract: &Contract) -> Result<()> {
    contract
        .progress
        .step("MachineHealthCheck: a sick Node is rebooted and comes back");
    contract.apply(&check()).await?;
    let machine = contract.worker().await?;
    contract.fall_sick(&machine.node).await?;
    try_until(
        "the host to be rebooted and its Node to be well again",
        BOUND,
        async || {
            let phase = contract.remediation(&machine.machine).await?;
            let node = contract.node_ready(&machine.node).await?;
            let boots = contract.boots(&machine.host).await?;
            if phase.is_none() && node && boots > machine.boots {
                return Ok(());
            }
            Err(format!(
                "remediation: {phase:?}, Node ready: {node}, boots: {boots}"
            ))
        },
    )
    .await?;
    let same = contract.worker_named(&machine.machine).await?;
    anyhow::ensure!(
        same.host == machine.host,
        "the machine moved from {} to {}",
        machine.host,
        same.host
    );
    Ok(())
}

/// A Node stays sick after all reboots; Cluster API replaces its machine, and nobody takes the host.
pub(super) async fn replaced(contract: &Contract, broken: &Broken) -> Result<()> {
    contract
        .progress
        .step("MachineHealthCheck: a Node that no reboot mends is replaced, its host is put aside");
    let machine = contract.worker().await?;
    broken.add(&machine.node);
    contract.fall_sick(&machine.node).await?;
    try_until("the machine to be replaced", BOUND, async || {
        let workers = contract.workers().await.map_err(|error| format!("{error:#}"))?;
        let gone = workers.iter().all(|worker| worker.machine != machine.machine);
        let phase = contract.remediation(&machine.machine).await?;
        if gone && workers.len() == contract.plan.workers && phase.is_none() {
            return Ok(());
        }
        Err(format!(
            "remediation of {}: {phase:?}, workers: {workers:?}",
            machine.machine
        ))
    })
    .await?;
    let host = contract.hosts().get(&machine.host).await?;
    anyhow::ensure!(
        host.annotations().contains_key(UNHEALTHY),
        "host {} failed all reboots and is not marked {UNHEALTHY}",
        machine.host
    );
    try_until("the Cluster to be available again", BOUND, async || {
        contract
            .view
            .cluster_available(&contract.progress, contract.plan.workers + 1)
            .await
    })
    .await?;
    // The one aside stays aside, until somebody mends it.
    let aside = json!({"metadata": {"annotations": {UNHEALTHY: null}}});
    contract.patch("bmh", &machine.host, &aside).await?;
    let gone = ["delete", "machinehealthcheck", CLUSTER, "-n", NAMESPACE];
    contract.bed.kubectl(&gone, None).await?;
    contract
        .free(contract.plan.hosts - contract.plan.workers - 1)
        .await
}

fn check() -> String {
    let template = json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
        "kind": "Metal3RemediationTemplate",
        "metadata": {"name": CLUSTER, "namespace": NAMESPACE},
        "spec": {"template": {"spec": {"strategy": {"type": "Reboot", "retryLimit": 1, "timeoutSeconds": 100}}}},
    });
    let check = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "MachineHealthCheck",
        "metadata": {"name": CLUSTER, "namespace": NAMESPACE},
        "spec": {
            "clusterName": CLUSTER,
            "selector": {"matchLabels": {"cluster.x-k8s.io/deployment-name": CLUSTER}},
            "checks": {
                "nodeStartupTimeoutSeconds": 0,
                "unhealthyNodeConditions": [{"type": "Ready", "status": "Unknown", "timeoutSeconds": 1}],
            },
            "remediation": {"templateRef": {
                "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
                "kind": "Metal3RemediationTemplate",
                "name": CLUSTER,
            }},
        },
    });
    format!("{template}\n---\n{check}")
}

/// A worker and what it runs on.
#[derive(Debug)]
struct Worker {
    machine: String,
    node: String,
    host: String,
    boots: u64,
}

impl Contract {
    async fn workers(&self) -> Result<Vec<Worker>> {
        let call = [
            "get",
            "machines",
            "-n",
            NAMESPACE,
            "-o",
            "json",
            "-l",
            "cluster.x-k8s.io/deployment-name",
        ];
        let list: Value = serde_json::from_str(&self.bed.kubectl(&call, None).await?)?;
        let hosts = self.hosts().list(&ListParams::default()).await?;
        let mut workers = Vec::new();
        for machine in list["items"].as_array().into_iter().flatten() {
            let infra = machine["spec"]["infrastructureRef"]["name"]
                .as_str()
                .unwrap_or_default();
            let (Some(name), Some(node)) = (
                machine["metadata"]["name"].as_str(),
                machine["status"]["nodeRef"]["name"].as_str(),
            ) else {
                continue;
            };
            let Some(host) = hosts.iter().find(|host| {
                let consumer = host.spec.consumer_ref.as_ref();
                consumer.and_then(|consumer| consumer.name.as_deref()) == Some(infra)
            }) else {
                continue;
            };
            workers.push(Worker {
                machine: name.to_owned(),
                node: node.to_owned(),
                host: host.name_any(),
                boots: self.boots(&host.name_any()).await.map_err(anyhow::Error::msg)?,
            });
        }
        Ok(workers)
    }

    async fn worker(&self) -> Result<Worker> {
        self.workers()
            .await?
            .into_iter()
            .next()
            .context("there is no worker")
    }

    async fn worker_named(&self, machine: &str) -> Result<Worker> {
        let workers = self.workers().await?;
        workers
            .into_iter()
            .find(|worker| worker.machine == machine)
            .with_context(|| format!("Machine {machine} is gone"))
    }

    /// Nothing is heard of kubelet any more.
    async fn fall_sick(&self, node: &str) -> Result<()> {
        self.bed
            .capi(&["target", "sicken", NAMESPACE, CLUSTER, node])
            .await?;
        Ok(())
    }

    async fn node_ready(&self, node: &str) -> Result<bool, String> {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        let call = ["get", "node", node, "-o", path];
        let status = self.workload(&call).await.map_err(|error| format!("{error:#}"))?;
        Ok(status == "True")
    }

    /// kubectl on the workload cluster.
    async fn workload(&self, arguments: &[&str]) -> Result<String> {
        let mut call = vec!["target", "kubectl", NAMESPACE, CLUSTER];
        call.extend(arguments);
        self.bed.capi(&call).await
    }

    /// Phase of the remediation of a Machine, if there is one.
    async fn remediation(&self, machine: &str) -> Result<Option<String>, String> {
        let call = [
            "get",
            "metal3remediation",
            machine,
            "-n",
            NAMESPACE,
            "--ignore-not-found",
            "-o",
            "json",
        ];
        let text = self
            .bed
            .kubectl(&call, None)
            .await
            .map_err(|error| format!("{error:#}"))?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let object: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        Ok(Some(
            object["status"]["phase"].as_str().unwrap_or_default().to_owned(),
        ))
    }

    async fn boots(&self, host: &str) -> Result<u64, String> {
        let boots = self.hardware.boots(NAMESPACE, host).await;
        boots.map_err(|error| format!("{error:#}"))
    }
}
