//! Watches over the namespaces that bmo works in, each with a store of what it saw last.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, stream};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use metal3_provisioner::HostKey;
use serde::de::DeserializeOwned;

/// What the watches saw last.
pub(crate) struct Followed<K: Lookup + 'static>
where
    K::DynamicType: Eq + Hash,
{
    /// By namespace; one without a name is for all.
    stores: Arc<BTreeMap<String, Store<K>>>,
}

// Derived, it would ask the same of K.
impl<K: Lookup + 'static> Clone for Followed<K>
where
    K::DynamicType: Eq + Hash,
{
    fn clone(&self) -> Self {
        Self {
            stores: Arc::clone(&self.stores),
        }
    }
}

impl<K> Followed<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone + Default,
{
    /// The newest that is known of an object.
    pub(crate) fn get(&self, key: &HostKey) -> Option<Arc<K>> {
        let store = self.stores.get(&key.namespace).or_else(|| self.stores.get(""))?;
        store.get(&ObjectRef::new(&key.name).within(&key.namespace))
    }
}

/// Objects as they come, change and go, in these namespaces; none means all. Of `PartialObjectMeta` nothing but the
/// metadata comes over the wire.
pub(crate) fn follow<K>(
    client: &Client,
    namespaces: &[String],
    config: &watcher::Config,
) -> (Followed<K>, BoxStream<'static, K>)
where
    K: Resource<Scope = NamespaceResourceScope>
        + Lookup<DynamicType = <K as Resource>::DynamicType>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
    <K as Resource>::DynamicType: Default + Eq + Hash + Clone + Send + Sync,
{
    let apis: Vec<(String, Api<K>)> = if namespaces.is_empty() {
        vec![(String::new(), Api::all(client.clone()))]
    } else {
        let named = |namespace: &String| (namespace.clone(), Api::namespaced(client.clone(), namespace));
        namespaces.iter().map(named).collect()
    };
    let mut stores = BTreeMap::new();
    let mut streams = Vec::new();
    for (namespace, api) in apis {
        let writer = Writer::<K>::default();
        stores.insert(namespace, writer.as_reader());
        // They are most of the metadata, and nobody looks at them.
        let lean = watcher(api, config.clone())
            .default_backoff()
            .modify(|object| object.managed_fields_mut().clear());
        streams.push(settled(reflector(writer, lean)).boxed());
    }
    let stores = Arc::new(stores);
    (Followed { stores }, stream::select_all(streams).boxed())
}

/// What a keeper makes of each object that comes, changes or goes, one after the other.
pub(crate) fn told<K, T, F, I>(
    objects: BoxStream<'static, K>,
    keeper: &T,
    look: impl Fn(T, K) -> F + Send + 'static,
) -> BoxStream<'static, I::Item>
where
    K: Send + 'static,
    T: Clone + Send + 'static,
    F: Future<Output = I> + Send + 'static,
    I: IntoIterator<IntoIter: Send> + Send + 'static,
{
    let keeper = keeper.clone();
    objects
        .then(move |object| look(keeper.clone(), object))
        .flat_map(stream::iter)
        .boxed()
}

/// Objects that came, changed or went, once the store shows it: a listing appears there as a whole.
fn settled<M>(events: impl Stream<Item = watcher::Result<watcher::Event<M>>>) -> impl Stream<Item = M> {
    let mut listing = Vec::new();
    events.flat_map(move |event| {
        stream::iter(match event {
            Ok(watcher::Event::Init) => {
                listing.clear();
                Vec::new()
            }
            Ok(watcher::Event::InitApply(object)) => {
                listing.push(object);
                Vec::new()
            }
            Ok(watcher::Event::InitDone) => std::mem::take(&mut listing),
            Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) => vec![object],
            Err(error) => {
                tracing::warn!(%error, "a watch was interrupted");
                Vec::new()
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listing_is_told_once_it_is_complete() {
        let events = [
            watcher::Event::Init,
            watcher::Event::InitApply("lost"),
            watcher::Event::Init,
            watcher::Event::InitApply("a"),
            watcher::Event::InitDone,
            watcher::Event::Apply("b"),
            watcher::Event::Delete("a"),
        ];
        let told: Vec<_> = settled(stream::iter(events.map(Ok))).collect().await;
        assert_eq!(told, ["a", "b", "a"]);
    }
}
