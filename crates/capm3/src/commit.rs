//! Writing to Kubernetes: each write is guarded by the resourceVersion that was decided on, and can be repeated.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::controller::Action;
use kube::{Api, Client, Resource, ResourceExt as _};
use metal3_capm3_core::condition;
use metal3_kit::backoff::Backoff;
use metal3_kit::client::brief;
use metal3_kit::lease::Leadership;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::metrics::Capm3Metrics;
use crate::objects::Key;

/// A pass that takes longer is given up and begun again: some server does not answer.
pub(crate) const PASS_DEADLINE: Duration = Duration::from_secs(60);
/// Whoever failed for long looks again within this time after the cause is gone: often nothing else tells.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_mins(1);
const CONFLICT_RETRY: Duration = Duration::from_millis(50);

/// Why a pass failed; never the user's fault.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("kubernetes: {}", brief(.0))]
    Kubernetes(#[from] kube::Error),
    /// Others were faster, several times in a row: coming back at once would make it worse.
    #[error("the host service: {0}")]
    Contended(String),
    #[error("{kind} {key} cannot be read: {error}; correct it by kubectl edit")]
    Malformed {
        kind: &'static str,
        key: Key,
        error: String,
    },
    #[error("no end after {} s", PASS_DEADLINE.as_secs())]
    Deadline,
    #[error("this replica no longer leads")]
    NotLeading,
}

impl Failure {
    /// Something changed meanwhile: try again at once.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Kubernetes(kube::Error::Api(status)) if status.code == 409)
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Kubernetes(kube::Error::Api(status)) if status.code == 404)
    }

    /// Why Kubernetes does not take what we wrote, however often we try.
    pub(crate) fn refusal(&self) -> Option<String> {
        match self {
            Self::Kubernetes(error @ kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
                Some(brief(error))
            }
            _ => None,
        }
    }
}

/// A kind that a controller looks at and writes.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// What is written, and what was written before.
pub(crate) struct Committer<K> {
    pub(crate) client: Client,
    pub(crate) leadership: Leadership,
    pub(crate) metrics: Capm3Metrics,
    pub(crate) backoff: Backoff<Key>,
    /// Lower-case kind, as metrics and upstream's logs name controllers.
    pub(crate) name: &'static str,
    /// Objects as they were after our last write, until the watch has caught up.
    written: Mutex<HashMap<Key, Arc<K>>>,
}

impl<K: Kind> Committer<K> {
    pub(crate) fn new(
        client: Client,
        leadership: Leadership,
        metrics: Capm3Metrics,
        name: &'static str,
    ) -> Self {
        Self {
            client,
            leadership,
            metrics,
            backoff: Backoff::default(),
            name,
            written: Mutex::default(),
        }
    }

    /// The watch may lag behind our own writes; deciding on the older object would repeat what was done.
    pub(crate) fn newest(&self, cached: &K) -> Arc<K> {
        let key = Key::of(cached);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(&key) {
            Some(own) if own.uid() == cached.uid() && version::<K>(own) > version(cached) => Arc::clone(own),
            Some(_) => {
                written.remove(&key);
                Arc::new(cached.clone())
            }
            None => Arc::new(cached.clone()),
        }
    }

    /// # Errors
    /// When another replica leads: nothing may be changed any more, here or at the host service.
    pub(crate) fn may_act(&self) -> Result<(), Failure> {
        if self.leadership.held() {
            Ok(())
        } else {
            Err(Failure::NotLeading)
        }
    }

    /// Merges a patch into metadata and spec.
    pub(crate) async fn patch(&self, current: &K, mut patch: Value) -> Result<K, Failure> {
        self.may_act()?;
        patch["metadata"]["resourceVersion"] = current.resource_version().into();
        let name = current.name_any();
        let object = self
            .api(current)
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        Ok(self.remember("metadata", object))
    }

    /// Writes the status that the object carries.
    pub(crate) async fn status(&self, object: &K) -> Result<K, Failure> {
        self.may_act()?;
        let name = object.name_any();
        let object = self
            .api(object)
            .replace_status(&name, &PostParams::default(), object)
            .await?;
        Ok(self.remember("status", object))
    }

    /// Takes a finalizer off; the object goes with the last one.
    pub(crate) async fn drop_finalizer(&self, current: &K, finalizer: &str) -> Result<(), Failure> {
        let rest: Vec<&String> = current
            .finalizers()
            .iter()
            .filter(|name| *name != finalizer)
            .collect();
        let patch = serde_json::json!({"metadata": {"finalizers": rest}});
        match self.patch(current, patch).await {
            Ok(_) => {}
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure),
        }
        self.forget(&Key::of(current));
        tracing::info!(controller = self.name, object = %Key::of(current), "finalizer removed");
        Ok(())
    }

    /// The finalizers with one more.
    pub(crate) fn with_finalizer(current: &K, finalizer: &str) -> Vec<String> {
        let mut finalizers = current.finalizers().to_vec();
        finalizers.push(finalizer.to_owned());
        finalizers
    }

    /// Events are told, not guaranteed: a failure is logged only.
    pub(crate) async fn publish(&self, object: &K, events: &[condition::Event]) {
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        for event in events {
            self.metrics.wrote("event", "object");
            let written = self.event(object, event);
            if let Err(error) = api.create(&PostParams::default(), &written).await {
                tracing::warn!(object = %Key::of(object), reason = event.reason, %error, "event not published");
            }
        }
    }

    fn event(&self, object: &K, event: &condition::Event) -> Event {
        let now = Time(Timestamp::now());
        let component = format!("{}-controller", self.name);
        Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", object.name_any())),
                namespace: object.namespace(),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                resource_version: None,
                ..object.object_ref(&())
            },
            reason: Some(event.reason.to_owned()),
            message: Some(event.message.clone()),
            type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            reporting_component: Some(format!("infrastructure.cluster.x-k8s.io/{component}")),
            source: Some(EventSource {
                component: Some(component),
                ..EventSource::default()
            }),
            ..Event::default()
        }
    }

    /// The delay before the next attempt on an object.
    pub(crate) fn delay(&self, key: &Key) -> Duration {
        self.backoff.next(key.clone(), rand::random())
    }

    /// Infrastructure trouble: conflicts at once, the rest with growing delay.
    pub(crate) fn after_failure(&self, key: &Key, failure: &Failure) -> Action {
        if failure.is_conflict() {
            tracing::debug!(controller = self.name, object = %key, error = %failure, "changed meanwhile");
            return Action::requeue(CONFLICT_RETRY);
        }
        let delay = self.delay(key).min(LONGEST_DELAY);
        tracing::warn!(controller = self.name, object = %key, error = %failure, ?delay, "pass failed");
        Action::requeue(delay)
    }

    fn forget(&self, key: &Key) {
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        self.backoff.forget(key);
    }

    fn remember(&self, part: &'static str, mut object: K) -> K {
        self.metrics.wrote(self.name, part);
        object.meta_mut().managed_fields = None;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        // Of two controllers that write the same object, the first may hear of it last.
        let stale = written
            .get(&Key::of(&object))
            .is_some_and(|known| known.uid() == object.uid() && version::<K>(known) > version(&object));
        if !stale {
            written.insert(Key::of(&object), Arc::new(object.clone()));
        }
        object
    }

    fn api(&self, object: &K) -> Api<K> {
        Api::namespaced(
            self.client.clone(),
            object.meta().namespace.as_deref().unwrap_or_default(),
        )
    }
}

/// Grows with each write of an object.
fn version<K: Resource>(object: &K) -> u64 {
    let version = object.meta().resource_version.as_deref();
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use metal3_api::infra::v1beta2::Metal3Machine;

    use super::*;

    fn machine(uid: &str, version: &str) -> Metal3Machine {
        Metal3Machine {
            metadata: ObjectMeta {
                name: Some("m".into()),
                uid: Some(uid.into()),
                resource_version: Some(version.into()),
                ..ObjectMeta::default()
            },
            ..Metal3Machine::default()
        }
    }

    #[tokio::test]
    async fn the_newest_of_what_was_read_and_written_counts_in_whatever_order_it_is_heard_of() {
        let nowhere = kube::Config::new(http::Uri::from_static("http://127.0.0.1:1"));
        let client = Client::try_from(nowhere).unwrap();
        let committer = Committer::new(
            client,
            Leadership::always(),
            Capm3Metrics::default(),
            "metal3machine",
        );
        let newest = |cached: &Metal3Machine| committer.newest(cached).resource_version().unwrap();
        for heard in ["9", "11", "10"] {
            committer.remember("metadata", machine("u", heard));
        }
        assert_eq!(newest(&machine("u", "9")), "11");
        // Another object of that name.
        assert_eq!(newest(&machine("v", "5")), "5");
        committer.remember("metadata", machine("v", "6"));
        assert_eq!(newest(&machine("v", "5")), "6");
        assert_eq!(newest(&machine("v", "7")), "7");
        assert_eq!(
            newest(&machine("v", "5")),
            "5",
            "what the watch has caught up with is forgotten"
        );
    }
}
