//! How much one caller may ask: calls a second, open watches, tokens that nobody knows. Time comes from outside.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Callers that are remembered; far more than there are ServiceAccounts with a right on hosts.
const CALLERS: usize = 10_000;
/// One line a minute about the same denial says enough.
const DENIAL: Duration = Duration::from_secs(60);

/// So many a second on average, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) burst: f64,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// A token bucket for each caller.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: Rate,
    of: HashMap<K, Bucket>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            of: HashMap::new(),
        }
    }

    /// How much is in the caller's bucket now.
    fn level(&self, who: &K, now: Instant) -> f64 {
        self.of.get(who).map_or(self.rate.burst, |bucket| {
            let since = now.saturating_duration_since(bucket.at).as_secs_f64();
            since
                .mul_add(self.rate.per_second, bucket.tokens)
                .min(self.rate.burst)
        })
    }

    /// Whether there is room for one more; if not, after which time.
    pub(super) fn look(&self, who: &K, now: Instant) -> Result<(), Duration> {
        let level = self.level(who, now);
        if level >= 1.0 {
            return Ok(());
        }
        let wait = (1.0 - level) / self.rate.per_second;
        Err(Duration::try_from_secs_f64(wait).unwrap_or(Duration::from_secs(60)))
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, who: &K, now: Instant) -> Result<(), Duration> {
        self.look(who, now)?;
        let tokens = self.level(who, now) - 1.0;
        if self.of.len() >= CALLERS && !self.of.contains_key(who) {
            // Who has a full bucket is as one never seen.
            let rate = self.rate;
            self.of.retain(|_, bucket| {
                let since = now.saturating_duration_since(bucket.at).as_secs_f64();
                since.mul_add(rate.per_second, bucket.tokens) < rate.burst
            });
            if self.of.len() >= CALLERS {
                self.of.clear();
            }
        }
        self.of.insert(who.clone(), Bucket { tokens, at: now });
        Ok(())
    }
}

/// The watches that are open, by caller.
#[derive(Debug)]
pub(super) struct Watchers {
    most: usize,
    open: Arc<Mutex<HashMap<String, usize>>>,
}

impl Watchers {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            open: Arc::default(),
        }
    }

    /// A place for one more watch of the caller, unless all are taken.
    pub(super) fn enter(&self, who: &str) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(who.to_owned()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Place {
            who: who.to_owned(),
            open: Arc::clone(&self.open),
        })
    }
}

/// A place among the watches, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    who: String,
    open: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.who);
            }
        }
    }
}

/// What was said lately, and how often it was not said again.
#[derive(Debug)]
pub(super) struct Hush<K> {
    said: HashMap<K, (Instant, u64)>,
}

impl<K: Hash + Eq> Default for Hush<K> {
    fn default() -> Self {
        Self { said: HashMap::new() }
    }
}

impl<K: Hash + Eq> Hush<K> {
    /// Whether to say it now; if so, how often it was kept back since it was last said.
    pub(super) fn say(&mut self, what: K, now: Instant) -> Option<u64> {
        if let Some((at, kept_back)) = self.said.get_mut(&what) {
            if now.saturating_duration_since(*at) < DENIAL {
                *kept_back += 1;
                return None;
            }
            *at = now;
            return Some(std::mem::take(kept_back));
        }
        if self.said.len() >= CALLERS {
            self.said
                .retain(|_, (at, _)| now.saturating_duration_since(*at) < DENIAL);
            if self.said.len() >= CALLERS {
                self.said.clear();
            }
        }
        self.said.insert(what, (now, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10.0,
        burst: 3.0,
    };

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (mut buckets, begin) = (Buckets::new(RATE), Instant::now());
        for _ in 0..3 {
            buckets.take(&"a", begin).unwrap();
        }
        let wait = buckets.take(&"a", begin).unwrap_err();
        assert!((wait.as_secs_f64() - 0.1).abs() < 1e-9, "{wait:?}");
        // Somebody else is not concerned.
        buckets.take(&"b", begin).unwrap();
        assert!(buckets.take(&"a", begin + wait / 2).is_err());
        buckets
            .take(&"a", begin + wait + Duration::from_millis(1))
            .unwrap();
        // Rest fills it up, to the burst and no further.
        let later = begin + Duration::from_secs(3600);
        assert_eq!((0..9).filter(|_| buckets.take(&"a", later).is_ok()).count(), 3);
    }

    #[test]
    fn a_look_takes_nothing() {
        let (mut buckets, now) = (Buckets::new(RATE), Instant::now());
        for _ in 0..9 {
            buckets.look(&"a", now).unwrap();
        }
        (0..3).for_each(|_| buckets.take(&"a", now).unwrap());
        assert!(buckets.look(&"a", now).is_err());
    }

    #[test]
    fn a_clock_that_stands_gives_nothing_twice() {
        let (mut buckets, now) = (Buckets::new(RATE), Instant::now());
        (0..3).for_each(|_| buckets.take(&1, now).unwrap());
        assert!(buckets.take(&1, now - Duration::from_secs(5)).is_err());
    }

    #[test]
    fn any_number_of_callers_takes_bounded_room() {
        let (mut buckets, mut hush, now) = (Buckets::new(RATE), Hush::default(), Instant::now());
        for caller in 0..3 * CALLERS {
            buckets.take(&caller, now).unwrap();
            hush.say(caller, now);
        }
        assert!(buckets.of.len() <= CALLERS && hush.said.len() <= CALLERS);
    }

    #[test]
    fn a_place_is_free_again_when_its_watch_ends() {
        let watchers = Watchers::new(2);
        let places = [watchers.enter("a").unwrap(), watchers.enter("a").unwrap()];
        assert!(watchers.enter("a").is_none());
        assert!(watchers.enter("b").is_some());
        drop(places);
        assert!(watchers.enter("a").is_some());
        assert!(watchers.open.lock().unwrap().is_empty());
    }

    #[test]
    fn the_same_is_said_once_a_minute_with_a_count() {
        let (mut hush, begin) = (Hush::default(), Instant::now());
        assert_eq!(hush.say("a", begin), Some(0));
        for second in 1..60 {
            assert_eq!(hush.say("a", begin + Duration::from_secs(second)), None);
        }
        assert_eq!(hush.say("b", begin), Some(0));
        assert_eq!(hush.say("a", begin + DENIAL), Some(59));
        assert_eq!(hush.say("a", begin + DENIAL * 2), Some(0));
    }
}
