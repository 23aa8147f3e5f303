//! What a booted server does: it joins its workload cluster. Kubelet and kubeadm are played; the Node is real.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::{Api, Client};
use metal3_api::names;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::task::AbortOnDropHandle;

use super::history::Running;
use super::objects::cluster_of;
use super::workload::CLUSTER;
use crate::world::WRITERS;

/// Servers that join until it is dropped.
pub(super) struct Joining {
    failure: Arc<Mutex<Option<String>>>,
    _joining: AbortOnDropHandle<()>,
}

impl Joining {
    /// Makes a Node of every host that runs an image.
    pub(super) fn start(workload: Client, clusters: usize, mut running: UnboundedReceiver<Running>) -> Self {
        let failure = Arc::new(Mutex::new(None));
        let told = Arc::clone(&failure);
        let joining = tokio::spawn(async move {
            let nodes: Api<Node> = Api::all(workload);
            let servers = stream::poll_fn(move |context| running.poll_recv(context));
            let joined = servers
                .map(anyhow::Ok)
                .try_for_each_concurrent(WRITERS, |server| {
                    let nodes = &nodes;
                    async move { join(nodes, &server, clusters).await }
                })
                .await;
            if let Err(error) = joined {
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{error:#}"));
            }
        });
        Self {
            failure,
            _joining: AbortOnDropHandle::new(joining),
        }
    }

    /// Why servers no longer join, if so.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn join(nodes: &Api<Node>, server: &Running, clusters: usize) -> Result<()> {
    let Running { host, uid, machine } = server;
    let cluster =
        cluster_of(machine, clusters).with_context(|| format!("host {host} belongs to {machine}"))?;
    let node = serde_json::from_value(node(machine, uid, &cluster))?;
    nodes
        .create(&PostParams::default(), &node)
        .await
        .with_context(|| format!("Node {machine} cannot be created"))?;
    Ok(())
}

/// As `kubeadm join` leaves it, with the label that tells which host it is. It has the name of the machine: Cluster API may
/// still delete the Node of the machine before by its name, because here a server is installed at once.
fn node(name: &str, uid: &str, cluster: &str) -> Value {
    let now = Timestamp::now().to_string();
    json!({
        "metadata": {
            "name": name,
            "labels": {names::LABEL_NODE_UUID: uid, "kubernetes.io/hostname": name, CLUSTER: cluster},
        },
        "spec": {"taints": [{"key": "node.cluster.x-k8s.io/uninitialized", "effect": "NoSchedule"}]},
        "status": {
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                "lastHeartbeatTime": now, "lastTransitionTime": now,
            }],
            "addresses": [{"type": "Hostname", "address": name}],
        },
    })
}
