//! What changed lately, in the order in which the index learned of it. That is not the order of Kubernetes: the answer to
//! an own write is known before the watch shows what others wrote earlier. So a place in the log, and no revision of
//! Kubernetes, is what a reader resumes from.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use metal3_provisioner::HostKey;
use metal3_rpc::v1::Host;

/// Changes remembered for readers that resume, or that are behind before they count as too slow: some seconds of a fleet
/// of thousands that is being provisioned at once.
const LENGTH: usize = 4096;

/// A place in the log of one process.
pub(in crate::grpc) type Place = u64;

/// What a host was before a change: all that decides whether a reader knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::grpc) enum Before {
    /// There was no such host.
    Absent,
    /// Nobody used it, or a consumer of this kind.
    Used(Option<Arc<str>>),
}

impl Before {
    /// As a known host is.
    pub(super) fn of(host: Option<&Arc<Host>>) -> Self {
        host.map_or(Self::Absent, |host| {
            let consumer = host.consumer.as_ref();
            Self::Used(consumer.map(|consumer| Arc::from(consumer.kind.as_str())))
        })
    }
}

/// A host that changed since some place.
#[derive(Clone, Debug)]
pub(in crate::grpc) struct Touched {
    pub(in crate::grpc) key: Arc<HostKey>,
    /// At that place.
    pub(in crate::grpc) before: Before,
    /// What else it was since: a reader may have been told of it by then.
    pub(in crate::grpc) between: Vec<Before>,
    /// Its last content, if it went. It may be there again.
    pub(in crate::grpc) last: Option<Arc<Host>>,
    /// Of its last change.
    place: Place,
}

struct Entry {
    key: Arc<HostKey>,
    before: Before,
    last: Option<Arc<Host>>,
}

pub(super) struct Log {
    entries: VecDeque<Entry>,
    /// Of the newest entry. Its upper half is another one in each process: a place of another replica means nothing here.
    head: Place,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            head: u64::from(rand::random::<u32>()) << 32,
        }
    }
}

impl Log {
    pub(super) const fn head(&self) -> Place {
        self.head
    }

    /// A host changed, or went: then `last` is what it was.
    pub(super) fn push(&mut self, key: HostKey, before: Before, last: Option<Arc<Host>>) {
        self.head += 1;
        self.entries.push_back(Entry {
            key: Arc::new(key),
            before,
            last,
        });
        if self.entries.len() > LENGTH {
            self.entries.pop_front();
        }
    }

    /// The last content of a host that went.
    pub(super) fn last(&self, key: &HostKey) -> Option<Arc<Host>> {
        let entries = self.entries.iter().rev();
        let mut of_host = entries.filter(|entry| *entry.key == *key);
        of_host.next().and_then(|entry| entry.last.clone())
    }

    /// Which hosts changed after a place, each once, by their last change. `None`: that is not known any more, or is no
    /// place of this log.
    pub(super) fn since(&self, place: Place) -> Option<Vec<Touched>> {
        let behind = usize::try_from(self.head.checked_sub(place)?).ok()?;
        let first = self.entries.len().checked_sub(behind)?;
        let mut touched: HashMap<&HostKey, Touched> = HashMap::new();
        for (place, entry) in (place + 1..).zip(self.entries.range(first..)) {
            touched
                .entry(&entry.key)
                .and_modify(|known| {
                    if entry.before != known.before && !known.between.contains(&entry.before) {
                        known.between.push(entry.before.clone());
                    }
                    known.last.clone_from(&entry.last);
                    known.place = place;
                })
                .or_insert_with(|| Touched {
                    key: Arc::clone(&entry.key),
                    before: entry.before.clone(),
                    between: Vec::new(),
                    last: entry.last.clone(),
                    place,
                });
        }
        let mut touched: Vec<Touched> = touched.into_values().collect();
        touched.sort_unstable_by_key(|touched| touched.place);
        Some(touched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Before = Before::Used(None);

    fn key(name: &str) -> HostKey {
        HostKey::new("ns", name)
    }

    fn told(log: &Log, place: Place) -> Option<Vec<(String, Before, bool, u64)>> {
        let base = log.head() >> 32 << 32;
        let touched = log.since(place)?.into_iter();
        let told = touched.map(|touched| {
            let name = touched.key.name.clone();
            (name, touched.before, touched.last.is_some(), touched.place - base)
        });
        Some(told.collect())
    }

    #[test]
    fn each_host_that_changed_is_told_once_with_what_it_was_before() {
        let mut log = Log::default();
        log.push(key("a"), Before::Absent, None);
        let place = log.head();
        log.push(key("b"), Before::Absent, None);
        log.push(key("a"), FREE, None);
        log.push(key("b"), FREE, None);
        log.push(key("gone"), FREE, Some(Arc::default()));
        assert_eq!(
            told(&log, place).unwrap(),
            [
                ("a".to_owned(), FREE, false, 3),
                ("b".to_owned(), Before::Absent, false, 4),
                ("gone".to_owned(), FREE, true, 5),
            ]
        );
        assert_eq!(told(&log, log.head()).unwrap(), []);
    }

    #[test]
    fn a_place_that_was_forgotten_or_is_of_another_process_or_of_the_future_is_none() {
        let mut log = Log::default();
        let start = log.head();
        log.push(key("a"), Before::Absent, None);
        assert!(log.since(log.head() + 1).is_none() && log.since(u64::MAX).is_none());
        assert!(log.since(start.wrapping_sub(1)).is_none());
        assert!(log.since(start ^ 1 << 40).is_none());
        for _ in 1..LENGTH {
            log.push(key("b"), FREE, None);
        }
        assert_eq!(log.since(start).map(|touched| touched.len()), Some(2));
        log.push(key("b"), FREE, None);
        assert!(log.since(start).is_none(), "its first change is forgotten");
    }
}
