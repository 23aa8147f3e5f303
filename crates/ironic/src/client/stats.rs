//! Requests by route, for metrics and benchmarks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Method, route and status code (0: no answer); all bounded.
pub type Key = (String, &'static str, u16);

/// Counts and total duration of requests.
#[derive(Debug, Default)]
pub struct Stats {
    requests: Mutex<BTreeMap<Key, (u64, Duration)>>,
}

impl Stats {
    pub(super) fn record(&self, method: &str, route: &'static str, code: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, total) = requests.entry((method.to_owned(), route, code)).or_default();
        *count += 1;
        *total += took;
    }

    /// A copy.
    pub fn snapshot(&self) -> BTreeMap<Key, (u64, Duration)> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
