//! What a watch tells of the hosts: asking again and again would be most of what the API server has to do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use kube::api::{ApiResource, Object};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use serde::{Deserialize, Serialize};

/// As much of a host as is of interest; the rest is not even read.
type Brief = Object<Nothing, Status>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Nothing {}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
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
    pub(crate) state: String,
    pub(crate) powered_on: bool,
    pub(crate) error: String,
}

/// Follows the hosts of a namespace; clones share what was seen.
#[derive(Clone, Default)]
pub(crate) struct Followed(Arc<Mutex<HashMap<String, Seen>>>);

impl Followed {
    /// Follows until the process ends.
    pub(crate) fn start(client: Client, namespace: &str) -> Self {
        let api: Api<Brief> =
            Api::namespaced_with(client, namespace, &ApiResource::erase::<BareMetalHost>(&()));
        let followed = Self::default();
        let taker = followed.clone();
        tokio::spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
            while let Some(event) = events.next().await {
                if let Ok(event) = event {
                    taker.take(event);
                }
            }
        });
        followed
    }

    fn take(&self, event: watcher::Event<Brief>) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            watcher::Event::Apply(host) | watcher::Event::InitApply(host) => {
                let status = host.status.clone().unwrap_or_default();
                let seen = Seen {
                    state: status.provisioning.state,
                    powered_on: status.powered_on,
                    error: status.error_message,
                };
                hosts.insert(host.name_any(), seen);
            }
            watcher::Event::Delete(host) => {
                hosts.remove(&host.name_any());
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    /// How many hosts satisfy this.
    pub(crate) fn count(&self, wanted: impl Fn(&Seen) -> bool) -> usize {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .filter(|seen| wanted(seen))
            .count()
    }

    /// A host.
    pub(crate) fn get(&self, name: &str) -> Option<Seen> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }
}
