//! One watch of all BareMetalHosts feeds both the index of the HostService and, while leading, the controller.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_kit::lease::Leadership;
use metal3_kit::probes::Condition;
use metal3_provisioner::HostKey;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::grpc::{HostIndex, project};

/// A host as it arrives: one that cannot be read must not stop the others.
pub(crate) type Guarded = DeserializeGuard<BareMetalHost>;

/// Where the watch delivers.
pub(crate) struct Feed {
    pub(crate) index: Arc<HostIndex>,
    pub(crate) writer: Writer<Guarded>,
    /// Hosts whose spec, annotations or finalizers changed; status changes are our own.
    pub(crate) triggers: UnboundedSender<Guarded>,
    pub(crate) leadership: Leadership,
    pub(crate) synced: Condition,
}

/// Watches until shutdown.
pub(crate) async fn run(
    client: Client,
    namespaces: Vec<String>,
    mut feed: Feed,
    shutdown: CancellationToken,
) {
    let apis: Vec<Api<Guarded>> = if namespaces.is_empty() {
        vec![Api::all(client)]
    } else {
        namespaces
            .iter()
            .map(|namespace| Api::namespaced(client.clone(), namespace))
            .collect()
    };
    // Several namespaces are several watches; the index is complete when each has listed once.
    let mut listing = apis.len();
    let streams = apis
        .into_iter()
        .map(|api| watcher(api, watcher::Config::default()).default_backoff().boxed());
    let mut events = futures::stream::select_all(streams);
    let single = listing == 1;
    let mut seen = HashMap::new();
    if !single {
        feed.index.listing_begins();
    }
    loop {
        let event = tokio::select! {
            event = events.try_next() => event,
            () = shutdown.cancelled() => return,
        };
        match event {
            Ok(Some(event)) => {
                feed.writer.apply_watcher_event(&event);
                take(&feed, event, single, &mut listing, &mut seen);
            }
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "the watch of hosts was interrupted"),
        }
    }
}

fn take(
    feed: &Feed,
    event: watcher::Event<Guarded>,
    single: bool,
    listing: &mut usize,
    seen: &mut HashMap<HostKey, u64>,
) {
    match event {
        watcher::Event::Init if single => feed.index.listing_begins(),
        watcher::Event::Init => {}
        watcher::Event::InitApply(host) | watcher::Event::Apply(host) => {
            let key = key(&host);
            if let Ok(host) = &host.0 {
                feed.index.upsert(key.clone(), project(host));
            }
            let mark = mark(&host);
            if seen.insert(key, mark) != Some(mark) && feed.leadership.held() {
                // The receiver ends with the process only.
                let _ = feed.triggers.send(host);
            }
        }
        watcher::Event::Delete(host) => {
            let key = key(&host);
            seen.remove(&key);
            if let Ok(host) = &host.0 {
                feed.index.remove(&key, project(host));
            }
        }
        watcher::Event::InitDone => {
            *listing = listing.saturating_sub(1);
            if *listing == 0 || single {
                feed.index.listing_ends();
                feed.synced.set(true);
            }
        }
    }
}

fn key(host: &Guarded) -> HostKey {
    HostKey::new(host.namespace().unwrap_or_default(), host.name_any())
}

/// What a pass depends on, apart from the status.
fn mark(host: &Guarded) -> u64 {
    let mut hasher = DefaultHasher::new();
    let metadata = host.meta();
    (&metadata.generation, &metadata.annotations, &metadata.finalizers).hash(&mut hasher);
    (metadata.deletion_timestamp.is_some(), &metadata.uid).hash(&mut hasher);
    hasher.finish()
}
