//! All nodes of one Ironic in memory.
//!
//! One task reads the node list page by page: often while anything is in transition or was just written, seldom when all
//! is quiet. Reading a thousand nodes is one request, so that the cost of waiting does not grow with the number of
//! hosts that wait. Hosts whose node changed are told.

mod pace;
mod row;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metal3_provisioner::{Error, HostKey};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::row::{Row, Words};
use crate::client::{Client, MARKER_GONE, Node};

/// Ironic's own limit.
const PAGE: u32 = 1000;
/// Nodes before the end of a page that the next one may begin after, when those at the end are gone.
const EARLIER: usize = 16;
/// Hosts that changed and were not taken yet; the reader is a queue that merges repeats.
const CHANGES: usize = 16_384;

#[derive(Debug)]
struct Entry {
    row: Row,
    /// When the reading began that saw it like this.
    as_of: Instant,
}

#[derive(Debug, Default)]
struct State {
    by_uuid: HashMap<Box<str>, Entry>,
    words: Words,
    /// Nodes that are busy and boot from the network.
    busy: u32,
    /// Own writes, by node; what is older than them is not known any more.
    written: HashMap<Box<str>, Instant>,
    last_write: Option<Instant>,
    /// The last change that was seen, whoever made it.
    last_news: Option<Instant>,
}

/// The nodes as last read; cheap to share.
#[derive(Debug)]
pub struct Mirror {
    state: Mutex<State>,
    complete: watch::Sender<bool>,
    poke: Notify,
    changes: mpsc::Sender<HostKey>,
}

/// How a node stands to the limit of those that are busy on the network at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Business {
    /// It counts.
    Busy,
    /// It does not count now, but the operation may go on: a clean node waits to be deployed.
    Paused,
    /// It does not count.
    Resting,
}

/// What is busy on the network.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Nodes that count.
    pub busy: u32,
    /// How those stand to it that were asked for, and when the reading began that showed it.
    pub of: HashMap<String, (Business, Instant)>,
}

/// A node that is named after a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Identifier of the node.
    pub node: String,
    /// The host of its name.
    pub key: HostKey,
    /// Where it is.
    pub provision_state: String,
}

impl Mirror {
    /// An empty mirror, and the hosts whose nodes change from now on.
    pub fn new() -> (Arc<Self>, mpsc::Receiver<HostKey>) {
        let (changes, receiver) = mpsc::channel(CHANGES);
        (
            Arc::new(Self {
                state: Mutex::default(),
                complete: watch::Sender::new(false),
                poke: Notify::new(),
                changes,
            }),
            receiver,
        )
    }

    /// Reads for ever; `then` is called after each complete reading.
    pub async fn run(
        self: Arc<Self>,
        client: Arc<Client>,
        shutdown: CancellationToken,
        then: impl Fn() + Send,
    ) {
        loop {
            let started = Instant::now();
            let reading = tokio::select! {
                () = shutdown.cancelled() => return,
                reading = self.read(&client) => reading,
            };
            let pause = match reading {
                Ok(()) => {
                    then();
                    self.pause(started.elapsed())
                }
                Err(error) => {
                    tracing::warn!(%error, "the node list cannot be read");
                    pace::AFTER_FAILURE
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.poke.notified() => {
                    // Others write at the same time: one reading serves them all.
                    tokio::time::sleep(pace::BUSY.saturating_sub(started.elapsed())).await;
                }
            }
        }
    }

    /// Reads all pages once.
    ///
    /// # Errors
    /// When a page cannot be read; what was known stays.
    pub async fn read(&self, client: &Client) -> Result<(), Error> {
        let as_of = Instant::now();
        let mut nodes = Vec::new();
        let mut marker = None;
        let mut earlier: Vec<String> = Vec::new();
        loop {
            let (page, next) = match client.nodes(marker.as_deref(), PAGE).await {
                Ok(page) => page,
                // The last node of the page before was removed meanwhile: go on after one before it.
                Err(error) if error.label() == MARKER_GONE => match earlier.pop() {
                    Some(uuid) => {
                        marker = Some(uuid);
                        continue;
                    }
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            };
            let skipped = page.len().saturating_sub(EARLIER);
            earlier = page.iter().skip(skipped).map(|node| node.uuid.clone()).collect();
            earlier.pop();
            nodes.extend(page);
            match next {
                Some(next) => marker = Some(next),
                None => break,
            }
        }
        for key in self.take(nodes, as_of) {
            self.tell(key);
        }
        Ok(())
    }

    /// Waits until all nodes were read once, but not for ever; says whether they were.
    pub async fn complete(&self, bound: Duration) -> bool {
        let mut complete = self.complete.subscribe();
        let waiting = complete.wait_for(|complete| *complete);
        tokio::time::timeout(bound, waiting)
            .await
            .is_ok_and(|complete| complete.is_ok())
    }

    /// Takes a complete reading over; returns the hosts to be told.
    fn take(&self, nodes: Vec<Node>, as_of: Instant) -> Vec<HostKey> {
        let first = !*self.complete.borrow();
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut changed = Vec::new();
        let mut fresh: HashMap<Box<str>, Entry> = HashMap::with_capacity(nodes.len());
        for node in nodes {
            // Pages may overlap.
            if fresh.contains_key(node.uuid.as_str()) {
                continue;
            }
            let (uuid, known) = match state.by_uuid.remove_entry(node.uuid.as_str()) {
                Some((uuid, known)) => (uuid, Some(known)),
                None => (node.uuid.as_str().into(), None),
            };
            let written = state.written.get(&uuid).copied();
            let known = match known {
                // Read one by one since this reading began.
                Some(known) if known.as_of > as_of => {
                    fresh.insert(uuid, known);
                    continue;
                }
                known => known,
            };
            // After an own write the host waits for news even if the node looks as before: it may have been through a
            // whole transition in between.
            let touched = written.is_some_and(|written| written < as_of);
            if touched {
                state.written.remove(&uuid);
            }
            let row = state.words.row(&node);
            if !first && (touched || known.is_none_or(|known| known.row != row)) {
                changed.extend(node.name.as_deref().and_then(host_key));
            }
            fresh.insert(uuid, Entry { row, as_of });
        }
        for (uuid, entry) in std::mem::take(&mut state.by_uuid) {
            if entry.as_of > as_of {
                fresh.insert(uuid, entry);
            } else {
                state.written.remove(&uuid);
                changed.extend(entry.row.name.as_deref().and_then(host_key));
            }
        }
        let busy = fresh.values().filter(|entry| entry.row.is_busy_on_network());
        state.busy = u32::try_from(busy.count()).unwrap_or(u32::MAX);
        state.by_uuid = fresh;
        state.words.tidy();
        if !changed.is_empty() {
            state.last_news = Some(Instant::now());
        }
        self.complete.send_replace(true);
        changed
    }

    /// A host is to be looked at.
    pub fn tell(&self, key: HostKey) {
        if self.changes.try_send(key).is_err() {
            // The host looks again by itself within its poll interval.
            tracing::debug!("more changes than the queue holds");
        }
    }

    fn pause(&self, reading: Duration) -> Duration {
        let state = self.lock();
        let news = state.last_write.max(state.last_news);
        let transition = state.by_uuid.values().any(|entry| entry.row.in_transition());
        pace::pause(
            transition,
            state.last_write.map(|write| write.elapsed()),
            news.map(|news| news.elapsed()),
            reading,
        )
    }

    /// The node as of a moment after our own last write to it. `None`: ask Ironic.
    pub fn node(&self, uuid: &str) -> Option<Arc<Node>> {
        let state = self.lock();
        let entry = state.by_uuid.get(uuid)?;
        let outdated = state
            .written
            .get(uuid)
            .is_some_and(|written| *written >= entry.as_of);
        (!outdated).then(|| Arc::new(entry.row.node(uuid)))
    }

    /// A node was read by itself, by a request that began at `as_of`.
    pub fn seen(&self, node: &Node, as_of: Instant) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let row = state.words.row(node);
        let busy = row.is_busy_on_network();
        let before = state
            .by_uuid
            .insert(node.uuid.as_str().into(), Entry { row, as_of });
        let was_busy = before.is_some_and(|before| before.row.is_busy_on_network());
        state.busy = (state.busy + u32::from(busy)).saturating_sub(u32::from(was_busy));
    }

    /// A node was written: what is known of it is outdated, and news will come soon.
    pub fn wrote(&self, uuid: &str) {
        let mut state = self.lock();
        let now = Instant::now();
        state.written.insert(uuid.into(), now);
        state.last_write = Some(now);
        drop(state);
        self.poke.notify_one();
    }

    /// How many nodes are busy and boot from the network, and how some of them stand to that. All at one moment.
    pub fn load<'a>(&self, nodes: impl IntoIterator<Item = &'a str>) -> Load {
        let state = self.lock();
        let of = |uuid: &str| {
            let entry = state.by_uuid.get(uuid)?;
            let business = if entry.row.is_busy_on_network() {
                Business::Busy
            } else if entry.row.provision_state.as_ref() == "available" {
                Business::Paused
            } else {
                Business::Resting
            };
            Some((uuid.to_owned(), (business, entry.as_of)))
        };
        Load {
            busy: state.busy,
            of: nodes.into_iter().filter_map(of).collect(),
        }
    }

    /// Nodes that are named after hosts that `wanted` picks.
    pub fn named(&self, wanted: impl Fn(&HostKey) -> bool) -> Vec<Named> {
        let state = self.lock();
        let named = state.by_uuid.iter().filter_map(|(uuid, entry)| {
            let key = entry.row.name.as_deref().and_then(host_key)?;
            wanted(&key).then(|| Named {
                node: uuid.as_ref().to_owned(),
                key,
                provision_state: entry.row.provision_state.as_ref().to_owned(),
            })
        });
        named.collect()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.lock().by_uuid.len()
    }

    /// There are none, or they were not read yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The host of a node's name.
fn host_key(name: &str) -> Option<HostKey> {
    name.split_once('~')
        .map(|(namespace, name)| HostKey::new(namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(uuid: &str, state: &str) -> Node {
        Node {
            uuid: uuid.into(),
            name: Some(format!("ns~{uuid}")),
            provision_state: state.into(),
            ..Node::default()
        }
    }

    fn keys(changed: Vec<HostKey>) -> Vec<String> {
        changed.into_iter().map(|key| key.name).collect()
    }

    #[test]
    fn only_hosts_whose_node_changed_are_told() {
        let (mirror, _changes) = Mirror::new();
        let all = || vec![node("a", "manageable"), node("b", "manageable")];
        assert!(
            mirror.take(all(), Instant::now()).is_empty(),
            "the first reading is no news"
        );
        assert!(mirror.take(all(), Instant::now()).is_empty());
        let changed = mirror.take(
            vec![node("a", "inspecting"), node("b", "manageable")],
            Instant::now(),
        );
        assert_eq!(keys(changed), ["a"]);
        assert_eq!(
            keys(mirror.take(vec![node("a", "inspecting")], Instant::now())),
            ["b"]
        );
    }

    #[test]
    fn an_own_write_outdates_what_is_known_until_the_next_reading() {
        let (mirror, _changes) = Mirror::new();
        let before = Instant::now();
        mirror.take(vec![node("a", "manageable")], before);
        assert!(mirror.node("a").is_some());
        mirror.wrote("a");
        assert!(mirror.node("a").is_none());
        // A reading that began before the write proves nothing.
        mirror.take(vec![node("a", "manageable")], before);
        assert!(mirror.node("a").is_none());
        // The node looks the same after it went through a transition: the host is told all the same.
        assert_eq!(
            keys(mirror.take(vec![node("a", "manageable")], Instant::now())),
            ["a"]
        );
        assert!(mirror.node("a").is_some());
    }

    #[test]
    fn what_was_read_by_itself_meanwhile_is_newer_than_the_listing() {
        let (mirror, _changes) = Mirror::new();
        let began = Instant::now();
        mirror.take(vec![node("a", "manageable")], began);
        mirror.seen(&node("a", "inspecting"), Instant::now());
        mirror.seen(&node("new", "enroll"), Instant::now());
        let changed = mirror.take(vec![node("a", "manageable")], began);
        assert!(changed.is_empty(), "{changed:?}");
        assert_eq!(mirror.node("a").unwrap().provision_state, "inspecting");
        assert!(
            mirror.node("new").is_some(),
            "it was made after its page was read"
        );
        assert_eq!(mirror.load([]).busy, 1);
        // The next listing shows that it is gone, and what became of the other.
        let changed = mirror.take(vec![node("a", "manageable")], Instant::now());
        assert_eq!(keys(changed), ["a", "new"]);
        assert_eq!((mirror.load([]).busy, mirror.len()), (0, 1));
    }

    #[test]
    fn pages_that_overlap_are_no_news() {
        let (mirror, _changes) = Mirror::new();
        let twice = || vec![node("a", "active"), node("a", "active")];
        mirror.take(twice(), Instant::now());
        assert!(mirror.take(twice(), Instant::now()).is_empty());
        assert_eq!(mirror.len(), 1);
    }

    #[test]
    fn a_wiped_database_is_told_to_all_hosts() {
        let (mirror, _changes) = Mirror::new();
        mirror.take(vec![node("a", "active"), node("b", "deploying")], Instant::now());
        assert_eq!(mirror.load([]).busy, 1);
        let mut gone = keys(mirror.take(Vec::new(), Instant::now()));
        gone.sort();
        assert_eq!(gone, ["a", "b"]);
        assert_eq!((mirror.load([]).busy, mirror.len()), (0, 0));
    }
}
