//! One watch of all BareMetalHosts feeds both the index of the HostService and, while leading, the controller.

mod guarded;
mod written;

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use futures::StreamExt as _;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use metal3_kit::lease::Leadership;
use metal3_kit::probes::Condition;
use metal3_provisioner::HostKey;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

pub(crate) use self::guarded::Guarded;
pub(crate) use self::written::Written;
use crate::grpc::{HostIndex, project};
use crate::metrics::HostMetrics;

/// Where the watch delivers.
pub(crate) struct Feed {
    pub(crate) index: Arc<HostIndex>,
    pub(crate) writer: Writer<Guarded>,
    /// Hosts whose spec, annotations or finalizers changed; status changes are our own.
    pub(crate) triggers: UnboundedSender<Guarded>,
    pub(crate) leadership: Leadership,
    pub(crate) synced: Condition,
    /// Learns what the watch has shown.
    pub(crate) written: Written,
    /// Forgets hosts that are gone.
    pub(crate) metrics: HostMetrics,
}

/// Watches until shutdown.
pub(crate) async fn run(client: Client, namespaces: Vec<String>, feed: Feed, shutdown: CancellationToken) {
    let apis: Vec<Api<Guarded>> = if namespaces.is_empty() {
        vec![Api::all(client)]
    } else {
        namespaces
            .iter()
            .map(|namespace| Api::namespaced(client.clone(), namespace))
            .collect()
    };
    let names = if namespaces.is_empty() {
        vec![String::new()]
    } else {
        namespaces
    };
    let mut scopes = Scopes::new(names, feed);
    let streams = apis.into_iter().enumerate().map(|(scope, api)| {
        watcher(api, watcher::Config::default())
            .default_backoff()
            .map(move |event| (scope, event))
            .boxed()
    });
    let mut events = futures::stream::select_all(streams);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = shutdown.cancelled() => return,
        };
        match event {
            Some((scope, Ok(event))) => scopes.take(scope, event),
            Some((_, Err(error))) => tracing::warn!(%error, "the watch of hosts was interrupted"),
            None => return,
        }
    }
}

impl Scope {
    /// Whether a host changed in something that matters.
    fn remember(&mut self, host: &Guarded) -> bool {
        let mark = mark(host);
        let known = Known {
            mark,
            host: host.clone(),
        };
        let before = self.known.insert(key(host), known).map(|known| known.mark);
        before != Some(mark)
    }
}

/// Several namespaces are several watches with one store behind them, which knows of one listing only: the first of
/// each makes it up together, and a later one is told as what it changed.
struct Scopes {
    feed: Feed,
    scopes: Vec<Scope>,
    /// Scopes that have not listed yet.
    pending: usize,
    /// Deletions that came before the store was complete.
    early: Vec<Guarded>,
}

#[derive(Default)]
struct Scope {
    /// The namespace; empty: all.
    name: String,
    /// What is known of each host, to tell changes that matter from our own writes.
    known: HashMap<HostKey, Known>,
    /// Hosts of a listing in progress.
    listing: Option<Listing>,
    listed: bool,
}

#[derive(Default)]
struct Listing {
    present: HashSet<HostKey>,
    /// The newest host in it: what happened up to then is in the listing.
    revision: u64,
}

struct Known {
    mark: u64,
    /// Shared with the store.
    host: Guarded,
}

impl Scopes {
    fn new(names: Vec<String>, mut feed: Feed) -> Self {
        feed.writer.apply_watcher_event(&watcher::Event::Init);
        Self {
            feed,
            pending: names.len(),
            scopes: names
                .into_iter()
                .map(|name| Scope {
                    name,
                    ..Scope::default()
                })
                .collect(),
            early: Vec::new(),
        }
    }

    fn take(&mut self, scope: usize, event: watcher::Event<Guarded>) {
        let Some(scope) = self.scopes.get_mut(scope) else {
            return;
        };
        match event {
            watcher::Event::Init => scope.listing = Some(Listing::default()),
            watcher::Event::InitApply(host) => {
                let listing = scope.listing.get_or_insert_default();
                listing.present.insert(key(&host));
                listing.revision = listing.revision.max(revision(&host));
                let changed = scope.remember(&host);
                if let Ok(host) = &host.0 {
                    self.feed.index.upsert(key(host.as_ref()), project(host));
                }
                self.applied(host, changed);
            }
            watcher::Event::Apply(host) => {
                let (name, shown) = (scope.name.clone(), revision(&host));
                let changed = scope.remember(&host);
                if let Ok(host) = &host.0 {
                    self.feed.index.changed(key(host.as_ref()), project(host));
                }
                self.feed.index.shown(&name, shown);
                self.applied(host, changed);
            }
            watcher::Event::Delete(host) => {
                let (name, shown) = (scope.name.clone(), revision(&host));
                scope.known.remove(&key(&host));
                self.deleted(host);
                self.feed.index.shown(&name, shown);
            }
            watcher::Event::InitDone => {
                let Listing { present, revision } = scope.listing.take().unwrap_or_default();
                let first = !std::mem::replace(&mut scope.listed, true);
                let name = scope.name.clone();
                let gone: Vec<Guarded> = scope
                    .known
                    .extract_if(|key, _| !present.contains(key))
                    .map(|(_, known)| known.host)
                    .collect();
                for host in gone {
                    self.deleted(host);
                }
                self.feed.index.shown(&name, revision);
                if first {
                    self.listed();
                }
            }
        }
    }

    /// One more scope has listed.
    fn listed(&mut self) {
        self.pending = self.pending.saturating_sub(1);
        if self.pending > 0 {
            return;
        }
        self.feed.writer.apply_watcher_event(&watcher::Event::InitDone);
        for host in std::mem::take(&mut self.early) {
            self.feed
                .writer
                .apply_watcher_event(&watcher::Event::Delete(host));
        }
        self.feed.index.complete();
        self.feed.synced.set(true);
    }

    fn applied(&mut self, host: Guarded, changed: bool) {
        if self.pending > 0 {
            // Nobody is woken: the controller begins with everything that the complete store holds.
            self.early.retain(|early| key(early) != key(&host));
            self.feed
                .writer
                .apply_watcher_event(&watcher::Event::InitApply(host));
            return;
        }
        self.feed
            .writer
            .apply_watcher_event(&watcher::Event::Apply(host.clone()));
        // After the store, see `Written::remember`.
        self.feed.written.shown(&key(&host), &host);
        if changed && self.feed.leadership.held() {
            // The receiver ends with the process only.
            let _ = self.feed.triggers.send(host);
        }
    }

    fn deleted(&mut self, host: Guarded) {
        if let Ok(host) = &host.0 {
            self.feed.index.remove(&key(host.as_ref()), project(host));
        }
        if self.pending > 0 {
            self.early.push(host);
            return;
        }
        let key = key(&host);
        self.feed
            .writer
            .apply_watcher_event(&watcher::Event::Delete(host));
        // After the store, as with what was written: a pass that counted itself looks there last.
        self.feed.written.gone(&key);
        self.feed.metrics.forget(&key);
    }
}

fn key<K: Resource>(host: &K) -> HostKey {
    HostKey::new(host.namespace().unwrap_or_default(), host.name_any())
}

/// Zero for one that is not a number, which Kubernetes does not have.
fn revision(host: &Guarded) -> u64 {
    let version = host.meta().resource_version.as_deref();
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// What a pass depends on, apart from the status.
fn mark(host: &Guarded) -> u64 {
    let mut hasher = DefaultHasher::new();
    let metadata = host.meta();
    (&metadata.generation, &metadata.annotations, &metadata.finalizers).hash(&mut hasher);
    (metadata.deletion_timestamp.is_some(), &metadata.uid).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use kube::runtime::reflector::{self, Store};
    use metal3_kit::probes::Readiness;
    use serde_json::json;
    use tokio::sync::mpsc::{self, UnboundedReceiver};

    use super::*;

    struct World {
        scopes: Scopes,
        store: Store<Guarded>,
        index: Arc<HostIndex>,
        triggered: UnboundedReceiver<Guarded>,
        written: Written,
        metrics: HostMetrics,
    }

    fn world(names: &[&str]) -> World {
        let (store, writer) = reflector::store();
        let (triggers, triggered) = mpsc::unbounded_channel();
        let index = Arc::<HostIndex>::default();
        let feed = Feed {
            index: Arc::clone(&index),
            writer,
            triggers,
            leadership: Leadership::always(),
            synced: Readiness::default().condition("hosts"),
            written: Written::default(),
            metrics: HostMetrics::default(),
        };
        let (metrics, written) = (feed.metrics.clone(), feed.written.clone());
        World {
            scopes: Scopes::new(names.iter().map(|&name| name.to_owned()).collect(), feed),
            store,
            index,
            triggered,
            written,
            metrics,
        }
    }

    fn host(namespace: &str, name: &str, generation: i64) -> Guarded {
        let metadata = json!({
            "namespace": namespace, "name": name, "generation": generation, "resourceVersion": generation.to_string()
        });
        let host = json!({"metadata": metadata, "spec": {"online": true}});
        serde_json::from_str(&host.to_string()).unwrap()
    }

    impl World {
        fn list(&mut self, scope: usize, hosts: Vec<Guarded>) {
            self.scopes.take(scope, watcher::Event::Init);
            for host in hosts {
                self.scopes.take(scope, watcher::Event::InitApply(host));
            }
            self.scopes.take(scope, watcher::Event::InitDone);
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> = self.store.state().iter().map(|host| host.name_any()).collect();
            names.sort();
            names
        }

        fn woken(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.triggered.try_recv().ok())
                .map(|host| host.name_any())
                .collect()
        }
    }

    #[test]
    fn two_namespaces_share_one_store_that_is_complete_with_the_last() {
        let mut world = world(&["a", "b"]);
        world.list(0, vec![host("a", "a1", 1)]);
        assert!(world.names().is_empty() && !world.index.synced());
        world.scopes.take(0, watcher::Event::Apply(host("a", "a2", 2)));
        world.scopes.take(0, watcher::Event::Delete(host("a", "a1", 3)));
        world.list(1, vec![host("b", "b1", 4)]);
        assert_eq!(world.names(), ["a2", "b1"]);
        assert!(world.index.synced());
        assert!(
            world.woken().is_empty(),
            "the controller begins with everything by itself"
        );
    }

    #[test]
    fn a_later_listing_is_told_as_what_it_changed_once_the_store_shows_it() {
        let mut world = world(&["a", "b"]);
        world.list(0, vec![host("a", "a1", 1), host("a", "a2", 2)]);
        world.list(1, vec![host("b", "b1", 3)]);
        world.list(0, vec![host("a", "a1", 1), host("a", "a3", 5)]);
        assert_eq!(world.names(), ["a1", "a3", "b1"]);
        assert_eq!(world.woken(), ["a3"]);
        assert_eq!(world.index.len(), 3);
    }

    #[test]
    fn a_claim_may_rely_on_what_was_listed_deleted_or_changed_by_then() {
        let mut world = world(&["a", "b"]);
        let reached = |world: &World, namespace: &str, revision| {
            let mut reached = Box::pin(world.index.reaches(namespace, revision));
            reached.as_mut().now_or_never().is_some()
        };
        world.scopes.take(0, watcher::Event::Init);
        world
            .scopes
            .take(0, watcher::Event::InitApply(host("a", "a1", 7)));
        assert!(
            !reached(&world, "a", 7),
            "an older host may follow in the listing"
        );
        world
            .scopes
            .take(0, watcher::Event::InitApply(host("a", "a2", 3)));
        world.scopes.take(0, watcher::Event::InitDone);
        assert!(reached(&world, "a", 7) && !reached(&world, "a", 8) && !reached(&world, "b", 1));
        world.scopes.take(0, watcher::Event::Apply(host("a", "a1", 8)));
        assert!(reached(&world, "a", 8) && !reached(&world, "a", 9));
        world.scopes.take(0, watcher::Event::Delete(host("a", "a1", 9)));
        assert!(reached(&world, "a", 9) && !reached(&world, "a", 10));
    }

    #[test]
    fn nothing_is_counted_any_more_of_a_host_that_is_gone() {
        let mut world = world(&["a"]);
        let names = ["deleted", "missed", "left"];
        world.list(0, names.iter().map(|name| host("a", name, 1)).collect());
        for name in names {
            world.metrics.pass(&HostKey::new("a", name));
        }
        world
            .scopes
            .take(0, watcher::Event::Delete(host("a", "deleted", 1)));
        // Its deletion was missed: it is not in the next listing.
        world.list(0, vec![host("a", "left", 1)]);
        let counted = |name| {
            let key = HostKey::new("a", name);
            world.metrics.passes_of(&key)
        };
        assert_eq!(names.map(counted), [None, None, Some(1)]);
    }

    #[test]
    fn an_own_write_counts_until_the_watch_shows_it_even_the_last_one() {
        let mut world = world(&["a"]);
        world.list(0, vec![host("a", "a1", 1)]);
        let key = HostKey::new("a", "a1");
        let at = |version| host("a", "a1", version).0.unwrap();
        let newest = |world: &World| world.written.newest(&key, &at(1)).resource_version();
        let write = |world: &World, version| {
            let own = Arc::unwrap_or_clone(at(version));
            world.written.remember(&world.store, key.clone(), own);
        };
        write(&world, 3);
        assert_eq!(newest(&world).as_deref(), Some("3"));
        world.scopes.take(0, watcher::Event::Apply(host("a", "a1", 2)));
        assert_eq!(newest(&world).as_deref(), Some("3"), "an older one was shown");
        world.scopes.take(0, watcher::Event::Apply(host("a", "a1", 3)));
        assert_eq!(world.written.len(), 0);
        // The answer to a write may come after the watch showed it.
        write(&world, 3);
        assert_eq!(world.written.len(), 0);
        write(&world, 4);
        world.scopes.take(0, watcher::Event::Delete(host("a", "a1", 5)));
        write(&world, 4);
        assert_eq!(world.written.len(), 0, "nothing is known of a host that is gone");
    }

    #[test]
    fn only_changes_that_a_decision_depends_on_wake_the_controller() {
        let mut world = world(&["a"]);
        world.list(0, vec![host("a", "a1", 1)]);
        world.scopes.take(0, watcher::Event::Apply(host("a", "a1", 1)));
        assert!(world.woken().is_empty());
        world.scopes.take(0, watcher::Event::Apply(host("a", "a1", 2)));
        assert_eq!(world.woken(), ["a1"]);
    }
}
