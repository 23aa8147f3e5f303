//! `metal3-capm3 check`: the webhooks as the API server sees them, and the HostService as this provider does.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use metal3_kit::check::{ClientFiles, Server, found};
use metal3_rpc::client::{Config, HostClient};
use metal3_rpc::v1::ListHostsRequest;
use serde_json::{Value, json};
use tonic::Code;

use crate::hosts::args::identity;

/// Of the review; it comes back with the answer.
const UID: &str = "metal3-capm3-check";

/// Where to look.
#[derive(clap::Args, Clone, Debug)]
pub struct CheckArgs {
    /// URL of the webhooks.
    #[arg(long)]
    pub webhook: String,
    /// PEM file of the CA that the API server trusts for them; without it the certificate needs the right name only.
    #[arg(long)]
    pub webhook_ca_file: Option<PathBuf>,
    /// URL of the HostService.
    #[arg(long)]
    pub host_service: String,
    /// PEM file of the CA that signed its certificate.
    #[arg(long)]
    pub host_service_ca_file: PathBuf,
    /// File with the ServiceAccount token for it, audience metal3-host-service.
    #[arg(long)]
    pub host_service_token_file: PathBuf,
    /// PEM file of a client certificate, if the HostService asks for one.
    #[arg(long, requires = "host_service_key_file")]
    pub host_service_cert_file: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, requires = "host_service_cert_file")]
    pub host_service_key_file: Option<PathBuf>,
    /// Namespace whose hosts the ServiceAccount may list.
    #[arg(long, env = "POD_NAMESPACE", default_value = "capm3-system")]
    pub namespace: String,
}

/// Looks at running webhooks and at the HostService, and tells what it finds.
///
/// # Errors
/// At the first thing that is not as it should be.
pub async fn check(args: &CheckArgs) -> Result<()> {
    let webhook = Server::new("webhook", &args.webhook, args.webhook_ca_file.as_deref())?;
    converts(&webhook).await?;
    let hosts = Server::new(
        "host service",
        &args.host_service,
        Some(&args.host_service_ca_file),
    )?
    .shown(ClientFiles::given(
        args.host_service_cert_file.as_deref(),
        args.host_service_key_file.as_deref(),
    ));
    // A connection of its own, because it knows why a certificate is refused.
    hosts.verified().await?;
    lists(&hosts, args).await
}

/// Reads an old Metal3Cluster as the API server does.
async fn converts(webhook: &Server) -> Result<()> {
    let review = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "request": {
            "uid": UID,
            "desiredAPIVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
            "objects": [{
                "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
                "kind": "Metal3Cluster",
                "metadata": {"name": "check", "namespace": "check"},
                "spec": {"controlPlaneEndpoint": {"host": "192.0.2.1", "port": 6443}, "cloudProviderEnabled": false},
                "status": {"ready": true},
            }],
        },
    });
    let answer = webhook.post("/convert", review.to_string().into_bytes()).await?;
    let odd = || {
        format!(
            "{webhook} converts a Metal3Cluster of v1beta1 wrongly to {}: see whether capm3 is of this release, and its log",
            String::from_utf8_lossy(&answer)
        )
    };
    let answer: Value = serde_json::from_slice(&answer).with_context(odd)?;
    ensure!(rightly(&answer["response"]), odd());
    found(&format!(
        "{webhook} converts a Metal3Cluster from v1beta1 to v1beta2"
    ));
    Ok(())
}

fn rightly(response: &Value) -> bool {
    let object = &response["convertedObjects"][0];
    let spec = &object["spec"];
    response["uid"] == UID
        && response["result"]["status"] == "Success"
        && object["apiVersion"] == "infrastructure.cluster.x-k8s.io/v1beta2"
        && object["metadata"]["name"] == "check"
        && spec["controlPlaneEndpoint"] == json!({"host": "192.0.2.1", "port": 6443})
        && spec["cloudProviderEnabled"] == false
        // A field that moved.
        && object["status"]["initialization"]["provisioned"] == true
}

/// Only OK proves the whole way: that the token is for the HostService, that Kubernetes knows it, and that the role of
/// this ServiceAccount reaches the namespace.
async fn lists(server: &Server, args: &CheckArgs) -> Result<()> {
    let client = HostClient::new(&Config {
        ca_file: Some(args.host_service_ca_file.clone()),
        token_file: Some(args.host_service_token_file.clone()),
        identity: identity(
            args.host_service_cert_file.clone(),
            args.host_service_key_file.clone(),
        ),
        ..Config::new(&args.host_service)
    })?;
    let namespace = &args.namespace;
    let request = ListHostsRequest {
        namespace: namespace.clone(),
        page_size: 1,
        ..ListHostsRequest::default()
    };
    client.list_hosts(request).await.map_err(|status| {
        let remedy = match status.code() {
            Code::Unauthenticated => {
                "the token of --host-service-token-file has to be of this cluster, for audience metal3-host-service"
            }
            Code::PermissionDenied => "see the Role or ClusterRole of this ServiceAccount in the chart metal3-capm3",
            _ => "see the log of bmo",
        };
        anyhow::anyhow!(
            "{server} does not list the hosts of namespace {namespace} to this ServiceAccount: {:?} {}; {remedy}",
            status.code(),
            status.message()
        )
    })?;
    found(&format!(
        "{server} lists the hosts of namespace {namespace} to this ServiceAccount"
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_right_only_with_everything_in_its_place() {
        let right = json!({
            "uid": UID, "result": {"status": "Success"},
            "convertedObjects": [{
                "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "Metal3Cluster",
                "metadata": {"name": "check", "namespace": "check"},
                "spec": {"controlPlaneEndpoint": {"host": "192.0.2.1", "port": 6443}, "cloudProviderEnabled": false},
                "status": {"initialization": {"provisioned": true}},
            }],
        });
        assert!(rightly(&right));
        for path in [
            "/uid",
            "/result/status",
            "/convertedObjects/0/apiVersion",
            "/convertedObjects/0/metadata/name",
            "/convertedObjects/0/spec/controlPlaneEndpoint/port",
            "/convertedObjects/0/spec/cloudProviderEnabled",
            "/convertedObjects/0/status/initialization",
        ] {
            let mut wrong = right.clone();
            *wrong.pointer_mut(path).unwrap() = Value::Null;
            assert!(!rightly(&wrong), "{path}");
        }
    }
}
