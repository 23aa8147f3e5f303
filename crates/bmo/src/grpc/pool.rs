//! The hosts of one namespace, sorted by what a claim asks for, so that it looks at those that it may take and at no others.
//!
//! A host is in one of three places: it has a consumer, it is reserved, or nobody has it; of the last, only those that
//! nothing stands against are kept, each under its labels. The choice is the same as that of a look at all hosts, see the
//! tests.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use metal3_api::names;
use metal3_rpc::v1::claim_host_response::Reason;
use metal3_rpc::v1::{Consumer, Host};

use super::allocate::{Choice, Wish, best, fingerprint, hash, is_awaited, name, reject};
use super::intent::is_over;
use super::request::revision;

/// When a consumer came to a host: after the one revision, at the other at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) after: u64,
    pub(super) by: u64,
}

impl Since {
    /// Learns from an older revision than the one known, at which the host was the consumer's or was not. Whoever tells of
    /// changes `exactly` tells of each: a host that was another's before and the consumer's then came with that revision.
    fn learn(&mut self, then: u64, owned: bool, exactly: bool, known: u64) {
        if then <= self.after {
            return;
        }
        if !owned {
            self.after = then;
            // What was taken for the time when it came was before it went again.
            if self.by <= then {
                self.by = known;
            }
        } else if then <= self.by {
            self.by = then;
            if exactly {
                self.after = then - 1;
            }
        }
    }
}

/// A host and its consumer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Holding {
    pub(super) host: Arc<Host>,
    pub(super) since: Since,
}

/// A host, known by its name.
#[derive(Debug)]
struct Named(Arc<Host>);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        name(&self.0)
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        name(&self.0) == name(&other.0)
    }
}

impl Eq for Named {}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> Ordering {
        name(&self.0).cmp(name(&other.0))
    }
}

type Hosts = BTreeSet<Named>;

#[derive(Debug, Default)]
pub(super) struct Pool {
    /// By the fingerprint of the consumer. One that shares it with another is told apart when it is looked up.
    owned: HashMap<u64, Vec<Holding>>,
    /// By key, in any state.
    reserved: HashMap<String, Hosts>,
    /// Those reserved until some time.
    expiring: Hosts,
    /// Nobody has them, and nothing stands against them.
    free: Hosts,
    /// The free ones by the hash of key and value of each label; those that share it with another are matched again.
    labelled: HashMap<u64, Hosts>,
    /// Grows with every change.
    version: u64,
}

enum Place {
    Owned(u64),
    Reserved,
    Free,
    Nowhere,
}

fn place(host: &Host) -> Place {
    match &host.consumer {
        _ if host.is_reserved() => Place::Reserved,
        Some(consumer) => Place::Owned(fingerprint(consumer)),
        None if host.obstacle().is_none() => Place::Free,
        None => Place::Nowhere,
    }
}

fn label(key: &str, value: &str) -> u64 {
    hash(&(key, value))
}

fn take<K: std::hash::Hash + Eq>(sets: &mut HashMap<K, Hosts>, key: &K, name: &str) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(name);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

impl Pool {
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// Takes over a host that was seen; `since` tells when its consumer came if it is another than before.
    pub(super) fn put(&mut self, before: Option<&Arc<Host>>, host: &Arc<Host>, since: Since) {
        let known = before.and_then(|before| self.kept(before, host));
        if let Some(before) = before {
            self.remove(before);
        }
        self.version += 1;
        match place(host) {
            Place::Owned(consumer) => self.owned.entry(consumer).or_default().push(Holding {
                host: Arc::clone(host),
                since: known.unwrap_or(since),
            }),
            Place::Reserved => {
                let kept = self.reserved.entry(host.reuse_key.clone()).or_default();
                kept.insert(Named(Arc::clone(host)));
                if host.reserved_until.is_some() {
                    self.expiring.insert(Named(Arc::clone(host)));
                }
            }
            Place::Free => {
                self.free.insert(Named(Arc::clone(host)));
                for (key, value) in &host.labels {
                    let set = self.labelled.entry(label(key, value)).or_default();
                    set.insert(Named(Arc::clone(host)));
                }
            }
            Place::Nowhere => {}
        }
    }

    /// When the consumer of a host came, if it has the same one as before.
    fn kept(&self, before: &Host, host: &Host) -> Option<Since> {
        let uid = |host: &Host| host.r#ref.as_ref().map(|host| host.uid.clone());
        let (old, new) = before.consumer.as_ref().zip(host.consumer.as_ref())?;
        if !old.same_object(new) || uid(before) != uid(host) {
            return None;
        }
        let holdings = self.owned.get(&fingerprint(old))?;
        let holding = holdings
            .iter()
            .find(|holding| name(&holding.host) == name(before))?;
        Some(holding.since)
    }

    /// What a host was is told after what it is: somebody looked at it, and was faster than the watch.
    pub(super) fn was(&mut self, known: &Host, then: &Host, exactly: bool) {
        let uid = |host: &Host| host.r#ref.as_ref().map(|host| host.uid.clone());
        let Some(consumer) = known.consumer.as_ref().filter(|_| uid(known) == uid(then)) else {
            return;
        };
        let holdings = self.owned.get_mut(&fingerprint(consumer));
        let mut holdings = holdings.into_iter().flatten();
        if let Some(holding) = holdings.find(|holding| name(&holding.host) == name(known)) {
            let owner = then.consumer.as_ref();
            let owned = owner.is_some_and(|owner| owner.same_object(consumer));
            holding
                .since
                .learn(revision(then), owned, exactly, revision(known));
        }
    }

    pub(super) fn remove(&mut self, host: &Host) {
        self.version += 1;
        let name = self::name(host);
        match place(host) {
            Place::Owned(consumer) => {
                if let Some(holdings) = self.owned.get_mut(&consumer) {
                    holdings.retain(|holding| self::name(&holding.host) != name);
                    if holdings.is_empty() {
                        self.owned.remove(&consumer);
                    }
                }
            }
            Place::Reserved => {
                take(&mut self.reserved, &host.reuse_key, name);
                self.expiring.remove(name);
            }
            Place::Free => {
                self.free.remove(name);
                for (key, value) in &host.labels {
                    take(&mut self.labelled, &label(key, value), name);
                }
            }
            Place::Nowhere => {}
        }
    }

    /// The hosts that a consumer has.
    pub(super) fn holdings(&self, consumer: &Consumer) -> Vec<Holding> {
        let holdings = self.owned.get(&fingerprint(consumer)).into_iter().flatten();
        holdings
            .filter(|holding| {
                let owner = holding.host.consumer.as_ref();
                owner.is_some_and(|owner| owner.same_object(consumer))
            })
            .cloned()
            .collect()
    }

    /// The hosts of each consumer that has more than one.
    pub(super) fn doubles(&self) -> Vec<Vec<Holding>> {
        // Those of one fingerprint are those of one consumer, but for a chance that the rules for strays rule out.
        let several = self.owned.values().filter(|holdings| holdings.len() > 1);
        several.cloned().collect()
    }

    /// Chooses a host for a consumer that has none. `busy` are those that others are taking at this moment.
    pub(super) fn choose(&self, wish: &Wish, now: Timestamp, busy: impl Fn(&Host) -> bool) -> Choice {
        let fits = |host: &&Arc<Host>| reject(wish, host, now).is_none();
        let kept = || {
            let kept = self.reserved.get(&wish.reuse_key).into_iter().flatten();
            kept.map(|Named(host)| host)
        };
        if let Some(pick) = best(&wish.consumer, kept().filter(fits), &busy) {
            return pick.choice(Reason::Reused);
        }
        let awaited: Vec<_> = kept()
            .filter(|host| is_awaited(wish, host, now))
            .cloned()
            .collect();
        if !awaited.is_empty() {
            return Choice::Wait(awaited);
        }
        let domain = wish.failure_domain.as_str();
        if !domain.is_empty() {
            let inside = self.candidates(wish, Some(domain), now);
            let inside = inside.filter(fits).filter(|host| host.failure_domain == domain);
            if let Some(pick) = best(&wish.consumer, inside, &busy) {
                return pick.choice(Reason::Selected);
            }
            if wish.failure_domain_required {
                return Choice::None;
            }
        }
        let candidates = self.candidates(wish, None, now).filter(fits);
        best(&wish.consumer, candidates, &busy).map_or(Choice::None, |pick| pick.choice(Reason::Selected))
    }

    /// Hosts among which are all that a claim may take, apart from those reserved for it: the shortest list there is.
    fn candidates<'a>(
        &'a self,
        wish: &Wish,
        domain: Option<&str>,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Arc<Host>> {
        let domain = domain.map(|domain| vec![label(names::LABEL_FAILURE_DOMAIN, domain)]);
        let required = wish.selector.required();
        let lists = required
            .map(|(key, values)| values.iter().map(|value| label(key, value)).collect())
            .chain(domain)
            .map(|labels: Vec<u64>| {
                let sets: Vec<_> = labels
                    .iter()
                    .filter_map(|label| self.labelled.get(label))
                    .collect();
                (sets.iter().map(|set| set.len()).sum::<usize>(), sets)
            });
        let all = (self.free.len(), vec![&self.free]);
        let (_, sets) = lists
            .chain([all])
            .min_by_key(|(length, _)| *length)
            .unwrap_or_default();
        let over = self.expiring.iter().filter(move |Named(host)| is_over(host, now));
        sets.into_iter().flatten().chain(over).map(|Named(host)| host)
    }
}

#[cfg(test)]
mod tests;
