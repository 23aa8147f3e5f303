//! All nodes of one Ironic in memory.
//!
//! One task reads the node list page by page: often while anything is in transition or was just written, seldom when all
//! is quiet. Reading a thousand nodes is one request, so that the cost of waiting does not grow with the number of
//! hosts that wait. Hosts whose node changed are told.

mod pace;
mod row;
mod view;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metal3_provisioner::{Error, HostKey};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::row::{Row, Words};
pub use self::view::{Business, Load, Named};
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
    /// Names that are not made from a host's namespace and name. Usually there are none.
    plain: HashSet<Box<str>>,
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
        let names = fresh.values().filter_map(|entry| entry.row.name.as_deref());
        state.plain = names
            .filter(|name| host_key(name).is_none())
            .map(Box::from)
            .collect();
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

    /// Reads again at once: Ironic may be where it was not when the last reading failed.
    pub fn hurry(&self) {
        self.poke.notify_one();
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
mod tests;
