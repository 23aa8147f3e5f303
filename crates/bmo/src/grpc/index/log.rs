//! What changed lately, in the order in which the index learned of it. That is not the order of Kubernetes: the answer to
//! an own write is known before the watch shows what others wrote earlier, and of a host that a listing finds missing
//! nobody knows when it went. So a place in the log, and no revision of Kubernetes, is what a reader goes on from.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use metal3_provisioner::HostKey;
use metal3_rpc::v1::Host;

/// Changes remembered for readers that resume, or that are behind before they count as too slow: some seconds of a fleet
/// of thousands that is being provisioned at once.
pub(in crate::grpc) const LENGTH: usize = 4096;

/// A place in the log of one process.
pub(in crate::grpc) type Place = u64;

/// One change of one host.
#[derive(Debug)]
pub(in crate::grpc) struct Change {
    pub(in crate::grpc) place: Place,
    pub(in crate::grpc) key: HostKey,
    /// `None`: there was no such host.
    pub(in crate::grpc) before: Option<Arc<Host>>,
    /// What it is now, or was in the end.
    pub(in crate::grpc) host: Arc<Host>,
    pub(in crate::grpc) gone: bool,
}

pub(super) struct Log {
    changes: VecDeque<Arc<Change>>,
    /// Those by which a host went, and is not there again.
    gone: HashMap<HostKey, Arc<Change>>,
    /// The place of the newest change.
    head: Place,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            changes: VecDeque::new(),
            gone: HashMap::new(),
            // Another one in each process: a place in the log of another replica means nothing here.
            head: u64::from(rand::random::<u32>()) << 32,
        }
    }
}

impl Log {
    pub(super) const fn head(&self) -> Place {
        self.head
    }

    pub(super) fn push(&mut self, key: HostKey, before: Option<Arc<Host>>, host: Arc<Host>, gone: bool) {
        self.head += 1;
        let change = Arc::new(Change {
            place: self.head,
            key,
            before,
            host,
            gone,
        });
        if gone {
            self.gone.insert(change.key.clone(), Arc::clone(&change));
        } else {
            self.gone.remove(&change.key);
        }
        self.changes.push_back(change);
        if self.changes.len() > LENGTH
            && let Some(oldest) = self.changes.pop_front()
            && self
                .gone
                .get(&oldest.key)
                .is_some_and(|gone| gone.place == oldest.place)
        {
            self.gone.remove(&oldest.key);
        }
    }

    /// Whether this very host went: the answer to a look at it may come later than word of its end.
    pub(super) fn ended(&self, key: &HostKey, host: &Host) -> bool {
        self.gone.get(key).is_some_and(|gone| same(&gone.host, host))
    }

    /// The next changes after a place, so many at most. `None`: they are not known any more, or it is no place of this log.
    pub(super) fn since(&self, place: Place, most: usize) -> Option<Vec<Arc<Change>>> {
        let behind = usize::try_from(self.head.checked_sub(place)?).ok()?;
        let first = self.changes.len().checked_sub(behind)?;
        Some(self.changes.range(first..).take(most).cloned().collect())
    }
}

fn same(one: &Host, other: &Host) -> bool {
    fn uid(host: &Host) -> Option<&str> {
        let uid = host.r#ref.as_ref()?.uid.as_str();
        (!uid.is_empty()).then_some(uid)
    }
    uid(one).is_some_and(|one| uid(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &mut Log, name: &str) {
        log.push(HostKey::new("ns", name), None, Arc::default(), false);
    }

    fn told(log: &Log, place: Place, most: usize) -> Option<Vec<String>> {
        let changes = log.since(place, most)?;
        Some(changes.iter().map(|change| change.key.name.clone()).collect())
    }

    #[test]
    fn what_came_after_a_place_is_told_in_order_and_a_part_at_a_time() {
        let mut log = Log::default();
        let start = log.head();
        for name in ["a", "b", "c"] {
            push(&mut log, name);
        }
        assert_eq!(told(&log, start, 2).unwrap(), ["a", "b"]);
        assert_eq!(log.since(start, 2).unwrap()[1].place, start + 2);
        assert_eq!(told(&log, start + 2, 2).unwrap(), ["c"]);
        assert!(told(&log, log.head(), 2).unwrap().is_empty());
    }

    #[test]
    fn a_place_that_was_forgotten_or_is_of_another_process_or_of_the_future_is_none() {
        let mut log = Log::default();
        let start = log.head();
        push(&mut log, "a");
        assert!(log.since(log.head() + 1, 1).is_none() && log.since(u64::MAX, 1).is_none());
        assert!(log.since(start.wrapping_sub(1), 1).is_none());
        assert!(log.since(start ^ 1 << 40, 1).is_none());
        for _ in 1..LENGTH {
            push(&mut log, "b");
        }
        assert_eq!(
            log.since(start, usize::MAX).map(|changes| changes.len()),
            Some(LENGTH)
        );
        push(&mut log, "b");
        assert!(log.since(start, 1).is_none(), "its first change is forgotten");
    }
}
