//! Whether this process may act.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt as _, future, stream};
use tokio::sync::watch;
use tokio::time::Instant;

/// Whether this process may act, now and later; clones share it. With several Leases each stands for a share of the work.
#[derive(Clone, Debug)]
pub struct Leadership {
    shares: Vec<Share>,
}

/// The work of one Lease.
#[derive(Clone, Debug)]
struct Share {
    term: watch::Receiver<Term>,
    /// How much is under way.
    busy: Arc<AtomicUsize>,
}

/// A time in which the work of a Lease is ours.
#[derive(Clone, Copy, Debug, Default)]
struct Term {
    /// How many there were.
    number: u64,
    /// Until when, unless it is renewed; a clock decides, so that a process that hung cannot believe what it knew before.
    until: Option<Instant>,
}

/// Something that is under way: its share is not given to another process before this is dropped.
#[derive(Debug)]
pub struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The end at which an election says who may act.
#[derive(Debug)]
pub(super) struct Grant {
    term: watch::Sender<Term>,
    busy: Arc<AtomicUsize>,
}

impl Grant {
    pub(super) fn extend(&self, until: Instant) {
        self.term.send_modify(|term| {
            term.number += u64::from(term.until.is_none());
            term.until = Some(until);
        });
    }

    pub(super) fn end(&self) {
        self.term.send_modify(|term| term.until = None);
    }

    /// Nothing is under way any more. Only asked after the end: nothing new begins then.
    pub(super) fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Acquire) == 0
    }
}

impl Leadership {
    /// Without election: always.
    pub fn always() -> Self {
        // No process runs for a century.
        let century = Duration::from_secs(100 * 365 * 24 * 3600);
        // The channel keeps its value when the sender is dropped.
        let (grant, leadership) = Self::granted();
        grant.extend(Instant::now() + century);
        leadership
    }

    pub(super) fn granted() -> (Grant, Self) {
        let (sender, term) = watch::channel(Term::default());
        let busy = Arc::<AtomicUsize>::default();
        let share = Share {
            term,
            busy: Arc::clone(&busy),
        };
        let grant = Grant { term: sender, busy };
        (grant, Self { shares: vec![share] })
    }

    /// All shares together.
    pub(super) fn of(parts: impl IntoIterator<Item = Self>) -> Self {
        let shares = parts.into_iter().flat_map(|part| part.shares).collect();
        Self { shares }
    }

    /// The work that cannot be shared, as one of the shares.
    #[must_use]
    pub fn first(&self) -> Self {
        let shares = self.shares.iter().take(1).cloned().collect();
        Self { shares }
    }

    /// Whether this process may act: it has a share, and none that ended without its having let go, as happens to a process
    /// that hung.
    pub fn held(&self) -> bool {
        let mut any = false;
        for share in &self.shares {
            let term = *share.term.borrow();
            if term.lasts() {
                any = true;
            } else if term.until.is_some() {
                return false;
            }
        }
        any
    }

    /// Begins something that belongs to a share, found by `key`; `None`: it is not ours.
    pub fn enter(&self, key: &str) -> Option<Busy> {
        let share = self.shares.get(index(key, self.shares.len()))?;
        share.busy.fetch_add(1, Ordering::AcqRel);
        let busy = Busy(Arc::clone(&share.busy));
        // Looked at after it was counted: who clears it counts after that.
        share.term.borrow().lasts().then_some(busy)
    }

    /// Waits until it may.
    pub async fn acquired(&mut self) {
        let waits = self.shares.iter_mut().map(|share| Box::pin(share.begins(0)));
        future::select_all(waits).await;
    }

    /// Tells each time that a share becomes ours.
    pub fn gains(&self) -> impl Stream<Item = ()> + Send + use<> {
        let each = self.shares.clone().into_iter().map(|share| {
            let gained = stream::unfold((share, 0), async |(mut share, seen)| {
                let number = share.begins(seen).await;
                Some(((), (share, number)))
            });
            gained.boxed()
        });
        stream::select_all(each)
    }
}

impl Share {
    /// Waits for a term after the one of this number; answers its number.
    async fn begins(&mut self, seen: u64) -> u64 {
        let begun = |term: &Term| term.number > seen && term.lasts();
        if let Ok(term) = self.term.wait_for(begun).await {
            return term.number;
        }
        // The sender is gone at the end of the process, and in `always`, where one term lasts.
        future::pending().await
    }
}

impl Term {
    fn lasts(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }
}

/// The share that a key belongs to: the same in each replica, whatever it was built with (FNV-1a).
fn index(key: &str, shares: usize) -> usize {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let shares = u64::try_from(shares).unwrap_or(u64::MAX).max(1);
    usize::try_from(hash % shares).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn in_future() -> Instant {
        Instant::now() + LEASE
    }

    #[tokio::test]
    async fn without_election_a_process_always_leads() {
        let mut leadership = Leadership::always();
        leadership.acquired().await;
        assert!(leadership.held() && leadership.enter("a/b").is_some());
        assert_eq!(leadership.gains().next().now_or_never(), Some(Some(())));
    }

    #[test]
    fn leadership_ends_by_itself_when_it_is_not_renewed() {
        let (grant, leadership) = Leadership::granted();
        grant.extend(Instant::now());
        assert!(!leadership.held());
        grant.extend(in_future());
        assert!(leadership.held());
        grant.end();
        assert!(!leadership.held());
    }

    #[tokio::test]
    async fn with_several_leases_each_stands_for_its_share_of_the_work() {
        let ((one, first), (two, second)) = (Leadership::granted(), Leadership::granted());
        let mut both = Leadership::of([first, second]);
        let mut gains = both.gains();
        assert!(!both.held() && both.acquired().now_or_never().is_none());
        one.extend(in_future());
        assert!(both.held() && both.first().held());
        assert_eq!(gains.next().now_or_never(), Some(Some(())));
        assert_eq!(gains.next().now_or_never(), None);

        // Keys are spread, and those of the other share are not ours.
        let keys = (0..100).map(|n| format!("ns/cluster-{n}"));
        let (ours, theirs): (Vec<_>, Vec<_>) = keys.partition(|key| both.enter(key).is_some());
        assert!(ours.len() > 30 && theirs.len() > 30, "{}", ours.len());
        assert!(one.is_idle(), "all that began has ended");
        let busy = both.enter(&ours[0]).unwrap();
        one.end();
        assert!(both.enter(&ours[0]).is_none() && !one.is_idle() && two.is_idle());
        drop(busy);
        assert!(one.is_idle());

        // What comes back is told again.
        one.extend(in_future());
        assert_eq!(gains.next().now_or_never(), Some(Some(())));
        two.extend(in_future());
        assert_eq!(gains.next().now_or_never(), Some(Some(())));
        assert!(both.enter(&theirs[0]).is_some());

        // A process that hung believes nothing, not even what it may have kept.
        two.extend(Instant::now());
        assert!(!both.held());
    }
}
