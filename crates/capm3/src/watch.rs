//! One watch per kind fills a store and tells what changed; `kinds.rs` says which facts count, and whom they concern.

mod kinds;

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash, Hasher as _};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use metal3_kit::backoff::Backoff;
use metal3_kit::probes::Condition;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::interruptions::{Interruptions, is_absent};
use crate::objects::{Guarded, Key, Objects};
use crate::wake::Wakes;

/// The longest time between looks at a kind that is not there: somebody just installs it.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// A kind that is watched.
pub(crate) trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The facts that decisions depend on, besides those we write ourselves.
    fn mark(&self, hasher: &mut DefaultHasher);

    /// Wakes those who depend on the object.
    fn wake(&self, objects: &Objects, wakes: &Wakes);

    /// Wakes those who waited for its end.
    fn gone(&self, _objects: &Objects, _wakes: &Wakes) {}
}

/// Follows a kind until shutdown.
pub(crate) struct Watch<K: Watched> {
    pub(crate) client: Client,
    /// Empty: all.
    pub(crate) namespace: String,
    pub(crate) writer: Writer<Guarded<K>>,
    pub(crate) objects: Objects,
    pub(crate) wakes: Wakes,
    pub(crate) synced: Condition,
    pub(crate) interruptions: Interruptions,
}

impl<K: Watched> Watch<K> {
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let api: Api<Guarded<K>> = match self.namespace.as_str() {
            "" => Api::all(self.client.clone()),
            namespace => Api::namespaced(self.client.clone(), namespace),
        };
        let mut events = watcher(api, watcher::Config::default())
            .modify(|object| object.meta_mut().managed_fields = None)
            .boxed();
        let (mut seen, backoff) = (Seen::default(), Backoff::default());
        loop {
            let event = tokio::select! {
                event = events.try_next() => event,
                () = shutdown.cancelled() => return,
            };
            let delay = match event {
                Ok(Some(event)) => {
                    // Each attempt begins with this one, also those that fail.
                    if !matches!(event, watcher::Event::Init) {
                        backoff.forget(&());
                    }
                    self.take(event, &mut seen);
                    continue;
                }
                Ok(None) => return,
                Err(error) => {
                    self.interrupted(&error, seen.complete);
                    backoff.next((), rand::random()).min(LONGEST_DELAY)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Says why nothing is known yet, or nothing new.
    fn interrupted(&self, error: &watcher::Error, complete: bool) {
        let version = K::api_version(&());
        let tell = self.interruptions.tell(&version);
        if !is_absent(error) {
            if tell {
                tracing::warn!(kind = %K::kind(&()), %error, "watch interrupted; it starts again");
            }
            return;
        }
        let absent = format!("{}.{}", K::plural(&()), K::group(&()));
        let remedy = if K::group(&()).starts_with("infrastructure.") {
            "install the CRDs (chart metal3-crds)"
        } else {
            "install Cluster API (clusterctl init)"
        };
        if !complete {
            self.synced.wait_for(format!("{absent}: {remedy}"));
        }
        if tell {
            tracing::warn!(%version, "waiting for {absent}, which Kubernetes does not serve: {remedy}");
        }
    }

    fn take(&mut self, event: watcher::Event<Guarded<K>>, seen: &mut Seen<K>) {
        self.writer.apply_watcher_event(&event);
        match event {
            watcher::Event::Init => seen.begin(),
            watcher::Event::InitApply(object) => seen.list(object),
            watcher::Event::InitDone => {
                // The store shows a listing only when it is complete: nobody may be woken before. The first one wakes
                // nobody, because controllers begin with everything.
                let first = !std::mem::replace(&mut seen.complete, true);
                for object in seen.end() {
                    if !first || object.0.is_err() {
                        self.changed(&object);
                    }
                }
                if first {
                    self.objects.listed();
                }
                self.interruptions.over(&K::api_version(&()));
                self.synced.set(true);
            }
            watcher::Event::Apply(object) => {
                if seen.apply(&object) {
                    self.changed(&object);
                }
            }
            watcher::Event::Delete(object) => {
                seen.marks.remove(&Key::of(&object));
                if let Ok(object) = &object.0 {
                    object.gone(&self.objects, &self.wakes);
                    object.wake(&self.objects, &self.wakes);
                }
            }
        }
    }

    fn changed(&self, object: &Guarded<K>) {
        match &object.0 {
            Ok(object) => object.wake(&self.objects, &self.wakes),
            Err(error) => tracing::error!(
                kind = %K::kind(&()), object = %Key::of(object), %error,
                "object cannot be read; correct it by kubectl edit"
            ),
        }
    }
}

/// What was known of each object, to tell changes that matter from our own writes.
struct Seen<K: Watched> {
    marks: HashMap<Key, u64>,
    listing: HashMap<Key, u64>,
    changed: Vec<Guarded<K>>,
    /// A first listing was read.
    complete: bool,
}

impl<K: Watched> Default for Seen<K> {
    fn default() -> Self {
        Self {
            marks: HashMap::new(),
            listing: HashMap::new(),
            changed: Vec::new(),
            complete: false,
        }
    }
}

impl<K: Watched> Seen<K> {
    fn begin(&mut self) {
        self.listing.clear();
        self.changed.clear();
    }

    fn list(&mut self, object: Guarded<K>) {
        let (key, mark) = (Key::of(&object), mark(&object));
        if self.marks.get(&key) != Some(&mark) {
            self.changed.push(object);
        }
        self.listing.insert(key, mark);
    }

    fn end(&mut self) -> Vec<Guarded<K>> {
        self.marks = std::mem::take(&mut self.listing);
        std::mem::take(&mut self.changed)
    }

    fn apply(&mut self, object: &Guarded<K>) -> bool {
        let mark = mark(object);
        self.marks.insert(Key::of(object), mark) != Some(mark)
    }
}

fn mark<K: Watched>(object: &Guarded<K>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match object {
        DeserializeGuard(Ok(object)) => object.mark(&mut hasher),
        DeserializeGuard(Err(_)) => object.meta().resource_version.hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use metal3_api::capi::Machine;
    use metal3_api::infra::v1beta2::Metal3Machine;
    use serde_json::json;

    use super::*;

    fn machine(generation: i64, ready: bool) -> Guarded<Metal3Machine> {
        let object = json!({
            "metadata": {"namespace": "ns", "name": "m", "generation": generation},
            "spec": {},
            "status": {"initialization": {"provisioned": ready}},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn our_own_status_writes_are_no_change() {
        let mut seen = Seen::default();
        assert!(seen.apply(&machine(1, false)));
        assert!(!seen.apply(&machine(1, true)));
        assert!(seen.apply(&machine(2, true)));
    }

    #[test]
    fn a_machine_that_comes_to_another_parent_may_have_other_hosts() {
        let machine = |deployment: &str| -> Guarded<Machine> {
            let labels = json!({"cluster.x-k8s.io/deployment-name": deployment});
            let metadata = json!({"namespace": "ns", "name": "m", "labels": labels});
            let reference = json!({"kind": "Metal3Machine", "name": "m", "apiGroup": "g"});
            let spec = json!({"clusterName": "c", "bootstrap": {}, "infrastructureRef": reference});
            serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
        };
        let mut seen = Seen::default();
        assert!(seen.apply(&machine("d")));
        assert!(!seen.apply(&machine("d")));
        assert!(seen.apply(&machine("e")));
    }

    #[test]
    fn a_new_listing_tells_only_what_changed_meanwhile() {
        let mut seen = Seen::default();
        seen.begin();
        seen.list(machine(1, false));
        assert_eq!(seen.end().len(), 1);
        seen.begin();
        seen.list(machine(1, true));
        assert_eq!(seen.end().len(), 0);
        seen.begin();
        seen.list(machine(2, true));
        assert_eq!(seen.end().len(), 1);
        seen.begin();
        assert_eq!(seen.end().len(), 0);
        assert!(seen.apply(&machine(2, true)), "it was gone in between");
    }

    #[test]
    fn an_object_that_cannot_be_read_does_not_stop_the_others() {
        let broken = json!({"metadata": {"namespace": "ns", "name": "b", "resourceVersion": "1"}, "spec": {"image": 1}});
        let broken: Guarded<Metal3Machine> = serde_json::from_value(broken).unwrap();
        assert!(broken.0.is_err());
        let mut seen = Seen::default();
        assert!(seen.apply(&broken));
        assert!(!seen.apply(&broken));
    }
}
