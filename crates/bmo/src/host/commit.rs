//! Writing a verdict: finalizer, results, status, other objects, events; the finalizer goes last. Each step can be
//! repeated.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Resource as _, ResourceExt as _};
use metal3_api::metal3::hardware_data::{HardwareData, HardwareDetails};
use metal3_api::metal3::host::BareMetalHost;
use metal3_api::names;
use metal3_host_core::{EventKind, Finish, Verdict, Write};
use metal3_provisioner::HostKey;
use serde_json::{Value, json};

use super::observe::key;
use super::reconcile::{Context, Failure};
use crate::metrics::HostError;
use crate::watch::Guarded;

/// Owner of the fields we apply.
const MANAGER: &str = "metal3-bmo";

/// Writes a verdict.
///
/// # Errors
/// A conflict means that the host changed since it was read; the next pass decides anew.
pub(super) async fn commit(context: &Context, host: &BareMetalHost, verdict: Verdict) -> Result<(), Failure> {
    if !context.leadership.held() {
        return Err(Failure::NotLeading);
    }
    let api: Api<BareMetalHost> =
        Api::namespaced(context.client.clone(), &host.namespace().unwrap_or_default());
    let mut current = host.clone();
    if verdict.finish == Finish::AddFinalizer {
        let mut finalizers = current.finalizers().to_vec();
        finalizers.push(names::FINALIZER_HOST.to_owned());
        current = set_finalizers(context, &api, &current, &finalizers).await?;
    }
    // The status records that inspection is over: after a crash in between nobody would write its result any more.
    let (results, writes): (Vec<_>, Vec<_>) = verdict
        .writes
        .into_iter()
        .partition(|write| matches!(write, Write::HardwareData(_)));
    for write in results {
        perform(context, &api, &current, write).await?;
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
        }
    }
    for write in writes {
        perform(context, &api, &current, write).await?;
    }
    for event in &verdict.events {
        if event.kind == EventKind::Warning && event.reason.ends_with("Error") {
            let labels = HostError {
                error_type: event.reason.to_owned(),
            };
            context.metrics.host_errors.get_or_create(&labels).inc();
        }
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
            Ok(_) => tracing::info!(host = %key(host), "host deleted"),
            Err(Failure::Kubernetes(kube::Error::Api(error))) if error.code == 404 => {}
            Err(failure) => return Err(failure),
        }
        context
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key(host));
    }
    Ok(())
}

fn remember(context: &Context, host: &BareMetalHost) {
    let mut written = context.written.lock().unwrap_or_else(PoisonError::into_inner);
    written.insert(key(host), Arc::new(host.clone()));
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
    host: &BareMetalHost,
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
            let host = api
                .patch(&host.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
                .await?;
            context.metrics.wrote("annotations");
            remember(context, &host);
        }
        Write::HardwareData(details) => {
            hardware_data(context, host, *details).await?;
            context.metrics.wrote("hardwaredata");
        }
        Write::ReleaseOwned => {
            context.secrets.release(host).await?;
            release_hardware_data(context, host).await?;
        }
    }
    Ok(())
}

async fn hardware_data(
    context: &Context,
    host: &BareMetalHost,
    details: HardwareDetails,
) -> Result<(), Failure> {
    let namespace = host.namespace().unwrap_or_default();
    let api: Api<HardwareData> = Api::namespaced(context.client.clone(), &namespace);
    let object = json!({
        "apiVersion": HardwareData::api_version(&()),
        "kind": HardwareData::kind(&()),
        "metadata": {
            "name": host.name_any(),
            "namespace": namespace,
            "ownerReferences": host.controller_owner_ref(&()).into_iter().collect::<Vec<_>>(),
        },
        "spec": {"hardware": details},
    });
    api.patch(
        &host.name_any(),
        &PatchParams::apply(MANAGER).force(),
        &Patch::Apply(&object),
    )
    .await?;
    Ok(())
}

/// Upstream puts a finalizer on its HardwareData; one that was taken over must not hold up the deletion.
async fn release_hardware_data(context: &Context, host: &BareMetalHost) -> Result<(), Failure> {
    let api: Api<HardwareData> =
        Api::namespaced(context.client.clone(), &host.namespace().unwrap_or_default());
    let Some(data) = api.get_metadata_opt(&host.name_any()).await? else {
        return Ok(());
    };
    if !data
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == names::FINALIZER_HARDWARE_DATA)
    {
        return Ok(());
    }
    let rest: Vec<_> = data
        .finalizers()
        .iter()
        .filter(|finalizer| *finalizer != names::FINALIZER_HARDWARE_DATA)
        .collect();
    let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": data.resource_version()}});
    api.patch_metadata(&host.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// Events are told, not guaranteed: a failure is logged only.
async fn publish(context: &Context, host: &BareMetalHost, event: &metal3_host_core::Event) {
    let told = Told {
        about: host.object_ref(&()),
        related: host.spec.consumer_ref.clone(),
        kind: event.kind,
        reason: event.reason,
        message: event.message.clone(),
    };
    publish_event(context, told).await;
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
    publish_event(context, told).await;
}

/// An event, before it is known when it is told.
struct Told {
    about: ObjectReference,
    related: Option<ObjectReference>,
    kind: EventKind,
    reason: &'static str,
    message: String,
}

async fn publish_event(context: &Context, told: Told) {
    let Told {
        about,
        related,
        kind,
        reason,
        message,
    } = told;
    let (namespace, name) = (
        about.namespace.clone().unwrap_or_default(),
        about.name.clone().unwrap_or_default(),
    );
    let api: Api<Event> = Api::namespaced(context.client.clone(), &namespace);
    let now = Time(Timestamp::now());
    let object = Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            resource_version: None,
            ..about
        },
        related,
        reason: Some(reason.to_owned()),
        message: Some(message),
        type_: Some(match kind {
            EventKind::Normal => "Normal".to_owned(),
            EventKind::Warning => "Warning".to_owned(),
        }),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(EventSource {
            component: Some("metal3-baremetal-controller".to_owned()),
            ..EventSource::default()
        }),
        reporting_component: Some("metal3.io/baremetal-controller".to_owned()),
        ..Event::default()
    };
    context.metrics.wrote("event");
    if let Err(error) = api.create(&PostParams::default(), &object).await {
        tracing::warn!(host = %HostKey::new(namespace, name), reason, %error, "event not published");
    }
}
