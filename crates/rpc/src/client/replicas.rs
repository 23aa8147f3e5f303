//! Which replica gets the next call. Pure: time is an argument.
//!
//! The least busy one, and in turn among equals. One that failed is set aside for a while that grows with each failure;
//! afterwards one call tries it. When all are set aside the one whose time is over first is tried all the same: asking
//! is how a client learns that a server is back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// How long a replica is set aside after its first failure; doubled by each further one.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

/// The replicas that are known; `C` is the way to one.
#[derive(Debug)]
pub(super) struct Replicas<C> {
    list: Vec<Replica<C>>,
    turn: u64,
}

#[derive(Debug)]
struct Replica<C> {
    address: SocketAddr,
    way: C,
    busy: usize,
    failures: u32,
    /// When it may be tried again.
    until: Option<Instant>,
    /// When it was picked last.
    turn: u64,
}

impl<C> Default for Replicas<C> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            turn: 0,
        }
    }
}

impl<C: Clone> Replicas<C> {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many are known, and how many of them did not fail last.
    pub(super) fn count(&self) -> (usize, usize) {
        let usable = self.list.iter().filter(|replica| replica.failures == 0);
        (self.list.len(), usable.count())
    }

    /// These are there now. What is known of those that stay is kept.
    pub(super) fn replace(&mut self, addresses: &[SocketAddr], mut way: impl FnMut(SocketAddr) -> C) {
        self.list.retain(|replica| addresses.contains(&replica.address));
        for &address in addresses {
            if !self.list.iter().any(|replica| replica.address == address) {
                self.list.push(Replica {
                    address,
                    way: way(address),
                    busy: 0,
                    failures: 0,
                    until: None,
                    turn: 0,
                });
            }
        }
    }

    /// New ways to all of them.
    pub(super) fn renew_all(&mut self, mut way: impl FnMut(SocketAddr) -> C) {
        for replica in &mut self.list {
            replica.way = way(replica.address);
        }
    }

    /// The one for the next call; [`Self::end`] is to follow.
    pub(super) fn pick(&mut self, now: Instant) -> Option<(SocketAddr, C)> {
        let fit = |replica: &&mut Replica<C>| match replica.until {
            None => true,
            Some(until) => until <= now && replica.busy == 0,
        };
        let best = self
            .list
            .iter_mut()
            .filter(fit)
            .min_by_key(|replica| (replica.busy, replica.turn));
        let replica = match best {
            Some(replica) => replica,
            None => self
                .list
                .iter_mut()
                .min_by_key(|replica| (replica.until, replica.turn))?,
        };
        self.turn += 1;
        replica.turn = self.turn;
        replica.busy += 1;
        Some((replica.address, replica.way.clone()))
    }

    /// A call is over, however it ended.
    pub(super) fn end(&mut self, address: SocketAddr) {
        if let Some(replica) = self.find(address) {
            replica.busy = replica.busy.saturating_sub(1);
        }
    }

    /// It answers.
    pub(super) fn well(&mut self, address: SocketAddr) {
        if let Some(replica) = self.find(address) {
            (replica.failures, replica.until) = (0, None);
        }
    }

    /// It fails, or does not answer.
    pub(super) fn ill(&mut self, address: SocketAddr, now: Instant) {
        if let Some(replica) = self.find(address) {
            let aside = FIRST.saturating_mul(1 << replica.failures.min(8)).min(LONGEST);
            replica.failures = replica.failures.saturating_add(1);
            replica.until = Some(now + aside);
        }
    }

    /// The way to it leads nowhere: a new one.
    pub(super) fn renew(&mut self, address: SocketAddr, way: impl FnOnce(SocketAddr) -> C) {
        if let Some(replica) = self.find(address) {
            replica.way = way(address);
        }
    }

    /// Those that were dropped meanwhile have nothing to be told.
    fn find(&mut self, address: SocketAddr) -> Option<&mut Replica<C>> {
        self.list.iter_mut().find(|replica| replica.address == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn replicas(ports: &[u16]) -> Replicas<u16> {
        let mut replicas = Replicas::default();
        let addresses: Vec<_> = ports.iter().map(|port| address(*port)).collect();
        replicas.replace(&addresses, |address| address.port());
        replicas
    }

    /// Calls that end at once.
    fn quick(replicas: &mut Replicas<u16>, now: Instant, calls: usize) -> Vec<u16> {
        let mut call = || {
            let (address, way) = replicas.pick(now).unwrap();
            replicas.end(address);
            way
        };
        (0..calls).map(|_| call()).collect()
    }

    #[test]
    fn calls_are_spread_in_turn_and_avoid_the_busy() {
        let (mut replicas, now) = (replicas(&[1, 2, 3]), Instant::now());
        assert_eq!(quick(&mut replicas, now, 6), [1, 2, 3, 1, 2, 3]);
        let (busy, _) = replicas.pick(now).unwrap();
        assert_eq!(busy, address(1));
        assert_eq!(quick(&mut replicas, now, 4), [2, 3, 2, 3]);
        replicas.end(busy);
        assert_eq!(quick(&mut replicas, now, 1), [1]);
    }

    #[test]
    fn one_that_failed_is_left_alone_tried_by_one_call_and_taken_back() {
        let (mut replicas, now) = (replicas(&[1, 2]), Instant::now());
        replicas.ill(address(1), now);
        assert_eq!(replicas.count(), (2, 1));
        assert_eq!(quick(&mut replicas, now, 3), [2, 2, 2]);
        let later = now + FIRST;
        assert_eq!(replicas.pick(later), Some((address(1), 1)), "its time is over");
        assert_eq!(
            quick(&mut replicas, later, 2),
            [2, 2],
            "one call is enough to try it"
        );
        replicas.ill(address(1), later);
        replicas.end(address(1));
        assert_eq!(
            quick(&mut replicas, later + FIRST, 2),
            [2, 2],
            "longer than the first time"
        );
        replicas.well(address(1));
        assert_eq!(replicas.count(), (2, 2));
        assert_eq!(quick(&mut replicas, later, 2), [1, 2]);
    }

    #[test]
    fn when_all_failed_the_one_that_failed_first_is_tried() {
        let (mut replicas, now) = (replicas(&[1, 2]), Instant::now());
        assert_eq!(Replicas::<u16>::default().pick(now), None);
        replicas.ill(address(2), now);
        replicas.ill(address(1), now + Duration::from_millis(1));
        assert_eq!(quick(&mut replicas, now, 2), [2, 2]);
    }

    #[test]
    fn replicas_that_stay_keep_what_is_known_of_them() {
        let (mut replicas, now) = (replicas(&[1, 2]), Instant::now());
        replicas.ill(address(1), now);
        replicas.replace(&[address(3), address(1)], |address| address.port());
        assert_eq!(replicas.count(), (2, 1));
        assert_eq!(quick(&mut replicas, now, 2), [3, 3]);
        // Of one that is gone nothing is known.
        replicas.well(address(2));
        replicas.end(address(2));
        replicas.renew(address(1), |_| 11);
        replicas.well(address(1));
        assert_eq!(quick(&mut replicas, now, 1), [11]);
    }
}
