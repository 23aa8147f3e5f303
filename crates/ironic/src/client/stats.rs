//! Requests by route, for metrics and benchmarks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Method, route and status code (0: no answer); all bounded.
pub type Key = (String, &'static str, u16);

/// Upper bounds of [`Histogram::buckets`], in seconds; the last bucket has none.
pub const BOUNDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// How long the requests of a route took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Requests per range of [`BOUNDS`], each counted once, and those that took longer.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Their total duration.
    pub sum: Duration,
}

impl Histogram {
    /// All requests.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn record(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().take_while(|bound| seconds > **bound).count();
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            *bucket += 1;
        }
        self.sum += took;
    }
}

/// Counts and durations of requests.
#[derive(Debug, Default)]
pub struct Stats(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    requests: BTreeMap<Key, (u64, Duration)>,
    latencies: BTreeMap<&'static str, Histogram>,
    retries: u64,
}

impl Stats {
    pub(super) fn record(&self, method: &str, route: &'static str, code: u16, took: Duration) {
        let mut counted = self.lock();
        let (count, total) = counted
            .requests
            .entry((method.to_owned(), route, code))
            .or_default();
        *count += 1;
        *total += took;
        counted.latencies.entry(route).or_default().record(took);
    }

    pub(super) fn retried(&self) {
        self.lock().retries += 1;
    }

    /// A copy of counts and total durations.
    pub fn snapshot(&self) -> BTreeMap<Key, (u64, Duration)> {
        self.lock().requests.clone()
    }

    /// A copy of the latencies by route.
    pub fn latencies(&self) -> BTreeMap<&'static str, Histogram> {
        self.lock().latencies.clone()
    }

    /// Requests that were sent once more.
    pub fn retries(&self) -> u64 {
        self.lock().retries
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_counted_once_in_the_range_it_belongs_to() {
        let stats = Stats::default();
        for millis in [5, 6, 30_000, 30_001] {
            stats.record("GET", "nodes", 200, Duration::from_millis(millis));
        }
        let histogram = stats.latencies()["nodes"];
        assert_eq!((histogram.buckets[0], histogram.buckets[1]), (1, 1));
        assert_eq!((histogram.buckets[11], histogram.buckets[12]), (1, 1));
        assert_eq!(histogram.count(), 4);
        assert_eq!(histogram.sum, Duration::from_millis(60_012));
    }
}
