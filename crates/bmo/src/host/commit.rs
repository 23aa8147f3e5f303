//! Writing a verdict: finalizer, results, status, other objects, events; the finalizer goes last. Each step can be
//! repeated.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource as _, ResourceExt as _};
use metal3_api::metal3::host::{BareMetalHost, ProvisioningState};
use metal3_api::names;
use metal3_host_core::{EventKind, Finish, Verdict, Write};
use serde_json::{Value, json};

use super::observe::key;
use super::reconcile::{Context, Failure};
use crate::events::Told;
use crate::metrics::Facts;
use crate::watch::Guarded;

/// Writes a verdict, or tells how much longer it can wait.
///
/// # Errors
/// A conflict means that the host changed since it was read; the next pass decides anew.
pub(super) async fn commit(
    context: &Context,
    host: &BareMetalHost,
    verdict: Verdict,
) -> Result<Option<Duration>, Failure> {
    if !context.leadership.held() {
        return Err(Failure::NotLeading);
    }
    let only_observes = host
        .status
        .as_ref()
        .is_some_and(|before| verdict.only_observes(before));
    if only_observes && let Some(left) = context.late.left(&key(host)) {
        return Ok(Some(left));
    }
    context.late.forget(&key(host));
    let api: Api<BareMetalHost> =
        Api::namespaced(context.client.clone(), &host.namespace().unwrap_or_default());
    let mut current = host.clone();
    if verdict.finish == Finish::AddFinalizer {
        let mut finalizers = current.finalizers().to_vec();
        finalizers.push(names::FINALIZER_HOST.to_owned());
        current = set_finalizers(context, &api, &current, &finalizers).await?;
    }
    let facts = Facts::of(host, &verdict, Timestamp::now());
    // The status records that inspection is over: after a crash in between nobody would write its result any more. Its
    // conditions name the generation that the architecture makes.
    let (results, writes): (Vec<_>, Vec<_>) = verdict
        .writes
        .into_iter()
        .partition(|write| matches!(write, Write::HardwareData(_) | Write::Architecture(_)));
    for write in results {
        perform(context, &api, &mut current, write).await?;
    }
    if verdict.finish != Finish::RemoveFinalizer && host.status.as_ref() != Some(&verdict.status) {
        let unchanged = host.status.is_none() && verdict.status == Default::default();
        if !unchanged {
            current.status = Some(verdict.status);
            current = api
                .replace_status(&current.name_any(), &PostParams::default(), &current)
                .await?;
            context.metrics.wrote("status");
            remember(context, &current);
            report(host, &verdict.transitions);
        }
    }
    if verdict.finish != Finish::RemoveFinalizer {
        context.metrics.count(&key(host), &facts);
    }
    for write in writes {
        perform(context, &api, &mut current, write).await?;
    }
    for event in &verdict.events {
        publish(context, host, event).await;
    }
    if verdict.finish == Finish::RemoveFinalizer {
        let rest: Vec<String> = current
            .finalizers()
            .iter()
            .filter(|name| *name != names::FINALIZER_HOST)
            .cloned()
            .collect();
        match set_finalizers(context, &api, &current, &rest).await {
            Ok(_) => {
                report(host, &verdict.transitions);
                context.metrics.count(&key(host), &facts);
                context.metrics.forget(&key(host));
                tracing::info!(host = %key(host), "host deleted");
            }
            Err(Failure::Kubernetes(kube::Error::Api(error))) if error.code == 404 => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(None)
}

/// Tells of a change of state; only of one that was written, or it would be told again by the pass that writes it.
fn report(host: &BareMetalHost, transitions: &[(ProvisioningState, ProvisioningState)]) {
    for (from, to) in transitions {
        tracing::info!(host = %key(host), from = from.as_str(), to = to.as_str(), "state changed");
    }
}

fn remember(context: &Context, host: &BareMetalHost) {
    context.written.remember(&context.store, key(host), host.clone());
}

async fn set_finalizers(
    context: &Context,
    api: &Api<BareMetalHost>,
    host: &BareMetalHost,
    finalizers: &[String],
) -> Result<BareMetalHost, Failure> {
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": host.resource_version()}});
    let host = api
        .patch(&host.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    context.metrics.wrote("finalizer");
    remember(context, &host);
    Ok(host)
}

async fn perform(
    context: &Context,
    api: &Api<BareMetalHost>,
    host: &mut BareMetalHost,
    write: Write,
) -> Result<(), Failure> {
    match write {
        Write::RemoveAnnotations(annotations) => {
            let gone: serde_json::Map<String, Value> = annotations
                .into_iter()
                .map(|annotation| (annotation, Value::Null))
                .collect();
            // One that was set again meanwhile is a new request: the conflict saves it.
            let patch =
                json!({"metadata": {"annotations": gone, "resourceVersion": host.resource_version()}});
            *host = api
                .patch(&host.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
                .await?;
            context.metrics.wrote("annotations");
            remember(context, host);
        }
        Write::Architecture(architecture) => {
            let patch = json!({
                "metadata": {"resourceVersion": host.resource_version()},
                "spec": {"architecture": architecture},
            });
            *host = api
                .patch(&host.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
                .await?;
            context.metrics.wrote("architecture");
            remember(context, host);
        }
        Write::HardwareData(details) => {
            context.hardware.write(host, *details).await?;
        }
        Write::ReleaseOwned => {
            context.secrets.release(host).await?;
            context.hardware.release(host).await?;
            if let Some(images) = &context.images {
                images.release(host).await?;
            }
        }
    }
    Ok(())
}

async fn publish(context: &Context, host: &BareMetalHost, event: &metal3_host_core::Event) {
    let told = Told {
        about: host.object_ref(&()),
        related: host.spec.consumer_ref.clone(),
        kind: event.kind,
        reason: event.reason,
        message: event.message.clone(),
    };
    context.events.tell(told).await;
}

/// Says on a host that it cannot be read; its status cannot say so.
pub(super) async fn publish_unreadable(context: &Context, host: &Guarded, cause: &str) {
    let told = Told {
        about: host.object_ref(&()),
        related: None,
        kind: EventKind::Warning,
        reason: "InvalidObject",
        message: format!("the host cannot be read and is left alone: {cause}; correct it by kubectl edit"),
    };
    context.events.tell(told).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use http::{Method, Request, Response};
    use kube::Client;
    use kube::client::Body;
    use metal3_host_core::{BmcSecret, HostView, Observed, Settings, Step, step};
    use metal3_ironic::IronicProvisioner;
    use metal3_kit::backoff::Backoff;
    use metal3_kit::lease::Leadership;

    use super::super::hardware::Hardware;
    use super::super::late::Late;
    use super::super::secrets::Secrets;
    use super::super::trace::Traces;
    use super::*;
    use crate::events::Events;
    use crate::metrics::HostMetrics;
    use crate::watch::Written;

    /// An API server that answers writes of the status with this code, and everything else with what was sent or patched.
    fn api(host: &BareMetalHost, code: Arc<AtomicU16>) -> Client {
        let host = serde_json::to_vec(host).unwrap();
        let service = tower::service_fn(move |request: Request<Body>| {
            let status = request.method() == Method::PUT;
            let code = if status { code.load(Ordering::Relaxed) } else { 200 };
            let body = if code == 409 {
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409, "reason": "Conflict"})
                    .to_string()
                    .into_bytes()
            } else {
                host.clone()
            };
            let answer = Response::builder().status(code).body(Body::from(body)).unwrap();
            std::future::ready(Ok::<_, std::convert::Infallible>(answer))
        });
        Client::new(service, "metal3")
    }

    fn context(client: Client) -> Context {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endpoint = |name: &str| (name == "IRONIC_ENDPOINT").then(|| "http://ironic.test/v1/".to_owned());
        let settings = metal3_ironic::Settings::from_env(endpoint).unwrap();
        let metrics = HostMetrics::default();
        let (store, leadership) = (kube::runtime::reflector::store().0, Leadership::always());
        let parts = || (client.clone(), metrics.clone(), leadership.clone(), store.clone());
        let (a, b, c, d) = parts();
        let secrets = Secrets::new(a, b, c, d, &[]).0;
        let (a, b, c, d) = parts();
        let hardware = Hardware::new(a, b, c, d, &[]).0;
        Context {
            secrets,
            hardware,
            images: None,
            events: Events::new(client.clone(), metrics.clone()),
            client,
            backend: IronicProvisioner::new(settings).unwrap().0,
            leadership,
            metrics,
            settings: Settings::default(),
            store,
            backoff: Backoff::default(),
            written: Written::default(),
            traces: Traces::default(),
            late: Late::default(),
        }
    }

    fn host(spec: &Value) -> BareMetalHost {
        serde_json::from_value(json!({
            "metadata": {
                "name": "a", "namespace": "metal3", "resourceVersion": "1", "generation": 1,
                "finalizers": ["baremetalhost.metal3.io"],
            },
            "spec": spec,
        }))
        .unwrap()
    }

    /// Of a host that needs no answers.
    fn verdict(context: &Context, host: &BareMetalHost) -> Verdict {
        let view = HostView {
            host,
            hardware: None,
            secret: BmcSecret::NotNeeded,
            settings: &context.settings,
        };
        match step(&view, &Observed::default(), Timestamp::UNIX_EPOCH) {
            Step::Finish(verdict) => *verdict,
            Step::Ask(ask) => panic!("{ask:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_only_observes_the_spec_waits_a_moment() {
        let mut host = host(&json!({"online": true}));
        let context = context(api(&host, Arc::new(AtomicU16::new(200))));
        let written = || context.metrics.writes_of("status");
        let first = verdict(&context, &host);
        assert_eq!(commit(&context, &host, first).await.unwrap(), None);
        host.status = Some(verdict(&context, &host).status);
        assert_eq!(written(), 1);

        host.metadata.generation = Some(2);
        let observes = verdict(&context, &host);
        let left = commit(&context, &host, observes.clone()).await.unwrap().unwrap();
        assert_eq!(written(), 1);
        tokio::time::advance(left).await;
        assert_eq!(commit(&context, &host, observes).await.unwrap(), None);
        assert_eq!(written(), 2);

        // What says more is written at once.
        host.spec.bmc =
            serde_json::from_value(json!({"address": "redfish://bmc/1", "credentialsName": "s"})).unwrap();
        assert_eq!(
            commit(&context, &host, verdict(&context, &host)).await.unwrap(),
            None
        );
        assert_eq!(written(), 3);
    }

    #[tokio::test]
    async fn a_change_of_state_is_told_once_it_is_written() {
        let bmc = json!({"address": "redfish://bmc/redfish/v1/Systems/1", "credentialsName": "s"});
        let host = host(&json!({"online": true, "bmc": bmc}));
        let code = Arc::new(AtomicU16::new(409));
        let context = context(api(&host, Arc::clone(&code)));
        let verdict = verdict(&context, &host);
        let (from, to) = verdict.transitions[0].clone();
        let told = || context.metrics.transitions_of(from.as_str(), to.as_str());
        let lost = commit(&context, &host, verdict.clone()).await.unwrap_err();
        assert!(lost.is_conflict(), "{lost}");
        assert_eq!(told(), None);
        code.store(200, Ordering::Relaxed);
        commit(&context, &host, verdict).await.unwrap();
        assert_eq!(told(), Some(1));
    }
}
