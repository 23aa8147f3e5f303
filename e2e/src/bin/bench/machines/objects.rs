//! What a user and a bootstrap provider write: Clusters, and machines with their bootstrap data.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use metal3_api::capi::{Cluster, Machine};
use metal3_api::infra::v1beta2::{Metal3Cluster, Metal3Machine};
use metal3_api::names;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::workload::Workload;
use crate::world::{NAMESPACE, WRITERS};

/// Type of the Secrets that belong to a Cluster.
const OF_CLUSTER: &str = "cluster.x-k8s.io/secret";
/// Label of Machines that belong to the control plane.
const CONTROL_PLANE: &str = "cluster.x-k8s.io/control-plane";

/// The name of a Cluster.
pub(super) fn cluster(number: usize) -> String {
    format!("cluster-{number}")
}

/// The name of a Machine and of its Metal3Machine.
pub(super) fn machine(number: usize) -> String {
    format!("machine-{number}")
}

/// The Cluster of a machine; the first machine of each is its control plane.
pub(super) fn cluster_of(machine: &str, clusters: usize) -> Option<String> {
    let number: usize = machine.strip_prefix("machine-")?.parse().ok()?;
    Some(cluster(number % clusters))
}

/// Writes objects of a namespace.
#[derive(Clone)]
pub(super) struct Author {
    client: Client,
}

impl Author {
    pub(super) const fn new(client: Client) -> Self {
        Self { client }
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn create<K>(&self, object: Value) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object)?;
        self.api().create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Clusters whose control planes serve already.
    pub(super) async fn clusters(&self, count: usize, workload: &Workload) -> Result<()> {
        stream::iter(0..count)
            .map(async |number| {
                let name = cluster(number);
                let labels = json!({names::LABEL_CLUSTER_NAME: name});
                self.create::<Secret>(json!({
                    "metadata": {"name": format!("{name}-kubeconfig"), "labels": labels},
                    "type": OF_CLUSTER, "stringData": {"value": workload.kubeconfig(&name)},
                }))
                .await?;
                self.create::<Metal3Cluster>(json!({
                    "metadata": {"name": name},
                    "spec": {"controlPlaneEndpoint": {"host": "127.0.0.1", "port": workload.port}},
                }))
                .await?;
                self.create::<Cluster>(json!({
                    "metadata": {"name": name},
                    "spec": {"infrastructureRef": reference("Metal3Cluster", &name)},
                }))
                .await
            })
            .buffer_unordered(WRITERS)
            .try_collect()
            .await
    }

    /// Machines with the numbers from `first` on, spread over all Clusters.
    pub(super) async fn machines(&self, first: usize, count: usize, clusters: usize) -> Result<()> {
        stream::iter(first..first + count)
            .map(async |number| self.machine(number, clusters).await)
            .buffer_unordered(WRITERS)
            .try_collect()
            .await
    }

    async fn machine(&self, number: usize, clusters: usize) -> Result<()> {
        let (name, cluster) = (machine(number), cluster(number % clusters));
        let mut labels = json!({names::LABEL_CLUSTER_NAME: cluster});
        let bootstrap = format!("{name}-bootstrap");
        self.create::<Secret>(json!({
            "metadata": {"name": bootstrap, "labels": labels},
            "type": OF_CLUSTER,
            "stringData": {"value": format!("#cloud-config\nhostname: {name}\n"), "format": "cloud-config"},
        }))
        .await?;
        self.create::<Metal3Machine>(json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"image": {
                "url": "http://images.example.com/node.qcow2",
                "checksum": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
                "checksumType": "sha256",
                "diskFormat": "qcow2",
            }},
        }))
        .await?;
        if number < clusters {
            labels[CONTROL_PLANE] = json!("");
        }
        self.create::<Machine>(json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "clusterName": cluster,
                "bootstrap": {"dataSecretName": bootstrap},
                "infrastructureRef": reference("Metal3Machine", &name),
            },
        }))
        .await
    }
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": kind, "name": name})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_spread_evenly_and_each_cluster_has_the_first_of_its_own() {
        assert_eq!(cluster_of(&machine(3), 10), Some(cluster(3)));
        assert_eq!(cluster_of(&machine(23), 10), Some(cluster(3)));
        assert_eq!(cluster_of("other", 10), None);
    }
}
