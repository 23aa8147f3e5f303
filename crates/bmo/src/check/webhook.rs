//! Whether the API server asks the webhook of BareMetalHosts, and gets the right answers.
//!
//! Only a request that the webhook has to judge shows that: the configuration, its CA, the Service and the pods behind it
//! are all needed for the answer. Nothing is stored by a dry run.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client};
use metal3_api::metal3::host::BareMetalHost;
use metal3_kit::check::found;
use metal3_kit::client::brief;
use serde_json::{Value, json};

/// The API server waits up to 30 s for a webhook.
const LIMIT: Duration = Duration::from_secs(40);
const WEBHOOK: &str = "baremetalhost.metal3.io";
/// What it says against the host below.
const OBJECTION: &str = "spec.firmware:";

/// What became of a host on trial.
#[derive(Debug, PartialEq, Eq)]
enum Trial {
    Accepted,
    /// By the webhook, with its words.
    Denied(String),
    /// By something else, with its words and what to do.
    Failed(String, &'static str),
}

/// Has two hosts judged in this namespace.
///
/// # Errors
/// When the wrong one is accepted, or the right one is not.
pub(super) async fn judges(client: &Client, namespace: &str) -> Result<()> {
    let hosts: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        namespace,
        &ApiResource::erase::<BareMetalHost>(&()),
    );
    match tried(&hosts, json!({"online": false, "firmware": {}})).await? {
        Trial::Denied(words) if words.contains(OBJECTION) => found(&format!(
            "webhook {WEBHOOK} refuses a wrong BareMetalHost in namespace {namespace}"
        )),
        Trial::Denied(words) => bail!(
            "a wrong BareMetalHost in namespace {namespace} is refused for another reason than {OBJECTION} {words}; see \
             whether another webhook is between (kubectl get validatingwebhookconfigurations), and whether bmo is of this \
             release"
        ),
        Trial::Accepted => bail!(
            "the API server accepts a wrong BareMetalHost in namespace {namespace}: it does not ask webhook {WEBHOOK}; see \
             whether the ValidatingWebhookConfiguration of the chart metal3-bmo is there, selects this namespace, and has \
             failurePolicy Fail"
        ),
        Trial::Failed(words, remedy) => {
            bail!("no BareMetalHost can be made in namespace {namespace}: {words}; {remedy}")
        }
    }
    match tried(&hosts, json!({"online": false})).await? {
        Trial::Accepted => found(&format!(
            "webhook {WEBHOOK} lets a right BareMetalHost pass in namespace {namespace}"
        )),
        Trial::Denied(words) => bail!(
            "a right BareMetalHost is refused in namespace {namespace}: {words}; see whether another webhook is between \
             (kubectl get validatingwebhookconfigurations), and the log of bmo"
        ),
        Trial::Failed(words, remedy) => {
            bail!("a right BareMetalHost cannot be made in namespace {namespace}: {words}; {remedy}")
        }
    }
    Ok(())
}

async fn tried(hosts: &Api<DynamicObject>, spec: Value) -> Result<Trial> {
    let host: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "metal3.io/v1alpha1",
        "kind": "BareMetalHost",
        "metadata": {"generateName": "check-"},
        "spec": spec,
    }))?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let answer = tokio::time::timeout(LIMIT, hosts.create(&params, &host))
        .await
        .with_context(|| {
            format!(
                "the Kubernetes API does not answer within {} s: see whether a NetworkPolicy is between",
                LIMIT.as_secs()
            )
        })?;
    match answer {
        Ok(_) => Ok(Trial::Accepted),
        Err(kube::Error::Api(status)) => {
            let words = brief(&kube::Error::Api(status.clone()));
            Ok(judged(status.code, &status.message, words))
        }
        Err(error) => Err(anyhow::Error::new(error).context(
            "the Kubernetes API cannot be reached: see the ServiceAccount of this pod, or --kubeconfig",
        )),
    }
}

fn judged(code: u16, message: &str, words: String) -> Trial {
    if message.contains("denied the request") {
        return Trial::Denied(words);
    }
    Trial::Failed(words, remedy(code, message))
}

/// What to do, from the words of the API server.
fn remedy(code: u16, message: &str) -> &'static str {
    let says = |part: &str| message.contains(part);
    if !says("failed calling webhook") {
        return match code {
            403 if says("forbidden") => {
                "let this ServiceAccount create baremetalhosts there, as the Role of the chart's test does"
            }
            404 => "see whether the chart metal3-crds is installed, and whether the namespace exists",
            _ => "see the log of kube-apiserver",
        };
    }
    if says("unknown authority") || says("not trusted") {
        "the caBundle of the ValidatingWebhookConfiguration is missing or of another CA: with cert-manager, see whether \
         its cainjector runs and the annotation cert-manager.io/inject-ca-from is there; self-signed, see the log of bmo; \
         with tls.source secret, give tls.caBundle"
    } else if says("x509: certificate is valid for") || says("x509: certificate is not valid for any names") {
        "the certificate of the webhooks is for another name: it has to have baremetal-operator-webhook-service.<namespace>.svc"
    } else if says("x509:") {
        "the certificate of the webhooks cannot be used: see whether it was renewed, and the log of bmo"
    } else if says("service \"") && says("not found") {
        "the Service of the webhooks is missing: install the chart metal3-bmo again, with webhooks.enabled"
    } else if says("no endpoints available") || says("connection refused") {
        "no pod answers behind the Service of the webhooks: see whether bmo is ready (kubectl get pods) and serves \
         webhooks (--webhook-port)"
    } else if says("deadline exceeded") || says("timeout") || says("no route to host") {
        "the API server does not reach the pods of bmo: see whether a NetworkPolicy or a firewall is between it and port 9443"
    } else if says("tls:") {
        "the API server and bmo have no TLS in common: see --tls-min-version and --tls-max-version of bmo"
    } else {
        "see the log of bmo"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "failed calling webhook \"baremetalhost.metal3.io\": failed to call webhook: Post \"https://a.b.svc:443/\": ";

    #[test]
    fn each_failure_of_the_api_server_has_its_remedy() {
        for (code, message, part) in [
            (
                500,
                "x509: certificate signed by unknown authority",
                "the caBundle of",
            ),
            (
                500,
                "x509: certificate is valid for b, not a.b.svc",
                "for another name",
            ),
            (
                500,
                "x509: certificate has expired or is not yet valid",
                "renewed",
            ),
            (
                500,
                "service \"a\" not found",
                "the Service of the webhooks is missing",
            ),
            (
                500,
                "no endpoints available for service \"a\"",
                "kubectl get pods",
            ),
            (
                500,
                "dial tcp 10.0.0.1:443: connect: connection refused",
                "kubectl get pods",
            ),
            (500, "context deadline exceeded", "NetworkPolicy"),
            (500, "dial tcp 10.0.0.1:443: i/o timeout", "NetworkPolicy"),
            (
                500,
                "remote error: tls: protocol version not supported",
                "--tls-min-version",
            ),
            (500, "EOF", "log of bmo"),
        ] {
            let message = format!("{CALL}{message}");
            let remedy = remedy(code, &message);
            assert!(remedy.contains(part), "{message}: {remedy}");
        }
        let forbidden = "baremetalhosts.metal3.io is forbidden: User \"a\" cannot create";
        assert!(remedy(403, forbidden).contains("Role"));
        assert!(remedy(404, "the server could not find the requested resource").contains("metal3-crds"));
    }

    #[test]
    fn a_refusal_by_the_webhook_is_no_failure() {
        let denied = "admission webhook \"baremetalhost.metal3.io\" denied the request: spec.firmware: no";
        assert_eq!(judged(403, denied, "words".into()), Trial::Denied("words".into()));
        let failed = format!("{CALL}EOF");
        assert!(matches!(judged(500, &failed, String::new()), Trial::Failed(..)));
    }
}
