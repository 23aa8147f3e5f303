//! A workload cluster: another real API server.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::Api;
use metal3_api::names;
use metal3_testkit::{Account, ControlPlane, Rules, wait};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::lab::Lab;

/// Started when the first test needs it. Tests keep apart by the names of Nodes.
pub(crate) async fn shared() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async { ControlPlane::start().await.unwrap() })
        .await
}

/// The user of a Cluster's kubeconfig, here with no more rights than the provider needs of it.
pub(crate) async fn user(lab: &Lab) -> Account {
    let rules = Rules::default()
        .everywhere("", "nodes", &["get", "list", "watch", "patch", "delete"])
        .everywhere("", "pods", &["list"])
        .everywhere("storage.k8s.io", "volumeattachments", &["list"]);
    shared()
        .await
        .account(&lab.namespace, "admin", &rules)
        .await
        .unwrap()
}

/// A kubeconfig for use elsewhere: everything is inside.
pub(crate) fn kubeconfig(user: &Account, url: &str, ca: &str) -> Value {
    let mut cluster = json!({"server": url});
    if url.starts_with("https:") {
        cluster["certificate-authority-data"] = json!(ByteString(ca.as_bytes().to_vec()));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "workload", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": user.token}}],
        "contexts": [{"name": "workload", "context": {"cluster": "workload", "user": "admin"}}],
        "current-context": "workload",
    })
}

impl Lab {
    /// The Secret by which Cluster API tells the way into the workload cluster.
    pub(crate) async fn kubeconfig_secret(&self, cluster: &str) {
        let plane = shared().await;
        let ca = std::fs::read_to_string(plane.ca_file()).unwrap();
        let config = kubeconfig(&user(self).await, plane.url(), &ca);
        self.kubeconfig_secret_with(cluster, &config).await;
    }

    pub(crate) async fn kubeconfig_secret_with(&self, cluster: &str, kubeconfig: &Value) {
        let secret = json!({
            "metadata": {
                "name": format!("{cluster}-kubeconfig"),
                "labels": {names::LABEL_CLUSTER_NAME: cluster},
            },
            "type": "cluster.x-k8s.io/secret",
            "stringData": {"value": kubeconfig.to_string()},
        });
        self.create::<Secret>(secret).await;
    }

    /// A Node as kubelet registers it on a host, without provider ID.
    pub(crate) async fn node(&self, host: &str) -> String {
        let name = format!("{}-{host}", self.namespace);
        let uid = self.hosts.with(|world| {
            let reference = world.hosts[host].r#ref.clone();
            reference.unwrap().uid
        });
        let node = json!({"metadata": {"name": name, "labels": {names::LABEL_NODE_UUID: uid}}, "spec": {}});
        let node: Node = serde_json::from_value(node).unwrap();
        let nodes = nodes().await;
        nodes.create(&Default::default(), &node).await.unwrap();
        name
    }

    /// Waits until a Node has a provider ID, and answers it.
    pub(crate) async fn linked(&self, node: &str) -> String {
        let nodes = nodes().await;
        wait::until(
            &format!("Node {node} to have a provider ID"),
            wait::LONG,
            async || {
                let node = nodes.get(node).await.map_err(|error| error.to_string())?;
                node.spec
                    .and_then(|spec| spec.provider_id)
                    .ok_or_else(|| "none".to_owned())
            },
        )
        .await
    }
}

pub(crate) async fn nodes() -> Api<Node> {
    Api::all(shared().await.client())
}
