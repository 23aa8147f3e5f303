//! Nodes that are named after hosts which do not exist: what a forced deletion leaves behind. They keep the addresses of
//! their machine and enforce its power, so that somebody should know of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metal3_provisioner::HostKey;
use tokio::sync::watch;

use crate::mirror::{Mirror, Named};

/// Readings that have to show a node without a host, besides the time it has to be so: hosts come and go a little before
/// or after their node.
const READINGS: u32 = 3;

/// Says whether there is a host.
pub type Known = Arc<dyn Fn(&HostKey) -> bool + Send + Sync>;

/// A node of a host that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Identifier of the node.
    pub node: String,
    /// The host that its name is of.
    pub key: HostKey,
    /// Where the node is.
    pub provision_state: String,
    /// Since when it was seen without a host.
    pub since: Timestamp,
}

/// What became known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    Found(Orphan),
    /// It has a host again, or is gone.
    Settled(Orphan),
}

#[derive(Debug)]
struct Suspect {
    orphan: Orphan,
    first: Instant,
    readings: u32,
    told: bool,
}

/// The suspects. Pure: time is passed in.
#[derive(Debug)]
struct Tracker {
    grace: Duration,
    suspects: HashMap<String, Suspect>,
}

impl Tracker {
    fn new(grace: Duration) -> Self {
        Self {
            grace,
            suspects: HashMap::new(),
        }
    }

    /// Takes over what a reading shows of nodes without a host.
    fn observe(&mut self, seen: Vec<Named>, now: Instant, at: Timestamp) -> Vec<News> {
        let mut before = std::mem::take(&mut self.suspects);
        let mut news = Vec::new();
        for named in seen {
            let mut suspect = before
                .remove(&named.node)
                .filter(|suspect| suspect.orphan.key == named.key)
                .unwrap_or_else(|| Suspect {
                    orphan: Orphan {
                        node: named.node.clone(),
                        key: named.key.clone(),
                        provision_state: String::new(),
                        since: at,
                    },
                    first: now,
                    readings: 0,
                    told: false,
                });
            suspect.orphan.provision_state = named.provision_state;
            suspect.readings = suspect.readings.saturating_add(1);
            if !suspect.told && suspect.readings >= READINGS && now - suspect.first >= self.grace {
                suspect.told = true;
                news.push(News::Found(suspect.orphan.clone()));
            }
            self.suspects.insert(named.node, suspect);
        }
        let settled = before.into_values().filter(|suspect| suspect.told);
        news.extend(settled.map(|suspect| News::Settled(suspect.orphan)));
        news
    }

    fn all(&self) -> Vec<Orphan> {
        let told = self.suspects.values().filter(|suspect| suspect.told);
        let mut orphans: Vec<_> = told.map(|suspect| suspect.orphan.clone()).collect();
        orphans.sort_by(|a, b| a.key.cmp(&b.key));
        orphans
    }
}

/// The nodes without a host of one Ironic.
pub(crate) struct Orphans {
    known: OnceLock<Known>,
    tracker: Mutex<Tracker>,
    changed: watch::Sender<()>,
}

impl Orphans {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            known: OnceLock::new(),
            tracker: Mutex::new(Tracker::new(grace)),
            changed: watch::Sender::new(()),
        }
    }

    pub(crate) fn set_known(&self, known: Known) {
        // Who said it first goes on saying it.
        self.known.set(known).ok();
    }

    /// Looks through a reading of all nodes.
    pub(crate) fn look(&self, mirror: &Mirror) {
        let Some(known) = self.known.get() else {
            return;
        };
        let seen = mirror.named(|key| !known(key));
        let all = self.lock().observe(seen, Instant::now(), Timestamp::now());
        if !all.is_empty() {
            self.changed.send_replace(());
        }
        for news in all {
            match news {
                News::Found(orphan) => tracing::warn!(
                    host = %orphan.key,
                    node = orphan.node,
                    state = orphan.provision_state,
                    "node in ironic without a host: create the BareMetalHost to take it over, or delete the node"
                ),
                News::Settled(orphan) => tracing::info!(
                    host = %orphan.key,
                    node = orphan.node,
                    "node in ironic has a host again, or is gone"
                ),
            }
        }
    }

    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(crate) fn all(&self) -> Vec<Orphan> {
        self.lock().all()
    }

    pub(crate) fn has(&self, node: &str) -> bool {
        self.lock().suspects.get(node).is_some_and(|suspect| suspect.told)
    }

    fn lock(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(node: &str, name: &str) -> Named {
        Named {
            node: node.into(),
            key: HostKey::new("ns", name),
            provision_state: "active".into(),
        }
    }

    fn look(tracker: &mut Tracker, start: Instant, seconds: u64, seen: &[Named]) -> Vec<News> {
        tracker.observe(
            seen.to_vec(),
            start + Duration::from_secs(seconds),
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn a_node_without_a_host_is_told_once_after_its_grace() {
        let (mut tracker, start) = (Tracker::new(Duration::from_secs(60)), Instant::now());
        let seen = [named("u", "lost")];
        for seconds in [0, 30, 59] {
            assert_eq!(look(&mut tracker, start, seconds, &seen), []);
        }
        assert!(tracker.all().is_empty());
        let news = look(&mut tracker, start, 60, &seen);
        assert_eq!(news.len(), 1);
        assert_eq!(tracker.all()[0].key, HostKey::new("ns", "lost"));
        assert_eq!(look(&mut tracker, start, 70, &seen), [], "once is enough");
        let news = look(&mut tracker, start, 80, &[]);
        assert!(matches!(news[..], [News::Settled(_)]), "{news:?}");
        assert!(tracker.all().is_empty());
    }

    #[test]
    fn a_host_that_comes_and_goes_is_not_told_however_long_readings_take() {
        let (mut tracker, start) = (Tracker::new(Duration::from_secs(60)), Instant::now());
        let seen = [named("u", "new")];
        // Two slow readings only.
        assert_eq!(look(&mut tracker, start, 0, &seen), []);
        assert_eq!(look(&mut tracker, start, 100, &seen), []);
        // The host is there now; when it goes again, its time begins again.
        assert_eq!(look(&mut tracker, start, 101, &[]), []);
        for seconds in [102, 103, 104, 161] {
            assert_eq!(look(&mut tracker, start, seconds, &seen), []);
        }
        assert_eq!(look(&mut tracker, start, 162, &seen).len(), 1);
    }

    #[test]
    fn a_node_that_was_renamed_is_another_suspect() {
        let (mut tracker, start) = (Tracker::new(Duration::from_secs(60)), Instant::now());
        for seconds in [0, 30, 60] {
            look(&mut tracker, start, seconds, &[named("u", "a")]);
        }
        assert_eq!(tracker.all().len(), 1);
        look(&mut tracker, start, 61, &[named("u", "b")]);
        assert!(tracker.all().is_empty());
    }
}
