//! `clusterctl move` to another management cluster, and back: nothing is done to a server in use, and all goes on there.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_testkit::wait::try_until;
use serde_json::json;

use super::{BOUND, Contract};
use crate::bed::{Bed, Mode};
use crate::hardware::Deed;
use crate::stack::{self, Install};
use crate::tour::{self, CLUSTER, NAMESPACE, Plan};
use crate::view::View;

/// One of the two management clusters.
struct Side {
    bed: Bed,
    client: Client,
    view: View,
}

/// There and back.
pub(super) async fn run(contract: &Contract) -> Result<()> {
    let progress = &contract.progress;
    progress.step("A second management cluster: clusterctl init --infrastructure metal3");
    let here = Side {
        bed: contract.bed.clone(),
        client: contract.client.clone(),
        view: contract.view.clone(),
    };
    let there = second(contract).await?;
    let before = hosts(&here).await?;

    progress.step("clusterctl move to it");
    contract.moves(&here, &there, &before).await?;
    progress.step("It lives there: one worker more, and less");
    for workers in [contract.plan.workers + 1, contract.plan.workers] {
        scale(&there, workers).await?;
        try_until("the Cluster to have followed", BOUND, async || {
            there.view.cluster_available(progress, 1 + workers).await
        })
        .await?;
    }
    try_until("the host to be given back", BOUND, async || {
        let hosts = hosts(&there).await.map_err(|error| format!("{error:#}"))?;
        let used = hosts.values().filter(|host| host.consumer.is_some()).count();
        let settled = hosts
            .values()
            .all(|host| host.consumer.is_some() || host.state == "available");
        if used == 1 + contract.plan.workers && settled {
            Ok(())
        } else {
            Err(format!("{hosts:?}"))
        }
    })
    .await?;

    progress.step("clusterctl move back");
    let before = hosts(&there).await?;
    contract.moves(&there, &here, &before).await?;
    there.bed.capi(&["down"]).await.map(drop)
}

async fn second(contract: &Contract) -> Result<Side> {
    let bed = contract.bed.second();
    std::fs::create_dir_all(bed.capi_dir())?;
    let repository = "clusterctl.yaml";
    std::fs::copy(
        contract.bed.capi_dir().join(repository),
        bed.capi_dir().join(repository),
    )?;
    bed.capi(&["up"]).await?;
    let plan = Plan {
        install: Install::Clusterctl,
        mode: Mode::Processes,
        ..contract.plan.clone()
    };
    stack::install(&bed, &plan, &contract.hardware, &contract.progress).await?;
    let client = tour::client(&bed.kubeconfig()).await?;
    Ok(Side {
        view: View::new(client.clone(), NAMESPACE, contract.plan.hosts),
        client,
        bed,
    })
}

impl Contract {
    /// Everything moves; the hosts are what they were, and no server noticed.
    async fn moves(&self, from: &Side, to: &Side, before: &BTreeMap<String, Host>) -> Result<()> {
        let deeds = self.hardware.deeds().await?;
        let last = deeds.iter().map(|deed| deed.number).max().unwrap_or_default();
        let kubeconfig = to.bed.kubeconfig();
        let kubeconfig = kubeconfig.to_string_lossy();
        let call = [
            "clusterctl",
            "move",
            "-n",
            NAMESPACE,
            "--to-kubeconfig",
            &kubeconfig,
        ];
        from.bed.capi(&call).await?;
        let machines = before.values().filter(|host| host.consumer.is_some()).count();
        try_until(
            "the Cluster to be available where it moved to",
            BOUND,
            async || {
                to.view.cluster_available(&self.progress, machines).await?;
                let after = hosts(to).await.map_err(|error| format!("{error:#}"))?;
                if after == *before {
                    Ok(())
                } else {
                    Err(format!("hosts were {before:?} and are {after:?}"))
                }
            },
        )
        .await?;
        let left = hosts(from).await?;
        ensure!(left.is_empty(), "hosts were left behind: {left:?}");
        // Free hosts carry no status, as nobody pauses them: they are inspected again, as by upstream.
        let used = |server: &str| before.get(server).is_some_and(|host| host.consumer.is_some());
        let deeds: Vec<Deed> = self
            .hardware
            .deeds()
            .await?
            .into_iter()
            .filter(|deed| deed.number > last && used(&deed.host))
            .collect();
        ensure!(deeds.is_empty(), "servers in use noticed the move: {deeds:?}");
        Ok(())
    }
}

/// What must not change of a host.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    state: String,
    node: String,
    powered_on: bool,
    image: String,
    consumer: Option<String>,
    paused: Option<String>,
}

async fn hosts(side: &Side) -> Result<BTreeMap<String, Host>> {
    let api: Api<BareMetalHost> = Api::namespaced(side.client.clone(), NAMESPACE);
    let hosts = api.list(&ListParams::default()).await?;
    Ok(hosts
        .into_iter()
        .map(|host| {
            let status = host.status.clone().unwrap_or_default();
            let provisioning = status.provisioning;
            let seen = Host {
                state: provisioning.state.as_str().to_owned(),
                node: provisioning.id,
                powered_on: status.powered_on,
                image: provisioning.image.map(|image| image.url).unwrap_or_default(),
                consumer: host
                    .spec
                    .consumer_ref
                    .as_ref()
                    .and_then(|consumer| consumer.name.clone()),
                paused: host.annotations().get("baremetalhost.metal3.io/paused").cloned(),
            };
            (host.name_any(), seen)
        })
        .collect())
}

async fn scale(side: &Side, workers: usize) -> Result<()> {
    let patch = json!({"spec": {"replicas": workers}}).to_string();
    let call = [
        "patch",
        "machinedeployment",
        CLUSTER,
        "-n",
        NAMESPACE,
        "--type=merge",
        "-p",
        &patch,
    ];
    side.bed.kubectl(&call, None).await?;
    Ok(())
}
