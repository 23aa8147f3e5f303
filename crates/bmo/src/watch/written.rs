//! Hosts as they were after our last write, until the watch shows them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt as _};
use metal3_api::metal3::host::BareMetalHost;
use metal3_provisioner::HostKey;

use super::Guarded;

/// The watch may lag behind our own writes; deciding on an older host would repeat what was done. That holds for the
/// last write of all, too: a host that was let go and still looks alive would be registered again. Clones share what
/// they know.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<HashMap<HostKey, Arc<BareMetalHost>>>>);

impl Written {
    /// A host was written.
    pub(crate) fn remember(&self, store: &Store<Guarded>, key: HostKey, host: BareMetalHost) {
        let mut written = self.lock();
        // Looked up under the lock: the watch changes the store first and comes here afterwards, so that either of us
        // drops what is not needed any more.
        let shown = store.get(&ObjectRef::new(&key.name).within(&key.namespace));
        if shown.is_some_and(|shown| !covers(shown.as_ref(), &host)) {
            written.insert(key, Arc::new(host));
        } else {
            written.remove(&key);
        }
    }

    /// The newer one of a host that the watch showed and our own last write.
    pub(crate) fn newest(&self, key: &HostKey, shown: &Arc<BareMetalHost>) -> Arc<BareMetalHost> {
        match self.lock().get(key) {
            Some(own) if !covers(shown.as_ref(), own) => Arc::clone(own),
            Some(_) | None => Arc::clone(shown),
        }
    }

    /// The store has a host.
    pub(super) fn shown(&self, key: &HostKey, shown: &Guarded) {
        let mut written = self.lock();
        if written.get(key).is_some_and(|own| covers(shown, own)) {
            written.remove(key);
        }
    }

    /// The store has a host no more.
    pub(super) fn gone(&self, key: &HostKey) {
        self.lock().remove(key);
    }

    /// How many the watch has not shown.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    // The map is whole after every step, so a panic of another thread does not spoil it.
    fn lock(&self) -> MutexGuard<'_, HashMap<HostKey, Arc<BareMetalHost>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what the watch showed is at least as new as our own write, or is another host of that name.
fn covers<K: Resource>(shown: &K, own: &BareMetalHost) -> bool {
    let version = |version: Option<String>| version.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    shown.meta().uid != own.metadata.uid
        || version(shown.meta().resource_version.clone()) >= version(own.resource_version())
}
