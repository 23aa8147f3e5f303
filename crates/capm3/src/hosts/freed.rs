//! Which host became free last: no replica is to say that there is none before it knows as much. Time comes from outside.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long claims name a host that became free. A replica that was not told of it for so long is not told of anything. And
/// when Kubernetes was restored from a backup, its revisions begin lower again: none comes to what was seen before, and
/// claims must not wait for that until all is as new as it was.
const NAMED_FOR: Duration = Duration::from_secs(60);

/// The newest one of each namespace; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Freed {
    newest: Arc<Mutex<HashMap<String, Told>>>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    revision: u64,
    at: Instant,
}

impl Told {
    fn counts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < NAMED_FOR
    }
}

impl Freed {
    /// A host of the namespace was free at this revision, and not before.
    pub(super) fn told(&self, namespace: &str, revision: u64, now: Instant) {
        self.with(|newest| {
            let known = newest.get(namespace).filter(|told| told.counts(now));
            // The hosts of a snapshot come in any order.
            if known.is_none_or(|known| known.revision < revision) {
                newest.insert(namespace.to_owned(), Told { revision, at: now });
            }
        });
    }

    /// The revision that whoever answers a claim has to know; none when no host became free lately.
    pub(super) fn newest(&self, namespace: &str, now: Instant) -> Option<u64> {
        self.with(|newest| {
            let told = newest.get(namespace).filter(|told| told.counts(now));
            told.map(|told| told.revision)
        })
    }

    // Whole after every step, so a panic of another thread does not spoil it.
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Told>) -> T) -> T {
        act(&mut self.newest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_host_that_became_free_in_a_namespace_counts_in_whatever_order_they_are_told() {
        let (freed, now) = (Freed::default(), Instant::now());
        assert_eq!(freed.newest("ns", now), None);
        for revision in [7, 9, 8] {
            freed.told("ns", revision, now);
        }
        freed.told("other", 12, now);
        assert_eq!(freed.newest("ns", now), Some(9));
        assert_eq!(freed.newest("other", now), Some(12));
        assert_eq!(freed.newest("third", now), None);
    }

    #[test]
    fn what_was_told_long_ago_holds_nobody_up_and_hides_no_lower_revision() {
        let (freed, begin) = (Freed::default(), Instant::now());
        freed.told("ns", 1000, begin);
        // Told again: that does not make it younger.
        let later = begin + NAMED_FOR / 2;
        freed.told("ns", 1000, later);
        assert_eq!(freed.newest("ns", later), Some(1000));
        let late = begin + NAMED_FOR;
        assert_eq!(freed.newest("ns", late), None);
        freed.told("ns", 5, late);
        assert_eq!(freed.newest("ns", late), Some(5), "Kubernetes was restored");
    }
}
