//! All hosts in memory, projected, with the recent changes: what reads, claims and watches are answered from.

mod log;
mod shown;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use metal3_provisioner::HostKey;
use metal3_rpc::v1::{Consumer, Host, Rejections};
use tokio::sync::watch;

#[cfg(test)]
pub(super) use self::log::LENGTH;
use self::log::Log;
pub(super) use self::log::{Change, Place};
use self::shown::Shown;
use super::allocate::{self, Choice, Wish};
use super::pool::{Holding, Pool, Since};
use super::request::revision;

#[derive(Default)]
struct Hosts {
    by_key: BTreeMap<HostKey, Arc<Host>>,
    /// The same by namespace, for claims.
    pools: HashMap<String, Pool>,
    log: Log,
    synced: bool,
}

impl Hosts {
    fn of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Host>> {
        self.by_key
            .range(HostKey::new(namespace, "")..)
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, host)| host)
    }
}

/// The index; cheap to share.
#[derive(Default)]
pub(crate) struct HostIndex {
    hosts: RwLock<Hosts>,
    /// The newest place of the log.
    head: watch::Sender<Place>,
    shown: Shown,
}

impl HostIndex {
    /// Whether a first complete listing was read.
    pub(crate) fn synced(&self) -> bool {
        self.read().synced
    }

    /// Number of hosts.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.read().by_key.len()
    }

    pub(super) fn get(&self, key: &HostKey) -> Option<Arc<Host>> {
        self.read().by_key.get(key).cloned()
    }

    /// The hosts of a namespace by name, or all hosts when it is empty; with the place of the log they were read at.
    pub(super) fn list(&self, namespace: &str) -> (Vec<Arc<Host>>, Place) {
        let hosts = self.read();
        let listed = if namespace.is_empty() {
            hosts.by_key.values().cloned().collect()
        } else {
            hosts.of(namespace).cloned().collect()
        };
        (listed, hosts.log.head())
    }

    /// The newest place of the log, and word of each newer one.
    pub(super) fn head(&self) -> (Place, watch::Receiver<Place>) {
        let hosts = self.read();
        (hosts.log.head(), self.head.subscribe())
    }

    /// So many hosts at most after one, in the order of keys, and the place they were read at.
    pub(super) fn page(&self, after: Option<&HostKey>, most: usize) -> (Vec<(HostKey, Arc<Host>)>, Place) {
        let hosts = self.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = hosts.by_key.range((from, Bound::Unbounded)).take(most);
        let page = page.map(|(key, host)| (key.clone(), Arc::clone(host)));
        (page.collect(), hosts.log.head())
    }

    /// The next changes after a place of the log, so many at most. `None`: they are not known any more.
    pub(super) fn since(&self, place: Place, most: usize) -> Option<Vec<Arc<Change>>> {
        self.read().log.since(place, most)
    }

    /// The hosts that a consumer has.
    pub(super) fn holdings(&self, consumer: &Consumer) -> Vec<Holding> {
        let hosts = self.read();
        let pool = hosts.pools.get(&consumer.namespace);
        pool.map(|pool| pool.holdings(consumer)).unwrap_or_default()
    }

    /// The hosts of each consumer that has more than one.
    pub(super) fn doubles(&self) -> Vec<Vec<Holding>> {
        self.read().pools.values().flat_map(Pool::doubles).collect()
    }

    /// Chooses a host of a namespace for a consumer that has none.
    pub(super) fn choose(
        &self,
        namespace: &str,
        wish: &Wish,
        now: Timestamp,
        busy: impl Fn(&Host) -> bool,
    ) -> Choice {
        let hosts = self.read();
        let pool = hosts.pools.get(namespace);
        pool.map_or(Choice::None, |pool| pool.choose(wish, now, busy))
    }

    /// Grows with every change in a namespace.
    pub(super) fn version(&self, namespace: &str) -> u64 {
        self.read().pools.get(namespace).map_or(0, Pool::version)
    }

    /// Why a wish cannot be fulfilled: a look at every host of the namespace.
    pub(super) fn rejections(&self, namespace: &str, wish: &Wish, now: Timestamp) -> Rejections {
        allocate::rejections(wish, self.read().of(namespace), now)
    }

    /// Everything that happened to the hosts of a namespace, or of all if it is empty, up to this revision has been told.
    pub(crate) fn shown(&self, scope: &str, revision: u64) {
        self.shown.advance(scope, revision);
    }

    /// Waits until the watch has shown the hosts of a namespace as they were at this revision, or newer.
    pub(crate) async fn reaches(&self, namespace: &str, revision: u64) {
        if let Some(told) = self.shown.wait(namespace, revision) {
            // Whoever tells it lives as long as the index.
            let _ = told.await;
        }
    }

    /// A host was seen as it was at some moment. Older than known: that only tells when its consumer came.
    pub(crate) fn upsert(&self, key: HostKey, host: Host) {
        self.put(key, Arc::new(host), false);
    }

    /// A host changed with this very revision: the watch told it after everything before, or it is the answer to an own
    /// write. Older than known: that only tells when its consumer came.
    pub(crate) fn changed(&self, key: HostKey, host: Host) {
        self.put(key, Arc::new(host), true);
    }

    fn put(&self, key: HostKey, host: Arc<Host>, exactly: bool) {
        let hosts = &mut *self.write();
        let known = hosts.by_key.get(&key);
        match known {
            Some(known) if revision(known) >= revision(&host) => {
                if let Some(pool) = hosts.pools.get_mut(&key.namespace) {
                    pool.was(known, &host, exactly);
                }
                return;
            }
            None if hosts.log.ended(&key, &host) => return,
            _ => {}
        }
        let by = revision(&host);
        let after = if exactly {
            by.saturating_sub(1)
        } else {
            known.map_or(0, |known| revision(known))
        };
        let pool = hosts.pools.entry(key.namespace.clone()).or_default();
        pool.put(known, &host, Since { after, by });
        let before = hosts.by_key.insert(key.clone(), Arc::clone(&host));
        hosts.log.push(key, before, host, false);
        self.head.send_replace(hosts.log.head());
    }

    /// A host is gone; `last` is its last content, with the revision of the deletion where it is known.
    pub(crate) fn remove(&self, key: &HostKey, last: Host) {
        let hosts = &mut *self.write();
        if hosts
            .by_key
            .get(key)
            .is_some_and(|known| revision(known) > revision(&last))
        {
            return; // created again since
        }
        if let Some(known) = hosts.by_key.remove(key) {
            if let Some(pool) = hosts.pools.get_mut(&key.namespace) {
                pool.remove(&known);
            }
            hosts.log.push(key.clone(), Some(known), Arc::new(last), true);
            self.head.send_replace(hosts.log.head());
        }
    }

    /// The first listing of everything was read.
    pub(crate) fn complete(&self) {
        self.write().synced = true;
    }

    // The index stays consistent at every step, so a panic of another thread does not spoil it.
    fn read(&self) -> RwLockReadGuard<'_, Hosts> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Hosts> {
        self.hosts.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use metal3_rpc::v1::HostRef;

    use super::*;

    fn host(name: &str, revision: u64) -> (HostKey, Host) {
        let host = Host {
            r#ref: Some(HostRef::named("ns", name)),
            revision: revision.to_string(),
            ..Default::default()
        };
        (HostKey::new("ns", name), host)
    }

    fn put(index: &HostIndex, name: &str, revision: u64) {
        let (key, host) = host(name, revision);
        index.upsert(key, host);
    }

    #[test]
    fn an_older_event_does_not_undo_an_own_write() {
        let index = HostIndex::default();
        put(&index, "a", 5);
        let (place, _) = index.head();
        put(&index, "a", 7);
        put(&index, "a", 6);
        assert_eq!(index.get(&HostKey::new("ns", "a")).unwrap().revision, "7");
        assert_eq!(index.head().0, place + 1);
        let (key, last) = host("a", 6);
        index.remove(&key, last);
        assert_eq!(index.len(), 1, "an old deletion does not remove a newer host");
    }

    #[test]
    fn a_look_that_is_faster_than_the_watch_does_not_hide_when_a_consumer_came() {
        let owner = Consumer {
            name: "m".into(),
            namespace: "ns".into(),
            ..Default::default()
        };
        let at = |name: &str, revision, owned: bool| {
            let (key, host) = host(name, revision);
            let consumer = owned.then(|| owner.clone());
            (key, Host { consumer, ..host })
        };
        let index = HostIndex::default();
        put(&index, "a", 1);
        // The answer to a write that came too late.
        let (key, seen) = at("a", 9, true);
        index.upsert(key, seen);
        let since = |index: &HostIndex| index.holdings(&owner)[0].since;
        assert_eq!(since(&index), Since { after: 1, by: 9 });
        for (revision, owned, expected) in [
            (3, false, Since { after: 3, by: 9 }),
            (4, true, Since { after: 3, by: 4 }),
            (5, true, Since { after: 3, by: 4 }),
            (6, false, Since { after: 6, by: 9 }),
            (7, true, Since { after: 6, by: 7 }),
            (9, true, Since { after: 6, by: 7 }),
        ] {
            let (key, then) = at("a", revision, owned);
            index.changed(key, then);
            assert_eq!(since(&index), expected, "after {revision}");
        }
    }

    #[test]
    fn a_host_that_went_does_not_come_back_by_a_late_answer() {
        let index = HostIndex::default();
        let with = |uid: &str, revision| {
            let (key, mut host) = host("a", revision);
            host.r#ref = Some(HostRef {
                uid: uid.into(),
                ..HostRef::named("ns", "a")
            });
            (key, host)
        };
        let (key, first) = with("u1", 5);
        index.upsert(key.clone(), first.clone());
        // Found missing by a listing, which does not tell what it was in the end.
        index.remove(&key, first);
        index.upsert(key.clone(), with("u1", 6).1);
        assert_eq!(index.len(), 0);
        index.upsert(key, with("u2", 8).1);
        assert_eq!(index.len(), 1, "another one of that name");
    }

    #[test]
    fn namespaces_are_listed_apart() {
        let index = HostIndex::default();
        put(&index, "a", 1);
        index.upsert(HostKey::new("ns2", "z"), host("z", 2).1);
        assert_eq!(index.list("ns").0.len(), 1);
        assert_eq!(index.list("").0.len(), 2);
    }
}
