//! All hosts in memory, projected, with the recent changes: what reads, claims and watches are answered from.

mod shown;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use metal3_provisioner::HostKey;
use metal3_rpc::v1::{Consumer, Host, Rejections};
use tokio::sync::broadcast;

use self::shown::Shown;
use super::allocate::{self, Choice, Wish};
use super::pool::{Holding, Pool, Since};
use super::request::revision;

/// Changes remembered for readers that resume, and in flight to each reader before it counts as too slow: some seconds
/// of a fleet of thousands that is being provisioned at once.
const HISTORY: usize = 4096;

/// One change of one host.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) kind: ChangeKind,
    pub(super) host: Arc<Host>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// What a new reader starts with.
pub(super) struct Subscription {
    /// The snapshot, or the changes missed since the revision given.
    pub(super) first: Vec<Change>,
    pub(super) revision: u64,
    pub(super) rest: broadcast::Receiver<Change>,
}

/// What is remembered of a change: a reader that resumes gets what is there now, so nothing old has to be kept.
struct Past {
    revision: u64,
    kind: ChangeKind,
    key: HostKey,
    /// The last content of a host that went.
    last: Option<Arc<Host>>,
}

#[derive(Default)]
struct Hosts {
    by_key: BTreeMap<HostKey, Arc<Host>>,
    /// The same by namespace, for claims.
    pools: HashMap<String, Pool>,
    history: VecDeque<Past>,
    /// Highest revision seen.
    revision: u64,
    /// Changes up to this revision are no longer in `history`.
    forgotten: u64,
    synced: bool,
}

impl Hosts {
    fn of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Host>> {
        self.by_key
            .range(HostKey::new(namespace, "")..)
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, host)| host)
    }

    /// What changed after a revision, each host once, in the order of the revisions told.
    fn missed(&self, from: u64) -> Vec<Change> {
        let mut changed: BTreeMap<&HostKey, (bool, &Past)> = BTreeMap::new();
        for past in self.history.iter().filter(|past| past.revision > from) {
            let added = changed.get(&past.key).is_some_and(|(added, _)| *added);
            changed.insert(&past.key, (added || past.kind == ChangeKind::Added, past));
        }
        let mut missed: Vec<Change> = changed
            .into_iter()
            .filter_map(|(key, (added, past))| {
                let kind = match past.kind {
                    ChangeKind::Deleted => ChangeKind::Deleted,
                    ChangeKind::Added | ChangeKind::Modified if added => ChangeKind::Added,
                    ChangeKind::Added | ChangeKind::Modified => ChangeKind::Modified,
                };
                Some(Change {
                    revision: past.revision,
                    kind,
                    host: Arc::clone(past.last.as_ref().or_else(|| self.by_key.get(key))?),
                })
            })
            .collect();
        missed.sort_by_key(|change| change.revision);
        missed
    }
}

/// The index; cheap to share.
pub(crate) struct HostIndex {
    hosts: RwLock<Hosts>,
    changes: broadcast::Sender<Change>,
    shown: Shown,
}

impl Default for HostIndex {
    fn default() -> Self {
        Self {
            hosts: RwLock::default(),
            changes: broadcast::channel(HISTORY).0,
            shown: Shown::default(),
        }
    }
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

    /// The hosts of a namespace by name, or all hosts when it is empty; with the revision they were read at.
    pub(super) fn list(&self, namespace: &str) -> (Vec<Arc<Host>>, u64) {
        let hosts = self.read();
        let listed = if namespace.is_empty() {
            hosts.by_key.values().cloned().collect()
        } else {
            hosts.of(namespace).cloned().collect()
        };
        (listed, hosts.revision)
    }

    /// Starts a reader, from scratch or after a revision it saw. `None`: that revision is too old, or unknown here.
    pub(super) fn subscribe(&self, from: Option<u64>) -> Option<Subscription> {
        let hosts = self.read();
        let first = match from {
            None => hosts
                .by_key
                .values()
                .map(|host| Change {
                    revision: revision(host),
                    kind: ChangeKind::Added,
                    host: Arc::clone(host),
                })
                .collect(),
            Some(from) if from < hosts.forgotten || from > hosts.revision => return None,
            Some(from) => hosts.missed(from),
        };
        // Subscribed under the lock that writers need, so that nothing falls between snapshot and stream.
        Some(Subscription {
            first,
            revision: hosts.revision,
            rest: self.changes.subscribe(),
        })
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

    /// A host was seen as it was at some moment. Older than known: ignored.
    pub(crate) fn upsert(&self, key: HostKey, host: Host) {
        self.put(key, Arc::new(host), false);
    }

    /// A host changed with this very revision: the watch told it after everything before, or it is the answer to an own
    /// write. Older than known: ignored.
    pub(crate) fn changed(&self, key: HostKey, host: Host) {
        self.put(key, Arc::new(host), true);
    }

    fn put(&self, key: HostKey, host: Arc<Host>, exactly: bool) {
        let hosts = &mut *self.write();
        let known = hosts.by_key.get(&key);
        let kind = match known {
            Some(known) if revision(known) >= revision(&host) => return,
            Some(_) => ChangeKind::Modified,
            None => ChangeKind::Added,
        };
        let by = revision(&host);
        let after = if exactly {
            by.saturating_sub(1)
        } else {
            known.map_or(0, |known| revision(known))
        };
        let pool = hosts.pools.entry(key.namespace.clone()).or_default();
        pool.put(known, &host, Since { after, by });
        hosts.by_key.insert(key.clone(), Arc::clone(&host));
        self.publish(
            hosts,
            key,
            Change {
                revision: revision(&host),
                kind,
                host,
            },
        );
    }

    /// A host is gone; `last` is its last content, with the revision of the deletion where it is known.
    pub(crate) fn remove(&self, key: &HostKey, last: Host) {
        let mut hosts = self.write();
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
            // Found missing by a listing: the revision of the deletion is not known, only that it is a later one.
            let revision = match revision(&last) {
                unknown if unknown <= revision(&known) => hosts.revision,
                deleted => deleted,
            };
            let change = Change {
                revision,
                kind: ChangeKind::Deleted,
                host: Arc::new(last),
            };
            self.publish(&mut hosts, key.clone(), change);
        }
    }

    /// The first listing of everything was read.
    pub(crate) fn complete(&self) {
        let mut hosts = self.write();
        // What was there before this process came is not a change that somebody could resume from.
        hosts.forgotten = hosts.revision;
        hosts.history.clear();
        hosts.synced = true;
    }

    fn publish(&self, hosts: &mut Hosts, key: HostKey, change: Change) {
        hosts.revision = hosts.revision.max(change.revision);
        hosts.history.push_back(Past {
            revision: change.revision,
            kind: change.kind,
            key,
            last: (change.kind == ChangeKind::Deleted).then(|| Arc::clone(&change.host)),
        });
        if hosts.history.len() > HISTORY
            && let Some(oldest) = hosts.history.pop_front()
        {
            hosts.forgotten = hosts.forgotten.max(oldest.revision);
        }
        // Fails only when nobody listens.
        let _ = self.changes.send(change);
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

    fn drain(receiver: &mut broadcast::Receiver<Change>) -> Vec<(u64, ChangeKind)> {
        std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|c| (c.revision, c.kind))
            .collect()
    }

    #[test]
    fn an_older_event_does_not_undo_an_own_write() {
        let index = HostIndex::default();
        put(&index, "a", 5);
        let mut rest = index.subscribe(None).unwrap().rest;
        put(&index, "a", 7);
        put(&index, "a", 6);
        assert_eq!(index.get(&HostKey::new("ns", "a")).unwrap().revision, "7");
        assert_eq!(drain(&mut rest), [(7, ChangeKind::Modified)]);
        let (key, last) = host("a", 6);
        index.remove(&key, last);
        assert_eq!(index.len(), 1, "an old deletion does not remove a newer host");
    }

    #[test]
    fn a_reader_resumes_where_it_stopped_or_is_told_to_start_again() {
        let index = HostIndex::default();
        put(&index, "a", 10);
        index.complete();
        put(&index, "b", 11);
        put(&index, "a", 12);
        let missed = index.subscribe(Some(10)).unwrap().first;
        assert_eq!(missed.iter().map(|c| c.revision).collect::<Vec<_>>(), [11, 12]);
        assert!(
            index.subscribe(Some(9)).is_none(),
            "changes before the first listing are unknown"
        );
        assert!(
            index.subscribe(Some(13)).is_none(),
            "a revision of the future is not ours"
        );
        assert_eq!(index.subscribe(None).unwrap().first.len(), 2);
    }

    #[test]
    fn a_reader_that_resumes_is_told_of_each_host_once_and_as_it_is_now() {
        let index = HostIndex::default();
        put(&index, "a", 10);
        put(&index, "gone", 11);
        index.complete();
        put(&index, "a", 12);
        put(&index, "b", 13);
        put(&index, "b", 14);
        put(&index, "a", 15);
        let (key, last) = host("gone", 16);
        index.remove(&key, last);
        let missed = index.subscribe(Some(11)).unwrap().first;
        let told: Vec<_> = missed
            .iter()
            .map(|change| {
                (
                    change.host.r#ref.clone().unwrap().name,
                    change.revision,
                    change.kind,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("b".to_owned(), 14, ChangeKind::Added),
                ("a".to_owned(), 15, ChangeKind::Modified),
                ("gone".to_owned(), 16, ChangeKind::Deleted),
            ]
        );
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
