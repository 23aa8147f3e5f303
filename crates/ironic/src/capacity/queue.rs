//! Who may be busy now, and who is next. Pure: what nodes do and what time it is are passed in.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metal3_provisioner::{Capacity, HostKey};

use crate::mirror::{Business, Load};

/// From being let through to being seen busy. Who takes longer has to ask again.
const GRANT: Duration = Duration::from_secs(60);
/// Who was let through again and again and does not begin goes to the end of the queue.
const TENURE: Duration = Duration::from_secs(5 * 60);
/// How long a clean node may wait to be deployed before somebody else gets its place.
const GAP: Duration = Duration::from_secs(10);
/// Who is called and does not ask within this time is passed over.
const CALL: Duration = Duration::from_secs(15);
/// Who does not ask for so long does not wait any more; hosts that wait ask every minute.
const SILENCE: Duration = Duration::from_secs(5 * 60);

/// Places and those who wait for one.
#[derive(Debug)]
pub(super) struct Queue {
    limit: u32,
    holders: HashMap<HostKey, Holder>,
    waiting: BTreeMap<Turn, Waiter>,
    turns: HashMap<HostKey, Timestamp>,
    used: u32,
}

/// The order of those who wait.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    since: Timestamp,
    key: HostKey,
}

#[derive(Debug)]
struct Waiter {
    asked: Instant,
    called: Option<Instant>,
}

#[derive(Debug)]
struct Holder {
    node: Option<String>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Let through, and not seen busy yet.
    Granted {
        first: Instant,
        last: Instant,
    },
    /// Ironic accepted the work, and it was not read since.
    Begun(Instant),
    Busy,
    /// Between two parts of one operation, maybe.
    Paused(Instant),
}

/// A host that wants to be busy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) key: &'a HostKey,
    pub(super) node: Option<&'a str>,
    /// Since when it waits, as its status says.
    pub(super) since: Option<Timestamp>,
}

/// What it looks like from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Hosts that wait.
    pub waiting: u32,
    /// Places that are taken, also by nodes of nobody.
    pub used: u32,
    /// Places there are.
    pub limit: u32,
}

impl Queue {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            holders: HashMap::new(),
            waiting: BTreeMap::new(),
            turns: HashMap::new(),
            used: 0,
        }
    }

    /// The nodes whose business must be known.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.holders.values().filter_map(|holder| holder.node.as_deref())
    }

    /// Lets the host through, or tells its place.
    pub(super) fn ask(&mut self, asker: Asker<'_>, load: &Load, now: Instant, at: Timestamp) -> Capacity {
        self.review(load, now);
        let own = asker.node.and_then(|node| load.of.get(node));
        let busy = own.is_some_and(|(business, _)| *business == Business::Busy);
        let stage = self.holders.get(asker.key).map(|holder| holder.stage);
        let first = match stage {
            Some(Stage::Granted { first, .. }) => first,
            Some(Stage::Begun(_) | Stage::Busy | Stage::Paused(_)) | None => now,
        };
        if busy || (stage.is_some() && now - first < TENURE) {
            let granted = Stage::Granted { first, last: now };
            let stage = match stage {
                _ if busy => Stage::Busy,
                Some(begun @ Stage::Begun(_)) => begun,
                Some(_) | None => granted,
            };
            self.hold(asker, stage);
            self.count(load);
            return Capacity::Free;
        }
        if self.holders.remove(asker.key).is_some() {
            self.count(load);
        }
        let since = *self
            .turns
            .entry(asker.key.clone())
            .or_insert_with(|| asker.since.map_or(at, |since| since.min(at)));
        let turn = Turn {
            since,
            key: asker.key.clone(),
        };
        let ahead = self.waiting.range(..&turn).count();
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        if ahead < self.limit.saturating_sub(self.used) {
            self.hold(
                asker,
                Stage::Granted {
                    first: now,
                    last: now,
                },
            );
            self.count(load);
            return Capacity::Free;
        }
        let waiter = self.waiting.entry(turn).or_insert(Waiter {
            asked: now,
            called: None,
        });
        waiter.asked = now;
        waiter.called = None;
        Capacity::Full {
            busy: self.used,
            limit: self.limit,
            position: ahead.saturating_add(1),
        }
    }

    fn hold(&mut self, asker: Asker<'_>, stage: Stage) {
        self.leave_waiting(asker.key);
        let holder = Holder {
            node: asker.node.map(str::to_owned),
            stage,
        };
        self.holders.insert(asker.key.clone(), holder);
    }

    /// The host wants nothing any more.
    pub(super) fn leave(&mut self, key: &HostKey) {
        self.leave_waiting(key);
        self.holders.remove(key);
    }

    fn leave_waiting(&mut self, key: &HostKey) {
        if let Some(since) = self.turns.remove(key) {
            let key = key.clone();
            self.waiting.remove(&Turn { since, key });
        }
    }

    /// Takes over that nodes began to work.
    pub(super) fn begun(&mut self, nodes: Vec<(String, Instant)>) {
        if nodes.is_empty() {
            return;
        }
        let nodes: HashMap<_, _> = nodes.into_iter().collect();
        for holder in self.holders.values_mut() {
            let at = holder.node.as_deref().and_then(|node| nodes.get(node));
            if let Some(at) = at
                && holder.stage != Stage::Busy
            {
                holder.stage = Stage::Begun(*at);
            }
        }
    }

    /// Hosts that waited before anybody asked.
    pub(super) fn expect(&mut self, hosts: impl IntoIterator<Item = (HostKey, Timestamp)>, now: Instant) {
        for (key, since) in hosts {
            if self.holders.contains_key(&key) || self.turns.contains_key(&key) {
                continue;
            }
            self.turns.insert(key.clone(), since);
            let waiter = Waiter {
                asked: now,
                called: None,
            };
            self.waiting.insert(Turn { since, key }, waiter);
        }
    }

    /// Takes places back and answers who is next.
    pub(super) fn settle(
        &mut self,
        load: &Load,
        known: impl Fn(&HostKey) -> bool,
        now: Instant,
    ) -> Vec<HostKey> {
        self.review(load, now);
        let turns = &mut self.turns;
        self.waiting.retain(|turn, waiter| {
            let passed_over = waiter.called.is_some_and(|called| now - called >= CALL);
            let stays = !passed_over && now - waiter.asked < SILENCE && known(&turn.key);
            if !stays {
                turns.remove(&turn.key);
            }
            stays
        });
        let free = self.limit.saturating_sub(self.used);
        let next = self
            .waiting
            .iter_mut()
            .take(usize::try_from(free).unwrap_or(usize::MAX));
        let next = next.filter(|(_, waiter)| waiter.called.is_none());
        next.map(|(turn, waiter)| {
            waiter.called = Some(now);
            turn.key.clone()
        })
        .collect()
    }

    /// Follows what became of those who were let through.
    fn review(&mut self, load: &Load, now: Instant) {
        self.holders.retain(|_, holder| {
            let seen = holder.node.as_deref().and_then(|node| load.of.get(node).copied());
            let business = seen.map_or(Business::Resting, |(business, _)| business);
            let stage = match (holder.stage, business) {
                (_, Business::Busy) => Some(Stage::Busy),
                (Stage::Granted { last, .. }, _) => (now - last < GRANT).then_some(holder.stage),
                (Stage::Begun(at), _) if seen.is_some_and(|(_, as_of)| as_of <= at) => Some(holder.stage),
                // A part that was too short to be seen is over, too.
                (Stage::Begun(_) | Stage::Busy, Business::Paused) => Some(Stage::Paused(now)),
                (Stage::Paused(at), Business::Paused) => (now - at < GAP).then_some(holder.stage),
                (Stage::Begun(_) | Stage::Busy | Stage::Paused(_), Business::Resting) => None,
            };
            if let Some(stage) = stage {
                holder.stage = stage;
            }
            stage.is_some()
        });
        self.count(load);
    }

    /// Every busy node takes a place, and every holder that is not among them.
    fn count(&mut self, load: &Load) {
        let reserved = self.holders.values().filter(|holder| holder.stage != Stage::Busy);
        let reserved = u32::try_from(reserved.count()).unwrap_or(u32::MAX);
        self.used = load.busy.saturating_add(reserved);
    }

    pub(super) fn state(&self) -> QueueState {
        QueueState {
            waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            used: self.used,
            limit: self.limit,
        }
    }
}
