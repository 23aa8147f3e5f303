//! One Node of a workload cluster while its machine is remediated: out of service, and back.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use metal3_capm3_core::remediation::{
    Backup, NodeAnswer, NodeChange, NodeName, NodeSeen, can_be_tainted, is_tainted, tainted, untainted,
};
use serde_json::json;

use super::kubeconfig::{self, Problem};
use super::{CALL_DEADLINE, PATIENCE, Workloads, key, no_answer};

/// Kubelet writes to its Node all the time.
const ATTEMPTS: usize = 3;

impl Workloads {
    /// Looks at a Node; also at what runs there and is attached to it, if that is asked for.
    pub(crate) async fn look(&self, node: &NodeName, workloads: bool) -> NodeAnswer {
        let client = match self.enter(node).await {
            Ok(client) => client,
            Err(why) => return self.no_way(node, why).await,
        };
        match tokio::time::timeout(CALL_DEADLINE, look(client, &node.name, workloads)).await {
            Ok(Ok(Some(seen))) => NodeAnswer::Present(Box::new(seen)),
            Ok(Ok(None)) => NodeAnswer::Missing,
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                NodeAnswer::Forbidden(status.message.clone())
            }
            Ok(Err(error)) => self.no_way(node, error.to_string()).await,
            Err(_) => self.no_way(node, no_answer()).await,
        }
    }

    /// Changes a Node; the error, if it failed. One that is gone needs no change.
    pub(crate) async fn change(&self, node: &NodeName, change: NodeChange) -> Option<String> {
        let client = match self.enter(node).await {
            Ok(client) => client,
            Err(why) => return Some(why),
        };
        let told = format!("{change:?}");
        let changed = tokio::time::timeout(CALL_DEADLINE, act(&Api::all(client), &node.name, &change)).await;
        match changed {
            Ok(Ok(())) => {
                let word = told.split(['(', ' ']).next().unwrap_or_default();
                tracing::info!(cluster = %key(node), node = node.name, change = word, "node changed");
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(no_answer()),
        }
    }

    async fn enter(&self, node: &NodeName) -> Result<Client, String> {
        self.of_cluster(key(node)).connection(PATIENCE).await
    }

    /// Whether there is anything that could answer again.
    async fn no_way(&self, node: &NodeName, why: String) -> NodeAnswer {
        let cluster = key(node);
        let read = kubeconfig::read(&self.management, &cluster);
        match tokio::time::timeout(CALL_DEADLINE, read).await {
            Ok(Err(problem @ Problem::Missing(_))) => NodeAnswer::NoWay(problem.to_string()),
            Ok(_) | Err(_) => NodeAnswer::Unreachable(why),
        }
    }
}

async fn look(client: Client, name: &str, workloads: bool) -> kube::Result<Option<NodeSeen>> {
    let nodes: Api<Node> = Api::all(client.clone());
    let Some(node) = nodes.get_opt(name).await? else {
        return Ok(None);
    };
    let version = client.apiserver_version().await?;
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref());
    let mut seen = NodeSeen {
        can_be_tainted: can_be_tainted(&version.major, &version.minor),
        tainted: is_tainted(taints.unwrap_or_default()),
        marks: Backup {
            labels: node.labels().clone(),
            annotations: node.annotations().clone(),
        },
        ..NodeSeen::default()
    };
    if workloads {
        let pods: Api<Pod> = Api::all(client.clone());
        let here = ListParams::default().fields(&format!("spec.nodeName={name}"));
        let pods = pods.list_metadata(&here).await?;
        let terminating = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_some());
        seen.terminating = terminating.count();
        let volumes: Api<VolumeAttachment> = Api::all(client);
        let volumes = volumes.list(&ListParams::default()).await?;
        let attached = volumes.iter().filter(|volume| volume.spec.node_name == name);
        seen.attached = attached.count();
    }
    Ok(Some(seen))
}

async fn act(nodes: &Api<Node>, name: &str, change: &NodeChange) -> kube::Result<()> {
    match change {
        NodeChange::Taint => taints(nodes, name, |taints| tainted(taints, Timestamp::now())).await,
        NodeChange::Untaint => taints(nodes, name, untainted).await,
        NodeChange::Delete => match nodes.delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        },
        NodeChange::Restore(Backup { labels, annotations }) => {
            let patch = json!({"metadata": {"labels": labels, "annotations": annotations}});
            patch_node(nodes, name, &patch).await
        }
    }
}

/// Taints are a list: all are written, so none must have changed since they were read.
async fn taints(
    nodes: &Api<Node>,
    name: &str,
    change: impl Fn(Vec<k8s_openapi::api::core::v1::Taint>) -> Vec<k8s_openapi::api::core::v1::Taint>,
) -> kube::Result<()> {
    let mut attempt = 1;
    loop {
        let Some(node) = nodes.get_opt(name).await? else {
            return Ok(());
        };
        let version = node.resource_version();
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let patch = json!({
            "metadata": {"resourceVersion": version},
            "spec": {"taints": change(taints)},
        });
        match patch_node(nodes, name, &patch).await {
            Err(kube::Error::Api(status)) if status.code == 409 && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

async fn patch_node(nodes: &Api<Node>, name: &str, patch: &serde_json::Value) -> kube::Result<()> {
    match nodes
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
