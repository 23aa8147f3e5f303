//! Events on hosts, from the controller and from the HostService.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use metal3_host_core::EventKind;
use metal3_provisioner::HostKey;

use crate::metrics::HostMetrics;

/// An event, before it is known when it is told.
pub(crate) struct Told {
    pub(crate) about: ObjectReference,
    pub(crate) related: Option<ObjectReference>,
    pub(crate) kind: EventKind,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Events are told, not guaranteed: a failure is logged only.
pub(crate) async fn publish(client: &Client, metrics: &HostMetrics, told: Told) {
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
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
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
    metrics.wrote("event");
    if let Err(error) = api.create(&PostParams::default(), &object).await {
        tracing::warn!(host = %HostKey::new(namespace, name), reason, %error, "event not published");
    }
}
