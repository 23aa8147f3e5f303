//! The provider in this process, between a small Kubernetes API and a scripted host service.

pub(crate) mod hosts;
pub(crate) mod kube;

use clap::Parser as _;
use metal3_capm3::{Args, run};
use metal3_testkit::{port, scratch, wait};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use hosts::Hosts;
use kube::Kube;

const LABEL: &str = "cluster.x-k8s.io/cluster-name";

/// A running provider.
pub(crate) struct Bed {
    pub(crate) kube: Kube,
    pub(crate) hosts: Hosts,
    /// Where the host service is expected.
    pub(crate) port: u16,
    health: u16,
    shutdown: CancellationToken,
    provider: JoinHandle<anyhow::Result<()>>,
}

impl Bed {
    /// Starts the provider with a Cluster and its infrastructure, and a host service if there is to be one.
    pub(crate) async fn start(serve: bool) -> Self {
        metal3_testkit::init();
        let (kube, hosts) = (Kube::start().await, Hosts::new("ns"));
        let (service, health) = (port::free().unwrap(), port::free().unwrap());
        if serve {
            hosts.serve(service, None).await;
        }
        kube.put(
            "clusters",
            json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
                "metadata": {"namespace": "ns", "name": "c"},
                "spec": {"infrastructureRef": {
                    "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "Metal3Cluster", "name": "infra"}},
                "status": {"initialization": {"infrastructureProvisioned": true}},
            }),
        );
        kube.put(
            "metal3clusters",
            json!({
                "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "Metal3Cluster",
                "metadata": {"namespace": "ns", "name": "infra", "ownerReferences": [owner("Cluster", "c")]},
                "spec": {"controlPlaneEndpoint": {"host": "192.0.2.9", "port": 6443}},
            }),
        );
        let folder = scratch::dir("capm3").unwrap();
        let kubeconfig = scratch::file(&folder, "kubeconfig", kube.kubeconfig()).unwrap();
        let args = Args::parse_from([
            "metal3-capm3".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--host-service-address=http://127.0.0.1:{service}"),
            format!("--health-addr=127.0.0.1:{health}"),
            "--diagnostics-address=0".into(),
            "--webhook-port=0".into(),
        ]);
        let shutdown = CancellationToken::new();
        let provider = tokio::spawn(run(args, shutdown.clone()));
        Self {
            kube,
            hosts,
            port: service,
            health,
            shutdown,
            provider,
        }
    }

    /// Waits until the hosts are followed: from then on nobody looks for one by itself for a long time.
    pub(crate) async fn followed(&self) {
        let url = self.readyz_url();
        wait::until("the stream of hosts", wait::LONG, async || {
            // It may not listen yet.
            let answer = metal3_testkit::http::get(&url).await;
            let (_, text) = answer.map_err(|error| error.to_string())?;
            if text.contains("[+]host-service") {
                Ok(())
            } else {
                Err(text)
            }
        })
        .await;
    }

    /// A Machine with bootstrap data, and its Metal3Machine.
    pub(crate) fn machine(&self, name: &str) {
        self.machine_on(name, &json!({}));
    }

    /// One that is to run on a host with these labels.
    pub(crate) fn machine_on(&self, name: &str, labels: &Value) {
        self.kube.put(
            "machines",
            json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
                "metadata": {"namespace": "ns", "name": name, "labels": {LABEL: "c"}},
                "spec": {
                    "clusterName": "c",
                    "bootstrap": {"dataSecretName": "boot", "configRef": {"kind": "KubeadmConfig", "name": "k"}},
                    "infrastructureRef": {
                        "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "Metal3Machine", "name": name},
                },
            }),
        );
        self.kube.put(
            "metal3machines",
            json!({
                "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "Metal3Machine",
                "metadata": {
                    "namespace": "ns", "name": name, "labels": {LABEL: "c"},
                    "ownerReferences": [owner("Machine", name)]},
                "spec": {
                    "image": {"url": "http://images/i.raw", "checksum": "abc", "diskFormat": "raw"},
                    "hostSelector": {"matchLabels": labels}},
            }),
        );
    }

    /// The way into the workload cluster, which is the same API server.
    pub(crate) fn workload(&self) {
        self.kube.put(
            "secrets",
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
                "metadata": {"namespace": "ns", "name": "c-kubeconfig"},
                "data": {"value": base64(&self.kube.kubeconfig())},
            }),
        );
    }

    /// Waits until a Metal3Machine has a condition with this reason; its message.
    pub(crate) async fn reason(&self, machine: &str, type_: &str, reason: &str) -> String {
        wait::until(
            &format!("{type_} {reason} of {machine}"),
            wait::LONG,
            async || {
                let object = self.kube.get("metal3machines", machine).ok_or("no such object")?;
                let conditions = object["status"]["conditions"].as_array();
                let condition = conditions
                    .into_iter()
                    .flatten()
                    .find(|condition| condition["type"] == type_)
                    .ok_or_else(|| "no such condition".to_owned())?;
                if condition["reason"] == reason {
                    Ok(condition["message"].as_str().unwrap_or_default().to_owned())
                } else {
                    Err(condition.to_string())
                }
            },
        )
        .await
    }

    /// Status and text of `/readyz`.
    pub(crate) async fn readyz(&self) -> (u16, String) {
        metal3_testkit::http::get(&self.readyz_url()).await.unwrap()
    }

    fn readyz_url(&self) -> String {
        format!("http://127.0.0.1:{}/readyz", self.health)
    }

    /// Stops the provider, which must have been well until then.
    pub(crate) async fn stop(self) {
        assert!(
            !self.provider.is_finished(),
            "the provider ended: {:?}",
            self.provider.await
        );
        self.shutdown.cancel();
        self.provider.await.unwrap().unwrap();
    }
}

fn owner(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": kind, "name": name, "uid": format!("uid-{name}"),
        "controller": true,
    })
}

/// Base64, as Kubernetes shows the data of Secrets.
fn base64(text: &str) -> Value {
    json!(k8s_openapi::ByteString(text.as_bytes().to_vec()))
}
