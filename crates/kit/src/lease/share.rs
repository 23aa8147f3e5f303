//! Several Leases among which replicas share the work: who holds which, and who asks whom for one.
//!
//! Whoever finds a Lease free takes it, so that nothing is ever left lying. A replica that has at least two less than
//! another asks that one for a Lease by an annotation on it; the holder lets go once nothing is under way for it, and nobody
//! but the one who asked takes it in the next moments. So the work is shared evenly a few moments after a replica came, and
//! one that died is stood in for as soon as its Leases have expired.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Annotation of a Lease, ours: the replica that asks for it, and when it did.
const ASKED_BY: &str = "metal3.io/asked-by";

/// Who asks for a Lease. A replica that asked long ago may be dead; if it is not, it asks again.
pub(super) fn asker(metadata: &ObjectMeta, lasts: Duration, now: Timestamp) -> Option<&str> {
    let (who, when) = metadata.annotations.as_ref()?.get(ASKED_BY)?.rsplit_once(' ')?;
    let until = when.parse::<Timestamp>().ok()?.checked_add(lasts).ok()?;
    (now < until).then_some(who)
}

/// Asks for a Lease.
pub(super) fn ask(metadata: &mut ObjectMeta, me: &str, now: Timestamp) {
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(ASKED_BY.to_owned(), format!("{me} {now:.0}"));
}

/// The one who asked has it.
pub(super) fn answered(metadata: &mut ObjectMeta) {
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(ASKED_BY);
    }
}

/// Who holds which Lease, as far as this replica knows; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Table(Arc<Mutex<Vec<Option<String>>>>);

impl Table {
    pub(super) fn new(leases: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![None; leases])))
    }

    /// A look at a Lease; `None`: nobody holds it.
    pub(super) fn saw(&self, lease: usize, holder: Option<&str>) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.get_mut(lease) {
            *known = holder.map(str::to_owned);
        }
    }

    /// The Lease that a replica should ask for, if any: one of the replica that has most.
    pub(super) fn ask(&self, me: &str) -> Option<usize> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts(&table);
        let mine = counts.get(me).copied().unwrap_or(0);
        let (richest, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        if most < mine + 2 {
            return None;
        }
        table.iter().position(|holder| holder.as_deref() == Some(richest))
    }

    /// Whether a replica has enough to give another one a Lease.
    pub(super) fn gives(&self, me: &str, asker: &str) -> bool {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts(&table);
        let count = |who: &str| counts.get(who).copied().unwrap_or(0);
        count(me) >= count(asker) + 2
    }
}

fn counts(table: &[Option<String>]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for holder in table.iter().flatten() {
        *counts.entry(holder.as_str()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replicas that come, ask and die, until nobody asks any more.
    fn settle(table: &Table, replicas: &[&str]) -> usize {
        for moves in 0..100 {
            let asked = replicas.iter().find_map(|me| Some((*me, table.ask(me)?)));
            let Some((asker, lease)) = asked else { return moves };
            let holder = table.0.lock().unwrap()[lease].clone().unwrap();
            assert!(
                table.gives(&holder, asker),
                "{holder} keeps what {asker} asks for: {table:?}"
            );
            table.saw(lease, Some(asker));
        }
        panic!("no end: {table:?}");
    }

    #[test]
    fn leases_are_shared_evenly_and_then_stay_where_they_are() {
        for leases in 1..12 {
            for replicas in 1..6 {
                let names = ["a", "b", "c", "d", "e"];
                let table = Table::new(leases);
                // All are with the first one, or with the first two.
                for lease in 0..leases {
                    table.saw(lease, Some(names[lease % replicas.min(2)]));
                }
                let moves = settle(&table, &names[..replicas]);
                assert!(moves <= leases, "{leases} {replicas}: {moves}");
                let held = table.0.lock().unwrap().clone();
                let counts = counts(&held);
                let of = |name: &&str| counts.get(*name).copied().unwrap_or(0);
                let all: Vec<_> = names[..replicas].iter().map(of).collect();
                let most = all.iter().max().unwrap();
                assert!(all.iter().all(|count| count + 1 >= *most), "{all:?}");
            }
        }
    }

    #[test]
    fn who_asks_is_heard_for_a_while_and_then_taken_for_dead() {
        let (mut metadata, lasts) = (ObjectMeta::default(), Duration::from_secs(15));
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(asker(&metadata, lasts, at(100)), None);
        ask(&mut metadata, "pod_0a", at(100));
        assert_eq!(asker(&metadata, lasts, at(114)), Some("pod_0a"));
        assert_eq!(asker(&metadata, lasts, at(115)), None);
        ask(&mut metadata, "pod_1b", at(115));
        assert_eq!(asker(&metadata, lasts, at(116)), Some("pod_1b"));
        answered(&mut metadata);
        assert_eq!(asker(&metadata, lasts, at(116)), None);
    }

    #[test]
    fn nobody_asks_for_what_is_free_or_its_own() {
        let table = Table::new(4);
        assert_eq!(table.ask("a"), None);
        table.saw(0, Some("a"));
        table.saw(1, Some("b"));
        assert_eq!((table.ask("a"), table.ask("b")), (None, None));
        assert_eq!(table.ask("c"), None, "one is not two less");
        table.saw(2, Some("b"));
        assert_eq!(table.ask("c"), Some(1));
        assert!(table.gives("b", "c") && !table.gives("b", "a") && !table.gives("a", "c"));
    }
}
