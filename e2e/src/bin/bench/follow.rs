//! What a watch tells of objects: asking again and again would be most of what the API server has to do.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use kube::api::{ApiResource, Object};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// As much of a host as is of interest; the rest is not even read.
pub(crate) type Brief = Object<Spec, Status>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    consumer_ref: Consumer,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Consumer {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    provisioning: Provisioning,
    powered_on: bool,
    error_message: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Provisioning {
    state: String,
}

/// A host as it was seen last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) uid: String,
    pub(crate) state: String,
    pub(crate) powered_on: bool,
    pub(crate) error: String,
    /// Name of the machine that it belongs to; empty when there is none.
    pub(crate) consumer: String,
}

impl Seen {
    pub(crate) fn of(host: &Brief) -> Self {
        let status = host.status.clone().unwrap_or_default();
        Self {
            uid: host.uid().unwrap_or_default(),
            state: status.provisioning.state,
            powered_on: status.powered_on,
            error: status.error_message,
            consumer: host.spec.consumer_ref.name.clone(),
        }
    }
}

/// The hosts of a namespace.
pub(crate) fn hosts(client: Client, namespace: &str) -> Api<Brief> {
    Api::namespaced_with(client, namespace, &ApiResource::erase::<BareMetalHost>(&()))
}

/// Follows objects; clones share what was seen.
#[derive(Clone)]
pub(crate) struct Followed<T>(Arc<Mutex<HashMap<String, T>>>);

impl<T: Clone + Send + 'static> Followed<T> {
    /// Follows until the process ends. Each change is told with what was seen before and after it.
    pub(crate) fn start<K>(
        api: Api<K>,
        seen: fn(&K) -> T,
        mut told: impl FnMut(&str, Option<&T>, Option<&T>) + Send + 'static,
    ) -> Self
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let followed = Self(Arc::default());
        let taker = followed.clone();
        tokio::spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                        let (name, after) = (object.name_any(), seen(&object));
                        let before = taker.with(|all| all.insert(name.clone(), after.clone()));
                        told(&name, before.as_ref(), Some(&after));
                    }
                    Ok(watcher::Event::Delete(object)) => {
                        let name = object.name_any();
                        let before = taker.with(|all| all.remove(&name));
                        told(&name, before.as_ref(), None);
                    }
                    // The watch begins again by itself.
                    Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
                }
            }
        });
        followed
    }

    /// How many satisfy this.
    pub(crate) fn count(&self, wanted: impl Fn(&T) -> bool) -> usize {
        self.with(|all| all.values().filter(|seen| wanted(seen)).count())
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> Option<T> {
        self.with(|all| all.get(name).cloned())
    }

    fn with<R>(&self, act: impl FnOnce(&mut HashMap<String, T>) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
