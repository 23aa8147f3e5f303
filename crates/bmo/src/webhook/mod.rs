//! Admission, under upstream's paths. The rules are in `metal3-admission`; here is what they need of the world.
//!
//! All replicas admit, whoever leads. Our own writes come this way, too: a rule looks only at what a write changes, and
//! the listener is there before the first pass over a host.

mod attachment;

use std::sync::Arc;

use anyhow::Result;
use kube::Client;
use metal3_admission::{
    Attachment, DataImage, EventSubscription, Findings, FirmwareComponents, Host, HostClaim, Subject, review,
};
use metal3_kit::probes::Readiness;
use metal3_kit::shutdown::TaskSet;
use metal3_kit::tls::{Offer, Protocol, Source, Target, TlsListener};
use metal3_kit::webhook::{Admission, Verdict, Webhooks};
use tokio_util::sync::CancellationToken;

use crate::Args;

/// What makes the API server call; the name is upstream's, and the chart's.
const CONFIGURATION: &str = "baremetal-operator-validating-webhook-configuration";
/// Upstream serves these and registers them nowhere; configurations of its users may.
const DEFAULTED: [&str; 4] = [
    "baremetalhost",
    "bmceventsubscription",
    "dataimage",
    "hostfirmwarecomponents",
];

/// Starts them, unless the flags turn them off.
///
/// # Errors
/// When there is no certificate, or the port is taken.
pub(crate) async fn start(
    args: &Args,
    offer: &Offer,
    client: &Client,
    readiness: &Readiness,
    tasks: &mut TaskSet,
    shutdown: &CancellationToken,
) -> Result<()> {
    if args.webhook_port == 0 {
        tracing::warn!(
            "no webhooks are served: what is wrong with an object shows only once it is worked on"
        );
        return Ok(());
    }
    let ready = readiness.condition("webhook");
    let certificate = certificate(args).open(client, tasks, shutdown).await?;
    let address = format!(":{}", args.webhook_port);
    let listener = TlsListener::bind_with(&address, Arc::clone(&certificate), Protocol::Http1, offer).await?;
    tracing::info!(address = %listener.local_addr(), "webhooks listen");
    ready.set(true);
    let users = attachment::Users {
        client: client.clone(),
        namespaces: args.namespaces(),
    };
    tasks.spawn("webhooks", all(users).serve(listener, shutdown.clone()));
    Ok(())
}

/// The certificate of the webhooks, from where the flags say.
fn certificate(args: &Args) -> Source<'_> {
    Source {
        missing: "the webhooks have no certificate; see --webhook-cert-dir and --webhook-cert-secret, or turn them off by \
                  --webhook-port=0",
        folder: &args.webhook_cert_dir,
        secret: &args.webhook_cert_secret,
        service: &args.webhook_service_name,
        namespace: &args.pod_namespace,
        callers: vec![Target::Validating(CONFIGURATION.into())],
    }
}

fn all(users: attachment::Users) -> Webhooks {
    let webhooks = Webhooks::default()
        .admission(&path("validate", "baremetalhost"), judge::<Host>)
        .admission(
            &path("validate", "bmceventsubscription"),
            judge::<EventSubscription>,
        )
        .admission(&path("validate", "dataimage"), judge::<DataImage>)
        .admission(&path("validate", "hostclaim"), judge::<HostClaim>)
        .admission(
            &path("validate", "hostfirmwarecomponents"),
            judge::<FirmwareComponents>,
        )
        .admission_by(
            &path("validate", "hostnetworkattachment"),
            move |request: Admission| {
                let users = users.clone();
                async move {
                    let mut findings = judged::<Attachment>(&request);
                    let used = users.object(&request).await;
                    findings.errors.extend(used.errors);
                    findings.warnings.extend(used.warnings);
                    verdict(findings)
                }
            },
        );
    DEFAULTED.iter().fold(webhooks, |webhooks, kind| {
        webhooks.admission(&path("mutate", kind), |_| Verdict::default())
    })
}

fn path(verb: &str, kind: &str) -> String {
    format!("/{verb}-metal3-io-v1alpha1-{kind}")
}

fn judge<S: Subject>(request: &Admission) -> Verdict {
    verdict(judged::<S>(request))
}

/// There is no object when it is deleted, and nothing to say of it as such.
fn judged<S: Subject>(request: &Admission) -> Findings {
    if request.object.is_null() {
        return Findings::default();
    }
    review::<S>(&request.object, request.old_object.as_ref())
}

fn verdict(findings: Findings) -> Verdict {
    Verdict {
        errors: findings.errors,
        warnings: findings.warnings,
        patch: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deletion_is_not_judged_by_what_the_object_is() {
        let bad = json!({"metadata": {"name": "a"}, "spec": {"url": "b"}});
        let request = |object: serde_json::Value| Admission {
            operation: String::new(),
            object,
            old_object: Some(bad.clone()),
            dry_run: false,
        };
        assert_eq!(
            judge::<DataImage>(&request(serde_json::Value::Null)),
            Verdict::default()
        );
        let worse = json!({"metadata": {"name": "a"}, "spec": {"url": "c"}});
        assert_eq!(judge::<DataImage>(&request(worse)).errors.len(), 1);
    }
}
