//! All nodes of one Ironic in memory.
//!
//! One task reads the node list page by page: often while anything is in transition or was just written, seldom when all
//! is quiet. Reading a thousand nodes is one request, so that the cost of waiting does not grow with the number of
//! hosts that wait. Hosts whose node changed are told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metal3_provisioner::{Error, HostKey};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Node};

/// Ironic's own limit.
const PAGE: u32 = 1000;
/// Between two readings while something is going on; and at least twice as long as a reading takes.
const BUSY: Duration = Duration::from_millis(250);
/// Between two readings when all is quiet.
const QUIET: Duration = Duration::from_secs(10);
/// A write keeps the mirror busy for this long: Ironic reacts to it.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Hosts that changed and were not taken yet; the reader is a queue that merges repeats.
const CHANGES: usize = 16_384;

#[derive(Debug)]
struct Entry {
    node: Arc<Node>,
    /// When the reading began that saw it like this.
    as_of: Instant,
}

#[derive(Debug, Default)]
struct State {
    by_uuid: HashMap<String, Entry>,
    /// Own writes, by node; what is older than them is not known any more.
    written: HashMap<String, Instant>,
    complete: bool,
    last_write: Option<Instant>,
}

/// The nodes as last read; cheap to share.
#[derive(Debug)]
pub struct Mirror {
    state: Mutex<State>,
    poke: Notify,
    changes: mpsc::Sender<HostKey>,
}

impl Mirror {
    /// An empty mirror, and the hosts whose nodes change from now on.
    pub fn new() -> (Arc<Self>, mpsc::Receiver<HostKey>) {
        let (changes, receiver) = mpsc::channel(CHANGES);
        (
            Arc::new(Self {
                state: Mutex::default(),
                poke: Notify::new(),
                changes,
            }),
            receiver,
        )
    }

    /// Reads for ever.
    pub async fn run(self: Arc<Self>, client: Arc<Client>, shutdown: CancellationToken) {
        loop {
            let started = Instant::now();
            let pause = match self.read(&client).await {
                Ok(()) => self.pause(started.elapsed()),
                Err(error) => {
                    tracing::warn!(%error, "the node list cannot be read");
                    QUIET / 4
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.poke.notified() => {
                    // Others write at the same time: one reading serves them all.
                    tokio::time::sleep(BUSY.saturating_sub(started.elapsed())).await;
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
        loop {
            let (page, next) = client.nodes(marker.as_deref(), PAGE).await?;
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

    /// Takes a complete reading over; returns the hosts to be told.
    fn take(&self, nodes: Vec<Node>, as_of: Instant) -> Vec<HostKey> {
        let mut state = self.lock();
        let first = !state.complete;
        let mut changed = Vec::new();
        let mut fresh = HashMap::with_capacity(nodes.len());
        for node in nodes {
            let known = state.by_uuid.remove(&node.uuid);
            let written = state.written.get(&node.uuid).copied();
            if known.as_ref().is_some_and(|known| known.as_of > as_of) {
                // Read one by one since this reading began.
                fresh.extend(known.map(|known| (node.uuid.clone(), known)));
                continue;
            }
            // After an own write the host waits for news even if the node looks as before: it may have been through a
            // whole transition in between.
            let touched = written.is_some_and(|written| written < as_of);
            if touched {
                state.written.remove(&node.uuid);
            }
            if !first && (touched || known.as_ref().is_none_or(|known| *known.node != node)) {
                changed.extend(node.name.as_deref().and_then(host_key));
            }
            fresh.insert(
                node.uuid.clone(),
                Entry {
                    node: Arc::new(node),
                    as_of,
                },
            );
        }
        let (gone, newer): (HashMap<_, _>, HashMap<_, _>) = std::mem::take(&mut state.by_uuid)
            .into_iter()
            .partition(|(_, entry)| entry.as_of <= as_of);
        changed.extend(
            gone.values()
                .filter_map(|entry| entry.node.name.as_deref().and_then(host_key)),
        );
        for uuid in gone.keys() {
            state.written.remove(uuid);
        }
        fresh.extend(newer);
        state.by_uuid = fresh;
        state.complete = true;
        changed
    }

    fn tell(&self, key: HostKey) {
        if self.changes.try_send(key).is_err() {
            // The host looks again by itself within its poll interval.
            tracing::debug!("more changes than the queue holds");
        }
    }

    fn pause(&self, reading: Duration) -> Duration {
        let state = self.lock();
        let busy = state.last_write.is_some_and(|write| write.elapsed() < AFTERMATH)
            || state.by_uuid.values().any(|entry| entry.node.in_transition());
        if busy { BUSY.max(reading * 2) } else { QUIET }
    }

    /// The node as of a moment after our own last write to it. `None`: ask Ironic.
    pub fn node(&self, uuid: &str) -> Option<Arc<Node>> {
        let state = self.lock();
        let entry = state.by_uuid.get(uuid)?;
        let outdated = state
            .written
            .get(uuid)
            .is_some_and(|written| *written >= entry.as_of);
        (!outdated).then(|| Arc::clone(&entry.node))
    }

    /// A node was read by itself, by a request that began at `as_of`.
    pub fn seen(&self, node: Node, as_of: Instant) {
        self.lock().by_uuid.insert(
            node.uuid.clone(),
            Entry {
                node: Arc::new(node),
                as_of,
            },
        );
    }

    /// A node was written: what is known of it is outdated, and news will come soon.
    pub fn wrote(&self, uuid: &str) {
        let mut state = self.lock();
        let now = Instant::now();
        state.written.insert(uuid.to_owned(), now);
        state.last_write = Some(now);
        drop(state);
        self.poke.notify_one();
    }

    /// Nodes that are busy and boot from the network, except one.
    pub fn busy_on_network(&self, except: &str) -> u32 {
        let state = self.lock();
        let busy = state.by_uuid.values().map(|entry| &entry.node).filter(|node| {
            node.uuid != except
                && matches!(
                    node.provision_state.as_str(),
                    "cleaning"
                        | "clean wait"
                        | "inspecting"
                        | "inspect wait"
                        | "deploying"
                        | "wait call-back"
                        | "deleting"
                )
                && !node
                    .boot_interface
                    .as_deref()
                    .unwrap_or_default()
                    .contains("virtual-media")
        });
        u32::try_from(busy.count()).unwrap_or(u32::MAX)
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
}
